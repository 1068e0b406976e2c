// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * drm/drm_svm.h: bind transactions. Hands on to the core (drm_svm/bind.h), and
 * does for it what takes the kernel: references, mappings, lists of objects.
 *
 * References of a transaction:
 *  - to the space, from begin to the end;
 *  - to the object of each MAP, from its request to the end: it outlives the
 *    locks in it;
 *  - to the object of each mapping that goes, from the commit to the end: the
 *    GPU may use it as long;
 *  - to the drm_gpuvm_bo of each MAP, from prepare on; in commit it becomes that
 *    of the mapping.
 */
#include <linux/err.h>
#include <linux/export.h>
#include <linux/slab.h>

#include <drm/drm_gpuvm.h>
#include <drm/drm_print.h>
#include <drm/drm_svm.h>

#include "gpuvm_internal.h"
#include "internal.h"
#include "trace.h"

static struct drm_svm_bind *to_bind(struct dsvm_bind *core)
{
	return container_of(core, struct drm_svm_bind, core);
}

static struct drm_svm_bind_op *to_bind_op(struct dsvm_bind_op *core)
{
	return core ? container_of(core, struct drm_svm_bind_op, core) : NULL;
}

static void obj_get(struct dsvm_bind *core, struct dsvm_os_obj *obj)
{
	drm_gem_object_get(to_obj(obj));
}

static void obj_put(struct dsvm_bind *core, struct dsvm_os_obj *obj)
{
	drm_gem_object_put(to_obj(obj));
}

static dsvm_bool can_merge(struct dsvm_bind *core, struct dsvm_va *va,
			   struct dsvm_bind_op *maker, const struct dsvm_va_map *request,
			   void *tag)
{
	struct drm_svm_bind *bind = to_bind(core);

	return bind->driver->can_merge &&
	       bind->driver->can_merge(bind, to_gpuva(va), to_bind_op(maker),
				       (const struct drm_gpuva_op_map *)request, tag);
}

static struct dsvm_va *va_create(struct dsvm_bind *core, struct dsvm_bind_op *core_op)
{
	struct drm_svm_bind *bind = to_bind(core);
	struct drm_gpuva *va;

	va = bind->driver->va_alloc ? bind->driver->va_alloc(bind, to_bind_op(core_op)) :
	     kzalloc(sizeof(*va), GFP_KERNEL_ACCOUNT);
	if (!va)
		return NULL;

	/* A later step shows it to the driver, before it is in the space. */
	va->vm = bind->vm;
	return &va->core;
}

static void va_destroy(struct dsvm_bind *core, struct dsvm_va *va)
{
	struct drm_svm_bind *bind = to_bind(core);

	if (bind->driver->va_free)
		bind->driver->va_free(bind, to_gpuva(va));
	else
		kfree(to_gpuva(va));
}

static struct drm_gpuvm_bo *obtain(struct drm_gpuvm *gpuvm, struct drm_gem_object *obj)
{
	struct drm_gpuvm_bo *vm_bo;

	if (!drm_gpuvm_immediate_mode(gpuvm))
		return drm_gpuvm_bo_obtain_locked(gpuvm, obj);

	vm_bo = drm_gpuvm_bo_create(gpuvm, obj);
	return vm_bo ? drm_gpuvm_bo_obtain_prealloc(vm_bo) : ERR_PTR(-ENOMEM);
}

static int bo_obtain(struct dsvm_bind *core, struct dsvm_bind_op *core_op)
{
	struct drm_svm_bind_op *op = to_bind_op(core_op);
	struct drm_gpuvm_bo *vm_bo = obtain(to_bind(core)->vm, op->base.map.gem.obj);

	if (IS_ERR(vm_bo))
		return PTR_ERR(vm_bo);

	op->vm_bo = vm_bo;
	op->__bo_state = dsvm_vm_bo_extobj_add(vm_bo);
	return 0;
}

static void bo_release(struct dsvm_bind *core, struct dsvm_bind_op *core_op)
{
	struct drm_svm_bind_op *op = to_bind_op(core_op);
	struct drm_gpuvm_bo *vm_bo = op->vm_bo;

	op->vm_bo = NULL;
	if (op->__bo_state)
		dsvm_vm_bo_extobj_del(vm_bo);
	dsvm_vm_bo_drop(vm_bo);
}

