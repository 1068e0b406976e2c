// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Providers of device memory without migration: their life, what they keep, what they are asked
 * for, and what is said of pages.
 */
#include <linux/seq_file.h>
#include <linux/slab.h>

#include "pagemap_fixture.h"

static const struct px_config plain = {};

static unsigned int device_refs(struct kunit *test)
{
	struct sx_fixture *f = test->priv;

	return kref_read(&f->drm[0]->ref);
}

/* Life ------------------------------------------------------------------------------------- */

static void needs_device_map(struct kunit *test)
{
	struct px_vram *v = px_vram_create_bare(test, &plain);
	unsigned int before = device_refs(test);

	v->ops.device_map = NULL;
	KUNIT_EXPECT_EQ(test, px_vram_init(v), -EINVAL);
	KUNIT_EXPECT_EQ(test, device_refs(test), before);
}

/* The device stays until the work has run that lets it go, and not for longer. */
static void life(struct kunit *test)
{
	struct px_vram *v = px_vram_create_bare(test, &plain);
	unsigned int before = device_refs(test);

	KUNIT_ASSERT_EQ(test, px_vram_init(v), 0);
	KUNIT_EXPECT_EQ(test, kref_read(&v->base.ref), 1);
	KUNIT_EXPECT_PTR_EQ(test, v->base.pagemap, &v->pagemap);
	KUNIT_EXPECT_EQ(test, device_refs(test), before + 1);

	KUNIT_EXPECT_PTR_EQ(test, drm_pagemap_get(&v->base), &v->base);
	KUNIT_EXPECT_PTR_EQ(test, drm_pagemap_get_unless_zero(&v->base), &v->base);
	drm_pagemap_put(&v->base);
	drm_pagemap_put(&v->base);
	KUNIT_EXPECT_FALSE(test, completion_done(&v->destroyed));

	drm_pagemap_put(&v->base);
	v->is_ready = false;
	KUNIT_EXPECT_TRUE(test, completion_done(&v->destroyed));
	KUNIT_EXPECT_NULL(test, drm_pagemap_get_unless_zero(&v->base));
	drm_svm_flush();
	KUNIT_EXPECT_EQ(test, device_refs(test), before);
}

static void again(struct kunit *test)
{
	struct px_vram *v = px_vram_create(test, &plain);
	unsigned int before = device_refs(test), i;

	for (i = 0; i < 3; i++) {
		drm_pagemap_put(&v->base);
		KUNIT_ASSERT_TRUE(test, try_wait_for_completion(&v->destroyed));
		KUNIT_ASSERT_EQ(test, drm_pagemap_reinit(&v->base), 0);
		KUNIT_EXPECT_EQ(test, kref_read(&v->base.ref), 1);
		drm_svm_flush();
		KUNIT_EXPECT_EQ(test, device_refs(test), before);
	}
	/* It works as before. */
	px_map(test, v->fixture->start, PAGE_SIZE, 1);
	px_alloc_put(px_move(test, v, v->fixture->start, PAGE_SIZE));
	px_expect_data(test, v->fixture->start, PAGE_SIZE, 1);
}

/* Of the library's own making: it frees it, too. */
static void created(struct kunit *test)
{
	struct px_vram *v = px_vram_create_bare(test, &plain);
	struct sx_fixture *f = test->priv;
	unsigned int before = device_refs(test);
	struct drm_pagemap *dpagemap;

	v->ops.destroy = NULL;
	dpagemap = drm_pagemap_create(f->drm[0], &v->pagemap, &v->ops);
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, dpagemap);
	KUNIT_EXPECT_EQ(test, kref_read(&dpagemap->ref), 1);
	KUNIT_EXPECT_PTR_EQ(test, dpagemap->drm, f->drm[0]);
	KUNIT_EXPECT_EQ(test, device_refs(test), before + 1);
	drm_pagemap_put(dpagemap);
	drm_svm_flush();
	KUNIT_EXPECT_EQ(test, device_refs(test), before);

	v->ops.device_map = NULL;
	dpagemap = drm_pagemap_create(f->drm[0], &v->pagemap, &v->ops);
	KUNIT_EXPECT_TRUE(test, IS_ERR(dpagemap));
	KUNIT_EXPECT_EQ(test, PTR_ERR(dpagemap), -EINVAL);
	drm_svm_flush();
	KUNIT_EXPECT_EQ(test, device_refs(test), before);
}

