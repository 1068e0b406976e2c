// SPDX-License-Identifier: GPL-2.0-only OR MIT
//
// Cases for core/migrate: huge folios, of four pages here, whole where they can be, and page by
// page where not. The fake machine reports what the kernel breaks on: a folio that is collected
// whole and given single pages.

#include "kunit/case.h"
#include "kunit/cases/scene.h"

using namespace dsvm;
using namespace dsvm::cases;

DSVM_CASE(huge, out_and_back_as_one)
{
	for (u32 variant = 0; variant < 4; variant++) {
		HugeScene s;

		s.options.copies_runs = (variant & 1) != 0;
		s.options.waits_for_fence = (variant & 2) != 0;
		DSVM_EXPECT_EQ(s.out(), 0);
		DSVM_EXPECT_EQ(s.on_device(), kSpan);
		DSVM_EXPECT_EQ(s.huge_pages(), kSpan);
		DSVM_EXPECT_EQ(s.world.counters().huge_moved, 4u);
		DSVM_EXPECT_EQ(s.world.counters().huge_split, 0u);
		DSVM_REQUIRE(s.is_intact());
		DSVM_EXPECT_EQ(s.touch_until_back(6), 1u);
		DSVM_EXPECT(s.in_ram() >= kHuge);
		DSVM_EXPECT_EQ(s.world.counters().huge_moved, 4u + s.in_ram() / kHuge);
		DSVM_EXPECT_EQ(s.huge_pages(), kSpan);
		DSVM_EXPECT_EQ(s.world.counters().huge_split, 0u);
		DSVM_EXPECT_EQ(s.pool.frames_lost(), 0u);
		for (u32 i = 4; i < 8; i++)
			DSVM_EXPECT(s.page(i).dirty || s.page(i - i % kHuge).dirty);
		DSVM_REQUIRE(s.is_intact());
	}
}

// A device that has seen RAM itself so far sees a copy of a huge page, of the first or a later one.
DSVM_CASE(huge, mapped_by_a_copy)
{
	for (u32 copied = 1; copied <= 4; copied++) {
		HugeScene s;

		s.world.set_direct(true, copied);
		DSVM_EXPECT_EQ(s.out(), 0);
		DSVM_EXPECT_EQ(s.huge_pages(), kSpan);
		DSVM_EXPECT_EQ(s.world.calls(Call::kDmaMap), kSpan / kHuge);
		DSVM_REQUIRE(s.is_intact());
	}
}

// Single pages that lie in no row, before and behind huge ones.
DSVM_CASE(huge, among_scattered_pages)
{
	const u32 singles[] = {5, 7, 4, 6, 13, 15, 12, 14};
	HugeScene s(false);

	s.world.populate_huge(s.world.mm(), page_at(0));
	s.world.populate_huge(s.world.mm(), page_at(8));
	for (const u32 i : singles)
		s.world.populate(s.world.mm(), page_at(i), 1);
	s.world.set_direct(true);
	DSVM_EXPECT_EQ(s.out(), 0);
	DSVM_EXPECT_EQ(s.on_device(), kSpan);
	DSVM_EXPECT_EQ(s.huge_pages(), 2 * kHuge);
	DSVM_EXPECT_EQ(s.world.calls(Call::kDmaMapRun), 0u);
	DSVM_EXPECT_EQ(s.world.calls(Call::kDmaMap), 2u + 8u);
	DSVM_REQUIRE(s.is_intact());
}

DSVM_CASE(huge, holes)
{
	HugeScene s(false);

	s.world.populate_huge(s.world.mm(), page_at(0));
	DSVM_EXPECT_EQ(s.out(), 0);
	DSVM_EXPECT_EQ(s.on_device(), kSpan);
	DSVM_EXPECT_EQ(s.huge_pages(), kSpan);
	DSVM_REQUIRE(s.is_intact(kHuge));
}

