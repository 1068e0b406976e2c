// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Memory for both sides (kernel.h): a free list for each size of kmalloc()'s, whose objects are
 * aligned as kmalloc()'s are, in large pages.
 */
#include <sys/mman.h>

#include "bench/host/kernel.h"

#define SLAB (64ul << 10)
#define CHUNK (2ul << 20)

static const size_t sizes[] = { 32, 64, 96, 128, 192, 256, 512, 1024, 2048, 4096, 8192 };

/* At the beginning of each slab, in the place of its first object or of some. */
struct slab {
	unsigned int class;
};

struct object {
	struct object *next;
};

unsigned long bench_allocs;
unsigned long bench_bytes;

static struct object *free_lists[ARRAY_SIZE(sizes)];
static char *chunk, *chunk_end;

static int refill(unsigned int class)
{
	const size_t size = sizes[class];
	struct slab *slab;
	size_t at;

	if (chunk == chunk_end) {
		void *fresh = NULL;

		if (posix_memalign(&fresh, CHUNK, CHUNK))
			return -1;
		madvise(fresh, CHUNK, MADV_HUGEPAGE);
		chunk = fresh;
		chunk_end = chunk + CHUNK;
	}
	slab = (struct slab *)chunk;
	chunk += SLAB;
	slab->class = class;
	/* The lowest is handed out first. */
	for (at = SLAB / size - 1; at > 0; at--) {
		struct object *object = (struct object *)((char *)slab + at * size);

		object->next = free_lists[class];
		free_lists[class] = object;
	}
	return 0;
}

void *bench_alloc(size_t size)
{
	unsigned int class = 0;
	struct object *object;

	while (sizes[class] < size) {
		if (++class == ARRAY_SIZE(sizes))
			abort();
	}
	bench_allocs++;
	if (!free_lists[class] && refill(class))
		return NULL;
	object = free_lists[class];
	free_lists[class] = object->next;
	bench_bytes += sizes[class];
	return object;
}

void bench_free(const void *pointer)
{
	const struct slab *const slab = (void *)((uintptr_t)pointer & ~(SLAB - 1));
	struct object *const object = (void *)pointer;

	if (!pointer)
		return;
	bench_bytes -= sizes[slab->class];
	object->next = free_lists[slab->class];
	free_lists[slab->class] = object;
}
