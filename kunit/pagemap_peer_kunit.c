// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Two devices: memory that goes from one to the other without a stop in RAM where they reach each
 * other, and through RAM, if that is wanted, where they do not.
 */
#include <linux/mman.h>

#include "pagemap_fixture.h"

#define SPAN ((unsigned long)SZ_512K)
#define PAGES (SPAN / PAGE_SIZE)

struct pair {
	struct px_vram *v[2];
	struct drm_svm_migrate job;
	u8 report[PAGES];
};

static struct pair *pair_create(struct kunit *test, struct px_config config)
{
	struct pair *p = kunit_kzalloc(test, sizeof(*p), GFP_KERNEL);
	unsigned int i;

	KUNIT_ASSERT_NOT_NULL(test, p);
	for (i = 0; i < 2; i++) {
		config.device = i;
		p->v[i] = px_vram_create(test, &config);
	}
	p->job.report = p->report;
	return p;
}

static int job(struct pair *p, unsigned int to)
{
	return px_job(p->v[to], p->v[to]->fixture->start, SPAN, &p->job);
}

static int move(struct pair *p, unsigned int to, bool mainline)
{
	return mainline ? px_to_device(p->v[to], p->v[to]->fixture->start, SPAN, NULL) : job(p, to);
}

/* On the one, and not on the other. */
static void expect_on(struct kunit *test, struct pair *p, unsigned int which)
{
	struct sx_fixture *f = test->priv;

	px_expect_places(test, p->v[which], f->start, SPAN, 0, PAGES);
	px_expect_places(test, p->v[!which], f->start, SPAN, 0, 0);
	px_expect_device_data(test, p->v[which], f->start, SPAN, 1);
	drm_svm_flush();
	KUNIT_EXPECT_EQ(test, p->v[which]->used, PAGES);
	KUNIT_EXPECT_EQ(test, p->v[!which]->used, 0);
}

static void one_hop_with(struct kunit *test, struct px_config config, bool mainline)
{
	struct pair *p = pair_create(test, config);
	struct sx_fixture *f = test->priv;

	KUNIT_ASSERT_PTR_EQ(test, p->v[0]->pagemap.owner, p->v[1]->pagemap.owner);
	px_map(test, f->start, SPAN, 1);
	px_alloc_put(px_move(test, p->v[0], f->start, SPAN));
	px_reset_copies(p->v[0]);

	KUNIT_ASSERT_EQ(test, move(p, 1, mainline), 0);
	expect_on(test, p, 1);
	/* By the engine of the device that has it. */
	KUNIT_EXPECT_EQ(test, p->v[0]->out.pages, PAGES);
	KUNIT_EXPECT_EQ(test, p->v[0]->in.calls, 0);
	KUNIT_EXPECT_EQ(test, p->v[1]->in.calls, 0);
	KUNIT_EXPECT_EQ(test, px_counters(p->v[1]).from_device, PAGES);

	/* And on, and back. */
	KUNIT_ASSERT_EQ(test, move(p, 0, mainline), 0);
	expect_on(test, p, 0);
	px_expect_data(test, f->start, SPAN, 1);
	px_expect_empty(test, p->v[0]);
	px_expect_empty(test, p->v[1]);
}

static void one_hop(struct kunit *test)
{
	one_hop_with(test, (struct px_config){ .clique = true }, false);
}

static void one_hop_in_runs(struct kunit *test)
{
	one_hop_with(test, (struct px_config){ .clique = true, .copies_runs = true }, false);
}

static void one_hop_late(struct kunit *test)
{
	one_hop_with(test, (struct px_config){ .clique = true, .copies_runs = true, .late = true },
		     false);
}

static void one_hop_scattered(struct kunit *test)
{
	one_hop_with(test, (struct px_config){ .clique = true, .scattered = true }, false);
}

static void one_hop_mainline(struct kunit *test)
{
	one_hop_with(test, (struct px_config){ .clique = true }, true);
}

