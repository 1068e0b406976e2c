// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * drm/drm_svm_pagemap.h: migration beyond mainline's API.
 */
#include <linux/kernel.h>
#include <linux/err.h>
#include <linux/export.h>
#include <linux/sched/mm.h>

#include <drm/drm_svm.h>

#include "compat/mmu_notifier_compat.h"
#include "pagemap_internal.h"

/**
 * drm_svm_stay_name() - A word for what has become of a page
 * @stay: what has
 *
 * Context: Any.
 *
 * Return: the word, "unknown" for what is none.
 */
const char *drm_svm_stay_name(enum drm_svm_stay stay)
{
	static const char *const names[] = {
		[DRM_SVM_MOVED] = "moved",
		[DRM_SVM_WAS_THERE] = "was there",
		[DRM_SVM_STAY_NOT_TRIED] = "not tried",
		[DRM_SVM_STAY_NO_MEMORY_MAP] = "no memory map",
		[DRM_SVM_STAY_NOT_ANONYMOUS] = "not anonymous",
		[DRM_SVM_STAY_SWAPPED] = "swapped out",
		[DRM_SVM_STAY_SWAP_CACHE] = "swap cache",
		[DRM_SVM_STAY_PINNED] = "pinned",
		[DRM_SVM_STAY_LOCKED] = "locked",
		[DRM_SVM_STAY_WRITEBACK] = "writeback",
		[DRM_SVM_STAY_LARGE_FOLIO] = "large folio",
		[DRM_SVM_STAY_FOREIGN] = "foreign device",
		[DRM_SVM_STAY_NO_DEVICE_MEMORY] = "no device memory",
		[DRM_SVM_STAY_NO_DMA] = "no DMA",
		[DRM_SVM_STAY_BUSY] = "busy",
	};

	static_assert(ARRAY_SIZE(names) == DRM_SVM_STAYS);
	return (unsigned int)stay < ARRAY_SIZE(names) ? names[stay] : "unknown";
}
EXPORT_SYMBOL_GPL(drm_svm_stay_name);

static bool hears_nothing(struct mmu_interval_notifier *mni,
			  const struct mmu_notifier_range *range, unsigned long cur_seq)
{
	mmu_interval_set_seq(mni, cur_seq);
	return true;
}

int dsvm_look_begin(struct mmu_interval_notifier *stand_in, struct mm_struct *mm)
{
	static const struct mmu_interval_notifier_ops ops = { .invalidate = hears_nothing };
	int ret = 0;

	if (!mmget_not_zero(mm))
		return -EFAULT;

	/* It lives on what a first notifier leaves in an address space for good. */
	if (!mm_has_notifiers(mm)) {
		*stand_in = (struct mmu_interval_notifier) {};
		ret = mmu_interval_notifier_insert(stand_in, mm, 0, PAGE_SIZE, &ops);
		if (!ret)
			mmu_interval_notifier_remove(stand_in);
	}
	*stand_in = (struct mmu_interval_notifier) {};
	compat_init_stand_in(stand_in, mm);
	if (ret)
		dsvm_look_end(mm);
	return ret;
}

void dsvm_look_end(struct mm_struct *mm)
{
	/* A driver's lock may be held. */
	mmput_async(mm);
}

/* Whether what the driver gave for a piece of a migration will do. */
static int check_allocation(const struct drm_svm_migrate *migrate,
			    const struct drm_pagemap_devmem *devmem)
{
	const struct drm_pagemap_devmem_ops *ops = devmem->ops;
	bool copies = ops->copy_runs || (ops->copy_to_devmem && ops->copy_to_ram);

	if (!ops->populate_devmem_pfn || !copies)
		return -EOPNOTSUPP;
	return devmem->dpagemap == migrate->dpagemap ? 0 : -EINVAL;
}

/* Device memory for the core: the driver's allocation, as one that pages can live in. */
static int job_alloc(void *ctx, dsvm_usize first, dsvm_usize npages,
		     const struct dsvm_devmem **out)
{
	const size_t size = npages << PAGE_SHIFT;
	struct drm_svm_migrate *migrate = ctx;
	struct drm_pagemap_devmem *devmem = migrate->alloc(migrate, first, size);
	struct drm_pagemap_zdd *zdd;
	int ret;

	if (WARN_ON_ONCE(!devmem))
		return -ENOMEM;
	if (IS_ERR(devmem))
		return PTR_ERR(devmem);

	ret = check_allocation(migrate, devmem);
	zdd = ret ? ERR_PTR(ret) : dsvm_zdd_create(devmem, first);
	if (IS_ERR(zdd)) {
		dsvm_devmem_put_fence(devmem);
		dsvm_devmem_release(devmem);
		return PTR_ERR(zdd);
	}

	/* Before the pages are there, so that no CPU fault sees another time. */
	dsvm_devmem_start_timeslice(devmem, migrate->timeslice_ms);
	*out = &zdd->core;
	return 0;
}

