// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Mainline's entry: a span of one VMA to one allocation, all of it or nothing, and the way back
 * by the CPU's own doing.
 */
#include <linux/dma-fence.h>
#include <linux/mman.h>
#include <linux/mmap_lock.h>
#include <linux/pagemap.h>
#include <linux/slab.h>

#include "pagemap_fixture.h"

static const struct px_config plain = {};
static const struct px_config in_runs = { .copies_runs = true };
static const struct px_config late = { .copies_runs = true, .late = true };
static const struct px_config scattered = { .scattered = true };
static const struct px_config keeping = { .keeps_frames = true };

/* What all cases move: 512 KiB, so that no huge page has a part in it. */
#define SPAN ((unsigned long)SZ_512K)
#define PAGES (SPAN / PAGE_SIZE)

/* There and back --------------------------------------------------------------------------- */

static void round_trip_with(struct kunit *test, const struct px_config *config)
{
	struct px_vram *v = px_vram_create(test, config);
	struct sx_fixture *f = test->priv;

	px_map(test, f->start, SPAN, 1);
	px_alloc_put(px_move(test, v, f->start, SPAN));
	KUNIT_EXPECT_EQ(test, v->used, PAGES);
	KUNIT_EXPECT_EQ(test, v->in.pages, PAGES);
	KUNIT_EXPECT_EQ(test, v->in.cleared, 0);
	px_expect_device_data(test, v, f->start, SPAN, 1);

	px_expect_data(test, f->start, SPAN, 1);
	px_expect_places(test, v, f->start, SPAN, PAGES, 0);
	KUNIT_EXPECT_EQ(test, v->out.pages, PAGES);
	px_expect_empty(test, v);
	KUNIT_EXPECT_EQ(test, v->released, 1);

	/* What is written after that is what goes there the next time. */
	KUNIT_ASSERT_EQ(test, px_write(f, f->start, SPAN, 2), 0);
	px_alloc_put(px_move(test, v, f->start, SPAN));
	px_expect_device_data(test, v, f->start, SPAN, 2);
	px_expect_data(test, f->start, SPAN, 2);
}

static void round_trip(struct kunit *test)
{
	round_trip_with(test, &plain);
}

static void round_trip_in_runs(struct kunit *test)
{
	round_trip_with(test, &in_runs);
}

static void round_trip_late(struct kunit *test)
{
	round_trip_with(test, &late);
}

static void round_trip_scattered(struct kunit *test)
{
	round_trip_with(test, &scattered);
}

static void round_trip_keeping(struct kunit *test)
{
	round_trip_with(test, &keeping);
}

/* The CPU writes to memory that is there: that brings it back, and is not lost. */
static void write_back(struct kunit *test)
{
	struct px_vram *v = px_vram_create(test, &plain);
	struct sx_fixture *f = test->priv;

	px_map(test, f->start, SPAN, 1);
	px_alloc_put(px_move(test, v, f->start, SPAN));
	KUNIT_ASSERT_EQ(test, px_write(f, f->start + SZ_64K, SZ_64K, 2), 0);
	px_expect_places(test, v, f->start, SPAN, 16, PAGES - 16);
	px_expect_data(test, f->start, SZ_64K, 1);
	px_expect_data(test, f->start + SZ_64K, SZ_64K, 2);
	px_expect_data(test, f->start + SZ_128K, SPAN - SZ_128K, 1);
}

/* Where nothing was yet there is memory made of zeroes, whatever was on the device before. */
static void holes(struct kunit *test)
{
	struct px_vram *v = px_vram_create(test, &plain);
	struct sx_fixture *f = test->priv;

	memset(v->memory, 0xa5, PX_FRAMES * PAGE_SIZE);
	sx_map(test, f->start, SPAN);
	KUNIT_ASSERT_EQ(test, px_write(f, f->start + SZ_64K, SZ_64K, 1), 0);
	px_alloc_put(px_move(test, v, f->start, SPAN));
	KUNIT_EXPECT_EQ(test, v->in.pages, PAGES);
	KUNIT_EXPECT_EQ(test, v->in.cleared, PAGES - 16);
	px_expect_zeroes(test, f->start, SZ_64K);
	px_expect_data(test, f->start + SZ_64K, SZ_64K, 1);
	px_expect_zeroes(test, f->start + SZ_128K, SPAN - SZ_128K);
	px_expect_empty(test, v);
}

