// SPDX-License-Identifier: GPL-2.0-only OR MIT
//
// Cases for core/migrate/plan.h: what a migration decides by arithmetic, as tables.

#include "core/migrate/plan.h"

#include "core/base/bits.h"
#include "kunit/case.h"

using namespace dsvm;

namespace {

constexpr u64 kPlanBase = 0x7f0000000000;
constexpr u64 kOnePage = kPageSize;

dsvm_copy_run copy_of(u64 addr, u64 dir, usize npages, u64 proto = DSVM_PROTO_SYSTEM)
{
	dsvm_copy_run run = {};

	run.addr.addr = addr;
	run.addr.dir = dir;
	run.addr.proto = proto;
	run.npages = npages;
	return run;
}

} // namespace

DSVM_CASE(plan, pieces)
{
	struct Row {
		usize left;
		u32 most;
		u32 order;
	};
	const Row rows[] = {
		{1, 9, 0},   {2, 9, 1},	  {3, 9, 1},	{4, 9, 2},   {511, 9, 8},
		{512, 9, 9}, {513, 9, 9}, {1024, 9, 9}, {512, 4, 4}, {512, 0, 0},
	};

	for (const Row &row : rows)
		DSVM_EXPECT_EQ(piece_order(row.left, row.most), row.order);
}

DSVM_CASE(plan, runs)
{
	const dsvm_copy_run run = copy_of(0x10000, DSVM_DMA_TO_DEVICE, 3);
	const u64 behind = 0x10000 + 3 * kOnePage;
	const usize pfns[] = {102, 104, 99, 100};
	const u64 addrs[] = {behind - kOnePage, behind + kOnePage, behind + 1, 0x10000};

	DSVM_EXPECT(continues(run, 100, copy_of(behind, DSVM_DMA_TO_DEVICE, 1), 103));
	// Device pages: with a gap, over each other, in the other direction.
	for (const usize pfn : pfns)
		DSVM_EXPECT(!continues(run, 100, copy_of(behind, DSVM_DMA_TO_DEVICE, 1), pfn));
	// The other side: the same.
	for (const u64 addr : addrs)
		DSVM_EXPECT(!continues(run, 100, copy_of(addr, DSVM_DMA_TO_DEVICE, 1), 103));
	// Of two kinds.
	DSVM_EXPECT(!continues(run, 100, copy_of(behind, DSVM_DMA_FROM_DEVICE, 1), 103));
	DSVM_EXPECT(!continues(run, 100, copy_of(behind, DSVM_DMA_TO_DEVICE, 1, 1), 103));
	DSVM_EXPECT(!continues(run, 100, copy_of(0, 0, 1), 103));
	// What is cleared has no address.
	DSVM_EXPECT(continues(copy_of(0, 0, 3), 100, copy_of(0, 0, 5), 103));
	DSVM_EXPECT(!continues(copy_of(0, 0, 3), 100, copy_of(0, 0, 5), 104));
	DSVM_EXPECT(!continues(copy_of(0, 0, 3), 100, copy_of(3 * kOnePage, DSVM_DMA_TO_DEVICE, 5),
			       103));
}

DSVM_CASE(plan, size_classes)
{
	struct Row {
		usize npages;
		u32 row;
	};
	const Row rows[] = {{0, 0},  {1, 0},   {15, 0},	 {16, 1},
			    {17, 1}, {511, 1}, {512, 2}, {513, 2}};

	for (const Row &row : rows)
		DSVM_EXPECT_EQ(size_class(row.npages), row.row);
}

DSVM_CASE(plan, fault_spans)
{
	struct Row {
		u64 page; // that is touched, from kPlanBase on
		u32 order;
		u64 vma_first;
		u64 vma_last; // pages, both included
		u64 first;
		u64 last;
	};
	const Row rows[] = {
		{5, 0, 0, 1023, 5, 5},	      {5, 4, 0, 1023, 0, 15},
		{15, 4, 0, 1023, 0, 15},      {16, 4, 0, 1023, 16, 31},
		{5, 4, 5, 1023, 5, 15},	      {5, 4, 0, 5, 0, 5},
		{5, 4, 5, 5, 5, 5},	      {5, 4, 3, 9, 3, 9},
		{700, 9, 0, 1023, 512, 1023}, {700, 9, 600, 800, 600, 800},
		{511, 9, 0, 1023, 0, 511},    {511, 9, 511, 512, 511, 511},
	};

	for (const Row &row : rows) {
		const VaRange vma{kPlanBase + row.vma_first * kOnePage,
				  kPlanBase + row.vma_last * kOnePage + (kOnePage - 1)};
		const VaRange span =
			fault_span(kPlanBase + row.page * kOnePage + 123, row.order, vma);

		DSVM_EXPECT_EQ(span.first, kPlanBase + row.first * kOnePage);
		DSVM_EXPECT_EQ(span.last, kPlanBase + row.last * kOnePage + (kOnePage - 1));
	}
}

