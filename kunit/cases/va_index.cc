// SPDX-License-Identifier: GPL-2.0-only OR MIT
//
// The index of mappings (core/va/va_index.h, va_map.h) with more of them than a space of the
// other cases has units, so that nodes split and merge on three levels; and without memory.

#include "kunit/case.h"
#include "kunit/cases/va_scene.h"

using namespace dsvm;
using namespace dsvm::cases;

namespace {

// Enough for three levels.
constexpr u32 kMany = 24 * 31 * 4;

// Mappings in slots of eight units, one in each at most; so what is there is known.
class Slots {
public:
	static constexpr u64 kBase = u64{1} << 40;
	static constexpr u64 kSize = 8;

	explicit Slots(u32 count)
		: count_(count),
		  vas_(static_cast<dsvm_va *>(dsvm_os_alloc(sizeof(dsvm_va) * count))),
		  in_(static_cast<bool *>(dsvm_os_alloc(count)))
	{
		DSVM_EXPECT_EQ(dsvm_va_space_init(&space, kBase, kSize * count, nullptr), 0);
	}
	Slots(const Slots &) = delete;
	Slots &operator=(const Slots &) = delete;
	~Slots()
	{
		DSVM_EXPECT_EQ(dsvm_va_space_fini(&space), members_ == 0);
		dsvm_os_free(in_);
		dsvm_os_free(vas_);
	}

	[[nodiscard]] bool has(u32 i) const { return in_[i]; }
	[[nodiscard]] u32 members() const { return members_; }
	[[nodiscard]] u32 count() const { return count_; }
	[[nodiscard]] dsvm_va &at(u32 i) { return vas_[i]; }
	[[nodiscard]] u32 slot_of(const dsvm_va &va) const { return static_cast<u32>(&va - vas_); }

	// `length` units, one if not said.
	void fill_in(u32 i, u64 length = 1)
	{
		vas_[i].map = {};
		vas_[i].map.addr = kBase + kSize * i + i % 3;
		vas_[i].map.range = length;
	}
	bool put(u32 i)
	{
		dsvm_va second = {};

		// A second one is refused.
		if (in_[i]) {
			second.map = vas_[i].map;
			return DSVM_CASE_CHECK_EQ_(dsvm_va_insert(&space, &second), -DSVM_EEXIST);
		}
		fill_in(i, 1 + i % 5);
		if (!DSVM_CASE_CHECK_EQ_(dsvm_va_insert(&space, &vas_[i]), 0))
			return false;
		note(i, true);
		return true;
	}
	bool take(u32 i)
	{
		if (!DSVM_CASE_CHECK_(dsvm_va_remove(&space, &vas_[i])))
			return false;
		note(i, false);
		return true;
	}
	// Took place by another call.
	void note(u32 i, bool is_in)
	{
		members_ += is_in;
		members_ -= in_[i];
		in_[i] = is_in;
	}

	bool check()
	{
		u32 spilled = 0;
		u32 i = 0;
		const char *wrong = nullptr;

		for (const dsvm_va &va : VaMembers(space.index)) {
			while (i < count_ && !in_[i])
				i++;
			if (i == count_ || &va != &vas_[i])
				wrong = "another mapping than expected";
			spilled += (va.map.state & DSVM_VA_SPILLED) != 0;
			i++;
		}
		while (i < count_ && !in_[i])
			i++;
		if (wrong == nullptr && i < count_)
			wrong = "a mapping is missing";
		if (wrong == nullptr && spilled != space.index.spilled)
			wrong = "how many are spilled";
		if (wrong == nullptr)
			wrong = VaIndexChecker(space.index).complaint(members_ - spilled);
		if (wrong == nullptr)
			wrong = TreeChecker<VaOrderTraits>(space.index.spill).complaint(spilled);
		return expect_sound(wrong, "index");
	}
	[[nodiscard]] u64 nodes()
	{
		VaIndexChecker checker(space.index);

		DSVM_EXPECT(checker.complaint(members_ - space.index.spilled) == nullptr);
		return checker.nodes();
	}

