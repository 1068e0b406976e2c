// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Memory is brought back without the CPU asking for it: because the device wants it for something
 * else, or because the device goes.
 */
#include <linux/delay.h>
#include <linux/mman.h>
#include <linux/mmap_lock.h>

#include "pagemap_fixture.h"

static const struct px_config plain = {};
static const struct px_config in_runs = { .copies_runs = true };
static const struct px_config late = { .copies_runs = true, .late = true };
static const struct px_config scattered = { .scattered = true };

#define SPAN ((unsigned long)SZ_512K)
#define PAGES (SPAN / PAGE_SIZE)

static struct px_alloc *moved(struct kunit *test, struct px_vram *v)
{
	px_map(test, v->fixture->start, SPAN, 1);
	return px_move(test, v, v->fixture->start, SPAN);
}

/* It is there, in RAM, and the allocation is done with. */
static void expect_evicted(struct kunit *test, struct px_vram *v, struct px_alloc *alloc)
{
	struct sx_fixture *f = test->priv;

	KUNIT_EXPECT_TRUE(test, completion_done(&alloc->base.detached));
	drm_svm_flush();
	KUNIT_EXPECT_TRUE(test, alloc->is_released);
	px_expect_empty(test, v);
	px_expect_places(test, v, f->start, SPAN, PAGES, 0);
	px_expect_data(test, f->start, SPAN, 1);
}

/* Evictions -------------------------------------------------------------------------------- */

static void whole_with(struct kunit *test, const struct px_config *config)
{
	struct px_vram *v = px_vram_create(test, config);
	struct px_alloc *alloc = moved(test, v);
	int users = atomic_read(&v->fixture->mm->mm_users);

	KUNIT_EXPECT_EQ(test, drm_pagemap_evict_to_ram(&alloc->base), 0);
	KUNIT_EXPECT_EQ(test, v->out.pages, PAGES);
	KUNIT_EXPECT_EQ(test, atomic_read(&v->fixture->mm->mm_users), users);
	expect_evicted(test, v, alloc);
	/* Nothing is left to do. */
	KUNIT_EXPECT_EQ(test, drm_pagemap_evict_to_ram(&alloc->base), 0);
	KUNIT_EXPECT_EQ(test, v->out.pages, PAGES);
	px_alloc_put(alloc);
}

static void whole(struct kunit *test)
{
	whole_with(test, &plain);
}

static void whole_in_runs(struct kunit *test)
{
	whole_with(test, &in_runs);
}

static void whole_late(struct kunit *test)
{
	whole_with(test, &late);
}

static void whole_scattered(struct kunit *test)
{
	whole_with(test, &scattered);
}

static void a_part(struct kunit *test)
{
	struct px_vram *v = px_vram_create(test, &plain);
	struct px_alloc *alloc = moved(test, v);
	struct sx_fixture *f = test->priv;

	KUNIT_EXPECT_EQ(test, drm_svm_evict(&alloc->base, SZ_64K, SZ_128K), 0);
	px_expect_places(test, v, f->start, SPAN, 32, PAGES - 32);
	px_expect_places(test, v, f->start + SZ_64K, SZ_128K, 32, 0);
	KUNIT_EXPECT_EQ(test, px_alloc_used(alloc), PAGES - 32);
	KUNIT_EXPECT_FALSE(test, completion_done(&alloc->base.detached));

	KUNIT_EXPECT_EQ(test, drm_svm_evict(&alloc->base, 1, PAGE_SIZE), -EINVAL);
	KUNIT_EXPECT_EQ(test, drm_svm_evict(&alloc->base, 0, PAGE_SIZE - 1), -EINVAL);
	KUNIT_EXPECT_EQ(test, drm_svm_evict(&alloc->base, SPAN, PAGE_SIZE), -EINVAL);
	KUNIT_EXPECT_EQ(test, drm_svm_evict(&alloc->base, SZ_64K, -PAGE_SIZE), -EINVAL);
	px_expect_places(test, v, f->start, SPAN, 32, PAGES - 32);

	KUNIT_EXPECT_EQ(test, drm_svm_evict(&alloc->base, 0, SPAN), 0);
	expect_evicted(test, v, alloc);
	px_alloc_put(alloc);
}

/* A part of it has gone before. */
static void what_is_left(struct kunit *test)
{
	struct px_vram *v = px_vram_create(test, &plain);
	struct px_alloc *alloc = moved(test, v);
	struct sx_fixture *f = test->priv;

	px_expect_data(test, f->start, PAGE_SIZE, 1);
	KUNIT_ASSERT_EQ(test, sx_munmap(f, f->start + SZ_128K, SZ_64K), 0);
	px_reset_copies(v);
	KUNIT_EXPECT_EQ(test, drm_pagemap_evict_to_ram(&alloc->base), 0);
	KUNIT_EXPECT_EQ(test, v->out.pages, PAGES - 32);
	px_alloc_put(alloc);
	px_expect_empty(test, v);
	px_expect_data(test, f->start, SZ_128K, 1);
	px_expect_data(test, f->start + SZ_128K + SZ_64K, SPAN - SZ_128K - SZ_64K, 1);
}

