// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * drm/drm_svm.h: GPU SVM without a lock around all of a VM's faults, trimming of
 * ranges, counters.
 */
#include <linux/export.h>
#include <linux/lockdep.h>

#include <drm/drm_svm.h>

#include "gpusvm_internal.h"
#include "trace.h"

/**
 * drm_svm_range_first() - The first range in a span
 * @gpusvm: the GPU SVM
 * @start: first byte
 * @end: first byte after the span
 *
 * Context: Takes the notifier lock and the window's; sleeps.
 *
 * Return: the range with a reference for the caller, not locked: it may be
 * removed at any time, see drm_svm_range_lock(). NULL if there is none.
 */
struct drm_gpusvm_range *drm_svm_range_first(struct drm_gpusvm *gpusvm,
					     unsigned long start, unsigned long end)
{
	return to_gpusvm_range(dsvm_svm_range_first(&gpusvm->core, start, end - 1));
}
EXPORT_SYMBOL_GPL(drm_svm_range_first);

/**
 * drm_svm_range_lock() - Locks a range that the caller has a reference to
 * @range: the range
 *
 * As long as it is locked it is not removed by others and keeps its ends.
 *
 * Context: No lock of another range; no lock of the invalidation path, no
 * mmap_lock. Sleeps.
 *
 * Return: true if it is locked; false if it has been removed: it is not locked,
 * and there is nothing to be done with it but to drop the reference.
 */
bool drm_svm_range_lock(struct drm_gpusvm_range *range)
{
	mutex_lock(&range->lock);
	if (!range_is_removed(range)) {
		trace_gpusvm_range_acquire(range);
		return true;
	}

	mutex_unlock(&range->lock);
	return false;
}
EXPORT_SYMBOL_GPL(drm_svm_range_lock);

/**
 * drm_svm_range_lock_killable() - drm_svm_range_lock() for callers that are waited for
 * @range: the range
 *
 * Who holds the lock may be serving a fault that waits for the caller's own
 * process, as the server of a file system: it has to be possible to kill that.
 *
 * Context: As drm_svm_range_lock().
 *
 * Return: 0; -ENOENT: it has been removed; -EINTR: the caller is being killed.
 */
int drm_svm_range_lock_killable(struct drm_gpusvm_range *range)
{
	if (mutex_lock_killable(&range->lock))
		return -EINTR;
	if (!range_is_removed(range)) {
		trace_gpusvm_range_acquire(range);
		return 0;
	}

	mutex_unlock(&range->lock);
	return -ENOENT;
}
EXPORT_SYMBOL_GPL(drm_svm_range_lock_killable);

/**
 * drm_svm_range_unlock() - Ends drm_svm_range_lock()
 * @range: the range; it may have been removed in between
 *
 * Context: Any in which one may sleep.
 */
void drm_svm_range_unlock(struct drm_gpusvm_range *range)
{
	trace_gpusvm_range_release(range);
	mutex_unlock(&range->lock);
}
EXPORT_SYMBOL_GPL(drm_svm_range_unlock);

/**
 * drm_svm_range_acquire() - The range at a faulting address, locked
 * @gpusvm: the GPU SVM
 * @fault_addr: the address
 * @gpuva_start: a new range begins here at the earliest
 * @gpuva_end: and ends before this address
 * @ctx: how the fault is meant
 *
 * drm_gpusvm_range_find_or_insert() without a driver's lock: what is returned
 * contains @fault_addr and has not been removed, and nobody else removes, trims
 * or acquires it before drm_svm_range_release(). It may be unmapped, in whole
 * or in part: see &drm_gpusvm_range.flags.
 *
 * Context: No lock of a range. Takes the mmap_lock for reading, for a first fault
 * in a process for writing, the notifier lock, the window's and the range's;
 * sleeps.
 *
 * Return: the range, locked, with a reference for the caller. Or an ERR_PTR():
 * as drm_gpusvm_range_find_or_insert(), and -EBUSY if for a second others
 * removed or trimmed whatever was found; -EINTR also while it waits for the
 * range's lock.
 */
struct drm_gpusvm_range *drm_svm_range_acquire(struct drm_gpusvm *gpusvm,
					       unsigned long fault_addr,
					       unsigned long gpuva_start,
					       unsigned long gpuva_end,
					       const struct drm_gpusvm_ctx *ctx)
{
	struct drm_gpusvm_range *range =
		dsvm_range_acquire(gpusvm, fault_addr, gpuva_start, gpuva_end, ctx);

	if (!IS_ERR(range))
		trace_gpusvm_range_acquire(range);
	return range;
}
EXPORT_SYMBOL_GPL(drm_svm_range_acquire);

/**
 * drm_svm_range_release() - Ends drm_svm_range_acquire()
 * @range: the range; it may have been removed in between
 *
 * Unlocks it and drops the caller's reference.
 *
 * Context: That of &drm_gpusvm_ops.range_free; may sleep.
 */
void drm_svm_range_release(struct drm_gpusvm_range *range)
{
	drm_svm_range_unlock(range);
	drm_gpusvm_range_put(range);
}
EXPORT_SYMBOL_GPL(drm_svm_range_release);

/**
 * drm_svm_window_lock() - Keeps the invalidations of a window out
 * @notifier: the window
 *
 * What drm_gpusvm_notifier_lock() is for a driver without
 * DRM_SVM_WINDOW_LOCKS, and works for one as well: between a check with
 * drm_gpusvm_pages_valid() and the last page-table entry written.
 *
 * Context: Sleeps. Nothing may be allocated while it is held. A window is there
 * as long as a range in it is locked.
 */
