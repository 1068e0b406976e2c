// SPDX-License-Identifier: GPL-2.0-only OR MIT
//
// os.h on the fake machine: how a device reaches a page. RAM is mapped run by run, or linked into
// a window of device addresses (IOVA); device memory is mapped by its provider.

#include "kunit/fake/state.h"

namespace dsvm::fake {

// The window that an address lies in, or nullptr.
Iova *find_iova(World &world, u64 addr)
{
	for (Iova &iova : world.state_->iovas) {
		if (iova.dev != nullptr && addr >= iova.addr && addr - iova.addr < iova.size)
			return &iova;
	}
	return nullptr;
}

// A window at addresses that were never used before, or nullptr.
Iova *new_iova(World &world, const dsvm_os_dev &dev, u64 size)
{
	World::State &s = *world.state_;

	if (size > u64{kPtes} * kPageSize)
		return nullptr;
	for (Iova &iova : s.iovas) {
		if (iova.dev != nullptr)
			continue;
		iova = {};
		iova.dev = &dev;
		iova.addr = kIovaBase + s.next_iova;
		iova.size = size;
		// A page lies between any two of them.
		s.next_iova += size + kPageSize;
		return &iova;
	}
	return nullptr;
}

void World::set_sloppy_providers(bool sloppy)
{
	state_->sloppy_providers = sloppy;
}

bool World::has_sloppy_providers() const
{
	return state_->sloppy_providers;
}

u32 World::iova_windows() const
{
	u32 count = 0;

	for (const Iova &iova : state_->iovas)
		count += iova.dev != nullptr;
	return count;
}

u32 World::iova_pages() const
{
	u32 count = 0;

	for (const Iova &iova : state_->iovas) {
		for (const IovaSlot &slot : iova.slots)
			count += iova.dev != nullptr && slot.page != nullptr;
	}
	return count;
}

namespace {

IovaSlot &slot_of(Iova &iova, u64 addr)
{
	return iova.slots[(addr - iova.addr) >> kPageShift];
}

// Each device has addresses of its own.
u64 dma_base(u32 device)
{
	return kDmaOffset + (u64{device} << kDmaDeviceShift);
}

// The page of an address, synced or not.
Page *resolve(World &world, u64 addr)
{
	if (addr < kIovaBase)
		return world.page_of_pfn((addr & ((1ull << kDmaDeviceShift) - 1)) >> kPageShift);
	Iova *const iova = find_iova(world, addr);
	Page *const page = iova != nullptr ? slot_of(*iova, addr).page : nullptr;

	if (page == nullptr)
		dsvm_env_violation("nothing is linked at the device address %#llx", addr);
	return page != nullptr ? page : world.page_of_pfn(kRamPfn);
}

// One more mapping of a page for a device.
void add_mapping(World &world, Page &page, dsvm_dma_dir dir)
{
	if (page.refs == 0)
		dsvm_env_violation("a free page mapped for DMA");
	if (dir == DSVM_DMA_BIDIRECTIONAL &&
	    (world.is_zero_page(&page) || !world.is_writable(&page)))
		dsvm_env_violation("a page mapped for writing that no CPU may write");
	page.dma++;
	page.dma_by_dir[dir]++;
}

void drop_mapping(Page &page, u32 dir)
{
	if (page.dma == 0) {
		dsvm_env_violation("DMA unmapped twice");
	} else if (page.dma_by_dir[dir] == 0) {
		dsvm_env_violation("DMA unmapped in a direction that it has not");
	} else {
		page.dma--;
		page.dma_by_dir[dir]--;
	}
}

u64 address_of(const dsvm_os_dev &dev, const Page *page)
{
	return (u64{World::current().pfn_of(page)} << kPageShift) + dma_base(dev.index);
}

int dma_map(const dsvm_os_dev &dev, Page *page, u32 order, dsvm_dma_dir dir, u32 proto,
	    dsvm_dma_addr *out)
{
	World &world = World::current();

	for (u32 i = 0; i < 1u << order; i++)
		add_mapping(world, page[i], dir);
	*out = {};
	out->addr = address_of(dev, page);
	out->proto = proto;
	out->order = order;
	out->dir = static_cast<u64>(dir);
	return 0;
}

void dma_unmap(const dsvm_os_dev &dev, const dsvm_dma_addr *addr, u32 proto)
{
	World &world = World::current();

	if (addr->proto != proto || addr->addr >= kIovaBase) {
		dsvm_env_violation("DMA unmapped by the wrong function");
		return;
	}
	if (addr->addr >> kDmaDeviceShift != dma_base(dev.index) >> kDmaDeviceShift)
		dsvm_env_violation("DMA unmapped of another device");
	Page *const page = resolve(world, addr->addr);
	for (u32 i = 0; i < 1u << addr->order; i++)
		drop_mapping(page[i], addr->dir);
}

// The window that the caller means, if it is one and [offset, offset + bytes) lies in it.
Iova *check_iova(const dsvm_os_dev &dev, const dsvm_iova *iova, u64 offset, u64 bytes)
{
	Iova *const found = find_iova(World::current(), iova->addr);

	if (found == nullptr || found->addr != iova->addr || found->size != iova->size ||
	    found->dev != &dev) {
		dsvm_env_violation("no window of device addresses");
		return nullptr;
	}
	if (((offset | bytes) & ~kPageMask) != 0 || offset + bytes > found->size) {
		dsvm_env_violation("outside of a window of device addresses");
		return nullptr;
	}
	return found;
}

} // namespace

Page *World::page_of_dma(u64 addr)
{
	if (addr >= kIovaBase) {
		Iova *const iova = find_iova(*this, addr);

		if (iova != nullptr && slot_of(*iova, addr).page != nullptr &&
		    !slot_of(*iova, addr).synced)
			dsvm_env_violation("a device address used before its sync");
	}
	return resolve(*this, addr);
}

} // namespace dsvm::fake

