// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Memory for both sides (kernel.h): a free list for each size, as in a slab, in large pages.
 */
#include <sys/mman.h>

#include "bench/host/kernel.h"

#define STEP 32
#define CLASSES 64
#define CHUNK (2ul << 20)

struct header {
	size_t class;
	struct header *next;
};

unsigned long bench_allocs;

static struct header *free_lists[CLASSES];
static char *chunk, *chunk_end;

static struct header *carve(size_t bytes)
{
	struct header *memory;

	if (chunk + bytes > chunk_end) {
		void *fresh = NULL;

		if (posix_memalign(&fresh, CHUNK, CHUNK))
			return NULL;
		madvise(fresh, CHUNK, MADV_HUGEPAGE);
		chunk = fresh;
		chunk_end = chunk + CHUNK;
	}
	memory = (struct header *)chunk;
	chunk += bytes;
	return memory;
}

void *bench_alloc(size_t size)
{
	const size_t class = (size + STEP - 1) / STEP;
	struct header *memory;

	if (class >= CLASSES)
		abort();
	bench_allocs++;
	memory = free_lists[class];
	if (memory)
		free_lists[class] = memory->next;
	else
		memory = carve(sizeof(*memory) + class * STEP);
	if (!memory)
		return NULL;
	memory->class = class;
	return memory + 1;
}

void bench_free(const void *pointer)
{
	struct header *const memory = (struct header *)pointer - 1;

	if (!pointer)
		return;
	memory->next = free_lists[memory->class];
	free_lists[memory->class] = memory;
}
