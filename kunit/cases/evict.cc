// SPDX-License-Identifier: GPL-2.0-only OR MIT
//
// Cases for core/migrate: allocations that have to be emptied.

#include "kunit/case.h"
#include "kunit/cases/scene.h"

using namespace dsvm;
using namespace dsvm::cases;

namespace {

void unmap_fifth(World &world, void *)
{
	world.unmap(world.mm(), page_at(5), page_end(5));
}

void finish_owner(World &world, void *)
{
	world.finish_exit(world.mm());
}

void drop_page(World &world, void *page)
{
	world.put_page(static_cast<fake::Page *>(page));
}

// How long the owner is waited for: to let go of its lock, to exit.
constexpr u64 kLockIsAwaitedNs = 100ull * 1000 * 1000;
constexpr u64 kExitIsAwaitedNs = 10ull * 1000 * 1000 * 1000;

} // namespace

DSVM_CASE(evict, everything_comes_home)
{
	for (u32 variant = 0; variant < 8; variant++) {
		AllocationOptions options = {};
		options.copies_runs = (variant & 1) != 0;
		options.waits_for_fence = (variant & 2) != 0;
		options.scattered = (variant & 4) != 0;
		Scene s(kSpan, options);

		DSVM_REQUIRE_EQ(s.out(), 0);
		DSVM_EXPECT_EQ(s.evict(), 0);
		DSVM_EXPECT_EQ(s.in_ram(), kSpan);
		DSVM_EXPECT_EQ(s.allocation.frames_back(), kSpan);
		DSVM_REQUIRE(s.is_intact());
		for (u32 i = 0; i < kSpan; i++)
			DSVM_EXPECT(s.page(i).dirty);
		// Empty already: nobody is asked, nor allocated for.
		dsvm_env_fail_allocs(true);
		DSVM_EXPECT_EQ(s.evict(), 0);
		DSVM_EXPECT_EQ(s.world.calls(Call::kTakeReserve), 0u);
		dsvm_env_fail_allocs(false);
		// A huge folio might begin at frame 0, which comes last then.
		DSVM_EXPECT_EQ(s.world.calls(Call::kDeviceSetup), options.scattered ? 2u : 1u);
		s.allocation.settle();
		DSVM_EXPECT(s.allocation.is_detached());
	}
}

DSVM_CASE(evict, after_the_process_has_gone)
{
	Scene s;

	DSVM_REQUIRE_EQ(s.out(), 0);
	s.allocation.settle();
	s.world.exit(s.world.mm());
	DSVM_EXPECT_EQ(s.evict(), 0);
	DSVM_EXPECT(s.allocation.is_detached());
}

DSVM_CASE(evict, shared_after_fork)
{
	Scene s;

	DSVM_REQUIRE_EQ(s.out(), 0);
	s.allocation.settle();
	s.world.share(s.world.mm(0), s.world.mm(1));
	s.world.exit(s.world.mm(0));
	// Its exit is over: there is nothing to wait for.
	DSVM_EXPECT_EQ(s.evict(), 0);
	DSVM_EXPECT_EQ(s.world.calls(Call::kDeviceSetup), 1u);
	DSVM_EXPECT_EQ(
		s.world.count(s.world.mm(1), page_at(0), page_end(kSpan - 1), PteKind::kPresent),
		kSpan);
	for (u32 i = 0; i < kSpan; i++)
		DSVM_EXPECT_EQ(s.world.read(s.world.mm(1), page_at(i)), page_at(i));
}

DSVM_CASE(evict, pinned_for_a_while)
{
	Scene s;

	DSVM_REQUIRE_EQ(s.out(), 0);
	s.allocation.settle();
	s.page(7).pinned = true;
	s.world.at(Call::kDeviceSetup, 4, [](World &world, void *) {
		world.pte(world.mm(), page_at(7)).page->pinned = false;
	});
	DSVM_EXPECT_EQ(s.evict(), 0);
	DSVM_EXPECT_EQ(s.world.calls(Call::kDeviceSetup), 4u);
	DSVM_EXPECT(s.is_intact());
}

