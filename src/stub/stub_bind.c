// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * VM_BIND. Two things change: what the space (&stub_vm.gpuvm) says is mapped,
 * and what the GPU's page table maps.
 *
 *	ioctl	plan the requests, make what they need	may fail, changes nothing
 *		commit: change the space		cannot fail
 *	job	wait for the in-fences
 *		change the page table			cannot fail, allocates nothing
 *		signal the fence
 *	release	free what is not mapped any more
 *
 * The ioctl does the first part under the VM's lock; so the next one plans upon
 * what this one has made of the space, whenever the job runs (stub_bind_job.c).
 * A bind that is not asynchronous waits until there is no job left, and does all
 * three parts by itself.
 *
 * From the commit on the space holds what is to be mapped, and no longer what
 * was. The transaction holds both until it is finished, after the job: objects
 * that come, and objects that go. A mapping of memory of the process holds that by itself.
 */
#include <linux/sched/signal.h>
#include <linux/slab.h>

#include <drm/drm_gem.h>
#include <drm/drm_svm.h>
#include <drm/drm_syncobj.h>
#include <uapi/drm/drm_svm_stub.h>

#include "stub_bind.h"
#include "stub_drv.h"
#include "stub_userptr.h"
#include "stub_vm.h"

static struct stub_bind_job *to_stub_bind_job(struct drm_svm_bind *bind)
{
	return container_of(bind, struct stub_bind_job, bind);
}

/* --- the transaction ------------------------------------------------------- */

static struct drm_gpuva *stub_bind_va_alloc(struct drm_svm_bind *bind,
					    struct drm_svm_bind_op *op)
{
	struct stub_va *va = kzalloc(sizeof(*va), GFP_KERNEL_ACCOUNT);

	return va ? &va->base : NULL;
}

static void stub_bind_free_va(struct stub_va *va)
{
	if (va->userptr) {
		/* Still there if its job found that the VM was closed. */
		stub_userptr_hide(va);
		stub_userptr_put(va->userptr);
	}
	kfree(va);
}

static void stub_bind_va_free(struct drm_svm_bind *bind, struct drm_gpuva *va)
{
	stub_bind_free_va(to_stub_va(va));
}

static bool stub_bind_can_merge(struct drm_svm_bind *bind, const struct drm_gpuva *va,
				const struct drm_svm_bind_op *maker,
				const struct drm_gpuva_op_map *req, void *tag)
{
	/* All that tells mappings apart is in their flags, which are equal. */
	return true;
}

static int stub_bind_prepare_map(struct stub_vm *vm, struct drm_svm_bind_op *op)
{
	struct stub_va *va = to_stub_va(op->va);
	struct stub_userptr *userptr;
	int err;

	err = stub_pt_prepare(&vm->pt, op->addr, op->addr + op->range);
	if (err || !(op->base.map.flags & STUB_BIND_USERPTR))
		return err;

	userptr = stub_userptr_create(vm, &op->base.map);
	if (IS_ERR(userptr))
		return PTR_ERR(userptr);
	va->userptr = userptr;

	return 0;
}

/* What is left of a mapping shows the same memory. */
static void stub_bind_prepare_remap(struct drm_svm_bind_op *op)
{
	struct stub_userptr *userptr = to_stub_va(op->base.remap.unmap->va)->userptr;

	if (op->prev && userptr)
		to_stub_va(op->prev)->userptr = stub_userptr_get(userptr);
	if (op->next && userptr)
		to_stub_va(op->next)->userptr = stub_userptr_get(userptr);
}

static int stub_bind_prepare(struct drm_svm_bind *bind, struct drm_svm_bind_op *op)
{
	struct stub_vm *vm = to_stub_bind_job(bind)->vm;
	struct stub_va *va;

	switch (op->base.op) {
	case DRM_GPUVA_OP_MAP:
		return stub_bind_prepare_map(vm, op);
	case DRM_GPUVA_OP_REMAP:
		stub_bind_prepare_remap(op);
		return 0;
	case DRM_GPUVA_OP_PREFETCH:
		va = to_stub_va(op->base.prefetch.va);
		if (va->userptr)
			stub_userptr_prefetch(va, op->addr, op->range);
		return 0;
	default:
		return 0;
	}
}

