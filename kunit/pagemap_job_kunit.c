// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Whole spans: what can move does, and of the rest it is said why not. In how few pieces the copy
 * engine gets it, how many of its jobs overlap, and with several threads at work.
 */
#include <linux/mman.h>
#include <linux/mmap_lock.h>
#include <linux/pagemap.h>
#include <linux/slab.h>

#include "pagemap_fixture.h"

static const struct px_config plain = {};
static const struct px_config in_runs = { .copies_runs = true };
static const struct px_config late = { .copies_runs = true, .late = true };
static const struct px_config scattered = { .copies_runs = true, .scattered = true };

#define SPAN ((unsigned long)SZ_512K)
#define PAGES (SPAN / PAGE_SIZE)

/* With room for a report of as many pages. */
static struct drm_svm_migrate *job_create(struct kunit *test, unsigned long bytes)
{
	struct drm_svm_migrate *job = kunit_kzalloc(test, sizeof(*job), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, job);
	job->report = kunit_kzalloc(test, bytes >> PAGE_SHIFT, GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, job->report);
	memset(job->report, 0xff, bytes >> PAGE_SHIFT);
	return job;
}

/* Each page has one entry, and the sums are those of the entries. */
static void expect_sums(struct kunit *test, const struct drm_svm_migrate *job)
{
	unsigned long i, npages = (job->end - job->start) >> PAGE_SHIFT;
	unsigned long sums[DRM_SVM_STAYS] = {};

	for (i = 0; i < npages; i++) {
		KUNIT_ASSERT_LT_MSG(test, job->report[i], DRM_SVM_STAYS, "page %lu", i);
		sums[job->report[i]]++;
	}
	for (i = 0; i < DRM_SVM_STAYS; i++)
		KUNIT_EXPECT_EQ_MSG(test, job->result[i], sums[i], "%s", drm_svm_stay_name(i));
}

static void expect_report(struct kunit *test, const struct drm_svm_migrate *job,
			  unsigned long first, unsigned long count, enum drm_svm_stay stay)
{
	unsigned long i;

	for (i = first; i < first + count; i++)
		KUNIT_EXPECT_STREQ_MSG(test, drm_svm_stay_name(job->report[i]),
				       drm_svm_stay_name(stay), "page %lu", i);
}

/* Moving ----------------------------------------------------------------------------------- */

static void moves_with(struct kunit *test, const struct px_config *config, unsigned long bytes,
		       unsigned int workers)
{
	struct drm_svm_migrate *job = job_create(test, bytes);
	struct px_vram *v = px_vram_create(test, config);
	struct sx_fixture *f = test->priv;
	unsigned long npages = bytes >> PAGE_SHIFT;

	job->workers = workers;
	px_map(test, f->start, bytes, 1);
	KUNIT_ASSERT_EQ(test, px_job(v, f->start, bytes, job), 0);
	expect_sums(test, job);
	KUNIT_EXPECT_EQ(test, job->result[DRM_SVM_MOVED], npages);
	px_expect_places(test, v, f->start, bytes, 0, npages);
	px_expect_device_data(test, v, f->start, bytes, 1);
	drm_svm_flush();
	KUNIT_EXPECT_EQ(test, v->used, npages);

	/* It is there. */
	px_reset_copies(v);
	KUNIT_ASSERT_EQ(test, px_job(v, f->start, bytes, job), 0);
	expect_sums(test, job);
	KUNIT_EXPECT_EQ(test, job->result[DRM_SVM_WAS_THERE], npages);
	KUNIT_EXPECT_EQ(test, v->in.calls, 0);

	px_expect_data(test, f->start, bytes, 1);
	px_expect_empty(test, v);
}

static void moves(struct kunit *test)
{
	moves_with(test, &plain, SPAN, 0);
}

static void moves_in_runs(struct kunit *test)
{
	moves_with(test, &in_runs, SPAN, 1);
}

static void moves_scattered(struct kunit *test)
{
	moves_with(test, &scattered, SPAN, 1);
}

static void moves_much(struct kunit *test)
{
	moves_with(test, &in_runs, SX_AREA, 1);
}

static void workers(struct kunit *test)
{
	moves_with(test, &in_runs, SX_AREA, 4);
}

static void more_workers_than_work(struct kunit *test)
{
	moves_with(test, &plain, SZ_64K, 8);
}

