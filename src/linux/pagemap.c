// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * drm/drm_pagemap.h: providers of device memory, allocations, and the way
 * into the migration engine.
 *
 * Who keeps whom:
 *
 *	device page -> zdd -> devmem (the driver's), mm (the struct)
 *			   -> drm_pagemap -> dev_hold -> drm_device, module
 *
 * A device page may be freed under a page-table lock, and what it keeps may
 * have to sleep to go away: the last reference to a zdd, and what a provider
 * holds, are given up on workqueues. That an allocation is empty is known, and
 * said (detached), at once.
 *
 * A device page whose data has gone back to RAM is "retired": it may still
 * have references, and must not be moved once more. That is the lowest bit of
 * what its zone_device_data says.
 */
#include <linux/dma-fence.h>
#include <linux/export.h>
#include <linux/jiffies.h>
#include <linux/mmap_lock.h>
#include <linux/module.h>
#include <linux/sched/mm.h>
#include <linux/slab.h>

#include <drm/drm_device.h>
#include <drm/drm_drv.h>
#include <drm/drm_pagemap.h>
#include <drm/drm_svm.h>

#include "compat/memremap_compat.h"
#include "drm_svm/migrate.h"
#include "internal.h"

/* Keeps a provider's device and module; outlives the drm_pagemap itself. */
struct drm_pagemap_dev_hold {
	struct work_struct work;
	struct drm_device *drm;
};

static void dev_unhold_work(struct work_struct *work)
{
	struct drm_pagemap_dev_hold *hold = container_of(work, struct drm_pagemap_dev_hold, work);
	struct module *owner = hold->drm->driver->fops->owner;

	drm_dev_put(hold->drm);
	module_put(owner);
	kfree(hold);
}

static void pagemap_release(struct kref *ref)
{
	struct drm_pagemap *dpagemap = container_of(ref, struct drm_pagemap, ref);
	struct drm_pagemap_dev_hold *hold = dpagemap->dev_hold;

	dpagemap->dev_hold = NULL;
	if (dpagemap->ops->destroy)
		dpagemap->ops->destroy(dpagemap, true);
	else
		kfree(dpagemap);
	queue_work(dsvm_unhold_wq, &hold->work);
}

/**
 * drm_pagemap_reinit() - Uses a provider again after its last put
 * @dpagemap: the provider, after its &drm_pagemap_ops.destroy was called
 *
 * Context: May sleep. Not concurrently with another use of @dpagemap.
 *
 * Return: 0, with one reference; -ENOMEM; -ENODEV if the provider's module is
 * going away.
 */
int drm_pagemap_reinit(struct drm_pagemap *dpagemap)
{
	struct drm_pagemap_dev_hold *hold = kzalloc(sizeof(*hold), GFP_KERNEL);

	if (!hold)
		return -ENOMEM;
	if (!try_module_get(dpagemap->drm->driver->fops->owner)) {
		kfree(hold);
		return -ENODEV;
	}

	drm_dev_get(dpagemap->drm);
	hold->drm = dpagemap->drm;
	INIT_WORK(&hold->work, dev_unhold_work);
	dpagemap->dev_hold = hold;
	kref_init(&dpagemap->ref);
	return 0;
}
EXPORT_SYMBOL_GPL(drm_pagemap_reinit);

/**
 * drm_pagemap_init() - Sets up a provider of device memory
 * @dpagemap: the provider, in the driver's memory
 * @pagemap: the kernel's struct for the device's pages, whose ops are
 *	drm_pagemap_pagemap_ops_get()
 * @drm: the device; it and its module stay as long as there are references
 * @ops: the provider's callbacks
 *
 * Context: May sleep.
 *
 * Return: 0, with one reference; -EINVAL without &drm_pagemap_ops.device_map;
 * -ENOMEM; -ENODEV if the provider's module is going away.
 */
int drm_pagemap_init(struct drm_pagemap *dpagemap,
		     struct dev_pagemap *pagemap,
		     struct drm_device *drm,
		     const struct drm_pagemap_ops *ops)
{
	if (!ops->device_map)
		return -EINVAL;

	dpagemap->ops = ops;
	dpagemap->drm = drm;
	dpagemap->pagemap = pagemap;
	return drm_pagemap_reinit(dpagemap);
}
EXPORT_SYMBOL_GPL(drm_pagemap_init);

/**
 * drm_pagemap_put() - Drops a reference to a provider
 * @dpagemap: the provider, or NULL
 *
 * Context: Any. The last one calls &drm_pagemap_ops.destroy.
 */
void drm_pagemap_put(struct drm_pagemap *dpagemap)
{
	if (dpagemap)
		kref_put(&dpagemap->ref, pagemap_release);
}
EXPORT_SYMBOL_GPL(drm_pagemap_put);

/**
 * drm_pagemap_page_to_dpagemap() - The provider of a page
 * @page: any page
 *
 * Context: Any. The page has to stay in use for the answer to mean anything.
 *
 * Return: the provider, without a reference; NULL if the page is not device
 * memory of a drm_pagemap.
 */
struct drm_pagemap *drm_pagemap_page_to_dpagemap(struct page *page)
{
	struct drm_pagemap_zdd *zdd = dsvm_page_zdd(page);

	return zdd ? zdd->dpagemap : NULL;
}
EXPORT_SYMBOL_GPL(drm_pagemap_page_to_dpagemap);

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
}
EXPORT_SYMBOL_GPL(drm_pagemap_devmem_init);

