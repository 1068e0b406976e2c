// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Around providers: the cache of idle ones, the shrinker that lets them go, and who has an owner
 * in common.
 *
 * The providers here have no memory. What shrinks them is the kernel, told to by the file that an
 * administrator would use for it, and the device goes as far as its devres goes.
 */
#include <linux/delay.h>
#include <linux/device.h>
#include <linux/fs.h>
#include <linux/kthread.h>
#include <linux/slab.h>

#include <drm/drm_drv.h>

#include "pagemap_fixture.h"

/* Suites run one at a time, and so do cases. */
static struct {
	struct sx_fixture *fixture;
	struct drm_pagemap_shrinker *shrinker;
	struct drm_pagemap_cache *cache;
	bool has_devres;
	atomic_t made;
	atomic_t destroyed;
	atomic_t alive;
} util;

static struct file *drop_caches;

struct provider {
	struct drm_pagemap base;
	struct dev_pagemap pagemap;
};

static struct drm_pagemap_addr no_map(struct drm_pagemap *dpagemap, struct device *dev,
				      struct page *page, unsigned int order,
				      enum dma_data_direction dir)
{
	return drm_pagemap_addr_encode(DMA_MAPPING_ERROR, DRM_INTERCONNECT_DRIVER, order, dir);
}

static void destroy(struct drm_pagemap *dpagemap, bool is_atomic_or_reclaim)
{
	atomic_dec(&util.alive);
	atomic_inc(&util.destroyed);
	kfree(container_of(dpagemap, struct provider, base));
}

static const struct drm_pagemap_ops provider_ops = {
	.device_map = no_map,
	.destroy = destroy,
};

static struct drm_pagemap *make(void)
{
	struct provider *p = kzalloc(sizeof(*p), GFP_KERNEL);
	int ret;

	if (!p)
		return ERR_PTR(-ENOMEM);
	ret = drm_pagemap_init(&p->base, &p->pagemap, util.fixture->drm[0], &provider_ops);
	if (ret) {
		kfree(p);
		return ERR_PTR(ret);
	}
	atomic_inc(&util.made);
	atomic_inc(&util.alive);
	return &p->base;
}

/* As the head of drm/drm_pagemap_util.h says it. */
static struct drm_pagemap *look_up(void)
{
	struct drm_pagemap *dpagemap;
	int ret = drm_pagemap_cache_lock_lookup(util.cache);

	if (ret)
		return ERR_PTR(ret);
	dpagemap = drm_pagemap_get_from_cache(util.cache);
	if (!dpagemap) {
		dpagemap = make();
		if (!IS_ERR(dpagemap))
			drm_pagemap_cache_set_pagemap(util.cache, dpagemap);
	}
	drm_pagemap_cache_unlock_lookup(util.cache);
	return dpagemap;
}

static struct drm_pagemap *get(struct kunit *test)
{
	struct drm_pagemap *dpagemap = look_up();

	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, dpagemap);
	return dpagemap;
}

static void expect_counts(struct kunit *test, int made, int destroyed)
{
	drm_svm_flush();
	KUNIT_EXPECT_EQ(test, atomic_read(&util.made), made);
	KUNIT_EXPECT_EQ(test, atomic_read(&util.destroyed), destroyed);
}

/* Memory is short, as far as slab objects go. */
static ssize_t shrink(void)
{
	loff_t pos = 0;

	return kernel_write(drop_caches, "2\n", 2, &pos);
}

/* The device is removed: what it had of devres goes. */
static void remove_device(void)
{
	if (util.has_devres)
		devres_release_group(util.fixture->parents[0], &util);
	util.has_devres = false;
}

/* Opened by the process that runs the suite: the threads of the cases see no files. */
static int util_suite_init(struct kunit_suite *suite)
{
	loff_t pos = 0;

	drop_caches = filp_open("/proc/sys/vm/drop_caches", O_WRONLY, 0);
	/* Says nothing of it in the log from now on. */
	if (!IS_ERR(drop_caches))
		kernel_write(drop_caches, "4\n", 2, &pos);
	return sx_suite_init(suite);
}

