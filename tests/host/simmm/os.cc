// SPDX-License-Identifier: GPL-2.0-only OR MIT
//
// drm_svm/os.h on the machine: memory, time, log, locks, address spaces, interval notifiers,
// DMA. Pages are collected in hmm.cc and moved in migrate.cc.
//
// Each function is what src/linux makes of it: a kernel call, whose contract is checked here.
// Where the kernel only goes wrong if the worst happens (a wait that finds nobody to wait
// for), this complains always, as lockdep does.

#include <cstdarg>
#include <cstdio>

#include "tests/host/simmm/os.h"

namespace dsvm::sim {

void no_notifier_lock(const char *what)
{
	if (scheduler().holds_rank(LockRank::kNotifier))
		scheduler().fail("waits under a lock that invalidations take", "%s", what);
}

Mm &mm_of(const Vma &vma)
{
	for (u32 i = 0; i < kMaxMms; i++) {
		Mm &mm = machine().mm(i);
		if (&vma >= mm.vmas && &vma < mm.vmas + kMaxVmas)
			return mm;
	}
	scheduler().fail("a VMA of no address space", "%p is none",
			 static_cast<const void *>(&vma));
	return machine().mm(0);
}

namespace {

// Kernel: vma_lookup() and find_vma_intersection() assert the mmap lock, in any mode.
bool describe(Mm &mm, Vma *vma, dsvm_vma_info *out)
{
	if (!scheduler().holds(mm.lock))
		scheduler().fail("VMAs are looked at without the mm's lock", "mm %u", mm.index);
	if (vma == nullptr)
		return false;
	*out = {to_os(*vma),
		vma->first,
		vma->last,
		vma->write,
		vma->kind == VmaKind::kAnonymous,
		vma->kind == VmaKind::kSpecial};
	return true;
}

// The pages of a mapping, one after the other.
template <class Visit> void for_each_page(u32 first, u32 order, Visit visit)
{
	for (u32 i = first; i < first + (1u << order); i++)
		visit(machine().page(i));
}

// The first page of a mapping that there has to be.
u32 mapped_page(const dsvm_dma_addr &addr, u64 proto, const char *what)
{
	const u32 first = page_of_dma(addr.addr);
	bool mapped = first != kNoPage && addr.proto == proto &&
		      first + (1u << addr.order) <=
			      machine().geometry().ram_pages + machine().geometry().device_pages;

	if (mapped)
		for_each_page(first, addr.order,
			      [&](Page &page) { mapped = mapped && page.dma > 0; });
	if (!mapped)
		scheduler().fail("what is not mapped for DMA is taken for mapped", "%s of %#llx",
				 what, addr.addr);
	return first;
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
	if (device.mappings-- == 0)
		scheduler().fail("what is not mapped for DMA is taken for mapped",
				 "the device has no mapping left");
}

// What a mapping covers has to be in use, and one folio: the CPU maps nothing else in one go.
void check_run(u32 first, u32 order)
{
	Page &folio = machine().folio_of(machine().page(first));
	const u32 head = machine().index_of(folio);

	if (folio.refs == 0)
		scheduler().fail("a free page is used", "page %u is mapped for DMA", first);
	if (first + (1u << order) > head + (1u << folio.order))
		scheduler().fail("pages are mapped in one go that do not belong together",
				 "2^%u pages from %u on, the folio is 2^%u from %u on", order,
				 first, folio.order, head);
}

} // namespace

} // namespace dsvm::sim

using namespace dsvm;
using namespace dsvm::sim;

// Memory ----------------------------------------------------------------------

// Kernel: kvzalloc(GFP_KERNEL) may wait for reclaim, which may wait for notifiers.
void *dsvm_os_alloc(dsvm_usize bytes)
{
	scheduler().may_allocate();
	scheduler().point(Point::kAlloc);
	return machine().fails(Fail::kAlloc) ? nullptr : machine().alloc(bytes);
}

// Kernel: kvfree() may sleep, for what comes from vmalloc().
void dsvm_os_free(void *memory)
{
	if (memory == nullptr)
		return;
	scheduler().may_sleep("kvfree");
	machine().free(memory);
}

// Time, log, warnings ---------------------------------------------------------