// The frames do not fit: single pages from the beginning.
DSVM_CASE(huge, frames_that_do_not_fit)
{
	for (u32 variant = 0; variant < 4; variant++) {
		HugeScene s(variant < 2);

		s.misaligned = variant % 2 == 0;
		s.options.scattered = variant % 2 != 0;
		DSVM_EXPECT_EQ(s.out(), 0);
		DSVM_EXPECT_EQ(s.last.result[DSVM_MOVED], kSpan);
		DSVM_EXPECT_EQ(s.on_device(), kSpan);
		DSVM_EXPECT_EQ(s.huge_pages(), 0u);
		DSVM_EXPECT_EQ(s.world.counters().huge_moved, 0u);
		DSVM_REQUIRE(s.is_intact(variant < 2 ? kSpan : 0));
	}
}

// They fit for some of the pages: that is not enough, because it has to be known before the
// kernel is asked.
DSVM_CASE(huge, frames_that_fit_in_part)
{
	const u32 gaps[] = {1, 4, 7, 8, 12, 15};

	for (const u32 gap : gaps) {
		HugeScene s;

		s.options.gap_at = gap;
		DSVM_EXPECT_EQ(s.out(), 0);
		DSVM_EXPECT_EQ(s.last.result[DSVM_MOVED], kSpan);
		DSVM_EXPECT_EQ(s.huge_pages(), 0u);
		DSVM_EXPECT_EQ(s.pool.frames_lost(), 0u);
		DSVM_REQUIRE(s.is_intact());
		DSVM_EXPECT_EQ(s.evict(s.made()), 0);
		DSVM_EXPECT_EQ(s.in_ram(), kSpan);
		DSVM_REQUIRE(s.is_intact());
	}
}

// A child of a fork maps the folios as one, too.
DSVM_CASE(huge, shared_with_a_child)
{
	for (const bool fits : kBoth) {
		HugeScene s;

		s.misaligned = !fits;
		s.world.share(s.world.mm(0), s.world.mm(1));
		DSVM_EXPECT_EQ(s.out(), 0);
		DSVM_EXPECT_EQ(s.on_device(), kSpan);
		DSVM_EXPECT_EQ(s.huge_pages(), fits ? kSpan : 0u);
		for (u32 i = 0; i < kSpan; i++)
			DSVM_EXPECT_EQ(s.world.read(s.world.mm(1), page_at(i)), page_at(i));
		DSVM_REQUIRE(s.is_intact());
		// And back, for want of huge RAM page by page.
		s.world.fail(Call::kHugeAlloc, World::kEvery, -1);
		DSVM_EXPECT(s.touch_until_back(5) <= 2u);
		for (u32 i = 0; i < kSpan; i++)
			DSVM_EXPECT_EQ(s.world.read(s.world.mm(1), page_at(i)), page_at(i));
		DSVM_REQUIRE(s.is_intact());
	}
}

// VMAs that begin and end inside of huge pages.
DSVM_CASE(huge, edges_of_a_vma)
{
	JobScene s(kSpan, kHugeOrder);

	s.world.add_vma(s.world.mm(), page_at(2), page_end(13));
	s.world.populate(s.world.mm(), page_at(2), 2);
	s.world.populate_huge(s.world.mm(), page_at(4));
	s.world.populate_huge(s.world.mm(), page_at(8));
	s.world.populate(s.world.mm(), page_at(12), 2);
	DSVM_EXPECT_EQ(s.out(), 0);
	DSVM_EXPECT_EQ(s.last.result[DSVM_MOVED], 12u);
	DSVM_EXPECT_EQ(s.last.result[DSVM_STAY_NO_MEMORY_MAP], 4u);
	DSVM_EXPECT_EQ(s.world.counters().huge_moved, 2u);
	DSVM_EXPECT_EQ(s.pte(4).order, kHugeOrder);
	DSVM_EXPECT_EQ(s.pte(2).order, 0u);
	for (u32 i = 0; i < kSpan; i++)
		DSVM_EXPECT_EQ(s.world.read(s.world.mm(), page_at(i)),
			       i >= 2 && i < 14 ? page_at(i) : 0);
	DSVM_EXPECT_EQ(s.pool.frames_lost(), 0u);
	DSVM_EXPECT_EQ(s.touch(3), DSVM_FAULT_DONE);
	for (u32 i = 2; i < 14; i++)
		DSVM_EXPECT_EQ(s.world.read(s.world.mm(), page_at(i)), page_at(i));
}

