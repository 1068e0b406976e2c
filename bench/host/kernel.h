/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * As much of a kernel, in a user's process, as two VA managers need to run side by side: ours,
 * and the kernel's own, whose drm_gpuvm.c and lib/rbtree.c are compiled as they are.
 *
 * Both get the same of everything, and none of it costs either of them more. Locks are none,
 * because there is one thread. Memory comes from free lists by size, as from a slab, and every
 * allocation is counted. What no benchmark calls ends the program.
 *
 * Lists and rb-trees are the kernel's, from its tools/include.
 */
#ifndef BENCH_HOST_KERNEL_H
#define BENCH_HOST_KERNEL_H

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <linux/bits.h>
#include <linux/kernel.h>
#include <linux/list.h>
#include <linux/rbtree.h>
#include <linux/types.h>

#define U64_MAX UINT64_MAX

#include <linux/err.h>
#include <linux/overflow.h>

/* --- The end of what is modelled -------------------------------------------------------- */

static inline void __attribute__((noreturn)) bench_not_modelled(const char *what)
{
	fprintf(stderr, "kernel.h: %s is not modelled\n", what);
	abort();
}

#define BENCH_NOT_MODELLED() bench_not_modelled(__func__)

/* --- Warnings ----------------------------------------------------------------------------- */

static inline bool bench_warn(bool condition, const char *what)
{
	if (__builtin_expect(condition, 0)) {
		fprintf(stderr, "warning: %s\n", what);
		abort();
	}
	return condition;
}

#undef WARN
#undef WARN_ON
#undef WARN_ONCE
#define WARN(condition, format...) bench_warn(condition, #condition)
#define WARN_ON(condition) bench_warn(condition, #condition)
#define WARN_ONCE(condition, format...) bench_warn(condition, #condition)
#define drm_WARN(drm, condition, format...) ((void)(drm), bench_warn(condition, #condition))
#define drm_WARN_ON(drm, condition) ((void)(drm), bench_warn(condition, #condition))
#define lockdep_assert(condition) ((void)0)
#define lockdep_assert_held(lock) ((void)(lock))
#define lockdep_assert_held_write(lock) ((void)(lock))
#define might_sleep() ((void)0)
#define IS_ENABLED(option) 0
#define MODULE_DESCRIPTION(text) struct bench_nothing
#define MODULE_LICENSE(text) struct bench_nothing
#define EXPORT_SYMBOL_GPL(symbol) struct bench_nothing

/* --- Tracepoints: off, and their branches patched out ------------------------------------- */

#define trace_gpuva_insert(va) ((void)0)
#define trace_gpuva_remove(va) ((void)0)
#define trace_gpuva_op(gpuvm, op) ((void)0)
#define trace_gpuva_op_enabled() 0

/* --- Memory ------------------------------------------------------------------------------- */

#define GFP_NOWAIT GFP_ATOMIC
#define GFP_KERNEL_ACCOUNT GFP_KERNEL
#define __GFP_NOWARN GFP_KERNEL

/* memory.c; the sizes of all that is allocated are known then. */
extern unsigned long bench_allocs; /* so far */
extern unsigned long bench_bytes;  /* in use */
void *bench_alloc(size_t size);
void bench_free(const void *memory);

static inline void *kmalloc(size_t size, gfp_t gfp)
{
	return bench_alloc(size);
}

static inline void *kzalloc(size_t size, gfp_t gfp)
{
	void *const memory = bench_alloc(size);

	return memory ? memset(memory, 0, size) : NULL;
}

static inline void *kmemdup(const void *from, size_t size, gfp_t gfp)
{
	void *const memory = bench_alloc(size);

	return memory ? memcpy(memory, from, size) : NULL;
}

static inline void kfree(const void *memory)
{
	bench_free(memory);
}

#define kzalloc_obj(object, gfp...) ((typeof(object) *)kzalloc(sizeof(object), GFP_KERNEL))

/* --- Locks: there is one thread ----------------------------------------------------------- */

typedef struct {
	int nothing;
} spinlock_t;

struct mutex {
	int nothing;
};

#define spin_lock_init(lock) ((void)(lock))
#define spin_lock(lock) ((void)(lock))
#define spin_unlock(lock) ((void)(lock))
#define mutex_init(lock) ((void)(lock))
#define mutex_lock(lock) ((void)(lock))
#define mutex_unlock(lock) ((void)(lock))

/* --- References --------------------------------------------------------------------------- */

typedef struct {
	unsigned int count;
} refcount_t;

struct kref {
	refcount_t refcount;
};

static inline void refcount_add(int more, refcount_t *refs)
{
	__atomic_fetch_add(&refs->count, more, __ATOMIC_RELAXED);
}

static inline bool refcount_sub_and_test(int less, refcount_t *refs)
{
	return !__atomic_sub_fetch(&refs->count, less, __ATOMIC_RELEASE);
}

static inline void kref_init(struct kref *kref)
{
	kref->refcount.count = 1;
}

static inline unsigned int kref_read(const struct kref *kref)
{
	return kref->refcount.count;
}

static inline void kref_get(struct kref *kref)
{
	refcount_add(1, &kref->refcount);
}

