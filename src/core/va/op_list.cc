// SPDX-License-Identifier: GPL-2.0-only OR MIT
#include "core/va/op_list.h"

namespace dsvm {

namespace {

using Steps = List<dsvm_va_op, &dsvm_va_op::entry>;

// A list in the making.
class OpList {
public:
	OpList(const dsvm_va_op_memory &memory, dsvm_link &list)
		: memory_(memory), list_(list), next_(memory.first)
	{
		link_init(list);
	}
	OpList(const OpList &) = delete;
	OpList &operator=(const OpList &) = delete;

	[[nodiscard]] dsvm_va_op *room()
	{
		return next_ != memory_.end ? next_++ : memory_.alloc(memory_.context);
	}
	Status add(dsvm_va_op &op)
	{
		Steps{list_}.push_back(op);
		return Status::ok();
	}

	// After an error there is nothing on it.
	Status finish(Status status)
	{
		if (status.is_error())
			list_free(memory_, list_);
		return status;
	}

private:
	const dsvm_va_op_memory &memory_;
	dsvm_link &list_;
	// What lies with the list and is not used yet.
	dsvm_va_op *next_;
};

Status unmap_steps(const VaSpace &view, u64 addr, u64 range, OpList &ops)
{
	const VaRange span = DSVM_TRY(view.check(addr, range));

	return split_for_unmap(view, span, ops);
}

Status prefetch_steps(dsvm_va_space &space, u64 addr, u64 range, OpList &ops)
{
	const auto span = VaRange::from_start_size(addr, range);

	if (span.is_error())
		return kInvalid;
	VaSpace::Cursor cursor{VaSpace{space}, span.value()};
	while (dsvm_va *const va = cursor.take()) {
		// No driver's mapping is around that one.
		if (va == space.kernel)
			continue;
		dsvm_va_op *const op = ops.room();
		if (op == nullptr)
			return kNoMemory;
		op->type = DSVM_VA_OP_PREFETCH;
		op->prefetch.va = va;
		DSVM_TRY(ops.add(*op));
	}
	return Status::ok();
}

Status bo_unmap_steps(dsvm_link &mappings, OpList &ops)
{
	for (dsvm_va &va : List<dsvm_va, &dsvm_va::bo_entry>{mappings}) {
		DSVM_TRY(add_cut(va, span_of(va.map), false, ops));
	}
	return Status::ok();
}

} // namespace

Status list_map(dsvm_va_space &space, const dsvm_va_map &request, dsvm_va_mode mode,
		const dsvm_va_op_memory &memory, dsvm_link &list)
{
	OpList ops{memory, list};

	return ops.finish(make_map(space, request, mode, ops));
}

Status list_unmap(dsvm_va_space &space, u64 addr, u64 range, const dsvm_va_op_memory &memory,
		  dsvm_link &list)
{
	OpList ops{memory, list};

	return ops.finish(unmap_steps(VaSpace{space}, addr, range, ops));
}

Status list_prefetch(dsvm_va_space &space, u64 addr, u64 range, const dsvm_va_op_memory &memory,
		     dsvm_link &list)
{
	OpList ops{memory, list};

	return ops.finish(prefetch_steps(space, addr, range, ops));
}

Status list_bo_unmap(dsvm_link &mappings, const dsvm_va_op_memory &memory, dsvm_link &list)
{
	OpList ops{memory, list};

	return ops.finish(bo_unmap_steps(mappings, ops));
}

void list_free(const dsvm_va_op_memory &memory, dsvm_link &list)
{
	const dsvm_va_op *const first = memory.first;
	const dsvm_va_op *const end = memory.end;

	for (dsvm_va_op &op : Steps{list}.safe()) {
		if (&op < first || &op >= end)
			memory.free(memory.context, &op);
	}
	link_init(list);
}

} // namespace dsvm
