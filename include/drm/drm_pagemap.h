/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * Device memory that takes part in a process's address space: pages move
 * between RAM and device-private memory. The API is that of Linux 7.3's header
 * of this name. Fields and callbacks beyond it come last, and may be left zero;
 * drm/drm_svm_pagemap.h has the calls beyond it.
 *
 *	drm_pagemap		a device's memory as a provider of pages, beside
 *				the kernel's struct dev_pagemap
 *	drm_pagemap_devmem	one allocation of it, made by the driver for one
 *				migration; released when its last page is free
 *
 * Moving data there: the driver allocates device memory, sets up a
 * drm_pagemap_devmem over it and calls drm_pagemap_migrate_to_devmem(). A CPU
 * access, or drm_pagemap_evict_to_ram(), brings it back.
 *
 * On a kernel without CONFIG_DEVICE_PRIVATE all of this is there and migration
 * returns -EOPNOTSUPP; drm_svm_can_migrate() tells.
 */
#ifndef _DRM_PAGEMAP_H_
#define _DRM_PAGEMAP_H_

#include <linux/completion.h>
#include <linux/dma-direction.h>
#include <linux/hmm.h>
#include <linux/kref.h>
#include <linux/list.h>
#include <linux/memremap.h>
#include <linux/spinlock_types.h>
#include <linux/types.h>

#include "drm_svm/link_names.h"

#define NR_PAGES(order) (1U << (order))

struct device;
struct dma_fence;
struct drm_device;
struct drm_pagemap;
struct drm_pagemap_cache;
struct drm_pagemap_dev_hold;
struct drm_pagemap_devmem;
struct drm_pagemap_zdd;
struct drm_svm_copy_run;
struct mm_struct;
struct page;

/**
 * enum drm_interconnect_protocol - How a device reaches a page
 * @DRM_INTERCONNECT_SYSTEM: RAM, over DMA
 * @DRM_INTERCONNECT_DRIVER: as the driver says; its own values follow
 */
enum drm_interconnect_protocol {
	DRM_INTERCONNECT_SYSTEM,
	DRM_INTERCONNECT_DRIVER,
};

/**
 * struct drm_pagemap_addr - Where a device finds a run of pages
 * @addr: DMA address, or what @proto makes of it
 * @proto: &enum drm_interconnect_protocol or the driver's own
 * @order: there are 2^@order pages
 * @dir: the direction it was mapped for
 */
struct drm_pagemap_addr {
	dma_addr_t addr;
	u64 proto : 54;
	u64 order : 8;
	u64 dir : 2;
};

/**
 * drm_pagemap_addr_encode() - Makes a struct drm_pagemap_addr
 * @addr: DMA address, or what @proto makes of it
 * @proto: how the device reaches it
 * @order: there are 2^@order pages
 * @dir: the direction it was mapped for
 *
 * Return: the struct.
 */
static inline struct drm_pagemap_addr
drm_pagemap_addr_encode(dma_addr_t addr,
			enum drm_interconnect_protocol proto,
			unsigned int order,
			enum dma_data_direction dir)
{
	return (struct drm_pagemap_addr) {
		.addr = addr,
		.proto = proto,
		.order = order,
		.dir = dir,
	};
}

/**
 * struct drm_pagemap_ops - What a provider of device memory does
 */
struct drm_pagemap_ops {
	/**
	 * @device_map: Says how @dev reaches 2^@order device pages from @page
	 * on. Required. Runs under the notifier lock: may not allocate.
	 *
	 * Return: the address; its addr is DMA_MAPPING_ERROR if there is none.
	 */
	struct drm_pagemap_addr (*device_map)(struct drm_pagemap *dpagemap,
					      struct device *dev,
					      struct page *page,
					      unsigned int order,
					      enum dma_data_direction dir);

	/**
	 * @device_unmap: Ends @device_map. Optional. Same context.
	 */
	void (*device_unmap)(struct drm_pagemap *dpagemap,
			     struct device *dev,
			     const struct drm_pagemap_addr *addr);

	/**
	 * @populate_mm: Moves the data of [@start, @end) of @mm to this memory,
	 * as far as it can. Called by drm_pagemap_populate_mm(), with a user of
	 * @mm and its mmap_lock held for reading.
	 *
	 * Return: 0, -ENODEV after the device has gone, or another errno.
	 */
	int (*populate_mm)(struct drm_pagemap *dpagemap,
			   unsigned long start, unsigned long end,
			   struct mm_struct *mm,
			   unsigned long timeslice_ms);

	/**
	 * @destroy: The last reference has gone. Optional: without it the
	 * drm_pagemap is freed with kfree(). The library does not touch the
	 * drm_pagemap after this call; it may be used again after
	 * drm_pagemap_reinit(). With @is_atomic_or_reclaim set it may not
	 * sleep.
	 */
	void (*destroy)(struct drm_pagemap *dpagemap,
			bool is_atomic_or_reclaim);