static int prepare(struct dsvm_bind *core, struct dsvm_bind_op *op)
{
	struct drm_svm_bind *bind = to_bind(core);

	return bind->driver->prepare ? bind->driver->prepare(bind, to_bind_op(op)) : 0;
}

static void unprepare(struct dsvm_bind *core, struct dsvm_bind_op *op)
{
	struct drm_svm_bind *bind = to_bind(core);

	if (bind->driver->unprepare)
		bind->driver->unprepare(bind, to_bind_op(op));
}

/*
 * Links a mapping to @vm_bo, whose reference it takes over. What remains of
 * @like says what @like says of its entries: under the lock under which whoever
 * invalidates them walks the list, so that this one misses nothing.
 */
static void adopt(struct drm_gpuva *va, struct drm_gpuvm_bo *vm_bo, struct drm_gpuva *like)
{
	struct mutex *lock = NULL;

	if (drm_gpuvm_immediate_mode(vm_bo->vm))
		lock = drm_svm_gem_gpuva_lock(vm_bo->obj);
	if (lock)
		mutex_lock(lock);
	if (like)
		drm_gpuva_invalidate(va, drm_gpuva_invalidated(like));
	dsvm_gpuva_adopt(va, vm_bo);
	if (lock)
		mutex_unlock(lock);
}

static void inserted(struct dsvm_bind *core, struct dsvm_bind_op *core_op,
		     struct dsvm_va *core_va, struct dsvm_va *core_like)
{
	struct drm_svm_bind_op *op = to_bind_op(core_op);
	struct drm_gpuva *va = to_gpuva(core_va);
	struct drm_gpuva *like = to_gpuva(core_like);

	dsvm_gpuva_inserted(to_bind(core)->vm, va);
	if (like && like->vm_bo)
		adopt(va, drm_gpuvm_bo_get(like->vm_bo), like);
	else if (like)
		drm_gpuva_invalidate(va, drm_gpuva_invalidated(like));
	else if (op->vm_bo)
		adopt(va, op->vm_bo, NULL);
	op->vm_bo = NULL;
}

static void removed(struct dsvm_bind *core, struct dsvm_bind_op *op, struct dsvm_va *core_va)
{
	struct drm_gpuva *va = to_gpuva(core_va);

	if (drm_gpuvm_immediate_mode(va->vm))
		drm_gpuva_unlink_defer(va);
	else
		drm_gpuva_unlink(va);
	dsvm_gpuva_removed(va);
}

static void commit(struct dsvm_bind *core, struct dsvm_bind_op *core_op)
{
	struct drm_svm_bind *bind = to_bind(core);
	struct drm_svm_bind_op *op = to_bind_op(core_op);

	trace_gpuva_op(bind->vm, &op->base);
	if (bind->driver->commit)
		bind->driver->commit(bind, op);
}

static void finish(struct dsvm_bind *core, struct dsvm_bind_op *op)
{
	struct drm_svm_bind *bind = to_bind(core);

	if (bind->driver->finish)
		bind->driver->finish(bind, to_bind_op(op));
}

static const struct dsvm_bind_env bind_env = {
	.obj_get = obj_get,
	.obj_put = obj_put,
	.can_merge = can_merge,
	.va_create = va_create,
	.va_destroy = va_destroy,
	.bo_obtain = bo_obtain,
	.bo_release = bo_release,
	.prepare = prepare,
	.unprepare = unprepare,
	.inserted = inserted,
	.removed = removed,
	.commit = commit,
	.finish = finish,
};

/**
 * drm_svm_bind_begin() - Begins a transaction
 * @bind: the transaction: zeroed, or one that is over
 * @gpuvm: the space, referenced until the transaction is over
 * @ops: the driver's callbacks; have to stay until then
 * @priv: the driver's own, for &drm_svm_bind.priv
 *
 * Nobody else may change the space until drm_svm_bind_commit() or
 * drm_svm_bind_abort(): drm_gpuva_insert() is -EBUSY.
 *
 * Context: The VM lock, for writing. Does not sleep.
 *
 * Return: 0; -EBUSY: @bind is not over, or another transaction is open.
 */
