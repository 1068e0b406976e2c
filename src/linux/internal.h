/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * What the shims share. The casts between the core's opaque handles and the
 * kernel's structs are here and nowhere else.
 */
#ifndef DSVM_LINUX_INTERNAL_H
#define DSVM_LINUX_INTERNAL_H

#include <linux/kref.h>
#include <linux/workqueue.h>

#include "drm_svm/types.h"

struct device;
struct drm_gem_object;
struct drm_pagemap;
struct drm_pagemap_devmem;
struct mm_struct;
struct mmu_interval_notifier;
struct page;
struct rw_semaphore;
struct vm_area_struct;

#define DSVM_HANDLE(name, os_struct, kernel_struct)				\
	static inline struct kernel_struct *to_##name(struct os_struct *handle)	\
	{									\
		return (struct kernel_struct *)handle;				\
	}									\
	static inline struct os_struct *os_##name(struct kernel_struct *object)	\
	{									\
		return (struct os_struct *)object;				\
	}

DSVM_HANDLE(dev, dsvm_os_dev, device)
DSVM_HANDLE(link, dsvm_link, list_head)
DSVM_HANDLE(mm, dsvm_os_mm, mm_struct)
DSVM_HANDLE(notifier, dsvm_os_notifier, mmu_interval_notifier)
DSVM_HANDLE(obj, dsvm_os_obj, drm_gem_object)
DSVM_HANDLE(page, dsvm_os_page, page)
DSVM_HANDLE(provider, dsvm_os_provider, drm_pagemap)
DSVM_HANDLE(rwsem, dsvm_os_rwsem, rw_semaphore)
DSVM_HANDLE(vma, dsvm_os_vma, vm_area_struct)
DSVM_HANDLE(zdd, dsvm_os_zdd, drm_pagemap_zdd)

/*
 * What the device pages of one allocation point to. Each page in use has a
 * reference, and so has the migration that makes them.
 */
struct drm_pagemap_zdd {
	struct kref refcount;
	struct work_struct work;	   /* destroys it where a put may not sleep */
	struct drm_pagemap_devmem *devmem; /* owned: released with this; immutable */
	struct drm_pagemap *dpagemap;	   /* referenced; immutable */
	struct mm_struct *mm;		   /* held (mmgrab); immutable */
	unsigned long flags;		   /* DSVM_ZDD_*, atomic */
};

/* Bit of zdd flags: a CPU fault is at work on the allocation. */
#define DSVM_ZDD_FAULT 0

struct drm_pagemap_zdd *dsvm_zdd_create(struct drm_pagemap_devmem *devmem);
struct drm_pagemap_zdd *dsvm_zdd_get(struct drm_pagemap_zdd *zdd);
void dsvm_zdd_put(struct drm_pagemap_zdd *zdd);
void dsvm_zdd_put_atomic(struct drm_pagemap_zdd *zdd);

/* Whether a page is device memory of this library; it may be free. */
bool dsvm_page_is_ours(struct page *page);
/* The zdd of a device page in use; NULL for a page that is not ours. */
struct drm_pagemap_zdd *dsvm_page_zdd(struct page *page);
/* See dsvm_os_page_retire(); for pages in use that are ours, locked. */
void dsvm_page_retire(struct page *page);
bool dsvm_page_is_retired(struct page *page);

/* Releases what was put where one may not sleep; flushed before the module goes. */
extern struct workqueue_struct *dsvm_release_wq;
/*
 * Drops what providers held. Apart from the other, because that may end a
 * driver, which may wait for a queue that is none of reclaim's.
 */
extern struct workqueue_struct *dsvm_unhold_wq;

#endif /* DSVM_LINUX_INTERNAL_H */
