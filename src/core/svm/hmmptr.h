// SPDX-License-Identifier: GPL-2.0-only OR MIT
//
// hmmptr: a span of an address space that a device uses, piece by piece; see drm_svm/hmmptr.h.
//
// It has no collection protocol of its own: a hmmptr is a window, its pieces are ranges, and Pages
// and Space do for them what they do for those of a mirror. What is here is which pieces there are,
// and which of them have to be made good after an invalidation.
//
// Invariants:
//  - pieces do not overlap, and none goes over the bound of a block;
//  - wanted is what the driver has got by map() and not given up; if one of those is not mapped, it
//    is unbound;
//  - if a piece is wanted and unbound the hmmptr is on a list of its set;
//  - between calls no piece is FRESH, and those that are mapped are wanted;
//  - MARKED goes with the population that it speaks of.
#ifndef DSVM_CORE_SVM_HMMPTR_H
#define DSVM_CORE_SVM_HMMPTR_H

#include "core/base/list.h"
#include "core/base/locking.h"
#include "core/base/once.h"
#include "core/base/result.h"
#include "core/base/va_range.h"
#include "core/svm/deadline.h"
#include "core/svm/pages.h"
#include "core/svm/space.h"
#include "drm_svm/hmmptr.h"

namespace dsvm {

using HmmptrList = List<dsvm_hmmptr, &dsvm_hmmptr::entry>;

// A view of a struct dsvm_hmmptr; holds no state of its own. See drm_svm/hmmptr.h for the public
// functions.
class Hmmptr {
public:
	explicit Hmmptr(dsvm_hmmptr &hmmptr)
		: hmmptr_(hmmptr), set_(*hmmptr.set), lock_(set_.svm.lock)
	{}

	Status init();
	void release();

	// Locking of these: the hmmptr's lock. May sleep.
	Status populate(VaRange span, dsvm_access access);
	Status map(VaRange span);
	Status get_pages(VaRange span, dsvm_access access);
	void unmap(VaRange span, bool forget);
	void inject(VaRange span);
	// Maps what an invalidation has unmapped again, and has it bound.
	Status make_good(const Deadline &deadline);

	// Locking of these: the notifier lock.
	bool is_valid(VaRange span);
	bool next(VaRange span, dsvm_hmmptr_cursor &cursor);

	// Invalidations. Locking: take the notifier lock. Reclaim-safe.
	static dsvm_invalidated invalidate(dsvm_hmmptr_event &event);
	static void finish_invalidation(dsvm_hmmptr_event &event);

private:
	Status check(VaRange span) const;
	dsvm_piece *find(VaRange span);
	dsvm_piece *after(dsvm_piece &piece, VaRange span);
	Expected<dsvm_piece *> make_piece(u64 addr, u64 last);
	void drop_piece(dsvm_piece &piece);
	void depopulate(dsvm_piece &piece);
	Status split(dsvm_piece &piece, u64 addr);
	Status carve(dsvm_piece *&piece, VaRange span);
	void drop_fresh(VaRange span, bool keep);
	dsvm_get_pages request_for(const dsvm_piece &piece, dsvm_access access) const;
	bool is_populated(dsvm_piece &piece, dsvm_access access);
	Status populate_span(VaRange span, dsvm_access access);
	Status populate_gaps(VaRange span, dsvm_access access);
	Status collect(dsvm_piece &piece, VaRange span, dsvm_access access,
		       const Deadline &deadline, HmmEntries &entries, usize &seq);
	Status populate_within(dsvm_piece *&piece, VaRange span, dsvm_access access,
			       const Deadline &deadline);
	Status populate_piece(dsvm_piece &piece, dsvm_access access, const Deadline &deadline);
	Status map_pieces(VaRange span);
	bool is_mapped(const dsvm_piece &piece);
	Status map_piece(dsvm_piece &piece);
	bool claim(VaRange span);
	Status map_and_claim(VaRange span);
	Status make_present(VaRange span, dsvm_access access);
	void unmap_unwanted(VaRange span);
	bool is_unbound(const dsvm_piece &piece);
	Status make_good(dsvm_piece &piece, const Deadline &deadline);
	Status bind(dsvm_piece &piece);
	void give_up(dsvm_piece &piece);
	bool first_vma(VaRange span, dsvm_vma_info &vma);
	Status make_less(dsvm_piece &piece, Status why);
	void take_away(VaRange span, bool still_wanted);
	void enlist() DSVM_REQUIRES(lock_);
	bool begin_event(dsvm_hmmptr_event &event);
	void end_event(dsvm_hmmptr_event &event);

	dsvm_hmmptr &hmmptr_;
	dsvm_hmmptr_set &set_;
	RwLock lock_; // the notifier lock
};

// See dsvm_hmmptr_revalidate(). May sleep.
Status revalidate(dsvm_hmmptr_set &set);

inline VaRange extent(const dsvm_piece &piece)
{
	return span_of(piece.range.node);
}

inline dsvm_piece *to_piece(dsvm_range *range)
{
	return range ? container_of(range, &dsvm_piece::range) : nullptr;
}

// What is mapped for the device, if only up to the second pass of an invalidation.
inline bool has_mapping(const dsvm_piece &piece)
{
	return read_once(piece.pages.flags) & DSVM_PAGES_DMA_MAPPED;
}

// There is no memory for it, nor will there be if nobody does anything about it.
inline bool is_lost(Status status)
{
	return status == kFault || status == kPermission || status == kUnsupported;
}

inline Pages as_pages(dsvm_piece &piece, const dsvm_hmmptr &hmmptr)
{
	return Pages{piece.pages, hmmptr.dev};
}

} // namespace dsvm

#endif // DSVM_CORE_SVM_HMMPTR_H
