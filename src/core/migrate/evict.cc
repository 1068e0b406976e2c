// SPDX-License-Identifier: GPL-2.0-only OR MIT
#include "core/migrate/evict.h"

#include "core/migrate/frames.h"
#include "core/migrate/plan.h"
#include "core/migrate/to_ram.h"
#include "core/svm/counters.h"
#include "core/svm/deadline.h"
#include "core/svm/hmm.h"

namespace dsvm {

namespace {

// How long an eviction waits for its owner: to change its mappings, to exit. Within that it
// costs no try.
constexpr u64 kLockGraceNs = 100000000;
constexpr u64 kExitGraceNs = 10000000000;

// How long an eviction may take, and whether somebody who is killed has to see it through.
struct Patience {
	bool killable;
	u64 exit_grace_ns;
};

// A part of an allocation on its way to being empty.
class Eviction {
public:
	Eviction(const dsvm_devmem &devmem, dsvm_os_mm *mm, usize index, usize npages,
		 const Patience &patience);
	~Eviction();
	Eviction(const Eviction &) = delete;
	Eviction &operator=(const Eviction &) = delete;

	Status run();

private:
	static constexpr u32 kGroup = 4; // batches under one lock
	static constexpr u32 kSlots = 2; // batches under way

	struct Slot {
		Scratch scratch;
		dsvm_migrate_span span; // filled in for each batch
		ToRam batch{scratch, span};
		bool is_split = false; // a huge page that comes in pieces
	};
	// The owner's page tables, if they are sure to stay as they are.
	struct Owner {
		dsvm_os_mm *mm; // or nullptr

		bool vma_at(usize addr, usize size, dsvm_vma_info &vma) const;
	};

	static u32 batch_order();
	usize batch_at(usize index) const;
	usize folio_first(usize index) const;
	void widen();
	Status allocate();
	bool gives_up() const { return killable_ && dsvm_os_killed(); }
	bool is_in_use(usize index) const
	{
		return dsvm_os_frame_in_use(frame_at(devmem_, index), devmem_.zdd);
	}
	bool is_huge(usize index) const;
	bool is_empty() const;
	Status sweep();
	Status evict_group(usize &at);
	Status evict_batches(const Owner &owner, usize &at);
	Status begin(const Owner &owner, usize at, usize count);
	static Status begin_batch(Slot &slot);
	Status begin_huge(const Owner &owner, Slot &slot, ToRam::Request &request, usize count);
	Status begin_by_tables(Slot &slot, dsvm_os_vma *vma, usize at, usize count);
	Status begin_by_frames(Slot &slot, usize at, usize count);
	Status end(Slot &slot);
	Status drain();