static void job_release(void *ctx, const struct dsvm_devmem *core)
{
	const struct drm_svm_migrate *migrate = ctx;
	struct drm_pagemap_zdd *zdd = core_to_zdd(core);

	/* It is filled now, and the way here may have been long. */
	dsvm_devmem_start_timeslice(zdd->devmem, migrate->timeslice_ms);
	dsvm_devmem_put_fence(zdd->devmem);
	dsvm_zdd_put(zdd);
}

static int run_job(struct drm_svm_migrate *migrate, struct mmu_interval_notifier *stand_in)
{
	struct dsvm_migrate_job job = {
		.mm = os_mm(migrate->mm),
		.notifier = os_notifier(stand_in),
		.first = migrate->start,
		.last = migrate->end - 1,
		.owner = migrate->dpagemap->pagemap->owner,
		.pagemap = migrate->dpagemap->pagemap,
		.workers = migrate->workers,
		.fault_in = migrate->fault_in,
		.ctx = migrate,
		.alloc = job_alloc,
		.release = job_release,
		.report = migrate->report,
	};
	int ret = dsvm_migrate_run_job(&job);
	unsigned int i;

	for (i = 0; i < DRM_SVM_STAYS; i++)
		migrate->result[i] = job.result[i];
	return ret;
}

/**
 * drm_svm_migrate_to_devmem() - Moves what can be moved of a span to a device
 * @migrate: what, where to, and how; receives what has become of it
 *
 * Any span, with any number of VMAs in it, and holes between them. A page that
 * cannot move stays, and the others do not mind; &drm_svm_migrate.result says how
 * many have met with what, and &drm_svm_migrate.report which. Pages that are not
 * there yet are made, as zeroed device memory.
 *
 * Context: Sleeps. No mmap_lock, no lock that is taken inside of it, and what
 * &drm_svm_migrate.alloc takes is not held.
 *
 * Return: 0: @migrate tells, even if nothing has moved; -EINVAL: not aligned, or
 * a size of 0, or an allocation is too small or another provider's; -EOPNOTSUPP:
 * kernel without device-private memory, or a callback of an allocation is
 * missing; -ENODEV: the provider was unplugged; -EFAULT: the
 * address space has gone; -ENOMEM; -EINTR: the caller is being killed, or a
 * signal came at the first look at a process; what &drm_svm_migrate.alloc, or a
 * copy, returned: what had moved before stays there, and the rest was not tried.
 */
int drm_svm_migrate_to_devmem(struct drm_svm_migrate *migrate)
{
	struct mmu_interval_notifier stand_in;
	int ret;

	memset(migrate->result, 0, sizeof(migrate->result));
	if (!drm_svm_can_migrate())
		return -EOPNOTSUPP;
	if (migrate->end <= migrate->start)
		return -EINVAL;
	if (READ_ONCE(migrate->dpagemap->dev_hold->unplugged))
		return -ENODEV;

	ret = dsvm_look_begin(&stand_in, migrate->mm);
	if (ret)
		return ret;

	ret = run_job(migrate, &stand_in);
	dsvm_look_end(migrate->mm);
	return ret;
}
EXPORT_SYMBOL_GPL(drm_svm_migrate_to_devmem);

/**
 * drm_svm_evict() - Moves what lives in a part of an allocation to RAM
 * @devmem_allocation: the allocation; the caller has a reference of its own
 * @offset: bytes from its beginning, a multiple of the page size
 * @size: bytes, a multiple of the page size
 *
 * As drm_pagemap_evict_to_ram(), which takes the whole of it, but does not wait
 * until the allocation is detached. A huge page that is only partly in the part
 * moves as a whole.
 *
 * Context: Sleeps. No mmap_lock, no notifier lock.
 *
 * Return: 0: nothing lives there any more; -EINVAL: not aligned, or beyond the
 * allocation; otherwise as drm_pagemap_evict_to_ram().
 */
