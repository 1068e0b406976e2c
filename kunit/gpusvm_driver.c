// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * See gpusvm_fixture.h: the driver in small. It follows the contracts of drm/drm_gpusvm.h and
 * drm/drm_svm.h to the letter, and knows nothing of how the library keeps its side.
 */
#include <linux/iommu.h>
#include <linux/jiffies.h>
#include <linux/slab.h>

#include "gpusvm_fixture.h"

static const unsigned long default_chunks[] = { SX_RANGE, PAGE_SIZE };

/* Page tables ---------------------------------------------------------------------------------- */

/* The entry of a device for an address; NULL outside of the area. */
static u64 *entry_at(struct sx_mirror *m, unsigned int device, unsigned long addr)
{
	unsigned long offset = addr - m->fixture->start;

	return offset < SX_AREA ? &m->entries[device][offset >> PAGE_SHIFT] : NULL;
}

u64 sx_entry(struct sx_mirror *m, unsigned int device, unsigned long addr)
{
	return READ_ONCE(*entry_at(m, device, addr));
}

phys_addr_t sx_entry_phys(struct sx_mirror *m, unsigned int device, unsigned long addr)
{
	struct iommu_domain *domain = iommu_get_domain_for_dev(m->fixture->parents[device]);
	dma_addr_t at = sx_entry(m, device, addr) & PAGE_MASK;

	return domain ? iommu_iova_to_phys(domain, at) : at;
}

/* Any lock of the window's, in any mode. */
static void zap(struct sx_mirror *m, unsigned long start, unsigned long end)
{
	unsigned long addr;
	unsigned int i;
	u64 *entry;

	for (i = 0; i < m->config.devices; i++) {
		for (addr = start; addr < end; addr += PAGE_SIZE) {
			entry = entry_at(m, i, addr);
			if (entry)
				WRITE_ONCE(*entry, 0);
		}
	}
}

static void zap_range(struct sx_mirror *m, struct drm_gpusvm_range *range)
{
	zap(m, drm_gpusvm_range_start(range), drm_gpusvm_range_end(range));
}

/* What the library says of the pages, page by page. With the window's lock. */
static void write_entries(struct sx_mirror *m, struct drm_gpusvm_range *range, unsigned int device)
{
	const struct drm_pagemap_addr *run = to_sx_range(range)->pages[device].dma_addr;
	unsigned long addr = drm_gpusvm_range_start(range);
	unsigned long i;
	u64 flags, *entry;

	for (; addr < drm_gpusvm_range_end(range); run++) {
		flags = SX_ENTRY_PRESENT;
		if (run->dir == DMA_BIDIRECTIONAL)
			flags |= SX_ENTRY_WRITABLE;
		for (i = 0; i < 1ul << run->order; i++, addr += PAGE_SIZE) {
			entry = entry_at(m, device, addr);
			if (entry)
				WRITE_ONCE(*entry, (run->addr + i * PAGE_SIZE) | flags);
		}
	}
}

/* Invalidations ---------------------------------------------------------------------------------- */

static unsigned long pages_of(struct drm_gpusvm_range *range)
{
	return drm_gpusvm_range_size(range) >> PAGE_SHIFT;
}

/* Process context has to do the rest. */
static void queue_garbage(struct sx_mirror *m, struct drm_gpusvm_range *range)
{
	struct sx_range *r = to_sx_range(range);

	spin_lock(&m->garbage_lock);
	if (list_empty(&r->garbage_entry)) {
		drm_gpusvm_range_get(range);
		list_add_tail(&r->garbage_entry, &m->garbage);
	}
	spin_unlock(&m->garbage_lock);
}

static void unmap_pages(struct sx_mirror *m, struct drm_gpusvm_range *range)
{
	const struct drm_gpusvm_ctx ctx = { .in_notifier = true };
	unsigned int i;

	for (i = 0; i < m->config.devices; i++)
		drm_gpusvm_unmap_pages(&m->base, &to_sx_range(range)->pages[i], pages_of(range), &ctx);
}

