/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * linux/mmu_notifier.h, as it differs between kernels, and what may be assumed of it.
 */
#ifndef DSVM_MMU_NOTIFIER_COMPAT_H
#define DSVM_MMU_NOTIFIER_COMPAT_H

#include <linux/mmu_notifier.h>

/*
 * 2026-11: invalidations in two passes (not in 6.12, in 7.3). Elements of an
 * initialiser of struct mmu_interval_notifier_ops; before, nothing comes of
 * them, and nobody calls the functions.
 */
#ifdef HAVE_MMU_INTERVAL_FINISH
#define COMPAT_TWO_PASSES true
#define COMPAT_INVALIDATE_PASSES(start_, finish_)	\
	.invalidate_start = (start_),			\
	.invalidate_finish = (finish_),

/* Tells a notifier that has two passes of an event, as the kernel does. */
static inline bool compat_invalidate(struct mmu_interval_notifier *mni,
				     const struct mmu_notifier_range *range, unsigned long seq,
				     struct mmu_interval_notifier_finish **finish)
{
	return mni->ops->invalidate_start(mni, range, seq, finish);
}
#else
#define COMPAT_TWO_PASSES false
#define COMPAT_INVALIDATE_PASSES(start_, finish_)

struct mmu_interval_notifier_finish {
};

static inline bool compat_invalidate(struct mmu_interval_notifier *mni,
				     const struct mmu_notifier_range *range, unsigned long seq,
				     struct mmu_interval_notifier_finish **finish)
{
	return mni->ops->invalidate(mni, range, seq);
}
#endif

/*
 * 2026-11: makes a stand-in for a notifier, in no tree, of whose events it is told with
 * mmu_interval_set_seq(); its sequence is 0 before. Good for mmu_interval_read_begin(), for
 * mmu_interval_read_retry() and for HMM, which look at two fields alone in
 * 6.1, 6.12 and 7.3: at the mm, for its count of invalidations and what waits
 * for their end, and at the sequence, to compare it. Somebody else may have the others.
 */
static inline void compat_init_stand_in(struct mmu_interval_notifier *stand_in,
					struct mm_struct *mm)
{
	stand_in->mm = mm;
}

#endif /* DSVM_MMU_NOTIFIER_COMPAT_H */
