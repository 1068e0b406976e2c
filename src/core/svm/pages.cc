// SPDX-License-Identifier: GPL-2.0-only OR MIT
#include "core/svm/pages.h"

#include "core/base/checked.h"
#include "core/base/guard.h"
#include "core/base/va_range.h"

namespace dsvm {

namespace {

// The largest run of pages from @addr on that the CPU maps in one go, is naturally aligned and
// has no more than @left pages. A device that uses big page-table entries relies on the alignment.
u32 run_order(const dsvm_page_desc &desc, usize addr, usize left)
{
	u32 order = desc.order;
	while (order > 0 && (!is_aligned(addr, kPageSize << order) || (usize{1} << order) > left))
		--order;
	return order;
}

// Maps the pages of a collection one after the other, and knows what it has done so far.
class Mapper {
public:
	Mapper(const dsvm_get_pages &request, dsvm_dma_addr *addrs)
		: request_(request), addrs_(addrs)
	{}

	// Maps a run of 2^order pages, or a shorter one where the device cannot have it whole.
	Status map_run(const dsvm_page_desc &desc, u32 order);

	dsvm_os_provider *provider() const { return provider_; }
	usize mapped_pages() const { return pages_; }

private:
	Status admit(const dsvm_page_desc &desc);
	Status map_ram(const dsvm_page_desc &desc, u32 order, dsvm_dma_dir dir);