/* A page in use keeps its provider, and that the device. */
static void kept_by_a_page(struct kunit *test)
{
	struct px_vram *v = px_vram_create(test, &plain);
	struct sx_fixture *f = test->priv;
	unsigned int before = device_refs(test);

	px_map(test, f->start, PAGE_SIZE, 1);
	px_alloc_put(px_move(test, v, f->start, PAGE_SIZE));
	drm_pagemap_put(&v->base);
	v->is_ready = false;
	drm_svm_flush();
	KUNIT_EXPECT_FALSE(test, completion_done(&v->destroyed));
	KUNIT_EXPECT_EQ(test, device_refs(test), before);

	KUNIT_ASSERT_EQ(test, sx_munmap(f, f->start, PAGE_SIZE), 0);
	KUNIT_EXPECT_NE(test, wait_for_completion_timeout(&v->destroyed, SX_PATIENCE), 0);
	drm_svm_flush();
	KUNIT_EXPECT_EQ(test, device_refs(test), before - 1);
	px_expect_empty(test, v);
}

/* What it is asked for --------------------------------------------------------------------- */

static void populate_with(struct kunit *test, bool takes_spans)
{
	const struct px_config config = { .takes_spans = takes_spans };
	struct px_vram *v = px_vram_create(test, &config);
	struct sx_fixture *f = test->priv;
	unsigned long end = f->start + SX_RANGE;
	int users = atomic_read(&f->mm->mm_users);

	sx_map(test, f->start, SX_RANGE);
	KUNIT_EXPECT_EQ(test, drm_pagemap_populate_mm(&v->base, f->start, end, f->mm, 0), 0);
	KUNIT_EXPECT_EQ(test, v->populated, 1);
	KUNIT_EXPECT_EQ(test, v->had_lock, !takes_spans);
	v->populate_ret = -ENOSPC;
	KUNIT_EXPECT_EQ(test, drm_pagemap_populate_mm(&v->base, f->start, end, f->mm, 0), -ENOSPC);
	KUNIT_EXPECT_EQ(test, v->populated, 2);
	KUNIT_EXPECT_EQ(test, atomic_read(&f->mm->mm_users), users);
}

static void populate(struct kunit *test)
{
	populate_with(test, false);
}

static void populate_span(struct kunit *test)
{
	populate_with(test, true);
}

/* Pages ------------------------------------------------------------------------------------ */

static void page_to_dpagemap(struct kunit *test)
{
	struct px_vram *v = px_vram_create(test, &plain);
	struct page *page = alloc_page(GFP_KERNEL), *next;
	struct sx_fixture *f = test->priv;

	KUNIT_ASSERT_NOT_NULL(test, page);
	KUNIT_EXPECT_NULL(test, drm_pagemap_page_to_dpagemap(page));
	KUNIT_EXPECT_NULL(test, drm_pagemap_page_zone_device_data(page));
	__free_page(page);

	px_map(test, f->start, 2 * PAGE_SIZE, 1);
	px_alloc_put(px_move(test, v, f->start, 2 * PAGE_SIZE));
	page = px_device_page(test, v, f->start);
	KUNIT_EXPECT_PTR_EQ(test, drm_pagemap_page_to_dpagemap(page), &v->base);
	KUNIT_EXPECT_NOT_NULL(test, drm_pagemap_page_zone_device_data(page));
	next = px_device_page(test, v, f->start + PAGE_SIZE);
	KUNIT_EXPECT_PTR_EQ(test, drm_pagemap_page_zone_device_data(page),
			    drm_pagemap_page_zone_device_data(next));
}

