/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * A test program in KTAP, the kernel's Test Anything Protocol: the plan first,
 * then one result per case, with "# " diagnostics before it.
 *
 * Each case runs in a process of its own. So a case that crashes, hangs or
 * leaves files open has failed alone. What a case forks is killed with it.
 */
#ifndef TESTS_GUEST_KTAP_H
#define TESTS_GUEST_KTAP_H

#include <stddef.h>
#include <sys/types.h>

struct ktap_case {
	const char *name;
	void (*run)(const void *arg); /* returns: passed */
	const void *arg;
};

/*
 * Runs the cases, all of them or those that have an argument in their name, but for those
 * that KTAP_EXCEPT in the environment names, each in a line of its own; and returns the status
 * for main() to return.
 */
int ktap_main(int argc, char **argv, const struct ktap_case *cases, size_t count);

/* Prints a diagnostic line. */
void ktap_note(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Ends the case: skipped, or failed. */
void ktap_skip(const char *why) __attribute__((noreturn));
void ktap_fail(const char *file, int line, const char *format, ...)
	__attribute__((format(printf, 3, 4), noreturn));

/* A random number; the seed is printed, and is taken from SEED if that is set. */
unsigned int ktap_random(void);

/* fork() for a case; ktap_join() fails the case unless the child exited with 0. */
pid_t ktap_fork(void);
#define ktap_join(pid) ktap_join_at(__FILE__, __LINE__, pid)
void ktap_join_at(const char *file, int line, pid_t pid);
/* Ends a child of a case without running the rest of the case. */
void ktap_done(void) __attribute__((noreturn));

void ktap_check_err(const char *file, int line, const char *what, int err, int expected);

/* Fails the case with what the printf-like arguments say unless @condition. */
#define EXPECT(condition, ...)                                   \
	do {                                                     \
		if (!(condition))                                \
			ktap_fail(__FILE__, __LINE__, __VA_ARGS__); \
	} while (0)

/* Both are integers. */
#define EXPECT_EQ(actual, expected)                                            \
	do {                                                                   \
		long long actual_ = (long long)(actual);                       \
		long long expected_ = (long long)(expected);                   \
									       \
		EXPECT(actual_ == expected_, "%s is %lld, not %s = %lld",      \
		       #actual, actual_, #expected, expected_);                \
	} while (0)

/* @call returns 0 or a negative errno. */
#define EXPECT_ERR(call, expected) \
	ktap_check_err(__FILE__, __LINE__, #call, call, expected)
#define EXPECT_OK(call) EXPECT_ERR(call, 0)

#endif /* TESTS_GUEST_KTAP_H */