/* Somebody has a page: the others come all the same, and it does when it can. */
static void held(struct kunit *test)
{
	struct px_vram *v = px_vram_create(test, &plain);
	struct px_alloc *alloc = moved(test, v);
	struct sx_fixture *f = test->priv;
	struct page *page = px_device_page(test, v, f->start + SZ_64K);

	get_page(page);
	KUNIT_EXPECT_EQ(test, drm_pagemap_evict_to_ram(&alloc->base), -EBUSY);
	px_expect_places(test, v, f->start, SPAN, PAGES - 1, 1);
	KUNIT_EXPECT_EQ(test, px_alloc_used(alloc), 1);
	put_page(page);
	KUNIT_EXPECT_EQ(test, drm_pagemap_evict_to_ram(&alloc->base), 0);
	expect_evicted(test, v, alloc);
	px_alloc_put(alloc);
}

/* The caller may have any lock that is taken under the owner's; so that is not waited for. */
static void owner_is_busy(struct kunit *test)
{
	struct px_vram *v = px_vram_create(test, &plain);
	struct px_alloc *alloc = moved(test, v);
	struct sx_fixture *f = test->priv;

	mmap_write_lock(f->mm);
	KUNIT_EXPECT_EQ(test, drm_pagemap_evict_to_ram(&alloc->base), -EBUSY);
	mmap_write_unlock(f->mm);
	px_expect_places(test, v, f->start, SPAN, 0, PAGES);
	KUNIT_EXPECT_EQ(test, drm_pagemap_evict_to_ram(&alloc->base), 0);
	expect_evicted(test, v, alloc);
	px_alloc_put(alloc);
}

static void copy_fails_with(struct kunit *test, const struct px_config *config)
{
	struct px_vram *v = px_vram_create(test, config);
	struct px_alloc *alloc = moved(test, v);
	struct sx_fixture *f = test->priv;

	px_fail_copies(v, -EIO, 10000);
	KUNIT_EXPECT_EQ(test, drm_pagemap_evict_to_ram(&alloc->base), -EBUSY);
	px_fail_copies(v, 0, 0);
	px_expect_places(test, v, f->start, SPAN, 0, PAGES);
	KUNIT_EXPECT_EQ(test, drm_pagemap_evict_to_ram(&alloc->base), 0);
	expect_evicted(test, v, alloc);
	px_alloc_put(alloc);
}

static void copy_fails(struct kunit *test)
{
	copy_fails_with(test, &plain);
}

static void copy_fails_in_runs(struct kunit *test)
{
	copy_fails_with(test, &in_runs);
}

/* The process reads what is not yet in RAM, and the eviction waits for that in the middle of it. */
static int read_other(void *arg)
{
	struct sx_fixture *f = arg;

	return px_count_wrong(f, f->start + SPAN + SZ_64K, SZ_64K, 1);
}

static void run_thread(struct px_vram *v, bool to_ram)
{
	struct px_thread *t = v->hook_arg;

	v->on_copy = NULL;
	px_thread_start(t);
	wait_for_completion(&t->done);
}

static void read_in_between(struct kunit *test)
{
	struct px_vram *v = px_vram_create(test, &plain);
	struct px_alloc *alloc = moved(test, v), *other;
	struct sx_fixture *f = test->priv;

	px_map(test, f->start + SPAN, SPAN, 1);
	other = px_move(test, v, f->start + SPAN, SPAN);
	v->hook_arg = px_thread_create(test, read_other, f);
	v->on_copy = run_thread;
	KUNIT_EXPECT_EQ(test, drm_pagemap_evict_to_ram(&alloc->base), 0);
	KUNIT_EXPECT_EQ(test, px_thread_end(v->hook_arg), 0);
	KUNIT_EXPECT_EQ(test, drm_pagemap_evict_to_ram(&other->base), 0);
	expect_evicted(test, v, alloc);
	px_expect_data(test, f->start + SPAN, SPAN, 1);
	px_alloc_put(alloc);
	px_alloc_put(other);
}

/* Unplugging ------------------------------------------------------------------------------- */

static void expect_no_device(struct kunit *test, struct px_vram *v)
{
	struct drm_svm_migrate *job = kunit_kzalloc(test, sizeof(*job), GFP_KERNEL);
	struct sx_fixture *f = test->priv;

	KUNIT_ASSERT_NOT_NULL(test, job);
	KUNIT_EXPECT_EQ(test, px_to_device(v, f->start, SPAN, NULL), -ENODEV);
	KUNIT_EXPECT_EQ(test, px_job(v, f->start, SPAN, job), -ENODEV);
	KUNIT_EXPECT_EQ(test, job->result[DRM_SVM_MOVED], 0);
	px_expect_places(test, v, f->start, SPAN, PAGES, 0);
	px_expect_empty(test, v);
}