static void util_suite_exit(struct kunit_suite *suite)
{
	if (!IS_ERR(drop_caches))
		filp_close(drop_caches, NULL);
	sx_suite_exit(suite);
}

static int util_init(struct kunit *test)
{
	struct sx_fixture *f;
	int ret;

	if (IS_ERR(drop_caches))
		kunit_skip(test, "no /proc/sys/vm/drop_caches, which shrinks what there is");
	ret = sx_init(test);
	if (ret)
		return ret;
	f = test->priv;
	memset(&util, 0, sizeof(util));
	util.fixture = f;

	util.has_devres = devres_open_group(f->parents[0], &util, GFP_KERNEL);
	if (!util.has_devres)
		return -ENOMEM;
	util.shrinker = drm_pagemap_shrinker_create_devm(f->drm[0]);
	if (IS_ERR(util.shrinker))
		return PTR_ERR(util.shrinker);
	util.cache = drm_pagemap_cache_create_devm(util.shrinker);
	return PTR_ERR_OR_ZERO(util.cache);
}

static void util_exit(struct kunit *test)
{
	if (!test->priv)
		return;
	remove_device();
	drm_svm_flush();
	KUNIT_EXPECT_EQ(test, atomic_read(&util.alive), 0);
	sx_exit(test);
}

/* The cache -------------------------------------------------------------------------------- */

static void active(struct kunit *test)
{
	struct drm_pagemap *first, *second;

	KUNIT_EXPECT_NULL(test, drm_pagemap_get_from_cache_if_active(util.cache));
	first = get(test);
	expect_counts(test, 1, 0);
	second = get(test);
	KUNIT_EXPECT_PTR_EQ(test, second, first);
	KUNIT_EXPECT_EQ(test, kref_read(&first->ref), 2);
	second = drm_pagemap_get_from_cache_if_active(util.cache);
	KUNIT_EXPECT_PTR_EQ(test, second, first);
	KUNIT_EXPECT_EQ(test, kref_read(&first->ref), 3);
	drm_pagemap_put(first);
	drm_pagemap_put(first);
	drm_pagemap_put(first);
	expect_counts(test, 1, 0);
}

/* It is kept, and the device is not kept by it. */
static void idle(struct kunit *test)
{
	unsigned int refs = kref_read(&util.fixture->drm[0]->ref), i;
	struct drm_pagemap *first = get(test);

	for (i = 0; i < 3; i++) {
		KUNIT_EXPECT_EQ(test, kref_read(&util.fixture->drm[0]->ref), refs + 1);
		drm_pagemap_put(first);
		expect_counts(test, 1, 0);
		KUNIT_EXPECT_EQ(test, kref_read(&util.fixture->drm[0]->ref), refs);
		KUNIT_EXPECT_NULL(test, drm_pagemap_get_from_cache_if_active(util.cache));
		KUNIT_EXPECT_PTR_EQ(test, get(test), first);
	}
	drm_pagemap_put(first);
	expect_counts(test, 1, 0);
}

static void uncached(struct kunit *test)
{
	struct drm_pagemap *dpagemap = make();

	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, dpagemap);
	drm_pagemap_put(dpagemap);
	expect_counts(test, 1, 1);
}

/* The shrinker ----------------------------------------------------------------------------- */

static void shrunk(struct kunit *test)
{
	drm_pagemap_put(get(test));
	expect_counts(test, 1, 0);
	KUNIT_ASSERT_EQ(test, shrink(), 2);
	expect_counts(test, 1, 1);
	/* Nothing is left, and that is known. */
	KUNIT_ASSERT_EQ(test, shrink(), 2);
	expect_counts(test, 1, 1);

	drm_pagemap_put(get(test));
	expect_counts(test, 2, 1);
	KUNIT_ASSERT_EQ(test, shrink(), 2);
	expect_counts(test, 2, 2);
}

