// SPDX-License-Identifier: GPL-2.0-only OR MIT
#include "core/va/split.h"

namespace dsvm {

Status sm_map(dsvm_va_space &space, const dsvm_va_map &request, dsvm_va_mode mode,
	      dsvm_va_step step, void *context)
{
	const VaSpace view{space};
	const auto call = [step, context](const dsvm_va_op &op) {
		return Status(step(context, &op));
	};

	DSVM_TRY(view.check(request.addr, request.range));
	DSVM_TRY(check_source(request));
	if (mode == DSVM_VA_MADVISE)
		return split_for_madvise(view, request, call);
	// The driver's bits are in its own mappings and not in this request, so who compares
	// them is the driver.
	return split_for_map(view, request, DSVM_VA_REPEAT, call);
}

Status sm_unmap(dsvm_va_space &space, u64 addr, u64 range, dsvm_va_step step, void *context)
{
	const VaSpace view{space};
	const VaRange span = DSVM_TRY(view.check(addr, range));

	return split_for_unmap(view, span, [step, context](const dsvm_va_op &op) {
		return Status(step(context, &op));
	});
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
