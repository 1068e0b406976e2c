/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * Lets each allocation of a call fail in turn, by the kernel's own fault injection: slab
 * objects and pages, those that the kernel makes on the library's behalf included. The
 * call then has either managed without, or returned an error and changed nothing.
 *
 * What the fixtures refuse (fx_refuse(), dsvm_env_fail_alloc()) is less: the driver's own
 * allocations, and what a fake of the kernel is asked for. It works on every kernel, and
 * this only where CONFIG_FAULT_INJECTION is set.
 */
#ifndef DSVM_KUNIT_FAIL_NTH_H
#define DSVM_KUNIT_FAIL_NTH_H

struct kunit;

/*
 * For .init, before the fixture's: skips the case on a kernel that cannot inject failures,
 * and fails it (-ENODEV) on one that can and has not been told to, for it would test
 * nothing. scripts/guest/init tells it.
 */
int fail_nth_init(struct kunit *test);

struct fail_nth_op {
	const char *what;
	/* Under failures, so without KUnit's macros. Returns 0 or an errno. */
	int (*call)(void *arg);
	/* What it returns for want of memory; 0: -ENOMEM. */
	int error;
	/* Only every so many-th allocation fails, of a call that takes long; 0: each. */
	unsigned int step;
	/* Checks that a call that has failed has changed nothing. */
	void (*failed)(struct kunit *test, void *arg);
	/* Checks what a call that returned 0 has done, and undoes it. */
	void (*undo)(struct kunit *test, void *arg);
};

/*
 * Calls with the first allocation failing, the second, and so on, until there are fewer;
 * expects the error of at least @min_failures of the calls, and 0 of the others.
 */
void fail_nth(struct kunit *test, const struct fail_nth_op *op, void *arg,
	      unsigned int min_failures);

#endif /* DSVM_KUNIT_FAIL_NTH_H */