/* The entries go. */
static void begin_one(struct sx_mirror *m, struct drm_gpusvm_range *range,
		      const struct mmu_notifier_range *mmu_range)
{
	unsigned long start, end;

	if (m->config.keeps_rest && mmu_range->event == MMU_NOTIFY_UNMAP) {
		drm_svm_range_set_gone(range, mmu_range, &start, &end);
		zap(m, start, end);
	} else {
		zap_range(m, range);
	}
}

/* The pages go. */
static void finish_one(struct sx_mirror *m, struct drm_gpusvm_range *range,
		       const struct mmu_notifier_range *mmu_range)
{
	bool unmapped = mmu_range->event == MMU_NOTIFY_UNMAP;

	if (unmapped && m->config.keeps_rest) {
		drm_svm_range_unmap_gone(range);
	} else {
		unmap_pages(m, range);
		if (unmapped)
			drm_gpusvm_range_set_unmapped(range, to_sx_range(range)->pages,
						      m->config.devices, mmu_range);
	}
	if (unmapped)
		queue_garbage(m, range);
}

static void pass(struct sx_mirror *m, enum sx_pass which)
{
	if (m->on_pass)
		m->on_pass(m, which);
}

static void invalidate(struct drm_gpusvm *gpusvm, struct drm_gpusvm_notifier *notifier,
		       const struct mmu_notifier_range *mmu_range)
{
	struct sx_mirror *m = to_sx_mirror(gpusvm);
	struct drm_gpusvm_range *range = NULL;

	pass(m, SX_ONLY);
	drm_gpusvm_for_each_range(range, notifier, mmu_range->start, mmu_range->end) {
		begin_one(m, range, mmu_range);
		finish_one(m, range, mmu_range);
	}
}

static bool invalidate_start(struct drm_gpusvm *gpusvm, struct drm_gpusvm_notifier *notifier,
			     const struct mmu_notifier_range *mmu_range)
{
	struct sx_mirror *m = to_sx_mirror(gpusvm);
	struct drm_gpusvm_range *range = NULL;
	bool any = false;

	pass(m, SX_START);
	drm_gpusvm_for_each_range(range, notifier, mmu_range->start, mmu_range->end) {
		begin_one(m, range, mmu_range);
		any = true;
	}
	return any;
}

static void invalidate_finish(struct drm_gpusvm *gpusvm, struct drm_gpusvm_notifier *notifier,
			      const struct mmu_notifier_range *mmu_range)
{
	struct sx_mirror *m = to_sx_mirror(gpusvm);
	struct drm_gpusvm_range *range = NULL;

	pass(m, SX_FINISH);
	drm_gpusvm_for_each_range(range, notifier, mmu_range->start, mmu_range->end)
		finish_one(m, range, mmu_range);
}

/* Ranges ------------------------------------------------------------------------------------------ */

static struct drm_gpusvm_range *range_alloc(struct drm_gpusvm *gpusvm)
{
	struct sx_mirror *m = to_sx_mirror(gpusvm);
	struct sx_range *r = kzalloc(sizeof(*r), GFP_KERNEL);
	unsigned int i;

	if (!r)
		return NULL;

	for (i = 0; i < m->config.devices; i++)
		drm_gpusvm_init_pages(&r->pages[i], m->fixture->drm[i]);
	INIT_LIST_HEAD(&r->garbage_entry);
	atomic_inc(&m->ranges);
	return &r->base;
}

static void range_free(struct drm_gpusvm_range *range)
{
	atomic_dec(&to_sx_mirror(range->gpusvm)->ranges);
	kfree(to_sx_range(range));
}

static struct drm_gpusvm_pages *range_pages(struct drm_gpusvm_range *range, unsigned int *count)
{
	*count = to_sx_mirror(range->gpusvm)->config.devices;
	return to_sx_range(range)->pages;
}

static void range_split(struct drm_gpusvm_range *range, struct drm_gpusvm_range *tail)
{
	if (tail)
		atomic_inc(&to_sx_mirror(range->gpusvm)->splits);
}

