// SPDX-License-Identifier: GPL-2.0-only OR MIT
#include "core/migrate/frames.h"

#include "core/base/checked.h"

namespace dsvm {

namespace {

// How many follow the first one in a row, itself included.
usize row(const dsvm_devmem &devmem, usize index, usize most)
{
	usize count = 1;

	while (count < most && frame_at(devmem, index + count) == frame_at(devmem, index) + count)
		++count;
	return count;
}

} // namespace

Status init_frames(dsvm_devmem &devmem)
{
	const usize npages = page_count(devmem);
	if (npages == 0 || !is_aligned(devmem.size, DSVM_PAGE_SIZE))
		return kInvalid;

	const u64 bytes = DSVM_TRY(checked_mul(npages, sizeof(usize)));
	devmem.frames = static_cast<usize *>(dsvm_os_alloc(bytes));
	if (!devmem.frames)
		return kNoMemory;

	const Status status{devmem.populate(devmem.allocation, npages, devmem.frames)};
	devmem.base = devmem.frames[0];
	if (status.is_error() || row(devmem, 0, npages) == npages)
		fini_frames(devmem);
	return status;
}

void fini_frames(dsvm_devmem &devmem)
{
	dsvm_os_free(devmem.frames);
	devmem.frames = nullptr;
}

bool is_folio(const dsvm_devmem &devmem, usize index, u32 order)
{
	const usize count = usize{1} << order;

	return page_count(devmem) - index >= count && is_aligned(frame_at(devmem, index), count) &&
	       (!devmem.frames || row(devmem, index, count) == count);
}

} // namespace dsvm
