// SPDX-License-Identifier: GPL-2.0-only OR MIT
//
// Cases for core/migrate: a CPU fault on a huge page, step by step.

#include "kunit/case.h"
#include "kunit/cases/scene.h"

using namespace dsvm;
using namespace dsvm::cases;

namespace {

// Huge pages that are in device memory.
class OutThere : public HugeScene {
public:
	explicit OutThere(bool copies_runs = false, bool waits_for_fence = false)
	{
		options.copies_runs = copies_runs;
		options.waits_for_fence = waits_for_fence;
		DSVM_EXPECT_EQ(out(), 0);
		DSVM_EXPECT_EQ(on_device(), kSpan);
	}
};

} // namespace

// What a failure means to the process; and that the next fault finds all as it was.
DSVM_CASE(huge_fault, each_step_fails)
{
	struct Step {
		Call call;
		int error;
		dsvm_fault_result result;
	};
	const Step steps[] = {
		{Call::kCopyToRam, -DSVM_EIO, DSVM_FAULT_LOST},
		{Call::kCopyToRam, -DSVM_EAGAIN, DSVM_FAULT_DONE},
		{Call::kCopyToRam, -DSVM_ENOMEM, DSVM_FAULT_OOM},
		{Call::kFenceWait, -DSVM_EIO, DSVM_FAULT_LOST},
		{Call::kMigrateSetup, -DSVM_ENOMEM, DSVM_FAULT_OOM},
		{Call::kMigratePages, -1, DSVM_FAULT_DONE},
		{Call::kPageEnter, -1, DSVM_FAULT_DONE},
	};

	for (const Step &step : steps) {
		for (const bool runs : kBoth) {
			OutThere s(runs, step.call == Call::kFenceWait);

			s.world.fail(step.call, World::kEvery, step.error);
			DSVM_EXPECT_EQ(s.touch(6), step.result);
			DSVM_EXPECT_EQ(s.on_device(), kSpan);
			DSVM_EXPECT_EQ(s.world.calls(Call::kPageRetire), 0u);
			DSVM_EXPECT_EQ(s.world.counters().huge_moved, kSpan / kHuge);
			DSVM_REQUIRE(s.is_intact());
			s.world.fail(step.call, 0, 0);
			DSVM_EXPECT_EQ(s.touch(6), DSVM_FAULT_DONE);
			DSVM_EXPECT_EQ(s.in_ram(), kHuge);
			DSVM_REQUIRE(s.is_intact());
		}
	}
}

// The page that has moved is marked, once, and counted, whoever brings it back.
DSVM_CASE(huge_fault, marked_and_counted)
{
	OutThere s;

	DSVM_EXPECT_EQ(s.touch(6), DSVM_FAULT_DONE);
	DSVM_EXPECT_EQ(s.in_ram(), kHuge);
	DSVM_EXPECT_EQ(s.world.calls(Call::kPageRetire), 1u);
	DSVM_EXPECT_EQ(s.world.counters().huge_moved, kSpan / kHuge + 1u);
	DSVM_EXPECT_EQ(s.evict(s.pool.at(0)), 0);
	DSVM_EXPECT_EQ(s.in_ram(), kSpan);
	DSVM_EXPECT_EQ(s.world.counters().huge_moved, 2u * (kSpan / kHuge));
	DSVM_EXPECT_EQ(s.world.counters().huge_split, 0u);
	DSVM_REQUIRE(s.is_intact());
}

// Huge RAM that is not to be had is not asked for twice, and what cannot be mapped in one piece
// comes in several.
DSVM_CASE(huge_fault, not_as_one)
{
	OutThere s;

	s.world.fail(Call::kHugeAlloc, World::kEvery, -1);
	const u32 before = s.world.calls(Call::kHugeAlloc);
	DSVM_EXPECT_EQ(s.touch(6), DSVM_FAULT_DONE);
	DSVM_EXPECT_EQ(s.world.calls(Call::kHugeAlloc), before + 1);
	DSVM_EXPECT_EQ(s.world.counters().huge_split, 1u);
	DSVM_REQUIRE(s.is_intact());

	s.world.fail(Call::kHugeAlloc, 0, 0);
	s.world.set_max_dma_order(0);
	DSVM_EXPECT_EQ(s.touch(13), DSVM_FAULT_DONE);
	DSVM_EXPECT_EQ(s.pte(13).order, kHugeOrder);
	DSVM_EXPECT_EQ(s.world.counters().huge_split, 1u);
	DSVM_REQUIRE(s.is_intact());
}
