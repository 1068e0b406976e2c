/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * A buffer object: memory that programs reach where VM_BIND has put it, and
 * that belongs to no address space of a process.
 */
#ifndef STUB_BO_H
#define STUB_BO_H

#include <drm/drm_gem.h>

#include "stub_vram.h"

struct stub_device;

/**
 * struct stub_bo - A buffer object
 * @base: the DRM core's side
 * @addr: where the GPU finds each page: its DMA address, or its offset in VRAM;
 *	immutable
 * @pages: its pages of RAM, NULL for an object in VRAM; immutable
 * @num_mapped: of @pages, how many are mapped for the device; immutable
 * @block: its pages of VRAM
 *
 * All of its memory is there for as long as it lives, and does not move. So
 * there is nothing to evict or to validate, and no fence in its dma_resv.
 */
struct stub_bo {
	struct drm_gem_object base;
	u64 *addr;
	struct page **pages;
	unsigned long num_mapped;
	struct stub_vram_block block;
};

static inline struct stub_bo *to_stub_bo(struct drm_gem_object *obj)
{
	return container_of(obj, struct stub_bo, base);
}

struct stub_bo *stub_bo_create(struct stub_device *stub, u64 size, bool vram);

#endif /* STUB_BO_H */
