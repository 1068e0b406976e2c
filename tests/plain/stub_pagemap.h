/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * The device's memory as the kernel and the library see it, for the plain stub.
 */
#ifndef STUB_PAGEMAP_H
#define STUB_PAGEMAP_H

#include <linux/kref.h>
#include <linux/memremap.h>
#include <linux/mm.h>
#include <linux/workqueue.h>

#include <drm/drm_pagemap.h>
#include <drm/drm_pagemap_util.h>

#include "stub_vram.h"

struct drm_svm_stub_device_stats;

/**
 * struct stub_pagemap - A provider of a device's memory
 * @dpagemap: the library's side
 * @pagemap: the kernel's side
 * @peer: who reaches these pages
 * @vram: what is behind them; not to be used after the last reference
 * @destroy: takes the pages from the kernel
 */
struct stub_pagemap {
	struct drm_pagemap dpagemap;
	struct dev_pagemap pagemap;
	struct drm_pagemap_peer peer;
	struct stub_vram *vram;
	struct work_struct destroy;
};

/**
 * struct stub_devmem - VRAM that memory of a process has migrated to
 * @base: the library's side
 * @ref: one of the library, and of who is just filling or evicting it
 * @free: frees it
 * @drm: the device, referenced: it is still there when @free runs
 * @pagemap: the provider; immutable
 * @stats: whose memory lives in it, which keeps the mm_struct; immutable
 * @filled: its migration is over, so it may be evicted
 * @block: its pages
 * @offset: where each of them is
 */
struct stub_devmem {
	struct drm_pagemap_devmem base;
	struct kref ref;
	struct work_struct free;
	struct drm_device *drm;
	struct stub_pagemap *pagemap;
	struct stub_stats *stats;
	bool filled;
	struct stub_vram_block block;
	u64 offset[];
};

static inline struct stub_pagemap *to_stub_pagemap(struct drm_pagemap *dpagemap)
{
	return container_of(dpagemap, struct stub_pagemap, dpagemap);
}

/* Where the GPU finds a device page. */
static inline u64 stub_pagemap_offset(const struct stub_pagemap *pagemap, struct page *page)
{
	return PFN_PHYS(page_to_pfn(page)) - pagemap->pagemap.range.start;
}

/* stub_pagemap.c */
int stub_pagemap_init(struct stub_device *stub);
struct drm_pagemap *stub_pagemap_get(struct stub_vram *vram);
struct drm_pagemap *stub_pagemap_get_if_active(struct stub_vram *vram);
struct drm_pagemap_addr stub_pagemap_device_map(struct drm_pagemap *dpagemap, struct device *dev,
						struct page *page, unsigned int order,
						enum dma_data_direction dir);
void stub_pagemap_destroy(struct drm_pagemap *dpagemap, bool is_atomic_or_reclaim);

/* plain_devmem.c */
extern const struct drm_pagemap_ops stub_pagemap_ops;

int plain_devmem_move(struct drm_pagemap *dpagemap, struct mm_struct *mm, unsigned long start,
		      unsigned long end, unsigned long timeslice_ms);
bool stub_devmem_is_possible(void);
void stub_devmem_flush(void);
void stub_devmem_unplug(struct stub_device *stub);

/* plain_copy.c */
int stub_copy_to_vram(struct page **pages, struct drm_pagemap_addr *addr,
		      unsigned long npages, struct dma_fence *pre_migrate_fence);
int stub_copy_to_ram(struct page **pages, struct drm_pagemap_addr *addr,
		     unsigned long npages, struct dma_fence *pre_migrate_fence);

/* plain_counters.c */
int stub_counters_read_device(struct stub_device *stub, struct drm_svm_stub_device_stats *out);

#endif /* STUB_PAGEMAP_H */
