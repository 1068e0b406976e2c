// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * See pagemap_fixture.h: data, where it is, and threads.
 */
#include <linux/dma-mapping.h>
#include <linux/kthread.h>
#include <linux/mm.h>
#include <linux/mman.h>
#include <linux/mmap_lock.h>
#include <linux/mmu_notifier.h>
#include <linux/sched/task.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "compat/memremap_compat.h"
#include "pagemap_fixture.h"

/* Data ------------------------------------------------------------------------------------- */

#define PAGE_WORDS (PAGE_SIZE / sizeof(u32))

/* What all words of the page at an address are. No two pages of any two seeds are alike. */
static u32 word_at(struct sx_fixture *f, unsigned long addr, u32 seed)
{
	u32 page = (addr - f->start) >> PAGE_SHIFT;

	return (seed << 16 | page) * 0x9e3779b1u;
}

static void make_page(struct sx_fixture *f, unsigned long addr, u32 seed, u32 *page)
{
	memset32(page, word_at(f, addr, seed), PAGE_WORDS);
}

static bool is_page(struct sx_fixture *f, unsigned long addr, u32 seed, const u32 *page)
{
	return page[0] == word_at(f, addr, seed) &&
	       !memcmp(page, page + 1, PAGE_SIZE - sizeof(u32));
}

int px_write(struct sx_fixture *f, unsigned long addr, unsigned long bytes, u32 seed)
{
	u32 *page = (u32 *)__get_free_page(GFP_KERNEL);
	unsigned long offset;
	bool entered;
	int ret = 0;

	if (!page)
		return -ENOMEM;

	entered = sx_enter(f);
	for (offset = 0; !ret && offset < bytes; offset += PAGE_SIZE) {
		make_page(f, addr + offset, seed, page);
		if (copy_to_user((void __user *)(addr + offset), page, PAGE_SIZE))
			ret = -EFAULT;
	}
	sx_leave(f, entered);
	free_page((unsigned long)page);
	return ret;
}

unsigned int px_count_wrong(struct sx_fixture *f, unsigned long addr, unsigned long bytes,
			    u32 seed)
{
	u32 *page = (u32 *)__get_free_page(GFP_KERNEL);
	unsigned int wrong = 0;
	unsigned long offset;
	bool entered;

	if (!page)
		return bytes >> PAGE_SHIFT;

	entered = sx_enter(f);
	for (offset = 0; offset < bytes; offset += PAGE_SIZE)
		wrong += copy_from_user(page, (void __user *)(addr + offset), PAGE_SIZE) ||
			 !is_page(f, addr + offset, seed, page);
	sx_leave(f, entered);
	free_page((unsigned long)page);
	return wrong;
}

void px_map(struct kunit *test, unsigned long addr, unsigned long bytes, u32 seed)
{
	sx_map(test, addr, bytes);
	KUNIT_ASSERT_EQ(test, px_write(test->priv, addr, bytes, seed), 0);
}

void px_expect_data(struct kunit *test, unsigned long addr, unsigned long bytes, u32 seed)
{
	struct sx_fixture *f = test->priv;

	KUNIT_EXPECT_EQ_MSG(test, px_count_wrong(f, addr, bytes, seed), 0,
			    "pages at %#lx of %lu", addr - f->start, bytes >> PAGE_SHIFT);
}

void px_expect_zeroes(struct kunit *test, unsigned long addr, unsigned long bytes)
{
	u32 *page = (u32 *)__get_free_page(GFP_KERNEL);
	struct sx_fixture *f = test->priv;
	unsigned int wrong = 0;
	unsigned long offset;
	bool entered;

	KUNIT_ASSERT_NOT_NULL(test, page);
	entered = sx_enter(f);
	for (offset = 0; offset < bytes; offset += PAGE_SIZE)
		wrong += copy_from_user(page, (void __user *)(addr + offset), PAGE_SIZE) ||
			 memchr_inv(page, 0, PAGE_SIZE);
	sx_leave(f, entered);
	free_page((unsigned long)page);
	KUNIT_EXPECT_EQ(test, wrong, 0);
}

/* Where it is ------------------------------------------------------------------------------ */

static bool invalidate(struct mmu_interval_notifier *notifier,
		       const struct mmu_notifier_range *range, unsigned long seq)
{
	mmu_interval_set_seq(notifier, seq);
	return true;
}

static const struct mmu_interval_notifier_ops look_ops = {
	.invalidate = invalidate,
};

