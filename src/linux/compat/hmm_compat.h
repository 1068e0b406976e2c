/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * linux/hmm.h, as it differs between kernels.
 */
#ifndef DSVM_HMM_COMPAT_H
#define DSVM_HMM_COMPAT_H

#include <linux/hmm.h>
#include <linux/mmap_lock.h>

/*
 * 2026-11: hmm_range_fault_unlocked_timeout() (not in 6.12, in 7.3) takes the
 * mmap lock itself, so that a fault handler may drop it (userfaultfd), and
 * refreshes range->notifier_seq. Before it, one attempt under the lock; the
 * core does the rest. The timeout is in jiffies, and 0 would be for ever.
 */
static inline int compat_hmm_range_fault(struct hmm_range *range, struct mm_struct *mm,
					 unsigned long timeout)
{
#ifdef HAVE_HMM_UNLOCKED
	return hmm_range_fault_unlocked_timeout(range, max(timeout, 1UL));
#else
	int ret = mmap_read_lock_killable(mm);

	if (ret)
		return ret;
	ret = hmm_range_fault(range);
	mmap_read_unlock(mm);
	return ret;
#endif
}

#endif /* DSVM_HMM_COMPAT_H */
