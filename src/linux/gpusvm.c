// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * drm/drm_gpusvm.h: hands on to the core (drm_svm/svm.h).
 */
#include <linux/export.h>
#include <linux/lockdep.h>
#include <linux/sched/mm.h>
#include <linux/slab.h>

#include <drm/drm_device.h>
#include <drm/drm_gpusvm.h>
#include <drm/drm_pagemap.h>

#include "internal.h"

static struct drm_gpusvm *to_gpusvm(struct dsvm_svm *core)
{
	return container_of(core, struct drm_gpusvm, core);
}

/* An invalidation on its way through the core to the driver. */
struct invalidation {
	struct drm_gpusvm *gpusvm;
	struct drm_gpusvm_notifier *notifier;
	const struct mmu_notifier_range *mmu_range;
};

static void zap(void *arg)
{
	struct invalidation *event = arg;

	event->gpusvm->ops->invalidate(event->gpusvm, event->notifier, event->mmu_range);
}

static bool gpusvm_invalidate(struct mmu_interval_notifier *mni,
			      const struct mmu_notifier_range *mmu_range,
			      unsigned long cur_seq)
{
	struct drm_gpusvm_notifier *notifier =
		container_of(mni, struct drm_gpusvm_notifier, notifier);
	struct invalidation event = {
		.gpusvm = notifier->gpusvm,
		.notifier = notifier,
		.mmu_range = mmu_range,
	};

	return dsvm_svm_invalidate(&notifier->gpusvm->core, os_notifier(mni), cur_seq,
				   mmu_notifier_range_blockable(mmu_range), zap, &event);
}

static const struct mmu_interval_notifier_ops gpusvm_notifier_ops = {
	.invalidate = gpusvm_invalidate,
};

static void notifier_free(struct drm_gpusvm *gpusvm, struct drm_gpusvm_notifier *notifier)
{
	if (gpusvm->ops->notifier_free)
		gpusvm->ops->notifier_free(notifier);
	else
		kfree(notifier);
}

static int notifier_create(struct dsvm_svm *svm, dsvm_usize first, dsvm_usize last,
			   struct dsvm_notifier **out)
{
	struct drm_gpusvm *gpusvm = to_gpusvm(svm);
	struct drm_gpusvm_notifier *notifier;
	int ret;

	notifier = gpusvm->ops->notifier_alloc ? gpusvm->ops->notifier_alloc() :
		   kzalloc(sizeof(*notifier), GFP_KERNEL_ACCOUNT);
	if (!notifier)
		return -ENOMEM;

	notifier->gpusvm = gpusvm;
	notifier->itree.start = first;
	notifier->itree.last = last;
	notifier->root = RB_ROOT_CACHED;
	INIT_LIST_HEAD(&notifier->entry);
	INIT_LIST_HEAD(&notifier->range_list);

	ret = mmu_interval_notifier_insert(&notifier->notifier, gpusvm->mm, first,
					   last - first + 1, &gpusvm_notifier_ops);
	if (ret) {
		notifier_free(gpusvm, notifier);
		return ret;
	}

	*out = &notifier->core;
	return 0;
}

static struct drm_gpusvm_notifier *to_gpusvm_notifier(struct dsvm_notifier *core)
{
	return core ? container_of(core, struct drm_gpusvm_notifier, core) : NULL;
}

static struct dsvm_os_notifier *notifier_os(struct dsvm_notifier *core)
{
	return os_notifier(&to_gpusvm_notifier(core)->notifier);
}

static void notifier_destroy(struct dsvm_svm *svm, struct dsvm_notifier *core)
{
	struct drm_gpusvm_notifier *notifier = to_gpusvm_notifier(core);

	if (!notifier->flags.removed)
		mmu_interval_notifier_remove(&notifier->notifier);
	notifier_free(to_gpusvm(svm), notifier);
}

static struct drm_gpusvm_range *to_gpusvm_range(struct dsvm_range *core)
{
	return core ? container_of(core, struct drm_gpusvm_range, core) : NULL;
}

static int range_create(struct dsvm_svm *svm, struct dsvm_notifier *notifier,
			dsvm_usize first, dsvm_usize last, dsvm_u16 flags,
			struct dsvm_range **out)
{
	struct drm_gpusvm *gpusvm = to_gpusvm(svm);
	struct drm_gpusvm_range *range;

	range = gpusvm->ops->range_alloc ? gpusvm->ops->range_alloc(gpusvm) :
		kzalloc(sizeof(*range), GFP_KERNEL_ACCOUNT);
	if (!range)
		return -ENOMEM;