/* Neighbours that are no VMA of one kind, and a hole, in one go. */
static void many_vmas(struct kunit *test)
{
	struct drm_svm_migrate *job = job_create(test, SPAN);
	struct px_vram *v = px_vram_create(test, &plain);
	struct sx_file *sf = sx_file_create(test, 0);
	struct sx_fixture *f = test->priv;

	px_map(test, f->start, SZ_128K, 1);
	KUNIT_ASSERT_EQ(test, sx_mmap(f, f->start + SZ_128K, SZ_64K, PROT_READ,
				      MAP_PRIVATE | MAP_ANONYMOUS, NULL), 0);
	sx_map_file(test, f->start + SZ_256K, SZ_64K, PROT_READ | PROT_WRITE, MAP_SHARED, sf);
	sx_cpu_fill(test, f->start + SZ_256K, SZ_64K, 1);
	px_map(test, f->start + SPAN - SZ_64K, SZ_64K, 1);
	KUNIT_ASSERT_EQ(test, sx_munmap(f, f->start + SZ_128K + SZ_64K, SZ_64K), 0);
	KUNIT_ASSERT_EQ(test, sx_munmap(f, f->start + SZ_256K + SZ_64K, SZ_128K), 0);

	KUNIT_ASSERT_EQ(test, px_job(v, f->start, SPAN, job), 0);
	expect_sums(test, job);
	expect_report(test, job, 0, 32 + 16, DRM_SVM_MOVED);
	expect_report(test, job, 48, 16, DRM_SVM_STAY_NO_MEMORY_MAP);
	expect_report(test, job, 64, 16, DRM_SVM_STAY_NOT_ANONYMOUS);
	expect_report(test, job, 80, 32, DRM_SVM_STAY_NO_MEMORY_MAP);
	expect_report(test, job, 112, 16, DRM_SVM_MOVED);
	px_expect_data(test, f->start, SZ_128K, 1);
	px_expect_zeroes(test, f->start + SZ_128K, SZ_64K);
	px_expect_data(test, f->start + SPAN - SZ_64K, SZ_64K, 1);
}

/* Where nothing was yet: zeroes on the device. */
static void holes(struct kunit *test)
{
	struct drm_svm_migrate *job = job_create(test, SPAN);
	struct px_vram *v = px_vram_create(test, &in_runs);
	struct sx_fixture *f = test->priv;

	memset(v->memory, 0xa5, PX_FRAMES * PAGE_SIZE);
	sx_map(test, f->start, SPAN);
	KUNIT_ASSERT_EQ(test, px_write(f, f->start + SZ_64K, PAGE_SIZE, 1), 0);
	KUNIT_ASSERT_EQ(test, px_job(v, f->start, SPAN, job), 0);
	KUNIT_EXPECT_EQ(test, job->result[DRM_SVM_MOVED], PAGES);
	KUNIT_EXPECT_EQ(test, v->in.cleared, PAGES - 1);
	px_expect_zeroes(test, f->start, SZ_64K);
	px_expect_data(test, f->start + SZ_64K, PAGE_SIZE, 1);
	px_expect_zeroes(test, f->start + SZ_64K + PAGE_SIZE, SPAN - SZ_64K - PAGE_SIZE);
	px_expect_empty(test, v);
}

/* Staying ---------------------------------------------------------------------------------- */

/* One page of each kind that stays, and all around them moves. */
static void stays(struct kunit *test)
{
	struct drm_svm_migrate *job = job_create(test, SPAN);
	struct px_vram *v = px_vram_create(test, &in_runs);
	struct page *pinned, *locked, *held;
	struct sx_fixture *f = test->priv;

	px_map(test, f->start, SPAN, 1);
	pinned = px_take_page(test, f->start + 10 * PAGE_SIZE, true);
	locked = px_take_page(test, f->start + 20 * PAGE_SIZE, false);
	held = px_take_page(test, f->start + 30 * PAGE_SIZE, false);
	lock_page(locked);
	KUNIT_EXPECT_EQ(test, px_job(v, f->start, SPAN, job), 0);
	unlock_page(locked);
	put_page(locked);
	put_page(held);
	unpin_user_page(pinned);

	expect_sums(test, job);
	expect_report(test, job, 0, 10, DRM_SVM_MOVED);
	expect_report(test, job, 10, 1, DRM_SVM_STAY_PINNED);
	expect_report(test, job, 11, 9, DRM_SVM_MOVED);
	expect_report(test, job, 20, 1, DRM_SVM_STAY_LOCKED);
	expect_report(test, job, 21, 9, DRM_SVM_MOVED);
	expect_report(test, job, 30, 1, DRM_SVM_STAY_BUSY);
	expect_report(test, job, 31, PAGES - 31, DRM_SVM_MOVED);
	KUNIT_EXPECT_EQ(test, px_counters(v).stayed, 3);
	px_expect_places(test, v, f->start, SPAN, 3, PAGES - 3);
	drm_svm_flush();
	KUNIT_EXPECT_EQ(test, v->used, PAGES - 3);

	KUNIT_EXPECT_EQ(test, px_job(v, f->start, SPAN, job), 0);
	KUNIT_EXPECT_EQ(test, job->result[DRM_SVM_MOVED], 3);
	KUNIT_EXPECT_EQ(test, job->result[DRM_SVM_WAS_THERE], PAGES - 3);
	px_expect_data(test, f->start, SPAN, 1);
}

