// SPDX-License-Identifier: GPL-2.0-only OR MIT
//
// A space and its mappings, without requests: where it begins and ends, what may be put
// in, what is found; and the checkers themselves.

#include "drm_svm/bind.h"
#include "kunit/case.h"
#include "kunit/cases/va_ground.h"

using namespace dsvm;
using namespace dsvm::cases;

namespace {

dsvm_va_map plain_map(u64 addr, u64 range)
{
	dsvm_va_map map = {};

	map.addr = addr;
	map.range = range;
	return map;
}

dsvm_va_map object_map(u64 addr, u64 range, dsvm_os_obj &obj, u64 offset, u32 flags = 0)
{
	dsvm_va_map map = plain_map(addr, range);

	map.obj = &obj;
	map.offset = offset;
	map.flags = flags;
	return map;
}

struct ValidRow {
	u64 addr;
	u64 range;
	bool valid;
};

} // namespace

DSVM_CASE(va_space, init_refuses_what_wraps)
{
	constexpr u64 starts[] = {kU64Max, 2};
	dsvm_va_space space;
	dsvm_va kernel = {};

	kernel.map = plain_map(100, 10);
	for (const u64 start : starts) {
		DSVM_EXPECT_EQ(dsvm_va_space_init(&space, start, kU64Max, &kernel), -DSVM_EINVAL);
		// It is one in which nothing is valid, and can be ended as any other.
		DSVM_EXPECT(!dsvm_va_range_valid(&space, start, 1));
		DSVM_EXPECT(space.kernel == nullptr);
		DSVM_EXPECT(dsvm_va_find_first(&space, 0, kU64Max) == nullptr);
		DSVM_EXPECT(dsvm_va_space_fini(&space));
	}
	kernel.map = plain_map(kU64Max, 2);
	DSVM_EXPECT_EQ(dsvm_va_space_init(&space, 0, 1000, &kernel), -DSVM_EINVAL);
	DSVM_EXPECT(!dsvm_va_range_valid(&space, 0, 1));
	DSVM_EXPECT(dsvm_va_space_fini(&space));

	kernel.map = plain_map(100, 0);
	DSVM_EXPECT_EQ(dsvm_va_space_init(&space, 1, kU64Max, &kernel), 0);
	DSVM_EXPECT(space.kernel == nullptr);
	DSVM_EXPECT(dsvm_va_range_valid(&space, 1, kU64Max));
	DSVM_EXPECT(dsvm_va_range_valid(&space, kU64Max, 1));
	DSVM_EXPECT(!dsvm_va_range_valid(&space, 0, 1));
	DSVM_EXPECT(dsvm_va_space_fini(&space));
	DSVM_EXPECT_EQ(dsvm_va_space_init(&space, 0, kU64Max, nullptr), 0);
	DSVM_EXPECT(dsvm_va_range_valid(&space, kU64Max - 1, 1));
	DSVM_EXPECT(!dsvm_va_range_valid(&space, kU64Max, 1));
	DSVM_EXPECT(dsvm_va_space_fini(&space));
	// Nothing to manage.
	DSVM_EXPECT_EQ(dsvm_va_space_init(&space, 5, 0, nullptr), 0);
	DSVM_EXPECT(!dsvm_va_range_valid(&space, 5, 1));
	DSVM_EXPECT(!dsvm_va_range_valid(&space, 5, 0));
	DSVM_EXPECT(dsvm_va_space_fini(&space));
}

DSVM_CASE(va_space, ends_of_the_space)
{
	constexpr ValidRow rows[] = {
		{1000, 1, true},
		{1099, 1, true},
		{1000, 100, true},
		{999, 1, false},
		{999, 2, false},
		{1100, 1, false},
		{1099, 2, false},
		{1000, 101, false},
		{999, 101, false},
		{1050, 0, false},
		{0, 0, false},
		{1050, kU64Max, false},
		{1050, kU64Max - 1049, false},
		{1000, kU64Max, false},
		{kU64Max, 1, false},
		{kU64Max, 1101, false},
		{0, kU64Max, false},
	};
	VaScene scene(1000, 100);

	for (const ValidRow &row : rows) {
		DSVM_EXPECT_EQ(dsvm_va_range_valid(&scene.space, row.addr, row.range), row.valid);
		dsvm_va *va = nullptr;
		DSVM_EXPECT_EQ(scene.insert(plain_map(row.addr, row.range), &va),
			       row.valid ? 0 : -DSVM_EINVAL);
		DSVM_EXPECT(expect_sound(scene));
		if (row.valid)
			scene.destroy(*va);
	}
}

