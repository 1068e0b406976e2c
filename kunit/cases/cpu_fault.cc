// SPDX-License-Identifier: GPL-2.0-only OR MIT
//
// Cases for core/migrate: back to RAM because a CPU touches a page.

#include "kunit/case.h"
#include "kunit/cases/scene.h"

using namespace dsvm;
using namespace dsvm::cases;

namespace {

constexpr u32 kGranule = DSVM_FAULT_NPAGES;

} // namespace

DSVM_CASE(cpu_fault, brings_the_granule_back)
{
	struct Row {
		u32 npages;
		u32 index;
		u32 first;
		u32 last;
	};
	const Row rows[] = {
		{0, 3, 0, 15},	  {0, 15, 0, 15},  {0, 16, 16, 31},  {0, 63, 48, 63},
		{1, 5, 5, 5},	  {2, 5, 4, 5},	   {4, 5, 4, 7},     {8, 17, 16, 23},
		{32, 40, 32, 63}, {64, 40, 0, 63}, {512, 40, 0, 63},
	};

	for (const Row &row : rows) {
		AllocationOptions options = {};
		options.fault_npages = row.npages;
		Field s(options);

		DSVM_EXPECT_EQ(s.touch(row.index), DSVM_FAULT_DONE);
		DSVM_REQUIRE(s.is_back(row.first, row.last));
		DSVM_EXPECT_EQ(s.allocation.pages_in_use(), 64 - (row.last - row.first + 1));
		DSVM_EXPECT_EQ(s.allocation.frames_back(), row.last - row.first + 1);
		DSVM_EXPECT_EQ(s.allocation.is_detached(), row.last - row.first == 63);
		// The kernel must not drop what only the device may have written.
		for (u32 i = row.first; i <= row.last; i++)
			DSVM_EXPECT(s.page(i).dirty);
	}
}

// A granule is bounded, because its pages are locked all the time.
DSVM_CASE(cpu_fault, largest_granule)
{
	AllocationOptions options = {};
	options.fault_npages = 1024;
	Field s(options, 600);

	DSVM_EXPECT_EQ(s.touch(40), DSVM_FAULT_DONE);
	DSVM_REQUIRE(s.is_back(0, 511));
}

// A CPU that goes over memory in ascending order gets more each time; what the allocation was not
// made for is left alone.
DSVM_CASE(cpu_fault, who_goes_on_gets_more)
{
	AllocationOptions options = {};
	options.hint = page_at(0);
	Field s(options, 200);

	DSVM_EXPECT_EQ(s.touch(3), DSVM_FAULT_DONE);
	DSVM_REQUIRE(s.is_back(0, 15));
	DSVM_EXPECT_EQ(s.touch(16), DSVM_FAULT_DONE);
	DSVM_REQUIRE(s.is_back(0, 47));
	// Anywhere in the granule that comes next.
	DSVM_EXPECT_EQ(s.touch(63), DSVM_FAULT_DONE);
	DSVM_REQUIRE(s.is_back(0, 111));
	DSVM_EXPECT_EQ(s.touch(112), DSVM_FAULT_DONE);
	DSVM_REQUIRE(s.is_back(0, 199));
	DSVM_EXPECT(s.allocation.is_detached());
}

// What the driver asks for is all that comes, and who is no program knows himself what he wants;
// memory that is not where it was made for, or was not made for the allocation, is left alone.
DSVM_CASE(cpu_fault, who_goes_on_elsewhere_gets_the_same)
{
	constexpr u32 kPages = 200;
	constexpr u32 kNone = 1000;
	struct Row {
		bool by_user;
		u32 npages;   // that the driver asks for
		u32 made_for; // the allocation, kPages up to this one; kNone: not known
		u32 second;
		u32 first_back;
		u32 last_back;
	};
	const Row rows[] = {
		{true, 0, 199, 16, 16, 47},  {true, 0, 199, 32, 32, 47},
		{true, 16, 199, 16, 16, 31}, {true, 0, kNone, 16, 16, 31},
		{true, 0, 39, 16, 16, 39},   {true, 0, 27, 16, 16, 31},
		{true, 0, 231, 16, 16, 31},  {false, 0, 199, 16, 16, 31},
	};

	for (const Row &row : rows) {
		AllocationOptions options = {};
		options.fault_npages = row.npages;
		options.hint =
			row.made_for == kNone ? 0 : page_at(row.made_for + 1) - kPages * kPageSize;
		Field s(options, kPages);

		Touch how;
		how.by_user = row.by_user;
		DSVM_EXPECT_EQ(s.touch(0, how), DSVM_FAULT_DONE);
		DSVM_EXPECT_EQ(s.touch(row.second, how), DSVM_FAULT_DONE);
		DSVM_EXPECT_EQ(s.count(PteKind::kPresent, kPages),
			       16 + (row.last_back - row.first_back + 1));
		DSVM_EXPECT_EQ(s.pte(row.first_back).kind, PteKind::kPresent);
		DSVM_EXPECT_EQ(s.pte(row.last_back).kind, PteKind::kPresent);
	}
}

