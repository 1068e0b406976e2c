// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * See va_work.h. Plain mainline code: what a driver writes, which is the same for all.
 */
#include <drm/drm_gpuvm.h>
#ifdef BENCH_REPLACE
#include <drm/drm_svm.h>
#endif

#include "bench/host/va_work.h"
#include "bench/host/work.h"

#ifndef BENCH_SIDE
#error "BENCH_SIDE names the side."
#endif

/* As mainline has it; the maple tree says for itself. */
#ifndef BENCH_INDEX_BYTES
#define BENCH_INDEX_BYTES sizeof(((struct drm_gpuva *)NULL)->rb)
#endif

#define SPACE_START 0x100000ull
#define SPACE_END (1ull << 47)
#define SMALL 4096ull
#define SIZES 10 /* 4 KiB to 2 MiB */
#define SPARSE 65536ull

/* A driver's object is larger than what the library has of it. */
struct va_object {
	union {
		struct drm_gpuva va;
		char bytes[256];
	};
};

/* A mapping that may be asked for. */
struct va_place {
	uint64_t addr;
	uint64_t range;
	struct va_object *object; /* NULL: it is out */
	bool chosen;
};

/* What goes out or comes in: all of it, so that only the library looks elsewhere. */
struct va_change {
	uint64_t addr;
	uint64_t range;
	struct va_object *object;
	struct va_place *place;
};

/* Changes that were thought out before they are made. */
struct va_changes {
	struct va_change *list;
	size_t made; /* of @count */
	size_t count;
};

struct va_world {
	struct drm_gpuvm vm;
	struct drm_device drm;
	struct drm_gem_object resv;
	struct va_object *objects;
	size_t object_count;
	struct va_object **unused; /* a stack */
	size_t unused_count;
	struct va_place *places;   /* in the order of their addresses */
	size_t place_count;
	uint32_t *holes;	   /* places that have one behind them */
	size_t hole_count;
	uint32_t *out;		   /* places that are out, in a ring: who was out longest is first */
	size_t out_first;
	size_t out_count;
	size_t stay_out;	   /* so many of them, between two batches */
	struct va_changes coming;
	struct va_changes going;
	uint64_t top;		   /* behind the last place */
	uint64_t random;
	uint64_t at;		   /* of what goes on ascending */
};

/* The driver ------------------------------------------------------------------------------ */

static struct va_object *take(struct va_world *world)
{
	if (!world->unused_count)
		abort();
	return world->unused[--world->unused_count];
}

static void give(struct va_world *world, struct drm_gpuva *va)
{
	world->unused[world->unused_count++] = container_of(va, struct va_object, va);
}

static int step_map(struct drm_gpuva_op *op, void *priv)
{
	struct va_world *const world = priv;

	drm_gpuva_map(&world->vm, &take(world)->va, &op->map);
	return 0;
}

static int step_remap(struct drm_gpuva_op *op, void *priv)
{
	struct va_world *const world = priv;
	struct drm_gpuva *const gone = op->remap.unmap->va;
	struct drm_gpuva *const prev = op->remap.prev ? &take(world)->va : NULL;
	struct drm_gpuva *const next = op->remap.next ? &take(world)->va : NULL;

	drm_gpuva_remap(prev, next, &op->remap);
	give(world, gone);
	return 0;
}

static int step_unmap(struct drm_gpuva_op *op, void *priv)
{
	struct drm_gpuva *const gone = op->unmap.va;

	drm_gpuva_unmap(&op->unmap);
	give(priv, gone);
	return 0;
}

static void vm_free(struct drm_gpuvm *vm)
{
}

static const struct drm_gpuvm_ops vm_ops = {
	.vm_free = vm_free,
	.sm_step_map = step_map,
	.sm_step_remap = step_remap,
	.sm_step_unmap = step_unmap,
};

static void object_free(struct drm_gem_object *obj)
{
}

static const struct drm_gem_object_funcs object_funcs = {
	.free = object_free,
};

/* Worlds ---------------------------------------------------------------------------------- */

