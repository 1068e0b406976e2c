// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Migration of a device behind an IOMMU: RAM that is scattered is in one piece for its copy
 * engine, and is out of its reach when that is done.
 */
#include <linux/dma-mapping.h>
#include <linux/iommu.h>
#include <linux/mman.h>

#include "pagemap_fixture.h"

static const struct px_config in_runs = { .copies_runs = true };
static const struct px_config late = { .copies_runs = true, .late = true };
static const struct px_config in_arrays = {};

#define SPAN ((unsigned long)SZ_512K)
#define PAGES (SPAN / PAGE_SIZE)

static bool is_reached(struct px_vram *v)
{
	struct device *dev = v->fixture->parents[v->config.device];

	return iommu_iova_to_phys(iommu_get_domain_for_dev(dev), v->last_addr);
}

/* Each page is not behind its neighbour. */
static void map_scattered(struct kunit *test, unsigned long addr)
{
	struct sx_fixture *f = test->priv;
	unsigned long offset;

	sx_map(test, addr, SPAN);
	for (offset = 0; offset < SPAN; offset += 2 * PAGE_SIZE)
		KUNIT_ASSERT_EQ(test, px_write(f, addr + offset, PAGE_SIZE, 1), 0);
	for (offset = PAGE_SIZE; offset < SPAN; offset += 2 * PAGE_SIZE)
		KUNIT_ASSERT_EQ(test, px_write(f, addr + offset, PAGE_SIZE, 1), 0);
}

static void one_window_with(struct kunit *test, const struct px_config *config)
{
	struct px_vram *v = px_vram_create(test, config);
	struct drm_svm_migrate job = {};
	struct sx_fixture *f = test->priv;

	map_scattered(test, f->start);
	KUNIT_ASSERT_EQ(test, px_job(v, f->start, SPAN, &job), 0);
	KUNIT_EXPECT_EQ(test, job.result[DRM_SVM_MOVED], PAGES);
	/* Without such windows there is an address for each page. */
	if (config->copies_runs && IS_ENABLED(CONFIG_IOMMU_DMA))
		KUNIT_EXPECT_EQ(test, v->in.pieces, 1);
	KUNIT_EXPECT_EQ(test, v->in.pages, PAGES);
	KUNIT_EXPECT_NE(test, v->last_addr, 0);
	KUNIT_EXPECT_FALSE(test, is_reached(v));
	px_expect_device_data(test, v, f->start, SPAN, 1);

	px_reset_copies(v);
	px_expect_data(test, f->start, PAGE_SIZE, 1);
	if (config->copies_runs && IS_ENABLED(CONFIG_IOMMU_DMA))
		KUNIT_EXPECT_EQ(test, v->out.pieces, 1);
	KUNIT_EXPECT_EQ(test, v->out.pages, 16);
	KUNIT_EXPECT_FALSE(test, is_reached(v));
	px_expect_data(test, f->start, SPAN, 1);
	px_expect_empty(test, v);
}

static void one_window(struct kunit *test)
{
	one_window_with(test, &in_runs);
}

static void one_window_late(struct kunit *test)
{
	one_window_with(test, &late);
}

static void in_single_pages(struct kunit *test)
{
	one_window_with(test, &in_arrays);
}

/* The window goes with the copy that has failed, too. */
static void copy_fails(struct kunit *test)
{
	struct px_vram *v = px_vram_create(test, &late);
	struct drm_svm_migrate job = {};
	struct sx_fixture *f = test->priv;

	map_scattered(test, f->start);
	KUNIT_ASSERT_EQ(test, px_job(v, f->start, SPAN, &job), 0);
	px_expect_data(test, f->start, SPAN, 1);
	px_fail_copies(v, -EIO, 1);
	KUNIT_EXPECT_EQ(test, px_job(v, f->start, SPAN, &job), -EIO);
	KUNIT_EXPECT_FALSE(test, is_reached(v));
	px_expect_data(test, f->start, SPAN, 1);
	px_expect_empty(test, v);
}

static void evicted(struct kunit *test)
{
	struct px_vram *v = px_vram_create(test, &in_runs);
	struct sx_fixture *f = test->priv;
	struct px_alloc *alloc;

	map_scattered(test, f->start);
	alloc = px_move(test, v, f->start, SPAN);
	px_reset_copies(v);
	KUNIT_EXPECT_EQ(test, drm_pagemap_evict_to_ram(&alloc->base), 0);
	KUNIT_EXPECT_EQ(test, v->out.pages, PAGES);
	KUNIT_EXPECT_FALSE(test, is_reached(v));
	px_alloc_put(alloc);
	px_expect_data(test, f->start, SPAN, 1);
	px_expect_empty(test, v);
}

static struct kunit_case pagemap_iommu_cases[] = {
	KUNIT_CASE(one_window),
	KUNIT_CASE(one_window_late),
	KUNIT_CASE(in_single_pages),
	KUNIT_CASE(copy_fails),
	KUNIT_CASE(evicted),
	{}
};

static struct kunit_suite pagemap_iommu_suite = {
	.name = "dsvm_pagemap_iommu",
	.suite_init = sx_suite_init,
	.suite_exit = sx_suite_exit,
	.init = px_init_iommu,
	.exit = px_exit_iommu,
	.test_cases = pagemap_iommu_cases,
};
kunit_test_suite(pagemap_iommu_suite);