	dsvm_va_space space = {};

private:
	const u32 count_;
	u32 members_ = 0;
	dsvm_va *const vas_;
	// Whether the slot's mapping is in the space.
	bool *const in_;
};

// A permutation of 0 .. count - 1, by number. Precondition: `stride` and `count` have no
// divisor in common.
u32 permuted(u32 pattern, u32 i, u32 count, u32 stride)
{
	switch (pattern) {
	case 0:
		return i;
	case 1:
		return count - 1 - i;
	case 2:
		return static_cast<u32>(u64{i} * stride % count);
	default:
		// From the middle to both ends.
		return i % 2 == 0 ? count / 2 + i / 2 : count / 2 - 1 - i / 2;
	}
}

void step(dsvm_va_walk &walk)
{
	if (!dsvm_va_walk_near(&walk))
		walk = dsvm_va_walk_on(walk);
}

// What it is at; one step on.
dsvm_va *take(dsvm_va_walk &walk)
{
	dsvm_va *const va = walk.now;

	if (va != nullptr)
		step(walk);
	return va;
}

constexpr u32 kPatterns = 4;
constexpr u32 kStride = 1009;

} // namespace

DSVM_CASE(va_index, in_every_order)
{
	for (u32 pattern = 0; pattern < kPatterns * kPatterns; pattern++) {
		Slots slots(kMany);

		for (u32 i = 0; i < kMany; i++) {
			DSVM_REQUIRE(slots.put(permuted(pattern % kPatterns, i, kMany, kStride)));
			if (i % 97 == 0)
				DSVM_REQUIRE(slots.check());
		}
		DSVM_REQUIRE(slots.check());
		DSVM_EXPECT_EQ(slots.space.index.height, 3u);
		for (u32 i = 0; i < kMany; i++) {
			DSVM_REQUIRE(slots.take(permuted(pattern / kPatterns, i, kMany, kStride)));
			if (i % 97 == 0 || i + 100 > kMany)
				DSVM_REQUIRE(slots.check());
		}
		DSVM_EXPECT(slots.space.index.root == nullptr);
	}
}

// 1/24 of a leaf for each, and 1/31 of a node for each leaf: as little as can be.
DSVM_CASE(va_index, up_and_down_leave_full_nodes)
{
	for (u32 pattern = 0; pattern < 2; pattern++) {
		Slots slots(kMany);

		for (u32 i = 0; i < kMany; i++)
			DSVM_REQUIRE(slots.put(permuted(pattern, i, kMany, kStride)));
		const u64 leaves = kMany / 24;
		DSVM_EXPECT(slots.nodes() <= leaves + leaves / 31 + 4);
		DSVM_EXPECT(slots.check());
	}
}

// What comes at random fills leaves to three quarters, as a full one gives to those beside it.
DSVM_CASE(va_index, full_leaves_share)
{
	Random random;
	Slots slots(kMany);

	while (slots.members() < kMany) {
		const u32 i = static_cast<u32>(random.below(kMany));

		if (!slots.has(i))
			DSVM_REQUIRE(slots.put(i));
	}
	DSVM_EXPECT(slots.nodes() * 17 < kMany);
	DSVM_EXPECT(slots.check());
}

// At random, with as many as there is room for and with few, each step checked.
DSVM_CASE(va_index, come_and_go)
{
	Random random;
	const u32 counts[] = {30, 200, 1000, kMany};

	for (const u32 count : counts) {
		Slots slots(count);
		const u32 every = count / 50 + 1;

		for (u32 step = 0; step < rounds(4 * count + 2000); step++) {
			// Nearly full for a while, then nearly empty.
			const u32 share = step / (count + 300) % 2 == 0 ? 80 : 20;
			const u32 i = static_cast<u32>(random.below(count));

			if (random.chance(share) ? !slots.has(i) : slots.has(i))
				DSVM_REQUIRE(slots.has(i) ? slots.take(i) : slots.put(i));
			if (step % every == 0)
				DSVM_REQUIRE(slots.check());
		}
		DSVM_REQUIRE(slots.check());
	}
}

