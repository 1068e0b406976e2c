// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * The device's memory as a provider of pages. An allocation is any pages, best
 * in one naturally aligned piece, which lets a huge page stay one; so memory
 * that is free can always be had, however scattered it is.
 */
#include <linux/bitmap.h>
#include <linux/device.h>
#include <linux/ioport.h>
#include <linux/log2.h>
#include <linux/seq_file.h>
#include <linux/slab.h>
#include <linux/topology.h>
#include <linux/vmalloc.h>

#include <drm/drm_svm.h>

#include "stub_drv.h"

/**
 * struct stub_devmem - VRAM that memory of a process has migrated to
 * @base: the library's side, which owns it
 * @vram: where it is; immutable
 * @stats: whose memory lives in it; immutable, may be NULL
 * @block: its pages
 * @offset: where each of them is
 */
struct stub_devmem {
	struct drm_pagemap_devmem base;
	struct stub_vram *vram;
	struct stub_stats *stats;
	struct stub_vram_block block;
	u64 offset[];
};

static struct stub_devmem *to_stub_devmem(struct drm_pagemap_devmem *base)
{
	return container_of(base, struct stub_devmem, base);
}

static struct device *stub_vram_dev(struct stub_vram *vram)
{
	return container_of(vram, struct stub_device, vram)->drm.dev;
}

/* --- pages ----------------------------------------------------------------- */

/*
 * So many are taken in one go, best in a row: a huge page can stay one, and the
 * lock is not held for long.
 */
#define STUB_VRAM_PIECE (SZ_2M / PAGE_SIZE)

/* There are enough, because they were promised. */
static void stub_vram_take_piece(struct stub_vram *vram, u64 *offset, unsigned int num,
				 struct stub_devmem *owner)
{
	unsigned long index;
	unsigned int i;

	index = bitmap_find_next_zero_area(vram->used, vram->num_pages, 0, num,
					   roundup_pow_of_two(num) - 1);
	if (index >= vram->num_pages)	/* not in one piece, then */
		index = find_first_zero_bit(vram->used, vram->num_pages);

	for (i = 0; i < num; i++, index++) {
		index = find_next_zero_bit(vram->used, vram->num_pages, index);
		__set_bit(index, vram->used);
		WRITE_ONCE(vram->owner[index], owner);
		offset[i] = PFN_PHYS(index);
	}
}

/**
 * stub_vram_take() - Takes pages
 * @vram: the device's memory
 * @block: says how many, and has room to say where they are
 * @owner: for pages to migrate to, what they will belong to; or NULL
 *
 * What was in them is still there.
 *
 * Context: may sleep.
 * Return: 0 or -ENOSPC.
 */
int stub_vram_take(struct stub_vram *vram, struct stub_vram_block *block,
		   struct stub_devmem *owner)
{
	unsigned long i, num;

	spin_lock(&vram->lock);
	if (vram->num_pages - vram->num_used < block->num_pages) {
		spin_unlock(&vram->lock);
		return -ENOSPC;
	}
	vram->num_used += block->num_pages;
	spin_unlock(&vram->lock);

	for (i = 0; i < block->num_pages; i += num) {
		num = min(block->num_pages - i, STUB_VRAM_PIECE);
		spin_lock(&vram->lock);
		stub_vram_take_piece(vram, &block->offset[i], num, owner);
		spin_unlock(&vram->lock);
	}

	spin_lock(&vram->lock);
	list_add_tail(&block->link, &vram->blocks);
	spin_unlock(&vram->lock);

	return 0;
}

/**
 * stub_vram_release() - Gives pages back
 * @vram: the device's memory
 * @block: the pages
 */
void stub_vram_release(struct stub_vram *vram, struct stub_vram_block *block)
{
	unsigned long i, num;

	spin_lock(&vram->lock);
	list_del(&block->link);
	for (i = 0, num = 0; i < block->num_pages; i++) {
		unsigned long index = PHYS_PFN(block->offset[i]);

		WRITE_ONCE(vram->owner[index], NULL);
		__clear_bit(index, vram->used);
		if (++num < STUB_VRAM_PIECE)
			continue;
		vram->num_used -= num;
		num = 0;
		spin_unlock(&vram->lock);
		spin_lock(&vram->lock);
	}
	vram->num_used -= num;
	spin_unlock(&vram->lock);
}

/* --- what migration takes -------------------------------------------------- */

static struct stub_devmem *stub_devmem_create(struct stub_vram *vram, struct mm_struct *mm,
					      unsigned long size)
{
	unsigned long num_pages = size >> PAGE_SHIFT;
	struct stub_devmem *devmem;
	int err;

	devmem = kvzalloc(struct_size(devmem, offset, num_pages), GFP_KERNEL);
	if (!devmem)
		return ERR_PTR(-ENOMEM);
	devmem->vram = vram;
	devmem->block.num_pages = num_pages;
	devmem->block.offset = devmem->offset;

	err = stub_vram_take(vram, &devmem->block, devmem);
	if (err) {
		kvfree(devmem);
		return ERR_PTR(err);
	}

	devmem->stats = stub_stats_find(&vram->stats, mm);

	return devmem;
}

