// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * drm/drm_gpuvm.h: objects in a space, and their mappings.
 *
 *	drm_gem_object --- list of drm_gpuvm_bo, one for each space
 *	                     |
 *	drm_gpuvm_bo --------+--- list of drm_gpuva (linked), each a reference
 *	   |
 *	   +-- on the space's list of external objects, or not
 *	   +-- on the space's list of evicted objects, or not
 *
 * The last reference takes a drm_gpuvm_bo off all lists before it drops the
 * object and the space. Who may not do that, because it takes locks that
 * signalling sections must not wait for, makes it a zombie: it leaves the lists
 * that it can leave and waits for drm_gpuvm_bo_deferred_cleanup(). So whoever
 * walks a list passes over members without references.
 */
#include <linux/err.h>
#include <linux/export.h>
#include <linux/kernel.h>
#include <linux/slab.h>

#include <drm/drm_gpuvm.h>
#include <drm/drm_print.h>

#include "compat/drm_gem_compat.h"
#include "gpuvm_internal.h"

#ifdef COMPAT_GEM_GPUVA
/**
 * dsvm_gem_gpuva_list() - The list of an object's drm_gpuvm_bo
 * @obj: the object
 *
 * Use drm_svm_gem_gpuva_list(), which is this function where the kernel's
 * objects have no such list.
 *
 * Context: The object's lock. The list is good until that is dropped, and not
 * to be added to.
 *
 * Return: the list, through &drm_gpuvm_bo.list.entry.gem.
 */
struct list_head *dsvm_gem_gpuva_list(struct drm_gem_object *obj)
{
	return compat_gem_gpuva_list(obj);
}
EXPORT_SYMBOL_GPL(dsvm_gem_gpuva_list);

/**
 * dsvm_gem_gpuva_lock() - The lock of that list in immediate mode
 * @obj: the object
 *
 * Use drm_svm_gem_gpuva_lock(), which is this function where the kernel's
 * objects have no such lock. Objects share locks: hold one at a time.
 *
 * Context: Any.
 *
 * Return: the lock.
 */
struct mutex *dsvm_gem_gpuva_lock(struct drm_gem_object *obj)
{
	return compat_gem_gpuva_lock(obj);
}
EXPORT_SYMBOL_GPL(dsvm_gem_gpuva_lock);
#endif

static struct drm_gpuvm_bo *vm_bo_of(struct kref *kref)
{
	return container_of(kref, struct drm_gpuvm_bo, kref);
}

static void free_vm_bo(struct drm_gpuvm *gpuvm, struct drm_gpuvm_bo *vm_bo)
{
	if (gpuvm->ops && gpuvm->ops->vm_bo_free)
		gpuvm->ops->vm_bo_free(vm_bo);
	else
		kfree(vm_bo);
}

/**
 * drm_gpuvm_bo_create() - Makes an object in a space
 * @gpuvm: the space
 * @obj: the object
 *
 * It is not on the object's list yet: drm_gpuvm_bo_obtain_prealloc().
 *
 * Context: May sleep.
 *
 * Return: it, with a reference for the caller; NULL if there is no memory.
 */
struct drm_gpuvm_bo *
drm_gpuvm_bo_create(struct drm_gpuvm *gpuvm,
		    struct drm_gem_object *obj)
{
	struct drm_gpuvm_bo *vm_bo;

	/* First, because vm_bo_free() gets to see none that is not filled in. */
	if (compat_gem_gpuva_get(obj))
		return NULL;
	vm_bo = gpuvm->ops && gpuvm->ops->vm_bo_alloc ? gpuvm->ops->vm_bo_alloc() :
		kzalloc(sizeof(*vm_bo), GFP_KERNEL_ACCOUNT);
	if (!vm_bo) {
		compat_gem_gpuva_put(obj);
		return NULL;
	}

	vm_bo->vm = drm_gpuvm_get(gpuvm);
	vm_bo->obj = obj;
	drm_gem_object_get(obj);
	kref_init(&vm_bo->kref);
	INIT_LIST_HEAD(&vm_bo->list.gpuva);
	INIT_LIST_HEAD(&vm_bo->list.entry.gem);
	INIT_LIST_HEAD(&vm_bo->list.entry.extobj);
	INIT_LIST_HEAD(&vm_bo->list.entry.evict);
	return vm_bo;
}
EXPORT_SYMBOL_GPL(drm_gpuvm_bo_create);

