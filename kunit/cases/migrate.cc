// SPDX-License-Identifier: GPL-2.0-only OR MIT
//
// Cases for core/migrate: out to the device, with each phase failing and pages that are
// pinned or raced for; and random round trips.

#include "kunit/case.h"
#include "kunit/cases/scene.h"

using namespace dsvm;
using namespace dsvm::cases;

DSVM_CASE(to_device, all_pages_move)
{
	Scene s;

	DSVM_EXPECT_EQ(s.out(), 0);
	DSVM_EXPECT_EQ(s.migrated, kSpan);
	DSVM_EXPECT_EQ(s.on_device(), kSpan);
	DSVM_EXPECT_EQ(s.world.pages_in_use(), kSpan);
	DSVM_EXPECT(s.is_intact());
	// Once there, there is nothing to do.
	DSVM_EXPECT_EQ(s.out(), 0);
	DSVM_EXPECT_EQ(s.migrated, 0u);
	DSVM_EXPECT(s.is_intact());
}

DSVM_CASE(to_device, holes_are_cleared)
{
	Scene s(4);

	// What was in the device's memory before must not be seen.
	for (u32 i = 0; i < kSpan; i++)
		s.allocation.page(i)->content = 0xbad;
	DSVM_EXPECT_EQ(s.out(true), 0);
	DSVM_EXPECT_EQ(s.on_device(), kSpan);
	DSVM_EXPECT(s.is_intact(4));
}

DSVM_CASE(to_device, refuses)
{
	Scene s;
	dsvm_to_device request = s.request();

	request.last = page_end(kSpan);
	DSVM_EXPECT_EQ(s.run(request), -DSVM_EINVAL);
	request = s.request();
	request.first = page_at(8);
	request.last = page_end(kSpan + 3);
	DSVM_EXPECT_EQ(s.run(request), -DSVM_EINVAL);
	request = s.request();
	request.first++;
	DSVM_EXPECT_EQ(s.run(request), -DSVM_EINVAL);
	request = s.request();
	request.first = page_at(100);
	request.last = page_end(101);
	DSVM_EXPECT_EQ(s.run(request), -DSVM_ENOENT);
	s.vma->anonymous = false;
	DSVM_EXPECT_EQ(s.out(), -DSVM_EBUSY);
	DSVM_EXPECT_EQ(s.on_device(), 0u);
	DSVM_EXPECT(s.is_intact());
	// The kernel was not asked.
	DSVM_EXPECT_EQ(s.world.calls(Call::kMigrateSetup), 0u);
}

DSVM_CASE(to_device, allocation_too_small)
{
	Scene s(kSpan, kSpan - 1);

	DSVM_EXPECT_EQ(s.out(), -DSVM_EINVAL);
	DSVM_EXPECT_EQ(s.on_device(), 0u);
	DSVM_EXPECT(s.is_intact());
}

DSVM_CASE(to_device, each_step_fails)
{
	struct Step {
		Call call;
		u32 times;
		int error;
		int result;
	};
	const Step steps[] = {
		{Call::kMigrateSetup, 1, -DSVM_EINVAL, -DSVM_EINVAL},
		{Call::kMigrateSetup, 1, -DSVM_ENOMEM, -DSVM_ENOMEM},
		{Call::kPopulate, 1, -DSVM_EIO, -DSVM_EIO},
		{Call::kDmaMap, kSpan, -DSVM_EFAULT, -DSVM_EFAULT},
		{Call::kCopyToDevice, 1, -DSVM_EIO, -DSVM_EIO},
		{Call::kMigratePages, 1, -1, -DSVM_EBUSY},
		{Call::kVmaAt, 1, -1, -DSVM_ENOENT},
	};

	for (const Step &step : steps) {
		for (u32 n = 1; n <= step.times; n++) {
			Scene s;

			s.world.fail(step.call, n, step.error);
			DSVM_EXPECT_EQ(s.out(), step.result);
			DSVM_EXPECT_EQ(s.migrated, 0u);
			DSVM_EXPECT_EQ(s.on_device(), 0u);
			DSVM_EXPECT_EQ(s.allocation.pages_in_use(), 0u);
			DSVM_REQUIRE(s.is_intact());
			// It leaves nothing that is in the way of another try.
			DSVM_EXPECT_EQ(s.out(), 0);
			DSVM_EXPECT_EQ(s.on_device(), kSpan);
		}
	}
}

DSVM_CASE(to_device, each_allocation_fails)
{
	Scene s;
	u32 failures = 0;

	for (u64 n = 1;; n++) {
		dsvm_env_fail_alloc(n);
		const int result = s.out();
		dsvm_env_fail_alloc(0);
		if (result == 0)
			break;
		failures++;
		DSVM_EXPECT_EQ(result, -DSVM_ENOMEM);
		DSVM_EXPECT_EQ(s.on_device(), 0u);
		DSVM_REQUIRE(s.is_intact());
	}
	DSVM_EXPECT(failures > 0);
}

DSVM_CASE(to_device, pinned_page_stays)
{
	for (u32 victim = 0; victim < kSpan; victim++) {
		Scene s;

		s.page(victim).pinned = true;
		DSVM_EXPECT_EQ(s.out(true), -DSVM_EBUSY);
		DSVM_EXPECT_EQ(s.on_device(), 0u);
		DSVM_EXPECT(s.is_intact());
		DSVM_EXPECT_EQ(s.out(false), 0);
		DSVM_EXPECT_EQ(s.migrated, kSpan - 1);
		DSVM_EXPECT_EQ(s.on_device(), kSpan - 1);
		DSVM_EXPECT(s.world.pte(s.world.mm(), page_at(victim)).kind == PteKind::kPresent);
		DSVM_REQUIRE(s.is_intact());
	}
}

