// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * See pagemap_fixture.h: the copy engine of a device in small. It copies at once, or some time
 * after it was asked, and it can be made to fail.
 */
#include <linux/dma-fence.h>
#include <linux/iommu.h>
#include <linux/mm.h>
#include <linux/slab.h>

#include "pagemap_fixture.h"

/* Where a frame's data is. */
static void *frame_at(struct px_vram *v, struct page *page)
{
	unsigned int frame = px_frame(v, page);

	return frame < PX_FRAMES ? v->memory + frame * PAGE_SIZE : NULL;
}

/* The same for what is at an address of another device, or in RAM; NULL if nothing is. */
static void *other_at(struct px_vram *v, const struct drm_pagemap_addr *addr, unsigned long index)
{
	struct device *dev = v->fixture->parents[v->config.device];
	struct iommu_domain *domain = iommu_get_domain_for_dev(dev);
	u64 at = addr->addr + index * PAGE_SIZE;
	struct px_vram *peer;

	if (addr->proto == DRM_INTERCONNECT_SYSTEM) {
		at = domain ? iommu_iova_to_phys(domain, at) : at;
		return at && pfn_valid(PHYS_PFN(at)) ? phys_to_virt(at) : NULL;
	}
	list_for_each_entry(peer, &v->fixture->vrams, entry)
		if (at >= peer->pagemap.range.start && at <= peer->pagemap.range.end)
			return peer->memory + (at - peer->pagemap.range.start);
	return NULL;
}

/* An address may be zero; a mapping has a direction as well, which is not. */
static bool has_source(const struct drm_pagemap_addr *addr)
{
	return addr->addr || addr->dir;
}

static void copy_piece(struct px_vram *v, struct page *page, const struct drm_pagemap_addr *addr,
		       unsigned long npages, bool to_ram)
{
	void *here, *there;
	unsigned long i;

	for (i = 0; i < npages; i++) {
		here = frame_at(v, page + i);
		there = has_source(addr) ? other_at(v, addr, i) : NULL;
		if (!here || !v->owner[px_frame(v, page + i)])
			px_wrong(v, "a copy is of pages that are not there");
		else if (!there && (to_ram || has_source(addr)))
			px_wrong(v, "a copy is of pages that the device does not reach");
		else if (!there)
			memset(here, 0, PAGE_SIZE);
		else if (to_ram)
			memcpy(there, here, PAGE_SIZE);
		else
			memcpy(here, there, PAGE_SIZE);
	}
}

static void note_piece(struct px_vram *v, const struct drm_pagemap_addr *addr,
		       unsigned long npages, bool to_ram)
{
	struct px_copies *copies = to_ram ? &v->out : &v->in;
	unsigned long flags;

	spin_lock_irqsave(&v->lock, flags);
	copies->pieces++;
	copies->pages += npages;
	if (!has_source(addr))
		copies->cleared += npages;
	copies->largest = max(copies->largest, npages);
	if (has_source(addr) && addr->proto == DRM_INTERCONNECT_SYSTEM)
		v->last_addr = addr->addr;
	spin_unlock_irqrestore(&v->lock, flags);
}

/* The beginning of each call: the error that it has to return. */
static int begin_copy(struct px_vram *v, bool to_ram)
{
	struct px_copies *copies = to_ram ? &v->out : &v->in;
	unsigned long flags;

	might_sleep();
	spin_lock_irqsave(&v->lock, flags);
	copies->calls++;
	spin_unlock_irqrestore(&v->lock, flags);
	if (v->on_copy)
		v->on_copy(v, to_ram);
	return atomic_add_unless(&v->copy_errors, -1, 0) ? v->copy_error : 0;
}

static struct px_vram *find_vram(struct page **pages, unsigned long npages)
{
	unsigned long i;

	for (i = 0; i < npages; i++)
		if (pages[i])
			return to_px_vram(drm_pagemap_page_to_dpagemap(pages[i]));
	return NULL;
}

static int copy_array(struct page **pages, struct drm_pagemap_addr *addrs, unsigned long npages,
		      struct dma_fence *after, bool to_ram)
{
	struct px_vram *v = find_vram(pages, npages);
	unsigned long i, k, run;
	int ret;

	if (!v)
		return 0;
	ret = begin_copy(v, to_ram);
	if (ret)
		return ret;
	if (after)
		dma_fence_wait(after, false);

	for (i = 0; i < npages; i += run) {
		run = 1;
		if (!pages[i])
			continue;
		run = 1ul << addrs[i].order;
		if (i + run > npages)
			px_wrong(v, "an entry is longer than its array");
		for (k = 1; k < run && i + k < npages; k++)
			if (pages[i + k] || has_source(&addrs[i + k]))
				px_wrong(v, "there is something behind an entry of many pages");
		note_piece(v, &addrs[i], run, to_ram);
		copy_piece(v, pages[i], &addrs[i], run, to_ram);
	}
	return 0;
}

