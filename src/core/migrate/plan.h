// SPDX-License-Identifier: GPL-2.0-only OR MIT
//
// Decisions of a migration that are arithmetic: pure functions, without locks,
// pages or callbacks, so that tables can test them.
//
//	index      0   1   2   3   4   5   6   7
//	device    10  11  12  13  20  21  30  31	page frames
//	RAM       70  71  72  50  51  52  53  54
//	stretch   |---------|   | |-----| |-----|	on both sides in a row
//	pieces    |-----|---|   | |-----| |-----|	2^order pages, one mapping each
#ifndef DSVM_CORE_MIGRATE_PLAN_H
#define DSVM_CORE_MIGRATE_PLAN_H

#include "core/base/va_range.h"
#include "drm_svm/migrate.h"

namespace dsvm {

// Pages of the first and largest piece of a stretch of @left pages, as an order of at most
// @max_order.
[[nodiscard]] constexpr u32 piece_order(usize left, u32 max_order)
{
	return min(ilog2(left), max_order);
}

// Whether the run @next continues @run: device pages by frame numbers, and what is beside them
// by address; or both are to be cleared.
[[nodiscard]] bool continues(const dsvm_copy_run &run, usize run_pfn, const dsvm_copy_run &next,
			     usize next_pfn);

// The row of dsvm_migrate_counters that a batch of @npages belongs to.
[[nodiscard]] constexpr u32 size_class(usize npages)
{
	constexpr usize kMedium = 65536 / DSVM_PAGE_SIZE;
	constexpr usize kLarge = 2097152 / DSVM_PAGE_SIZE;
	static_assert(DSVM_SIZES == 3);

	return npages >= kLarge ? 2 : npages >= kMedium ? 1 : 0;
}

// Migration to a device goes by naturally aligned blocks of this size: a huge page's.
constexpr u64 kBlockSize = 2097152;

// The aligned block of 2^order pages around the address, as far as @vma reaches.
[[nodiscard]] VaRange fault_span(u64 addr, u32 order, VaRange vma);

// What CPU faults on an allocation have brought back last: see dsvm_devmem.streak.
struct Streak {
	u64 end;   // the address behind it, a page's; 0: there was nothing
	u32 order; // of how many pages it was to be

	static constexpr Streak from(u64 word)
	{
		constexpr u64 kBelow = DSVM_PAGE_SIZE - 1;

		return Streak{word & ~kBelow, static_cast<u32>(word & kBelow)};
	}
	constexpr u64 word() const { return end | order; }

	// What a fault goes on with that finds only @granule to be brought back: as it is, or, if
	// it begins at the end, twice as much as there was the last time. Not beyond the block of
	// 2 MiB, nor @limits, which @granule lies in.
	[[nodiscard]] VaRange next(VaRange granule, VaRange limits);
};

// The part of @span that worker @index of @workers takes, in whole blocks; kNotFound: none.
[[nodiscard]] Expected<VaRange> slice_of(VaRange span, u32 index, u32 workers);

// How many of @npages frames make the next batch of an eviction. A huge folio begins at a frame
// that is a multiple of its size, and must not be cut: so a batch ends before any such frame.
template <class FrameAt>
[[nodiscard]] usize evict_batch(FrameAt frame_at, usize index, usize npages, u32 huge_order)
{
	const usize most = min<usize>(npages, usize{1} << huge_order);
	usize count = 1;

	while (count < most && !is_aligned(frame_at(index + count), usize{1} << huge_order))
		++count;
	return count;
}

// The same of frames in a row, of which @frame is the first.
[[nodiscard]] constexpr usize evict_batch(usize frame, usize npages, u32 huge_order)
{
	const usize size = usize{1} << huge_order;

	return min(npages, size - (frame & (size - 1)));
}

// What an eviction says to its caller: see dsvm_migrate_evict().
[[nodiscard]] Status evict_status(Status status);

// What comes of a CPU fault.
[[nodiscard]] dsvm_fault_result fault_result(Status status);

} // namespace dsvm

#endif // DSVM_CORE_MIGRATE_PLAN_H
