// SPDX-License-Identifier: GPL-2.0-only OR MIT
//
// Cases for core/migrate: parts of an allocation and large ones that have to be emptied, with
// little memory to work in; and all of a device's.

#include "kunit/case.h"
#include "kunit/cases/scene.h"

using namespace dsvm;
using namespace dsvm::cases;

namespace {

// More than a batch.
constexpr u32 kTwoBatches = 600;

} // namespace

// Parts of an allocation: these, and no others.
DSVM_CASE(evict_part, parts)
{
	for (u32 first = 0; first < kSpan; first += 3) {
		for (u32 count = 1; first + count <= kSpan; count += 4) {
			// With huge pages about, small ones are no more than they are.
			Scene s(kSpan, {}, count % 8 == 1 ? 2 : 0);

			DSVM_REQUIRE_EQ(s.out(), 0);
			s.allocation.settle();
			DSVM_EXPECT_EQ(s.evict(s.allocation, first, count), 0);
			for (u32 i = 0; i < kSpan; i++)
				DSVM_EXPECT_EQ(s.pte(i).kind == PteKind::kPresent,
					       i >= first && i < first + count);
			DSVM_EXPECT_EQ(s.allocation.frames_back(), count);
			DSVM_REQUIRE(s.is_intact());
		}
	}
}

DSVM_CASE(evict_part, refuses)
{
	Scene s;
	const usize spans[][2] = {{0, 0},     {0, kSpan + 1}, {1, kSpan},
				  {kSpan, 1}, {kSpan + 1, 1}, {1, ~usize{0}}};

	DSVM_REQUIRE_EQ(s.out(), 0);
	for (const auto &span : spans)
		DSVM_EXPECT_EQ(s.evict(s.allocation, span[0], span[1]), -DSVM_EINVAL);
	DSVM_EXPECT_EQ(s.on_device(), kSpan);
	DSVM_EXPECT_EQ(s.world.calls(Call::kDeviceSetup), 0u);
}

// RAM is chosen as the owner would have it, where its VMA still is.
DSVM_CASE(evict_part, ram_is_the_owners)
{
	for (const bool known : kBoth) {
		AllocationOptions options = {};
		options.hint = known ? page_at(0) : 0;
		Scene s(kSpan, options);

		DSVM_REQUIRE_EQ(s.out(), 0);
		DSVM_EXPECT_EQ(s.evict(), 0);
		for (u32 i = 0; i < kSpan; i++)
			DSVM_EXPECT_EQ(s.page(i).meant_for, known ? page_at(i) : 0);
	}
	// It has been moved to another address; there is the old VMA, or a part of it, or none, or a
	// file's.
	for (u32 variant = 0; variant < 5; variant++) {
		AllocationOptions options = {};
		options.hint = page_at(0);
		Scene s(kSpan, options);

		s.world.add_vma(s.world.mm(), page_at(32), page_end(47));
		DSVM_REQUIRE_EQ(s.out(), 0);
		s.world.move_pages(s.world.mm(), page_at(0), page_at(32), kSpan);
		if (variant == 1)
			s.world.unmap(s.world.mm(), page_at(0), page_end(3));
		if (variant == 2)
			s.world.unmap(s.world.mm(), page_at(0), page_end(kSpan - 1));
		if (variant == 3)
			s.world.unmap(s.world.mm(), page_at(12), page_end(kSpan - 1));
		s.vma->anonymous = variant != 4;
		DSVM_EXPECT_EQ(s.evict(), 0);
		DSVM_EXPECT_EQ(s.page(32).meant_for, variant == 0 ? page_at(0) : 0);
		for (u32 i = 0; i < kSpan; i++)
			DSVM_EXPECT_EQ(s.world.read(s.world.mm(), page_at(32 + i)), page_at(i));
	}
}

