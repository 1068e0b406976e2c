// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * drm/drm_gpuvm_exec.h: locks many objects at once, with the kernel's drm_exec.
 *
 * The lists of external and evicted objects change while they are walked,
 * because objects cannot be locked under the spinlocks of the lists. So a walk
 * has a cursor, a drm_gpuvm_bo on its stack that is a member of the list: it
 * lies behind the member at hand, and stays in place whatever becomes of that
 * one. Cursors never have references, so walks pass over each other's as they
 * pass over zombies, and any number of them may be under way.
 */
#include <linux/dma-fence.h>
#include <linux/dma-resv.h>
#include <linux/export.h>

#include <drm/drm_exec.h>
#include <drm/drm_gpuvm.h>
#include <drm/drm_svm.h>

#include "compat/drm_exec_compat.h"
#include "gpuvm_internal.h"

static int lock_obj(struct drm_exec *exec, struct drm_gem_object *obj, unsigned int num_fences)
{
	return num_fences ? drm_exec_prepare_obj(exec, obj, num_fences) :
			    drm_exec_lock_obj(exec, obj);
}

/**
 * drm_gpuvm_prepare_vm() - Locks the VM's dma_resv
 * @gpuvm: the space
 * @exec: the locks
 * @num_fences: room for so many fences; 0: only lock
 *
 * Context: In a drm_exec_until_all_locked() loop.
 *
 * Return: 0, or what drm_exec_prepare_obj() returns.
 */
int drm_gpuvm_prepare_vm(struct drm_gpuvm *gpuvm,
			 struct drm_exec *exec,
			 unsigned int num_fences)
{
	return lock_obj(exec, gpuvm->r_obj, num_fences);
}
EXPORT_SYMBOL_GPL(drm_gpuvm_prepare_vm);

/*
 * Moves the cursor behind the next member that has references. Under the
 * list's lock; good until that is dropped.
 */
static struct drm_gpuvm_bo *next_extobj(struct drm_gpuvm *gpuvm, struct drm_gpuvm_bo *cursor)
{
	struct drm_gpuvm_bo *vm_bo = cursor;

	list_for_each_entry_continue(vm_bo, &gpuvm->extobj.list, list.entry.extobj) {
		if (!kref_read(&vm_bo->kref))
			continue;
		list_move(&cursor->list.entry.extobj, &vm_bo->list.entry.extobj);
		return vm_bo;
	}
	return NULL;
}

/*
 * The same for evicted objects. Where the VM's dma_resv protects the list, it
 * keeps its members too, and that has to do: a reference taken here could become
 * the last one, and make a zombie that nobody expects.
 */
static struct drm_gpuvm_bo *next_evicted(struct drm_gpuvm *gpuvm, struct drm_gpuvm_bo *cursor)
{
	struct drm_gpuvm_bo *vm_bo = cursor;

	list_for_each_entry_continue(vm_bo, &gpuvm->evict.list, list.entry.evict) {
		if (drm_gpuvm_resv_protected(gpuvm) ? !kref_read(&vm_bo->kref) :
		    !kref_get_unless_zero(&vm_bo->kref))
			continue;
		list_move(&cursor->list.entry.evict, &vm_bo->list.entry.evict);
		return vm_bo;
	}
	return NULL;
}

/* An object that leaves the list and comes back meanwhile is met twice. */
static int lock_extobj(struct drm_exec *exec, struct drm_gem_object *obj, unsigned int num_fences)
{
	int ret = lock_obj(exec, obj, num_fences);

	if (ret != -EALREADY)
		return ret;
	return num_fences ? dma_resv_reserve_fences(obj->resv, num_fences) : 0;
}

/*
 * Where the VM's dma_resv protects the list of evicted objects, it learns here
 * of external ones. It is held, and so @vm_bo is still there.
 */
