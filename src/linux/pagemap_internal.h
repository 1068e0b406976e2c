/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * What the shims of drm_pagemap share.
 *
 * Who keeps whom:
 *
 *	device folio -> zdd -> devmem (the driver's), mm (the struct)
 *			    -> drm_pagemap -> dev_hold -> drm_device, module
 *					   -> drm_pagemap_cache -> drm_pagemap_shrinker
 */
#ifndef DSVM_LINUX_PAGEMAP_INTERNAL_H
#define DSVM_LINUX_PAGEMAP_INTERNAL_H

#include <linux/bits.h>
#include <linux/compiler.h>
#include <linux/container_of.h>
#include <linux/kref.h>
#include <linux/list.h>
#include <linux/migrate.h>
#include <linux/mm_types.h>
#include <linux/spinlock.h>
#include <linux/wait.h>
#include <linux/workqueue.h>

#include <drm/drm_pagemap.h>

#include "drm_svm/migrate.h"
#include "internal.h"

struct mmu_interval_notifier;

/*
 * Keeps a provider's device and module, and what the library knows of the provider, from
 * its first reference to its last.
 */
struct drm_pagemap_dev_hold {
	struct work_struct work;	/* lets go of it */
	struct list_head link;		/* entry in the list of all in use, under its lock */
	struct drm_device *drm;		/* referenced; immutable */
	struct dev_pagemap *pagemap;	/* immutable */
	spinlock_t lock;
	struct list_head zdds;		/* with a reference, or about to leave; under @lock */
	bool unplugged;			/* gives no new memory out; under @lock */
	void *reserve;			/* DSVM_RESERVE_BYTES, or NULL: taken; atomic */
	void *spare;			/* DSVM_SPARE_BYTES, the same */
	struct dsvm_migrate_counters counters; /* the core's */
};

/* Of an entry of a migration. */
static inline bool dsvm_has_page_and_moves(unsigned long src)
{
	const unsigned long both = MIGRATE_PFN_VALID | MIGRATE_PFN_MIGRATE;

	return (src & both) == both;
}

/*
 * What the device pages of one allocation point to. Each folio in use has a
 * reference, and so has whoever works on the allocation.
 */
struct drm_pagemap_zdd {
	struct kref refcount;
	struct list_head link;		   /* entry in its provider's list */
	struct work_struct work;	   /* destroys it where a put may not sleep */
	struct callback_head on_return;	   /* a put, when a task is back in user space */
	unsigned long is_kept;		   /* bit 0: until then; atomic */
	struct drm_pagemap_devmem *devmem; /* owned: released with this; immutable */
	struct drm_pagemap *dpagemap;	   /* referenced; immutable */
	struct mm_struct *mm;		   /* held (mmgrab); immutable */
	wait_queue_head_t timeslice_over;  /* before its time */
	struct dsvm_devmem core;	   /* what the core knows of the allocation */
};

/* Flags that share the word with a folio's pointer to its zdd. */
enum {
	DSVM_PAGE_RETIRED,
	DSVM_PAGE_ENTERED,
	DSVM_PAGE_FLAGS = BIT(DSVM_PAGE_RETIRED) | BIT(DSVM_PAGE_ENTERED)
};

/* Of a folio that is ours, by its first page. */
static inline struct drm_pagemap_zdd *dsvm_folio_zdd(const struct page *head)
{
	unsigned long data = (unsigned long)READ_ONCE(head->zone_device_data);

	return (struct drm_pagemap_zdd *)(data & ~(unsigned long)DSVM_PAGE_FLAGS);
}

/* The core's side of an allocation, as somebody who has a reference to its zdd gets it. */
static inline struct drm_pagemap_zdd *core_to_zdd(const struct dsvm_devmem *core)
{
	return container_of(core, struct drm_pagemap_zdd, core);
}

/*
 * Makes an allocation one that pages can live in, with a reference for the caller, and
 * asks the driver for its frames. @start is the address that its first page is for.
 * ERR_PTR(): -ENODEV: the provider was unplugged; -ENOMEM; what the driver said. Then the
 * allocation is still the caller's. May sleep.
 */
struct drm_pagemap_zdd *dsvm_zdd_create(struct drm_pagemap_devmem *devmem, unsigned long start);
/* The zdd of an allocation, with a reference; NULL if nothing lives in it. May sleep. */
struct drm_pagemap_zdd *dsvm_zdd_of(struct drm_pagemap_devmem *devmem);
struct drm_pagemap_zdd *dsvm_zdd_get(struct drm_pagemap_zdd *zdd);
/* May sleep. */
void dsvm_zdd_put(struct drm_pagemap_zdd *zdd);
/* Any context. */
void dsvm_zdd_put_atomic(struct drm_pagemap_zdd *zdd);
/*
 * At the end of a fault from user space on a page of it: if it was the last one, the allocation
 * is released when the task is back there. The fault's reference to the page is still there.
 */
void dsvm_zdd_keep_until_return(struct drm_pagemap_zdd *zdd);
/* For all that is to be released so. Sleeps: no mmap_lock, no driver's lock. */
void dsvm_zdd_wait_for_returning(void);

/* Gives an allocation back to its driver, who may want nothing of it. May sleep. */
void dsvm_devmem_release(struct drm_pagemap_devmem *devmem);
/* The driver's callbacks of an allocation, as the core calls them. */
void dsvm_devmem_bind(struct drm_pagemap_zdd *zdd, unsigned long start);

/* From now on CPU faults leave what is in the allocation there for so long. */
void dsvm_devmem_start_timeslice(struct drm_pagemap_devmem *devmem, unsigned long ms);
/* For how long they still do. */
u64 dsvm_devmem_timeslice_ns(const struct drm_pagemap_devmem *devmem);
/* Nobody waits for &drm_pagemap_devmem.pre_migrate_fence any more. */
void dsvm_devmem_put_fence(struct drm_pagemap_devmem *devmem);

/* &dev_pagemap_ops.migrate_to_ram */
vm_fault_t dsvm_pagemap_fault(struct vm_fault *vmf);

/* Takes a provider out of its cache for good, if it has one. Any context. */
void dsvm_pagemap_forget_cache(struct drm_pagemap *dpagemap);

/* Copies the name of a provider's device, whatever there is of it by now. */
void dsvm_pagemap_name(const void *pagemap, char *name, size_t size);

/*
 * Before a look at the pages of any address space, mirrored or not: a user of it, and a
 * notifier that is told of nothing. May sleep: no mmap_lock. 0, -EFAULT: it has gone; -ENOMEM,
 * -EINTR.
 */
int dsvm_look_begin(struct mmu_interval_notifier *stand_in, struct mm_struct *mm);
/* The end of it. */
void dsvm_look_end(struct mm_struct *mm);

#endif /* DSVM_LINUX_PAGEMAP_INTERNAL_H */
