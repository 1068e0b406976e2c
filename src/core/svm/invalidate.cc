// SPDX-License-Identifier: GPL-2.0-only OR MIT
//
// What the CPU takes away: invalidations, and ranges of which a part was unmapped.
//
// Two passes, where the kernel has them, so that all devices flush at the same time:
//
//	pass 1	lock; sequences; start(): zap, begin to flush; STALE; unlock
//	pass 2	lock; finish(): wait for all flushes, unmap; not STALE any more; unlock
//
// Between them the pages are still mapped for the device, which may still use them through its
// TLB, so nobody may unmap them, and nobody may write page-table entries for them. A second
// event that meets the same pages finds nothing to zap and yet has to wait for the same flush;
// thus whatever comes while something in the window is unfinished has a second pass as well.
#include "core/svm/space.h"

#include "core/base/bits.h"
#include "core/base/guard.h"
#include "core/svm/counters.h"
#include "core/svm/flags.h"
#include "core/svm/pages.h"

namespace dsvm {

namespace {

bool is_empty(VaRange span)
{
	return span.first > span.last;
}

VaRange gone_of(const dsvm_range &range)
{
	return VaRange{range.gone_first, range.gone_last};
}

// What is left of a range: up to two pieces, of which either may be empty.
struct Left {
	explicit Left(const dsvm_range &range)
	{
		const VaRange span = span_of(range.node);
		const VaRange gone = gone_of(range);

		if (is_empty(gone)) {
			head = span;
			return;
		}
		if (gone.first > span.first)
			head = VaRange{span.first, gone.first - 1};
		if (gone.last < span.last)
			tail = VaRange{gone.last + 1, span.last};
	}

	bool nothing() const { return is_empty(head) && is_empty(tail); }
	bool both() const { return !is_empty(head) && !is_empty(tail); }

