// SPDX-License-Identifier: GPL-2.0-only OR MIT
//
// drm_svm/os.h on the machine: DMA (kernel: Documentation/core-api/dma-api.rst).
//
// A device sees memory at other addresses than the CPU does. Each mapping has one of its own,
// which follows from the page; or, behind an IOMMU, the driver makes a window of addresses and
// links pages into it where it likes. What is linked can be seen after the next sync.
//
//	window	addr |--------|........|----|------| addr + size
//			run 0	  hole	 run 1 run 2
//
// No address of a window is used again, so whoever uses one that has gone hits nothing.

#include <algorithm>

#include "tests/host/simmm/os.h"

namespace dsvm::sim {

namespace {

// Between two windows, so that who runs over the end hits nothing.
constexpr u64 kWindowGap = 1 << 20;

// The pages of a mapping, one after the other.
template <class Visit> void for_each_page(u32 first, u32 order, Visit visit)
{
	for (u32 i = first; i < first + (1u << order); i++)
		visit(machine().page(i));
}

const IovaWindow *window_at(const Device &device, u64 addr)
{
	for (const IovaWindow &window : device.windows) {
		if (window.addr <= addr && addr - window.addr < window.pages.size() << kPageShift)
			return &window;
	}
	return nullptr;
}

// The page of a window that an address is in, linked or not; nullptr: none.
const IovaPage *linked_page(const Device &device, u64 addr)
{
	const IovaWindow *const window = window_at(device, addr);

	return window == nullptr ? nullptr : &window->pages[(addr - window->addr) >> kPageShift];
}

// The first page of a mapping that there has to be.
u32 mapped_page(const dsvm_dma_addr &addr, u64 proto, const char *what)
{
	const u32 first = page_of_dma(addr.addr);
	bool mapped = first != kNoPage && addr.proto == proto &&
		      first + (1u << addr.order) <= machine().geometry().ram_pages +
							    machine().geometry().device_pages +
							    machine().geometry().peer_pages;

	if (mapped)
		for_each_page(first, addr.order,
			      [&](Page &page) { mapped = mapped && page.dma > 0; });
	if (!mapped)
		scheduler().fail("what is not mapped for DMA is taken for mapped", "%s of %#llx",
				 what, addr.addr);
	return first;
}

void count_unmapped(Device &device)
{
	if (device.mappings-- == 0)
		scheduler().fail("what is not mapped for DMA is taken for mapped",
				 "the device has no mapping left");
}

dsvm_dma_addr dma_map(Device &device, u32 first, u32 order, dsvm_dma_dir dir, u64 proto)
{
	for_each_page(first, order, [](Page &page) { page.dma++; });
	device.mappings++;
	return {dma_of(first), proto, order, static_cast<dsvm_u64>(dir)};
}

void dma_unmap(Device &device, const dsvm_dma_addr &addr, u64 proto)
{
	const u32 first = mapped_page(addr, proto, "unmapping");

	for_each_page(first, addr.order, [](Page &page) { page.dma--; });
	count_unmapped(device);
}

// Whether a run is pages that a migration of ours keeps where they are, whatever they belong to.
bool is_ours(u32 first, u32 order)
{
	bool ours = true;

	for_each_page(first, order, [&](Page &page) {
		const Page &folio = machine().folio_of(page);
		ours = ours && folio.locked && folio.locker == scheduler().running();
	});
	return ours;
}

// What a mapping covers has to be in use, and one folio: the CPU maps nothing else in one go.
void check_run(u32 first, u32 order)
{
	Page &folio = machine().folio_of(machine().page(first));
	const u32 head = machine().index_of(folio);

	for_each_page(first, order, [](Page &page) {
		if (machine().folio_of(page).refs == 0)
			scheduler().fail("a free page is used", "page %u is mapped for DMA",
					 machine().index_of(page));
	});
	if (first + (1u << order) > head + (1u << folio.order) && !is_ours(first, order))
		scheduler().fail("pages are mapped in one go that do not belong together",
				 "2^%u pages from %u on, the folio is 2^%u from %u on", order,
				 first, folio.order, head);
}

// What a device is to see of RAM.
void check_ram(u32 first, u32 order, dsvm_dma_dir dir)
{
	if (machine().is_device(first))
		scheduler().fail("a device page is mapped as if it were RAM", "page %u", first);
	if (first == kZeroPage && dir != DSVM_DMA_TO_DEVICE)
		scheduler().fail("the zero page is mapped for a device to write", "direction %d",
				 dir);
	check_run(first, order);
}

// Nobody knows of what need not be undone.
dsvm_dma_addr map_ram(Device &device, u32 first, u32 order, dsvm_dma_dir dir)
{
	if (device.direct)
		return {dma_of(first), DSVM_PROTO_SYSTEM, order, static_cast<dsvm_u64>(dir)};
	return dma_map(device, first, order, dir, DSVM_PROTO_SYSTEM);
}

// The part of a window that a call is about; the window has to be the device's.
IovaPage *span_of_window(Device &device, const dsvm_iova &iova, u64 offset, u64 bytes)
{
	for (IovaWindow &window : device.windows) {
		const u64 size = window.pages.size() << kPageShift;

		if (window.addr == iova.addr && size == iova.size && bytes != 0 &&
		    offset % kPageSize == 0 && bytes % kPageSize == 0 && offset < size &&
		    bytes <= size - offset)
			return &window.pages[offset >> kPageShift];
	}
	scheduler().fail("what is not in a window of device addresses is taken for it",
			 "[%#llx, +%#llx) of %#llx", offset, bytes, iova.addr);
	return nullptr;
}

} // namespace

u32 reached_page(const Device &device, u64 addr, bool write)
{
	const IovaPage *const linked = device.windows.empty() ? nullptr : linked_page(device, addr);

	if (linked == nullptr)
		return page_of_dma(addr);
	const bool allowed = linked->dir == DSVM_DMA_BIDIRECTIONAL ||
			     linked->dir == (write ? DSVM_DMA_FROM_DEVICE : DSVM_DMA_TO_DEVICE);
	return linked->visible && allowed ? linked->page : kNoPage;
}

void check_no_windows(const Device &device)
{
	if (!device.windows.empty())
		scheduler().fail("a window of device addresses is left", "%zu of them",
				 device.windows.size());
}

} // namespace dsvm::sim