static void shrunk_while_active(struct kunit *test)
{
	struct drm_pagemap *dpagemap = get(test);

	KUNIT_ASSERT_EQ(test, shrink(), 2);
	expect_counts(test, 1, 0);
	/* Nor after it has been idle. */
	drm_pagemap_put(dpagemap);
	KUNIT_EXPECT_PTR_EQ(test, get(test), dpagemap);
	KUNIT_ASSERT_EQ(test, shrink(), 2);
	expect_counts(test, 1, 0);
	drm_pagemap_put(dpagemap);
	KUNIT_ASSERT_EQ(test, shrink(), 2);
	expect_counts(test, 1, 1);
}

/* The device goes -------------------------------------------------------------------------- */

static void removed_while_idle(struct kunit *test)
{
	drm_pagemap_put(get(test));
	drm_dev_unplug(util.fixture->drm[0]);
	remove_device();
	expect_counts(test, 1, 1);
}

/* It outlives the cache, which is not asked any more. */
static void removed_while_active(struct kunit *test)
{
	struct drm_pagemap *dpagemap = get(test);

	drm_dev_unplug(util.fixture->drm[0]);
	remove_device();
	expect_counts(test, 1, 0);
	drm_pagemap_put(dpagemap);
	expect_counts(test, 1, 1);
}

/* Idle between the one and the other: the cache is there still, and takes it along. */
static void put_while_removed(struct kunit *test)
{
	struct drm_pagemap *dpagemap = get(test);

	drm_dev_unplug(util.fixture->drm[0]);
	drm_pagemap_put(dpagemap);
	remove_device();
	expect_counts(test, 1, 1);
}

/* Everything at once ----------------------------------------------------------------------- */

#define STORM_THREADS 4
#define STORM_MS (IS_ENABLED(CONFIG_PROVE_LOCKING) ? 4000 : 1000)

struct storm {
	struct task_struct *task;
	int (*act)(void);
	unsigned int acts;
	int error;
};

/* While it is in use everybody gets the same. */
static int look_up_and_put(void)
{
	struct drm_pagemap *first = look_up(), *second = look_up();
	int ret = PTR_ERR_OR_ZERO(first) ?: PTR_ERR_OR_ZERO(second);

	if (!ret && first != second)
		ret = -EINVAL;
	if (!IS_ERR(first))
		drm_pagemap_put(first);
	if (!IS_ERR(second))
		drm_pagemap_put(second);
	return ret;
}

static int get_if_active(void)
{
	drm_pagemap_put(drm_pagemap_get_from_cache_if_active(util.cache));
	return 0;
}

static int shrink_once(void)
{
	ssize_t ret = shrink();

	return ret == 2 ? 0 : ret;
}

static int storm_main(void *data)
{
	struct storm *s = data;

	while (!kthread_should_stop()) {
		int ret = s->act();

		/* To be stopped is a signal to who waits for the lock of a look-up. */
		if (ret == -EINTR && kthread_should_stop())
			break;
		s->error = ret ?: s->error;
		s->acts++;
		cond_resched();
	}
	return 0;
}

