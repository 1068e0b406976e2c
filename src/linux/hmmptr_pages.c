// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * drm/drm_svm_hmmptr.h: the pages of a hmmptr. Hands on to the core (drm_svm/hmmptr.h).
 */
#include <linux/export.h>
#include <linux/ktime.h>
#include <linux/lockdep.h>
#include <linux/minmax.h>

#include <drm/drm_svm_hmmptr.h>

#include "hmmptr_internal.h"
#include "trace.h"

static enum dsvm_access access_of(bool write)
{
	return write ? DSVM_ACCESS_WRITE : DSVM_ACCESS_READ;
}

/**
 * drm_svm_hmmptr_populate() - Brings pages in, and finds out which they are
 * @hmmptr: the hmmptr
 * @start: first byte, page aligned
 * @end: first byte after the span, page aligned
 * @write: the GPU is to write there
 *
 * Faults in what is not there, as the access needs it. What is populated for it already
 * stays as it is. With an owner its device pages stay where they are; all others come to
 * RAM. Without @write the GPU may write only where the process may already do
 * so without a fault.
 *
 * It may be true no more on return: drm_svm_hmmptr_map_dma_pages() finds out.
 *
 * Context: No mmap_lock, no lock that is taken inside of it, such as a dma_resv; no notifier
 * lock. Takes &drm_svm_hmmptr.lock, and the mmap_lock for reading; sleeps.
 *
 * Return: 0: all of the span is populated; -EINVAL: not of whole pages, or not of the
 * hmmptr; -EPERM: a write to read-only memory, or with &drm_svm_hmmptr_args.read_only;
 * -EFAULT: no memory there, or no process any more; -EOPNOTSUPP: memory that no device may
 * have; -EBUSY: some of it was invalidated again and again for a second; -ENOMEM; -EINTR: the caller is being
 * killed; -ENODEV: released. After an error the span is as it was, apart from what came in.
 */
int drm_svm_hmmptr_populate(struct drm_svm_hmmptr *hmmptr, unsigned long start, unsigned long end,
			    bool write)
{
	u64 began = trace_hmmptr_populate_enabled() ? ktime_get_ns() : 0;
	int ret = dsvm_hmmptr_lock(hmmptr);

	if (ret)
		return ret;

	ret = dsvm_hmmptr_populate(&hmmptr->core, start, end - 1, access_of(write));
	mutex_unlock(&hmmptr->lock);
	trace_hmmptr_populate(hmmptr, start, end, write, began ? ktime_get_ns() - began : 0, ret);
	return ret;
}
EXPORT_SYMBOL_GPL(drm_svm_hmmptr_populate);

/**
 * drm_svm_hmmptr_map_dma_pages() - Maps what was populated for the device
 * @hmmptr: the hmmptr
 * @start: first byte, page aligned
 * @end: first byte after the span, page aligned
 *
 * For what it was populated for last, by whomever: who populates for writing while others do for
 * reading uses drm_svm_hmmptr_get_pages(), or looks at &drm_svm_hmmptr_run.writable. What is mapped
 * already stays so, unless it was for reading and has been populated for writing since: the GPU
 * loses that first. From now on an invalidation puts the hmmptr on the list of its set. Pages of
 * RAM that the device may write become dirty, and all of them used, once for each time that they
 * were populated.
 *
 * It may be mapped no more on return: check with drm_svm_hmmptr_pages_valid() under the
 * notifier lock.
 *
 * Context: As drm_svm_hmmptr_populate(). Takes &drm_svm_hmmptr.lock and the notifier lock;
 * sleeps.
 *
 * Return: 0; -EAGAIN: some of it is not populated, or not any more; -EINVAL: not of whole
 * pages, or not of the hmmptr; -EOPNOTSUPP: RAM that the device would see a copy of; -EFAULT: not
 * to be mapped for the device; -ENOMEM; -EINTR: the caller is being killed; -ENODEV: released.
 * After an error what was mapped before is mapped, but for what was to become writable: the
 * driver has heard of an invalidation of that.
 */