/* It is there already: nothing to do, and the new allocation is not needed. */
static void was_there(struct kunit *test)
{
	struct px_vram *v = px_vram_create(test, &plain);
	struct sx_fixture *f = test->priv;
	struct px_alloc *first;

	px_map(test, f->start, SPAN, 1);
	first = px_move(test, v, f->start, SPAN);
	px_reset_copies(v);
	KUNIT_EXPECT_EQ(test, px_to_device(v, f->start, SPAN, NULL), 0);
	drm_svm_flush();
	KUNIT_EXPECT_EQ(test, v->in.calls, 0);
	KUNIT_EXPECT_EQ(test, px_alloc_used(first), PAGES);
	KUNIT_EXPECT_EQ(test, v->used, PAGES);
	KUNIT_EXPECT_EQ(test, v->released, 1);
	px_alloc_put(first);
	px_expect_data(test, f->start, SPAN, 1);
}

/* From one allocation to another one of the same device, for who can copy that. */
static void same_pagemap(struct kunit *test)
{
	const struct drm_pagemap_migrate_details details = { .can_migrate_same_pagemap = 1 };
	struct px_vram *v = px_vram_create(test, &plain);
	struct sx_fixture *f = test->priv;
	struct px_alloc *first, *second;

	px_map(test, f->start, SPAN, 1);
	first = px_move(test, v, f->start, SPAN);
	second = px_alloc_create(v, SPAN);
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, second);
	px_alloc_get(second);
	mmap_read_lock(f->mm);
	KUNIT_EXPECT_EQ(test, drm_pagemap_migrate_to_devmem(&second->base, f->mm, f->start,
							    f->start + SPAN, &details), 0);
	mmap_read_unlock(f->mm);
	drm_svm_flush();
	KUNIT_EXPECT_EQ(test, px_alloc_used(first), 0);
	KUNIT_EXPECT_TRUE(test, first->is_released);
	KUNIT_EXPECT_EQ(test, px_alloc_used(second), PAGES);
	px_expect_device_data(test, v, f->start, SPAN, 1);
	px_alloc_put(first);
	px_alloc_put(second);
	px_expect_data(test, f->start, SPAN, 1);
}

/* Nothing or all --------------------------------------------------------------------------- */

/* All data is in RAM, as it was, and nothing was left on the device. */
static void expect_untouched(struct kunit *test, struct px_vram *v, u32 seed)
{
	struct sx_fixture *f = test->priv;

	px_expect_empty(test, v);
	px_expect_places(test, v, f->start, SPAN, PAGES, 0);
	px_expect_data(test, f->start, SPAN, seed);
}

static void pinned(struct kunit *test)
{
	struct px_vram *v = px_vram_create(test, &plain);
	struct sx_fixture *f = test->priv;
	struct page *page;

	px_map(test, f->start, SPAN, 1);
	page = px_take_page(test, f->start + SZ_64K, true);
	KUNIT_EXPECT_EQ(test, px_to_device(v, f->start, SPAN, NULL), -EBUSY);
	unpin_user_page(page);
	expect_untouched(test, v, 1);
	KUNIT_EXPECT_EQ(test, v->released, 1);
	KUNIT_EXPECT_EQ(test, v->in.calls, 0);
	px_alloc_put(px_move(test, v, f->start, SPAN));
}

static void locked(struct kunit *test)
{
	struct px_vram *v = px_vram_create(test, &plain);
	struct sx_fixture *f = test->priv;
	struct page *page;

	px_map(test, f->start, SPAN, 1);
	page = px_take_page(test, f->start + SPAN - PAGE_SIZE, false);
	lock_page(page);
	KUNIT_EXPECT_EQ(test, px_to_device(v, f->start, SPAN, NULL), -EBUSY);
	unlock_page(page);
	put_page(page);
	expect_untouched(test, v, 1);
	px_alloc_put(px_move(test, v, f->start, SPAN));
}

