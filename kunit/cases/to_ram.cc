// SPDX-License-Identifier: GPL-2.0-only OR MIT
//
// Cases for core/migrate: back to RAM because the CPU touches a page.

#include "kunit/case.h"
#include "kunit/cases/scene.h"

using namespace dsvm;
using namespace dsvm::cases;

DSVM_CASE(to_ram, fault_brings_the_block_back)
{
	Scene s;

	DSVM_REQUIRE_EQ(s.out(), 0);
	s.allocation.settle();
	DSVM_EXPECT_EQ(s.touch(3), DSVM_FAULT_DONE);
	DSVM_EXPECT_EQ(s.in_ram(), kSpan);
	DSVM_EXPECT_EQ(s.allocation.pages_in_use(), 0u);
	DSVM_EXPECT(s.allocation.is_detached());
	DSVM_EXPECT(s.is_intact());
	// The kernel must not drop what only the device may have written.
	for (u32 i = 0; i < kSpan; i++)
		DSVM_EXPECT(s.page(i).dirty);
}

DSVM_CASE(to_ram, timeslice_keeps_it)
{
	Scene s;

	DSVM_REQUIRE_EQ(s.out(), 0);
	DSVM_EXPECT_EQ(s.touch(3, true), DSVM_FAULT_DONE);
	DSVM_EXPECT_EQ(s.on_device(), kSpan);
	DSVM_EXPECT_EQ(s.world.calls(Call::kZddEnter), 0u);
}

DSVM_CASE(to_ram, vma_bounds_are_kept)
{
	Scene s;

	DSVM_REQUIRE_EQ(s.out(), 0);
	s.world.unmap(s.world.mm(), page_at(0), page_end(2));
	s.world.unmap(s.world.mm(), page_at(13), page_end(15));
	DSVM_EXPECT_EQ(s.touch(5), DSVM_FAULT_DONE);
	DSVM_EXPECT_EQ(s.in_ram(), 10u);
	DSVM_EXPECT_EQ(s.on_device(), 0u);
}

DSVM_CASE(to_ram, no_memory_for_the_page)
{
	for (u32 n = 1; n <= kSpan; n++) {
		Scene s;

		DSVM_REQUIRE_EQ(s.out(), 0);
		s.world.fail(Call::kPageAlloc, n, -1);
		const bool is_ours = n == 4;
		DSVM_EXPECT_EQ(s.touch(3), is_ours ? DSVM_FAULT_OOM : DSVM_FAULT_DONE);
		DSVM_EXPECT_EQ(s.on_device(), is_ours ? kSpan : 1u);
		DSVM_REQUIRE(s.is_intact());
		DSVM_EXPECT_EQ(s.touch(is_ours ? 3 : n - 1), DSVM_FAULT_DONE);
		DSVM_EXPECT_EQ(s.on_device(), 0u);
		DSVM_REQUIRE(s.is_intact());
	}
}

DSVM_CASE(to_ram, no_dma_for_the_page)
{
	for (u32 n = 1; n <= kSpan; n++) {
		Scene s;

		DSVM_REQUIRE_EQ(s.out(), 0);
		s.world.fail(Call::kDmaMap, n, -DSVM_EFAULT);
		const bool is_ours = n == 4;
		DSVM_EXPECT_EQ(s.touch(3), is_ours ? DSVM_FAULT_LOST : DSVM_FAULT_DONE);
		DSVM_EXPECT_EQ(s.on_device(), is_ours ? kSpan : 1u);
		// Somebody will want to know.
		DSVM_EXPECT_EQ(dsvm_env_log_count(), n >= 4 ? 1u : 0u);
		DSVM_REQUIRE(s.is_intact());
	}
}

// What a failure means to the process; and that the next fault finds all as it was, and
// nobody else at work.
DSVM_CASE(to_ram, each_step_fails)
{
	struct Step {
		Call call;
		u32 n;
		int error;
		dsvm_fault_result result;
	};
	const Step steps[] = {
		{Call::kDmaMap, 4, -DSVM_EFAULT, DSVM_FAULT_LOST},
		{Call::kPageAlloc, 4, -1, DSVM_FAULT_OOM},
		{Call::kCopyToRam, 1, -DSVM_EIO, DSVM_FAULT_LOST},
		{Call::kCopyToRam, 1, -DSVM_EINTR, DSVM_FAULT_LOST},
		{Call::kCopyToRam, 1, -DSVM_ENOMEM, DSVM_FAULT_OOM},
		{Call::kMigrateSetup, 1, -DSVM_EINVAL, DSVM_FAULT_LOST},
		{Call::kMigrateSetup, 1, -DSVM_ENOMEM, DSVM_FAULT_OOM},
		{Call::kMigratePages, 1, -1, DSVM_FAULT_DONE},
		{Call::kZddEnter, 1, -1, DSVM_FAULT_DONE},
	};

	for (const Step &step : steps) {
		Scene s;

		DSVM_REQUIRE_EQ(s.out(), 0);
		s.world.fail(step.call, step.n, step.error);
		DSVM_EXPECT_EQ(s.touch(3), step.result);
		DSVM_EXPECT_EQ(s.on_device(), kSpan);
		DSVM_EXPECT_EQ(s.world.calls(Call::kPageRetire), 0u);
		DSVM_REQUIRE(s.is_intact());
		DSVM_EXPECT_EQ(s.touch(3), DSVM_FAULT_DONE);
		DSVM_EXPECT_EQ(s.on_device(), 0u);
		DSVM_EXPECT_EQ(s.world.calls(Call::kPageRetire), kSpan);
		DSVM_REQUIRE(s.is_intact());
	}
}