// Without memory the provider's reserve does; without that, it is said.
DSVM_CASE(evict_part, no_memory_to_work_in)
{
	Scene s;

	DSVM_REQUIRE_EQ(s.out(), 0);
	s.allocation.settle();
	dsvm_env_fail_allocs(true);
	s.world.fail(Call::kTakeReserve, World::kEvery, -1);
	DSVM_EXPECT_EQ(s.evict(), -DSVM_ENOSPC);
	DSVM_EXPECT_EQ(s.on_device(), kSpan);
	DSVM_REQUIRE(s.is_intact());
	s.world.fail(Call::kTakeReserve, 0, 0);
	// What is in the reserve is not taken for pages, of those that do not move least of all.
	s.page(7).pinned = true;
	DSVM_EXPECT_EQ(s.evict(), -DSVM_EBUSY);
	DSVM_EXPECT_EQ(s.on_device(), 1u);
	s.page(7).pinned = false;
	DSVM_EXPECT_EQ(s.evict(), 0);
	dsvm_env_fail_allocs(false);
	DSVM_EXPECT_EQ(s.in_ram(), kSpan);
	DSVM_EXPECT(s.is_intact());
}

// The same for more than fits into the reserve at a time; and each allocation failing.
DSVM_CASE(evict_part, large_allocations)
{
	for (u64 n = 0; n <= 4; n++) {
		for (const bool runs : kBoth) {
			AllocationOptions options = {};
			options.copies_runs = runs;
			options.waits_for_fence = runs;
			Field s(options, kTwoBatches);

			dsvm_env_fail_alloc(n);
			dsvm_env_fail_allocs(n == 4);
			DSVM_EXPECT_EQ(s.evict(), 0);
			dsvm_env_fail_allocs(false);
			dsvm_env_fail_alloc(0);
			DSVM_EXPECT_EQ(s.in_ram(), kTwoBatches);
			DSVM_EXPECT_EQ(s.world.calls(Call::kDeviceSetup), 2u);
			DSVM_EXPECT(s.allocation.is_detached());
			DSVM_REQUIRE(s.is_intact());
		}
	}
}

// For a group of batches; a second one takes it again.
DSVM_CASE(evict_part, owner_is_kept)
{
	Field s({}, kTwoBatches);

	s.world.at(Call::kDeviceFinalize, World::kEvery,
		   [](World &world, void *) { DSVM_EXPECT_EQ(world.mm().held, 1u); });
	DSVM_EXPECT_EQ(s.evict(), 0);
	DSVM_EXPECT_EQ(s.world.calls(Call::kDeviceSetup), 2u);
	DSVM_EXPECT_EQ(s.world.calls(Call::kMmGet), s.world.calls(Call::kMmPutAsync));
	DSVM_EXPECT_EQ(s.world.mm().users, 1u);
	DSVM_EXPECT(s.is_intact());
}

// The first of two batches fails each time; the second one comes home nevertheless.
DSVM_CASE(evict_part, failing_batch_does_not_keep_the_others)
{
	Field s({}, kTwoBatches);

	s.world.at(Call::kCopyToRam, World::kEvery, [](World &world, void *) {
		if (world.calls(Call::kCopyToRam) != 2)
			world.fail(Call::kCopyToRam, World::kEvery, -DSVM_EIO);
		else
			world.fail(Call::kCopyToRam, 0, 0);
	});
	DSVM_EXPECT_EQ(s.evict(), -DSVM_EBUSY);
	DSVM_EXPECT_EQ(s.on_device(), 512u);
	DSVM_EXPECT(s.is_intact());
}

// No group begins after the caller was killed; what has begun comes to its end.
DSVM_CASE(evict_part, killed_between_two_groups)
{
	Field s({}, 32);

	// Batches are as large as a huge page could be.
	s.world.set_huge_order(2);
	s.world.at(Call::kDeviceFinalize, 1, [](World &, void *) { dsvm_env_set_killed(true); });
	DSVM_EXPECT_EQ(s.evict(), -DSVM_EINTR);
	DSVM_EXPECT_EQ(s.world.calls(Call::kDeviceSetup), 4u);
	DSVM_EXPECT_EQ(s.in_ram(), 16u);
	DSVM_EXPECT(s.is_intact());
}

