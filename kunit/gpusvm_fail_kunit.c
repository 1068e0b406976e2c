// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * GPU SVM without memory: each allocation of each call that makes some fails in turn
 * (fail_nth.h), on memory of this thread's own. What needs a device's pages is for
 * tests/guest, with the stub's.
 */
#include <linux/memremap.h>
#include <linux/mman.h>

#include "fail_nth.h"
#include "gpusvm_fixture.h"

static int fail_init(struct kunit *test)
{
	int ret = fail_nth_init(test);

	return ret ?: sx_init(test);
}

static const struct sx_config one_lock = {};
static const struct sx_config many_locks = {
	.features = DRM_SVM_WINDOW_LOCKS,
	.concurrent = true,
	.devices = 2,
	.keeps_rest = true,
};

/* Some memory, its mirror, and one range of it. */
struct scene {
	struct sx_mirror *m;
	struct drm_gpusvm_range *range;
	enum drm_svm_access access;
	unsigned long start;
	struct sx_file *file;
	const struct dev_pagemap *pagemap; /* of nothing */
	enum drm_gpusvm_scan_result scanned;
	struct drm_svm_residency counts[SX_RANGE_PAGES];
};

static struct scene *scene_create(struct kunit *test, const struct sx_config *config)
{
	struct scene *s = kunit_kzalloc(test, sizeof(*s), GFP_KERNEL);
	struct sx_fixture *f = test->priv;

	KUNIT_ASSERT_NOT_NULL(test, s);
	s->m = sx_mirror_create(test, config);
	s->start = f->start;
	s->access = DRM_SVM_ACCESS_WRITE;
	sx_map(test, s->start, SX_RANGE);
	return s;
}

/* Ranges --------------------------------------------------------------------------------- */

static int acquire(void *arg)
{
	struct scene *s = arg;

	s->range = sx_get_range(s->m, s->start, s->access);
	return PTR_ERR_OR_ZERO(s->range);
}

static void expect_no_range(struct kunit *test, void *arg)
{
	struct scene *s = arg;

	KUNIT_EXPECT_TRUE(test, list_empty(&s->m->base.notifier_list));
	KUNIT_EXPECT_EQ(test, atomic_read(&s->m->ranges), 0);
}

static void remove(struct kunit *test, void *arg)
{
	struct scene *s = arg;

	KUNIT_EXPECT_EQ(test, drm_gpusvm_range_start(s->range), s->start);
	KUNIT_EXPECT_EQ(test, drm_gpusvm_range_size(s->range), SX_RANGE);
	sx_remove(s->m, s->range);
	sx_put_range(s->m, s->range);
	expect_no_range(test, s);
}

static void range_with(struct kunit *test, const char *what, const struct sx_config *config)
{
	const struct fail_nth_op op = {
		.what = what,
		.call = acquire,
		.failed = expect_no_range,
		.undo = remove,
	};
	struct scene *s = scene_create(test, config);

	/* The window and the range; and once in a process the kernel's list of windows. */
	fail_nth(test, &op, s, 2);
	sx_mirror_destroy(test, s->m);
}

static void range(struct kunit *test)
{
	range_with(test, "drm_gpusvm_range_find_or_insert()", &one_lock);
}

static void range_concurrent(struct kunit *test)
{
	range_with(test, "drm_svm_range_acquire()", &many_locks);
}

/* Pages ----------------------------------------------------------------------------------- */

static int get_pages(void *arg)
{
	struct scene *s = arg;

	return sx_collect(s->m, s->range, s->access);
}

static bool are_mapped(struct scene *s)
{
	bool valid;

	sx_lock_window(s->m, s->range);
	valid = sx_is_valid(s->m, s->range);
	sx_unlock_window(s->m, s->range);
	return valid;
}

static void unmap_all(struct scene *s)
{
	struct drm_gpusvm_pages *pages = to_sx_range(s->range)->pages;
	unsigned int i;

	for (i = 0; i < s->m->config.devices; i++)
		drm_gpusvm_free_pages(&s->m->base, &pages[i], SX_RANGE_PAGES);
}

