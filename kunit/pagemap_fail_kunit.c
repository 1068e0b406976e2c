// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Migration without memory: each allocation of each call that makes some fails in turn
 * (fail_nth.h), the kernel's own among them. What cannot be done is not done, and no data is
 * lost: that is checked byte for byte after each.
 */
#include <linux/mman.h>
#include <linux/slab.h>

#include "fail_nth.h"
#include "pagemap_fixture.h"

static const struct px_config plain = {};
static const struct px_config in_runs = { .copies_runs = true };

/* Small: there are many rounds. */
#define SPAN ((unsigned long)SZ_128K)
/* Of huge pages, which take long on a kernel that checks all that it does. */
#define HUGE_STEP 17

static int fail_init(struct kunit *test)
{
	int ret = fail_nth_init(test);

	return ret ?: px_init(test);
}

struct scene {
	struct px_vram *v;
	struct px_vram *peer;
	struct px_alloc *alloc;
	struct drm_svm_migrate job;
	unsigned long bytes;
	unsigned int stayed;	/* pages, in rounds that did not fail */
	struct drm_pagemap_ops ops; /* of what is made */
	struct drm_pagemap *made;
};

static struct scene *scene_create(struct kunit *test, const struct px_config *config,
				  unsigned long bytes)
{
	struct scene *s = kunit_kzalloc(test, sizeof(*s), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, s);
	s->v = px_vram_create(test, config);
	s->bytes = bytes;
	px_map(test, s->v->fixture->start, bytes, 1);
	return s;
}

/* To the device ---------------------------------------------------------------------------- */

static int to_device(void *arg)
{
	struct scene *s = arg;

	return px_to_device(s->v, s->v->fixture->start, s->bytes, NULL);
}

/* All of it is in RAM; and so that the next round is like this one, nothing is left over. */
static void expect_ram(struct kunit *test, void *arg)
{
	struct scene *s = arg;
	struct sx_fixture *f = test->priv;

	px_expect_empty(test, s->v);
	if (s->peer)
		px_expect_empty(test, s->peer);
	px_expect_places(test, s->v, f->start, s->bytes, s->bytes >> PAGE_SHIFT, 0);
	px_expect_data(test, f->start, s->bytes, 1);
}

static void bring_back(struct kunit *test, void *arg)
{
	struct scene *s = arg;
	struct sx_fixture *f = test->priv;

	px_expect_places(test, s->v, f->start, s->bytes, 0, s->bytes >> PAGE_SHIFT);
	px_expect_data(test, f->start, s->bytes, 1);
	expect_ram(test, s);
}

static void migrating_with(struct kunit *test, const struct px_config *config, unsigned long bytes)
{
	static const struct fail_nth_op op = {
		.what = "drm_pagemap_migrate_to_devmem()",
		.call = to_device,
		.failed = expect_ram,
		.undo = bring_back,
	};

	/* The driver's allocation, the zdd. */
	fail_nth(test, &op, scene_create(test, config, bytes), 2);
}

static void migrating(struct kunit *test)
{
	migrating_with(test, &plain, SPAN);
}

static void migrating_in_runs(struct kunit *test)
{
	migrating_with(test, &in_runs, SPAN);
}

static void migrating_huge(struct kunit *test)
{
	migrating_with(test, &in_runs, SZ_2M);
}

/* Where there is less memory than there might be, less moves: that is not an error. */
static int job(void *arg)
{
	struct scene *s = arg;

	return px_job(s->v, s->v->fixture->start, s->bytes, &s->job);
}

static void expect_some(struct kunit *test, void *arg)
{
	struct scene *s = arg;
	struct sx_fixture *f = test->priv;
	unsigned int moved = s->job.result[DRM_SVM_MOVED];

	px_expect_places(test, s->v, f->start, s->bytes, (s->bytes >> PAGE_SHIFT) - moved, moved);
	s->stayed += (s->bytes >> PAGE_SHIFT) - moved;
	px_expect_data(test, f->start, s->bytes, 1);
	expect_ram(test, s);
}

/* It may have come to a part of it. */
static void expect_data(struct kunit *test, void *arg)
{
	struct scene *s = arg;
	struct sx_fixture *f = test->priv;

	px_expect_data(test, f->start, s->bytes, 1);
	expect_ram(test, s);
}

static void job_with(struct kunit *test, unsigned long bytes)
{
	static const struct fail_nth_op op = {
		.what = "drm_svm_migrate_to_devmem()",
		.call = job,
		.failed = expect_data,
		.undo = expect_some,
	};
	struct scene *s = scene_create(test, &in_runs, bytes);

	fail_nth(test, &op, s, 1);
	kunit_info(test, "%u pages stayed where nothing failed", s->stayed);
}

static void jobs(struct kunit *test)
{
	job_with(test, SPAN);
}

static void jobs_huge(struct kunit *test)
{
	job_with(test, SZ_4M);
}