int drm_svm_bind_begin(struct drm_svm_bind *bind, struct drm_gpuvm *gpuvm,
		       const struct drm_svm_bind_ops *ops, void *priv)
{
	int ret = dsvm_bind_begin(&bind->core, &gpuvm->core, &bind_env, ops->op_priv_size,
				  bind->buffer, sizeof(bind->buffer));

	if (ret)
		return ret;

	bind->vm = drm_gpuvm_get(gpuvm);
	bind->driver = ops;
	bind->priv = priv;
	trace_bind_begin(bind);
	return 0;
}
EXPORT_SYMBOL_GPL(drm_svm_bind_begin);

/**
 * drm_svm_bind_map() - Queues a request to map
 * @bind: the transaction
 * @req: the request; its object is referenced until the transaction is over
 * @how: DRM_SVM_BIND_*
 * @tag: the driver's own, for &drm_svm_bind_op.tag
 *
 * Comes to the steps of drm_gpuvm_sm_map(), in the space as the requests before
 * this one will leave it. With DRM_SVM_BIND_COALESCE it is widened first, over
 * the mappings beside it that &drm_svm_bind_ops.can_merge lets: they go, with
 * keep, and the MAP is of the whole.
 *
 * Context: The VM lock, in any mode. May sleep.
 *
 * Return: 0; -EINVAL: see drm_gpuvm_sm_map(), or the transaction is prepared;
 * -EEXIST: DRM_SVM_BIND_NOREPLACE, and something is in the way; -ENOMEM. After
 * an error the transaction is as it was.
 */
int drm_svm_bind_map(struct drm_svm_bind *bind,
		     const struct drm_gpuvm_map_req *req, u32 how, void *tag)
{
	return dsvm_bind_map(&bind->core, core_map(&req->map), how, tag);
}
EXPORT_SYMBOL_GPL(drm_svm_bind_map);

/**
 * drm_svm_bind_unmap() - Queues a request to unmap
 * @bind: the transaction
 * @addr: first unit
 * @range: how many
 * @tag: the driver's own, for &drm_svm_bind_op.tag
 *
 * Context: The VM lock, in any mode. May sleep.
 *
 * Return: 0, also if nothing is there; -EINVAL: drm_gpuvm_range_valid() is
 * false, or the transaction is prepared; -ENOMEM. After an error the
 * transaction is as it was.
 */
int drm_svm_bind_unmap(struct drm_svm_bind *bind, u64 addr, u64 range, void *tag)
{
	return dsvm_bind_unmap(&bind->core, addr, range, tag);
}
EXPORT_SYMBOL_GPL(drm_svm_bind_unmap);

/**
 * drm_svm_bind_prefetch() - Queues a request to prefetch
 * @bind: the transaction
 * @addr: first unit
 * @range: how many
 * @tag: the driver's own, for &drm_svm_bind_op.tag
 *
 * One DRM_GPUVA_OP_PREFETCH for each mapping that overlaps the span then.
 *
 * Context: The VM lock, in any mode. May sleep.
 *
 * Return: 0; -ENOENT: nothing will be there; -EINVAL: drm_gpuvm_range_valid()
 * is false, or the transaction is prepared; -ENOMEM. After an error the
 * transaction is as it was.
 */
int drm_svm_bind_prefetch(struct drm_svm_bind *bind, u64 addr, u64 range, void *tag)
{
	return dsvm_bind_prefetch(&bind->core, addr, range, tag);
}
EXPORT_SYMBOL_GPL(drm_svm_bind_prefetch);

/**
 * drm_svm_bind_driver_op() - Queues a step of the driver's own
 * @bind: the transaction
 * @addr: for &drm_svm_bind_op.addr; not looked at
 * @range: for &drm_svm_bind_op.range; not looked at
 * @tag: the driver's own, for &drm_svm_bind_op.tag
 *
 * A DRM_GPUVA_OP_DRIVER, which gets the callbacks of the others in its turn.
 *
 * Context: The VM lock, in any mode. May sleep.
 *
 * Return: the step, for drm_svm_bind_op_priv(); NULL: there is no memory, or
 * the transaction is prepared.
 */