	const dsvm_get_pages &request_;
	dsvm_dma_addr *const addrs_;
	usize count_ = 0;		       // entries made
	usize pages_ = 0;		       // pages they cover
	dsvm_os_zdd *zdd_ = nullptr;	       // allocation of the page before, if a device's
	dsvm_os_provider *provider_ = nullptr; // of all device pages so far, referenced
};

// Whether the request allows this page after those before it.
Status Mapper::admit(const dsvm_page_desc &desc)
{
	const bool is_device = desc.kind == DSVM_PAGE_DEVICE;

	if (desc.kind != DSVM_PAGE_SYSTEM && !is_device)
		return kUnsupported;
	// The kernel gives a device page as it is, also one that a write would have to copy first.
	if (request_.write && !desc.writable)
		return kAgain;
	if (!request_.allow_mixed && pages_ > 0 && desc.zdd != zdd_)
		return kUnsupported;
	if (!is_device)
		return request_.devmem_only ? kFault : Status::ok();
	if (provider_ && provider_ != desc.provider)
		return kUnsupported;
	return Status::ok();
}

Status Mapper::map_ram(const dsvm_page_desc &desc, u32 order, dsvm_dma_dir dir)
{
	dsvm_dma_addr &addr = addrs_[count_];

	DSVM_TRY(Status{dsvm_os_dma_map(request_.dev, desc.page, order, dir, &addr)});
	// CPU and device would look at different memory, and nobody knows when to copy.
	if (dsvm_os_dma_needs_sync(request_.dev, &addr)) {
		dsvm_os_dma_unmap(request_.dev, &addr);
		return kUnsupported;
	}
	return Status::ok();
}

Status Mapper::map_run(const dsvm_page_desc &desc, u32 order)
{
	const dsvm_dma_dir dir = request_.write ? DSVM_DMA_BIDIRECTIONAL : DSVM_DMA_TO_DEVICE;

	DSVM_TRY(admit(desc));
	if (desc.kind == DSVM_PAGE_DEVICE) {
		DSVM_TRY(Status{dsvm_os_provider_map(desc.provider, request_.dev, desc.page, order,
						     dir, &addrs_[count_])});
		if (!provider_) {
			dsvm_os_provider_get(desc.provider);
			provider_ = desc.provider;
		}
	} else {
		Status status = map_ram(desc, order, dir);
		// There are limits on the size of a mapping; none is below a page.
		if (status.is_error() && order > 0) {
			order = 0;
			status = map_ram(desc, order, dir);
		}
		DSVM_TRY(status);
		// HMM leaves an entry that is writable but clean as it is, and nobody sees the
		// device write. Whatever makes a page clean again is an invalidation first.
		if (request_.write)
			dsvm_os_page_mark_dirty(desc.page);
	}
	zdd_ = desc.zdd;
	++count_;
	pages_ += usize{1} << order;
	return Status::ok();
}

void unmap_entries(dsvm_os_dev *dev, dsvm_os_provider *provider, const dsvm_dma_addr *addrs,
		   usize npages)
{
	for (usize done = 0, i = 0; done < npages; ++i) {
		if (addrs[i].proto == DSVM_PROTO_SYSTEM)
			dsvm_os_dma_unmap(dev, &addrs[i]);
		else
			dsvm_os_provider_unmap(provider, dev, &addrs[i]);
		done += usize{1} << addrs[i].order;
	}
	if (provider)
		dsvm_os_provider_put(provider);
}

} // namespace

// Whether what is mapped is enough for the access: a mapping made for reading is not one to write.
bool Pages::covers(const dsvm_get_pages &request) const
{
	return !request.write || pages_.dma_addr[0].dir == DSVM_DMA_BIDIRECTIONAL;
}

// True if there is nothing to do.
Expected<bool> Pages::settled(const dsvm_get_pages &request)
{
	ReadGuard guard{notifier_lock_};

	if (pages_.flags & DSVM_PAGES_UNMAPPED)
		return kFault;
	return is_mapped() && covers(request);
}

Status Pages::map_locked(const dsvm_get_pages &request, const HmmEntries &entries, usize npages,
			 dsvm_dma_addr *&addrs)
{
	Mapper mapper{request, addrs};
	auto undo = on_exit(
		[&] { unmap_entries(dev_, mapper.provider(), addrs, mapper.mapped_pages()); });

	while (mapper.mapped_pages() < npages) {
		const usize done = mapper.mapped_pages();
		const usize addr = request.first + (done << DSVM_PAGE_SHIFT);
		const dsvm_page_desc desc = entries.at(done);

		DSVM_TRY(mapper.map_run(desc, run_order(desc, addr, npages - done)));
	}
	undo.release();

	// A mapping that was too narrow for the access goes only now that there is a better one.
	unmap_locked(npages);
	dsvm_dma_addr *const old = pages_.dma_addr;
	const u16 devmem = mapper.provider() ? DSVM_PAGES_DEVMEM : 0;
	pages_.dma_addr = addrs;
	addrs = old;
	pages_.provider = mapper.provider();
	set_flags(pages_.flags, pages_.flags | DSVM_PAGES_DMA_MAPPED | devmem);
	return Status::ok();
}

Status Pages::collect(const dsvm_get_pages &request)
{
	const VaRange span{request.first, request.last};
	if (!span.is_well_formed() || !span.is_page_aligned())
		return kInvalid;

	const usize npages = span.page_count();
	const Deadline deadline{DSVM_GET_PAGES_BUDGET_NS};

	// An old mapping vouches for itself only as of a sequence taken before the look at it.
	const usize seq = dsvm_os_notifier_read_begin(request.notifier);
	const bool mapped = DSVM_TRY(settled(request));
	if (mapped) {
		pages_.notifier_seq = seq;
		return Status::ok();
	}

	HmmEntries entries;
	DSVM_TRY(entries.allocate(npages));

	// Never into the entries that there are: they may be in use until the very end, and may
	// have been for a span of another size.
	const u64 bytes = DSVM_TRY(checked_mul(npages, sizeof(dsvm_dma_addr)));
	dsvm_dma_addr *addrs = static_cast<dsvm_dma_addr *>(dsvm_os_alloc(bytes));
	if (!addrs)
		return kNoMemory;
	auto free_addrs = on_exit([&] { dsvm_os_free(addrs); });

	dsvm_hmm_request hmm{};
	hmm.notifier = request.notifier;
	hmm.mm = request.mm;
	hmm.first = span.first;
	hmm.last = span.last;
	hmm.owner = request.owner;
	hmm.fault = true;
	hmm.write = request.write;
	hmm.entries = entries.data();

	for (;;) {
		{
			MmUser user{request.mm};
			if (!user.is_alive())
				return kFault;
			DSVM_TRY(hmm_collect(hmm, npages, deadline));
		}
		{
			// From here an invalidation either waits for the lock or finds the mapping.
			ReadGuard guard{notifier_lock_};

			if (pages_.flags & DSVM_PAGES_UNMAPPED)
				return kFault;
			if (!dsvm_os_notifier_read_retry(request.notifier, hmm.seq)) {
				const Status status = map_locked(request, entries, npages, addrs);
				if (status.is_ok())
					pages_.notifier_seq = hmm.seq;
				if (status != kAgain)
					return status;
				// Shared device pages, after a fork: as somebody who owns none the
				// caller gets them into RAM, and copies of his own.
				hmm.owner = nullptr;
			}
		}
		DSVM_TRY(deadline.next_attempt());
	}
}

void Pages::unmap(usize npages)
{
	notifier_lock_.assert_held();
	unmap_locked(npages);
}

void Pages::unmap_locked(usize npages)
{
	if (!is_mapped())
		return;

	unmap_entries(dev_, pages_.provider, pages_.dma_addr, npages);
	pages_.provider = nullptr;
	set_flags(pages_.flags, pages_.flags & ~(DSVM_PAGES_DMA_MAPPED | DSVM_PAGES_DEVMEM));
}

void Pages::set_unmapped()
{
	notifier_lock_.assert_held_write();
	set_flags(pages_.flags, pages_.flags | DSVM_PAGES_UNMAPPED);
}

void Pages::free(usize npages)
{
	dsvm_dma_addr *entries;
	{
		ReadGuard guard{notifier_lock_};
		unmap_locked(npages);
		entries = pages_.dma_addr;
		pages_.dma_addr = nullptr;
	}
	dsvm_os_free(entries);
}

} // namespace dsvm