static void from_peer(struct kunit *test, void *arg)
{
	struct scene *s = arg;
	struct sx_fixture *f = test->priv;

	px_expect_data(test, f->start, s->bytes, 1);
	expect_ram(test, s);
	KUNIT_ASSERT_EQ(test, px_to_device(s->peer, f->start, s->bytes, NULL), 0);
}

/* What is on another device is there still, or it is here. */
static void jobs_from_peer(struct kunit *test)
{
	static const struct fail_nth_op op = {
		.what = "drm_svm_migrate_to_devmem() from another device",
		.call = job,
		.failed = from_peer,
		.undo = from_peer,
	};
	const struct px_config here = { .clique = true, .copies_runs = true };
	const struct px_config there = { .clique = true, .copies_runs = true, .device = 1 };
	struct scene *s = scene_create(test, &here, SPAN);

	s->peer = px_vram_create(test, &there);
	from_peer(test, s);
	fail_nth(test, &op, s, 1);
}

/* Back ------------------------------------------------------------------------------------- */

/* khugepaged may have the owner's mmap_lock for longer than an eviction tries to get it. */
static int evict_patiently(struct drm_pagemap_devmem *devmem)
{
	unsigned int tries = 50;
	int ret;

	do {
		ret = drm_pagemap_evict_to_ram(devmem);
	} while (ret == -EBUSY && --tries);
	return ret;
}

static int evict(void *arg)
{
	struct scene *s = arg;

	return evict_patiently(&s->alloc->base);
}

static void fill(struct kunit *test, struct scene *s)
{
	struct sx_fixture *f = test->priv;

	KUNIT_ASSERT_EQ(test, px_to_device(s->v, f->start, s->bytes, &s->alloc), 0);
	px_expect_places(test, s->v, f->start, s->bytes, 0, s->bytes >> PAGE_SHIFT);
}

/* What it could not bring it leaves there. */
static void evict_again(struct kunit *test, void *arg)
{
	struct scene *s = arg;

	KUNIT_EXPECT_EQ(test, evict_patiently(&s->alloc->base), 0);
	px_alloc_put(s->alloc);
	expect_ram(test, s);
	fill(test, s);
}

static void evicting_with(struct kunit *test, const struct px_config *config, unsigned long bytes)
{
	const struct fail_nth_op op = {
		.what = "drm_pagemap_evict_to_ram()",
		.call = evict,
		.error = -ENOSPC,
		.step = bytes < SZ_2M ? 1 : HUGE_STEP,
		.failed = evict_again,
		.undo = evict_again,
	};
	struct scene *s = scene_create(test, config, bytes);

	fill(test, s);
	/* What fails is asked for again, so with one failure there need not be an error. */
	fail_nth(test, &op, s, 0);
	px_alloc_put(s->alloc);
}

static void evicting(struct kunit *test)
{
	evicting_with(test, &plain, SPAN);
}

/* Without a huge page in RAM, too. */
static void evicting_huge(struct kunit *test)
{
	evicting_with(test, &in_runs, SZ_2M);
}

/* The kernel's own access is refused where a user's begins again: see VM_FAULT_OOM. */
static int touch(void *arg)
{
	struct scene *s = arg;
	u32 value;

	return sx_cpu_read(s->v->fixture, s->v->fixture->start + SZ_64K, &value);
}

/* With all of it there still, or some. */
static void touch_again(struct kunit *test, void *arg)
{
	struct scene *s = arg;
	struct sx_fixture *f = test->priv;

	KUNIT_EXPECT_EQ(test, px_counters(s->v).fault_lost, 0);
	px_expect_data(test, f->start, s->bytes, 1);
	px_alloc_put(s->alloc);
	expect_ram(test, s);
	fill(test, s);
}

static void touching_with(struct kunit *test, const struct px_config *config, unsigned long bytes)
{
	const struct fail_nth_op op = {
		.what = "a CPU fault",
		.call = touch,
		.error = -EFAULT,
		.step = bytes < SZ_2M ? 1 : HUGE_STEP,
		.failed = touch_again,
		.undo = touch_again,
	};
	struct scene *s = scene_create(test, config, bytes);

	fill(test, s);
	fail_nth(test, &op, s, 0);
	px_alloc_put(s->alloc);
}

static void touching(struct kunit *test)
{
	touching_with(test, &plain, SPAN);
}

static void touching_huge(struct kunit *test)
{
	touching_with(test, &in_runs, SZ_2M);
}

static int unplug(void *arg)
{
	struct scene *s = arg;

	return drm_svm_pagemap_unplug(&s->v->base, 20 * MSEC_PER_SEC);
}

/* For the next round there has to be another device. */
static void unplugged(struct kunit *test, void *arg)
{
	struct scene *s = arg;

	expect_ram(test, s);
	px_alloc_put(s->alloc);
	px_vram_destroy(test, s->v);
	s->v = px_vram_create(test, &plain);
	fill(test, s);
}

static void cannot_fail(struct kunit *test, void *arg)
{
	KUNIT_FAIL(test, "it has failed");
}

