/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * The GPU VA manager: keeps track of what a GPU's address space maps. The API
 * is that of Linux 7.3's header of this name. Put this project's include/
 * first on the include path and nothing in the driver changes.
 *
 *	drm_gpuvm		one address space, embedded in the driver's VM
 *	  drm_gpuva		a mapping: a span of addresses that shows a part of a
 *				buffer object, embedded in the driver's mapping
 *	  drm_gpuvm_bo		a buffer object in this address space, with a list
 *				of its mappings; one for each pair
 *
 * Inserting and removing a mapping never waits for memory and never fails for want
 * of it, in any context: both are legal in dma-fence signalling critical
 * sections, once the &struct drm_gpuva exists.
 *
 * What a request to map or unmap comes to when other mappings are in its way
 * is said in steps (&struct drm_gpuva_op): by callbacks (drm_gpuvm_sm_map()),
 * as a list (drm_gpuvm_sm_map_ops_create()), or by a transaction that does all
 * or nothing (drm/drm_svm.h). See "DOC: Split and merge" in
 * src/linux/gpuvm_ops.c for every case.
 *
 * Addresses and lengths are in a unit of the driver's choice, bytes or pages,
 * the same for all of a space. A space may reach the last byte of 64 bits:
 * where an end is one past the last unit, 0 stands for 2^64.
 *
 * Locks:
 *  - The driver's VM lock protects the tree of mappings: for writing around
 *    all that changes it, in any mode around all that looks. Not taken here.
 *  - An object's list of drm_gpuvm_bo, and each one's list of mappings, are
 *    protected by the object's dma_resv or, with DRM_GPUVM_IMMEDIATE_MODE, by
 *    drm_svm_gem_gpuva_lock(). Asserted here.
 *  - The lists of external and evicted objects have their own spinlocks or,
 *    with DRM_GPUVM_RESV_PROTECTED, the VM's dma_resv.
 */
#ifndef __DRM_GPUVM_H__
#define __DRM_GPUVM_H__

#include <linux/bits.h>
#include <linux/dma-resv.h>
#include <linux/kref.h>
#include <linux/list.h>
#include <linux/llist.h>
#include <linux/rbtree.h>
#include <linux/spinlock.h>
#include <linux/types.h>

#include <drm/drm_device.h>
#include <drm/drm_gem.h>

#include "drm_svm/link_names.h"
#include "drm_svm/va.h"

struct drm_gpuvm;
struct drm_gpuvm_bo;
struct drm_gpuvm_ops;
struct seq_file;

/**
 * enum drm_gpuva_flags - Flags of a mapping
 */
enum drm_gpuva_flags {
	/**
	 * @DRM_GPUVA_INVALIDATED: What is behind it has gone or moved; its
	 * page-table entries are not valid.
	 */
	DRM_GPUVA_INVALIDATED = 1 << 0,

	/**
	 * @DRM_GPUVA_SPARSE: A sparse mapping: without an object, and accesses
	 * do not fault.
	 */
	DRM_GPUVA_SPARSE = 1 << 1,

	/**
	 * @DRM_GPUVA_USERBITS: The lowest of the driver's own bits; they end
	 * below bit 30.
	 */
	DRM_GPUVA_USERBITS = 1 << 2,

	/**
	 * @DRM_GPUVA_REPEAT: Shows a window of the object over and over:
	 * @gem.repeat_range units from @gem.repeat_offset on. @gem.offset, which
	 * lies in the window, is what the mapping begins with. Not in mainline.
	 */
	DRM_GPUVA_REPEAT = 1 << 30,
};

/**
 * struct drm_gpuva - A mapping
 * @core: the library's view of the fields beside it
 * @flags: its state; changed with WRITE_ONCE() by drm_gpuva_invalidate()
 * @__state: the library's
 * @va: where it is; immutable while it is in a space
 * @va.addr: first unit
 * @va.range: how many
 * @gem: what it shows; immutable while it is in a space
 * @gem.offset: first unit in the object
 * @gem.obj: the object, or NULL; kept by @vm_bo
 * @gem.repeat_offset: start of the window; DRM_GPUVA_REPEAT only
 * @gem.repeat_range: length of the window; DRM_GPUVA_REPEAT only
 * @gem.entry: in @vm_bo's list; under the object's lock
 * @rb: the library's
 * @rb.node: the library's
 * @vm: the space it is in
 * @vm_bo: the object in this space, a reference, while it is linked
 *
 * Drivers embed it in their own mapping, and hand it in zeroed.
 */
