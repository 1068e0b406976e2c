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
//  - list and index of a level hold the same objects, the list in order; in the tree are those that
//    the index has put there;
//  - a window has as many users as it has ranges, and one more for each caller who
//    is about to make one; without users it is not found.
//
// Locks: the set of windows changes under the svm's lock for writing, ranges under their
// window's, which may be the same one. Nobody has to be kept out while a range is planned:
//
//	pin the window; is there a range at the address? Then that is it, whatever has become of
//	the memory: its pages are collected later, and only what is said then can be relied on
//	look at the memory, choose a span, make a range
//	under the window's lock: does anything overlap it by now?
//		no: the range is in, and is the window's user from here on
//		yes: begin again; whoever was faster has made progress
//
// so that faults meet each other in two short critical sections, and wait for no page
// collection, presence check or allocation of somebody else's. A driver with a lock around all
// of it never comes to the second case.
//
// Who is at an address says an index (core/base/block_index.h), in a load for each size of windows or
// chunks; walks go along lists. Its tables are allocated where ranges and windows are, and without
// them there is a tree, whose nodes are in the objects. Look-up and insertion are O(log n) then.
//
// What a range maps is not known here: see pages.h.
#ifndef DSVM_CORE_SVM_SPACE_H
#define DSVM_CORE_SVM_SPACE_H

#include "core/base/block_index.h"
#include "core/base/list.h"
#include "core/base/locking.h"
#include "core/base/result.h"
#include "core/base/va_range.h"
#include "core/svm/chunk.h"
#include "core/svm/pages.h"
#include "drm_svm/os.h"
#include "drm_svm/svm.h"

namespace dsvm {

using NotifierList = List<dsvm_notifier, &dsvm_notifier::entry>;
using NotifierIndex = BlockIndex<dsvm_notifier, &dsvm_notifier::node>;
using RangeList = List<dsvm_range, &dsvm_range::entry>;
using RangeIndex = BlockIndex<dsvm_range, &dsvm_range::node>;

constexpr VaRange span_of(const dsvm_interval &node)
{
	return VaRange{node.first, node.last};
}

// The stand-in for a notifier, which hears of what happens to the range alone.
inline dsvm_os_notifier *stand_in_of(const dsvm_svm &svm, dsvm_range &range)
{
	return reinterpret_cast<dsvm_os_notifier *>(reinterpret_cast<usize>(&range) +
						    svm.ops->range_stand_in);
}

// A view of a struct dsvm_svm; holds no state of its own. What is called out of line where it matters is
// called of a copy, so that this one need not be in memory.
class Space {
public:
	explicit Space(dsvm_svm &svm) : svm_(svm) {}

	// Checks the parameters and empties the containers.
	Status init();
	// Takes everything out; invalidations of a window are stopped before its ranges go.
	// Nobody else may use the space. May sleep.
	void clear();

	// Finds or makes the range at an address. A failed call leaves nothing behind.
	// Locking: takes the mm's lock, the svm's and the window's. May sleep.
	Status find_or_insert(const dsvm_find_or_insert &request, dsvm_range *&out);
	// The same, locked. Precondition: request.get. Locking: takes the range's lock as well.
	Status acquire(const dsvm_find_or_insert &request, dsvm_range *&out);
	// Once for a range. Locking: takes the svm's lock and the window's. May sleep.
	void remove(dsvm_notifier &window, dsvm_range &range);
	// The first range that overlaps the span, with a reference for the caller, or nullptr.
	// Locking: takes the svm's lock, and the windows'. May sleep.
	dsvm_range *first_range(VaRange span);

	// Where the first VMA in the span starts, or all ones if there is none.
	// Locking: takes the mm's lock. May sleep.
	usize find_vma_start(VaRange span) const;
	// Whether any range overlaps the span. For drivers with one lock: it waits for a window's
	// under the svm's.
	// Locking: the driver's lock or the svm's; takes the windows', if they are others.
	bool has_range(VaRange span) const;
	// The first window that overlaps the span, or nullptr.
	// Locking: the driver's lock or the svm's.
	dsvm_notifier *find_notifier(VaRange span) const;

