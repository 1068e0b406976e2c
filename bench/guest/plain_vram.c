// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * VRAM: its pages, its allocations, the copy routine, and the way there.
 */
#include <linux/bitmap.h>
#include <linux/dma-mapping.h>
#include <linux/io.h>
#include <linux/ioport.h>
#include <linux/ktime.h>
#include <linux/mm.h>
#include <linux/slab.h>
#include <linux/topology.h>
#include <linux/vmalloc.h>

#include <drm/drm_device.h>
#ifdef PLAIN_EXTENDED
#include <drm/drm_svm.h>
#endif

#include "plain.h"

/**
 * struct plain_alloc - A piece of VRAM
 * @base: the library's part
 * @ref: one is the library's
 * @entry: in &plain_vram.allocs, until it is released
 * @first: its first page
 * @npages: how many
 * @filled: it may be evicted
 * @made: in &struct plain_move.made, with a reference
 * @gone: pages that are not its own any more
 */
struct plain_alloc {
	struct drm_pagemap_devmem base;
	struct kref ref;
	struct list_head entry;
	unsigned long first;
	unsigned long npages;
	bool filled;
#ifdef PLAIN_EXTENDED
	struct list_head made;
	DECLARE_BITMAP(gone, SZ_2M >> PAGE_SHIFT);
#endif
};

static struct plain_alloc *to_alloc(struct drm_pagemap_devmem *devmem)
{
	return container_of(devmem, struct plain_alloc, base);
}

void *plain_vram_at(struct plain_vram *vram, u64 addr)
{
	return vram->memory + (addr - vram->region->start);
}

/* Allocations ---------------------------------------------------------------------------- */

static void alloc_free(struct kref *ref)
{
	kfree(container_of(ref, struct plain_alloc, ref));
}

#ifdef PLAIN_EXTENDED

static void devmem_free_pages(struct drm_pagemap_devmem *devmem, struct page *page,
			      unsigned long npages)
{
	struct plain_alloc *alloc = to_alloc(devmem);
	struct plain_vram *vram = &plain.vram;
	unsigned long at = page_to_pfn(page) - PHYS_PFN(vram->region->start);
	unsigned long flags;

	spin_lock_irqsave(&vram->lock, flags);
	bitmap_clear(vram->used, at, npages);
	bitmap_set(alloc->gone, at - alloc->first, npages);
	spin_unlock_irqrestore(&vram->lock, flags);
}

/* What has not gone before. Under &plain_vram.lock. */
static void give_back(struct plain_vram *vram, struct plain_alloc *alloc)
{
	unsigned long from, to;

	for_each_clear_bitrange(from, to, alloc->gone, alloc->npages)
		bitmap_clear(vram->used, alloc->first + from, to - from);
}

#else

static void give_back(struct plain_vram *vram, struct plain_alloc *alloc)
{
	bitmap_clear(vram->used, alloc->first, alloc->npages);
}

#endif

static void devmem_release(struct drm_pagemap_devmem *devmem)
{
	struct plain_alloc *alloc = to_alloc(devmem);
	struct plain_vram *vram = &plain.vram;
	unsigned long flags;

	/* One library calls this from where the last page was freed, which may be anywhere. */
	spin_lock_irqsave(&vram->lock, flags);
	give_back(vram, alloc);
	list_del_init(&alloc->entry);
	spin_unlock_irqrestore(&vram->lock, flags);
	kref_put(&alloc->ref, alloc_free);
}

static int populate_devmem_pfn(struct drm_pagemap_devmem *devmem, unsigned long npages,
			       unsigned long *pfn)
{
	unsigned long first = PHYS_PFN(plain.vram.region->start) + to_alloc(devmem)->first;
	unsigned long i;

	for (i = 0; i < npages; i++)
		pfn[i] = first + i;
	return 0;
}

/* Copying -------------------------------------------------------------------------------- */

