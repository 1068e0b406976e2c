/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * What the shims share. The casts between the core's opaque handles and the
 * kernel's structs are here and nowhere else.
 */
#ifndef DSVM_LINUX_INTERNAL_H
#define DSVM_LINUX_INTERNAL_H

#include <linux/types.h>
#include <linux/workqueue.h>

#include "drm_svm/types.h"

struct device;
struct dma_fence;
struct drm_gem_object;
struct drm_pagemap;
struct drm_pagemap_addr;
struct drm_pagemap_devmem;
struct mm_struct;
struct mmu_interval_notifier;
struct page;
struct rw_semaphore;
struct task_struct;
struct vm_area_struct;
struct vm_fault;

/*
 * On a local variable of which every field is set: it is not zeroed beforehand either, as kernels
 * have it done (-ftrivial-auto-var-init).
 */
#if __has_attribute(__uninitialized__)
#define DSVM_UNSET __attribute__((__uninitialized__))
#else
#define DSVM_UNSET
#endif

#define DSVM_HANDLE(name, os_struct, kernel_struct)				\
	static inline struct kernel_struct *to_##name(struct os_struct *handle)	\
	{									\
		return (struct kernel_struct *)handle;				\
	}									\
	static inline struct os_struct *os_##name(struct kernel_struct *object)	\
	{									\
		return (struct os_struct *)object;				\
	}

DSVM_HANDLE(addr, dsvm_dma_addr, drm_pagemap_addr)
DSVM_HANDLE(dev, dsvm_os_dev, device)
DSVM_HANDLE(fault, dsvm_os_fault, vm_fault)
DSVM_HANDLE(fence, dsvm_os_fence, dma_fence)
DSVM_HANDLE(link, dsvm_link, list_head)
DSVM_HANDLE(mm, dsvm_os_mm, mm_struct)
DSVM_HANDLE(notifier, dsvm_os_notifier, mmu_interval_notifier)
DSVM_HANDLE(obj, dsvm_os_obj, drm_gem_object)
DSVM_HANDLE(page, dsvm_os_page, page)
DSVM_HANDLE(provider, dsvm_os_provider, drm_pagemap)
DSVM_HANDLE(rwsem, dsvm_os_rwsem, rw_semaphore)
DSVM_HANDLE(vma, dsvm_os_vma, vm_area_struct)
DSVM_HANDLE(zdd, dsvm_os_zdd, drm_pagemap_zdd)

/* Whether a page is device memory of this library; it may be free. */
bool dsvm_page_is_ours(struct page *page);
/* The zdd of a device page in use; NULL for a page that is not ours. */
struct drm_pagemap_zdd *dsvm_page_zdd(struct page *page);
/* Whether dsvm_os_entries_retire() was called for a page in use that is ours. */
bool dsvm_page_is_retired(struct page *page);

/* Reclaim takes this lock inside mmu notifiers: lets lockdep know at once. */
void dsvm_taint_by_reclaim(struct rw_semaphore *lock);

/*
 * down_read() for locks that are written under for a moment only, as a rule: a reader who
 * comes just then does not go to sleep at once. May sleep.
 */
void dsvm_read_lock(struct rw_semaphore *lock);

/* The thread that the caller works for: that of dsvm_os_parallel(), or itself. */
struct task_struct *dsvm_client(void);

/* Releases what was put where one may not sleep; flushed before the module goes. */
extern struct workqueue_struct *dsvm_release_wq;
/*
 * Drops what providers held. Apart from the other, because that may end a
 * driver, which may wait for a queue that is none of reclaim's.
 */
extern struct workqueue_struct *dsvm_unhold_wq;
/* Helps with what one thread would take long for; see dsvm_os_parallel(). */
extern struct workqueue_struct *dsvm_helper_wq;

#endif /* DSVM_LINUX_INTERNAL_H */
