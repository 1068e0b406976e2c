// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * The GPU VA manager: a space full of mappings, and requests to it.
 */
#include <linux/slab.h>

#include <drm/drm_gem.h>
#include <drm/drm_gpuvm.h>
#ifdef PLAIN_EXTENDED
#include <drm/drm_svm.h>
#endif

#include "plain.h"

#define MAPPING SZ_64K
#define SPACE_START ((u64)SZ_1M)
/* Mappings that requests need beside those that are there. */
#define SPARE 64

/**
 * struct plain_va_space - A space
 * @base: the library's part
 * @count: mappings when nothing is cut, one behind the other from SPACE_START on
 * @vas: all there are
 * @unused: those that are in no space, a stack
 * @num_unused: how many
 */
struct plain_va_space {
	struct drm_gpuvm base;
	u64 count;
	struct drm_gpuva *vas;
	struct drm_gpuva **unused;
	u64 num_unused;
};

/* Between the steps of a request nothing is allocated: that is the driver's, not the library's. */
static struct drm_gpuva *take(struct plain_va_space *space)
{
	return space->num_unused ? space->unused[--space->num_unused] : NULL;
}

static void give(struct plain_va_space *space, struct drm_gpuva *va)
{
	space->unused[space->num_unused++] = va;
}

static int step_map(struct drm_gpuva_op *op, void *priv)
{
	struct plain_va_space *space = priv;
	struct drm_gpuva *va = take(space);

	if (!va)
		return -ENOMEM;
	drm_gpuva_map(&space->base, va, &op->map);
	return 0;
}

static int step_remap(struct drm_gpuva_op *op, void *priv)
{
	struct plain_va_space *space = priv;
	struct drm_gpuva *gone = op->remap.unmap->va;
	struct drm_gpuva *prev = op->remap.prev ? take(space) : NULL;
	struct drm_gpuva *next = op->remap.next ? take(space) : NULL;

	if ((op->remap.prev && !prev) || (op->remap.next && !next))
		return -ENOMEM;
	drm_gpuva_remap(prev, next, &op->remap);
	give(space, gone);
	return 0;
}

static int step_unmap(struct drm_gpuva_op *op, void *priv)
{
	struct drm_gpuva *gone = op->unmap.va;

	drm_gpuva_unmap(&op->unmap);
	give(priv, gone);
	return 0;
}

static void vm_free(struct drm_gpuvm *gpuvm)
{
	struct plain_va_space *space = container_of(gpuvm, struct plain_va_space, base);

	kvfree(space->vas);
	kvfree(space->unused);
	kfree(space);
}

static const struct drm_gpuvm_ops vm_ops = {
	.vm_free = vm_free,
	.sm_step_map = step_map,
	.sm_step_remap = step_remap,
	.sm_step_unmap = step_unmap,
};

/* Requests ------------------------------------------------------------------------------- */

/* xorshift64*, S. Vigna. */
static u64 next_random(u64 *state)
{
	*state ^= *state >> 12;
	*state ^= *state << 25;
	*state ^= *state >> 27;
	return *state * 0x2545f4914f6cdd1dull;
}

/* Where a mapping at random begins that has @behind others behind it. */
static u64 place(struct plain_va_space *space, u64 *random, unsigned int behind)
{
	return SPACE_START + MAPPING * mul_u64_u64_shr(next_random(random),
						       space->count - behind, 64);
}

#ifdef PLAIN_EXTENDED

static void replaced(struct drm_gpuva *va, void *space)
{
	give(space, va);
}

/* In one change: there is nothing to be done between the steps. */
static int map(struct plain_va_space *space, u64 addr, u64 range)
{
	struct drm_gpuva *va = take(space), *prev = take(space), *next = take(space);
	int ret;

	if (!next)
		return -ENOMEM;
	drm_gpuva_init(va, addr, range, NULL, 0);
	ret = drm_svm_gpuva_replace(&space->base, va, prev, next, replaced, space);
	if (ret)
		return ret;
	if (!next->va.range)
		give(space, next);
	if (!prev->va.range)
		give(space, prev);
	return 0;
}

#else