DSVM_CASE(va_space, last_of_64_bits)
{
	VaGround ground({kU64Max - 15, 16, 0, 0});
	VaScene &scene = ground.scene;
	dsvm_os_obj &obj = scene.objs[0];

	DSVM_REQUIRE(ground.insert(object_map(kU64Max, 1, obj, 15)));
	DSVM_REQUIRE(ground.insert(object_map(kU64Max - 15, 1, obj, 0)));
	dsvm_va *const last = dsvm_va_find(&scene.space, kU64Max, 1);
	DSVM_REQUIRE(last != nullptr);
	// A search ends where the addresses do.
	DSVM_EXPECT(dsvm_va_find_first(&scene.space, kU64Max - 3, kU64Max) == last);
	DSVM_EXPECT(dsvm_va_find_first(&scene.space, kU64Max - 3, 3) == nullptr);
	DSVM_EXPECT(dsvm_va_find_next(&scene.space, kU64Max) == last);
	DSVM_EXPECT(dsvm_va_find_prev(&scene.space, kU64Max) == nullptr);
	DSVM_EXPECT(dsvm_va_find_prev(&scene.space, 0) == nullptr);
	DSVM_EXPECT(dsvm_va_find_next(&scene.space, 0) == nullptr);
	DSVM_REQUIRE(ground.remove(15));
	// Whole, then without its end, its beginning, its middle.
	DSVM_REQUIRE(ground.request(VaRequest::kMap, object_map(kU64Max - 15, 16, obj, 0)));
	DSVM_REQUIRE(ground.request(VaRequest::kUnmap, plain_map(kU64Max, 1)));
	DSVM_REQUIRE(ground.request(VaRequest::kMap, object_map(kU64Max - 1, 2, obj, 14)));
	DSVM_REQUIRE(ground.request(VaRequest::kUnmap, plain_map(kU64Max - 15, 15)));
	DSVM_REQUIRE(ground.request(VaRequest::kMap, object_map(kU64Max - 15, 16, obj, 0)));
	DSVM_REQUIRE(ground.request(VaRequest::kUnmap, plain_map(kU64Max - 8, 4)));
	// One unit too far.
	DSVM_REQUIRE(ground.request(VaRequest::kMap, object_map(kU64Max, 2, obj, 0)));
	DSVM_REQUIRE(ground.request(VaRequest::kUnmap, plain_map(kU64Max - 15, 17)));
}

DSVM_CASE(va_space, kernel_mapping)
{
	constexpr ValidRow rows[] = {
		{32, 8, true},	{50, 14, true},	 {0, 40, true},	 {0, 41, false},  {39, 2, false},
		{40, 1, false}, {40, 10, false}, {44, 2, false}, {49, 1, false},  {49, 2, false},
		{50, 1, true},	{39, 1, true},	 {0, 64, false}, {39, 12, false},
	};
	VaGround ground({0, 64, 40, 10});
	VaScene &scene = ground.scene;

	for (const ValidRow &row : rows) {
		DSVM_EXPECT_EQ(dsvm_va_range_valid(&scene.space, row.addr, row.range), row.valid);
		DSVM_REQUIRE(ground.insert(plain_map(row.addr, row.range)));
		if (row.valid)
			DSVM_REQUIRE(ground.remove(static_cast<u32>(row.addr)));
		DSVM_REQUIRE(ground.request(VaRequest::kMap, plain_map(row.addr, row.range)));
		DSVM_REQUIRE(ground.request(VaRequest::kUnmap, plain_map(row.addr, row.range)));
	}
	// It is there for who looks, and does not go.
	DSVM_EXPECT(dsvm_va_find(&scene.space, 40, 10) == &scene.kernel);
	dsvm_env_expect_begin();
	DSVM_EXPECT(!dsvm_va_remove(&scene.space, &scene.kernel));
	DSVM_EXPECT_EQ(dsvm_env_expect_end(), 1u);
	DSVM_EXPECT(ground.check());
}

