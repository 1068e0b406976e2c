// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * VM_BIND of buffer objects by the callbacks of mainline's GPU VA manager. Each request changes
 * the space and the page table step by step, under the VM's lock; of an array, those that came
 * before one that fails have taken effect.
 */
#include <linux/minmax.h>
#include <linux/slab.h>

#include <drm/drm_gem.h>
#include <drm/drm_gpuvm.h>
#include <uapi/drm/drm_svm_stub.h>

#include "stub_bind.h"
#include "stub_bo.h"
#include "stub_drv.h"
#include "stub_vm.h"

/* The driver's own flag of a mapping: programs may not write to it. */
#define PLAIN_BIND_READONLY DRM_GPUVA_USERBITS

/* What one request can make: what is asked for, and what is left on either side of it. */
#define PLAIN_BIND_SPARES 3

/**
 * struct plain_bind - A request
 * @vm: the VM
 * @flags: of the mapping that is asked for
 * @vm_bo: its object's, referenced, or NULL
 * @spare: mappings that are not used yet
 * @num_spare: how many
 */
struct plain_bind {
	struct stub_vm *vm;
	unsigned int flags;
	struct drm_gpuvm_bo *vm_bo;
	struct drm_gpuva *spare[PLAIN_BIND_SPARES];
	unsigned int num_spare;
};

/* --- steps ----------------------------------------------------------------- */

/* Nothing is allocated between the steps, or one that fails would leave half of a request. */
static struct drm_gpuva *plain_bind_take(struct plain_bind *bind)
{
	bind->vm->bind.mappings++;

	return bind->spare[--bind->num_spare];
}

static void plain_bind_link(struct drm_gpuva *va, struct drm_gpuvm_bo *vm_bo)
{
	if (!vm_bo)
		return;
	mutex_lock(&vm_bo->obj->gpuva.lock);
	drm_gpuva_link(va, vm_bo);
	mutex_unlock(&vm_bo->obj->gpuva.lock);
}

/* The object stays until the TLB has been flushed: drm_gpuvm_bo_deferred_cleanup(). */
static void plain_bind_drop(struct stub_vm *vm, struct drm_gpuva *va)
{
	drm_gpuva_unlink_defer(va);
	kfree(va);
	vm->bind.mappings--;
}

static void plain_bind_write(struct stub_vm *vm, const struct drm_gpuva *va)
{
	u64 flags = va->flags & PLAIN_BIND_READONLY ? 0 : STUB_PTE_WRITE;
	unsigned long npages = PHYS_PFN(va->va.range);
	struct stub_bo *bo;

	if (!va->gem.obj) {
		stub_pt_map(&vm->pt, va->va.addr, 0, npages, flags | STUB_PTE_SPARSE);
		return;
	}
	bo = to_stub_bo(va->gem.obj);
	if (!bo->pages)
		flags |= STUB_PTE_VRAM;
	stub_pt_map_pages(&vm->pt, va->va.addr, &bo->addr[PHYS_PFN(va->gem.offset)], npages,
			  flags);
}

static int plain_bind_step_map(struct drm_gpuva_op *op, void *priv)
{
	struct plain_bind *bind = priv;
	struct drm_gpuva *va = plain_bind_take(bind);

	drm_gpuva_map(&bind->vm->gpuvm, va, &op->map);
	va->flags = bind->flags;
	plain_bind_link(va, bind->vm_bo);
	plain_bind_write(bind->vm, va);

	return 0;
}

/* The entries of what is left stay as they are. */
static int plain_bind_step_remap(struct drm_gpuva_op *op, void *priv)
{
	struct drm_gpuva_op_remap *remap = &op->remap;
	struct drm_gpuva *gone = remap->unmap->va, *prev = NULL, *next = NULL;
	struct plain_bind *bind = priv;
	u64 start, range;

	drm_gpuva_op_remap_to_unmap_range(remap, &start, &range);
	if (remap->prev)
		prev = plain_bind_take(bind);
	if (remap->next)
		next = plain_bind_take(bind);
	drm_gpuva_remap(prev, next, remap);
	if (prev) {
		prev->flags = gone->flags;
		plain_bind_link(prev, gone->vm_bo);
	}
	if (next) {
		next->flags = gone->flags;
		plain_bind_link(next, gone->vm_bo);
	}
	if (!remap->unmap->keep)
		stub_pt_zap(&bind->vm->pt, start, start + range);
	plain_bind_drop(bind->vm, gone);

	return 0;
}

