// SPDX-License-Identifier: GPL-2.0-only OR MIT
//
// The driver's memory: what src/linux/pagemap.c and stub_vram.c do together.

#include "tests/host/simmm/driver_impl.h"

#include <new>

namespace dsvm::sim {

namespace {

// Allocations ---------------------------------------------------------------------

// As stub_devmem_create(): any frames, the first ones that are free.
int create_devmem(Mm &mm, u32 npages, Devmem **out)
{
	Driver::Impl &impl = driver();
	void *const memory = dsvm_os_alloc(sizeof(Devmem) + npages * sizeof(u16));
	u32 index = 0, count = 0;

	if (memory == nullptr)
		return -DSVM_ENOMEM;
	Devmem *const devmem = new (memory) Devmem;
	devmem->npages = npages;
	devmem->mm = &mm;
	devmem->frames = reinterpret_cast<u16 *>(devmem + 1);
	for (u32 i = 0; i < impl.frame_taken.size() && count < npages; i++) {
		if (impl.frame_taken[i] == 0)
			devmem->frames[count++] = static_cast<u16>(i);
	}
	while (index < kMaxDevmems && impl.devmems[index] != nullptr)
		index++;
	if (count < npages || index == kMaxDevmems) {
		dsvm_os_free(memory);
		return -DSVM_ENOSPC;
	}
	for (u32 i = 0; i < npages; i++)
		impl.frame_taken[devmem->frames[i]] = 1;
	devmem->index = index;
	impl.devmems[index] = devmem;
	*out = devmem;
	return 0;
}

// As zdd_detach() and zdd_release_atomic(): that nothing lives there any more is known at once,
// the rest may sleep.
void detach(Zdd &zdd)
{
	Driver::Impl &impl = driver();
	DevmemZdd &self = static_cast<DevmemZdd &>(zdd);
	DevmemZdd **end = &impl.zdds_to_destroy;

	self.devmem->zdd = nullptr;
	self.devmem->detached = true;
	while (*end != nullptr)
		end = &(*end)->next;
	*end = &self;
	impl.release_worker.queue();
}

DevmemZdd *create_zdd(Devmem &devmem)
{
	void *const memory = dsvm_os_alloc(sizeof(DevmemZdd));

	if (memory == nullptr)
		return nullptr;
	DevmemZdd *const zdd = new (memory) DevmemZdd;
	zdd->refs = 1;
	zdd->provider = to_os(driver().provider);
	zdd->owner = machine().device_owner;
	zdd->mm = devmem.mm;
	zdd->released = detach;
	zdd->allocation = zdd->devmem = &devmem;
	devmem.zdd = zdd;
	dsvm_os_provider_get(zdd->provider);
	return zdd;
}

void destroy_zdd(DevmemZdd &zdd)
{
	driver().put_devmem(*zdd.devmem);
	dsvm_os_provider_put(zdd.provider);
	dsvm_os_free(&zdd);
}

// As dsvm_zdd_put(), of who may sleep: the last one destroys it here and now.
void put_zdd(DevmemZdd &zdd)
{
	const bool is_last = zdd.refs == 1;

	machine().zdd_put(zdd);
	if (!is_last)
		return;
	DevmemZdd **link = &driver().zdds_to_destroy;
	while (*link != &zdd)
		link = &(*link)->next;
	*link = zdd.next;
	destroy_zdd(zdd);
}

// Copies ------------------------------------------------------------------------------

// The frames in an order that tells an index of the span from one of the allocation.
int populate(void *allocation, dsvm_usize npages, dsvm_usize *pfns)
{
	const Devmem &devmem = *static_cast<DevmemCall *>(allocation)->devmem;

	if (npages > devmem.npages)
		scheduler().fail("more frames are asked for than there are", "%lu of %u", npages,
				 devmem.npages);
	scheduler().point(Point::kOs);
	if (machine().fails(Fail::kPopulate))
		return -DSVM_EIO;
	for (dsvm_usize i = 0; i < npages; i++)
		pfns[i] = kDevicePfn + devmem.frames[i];
	return 0;
}

// The copy engine reaches RAM by DMA alone, so where it is not mapped it finds nothing.
Page *ram_at(const dsvm_dma_addr &addr, bool writes)
{
	const u32 index = machine().page_of_pfn((addr.addr - kDmaOffset) >> kPageShift);

	if (index == kNoPage || machine().is_device(index) || machine().page(index).dma == 0) {
		scheduler().fail("the copy engine is sent to where no RAM is mapped",
				 "address %#llx", addr.addr);
		return nullptr;
	}
	if (addr.order != 0 || addr.proto != DSVM_PROTO_SYSTEM)
		scheduler().fail("the copy engine gets more than one page an entry", "order %u",
				 static_cast<u32>(addr.order));
	if (addr.dir != DSVM_DMA_BIDIRECTIONAL &&
	    addr.dir != (writes ? DSVM_DMA_FROM_DEVICE : DSVM_DMA_TO_DEVICE))
		scheduler().fail("the copy engine copies against the direction of a mapping", "%u",
				 static_cast<u32>(addr.dir));
	return &machine().page(index);
}

// What both directions ask of an allocation and of each of its pages.
void check_copy(const DevmemCall &call, Page &page)
{
	if (page.refs == 0 || !page.locked)
		scheduler().fail("a page is copied that may change", "page %u: %u references, %s",
				 machine().index_of(page), page.refs,
				 page.locked ? "locked" : "not locked");
	if (page.zdd == nullptr || page.zdd->allocation != call.devmem)
		scheduler().fail("an allocation is asked to copy another one's page", "page %u",
				 machine().index_of(page));
}

int copy(void *allocation, dsvm_os_page **pages, dsvm_dma_addr *addrs, dsvm_usize npages,
	 bool to_ram)
{
	DevmemCall &call = *static_cast<DevmemCall *>(allocation);

	call.copies++;
	scheduler().may_sleep("a copy");
	if (scheduler().holds_rank(LockRank::kNotifier))
		scheduler().fail("waits under a lock that invalidations take", "for a copy");
	for (dsvm_usize i = 0; i < npages; i++) {
		if (pages[i] == nullptr)
			continue;
		Page &page = from_os(pages[i]);

		scheduler().point(Point::kCopy);
		if (machine().fails(Fail::kCopy))
			return -DSVM_EIO;
		check_copy(call, page);
		// No source: the page has to be cleared. An address may be zero, a direction is not.
		Page *const ram = to_ram || addrs[i].dir != 0 ? ram_at(addrs[i], to_ram) : nullptr;
		if (to_ram && ram != nullptr)
			ram->content = page.content;
		else if (!to_ram)
			page.content = ram != nullptr ? ram->content : 0;
	}
	scheduler().point(Point::kCopy);
	return 0;
}

int copy_to_device(void *allocation, dsvm_os_page **pages, dsvm_dma_addr *addrs, dsvm_usize npages)
{
	return copy(allocation, pages, addrs, npages, false);
}

int copy_to_ram(void *allocation, dsvm_os_page **pages, dsvm_dma_addr *addrs, dsvm_usize npages)
{
	return copy(allocation, pages, addrs, npages, true);
}

// As to_core_devmem().
dsvm_devmem to_core_devmem(DevmemCall &call, DevmemZdd *zdd)
{
	dsvm_devmem core = {};

	core.allocation = &call;
	core.dev = to_os(driver().device);
	core.provider = to_os(driver().provider);
	core.zdd = zdd != nullptr ? to_os(*zdd) : nullptr;
	core.size = dsvm_usize{call.devmem->npages} << kPageShift;
	core.populate = populate;
	core.copy_to_device = copy_to_device;
	core.copy_to_ram = copy_to_ram;
	return core;
}

void check_copies(const DevmemCall &call, u32 most, const char *what)
{
	if (call.copies > most)
		scheduler().fail("a loop goes on after its budget", "%s: %u copies", what,
				 call.copies);
}

// To VRAM -------------------------------------------------------------------------------

// What dsvm_migrate_to_device() says has to fit what it did.
void check_migrated(const dsvm_to_device &request, int ret)
{
	const dsvm_usize npages = (request.last - request.first + 1) >> kPageShift;

	if (ret == 0 ? request.migrated != 0 && request.migrated != npages
		     : ret != -DSVM_EBUSY && request.migrated != 0)
		scheduler().fail("a migration does not say what it did",
				 "returned %d, moved %lu of %lu pages", ret, request.migrated,
				 npages);
}

// As drm_pagemap_migrate_to_devmem(). Consumes the allocation. Locking: the mm's lock.
int migrate_to_devmem(Devmem &devmem, Mm &mm, usize first, usize last)
{
	DevmemZdd *const zdd = create_zdd(devmem);
	DevmemCall call{&devmem};
	dsvm_to_device request = {};

	if (zdd == nullptr) {
		driver().put_devmem(devmem);
		return -DSVM_ENOMEM;
	}
	const dsvm_devmem core = to_core_devmem(call, zdd);
	request.mm = to_os(mm);
	request.first = first;
	request.last = last;
	request.owner = machine().device_owner;
	request.devmem = &core;
	request.all_or_nothing = true;

	// Before the pages are there, so that no CPU fault sees another time.
	devmem.timeslice_end_ns = scheduler().now_ns() + driver().config.timeslice_ns;
	// -EIO is the callbacks'; -EFAULT what DMA does not reach.
	const int ret =
		expect("dsvm_migrate_to_device", dsvm_migrate_to_device(&request), DSVM_ENOENT,
		       DSVM_EINVAL, DSVM_EBUSY, DSVM_ENOMEM, DSVM_EIO, DSVM_EFAULT);
	check_migrated(request, ret);
	check_copies(call, 1, "dsvm_migrate_to_device");
	put_zdd(*zdd);
	return ret;
}

} // namespace

// As drm_pagemap_populate_mm() and stub_vram_populate_mm().
int Driver::Impl::populate_mm(Mm &mm, usize first, usize last)
{
	Devmem *devmem = nullptr;

	if (!dsvm_os_mm_get(to_os(mm)))
		return -DSVM_EFAULT;
	scheduler().read_lock(mm.lock);
	int ret = create_devmem(mm, static_cast<u32>((last - first + 1) >> kPageShift), &devmem);
	if (ret == 0)
		ret = migrate_to_devmem(*devmem, mm, first, last);
	scheduler().read_unlock(mm.lock);
	dsvm_os_mm_put_async(to_os(mm));
	return ret;
}

// As stub_vram_num_free().
u32 Driver::Impl::free_pages()
{
	u32 count = 0;

	release_worker.flush();
	for (const u8 taken : frame_taken)
		count += taken == 0;
	return count;
}

// Back to RAM ---------------------------------------------------------------------------

// As pagemap_migrate_to_ram(): the fault's reference to the page is what keeps the rest.
FaultResult Driver::Impl::migrate_to_ram(Mm &, Vma &vma, usize addr, Page &page)
{
	DevmemZdd &zdd = static_cast<DevmemZdd &>(*page.zdd);
	DevmemCall call{zdd.devmem};
	const dsvm_devmem core = to_core_devmem(call, &zdd);
	dsvm_cpu_fault fault = {};

	fault.vma = to_os(vma);
	fault.vma_first = vma.first;
	fault.vma_last = vma.last;
	fault.addr = addr;
	fault.page = to_os(page);
	fault.owner = machine().device_owner;
	fault.devmem = &core;
	fault.in_timeslice = scheduler().now_ns() < zdd.devmem->timeslice_end_ns;
	const dsvm_fault_result result = dsvm_migrate_to_ram(&fault);
	check_copies(call, fault.in_timeslice ? 0 : 1, "dsvm_migrate_to_ram");

	switch (result) {
	case DSVM_FAULT_DONE:
		return FaultResult::kRetry;
	case DSVM_FAULT_OOM:
		return FaultResult::kOom;
	case DSVM_FAULT_LOST:
		break;
	}
	return FaultResult::kBus;
}

// As drm_pagemap_evict_to_ram(), with the reference that its caller has.
int Driver::Impl::evict(Devmem &devmem)
{
	DevmemCall call{&devmem};
	int ret = 0;

	devmem.refs++;
	scheduler().point(Point::kOp);
	if (devmem.zdd != nullptr) {
		const dsvm_devmem core = to_core_devmem(call, nullptr);

		ret = expect("dsvm_migrate_evict",
			     dsvm_migrate_evict(&core, to_os(*devmem.mm),
						[](void *allocation) -> dsvm_bool {
							return static_cast<DevmemCall *>(allocation)
								->devmem->detached;
						}),
			     DSVM_EBUSY, DSVM_ENOMEM, DSVM_EIO);
		check_copies(call, DSVM_EVICT_TRIES, "dsvm_migrate_evict");
		if (ret == 0 && !devmem.detached)
			scheduler().fail("an eviction is through while something lives there",
					 "%u pages", devmem.npages);
	}
	put_devmem(devmem);
	return ret;
}

// As stub_devmem_release(), for the last reference. May sleep.
void Driver::Impl::put_devmem(Devmem &devmem)
{
	if (--devmem.refs != 0)
		return;
	for (u32 i = 0; i < devmem.npages; i++) {
		const u32 page = machine().page_of_pfn(kDevicePfn + devmem.frames[i]);

		if (machine().page(page).refs != 0)
			scheduler().fail("VRAM is given back that is in use", "page %u", page);
		frame_taken[devmem.frames[i]] = 0;
	}
	devmems[devmem.index] = nullptr;
	dsvm_os_free(&devmem);
}

// What the library's release workqueue does.
void Driver::Impl::release_zdds()
{
	while (DevmemZdd *const zdd = zdds_to_destroy) {
		zdds_to_destroy = zdd->next;
		scheduler().point(Point::kOp);
		destroy_zdd(*zdd);
	}
}

} // namespace dsvm::sim
