// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * drm/drm_pagemap.h: allocations of device memory, and mainline's ways to move
 * data into them and out again.
 */
#include <linux/dma-fence.h>
#include <linux/err.h>
#include <linux/export.h>
#include <linux/jiffies.h>
#include <linux/mm.h>
#include <linux/mmap_lock.h>

#include <drm/drm_pagemap.h>
#include <drm/drm_svm.h>

#include "drm_svm/os.h"
#include "pagemap_internal.h"

/**
 * drm_pagemap_devmem_init() - Sets up an allocation of device memory
 * @devmem_allocation: the allocation, in the driver's memory
 * @dev: the device, for DMA
 * @mm: the address space that it is for
 * @ops: the driver's callbacks
 * @dpagemap: the provider
 * @size: bytes, a multiple of the page size
 * @pre_migrate_fence: what the first copy has to wait for, or NULL; the
 *	reference is consumed once the data has been migrated
 *
 * Fields beyond these are zero, and may be set afterwards.
 *
 * Context: Any.
 */
void drm_pagemap_devmem_init(struct drm_pagemap_devmem *devmem_allocation,
			     struct device *dev, struct mm_struct *mm,
			     const struct drm_pagemap_devmem_ops *ops,
			     struct drm_pagemap *dpagemap, size_t size,
			     struct dma_fence *pre_migrate_fence)
{
	*devmem_allocation = (struct drm_pagemap_devmem) {
		.dev = dev,
		.mm = mm,
		.ops = ops,
		.dpagemap = dpagemap,
		.size = size,
		.pre_migrate_fence = pre_migrate_fence,
	};
	init_completion(&devmem_allocation->detached);
	spin_lock_init(&devmem_allocation->zdd_lock);
}
EXPORT_SYMBOL_GPL(drm_pagemap_devmem_init);

/* The driver's callbacks for one allocation, as the core calls them. */

static int devmem_populate(void *allocation, dsvm_usize npages, dsvm_usize *pfns)
{
	struct drm_pagemap_devmem *devmem = allocation;

	return devmem->ops->populate_devmem_pfn(devmem, npages, pfns);
}

/* What has to be done before somebody may write to where a copy goes. */
static struct dma_fence *fence_before(const struct drm_pagemap_devmem *devmem,
				      const struct dsvm_copy *copy)
{
	if (copy->target)
		return core_to_zdd(copy->target)->devmem->pre_migrate_fence;
	return copy->to_ram ? NULL : devmem->pre_migrate_fence;
}

static noinline int copy_runs(struct drm_pagemap_devmem *devmem, struct dsvm_copy *copy)
{
	struct dma_fence *done =
		devmem->ops->copy_runs(devmem, (const struct drm_svm_copy_run *)copy->runs,
				       copy->nruns, copy->to_ram, fence_before(devmem, copy));

	if (IS_ERR(done))
		return PTR_ERR(done);

	copy->done = os_fence(done);
	return 0;
}

static int devmem_copy(void *allocation, struct dsvm_copy *copy)
{
	struct drm_pagemap_devmem *devmem = allocation;
	const struct drm_pagemap_devmem_ops *ops = devmem->ops;
	struct drm_pagemap_addr *addrs = (struct drm_pagemap_addr *)copy->addrs;
	struct page **pages = (struct page **)copy->pages;

	if (ops->copy_runs)
		return copy_runs(devmem, copy);
	if (copy->to_ram)
		return ops->copy_to_ram(pages, addrs, copy->npages, fence_before(devmem, copy));
	return ops->copy_to_devmem(pages, addrs, copy->npages, fence_before(devmem, copy));
}

static void devmem_unused(void *allocation, dsvm_usize pfn, dsvm_usize npages)
{
	struct drm_pagemap_devmem *devmem = allocation;

	devmem->ops->devmem_free_pages(devmem, pfn_to_page(pfn), npages);
}

void dsvm_devmem_bind(struct drm_pagemap_zdd *zdd, unsigned long start)
{
	struct drm_pagemap_devmem *devmem = zdd->devmem;

	zdd->core = (struct dsvm_devmem) {
		.allocation = devmem,
		.dev = os_dev(devmem->dev),
		.provider = os_provider(zdd->dpagemap),
		.zdd = os_zdd(zdd),
		.owner = zdd->dpagemap->pagemap->owner,
		.counters = &zdd->dpagemap->dev_hold->counters,
		.size = devmem->size,
		.first = start,
		.fault_npages = devmem->fault_granule >> PAGE_SHIFT,
		.copies_runs = !!devmem->ops->copy_runs,
		.populate = devmem_populate,
		.copy = devmem_copy,
		.unused = devmem->ops->devmem_free_pages ? devmem_unused : NULL,
	};
}

