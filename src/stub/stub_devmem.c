// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Allocations of VRAM that memory of processes migrates to. Each is made for one
 * piece of up to 2 MiB, and gets smaller as its pages are freed or move away.
 *
 * When VRAM is full, what has been there for the longest is brought back to RAM.
 */
#include <linux/err.h>
#include <linux/jiffies.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>

#include <drm/drm_drv.h>
#include <drm/drm_svm.h>

#include "stub_drv.h"
#include "stub_pagemap.h"

/* So long a device that is taken away may take to bring memory back. */
#define STUB_UNPLUG_MS 60000

static struct stub_devmem *to_stub_devmem(struct drm_pagemap_devmem *base)
{
	return container_of(base, struct stub_devmem, base);
}

/* --- what migration takes -------------------------------------------------- */

static void stub_devmem_free(struct kref *ref)
{
	struct stub_devmem *devmem = container_of(ref, struct stub_devmem, ref);

	stub_stats_put(devmem->stats);
	kvfree(devmem);
}

static void stub_devmem_put(struct stub_devmem *devmem)
{
	kref_put(&devmem->ref, stub_devmem_free);
}

static void stub_devmem_release(struct drm_pagemap_devmem *base)
{
	struct stub_devmem *devmem = to_stub_devmem(base);

	stub_vram_release(devmem->pagemap->vram, &devmem->block);
	stub_devmem_put(devmem);
}

static int stub_devmem_populate_pfn(struct drm_pagemap_devmem *base,
				    unsigned long npages, unsigned long *pfn)
{
	struct stub_devmem *devmem = to_stub_devmem(base);
	unsigned long i;

	for (i = 0; i < npages; i++)
		pfn[i] = PHYS_PFN(devmem->pagemap->pagemap.range.start + devmem->offset[i]);

	return 0;
}

static void stub_devmem_free_pages(struct drm_pagemap_devmem *base, struct page *page,
				   unsigned long npages)
{
	struct stub_devmem *devmem = to_stub_devmem(base);

	stub_vram_give(devmem->pagemap->vram, stub_pagemap_offset(devmem->pagemap, page),
		       npages, devmem);
}

static const struct drm_pagemap_devmem_ops stub_devmem_ops = {
	.devmem_release = stub_devmem_release,
	.populate_devmem_pfn = stub_devmem_populate_pfn,
	.copy_to_devmem = stub_copy_to_vram,
	.copy_to_ram = stub_copy_to_ram,
	.copy_runs = stub_copy_runs,
	.devmem_free_pages = stub_devmem_free_pages,
};

/* An allocation that has no pages yet. */
static struct stub_devmem *stub_devmem_create(struct stub_pagemap *pagemap,
					      struct mm_struct *mm, unsigned long size)
{
	unsigned long num_pages = PHYS_PFN(size);
	struct stub_devmem *devmem;

	devmem = kvzalloc(struct_size(devmem, offset, num_pages), GFP_KERNEL | __GFP_NOWARN);
	if (!devmem)
		return NULL;

	drm_pagemap_devmem_init(&devmem->base, pagemap->dpagemap.drm->dev, mm,
				&stub_devmem_ops, &pagemap->dpagemap, size, NULL);
	kref_init(&devmem->ref);
	devmem->pagemap = pagemap;
	devmem->stats = stub_stats_find(&pagemap->vram->stats, mm);
	devmem->block.owner = devmem;
	devmem->block.num_pages = num_pages;
	devmem->block.offset = devmem->offset;

	return devmem;
}

/* Takes its pages. 0, -ENOSPC or -ENODEV. */
static int stub_devmem_take(struct stub_devmem *devmem)
{
	struct stub_pagemap *pagemap = devmem->pagemap;
	int err, idx;

	if (!drm_dev_enter(pagemap->dpagemap.drm, &idx))
		return -ENODEV;
	err = stub_vram_take(pagemap->vram, &devmem->block);
	drm_dev_exit(idx);

	return err;
}

/* --- making room ----------------------------------------------------------- */

