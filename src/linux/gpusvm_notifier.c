// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * drm/drm_gpusvm.h: windows, and the mmu notifiers inside.
 *
 * An event goes through the core to the driver and comes back in one pass, or in
 * two where the driver and the kernel can: all that an event has to take away is
 * zapped first, in every window and on every device, and only then waited for.
 */
#include <linux/sched/mm.h>
#include <linux/slab.h>

#include "gpusvm_internal.h"
#include "trace.h"
#include "two_pass.h"

static bool start_in_one(void *arg)
{
	struct dsvm_gpusvm_event *event = arg;
	struct drm_gpusvm *gpusvm = event->notifier->gpusvm;

	gpusvm->ops->invalidate(gpusvm, event->notifier, event->mmu_range);
	return false;
}

static bool start_in_two(void *arg)
{
	struct dsvm_gpusvm_event *event = arg;
	struct drm_gpusvm *gpusvm = event->notifier->gpusvm;

	return gpusvm->ops->invalidate_start(gpusvm, event->notifier, event->mmu_range);
}

static void finish_in_two(void *arg)
{
	struct dsvm_gpusvm_event *event = arg;
	struct drm_gpusvm *gpusvm = event->notifier->gpusvm;

	gpusvm->ops->invalidate_finish(gpusvm, event->notifier, event->mmu_range);
}

static void event_init(struct dsvm_gpusvm_event *event, struct drm_gpusvm_notifier *notifier,
		       const struct mmu_notifier_range *mmu_range, unsigned long seq,
		       bool deferrable)
{
	const bool in_two = notifier->gpusvm->ops->invalidate_start;

	*event = (struct dsvm_gpusvm_event) {
		.core = {
			.first = mmu_range->start,
			.last = mmu_range->end - 1,
			.seq = seq,
			.blockable = mmu_notifier_range_blockable(mmu_range),
			.deferrable = deferrable,
			.start = in_two ? start_in_two : start_in_one,
			.finish = in_two ? finish_in_two : NULL,
			.arg = event,
		},
		.notifier = notifier,
		.mmu_range = mmu_range,
	};
}

static enum dsvm_invalidated invalidate(struct dsvm_gpusvm_event *event)
{
	struct drm_gpusvm_notifier *notifier = event->notifier;
	enum dsvm_invalidated result = dsvm_svm_invalidate(&notifier->gpusvm->core,
							   &notifier->core, &event->core);

	trace_gpusvm_invalidate(event, result);
	return result;
}

static bool window_invalidate(struct mmu_interval_notifier *mni,
			      const struct mmu_notifier_range *mmu_range,
			      unsigned long cur_seq)
{
	struct dsvm_gpusvm_event event;

	event_init(&event, container_of(mni, struct drm_gpusvm_notifier, notifier), mmu_range,
		   cur_seq, false);
	return invalidate(&event) != DSVM_REFUSED;
}

static bool __maybe_unused
window_invalidate_start(struct mmu_interval_notifier *mni,
			const struct mmu_notifier_range *mmu_range, unsigned long cur_seq,
			struct mmu_interval_notifier_finish **finish)
{
	struct drm_gpusvm_notifier *notifier =
		container_of(mni, struct drm_gpusvm_notifier, notifier);
	struct drm_svm_finish *slot = dsvm_slot_take(notifier->finish, mmu_range);
	enum dsvm_invalidated result;

	if (!slot)
		return window_invalidate(mni, mmu_range, cur_seq);

	event_init(&slot->gpusvm, notifier, &slot->mmu_range, cur_seq, true);
	result = invalidate(&slot->gpusvm);
	if (result == DSVM_UNFINISHED)
		*finish = &slot->base;
	else
		dsvm_slot_release(slot);
	return result != DSVM_REFUSED;
}

static void __maybe_unused window_invalidate_finish(struct mmu_interval_notifier_finish *finish)
{
	struct drm_svm_finish *slot = container_of(finish, struct drm_svm_finish, base);
	struct drm_gpusvm_notifier *notifier = slot->gpusvm.notifier;

	dsvm_svm_invalidate_finish(&notifier->gpusvm->core, &notifier->core, &slot->gpusvm.core);
	trace_gpusvm_invalidate_finish(&slot->gpusvm, DSVM_DONE);
	dsvm_slot_release(slot);
}

