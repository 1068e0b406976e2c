/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * What drm_svm offers beyond mainline's API.
 */
#ifndef __DRM_SVM_H__
#define __DRM_SVM_H__

#include <linux/types.h>

#include "drm_svm/link_names.h"

struct mm_struct;

/**
 * struct drm_svm_residency - Where the pages of a span are
 * @none: pages that are not present, another owner's device memory, and memory
 *	that the process itself may not read
 * @system: pages in RAM, or other memory that stays where it is
 * @device: pages in device memory of the owner asked for
 */
struct drm_svm_residency {
	u32 none;
	u32 system;
	u32 device;
};

bool drm_svm_can_migrate(void);

void drm_svm_flush(void);

int drm_svm_residency(struct mm_struct *mm, void *owner,
		      unsigned long start, unsigned long end,
		      unsigned long block, struct drm_svm_residency *out);

#endif /* __DRM_SVM_H__ */
