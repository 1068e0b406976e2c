// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * The copy engine. Migration waits for it, page faults of the CPU wait for
 * migration: so from submission to the fence nothing is allocated and no lock
 * is taken that such a fault may hold.
 *
 * A job that has to wait for a fence is numbered by itself and queued when that
 * signals, or all copies would wait behind it.
 *
 * Memory that has gone with its device fails a job with -ENODEV: what was in it
 * is lost. Out of memory is no reason to lose a page: then it goes without the
 * engine.
 */
#include <linux/dma-fence.h>
#include <linux/err.h>
#include <linux/highmem.h>
#include <linux/slab.h>
#include <linux/spinlock.h>

#include <drm/drm_managed.h>
#include <drm/drm_pagemap.h>
#include <drm/drm_svm_pagemap.h>

#include "stub_drv.h"
#include "stub_pagemap.h"

/**
 * struct stub_copy_job - Work for the engine
 * @fence: signals when it is done; holds the memory, so it has to be first
 * @lock: the fence's
 * @work: in the engine's queue
 * @after: to wait for before the first byte, referenced, or NULL
 * @wake: on @after
 * @pagemap: of the device pages, which keep it
 * @to_ram: the direction: out of the device's memory
 * @num_runs: how many
 * @runs: what to copy
 */
struct stub_copy_job {
	struct dma_fence fence;
	spinlock_t lock;
	struct work_struct work;
	struct dma_fence *after;
	struct dma_fence_cb wake;
	struct stub_pagemap *pagemap;
	bool to_ram;
	unsigned long num_runs;
	struct drm_svm_copy_run runs[];
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

/* --- copying --------------------------------------------------------------- */

static struct stub_copy *to_stub_copy(const struct stub_pagemap *pagemap)
{
	return &to_stub_device(pagemap->dpagemap.drm)->copy;
}

/* An address may be zero; what leads there is not then, or not the direction. */
static bool stub_copy_has_source(const struct drm_pagemap_addr *addr)
{
	return addr->addr || addr->proto || addr->dir;
}

/* The VRAM that the other side of a copy is in, or NULL: it is RAM. */
static struct stub_vram *stub_copy_vram(const struct stub_pagemap *pagemap,
					const struct drm_pagemap_addr *addr)
{
	switch (addr->proto) {
	case STUB_PROTO_LOCAL:
		return pagemap->vram;
	case STUB_PROTO_PEER:
		return stub_vram_peer(addr->addr);
	default:
		return NULL;
	}
}

static void stub_copy_page(void *vram_mem, void *other, bool to_ram)
{
	if (to_ram)
		memcpy(other, vram_mem, PAGE_SIZE);
	else
		memcpy(vram_mem, other, PAGE_SIZE);
}

static void stub_copy_ram(const struct stub_pagemap *pagemap, void *vram_mem,
			  const struct drm_svm_copy_run *run, bool to_ram)
{
	struct device *dev = pagemap->dpagemap.drm->dev;
	unsigned long k;

	for (k = 0; k < run->npages; k++, vram_mem += PAGE_SIZE) {
		void *ram_mem = kmap_local_page(stub_dma_to_page(dev, run->addr.addr +
								 PFN_PHYS(k)));

		stub_copy_page(vram_mem, ram_mem, to_ram);
		kunmap_local(ram_mem);
	}
}

static int stub_copy_run(const struct stub_pagemap *pagemap,
			 const struct drm_svm_copy_run *run, bool to_ram)
{
	struct stub_vram *other = stub_copy_vram(pagemap, &run->addr);
	u64 offset = stub_pagemap_offset(pagemap, run->page);
	struct stub_copy *copy = to_stub_copy(pagemap);
	void *vram_mem;

	if (READ_ONCE(pagemap->vram->dead) || (other && READ_ONCE(other->dead)))
		return -ENODEV;

	vram_mem = stub_vram_mem(pagemap->vram, offset);
	if (!to_ram && !stub_copy_has_source(&run->addr)) {
		memset(vram_mem, 0, PFN_PHYS(run->npages));
	} else if (other) {
		void *mem = stub_vram_mem(other, run->addr.addr & STUB_PEER_OFFSET);
		unsigned long k;

		for (k = 0; k < run->npages; k++)
			stub_copy_page(vram_mem + PFN_PHYS(k), mem + PFN_PHYS(k), to_ram);
	} else {
		stub_copy_ram(pagemap, vram_mem, run, to_ram);
	}

	if (!to_ram)
		atomic64_add(run->npages, &copy->pages_to_vram);
	else
		atomic64_add(run->npages, other ? &copy->pages_to_peer : &copy->pages_to_ram);

	return 0;
}

/*
 * Notes for whom a run is copied: for the process behind the device's pages, or
 * behind the other device's if they go there. Here and not when it is done:
 * nobody keeps the allocation then.
 */
static void stub_copy_count(const struct stub_pagemap *pagemap,
			    const struct drm_svm_copy_run *run, bool to_ram)
{
	struct stub_vram *other = to_ram ? stub_copy_vram(pagemap, &run->addr) : NULL;
	u64 offset = other ? run->addr.addr & STUB_PEER_OFFSET :
			     stub_pagemap_offset(pagemap, run->page);
	struct stub_vram *vram = other ?: pagemap->vram;
	const struct stub_devmem *devmem = READ_ONCE(vram->owner[PHYS_PFN(offset)]);

	if (WARN_ON_ONCE(!devmem) || !devmem->stats)
		return;
	atomic64_add(run->npages, to_ram && !other ? &devmem->stats->pages_to_ram :
		     &devmem->stats->pages_to_vram);
}

/* --- jobs ------------------------------------------------------------------ */

static void stub_copy_work(struct work_struct *work)
{
	struct stub_copy_job *job = container_of(work, struct stub_copy_job, work);
	struct dma_fence *after = job->after;
	bool cookie = dma_fence_begin_signalling();
	unsigned long i;
	int err = 0;

	for (i = 0; i < job->num_runs && !err; i++)
		err = stub_copy_run(job->pagemap, &job->runs[i], job->to_ram);

	if (err)
		dma_fence_set_error(&job->fence, err);
	dma_fence_signal(&job->fence);
	dma_fence_end_signalling(cookie);
	dma_fence_put(&job->fence);
	dma_fence_put(after);
}

static void stub_copy_wake(struct dma_fence *fence, struct dma_fence_cb *cb)
{
	struct stub_copy_job *job = container_of(cb, struct stub_copy_job, wake);

	queue_work(to_stub_copy(job->pagemap)->wq, &job->work);
}

/* An empty job with room for so many runs, or NULL if there is no memory. */
static struct stub_copy_job *stub_copy_job_create(struct stub_pagemap *pagemap,
						  unsigned long max_runs, bool to_ram)
{
	struct stub_copy_job *job;

	/* There is a way without, so nobody else is to pay for it. */
	job = kmalloc(struct_size(job, runs, max_runs),
		      GFP_KERNEL | __GFP_NORETRY | __GFP_NOWARN);
	if (!job)
		return NULL;

	spin_lock_init(&job->lock);
	INIT_WORK(&job->work, stub_copy_work);
	job->pagemap = pagemap;
	job->to_ram = to_ram;
	job->num_runs = 0;

	return job;
}

/* Returns a reference to the job's fence; the job is the engine's from here on. */
static struct dma_fence *stub_copy_submit(struct stub_copy_job *job, struct dma_fence *after)
{
	struct stub_copy *copy = to_stub_copy(job->pagemap);
	struct dma_fence *fence = &job->fence;