/* Some in RAM, some on each device, some nowhere yet. */
static void from_everywhere(struct kunit *test)
{
	struct pair *p = pair_create(test, (struct px_config){ .clique = true });
	struct sx_fixture *f = test->priv;

	sx_map(test, f->start, SPAN);
	KUNIT_ASSERT_EQ(test, px_write(f, f->start, 3 * SZ_128K, 1), 0);
	px_alloc_put(px_move(test, p->v[0], f->start, SZ_128K));
	px_alloc_put(px_move(test, p->v[1], f->start + SZ_128K, SZ_128K));

	KUNIT_ASSERT_EQ(test, job(p, 1), 0);
	KUNIT_EXPECT_EQ(test, p->job.result[DRM_SVM_MOVED], 3 * PAGES / 4);
	KUNIT_EXPECT_EQ(test, p->job.result[DRM_SVM_WAS_THERE], PAGES / 4);
	KUNIT_EXPECT_EQ(test, px_counters(p->v[1]).from_device, PAGES / 4);
	px_expect_places(test, p->v[1], f->start, SPAN, 0, PAGES);
	px_expect_data(test, f->start, 3 * SZ_128K, 1);
	px_expect_zeroes(test, f->start + 3 * SZ_128K, SZ_128K);
	px_expect_empty(test, p->v[0]);
	px_expect_empty(test, p->v[1]);
}

/* It is the other device that cannot do it: what is there stays there, and what is not moves. */
static void copy_fails(struct kunit *test)
{
	struct pair *p = pair_create(test, (struct px_config){ .clique = true });
	struct sx_fixture *f = test->priv;

	px_map(test, f->start, SPAN, 1);
	px_alloc_put(px_move(test, p->v[0], f->start, SPAN / 2));
	px_fail_copies(p->v[0], -EIO, 1000);
	KUNIT_EXPECT_EQ(test, job(p, 1), 0);
	KUNIT_EXPECT_EQ(test, p->job.result[DRM_SVM_STAY_FOREIGN], PAGES / 2);
	KUNIT_EXPECT_EQ(test, p->job.result[DRM_SVM_MOVED], PAGES / 2);
	px_expect_places(test, p->v[0], f->start, SPAN, 0, PAGES / 2);
	px_expect_places(test, p->v[1], f->start, SPAN, 0, PAGES / 2);
	KUNIT_EXPECT_EQ(test, p->v[1]->maps, 0);
	drm_svm_flush();
	KUNIT_EXPECT_EQ(test, p->v[1]->used, PAGES / 2);

	px_fail_copies(p->v[0], 0, 0);
	KUNIT_EXPECT_EQ(test, job(p, 1), 0);
	expect_on(test, p, 1);
	px_expect_data(test, f->start, SPAN, 1);
}

/* Mainline's entry says it, and moves nothing. */
static void copy_fails_mainline(struct kunit *test)
{
	struct pair *p = pair_create(test, (struct px_config){ .clique = true });
	struct sx_fixture *f = test->priv;

	px_map(test, f->start, SPAN, 1);
	px_alloc_put(px_move(test, p->v[0], f->start, SPAN));
	px_fail_copies(p->v[0], -EIO, 1);
	KUNIT_EXPECT_EQ(test, move(p, 1, true), -EIO);
	expect_on(test, p, 0);
	KUNIT_EXPECT_EQ(test, p->v[1]->maps, 0);
	KUNIT_EXPECT_EQ(test, move(p, 1, true), 0);
	expect_on(test, p, 1);
	px_expect_data(test, f->start, SPAN, 1);
}

/* No way between them. Without leave to use RAM it stays; with it, it goes that way. */
static void no_way_with(struct kunit *test, struct pair *p, enum drm_svm_stay stay)
{
	struct sx_fixture *f = test->priv;

	px_map(test, f->start, SPAN, 1);
	px_alloc_put(px_move(test, p->v[0], f->start, SPAN));
	KUNIT_EXPECT_EQ(test, job(p, 1), 0);
	KUNIT_EXPECT_EQ(test, p->job.result[stay], PAGES);
	expect_on(test, p, 0);

	p->job.fault_in = true;
	KUNIT_EXPECT_EQ(test, job(p, 1), 0);
	KUNIT_EXPECT_EQ(test, p->job.result[DRM_SVM_MOVED], PAGES);
	expect_on(test, p, 1);
	KUNIT_EXPECT_EQ(test, p->v[1]->in.pages, PAGES);
	KUNIT_EXPECT_EQ(test, px_counters(p->v[1]).from_device, 0);
	px_expect_data(test, f->start, SPAN, 1);
	px_expect_empty(test, p->v[0]);
	px_expect_empty(test, p->v[1]);
}