DSVM_CASE(cpu_fault, vma_bounds_are_kept)
{
	Field s;

	s.world.unmap(s.world.mm(), page_at(16), page_end(18));
	s.world.unmap(s.world.mm(), page_at(29), page_end(31));
	DSVM_EXPECT_EQ(s.touch(21), DSVM_FAULT_DONE);
	DSVM_EXPECT_EQ(s.count(PteKind::kPresent, 64), 10u);
	DSVM_EXPECT_EQ(s.count(PteKind::kDevice, 64), 48u);
	DSVM_EXPECT_EQ(s.touch(15), DSVM_FAULT_DONE);
	DSVM_EXPECT_EQ(s.touch(32), DSVM_FAULT_DONE);
	DSVM_EXPECT_EQ(s.count(PteKind::kDevice, 64), 16u);
	// What was unmapped went back to the driver at once.
	DSVM_EXPECT_EQ(s.allocation.frames_back(), 48u);
}

// A page without RAM stays, and is an error only if it is the one that somebody waits for.
DSVM_CASE(cpu_fault, no_memory_for_a_page)
{
	for (u32 n = 1; n <= kGranule; n++) {
		Field s;
		const bool is_ours = n == 4;

		s.world.fail(Call::kPageAlloc, n, -1);
		DSVM_EXPECT_EQ(s.touch(3), is_ours ? DSVM_FAULT_OOM : DSVM_FAULT_DONE);
		DSVM_EXPECT_EQ(s.count(PteKind::kDevice, kGranule), is_ours ? kGranule : 1u);
		DSVM_EXPECT_EQ(s.world.counters().fault_oom, is_ours ? 1u : 0u);
		DSVM_REQUIRE(s.is_intact());
		DSVM_EXPECT_EQ(s.touch(is_ours ? 3 : n - 1), DSVM_FAULT_DONE);
		DSVM_EXPECT_EQ(s.count(PteKind::kDevice, kGranule), 0u);
		DSVM_REQUIRE(s.is_intact());
	}
}

// What a failure means to the process; and that the next fault finds all as it was, and
// nobody else at work.
DSVM_CASE(cpu_fault, each_step_fails)
{
	struct Step {
		Call call;
		int error;
		dsvm_fault_result result;
	};
	const Step steps[] = {
		{Call::kPageAlloc, -1, DSVM_FAULT_OOM},
		{Call::kCopyToRam, -DSVM_EIO, DSVM_FAULT_LOST},
		{Call::kCopyToRam, -DSVM_ENODEV, DSVM_FAULT_LOST},
		{Call::kCopyToRam, -DSVM_EINTR, DSVM_FAULT_DONE},
		{Call::kCopyToRam, -DSVM_EAGAIN, DSVM_FAULT_DONE},
		{Call::kCopyToRam, -DSVM_EBUSY, DSVM_FAULT_DONE},
		{Call::kCopyToRam, -DSVM_ERESTARTSYS, DSVM_FAULT_DONE},
		{Call::kCopyToRam, -DSVM_ENOMEM, DSVM_FAULT_OOM},
		{Call::kFenceWait, -DSVM_EIO, DSVM_FAULT_LOST},
		{Call::kFenceWait, -DSVM_ENOMEM, DSVM_FAULT_OOM},
		{Call::kFenceWait, -DSVM_EAGAIN, DSVM_FAULT_DONE},
		{Call::kMigrateSetup, -DSVM_ENOMEM, DSVM_FAULT_OOM},
		{Call::kMigratePages, -1, DSVM_FAULT_DONE},
		{Call::kPageEnter, -1, DSVM_FAULT_DONE},
	};

	for (const Step &step : steps) {
		const u32 logged = dsvm_env_log_count();
		AllocationOptions options = {};
		options.waits_for_fence = step.call == Call::kFenceWait;
		Field s(options);

		s.world.fail(step.call, World::kEvery, step.error);
		DSVM_EXPECT_EQ(s.touch(3), step.result);
		DSVM_EXPECT_EQ(s.count(PteKind::kDevice, 64), 64u);
		DSVM_EXPECT_EQ(s.world.calls(Call::kPageRetire), 0u);
		DSVM_EXPECT_EQ(s.world.counters().fault_lost,
			       step.result == DSVM_FAULT_LOST ? 1u : 0u);
		DSVM_EXPECT_EQ(s.world.counters().fault_oom,
			       step.result == DSVM_FAULT_OOM ? 1u : 0u);
		// Somebody will want to know.
		DSVM_EXPECT_EQ(dsvm_env_log_count() != logged, step.result == DSVM_FAULT_LOST);
		DSVM_REQUIRE(s.is_intact());
		s.world.fail(step.call, 0, 0);
		DSVM_EXPECT_EQ(s.touch(3), DSVM_FAULT_DONE);
		DSVM_REQUIRE(s.is_back(0, kGranule - 1));
	}
}