/* There is nobody who could try it again. */
static void unplugging(struct kunit *test)
{
	static const struct fail_nth_op op = {
		.what = "drm_svm_pagemap_unplug()",
		.call = unplug,
		.failed = cannot_fail,
		.undo = unplugged,
	};
	struct scene *s = scene_create(test, &plain, SPAN);

	fill(test, s);
	fail_nth(test, &op, s, 0);
	px_alloc_put(s->alloc);
}

/* Providers -------------------------------------------------------------------------------- */

static int create(void *arg)
{
	struct scene *s = arg;

	s->made = drm_pagemap_create(s->v->fixture->drm[0], &s->v->pagemap, &s->ops);
	return PTR_ERR_OR_ZERO(s->made);
}

static void put(struct kunit *test, void *arg)
{
	struct scene *s = arg;

	drm_pagemap_put(s->made);
	drm_svm_flush();
}

static void expect_not_held(struct kunit *test, void *arg)
{
	struct sx_fixture *f = test->priv;

	/* By this provider; the other one is the scene's. */
	KUNIT_EXPECT_EQ(test, kref_read(&f->drm[0]->ref), 2);
}

static void creating(struct kunit *test)
{
	static const struct fail_nth_op op = {
		.what = "drm_pagemap_create()",
		.call = create,
		.failed = expect_not_held,
		.undo = put,
	};
	struct scene *s = scene_create(test, &plain, SPAN);

	s->ops.device_map = s->v->ops.device_map;
	fail_nth(test, &op, s, 2);
}

static struct drm_pagemap_peer peer;
static DRM_PAGEMAP_OWNER_LIST_DEFINE(owners);

static bool reaches_none(struct drm_pagemap_peer *a, struct drm_pagemap_peer *b)
{
	return false;
}

static int join(void *arg)
{
	return drm_pagemap_acquire_owner(&peer, &owners, reaches_none);
}

static void expect_no_peer(struct kunit *test, void *arg)
{
	KUNIT_EXPECT_TRUE(test, list_empty(&owners.peers));
	KUNIT_EXPECT_NULL(test, peer.owner);
}

static void leave(struct kunit *test, void *arg)
{
	drm_pagemap_release_owner(&peer);
	expect_no_peer(test, arg);
}

static void joining(struct kunit *test)
{
	static const struct fail_nth_op op = {
		.what = "drm_pagemap_acquire_owner()",
		.call = join,
		.failed = expect_no_peer,
		.undo = leave,
	};

	memset(&peer, 0, sizeof(peer));
	fail_nth(test, &op, NULL, 1);
}

/* With the devres of the device, which it is released with. */
static int create_cache(void *arg)
{
	struct device *dev = ((struct sx_fixture *)arg)->parents[0];
	struct drm_pagemap_shrinker *shrinker;
	struct drm_pagemap_cache *cache;

	if (!devres_open_group(dev, arg, GFP_KERNEL))
		return -ENOMEM;
	shrinker = drm_pagemap_shrinker_create_devm(((struct sx_fixture *)arg)->drm[0]);
	cache = IS_ERR(shrinker) ? ERR_CAST(shrinker) : drm_pagemap_cache_create_devm(shrinker);
	if (IS_ERR(cache))
		devres_release_group(dev, arg);
	return PTR_ERR_OR_ZERO(cache);
}

static void nothing_left(struct kunit *test, void *arg)
{
	struct sx_fixture *f = arg;

	KUNIT_EXPECT_EQ(test, kref_read(&f->drm[0]->ref), 1);
}

static void release_cache(struct kunit *test, void *arg)
{
	struct sx_fixture *f = arg;

	devres_release_group(f->parents[0], arg);
	nothing_left(test, arg);
}

static void caches(struct kunit *test)
{
	static const struct fail_nth_op op = {
		.what = "drm_pagemap_shrinker_create_devm() and drm_pagemap_cache_create_devm()",
		.call = create_cache,
		.failed = nothing_left,
		.undo = release_cache,
	};

	/* Two objects, their actions, the kernel's shrinker. */
	fail_nth(test, &op, test->priv, 5);
}

static struct kunit_case pagemap_fail_cases[] = {
	KUNIT_CASE(migrating),
	KUNIT_CASE(migrating_in_runs),
	KUNIT_CASE(migrating_huge),
	KUNIT_CASE(jobs),
	KUNIT_CASE(jobs_huge),
	KUNIT_CASE(jobs_from_peer),
	KUNIT_CASE(evicting),
	KUNIT_CASE(evicting_huge),
	KUNIT_CASE(touching),
	KUNIT_CASE(touching_huge),
	KUNIT_CASE(unplugging),
	KUNIT_CASE(creating),
	KUNIT_CASE(joining),
	KUNIT_CASE(caches),
	{}
};

static struct kunit_suite pagemap_fail_suite = {
	.name = "dsvm_pagemap_fail",
	.suite_init = sx_suite_init,
	.suite_exit = sx_suite_exit,
	.init = fail_init,
	.exit = px_exit,
	.test_cases = pagemap_fail_cases,
};
kunit_test_suite(pagemap_fail_suite);