int drm_svm_hmmptr_map_dma_pages(struct drm_svm_hmmptr *hmmptr, unsigned long start,
				 unsigned long end)
{
	u64 began = trace_hmmptr_map_enabled() ? ktime_get_ns() : 0;
	int ret = dsvm_hmmptr_lock(hmmptr);

	if (ret)
		return ret;

	ret = dsvm_hmmptr_map(&hmmptr->core, start, end - 1);
	mutex_unlock(&hmmptr->lock);
	trace_hmmptr_map(hmmptr, start, end, began ? ktime_get_ns() - began : 0, ret);
	return ret;
}
EXPORT_SYMBOL_GPL(drm_svm_hmmptr_map_dma_pages);

/**
 * drm_svm_hmmptr_get_pages() - Populates and maps, until it has worked
 * @hmmptr: the hmmptr
 * @start: first byte, page aligned
 * @end: first byte after the span, page aligned
 * @write: the GPU is to write there
 *
 * drm_svm_hmmptr_populate() and drm_svm_hmmptr_map_dma_pages(), and the same again for what is
 * invalidated meanwhile, for a second at most. However large the span is: only what fails
 * counts.
 *
 * Context: As drm_svm_hmmptr_populate(). Takes the notifier lock as well.
 *
 * Return: 0; errors of both, but not -EAGAIN.
 */
int drm_svm_hmmptr_get_pages(struct drm_svm_hmmptr *hmmptr, unsigned long start, unsigned long end,
			     bool write)
{
	u64 began = trace_hmmptr_get_pages_enabled() ? ktime_get_ns() : 0;
	int ret = dsvm_hmmptr_lock(hmmptr);

	if (ret)
		return ret;

	ret = dsvm_hmmptr_get_pages(&hmmptr->core, start, end - 1, access_of(write));
	mutex_unlock(&hmmptr->lock);
	trace_hmmptr_get_pages(hmmptr, start, end, write, began ? ktime_get_ns() - began : 0, ret);
	return ret;
}
EXPORT_SYMBOL_GPL(drm_svm_hmmptr_get_pages);

static void unmap(struct drm_svm_hmmptr *hmmptr, unsigned long start, unsigned long end,
		  bool forget)
{
	if (start >= end)
		return;

	mutex_lock(&hmmptr->lock);
	dsvm_hmmptr_unmap(&hmmptr->core, start, end - 1, forget);
	mutex_unlock(&hmmptr->lock);
}

/**
 * drm_svm_hmmptr_unmap_dma_pages() - Unmaps pages from the device
 * @hmmptr: the hmmptr
 * @start: first byte
 * @end: first byte after the span
 *
 * Those pieces that lie in the span; one that reaches beyond it stays mapped. What the GPU still
 * has of them it loses first (&drm_svm_hmmptr_ops.invalidate_start). They are still populated, and
 * are not revalidated.
 *
 * Context: As drm_svm_hmmptr_populate(). Takes &drm_svm_hmmptr.lock and the notifier lock;
 * sleeps.
 */
void drm_svm_hmmptr_unmap_dma_pages(struct drm_svm_hmmptr *hmmptr, unsigned long start,
				    unsigned long end)
{
	unmap(hmmptr, start, end, false);
}
EXPORT_SYMBOL_GPL(drm_svm_hmmptr_unmap_dma_pages);

/**
 * drm_svm_hmmptr_forget() - Unmaps pages, and frees what is known of them
 * @hmmptr: the hmmptr
 * @start: first byte
 * @end: first byte after the span
 *
 * As drm_svm_hmmptr_unmap_dma_pages(), and they are not populated any more.
 *
 * Context: As drm_svm_hmmptr_unmap_dma_pages().
 */
void drm_svm_hmmptr_forget(struct drm_svm_hmmptr *hmmptr, unsigned long start, unsigned long end)
{
	unmap(hmmptr, start, end, true);
}
EXPORT_SYMBOL_GPL(drm_svm_hmmptr_forget);

