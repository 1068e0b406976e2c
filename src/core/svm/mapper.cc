// SPDX-License-Identifier: GPL-2.0-only OR MIT
#include "core/svm/mapper.h"

#include "core/base/checked.h"

namespace dsvm {

namespace {

// The largest run of pages from @addr on that the CPU maps in one go, is naturally aligned and
// has no more than @left pages. A device that uses big page-table entries relies on the alignment.
inline u32 run_order(u32 order, usize addr, usize left)
{
	while (order > 0 && (!is_aligned(addr, kPageSize << order) || (usize{1} << order) > left))
		--order;
	return order;
}

inline dsvm_dma_dir direction(const dsvm_get_pages &request, bool writable, bool discardable)
{
	switch (request.access) {
	case DSVM_ACCESS_READ_ONLY:
		return DSVM_DMA_TO_DEVICE;
	case DSVM_ACCESS_READ:
		// To let the device write makes a page dirty, and one that may be dropped stays.
		return writable && !discardable ? DSVM_DMA_BIDIRECTIONAL : DSVM_DMA_TO_DEVICE;
	case DSVM_ACCESS_WRITE:
		return DSVM_DMA_BIDIRECTIONAL;
	}
	return DSVM_DMA_TO_DEVICE;
}

// Pages that lie in a row, the first entry at one end of it.
struct Row {
	usize npages;
	bool down; // the frames descend
};

// Whether the first of `left` entries and the next one lie side by side.
inline bool begins_row(const usize *entries, usize left)
{
	// By one, either way. All of a span may be the zero page.
	return left > 1 && ((entries[1] - entries[0] + 1) & ~usize{2}) == 0;
}

// The row that begins with the first of `left` entries, of RAM of which all that is known is alike.
inline Row row_of(const usize *entries, usize left, u32 ram)
{
	if (!begins_row(entries, left))
		return {1, false};

	const usize step = entries[1] - entries[0];
	usize npages = 1;
	while (npages < left && entries[npages] - entries[npages - 1] == step &&
	       dsvm_os_hmm_ram(entries[npages]) == ram)
		++npages;
	return {npages, step != 1};
}

} // namespace

DSVM_UNIT_INLINE bool is_whole_run(usize entry, VaRange span)
{
	const usize npages = span.page_count();

	return npages == usize{1} << run_order(dsvm_os_hmm_order(entry), span.first, npages);
}

DSVM_COLD void Mapper::take_back()
{
	unmap_entries(mapping_, request_.dev, provider_, mapping_.entries, pages_);
	if (provider_)
		dsvm_os_provider_put(provider_);
	if (mapping_.iova.size != 0)
		dsvm_os_iova_free(request_.dev, &mapping_.iova);
	mapping_.iova = dsvm_iova{};
}

// Whether the request allows this page of a device after the pages before it.
Status Mapper::admit(const dsvm_page_desc &desc) const
{
	if (desc.kind != DSVM_PAGE_DEVICE)
		return kUnsupported;
	// The kernel gives a device page as it is, also one that a write would have to copy first.
	if (request_.access == DSVM_ACCESS_WRITE && !desc.writable)
		return kAgain;
	if (!request_.allow_mixed && pages_ > 0 && desc.zdd != zdd_)
		return kUnsupported;
	if (provider_ && provider_ != desc.provider)
		return kUnsupported;
	return Status::ok();
}

// Whether it allows pages of RAM of which this is known, and if, what for.
DSVM_ALWAYS_INLINE Status Mapper::admit_ram(u32 ram)
{
	if (ram == ram_)
		return Status::ok();
	if (request_.access == DSVM_ACCESS_WRITE && !(ram & DSVM_RAM_WRITABLE))
		return kAgain;
	if (!request_.allow_mixed && zdd_)
		return kUnsupported;
	if (request_.devmem_only)
		return kFault;

	ram_ = ram;
	dir_ = direction(request_, ram & DSVM_RAM_WRITABLE, ram & DSVM_RAM_DISCARDABLE);
	if (dir_ != DSVM_DMA_BIDIRECTIONAL)
		writable_ = false;
	return Status::ok();
}

Status Mapper::map_device(usize hmm, usize npages)
{
	const dsvm_page_desc desc = describe(hmm);
	DSVM_TRY(admit(desc));

	const u32 order = run_order(desc.order, next_addr(), npages - pages_);
	const dsvm_dma_dir dir = direction(request_, desc.writable, desc.discardable);
	DSVM_TRY(Status{dsvm_os_provider_map(desc.provider, request_.dev, desc.page, order, dir,
					     &mapping_.entries[count_])});
	if (!provider_) {
		dsvm_os_provider_get(desc.provider);
		provider_ = desc.provider;
	}
	if (dir != DSVM_DMA_BIDIRECTIONAL)
		writable_ = false;
	zdd_ = desc.zdd;
	++count_;
	pages_ += usize{1} << order;
	return Status::ok();
}

// Whether there is a window is found out with the first page of RAM.
inline void Mapper::choose(usize hmm, usize npages)
{
	dsvm_iova window{};

	chosen_ = true;
	if (dsvm_os_iova_alloc(request_.dev, dsvm_os_hmm_page(hmm), npages << kPageShift, &window))
		mapping_.iova = window;
	in_rows_ = mapping_.iova.size == 0 && !dsvm_os_dma_needs_unmap(request_.dev);
}

Status Mapper::link_run(usize hmm, u32 order)
{
	const usize offset = pages_ << kPageShift;

	DSVM_TRY(Status{dsvm_os_iova_link(request_.dev, &mapping_.iova, dsvm_os_hmm_page(hmm),
					  order, offset, dir_)});
	mark(&hmm, 1);
	mapping_.entries[count_++] = {mapping_.iova.addr + offset, DSVM_PROTO_SYSTEM, order, dir_};
	pages_ += usize{1} << order;
	return Status::ok();
}

// Whether what was mapped last, and all before it, need not be unmapped.
inline bool Mapper::needs_no_unmap()
{
	in_rows_ = in_rows_ && !dsvm_os_dma_needs_unmap(request_.dev);
	return in_rows_;
}

// Whether CPU and device would look at different memory, of which nobody knows when to copy: of
// entries that were mapped last.
inline bool Mapper::have_copies(const dsvm_dma_addr *entries, usize count)
{
	if (needs_no_unmap())
		return false;
	for (usize i = 0; i < count; ++i) {
		if (dsvm_os_dma_needs_sync(request_.dev, &entries[i]))
			return true;
	}
	return false;
}

DSVM_ALWAYS_INLINE Status Mapper::map_alone(usize hmm, u32 order)
{
	dsvm_dma_addr &entry = mapping_.entries[count_];

	DSVM_TRY(Status{dsvm_os_dma_map(request_.dev, dsvm_os_hmm_page(hmm), order, dir_, &entry)});
	if (have_copies(&entry, 1)) {
		dsvm_os_dma_unmap(request_.dev, &entry);
		return kUnsupported;
	}
	mark(&hmm, 1);
	++count_;
	pages_ += usize{1} << order;
	return Status::ok();
}

// Maps a run, or only its first page where the device cannot have it whole.
Status Mapper::map_run(usize hmm, u32 order, usize npages)
{
	const Status status = map_alone(hmm, order);

	// There are limits on the size of a mapping; none is below a page.
	if (status.is_ok() || order == 0)
		return status;
	if (mapping_.room < npages)
		return kNoSpace;
	return map_alone(hmm, 0);
}

// Maps pages each by itself, as long as they are alike and no row begins.
DSVM_ALWAYS_INLINE Status Mapper::map_scattered(const usize *entries, usize left)
{
	dsvm_dma_addr *const first = &mapping_.entries[count_];
	dsvm_os_dev *const dev = request_.dev;
	const dsvm_dma_dir dir = dir_;
	const bool in_rows = in_rows_;
	const u32 ram = ram_;
	Status status = Status::ok();
	usize npages = 0;

	do {
		status = Status{dsvm_os_dma_map(dev, dsvm_os_hmm_page(entries[npages]), 0, dir,
						&first[npages])};
		if (status.is_error())
			break;
		++npages;
	} while (npages < left && !(in_rows && begins_row(entries + npages, left - npages)) &&
		 dsvm_os_hmm_ram(entries[npages]) == ram);
	count_ += npages;
	pages_ += npages;
	DSVM_TRY(status);
	mark(entries, npages);
	return have_copies(first, npages) ? kUnsupported : Status::ok();
}

// Maps the pages of a row with one call, if nobody has to undo that: it is not known later where
// one ends. False: nothing is mapped, and each page is to be mapped by itself.
DSVM_ALWAYS_INLINE bool Mapper::map_row(const usize *entries, usize left)
{
	const Row row = row_of(entries, left, ram_);
	if (row.npages == 1)
		return false;

	const usize lowest = entries[row.down ? row.npages - 1 : 0];
	u64 addr;
	const Status status{dsvm_os_dma_map_run(request_.dev, dsvm_os_hmm_page(lowest), row.npages,
						dir_, &addr)};
	if (status.is_error() || !needs_no_unmap()) {
		if (status.is_ok())
			dsvm_os_dma_unmap_run(request_.dev, addr, row.npages, dir_);
		in_rows_ = false;
		return false;
	}

	mark(entries, row.npages);
	const u64 step = row.down ? ~kPageSize + 1 : kPageSize;
	dsvm_dma_addr entry{addr, DSVM_PROTO_SYSTEM, 0, dir_};
	if (row.down)
		entry.addr += (row.npages - 1) << kPageShift;
	dsvm_dma_addr *const first = &mapping_.entries[count_];
	for (usize i = 0; i < row.npages; ++i, entry.addr += step)
		first[i] = entry;
	count_ += row.npages;
	pages_ += row.npages;
	return true;
}

DSVM_ALWAYS_INLINE Status Mapper::map_ram(const usize *entries, usize npages, u32 ram)
{
	DSVM_TRY(admit_ram(ram));
	if (!chosen_)
		choose(*entries, npages);

	const u32 order = run_order(ram >> DSVM_RAM_ORDER, next_addr(), npages - pages_);
	if (mapping_.iova.size != 0)
		return link_run(*entries, order);
	// Of what the CPU maps in one go, the large pieces are worth more.
	const bool is_single = ram >> DSVM_RAM_ORDER == 0;
	if (is_single && in_rows_ && map_row(entries, npages - pages_))
		return Status::ok();
	return is_single ? map_scattered(entries, npages - pages_)
			 : map_run(*entries, order, npages);
}

// HMM leaves an entry that is writable but clean as it is, and nobody sees the device write.
// Whatever makes a page clean again is an invalidation first.
DSVM_ALWAYS_INLINE void Mapper::mark(const usize *entries, usize count) const
{
	const bool dirty = dir_ == DSVM_DMA_BIDIRECTIONAL && ram_ & DSVM_RAM_CLEAN &&
			   request_.marks != DSVM_MARK_NONE;
	const bool used = request_.marks == DSVM_MARK_USED;

	for (usize i = 0; dirty && i < count; ++i)
		dsvm_os_page_mark_dirty(dsvm_os_hmm_page(entries[i]));
	for (usize i = 0; used && i < count; ++i)
		dsvm_os_page_mark_accessed(dsvm_os_hmm_page(entries[i]));
}

// After all RAM has been linked into the window.
Status Mapper::finish_window(usize npages) const
{
	DSVM_TRY(Status{dsvm_os_iova_sync(request_.dev, &mapping_.iova, npages << kPageShift)});
	// Of a device that nobody keeps the caches in step with, all addresses are such.
	for (usize i = 0; i < count_; ++i) {
		const dsvm_dma_addr &entry = mapping_.entries[i];
		if (entry.proto == DSVM_PROTO_SYSTEM)
			return dsvm_os_dma_needs_sync(request_.dev, &entry) ? kUnsupported
									    : Status::ok();
	}
	return Status::ok();
}

// A page that is all there is has no use for a window, and lies in no row.
DSVM_ALWAYS_INLINE Status Mapper::map_page(usize hmm)
{
	const u32 ram = dsvm_os_hmm_ram(hmm);

	if (ram == 0)
		return map_device(hmm, 1);
	DSVM_TRY(admit_ram(ram));
	return map_alone(hmm, 0);
}

Status Mapper::map_pages(const usize *entries, usize npages)
{
	while (pages_ < npages) {
		const usize *const next = entries + pages_;
		const u32 ram = dsvm_os_hmm_ram(*next);

		DSVM_TRY(ram != 0 ? map_ram(next, npages, ram) : map_device(*next, npages));
	}
	return mapping_.iova.size != 0 ? finish_window(npages) : Status::ok();
}

DSVM_UNIT_INLINE Status Mapper::map(const usize *entries, usize npages)
{
	DSVM_TRY(npages == 1 ? map_page(*entries) : map_pages(entries, npages));
	mapping_.unmaps = !in_rows_;
	return Status::ok();
}

} // namespace dsvm