// DMA that cannot be had now may be had later: nobody is killed for that by SIGBUS.
DSVM_CASE(cpu_fault, no_dma)
{
	Field s;

	s.world.fail(Call::kDmaMap, World::kEvery, -DSVM_EFAULT);
	const dsvm_fault_result result = s.touch(3);
	DSVM_EXPECT(result == DSVM_FAULT_OOM || result == DSVM_FAULT_DONE);
	DSVM_EXPECT_EQ(s.world.counters().fault_lost, 0u);
	DSVM_EXPECT_EQ(s.count(PteKind::kDevice, 64), 64u);
	DSVM_REQUIRE(s.is_intact());
	// One page at a time is slow, and works.
	s.world.fail(Call::kDmaMap, 0, 0);
	s.world.set_max_dma_order(0);
	DSVM_EXPECT_EQ(s.touch(3), DSVM_FAULT_DONE);
	DSVM_REQUIRE(s.is_back(0, kGranule - 1));
}

// A page of the granule that cannot be copied does not take the others along: the page that is
// touched is tried alone.
DSVM_CASE(cpu_fault, one_page_alone_after_an_error)
{
	Field s;

	s.world.fail(Call::kCopyToRam, 1, -DSVM_EIO);
	DSVM_EXPECT_EQ(s.touch(3), DSVM_FAULT_DONE);
	DSVM_EXPECT_EQ(s.world.counters().fault_lost, 0u);
	DSVM_REQUIRE(s.is_back(3, 3));
}

DSVM_CASE(cpu_fault, without_scratch_the_one_page_comes_back)
{
	Field s;

	// The provider's reserve is enough for all of it; and then somebody else has it.
	dsvm_env_fail_allocs(true);
	DSVM_EXPECT_EQ(s.touch(20), DSVM_FAULT_DONE);
	DSVM_REQUIRE(s.is_back(kGranule, 2 * kGranule - 1));
	s.world.fail(Call::kTakeReserve, World::kEvery, -1);
	DSVM_EXPECT_EQ(s.touch(3), DSVM_FAULT_DONE);
	DSVM_EXPECT_EQ(s.in_ram(), kGranule + 1);
	DSVM_EXPECT(s.pte(3).kind == PteKind::kPresent);
	// Not even a page of RAM, and a copy that fails: as with all the scratch there is.
	s.world.fail(Call::kPageAlloc, 1, -1);
	DSVM_EXPECT_EQ(s.touch(0), DSVM_FAULT_OOM);
	s.world.fail(Call::kCopyToRam, World::kEvery, -DSVM_EIO);
	DSVM_EXPECT_EQ(s.touch(15), DSVM_FAULT_LOST);
	s.world.fail(Call::kCopyToRam, 0, 0);
	DSVM_EXPECT_EQ(s.in_ram(), kGranule + 1);
	DSVM_EXPECT_EQ(s.touch(15), DSVM_FAULT_DONE);
	dsvm_env_fail_allocs(false);
	DSVM_EXPECT_EQ(s.touch(14), DSVM_FAULT_DONE);
	DSVM_REQUIRE(s.is_back(0, 2 * kGranule - 1));
}