void drm_svm_window_lock(struct drm_gpusvm_notifier *notifier)
{
	dsvm_read_lock(window_lock(notifier));
}
EXPORT_SYMBOL_GPL(drm_svm_window_lock);

/**
 * drm_svm_window_unlock() - Ends drm_svm_window_lock()
 * @notifier: the window
 *
 * Context: Any in which one may sleep.
 */
void drm_svm_window_unlock(struct drm_gpusvm_notifier *notifier)
{
	up_read(window_lock(notifier));
}
EXPORT_SYMBOL_GPL(drm_svm_window_unlock);

/**
 * drm_svm_range_set_gone() - Notes which part of a range the CPU has unmapped
 * @range: the range
 * @mmu_range: the event, which overlaps it
 * @zap_start: where the first byte goes that the GPU must not use any more
 * @zap_end: and the first byte after those
 *
 * In place of drm_gpusvm_range_set_unmapped(), for drivers with
 * &drm_gpusvm_ops.range_pages. What is to be zapped is what has gone, widened to
 * whole entries of &drm_gpusvm_pages.dma_addr, and to one span with what went
 * before it. The driver takes its page-table entries away, flushes the TLB and
 * calls drm_svm_range_unmap_gone(). What is left of the range stays mapped until
 * it is whole again with drm_svm_range_trim(); until then it counts as unmapped
 * and its pages are not valid.
 *
 * Context: &drm_gpusvm_ops.invalidate or &drm_gpusvm_ops.invalidate_start, under
 * the window's lock for writing.
 */
void drm_svm_range_set_gone(struct drm_gpusvm_range *range,
			    const struct mmu_notifier_range *mmu_range,
			    unsigned long *zap_start, unsigned long *zap_end)
{
	unsigned long zap_last;

	lockdep_assert_held_write(window_lock(range->notifier));
	dsvm_svm_range_set_gone(&range->gpusvm->core, &range->core, mmu_range->start,
				mmu_range->end - 1, zap_start, &zap_last);
	*zap_end = zap_last + 1;
}
EXPORT_SYMBOL_GPL(drm_svm_range_set_gone);

/**
 * drm_svm_range_unmap_gone() - Unmaps from the devices what has gone
 * @range: the range, after drm_svm_range_set_gone()
 *
 * Context: &drm_gpusvm_ops.invalidate or &drm_gpusvm_ops.invalidate_finish, under
 * the window's lock for writing, when no device uses those pages any more.
 */
void drm_svm_range_unmap_gone(struct drm_gpusvm_range *range)
{
	lockdep_assert_held_write(window_lock(range->notifier));
	dsvm_svm_range_unmap_gone(&range->gpusvm->core, &range->core);
}
EXPORT_SYMBOL_GPL(drm_svm_range_unmap_gone);

/**
 * drm_svm_range_trim() - Makes a range whole of which a part has gone
 * @range: the range
 *
 * Gives it the ends of what is left; if that is two pieces, the second one
 * becomes a range of its own, of which &drm_gpusvm_ops.range_split hears. What is
 * left is still mapped, for the devices and by the driver.
 *
 * Context: The driver's lock, or that of the range. Takes the window's lock;
 * sleeps.
 *
 * Return: 1: it is whole again, or was; 0: nothing is left of it, it has to be
 * removed; -ENOMEM: there is no memory for a second range, nothing has changed,
 * and the driver has to zap and remove it as a whole; -EAGAIN: an invalidation is
 * between its passes or has just come, try again later; -EINVAL: it has been
 * removed.
 */
int drm_svm_range_trim(struct drm_gpusvm_range *range)
{
	dsvm_assert_range_lock(range);
	if (WARN_ONCE(range_is_removed(range), "drm_svm: a range is trimmed that was removed\n"))
		return -EINVAL;

	return dsvm_svm_range_trim(&range->gpusvm->core, &range->notifier->core, &range->core);
}
EXPORT_SYMBOL_GPL(drm_svm_range_trim);

/**
 * drm_svm_read_counters() - What has happened in a mirror
 * @gpusvm: the GPU SVM
 * @out: where that goes
 *
 * Each counter is right by itself; what happens meanwhile may be in one and not
 * yet in another.
 *
 * Context: Any.
 */
void drm_svm_read_counters(const struct drm_gpusvm *gpusvm,
			   struct drm_svm_counters *out)
{
	const struct dsvm_svm_counters *counters = &gpusvm->core.counters;

	*out = (struct drm_svm_counters) {
		.faults = READ_ONCE(counters->faults),
		.windows_made = READ_ONCE(counters->windows_made),
		.ranges_made = READ_ONCE(counters->ranges_made),
		.ranges_removed = READ_ONCE(counters->ranges_removed),
		.ranges_split = READ_ONCE(counters->ranges_split),
		.ranges_trimmed = READ_ONCE(counters->ranges_trimmed),
		.lost_races = READ_ONCE(counters->lost_races),
		.invalidations = READ_ONCE(counters->invalidations),
		.ranges_invalidated = READ_ONCE(counters->ranges_invalidated),
		.collections = READ_ONCE(counters->collections),
		.collection_retries = READ_ONCE(counters->collection_retries),
		.collection_failures = READ_ONCE(counters->collection_failures),
		.collection_ns = READ_ONCE(counters->collection_ns),
		.pages_mapped = READ_ONCE(counters->pages_mapped),
	};
}
EXPORT_SYMBOL_GPL(drm_svm_read_counters);