/*
 * What is on no list. The space goes last: with it the device may go, and the
 * dma_resv that the object may use.
 */
static void destroy(struct drm_gpuvm_bo *vm_bo)
{
	struct drm_gpuvm *gpuvm = vm_bo->vm;
	struct drm_gem_object *obj = vm_bo->obj;

	free_vm_bo(gpuvm, vm_bo);
	compat_gem_gpuva_put(obj);
	drm_gem_object_put(obj);
	drm_gpuvm_put(gpuvm);
}

static void leave_vm_lists(struct drm_gpuvm_bo *vm_bo)
{
	struct drm_gpuvm *gpuvm = vm_bo->vm;

	vm_list_lock(gpuvm, &gpuvm->extobj.lock);
	list_del_init(&vm_bo->list.entry.extobj);
	vm_list_unlock(gpuvm, &gpuvm->extobj.lock);

	vm_list_lock(gpuvm, &gpuvm->evict.lock);
	list_del_init(&vm_bo->list.entry.evict);
	vm_list_unlock(gpuvm, &gpuvm->evict.lock);
}

static void release(struct kref *kref)
{
	struct drm_gpuvm_bo *vm_bo = vm_bo_of(kref);

	drm_gem_gpuva_assert_lock_held(vm_bo->vm, vm_bo->obj);
	leave_vm_lists(vm_bo);
	list_del(&vm_bo->list.entry.gem);
	destroy(vm_bo);
}

/**
 * drm_gpuvm_bo_put() - Drops a reference to an object in a space
 * @vm_bo: it, or NULL
 *
 * Context: Sleeps. If it may be the last reference: the object's lock, and the
 * VM's dma_resv with DRM_GPUVM_RESV_PROTECTED. Drops a reference to the object,
 * which must not be the last one if the lock lies in it.
 *
 * Return: whether it was the last reference.
 */
bool drm_gpuvm_bo_put(struct drm_gpuvm_bo *vm_bo)
{
	might_sleep();

	return vm_bo && kref_put(&vm_bo->kref, release);
}
EXPORT_SYMBOL_GPL(drm_gpuvm_bo_put);

/*
 * In immediate mode, after the last reference has gone, under the object's
 * lock. Where the VM's dma_resv protects the VM's lists they have to wait.
 */
static void become_zombie(struct drm_gpuvm_bo *vm_bo)
{
	if (!drm_gpuvm_resv_protected(vm_bo->vm))
		leave_vm_lists(vm_bo);
	list_del(&vm_bo->list.entry.gem);
}

static void zombie_release(struct kref *kref)
{
	become_zombie(vm_bo_of(kref));
}

/*
 * After that, and after the lock, which lies in the object: from here on the
 * cleanup may drop that.
 */
static void await_cleanup(struct drm_gpuvm_bo *vm_bo)
{
	llist_add(&vm_bo->list.entry.bo_defer, &vm_bo->vm->bo_defer);
}

static void unlock_release(struct kref *kref)
{
	struct drm_gpuvm_bo *vm_bo = vm_bo_of(kref);

	become_zombie(vm_bo);
	mutex_unlock(drm_svm_gem_gpuva_lock(vm_bo->obj));
	await_cleanup(vm_bo);
}

/**
 * drm_gpuvm_bo_put_deferred() - Drops a reference in a fence signalling section
 * @vm_bo: an object in a space with DRM_GPUVM_IMMEDIATE_MODE, or NULL
 *
 * If it was the last one, drm_gpuvm_bo_deferred_cleanup() does the rest.
 *
 * Context: Any, if the caller knows that there are other references. Else takes
 * drm_svm_gem_gpuva_lock(), and nothing more that sleeps.
 *
 * Return: whether it was the last reference.
 */
bool drm_gpuvm_bo_put_deferred(struct drm_gpuvm_bo *vm_bo)
{
	if (!vm_bo)
		return false;

	drm_WARN_ON(vm_bo->vm->drm, !drm_gpuvm_immediate_mode(vm_bo->vm));
	return kref_put_mutex(&vm_bo->kref, unlock_release, drm_svm_gem_gpuva_lock(vm_bo->obj));
}
EXPORT_SYMBOL_GPL(drm_gpuvm_bo_put_deferred);