/* What there is of one device stays, if it is another one that has got nothing. */
static void expect_not_mapped(struct kunit *test, void *arg)
{
	struct scene *s = arg;

	KUNIT_EXPECT_FALSE(test, are_mapped(s));
	unmap_all(s);
	KUNIT_EXPECT_NULL(test, to_sx_range(s->range)->pages[0].dma_addr);
	KUNIT_EXPECT_NULL(test, to_sx_range(s->range)->pages[0].dpagemap);
}

static void unmap(struct kunit *test, void *arg)
{
	struct scene *s = arg;

	KUNIT_EXPECT_TRUE(test, are_mapped(s));
	unmap_all(s);
	expect_not_mapped(test, s);
}

static void pages_with(struct kunit *test, const struct sx_config *config)
{
	static const struct fail_nth_op op = {
		.what = "drm_gpusvm_get_pages()",
		.call = get_pages,
		.failed = expect_not_mapped,
		.undo = unmap,
	};
	struct scene *s = scene_create(test, config);

	KUNIT_ASSERT_EQ(test, acquire(s), 0);
	/* The entries and the addresses; and until they are there, page tables and pages. */
	fail_nth(test, &op, s, 2 * s->m->config.devices);
	sx_put_range(s->m, s->range);
	sx_mirror_destroy(test, s->m);
}

static void pages(struct kunit *test)
{
	pages_with(test, &one_lock);
}

static void pages_of_two_devices(struct kunit *test)
{
	pages_with(test, &many_locks);
}

/* To write where they are mapped for reading: a failure leaves what there is. */
static void expect_mapped_to_read(struct kunit *test, void *arg)
{
	struct scene *s = arg;
	struct drm_gpusvm_pages *pages = to_sx_range(s->range)->pages;

	KUNIT_EXPECT_TRUE(test, are_mapped(s));
	KUNIT_ASSERT_NOT_NULL(test, pages->dma_addr);
	KUNIT_EXPECT_TRUE(test, pages->dma_addr[0].dir == DMA_TO_DEVICE);
}

static void map_to_read(struct kunit *test, void *arg)
{
	struct scene *s = arg;

	KUNIT_EXPECT_TRUE(test, are_mapped(s));
	KUNIT_EXPECT_TRUE(test, to_sx_range(s->range)->pages[0].dma_addr[0].dir == DMA_BIDIRECTIONAL);
	unmap_all(s);
	s->m->ctx.read_only = true;
	s->access = DRM_SVM_ACCESS_READ;
	KUNIT_EXPECT_EQ(test, get_pages(s), 0);
	s->m->ctx.read_only = false;
	s->access = DRM_SVM_ACCESS_WRITE;
	expect_mapped_to_read(test, s);
}

static void pages_to_write(struct kunit *test)
{
	static const struct fail_nth_op op = {
		.what = "drm_gpusvm_get_pages() of pages mapped for reading",
		.call = get_pages,
		.failed = expect_mapped_to_read,
		.undo = map_to_read,
	};
	struct scene *s = scene_create(test, &one_lock);

	KUNIT_ASSERT_EQ(test, acquire(s), 0);
	KUNIT_ASSERT_EQ(test, get_pages(s), 0);
	map_to_read(test, s);
	/* The addresses; entries of so few pages take no memory. */
	fail_nth(test, &op, s, 1);
	sx_put_range(s->m, s->range);
	sx_mirror_destroy(test, s->m);
}

/* Invalidations ------------------------------------------------------------------------------ */

static void bind(struct kunit *test, struct scene *s)
{
	KUNIT_ASSERT_EQ(test, sx_fault(s->m, s->start, s->access), 0);
	sx_expect_bound(test, s->m, s->start, SX_RANGE);
}

static int zap(void *arg)
{
	struct scene *s = arg;

	sx_file_zap(s->file, 0, SX_RANGE_PAGES);
	return 0;
}

static void bind_again(struct kunit *test, void *arg)
{
	struct scene *s = arg;

	sx_expect_unbound(test, s->m, s->start, SX_RANGE);
	sx_check(test, s->m);
	bind(test, s);
}

