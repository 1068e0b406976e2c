// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * The ioctls for buffer objects and for the bind window, as
 * uapi/drm/drm_svm_stub.h describes them.
 */
#include <linux/slab.h>
#include <linux/uaccess.h>

#include <drm/drm_gem.h>
#include <drm/drm_vma_manager.h>
#include <uapi/drm/drm_svm_stub.h>

#include "stub_bind.h"
#include "stub_bo.h"
#include "stub_drv.h"
#include "stub_ioctl.h"
#include "stub_vm.h"

/* More would be a lot of work under one lock. */
#define STUB_MAX_BIND_OPS 4096

/**
 * stub_ioctl_bo_create() - DRM_IOCTL_SVM_STUB_BO_CREATE
 * @drm: the device
 * @data: &struct drm_svm_stub_bo_create
 * @file: the file
 *
 * Return: 0 or a negative errno.
 */
int stub_ioctl_bo_create(struct drm_device *drm, void *data, struct drm_file *file)
{
	struct stub_device *stub = to_stub_device(drm);
	struct drm_svm_stub_bo_create *args = data;
	bool vram = args->flags & DRM_SVM_STUB_BO_VRAM;
	struct stub_bo *bo;
	int err;

	if (args->flags & ~DRM_SVM_STUB_BO_VRAM)
		return -EINVAL;
	if (!args->size || !PAGE_ALIGNED(args->size))
		return -EINVAL;
	if (vram && !stub->vram.num_pages)
		return -EOPNOTSUPP;

	bo = stub_bo_create(stub, args->size, vram);
	if (IS_ERR(bo))
		return PTR_ERR(bo);

	/* The handle keeps it. */
	err = drm_gem_handle_create(file, &bo->base, &args->handle);
	drm_gem_object_put(&bo->base);

	return err;
}

/**
 * stub_ioctl_bo_mmap_offset() - DRM_IOCTL_SVM_STUB_BO_MMAP_OFFSET
 * @drm: the device
 * @data: &struct drm_svm_stub_bo_mmap_offset
 * @file: the file
 *
 * Return: 0 or a negative errno.
 */
int stub_ioctl_bo_mmap_offset(struct drm_device *drm, void *data, struct drm_file *file)
{
	struct drm_svm_stub_bo_mmap_offset *args = data;
	struct drm_gem_object *obj;
	int err = 0;

	if (args->pad)
		return -EINVAL;

	obj = drm_gem_object_lookup(file, args->handle);
	if (!obj)
		return -ENOENT;
	if (to_stub_bo(obj)->pages)
		args->offset = drm_vma_node_offset_addr(&obj->vma_node);
	else
		err = -EOPNOTSUPP;
	drm_gem_object_put(obj);

	return err;
}

static int stub_check_bind_userptr(const struct drm_svm_stub_bind_op *op)
{
	const u32 flags = DRM_SVM_STUB_BIND_USERPTR | DRM_SVM_STUB_BIND_MAY_MIGRATE |
			  DRM_SVM_STUB_BIND_NOREPLACE | DRM_SVM_STUB_BIND_READONLY;

	if (op->flags & ~flags || op->handle || op->repeat_range)
		return -EINVAL;
	if (!PAGE_ALIGNED(op->bo_offset) || !stub_va_ok(op->bo_offset, op->range))
		return -EINVAL;

	return 0;
}

static int stub_check_bind_map(const struct drm_svm_stub_bind_op *op)
{
	const u32 flags = DRM_SVM_STUB_BIND_NOREPLACE | DRM_SVM_STUB_BIND_SPARSE |
			  DRM_SVM_STUB_BIND_REPEAT | DRM_SVM_STUB_BIND_COALESCE |
			  DRM_SVM_STUB_BIND_READONLY;
	bool repeat = op->flags & DRM_SVM_STUB_BIND_REPEAT;

	if (op->flags & DRM_SVM_STUB_BIND_USERPTR)
		return stub_check_bind_userptr(op);
	if (op->flags & ~flags)
		return -EINVAL;
	if (repeat != !!op->repeat_range)
		return -EINVAL;
	if (!PAGE_ALIGNED(op->bo_offset) || !PAGE_ALIGNED(op->repeat_range))
		return -EINVAL;
	if (op->flags & DRM_SVM_STUB_BIND_SPARSE && (op->handle || op->bo_offset || repeat))
		return -EINVAL;

	return 0;
}

