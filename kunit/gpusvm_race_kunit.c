// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Several things at the same time: faults that wait in the middle while something else happens,
 * in an order that the case fixes; and a second of everything at once, with a checker.
 */
#include <linux/delay.h>
#include <linux/kthread.h>
#include <linux/mman.h>
#include <linux/mmu_notifier.h>
#include <linux/sched/task.h>

#include "gpusvm_fixture.h"

static const struct sx_config one_lock = {};
static const struct sx_config one_notifier_lock = { .concurrent = true, .keeps_rest = true };
static const struct sx_config many_locks = {
	.features = DRM_SVM_WINDOW_LOCKS,
	.concurrent = true,
	.keeps_rest = true,
};
static const struct sx_config two_passes = {
	.features = DRM_SVM_WINDOW_LOCKS,
	.concurrent = true,
	.keeps_rest = true,
	.two_passes = true,
	.devices = 2,
};

static struct drm_svm_counters counters_of(struct sx_mirror *m)
{
	struct drm_svm_counters counters;

	drm_svm_read_counters(&m->base, &counters);
	return counters;
}

/* Long enough for a thread to come to where it waits, or to go past it. */
static void let_run(void)
{
	msleep(50);
}

/* A collection that waits ------------------------------------------------------------------------- */

/* Two ranges of two files in one window, of which the second one is bound. */
struct scene {
	struct sx_mirror *m;
	struct sx_file *slow;
	struct sx_file *other;
	unsigned long at;
	unsigned long other_at;
	struct sx_fault_thread thread;
};

static void open_file(struct sx_file *sf)
{
	WRITE_ONCE(sf->closed, -1);
	complete_all(&sf->open);
}

/* A thread has collected half of the slow range, and waits for a page. */
static struct scene *begin_slow(struct kunit *test, const struct sx_config *config)
{
	struct scene *s = kunit_kzalloc(test, sizeof(*s), GFP_KERNEL);
	struct sx_fixture *f = test->priv;
	bool arrived;

	KUNIT_ASSERT_NOT_NULL(test, s);
	s->m = sx_mirror_create(test, config);
	s->slow = sx_file_create(test, 0);
	s->other = sx_file_create(test, 0);
	s->at = f->start;
	s->other_at = f->start + SX_RANGE;
	sx_map_file(test, s->at, SX_RANGE, PROT_READ | PROT_WRITE, MAP_SHARED, s->slow);
	sx_map_file(test, s->other_at, SX_RANGE, PROT_READ | PROT_WRITE, MAP_SHARED,
		    s->other);
	KUNIT_ASSERT_EQ(test, sx_fault(s->m, s->other_at, DRM_SVM_ACCESS_WRITE), 0);

	s->slow->closed = SX_RANGE_PAGES / 2;
	sx_fault_begin(test, &s->thread, s->m, s->at, DRM_SVM_ACCESS_WRITE);
	arrived = wait_for_completion_timeout(&s->slow->arrived, SX_PATIENCE);
	if (!arrived) {
		open_file(s->slow);
		sx_fault_end(&s->thread);
	}
	KUNIT_ASSERT_TRUE(test, arrived);
	return s;
}

static void end_slow(struct kunit *test, struct scene *s)
{
	int ret;

	KUNIT_EXPECT_FALSE(test, completion_done(&s->thread.done));
	open_file(s->slow);
	ret = sx_fault_end(&s->thread);
	KUNIT_EXPECT_EQ(test, ret, 0);
	sx_expect_bound(test, s->m, s->at, SX_RANGE);
	sx_check(test, s->m);
}