static void note_evicted(struct drm_gpuvm_bo *vm_bo)
{
	struct list_head *entry = &vm_bo->list.entry.evict;

	if (vm_bo->evicted && list_empty(entry))
		list_add_tail(entry, &vm_bo->vm->evict.list);
}

/**
 * drm_gpuvm_prepare_objects() - Locks all external objects of a space
 * @gpuvm: the space
 * @exec: the locks
 * @num_fences: room for so many fences in each; 0: only lock
 *
 * Objects local to the VM share its dma_resv: drm_gpuvm_prepare_vm().
 *
 * Safe against external objects that come and go meanwhile, and against itself.
 * Without an outer lock, one that comes meanwhile may be locked or not. One that
 * is locked already counts as locked, with or without DRM_EXEC_IGNORE_DUPLICATES.
 *
 * Context: In a drm_exec_until_all_locked() loop. The VM's dma_resv with
 * DRM_GPUVM_RESV_PROTECTED.
 *
 * Return: 0, or what drm_exec_prepare_obj() returns.
 */
int drm_gpuvm_prepare_objects(struct drm_gpuvm *gpuvm,
			      struct drm_exec *exec,
			      unsigned int num_fences)
{
	struct drm_gpuvm_bo cursor = {};
	struct drm_gpuvm_bo *vm_bo;
	int ret = 0;

	vm_list_lock(gpuvm, &gpuvm->extobj.lock);
	list_add(&cursor.list.entry.extobj, &gpuvm->extobj.list);
	while (!ret && (vm_bo = next_extobj(gpuvm, &cursor))) {
		/* What is on the list has its object. */
		struct drm_gem_object *obj = vm_bo->obj;

		drm_gem_object_get(obj);
		vm_list_unlock(gpuvm, &gpuvm->extobj.lock);

		ret = lock_extobj(exec, obj, num_fences);
		if (!ret && drm_gpuvm_resv_protected(gpuvm))
			note_evicted(vm_bo);
		drm_gem_object_put(obj);

		vm_list_lock(gpuvm, &gpuvm->extobj.lock);
	}
	list_del(&cursor.list.entry.extobj);
	vm_list_unlock(gpuvm, &gpuvm->extobj.lock);
	return ret;
}
EXPORT_SYMBOL_GPL(drm_gpuvm_prepare_objects);

/**
 * drm_gpuvm_prepare_range() - Locks the objects that a span shows
 * @gpuvm: the space
 * @exec: the locks; with DRM_EXEC_IGNORE_DUPLICATES, unless each object is
 *	shown once
 * @addr: first unit
 * @range: how many
 * @num_fences: room for so many fences in each; 0: only lock
 *
 * Context: In a drm_exec_until_all_locked() loop. The VM lock, in any mode.
 *
 * Return: 0, or what drm_exec_prepare_obj() returns.
 */
int drm_gpuvm_prepare_range(struct drm_gpuvm *gpuvm, struct drm_exec *exec,
			    u64 addr, u64 range, unsigned int num_fences)
{
	struct drm_gpuva *va;
	int ret;

	drm_gpuvm_for_each_va_range(va, gpuvm, addr, addr + range) {
		if (!va->gem.obj)
			continue;
		ret = lock_obj(exec, va->gem.obj, num_fences);
		if (ret)
			return ret;
	}
	return 0;
}
EXPORT_SYMBOL_GPL(drm_gpuvm_prepare_range);

static int lock_all(struct drm_gpuvm_exec *vm_exec)
{
	int ret;

	ret = drm_gpuvm_prepare_vm(vm_exec->vm, &vm_exec->exec, vm_exec->num_fences);
	if (ret)
		return ret;
	ret = drm_gpuvm_prepare_objects(vm_exec->vm, &vm_exec->exec, vm_exec->num_fences);
	if (ret)
		return ret;
	return vm_exec->extra.fn ? vm_exec->extra.fn(vm_exec) : 0;
}