// Parts of a huge page that are asked for: it is split, and the rest stays.
DSVM_CASE(huge, part_of_a_huge_page)
{
	HugeScene s;

	s.last = s.job();
	s.last.first = page_at(1);
	s.last.last = page_end(9);
	DSVM_EXPECT_EQ(s.run(s.last), 0);
	DSVM_EXPECT_EQ(s.last.result[DSVM_MOVED], 9u);
	DSVM_EXPECT_EQ(s.on_device(), 9u);
	DSVM_EXPECT_EQ(s.pte(12).order, kHugeOrder);
	DSVM_EXPECT(s.is_intact());
}

// A page of a huge one that somebody holds keeps all of it.
DSVM_CASE(huge, pinned)
{
	HugeScene s;

	s.page(6).pinned = true;
	DSVM_EXPECT_EQ(s.out(), 0);
	DSVM_EXPECT_EQ(s.last.result[DSVM_MOVED], kSpan - kHuge);
	DSVM_EXPECT_EQ(s.on_device(), kSpan - kHuge);
	DSVM_EXPECT_EQ(s.pte(6).order, kHugeOrder);
	DSVM_EXPECT_EQ(s.report[6], DSVM_STAY_PINNED);
	DSVM_EXPECT_EQ(s.world.counters().stayed, u64{kHuge});
	DSVM_EXPECT_EQ(s.pool.frames_lost(), 0u);
	DSVM_EXPECT(s.is_intact());
	s.page(6).pinned = false;
	s.page(6).raced = true;
	DSVM_EXPECT_EQ(s.out(), 0);
	DSVM_EXPECT_EQ(s.last.result[DSVM_STAY_BUSY], u64{kHuge});
	DSVM_EXPECT_EQ(s.pool.frames_lost(), 0u);
	DSVM_EXPECT(s.is_intact());
}

// Before 7.3: folios that are mapped whole are split, the others stay.
DSVM_CASE(huge, old_kernels)
{
	HugeScene s;

	s.world.split_mappings(&s.page(4));
	s.world.set_huge_order(0);
	DSVM_EXPECT_EQ(s.out(), 0);
	DSVM_EXPECT_EQ(s.last.result[DSVM_MOVED], kSpan - kHuge);
	DSVM_EXPECT_EQ(s.last.result[DSVM_STAY_LARGE_FOLIO], u64{kHuge});
	DSVM_EXPECT_EQ(s.huge_pages(), 0u);
	DSVM_EXPECT_EQ(s.pool.frames_lost(), 0u);
	DSVM_EXPECT(s.is_intact());
}

// DMA that takes no piece as large as a huge page.
DSVM_CASE(huge, small_dma_pieces)
{
	HugeScene s;

	s.world.set_max_dma_order(0);
	DSVM_EXPECT_EQ(s.out(), 0);
	DSVM_EXPECT_EQ(s.huge_pages(), kSpan);
	DSVM_EXPECT_EQ(s.world.counters().huge_moved, 4u);
	DSVM_REQUIRE(s.is_intact());
	DSVM_EXPECT_EQ(s.touch_until_back(6), 1u);
	DSVM_REQUIRE(s.is_intact());
}

// One page of a huge one that DMA does not reach: all of it stays, and nothing else.
DSVM_CASE(huge, one_page_out_of_reach)
{
	// The first calls find out how large a piece may be.
	for (u32 n = 3; n < 3 + kSpan; n++) {
		HugeScene s;

		s.world.set_max_dma_order(0);
		s.world.fail(Call::kDmaMap, n, -DSVM_EFAULT);
		DSVM_EXPECT_EQ(s.out(), 0);
		DSVM_EXPECT_EQ(s.last.result[DSVM_MOVED], kSpan - kHuge);
		DSVM_EXPECT_EQ(s.last.result[DSVM_STAY_NO_DMA], u64{kHuge});
		DSVM_EXPECT_EQ(s.pool.frames_lost(), 0u);
		DSVM_EXPECT_EQ(s.huge_pages(), kSpan);
		DSVM_REQUIRE(s.is_intact());
	}
}

