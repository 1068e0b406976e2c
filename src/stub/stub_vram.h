/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * The device's memory, and who has what of it. The data is in RAM that the
 * driver owns; how the kernel comes to have pages of it is in stub_pagemap.h.
 */
#ifndef STUB_VRAM_H
#define STUB_VRAM_H

#include <linux/bits.h>
#include <linux/list.h>
#include <linux/spinlock_types.h>
#include <linux/types.h>

#include <drm/drm_pagemap.h>

#include "stub_stats.h"

struct drm_pagemap_cache;
struct seq_file;
struct stub_device;
struct stub_devmem;

/*
 * How a device reaches VRAM, in &drm_pagemap_addr.proto: its own, at an offset;
 * or another stub device's, at an offset with &stub_vram.id above it.
 */
#define STUB_PROTO_LOCAL	DRM_INTERCONNECT_DRIVER
#define STUB_PROTO_PEER		(DRM_INTERCONNECT_DRIVER + 1)
#define STUB_PEER_SHIFT		40
#define STUB_PEER_OFFSET	GENMASK_ULL(STUB_PEER_SHIFT - 1, 0)
/* What is left of an address of 52 bits, as the page table has them. */
#define STUB_MAX_VRAMS		BIT(12)

/**
 * struct stub_vram_block - Pages of VRAM that were taken together
 * @link: entry in &stub_vram.blocks
 * @age: value of &stub_vram.age when they were taken; immutable
 * @owner: what they are for, NULL if not for migration; immutable
 * @num_pages: how many; immutable
 * @offset: where each of them is; immutable while they are taken
 */
struct stub_vram_block {
	struct list_head link;
	u64 age;
	struct stub_devmem *owner;
	unsigned long num_pages;
	u64 *offset;
};

/**
 * struct stub_vram - The device's memory
 * @num_pages: its size in pages, zero if the device has none; immutable
 * @mem: where the data is. It stays where anybody has pages of it.
 * @id: among all VRAM of the driver; immutable
 * @dead: the data is not to be had any more; set once
 * @cache: knows the provider of it, or the one that there was; immutable
 * @lock: guards all that follows, to @blocks
 * @used: bitmap of pages that have been taken
 * @num_used: pages that have been taken, or promised to who is taking them
 * @owner: for pages that migration took, what each belongs to. A page that is
 *	in use keeps its owner, which may be read without the lock then.
 * @age: goes up with each block
 * @blocks: all &struct stub_vram_block, the oldest first
 * @stats: of all processes whose memory it is or may become
 */
struct stub_vram {
	unsigned long num_pages;
	void *mem;
	u32 id;
	bool dead;
	struct drm_pagemap_cache *cache;
	spinlock_t lock;
	unsigned long *used;
	unsigned long num_used;
	struct stub_devmem **owner;
	u64 age;
	struct list_head blocks;
	struct stub_stats_table stats;
};

/* Where the CPU finds what the GPU finds at an offset. */
static inline void *stub_vram_mem(const struct stub_vram *vram, u64 offset)
{
	return vram->mem + offset;
}

/* The same, for a device page of this VRAM at another device. */
static inline u64 stub_vram_peer_addr(const struct stub_vram *vram, u64 offset)
{
	return (u64)vram->id << STUB_PEER_SHIFT | offset;
}

int stub_vram_init(struct stub_device *stub, u64 size);
void stub_vram_kill(struct stub_vram *vram);
void stub_vram_stop(struct stub_vram *vram);
struct stub_vram *stub_vram_peer(u64 addr);
int stub_vram_take(struct stub_vram *vram, struct stub_vram_block *block);
void stub_vram_give(struct stub_vram *vram, u64 offset, unsigned long npages,
		    const struct stub_devmem *owner);
void stub_vram_release(struct stub_vram *vram, struct stub_vram_block *block);
unsigned long stub_vram_num_free(struct stub_vram *vram);
void stub_vram_show(struct stub_vram *vram, struct seq_file *m);

#endif /* STUB_VRAM_H */
