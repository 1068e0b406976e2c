// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * The ioctls, as uapi/drm/drm_svm_stub.h describes them. Arguments are checked
 * here, so that the rest of the driver does not have to. The DRM core has
 * copied them in, and copies them out.
 */
#include <linux/slab.h>
#include <linux/uaccess.h>

#include <drm/drm_gem.h>
#include <drm/drm_vma_manager.h>
#include <uapi/drm/drm_svm_stub.h>

#include "stub_bind.h"
#include "stub_bo.h"
#include "stub_drv.h"
#include "stub_vm.h"

/* More would be a lot of memory for one look. */
#define STUB_MAX_BLOCKS 65536

/* More would be a lot of work under one lock. */
#define STUB_MAX_BIND_OPS 4096

static struct stub_file *to_stub_file(struct drm_file *file)
{
	return file->driver_priv;
}

/* A VM by its id, with a reference, or -ENOENT. */
static struct stub_vm *stub_vm_lookup(struct drm_file *file, u32 vm_id)
{
	struct xarray *vms = &to_stub_file(file)->vms;
	struct stub_vm *vm;

	xa_lock(vms);
	vm = xa_load(vms, vm_id);
	if (vm)
		kref_get(&vm->ref);
	xa_unlock(vms);

	return vm ?: ERR_PTR(-ENOENT);
}

/*
 * The same for what reaches the memory behind the VM. That is its maker's: a
 * file that a child inherited, or somebody was given, is no key to it.
 */
static struct stub_vm *stub_vm_lookup_own(struct drm_file *file, u32 vm_id)
{
	struct stub_vm *vm = stub_vm_lookup(file, vm_id);

	if (!IS_ERR(vm) && vm->gpusvm.mm != current->mm) {
		stub_vm_put(vm);
		return ERR_PTR(-EACCES);
	}

	return vm;
}

/* Whether [start, start + size) lies in the mirror. */
static bool stub_va_ok(u64 start, u64 size)
{
	return start >= STUB_VA_START && start < STUB_VA_END &&
	       size <= STUB_VA_END - start;
}

/* The same for the bind window. */
static bool stub_bind_va_ok(u64 start, u64 size)
{
	return start >= STUB_BIND_START && start < STUB_BIND_END &&
	       size <= STUB_BIND_END - start;
}

/**
 * stub_ioctl_info() - DRM_IOCTL_SVM_STUB_INFO
 * @drm: the device
 * @data: &struct drm_svm_stub_info
 * @file: the file
 *
 * Return: 0 or a negative errno.
 */
int stub_ioctl_info(struct drm_device *drm, void *data, struct drm_file *file)
{
	struct stub_vram *vram = &to_stub_device(drm)->vram;
	struct drm_svm_stub_info *args = data;

	if (args->flags)
		return -EINVAL;

	args->uapi_version = DRM_SVM_STUB_UAPI_VERSION;
	args->capabilities = vram->num_pages ? DRM_SVM_STUB_CAP_MIGRATE : 0;
	args->page_size = PAGE_SIZE;
	args->vram_size = PFN_PHYS(vram->num_pages);
	args->vram_free = PFN_PHYS(stub_vram_num_free(vram));
	args->va_start = STUB_VA_START;
	args->va_end = STUB_VA_END;
	args->bind_start = STUB_BIND_START;
	args->bind_end = STUB_BIND_END;

	return 0;
}

/**
 * stub_ioctl_vm_create() - DRM_IOCTL_SVM_STUB_VM_CREATE
 * @drm: the device
 * @data: &struct drm_svm_stub_vm_create
 * @file: the file
 *
 * Return: 0 or a negative errno.
 */
int stub_ioctl_vm_create(struct drm_device *drm, void *data, struct drm_file *file)
{
	struct stub_device *stub = to_stub_device(drm);
	struct drm_svm_stub_vm_create *args = data;
	bool migrate = args->flags & DRM_SVM_STUB_VM_MIGRATE_ON_FAULT;
	struct stub_vm *vm;
	int err;

	if (args->flags & ~DRM_SVM_STUB_VM_MIGRATE_ON_FAULT)
		return -EINVAL;
	if (migrate && !stub->vram.num_pages)
		return -EOPNOTSUPP;

	vm = stub_vm_create(stub, migrate);
	if (IS_ERR(vm))
		return PTR_ERR(vm);

	err = xa_alloc(&to_stub_file(file)->vms, &args->vm_id, vm, xa_limit_32b,
		       GFP_KERNEL_ACCOUNT);
	if (err)
		stub_vm_put(vm);

	return err == -EBUSY ? -ENOMEM : err;
}

