/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * What drm_svm offers beyond mainline's API: here for GPU SVM and for bind transactions; of
 * hmmptrs and of migration in the headers of these names.
 */
#ifndef __DRM_SVM_H__
#define __DRM_SVM_H__

#include <linux/list.h>
#include <linux/types.h>

#include <drm/drm_gpusvm.h>
#include <drm/drm_gpuvm.h>
#include <drm/drm_svm_hmmptr.h>
#include <drm/drm_svm_pagemap.h>

#include "drm_svm/bind.h"
#include "drm_svm/link_names.h"

struct drm_pagemap;
struct mm_struct;
struct seq_file;

/**
 * struct drm_svm_residency - Where the pages of a span are
 * @none: pages that are not present, another owner's device memory, and memory
 *	that the process itself may not read
 * @system: pages in RAM, or other memory that stays where it is
 * @device: pages in the memory of the provider asked for
 * @peer: pages in the memory of other providers of the same clique
 */
struct drm_svm_residency {
	u32 none;
	u32 system;
	u32 device;
	u32 peer;
};

bool drm_svm_can_migrate(void);

void drm_svm_flush(void);

int drm_svm_residency(struct mm_struct *mm, struct drm_pagemap *dpagemap,
		      unsigned long start, unsigned long end,
		      unsigned long block, struct drm_svm_residency *out);

/*
 * GPU SVM without a lock around all of a VM's faults. Mainline's contract is
 * one driver lock for everything that makes, maps and removes ranges. Here each
 * range has one of its own, and with DRM_SVM_WINDOW_LOCKS each window has its own
 * notifier lock, so that faults on different ranges run side by side:
 *
 *	range = drm_svm_range_acquire(gpusvm, addr, ...);	found or made, locked
 *	if (range->flags.unmapped)
 *		zap, trim or remove it, begin again
 *	(is the entry there? somebody else has served the fault)
 *	drm_gpusvm_get_pages(gpusvm, pages, ...);
 *	drm_svm_window_lock(range->notifier);
 *	if (drm_gpusvm_pages_valid(gpusvm, pages))
 *		write page-table entries;	else begin again
 *	drm_svm_window_unlock(range->notifier);
 *	drm_svm_range_release(range);
 *
 * Whoever comes by a range in another way (from a list of garbage, or from
 * drm_svm_range_first()) has a reference, takes drm_svm_range_lock(), and does
 * nothing if that says that the range has been removed. &drm_gpusvm_range.notifier
 * may be used only under the range's lock, or inside an invalidation.
 *
 * A driver that keeps its one lock calls none of these.
 *
 * Locks, outermost first: &drm_gpusvm_range.lock (of one range at a time),
 * mmap_lock, &drm_gpusvm.notifier_lock, the window's lock.
 */
struct drm_gpusvm_range *drm_svm_range_acquire(struct drm_gpusvm *gpusvm,
					       unsigned long fault_addr,
					       unsigned long gpuva_start,
					       unsigned long gpuva_end,
					       const struct drm_gpusvm_ctx *ctx);
struct drm_gpusvm_range *drm_svm_range_first(struct drm_gpusvm *gpusvm,
					     unsigned long start, unsigned long end);
bool drm_svm_range_lock(struct drm_gpusvm_range *range);
int drm_svm_range_lock_killable(struct drm_gpusvm_range *range);
void drm_svm_range_unlock(struct drm_gpusvm_range *range);
void drm_svm_range_release(struct drm_gpusvm_range *range);

void drm_svm_window_lock(struct drm_gpusvm_notifier *notifier);
void drm_svm_window_unlock(struct drm_gpusvm_notifier *notifier);

void drm_svm_range_set_gone(struct drm_gpusvm_range *range,
			    const struct mmu_notifier_range *mmu_range,
			    unsigned long *zap_start, unsigned long *zap_end);
void drm_svm_range_unmap_gone(struct drm_gpusvm_range *range);
int drm_svm_range_trim(struct drm_gpusvm_range *range);