static int plain_bind_step_unmap(struct drm_gpuva_op *op, void *priv)
{
	struct drm_gpuva *gone = op->unmap.va;
	struct plain_bind *bind = priv;

	drm_gpuva_unmap(&op->unmap);
	if (!op->unmap.keep)
		stub_pt_zap(&bind->vm->pt, gone->va.addr, gone->va.addr + gone->va.range);
	plain_bind_drop(bind->vm, gone);

	return 0;
}

/* --- requests -------------------------------------------------------------- */

static int plain_bind_begin(struct plain_bind *bind)
{
	struct drm_gpuva *va;

	while (bind->num_spare < PLAIN_BIND_SPARES) {
		va = kzalloc(sizeof(*va), GFP_KERNEL_ACCOUNT);
		if (!va)
			return -ENOMEM;
		bind->spare[bind->num_spare++] = va;
	}

	return 0;
}

static void plain_bind_end(struct plain_bind *bind)
{
	while (bind->num_spare)
		kfree(bind->spare[--bind->num_spare]);
	if (bind->vm_bo)
		drm_gpuvm_bo_put_deferred(bind->vm_bo);
	stub_pt_flush(&bind->vm->pt);
	drm_gpuvm_bo_deferred_cleanup(&bind->vm->gpuvm);
}

/* The object's side of a mapping, or none for one without. */
static int plain_bind_get_bo(struct plain_bind *bind, struct drm_gem_object *obj)
{
	struct drm_gpuvm_bo *vm_bo;

	if (!obj)
		return 0;
	vm_bo = drm_gpuvm_bo_create(&bind->vm->gpuvm, obj);
	if (!vm_bo)
		return -ENOMEM;
	bind->vm_bo = drm_gpuvm_bo_obtain_prealloc(vm_bo);

	return 0;
}

static int plain_bind_map_obj(struct stub_vm *vm, const struct drm_svm_stub_bind_op *op,
			      struct drm_gem_object *obj)
{
	const struct drm_gpuvm_map_req req = {
		.map.va.addr = op->addr,
		.map.va.range = op->range,
		.map.gem.obj = obj,
		.map.gem.offset = op->bo_offset,
	};
	struct plain_bind bind = { .vm = vm };
	int err;

	if (op->flags & DRM_SVM_STUB_BIND_READONLY)
		bind.flags |= PLAIN_BIND_READONLY;
	if (!obj)
		bind.flags |= DRM_GPUVA_SPARSE;

	err = stub_pt_prepare(&vm->pt, op->addr, op->addr + op->range);
	err = err ?: plain_bind_begin(&bind);
	err = err ?: plain_bind_get_bo(&bind, obj);
	err = err ?: drm_gpuvm_sm_map(&vm->gpuvm, &bind, &req);
	plain_bind_end(&bind);

	return err;
}

static int plain_bind_map(struct stub_vm *vm, struct drm_file *file,
			  const struct drm_svm_stub_bind_op *op)
{
	const u32 flags = DRM_SVM_STUB_BIND_NOREPLACE | DRM_SVM_STUB_BIND_SPARSE |
			  DRM_SVM_STUB_BIND_READONLY;
	struct drm_gem_object *obj;
	int err = -EINVAL;

	if (op->flags & ~flags)
		return -EOPNOTSUPP;
	if (op->flags & DRM_SVM_STUB_BIND_NOREPLACE &&
	    !drm_gpuvm_interval_empty(&vm->gpuvm, op->addr, op->range))
		return -EEXIST;
	if (op->flags & DRM_SVM_STUB_BIND_SPARSE)
		return plain_bind_map_obj(vm, op, NULL);

	obj = drm_gem_object_lookup(file, op->handle);
	if (!obj)
		return -ENOENT;
	if (op->bo_offset <= obj->size && op->range <= obj->size - op->bo_offset)
		err = plain_bind_map_obj(vm, op, obj);
	drm_gem_object_put(obj);

	return err;
}

static int plain_bind_unmap(struct stub_vm *vm, const struct drm_svm_stub_bind_op *op)
{
	struct plain_bind bind = { .vm = vm };
	int err;

	err = plain_bind_begin(&bind);
	err = err ?: drm_gpuvm_sm_unmap(&vm->gpuvm, &bind, op->addr, op->range);
	plain_bind_end(&bind);

	return err;
}

