// SPDX-License-Identifier: GPL-2.0-only OR MIT
//
// A driver with memory of its own: what a case hands to the migration engine.
//
// An Allocation is a run of the fake device's page frames and the driver's callbacks
// for it. Its copy engine reaches RAM only through DMA addresses that are mapped, and
// complains about any other.
//
//	zdd references:  one of the allocation's maker until settle(),
//	                 one of each page in use
//
// The allocation is detached, as drm_pagemap calls it, when the last has gone.
#ifndef DSVM_KUNIT_FAKE_DEVICE_H
#define DSVM_KUNIT_FAKE_DEVICE_H

#include "drm_svm/migrate.h"
#include "kunit/fake/world.h"

namespace dsvm::fake {

class Allocation {
public:
	// `npages` frames from the device's page `first` on; `owner` as drivers say it.
	Allocation(World &world, u32 first, u32 npages, void *owner)
		: world_(world), first_pfn_(kDevicePfn + first), npages_(npages)
	{
		zdd_ = world.make_zdd(world.provider(), owner, released, this);
		devmem_.allocation = this;
		devmem_.dev = world.device();
		devmem_.provider = world.provider();
		devmem_.zdd = to_os(zdd_);
		devmem_.size = usize{npages} * kPageSize;
		devmem_.populate = populate;
		devmem_.copy_to_device = copy_to_device;
		devmem_.copy_to_ram = copy_to_ram;
	}
	Allocation(const Allocation &) = delete;
	Allocation &operator=(const Allocation &) = delete;
	~Allocation() { settle(); }

	// The maker's reference goes: from here on the pages alone keep it.
	void settle()
	{
		if (!settled_)
			world_.zdd_put(zdd_);
		settled_ = true;
	}

	[[nodiscard]] const dsvm_devmem &devmem() const { return devmem_; }
	[[nodiscard]] bool is_detached() const { return detached_; }
	[[nodiscard]] static dsvm_bool detached(void *allocation)
	{
		return static_cast<Allocation *>(allocation)->detached_;
	}
	// Frames that are pages in use now.
	[[nodiscard]] u32 pages_in_use() const
	{
		u32 count = 0;

		for (u32 i = 0; i < npages_; i++)
			count += world_.page_of_pfn(first_pfn_ + i)->refs != 0;
		return count;
	}
	[[nodiscard]] Page *page(u32 index) const { return world_.page_of_pfn(first_pfn_ + index); }

private:
	static void released(void *arg) { static_cast<Allocation *>(arg)->detached_ = true; }

	static int populate(void *arg, usize npages, usize *pfns)
	{
		Allocation &self = *static_cast<Allocation *>(arg);

		if (npages > self.npages_)
			dsvm_env_violation("more frames asked for than the allocation has");
		if (const int injected = self.world_.enter(Call::kPopulate))
			return injected;
		for (usize i = 0; i < npages; i++)
			pfns[i] = self.first_pfn_ + i;
		return 0;
	}

	// The RAM behind a DMA address that is mapped for @dir.
	static Page *ram_at(World &world, const dsvm_dma_addr &addr, dsvm_dma_dir dir)
	{
		Page *const page = world.page_of_dma(addr.addr);

		if (page->dma == 0 || page->refs == 0)
			dsvm_env_violation("the copy engine reads or writes unmapped memory");
		if (addr.dir != static_cast<u64>(dir))
			dsvm_env_violation("a copy against the direction of a mapping");
		if (addr.order != 0)
			dsvm_env_violation("one address an entry: orders are not spread");
		return page;
	}

	static int copy_to_device(void *arg, dsvm_os_page **pages, dsvm_dma_addr *addrs,
				  usize npages)
	{
		Allocation &self = *static_cast<Allocation *>(arg);

		check_locks();
		if (const int injected = self.world_.enter(Call::kCopyToDevice))
			return injected;
		for (usize i = 0; i < npages; i++) {
			if (pages[i] == nullptr)
				continue;
			// No source: the page has to be cleared.
			const Page *const ram =
				addrs[i].dir == 0
					? nullptr
					: ram_at(self.world_, addrs[i], DSVM_DMA_TO_DEVICE);
			from_os(pages[i])->content = ram != nullptr ? ram->content : 0;
		}
		return 0;
	}

	static int copy_to_ram(void *arg, dsvm_os_page **pages, dsvm_dma_addr *addrs, usize npages)
	{
		Allocation &self = *static_cast<Allocation *>(arg);

		check_locks();
		if (const int injected = self.world_.enter(Call::kCopyToRam))
			return injected;
		for (usize i = 0; i < npages; i++) {
			if (pages[i] == nullptr)
				continue;
			if (from_os(pages[i])->refs == 0)
				dsvm_env_violation("a free device page copied");
			ram_at(self.world_, addrs[i], DSVM_DMA_FROM_DEVICE)->content =
				from_os(pages[i])->content;
		}
		return 0;
	}

	static void check_locks()
	{
		if (holds_notifier_lock())
			dsvm_env_violation("a copy is waited for under the notifier lock");
	}

	World &world_;
	const usize first_pfn_;
	const u32 npages_;
	Zdd *zdd_;
	bool settled_ = false;
	bool detached_ = false;
	dsvm_devmem devmem_ = {};
};

} // namespace dsvm::fake

#endif // DSVM_KUNIT_FAKE_DEVICE_H
