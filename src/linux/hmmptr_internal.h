/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * What the shims of hmmptrs share.
 */
#ifndef DSVM_LINUX_HMMPTR_INTERNAL_H
#define DSVM_LINUX_HMMPTR_INTERNAL_H

#include <linux/container_of.h>
#include <linux/errno.h>
#include <linux/mutex.h>

#include <drm/drm_svm_hmmptr.h>

#include "internal.h"

static inline struct drm_svm_hmmptr *to_hmmptr(struct dsvm_hmmptr *core)
{
	return container_of(core, struct drm_svm_hmmptr, core);
}

/*
 * Takes the lock: 0 or -EINTR. Who holds it may be serving a fault that waits for the caller's own
 * process, as the server of a file system: it has to be possible to kill that.
 */
static inline int dsvm_hmmptr_lock(struct drm_svm_hmmptr *hmmptr)
{
	return mutex_lock_killable(&hmmptr->lock) ? -EINTR : 0;
}

/*
 * Starts the invalidations of a hmmptr. They end with its release, and dsvm_hmmptr_unlisten() frees
 * what is left of that. 0; -EFAULT: the address space has gone; -ENOMEM; -EINTR. May sleep; takes
 * the mmap_lock for writing if nobody has listened there before.
 */
int dsvm_hmmptr_listen(struct drm_svm_hmmptr *hmmptr);
void dsvm_hmmptr_unlisten(struct drm_svm_hmmptr *hmmptr);

#endif /* DSVM_LINUX_HMMPTR_INTERNAL_H */
