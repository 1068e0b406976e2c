// SPDX-License-Identifier: GPL-2.0-only OR MIT
//
// What the steps of a request say beyond the drawings of va_split.cc: what may be kept, how
// repeated windows are cut, lists, and what of huge entries a cut leaves.

#include "kunit/case.h"
#include "kunit/cases/va_ground.h"

using namespace dsvm;
using namespace dsvm::cases;

namespace {

constexpr u32 kUserFlag = 1u << 4;

dsvm_va_map span_map(u64 addr, u64 range)
{
	dsvm_va_map map = {};

	map.addr = addr;
	map.range = range;
	return map;
}

dsvm_va_map line_map(u64 addr, u64 range, dsvm_os_obj *obj, u64 offset, u32 flags = 0)
{
	dsvm_va_map map = span_map(addr, range);

	map.obj = obj;
	map.offset = offset;
	map.flags = flags;
	return map;
}

dsvm_va_map window_map(u64 addr, u64 range, dsvm_os_obj &obj, u64 first, u64 length, u64 phase)
{
	dsvm_va_map map = line_map(addr, range, &obj, first + phase, DSVM_VA_REPEAT);

	map.repeat_offset = first;
	map.repeat_range = length;
	return map;
}

// How many steps of a request say that entries may stay.
int count_kept(void *context, const dsvm_va_op *op)
{
	u32 &kept = *static_cast<u32 *>(context);

	kept += op->type == DSVM_VA_OP_UNMAP && op->unmap.keep;
	kept += op->type == DSVM_VA_OP_REMAP && op->remap.unmap->keep;
	return 0;
}

u32 kept_by(VaGround &ground, const dsvm_va_map &request)
{
	u32 kept = 0;

	DSVM_EXPECT_EQ(
		dsvm_va_sm_map(&ground.scene.space, &request, DSVM_VA_REPLACE, count_kept, &kept),
		0);
	return kept;
}

// A small space in one of 4^units ways: each unit is empty, of one object, of the other, or
// of none; what goes on goes on.
bool lay_out(VaGround &ground, u32 layout, u32 units)
{
	VaScene &scene = ground.scene;
	const u64 base = ground.model().base();

	for (u32 first = 0, last; first < units; first = last + 1) {
		const u32 kind = layout >> (2 * first) & 3;

		last = first;
		while (last + 1 < units && (layout >> (2 * (last + 1)) & 3) == kind)
			last++;
		if (kind == 0)
			continue;
		dsvm_os_obj *const obj = kind == 3 ? nullptr : &scene.objs[kind - 1];
		if (!ground.insert(line_map(base + first, last - first + 1, obj, 10 + first)))
			return false;
	}
	return true;
}

} // namespace

DSVM_CASE(va_ops, keep_takes_object_offset_and_valid_entries)
{
	VaGround ground({0, 64, 0, 0});
	dsvm_os_obj *const a = &ground.scene.objs[0];
	dsvm_os_obj *const b = &ground.scene.objs[1];

	DSVM_REQUIRE(ground.insert(line_map(8, 8, a, 100)));
	DSVM_EXPECT_EQ(kept_by(ground, line_map(8, 8, a, 100)), 1u);
	DSVM_EXPECT_EQ(kept_by(ground, line_map(4, 16, a, 96)), 1u);
	DSVM_EXPECT_EQ(kept_by(ground, line_map(15, 1, a, 107)), 1u);
	DSVM_EXPECT_EQ(kept_by(ground, line_map(8, 8, a, 101)), 0u);
	DSVM_EXPECT_EQ(kept_by(ground, line_map(4, 16, a, 100)), 0u);
	DSVM_EXPECT_EQ(kept_by(ground, line_map(8, 8, b, 100)), 0u);
	DSVM_EXPECT_EQ(kept_by(ground, line_map(8, 8, nullptr, 100)), 0u);
	// The driver's flags are the driver's to compare.
	DSVM_EXPECT_EQ(kept_by(ground, line_map(8, 8, a, 100, kUserFlag)), 1u);
	DSVM_EXPECT_EQ(kept_by(ground, line_map(8, 8, a, 100, DSVM_VA_SPARSE)), 1u);
	DSVM_REQUIRE(ground.set_flags(8, DSVM_VA_INVALIDATED));
	DSVM_EXPECT_EQ(kept_by(ground, line_map(8, 8, a, 100)), 0u);
	DSVM_EXPECT_EQ(kept_by(ground, line_map(8, 8, a, 100, DSVM_VA_INVALIDATED)), 0u);
	// Nothing stands for entries that could stay.
	DSVM_REQUIRE(ground.insert(line_map(32, 8, nullptr, 100)));
	DSVM_EXPECT_EQ(kept_by(ground, line_map(32, 8, nullptr, 100)), 0u);
}