/* No two are in use at a time; and what was made is destroyed, or still there, to be found. */
static void storm(struct kunit *test)
{
	int (*const acts[STORM_THREADS])(void) = {
		look_up_and_put, look_up_and_put, get_if_active, shrink_once,
	};
	struct storm *threads = kunit_kcalloc(test, STORM_THREADS, sizeof(*threads), GFP_KERNEL);
	unsigned int i;

	KUNIT_ASSERT_NOT_NULL(test, threads);
	for (i = 0; i < STORM_THREADS; i++) {
		threads[i].act = acts[i];
		threads[i].task = kthread_run(storm_main, &threads[i], "drm_svm_kunit/%u", i);
		KUNIT_EXPECT_NOT_ERR_OR_NULL(test, threads[i].task);
	}
	msleep(STORM_MS);
	for (i = 0; i < STORM_THREADS; i++)
		if (!IS_ERR(threads[i].task))
			kthread_stop(threads[i].task);

	for (i = 0; i < STORM_THREADS; i++) {
		KUNIT_EXPECT_EQ_MSG(test, threads[i].error, 0, "thread %u", i);
		KUNIT_EXPECT_GT_MSG(test, threads[i].acts, 0, "thread %u", i);
	}
	KUNIT_EXPECT_LE(test, atomic_read(&util.alive), 1);
	KUNIT_EXPECT_EQ(test, atomic_read(&util.made) - atomic_read(&util.destroyed),
			atomic_read(&util.alive));
	/* They met. */
	KUNIT_EXPECT_GT(test, atomic_read(&util.destroyed), 0);
	kunit_info(test, "%u and %u look-ups, %d made, %d destroyed, shrunk %u times",
		   threads[0].acts, threads[1].acts, atomic_read(&util.made),
		   atomic_read(&util.destroyed), threads[3].acts);
}

/* Somebody makes it: who comes then waits, and finds it. */
static int find(void *arg)
{
	struct drm_pagemap **found = arg;

	*found = look_up();
	return 0;
}

static void two_look_ups(struct kunit *test)
{
	struct drm_pagemap **found = kunit_kzalloc(test, sizeof(*found), GFP_KERNEL);
	struct px_thread *t = px_thread_create(test, find, found);
	struct drm_pagemap *dpagemap;

	KUNIT_ASSERT_NOT_NULL(test, found);
	KUNIT_ASSERT_EQ(test, drm_pagemap_cache_lock_lookup(util.cache), 0);
	KUNIT_EXPECT_NULL(test, drm_pagemap_get_from_cache(util.cache));
	px_thread_start(t);
	KUNIT_EXPECT_EQ(test, wait_for_completion_timeout(&t->done, HZ / 10), 0);
	dpagemap = make();
	if (!IS_ERR(dpagemap))
		drm_pagemap_cache_set_pagemap(util.cache, dpagemap);
	drm_pagemap_cache_unlock_lookup(util.cache);

	KUNIT_EXPECT_EQ(test, px_thread_end(t), 0);
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, dpagemap);
	KUNIT_EXPECT_PTR_EQ(test, *found, dpagemap);
	KUNIT_EXPECT_EQ(test, kref_read(&dpagemap->ref), 2);
	drm_pagemap_put(dpagemap);
	drm_pagemap_put(dpagemap);
	expect_counts(test, 1, 0);
}

/* Owners ----------------------------------------------------------------------------------- */

#define PEERS 5

/* Who reaches whom: a string for each, a letter for each that it reaches. */
static const char *const *reach;
static struct drm_pagemap_peer peers[PEERS];

static bool reaches(struct drm_pagemap_peer *a, struct drm_pagemap_peer *b)
{
	return strchr(reach[a - peers], 'a' + (b - peers));
}

struct topology {
	const char *what;
	const char *reach[PEERS];
	/* The clique of each that comes of it, if they join in this order. */
	const char *cliques;
};

static const struct topology topologies[] = {
	{ "all", { "bcde", "acde", "abde", "abce", "abcd" }, "aaaaa" },
	{ "nobody", { "", "", "", "", "" }, "abcde" },
	{ "pairs", { "b", "a", "d", "c", "" }, "aacce" },
	{ "a chain", { "b", "ac", "bd", "ce", "d" }, "aacce" },
	{ "a star", { "bcde", "a", "a", "a", "a" }, "aacde" },
	{ "the second clique", { "b", "a", "de", "ce", "cd" }, "aaccc" },
	{ "a part of each", { "be", "a", "de", "c", "ac" }, "aacce" },
};

