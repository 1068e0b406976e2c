// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * drm/drm_gpusvm.h: the mirror and its ranges. Hands on to the core
 * (drm_svm/svm.h).
 */
#include <linux/build_bug.h>
#include <linux/export.h>
#include <linux/lockdep.h>
#include <linux/sched/mm.h>
#include <linux/slab.h>

#include <drm/drm_device.h>
#include <drm/drm_gpusvm.h>

#include "compat/mmu_notifier_compat.h"
#include "gpusvm_internal.h"
#include "trace.h"

static struct dsvm_range *range_create(struct dsvm_svm *svm, struct dsvm_notifier *notifier,
				       dsvm_usize first, dsvm_usize last, dsvm_u16 flags)
{
	struct drm_gpusvm *gpusvm = to_gpusvm(svm);
	struct drm_gpusvm_range *range;

	range = gpusvm->ops->range_alloc ? gpusvm->ops->range_alloc(gpusvm) :
		kzalloc(sizeof(*range), GFP_KERNEL_ACCOUNT);
	if (!range)
		return NULL;

	kref_init(&range->refcount);
	mutex_init(&range->lock);
	range->gpusvm = gpusvm;
	range->notifier = container_of(notifier, struct drm_gpusvm_notifier, core);
	range->itree.start = first;
	range->itree.last = last;
	range->flags.__flags = flags;
	compat_init_stand_in(&range->validity, gpusvm->mm);
	trace_gpusvm_range_make(range);
	return &range->core;
}

static void range_get(struct dsvm_svm *svm, struct dsvm_range *range)
{
	drm_gpusvm_range_get(to_gpusvm_range(range));
}

static void range_put(struct dsvm_svm *svm, struct dsvm_range *range)
{
	drm_gpusvm_range_put(to_gpusvm_range(range));
}

/* As drm_svm_range_lock_killable(). */
static int range_lock(struct dsvm_svm *svm, struct dsvm_range *core)
{
	return mutex_lock_killable(&to_gpusvm_range(core)->lock) ? -EINTR : 0;
}

static void range_unlock(struct dsvm_svm *svm, struct dsvm_range *core)
{
	mutex_unlock(&to_gpusvm_range(core)->lock);
}

static struct dsvm_pages *range_pages(struct dsvm_range *core, dsvm_u32 index,
				      struct dsvm_os_dev **dev)
{
	struct drm_gpusvm_range *range = to_gpusvm_range(core);
	struct drm_gpusvm_pages *pages;
	unsigned int count = 0;

	pages = range->gpusvm->ops->range_pages(range, &count);
	if (index >= count)
		return NULL;

	*dev = pages[index].drm ? os_dev(pages[index].drm->dev) : NULL;
	return &pages[index].core;
}

static void range_split(struct dsvm_range *core, struct dsvm_range *core_tail)
{
	struct drm_gpusvm_range *range = to_gpusvm_range(core);
	struct drm_gpusvm_range *tail = to_gpusvm_range(core_tail);

	trace_gpusvm_range_trim(range, tail);
	if (range->gpusvm->ops->range_split)
		range->gpusvm->ops->range_split(range, tail);
}

/* The stand-in for a notifier lies over the range, so it is where that is. */
static const struct dsvm_svm_ops core_ops = {
	.notifier_create = dsvm_window_create,
	.notifier_destroy = dsvm_window_destroy,
	.range_create = range_create,
	.range_get = range_get,
	.range_put = range_put,
	.range_lock = range_lock,
	.range_unlock = range_unlock,
};

/* For drivers that let ranges be trimmed. */
static const struct dsvm_svm_ops core_trim_ops = {
	.notifier_create = dsvm_window_create,
	.notifier_destroy = dsvm_window_destroy,
	.range_create = range_create,
	.range_get = range_get,
	.range_put = range_put,
	.range_lock = range_lock,
	.range_unlock = range_unlock,
	.range_pages = range_pages,
	.range_split = range_split,
};

static bool ops_are_complete(const struct drm_gpusvm_ops *ops)
{
	if (!ops || ops->features & ~DRM_SVM_WINDOW_LOCKS)
		return false;
	/* Else a driver may free pages when their window's lock has gone. */
	if (ops->features & DRM_SVM_WINDOW_LOCKS && !ops->range_pages)
		return false;
	if (ops->invalidate_start)
		return ops->invalidate_finish && ops->range_pages;
	return ops->invalidate;
}

