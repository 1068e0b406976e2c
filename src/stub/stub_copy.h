/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * The copy engine: does its jobs one after the other, and each has a fence. It
 * copies between the device's memory and RAM, or the memory of another device.
 */
#ifndef STUB_COPY_H
#define STUB_COPY_H

#include <linux/spinlock_types.h>
#include <linux/types.h>

struct dma_fence;
struct drm_pagemap_addr;
struct drm_pagemap_devmem;
struct drm_svm_copy_run;
struct page;
struct stub_device;
struct workqueue_struct;

/**
 * struct stub_copy - The engine
 * @wq: ordered, so that fences signal in the order of their numbers; immutable
 * @lock: makes numbering and queueing one step
 * @context: fence context; immutable
 * @seqno: number of the last job; guarded by @lock
 * @pages_to_vram: pages copied or cleared so far
 * @pages_to_ram: pages copied so far
 * @pages_to_peer: pages copied to another device so far
 */
struct stub_copy {
	struct workqueue_struct *wq;
	spinlock_t lock;
	u64 context;
	u64 seqno;
	atomic64_t pages_to_vram;
	atomic64_t pages_to_ram;
	atomic64_t pages_to_peer;
};

int stub_copy_init(struct stub_device *stub);
struct dma_fence *stub_copy_runs(struct drm_pagemap_devmem *devmem,
				 const struct drm_svm_copy_run *runs, unsigned long num_runs,
				 bool to_ram, struct dma_fence *pre_migrate_fence);
int stub_copy_to_vram(struct page **pages, struct drm_pagemap_addr *addr,
		      unsigned long npages, struct dma_fence *pre_migrate_fence);
int stub_copy_to_ram(struct page **pages, struct drm_pagemap_addr *addr,
		     unsigned long npages, struct dma_fence *pre_migrate_fence);

#endif /* STUB_COPY_H */