/* Between RAM at an address of the device's, which is a physical one, and VRAM. */
static void copy_piece(struct plain_vram *vram, struct page *page,
		       const struct drm_pagemap_addr *addr, unsigned long npages, bool to_ram)
{
	void *here = plain_vram_at(vram, PFN_PHYS(page_to_pfn(page)));

	if (!addr->addr)
		memset(here, 0, npages * PAGE_SIZE);
	else if (to_ram)
		memcpy(phys_to_virt(addr->addr), here, npages * PAGE_SIZE);
	else
		memcpy(here, phys_to_virt(addr->addr), npages * PAGE_SIZE);
}

static int copy(struct page **pages, struct drm_pagemap_addr *addrs, unsigned long npages,
		bool to_ram)
{
	struct plain_vram *vram = &plain.vram;
	u64 began = ktime_get_ns();
	unsigned long i, n, sum = 0;

	for (i = 0; i < npages; i += n) {
		n = 1ul << addrs[i].order;
		if (!pages[i])
			continue;
		/* Of memory that was never touched one library does not say how much it is. */
		if (!addrs[i].addr)
			n = max(n, folio_nr_pages(page_folio(pages[i])));
		copy_piece(vram, pages[i], &addrs[i], n, to_ram);
		sum += n;
	}
	atomic64_add(sum, &vram->copy_pages);
	atomic64_inc(&vram->copy_calls);
	atomic64_add(ktime_get_ns() - began, &vram->copy_ns);
	return 0;
}

static int copy_to_devmem(struct page **pages, struct drm_pagemap_addr *addrs,
			  unsigned long npages, struct dma_fence *fence)
{
	return copy(pages, addrs, npages, false);
}

static int copy_to_ram(struct page **pages, struct drm_pagemap_addr *addrs, unsigned long npages,
		       struct dma_fence *fence)
{
	return copy(pages, addrs, npages, true);
}

static const struct drm_pagemap_devmem_ops devmem_ops = {
	.devmem_release = devmem_release,
	.populate_devmem_pfn = populate_devmem_pfn,
	.copy_to_devmem = copy_to_devmem,
	.copy_to_ram = copy_to_ram,
#ifdef PLAIN_EXTENDED
	.devmem_free_pages = devmem_free_pages,
#endif
};

/* The provider --------------------------------------------------------------------------- */

static struct plain_alloc *alloc_create(struct plain_vram *vram, unsigned long bytes,
					struct mm_struct *mm)
{
	struct plain_alloc *alloc = kzalloc(sizeof(*alloc), GFP_KERNEL);
	unsigned long flags, at;
	bool found;

	if (!alloc)
		return ERR_PTR(-ENOMEM);
	kref_init(&alloc->ref);
	alloc->npages = bytes >> PAGE_SHIFT;
	drm_pagemap_devmem_init(&alloc->base, plain.drm->dev, mm, &devmem_ops, &vram->dpagemap,
				bytes, NULL);

	spin_lock_irqsave(&vram->lock, flags);
	at = bitmap_find_next_zero_area(vram->used, vram->limit, 0, alloc->npages,
					roundup_pow_of_two(alloc->npages) - 1);
	found = at < vram->limit;
	if (found) {
		alloc->first = at;
		bitmap_set(vram->used, at, alloc->npages);
		list_add_tail(&alloc->entry, &vram->allocs);
	}
	spin_unlock_irqrestore(&vram->lock, flags);
	if (found)
		return alloc;

	kfree(alloc);
	return ERR_PTR(-ENOSPC);
}

/* After the migration that it was made for; and the caller's reference. */
static void alloc_is_filled(struct plain_alloc *alloc)
{
	WRITE_ONCE(alloc->filled, true);
	kref_put(&alloc->ref, alloc_free);
}