static void devmem_init(struct kunit *test)
{
	struct drm_pagemap_devmem *devmem = kunit_kzalloc(test, sizeof(*devmem), GFP_KERNEL);
	struct px_vram *v = px_vram_create(test, &plain);
	struct sx_fixture *f = test->priv;

	KUNIT_ASSERT_NOT_NULL(test, devmem);
	memset(devmem, 0xa5, sizeof(*devmem));
	drm_pagemap_devmem_init(devmem, f->parents[0], f->mm, &v->devmem_ops, &v->base, SZ_64K,
				NULL);
	KUNIT_EXPECT_PTR_EQ(test, devmem->dev, f->parents[0]);
	KUNIT_EXPECT_PTR_EQ(test, devmem->mm, f->mm);
	KUNIT_EXPECT_PTR_EQ(test, devmem->ops, (const struct drm_pagemap_devmem_ops *)&v->devmem_ops);
	KUNIT_EXPECT_PTR_EQ(test, devmem->dpagemap, &v->base);
	KUNIT_EXPECT_EQ(test, devmem->size, SZ_64K);
	KUNIT_EXPECT_EQ(test, devmem->timeslice_expiration, 0);
	KUNIT_EXPECT_EQ(test, devmem->fault_granule, 0);
	KUNIT_EXPECT_FALSE(test, completion_done(&devmem->detached));
	/* Nothing lives there. */
	KUNIT_EXPECT_EQ(test, drm_pagemap_evict_to_ram(devmem), 0);
}

/* What there is to read -------------------------------------------------------------------- */

static void stay_names(struct kunit *test)
{
	unsigned int i, k;

	for (i = 0; i < DRM_SVM_STAYS; i++) {
		KUNIT_ASSERT_NOT_NULL(test, drm_svm_stay_name(i));
		for (k = 0; k < i; k++)
			KUNIT_EXPECT_STRNEQ(test, drm_svm_stay_name(i), drm_svm_stay_name(k));
	}
}

static u64 sum(const struct dsvm_migrate_counters *c, enum dsvm_migrate_way way)
{
	u64 bytes = 0;
	unsigned int i;

	for (i = 0; i < DSVM_SIZES; i++)
		bytes += c->phase[way][i].bytes;
	return bytes;
}

static void counters(struct kunit *test)
{
	struct px_vram *v = px_vram_create(test, &plain);
	struct dsvm_migrate_counters zero = {}, c = px_counters(v);
	struct sx_fixture *f = test->priv;
	struct px_alloc *alloc;

	KUNIT_EXPECT_EQ(test, memcmp(&c, &zero, sizeof(c)), 0);
	px_map(test, f->start, SZ_256K, 1);
	alloc = px_move(test, v, f->start, SZ_256K);
	c = px_counters(v);
	KUNIT_EXPECT_EQ(test, sum(&c, DSVM_WAY_TO_DEVICE), SZ_256K);
	KUNIT_EXPECT_GE(test, c.phase[DSVM_WAY_TO_DEVICE][1].batches, 1);
	/* In ticks, of which there may have been none. */
	KUNIT_EXPECT_LT(test, c.phase[DSVM_WAY_TO_DEVICE][1].setup_ns, 60 * NSEC_PER_SEC);

	px_expect_data(test, f->start, PAGE_SIZE, 1);
	c = px_counters(v);
	KUNIT_EXPECT_EQ(test, sum(&c, DSVM_WAY_CPU_FAULT), SZ_64K);
	KUNIT_EXPECT_EQ(test, c.phase[DSVM_WAY_CPU_FAULT][1].batches, 1);
	KUNIT_EXPECT_EQ(test, sum(&c, DSVM_WAY_EVICT), 0);

	KUNIT_EXPECT_EQ(test, drm_pagemap_evict_to_ram(&alloc->base), 0);
	c = px_counters(v);
	KUNIT_EXPECT_EQ(test, sum(&c, DSVM_WAY_EVICT), SZ_256K - SZ_64K);
	KUNIT_EXPECT_EQ(test, c.stayed, 0);
	px_alloc_put(alloc);
}