using namespace dsvm;
using fake::Call;
using fake::from_os;
using fake::Iova;
using fake::IovaSlot;
using fake::World;

// Models dma_map_page() and dma_mapping_error(): no allocation that could block.
int dsvm_os_dma_map(dsvm_os_dev *dev, dsvm_os_page *page, dsvm_u32 order, dsvm_dma_dir dir,
		    dsvm_dma_addr *out)
{
	World &world = World::current();

	if (!world.is_ram(from_os(page)))
		dsvm_env_violation("device memory mapped as RAM");
	if (const int injected = world.enter(Call::kDmaMap))
		return injected;
	if (order > world.max_dma_order())
		return -DSVM_EFAULT;
	const bool direct = world.maps_directly();
	static_cast<void>(
		fake::dma_map(*dev, from_os(page), order, dir, DSVM_PROTO_SYSTEM, out));
	if (direct) {
		fake::dma_unmap(*dev, out, DSVM_PROTO_SYSTEM);
		out->addr += fake::kDmaDirect;
	}
	return 0;
}

// Models dma_unmap_page().
void dsvm_os_dma_unmap(dsvm_os_dev *dev, const dsvm_dma_addr *addr)
{
	static_cast<void>(World::current().enter(Call::kDmaUnmap));
	if (addr->proto == DSVM_PROTO_SYSTEM && fake::is_direct_addr(addr->addr))
		return;
	fake::dma_unmap(*dev, addr, DSVM_PROTO_SYSTEM);
}

