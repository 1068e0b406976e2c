// SPDX-License-Identifier: GPL-2.0-only OR MIT
//
// The pages behind a range, as one device sees them.
//
//	unmapped memory --collect()--> mapped --unmap()--> not mapped --collect()--> ...
//	                                  \----------------/
//	                                   any invalidation
//
// dma_addr holds one entry for each naturally aligned run of 2^order pages, in
// address order, packed: entry j + 1 begins where entry j ends.
//
// Invariants, under the notifier lock:
//  - DMA_MAPPED: the entries cover the span exactly and each is mapped for the device;
//  - provider is set exactly if DMA_MAPPED and DEVMEM are, and is referenced;
//  - UNMAPPED never goes away again.
//
// What it does not do: choose where pages live, or write GPU page tables.
#ifndef DSVM_CORE_SVM_PAGES_H
#define DSVM_CORE_SVM_PAGES_H

#include "core/base/locking.h"
#include "core/base/result.h"
#include "core/svm/flags.h"
#include "core/svm/hmm.h"
#include "drm_svm/os.h"
#include "drm_svm/svm.h"

namespace dsvm {

// A view of a struct dsvm_pages for one device; holds no state of its own.
class Pages {
public:
	Pages(dsvm_pages &pages, dsvm_os_rwsem *lock, dsvm_os_dev *dev)
		: pages_(pages), notifier_lock_(lock), dev_(dev)
	{}

	// Collects and maps; see dsvm_svm_get_pages(). Takes the notifier lock; may sleep.
	Status collect(const dsvm_get_pages &request);
	// Locking: the notifier lock, in any mode. Reclaim-safe.
	void unmap(usize npages);
	// They cannot be collected any more. Locking: the notifier lock for writing.
	void set_unmapped();
	// Unmaps and frees the entries. Takes the notifier lock.
	void free(usize npages);

private:
	bool is_mapped() const { return pages_.flags & DSVM_PAGES_DMA_MAPPED; }
	bool covers(const dsvm_get_pages &request) const;
	Expected<bool> settled(const dsvm_get_pages &request);
	// Maps into @addrs, and on success lets it take the place of what there was, which is
	// unmapped and left in @addrs. Locking: the notifier lock. All or nothing.
	Status map_locked(const dsvm_get_pages &request, const HmmEntries &entries, usize npages,
			  dsvm_dma_addr *&addrs) DSVM_REQUIRES_SHARED(notifier_lock_);
	// Locking: the notifier lock.
	void unmap_locked(usize npages) DSVM_REQUIRES_SHARED(notifier_lock_);

	dsvm_pages &pages_;
	RwLock notifier_lock_;
	dsvm_os_dev *const dev_;
};

} // namespace dsvm

#endif // DSVM_CORE_SVM_PAGES_H
