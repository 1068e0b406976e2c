// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * See svm_work.h. Plain mainline code: what a driver writes, which is the same for both.
 */
#include "bench/host/svm_kernel.h"

#include <drm/drm_gpusvm.h>

#include "bench/host/svm_work.h"
#include "bench/host/work.h"

#ifndef BENCH_SIDE
#error "BENCH_SIDE names the side."
#endif

#define SPACE_START (0x7f00ull << 32)
#define SPACE_END (1ull << 47)
#define WINDOW (512ull << 20)
#define STREAMS 8

/* A driver's object is larger than what the library has of it; as from a slab. */
struct svm_object {
	union {
		struct drm_gpusvm_range range;
		char bytes[256];
	};
} __attribute__((aligned(256)));

struct svm_window {
	union {
		struct drm_gpusvm_notifier notifier;
		char bytes[512];
	};
} __attribute__((aligned(512)));

struct svm_world {
	struct drm_gpusvm svm;
	struct mm_struct mm;
	struct svm_object *objects;
	struct svm_object **unused; /* a stack */
	size_t unused_count;
	size_t count;
	uint64_t range_size;
	uint32_t *out;		    /* places that are out */
	size_t out_count;
	uint64_t random;
	uint64_t at[STREAMS];	    /* of what goes on ascending */
	size_t stream;
};

/* The driver ------------------------------------------------------------------------------ */

static struct drm_gpusvm_range *range_alloc(struct drm_gpusvm *svm)
{
	struct svm_world *const world = container_of(svm, struct svm_world, svm);
	struct svm_object *object;

	if (!world->unused_count)
		abort();
	object = world->unused[--world->unused_count];
	memset(object, 0, sizeof(*object));
	return &object->range;
}

static void range_free(struct drm_gpusvm_range *range)
{
	struct svm_world *const world = container_of(range->gpusvm, struct svm_world, svm);

	world->unused[world->unused_count++] = container_of(range, struct svm_object, range);
}

static struct drm_gpusvm_notifier *notifier_alloc(void)
{
	struct svm_window *const window = aligned_alloc(sizeof(*window), sizeof(*window));

	memset(window, 0, sizeof(*window));
	return &window->notifier;
}

static void notifier_free(struct drm_gpusvm_notifier *notifier)
{
	free(container_of(notifier, struct svm_window, notifier));
}

static void invalidate(struct drm_gpusvm *svm, struct drm_gpusvm_notifier *notifier,
		       const struct mmu_notifier_range *range)
{
}

static const struct drm_gpusvm_ops svm_ops = {
	.notifier_alloc = notifier_alloc,
	.notifier_free = notifier_free,
	.range_alloc = range_alloc,
	.range_free = range_free,
	.invalidate = invalidate,
};

static const unsigned long chunk_sizes[] = {2ul << 20, 64ul << 10, 4ul << 10};

/* Worlds ---------------------------------------------------------------------------------- */

static uint64_t place(const struct svm_world *world, size_t index)
{
	return SPACE_START + index * world->range_size;
}

static uint64_t top(const struct svm_world *world)
{
	return place(world, world->count);
}

/* What is bound there keeps a range from being larger. */
static struct drm_gpusvm_range *fault_at(struct svm_world *world, uint64_t addr)
{
	static const struct drm_gpusvm_ctx ctx;
	const uint64_t start = addr & ~(world->range_size - 1);
	struct drm_gpusvm_range *const range = drm_gpusvm_range_find_or_insert(
		&world->svm, addr, start, start + world->range_size, &ctx);

	if (IS_ERR(range))
		abort();
	return range;
}

static struct svm_world *create(size_t count, size_t range_size, uint64_t seed)
{
	struct svm_world *const world = calloc(1, sizeof(*world));

	world->random = seed;
	world->count = count;
	world->range_size = range_size;
	world->objects = map_arena(count * sizeof(*world->objects));
	world->unused = calloc(count, sizeof(*world->unused));
	world->out = calloc(count, sizeof(*world->out));
	for (size_t i = count; i-- > 0;)
		world->unused[world->unused_count++] = &world->objects[i];
	if (drm_gpusvm_init(&world->svm, BENCH_SIDE.name, &world->mm, 0, SPACE_END, WINDOW,
			    &svm_ops, chunk_sizes, ARRAY_SIZE(chunk_sizes)))
		abort();

