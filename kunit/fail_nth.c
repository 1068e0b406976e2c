// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * See fail_nth.h.
 */
#include <kunit/test.h>
#include <linux/gfp.h>
#include <linux/sched.h>
#include <linux/slab.h>

#include "fail_nth.h"

/* A call with more allocations than this does not come to its end. */
#define MAX_ALLOCATIONS 2000

/* The n-th allocation of this thread from now on fails, 1 being the next; 0: none does. */
static void set_nth(unsigned int nth)
{
#ifdef CONFIG_FAULT_INJECTION
	current->fail_nth = nth;
#endif
}

/* Whether it has come to the one that fails. Ends what set_nth() began. */
static bool has_come(void)
{
	bool come = false;

#ifdef CONFIG_FAULT_INJECTION
	come = !current->fail_nth;
#endif
	set_nth(0);
	return come;
}

static bool slab_can_fail(void)
{
	void *memory;

	set_nth(1);
	memory = kmalloc(64, GFP_KERNEL);
	has_come();
	kfree(memory);
	return !memory;
}

static bool pages_can_fail(void)
{
	struct page *page;

	set_nth(1);
	page = alloc_page(GFP_HIGHUSER);
	has_come();
	if (page)
		__free_page(page);
	return !page;
}

int fail_nth_init(struct kunit *test)
{
	if (!IS_ENABLED(CONFIG_FAILSLAB) || !IS_ENABLED(CONFIG_FAIL_PAGE_ALLOC))
		kunit_skip(test, "this kernel does not inject failures");

	if (slab_can_fail() && pages_can_fail())
		return 0;

	kunit_err(test, "nothing would fail: in debugfs, write N to failslab/ignore-gfp-wait, fail_page_alloc/ignore-gfp-wait and fail_page_alloc/ignore-gfp-highmem, and 0 to fail_page_alloc/min-order");
	return -ENODEV;
}

/* One call. Returns whether it has failed; *@come is whether it made @nth allocations. */
static bool call_failing(struct kunit *test, const struct fail_nth_op *op, void *arg,
			 unsigned int nth, bool *come)
{
	int ret;

	set_nth(nth);
	ret = op->call(arg);
	*come = has_come();

	if (!ret) {
		op->undo(test, arg);
		return false;
	}
	KUNIT_EXPECT_EQ_MSG(test, ret, op->error ?: -ENOMEM, "%s, allocation %u", op->what, nth);
	KUNIT_EXPECT_TRUE_MSG(test, *come, "%s fails without reason", op->what);
	op->failed(test, arg);
	return true;
}

void fail_nth(struct kunit *test, const struct fail_nth_op *op, void *arg,
	      unsigned int min_failures)
{
	unsigned int nth = 1, failures = 0, step = op->step ?: 1;
	bool come, failed;

	do {
		failed = call_failing(test, op, arg, nth, &come);
		/* A checker of the kernel's may have needed a page for itself, this once. */
		if (come && !failed)
			failed = call_failing(test, op, arg, nth, &come);
		failures += failed;
		KUNIT_ASSERT_LT_MSG(test, nth, MAX_ALLOCATIONS, "%s", op->what);
		nth += step;
	} while (come);

	kunit_info(test, "%s: %u of %u allocations let it fail", op->what, failures, nth - 1 - step);
	KUNIT_EXPECT_GE_MSG(test, failures, min_failures, "%s", op->what);
}
