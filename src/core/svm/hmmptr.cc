// SPDX-License-Identifier: GPL-2.0-only OR MIT
#include "core/svm/hmmptr.h"

#include "core/base/bits.h"
#include "core/base/guard.h"
#include "core/base/once.h"
#include "core/svm/counters.h"
#include "core/svm/space.h"

namespace dsvm {

// Pieces ----------------------------------------------------------------------

Status Hmmptr::check(VaRange span) const
{
	if (!span.is_well_formed() || !span.is_page_aligned() ||
	    !span_of(hmmptr_.window.node).contains(span))
		return kInvalid;
	return hmmptr_.released ? kNoDevice : Status::ok();
}

// The first piece that overlaps the span. Locking: the hmmptr's lock, or the notifier lock.
dsvm_piece *Hmmptr::find(VaRange span)
{
	return to_piece(find_range(hmmptr_.window, span));
}

// The next one. As above.
dsvm_piece *Hmmptr::after(dsvm_piece &piece, VaRange span)
{
	return to_piece(next_overlap(RangeList{hmmptr_.window.range_list}, piece.range, span));
}

// A piece at an address where none is, up to the next one, the end of the block, or @last.
Expected<dsvm_piece *> Hmmptr::make_piece(u64 addr, u64 last)
{
	u64 end = min(last, aligned_block(addr, set_.piece_size).last);
	if (const dsvm_piece *next = find(VaRange{addr, end}))
		end = next->range.node.first - 1;

	dsvm_range *const range =
		set_.svm.ops->range_create(&set_.svm, &hmmptr_.window, addr, end, 0);
	if (!range)
		return kNoMemory;
	clear_gone(*range);
	dsvm_piece &piece = *to_piece(range);
	piece.state = DSVM_PIECE_FRESH;
	BlockSpares none;
	{
		WriteGuard guard{lock_};
		dsvm_os_notifier_copy_seq(stand_in_of(set_.svm, *range), hmmptr_.window.os);
		insert_sorted(range_index(hmmptr_.window), RangeList{hmmptr_.window.range_list},
			      *range, none);
	}
	hmmptr_.populated += extent(piece).size();
	return &piece;
}

// The device does not use it.
void Hmmptr::drop_piece(dsvm_piece &piece)
{
	const VaRange span = extent(piece);

	// As long as it is mapped, invalidations have to find it.
	as_pages(piece, hmmptr_).free(span.page_count());
	BlockSpares none;
	{
		WriteGuard guard{lock_};
		range_index(hmmptr_.window).remove(piece.range, none);
		RangeList{hmmptr_.window.range_list}.remove(piece.range);
	}
	hmmptr_.populated -= span.size();
	dsvm_os_free(piece.entries);
	set_.svm.ops->range_put(&set_.svm, &piece.range);
}

// What was populated is not any more.
void Hmmptr::depopulate(dsvm_piece &piece)
{
	dsvm_os_free(exchange(piece.entries, nullptr));
	piece.state &= ~(DSVM_PIECE_POPULATED | DSVM_PIECE_MARKED);
}

// Makes two of a piece, the second one from @addr on. Neither is mapped or populated then; what is
// wanted is to be made good.
Status Hmmptr::split(dsvm_piece &piece, u64 addr)
{
	const VaRange whole = extent(piece);
	dsvm_range *const range =
		set_.svm.ops->range_create(&set_.svm, &hmmptr_.window, addr, whole.last, 0);
	if (!range)
		return kNoMemory;
	clear_gone(*range);
	dsvm_piece &tail = *to_piece(range);

	take_away(whole, true);
	as_pages(piece, hmmptr_).free(whole.page_count());
	depopulate(piece);
	tail.state = piece.state;
	tail.access = piece.access;
	tail.wanted_write = piece.wanted_write;

	BlockSpares none;
	WriteGuard guard{lock_};
	RangeIndex pieces = range_index(hmmptr_.window);
	pieces.remove(piece.range, none);
	piece.range.node.last = addr - 1;
	pieces.insert(piece.range, none);
	dsvm_os_notifier_copy_seq(stand_in_of(set_.svm, *range),
				  stand_in_of(set_.svm, piece.range));
	insert_sorted(pieces, RangeList{hmmptr_.window.range_list}, *range, none);
	tail.wanted = piece.wanted;
	tail.unbound = piece.unbound;
	return Status::ok();
}

// Gives a piece the ends of what it has in common with the span.
Status Hmmptr::carve(dsvm_piece *&piece, VaRange span)
{
	const VaRange whole = extent(*piece);

	if (span.last < whole.last)
		DSVM_TRY(split(*piece, span.last + 1));
	if (span.first > whole.first) {
		DSVM_TRY(split(*piece, span.first));
		piece = find(span);
	}
	return Status::ok();
}

// The end of a call that has made pieces: they stay, or go.
void Hmmptr::drop_fresh(VaRange span, bool keep)
{
	for (dsvm_piece *piece = find(span); piece;) {
		dsvm_piece *const next = after(*piece, span);

		if ((piece->state & DSVM_PIECE_FRESH) && !keep)
			drop_piece(*piece);
		else
			piece->state &= ~DSVM_PIECE_FRESH;
		piece = next;
	}
}

// Life ------------------------------------------------------------------------

Status Hmmptr::init()
{
	const VaRange span = span_of(hmmptr_.window.node);

	if (!span.is_well_formed() || !span.is_page_aligned())
		return kInvalid;
	link_init(hmmptr_.window.range_list);
	link_init(hmmptr_.window.entry);
	link_init(hmmptr_.entry);
	hmmptr_.window.root = dsvm_tree_root{};
	hmmptr_.window.index = dsvm_index{};
	hmmptr_.window.removed = 0;
	hmmptr_.window.users = 1;
	hmmptr_.window.unfinished = 0;
	hmmptr_.window.lock = set_.svm.lock;
	hmmptr_.released = false;
	hmmptr_.again = false;
	hmmptr_.place = DSVM_HMMPTR_CLEAN;
	hmmptr_.populated = 0;
	return Status::ok();
}

void Hmmptr::release()
{
	const VaRange span = span_of(hmmptr_.window.node);

	if (!DSVM_VERIFY(!hmmptr_.released))
		return;
	hmmptr_.released = true;

	// As an invalidation would do it, and nothing is mapped any more after that. Without a
	// notifier nobody would tell us of pages that go while they are still mapped; and before it
	// has gone, nothing may go that it looks at.
	take_away(span, false);
	dsvm_os_notifier_remove(hmmptr_.window.os);
	hmmptr_.window.removed = 1;
	{
		WriteGuard guard{lock_};
		link_remove(hmmptr_.entry);
		hmmptr_.place = DSVM_HMMPTR_CLEAN;
	}
	while (dsvm_piece *piece = find(span)) {
		drop_piece(*piece);
		dsvm_os_resched();
	}
}

// Populating ------------------------------------------------------------------

dsvm_get_pages Hmmptr::request_for(const dsvm_piece &piece, dsvm_access access) const
{
	dsvm_get_pages request{};

	request.svm = &set_.svm;
	request.window = &hmmptr_.window;
	request.range = const_cast<dsvm_range *>(&piece.range);
	request.notifier = hmmptr_.window.os;
	request.mm = hmmptr_.mm;
	request.dev = hmmptr_.dev;
	request.first = piece.range.node.first;
	request.last = piece.range.node.last;
	request.owner = hmmptr_.owner;
	request.access = access;
	request.marks = piece.state & DSVM_PIECE_MARKED ? DSVM_MARK_NONE : DSVM_MARK_USED;
	request.allow_mixed = true;
	return request;
}

// Whether what is known of a piece is true, and enough.
bool Hmmptr::is_populated(dsvm_piece &piece, dsvm_access access)
{
	if (!(piece.state & DSVM_PIECE_POPULATED))
		return false;

	ReadGuard guard{lock_};
	if (dsvm_os_notifier_read_retry(stand_in_of(set_.svm, piece.range), piece.seq))
		return false;
	// All of it was writable, though nobody had asked for that.
	if (access == DSVM_ACCESS_WRITE && are_valid(piece.pages) &&
	    (piece.pages.flags & DSVM_PAGES_WRITABLE))
		piece.access = DSVM_ACCESS_WRITE;
	return access != DSVM_ACCESS_WRITE || piece.access == DSVM_ACCESS_WRITE;
}

// Collects pages for a piece, or for a part of it.
Status Hmmptr::collect(dsvm_piece &piece, VaRange span, dsvm_access access,
		       const Deadline &deadline, HmmEntries &entries, usize &seq)
{
	DSVM_TRY(entries.allocate(span.page_count()));
	dsvm_get_pages request = request_for(piece, access);
	request.first = span.first;
	request.last = span.last;
	return as_pages(piece, hmmptr_).populate(request, entries.data(), deadline, seq);
}

// All of a piece has been collected.
static void set_populated(dsvm_piece &piece, HmmEntries &entries, usize seq, dsvm_access access)
{
	entries.swap_with(piece.entries);
	piece.seq = seq;
	piece.access = access;
	piece.state = (piece.state | DSVM_PIECE_POPULATED) & ~DSVM_PIECE_MARKED;
}

Status Hmmptr::populate_piece(dsvm_piece &piece, dsvm_access access, const Deadline &deadline)
{
	if (is_populated(piece, access))
		return Status::ok();

	// Never into what there is: it stays if this fails.
	HmmEntries entries;
	usize seq = 0;
	DSVM_TRY(collect(piece, extent(piece), access, deadline, entries, seq));
	set_populated(piece, entries, seq, access);
	return Status::ok();
}

// What a piece has beyond the span may be what cannot be had.
Status Hmmptr::populate_within(dsvm_piece *&piece, VaRange span, dsvm_access access,
			       const Deadline &deadline)
{
	const VaRange whole = extent(*piece);
	const Status status = populate_piece(*piece, access, deadline);

	if (!is_lost(status) || span.contains(whole))
		return status;
	// Others may use the rest: it is left alone if this is of no use.
	HmmEntries entries;
	usize seq = 0;
	DSVM_TRY(collect(*piece, VaRange{max(span.first, whole.first), min(span.last, whole.last)},
			 access, deadline, entries, seq));
	DSVM_TRY(carve(piece, span));
	set_populated(*piece, entries, seq, access);
	return Status::ok();
}

Status Hmmptr::populate_gaps(VaRange span, dsvm_access access)
{
	for (u64 addr = span.first;;) {
		// Of each piece, and for tries that fail: a large span may take its time.
		const Deadline deadline{DSVM_GET_PAGES_BUDGET_NS};
		dsvm_piece *piece = find(VaRange{addr, addr});
		if (!piece)
			piece = DSVM_TRY(make_piece(addr, span.last));
		DSVM_TRY(populate_within(piece, span, access, deadline));

		const u64 last = piece->range.node.last;
		if (last >= span.last)
			return Status::ok();
		addr = last + 1;
		if (dsvm_os_killed())
			return kInterrupted;
		dsvm_os_resched();
	}
}

// Leaves fresh pieces to the caller.
Status Hmmptr::populate_span(VaRange span, dsvm_access access)
{
	if (hmmptr_.read_only) {
		if (access == DSVM_ACCESS_WRITE)
			return kPermission;
		access = DSVM_ACCESS_READ_ONLY;
	}
	return populate_gaps(span, access);
}

Status Hmmptr::populate(VaRange span, dsvm_access access)
{
	DSVM_TRY(check(span));
	const Status status = populate_span(span, access);
	drop_fresh(span, status.is_ok());
	return status;
}

// Mapping ---------------------------------------------------------------------

// Whether it is mapped for what it was populated for.
bool Hmmptr::is_mapped(const dsvm_piece &piece)
{
	ReadGuard guard{lock_};

	return are_valid(piece.pages) &&
	       (piece.access != DSVM_ACCESS_WRITE || (piece.pages.flags & DSVM_PAGES_WRITABLE));
}

Status Hmmptr::map_piece(dsvm_piece &piece)
{
	if (is_mapped(piece))
		return Status::ok();
	// What there may be is for reading, and the device must not use it while something else
	// takes its place.
	if (has_mapping(piece))
		take_away(extent(piece), true);
	if (set_.inject_every != 0 &&
	    __atomic_add_fetch(&set_.inject_count, 1, __ATOMIC_RELAXED) % set_.inject_every == 0)
		inject(extent(piece));
	if (!(piece.state & DSVM_PIECE_POPULATED))
		return kAgain;

	const dsvm_get_pages request = request_for(piece, piece.access);
	DSVM_TRY(as_pages(piece, hmmptr_).map(request, piece.entries, piece.seq));
	piece.state |= DSVM_PIECE_MARKED;
	return Status::ok();
}

Status Hmmptr::map_pieces(VaRange span)
{
	for (u64 addr = span.first;;) {
		dsvm_piece *const piece = find(VaRange{addr, addr});
		if (!piece)
			return kAgain;
		DSVM_TRY(map_piece(*piece));
		if (piece->range.node.last >= span.last)
			return Status::ok();
		addr = piece->range.node.last + 1;
		dsvm_os_resched();
	}
}

// From here on what an invalidation takes of the span is to be made good. False: it has already.
bool Hmmptr::claim(VaRange span)
{
	WriteGuard guard{lock_};

	if (!is_valid(span))
		return false;
	for (dsvm_piece *piece = find(span); piece; piece = after(*piece, span)) {
		piece->wanted = true;
		piece->wanted_write |= piece->access == DSVM_ACCESS_WRITE;
		// It had been given up: whoever lost it then is to have it again.
		if (piece->unbound)
			enlist();
	}
	return true;
}

// What a call has mapped that failed.
void Hmmptr::unmap_unwanted(VaRange span)
{
	for (dsvm_piece *piece = find(span); piece; piece = after(*piece, span)) {
		if (piece->wanted || !has_mapping(*piece))
			continue;
		// Who has written entries for what was valid meanwhile loses them first.
		take_away(extent(*piece), true);
		as_pages(*piece, hmmptr_).free(extent(*piece).page_count());
	}
}

// Leaves what it has mapped to the caller, if it fails.
Status Hmmptr::map_and_claim(VaRange span)
{
	DSVM_TRY(map_pieces(span));
	return claim(span) ? Status::ok() : kAgain;
}

Status Hmmptr::map(VaRange span)
{
	DSVM_TRY(check(span));
	const Status status = map_and_claim(span);
	if (status.is_error())
		unmap_unwanted(span);
	return status;
}

// One attempt. What it has made and mapped stays for the next one.
Status Hmmptr::make_present(VaRange span, dsvm_access access)
{
	DSVM_TRY(populate_span(span, access));
	return map_and_claim(span);
}

// What is mapped stays so while another piece is tried again: a large span is had also where
// something in it is always on the move.
Status Hmmptr::get_pages(VaRange span, dsvm_access access)
{
	DSVM_TRY(check(span));
	Status status = make_present(span, access);

	// However long that took: what has been taken meanwhile is less.
	const Deadline deadline{DSVM_GET_PAGES_BUDGET_NS};
	while (status == kAgain) {
		status = deadline.next_attempt();
		if (status.is_ok())
			status = make_present(span, access);
	}
	if (status.is_error())
		unmap_unwanted(span);
	drop_fresh(span, status.is_ok());
	return status;
}

void Hmmptr::unmap(VaRange span, bool forget)
{
	for (dsvm_piece *piece = find(span); piece;) {
		dsvm_piece *const next = after(*piece, span);

		if (span.contains(extent(*piece))) {
			take_away(extent(*piece), false);
			if (forget)
				drop_piece(*piece);
			else
				as_pages(*piece, hmmptr_).free(extent(*piece).page_count());
			dsvm_os_resched();
		}
		piece = next;
	}
}

// What is mapped ----------------------------------------------------------------

bool Hmmptr::is_valid(VaRange span)
{
	for (u64 addr = span.first;;) {
		const dsvm_piece *piece = find(VaRange{addr, addr});

		if (!piece || !are_valid(piece->pages))
			return false;
		if (piece->range.node.last >= span.last)
			return true;
		addr = piece->range.node.last + 1;
	}
}

bool Hmmptr::next(VaRange span, dsvm_hmmptr_cursor &cursor)
{
	u64 addr = span.first;

	if (cursor.addr) {
		const u64 last = cursor.first + ((cursor.npages << DSVM_PAGE_SHIFT) - 1);
		if (last >= span.last)
			return false;
		addr = last + 1;
		++cursor.addr;
	}
	if (!cursor.piece || addr > cursor.piece->range.node.last) {
		dsvm_piece *piece = find(VaRange{addr, span.last});
		while (piece && !are_valid(piece->pages))
			piece = after(*piece, VaRange{addr, span.last});
		if (!piece)
			return false;
		cursor.piece = piece;
		cursor.first = piece->range.node.first;
		cursor.addr = piece->pages.dma_addr;
	} else {
		cursor.first = addr;
	}
	for (;; ++cursor.addr) {
		cursor.npages = usize{1} << cursor.addr->order;
		if (cursor.first + ((cursor.npages << DSVM_PAGE_SHIFT) - 1) >= addr)
			return true;
		cursor.first += cursor.npages << DSVM_PAGE_SHIFT;
	}
}

} // namespace dsvm