DSVM_CASE(va_ops, repeat_is_cut_at_every_phase)
{
	constexpr u64 kLength = 11;

	for (u64 window = 1; window <= 5; window++) {
		for (u64 phase = 0; phase < window; phase++) {
			VaGround ground({100, 32, 0, 0});
			const dsvm_va_map map =
				window_map(104, kLength, ground.scene.objs[0], 1000, window, phase);

			for (u64 first = 0; first < kLength; first++) {
				for (u64 last = first; last < kLength; last++) {
					DSVM_REQUIRE(ground.request(VaRequest::kMap, map));
					DSVM_REQUIRE(ground.request(
						VaRequest::kUnmap,
						span_map(104 + first, last - first + 1)));
				}
			}
		}
	}
	// A window that ends with the last offset of all.
	VaGround ground({0, 32, 0, 0});
	DSVM_REQUIRE(ground.request(VaRequest::kMap,
				    window_map(0, 32, ground.scene.objs[0], kU64Max - 2, 3, 2)));
	for (u64 unit = 1; unit < 32; unit += 2)
		DSVM_REQUIRE(ground.request(VaRequest::kUnmap, span_map(unit, 1)));
}

// A long mapping of a large window, where sums of offsets and distances pass 2^64.
DSVM_CASE(va_ops, repeat_does_not_overflow)
{
	constexpr u64 kBase = 1ull << 60;
	constexpr u64 kRange = 1ull << 63;
	constexpr u64 kWindow = kU64Max - 1000;
	VaScene scene(kBase, kRange);
	// Begins at the end of its window, so all but 10 units of it lie at the beginning.
	const dsvm_va_map map =
		window_map(kBase, kRange, scene.objs[0], 1000, kWindow, kWindow - 10);

	DSVM_REQUIRE_EQ(scene.insert(map), 0);
	struct Seen {
		u64 offset;
	} seen = {};
	const auto next_offset = [](void *context, const dsvm_va_op *op) {
		if (op->remap.next != nullptr)
			static_cast<Seen *>(context)->offset = op->remap.next->offset;
		return 0;
	};
	DSVM_EXPECT_EQ(dsvm_va_sm_unmap(&scene.space, kBase + 4, 5, next_offset, &seen), 0);
	DSVM_EXPECT_EQ(seen.offset, 1000 + kWindow - 1);
	DSVM_EXPECT_EQ(dsvm_va_sm_unmap(&scene.space, kBase + 4, 6, next_offset, &seen), 0);
	DSVM_EXPECT_EQ(seen.offset, 1000u);
	DSVM_EXPECT_EQ(dsvm_va_sm_unmap(&scene.space, kBase, kRange - 1, next_offset, &seen), 0);
	DSVM_EXPECT_EQ(seen.offset, 1000 + kRange - 1 - 10);
}

DSVM_CASE(va_ops, repeat_keeps_what_is_in_phase)
{
	VaGround ground({0, 32, 0, 0});
	dsvm_os_obj &obj = ground.scene.objs[0];

	DSVM_REQUIRE(ground.insert(window_map(4, 20, obj, 64, 5, 2)));
	for (u64 addr = 0; addr < 28; addr++) {
		for (u64 phase = 0; phase < 5; phase++) {
			// Unit 4 shows what is 2 units into the window.
			const bool in_phase = (addr + 1 + 2) % 5 == phase;
			const bool overlaps = addr + 3 >= 4 && addr < 24;

			DSVM_EXPECT_EQ(kept_by(ground, window_map(addr, 4, obj, 64, 5, phase)),
				       in_phase && overlaps ? 1u : 0u);
		}
	}
	// Another window, or none, even where the same is shown.
	DSVM_EXPECT_EQ(kept_by(ground, window_map(4, 3, obj, 64, 6, 2)), 0u);
	DSVM_EXPECT_EQ(kept_by(ground, window_map(4, 3, obj, 65, 4, 1)), 0u);
	DSVM_EXPECT_EQ(kept_by(ground, line_map(4, 3, &obj, 66)), 0u);
	DSVM_REQUIRE(ground.request(VaRequest::kMap, line_map(4, 3, &obj, 66)));
	DSVM_EXPECT_EQ(kept_by(ground, window_map(4, 3, obj, 64, 5, 2)), 0u);
}