static void stub_bind_commit(struct drm_svm_bind *bind, struct drm_svm_bind_op *op)
{
	struct stub_vm *vm = to_stub_bind_job(bind)->vm;
	bool gone = op->base.op == DRM_GPUVA_OP_UNMAP || op->base.op == DRM_GPUVA_OP_REMAP;

	vm->bind.mappings += !!op->va + !!op->prev + !!op->next - gone;
	vm->bind.prefetched += op->base.op == DRM_GPUVA_OP_PREFETCH;
}

/* The job is over: what it has taken away nobody uses any more. */
static void stub_bind_finish(struct drm_svm_bind *bind, struct drm_svm_bind_op *op)
{
	struct stub_va *va;

	if (op->base.op == DRM_GPUVA_OP_UNMAP)
		va = to_stub_va(op->base.unmap.va);
	else if (op->base.op == DRM_GPUVA_OP_REMAP)
		va = to_stub_va(op->base.remap.unmap->va);
	else
		return;
	if (va->userptr)
		stub_userptr_forget(va, op->addr, op->range);
}

static const struct drm_svm_bind_ops stub_bind_ops = {
	.va_alloc = stub_bind_va_alloc,
	.va_free = stub_bind_va_free,
	.can_merge = stub_bind_can_merge,
	.prepare = stub_bind_prepare,
	.commit = stub_bind_commit,
	.finish = stub_bind_finish,
};

static int stub_bind_queue_map(struct stub_bind_job *job, struct drm_file *file,
			       const struct drm_svm_stub_bind_op *op)
{
	struct drm_gpuvm_map_req req = {
		.map.va = { .addr = op->addr, .range = op->range },
		.map.gem.offset = op->bo_offset,
	};
	struct drm_gem_object *obj;
	u64 size = op->range;
	u32 how = 0;
	int err;

	if (op->flags & DRM_SVM_STUB_BIND_NOREPLACE)
		how |= DRM_SVM_BIND_NOREPLACE;
	if (op->flags & DRM_SVM_STUB_BIND_COALESCE)
		how |= DRM_SVM_BIND_COALESCE;
	if (op->flags & DRM_SVM_STUB_BIND_READONLY)
		req.map.flags |= STUB_BIND_READONLY;
	if (op->flags & DRM_SVM_STUB_BIND_SPARSE) {
		req.map.flags |= DRM_GPUVA_SPARSE;
		return drm_svm_bind_map(&job->bind, &req, how, NULL);
	}
	if (op->flags & DRM_SVM_STUB_BIND_USERPTR) {
		if (op->flags & DRM_SVM_STUB_BIND_MAY_MIGRATE && !job->vm->dpagemap)
			return -EOPNOTSUPP;
		req.map.flags |= STUB_BIND_USERPTR;
		if (op->flags & DRM_SVM_STUB_BIND_MAY_MIGRATE)
			req.map.flags |= STUB_BIND_MAY_MIGRATE;
		return drm_svm_bind_map(&job->bind, &req, how, NULL);
	}
	if (op->flags & DRM_SVM_STUB_BIND_REPEAT) {
		req.map.flags |= DRM_GPUVA_REPEAT;
		req.map.gem.repeat_offset = op->bo_offset;
		req.map.gem.repeat_range = op->repeat_range;
		size = op->repeat_range;
	}

	obj = drm_gem_object_lookup(file, op->handle);
	if (!obj)
		return -ENOENT;
	req.map.gem.obj = obj;
	if (op->bo_offset <= obj->size && size <= obj->size - op->bo_offset)
		err = drm_svm_bind_map(&job->bind, &req, how, NULL);
	else
		err = -EINVAL;
	/* The transaction has a reference of its own. */
	drm_gem_object_put(obj);

	return err;
}

