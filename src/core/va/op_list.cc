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
	~OpList() { list_free(memory_, head_); }

	// Appends a copy. kNoMemory.
	Status add(const dsvm_va_op &step)
	{
		dsvm_va_op *const op = memory_.alloc(memory_.context);

		if (op == nullptr)
			return kNoMemory;
		copy_step(*op, step);
		Steps{head_}.push_back(*op);
		return Status::ok();
	}

	// For the walks of split.h that call a function.
	static int add_to(void *list, const dsvm_va_op *step)
	{
		return static_cast<OpList *>(list)->add(*step).code();
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
};

} // namespace

Status list_map(dsvm_va_space &space, const dsvm_va_map &request, dsvm_va_mode mode,
		const dsvm_va_op_memory &memory, dsvm_link &list)
{
	OpList ops{memory};

	return ops.hand_over(sm_map(space, request, mode, OpList::add_to, &ops), list);
}

Status list_unmap(dsvm_va_space &space, u64 addr, u64 range, const dsvm_va_op_memory &memory,
		  dsvm_link &list)
{
	OpList ops{memory};

	return ops.hand_over(sm_unmap(space, addr, range, OpList::add_to, &ops), list);
}

Status list_prefetch(dsvm_va_space &space, u64 addr, u64 range, const dsvm_va_op_memory &memory,
		     dsvm_link &list)
{
	const auto span = VaRange::from_start_size(addr, range);
	const VaSpace view{space};
	OpList ops{memory};

	if (span.is_error())
		return kInvalid;
	for (dsvm_va *va = view.first(span.value()); va != nullptr;
	     va = view.next(*va, span.value())) {
		dsvm_va_op step{};

		// No driver's mapping is around that one.
		if (va == space.kernel)
			continue;
		step.type = DSVM_VA_OP_PREFETCH;
		step.prefetch.va = va;
		DSVM_TRY(ops.add(step));
	}
	return ops.hand_over(Status::ok(), list);
}

Status list_bo_unmap(dsvm_link &mappings, const dsvm_va_op_memory &memory, dsvm_link &list)
{
	OpList ops{memory};

	for (dsvm_va &va : List<dsvm_va, &dsvm_va::bo_entry>{mappings}) {
		dsvm_va_op step{};

		step.type = DSVM_VA_OP_UNMAP;
		step.unmap.va = &va;
		DSVM_TRY(ops.add(step));
	}
	return ops.hand_over(Status::ok(), list);
}

void list_free(const dsvm_va_op_memory &memory, dsvm_link &list)
{
	Steps steps{list};

	while (dsvm_va_op *const op = steps.pop_front())
		memory.free(memory.context, op);
}

} // namespace dsvm
