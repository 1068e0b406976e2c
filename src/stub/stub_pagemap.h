/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * The device's memory as the kernel and the library see it: a provider of
 * pages, and the allocations that memory of processes lives in.
 */
#ifndef STUB_PAGEMAP_H
#define STUB_PAGEMAP_H

#include <linux/kref.h>
#include <linux/memremap.h>
#include <linux/mm.h>
#include <linux/workqueue.h>

#include <drm/drm_pagemap.h>
#include <drm/drm_pagemap_util.h>
#include <drm/drm_svm_pagemap.h>

#include "stub_vram.h"

struct drm_svm_stub_device_stats;

/**
 * struct stub_pagemap - A provider of a device's memory
 * @dpagemap: the library's side
 * @pagemap: the kernel's side. Its pages are device-private: the kernel has a
 *	struct page for each, at physical addresses that lead nowhere.
 * @peer: who reaches these pages
 * @vram: what is behind them; not to be used after the last reference
 * @destroy: takes the pages from the kernel
 *
 * Made when somebody wants it. One that nobody uses any more may still be on its
 * way out while the next one of the same memory is there.
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
 * @ref: one of the library, and of who is just evicting it
 * @pagemap: the provider; immutable
 * @stats: whose memory lives in it; immutable, may be NULL
 * @block: its pages
 * @offset: where each of them is
 */
struct stub_devmem {
	struct drm_pagemap_devmem base;
	struct kref ref;
	struct stub_pagemap *pagemap;
	struct stub_stats *stats;
	struct stub_vram_block block;
	u64 offset[];
};

/**
 * struct stub_move - A migration to VRAM
 * @base: what is to move; the caller's to fill in, but for the callback
 * @fault_granule: bytes that a CPU fault brings back later, or 0: the default
 * @last_age: the youngest block that may be evicted for it. Its own are not.
 */
struct stub_move {
	struct drm_svm_migrate base;
	unsigned long fault_granule;
	u64 last_age;
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

/* stub_devmem.c */
extern const struct drm_pagemap_ops stub_pagemap_ops;

int stub_devmem_move(struct stub_move *move);
bool stub_devmem_is_possible(void);
void stub_devmem_flush(void);
void stub_devmem_unplug(struct stub_device *stub);

/* stub_counters.c */
int stub_counters_read_device(struct stub_device *stub, struct drm_svm_stub_device_stats *out);

#endif /* STUB_PAGEMAP_H */