// Runs of neighbours that come and go: leaves empty from the ends and from the middle.
DSVM_CASE(va_index, windows_that_move)
{
	Random random;
	Slots slots(kMany);

	for (u32 round = 0; round < rounds(400); round++) {
		const u32 first = static_cast<u32>(random.below(kMany));
		const u32 length =
			static_cast<u32>(random.between(1, random.chance(20) ? kMany : 60));
		const bool puts = random.chance(55);
		const bool down = random.chance(50);

		for (u32 i = 0; i < min(length, kMany - first); i++) {
			const u32 at = down ? min(first + length, kMany) - 1 - i : first + i;

			if (slots.has(at) != puts)
				DSVM_REQUIRE(puts ? slots.put(at) : slots.take(at));
		}
		DSVM_REQUIRE(slots.check());
	}
}

DSVM_CASE(va_index, find_all)
{
	Random random;
	Slots slots(kMany);

	for (u32 i = 0; i < kMany; i++) {
		if (random.chance(60))
			DSVM_REQUIRE(slots.put(i));
	}
	// And holes where leaves began, so that keys are of mappings that have gone.
	for (u32 i = 0; i < kMany; i += 12) {
		if (slots.has(i))
			DSVM_REQUIRE(slots.take(i));
	}
	u32 next = 0;
	for (u32 i = 0; i < kMany; i++) {
		while (next < kMany && (next < i || !slots.has(next)))
			next++;
		const u64 begin = Slots::kBase + Slots::kSize * i;
		for (u64 addr = begin; addr < begin + Slots::kSize; addr++) {
			// The first that ends here or behind.
			const bool here = slots.has(i) && addr <= va_last(slots.at(i).map);
			u32 first = here ? i : next;
			if (!here && first == i) {
				first++;
				while (first < kMany && !slots.has(first))
					first++;
			}
			const dsvm_va *const found =
				dsvm_va_find_first(&slots.space, addr, kU64Max - addr);
			DSVM_REQUIRE(found == (first < kMany ? &slots.at(first) : nullptr));
			const bool covers = here && slots.at(i).map.addr <= addr;
			DSVM_REQUIRE((dsvm_va_find_first(&slots.space, addr, 1) != nullptr) ==
				     covers);
		}
	}
}

// Who looks in order takes the finger along; who looks at random hardly ever, and in a few leaves
// nobody does.
DSVM_CASE(va_index, finger_goes_along)
{
	Slots slots(kMany);
	dsvm_va_leaf *&finger = slots.space.index.finger;
	u32 moves = 0;

	for (u32 i = 0; i < kMany; i++)
		DSVM_REQUIRE(slots.put(i));
	const auto find = [&slots, &moves, &finger](u32 i) {
		const dsvm_va_leaf *const before = finger;
		dsvm_va &va = slots.at(i);

		if (!DSVM_CASE_CHECK_(dsvm_va_find_first(&slots.space, va.map.addr, 1) == &va))
			return false;
		moves += finger != before;
		return true;
	};

	u32 near = 0;
	for (u32 i = 0; i < kMany; i++) {
		DSVM_REQUIRE(find(i));
		near += finger->first[0] <= slots.at(i).map.addr &&
			slots.at(i).map.addr <= finger->first[finger->count - 1];
	}
	DSVM_EXPECT(near > kMany / 10 * 9);

	moves = 0;
	for (u32 i = 0; i < kMany; i++)
		DSVM_REQUIRE(find(permuted(2, i, kMany, kStride)));
	DSVM_EXPECT(moves < kMany / 8);
	DSVM_EXPECT(slots.check());
	for (u32 i = kMany; i-- > 31;)
		DSVM_REQUIRE(slots.take(i));

	moves = 0;
	for (u32 i = 0; i < 31; i++)
		DSVM_REQUIRE(find(i));
	DSVM_EXPECT_EQ(moves, 0u);
	while (slots.members() > 0)
		DSVM_REQUIRE(slots.take(slots.members() - 1));
}