static void lay_places(struct va_world *world, enum va_shape shape)
{
	uint64_t at = SPACE_START;

	for (size_t i = 0; i < world->place_count; i++) {
		struct va_place *const place = &world->places[i];

		place->addr = at;
		place->range = shape == VA_SPARSE ? SPARSE :
						    SMALL << below(&world->random, SIZES);
		at += place->range;
		if (shape == VA_RANDOM && next_random(&world->random) >> 63) {
			world->holes[world->hole_count++] = i;
			at += SMALL << below(&world->random, SIZES);
		}
	}
	world->top = at;
	world->at = SPACE_START;
}

static void add_change(struct va_changes *changes, struct va_place *place)
{
	changes->list[changes->count++] =
		(struct va_change){ place->addr, place->range, place->object, place };
}

static void put_out(struct va_world *world, size_t place)
{
	world->out[(world->out_first + world->out_count++) % world->place_count] = place;
}

/* What comes next: those that were out longest, with the objects that were given back last. */
static void prepare(struct va_world *world, size_t count)
{
	world->coming.made = 0;
	world->coming.count = 0;
	for (; count && world->out_count; count--) {
		struct va_place *const place = &world->places[world->out[world->out_first]];

		world->out_first = (world->out_first + 1) % world->place_count;
		world->out_count--;
		place->object = take(world);
		add_change(&world->coming, place);
	}
}

/* After some of what was chosen has gone. */
static void settle(struct va_world *world)
{
	for (size_t i = 0; i < world->going.count; i++) {
		struct va_place *const place = world->going.list[i].place;

		place->chosen = false;
		if (i >= world->going.made)
			continue;
		give(world, &place->object->va);
		place->object = NULL;
		put_out(world, place - world->places);
	}
	world->going.made = 0;
	world->going.count = 0;
}

static struct va_world *create(size_t count, size_t spare, enum va_shape shape, uint64_t seed)
{
	struct va_world *const world = calloc(1, sizeof(*world));
	uint32_t *order;

	world->random = seed;
	world->place_count = count;
	/* What a request puts in is made before what it takes out is given back. */
	world->object_count = count + spare + 1024;
	world->objects = map_arena(world->object_count * sizeof(*world->objects));
	world->unused = calloc(world->object_count, sizeof(*world->unused));
	world->places = map_arena(count * sizeof(*world->places));
	world->holes = calloc(count, sizeof(*world->holes));
	world->out = calloc(count, sizeof(*world->out));
	world->coming.list = map_arena(count * sizeof(*world->coming.list));
	world->going.list = map_arena(count * sizeof(*world->going.list));
	for (size_t i = world->object_count; i-- > 0;)
		world->unused[world->unused_count++] = &world->objects[i];

	drm_gem_private_object_init(&world->drm, &world->resv, 0);
	world->resv.funcs = &object_funcs;
	drm_gpuvm_init(&world->vm, BENCH_SIDE.name, 0, &world->drm, &world->resv, 0, SPACE_END, 0,
		       0, &vm_ops);
	lay_places(world, shape);
	order = world->out;
	for (size_t i = 0; i < count; i++)
		put_out(world, i);
	if (shape == VA_RANDOM)
		shuffle(order, count, &world->random);
	prepare(world, count);
	return world;
}

static void destroy(struct va_world *world)
{
	struct drm_gpuva *va, *next;

	drm_gpuvm_for_each_va_safe(va, next, &world->vm)
		drm_gpuva_remove(va);
	drm_gpuvm_put(&world->vm);
	free(world->objects);
	free(world->unused);
	free(world->places);
	free(world->holes);
	free(world->out);
	free(world->coming.list);
	free(world->going.list);
	free(world);
}

static uint64_t fingerprint(const struct va_world *world)
{
	/* The macro of one side wants to write to it. */
	struct drm_gpuvm *const vm = (struct drm_gpuvm *)&world->vm;
	struct drm_gpuva *va;
	uint64_t sum = 0;

	drm_gpuvm_for_each_va(va, vm)
		sum = (sum ^ va->va.addr) * 0x100000001b3 + va->va.range;
	return sum + world->unused_count;
}

