// SPDX-License-Identifier: GPL-2.0-only OR MIT
//
// Split and merge, case by case. The numbers and the drawings are those of "DOC: Split and
// merge" in src/linux/gpuvm_ops.c, and the drawings below are what is tested: a unit is
// three columns wide, |a0 a1| is a mapping of two units of object a from offset 0 on,
// |- -| one without an object, |---| a span.

#include "kunit/case.h"
#include "kunit/cases/va_scene.h"

using namespace dsvm;
using namespace dsvm::cases;

namespace {

struct DrawnStep {
	dsvm_va_op_type type;
	u32 gone; // which of the old mappings
	bool keep;
	const char *prev; // or what is mapped
	const char *next;
};

constexpr DrawnStep unmaps(u32 gone, bool keep = false)
{
	return {DSVM_VA_OP_UNMAP, gone, keep, nullptr, nullptr};
}

constexpr DrawnStep remaps(u32 gone, const char *prev, const char *next, bool keep = false)
{
	return {DSVM_VA_OP_REMAP, gone, keep, prev, next};
}

constexpr DrawnStep maps(const char *bar)
{
	return {DSVM_VA_OP_MAP, 0, false, bar, nullptr};
}

constexpr bool kKeep = true;

struct Drawing {
	const char *old;
	const char *req;
	const char *out;
	u32 count = 0;
	DrawnStep steps[4] = {};
};

constexpr Drawing kMapDrawings[] = {
	{
		// 1
		.old = "|a0 a1|",
		.req = "|a0 a1|",
		.out = "|a0 a1|",
		.count = 2,
		.steps = {unmaps(0, kKeep), maps("|a0 a1|")},
	},
	{
		// 2
		.old = "|a0 a1|",
		.req = "|a5 a6|",
		.out = "|a5 a6|",
		.count = 2,
		.steps = {unmaps(0), maps("|a5 a6|")},
	},
	{
		// 3
		.old = "|a0 a1|",
		.req = "|b0 b1|",
		.out = "|b0 b1|",
		.count = 2,
		.steps = {unmaps(0), maps("|b0 b1|")},
	},
	{
		// 4
		.old = "|a0|",
		.req = "|a0 a1|",
		.out = "|a0 a1|",
		.count = 2,
		.steps = {unmaps(0, kKeep), maps("|a0 a1|")},
	},
	{
		// 5
		.old = "|a0 a1|",
		.req = "|b0|",
		.out = "|b0|a1|",
		.count = 2,
		.steps = {remaps(0, nullptr, "   |a1|"), maps("|b0|")},
	},
	{
		// 6
		.old = "|a0 a1|",
		.req = "|a0|",
		.out = "|a0|a1|",
		.count = 2,
		.steps = {remaps(0, nullptr, "   |a1|", kKeep), maps("|a0|")},
	},
	{
		// 7
		.old = "|a0 a1|",
		.req = "   |b0|",
		.out = "|a0|b0|",
		.count = 2,
		.steps = {remaps(0, "|a0|", nullptr), maps("   |b0|")},
	},
	{
		// 8
		.old = "|a0 a1|",
		.req = "   |a1|",
		.out = "|a0|a1|",
		.count = 2,
		.steps = {remaps(0, "|a0|", nullptr, kKeep), maps("   |a1|")},
	},
	{
		// 9
		.old = "|a0 a1|",
		.req = "   |b0 b1|",
		.out = "|a0|b0 b1|",
		.count = 2,
		.steps = {remaps(0, "|a0|", nullptr), maps("   |b0 b1|")},
	},
	{
		// 10
		.old = "|a0 a1|",
		.req = "   |a1 a2|",
		.out = "|a0|a1 a2|",
		.count = 2,
		.steps = {remaps(0, "|a0|", nullptr, kKeep), maps("   |a1 a2|")},
	},
	{
		// 11
		.old = "|a0 a1 a2|",
		.req = "   |b0|",
		.out = "|a0|b0|a2|",
		.count = 2,
		.steps = {remaps(0, "|a0|", "      |a2|"), maps("   |b0|")},
	},
	{
		// 12
		.old = "|a0 a1 a2|",
		.req = "   |a1|",
		.out = "|a0|a1|a2|",
		.count = 2,
		.steps = {remaps(0, "|a0|", "      |a2|", kKeep), maps("   |a1|")},
	},
	{
		// 13
		.old = "   |a1|",
		.req = "|a0 a1|",
		.out = "|a0 a1|",
		.count = 2,
		.steps = {unmaps(0, kKeep), maps("|a0 a1|")},
	},
	{
		// 14
		.old = "   |a1|",
		.req = "|a0 a1 a2|",
		.out = "|a0 a1 a2|",
		.count = 2,
		.steps = {unmaps(0, kKeep), maps("|a0 a1 a2|")},
	},
	{
		// 15
		.old = "   |a0 a1|",
		.req = "|b0 b1|",
		.out = "|b0 b1|a1|",
		.count = 2,
		.steps = {remaps(0, nullptr, "      |a1|"), maps("|b0 b1|")},
	},
};

constexpr Drawing kUnmapDrawings[] = {
	{
		// 1
		.old = "|a0 a1|",
		.req = "|-----|",
		.out = "",
		.count = 1,
		.steps = {unmaps(0)},
	},
	{
		// 2
		.old = "|a0|b0|  |c0|",
		.req = "|-----------|",
		.out = "",
		.count = 3,
		.steps = {unmaps(0), unmaps(1), unmaps(2)},
	},
	{
		// 3
		.old = "|a0 a1|",
		.req = "|--|",
		.out = "   |a1|",
		.count = 1,
		.steps = {remaps(0, nullptr, "   |a1|")},
	},
	{
		// 4
		.old = "|a0 a1|",
		.req = "   |--|",
		.out = "|a0|",
		.count = 1,
		.steps = {remaps(0, "|a0|", nullptr)},
	},
	{
		// 5
		.old = "|a0 a1 a2|",
		.req = "   |--|",
		.out = "|a0|  |a2|",
		.count = 1,
		.steps = {remaps(0, "|a0|", "      |a2|")},
	},
	{
		// 6
		.old = "|a0 a1|b0 b1|",
		.req = "   |-----|",
		.out = "|a0|     |b1|",
		.count = 2,
		.steps = {remaps(0, "|a0|", nullptr), remaps(1, nullptr, "         |b1|")},
	},
	{
		// 7
		.old = "",
		.req = "|-----|",
		.out = "",
	},
};

constexpr Drawing kMadviseDrawings[] = {
	{
		// 1
		.old = "|-  -  - |",
		.req = "   |= |",
		.out = "|- |= |- |",
		.count = 2,
		.steps = {remaps(0, "|- |", "      |- |"), maps("   |= |")},
	},
	{
		// 2
		.old = "|-  - |- |-  - |",
		.req = "   |=  =  = |",
		.out = "|- |= |- |= |- |",
		.count = 4,
		.steps = {remaps(0, "|- |", nullptr), maps("   |= |"),
			  remaps(2, nullptr, "            |- |"), maps("         |= |")},
	},
	{
		// 3
		.old = "|-  - |- |",
		.req = "   |=  = |",
		.out = "|- |= |- |",
		.count = 2,
		.steps = {remaps(0, "|- |", nullptr), maps("   |= |")},
	},
	{
		// 4
		.old = "|- |-  - |",
		.req = "|=  = |",
		.out = "|- |= |- |",
		.count = 2,
		.steps = {remaps(1, nullptr, "      |- |"), maps("   |= |")},
	},
	{
		// 5
		.old = "|- |-  - |",
		.req = "|=  =  = |",
		.out = "|- |-  - |",
	},
	{
		// 6
		.old = "",
		.req = "|=  = |",
		.out = "",
	},
	{
		// 7
		.old = "|a0 a1|b0|",
		.req = "   |= |",
		.out = "|a0 a1|b0|",
	},
};

// Flags that have to follow their mapping, and to leave `keep` alone.
constexpr u32 kOldFlags = 1u << 3;
constexpr u32 kNewFlags = 1u << 4;
// In the offset of a mapping without an object, which is the driver's own.
constexpr u64 kOldOffset = 100;
constexpr u64 kNewOffset = 7;

// Drawings of units as mappings, at a place and with units of some size.
class DrawnSpace {
public:
	// Drawings are no wider.
	static constexpr u64 kUnits = 5;

