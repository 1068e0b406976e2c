// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * The part of VM_BIND that may come later: jobs wait for their in-fences, change
 * the GPU's page table, signal, and leave the rest to be freed.
 *
 * A VM's jobs run one at a time and in order, by the VM's work. They share their part of
 * the page table with faults on memory of the process, by a lock under which nobody
 * allocates. No worker sleeps for a fence: what a job waits for queues the work again.
 *
 * Where a signalled fence keeps its ops, which is before 7.3, a syncobj that has
 * one must not outlive the module.
 *
 * Whoever waits for a job's fence may be the one who would have to free memory.
 * So all that allocates comes before the job, and all that frees, and takes
 * locks for that, behind it.
 *
 * When the VM is closed, in-fences that may never signal are waited for no
 * longer. Jobs then find that there is nothing to do but to empty the window,
 * and signal with an error.
 */
#include <linux/minmax.h>
#include <linux/sched.h>
#include <linux/slab.h>

#include <drm/drm_syncobj.h>

#include "stub_bind.h"
#include "stub_bo.h"
#include "stub_drv.h"
#include "stub_userptr.h"
#include "stub_vm.h"

/**
 * struct stub_bind_fence - Of an asynchronous job
 * @base: the fence; has to be first, because the memory goes with it
 * @lock: the fence's
 */
struct stub_bind_fence {
	struct dma_fence base;
	spinlock_t lock;
};

static const char *stub_bind_fence_driver_name(struct dma_fence *fence)
{
	return "drm_svm_stub";
}

static const char *stub_bind_fence_timeline_name(struct dma_fence *fence)
{
	return "bind";
}

static const struct dma_fence_ops stub_bind_fence_ops = {
	.get_driver_name = stub_bind_fence_driver_name,
	.get_timeline_name = stub_bind_fence_timeline_name,
};

/* --- the page table -------------------------------------------------------- */

/* Where in its object a mapping shows @va; *@size: no further than that goes on. */
static u64 stub_bind_bo_offset(const struct drm_gpuva_op_map *map, u64 va, u64 *size)
{
	u64 offset = map->gem.offset + (va - map->va.addr);
	u64 phase;

	if (!(map->flags & DRM_GPUVA_REPEAT))
		return offset;

	phase = (offset - map->gem.repeat_offset) % map->gem.repeat_range;
	*size = min(*size, map->gem.repeat_range - phase);

	return map->gem.repeat_offset + phase;
}

/* What has been taken away since the memory was collected comes with a fault. */
static void stub_bind_map_userptr(const struct drm_svm_bind_op *op)
{
	const struct drm_gpuva_op_map *map = &op->base.map;
	struct stub_va *va = to_stub_va(op->va);

	stub_userptr_show(va);
	stub_userptr_write_ptes(va->userptr, map->gem.offset, map->gem.offset + map->va.range);
}

/*
 * What was asked for. A mapping that has merged is larger, by what is in the
 * page table already.
 */
static void stub_bind_map(struct stub_vm *vm, const struct drm_svm_bind_op *op)
{
	const struct drm_gpuva_op_map *map = &op->base.map;
	struct stub_pt *pt = &vm->pt;
	u64 flags = map->flags & STUB_BIND_READONLY ? 0 : STUB_PTE_WRITE;
	u64 va = op->addr, end = op->addr + op->range, size, offset;
	struct stub_bo *bo;

	if (map->flags & STUB_BIND_USERPTR) {
		stub_bind_map_userptr(op);
		return;
	}
	if (!map->gem.obj) {
		stub_pt_map(pt, va, 0, PHYS_PFN(op->range), flags | STUB_PTE_SPARSE);
		return;
	}

	bo = to_stub_bo(map->gem.obj);
	if (!bo->pages)
		flags |= STUB_PTE_VRAM;
	for (; va < end; va += size) {
		size = end - va;
		offset = stub_bind_bo_offset(map, va, &size);
		stub_pt_map_pages(pt, va, &bo->addr[PHYS_PFN(offset)], PHYS_PFN(size), flags);
	}
}

