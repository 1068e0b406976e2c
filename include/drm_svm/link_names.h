/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * Link names of everything that drm_svm.ko exports.
 *
 * A kernel that has drm_gpuvm.ko or drm_gpusvm_helper.ko of its own may load
 * them beside this module, and the kernel refuses a module that exports a
 * name twice. So each function keeps its API name in source and gets a name
 * of its own for the linker.
 */
#ifndef DRM_SVM_LINK_NAMES_H
#define DRM_SVM_LINK_NAMES_H

/* drm/drm_gpusvm.h */
#define drm_gpusvm_find_vma_start dsvm_drm_gpusvm_find_vma_start
#define drm_gpusvm_fini dsvm_drm_gpusvm_fini
#define drm_gpusvm_free_pages dsvm_drm_gpusvm_free_pages
#define drm_gpusvm_get_pages dsvm_drm_gpusvm_get_pages
#define drm_gpusvm_has_mapping dsvm_drm_gpusvm_has_mapping
#define drm_gpusvm_init dsvm_drm_gpusvm_init
#define drm_gpusvm_notifier_find dsvm_drm_gpusvm_notifier_find
#define drm_gpusvm_pages_valid dsvm_drm_gpusvm_pages_valid
#define drm_gpusvm_range_evict dsvm_drm_gpusvm_range_evict
#define drm_gpusvm_range_find dsvm_drm_gpusvm_range_find
#define drm_gpusvm_range_find_or_insert dsvm_drm_gpusvm_range_find_or_insert
#define drm_gpusvm_range_get dsvm_drm_gpusvm_range_get
#define drm_gpusvm_range_put dsvm_drm_gpusvm_range_put
#define drm_gpusvm_range_remove dsvm_drm_gpusvm_range_remove
#define drm_gpusvm_range_set_unmapped dsvm_drm_gpusvm_range_set_unmapped
#define drm_gpusvm_unmap_pages dsvm_drm_gpusvm_unmap_pages

/* drm/drm_pagemap.h */
#define drm_pagemap_devmem_init dsvm_drm_pagemap_devmem_init
#define drm_pagemap_evict_to_ram dsvm_drm_pagemap_evict_to_ram
#define drm_pagemap_init dsvm_drm_pagemap_init
#define drm_pagemap_migrate_to_devmem dsvm_drm_pagemap_migrate_to_devmem
#define drm_pagemap_page_to_dpagemap dsvm_drm_pagemap_page_to_dpagemap
#define drm_pagemap_pagemap_ops_get dsvm_drm_pagemap_pagemap_ops_get
#define drm_pagemap_populate_mm dsvm_drm_pagemap_populate_mm
#define drm_pagemap_put dsvm_drm_pagemap_put
#define drm_pagemap_reinit dsvm_drm_pagemap_reinit

/* drm/drm_svm.h */
#define drm_svm_can_migrate dsvm_drm_svm_can_migrate
#define drm_svm_flush dsvm_drm_svm_flush
#define drm_svm_residency dsvm_drm_svm_residency

#endif /* DRM_SVM_LINK_NAMES_H */
