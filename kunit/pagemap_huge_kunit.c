// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Huge pages. A kernel that can moves them whole, and they are huge on either side; one that
 * cannot moves their pages, and what the copy engine sees is the same: one piece.
 */
#include <linux/migrate.h>
#include <linux/mm.h>
#include <linux/mman.h>

#include "pagemap_fixture.h"

static const struct px_config in_runs = { .copies_runs = true };
static const struct px_config in_arrays = {};
static const struct px_config scattered = { .copies_runs = true, .scattered = true };

#define SPAN HPAGE_PMD_SIZE
#define PAGES HPAGE_PMD_NR

#ifdef MIGRATE_PFN_COMPOUND
static const bool moves_whole = true;
#else
static const bool moves_whole;
#endif

/* A huge page; skips the case where the kernel has none. */
static void map_huge(struct kunit *test, unsigned long addr, u32 seed)
{
	px_map(test, addr, SPAN, seed);
	if (!px_is_huge(test, addr))
		kunit_skip(test, "the kernel gave no huge page");
}

static void expect_huge(struct kunit *test, struct px_vram *v, unsigned long addr)
{
	KUNIT_EXPECT_EQ(test, px_look(test, v, addr, SPAN).huge, moves_whole ? PAGES : 0);
}

static int job(struct px_vram *v, unsigned long addr, unsigned long bytes)
{
	struct drm_svm_migrate job = {};
	int ret = px_job(v, addr, bytes, &job);

	return ret ?: job.result[DRM_SVM_MOVED] == bytes >> PAGE_SHIFT ? 0 : -EBUSY;
}

/* Whole ------------------------------------------------------------------------------------ */

static void whole_with(struct kunit *test, const struct px_config *config, bool mainline)
{
	struct px_vram *v = px_vram_create(test, config);
	struct sx_fixture *f = test->priv;

	map_huge(test, f->start, 1);
	KUNIT_ASSERT_EQ(test, mainline ? px_to_device(v, f->start, SPAN, NULL) :
			job(v, f->start, SPAN), 0);
	px_expect_places(test, v, f->start, SPAN, 0, PAGES);
	px_expect_device_data(test, v, f->start, SPAN, 1);
	expect_huge(test, v, f->start);
	KUNIT_EXPECT_EQ(test, v->in.pieces, 1);
	KUNIT_EXPECT_EQ(test, v->in.largest, PAGES);
	KUNIT_EXPECT_EQ(test, px_counters(v).huge_moved, moves_whole ? 1 : 0);
	KUNIT_EXPECT_EQ(test, px_counters(v).huge_split, 0);

	px_expect_data(test, f->start, SPAN, 1);
	px_expect_places(test, v, f->start, SPAN, PAGES, 0);
	expect_huge(test, NULL, f->start);
	KUNIT_EXPECT_EQ(test, px_counters(v).huge_moved, moves_whole ? 2 : 0);
	px_expect_empty(test, v);
}

static void whole(struct kunit *test)
{
	whole_with(test, &in_runs, false);
}

static void whole_mainline(struct kunit *test)
{
	whole_with(test, &in_runs, true);
}

static void whole_in_arrays(struct kunit *test)
{
	whole_with(test, &in_arrays, false);
}

/* Several, so that batches follow each other. */
static void many(struct kunit *test)
{
	struct px_vram *v = px_vram_create(test, &in_runs);
	struct sx_fixture *f = test->priv;
	unsigned long addr;

	for (addr = f->start; addr < f->start + SX_AREA; addr += SPAN)
		map_huge(test, addr, 1);
	KUNIT_ASSERT_EQ(test, job(v, f->start, SX_AREA), 0);
	for (addr = f->start; addr < f->start + SX_AREA; addr += SPAN)
		expect_huge(test, v, addr);
	KUNIT_EXPECT_EQ(test, v->in.pieces, SX_AREA / SPAN);
	px_expect_device_data(test, v, f->start, SX_AREA, 1);
	px_expect_data(test, f->start, SX_AREA, 1);
	px_expect_empty(test, v);
}

/* Where nothing was yet. */
static void hole(struct kunit *test)
{
	struct px_vram *v = px_vram_create(test, &in_runs);
	struct sx_fixture *f = test->priv;

	memset(v->memory, 0xa5, PX_FRAMES * PAGE_SIZE);
	sx_map(test, f->start, SPAN);
	KUNIT_ASSERT_EQ(test, job(v, f->start, SPAN), 0);
	expect_huge(test, v, f->start);
	KUNIT_EXPECT_EQ(test, v->in.cleared, PAGES);
	KUNIT_EXPECT_EQ(test, v->in.pieces, 1);
	px_expect_zeroes(test, f->start, SPAN);
	px_expect_empty(test, v);
}