/*
 * Zaps a span, as far as something was asked for there: what merges with that
 * keeps its entries. Returns how many there were.
 */
static unsigned long stub_bind_zap(struct stub_pt *pt, const struct drm_svm_bind_op *op,
				   u64 start, u64 size)
{
	u64 end = min(start + size, op->addr + op->range);

	return stub_pt_zap(pt, max(start, op->addr), end);
}

/*
 * Before something else is written there, whose entries are not for an invalidation of
 * this one to zap.
 */
static void stub_bind_hide(struct stub_vm *vm, struct stub_va *gone)
{
	if (!gone->userptr)
		return;
	stub_pt_flush(&vm->pt);
	stub_userptr_hide(gone);
}

static unsigned long stub_bind_remap(struct stub_vm *vm, const struct drm_svm_bind_op *op)
{
	const struct drm_gpuva_op_remap *remap = &op->base.remap;
	struct stub_va *gone = to_stub_va(remap->unmap->va);
	unsigned long zapped;
	u64 start, size;

	if (remap->unmap->keep)
		return 0;
	/* The entries of what is left stay. */
	if (op->prev && gone->userptr)
		stub_userptr_show(to_stub_va(op->prev));
	if (op->next && gone->userptr)
		stub_userptr_show(to_stub_va(op->next));
	drm_gpuva_op_remap_to_unmap_range(remap, &start, &size);
	zapped = stub_bind_zap(&vm->pt, op, start, size);
	stub_bind_hide(vm, gone);

	return zapped;
}

static unsigned long stub_bind_unmap(struct stub_vm *vm, const struct drm_svm_bind_op *op)
{
	const struct drm_gpuva_op_unmap *unmap = &op->base.unmap;
	unsigned long zapped;

	if (unmap->keep)
		return 0;
	zapped = stub_bind_zap(&vm->pt, op, unmap->va->va.addr, unmap->va->va.range);
	stub_bind_hide(vm, to_stub_va(unmap->va));

	return zapped;
}

/*
 * The VM has been closed. What jobs would still map or unmap is one then: all of
 * the window is emptied, once and for all, because nothing keeps the memory
 * behind it when the jobs have gone.
 */
static int stub_bind_cancel(struct stub_vm *vm)
{
	mutex_lock(&vm->bind.pt_lock);
	if (!vm->bind.cleared) {
		stub_pt_zap(&vm->pt, STUB_BIND_START, STUB_BIND_END);
		stub_pt_flush(&vm->pt);
		vm->bind.cleared = true;
	}
	mutex_unlock(&vm->bind.pt_lock);

	return -ECANCELED;
}

/* Does one step. Returns how many entries it has zapped. */
static unsigned long stub_bind_step(struct stub_vm *vm, const struct drm_svm_bind_op *op)
{
	switch (op->base.op) {
	case DRM_GPUVA_OP_MAP:
		stub_bind_map(vm, op);
		return 0;
	case DRM_GPUVA_OP_REMAP:
		return stub_bind_remap(vm, op);
	case DRM_GPUVA_OP_UNMAP:
		return stub_bind_unmap(vm, op);
	default:
		/* DRM_GPUVA_OP_PREFETCH: what could be moved was, before the commit. */
		return 0;
	}
}

/* Does to the page table what the commit has done to the space. 0 or -ECANCELED. */
static int stub_bind_write(struct stub_bind_job *job)
{
	struct stub_vm *vm = job->vm;
	struct drm_svm_bind_op *op;
	unsigned long zapped = 0;

	/* Also where there is nothing to do: it comes behind what is cancelled. */
	if (READ_ONCE(vm->bind.closed))
		return stub_bind_cancel(vm);

	drm_svm_bind_for_each_op(op, &job->bind) {
		if (READ_ONCE(vm->bind.closed))
			return stub_bind_cancel(vm);

		/* For each step anew: a fault waits no longer than for one of them. */
		mutex_lock(&vm->bind.pt_lock);
		zapped += stub_bind_step(vm, op);
		mutex_unlock(&vm->bind.pt_lock);
		cond_resched();
	}
	if (zapped)
		stub_pt_flush(&vm->pt);

	return 0;
}