static inline int kref_get_unless_zero(struct kref *kref)
{
	if (!kref_read(kref))
		return 0;
	kref_get(kref);
	return 1;
}

static inline int kref_put(struct kref *kref, void (*release)(struct kref *kref))
{
	if (!refcount_sub_and_test(1, &kref->refcount))
		return 0;
	release(kref);
	return 1;
}

static inline int kref_put_mutex(struct kref *kref, void (*release)(struct kref *kref),
				 struct mutex *lock)
{
	return kref_put(kref, release);
}

/* --- Lists that may be added to by many --------------------------------------------------- */

struct llist_node {
	struct llist_node *next;
};

struct llist_head {
	struct llist_node *first;
};

#define llist_entry(node, type, member) container_of(node, type, member)
#define llist_for_each_entry(at, node, member)                         \
	for (at = llist_entry(node, typeof(*at), member); &at->member; \
	     at = llist_entry(at->member.next, typeof(*at), member))
#define llist_for_each_entry_safe(at, next_, node, member)                                  \
	for (at = llist_entry(node, typeof(*at), member);                                   \
	     &at->member && (next_ = llist_entry(at->member.next, typeof(*at), member), 1); \
	     at = next_)

static inline void init_llist_head(struct llist_head *head)
{
	head->first = NULL;
}

static inline void init_llist_node(struct llist_node *node)
{
	node->next = node;
}

static inline bool llist_empty(const struct llist_head *head)
{
	return !head->first;
}

static inline bool llist_add(struct llist_node *node, struct llist_head *head)
{
	node->next = head->first;
	head->first = node;
	return !node->next;
}

static inline struct llist_node *llist_del_all(struct llist_head *head)
{
	struct llist_node *const first = head->first;

	head->first = NULL;
	return first;
}

/* --- DRM ---------------------------------------------------------------------------------- */

struct dma_fence;
struct drm_gpusvm;
struct drm_gpusvm_ctx;
struct drm_gpusvm_notifier;
struct drm_gpusvm_pages;
struct drm_gpusvm_range;
struct mmu_notifier_range;
enum dma_resv_usage { DMA_RESV_USAGE_KERNEL };

struct dma_resv {
	int nothing;
};

struct device;

struct drm_device {
	struct device *dev;
};

struct drm_gem_object {
	struct kref refcount;
	struct drm_device *dev;
	size_t size;
	struct dma_resv *resv;
	struct dma_resv _resv;
	struct {
		struct list_head list;
		struct mutex lock;
	} gpuva;
	const struct drm_gem_object_funcs *funcs;
};

struct drm_gem_object_funcs {
	void (*free)(struct drm_gem_object *obj);
};

struct drm_exec {
	struct {
		int nothing;
	} ticket;
};

#define dma_resv_assert_held(resv) ((void)(resv))
#define dma_resv_lock(resv, context) ((void)(resv), 0)
#define dma_resv_unlock(resv) ((void)(resv))
#define dma_resv_held(resv) ((void)(resv), true)
#define dma_resv_add_fence(resv, fence, usage) BENCH_NOT_MODELLED()
#define drm_exec_init(exec, flags, nr) BENCH_NOT_MODELLED()
#define drm_exec_fini(exec) BENCH_NOT_MODELLED()
#define drm_exec_lock_obj(exec, obj) (BENCH_NOT_MODELLED(), 0)
#define drm_exec_prepare_obj(exec, obj, count) (BENCH_NOT_MODELLED(), 0)
#define drm_exec_prepare_array(exec, objects, count, fences) (BENCH_NOT_MODELLED(), 0)
#define drm_exec_until_all_locked(exec) while (0)
#define drm_exec_retry_on_contention(exec) ((void)0)
#define drm_exec_for_each_locked_object(exec, obj) while (0)
#define drm_gem_gpuva_assert_lock_held(vm, obj) ((void)(vm), (void)(obj))
#define drm_gem_for_each_gpuvm_bo(entry__, obj__) \
	list_for_each_entry(entry__, &(obj__)->gpuva.list, list.entry.gem)
#define drm_gem_for_each_gpuvm_bo_safe(entry__, next__, obj__) \
	list_for_each_entry_safe(entry__, next__, &(obj__)->gpuva.list, list.entry.gem)

static inline void drm_dev_get(struct drm_device *drm) {}

static inline void drm_dev_put(struct drm_device *drm) {}

static inline void drm_gem_private_object_init(struct drm_device *drm, struct drm_gem_object *obj,
					       size_t size)
{
	kref_init(&obj->refcount);
	obj->dev = drm;
	obj->size = size;
	obj->resv = &obj->_resv;
	INIT_LIST_HEAD(&obj->gpuva.list);
}

static inline void drm_gem_object_release(struct drm_gem_object *obj) {}

static inline void drm_gem_object_get(struct drm_gem_object *obj)
{
	kref_get(&obj->refcount);
}

static inline void bench_gem_free(struct kref *kref)
{
	struct drm_gem_object *const obj = container_of(kref, struct drm_gem_object, refcount);

	obj->funcs->free(obj);
}

static inline void drm_gem_object_put(struct drm_gem_object *obj)
{
	kref_put(&obj->refcount, bench_gem_free);
}

#endif /* BENCH_HOST_KERNEL_H */