DSVM_CASE(evict, pinned_for_ever)
{
	Scene s;

	DSVM_REQUIRE_EQ(s.out(), 0);
	s.allocation.settle();
	s.page(7).pinned = true;
	const u64 before = dsvm_os_now_ns();
	dsvm_os_relax();
	const u64 rest = dsvm_os_now_ns() - before;
	DSVM_EXPECT_EQ(s.evict(), -DSVM_EBUSY);
	// Whoever holds the page is let run before each new try.
	DSVM_EXPECT(dsvm_os_now_ns() - before >= DSVM_EVICT_TRIES * rest);
	DSVM_EXPECT_EQ(s.world.calls(Call::kDeviceSetup), u32{DSVM_EVICT_TRIES});
	DSVM_EXPECT_EQ(s.on_device(), 1u);
	DSVM_EXPECT(s.is_intact());
}

// A sweep in which the owner was waited for is no try; those after it are.
DSVM_CASE(evict, busy_owner_and_then_a_pinned_page)
{
	Scene s;

	DSVM_REQUIRE_EQ(s.out(), 0);
	s.allocation.settle();
	s.page(7).pinned = true;
	s.world.fail(Call::kMmReadTrylock, 1, -1);
	DSVM_EXPECT_EQ(s.evict(), -DSVM_EBUSY);
	DSVM_EXPECT_EQ(s.world.calls(Call::kMmReadTrylock), u32{DSVM_EVICT_TRIES} + 1);
	DSVM_EXPECT_EQ(s.world.calls(Call::kDeviceSetup), u32{DSVM_EVICT_TRIES});
	DSVM_EXPECT(s.is_intact());
}

DSVM_CASE(evict, killed)
{
	Scene s;

	DSVM_REQUIRE_EQ(s.out(), 0);
	s.allocation.settle();
	s.page(7).pinned = true;
	s.world.at(Call::kDeviceFinalize, 2, [](World &, void *) { dsvm_env_set_killed(true); });
	DSVM_EXPECT_EQ(s.evict(), -DSVM_EINTR);
	DSVM_EXPECT_EQ(s.world.calls(Call::kDeviceSetup), 2u);
	DSVM_EXPECT(s.is_intact());
}

// An error of one attempt, after which the next one succeeds.
DSVM_CASE(evict, transient_failures_are_retried)
{
	const Call calls[] = {Call::kDeviceSetup, Call::kCopyToRam, Call::kDevicePages,
			      Call::kDmaMap,	  Call::kPageAlloc, Call::kFenceWait};

	for (const Call call : calls) {
		AllocationOptions options = {};
		options.waits_for_fence = call == Call::kFenceWait;
		Scene s(kSpan, options);

		DSVM_REQUIRE_EQ(s.out(), 0);
		s.allocation.settle();
		s.world.fail(call, 1, -DSVM_ENOMEM);
		DSVM_EXPECT_EQ(s.evict(), 0);
		DSVM_EXPECT_EQ(s.in_ram(), kSpan);
		DSVM_REQUIRE(s.is_intact());
	}
}

// A transient error, and then a page that resists: what is reported is the last.
DSVM_CASE(evict, an_error_that_is_over_is_not_reported)
{
	Scene s;

	DSVM_REQUIRE_EQ(s.out(), 0);
	s.allocation.settle();
	s.page(7).pinned = true;
	s.world.fail(Call::kCopyToRam, 1, -DSVM_EIO);
	DSVM_EXPECT_EQ(s.evict(), -DSVM_EBUSY);
}

DSVM_CASE(evict, unmapped_meanwhile)
{
	Scene s;

	DSVM_REQUIRE_EQ(s.out(), 0);
	s.allocation.settle();
	s.world.at(Call::kDeviceSetup, 1, unmap_fifth);
	DSVM_EXPECT_EQ(s.evict(), 0);
	DSVM_EXPECT_EQ(s.in_ram(), kSpan - 1);
	DSVM_EXPECT(s.allocation.is_detached());
}

