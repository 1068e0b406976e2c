/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * Sees whether a piece of code allocates memory that it may have to wait for, on
 * any kernel that has trace events: slab objects and pages, of this thread, whether
 * or not there was a wait. What asks without waiting (GFP_NOWAIT) can do without.
 * Debug kernels see more: a sleeping allocation in an atomic or a fence-signalling
 * section is a report there, which fails the run.
 */
#ifndef DSVM_KUNIT_GPUVM_WATCH_H
#define DSVM_KUNIT_GPUVM_WATCH_H

struct kunit;
struct kunit_suite;

/* .suite_init and .suite_exit of a suite that watches. */
int watch_suite_init(struct kunit_suite *suite);
void watch_suite_exit(struct kunit_suite *suite);

/* For .init: skips the case where the kernel has no trace events. */
void watch_require(struct kunit *test);

/* One at a time. In the current thread, interrupts not included. */
void watch_begin(void);
/* How many such allocations there were: what the slab itself allocates counts as well. */
unsigned int watch_end(void);
/*
 * How many kmalloc() there were, after watch_end(): pages do not count, nor what a
 * debugging kernel allocates to keep account of each.
 */
unsigned int watch_kmallocs(void);

#endif /* DSVM_KUNIT_GPUVM_WATCH_H */