	kref_init(&range->refcount);
	range->gpusvm = gpusvm;
	range->notifier = to_gpusvm_notifier(notifier);
	range->itree.start = first;
	range->itree.last = last;
	range->flags.__flags = flags;
	INIT_LIST_HEAD(&range->entry);
	*out = &range->core;
	return 0;
}

static void range_put(struct dsvm_svm *svm, struct dsvm_range *range)
{
	drm_gpusvm_range_put(to_gpusvm_range(range));
}

static const struct dsvm_svm_ops gpusvm_core_ops = {
	.notifier_create = notifier_create,
	.notifier_os = notifier_os,
	.notifier_destroy = notifier_destroy,
	.range_create = range_create,
	.range_put = range_put,
};

static int check_init(struct mm_struct *mm, unsigned long mm_range, unsigned long notifier_size,
		      const struct drm_gpusvm_ops *ops, const unsigned long *chunk_sizes,
		      int num_chunks)
{
	bool complete = mm ? ops && ops->invalidate && chunk_sizes :
			     !ops && !num_chunks && !mm_range && !notifier_size;

	return complete ? 0 : -EINVAL;
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
 * Return: 0; -EINVAL: a parameter is not as described.
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

	/* The core knows the flags as masks. */
	BUILD_BUG_ON(((struct drm_gpusvm_range_flags) { .migrate_devmem = 1 }).__flags !=
		     DSVM_RANGE_MIGRATE_DEVMEM);
	BUILD_BUG_ON(((struct drm_gpusvm_range_flags) { .unmapped = 1 }).__flags !=
		     DSVM_RANGE_UNMAPPED);
	BUILD_BUG_ON(((struct drm_gpusvm_range_flags) { .partial_unmap = 1 }).__flags !=
		     DSVM_RANGE_PARTIAL_UNMAP);
	BUILD_BUG_ON(((struct drm_gpusvm_pages_flags) { .unmapped = 1 }).__flags !=
		     DSVM_PAGES_UNMAPPED);
	BUILD_BUG_ON(((struct drm_gpusvm_pages_flags) { .has_devmem_pages = 1 }).__flags !=
		     DSVM_PAGES_DEVMEM);
	BUILD_BUG_ON(((struct drm_gpusvm_pages_flags) { .has_dma_mapping = 1 }).__flags !=
		     DSVM_PAGES_DMA_MAPPED);

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
	gpusvm->core.ops = &gpusvm_core_ops;
	init_rwsem(&gpusvm->notifier_lock);
#ifdef CONFIG_LOCKDEP
	gpusvm->lock_dep_map = NULL;
#endif

	ret = dsvm_svm_init(&gpusvm->core);
	if (ret)
		return ret;

	/* Reclaim takes this lock inside mmu notifiers: let lockdep know at once. */
	fs_reclaim_acquire(GFP_KERNEL);
	might_lock(&gpusvm->notifier_lock);
	fs_reclaim_release(GFP_KERNEL);

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
 * Context: The driver's lock. May sleep.
 */
void drm_gpusvm_fini(struct drm_gpusvm *gpusvm)
{
	dsvm_svm_fini(&gpusvm->core);
	if (gpusvm->mm)
		mmdrop(gpusvm->mm);
}
EXPORT_SYMBOL_GPL(drm_gpusvm_fini);

static void assert_driver_lock(struct drm_gpusvm *gpusvm)
{
#ifdef CONFIG_LOCKDEP
	if (gpusvm->lock_dep_map)
		lockdep_assert(lock_is_held_type(gpusvm->lock_dep_map, 0));
#endif
}

/* One of the two locks that let one walk the trees. */
static void assert_tree_lock(struct drm_gpusvm *gpusvm)
{
#ifdef CONFIG_LOCKDEP
	if (gpusvm->lock_dep_map)
		lockdep_assert(lock_is_held_type(gpusvm->lock_dep_map, 0) ||
			       lockdep_is_held(&gpusvm->notifier_lock));
#endif
}

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

/**
 * drm_gpusvm_range_find_or_insert() - The range at a faulting address
 * @gpusvm: the GPU SVM
 * @fault_addr: the address
 * @gpuva_start: a new range begins here at the earliest
 * @gpuva_end: and ends before this address
 * @ctx: how the fault is meant
 *
 * Context: The driver's lock. Takes the mmap_lock for reading, for a first
 * fault in a process for writing; sleeps.
 *
 * Return: the range, without a reference for the caller. Or an ERR_PTR():
 * -EINVAL: outside of what is mirrored, or no chunk fits; -EFAULT: the address
 * space has gone; -ENOENT: no memory there; -EPERM: write to read-only memory;
 * -EIO: memory without pages (VM_IO, VM_PFNMAP); -ENOMEM; -EINTR: a signal came
 * at the first fault in a process. A failed call leaves nothing behind.
 */
struct drm_gpusvm_range *
drm_gpusvm_range_find_or_insert(struct drm_gpusvm *gpusvm,
				unsigned long fault_addr,
				unsigned long gpuva_start,
				unsigned long gpuva_end,
				const struct drm_gpusvm_ctx *ctx)
{
	struct dsvm_find_or_insert request = {
		.fault_addr = fault_addr,
		.gpuva_first = gpuva_start,
		.gpuva_last = gpuva_end - 1,
		.check_pages_threshold = ctx->check_pages_threshold,
		.owner = ctx->device_private_page_owner,
		.write = !ctx->read_only,
		.devmem_possible = ctx->devmem_possible,
	};
	struct dsvm_range *range = NULL;
	int ret;

	assert_driver_lock(gpusvm);
	ret = dsvm_svm_find_or_insert(&gpusvm->core, &request, &range);
	return ret ? ERR_PTR(ret) : to_gpusvm_range(range);
}
EXPORT_SYMBOL_GPL(drm_gpusvm_range_find_or_insert);

/**
 * drm_gpusvm_range_remove() - Takes a range out
 * @gpusvm: the GPU SVM
 * @range: the range, whose pages the driver has unmapped
 *
 * Drops the reference that it was made with. A window goes with its last
 * range.
 *
 * Context: The driver's lock. Takes the notifier lock; sleeps.
 */
void drm_gpusvm_range_remove(struct drm_gpusvm *gpusvm,
			     struct drm_gpusvm_range *range)
{
	assert_driver_lock(gpusvm);
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
 * Return: 0; -ETIME: pages could not be had within a second; -EFAULT: the address space or the memory has gone;
 * -ENOMEM; -EINTR: the caller is being killed.
 */
int drm_gpusvm_range_evict(struct drm_gpusvm *gpusvm,
			   struct drm_gpusvm_range *range)
{
	return dsvm_svm_range_evict(&gpusvm->core, os_notifier(&range->notifier->notifier),
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

/**
 * drm_gpusvm_pages_valid() - Whether pages are mapped for their device now
 * @gpusvm: the GPU SVM
 * @svm_pages: the pages
 *
 * Context: The notifier lock; what it says is true until that is dropped.
 *
 * Return: true if they are.
 */
bool drm_gpusvm_pages_valid(struct drm_gpusvm *gpusvm,
			    struct drm_gpusvm_pages *svm_pages)
{
	lockdep_assert_held(&gpusvm->notifier_lock);
	return dsvm_svm_pages_valid(&svm_pages->core);
}
EXPORT_SYMBOL_GPL(drm_gpusvm_pages_valid);

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
	assert_tree_lock(gpusvm);
	return to_gpusvm_notifier(dsvm_svm_notifier_find(&gpusvm->core, start, end - 1));
}
EXPORT_SYMBOL_GPL(drm_gpusvm_notifier_find);

/**
 * drm_gpusvm_range_find() - The first range of a window in a span
 * @notifier: the window
 * @start: first byte
 * @end: first byte after the span
 *
 * Context: The driver's lock or the notifier lock.
 *
 * Return: the range, or NULL.
 */
struct drm_gpusvm_range *
drm_gpusvm_range_find(struct drm_gpusvm_notifier *notifier, unsigned long start,
		      unsigned long end)
{
	assert_tree_lock(notifier->gpusvm);
	return to_gpusvm_range(dsvm_svm_range_find(&notifier->core, start, end - 1));
}
EXPORT_SYMBOL_GPL(drm_gpusvm_range_find);

/**
 * drm_gpusvm_has_mapping() - Whether a span has any range
 * @gpusvm: the GPU SVM
 * @start: first byte
 * @end: first byte after the span
 *
 * Context: The driver's lock or the notifier lock.
 *
 * Return: true if it has.
 */
bool drm_gpusvm_has_mapping(struct drm_gpusvm *gpusvm, unsigned long start,
			    unsigned long end)
{
	assert_tree_lock(gpusvm);
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
 * Context: &drm_gpusvm_ops.invalidate, under the notifier lock for writing.
 */
void drm_gpusvm_range_set_unmapped(struct drm_gpusvm_range *range,
				   struct drm_gpusvm_pages *pages,
				   unsigned int pages_count,
				   const struct mmu_notifier_range *mmu_range)
{
	unsigned int i;

	for (i = 0; i < pages_count; i++)
		dsvm_svm_pages_set_unmapped(&range->gpusvm->core, &pages[i].core);
	dsvm_svm_range_set_unmapped(&range->gpusvm->core, &range->core, mmu_range->start,
				    mmu_range->end - 1);
}
EXPORT_SYMBOL_GPL(drm_gpusvm_range_set_unmapped);

/**
 * drm_gpusvm_get_pages() - Collects pages and maps them for their device
 * @gpusvm: the GPU SVM
 * @svm_pages: where the result goes
 * @mm: the address space
 * @notifier: a notifier that covers the span
 * @pages_start: first byte, page aligned
 * @pages_end: first byte after the span, page aligned
 * @ctx: how it is meant
 *
 * Faults the pages in as the access needs it: for writing unless
 * @ctx->read_only. Does nothing if they are mapped already, for this access
 * or a wider one; until that mapping is gone the span has to be the same. If
 * they are mapped for reading and are wanted for writing, the old mapping goes
 * when the new one is there, so the driver has zapped its page-table entries
 * before; a failure leaves the old mapping.
 *
 * The mapping may be invalid again on return: check with
 * drm_gpusvm_pages_valid() under the notifier lock, and begin again if so.
 *
 * Context: The driver's lock for @svm_pages. Takes the mmap_lock and the
 * notifier lock, both for reading; sleeps.
 *
 * Return: 0; -EINVAL: not aligned, or @svm_pages not set up; -EBUSY: taken
 * away again and again for a second; -EFAULT: no memory there any more, RAM
 * with @ctx->devmem_only, or not to be mapped for the device; -EPERM: write to
 * read-only memory; -EOPNOTSUPP: a mix that @ctx does not allow, or pages that
 * DMA does not reach; -ENOMEM; -EINTR: the caller is being killed.
 */
int drm_gpusvm_get_pages(struct drm_gpusvm *gpusvm,
			 struct drm_gpusvm_pages *svm_pages,
			 struct mm_struct *mm,
			 struct mmu_interval_notifier *notifier,
			 unsigned long pages_start, unsigned long pages_end,
			 const struct drm_gpusvm_ctx *ctx)
{
	struct dsvm_get_pages request = {
		.lock = os_rwsem(&gpusvm->notifier_lock),
		.mm = os_mm(mm),
		.notifier = os_notifier(notifier),
		.first = pages_start,
		.last = pages_end - 1,
		.owner = ctx->device_private_page_owner,
		.write = !ctx->read_only,
		.devmem_only = ctx->devmem_only,
		.allow_mixed = ctx->allow_mixed,
	};

	if (!svm_pages->drm)
		return -EINVAL;

	request.dev = os_dev(svm_pages->drm->dev);
	return dsvm_svm_get_pages(&svm_pages->core, &request);
}
EXPORT_SYMBOL_GPL(drm_gpusvm_get_pages);

/**
 * drm_gpusvm_unmap_pages() - Unmaps pages from their device
 * @gpusvm: the GPU SVM
 * @svm_pages: the pages; nothing happens if they are not mapped
 * @npages: how many pages the span has
 * @ctx: in_notifier says that the notifier lock is held for writing
 *
 * Context: &drm_gpusvm_ops.invalidate with @ctx->in_notifier; else takes the
 * notifier lock for reading, under the driver's lock.
 */
void drm_gpusvm_unmap_pages(struct drm_gpusvm *gpusvm,
			    struct drm_gpusvm_pages *svm_pages,
			    unsigned long npages,
			    const struct drm_gpusvm_ctx *ctx)
{
	if (!svm_pages->drm)
		return;

	if (ctx->in_notifier)
		lockdep_assert_held_write(&gpusvm->notifier_lock);
	else
		drm_gpusvm_notifier_lock(gpusvm);

	dsvm_svm_unmap_pages(&svm_pages->core, os_rwsem(&gpusvm->notifier_lock),
			     os_dev(svm_pages->drm->dev), npages);

	if (!ctx->in_notifier)
		drm_gpusvm_notifier_unlock(gpusvm);
}
EXPORT_SYMBOL_GPL(drm_gpusvm_unmap_pages);

/**
 * drm_gpusvm_free_pages() - Unmaps pages and frees what is known of them
 * @gpusvm: the GPU SVM
 * @svm_pages: the pages
 * @npages: how many pages the span has
 *
 * Context: The driver's lock. Takes the notifier lock for reading; may sleep.
 */
void drm_gpusvm_free_pages(struct drm_gpusvm *gpusvm,
			   struct drm_gpusvm_pages *svm_pages,
			   unsigned long npages)
{
	if (!svm_pages->drm)
		return;

	dsvm_svm_free_pages(&svm_pages->core, os_rwsem(&gpusvm->notifier_lock),
			    os_dev(svm_pages->drm->dev), npages);
}
EXPORT_SYMBOL_GPL(drm_gpusvm_free_pages);
