// SPDX-License-Identifier: GPL-2.0-only OR MIT
//
// Cases for core/svm/hmmptr: how long a call may go on. Tries that fail have a budget; a large span
// may take its time.

#include "kunit/case.h"
#include "kunit/cases/hmmptr_scene.h"

using namespace dsvm;
using namespace dsvm::cases;

namespace {

constexpr u64 kMillisecond = 1000000;

// Two hmmptrs, each page a piece.
struct SmallPieces : TwoHmmptrs {
	SmallPieces()
	{
		set.piece_size = kPageSize;
		unmap(one, 0, 8, true);
		unmap(other, 8, 8, true);
	}
	void get_all()
	{
		DSVM_EXPECT_EQ(get_pages(one, 0, 8), 0);
		DSVM_EXPECT_EQ(get_pages(other, 8, 8), 0);
		DSVM_EXPECT(bind_pages(one, 0, 8));
		DSVM_EXPECT(bind_pages(other, 8, 8));
	}

	u32 walks = 0;
};

// Each piece takes 300 ms, and that of page 5 is lost to a notifier once.
void slow_walk(World &world, void *arg)
{
	SmallPieces &s = *static_cast<SmallPieces *>(arg);

	dsvm_env_advance_ns(300 * kMillisecond);
	if (++s.walks == 6)
		replace_page_5(world, nullptr);
}

} // namespace

DSVM_CASE(hmmptr, too_many_events)
{
	TwoHmmptrs s;

	s.unmap(s.one, 0, 8, true);
	s.world.at(Call::kHmmWalked, World::kEvery, replace_page_5);
	DSVM_EXPECT_EQ(s.get_pages(s.one, 0, 8), -DSVM_EBUSY);
	DSVM_EXPECT_EQ(s.populate(s.one, 0, 8), -DSVM_EBUSY);
	DSVM_EXPECT_EQ(s.pieces_of(s.one), 0u);
	s.world.at(Call::kHmmWalked, World::kEvery, nullptr);
	DSVM_EXPECT_EQ(s.get_pages(s.one, 0, 8), 0);
}

DSVM_CASE(hmmptr, large_span_takes_its_time)
{
	SmallPieces s;

	// Two seconds and more, and then one try fails.
	s.world.at(Call::kHmmWalked, World::kEvery, slow_walk, &s);
	DSVM_EXPECT_EQ(s.populate(s.one, 0, 8), 0);
	DSVM_EXPECT_EQ(s.walks, 9u);
	DSVM_EXPECT_EQ(s.map(s.one, 0, 8), 0);
	s.unmap(s.one, 0, 8, true);

	// The same, and the last piece is lost between its two steps.
	s.walks = 0;
	s.set.inject_count = 0;
	s.set.inject_every = 8;
	DSVM_EXPECT_EQ(s.get_pages(s.one, 0, 8), 0);
	DSVM_EXPECT_EQ(s.set.injected, 1u);
	DSVM_EXPECT_EQ(s.walks, 10u);
	DSVM_EXPECT(s.is_sound(s.one));
}

DSVM_CASE(hmmptr, large_span_lets_others_run)
{
	SmallPieces s;
	const u64 start = dsvm_env_rescheds();

	DSVM_EXPECT_EQ(s.populate(s.one, 0, 8), 0);
	const u64 populated = dsvm_env_rescheds();
	DSVM_EXPECT(populated - start >= 7);
	DSVM_EXPECT_EQ(s.map(s.one, 0, 8), 0);
	const u64 mapped = dsvm_env_rescheds();
	DSVM_EXPECT(mapped - populated >= 7);
	DSVM_EXPECT(s.bind_pages(s.one, 0, 8));
	s.invalidate(0, 7);
	DSVM_EXPECT_EQ(s.revalidate(), 0);
	const u64 good = dsvm_env_rescheds();
	DSVM_EXPECT(good - mapped >= 7);
	s.unmap(s.one, 0, 8);
	const u64 unmapped = dsvm_env_rescheds();
	DSVM_EXPECT(unmapped - good >= 7);
	s.release(s.one);
	DSVM_EXPECT(dsvm_env_rescheds() - unmapped >= 7);
}

