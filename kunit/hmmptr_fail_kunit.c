// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * hmmptrs without memory: each allocation of each call that makes some fails in turn (fail_nth.h).
 */
#include <linux/mman.h>

#include "compat/mmu_notifier_compat.h"
#include "fail_nth.h"
#include "hmmptr_driver.h"

#define SPAN_PAGES 16
#define SPAN (SPAN_PAGES * PAGE_SIZE)

static int fail_init(struct kunit *test)
{
	int ret = fail_nth_init(test);

	return ret ?: sx_init(test);
}

struct scene {
	struct hx_vm *vm;
	struct hx_ptr *p;
	struct sx_file *file;
	struct drm_svm_hmmptr *made;
	struct drm_svm_hmmptr_args args;
};

/* Over a file, so that an invalidation leaves the memory there. */
static struct scene *scene_create(struct kunit *test)
{
	struct scene *s = kunit_kzalloc(test, sizeof(*s), GFP_KERNEL);
	struct sx_fixture *f = test->priv;

	KUNIT_ASSERT_NOT_NULL(test, s);
	s->file = sx_file_create(test, 0);
	sx_map_file(test, f->start, SPAN, PROT_READ | PROT_WRITE, MAP_SHARED, s->file);
	s->vm = hx_vm_create(test);
	s->p = hx_ptr_create(test, s->vm, f->start, SPAN);
	return s;
}

/* Making ----------------------------------------------------------------------------------- */

static int init(void *arg)
{
	struct scene *s = arg;

	return drm_svm_hmmptr_init(s->made, &s->vm->set, &s->args);
}

static void expect_no_slots(struct kunit *test, void *arg)
{
	struct scene *s = arg;

	KUNIT_EXPECT_NULL(test, s->made->finish);
}

static void release(struct kunit *test, void *arg)
{
	struct scene *s = arg;

	drm_svm_hmmptr_release(s->made);
	mmdrop(s->made->mm);
	kfree(s->made->finish);
	s->made->finish = NULL;
}

static void making(struct kunit *test)
{
	static const struct fail_nth_op op = {
		.what = "drm_svm_hmmptr_init()",
		.call = init,
		.failed = expect_no_slots,
		.undo = release,
	};
	struct scene *s = scene_create(test);
	struct sx_fixture *f = test->priv;

	s->made = kunit_kzalloc(test, sizeof(*s->made), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, s->made);
	s->args = (struct drm_svm_hmmptr_args) {
		.drm = f->drm[0],
		.mm = f->mm,
		.start = f->start,
		.end = f->start + SPAN,
	};
	/* Room for two passes, and nothing else. */
	fail_nth(test, &op, s, COMPAT_TWO_PASSES);
	hx_vm_destroy(test, s->vm);
}

/* Pages ------------------------------------------------------------------------------------- */

static int populate(void *arg)
{
	struct scene *s = arg;

	return drm_svm_hmmptr_populate(&s->p->base, s->p->base.start, s->p->base.end, true);
}

static void expect_nothing(struct kunit *test, void *arg)
{
	struct scene *s = arg;

	KUNIT_EXPECT_EQ(test, s->p->base.core.populated, 0);
	KUNIT_EXPECT_FALSE(test, hx_is_valid(s->p, s->p->base.start, PAGE_SIZE));
}

static void forget(struct kunit *test, void *arg)
{
	struct scene *s = arg;

	KUNIT_EXPECT_EQ(test, s->p->base.core.populated, SPAN);
	drm_svm_hmmptr_forget(&s->p->base, s->p->base.start, s->p->base.end);
	expect_nothing(test, s);
}

static void populating(struct kunit *test)
{
	static const struct fail_nth_op op = {
		.what = "drm_svm_hmmptr_populate()",
		.call = populate,
		.failed = expect_nothing,
		.undo = forget,
	};
	struct scene *s = scene_create(test);

	/* The piece and its entries; page tables, as long as there are none. */
	fail_nth(test, &op, s, 2);
	hx_vm_destroy(test, s->vm);
}

static int map(void *arg)
{
	struct scene *s = arg;

	return drm_svm_hmmptr_map_dma_pages(&s->p->base, s->p->base.start, s->p->base.end);
}

static void expect_populated(struct kunit *test, void *arg)
{
	struct scene *s = arg;

	KUNIT_EXPECT_EQ(test, s->p->base.core.populated, SPAN);
	KUNIT_EXPECT_FALSE(test, hx_is_valid(s->p, s->p->base.start, PAGE_SIZE));
}

static void unmap(struct kunit *test, void *arg)
{
	struct scene *s = arg;

	KUNIT_EXPECT_TRUE(test, hx_is_valid(s->p, s->p->base.start, SPAN));
	drm_svm_hmmptr_unmap_dma_pages(&s->p->base, s->p->base.start, s->p->base.end);
	expect_populated(test, s);
}

