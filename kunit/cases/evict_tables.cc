// SPDX-License-Identifier: GPL-2.0-only OR MIT
//
// Cases for core/migrate: evictions that go over the owner's page tables, and what they leave.

#include "kunit/case.h"
#include "kunit/cases/scene.h"

using namespace dsvm;
using namespace dsvm::cases;

namespace {

// The address is known that the allocation was made for.
AllocationOptions at_home()
{
	AllocationOptions options = {};

	options.hint = page_at(0);
	options.fault_npages = 1;
	return options;
}

// The span of the eviction that was traced last.
struct Walked {
	usize first;
	usize npages;
};

Walked last_walk(World &world)
{
	const fake::Traces &traces = world.traces();

	for (u32 i = traces.count; i-- > 0;) {
		const dsvm_migrate_event &event = traces.events[i];
		if (event.way == DSVM_WAY_EVICT && event.phase == DSVM_PHASE_SETUP)
			return Walked{event.first, event.npages};
	}
	return Walked{0, 0};
}

} // namespace

// One walk, and no look at each page before.
DSVM_CASE(evict_tables, one_walk)
{
	for (u32 variant = 0; variant < 4; variant++) {
		AllocationOptions options = at_home();
		options.copies_runs = (variant & 1) != 0;
		options.waits_for_fence = (variant & 1) != 0;
		options.scattered = (variant & 2) != 0;
		Scene s(kSpan, options);

		DSVM_REQUIRE_EQ(s.out(), 0);
		s.allocation.settle();
		const u32 walks = s.world.calls(Call::kMigrateSetup);
		DSVM_EXPECT_EQ(s.evict(), 0);
		DSVM_EXPECT(s.allocation.is_detached());
		DSVM_EXPECT_EQ(s.in_ram(), kSpan);
		// A huge folio might begin at frame 0, which comes last if they are scattered.
		const u32 last = options.scattered ? 1 : kSpan;
		DSVM_EXPECT_EQ(s.world.calls(Call::kMigrateSetup),
			       walks + (options.scattered ? 2 : 1));
		DSVM_EXPECT_EQ(last_walk(s.world).first, page_at(kSpan - last));
		DSVM_EXPECT_EQ(last_walk(s.world).npages, last);
		DSVM_EXPECT_EQ(s.world.calls(Call::kDeviceSetup), 0u);
		DSVM_EXPECT(s.world.calls(Call::kFrameInUse) < kSpan);
		for (u32 i = 0; i < kSpan; i++)
			DSVM_EXPECT_EQ(s.page(i).meant_for, page_at(i));
		DSVM_REQUIRE(s.is_intact());
	}
}

// What has been moved to another address is found by its frames, and at once.
DSVM_CASE(evict_tables, the_rest_goes_by_frames)
{
	Scene s(kSpan, at_home());

	s.world.add_vma(s.world.mm(), page_at(32), page_end(47));
	DSVM_REQUIRE_EQ(s.out(), 0);
	s.allocation.settle();
	s.world.move_pages(s.world.mm(), page_at(4), page_at(32), 8);
	DSVM_EXPECT_EQ(s.evict(), 0);
	DSVM_EXPECT(s.allocation.is_detached());
	DSVM_EXPECT_EQ(s.world.calls(Call::kMigrateSetup), 2u);
	DSVM_EXPECT_EQ(s.world.calls(Call::kDeviceSetup), 1u);
	for (u32 i = 0; i < kSpan; i++) {
		const u32 now = i >= 4 && i < 12 ? i + 28 : i;

		DSVM_EXPECT_EQ(s.world.read(s.world.mm(), page_at(now)), page_at(i));
	}
}

// A child of a fork has what its parent has unmapped.
DSVM_CASE(evict_tables, children_are_served)
{
	Scene s(kSpan, at_home());

	DSVM_REQUIRE_EQ(s.out(), 0);
	s.allocation.settle();
	s.world.share(s.world.mm(0), s.world.mm(1));
	s.world.unmap(s.world.mm(0), page_at(0), page_end(3));
	s.world.add_vma(s.world.mm(0), page_at(0), page_end(3));
	DSVM_EXPECT_EQ(s.evict(), 0);
	DSVM_EXPECT(s.allocation.is_detached());
	for (u32 i = 0; i < kSpan; i++)
		DSVM_EXPECT_EQ(s.world.read(s.world.mm(1), page_at(i)), page_at(i));
	for (u32 i = 4; i < kSpan; i++)
		DSVM_EXPECT_EQ(s.world.read(s.world.mm(0), page_at(i)), page_at(i));
}