/* What happens to another range of the window does not disturb it. */
static void zap_elsewhere_with(struct kunit *test, const struct sx_config *config)
{
	struct scene *s = begin_slow(test, config);
	struct drm_svm_counters before = counters_of(s->m), after;
	unsigned int i;

	for (i = 0; i < SX_RANGE_PAGES; i++)
		sx_file_zap(s->other, i, 1);
	sx_expect_unbound(test, s->m, s->other_at, SX_RANGE);
	end_slow(test, s);

	after = counters_of(s->m);
	KUNIT_EXPECT_EQ(test, after.invalidations, before.invalidations + SX_RANGE_PAGES);
	KUNIT_EXPECT_EQ(test, after.collections, before.collections + 1);
	KUNIT_EXPECT_EQ(test, after.collection_retries, before.collection_retries);
	sx_mirror_destroy(test, s->m);
}

static void zap_elsewhere(struct kunit *test)
{
	zap_elsewhere_with(test, &one_lock);
}

static void zap_elsewhere_concurrent(struct kunit *test)
{
	zap_elsewhere_with(test, &many_locks);
}

/* What happens to the range itself does: it would have pages that the CPU has not. */
static void zap_itself_with(struct kunit *test, const struct sx_config *config)
{
	struct scene *s = begin_slow(test, config);
	struct drm_svm_counters before = counters_of(s->m), after;

	sx_file_zap(s->slow, 0, 1);
	swap(s->slow->pages[0], s->slow->pages[SX_FILE_PAGES - 1]);
	end_slow(test, s);

	after = counters_of(s->m);
	KUNIT_EXPECT_EQ(test, after.collections, before.collections + 1);
	KUNIT_EXPECT_EQ(test, sx_entry_phys(s->m, 0, s->at), page_to_phys(s->slow->pages[0]));
	sx_mirror_destroy(test, s->m);
}

static void zap_itself(struct kunit *test)
{
	zap_itself_with(test, &one_lock);
}

static void zap_itself_concurrent(struct kunit *test)
{
	zap_itself_with(test, &many_locks);
}

/* Another part of the driver whose invalidation takes its time. */
struct slow_notifier {
	struct mmu_interval_notifier base;
	struct sx_file *zapped;
	struct completion reached;
	struct completion go;
	struct completion done;
};

static bool slow_invalidate(struct mmu_interval_notifier *base,
			    const struct mmu_notifier_range *mmu_range, unsigned long seq)
{
	struct slow_notifier *slow = container_of(base, struct slow_notifier, base);

	mmu_interval_set_seq(base, seq);
	complete(&slow->reached);
	wait_for_completion(&slow->go);
	return true;
}

static const struct mmu_interval_notifier_ops slow_ops = {
	.invalidate = slow_invalidate,
};

static int slow_main(void *data)
{
	struct slow_notifier *slow = data;

	sx_file_zap(slow->zapped, 0, 1);
	complete(&slow->done);
	return 0;
}

/*
 * A fault does not wait for an invalidation that is under way elsewhere in the window: the
 * window has been told of it, and somebody else who was has not come to the end.
 */
