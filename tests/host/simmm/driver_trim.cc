// SPDX-License-Identifier: GPL-2.0-only OR MIT
//
// Ranges of which the CPU has unmapped a part: dsvm_svm_range_set_gone() and _trim(), and what
// they promise. Pages that are left and whose runs are not cut stay mapped for the device and
// for the GPU, until something else takes them.

#include "tests/host/simmm/driver_impl.h"

namespace dsvm::sim {

struct Span {
	usize first;
	usize last;

	bool contains(usize addr) const { return first <= addr && addr <= last; }
};

// A range as it was before. Locking: the window's.
struct TrimmedRange {
	explicit TrimmedRange(const Range &range);

	const usize first;
	const usize last;
	const u32 passes;
	const Span gone;
	const bool mapped;
	const u32 entries;
};

namespace {

// What of a range has gone once the event is over: nobody uses what is between two pieces.
Span hull_of(const Range &range, const EventRange &event)
{
	Span hull{event.first > range.first() ? event.first : range.first(),
		  event.last < range.last() ? event.last : range.last()};

	if (range.core.gone_first > range.core.gone_last)
		return hull;
	hull.first = range.core.gone_first < hull.first ? range.core.gone_first : hull.first;
	hull.last = range.core.gone_last > hull.last ? range.core.gone_last : hull.last;
	return hull;
}

// The same, with all of the runs that it cuts, as far as they are mapped.
Span widened(const Range &range, const Span &hull)
{
	const dsvm_dma_addr *addr = range.pages.dma_addr;
	Span wide = hull;

	if ((range.pages.flags & DSVM_PAGES_DMA_MAPPED) == 0)
		return wide;
	for (usize at = range.first(); at <= range.last() && at != 0; addr++) {
		const Span run{at, at + ((kPageSize << addr->order) - 1)};

		at = run.last + 1;
		if (addr->dir == DSVM_DMA_NONE)
			continue;
		wide.first = run.contains(hull.first) ? run.first : wide.first;
		wide.last = run.contains(hull.last) ? run.last : wide.last;
	}
	return wide;
}

// How many pages of a span the GPU has entries for, but for those in `without`.
u32 count_entries(usize first, usize last, const Span &without)
{
	u32 count = 0;

	for (u32 i = machine().index_of(first); i <= machine().index_of(last); i++)
		count += Gpu::current().entry(i).valid && !without.contains(machine().addr_of(i));
	return count;
}

// One of the pieces that are left.
void check_piece(const TrimmedRange &before, const Range &piece)
{
	if (piece.first() < before.first || piece.last() > before.last ||
	    piece.first() > piece.last() ||
	    (piece.first() <= before.gone.last && before.gone.first <= piece.last()))
		scheduler().fail("a range is trimmed to what it does not have", "[%lu, %lu]",
				 piece.first(), piece.last());
	if ((piece.core.flags & DSVM_RANGE_UNMAPPED) != 0 ||
	    (piece.pages.flags & DSVM_PAGES_UNMAPPED) != 0 ||
	    piece.core.gone_first <= piece.core.gone_last)
		scheduler().fail("a range is not whole after it has been trimmed", "%#x, %#x",
				 piece.core.flags, piece.pages.flags);
	if (((piece.pages.flags & DSVM_PAGES_DMA_MAPPED) != 0) != before.mapped)
		scheduler().fail("what is left of a range is not mapped as it was",
				 "[%lu, %lu]: %#x", piece.first(), piece.last(), piece.pages.flags);
}

} // namespace

TrimmedRange::TrimmedRange(const Range &range)
	: first(range.first()), last(range.last()),
	  passes(range.passes), gone{range.core.gone_first, range.core.gone_last},
	  mapped((range.pages.flags & DSVM_PAGES_DMA_MAPPED) != 0),
	  entries(count_entries(range.first(), range.last(), gone))
{}

// The range has become what is left, one piece or two. Locking: the window's, for writing.
void check_split(const Range &range, const Range *tail)
{
	const TrimmedRange &before = *range.before;
	const Span nothing{1, 0};
	u32 entries = count_entries(range.first(), range.last(), nothing);

	// Somebody else has taken more since.
	if (range.passes != before.passes)
		return;
	check_piece(before, range);
	if (tail != nullptr) {
		check_piece(before, *tail);
		entries += count_entries(tail->first(), tail->last(), nothing);
		if (tail->first() <= range.last())
			scheduler().fail("ranges overlap", "a range and its tail from %lu on",
					 tail->first());
	}
	if (entries != before.entries)
		scheduler().fail("what is left of a range is not mapped for the GPU",
				 "%u pages, %u before", entries, before.entries);
	driver().tally.kept += entries;
}

// As drm_svm_range_set_gone(). Locking: the window's, for writing.
void set_gone(Range &range, const EventRange &event, usize &zap_first, usize &zap_last)
{
	const Span gone = hull_of(range, event);
	const Span wide = widened(range, gone);

	dsvm_svm_range_set_gone(&range.vm->svm, &range.core, event.first, event.last, &zap_first,
				&zap_last);
	if (zap_first != wide.first || zap_last != wide.last)
		scheduler().fail("not what has gone is to be zapped",
				 "[%lu, %lu] has gone, [%lu, %lu] with whole runs: [%lu, %lu]",
				 gone.first, gone.last, wide.first, wide.last, zap_first, zap_last);
}

// As drm_svm_range_trim(). Locking: the lock of ranges.
int trim_range(Vm &vm, Range &range)
{
	Rwsem &guard = range.window->guard();

	scheduler().read_lock(guard);
	const TrimmedRange before{range};
	scheduler().read_unlock(guard);
	range.before = &before;
	const int left = dsvm_svm_range_trim(&vm.svm, &range.window->core, &range.core);
	range.before = nullptr;
	if (left != 1)
		static_cast<void>(expect("dsvm_svm_range_trim", left, DSVM_ENOMEM, DSVM_EAGAIN));
	return left;
}

} // namespace dsvm::sim
