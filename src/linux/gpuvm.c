// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * drm/drm_gpuvm.h: spaces and mappings. Hands on to the core (drm_svm/va.h).
 */
#include <linux/export.h>
#include <linux/slab.h>

#include <drm/drm_drv.h>
#include <drm/drm_gpuvm.h>
#include <drm/drm_print.h>

#include "gpuvm_internal.h"
#include "trace.h"

static void resv_object_free(struct drm_gem_object *obj)
{
	drm_gem_object_release(obj);
	kfree(obj);
}

static const struct drm_gem_object_funcs resv_object_funcs = {
	.free = resv_object_free,
};

/**
 * drm_gpuvm_resv_object_alloc() - Makes an object that is nothing but a dma_resv
 * @drm: the device
 *
 * For drm_gpuvm_init(). Objects local to the VM share its dma_resv.
 *
 * Context: May sleep.
 *
 * Return: the object, with a reference for the caller; NULL if there is no memory.
 */
struct drm_gem_object *
drm_gpuvm_resv_object_alloc(struct drm_device *drm)
{
	struct drm_gem_object *obj = kzalloc(sizeof(*obj), GFP_KERNEL_ACCOUNT);

	if (!obj)
		return NULL;

	obj->funcs = &resv_object_funcs;
	drm_gem_private_object_init(drm, obj, 0);
	return obj;
}
EXPORT_SYMBOL_GPL(drm_gpuvm_resv_object_alloc);

/**
 * drm_gpuvm_init() - Sets up an address space
 * @gpuvm: the space, embedded in the driver's VM
 * @name: for messages; has to stay. Or NULL
 * @flags: DRM_GPUVM_*
 * @drm: the device
 * @r_obj: the object whose dma_resv is the VM's; see drm_gpuvm_resv_object_alloc()
 * @start_offset: first unit of the space
 * @range: how many
 * @reserve_offset: first unit of what is reserved for the kernel
 * @reserve_range: how many; 0: nothing is
 * @ops: the driver's callbacks; has to stay
 *
 * Takes references to @drm and @r_obj. The caller has the first reference to
 * the space: drm_gpuvm_put().
 *
 * A span that reaches beyond 2^64 is a bug of the driver's and is reported.
 * There is nothing valid in the space then, and nothing reserved.
 *
 * Context: Any.
 */
void drm_gpuvm_init(struct drm_gpuvm *gpuvm, const char *name,
		    enum drm_gpuvm_flags flags,
		    struct drm_device *drm,
		    struct drm_gem_object *r_obj,
		    u64 start_offset, u64 range,
		    u64 reserve_offset, u64 reserve_range,
		    const struct drm_gpuvm_ops *ops)
{
	struct drm_gpuva *kernel = &gpuvm->kernel_alloc_node;
	int ret;

	gpuvm->name = name ?: "unknown";
	gpuvm->flags = flags;
	gpuvm->drm = drm;
	gpuvm->ops = ops;
	gpuvm->r_obj = r_obj;
	kref_init(&gpuvm->kref);
	INIT_LIST_HEAD(&gpuvm->extobj.list);
	spin_lock_init(&gpuvm->extobj.lock);
	INIT_LIST_HEAD(&gpuvm->evict.list);
	spin_lock_init(&gpuvm->evict.lock);
	init_llist_head(&gpuvm->bo_defer);

	drm_dev_get(drm);
	drm_gem_object_get(r_obj);

	*kernel = (struct drm_gpuva) {
		.va = { .addr = reserve_offset, .range = reserve_range },
		.vm = gpuvm,
	};
	ret = dsvm_va_space_init(&gpuvm->core, start_offset, range, &kernel->core);
	if (drm_WARN(drm, ret, "GPU VA space %s reaches beyond 2^64\n", gpuvm->name))
		kernel->va.range = 0;
}
EXPORT_SYMBOL_GPL(drm_gpuvm_init);