/* A seq_file of the case's own; what was printed. */
static const char *print(struct kunit *test, struct seq_file **out)
{
	struct seq_file *seq = kunit_kzalloc(test, sizeof(*seq), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, seq);
	seq->size = SZ_64K - 1;
	seq->buf = kunit_kzalloc(test, SZ_64K, GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, seq->buf);
	*out = seq;
	return seq->buf;
}

static void debugfs(struct kunit *test)
{
	struct px_vram *v = px_vram_create(test, &plain);
	struct sx_fixture *f = test->priv;
	char address[20];
	struct seq_file *seq;
	const char *text;

	px_map(test, f->start, SZ_256K, 1);
	px_alloc_put(px_move(test, v, f->start, SZ_64K));

	text = print(test, &seq);
	drm_svm_debugfs_pagemap_info(seq, &v->base);
	KUNIT_EXPECT_GT(test, seq->count, 0);
	KUNIT_EXPECT_FALSE(test, seq_has_overflowed(seq));

	text = print(test, &seq);
	KUNIT_EXPECT_EQ(test, drm_svm_debugfs_residency(seq, f->mm), 0);
	KUNIT_EXPECT_GT(test, seq->count, 0);
	scnprintf(address, sizeof(address), "%lx", f->start);
	KUNIT_EXPECT_NOT_NULL(test, strstr(text, address));
	/* It looks and does not touch. */
	px_expect_places(test, v, f->start, SZ_256K, 48, 16);
}

static void residency(struct kunit *test)
{
	struct drm_svm_residency counts[2] = {};
	struct px_vram *v = px_vram_create(test, &plain);
	struct sx_fixture *f = test->priv;

	px_map(test, f->start, SZ_64K, 1);
	px_alloc_put(px_move(test, v, f->start, SZ_32K));
	KUNIT_EXPECT_EQ(test, drm_svm_residency(f->mm, &v->base, f->start, f->start + SZ_128K, SZ_64K,
						counts), 0);
	KUNIT_EXPECT_EQ(test, counts[0].device, 8);
	KUNIT_EXPECT_EQ(test, counts[0].system, 8);
	KUNIT_EXPECT_EQ(test, counts[0].none, 0);
	KUNIT_EXPECT_EQ(test, counts[0].peer, 0);
	KUNIT_EXPECT_EQ(test, counts[1].none, 16);

	/* Who asks for nobody's memory sees none of it. */
	memset(counts, 0, sizeof(counts));
	KUNIT_EXPECT_EQ(test, drm_svm_residency(f->mm, NULL, f->start, f->start + SZ_64K, SZ_64K,
						counts), 0);
	KUNIT_EXPECT_EQ(test, counts[0].none, 8);
	KUNIT_EXPECT_EQ(test, counts[0].system, 8);
}

static struct kunit_case pagemap_cases[] = {
	KUNIT_CASE(needs_device_map),
	KUNIT_CASE(life),
	KUNIT_CASE(again),
	KUNIT_CASE(created),
	KUNIT_CASE(kept_by_a_page),
	KUNIT_CASE(populate),
	KUNIT_CASE(populate_span),
	KUNIT_CASE(page_to_dpagemap),
	KUNIT_CASE(devmem_init),
	KUNIT_CASE(stay_names),
	KUNIT_CASE(counters),
	KUNIT_CASE(debugfs),
	KUNIT_CASE(residency),
	{}
};

static struct kunit_suite pagemap_suite = {
	.name = "dsvm_pagemap",
	.suite_init = sx_suite_init,
	.suite_exit = sx_suite_exit,
	.init = px_init,
	.exit = px_exit,
	.test_cases = pagemap_cases,
};
kunit_test_suite(pagemap_suite);