/**
 * stub_ioctl_vm_destroy() - DRM_IOCTL_SVM_STUB_VM_DESTROY
 * @drm: the device
 * @data: &struct drm_svm_stub_vm_destroy
 * @file: the file
 *
 * Return: 0 or a negative errno.
 */
int stub_ioctl_vm_destroy(struct drm_device *drm, void *data, struct drm_file *file)
{
	const struct drm_svm_stub_vm_destroy *args = data;
	struct stub_vm *vm;

	if (args->pad)
		return -EINVAL;

	vm = xa_erase(&to_stub_file(file)->vms, args->vm_id);
	if (!vm)
		return -ENOENT;

	stub_vm_close(vm);
	stub_vm_wait_idle(vm);
	stub_vm_put(vm);

	return 0;
}

static int stub_check_exec(const struct drm_svm_stub_exec *args)
{
	/* Which of dst, src0 and src1 each program has. */
	static const bool ops[][3] = {
		[DRM_SVM_STUB_OP_FILL] = { true, false, false },
		[DRM_SVM_STUB_OP_COPY] = { true, true, false },
		[DRM_SVM_STUB_OP_ADD] = { true, true, true },
		[DRM_SVM_STUB_OP_CHECKSUM] = { false, true, false },
	};
	const u64 operand[3] = { args->dst, args->src0, args->src1 };
	const bool *has;
	unsigned int i;

	if (args->op >= ARRAY_SIZE(ops) || args->flags || args->pad)
		return -EINVAL;
	if (args->value && args->op != DRM_SVM_STUB_OP_FILL)
		return -EINVAL;
	if (!args->size || args->size % sizeof(u32))
		return -EINVAL;

	has = ops[args->op];
	for (i = 0; i < ARRAY_SIZE(operand); i++) {
		if (!has[i] && operand[i])
			return -EINVAL;
		if (operand[i] % sizeof(u32))
			return -EINVAL;
	}
	for (i = 0; i < ARRAY_SIZE(operand); i++)
		if (has[i] && !stub_va_ok(operand[i], args->size) &&
		    !stub_bind_va_ok(operand[i], args->size))
			return -ERANGE;

	/* No sum overflows any more. */
	for (i = 1; i < ARRAY_SIZE(operand) && has[0]; i++)
		if (has[i] && operand[i] != args->dst &&
		    operand[i] < args->dst + args->size &&
		    args->dst < operand[i] + args->size)
			return -EINVAL;

	return 0;
}

/**
 * stub_ioctl_exec() - DRM_IOCTL_SVM_STUB_EXEC
 * @drm: the device
 * @data: &struct drm_svm_stub_exec
 * @file: the file
 *
 * Return: 0 or a negative errno.
 */
int stub_ioctl_exec(struct drm_device *drm, void *data, struct drm_file *file)
{
	struct drm_svm_stub_exec *args = data;
	struct stub_vm *vm;
	int err;

	err = stub_check_exec(args);
	if (err)
		return err;

	vm = stub_vm_lookup_own(file, args->vm_id);
	if (IS_ERR(vm))
		return PTR_ERR(vm);
	err = down_killable(&to_stub_file(file)->programs);
	if (!err) {
		err = stub_engine_exec(vm, args);
		up(&to_stub_file(file)->programs);
	}
	stub_vm_put(vm);

	return err;
}

static int stub_check_span(u64 start, u64 size)
{
	if (!size || !PAGE_ALIGNED(start) || !PAGE_ALIGNED(size))
		return -EINVAL;

	return stub_va_ok(start, size) ? 0 : -ERANGE;
}

/**
 * stub_ioctl_migrate() - DRM_IOCTL_SVM_STUB_MIGRATE
 * @drm: the device
 * @data: &struct drm_svm_stub_migrate
 * @file: the file
 *
 * Return: 0 or a negative errno.
 */
int stub_ioctl_migrate(struct drm_device *drm, void *data, struct drm_file *file)
{
	const struct drm_svm_stub_migrate *args = data;
	struct stub_vm *vm;
	int err;

	if (args->flags & ~DRM_SVM_STUB_MIGRATE_TO_RAM)
		return -EINVAL;
	err = stub_check_span(args->start, args->size);
	if (err)
		return err;

	vm = stub_vm_lookup_own(file, args->vm_id);
	if (IS_ERR(vm))
		return PTR_ERR(vm);
	if (!vm->dpagemap)
		err = -EOPNOTSUPP;
	else if (args->flags & DRM_SVM_STUB_MIGRATE_TO_RAM)
		err = stub_migrate_to_ram(vm, args->start, args->start + args->size);
	else
		err = stub_migrate_to_vram(vm, args->start, args->start + args->size);
	stub_vm_put(vm);

	return err;
}

