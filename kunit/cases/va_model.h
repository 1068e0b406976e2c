// SPDX-License-Identifier: GPL-2.0-only OR MIT
//
// What a GPU's address space has to look like: an array of its units.
//
//	index      0   1   2   3   4   5   6   7
//	shows      .   a0  a1  a2  b7  b8  .   .       object and offset, flags
//	begins         *           *                   first unit of a mapping
//
// A request writes its units, whatever was there, and what is cut at its end begins anew.
// That is all; the steps that the core has to come to are read off the array too, one
// mapping after the other.
//
// What has no object may use the offset as it likes, so it is not compared.
#ifndef DSVM_KUNIT_CASES_VA_MODEL_H
#define DSVM_KUNIT_CASES_VA_MODEL_H

#include "kunit/cases/va_scene.h"

namespace dsvm::cases {

// As a repeated window goes on: the offset after this one.
[[nodiscard]] inline u64 offset_after(const dsvm_va_map &map, u64 offset)
{
	offset++;
	if ((map.flags & DSVM_VA_REPEAT) != 0 && offset == map.repeat_offset + map.repeat_range)
		return map.repeat_offset;
	return offset;
}

// What the unit `index` of a mapping shows, as a mapping of one unit.
[[nodiscard]] inline dsvm_va_map unit_of(const dsvm_va_map &map, u64 index)
{
	dsvm_va_map unit = map;

	unit.addr += index;
	unit.range = 1;
	for (u64 i = 0; i < index; i++)
		unit.offset = offset_after(map, unit.offset);
	return unit;
}

// Whether two mappings of the same place show the same, by all that one can see of it.
[[nodiscard]] inline bool shows_same(const dsvm_va_map &a, const dsvm_va_map &b)
{
	const bool window =
		(a.flags & DSVM_VA_REPEAT) == 0 ||
		(a.repeat_offset == b.repeat_offset && a.repeat_range == b.repeat_range);

	return a.flags == b.flags && a.addr == b.addr && a.range == b.range && a.obj == b.obj &&
	       window && (a.obj == nullptr || a.offset == b.offset);
}

// Whether a request may ask for that, wherever it is.
[[nodiscard]] inline bool has_valid_source(const dsvm_va_map &map)
{
	if ((map.flags & DSVM_VA_REPEAT) == 0)
		return map.obj == nullptr || map.range - 1 <= kU64Max - map.offset;
	return map.obj != nullptr && map.repeat_range > 0 &&
	       map.repeat_range - 1 <= kU64Max - map.repeat_offset &&
	       map.offset >= map.repeat_offset && map.offset - map.repeat_offset < map.repeat_range;
}

class VaModel {
public:
	static constexpr u32 kMaxUnits = 256;

	// Empty but for the kernel's mapping.
	void reset(u64 base, u32 count, u32 kernel_first, u32 kernel_count)
	{
		base_ = base;
		count_ = count;
		kernel_first_ = kernel_first;
		kernel_count_ = kernel_count;
		for (Unit &unit : units_)
			unit = {};
		if (kernel_count == 0)
			return;
		dsvm_va_map kernel = {};
		kernel.addr = base + kernel_first;
		kernel.range = kernel_count;
		put(kernel);
	}

	[[nodiscard]] u64 base() const { return base_; }
	[[nodiscard]] u32 count() const { return count_; }
	[[nodiscard]] bool is_mapped(u32 index) const { return units_[index].mapped; }
	[[nodiscard]] bool begins(u32 index) const { return units_[index].begins; }
	[[nodiscard]] bool is_kernel(u32 index) const
	{
		return index >= kernel_first_ && index - kernel_first_ < kernel_count_;
	}

	// Whether a request may have that span.
	[[nodiscard]] bool is_valid(u64 addr, u64 range) const
	{
		if (range == 0 || range > count_ || addr < base_ || addr - base_ > count_ - range)
			return false;
		for (u64 i = 0; i < range; i++) {
			if (is_kernel(index_of(addr + i)))
				return false;
		}
		return true;
	}
	[[nodiscard]] bool is_empty(u64 addr, u64 range) const
	{
		for (u64 i = 0; i < range; i++) {
			if (units_[index_of(addr + i)].mapped)
				return false;
		}
		return true;
	}
	[[nodiscard]] u32 index_of(u64 addr) const { return static_cast<u32>(addr - base_); }

	// What of a request is inside; range 0: nothing. Precondition: it does not wrap.
	[[nodiscard]] dsvm_va_map clipped(const dsvm_va_map &map) const
	{
		const u64 last = base_ + (count_ - 1);
		dsvm_va_map inside = map;

		inside.addr = clamp(map.addr, base_, last);
		inside.range = 0;
		if (map.range != 0 && map.addr <= last && va_last(map) >= base_)
			inside.range = min(va_last(map), last) - inside.addr + 1;
		return inside;
	}