// Another CPU faults on the same page before the first one has collected it.
DSVM_CASE(cpu_fault, second_fault_gives_way)
{
	Field s;

	s.world.at(
		Call::kMigrateSetup, 1,
		[](World &world, void *arg) {
			Field &field = *static_cast<Field *>(arg);
			const u64 outstanding = dsvm_env_outstanding();
			const u32 setups = world.calls(Call::kMigrateSetup);
			fake::Page *const page = &field.page(3);

			// It has its own reference; on an old kernel, not the lock.
			world.get_page(page);
			DSVM_EXPECT_EQ(field.handle_fault(3, page), DSVM_FAULT_DONE);
			world.put_page(page);
			DSVM_EXPECT_EQ(world.calls(Call::kMigrateSetup), setups);
			DSVM_EXPECT_EQ(dsvm_env_outstanding(), outstanding);
			DSVM_EXPECT_EQ(world.counters().fault_races, 1u);
		},
		&s);
	// The first one has not noticed.
	DSVM_EXPECT_EQ(s.touch(3), DSVM_FAULT_DONE);
	DSVM_REQUIRE(s.is_back(0, kGranule - 1));
	DSVM_EXPECT_EQ(s.world.calls(Call::kPageEnter), 2u);
	DSVM_EXPECT_EQ(s.world.calls(Call::kPageLeave), 1u);
}

// A fault on another page does not: it is of another granule, and may go on.
DSVM_CASE(cpu_fault, faults_of_two_granules_at_once)
{
	Field s;

	s.world.at(
		Call::kMigrateCollected, 1,
		[](World &, void *arg) {
			Field &field = *static_cast<Field *>(arg);

			DSVM_EXPECT_EQ(field.touch_locked(20), DSVM_FAULT_DONE);
			DSVM_EXPECT_EQ(field.count(PteKind::kPresent, 64), kGranule);
		},
		&s);
	DSVM_EXPECT_EQ(s.touch(3), DSVM_FAULT_DONE);
	DSVM_REQUIRE(s.is_back(0, 2 * kGranule - 1));
	DSVM_EXPECT_EQ(s.world.counters().fault_races, 0u);
}

// In the timeslice a fault sleeps as long as it lasts, in one go.
DSVM_CASE(cpu_fault, timeslice_is_slept_out)
{
	for (const bool may_drop : kBoth) {
		Field s;
		Touch how = {5 * kMs, may_drop, false};
		const u64 before = dsvm_os_now_ns();

		DSVM_EXPECT_EQ(s.touch(3, how), may_drop ? DSVM_FAULT_RETRY : DSVM_FAULT_DONE);
		DSVM_EXPECT_EQ(s.os_fault.waited_ns, 5 * kMs);
		DSVM_EXPECT(dsvm_os_now_ns() - before >= 5 * kMs);
		DSVM_EXPECT_EQ(s.world.calls(Call::kFaultWait), 1u);
		DSVM_EXPECT_EQ(s.world.counters().timeslice_waits, 1u);
		// With the lock gone the fault begins again; with it, it goes on.
		DSVM_EXPECT_EQ(s.count(PteKind::kDevice, 64), may_drop ? 64u : 64 - kGranule);
		DSVM_EXPECT_EQ(s.world.calls(Call::kPageEnter), may_drop ? 0u : 1u);
		DSVM_REQUIRE(s.is_intact());
	}
}

// Who must not sleep is told to try again, with the lock still held.
DSVM_CASE(cpu_fault, timeslice_without_waiting)
{
	Field s;
	Touch how = {5 * kMs, true, true};

	DSVM_EXPECT_EQ(s.touch(3, how), DSVM_FAULT_RETRY);
	DSVM_EXPECT_EQ(s.os_fault.waited_ns, 0u);
	DSVM_EXPECT_EQ(s.count(PteKind::kDevice, 64), 64u);
	DSVM_EXPECT(s.is_intact());
}

// Other CPUs that want the page sleep too, instead of spinning on who was first.
DSVM_CASE(cpu_fault, nobody_is_entered_while_it_sleeps)
{
	Field s;
	Touch how = {5 * kMs, false, false};

	s.world.at(Call::kFaultWait, 1,
		   [](World &world, void *) { DSVM_EXPECT_EQ(world.calls(Call::kPageEnter), 0u); });
	DSVM_EXPECT_EQ(s.touch(3, how), DSVM_FAULT_DONE);
	DSVM_EXPECT_EQ(s.world.calls(Call::kFaultWait), 1u);
	DSVM_REQUIRE(s.is_back(0, kGranule - 1));
}

