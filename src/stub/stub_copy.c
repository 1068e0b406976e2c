// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * The copy engine. Migration waits for it, page faults of the CPU wait for
 * migration: so from submission to the fence nothing is allocated and no lock
 * is taken that such a fault may hold.
 */
#include <linux/dma-fence.h>
#include <linux/highmem.h>
#include <linux/slab.h>
#include <linux/spinlock.h>

#include <drm/drm_pagemap.h>

#include "stub_drv.h"

/**
 * struct stub_copy_job - Work for the engine
 * @fence: signals when it is done; holds the memory, so it has to be first
 * @lock: the fence's
 * @work: in the engine's queue
 * @vram: where the device pages are
 * @pages: device pages, or NULL where there is nothing to do
 * @addr: pages of RAM at the same index
 * @npages: entries in both
 * @to_ram: the direction
 */
struct stub_copy_job {
	struct dma_fence fence;
	spinlock_t lock;
	struct work_struct work;
	struct stub_vram *vram;
	struct page **pages;
	const struct drm_pagemap_addr *addr;
	unsigned long npages;
	bool to_ram;
};

static const char *stub_copy_fence_driver_name(struct dma_fence *fence)
{
	return "drm_svm_stub";
}

static const char *stub_copy_fence_timeline_name(struct dma_fence *fence)
{
	return "copy";
}

static const struct dma_fence_ops stub_copy_fence_ops = {
	.get_driver_name = stub_copy_fence_driver_name,
	.get_timeline_name = stub_copy_fence_timeline_name,
};

static void stub_copy_page(struct stub_vram *vram, struct page *vram_page,
			   struct page *ram_page, bool to_ram)
{
	void *vram_mem = stub_vram_mem(vram, stub_vram_offset(vram, vram_page));
	void *ram_mem = kmap_local_page(ram_page);

	if (to_ram)
		memcpy(ram_mem, vram_mem, PAGE_SIZE);
	else
		memcpy(vram_mem, ram_mem, PAGE_SIZE);
	kunmap_local(ram_mem);
}

/* An address may be zero; a mapping has a direction as well, which is not. */
static bool stub_copy_has_ram(const struct drm_pagemap_addr *addr)
{
	return addr->addr || addr->dir;
}

static void stub_copy_pages(const struct stub_copy_job *job)
{
	struct stub_device *stub = container_of(job->vram, struct stub_device, vram);
	unsigned long i, run, k;

	for (i = 0; i < job->npages; i += run) {
		const struct drm_pagemap_addr *addr = &job->addr[i];
		struct page *page = job->pages[i];

		run = 1;
		if (!page)
			continue;

		if (stub_copy_has_ram(addr)) {
			struct page *ram_page = stub_dma_to_page(stub->drm.dev, addr->addr);

			run = NR_PAGES(addr->order);
			for (k = 0; k < run; k++)
				stub_copy_page(job->vram, page + k, ram_page + k,
					       job->to_ram);
		} else if (!job->to_ram) {
			memset(stub_vram_mem(job->vram, stub_vram_offset(job->vram, page)),
			       0, PAGE_SIZE);
		}

		atomic64_add(run, job->to_ram ? &stub->copy.pages_to_ram :
			     &stub->copy.pages_to_vram);
		stub_vram_count(job->vram, page, run, job->to_ram);
	}
}

static void stub_copy_work(struct work_struct *work)
{
	struct stub_copy_job *job = container_of(work, struct stub_copy_job, work);
	bool cookie = dma_fence_begin_signalling();

	stub_copy_pages(job);

	dma_fence_signal(&job->fence);
	dma_fence_end_signalling(cookie);
	dma_fence_put(&job->fence);
}

static struct stub_vram *stub_copy_find_vram(struct page **pages, unsigned long npages)
{
	unsigned long i;

	for (i = 0; i < npages; i++)
		if (pages[i])
			return to_stub_vram(drm_pagemap_page_to_dpagemap(pages[i]));

	return NULL;
}

static int stub_copy_run(struct page **pages, const struct drm_pagemap_addr *addr,
			 unsigned long npages, struct dma_fence *after, bool to_ram)
{
	struct stub_copy_job proto = {
		.vram = stub_copy_find_vram(pages, npages),
		.pages = pages,
		.addr = addr,
		.npages = npages,
		.to_ram = to_ram,
	};
	struct stub_copy_job *job;
	struct stub_copy *copy;

	if (!proto.vram)
		return 0;

	/* Here and not in the queue, where all copies would wait behind this one. */
	if (after)
		dma_fence_wait(after, false);

	job = kmemdup(&proto, sizeof(proto), GFP_KERNEL | __GFP_NOWARN);
	if (!job) {
		/* Out of memory is no reason to lose a page: go without the engine. */
		stub_copy_pages(&proto);
		return 0;
	}

	copy = &container_of(proto.vram, struct stub_device, vram)->copy;
	spin_lock_init(&job->lock);
	INIT_WORK(&job->work, stub_copy_work);

	spin_lock(&copy->lock);
	dma_fence_init(&job->fence, &stub_copy_fence_ops, &job->lock,
		       copy->context, ++copy->seqno);
	dma_fence_get(&job->fence);	/* the engine's */
	queue_work(copy->wq, &job->work);
	spin_unlock(&copy->lock);

	/* Whoever waits here holds folio locks; a signal cannot help that. */
	dma_fence_wait(&job->fence, false);
	dma_fence_put(&job->fence);

	return 0;
}

/**
 * stub_copy_to_vram() - &drm_pagemap_devmem_ops.copy_to_devmem
 * @pages: device pages
 * @addr: RAM to copy from; all zero: clear the page
 * @npages: entries in both
 * @pre_migrate_fence: to wait for before the first byte, or NULL
 *
 * Context: sleeps until it is done.
 * Return: 0.
 */
int stub_copy_to_vram(struct page **pages, struct drm_pagemap_addr *addr,
		      unsigned long npages, struct dma_fence *pre_migrate_fence)
{
	return stub_copy_run(pages, addr, npages, pre_migrate_fence, false);
}

/**
 * stub_copy_to_ram() - &drm_pagemap_devmem_ops.copy_to_ram
 * @pages: device pages
 * @addr: RAM to copy to
 * @npages: entries in both
 * @pre_migrate_fence: to wait for before the first byte, or NULL
 *
 * Context: sleeps until it is done.
 * Return: 0.
 */
int stub_copy_to_ram(struct page **pages, struct drm_pagemap_addr *addr,
		     unsigned long npages, struct dma_fence *pre_migrate_fence)
{
	return stub_copy_run(pages, addr, npages, pre_migrate_fence, true);
}

static void stub_copy_fini(void *wq)
{
	destroy_workqueue(wq);
	/* Fences look at their ops under RCU until they are freed. */
	synchronize_rcu();
}

/**
 * stub_copy_init() - Makes the engine
 * @stub: the device; the engine goes with its devres
 *
 * Return: 0 or -ENOMEM.
 */
int stub_copy_init(struct stub_device *stub)
{
	struct stub_copy *copy = &stub->copy;

	spin_lock_init(&copy->lock);
	copy->context = dma_fence_context_alloc(1);
	copy->wq = alloc_ordered_workqueue("drm_svm_stub-copy", WQ_MEM_RECLAIM);
	if (!copy->wq)
		return -ENOMEM;

	return devm_add_action_or_reset(stub->drm.dev, stub_copy_fini, copy->wq);
}
