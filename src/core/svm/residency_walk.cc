// SPDX-License-Identifier: GPL-2.0-only OR MIT
#include "core/svm/residency_walk.h"

#include "core/base/bits.h"
#include "core/svm/hmm.h"

namespace dsvm {

namespace {

// Looked at in one go, with the mm's lock held.
constexpr usize kChunkPages = 512;

class Walk {
public:
	Walk(dsvm_os_mm *mm, dsvm_os_notifier *notifier, VaRange span,
	     const dsvm_residency_visitor &visitor)
		: mm_(mm), notifier_(notifier), span_(span), visitor_(visitor)
	{}

	Status run();

private:
	Status step(VaRange rest, u64 &last);
	Status step_through();
	Status look(VaRange part);
	void begin_vma(const dsvm_vma_info &vma);
	void add(usize addr, usize entry);
	void hand_over();

	dsvm_os_mm *const mm_;
	dsvm_os_notifier *const notifier_;
	const VaRange span_;
	const dsvm_residency_visitor &visitor_;
	HmmEntries entries_;
	HmmEntries others_;	   // of one owner after the other
	dsvm_residency_run run_{}; // not handed over yet
	bool wanted_ = true;	   // the visitor has not had enough
};

void Walk::hand_over()
{
	if (run_.npages != 0 && wanted_)
		wanted_ = visitor_.run(visitor_.ctx, &run_);
	run_.npages = 0;
}

void Walk::begin_vma(const dsvm_vma_info &vma)
{
	hand_over();
	if (wanted_)
		wanted_ = visitor_.vma(visitor_.ctx, &vma);
}

void Walk::add(usize addr, usize entry)
{
	dsvm_residency_run page{};
	page.first = addr;
	page.npages = 1;
	page.kind = dsvm_os_hmm_kind(entry);
	if (page.kind != DSVM_PAGE_NONE)
		page.order = dsvm_os_hmm_order(entry);
	if (page.kind == DSVM_PAGE_DEVICE)
		page.pagemap = dsvm_os_hmm_pagemap(entry);

	if (run_.npages != 0 && page.kind == run_.kind && page.pagemap == run_.pagemap &&
	    page.order == run_.order) {
		++run_.npages;
		return;
	}
	hand_over();
	run_ = page;
}

// A look shows the device pages of one owner, and those of any other as nothing.
Status Walk::look(VaRange part)
{
	if (!hmm_look(mm_, notifier_, nullptr, part, entries_.data()))
		return kBusy;
	for (void *owner = dsvm_os_next_owner(nullptr); owner; owner = dsvm_os_next_owner(owner)) {
		if (!hmm_look(mm_, notifier_, owner, part, others_.data()))
			return kBusy;
		for (usize i = 0; i < part.page_count(); ++i) {
			if (dsvm_os_hmm_kind(entries_.data()[i]) == DSVM_PAGE_NONE)
				entries_.data()[i] = others_.data()[i];
		}
	}
	return Status::ok();
}

// What the lowest VMA in @rest maps, up to a chunk. @last: up to where all has been seen.
Status Walk::step(VaRange rest, u64 &last)
{
	MmReadGuard guard{mm_};
	dsvm_vma_info vma;

	last = rest.last;
	if (!dsvm_os_vma_first(mm_, rest.first, rest.last, &vma))
		return Status::ok();
	if (rest.first <= vma.first || rest.first == span_.first)
		begin_vma(vma);

	const u64 first = max<u64>(vma.first, rest.first);
	const VaRange chunk = aligned_block(first, kChunkPages << DSVM_PAGE_SHIFT);
	const VaRange part{first, min(min<u64>(vma.last, rest.last), chunk.last)};
	DSVM_TRY(look(part));
	for (usize i = 0; i < part.page_count(); ++i)
		add(part.first + (i << DSVM_PAGE_SHIFT), entries_.data()[i]);
	last = part.last;
	return Status::ok();
}

Status Walk::step_through()
{
	for (VaRange rest = span_;;) {
		u64 last;
		DSVM_TRY(step(rest, last));
		if (last == span_.last || !wanted_)
			return Status::ok();
		rest.first = last + 1;
		if (dsvm_os_killed())
			return kInterrupted;
		dsvm_os_resched();
	}
}

Status Walk::run()
{
	DSVM_TRY(entries_.allocate(kChunkPages));
	DSVM_TRY(others_.allocate(kChunkPages));
	const Status status = step_through();
	hand_over();
	return status;
}

} // namespace

Status walk_residency(dsvm_os_mm *mm, dsvm_os_notifier *notifier, VaRange span,
		      const dsvm_residency_visitor &visitor)
{
	if (!span.is_well_formed() || !span.is_page_aligned())
		return kInvalid;

	MmUser user{mm};
	if (!user.is_alive())
		return kFault;
	return Walk{mm, notifier, span, visitor}.run();
}

} // namespace dsvm
