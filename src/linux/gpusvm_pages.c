// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * drm/drm_gpusvm.h: the pages behind a range. Hands on to the core
 * (drm_svm/svm.h).
 */
#include <linux/export.h>
#include <linux/ktime.h>
#include <linux/lockdep.h>

#include <drm/drm_device.h>
#include <drm/drm_gpusvm.h>

#include "gpusvm_internal.h"
#include "trace.h"

/*
 * The lock of the window that the pages were first mapped in; before that there
 * is nothing to be guarded, and NULL.
 */
static struct rw_semaphore *pages_lock(const struct drm_gpusvm_pages *svm_pages)
{
	return to_rwsem(svm_pages->core.lock);
}

/**
 * drm_gpusvm_pages_valid() - Whether pages are mapped for their device now
 * @gpusvm: the GPU SVM
 * @svm_pages: the pages
 *
 * Context: The window's lock; what it says is true until that is dropped.
 *
 * Return: true if they are.
 */
bool drm_gpusvm_pages_valid(struct drm_gpusvm *gpusvm,
			    struct drm_gpusvm_pages *svm_pages)
{
	/* Pages that were never mapped know no window. */
	if (pages_lock(svm_pages))
		lockdep_assert_held(pages_lock(svm_pages));
	else if (!has_window_locks(gpusvm))
		lockdep_assert_held(&gpusvm->notifier_lock);
	return dsvm_svm_pages_valid(&svm_pages->core);
}
EXPORT_SYMBOL_GPL(drm_gpusvm_pages_valid);

static noinline int get_pages_traced(struct drm_gpusvm_pages *svm_pages,
				     struct dsvm_get_pages *request)
{
	u64 began = ktime_get_ns();
	int ret = dsvm_svm_get_pages(&svm_pages->core, request);

	trace_gpusvm_get_pages(svm_pages, request, ktime_get_ns() - began, ret);
	return ret;
}

/* Without a trace there is nothing to be kept until the core is done. */
static int get_pages(struct drm_gpusvm_pages *svm_pages, struct dsvm_get_pages *request)
{
	if (trace_gpusvm_get_pages_enabled())
		return get_pages_traced(svm_pages, request);
	return dsvm_svm_get_pages(&svm_pages->core, request);
}

/**
 * drm_gpusvm_get_pages() - Collects pages and maps them for their device
 * @gpusvm: the GPU SVM
 * @svm_pages: where the result goes
 * @mm: the address space
 * @notifier: that of the range's window; or one of the driver's that covers the
 *	span
 * @pages_start: first byte, page aligned
 * @pages_end: first byte after the span, page aligned
 * @ctx: how it is meant
 *
 * Faults the pages in as the access needs it: see &enum drm_svm_access, and
 * without one for writing unless @ctx->read_only. Does nothing if they are
 * mapped already, for this access or a wider one; until that mapping is gone the
 * span has to be the same. If they are mapped for reading and are wanted for
 * writing, the old mapping goes when the new one is there, so the driver has
 * zapped its page-table entries before; a failure leaves the old mapping.
 *
 * With the window's notifier only what happens to the range disturbs it, and the
 * pages are that range's until drm_gpusvm_free_pages(), which comes before the
 * range's last reference goes; with a notifier of the driver's own, whatever that
 * hears of.
 *
 * The mapping may be invalid again on return: check with
 * drm_gpusvm_pages_valid() under the window's lock, and begin again if so.
 *
 * Context: The driver's lock for @svm_pages, or that of the range. Takes the
 * mmap_lock and the window's lock, both for reading; sleeps.
 *
 * Return: 0; -EINVAL: not aligned, @svm_pages not set up, a window of another
 * mirror, or, for drivers with &drm_gpusvm_ops.range_pages, not the span of a
 * range; -EBUSY: taken away again and again for a second; -EFAULT: no memory
 * there any more, RAM with @ctx->devmem_only, or not to be mapped for the
 * device; -EPERM: write to read-only memory, or with @ctx->read_only;
 * -EOPNOTSUPP: a mix that @ctx does not allow, or pages that DMA does not reach;
 * -ENOMEM; -EINTR: the caller is being killed.
 */