/* In pieces -------------------------------------------------------------------------------- */

/* The device has no room in one piece: better in pieces than not at all. */
static void scattered_destination(struct kunit *test)
{
	struct px_vram *v = px_vram_create(test, &scattered);
	struct sx_fixture *f = test->priv;

	map_huge(test, f->start, 1);
	KUNIT_ASSERT_EQ(test, job(v, f->start, SPAN), 0);
	px_expect_places(test, v, f->start, SPAN, 0, PAGES);
	KUNIT_EXPECT_EQ(test, px_look(test, v, f->start, SPAN).huge, 0);
	KUNIT_EXPECT_EQ(test, px_counters(v).huge_moved, 0);
	px_expect_device_data(test, v, f->start, SPAN, 1);
	px_expect_data(test, f->start, SPAN, 1);
	px_expect_empty(test, v);
}

/* The same for a hole. */
static void scattered_hole(struct kunit *test)
{
	struct px_vram *v = px_vram_create(test, &scattered);
	struct sx_fixture *f = test->priv;

	memset(v->memory, 0xa5, PX_FRAMES * PAGE_SIZE);
	sx_map(test, f->start, SPAN);
	KUNIT_ASSERT_EQ(test, job(v, f->start, SPAN), 0);
	px_expect_places(test, v, f->start, SPAN, 0, PAGES);
	px_expect_zeroes(test, f->start, SPAN);
	px_expect_empty(test, v);
}

/* Only a part of it is asked for. */
static void a_part(struct kunit *test)
{
	struct px_vram *v = px_vram_create(test, &in_runs);
	struct sx_fixture *f = test->priv;

	map_huge(test, f->start, 1);
	KUNIT_ASSERT_EQ(test, job(v, f->start + SZ_512K, SZ_1M), 0);
	px_expect_places(test, v, f->start, SPAN, PAGES / 2, PAGES / 2);
	px_expect_device_data(test, v, f->start + SZ_512K, SZ_1M, 1);
	px_expect_data(test, f->start, SPAN, 1);
	px_expect_empty(test, v);
}

/* Back ------------------------------------------------------------------------------------- */

static void fault_in_the_middle(struct kunit *test)
{
	struct px_vram *v = px_vram_create(test, &in_runs);
	struct sx_fixture *f = test->priv;

	map_huge(test, f->start, 1);
	KUNIT_ASSERT_EQ(test, job(v, f->start, SPAN), 0);
	px_expect_data(test, f->start + SZ_1M + SZ_4K, PAGE_SIZE, 1);
	if (moves_whole)
		px_expect_places(test, v, f->start, SPAN, PAGES, 0);
	else
		px_expect_places(test, v, f->start, SPAN, 16, PAGES - 16);
	expect_huge(test, NULL, f->start);
	px_expect_data(test, f->start, SPAN, 1);
	px_expect_empty(test, v);
}

static void evicted(struct kunit *test)
{
	struct px_vram *v = px_vram_create(test, &in_runs);
	struct sx_fixture *f = test->priv;
	struct px_alloc *alloc = NULL;

	map_huge(test, f->start, 1);
	KUNIT_ASSERT_EQ(test, px_to_device(v, f->start, SPAN, &alloc), 0);
	expect_huge(test, v, f->start);
	KUNIT_EXPECT_EQ(test, drm_pagemap_evict_to_ram(&alloc->base), 0);
	px_alloc_put(alloc);
	px_expect_empty(test, v);
	expect_huge(test, NULL, f->start);
	px_expect_data(test, f->start, SPAN, 1);
}

/* A batch of an eviction does not cut a huge page: all of it comes, or it is taken apart. */
static void a_part_evicted(struct kunit *test)
{
	struct px_vram *v = px_vram_create(test, &in_runs);
	struct sx_fixture *f = test->priv;
	struct px_alloc *alloc = NULL;
	struct px_places places;

	map_huge(test, f->start, 1);
	KUNIT_ASSERT_EQ(test, px_to_device(v, f->start, SPAN, &alloc), 0);
	KUNIT_EXPECT_EQ(test, drm_svm_evict(&alloc->base, SZ_64K, SZ_64K), 0);
	places = px_look(test, v, f->start + SZ_64K, SZ_64K);
	KUNIT_EXPECT_EQ(test, places.ram, 16);
	places = px_look(test, v, f->start, SPAN);
	KUNIT_EXPECT_EQ(test, places.ram + places.device, PAGES);
	KUNIT_EXPECT_EQ(test, px_alloc_used(alloc), places.device);
	px_alloc_put(alloc);
	px_expect_data(test, f->start, SPAN, 1);
	px_expect_empty(test, v);
}

/* Going away ------------------------------------------------------------------------------- */