static void busy_elsewhere(struct kunit *test)
{
	struct slow_notifier *slow = kunit_kzalloc(test, sizeof(*slow), GFP_KERNEL);
	struct sx_fault_thread *thread = kunit_kzalloc(test, sizeof(*thread), GFP_KERNEL);
	struct sx_mirror *m = sx_mirror_create(test, &many_locks);
	struct sx_fixture *f = test->priv;
	unsigned long other_at = f->start + SX_RANGE;
	struct drm_gpusvm_range *range;
	struct task_struct *task;
	bool served;

	KUNIT_ASSERT_NOT_NULL(test, slow);
	KUNIT_ASSERT_NOT_NULL(test, thread);
	slow->zapped = sx_file_create(test, 0);
	init_completion(&slow->reached);
	init_completion(&slow->go);
	init_completion(&slow->done);
	sx_map(test, f->start, SX_RANGE);
	sx_map_file(test, other_at, SX_RANGE, PROT_READ | PROT_WRITE, MAP_SHARED, slow->zapped);
	KUNIT_ASSERT_EQ(test, sx_fault(m, other_at, DRM_SVM_ACCESS_WRITE), 0);
	/* One that is made later could not know whether it was met. */
	range = sx_get_range(m, f->start, DRM_SVM_ACCESS_WRITE);
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, range);
	sx_put_range(m, range);

	/* Behind the start of the window, so that it hears of an event after the window. */
	KUNIT_ASSERT_EQ(test, mmu_interval_notifier_insert(&slow->base, f->mm, other_at, SX_RANGE,
							   &slow_ops), 0);
	task = kthread_create(slow_main, slow, "drm_svm_kunit");
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, task);
	get_task_struct(task);
	wake_up_process(task);
	KUNIT_EXPECT_NE(test, wait_for_completion_timeout(&slow->reached, SX_PATIENCE), 0);
	sx_expect_unbound(test, m, other_at, SX_RANGE);

	sx_fault_begin(test, thread, m, f->start, DRM_SVM_ACCESS_WRITE);
	served = wait_for_completion_timeout(&thread->done, SX_PATIENCE / 10);
	KUNIT_EXPECT_TRUE(test, served);
	KUNIT_EXPECT_FALSE(test, completion_done(&slow->done));
	sx_expect_bound(test, m, f->start, SX_RANGE);

	complete_all(&slow->go);
	wait_for_completion(&slow->done);
	kthread_stop(task);
	put_task_struct(task);
	KUNIT_EXPECT_EQ(test, sx_fault_end(thread), 0);
	mmu_interval_notifier_remove(&slow->base);
	sx_check(test, m);
	sx_mirror_destroy(test, m);
}

/* Faults elsewhere are served meanwhile. */
static void fault_elsewhere(struct kunit *test)
{
	struct scene *s = begin_slow(test, &many_locks);

	sx_file_zap(s->other, 0, SX_RANGE_PAGES);
	KUNIT_EXPECT_EQ(test, sx_fault(s->m, s->other_at, DRM_SVM_ACCESS_WRITE), 0);
	sx_expect_bound(test, s->m, s->other_at, SX_RANGE);
	end_slow(test, s);
	sx_mirror_destroy(test, s->m);
}

/* A binding that waits ---------------------------------------------------------------------------- */

struct hold {
	unsigned long addr;
	struct completion reached;
	struct completion go;
};

static void wait_in_hold(struct sx_mirror *m, struct drm_gpusvm_range *range)
{
	struct hold *hold = m->hook_arg;

	if (drm_gpusvm_range_start(range) != hold->addr)
		return;
	complete(&hold->reached);
	wait_for_completion(&hold->go);
}

static struct hold *hold_at(struct kunit *test, struct sx_mirror *m, unsigned long addr)
{
	struct hold *hold = kunit_kzalloc(test, sizeof(*hold), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, hold);
	hold->addr = addr;
	init_completion(&hold->reached);
	init_completion(&hold->go);
	m->hook_arg = hold;
	m->on_collected = wait_in_hold;
	return hold;
}

/* Two faults on different ranges overlap, in the same window and in another one. */
static void overlap_with(struct kunit *test, const struct sx_config *config)
{
	struct sx_mirror *m = sx_mirror_create(test, config);
	struct sx_fixture *f = test->priv;
	struct sx_fault_thread *thread = kunit_kzalloc(test, sizeof(*thread), GFP_KERNEL);
	struct hold *hold = hold_at(test, m, f->start);
	bool reached;

	KUNIT_ASSERT_NOT_NULL(test, thread);
	/* No block for a huge page, which an unmapping of a part would take away as a whole. */
	sx_map(test, f->start, 2 * SX_RANGE);
	sx_map(test, f->start + SZ_2M, SX_RANGE);
	sx_fault_begin(test, thread, m, f->start, DRM_SVM_ACCESS_WRITE);
	reached = wait_for_completion_timeout(&hold->reached, SX_PATIENCE);
	KUNIT_EXPECT_TRUE(test, reached);

	KUNIT_EXPECT_EQ(test, sx_fault(m, f->start + SX_RANGE, DRM_SVM_ACCESS_WRITE), 0);
	KUNIT_EXPECT_EQ(test, sx_fault(m, f->start + SZ_2M, DRM_SVM_ACCESS_WRITE), 0);
	sx_expect_bound(test, m, f->start + SX_RANGE, SX_RANGE);
	sx_expect_bound(test, m, f->start + SZ_2M, SX_RANGE);
	/* So is what the CPU does to them, and what becomes of that. */
	KUNIT_EXPECT_EQ(test, sx_munmap(f, f->start + SX_RANGE, PAGE_SIZE), 0);
	sx_bury(m);
	KUNIT_EXPECT_FALSE(test, completion_done(&thread->done));
	sx_expect_unbound(test, m, f->start, SX_RANGE);

	complete_all(&hold->go);
	KUNIT_EXPECT_EQ(test, sx_fault_end(thread), 0);
	sx_expect_bound(test, m, f->start, SX_RANGE);
	KUNIT_EXPECT_EQ(test, atomic_read(&m->binds), 3);
	KUNIT_EXPECT_EQ(test, counters_of(m).collections, 3);
	sx_check(test, m);
	sx_mirror_destroy(test, m);
}

