// SPDX-License-Identifier: GPL-2.0-only OR MIT
//
// The driver's mmu notifiers: what the notifier's part of src/linux/gpusvm.c does, and the
// invalidations of the stub.
//
//	start	entries of the GPU's page table go, a flush begins
//	finish	waits for all flushes that have begun so far; then the pages are unmapped
//
// With one pass, and where there is no slot that keeps the event until the second one, both
// come one after the other under the lock.

#include "tests/host/simmm/driver_impl.h"

namespace dsvm::sim {

namespace {

// An event, for the part of it that is in a window.
struct Invalidated {
	Window &window;
	const EventRange &event;

	usize first() const
	{
		const usize window_first = window.core.node.first;
		return event.first > window_first ? event.first : window_first;
	}
	usize last() const
	{
		const usize window_last = window.core.node.last;
		return event.last < window_last ? event.last : window_last;
	}
	bool unmaps() const { return event.event == Event::kUnmap; }
	template <class Visit> void for_each_range(Visit visit) const
	{
		Range *range = first_range(window, first(), last());
		for (; range != nullptr; range = next_range(*range, last()))
			visit(*range);
	}
};

void add_garbage(Vm &vm, Range &range)
{
	Range **end = &vm.garbage;

	if (range.is_garbage)
		return;
	while (*end != nullptr)
		end = &(*end)->next_garbage;
	*end = &range;
	range.next_garbage = nullptr;
	range.is_garbage = true;
	range.refs++;
	driver().garbage_worker.queue();
}

// If the memory of any of the ranges was still there, or some of it. Also the tree is looked
// at: nobody else can change it now.
void count_event(const Invalidated &invalidated)
{
	const Range *before = nullptr;

	invalidated.for_each_range([&](Range &range) {
		if (before != nullptr && range.first() <= before->last())
			scheduler().fail("ranges overlap", "[%lu, %lu]", range.first(),
					 range.last());
		before = &range;
		range.events++;
		range.passes++;
		if ((range.core.flags & DSVM_RANGE_UNMAPPED) == 0 ||
		    (range.core.flags & DSVM_RANGE_PARTIAL_UNMAP) != 0)
			driver().events |= 1u << static_cast<u32>(invalidated.event.event);
	});
}

// Whole ranges, also where the event is smaller; but for one that is unmapped, if the driver can
// do with what is left. How many entries there were.
u32 zap(const Invalidated &invalidated)
{
	const bool trims = invalidated.unmaps() && driver().config.trims;
	u32 zapped = 0;

	invalidated.for_each_range([&](Range &range) {
		usize first = range.first(), last = range.last();

		if (trims)
			set_gone(range, invalidated.event, first, last);
		zapped += Gpu::current().zap(machine().index_of(first), machine().index_of(last));
	});
	return zapped;
}

void unmap(const Invalidated &invalidated)
{
	dsvm_svm &svm = invalidated.window.vm->svm;

	invalidated.for_each_range([&](Range &range) {
		range.passes++;
		if (!invalidated.unmaps()) {
			dsvm_svm_unmap_pages(&range.pages, to_os(driver().device), range.npages());
			return;
		}
		if (driver().config.trims) {
			dsvm_svm_range_unmap_gone(&svm, &range.core);
			// A new one may have come between the passes.
			if ((range.core.flags & DSVM_RANGE_UNMAPPED) == 0)
				return;
		} else {
			dsvm_svm_unmap_pages(&range.pages, to_os(driver().device), range.npages());
			dsvm_svm_pages_set_unmapped(&svm, &range.pages);
			dsvm_svm_range_set_unmapped(&svm, &range.core, invalidated.event.first,
						    invalidated.event.last);
		}
		add_garbage(*invalidated.window.vm, range);
	});
}

// As stub_range_invalidate_start(). Whether there is a flush to wait for.
dsvm_bool start(void *arg)
{
	const Invalidated &invalidated = *static_cast<Invalidated *>(arg);

	count_event(invalidated);
	if (zap(invalidated) == 0)
		return false;
	static_cast<void>(Gpu::current().begin_flush());
	return true;
}

// As stub_range_invalidate_finish(). Whoever has zapped entries here before may not have waited
// for his flush yet, so this one waits, too.
void finish(void *arg)
{
	Gpu &gpu = Gpu::current();

	gpu.end_flush(gpu.last_flush());
	unmap(*static_cast<Invalidated *>(arg));
}

// Mainline's way.
dsvm_bool start_and_finish(void *arg)
{
	static_cast<void>(start(arg));
	finish(arg);
	return false;
}

dsvm_invalidation to_core(Invalidated &invalidated, usize seq, bool deferrable)
{
	const bool two_passes = driver().config.trims && driver().config.finish_slots != 0;
	dsvm_invalidation core = {};

	core.first = invalidated.event.first;
	core.last = invalidated.event.last;
	core.seq = seq;
	core.blockable = invalidated.event.blockable;
	core.deferrable = deferrable;
	core.start = two_passes ? start : start_and_finish;
	core.finish = two_passes ? finish : nullptr;
	core.arg = &invalidated;
	return core;
}

// As the notifier's callbacks in src/linux ---------------------------------------

dsvm_invalidated tell_core(Window &window, const EventRange &event, usize seq, bool deferrable)
{
	Invalidated invalidated{window, event};
	const dsvm_invalidation core = to_core(invalidated, seq, deferrable);
	const dsvm_invalidated result = dsvm_svm_invalidate(&window.vm->svm, &window.core, &core);

	if ((result == DSVM_UNFINISHED && !deferrable) ||
	    (result == DSVM_REFUSED && event.blockable))
		scheduler().fail("an invalidation ends in a way that was not asked for", "%d",
				 static_cast<int>(result));
	return result;
}

bool on_invalidate(Notifier &notifier, const EventRange &event, usize seq)
{
	Window &window = *static_cast<Window *>(notifier.arg);

	return tell_core(window, event, seq, false) != DSVM_REFUSED;
}

FinishSlot *take_slot(Window &window, const EventRange &event)
{
	for (u32 i = 0; i < driver().config.finish_slots && i < kMaxFinishSlots; i++) {
		FinishSlot &slot = window.slots[i];
		if (slot.window != nullptr)
			continue;
		slot.window = &window;
		slot.event = event;
		return &slot;
	}
	driver().tally.undeferred++;
	return nullptr;
}

bool on_invalidate_start(Notifier &notifier, const EventRange &event, usize seq, Finish *&finish)
{
	Window &window = *static_cast<Window *>(notifier.arg);
	FinishSlot *const slot = take_slot(window, event);
	const dsvm_invalidated result = tell_core(window, event, seq, slot != nullptr);

	if (result == DSVM_UNFINISHED)
		finish = &slot->finish;
	else if (slot != nullptr)
		slot->window = nullptr;
	return result != DSVM_REFUSED;
}

void on_invalidate_finish(Finish &finish)
{
	FinishSlot &slot = reinterpret_cast<FinishSlot &>(finish);
	Window &window = *slot.window;
	Invalidated invalidated{window, slot.event};
	const dsvm_invalidation core = to_core(invalidated, 0, true);

	driver().tally.deferred++;
	dsvm_svm_invalidate_finish(&window.vm->svm, &window.core, &core);
	slot.window = nullptr;
}

} // namespace

void set_callbacks(Window &window)
{
	Notifier &notifier = window.notifier;

	notifier.arg = &window;
	notifier.invalidate = on_invalidate;
	if (driver().config.trims && driver().config.finish_slots != 0) {
		notifier.invalidate_start = on_invalidate_start;
		notifier.invalidate_finish = on_invalidate_finish;
	}
}

} // namespace dsvm::sim