static int check_init(struct mm_struct *mm, unsigned long mm_range, unsigned long notifier_size,
		      const struct drm_gpusvm_ops *ops, const unsigned long *chunk_sizes,
		      int num_chunks)
{
	bool complete = mm ? ops_are_complete(ops) && chunk_sizes :
			     !ops && !num_chunks && !mm_range && !notifier_size;

	return complete ? 0 : -EINVAL;
}

/* The core knows the flags as masks. */
static void check_flags(void)
{
#define SAME_FLAG(flags, field, mask)					\
	BUILD_BUG_ON(((struct flags) { .field = 1 }).__flags != (mask))

	SAME_FLAG(drm_gpusvm_range_flags, migrate_devmem, DSVM_RANGE_MIGRATE_DEVMEM);
	SAME_FLAG(drm_gpusvm_range_flags, unmapped, DSVM_RANGE_UNMAPPED);
	SAME_FLAG(drm_gpusvm_range_flags, partial_unmap, DSVM_RANGE_PARTIAL_UNMAP);
	SAME_FLAG(drm_gpusvm_range_flags, removed, DSVM_RANGE_REMOVED);
	SAME_FLAG(drm_gpusvm_pages_flags, unmapped, DSVM_PAGES_UNMAPPED);
	SAME_FLAG(drm_gpusvm_pages_flags, has_devmem_pages, DSVM_PAGES_DEVMEM);
	SAME_FLAG(drm_gpusvm_pages_flags, has_dma_mapping, DSVM_PAGES_DMA_MAPPED);
	SAME_FLAG(drm_gpusvm_pages_flags, stale, DSVM_PAGES_STALE);
	SAME_FLAG(drm_gpusvm_pages_flags, writable, DSVM_PAGES_WRITABLE);
	SAME_FLAG(drm_gpusvm_pages_flags, unmaps, DSVM_PAGES_UNMAPS);
}

/**
 * drm_gpusvm_init() - Sets up the mirror of an address space
 * @gpusvm: the GPU SVM, embedded in the driver's VM
 * @name: for messages; has to stay
 * @mm: the address space, or NULL for the pages API alone (userptr), with all
 *	that follows 0 or NULL
 * @mm_start: first byte that may be mirrored
 * @mm_range: how many bytes may be mirrored
 * @notifier_size: bytes in a window, a power of two; 512 MiB and more keep the
 *	number of mmu notifiers small
 * @ops: the driver's callbacks; has to stay
 * @chunk_sizes: bytes in a range, powers of two in descending order, none
 *	larger than a window; has to stay
 * @num_chunks: how many
 *
 * Context: May sleep.
 *
 * Return: 0; -EINVAL: a parameter is not as described, or an operation is
 * missing that &struct drm_gpusvm_ops requires.
 */
int drm_gpusvm_init(struct drm_gpusvm *gpusvm,
		    const char *name,
		    struct mm_struct *mm,
		    unsigned long mm_start, unsigned long mm_range,
		    unsigned long notifier_size,
		    const struct drm_gpusvm_ops *ops,
		    const unsigned long *chunk_sizes, int num_chunks)
{
	int ret = check_init(mm, mm_range, notifier_size, ops, chunk_sizes, num_chunks);

	check_flags();
	if (ret)
		return ret;

	gpusvm->name = name;
	gpusvm->ops = ops;
	gpusvm->mm = mm;
	gpusvm->mm_start = mm_start;
	gpusvm->mm_range = mm_range;
	gpusvm->notifier_size = notifier_size;
	gpusvm->chunk_sizes = chunk_sizes;
	gpusvm->num_chunks = num_chunks;
	gpusvm->core.lock = os_rwsem(&gpusvm->notifier_lock);
	gpusvm->core.ops = ops && ops->range_pages ? &core_trim_ops : &core_ops;
	init_rwsem(&gpusvm->notifier_lock);
#ifdef CONFIG_LOCKDEP
	gpusvm->lock_dep_map = NULL;
#endif

	ret = dsvm_svm_init(&gpusvm->core);
	if (ret)
		return ret;

	dsvm_taint_by_reclaim(&gpusvm->notifier_lock);
	if (mm)
		mmgrab(mm);
	return 0;
}
EXPORT_SYMBOL_GPL(drm_gpusvm_init);

