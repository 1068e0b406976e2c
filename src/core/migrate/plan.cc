// SPDX-License-Identifier: GPL-2.0-only OR MIT
#include "core/migrate/plan.h"

namespace dsvm {

bool continues(const dsvm_copy_run &run, usize run_pfn, const dsvm_copy_run &next, usize next_pfn)
{
	if (run_pfn + run.npages != next_pfn || run.addr.dir != next.addr.dir ||
	    run.addr.proto != next.addr.proto)
		return false;
	// A mapping has a direction, and here it is not zero; an address may be.
	if (!run.addr.dir)
		return true;
	return run.addr.addr + (run.npages << DSVM_PAGE_SHIFT) == next.addr.addr;
}

VaRange fault_span(u64 addr, u32 order, VaRange vma)
{
	const VaRange block = aligned_block(addr, u64{DSVM_PAGE_SIZE} << order);

	return VaRange{max(block.first, vma.first), min(block.last, vma.last)};
}

VaRange Streak::next(VaRange granule, VaRange limits)
{
	constexpr u32 kMost = ilog2(kBlockSize / DSVM_PAGE_SIZE);
	const bool goes_on = end != 0 && granule.first == end;

	order = goes_on ? min(order + 1, kMost) : ilog2(DSVM_FAULT_NPAGES);
	if (goes_on) {
		const VaRange block = aligned_block(granule.first, kBlockSize);
		const u64 size = u64{DSVM_PAGE_SIZE} << order;
		const u64 last = granule.first + (size - 1);
		granule.last = max(granule.last, min(last, min(block.last, limits.last)));
	}
	end = granule.last + 1;
	return granule;
}

Expected<VaRange> slice_of(VaRange span, u32 index, u32 workers)
{
	const u64 base = align_down(span.first, kBlockSize);
	const u64 blocks = ((align_down(span.last, kBlockSize) - base) / kBlockSize) + 1;
	const u64 each = (blocks + workers - 1) / workers;
	const u64 begin = each * index;

	if (begin >= blocks)
		return kNotFound;
	const u64 count = min(each, blocks - begin);
	const VaRange slice{base + begin * kBlockSize,
			    base + begin * kBlockSize + (count * kBlockSize - 1)};
	return slice.intersection(span);
}

Status evict_status(Status status)
{
	switch (status.code()) {
	case 0:
	case -DSVM_EINTR:
	case -DSVM_EINVAL:
	case -DSVM_ENODEV:
		return status;
	case -DSVM_ENOMEM:
		return kNoSpace;
	default:
		// Whoever walks over allocations to make room tries the next one.
		return kBusy;
	}
}

dsvm_fault_result fault_result(Status status)
{
	switch (status.code()) {
	case 0:
	// It may be there for the next try, and the CPU comes back for that.
	case -DSVM_EAGAIN:
	case -DSVM_EBUSY:
	case -DSVM_EINTR:
	case -DSVM_ERESTARTSYS:
		return DSVM_FAULT_DONE;
	case -DSVM_ENOMEM:
		return DSVM_FAULT_OOM;
	default:
		return DSVM_FAULT_LOST;
	}
}

} // namespace dsvm
