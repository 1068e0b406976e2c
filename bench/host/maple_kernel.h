/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * What the kernel's lib/maple_tree.c wants besides kernel.h. Nobody reads while somebody writes, so
 * a node is free as soon as it is out of the tree; and a sheaf of nodes is as cheap as can be:
 * there is one, which nobody else asks for.
 */
#ifndef BENCH_HOST_MAPLE_KERNEL_H
#define BENCH_HOST_MAPLE_KERNEL_H

#include <limits.h>

#include "bench/host/kernel.h"

#include <asm/barrier.h>
#include <linux/bitmap.h>

#define EXPORT_SYMBOL(symbol) struct bench_nothing
#define WARN_ON_ONCE(condition) WARN_ON(condition)
#define PAGE_SIZE 4096ul
#define PTR_FMT "%p"
#define __GFP_BITS_SHIFT 4
#define __GFP_NOFAIL GFP_KERNEL
#define __init
#define cond_resched() ((void)0)
#define dump_stack() ((void)0)
#define gfpflags_allow_blocking(gfp) ((void)(gfp), true)
#define lock_is_held(map) true
#define lockdep_is_held(lock) true
#define might_alloc(gfp) ((void)(gfp))
#define pr_cont printf
#define pr_err printf
#define pr_info printf
#define trace_ma_op(args...) ((void)0)
#define trace_ma_read(args...) ((void)0)
#define trace_ma_write(args...) ((void)0)
#define spin_lock_bh(lock) spin_lock(lock)
#define spin_lock_irq(lock) spin_lock(lock)
#define spin_lock_irqsave(lock, flags) ((void)(flags), spin_lock(lock))
#define spin_lock_nested(lock, subclass) spin_lock(lock)
#define spin_unlock_bh(lock) spin_unlock(lock)
#define spin_unlock_irq(lock) spin_unlock(lock)
#define spin_unlock_irqrestore(lock, flags) ((void)(flags), spin_unlock(lock))

/* --- RCU: there is one thread ------------------------------------------------------------- */

struct rcu_head {
	void *nothing[2];
};

#define rcu_read_lock() ((void)0)
#define rcu_read_unlock() ((void)0)
#define rcu_dereference(pointer) READ_ONCE(pointer)
#define rcu_dereference_check(pointer, condition) READ_ONCE(pointer)
#define rcu_dereference_protected(pointer, condition) (pointer)
#define rcu_assign_pointer(pointer, value) smp_store_release(&(pointer), value)
#define RCU_INIT_POINTER(pointer, value) WRITE_ONCE(pointer, value)
#define get_state_synchronize_rcu() 0ul
#define poll_state_synchronize_rcu(state) false
#define kfree_rcu(object, member) kfree(object)
#define call_rcu(head, function) ((void)(head), (void)(function), BENCH_NOT_MODELLED())

/* --- Memory ------------------------------------------------------------------------------- */

struct kmem_cache {
	size_t size;
};

struct kmem_cache_args {
	unsigned int align;
	unsigned int sheaf_capacity;
};

struct slab_sheaf {
	unsigned int size;
	void *objects[64];
};

#define SLAB_PANIC 0

static inline struct kmem_cache *kmem_cache_create(const char *name, size_t size,
						   const struct kmem_cache_args *args, int flags)
{
	static struct kmem_cache cache;

	cache.size = size;
	return &cache;
}

static inline void *kmem_cache_alloc(struct kmem_cache *cache, gfp_t gfp)
{
	return bench_alloc(cache->size);
}

static inline void kmem_cache_free_bulk(struct kmem_cache *cache, size_t count, void **objects)
{
	while (count)
		bench_free(objects[--count]);
}

static inline unsigned int kmem_cache_sheaf_size(const struct slab_sheaf *sheaf)
{
	return sheaf->size;
}

static inline int kmem_cache_refill_sheaf(struct kmem_cache *cache, gfp_t gfp,
					  struct slab_sheaf **sheaf, unsigned int size)
{
	if (size > ARRAY_SIZE((*sheaf)->objects))
		abort();
	while ((*sheaf)->size < size)
		(*sheaf)->objects[(*sheaf)->size++] = bench_alloc(cache->size);
	return 0;
}

static inline struct slab_sheaf *kmem_cache_prefill_sheaf(struct kmem_cache *cache, gfp_t gfp,
							  unsigned int size)
{
	static struct slab_sheaf only;
	struct slab_sheaf *sheaf = &only;

	kmem_cache_refill_sheaf(cache, gfp, &sheaf, size);
	return sheaf;
}

static inline void *kmem_cache_alloc_from_sheaf(struct kmem_cache *cache, gfp_t gfp,
						struct slab_sheaf *sheaf)
{
	if (!sheaf->size)
		abort();
	return sheaf->objects[--sheaf->size];
}

static inline void kmem_cache_return_sheaf(struct kmem_cache *cache, gfp_t gfp,
					   struct slab_sheaf *sheaf)
{}

#endif /* BENCH_HOST_MAPLE_KERNEL_H */