// It ends when the time is up, and goes on with the next call; nobody is kept waiting by others.
DSVM_CASE(hmmptr, revalidation_goes_on)
{
	SmallPieces s;

	s.get_all();
	s.invalidate(0, 15);
	s.in_rebind = [](HmmptrScene &, Held &) {
		dsvm_env_advance_ns(600 * kMillisecond);
	};
	for (u32 calls = 1; calls < 8; calls++) {
		DSVM_EXPECT_EQ(s.revalidate(), -DSVM_EBUSY);
		DSVM_EXPECT_EQ(s.rebinds, 2 * calls);
		DSVM_EXPECT(!s.all_valid());
		if (calls == 2) {
			DSVM_EXPECT_EQ(s.bound(s.one, 0, 8), 2u);
			DSVM_EXPECT_EQ(s.bound(s.other, 8, 8), 2u);
		}
	}
	DSVM_EXPECT_EQ(s.revalidate(), 0);
	DSVM_EXPECT_EQ(s.rebinds, 16u);
	DSVM_EXPECT_EQ(s.bound(s.one, 0, 8), 8u);
	DSVM_EXPECT_EQ(s.bound(s.other, 8, 8), 8u);
	DSVM_EXPECT(s.all_valid());
}

// One step is always done, however long it takes.
DSVM_CASE(hmmptr, revalidation_of_slow_pieces)
{
	SmallPieces s;

	s.get_all();
	s.invalidate(0, 7);
	s.in_rebind = [](HmmptrScene &, Held &) {
		dsvm_env_advance_ns(2 * DSVM_GET_PAGES_BUDGET_NS);
	};
	for (u32 calls = 1; calls < 8; calls++) {
		DSVM_EXPECT_EQ(s.revalidate(), -DSVM_EBUSY);
		DSVM_EXPECT_EQ(s.rebinds, calls);
	}
	DSVM_EXPECT_EQ(s.revalidate(), 0);
	DSVM_EXPECT(s.all_valid());
}

// However long others have had the lock.
DSVM_CASE(hmmptr, revalidation_behind_others)
{
	SmallPieces s;

	s.get_all();
	s.invalidate(0, 7);
	s.lock_ns = 2 * DSVM_GET_PAGES_BUDGET_NS;
	for (u32 calls = 1; calls < 8; calls++) {
		DSVM_EXPECT_EQ(s.revalidate(), -DSVM_EBUSY);
		DSVM_EXPECT_EQ(s.rebinds, calls);
	}
	DSVM_EXPECT_EQ(s.revalidate(), 0);
	DSVM_EXPECT(s.all_valid());
}

// What a call has mapped before it failed is not mapped, and what was populated still is.
DSVM_CASE(hmmptr, failed_call_unmaps)
{
	SmallPieces s;

	DSVM_EXPECT_EQ(s.populate(s.one, 0, 8), 0);
	s.world.fail(Call::kDmaMap, 8, -DSVM_EFAULT);
	DSVM_EXPECT_EQ(s.get_pages(s.one, 0, 8), -DSVM_EFAULT);
	DSVM_EXPECT_EQ(s.world.dma_mappings(), 0u);
	DSVM_EXPECT_EQ(s.pieces_of(s.one), 8u);
	DSVM_EXPECT(s.is_sound(s.one));
	DSVM_EXPECT_EQ(s.map(s.one, 0, 8), 0);
}

DSVM_CASE(hmmptr, killed_while_it_is_made_good)
{
	SmallPieces s;

	s.get_all();
	s.invalidate(0, 7);
	s.in_rebind = [](HmmptrScene &, Held &) {
		dsvm_env_set_killed(true);
	};
	DSVM_EXPECT_EQ(s.revalidate(), -DSVM_EINTR);
	DSVM_EXPECT_EQ(s.rebinds, 1u);
	dsvm_env_set_killed(false);
	s.in_rebind = nullptr;
	DSVM_EXPECT_EQ(s.revalidate(), 0);
	DSVM_EXPECT_EQ(s.rebinds, 8u);
	DSVM_EXPECT_EQ(s.bound(s.one, 0, 8), 8u);
}

// Between two attempts of a call, what it has mapped is valid, and somebody else may write entries
// for it. If the call fails in the end, they go before the mapping does.
DSVM_CASE(hmmptr, bound_by_others_before_a_call_fails)
{
	SmallPieces s;

	DSVM_REQUIRE_EQ(s.populate(s.one, 0, 8), 0);
	s.set.inject_every = 6;
	s.world.at(
		Call::kMmGet, 1,
		[](World &world, void *arg) {
			SmallPieces &self = *static_cast<SmallPieces *>(arg);
			DSVM_EXPECT(self.bind_pages(self.one, 0, 5));
			world.unmap(world.mm(), at_page(5), end_of_page(5));
		},
		&s);
	DSVM_EXPECT_EQ(s.get_pages(s.one, 0, 8), -DSVM_EFAULT);
	s.set.inject_every = 0;
	DSVM_EXPECT_EQ(s.world.dma_mappings(), 0u);
	DSVM_EXPECT_EQ(s.one.gpu->count(at_page(0), end_of_page(7)), 0u);
}