dsvm_u64 dsvm_os_now_ns(void)
{
	return scheduler().now_ns();
}

void dsvm_os_relax(void)
{
	scheduler().relax();
}

// Kernel: fatal_signal_pending(current).
dsvm_bool dsvm_os_killed(void)
{
	return scheduler().is_killed();
}

void dsvm_os_log(dsvm_log_level, const char *format, ...)
{
	char line[256];
	va_list args;

	if (!scheduler().traces())
		return;
	va_start(args, format);
	std::vsnprintf(line, sizeof(line), format, args);
	va_end(args);
	scheduler().note("log: %s", line);
}

void dsvm_os_warn(const char *file, int line, const char *what)
{
	scheduler().fail("the core finds an invariant broken", "%s:%d: %s", file, line, what);
}

// Locks -----------------------------------------------------------------------

void dsvm_os_read_lock(dsvm_os_rwsem *lock)
{
	scheduler().read_lock(from_os(lock));
}

void dsvm_os_read_unlock(dsvm_os_rwsem *lock)
{
	scheduler().read_unlock(from_os(lock));
}

void dsvm_os_write_lock(dsvm_os_rwsem *lock)
{
	scheduler().write_lock(from_os(lock));
}

void dsvm_os_write_unlock(dsvm_os_rwsem *lock)
{
	scheduler().write_unlock(from_os(lock));
}

void dsvm_os_assert_held(dsvm_os_rwsem *lock)
{
	if (!scheduler().holds(from_os(lock)))
		scheduler().fail("a lock is not held that has to be", "%s", from_os(lock).name);
}

void dsvm_os_assert_held_write(dsvm_os_rwsem *lock)
{
	if (!scheduler().holds_write(from_os(lock)))
		scheduler().fail("a lock is not held that has to be", "%s, for writing",
				 from_os(lock).name);
}

// Address spaces --------------------------------------------------------------

// Kernel: include/linux/sched/mm.h, mmget_not_zero().
dsvm_bool dsvm_os_mm_get(dsvm_os_mm *mm)
{
	scheduler().point(Point::kOs);
	if (!machine().mm_get(from_os(mm)))
		return false;
	from_os(mm).kept++;
	return true;
}

static void drop_kept(Mm &mm)
{
	scheduler().point(Point::kOs);
	if (mm.kept == 0)
		scheduler().fail("an mm loses a user that it does not have", "mm %u", mm.index);
	mm.kept--;
}

// Kernel: mmput_async() leaves exit_mmap() to a worker.
void dsvm_os_mm_put_async(dsvm_os_mm *mm)
{
	drop_kept(from_os(mm));
	machine().mm_put_async(from_os(mm));
}

void dsvm_os_mm_read_lock(dsvm_os_mm *mm)
{
	scheduler().read_lock(from_os(mm).lock);
}

// Kernel: exit_mmap() takes the VMAs out last of all.
dsvm_bool dsvm_os_mm_is_gone(dsvm_os_mm *mm)
{
	scheduler().point(Point::kOs);
	return from_os(mm).torn_down;
}

// Kernel: include/linux/mmap_lock.h.
dsvm_bool dsvm_os_mm_read_trylock(dsvm_os_mm *mm)
{
	scheduler().point(Point::kLock);
	return scheduler().try_read_lock(from_os(mm).lock);
}

void dsvm_os_mm_read_unlock(dsvm_os_mm *mm)
{
	scheduler().read_unlock(from_os(mm).lock);
}

dsvm_bool dsvm_os_vma_at(dsvm_os_mm *handle, dsvm_usize addr, dsvm_vma_info *out)
{
	return dsvm_os_vma_first(handle, addr, addr, out);
}

dsvm_bool dsvm_os_vma_first(dsvm_os_mm *handle, dsvm_usize first, dsvm_usize last,
			    dsvm_vma_info *out)
{
	Mm &mm = from_os(handle);

	scheduler().point(Point::kOs);
	return describe(mm, machine().first_vma(mm, first, last), out);
}

// Interval notifiers ----------------------------------------------------------

// Kernel: mm/mmu_notifier.c; lockdep takes a wait for an invalidation for a lock.
dsvm_usize dsvm_os_notifier_read_begin(dsvm_os_notifier *notifier)
{
	no_notifier_lock("mmu_interval_read_begin");
	return machine().notifier_read_begin(from_os(notifier));
}