struct drm_gpuva {
	union {
		struct dsvm_va core;
		struct {
			enum drm_gpuva_flags flags;
			u32 __state;
			struct {
				u64 addr;
				u64 range;
			} va;
			struct {
				u64 offset;
				struct drm_gem_object *obj;
				u64 repeat_offset;
				u64 repeat_range;
				struct list_head entry;
			} gem;
			struct {
				struct rb_node node;
			} rb;
		};
	};
	struct drm_gpuvm *vm;
	struct drm_gpuvm_bo *vm_bo;
};

int drm_gpuva_insert(struct drm_gpuvm *gpuvm, struct drm_gpuva *va);
void drm_gpuva_remove(struct drm_gpuva *va);

void drm_gpuva_link(struct drm_gpuva *va, struct drm_gpuvm_bo *vm_bo);
void drm_gpuva_unlink(struct drm_gpuva *va);
void drm_gpuva_unlink_defer(struct drm_gpuva *va);

struct drm_gpuva *drm_gpuva_find(struct drm_gpuvm *gpuvm,
				 u64 addr, u64 range);
struct drm_gpuva *drm_gpuva_find_first(struct drm_gpuvm *gpuvm,
				       u64 addr, u64 range);
struct drm_gpuva *drm_gpuva_find_prev(struct drm_gpuvm *gpuvm, u64 start);
struct drm_gpuva *drm_gpuva_find_next(struct drm_gpuvm *gpuvm, u64 end);

/**
 * drm_gpuva_init() - Fills a mapping in
 * @va: the mapping, in no space
 * @addr: first unit
 * @range: how many
 * @obj: the object, or NULL
 * @offset: first unit in the object
 */
static inline void drm_gpuva_init(struct drm_gpuva *va, u64 addr, u64 range,
				  struct drm_gem_object *obj, u64 offset)
{
	va->va.addr = addr;
	va->va.range = range;
	va->gem.obj = obj;
	va->gem.offset = offset;
}

/**
 * drm_gpuva_invalidate() - Says whether a mapping's entries are valid
 * @va: the mapping
 * @invalidate: they are not
 *
 * Context: Any; the caller serialises changes of the flags.
 */
static inline void drm_gpuva_invalidate(struct drm_gpuva *va, bool invalidate)
{
	if (invalidate)
		WRITE_ONCE(va->flags, va->flags | DRM_GPUVA_INVALIDATED);
	else
		WRITE_ONCE(va->flags, va->flags & ~DRM_GPUVA_INVALIDATED);
}

/**
 * drm_gpuva_invalidated() - Whether a mapping's entries are not valid
 * @va: the mapping
 *
 * Context: Any.
 *
 * Return: whether it is.
 */
static inline bool drm_gpuva_invalidated(struct drm_gpuva *va)
{
	return READ_ONCE(va->flags) & DRM_GPUVA_INVALIDATED;
}

/**
 * enum drm_gpuvm_flags - Flags of a space
 */
enum drm_gpuvm_flags {
	/**
	 * @DRM_GPUVM_RESV_PROTECTED: The lists of external and evicted objects
	 * are protected by the VM's dma_resv, and not by spinlocks.
	 */
	DRM_GPUVM_RESV_PROTECTED = BIT(0),

	/**
	 * @DRM_GPUVM_IMMEDIATE_MODE: The space changes in the signalling path
	 * of fences: the objects' lists are protected by
	 * drm_svm_gem_gpuva_lock(), and not by their dma_resv.
	 */
	DRM_GPUVM_IMMEDIATE_MODE = BIT(1),

	/**
	 * @DRM_GPUVM_USERBITS: The lowest of the driver's own bits.
	 */
	DRM_GPUVM_USERBITS = BIT(2),
};