	DrawnSpace(u64 base, u64 unit) : scene(base, kUnits * unit), base_(base), unit_(unit) {}

	// The mapping that begins at or behind a column, which moves to its end. Range 0 at
	// the end of the drawing.
	[[nodiscard]] dsvm_va_map parse(const char *drawing, u32 &column, u32 flags)
	{
		dsvm_va_map map = {};

		// Each unit begins with its left border.
		while (drawing[column] != '\0' &&
		       (drawing[column] != '|' || !is_unit(drawing[column + 1])))
			column++;
		if (drawing[column] == '\0')
			return map;

		const u64 first = column / 3;
		show(map, drawing[column + 1], drawing[column + 2], first);
		map.flags = flags;
		do
			column += 3;
		while (drawing[column] != '|');
		map.addr = base_ + first * unit_;
		map.range = (column / 3 - first) * unit_;
		return map;
	}
	[[nodiscard]] dsvm_va_map only(const char *drawing, u32 flags)
	{
		u32 column = 0;

		return parse(drawing, column, flags);
	}

	VaScene scene;

private:
	static bool is_unit(char c) { return c != ' ' && c != '\0'; }

	void show(dsvm_va_map &map, char name, char digit, u64 first)
	{
		if (name >= 'a' && name <= 'c') {
			map.obj = &scene.objs[name - 'a'];
			map.offset = static_cast<u64>(digit - '0') * unit_;
		} else {
			map.offset = name == '=' ? kNewOffset : kOldOffset + first * unit_;
		}
	}

