// SPDX-License-Identifier: GPL-2.0-only OR MIT
//
// The driver's hmmptrs, their pieces and notifiers: what src/linux/hmmptr.c and
// src/linux/hmmptr_notifier.c do.

#include "tests/host/simmm/driver_impl.h"

#include <cstddef>
#include <new>

namespace dsvm::sim {

namespace {

Hmmptr &hmmptr_of(dsvm_hmmptr *core)
{
	return *reinterpret_cast<Hmmptr *>(core);
}

Hmmptr &hmmptr_of(dsvm_notifier *window)
{
	static_assert(offsetof(dsvm_hmmptr, window) == 0 && offsetof(Hmmptr, core) == 0);
	return *reinterpret_cast<Hmmptr *>(window);
}

// Ranges, which are the pieces -----------------------------------------------------

dsvm_range *range_create(dsvm_svm *, dsvm_notifier *window, dsvm_usize first, dsvm_usize last,
			 dsvm_u16)
{
	Hmmptr &hmmptr = hmmptr_of(window);
	void *const memory = dsvm_os_alloc(sizeof(HmmptrPiece));

	if (memory == nullptr)
		return nullptr;
	HmmptrPiece *const piece = new (memory) HmmptrPiece{};
	piece->hmmptr = &hmmptr;
	piece->refs = 1;
	piece->core.range.node.first = first;
	piece->core.range.node.last = last;
	hmmptr.set->pieces++;
	machine().notifier_stand_in(piece->stand_in, *hmmptr.mm, first, last);
	return &piece->core.range;
}

void range_put(dsvm_svm *, dsvm_range *core)
{
	HmmptrPiece &piece = piece_of(core);

	if (--piece.refs != 0)
		return;
	if ((piece.core.pages.flags & DSVM_PAGES_DMA_MAPPED) != 0)
		scheduler().fail("a piece goes that is mapped for DMA", "[%lu, %lu]",
				 core->node.first, core->node.last);
	piece.hmmptr->set->pieces--;
	dsvm_os_free(&piece);
}

dsvm_pages *range_pages(dsvm_range *core, dsvm_u32 index, dsvm_os_dev **dev)
{
	if (index != 0)
		return nullptr;
	*dev = to_os(driver().device);
	return &piece_of(core).core.pages;
}

constexpr dsvm_svm_ops kPieceOps = {
	.notifier_create = nullptr,
	.notifier_destroy = nullptr,
	.range_create = range_create,
	.range_stand_in = offsetof(HmmptrPiece, stand_in) - offsetof(HmmptrPiece, core.range),
	.range_get = nullptr,
	.range_put = range_put,
	.range_lock = nullptr,
	.range_unlock = nullptr,
	.range_pages = range_pages,
	.range_split = nullptr,
};

// struct dsvm_hmmptr_ops -------------------------------------------------------------

// What is taken from the GPU: whole pieces, of the hmmptr.
void check_event(Hmmptr &hmmptr, usize first, usize last)
{
	const Rwsem &guard = hmmptr.set->notifier_lock;

	if (!scheduler().holds_write(guard))
		scheduler().fail("a lock is not held that has to be", "%s, for writing",
				 guard.name);
	for (const usize end : {first, last}) {
		const dsvm_range *const core = dsvm_svm_range_find(&hmmptr.core.window, end, end);
		if (core == nullptr ||
		    (end == first ? core->node.first != first : core->node.last != last))
			scheduler().fail("the GPU loses what is no whole piece", "[%lu, %lu]",
					 first, last);
	}
}

// Jobs cannot fault, so that their entries stay to their end.
dsvm_bool invalidate_start(dsvm_hmmptr *core, dsvm_usize first, dsvm_usize last)
{
	Hmmptr &hmmptr = hmmptr_of(core);

	check_event(hmmptr, first, last);
	if (hmmptr.num_started == kMaxEvents)
		scheduler().fail("an invalidation is never finished", "%u of them",
				 hmmptr.num_started);
	else
		hmmptr.started[hmmptr.num_started++] = VaRange{first, last};
	scheduler().wait_until("the GPU's jobs", [&] { return hmmptr.set->jobs == 0; });
	if (!zap_entries(hmmptr, machine().index_of(first), machine().index_of(last)))
		return false;
	static_cast<void>(Gpu::current().begin_flush());
	return true;
}

// Whoever has zapped entries here before may not have waited for his flush yet.
void invalidate_finish(dsvm_hmmptr *core, dsvm_usize first, dsvm_usize last)
{
	Hmmptr &hmmptr = hmmptr_of(core);
	Gpu &gpu = Gpu::current();
	u32 i = 0;

	while (i < hmmptr.num_started && !(hmmptr.started[i] == VaRange{first, last}))
		i++;
	if (i == hmmptr.num_started)
		scheduler().fail("an invalidation is finished that has not begun", "[%lu, %lu]",
				 first, last);
	else
		hmmptr.started[i] = hmmptr.started[--hmmptr.num_started];
	gpu.end_flush(gpu.last_flush());
}

int rebind(dsvm_hmmptr *core, dsvm_usize first, dsvm_usize last)
{
	Hmmptr &hmmptr = hmmptr_of(core);

	if (!scheduler().holds_write(hmmptr.lock))
		scheduler().fail("a lock is not held that has to be", "%s", hmmptr.lock.name);
	driver().tally.hmmptr_rebinds++;
	return write_entries(hmmptr, machine().index_of(first), machine().index_of(last), false);
}

// Kernel: mutex_lock_killable().
int lock(dsvm_hmmptr *core)
{
	Hmmptr &hmmptr = hmmptr_of(core);
	const u64 start_ns = scheduler().now_ns();

	if (hmmptr.refs == 0)
		scheduler().fail("a hmmptr is used that is gone", "it is locked");
	scheduler().write_lock(hmmptr.lock);
	hmmptr.set->waited_ns += scheduler().now_ns() - start_ns;
	if (!scheduler().is_killed())
		return 0;
	scheduler().write_unlock(hmmptr.lock);
	return -DSVM_EINTR;
}

void unlock(dsvm_hmmptr *core)
{
	check_hmmptr(hmmptr_of(core));
	note_populations(hmmptr_of(core), true);
	scheduler().write_unlock(hmmptr_of(core).lock);
}

dsvm_bool get(dsvm_hmmptr *core)
{
	Hmmptr &hmmptr = hmmptr_of(core);

	if (hmmptr.refs == 0)
		return false;
	hmmptr.refs++;
	return true;
}

void put(dsvm_hmmptr *core)
{
	put_hmmptr(hmmptr_of(core));
}

constexpr dsvm_hmmptr_ops kOps = {
	.invalidate_start = invalidate_start,
	.invalidate_finish = invalidate_finish,
	.rebind = rebind,
	.lock = lock,
	.unlock = unlock,
	.get = get,
	.put = put,
};

// As the notifier's callbacks in src/linux -------------------------------------------

dsvm_hmmptr_event to_core(Hmmptr &hmmptr, const EventRange &range, usize seq)
{
	dsvm_hmmptr_event event = {};

	event.core.first = range.first;
	event.core.last = range.last;
	event.core.seq = seq;
	event.core.blockable = range.blockable;
	event.hmmptr = &hmmptr.core;
	return event;
}

dsvm_invalidated tell_core(Hmmptr &hmmptr, dsvm_hmmptr_event &event)
{
	hmmptr.disturbances++;
	const dsvm_invalidated result = dsvm_hmmptr_invalidate(&event);
	hmmptr.disturbances++;
	if ((result == DSVM_UNFINISHED && !event.core.deferrable) ||
	    (result == DSVM_REFUSED && event.core.blockable))
		scheduler().fail("an invalidation ends in a way that was not asked for", "%d",
				 static_cast<int>(result));
	return result;
}

bool on_invalidate(Notifier &notifier, const EventRange &range, usize seq)
{
	Hmmptr &hmmptr = *static_cast<Hmmptr *>(notifier.arg);
	dsvm_hmmptr_event event = to_core(hmmptr, range, seq);

	return tell_core(hmmptr, event) != DSVM_REFUSED;
}

HmmptrFinish *take_finish(Hmmptr &hmmptr)
{
	for (u32 i = 0; i < driver().config.finish_slots && i < kMaxFinishSlots; i++) {
		if (hmmptr.finish[i].event.hmmptr == nullptr)
			return &hmmptr.finish[i];
	}
	driver().tally.undeferred++;
	return nullptr;
}

bool on_invalidate_start(Notifier &notifier, const EventRange &range, usize seq, Finish *&finish)
{
	Hmmptr &hmmptr = *static_cast<Hmmptr *>(notifier.arg);
	HmmptrFinish *const slot = take_finish(hmmptr);

	if (slot == nullptr)
		return on_invalidate(notifier, range, seq);
	slot->event = to_core(hmmptr, range, seq);
	slot->event.core.deferrable = true;
	const dsvm_invalidated result = tell_core(hmmptr, slot->event);
	if (result == DSVM_UNFINISHED)
		finish = &slot->finish;
	else
		slot->event.hmmptr = nullptr;
	return result != DSVM_REFUSED;
}

void on_invalidate_finish(Finish &finish)
{
	HmmptrFinish &slot = reinterpret_cast<HmmptrFinish &>(finish);

	driver().tally.hmmptr_deferred++;
	dsvm_hmmptr_invalidate_finish(&slot.event);
	hmmptr_of(&slot.event.hmmptr->window).disturbances++;
	slot.event.hmmptr = nullptr;
}

void set_notifier_callbacks(Hmmptr &hmmptr)
{
	Notifier &notifier = hmmptr.notifier;

	notifier.arg = &hmmptr;
	notifier.invalidate = on_invalidate;
	if (driver().config.finish_slots != 0) {
		notifier.invalidate_start = on_invalidate_start;
		notifier.invalidate_finish = on_invalidate_finish;
	}
}

} // namespace

// Life --------------------------------------------------------------------------------

void init_set(HmmptrSet &set)
{
	const DriverConfig &config = driver().config;

	set.core.svm.lock = to_os(set.notifier_lock);
	set.core.svm.ops = &kPieceOps;
	set.core.ops = &kOps;
	dsvm_hmmptr_set_init(&set.core);
	set.core.inject_every = config.inject_every;
	if (config.block_pages != 0)
		set.core.piece_size = usize{config.block_pages} << kPageShift;
}

// As drm_svm_hmmptr_set_fini().
void end_set(HmmptrSet &set)
{
	const dsvm_svm_counters &counters = set.core.svm.counters;
	Tally &tally = driver().tally;

	if (set.all != nullptr || set.pieces != 0 || set.jobs != 0)
		scheduler().fail("a hmmptr outlives its VM", "%u pieces, %u jobs", set.pieces,
				 set.jobs);
	scheduler().read_lock(set.notifier_lock);
	if (!dsvm_hmmptr_all_valid(&set.core))
		scheduler().fail("a list keeps a hmmptr that was released", "%s", "at the end");
	scheduler().read_unlock(set.notifier_lock);
	set.notifier_lock.assert_free();
	set.revalidate.assert_free();
	set.vm_lock.assert_free();
	tally.hmmptr_collections += counters.collections;
	tally.hmmptr_retries += counters.collection_retries;
	tally.hmmptr_pages += counters.pages_mapped;
	tally.hmmptr_invalidated += counters.ranges_invalidated;
	tally.hmmptr_lost += set.core.lost;
	tally.hmmptr_injected += set.core.injected;
}

int create_hmmptr(HmmptrSet &set, Mm &mm, u32 first, u32 last, u32 flags, Hmmptr *&out)
{
	void *const memory = dsvm_os_alloc(sizeof(Hmmptr));

	if (memory == nullptr)
		return -DSVM_ENOMEM;
	Hmmptr *const hmmptr = new (memory) Hmmptr{};
	hmmptr->set = &set;
	hmmptr->mm = &mm;
	hmmptr->core.set = &set.core;
	hmmptr->core.mm = to_os(mm);
	hmmptr->core.dev = to_os(driver().device);
	hmmptr->core.owner = (flags & kHmmptrSvm) != 0 ? machine().device_owners[0] : nullptr;
	hmmptr->core.read_only = (flags & kHmmptrConst) != 0;
	hmmptr->core.window.os = to_os(hmmptr->notifier);
	hmmptr->core.window.node.first = machine().addr_of(first);
	hmmptr->core.window.node.last = machine().addr_of(last + 1) - 1;
	set_notifier_callbacks(*hmmptr);
	int ret = expect("dsvm_hmmptr_init", dsvm_hmmptr_init(&hmmptr->core));
	if (ret == 0)
		ret = machine().notifier_insert(hmmptr->notifier, mm,
						hmmptr->core.window.node.first,
						hmmptr->core.window.node.last);
	if (ret != 0) {
		dsvm_os_free(hmmptr);
		return ret;
	}
	for (u32 &region : hmmptr->region)
		region = Gpu::current().open_region(mm);
	hmmptr->next = set.all;
	set.all = hmmptr;
	driver().tally.hmmptrs++;
	out = hmmptr;
	return 0;
}

// As drm_svm_hmmptr_release(). Locking: the hmmptr's lock.
void end_hmmptr(Hmmptr &hmmptr)
{
	if (hmmptr.core.released)
		return;
	if (hmmptr.links != 0)
		scheduler().fail("a hmmptr goes that mappings show", "%u pages of it",
				 hmmptr.links);
	dsvm_hmmptr_release(&hmmptr.core);
	if (hmmptr.notifier.state != Notifier::State::kOff)
		scheduler().fail("a notifier outlives its hmmptr", "[%u, %u]", hmmptr.first(),
				 hmmptr.last());
	if (first_piece(hmmptr, hmmptr.first(), hmmptr.last()) != nullptr ||
	    hmmptr.core.populated != 0)
		scheduler().fail("a piece outlives its hmmptr", "%lu bytes", hmmptr.core.populated);
}

// As drm_svm_hmmptr_put().
void put_hmmptr(Hmmptr &hmmptr)
{
	HmmptrSet &set = *hmmptr.set;

	if (hmmptr.refs == 0)
		scheduler().fail("a hmmptr is used that is gone", "it loses a reference");
	if (--hmmptr.refs != 0)
		return;
	scheduler().write_lock(hmmptr.lock);
	end_hmmptr(hmmptr);
	scheduler().write_unlock(hmmptr.lock);

	for (const u32 region : hmmptr.region)
		Gpu::current().close_region(region);
	Hmmptr **link = &set.all;
	while (*link != &hmmptr)
		link = &(*link)->next;
	*link = hmmptr.next;
	hmmptr.lock.assert_free();
	dsvm_os_free(&hmmptr);
}

HmmptrPiece *first_piece(Hmmptr &hmmptr, u32 first, u32 last)
{
	dsvm_range *const core = dsvm_svm_range_find(&hmmptr.core.window, machine().addr_of(first),
						     machine().addr_of(last + 1) - 1);

	return core != nullptr ? &piece_of(core) : nullptr;
}

HmmptrPiece *next_piece(HmmptrPiece &piece, u32 last)
{
	dsvm_link *const link = piece.core.range.entry.next;

	if (link == &piece.hmmptr->core.window.range_list)
		return nullptr;
	HmmptrPiece &next = piece_of(reinterpret_cast<dsvm_range *>(reinterpret_cast<char *>(link) -
								    offsetof(dsvm_range, entry)));
	return next.core.range.node.first <= machine().addr_of(last) ? &next : nullptr;
}

} // namespace dsvm::sim
