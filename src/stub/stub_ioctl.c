// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * The ioctls, as uapi/drm/drm_svm_stub.h describes them. Arguments are checked
 * here, so that the rest of the driver does not have to. The DRM core has
 * copied them in, and copies them out. Those for the bind window are in
 * stub_ioctl_bind.c.
 *
 * The DRM core refuses all of them once the device has gone. What is under way
 * then ends by itself.
 */
#include <linux/log2.h>
#include <linux/migrate.h>
#include <linux/mm.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include <drm/drm_drv.h>
#include <uapi/drm/drm_svm_stub.h>

#include "stub_drv.h"
#include "stub_ioctl.h"
#include "stub_pagemap.h"
#include "stub_vm.h"

/* CPU faults wait for so long at most. */
#define STUB_MAX_TIMESLICE_MS 1000

#define STUB_MAX_WORKERS 8

/* More would be a lot of memory for one report. */
#define STUB_MAX_REPORT BIT(20)

/* More would be a lot of memory for one look. */
#define STUB_MAX_BLOCKS 65536

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

/**
 * stub_vm_lookup_own() - A VM by its id, for what reaches the memory behind it
 * @file: the file
 * @vm_id: the id
 *
 * That memory is its maker's: a file that a child inherited, or somebody was
 * given, is no key to it.
 *
 * Return: a reference, or an ERR_PTR(): -ENOENT; -EACCES.
 */
struct stub_vm *stub_vm_lookup_own(struct drm_file *file, u32 vm_id)
{
	struct stub_vm *vm = stub_vm_lookup(file, vm_id);

	if (!IS_ERR(vm) && vm->gpusvm.mm != current->mm) {
		stub_vm_put(vm);
		return ERR_PTR(-EACCES);
	}

	return vm;
}

static u32 stub_capabilities(const struct stub_vram *vram)
{
	u32 capabilities = 0;

	if (!vram->num_pages)
		return 0;

	capabilities |= DRM_SVM_STUB_CAP_MIGRATE;
	if (stub_has_peers())
		capabilities |= DRM_SVM_STUB_CAP_PEER;
	/* What the library goes by, too: a kernel can move huge pages, or it has no word for it. */
#ifdef MIGRATE_PFN_COMPOUND
	if (thp_migration_supported())
		capabilities |= DRM_SVM_STUB_CAP_HUGE;
#endif

	return capabilities;
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
	struct stub_device *stub = to_stub_device(drm);
	struct stub_vram *vram = &stub->vram;
	struct drm_svm_stub_info *args = data;

	if (args->flags)
		return -EINVAL;

	args->uapi_version = DRM_SVM_STUB_UAPI_VERSION;
	args->capabilities = stub_capabilities(vram);
	args->page_size = PAGE_SIZE;
	args->vram_size = PFN_PHYS(vram->num_pages);
	args->vram_free = PFN_PHYS(stub_vram_num_free(vram));
	args->va_start = STUB_VA_START;
	args->va_end = STUB_VA_END;
	args->bind_start = STUB_BIND_START;
	args->bind_end = STUB_BIND_END;
	args->index = stub->index;
	args->pad = 0;

	return 0;
}

static int stub_check_vm_create(const struct stub_device *stub,
				const struct drm_svm_stub_vm_create *args)
{
	if (args->flags & ~(DRM_SVM_STUB_VM_MIGRATE_ON_FAULT | DRM_SVM_STUB_VM_NO_BIND_FAULTS))
		return -EINVAL;
	if (args->timeslice_ms > STUB_MAX_TIMESLICE_MS)
		return -EINVAL;
	if (args->fault_granule &&
	    (!is_power_of_2(args->fault_granule) || args->fault_granule < PAGE_SIZE ||
	     args->fault_granule > SZ_2M))
		return -EINVAL;
	if (args->flags & DRM_SVM_STUB_VM_MIGRATE_ON_FAULT && !stub->vram.num_pages)
		return -EOPNOTSUPP;

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
	struct stub_vm *vm;
	int err, idx;

	err = stub_check_vm_create(stub, args);
	if (err)
		return err;

	if (!drm_dev_enter(drm, &idx))
		return -ENODEV;
	vm = stub_vm_create(stub, args);
	drm_dev_exit(idx);
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

static int stub_check_migrate(const struct drm_svm_stub_migrate *args)
{
	bool to_ram = args->flags & DRM_SVM_STUB_MIGRATE_TO_RAM;

	if (args->flags & ~(DRM_SVM_STUB_MIGRATE_TO_RAM | DRM_SVM_STUB_MIGRATE_FAULT_IN))
		return -EINVAL;
	if (to_ram && (args->flags & DRM_SVM_STUB_MIGRATE_FAULT_IN || args->timeslice_ms ||
		       args->workers || args->report))
		return -EINVAL;
	if (args->timeslice_ms > STUB_MAX_TIMESLICE_MS || args->workers > STUB_MAX_WORKERS)
		return -EINVAL;
	if (args->report && PHYS_PFN(args->size) > STUB_MAX_REPORT)
		return -EINVAL;

	return stub_check_span(args->start, args->size);
}

static int stub_migrate_and_report(struct stub_vm *vm, struct drm_svm_stub_migrate *args)
{
	unsigned long npages = PHYS_PFN(args->size);
	u8 *report = NULL;
	int err;

	if (args->report) {
		report = kvmalloc(npages, GFP_KERNEL_ACCOUNT);
		if (!report)
			return -ENOMEM;
		memset(report, DRM_SVM_STUB_STAY_NOT_TRIED, npages);
	}

	err = stub_migrate_to_vram(vm, args, report);
	if (report && copy_to_user(u64_to_user_ptr(args->report), report, npages))
		err = -EFAULT;
	kvfree(report);

	return err;
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
	struct drm_svm_stub_migrate *args = data;
	struct stub_vm *vm;
	int err;

	memset(args->result, 0, sizeof(args->result));
	err = stub_check_migrate(args);
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
		err = stub_migrate_and_report(vm, args);
	stub_vm_put(vm);

	return err;
}

static int stub_check_residency(const struct drm_svm_stub_residency *args)
{
	if (args->flags & ~(DRM_SVM_STUB_RESIDENCY_GPU_WRITE | DRM_SVM_STUB_RESIDENCY_PEER) ||
	    args->pad)
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
		err = stub_residency(vm, args, blocks);
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
	err = stub_counters_read_vm(vm, args);
	stub_vm_put(vm);

	return err;
}

/**
 * stub_ioctl_device_stats() - DRM_IOCTL_SVM_STUB_DEVICE_STATS
 * @drm: the device
 * @data: &struct drm_svm_stub_device_stats
 * @file: the file
 *
 * Return: 0 or a negative errno.
 */
int stub_ioctl_device_stats(struct drm_device *drm, void *data, struct drm_file *file)
{
	struct stub_device *stub = to_stub_device(drm);
	struct drm_svm_stub_device_stats *args = data;

	if (args->flags || args->pad)
		return -EINVAL;
	if (!stub->vram.num_pages)
		return -EOPNOTSUPP;

	return stub_counters_read_device(stub, args);
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