static int populate_mm(struct drm_pagemap *dpagemap, unsigned long start, unsigned long end,
		       struct mm_struct *mm, unsigned long timeslice_ms)
{
	const struct drm_pagemap_migrate_details details = {
		.timeslice_ms = timeslice_ms,
	};
	struct plain_vram *vram = container_of(dpagemap, struct plain_vram, dpagemap);
	struct plain_alloc *alloc = alloc_create(vram, end - start, mm);
	int ret;

	if (IS_ERR(alloc))
		return PTR_ERR(alloc);
	kref_get(&alloc->ref);
	/* Consumes the other reference, whether it succeeds or not. */
	ret = drm_pagemap_migrate_to_devmem(&alloc->base, mm, start, end, &details);
	alloc_is_filled(alloc);
	return ret;
}

#ifdef PLAIN_EXTENDED

/**
 * struct plain_move - A migration, page by page
 * @base: the library's part
 * @made: allocations that were made for it
 */
struct plain_move {
	struct drm_svm_migrate base;
	struct list_head made;
};

static struct drm_pagemap_devmem *move_alloc(struct drm_svm_migrate *migrate, unsigned long addr,
					     unsigned long size)
{
	struct plain_vram *vram = container_of(migrate->dpagemap, struct plain_vram, dpagemap);
	struct plain_alloc *alloc = alloc_create(vram, size, migrate->mm);

	if (IS_ERR(alloc))
		return ERR_CAST(alloc);
	kref_get(&alloc->ref);
	list_add_tail(&alloc->made, &container_of(migrate, struct plain_move, base)->made);
	return &alloc->base;
}

static int populate_span(struct drm_pagemap *dpagemap, unsigned long start, unsigned long end,
			 struct mm_struct *mm, unsigned long timeslice_ms)
{
	struct plain_move move = {
		.base = {
			.dpagemap = dpagemap,
			.mm = mm,
			.start = start,
			.end = end,
			.timeslice_ms = timeslice_ms,
			.alloc = move_alloc,
		},
		.made = LIST_HEAD_INIT(move.made),
	};
	struct plain_alloc *alloc, *next;
	int ret = drm_svm_migrate_to_devmem(&move.base);

	list_for_each_entry_safe(alloc, next, &move.made, made)
		alloc_is_filled(alloc);
	if (!ret && move.base.result[DRM_SVM_STAY_NO_DEVICE_MEMORY])
		return -ENOSPC;
	return ret;
}

#endif

static struct drm_pagemap_addr device_map(struct drm_pagemap *dpagemap, struct device *dev,
					  struct page *page, unsigned int order,
					  enum dma_data_direction dir)
{
	return drm_pagemap_addr_encode(PFN_PHYS(page_to_pfn(page)), DRM_INTERCONNECT_DRIVER,
				       order, dir);
}

static void destroy(struct drm_pagemap *dpagemap, bool is_atomic_or_reclaim)
{
	complete(&container_of(dpagemap, struct plain_vram, dpagemap)->destroyed);
}

static const struct drm_pagemap_ops pagemap_ops = {
	.device_map = device_map,
	.populate_mm = populate_mm,
#ifdef PLAIN_EXTENDED
	.populate_span = populate_span,
#endif
	.destroy = destroy,
};

/* Making room ---------------------------------------------------------------------------- */

/* An allocation that may be evicted, with a reference. */
static struct plain_alloc *next_alloc(struct plain_vram *vram)
{
	struct plain_alloc *alloc, *found = NULL;
	unsigned long flags;

	spin_lock_irqsave(&vram->lock, flags);
	list_for_each_entry(alloc, &vram->allocs, entry) {
		if (!READ_ONCE(alloc->filled))
			continue;
		kref_get(&alloc->ref);
		/* One that stays is not asked again before all the others were. */
		list_move_tail(&alloc->entry, &vram->allocs);
		found = alloc;
		break;
	}
	spin_unlock_irqrestore(&vram->lock, flags);
	return found;
}