/* Memory that the process may not use itself: there is no way to look at it, and none is needed. */
static void no_access(struct kunit *test)
{
	struct drm_svm_migrate *job = job_create(test, SZ_64K);
	struct px_vram *v = px_vram_create(test, &plain);
	struct sx_fixture *f = test->priv;

	KUNIT_ASSERT_EQ(test, sx_mmap(f, f->start, SZ_64K, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS,
				      NULL), 0);
	KUNIT_EXPECT_EQ(test, px_job(v, f->start, SZ_64K, job), 0);
	expect_sums(test, job);
	expect_report(test, job, 0, 16, DRM_SVM_STAY_SWAPPED);
	px_expect_empty(test, v);
}

static void no_device_memory(struct kunit *test)
{
	struct drm_svm_migrate *job = job_create(test, SX_AREA);
	struct px_vram *v = px_vram_create(test, &in_runs);
	struct sx_fixture *f = test->priv;
	unsigned long moved;

	px_map(test, f->start, SX_AREA, 1);
	v->limit = PX_FRAMES / 2;
	KUNIT_EXPECT_EQ(test, px_job(v, f->start, SX_AREA, job), 0);
	expect_sums(test, job);
	moved = job->result[DRM_SVM_MOVED];
	KUNIT_EXPECT_EQ(test, moved, PX_FRAMES / 2);
	KUNIT_EXPECT_EQ(test, job->result[DRM_SVM_STAY_NO_DEVICE_MEMORY], PX_FRAMES - moved);
	px_expect_places(test, v, f->start, SX_AREA, PX_FRAMES - moved, moved);
	px_expect_data(test, f->start, SX_AREA, 1);
	px_expect_empty(test, v);
}

/* Another error of the driver's ends it. */
static void alloc_fails(struct kunit *test)
{
	struct drm_svm_migrate *job = job_create(test, SPAN);
	struct px_vram *v = px_vram_create(test, &plain);
	struct sx_fixture *f = test->priv;

	px_map(test, f->start, SPAN, 1);
	v->alloc_error = -EIO;
	KUNIT_EXPECT_EQ(test, px_job(v, f->start, SPAN, job), -EIO);
	expect_sums(test, job);
	KUNIT_EXPECT_EQ(test, job->result[DRM_SVM_STAY_NOT_TRIED], PAGES);
	px_expect_places(test, v, f->start, SPAN, PAGES, 0);
	px_expect_empty(test, v);
}

static void copy_fails_with(struct kunit *test, const struct px_config *config)
{
	struct drm_svm_migrate *job = job_create(test, SPAN);
	struct px_vram *v = px_vram_create(test, config);
	struct sx_fixture *f = test->priv;

	px_map(test, f->start, SPAN, 1);
	px_fail_copies(v, -EIO, 1);
	KUNIT_EXPECT_EQ(test, px_job(v, f->start, SPAN, job), -EIO);
	expect_sums(test, job);
	px_expect_data(test, f->start, SPAN, 1);
	px_expect_empty(test, v);
}

static void copy_fails(struct kunit *test)
{
	copy_fails_with(test, &plain);
}

static void copy_fails_in_runs(struct kunit *test)
{
	copy_fails_with(test, &in_runs);
}

/* RAM that the device does not reach goes through the kernel's copy of it, in pieces of its size. */
static void bounced(struct kunit *test)
{
	struct drm_svm_migrate *job = job_create(test, SPAN);
	struct px_vram *v = px_vram_create(test, &in_runs);
	struct sx_fixture *f = test->priv;

	px_map(test, f->start, SPAN, 1);
	px_bounce(test, v, f->start);
	KUNIT_EXPECT_EQ(test, px_job(v, f->start, SPAN, job), 0);
	KUNIT_EXPECT_EQ(test, job->result[DRM_SVM_MOVED], PAGES);
	KUNIT_EXPECT_LE(test, v->last_addr, DMA_BIT_MASK(32));
	px_expect_device_data(test, v, f->start, SPAN, 1);
	px_expect_data(test, f->start, SPAN, 1);
}

static void bad_spans(struct kunit *test)
{
	struct drm_svm_migrate *job = job_create(test, SPAN);
	struct px_vram *v = px_vram_create(test, &plain);
	struct sx_fixture *f = test->priv;

	px_map(test, f->start, SPAN, 1);
	KUNIT_EXPECT_EQ(test, px_job(v, f->start + 1, PAGE_SIZE, job), -EINVAL);
	KUNIT_EXPECT_EQ(test, px_job(v, f->start, PAGE_SIZE + 1, job), -EINVAL);
	KUNIT_EXPECT_EQ(test, px_job(v, f->start, 0, job), -EINVAL);
	KUNIT_EXPECT_EQ(test, px_job(v, f->start + PAGE_SIZE, -PAGE_SIZE, job), -EINVAL);
	KUNIT_EXPECT_EQ(test, v->alloc_calls, 0);
}