	job->after = dma_fence_get(after);
	if (after) {
		dma_fence_init(fence, &stub_copy_fence_ops, &job->lock,
			       dma_fence_context_alloc(1), 1);
		dma_fence_get(fence);	/* the engine's */
		if (dma_fence_add_callback(after, &job->wake, stub_copy_wake))
			queue_work(copy->wq, &job->work);
		return fence;
	}

	spin_lock(&copy->lock);
	dma_fence_init(fence, &stub_copy_fence_ops, &job->lock, copy->context, ++copy->seqno);
	dma_fence_get(fence);
	queue_work(copy->wq, &job->work);
	spin_unlock(&copy->lock);

	return fence;
}

/**
 * stub_copy_runs() - &drm_pagemap_devmem_ops.copy_runs
 * @devmem: the allocation
 * @runs: what to copy
 * @num_runs: how many
 * @to_ram: the direction
 * @pre_migrate_fence: to wait for before the first byte, or NULL
 *
 * Context: may sleep.
 * Return: a fence that signals when it is done; NULL: it is; or an ERR_PTR().
 */
struct dma_fence *stub_copy_runs(struct drm_pagemap_devmem *devmem,
				 const struct drm_svm_copy_run *runs, unsigned long num_runs,
				 bool to_ram, struct dma_fence *pre_migrate_fence)
{
	struct stub_pagemap *pagemap = to_stub_pagemap(devmem->dpagemap);
	struct stub_copy_job *job;
	unsigned long i;
	int err = 0;

	for (i = 0; i < num_runs; i++)
		stub_copy_count(pagemap, &runs[i], to_ram);

	job = stub_copy_job_create(pagemap, num_runs, to_ram);
	if (job) {
		memcpy(job->runs, runs, num_runs * sizeof(*runs));
		job->num_runs = num_runs;
		return stub_copy_submit(job, pre_migrate_fence);
	}

	if (pre_migrate_fence)
		dma_fence_wait(pre_migrate_fence, false);
	for (i = 0; i < num_runs && !err; i++)
		err = stub_copy_run(pagemap, &runs[i], to_ram);

	return ERR_PTR(err);
}

/* --- mainline's way -------------------------------------------------------- */

static struct stub_pagemap *stub_copy_find_pagemap(struct page **pages, unsigned long npages)
{
	unsigned long i;