// Models dma_map_page() of more than one page, which may be of many folios.
int dsvm_os_dma_map_run(dsvm_os_dev *dev, dsvm_os_page *page, dsvm_usize npages, dsvm_dma_dir dir,
			dsvm_u64 *addr)
{
	World &world = World::current();
	fake::Page *const pages = from_os(page);

	for (usize i = 0; i < npages; i++) {
		if (!world.is_ram(&pages[i]))
			dsvm_env_violation("device memory mapped as RAM");
	}
	if (const int injected = world.enter(Call::kDmaMapRun))
		return injected;
	if (world.max_dma_order() < 32 && npages > 1ul << world.max_dma_order())
		return -DSVM_EFAULT;
	const bool direct = world.maps_directly();
	for (usize i = 0; i < npages; i++) {
		fake::add_mapping(world, pages[i], dir);
		if (direct)
			fake::drop_mapping(pages[i], dir);
	}
	*addr = fake::address_of(*dev, pages) + (direct ? fake::kDmaDirect : 0);
	return 0;
}

// Models dma_unmap_page().
void dsvm_os_dma_unmap_run(dsvm_os_dev *dev, dsvm_u64 addr, dsvm_usize npages, dsvm_dma_dir dir)
{
	World &world = World::current();

	static_cast<void>(world.enter(Call::kDmaUnmapRun));
	if (fake::is_direct_addr(addr))
		return;
	for (usize i = 0; i < npages; i++) {
		const dsvm_dma_addr entry = {addr + i * kPageSize, DSVM_PROTO_SYSTEM, 0,
					     static_cast<dsvm_u64>(dir)};
		fake::dma_unmap(*dev, &entry, DSVM_PROTO_SYSTEM);
	}
}

// Models dma_need_unmap().
dsvm_bool dsvm_os_dma_needs_unmap(dsvm_os_dev *)
{
	World &world = World::current();

	return world.enter(Call::kDmaNeedsUnmap) != 0 || !world.is_direct() || world.has_iommu();
}

// Models dma_need_sync(): asked of a mapping that there is.
dsvm_bool dsvm_os_dma_needs_sync(dsvm_os_dev *, const dsvm_dma_addr *addr)
{
	World &world = World::current();

	if (addr->proto != DSVM_PROTO_SYSTEM ||
	    (!fake::is_direct_addr(addr->addr) && fake::resolve(world, addr->addr)->dma == 0))
		dsvm_env_violation("dma_need_sync() of what is not mapped");
	return world.enter(Call::kDmaNeedsSync) != 0 || world.needs_sync();
}

// Models dma_iova_try_alloc(): only behind an IOMMU, and only where there are addresses left.
dsvm_bool dsvm_os_iova_alloc(dsvm_os_dev *dev, dsvm_os_page *page, dsvm_usize bytes, dsvm_iova *out)
{
	World &world = World::current();

	if (from_os(page)->refs == 0 || !world.is_ram(from_os(page)))
		dsvm_env_violation("a window of device addresses for what is no RAM in use");
	if (bytes == 0 || (bytes & ~kPageMask) != 0)
		dsvm_env_violation("a window of device addresses of parts of pages");
	if (world.enter(Call::kIovaAlloc) != 0 || !world.has_iommu())
		return false;
	const Iova *const iova = fake::new_iova(world, *dev, bytes);
	if (iova == nullptr)
		return false;
	out->addr = iova->addr;
	out->size = iova->size;
	return true;
}

// Models dma_iova_link().
int dsvm_os_iova_link(dsvm_os_dev *dev, dsvm_iova *iova, dsvm_os_page *page, dsvm_u32 order,
		      dsvm_usize offset, dsvm_dma_dir dir)
{
	World &world = World::current();
	Iova *const window = fake::check_iova(*dev, iova, offset, kPageSize << order);

	if (!world.is_ram(from_os(page)))
		dsvm_env_violation("device memory linked as RAM");
	if (const int injected = world.enter(Call::kIovaLink))
		return injected;
	if (window == nullptr)
		return -DSVM_EFAULT;
	for (u32 i = 0; i < 1u << order; i++) {
		IovaSlot &slot = window->slots[(offset >> kPageShift) + i];

		if (slot.page != nullptr) {
			dsvm_env_violation("a device address linked twice");
			continue;
		}
		slot = {from_os(page) + i, static_cast<u8>(dir), false};
		fake::add_mapping(world, from_os(page)[i], dir);
	}
	return 0;
}