	for (size_t i = 0; i < count; i++)
		world->out[i] = i;
	shuffle(world->out, count, &world->random);
	for (size_t i = 0; i < count; i++)
		fault_at(world, place(world, world->out[i]));
	for (size_t i = 0; i < STREAMS; i++)
		world->at[i] = place(world, i * count / STREAMS);
	return world;
}

static void destroy(struct svm_world *world)
{
	drm_gpusvm_fini(&world->svm);
	if (world->unused_count != world->count)
		abort();
	free(world->objects);
	free(world->unused);
	free(world->out);
	free(world);
}

static uint64_t fingerprint(struct svm_world *world)
{
	struct drm_gpusvm_notifier *notifier;
	uint64_t sum = 0;

	drm_gpusvm_for_each_notifier(notifier, &world->svm, SPACE_START, SPACE_END) {
		struct drm_gpusvm_range *range = NULL;

		sum = sum * 31 + drm_gpusvm_notifier_start(notifier);
		drm_gpusvm_for_each_range(range, notifier, SPACE_START, SPACE_END)
			sum = (sum ^ drm_gpusvm_range_start(range)) * 0x100000001b3 +
			      drm_gpusvm_range_size(range);
	}
	return sum + world->unused_count;
}

/* Looking --------------------------------------------------------------------------------- */

/* As a driver does that wants to know what is at an address. */
static struct drm_gpusvm_range *range_at(struct svm_world *world, uint64_t addr)
{
	struct drm_gpusvm_notifier *const notifier =
		drm_gpusvm_notifier_find(&world->svm, addr, addr + 1);

	return notifier ? drm_gpusvm_range_find(notifier, addr, addr + 1) : NULL;
}

static uint64_t random_addr(struct svm_world *world)
{
	return SPACE_START + below(&world->random, world->count * world->range_size);
}

static uint64_t touch(struct svm_world *world, size_t count)
{
	uint64_t found = 0;

	while (count--) {
		const size_t i = below(&world->random, world->count);
		const uint64_t nothing = depend(found) >> 63;

		found = drm_gpusvm_range_start(&world->objects[i + nothing].range);
	}
	return found;
}

static uint64_t find(struct svm_world *world, size_t count)
{
	uint64_t found = 0;

	while (count--) {
		const uint64_t nothing = depend(found) >> 63;

		found = drm_gpusvm_range_start(range_at(world, random_addr(world) + nothing));
	}
	return found;
}

static uint64_t find_ascending(struct svm_world *world, size_t count)
{
	uint64_t found = 0;

	while (count--) {
		uint64_t *const at = &world->at[world->stream];
		const uint64_t nothing = depend(found) >> 63;

		found = drm_gpusvm_range_start(range_at(world, *at + nothing));
		*at += 16384;
		if (*at >= top(world))
			*at = SPACE_START;
		world->stream = (world->stream + 1) % STREAMS;
	}
	return found;
}

static uint64_t fault(struct svm_world *world, size_t count)
{
	uint64_t found = 0;

	while (count--) {
		const uint64_t nothing = depend(found) >> 63;

		found = drm_gpusvm_range_start(fault_at(world, random_addr(world) + nothing));
	}
	return found;
}

/* Changing ---------------------------------------------------------------------------------- */

static uint64_t remove_some(struct svm_world *world, size_t count)
{
	world->out_count = 0;
	while (count--) {
		const size_t i = below(&world->random, world->count);
		struct drm_gpusvm_range *const range = range_at(world, place(world, i));

		if (!range)
			continue;
		drm_gpusvm_range_remove(&world->svm, range);
		world->out[world->out_count++] = i;
	}
	return world->out_count;
}

static uint64_t insert(struct svm_world *world, size_t count)
{
	const size_t out = world->out_count;

	for (size_t i = 0; i < out; i++)
		fault_at(world, place(world, world->out[i]));
	world->out_count = 0;
	return out;
}

const struct svm_side BENCH_SIDE = {
	.name = BENCH_NAME,
	.create = create,
	.destroy = destroy,
	.fingerprint = fingerprint,
	.touch = touch,
	.find = find,
	.find_ascending = find_ascending,
	.fault = fault,
	.remove = remove_some,
	.insert = insert,
};