	for (i = 0; i < npages; i++)
		if (pages[i])
			return to_stub_pagemap(drm_pagemap_page_to_dpagemap(pages[i]));

	return NULL;
}

/* An entry as a run, which is empty where there is nothing to do. */
static struct drm_svm_copy_run stub_copy_entry(struct page *page,
					       const struct drm_pagemap_addr *addr)
{
	return (struct drm_svm_copy_run){
		.page = page,
		.addr = *addr,
		.npages = page ? NR_PAGES(addr->order) : 0,
	};
}

static int stub_copy_array(struct page **pages, const struct drm_pagemap_addr *addr,
			   unsigned long npages, struct dma_fence *after, bool to_ram)
{
	struct stub_pagemap *pagemap = stub_copy_find_pagemap(pages, npages);
	struct drm_svm_copy_run run;
	struct stub_copy_job *job;
	struct dma_fence *fence;
	unsigned long i;
	int err = 0;

	if (!pagemap)
		return 0;

	job = stub_copy_job_create(pagemap, npages, to_ram);
	if (!job && after)
		dma_fence_wait(after, false);
	for (i = 0; i < npages && !err; i += run.npages ?: 1) {
		run = stub_copy_entry(pages[i], &addr[i]);
		if (!run.npages)
			continue;
		stub_copy_count(pagemap, &run, to_ram);
		if (job)
			job->runs[job->num_runs++] = run;
		else
			err = stub_copy_run(pagemap, &run, to_ram);
	}
	if (!job)
		return err;

	/* Whoever waits here holds folio locks; a signal cannot help that. */
	fence = stub_copy_submit(job, after);
	dma_fence_wait(fence, false);
	err = min(dma_fence_get_status(fence), 0);
	dma_fence_put(fence);

	return err;
}

/**
 * stub_copy_to_vram() - &drm_pagemap_devmem_ops.copy_to_devmem
 * @pages: device pages
 * @addr: RAM to copy from; all zero but for the order: clear the pages
 * @npages: entries in both
 * @pre_migrate_fence: to wait for before the first byte, or NULL
 *
 * Context: sleeps until it is done.
 * Return: 0; -ENODEV: the memory has gone.
 */
int stub_copy_to_vram(struct page **pages, struct drm_pagemap_addr *addr,
		      unsigned long npages, struct dma_fence *pre_migrate_fence)
{
	return stub_copy_array(pages, addr, npages, pre_migrate_fence, false);
}

/**
 * stub_copy_to_ram() - &drm_pagemap_devmem_ops.copy_to_ram
 * @pages: device pages
 * @addr: RAM to copy to, or another device's memory
 * @npages: entries in both
 * @pre_migrate_fence: to wait for before the first byte, or NULL
 *
 * Context: sleeps until it is done.
 * Return: 0; -ENODEV: the memory has gone.
 */
int stub_copy_to_ram(struct page **pages, struct drm_pagemap_addr *addr,
		     unsigned long npages, struct dma_fence *pre_migrate_fence)
{
	return stub_copy_array(pages, addr, npages, pre_migrate_fence, true);
}

/* --- making it ------------------------------------------------------------- */

static void stub_copy_fini(struct drm_device *drm, void *wq)
{
	destroy_workqueue(wq);
}

/**
 * stub_copy_init() - Makes the engine
 * @stub: the device; the engine goes with it
 *
 * Return: 0 or -ENOMEM.
 */
int stub_copy_init(struct stub_device *stub)
{
	struct stub_copy *copy = &stub->copy;

	spin_lock_init(&copy->lock);
	copy->context = dma_fence_context_alloc(1);
	copy->wq = alloc_ordered_workqueue("drm_svm_stub-copy%u", WQ_MEM_RECLAIM, stub->index);
	if (!copy->wq)
		return -ENOMEM;

	return drmm_add_action_or_reset(&stub->drm, stub_copy_fini, copy->wq);
}