/* A part of it is there already. */
static void partly_there(struct kunit *test)
{
	struct px_vram *v = px_vram_create(test, &plain);
	struct sx_fixture *f = test->priv;

	px_map(test, f->start, SPAN, 1);
	px_alloc_put(px_move(test, v, f->start, SZ_64K));
	KUNIT_EXPECT_EQ(test, px_to_device(v, f->start, SPAN, NULL), -EBUSY);
	px_expect_places(test, v, f->start, SPAN, PAGES - 16, 16);
	drm_svm_flush();
	KUNIT_EXPECT_EQ(test, v->used, 16);
	px_expect_data(test, f->start, SPAN, 1);
}

/* A span that is no part of one VMA of private memory; what it has to be refused with. */
struct bad_span {
	const char *what;
	unsigned long offset;
	unsigned long bytes;
	int ret;
};

static void bad_spans(struct kunit *test)
{
	static const struct bad_span bad[] = {
		{ "no VMA", SZ_2M, SPAN, -ENOENT },
		{ "two VMAs", SZ_256K, SPAN, -EINVAL },
		{ "beyond its end", SZ_64K, SPAN, -EINVAL },
		{ "not aligned", 0x800, SPAN - PAGE_SIZE, -EINVAL },
		{ "of a file", SZ_1M, SZ_128K, -EBUSY },
	};
	struct px_vram *v = px_vram_create(test, &plain);
	struct sx_file *sf = sx_file_create(test, 0);
	struct sx_fixture *f = test->priv;
	unsigned int i;
	int ret;

	px_map(test, f->start, SPAN, 1);
	/* Not to be merged with the other one. */
	KUNIT_ASSERT_EQ(test, sx_mmap(f, f->start + SPAN, SPAN, PROT_READ,
				      MAP_PRIVATE | MAP_ANONYMOUS, NULL), 0);
	sx_map_file(test, f->start + SZ_1M, SZ_256K, PROT_READ | PROT_WRITE, MAP_SHARED, sf);
	sx_cpu_fill(test, f->start + SZ_1M, SZ_128K, 1);
	KUNIT_ASSERT_EQ(test, sx_munmap(f, f->start + SZ_2M, SZ_2M), 0);

	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		ret = px_to_device(v, f->start + bad[i].offset, bad[i].bytes, NULL);
		KUNIT_EXPECT_EQ_MSG(test, ret, bad[i].ret, "%s", bad[i].what);
		drm_svm_flush();
		KUNIT_EXPECT_EQ_MSG(test, v->released, i + 1, "%s", bad[i].what);
	}
	expect_untouched(test, v, 1);
}

static void too_large(struct kunit *test)
{
	const struct drm_pagemap_migrate_details details = {};
	struct px_vram *v = px_vram_create(test, &plain);
	struct sx_fixture *f = test->priv;
	struct px_alloc *alloc;

	px_map(test, f->start, SPAN, 1);
	alloc = px_alloc_create(v, SPAN - PAGE_SIZE);
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, alloc);
	mmap_read_lock(f->mm);
	KUNIT_EXPECT_EQ(test, drm_pagemap_migrate_to_devmem(&alloc->base, f->mm, f->start,
							    f->start + SPAN, &details), -EINVAL);
	mmap_read_unlock(f->mm);
	expect_untouched(test, v, 1);

	/* Smaller than it has no fault: the rest comes back at once. */
	alloc = px_alloc_create(v, SPAN);
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, alloc);
	mmap_read_lock(f->mm);
	KUNIT_EXPECT_EQ(test, drm_pagemap_migrate_to_devmem(&alloc->base, f->mm, f->start,
							    f->start + SPAN - SZ_64K, &details), 0);
	mmap_read_unlock(f->mm);
	KUNIT_EXPECT_EQ(test, v->used, PAGES - 16);
	KUNIT_EXPECT_EQ(test, v->returned, 16);
	px_expect_places(test, v, f->start, SPAN, 16, PAGES - 16);
	px_expect_data(test, f->start, SPAN, 1);
}

static void missing_callbacks(struct kunit *test)
{
	struct px_vram *v = px_vram_create(test, &plain);
	struct drm_pagemap_devmem_ops all = v->devmem_ops;
	struct sx_fixture *f = test->priv;

	px_map(test, f->start, SPAN, 1);
	v->devmem_ops.populate_devmem_pfn = NULL;
	KUNIT_EXPECT_EQ(test, px_to_device(v, f->start, SPAN, NULL), -EOPNOTSUPP);
	v->devmem_ops = all;
	v->devmem_ops.copy_to_devmem = NULL;
	KUNIT_EXPECT_EQ(test, px_to_device(v, f->start, SPAN, NULL), -EOPNOTSUPP);
	v->devmem_ops = all;
	v->devmem_ops.copy_to_ram = NULL;
	KUNIT_EXPECT_EQ(test, px_to_device(v, f->start, SPAN, NULL), -EOPNOTSUPP);
	v->devmem_ops = all;
	expect_untouched(test, v, 1);
	KUNIT_EXPECT_EQ(test, v->released, 3);
}