	const u64 base_;
	const u64 unit_;
};

// The steps of a drawing as they come.
struct DrawnWalk {
	DrawnSpace *space;
	const Drawing *drawing;
	dsvm_va *old[4];
	u32 seen;
	bool apply;
};

bool is_drawn(DrawnSpace &space, const dsvm_va_map *map, const char *drawing, u32 flags)
{
	if (map == nullptr || drawing == nullptr)
		return map == nullptr && drawing == nullptr;
	return same_map(*map, space.only(drawing, flags));
}

bool is_drawn_step(const DrawnWalk &walk, const DrawnStep &step, const dsvm_va_op &op)
{
	if (op.type != step.type)
		return false;
	if (op.type == DSVM_VA_OP_MAP)
		return is_drawn(*walk.space, &op.map, step.prev, kNewFlags);
	if (op.type == DSVM_VA_OP_UNMAP)
		return op.unmap.va == walk.old[step.gone] && op.unmap.keep == step.keep;
	return op.remap.unmap->va == walk.old[step.gone] && op.remap.unmap->keep == step.keep &&
	       is_drawn(*walk.space, op.remap.prev, step.prev, kOldFlags) &&
	       is_drawn(*walk.space, op.remap.next, step.next, kOldFlags);
}

int see_drawn_step(void *context, const dsvm_va_op *op)
{
	DrawnWalk &walk = *static_cast<DrawnWalk *>(context);

	if (!DSVM_CASE_CHECK_(walk.seen < walk.drawing->count) ||
	    !DSVM_CASE_CHECK_(is_drawn_step(walk, walk.drawing->steps[walk.seen], *op)))
		return -DSVM_EFAULT;
	walk.seen++;
	if (walk.apply)
		walk.space->scene.apply(*op);
	return 0;
}

enum class DrawnKind : u8 { kMap, kUnmap, kMadvise };

bool run_drawn(DrawnWalk &walk, DrawnKind kind, const dsvm_va_map &request)
{
	dsvm_va_space &space = walk.space->scene.space;
	const dsvm_va_mode mode = kind == DrawnKind::kMadvise ? DSVM_VA_MADVISE : DSVM_VA_REPLACE;

	walk.seen = 0;
	const int result = kind == DrawnKind::kUnmap
				   ? dsvm_va_sm_unmap(&space, request.addr, request.range,
						      see_drawn_step, &walk)
				   : dsvm_va_sm_map(&space, &request, mode, see_drawn_step, &walk);
	return DSVM_CASE_CHECK_EQ_(result, 0) &&
	       DSVM_CASE_CHECK_EQ_(walk.seen, walk.drawing->count);
}

// Whether the mappings are those of a drawing, with the flags of the request where they are
// the request's. Before it there are none of those.
bool shows_drawing(DrawnSpace &space, const char *drawing, const dsvm_va_map *request)
{
	u32 column = 0;

	for (const dsvm_va &va : VaMembers(space.scene.space.index)) {
		dsvm_va_map map = space.parse(drawing, column, kOldFlags);

		if (request != nullptr && map.range != 0 && map.addr >= request->addr &&
		    va_last(map) <= va_last(*request) && map.obj == request->obj &&
		    (map.obj != nullptr || map.offset == kNewOffset))
			map.flags = kNewFlags;
		if (!same_map(va.map, map))
			return false;
	}
	return space.parse(drawing, column, 0).range == 0;
}

void run_drawing(DrawnKind kind, const Drawing &drawing, u64 base, u64 unit)
{
	DrawnSpace space(base, unit);
	DrawnWalk walk = {&space, &drawing, {}, 0, false};
	const dsvm_va_map request = space.only(drawing.req, kNewFlags);
	u32 column = 0;

	for (u32 i = 0;; i++) {
		const dsvm_va_map map = space.parse(drawing.old, column, kOldFlags);

		if (map.range == 0)
			break;
		DSVM_REQUIRE_EQ(space.scene.insert(map, &walk.old[i]), 0);
	}
	DSVM_REQUIRE(shows_drawing(space, drawing.old, nullptr));
	// Once only to look, which changes nothing, and once to do it.
	DSVM_REQUIRE(run_drawn(walk, kind, request));
	DSVM_REQUIRE(shows_drawing(space, drawing.old, nullptr));
	walk.apply = true;
	DSVM_REQUIRE(run_drawn(walk, kind, request));
	DSVM_EXPECT(shows_drawing(space, drawing.out, &request));
	DSVM_EXPECT(expect_sound(space.scene));
}

// In units, in bytes of pages, and up against the end of all addresses.
void run_drawings(DrawnKind kind, const Drawing &drawing)
{
	run_drawing(kind, drawing, 0, 1);
	run_drawing(kind, drawing, 1ull << 40, 4096);
	run_drawing(kind, drawing, kU64Max - DrawnSpace::kUnits * 4096 + 1, 4096);
}

} // namespace