static int check_devmem_ops(const struct drm_pagemap_devmem_ops *ops)
{
	return drm_svm_can_migrate() && ops->populate_devmem_pfn && ops->copy_to_devmem &&
	       ops->copy_to_ram ? 0 : -EOPNOTSUPP;
}

/* Into an allocation that has a zdd. */
static int migrate_to_zdd(struct drm_pagemap_zdd *zdd, struct mm_struct *mm,
			  unsigned long start, unsigned long end,
			  const struct drm_pagemap_migrate_details *mdetails)
{
	struct drm_pagemap_devmem *devmem = zdd->devmem;
	struct dsvm_to_device request = {
		.mm = os_mm(mm),
		.first = start,
		.last = end - 1,
		.owner = zdd->core.owner,
		.devmem = &zdd->core,
		.all_or_nothing = true,
		.within_provider = mdetails->can_migrate_same_pagemap,
	};
	int ret;

	/* Before the pages are there, so that no CPU fault sees another time. */
	dsvm_devmem_start_timeslice(devmem, mdetails->timeslice_ms);
	ret = dsvm_migrate_to_device(&request);
	if (!ret)
		dsvm_devmem_put_fence(devmem);
	return ret;
}

/**
 * drm_pagemap_migrate_to_devmem() - Moves a span of memory to the device
 * @devmem_allocation: a fresh allocation, at least as large as the span. The
 *	caller's reference is consumed, also on error: if nothing lives in it
 *	in the end, &drm_pagemap_devmem_ops.devmem_release was called.
 * @mm: the address space
 * @start: first byte, page aligned
 * @end: first byte after the span, page aligned, in the same VMA
 * @mdetails: how it is meant
 *
 * All pages move, or none: one that is pinned, locked or otherwise busy stops
 * the others. Pages that are not there yet are made, as zeroed device memory; but 7.3 makes
 * only one huge page in a GiB in which there is none of any kind, so that more than that
 * is -EBUSY there, whatever the library. drm_svm_migrate_to_devmem() goes by 2 MiB.
 *
 * Context: mmap_lock held, at least for reading. Sleeps.
 *
 * Return: 0, also if all pages were in the provider's memory already;
 * -EOPNOTSUPP: kernel without device-private memory, or a callback is
 * missing; -ENODEV: the provider was unplugged; -ENOENT: no VMA at @start;
 * -EINVAL: not aligned, beyond the VMA or larger than the allocation; -EBUSY:
 * not anonymous memory, some pages are device memory already, or a page cannot
 * move now. If a page got busy at the last moment -EBUSY is returned although
 * others have moved. -EFAULT: RAM that DMA does not reach; -ENOMEM; what a
 * callback returned.
 */
int drm_pagemap_migrate_to_devmem(struct drm_pagemap_devmem *devmem_allocation,
				  struct mm_struct *mm,
				  unsigned long start, unsigned long end,
				  const struct drm_pagemap_migrate_details *mdetails)
{
	int ret = check_devmem_ops(devmem_allocation->ops);
	struct drm_pagemap_zdd *zdd;

	mmap_assert_locked(mm);

	zdd = ret ? ERR_PTR(ret) : dsvm_zdd_create(devmem_allocation, start);
	if (IS_ERR(zdd)) {
		dsvm_devmem_release(devmem_allocation);
		return PTR_ERR(zdd);
	}

	ret = migrate_to_zdd(zdd, mm, start, end, mdetails);
	dsvm_zdd_put(zdd);
	return ret;
}
EXPORT_SYMBOL_GPL(drm_pagemap_migrate_to_devmem);

/*
 * A page that was in use when the core looked last may be free, and its reference to the
 * zdd not be dropped yet. For longer than this only somebody who fills the allocation has
 * one: he may wait for what our caller holds.
 */
#define DETACH_MS 100