static void cannot_fail(struct kunit *test, void *arg)
{
	KUNIT_FAIL(test, "it has failed");
}

/* An invalidation has nobody to report a failure to. */
static void invalidating(struct kunit *test)
{
	static const struct fail_nth_op op = {
		.what = "an invalidation",
		.call = zap,
		.failed = cannot_fail,
		.undo = bind_again,
	};
	struct scene *s = scene_create(test, &many_locks);

	s->file = sx_file_create(test, 0);
	sx_map_file(test, s->start, SX_RANGE, PROT_READ | PROT_WRITE, MAP_SHARED, s->file);
	bind(test, s);
	fail_nth(test, &op, s, 0);
	sx_mirror_destroy(test, s->m);
}

/* The hole is there already. */
static int trim(void *arg)
{
	struct scene *s = arg;

	sx_bury(s->m);
	return 0;
}

/*
 * With two pieces left of it, or with one, or with none, the mirror is as the CPU has it; and
 * another hole waits. No piece is lost unless an allocation was.
 */
static void punch_again(struct kunit *test, void *arg)
{
	struct scene *s = arg;
	struct sx_fixture *f = test->priv;

	sx_expect_unbound(test, s->m, s->start + 4 * PAGE_SIZE, PAGE_SIZE);
	sx_check(test, s->m);
	KUNIT_EXPECT_TRUE(test, list_empty(&s->m->garbage));

	KUNIT_ASSERT_EQ(test, sx_munmap(f, s->start, SX_RANGE), 0);
	sx_bury(s->m);
	expect_no_range(test, s);
	sx_map(test, s->start, SX_RANGE);
	bind(test, s);
	KUNIT_ASSERT_EQ(test, sx_munmap(f, s->start + 4 * PAGE_SIZE, PAGE_SIZE), 0);
}

static void trimming(struct kunit *test)
{
	static const struct fail_nth_op op = {
		.what = "drm_svm_range_trim()",
		.call = trim,
		.failed = cannot_fail,
		.undo = punch_again,
	};
	struct scene *s = scene_create(test, &many_locks);
	struct sx_fixture *f = test->priv;

	bind(test, s);
	KUNIT_ASSERT_EQ(test, sx_munmap(f, s->start + 4 * PAGE_SIZE, PAGE_SIZE), 0);
	fail_nth(test, &op, s, 0);
	/* The last time there was memory for all. */
	KUNIT_EXPECT_GE(test, atomic_read(&s->m->splits), 1);
	sx_mirror_destroy(test, s->m);
}

/* A look ------------------------------------------------------------------------------------ */

static int look(void *arg)
{
	struct scene *s = arg;

	memset(s->counts, 0, sizeof(s->counts));
	return drm_svm_residency(s->m->fixture->mm, NULL, s->start, s->start + SX_RANGE, PAGE_SIZE,
				 s->counts);
}

static void expect_absent(struct kunit *test, void *arg)
{
	struct scene *s = arg;
	unsigned int i;

	for (i = 0; i < SX_RANGE_PAGES; i++)
		KUNIT_EXPECT_EQ(test, s->counts[i].none, 1);
}

static void residency(struct kunit *test)
{
	static const struct fail_nth_op op = {
		.what = "drm_svm_residency()",
		.call = look,
		.failed = expect_no_range,
		.undo = expect_absent,
	};
	struct scene *s = scene_create(test, &one_lock);

	fail_nth(test, &op, s, 1);
	sx_mirror_destroy(test, s->m);
}

static int scan(void *arg)
{
	struct scene *s = arg;

	s->scanned = drm_gpusvm_scan_mm(s->range, NULL, s->pagemap);
	/* It has no other way to say it. */
	return s->scanned == DRM_GPUSVM_SCAN_UNPOPULATED ? -ENOMEM : 0;
}

static void expect_ram(struct kunit *test, void *arg)
{
	struct scene *s = arg;

	KUNIT_EXPECT_EQ(test, s->scanned, DRM_GPUSVM_SCAN_SYSTEM);
}

static void expect_nothing(struct kunit *test, void *arg)
{
}