dsvm_bool dsvm_os_notifier_read_retry(dsvm_os_notifier *notifier, dsvm_usize seq)
{
	return machine().notifier_read_retry(from_os(notifier), seq);
}

// Kernel: include/linux/mmu_notifier.h: under the lock that read_retry() is called under.
void dsvm_os_notifier_set_seq(dsvm_os_notifier *notifier, dsvm_usize seq)
{
	if (!scheduler().holds_rank(LockRank::kNotifier))
		scheduler().fail("a sequence is published without the notifier lock", "%lu", seq);
	machine().notifier_set_seq(from_os(notifier), seq);
}

void dsvm_os_notifier_remove(dsvm_os_notifier *notifier)
{
	no_notifier_lock("mmu_interval_notifier_remove");
	machine().notifier_remove(from_os(notifier));
}

// DMA -------------------------------------------------------------------------

// Kernel: folio_mark_dirty(): what is dirty is not dropped by reclaim, MADV_FREE or not.
void dsvm_os_page_mark_dirty(dsvm_os_page *page)
{
	Page &folio = machine().folio_of(from_os(page));

	if (folio.refs == 0)
		scheduler().fail("a free page is used", "page %u is marked dirty",
				 machine().index_of(from_os(page)));
	folio.dirty = true;
	folio.lazy = false;
}

// Kernel: Documentation/core-api/dma-api.rst. May fail, for lack of addresses or because a
// bounce buffer has a largest size; never sleeps.
int dsvm_os_dma_map(dsvm_os_dev *dev, dsvm_os_page *handle, dsvm_u32 order, dsvm_dma_dir dir,
		    dsvm_dma_addr *out)
{
	Device &device = from_os(dev);
	const u32 first = machine().index_of(from_os(handle));

	scheduler().point(Point::kOs);
	if (machine().is_device(first))
		scheduler().fail("a device page is mapped as if it were RAM", "page %u", first);
	if (first == kZeroPage && dir != DSVM_DMA_TO_DEVICE)
		scheduler().fail("the zero page is mapped for a device to write", "direction %d",
				 dir);
	check_run(first, order);
	if (order > device.max_order || machine().fails(Fail::kDmaMap))
		return -DSVM_EFAULT;
	*out = dma_map(device, first, order, dir, DSVM_PROTO_SYSTEM);
	return 0;
}

void dsvm_os_dma_unmap(dsvm_os_dev *dev, const dsvm_dma_addr *addr)
{
	scheduler().point(Point::kOs);
	dma_unmap(from_os(dev), *addr, DSVM_PROTO_SYSTEM);
}

// Kernel: include/linux/dma-mapping.h, dma_need_sync(). This device is coherent.
dsvm_bool dsvm_os_dma_needs_sync(dsvm_os_dev *, const dsvm_dma_addr *addr)
{
	static_cast<void>(mapped_page(*addr, DSVM_PROTO_SYSTEM, "dma_need_sync()"));
	return false;
}

// drm/drm_pagemap.h, drm_pagemap_ops.device_map: for pages of that provider only.
int dsvm_os_provider_map(dsvm_os_provider *provider, dsvm_os_dev *dev, dsvm_os_page *handle,
			 dsvm_u32 order, dsvm_dma_dir dir, dsvm_dma_addr *out)
{
	const u32 first = machine().index_of(from_os(handle));
	const Page &page = from_os(handle);

	scheduler().point(Point::kOs);
	if (!machine().is_device(first) || page.zdd == nullptr || page.zdd->provider != provider)
		scheduler().fail("a provider is asked for what is not its own", "page %u", first);
	if (from_os(provider).refs == 0)
		scheduler().fail("a provider is used that is gone", "it maps page %u", first);
	check_run(first, order);
	if (machine().fails(Fail::kDmaMap))
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
	if (from_os(provider).refs++ == 0)
		scheduler().fail("a provider is used that is gone", "it gets a reference");
}

void dsvm_os_provider_put(dsvm_os_provider *provider)
{
	if (from_os(provider).refs-- == 0)
		scheduler().fail("a provider is used that is gone", "it loses a reference");
}