// Where some pages are in RAM already, the others are placed by their own addresses.
DSVM_CASE(evict_part, ram_of_the_rest)
{
	AllocationOptions options = {};
	options.hint = page_at(0);
	options.fault_npages = 1;
	Scene s(kSpan, options);

	DSVM_REQUIRE_EQ(s.out(), 0);
	DSVM_REQUIRE_EQ(s.touch(0), DSVM_FAULT_DONE);
	DSVM_REQUIRE_EQ(s.touch(5), DSVM_FAULT_DONE);
	DSVM_EXPECT_EQ(s.evict(), 0);
	for (u32 i = 0; i < kSpan; i++)
		DSVM_EXPECT_EQ(s.page(i).meant_for, page_at(i));
	DSVM_EXPECT(s.is_intact());
}

// The same if they are found by their frames, because the program has moved them.
DSVM_CASE(evict_part, ram_of_the_rest_by_frames)
{
	AllocationOptions options = {};
	options.hint = page_at(0);
	options.fault_npages = 1;
	Scene s(kSpan, options);

	s.world.add_vma(s.world.mm(), page_at(32), page_end(47));
	DSVM_REQUIRE_EQ(s.out(), 0);
	DSVM_REQUIRE_EQ(s.touch(5), DSVM_FAULT_DONE);
	s.world.move_pages(s.world.mm(), page_at(0), page_at(32), kSpan);
	DSVM_EXPECT_EQ(s.evict(), 0);
	for (u32 i = 0; i < kSpan; i++) {
		DSVM_EXPECT_EQ(s.page(32 + i).meant_for, page_at(i));
		DSVM_EXPECT_EQ(s.world.read(s.world.mm(), page_at(32 + i)), page_at(i));
	}
}

// What several batches have moved is counted once.
DSVM_CASE(evict_part, batches_are_counted)
{
	Field s({}, 32);

	s.world.set_huge_order(2);
	DSVM_EXPECT_EQ(s.evict(), 0);
	DSVM_EXPECT_EQ(s.world.counters().phase[DSVM_WAY_EVICT][0].batches, 8u);
	DSVM_EXPECT_EQ(s.world.counters().phase[DSVM_WAY_EVICT][0].bytes, 32 * kPageSize);
	DSVM_EXPECT(s.is_intact());
}

// The timeslice of what has to go is over.
DSVM_CASE(evict_part, timeslice_ends)
{
	Scene s;

	DSVM_REQUIRE_EQ(s.out(), 0);
	DSVM_EXPECT_EQ(s.evict(s.allocation, 3, 2), 0);
	DSVM_EXPECT_EQ(s.world.calls(Call::kEndTimeslice), 1u);
}

// A frame that has become another allocation's is neither ours to empty nor in the way.
DSVM_CASE(evict_part, frames_of_others)
{
	Scene s;
	AllocationOptions options = {};

	DSVM_REQUIRE_EQ(s.out(), 0);
	s.world.unmap(s.world.mm(), page_at(8), page_end(15));
	s.world.add_vma(s.world.mm(), page_at(8), page_end(15));
	s.world.populate(s.world.mm(), page_at(8), 8);
	options.first = 8;
	options.npages = 8;
	options.owner = static_cast<Stage *>(&s);
	Allocation &other = s.pool.add(s.world, options);
	dsvm_to_device request = s.request();
	request.first = page_at(8);
	request.devmem = &other.devmem();
	DSVM_REQUIRE_EQ(s.run(request), 0);
	DSVM_EXPECT_EQ(s.evict(), 0);
	DSVM_EXPECT_EQ(s.in_ram(), 8u);
	DSVM_EXPECT_EQ(other.pages_in_use(), 8u);
	DSVM_EXPECT(s.is_intact());
}