// Models dma_iova_sync().
int dsvm_os_iova_sync(dsvm_os_dev *dev, dsvm_iova *iova, dsvm_usize bytes)
{
	Iova *const window = fake::check_iova(*dev, iova, 0, bytes);

	if (const int injected = World::current().enter(Call::kIovaSync))
		return injected;
	if (window == nullptr)
		return -DSVM_EFAULT;
	for (usize i = 0; i < bytes >> kPageShift; i++)
		window->slots[i].synced = window->slots[i].page != nullptr;
	return 0;
}

// Models dma_iova_unlink(): all of it is linked, in that direction.
void dsvm_os_iova_unlink(dsvm_os_dev *dev, dsvm_iova *iova, dsvm_usize offset, dsvm_usize bytes,
			 dsvm_dma_dir dir)
{
	Iova *const window = fake::check_iova(*dev, iova, offset, bytes);

	static_cast<void>(World::current().enter(Call::kIovaUnlink));
	for (usize i = 0; window != nullptr && i < bytes >> kPageShift; i++) {
		IovaSlot &slot = window->slots[(offset >> kPageShift) + i];

		if (slot.page == nullptr) {
			dsvm_env_violation("a device address unlinked that is not linked");
			continue;
		}
		if (slot.dir != dir)
			dsvm_env_violation("a device address unlinked in another direction");
		fake::drop_mapping(*slot.page, slot.dir);
		slot = {};
	}
}

// Models dma_iova_free(): nothing is linked any more.
void dsvm_os_iova_free(dsvm_os_dev *dev, dsvm_iova *iova)
{
	Iova *const window = fake::check_iova(*dev, iova, 0, 0);

	static_cast<void>(World::current().enter(Call::kIovaFree));
	if (window == nullptr)
		return;
	for (const IovaSlot &slot : window->slots) {
		if (slot.page != nullptr)
			dsvm_env_violation("a window of device addresses freed with links in it");
	}
	window->dev = nullptr;
}

// Models drm_pagemap_ops.device_map().
int dsvm_os_provider_map(dsvm_os_provider *provider, dsvm_os_dev *dev, dsvm_os_page *page,
			 dsvm_u32 order, dsvm_dma_dir dir, dsvm_dma_addr *out)
{
	World &world = World::current();

	if (!world.is_device(from_os(page)) || from_os(page)->zdd == nullptr ||
	    from_os(page)->zdd->provider != provider)
		dsvm_env_violation("a provider asked to map what is not its own");
	if (const int injected = world.enter(Call::kProviderMap))
		return injected;
	const int result = fake::dma_map(*dev, from_os(page), order, dir, DSVM_PROTO_DRIVER, out);
	if (world.has_sloppy_providers()) {
		out->order = 0;
		out->dir = 0;
	}
	return result;
}

// Models drm_pagemap_ops.device_unmap().
void dsvm_os_provider_unmap(dsvm_os_provider *, dsvm_os_dev *dev, const dsvm_dma_addr *addr)
{
	static_cast<void>(World::current().enter(Call::kProviderUnmap));
	fake::dma_unmap(*dev, addr, DSVM_PROTO_DRIVER);
}

// Models drm_pagemap_get(): needs a reference already.
void dsvm_os_provider_get(dsvm_os_provider *provider)
{
	if (provider->refs == 0)
		dsvm_env_violation("reference to a dead provider taken");
	provider->refs++;
}

// Models drm_pagemap_put(): any context.
void dsvm_os_provider_put(dsvm_os_provider *provider)
{
	if (provider->refs <= 1)
		dsvm_env_violation("the provider's own reference dropped");
	else
		provider->refs--;
}
