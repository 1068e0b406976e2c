// SPDX-License-Identifier: GPL-2.0-only OR MIT
#include "core/svm/residency.h"

#include "core/base/bits.h"
#include "core/svm/hmm.h"

namespace dsvm {

namespace {

// Pages that are looked at in one go: bounds the memory that a look needs.
constexpr usize kLookPages = 512;

void count_page(usize entry, const void *pagemap, dsvm_residency &counts)
{
	switch (dsvm_os_hmm_kind(entry)) {
	case DSVM_PAGE_NONE:
		++counts.none;
		return;
	case DSVM_PAGE_DEVICE:
		++(dsvm_os_hmm_pagemap(entry) == pagemap ? counts.device : counts.peer);
		return;
	case DSVM_PAGE_SYSTEM:
	case DSVM_PAGE_OTHER:
		++counts.system;
		return;
	}
}

// Runs the request over the span, batch by batch, and hands each page to @visit(addr, entry), which
// says whether to go on.
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
		for (usize i = 0; i < count; ++i) {
			if (!visit(request.first + (i << DSVM_PAGE_SHIFT), entries.data()[i]))
				return Status::ok();
		}
		done += count;
		clear_entries(entries.data(), count);
		// A span may be as large as an address space. The time of a batch is for tries
		// that fail: one that has worked may have taken longer.
		if (dsvm_os_killed())
			return kInterrupted;
		if (done < npages)
			dsvm_os_resched();
	}
	return Status::ok();
}

// Where there is no memory there is nothing to look at, and it may be most of an address space.
void count_hole(VaRange hole, usize base, usize block, dsvm_residency *out)
{
	for (usize addr = hole.first;;) {
		const usize rest = block - (addr - base) % block; // of the block
		const usize left = hole.last - addr;		  // of the hole, but one byte
		const usize last = left < rest ? hole.last : addr + (rest - 1);

		out[(addr - base) / block].none += (last - addr + 1) >> DSVM_PAGE_SHIFT;
		if (last == hole.last)
			return;
		addr = last + 1;
	}
}

// The part of the next VMA that lies in the span, if there is one.
bool next_memory(dsvm_os_mm *mm, VaRange span, VaRange &memory)
{
	MmReadGuard guard{mm};
	dsvm_vma_info vma;
	if (!dsvm_os_vma_first(mm, span.first, span.last, &vma))
		return false;
	memory = VaRange{max<u64>(vma.first, span.first), min<u64>(vma.last, span.last)};
	return true;
}

} // namespace

Status count_residency(dsvm_os_mm *mm, dsvm_os_notifier *notifier, void *owner, const void *pagemap,
		       VaRange span, usize block, dsvm_residency *out)
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
	const auto count = [&](usize addr, usize entry) {
		count_page(entry, pagemap, out[(addr - span.first) / block]);
		return true;
	};

	for (VaRange rest = span;;) {
		VaRange memory;
		if (!next_memory(mm, rest, memory)) {
			count_hole(rest, span.first, block, out);
			return Status::ok();
		}
		if (memory.first > rest.first)
			count_hole(VaRange{rest.first, memory.first - 1}, span.first, block, out);
		DSVM_TRY(for_each_page(request, memory, count));
		if (memory.last == span.last)
			return Status::ok();
		rest.first = memory.last + 1;
	}
}

Status fault_to_ram(dsvm_os_mm *mm, dsvm_os_notifier *notifier, VaRange span, void *owner)
{
	MmUser user{mm};
	if (!user.is_alive())
		return kFault;

	dsvm_hmm_request request{};
	request.notifier = notifier;
	request.mm = mm;
	request.owner = owner;
	request.fault = true;
	const Status status = for_each_page(request, span, [](usize, usize) { return true; });
	return status.code() == -DSVM_EBUSY ? kTimedOut : status;
}

namespace {

// What a scan has seen so far.
class Scan {
public:
	explicit Scan(const void *pagemap) : pagemap_(pagemap) {}

	// False: it is known what comes out.
	bool add(usize entry)
	{
		if (dsvm_os_hmm_kind(entry) == DSVM_PAGE_NONE) {
			result_ = DSVM_SCAN_UNPOPULATED;
			return false;
		}
		const void *where = dsvm_os_hmm_pagemap(entry);
		const dsvm_scan seen = classify(where);

		result_ = result_ == DSVM_SCAN_UNPOPULATED ? seen : join(result_, seen);
		return true;
	}

	dsvm_scan result() const { return result_; }

private:
	dsvm_scan classify(const void *where)
	{
		if (where == pagemap_)
			return DSVM_SCAN_EQUAL;
		if (!where)
			return DSVM_SCAN_SYSTEM;
		if (other_ && other_ != where)
			return DSVM_SCAN_MIXED_DEVICE;
		other_ = where;
		return DSVM_SCAN_OTHER;
	}

	static dsvm_scan join(dsvm_scan before, dsvm_scan seen)
	{
		if (before == seen)
			return before;
		if (before == DSVM_SCAN_MIXED || before == DSVM_SCAN_SYSTEM ||
		    seen == DSVM_SCAN_SYSTEM)
			return DSVM_SCAN_MIXED;
		return DSVM_SCAN_MIXED_DEVICE;
	}

	const void *const pagemap_; // immutable
	const void *other_ = nullptr;
	dsvm_scan result_ = DSVM_SCAN_UNPOPULATED;
};

} // namespace

dsvm_scan scan(dsvm_os_mm *mm, dsvm_os_notifier *notifier, void *owner, VaRange span,
	       const void *pagemap)
{
	MmUser user{mm};
	if (!user.is_alive())
		return DSVM_SCAN_UNPOPULATED;

	dsvm_hmm_request request{};
	request.notifier = notifier;
	request.mm = mm;
	request.owner = owner;
	Scan scan{pagemap};
	if (for_each_page(request, span, [&](usize, usize entry) {
		    return scan.add(entry);
	    }).is_error())
		return DSVM_SCAN_UNPOPULATED;
	return scan.result();
}

} // namespace dsvm
