// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * The ioctls, as uapi/drm/drm_svm_stub.h describes them. Arguments are checked
 * here, so that the rest of the driver does not have to. The DRM core has
 * copied them in, and copies them out.
 */
#include <linux/slab.h>
#include <linux/uaccess.h>

#include <uapi/drm/drm_svm_stub.h>

#include "stub_drv.h"
#include "stub_vm.h"

/* More would be a lot of memory for one look. */
#define STUB_MAX_BLOCKS 65536

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

/* Whether the GPU can address [start, start + size). */
static bool stub_va_ok(u64 start, u64 size)
{
	return start >= STUB_VA_START && start < STUB_VA_END &&
	       size <= STUB_VA_END - start;
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
		if (has[i] && !stub_va_ok(operand[i], args->size))
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
	if (args->flags || args->pad)
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
		err = stub_residency(vm, args->start, args->start + args->size,
				     args->block_size, blocks);
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