static bool has_gone(struct drm_gpusvm_range *range)
{
	const struct drm_gpusvm_range_flags flags = {
		.__flags = READ_ONCE(range->flags.__flags),
	};

	return flags.unmapped;
}

static bool was_removed(struct drm_gpusvm_range *range)
{
	const struct drm_gpusvm_range_flags flags = {
		.__flags = READ_ONCE(range->flags.__flags),
	};

	return flags.removed;
}

void sx_lock_window(struct sx_mirror *m, struct drm_gpusvm_range *range)
{
	if (m->config.features & DRM_SVM_WINDOW_LOCKS)
		drm_svm_window_lock(range->notifier);
	else
		drm_gpusvm_notifier_lock(&m->base);
}

void sx_unlock_window(struct sx_mirror *m, struct drm_gpusvm_range *range)
{
	if (m->config.features & DRM_SVM_WINDOW_LOCKS)
		drm_svm_window_unlock(range->notifier);
	else
		drm_gpusvm_notifier_unlock(&m->base);
}

void sx_remove(struct sx_mirror *m, struct drm_gpusvm_range *range)
{
	unsigned int i;

	sx_lock_window(m, range);
	zap_range(m, range);
	sx_unlock_window(m, range);
	for (i = 0; i < m->config.devices; i++)
		drm_gpusvm_free_pages(&m->base, &to_sx_range(range)->pages[i], pages_of(range));
	drm_gpusvm_range_remove(&m->base, range);
}

/* A reference from the list of garbage, or NULL. */
static struct drm_gpusvm_range *pop_garbage(struct sx_mirror *m)
{
	struct sx_range *r;

	spin_lock(&m->garbage_lock);
	r = list_first_entry_or_null(&m->garbage, struct sx_range, garbage_entry);
	if (r)
		list_del_init(&r->garbage_entry);
	spin_unlock(&m->garbage_lock);
	return r ? &r->base : NULL;
}

/* Returns false if an invalidation has not come to its end. */
static bool bury(struct sx_mirror *m, struct drm_gpusvm_range *range)
{
	int left = m->config.keeps_rest ? drm_svm_range_trim(range) : 0;

	if (left == -EAGAIN)
		queue_garbage(m, range);
	else if (left <= 0)
		sx_remove(m, range);
	return left != -EAGAIN;
}

/* The lock that serialises what is done with a range; false: it is not there any more. */
static bool lock_range(struct sx_mirror *m, struct drm_gpusvm_range *range)
{
	if (m->config.concurrent)
		return drm_svm_range_lock(range);

	mutex_lock(&m->lock);
	if (!was_removed(range))
		return true;
	mutex_unlock(&m->lock);
	return false;
}

static void unlock_range(struct sx_mirror *m, struct drm_gpusvm_range *range)
{
	if (m->config.concurrent)
		drm_svm_range_unlock(range);
	else
		mutex_unlock(&m->lock);
}

void sx_bury(struct sx_mirror *m)
{
	struct drm_gpusvm_range *range;
	bool go_on = true;

	while (go_on && (range = pop_garbage(m))) {
		if (lock_range(m, range)) {
			go_on = bury(m, range);
			unlock_range(m, range);
		}
		drm_gpusvm_range_put(range);
	}
}

/* Faults ---------------------------------------------------------------------------------------------- */

static struct drm_gpusvm_ctx ctx_for(struct sx_mirror *m, enum drm_svm_access access)
{
	struct drm_gpusvm_ctx ctx = m->ctx;

	ctx.access = access;
	return ctx;
}

struct drm_gpusvm_range *sx_get_range(struct sx_mirror *m, unsigned long addr,
				      enum drm_svm_access access)
{
	const struct drm_gpusvm_ctx ctx = ctx_for(m, access);
	struct drm_gpusvm_range *range;

	if (m->config.concurrent)
		return drm_svm_range_acquire(&m->base, addr, 0, TASK_SIZE, &ctx);