/**
 * drm_gpusvm_fini() - Ends the mirror
 * @gpusvm: the GPU SVM
 *
 * Removes what ranges there are; the driver has unmapped their pages.
 *
 * Context: Nobody else uses @gpusvm. May sleep.
 */
void drm_gpusvm_fini(struct drm_gpusvm *gpusvm)
{
	dsvm_svm_fini(&gpusvm->core);
	if (gpusvm->mm)
		mmdrop(gpusvm->mm);
}
EXPORT_SYMBOL_GPL(drm_gpusvm_fini);

/**
 * drm_gpusvm_find_vma_start() - Finds memory in a span
 * @gpusvm: the GPU SVM
 * @start: first byte
 * @end: first byte after the span
 *
 * Context: Takes the mmap_lock for reading.
 *
 * Return: where the first VMA that reaches into the span starts, which may be
 * before @start; ULONG_MAX if there is none or the address space has gone.
 */
unsigned long
drm_gpusvm_find_vma_start(struct drm_gpusvm *gpusvm,
			  unsigned long start,
			  unsigned long end)
{
	return dsvm_svm_find_vma_start(&gpusvm->core, start, end - 1);
}
EXPORT_SYMBOL_GPL(drm_gpusvm_find_vma_start);

static bool __maybe_unused driver_lock_held(const struct drm_gpusvm *gpusvm)
{
#ifdef CONFIG_LOCKDEP
	if (gpusvm->lock_dep_map)
		return lock_is_held_type(gpusvm->lock_dep_map, 0);
	/* It has one that it does not name, or none at all. */
	return !has_window_locks(gpusvm);
#else
	return true;
#endif
}

void dsvm_assert_range_lock(struct drm_gpusvm_range *range)
{
	lockdep_assert(driver_lock_held(range->gpusvm) || lockdep_is_held(&range->lock));
}

static __always_inline struct drm_gpusvm_range *
find_or_insert_quietly(struct drm_gpusvm *gpusvm, const struct dsvm_find_or_insert *request)
{
	struct dsvm_range *core DSVM_UNSET;
	int ret;

	if (request->get)
		ret = dsvm_svm_acquire(&gpusvm->core, request, &core);
	else
		ret = dsvm_svm_find_or_insert(&gpusvm->core, request, &core);
	return ret ? ERR_PTR(ret) : container_of(core, struct drm_gpusvm_range, core);
}

static noinline struct drm_gpusvm_range *
find_or_insert_traced(struct drm_gpusvm *gpusvm, const struct dsvm_find_or_insert *request)
{
	struct drm_gpusvm_range *range = find_or_insert_quietly(gpusvm, request);

	trace_gpusvm_fault(gpusvm, request, range);
	return range;
}

/* Without a trace there is nothing to be kept until the core is done. */
static __always_inline struct drm_gpusvm_range *
find_or_insert(struct drm_gpusvm *gpusvm, const struct dsvm_find_or_insert *request)
{
	if (trace_gpusvm_fault_enabled())
		return find_or_insert_traced(gpusvm, request);
	return find_or_insert_quietly(gpusvm, request);
}

/* @acquire is known when this is compiled. */
static __always_inline struct drm_gpusvm_range *
range_at(struct drm_gpusvm *gpusvm, unsigned long fault_addr, unsigned long gpuva_start,
	 unsigned long gpuva_end, const struct drm_gpusvm_ctx *ctx, bool acquire)
{
	const int access = access_asked(ctx);
	const struct dsvm_find_or_insert request DSVM_UNSET = {
		.fault_addr = fault_addr,
		.gpuva_first = gpuva_start,
		.gpuva_last = gpuva_end - 1,
		.check_pages_threshold = ctx->check_pages_threshold,
		.owner = ctx->device_private_page_owner,
		.write = access == DSVM_ACCESS_WRITE,
		.devmem_possible = ctx->devmem_possible,
		.get = acquire,
	};

	return access < 0 ? ERR_PTR(access) : find_or_insert(gpusvm, &request);
}