DSVM_CASE(va_index, lengths_beyond_32_bits)
{
	constexpr u64 k4G = u64{1} << 32;
	constexpr u64 lengths[] = {k4G - 1, k4G, k4G + 1, 1, u64{1} << 40};
	dsvm_va_space space;
	dsvm_va vas[5] = {};
	u64 addr = 64;

	DSVM_REQUIRE_EQ(dsvm_va_space_init(&space, 0, kU64Max, nullptr), 0);
	for (u32 i = 0; i < 5; i++) {
		vas[i].map.addr = addr;
		vas[i].map.range = lengths[i];
		DSVM_REQUIRE_EQ(dsvm_va_insert(&space, &vas[i]), 0);
		addr += lengths[i] + 1;
	}
	for (dsvm_va &va : vas) {
		dsvm_va other = {};

		DSVM_EXPECT(dsvm_va_find_first(&space, va_last(va.map), 1) == &va);
		DSVM_EXPECT(dsvm_va_find_first(&space, va_last(va.map) + 1, 1) == nullptr);
		other.map.addr = va_last(va.map);
		other.map.range = 1;
		DSVM_EXPECT_EQ(dsvm_va_insert(&space, &other), -DSVM_EEXIST);
		other.map.addr++;
		DSVM_EXPECT_EQ(dsvm_va_insert(&space, &other), 0);
		DSVM_EXPECT(dsvm_va_remove(&space, &other));
	}
	for (dsvm_va &va : vas)
		DSVM_EXPECT(dsvm_va_remove(&space, &va));
	DSVM_EXPECT(dsvm_va_space_fini(&space));
}

// A mapping of one leaf that reaches over where the next leaf begins.
DSVM_CASE(va_index, reach_into_the_next_leaf)
{
	Slots slots(48);
	dsvm_va other = {};

	for (u32 i = 0; i < 48; i++)
		DSVM_REQUIRE(slots.put(i));
	// Full from below, so the second leaf's key is that of the 24th.
	const u64 key = slots.at(24).map.addr;
	DSVM_REQUIRE(slots.take(24));
	DSVM_REQUIRE(slots.take(23));
	slots.fill_in(23, key + 2 - slots.at(23).map.addr);
	DSVM_REQUIRE_EQ(dsvm_va_insert(&slots.space, &slots.at(23)), 0);
	slots.note(23, true);
	DSVM_REQUIRE(slots.check());

	other.map.range = 1;
	for (other.map.addr = key - 1; other.map.addr < key + 2; other.map.addr++) {
		DSVM_EXPECT(dsvm_va_find_first(&slots.space, other.map.addr, 1) == &slots.at(23));
		DSVM_EXPECT_EQ(dsvm_va_insert(&slots.space, &other), -DSVM_EEXIST);
	}
	DSVM_EXPECT_EQ(dsvm_va_insert(&slots.space, &other), 0);
	DSVM_EXPECT(dsvm_va_remove(&slots.space, &other));
	DSVM_EXPECT(slots.check());
}

// No node, ever: slower, and right.
DSVM_CASE(va_index, without_memory)
{
	Random random;
	Slots slots(300);

	dsvm_env_fail_nowait(1);
	for (u32 step = 0; step < 3000; step++) {
		const u32 i = static_cast<u32>(random.below(slots.count()));

		// One that is there is refused.
		if (random.chance(20) || !slots.has(i))
			DSVM_REQUIRE(slots.put(i));
		else
			DSVM_REQUIRE(slots.take(i));
		if (step % 16 == 0)
			DSVM_REQUIRE(slots.check());
	}
	DSVM_EXPECT(slots.space.index.root == nullptr);
	DSVM_EXPECT_EQ(slots.space.index.spilled, slots.members());
	DSVM_EXPECT(dsvm_env_nowait_failed() > 0);
	dsvm_env_fail_nowait(0);
}