/**
 * drm_gpuvm_exec_lock() - Locks the VM's dma_resv and all external objects
 * @vm_exec: the locks, with @flags, @vm, @num_fences and @extra filled in
 *
 * And whatever &drm_gpuvm_exec.extra.fn locks. End it with
 * drm_gpuvm_exec_unlock().
 *
 * Context: Sleeps.
 *
 * Return: 0; what drm_exec_prepare_obj() or @extra.fn returns: nothing is locked.
 */
int drm_gpuvm_exec_lock(struct drm_gpuvm_exec *vm_exec)
{
	struct drm_exec *exec = &vm_exec->exec;
	int ret = 0;

	compat_drm_exec_init(exec, vm_exec->flags);
	drm_exec_until_all_locked(exec) {
		ret = lock_all(vm_exec);
		drm_exec_retry_on_contention(exec);
		if (ret)
			break;
	}
	if (ret)
		drm_exec_fini(exec);
	return ret;
}
EXPORT_SYMBOL_GPL(drm_gpuvm_exec_lock);

/* For drm_gpuvm_exec_lock_array(), as what @extra.priv points to. */
struct more_objects {
	struct drm_gem_object **objs;
	unsigned int num_objs;
};

static int lock_more(struct drm_gpuvm_exec *vm_exec)
{
	const struct more_objects *more = vm_exec->extra.priv;
	unsigned int i;
	int ret;

	for (i = 0; i < more->num_objs; i++) {
		ret = lock_obj(&vm_exec->exec, more->objs[i], vm_exec->num_fences);
		if (ret)
			return ret;
	}
	return 0;
}

/**
 * drm_gpuvm_exec_lock_array() - The same, and locks more objects
 * @vm_exec: the locks, with @flags, @vm and @num_fences filled in
 * @objs: the objects
 * @num_objs: how many
 *
 * Context: Sleeps.
 *
 * Return: see drm_gpuvm_exec_lock().
 */
int drm_gpuvm_exec_lock_array(struct drm_gpuvm_exec *vm_exec,
			      struct drm_gem_object **objs,
			      unsigned int num_objs)
{
	struct more_objects more = { .objs = objs, .num_objs = num_objs };
	int ret;

	vm_exec->extra.fn = lock_more;
	vm_exec->extra.priv = &more;
	ret = drm_gpuvm_exec_lock(vm_exec);
	vm_exec->extra.fn = NULL;
	vm_exec->extra.priv = NULL;
	return ret;
}
EXPORT_SYMBOL_GPL(drm_gpuvm_exec_lock_array);

/**
 * drm_gpuvm_exec_lock_range() - Locks the objects that a span shows
 * @vm_exec: the locks, with @flags, @vm and @num_fences filled in
 * @addr: first unit
 * @range: how many
 *
 * See drm_gpuvm_prepare_range(). End it with drm_gpuvm_exec_unlock().
 *
 * Context: The VM lock, in any mode. Sleeps.
 *
 * Return: 0; what drm_exec_prepare_obj() returns: nothing is locked.
 */
int drm_gpuvm_exec_lock_range(struct drm_gpuvm_exec *vm_exec,
			      u64 addr, u64 range)
{
	struct drm_exec *exec = &vm_exec->exec;
	int ret = 0;

	compat_drm_exec_init(exec, vm_exec->flags);
	drm_exec_until_all_locked(exec) {
		ret = drm_gpuvm_prepare_range(vm_exec->vm, exec, addr, range,
					      vm_exec->num_fences);
		drm_exec_retry_on_contention(exec);
		if (ret)
			break;
	}
	if (ret)
		drm_exec_fini(exec);
	return ret;
}
EXPORT_SYMBOL_GPL(drm_gpuvm_exec_lock_range);

/* Likewise, drm_gpuvm_bo_evict() has left it to us to take external ones off. */
static void forget_validated(struct drm_gpuvm_bo *vm_bo)
{
	dma_resv_assert_held(vm_bo->obj->resv);
	if (!vm_bo->evicted)
		list_del_init(&vm_bo->list.entry.evict);
}

