// SPDX-License-Identifier: GPL-2.0-only OR MIT
//
// What a mapping shows.
//
//	addresses   addr           last                addr + (range - 1) == last
//	              |--------------|
//	object        offset ------> offset + (range - 1)
//
// With DSVM_VA_REPEAT the object shows through a window, over and over; `offset`, inside
// of the window, says where in it the mapping begins, so that a piece cut anywhere shows
// what it showed before:
//
//	object      [ window: repeat_offset, repeat_range ]
//	                 ^ offset
//	addresses        |--------|------------------|------------------|-----|
//
// Units are the caller's. Offsets are computed modulo 2^64, so what has no object may use
// the field as it likes.
#ifndef DSVM_CORE_VA_MAPPING_H
#define DSVM_CORE_VA_MAPPING_H

#include "core/base/checked.h"
#include "core/base/once.h"
#include "core/base/va_range.h"
#include "drm_svm/va.h"

namespace dsvm {

// Precondition: the range is not 0 and does not reach beyond 2^64.
[[nodiscard]] constexpr VaRange span_of(const dsvm_va_map &map)
{
	return VaRange{map.addr, map.addr + (map.range - 1)};
}

// A mapping that is in a space becomes DSVM_VA_INVALIDATED, or not so any more, under the
// lock of its object, which who plans does not hold. So this may be out of date at once.
[[nodiscard]] inline u32 flags_of(const dsvm_va_map &map)
{
	return read_once(map.flags);
}

[[nodiscard]] inline bool is_invalidated(const dsvm_va_map &map)
{
	return (flags_of(map) & DSVM_VA_INVALIDATED) != 0;
}

[[nodiscard]] inline bool repeats(const dsvm_va_map &map)
{
	return (flags_of(map) & DSVM_VA_REPEAT) != 0;
}

[[nodiscard]] constexpr bool is_planned(const dsvm_va &va)
{
	return (va.map.state & DSVM_VA_PLANNED) != 0;
}

// Where in its object `map` would show `addr`, which is not below its beginning. It may
// lie behind its end: then, if `map` was longer.
[[nodiscard]] inline u64 offset_at(const dsvm_va_map &map, u64 addr)
{
	const u64 distance = addr - map.addr;

	if (!repeats(map))
		return map.offset + distance;

	const u64 phase = map.offset - map.repeat_offset;
	const u64 step = distance % map.repeat_range;
	const u64 to_wrap = map.repeat_range - phase;
	return map.repeat_offset + (step < to_wrap ? phase + step : step - to_wrap);
}

// The part of `map` in `span`, which lies in it.
[[nodiscard]] inline dsvm_va_map part_of(const dsvm_va_map &map, VaRange span)
{
	return dsvm_va_map{
		.flags = flags_of(map),
		.state = map.state,
		.addr = span.first,
		.range = span.size(),
		.offset = offset_at(map, span.first),
		.obj = map.obj,
		.repeat_offset = map.repeat_offset,
		.repeat_range = map.repeat_range,
	};
}

// Whether both are pieces of one line through one object: where the two meet or overlap
// they show the same.
[[nodiscard]] inline bool same_line(const dsvm_va_map &a, const dsvm_va_map &b)
{
	const dsvm_va_map &low = a.addr <= b.addr ? a : b;
	const dsvm_va_map &high = a.addr <= b.addr ? b : a;

	if (a.obj != b.obj || repeats(a) != repeats(b))
		return false;
	if (repeats(a)) {
		if (a.repeat_offset != b.repeat_offset || a.repeat_range != b.repeat_range)
			return false;
	} else if (high.offset < low.offset) {
		// An object does not begin again behind the last of 2^64 units.
		return false;
	}
	return offset_at(low, high.addr) == high.offset;
}

// Whether a request says something that can be: the part that is not about its place.
[[nodiscard]] inline Status check_source(const dsvm_va_map &map)
{
	if (repeats(map)) {
		if (map.obj == nullptr || map.offset < map.repeat_offset ||
		    map.offset - map.repeat_offset >= map.repeat_range)
			return kInvalid;
		return VaRange::from_start_size(map.repeat_offset, map.repeat_range).is_ok()
			       ? Status::ok()
			       : kInvalid;
	}
	if (map.obj != nullptr && VaRange::from_start_size(map.offset, map.range).is_error())
		return kInvalid;
	return Status::ok();
}

} // namespace dsvm

#endif // DSVM_CORE_VA_MAPPING_H
