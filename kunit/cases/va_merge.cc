// SPDX-License-Identifier: GPL-2.0-only OR MIT
//
// Bind transactions that coalesce: which neighbours the driver is asked about, and what
// becomes of its answer. Whatever merges, each unit shows what it would show otherwise.

#include "kunit/case.h"
#include "kunit/cases/va_binding.h"

using namespace dsvm;
using namespace dsvm::cases;

namespace {

constexpr u64 kMergeBase = 4096;

// A space, and one transaction with one request that may merge.
class Merging {
public:
	Merging() : ground({kMergeBase, 64, 40, 4}), binding(ground) {}

	[[nodiscard]] dsvm_va_map line(u64 unit, u64 count, u32 obj = 0, u32 flags = 0)
	{
		dsvm_va_map map = {};

		map.addr = kMergeBase + unit;
		map.range = count;
		map.obj = &ground.scene.objs[obj];
		map.offset = 100 + unit;
		map.flags = flags;
		return map;
	}
	[[nodiscard]] dsvm_va_map window(u64 unit, u64 count, u64 length)
	{
		dsvm_va_map map = line(unit, count, 0, DSVM_VA_REPEAT);

		map.repeat_offset = 64;
		map.repeat_range = length;
		map.offset = 64 + unit % length;
		return map;
	}

	// Whether the mapping of a unit is, after the request, [first, last].
	[[nodiscard]] bool makes(const dsvm_va_map &map, u32 unit, u32 first, u32 last,
				 u32 answers = ~0u)
	{
		return DSVM_CASE_CHECK_(binding.begin(8, 2)) &&
		       DSVM_CASE_CHECK_(binding.map(map, DSVM_BIND_COALESCE, answers)) &&
		       DSVM_CASE_CHECK_(binding.prepare()) && DSVM_CASE_CHECK_(binding.commit()) &&
		       DSVM_CASE_CHECK_(binding.end()) &&
		       DSVM_CASE_CHECK_EQ_(ground.model().first_of(unit), first) &&
		       DSVM_CASE_CHECK_EQ_(ground.model().last_of(unit), last);
	}

	VaGround ground;
	VaBinding binding;
};

} // namespace

DSVM_CASE(va_merge, driver_says_which)
{
	// Bit 0: the one in front. Bit 1: the one behind.
	for (u32 answers = 0; answers < 4; answers++) {
		Merging m;
		const u32 first = (answers & 1) != 0 ? 4 : 8;
		const u32 last = (answers & 2) != 0 ? 15 : 11;

		DSVM_REQUIRE(m.ground.insert(m.line(4, 4)));
		DSVM_REQUIRE(m.ground.insert(m.line(12, 4)));
		DSVM_EXPECT(m.makes(m.line(8, 4), 9, first, last, answers));
	}
}

DSVM_CASE(va_merge, only_what_fits)
{
	const struct {
		u64 shift;
		u32 obj;
		u32 flags;
		u32 last;
	} rows[] = {
		{0, 0, 0, 7},
		{1, 0, 0, 3},
		{0, 1, 0, 3},
		{0, 0, 1u << 4, 3},
		{0, 0, DSVM_VA_SPARSE, 3},
		{0, 0, DSVM_VA_INVALIDATED, 3},
	};

	for (const auto &row : rows) {
		Merging m;
		dsvm_va_map behind = m.line(4, 4, row.obj, row.flags);

		behind.offset += row.shift;
		DSVM_REQUIRE(m.ground.insert(behind));
		DSVM_EXPECT(m.makes(m.line(0, 4), 0, 0, row.last));
	}
	// One that touches nothing, one beside the kernel's, and without being asked to.
	Merging m;
	DSVM_REQUIRE(m.ground.insert(m.line(0, 4)));
	DSVM_EXPECT(m.makes(m.line(5, 4), 5, 5, 8));
	DSVM_EXPECT(m.makes(m.line(38, 2), 39, 38, 39));
	DSVM_EXPECT(m.makes(m.line(44, 2), 44, 44, 45));
	DSVM_EXPECT(m.makes(m.line(63, 1), 63, 63, 63));
	DSVM_REQUIRE(m.binding.begin());
	DSVM_REQUIRE(m.binding.map(m.line(4, 1)));
	DSVM_REQUIRE(m.binding.prepare());
	DSVM_REQUIRE(m.binding.commit());
	DSVM_REQUIRE(m.binding.end());
	DSVM_EXPECT_EQ(m.ground.model().last_of(0), 3u);
}