/**
 * struct drm_svm_counters - What has happened in a mirror since it was made
 * @faults: calls of drm_gpusvm_range_find_or_insert() or drm_svm_range_acquire()
 * @windows_made: notifier windows made
 * @ranges_made: ranges made, also as the tail of a split
 * @ranges_removed: ranges removed
 * @ranges_split: ranges out of the middle of which the CPU unmapped something
 * @ranges_trimmed: or at an end
 * @lost_races: ranges that were given up because somebody else had made one
 * @invalidations: invalidations that met a range
 * @ranges_invalidated: ranges that they met
 * @collections: collections of pages that were not mapped already
 * @collection_retries: attempts beyond their first
 * @collection_failures: collections that failed
 * @collection_ns: time spent in collections, in nanoseconds; counted in ticks of
 *	the timer, so that it is right of many
 * @pages_mapped: pages mapped for devices
 */
struct drm_svm_counters {
	u64 faults;
	u64 windows_made;
	u64 ranges_made;
	u64 ranges_removed;
	u64 ranges_split;
	u64 ranges_trimmed;
	u64 lost_races;
	u64 invalidations;
	u64 ranges_invalidated;
	u64 collections;
	u64 collection_retries;
	u64 collection_failures;
	u64 collection_ns;
	u64 pages_mapped;
};

void drm_svm_read_counters(const struct drm_gpusvm *gpusvm,
			   struct drm_svm_counters *out);
void drm_svm_debugfs_gpusvm_info(struct seq_file *m, struct drm_gpusvm *gpusvm);

/*
 * A bind transaction: any number of requests to map, unmap and prefetch that
 * take effect all together or not at all. What every driver with VM_BIND
 * writes by hand: parse, plan, allocate, commit, unwind.
 *
 *	lock the VM
 *	drm_svm_bind_begin(bind, gpuvm, &ops, priv);
 *	for each request:
 *		drm_svm_bind_map() / _unmap() / _prefetch();
 *	drm_exec_until_all_locked(exec) {	(not in immediate mode)
 *		err = drm_svm_bind_lock(bind, exec, num_fences);
 *		drm_exec_retry_on_contention(exec);
 *	}
 *	drm_svm_bind_prepare(bind);
 *	drm_svm_bind_commit(bind);
 *	unlock
 *	write page-table entries, or let a job do it: drm_svm_bind_for_each_op()
 *	drm_svm_bind_finish(bind);
 *
 * If anything fails on the way to drm_svm_bind_commit(): drm_svm_bind_abort().
 *
 * Between the commit and drm_svm_bind_finish() the mappings that are gone are
 * still there for whoever writes the entries, and so are their objects. What a
 * step has made is the space's from the commit on: a later transaction may take
 * it away, and free it.
 *
 * @keep of a step is as of drm_svm_bind_prepare(), and looked at again in the
 * commit: entries that an eviction has taken meanwhile cannot stay. A map that
 * has merged with such a mapping has to write all of its entries.
 *
 * A request sees the space as it will be after the requests before it. The
 * space itself does not change before the commit, so whoever only looks at it
 * may do so under a weaker lock until then; nobody else may change it (an
 * insertion is -EBUSY). Nothing that allocates or fails is left for the commit:
 * in immediate mode it is legal in dma-fence signalling critical sections.
 *
 * A step (&struct drm_svm_bind_op) is one piece of memory, with room for the
 * driver's own data behind it (drm_svm_bind_op_priv()), as page tables that it
 * has to allocate beforehand. The first ones are in &struct drm_svm_bind.
 */

struct drm_svm_bind;