/**
 * drm_pagemap_evict_to_ram() - Moves all that lives in an allocation to RAM
 * @devmem_allocation: the allocation; the caller has a reference of its own
 *
 * Goes over the owner's page tables first, and for what is not there through the
 * pages' reverse mappings: after a mremap(), and after the owner has exited as well,
 * as long as children of a fork have the pages. The owner's mmap_lock is tried for
 * reading, so that it does not unmap what is on its way, and never waited for: the
 * caller may hold locks that are taken under it. What the kernel does not guard
 * here, in mainline either: a child that unmaps, or an munmap() by the owner that
 * is all but done, in the very moment in which a page moves.
 *
 * If nobody else is at work on the allocation, &drm_pagemap_devmem_ops.devmem_release
 * was called on return, with the locks that the caller has; otherwise it comes later.
 *
 * Context: Sleeps. No mmap_lock, no notifier lock.
 *
 * Return: 0: nothing lives there any more; -EBUSY: some page could not be
 * moved in a bounded number of tries, or the owner kept its mmap_lock or was
 * exiting all the time, or somebody else is at work on the allocation; -ENOSPC:
 * there is no RAM; -EINTR: the caller is being killed; -ENODEV: the device has
 * gone, and the data with it; -EOPNOTSUPP: kernel without device-private memory,
 * or a callback is missing. Whatever could be moved was.
 */
int drm_pagemap_evict_to_ram(struct drm_pagemap_devmem *devmem_allocation)
{
	struct drm_pagemap_zdd *zdd;
	int ret;

	if (!drm_svm_can_migrate())
		return -EOPNOTSUPP;

	zdd = dsvm_zdd_of(devmem_allocation);
	if (!zdd)
		return 0;

	ret = dsvm_migrate_evict(&zdd->core, os_mm(zdd->mm), 0, zdd->core.size >> PAGE_SHIFT);
	dsvm_zdd_put(zdd);
	if (ret)
		return ret;

	return wait_for_completion_timeout(&devmem_allocation->detached,
					   msecs_to_jiffies(DETACH_MS)) ? 0 : -EBUSY;
}
EXPORT_SYMBOL_GPL(drm_pagemap_evict_to_ram);

void dsvm_devmem_start_timeslice(struct drm_pagemap_devmem *devmem, unsigned long ms)
{
	WRITE_ONCE(devmem->timeslice_expiration, get_jiffies_64() + msecs_to_jiffies(ms));
}

void dsvm_devmem_put_fence(struct drm_pagemap_devmem *devmem)
{
	dma_fence_put(devmem->pre_migrate_fence);
	devmem->pre_migrate_fence = NULL;
}

u64 dsvm_devmem_timeslice_ns(const struct drm_pagemap_devmem *devmem)
{
	u64 end = READ_ONCE(devmem->timeslice_expiration);
	u64 now = get_jiffies_64();

	return time_before64(now, end) ? jiffies64_to_nsecs(end - now) : 0;
}

vm_fault_t dsvm_pagemap_fault(struct vm_fault *vmf)
{
	/* What the kernel comes here with is ours. */
	struct drm_pagemap_zdd *zdd = dsvm_folio_zdd(compound_head(vmf->page));
	struct dsvm_cpu_fault fault = {
		.fault = os_fault(vmf),
		.vma = os_vma(vmf->vma),
		.vma_first = vmf->vma->vm_start,
		.vma_last = vmf->vma->vm_end - 1,
		.addr = vmf->address,
		.page = os_page(vmf->page),
		/* A huge page's entry has no place in a table of pages. */
		.order = vmf->pte ? 0 : dsvm_os_huge_order(),
		.is_part = vmf->pte && folio_test_large(page_folio(vmf->page)),
		.by_user = !!(vmf->flags & FAULT_FLAG_USER),
		.devmem = &zdd->core,
		.timeslice_ns = dsvm_devmem_timeslice_ns(zdd->devmem),
	};
	enum dsvm_fault_result result = dsvm_migrate_to_ram(&fault);

	if (likely(result == DSVM_FAULT_DONE)) {
		if (fault.by_user)
			dsvm_zdd_keep_until_return(zdd);
		return 0;
	}
	switch (result) {
	case DSVM_FAULT_RETRY:
		return VM_FAULT_RETRY;
	case DSVM_FAULT_OOM:
		return VM_FAULT_OOM;
	default:
		return VM_FAULT_SIGBUS;
	}
}