static void put_evicted(struct drm_gpuvm_bo *vm_bo)
{
	if (drm_gpuvm_resv_protected(vm_bo->vm))
		return;
	if (drm_gpuvm_immediate_mode(vm_bo->vm))
		drm_gpuvm_bo_put_deferred(vm_bo);
	else
		drm_gpuvm_bo_put(vm_bo);
}

/**
 * drm_gpuvm_validate() - Brings all evicted objects of a space back
 * @gpuvm: the space
 * @exec: the locks, which hold all of its objects
 *
 * Calls &drm_gpuvm_ops.vm_bo_validate for each.
 *
 * Context: The locks. The VM's dma_resv with DRM_GPUVM_RESV_PROTECTED. Sleeps.
 * In immediate mode without that flag it may drop the last reference to a
 * drm_gpuvm_bo: drm_gpuvm_bo_deferred_cleanup() has to follow.
 *
 * Return: 0; -EOPNOTSUPP: the driver has no @vm_bo_validate; what that returned.
 */
int drm_gpuvm_validate(struct drm_gpuvm *gpuvm, struct drm_exec *exec)
{
	const struct drm_gpuvm_ops *ops = gpuvm->ops;
	struct drm_gpuvm_bo cursor = {};
	struct drm_gpuvm_bo *vm_bo;
	int ret = 0;

	if (!ops || !ops->vm_bo_validate)
		return -EOPNOTSUPP;

	vm_list_lock(gpuvm, &gpuvm->evict.lock);
	list_add(&cursor.list.entry.evict, &gpuvm->evict.list);
	while (!ret && (vm_bo = next_evicted(gpuvm, &cursor))) {
		vm_list_unlock(gpuvm, &gpuvm->evict.lock);

		ret = ops->vm_bo_validate(vm_bo, exec);
		if (!ret && drm_gpuvm_resv_protected(gpuvm))
			forget_validated(vm_bo);
		put_evicted(vm_bo);

		vm_list_lock(gpuvm, &gpuvm->evict.lock);
	}
	list_del(&cursor.list.entry.evict);
	vm_list_unlock(gpuvm, &gpuvm->evict.lock);
	return ret;
}
EXPORT_SYMBOL_GPL(drm_gpuvm_validate);

/**
 * drm_gpuvm_resv_add_fence() - Adds a fence to all that is locked
 * @gpuvm: the space
 * @exec: the locks
 * @fence: the fence
 * @private_usage: for objects local to the VM
 * @extobj_usage: for external objects
 *
 * Each object needs room for it: @num_fences of the functions that lock.
 *
 * Context: The locks.
 */
void drm_gpuvm_resv_add_fence(struct drm_gpuvm *gpuvm,
			      struct drm_exec *exec,
			      struct dma_fence *fence,
			      enum dma_resv_usage private_usage,
			      enum dma_resv_usage extobj_usage)
{
	unsigned int i;

	/* The arguments of drm_exec_for_each_locked_object() are not those of 6.6. */
	for (i = 0; i < exec->num_objects; i++) {
		struct drm_gem_object *obj = exec->objects[i];

		dma_resv_add_fence(obj->resv, fence, drm_gpuvm_is_extobj(gpuvm, obj) ?
				   extobj_usage : private_usage);
	}
}
EXPORT_SYMBOL_GPL(drm_gpuvm_resv_add_fence);

/* A step of a request that is only locked for. */
static int lock_subject(void *exec, const struct dsvm_va_op *step)
{
	const struct drm_gpuva *va = op_subject(to_gpuva_op(step));

	return va && va->gem.obj ? drm_exec_lock_obj(exec, va->gem.obj) : 0;
}