	/**
	 * @populate_span: The same as @populate_mm, but without the mmap_lock,
	 * which drm_svm_migrate_to_devmem() takes itself when it has to.
	 * Optional, and not in mainline: where it is there,
	 * drm_pagemap_populate_mm() calls it instead.
	 *
	 * Return: as @populate_mm.
	 */
	int (*populate_span)(struct drm_pagemap *dpagemap,
			     unsigned long start, unsigned long end,
			     struct mm_struct *mm,
			     unsigned long timeslice_ms);
};

/**
 * struct drm_pagemap - A provider of device memory
 * @ops: the provider's callbacks; immutable
 * @ref: references; every device page in use has a part in one
 * @drm: the device; immutable
 * @pagemap: the kernel's struct for the device's pages; immutable
 * @dev_hold: keeps the device and its module while there are references
 * @cache: that knows it while it is idle, or NULL
 * @shrink_link: entry in the cache's shrinker's list, while it is idle
 */
struct drm_pagemap {
	const struct drm_pagemap_ops *ops;
	struct kref ref;
	struct drm_device *drm;
	struct dev_pagemap *pagemap;
	struct drm_pagemap_dev_hold *dev_hold;
	struct drm_pagemap_cache *cache;
	struct list_head shrink_link;
};

/**
 * struct drm_pagemap_devmem_ops - What a driver does for one allocation
 */
struct drm_pagemap_devmem_ops {
	/**
	 * @devmem_release: Nothing lives in the allocation any more. Required
	 * by drm_pagemap_migrate_to_devmem(), which consumes the allocation.
	 * Runs in process context and may sleep. The caller of a migration or an
	 * eviction may be the one who calls it, with the locks that he has, as
	 * in mainline; or a thread that has had a CPU fault, without any, on its
	 * way back to user space.
	 */
	void (*devmem_release)(struct drm_pagemap_devmem *devmem_allocation);

	/**
	 * @populate_devmem_pfn: Fills in the page frame numbers of the first
	 * @npages pages of the allocation. Required for migration. May sleep.
	 *
	 * Return: 0 or a negative errno.
	 */
	int (*populate_devmem_pfn)(struct drm_pagemap_devmem *devmem_allocation,
				   unsigned long npages, unsigned long *pfn);

	/**
	 * @copy_to_devmem: Fills the device pages @pages, each from the RAM at
	 * @pagemap_addr of the same index. An entry of an order above 0 stands
	 * for that many pages that follow each other on both sides; what is
	 * behind it in both arrays is NULL and zero. NULL in @pages otherwise:
	 * nothing to do. @pagemap_addr all zero but for its order, which is that
	 * of the page's folio then: clear it. Waits for @pre_migrate_fence, if
	 * there is one, before it writes. Required for migration. Returns when
	 * the data is there; may sleep.
	 *
	 * Return: 0 or a negative errno.
	 */
	int (*copy_to_devmem)(struct page **pages,
			      struct drm_pagemap_addr *pagemap_addr,
			      unsigned long npages,
			      struct dma_fence *pre_migrate_fence);

	/**
	 * @copy_to_ram: The same in the other direction; @pagemap_addr is
	 * never zero where @pages is not NULL. It may be memory of another
	 * device, as that one's &drm_pagemap_ops.device_map said. On the way back there is nobody
	 * to try again: a CPU fault whose copy fails is a bus error (or, for
	 * -ENOMEM, out of memory), so it must not be interruptible. -EAGAIN,
	 * -EBUSY, -EINTR and -ERESTARTSYS say that it may pass: the CPU faults again.
	 *
	 * Return: 0 or a negative errno.
	 */
	int (*copy_to_ram)(struct page **pages,
			   struct drm_pagemap_addr *pagemap_addr,
			   unsigned long npages,
			   struct dma_fence *pre_migrate_fence);

	/**
	 * @copy_runs: Both of the above at once, for who wants the work in as
	 * few pieces as there are and need not wait for it. Optional, and not in
	 * mainline: where it is there, the other two are not called (and still
	 * have to be there for drm_pagemap_migrate_to_devmem(), as mainline's).
	 * @runs is the library's only until it returns.
	 *
	 * Return: a fence that signals when the data is there, with a reference;
	 * NULL: it is; or an ERR_PTR().
	 */
	struct dma_fence *(*copy_runs)(struct drm_pagemap_devmem *devmem_allocation,
				       const struct drm_svm_copy_run *runs,
				       unsigned long num_runs, bool to_ram,
				       struct dma_fence *pre_migrate_fence);