DSVM_CASE(va_space, what_is_in_no_space_is_not_taken_out)
{
	VaGround ground({0, 64, 0, 0});
	dsvm_va va = {};

	va.map = plain_map(ground.model().base(), 1);
	for (int i = 0; i < 2; i++) {
		dsvm_env_expect_begin();
		static_cast<void>(dsvm_va_remove(&ground.scene.space, &va));
		DSVM_EXPECT_EQ(dsvm_env_expect_end(), 1u);
		DSVM_REQUIRE_EQ(dsvm_va_insert(&ground.scene.space, &va), 0);
		DSVM_EXPECT(dsvm_va_remove(&ground.scene.space, &va));
	}

	// Nor what another is in the place of, when nothing is left of where it was.
	dsvm_va other = va;
	dsvm_va *gone = nullptr;
	DSVM_REQUIRE_EQ(dsvm_va_insert(&ground.scene.space, &va), 0);
	DSVM_REQUIRE_EQ(dsvm_va_replace(&ground.scene.space, &other, nullptr, nullptr, &gone), 0);
	DSVM_EXPECT(gone == &va);
	DSVM_EXPECT(dsvm_va_remove(&ground.scene.space, &other));
	dsvm_env_expect_begin();
	static_cast<void>(dsvm_va_remove(&ground.scene.space, &va));
	DSVM_EXPECT_EQ(dsvm_env_expect_end(), 1u);

	// Nor what was in the tree, for want of a node, whose links are where a leaf would be.
	dsvm_env_fail_nowait(1);
	DSVM_REQUIRE_EQ(dsvm_va_insert(&ground.scene.space, &va), 0);
	DSVM_EXPECT_EQ(ground.scene.space.index.spilled, 1u);
	DSVM_EXPECT(dsvm_va_remove(&ground.scene.space, &va));
	dsvm_env_fail_nowait(0);
	dsvm_env_expect_begin();
	static_cast<void>(dsvm_va_remove(&ground.scene.space, &va));
	DSVM_EXPECT_EQ(dsvm_env_expect_end(), 1u);
	DSVM_EXPECT(ground.check());
}

DSVM_CASE(va_space, fini_says_what_is_left)
{
	dsvm_va_space space;
	dsvm_va kernel = {};
	dsvm_va va = {};

	kernel.map = plain_map(8, 4);
	va.map = plain_map(0, 4);
	DSVM_REQUIRE_EQ(dsvm_va_space_init(&space, 0, 64, &kernel), 0);
	DSVM_REQUIRE_EQ(dsvm_va_insert(&space, &va), 0);
	DSVM_EXPECT(!dsvm_va_space_fini(&space));
	// All the same there is nothing in it any more, and nothing of its memory is left.
	DSVM_EXPECT(dsvm_va_find_first(&space, 8, 4) == nullptr);
	DSVM_EXPECT(dsvm_va_find_first(&space, 0, 4) == nullptr);
	DSVM_EXPECT_EQ(dsvm_env_outstanding(), 0u);
	DSVM_EXPECT(dsvm_va_space_fini(&space));
}

// All spans of a space against all mappings in the way, and nothing has changed where one
// was refused.
DSVM_CASE(va_space, insert_refuses_overlaps)
{
	for (u64 first = 0; first < 8; first++) {
		for (u64 last = first; last < 8; last++) {
			VaGround ground({1ull << 32, 8, 0, 0});
			const u64 base = ground.model().base();

			DSVM_REQUIRE(ground.insert(plain_map(base + first, last - first + 1)));
			for (u64 a = 0; a < 8; a++) {
				for (u64 b = a; b < 8; b++) {
					const bool is_free =
						ground.model().is_empty(base + a, b - a + 1);

					DSVM_REQUIRE(ground.insert(plain_map(base + a, b - a + 1)));
					if (is_free)
						DSVM_REQUIRE(ground.remove(static_cast<u32>(a)));
				}
			}
		}
	}
}

DSVM_CASE(va_space, insert_refuses_sources_that_cannot_be)
{
	VaGround ground({0, 64, 0, 0});
	dsvm_os_obj &obj = ground.scene.objs[0];
	dsvm_va_map map = object_map(0, 8, obj, 4, DSVM_VA_REPEAT);

	map.repeat_offset = 4;
	DSVM_EXPECT(ground.insert(map)); // no window
	map.repeat_range = 4;
	map.offset = 3;
	DSVM_EXPECT(ground.insert(map)); // in front of it
	map.offset = 8;
	DSVM_EXPECT(ground.insert(map)); // behind it
	map.offset = 4;
	map.repeat_range = kU64Max;
	DSVM_EXPECT(ground.insert(map)); // it wraps
	map.repeat_range = kU64Max - 3;
	map.obj = nullptr;
	DSVM_EXPECT(ground.insert(map)); // of nothing
	map.obj = &obj;
	DSVM_EXPECT(ground.insert(map)); // as long as can be
	DSVM_EXPECT(ground.insert(object_map(8, 8, obj, kU64Max - 6)));
	DSVM_EXPECT(ground.insert(object_map(8, 8, obj, kU64Max - 7)));
	DSVM_EXPECT(ground.model().is_mapped(0) && ground.model().is_mapped(8));
}