	mutex_lock(&m->lock);
	range = drm_gpusvm_range_find_or_insert(&m->base, addr, 0, TASK_SIZE, &ctx);
	if (IS_ERR(range))
		mutex_unlock(&m->lock);
	return range;
}

void sx_put_range(struct sx_mirror *m, struct drm_gpusvm_range *range)
{
	if (m->config.concurrent)
		drm_svm_range_release(range);
	else
		mutex_unlock(&m->lock);
}

bool sx_is_valid(struct sx_mirror *m, struct drm_gpusvm_range *range)
{
	bool valid = true;
	unsigned int i;

	for (i = 0; i < m->config.devices; i++)
		valid &= drm_gpusvm_pages_valid(&m->base, &to_sx_range(range)->pages[i]);
	return valid;
}

int sx_collect(struct sx_mirror *m, struct drm_gpusvm_range *range, enum drm_svm_access access)
{
	const struct drm_gpusvm_ctx ctx = ctx_for(m, access);
	unsigned int i;
	int ret = 0;

	/* Pages that are mapped for less go when there are better ones. */
	sx_lock_window(m, range);
	zap_range(m, range);
	sx_unlock_window(m, range);

	for (i = 0; !ret && i < m->config.devices; i++)
		ret = drm_gpusvm_get_pages(&m->base, &to_sx_range(range)->pages[i], m->base.mm,
					   &range->notifier->notifier,
					   drm_gpusvm_range_start(range), drm_gpusvm_range_end(range),
					   &ctx);
	return ret;
}

int sx_bind(struct sx_mirror *m, struct drm_gpusvm_range *range)
{
	int ret = -EAGAIN;
	unsigned int i;

	sx_lock_window(m, range);
	if (sx_is_valid(m, range)) {
		for (i = 0; i < m->config.devices; i++)
			write_entries(m, range, i);
		atomic_inc(&m->binds);
		ret = 0;
	}
	sx_unlock_window(m, range);
	return ret;
}

/* Whether the devices can do at an address what they want already. */
static bool is_bound(struct sx_mirror *m, struct drm_gpusvm_range *range, unsigned long addr,
		     enum drm_svm_access access)
{
	bool write = access == DRM_SVM_ACCESS_WRITE ||
		     (access == DRM_SVM_ACCESS_ANY && !m->ctx.read_only);
	u64 need = SX_ENTRY_PRESENT | (write ? SX_ENTRY_WRITABLE : 0);
	unsigned int i;
	bool bound;

	sx_lock_window(m, range);
	bound = sx_is_valid(m, range);
	for (i = 0; i < m->config.devices; i++)
		bound &= (sx_entry(m, i, addr) & need) == need;
	sx_unlock_window(m, range);
	return bound;
}

/* -EAGAIN: begin again. */
static int fault_once(struct sx_mirror *m, unsigned long addr, enum drm_svm_access access)
{
	struct drm_gpusvm_range *range;
	int ret;

	sx_bury(m);
	range = sx_get_range(m, addr, access);
	if (IS_ERR(range))
		return PTR_ERR(range);

	if (has_gone(range)) {
		ret = -EAGAIN;
	} else if (is_bound(m, range, addr, access)) {
		ret = 0;
	} else {
		ret = sx_collect(m, range, access);
		if (!ret && m->on_collected)
			m->on_collected(m, range);
		if (!ret)
			ret = sx_bind(m, range);
		else if (has_gone(range))
			ret = -EAGAIN;
	}
	sx_put_range(m, range);
	return ret;
}

int sx_fault(struct sx_mirror *m, unsigned long addr, enum drm_svm_access access)
{
	unsigned long timeout = jiffies + SX_PATIENCE;
	int ret;

	do {
		cond_resched();
		ret = fault_once(m, addr & PAGE_MASK, access);
		/* Busy for a second, on a busy machine: the GPU has not got what it wants. */
	} while ((ret == -EAGAIN || ret == -EBUSY) && time_before(jiffies, timeout));
	return ret;
}

