// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * See pagemap_fixture.h: device memory in small, as a provider of pages. It follows the contracts
 * of drm/drm_pagemap.h and drm/drm_svm_pagemap.h to the letter, and notes where the library does
 * not.
 */
#include <linux/delay.h>
#include <linux/dma-mapping.h>
#include <linux/ioport.h>
#include <linux/mman.h>
#include <linux/rwsem.h>
#include <linux/slab.h>
#include <linux/topology.h>
#include <linux/vmalloc.h>

#include "compat/memremap_compat.h"
#include "pagemap_fixture.h"

void px_wrong(struct px_vram *v, const char *what)
{
	pr_err("    # device %u: %s\n", v->config.device, what);
	v->wrong++;
}

/* Frames ----------------------------------------------------------------------------------- */

static unsigned long first_pfn(struct px_vram *v)
{
	return PHYS_PFN(v->pagemap.range.start);
}

unsigned int px_frame(struct px_vram *v, struct page *page)
{
	return min(page_to_pfn(page) - first_pfn(v), PX_FRAMES);
}

/* The first frame of a naturally aligned piece that is free; PX_FRAMES: there is none. */
static unsigned int find_piece(struct px_vram *v, unsigned long npages)
{
	unsigned int align = roundup_pow_of_two(npages), first, i;

	for (first = 0; first + npages <= PX_FRAMES; first += align) {
		for (i = 0; i < npages && !v->owner[first + i]; i++)
			;
		if (i == npages)
			return first;
	}
	return PX_FRAMES;
}

/* In one piece, or one by one from the end on, which no copy can take for a piece. */
static void take_frames(struct px_vram *v, struct px_alloc *alloc)
{
	unsigned int first = v->config.scattered ? PX_FRAMES : find_piece(v, alloc->npages);
	unsigned int i, frame = PX_FRAMES;

	for (i = 0; i < alloc->npages; i++) {
		if (first < PX_FRAMES) {
			frame = first + i;
		} else {
			while (v->owner[--frame])
				;
		}
		alloc->frame[i] = frame;
		v->owner[frame] = alloc;
	}
	v->used += alloc->npages;
}

/* Returns false if it was not the allocation's. */
static bool give_frame(struct px_vram *v, struct px_alloc *alloc, unsigned int frame)
{
	if (frame >= PX_FRAMES || v->owner[frame] != alloc)
		return false;

	v->owner[frame] = NULL;
	v->used--;
	return true;
}

static void alloc_free(struct kref *ref)
{
	kvfree(container_of(ref, struct px_alloc, ref));
}

struct px_alloc *px_alloc_get(struct px_alloc *alloc)
{
	kref_get(&alloc->ref);
	return alloc;
}

void px_alloc_put(struct px_alloc *alloc)
{
	kref_put(&alloc->ref, alloc_free);
}

struct px_alloc *px_alloc_create(struct px_vram *v, unsigned long bytes)
{
	unsigned long npages = bytes >> PAGE_SHIFT;
	struct px_alloc *alloc = kvzalloc(struct_size(alloc, frame, npages), GFP_KERNEL);
	unsigned long flags;
	int ret;

	if (!alloc)
		return ERR_PTR(-ENOMEM);
	kref_init(&alloc->ref);
	alloc->vram = v;
	alloc->npages = npages;

	spin_lock_irqsave(&v->lock, flags);
	v->alloc_calls++;
	ret = v->alloc_error ?: v->used + npages > v->limit ? -ENOSPC : 0;
	if (!ret)
		take_frames(v, alloc);
	spin_unlock_irqrestore(&v->lock, flags);
	if (ret) {
		px_alloc_put(alloc);
		return ERR_PTR(ret);
	}

	drm_pagemap_devmem_init(&alloc->base, v->fixture->parents[v->config.device],
				v->fixture->mm, &v->devmem_ops, &v->base, bytes, NULL);
	alloc->base.fault_granule = v->granule;
	return alloc;
}

unsigned int px_alloc_used(struct px_alloc *alloc)
{
	struct px_vram *v = alloc->vram;
	unsigned int i, count = 0;
	unsigned long flags;

	spin_lock_irqsave(&v->lock, flags);
	for (i = 0; i < alloc->npages; i++)
		count += v->owner[alloc->frame[i]] == alloc;
	spin_unlock_irqrestore(&v->lock, flags);
	return count;
}

static int populate_pfns(struct drm_pagemap_devmem *devmem, unsigned long npages,
			 unsigned long *pfns)
{
	struct px_alloc *alloc = to_px_alloc(devmem);
	unsigned long i;

	if (npages > alloc->npages)
		px_wrong(alloc->vram, "more frames are asked for than there are");
	for (i = 0; i < min(npages, alloc->npages); i++)
		pfns[i] = first_pfn(alloc->vram) + alloc->frame[i];
	return 0;
}

