// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Allocations of VRAM that memory of processes migrates to: one for each migration, which goes
 * when the last of its pages does. When VRAM is full, the oldest is brought back to RAM.
 */
#include <linux/delay.h>
#include <linux/err.h>
#include <linux/jiffies.h>
#include <linux/slab.h>

#include <drm/drm_drv.h>

#include "stub_drv.h"
#include "stub_pagemap.h"

/* So long a device that is taken away may take to bring memory back. */
#define PLAIN_UNPLUG_PATIENCE (60 * HZ)

static struct stub_devmem *to_stub_devmem(struct drm_pagemap_devmem *base)
{
	return container_of(base, struct stub_devmem, base);
}

static void plain_devmem_free_work(struct work_struct *work)
{
	struct stub_devmem *devmem = container_of(work, struct stub_devmem, free);
	struct drm_device *drm = devmem->drm;

	stub_stats_put(devmem->stats);
	kvfree(devmem);
	drm_dev_put(drm);
}

/* One library lets go of it where the last page was freed, which may be anywhere. */
static void plain_devmem_free(struct kref *ref)
{
	struct stub_devmem *devmem = container_of(ref, struct stub_devmem, ref);

	queue_work(stub_queues.release, &devmem->free);
}

static void plain_devmem_put(struct stub_devmem *devmem)
{
	kref_put(&devmem->ref, plain_devmem_free);
}

/* --- what migration takes -------------------------------------------------- */

static void plain_devmem_release(struct drm_pagemap_devmem *base)
{
	struct stub_devmem *devmem = to_stub_devmem(base);

	stub_vram_release(devmem->pagemap->vram, &devmem->block);
	plain_devmem_put(devmem);
}

static int plain_devmem_populate_pfn(struct drm_pagemap_devmem *base, unsigned long npages,
				     unsigned long *pfn)
{
	struct stub_devmem *devmem = to_stub_devmem(base);
	unsigned long i;

	for (i = 0; i < npages; i++)
		pfn[i] = PHYS_PFN(devmem->pagemap->pagemap.range.start + devmem->offset[i]);

	return 0;
}

static const struct drm_pagemap_devmem_ops plain_devmem_ops = {
	.devmem_release = plain_devmem_release,
	.populate_devmem_pfn = plain_devmem_populate_pfn,
	.copy_to_devmem = stub_copy_to_vram,
	.copy_to_ram = stub_copy_to_ram,
};

/* An allocation that has no pages yet, or NULL. */
static struct stub_devmem *plain_devmem_create(struct stub_pagemap *pagemap,
					       struct mm_struct *mm, unsigned long size)
{
	unsigned long num_pages = PHYS_PFN(size);
	struct stub_devmem *devmem;

	devmem = kvzalloc(struct_size(devmem, offset, num_pages), GFP_KERNEL | __GFP_NOWARN);
	if (!devmem)
		return NULL;
	/* It keeps the mm_struct as well, which the library has a bare pointer to. */
	devmem->stats = stub_stats_get(&pagemap->vram->stats, mm);
	if (!devmem->stats) {
		kvfree(devmem);
		return NULL;
	}

	drm_pagemap_devmem_init(&devmem->base, pagemap->dpagemap.drm->dev, mm, &plain_devmem_ops,
				&pagemap->dpagemap, size, NULL);
	kref_init(&devmem->ref);
	INIT_WORK(&devmem->free, plain_devmem_free_work);
	devmem->drm = pagemap->dpagemap.drm;
	drm_dev_get(devmem->drm);
	devmem->pagemap = pagemap;
	devmem->block.owner = devmem;
	devmem->block.num_pages = num_pages;
	devmem->block.offset = devmem->offset;

	return devmem;
}

/* Takes its pages. 0, -ENOSPC or -ENODEV. */
static int plain_devmem_take(struct stub_devmem *devmem)
{
	struct stub_pagemap *pagemap = devmem->pagemap;
	int err, idx;

	if (!drm_dev_enter(pagemap->dpagemap.drm, &idx))
		return -ENODEV;
	err = stub_vram_take(pagemap->vram, &devmem->block);
	drm_dev_exit(idx);

	return err;
}