/* One round of HMM; -EBUSY if the span changed meanwhile. */
static int look_once(struct sx_fixture *f, struct hmm_range *range)
{
	int ret;

	range->notifier_seq = mmu_interval_read_begin(range->notifier);
	mmap_read_lock(f->mm);
	ret = hmm_range_fault(range);
	mmap_read_unlock(f->mm);
	if (!ret && mmu_interval_read_retry(range->notifier, range->notifier_seq))
		ret = -EBUSY;
	return ret;
}

/* HMM's entries for a span; @flags asks for faults. */
static int look(struct sx_fixture *f, unsigned long addr, unsigned long npages, void *owner,
		unsigned long flags, unsigned long *entries)
{
	struct mmu_interval_notifier notifier;
	struct hmm_range range = {
		.notifier = &notifier,
		.start = addr,
		.end = addr + npages * PAGE_SIZE,
		.hmm_pfns = entries,
		.default_flags = flags,
		.dev_private_owner = owner,
	};
	int ret;

	ret = mmu_interval_notifier_insert(&notifier, f->mm, addr, npages * PAGE_SIZE, &look_ops);
	if (ret)
		return ret;

	do {
		memset(entries, 0, npages * sizeof(*entries));
		ret = look_once(f, &range);
	} while (ret == -EBUSY);
	mmu_interval_notifier_remove(&notifier);
	return ret;
}

static unsigned long *look_at(struct kunit *test, struct px_vram *v, unsigned long addr,
			      unsigned long npages)
{
	unsigned long *entries = kvcalloc(npages, sizeof(*entries), GFP_KERNEL);
	struct sx_fixture *f = test->priv;
	int ret;

	KUNIT_ASSERT_NOT_NULL(test, entries);
	/* Nobody's memory is of the fixture's ownership. */
	ret = look(f, addr, npages, v ? v->pagemap.owner : f, 0, entries);
	if (ret)
		kvfree(entries);
	KUNIT_ASSERT_EQ(test, ret, 0);
	return entries;
}

struct px_places px_look(struct kunit *test, struct px_vram *v, unsigned long addr,
			 unsigned long bytes)
{
	unsigned long *entries = look_at(test, v, addr, bytes >> PAGE_SHIFT);
	struct px_places places = {};
	unsigned long i;
	struct page *page;

	for (i = 0; i < bytes >> PAGE_SHIFT; i++) {
		page = entries[i] & HMM_PFN_VALID ? hmm_pfn_to_page(entries[i]) : NULL;
		if (page && !is_device_private_page(page))
			places.ram++;
		else if (page && v && compat_page_pgmap(page) == &v->pagemap)
			places.device++;
		else
			places.none++;
		places.huge += page && hmm_pfn_to_map_order(entries[i]) == HPAGE_PMD_ORDER;
	}
	kvfree(entries);
	return places;
}

void px_expect_places(struct kunit *test, struct px_vram *v, unsigned long addr,
		      unsigned long bytes, unsigned int ram, unsigned int device)
{
	const struct px_places places = px_look(test, v, addr, bytes);

	KUNIT_EXPECT_EQ(test, places.ram, ram);
	KUNIT_EXPECT_EQ(test, places.device, device);
}

struct page *px_device_page(struct kunit *test, struct px_vram *v, unsigned long addr)
{
	unsigned long *entry = look_at(test, v, addr, 1);
	struct page *page = *entry & HMM_PFN_VALID ? hmm_pfn_to_page(*entry) : NULL;

	kvfree(entry);
	KUNIT_ASSERT_NOT_NULL(test, page);
	KUNIT_ASSERT_TRUE(test, is_device_private_page(page));
	KUNIT_ASSERT_PTR_EQ(test, compat_page_pgmap(page), &v->pagemap);
	return page;
}

void px_expect_device_data(struct kunit *test, struct px_vram *v, unsigned long addr,
			   unsigned long bytes, u32 seed)
{
	unsigned long *entries = look_at(test, v, addr, bytes >> PAGE_SHIFT);
	unsigned long i, frame, first = PHYS_PFN(v->pagemap.range.start);
	unsigned int wrong = 0;

	for (i = 0; i < bytes >> PAGE_SHIFT; i++) {
		frame = page_to_pfn(hmm_pfn_to_page(entries[i])) - first;
		wrong += !(entries[i] & HMM_PFN_VALID) || frame >= PX_FRAMES ||
			 !is_page(v->fixture, addr + i * PAGE_SIZE, seed,
				  v->memory + frame * PAGE_SIZE);
	}
	kvfree(entries);
	KUNIT_EXPECT_EQ(test, wrong, 0);
}