using namespace dsvm;
using namespace dsvm::sim;

// A page of RAM that stays: whoever takes it away waits for the notifier lock, or for the folio's,
// or nobody knows of it yet.
static Page &markable(Page &page)
{
	const u32 index = machine().index_of(page);

	scheduler().point(Point::kOs);
	Page &folio = machine().folio_of(page);
	const bool is_locked = folio.locked && folio.locker == scheduler().running();
	if (folio.refs == 0)
		scheduler().fail("a free page is used", "page %u is marked", index);
	if (machine().is_device(index))
		scheduler().fail("a device page is marked", "page %u", index);
	if (folio.mapped != 0 && !is_locked && !scheduler().holds_rank(LockRank::kNotifier))
		scheduler().fail("a page is marked that may go", "page %u", index);
	return folio;
}

// Kernel: folio_mark_dirty(): what is dirty is not dropped by reclaim, MADV_FREE or not.
void dsvm::sim::mark_dirty(Page &page)
{
	Page &folio = markable(page);

	machine().asked().marks.dirty++;
	machine().asked().kept_pages += folio.lazy;
	folio.dirty = true;
	folio.lazy = false;
}

// Kernel: folio_mark_accessed(). Reclaim is asked for here and does not choose.
void dsvm::sim::mark_accessed(Page &page)
{
	static_cast<void>(markable(page));
	machine().asked().marks.accessed++;
}

// What another thread marks meanwhile is not what it was; the first page is marked all the same.
dsvm_usize dsvm_os_hmm_mark_alike(const dsvm_usize *entries, dsvm_usize count, dsvm_u32 marks)
{
	const u32 ram = dsvm_os_hmm_ram(*entries);
	usize alike = 0;

	do {
		Page &page = from_os(dsvm_os_hmm_page(entries[alike]));

		if ((marks & DSVM_MARK_DIRTIED) != 0)
			mark_dirty(page);
		if ((marks & DSVM_MARK_ACCESSED) != 0)
			mark_accessed(page);
	} while (++alike < count && dsvm_os_hmm_ram(entries[alike]) == ram);
	return alike;
}

// May fail, for lack of addresses or because a bounce buffer has a largest size; never sleeps.
int dsvm_os_dma_map(dsvm_os_dev *dev, dsvm_os_page *handle, dsvm_u32 order, dsvm_dma_dir dir,
		    dsvm_dma_addr *out)
{
	Device &device = from_os(dev);
	const u32 first = machine().index_of(from_os(handle));

	scheduler().point(Point::kOs);
	check_ram(first, order, dir);
	if (order > device.max_order || machine().fails(Fail::kDmaMap))
		return -DSVM_EFAULT;
	*out = map_ram(device, first, order, dir);
	return 0;
}