DSVM_CASE(va_ops, bad_windows)
{
	VaGround ground({0, 32, 0, 0});
	dsvm_os_obj &obj = ground.scene.objs[0];
	dsvm_va_map none = window_map(0, 8, obj, 64, 4, 0);

	none.obj = nullptr;
	const dsvm_va_map maps[] = {
		none,
		window_map(0, 8, obj, 64, 0, 0),
		window_map(0, 8, obj, 64, 4, 4),
		window_map(0, 8, obj, 64, 4, ~u64{0}),
		window_map(0, 8, obj, 64, kU64Max - 62, 0),
		window_map(0, 8, obj, kU64Max, 2, 0),
		line_map(0, 8, &obj, kU64Max - 6),
	};

	for (const dsvm_va_map &map : maps) {
		DSVM_EXPECT(!has_valid_source(map));
		DSVM_REQUIRE(ground.request(VaRequest::kMap, map));
		DSVM_REQUIRE(ground.request(VaRequest::kMadvise, map));
		DSVM_REQUIRE(ground.request_list(VaRequest::kMap, map));
		DSVM_REQUIRE(ground.request_list(VaRequest::kMadvise, map));
	}
	// The last that can be.
	DSVM_REQUIRE(ground.request(VaRequest::kMap, window_map(0, 8, obj, kU64Max, 1, 0)));
	DSVM_REQUIRE(ground.request(VaRequest::kMap, line_map(8, 8, &obj, kU64Max - 7)));
	DSVM_EXPECT(ground.model().is_mapped(15));
	// Without an object the offset is the driver's own.
	DSVM_REQUIRE(ground.request(VaRequest::kMap, line_map(16, 8, nullptr, kU64Max)));
	DSVM_EXPECT(ground.model().is_mapped(23));
}

// The space as it is after the steps before the one that failed.
DSVM_CASE(va_ops, error_ends_the_walk)
{
	constexpr VaRequest kinds[] = {VaRequest::kMap, VaRequest::kUnmap};

	for (u32 stop_at = 1; stop_at <= 6; stop_at++) {
		for (const VaRequest kind : kinds) {
			VaGround ground({0, 32, 0, 0});
			dsvm_os_obj &obj = ground.scene.objs[0];

			for (u64 i = 0; i < 5; i++)
				DSVM_REQUIRE(ground.insert(line_map(4 * i, 3, &obj, 4 * i)));
			DSVM_REQUIRE(ground.request(kind, line_map(1, 17, &obj, 1), stop_at));
		}
		VaGround ground({0, 32, 0, 0});
		DSVM_REQUIRE(ground.insert(line_map(0, 4, nullptr, 0)));
		DSVM_REQUIRE(ground.insert(line_map(8, 4, nullptr, 0)));
		DSVM_REQUIRE(ground.request(VaRequest::kMadvise, span_map(2, 8), stop_at));
	}
}