/* Looking --------------------------------------------------------------------------------- */

static uint64_t find_some(struct va_world *world, size_t count, bool read)
{
	uint64_t found = 0;

	while (count--) {
		const size_t i = below(&world->random, world->place_count);
		const struct va_place *const place = &world->places[i];
		/* 0, but only the processor knows when it has found the last one. */
		const uint64_t nothing = depend(found) >> 63;
		struct drm_gpuva *const va =
			drm_gpuva_find_first(&world->vm, place->addr + nothing, SMALL);

		found = read ? va->va.addr & 0xfff : (uintptr_t)va & 1;
	}
	return found;
}

static uint64_t touch(struct va_world *world, size_t count)
{
	uint64_t found = 0;

	while (count--) {
		const size_t i = below(&world->random, world->place_count);
		const uint64_t nothing = depend(found) >> 63;

		found = world->places[i + nothing].object->va.va.addr & 0xfff;
	}
	return found;
}

static uint64_t find(struct va_world *world, size_t count)
{
	return find_some(world, count, false);
}

static uint64_t find_read(struct va_world *world, size_t count)
{
	return find_some(world, count, true);
}

static uint64_t find_hole(struct va_world *world, size_t count)
{
	uint64_t empty = 0;

	while (count--) {
		const size_t i = world->holes[below(&world->random, world->hole_count)];
		const struct va_place *const place = &world->places[i];
		const uint64_t nothing = depend(empty) >> 63;

		empty += drm_gpuvm_interval_empty(&world->vm, place->addr + place->range + nothing,
						  SMALL);
	}
	return empty;
}

static uint64_t find_ascending(struct va_world *world, size_t count)
{
	uint64_t found = 0;

	while (count--) {
		const uint64_t nothing = depend(found) >> 63;

		found = (uintptr_t)drm_gpuva_find_first(&world->vm, world->at + nothing, SMALL) & 1;
		world->at += 4 * SMALL;
		if (world->at >= world->top)
			world->at = SPACE_START;
	}
	return found;
}

static uint64_t walk(struct va_world *world, size_t count)
{
	struct drm_gpuva *va;
	uint64_t sum = 0;

	while (count) {
		drm_gpuvm_for_each_va(va, &world->vm) {
			sum += (uintptr_t)va;
			if (!--count)
				break;
		}
	}
	return sum;
}

/* Changing ---------------------------------------------------------------------------------- */

static uint64_t insert(struct va_world *world, size_t count)
{
	struct va_changes *const coming = &world->coming;
	const size_t left = coming->count - coming->made;
	const size_t end = coming->made + (count < left ? count : left);

	for (size_t i = coming->made; i < end; i++) {
		const struct va_change *const change = &coming->list[i];
		struct drm_gpuva *const va = &change->object->va;

		va->va.addr = change->addr;
		va->va.range = change->range;
		va->gem.obj = NULL;
		va->gem.offset = 0;
		if (drm_gpuva_insert(&world->vm, va))
			abort();
	}
	count = end - coming->made;
	coming->made = end;
	return count;
}

static uint64_t choose(struct va_world *world, size_t count)
{
	insert(world, world->place_count);
	settle(world);
	if (world->out_count > world->stay_out) {
		prepare(world, world->out_count - world->stay_out);
		insert(world, world->place_count);
	}
	while (count--) {
		const size_t i = below(&world->random, world->place_count);
		struct va_place *const place = &world->places[i];

		if (!place->object || place->chosen)
			continue;
		place->chosen = true;
		add_change(&world->going, place);
	}
	return world->going.count;
}

static uint64_t remove_chosen(struct va_world *world, size_t count)
{
	struct va_changes *const going = &world->going;
	const size_t left = going->count - going->made;
	const size_t end = going->made + (count < left ? count : left);

	for (size_t i = going->made; i < end; i++)
		drm_gpuva_remove(&going->list[i].object->va);
	count = end - going->made;
	going->made = end;
	return count;
}