/**
 * struct stub_eviction - A way through all that may be evicted
 * @vram: where
 * @last_age: no further than this
 * @age: the last that was tried
 * @in_timeslice: also what CPU faults leave alone; that comes second
 */
struct stub_eviction {
	struct stub_vram *vram;
	u64 last_age;
	u64 age;
	bool in_timeslice;
};

static bool stub_eviction_wants(const struct stub_eviction *eviction,
				const struct stub_vram_block *block)
{
	if (!block->owner || block->age <= eviction->age)
		return false;

	/* In the end all: a timeslice that has run out since the others were tried is none. */
	if (eviction->in_timeslice)
		return true;

	/* As it may be set at this moment: either will do. */
	return !time_before64(get_jiffies_64(),
			      READ_ONCE(block->owner->base.timeslice_expiration));
}

/* The oldest allocation that has not been tried, with a reference; or NULL. */
static struct stub_devmem *stub_eviction_next(struct stub_eviction *eviction)
{
	struct stub_vram *vram = eviction->vram;
	struct stub_devmem *devmem = NULL;
	struct stub_vram_block *block;
	unsigned long flags;

	spin_lock_irqsave(&vram->lock, flags);
	list_for_each_entry(block, &vram->blocks, link) {
		if (block->age > eviction->last_age)
			break;
		if (stub_eviction_wants(eviction, block)) {
			devmem = block->owner;
			/* It is in the list, so the library has not let go of it. */
			kref_get(&devmem->ref);
			eviction->age = block->age;
			break;
		}
	}
	spin_unlock_irqrestore(&vram->lock, flags);

	return devmem;
}

/*
 * Brings one allocation back to RAM, or tries to. -ENOSPC: there is none left to
 * try; -EINTR.
 */
static int stub_eviction_step(struct stub_eviction *eviction)
{
	struct stub_devmem *devmem;
	int err;

	if (fatal_signal_pending(current))
		return -EINTR;

	devmem = stub_eviction_next(eviction);
	if (!devmem && !eviction->in_timeslice) {
		eviction->in_timeslice = true;
		eviction->age = 0;
		devmem = stub_eviction_next(eviction);
	}
	if (!devmem)
		return -ENOSPC;

	/* If it does not move, another one may. */
	err = drm_svm_evict(&devmem->base, 0, devmem->base.size);
	stub_devmem_put(devmem);
	cond_resched();

	return err == -EINTR ? err : 0;
}

/* Takes pages for an allocation, at the expense of older ones if need be. */
static int stub_devmem_take_evicting(struct stub_devmem *devmem, u64 last_age)
{
	struct stub_eviction eviction = {
		.vram = devmem->pagemap->vram,
		.last_age = last_age,
	};
	int err, ret = 0;

	while ((err = stub_devmem_take(devmem)) == -ENOSPC && !ret)
		ret = stub_eviction_step(&eviction);

	return err == -ENOSPC ? ret : err;
}

/* --- migration ------------------------------------------------------------- */

/* &drm_svm_migrate.alloc: no lock is held. */
static struct drm_pagemap_devmem *stub_devmem_alloc(struct drm_svm_migrate *migrate,
						    unsigned long addr, unsigned long size)
{
	struct stub_move *move = container_of(migrate, struct stub_move, base);
	struct stub_devmem *devmem;
	int err;

	devmem = stub_devmem_create(to_stub_pagemap(migrate->dpagemap), migrate->mm, size);
	if (!devmem)
		return ERR_PTR(-ENOMEM);
	devmem->base.fault_granule = move->fault_granule;

	err = stub_devmem_take_evicting(devmem, move->last_age);
	if (err) {
		stub_devmem_put(devmem);
		return ERR_PTR(err);
	}

	return &devmem->base;
}

/**
 * stub_devmem_move() - Moves a span of memory to VRAM, as far as it goes
 * @move: what, and how
 *
 * Makes room where it has to. What is older than the call goes for it, so it
 * comes to an end however many do this at a time.
 *
 * Context: may sleep; no mmap_lock.
 * Return: 0, and what has become of the pages is in @move; or a negative errno,
 * and some may have moved in any case.
 */
