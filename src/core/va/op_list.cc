// SPDX-License-Identifier: GPL-2.0-only OR MIT
#include "core/va/op_list.h"

namespace dsvm {

namespace {

using Steps = List<dsvm_va_op, &dsvm_va_op::entry>;

// A list in the making; frees what is on it at its end.
class OpList {
public:
	explicit OpList(const dsvm_va_op_memory &memory) : memory_(memory) { link_init(head_); }
	OpList(const OpList &) = delete;
	OpList &operator=(const OpList &) = delete;
	~OpList()
	{
		if (!Steps{head_}.empty())
			list_free(memory_, head_);
	}

	[[nodiscard]] dsvm_va_op *room()
	{
		return used_ < memory_.room ? &memory_.first[used_++]
					    : memory_.alloc(memory_.context);
	}
	Status add(dsvm_va_op &op)
	{
		Steps{head_}.push_back(op);
		return Status::ok();
	}

	// All of it goes to the end of `list`, or, after an error, nowhere.
	Status hand_over(Status status, dsvm_link &list)
	{
		if (status.is_ok())
			Steps{list}.splice_back(Steps{head_});
		return status;
	}

private:
	const dsvm_va_op_memory &memory_;
	dsvm_link head_;
	u32 used_ = 0;
};

} // namespace

Status list_map(dsvm_va_space &space, const dsvm_va_map &request, dsvm_va_mode mode,
		const dsvm_va_op_memory &memory, dsvm_link &list)
{
	OpList ops{memory};

	return ops.hand_over(make_map(space, request, mode, ops), list);
}

Status list_unmap(dsvm_va_space &space, u64 addr, u64 range, const dsvm_va_op_memory &memory,
		  dsvm_link &list)
{
	const VaSpace view{space};
	const VaRange span = DSVM_TRY(view.check(addr, range));
	OpList ops{memory};

	return ops.hand_over(split_for_unmap(view, span, ops), list);
}

Status list_prefetch(dsvm_va_space &space, u64 addr, u64 range, const dsvm_va_op_memory &memory,
		     dsvm_link &list)
{
	const auto span = VaRange::from_start_size(addr, range);
	OpList ops{memory};

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
	return ops.hand_over(Status::ok(), list);
}

Status list_bo_unmap(dsvm_link &mappings, const dsvm_va_op_memory &memory, dsvm_link &list)
{
	OpList ops{memory};

	for (dsvm_va &va : List<dsvm_va, &dsvm_va::bo_entry>{mappings}) {
		DSVM_TRY(add_cut(va, span_of(va.map), false, ops));
	}
	return ops.hand_over(Status::ok(), list);
}

void list_free(const dsvm_va_op_memory &memory, dsvm_link &list)
{
	const dsvm_va_op *const first = memory.first;

	for (dsvm_va_op &op : Steps{list}.safe()) {
		if (&op < first || &op >= first + memory.room)
			memory.free(memory.context, &op);
	}
	link_init(list);
}

} // namespace dsvm