/* Of two cliques: to the second one there is nothing to be seen of it. */
static void two_cliques(struct kunit *test)
{
	struct pair *p = pair_create(test, (struct px_config){});

	KUNIT_ASSERT_PTR_NE(test, p->v[0]->pagemap.owner, p->v[1]->pagemap.owner);
	no_way_with(test, p, DRM_SVM_STAY_SWAPPED);
}

/* Of one, and not reached all the same. */
static void deaf(struct kunit *test)
{
	struct pair *p = pair_create(test, (struct px_config){ .clique = true });

	p->v[1]->is_deaf = true;
	no_way_with(test, p, DRM_SVM_STAY_FOREIGN);
}

/* Mainline's entry has only all or nothing. */
static void deaf_mainline(struct kunit *test)
{
	struct pair *p = pair_create(test, (struct px_config){ .clique = true });
	struct sx_fixture *f = test->priv;
	int ret;

	px_map(test, f->start, SPAN, 1);
	px_alloc_put(px_move(test, p->v[0], f->start, SPAN));
	p->v[1]->is_deaf = true;
	ret = px_to_device(p->v[1], f->start, SPAN, NULL);
	KUNIT_EXPECT_TRUE_MSG(test, ret == -EBUSY || ret == -EFAULT, "%d", ret);
	expect_on(test, p, 0);
	px_expect_data(test, f->start, SPAN, 1);
}

/* What a look from one device says of both. */
static void residency(struct kunit *test)
{
	struct pair *p = pair_create(test, (struct px_config){ .clique = true });
	struct drm_svm_residency counts = {};
	struct sx_fixture *f = test->priv;

	px_map(test, f->start, SPAN, 1);
	px_alloc_put(px_move(test, p->v[0], f->start, SZ_64K));
	px_alloc_put(px_move(test, p->v[1], f->start + SZ_64K, SZ_128K));
	KUNIT_EXPECT_EQ(test, drm_svm_residency(f->mm, &p->v[0]->base, f->start, f->start + SPAN,
						SPAN, &counts), 0);
	KUNIT_EXPECT_EQ(test, counts.device, 16);
	KUNIT_EXPECT_EQ(test, counts.peer, 32);
	KUNIT_EXPECT_EQ(test, counts.system, PAGES - 48);
	KUNIT_EXPECT_EQ(test, counts.none, 0);
}

/* One device goes; what the other one has is not concerned. */
static void unplug_one(struct kunit *test)
{
	struct pair *p = pair_create(test, (struct px_config){ .clique = true });
	struct sx_fixture *f = test->priv;

	px_map(test, f->start, SPAN, 1);
	px_alloc_put(px_move(test, p->v[0], f->start, SPAN / 2));
	px_alloc_put(px_move(test, p->v[1], f->start + SPAN / 2, SPAN / 2));
	KUNIT_EXPECT_EQ(test, drm_svm_pagemap_unplug(&p->v[0]->base, 10 * MSEC_PER_SEC), 0);
	px_expect_places(test, p->v[1], f->start, SPAN, PAGES / 2, PAGES / 2);
	KUNIT_EXPECT_EQ(test, job(p, 0), -ENODEV);
	KUNIT_EXPECT_EQ(test, job(p, 1), 0);
	px_expect_places(test, p->v[1], f->start, SPAN, 0, PAGES);
	px_expect_data(test, f->start, SPAN, 1);
}

static struct kunit_case pagemap_peer_cases[] = {
	KUNIT_CASE(one_hop),
	KUNIT_CASE(one_hop_in_runs),
	KUNIT_CASE(one_hop_late),
	KUNIT_CASE(one_hop_scattered),
	KUNIT_CASE(one_hop_mainline),
	KUNIT_CASE(from_everywhere),
	KUNIT_CASE(copy_fails),
	KUNIT_CASE(copy_fails_mainline),
	KUNIT_CASE(two_cliques),
	KUNIT_CASE(deaf),
	KUNIT_CASE(deaf_mainline),
	KUNIT_CASE(residency),
	KUNIT_CASE(unplug_one),
	{}
};

static struct kunit_suite pagemap_peer_suite = {
	.name = "dsvm_pagemap_peer",
	.suite_init = sx_suite_init,
	.suite_exit = sx_suite_exit,
	.init = px_init,
	.exit = px_exit,
	.test_cases = pagemap_peer_cases,
};
kunit_test_suite(pagemap_peer_suite);