	const dsvm_devmem &devmem_;
	dsvm_os_mm *const mm_;
	const usize asked_first_; // index
	const usize asked_end_;
	usize first_; // the same, to where huge pages begin and end
	usize end_;
	const bool killable_;
	const Deadline lock_grace_;
	const Deadline exit_grace_;
	bool waiting_for_owner_ = false; // in this sweep
	bool by_tables_ = true;		 // in this sweep, where the owner's are known,
	bool went_by_tables_ = false;	 // which was so
	Slot slot_;
	Slot *slots_[kSlots] = {&slot_, nullptr}; // the second one if there is memory for it
	u32 nslots_ = 1;
	u32 next_slot_ = 0;
};

Eviction::Eviction(const dsvm_devmem &devmem, dsvm_os_mm *mm, usize index, usize npages,
		   const Patience &patience)
	: devmem_(devmem), mm_(mm), asked_first_(index), asked_end_(index + npages), first_(index),
	  end_(index + npages), killable_(patience.killable), lock_grace_(kLockGraceNs),
	  exit_grace_(patience.exit_grace_ns)
{}

Eviction::~Eviction()
{
	if (slots_[1])
		destroy_at(slots_[1]);
	dsvm_os_free(slots_[1]);
}

// Where no page is huge: as many as there is scratch memory for.
u32 Eviction::batch_order()
{
	const u32 huge = dsvm_os_huge_order();

	return huge ? huge : ilog2(kBatchPages);
}

// How many pages from @index on are the next batch.
usize Eviction::batch_at(usize index) const
{
	const usize most = min<usize>(end_ - index, slot_.scratch.capacity());

	if (!devmem_.frames)
		return evict_batch(devmem_.base + index, most, batch_order());
	return evict_batch([&](usize i) { return devmem_.frames[i]; }, index, most, batch_order());
}

// Where the folio begins that page @index is of.
usize Eviction::folio_first(usize index) const
{
	const u32 order = dsvm_os_huge_order();
	const usize frame = frame_at(devmem_, index);
	const usize head = align_down(frame, usize{1} << order);
	const usize before = frame - head;

	if (before == 0 || before > index || frame_at(devmem_, index - before) != head ||
	    !dsvm_os_frame_in_use(head, devmem_.zdd) || dsvm_os_frame_order(head) == 0)
		return index;
	return index - before;
}

// Whether a huge page begins there.
bool Eviction::is_huge(usize index) const
{
	return dsvm_os_huge_order() != 0 && is_in_use(index) &&
	       dsvm_os_frame_order(frame_at(devmem_, index)) != 0;
}

// A huge page moves as a whole, if only a part of it is asked for.
void Eviction::widen()
{
	first_ = folio_first(asked_first_);
	if (asked_end_ == page_count(devmem_))
		return;

	const usize last = asked_end_ - 1;
	const usize last_folio = folio_first(last);
	if (last_folio != last || is_huge(last))
		end_ = min(last_folio + (usize{1} << dsvm_os_huge_order()), page_count(devmem_));
}

// An anonymous VMA that has all of [addr, addr + size).
bool Eviction::Owner::vma_at(usize addr, usize size, dsvm_vma_info &vma) const
{
	return mm && addr != 0 && dsvm_os_vma_at(mm, addr, &vma) && vma.anonymous &&
	       vma.last - addr >= size - 1;
}

// The reserve is for the first batch: without a second one it only takes longer.
Status Eviction::allocate()
{
	const usize npages = min<usize>(end_ - first_, kBatchPages);

	DSVM_TRY(slot_.scratch.obtain_or_reserve(npages, devmem_.provider));
	void *memory = npages < end_ - first_ ? dsvm_os_alloc(sizeof(Slot)) : nullptr;
	if (!memory)
		return Status::ok();
	slots_[1] = construct_at<Slot>(memory);
	nslots_ = slots_[1]->scratch.allocate(npages).is_ok() ? 2 : 1;
	return Status::ok();
}

bool Eviction::is_empty() const
{
	if (dsvm_os_zdd_is_unused(devmem_.zdd))
		return true;
	for (usize i = asked_first_; i < asked_end_; ++i) {
		if (is_in_use(i))
			return false;
	}
	return true;
}

Status Eviction::end(Slot &slot)
{
	if (!slot.batch.is_under_way())
		return Status::ok();

	const Status status = slot.batch.end();
	// There was no RAM for a huge page, and its owner has not mapped it any more.
	if (status.is_ok() && slot.is_split && slot.batch.movable() == 0)
		return kNoMemory;
	return status;
}

Status Eviction::drain()
{
	Status status;

	for (u32 i = 0; i < nslots_; ++i) {
		const Status ended = end(*slots_[(next_slot_ + i) % nslots_]);
		if (ended.is_error())
			status = ended;
	}
	return status;
}

DSVM_NOINLINE Status Eviction::begin_batch(Slot &slot)
{
	return slot.batch.begin();
}

// The kernel does not split a huge page that it collects by its frames. So without RAM for a
// whole one it has to go by page tables, where they are known.
Status Eviction::begin_huge(const Owner &owner, Slot &slot, ToRam::Request &request, usize count)
{
	const u32 order = dsvm_os_huge_order();
	const usize size = usize{DSVM_PAGE_SIZE} << order;
	const usize addr = devmem_.first + (request.index << DSVM_PAGE_SHIFT);
	dsvm_vma_info vma;
	const bool known =
		devmem_.first != 0 && is_aligned(addr, size) && owner.vma_at(addr, size, vma);
	dsvm_migrate_span &span = slot.span;

	span.npages = count;
	request.huge_ram = dsvm_os_entry_alloc(known ? vma.vma : nullptr, addr, order);
	slot.is_split = !request.huge_ram;
	if (slot.is_split)
		dsvm::count(devmem_.counters->huge_split);
	if (slot.is_split && !known)
		return kNoMemory;
	if (slot.is_split || (known && by_tables_)) {
		went_by_tables_ = true;
		span.vma = vma.vma;
		span.first = addr;
		span.select = DSVM_MIGRATE_DEVICE | (slot.is_split ? 0 : DSVM_MIGRATE_HUGE);
		return begin_batch(slot);
	}
	// A folio's frames are in a row.
	const usize frame = frame_at(devmem_, request.index);
	for (usize i = 0; i < count; ++i)
		slot.scratch.src()[i] = frame + i;
	return begin_batch(slot);
}

// One walk, of which mirrors hear once; it goes over gaps between the pages that are in use.
Status Eviction::begin_by_tables(Slot &slot, dsvm_os_vma *vma, usize at, usize count)
{
	usize first = at;
	usize end = at + count;

	while (first < end && !is_in_use(first))
		++first;
	while (first < end && !is_in_use(end - 1))
		--end;
	if (first == end)
		return Status::ok();
	went_by_tables_ = true;
	dsvm_migrate_span &span = slot.span;
	span.vma = vma;
	span.first = devmem_.first + (first << DSVM_PAGE_SHIFT);
	span.npages = end - first;
	span.select = DSVM_MIGRATE_DEVICE;
	return begin_batch(slot);
}

// Each page by itself, wherever it is mapped, and of each one mirrors hear.
Status Eviction::begin_by_frames(Slot &slot, usize at, usize count)
{
	usize *const src = slot.scratch.src();
	usize &npages = slot.span.npages;

	for (usize i = at; i < at + count; ++i) {
		const usize pfn = frame_at(devmem_, i);
		if (dsvm_os_frame_in_use(pfn, devmem_.zdd))
			src[npages++] = pfn;
	}
	return npages ? begin_batch(slot) : Status::ok();
}

// A batch of the pages from @at on that are in use.
Status Eviction::begin(const Owner &owner, usize at, usize count)
{
	Slot &slot = *slots_[next_slot_];
	next_slot_ = (next_slot_ + 1) % nslots_;

	ToRam::Request &request = slot.batch.prepare_request(devmem_, DSVM_WAY_EVICT, at);
	slot.is_split = false;
	slot.scratch.begin(count);
	if (is_huge(at))
		return begin_huge(owner, slot, request, count);

	const usize addr = devmem_.first + (at << DSVM_PAGE_SHIFT);
	dsvm_vma_info vma;
	const bool known = devmem_.first != 0 && owner.vma_at(addr, count << DSVM_PAGE_SHIFT, vma);
	if (known && by_tables_)
		return begin_by_tables(slot, vma.vma, at, count);
	if (known)
		request.hint_vma = vma.vma;
	return begin_by_frames(slot, at, count);
}

Status Eviction::evict_batches(const Owner &owner, usize &at)
{
	Status status;

	for (u32 i = 0; i < kGroup && at < end_; ++i) {
		const usize count = batch_at(at);
		// What became of the batch before in that slot does not keep this one from moving.
		const Status ended = end(*slots_[next_slot_]);
		const Status begun = begin(owner, at, count);
		if (ended.is_error() || begun.is_error())
			status = begun.is_error() ? begun : ended;
		at += count;
	}
	const Status drained = drain();
	return drained.is_error() ? drained : status;
}

// The kernel finds page tables through structs that go with the last mapping of a page, and it
// does not keep them itself while the page is on its way. So the owner is kept from exiting and
// from unmapping for each group. The caller may hold locks that are taken under the mm's, so that
// one is not waited for, only tried. If the owner is exiting already, that takes its pages along;
// what is left when it is over belongs to children of a fork. Three gaps stay, the first two as in
// mainline: such a child that unmaps or exits in this very moment; an munmap() by the owner that
// has come to its last phase before we have the lock, which needs it for reading only; and a frame
// that has become somebody else's between the look and the setup, whose new owner unmaps it in
// this moment (it is put back where it was, in any case).
Status Eviction::evict_group(usize &at)
{
	MmUser user{mm_};
	MmReadTryGuard lock{user.is_alive() ? mm_ : nullptr};

	if (!lock.is_held() && (user.is_alive() || !dsvm_os_mm_is_gone(mm_))) {
		const Deadline &grace = user.is_alive() ? lock_grace_ : exit_grace_;
		waiting_for_owner_ = grace.remaining_ns() != 0;
		return kBusy;
	}
	return evict_batches(Owner{lock.is_held() ? mm_ : nullptr}, at);
}

// Goes over the whole part, or as far as the owner lets it; the last error, if there was any.
Status Eviction::sweep()
{
	Status status;

	waiting_for_owner_ = false;
	for (usize at = first_; at < end_ && !waiting_for_owner_ && !gives_up();) {
		const usize before = at;
		const Status result = evict_group(at);
		if (result.is_error())
			status = result;
		if (at == before)
			break;
	}
	return status;
}

Status Eviction::run()
{
	if (is_empty())
		return Status::ok();
	widen();
	DSVM_TRY(allocate());
	dsvm_os_zdd_end_timeslice(devmem_.zdd);

	Status status;
	for (int attempt = 0; attempt < DSVM_EVICT_TRIES;) {
		status = sweep();
		if (is_empty())
			return Status::ok();
		if (gives_up())
			return kInterrupted;
		if (status == kNoDevice)
			return status;
		if (by_tables_ && went_by_tables_ && !waiting_for_owner_) {
			// What is left the owner has elsewhere, or others have it.
			by_tables_ = false;
			continue;
		}
		// Somebody held a page for a moment, or a fault on it was under way.
		dsvm_os_relax();
		attempt += waiting_for_owner_ ? 0 : 1;
	}
	return status.is_error() ? status : kBusy;
}

} // namespace

Status evict(const dsvm_devmem &devmem, dsvm_os_mm *mm, usize index, usize npages)
{
	if (npages == 0 || index >= page_count(devmem) || npages > page_count(devmem) - index)
		return kInvalid;
	const Patience patience{true, kExitGraceNs};
	DSVM_UNSET Eviction eviction{devmem, mm, index, npages, patience};
	return evict_status(eviction.run());
}

namespace {

// One after the other, as long as there is time; the last error. kNotFound: there was none left.
// Whoever takes a device away may be killed, and the memory is other people's.
Status evict_round(dsvm_os_provider *provider, const Deadline &deadline)
{
	dsvm_os_zdd *zdd = dsvm_os_provider_next_zdd(provider, nullptr);
	Status status = zdd ? Status::ok() : kNotFound;

	for (; zdd; zdd = dsvm_os_provider_next_zdd(provider, zdd)) {
		const dsvm_devmem &devmem = *dsvm_os_zdd_devmem(zdd);
		const Patience patience{false, min(deadline.remaining_ns(), kExitGraceNs)};
		if (deadline.remaining_ns() == 0) {
			status = kBusy;
			continue; // gives the others back
		}
		DSVM_UNSET Eviction eviction{devmem, dsvm_os_zdd_mm(zdd), 0, page_count(devmem),
					     patience};
		const Status result = eviction.run();
		if (result.is_error())
			status = evict_status(result);
	}
	return status;
}

} // namespace

Status evict_all(dsvm_os_provider *provider, u64 budget_ns)
{
	const Deadline deadline{budget_ns};

	for (;;) {
		const Status status = evict_round(provider, deadline);
		if (status == kNotFound)
			return Status::ok();
		if (status == kNoDevice)
			return status;
		if (deadline.remaining_ns() == 0)
			return status.is_error() ? status : kBusy;
		dsvm_os_relax();
	}
}

} // namespace dsvm
