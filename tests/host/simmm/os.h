// SPDX-License-Identifier: GPL-2.0-only OR MIT
//
// What the files that implement drm_svm/os.h on the machine share.
#ifndef DSVM_SIMMM_OS_H
#define DSVM_SIMMM_OS_H

#include "tests/host/simmm/machine.h"

namespace dsvm::sim {

// Where a device sees a page of which it has a mapping of its own, and back; kNoPage: no such
// address.
inline u64 dma_of(u32 page)
{
	return kDmaOffset + (u64{machine().pfn_of(page)} << kPageShift);
}

inline u32 page_of_dma(u64 addr)
{
	return addr < kDmaOffset ? kNoPage
				 : machine().page_of_pfn((addr - kDmaOffset) >> kPageShift);
}

// Whether somebody has mapped a page for DMA; RAM that a device sees directly counts as mapped.
inline bool is_mapped_for(const Device &device, u32 page)
{
	return machine().page(page).dma != 0 || (device.direct && !machine().is_device(page));
}

// What an access of the device to an address hits now; kNoPage: nothing.
u32 reached_page(const Device &device, u64 addr, bool write);

// Complains about windows of addresses that are left.
void check_no_windows(const Device &device);

// Complains if the running fiber would wait, for whatever `what` waits for, under the lock
// that an invalidation takes.
void no_notifier_lock(const char *what);

// What dsvm_os_hmm_mark_alike() does for a page.
void mark_dirty(Page &page);
void mark_accessed(Page &page);

// Whose VMA it is.
Mm &mm_of(const Vma &vma);

} // namespace dsvm::sim

#endif // DSVM_SIMMM_OS_H