struct drm_svm_bind_op *
drm_svm_bind_driver_op(struct drm_svm_bind *bind, u64 addr, u64 range, void *tag)
{
	return to_bind_op(dsvm_bind_driver(&bind->core, addr, range, tag));
}
EXPORT_SYMBOL_GPL(drm_svm_bind_driver_op);

/**
 * drm_svm_bind_prepare() - Does all that may fail
 * @bind: the transaction
 *
 * Makes mappings and drm_gpuvm_bo, puts external objects on the space's list,
 * and calls &drm_svm_bind_ops.prepare for each step.
 *
 * Whoever obtains the same objects in the same space meanwhile, in immediate mode
 * and without the VM lock, may not rely on drm_gpuvm_bo_extobj_add() before the
 * commit: an abort takes off the list what was put there for this transaction.
 *
 * Context: The VM lock, in any mode. The dma_resv of each object that is
 * mapped, but not needed in immediate mode; the VM's dma_resv with
 * DRM_GPUVM_RESV_PROTECTED. Sleeps.
 *
 * Return: 0; -EINVAL: it is prepared already; -ENOMEM; what the driver's
 * callback returned. After an error the transaction is as it was: it may be
 * prepared again, or aborted.
 */
int drm_svm_bind_prepare(struct drm_svm_bind *bind)
{
	int ret = dsvm_bind_prepare(&bind->core);

	trace_bind_prepare(bind, ret);
	return ret;
}
EXPORT_SYMBOL_GPL(drm_svm_bind_prepare);

/**
 * drm_svm_bind_commit() - Changes the space
 * @bind: the transaction, prepared
 *
 * Others may change the space again then. drm_svm_bind_finish() has to follow.
 *
 * Context: The VM lock, for writing. Never waits for memory. In immediate mode takes
 * drm_svm_gem_gpuva_lock() and nothing else, and is legal in fence signalling
 * sections; drm_gpuvm_bo_deferred_cleanup() has to follow there. Else the locks
 * of drm_svm_bind_prepare(), and the dma_resv of each object of a mapping that
 * is cut or goes; sleeps.
 */
void drm_svm_bind_commit(struct drm_svm_bind *bind)
{
	dsvm_bind_commit(&bind->core);
	trace_bind_commit(bind);
}
EXPORT_SYMBOL_GPL(drm_svm_bind_commit);

static void end(struct drm_svm_bind *bind)
{
	struct drm_gpuvm *gpuvm = bind->vm;

	if (bind->core.stage == DSVM_BIND_IDLE)
		return;

	trace_bind_end(bind);
	dsvm_bind_end(&bind->core);
	bind->vm = NULL;
	drm_gpuvm_put(gpuvm);
}

/**
 * drm_svm_bind_abort() - Ends a transaction as if it had never been
 * @bind: the transaction; nothing happens if it is over
 *
 * What is committed cannot be undone: that is reported, and nothing happens.
 *
 * Context: The VM lock, in any mode. If it is prepared, the locks of
 * drm_svm_bind_prepare(). Sleeps. Drops references to objects and the space, and
 * may call &drm_gpuvm_ops.vm_bo_free, in immediate mode without the object's
 * lock. In immediate mode with DRM_GPUVM_RESV_PROTECTED that is left to
 * drm_gpuvm_bo_deferred_cleanup(), which has to follow. The same goes for a
 * drm_svm_bind_prepare() that fails.
 */
void drm_svm_bind_abort(struct drm_svm_bind *bind)
{
	if (!WARN_ON(bind->core.stage == DSVM_BIND_COMMITTED))
		end(bind);
}
EXPORT_SYMBOL_GPL(drm_svm_bind_abort);

/**
 * drm_svm_bind_finish() - Ends a transaction that has been committed
 * @bind: the transaction; nothing happens if it is over
 *
 * Calls &drm_svm_bind_ops.finish for each step, and frees mappings that the
 * transaction took away: the GPU has to be through with them. One that has not
 * been committed is aborted, which is reported.
 *
 * Context: Sleeps. No lock is needed. Drops references to objects and the space.
 */
void drm_svm_bind_finish(struct drm_svm_bind *bind)
{
	WARN_ON(bind->core.stage != DSVM_BIND_COMMITTED && bind->core.stage != DSVM_BIND_IDLE);
	end(bind);
}
EXPORT_SYMBOL_GPL(drm_svm_bind_finish);
