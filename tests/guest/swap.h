/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/* A swap device for a case, where the kernel has a RAM disk to make it of. */
#ifndef TESTS_GUEST_SWAP_H
#define TESTS_GUEST_SWAP_H

#include <stddef.h>

/* Ends the case, skipped, if there is nothing to swap to. */
void begin_swap(void);
void end_swap(void);

/* Has memory, whole pages of this process, swapped out; returns how many pages are. */
size_t swap_out(void *start, size_t size);

#endif /* TESTS_GUEST_SWAP_H */