static void stub_devmem_release(struct drm_pagemap_devmem *base)
{
	struct stub_devmem *devmem = to_stub_devmem(base);

	stub_vram_release(devmem->vram, &devmem->block);
	stub_stats_put(devmem->stats);
	kvfree(devmem);
}

static int stub_devmem_populate_pfn(struct drm_pagemap_devmem *base,
				    unsigned long npages, unsigned long *pfn)
{
	struct stub_devmem *devmem = to_stub_devmem(base);
	unsigned long i;

	for (i = 0; i < npages; i++)
		pfn[i] = PHYS_PFN(devmem->vram->pagemap.range.start + devmem->offset[i]);

	return 0;
}

static const struct drm_pagemap_devmem_ops stub_devmem_ops = {
	.devmem_release = stub_devmem_release,
	.populate_devmem_pfn = stub_devmem_populate_pfn,
	.copy_to_devmem = stub_copy_to_vram,
	.copy_to_ram = stub_copy_to_ram,
};

/**
 * stub_vram_count() - Notes that pages have been copied
 * @vram: the device's memory
 * @page: the first page, in use
 * @npages: number of pages that were taken together
 * @to_ram: the direction
 */
void stub_vram_count(struct stub_vram *vram, struct page *page,
		     unsigned long npages, bool to_ram)
{
	unsigned long index = PHYS_PFN(stub_vram_offset(vram, page));
	struct stub_devmem *devmem = READ_ONCE(vram->owner[index]);

	if (!WARN_ON_ONCE(!devmem) && devmem->stats)
		atomic64_add(npages, to_ram ? &devmem->stats->pages_to_ram :
			     &devmem->stats->pages_to_vram);
}

/* --- the provider ---------------------------------------------------------- */

static struct drm_pagemap_addr
stub_vram_device_map(struct drm_pagemap *dpagemap, struct device *dev,
		     struct page *page, unsigned int order,
		     enum dma_data_direction dir)
{
	struct stub_vram *vram = to_stub_vram(dpagemap);
	dma_addr_t addr = DMA_MAPPING_ERROR;

	/* No other device can reach this memory. */
	if (dev == stub_vram_dev(vram))
		addr = stub_vram_offset(vram, page);

	return drm_pagemap_addr_encode(addr, DRM_INTERCONNECT_DRIVER, order, dir);
}

static int stub_vram_populate_mm(struct drm_pagemap *dpagemap,
				 unsigned long start, unsigned long end,
				 struct mm_struct *mm, unsigned long timeslice_ms)
{
	const struct drm_pagemap_migrate_details details = {
		.timeslice_ms = timeslice_ms,
	};
	struct stub_vram *vram = to_stub_vram(dpagemap);
	struct stub_devmem *devmem;

	devmem = stub_devmem_create(vram, mm, end - start);
	if (IS_ERR(devmem))
		return PTR_ERR(devmem);

	drm_pagemap_devmem_init(&devmem->base, stub_vram_dev(vram), mm, &stub_devmem_ops,
				dpagemap, end - start, NULL);

	/* From here on the library owns it, whatever comes of this. */
	return drm_pagemap_migrate_to_devmem(&devmem->base, mm, start, end, &details);
}

static void stub_vram_destroy(struct drm_pagemap *dpagemap, bool is_atomic_or_reclaim)
{
	complete(&to_stub_vram(dpagemap)->dead);
}

static const struct drm_pagemap_ops stub_vram_ops = {
	.device_map = stub_vram_device_map,
	.populate_mm = stub_vram_populate_mm,
	.destroy = stub_vram_destroy,
};

/**
 * stub_vram_get() - Takes a reference to the provider
 * @vram: the device's memory, of a size that is not zero
 *
 * Makes it if there is none. For as long as there are references the module
 * cannot be unloaded.
 *
 * Context: may sleep.
 * Return: the provider, for drm_pagemap_put(), or an ERR_PTR().
 */
struct drm_pagemap *stub_vram_get(struct stub_vram *vram)
{
	struct stub_device *stub = container_of(vram, struct stub_device, vram);
	struct drm_pagemap *dpagemap = &vram->dpagemap;
	int err;

	mutex_lock(&vram->get_lock);
	if (vram->initialised && drm_pagemap_get_unless_zero(dpagemap)) {
		mutex_unlock(&vram->get_lock);
		return dpagemap;
	}

	/* Whoever dropped the last reference may not have come to the end yet. */
	wait_for_completion(&vram->dead);
	if (vram->initialised)
		err = drm_pagemap_reinit(dpagemap);
	else
		err = drm_pagemap_init(dpagemap, &vram->pagemap, &stub->drm,
				       &stub_vram_ops);
	if (err)
		complete(&vram->dead);
	else
		vram->initialised = true;
	mutex_unlock(&vram->get_lock);

	return err ? ERR_PTR(err) : dpagemap;
}

/**
 * stub_vram_num_free() - Free memory
 * @vram: the device's memory
 *
 * Counts what the kernel has freed before the call, also if it has not come
 * back to the device yet.
 *
 * Context: may sleep; no locks.
 * Return: pages.
 */