static void gpuvm_release(struct kref *kref)
{
	struct drm_gpuvm *gpuvm = container_of(kref, struct drm_gpuvm, kref);
	struct drm_device *drm = gpuvm->drm;

	drm_WARN(drm, !dsvm_va_space_fini(&gpuvm->core),
		 "GPU VA space %s ends with mappings in it\n", gpuvm->name);
	drm_WARN(drm, !list_empty(&gpuvm->extobj.list),
		 "GPU VA space %s ends with external objects\n", gpuvm->name);
	drm_WARN(drm, !list_empty(&gpuvm->evict.list),
		 "GPU VA space %s ends with evicted objects\n", gpuvm->name);
	drm_WARN(drm, !llist_empty(&gpuvm->bo_defer),
		 "GPU VA space %s ends before drm_gpuvm_bo_deferred_cleanup()\n", gpuvm->name);

	/* The dump in debugfs says that there is nothing any more. */
	gpuvm->name = NULL;
	drm_gem_object_put(gpuvm->r_obj);

	if (!drm_WARN_ON(drm, !gpuvm->ops || !gpuvm->ops->vm_free))
		gpuvm->ops->vm_free(gpuvm);
	drm_dev_put(drm);
}

/**
 * drm_gpuvm_put() - Drops a reference to a space
 * @gpuvm: the space, or NULL
 *
 * The last one ends the space and frees the VM: &drm_gpuvm_ops.vm_free.
 *
 * Context: Any, if the caller knows that there are other references. The last
 * put may sleep: it calls the driver and drops references to the device and to
 * the object that has the VM's dma_resv, which is not to be locked.
 */
void drm_gpuvm_put(struct drm_gpuvm *gpuvm)
{
	if (gpuvm)
		kref_put(&gpuvm->kref, gpuvm_release);
}
EXPORT_SYMBOL_GPL(drm_gpuvm_put);

/**
 * drm_gpuvm_range_valid() - Whether something may be mapped at a span
 * @gpuvm: the space
 * @addr: first unit
 * @range: how many
 *
 * What is mapped there already does not matter. An empty span is never valid:
 * mainline lets it pass, and then requests of no size do one thing or another.
 *
 * Context: Any.
 *
 * Return: whether the span is not empty, inside the space, and clear of what is
 * reserved for the kernel.
 */
bool drm_gpuvm_range_valid(struct drm_gpuvm *gpuvm, u64 addr, u64 range)
{
	return dsvm_va_range_valid(&gpuvm->core, addr, range);
}
EXPORT_SYMBOL_GPL(drm_gpuvm_range_valid);

/**
 * drm_gpuvm_interval_empty() - Whether nothing is mapped in a span
 * @gpuvm: the space
 * @addr: first unit
 * @range: how many
 *
 * What is reserved for the kernel counts as mapped.
 *
 * Context: The VM lock, in any mode.
 *
 * Return: whether it is.
 */
bool drm_gpuvm_interval_empty(struct drm_gpuvm *gpuvm, u64 addr, u64 range)
{
	return !dsvm_va_find_first(&gpuvm->core, addr, range);
}
EXPORT_SYMBOL_GPL(drm_gpuvm_interval_empty);

/* The reference is the caller's to take. */
static void put_in(struct drm_gpuvm *gpuvm, struct drm_gpuva *va)
{
	va->vm = gpuvm;
	trace_gpuva_insert(va);
}

/* So many mappings more than before, of which there are some, have a reference each. */
static void count_references(struct drm_gpuvm *gpuvm, int more)
{
	if (more > 0)
		refcount_add(more, &gpuvm->kref.refcount);
	else if (more < 0)
		WARN_ON(refcount_sub_and_test(-more, &gpuvm->kref.refcount));
}

void dsvm_gpuva_inserted(struct drm_gpuvm *gpuvm, struct drm_gpuva *va)
{
	put_in(drm_gpuvm_get(gpuvm), va);
}