/* What the driver's copy says is what the caller is told. */
static void copy_fails_with(struct kunit *test, const struct px_config *config)
{
	struct px_vram *v = px_vram_create(test, config);
	struct sx_fixture *f = test->priv;

	px_map(test, f->start, SPAN, 1);
	px_fail_copies(v, -EIO, 1);
	KUNIT_EXPECT_EQ(test, px_to_device(v, f->start, SPAN, NULL), -EIO);
	KUNIT_EXPECT_EQ(test, v->in.calls, 1);
	expect_untouched(test, v, 1);
	px_alloc_put(px_move(test, v, f->start, SPAN));
	px_expect_data(test, f->start, SPAN, 1);
}

static void copy_fails(struct kunit *test)
{
	copy_fails_with(test, &plain);
}

static void copy_fails_in_runs(struct kunit *test)
{
	copy_fails_with(test, &in_runs);
}

/* RAM that the device does not reach: the kernel makes a copy of it where it does. */
static void bounced(struct kunit *test)
{
	struct px_vram *v = px_vram_create(test, &plain);
	struct sx_fixture *f = test->priv;

	px_map(test, f->start, SPAN, 1);
	px_bounce(test, v, f->start);
	px_alloc_put(px_move(test, v, f->start, SPAN));
	KUNIT_EXPECT_LE(test, v->last_addr, DMA_BIT_MASK(32));
	px_expect_device_data(test, v, f->start, SPAN, 1);
	px_expect_data(test, f->start, SPAN, 1);
}

/* The fence that the first copy waits for -------------------------------------------------- */

static const char *fence_name(struct dma_fence *fence)
{
	return "drm_svm_kunit";
}

static const struct dma_fence_ops fence_ops = {
	.get_driver_name = fence_name,
	.get_timeline_name = fence_name,
};

struct fence {
	struct dma_fence base; /* holds the memory, so it has to be first */
	spinlock_t lock;
};

static struct dma_fence *make_fence(struct kunit *test)
{
	struct fence *fence = kzalloc(sizeof(*fence), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, fence);
	spin_lock_init(&fence->lock);
	dma_fence_init(&fence->base, &fence_ops, &fence->lock, dma_fence_context_alloc(1), 1);
	return &fence->base;
}

/* In the copy: it has been handed on, and has not been waited for by somebody else. */
static void signal_late(struct px_vram *v, bool to_ram)
{
	struct dma_fence *fence = v->hook_arg;

	v->on_copy = NULL;
	v->hook_arg = dma_fence_is_signaled(fence) ? NULL : fence;
	dma_fence_signal(fence);
}

static void pre_migrate_fence_with(struct kunit *test, const struct px_config *config)
{
	const struct drm_pagemap_migrate_details details = {};
	struct px_vram *v = px_vram_create(test, config);
	struct dma_fence *fence = make_fence(test);
	struct sx_fixture *f = test->priv;
	struct px_alloc *alloc;

	px_map(test, f->start, SPAN, 1);
	alloc = px_alloc_create(v, SPAN);
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, alloc);
	px_alloc_get(alloc);
	alloc->base.pre_migrate_fence = dma_fence_get(fence);
	v->on_copy = signal_late;
	v->hook_arg = fence;
	mmap_read_lock(f->mm);
	KUNIT_EXPECT_EQ(test, drm_pagemap_migrate_to_devmem(&alloc->base, f->mm, f->start,
							    f->start + SPAN, &details), 0);
	mmap_read_unlock(f->mm);
	KUNIT_EXPECT_PTR_EQ(test, v->hook_arg, (void *)fence);
	/* It has gone with that. */
	KUNIT_EXPECT_NULL(test, alloc->base.pre_migrate_fence);
	KUNIT_EXPECT_EQ(test, kref_read(&fence->refcount), 1);
	px_alloc_put(alloc);
	dma_fence_put(fence);
	px_expect_data(test, f->start, SPAN, 1);
	synchronize_rcu();
}

