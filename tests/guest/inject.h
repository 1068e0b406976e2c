/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * Allocations of the kernel that fail when a test wants it: slab objects and pages, for
 * kernels with CONFIG_FAULT_INJECTION. In this thread alone, the one after the other.
 */
#ifndef TESTS_GUEST_INJECT_H
#define TESTS_GUEST_INJECT_H

#include <stdbool.h>

/* Ends the case, skipped, if the kernel does not inject failures. */
void inject_failures(void);

/* Lets this thread's allocation number @nth from now on fail; 0: none. */
void fail_nth(unsigned int nth);

/* Whether it has come to that; none fails from now on. */
bool has_failed(void);

/*
 * Of all threads, what they allocate while they are in this module: from now on so many of
 * these fail, in per cent, at random. Until choose_all() fail_nth() counts these alone.
 * Ends the case, skipped, where the kernel cannot tell.
 */
void choose_module(const char *module);
void fail_often(unsigned int percent);
void choose_all(void);

#endif /* TESTS_GUEST_INJECT_H */