static void mapping(struct kunit *test)
{
	static const struct fail_nth_op op = {
		.what = "drm_svm_hmmptr_map_dma_pages()",
		.call = map,
		.failed = expect_populated,
		.undo = unmap,
	};
	struct scene *s = scene_create(test);

	KUNIT_ASSERT_EQ(test, populate(s), 0);
	fail_nth(test, &op, s, 1);
	/* It was populated once, for all of them. */
	KUNIT_EXPECT_EQ(test, hx_counters(s->vm).collections, 1);
	hx_vm_destroy(test, s->vm);
}

static int use(void *arg)
{
	struct scene *s = arg;

	return hx_use(s->p, s->p->base.start, SPAN, true);
}

static void zap_and_forget(struct kunit *test, void *arg)
{
	struct scene *s = arg;

	hx_expect_bound(test, s->p, s->p->base.start, SPAN);
	forget(test, s);
	hx_expect_unbound(test, s->p, s->p->base.start, SPAN);
}

static void getting(struct kunit *test)
{
	static const struct fail_nth_op op = {
		.what = "drm_svm_hmmptr_get_pages()",
		.call = use,
		.failed = expect_nothing,
		.undo = zap_and_forget,
	};
	struct scene *s = scene_create(test);

	fail_nth(test, &op, s, 3);
	hx_vm_destroy(test, s->vm);
}

/* After an invalidation ----------------------------------------------------------------------- */

static int revalidate(void *arg)
{
	struct scene *s = arg;

	return drm_svm_hmmptr_revalidate(&s->vm->set);
}

/* It waits still. */
static void expect_unbound(struct kunit *test, void *arg)
{
	struct scene *s = arg;

	KUNIT_EXPECT_FALSE(test, hx_all_valid(s->vm));
	hx_expect_unbound(test, s->p, s->p->base.start, SPAN);
	KUNIT_EXPECT_EQ(test, hx_counters(s->vm).lost, 0);
	/* The next round is like this one: what was populated for it does not count. */
	drm_svm_hmmptr_inject(&s->p->base, s->p->base.start, s->p->base.end);
}

static void take_away(struct kunit *test, void *arg)
{
	struct scene *s = arg;

	KUNIT_EXPECT_TRUE(test, hx_all_valid(s->vm));
	hx_expect_bound(test, s->p, s->p->base.start, SPAN);
	sx_file_zap(s->file, 0, SPAN_PAGES);
	expect_unbound(test, s);
}

static void revalidating(struct kunit *test)
{
	static const struct fail_nth_op op = {
		.what = "drm_svm_hmmptr_revalidate()",
		.call = revalidate,
		.failed = expect_unbound,
		.undo = take_away,
	};
	struct scene *s = scene_create(test);

	KUNIT_ASSERT_EQ(test, use(s), 0);
	take_away(test, s);
	/* The entries; for the addresses there is what the mapping before has left. */
	fail_nth(test, &op, s, 1);
	KUNIT_EXPECT_EQ(test, revalidate(s), 0);
	hx_expect_bound(test, s->p, s->p->base.start, SPAN);
	hx_vm_destroy(test, s->vm);
}

static int zap(void *arg)
{
	struct scene *s = arg;

	sx_file_zap(s->file, 0, SPAN_PAGES);
	return 0;
}

static void cannot_fail(struct kunit *test, void *arg)
{
	KUNIT_FAIL(test, "it has failed");
}

static void use_again(struct kunit *test, void *arg)
{
	struct scene *s = arg;

	hx_expect_unbound(test, s->p, s->p->base.start, SPAN);
	KUNIT_ASSERT_EQ(test, revalidate(s), 0);
	hx_expect_bound(test, s->p, s->p->base.start, SPAN);
}

/* An invalidation has nobody to report a failure to. */
static void invalidating(struct kunit *test)
{
	static const struct fail_nth_op op = {
		.what = "an invalidation of a hmmptr",
		.call = zap,
		.failed = cannot_fail,
		.undo = use_again,
	};
	struct scene *s = scene_create(test);

	KUNIT_ASSERT_EQ(test, use(s), 0);
	fail_nth(test, &op, s, 0);
	hx_vm_destroy(test, s->vm);
}

static void hmmptr_exit(struct kunit *test)
{
	hx_exit(test);
	sx_exit(test);
}

static struct kunit_case hmmptr_fail_cases[] = {
	KUNIT_CASE(making),
	KUNIT_CASE(populating),
	KUNIT_CASE(mapping),
	KUNIT_CASE(getting),
	KUNIT_CASE(revalidating),
	KUNIT_CASE(invalidating),
	{}
};

static struct kunit_suite hmmptr_fail_suite = {
	.name = "dsvm_hmmptr_fail",
	.suite_init = sx_suite_init,
	.suite_exit = sx_suite_exit,
	.init = fail_init,
	.exit = hmmptr_exit,
	.test_cases = hmmptr_fail_cases,
};
kunit_test_suite(hmmptr_fail_suite);