// Each n-th node is not to be had; and as soon as all are, nothing stays outside for long.
DSVM_CASE(va_index, with_memory_again)
{
	Random random;

	for (u32 every = 1; every <= 4; every++) {
		Slots slots(kMany);
		u32 i = 0;

		dsvm_env_fail_nowait(every);
		for (u32 step = 0; step < kMany; step++) {
			i = static_cast<u32>(random.below(kMany));
			DSVM_REQUIRE(slots.put(i));
			if (step % 64 == 0)
				DSVM_REQUIRE(slots.check());
		}
		DSVM_EXPECT(every > 1 || slots.space.index.spilled > 0);
		dsvm_env_fail_nowait(0);

		const u32 spilled = slots.space.index.spilled;
		u32 inserted = 0;
		for (i = 0; i < kMany && slots.space.index.spilled > 0; i++) {
			// What is taken out of the spill lessens it as well.
			if (slots.has(i) && (slots.at(i).map.state & DSVM_VA_SPILLED) == 0)
				DSVM_REQUIRE(slots.take(i));
			if (slots.has(i))
				continue;
			DSVM_REQUIRE(slots.put(i));
			inserted++;
		}
		DSVM_REQUIRE(slots.check());
		// One for each.
		DSVM_EXPECT_EQ(slots.space.index.spilled, spilled - inserted);
	}
}

DSVM_CASE(va_index, walk_while_it_changes)
{
	Random random;

	for (u32 round = 0; round < rounds(300); round++) {
		Slots slots(200);

		dsvm_env_fail_nowait(round % 4);
		for (u32 i = 0; i < slots.count(); i++) {
			if (random.chance(70))
				DSVM_REQUIRE(slots.put(i));
		}

		dsvm_va_walk walk = dsvm_va_walk_begin(&slots.space, 0, kU64Max);
		u32 expected = 0;
		for (; walk.now != nullptr; step(walk)) {
			while (expected < slots.count() && !slots.has(expected))
				expected++;
			DSVM_REQUIRE_EQ(slots.slot_of(*walk.now), expected);
			expected++;
			// Anything may come and go but the one that the walk is at.
			for (u64 changes = random.chance(40) ? random.below(30) : 0; changes > 0;
			     changes--) {
				const u32 i = static_cast<u32>(random.below(slots.count()));

				if (&slots.at(i) != walk.now)
					DSVM_REQUIRE(slots.has(i) ? slots.take(i) : slots.put(i));
			}
		}
		while (expected < slots.count() && !slots.has(expected))
			expected++;
		DSVM_EXPECT_EQ(expected, slots.count());
	}
	dsvm_env_fail_nowait(0);
}

// There is no memory any more for what comes in front of a walk.
DSVM_CASE(va_index, walk_meets_what_is_spilled)
{
	Slots slots(30);

	for (u32 i = 0; i < 25; i++) {
		if (i != 20)
			DSVM_REQUIRE(slots.put(i));
	}
	dsvm_va_walk walk = dsvm_va_walk_begin(&slots.space, 0, kU64Max);
	DSVM_EXPECT(take(walk) == &slots.at(0));
	dsvm_env_fail_nowait(1);
	DSVM_REQUIRE(slots.put(20));
	DSVM_REQUIRE_EQ(slots.space.index.spilled, 1u);
	for (u32 i = 1; i < 25; i++)
		DSVM_EXPECT(take(walk) == &slots.at(i));
	DSVM_EXPECT(walk.now == nullptr);
	dsvm_env_fail_nowait(0);
}