void dsvm_gpuva_removed(struct drm_gpuva *va)
{
	trace_gpuva_remove(va);
	/* The mapping still says where it was: drivers look at that to free it. */
	drm_gpuvm_put(va->vm);
}

/**
 * drm_gpuva_insert() - Puts a mapping into a space
 * @gpuvm: the space
 * @va: the mapping, in no space; its place and what it shows are filled in
 *
 * The mapping has a reference to the space from now on.
 *
 * Context: The VM lock, for writing. Never waits for memory, and does not sleep:
 * what it would like to have for its index it can do without.
 *
 * Return: 0; -EINVAL: drm_gpuvm_range_valid() is false, or the part of the object
 * or its window is none; -EEXIST: there is a mapping in the way; -EBUSY: a bind
 * transaction is open.
 */
int drm_gpuva_insert(struct drm_gpuvm *gpuvm, struct drm_gpuva *va)
{
	int ret = dsvm_va_insert(&gpuvm->core, &va->core);

	if (ret)
		return ret;

	dsvm_gpuva_inserted(gpuvm, va);
	return 0;
}
EXPORT_SYMBOL_GPL(drm_gpuva_insert);

static bool take_out(struct drm_gpuva *va)
{
	if (!dsvm_va_remove(&va->vm->core, &va->core))
		return false;

	dsvm_gpuva_removed(va);
	return true;
}

/**
 * drm_gpuva_remove() - Takes a mapping out of its space
 * @va: the mapping
 *
 * And drops its reference to the space. The kernel's own mapping does not go,
 * and no other one as long as a bind transaction is open: that is reported, and
 * nothing happens.
 *
 * Context: The VM lock, for writing. Never waits for memory, and does not sleep if
 * the caller has a reference to the space.
 */
void drm_gpuva_remove(struct drm_gpuva *va)
{
	take_out(va);
}
EXPORT_SYMBOL_GPL(drm_gpuva_remove);

/**
 * drm_svm_gpuva_replace() - Puts a mapping in the place of all that it overlaps
 * @gpuvm: the space
 * @va: the mapping, in no space; its place and what it shows are filled in
 * @prev: a mapping, in no space, for the front of the one that @va cuts at its
 *	beginning; NULL if the caller knows that it cuts none
 * @next: the same for the back of the one that @va cuts at its end
 * @gone: gets each mapping that has gone, and may free it
 * @arg: for @gone
 *
 * What drm_gpuvm_sm_map() comes to for a driver that has nothing to do between
 * the steps, in one change instead of one for each step. @prev and @next show
 * what the mappings showed that they are cut from, and have a range of 0 if they
 * were not needed. The mappings that are in the space have a reference to it.
 *
 * Context: The VM lock, for writing. Never waits for memory, and does not sleep
 * if the caller has a reference to the space and @gone does not.
 *
 * Return: 0; -EINVAL: drm_gpuvm_range_valid() is false, the part of the object or
 * its window is none, or @prev or @next is needed and NULL; -EBUSY: a bind
 * transaction is open. After an error nothing has changed.
 */
int drm_svm_gpuva_replace(struct drm_gpuvm *gpuvm, struct drm_gpuva *va,
			  struct drm_gpuva *prev, struct drm_gpuva *next,
			  void (*gone)(struct drm_gpuva *va, void *arg), void *arg)
{
	struct dsvm_va *old;
	int more = 1;
	int ret;

	ret = dsvm_va_replace(&gpuvm->core, &va->core, prev ? &prev->core : NULL,
			      next ? &next->core : NULL, &old);
	if (ret)
		return ret;

	put_in(gpuvm, va);
	if (prev && prev->va.range) {
		put_in(gpuvm, prev);
		more++;
	}
	if (next && next->va.range) {
		put_in(gpuvm, next);
		more++;
	}

	while (old) {
		struct drm_gpuva *this = to_gpuva(old);

		old = old->skip;
		trace_gpuva_remove(this);
		gone(this, arg);
		more--;
	}
	/* All at once: each by itself would cost as much as all the rest. */
	count_references(gpuvm, more);
	return 0;
}
EXPORT_SYMBOL_GPL(drm_svm_gpuva_replace);