	// Preconditions of all: the span is inside.
	void put(const dsvm_va_map &map)
	{
		dsvm_va_map unit = unit_of(map, 0);

		clear(map.addr, map.range);
		for (u64 i = 0; i < map.range; i++) {
			units_[index_of(unit.addr)] = Unit{unit, true, i == 0};
			unit.addr++;
			unit.offset = offset_after(map, unit.offset);
		}
	}
	void clear(u64 addr, u64 range)
	{
		for (u64 i = 0; i < range; i++)
			units_[index_of(addr + i)] = {};
		cut(addr + range);
	}
	// The mapping there begins there.
	void cut(u64 addr)
	{
		const u64 index = addr - base_;

		if (index < count_)
			units_[index].begins = units_[index].mapped;
	}
	// The mapping there is one with the one in front of it.
	void join(u64 addr) { units_[index_of(addr)].begins = false; }
	void set_flags(u32 index, u32 flags)
	{
		for (u32 i = first_of(index); i <= last_of(index); i++)
			units_[i].shows.flags = flags;
	}
	void madvise(const dsvm_va_map &request)
	{
		for (u32 i = index_of(request.addr); i <= index_of(va_last(request)); i++) {
			const u32 first = first_of(i);
			const u32 last = last_of(i);
			const bool cuts =
				base_ + first < request.addr || base_ + last > va_last(request);

			if (units_[i].mapped && units_[i].shows.obj == nullptr && cuts)
				put(madvised(request, i));
			i = last_of(i);
		}
	}
	// What a request that advises puts where the mapping of unit `index` is.
	[[nodiscard]] dsvm_va_map madvised(const dsvm_va_map &request, u32 index) const
	{
		const u64 first = max(base_ + first_of(index), request.addr);
		const u64 last = min(base_ + last_of(index), va_last(request));
		dsvm_va_map part = unit_of(request, first - request.addr);

		part.range = last - first + 1;
		return part;
	}

	// The mapping that holds a unit: its first and last, or the unit itself if it is empty.
	[[nodiscard]] u32 first_of(u32 index) const
	{
		while (units_[index].mapped && !units_[index].begins)
			index--;
		return index;
	}
	[[nodiscard]] u32 last_of(u32 index) const
	{
		while (units_[index].mapped && index + 1 < count_ && units_[index + 1].mapped &&
		       !units_[index + 1].begins)
			index++;
		return index;
	}
	// Units of one mapping, as a mapping.
	[[nodiscard]] dsvm_va_map piece(u32 first, u32 last) const
	{
		dsvm_va_map map = units_[first].shows;

		map.range = last - first + 1;
		return map;
	}
	[[nodiscard]] dsvm_va_map mapping_at(u32 index) const
	{
		return piece(first_of(index), last_of(index));
	}
	[[nodiscard]] const dsvm_va_map &unit(u32 index) const { return units_[index].shows; }

	// Null if the space shows what the model does, unit by unit, in the same mappings.
	[[nodiscard]] const char *complaint(VaScene &scene) const
	{
		u32 at = 0;

		for (const dsvm_va &va : VaMembers(scene.space.index)) {
			if (const char *const wrong = compare_next(va.map, at))
				return wrong;
		}
		return compare_rest(at);
	}

	// One mapping after the other, in order; `at`: the first unit not yet compared, 0 at the
	// beginning. Null if it is right.
	[[nodiscard]] const char *compare_next(const dsvm_va_map &map, u32 &at) const
	{
		if (map.addr - base_ < at || map.addr - base_ >= count_ ||
		    map.range > count_ - (map.addr - base_))
			return "a mapping out of order or outside";
		for (; at < index_of(map.addr); at++) {
			if (units_[at].mapped)
				return "nothing where something is";
		}
		at += static_cast<u32>(map.range);
		return compare(map);
	}
	[[nodiscard]] const char *compare_rest(u32 at) const
	{
		for (; at < count_; at++) {
			if (units_[at].mapped)
				return "nothing where something is";
		}
		return nullptr;
	}

private:
	struct Unit {
		// As a mapping of this one unit.
		dsvm_va_map shows;
		bool mapped;
		bool begins;
	};

	[[nodiscard]] const char *compare(const dsvm_va_map &map) const
	{
		dsvm_va_map unit = unit_of(map, 0);

		for (u64 i = 0; i < map.range; i++) {
			const Unit &expected = units_[index_of(unit.addr)];

			if (!expected.mapped)
				return "something where nothing is";
			if (expected.begins != (i == 0))
				return "another mapping's";
			if (!shows_same(expected.shows, unit))
				return "something else";
			unit.addr++;
			unit.offset = offset_after(map, unit.offset);
		}
		return nullptr;
	}

	u64 base_;
	u32 count_;
	u32 kernel_first_;
	u32 kernel_count_;
	Unit units_[kMaxUnits];
};

// A step that is expected, by value.
struct VaStep {
	dsvm_va_op_type type;
	bool keep;
	bool has_prev;
	bool has_next;
	dsvm_va_map gone; // or what is to be fetched
	dsvm_va_map prev;
	dsvm_va_map next;
	dsvm_va_map map;
};

enum class VaRequest : u8 { kMap, kMadvise, kUnmap, kPrefetch };

// The steps of a request, read off a model that does not change meanwhile.
class VaSteps {
public:
	// `keep_flags`: the flags that must be equal where entries may stay.
	VaSteps(const VaModel &model, VaRequest kind, const dsvm_va_map &request, u32 keep_flags)
		: model_(model), kind_(kind), request_(request), keep_flags_(keep_flags),
		  at_(model.index_of(request.addr)), end_(at_ + static_cast<u32>(request.range))
	{}