static void devmem_release(struct drm_pagemap_devmem *devmem)
{
	if (devmem->ops->devmem_release)
		devmem->ops->devmem_release(devmem);
}

/* From an allocation to its zdd, as long as there is one. */
static DEFINE_SPINLOCK(zdd_lock);

/* The last reference has gone: the allocation is empty. Any context. */
static void zdd_detach(struct drm_pagemap_zdd *zdd)
{
	unsigned long flags;

	spin_lock_irqsave(&zdd_lock, flags);
	zdd->devmem->zdd = NULL;
	spin_unlock_irqrestore(&zdd_lock, flags);
	complete_all(&zdd->devmem->detached);
}

/* The struct of an allocation's mm, held; NULL if nothing lives in it. */
static struct mm_struct *devmem_grab_mm(struct drm_pagemap_devmem *devmem)
{
	struct mm_struct *mm = NULL;
	unsigned long flags;

	spin_lock_irqsave(&zdd_lock, flags);
	if (devmem->zdd) {
		mm = devmem->zdd->mm;
		mmgrab(mm);
	}
	spin_unlock_irqrestore(&zdd_lock, flags);
	return mm;
}

static void zdd_destroy(struct drm_pagemap_zdd *zdd)
{
	devmem_release(zdd->devmem);
	mmdrop(zdd->mm);
	drm_pagemap_put(zdd->dpagemap);
	kfree(zdd);
}

static void zdd_destroy_work(struct work_struct *work)
{
	zdd_destroy(container_of(work, struct drm_pagemap_zdd, work));
}

static void zdd_release(struct kref *ref)
{
	struct drm_pagemap_zdd *zdd = container_of(ref, struct drm_pagemap_zdd, refcount);

	zdd_detach(zdd);
	zdd_destroy(zdd);
}

static void zdd_release_atomic(struct kref *ref)
{
	struct drm_pagemap_zdd *zdd = container_of(ref, struct drm_pagemap_zdd, refcount);

	zdd_detach(zdd);
	queue_work(dsvm_release_wq, &zdd->work);
}

struct drm_pagemap_zdd *dsvm_zdd_create(struct drm_pagemap_devmem *devmem)
{
	struct drm_pagemap_zdd *zdd = kzalloc(sizeof(*zdd), GFP_KERNEL);

	if (!zdd)
		return NULL;

	kref_init(&zdd->refcount);
	INIT_WORK(&zdd->work, zdd_destroy_work);
	zdd->devmem = devmem;
	zdd->dpagemap = drm_pagemap_get(devmem->dpagemap);
	zdd->mm = devmem->mm;
	mmgrab(zdd->mm);
	devmem->zdd = zdd;
	return zdd;
}

struct drm_pagemap_zdd *dsvm_zdd_get(struct drm_pagemap_zdd *zdd)
{
	kref_get(&zdd->refcount);
	return zdd;
}

/* May sleep. */
void dsvm_zdd_put(struct drm_pagemap_zdd *zdd)
{
	kref_put(&zdd->refcount, zdd_release);
}

/* Any context. */
void dsvm_zdd_put_atomic(struct drm_pagemap_zdd *zdd)
{
	kref_put(&zdd->refcount, zdd_release_atomic);
}

/* The driver's callbacks for one allocation, as the core calls them. */

static int devmem_populate(void *allocation, dsvm_usize npages, dsvm_usize *pfns)
{
	struct drm_pagemap_devmem *devmem = allocation;

	return devmem->ops->populate_devmem_pfn(devmem, npages, pfns);
}

static int devmem_copy_to_device(void *allocation, struct dsvm_os_page **pages,
				 struct dsvm_dma_addr *addrs, dsvm_usize npages)
{
	struct drm_pagemap_devmem *devmem = allocation;