/* &drm_pagemap_ops.populate_mm: the mmap_lock is held. */
static int plain_devmem_populate_mm(struct drm_pagemap *dpagemap, unsigned long start,
				    unsigned long end, struct mm_struct *mm,
				    unsigned long timeslice_ms)
{
	const struct drm_pagemap_migrate_details details = {
		.timeslice_ms = timeslice_ms,
	};
	struct stub_devmem *devmem;
	int err;

	devmem = plain_devmem_create(to_stub_pagemap(dpagemap), mm, end - start);
	if (!devmem)
		return -ENOMEM;

	err = plain_devmem_take(devmem);
	if (!err) {
		kref_get(&devmem->ref);
		/* Consumes the other reference, whatever comes of it. */
		err = drm_pagemap_migrate_to_devmem(&devmem->base, mm, start, end, &details);
		WRITE_ONCE(devmem->filled, true);
	}
	plain_devmem_put(devmem);

	return err;
}

const struct drm_pagemap_ops stub_pagemap_ops = {
	.device_map = stub_pagemap_device_map,
	.populate_mm = plain_devmem_populate_mm,
	.destroy = stub_pagemap_destroy,
};

/* --- making room ----------------------------------------------------------- */

/* The oldest allocation younger than *@age, up to @last_age, with a reference; or NULL. */
static struct stub_devmem *plain_devmem_next(struct stub_vram *vram, u64 *age, u64 last_age)
{
	struct stub_devmem *devmem = NULL;
	struct stub_vram_block *block;
	unsigned long flags;

	spin_lock_irqsave(&vram->lock, flags);
	list_for_each_entry(block, &vram->blocks, link) {
		if (block->age <= *age || !block->owner || !READ_ONCE(block->owner->filled))
			continue;
		if (block->age > last_age)
			break;
		*age = block->age;
		devmem = block->owner;
		/* It is in the list, so the library has not let go of it. */
		kref_get(&devmem->ref);
		break;
	}
	spin_unlock_irqrestore(&vram->lock, flags);

	return devmem;
}

/**
 * plain_devmem_move() - Moves a span of memory to VRAM, as a whole or not at all
 * @dpagemap: the provider
 * @mm: the process
 * @start: first byte, page-aligned
 * @end: first byte after it; all in one mapping of the process
 * @timeslice_ms: for so long CPU faults leave it there
 *
 * Makes room where it has to: what is older than the call goes for it.
 *
 * Context: may sleep; no mmap_lock.
 * Return: 0 or a negative errno.
 */
int plain_devmem_move(struct drm_pagemap *dpagemap, struct mm_struct *mm, unsigned long start,
		      unsigned long end, unsigned long timeslice_ms)
{
	struct stub_vram *vram = to_stub_pagemap(dpagemap)->vram;
	u64 age = 0, last_age = READ_ONCE(vram->age);
	struct stub_devmem *devmem;
	int err;

	for (;;) {
		err = drm_pagemap_populate_mm(dpagemap, start, end, mm, timeslice_ms);
		if (err != -ENOSPC)
			return err;
		devmem = plain_devmem_next(vram, &age, last_age);
		if (!devmem)
			return err;
		/* If it does not move, another one may. */
		drm_pagemap_evict_to_ram(&devmem->base);
		plain_devmem_put(devmem);
		cond_resched();
	}
}

/* --- all of it ------------------------------------------------------------- */

/**
 * stub_devmem_is_possible() - Whether memory of processes can migrate here
 *
 * Return: true; a kernel that has the library has this as well.
 */
bool stub_devmem_is_possible(void)
{
	return true;
}

/**
 * stub_devmem_flush() - Waits for allocations that are on their way back
 *
 * There is no call for that: who wants to see one gone has to look again.
 */
void stub_devmem_flush(void)
{
}

/**
 * stub_devmem_unplug() - Brings all memory back, for good
 * @stub: the device, of which nobody makes new use
 *
 * Context: may sleep.
 */
void stub_devmem_unplug(struct stub_device *stub)
{
	unsigned long deadline = jiffies + PLAIN_UNPLUG_PATIENCE;
	struct stub_vram *vram = &stub->vram;
	struct stub_devmem *devmem;
	u64 age = 0;

	while (READ_ONCE(vram->num_used) && !READ_ONCE(vram->dead)) {
		devmem = plain_devmem_next(vram, &age, U64_MAX);
		if (devmem) {
			drm_pagemap_evict_to_ram(&devmem->base);
			plain_devmem_put(devmem);
			continue;
		}
		if (time_after(jiffies, deadline)) {
			dev_warn(stub->drm.dev, "memory of processes is lost with the device\n");
			return;
		}
		age = 0;
		usleep_range(1000, 2000);
	}
}
