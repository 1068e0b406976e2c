/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * The functions that DSVM_CASE() makes, one for each name in kunit/cases.def, for the
 * two runners. A name without a case does not link.
 */
#ifndef DSVM_KUNIT_BODIES_H
#define DSVM_KUNIT_BODIES_H

#include "drm_svm/types.h"

DSVM_EXTERN_C_BEGIN

#define DSVM_SUITE_BEGIN(suite)
#define DSVM_X(suite, name) void dsvm_case_##suite##_##name(void);
#define DSVM_SUITE_END(suite)
#include "kunit/cases.def"
#undef DSVM_SUITE_BEGIN
#undef DSVM_X
#undef DSVM_SUITE_END

DSVM_EXTERN_C_END

#endif /* DSVM_KUNIT_BODIES_H */
