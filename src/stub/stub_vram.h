/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * The device's memory. Its pages are device-private: the kernel has a struct
 * page for each of them, at physical addresses that lead nowhere, and the
 * data is in RAM that the driver owns.
 */
#ifndef STUB_VRAM_H
#define STUB_VRAM_H

#include <linux/completion.h>
#include <linux/memremap.h>
#include <linux/mm.h>
#include <linux/mutex.h>
#include <linux/spinlock_types.h>

#include <drm/drm_pagemap.h>

#include "stub_stats.h"

struct seq_file;
struct stub_device;
struct stub_devmem;

/**
 * struct stub_vram_block - Pages of VRAM that were taken together
 * @link: entry in &stub_vram.blocks
 * @num_pages: how many; immutable
 * @offset: where each of them is; immutable while they are taken
 */
struct stub_vram_block {
	struct list_head link;
	unsigned long num_pages;
	u64 *offset;
};

/**
 * struct stub_vram - The device's memory
 * @num_pages: its size in pages, zero if the device has none; immutable
 * @mem: where the data is; immutable
 * @pagemap: the kernel's side of the device pages; immutable
 * @dpagemap: the library's side. It keeps the device and the module, so it
 *	only has references while there is a VM or a page in use.
 * @get_lock: one at a time brings @dpagemap back to life
 * @initialised: @dpagemap has been alive before; guarded by @get_lock
 * @dead: completed when @dpagemap is at its end
 * @lock: guards all that follows, to @blocks
 * @used: bitmap of pages that have been taken
 * @num_used: pages that have been taken, or promised to who is taking them
 * @owner: for pages that migration took, what each belongs to. A page that is
 *	in use keeps its owner, which may be read without the lock then.
 * @blocks: all that is taken
 * @stats: of all processes whose memory it is or may become
 */
struct stub_vram {
	unsigned long num_pages;
	void *mem;
	struct dev_pagemap pagemap;
	struct drm_pagemap dpagemap;
	struct mutex get_lock;
	bool initialised;
	struct completion dead;
	spinlock_t lock;
	unsigned long *used;
	unsigned long num_used;
	struct stub_devmem **owner;
	struct list_head blocks;
	struct stub_stats_table stats;
};

static inline struct stub_vram *to_stub_vram(struct drm_pagemap *dpagemap)
{
	return container_of(dpagemap, struct stub_vram, dpagemap);
}

/* Where the GPU finds a device page. */
static inline u64 stub_vram_offset(const struct stub_vram *vram, struct page *page)
{
	return PFN_PHYS(page_to_pfn(page)) - vram->pagemap.range.start;
}

/* Where the CPU finds what the GPU finds at an offset. */
static inline void *stub_vram_mem(const struct stub_vram *vram, u64 offset)
{
	return vram->mem + offset;
}

int stub_vram_init(struct stub_device *stub, u64 size);
struct drm_pagemap *stub_vram_get(struct stub_vram *vram);
int stub_vram_take(struct stub_vram *vram, struct stub_vram_block *block,
		   struct stub_devmem *owner);
void stub_vram_release(struct stub_vram *vram, struct stub_vram_block *block);
unsigned long stub_vram_num_free(struct stub_vram *vram);
void stub_vram_count(struct stub_vram *vram, struct page *page,
		     unsigned long npages, bool to_ram);
void stub_vram_show(struct stub_vram *vram, struct seq_file *m);

#endif /* STUB_VRAM_H */