// What has been taken goes at once.
DSVM_CASE(va_index, walk_and_take)
{
	for (u32 without = 0; without < 4; without++) {
		Slots slots(200);

		dsvm_env_fail_nowait(without);
		for (u32 i = 0; i < slots.count(); i++)
			DSVM_REQUIRE(slots.put(permuted(2, i, slots.count(), 7)));
		dsvm_va_walk walk = dsvm_va_walk_begin(&slots.space, 0, kU64Max);
		for (u32 i = 0; i < slots.count(); i++) {
			DSVM_REQUIRE(take(walk) == &slots.at(i));
			DSVM_REQUIRE(slots.take(i));
			DSVM_REQUIRE(slots.check());
		}
		DSVM_EXPECT(take(walk) == nullptr);
	}
	dsvm_env_fail_nowait(0);
}

DSVM_CASE(va_index, walk_a_part)
{
	Random random;

	for (u32 without = 0; without < 2; without++) {
		Slots slots(100);

		dsvm_env_fail_nowait(without);
		for (u32 i = 0; i < slots.count(); i++) {
			if (random.chance(80))
				DSVM_REQUIRE(slots.put(i));
		}
		for (u32 round = 0; round < 2000; round++) {
			const u64 a = random.below(Slots::kSize * slots.count());
			const u64 b = random.below(Slots::kSize * slots.count());
			const u64 first = Slots::kBase + min(a, b);
			const u64 last = Slots::kBase + max(a, b);
			dsvm_va_walk walk = dsvm_va_walk_begin(&slots.space, first, last);

			for (u32 i = 0; i < slots.count(); i++) {
				if (!slots.has(i) || va_last(slots.at(i).map) < first ||
				    slots.at(i).map.addr > last)
					continue;
				DSVM_REQUIRE(take(walk) == &slots.at(i));
			}
			DSVM_REQUIRE(walk.now == nullptr);
		}
	}
	// Nothing in a span that is none.
	dsvm_env_fail_nowait(0);
	Slots slots(8);
	DSVM_REQUIRE(slots.put(1));
	const dsvm_va_map &map = slots.at(1).map;
	DSVM_EXPECT(dsvm_va_walk_begin(&slots.space, va_last(map), map.addr).now == nullptr);
	DSVM_EXPECT(dsvm_va_walk_begin(&slots.space, kU64Max, 0).now == nullptr);
}

// One over a run of others, of which it may cut the first and the last.
DSVM_CASE(va_index, replace_runs)
{
	Random random;

	for (u32 without = 0; without < 3; without++) {
		VaScene scene(0, u64{1} << 20);
		dsvm_va_map map = {};
		u32 moved = 0;

		dsvm_env_fail_nowait(without);
		map.range = 16;
		for (map.addr = 0; map.addr < (1u << 14); map.addr += 16) {
			if (random.chance(70))
				DSVM_REQUIRE_EQ(scene.insert(map), 0);
		}
		DSVM_REQUIRE(expect_sound(scene));
		for (u32 round = 0; round < rounds(2000); round++) {
			map.addr = random.below((1u << 14) - 1);
			map.range = min<u64>(random.between(1, random.chance(10) ? 2000 : 50),
					     (1u << 14) - map.addr);
			const dsvm_va *const low = dsvm_va_find_first(&scene.space, map.addr, 1);
			const dsvm_va *const high =
				dsvm_va_find_first(&scene.space, va_last(map), 1);
			const u64 front = low != nullptr ? low->map.addr : map.addr;
			const u64 back = high != nullptr ? va_last(high->map) : va_last(map);
			DSVM_REQUIRE_EQ(scene.replace(map, true, true), 0);
			// What was mapped is so still, by others.
			const dsvm_va *const now = dsvm_va_find(&scene.space, map.addr, map.range);
			DSVM_REQUIRE(now != nullptr);
			DSVM_REQUIRE(front == map.addr ||
				     dsvm_va_find(&scene.space, front, map.addr - front));
			DSVM_REQUIRE(
				back == va_last(map) ||
				dsvm_va_find(&scene.space, va_last(map) + 1, back - va_last(map)));
			moved++;
			if (round % 32 == 0)
				DSVM_REQUIRE(expect_sound(scene));
			// And holes again.
			if (round % 3 == 0)
				scene.destroy(*dsvm_va_find_first(
					&scene.space, random.below(map.addr + 1), u64{1} << 20));
		}
		DSVM_EXPECT(moved > 0 && expect_sound(scene));
	}
	dsvm_env_fail_nowait(0);
}