#define VA_MAP_CASE(number)                                                         \
	DSVM_CASE(va_split, sm_map_case_##number)                                   \
	{                                                                           \
		run_drawings(DrawnKind::kMap, kMapDrawings[(1##number - 100) - 1]); \
	}

VA_MAP_CASE(01)
VA_MAP_CASE(02)
VA_MAP_CASE(03)
VA_MAP_CASE(04)
VA_MAP_CASE(05)
VA_MAP_CASE(06)
VA_MAP_CASE(07)
VA_MAP_CASE(08)
VA_MAP_CASE(09)
VA_MAP_CASE(10)
VA_MAP_CASE(11)
VA_MAP_CASE(12)
VA_MAP_CASE(13)
VA_MAP_CASE(14)
VA_MAP_CASE(15)

// 4, 13 and 14 hold for what cannot be kept too.
DSVM_CASE(va_split, sm_map_covers_what_cannot_be_kept)
{
	constexpr Drawing drawings[] = {
		{
			.old = "|a0|",
			.req = "|b0 b1|",
			.out = "|b0 b1|",
			.count = 2,
			.steps = {unmaps(0), maps("|b0 b1|")},
		},
		{
			.old = "|a0|",
			.req = "|a1 a2|",
			.out = "|a1 a2|",
			.count = 2,
			.steps = {unmaps(0), maps("|a1 a2|")},
		},
		{
			.old = "   |a1|",
			.req = "|a1 a2|",
			.out = "|a1 a2|",
			.count = 2,
			.steps = {unmaps(0), maps("|a1 a2|")},
		},
		{
			.old = "   |a1|",
			.req = "|b0 b1 b2|",
			.out = "|b0 b1 b2|",
			.count = 2,
			.steps = {unmaps(0), maps("|b0 b1 b2|")},
		},
	};

	for (const Drawing &drawing : drawings)
		run_drawings(DrawnKind::kMap, drawing);
}

// 5, 7, 9, 11 and 15 do for the same object at another offset.
DSVM_CASE(va_split, sm_map_cuts_what_cannot_be_kept)
{
	constexpr Drawing drawings[] = {
		{
			.old = "|a0 a1|",
			.req = "|a1|",
			.out = "|a1|a1|",
			.count = 2,
			.steps = {remaps(0, nullptr, "   |a1|"), maps("|a1|")},
		},
		{
			.old = "|a0 a1|",
			.req = "   |a0 a1|",
			.out = "|a0|a0 a1|",
			.count = 2,
			.steps = {remaps(0, "|a0|", nullptr), maps("   |a0 a1|")},
		},
		{
			.old = "   |a0 a1|",
			.req = "|a0 a1|",
			.out = "|a0 a1|a1|",
			.count = 2,
			.steps = {remaps(0, nullptr, "      |a1|"), maps("|a0 a1|")},
		},
	};

	for (const Drawing &drawing : drawings)
		run_drawings(DrawnKind::kMap, drawing);
}

#define VA_UNMAP_CASE(number)                                                \
	DSVM_CASE(va_split, unmap_case_##number)                             \
	{                                                                    \
		run_drawings(DrawnKind::kUnmap, kUnmapDrawings[(number)-1]); \
	}

VA_UNMAP_CASE(1)
VA_UNMAP_CASE(2)
VA_UNMAP_CASE(3)
VA_UNMAP_CASE(4)
VA_UNMAP_CASE(5)
VA_UNMAP_CASE(6)
VA_UNMAP_CASE(7)

#define VA_MADVISE_CASE(number)                                                  \
	DSVM_CASE(va_split, madvise_case_##number)                               \
	{                                                                        \
		run_drawings(DrawnKind::kMadvise, kMadviseDrawings[(number)-1]); \
	}

VA_MADVISE_CASE(1)
VA_MADVISE_CASE(2)
VA_MADVISE_CASE(3)
VA_MADVISE_CASE(4)
VA_MADVISE_CASE(5)
VA_MADVISE_CASE(6)
VA_MADVISE_CASE(7)