	return devmem->ops->copy_to_devmem((struct page **)pages,
					   (struct drm_pagemap_addr *)addrs, npages,
					   devmem->pre_migrate_fence);
}

static int devmem_copy_to_ram(void *allocation, struct dsvm_os_page **pages,
			      struct dsvm_dma_addr *addrs, dsvm_usize npages)
{
	struct drm_pagemap_devmem *devmem = allocation;

	return devmem->ops->copy_to_ram((struct page **)pages,
					(struct drm_pagemap_addr *)addrs, npages, NULL);
}

static struct dsvm_devmem to_core_devmem(struct drm_pagemap_devmem *devmem,
					 struct drm_pagemap_zdd *zdd)
{
	return (struct dsvm_devmem) {
		.allocation = devmem,
		.dev = os_dev(devmem->dev),
		.provider = os_provider(devmem->dpagemap),
		.zdd = os_zdd(zdd),
		.size = devmem->size,
		.populate = devmem_populate,
		.copy_to_device = devmem_copy_to_device,
		.copy_to_ram = devmem_copy_to_ram,
	};
}

static int check_devmem_ops(const struct drm_pagemap_devmem_ops *ops)
{
	return drm_svm_can_migrate() && ops->populate_devmem_pfn && ops->copy_to_devmem &&
	       ops->copy_to_ram ? 0 : -EOPNOTSUPP;
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
 * the others. Pages that are not there yet are made, as zeroed device memory.
 *
 * Context: mmap_lock held, at least for reading. Sleeps.
 *
 * Return: 0, also if all pages were in the provider's memory already;
 * -EOPNOTSUPP: kernel without device-private memory, or a callback is
 * missing; -ENOENT: no VMA at @start; -EINVAL: not aligned, beyond the VMA or
 * larger than the allocation; -EBUSY: not anonymous memory, some pages are
 * device memory already, or a page cannot move now. If a page got busy at the
 * last moment -EBUSY is returned although others have moved. -EFAULT: RAM that
 * DMA does not reach; -ENOMEM; what a callback returned.
 */
int drm_pagemap_migrate_to_devmem(struct drm_pagemap_devmem *devmem_allocation,
				  struct mm_struct *mm,
				  unsigned long start, unsigned long end,
				  const struct drm_pagemap_migrate_details *mdetails)
{
	struct drm_pagemap_zdd *zdd;
	int ret;

	mmap_assert_locked(mm);

	ret = check_devmem_ops(devmem_allocation->ops);
	zdd = ret ? NULL : dsvm_zdd_create(devmem_allocation);
	if (zdd) {
		struct dsvm_devmem devmem = to_core_devmem(devmem_allocation, zdd);
		struct dsvm_to_device request = {
			.mm = os_mm(mm),
			.first = start,
			.last = end - 1,
			.owner = devmem_allocation->dpagemap->pagemap->owner,
			.devmem = &devmem,
			.all_or_nothing = true,
		};

		/* Before the pages are there, so that no CPU fault sees another time. */
		devmem_allocation->timeslice_expiration = get_jiffies_64() +
			msecs_to_jiffies(mdetails->timeslice_ms);
		ret = dsvm_migrate_to_device(&request);
		if (!ret) {
			dma_fence_put(devmem_allocation->pre_migrate_fence);
			devmem_allocation->pre_migrate_fence = NULL;
		}
		dsvm_zdd_put(zdd);
		return ret;
	}

	devmem_release(devmem_allocation);
	return ret ?: -ENOMEM;
}
EXPORT_SYMBOL_GPL(drm_pagemap_migrate_to_devmem);

static dsvm_bool devmem_detached(void *allocation)
{
	struct drm_pagemap_devmem *devmem = allocation;

	return completion_done(&devmem->detached);
}

/**
 * drm_pagemap_evict_to_ram() - Moves all that lives in an allocation to RAM
 * @devmem_allocation: the allocation; the caller has a reference of its own
 *
 * Works through the pages' reverse mappings, without the owner's page tables,
 * and after the owner has exited as well, as long as children of a fork have the
 * pages. The owner's mmap_lock is tried for reading, so that it does not unmap
 * what is on its way, and never waited for: the caller may hold locks that are
 * taken under it. What the kernel does not guard here, in mainline either: a
 * child that unmaps, or an munmap() by the owner that is all but done, in the
 * very moment in which a page moves.
 *
 * Context: Sleeps. No mmap_lock, no notifier lock.
 *
 * Return: 0: nothing lives there any more; -EBUSY: some page could not be
 * moved in a bounded number of tries, or the owner kept its mmap_lock or was
 * exiting all the time; -EINTR: the caller is being killed;
 * -ENOMEM; what a callback returned. Whatever could be moved was.
 */
int drm_pagemap_evict_to_ram(struct drm_pagemap_devmem *devmem_allocation)
{
	struct dsvm_devmem devmem = to_core_devmem(devmem_allocation, NULL);
	int ret = check_devmem_ops(devmem_allocation->ops);
	struct mm_struct *mm;

	if (ret)
		return ret;

	mm = devmem_grab_mm(devmem_allocation);
	if (!mm)
		return 0;
	ret = dsvm_migrate_evict(&devmem, os_mm(mm), devmem_detached);
	mmdrop(mm);
	return ret;
}
EXPORT_SYMBOL_GPL(drm_pagemap_evict_to_ram);

/**
 * drm_pagemap_populate_mm() - Asks a provider to take over a span of memory
 * @dpagemap: the provider
 * @start: first byte, page aligned
 * @end: first byte after the span
 * @mm: the address space
 * @timeslice_ms: how long, in milliseconds, CPU faults leave it with the device
 *
 * Context: Takes the mmap_lock for reading; sleeps.
 *
 * Return: 0; -EFAULT: the address space has gone; what
 * &drm_pagemap_ops.populate_mm returned.
 */
int drm_pagemap_populate_mm(struct drm_pagemap *dpagemap,
			    unsigned long start, unsigned long end,
			    struct mm_struct *mm,
			    unsigned long timeslice_ms)
{
	int ret;

	if (!mmget_not_zero(mm))
		return -EFAULT;

	mmap_read_lock(mm);
	ret = dpagemap->ops->populate_mm(dpagemap, start, end, mm, timeslice_ms);
	mmap_read_unlock(mm);
	mmput_async(mm);	/* the driver's lock may be held */
	return ret;
}
EXPORT_SYMBOL_GPL(drm_pagemap_populate_mm);

/* The kernel's callbacks for device pages. */

static vm_fault_t pagemap_migrate_to_ram(struct vm_fault *vmf)
{
	struct drm_pagemap_zdd *zdd = dsvm_page_zdd(vmf->page);
	struct dsvm_devmem devmem = to_core_devmem(zdd->devmem, zdd);
	struct dsvm_cpu_fault fault = {
		.vma = os_vma(vmf->vma),
		.vma_first = vmf->vma->vm_start,
		.vma_last = vmf->vma->vm_end - 1,
		.addr = vmf->address,
		.page = os_page(vmf->page),
		.owner = compat_page_pgmap(vmf->page)->owner,
		.devmem = &devmem,
		.in_timeslice = time_before64(get_jiffies_64(),
					      zdd->devmem->timeslice_expiration),
	};

	switch (dsvm_migrate_to_ram(&fault)) {
	case DSVM_FAULT_DONE:
		return 0;
	case DSVM_FAULT_OOM:
		return VM_FAULT_OOM;
	default:
		return VM_FAULT_SIGBUS;
	}
}

static void put_page_zdd(struct page *page)
{
	dsvm_zdd_put_atomic(dsvm_page_zdd(page));
}

COMPAT_DEFINE_PAGE_FREE(pagemap_page_free, put_page_zdd)

static const struct dev_pagemap_ops pagemap_ops = {
	.COMPAT_PAGE_FREE = pagemap_page_free,
	.migrate_to_ram = pagemap_migrate_to_ram,
};

bool dsvm_page_is_ours(struct page *page)
{
	struct dev_pagemap *pgmap = is_zone_device_page(page) ? compat_page_pgmap(page) : NULL;

	return pgmap && pgmap->ops == &pagemap_ops;
}

#define PAGE_RETIRED BIT(0)

/* All of our device pages are of order 0. */
static unsigned long page_data(struct page *page)
{
	return (unsigned long)page->zone_device_data;
}

struct drm_pagemap_zdd *dsvm_page_zdd(struct page *page)
{
	if (!dsvm_page_is_ours(page))
		return NULL;

	return (struct drm_pagemap_zdd *)(page_data(page) & ~PAGE_RETIRED);
}

void dsvm_page_retire(struct page *page)
{
	page->zone_device_data = (void *)(page_data(page) | PAGE_RETIRED);
}

bool dsvm_page_is_retired(struct page *page)
{
	return page_data(page) & PAGE_RETIRED;
}

/**
 * drm_pagemap_pagemap_ops_get() - The callbacks for a provider's dev_pagemap
 *
 * Context: Any.
 *
 * Return: the ops, to be set before memremap_pages().
 */
const struct dev_pagemap_ops *drm_pagemap_pagemap_ops_get(void)
{
	return &pagemap_ops;
}
EXPORT_SYMBOL_GPL(drm_pagemap_pagemap_ops_get);
