// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * GPU SVM without memory: each allocation of each call that makes some fails in turn
 * (fail_nth.h), on memory of this thread's own. What needs a device's pages is for
 * tests/guest, with the stub's.
 */
#include <linux/dma-mapping.h>
#include <linux/mman.h>
#include <linux/sched.h>
#include <linux/sizes.h>

#include <drm/drm_gpusvm.h>
#include <drm/drm_pagemap.h>
#include <drm/drm_svm.h>

#include "compat/kunit_compat.h"
#include "fail_nth.h"
#include "gpuvm_fixture.h"

#define PAGES 16
#define BYTES (PAGES * PAGE_SIZE)

static int fail_init(struct kunit *test)
{
	int ret = fail_nth_init(test);

	return ret ?: fixture_init(test);
}

/* Some memory, and its mirror in a driver that has one range at a time. */
struct scene {
	struct drm_device *drm;
	struct drm_gpusvm gpusvm;
	struct drm_gpusvm_range *range;
	struct drm_gpusvm_pages pages;
	struct drm_gpusvm_ctx ctx;
	unsigned long start;
	struct drm_svm_residency counts[PAGES];
};

static void invalidate(struct drm_gpusvm *gpusvm, struct drm_gpusvm_notifier *notifier,
		       const struct mmu_notifier_range *mmu_range)
{
	struct scene *s = container_of(gpusvm, struct scene, gpusvm);
	const struct drm_gpusvm_ctx ctx = { .in_notifier = true };

	drm_gpusvm_unmap_pages(gpusvm, &s->pages, PAGES, &ctx);
}

static const struct drm_gpusvm_ops gpusvm_ops = {
	.invalidate = invalidate,
};

static const unsigned long chunk_sizes[] = { BYTES, PAGE_SIZE };

static struct scene *scene_create(struct kunit *test)
{
	struct scene *s = kunit_kzalloc(test, sizeof(*s), GFP_KERNEL);
	struct fixture *f = test->priv;

	KUNIT_ASSERT_NOT_NULL(test, s);
	s->drm = f->drm;
	KUNIT_ASSERT_EQ(test, dma_coerce_mask_and_coherent(s->drm->dev, DMA_BIT_MASK(64)), 0);

	/* Twice as much, so that there is room to begin where a range may. */
	s->start = compat_kunit_mmap(test, 2 * BYTES);
	if (!s->start)
		kunit_skip(test, "cases have no memory of their own on this kernel");
	s->start = ALIGN(s->start, BYTES);
	KUNIT_ASSERT_EQ(test, drm_gpusvm_init(&s->gpusvm, "drm_svm_kunit", current->mm, 0,
					      TASK_SIZE, SZ_2M, &gpusvm_ops, chunk_sizes,
					      ARRAY_SIZE(chunk_sizes)), 0);
	drm_gpusvm_init_pages(&s->pages, s->drm);
	return s;
}

/* Ranges --------------------------------------------------------------------------------- */

static int insert(void *arg)
{
	struct scene *s = arg;

	s->range = drm_gpusvm_range_find_or_insert(&s->gpusvm, s->start, 0, TASK_SIZE, &s->ctx);
	return PTR_ERR_OR_ZERO(s->range);
}

static void expect_no_range(struct kunit *test, void *arg)
{
	struct scene *s = arg;

	KUNIT_EXPECT_TRUE(test, list_empty(&s->gpusvm.notifier_list));
	drm_gpusvm_notifier_lock(&s->gpusvm);
	KUNIT_EXPECT_FALSE(test, drm_gpusvm_has_mapping(&s->gpusvm, 0, TASK_SIZE));
	drm_gpusvm_notifier_unlock(&s->gpusvm);
}

static void remove(struct kunit *test, void *arg)
{
	struct scene *s = arg;

	KUNIT_EXPECT_EQ(test, drm_gpusvm_range_start(s->range), s->start);
	KUNIT_EXPECT_EQ(test, drm_gpusvm_range_size(s->range), BYTES);
	drm_gpusvm_range_remove(&s->gpusvm, s->range);
	expect_no_range(test, s);
}

static void range(struct kunit *test)
{
	static const struct fail_nth_op op = {
		.what = "drm_gpusvm_range_find_or_insert()",
		.call = insert,
		.failed = expect_no_range,
		.undo = remove,
	};
	struct scene *s = scene_create(test);

	/* The window and the range; and once in a process the kernel's list of windows. */
	fail_nth(test, &op, s, 2);
	drm_gpusvm_fini(&s->gpusvm);
}

/* Pages ----------------------------------------------------------------------------------- */