// What the driver's memory held before is not the core's word.
DSVM_CASE(va_space, insert_begins_anew)
{
	VaScene scene(0, 64);
	dsvm_va_map map = plain_map(4, 4);

	map.state = ~0u;
	dsvm_va *const va = scene.make(map);
	DSVM_REQUIRE(va != nullptr);
	va->tree[0] = va->tree[1] = va->tree[2] = ~usize{0};
	DSVM_REQUIRE_EQ(dsvm_va_insert(&scene.space, va), 0);
	DSVM_EXPECT(expect_sound(scene));
	scene.destroy(*va);
}

// Any two pieces for a mapping of four units, at both ends of all addresses too.
DSVM_CASE(va_space, remap_takes_what_fits)
{
	const u64 bases[] = {1, 1000, kU64Max - 5};

	for (const u64 base : bases) {
		for (u32 row = 0; row < 8 * 4 * 8 * 4; row++) {
			const u64 a = row % 8;
			const u64 a_length = row / 8 % 4;
			const u64 b = row / 32 % 8;
			const u64 b_length = row / 256;
			VaScene scene(base - 1, min<u64>(8, kU64Max - base + 1) + 1);
			dsvm_va *va = nullptr;
			const dsvm_va_map prev = plain_map(base + a, a_length);
			const dsvm_va_map next = plain_map(base + b, b_length);

			DSVM_REQUIRE_EQ(scene.insert(plain_map(base + 2, 4), &va), 0);
			// Without the second, without the first, both.
			const bool first = a >= 2 && a_length > 0 && a + a_length <= 6;
			const bool second = b >= 2 && b_length > 0 && b + b_length <= 6;
			const bool both = first && second && a + a_length <= b;
			const u32 way = row % 3;
			const bool fits = way == 0 ? first : way == 1 ? second : both;
			DSVM_REQUIRE_EQ(scene.remap(*va, way != 1 ? &prev : nullptr,
						    way != 0 ? &next : nullptr),
					fits ? 0 : -DSVM_EINVAL);
			DSVM_REQUIRE(expect_sound(scene));
			DSVM_REQUIRE((dsvm_va_find(&scene.space, base + 2, 4) == va) == !fits ||
				     (fits && (a_length == 4 || b_length == 4)));
		}
	}
}

DSVM_CASE(va_space, remap_refuses)
{
	VaScene scene(0, 64, 40, 10);
	dsvm_bind bind = {};
	const dsvm_bind_env none = {};
	dsvm_va_map map = plain_map(40, 2);
	dsvm_va *va = nullptr;

	DSVM_EXPECT_EQ(scene.remap(scene.kernel, &map, nullptr), -DSVM_EBUSY);
	DSVM_REQUIRE_EQ(scene.insert(plain_map(0, 8), &va), 0);
	map = object_map(0, 4, scene.objs[0], kU64Max);
	DSVM_EXPECT_EQ(scene.remap(*va, &map, nullptr), -DSVM_EINVAL);
	map = plain_map(0, 4);
	DSVM_REQUIRE_EQ(dsvm_bind_begin(&bind, &scene.space, &none, 0, nullptr, 0), 0);
	DSVM_EXPECT_EQ(scene.remap(*va, &map, nullptr), -DSVM_EBUSY);
	dsvm_bind_end(&bind);
	DSVM_EXPECT(expect_sound(scene));
	DSVM_EXPECT_EQ(scene.remap(*va, nullptr, nullptr), 0);
	DSVM_EXPECT(dsvm_va_find_first(&scene.space, 0, 40) == nullptr);
}

DSVM_CASE(va_space, look_up_every_span)
{
	const VaPlace places[] = {{0, 16, 9, 2}, {kU64Max - 15, 16, 0, 0}, {5, 16, 0, 3}};

	for (const VaPlace &place : places) {
		VaGround ground(place);
		const u64 base = place.base;

		DSVM_REQUIRE(ground.insert(plain_map(base + 3, 2)));
		DSVM_REQUIRE(ground.insert(plain_map(base + 5, 1)));
		DSVM_REQUIRE(ground.insert(plain_map(base + 7, 2)));
		DSVM_REQUIRE(ground.insert(plain_map(base + 13, 3)));
		// From in front of the space to behind it, which may be the other end of all
		// addresses.
		for (u64 addr = base - 2; addr != base + 19; addr++) {
			for (u64 range = 0; range < 20; range++)
				DSVM_REQUIRE(ground.look_up(addr, range));
			DSVM_REQUIRE(ground.look_up(addr, kU64Max));
		}
	}
}