/*
 * Drops a reference where signalling is no concern, as what is undone of a
 * transaction: without the object's lock in immediate mode, because the
 * driver's vm_bo_free() may take it. What that may take where the VM's dma_resv
 * is held leaves only the cleanup to call it; but the VM's lists are as before.
 */
void dsvm_vm_bo_drop(struct drm_gpuvm_bo *vm_bo)
{
	struct mutex *lock;
	bool last;

	if (!drm_gpuvm_immediate_mode(vm_bo->vm)) {
		drm_gpuvm_bo_put(vm_bo);
		return;
	}

	lock = drm_svm_gem_gpuva_lock(vm_bo->obj);
	mutex_lock(lock);
	last = kref_put(&vm_bo->kref, zombie_release);
	mutex_unlock(lock);

	if (last && drm_gpuvm_resv_protected(vm_bo->vm)) {
		leave_vm_lists(vm_bo);
		await_cleanup(vm_bo);
	} else if (last) {
		destroy(vm_bo);
	}
}

/**
 * drm_gpuvm_bo_deferred_cleanup() - Frees what was put in signalling sections
 * @gpuvm: the space
 *
 * To be called now and then, and before the last drm_gpuvm_put(): what waits
 * here has references to its object and to the space.
 *
 * Context: Sleeps. Takes the VM's dma_resv with DRM_GPUVM_RESV_PROTECTED, and
 * drops references to objects: no dma_resv.
 */
void drm_gpuvm_bo_deferred_cleanup(struct drm_gpuvm *gpuvm)
{
	struct llist_node *zombies = llist_del_all(&gpuvm->bo_defer);
	struct drm_gpuvm_bo *vm_bo, *next;

	if (!zombies)
		return;

	if (drm_gpuvm_resv_protected(gpuvm)) {
		dma_resv_lock(drm_gpuvm_resv(gpuvm), NULL);
		llist_for_each_entry(vm_bo, zombies, list.entry.bo_defer)
			leave_vm_lists(vm_bo);
		dma_resv_unlock(drm_gpuvm_resv(gpuvm));
	}

	llist_for_each_entry_safe(vm_bo, next, zombies, list.entry.bo_defer)
		destroy(vm_bo);
}
EXPORT_SYMBOL_GPL(drm_gpuvm_bo_deferred_cleanup);

/**
 * drm_gpuvm_bo_find() - An object in a space, if it is there
 * @gpuvm: the space
 * @obj: the object
 *
 * Context: The object's lock.
 *
 * Return: it, with a reference for the caller; or NULL.
 */
struct drm_gpuvm_bo *
drm_gpuvm_bo_find(struct drm_gpuvm *gpuvm,
		  struct drm_gem_object *obj)
{
	struct drm_gpuvm_bo *vm_bo;

	drm_gem_gpuva_assert_lock_held(gpuvm, obj);
	drm_gem_for_each_gpuvm_bo(vm_bo, obj) {
		if (vm_bo->vm == gpuvm)
			return drm_gpuvm_bo_get(vm_bo);
	}
	return NULL;
}
EXPORT_SYMBOL_GPL(drm_gpuvm_bo_find);

static void join_object(struct drm_gpuvm_bo *vm_bo)
{
	list_add_tail(&vm_bo->list.entry.gem, compat_gem_gpuva_head(vm_bo->obj));
}

/**
 * drm_gpuvm_bo_obtain_locked() - Finds an object in a space, or makes it
 * @gpuvm: the space, without DRM_GPUVM_IMMEDIATE_MODE: allocating under the lock
 *	that it uses would deadlock with reclaim
 * @obj: the object
 *
 * Context: The object's dma_resv. May sleep.
 *
 * Return: it, with a reference for the caller; ERR_PTR(-ENOMEM).
 */
struct drm_gpuvm_bo *
drm_gpuvm_bo_obtain_locked(struct drm_gpuvm *gpuvm,
			   struct drm_gem_object *obj)
{
	struct drm_gpuvm_bo *vm_bo;

