/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * Migration beyond mainline's API: what can move does, page by page, and the
 * rest is reported.
 *
 *	drm_svm_migrate_to_devmem()	any span of an address space to a device
 *	drm_svm_evict()			a part of an allocation back to RAM
 *	drm_svm_split_cut()		what an unmapping has left of a huge page
 *	drm_svm_pagemap_unplug()	all of a device's, for good
 *	drm_svm_pagemap_counters()	what has been going on
 *
 * And for a driver's ops, in drm/drm_pagemap.h:
 * &drm_pagemap_devmem_ops.devmem_free_pages, so that an allocation gives back
 * what nobody uses any more, page by page; &drm_pagemap_devmem_ops.copy_runs,
 * which need not wait for the copy; &drm_pagemap_ops.populate_span, which is
 * called without the mmap_lock.
 */
#ifndef __DRM_SVM_PAGEMAP_H__
#define __DRM_SVM_PAGEMAP_H__

#include <linux/types.h>

#include <drm/drm_pagemap.h>

#include "drm_svm/link_names.h"
#include "drm_svm/migrate.h"

struct mm_struct;

/**
 * struct drm_svm_copy_run - Pages of a copy that follow each other on both sides
 * @page: the first device page, of the device that copies
 * @addr: where the other side begins: RAM, or another device's memory; all
 *	zero in a copy to the device: there is no source, the pages have to be
 *	cleared. Its order means nothing here.
 * @npages: how many
 */
struct drm_svm_copy_run {
	struct page *page;
	struct drm_pagemap_addr addr;
	unsigned long npages;
};

/**
 * enum drm_svm_stay - What has become of a page that was to move to a device
 * @DRM_SVM_MOVED: it lives there now
 * @DRM_SVM_WAS_THERE: it did before
 * @DRM_SVM_STAY_NOT_TRIED: an error came before
 * @DRM_SVM_STAY_NO_MEMORY_MAP: there is no memory at this address
 * @DRM_SVM_STAY_NOT_ANONYMOUS: memory of a file, shared, hugetlb, a device's mapping
 * @DRM_SVM_STAY_SWAPPED: swapped out, in device memory of another owner, or the
 *	process has no access
 * @DRM_SVM_STAY_SWAP_CACHE: on its way to swap or back
 * @DRM_SVM_STAY_PINNED: somebody uses it by its address (RDMA, io_uring, VFIO)
 * @DRM_SVM_STAY_LOCKED: locked
 * @DRM_SVM_STAY_WRITEBACK: being written out
 * @DRM_SVM_STAY_LARGE_FOLIO: part of a large folio that this kernel cannot split (before 7.3)
 * @DRM_SVM_STAY_FOREIGN: in memory of a device of its clique, which says that it
 *	cannot be reached after all
 * @DRM_SVM_STAY_NO_DEVICE_MEMORY: there is no memory on the device
 * @DRM_SVM_STAY_NO_DMA: DMA does not reach it
 * @DRM_SVM_STAY_BUSY: somebody held it in that moment
 * @DRM_SVM_STAYS: how many there are
 */
enum drm_svm_stay {
	DRM_SVM_MOVED,
	DRM_SVM_WAS_THERE,
	DRM_SVM_STAY_NOT_TRIED,
	DRM_SVM_STAY_NO_MEMORY_MAP,
	DRM_SVM_STAY_NOT_ANONYMOUS,
	DRM_SVM_STAY_SWAPPED,
	DRM_SVM_STAY_SWAP_CACHE,
	DRM_SVM_STAY_PINNED,
	DRM_SVM_STAY_LOCKED,
	DRM_SVM_STAY_WRITEBACK,
	DRM_SVM_STAY_LARGE_FOLIO,
	DRM_SVM_STAY_FOREIGN,
	DRM_SVM_STAY_NO_DEVICE_MEMORY,
	DRM_SVM_STAY_NO_DMA,
	DRM_SVM_STAY_BUSY,
	DRM_SVM_STAYS,
};

const char *drm_svm_stay_name(enum drm_svm_stay stay);

/**
 * struct drm_svm_migrate - A migration to a device
 * @dpagemap: whose memory
 * @mm: the address space; the caller keeps a user (mmget())
 * @start: first byte, page aligned
 * @end: first byte after the span, page aligned
 * @timeslice_ms: how long, in milliseconds, CPU faults leave the pages with the
 *	device, counted for each allocation from when it is filled
 * @workers: at most so many threads share the work; 0 is 1
 * @fault_in: bring pages that are swapped out, or in memory of a device that
 *	this one cannot read, to RAM first
 * @alloc: Makes device memory for @size bytes (at most 2 MiB, in one naturally
 *	aligned block) from @addr on. No lock of the kernel's mm is held: it may
 *	sleep, evict, and take what locks it likes that are taken outside of
 *	mmap_lock. With @workers above 1 it is called side by side. Returns an
 *	allocation set up with drm_pagemap_devmem_init(), which the library
 *	releases, or an ERR_PTR(): -ENOSPC means that this piece stays, and any
 *	other error ends the migration.
 * @priv: for @alloc
 * @report: if it is there, receives an &enum drm_svm_stay for each page
 * @result: receives the number of pages for each &enum drm_svm_stay
 */
struct drm_svm_migrate {
	struct drm_pagemap *dpagemap;
	struct mm_struct *mm;
	unsigned long start;
	unsigned long end;
	unsigned long timeslice_ms;
	unsigned int workers;
	bool fault_in;
	struct drm_pagemap_devmem *(*alloc)(struct drm_svm_migrate *migrate,
					    unsigned long addr, unsigned long size);
	void *priv;
	u8 *report;
	unsigned long result[DRM_SVM_STAYS];
};

int drm_svm_migrate_to_devmem(struct drm_svm_migrate *migrate);

int drm_svm_evict(struct drm_pagemap_devmem *devmem_allocation,
		  unsigned long offset, unsigned long size);

int drm_svm_split_cut(struct drm_pagemap *dpagemap, struct mm_struct *mm, unsigned long addr);

int drm_svm_pagemap_unplug(struct drm_pagemap *dpagemap, unsigned int timeout_ms);

void drm_svm_pagemap_counters(struct drm_pagemap *dpagemap,
			      struct dsvm_migrate_counters *out);

struct seq_file;
void drm_svm_debugfs_pagemap_info(struct seq_file *m, struct drm_pagemap *dpagemap);
int drm_svm_debugfs_residency(struct seq_file *m, struct mm_struct *mm);

#endif /* __DRM_SVM_PAGEMAP_H__ */