/**
 * struct drm_svm_bind_op - A step of a transaction
 * @core: the library's view
 * @base: the step, for drm_gpuva_for_each_op() and the like. @base.unmap.va
 *	(and of a remap, and of a prefetch) is the driver's own mapping from
 *	&drm_svm_bind_ops.prepare on, though perhaps not in the space yet, nor
 *	linked; before that it may be one that the library plans
 * @va: DRM_GPUVA_OP_MAP: the mapping that it makes, from prepare on
 * @prev: DRM_GPUVA_OP_REMAP: what is made of @base.remap.prev, from prepare on
 * @next: DRM_GPUVA_OP_REMAP: what is made of @base.remap.next, from prepare on
 * @vm_bo: DRM_GPUVA_OP_MAP with an object: from prepare to commit, which makes
 *	it that of @va
 * @addr: first unit of what was asked for; a map that has merged is wider
 * @range: how many
 * @tag: what the request was given
 * @request: its number, from 0
 * @__bo_state: the library's
 */
struct drm_svm_bind_op {
	union {
		struct dsvm_bind_op core;
		struct {
			struct drm_gpuva_op base;
			struct drm_gpuva *va;
			struct drm_gpuva *prev;
			struct drm_gpuva *next;
			struct drm_gpuvm_bo *vm_bo;
			u64 addr;
			u64 range;
			void *tag;
			u32 request;
			u32 __bo_state;
		};
	};
};

/**
 * struct drm_svm_bind_ops - What a driver does for a transaction
 */
struct drm_svm_bind_ops {
	/**
	 * @op_priv_size: Bytes of the driver's own in each step, zeroed;
	 * drm_svm_bind_op_priv().
	 */
	size_t op_priv_size;

	/**
	 * @va_alloc: Makes a zeroed mapping, for a driver that embeds it; @op
	 * is the step that needs it. Optional. May sleep.
	 *
	 * Return: the mapping, or NULL if there is no memory.
	 */
	struct drm_gpuva *(*va_alloc)(struct drm_svm_bind *bind,
				      struct drm_svm_bind_op *op);

	/**
	 * @va_free: Frees a mapping that @va_alloc made, for this transaction
	 * or an earlier one. Optional; without the two a mapping comes from
	 * kzalloc(), and one that is taken out by hand goes with kfree().
	 */
	void (*va_free)(struct drm_svm_bind *bind, struct drm_gpuva *va);

	/**
	 * @can_merge: Whether a mapping and a request beside it may become one
	 * mapping. They show the same object contiguously, with equal flags.
	 * The mapping is @va, or a part of it; or @va is NULL, and it is what
	 * the step @maker is going to make, or a part of that. Optional: without
	 * it nothing merges. May not change the transaction.
	 *
	 * Return: whether they may.
	 */
	bool (*can_merge)(struct drm_svm_bind *bind, const struct drm_gpuva *va,
			  const struct drm_svm_bind_op *maker,
			  const struct drm_gpuva_op_map *req, void *tag);

	/**
	 * @prepare: Allocates what the step will need. For each step, in
	 * order. Optional. May sleep.
	 *
	 * Return: 0 or an error, which drm_svm_bind_prepare() returns.
	 */
	int (*prepare)(struct drm_svm_bind *bind, struct drm_svm_bind_op *op);

	/**
	 * @unprepare: Undoes a @prepare that returned 0: the step is not going
	 * to be committed. In reverse order. Optional.
	 */
	void (*unprepare)(struct drm_svm_bind *bind, struct drm_svm_bind_op *op);

	/**
	 * @commit: The space has changed as the step says; page-table entries
	 * may follow. For each step, in order. Optional. May not fail, nor
	 * allocate, nor change the space.
	 */
	void (*commit)(struct drm_svm_bind *bind, struct drm_svm_bind_op *op);

	/**
	 * @finish: Frees what @prepare allocated and nobody has taken; for
	 * each step of a committed transaction, in order. Optional. May sleep.
	 */
	void (*finish)(struct drm_svm_bind *bind, struct drm_svm_bind_op *op);
};

/* Room for four steps with 64 bytes of the driver's each. */
#define DRM_SVM_BIND_INLINE_SIZE (4 * (sizeof(struct drm_svm_bind_op) + 64))

/**
 * struct drm_svm_bind - A bind transaction
 * @core: the library's
 * @vm: the space, referenced while the transaction lasts
 * @driver: the driver's callbacks
 * @priv: the driver's own
 * @buffer: memory of the first steps
 *
 * Too large for a stack. Zeroed, or left by drm_svm_bind_abort() or
 * drm_svm_bind_finish(), before it is used.
 */
