/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
#ifndef DRM_SVM_COMPAT_DRM_DRV_H
#define DRM_SVM_COMPAT_DRM_DRV_H

#include <drm/drm_drv.h>

/*
 * 6.14 removed drm_driver.date; before that it was reported by the VERSION
 * ioctl, which warns on 6.1 when it is NULL. For use as an element of the
 * driver's initialiser.
 */
#ifdef HAVE_DRM_DRIVER_DATE
#define DRM_DRIVER_DATE_COMPAT(date_) .date = (date_),
#else
#define DRM_DRIVER_DATE_COMPAT(date_)
#endif

#endif /* DRM_SVM_COMPAT_DRM_DRV_H */
