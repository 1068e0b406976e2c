/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * What each name in kunit/cases.def becomes for KUnit: a function, an entry of its
 * suite's array, a registered suite. For kunit/suites.c, which has dsvm_kunit_run()
 * and dsvm_kunit_suite_init() above.
 */
#ifndef DSVM_KUNIT_SUITES_H
#define DSVM_KUNIT_SUITES_H

#define DSVM_SUITE_BEGIN(suite)
#define DSVM_X(suite, name)							\
	static void dsvm_##suite##_##name(struct kunit *test)			\
	{									\
		dsvm_kunit_run(test, #suite, #name, dsvm_case_##suite##_##name);\
	}
#define DSVM_SUITE_END(suite)
#include "kunit/cases.def"
#undef DSVM_SUITE_BEGIN
#undef DSVM_X
#undef DSVM_SUITE_END

#define DSVM_SUITE_BEGIN(suite) static struct kunit_case dsvm_##suite##_cases[] = {
#define DSVM_X(suite, name) KUNIT_CASE(dsvm_##suite##_##name),
#define DSVM_SUITE_END(suite)							\
	{}									\
};										\
static struct kunit_suite dsvm_##suite##_suite = {				\
	.name = "dsvm_" #suite,							\
	.suite_init = dsvm_kunit_suite_init,					\
	.test_cases = dsvm_##suite##_cases,					\
};										\
kunit_test_suite(dsvm_##suite##_suite);
#include "kunit/cases.def"
#undef DSVM_SUITE_BEGIN
#undef DSVM_X
#undef DSVM_SUITE_END

#endif /* DSVM_KUNIT_SUITES_H */