/* All of it is where programs use it: this sees that there is something, and counts it. */
static int plain_bind_prefetch(struct stub_vm *vm, const struct drm_svm_stub_bind_op *op)
{
	struct drm_gpuva_ops *ops;
	struct drm_gpuva_op *step;
	u64 found = 0;

	ops = drm_gpuvm_prefetch_ops_create(&vm->gpuvm, op->addr, op->range);
	if (IS_ERR(ops))
		return PTR_ERR(ops);
	drm_gpuva_for_each_op(step, ops)
		found++;
	drm_gpuva_ops_free(&vm->gpuvm, ops);
	vm->bind.prefetched += found;

	return found ? 0 : -ENOENT;
}

static int plain_bind_op(struct stub_vm *vm, struct drm_file *file,
			 const struct drm_svm_stub_bind_op *op)
{
	switch (op->op) {
	case DRM_SVM_STUB_BIND_MAP:
		return plain_bind_map(vm, file, op);
	case DRM_SVM_STUB_BIND_UNMAP:
		return plain_bind_unmap(vm, op);
	default:
		return plain_bind_prefetch(vm, op);
	}
}

/**
 * stub_bind() - DRM_IOCTL_SVM_STUB_VM_BIND
 * @vm: the VM
 * @file: whose handles are meant
 * @args: the arguments, checked
 * @ops: what to do, each checked as far as it can be without the objects
 * @in: syncobjs to wait for
 * @out: syncobjs to signal
 *
 * Context: may sleep; a thread of the process whose VM it is.
 * Return: 0; -EOPNOTSUPP: to be done later, userptrs, what mainline's mappings cannot be told;
 * or another errno as the ioctl says.
 */
int stub_bind(struct stub_vm *vm, struct drm_file *file,
	      const struct drm_svm_stub_vm_bind *args,
	      const struct drm_svm_stub_bind_op *ops, const u32 *in, const u32 *out)
{
	int err = 0;
	u32 i;

	if (args->flags & DRM_SVM_STUB_VM_BIND_ASYNC || args->num_in_syncs || args->num_out_syncs)
		return -EOPNOTSUPP;

	if (mutex_lock_killable(&vm->lock))
		return -EINTR;
	if (test_bit(0, &vm->closed))
		err = stub_vm_closed_error(vm);
	for (i = 0; i < args->num_ops && !err; i++)
		err = plain_bind_op(vm, file, &ops[i]);
	vm->bind.binds += !err;
	mutex_unlock(&vm->lock);

	return err;
}

/* --- of a VM --------------------------------------------------------------- */

static void plain_bind_vm_free(struct drm_gpuvm *gpuvm)
{
	stub_vm_free(container_of(gpuvm, struct stub_vm, gpuvm));
}

static const struct drm_gpuvm_ops plain_bind_gpuvm_ops = {
	.vm_free = plain_bind_vm_free,
	.sm_step_map = plain_bind_step_map,
	.sm_step_remap = plain_bind_step_remap,
	.sm_step_unmap = plain_bind_step_unmap,
};

/**
 * stub_bind_init() - Makes the bind window of a VM
 * @vm: the VM
 *
 * The VM is freed by stub_bind_fini() from here on, which calls stub_vm_free().
 *
 * Return: 0 or -ENOMEM.
 */
int stub_bind_init(struct stub_vm *vm)
{
	struct drm_device *drm = &vm->stub->drm;
	struct drm_gem_object *resv;

	resv = drm_gpuvm_resv_object_alloc(drm);
	if (!resv)
		return -ENOMEM;

	drm_gpuvm_init(&vm->gpuvm, KBUILD_MODNAME, DRM_GPUVM_IMMEDIATE_MODE, drm, resv,
		       STUB_BIND_START, STUB_BIND_END + STUB_BIND_RESERVED - STUB_BIND_START,
		       STUB_BIND_END, STUB_BIND_RESERVED, &plain_bind_gpuvm_ops);
	drm_gem_object_put(resv);

	return 0;
}

/**
 * stub_bind_fini() - Ends the bind window of a VM, and with it the VM
 * @vm: the VM, which nobody uses any more
 *
 * Context: may sleep.
 */
void stub_bind_fini(struct stub_vm *vm)
{
	struct drm_gpuvm *gpuvm = &vm->gpuvm;
	struct drm_gpuva *va, *next;

	mutex_lock(&vm->lock);
	drm_gpuvm_for_each_va_safe(va, next, gpuvm) {
		if (va == &gpuvm->kernel_alloc_node)
			continue;
		drm_gpuva_remove(va);
		plain_bind_drop(vm, va);
	}
	mutex_unlock(&vm->lock);

	drm_gpuvm_bo_deferred_cleanup(gpuvm);
	drm_gpuvm_put(gpuvm);
}