static void overlap(struct kunit *test)
{
	overlap_with(test, &many_locks);
}

static void overlap_with_one_notifier_lock(struct kunit *test)
{
	overlap_with(test, &one_notifier_lock);
}

/* Of two faults on one range the second one finds it bound. */
static void same_range(struct kunit *test)
{
	struct sx_mirror *m = sx_mirror_create(test, &many_locks);
	struct sx_fixture *f = test->priv;
	struct sx_fault_thread *threads = kunit_kcalloc(test, 2, sizeof(*threads), GFP_KERNEL);
	struct hold *hold = hold_at(test, m, f->start);

	KUNIT_ASSERT_NOT_NULL(test, threads);
	sx_map(test, f->start, SX_RANGE);
	sx_fault_begin(test, &threads[0], m, f->start, DRM_SVM_ACCESS_WRITE);
	KUNIT_EXPECT_NE(test, wait_for_completion_timeout(&hold->reached, SX_PATIENCE), 0);
	sx_fault_begin(test, &threads[1], m, f->start + 3 * PAGE_SIZE, DRM_SVM_ACCESS_WRITE);
	let_run();
	KUNIT_EXPECT_FALSE(test, completion_done(&threads[0].done));
	KUNIT_EXPECT_FALSE(test, completion_done(&threads[1].done));

	complete_all(&hold->go);
	KUNIT_EXPECT_EQ(test, sx_fault_end(&threads[0]), 0);
	KUNIT_EXPECT_EQ(test, sx_fault_end(&threads[1]), 0);
	KUNIT_EXPECT_EQ(test, atomic_read(&m->binds), 1);
	KUNIT_EXPECT_EQ(test, counters_of(m).collections, 1);
	KUNIT_EXPECT_EQ(test, counters_of(m).ranges_made, 1);
	sx_expect_bound(test, m, f->start, SX_RANGE);
	sx_check(test, m);
	sx_mirror_destroy(test, m);
}

/* The pages go between their collection and the entries: nothing is bound to them. */
static void zap_once(struct sx_mirror *m, struct drm_gpusvm_range *range)
{
	struct sx_file *sf = m->hook_arg;

	m->on_collected = NULL;
	sx_file_zap(sf, 7, 1);
}

static void zap_before_bind_with(struct kunit *test, const struct sx_config *config)
{
	struct sx_mirror *m = sx_mirror_create(test, config);
	struct sx_file *sf = sx_file_create(test, 0);
	struct sx_fixture *f = test->priv;

	sx_map_file(test, f->start, SX_RANGE, PROT_READ | PROT_WRITE, MAP_SHARED, sf);
	m->hook_arg = sf;
	m->on_collected = zap_once;
	KUNIT_EXPECT_EQ(test, sx_fault(m, f->start, DRM_SVM_ACCESS_WRITE), 0);
	KUNIT_EXPECT_EQ(test, atomic_read(&m->binds), 1);
	KUNIT_EXPECT_EQ(test, counters_of(m).collections, 2 * m->config.devices);
	KUNIT_EXPECT_EQ(test, counters_of(m).ranges_made, 1);
	sx_expect_bound(test, m, f->start, SX_RANGE);
	sx_check(test, m);
	sx_mirror_destroy(test, m);
}