/**
 * drm_gpuva_find_first() - The first mapping that overlaps a span
 * @gpuvm: the space
 * @addr: first unit
 * @range: how many
 *
 * Context: The VM lock, in any mode.
 *
 * Return: the mapping, which may be the kernel's; or NULL.
 */
struct drm_gpuva *
drm_gpuva_find_first(struct drm_gpuvm *gpuvm,
		     u64 addr, u64 range)
{
	return to_gpuva(dsvm_va_find_first(&gpuvm->core, addr, range));
}
EXPORT_SYMBOL_GPL(drm_gpuva_find_first);

/**
 * drm_gpuva_find() - The mapping of exactly a span
 * @gpuvm: the space
 * @addr: first unit
 * @range: how many
 *
 * Context: The VM lock, in any mode.
 *
 * Return: the mapping, or NULL.
 */
struct drm_gpuva *
drm_gpuva_find(struct drm_gpuvm *gpuvm,
	       u64 addr, u64 range)
{
	return to_gpuva(dsvm_va_find(&gpuvm->core, addr, range));
}
EXPORT_SYMBOL_GPL(drm_gpuva_find);

/**
 * drm_gpuva_find_prev() - The mapping in front of an address
 * @gpuvm: the space
 * @start: the address
 *
 * Context: The VM lock, in any mode.
 *
 * Return: the mapping that has the unit before @start, which may be the kernel's; NULL if there
 * is none.
 */
struct drm_gpuva *
drm_gpuva_find_prev(struct drm_gpuvm *gpuvm, u64 start)
{
	return to_gpuva(dsvm_va_find_prev(&gpuvm->core, start));
}
EXPORT_SYMBOL_GPL(drm_gpuva_find_prev);

/**
 * drm_gpuva_find_next() - The mapping behind an address
 * @gpuvm: the space
 * @end: the address, one past what it is next to
 *
 * Context: The VM lock, in any mode.
 *
 * Return: the mapping that has the unit at @end, which may be the kernel's; NULL if there is none.
 */
struct drm_gpuva *
drm_gpuva_find_next(struct drm_gpuvm *gpuvm, u64 end)
{
	return to_gpuva(dsvm_va_find_next(&gpuvm->core, end));
}
EXPORT_SYMBOL_GPL(drm_gpuva_find_next);

/**
 * drm_svm_gpuva_walk() - Begins a walk over the mappings that overlap a span
 * @gpuvm: the space
 * @start: first unit
 * @end: one past the last unit; @start: none
 *
 * What drm_gpuvm_for_each_va_range() is made of.
 *
 * Context: The VM lock, in any mode.
 *
 * Return: the walk, at the first of them. There is nothing to be ended.
 */
struct dsvm_va_walk drm_svm_gpuva_walk(struct drm_gpuvm *gpuvm, u64 start, u64 end)
{
	/* From 1 to 0 is nothing; to 0 is to the end of all addresses. */
	return start == end ? dsvm_va_walk_begin(&gpuvm->core, 1, 0) :
			      dsvm_va_walk_begin(&gpuvm->core, start, end - 1);
}
EXPORT_SYMBOL_GPL(drm_svm_gpuva_walk);

/**
 * drm_svm_gpuva_walk_all() - Begins a walk over all mappings
 * @gpuvm: the space
 *
 * What drm_gpuvm_for_each_va() is made of.
 *
 * Context: The VM lock, in any mode.
 *
 * Return: the walk, at the first of them. There is nothing to be ended.
 */