static void free_pages_of(struct drm_pagemap_devmem *devmem, struct page *page,
			  unsigned long npages)
{
	struct px_alloc *alloc = to_px_alloc(devmem);
	struct px_vram *v = alloc->vram;
	unsigned int frame = px_frame(v, page);
	unsigned long i, flags;

	spin_lock_irqsave(&v->lock, flags);
	if (alloc->is_released)
		px_wrong(v, "pages are given back after the allocation");
	for (i = 0; i < npages; i++)
		if (!give_frame(v, alloc, frame + i))
			px_wrong(v, "a page is given back that was not out");
	v->returned += npages;
	spin_unlock_irqrestore(&v->lock, flags);
}

static void release(struct drm_pagemap_devmem *devmem)
{
	struct px_alloc *alloc = to_px_alloc(devmem);
	struct px_vram *v = alloc->vram;
	unsigned long i, flags;

	might_sleep();
	spin_lock_irqsave(&v->lock, flags);
	if (alloc->is_released)
		px_wrong(v, "an allocation is released twice");
	alloc->is_released = true;
	for (i = 0; i < alloc->npages; i++)
		give_frame(v, alloc, alloc->frame[i]);
	v->released++;
	spin_unlock_irqrestore(&v->lock, flags);
	px_alloc_put(alloc);
}

/* The provider ----------------------------------------------------------------------------- */

static struct drm_pagemap_addr device_map(struct drm_pagemap *dpagemap, struct device *dev,
					  struct page *page, unsigned int order,
					  enum dma_data_direction dir)
{
	struct px_vram *v = to_px_vram(dpagemap);
	dma_addr_t addr = PFN_PHYS(page_to_pfn(page));
	unsigned long flags;

	if (px_frame(v, page) + (1u << order) > PX_FRAMES)
		px_wrong(v, "pages are mapped that are another device's");
	if (v->is_deaf && dev != v->fixture->parents[v->config.device])
		addr = DMA_MAPPING_ERROR;
	spin_lock_irqsave(&v->lock, flags);
	v->maps += addr != DMA_MAPPING_ERROR;
	spin_unlock_irqrestore(&v->lock, flags);
	return drm_pagemap_addr_encode(addr, PX_PEER, order, dir);
}

static void device_unmap(struct drm_pagemap *dpagemap, struct device *dev,
			 const struct drm_pagemap_addr *addr)
{
	struct px_vram *v = to_px_vram(dpagemap);
	unsigned long flags;

	spin_lock_irqsave(&v->lock, flags);
	v->maps--;
	spin_unlock_irqrestore(&v->lock, flags);
}

/* Who has the lock for no more than a moment is not the caller. */
static bool stays_locked(struct mm_struct *mm)
{
	unsigned int tries = 100;

	while (rwsem_is_locked(&mm->mmap_lock) && --tries)
		usleep_range(1000, 2000);
	return !tries;
}

static int populate_mm(struct drm_pagemap *dpagemap, unsigned long start, unsigned long end,
		       struct mm_struct *mm, unsigned long timeslice_ms)
{
	struct px_vram *v = to_px_vram(dpagemap);

	v->populated++;
	v->had_lock = stays_locked(mm);
	return v->populate_ret;
}

static void destroy(struct drm_pagemap *dpagemap, bool is_atomic_or_reclaim)
{
	complete(&to_px_vram(dpagemap)->destroyed);
}

static bool reach_each_other(struct drm_pagemap_peer *a, struct drm_pagemap_peer *b)
{
	return container_of(a, struct px_vram, peer)->config.clique &&
	       container_of(b, struct px_vram, peer)->config.clique;
}

static DRM_PAGEMAP_OWNER_LIST_DEFINE(owners);

static void set_ops(struct px_vram *v)
{
	v->ops = (struct drm_pagemap_ops){
		.device_map = device_map,
		.device_unmap = device_unmap,
		.populate_mm = populate_mm,
		.populate_span = v->config.takes_spans ? populate_mm : NULL,
		.destroy = destroy,
	};
	v->devmem_ops = (struct drm_pagemap_devmem_ops){
		.devmem_release = release,
		.populate_devmem_pfn = populate_pfns,
		.copy_to_devmem = px_copy_to_devmem,
		.copy_to_ram = px_copy_to_ram,
		.copy_runs = v->config.copies_runs ? px_copy_runs : NULL,
		.devmem_free_pages = v->config.keeps_frames ? NULL : free_pages_of,
	};
}

