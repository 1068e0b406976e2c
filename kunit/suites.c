// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * The cases as KUnit suites.
 *
 * kunit/cases.def names them, and kunit/suites.h makes KUnit's tables of the
 * names. Plain cases only, no parameters and no attributes: that part of KUnit
 * is the same from 6.1 on.
 */
#include <kunit/test.h>
#include <linux/module.h>
#include <linux/random.h>

#include "bodies.h"
#include "env.h"

static unsigned long long seed;
module_param(seed, ullong, 0444);
MODULE_PARM_DESC(seed, "seed of the random cases; 0 chooses one");

static unsigned long long dsvm_kunit_seed(void)
{
	/* Suites may run before module_init(), so the first case chooses. */
	while (!seed)
		seed = get_random_u64();
	return seed;
}

static int dsvm_kunit_suite_init(struct kunit_suite *suite)
{
	pr_info("    # %s: seed %#llx\n", suite->name, dsvm_kunit_seed());
	return 0;
}

static void dsvm_kunit_run(struct kunit *test, const char *suite, const char *name,
			   void (*body)(void))
{
	dsvm_env_begin(suite, name, dsvm_kunit_seed());
	body();
	if (!dsvm_env_end())
		KUNIT_FAIL(test, "%s_%s failed; load with seed=%#llx to see it again",
			   suite, name, dsvm_kunit_seed());
}

#include "suites.h"

MODULE_DESCRIPTION("KUnit suites of drm_svm");
MODULE_LICENSE("Dual MIT/GPL");