// A CPU faults by the entry of a huge page: all of it comes, however small the granule is.
DSVM_CASE(huge, small_granule)
{
	const u32 granules[] = {1, 2, 4, 8};

	for (const u32 granule : granules) {
		HugeScene s;

		s.options.fault_npages = granule;
		DSVM_REQUIRE_EQ(s.out(), 0);
		DSVM_EXPECT_EQ(s.touch_until_back(6), 1u);
		DSVM_EXPECT_EQ(s.in_ram(), granule < kHuge ? kHuge : granule);
		DSVM_EXPECT_EQ(s.huge_pages(), kSpan);
		DSVM_REQUIRE(s.is_intact());
	}
}

// No huge page of RAM is left: the first fault breaks up the mapping, the second one brings
// the granule page by page. Neither is out of memory.
DSVM_CASE(huge, no_huge_ram_for_a_fault)
{
	for (const bool runs : kBoth) {
		HugeScene s;

		s.options.copies_runs = runs;
		DSVM_REQUIRE_EQ(s.out(), 0);
		s.world.fail(Call::kHugeAlloc, World::kEvery, -1);
		DSVM_EXPECT(s.touch_until_back(6) <= 2u);
		DSVM_EXPECT_EQ(s.pte(6).order, 0u);
		DSVM_EXPECT_EQ(s.world.counters().fault_oom, 0u);
		DSVM_EXPECT_EQ(s.world.counters().fault_lost, 0u);
		DSVM_EXPECT(s.world.counters().huge_split > 0);
		DSVM_EXPECT_EQ(s.pool.frames_lost(), 0u);
		DSVM_REQUIRE(s.is_intact());
		for (u32 i = 0; i < kSpan; i++) {
			if (s.pte(i).kind == PteKind::kDevice)
				DSVM_EXPECT(s.touch_until_back(i) <= 2u);
		}
		DSVM_EXPECT_EQ(s.in_ram(), kSpan);
		DSVM_EXPECT_EQ(s.pool.pages_in_use(), 0u);
		DSVM_REQUIRE(s.is_intact());
	}
}

// The same with no memory at all: out of memory is said, and nothing is lost.
DSVM_CASE(huge, no_ram_for_a_fault)
{
	HugeScene s;
	bool oom = false;

	DSVM_REQUIRE_EQ(s.out(), 0);
	s.world.fail(Call::kHugeAlloc, World::kEvery, -1);
	s.world.fail(Call::kPageAlloc, World::kEvery, -1);
	for (u32 i = 0; i < 3 && !oom; i++)
		oom = s.touch(6) == DSVM_FAULT_OOM;
	DSVM_EXPECT(oom);
	DSVM_EXPECT_EQ(s.on_device(), kSpan);
	DSVM_REQUIRE(s.is_intact());
}

// Without scratch the folio comes as one entry, or by itself.
DSVM_CASE(huge, no_scratch_for_a_fault)
{
	HugeScene s;

	s.options.fault_npages = 1;
	DSVM_REQUIRE_EQ(s.out(), 0);
	dsvm_env_fail_allocs(true);
	DSVM_EXPECT_EQ(s.touch_until_back(6), 1u);
	DSVM_EXPECT_EQ(s.in_ram(), kHuge);
	s.world.fail(Call::kTakeReserve, World::kEvery, -1);
	DSVM_EXPECT_EQ(s.touch(13), DSVM_FAULT_OOM);
	dsvm_env_fail_allocs(false);
	DSVM_EXPECT_EQ(s.touch_until_back(13), 1u);
	DSVM_EXPECT(s.is_intact());
}

static int split(HugeScene &s, usize addr, void *owner)
{
	return dsvm_migrate_split(s.world.os_mm(), fake::to_os(&s.stand_in), addr, owner);
}

// A huge page of the device that is mapped page by page; the CPU faults on one of its tails.
DSVM_CASE(huge, fault_on_a_tail)
{
	HugeScene s;

	s.options.fault_npages = 1;
	DSVM_REQUIRE_EQ(s.out(), 0);
	s.world.split_mappings(&s.page(4));
	DSVM_EXPECT_EQ(s.touch_until_back(6), 1u);
	DSVM_EXPECT_EQ(s.in_ram(), 1u);
	DSVM_REQUIRE(s.is_intact());
	// Nobody is left entered.
	DSVM_EXPECT_EQ(s.touch_until_back(4), 1u);
	DSVM_EXPECT_EQ(s.touch_until_back(7), 1u);
	DSVM_REQUIRE(s.is_intact());
}