/* Addresses that nothing answers at: all that is wanted is struct pages. */
static int make_pages(struct px_vram *v)
{
	const unsigned long size = PX_FRAMES * PAGE_SIZE;
	void *ret;

	v->region = request_free_mem_region(&iomem_resource, size, "drm_svm_kunit");
	if (IS_ERR(v->region))
		return PTR_ERR(v->region);

	v->pagemap.type = MEMORY_DEVICE_PRIVATE;
	v->pagemap.range.start = v->region->start;
	v->pagemap.range.end = v->region->start + size - 1;
	v->pagemap.nr_range = 1;
	v->pagemap.ops = drm_pagemap_pagemap_ops_get();
	v->pagemap.owner = v->peer.owner;
	ret = memremap_pages(&v->pagemap, numa_node_id());
	v->has_pages = !IS_ERR(ret);
	return PTR_ERR_OR_ZERO(ret);
}

struct px_vram *px_vram_create_bare(struct kunit *test, const struct px_config *config)
{
	struct px_vram *v = kunit_kzalloc(test, sizeof(*v), GFP_KERNEL);
	struct sx_fixture *f = test->priv;

	KUNIT_ASSERT_NOT_NULL(test, v);
	v->config = *config;
	v->fixture = f;
	v->limit = PX_FRAMES;
	spin_lock_init(&v->lock);
	init_waitqueue_head(&v->change);
	init_completion(&v->destroyed);
	set_ops(v);
	KUNIT_ASSERT_EQ(test, drm_pagemap_acquire_owner(&v->peer, &owners, reach_each_other), 0);
	list_add_tail(&v->entry, &f->vrams);

	v->memory = vzalloc(PX_FRAMES * PAGE_SIZE);
	KUNIT_ASSERT_NOT_NULL(test, v->memory);
	KUNIT_ASSERT_EQ(test, make_pages(v), 0);
	return v;
}

int px_vram_init(struct px_vram *v)
{
	int ret = drm_pagemap_init(&v->base, &v->pagemap, v->fixture->drm[v->config.device],
				   &v->ops);

	v->is_ready = !ret;
	return ret;
}

struct px_vram *px_vram_create(struct kunit *test, const struct px_config *config)
{
	struct px_vram *v = px_vram_create_bare(test, config);

	KUNIT_ASSERT_EQ(test, px_vram_init(v), 0);
	return v;
}

void px_vram_destroy(struct kunit *test, struct px_vram *v)
{
	if (v->is_ready) {
		drm_pagemap_put(&v->base);
		drm_svm_flush();
		/* Who else has a reference would keep it from going for ever. */
		KUNIT_EXPECT_NE(test, wait_for_completion_timeout(&v->destroyed, SX_PATIENCE), 0);
	}
	KUNIT_EXPECT_EQ(test, v->used, 0);
	KUNIT_EXPECT_EQ(test, v->wrong, 0);
	KUNIT_EXPECT_EQ(test, v->maps, 0);
	KUNIT_EXPECT_EQ(test, v->in_flight, 0);

	if (v->has_pages)
		memunmap_pages(&v->pagemap);
	if (!IS_ERR_OR_NULL(v->region))
		release_mem_region(v->region->start, resource_size(v->region));
	vfree(v->memory);
	drm_pagemap_release_owner(&v->peer);
	list_del(&v->entry);
	/* Fences look at their ops until they are freed. */
	if (v->config.late)
		synchronize_rcu();
}

void px_expect_empty(struct kunit *test, struct px_vram *v)
{
	drm_svm_flush();
	KUNIT_EXPECT_EQ(test, READ_ONCE(v->used), 0);
	KUNIT_EXPECT_EQ(test, v->wrong, 0);
	KUNIT_EXPECT_EQ(test, v->maps, 0);
}

struct dsvm_migrate_counters px_counters(struct px_vram *v)
{
	struct dsvm_migrate_counters counters;

	drm_svm_pagemap_counters(&v->base, &counters);
	return counters;
}

/* Setting up and taking down --------------------------------------------------------------- */

int px_init(struct kunit *test)
{
	if (!drm_svm_can_migrate())
		kunit_skip(test, "this kernel cannot migrate to a device");
	return sx_init(test);
}

int px_init_iommu(struct kunit *test)
{
	if (!drm_svm_can_migrate())
		kunit_skip(test, "this kernel cannot migrate to a device");
	return sx_init_iommu(test);
}

/* The memory goes first, so that nothing is left in the devices. */
static void destroy_vrams(struct kunit *test)
{
	struct sx_fixture *f = test->priv;
	struct px_vram *v, *next;

	if (!f)
		return;

	KUNIT_EXPECT_EQ(test, sx_munmap(f, f->start, SX_AREA), 0);
	drm_svm_flush();
	list_for_each_entry_safe(v, next, &f->vrams, entry)
		px_vram_destroy(test, v);
}

void px_exit(struct kunit *test)
{
	destroy_vrams(test);
	sx_exit(test);
}

void px_exit_iommu(struct kunit *test)
{
	destroy_vrams(test);
	sx_exit_iommu(test);
}
