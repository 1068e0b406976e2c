// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Everything at once: memory that CPUs write to goes to two devices, from one to the other, and
 * back, by faults and by evictions, in pieces and as huge pages, while neighbours come and go.
 *
 * Each page belongs to one writer, who knows what he has written last: what he finds must be that.
 */
#include <linux/delay.h>
#include <linux/kthread.h>
#include <linux/mm.h>
#include <linux/mman.h>

#include "pagemap_fixture.h"

/* Lockdep makes each act some hundred times as long. */
#define STORM_MS (IS_ENABLED(CONFIG_PROVE_LOCKING) ? 8000 : 2000)

/* Two blocks of huge pages that are written, and some memory that comes and goes behind them. */
#define WRITTEN ((unsigned long)SZ_4M)
#define PAGES (WRITTEN / PAGE_SIZE)
#define COMING ((unsigned long)SZ_256K)
#define WORDS (PAGE_SIZE / sizeof(u32))

#define WRITERS 2
#define KNOWN 8

struct storm {
	struct sx_fixture *f;
	struct px_vram *v[2];
	/* How often each page was written; its writer's. */
	u32 count[PAGES];
	/* Allocations that somebody may evict, with a reference. */
	spinlock_t lock;
	struct px_alloc *known[KNOWN];
};

struct actor {
	struct storm *s;
	void (*act)(struct actor *a);
	struct task_struct *task;
	unsigned int number;
	/* Another sequence for each actor, the same in each run. */
	u32 random;
	unsigned int acts;
	unsigned int wrong;
	int error; /* the last one that was */
};

static u32 draw(struct actor *a, u32 below)
{
	/* Numerical Recipes' generator; its high bits are good enough here. */
	a->random = a->random * 1664525 + 1013904223;
	return (a->random >> 8) % below;
}

static void fail(struct actor *a, int error)
{
	a->wrong++;
	a->error = error;
}

/* A span of up to 2 MiB, not aligned to more than pages. */
static unsigned long draw_span(struct actor *a, unsigned long *bytes)
{
	unsigned long first = draw(a, PAGES);

	*bytes = min_t(unsigned long, 1 + draw(a, HPAGE_PMD_NR), PAGES - first) * PAGE_SIZE;
	return a->s->f->start + first * PAGE_SIZE;
}

/* What was written last is there, and what comes after it is written. */
static void act_write(struct actor *a)
{
	unsigned int page = draw(a, PAGES / WRITERS) * WRITERS + a->number;
	unsigned long addr = a->s->f->start + page * PAGE_SIZE;
	u32 value, count = a->s->count[page];
	int ret = 0;

	if (count)
		ret = sx_cpu_read(a->s->f, addr + count % WORDS * sizeof(u32), &value);
	if (!ret && count && value != count)
		ret = -EILSEQ;
	count++;
	ret = ret ?: sx_cpu_write(a->s->f, addr + count % WORDS * sizeof(u32), count);
	if (ret)
		fail(a, ret);
	a->s->count[page] = count;
}

/* Keeps an allocation for those who evict, in the place of another one. */
static void make_known(struct actor *a, struct px_alloc *alloc)
{
	unsigned int i = draw(a, KNOWN);
	struct px_alloc *old;

	spin_lock(&a->s->lock);
	old = a->s->known[i];
	a->s->known[i] = alloc;
	spin_unlock(&a->s->lock);
	if (old)
		px_alloc_put(old);
}

/* Mainline's entry refuses most of what it meets here. */
static void act_migrate(struct actor *a)
{
	unsigned long bytes, addr = draw_span(a, &bytes);
	struct px_alloc *alloc;
	int ret = px_to_device(a->s->v[draw(a, 2)], addr, bytes, &alloc);

	if (!ret)
		make_known(a, alloc);
	else if (ret != -EBUSY && ret != -ENOSPC)
		fail(a, ret);
}

static void act_job(struct actor *a)
{
	struct drm_svm_migrate job = { .workers = draw(a, 3), .fault_in = draw(a, 2) };
	unsigned long bytes, addr = draw_span(a, &bytes), sum = 0;
	unsigned int i;
	int ret;

	/* Over the end of what is written, at times. */
	ret = px_job(a->s->v[draw(a, 2)], addr, bytes + draw(a, 2) * COMING / 2, &job);
	for (i = 0; i < DRM_SVM_STAYS; i++)
		sum += job.result[i];
	if (ret || sum != (job.end - job.start) >> PAGE_SHIFT)
		fail(a, ret);
}

static void act_evict(struct actor *a)
{
	struct px_alloc *alloc;
	unsigned long first;
	int ret;

	spin_lock(&a->s->lock);
	alloc = a->s->known[draw(a, KNOWN)];
	if (alloc)
		px_alloc_get(alloc);
	spin_unlock(&a->s->lock);
	if (!alloc) {
		usleep_range(500, 1000);
		return;
	}

	first = draw(a, alloc->npages);
	ret = draw(a, 2) ? drm_pagemap_evict_to_ram(&alloc->base) :
	      drm_svm_evict(&alloc->base, first * PAGE_SIZE,
			    (1 + draw(a, alloc->npages - first)) * PAGE_SIZE);
	if (ret && ret != -EBUSY)
		fail(a, ret);
	px_alloc_put(alloc);
}