struct drm_svm_bind {
	struct dsvm_bind core;
	struct drm_gpuvm *vm;
	const struct drm_svm_bind_ops *driver;
	void *priv;
	u8 buffer[DRM_SVM_BIND_INLINE_SIZE] __aligned(8);
};

/* How a mapping is asked for: -EEXIST if anything is there. */
#define DRM_SVM_BIND_NOREPLACE DSVM_BIND_NOREPLACE
/* Merge with mappings beside it, of the same object, that can_merge lets. */
#define DRM_SVM_BIND_COALESCE DSVM_BIND_COALESCE

int drm_svm_bind_begin(struct drm_svm_bind *bind, struct drm_gpuvm *gpuvm,
		       const struct drm_svm_bind_ops *ops, void *priv);
int drm_svm_bind_map(struct drm_svm_bind *bind,
		     const struct drm_gpuvm_map_req *req, u32 how, void *tag);
int drm_svm_bind_unmap(struct drm_svm_bind *bind, u64 addr, u64 range, void *tag);
int drm_svm_bind_prefetch(struct drm_svm_bind *bind, u64 addr, u64 range, void *tag);
struct drm_svm_bind_op *
drm_svm_bind_driver_op(struct drm_svm_bind *bind, u64 addr, u64 range, void *tag);
#if IS_ENABLED(CONFIG_DRM_EXEC)
int drm_svm_bind_lock(struct drm_svm_bind *bind, struct drm_exec *exec,
		      unsigned int num_fences);
#endif
int drm_svm_bind_prepare(struct drm_svm_bind *bind);
void drm_svm_bind_commit(struct drm_svm_bind *bind);
void drm_svm_bind_abort(struct drm_svm_bind *bind);
void drm_svm_bind_finish(struct drm_svm_bind *bind);

/**
 * drm_svm_bind_op_priv() - The driver's own part of a step
 * @op: the step
 *
 * Return: &drm_svm_bind_ops.op_priv_size bytes.
 */
static inline void *drm_svm_bind_op_priv(struct drm_svm_bind_op *op)
{
	return op + 1;
}

/**
 * drm_svm_bind_steps() - How many steps the requests so far have come to
 * @bind: the transaction, or one that is over
 *
 * One request may come to a step for each mapping in its way. A driver that lets
 * user space queue many of them says where that ends.
 *
 * Return: the number.
 */
static inline size_t drm_svm_bind_steps(const struct drm_svm_bind *bind)
{
	return bind->core.steps;
}

/**
 * drm_svm_bind_for_each_op() - Walks the steps of a transaction
 * @op__: the cursor, a &struct drm_svm_bind_op
 * @bind__: the transaction
 */
#define drm_svm_bind_for_each_op(op__, bind__) \
	list_for_each_entry(op__, (struct list_head *)&(bind__)->core.ops, base.entry)

/**
 * struct drm_svm_remap_pieces - What of a cut mapping stays mapped, and what does not
 * @prev_addr: first unit that keeps its entries in front
 * @prev_range: how many; 0: none
 * @zap_addr: first unit that loses its entry
 * @zap_range: how many: what goes, and the rest of the blocks that it cuts
 * @next_addr: first unit that keeps its entries behind
 * @next_range: how many; 0: none
 */
struct drm_svm_remap_pieces {
	u64 prev_addr;
	u64 prev_range;
	u64 zap_addr;
	u64 zap_range;
	u64 next_addr;
	u64 next_range;
};

int drm_svm_gpuva_replace(struct drm_gpuvm *gpuvm, struct drm_gpuva *va,
			  struct drm_gpuva *prev, struct drm_gpuva *next,
			  void (*gone)(struct drm_gpuva *va, void *arg), void *arg);

void drm_svm_remap_pieces(const struct drm_gpuva_op_remap *op, u64 block,
			  struct drm_svm_remap_pieces *out);

#endif /* __DRM_SVM_H__ */