// The same in the very moment: what is not ours is put back where it was.
DSVM_CASE(evict_part, frames_that_change_hands)
{
	Scene s;

	DSVM_REQUIRE_EQ(s.out(), 0);
	s.world.at(
		Call::kDeviceSetup, 1,
		[](World &world, void *arg) {
			Scene &scene = *static_cast<Scene *>(arg);
			AllocationOptions options = {};

			world.clear_pte(scene.pte(8));
			options.first = 8;
			options.npages = 1;
			options.owner = static_cast<Stage *>(&scene);
			Allocation &other = scene.pool.add(world, options);
			dsvm_os_page *const page = dsvm_os_page_init_device(
				world.pfn_of(other.page(0)), other.devmem().zdd, 0);
			fake::from_os(page)->content = page_at(8);
			world.set_pte(scene.pte(8), PteKind::kDevice, fake::from_os(page),
				      fake::Writable::Yes);
			dsvm_os_page_discard(page);
		},
		&s);
	DSVM_EXPECT_EQ(s.evict(), 0);
	DSVM_EXPECT_EQ(s.in_ram(), kSpan - 1);
	DSVM_EXPECT(s.is_intact());
}

// All that a provider has out: of several allocations, and of no other provider.
DSVM_CASE(evict_part, everything_of_a_provider)
{
	JobScene s(64);

	s.fill();
	DSVM_REQUIRE_EQ(s.out(), 0);
	s.last = s.job();
	DSVM_REQUIRE_EQ(s.touch(20), DSVM_FAULT_DONE);
	s.options.provider = 1;
	s.last = s.job();
	s.last.first = page_at(16);
	s.last.last = page_end(31);
	DSVM_REQUIRE_EQ(s.run(s.last), 0);
	const u64 before = dsvm_os_now_ns();
	DSVM_EXPECT_EQ(dsvm_migrate_evict_all(s.world.provider(0), 1000 * kMs), 0);
	DSVM_EXPECT(dsvm_os_now_ns() - before < 1000 * kMs);
	DSVM_EXPECT_EQ(s.on_device(), 16u);
	DSVM_EXPECT_EQ(s.in_ram(), 48u);
	DSVM_EXPECT_EQ(dsvm_migrate_evict_all(s.world.provider(1), 1000 * kMs), 0);
	DSVM_EXPECT_EQ(s.in_ram(), 64u);
	DSVM_EXPECT_EQ(s.pool.frames_lost(), 0u);
	// Nothing is left to be done.
	DSVM_EXPECT_EQ(dsvm_migrate_evict_all(s.world.provider(0), 0), 0);
	DSVM_EXPECT(s.is_intact());
}

// It ends: when the time is up, or when the device has gone.
DSVM_CASE(evict_part, everything_that_cannot)
{
	struct Step {
		Call call;
		int error;
		int result;
	};
	const Step steps[] = {
		{Call::kCopyToRam, -DSVM_EIO, -DSVM_EBUSY},
		{Call::kPageAlloc, -1, -DSVM_ENOSPC},
		{Call::kCopyToRam, -DSVM_ENODEV, -DSVM_ENODEV},
	};

	for (const Step &step : steps) {
		JobScene s(16);

		s.fill();
		DSVM_REQUIRE_EQ(s.out(), 0);
		s.world.fail(step.call, World::kEvery, step.error);
		const u64 before = dsvm_os_now_ns();
		DSVM_EXPECT_EQ(dsvm_migrate_evict_all(s.world.provider(0), 20 * kMs), step.result);
		DSVM_EXPECT_EQ(dsvm_os_now_ns() - before >= 20 * kMs, step.result != -DSVM_ENODEV);
		DSVM_EXPECT_EQ(s.on_device(), 16u);
		s.world.fail(step.call, 0, 0);
		// It is other people's memory, whoever is being killed.
		dsvm_env_set_killed(true);
		DSVM_EXPECT_EQ(dsvm_migrate_evict_all(s.world.provider(0), 20 * kMs), 0);
		dsvm_env_set_killed(false);
		DSVM_EXPECT_EQ(s.in_ram(), 16u);
		DSVM_REQUIRE(s.is_intact());
	}
}