unsigned long stub_vram_num_free(struct stub_vram *vram)
{
	struct stub_device *stub = container_of(vram, struct stub_device, vram);

	flush_workqueue(stub->release_wq);
	drm_svm_flush();

	return vram->num_pages - READ_ONCE(vram->num_used);
}

/**
 * stub_vram_show() - Prints the state for a person to read
 * @vram: the device's memory
 * @m: where to
 */
void stub_vram_show(struct stub_vram *vram, struct seq_file *m)
{
	unsigned long blocks = 0, used, in_pieces = 0;
	struct stub_vram_block *block;

	spin_lock(&vram->lock);
	used = vram->num_used;
	list_for_each_entry(block, &vram->blocks, link) {
		u64 last = block->offset[block->num_pages - 1];

		blocks++;
		in_pieces += last - block->offset[0] != PFN_PHYS(block->num_pages - 1);
	}
	spin_unlock(&vram->lock);

	seq_printf(m, "size        %12lu KiB\n", vram->num_pages << (PAGE_SHIFT - 10));
	seq_printf(m, "used        %12lu KiB\n", used << (PAGE_SHIFT - 10));
	seq_printf(m, "allocations %12lu\n", blocks);
	seq_printf(m, "  in pieces %12lu\n", in_pieces);
}

/* --- making it ------------------------------------------------------------- */

static void stub_vram_free(struct stub_vram *vram)
{
	kvfree(vram->owner);
	bitmap_free(vram->used);
	vfree(vram->mem);
}

static int stub_vram_alloc(struct stub_vram *vram, u64 size)
{
	unsigned long num_pages = PHYS_PFN(size);

	/* Better none than other people's: do not call the OOM killer for it. */
	vram->mem = __vmalloc(size, GFP_KERNEL | __GFP_RETRY_MAYFAIL | __GFP_NOWARN);
	if (!vram->mem)
		return -ENOMEM;

	vram->used = bitmap_zalloc(num_pages, GFP_KERNEL | __GFP_NOWARN);
	vram->owner = kvcalloc(num_pages, sizeof(*vram->owner), GFP_KERNEL | __GFP_NOWARN);
	if (!vram->used || !vram->owner) {
		stub_vram_free(vram);
		return -ENOMEM;
	}

	return 0;
}

static int stub_vram_map(struct stub_device *stub, u64 size)
{
	struct stub_vram *vram = &stub->vram;
	struct dev_pagemap *pagemap = &vram->pagemap;
	struct resource *res;
	void *ret;

	/* Addresses that nothing answers at: all that is wanted is struct pages. */
	res = request_free_mem_region(&iomem_resource, size, "drm_svm_stub");
	if (IS_ERR(res))
		return PTR_ERR(res);

	pagemap->type = MEMORY_DEVICE_PRIVATE;
	pagemap->range.start = res->start;
	pagemap->range.end = res->end;
	pagemap->nr_range = 1;
	pagemap->ops = drm_pagemap_pagemap_ops_get();
	pagemap->owner = stub;
	ret = memremap_pages(pagemap, numa_node_id());
	if (IS_ERR(ret)) {
		release_mem_region(res->start, resource_size(res));
		return PTR_ERR(ret);
	}

	return 0;
}

static void stub_vram_fini(void *data)
{
	struct stub_vram *vram = data;

	WARN_ON(vram->num_used);
	WARN_ON(!list_empty(&vram->stats.list));

	memunmap_pages(&vram->pagemap);
	release_mem_region(vram->pagemap.range.start, range_len(&vram->pagemap.range));
	stub_vram_free(vram);
}

/**
 * stub_vram_init() - Makes the device's memory
 * @stub: the device; the memory goes with its devres
 * @size: bytes, may be zero
 *
 * Without the memory, or without a kernel that can migrate to it, the device
 * works on RAM alone and says so in the log.
 *
 * Return: 0 or -ENOMEM.
 */
int stub_vram_init(struct stub_device *stub, u64 size)
{
	struct stub_vram *vram = &stub->vram;
	struct device *dev = stub->drm.dev;
	int err;

	mutex_init(&vram->get_lock);
	init_completion(&vram->dead);
	complete(&vram->dead);
	spin_lock_init(&vram->lock);
	INIT_LIST_HEAD(&vram->blocks);
	stub_stats_init(&vram->stats);

	size = round_up(size, SZ_2M);
	if (!size) {
		dev_info(dev, "no VRAM was asked for: working on system memory\n");
		return 0;
	}
	if (!drm_svm_can_migrate()) {
		dev_info(dev, "this kernel cannot migrate to VRAM: working on system memory\n");
		return 0;
	}

	err = stub_vram_alloc(vram, size);
	if (!err) {
		err = stub_vram_map(stub, size);
		if (err)
			stub_vram_free(vram);
	}
	if (err) {
		dev_info(dev, "no %llu MiB of VRAM (%pe): working on system memory\n",
			 size >> 20, ERR_PTR(err));
		return 0;
	}
	vram->num_pages = PHYS_PFN(size);

	return devm_add_action_or_reset(dev, stub_vram_fini, vram);
}
