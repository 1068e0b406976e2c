// SPDX-License-Identifier: GPL-2.0-only OR MIT
//
// Plays with a space and its model: moves drawn from a source of numbers, which is a
// generator of random ones (va_random.cc) or the bytes that a fuzzer hands in
// (tests/host/fuzz_va.cc).
//
// A source has is_over(), below(n), between(first, last) and chance(percent), as
// cases::Random has. Spans begin and end where something is to be met: at the borders of
// mappings, of the space, of the kernel's mapping, and one unit beside them. Objects are
// mapped on a line, offset following address, so that neighbours often fit together.
//
// A game is short and is written down, so that one that fails can be printed whole.
#ifndef DSVM_KUNIT_CASES_VA_PLAY_H
#define DSVM_KUNIT_CASES_VA_PLAY_H

#include "kunit/cases/va_binding.h"

namespace dsvm::cases {

template <class Source> class VaPlayer {
public:
	static constexpr u32 kMaxMoves = 256;

	VaPlayer(Source &source, const VaPlace &place)
		: ground_(place), binding_(ground_), source_(source), place_(place),
		  moves_(static_cast<Move *>(dsvm_os_alloc(sizeof(Move) * kMaxMoves)))
	{}
	VaPlayer(const VaPlayer &) = delete;
	VaPlayer &operator=(const VaPlayer &) = delete;
	~VaPlayer() { dsvm_os_free(moves_); }

	// A space for the next game.
	[[nodiscard]] static VaPlace draw_place(Source &source)
	{
		constexpr u32 counts[] = {1, 2, 7, 16, 64, 256};
		VaPlace place = {0, counts[source.below(6)], 0, 0};

		// At the very bottom, at the very top, or somewhere between.
		if (source.chance(30))
			place.base = kU64Max - (place.count - 1);
		else if (source.chance(50))
			place.base = (u64{1} << 47) - 3;
		if (place.count > 2 && source.chance(50)) {
			place.kernel_count =
				static_cast<u32>(source.between(1, place.count / 4 + 1));
			place.kernel_first = static_cast<u32>(
				source.below(place.count - place.kernel_count + 1));
		}
		return place;
	}

	// Whether all went as it should. Ends after `moves`, or when the source is over.
	[[nodiscard]] bool play(u32 moves)
	{
		while (count_ < min(moves, kMaxMoves) && !source_.is_over()) {
			if (!move()) {
				print();
				return false;
			}
		}
		return true;
	}
	// Moves made, with the parts of a transaction counted one by one.
	[[nodiscard]] u32 count() const { return count_; }

private:
	enum class Kind : u8 {
		kInsert,
		kRemove,
		kReplace,
		kFailNowait,
		kMap,
		kMadvise,
		kUnmap,
		kMapList,
		kMadviseList,
		kUnmapList,
		kPrefetchList,
		kUnmapObject,
		kLookUp,
		kSetFlags,
		kBegin,
		kBindMap,
		kBindUnmap,
		kBindPrefetch,
		kBindDriver,
		kInsertMeanwhile,
		kPrepare,
		kCommit,
		kEnd,
	};

	struct Move {
		Kind kind;
		u32 a;
		u32 b;
		u32 fail_in;
		dsvm_va_map map;
	};

	// --- What to do ---

	[[nodiscard]] bool move()
	{
		const u64 dice = source_.below(100);

		if (dice < 12)
			return act({Kind::kInsert, 0, 0, 0, draw_map()});
		if (dice < 18)
			return with_mapping(Kind::kRemove, 0);
		if (dice < 20)
			return act({Kind::kFailNowait, source_.chance(50) ? 0 : draw(4), 0, 0, {}});
		if (dice < 28)
			return act({Kind::kReplace, !source_.chance(10), !source_.chance(10), 0,
				    draw_map()});
		if (dice < 38)
			return act({Kind::kMap, 0, 0, draw_failure(), draw_map()});
		if (dice < 47)
			return act({Kind::kUnmap, 0, 0, draw_failure(), draw_span()});
		if (dice < 52)
			return act({Kind::kMadvise, 0, 0, draw_failure(), draw_map()});
		if (dice < 58)
			return act({Kind::kMapList, 0, 0, draw_failure(), draw_map()});
		if (dice < 62)
			return act({Kind::kUnmapList, 0, 0, draw_failure(), draw_span()});
		if (dice < 65)
			return act({Kind::kMadviseList, 0, 0, draw_failure(), draw_map()});
		if (dice < 69)
			return act({Kind::kPrefetchList, 0, 0, draw_failure(), draw_span()});
		if (dice < 70)
			return act({Kind::kUnmapObject, draw(kVaObjs), 0, draw_failure(), {}});
		if (dice < 76)
			return act({Kind::kLookUp, 0, 0, 0, draw_span()});
		if (dice < 80)
			return with_mapping(Kind::kSetFlags, draw_flags());
		return transaction();
	}

	[[nodiscard]] bool with_mapping(Kind kind, u32 flags)
	{
		const u32 index = draw(model().count());

		if (!model().is_mapped(index) || model().is_kernel(index))
			return act({Kind::kLookUp, 0, 0, 0, draw_span()});
		return act({kind, index, flags, 0, {}});
	}

	[[nodiscard]] bool transaction()
	{
		constexpr u32 rooms[] = {0, 8, 13, VaBinding::kMaxRoom};

		if (!act({Kind::kBegin, rooms[draw(4)], draw(VaBinding::kMaxInline + 1), 0, {}}))
			return false;
		for (u32 requests = draw(9); requests > 0; requests--) {
			if (!bind_request())
				return false;
		}
		if (source_.chance(12))
			return act({Kind::kEnd, 0, 0, 0, {}});
		for (u32 failures = source_.chance(30) ? draw(4) : 0; failures > 0; failures--) {
			if (!act({Kind::kPrepare, draw(4), 0, 1 + draw(6), {}}))
				return false;
			if (is_prepared())
				break;
			if (!bind_request())
				return false;
		}
		if (!is_prepared() && !act({Kind::kPrepare, 0, 0, 0, {}}))
			return false;
		if (!source_.chance(15) && !act({Kind::kCommit, 0, 0, 0, {}}))
			return false;
		return act({Kind::kEnd, 0, 0, 0, {}});
	}

	[[nodiscard]] bool is_prepared() { return binding_.get()->stage == DSVM_BIND_PREPARED; }

	[[nodiscard]] bool bind_request()
	{
		const u64 dice = source_.below(100);
		const u32 fail_in = draw_failure();

		if (dice < 25)
			return act({Kind::kBindUnmap, 0, 0, fail_in, draw_span()});
		if (dice < 38)
			return act({Kind::kBindPrefetch, 0, 0, fail_in, draw_span()});
		if (dice < 42)
			return act({Kind::kBindDriver, 0, 0, fail_in, draw_span()});
		if (dice < 45)
			return act({Kind::kInsertMeanwhile, 0, 0, 0, draw_map()});
		const u32 how = (source_.chance(12) ? DSVM_BIND_NOREPLACE : 0) |
				(source_.chance(50) ? DSVM_BIND_COALESCE : 0);
		return act({Kind::kBindMap, how, source_.chance(70) ? 3 : draw(4), fail_in,
			    draw_map()});
	}

	// --- With what ---

	[[nodiscard]] VaModel &model() { return ground_.model(); }
	[[nodiscard]] u32 draw(u32 n) { return static_cast<u32>(source_.below(n)); }
	// Which allocation, or which step, is to fail; mostly none.
	[[nodiscard]] u32 draw_failure() { return source_.chance(15) ? 1 + draw(5) : 0; }

	// One that may lie outside.
	[[nodiscard]] u64 draw_address()
	{
		u64 index = source_.below(place_.count);

		if (source_.chance(25)) {
			const u32 ends[] = {0, place_.count, place_.kernel_first,
					    place_.kernel_first + place_.kernel_count};
			index = ends[source_.below(4)];
		} else if (source_.chance(65)) {
			const u32 unit = static_cast<u32>(index);
			index = source_.chance(50) ? model().first_of(unit)
						   : model().last_of(unit) + 1;
		}
		if (source_.chance(15))
			index += source_.chance(50) ? u64{1} : kU64Max;
		return place_.base + index;
	}

	[[nodiscard]] dsvm_va_map draw_span()
	{
		dsvm_va_map span = {};
		const u64 a = draw_address();
		const u64 b = draw_address();

		// In the order of the space, which may begin at 0 or end with the last unit.
		const bool turned = a - place_.base > b - place_.base;
		span.addr = turned ? b : a;
		span.range = turned ? a - b : b - a;
		if (span.range == 0 && source_.chance(90))
			span.range = 1;
		if (source_.chance(2))
			span.range = kU64Max - source_.below(4);
		return span;
	}

	[[nodiscard]] u32 draw_flags()
	{
		constexpr u32 flags[] = {0, DSVM_VA_SPARSE, DSVM_VA_INVALIDATED, 1u << 2, 1u << 5};

		return source_.chance(60) ? 0 : flags[source_.below(5)];
	}

	[[nodiscard]] dsvm_va_map draw_map()
	{
		dsvm_va_map map = draw_span();
		const u32 which = draw(kVaObjs + 1);
		const u64 along = map.addr - place_.base;

		map.flags = draw_flags();
		// The core's own, which may hold what was there before.
		map.state = source_.chance(10) ? ~0u : 0;
		if (which == kVaObjs) {
			map.flags |= source_.chance(50) ? DSVM_VA_SPARSE : 0;
			return map;
		}
		map.obj = &ground_.scene.objs[which];
		map.offset = 4096 * which + along + (source_.chance(20) ? draw(3) : 0);
		if (source_.chance(2))
			map.offset = kU64Max - source_.below(8);
		if (source_.chance(20))
			draw_window(map, along);
		return map;
	}

	void draw_window(dsvm_va_map &map, u64 along)
	{
		map.flags |= DSVM_VA_REPEAT;
		map.repeat_range = 1 + source_.below(5);
		map.repeat_offset = source_.chance(10) ? kU64Max - (map.repeat_range - 1) : 64;
		map.offset = map.repeat_offset +
			     (along + (source_.chance(20) ? 1 : 0)) % map.repeat_range;
		// Windows that cannot be.
		if (source_.chance(3))
			map.offset = map.repeat_offset + map.repeat_range;
		if (source_.chance(3))
			map.repeat_range = 0;
		if (source_.chance(3))
			map.repeat_range = kU64Max;
	}

	// --- Doing it ---

	[[nodiscard]] bool act(const Move &move)
	{
		moves_[count_++ % kMaxMoves] = move;
		switch (move.kind) {
		case Kind::kInsert:
			return ground_.insert(move.map);
		case Kind::kRemove:
			return ground_.remove(move.a);
		case Kind::kReplace:
			return ground_.replace(move.map, move.a != 0, move.b != 0);
		case Kind::kFailNowait:
			dsvm_env_fail_nowait(move.a);
			return true;
		case Kind::kMap:
			return ground_.request(VaRequest::kMap, move.map, move.fail_in);
		case Kind::kMadvise:
			return ground_.request(VaRequest::kMadvise, move.map, move.fail_in);
		case Kind::kUnmap:
			return ground_.request(VaRequest::kUnmap, move.map, move.fail_in);
		case Kind::kMapList:
			return ground_.request_list(VaRequest::kMap, move.map, move.fail_in);
		case Kind::kMadviseList:
			return ground_.request_list(VaRequest::kMadvise, move.map, move.fail_in);
		case Kind::kUnmapList:
			return ground_.request_list(VaRequest::kUnmap, move.map, move.fail_in);
		case Kind::kPrefetchList:
			return ground_.request_list(VaRequest::kPrefetch, move.map, move.fail_in);
		case Kind::kUnmapObject:
			return ground_.unmap_object(ground_.scene.objs[move.a], move.fail_in);
		case Kind::kLookUp:
			return ground_.look_up(move.map.addr, move.map.range);
		case Kind::kSetFlags:
			return ground_.set_flags(move.a, move.b);
		case Kind::kBegin:
			return binding_.begin(move.a, move.b);
		case Kind::kBindMap:
			return binding_.map(move.map, move.a, move.b, move.fail_in);
		case Kind::kBindUnmap:
			return binding_.unmap(move.map.addr, move.map.range, move.fail_in);
		case Kind::kBindPrefetch:
			return binding_.prefetch(move.map.addr, move.map.range, move.fail_in);
		case Kind::kBindDriver:
			return binding_.driver(move.map.addr, move.map.range, move.fail_in);
		case Kind::kInsertMeanwhile:
			return DSVM_CASE_CHECK_(ground_.scene.insert(move.map) < 0) &&
			       binding_.check_open();
		case Kind::kPrepare:
			return binding_.prepare(static_cast<VaCallback>(move.a), move.fail_in);
		case Kind::kCommit:
			return binding_.commit();
		case Kind::kEnd:
			return binding_.end();
		}
		return false;
	}

	// --- What was done, for who has to look at it ---

	[[nodiscard]] static const char *name(Kind kind)
	{
		switch (kind) {
		case Kind::kInsert:
			return "insert";
		case Kind::kRemove:
			return "remove the mapping of unit a";
		case Kind::kMap:
			return "map";
		case Kind::kMadvise:
			return "madvise";
		case Kind::kUnmap:
			return "unmap";
		case Kind::kMapList:
			return "map by list";
		case Kind::kMadviseList:
			return "madvise by list";
		case Kind::kUnmapList:
			return "unmap by list";
		case Kind::kPrefetchList:
			return "prefetch by list";
		case Kind::kUnmapObject:
			return "unmap object a by list";
		case Kind::kLookUp:
			return "look up";
		case Kind::kSetFlags:
			return "set flags b of the mapping of unit a";
		case Kind::kBegin:
			return "begin with room a, b steps inline";
		case Kind::kBindMap:
			return "bind: map how a, answers b";
		case Kind::kBindUnmap:
			return "bind: unmap";
		case Kind::kBindPrefetch:
			return "bind: prefetch";
		case Kind::kBindDriver:
			return "bind: driver's step";
		case Kind::kInsertMeanwhile:
			return "insert meanwhile";
		case Kind::kReplace:
			return "replace, a: with prev, b: with next";
		case Kind::kFailNowait:
			return "each a-th node is not to be had";
		case Kind::kPrepare:
			return "prepare, callback a fails";
		case Kind::kCommit:
			return "commit";
		case Kind::kEnd:
			return "end";
		}
		return "?";
	}

	void print()
	{
		dsvm_case_log("space: %u units from %#llx; kernel: %u from unit %u", place_.count,
			      place_.base, place_.kernel_count, place_.kernel_first);
		for (u32 i = 0; i < min(count_, kMaxMoves); i++) {
			const Move &move = moves_[i];
			const dsvm_va_map &map = move.map;
			const u64 obj = map.obj != nullptr
						? static_cast<u64>(map.obj - ground_.scene.objs) + 1
						: 0;

			dsvm_case_log("%3u %s: a %u, b %u, fail %u", i, name(move.kind), move.a,
				      move.b, move.fail_in);
			dsvm_case_log("      unit %lld + %lld, object %llu at %#llx, flags %#x, "
				      "window %#llx + %#llx",
				      static_cast<s64>(map.addr - place_.base),
				      static_cast<s64>(map.range), obj, map.offset, map.flags,
				      map.repeat_offset, map.repeat_range);
		}
	}

	VaGround ground_;
	VaBinding binding_;
	Source &source_;
	const VaPlace place_;
	// What was done, from the first move on.
	Move *const moves_;
	u32 count_ = 0;
};

} // namespace dsvm::cases

#endif // DSVM_KUNIT_CASES_VA_PLAY_H