DSVM_CASE(va_ops, each_allocation_of_a_list_fails)
{
	VaGround ground({0, 32, 0, 0});
	dsvm_os_obj &obj = ground.scene.objs[0];
	const dsvm_va_map request = line_map(1, 17, &obj, 1);
	constexpr VaRequest kinds[] = {VaRequest::kPrefetch, VaRequest::kMadvise, VaRequest::kMap,
				       VaRequest::kUnmap};

	for (const VaRequest kind : kinds) {
		DSVM_REQUIRE(ground.request(VaRequest::kUnmap, span_map(0, 32)));
		for (u64 i = 0; i < 5; i++) {
			dsvm_os_obj *const shown = i % 4 == 0 ? nullptr : &obj;

			DSVM_REQUIRE(ground.insert(line_map(4 * i, 3, shown, 4 * i)));
		}
		const u32 count = ground.count_steps(kind, request);
		DSVM_EXPECT(count >= 4);
		for (u32 n = 1; n <= count + 1; n++)
			DSVM_REQUIRE(ground.request_list(kind, request, n));
	}
	for (u64 i = 0; i < 5; i++)
		DSVM_REQUIRE(ground.request(VaRequest::kMap, line_map(4 * i, 3, &obj, 0)));
	for (u32 n = 1; n <= 6; n++)
		DSVM_REQUIRE(ground.unmap_object(obj, n));
	DSVM_EXPECT(ground.model().is_empty(0, 32));
}

// The first steps lie where there is room, and only those after them are allocated.
DSVM_CASE(va_ops, room_for_the_first_steps)
{
	VaGround ground({0, 32, 0, 0});
	dsvm_os_obj &obj = ground.scene.objs[0];
	const dsvm_va_map request = line_map(1, 17, &obj, 1);

	for (u32 room = 0; room <= 7; room++) {
		DSVM_REQUIRE(ground.request(VaRequest::kUnmap, span_map(0, 32)));
		for (u64 i = 0; i < 5; i++)
			DSVM_REQUIRE(ground.insert(line_map(4 * i, 3, nullptr, 0)));
		const u32 count = ground.count_steps(VaRequest::kMap, request);
		for (u32 n = 1; n + room <= count; n++)
			DSVM_REQUIRE(ground.request_list(VaRequest::kMap, request, n, room));
		DSVM_REQUIRE(ground.request_list(VaRequest::kMap, request, 0, room));
		DSVM_REQUIRE(ground.request_list(VaRequest::kPrefetch, request, 0, room));
	}
}

DSVM_CASE(va_ops, prefetch_lists)
{
	VaGround ground({16, 32, 8, 2});
	dsvm_os_obj &obj = ground.scene.objs[0];

	DSVM_REQUIRE(ground.insert(line_map(16, 4, &obj, 0)));
	DSVM_REQUIRE(ground.insert(line_map(20, 2, nullptr, 0)));
	DSVM_REQUIRE(ground.insert(line_map(40, 8, &obj, 0)));
	DSVM_EXPECT(ground.request_list(VaRequest::kPrefetch, span_map(16, 32)));
	DSVM_EXPECT(ground.request_list(VaRequest::kPrefetch, span_map(19, 2)));
	DSVM_EXPECT(ground.request_list(VaRequest::kPrefetch, span_map(22, 2)));
	// The span may be larger than the space, but not than all addresses.
	DSVM_EXPECT(ground.request_list(VaRequest::kPrefetch, span_map(0, 20)));
	DSVM_EXPECT(ground.request_list(VaRequest::kPrefetch, span_map(0, kU64Max)));
	DSVM_EXPECT(ground.request_list(VaRequest::kPrefetch, span_map(44, kU64Max - 43)));
	DSVM_EXPECT(ground.request_list(VaRequest::kPrefetch, span_map(44, kU64Max - 42)));
	DSVM_EXPECT(ground.request_list(VaRequest::kPrefetch, span_map(16, 0)));
}

DSVM_CASE(va_ops, object_lists)
{
	VaGround ground({0, 32, 0, 0});
	dsvm_os_obj *const objs = ground.scene.objs;

	DSVM_EXPECT(ground.unmap_object(objs[0]));
	DSVM_REQUIRE(ground.insert(line_map(0, 4, &objs[0], 0)));
	DSVM_REQUIRE(ground.insert(line_map(4, 4, &objs[1], 0)));
	DSVM_REQUIRE(ground.insert(line_map(8, 4, &objs[0], 0)));
	DSVM_REQUIRE(ground.request(VaRequest::kUnmap, span_map(1, 2)));
	DSVM_EXPECT(ground.unmap_object(objs[0]));
	DSVM_EXPECT(ground.model().is_empty(0, 4) && ground.model().is_empty(8, 4));
	DSVM_EXPECT(!ground.model().is_empty(4, 4));
}

