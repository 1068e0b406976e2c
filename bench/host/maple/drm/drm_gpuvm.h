/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * The kernel's maple tree under the names of a VA manager, as far as it can do the same: what is at
 * an address, put in, take out, walk. It stands beside the two that are compared, because mainline
 * thought of it for this before an rb-tree was chosen. As mappings are put in where nothing may be
 * allocated, its nodes are there before it is changed; otherwise it is used as is cheapest.
 */
#ifndef BENCH_HOST_MAPLE_DRM_GPUVM_H
#define BENCH_HOST_MAPLE_DRM_GPUVM_H

#include "bench/host/kernel.h"

#include <linux/maple_tree.h>

/* None of it is in a mapping. */
#define BENCH_INDEX_BYTES 0

struct drm_gpuvm_ops;

struct drm_gpuvm {
	struct maple_tree tree;
};

struct drm_gpuva {
	struct drm_gpuvm *vm;
	struct {
		u64 addr;
		u64 range;
	} va;
	struct {
		u64 offset;
		struct drm_gem_object *obj;
	} gem;
};

static inline void drm_gpuvm_init(struct drm_gpuvm *vm, const char *name, int flags,
				  struct drm_device *drm, struct drm_gem_object *resv, u64 start,
				  u64 range, u64 reserve_start, u64 reserve_range,
				  const struct drm_gpuvm_ops *ops)
{
	static bool ready;

	if (!ready) {
		maple_tree_init();
		ready = true;
	}
	mt_init_flags(&vm->tree, MT_FLAGS_LOCK_EXTERN);
}

static inline void drm_gpuvm_put(struct drm_gpuvm *vm)
{
	__mt_destroy(&vm->tree);
}

static inline int drm_gpuva_insert(struct drm_gpuvm *vm, struct drm_gpuva *va)
{
	const u64 last = va->va.addr + va->va.range - 1;
	MA_STATE(mas, &vm->tree, va->va.addr, va->va.addr);

	/* Without an entry it is at a gap, and has its end. */
	if (mas_walk(&mas) || mas.last < last)
		return -EEXIST;
	__mas_set_range(&mas, va->va.addr, last);
	if (mas_preallocate(&mas, va, GFP_KERNEL))
		return -ENOMEM;
	va->vm = vm;
	mas_store_prealloc(&mas, va);
	return 0;
}

static inline void drm_gpuva_remove(struct drm_gpuva *va)
{
	MA_STATE(mas, &va->vm->tree, va->va.addr, va->va.addr);

	mas_erase(&mas);
}

static inline struct drm_gpuva *drm_gpuva_find_first(struct drm_gpuvm *vm, u64 addr, u64 range)
{
	MA_STATE(mas, &vm->tree, addr, addr);

	return mas_find(&mas, addr + range - 1);
}

static inline bool drm_gpuvm_interval_empty(struct drm_gpuvm *vm, u64 addr, u64 range)
{
	return !drm_gpuva_find_first(vm, addr, range);
}

#define drm_gpuvm_for_each_va(va__, vm__) \
	for (MA_STATE(bench_at, &(vm__)->tree, 0, 0); ((va__) = mas_find(&bench_at, ULONG_MAX));)

/* Each is the first that is there, once the one before has been taken out. */
#define drm_gpuvm_for_each_va_safe(va__, next__, vm__) \
	while (((va__) = (next__) = drm_gpuva_find_first(vm__, 0, ULONG_MAX)))

/* --- What a tree is not ------------------------------------------------------------------- */

struct drm_gpuva_op_map {
	struct {
		u64 addr;
		u64 range;
	} va;
};

struct drm_gpuva_op {
	struct drm_gpuva_op_map map;
	struct drm_gpuva_op_unmap {
		struct drm_gpuva *va;
	} unmap;
	struct drm_gpuva_op_remap {
		struct drm_gpuva_op_map *prev, *next;
		struct drm_gpuva_op_unmap *unmap;
	} remap;
};

struct drm_gpuvm_map_req {
	struct drm_gpuva_op_map map;
};

struct drm_gpuva_ops;

struct drm_gpuvm_ops {
	void (*vm_free)(struct drm_gpuvm *vm);
	int (*sm_step_map)(struct drm_gpuva_op *op, void *priv);
	int (*sm_step_remap)(struct drm_gpuva_op *op, void *priv);
	int (*sm_step_unmap)(struct drm_gpuva_op *op, void *priv);
};

#define drm_gpuva_map(vm, va, op) BENCH_NOT_MODELLED()
#define drm_gpuva_remap(prev, next, op) BENCH_NOT_MODELLED()
#define drm_gpuva_unmap(op) BENCH_NOT_MODELLED()
#define drm_gpuvm_sm_map(vm, priv, req) (BENCH_NOT_MODELLED(), 0)
#define drm_gpuvm_sm_map_ops_create(vm, req) (BENCH_NOT_MODELLED(), (struct drm_gpuva_ops *)NULL)
#define drm_gpuva_ops_free(vm, ops) BENCH_NOT_MODELLED()

#endif /* BENCH_HOST_MAPLE_DRM_GPUVM_H */