int px_copy_to_devmem(struct page **pages, struct drm_pagemap_addr *addrs,
		      unsigned long npages, struct dma_fence *pre_migrate_fence)
{
	return copy_array(pages, addrs, npages, pre_migrate_fence, false);
}

int px_copy_to_ram(struct page **pages, struct drm_pagemap_addr *addrs,
		   unsigned long npages, struct dma_fence *pre_migrate_fence)
{
	return copy_array(pages, addrs, npages, pre_migrate_fence, true);
}

/* A copy that is done later. Its fence holds the memory, so it has to be first. */
struct late_copy {
	struct dma_fence fence;
	spinlock_t lock;
	struct work_struct work;
	struct px_vram *vram;
	unsigned int number;
	bool to_ram;
	unsigned long num_runs;
	struct drm_svm_copy_run runs[];
};

static const char *fence_name(struct dma_fence *fence)
{
	return "drm_svm_kunit";
}

static const struct dma_fence_ops fence_ops = {
	.get_driver_name = fence_name,
	.get_timeline_name = fence_name,
};

/* Lets the next one begin, if one is on its way: not for ever, for this may be the last one. */
#define LATE (HZ / 5)

static void late_work(struct work_struct *work)
{
	struct late_copy *copy = container_of(work, struct late_copy, work);
	struct px_vram *v = copy->vram;
	unsigned long i, flags;

	wait_event_timeout(v->change, READ_ONCE(v->in_flight) > 1, LATE);
	for (i = 0; i < copy->num_runs; i++)
		copy_piece(v, copy->runs[i].page, &copy->runs[i].addr, copy->runs[i].npages,
			   copy->to_ram);
	spin_lock_irqsave(&v->lock, flags);
	v->in_flight--;
	spin_unlock_irqrestore(&v->lock, flags);
	dma_fence_signal(&copy->fence);
	dma_fence_put(&copy->fence);
}

/* NULL if there is no memory for it: then it has to be done at once. */
static struct dma_fence *copy_late(struct px_vram *v, const struct drm_svm_copy_run *runs,
				   unsigned long num_runs, bool to_ram)
{
	struct late_copy *copy = kvzalloc(struct_size(copy, runs, num_runs), GFP_KERNEL);
	unsigned long flags;

	if (!copy)
		return NULL;
	copy->vram = v;
	copy->to_ram = to_ram;
	copy->num_runs = num_runs;
	memcpy(copy->runs, runs, num_runs * sizeof(*runs));
	spin_lock_init(&copy->lock);
	INIT_WORK(&copy->work, late_work);

	spin_lock_irqsave(&v->lock, flags);
	v->in_flight++;
	v->most_in_flight = max(v->most_in_flight, v->in_flight);
	spin_unlock_irqrestore(&v->lock, flags);
	dma_fence_init(&copy->fence, &fence_ops, &copy->lock, dma_fence_context_alloc(1), 1);
	dma_fence_get(&copy->fence);
	queue_work(system_unbound_wq, &copy->work);
	wake_up(&v->change);
	return &copy->fence;
}

struct dma_fence *px_copy_runs(struct drm_pagemap_devmem *devmem,
			       const struct drm_svm_copy_run *runs, unsigned long num_runs,
			       bool to_ram, struct dma_fence *pre_migrate_fence)
{
	struct px_vram *v = to_px_alloc(devmem)->vram;
	struct dma_fence *fence = NULL;
	unsigned long i;
	int ret = begin_copy(v, to_ram);

	if (ret)
		return ERR_PTR(ret);
	if (pre_migrate_fence)
		dma_fence_wait(pre_migrate_fence, false);

	for (i = 0; i < num_runs; i++)
		note_piece(v, &runs[i].addr, runs[i].npages, to_ram);
	if (v->config.late)
		fence = copy_late(v, runs, num_runs, to_ram);
	for (i = 0; !fence && i < num_runs; i++)
		copy_piece(v, runs[i].page, &runs[i].addr, runs[i].npages, to_ram);
	return fence;
}

void px_reset_copies(struct px_vram *v)
{
	unsigned long flags;

	spin_lock_irqsave(&v->lock, flags);
	memset(&v->in, 0, sizeof(v->in));
	memset(&v->out, 0, sizeof(v->out));
	spin_unlock_irqrestore(&v->lock, flags);
}

void px_fail_copies(struct px_vram *v, int error, int count)
{
	v->copy_error = error;
	atomic_set(&v->copy_errors, count);
}