// Faults in ascending order get more each time, up to the end of 2 MiB; others begin anew.
DSVM_CASE(plan, fault_streaks)
{
	struct Row {
		u64 first; // what there is to be brought back, in pages from kPlanBase on
		u64 last;
		u64 limit; // the last one that may be
		u64 last_back;
	};
	const Row rows[] = {
		{0, 15, 1023, 15},	{16, 31, 1023, 47},    {48, 63, 1023, 111},
		{112, 127, 1023, 239},	{240, 255, 1023, 495}, {496, 511, 1023, 511},
		{512, 527, 1023, 1023}, {32, 47, 1023, 47},    {48, 63, 1023, 79},
		{48, 63, 1023, 63},	{64, 79, 90, 90},      {91, 95, 95, 95},
		{96, 111, 100, 111},	{113, 127, 1023, 127},
	};
	Streak streak = Streak::from(0);

	for (const Row &row : rows) {
		const VaRange limits{kPlanBase, kPlanBase + (row.limit + 1) * kOnePage - 1};
		const VaRange granule{kPlanBase + row.first * kOnePage,
				      kPlanBase + (row.last + 1) * kOnePage - 1};
		const VaRange span = streak.next(granule, limits);

		DSVM_EXPECT_EQ(span.first, granule.first);
		DSVM_EXPECT_EQ(span.last, kPlanBase + (row.last_back + 1) * kOnePage - 1);
		DSVM_EXPECT_EQ(streak.end, span.last + 1);
		DSVM_EXPECT(streak.order <= ilog2(kBlockSize / kOnePage));
		// It is kept as one word.
		DSVM_EXPECT_EQ(Streak::from(streak.word()).end, streak.end);
		DSVM_EXPECT_EQ(Streak::from(streak.word()).order, streak.order);
	}
	DSVM_EXPECT_EQ(streak.order, ilog2(DSVM_FAULT_NPAGES));
}

// The slices of any number of workers are the span: all of it, nothing twice, cut at blocks.
DSVM_CASE(plan, slices)
{
	cases::Random random;

	for (u32 round = 0; round < cases::rounds(300); round++) {
		const u64 first = kPlanBase + random.below(2000) * kOnePage;
		const VaRange span{first, first + (1 + random.below(5000)) * kOnePage - 1};
		const u32 workers = 1 + static_cast<u32>(random.below(9));
		u64 next = span.first;
		u32 busy = 0;

		for (u32 i = 0; i < workers; i++) {
			const Expected<VaRange> slice = slice_of(span, i, workers);

			if (slice.is_error()) {
				DSVM_EXPECT_EQ(slice.status(), kNotFound);
				continue;
			}
			busy++;
			DSVM_REQUIRE_EQ(slice.value().first, next);
			DSVM_EXPECT(slice.value().last == span.last ||
				    is_aligned(slice.value().last + 1, kBlockSize));
			next = slice.value().last + 1;
		}
		DSVM_REQUIRE_EQ(next, span.last + 1);
		// None is given all if there is work for two.
		const u64 blocks =
			(align_down(span.last, kBlockSize) - align_down(span.first, kBlockSize)) /
				kBlockSize +
			1;
		DSVM_EXPECT_EQ(busy > 1, workers > 1 && blocks > 1);
	}
}

// At the end of the address space nothing overflows.
DSVM_CASE(plan, slices_at_the_end)
{
	const VaRange span{~u64{0} - 4 * kBlockSize + 1, ~u64{0}};

	for (u32 i = 0; i < 4; i++) {
		const Expected<VaRange> slice = slice_of(span, i, 4);

		DSVM_REQUIRE(slice.is_ok());
		DSVM_EXPECT_EQ(slice.value().first, span.first + i * kBlockSize);
		DSVM_EXPECT_EQ(slice.value().last, span.first + i * kBlockSize + (kBlockSize - 1));
	}
}

DSVM_CASE(plan, eviction_statuses)
{
	const int rows[][2] = {
		{0, 0},
		{-DSVM_EINTR, -DSVM_EINTR},
		{-DSVM_EINVAL, -DSVM_EINVAL},
		{-DSVM_ENODEV, -DSVM_ENODEV},
		{-DSVM_ENOMEM, -DSVM_ENOSPC},
		{-DSVM_EBUSY, -DSVM_EBUSY},
		{-DSVM_EIO, -DSVM_EBUSY},
		{-DSVM_EFAULT, -DSVM_EBUSY},
		{-DSVM_EAGAIN, -DSVM_EBUSY},
	};

	for (const auto &row : rows)
		DSVM_EXPECT_EQ(evict_status(Status{row[0]}).code(), row[1]);
}

// SIGBUS is for data that is lost, and for nothing else.
DSVM_CASE(plan, fault_results)
{
	struct Row {
		int status;
		dsvm_fault_result result;
	};
	const Row rows[] = {
		{0, DSVM_FAULT_DONE},
		{-DSVM_EAGAIN, DSVM_FAULT_DONE},
		{-DSVM_EBUSY, DSVM_FAULT_DONE},
		{-DSVM_EINTR, DSVM_FAULT_DONE},
		{-DSVM_ERESTARTSYS, DSVM_FAULT_DONE},
		{-DSVM_ENOMEM, DSVM_FAULT_OOM},
		{-DSVM_EIO, DSVM_FAULT_LOST},
		{-DSVM_ENODEV, DSVM_FAULT_LOST},
	};

	for (const Row &row : rows)
		DSVM_EXPECT_EQ(fault_result(Status{row.status}), row.result);
}