int px_hmm_fault(struct sx_fixture *f, unsigned long addr)
{
	unsigned long entry;

	return look(f, addr, 1, f, HMM_PFN_REQ_FAULT, &entry);
}

struct page *px_take_page(struct kunit *test, unsigned long addr, bool pin)
{
	struct sx_fixture *f = test->priv;
	bool entered = sx_enter(f);
	struct page *page = NULL;
	int got;

	got = pin ? pin_user_pages_fast(addr, 1, FOLL_WRITE, &page) :
	      get_user_pages_fast(addr, 1, FOLL_WRITE, &page);
	sx_leave(f, entered);
	KUNIT_ASSERT_EQ(test, got, 1);
	return page;
}

void px_bounce(struct kunit *test, struct px_vram *v, unsigned long addr)
{
	struct device *dev = v->fixture->parents[v->config.device];

	if (sx_phys(test, addr) <= DMA_BIT_MASK(32))
		kunit_skip(test, "the memory is where a 32-bit device reaches it");
	KUNIT_ASSERT_EQ(test, dma_coerce_mask_and_coherent(dev, DMA_BIT_MASK(32)), 0);
	/* Where the kernel makes no copies it refuses by itself, with a warning. */
	if (dma_max_mapping_size(dev) == SIZE_MAX)
		kunit_skip(test, "this machine has no swiotlb");
}

bool px_is_huge(struct kunit *test, unsigned long addr)
{
	return px_look(test, NULL, addr, HPAGE_PMD_SIZE).huge == HPAGE_PMD_NR;
}

/* Moving ----------------------------------------------------------------------------------- */

int px_to_device(struct px_vram *v, unsigned long addr, unsigned long bytes,
		 struct px_alloc **out)
{
	const struct drm_pagemap_migrate_details details = { .timeslice_ms = v->timeslice_ms };
	struct px_alloc *alloc = px_alloc_create(v, bytes);
	struct mm_struct *mm = v->fixture->mm;
	int ret;

	if (IS_ERR(alloc))
		return PTR_ERR(alloc);

	px_alloc_get(alloc);
	mmap_read_lock(mm);
	ret = drm_pagemap_migrate_to_devmem(&alloc->base, mm, addr, addr + bytes, &details);
	mmap_read_unlock(mm);
	if (out && !ret)
		*out = alloc;
	else
		px_alloc_put(alloc);
	return ret;
}

struct px_alloc *px_move(struct kunit *test, struct px_vram *v, unsigned long addr,
			 unsigned long bytes)
{
	struct px_alloc *alloc = NULL;

	KUNIT_ASSERT_EQ(test, px_to_device(v, addr, bytes, &alloc), 0);
	px_expect_places(test, v, addr, bytes, 0, bytes >> PAGE_SHIFT);
	return alloc;
}

static struct drm_pagemap_devmem *job_alloc(struct drm_svm_migrate *job, unsigned long addr,
					    unsigned long size)
{
	struct px_alloc *alloc = px_alloc_create(to_px_vram(job->dpagemap), size);

	return IS_ERR(alloc) ? ERR_CAST(alloc) : &alloc->base;
}

int px_job(struct px_vram *v, unsigned long addr, unsigned long bytes,
	   struct drm_svm_migrate *job)
{
	job->dpagemap = &v->base;
	job->mm = v->fixture->mm;
	job->start = addr;
	job->end = addr + bytes;
	job->timeslice_ms = v->timeslice_ms;
	job->alloc = job_alloc;
	return drm_svm_migrate_to_devmem(job);
}

/* Threads ---------------------------------------------------------------------------------- */

static int thread_main(void *data)
{
	struct px_thread *t = data;

	t->ret = t->fn(t->arg);
	complete_all(&t->done);
	return 0;
}

struct px_thread *px_thread_create(struct kunit *test, int (*fn)(void *arg), void *arg)
{
	struct px_thread *t = kunit_kzalloc(test, sizeof(*t), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, t);
	t->fn = fn;
	t->arg = arg;
	t->ret = -ENOENT;
	init_completion(&t->done);
	t->task = kthread_create(thread_main, t, "drm_svm_kunit");
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, t->task);
	get_task_struct(t->task);
	return t;
}

void px_thread_start(struct px_thread *t)
{
	t->is_started = true;
	wake_up_process(t->task);
}

int px_thread_end(struct px_thread *t)
{
	if (t->is_started)
		wait_for_completion(&t->done);
	/* Waits until it has left this module. */
	kthread_stop(t->task);
	put_task_struct(t->task);
	return t->ret;
}