void dsvm_os_dma_unmap(dsvm_os_dev *dev, const dsvm_dma_addr *addr)
{
	scheduler().point(Point::kOs);
	if (!from_os(dev).direct)
		dma_unmap(from_os(dev), *addr, DSVM_PROTO_SYSTEM);
}

// The frames are in a row; what they belong to is nobody's business here.
int dsvm_os_dma_map_run(dsvm_os_dev *dev, dsvm_os_page *handle, dsvm_usize npages, dsvm_dma_dir dir,
			dsvm_u64 *addr)
{
	Device &device = from_os(dev);
	const u32 first = machine().index_of(from_os(handle));

	scheduler().point(Point::kOs);
	for (u32 i = first; i < first + npages; i++)
		check_ram(i, 0, dir);
	if ((device.max_order < 32 && npages > 1ul << device.max_order) ||
	    machine().fails(Fail::kDmaMap))
		return -DSVM_EFAULT;
	for (u32 i = first; i < first + npages; i++)
		static_cast<void>(map_ram(device, i, 0, dir));
	*addr = dma_of(first);
	return 0;
}

void dsvm_os_dma_unmap_run(dsvm_os_dev *dev, dsvm_u64 addr, dsvm_usize npages, dsvm_dma_dir dir)
{
	scheduler().point(Point::kOs);
	for (usize i = 0; i < npages && !from_os(dev).direct; i++)
		dma_unmap(from_os(dev),
			  {addr + i * kPageSize, DSVM_PROTO_SYSTEM, 0, static_cast<dsvm_u64>(dir)},
			  DSVM_PROTO_SYSTEM);
}

// Kernel: kernel/dma/mapping.c, dma_need_unmap(): no, while nothing was ever copied for the device.
dsvm_bool dsvm_os_dma_needs_unmap(dsvm_os_dev *dev)
{
	scheduler().point(Point::kOs);
	return !from_os(dev).direct;
}

// Kernel: include/linux/dma-mapping.h, dma_need_sync(). This device is coherent.
dsvm_bool dsvm_os_dma_needs_sync(dsvm_os_dev *dev, const dsvm_dma_addr *addr)
{
	scheduler().point(Point::kOs);
	const IovaPage *const linked = linked_page(from_os(dev), addr->addr);
	if (from_os(dev).direct)
		return false;
	if (linked == nullptr)
		static_cast<void>(mapped_page(*addr, DSVM_PROTO_SYSTEM, "dma_need_sync()"));
	else if (linked->page == kNoPage)
		scheduler().fail("what is not mapped for DMA is taken for mapped",
				 "dma_need_sync() of %#llx", addr->addr);
	return false;
}

// Windows of addresses ----------------------------------------------------------

// Kernel: drivers/iommu/dma-iommu.c, dma_iova_try_alloc(): no where there is no IOMMU, and
// where there are no addresses left.
dsvm_bool dsvm_os_iova_alloc(dsvm_os_dev *dev, dsvm_os_page *page, dsvm_usize bytes, dsvm_iova *out)
{
	Device &device = from_os(dev);

	scheduler().point(Point::kOs);
	*out = {};
	if (machine().is_device(machine().index_of(from_os(page))))
		scheduler().fail("a device page is mapped as if it were RAM", "page %u",
				 machine().index_of(from_os(page)));
	if (!device.behind_iommu || machine().fails(Fail::kDmaMap))
		return false;
	device.windows.push_back(
		{device.next_iova, std::vector<IovaPage>(bytes >> kPageShift, IovaPage{})});
	*out = {device.next_iova, bytes};
	device.next_iova += bytes + kWindowGap;
	return true;
}

// Kernel: dma_iova_link(): an IOMMU refuses what is linked already, with a warning.
int dsvm_os_iova_link(dsvm_os_dev *dev, dsvm_iova *iova, dsvm_os_page *handle, dsvm_u32 order,
		      dsvm_usize offset, dsvm_dma_dir dir)
{
	Device &device = from_os(dev);
	const u32 first = machine().index_of(from_os(handle)), count = 1u << order;

	scheduler().point(Point::kOs);
	check_ram(first, order, dir);
	IovaPage *const span = span_of_window(device, *iova, offset, u64{count} << kPageShift);
	for (u32 i = 0; i < count; i++) {
		if (span[i].page != kNoPage)
			scheduler().fail("a device address is linked twice", "%#llx + %#lx",
					 iova->addr, offset);
	}
	if (machine().fails(Fail::kDmaMap))
		return -DSVM_ENOMEM;
	for (u32 i = 0; i < count; i++) {
		span[i] = IovaPage{
			.page = first + i, .dir = dir, .begins = i == 0, .ends = i + 1 == count};
		machine().page(first + i).dma++;
	}
	device.mappings++;
	return 0;
}