// Each request on each layout of four units, with callbacks and as a list.
DSVM_CASE(va_ops, every_small_request)
{
	constexpr u32 kUnits = 4;
	constexpr u32 kLayouts = 1u << (2 * kUnits);
	const u32 stride = max(1u, kLayouts / rounds(kLayouts));

	for (u32 layout = 0; layout < kLayouts; layout += stride) {
		for (u32 span = 0; span < kUnits * kUnits * 5; span++) {
			const u64 first = span % kUnits;
			const u64 last = span / kUnits % kUnits;
			const u32 what = span / (kUnits * kUnits);

			if (first > last)
				continue;
			VaGround called({1000, kUnits, 0, 0});
			VaGround listed({1000, kUnits, 0, 0});
			DSVM_REQUIRE(lay_out(called, layout, kUnits));
			DSVM_REQUIRE(lay_out(listed, layout, kUnits));
			const VaRequest kind = what == 3   ? VaRequest::kUnmap
					       : what == 4 ? VaRequest::kMadvise
							   : VaRequest::kMap;
			dsvm_va_map map =
				line_map(1000 + first, last - first + 1, nullptr, 10 + first);
			map.obj = what == 1 || what == 2 ? &called.scene.objs[what - 1] : nullptr;
			DSVM_REQUIRE(called.request(kind, map));
			map.obj = what == 1 || what == 2 ? &listed.scene.objs[what - 1] : nullptr;
			DSVM_REQUIRE(listed.request_list(kind, map));
		}
	}
}

// The largest pieces that keep their entries: a unit loses its own if it goes, or if it
// lies in a block of one entry with one that goes. There was such an entry only if the
// mapping had all of the block.
DSVM_CASE(va_ops, remap_pieces)
{
	constexpr u64 kUnits = 18;
	const u64 blocks[] = {0, 1, 2, 3, 4, 6, 8, 16, 32, 1ull << 63};
	const u64 bases[] = {0, 16, 29, kU64Max - kUnits + 1};

	for (const u64 base : bases) {
		for (const u64 block : blocks) {
			const u64 size = is_power_of_two(block) ? block : 1;

			for (u64 i = 0; i < kUnits * kUnits * kUnits; i++) {
				const u64 last = base + i % kUnits;
				const u64 cut_first = base + i / kUnits % kUnits;
				const u64 cut_last = base + i / kUnits / kUnits;

				if (cut_first > cut_last || cut_last > last ||
				    (cut_first == base && cut_last == last))
					continue;
				dsvm_va va = {};
				va.map = span_map(base, last - base + 1);
				dsvm_va_map prev = span_map(base, cut_first - base);
				dsvm_va_map next = span_map(cut_last + 1, last - cut_last);
				dsvm_va_op_unmap gone = {&va, false};
				const dsvm_va_op_remap remap = {prev.range != 0 ? &prev : nullptr,
								next.range != 0 ? &next : nullptr,
								&gone};
				dsvm_va_pieces pieces = {};
				dsvm_va_remap_pieces(&remap, block, &pieces);

				u64 zap_first = cut_first;
				u64 zap_last = cut_last;
				for (u64 unit = base; unit - base <= last - base; unit++) {
					const u64 first = unit & ~(size - 1);
					const u64 end = first + (size - 1);

					if (first < base || end > last || end < cut_first ||
					    first > cut_last)
						continue;
					zap_first = min(zap_first, unit);
					zap_last = max(zap_last, unit);
				}
				if (!DSVM_CASE_CHECK_EQ_(pieces.zap_addr, zap_first) ||
				    !DSVM_CASE_CHECK_EQ_(pieces.zap_range,
							 zap_last - zap_first + 1) ||
				    !DSVM_CASE_CHECK_EQ_(pieces.prev_addr, base) ||
				    !DSVM_CASE_CHECK_EQ_(pieces.prev_range, zap_first - base) ||
				    !DSVM_CASE_CHECK_EQ_(pieces.next_range, last - zap_last) ||
				    !DSVM_CASE_CHECK_(pieces.next_range == 0 ||
						      pieces.next_addr == zap_last + 1)) {
					DSVM_CASE_LOG(
						"[%#llx, %#llx] without [%#llx, %#llx], block %llu",
						base, last, cut_first, cut_last, block);
					return;
				}
			}
		}
	}
}
