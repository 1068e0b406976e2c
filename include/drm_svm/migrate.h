/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * The migration engine, the core's side: pages to device memory and back.
 */
#ifndef DRM_SVM_MIGRATE_H
#define DRM_SVM_MIGRATE_H

#include "drm_svm/types.h"

DSVM_EXTERN_C_BEGIN

/*
 * One allocation of device memory and how data gets in and out of it: the
 * driver's callbacks, as the shim hands them on. All may sleep.
 *
 * In the copy callbacks @pages[i] is the device page, NULL where there is
 * nothing to do, and @addrs[i] is where the system page is for DMA. @addrs[i]
 * all zero in copy_to_device means that there is no source: the page has to
 * be cleared.
 */
struct dsvm_devmem {
	void *allocation;
	struct dsvm_os_dev *dev;
	struct dsvm_os_provider *provider;
	struct dsvm_os_zdd *zdd; /* NULL: all pages that @populate names are its own */
	dsvm_usize size;	 /* bytes */
	/* Fills in the page frame numbers of the allocation's first @npages pages. */
	int (*populate)(void *allocation, dsvm_usize npages, dsvm_usize *pfns);
	int (*copy_to_device)(void *allocation, struct dsvm_os_page **pages,
			      struct dsvm_dma_addr *addrs, dsvm_usize npages);
	int (*copy_to_ram)(void *allocation, struct dsvm_os_page **pages,
			   struct dsvm_dma_addr *addrs, dsvm_usize npages);
};

/* A span of one VMA that is to move to a fresh allocation. */
struct dsvm_to_device {
	struct dsvm_os_mm *mm; /* its lock held, at least for reading */
	dsvm_usize first;
	dsvm_usize last;
	void *owner;
	const struct dsvm_devmem *devmem;
	dsvm_bool all_or_nothing; /* one page that cannot move stops the rest */
	/* Out: pages that live in the allocation now. */
	dsvm_usize migrated;
};

/*
 * Moves the span. 0: all of it, or as much as could (all_or_nothing unset),
 * or it was there already; -ENOENT: no VMA; -EINVAL: beyond the VMA, or
 * larger than the allocation; -EBUSY: not anonymous, or a page that cannot
 * move now, or lost a race; -EFAULT: RAM that DMA does not reach; -ENOMEM; what a
 * callback returned. After an error all pages are where they were; but if a race
 * was lost at the last moment (-EBUSY and @migrated not zero), those that had won
 * it have moved.
 */
int dsvm_migrate_to_device(struct dsvm_to_device *request);

/* A CPU fault on a device page. */
struct dsvm_cpu_fault {
	struct dsvm_os_vma *vma;
	dsvm_usize vma_first;
	dsvm_usize vma_last;
	dsvm_usize addr;
	struct dsvm_os_page *page;
	void *owner;
	const struct dsvm_devmem *devmem;
	dsvm_bool in_timeslice; /* the device may keep the page for now */
};

enum dsvm_fault_result {
	DSVM_FAULT_DONE,  /* moved, by us or by somebody else, or to be tried again */
	DSVM_FAULT_OOM,	  /* no memory to move to */
	DSVM_FAULT_LOST,  /* the data cannot be had any more */
};

/* Brings the allocation's pages around the address back. Under the mm's lock, may sleep. */
enum dsvm_fault_result dsvm_migrate_to_ram(const struct dsvm_cpu_fault *fault);

/*
 * Moves everything that lives in the allocation to RAM, without page tables
 * of an address space. @mm is the owner's, held as a struct; it may have lost
 * its users. Its lock is tried, and not waited for. @detached says whether
 * nothing lives there any more. 0; -EBUSY: some page resisted DSVM_EVICT_TRIES
 * times, or the owner had its lock for too long, or was too long in exiting;
 * -ENOMEM; -EINTR: being killed; what a callback returned. May sleep.
 */
#define DSVM_EVICT_TRIES 10
int dsvm_migrate_evict(const struct dsvm_devmem *devmem, struct dsvm_os_mm *mm,
		       dsvm_bool (*detached)(void *));

DSVM_EXTERN_C_END

#endif /* DRM_SVM_MIGRATE_H */