int dsvm_os_iova_sync(dsvm_os_dev *dev, dsvm_iova *iova, dsvm_usize bytes)
{
	IovaPage *const span = span_of_window(from_os(dev), *iova, 0, bytes);

	scheduler().point(Point::kOs);
	if (machine().fails(Fail::kDmaMap))
		return -DSVM_EFAULT;
	for (dsvm_usize i = 0; i < bytes >> kPageShift; i++)
		span[i].visible = span[i].page != kNoPage;
	return 0;
}

// Kernel: dma_iova_unlink(): in one go what one or more calls have linked, with nothing between
// them; an IOMMU may have a run as one entry, so that no part of it can go alone.
void dsvm_os_iova_unlink(dsvm_os_dev *dev, dsvm_iova *iova, dsvm_usize offset, dsvm_usize bytes,
			 dsvm_dma_dir dir)
{
	Device &device = from_os(dev);
	IovaPage *const span = span_of_window(device, *iova, offset, bytes);
	const dsvm_usize count = bytes >> kPageShift;

	scheduler().point(Point::kOs);
	for (dsvm_usize i = 0; i < count; i++) {
		IovaPage &linked = span[i];

		if (linked.page == kNoPage || linked.dir != dir)
			scheduler().fail("what is not linked is unlinked", "%#llx + %#lx",
					 iova->addr, offset + (i << kPageShift));
		if ((i == 0 && !linked.begins) || (i + 1 == count && !linked.ends))
			scheduler().fail("a part of a run is unlinked", "%#llx + %#lx", iova->addr,
					 offset);
		if (linked.begins)
			count_unmapped(device);
		machine().page(linked.page).dma--;
		linked = IovaPage{};
	}
}

void dsvm_os_iova_free(dsvm_os_dev *dev, dsvm_iova *iova)
{
	Device &device = from_os(dev);
	const IovaPage *const span = span_of_window(device, *iova, 0, iova->size);

	scheduler().point(Point::kOs);
	for (u64 i = 0; i < iova->size >> kPageShift; i++) {
		if (span[i].page != kNoPage)
			scheduler().fail("a window of device addresses goes with what is linked",
					 "%#llx + %#llx", iova->addr, i << kPageShift);
	}
	std::erase_if(device.windows,
		      [&](const IovaWindow &window) { return window.addr == iova->addr; });
}

// Providers ---------------------------------------------------------------------

// drm/drm_pagemap.h, drm_pagemap_ops.device_map: for pages of that provider only.
int dsvm_os_provider_map(dsvm_os_provider *provider, dsvm_os_dev *dev, dsvm_os_page *handle,
			 dsvm_u32 order, dsvm_dma_dir dir, dsvm_dma_addr *out)
{
	const u32 first = machine().index_of(from_os(handle));
	const Zdd *const zdd = machine().folio_of(from_os(handle)).zdd;

	scheduler().point(Point::kOs);
	if (!machine().is_device(first) || zdd == nullptr || zdd->provider != provider)
		scheduler().fail("a provider is asked for what is not its own", "page %u", first);
	if (from_os(provider).refs == 0)
		scheduler().fail("a provider is used that is gone", "it maps page %u", first);
	check_run(first, order);
	if (machine().fails(Fail::kDmaMap))
		return -DSVM_EFAULT;
	if (from_os(provider).barred == &from_os(dev) && dir == DSVM_DMA_FROM_DEVICE)
		return -DSVM_EFAULT;
	*out = dma_map(from_os(dev), first, order, dir, DSVM_PROTO_DRIVER);
	return 0;
}

void dsvm_os_provider_unmap(dsvm_os_provider *provider, dsvm_os_dev *dev, const dsvm_dma_addr *addr)
{
	scheduler().point(Point::kOs);
	if (from_os(provider).refs == 0)
		scheduler().fail("a provider is used that is gone", "it unmaps %#llx", addr->addr);
	dma_unmap(from_os(dev), *addr, DSVM_PROTO_DRIVER);
}

void dsvm_os_provider_get(dsvm_os_provider *provider)
{
	scheduler().point(Point::kOs);
	if (from_os(provider).refs++ == 0)
		scheduler().fail("a provider is used that is gone", "it gets a reference");
}

void dsvm_os_provider_put(dsvm_os_provider *provider)
{
	scheduler().point(Point::kOs);
	if (from_os(provider).refs-- == 0)
		scheduler().fail("a provider is used that is gone", "it loses a reference");
}
