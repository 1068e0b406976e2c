// SPDX-License-Identifier: GPL-2.0-only OR MIT
#include "core/migrate/frames.h"

#include "core/base/checked.h"

namespace dsvm {

namespace {

// Whether they are in a row. All memory that goes to a device comes by here, so it looks at sixteen
// at a time.
bool are_in_a_row(const usize *frames, usize count)
{
	constexpr usize kAtOnce = 16;
	const usize base = frames[0];
	usize i = 0;

	for (; i + kAtOnce <= count; i += kAtOnce) {
		usize differs = 0;
#pragma GCC unroll 16
		for (usize k = 0; k < kAtOnce; ++k)
			differs |= frames[i + k] ^ (base + i + k);
		if (differs)
			return false;
	}
	while (i < count && frames[i] == base + i)
		++i;
	return i == count;
}

} // namespace

Status init_frames(dsvm_devmem &devmem)
{
	const usize npages = page_count(devmem);
	if (npages == 0 || !is_aligned(devmem.size, DSVM_PAGE_SIZE))
		return kInvalid;

	const u64 bytes = DSVM_TRY(checked_mul(npages, sizeof(usize)));
	devmem.frames = static_cast<usize *>(dsvm_os_alloc_unset(bytes));
	if (!devmem.frames)
		return kNoMemory;

	const Status status{devmem.populate(devmem.allocation, npages, devmem.frames)};
	if (status.is_ok())
		devmem.base = devmem.frames[0];
	if (status.is_error() || are_in_a_row(devmem.frames, npages))
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
	       (!devmem.frames || are_in_a_row(devmem.frames + index, count));
}

} // namespace dsvm