/**
 * struct drm_gpuvm - An address space
 * @core: the library's view of the fields beside it
 * @mm_start: first unit; immutable
 * @mm_range: how many; immutable. 0 after a drm_gpuvm_init() that got a range
 *	beyond 2^64
 * @__index: the mappings; under the VM lock. Walk them with drm_gpuvm_for_each_va()
 * @__kernel_va: the library's
 * @__bind: the library's
 * @name: for messages; immutable
 * @flags: immutable
 * @drm: the device, referenced; immutable
 * @kref: references: the maker's, one of each mapping but the kernel's, one of
 *	each drm_gpuvm_bo
 * @kernel_alloc_node: what is reserved for the kernel; @va.range is 0 if nothing is
 * @ops: the driver's callbacks; immutable
 * @r_obj: the object whose dma_resv is the VM's, referenced; immutable
 * @extobj: objects with a dma_resv of their own that are bound here
 * @extobj.list: of drm_gpuvm_bo, through @list.entry.extobj
 * @extobj.lock: protects it, unless DRM_GPUVM_RESV_PROTECTED
 * @evict: objects that have been evicted
 * @evict.list: of drm_gpuvm_bo, through @list.entry.evict
 * @evict.lock: protects it, unless DRM_GPUVM_RESV_PROTECTED
 * @bo_defer: drm_gpuvm_bo without references that wait for
 *	drm_gpuvm_bo_deferred_cleanup()
 */
struct drm_gpuvm {
	union {
		struct dsvm_va_space core;
		struct {
			u64 mm_start;
			u64 mm_range;
			struct dsvm_va_index __index;
			struct drm_gpuva *__kernel_va;
			void *__bind;
		};
	};
	const char *name;
	enum drm_gpuvm_flags flags;
	struct drm_device *drm;
	struct kref kref;
	struct drm_gpuva kernel_alloc_node;
	const struct drm_gpuvm_ops *ops;
	struct drm_gem_object *r_obj;
	struct {
		struct list_head list;
		spinlock_t lock;
	} extobj;
	struct {
		struct list_head list;
		spinlock_t lock;
	} evict;
	struct llist_head bo_defer;
};

void drm_gpuvm_init(struct drm_gpuvm *gpuvm, const char *name,
		    enum drm_gpuvm_flags flags,
		    struct drm_device *drm,
		    struct drm_gem_object *r_obj,
		    u64 start_offset, u64 range,
		    u64 reserve_offset, u64 reserve_range,
		    const struct drm_gpuvm_ops *ops);

/**
 * drm_gpuvm_get() - Takes a reference to a space
 * @gpuvm: the space, of which the caller has a reference
 *
 * Context: Any.
 *
 * Return: @gpuvm.
 */
static inline struct drm_gpuvm *drm_gpuvm_get(struct drm_gpuvm *gpuvm)
{
	kref_get(&gpuvm->kref);

	return gpuvm;
}

void drm_gpuvm_put(struct drm_gpuvm *gpuvm);

bool drm_gpuvm_range_valid(struct drm_gpuvm *gpuvm, u64 addr, u64 range);
bool drm_gpuvm_interval_empty(struct drm_gpuvm *gpuvm, u64 addr, u64 range);

struct drm_gem_object *drm_gpuvm_resv_object_alloc(struct drm_device *drm);

#ifdef CONFIG_DEBUG_FS
int drm_debugfs_gpuva_info(struct seq_file *m, struct drm_gpuvm *gpuvm);
#endif

/**
 * drm_gpuvm_resv_protected() - Whether the VM's dma_resv protects the lists
 * @gpuvm: the space
 *
 * Return: whether DRM_GPUVM_RESV_PROTECTED is set.
 */
static inline bool drm_gpuvm_resv_protected(struct drm_gpuvm *gpuvm)
{
	return gpuvm->flags & DRM_GPUVM_RESV_PROTECTED;
}

/**
 * drm_gpuvm_immediate_mode() - Whether the space changes in the signalling path
 * @gpuvm: the space
 *
 * Return: whether DRM_GPUVM_IMMEDIATE_MODE is set.
 */