	// Invalidations and what follows from them, see invalidate.cc.

	// See dsvm_svm_invalidate(). Locking: takes the window's lock. Reclaim-safe.
	dsvm_invalidated invalidate(dsvm_notifier &window, const dsvm_invalidation &event);
	void finish_invalidation(dsvm_notifier &window, const dsvm_invalidation &event);
	// Notes on a range that the CPU's mapping of @gone has gone, and the range with it.
	// Locking: the window's lock for writing.
	void set_unmapped(dsvm_range &range, VaRange gone);
	// The same where only what has gone goes: says what the driver is to zap.
	// Locking: the window's lock for writing.
	VaRange set_gone(dsvm_range &range, VaRange gone);
	// Unmaps what has gone. Locking: the window's lock for writing.
	void unmap_gone(dsvm_range &range);
	// Makes ranges of what is left; see dsvm_svm_range_trim(). True: there is something.
	// Locking: the driver's lock, or that of the range; takes the window's. May sleep.
	Expected<bool> trim(dsvm_notifier &window, dsvm_range &range);

private:
	VaRange mirrored() const;
	Status check_access(const dsvm_vma_info &vma, bool write) const;
	// Whether the caller wants a reference, and so holds no driver's lock: each has its own path.
	enum class Get : bool { No, Yes };
	template <Get kGet>
	Status try_find_or_insert(const dsvm_find_or_insert &request, dsvm_range *&out);
	Status try_acquire(const dsvm_find_or_insert &request, dsvm_range *&out);
	// Where a range is to go: which tables the index of its window has use for, and the spot, if
	// there is one and the driver's lock keeps it.
	struct Room {
		u32 wanted;
		RangeIndex::Spot spot;
	};
	dsvm_range *find_existing_locked(dsvm_notifier &window, const dsvm_find_or_insert &request,
					 Room &room);
	dsvm_range *find_existing(dsvm_notifier &window, const dsvm_find_or_insert &request,
				  u32 &wanted);
	dsvm_range *find_unlocked(dsvm_notifier &window, const dsvm_find_or_insert &request,
				  Room &room);
	template <Get kGet>
	Status insert_anew(const dsvm_find_or_insert &request, dsvm_notifier *window, Room room,
			   dsvm_range *&out);
	template <Get kGet>
	Status insert_into(dsvm_notifier &window, const dsvm_find_or_insert &request, Room room,
			   dsvm_range *&out);
	Status lock_at(dsvm_range &range, u64 addr);
	dsvm_notifier *pin_first(VaRange span);
	Status make_window(u64 addr, dsvm_notifier *&out);
	dsvm_notifier *insert_window(dsvm_notifier &window, BlockSpares &spares);
	void unpin_window(dsvm_notifier &window);
	dsvm_range *look_up(dsvm_notifier &window, VaRange span, bool svm_locked, bool get) const;
	template <class Acceptable>
	Status choose_fitting(const dsvm_vma_info &vma, const dsvm_find_or_insert &request,
			      Acceptable acceptable, VaRange &span) const;
	Status choose_acceptable(dsvm_notifier &window, const dsvm_vma_info &vma,
				 const dsvm_find_or_insert &request, VaRange &span) const;
	Status choose_range(dsvm_notifier &window, const dsvm_vma_info &vma,
			    const dsvm_find_or_insert &request, VaRange &span) const;
	bool is_acceptable(dsvm_notifier &window, VaRange span,
			   const dsvm_find_or_insert &request) const;
	bool all_present(dsvm_notifier &window, VaRange span, void *owner) const;
	template <Get kGet> bool insert_range(dsvm_notifier &window, dsvm_range &range, Room room);
	bool insert_apart(dsvm_notifier &window, dsvm_range &range, u32 wanted, Get get);
	bool insert_beside(dsvm_notifier &window, dsvm_range &range, dsvm_range *before, Get get);
	bool insert_anywhere(dsvm_notifier &window, dsvm_range &range, BlockSpares &spares,
			     Get get);
	void set_inserted(dsvm_notifier &window, dsvm_range &range, Get get);
	// Locking: @lock, which is the svm's.
	void unlink_window(dsvm_notifier &window, BlockSpares &spares, RwLock &lock)
		DSVM_REQUIRES(lock);

