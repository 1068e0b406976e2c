// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * drm/drm_svm_hmmptr.h: the mmu notifier of a hmmptr. An event goes to the core, and from there to
 * the driver, in two passes where the kernel has them.
 */
#include <linux/sched/mm.h>
#include <linux/slab.h>

#include "hmmptr_internal.h"
#include "trace.h"
#include "two_pass.h"

static enum dsvm_invalidated invalidate(struct dsvm_hmmptr_event *event,
					struct mmu_interval_notifier *mni,
					const struct mmu_notifier_range *mmu_range,
					unsigned long seq, bool deferrable)
{
	enum dsvm_invalidated result;

	*event = (struct dsvm_hmmptr_event) {
		.core = {
			.first = mmu_range->start,
			.last = mmu_range->end - 1,
			.seq = seq,
			.blockable = mmu_notifier_range_blockable(mmu_range),
			.deferrable = deferrable,
		},
		.hmmptr = &container_of(mni, struct drm_svm_hmmptr, notifier)->core,
	};
	result = dsvm_hmmptr_invalidate(event);
	trace_hmmptr_invalidate(event, mmu_range, result);
	return result;
}

static bool hmmptr_invalidate(struct mmu_interval_notifier *mni,
			      const struct mmu_notifier_range *mmu_range,
			      unsigned long cur_seq)
{
	struct dsvm_hmmptr_event event;

	return invalidate(&event, mni, mmu_range, cur_seq, false) != DSVM_REFUSED;
}

static bool __maybe_unused
hmmptr_invalidate_start(struct mmu_interval_notifier *mni,
			const struct mmu_notifier_range *mmu_range, unsigned long cur_seq,
			struct mmu_interval_notifier_finish **finish)
{
	struct drm_svm_hmmptr *hmmptr = container_of(mni, struct drm_svm_hmmptr, notifier);
	struct drm_svm_finish *slot = dsvm_slot_take(hmmptr->finish, mmu_range);
	enum dsvm_invalidated result;

	if (!slot)
		return hmmptr_invalidate(mni, mmu_range, cur_seq);

	result = invalidate(&slot->hmmptr, mni, mmu_range, cur_seq, true);
	if (result == DSVM_UNFINISHED)
		*finish = &slot->base;
	else
		dsvm_slot_release(slot);
	return result != DSVM_REFUSED;
}

static void __maybe_unused hmmptr_invalidate_finish(struct mmu_interval_notifier_finish *finish)
{
	struct drm_svm_finish *slot = container_of(finish, struct drm_svm_finish, base);

	dsvm_hmmptr_invalidate_finish(&slot->hmmptr);
	trace_hmmptr_invalidate_finish(&slot->hmmptr, &slot->mmu_range, DSVM_DONE);
	dsvm_slot_release(slot);
}

static const struct mmu_interval_notifier_ops mni_ops = {
	.invalidate = hmmptr_invalidate,
	COMPAT_INVALIDATE_PASSES(hmmptr_invalidate_start, hmmptr_invalidate_finish)
};

static int insert(struct drm_svm_hmmptr *hmmptr)
{
	int ret;

	/* The kernel asks for a user of it. */
	if (!mmget_not_zero(hmmptr->mm))
		return -EFAULT;

	ret = mmu_interval_notifier_insert(&hmmptr->notifier, hmmptr->mm, hmmptr->start,
					   hmmptr->end - hmmptr->start, &mni_ops);
	/* A driver's lock may be held. */
	mmput_async(hmmptr->mm);
	return ret;
}

int dsvm_hmmptr_listen(struct drm_svm_hmmptr *hmmptr)
{
	int ret;

	hmmptr->finish = NULL;
	if (COMPAT_TWO_PASSES) {
		hmmptr->finish = dsvm_slots_alloc();
		if (!hmmptr->finish)
			return -ENOMEM;
	}

	ret = insert(hmmptr);
	if (ret)
		dsvm_hmmptr_unlisten(hmmptr);
	return ret;
}

void dsvm_hmmptr_unlisten(struct drm_svm_hmmptr *hmmptr)
{
	kfree(hmmptr->finish);
	hmmptr->finish = NULL;
}