static void pre_migrate_fence(struct kunit *test)
{
	pre_migrate_fence_with(test, &plain);
}

static void pre_migrate_fence_in_runs(struct kunit *test)
{
	pre_migrate_fence_with(test, &in_runs);
}

/* Going away ------------------------------------------------------------------------------- */

/* Exactly the frames of what was unmapped come back, and at once. */
static void unmap_a_part(struct kunit *test)
{
	struct px_vram *v = px_vram_create(test, &plain);
	struct sx_fixture *f = test->priv;
	struct px_alloc *alloc;
	unsigned int i;

	px_map(test, f->start, SPAN, 1);
	alloc = px_move(test, v, f->start, SPAN);
	KUNIT_ASSERT_EQ(test, sx_munmap(f, f->start + SZ_64K, SZ_128K), 0);
	KUNIT_EXPECT_EQ(test, v->returned, 32);
	for (i = 0; i < PAGES; i++)
		KUNIT_EXPECT_PTR_EQ_MSG(test, v->owner[alloc->frame[i]],
					i >= 16 && i < 48 ? (struct px_alloc *)NULL : alloc, "page %u", i);
	KUNIT_EXPECT_FALSE(test, completion_done(&alloc->base.detached));
	px_expect_data(test, f->start, SZ_64K, 1);

	KUNIT_ASSERT_EQ(test, sx_munmap(f, f->start, SPAN), 0);
	KUNIT_EXPECT_EQ(test, v->used, 0);
	KUNIT_EXPECT_TRUE(test, completion_done(&alloc->base.detached));
	drm_svm_flush();
	KUNIT_EXPECT_TRUE(test, alloc->is_released);
	KUNIT_EXPECT_EQ(test, v->returned, PAGES);
	px_alloc_put(alloc);
}

/* Without the callback they come back with the allocation, as mainline's do. */
static void unmap_a_part_keeping(struct kunit *test)
{
	struct px_vram *v = px_vram_create(test, &keeping);
	struct sx_fixture *f = test->priv;

	px_map(test, f->start, SPAN, 1);
	px_alloc_put(px_move(test, v, f->start, SPAN));
	KUNIT_ASSERT_EQ(test, sx_munmap(f, f->start + SZ_64K, SZ_128K), 0);
	drm_svm_flush();
	KUNIT_EXPECT_EQ(test, v->used, PAGES);
	KUNIT_ASSERT_EQ(test, sx_munmap(f, f->start, SPAN), 0);
	px_expect_empty(test, v);
	KUNIT_EXPECT_EQ(test, v->released, 1);
	KUNIT_EXPECT_EQ(test, v->returned, 0);
}

static struct kunit_case pagemap_migrate_cases[] = {
	KUNIT_CASE(round_trip),
	KUNIT_CASE(round_trip_in_runs),
	KUNIT_CASE(round_trip_late),
	KUNIT_CASE(round_trip_scattered),
	KUNIT_CASE(round_trip_keeping),
	KUNIT_CASE(write_back),
	KUNIT_CASE(holes),
	KUNIT_CASE(was_there),
	KUNIT_CASE(same_pagemap),
	KUNIT_CASE(pinned),
	KUNIT_CASE(locked),
	KUNIT_CASE(partly_there),
	KUNIT_CASE(bad_spans),
	KUNIT_CASE(too_large),
	KUNIT_CASE(missing_callbacks),
	KUNIT_CASE(copy_fails),
	KUNIT_CASE(copy_fails_in_runs),
	KUNIT_CASE(bounced),
	KUNIT_CASE(pre_migrate_fence),
	KUNIT_CASE(pre_migrate_fence_in_runs),
	KUNIT_CASE(unmap_a_part),
	KUNIT_CASE(unmap_a_part_keeping),
	{}
};

static struct kunit_suite pagemap_migrate_suite = {
	.name = "dsvm_pagemap_migrate",
	.suite_init = sx_suite_init,
	.suite_exit = sx_suite_exit,
	.init = px_init,
	.exit = px_exit,
	.test_cases = pagemap_migrate_cases,
};
kunit_test_suite(pagemap_migrate_suite);
