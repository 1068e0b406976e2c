// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * The module: what there is only one of.
 */
#include <linux/export.h>
#include <linux/module.h>
#include <linux/rcupdate.h>
#include <linux/workqueue.h>

#include <drm/drm_svm.h>

#include "pagemap_internal.h"

struct workqueue_struct *dsvm_release_wq;
struct workqueue_struct *dsvm_unhold_wq;
struct workqueue_struct *dsvm_helper_wq;

/**
 * drm_svm_can_migrate() - Whether memory can move to a device on this kernel
 *
 * Context: Any.
 *
 * Return: true if the kernel has device-private memory.
 */
bool drm_svm_can_migrate(void)
{
	return IS_ENABLED(CONFIG_DEVICE_PRIVATE);
}
EXPORT_SYMBOL_GPL(drm_svm_can_migrate);

/**
 * drm_svm_flush() - Waits for what is being released
 *
 * On return every allocation whose last page was freed before the call has
 * been given back to its driver, and every provider whose last reference went
 * has let go of its device and module. For a driver that goes away.
 *
 * What a CPU fault has emptied is given back by the task that faulted, when it is next on its way
 * to user space: this waits for that as well, however long it is kept from running.
 *
 * Context: Sleeps, and waits for every driver's releases: no mmap_lock, no
 * driver's lock; not in &drm_pagemap_devmem_ops.devmem_release, and not in
 * &drm_driver.release.
 */
void drm_svm_flush(void)
{
	dsvm_zdd_wait_for_returning();
	flush_workqueue(dsvm_release_wq);
	flush_workqueue(dsvm_unhold_wq);
}
EXPORT_SYMBOL_GPL(drm_svm_flush);

/* In this order: what is released may end the last hold. */
static void destroy_queues(void)
{
	if (dsvm_helper_wq)
		destroy_workqueue(dsvm_helper_wq);
	if (dsvm_release_wq)
		destroy_workqueue(dsvm_release_wq);
	if (dsvm_unhold_wq)
		destroy_workqueue(dsvm_unhold_wq);
}

static int __init drm_svm_init(void)
{
	dsvm_release_wq = alloc_workqueue("drm_svm_release", WQ_UNBOUND | WQ_MEM_RECLAIM, 0);
	dsvm_unhold_wq = alloc_workqueue("drm_svm_unhold", WQ_UNBOUND, 0);
	dsvm_helper_wq = alloc_workqueue("drm_svm_helper", WQ_UNBOUND, 0);
	if (!dsvm_release_wq || !dsvm_unhold_wq || !dsvm_helper_wq) {
		destroy_queues();
		return -ENOMEM;
	}

	if (!drm_svm_can_migrate())
		pr_info("drm_svm: this kernel has no CONFIG_DEVICE_PRIVATE: memory is shared with devices, but cannot move to them\n");
	return 0;
}

static void __exit drm_svm_exit(void)
{
	destroy_queues();
	/* Who has released an allocation on his way to user space may not be out of here yet. */
	synchronize_rcu_tasks();
}

module_init(drm_svm_init);
module_exit(drm_svm_exit);

MODULE_DESCRIPTION("GPU shared virtual memory for DRM drivers");
MODULE_LICENSE("Dual MIT/GPL");
MODULE_VERSION(DRM_SVM_VERSION);