// The same while somebody has a reference more, and the folio cannot be split: nothing around it is
// collected then, which would split it once that somebody has gone.
DSVM_CASE(huge, fault_on_a_tail_in_use)
{
	HugeScene s;

	DSVM_REQUIRE_EQ(s.out(), 0);
	s.world.split_mappings(&s.page(4));
	s.world.get_folio(&s.page(4));
	const u32 setups = s.world.calls(Call::kMigrateSetup);
	DSVM_EXPECT_EQ(s.touch(6), DSVM_FAULT_DONE);
	DSVM_EXPECT_EQ(s.world.calls(Call::kMigrateSetup), setups + 1);
	DSVM_EXPECT_EQ(s.on_device(), kSpan);
	DSVM_EXPECT_EQ(split(s, page_at(6), static_cast<Stage *>(&s)), -DSVM_EBUSY);
	s.world.put_folio(&s.page(4));
	DSVM_EXPECT_EQ(s.touch_until_back(6), 1u);
	DSVM_EXPECT_EQ(s.in_ram(), kSpan);
	DSVM_EXPECT(s.is_intact());
}

// The same where another page is there by now: that one is small, and says nothing of the folio.
DSVM_CASE(huge, fault_on_a_tail_that_was_replaced)
{
	HugeScene s;

	DSVM_REQUIRE_EQ(s.out(), 0);
	s.world.split_mappings(&s.page(4));
	fake::Page *const page = s.begin_fault(6);
	s.world.unmap(s.world.mm(), page_at(6), page_end(6));
	s.world.add_vma(s.world.mm(), page_at(6), page_end(6));
	s.world.populate(s.world.mm(), page_at(6), 1);
	DSVM_REQUIRE_EQ(s.out(), 0);
	DSVM_REQUIRE(s.pte(6).page != page);
	const u32 setups = s.world.calls(Call::kMigrateSetup);
	dsvm_os_mm_read_lock(s.world.os_mm());
	DSVM_EXPECT_EQ(s.handle_fault(6, page), DSVM_FAULT_DONE);
	dsvm_os_mm_read_unlock(s.world.os_mm());
	DSVM_EXPECT_EQ(s.world.calls(Call::kMigrateSetup), setups + 1);
	s.end_fault(page);
	DSVM_EXPECT_EQ(s.on_device(), kSpan);
	DSVM_EXPECT_EQ(s.touch_until_back(6), 1u);
}

// munmap() of a part of a huge page leaves its frames taken, until the folio is split: on
// demand, by a fault, by an eviction.
DSVM_CASE(huge, unmapped_in_part)
{
	for (u32 variant = 0; variant < 4; variant++) {
		HugeScene s;

		s.options.fault_npages = 1;
		DSVM_REQUIRE_EQ(s.out(), 0);
		s.world.unmap(s.world.mm(), page_at(5), page_end(6));
		DSVM_EXPECT_EQ(s.made().frames_back(), 0u);
		if (variant == 1) {
			DSVM_EXPECT_EQ(split(s, page_at(4) + 123, static_cast<Stage *>(&s)), 0);
			DSVM_EXPECT_EQ(s.made().frames_back(), 2u);
			DSVM_EXPECT_EQ(s.on_device(), kSpan - 2);
			DSVM_EXPECT_EQ(s.pte(0).order, kHugeOrder);
		} else if (variant == 2) {
			DSVM_EXPECT_EQ(s.touch_until_back(4), 1u);
			DSVM_EXPECT_EQ(s.made().frames_back(), 3u);
			DSVM_EXPECT(s.pte(7).kind == PteKind::kDevice);
		} else if (variant == 3) {
			DSVM_EXPECT_EQ(s.evict(s.made()), 0);
			DSVM_EXPECT_EQ(s.made().frames_back(), kSpan);
		}
		for (u32 i = 0; i < kSpan; i++)
			DSVM_EXPECT_EQ(s.world.read(s.world.mm(), page_at(i)),
				       i == 5 || i == 6 ? 0 : page_at(i));
		DSVM_EXPECT_EQ(s.world.dma_mappings(), 0u);
		s.world.unmap(s.world.mm(), page_at(4), page_end(7));
		DSVM_EXPECT_EQ(s.made().frames_back() >= kHuge, true);
	}
}

