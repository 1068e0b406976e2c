/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * The part of drm/drm_gpuvm.h that locks many objects at once. It needs the
 * kernel's drm_exec, which came with 6.6: on 6.1, and on a kernel built
 * without it, these functions do not exist.
 */
#ifndef __DRM_GPUVM_EXEC_H__
#define __DRM_GPUVM_EXEC_H__

#include <drm/drm_gpuvm.h>

#if IS_ENABLED(CONFIG_DRM_EXEC)

#include <drm/drm_exec.h>

struct drm_gpuvm_map_req;

/**
 * struct drm_gpuvm_exec - A &struct drm_exec for the objects of a space
 * @exec: the locks
 * @flags: DRM_EXEC_*
 * @vm: the space
 * @num_fences: room for so many fences in each object
 * @extra: what else to lock
 * @extra.fn: is called inside the loop, to lock more with @exec; or NULL
 * @extra.priv: for @extra.fn
 *
 * Lives on the stack, as &struct drm_exec does.
 */
struct drm_gpuvm_exec {
	struct drm_exec exec;
	u32 flags;
	struct drm_gpuvm *vm;
	unsigned int num_fences;
	struct {
		int (*fn)(struct drm_gpuvm_exec *vm_exec);
		void *priv;
	} extra;
};

int drm_gpuvm_prepare_vm(struct drm_gpuvm *gpuvm,
			 struct drm_exec *exec,
			 unsigned int num_fences);
int drm_gpuvm_prepare_objects(struct drm_gpuvm *gpuvm,
			      struct drm_exec *exec,
			      unsigned int num_fences);
int drm_gpuvm_prepare_range(struct drm_gpuvm *gpuvm,
			    struct drm_exec *exec,
			    u64 addr, u64 range,
			    unsigned int num_fences);

int drm_gpuvm_exec_lock(struct drm_gpuvm_exec *vm_exec);
int drm_gpuvm_exec_lock_array(struct drm_gpuvm_exec *vm_exec,
			      struct drm_gem_object **objs,
			      unsigned int num_objs);
int drm_gpuvm_exec_lock_range(struct drm_gpuvm_exec *vm_exec,
			      u64 addr, u64 range);

/**
 * drm_gpuvm_exec_unlock() - Ends drm_gpuvm_exec_lock() and its variants
 * @vm_exec: the locks
 */
static inline void drm_gpuvm_exec_unlock(struct drm_gpuvm_exec *vm_exec)
{
	drm_exec_fini(&vm_exec->exec);
}

int drm_gpuvm_validate(struct drm_gpuvm *gpuvm, struct drm_exec *exec);
void drm_gpuvm_resv_add_fence(struct drm_gpuvm *gpuvm,
			      struct drm_exec *exec,
			      struct dma_fence *fence,
			      enum dma_resv_usage private_usage,
			      enum dma_resv_usage extobj_usage);

/**
 * drm_gpuvm_exec_resv_add_fence() - Adds a fence to all that is locked
 * @vm_exec: the locks
 * @fence: the fence
 * @private_usage: for objects local to the VM
 * @extobj_usage: for external objects
 *
 * See drm_gpuvm_resv_add_fence().
 */
static inline void
drm_gpuvm_exec_resv_add_fence(struct drm_gpuvm_exec *vm_exec,
			      struct dma_fence *fence,
			      enum dma_resv_usage private_usage,
			      enum dma_resv_usage extobj_usage)
{
	drm_gpuvm_resv_add_fence(vm_exec->vm, &vm_exec->exec, fence,
				 private_usage, extobj_usage);
}

/**
 * drm_gpuvm_exec_validate() - Validates the evicted objects of a locked space
 * @vm_exec: the locks
 *
 * Return: see drm_gpuvm_validate().
 */
static inline int drm_gpuvm_exec_validate(struct drm_gpuvm_exec *vm_exec)
{
	return drm_gpuvm_validate(vm_exec->vm, &vm_exec->exec);
}

int drm_gpuvm_sm_map_exec_lock(struct drm_gpuvm *gpuvm,
			       struct drm_exec *exec, unsigned int num_fences,
			       struct drm_gpuvm_map_req *req);
int drm_gpuvm_sm_unmap_exec_lock(struct drm_gpuvm *gpuvm, struct drm_exec *exec,
				 u64 req_addr, u64 req_range);

#endif /* CONFIG_DRM_EXEC */

#endif /* __DRM_GPUVM_EXEC_H__ */
