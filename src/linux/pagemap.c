// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * drm/drm_pagemap.h: providers of device memory.
 *
 * A device page may be freed under a page-table lock, and what it keeps may
 * have to sleep to go away: what a provider holds is given up on a workqueue.
 */
#include <linux/err.h>
#include <linux/export.h>
#include <linux/module.h>
#include <linux/sched/mm.h>
#include <linux/slab.h>

#include <drm/drm_device.h>
#include <drm/drm_drv.h>
#include <drm/drm_pagemap.h>
#include <drm/drm_pagemap_util.h>

#include "compat/mm_compat.h"
#include "drm_svm/os.h"
#include "pagemap_internal.h"

/* All providers with a reference. */
static DEFINE_SPINLOCK(holds_lock);
static LIST_HEAD(holds);

static void free_hold(struct drm_pagemap_dev_hold *hold)
{
	kvfree(hold->reserve);
	kvfree(hold->spare);
	kfree(hold);
}

static void dev_unhold_work(struct work_struct *work)
{
	struct drm_pagemap_dev_hold *hold = container_of(work, struct drm_pagemap_dev_hold, work);
	struct module *owner = hold->drm->driver->fops->owner;

	drm_dev_put(hold->drm);
	module_put(owner);
	free_hold(hold);
}

static struct drm_pagemap_dev_hold *make_hold(struct drm_pagemap *dpagemap)
{
	struct drm_pagemap_dev_hold *hold = kzalloc(sizeof(*hold), GFP_KERNEL);

	if (!hold)
		return NULL;

	hold->reserve = kvmalloc(DSVM_RESERVE_BYTES, GFP_KERNEL);
	hold->spare = kvzalloc(DSVM_SPARE_BYTES, GFP_KERNEL);
	if (!hold->reserve || !hold->spare) {
		free_hold(hold);
		return NULL;
	}
	INIT_WORK(&hold->work, dev_unhold_work);
	spin_lock_init(&hold->lock);
	INIT_LIST_HEAD(&hold->zdds);
	hold->drm = dpagemap->drm;
	hold->pagemap = dpagemap->pagemap;
	hold->unplugged = drm_dev_is_unplugged(hold->drm);
	return hold;
}

static void pagemap_release(struct kref *ref)
{
	struct drm_pagemap *dpagemap = container_of(ref, struct drm_pagemap, ref);
	struct drm_pagemap_dev_hold *hold = dpagemap->dev_hold;
	unsigned long flags;

	spin_lock_irqsave(&holds_lock, flags);
	list_del(&hold->link);
	spin_unlock_irqrestore(&holds_lock, flags);

	dpagemap->dev_hold = NULL;
	drm_pagemap_shrinker_add(dpagemap);
	/* The device and the module are there until here, for what destroys the provider. */
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
	struct drm_pagemap_dev_hold *hold = make_hold(dpagemap);
	unsigned long flags;

	if (!hold)
		return -ENOMEM;
	if (!try_module_get(dpagemap->drm->driver->fops->owner)) {
		free_hold(hold);
		return -ENODEV;
	}

	drm_dev_get(dpagemap->drm);
	dpagemap->dev_hold = hold;
	kref_init(&dpagemap->ref);

	spin_lock_irqsave(&holds_lock, flags);
	list_add_tail(&hold->link, &holds);
	spin_unlock_irqrestore(&holds_lock, flags);
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
	dpagemap->cache = NULL;
	INIT_LIST_HEAD(&dpagemap->shrink_link);
	return drm_pagemap_reinit(dpagemap);
}
EXPORT_SYMBOL_GPL(drm_pagemap_init);

/**
 * drm_pagemap_create() - Makes a provider of device memory
 * @drm: the device
 * @pagemap: the kernel's struct for the device's pages
 * @ops: the provider's callbacks. Its destroy, if it has one, has to kfree()
 *	the provider.
 *
 * drm_pagemap_init() for who needs no more than the provider itself.
 *
 * Context: May sleep.
 *
 * Return: the provider, with one reference; or an ERR_PTR() as of
 * drm_pagemap_init().
 */
struct drm_pagemap *drm_pagemap_create(struct drm_device *drm,
				       struct dev_pagemap *pagemap,
				       const struct drm_pagemap_ops *ops)
{
	struct drm_pagemap *dpagemap = kzalloc(sizeof(*dpagemap), GFP_KERNEL);
	int err;

	if (!dpagemap)
		return ERR_PTR(-ENOMEM);

	err = drm_pagemap_init(dpagemap, pagemap, drm, ops);
	if (err) {
		kfree(dpagemap);
		return ERR_PTR(err);
	}
	return dpagemap;
}
EXPORT_SYMBOL_GPL(drm_pagemap_create);

