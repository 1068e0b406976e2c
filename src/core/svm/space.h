// SPDX-License-Identifier: GPL-2.0-only OR MIT
//
// One mirrored address space: windows of it and the ranges in them.
//
//	Space      [mm_start ..................................... mm_start + mm_range)
//	Notifier        |--- notifier_size ---|             |---------------------|
//	Range               |2M|  |4K||64K|                      |2M||2M|
//
// Invariants:
//  - windows are aligned to their size, made at the first fault in them, and
//    go with their last range;
//  - a range lies within one window; ranges do not overlap;
//  - tree and list of a level hold the same objects in the same order.
//
// Look-up and insertion are O(log n). Shape changes only under the notifier
// lock for writing; the driver's lock serialises who changes it, so that a
// holder of either may walk.
//
// What a range maps is not known here: see pages.h.
#ifndef DSVM_CORE_SVM_SPACE_H
#define DSVM_CORE_SVM_SPACE_H

#include "core/base/interval_tree.h"
#include "core/base/list.h"
#include "core/base/locking.h"
#include "core/base/result.h"
#include "core/base/va_range.h"
#include "core/svm/chunk.h"
#include "drm_svm/os.h"
#include "drm_svm/svm.h"

namespace dsvm {

using NotifierTree = IntervalTree<dsvm_notifier, &dsvm_notifier::node>;
using NotifierList = List<dsvm_notifier, &dsvm_notifier::entry>;
using RangeTree = IntervalTree<dsvm_range, &dsvm_range::node>;
using RangeList = List<dsvm_range, &dsvm_range::entry>;

constexpr VaRange span_of(const dsvm_interval &node)
{
	return VaRange{node.first, node.last};
}

// A view of a struct dsvm_svm; holds no state of its own.
class Space {
public:
	explicit Space(dsvm_svm &svm) : svm_(svm), notifier_lock_(svm.lock) {}

	// Checks the parameters and empties the containers.
	Status init();
	// Takes everything out; invalidations of a window are stopped before its ranges go.
	// Locking: the driver's lock. May sleep.
	void clear();

	// Finds or makes the range at an address. A failed call leaves nothing behind.
	// Locking: the driver's lock; takes the mm's lock and the notifier lock. May sleep.
	Status find_or_insert(const dsvm_find_or_insert &request, dsvm_range *&out);
	// Locking: the driver's lock; takes the notifier lock. May sleep.
	void remove(dsvm_notifier &notifier, dsvm_range &range);

	// Publishes the sequence and lets @zap take the pages away. False, and nothing done, if
	// that might have to wait and the caller must not. Takes the notifier lock.
	bool invalidate(dsvm_os_notifier *notifier, usize seq, bool blockable, void (*zap)(void *),
			void *arg);
	// Notes on a range that the CPU's mapping of @gone has gone.
	// Locking: the notifier lock for writing.
	void set_unmapped(dsvm_range &range, VaRange gone);

	// Where the first VMA in the span starts, or all ones if there is none.
	// Locking: takes the mm's lock. May sleep.
	usize find_vma_start(VaRange span) const;
	// Whether any range overlaps the span. Locking: the driver's lock or the notifier lock.
	bool has_range(VaRange span) const;
	// The first window that overlaps the span, or nullptr.
	// Locking: the driver's lock or the notifier lock.
	dsvm_notifier *find_notifier(VaRange span) const;

private:
	VaRange mirrored() const;
	Status check_access(const dsvm_vma_info &vma, bool write) const;
	Expected<dsvm_notifier *> make_notifier(u64 addr);
	Expected<VaRange> choose_range(dsvm_notifier &notifier, const dsvm_vma_info &vma,
				       const dsvm_find_or_insert &request);
	bool all_present(dsvm_notifier &notifier, VaRange span, void *owner) const;
	void publish(dsvm_notifier &notifier, bool notifier_is_new, dsvm_range &range);
	void unlink_notifier(dsvm_notifier &notifier);

	dsvm_svm &svm_;
	RwLock notifier_lock_;
};

// The first range of the window that overlaps the span, or nullptr.
// Locking: the driver's lock or the notifier lock.
dsvm_range *find_range(dsvm_notifier &notifier, VaRange span);

} // namespace dsvm

#endif // DSVM_CORE_SVM_SPACE_H
