/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * The environment of a test case, for C and for C++.
 *
 * The same cases run in user space and, as KUnit suites, in a kernel. What they
 * need of os.h (memory, time, log, warnings, locks) is implemented once, in
 * kunit/fake/env.cc, with accounting and failure injection; what differs between
 * the two places is the backend: a handful of functions below that tests/host and
 * kunit/os_kunit.c implement.
 *
 * Cases run one at a time and in one thread; all races are injected (see
 * kunit/fake/world.h), so a failure comes back with its seed. What an injected CPU
 * does can be told apart from what the first one does: locks are held by a CPU.
 *
 * A case fails if a check fails, if it makes no check at all, if a warning or a
 * violation is reported outside of dsvm_env_expect_begin()/end(), and if at its
 * end an allocation is outstanding or a lock held.
 */
#ifndef DSVM_KUNIT_ENV_H
#define DSVM_KUNIT_ENV_H

#include "drm_svm/types.h"

DSVM_EXTERN_C_BEGIN

/* Backend ------------------------------------------------------------------- */

/* Zeroed memory or NULL; never made to fail. */
void *dsvm_backend_alloc(dsvm_usize bytes);
void dsvm_backend_free(void *memory);
/* One line of diagnostics, without a newline at its end. */
void dsvm_backend_print(const char *line);
void dsvm_backend_vformat(char *buffer, dsvm_usize size, const char *format,
			  __builtin_va_list args);
/* How long a random case may be, in per cent: 100 is for a native run. */
dsvm_u32 dsvm_backend_effort(void);

/* Running a case (the runners call these) ------------------------------------- */

void dsvm_env_begin(const char *suite, const char *name, dsvm_u64 seed);
/* Whether the case has passed. */
dsvm_bool dsvm_env_end(void);

/* Reporting --------------------------------------------------------------------- */

dsvm_bool dsvm_case_check(dsvm_bool holds, const char *file, int line, const char *what);
dsvm_bool dsvm_case_check_eq(dsvm_u64 a, dsvm_u64 b, const char *file, int line,
			     const char *a_text, const char *b_text);
void dsvm_case_log(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* The seed of this case: the run's, mixed with the case's name. */
dsvm_u64 dsvm_case_seed(void);
/* A part of the environment was used against its contract. */
void dsvm_env_violation(const char *format, ...) __attribute__((format(printf, 1, 2)));

/*
 * Between the two, warnings and violations are expected: they are counted, not
 * reported, and do not fail the case; a check that fails still does. end() returns
 * how many there were.
 */
void dsvm_env_expect_begin(void);
dsvm_u32 dsvm_env_expect_end(void);

/* Memory ------------------------------------------------------------------------ */

/* The @n-th dsvm_os_alloc() from now returns NULL, 1 being the next; 0: none does. */
void dsvm_env_fail_alloc(dsvm_u64 n);
/* From now on all of them do. */
void dsvm_env_fail_allocs(dsvm_bool fail);
/* Whether the failure asked for has happened. */
dsvm_bool dsvm_env_alloc_failed(void);
/* From now on each @n-th dsvm_os_alloc_nowait() returns NULL, beginning with it; 0: none. */
void dsvm_env_fail_nowait(dsvm_u32 n);
/* How many of those there were that did. */
dsvm_u64 dsvm_env_nowait_failed(void);
dsvm_u64 dsvm_env_outstanding(void);

/* Time, log ------------------------------------------------------------------------ */

/* The clock is the environment's own; looking at it takes a microsecond. */
void dsvm_env_advance_ns(dsvm_u64 ns);
/* How often long work has let those run who wait for its CPU. */
dsvm_u64 dsvm_env_rescheds(void);
/* From now on dsvm_os_killed() says so. */
void dsvm_env_set_killed(dsvm_bool killed);
/* The last line that was logged, and how many there were. */
const char *dsvm_env_last_log(void);
dsvm_u32 dsvm_env_log_count(void);

/* Other CPUs -------------------------------------------------------------------------- */

/*
 * Between the two, what happens is another CPU's doing: it holds none of our locks, and needs
 * none that would have to wait for us. They nest.
 */
void dsvm_env_other_cpu_begin(void);
void dsvm_env_other_cpu_end(void);
/*
 * At the @n-th point from now at which we hold no lock of a rank above @rank, another CPU does
 * @step. Points are: before a lock is taken and after it is dropped, before memory is allocated
 * or freed, between two tries, and before each call of the fake machine. 0: it does not.
 */
void dsvm_env_at_point(dsvm_u32 n, dsvm_u32 rank, void (*step)(void *arg), void *arg);
/* Whether that is still to come. */
dsvm_bool dsvm_env_point_is_due(void);
/* One of them. */
void dsvm_env_point(void);

/* Locks ------------------------------------------------------------------------------ */

/*
 * A semaphore with a rank (enum class LockRank). Taking it out of order, twice, or
 * dropping it unheld is a violation.
 */
struct dsvm_os_rwsem *dsvm_env_lock_create(const char *name, dsvm_u32 rank);
void dsvm_env_lock_destroy(struct dsvm_os_rwsem *lock);
/* Whether this CPU does. */
dsvm_bool dsvm_env_lock_is_held(const struct dsvm_os_rwsem *lock);
/* The greatest rank that this CPU holds now; 0 if none. */
dsvm_u32 dsvm_env_rank_held(void);

DSVM_EXTERN_C_END

#endif /* DSVM_KUNIT_ENV_H */