	// False after the last.
	[[nodiscard]] bool next(VaStep &step)
	{
		step = {};
		step.type = DSVM_VA_OP_MAP;
		if (advised_.range != 0) {
			step.map = advised_;
			advised_ = {};
			return true;
		}
		while (at_ < end_) {
			const u32 index = at_;

			at_ = model_.last_of(index) + 1;
			if (model_.is_mapped(index) && concerns(index)) {
				take(index, step);
				return true;
			}
		}
		if (kind_ != VaRequest::kMap || mapped_)
			return false;
		mapped_ = true;
		step.map = request_;
		return true;
	}

private:
	[[nodiscard]] bool is_inside(const dsvm_va_map &map) const
	{
		return map.addr >= request_.addr && va_last(map) <= va_last(request_);
	}
	[[nodiscard]] bool concerns(u32 index) const
	{
		const dsvm_va_map map = model_.mapping_at(index);

		// It is there for nobody's use.
		if (model_.is_kernel(index))
			return false;
		return kind_ != VaRequest::kMadvise || (map.obj == nullptr && !is_inside(map));
	}

	void take(u32 index, VaStep &step)
	{
		const u32 first = model_.first_of(index);
		const u32 last = model_.last_of(index);

		step.gone = model_.mapping_at(index);
		if (kind_ == VaRequest::kPrefetch) {
			step.type = DSVM_VA_OP_PREFETCH;
			return;
		}
		step.type = is_inside(step.gone) ? DSVM_VA_OP_UNMAP : DSVM_VA_OP_REMAP;
		step.keep = kind_ == VaRequest::kMap && keeps(step.gone);
		step.has_prev = step.gone.addr < request_.addr;
		step.has_next = va_last(step.gone) > va_last(request_);
		if (step.has_prev)
			step.prev = model_.piece(first, index - 1);
		if (step.has_next)
			step.next = model_.piece(end_, last);
		if (kind_ == VaRequest::kMadvise)
			advised_ = model_.madvised(request_, index);
	}

	// Whether the entries of a mapping may stay: unit by unit, the request shows the same.
	[[nodiscard]] bool keeps(const dsvm_va_map &gone) const
	{
		const u64 first = max(gone.addr, request_.addr);
		const u64 last = min(va_last(gone), va_last(request_));
		dsvm_va_map wanted = unit_of(request_, first - request_.addr);

		if (gone.obj == nullptr || (gone.flags & DSVM_VA_INVALIDATED) != 0 ||
		    ((gone.flags ^ request_.flags) & keep_flags_) != 0)
			return false;
		for (u64 addr = first;; addr++) {
			dsvm_va_map shown = model_.unit(model_.index_of(addr));

			shown.flags = wanted.flags;
			wanted.addr = addr;
			if (!shows_same(shown, wanted))
				return false;
			wanted.offset = offset_after(request_, wanted.offset);
			if (addr == last)
				return true;
		}
	}

	const VaModel &model_;
	const VaRequest kind_;
	const dsvm_va_map request_;
	const u32 keep_flags_;
	u32 at_;
	const u32 end_;
	// What goes where the last step has cut; range 0: nothing.
	dsvm_va_map advised_ = {};
	bool mapped_ = false;
};

// Whether a step is the one that is expected.
[[nodiscard]] inline bool same_step(const VaStep &expected, const dsvm_va_op &op)
{
	if (op.type != expected.type)
		return false;
	switch (op.type) {
	case DSVM_VA_OP_MAP:
		return shows_same(op.map, expected.map) && op.map.state == 0;
	case DSVM_VA_OP_PREFETCH:
		return shows_same(op.prefetch.va->map, expected.gone);
	case DSVM_VA_OP_UNMAP:
		return op.unmap.keep == expected.keep &&
		       shows_same(op.unmap.va->map, expected.gone);
	case DSVM_VA_OP_REMAP:
		break;
	case DSVM_VA_OP_DRIVER:
		return true;
	}
	const dsvm_va_op_remap &remap = op.remap;
	if ((remap.prev != nullptr) != expected.has_prev ||
	    (remap.next != nullptr) != expected.has_next || remap.unmap->keep != expected.keep)
		return false;
	if (remap.prev != nullptr &&
	    (!shows_same(*remap.prev, expected.prev) || remap.prev->state != 0))
		return false;
	if (remap.next != nullptr &&
	    (!shows_same(*remap.next, expected.next) || remap.next->state != 0))
		return false;
	return shows_same(remap.unmap->va->map, expected.gone);
}

} // namespace dsvm::cases

#endif // DSVM_KUNIT_CASES_VA_MODEL_H