int stub_devmem_move(struct stub_move *move)
{
	struct stub_vram *vram = to_stub_pagemap(move->base.dpagemap)->vram;

	move->base.alloc = stub_devmem_alloc;
	move->last_age = READ_ONCE(vram->age);

	return drm_svm_migrate_to_devmem(&move->base);
}

/**
 * stub_devmem_populate_span() - &drm_pagemap_ops.populate_span
 * @dpagemap: the provider
 * @start: first byte, page-aligned
 * @end: first byte after the span, page-aligned
 * @mm: the address space, of which the caller has a user
 * @timeslice_ms: for so long CPU faults leave it
 *
 * Context: may sleep; no mmap_lock.
 * Return: 0, also where only some of it moved, or a negative errno.
 */
static int stub_devmem_populate_span(struct drm_pagemap *dpagemap, unsigned long start,
				     unsigned long end, struct mm_struct *mm,
				     unsigned long timeslice_ms)
{
	struct stub_move move = {
		.base = {
			.dpagemap = dpagemap,
			.mm = mm,
			.start = start,
			.end = end,
			.timeslice_ms = timeslice_ms,
		},
	};

	return stub_devmem_move(&move);
}

/**
 * stub_devmem_populate_mm() - &drm_pagemap_ops.populate_mm
 * @dpagemap: the provider
 * @start: first byte, page-aligned
 * @end: first byte after the span, page-aligned
 * @mm: the address space
 * @timeslice_ms: for so long CPU faults leave it
 *
 * As in mainline, where there is nothing else: in one piece or not at all, and
 * without making room for it, which would take long under this lock.
 *
 * Context: the mmap_lock; may sleep.
 * Return: 0 or a negative errno.
 */
static int stub_devmem_populate_mm(struct drm_pagemap *dpagemap, unsigned long start,
				   unsigned long end, struct mm_struct *mm,
				   unsigned long timeslice_ms)
{
	const struct drm_pagemap_migrate_details details = {
		.timeslice_ms = timeslice_ms,
	};
	struct stub_devmem *devmem;
	int err;

	devmem = stub_devmem_create(to_stub_pagemap(dpagemap), mm, end - start);
	if (!devmem)
		return -ENOMEM;

	err = stub_devmem_take(devmem);
	if (err) {
		stub_devmem_put(devmem);
		return err;
	}

	/* From here on the library owns it, whatever comes of this. */
	return drm_pagemap_migrate_to_devmem(&devmem->base, mm, start, end, &details);
}

const struct drm_pagemap_ops stub_pagemap_ops = {
	.device_map = stub_pagemap_device_map,
	.populate_mm = stub_devmem_populate_mm,
	.destroy = stub_pagemap_destroy,
	.populate_span = stub_devmem_populate_span,
};

/* --- all of it ------------------------------------------------------------- */

/**
 * stub_devmem_is_possible() - Whether memory of processes can migrate here
 *
 * Return: true if this kernel can do that.
 */
bool stub_devmem_is_possible(void)
{
	return drm_svm_can_migrate();
}

/**
 * stub_devmem_flush() - Waits for allocations that are on their way back
 *
 * Context: may sleep; no locks.
 */
void stub_devmem_flush(void)
{
	drm_svm_flush();
}

/**
 * stub_devmem_unplug() - Brings all memory back, for good
 * @stub: the device, of which nobody makes new use; its copy engine works
 *
 * Context: may sleep.
 */
void stub_devmem_unplug(struct stub_device *stub)
{
	struct stub_vram *vram = &stub->vram;
	struct drm_pagemap *dpagemap = stub_pagemap_get_if_active(vram);
	int err;

	if (!dpagemap)
		return;

	/* Of what has gone nothing comes back, however long it is tried. */
	err = drm_svm_pagemap_unplug(dpagemap, READ_ONCE(vram->dead) ? 0 : STUB_UNPLUG_MS);
	if (err)
		dev_warn(stub->drm.dev, "memory of processes is lost with the device (%pe)\n",
			 ERR_PTR(err));
	drm_pagemap_put(dpagemap);
}