DSVM_CASE(evict, each_step_fails_for_good)
{
	struct Step {
		Call call;
		int error;
		int result;
	};
	const Step steps[] = {
		{Call::kDeviceSetup, -DSVM_ENOMEM, -DSVM_ENOSPC},
		{Call::kCopyToRam, -DSVM_EIO, -DSVM_EBUSY},
		{Call::kCopyToRam, -DSVM_ENODEV, -DSVM_ENODEV},
		{Call::kFenceWait, -DSVM_EIO, -DSVM_EBUSY},
		{Call::kDevicePages, -1, -DSVM_EBUSY},
		{Call::kDmaMap, -DSVM_EFAULT, -DSVM_ENOSPC},
		{Call::kPageAlloc, -1, -DSVM_ENOSPC},
	};

	for (const Step &step : steps) {
		AllocationOptions options = {};
		options.waits_for_fence = step.call == Call::kFenceWait;
		Scene s(kSpan, options);

		DSVM_REQUIRE_EQ(s.out(), 0);
		s.allocation.settle();
		s.world.fail(step.call, World::kEvery, step.error);
		DSVM_EXPECT_EQ(s.evict(), step.result);
		// A device that has gone is not asked again.
		if (step.result == -DSVM_ENODEV)
			DSVM_EXPECT_EQ(s.world.calls(Call::kDeviceSetup), 1u);
		DSVM_EXPECT_EQ(s.on_device(), kSpan);
		DSVM_EXPECT_EQ(s.world.calls(Call::kPageRetire), 0u);
		DSVM_REQUIRE(s.is_intact());
		s.world.fail(step.call, 0, 0);
		DSVM_EXPECT_EQ(s.evict(), 0);
		DSVM_EXPECT_EQ(s.in_ram(), kSpan);
		DSVM_REQUIRE(s.is_intact());
	}
}

// A CPU has the page back in RAM, but not yet dropped the reference of its fault, when an
// eviction finds the page; it drops it just before the eviction counts references.
DSVM_CASE(evict, retired_page_is_left_alone)
{
	Scene s;

	DSVM_REQUIRE_EQ(s.out(), 0);
	s.allocation.settle();
	dsvm_os_mm_read_lock(s.world.os_mm());
	fake::Page *const page = s.begin_fault(3);
	DSVM_EXPECT_EQ(s.handle_fault(3, page), DSVM_FAULT_DONE);
	s.world.unlock_page(page);
	DSVM_EXPECT_EQ(s.allocation.pages_in_use(), 1u);
	s.world.at(Call::kPageLocked, 1, drop_page, page);
	DSVM_EXPECT_EQ(s.evict(), 0);
	dsvm_os_mm_read_unlock(s.world.os_mm());
	DSVM_EXPECT_EQ(s.world.calls(Call::kCopyToRam), 1u);
	DSVM_EXPECT_EQ(s.world.calls(Call::kPageRetire), kSpan);
	DSVM_EXPECT(s.allocation.is_detached());
	DSVM_EXPECT(s.is_intact());
}

// Another eviction looks at a page of this one's just before it is dropped, and gives up
// its reference when this one comes round again.
DSVM_CASE(evict, evicted_page_is_left_alone)
{
	Scene s;

	DSVM_REQUIRE_EQ(s.out(), 0);
	s.allocation.settle();
	fake::Page *const page = s.allocation.page(7);
	s.world.at(
		Call::kDeviceFinalize, 1,
		[](World &world, void *arg) { world.get_page(static_cast<fake::Page *>(arg)); },
		page);
	s.world.at(Call::kPageLocked, kSpan + 1, drop_page, page);
	DSVM_EXPECT_EQ(s.evict(), 0);
	DSVM_EXPECT_EQ(s.world.calls(Call::kDeviceSetup), 2u);
	DSVM_EXPECT_EQ(s.world.calls(Call::kCopyToRam), 1u);
	DSVM_EXPECT(s.allocation.is_detached());
	DSVM_EXPECT(s.is_intact());
}