static void scanning(struct kunit *test)
{
	static const struct fail_nth_op op = {
		.what = "drm_gpusvm_scan_mm()",
		.call = scan,
		.failed = expect_nothing,
		.undo = expect_ram,
	};
	struct scene *s = scene_create(test, &one_lock);

	s->pagemap = kunit_kzalloc(test, sizeof(*s->pagemap), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, s->pagemap);
	sx_cpu_fill(test, s->start, SX_RANGE, 1);
	KUNIT_ASSERT_EQ(test, acquire(s), 0);
	fail_nth(test, &op, s, 1);
	sx_put_range(s->m, s->range);
	sx_mirror_destroy(test, s->m);
}

/* Providers ---------------------------------------------------------------------------------- */

struct provider {
	struct drm_pagemap base;
	struct drm_device *drm;
	unsigned int device_refs;
	bool initialised;
	bool destroyed;
};

static struct drm_pagemap_addr no_map(struct drm_pagemap *dpagemap, struct device *dev,
				      struct page *page, unsigned int order,
				      enum dma_data_direction dir)
{
	return drm_pagemap_addr_encode(DMA_MAPPING_ERROR, DRM_INTERCONNECT_DRIVER, order, dir);
}

static void note_destroy(struct drm_pagemap *dpagemap, bool is_atomic_or_reclaim)
{
	container_of(dpagemap, struct provider, base)->destroyed = true;
}

static const struct drm_pagemap_ops provider_ops = {
	.device_map = no_map,
	.destroy = note_destroy,
};

static int init_provider(void *arg)
{
	struct provider *p = arg;

	/* The first time, and each time after the last put. */
	return p->initialised ? drm_pagemap_reinit(&p->base) :
	       drm_pagemap_init(&p->base, NULL, p->drm, &provider_ops);
}

static void expect_not_held(struct kunit *test, void *arg)
{
	struct provider *p = arg;

	KUNIT_EXPECT_EQ(test, kref_read(&p->drm->ref), p->device_refs);
	KUNIT_EXPECT_FALSE(test, p->destroyed);
}

static void put_provider(struct kunit *test, void *arg)
{
	struct provider *p = arg;

	p->initialised = true;
	KUNIT_EXPECT_EQ(test, kref_read(&p->drm->ref), p->device_refs + 1);
	drm_pagemap_put(&p->base);
	KUNIT_EXPECT_TRUE(test, p->destroyed);
	p->destroyed = false;
	drm_svm_flush();
	expect_not_held(test, p);
}

static void provider(struct kunit *test)
{
	static const struct fail_nth_op op = {
		.what = "drm_pagemap_init() and drm_pagemap_reinit()",
		.call = init_provider,
		.failed = expect_not_held,
		.undo = put_provider,
	};
	struct provider *p = kunit_kzalloc(test, sizeof(*p), GFP_KERNEL);
	struct sx_fixture *f = test->priv;

	KUNIT_ASSERT_NOT_NULL(test, p);
	p->drm = f->drm[0];
	p->device_refs = kref_read(&p->drm->ref);
	fail_nth(test, &op, p, 1);
	KUNIT_EXPECT_TRUE(test, p->initialised);
	fail_nth(test, &op, p, 1);
}

static struct kunit_case gpusvm_fail_cases[] = {
	KUNIT_CASE(range),
	KUNIT_CASE(range_concurrent),
	KUNIT_CASE(pages),
	KUNIT_CASE(pages_of_two_devices),
	KUNIT_CASE(pages_to_write),
	KUNIT_CASE(invalidating),
	KUNIT_CASE(trimming),
	KUNIT_CASE(residency),
	KUNIT_CASE(scanning),
	KUNIT_CASE(provider),
	{}
};

static struct kunit_suite gpusvm_fail_suite = {
	.name = "dsvm_gpusvm_fail",
	.suite_init = sx_suite_init,
	.suite_exit = sx_suite_exit,
	.init = fail_init,
	.exit = sx_exit,
	.test_cases = gpusvm_fail_cases,
};
kunit_test_suite(gpusvm_fail_suite);