static unsigned long count_allocs(struct plain_vram *vram)
{
	unsigned long flags, count;

	spin_lock_irqsave(&vram->lock, flags);
	count = list_count_nodes(&vram->allocs);
	spin_unlock_irqrestore(&vram->lock, flags);
	return count;
}

/* -ENOENT: there is none. */
static int evict_next(struct plain_vram *vram)
{
	struct plain_alloc *alloc = next_alloc(vram);
	int ret;

	if (!alloc)
		return -ENOENT;
	ret = drm_pagemap_evict_to_ram(&alloc->base);
	kref_put(&alloc->ref, alloc_free);
	return ret;
}

int plain_vram_evict(struct plain_vram *vram, u64 *done)
{
	unsigned long count = count_allocs(vram);
	int ret, first = 0;

	while (count--) {
		ret = evict_next(vram);
		if (ret == -ENOENT)
			break;
		first = first ?: ret;
		*done += !ret;
	}
	return first;
}

int plain_vram_move(struct plain_vram *vram, struct mm_struct *mm, unsigned long start,
		    unsigned long end)
{
	int ret = drm_pagemap_populate_mm(&vram->dpagemap, start, end, mm, 0);
	unsigned long count;

	if (ret != -ENOSPC)
		return ret;
	/* Each that is there now is asked once to go. */
	for (count = count_allocs(vram); ret == -ENOSPC && count; count--)
		if (!evict_next(vram))
			ret = drm_pagemap_populate_mm(&vram->dpagemap, start, end, mm, 0);
	return ret;
}

int plain_vram_limit(struct plain_vram *vram, u64 npages)
{
	if (npages > vram->npages)
		return -EINVAL;
	WRITE_ONCE(vram->limit, npages ?: vram->npages);
	return 0;
}

/* Setting up and taking down ------------------------------------------------------------- */

int plain_vram_init(struct plain_vram *vram, struct drm_device *drm, unsigned long size)
{
	void *pages;
	int ret;

	spin_lock_init(&vram->lock);
	vram->npages = size >> PAGE_SHIFT;
	vram->limit = vram->npages;
	INIT_LIST_HEAD(&vram->allocs);
	init_completion(&vram->destroyed);
	vram->used = bitmap_zalloc(vram->npages, GFP_KERNEL);
	vram->memory = vzalloc(size);
	if (!vram->used || !vram->memory) {
		ret = -ENOMEM;
		goto err_memory;
	}
	vram->region = request_free_mem_region(&iomem_resource, size, KBUILD_MODNAME);
	if (IS_ERR(vram->region)) {
		ret = PTR_ERR(vram->region);
		goto err_memory;
	}

	vram->pagemap.type = MEMORY_DEVICE_PRIVATE;
	vram->pagemap.range.start = vram->region->start;
	vram->pagemap.range.end = vram->region->start + size - 1;
	vram->pagemap.nr_range = 1;
	vram->pagemap.ops = drm_pagemap_pagemap_ops_get();
	vram->pagemap.owner = vram;
	pages = memremap_pages(&vram->pagemap, numa_node_id());
	if (IS_ERR(pages)) {
		ret = PTR_ERR(pages);
		goto err_region;
	}
	ret = drm_pagemap_init(&vram->dpagemap, &vram->pagemap, drm, &pagemap_ops);
	if (!ret)
		return 0;

	memunmap_pages(&vram->pagemap);
err_region:
	release_mem_region(vram->region->start, resource_size(vram->region));
err_memory:
	vfree(vram->memory);
	bitmap_free(vram->used);
	return ret;
}

void plain_vram_fini(struct plain_vram *vram)
{
	drm_pagemap_put(&vram->dpagemap);
	wait_for_completion(&vram->destroyed);
	memunmap_pages(&vram->pagemap);
	release_mem_region(vram->region->start, resource_size(vram->region));
	vfree(vram->memory);
	bitmap_free(vram->used);
}
