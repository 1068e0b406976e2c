// SPDX-License-Identifier: GPL-2.0-only OR MIT
//
// What the files that implement drm_svm/os.h on the machine share.
#ifndef DSVM_SIMMM_OS_H
#define DSVM_SIMMM_OS_H

#include "tests/host/simmm/machine.h"

namespace dsvm::sim {

// Where a device sees a page, and back; kNoPage: no such address.
inline u64 dma_of(u32 page)
{
	return kDmaOffset + (u64{machine().pfn_of(page)} << kPageShift);
}

inline u32 page_of_dma(u64 addr)
{
	return addr < kDmaOffset ? kNoPage
				 : machine().page_of_pfn((addr - kDmaOffset) >> kPageShift);
}

// Complains if the running fiber would wait, for whatever `what` waits for, under the lock
// that an invalidation takes.
void no_notifier_lock(const char *what);

// Whose VMA it is.
Mm &mm_of(const Vma &vma);

} // namespace dsvm::sim

#endif // DSVM_SIMMM_OS_H