/* What is mapped ------------------------------------------------------------------- */

/**
 * drm_svm_hmmptr_lock() - Keeps the invalidations of a set out
 * @set: the set
 *
 * Between a check with drm_svm_hmmptr_pages_valid() or drm_svm_hmmptr_all_valid() and what is
 * done because of it.
 *
 * Context: No notifier lock. Sleeps. Nothing may be allocated while it is held.
 */
void drm_svm_hmmptr_lock(struct drm_svm_hmmptr_set *set)
{
	down_read(&set->notifier_lock);
}
EXPORT_SYMBOL_GPL(drm_svm_hmmptr_lock);

/**
 * drm_svm_hmmptr_unlock() - Ends drm_svm_hmmptr_lock()
 * @set: the set
 *
 * Context: Any in which one may sleep.
 */
void drm_svm_hmmptr_unlock(struct drm_svm_hmmptr_set *set)
{
	up_read(&set->notifier_lock);
}
EXPORT_SYMBOL_GPL(drm_svm_hmmptr_unlock);

/**
 * drm_svm_hmmptr_pages_valid() - Whether pages are mapped for their device now
 * @hmmptr: the hmmptr
 * @start: first byte
 * @end: first byte after the span
 *
 * Context: The notifier lock; what it says is true until that is dropped.
 *
 * Return: true if all of the span is.
 */
bool drm_svm_hmmptr_pages_valid(struct drm_svm_hmmptr *hmmptr, unsigned long start,
				unsigned long end)
{
	lockdep_assert_held(&hmmptr->set->notifier_lock);
	return start < end && dsvm_hmmptr_valid(&hmmptr->core, start, end - 1);
}
EXPORT_SYMBOL_GPL(drm_svm_hmmptr_pages_valid);

/**
 * drm_svm_hmmptr_next_run() - A step of drm_svm_hmmptr_for_each_run()
 * @hmmptr: the hmmptr
 * @start: first byte of the span
 * @end: first byte after it
 * @run: the run before, or zero; receives the next one, cut to the span
 *
 * What is not mapped is passed over.
 *
 * Context: The notifier lock, the same from the first step to the last.
 *
 * Return: true if there is one.
 */
bool drm_svm_hmmptr_next_run(struct drm_svm_hmmptr *hmmptr, unsigned long start,
			     unsigned long end, struct drm_svm_hmmptr_run *run)
{
	const struct dsvm_hmmptr_cursor *at = &run->core;

	lockdep_assert_held(&hmmptr->set->notifier_lock);
	if (start >= end || !dsvm_hmmptr_next(&hmmptr->core, start, end - 1, &run->core))
		return false;

	run->start = max(start, at->first);
	run->end = min(end, at->first + (at->npages << PAGE_SHIFT));
	run->addr = at->addr->addr + (run->start - at->first);
	run->proto = at->addr->proto;
	run->writable = at->addr->dir == DSVM_DMA_BIDIRECTIONAL;
	return true;
}
EXPORT_SYMBOL_GPL(drm_svm_hmmptr_next_run);

/* Tests ------------------------------------------------------------------------------ */

/**
 * drm_svm_hmmptr_inject() - Does what an invalidation would do
 * @hmmptr: the hmmptr
 * @start: first byte, page aligned
 * @end: first byte after the span, page aligned
 *
 * What is populated in the span is not any more, and the GPU loses what is mapped. For tests
 * of drivers. Nothing happens if the span is not of the hmmptr.
 *
 * Context: As drm_svm_hmmptr_populate(). Takes &drm_svm_hmmptr.lock and the notifier lock;
 * sleeps.
 */
void drm_svm_hmmptr_inject(struct drm_svm_hmmptr *hmmptr, unsigned long start, unsigned long end)
{
	mutex_lock(&hmmptr->lock);
	dsvm_hmmptr_inject(&hmmptr->core, start, end - 1);
	mutex_unlock(&hmmptr->lock);
}
EXPORT_SYMBOL_GPL(drm_svm_hmmptr_inject);