static void unmapped(struct kunit *test)
{
	struct px_vram *v = px_vram_create(test, &in_runs);
	struct sx_fixture *f = test->priv;

	map_huge(test, f->start, 1);
	KUNIT_ASSERT_EQ(test, job(v, f->start, SPAN), 0);
	KUNIT_EXPECT_EQ(test, v->used, PAGES);
	KUNIT_ASSERT_EQ(test, sx_munmap(f, f->start, SPAN), 0);
	KUNIT_EXPECT_EQ(test, v->used, 0);
	KUNIT_EXPECT_EQ(test, v->returned, PAGES);
	px_expect_empty(test, v);
}

/*
 * The frames of what has gone come back at once; but where the huge page is one on the device, the
 * kernel takes it apart only when it has something to do with it, and that is the next access.
 */
static void expect_frames(struct kunit *test, struct px_vram *v, struct px_alloc *alloc)
{
	bool has_gone;
	unsigned int i;

	for (i = 0; i < PAGES; i++) {
		has_gone = i < 16 || (i >= PAGES / 2 && i < PAGES / 2 + 16);
		KUNIT_EXPECT_EQ_MSG(test, v->owner[alloc->frame[i]] == alloc, !has_gone, "page %u", i);
	}
	KUNIT_EXPECT_EQ(test, v->used, PAGES - 32);
}

static void unmapped_in_the_middle(struct kunit *test)
{
	struct px_vram *v = px_vram_create(test, &in_runs);
	struct sx_fixture *f = test->priv;
	struct px_alloc *alloc = NULL;

	map_huge(test, f->start, 1);
	KUNIT_ASSERT_EQ(test, px_to_device(v, f->start, SPAN, &alloc), 0);
	KUNIT_ASSERT_EQ(test, sx_munmap(f, f->start + SZ_1M, SZ_64K), 0);
	KUNIT_EXPECT_EQ(test, v->used, moves_whole ? PAGES : PAGES - 16);
	px_expect_device_data(test, v, f->start, SZ_1M, 1);
	px_expect_device_data(test, v, f->start + SZ_1M + SZ_64K, SZ_1M - SZ_64K, 1);

	px_expect_data(test, f->start, PAGE_SIZE, 1);
	px_expect_places(test, v, f->start, SZ_1M, 16, PAGES / 2 - 16);
	expect_frames(test, v, alloc);
	KUNIT_EXPECT_EQ(test, drm_pagemap_evict_to_ram(&alloc->base), 0);
	px_alloc_put(alloc);
	px_expect_empty(test, v);
	px_expect_data(test, f->start, SZ_1M, 1);
	px_expect_data(test, f->start + SZ_1M + SZ_64K, SZ_1M - SZ_64K, 1);
}

/* The kernel's page tables know it page by page; its memory is still in one. */
static void protected_in_the_middle(struct kunit *test)
{
	struct px_vram *v = px_vram_create(test, &in_runs);
	struct sx_fixture *f = test->priv;

	map_huge(test, f->start, 1);
	KUNIT_ASSERT_EQ(test, job(v, f->start, SPAN), 0);
	/* Memory of another kind in its place cuts the VMA as mprotect() does. */
	KUNIT_ASSERT_EQ(test, sx_mmap(f, f->start + SZ_1M, PAGE_SIZE, PROT_READ,
				      MAP_PRIVATE | MAP_ANONYMOUS, NULL), 0);
	px_expect_data(test, f->start, SZ_1M, 1);
	px_expect_zeroes(test, f->start + SZ_1M, PAGE_SIZE);
	px_expect_data(test, f->start + SZ_1M + PAGE_SIZE, SZ_1M - PAGE_SIZE, 1);
	px_expect_empty(test, v);
}

static struct kunit_case pagemap_huge_cases[] = {
	KUNIT_CASE(whole),
	KUNIT_CASE(whole_mainline),
	KUNIT_CASE(whole_in_arrays),
	KUNIT_CASE(many),
	KUNIT_CASE(hole),
	KUNIT_CASE(scattered_destination),
	KUNIT_CASE(scattered_hole),
	KUNIT_CASE(a_part),
	KUNIT_CASE(fault_in_the_middle),
	KUNIT_CASE(evicted),
	KUNIT_CASE(a_part_evicted),
	KUNIT_CASE(unmapped),
	KUNIT_CASE(unmapped_in_the_middle),
	KUNIT_CASE(protected_in_the_middle),
	{}
};

static struct kunit_suite pagemap_huge_suite = {
	.name = "dsvm_pagemap_huge",
	.suite_init = sx_suite_init,
	.suite_exit = sx_suite_exit,
	.init = px_init,
	.exit = px_exit,
	.test_cases = pagemap_huge_cases,
};
kunit_test_suite(pagemap_huge_suite);