static int stub_check_residency(const struct drm_svm_stub_residency *args)
{
	if (args->flags & ~DRM_SVM_STUB_RESIDENCY_GPU_WRITE || args->pad)
		return -EINVAL;
	if (!args->block_size || !PAGE_ALIGNED(args->block_size))
		return -EINVAL;
	/* Results count pages in 32 bits. */
	if (PHYS_PFN(args->block_size) > U32_MAX)
		return -EINVAL;
	if (!args->num_blocks || args->num_blocks > STUB_MAX_BLOCKS)
		return -EINVAL;
	/* Without a sum that could overflow. */
	if (args->size / args->block_size + !!(args->size % args->block_size) !=
	    args->num_blocks)
		return -EINVAL;

	return stub_check_span(args->start, args->size);
}

/**
 * stub_ioctl_residency() - DRM_IOCTL_SVM_STUB_RESIDENCY
 * @drm: the device
 * @data: &struct drm_svm_stub_residency
 * @file: the file
 *
 * Return: 0 or a negative errno.
 */
int stub_ioctl_residency(struct drm_device *drm, void *data, struct drm_file *file)
{
	const struct drm_svm_stub_residency *args = data;
	struct drm_svm_stub_block *blocks;
	struct stub_vm *vm;
	int err;

	err = stub_check_residency(args);
	if (err)
		return err;

	vm = stub_vm_lookup_own(file, args->vm_id);
	if (IS_ERR(vm))
		return PTR_ERR(vm);

	blocks = kvcalloc(args->num_blocks, sizeof(*blocks), GFP_KERNEL_ACCOUNT);
	if (blocks)
		err = stub_residency(vm, args->start, args->start + args->size, args->block_size,
				     args->flags & DRM_SVM_STUB_RESIDENCY_GPU_WRITE, blocks);
	else
		err = -ENOMEM;
	if (!err && copy_to_user(u64_to_user_ptr(args->blocks), blocks,
				 args->num_blocks * sizeof(*blocks)))
		err = -EFAULT;

	kvfree(blocks);
	stub_vm_put(vm);

	return err;
}

/**
 * stub_ioctl_vm_stats() - DRM_IOCTL_SVM_STUB_VM_STATS
 * @drm: the device
 * @data: &struct drm_svm_stub_vm_stats
 * @file: the file
 *
 * Return: 0 or a negative errno.
 */
int stub_ioctl_vm_stats(struct drm_device *drm, void *data, struct drm_file *file)
{
	struct drm_svm_stub_vm_stats *args = data;
	struct stub_vm *vm;
	int err;

	if (args->flags)
		return -EINVAL;

	vm = stub_vm_lookup(file, args->vm_id);
	if (IS_ERR(vm))
		return PTR_ERR(vm);
	err = stub_vm_read_stats(vm, args);
	stub_vm_put(vm);

	return err;
}

/**
 * stub_ioctl_hold() - DRM_IOCTL_SVM_STUB_HOLD
 * @drm: the device
 * @data: &struct drm_svm_stub_hold
 * @file: the file
 *
 * Return: 0 or a negative errno.
 */
int stub_ioctl_hold(struct drm_device *drm, void *data, struct drm_file *file)
{
	struct drm_svm_stub_hold *args = data;
	struct stub_vm *vm;
	int err;

	if (args->hold > DRM_SVM_STUB_HOLD_QUERY || args->pad || !PAGE_ALIGNED(args->addr))
		return -EINVAL;
	if (args->hold == DRM_SVM_STUB_HOLD_SET && !stub_va_ok(args->addr, PAGE_SIZE))
		return -ERANGE;

	vm = stub_vm_lookup(file, args->vm_id);
	if (IS_ERR(vm))
		return PTR_ERR(vm);
	err = stub_hold_control(vm, args);
	stub_vm_put(vm);

	return err;
}

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

static int stub_check_bind_map(const struct drm_svm_stub_bind_op *op)
{
	const u32 flags = DRM_SVM_STUB_BIND_NOREPLACE | DRM_SVM_STUB_BIND_SPARSE |
			  DRM_SVM_STUB_BIND_REPEAT | DRM_SVM_STUB_BIND_COALESCE |
			  DRM_SVM_STUB_BIND_READONLY;
	bool repeat = op->flags & DRM_SVM_STUB_BIND_REPEAT;

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