// Asked for where there is nothing of the kind.
DSVM_CASE(huge, nothing_to_split)
{
	HugeScene s;
	void *const owner = static_cast<Stage *>(&s);

	DSVM_REQUIRE_EQ(s.out(), 0);
	// A hole, another owner's, one that is mapped whole.
	DSVM_EXPECT_EQ(split(s, page_at(40), owner), 0);
	DSVM_EXPECT_EQ(split(s, page_at(4), nullptr), 0);
	DSVM_EXPECT_EQ(split(s, page_at(4), owner), 0);
	DSVM_EXPECT_EQ(s.huge_pages(), kSpan);
	// RAM, pages that are small already, page tables that change too fast.
	s.options.fault_npages = 1;
	s.world.unmap(s.world.mm(), page_at(5), page_end(5));
	s.world.fail(Call::kHmmFault, 1, -DSVM_EBUSY);
	DSVM_EXPECT_EQ(split(s, page_at(4), owner), 0);
	DSVM_EXPECT_EQ(s.made().frames_back(), 0u);
	const u32 setups = s.world.calls(Call::kMigrateSetup);
	s.world.fail(Call::kMigrateSetup, 1, -DSVM_ENOMEM);
	DSVM_EXPECT_EQ(split(s, page_at(4), owner), -DSVM_ENOMEM);
	DSVM_EXPECT_EQ(s.world.calls(Call::kMigrateSetup), setups + 1);
	s.world.fail(Call::kMmGet, 1, -1);
	DSVM_EXPECT_EQ(split(s, page_at(4), owner), -DSVM_EFAULT);
	s.world.mm().vmas[0].anonymous = false;
	DSVM_EXPECT_EQ(split(s, page_at(4), owner), 0);
	s.world.mm().vmas[0].anonymous = true;
	s.world.mm().vmas[0].special = true;
	DSVM_EXPECT_EQ(split(s, page_at(4), owner), 0);
	s.world.mm().vmas[0].special = false;
	s.world.set_huge_order(0);
	DSVM_EXPECT_EQ(split(s, page_at(4), owner), 0);
	s.world.set_huge_order(kHugeOrder);
	DSVM_EXPECT_EQ(s.world.calls(Call::kMigrateSetup), setups + 1);
	// For once; and then there is nothing left to do.
	DSVM_EXPECT_EQ(split(s, page_at(4), owner), 0);
	DSVM_EXPECT_EQ(s.made().frames_back(), 1u);
	DSVM_EXPECT_EQ(split(s, page_at(4), owner), 0);
	DSVM_EXPECT_EQ(s.world.calls(Call::kMigrateSetup), setups + 2);
	for (u32 i = 0; i < kSpan; i++)
		DSVM_EXPECT_EQ(s.world.read(s.world.mm(), page_at(i)), i == 5 ? 0 : page_at(i));
}

DSVM_CASE(huge, evicted_as_one)
{
	HugeScene s;

	DSVM_REQUIRE_EQ(s.out(), 0);
	DSVM_EXPECT_EQ(s.evict(s.made()), 0);
	DSVM_EXPECT_EQ(s.world.calls(Call::kDeviceSetup), 0u);
	DSVM_EXPECT_EQ(s.in_ram(), kSpan);
	DSVM_EXPECT_EQ(s.huge_pages(), kSpan);
	DSVM_EXPECT(s.made().is_detached());
	DSVM_REQUIRE(s.is_intact());
}