static inline bool drm_gpuvm_immediate_mode(struct drm_gpuvm *gpuvm)
{
	return gpuvm->flags & DRM_GPUVM_IMMEDIATE_MODE;
}

/**
 * drm_gpuvm_resv() - The VM's dma_resv, shared by all objects local to it
 * @gpuvm__: the space
 */
#define drm_gpuvm_resv(gpuvm__) ((gpuvm__)->r_obj->resv)

/**
 * drm_gpuvm_resv_obj() - The object that has the VM's dma_resv
 * @gpuvm__: the space
 */
#define drm_gpuvm_resv_obj(gpuvm__) ((gpuvm__)->r_obj)

#define drm_gpuvm_resv_held(gpuvm__) dma_resv_held(drm_gpuvm_resv(gpuvm__))

#define drm_gpuvm_resv_assert_held(gpuvm__) \
	dma_resv_assert_held(drm_gpuvm_resv(gpuvm__))

/**
 * drm_gpuvm_is_extobj() - Whether an object is external to a space
 * @gpuvm: the space
 * @obj: the object, or NULL
 *
 * Return: whether it has another dma_resv than the VM.
 */
static inline bool drm_gpuvm_is_extobj(struct drm_gpuvm *gpuvm,
				       struct drm_gem_object *obj)
{
	return obj && obj->resv != drm_gpuvm_resv(gpuvm);
}

/*
 * Where an object's list of drm_gpuvm_bo is, and the lock that protects it with
 * DRM_GPUVM_IMMEDIATE_MODE. Newer kernels have both in &struct drm_gem_object.
 * On older ones, 6.12 among them, the lock is shared with other objects: hold
 * one at a time. The list is @gpuva.list of the object where the kernel has
 * that and the device DRIVER_GEM_GPUVA; else it is this library's. So walk it
 * with the macros below, and where mainline 7.3 lets a driver look at
 * obj->gpuva.list, look at drm_svm_gem_gpuva_list(obj).
 */
#if defined(drm_gem_for_each_gpuvm_bo) && !defined(drm_gem_gpuva_set_lock)
#define drm_svm_gem_gpuva_list(obj__) (&(obj__)->gpuva.list)
#define drm_svm_gem_gpuva_lock(obj__) (&(obj__)->gpuva.lock)
#else
struct list_head *dsvm_gem_gpuva_list(struct drm_gem_object *obj);
struct mutex *dsvm_gem_gpuva_lock(struct drm_gem_object *obj);

#define drm_svm_gem_gpuva_list(obj__) dsvm_gem_gpuva_list(obj__)
#define drm_svm_gem_gpuva_lock(obj__) dsvm_gem_gpuva_lock(obj__)

#undef drm_gem_gpuva_assert_lock_held
#undef drm_gem_for_each_gpuvm_bo
#undef drm_gem_for_each_gpuvm_bo_safe
#define drm_gem_gpuva_assert_lock_held(gpuvm__, obj__)				\
	lockdep_assert(drm_gpuvm_immediate_mode(gpuvm__) ?			\
		       lockdep_is_held(drm_svm_gem_gpuva_lock(obj__)) :		\
		       dma_resv_held((obj__)->resv))
#define drm_gem_for_each_gpuvm_bo(entry__, obj__)				\
	for (struct list_head *head__ = drm_svm_gem_gpuva_list(obj__);		\
	     head__; head__ = NULL)						\
		list_for_each_entry(entry__, head__, list.entry.gem)
#define drm_gem_for_each_gpuvm_bo_safe(entry__, next__, obj__)			\
	for (struct list_head *head__ = drm_svm_gem_gpuva_list(obj__);		\
	     head__; head__ = NULL)						\
		__drm_svm_gem_walk_safe(entry__, next__, head__)

/* The list goes with its last member, so its head is not looked into again. */
#define __drm_svm_gem_walk_safe(entry__, next__, head__)			\
	for (entry__ = list_first_entry(head__, typeof(*entry__), list.entry.gem), \
	     next__ = __drm_svm_gem_next(entry__, head__);			\
	     &entry__->list.entry.gem != head__;				\
	     entry__ = next__, next__ = __drm_svm_gem_next(entry__, head__))