DSVM_CASE(va_index, replace_refuses)
{
	VaScene scene(0, 100, 50, 10);
	dsvm_va_map map = {};

	map.addr = 10;
	map.range = 20;
	DSVM_REQUIRE_EQ(scene.insert(map), 0);
	const dsvm_va_space before = scene.space;
	const auto refuses = [&](u64 addr, u64 range, bool prev, bool next) {
		map.addr = addr;
		map.range = range;
		return scene.replace(map, prev, next) == -DSVM_EINVAL &&
		       scene.space.index.generation == before.index.generation &&
		       expect_sound(scene);
	};

	DSVM_EXPECT(refuses(15, 5, false, true));
	DSVM_EXPECT(refuses(15, 5, true, false));
	DSVM_EXPECT(refuses(15, 30, false, true));
	DSVM_EXPECT(refuses(5, 10, true, false));
	DSVM_EXPECT(refuses(40, 20, true, true));
	DSVM_EXPECT(refuses(55, 1, true, true));
	DSVM_EXPECT(refuses(90, 11, true, true));
	DSVM_EXPECT(refuses(90, 0, true, true));
	map.addr = 10;
	map.range = 20;
	DSVM_EXPECT_EQ(scene.replace(map, false, false), 0);
	map.addr = 0;
	map.range = 50;
	DSVM_EXPECT_EQ(scene.replace(map, false, false), 0);
	DSVM_EXPECT(expect_sound(scene));
}

// In a tree of three levels; the rest is in va_space.
DSVM_CASE(va_index, checker_finds_damage)
{
	Slots slots(kMany);

	for (u32 i = 0; i < kMany; i++)
		DSVM_REQUIRE(slots.put(permuted(2, i, kMany, kStride)));
	const auto is_seen_in = [&slots](auto &field, auto value) {
		const auto kept = exchange(field, value);
		const bool seen = VaIndexChecker(slots.space.index).complaint(kMany) != nullptr;

		field = kept;
		return seen;
	};
	VaInner &root = *static_cast<VaInner *>(slots.space.index.root);
	VaInner &inner = *static_cast<VaInner *>(root.child[1]);
	dsvm_va_leaf &leaf = *static_cast<dsvm_va_leaf *>(inner.child[1]);

	DSVM_EXPECT(!is_seen_in(leaf.count, leaf.count));
	DSVM_EXPECT(is_seen_in(root.key[0], u64{1}));
	DSVM_EXPECT(is_seen_in(root.key[1], root.key[1] + Slots::kSize));
	DSVM_EXPECT(is_seen_in(root.key[root.count], u64{5}));
	DSVM_EXPECT(is_seen_in(root.count, 1u));
	DSVM_EXPECT(is_seen_in(inner.count, 14u));
	DSVM_EXPECT(is_seen_in(inner.key[1], inner.key[2]));
	DSVM_EXPECT(is_seen_in(inner.child[1], inner.child[2]));
	DSVM_EXPECT(is_seen_in(leaf.count, 11u));
	DSVM_EXPECT(is_seen_in(leaf.next, &leaf));
	DSVM_EXPECT(is_seen_in(leaf.prev, leaf.next));
	DSVM_EXPECT(is_seen_in(leaf.va[3], leaf.va[4]));
	DSVM_EXPECT(is_seen_in(leaf.length[3], leaf.length[3] + 1));
	DSVM_EXPECT(is_seen_in(slots.space.index.height, 2u));
}
