/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * What the shims of GPU SVM share.
 */
#ifndef DSVM_LINUX_GPUSVM_INTERNAL_H
#define DSVM_LINUX_GPUSVM_INTERNAL_H

#include <linux/container_of.h>
#include <linux/err.h>
#include <linux/lockdep.h>
#include <linux/rwsem.h>

#include <drm/drm_gpusvm.h>

#include "internal.h"

/* An mmu notifier's event on its way through the core to the driver. */
struct dsvm_gpusvm_event {
	struct dsvm_invalidation core;
	struct drm_gpusvm_notifier *notifier;
	const struct mmu_notifier_range *mmu_range;
};

static inline struct drm_gpusvm *to_gpusvm(struct dsvm_svm *core)
{
	return container_of(core, struct drm_gpusvm, core);
}

static inline struct drm_gpusvm_notifier *to_gpusvm_notifier(struct dsvm_notifier *core)
{
	return core ? container_of(core, struct drm_gpusvm_notifier, core) : NULL;
}

static inline struct drm_gpusvm_range *to_gpusvm_range(struct dsvm_range *core)
{
	return core ? container_of(core, struct drm_gpusvm_range, core) : NULL;
}

static inline bool range_is_removed(const struct drm_gpusvm_range *range)
{
	/* Other flags beside it may be written at the same time. */
	return READ_ONCE(range->flags.__flags) & DSVM_RANGE_REMOVED;
}

/* The lock that guards a window's ranges and their pages: its own, or the gpusvm's. */
static inline struct rw_semaphore *window_lock(const struct drm_gpusvm_notifier *notifier)
{
	return to_rwsem(notifier->core.lock);
}

static inline bool has_window_locks(const struct drm_gpusvm *gpusvm)
{
	return gpusvm->ops && gpusvm->ops->features & DRM_SVM_WINDOW_LOCKS;
}

/*
 * What a context asks for, as an enum dsvm_access; -EPERM if that is to write
 * what is only to be read, -EINVAL if it is nothing we know.
 */
static inline int access_asked(const struct drm_gpusvm_ctx *ctx)
{
	if (likely(ctx->access == DRM_SVM_ACCESS_ANY))
		return ctx->read_only ? DSVM_ACCESS_READ_ONLY : DSVM_ACCESS_WRITE;

	switch (ctx->access) {
	case DRM_SVM_ACCESS_READ:
		return ctx->read_only ? DSVM_ACCESS_READ_ONLY : DSVM_ACCESS_READ;
	case DRM_SVM_ACCESS_WRITE:
		return ctx->read_only ? -EPERM : DSVM_ACCESS_WRITE;
	default:
		return -EINVAL;
	}
}

/* What the core asks of windows; see struct dsvm_svm_ops. */
int dsvm_window_create(struct dsvm_svm *svm, dsvm_usize first, dsvm_usize last,
		       struct dsvm_notifier **out);
void dsvm_window_destroy(struct dsvm_svm *svm, struct dsvm_notifier *core);

/* Those of the mmu notifiers of windows. */
enum { DSVM_ONE_PASS, DSVM_TWO_PASSES };
extern const struct mmu_interval_notifier_ops dsvm_window_ops[DSVM_TWO_PASSES + 1];

/* The window that an mmu notifier belongs to, or NULL if it is a driver's own. */
static inline struct drm_gpusvm_notifier *window_of(struct mmu_interval_notifier *mni)
{
	if (mni->ops != &dsvm_window_ops[DSVM_ONE_PASS] &&
	    mni->ops != &dsvm_window_ops[DSVM_TWO_PASSES])
		return NULL;
	return container_of(mni, struct drm_gpusvm_notifier, notifier);
}

/* drm_svm_range_acquire(), which is drm_gpusvm_range_find_or_insert() without a driver's lock. */
struct drm_gpusvm_range *dsvm_range_acquire(struct drm_gpusvm *gpusvm, unsigned long fault_addr,
					    unsigned long gpuva_start, unsigned long gpuva_end,
					    const struct drm_gpusvm_ctx *ctx);

/* Asserts the driver's lock, or that of the range, if the driver has named its lock. */
void dsvm_assert_range_lock(struct drm_gpusvm_range *range);

#endif /* DSVM_LINUX_GPUSVM_INTERNAL_H */