#define __drm_svm_gem_next(entry__, head__)					\
	(&(entry__)->list.entry.gem == (head__) ? (entry__) :			\
						  list_next_entry(entry__, list.entry.gem))
#endif

struct dsvm_va_walk drm_svm_gpuva_walk(struct drm_gpuvm *gpuvm, u64 start, u64 end);
struct dsvm_va_walk drm_svm_gpuva_walk_all(struct drm_gpuvm *gpuvm);
struct dsvm_va_walk drm_svm_gpuva_walk_on(struct dsvm_va_walk walk);

/*
 * A walk takes a few instructions for a mapping, and a call near its end and after a change; while
 * there was no memory for the index, one for each mapping. It goes on where it should if the space
 * changes meanwhile. The core's part is the first of a mapping, so a cast turns NULL into NULL.
 */
#define __drm_svm_walk_at(walk__) ((struct drm_gpuva *)(walk__)->now)

static inline void __drm_svm_walk_step(struct dsvm_va_walk *walk)
{
	if (!dsvm_va_walk_near(walk))
		*walk = drm_svm_gpuva_walk_on(*walk);
}

/* Where it is, and one step on: what this returns may go. */
static inline struct drm_gpuva *__drm_svm_walk_take(struct dsvm_va_walk *walk)
{
	struct drm_gpuva *va = __drm_svm_walk_at(walk);

	if (va)
		__drm_svm_walk_step(walk);
	return va;
}

/**
 * drm_gpuvm_for_each_va_range() - Walks the mappings that overlap a span
 * @va__: the cursor; NULL behind the last
 * @gpuvm__: the space
 * @start__: first unit
 * @end__: one past the last unit
 *
 * In order, the kernel's own mapping included. Under the VM lock.
 */
#define drm_gpuvm_for_each_va_range(va__, gpuvm__, start__, end__)			\
	for (struct dsvm_va_walk walk__ =						\
		     drm_svm_gpuva_walk((gpuvm__), (start__), (end__)); \
	     ((va__) = __drm_svm_walk_at(&walk__));					\
	     __drm_svm_walk_step(&walk__))

/**
 * drm_gpuvm_for_each_va_range_safe() - The same, and the current one may be removed
 * @va__: the cursor; NULL behind the last
 * @next__: room for the one after it
 * @gpuvm__: the space
 * @start__: first unit
 * @end__: one past the last unit
 */
#define drm_gpuvm_for_each_va_range_safe(va__, next__, gpuvm__, start__, end__)		\
	for (struct dsvm_va_walk walk__ =						\
		     drm_svm_gpuva_walk((gpuvm__), (start__), (end__)); \
	     (va__) = __drm_svm_walk_take(&walk__),					\
	     (next__) = __drm_svm_walk_at(&walk__), (va__);)

/**
 * drm_gpuvm_for_each_va() - Walks all mappings of a space
 * @va__: the cursor; NULL behind the last
 * @gpuvm__: the space
 *
 * In order, the kernel's own mapping included. Under the VM lock.
 */
#define drm_gpuvm_for_each_va(va__, gpuvm__)						\
	for (struct dsvm_va_walk walk__ = drm_svm_gpuva_walk_all(gpuvm__);		\
	     ((va__) = __drm_svm_walk_at(&walk__));					\
	     __drm_svm_walk_step(&walk__))

/**
 * drm_gpuvm_for_each_va_safe() - The same, and the current one may be removed
 * @va__: the cursor; NULL behind the last
 * @next__: room for the one after it
 * @gpuvm__: the space
 */
#define drm_gpuvm_for_each_va_safe(va__, next__, gpuvm__)				\
	for (struct dsvm_va_walk walk__ = drm_svm_gpuva_walk_all(gpuvm__);		\
	     (va__) = __drm_svm_walk_take(&walk__),					\
	     (next__) = __drm_svm_walk_at(&walk__), (va__);)