/*
 * Whether an array of requests may be as it is so far. What is little to ask for may be much to
 * do: a step for each mapping in the way of each request, an entry for each page
 * that is mapped. One request alone is bounded by what is there, and by the size
 * of the page table.
 */
static int stub_bind_may_go_on(const struct stub_bind_job *job, u64 mapped)
{
	if (fatal_signal_pending(current))
		return -EINTR;

	return drm_svm_bind_steps(&job->bind) > STUB_BIND_MAX_STEPS ||
	       mapped > STUB_BIND_MAX_SIZE ? -E2BIG : 0;
}

static int stub_bind_queue(struct stub_bind_job *job, struct drm_file *file,
			   const struct drm_svm_stub_bind_op *op)
{
	switch (op->op) {
	case DRM_SVM_STUB_BIND_MAP:
		return stub_bind_queue_map(job, file, op);
	case DRM_SVM_STUB_BIND_UNMAP:
		return drm_svm_bind_unmap(&job->bind, op->addr, op->range, NULL);
	default:
		return drm_svm_bind_prefetch(&job->bind, op->addr, op->range, NULL);
	}
}

/* Changes the space, under the VM's lock. If it fails, nothing has changed. */
static int stub_bind_change(struct stub_bind_job *job, struct drm_file *file,
			    const struct drm_svm_stub_bind_op *ops, u32 num_ops)
{
	struct stub_vm *vm = job->vm;
	u64 mapped = 0;
	u32 i;
	int err;

	err = drm_svm_bind_begin(&job->bind, &vm->gpuvm, &stub_bind_ops, NULL);
	if (err)
		return err;

	for (i = 0; i < num_ops && !err; i++) {
		err = stub_bind_queue(job, file, &ops[i]);
		if (ops[i].op == DRM_SVM_STUB_BIND_MAP)
			mapped += ops[i].range;
		if (!err && num_ops > 1)
			err = stub_bind_may_go_on(job, mapped);
	}
	if (!err)
		err = drm_svm_bind_prepare(&job->bind);
	if (err) {
		drm_svm_bind_abort(&job->bind);
		return err;
	}

	drm_svm_bind_commit(&job->bind);
	vm->bind.binds++;

	return 0;
}

/* --- the ioctl ------------------------------------------------------------- */

static int stub_bind_get_syncs(struct stub_bind_job *job, struct drm_file *file,
			       const struct drm_svm_stub_vm_bind *args,
			       const u32 *in, const u32 *out)
{
	struct drm_syncobj *syncobj;
	struct dma_fence *fence;

	for (; job->num_in < args->num_in_syncs; job->num_in++) {
		syncobj = drm_syncobj_find(file, in[job->num_in]);
		if (!syncobj)
			return -ENOENT;
		fence = drm_syncobj_fence_get(syncobj);
		drm_syncobj_put(syncobj);
		if (!fence)
			return -ENOENT;
		job->in[job->num_in] = fence;
	}
	for (; job->num_out < args->num_out_syncs; job->num_out++) {
		syncobj = drm_syncobj_find(file, out[job->num_out]);
		if (!syncobj)
			return -ENOENT;
		job->out[job->num_out] = syncobj;
	}

	return 0;
}

/* Takes the VM's lock. Where @idle is set there is no job left then. */
static int stub_bind_lock(struct stub_vm *vm, bool idle)
{
	struct dma_fence *last;
	int err;

	for (;;) {
		if (mutex_lock_killable(&vm->lock))
			return -EINTR;
		if (READ_ONCE(vm->bind.closed)) {
			mutex_unlock(&vm->lock);
			return stub_vm_closed_error(vm);
		}
		last = vm->bind.last;
		if (!idle || !last || dma_fence_is_signaled(last))
			return 0;

		dma_fence_get(last);
		mutex_unlock(&vm->lock);
		err = dma_fence_wait(last, true);
		dma_fence_put(last);
		if (err)
			return err;
	}
}