// The page of a fault, with its reference kept: not the eviction's to move, nor empty.
DSVM_CASE(evict, retired_page_that_is_held)
{
	Scene s;

	DSVM_REQUIRE_EQ(s.out(), 0);
	s.allocation.settle();
	dsvm_os_mm_read_lock(s.world.os_mm());
	fake::Page *const page = s.begin_fault(3);
	DSVM_EXPECT_EQ(s.handle_fault(3, page), DSVM_FAULT_DONE);
	// Still locked, and then not any more.
	DSVM_EXPECT_EQ(s.evict(), -DSVM_EBUSY);
	s.world.unlock_page(page);
	DSVM_EXPECT_EQ(s.evict(), -DSVM_EBUSY);
	s.world.put_page(page);
	dsvm_os_mm_read_unlock(s.world.os_mm());
	DSVM_EXPECT(s.allocation.is_detached());
	// A frame used again starts anew.
	AllocationOptions options = {};
	options.npages = kSpan;
	options.owner = static_cast<Stage *>(&s);
	Allocation &again = s.pool.add(s.world, options);
	dsvm_to_device request = s.request();
	request.devmem = &again.devmem();
	DSVM_EXPECT_EQ(s.run(request), 0);
	again.settle();
	DSVM_EXPECT_EQ(s.evict(again), 0);
	DSVM_EXPECT_EQ(s.in_ram(), kSpan);
	DSVM_EXPECT(s.is_intact());
}

// A sweep that fails gives back what is its own, and not what the one before has moved.
DSVM_CASE(evict, later_sweep_fails)
{
	Scene s;

	DSVM_REQUIRE_EQ(s.out(), 0);
	s.allocation.settle();
	s.page(7).pinned = true;
	s.world.at(Call::kDeviceSetup, 2, [](World &world, void *) {
		world.pte(world.mm(), page_at(7)).page->pinned = false;
	});
	s.world.fail(Call::kCopyToRam, 2, -DSVM_EIO);
	DSVM_EXPECT_EQ(s.evict(), 0);
	DSVM_EXPECT_EQ(s.in_ram(), kSpan);
	DSVM_EXPECT(s.is_intact());
}

// The eviction has the last user then, and leaves the tearing down to somebody else.
DSVM_CASE(evict, owner_exits_meanwhile)
{
	const Call points[] = {Call::kDeviceSetup, Call::kDeviceCollected, Call::kCopyToRam,
			       Call::kDeviceFinalize};

	for (const Call point : points) {
		Scene s;

		DSVM_REQUIRE_EQ(s.out(), 0);
		s.allocation.settle();
		s.world.at(point, 1, [](World &world, void *) { world.exit(world.mm()); });
		DSVM_EXPECT_EQ(s.evict(), 0);
		DSVM_EXPECT(s.world.mm().exiting);
		DSVM_EXPECT_EQ(s.in_ram(), kSpan);
		DSVM_EXPECT(s.is_intact());
	}
}

DSVM_CASE(evict, exit_of_the_owner_is_waited_for)
{
	Scene s;

	DSVM_REQUIRE_EQ(s.out(), 0);
	s.allocation.settle();
	s.world.begin_exit(s.world.mm());
	s.world.at(Call::kMmGet, 50, finish_owner);
	const u64 before = dsvm_os_now_ns();
	DSVM_EXPECT_EQ(s.evict(), 0);
	DSVM_EXPECT(dsvm_os_now_ns() - before < kExitIsAwaitedNs);
	DSVM_EXPECT_EQ(s.world.calls(Call::kMmGet), 50u);
	DSVM_EXPECT_EQ(s.world.calls(Call::kCopyToRam), 0u);
	DSVM_EXPECT(s.allocation.is_detached());
}

// Waiting costs no try: what is left belongs to a child, which holds a page for a while.
DSVM_CASE(evict, child_keeps_pages_when_the_owner_exits)
{
	Scene s;

	DSVM_REQUIRE_EQ(s.out(), 0);
	s.allocation.settle();
	s.world.share(s.world.mm(0), s.world.mm(1));
	s.page(7).pinned = true;
	s.world.begin_exit(s.world.mm());
	s.world.at(Call::kMmGet, 50, finish_owner);
	s.world.at(Call::kDeviceSetup, DSVM_EVICT_TRIES, [](World &world, void *) {
		world.pte(world.mm(1), page_at(7)).page->pinned = false;
	});
	DSVM_EXPECT_EQ(s.evict(), 0);
	DSVM_EXPECT_EQ(s.world.calls(Call::kDeviceSetup), u32{DSVM_EVICT_TRIES});
	for (u32 i = 0; i < kSpan; i++)
		DSVM_EXPECT_EQ(s.world.read(s.world.mm(1), page_at(i)), page_at(i));
	DSVM_EXPECT_EQ(
		s.world.count(s.world.mm(1), page_at(0), page_end(kSpan - 1), PteKind::kPresent),
		kSpan);
}