// Mappings that come and go one by one, in ways that a tree may not like.
DSVM_CASE(va_space, many_mappings)
{
	for (u32 pattern = 0; pattern < 4; pattern++) {
		VaGround ground({64, 256, 0, 0});
		Random random;

		for (u32 i = 0; i < 256; i++) {
			const u32 unit = pattern == 0	? i
					 : pattern == 1 ? 255 - i
					 : pattern == 2 ? (i * 167) % 256
							: static_cast<u32>(random.below(256));
			DSVM_REQUIRE(ground.insert(plain_map(64 + unit, 1)));
		}
		for (u32 i = 0; i < 256; i++) {
			const u32 unit = pattern % 2 == 0 ? (i * 91) % 256 : i;

			if (ground.model().is_mapped(unit))
				DSVM_REQUIRE(ground.remove(unit));
		}
	}
}

// They have to see each kind of damage, or their silence elsewhere means nothing.
DSVM_CASE(va_space, checkers_find_damage)
{
	VaGround ground({0, 64, 40, 4});
	VaScene &scene = ground.scene;
	dsvm_os_obj &obj = scene.objs[0];

	for (u64 i = 0; i < 5; i++)
		DSVM_REQUIRE(ground.insert(object_map(8 * i, 4, obj, 8 * i)));
	dsvm_va &va = *dsvm_va_find(&scene.space, 16, 4);
	const auto is_seen = [&ground, &scene]() {
		return scene.complaint() != nullptr || ground.model().complaint(scene) != nullptr;
	};
	const auto is_seen_in = [&is_seen](auto &field, auto value) {
		const auto kept = exchange(field, value);
		const bool seen = is_seen();

		field = kept;
		return seen;
	};

	DSVM_EXPECT(is_seen_in(va.map.addr, u64{17}));
	DSVM_EXPECT(is_seen_in(va.map.addr, u64{30}));
	DSVM_EXPECT(is_seen_in(va.map.range, u64{3}));
	DSVM_EXPECT(is_seen_in(va.map.range, u64{9}));
	DSVM_EXPECT(is_seen_in(va.map.range, u64{0}));
	DSVM_EXPECT(is_seen_in(va.map.offset, u64{17}));
	DSVM_EXPECT(is_seen_in(va.map.flags, u32{DSVM_VA_SPARSE}));
	DSVM_EXPECT(is_seen_in(va.map.state, u32{DSVM_VA_PLANNED}));
	DSVM_EXPECT(is_seen_in(va.map.obj, &scene.objs[1]));
	DSVM_EXPECT(is_seen_in(va.map.state, u32{DSVM_VA_SPILLED}));
	DSVM_EXPECT(is_seen_in(va.map.state, u32{DSVM_VA_CLAIMED}));
	DSVM_EXPECT(is_seen_in(scene.space.index.spilled, 1u));
	DSVM_EXPECT(is_seen_in(scene.space.index.height, 0u));
	dsvm_va_leaf &leaf = *static_cast<dsvm_va_leaf *>(scene.space.index.root);
	DSVM_EXPECT(is_seen_in(leaf.first[2], u64{17}));
	DSVM_EXPECT(is_seen_in(leaf.length[2], 5u));
	DSVM_EXPECT(is_seen_in(leaf.first[leaf.count], u64{1000}));
	DSVM_EXPECT(is_seen_in(leaf.next, &leaf));
	DSVM_EXPECT(is_seen_in(leaf.prev, &leaf));
	DSVM_EXPECT(is_seen_in(scene.space.index.finger, &leaf + 1));
	DSVM_EXPECT(is_seen_in(va.bo_entry.next, &va.bo_entry));
	DSVM_EXPECT(is_seen_in(scene.space.mm_range, u64{32}));
	DSVM_EXPECT(is_seen_in(scene.kernel.map.range, u64{0}));
	DSVM_EXPECT(is_seen_in(obj.vm_bo->refs, u32{6}));
	// A mapping that goes without a word.
	scene.destroy(va);
	DSVM_EXPECT(is_seen());
	ground.model().clear(16, 4);
	DSVM_EXPECT(!is_seen());
	// One where two should be.
	ground.model().cut(2);
	DSVM_EXPECT(is_seen());
	ground.model().join(2);
	DSVM_EXPECT(ground.check());
}
