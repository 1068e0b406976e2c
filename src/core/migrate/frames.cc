// SPDX-License-Identifier: GPL-2.0-only OR MIT
#include "core/migrate/frames.h"

#include "core/base/checked.h"
#include "core/migrate/scratch.h"

namespace dsvm {

namespace {

constexpr usize kAtOnce = 16;

// Whether each of so many is larger than the one before it. Every second one is loaded, and
// compared with both of those beside it, where they are.
inline bool rise_at_once(const usize *frames)
{
	// The same, but the compiler is not to know, or it would load the others as well.
	const usize *behind = frames;
	__asm__("" : "+r"(behind));

#pragma GCC unroll 16
	for (usize i = 1; i < kAtOnce; i += 2) {
		const usize frame = frames[i];
		if (frames[i - 1] >= frame || (i + 1 < kAtOnce && behind[i + 1] <= frame))
			return false;
	}
	return true;
}

bool rise(const usize *frames, usize count)
{
	if (count < kAtOnce) {
		for (usize i = 1; i < count; ++i) {
			if (frames[i - 1] >= frames[i])
				return false;
		}
		return true;
	}
	// The last one of some is the first one of the next; the very last ones may be among those
	// before.
	const usize *const last = frames + (count - kAtOnce);
	for (const usize *at = frames; at < last; at += kAtOnce - 1) {
		if (!rise_at_once(at))
			return false;
	}
	return rise_at_once(last);
}

// Whether they are in a row. From the first one to the last there are @count - 1 steps: if each
// goes up, by one at least, and all of them together by that number, each goes up by one. So only
// the ends have to be looked at for how far they are apart, which matters because all memory that
// goes to a device comes by here.
bool are_in_a_row(const usize *frames, usize count)
{
	return frames[count - 1] - frames[0] == count - 1 && rise(frames, count);
}

Status allocate(dsvm_devmem &devmem, usize npages)
{
	const u64 bytes = DSVM_TRY(checked_mul(npages, sizeof(usize)));

	devmem.frames = static_cast<usize *>(dsvm_os_alloc_unset(bytes));
	return devmem.frames ? Status::ok() : kNoMemory;
}

Status populate(dsvm_devmem &devmem, usize npages, usize *frames)
{
	DSVM_TRY(Status{devmem.populate(devmem.allocation, npages, frames)});
	devmem.base = frames[0];
	return Status::ok();
}

} // namespace

Status init_frames(dsvm_devmem &devmem)
{
	const usize npages = page_count(devmem);
	if (npages == 0 || !is_aligned(devmem.size, DSVM_PAGE_SIZE))
		return kInvalid;

	// Mostly they are in a row, and no list of them is needed for longer.
	DSVM_UNSET Scratch scratch;
	if (scratch.borrow(npages, devmem.provider)) {
		DSVM_TRY(populate(devmem, npages, scratch.src()));
		if (are_in_a_row(scratch.src(), npages))
			return Status::ok();
		DSVM_TRY(allocate(devmem, npages));
		__builtin_memcpy(devmem.frames, scratch.src(), npages * sizeof(usize));
		return Status::ok();
	}

	DSVM_TRY(allocate(devmem, npages));
	const Status status = populate(devmem, npages, devmem.frames);
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