struct drm_gpusvm_range *dsvm_range_acquire(struct drm_gpusvm *gpusvm, unsigned long fault_addr,
					    unsigned long gpuva_start, unsigned long gpuva_end,
					    const struct drm_gpusvm_ctx *ctx)
{
	return range_at(gpusvm, fault_addr, gpuva_start, gpuva_end, ctx, true);
}

/**
 * drm_gpusvm_range_find_or_insert() - The range at a faulting address
 * @gpusvm: the GPU SVM
 * @fault_addr: the address
 * @gpuva_start: a new range begins here at the earliest
 * @gpuva_end: and ends before this address
 * @ctx: how the fault is meant
 *
 * A range that is there already is found without a look at the memory, which may
 * have changed: drm_gpusvm_get_pages() tells.
 *
 * Context: The driver's lock. To make a range, takes the mmap_lock for reading,
 * for a first fault in a process for writing; sleeps.
 *
 * Return: the range, without a reference for the caller. Or an ERR_PTR():
 * -EINVAL: outside of what is mirrored, or no chunk fits; where there is no
 * range yet, -EFAULT: the address space has gone; -ENOENT: no memory there;
 * -EPERM: write to read-only memory; -EIO: memory without pages (VM_IO,
 * VM_PFNMAP); -ENOMEM; -EBUSY: for a second others, who do not hold the
 * driver's lock, were faster; -EINTR: the caller is being killed, or a signal
 * came at the first fault in a process. And -EPERM: write with
 * &drm_gpusvm_ctx.read_only. A failed call leaves nothing behind.
 */
struct drm_gpusvm_range *
drm_gpusvm_range_find_or_insert(struct drm_gpusvm *gpusvm,
				unsigned long fault_addr,
				unsigned long gpuva_start,
				unsigned long gpuva_end,
				const struct drm_gpusvm_ctx *ctx)
{
	lockdep_assert(driver_lock_held(gpusvm));
	return range_at(gpusvm, fault_addr, gpuva_start, gpuva_end, ctx, false);
}
EXPORT_SYMBOL_GPL(drm_gpusvm_range_find_or_insert);

/**
 * drm_gpusvm_range_remove() - Takes a range out
 * @gpusvm: the GPU SVM
 * @range: the range, whose pages the driver has unmapped
 *
 * Frees its pages if the driver has &drm_gpusvm_ops.range_pages, and drops the
 * reference that it was made with. A window goes with its last range. Once for
 * each range.
 *
 * Context: The driver's lock, or that of the range. Takes the notifier lock
 * and the window's; sleeps.
 */
void drm_gpusvm_range_remove(struct drm_gpusvm *gpusvm,
			     struct drm_gpusvm_range *range)
{
	dsvm_assert_range_lock(range);
	if (WARN_ONCE(range_is_removed(range), "drm_svm: a range is removed twice\n"))
		return;

	trace_gpusvm_range_remove(range);
	dsvm_svm_range_remove(&gpusvm->core, &range->notifier->core, &range->core);
}
EXPORT_SYMBOL_GPL(drm_gpusvm_range_remove);

/**
 * drm_gpusvm_range_evict() - Brings a range's pages back to RAM
 * @gpusvm: the GPU SVM
 * @range: the range
 *
 * Through the CPU's page tables, page by page as the CPU would fault them in.
 *
 * Pages whose timeslice on the device is not over are waited for.
 *
 * Context: Takes the mmap_lock for reading; sleeps. No notifier lock.
 *
 * Return: 0; -ETIME: pages could not be had within a second; -EFAULT: the
 * address space or the memory has gone; -ENOMEM; -EINTR: the caller is being
 * killed.
 */
int drm_gpusvm_range_evict(struct drm_gpusvm *gpusvm,
			   struct drm_gpusvm_range *range)
{
	return dsvm_svm_range_evict(&gpusvm->core, os_notifier(&range->validity),
				    &range->core);
}
EXPORT_SYMBOL_GPL(drm_gpusvm_range_evict);

/**
 * drm_gpusvm_range_get() - Takes a reference to a range
 * @range: the range
 *
 * Context: Any.
 *
 * Return: @range.
 */
struct drm_gpusvm_range *
drm_gpusvm_range_get(struct drm_gpusvm_range *range)
{
	kref_get(&range->refcount);
	return range;
}
EXPORT_SYMBOL_GPL(drm_gpusvm_range_get);

