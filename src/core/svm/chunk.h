// SPDX-License-Identifier: GPL-2.0-only OR MIT
//
// How large a new range is.
//
// The GPU maps fastest in large, naturally aligned chunks, so a range is the
// largest of the driver's chunk sizes that, aligned around the faulting
// address, stays within all its bounds and is acceptable to the caller:
//
//	vma                 |--------------------------|
//	gpuva    |---------------------------|
//	              2M: |.......x.......|		leaves the VMA: no
//	             64K:       |.x.|			fits: the range
//
// It leaves no window, because it is not larger than one, and both are aligned to their sizes.
//
// Pure arithmetic; knows neither trees nor locks.
#ifndef DSVM_CORE_SVM_CHUNK_H
#define DSVM_CORE_SVM_CHUNK_H

#include "core/base/checked.h"
#include "core/base/result.h"
#include "core/base/va_range.h"

namespace dsvm {

struct ChunkBounds {
	VaRange vma;
	VaRange gpuva;

	bool contain(const VaRange &span) const
	{
		return vma.contains(span) && gpuva.contains(span);
	}
};

// @out: the first of @sizes (powers of two, descending) whose block around @addr fits the
// bounds and that @acceptable(VaRange) takes. kInvalid if none does.
template <class Acceptable>
DSVM_ALWAYS_INLINE Status choose_chunk(const usize *sizes, int count, u64 addr,
				       const ChunkBounds &bounds, Acceptable acceptable,
				       VaRange &out)
{
	for (int i = 0; i < count; ++i) {
		const VaRange chunk = aligned_block(addr, sizes[i]);
		if (bounds.contain(chunk) && acceptable(chunk)) {
			out = chunk;
			return Status::ok();
		}
	}
	return kInvalid;
}

} // namespace dsvm

#endif // DSVM_CORE_SVM_CHUNK_H
