// SPDX-License-Identifier: GPL-2.0-only OR MIT
//
// Which page frames an allocation has, by index: in a row, or one by one.
#ifndef DSVM_CORE_MIGRATE_FRAMES_H
#define DSVM_CORE_MIGRATE_FRAMES_H

#include "core/base/bits.h"
#include "core/base/result.h"
#include "drm_svm/migrate.h"

namespace dsvm {

// See dsvm_devmem_init(). May sleep.
Status init_frames(dsvm_devmem &devmem);
void fini_frames(dsvm_devmem &devmem);

inline usize page_count(const dsvm_devmem &devmem)
{
	return devmem.size >> DSVM_PAGE_SHIFT;
}

inline usize frame_at(const dsvm_devmem &devmem, usize index)
{
	return devmem.frames ? devmem.frames[index] : devmem.base + index;
}

// How many of the @most frames from @index on are in a row.
inline usize frames_in_a_row(const dsvm_devmem &devmem, usize index, usize most)
{
	usize count = min<usize>(most, 1);

	if (!devmem.frames)
		return most;
	while (count < most && devmem.frames[index + count] == devmem.frames[index] + count)
		++count;
	return count;
}

// The index of a frame that is one of them, none before @from.
inline usize index_of(const dsvm_devmem &devmem, usize frame, usize from)
{
	if (!devmem.frames)
		return frame - devmem.base;
	while (devmem.frames[from] != frame)
		++from;
	return from;
}

// Whether a folio of that order fits the frames from @index on.
bool is_folio(const dsvm_devmem &devmem, usize index, u32 order);

} // namespace dsvm

#endif // DSVM_CORE_MIGRATE_FRAMES_H