// Who is being killed does not care for the page any more.
DSVM_CASE(cpu_fault, killed_in_the_timeslice)
{
	Field s;
	Touch how = {5 * kMs, false, false};

	s.world.at(Call::kFaultWait, 1, [](World &, void *) { dsvm_env_set_killed(true); });
	DSVM_EXPECT_EQ(s.touch(3, how), DSVM_FAULT_DONE);
	DSVM_EXPECT(s.is_intact());
}

// Device memory of the same owner that another driver made: nobody here can copy it.
DSVM_CASE(cpu_fault, foreign_pages_stay)
{
	Field s;

	for (u32 i = 8; i < 12; i++)
		s.world.clear_pte(s.pte(i));
	s.world.populate_foreign(s.world.mm(), page_at(8), 4, static_cast<Stage *>(&s), false);
	DSVM_EXPECT_EQ(s.touch(3), DSVM_FAULT_DONE);
	DSVM_EXPECT_EQ(s.count(PteKind::kPresent, 64), kGranule - 4);
	for (u32 i = 8; i < 12; i++)
		DSVM_EXPECT(s.pte(i).kind == PteKind::kDevice);
	DSVM_EXPECT(s.is_intact());
}

DSVM_CASE(cpu_fault, pinned_neighbour_stays)
{
	Field s;

	s.page(9).pinned = true;
	DSVM_EXPECT_EQ(s.touch(3), DSVM_FAULT_DONE);
	DSVM_EXPECT_EQ(s.count(PteKind::kDevice, kGranule), 1u);
	DSVM_EXPECT(s.is_intact());
	// And if it is the page itself, the CPU comes back until whoever holds it lets go.
	DSVM_EXPECT_EQ(s.touch(9), DSVM_FAULT_DONE);
	DSVM_EXPECT(s.pte(9).kind == PteKind::kDevice);
	s.page(9).pinned = false;
	DSVM_EXPECT_EQ(s.touch(9), DSVM_FAULT_DONE);
	DSVM_REQUIRE(s.is_back(0, kGranule - 1));
}

// RAM, holes and swapped pages between those of the granule are none of the fault's business.
DSVM_CASE(cpu_fault, the_rest_is_not_disturbed)
{
	Field s;

	DSVM_REQUIRE_EQ(s.touch(3), DSVM_FAULT_DONE);
	s.world.clear_pte(s.pte(20));
	s.world.clear_pte(s.pte(25));
	s.world.populate(s.world.mm(), page_at(25), 1);
	s.world.swap_out(s.world.mm(), page_at(1));
	fake::Page *const ram = &s.page(25);

	s.world.at(Call::kMigrateCollected, 1, [](World &world, void *) {
		DSVM_EXPECT(world.pte(world.mm(), page_at(25)).kind == PteKind::kPresent);
	});
	DSVM_EXPECT_EQ(s.touch(18), DSVM_FAULT_DONE);
	DSVM_EXPECT(s.pte(20).kind == PteKind::kNone);
	DSVM_EXPECT(s.pte(1).kind == PteKind::kSwapped);
	DSVM_EXPECT(&s.page(25) == ram);
	DSVM_EXPECT_EQ(s.count(PteKind::kPresent, 64), 2 * kGranule - 2);
}

// Two allocations of one owner in a granule: the callbacks of the one cannot copy the pages of
// the other, so either these stay, or its own callbacks are asked.
DSVM_CASE(cpu_fault, allocations_side_by_side)
{
	Scene s;
	AllocationOptions options = {};

	options.first = 64;
	options.npages = 8;
	options.owner = static_cast<Stage *>(&s);
	Allocation &other = s.pool.add(s.world, options);
	dsvm_to_device half = s.request();
	half.last = page_end(7);
	DSVM_REQUIRE_EQ(s.run(half), 0);
	half.first = page_at(8);
	half.last = page_end(15);
	half.devmem = &other.devmem();
	DSVM_REQUIRE_EQ(s.run(half), 0);
	s.allocation.settle();
	other.settle();
	DSVM_EXPECT_EQ(s.touch(3), DSVM_FAULT_DONE);
	DSVM_EXPECT_EQ(s.count(PteKind::kPresent, 8), 8u);
	DSVM_EXPECT(s.is_intact());
	if (s.on_device() != 0)
		DSVM_EXPECT_EQ(s.touch(12), DSVM_FAULT_DONE);
	DSVM_EXPECT_EQ(s.in_ram(), kSpan);
	DSVM_EXPECT(s.allocation.is_detached() && other.is_detached());
	DSVM_EXPECT(s.is_intact());
}