static void unplug_with(struct kunit *test, const struct px_config *config)
{
	struct px_vram *v = px_vram_create(test, config);
	struct sx_fixture *f = test->priv;
	unsigned int i;

	/* Several allocations, one of them with little in it. */
	for (i = 0; i < 4; i++) {
		px_map(test, f->start + i * SPAN, SPAN, 1);
		px_alloc_put(px_move(test, v, f->start + i * SPAN, SPAN));
	}
	px_expect_data(test, f->start + SZ_64K, SPAN - SZ_64K, 1);
	KUNIT_EXPECT_EQ(test, drm_svm_pagemap_unplug(&v->base, 10 * MSEC_PER_SEC), 0);
	px_expect_places(test, v, f->start, 4 * SPAN, 4 * PAGES, 0);
	px_expect_empty(test, v);
	px_expect_data(test, f->start, 4 * SPAN, 1);
	expect_no_device(test, v);
	/* Once more is once too often, and harmless. */
	KUNIT_EXPECT_EQ(test, drm_svm_pagemap_unplug(&v->base, 0), 0);
}

static void unplug(struct kunit *test)
{
	unplug_with(test, &plain);
}

static void unplug_late(struct kunit *test)
{
	unplug_with(test, &late);
}

static void unplug_empty(struct kunit *test)
{
	struct px_vram *v = px_vram_create(test, &plain);
	struct sx_fixture *f = test->priv;

	KUNIT_EXPECT_EQ(test, drm_svm_pagemap_unplug(&v->base, 0), 0);
	px_map(test, f->start, SPAN, 1);
	expect_no_device(test, v);
	px_expect_data(test, f->start, SPAN, 1);
}

/* It comes to its end, if not to the one that was wished for. */
static void unplug_held(struct kunit *test)
{
	struct px_vram *v = px_vram_create(test, &plain);
	struct px_alloc *alloc = moved(test, v);
	struct sx_fixture *f = test->priv;
	struct page *page = px_device_page(test, v, f->start);

	get_page(page);
	KUNIT_EXPECT_EQ(test, drm_svm_pagemap_unplug(&v->base, 200), -EBUSY);
	px_expect_places(test, v, f->start, SPAN, PAGES - 1, 1);
	KUNIT_EXPECT_EQ(test, px_to_device(v, f->start, SPAN, NULL), -ENODEV);
	put_page(page);
	KUNIT_EXPECT_EQ(test, drm_svm_pagemap_unplug(&v->base, 10 * MSEC_PER_SEC), 0);
	expect_evicted(test, v, alloc);
	px_alloc_put(alloc);
}

/* A migration that has begun when the device goes leaves nothing behind. */
static int unplug_now(void *arg)
{
	return drm_svm_pagemap_unplug(arg, 20 * MSEC_PER_SEC);
}

static void begin_thread(struct px_vram *v, bool to_ram)
{
	v->on_copy = NULL;
	px_thread_start(v->hook_arg);
	/* Until it has begun, most likely. */
	msleep(100);
}

static void unplug_meanwhile(struct kunit *test)
{
	struct px_vram *v = px_vram_create(test, &plain);
	struct sx_fixture *f = test->priv;
	int ret;

	px_map(test, f->start, SPAN, 1);
	v->hook_arg = px_thread_create(test, unplug_now, &v->base);
	v->on_copy = begin_thread;
	ret = px_to_device(v, f->start, SPAN, NULL);
	KUNIT_EXPECT_TRUE_MSG(test, ret == 0 || ret == -ENODEV, "%d", ret);
	KUNIT_EXPECT_EQ(test, px_thread_end(v->hook_arg), 0);
	expect_no_device(test, v);
	px_expect_data(test, f->start, SPAN, 1);
}

static struct kunit_case pagemap_evict_cases[] = {
	KUNIT_CASE(whole),
	KUNIT_CASE(whole_in_runs),
	KUNIT_CASE(whole_late),
	KUNIT_CASE(whole_scattered),
	KUNIT_CASE(a_part),
	KUNIT_CASE(what_is_left),
	KUNIT_CASE(held),
	KUNIT_CASE(owner_is_busy),
	KUNIT_CASE(copy_fails),
	KUNIT_CASE(copy_fails_in_runs),
	KUNIT_CASE(read_in_between),
	KUNIT_CASE(unplug),
	KUNIT_CASE(unplug_late),
	KUNIT_CASE(unplug_empty),
	KUNIT_CASE(unplug_held),
	KUNIT_CASE(unplug_meanwhile),
	{}
};

static struct kunit_suite pagemap_evict_suite = {
	.name = "dsvm_pagemap_evict",
	.suite_init = sx_suite_init,
	.suite_exit = sx_suite_exit,
	.init = px_init,
	.exit = px_exit,
	.test_cases = pagemap_evict_cases,
};
kunit_test_suite(pagemap_evict_suite);