static int stub_bind_async(struct stub_bind_job *job, struct drm_file *file,
			   const struct drm_svm_stub_vm_bind *args,
			   const struct drm_svm_stub_bind_op *ops)
{
	struct stub_vm *vm = job->vm;
	int err;

	err = stub_bind_lock(vm, false);
	if (err)
		return err;
	err = stub_bind_change(job, file, ops, args->num_ops);
	if (!err)
		stub_bind_job_queue(job);
	mutex_unlock(&vm->lock);

	return err;
}

static int stub_bind_sync(struct stub_bind_job *job, struct drm_file *file,
			  const struct drm_svm_stub_vm_bind *args,
			  const struct drm_svm_stub_bind_op *ops)
{
	struct stub_vm *vm = job->vm;
	u32 i;
	int err;

	/* First all the waiting, which a signal may end. */
	for (i = 0; i < job->num_in; i++) {
		err = dma_fence_wait(job->in[i], true);
		if (err)
			return err;
	}
	err = stub_bind_lock(vm, true);
	if (err)
		return err;
	err = stub_bind_change(job, file, ops, args->num_ops);
	if (!err)
		stub_bind_job_do(job);
	mutex_unlock(&vm->lock);
	if (!err)
		stub_bind_job_release(job);

	return err;
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
 * Return: 0; -ENOENT, also if the VM has been closed; -ENODEV; -ERESTARTSYS: a signal
 * came while it waited; or another errno as the ioctl says.
 */
int stub_bind(struct stub_vm *vm, struct drm_file *file,
	      const struct drm_svm_stub_vm_bind *args,
	      const struct drm_svm_stub_bind_op *ops, const u32 *in, const u32 *out)
{
	bool async = args->flags & DRM_SVM_STUB_VM_BIND_ASYNC;
	struct stub_bind_job *job;
	int err;

	job = stub_bind_job_create(vm, async);
	if (!job)
		return -ENOMEM;

	err = stub_bind_get_syncs(job, file, args, in, out);
	if (!err)
		err = async ? stub_bind_async(job, file, args, ops) :
			      stub_bind_sync(job, file, args, ops);
	if (err)
		stub_bind_job_free(job);

	return err;
}

/* --- of a VM --------------------------------------------------------------- */

static void stub_bind_vm_free(struct drm_gpuvm *gpuvm)
{
	stub_vm_free(container_of(gpuvm, struct stub_vm, gpuvm));
}

static const struct drm_gpuvm_ops stub_bind_gpuvm_ops = {
	.vm_free = stub_bind_vm_free,
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

	stub_bind_jobs_init(vm);
	stub_userptr_init(vm);

	/* Immediate mode: no dma_resv is needed for what needs no validation. */
	drm_gpuvm_init(&vm->gpuvm, "drm_svm_stub", DRM_GPUVM_IMMEDIATE_MODE, drm, resv,
		       STUB_BIND_START, STUB_BIND_END + STUB_BIND_RESERVED - STUB_BIND_START,
		       STUB_BIND_END, STUB_BIND_RESERVED, &stub_bind_gpuvm_ops);
	drm_gem_object_put(resv);

	return 0;
}

/**
 * stub_bind_fini() - Ends the bind window of a VM, and with it the VM
 * @vm: the VM, which nobody uses any more
 *
 * Allocates nothing and takes no part in a transaction: it has to work in any
 * case. Entries may stay, because no program is left that would follow them.
 *
 * Context: may sleep.
 */
void stub_bind_fini(struct stub_vm *vm)
{
	struct drm_gpuvm *gpuvm = &vm->gpuvm;
	struct drm_gpuva *va, *next;

	stub_bind_jobs_fini(vm);

	mutex_lock(&vm->lock);
	drm_gpuvm_for_each_va_safe(va, next, gpuvm) {
		if (va == &gpuvm->kernel_alloc_node)
			continue;
		drm_gpuva_unlink_defer(va);
		drm_gpuva_remove(va);
		stub_bind_free_va(to_stub_va(va));
		cond_resched();
	}
	mutex_unlock(&vm->lock);

	stub_userptr_fini(vm);
	drm_gpuvm_bo_deferred_cleanup(gpuvm);
	drm_gpuvm_put(gpuvm);
}