// No further than the pages that are in use, and nothing of what is another allocation's now.
DSVM_CASE(evict_tables, gaps)
{
	Scene s(kSpan, at_home());
	AllocationOptions options = {};
	const u32 touched[] = {0, 1, 7, 15};

	DSVM_REQUIRE_EQ(s.out(), 0);
	s.allocation.settle();
	for (const u32 gone : touched)
		DSVM_REQUIRE_EQ(s.touch(gone), DSVM_FAULT_DONE);
	options.npages = 1;
	options.owner = static_cast<Stage *>(&s);
	Allocation &other = s.pool.add(s.world, options);
	dsvm_to_device request = s.request();
	request.first = page_at(7);
	request.last = page_end(7);
	request.devmem = &other.devmem();
	DSVM_REQUIRE_EQ(s.run(request), 0);
	DSVM_EXPECT_EQ(s.evict(), 0);
	DSVM_EXPECT_EQ(last_walk(s.world).first, page_at(2));
	DSVM_EXPECT_EQ(last_walk(s.world).npages, 13u);
	DSVM_EXPECT_EQ(s.in_ram(), kSpan - 1);
	DSVM_EXPECT_EQ(other.pages_in_use(), 1u);
	DSVM_EXPECT(s.is_intact());
}

// Nothing of a batch is in use: there is no walk for it.
DSVM_CASE(evict_tables, empty_batch)
{
	AllocationOptions options = at_home();
	Field s(options, 8);

	s.world.set_huge_order(2);
	for (u32 i = 0; i < 4; i++)
		DSVM_REQUIRE_EQ(s.touch(i), DSVM_FAULT_DONE);
	const u32 walks = s.world.calls(Call::kMigrateSetup);
	DSVM_EXPECT_EQ(s.evict(), 0);
	DSVM_EXPECT_EQ(s.world.calls(Call::kMigrateSetup), walks + 1);
	DSVM_EXPECT_EQ(s.in_ram(), 8u);
	DSVM_EXPECT(s.is_intact());
}

// The walk is no try: those are for what it has left.
DSVM_CASE(evict_tables, pinned_for_ever)
{
	Scene s(kSpan, at_home());

	DSVM_REQUIRE_EQ(s.out(), 0);
	s.allocation.settle();
	s.page(7).pinned = true;
	DSVM_EXPECT_EQ(s.evict(), -DSVM_EBUSY);
	DSVM_EXPECT_EQ(s.world.calls(Call::kMigrateSetup), 2u);
	DSVM_EXPECT_EQ(s.world.calls(Call::kDeviceSetup), u32{DSVM_EVICT_TRIES});
	DSVM_EXPECT_EQ(s.on_device(), 1u);
	DSVM_EXPECT(s.is_intact());
}

// A walk that the owner has interrupted begins again.
DSVM_CASE(evict_tables, busy_owner)
{
	Field s(at_home(), 32);

	// Two groups of four batches.
	s.world.set_huge_order(2);
	s.world.fail(Call::kMmReadTrylock, 2, -1);
	DSVM_EXPECT_EQ(s.evict(), 0);
	DSVM_EXPECT_EQ(s.world.calls(Call::kDeviceSetup), 0u);
	DSVM_EXPECT_EQ(s.in_ram(), 32u);
	DSVM_EXPECT(s.is_intact());
}

// Each step failing once: the pages come by their frames.
DSVM_CASE(evict_tables, failures)
{
	const Call calls[] = {Call::kMigrateSetup, Call::kCopyToRam, Call::kMigratePages,
			      Call::kDmaMap,	   Call::kPageAlloc, Call::kFenceWait};

	for (const Call call : calls) {
		AllocationOptions options = at_home();
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