DSVM_CASE(to_ram, without_scratch_the_one_page_comes_back)
{
	Scene s;

	DSVM_REQUIRE_EQ(s.out(), 0);
	dsvm_env_fail_alloc(1);
	DSVM_EXPECT_EQ(s.touch(3), DSVM_FAULT_DONE);
	DSVM_EXPECT(dsvm_env_alloc_failed());
	DSVM_EXPECT_EQ(s.in_ram(), 1u);
	DSVM_EXPECT(s.world.pte(s.world.mm(), page_at(3)).kind == PteKind::kPresent);
	DSVM_EXPECT(s.is_intact());
	// Not even a page of RAM, and a copy that fails: as with all the scratch there is.
	dsvm_env_fail_alloc(1);
	s.world.fail(Call::kPageAlloc, 1, -1);
	DSVM_EXPECT_EQ(s.touch(0), DSVM_FAULT_OOM);
	dsvm_env_fail_alloc(1);
	s.world.fail(Call::kCopyToRam, 1, -DSVM_EIO);
	DSVM_EXPECT_EQ(s.touch(15), DSVM_FAULT_LOST);
	DSVM_EXPECT_EQ(s.in_ram(), 1u);
	DSVM_EXPECT(s.is_intact());
	DSVM_EXPECT_EQ(s.touch(15), DSVM_FAULT_DONE);
	DSVM_EXPECT_EQ(s.in_ram(), kSpan);
	DSVM_EXPECT(s.is_intact());
}

// Another CPU faults on the same allocation before the first one has collected its pages.
DSVM_CASE(to_ram, second_fault_gives_way)
{
	Scene s;

	DSVM_REQUIRE_EQ(s.out(), 0);
	s.world.at(
		Call::kMigrateSetup, 1,
		[](World &world, void *arg) {
			Scene &scene = *static_cast<Scene *>(arg);
			const u64 outstanding = dsvm_env_outstanding();

			DSVM_EXPECT_EQ(scene.touch_locked(5), DSVM_FAULT_DONE);
			DSVM_EXPECT_EQ(scene.on_device(), kSpan);
			DSVM_EXPECT_EQ(world.calls(Call::kMigrateSetup), 2u);
			DSVM_EXPECT_EQ(world.calls(Call::kPageLocked), kSpan);
			DSVM_EXPECT_EQ(dsvm_env_outstanding(), outstanding);
		},
		&s);
	// The first one has not noticed.
	DSVM_EXPECT_EQ(s.touch(3), DSVM_FAULT_DONE);
	DSVM_EXPECT_EQ(s.in_ram(), kSpan);
	DSVM_EXPECT_EQ(s.world.calls(Call::kZddEnter), 2u);
	DSVM_EXPECT(s.is_intact());
}

// Device memory of the same owner that another driver made: nobody here can copy it.
DSVM_CASE(to_ram, foreign_pages_stay)
{
	Scene s(8);
	dsvm_to_device half = s.request();

	half.last = page_end(7);
	DSVM_REQUIRE_EQ(s.run(half), 0);
	s.world.populate_foreign(s.world.mm(), page_at(8), 4, &s, false);
	DSVM_EXPECT_EQ(s.touch(3), DSVM_FAULT_DONE);
	DSVM_EXPECT_EQ(s.in_ram(), 8u);
	DSVM_EXPECT_EQ(s.on_device(), 4u);
	DSVM_EXPECT(s.is_intact(12));
}

DSVM_CASE(to_ram, pinned_neighbour_stays)
{
	Scene s;

	DSVM_REQUIRE_EQ(s.out(), 0);
	s.page(9).pinned = true;
	DSVM_EXPECT_EQ(s.touch(3), DSVM_FAULT_DONE);
	DSVM_EXPECT_EQ(s.on_device(), 1u);
	DSVM_EXPECT(s.is_intact());
}

// RAM between the pages of the block is none of the fault's business.
DSVM_CASE(to_ram, pages_in_ram_are_not_disturbed)
{
	Scene s;

	s.page(9).pinned = true;
	DSVM_REQUIRE_EQ(s.out(), 0);
	s.page(9).pinned = false;
	s.world.at(Call::kMigrateCollected, 1, [](World &world, void *) {
		DSVM_EXPECT(world.pte(world.mm(), page_at(9)).kind == PteKind::kPresent);
	});
	DSVM_EXPECT_EQ(s.touch(3), DSVM_FAULT_DONE);
	DSVM_EXPECT_EQ(s.in_ram(), kSpan);
	DSVM_EXPECT(s.is_intact());
}

// Two allocations of one owner side by side: the callbacks of the one cannot copy the
// pages of the other, so these stay and come back by a fault of their own.
DSVM_CASE(to_ram, other_allocations_stay)
{
	Scene s;
	fake::Allocation other(s.world, 64, kSpan, &s);
	dsvm_to_device half = s.request();

	half.last = page_end(7);
	DSVM_REQUIRE_EQ(s.run(half), 0);
	half.first = page_at(8);
	half.last = page_end(15);
	half.devmem = &other.devmem();
	DSVM_REQUIRE_EQ(s.run(half), 0);
	DSVM_EXPECT_EQ(s.on_device(), kSpan);
	DSVM_EXPECT_EQ(s.touch(3), DSVM_FAULT_DONE);
	DSVM_EXPECT_EQ(s.in_ram(), 8u);
	DSVM_EXPECT_EQ(other.pages_in_use(), 8u);
	DSVM_EXPECT(s.is_intact());
	DSVM_EXPECT_EQ(s.evict(other), -DSVM_EBUSY);
	DSVM_EXPECT_EQ(s.in_ram(), kSpan);
	other.settle();
	DSVM_EXPECT(other.is_detached());
	DSVM_EXPECT(s.is_intact());
}
