// SPDX-License-Identifier: GPL-2.0-only OR MIT
#include "core/svm/mapper.h"

#include "core/base/checked.h"

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

dsvm_dma_dir direction(const dsvm_get_pages &request, const dsvm_page_desc &desc)
{
	switch (request.access) {
	case DSVM_ACCESS_READ_ONLY:
		return DSVM_DMA_TO_DEVICE;
	case DSVM_ACCESS_READ:
		// To let the device write makes a page dirty, and one that may be dropped stays.
		return desc.writable && !desc.discardable ? DSVM_DMA_BIDIRECTIONAL
							  : DSVM_DMA_TO_DEVICE;
	case DSVM_ACCESS_WRITE:
		return DSVM_DMA_BIDIRECTIONAL;
	}
	return DSVM_DMA_TO_DEVICE;
}

} // namespace

Mapper::~Mapper()
{
	if (released_)
		return;
	unmap_entries(mapping_, request_.dev, provider_, mapping_.entries(), pages_);
	if (provider_)
		dsvm_os_provider_put(provider_);
	if (mapping_.iova.size != 0)
		dsvm_os_iova_free(request_.dev, &mapping_.iova);
	mapping_.iova = dsvm_iova{};
}

// Whether the request allows this page after those before it.
Status Mapper::admit(const dsvm_page_desc &desc) const
{
	const bool is_device = desc.kind == DSVM_PAGE_DEVICE;

	if (desc.kind != DSVM_PAGE_SYSTEM && !is_device)
		return kUnsupported;
	// The kernel gives a device page as it is, also one that a write would have to copy first.
	if (request_.access == DSVM_ACCESS_WRITE && !desc.writable)
		return kAgain;
	if (!request_.allow_mixed && pages_ > 0 && desc.zdd != zdd_)
		return kUnsupported;
	if (!is_device)
		return request_.devmem_only ? kFault : Status::ok();
	if (provider_ && provider_ != desc.provider)
		return kUnsupported;
	return Status::ok();
}

Status Mapper::map_device(const dsvm_page_desc &desc, u32 order, dsvm_dma_dir dir)
{
	DSVM_TRY(Status{
		dsvm_os_provider_map(desc.provider, request_.dev, desc.page, order, dir, &next())});
	if (!provider_) {
		dsvm_os_provider_get(desc.provider);
		provider_ = desc.provider;
	}
	return Status::ok();
}

// One window for all RAM of the span, asked for with its first page. A single page has no
// use for one.
bool Mapper::want_window(const dsvm_page_desc &desc, usize npages)
{
	if (!window_asked_ && npages > 1) {
		dsvm_iova window{};
		window_asked_ = true;
		if (dsvm_os_iova_alloc(request_.dev, desc.page, npages << kPageShift, &window))
			mapping_.iova = window;
	}
	return mapping_.iova.size != 0;
}

Status Mapper::link_ram(const dsvm_page_desc &desc, u32 order, dsvm_dma_dir dir)
{
	dsvm_dma_addr &entry = next();
	const usize offset = pages_ << kPageShift;

	DSVM_TRY(Status{
		dsvm_os_iova_link(request_.dev, &mapping_.iova, desc.page, order, offset, dir)});
	entry.addr = mapping_.iova.addr + offset;
	entry.proto = DSVM_PROTO_SYSTEM;
	entry.order = order;
	entry.dir = dir;
	return Status::ok();
}

Status Mapper::map_ram(const dsvm_page_desc &desc, u32 order, dsvm_dma_dir dir)
{
	dsvm_dma_addr &entry = next();

	DSVM_TRY(Status{dsvm_os_dma_map(request_.dev, desc.page, order, dir, &entry)});
	// CPU and device would look at different memory, and nobody knows when to copy.
	if (dsvm_os_dma_needs_sync(request_.dev, &entry)) {
		dsvm_os_dma_unmap(request_.dev, &entry);
		return kUnsupported;
	}
	return Status::ok();
}

// Maps a run, or only its first page where the device cannot have it whole.
Status Mapper::map_ram_alone(const dsvm_page_desc &desc, u32 &order, dsvm_dma_dir dir)
{
	Status status = map_ram(desc, order, dir);
	// There are limits on the size of a mapping; none is below a page.
	if (status.is_error() && order > 0) {
		order = 0;
		status = map_ram(desc, order, dir);
	}
	return status;
}

Status Mapper::map_run(const dsvm_page_desc &desc, u32 order, usize npages)
{
	DSVM_TRY(admit(desc));

	const dsvm_dma_dir dir = direction(request_, desc);
	if (desc.kind == DSVM_PAGE_DEVICE)
		DSVM_TRY(map_device(desc, order, dir));
	else if (want_window(desc, npages))
		DSVM_TRY(link_ram(desc, order, dir));
	else
		DSVM_TRY(map_ram_alone(desc, order, dir));
	zdd_ = desc.zdd;
	++count_;
	pages_ += usize{1} << order;

	if (dir != DSVM_DMA_BIDIRECTIONAL)
		writable_ = false;
	if (desc.kind == DSVM_PAGE_SYSTEM)
		mark(desc, dir);
	return Status::ok();
}

// HMM leaves an entry that is writable but clean as it is, and nobody sees the device write.
// Whatever makes a page clean again is an invalidation first.
void Mapper::mark(const dsvm_page_desc &desc, dsvm_dma_dir dir) const
{
	if (dir == DSVM_DMA_BIDIRECTIONAL && request_.marks != DSVM_MARK_NONE)
		dsvm_os_page_mark_dirty(desc.page);
	if (request_.marks == DSVM_MARK_USED)
		dsvm_os_page_mark_accessed(desc.page);
}

Status Mapper::map(const usize *entries, usize npages)
{
	while (pages_ < npages) {
		const usize addr = request_.first + (pages_ << kPageShift);
		const dsvm_page_desc desc = describe(entries[pages_]);

		DSVM_TRY(map_run(desc, run_order(desc, addr, npages - pages_), npages));
	}
	if (mapping_.iova.size == 0)
		return Status::ok();

	DSVM_TRY(Status{dsvm_os_iova_sync(request_.dev, &mapping_.iova, npages << kPageShift)});
	// Of a device that nobody keeps the caches in step with, all addresses are such.
	for (usize i = 0; i < count_; ++i) {
		const dsvm_dma_addr &entry = mapping_.entries()[i];
		if (entry.proto == DSVM_PROTO_SYSTEM)
			return dsvm_os_dma_needs_sync(request_.dev, &entry) ? kUnsupported
									    : Status::ok();
	}
	return Status::ok();
}

} // namespace dsvm