// The huge page that was allocated for it is not lost if the kernel refuses.
DSVM_CASE(huge, refused_eviction)
{
	HugeScene s;

	DSVM_REQUIRE_EQ(s.out(), 0);
	s.world.fail(Call::kMigrateSetup, World::kEvery, -DSVM_EINVAL);
	s.world.fail(Call::kDeviceSetup, World::kEvery, -DSVM_EINVAL);
	DSVM_EXPECT_EQ(s.evict(s.made()), -DSVM_EINVAL);
	DSVM_EXPECT_EQ(s.world.pages_in_use(), kSpan);
	s.world.fail(Call::kMigrateSetup, 0, 0);
	s.world.fail(Call::kDeviceSetup, 0, 0);
	// Nor if somebody holds the page.
	s.page(5).pinned = true;
	DSVM_EXPECT_EQ(s.evict(s.made()), -DSVM_EBUSY);
	DSVM_EXPECT_EQ(s.on_device(), kHuge);
	DSVM_EXPECT_EQ(s.world.pages_in_use(), kSpan);
	DSVM_EXPECT(s.is_intact());
}

// No huge RAM: through the owner's page tables, at the address that the memory was made for.
DSVM_CASE(huge, evicted_without_huge_ram)
{
	for (const bool with_child : kBoth) {
		HugeScene s;

		DSVM_REQUIRE_EQ(s.out(), 0);
		if (with_child)
			s.world.share(s.world.mm(0), s.world.mm(1));
		s.world.fail(Call::kHugeAlloc, World::kEvery, -1);
		DSVM_EXPECT_EQ(s.evict(s.made()), 0);
		DSVM_EXPECT_EQ(s.in_ram(), kSpan);
		DSVM_EXPECT_EQ(s.huge_pages(), 0u);
		DSVM_EXPECT(s.made().is_detached());
		for (u32 i = 0; with_child && i < kSpan; i++)
			DSVM_EXPECT_EQ(s.world.read(s.world.mm(1), page_at(i)), page_at(i));
		DSVM_REQUIRE(s.is_intact());
	}
}

// Where the address does not lead to the folio, it stays, and the caller is told.
DSVM_CASE(huge, evicted_without_huge_ram_or_address)
{
	for (const bool has_vma : kBoth) {
		HugeScene s;

		s.world.add_vma(s.world.mm(), page_at(32), page_end(47));
		DSVM_REQUIRE_EQ(s.out(), 0);
		s.world.move_pages(s.world.mm(), page_at(0), page_at(32), kSpan);
		if (!has_vma)
			s.world.unmap(s.world.mm(), page_at(0), page_end(kSpan - 1));
		s.world.fail(Call::kHugeAlloc, World::kEvery, -1);
		DSVM_EXPECT_EQ(s.evict(s.made()), -DSVM_ENOSPC);
		s.world.fail(Call::kHugeAlloc, 0, 0);
		DSVM_EXPECT_EQ(s.evict(s.made()), 0);
		DSVM_EXPECT(s.made().is_detached());
		for (u32 i = 0; i < kSpan; i++)
			DSVM_EXPECT_EQ(s.world.read(s.world.mm(), page_at(32 + i)), page_at(i));
	}
}

// A part of an allocation that begins and ends inside of huge pages.
DSVM_CASE(huge, evicted_in_part)
{
	for (u32 first = 0; first < kSpan; first += 3) {
		for (u32 count = 1; first + count <= kSpan; count += 5) {
			for (const bool huge_ram : kBoth) {
				HugeScene s;

				DSVM_REQUIRE_EQ(s.out(), 0);
				if (!huge_ram)
					s.world.fail(Call::kHugeAlloc, World::kEvery, -1);
				DSVM_EXPECT_EQ(s.evict(s.made(), first, count), 0);
				for (u32 i = first; i < first + count; i++)
					DSVM_EXPECT(s.pte(i).kind == PteKind::kPresent);
				// Not more than the huge pages that it meets.
				for (u32 i = 0; i < kSpan; i++) {
					if (i / kHuge < first / kHuge ||
					    i / kHuge > (first + count - 1) / kHuge)
						DSVM_EXPECT(s.pte(i).kind == PteKind::kDevice);
				}
				DSVM_EXPECT_EQ(s.pool.frames_lost(), 0u);
				DSVM_REQUIRE(s.is_intact());
			}
		}
	}
}