/* --- running --------------------------------------------------------------- */

static void stub_bind_wake(struct dma_fence *fence, struct dma_fence_cb *cb)
{
	struct stub_vm *vm = container_of(cb, struct stub_bind_job, wake)->vm;

	queue_work(stub_queues.bind, &vm->bind.work);
}

/* Whether a job may run; if not, its VM's work is queued when that changes. */
static bool stub_bind_is_ready(struct stub_bind_job *job)
{
	for (; job->num_ready < job->num_in; job->num_ready++) {
		struct dma_fence *fence = job->in[job->num_ready];

		/* It may still be there from the last time. */
		dma_fence_remove_callback(fence, &job->wake);
		if (READ_ONCE(job->vm->bind.closed))
			return true;
		if (!dma_fence_add_callback(fence, &job->wake, stub_bind_wake))
			return false;
	}

	return true;
}

/* Takes the next job, if it may run. */
static struct stub_bind_job *stub_bind_next(struct stub_vm *vm)
{
	struct stub_bind_job *job;

	spin_lock(&vm->bind.lock);
	job = list_first_entry_or_null(&vm->bind.jobs, struct stub_bind_job, link);
	spin_unlock(&vm->bind.lock);
	if (!job || !stub_bind_is_ready(job))
		return NULL;

	/* It is still the first: nobody else takes any. */
	spin_lock(&vm->bind.lock);
	list_del(&job->link);
	spin_unlock(&vm->bind.lock);

	return job;
}

static void stub_bind_run(struct stub_bind_job *job)
{
	struct dma_fence *fence = &job->fence->base;
	int err = stub_bind_write(job);

	if (job->num_ready < job->num_in)
		err = -ECANCELED;
	if (err)
		dma_fence_set_error(fence, err);
	job->fence = NULL;

	/*
	 * Before the signal, so that who has seen that can wait for what is
	 * released: stub_vram_num_free(). That owns the job from here on.
	 */
	queue_work(stub_queues.release, &job->release);
	dma_fence_signal(fence);
	dma_fence_put(fence);
}

static void stub_bind_work(struct work_struct *work)
{
	struct stub_vm *vm = container_of(work, struct stub_vm, bind.work);
	bool cookie = dma_fence_begin_signalling();
	struct stub_bind_job *job;

	/* Without a job the VM may be at its end, which waits in stub_bind_jobs_fini(). */
	while ((job = stub_bind_next(vm)))
		stub_bind_run(job);

	dma_fence_end_signalling(cookie);
}

static void stub_bind_release_work(struct work_struct *work)
{
	stub_bind_job_release(container_of(work, struct stub_bind_job, release));
}

static void stub_bind_publish(struct stub_bind_job *job, struct dma_fence *fence)
{
	u32 i;

	for (i = 0; i < job->num_out; i++)
		drm_syncobj_replace_fence(job->out[i], fence);
}

/* --- a job ----------------------------------------------------------------- */

/**
 * stub_bind_job_create() - Makes a job
 * @vm: the VM
 * @async: it is for stub_bind_job_queue()
 *
 * Context: may sleep.
 * Return: the job, or NULL if there is no memory.
 */
struct stub_bind_job *stub_bind_job_create(struct stub_vm *vm, bool async)
{
	struct stub_bind_job *job = kzalloc(sizeof(*job), GFP_KERNEL_ACCOUNT);

	if (!job)
		return NULL;
	if (async) {
		job->fence = kzalloc(sizeof(*job->fence), GFP_KERNEL_ACCOUNT);
		if (!job->fence) {
			kfree(job);
			return NULL;
		}
	}

	kref_get(&vm->ref);
	job->vm = vm;
	INIT_WORK(&job->release, stub_bind_release_work);
	INIT_LIST_HEAD(&job->wake.node);

	return job;
}

/**
 * stub_bind_job_free() - Frees a job that has no open transaction
 * @job: the job
 *
 * Context: may sleep.
 */