	drm_WARN_ON(gpuvm->drm, drm_gpuvm_immediate_mode(gpuvm));
	vm_bo = drm_gpuvm_bo_find(gpuvm, obj);
	if (vm_bo)
		return vm_bo;

	vm_bo = drm_gpuvm_bo_create(gpuvm, obj);
	if (!vm_bo)
		return ERR_PTR(-ENOMEM);

	join_object(vm_bo);
	return vm_bo;
}
EXPORT_SYMBOL_GPL(drm_gpuvm_bo_obtain_locked);

static void never_listed_release(struct kref *kref)
{
	destroy(vm_bo_of(kref));
}

/**
 * drm_gpuvm_bo_obtain_prealloc() - Finds an object in a space, or adds it
 * @vm_bo: what drm_gpuvm_bo_create() made, for a space with
 *	DRM_GPUVM_IMMEDIATE_MODE; on no list
 *
 * The caller's reference to @vm_bo is used up.
 *
 * Context: Takes drm_svm_gem_gpuva_lock(), and outside of it drops references
 * to the object and to the space if @vm_bo is not needed. Sleeps.
 *
 * Return: @vm_bo, or what was there already; with a reference for the caller.
 */
struct drm_gpuvm_bo *
drm_gpuvm_bo_obtain_prealloc(struct drm_gpuvm_bo *vm_bo)
{
	struct drm_gpuvm *gpuvm = vm_bo->vm;
	struct drm_gem_object *obj = vm_bo->obj;
	struct drm_gpuvm_bo *present;

	drm_WARN_ON(gpuvm->drm, !drm_gpuvm_immediate_mode(gpuvm));

	mutex_lock(drm_svm_gem_gpuva_lock(obj));
	present = drm_gpuvm_bo_find(gpuvm, obj);
	if (!present)
		join_object(vm_bo);
	mutex_unlock(drm_svm_gem_gpuva_lock(obj));

	if (!present)
		return vm_bo;
	kref_put(&vm_bo->kref, never_listed_release);
	return present;
}
EXPORT_SYMBOL_GPL(drm_gpuvm_bo_obtain_prealloc);

bool dsvm_vm_bo_extobj_add(struct drm_gpuvm_bo *vm_bo)
{
	struct drm_gpuvm *gpuvm = vm_bo->vm;
	bool added;

	if (!drm_gpuvm_is_extobj(gpuvm, vm_bo->obj))
		return false;

	vm_list_lock(gpuvm, &gpuvm->extobj.lock);
	added = list_empty(&vm_bo->list.entry.extobj);
	if (added)
		list_add_tail(&vm_bo->list.entry.extobj, &gpuvm->extobj.list);
	vm_list_unlock(gpuvm, &gpuvm->extobj.lock);
	return added;
}

void dsvm_vm_bo_extobj_del(struct drm_gpuvm_bo *vm_bo)
{
	struct drm_gpuvm *gpuvm = vm_bo->vm;

	vm_list_lock(gpuvm, &gpuvm->extobj.lock);
	list_del_init(&vm_bo->list.entry.extobj);
	vm_list_unlock(gpuvm, &gpuvm->extobj.lock);
}

/**
 * drm_gpuvm_bo_extobj_add() - Puts an object on the list of external objects
 * @vm_bo: the object in a space; nothing happens if it is local to the VM, or
 *	on the list
 *
 * drm_gpuvm_prepare_objects() then locks it.
 *
 * Context: The VM's dma_resv with DRM_GPUVM_RESV_PROTECTED; else any in which
 * one may take a spinlock.
 */
void drm_gpuvm_bo_extobj_add(struct drm_gpuvm_bo *vm_bo)
{
	if (drm_gpuvm_resv_protected(vm_bo->vm))
		drm_gpuvm_resv_assert_held(vm_bo->vm);
	dsvm_vm_bo_extobj_add(vm_bo);
}
EXPORT_SYMBOL_GPL(drm_gpuvm_bo_extobj_add);

/**
 * drm_gpuvm_bo_evict() - Says that an object is evicted, or is back
 * @vm_bo: the object in a space
 * @evict: it is evicted
 *
 * Puts it on the list for drm_gpuvm_validate(), or takes it off. Where the VM's
 * dma_resv protects that list, and the object has one of its own, the list
 * waits for drm_gpuvm_prepare_objects() and drm_gpuvm_validate().
 *
 * Context: The object's dma_resv.
 */