/* Takes memory away, wherever it is, and puts other memory in its place. */
static void act_map(struct actor *a)
{
	unsigned long bytes = (1 + draw(a, COMING / PAGE_SIZE)) * PAGE_SIZE;
	unsigned long addr = a->s->f->start + WRITTEN + COMING - bytes;
	int ret = sx_munmap(a->s->f, addr, bytes);

	usleep_range(500, 1500);
	ret = ret ?: sx_mmap(a->s->f, addr, bytes, PROT_READ | PROT_WRITE,
			     MAP_PRIVATE | MAP_ANONYMOUS, NULL);
	ret = ret ?: sx_cpu_write(a->s->f, addr, 1);
	if (ret)
		fail(a, ret);
}

static int actor_main(void *data)
{
	struct actor *a = data;

	while (!kthread_should_stop()) {
		a->act(a);
		a->acts++;
		cond_resched();
	}
	return 0;
}

static void (*const acts[])(struct actor *a) = {
	/* The writers are first: their numbers count. */
	act_write, act_write, act_migrate, act_job, act_job, act_evict, act_map,
};

static void expect_counts(struct kunit *test, struct storm *s)
{
	unsigned int i, wrong = 0;
	u32 value;

	for (i = 0; i < PAGES; i++)
		if (s->count[i])
			wrong += sx_cpu_read(s->f, s->f->start + i * PAGE_SIZE +
					     s->count[i] % WORDS * sizeof(u32), &value) ||
				 value != s->count[i];
	KUNIT_EXPECT_EQ(test, wrong, 0);
}

static void run(struct kunit *test, struct storm *s)
{
	struct actor *actors = kunit_kcalloc(test, ARRAY_SIZE(acts), sizeof(*actors), GFP_KERNEL);
	unsigned int i;

	KUNIT_ASSERT_NOT_NULL(test, actors);
	for (i = 0; i < ARRAY_SIZE(acts); i++) {
		actors[i] = (struct actor){ .s = s, .act = acts[i], .number = i, .random = i };
		actors[i].task = kthread_run(actor_main, &actors[i], "drm_svm_kunit/%u", i);
		KUNIT_EXPECT_NOT_ERR_OR_NULL(test, actors[i].task);
	}
	msleep(STORM_MS);
	for (i = 0; i < ARRAY_SIZE(acts); i++)
		if (!IS_ERR(actors[i].task))
			kthread_stop(actors[i].task);

	for (i = 0; i < ARRAY_SIZE(acts); i++) {
		KUNIT_EXPECT_EQ_MSG(test, actors[i].wrong, 0, "actor %u, error %d", i,
				    actors[i].error);
		KUNIT_EXPECT_GT_MSG(test, actors[i].acts, 0, "actor %u", i);
	}
	kunit_info(test, "%u and %u writes, %u migrations, %u and %u jobs, %u evictions",
		   actors[0].acts, actors[1].acts, actors[2].acts, actors[3].acts, actors[4].acts,
		   actors[5].acts);
}

static void storm_with(struct kunit *test, struct px_config config)
{
	struct storm *s = kunit_kzalloc(test, sizeof(*s), GFP_KERNEL);
	struct sx_fixture *f = test->priv;
	unsigned int i;

	KUNIT_ASSERT_NOT_NULL(test, s);
	s->f = f;
	spin_lock_init(&s->lock);
	for (i = 0; i < 2; i++) {
		config.device = i;
		s->v[i] = px_vram_create(test, &config);
		/* Not enough for all of it at a time. */
		s->v[i]->limit = PAGES * 3 / 4;
	}
	sx_map(test, f->start, WRITTEN + COMING);
	/* Huge pages, where the kernel has some. */
	for (i = 0; i < WRITTEN; i += HPAGE_PMD_SIZE)
		KUNIT_ASSERT_EQ(test, sx_cpu_write(f, f->start + i, 0), 0);
	run(test, s);
	for (i = 0; i < KNOWN; i++)
		if (s->known[i])
			px_alloc_put(s->known[i]);

	expect_counts(test, s);
	for (i = 0; i < 2; i++) {
		struct dsvm_migrate_counters c = px_counters(s->v[i]);

		KUNIT_EXPECT_GT(test, s->v[i]->in.pages, 0);
		KUNIT_EXPECT_EQ(test, c.fault_lost, 0);
		KUNIT_EXPECT_EQ(test, drm_svm_pagemap_unplug(&s->v[i]->base, 20 * MSEC_PER_SEC), 0);
		px_expect_empty(test, s->v[i]);
		kunit_info(test, "device %u: %u in, %u out, %llu from the other one, %llu huge, %llu stayed, %llu races",
			   i, s->v[i]->in.pages, s->v[i]->out.pages, c.from_device, c.huge_moved,
			   c.stayed, c.fault_races);
	}
	expect_counts(test, s);
}

static void storm(struct kunit *test)
{
	storm_with(test, (struct px_config){});
}

static void storm_of_peers(struct kunit *test)
{
	storm_with(test, (struct px_config){ .clique = true, .copies_runs = true });
}

static void storm_late(struct kunit *test)
{
	storm_with(test, (struct px_config){ .clique = true, .copies_runs = true, .late = true });
}

static void storm_scattered(struct kunit *test)
{
	storm_with(test, (struct px_config){ .clique = true, .scattered = true });
}

static struct kunit_case pagemap_race_cases[] = {
	KUNIT_CASE(storm),
	KUNIT_CASE(storm_of_peers),
	KUNIT_CASE(storm_late),
	KUNIT_CASE(storm_scattered),
	{}
};

static struct kunit_suite pagemap_race_suite = {
	.name = "dsvm_pagemap_race",
	.suite_init = sx_suite_init,
	.suite_exit = sx_suite_exit,
	.init = px_init,
	.exit = px_exit,
	.test_cases = pagemap_race_cases,
};
kunit_test_suite(pagemap_race_suite);
