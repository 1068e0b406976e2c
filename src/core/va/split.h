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
// Steps are made one by one, where those who want them have room for them:
//
//	dsvm_va_op *room()          for the next step; null: there is no memory
//	Status add(dsvm_va_op &)    it is complete
//
// They are computed from a View, so
// the same code plans against the space as it is and as a transaction will leave it:
//
//	Cursor(view, VaRange)    a walk over the mappings that overlap the span
//	dsvm_va *take()          one after the other, then null
//
// The next mapping is looked up before a step is handed out, so the step may take the
// mapping that it names out and put the remnants in, and no more.
#ifndef DSVM_CORE_VA_SPLIT_H
#define DSVM_CORE_VA_SPLIT_H

#include "core/va/space.h"

namespace dsvm {

// Makes `op` the step that takes `span` from `va`, which overlaps it. What a step of its type does
// not have, and its place on a list, are left as they are: a step is long, and most have little.
DSVM_ALWAYS_INLINE void cut(dsvm_va_op &op, dsvm_va &va, VaRange span, bool keep)
{
	const VaRange old = span_of(va.map);
	const bool front = old.first < span.first;
	const bool back = old.last > span.last;

	if (!front && !back) {
		op.type = DSVM_VA_OP_UNMAP;
		op.unmap = dsvm_va_op_unmap{&va, keep};
		return;
	}
	op.type = DSVM_VA_OP_REMAP;
	op.gone = dsvm_va_op_unmap{&va, keep};
	op.remap = dsvm_va_op_remap{nullptr, nullptr, &op.gone};
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

// Makes a MAP.
template <class Steps> Status add_map(const dsvm_va_map &map, Steps &steps)
{
	dsvm_va_op *const op = steps.room();

	if (op == nullptr)
		return kNoMemory;
	op->type = DSVM_VA_OP_MAP;
	op->map = map;
	op->map.state = 0;
	return steps.add(*op);
}

// Makes what takes `span` from `va`.
template <class Steps> Status add_cut(dsvm_va &va, VaRange span, bool keep, Steps &steps)
{
	dsvm_va_op *const op = steps.room();

	if (op == nullptr)
		return kNoMemory;
	cut(*op, va, span, keep);
	return steps.add(*op);
}

// The steps of a request to map, whose span and source have been checked.
template <class View, class Steps>
Status split_for_map(const View &view, const dsvm_va_map &request, u32 keep_flags, Steps &&steps)
{
	const VaRange span = span_of(request);
	typename View::Cursor cursor{view, span};

	while (dsvm_va *const va = cursor.take()) {
		const bool keep = may_keep(va->map, request, keep_flags);

		DSVM_TRY(add_cut(*va, span, keep, steps));
	}
	return add_map(request, steps);
}

// Cuts what has no object at the request's ends, and maps the parts inside.
template <class View, class Steps>
Status split_for_madvise(const View &view, const dsvm_va_map &request, Steps &&steps)
{
	const VaRange span = span_of(request);
	typename View::Cursor cursor{view, span};

	while (dsvm_va *const va = cursor.take()) {
		if (va->map.obj != nullptr || span.contains(span_of(va->map)))
			continue;

		// Before the step, which may take the mapping away.
		const VaRange inside = DSVM_TRY(span.intersection(span_of(va->map)));
		DSVM_TRY(add_cut(*va, span, false, steps));

		dsvm_va_map part = part_of(request, inside);
		if (request.obj == nullptr)
			part.offset = request.offset;
		DSVM_TRY(add_map(part, steps));
	}
	return Status::ok();
}

template <class View, class Steps>
Status split_for_unmap(const View &view, VaRange span, Steps &&steps)
{
	typename View::Cursor cursor{view, span};

	while (dsvm_va *const va = cursor.take())
		DSVM_TRY(add_cut(*va, span, false, steps));
	return Status::ok();
}

// A request on the space as it is. kInvalid, and what `steps` says.
template <class Steps>
Status make_map(dsvm_va_space &space, const dsvm_va_map &request, dsvm_va_mode mode, Steps &steps)
{
	const VaSpace view{space};

	DSVM_TRY(view.check(request.addr, request.range));
	DSVM_TRY(check_source(request));
	if (mode == DSVM_VA_MADVISE)
		return split_for_madvise(view, request, steps);
	// The driver's bits are in its own mappings and not in this request, so who compares
	// them is the driver.
	return split_for_map(view, request, DSVM_VA_REPEAT, steps);
}

// The same with the step a function of the caller's.
Status sm_map(dsvm_va_space &space, const dsvm_va_map &request, dsvm_va_mode mode,
	      dsvm_va_step step, void *context);
Status sm_unmap(dsvm_va_space &space, u64 addr, u64 range, dsvm_va_step step, void *context);

// What of a remapped mapping keeps entries of `block` units, and what does not.
dsvm_va_pieces remap_pieces(const dsvm_va_op_remap &remap, u64 block);

} // namespace dsvm

#endif // DSVM_CORE_VA_SPLIT_H
