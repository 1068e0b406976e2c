// SPDX-License-Identifier: GPL-2.0-only OR MIT
//
// The entries of one collection of pages, and how they are mapped for the device.
//
//	dsvm_mapping -> | entry | entry | ...
//	                 ^       ^
//	   dsvm_pages.dma_addr   dsvm_pages.dma_addr of another range, after a split
//
// An entry is a naturally aligned run of 2^order pages, and there is room for one of each page.
// Where the device is behind an IOMMU and the kernel lets us, all RAM of the span is linked into
// one window of device addresses, at the offset that it has in the span: one allocation and one
// flush for all of it. Elsewhere, and for the memory of a device, each entry is mapped by itself.
//
// When a range is split, its parts go on using the entries that they have, so that a split
// has nothing to allocate and the device's addresses stay. The parts are disjoint; the mapping
// counts them twice: who has entries that are still mapped (the last one gives back the window),
// and who points to the memory (the last one frees it). The one is a matter of the notifier,
// where nothing may be freed, the other is not.
//
// A single entry, as a page or a huge page has, is never shared, since a split cuts no run, and has
// no use for a window. It takes no mapping, but is in the pages.
//
// An entry that is not mapped any more, while others of its pages are, has direction NONE.
#ifndef DSVM_CORE_SVM_MAPPING_H
#define DSVM_CORE_SVM_MAPPING_H

#include "core/base/refcount.h"
#include "core/base/result.h"
#include "core/base/va_range.h"
#include "drm_svm/os.h"

struct dsvm_mapping {
	dsvm::RefCount owners;	// of the memory
	dsvm::RefCount mapped;	// those with an entry that is mapped
	dsvm_iova iova = {};	// that all of RAM is linked into; size 0: there is none
	dsvm_dma_addr *entries; // immutable; behind this, or memory of their own
	dsvm::usize room;	// how many fit; immutable
	bool unmaps = true;	// whether RAM that is in no window has to be unmapped

	dsvm_mapping(dsvm_dma_addr *memory, dsvm::usize count) : entries(memory), room(count) {}
	// As new, if it has one owner who has nothing mapped.
	void renew() { dsvm::construct_at<dsvm_mapping>(this, entries, room); }
};

namespace dsvm {

// With room for so many entries, one owner, and one who has it mapped. May sleep.
Expected<dsvm_mapping *> make_mapping(usize room);
// One owner less; nullptr is fine. May sleep.
void put_mapping(dsvm_mapping *mapping);

inline usize pages_of(const dsvm_dma_addr &entry)
{
	return usize{1} << entry.order;
}

inline bool is_mapped(const dsvm_dma_addr &entry)
{
	return entry.dir != DSVM_DMA_NONE;
}

// Takes entries that follow each other away from the device, and marks them so. Entries that
// lie in a row in the window are unlinked together. Locking: that of the pages. Reclaim-safe.
void unmap_entries(dsvm_mapping &mapping, dsvm_os_dev *dev, dsvm_os_provider *provider,
		   dsvm_dma_addr *entries, usize npages);
// The same for a single entry, which has to be unmapped.
void unmap_entry(const dsvm_dma_addr &entry, dsvm_os_dev *dev, dsvm_os_provider *provider);
// One less who has something mapped. Locking: as above. Reclaim-safe.
void release_window(dsvm_mapping &mapping, dsvm_os_dev *dev);

} // namespace dsvm

#endif // DSVM_CORE_SVM_MAPPING_H