static void range_release(struct kref *ref)
{
	struct drm_gpusvm_range *range = container_of(ref, struct drm_gpusvm_range, refcount);

	trace_gpusvm_range_free(range);
	mutex_destroy(&range->lock);
	if (range->gpusvm->ops->range_free)
		range->gpusvm->ops->range_free(range);
	else
		kfree(range);
}

/**
 * drm_gpusvm_range_put() - Drops a reference to a range
 * @range: the range
 *
 * Context: That of &drm_gpusvm_ops.range_free.
 */
void drm_gpusvm_range_put(struct drm_gpusvm_range *range)
{
	kref_put(&range->refcount, range_release);
}
EXPORT_SYMBOL_GPL(drm_gpusvm_range_put);

/* One of the two locks that let one walk a tree. */
static void assert_tree_lock(const struct drm_gpusvm *gpusvm, const struct rw_semaphore *lock)
{
	lockdep_assert(driver_lock_held(gpusvm) || lockdep_is_held(lock));
}

/**
 * drm_gpusvm_notifier_find() - The first window in a span
 * @gpusvm: the GPU SVM
 * @start: first byte
 * @end: first byte after the span
 *
 * Context: The driver's lock or the notifier lock.
 *
 * Return: the window, or NULL.
 */
struct drm_gpusvm_notifier *
drm_gpusvm_notifier_find(struct drm_gpusvm *gpusvm, unsigned long start,
			 unsigned long end)
{
	assert_tree_lock(gpusvm, &gpusvm->notifier_lock);
	return to_gpusvm_notifier(dsvm_svm_notifier_find(&gpusvm->core, start, end - 1));
}
EXPORT_SYMBOL_GPL(drm_gpusvm_notifier_find);

/**
 * drm_gpusvm_range_find() - The first range of a window in a span
 * @notifier: the window
 * @start: first byte
 * @end: first byte after the span
 *
 * Context: The driver's lock or the window's.
 *
 * Return: the range, or NULL.
 */
struct drm_gpusvm_range *
drm_gpusvm_range_find(struct drm_gpusvm_notifier *notifier, unsigned long start,
		      unsigned long end)
{
	assert_tree_lock(notifier->gpusvm, window_lock(notifier));
	return to_gpusvm_range(dsvm_svm_range_find(&notifier->core, start, end - 1));
}
EXPORT_SYMBOL_GPL(drm_gpusvm_range_find);

/**
 * drm_gpusvm_has_mapping() - Whether a span has any range
 * @gpusvm: the GPU SVM
 * @start: first byte
 * @end: first byte after the span
 *
 * Context: The driver's lock or the notifier lock. Takes the locks of windows
 * that have one of their own.
 *
 * Return: true if it has.
 */
bool drm_gpusvm_has_mapping(struct drm_gpusvm *gpusvm, unsigned long start,
			    unsigned long end)
{
	assert_tree_lock(gpusvm, &gpusvm->notifier_lock);
	return dsvm_svm_has_range(&gpusvm->core, start, end - 1);
}
EXPORT_SYMBOL_GPL(drm_gpusvm_has_mapping);

/**
 * drm_gpusvm_range_set_unmapped() - Notes that the CPU's mapping has gone
 * @range: the range
 * @pages: the range's pages, one for each device
 * @pages_count: how many
 * @mmu_range: the event
 *
 * The range cannot be used any more and has to be removed.
 *
 * Context: &drm_gpusvm_ops.invalidate, under the window's lock for writing.
 */
void drm_gpusvm_range_set_unmapped(struct drm_gpusvm_range *range,
				   struct drm_gpusvm_pages *pages,
				   unsigned int pages_count,
				   const struct mmu_notifier_range *mmu_range)
{
	unsigned int i;

	lockdep_assert_held_write(window_lock(range->notifier));
	for (i = 0; i < pages_count; i++)
		dsvm_svm_pages_set_unmapped(&range->gpusvm->core, &pages[i].core);
	dsvm_svm_range_set_unmapped(&range->gpusvm->core, &range->core, mmu_range->start,
				    mmu_range->end - 1);
}
EXPORT_SYMBOL_GPL(drm_gpusvm_range_set_unmapped);
