/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * What workloads have in common: chance, memory, and searches that wait for each other.
 */
#ifndef BENCH_HOST_WORK_H
#define BENCH_HOST_WORK_H

#include <sys/mman.h>

#include "bench/host/kernel.h"

/* xorshift64*, S. Vigna. */
static inline uint64_t next_random(uint64_t *state)
{
	*state ^= *state >> 12;
	*state ^= *state << 25;
	*state ^= *state >> 27;
	return *state * 0x2545f4914f6cdd1dull;
}

static inline uint64_t below(uint64_t *state, uint64_t limit)
{
	return (uint64_t)(((unsigned __int128)next_random(state) * limit) >> 64);
}

/* Large pages, as the kernel's own memory has. */
static inline void *map_arena(size_t bytes)
{
	const size_t huge = 2ul << 20;
	void *arena = NULL;

	bytes = (bytes + huge - 1) & ~(huge - 1);
	if (posix_memalign(&arena, huge, bytes))
		abort();
	madvise(arena, bytes, MADV_HUGEPAGE);
	memset(arena, 0, bytes);
	return arena;
}

static inline void shuffle(uint32_t *values, size_t count, uint64_t *random)
{
	for (size_t i = count; i > 1; i--) {
		const size_t j = below(random, i);
		const uint32_t value = values[j];

		values[j] = values[i - 1];
		values[i - 1] = value;
	}
}

/* A pointer that is not known before what led to it is. */
static inline uint64_t depend(uint64_t value)
{
	asm volatile("" : "+r"(value));
	return value;
}

#endif /* BENCH_HOST_WORK_H */
