// SPDX-License-Identifier: GPL-2.0-only OR MIT
#include "core/svm/residency.h"

#include "core/base/bits.h"
#include "core/svm/hmm.h"

namespace dsvm {

namespace {

// Pages that are looked at in one go: bounds the memory that a look needs.
constexpr usize kLookPages = 512;

void count_page(dsvm_page_kind kind, dsvm_residency &counts)
{
	switch (kind) {
	case DSVM_PAGE_NONE:
		++counts.none;
		return;
	case DSVM_PAGE_DEVICE:
		++counts.device;
		return;
	case DSVM_PAGE_SYSTEM:
	case DSVM_PAGE_OTHER:
		++counts.system;
		return;
	}
}

// Runs the request over the span, batch by batch, and hands each page to @visit(addr, kind).
template <class Visit> Status for_each_page(dsvm_hmm_request &request, VaRange span, Visit visit)
{
	const usize npages = span.page_count();
	const usize batch = npages < kLookPages ? npages : kLookPages;
	HmmEntries entries;
	DSVM_TRY(entries.allocate(batch));
	request.entries = entries.data();

	for (usize done = 0; done < npages;) {
		const usize count = npages - done < batch ? npages - done : batch;
		const Deadline deadline{DSVM_GET_PAGES_BUDGET_NS};

		request.first = span.first + (done << DSVM_PAGE_SHIFT);
		request.last = request.first + ((count << DSVM_PAGE_SHIFT) - 1);
		DSVM_TRY(hmm_collect(request, count, deadline));
		for (usize i = 0; i < count; ++i)
			visit(request.first + (i << DSVM_PAGE_SHIFT), entries.kind_at(i));
		done += count;
		// A span may be as large as an address space. The time of a batch is for tries
		// that fail: one that has worked may have taken longer.
		if (dsvm_os_killed())
			return kInterrupted;
		if (done < npages)
			dsvm_os_relax();
	}
	return Status::ok();
}

} // namespace

Status count_residency(dsvm_os_mm *mm, dsvm_os_notifier *notifier, void *owner, VaRange span,
		       usize block, dsvm_residency *out)
{
	if (!span.is_well_formed() || !span.is_page_aligned() || block == 0 ||
	    !is_aligned(block, DSVM_PAGE_SIZE))
		return kInvalid;

	MmUser user{mm};
	if (!user.is_alive())
		return kFault;

	dsvm_hmm_request request{};
	request.notifier = notifier;
	request.mm = mm;
	request.owner = owner;
	return for_each_page(request, span, [&](usize addr, dsvm_page_kind kind) {
		count_page(kind, out[(addr - span.first) / block]);
	});
}

Status fault_to_ram(dsvm_os_mm *mm, dsvm_os_notifier *notifier, VaRange span)
{
	MmUser user{mm};
	if (!user.is_alive())
		return kFault;

	dsvm_hmm_request request{};
	request.notifier = notifier;
	request.mm = mm;
	request.fault = true;
	const Status status = for_each_page(request, span, [](usize, dsvm_page_kind) {});
	return status.code() == -DSVM_EBUSY ? kTimedOut : status;
}

} // namespace dsvm