struct dsvm_va_walk drm_svm_gpuva_walk_all(struct drm_gpuvm *gpuvm)
{
	return dsvm_va_walk_begin(&gpuvm->core, 0, U64_MAX);
}
EXPORT_SYMBOL_GPL(drm_svm_gpuva_walk_all);

/**
 * drm_svm_gpuva_walk_on() - Goes one step on with a walk
 * @walk: the walk, not at its end
 *
 * Mappings may have come and gone since, but not the one that it is at.
 *
 * Context: The VM lock, in any mode.
 *
 * Return: the walk, at the mapping behind the one where it was.
 */
struct dsvm_va_walk drm_svm_gpuva_walk_on(struct dsvm_va_walk walk)
{
	return dsvm_va_walk_on(walk);
}
EXPORT_SYMBOL_GPL(drm_svm_gpuva_walk_on);

/**
 * drm_gpuva_map() - Does a DRM_GPUVA_OP_MAP
 * @gpuvm: the space
 * @va: the mapping to fill in and to insert
 * @op: the step
 *
 * If the space has changed since the step was made, so that drm_gpuva_insert()
 * fails, that is reported, and @va is in no space.
 *
 * Context: See drm_gpuva_insert().
 */
void drm_gpuva_map(struct drm_gpuvm *gpuvm,
		   struct drm_gpuva *va,
		   const struct drm_gpuva_op_map *op)
{
	int ret;

	drm_gpuva_init_from_op(va, op);
	ret = drm_gpuva_insert(gpuvm, va);
	/* A step that cannot be done is a bug of who asks for it. */
	drm_WARN(gpuvm->drm, ret, "GPU VA space %s cannot map %llu units at 0x%llx: %d\n",
		 gpuvm->name, op->va.range, op->va.addr, ret);
}
EXPORT_SYMBOL_GPL(drm_gpuva_map);

/**
 * drm_gpuva_remap() - Does a DRM_GPUVA_OP_REMAP
 * @prev: the mapping to fill in and to insert for the front, if @op has one
 * @next: the mapping to fill in and to insert for the back, if @op has one
 * @op: the step
 *
 * Takes the mapping that is cut out, and puts in what remains of it. That lies
 * where the mapping was, so nothing can be in the way. If it does not lie there,
 * or the mapping may not be removed, nothing happens, which is reported.
 *
 * Context: See drm_gpuva_insert().
 */
void drm_gpuva_remap(struct drm_gpuva *prev,
		     struct drm_gpuva *next,
		     const struct drm_gpuva_op_remap *op)
{
	struct drm_gpuva *va = op->unmap->va;
	struct drm_gpuvm *gpuvm = va->vm;
	int ret;

	if (op->prev)
		drm_gpuva_init_from_op(prev, op->prev);
	if (op->next)
		drm_gpuva_init_from_op(next, op->next);
	ret = dsvm_va_remap(&gpuvm->core, &va->core, op->prev ? &prev->core : NULL,
			    op->next ? &next->core : NULL);
	if (drm_WARN(gpuvm->drm, ret, "GPU VA space %s cannot cut 0x%llx: %d\n", gpuvm->name,
		     va->va.addr, ret))
		return;

	trace_gpuva_remove(va);
	if (op->prev)
		put_in(gpuvm, prev);
	if (op->next)
		put_in(gpuvm, next);
	/* What remains inherits its reference. */
	if (op->prev && op->next)
		drm_gpuvm_get(gpuvm);
	else if (!op->prev && !op->next)
		drm_gpuvm_put(gpuvm);
}
EXPORT_SYMBOL_GPL(drm_gpuva_remap);

/**
 * drm_gpuva_unmap() - Does a DRM_GPUVA_OP_UNMAP
 * @op: the step
 *
 * Context: See drm_gpuva_remove().
 */
void drm_gpuva_unmap(const struct drm_gpuva_op_unmap *op)
{
	drm_gpuva_remove(op->va);
}
EXPORT_SYMBOL_GPL(drm_gpuva_unmap);