// Evicted ones have no entries to be one with, even among themselves.
DSVM_CASE(va_merge, evicted_ones_stay_apart)
{
	Merging m;

	DSVM_REQUIRE(m.ground.insert(m.line(0, 4, 0, DSVM_VA_INVALIDATED)));
	DSVM_EXPECT(m.makes(m.line(4, 4, 0, DSVM_VA_INVALIDATED), 4, 4, 7));
}

DSVM_CASE(va_merge, without_an_object)
{
	Merging m;
	dsvm_va_map plain = m.line(0, 4);
	dsvm_va_map sparse = m.line(20, 4, 0, DSVM_VA_SPARSE);

	plain.obj = nullptr;
	sparse.obj = nullptr;
	DSVM_REQUIRE(m.ground.insert(plain));
	DSVM_REQUIRE(m.ground.insert(sparse));
	plain.addr += 4;
	sparse.addr += 4;
	// What stands behind the one is only known to the driver; sparse is sparse.
	DSVM_EXPECT(m.makes(plain, 4, 4, 7));
	DSVM_EXPECT(m.makes(sparse, 24, 20, 27));
	// An object may be sparse as well, and is not nothing.
	DSVM_EXPECT(m.makes(m.line(28, 4, 0, DSVM_VA_SPARSE), 28, 28, 31));
}

// Whatever the driver says of it.
DSVM_CASE(va_merge, kernel_mapping_stays_apart)
{
	Merging m;
	dsvm_va_map sparse = m.line(36, 4, 0, DSVM_VA_SPARSE);

	sparse.obj = nullptr;
	DSVM_REQUIRE(m.ground.set_flags(40, DSVM_VA_SPARSE));
	DSVM_EXPECT(m.makes(sparse, 36, 36, 39));
	sparse.addr = kMergeBase + 44;
	DSVM_EXPECT(m.makes(sparse, 44, 44, 47));
}

DSVM_CASE(va_merge, inside_of_a_mapping)
{
	// One that is cut is the neighbour on both sides: whole, without its end, without its
	// beginning, and cut in three.
	constexpr u32 firsts[] = {8, 0, 8, 0};
	constexpr u32 lasts[] = {11, 11, 19, 19};

	for (u32 answers = 0; answers < 4; answers++) {
		Merging m;

		DSVM_REQUIRE(m.ground.insert(m.line(0, 20)));
		DSVM_EXPECT(m.makes(m.line(8, 4), 9, firsts[answers], lasts[answers], answers));
	}
	// Across the ends of two, with another object's in between.
	Merging m;
	DSVM_REQUIRE(m.ground.insert(m.line(0, 8)));
	DSVM_REQUIRE(m.ground.insert(m.line(8, 4, 1)));
	DSVM_REQUIRE(m.ground.insert(m.line(12, 8)));
	DSVM_EXPECT(m.makes(m.line(6, 8), 9, 0, 19));
}