// What begins with small pages ends where a huge one begins.
DSVM_CASE(huge, evicted_behind_small_ones)
{
	HugeScene s(false);

	s.world.populate(s.world.mm(), page_at(0), kHuge);
	for (u32 i = kHuge; i < kSpan; i += kHuge)
		s.world.populate_huge(s.world.mm(), page_at(i));
	DSVM_REQUIRE_EQ(s.out(), 0);
	DSVM_REQUIRE_EQ(s.huge_pages(), kSpan - kHuge);
	DSVM_EXPECT_EQ(s.evict(s.made(), 2, kSpan - 2), 0);
	DSVM_EXPECT_EQ(s.in_ram(), kSpan - 2);
	DSVM_EXPECT_EQ(s.huge_pages(), kSpan - kHuge);
	DSVM_EXPECT(s.is_intact());
}

// From one device to the other as one.
DSVM_CASE(huge, from_device_to_device)
{
	for (const bool fits : kBoth) {
		HugeScene s;

		s.options.provider = 1;
		DSVM_REQUIRE_EQ(s.out(), 0);
		DSVM_REQUIRE_EQ(s.huge_pages(), kSpan);
		s.options.provider = 0;
		s.misaligned = !fits;
		DSVM_EXPECT_EQ(s.out(), 0);
		DSVM_EXPECT_EQ(s.last.result[DSVM_MOVED], kSpan);
		DSVM_EXPECT_EQ(s.huge_pages(), fits ? kSpan : 0u);
		DSVM_EXPECT_EQ(s.world.counters().from_device, kSpan);
		DSVM_EXPECT_EQ(s.pool.frames_lost(), 0u);
		DSVM_REQUIRE(s.is_intact());
	}
}

// Everything at random: huge and small pages, holes, pins, frames, memory that is short; out,
// touched, evicted. Whatever happens, the CPU reads what it wrote, and no frame is lost.
DSVM_CASE(huge, random_trips)
{
	cases::Random random;

	for (u32 round = 0; round < cases::rounds(150); round++) {
		HugeScene s(false);
		bool populated[kSpan] = {};

		s.options.copies_runs = random.chance(50);
		s.options.waits_for_fence = random.chance(50);
		s.world.set_vma_pins(random.chance(50));
		for (u32 i = 0; i < kSpan; i += kHuge) {
			const u64 kind = random.below(3);

			if (kind == 0)
				s.world.populate_huge(s.world.mm(), page_at(i));
			for (u32 j = 0; j < kHuge; j++) {
				populated[i + j] = kind == 0 || (kind == 1 && random.chance(60));
				if (kind == 1 && populated[i + j])
					s.world.populate(s.world.mm(), page_at(i + j), 1);
			}
		}
		for (u32 step = 0; step < 8; step++) {
			const u32 index = static_cast<u32>(random.below(kSpan));
			fake::Page *const page = s.pte(index).page;

			s.misaligned = random.chance(30);
			s.options.scattered = random.chance(20);
			s.options.provider = random.chance(30) ? 1 : 0;
			s.next_frame = s.next_frame > 400 ? 400 : s.next_frame;
			s.world.set_max_dma_order(random.chance(30) ? 0 : ~0u);
			s.world.fail(Call::kHugeAlloc, random.chance(30) ? World::kEvery : 0, -1);
			if (page != nullptr)
				page->pinned = random.chance(20);
			if (random.chance(40))
				static_cast<void>(s.out());
			else if (s.pte(index).kind == PteKind::kDevice && random.chance(60))
				static_cast<void>(s.touch(index));
			else if (page != nullptr && page->zdd != nullptr)
				static_cast<void>(s.evict(
					*static_cast<Allocation *>(page->zdd->devmem->allocation)));
			if (page != nullptr)
				page->pinned = false;
			for (u32 i = 0; i < kSpan; i++)
				DSVM_REQUIRE_EQ(s.world.read(s.world.mm(), page_at(i)),
						populated[i] ? page_at(i) : 0);
			DSVM_REQUIRE_EQ(s.pool.frames_lost(), 0u);
			DSVM_REQUIRE_EQ(s.world.dma_mappings(), 0u);
		}
	}
}