static int stub_check_bind_op(const struct drm_svm_stub_bind_op *op)
{
	if (op->pad)
		return -EINVAL;
	if (!op->range || !PAGE_ALIGNED(op->addr) || !PAGE_ALIGNED(op->range))
		return -EINVAL;
	if (!stub_bind_va_ok(op->addr, op->range))
		return -EINVAL;

	switch (op->op) {
	case DRM_SVM_STUB_BIND_MAP:
		return stub_check_bind_map(op);
	case DRM_SVM_STUB_BIND_UNMAP:
	case DRM_SVM_STUB_BIND_PREFETCH:
		if (op->flags || op->handle || op->bo_offset || op->repeat_range)
			return -EINVAL;
		return 0;
	default:
		return -EINVAL;
	}
}

/* A copy of an array, which may be empty; for kvfree(). */
static void *stub_copy_array(u64 user, u32 num, size_t size)
{
	void *array = kvmalloc_array(num, size, GFP_KERNEL_ACCOUNT);

	if (!array)
		return ERR_PTR(-ENOMEM);
	if (copy_from_user(array, u64_to_user_ptr(user), num * size)) {
		kvfree(array);
		return ERR_PTR(-EFAULT);
	}

	return array;
}

static int stub_vm_bind(struct drm_file *file, const struct drm_svm_stub_vm_bind *args,
			const struct drm_svm_stub_bind_op *ops, const u32 *in, const u32 *out)
{
	struct stub_vm *vm;
	u32 i;
	int err;

	for (i = 0; i < args->num_ops; i++) {
		err = stub_check_bind_op(&ops[i]);
		if (err)
			return err;
	}

	vm = stub_vm_lookup_own(file, args->vm_id);
	if (IS_ERR(vm))
		return PTR_ERR(vm);
	err = stub_bind(vm, file, args, ops, in, out);
	stub_vm_put(vm);

	return err;
}

/**
 * stub_ioctl_vm_bind() - DRM_IOCTL_SVM_STUB_VM_BIND
 * @drm: the device
 * @data: &struct drm_svm_stub_vm_bind
 * @file: the file
 *
 * Return: 0 or a negative errno.
 */
int stub_ioctl_vm_bind(struct drm_device *drm, void *data, struct drm_file *file)
{
	const struct drm_svm_stub_vm_bind *args = data;
	struct drm_svm_stub_bind_op *ops;
	u32 *in, *out;
	int err;

	if (args->flags & ~DRM_SVM_STUB_VM_BIND_ASYNC || args->pad)
		return -EINVAL;
	if (args->num_ops > STUB_MAX_BIND_OPS || args->num_in_syncs > STUB_BIND_MAX_SYNCS ||
	    args->num_out_syncs > STUB_BIND_MAX_SYNCS)
		return -E2BIG;

	ops = stub_copy_array(args->ops, args->num_ops, sizeof(*ops));
	if (IS_ERR(ops))
		return PTR_ERR(ops);
	in = stub_copy_array(args->in_syncs, args->num_in_syncs, sizeof(*in));
	if (IS_ERR(in)) {
		err = PTR_ERR(in);
		goto err_ops;
	}
	out = stub_copy_array(args->out_syncs, args->num_out_syncs, sizeof(*out));
	if (IS_ERR(out)) {
		err = PTR_ERR(out);
		goto err_in;
	}

	err = stub_vm_bind(file, args, ops, in, out);

	kvfree(out);
err_in:
	kvfree(in);
err_ops:
	kvfree(ops);
	return err;
}
