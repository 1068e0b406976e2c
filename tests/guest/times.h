/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/* How long a program that looks for trouble may take, and what it has measured. */
#ifndef TESTS_GUEST_TIMES_H
#define TESTS_GUEST_TIMES_H

#include <stdbool.h>
#include <stddef.h>

/*
 * Takes --seconds N from the arguments, or DRM_SVM_SECONDS from the environment, which the
 * kernel's command line sets in the test guest; returns @seconds if there is neither.
 */
unsigned int seconds_to_run(int *argc, char **argv, unsigned int seconds);

/* Times of many accesses, in milliseconds, in classes that double: exact is only the longest. */
struct times {
	unsigned long count, classes[48];
	double longest;
};

void times_add(struct times *times, double ms);
void times_join(struct times *times, const struct times *other);
/* Of @percent per cent of them none took longer than that. */
double times_below(const struct times *times, double percent);

#endif /* TESTS_GUEST_TIMES_H */
