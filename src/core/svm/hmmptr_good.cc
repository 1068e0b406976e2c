// SPDX-License-Identifier: GPL-2.0-only OR MIT
//
// What invalidations take from hmmptrs, and how that is made good.
//
//	invalidation	takes whole pieces; those that are wanted are unbound, their hmmptr is listed
//	revalidation	takes the list, and of each hmmptr what is unbound: populates, maps, has it
//			bound. What cannot be had as a whole is halved, and what cannot be had at
//			all is given up
//
// What comes in between is unbound again, and its hmmptr goes back to the list.
#include "core/svm/hmmptr.h"

#include "core/svm/counters.h"

namespace dsvm {

// Invalidations -----------------------------------------------------------------

// It has lost something that it wants.
void Hmmptr::enlist()
{
	if (hmmptr_.place == DSVM_HMMPTR_REPIN)
		hmmptr_.again = true;
	if (hmmptr_.place != DSVM_HMMPTR_CLEAN)
		return;
	hmmptr_.place = DSVM_HMMPTR_INVALIDATED;
	HmmptrList{set_.invalidated}.push_back(hmmptr_);
}

// The first pass. The device loses all of a piece, since its pages go all at once.
bool Hmmptr::begin_event(dsvm_hmmptr_event &event)
{
	const VaRange span{event.core.first, event.core.last};
	bool wanted = false;

	lock_.assert_held_write();
	event.first = 1;
	event.last = 0;
	for (dsvm_piece *piece = find(span); piece; piece = after(*piece, span)) {
		if (!has_mapping(*piece))
			continue;
		if (event.first > event.last)
			event.first = piece->range.node.first;
		event.last = piece->range.node.last;
		piece->unbound |= piece->wanted;
		wanted |= piece->wanted;
	}
	if (event.first > event.last)
		return false;
	if (wanted)
		enlist();
	return set_.ops->invalidate_start(&hmmptr_, event.first, event.last);
}

void Hmmptr::end_event(dsvm_hmmptr_event &event)
{
	if (event.first > event.last)
		return;

	const VaRange span{event.first, event.last};
	set_.ops->invalidate_finish(&hmmptr_, span.first, span.last);
	for (dsvm_piece *piece = find(span); piece; piece = after(*piece, span))
		as_pages(*piece, hmmptr_).unmap(extent(*piece).page_count());
}

dsvm_invalidated Hmmptr::invalidate(dsvm_hmmptr_event &event)
{
	event.core.arg = &event;
	event.core.start = [](void *arg) -> dsvm_bool {
		dsvm_hmmptr_event &self = *static_cast<dsvm_hmmptr_event *>(arg);
		return Hmmptr{*self.hmmptr}.begin_event(self);
	};
	event.core.finish = [](void *arg) {
		dsvm_hmmptr_event &self = *static_cast<dsvm_hmmptr_event *>(arg);
		Hmmptr{*self.hmmptr}.end_event(self);
	};
	return Space{event.hmmptr->set->svm}.invalidate(event.hmmptr->window, event.core);
}

void Hmmptr::finish_invalidation(dsvm_hmmptr_event &event)
{
	Space{event.hmmptr->set->svm}.finish_invalidation(event.hmmptr->window, event.core);
}

// Takes from the device what it has of the span; unless it is still wanted, for good.
void Hmmptr::take_away(VaRange span, bool still_wanted)
{
	dsvm_hmmptr_event event{};

	event.core.first = span.first;
	event.core.last = span.last;
	event.hmmptr = &hmmptr_;
	WriteGuard guard{lock_};
	for (dsvm_piece *piece = find(span); piece && !still_wanted; piece = after(*piece, span))
		piece->wanted = piece->wanted_write = piece->unbound = false;
	begin_event(event);
	end_event(event);
}

// As if an invalidation came: what was collected does not count any more.
void Hmmptr::inject(VaRange span)
{
	if (check(span).is_error())
		return;
	count(set_.injected);
	for (dsvm_piece *piece = find(span); piece; piece = after(*piece, span))
		piece->state &= ~DSVM_PIECE_POPULATED;
	take_away(span, true);
}

// Making good -------------------------------------------------------------------

bool Hmmptr::is_unbound(const dsvm_piece &piece)
{
	ReadGuard guard{lock_};
	return piece.wanted && piece.unbound;
}

// There is nothing to be had, and it is not for us to say what that means. Should somebody map it
// again it is still unbound for all others.
void Hmmptr::give_up(dsvm_piece &piece)
{
	const VaRange span = extent(piece);

	take_away(span, false);
	as_pages(piece, hmmptr_).free(span.page_count());
	depopulate(piece);
	count(set_.lost);
	WriteGuard guard{lock_};
	piece.unbound = true;
}

// The first VMA of a span, if there is one.
bool Hmmptr::first_vma(VaRange span, dsvm_vma_info &vma)
{
	MmUser user{hmmptr_.mm};
	if (!user.is_alive())
		return false;

	MmReadGuard guard{hmmptr_.mm};
	return dsvm_os_vma_first(hmmptr_.mm, span.first, span.last, &vma);
}

// Of a piece that cannot be had as a whole some part may: it becomes smaller, or less is wanted of
// it, and it has to be tried again. kNotFound: it was given up.
Status Hmmptr::make_less(dsvm_piece &piece, Status why)
{
	const VaRange span = extent(piece);
	const usize npages = span.page_count();
	dsvm_vma_info vma;

	if (!first_vma(span, vma)) {
		give_up(piece);
		return kNotFound;
	}
	// Memory of one kind in one piece.
	if (vma.first > span.first)
		return split(piece, vma.first);
	if (vma.last < span.last)
		return split(piece, vma.last + 1);
	// It was made read-only: whoever reads is to have it, and whoever writes faults.
	if (why == kPermission && (piece.wanted_write || piece.access == DSVM_ACCESS_WRITE)) {
		piece.wanted_write = false;
		piece.access = DSVM_ACCESS_READ;
		return Status::ok();
	}
	if (npages == 1) {
		give_up(piece);
		return kNotFound;
	}
	return split(piece, span.first + ((npages / 2) << DSVM_PAGE_SHIFT));
}

// Has the driver write entries. An invalidation that comes meanwhile has the last word.
Status Hmmptr::bind(dsvm_piece &piece)
{
	{
		WriteGuard guard{lock_};
		piece.unbound = false;
	}
	const VaRange span = extent(piece);
	const Status status{set_.ops->rebind(&hmmptr_, span.first, span.last)};
	if (status.is_error()) {
		WriteGuard guard{lock_};
		piece.unbound = true;
		enlist();
	}
	return status;
}

Status Hmmptr::make_good(dsvm_piece &piece, const Deadline &deadline)
{
	for (;;) {
		Status status = populate_piece(
			piece, piece.wanted_write ? DSVM_ACCESS_WRITE : piece.access, deadline);
		if (status.is_ok())
			status = map_piece(piece);
		if (is_lost(status)) {
			DSVM_TRY(make_less(piece, status));
			continue;
		}
		if (status.is_ok())
			status = bind(piece);
		if (status != kAgain)
			return status;
		DSVM_TRY(deadline.next_attempt());
	}
}

Status Hmmptr::make_good(const Deadline &deadline)
{
	const VaRange span = span_of(hmmptr_.window.node);
	VaRange rest = span;
	bool is_first = true;

	while (dsvm_piece *piece = find(rest)) {
		rest.first = piece->range.node.first;
		if (is_unbound(*piece)) {
			// One at least: so all of it comes to an end, call by call.
			if (!exchange(is_first, false))
				DSVM_TRY(deadline.next_step());
			const Status status = make_good(*piece, deadline);
			if (status.is_error() && status != kNotFound)
				return status;
		}
		if (piece->range.node.last >= span.last)
			return Status::ok();
		rest.first = piece->range.node.last + 1;
	}
	return Status::ok();
}

namespace {

// The next one to be made good, with a reference; it stays on its list.
dsvm_hmmptr *next_to_repin(dsvm_hmmptr_set &set, RwLock &lock)
{
	WriteGuard guard{lock};
	HmmptrList repin{set.repin};
	HmmptrList invalidated{set.invalidated};

	if (repin.empty()) {
		while (dsvm_hmmptr *hmmptr = invalidated.pop_front()) {
			hmmptr->place = DSVM_HMMPTR_REPIN;
			repin.push_back(*hmmptr);
		}
	}
	while (dsvm_hmmptr *hmmptr = repin.first()) {
		if (set.ops->get(hmmptr))
			return hmmptr;
		// It is about to be released.
		repin.remove(*hmmptr);
		hmmptr->place = DSVM_HMMPTR_CLEAN;
	}
	return nullptr;
}

// It has been dealt with: it was made good, unless that was for nothing meanwhile, or it is to be
// tried again after all the others.
void strike(dsvm_hmmptr_set &set, RwLock &lock, dsvm_hmmptr &hmmptr, bool is_good)
{
	WriteGuard guard{lock};

	// Released meanwhile.
	if (hmmptr.place != DSVM_HMMPTR_REPIN)
		return;
	link_remove(hmmptr.entry);
	if (!is_good) {
		HmmptrList{set.repin}.push_back(hmmptr);
	} else if (exchange(hmmptr.again, false)) {
		hmmptr.place = DSVM_HMMPTR_INVALIDATED;
		HmmptrList{set.invalidated}.push_back(hmmptr);
	} else {
		hmmptr.place = DSVM_HMMPTR_CLEAN;
	}
}

Status make_good(dsvm_hmmptr_set &set, dsvm_hmmptr &hmmptr, const Deadline &deadline)
{
	DSVM_TRY(Status{set.ops->lock(&hmmptr)});
	const Status status = hmmptr.released ? Status::ok() : Hmmptr{hmmptr}.make_good(deadline);
	set.ops->unlock(&hmmptr);
	return status;
}

} // namespace

Status revalidate(dsvm_hmmptr_set &set)
{
	const Deadline deadline{DSVM_GET_PAGES_BUDGET_NS};
	RwLock lock{set.svm.lock};

	for (bool is_first = true;; is_first = false) {
		dsvm_hmmptr *const hmmptr = next_to_repin(set, lock);
		if (!hmmptr)
			return Status::ok();
		Status status = is_first ? Status::ok() : deadline.next_step();
		if (status.is_ok()) {
			status = make_good(set, *hmmptr, deadline);
			strike(set, lock, *hmmptr, status.is_ok());
		}
		set.ops->put(hmmptr);
		DSVM_TRY(status);
	}
}

} // namespace dsvm