	/**
	 * @devmem_free_pages: Nothing lives in @npages frames from @page on any
	 * more, or ever has; the driver may give them to somebody else before
	 * it returns. Optional, and not in mainline: without it they stay taken
	 * until @devmem_release, which is for all that has not come back this
	 * way before. Any context: a page-table lock may be held.
	 */
	void (*devmem_free_pages)(struct drm_pagemap_devmem *devmem_allocation,
				  struct page *page, unsigned long npages);
};

/**
 * struct drm_pagemap_devmem - One allocation of device memory
 * @dev: the device, for DMA
 * @mm: the address space it was made for. The library holds the struct from
 *	drm_pagemap_migrate_to_devmem() until nothing lives in the allocation.
 * @detached: completed once no page lives in the allocation
 * @ops: the driver's callbacks
 * @dpagemap: the provider
 * @size: bytes
 * @timeslice_expiration: until this time, in jiffies (64 bits), CPU faults
 *	leave the pages with the device
 * @pre_migrate_fence: what the first copy has to wait for, or NULL
 * @fault_granule: bytes that a CPU fault brings back around the address, a power
 *	of two; 0, the default: the huge page that it hit, or 64 KiB, and, where
 *	a program goes on at the end of that, twice as much each time, up to 2 MiB
 * @zdd: the library's
 * @zdd_lock: the library's, of @zdd
 */
struct drm_pagemap_devmem {
	struct device *dev;
	struct mm_struct *mm;
	struct completion detached;
	const struct drm_pagemap_devmem_ops *ops;
	struct drm_pagemap *dpagemap;
	size_t size;
	u64 timeslice_expiration;
	struct dma_fence *pre_migrate_fence;
	unsigned long fault_granule;
	struct drm_pagemap_zdd *zdd;
	spinlock_t zdd_lock;
};

/**
 * struct drm_pagemap_migrate_details - How a migration is meant
 * @timeslice_ms: how long, in milliseconds, CPU faults leave the pages with
 *	the device. They sleep meanwhile.
 * @can_migrate_same_pagemap: the copy callbacks can move pages from one place
 *	to another in the provider's memory, so pages that are there already move
 *	as well
 */
struct drm_pagemap_migrate_details {
	unsigned long timeslice_ms;
	u32 can_migrate_same_pagemap : 1;
};

int drm_pagemap_init(struct drm_pagemap *dpagemap,
		     struct dev_pagemap *pagemap,
		     struct drm_device *drm,
		     const struct drm_pagemap_ops *ops);

struct drm_pagemap *drm_pagemap_create(struct drm_device *drm,
				       struct dev_pagemap *pagemap,
				       const struct drm_pagemap_ops *ops);

int drm_pagemap_reinit(struct drm_pagemap *dpagemap);

void drm_pagemap_destroy(struct drm_pagemap *dpagemap, bool is_atomic_or_reclaim);

struct drm_pagemap *drm_pagemap_page_to_dpagemap(struct page *page);

void drm_pagemap_put(struct drm_pagemap *dpagemap);

/**
 * drm_pagemap_get() - Takes a reference
 * @dpagemap: the provider, or NULL
 *
 * Return: @dpagemap.
 */
static inline struct drm_pagemap *
drm_pagemap_get(struct drm_pagemap *dpagemap)
{
	if (likely(dpagemap))
		kref_get(&dpagemap->ref);

	return dpagemap;
}

/**
 * drm_pagemap_get_unless_zero() - Takes a reference if there still is one
 * @dpagemap: the provider, or NULL
 *
 * Return: @dpagemap, or NULL if its last reference has gone.
 */
static inline struct drm_pagemap * __must_check
drm_pagemap_get_unless_zero(struct drm_pagemap *dpagemap)
{
	return (dpagemap && kref_get_unless_zero(&dpagemap->ref)) ? dpagemap : NULL;
}

struct drm_pagemap_zdd *drm_pagemap_page_zone_device_data(struct page *page);

int drm_pagemap_migrate_to_devmem(struct drm_pagemap_devmem *devmem_allocation,
				  struct mm_struct *mm,
				  unsigned long start, unsigned long end,
				  const struct drm_pagemap_migrate_details *mdetails);

int drm_pagemap_evict_to_ram(struct drm_pagemap_devmem *devmem_allocation);

const struct dev_pagemap_ops *drm_pagemap_pagemap_ops_get(void);

void drm_pagemap_devmem_init(struct drm_pagemap_devmem *devmem_allocation,
			     struct device *dev, struct mm_struct *mm,
			     const struct drm_pagemap_devmem_ops *ops,
			     struct drm_pagemap *dpagemap, size_t size,
			     struct dma_fence *pre_migrate_fence);

int drm_pagemap_populate_mm(struct drm_pagemap *dpagemap,
			    unsigned long start, unsigned long end,
			    struct mm_struct *mm,
			    unsigned long timeslice_ms);

#endif /* _DRM_PAGEMAP_H_ */
