// SPDX-License-Identifier: GPL-2.0-only OR MIT
#include "core/migrate/slice.h"

#include "core/migrate/frames.h"
#include "core/migrate/plan.h"
#include "core/svm/counters.h"
#include "core/svm/hmm.h"
#include "core/svm/residency.h"

namespace dsvm {

// Each page is noted once. Workers add to the same numbers.
void Slice::note(VaRange span, dsvm_stay stay)
{
	const usize first = (span.first - state_.span.first) >> DSVM_PAGE_SHIFT;
	const usize npages = span.page_count();

	count(job_.result[stay], npages);
	for (usize i = 0; job_.report && i < npages; ++i)
		job_.report[first + i] = static_cast<u8>(stay);
}

// Whether to go on: somebody may be killing us, or another worker may have failed.
Status Slice::check_on() const
{
	if (dsvm_os_killed())
		return kInterrupted;
	return Status{__atomic_load_n(&state_.error, __ATOMIC_RELAXED)};
}

// Runs ---------------------------------------------------------------------------

// Whether the page is where it is to go, or on its way back from there.
bool Slice::is_there(usize index) const
{
	return is_in(job_.pagemap, entries_.data()[index]);
}

// How many pages from there on have the page-table entry that maps it in common.
usize Slice::mapped_as_one(VaRange part, usize index) const
{
	const usize size = usize{1} << dsvm_os_hmm_order(entries_.data()[index]);
	const usize page = (part.first >> DSVM_PAGE_SHIFT) + index;

	return size - (page & (size - 1));
}

// The runs of @part, which lies in one VMA and one block, as far as the group has room; @at goes
// behind what has been dealt with.
Status Slice::find_in_block(VaRange part, u64 &at)
{
	const bool seen = hmm_look(job_.mm, job_.notifier, job_.owner, part, entries_.data());
	const usize npages = part.page_count();

	for (usize i = 0; i < npages;) {
		const bool there = seen && is_there(i);
		usize count = seen ? min(mapped_as_one(part, i), npages - i) : npages;
		while (i + count < npages && is_there(i + count) == there)
			++count;

		const VaRange run{part.first + (i << DSVM_PAGE_SHIFT),
				  part.first + (((i + count) << DSVM_PAGE_SHIFT) - 1)};
		if (there)
			note(run, DSVM_WAS_THERE);
		else if (nruns_ < kGroup)
			runs_[nruns_++] = Run{run, nullptr};
		else
			return Status::ok();
		i += count;
		at = run.last + 1;
	}
	return Status::ok();
}

// Finds the next runs from @at on, and moves it behind them; 0: beyond the top.
Status Slice::find_runs(u64 &at, u64 last)
{
	nruns_ = 0;
	while (nruns_ < kGroup && at != 0 && at <= last) {
		DSVM_TRY(check_on());
		MmReadGuard guard{job_.mm};
		dsvm_vma_info vma;

		if (!dsvm_os_vma_first(job_.mm, at, last, &vma)) {
			note(VaRange{at, last}, DSVM_STAY_NO_MEMORY_MAP);
			at = last + 1;
			break;
		}
		if (vma.first > at) {
			note(VaRange{at, vma.first - 1}, DSVM_STAY_NO_MEMORY_MAP);
			at = vma.first;
		}
		const u64 vma_last = min<u64>(vma.last, last);
		if (!vma.readable || !vma.anonymous || vma.special) {
			note(VaRange{at, vma_last},
			     vma.readable ? DSVM_STAY_NOT_ANONYMOUS : DSVM_STAY_SWAPPED);
			at = vma_last + 1;
			continue;
		}
		const VaRange block = aligned_block(at, kBlockSize);
		DSVM_TRY(find_in_block(VaRange{at, min(block.last, vma_last)}, at));
	}
	return Status::ok();
}

// As many as there are runs in the group, before any of them begins.
Status Slice::allocate_slots()
{
	next_slot_ = 0;
	for (u32 i = 0; i < min(nruns_, kSlots); ++i) {
		Scratch &scratch = slots_[i].scratch;
		if (scratch.capacity() == 0)
			DSVM_TRY(scratch.allocate(most_pages()));
	}
	return Status::ok();
}

Status Slice::alloc_group()
{
	for (u32 i = 0; i < nruns_; ++i) {
		Run &run = runs_[i];
		const usize npages = run.span.page_count();
		const Status status{job_.alloc(job_.ctx, run.span.first, npages, &run.devmem)};
		if (status.is_ok() && page_count(*run.devmem) >= npages)
			continue;
		if (status.is_ok())
			return kInvalid;
		run.devmem = nullptr;
		if (status != kNoSpace)
			return status;
		note(run.span, DSVM_STAY_NO_DEVICE_MEMORY);
	}
	return Status::ok();
}

void Slice::release_group()
{
	for (u32 i = 0; i < nruns_; ++i) {
		if (runs_[i].devmem)
			job_.release(job_.ctx, runs_[i].devmem);
	}
	nruns_ = 0;
}

Status Slice::move_group()
{
	Status status;

	for (u32 i = 0; i < nruns_ && status.is_ok(); ++i) {
		if (!runs_[i].devmem)
			continue;
		status = check_on();
		if (status.is_ok())
			status = begin(runs_[i]);
	}
	const Status drained = drain();
	return status.is_error() ? status : drained;
}

// Batches ------------------------------------------------------------------------

bool Slice::is_any_under_way() const
{
	for (const Slot &slot : slots_) {
		if (slot.batch.is_under_way())
			return true;
	}
	return false;
}

Status Slice::lock()
{
	if (locked_)
		return Status::ok();
	if (is_any_under_way()) {
		locked_ = dsvm_os_mm_read_trylock(job_.mm);
		if (locked_)
			return Status::ok();
		DSVM_TRY(drain());
	}
	dsvm_os_mm_read_lock(job_.mm);
	locked_ = true;
	return Status::ok();
}

// Pins do what the lock does for all that is under way.
void Slice::unlock_if_pinned()
{
	for (const Slot &slot : slots_) {
		if (slot.batch.is_under_way() && !slot.pinned)
			return;
	}
	if (locked_)
		dsvm_os_mm_read_unlock(job_.mm);
	locked_ = false;
}

Status Slice::begin(const Run &run)
{
	Slot &slot = slots_[next_slot_];
	DSVM_TRY(end(slot));
	DSVM_TRY(lock());

	dsvm_vma_info vma;
	if (!dsvm_os_vma_at(job_.mm, run.span.first, &vma) || vma.last < run.span.last ||
	    !vma.readable || !vma.anonymous || vma.special) {
		// It has changed since we found it.
		note(run.span, DSVM_STAY_BUSY);
		unlock_if_pinned();
		return Status::ok();
	}

	ToDevice::Request &what =
		slot.batch.prepare_request(vma.vma, run.span, job_.owner, run.devmem);
	what.mm = job_.mm;
	what.notifier = job_.notifier;
	what.pagemap = job_.pagemap;
	what.looks = entries_.data();
	what.stays = slot.stays;
	for (usize i = 0; i < run.span.page_count(); ++i)
		slot.stays[i] = DSVM_STAY_BUSY;
	const Status status = slot.batch.begin();
	if (status.is_ok()) {
		slot.span = run.span;
		slot.pinned = dsvm_os_vma_pin(vma.vma) ? vma.vma : nullptr;
		next_slot_ = (next_slot_ + 1) % kSlots;
	} else if (status == kInvalid) {
		note(run.span, DSVM_STAY_NOT_ANONYMOUS); // the kernel's own reasons
	}
	unlock_if_pinned();
	return status == kInvalid ? Status::ok() : status;
}

Status Slice::end(Slot &slot)
{
	if (!slot.batch.is_under_way())
		return Status::ok();

	const Status status = slot.batch.end();
	if (slot.pinned)
		dsvm_os_vma_unpin(slot.pinned);
	slot.pinned = nullptr;
	unlock_if_pinned();
	tally(slot);
	// Nothing could move: each page has its reason.
	return status == kBusy ? Status::ok() : status;
}

// In the order in which they began.
Status Slice::drain()
{
	Status status;

	for (u32 i = 0; i < kSlots; ++i) {
		const Status ended = end(slots_[(next_slot_ + i) % kSlots]);
		if (status.is_ok())
			status = ended;
	}
	unlock_if_pinned();
	return status;
}

// For a second try: true if it is going to be noted then.
bool Slice::remember(VaRange span, dsvm_stay stay)
{
	if (!job_.fault_in || is_second_try_ || nretries_ == kRetries ||
	    (stay != DSVM_STAY_SWAPPED && stay != DSVM_STAY_FOREIGN))
		return false;
	retries_.data()[nretries_++] = Retry{span, stay == DSVM_STAY_FOREIGN};
	return true;
}

void Slice::tally(const Slot &slot)
{
	const usize npages = slot.span.page_count();

	for (usize i = 0; i < npages;) {
		const dsvm_stay stay = static_cast<dsvm_stay>(slot.stays[i]);
		usize count = 1;
		while (i + count < npages && slot.stays[i + count] == stay)
			++count;

		const VaRange part{slot.span.first + (i << DSVM_PAGE_SHIFT),
				   slot.span.first + (((i + count) << DSVM_PAGE_SHIFT) - 1)};
		if (stay != DSVM_STAY_NOT_TRIED && !remember(part, stay))
			note(part, stay);
		i += count;
	}
}

// All of it ----------------------------------------------------------------------

Status Slice::migrate(VaRange span)
{
	for (u64 at = span.first; at != 0 && at <= span.last;) {
		DSVM_TRY(find_runs(at, span.last));
		DSVM_TRY(allocate_slots());
		Status status = alloc_group();
		if (status.is_ok())
			status = move_group();
		release_group();
		DSVM_TRY(status);
		DSVM_TRY(migrate_again());
	}
	return Status::ok();
}

Status Slice::migrate_again()
{
	if (is_second_try_)
		return Status::ok();
	is_second_try_ = true;
	for (u32 i = 0; i < nretries_; ++i) {
		const Retry &retry = retries_.data()[i];
		DSVM_TRY(check_on());
		// If it does not come, there is no more to say than there was.
		fault_to_ram(job_.mm, job_.notifier, retry.span,
			     retry.is_foreign ? nullptr : job_.owner)
			.ignore();
		DSVM_TRY(migrate(retry.span));
	}
	is_second_try_ = false;
	nretries_ = 0;
	return Status::ok();
}

Status Slice::run()
{
	DSVM_TRY(entries_.allocate(most_pages()));
	if (job_.fault_in)
		DSVM_TRY(retries_.allocate(kRetries));
	return migrate(span_);
}

} // namespace dsvm