void drm_gpuvm_bo_evict(struct drm_gpuvm_bo *vm_bo, bool evict)
{
	struct drm_gpuvm *gpuvm = vm_bo->vm;
	struct list_head *entry = &vm_bo->list.entry.evict;

	dma_resv_assert_held(vm_bo->obj->resv);
	vm_bo->evicted = evict;
	if (drm_gpuvm_resv_protected(gpuvm) && drm_gpuvm_is_extobj(gpuvm, vm_bo->obj))
		return;

	vm_list_lock(gpuvm, &gpuvm->evict.lock);
	if (!evict)
		list_del_init(entry);
	else if (list_empty(entry))
		list_add_tail(entry, &gpuvm->evict.list);
	vm_list_unlock(gpuvm, &gpuvm->evict.lock);
}
EXPORT_SYMBOL_GPL(drm_gpuvm_bo_evict);

/* Under the object's lock; the reference to @vm_bo becomes the mapping's. */
void dsvm_gpuva_adopt(struct drm_gpuva *va, struct drm_gpuvm_bo *vm_bo)
{
	drm_gem_gpuva_assert_lock_held(vm_bo->vm, vm_bo->obj);
	va->vm_bo = vm_bo;
	list_add_tail(&va->gem.entry, &vm_bo->list.gpuva);
}

/**
 * drm_gpuva_link() - Puts a mapping on its object's list
 * @va: the mapping; nothing happens if it has no object
 * @vm_bo: its object in its space
 *
 * The mapping has a reference to @vm_bo until it is unlinked.
 *
 * Context: The object's lock. Allocates nothing.
 */
void drm_gpuva_link(struct drm_gpuva *va, struct drm_gpuvm_bo *vm_bo)
{
	if (!va->gem.obj)
		return;

	/* Without a link the memory would go before its entries. */
	drm_WARN_ON(vm_bo->vm->drm, va->gem.obj != vm_bo->obj);
	dsvm_gpuva_adopt(va, drm_gpuvm_bo_get(vm_bo));
}
EXPORT_SYMBOL_GPL(drm_gpuva_link);

/**
 * drm_gpuva_unlink() - Takes a mapping off its object's list
 * @va: the mapping; nothing happens if it is not linked
 *
 * Drops its reference to the drm_gpuvm_bo, which goes if it was the last one.
 *
 * Context: See drm_gpuvm_bo_put(). The object's lock.
 */
void drm_gpuva_unlink(struct drm_gpuva *va)
{
	struct drm_gpuvm_bo *vm_bo = va->vm_bo;

	if (!vm_bo)
		return;

	drm_gem_gpuva_assert_lock_held(vm_bo->vm, vm_bo->obj);
	list_del_init(&va->gem.entry);
	va->vm_bo = NULL;
	drm_gpuvm_bo_put(vm_bo);
}
EXPORT_SYMBOL_GPL(drm_gpuva_unlink);

/**
 * drm_gpuva_unlink_defer() - The same in a fence signalling section
 * @va: a mapping in a space with DRM_GPUVM_IMMEDIATE_MODE; nothing happens if
 *	it is not linked
 *
 * Context: See drm_gpuvm_bo_put_deferred(). Takes drm_svm_gem_gpuva_lock().
 */
void drm_gpuva_unlink_defer(struct drm_gpuva *va)
{
	struct drm_gpuvm_bo *vm_bo = va->vm_bo;
	struct mutex *lock;
	bool last;

	if (!vm_bo)
		return;

	drm_WARN_ON(vm_bo->vm->drm, !drm_gpuvm_immediate_mode(vm_bo->vm));

	lock = drm_svm_gem_gpuva_lock(vm_bo->obj);
	mutex_lock(lock);
	list_del_init(&va->gem.entry);
	va->vm_bo = NULL;
	last = kref_put(&vm_bo->kref, zombie_release);
	mutex_unlock(lock);

	if (last)
		await_cleanup(vm_bo);
}
EXPORT_SYMBOL_GPL(drm_gpuva_unlink_defer);