static void join(struct kunit *test, struct drm_pagemap_owner_list *list, unsigned int i)
{
	KUNIT_ASSERT_EQ(test, drm_pagemap_acquire_owner(&peers[i], list, reaches), 0);
	KUNIT_ASSERT_NOT_NULL(test, peers[i].owner);
	KUNIT_EXPECT_PTR_EQ(test, peers[i].list, list);
}

/* Those of one clique have one owner, those of two have two; and each reaches all of its own. */
static void expect_cliques(struct kunit *test, const struct topology *t)
{
	unsigned int i, k;

	for (i = 0; i < PEERS; i++) {
		for (k = 0; k < i; k++) {
			bool together = peers[i].owner == peers[k].owner;

			KUNIT_EXPECT_EQ_MSG(test, together, t->cliques[i] == t->cliques[k],
					    "%s: %u and %u", t->what, i, k);
			KUNIT_EXPECT_TRUE_MSG(test, !together || reaches(&peers[i], &peers[k]),
					      "%s: %u and %u", t->what, i, k);
		}
	}
}

static void leave_all(struct kunit *test, struct drm_pagemap_owner_list *list)
{
	unsigned int i;

	for (i = 0; i < PEERS; i++)
		drm_pagemap_release_owner(&peers[i]);
	KUNIT_EXPECT_TRUE(test, list_empty(&list->peers));
}

static void owners(struct kunit *test)
{
	static DRM_PAGEMAP_OWNER_LIST_DEFINE(list);
	unsigned int i, k;

	for (i = 0; i < ARRAY_SIZE(topologies); i++) {
		memset(peers, 0, sizeof(peers));
		reach = topologies[i].reach;
		for (k = 0; k < PEERS; k++)
			join(test, &list, k);
		expect_cliques(test, &topologies[i]);
		leave_all(test, &list);
	}
}

static void owners_rejoin(struct kunit *test)
{
	static DRM_PAGEMAP_OWNER_LIST_DEFINE(list);
	struct drm_pagemap_owner *owner;
	unsigned int i;

	memset(peers, 0, sizeof(peers));
	/* Not a member of anything. */
	drm_pagemap_release_owner(&peers[0]);
	reach = topologies[0].reach;
	for (i = 0; i < PEERS; i++)
		join(test, &list, i);
	owner = peers[1].owner;

	drm_pagemap_release_owner(&peers[0]);
	KUNIT_EXPECT_NULL(test, peers[0].owner);
	drm_pagemap_release_owner(&peers[0]);
	KUNIT_EXPECT_PTR_EQ(test, peers[1].owner, owner);
	join(test, &list, 0);
	KUNIT_EXPECT_PTR_EQ(test, peers[0].owner, owner);
	leave_all(test, &list);

	/* The clique has gone with the last of them, and comes again with the first. */
	join(test, &list, 0);
	join(test, &list, 1);
	KUNIT_EXPECT_PTR_EQ(test, peers[1].owner, peers[0].owner);
	drm_pagemap_release_owner(&peers[0]);
	drm_pagemap_release_owner(&peers[1]);
	KUNIT_EXPECT_TRUE(test, list_empty(&list.peers));
}

static struct kunit_case pagemap_util_cases[] = {
	KUNIT_CASE(active),
	KUNIT_CASE(idle),
	KUNIT_CASE(uncached),
	KUNIT_CASE(shrunk),
	KUNIT_CASE(shrunk_while_active),
	KUNIT_CASE(removed_while_idle),
	KUNIT_CASE(removed_while_active),
	KUNIT_CASE(put_while_removed),
	KUNIT_CASE(two_look_ups),
	KUNIT_CASE(storm),
	KUNIT_CASE(owners),
	KUNIT_CASE(owners_rejoin),
	{}
};

static struct kunit_suite pagemap_util_suite = {
	.name = "dsvm_pagemap_util",
	.suite_init = util_suite_init,
	.suite_exit = util_suite_exit,
	.init = util_init,
	.exit = util_exit,
	.test_cases = pagemap_util_cases,
};
kunit_test_suite(pagemap_util_suite);
