/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * drm/drm_gem.h, as it differs between kernels: an object's list of
 * drm_gpuvm_bo, and its lock.
 */
#ifndef DSVM_DRM_GEM_COMPAT_H
#define DSVM_DRM_GEM_COMPAT_H

#include <linux/list.h>
#include <linux/mutex.h>

#include <drm/drm_gpuvm.h>

/*
 * 2026-11: struct drm_gem_object has a list and a mutex of its own in 7.3; in
 * 6.12 a list that may not be used by every driver, and no mutex; in 6.1 none.
 *
 * get makes sure that an object has a list (-ENOMEM), for as long as there is a
 * drm_gpuvm_bo of it; put ends that. A member is added to the list at head.
 */
#ifdef HAVE_GEM_GPUVA_LOCK
static inline int compat_gem_gpuva_get(struct drm_gem_object *obj)
{
	return 0;
}

static inline void compat_gem_gpuva_put(struct drm_gem_object *obj)
{
}

static inline struct list_head *compat_gem_gpuva_head(struct drm_gem_object *obj)
{
	return drm_svm_gem_gpuva_list(obj);
}
#else
#define COMPAT_GEM_GPUVA

int compat_gem_gpuva_get(struct drm_gem_object *obj);
void compat_gem_gpuva_put(struct drm_gem_object *obj);
struct list_head *compat_gem_gpuva_head(struct drm_gem_object *obj);

/* What dsvm_gem_gpuva_list() and dsvm_gem_gpuva_lock() return. */
struct list_head *compat_gem_gpuva_list(struct drm_gem_object *obj);
struct mutex *compat_gem_gpuva_lock(struct drm_gem_object *obj);
#endif

#endif /* DSVM_DRM_GEM_COMPAT_H */