/* The mirror -------------------------------------------------------------------------------------------- */

static void set_config(struct sx_mirror *m, const struct sx_config *config)
{
	m->config = *config;
	m->config.devices = config->devices ?: 1;
	m->config.window = config->window ?: SZ_2M;
	if (!config->chunks) {
		m->config.chunks = default_chunks;
		m->config.num_chunks = ARRAY_SIZE(default_chunks);
	}

	m->ops.features = config->features;
	m->ops.range_alloc = range_alloc;
	m->ops.range_free = range_free;
	if (config->keeps_rest) {
		m->ops.range_pages = range_pages;
		m->ops.range_split = range_split;
	}
	if (config->two_passes) {
		m->ops.invalidate_start = invalidate_start;
		m->ops.invalidate_finish = invalidate_finish;
	} else {
		m->ops.invalidate = invalidate;
	}
}

struct sx_mirror *sx_mirror_create(struct kunit *test, const struct sx_config *config)
{
	struct sx_mirror *m = kunit_kzalloc(test, sizeof(*m), GFP_KERNEL);
	struct sx_fixture *f = test->priv;
	unsigned int i;

	KUNIT_ASSERT_NOT_NULL(test, m);
	m->fixture = f;
	set_config(m, config);
	mutex_init(&m->lock);
	spin_lock_init(&m->garbage_lock);
	INIT_LIST_HEAD(&m->garbage);
	for (i = 0; i < SX_DEVICES; i++) {
		m->entries[i] = kunit_kcalloc(test, SX_AREA >> PAGE_SHIFT, sizeof(u64), GFP_KERNEL);
		KUNIT_ASSERT_NOT_NULL(test, m->entries[i]);
	}

	KUNIT_ASSERT_EQ(test, drm_gpusvm_init(&m->base, "drm_svm_kunit", f->mm, 0, TASK_SIZE,
					      m->config.window, &m->ops, m->config.chunks,
					      m->config.num_chunks), 0);
	if (!config->concurrent)
		drm_gpusvm_driver_set_lock(&m->base, &m->lock);
	list_add(&m->entry, &f->mirrors);
	return m;
}

/* As a driver with one lock does it. */
static void remove_all(struct sx_mirror *m)
{
	struct drm_gpusvm_notifier *notifier, *next_notifier;
	struct drm_gpusvm_range *range, *next_range;

	mutex_lock(&m->lock);
	drm_gpusvm_for_each_notifier_safe(notifier, next_notifier, &m->base, 0, TASK_SIZE)
		drm_gpusvm_for_each_range_safe(range, next_range, notifier, 0, TASK_SIZE)
			sx_remove(m, range);
	mutex_unlock(&m->lock);
}

static void remove_all_concurrently(struct sx_mirror *m)
{
	struct drm_gpusvm_range *range;

	while ((range = drm_svm_range_first(&m->base, 0, TASK_SIZE))) {
		if (drm_svm_range_lock(range)) {
			sx_remove(m, range);
			drm_svm_range_unlock(range);
		}
		drm_gpusvm_range_put(range);
	}
}

void sx_mirror_destroy(struct kunit *test, struct sx_mirror *m)
{
	unsigned long i;

	sx_bury(m);
	if (m->config.concurrent)
		remove_all_concurrently(m);
	else
		remove_all(m);
	KUNIT_EXPECT_TRUE(test, list_empty(&m->base.notifier_list));
	mutex_lock(&m->lock);
	drm_gpusvm_fini(&m->base);
	mutex_unlock(&m->lock);
	list_del(&m->entry);

	/* What an invalidation queued since. */
	sx_bury(m);
	KUNIT_EXPECT_EQ(test, atomic_read(&m->ranges), 0);
	for (i = 0; i < SX_AREA; i += PAGE_SIZE)
		KUNIT_ASSERT_EQ_MSG(test, sx_entry(m, 0, m->fixture->start + i), 0,
				    "page %lu is bound after the end", i >> PAGE_SHIFT);
}