	VaRange head{1, 0};
	VaRange tail{1, 0};
};

} // namespace

// Invalidations ---------------------------------------------------------------

void Space::mark_stale(dsvm_notifier &window, VaRange span, bool stale)
{
	RangeList ranges{window.range_list};

	dsvm_os_assert_held_write(window.lock);
	for (dsvm_range *range = find_range(window, span); range;
	     range = next_overlap(ranges, *range, span))
		for_each_pages(*range, [&](Pages pages, u32) { pages.set_stale(stale); });
}

DSVM_UNIT_INLINE dsvm_invalidated Space::invalidate(dsvm_notifier &window,
						    const dsvm_invalidation &event)
{
	// The driver waits for the GPU; only the OOM reaper cannot, and it comes back.
	if (!event.blockable)
		return DSVM_REFUSED;

	const VaRange span{event.first, event.last};
	RwLock lock{window.lock};
	WriteGuard guard{lock};
	RangeList ranges{window.range_list};
	u64 met = 0;

	dsvm_os_notifier_set_seq(window.os, event.seq);
	for (dsvm_range *range = find_range(window, span); range;
	     range = next_overlap(ranges, *range, span)) {
		dsvm_os_notifier_set_seq(stand_in_of(svm_, *range), event.seq);
		++met;
	}
	if (met) {
		count(svm_.counters.invalidations);
		count(svm_.counters.ranges_invalidated, met);
	}

	const bool is_flushing = event.start(event.arg);
	if (!event.finish)
		return DSVM_DONE;
	if (!event.deferrable || !met || (!is_flushing && window.unfinished == 0)) {
		event.finish(event.arg);
		return DSVM_DONE;
	}
	mark_stale(window, span, true);
	++window.unfinished;
	return DSVM_UNFINISHED;
}

void Space::finish_invalidation(dsvm_notifier &window, const dsvm_invalidation &event)
{
	RwLock lock{window.lock};
	WriteGuard guard{lock};

	event.finish(event.arg);
	--window.unfinished;
	mark_stale(window, VaRange{event.first, event.last}, false);
}

// Unmappings ------------------------------------------------------------------

void Space::set_unmapped(dsvm_range &range, VaRange gone)
{
	u32 flags = (range.flags & ~u32{DSVM_RANGE_PARTIAL_UNMAP}) | DSVM_RANGE_UNMAPPED;

	// Once all of it has gone, it stays so.
	const bool was_whole =
		(range.flags & DSVM_RANGE_UNMAPPED) && !(range.flags & DSVM_RANGE_PARTIAL_UNMAP);
	if (!was_whole && !gone.contains(span_of(range.node)))
		flags |= DSVM_RANGE_PARTIAL_UNMAP;
	set_flags(range.flags, flags);
}

// What is mapped for a device goes run by run, and what goes for one goes for all.
VaRange Space::widen_to_runs(dsvm_range &range, VaRange span)
{
	const VaRange whole = span_of(range.node);
	VaRange wide = span;

	// Runs are naturally aligned, so of two that overlap one contains the other; it may be the
	// one that was looked at first, but once it has been added nothing reaches beyond it.
	for (;;) {
		const VaRange before = wide;
		for_each_pages(range, [&](Pages pages, u32) { wide = pages.widen(whole, wide); });
		if (wide == before)
			return wide;
	}
}

VaRange Space::set_gone(dsvm_range &range, VaRange gone)
{
	const VaRange whole = span_of(range.node);
	VaRange hull{max(gone.first, whole.first), min(gone.last, whole.last)};

	if (const VaRange before = gone_of(range); !is_empty(before)) {
		hull.first = min(hull.first, before.first);
		hull.last = max(hull.last, before.last);
	}
	hull = widen_to_runs(range, hull);
	range.gone_first = hull.first;
	range.gone_last = hull.last;
	set_unmapped(range, hull);
	for_each_pages(range, [](Pages pages, u32) { pages.set_unmapped(); });
	return hull;
}

void Space::unmap_gone(dsvm_range &range)
{
	const VaRange whole = span_of(range.node);
	const VaRange gone = gone_of(range);

	if (!is_empty(gone))
		for_each_pages(range, [&](Pages pages, u32) { pages.unmap_part(whole, gone); });
}

// The second range for a range that is left in two pieces; nullptr where it is not.
Expected<dsvm_range *> Space::make_tail(dsvm_notifier &window, dsvm_range &range)
{
	VaRange span{1, 0};
	u16 flags = 0;
	{
		RwLock lock{window.lock};
		ReadGuard guard{lock};
		flags = range.flags & DSVM_RANGE_MIGRATE_DEVMEM;
		if (const Left left{range}; left.both())
			span = left.tail;
	}
	dsvm_range *tail = nullptr;
	if (is_empty(span))
		return tail;

	tail = svm_.ops->range_create(&svm_, &window, span.first, span.last, flags);
	if (!tail)
		return kNoMemory;
	clear_gone(*tail);
	return tail;
}

// Locking: the window's lock for writing.
void Space::apply_trim(dsvm_notifier &window, dsvm_range &range, VaRange keep, dsvm_range *tail,
		       VaRange tail_span, BlockSpares &spares)
{
	const VaRange whole = span_of(range.node);
	RangeIndex index = range_index(window);
	dsvm_os_dev *dev = nullptr;

	dsvm_os_assert_held_write(window.lock);
	for_each_pages(range, [&](Pages pages, u32 i) {
		pages.split(whole, keep, tail ? svm_.ops->range_pages(tail, i, &dev) : nullptr,
			    tail_span);
	});

	// Within its old ends nothing else lies, so its place in the list stays.
	index.remove(range, spares);
	range.node.first = keep.first;
	range.node.last = keep.last;
	index.insert(range, spares);
	clear_gone(range);
	set_flags(range.flags, range.flags & ~u32{DSVM_RANGE_UNMAPPED | DSVM_RANGE_PARTIAL_UNMAP});

	if (tail) {
		tail->node.first = tail_span.first;
		tail->node.last = tail_span.last;
		dsvm_os_notifier_copy_seq(stand_in_of(svm_, *tail), stand_in_of(svm_, range));
		insert_sorted(index, RangeList{window.range_list}, *tail, spares);
		// Its place among the users; this range is one, so they are not at zero.
		add_user(window);
	}
	if (svm_.ops->range_split)
		svm_.ops->range_split(&range, tail);
}

Expected<bool> Space::trim(dsvm_notifier &window, dsvm_range &range)
{
	dsvm_range *tail = DSVM_TRY(make_tail(window, range));
	auto put = on_exit([&] {
		if (tail)
			svm_.ops->range_put(&svm_, tail);
	});

	// Without tables: two pieces may crowd their block, until somebody comes between them.
	BlockSpares spares;
	RwLock lock{window.lock};
	WriteGuard guard{lock};
	if (window.unfinished)
		return kAgain;
	// More may have gone meanwhile, of the middle or up to an end.
	const Left left{range};
	if (left.nothing())
		return false;
	// Nothing has gone, or in mainline's way, which leaves nothing.
	if (is_empty(gone_of(range)))
		return !(range.flags & DSVM_RANGE_UNMAPPED);
	if (left.both() && !tail)
		return kAgain;

	if (left.both()) {
		apply_trim(window, range, left.head, tail, left.tail, spares);
		tail = nullptr;
		count(svm_.counters.ranges_split);
		count(svm_.counters.ranges_made);
	} else {
		apply_trim(window, range, is_empty(left.head) ? left.tail : left.head, nullptr,
			   VaRange{1, 0}, spares);
		count(svm_.counters.ranges_trimmed);
	}
	return true;
}

} // namespace dsvm