/**
 * struct drm_gpuvm_bo - A buffer object in an address space
 * @vm: the space, referenced; immutable
 * @obj: the object, referenced; immutable
 * @evicted: it has been evicted; under the object's dma_resv
 * @kref: references: one of each linked mapping, and whoever obtained it
 * @list: the lists
 * @list.gpuva: its mappings here, through @gem.entry; under the object's lock
 * @list.entry: as a member
 * @list.entry.gem: of the object's list; under the object's lock
 * @list.entry.extobj: of the space's list of external objects
 * @list.entry.evict: of the space's list of evicted objects
 * @list.entry.bo_defer: of those that wait for the cleanup
 *
 * One for each pair, as long as anything refers to it.
 */
struct drm_gpuvm_bo {
	struct drm_gpuvm *vm;
	struct drm_gem_object *obj;
	bool evicted;
	struct kref kref;
	struct {
		struct list_head gpuva;
		struct {
			struct list_head gem;
			struct list_head extobj;
			struct list_head evict;
			struct llist_node bo_defer;
		} entry;
	} list;
};

struct drm_gpuvm_bo *drm_gpuvm_bo_create(struct drm_gpuvm *gpuvm,
					 struct drm_gem_object *obj);
struct drm_gpuvm_bo *drm_gpuvm_bo_obtain_locked(struct drm_gpuvm *gpuvm,
						struct drm_gem_object *obj);
struct drm_gpuvm_bo *drm_gpuvm_bo_obtain_prealloc(struct drm_gpuvm_bo *vm_bo);
struct drm_gpuvm_bo *drm_gpuvm_bo_find(struct drm_gpuvm *gpuvm,
				       struct drm_gem_object *obj);

/**
 * drm_gpuvm_bo_get() - Takes a reference
 * @vm_bo: the object in a space, of which the caller has a reference
 *
 * Context: Any.
 *
 * Return: @vm_bo.
 */
static inline struct drm_gpuvm_bo *drm_gpuvm_bo_get(struct drm_gpuvm_bo *vm_bo)
{
	kref_get(&vm_bo->kref);

	return vm_bo;
}

bool drm_gpuvm_bo_put(struct drm_gpuvm_bo *vm_bo);
bool drm_gpuvm_bo_put_deferred(struct drm_gpuvm_bo *vm_bo);
void drm_gpuvm_bo_deferred_cleanup(struct drm_gpuvm *gpuvm);

void drm_gpuvm_bo_evict(struct drm_gpuvm_bo *vm_bo, bool evict);
void drm_gpuvm_bo_extobj_add(struct drm_gpuvm_bo *vm_bo);

/**
 * drm_gpuvm_bo_gem_evict() - Says in all spaces that an object is evicted
 * @obj: the object
 * @evict: it is, or it is not any more
 *
 * Context: The object's dma_resv, and its gpuva lock in immediate mode.
 */
static inline void drm_gpuvm_bo_gem_evict(struct drm_gem_object *obj, bool evict)
{
	struct drm_gpuvm_bo *vm_bo;

	drm_gem_for_each_gpuvm_bo(vm_bo, obj) {
		drm_gem_gpuva_assert_lock_held(vm_bo->vm, obj);
		drm_gpuvm_bo_evict(vm_bo, evict);
	}
}

/**
 * drm_gpuvm_bo_for_each_va() - Walks the mappings of an object in a space
 * @va__: the cursor
 * @vm_bo__: the object in a space
 *
 * Under the object's lock.
 */
#define drm_gpuvm_bo_for_each_va(va__, vm_bo__) \
	list_for_each_entry(va__, &(vm_bo__)->list.gpuva, gem.entry)

/**
 * drm_gpuvm_bo_for_each_va_safe() - The same, and the current one may be unlinked
 * @va__: the cursor
 * @next__: room for the one after it
 * @vm_bo__: the object in a space; hold a reference, the last mapping drops another
 */
#define drm_gpuvm_bo_for_each_va_safe(va__, next__, vm_bo__) \
	list_for_each_entry_safe(va__, next__, &(vm_bo__)->list.gpuva, gem.entry)

#include <drm/drm_gpuvm_ops.h>
#include <drm/drm_gpuvm_exec.h>

#endif /* __DRM_GPUVM_H__ */