void stub_bind_job_free(struct stub_bind_job *job)
{
	u32 i;

	for (i = 0; i < job->num_in; i++)
		dma_fence_put(job->in[i]);
	for (i = 0; i < job->num_out; i++)
		drm_syncobj_put(job->out[i]);
	kfree(job->fence);
	stub_vm_put(job->vm);
	kfree(job);
}

/**
 * stub_bind_job_queue() - Lets a job run when its time has come
 * @job: the job, asynchronous and committed; not the caller's any more
 *
 * Context: the VM's lock, held since the commit. Does not fail.
 */
void stub_bind_job_queue(struct stub_bind_job *job)
{
	struct dma_fence *fence = &job->fence->base;
	struct stub_vm *vm = job->vm;

	lockdep_assert_held(&vm->lock);

	spin_lock_init(&job->fence->lock);
	dma_fence_init(fence, &stub_bind_fence_ops, &job->fence->lock, vm->bind.context,
		       ++vm->bind.seqno);
	dma_fence_put(vm->bind.last);
	vm->bind.last = dma_fence_get(fence);
	stub_bind_publish(job, fence);

	spin_lock(&vm->bind.lock);
	list_add_tail(&job->link, &vm->bind.jobs);
	spin_unlock(&vm->bind.lock);
	queue_work(stub_queues.bind, &vm->bind.work);
}

/**
 * stub_bind_job_do() - Runs a job now
 * @job: the job, committed and not asynchronous. There is no other one before
 *	it, and its in-fences have signalled.
 *
 * stub_bind_job_release() has to follow.
 *
 * Context: the VM's lock, held since the commit; may sleep.
 */
void stub_bind_job_do(struct stub_bind_job *job)
{
	struct dma_fence *signalled = dma_fence_get_stub();

	lockdep_assert_held(&job->vm->lock);

	/* If the VM has been closed meanwhile, nobody can tell which came first. */
	stub_bind_write(job);
	stub_bind_publish(job, signalled);
	dma_fence_put(signalled);
}

/**
 * stub_bind_job_release() - Frees a job that has run, and what it has taken away
 * @job: the job
 *
 * Context: may sleep; no locks.
 */
void stub_bind_job_release(struct stub_bind_job *job)
{
	drm_svm_bind_finish(&job->bind);
	drm_gpuvm_bo_deferred_cleanup(&job->vm->gpuvm);
	stub_bind_job_free(job);
}

/* --- the jobs of a VM ------------------------------------------------------ */

/**
 * stub_bind_jobs_init() - Makes the queue of a VM
 * @vm: the VM
 */
void stub_bind_jobs_init(struct stub_vm *vm)
{
	spin_lock_init(&vm->bind.lock);
	mutex_init(&vm->bind.pt_lock);
	INIT_LIST_HEAD(&vm->bind.jobs);
	INIT_WORK(&vm->bind.work, stub_bind_work);
	vm->bind.context = dma_fence_context_alloc(1);
}

/**
 * stub_bind_jobs_close() - Nothing more is to be mapped
 * @vm: the VM
 *
 * What jobs there are end soon: stub_bind_jobs_wait().
 */
void stub_bind_jobs_close(struct stub_vm *vm)
{
	WRITE_ONCE(vm->bind.closed, true);
	queue_work(stub_queues.bind, &vm->bind.work);
}

/**
 * stub_bind_jobs_wait() - Waits for the jobs of a VM that is closed
 * @vm: the VM
 *
 * Context: may sleep; no locks.
 */
void stub_bind_jobs_wait(struct stub_vm *vm)
{
	flush_work(&vm->bind.work);
}

/**
 * stub_bind_jobs_fini() - Ends the queue of a VM
 * @vm: the VM, without references. So there is no job: each has one
 *
 * Context: may sleep.
 */
void stub_bind_jobs_fini(struct stub_vm *vm)
{
	cancel_work_sync(&vm->bind.work);
	dma_fence_put(vm->bind.last);
	mutex_destroy(&vm->bind.pt_lock);
}
