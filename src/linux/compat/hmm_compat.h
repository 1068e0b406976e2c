/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * linux/hmm.h, as it differs between kernels.
 */
#ifndef DSVM_HMM_COMPAT_H
#define DSVM_HMM_COMPAT_H

#include <linux/align.h>
#include <linux/hmm.h>
#include <linux/memremap.h>
#include <linux/migrate.h>
#include <linux/minmax.h>
#include <linux/mmap_lock.h>
#include <linux/mmu_notifier.h>
#include <linux/pgtable.h>

/*
 * 2026-11: hmm_range_fault_unlocked_timeout() (not in 6.12, in 7.3) takes the
 * mmap lock itself, so that a fault handler may drop it (userfaultfd), and
 * refreshes range->notifier_seq. Before it, one attempt under the lock; the
 * core does the rest. The timeout is in jiffies, and not 0, which would be for ever.
 */
static inline int compat_hmm_range_fault(struct hmm_range *range, struct mm_struct *mm,
					 unsigned long timeout)
{
#ifdef HAVE_HMM_UNLOCKED
	return hmm_range_fault_unlocked_timeout(range, timeout);
#else
	int ret = mmap_read_lock_killable(mm);

	if (ret)
		return ret;
	ret = hmm_range_fault(range);
	mmap_read_unlock(mm);
	return ret;
#endif
}

/*
 * 2026-11: the same with a new sequence, which hmm_range_fault_unlocked_timeout() takes by itself
 * before it does anything else.
 */
static inline int compat_hmm_range_fault_anew(struct hmm_range *range, struct mm_struct *mm,
					      unsigned long timeout)
{
#ifndef HAVE_HMM_UNLOCKED
	range->notifier_seq = mmu_interval_read_begin(range->notifier);
#endif
	return compat_hmm_range_fault(range, mm, timeout);
}

/*
 * 2026-11: where huge pages of device memory are mapped whole (7.3), a walk that begins inside of
 * one counts its frames from the first of all (hmm_vma_handle_absent_pmd(); that of RAM does not).
 * A huge page is aligned to its size in both, so on a kernel that counts right nothing changes. Who
 * begins inside of one has it at the first entry, and all up to its end are of it.
 */
static inline void compat_hmm_count_frames(struct hmm_range *range)
{
#ifdef MIGRATE_PFN_COMPOUND
	const unsigned long end = min(range->end, ALIGN(range->start, PMD_SIZE));
	const unsigned long npages = PMD_SIZE >> PAGE_SHIFT;
	unsigned long *entry = range->hmm_pfns;
	unsigned long addr, first;

	if (hmm_pfn_to_map_order(*entry) != PMD_SHIFT - PAGE_SHIFT ||
	    (*entry & (HMM_PFN_VALID | HMM_PFN_ERROR)) != HMM_PFN_VALID ||
	    !is_device_private_page(hmm_pfn_to_page(*entry)))
		return;

	for (addr = range->start; addr < end; addr += PAGE_SIZE, entry++) {
		first = ALIGN_DOWN(*entry & ~HMM_PFN_FLAGS, npages);
		*entry = (*entry & HMM_PFN_FLAGS) | (first + (addr >> PAGE_SHIFT) % npages);
	}
#endif
}

#endif /* DSVM_HMM_COMPAT_H */