static void zap_before_bind(struct kunit *test)
{
	zap_before_bind_with(test, &one_lock);
}

static void zap_before_bind_two_passes(struct kunit *test)
{
	zap_before_bind_with(test, &two_passes);
}

/* The memory goes there: the fault ends as one on memory that is not there. */
static void unmap_once(struct sx_mirror *m, struct drm_gpusvm_range *range)
{
	int *ret = m->hook_arg;

	m->on_collected = NULL;
	*ret = sx_munmap(m->fixture, m->fixture->start, SX_RANGE);
}

static void unmap_before_bind(struct kunit *test)
{
	struct sx_mirror *m = sx_mirror_create(test, &many_locks);
	struct sx_fixture *f = test->priv;
	int *ret = kunit_kzalloc(test, sizeof(*ret), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, ret);
	*ret = -EINVAL;
	sx_map(test, f->start, SX_RANGE);
	m->hook_arg = ret;
	m->on_collected = unmap_once;
	KUNIT_EXPECT_EQ(test, sx_fault(m, f->start, DRM_SVM_ACCESS_WRITE), -ENOENT);
	KUNIT_EXPECT_EQ(test, *ret, 0);
	KUNIT_EXPECT_EQ(test, atomic_read(&m->binds), 0);
	sx_expect_unbound(test, m, f->start, SX_RANGE);
	sx_mirror_destroy(test, m);
}

/* Everything at once ------------------------------------------------------------------------------- */

/* Lockdep makes each act some hundred times as long. */
#define STORM_MS (IS_ENABLED(CONFIG_PROVE_LOCKING) ? 5000 : 1000)