static int map(struct plain_va_space *space, u64 addr, u64 range)
{
	const struct drm_gpuvm_map_req req = {
		.map.va.addr = addr,
		.map.va.range = range,
	};

	return drm_gpuvm_sm_map(&space->base, space, &req);
}

#endif

static int list(struct plain_va_space *space, u64 addr, u64 range)
{
	const struct drm_gpuvm_map_req req = {
		.map.va.addr = addr,
		.map.va.range = range,
	};
	struct drm_gpuva_ops *ops = drm_gpuvm_sm_map_ops_create(&space->base, &req);

	if (IS_ERR(ops))
		return PTR_ERR(ops);
	drm_gpuva_ops_free(&space->base, ops);
	return 0;
}

static int find(struct plain_va_space *space, u64 addr)
{
	return drm_gpuva_find_first(&space->base, addr, SZ_4K) ? 0 : -ENOENT;
}

static int request(struct plain_va_space *space, unsigned int cmd, u64 *random)
{
	u64 addr = place(space, random, cmd == PLAIN_VA_COVER ? 4 : 0);

	switch (cmd) {
	case PLAIN_VA_FIND:
		return find(space, addr);
	case PLAIN_VA_SPLIT:
		return list(space, addr + MAPPING / 4, MAPPING / 2);
	case PLAIN_VA_COVER:
		return list(space, addr, 4 * MAPPING);
	case PLAIN_VA_REPLACE:
		return map(space, addr, MAPPING);
	case PLAIN_VA_UNMAP_MAP:
		return drm_gpuvm_sm_unmap(&space->base, space, addr, MAPPING) ?:
		       map(space, addr, MAPPING);
	case PLAIN_VA_CUT_HEAL:
		return map(space, addr + MAPPING / 4, MAPPING / 2) ?: map(space, addr, MAPPING);
	}
	return -ENOTTY;
}

int plain_va_work(struct plain_va_space *space, unsigned int cmd, struct plain_work *work)
{
	u64 random = work->start | 1;
	u64 began = plain_begin();
	int ret = 0;

	while (work->done < work->bytes) {
		ret = request(space, cmd, &random);
		if (ret)
			break;
		work->done++;
	}
	work->ns = plain_end(began);
	work->error = -ret;
	/* Every request leaves the space as it was. */
	return space->num_unused == SPARE ? 0 : -EUCLEAN;
}

/* Setting up and taking down ------------------------------------------------------------- */

struct plain_va_space *plain_va_create(const struct plain_va *create)
{
	struct plain_va_space *space;
	struct drm_gem_object *resv;
	u64 i, total = create->mappings + SPARE;
	int ret = 0;

	if (create->mappings < 8 || create->mappings > SZ_1M)
		return ERR_PTR(-EINVAL);

	resv = drm_gpuvm_resv_object_alloc(plain.drm);
	space = kzalloc(sizeof(*space), GFP_KERNEL);
	if (!resv || !space) {
		if (resv)
			drm_gem_object_put(resv);
		kfree(space);
		return ERR_PTR(-ENOMEM);
	}
	drm_gpuvm_init(&space->base, KBUILD_MODNAME, 0, plain.drm, resv, 0, 1ull << 47, 0, 0,
		       &vm_ops);
	drm_gem_object_put(resv);

	space->count = create->mappings;
	space->vas = kvcalloc(total, sizeof(*space->vas), GFP_KERNEL);
	space->unused = kvcalloc(total, sizeof(*space->unused), GFP_KERNEL);
	if (!space->vas || !space->unused) {
		drm_gpuvm_put(&space->base);
		return ERR_PTR(-ENOMEM);
	}
	for (i = total; i-- > 0;)
		give(space, &space->vas[i]);
	for (i = 0; !ret && i < space->count; i++)
		ret = map(space, SPACE_START + i * MAPPING, MAPPING);
	if (ret) {
		plain_va_destroy(space);
		return ERR_PTR(ret);
	}
	return space;
}

void plain_va_destroy(struct plain_va_space *space)
{
	drm_gpuvm_sm_unmap(&space->base, space, SPACE_START, space->count * MAPPING);
	drm_gpuvm_put(&space->base);
}
