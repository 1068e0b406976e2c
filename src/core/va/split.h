// SPDX-License-Identifier: GPL-2.0-only OR MIT
//
// What a request comes to when mappings are in its way: split and merge.
//
//	mappings   |-- a --|---- b ----|  |-- c --|
//	request          [-----------------------------)
//	steps      REMAP a: its front stays             at most two REMAPs, one at each end
//	           UNMAP b, UNMAP c                     one for each that lies wholly inside
//	           MAP the request                      one
//
// A mapping that the request cuts is taken out whole and its remnants are put in: a driver
// then finds its own data in one step, and no mapping ever changes in place. Every case
// has its drawing and its number in src/linux/gpuvm_ops.c.
//
// UNMAP and REMAP carry `keep`: where the two overlap, the request shows the same memory
// in the same way, so page-table entries may stay. That takes an object, the same one, the
// same offset (and window), equal flags as far as the caller says that they are known, and
// entries that are valid.
//
// Steps are made one by one; nothing is allocated here. They are computed from a View, so
// the same code plans against the space as it is and as a transaction will leave it:
//
//	dsvm_va *first(VaRange)              the first mapping that overlaps, or null
//	dsvm_va *next(dsvm_va &, VaRange)    the one after it that does, or null
//
// The next mapping is looked up before a step is handed out, so the step may take the
// mapping that it names out and put the remnants in, and no more.
#ifndef DSVM_CORE_VA_SPLIT_H
#define DSVM_CORE_VA_SPLIT_H

#include "core/va/space.h"

namespace dsvm {

// Makes `op` the step that takes `span` from `va`, which overlaps it.
inline void cut(dsvm_va_op &op, dsvm_va &va, VaRange span)
{
	const VaRange old = span_of(va.map);
	const bool front = old.first < span.first;
	const bool back = old.last > span.last;

	op = dsvm_va_op{};
	if (!front && !back) {
		op.type = DSVM_VA_OP_UNMAP;
		op.unmap.va = &va;
		return;
	}
	op.type = DSVM_VA_OP_REMAP;
	op.gone.va = &va;
	op.remap.unmap = &op.gone;
	if (front) {
		op.prev = part_of(va.map, VaRange{old.first, span.first - 1});
		op.prev.state = 0;
		op.remap.prev = &op.prev;
	}
	if (back) {
		op.next = part_of(va.map, VaRange{span.last + 1, old.last});
		op.next.state = 0;
		op.remap.next = &op.next;
	}
}

// Whether the entries of `old` may stay where `request` overlaps it. `flags`: those that
// have to be equal.
[[nodiscard]] inline bool may_keep(const dsvm_va_map &old, const dsvm_va_map &request, u32 flags)
{
	return old.obj != nullptr && !is_invalidated(old) &&
	       ((flags_of(old) ^ request.flags) & flags) == 0 && same_line(old, request);
}

// Copies a step; where it points into itself, so does the copy.
inline void copy_step(dsvm_va_op &to, const dsvm_va_op &from)
{
	const dsvm_link entry = to.entry;

	to = from;
	to.entry = entry;
	if (from.type != DSVM_VA_OP_REMAP)
		return;
	to.remap.prev = from.remap.prev != nullptr ? &to.prev : nullptr;
	to.remap.next = from.remap.next != nullptr ? &to.next : nullptr;
	to.remap.unmap = &to.gone;
}

template <class Step> Status step_map(const dsvm_va_map &map, Step &step)
{
	dsvm_va_op op{};

	op.type = DSVM_VA_OP_MAP;
	op.map = map;
	op.map.state = 0;
	return step(op);
}

// The steps of a request to map, whose span and source have been checked.
template <class View, class Step>
Status split_for_map(const View &view, const dsvm_va_map &request, u32 keep_flags, Step step)
{
	const VaRange span = span_of(request);
	dsvm_va *next = nullptr;

	for (dsvm_va *va = view.first(span); va != nullptr; va = next) {
		const bool keep = may_keep(va->map, request, keep_flags);
		dsvm_va_op op;

		next = view.next(*va, span);
		cut(op, *va, span);
		if (op.type == DSVM_VA_OP_REMAP)
			op.gone.keep = keep;
		else
			op.unmap.keep = keep;
		DSVM_TRY(step(op));
	}
	return step_map(request, step);
}

// Cuts what has no object at the request's ends, and maps the parts inside.
template <class View, class Step>
Status split_for_madvise(const View &view, const dsvm_va_map &request, Step step)
{
	const VaRange span = span_of(request);
	dsvm_va *next = nullptr;

	for (dsvm_va *va = view.first(span); va != nullptr; va = next) {
		next = view.next(*va, span);
		if (va->map.obj != nullptr || span.contains(span_of(va->map)))
			continue;

		// Before the step, which may take the mapping away.
		const VaRange inside = DSVM_TRY(span.intersection(span_of(va->map)));
		dsvm_va_op op;
		cut(op, *va, span);
		DSVM_TRY(step(op));

		dsvm_va_map part = part_of(request, inside);
		if (request.obj == nullptr)
			part.offset = request.offset;
		DSVM_TRY(step_map(part, step));
	}
	return Status::ok();
}

template <class View, class Step> Status split_for_unmap(const View &view, VaRange span, Step step)
{
	dsvm_va *next = nullptr;

	for (dsvm_va *va = view.first(span); va != nullptr; va = next) {
		dsvm_va_op op;

		next = view.next(*va, span);
		cut(op, *va, span);
		DSVM_TRY(step(op));
	}
	return Status::ok();
}

// The same on the space as it is, with the step a function of the caller's. kInvalid.
Status sm_map(dsvm_va_space &space, const dsvm_va_map &request, dsvm_va_mode mode,
	      dsvm_va_step step, void *context);
Status sm_unmap(dsvm_va_space &space, u64 addr, u64 range, dsvm_va_step step, void *context);

// What of a remapped mapping keeps entries of `block` units, and what does not.
dsvm_va_pieces remap_pieces(const dsvm_va_op_remap &remap, u64 block);

} // namespace dsvm

#endif // DSVM_CORE_VA_SPLIT_H