int drm_svm_evict(struct drm_pagemap_devmem *devmem_allocation,
		  unsigned long offset, unsigned long size)
{
	struct drm_pagemap_zdd *zdd;
	int ret;

	if (!drm_svm_can_migrate())
		return -EOPNOTSUPP;
	if (!size || !PAGE_ALIGNED(offset | size) || offset > devmem_allocation->size ||
	    size > devmem_allocation->size - offset)
		return -EINVAL;

	zdd = dsvm_zdd_of(devmem_allocation);
	if (!zdd)
		return 0;

	ret = dsvm_migrate_evict(&zdd->core, os_mm(zdd->mm), offset >> PAGE_SHIFT,
				 size >> PAGE_SHIFT);
	dsvm_zdd_put(zdd);
	return ret;
}
EXPORT_SYMBOL_GPL(drm_svm_evict);

/**
 * drm_svm_split_cut() - Frees what an unmapping has left of a huge device page
 * @dpagemap: whose memory it is
 * @mm: the address space
 * @addr: an address that is still mapped, in the 2 MiB that were cut
 *
 * The kernel keeps all of a huge page's device memory while any of it is mapped,
 * and does not split it by itself. After this call what is mapped is single
 * pages, and the rest is free (&drm_pagemap_devmem_ops.devmem_free_pages). A
 * driver calls it when it has found that a part of a range was unmapped. Where
 * there is such a page its mirrors hear of an invalidation; where there is none
 * nothing happens, which is always the case before 7.3.
 *
 * Context: Takes the mmap_lock for reading, for a first notifier in a process
 * for writing; sleeps.
 *
 * Return: 0, also if there was nothing to do; -EBUSY: somebody uses the page
 * just now; -EFAULT: the address space has gone; -ENOMEM; -EINTR: a signal came
 * at the first look at a process.
 */
int drm_svm_split_cut(struct drm_pagemap *dpagemap, struct mm_struct *mm, unsigned long addr)
{
	struct mmu_interval_notifier stand_in;
	int ret = dsvm_look_begin(&stand_in, mm);

	if (ret)
		return ret;

	ret = dsvm_migrate_split(os_mm(mm), os_notifier(&stand_in), addr, dpagemap->pagemap->owner);
	dsvm_look_end(mm);
	return ret;
}
EXPORT_SYMBOL_GPL(drm_svm_split_cut);

/**
 * drm_svm_pagemap_unplug() - Brings all of a provider's memory back to RAM
 * @dpagemap: the provider; the caller has a reference
 * @timeout_ms: for how long, in milliseconds, at most
 *
 * For a device that is about to go, while its copy callbacks still work. From
 * the call on nothing moves to the provider any more: -ENODEV. If copies fail,
 * because the device has gone already, pages stay until their processes let go of
 * them; a CPU that touches one gets a bus error.
 *
 * On return every allocation that has become empty was given back to its driver.
 *
 * Context: Sleeps, and waits for every driver's releases, as drm_svm_flush(). No
 * mmap_lock, no driver's lock.
 *
 * Return: 0: nothing lives there any more; -EBUSY: time is up, and something
 * still does; -ENODEV: the device has gone, and data with it; -ENOSPC: there is
 * no RAM. Being killed does not end it: the memory is other people's.
 */
int drm_svm_pagemap_unplug(struct drm_pagemap *dpagemap, unsigned int timeout_ms)
{
	struct drm_pagemap_dev_hold *hold = dpagemap->dev_hold;
	int ret;

	/* Who has come before is in the list, and who comes later is refused. */
	spin_lock_irq(&hold->lock);
	WRITE_ONCE(hold->unplugged, true);
	spin_unlock_irq(&hold->lock);

	ret = dsvm_migrate_evict_all(os_provider(dpagemap), timeout_ms * (u64)NSEC_PER_MSEC);
	drm_svm_flush();
	return ret;
}
EXPORT_SYMBOL_GPL(drm_svm_pagemap_unplug);

/**
 * drm_svm_pagemap_counters() - What has happened to a provider's memory
 * @dpagemap: the provider
 * @out: receives the counters, since drm_pagemap_init() or drm_pagemap_reinit()
 *
 * Context: Any. Counters may be counting meanwhile.
 */
void drm_svm_pagemap_counters(struct drm_pagemap *dpagemap,
			      struct dsvm_migrate_counters *out)
{
	*out = dpagemap->dev_hold->counters;
}
EXPORT_SYMBOL_GPL(drm_svm_pagemap_counters);