struct actor {
	struct sx_mirror *m;
	unsigned long bytes; /* of memory, from the start of the area on */
	void (*act)(struct actor *a);
	struct task_struct *task;
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

/* Half of the time of the first range, so that they meet. */
static unsigned long draw_page(struct actor *a)
{
	u32 pages = draw(a, 2) ? SX_RANGE_PAGES : a->bytes >> PAGE_SHIFT;

	return a->m->fixture->start + draw(a, pages) * PAGE_SIZE;
}

static void act_fault(struct actor *a)
{
	enum drm_svm_access access = draw(a, 2) ? DRM_SVM_ACCESS_READ : DRM_SVM_ACCESS_WRITE;
	int ret = sx_fault(a->m, draw_page(a), access);

	/* The memory may have gone before there was a range, or after that. */
	if (ret && ret != -ENOENT && ret != -EFAULT) {
		a->wrong++;
		a->error = ret;
	}
}

/* Of ranges a part of which has gone. */
static u64 cuts_of(struct sx_mirror *m)
{
	struct drm_svm_counters c = counters_of(m);

	return c.ranges_trimmed + c.ranges_split;
}

static void act_remove(struct actor *a)
{
	unsigned long addr = draw_page(a);
	u64 cuts = cuts_of(a->m);
	struct drm_gpusvm_range *range = drm_svm_range_first(&a->m->base, addr, TASK_SIZE);

	if (!range)
		return;
	if (drm_svm_range_lock(range)) {
		/* Unless it has been cut before it was locked. */
		a->wrong += drm_gpusvm_range_end(range) <= addr && cuts_of(a->m) == cuts;
		sx_remove(a->m, range);
		drm_svm_range_unlock(range);
	}
	drm_gpusvm_range_put(range);
	usleep_range(500, 1500);
}

/* Takes memory away and puts other memory in its place. */
static void act_map(struct actor *a)
{
	struct sx_fixture *f = a->m->fixture;
	unsigned long bytes = (1 + draw(a, SX_RANGE_PAGES / 2)) * PAGE_SIZE;
	unsigned long addr = min(draw_page(a), f->start + a->bytes - bytes);

	a->wrong += sx_munmap(f, addr, bytes) != 0;
	if (draw(a, 2))
		usleep_range(500, 1500);
	a->wrong += sx_mmap(f, addr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
			    NULL) != 0;
}

static void act_check(struct actor *a)
{
	a->wrong += sx_count_errors(a->m);
	usleep_range(1000, 3000);
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
	act_fault, act_fault, act_fault, act_remove, act_map, act_check,
};

static void storm_with(struct kunit *test, const struct sx_config *config, unsigned long bytes)
{
	struct actor *actors = kunit_kcalloc(test, ARRAY_SIZE(acts), sizeof(*actors), GFP_KERNEL);
	struct sx_mirror *m = sx_mirror_create(test, config);
	struct sx_fixture *f = test->priv;
	struct drm_svm_counters c;
	unsigned int i;

	KUNIT_ASSERT_NOT_NULL(test, actors);
	sx_map(test, f->start, bytes);
	for (i = 0; i < ARRAY_SIZE(acts); i++) {
		actors[i] = (struct actor){
			.m = m,
			.bytes = bytes,
			.act = acts[i],
			.random = i,
		};
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
	sx_bury(m);
	sx_check(test, m);

	c = counters_of(m);
	KUNIT_EXPECT_EQ(test, atomic_read(&m->ranges), c.ranges_made - c.ranges_removed);
	KUNIT_EXPECT_GT(test, c.invalidations, 0);
	KUNIT_EXPECT_GT(test, c.collections, 0);
	kunit_info(test, "%llu faults, %llu collections, %llu retries, %llu ranges, %llu split, %llu trimmed, %llu lost races, %llu invalidations",
		   c.faults, c.collections, c.collection_retries, c.ranges_made, c.ranges_split,
		   c.ranges_trimmed, c.lost_races, c.invalidations);
	sx_mirror_destroy(test, m);
}

/* Two windows and a piece of a third one. */
#define STORM_BYTES (SZ_4M + SX_RANGE)

static void storm(struct kunit *test)
{
	storm_with(test, &many_locks, STORM_BYTES);
}

static void storm_with_one_notifier_lock(struct kunit *test)
{
	storm_with(test, &one_notifier_lock, STORM_BYTES);
}

static void storm_two_passes(struct kunit *test)
{
	storm_with(test, &two_passes, STORM_BYTES);
}

/* All of it in one place: the window comes and goes as well. */
static void storm_in_one_range(struct kunit *test)
{
	storm_with(test, &many_locks, SX_RANGE);
}

static struct kunit_case gpusvm_race_cases[] = {
	KUNIT_CASE(zap_elsewhere),
	KUNIT_CASE(zap_elsewhere_concurrent),
	KUNIT_CASE(zap_itself),
	KUNIT_CASE(zap_itself_concurrent),
	KUNIT_CASE(busy_elsewhere),
	KUNIT_CASE(fault_elsewhere),
	KUNIT_CASE(overlap),
	KUNIT_CASE(overlap_with_one_notifier_lock),
	KUNIT_CASE(same_range),
	KUNIT_CASE(zap_before_bind),
	KUNIT_CASE(zap_before_bind_two_passes),
	KUNIT_CASE(unmap_before_bind),
	KUNIT_CASE(storm),
	KUNIT_CASE(storm_with_one_notifier_lock),
	KUNIT_CASE(storm_two_passes),
	KUNIT_CASE(storm_in_one_range),
	{}
};

static struct kunit_suite gpusvm_race_suite = {
	.name = "dsvm_gpusvm_race",
	.suite_init = sx_suite_init,
	.suite_exit = sx_suite_exit,
	.init = sx_init,
	.exit = sx_exit,
	.test_cases = gpusvm_race_cases,
};
kunit_test_suite(gpusvm_race_suite);
