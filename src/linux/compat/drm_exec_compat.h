/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * drm/drm_exec.h, as it differs between kernels that have it.
 */
#ifndef DSVM_DRM_EXEC_COMPAT_H
#define DSVM_DRM_EXEC_COMPAT_H

#include <drm/drm_exec.h>

/* 2026-11: 6.8 added how many objects there will be, which nobody here knows. */
static inline void compat_drm_exec_init(struct drm_exec *exec, u32 flags)
{
#ifdef HAVE_DRM_EXEC_INIT_NR
	drm_exec_init(exec, flags, 0);
#else
	drm_exec_init(exec, flags);
#endif
}

#endif /* DSVM_DRM_EXEC_COMPAT_H */
