/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * Room for events of mmu notifiers between their two passes, which GPU SVM and hmmptrs share.
 *
 * The kernel hands an event on from the first pass to the second in memory that whoever was
 * told of it provides, and there is none to be had in reclaim. So each notifier has some from the
 * beginning; an event for which there is no more is finished at once.
 */
#ifndef DSVM_LINUX_TWO_PASS_H
#define DSVM_LINUX_TWO_PASS_H

#include "compat/mmu_notifier_compat.h"
#include "drm_svm/hmmptr.h"
#include "gpusvm_internal.h"

/* A slot for an event. */
struct drm_svm_finish {
	struct mmu_interval_notifier_finish base;
	union {
		struct dsvm_gpusvm_event gpusvm;
		struct dsvm_hmmptr_event hmmptr;
	};
	struct mmu_notifier_range mmu_range; /* the kernel's may be gone by then */
	unsigned long flags;		     /* atomic */
};

/* The slots of a notifier; kfree() frees them. NULL: no memory. May sleep. */
struct drm_svm_finish *dsvm_slots_alloc(void);
/*
 * One of them, with a copy of the event; NULL if all are taken. Events of different threads come
 * at the same time. Reclaim-safe.
 */
struct drm_svm_finish *dsvm_slot_take(struct drm_svm_finish *slots,
				      const struct mmu_notifier_range *mmu_range);
void dsvm_slot_release(struct drm_svm_finish *slot);

#endif /* DSVM_LINUX_TWO_PASS_H */