	void mark_stale(dsvm_notifier &window, VaRange span, bool stale);
	VaRange widen_to_runs(dsvm_range &range, VaRange span);
	Expected<dsvm_range *> make_tail(dsvm_notifier &window, dsvm_range &range);
	void apply_trim(dsvm_notifier &window, dsvm_range &range, VaRange keep, dsvm_range *tail,
			VaRange tail_span, BlockSpares &spares);
	// Runs @visit(pages, index) for the pages objects behind a range, one for each device.
	template <class Visit> void for_each_pages(dsvm_range &range, Visit visit)
	{
		if (!svm_.ops->range_pages)
			return;

		dsvm_os_dev *dev = nullptr;
		for (u32 i = 0; dsvm_pages *pages = svm_.ops->range_pages(&range, i, &dev); ++i)
			visit(Pages{*pages, dev}, i);
	}

	[[nodiscard]] NotifierIndex window_index() const
	{
		return NotifierIndex{svm_.index, 0, svm_.root};
	}

	dsvm_svm &svm_;
};

inline RangeIndex range_index(dsvm_notifier &window)
{
	return RangeIndex{window.index, window.node.first, window.root};
}

// Locking: the svm's lock; or that the window has a user who stays.
inline void add_user(dsvm_notifier &window)
{
	__atomic_fetch_add(&window.users, 1, __ATOMIC_RELAXED);
}

// Where no range begins.
constexpr usize kNowhere = ~usize{0};

// Notes the range that was made last, or with a span that begins nowhere that it has gone.
// Locking: the window's lock for writing.
DSVM_ALWAYS_INLINE void set_newest(dsvm_notifier &window, dsvm_range *range, VaRange span)
{
	dsvm_newest &newest = window.newest;

	// Who sees any of the rest sees that it does not begin where the last one did. No fence:
	// KCSAN's compilers know none.
	__atomic_store_n(&newest.first, kNowhere, __ATOMIC_RELAXED);
	__atomic_store_n(&newest.range, range, __ATOMIC_RELEASE);
	__atomic_store_n(&newest.last, span.last, __ATOMIC_RELEASE);
	__atomic_store_n(&newest.first, span.first, __ATOMIC_RELEASE);
}

// The range that was made last, if it has the span, or nullptr. Without a lock: the caller keeps the
// range that has the span, so no other one has begun there since.
inline dsvm_range *newest_with(const dsvm_notifier &window, VaRange span)
{
	const dsvm_newest &newest = window.newest;
	dsvm_range *const range = __atomic_load_n(&newest.range, __ATOMIC_ACQUIRE);
	const usize last = __atomic_load_n(&newest.last, __ATOMIC_ACQUIRE);
	const usize first = __atomic_load_n(&newest.first, __ATOMIC_RELAXED);

	return first == span.first && last == span.last ? range : nullptr;
}

// Nothing of the range has gone.
inline void clear_gone(dsvm_range &range)
{
	range.gone_first = 1;
	range.gone_last = 0;
}

// Puts an object into an index and into the list beside it.
template <class Index, class Items, class T>
void insert_sorted(Index index, Items list, T &item, BlockSpares &spares)
{
	if (T *const before = index.insert(item, spares))
		list.insert_after(*before, item);
	else
		list.push_front(item);
}

// The next object of a list in order, if it overlaps the span, or nullptr.
template <class Items, class T> T *next_overlap(Items list, T &item, VaRange span)
{
	T *const next = list.next(item);

	return next && next->node.first <= span.last ? next : nullptr;
}

// The first range of the window that overlaps the span, or nullptr.
// Locking: the driver's lock or the window's.
inline dsvm_range *find_range(dsvm_notifier &window, const VaRange &span)
{
	return range_index(window).first_overlap(span);
}

} // namespace dsvm

#endif // DSVM_CORE_SVM_SPACE_H