/**
 * drm_pagemap_destroy() - Ends the life of a provider
 * @dpagemap: the provider, without a reference left
 * @is_atomic_or_reclaim: the caller may not sleep
 *
 * The library calls it itself; a driver has to after drm_pagemap_reinit() has
 * failed.
 *
 * Context: Any, as @is_atomic_or_reclaim says.
 */
void drm_pagemap_destroy(struct drm_pagemap *dpagemap, bool is_atomic_or_reclaim)
{
	dsvm_pagemap_forget_cache(dpagemap);
	if (dpagemap->ops->destroy)
		dpagemap->ops->destroy(dpagemap, is_atomic_or_reclaim);
	else
		kfree(dpagemap);
}
EXPORT_SYMBOL_GPL(drm_pagemap_destroy);

/**
 * drm_pagemap_put() - Drops a reference to a provider
 * @dpagemap: the provider, or NULL
 *
 * Context: Any. The last one leaves it to its cache, if it has one, or calls
 * &drm_pagemap_ops.destroy.
 */
void drm_pagemap_put(struct drm_pagemap *dpagemap)
{
	if (!dpagemap)
		return;

	drm_pagemap_shrinker_might_lock(dpagemap);
	kref_put(&dpagemap->ref, pagemap_release);
}
EXPORT_SYMBOL_GPL(drm_pagemap_put);

/**
 * drm_pagemap_populate_mm() - Asks a provider to take over a span of memory
 * @dpagemap: the provider
 * @start: first byte, page aligned
 * @end: first byte after the span
 * @mm: the address space
 * @timeslice_ms: how long, in milliseconds, CPU faults leave it with the device
 *
 * Context: Takes the mmap_lock for reading, but for a provider that has
 * &drm_pagemap_ops.populate_span; sleeps.
 *
 * Return: 0; -EFAULT: the address space has gone; what
 * &drm_pagemap_ops.populate_span or &drm_pagemap_ops.populate_mm returned.
 */
int drm_pagemap_populate_mm(struct drm_pagemap *dpagemap,
			    unsigned long start, unsigned long end,
			    struct mm_struct *mm,
			    unsigned long timeslice_ms)
{
	const struct drm_pagemap_ops *ops = dpagemap->ops;
	int ret;

	if (!mmget_not_zero(mm))
		return -EFAULT;

	if (ops->populate_span) {
		ret = ops->populate_span(dpagemap, start, end, mm, timeslice_ms);
	} else {
		mmap_read_lock(mm);
		ret = ops->populate_mm(dpagemap, start, end, mm, timeslice_ms);
		mmap_read_unlock(mm);
	}
	mmput_async(mm);	/* the driver's lock may be held */
	return ret;
}
EXPORT_SYMBOL_GPL(drm_pagemap_populate_mm);

void *dsvm_os_next_owner(void *owner)
{
	struct drm_pagemap_dev_hold *hold;
	void *next = NULL;
	unsigned long flags;

	spin_lock_irqsave(&holds_lock, flags);
	list_for_each_entry(hold, &holds, link) {
		void *candidate = hold->pagemap->owner;

		if (candidate > owner && (!next || candidate < next))
			next = candidate;
	}
	spin_unlock_irqrestore(&holds_lock, flags);
	return next;
}

void dsvm_pagemap_name(const void *pagemap, char *name, size_t size)
{
	struct drm_pagemap_dev_hold *hold;
	unsigned long flags;

	strscpy(name, "device", size);
	spin_lock_irqsave(&holds_lock, flags);
	list_for_each_entry(hold, &holds, link)
		if (hold->pagemap == pagemap)
			strscpy(name, hold->drm->unique, size);
	spin_unlock_irqrestore(&holds_lock, flags);
}

/* What the core asks of providers; see drm_svm/os.h. */

void dsvm_os_provider_get(struct dsvm_os_provider *provider)
{
	drm_pagemap_get(to_provider(provider));
}

void dsvm_os_provider_put(struct dsvm_os_provider *provider)
{
	drm_pagemap_put(to_provider(provider));
}

void *dsvm_os_provider_take_reserve(struct dsvm_os_provider *provider)
{
	return xchg(&to_provider(provider)->dev_hold->reserve, NULL);
}

void dsvm_os_provider_give_reserve(struct dsvm_os_provider *provider, void *memory)
{
	/* Orders the use of it before that of the next one. */
	smp_store_release(&to_provider(provider)->dev_hold->reserve, memory);
}

void *dsvm_os_provider_take_spare(struct dsvm_os_provider *provider)
{
	return xchg(&to_provider(provider)->dev_hold->spare, NULL);
}

void dsvm_os_provider_give_spare(struct dsvm_os_provider *provider, void *memory)
{
	/* As above. */
	smp_store_release(&to_provider(provider)->dev_hold->spare, memory);
}