DSVM_CASE(evict, child_pins_pages_for_ever)
{
	Scene s;

	DSVM_REQUIRE_EQ(s.out(), 0);
	s.allocation.settle();
	s.world.share(s.world.mm(0), s.world.mm(1));
	s.page(7).pinned = true;
	s.world.exit(s.world.mm());
	DSVM_EXPECT_EQ(s.evict(), -DSVM_EBUSY);
	DSVM_EXPECT_EQ(s.world.calls(Call::kDeviceSetup), u32{DSVM_EVICT_TRIES});
}

// Nothing is done as long as it may still be under way, and it is not waited for for ever.
DSVM_CASE(evict, exit_that_does_not_end)
{
	Scene s;

	DSVM_REQUIRE_EQ(s.out(), 0);
	s.allocation.settle();
	s.world.begin_exit(s.world.mm());
	const u64 before = dsvm_os_now_ns();
	DSVM_EXPECT_EQ(s.evict(), -DSVM_EBUSY);
	DSVM_EXPECT(dsvm_os_now_ns() - before >= kExitIsAwaitedNs);
	DSVM_EXPECT(dsvm_os_now_ns() - before < 2 * kExitIsAwaitedNs);
	DSVM_EXPECT_EQ(s.world.calls(Call::kDeviceSetup), 0u);
	DSVM_EXPECT(!s.allocation.is_detached());
	s.world.finish_exit(s.world.mm());
	DSVM_EXPECT_EQ(s.evict(), 0);
	DSVM_EXPECT(s.allocation.is_detached());
}

DSVM_CASE(evict, killed_while_the_owner_exits)
{
	Scene s;

	DSVM_REQUIRE_EQ(s.out(), 0);
	s.allocation.settle();
	s.world.begin_exit(s.world.mm());
	s.world.at(Call::kMmGet, 3, [](World &, void *) { dsvm_env_set_killed(true); });
	DSVM_EXPECT_EQ(s.evict(), -DSVM_EINTR);
	DSVM_EXPECT_EQ(s.world.calls(Call::kMmGet), 3u);
	DSVM_EXPECT_EQ(s.world.calls(Call::kDeviceSetup), 0u);
}

// munmap() by the owner would free what leads to the page tables. Waiting for it costs no try.
DSVM_CASE(evict, lock_of_the_owner_is_tried_again)
{
	Scene s;

	DSVM_REQUIRE_EQ(s.out(), 0);
	s.allocation.settle();
	s.world.fail(Call::kMmReadTrylock, World::kEvery, -1);
	s.world.at(Call::kMmReadTrylock, 50,
		   [](World &world, void *) { world.fail(Call::kMmReadTrylock, 0, 0); });
	const u64 before = dsvm_os_now_ns();
	DSVM_EXPECT_EQ(s.evict(), 0);
	DSVM_EXPECT(dsvm_os_now_ns() - before < kLockIsAwaitedNs);
	DSVM_EXPECT(s.world.calls(Call::kMmReadTrylock) >= 50u);
	DSVM_EXPECT_EQ(s.in_ram(), kSpan);
	DSVM_EXPECT(s.is_intact());
}

// It is not done without the lock; the pages stay where they are.
DSVM_CASE(evict, lock_of_the_owner_is_never_had)
{
	Scene s;

	DSVM_REQUIRE_EQ(s.out(), 0);
	s.allocation.settle();
	s.world.fail(Call::kMmReadTrylock, World::kEvery, -1);
	const u64 before = dsvm_os_now_ns();
	DSVM_EXPECT_EQ(s.evict(), -DSVM_EBUSY);
	DSVM_EXPECT(dsvm_os_now_ns() - before < 2 * kLockIsAwaitedNs);
	DSVM_EXPECT_EQ(s.world.calls(Call::kDeviceSetup), 0u);
	DSVM_EXPECT_EQ(s.on_device(), kSpan);
	s.world.fail(Call::kMmReadTrylock, 0, 0);
	DSVM_EXPECT_EQ(s.evict(), 0);
	DSVM_EXPECT(s.is_intact());
}
