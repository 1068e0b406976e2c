// SPDX-License-Identifier: GPL-2.0-only OR MIT
//
// The pages behind a range, as one device sees them.
//
//	unmapped memory --collect()--> mapped --unmap()--> not mapped --collect()--> ...
//	                                  \----------------/
//	                                   any invalidation
//
// dma_addr holds one entry for each naturally aligned run of 2^order pages, in
// address order, packed: entry j + 1 begins where entry j ends. See mapping.h for how
// they are mapped.
//
// Invariants, under the window's lock:
//  - DMA_MAPPED: there are entries for the span exactly, and those that are not marked
//    otherwise are mapped for the device; all of them, unless UNMAPPED is set, too;
//  - provider is set exactly if DMA_MAPPED and DEVMEM are, and is referenced;
//  - valid is what has DMA_MAPPED and neither UNMAPPED nor STALE;
//  - UNMAPPED goes away in a split only, STALE with the invalidation's second pass.
//
// What a collection is disturbed by: an invalidation of the range that the span lies in, for
// which each range has a stand-in for a notifier. Where there is no such range (a notifier of
// the driver's own), whatever the notifier hears of.
//
// What it does not do: choose where pages live, or write GPU page tables.
#ifndef DSVM_CORE_SVM_PAGES_H
#define DSVM_CORE_SVM_PAGES_H

#include "core/base/locking.h"
#include "core/base/result.h"
#include "core/base/va_range.h"
#include "core/svm/flags.h"
#include "core/svm/hmm.h"
#include "core/svm/mapper.h"
#include "core/svm/mapping.h"
#include "drm_svm/os.h"
#include "drm_svm/svm.h"

namespace dsvm {

// Whether page-table entries may be written for them. Locking: the window's lock.
inline bool are_valid(const dsvm_pages &pages)
{
	return dsvm_svm_pages_valid(&pages);
}

// What a collection was made with; see pages.cc.
struct Basis;

// A view of a struct dsvm_pages for one device; holds no state of its own. What is called out of line
// where it matters is called of a copy, so that this one need not be in memory.
class Pages {
public:
	Pages(dsvm_pages &pages, dsvm_os_dev *dev) : pages_(pages), dev_(dev) {}

	// Collects and maps; see dsvm_svm_get_pages(). Takes the window's lock; may sleep.
	Status collect(dsvm_get_pages &request);
	// The same in two steps, for who keeps what was collected: `entries`, true as long as the
	// sequence is `seq`. Takes the window's lock; may sleep.
	//
	// Errors as those of dsvm_svm_get_pages() that come from collecting.
	Status populate(dsvm_get_pages &request, usize *entries, const Deadline &deadline,
			usize &seq);
	// kAgain: it is not any more. Errors that come from mapping. Takes the window's lock; may
	// sleep.
	Status map(const dsvm_get_pages &request, usize *entries, usize seq);
	// Unmaps and frees the entries. Takes the window's lock.
	void free(usize npages);

	// The rest under the window's lock, as it says; reclaim-safe.

	// They are those of a range that nobody sees yet. Without a lock.
	void set_range(dsvm_range &range) { pages_.range = &range; }
	// In any mode.
	void unmap(usize npages)
	{
		if (is_dma_mapped())
			Pages(*this).unmap_all(npages);
	}
	// They cannot be collected any more. For writing.
	void set_unmapped() { set_flags(pages_.flags, pages_.flags | DSVM_PAGES_UNMAPPED); }
	// They are about to be unmapped, or are not after all. For writing.
	void set_stale(bool stale);
	// @span, which overlaps that of the range, widened to whole runs of pages that are mapped.
	VaRange widen(VaRange range, VaRange span) const;
	// Unmaps what lies within @gone, which cuts no run. For writing.
	void unmap_part(VaRange range, VaRange gone);
	// They are those behind @keep now, and @tail, of a new range, those behind the end of the
	// range that @tail_span is. Neither cuts a run; what is between has gone. For writing.
	void split(VaRange range, VaRange keep, dsvm_pages *tail, VaRange tail_span);

private:
	bool is_dma_mapped() const { return pages_.flags & DSVM_PAGES_DMA_MAPPED; }
	// The same view, made where it is wanted: nothing is kept for it until then.
	Pages for_device_of(const dsvm_get_pages &request) { return {pages_, request.dev}; }
	void unmap_all(usize npages);
	// The same for a single entry that takes the place of all that was mapped.
	void unmap_for(const dsvm_dma_addr &wider, usize npages);
	bool covers(const dsvm_get_pages &request) const;
	static Status find_range_of(dsvm_get_pages &request);
	dsvm_range *known_range(const dsvm_get_pages &request) const;
	Expected<bool> settled(dsvm_get_pages &request, usize seq);
	Status collect_anew(dsvm_get_pages &request, u64 start_ns, usize npages);
	Status collect_large(dsvm_get_pages &request, u64 start_ns, usize npages);
	Status collect_run(dsvm_get_pages &request, u64 start_ns, usize npages);
	Status collect_each(dsvm_get_pages &request, u64 start_ns, usize npages);
	Status attempt_run(dsvm_get_pages &request, void *&owner, u64 timeout_ns, usize npages);
	Status retry_run(dsvm_get_pages &request, void *owner, u64 start_ns, usize npages);
	static Status attempt(dsvm_get_pages &request, dsvm_hmm_request &hmm, usize npages,
			      const Deadline &deadline);
	dsvm_mapping *left_over(usize room) const;
	Status map_collected(const dsvm_get_pages &request, Basis &basis, const usize *entries,
			     usize npages, bool may_be_run);
	Status map_run(const dsvm_get_pages &request, Basis &basis, const usize &entry,
		       usize npages);
	Status map_each(const dsvm_get_pages &request, Basis &basis, const usize *entries,
			usize npages);
	Status check_collected(const dsvm_get_pages &request, const Basis &basis) const;
	void set_mapped(const dsvm_get_pages &request, dsvm_os_rwsem *lock, const Basis &basis,
			MappedPages mapped);
	Status populate_anew(dsvm_get_pages &request, usize *entries, const Deadline &deadline,
			     usize &seq);
	static Status check_entries(const dsvm_get_pages &request, const usize *entries,
				    usize npages);
	dsvm_dma_addr *entry_at(VaRange range, u64 addr) const;
	void adopt(dsvm_mapping &mapping, dsvm_dma_addr *entries, usize npages,
		   const dsvm_pages &from);

	dsvm_pages &pages_;
	dsvm_os_dev *const dev_;
};

} // namespace dsvm

#endif // DSVM_CORE_SVM_PAGES_H