DSVM_CASE(to_device, all_pages_pinned)
{
	Scene s;

	for (u32 i = 0; i < kSpan; i++)
		s.page(i).pinned = true;
	DSVM_EXPECT_EQ(s.out(), -DSVM_EBUSY);
	DSVM_EXPECT_EQ(s.world.calls(Call::kPopulate), 0u);
	DSVM_EXPECT(s.is_intact());
}

DSVM_CASE(to_device, raced_page_stays)
{
	for (u32 victim = 0; victim < kSpan; victim += 5) {
		Scene s;

		s.page(victim).raced = true;
		DSVM_EXPECT_EQ(s.out(), 0);
		DSVM_EXPECT_EQ(s.migrated, kSpan - 1);
		DSVM_EXPECT_EQ(s.on_device(), kSpan - 1);
		DSVM_EXPECT_EQ(s.allocation.pages_in_use(), kSpan - 1);
		DSVM_REQUIRE(s.is_intact());
	}
	// What has moved stays where it is, but it is not all.
	Scene s;
	s.page(5).raced = true;
	DSVM_EXPECT_EQ(s.out(true), -DSVM_EBUSY);
	DSVM_EXPECT_EQ(s.migrated, kSpan - 1);
	DSVM_EXPECT(s.is_intact());
}

// A hole that another CPU fills between collecting and switching.
DSVM_CASE(to_device, raced_hole_keeps_the_new_page)
{
	Scene s(8);

	s.world.at(Call::kMigratePages, 1,
		   [](World &world, void *) { world.populate(world.mm(), page_at(12), 1); });
	DSVM_EXPECT_EQ(s.out(), 0);
	DSVM_EXPECT_EQ(s.migrated, kSpan - 1);
	DSVM_EXPECT(s.world.pte(s.world.mm(), page_at(12)).kind == PteKind::kPresent);
	DSVM_EXPECT_EQ(s.world.read(s.world.mm(), page_at(12)), page_at(12));
	DSVM_EXPECT_EQ(s.allocation.pages_in_use(), kSpan - 1);
}

// Device memory that another driver made, of our owner's or mapped as RAM is: it is no
// RAM to take, and not ours to say that it is there already.
DSVM_CASE(to_device, foreign_pages_stay)
{
	const bool variants[] = {false, true};

	for (const bool coherent : variants) {
		Scene s(8);

		s.world.populate_foreign(s.world.mm(), page_at(8), 4, &s, coherent);
		DSVM_EXPECT_EQ(s.out(true), -DSVM_EBUSY);
		DSVM_EXPECT_EQ(s.world.calls(Call::kPopulate), 0u);
		DSVM_REQUIRE(s.is_intact(12));
		DSVM_EXPECT_EQ(s.out(false), 0);
		DSVM_EXPECT_EQ(s.migrated, kSpan - 4);
		DSVM_EXPECT_EQ(s.allocation.pages_in_use(), kSpan - 4);
		DSVM_EXPECT_EQ(s.world.calls(Call::kDmaMap), 8u);
		DSVM_REQUIRE(s.is_intact(12));
	}
	Scene s(0);
	s.world.populate_foreign(s.world.mm(), page_at(0), kSpan, &s, false);
	DSVM_EXPECT_EQ(s.out(false), -DSVM_EBUSY);
	DSVM_EXPECT_EQ(s.migrated, 0u);
	DSVM_EXPECT_EQ(s.world.calls(Call::kPopulate), 0u);
	DSVM_EXPECT(s.is_intact());
}

// Out, back by fault, out again, evicted, with pages pinned and phases failing at
// random. Whatever happens, the CPU reads what it wrote.
DSVM_CASE(migrate, random_round_trips)
{
	Scene s;
	cases::Random random;
	const Call calls[] = {Call::kMigrateSetup, Call::kPopulate,    Call::kDmaMap,
			      Call::kCopyToDevice, Call::kCopyToRam,   Call::kMigratePages,
			      Call::kDeviceSetup,  Call::kDevicePages, Call::kPageAlloc};

	for (u32 step = 0; step < cases::rounds(1500); step++) {
		const u32 index = static_cast<u32>(random.below(kSpan));

		s.page(index).pinned = random.chance(20);
		s.page(index).raced = random.chance(20);
		if (random.chance(30))
			s.world.fail(calls[random.below(9)], 1 + static_cast<u32>(random.below(5)),
				     -DSVM_EIO);
		// Frames of pages that stayed cannot be used twice: only an empty allocation is filled.
		if (s.allocation.pages_in_use() == 0)
			static_cast<void>(s.out(random.chance(50)));
		else if (s.world.pte(s.world.mm(), page_at(index)).kind == PteKind::kDevice)
			static_cast<void>(s.touch(index));
		else
			static_cast<void>(s.evict());
		if (!DSVM_CASE_CHECK_(s.is_intact())) {
			DSVM_CASE_LOG("step %u", step);
			return;
		}
		DSVM_REQUIRE_EQ(s.on_device() + s.in_ram(), kSpan);
		DSVM_REQUIRE_EQ(s.allocation.pages_in_use(), s.on_device());
	}
}