DSVM_CASE(va_merge, with_what_is_planned)
{
	Merging m;

	DSVM_REQUIRE(m.ground.insert(m.line(16, 8)));
	DSVM_REQUIRE(m.ground.insert(m.line(48, 16)));
	DSVM_REQUIRE(m.binding.begin());
	DSVM_REQUIRE(m.binding.map(m.line(0, 4), DSVM_BIND_COALESCE));
	DSVM_REQUIRE(m.binding.map(m.line(8, 4), DSVM_BIND_COALESCE));
	DSVM_REQUIRE(m.binding.map(m.line(4, 4), DSVM_BIND_COALESCE));
	DSVM_EXPECT_EQ(m.binding.planned().last_of(0), 11u);
	// What remains of a mapping may merge again.
	DSVM_REQUIRE(m.binding.unmap(kMergeBase + 18, 2));
	DSVM_REQUIRE(m.binding.map(m.line(18, 2), DSVM_BIND_COALESCE));
	DSVM_EXPECT_EQ(m.binding.planned().first_of(18), 16u);
	DSVM_EXPECT_EQ(m.binding.planned().last_of(18), 23u);
	// So may what remains of what remains, of the space's own and of a planned one.
	DSVM_REQUIRE(m.binding.unmap(kMergeBase + 17, 1));
	DSVM_REQUIRE(m.binding.unmap(kMergeBase + 20, 1));
	DSVM_REQUIRE(m.binding.map(m.line(20, 1), DSVM_BIND_COALESCE));
	DSVM_EXPECT_EQ(m.binding.planned().first_of(20), 18u);
	DSVM_EXPECT_EQ(m.binding.planned().last_of(20), 23u);
	DSVM_REQUIRE(m.binding.unmap(kMergeBase + 50, 2));
	DSVM_REQUIRE(m.binding.unmap(kMergeBase + 54, 2));
	DSVM_REQUIRE(m.binding.map(m.line(54, 2), DSVM_BIND_COALESCE));
	DSVM_EXPECT_EQ(m.binding.planned().first_of(54), 52u);
	DSVM_EXPECT_EQ(m.binding.planned().last_of(54), 63u);
	// One after the other, as a ring buffer would.
	for (u64 unit = 24; unit < 40; unit++)
		DSVM_REQUIRE(m.binding.map(m.line(unit, 1), DSVM_BIND_COALESCE,
					   unit % 3 == 0 ? 0 : ~0u));
	DSVM_REQUIRE(m.binding.prepare());
	DSVM_REQUIRE(m.binding.commit());
	DSVM_EXPECT(m.binding.end());
}

DSVM_CASE(va_merge, repeated_windows)
{
	for (u64 length = 1; length <= 4; length++) {
		Merging m;

		DSVM_REQUIRE(m.ground.insert(m.window(1, 6, length)));
		DSVM_REQUIRE(m.ground.insert(m.window(9, 6, length)));
		DSVM_EXPECT(m.makes(m.window(7, 2, length), 7, 1, 14));
		// Out of phase, another window, no window.
		dsvm_va_map late = m.window(15, 2, length);
		late.offset = 64 + (late.offset - 64 + 1) % length;
		DSVM_EXPECT(m.makes(late, 15, length == 1 ? 1 : 15, 16));
		DSVM_EXPECT(m.makes(m.window(17, 2, length + 1), 17, 17, 18));
		DSVM_EXPECT(m.makes(m.line(19, 2), 19, 19, 20));
	}
}

// The offsets of the one end with the last of all, and the other begins with 0: they do not
// go on, although their sum wraps so.
DSVM_CASE(va_merge, offsets_do_not_wrap)
{
	Merging m;
	dsvm_va_map top = m.line(4, 4);
	dsvm_va_map bottom = m.line(8, 4);

	top.offset = kU64Max - 3;
	bottom.offset = 0;
	DSVM_REQUIRE(m.ground.insert(bottom));
	DSVM_REQUIRE(m.makes(top, 4, 4, 7));
	DSVM_REQUIRE(m.ground.remove(8));
	DSVM_EXPECT(m.makes(bottom, 8, 8, 11));
}

DSVM_CASE(va_merge, ends_of_all_addresses)
{
	const u64 bases[] = {0, kU64Max - 15};

	for (const u64 base : bases) {
		VaGround ground({base, 16, 0, 0});
		VaBinding binding(ground);
		dsvm_va_map map = {};

		map.obj = &ground.scene.objs[0];
		map.range = 4;
		for (u64 unit = 0; unit < 16; unit += 8) {
			map.addr = base + unit;
			map.offset = unit;
			DSVM_REQUIRE(ground.insert(map));
		}
		DSVM_REQUIRE(binding.begin());
		for (u64 unit = 4; unit < 16; unit += 8) {
			map.addr = base + unit;
			map.offset = unit;
			DSVM_REQUIRE(binding.map(map, DSVM_BIND_COALESCE));
		}
		DSVM_REQUIRE(binding.prepare());
		DSVM_REQUIRE(binding.commit());
		DSVM_REQUIRE(binding.end());
		DSVM_EXPECT_EQ(ground.model().last_of(0), 15u);
		// The whole once more.
		map.addr = base;
		map.range = 16;
		map.offset = 0;
		DSVM_REQUIRE(binding.begin());
		DSVM_REQUIRE(binding.map(map, DSVM_BIND_COALESCE));
		DSVM_REQUIRE(binding.prepare());
		DSVM_REQUIRE(binding.commit());
		DSVM_EXPECT(binding.end());
	}
}
