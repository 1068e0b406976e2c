// SPDX-License-Identifier: GPL-2.0-only OR MIT
//
// The driver's memory: what src/linux/pagemap*.c, stub_vram.c and stub_devmem.c do together.

#include "tests/host/simmm/driver_impl.h"

#include <new>

namespace dsvm::sim {

namespace {

// Frames --------------------------------------------------------------------------

bool is_free_run(const Vram &vram, u32 first, u32 count)
{
	for (u32 i = first; i < first + count; i++) {
		if (i >= vram.frames.size() || vram.frames[i] != nullptr)
			return false;
	}
	return true;
}

// In a row and aligned, if there are such; else any. False: there are too few.
bool choose_frames(const Vram &vram, Devmem &devmem)
{
	const u32 frames = static_cast<u32>(vram.frames.size());
	const u32 block = machine().block_pages();
	u32 count = 0;

	for (u32 first = 0; !driver().config.scatters && first < frames; first += block) {
		if (!is_free_run(vram, first, devmem.npages))
			continue;
		for (; count < devmem.npages; count++)
			devmem.frames[count] = first + count;
		return true;
	}
	// The last ones first, so that hardly any follow each other.
	for (u32 i = frames; i > 0 && count < devmem.npages; i--) {
		if (vram.frames[i - 1] == nullptr)
			devmem.frames[count++] = i - 1;
	}
	return count == devmem.npages;
}

// Frames come back. Any context.
void free_frames(Devmem &devmem, u32 first_page, u32 npages)
{
	Vram &vram = *devmem.vram;

	for (u32 page = first_page; page < first_page + npages; page++) {
		const u32 frame = vram.frame_of(page);

		if (frame >= vram.frames.size() || vram.frames[frame] != &devmem) {
			scheduler().fail("VRAM is given back by who does not have it", "page %u",
					 page);
			return;
		}
		if (machine().folio_of(machine().page(page)).refs != 0)
			scheduler().fail("VRAM is given back that is in use", "page %u", page);
		vram.frames[frame] = nullptr;
	}
}

// As stub_devmem_free_pages(): of pages that were in use.
void on_freed(Zdd &zdd, u32 first, u32 npages)
{
	if (!driver().config.frees_pages)
		return;
	driver().tally.freed_early += npages;
	free_frames(*static_cast<DevmemZdd &>(zdd).devmem, first, npages);
}

// And of those that never were.
void on_unused(void *allocation, dsvm_usize pfn, dsvm_usize npages)
{
	const u32 page = machine().page_of_pfn(pfn);

	scheduler().point(Point::kOs);
	if (page == kNoPage) {
		scheduler().fail("a page frame is none of the device's", "%#lx", pfn);
		return;
	}
	free_frames(*static_cast<Devmem *>(allocation), page, static_cast<u32>(npages));
}

int populate(void *allocation, dsvm_usize npages, dsvm_usize *pfns)
{
	const Devmem &devmem = *static_cast<Devmem *>(allocation);

	if (npages > devmem.npages)
		scheduler().fail("more frames are asked for than there are", "%lu of %u", npages,
				 devmem.npages);
	scheduler().point(Point::kOs);
	if (machine().fails(Fail::kPopulate))
		return -DSVM_EIO;
	for (dsvm_usize i = 0; i < npages; i++)
		pfns[i] = machine().pfn_of(devmem.vram->page_of(devmem.frames[i]));
	return 0;
}

// zdds ----------------------------------------------------------------------------

// As zdd_detach() and zdd_release_atomic(): that nothing lives there any more is known at once,
// the rest may sleep.
void detach(Zdd &zdd)
{
	Driver::Impl &impl = driver();
	DevmemZdd &self = static_cast<DevmemZdd &>(zdd);
	DevmemZdd **end = &impl.zdds_to_destroy;

	self.devmem->zdd = nullptr;
	while (*end != nullptr)
		end = &(*end)->next_gone;
	*end = &self;
	impl.release_worker.queue();
}

void link_zdd(Zdd &zdd)
{
	Zdd **end = &driver().vrams[0].provider.zdds;

	if (zdd.provider != to_os(driver().vrams[0].provider))
		end = &driver().vrams[1].provider.zdds;
	while (*end != nullptr)
		end = &(*end)->next;
	*end = &zdd;
}

void unlink_zdd(Zdd &zdd)
{
	Zdd **link = &from_os(zdd.provider).zdds;

	while (*link != &zdd)
		link = &(*link)->next;
	*link = zdd.next;
}

void destroy_zdd(DevmemZdd &zdd)
{
	unlink_zdd(zdd);
	dsvm_devmem_fini(&zdd.devmem_core);
	driver().put_devmem(*zdd.devmem);
	dsvm_os_provider_put(zdd.provider);
	dsvm_os_free(&zdd);
}

void describe(const Devmem &devmem, DevmemZdd &zdd)
{
	const DriverConfig &config = driver().config;
	Vram &vram = *devmem.vram;
	dsvm_devmem &core = zdd.devmem_core;

	core.allocation = zdd.devmem;
	core.dev = to_os(vram.device);
	core.provider = to_os(vram.provider);
	core.zdd = to_os(static_cast<Zdd &>(zdd));
	core.owner = machine().device_owners[&vram - driver().vrams];
	core.counters = &vram.provider.counters;
	core.size = dsvm_usize{devmem.npages} << kPageShift;
	core.first = devmem.first;
	core.fault_npages = config.granule_pages;
	core.copies_runs = config.copies_runs;
	core.populate = populate;
	core.copy = Driver::Impl::copy;
	core.unused = config.frees_pages ? on_unused : nullptr;
}

} // namespace

// As stub_devmem_create().
int create_devmem(Vram &vram, Mm &mm, usize first, u32 npages, Devmem **out)
{
	void *const memory = dsvm_os_alloc(sizeof(Devmem) + npages * sizeof(u32));

	if (memory == nullptr)
		return -DSVM_ENOMEM;
	Devmem *const devmem = new (memory) Devmem;
	devmem->npages = npages;
	devmem->vram = &vram;
	devmem->mm = &mm;
	devmem->first = first;
	devmem->frames = reinterpret_cast<u32 *>(devmem + 1);
	if (!choose_frames(vram, *devmem)) {
		dsvm_os_free(memory);
		return -DSVM_ENOSPC;
	}
	for (u32 i = 0; i < npages; i++)
		vram.frames[devmem->frames[i]] = devmem;
	Devmem **end = &vram.devmems;
	while (*end != nullptr)
		end = &(*end)->next;
	*end = devmem;
	*out = devmem;
	return 0;
}

// As zdd_create(): an unplugged device takes nothing any more, also if it was unplugged just now.
DevmemZdd *create_zdd(Devmem &devmem, int &err)
{
	void *const memory = dsvm_os_alloc(sizeof(DevmemZdd));

	err = -DSVM_ENOMEM;
	if (memory == nullptr) {
		driver().put_devmem(devmem);
		return nullptr;
	}
	DevmemZdd *const zdd = new (memory) DevmemZdd;
	zdd->refs = 1;
	zdd->provider = to_os(devmem.vram->provider);
	zdd->mm = devmem.mm;
	zdd->released = detach;
	zdd->freed = on_freed;
	zdd->allocation = zdd->devmem = &devmem;
	zdd->core = &zdd->devmem_core;
	// Before the pages are there, so that no CPU fault sees another time.
	zdd->timeslice_end_ns = scheduler().now_ns() + driver().config.timeslice_ns;
	describe(devmem, *zdd);
	dsvm_os_provider_get(zdd->provider);
	err = expect("dsvm_devmem_init", dsvm_devmem_init(&zdd->devmem_core), DSVM_ENOMEM,
		     DSVM_EIO);
	link_zdd(*zdd);
	// Who evicts finds it from here on.
	devmem.zdd = err == 0 ? zdd : nullptr;
	if (err == 0 && devmem.vram->unplugged)
		err = -DSVM_ENODEV;
	if (err == 0)
		return zdd;
	put_zdd(*zdd);
	return nullptr;
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
		link = &(*link)->next_gone;
	*link = zdd.next_gone;
	destroy_zdd(zdd);
}

// To VRAM -------------------------------------------------------------------------------

// What dsvm_migrate_to_device() says has to fit what it did.
static void check_migrated(const dsvm_to_device &request, int ret)
{
	const dsvm_usize npages = (request.last - request.first + 1) >> kPageShift;

	if (ret == 0 ? request.migrated != 0 && request.migrated != npages
		     : ret != -DSVM_EBUSY && request.migrated != 0)
		scheduler().fail("a migration does not say what it did",
				 "returned %d, moved %lu of %lu pages", ret, request.migrated,
				 npages);
}

// As drm_pagemap_migrate_to_devmem(). Consumes the allocation. Locking: the mm's lock.
static int migrate_to_devmem(Devmem &devmem, Mm &mm, usize first, usize last)
{
	dsvm_to_device request = {};
	int ret = 0;
	DevmemZdd *const zdd = create_zdd(devmem, ret);

	if (zdd == nullptr)
		return ret;
	request.mm = to_os(mm);
	request.first = first;
	request.last = last;
	request.owner = machine().device_owners[0];
	request.devmem = &zdd->devmem_core;
	request.all_or_nothing = true;
	// -EIO and -EAGAIN are the callbacks'; -EFAULT what DMA does not reach.
	ret = expect("dsvm_migrate_to_device", dsvm_migrate_to_device(&request), DSVM_ENOENT,
		     DSVM_EINVAL, DSVM_EBUSY, DSVM_ENOMEM, DSVM_EIO, DSVM_EAGAIN, DSVM_EFAULT);
	check_migrated(request, ret);
	devmem.is_filled = true;
	put_zdd(*zdd);
	return ret;
}

// As drm_pagemap_populate_mm() and stub_vram_populate_mm().
int Driver::Impl::populate_mm(Mm &mm, usize first, usize last)
{
	Devmem *devmem = nullptr;

	if (!dsvm_os_mm_get(to_os(mm)))
		return -DSVM_EFAULT;
	scheduler().read_lock(mm.lock);
	int ret = create_devmem(vrams[0], mm, first,
				static_cast<u32>((last - first + 1) >> kPageShift), &devmem);
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
	for (const Devmem *owner : vrams[0].frames)
		count += owner == nullptr;
	return count;
}

// Back to RAM ---------------------------------------------------------------------------

// As pagemap_migrate_to_ram(): the fault's reference to the page is what keeps the rest.
FaultResult Driver::Impl::migrate_to_ram(CpuFault &cpu)
{
	const Zdd &zdd = *machine().folio_of(cpu.page).zdd;
	const u64 now_ns = scheduler().now_ns();
	dsvm_cpu_fault fault = {};

	fault.fault = to_os(cpu);
	fault.vma = to_os(cpu.vma);
	fault.vma_first = cpu.vma.first;
	fault.vma_last = cpu.vma.last;
	fault.addr = cpu.addr;
	fault.page = to_os(cpu.page);
	fault.order = cpu.order;
	fault.is_part = machine().folio_of(cpu.page).order > cpu.order;
	fault.by_user = cpu.may_unlock;
	fault.devmem = zdd.core;
	fault.timeslice_ns = zdd.timeslice_end_ns > now_ns ? zdd.timeslice_end_ns - now_ns : 0;
	switch (dsvm_migrate_to_ram(&fault)) {
	case DSVM_FAULT_DONE:
		return FaultResult::kDone;
	case DSVM_FAULT_RETRY:
		return FaultResult::kRetry;
	case DSVM_FAULT_OOM:
		return FaultResult::kOom;
	case DSVM_FAULT_LOST:
		break;
	}
	return FaultResult::kBus;
}

// Nothing lives in the frames any more, of who had them filled when the eviction began: who comes
// to fill them later may have done it by now.
static void check_evicted(const Devmem &devmem, const Zdd &zdd, u32 index, u32 npages)
{
	for (u32 i = index; i < index + npages; i++) {
		const Page &folio =
			machine().folio_of(machine().page(devmem.vram->page_of(devmem.frames[i])));

		if (folio.refs != 0 && folio.zdd == &zdd)
			scheduler().fail("an eviction is through while something lives there",
					 "page %u of %u", i, devmem.npages);
	}
}

// As drm_svm_evict(), with the reference that its caller has.
int Driver::Impl::evict(Devmem &devmem, u32 index, u32 npages)
{
	int ret = 0;

	devmem.refs++;
	scheduler().point(Point::kOp);
	if (DevmemZdd *const zdd = devmem.zdd) {
		const bool was_filled = devmem.is_filled;

		zdd->refs++;
		ret = expect(
			"dsvm_migrate_evict",
			dsvm_migrate_evict(&zdd->devmem_core, to_os(*devmem.mm), index, npages),
			DSVM_EBUSY, DSVM_ENOSPC);
		if (ret == 0 && was_filled)
			check_evicted(devmem, *zdd, index, npages);
		put_zdd(*zdd);
	}
	put_devmem(devmem);
	return ret;
}

// As stub_devmem_evict_oldest().
bool Driver::Impl::evict_oldest(Vram &vram)
{
	Devmem *oldest = vram.devmems;

	while (oldest != nullptr && (oldest->zdd == nullptr || !oldest->is_filled))
		oldest = oldest->next;
	if (oldest == nullptr)
		return false;
	tally.evicted_for_room++;
	const int err = evict(*oldest, 0, oldest->npages);
	release_worker.flush();
	return err == 0;
}

// As stub_devmem_release(), for the last reference. May sleep.
void Driver::Impl::put_devmem(Devmem &devmem)
{
	Devmem **link = &devmem.vram->devmems;

	if (--devmem.refs != 0)
		return;
	for (u32 i = 0; i < devmem.npages; i++) {
		if (devmem.vram->frames[devmem.frames[i]] == &devmem)
			free_frames(devmem, devmem.vram->page_of(devmem.frames[i]), 1);
	}
	while (*link != &devmem)
		link = &(*link)->next;
	*link = devmem.next;
	dsvm_os_free(&devmem);
}

// What the library's release workqueue does.
void Driver::Impl::release_zdds()
{
	while (DevmemZdd *const zdd = zdds_to_destroy) {
		zdds_to_destroy = zdd->next_gone;
		scheduler().point(Point::kOp);
		destroy_zdd(*zdd);
	}
}

} // namespace dsvm::sim