const struct mmu_interval_notifier_ops dsvm_window_ops[] = {
	[DSVM_ONE_PASS] = {
		.invalidate = window_invalidate,
	},
	[DSVM_TWO_PASSES] = {
		.invalidate = window_invalidate,
		COMPAT_INVALIDATE_PASSES(window_invalidate_start, window_invalidate_finish)
	},
};

static const struct mmu_interval_notifier_ops *window_mni_ops(const struct drm_gpusvm *gpusvm)
{
	const bool in_two = COMPAT_TWO_PASSES && gpusvm->ops->invalidate_start;

	return &dsvm_window_ops[in_two ? DSVM_TWO_PASSES : DSVM_ONE_PASS];
}

static void window_free(struct drm_gpusvm *gpusvm, struct drm_gpusvm_notifier *notifier)
{
	kfree(notifier->finish);
	if (gpusvm->ops->notifier_free)
		gpusvm->ops->notifier_free(notifier);
	else
		kfree(notifier);
}

static struct drm_gpusvm_notifier *window_alloc(struct drm_gpusvm *gpusvm)
{
	struct drm_gpusvm_notifier *notifier;

	notifier = gpusvm->ops->notifier_alloc ? gpusvm->ops->notifier_alloc() :
		   kzalloc(sizeof(*notifier), GFP_KERNEL_ACCOUNT);
	if (!notifier)
		return NULL;

	notifier->finish = NULL;
	if (window_mni_ops(gpusvm) == &dsvm_window_ops[DSVM_ONE_PASS])
		return notifier;

	notifier->finish = dsvm_slots_alloc();
	if (!notifier->finish) {
		window_free(gpusvm, notifier);
		return NULL;
	}
	return notifier;
}

static void window_init_lock(struct drm_gpusvm *gpusvm, struct drm_gpusvm_notifier *notifier)
{
	init_rwsem(&notifier->lock);
	notifier->core.lock = gpusvm->core.lock;
	if (has_window_locks(gpusvm)) {
		notifier->core.lock = os_rwsem(&notifier->lock);
		dsvm_taint_by_reclaim(&notifier->lock);
	}
}

int dsvm_window_create(struct dsvm_svm *svm, dsvm_usize first, dsvm_usize last,
		       struct dsvm_notifier **out)
{
	struct drm_gpusvm *gpusvm = to_gpusvm(svm);
	struct drm_gpusvm_notifier *notifier = window_alloc(gpusvm);
	int ret;

	if (!notifier)
		return -ENOMEM;

	notifier->gpusvm = gpusvm;
	notifier->itree.start = first;
	notifier->itree.last = last;
	notifier->root = RB_ROOT_CACHED;
	notifier->core.os = os_notifier(&notifier->notifier);
	notifier->core.removed = 0;
	notifier->core.unfinished = 0;
	INIT_LIST_HEAD(&notifier->entry);
	INIT_LIST_HEAD(&notifier->range_list);
	window_init_lock(gpusvm, notifier);

	ret = mmu_interval_notifier_insert(&notifier->notifier, gpusvm->mm, first,
					   last - first + 1, window_mni_ops(gpusvm));
	if (ret) {
		window_free(gpusvm, notifier);
		return ret;
	}

	*out = &notifier->core;
	return 0;
}

void dsvm_window_destroy(struct dsvm_svm *svm, struct dsvm_notifier *core)
{
	struct drm_gpusvm_notifier *notifier = to_gpusvm_notifier(core);

	if (!notifier->flags.removed)
		mmu_interval_notifier_remove(&notifier->notifier);
	window_free(to_gpusvm(svm), notifier);
}

void dsvm_taint_by_reclaim(struct rw_semaphore *lock)
{
	fs_reclaim_acquire(GFP_KERNEL);
	might_lock(lock);
	fs_reclaim_release(GFP_KERNEL);
}