static int get_pages(void *arg)
{
	struct scene *s = arg;

	return drm_gpusvm_get_pages(&s->gpusvm, &s->pages, current->mm, &s->range->notifier->notifier,
				    s->start, s->start + BYTES, &s->ctx);
}

static bool are_mapped(struct scene *s)
{
	bool valid;

	drm_gpusvm_notifier_lock(&s->gpusvm);
	valid = drm_gpusvm_pages_valid(&s->gpusvm, &s->pages);
	drm_gpusvm_notifier_unlock(&s->gpusvm);
	return valid;
}

static void expect_not_mapped(struct kunit *test, void *arg)
{
	struct scene *s = arg;

	KUNIT_EXPECT_FALSE(test, are_mapped(s));
	KUNIT_EXPECT_NULL(test, s->pages.dma_addr);
	KUNIT_EXPECT_NULL(test, s->pages.dpagemap);
}

static void unmap(struct kunit *test, void *arg)
{
	struct scene *s = arg;

	KUNIT_EXPECT_TRUE(test, are_mapped(s));
	drm_gpusvm_free_pages(&s->gpusvm, &s->pages, PAGES);
	expect_not_mapped(test, s);
}

static void pages(struct kunit *test)
{
	static const struct fail_nth_op op = {
		.what = "drm_gpusvm_get_pages()",
		.call = get_pages,
		.failed = expect_not_mapped,
		.undo = unmap,
	};
	struct scene *s = scene_create(test);

	KUNIT_ASSERT_EQ(test, insert(s), 0);
	/* The entries and the addresses; and until they are there, page tables and pages. */
	fail_nth(test, &op, s, 2);
	drm_gpusvm_range_remove(&s->gpusvm, s->range);
	drm_gpusvm_fini(&s->gpusvm);
}

/* To write where they are mapped for reading: a failure leaves what there is. */
static void expect_mapped_to_read(struct kunit *test, void *arg)
{
	struct scene *s = arg;

	KUNIT_EXPECT_TRUE(test, are_mapped(s));
	KUNIT_ASSERT_NOT_NULL(test, s->pages.dma_addr);
	KUNIT_EXPECT_TRUE(test, s->pages.dma_addr[0].dir == DMA_TO_DEVICE);
}

static void map_to_read(struct kunit *test, void *arg)
{
	struct scene *s = arg;

	KUNIT_EXPECT_TRUE(test, are_mapped(s));
	KUNIT_EXPECT_TRUE(test, s->pages.dma_addr[0].dir == DMA_BIDIRECTIONAL);
	drm_gpusvm_free_pages(&s->gpusvm, &s->pages, PAGES);
	s->ctx.read_only = true;
	KUNIT_EXPECT_EQ(test, get_pages(s), 0);
	s->ctx.read_only = false;
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
	struct scene *s = scene_create(test);

	KUNIT_ASSERT_EQ(test, insert(s), 0);
	KUNIT_ASSERT_EQ(test, get_pages(s), 0);
	map_to_read(test, s);
	/* The entries and the addresses. */
	fail_nth(test, &op, s, 2);
	drm_gpusvm_free_pages(&s->gpusvm, &s->pages, PAGES);
	drm_gpusvm_range_remove(&s->gpusvm, s->range);
	drm_gpusvm_fini(&s->gpusvm);
}

/* A look ------------------------------------------------------------------------------------ */

static int look(void *arg)
{
	struct scene *s = arg;

	memset(s->counts, 0, sizeof(s->counts));
	return drm_svm_residency(current->mm, NULL, s->start, s->start + BYTES, PAGE_SIZE,
				 s->counts);
}

static void expect_absent(struct kunit *test, void *arg)
{
	struct scene *s = arg;
	unsigned int i;

	for (i = 0; i < PAGES; i++)
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
	struct scene *s = scene_create(test);

	fail_nth(test, &op, s, 1);
	drm_gpusvm_fini(&s->gpusvm);
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
	struct fixture *f = test->priv;

	KUNIT_ASSERT_NOT_NULL(test, p);
	p->drm = f->drm;
	p->device_refs = kref_read(&f->drm->ref);
	fail_nth(test, &op, p, 1);
	KUNIT_EXPECT_TRUE(test, p->initialised);
	fail_nth(test, &op, p, 1);
}

static struct kunit_case gpusvm_fail_cases[] = {
	KUNIT_CASE(range),
	KUNIT_CASE(pages),
	KUNIT_CASE(pages_to_write),
	KUNIT_CASE(residency),
	KUNIT_CASE(provider),
	{}
};

static struct kunit_suite gpusvm_fail_suite = {
	.name = "dsvm_gpusvm_fail",
	.init = fail_init,
	.exit = fixture_exit,
	.test_cases = gpusvm_fail_cases,
};
kunit_test_suite(gpusvm_fail_suite);
