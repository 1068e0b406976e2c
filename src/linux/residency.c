// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * drm/drm_svm.h: where the pages of an address space are.
 */
#include <linux/export.h>
#include <linux/mmu_notifier.h>
#include <linux/sched/mm.h>

#include <drm/drm_svm.h>

#include "drm_svm/svm.h"
#include "internal.h"

/* A look has nothing to take back; it only has to hear of the event. */
static bool look_invalidate(struct mmu_interval_notifier *mni,
			    const struct mmu_notifier_range *range, unsigned long cur_seq)
{
	mmu_interval_set_seq(mni, cur_seq);
	return true;
}

static const struct mmu_interval_notifier_ops look_ops = {
	.invalidate = look_invalidate,
};

/**
 * drm_svm_residency() - Counts where the pages of a span are
 * @mm: the address space
 * @dpagemap: its pages count as device, and those of others of its clique as
 *	peer; NULL: none of either. Those of anybody else count as absent.
 * @start: first byte, page aligned
 * @end: first byte after the span, page aligned
 * @block: bytes that are counted together, a multiple of the page size, less than 16 TiB
 * @out: one result for each block, zeroed; the last may be for less
 *
 * A look, no promise: pages may move while it is taken. Works on any span,
 * mirrored or not.
 *
 * Context: Takes the mmap_lock for reading, for a first notifier in a process
 * for writing; sleeps.
 *
 * Return: 0; -EINVAL: not aligned, or a size of 0 or beyond bounds; -EFAULT: the address space
 * has gone; -EBUSY: it changed all the time for a second; -ENOMEM; -EINTR: the
 * caller is being killed, or a signal came at the first look at a process.
 */
int drm_svm_residency(struct mm_struct *mm, struct drm_pagemap *dpagemap,
		      unsigned long start, unsigned long end,
		      unsigned long block, struct drm_svm_residency *out)
{
	const struct dev_pagemap *pagemap = dpagemap ? dpagemap->pagemap : NULL;
	struct mmu_interval_notifier notifier = {};
	int ret;

	if (end <= start || block >> PAGE_SHIFT > U32_MAX)
		return -EINVAL;
	if (!mmget_not_zero(mm))
		return -EFAULT;

	ret = mmu_interval_notifier_insert(&notifier, mm, start, end - start, &look_ops);
	if (!ret) {
		ret = dsvm_svm_residency(os_mm(mm), os_notifier(&notifier),
					 pagemap ? pagemap->owner : NULL, pagemap, start, end - 1,
					 block, (struct dsvm_residency *)out);
		mmu_interval_notifier_remove(&notifier);
	}
	mmput_async(mm);	/* the driver's lock may be held */
	return ret;
}
EXPORT_SYMBOL_GPL(drm_svm_residency);
