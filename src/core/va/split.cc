// SPDX-License-Identifier: GPL-2.0-only OR MIT
#include "core/va/split.h"

namespace dsvm {

namespace {

// Steps that a function of the caller's gets, each in the place of the one before.
class StepCalls {
public:
	StepCalls(dsvm_va_step step, void *context) : step_(step), context_(context)
	{
		op_.entry = dsvm_link{}; // it is on no list
	}
	[[nodiscard]] dsvm_va_op *room() { return &op_; }
	Status add(const dsvm_va_op &op) { return Status(step_(context_, &op)); }

private:
	dsvm_va_step step_;
	void *context_;
	// Said anew for each step, as far as it has it.
	dsvm_va_op op_;
};

} // namespace

Status sm_map(dsvm_va_space &space, const dsvm_va_map &request, dsvm_va_mode mode,
	      dsvm_va_step step, void *context)
{
	StepCalls calls{step, context};

	return make_map(space, request, mode, calls);
}

Status sm_unmap(dsvm_va_space &space, u64 addr, u64 range, dsvm_va_step step, void *context)
{
	const VaSpace view{space};
	const VaRange span = DSVM_TRY(view.check(addr, range));

	return split_for_unmap(view, span, StepCalls{step, context});
}

dsvm_va_pieces remap_pieces(const dsvm_va_op_remap &remap, u64 block)
{
	const VaRange old = span_of(remap.unmap->va->map);
	VaRange zap = old;

	if (remap.prev != nullptr)
		zap.first = span_of(*remap.prev).last + 1;
	if (remap.next != nullptr)
		zap.last = remap.next->addr - 1;

	// One entry may have covered a block that lay wholly in the old mapping; cut, it goes.
	if (block > 1 && is_power_of_two(block)) {
		const VaRange low = aligned_block(zap.first, block);
		const VaRange high = aligned_block(zap.last, block);

		if (old.contains(low))
			zap.first = low.first;
		if (old.contains(high))
			zap.last = high.last;
	}

	return dsvm_va_pieces{
		.prev_addr = old.first,
		.prev_range = zap.first - old.first,
		.zap_addr = zap.first,
		.zap_range = zap.size(),
		.next_addr = zap.last + 1,
		.next_range = old.last - zap.last,
	};
}

} // namespace dsvm