static uint64_t take_out(struct va_world *world, size_t count)
{
	const size_t gone = remove_chosen(world, choose(world, count));

	settle(world);
	prepare(world, gone);
	return gone;
}

static void stay_out(struct va_world *world, size_t count)
{
	world->stay_out = count;
	choose(world, 0);
	if (world->out_count < count)
		remove_chosen(world, choose(world, count - world->out_count));
	settle(world);
}

static void request(struct va_world *world, uint64_t addr, uint64_t range)
{
	const struct drm_gpuvm_map_req req = {
		.map.va.addr = addr,
		.map.va.range = range,
	};

	if (drm_gpuvm_sm_map(&world->vm, world, &req))
		abort();
}

/* What each library has for a driver that wants nothing between the steps. */
#ifdef BENCH_REPLACE
static void gone(struct drm_gpuva *va, void *world)
{
	give(world, va);
}

static void request_whole(struct va_world *world, uint64_t addr, uint64_t range)
{
	struct va_object *const object = take(world);
	struct va_object *const prev = take(world);
	struct va_object *const next = take(world);

	drm_gpuva_init(&object->va, addr, range, NULL, 0);
	if (drm_svm_gpuva_replace(&world->vm, &object->va, &prev->va, &next->va, gone, world))
		abort();
	if (!next->va.va.range)
		give(world, &next->va);
	if (!prev->va.va.range)
		give(world, &prev->va);
}
#else
#define request_whole request
#endif

static uint64_t replace_some(struct va_world *world, size_t count,
			     void (*replace)(struct va_world *world, uint64_t addr, uint64_t range))
{
	while (count--) {
		const uint64_t range = SMALL << below(&world->random, SIZES);
		const uint64_t pages = (world->top - SPACE_START - range) / SMALL;

		replace(world, SPACE_START + below(&world->random, pages) * SMALL, range);
	}
	return world->unused_count;
}

static uint64_t replace_next(struct va_world *world, size_t count,
			     void (*replace)(struct va_world *world, uint64_t addr, uint64_t range))
{
	while (count--) {
		replace(world, world->at, SPARSE);
		world->at += SPARSE;
		if (world->at + SPARSE > world->top)
			world->at = SPACE_START;
	}
	return world->unused_count;
}

static uint64_t replace(struct va_world *world, size_t count)
{
	return replace_some(world, count, request);
}

static uint64_t replace_ascending(struct va_world *world, size_t count)
{
	return replace_next(world, count, request);
}

static uint64_t replace_whole(struct va_world *world, size_t count)
{
	return replace_some(world, count, request_whole);
}

static uint64_t replace_whole_ascending(struct va_world *world, size_t count)
{
	return replace_next(world, count, request_whole);
}

static uint64_t split_list(struct va_world *world, size_t count)
{
	uint64_t sum = 0;

	while (count--) {
		const struct va_place *const place =
			&world->places[below(&world->random, world->place_count)];
		const struct drm_gpuvm_map_req req = {
			.map.va.addr = place->addr + place->range / 4,
			.map.va.range = place->range / 2,
		};
		struct drm_gpuva_ops *const ops =
			drm_gpuvm_sm_map_ops_create(&world->vm, &req);

		if (IS_ERR(ops))
			abort();
		sum += (uintptr_t)ops;
		drm_gpuva_ops_free(&world->vm, ops);
	}
	return sum;
}

const struct va_side BENCH_SIDE = {
	.name = BENCH_NAME,
	.index_bytes = BENCH_INDEX_BYTES,
	.create = create,
	.destroy = destroy,
	.fingerprint = fingerprint,
	.touch = touch,
	.find = find,
	.find_read = find_read,
	.find_hole = find_hole,
	.find_ascending = find_ascending,
	.walk = walk,
	.insert = insert,
	.choose = choose,
	.remove = remove_chosen,
	.take_out = take_out,
	.stay_out = stay_out,
	.replace = replace,
	.replace_ascending = replace_ascending,
	.replace_whole = replace_whole,
	.replace_whole_ascending = replace_whole_ascending,
	.split_list = split_list,
};
