/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * What the shims of the GPU VA manager share.
 */
#ifndef DSVM_LINUX_GPUVM_INTERNAL_H
#define DSVM_LINUX_GPUVM_INTERNAL_H

#include <linux/container_of.h>
#include <linux/spinlock.h>

#include <drm/drm_gpuvm.h>
#include <drm/drm_svm.h>

static inline struct drm_gpuva *to_gpuva(struct dsvm_va *core)
{
	return core ? container_of(core, struct drm_gpuva, core) : NULL;
}

static inline struct drm_gpuva_op *to_gpuva_op(const struct dsvm_va_op *core)
{
	/* Same layout; the driver's callbacks take steps that are not const. */
	return (struct drm_gpuva_op *)core;
}

static inline const struct dsvm_va_map *core_map(const struct drm_gpuva_op_map *map)
{
	return (const struct dsvm_va_map *)map;
}

/*
 * The mapping that a step takes away or prefetches, or NULL. As long as a
 * transaction is not prepared it may be one that the core plans, of which only
 * @core is there.
 */
static inline struct drm_gpuva *op_subject(const struct drm_gpuva_op *op)
{
	switch (op->op) {
	case DRM_GPUVA_OP_REMAP:
		return op->remap.unmap->va;
	case DRM_GPUVA_OP_UNMAP:
		return op->unmap.va;
	case DRM_GPUVA_OP_PREFETCH:
		return op->prefetch.va;
	default:
		return NULL;
	}
}

/*
 * Around a look at the list of external or of evicted objects: @lock is the
 * list's, and does not matter where the VM's dma_resv protects it.
 */
static inline void vm_list_lock(struct drm_gpuvm *gpuvm, spinlock_t *lock)
{
	if (drm_gpuvm_resv_protected(gpuvm))
		drm_gpuvm_resv_assert_held(gpuvm);
	else
		spin_lock(lock);
}

static inline void vm_list_unlock(struct drm_gpuvm *gpuvm, spinlock_t *lock)
{
	if (!drm_gpuvm_resv_protected(gpuvm))
		spin_unlock(lock);
}

/* A mapping has been put into the tree; takes its reference to the space. */
void dsvm_gpuva_inserted(struct drm_gpuvm *gpuvm, struct drm_gpuva *va);
/* It has been taken out; drops the reference. */
void dsvm_gpuva_removed(struct drm_gpuva *va);

/* drm_gpuva_link() with the caller's reference to @vm_bo. */
void dsvm_gpuva_adopt(struct drm_gpuva *va, struct drm_gpuvm_bo *vm_bo);
/* Drops a reference that a transaction took; the object itself is kept. */
void dsvm_vm_bo_drop(struct drm_gpuvm_bo *vm_bo);

/* drm_gpuvm_bo_extobj_add(), and whether that has put it on the list. */
bool dsvm_vm_bo_extobj_add(struct drm_gpuvm_bo *vm_bo);
/* Takes it off again. */
void dsvm_vm_bo_extobj_del(struct drm_gpuvm_bo *vm_bo);

#endif /* DSVM_LINUX_GPUVM_INTERNAL_H */