int drm_gpusvm_get_pages(struct drm_gpusvm *gpusvm,
			 struct drm_gpusvm_pages *svm_pages,
			 struct mm_struct *mm,
			 struct mmu_interval_notifier *notifier,
			 unsigned long pages_start, unsigned long pages_end,
			 const struct drm_gpusvm_ctx *ctx)
{
	struct drm_gpusvm_notifier *window = window_of(notifier);
	const int access = access_asked(ctx);
	struct dsvm_get_pages request DSVM_UNSET;

	if (unlikely(access < 0))
		return access;
	if (!svm_pages->drm)
		return -EINVAL;
	if (WARN_ONCE(window && window->gpusvm != gpusvm,
		      "drm_svm: pages are wanted for one mirror in the window of another\n"))
		return -EINVAL;

	request = (struct dsvm_get_pages) {
		.svm = &gpusvm->core,
		.window = likely(window) ? &window->core : NULL,
		.range = NULL,
		.notifier = os_notifier(notifier),
		.mm = os_mm(mm),
		.dev = os_dev(svm_pages->drm->dev),
		.first = pages_start,
		.last = pages_end - 1,
		.owner = ctx->device_private_page_owner,
		.access = access,
		.marks = DSVM_MARK_DIRTY,
		.devmem_only = ctx->devmem_only,
		.allow_mixed = ctx->allow_mixed,
		.attempts = 0,
	};

	return get_pages(svm_pages, &request);
}
EXPORT_SYMBOL_GPL(drm_gpusvm_get_pages);

/**
 * drm_gpusvm_unmap_pages() - Unmaps pages from their device
 * @gpusvm: the GPU SVM
 * @svm_pages: the pages; nothing happens if they are not mapped
 * @npages: how many pages the span has
 * @ctx: in_notifier says that the window's lock is held for writing
 *
 * Context: &drm_gpusvm_ops.invalidate with @ctx->in_notifier; else takes the
 * window's lock for reading, under the driver's lock or that of the range.
 */
void drm_gpusvm_unmap_pages(struct drm_gpusvm *gpusvm,
			    struct drm_gpusvm_pages *svm_pages,
			    unsigned long npages,
			    const struct drm_gpusvm_ctx *ctx)
{
	struct rw_semaphore *lock = pages_lock(svm_pages);

	if (!svm_pages->drm || !lock)
		return;

	if (ctx->in_notifier)
		lockdep_assert_held_write(lock);
	else
		down_read(lock);

	dsvm_svm_unmap_pages(&svm_pages->core, os_dev(svm_pages->drm->dev), npages);

	if (!ctx->in_notifier)
		up_read(lock);
}
EXPORT_SYMBOL_GPL(drm_gpusvm_unmap_pages);

/**
 * drm_gpusvm_free_pages() - Unmaps pages and frees what is known of them
 * @gpusvm: the GPU SVM
 * @svm_pages: the pages
 * @npages: how many pages the span has
 *
 * Nothing happens if it has been done, as drm_gpusvm_range_remove() does for
 * drivers with &drm_gpusvm_ops.range_pages.
 *
 * Context: The driver's lock, or that of the range. Takes the window's lock for
 * reading; may sleep.
 */
void drm_gpusvm_free_pages(struct drm_gpusvm *gpusvm,
			   struct drm_gpusvm_pages *svm_pages,
			   unsigned long npages)
{
	if (!svm_pages->drm)
		return;

	dsvm_svm_free_pages(&svm_pages->core, os_dev(svm_pages->drm->dev), npages);
}
EXPORT_SYMBOL_GPL(drm_gpusvm_free_pages);

/**
 * drm_gpusvm_scan_mm() - Where the pages of a range are
 * @range: the range
 * @dev_private_owner: device pages of other owners count as absent
 * @pagemap: the device memory that is asked about
 *
 * A look, no promise: they may move as soon as it is over, and nothing is
 * faulted in.
 *
 * Context: The driver's lock, or that of the range. Takes the mmap_lock for
 * reading; sleeps.
 *
 * Return: see &enum drm_gpusvm_scan_result.
 */
enum drm_gpusvm_scan_result drm_gpusvm_scan_mm(struct drm_gpusvm_range *range,
					       void *dev_private_owner,
					       const struct dev_pagemap *pagemap)
{
	return (enum drm_gpusvm_scan_result)
		dsvm_svm_scan(os_mm(range->gpusvm->mm), os_notifier(&range->validity),
			      dev_private_owner, drm_gpusvm_range_start(range),
			      drm_gpusvm_range_end(range) - 1, pagemap);
}
EXPORT_SYMBOL_GPL(drm_gpusvm_scan_mm);