/* Pieces ----------------------------------------------------------------------------------- */

/* How many pieces RAM is in, where the device's memory is in one. */
static unsigned int count_pieces(struct kunit *test, unsigned long addr, unsigned long bytes)
{
	phys_addr_t phys, last = 0;
	unsigned int pieces = 0;
	unsigned long offset;

	for (offset = 0; offset < bytes; offset += PAGE_SIZE) {
		phys = sx_phys(test, addr + offset);
		pieces += phys != last + PAGE_SIZE;
		last = phys;
	}
	return pieces;
}

/* In an array a piece is of a power of two; there are no fewer of them than of runs. */
static void pieces_in_arrays(struct kunit *test)
{
	struct drm_svm_migrate *job = job_create(test, SPAN);
	struct px_vram *v = px_vram_create(test, &plain);
	struct sx_fixture *f = test->priv;
	unsigned int count;

	px_map(test, f->start, SPAN, 1);
	count = count_pieces(test, f->start, SPAN);
	KUNIT_ASSERT_EQ(test, px_job(v, f->start, SPAN, job), 0);
	KUNIT_EXPECT_GE(test, v->in.pieces, count);
	KUNIT_EXPECT_LE(test, v->in.pieces, PAGES);
	KUNIT_EXPECT_EQ(test, v->in.pages, PAGES);
}

/* What follows each other on both sides is one piece, and nothing else is. */
static void pieces(struct kunit *test)
{
	struct drm_svm_migrate *job = job_create(test, SPAN);
	struct px_vram *v = px_vram_create(test, &in_runs);
	struct sx_fixture *f = test->priv;
	unsigned int count;

	px_map(test, f->start, SPAN, 1);
	count = count_pieces(test, f->start, SPAN);
	KUNIT_ASSERT_EQ(test, px_job(v, f->start, SPAN, job), 0);
	KUNIT_EXPECT_EQ(test, v->in.pieces, count);
	KUNIT_EXPECT_EQ(test, v->in.pages, PAGES);
}

static void pieces_of_scattered(struct kunit *test)
{
	struct drm_svm_migrate *job = job_create(test, SPAN);
	struct px_vram *v = px_vram_create(test, &scattered);
	struct sx_fixture *f = test->priv;

	px_map(test, f->start, SPAN, 1);
	KUNIT_ASSERT_EQ(test, px_job(v, f->start, SPAN, job), 0);
	KUNIT_EXPECT_EQ(test, v->in.pieces, PAGES);
	KUNIT_EXPECT_EQ(test, v->in.largest, 1);
}

/* While one batch is being copied the next one is on its way. */
static void overlap(struct kunit *test)
{
	struct drm_svm_migrate *job = job_create(test, SX_AREA);
	struct px_vram *v = px_vram_create(test, &late);
	struct sx_fixture *f = test->priv;

	px_map(test, f->start, SX_AREA, 1);
	KUNIT_ASSERT_EQ(test, px_job(v, f->start, SX_AREA, job), 0);
	KUNIT_EXPECT_EQ(test, job->result[DRM_SVM_MOVED], PX_FRAMES);
	KUNIT_EXPECT_EQ(test, v->most_in_flight, 2);
	px_expect_device_data(test, v, f->start, SX_AREA, 1);
	px_expect_data(test, f->start, SX_AREA, 1);
}

static struct kunit_case pagemap_job_cases[] = {
	KUNIT_CASE(moves),
	KUNIT_CASE(moves_in_runs),
	KUNIT_CASE(moves_scattered),
	KUNIT_CASE(moves_much),
	KUNIT_CASE(workers),
	KUNIT_CASE(more_workers_than_work),
	KUNIT_CASE(many_vmas),
	KUNIT_CASE(holes),
	KUNIT_CASE(stays),
	KUNIT_CASE(no_access),
	KUNIT_CASE(no_device_memory),
	KUNIT_CASE(alloc_fails),
	KUNIT_CASE(copy_fails),
	KUNIT_CASE(copy_fails_in_runs),
	KUNIT_CASE(bounced),
	KUNIT_CASE(bad_spans),
	KUNIT_CASE(pieces),
	KUNIT_CASE(pieces_in_arrays),
	KUNIT_CASE(pieces_of_scattered),
	KUNIT_CASE(overlap),
	{}
};

static struct kunit_suite pagemap_job_suite = {
	.name = "dsvm_pagemap_job",
	.suite_init = sx_suite_init,
	.suite_exit = sx_suite_exit,
	.init = px_init,
	.exit = px_exit,
	.test_cases = pagemap_job_cases,
};
kunit_test_suite(pagemap_job_suite);