/**
 * drm_gpuvm_sm_map_exec_lock() - Locks what drm_gpuvm_sm_map() would touch
 * @gpuvm: the space
 * @exec: the locks, with DRM_EXEC_IGNORE_DUPLICATES
 * @num_fences: room for so many fences in the request's object; 0: only lock
 * @req: the request
 *
 * That is its object, and those of mappings that it cuts or replaces. So a
 * driver can lock for several requests first and do them afterwards: if an
 * earlier one changes the steps of a later one, these touch objects that are
 * locked for the earlier one.
 *
 * Context: In a drm_exec_until_all_locked() loop. The VM lock, in any mode.
 *
 * Return: 0; -EINVAL: see drm_gpuvm_sm_map(); what drm_exec_prepare_obj() returns.
 */
int drm_gpuvm_sm_map_exec_lock(struct drm_gpuvm *gpuvm,
			       struct drm_exec *exec, unsigned int num_fences,
			       struct drm_gpuvm_map_req *req)
{
	int ret;

	if (req->map.gem.obj) {
		ret = lock_obj(exec, req->map.gem.obj, num_fences);
		if (ret)
			return ret;
	}
	return dsvm_va_sm_map(&gpuvm->core, core_map(&req->map), DSVM_VA_REPLACE,
			      lock_subject, exec);
}
EXPORT_SYMBOL_GPL(drm_gpuvm_sm_map_exec_lock);

/**
 * drm_gpuvm_sm_unmap_exec_lock() - Locks what drm_gpuvm_sm_unmap() would touch
 * @gpuvm: the space
 * @exec: the locks, with DRM_EXEC_IGNORE_DUPLICATES
 * @req_addr: first unit of the request
 * @req_range: how many
 *
 * See drm_gpuvm_sm_map_exec_lock().
 *
 * Context: In a drm_exec_until_all_locked() loop. The VM lock, in any mode.
 *
 * Return: 0; -EINVAL: see drm_gpuvm_sm_unmap(); what drm_exec_lock_obj() returns.
 */
int drm_gpuvm_sm_unmap_exec_lock(struct drm_gpuvm *gpuvm, struct drm_exec *exec,
				 u64 req_addr, u64 req_range)
{
	return dsvm_va_sm_unmap(&gpuvm->core, req_addr, req_range, lock_subject, exec);
}
EXPORT_SYMBOL_GPL(drm_gpuvm_sm_unmap_exec_lock);

/**
 * drm_svm_bind_lock() - Locks what a transaction will touch
 * @bind: the transaction, with all its requests
 * @exec: the locks, with DRM_EXEC_IGNORE_DUPLICATES
 * @num_fences: room for so many fences in the objects that are mapped; 0: only
 *	lock
 *
 * The objects of its requests, and those of mappings that are cut, replaced or
 * prefetched, which are only locked. With DRM_GPUVM_RESV_PROTECTED the VM's
 * dma_resv too, with room for fences. To be held from drm_svm_bind_prepare() to
 * drm_svm_bind_commit() or drm_svm_bind_abort().
 *
 * Context: In a drm_exec_until_all_locked() loop. The VM lock, in any mode.
 *
 * Return: 0, or what drm_exec_prepare_obj() returns.
 */
int drm_svm_bind_lock(struct drm_svm_bind *bind, struct drm_exec *exec,
		      unsigned int num_fences)
{
	struct drm_svm_bind_op *op;
	int ret = 0;

	if (drm_gpuvm_resv_protected(bind->vm))
		ret = drm_gpuvm_prepare_vm(bind->vm, exec, num_fences);

	drm_svm_bind_for_each_op(op, bind) {
		if (ret)
			break;
		if (op->base.op == DRM_GPUVA_OP_MAP) {
			if (op->base.map.gem.obj)
				ret = lock_obj(exec, op->base.map.gem.obj, num_fences);
		} else {
			ret = lock_subject(exec, &op->core.base);
		}
	}
	return ret;
}
EXPORT_SYMBOL_GPL(drm_svm_bind_lock);
