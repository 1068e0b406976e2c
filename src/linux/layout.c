// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * What the core's plain structs and the kernel's have to agree on. A struct
 * of one side is looked at as the other's; each line here is one such look.
 */
#include <linux/build_bug.h>
#include <linux/dma-direction.h>
#include <linux/errno.h>
#include <linux/mm.h>
#include <linux/stddef.h>

#include <drm/drm_gpusvm.h>
#include <drm/drm_pagemap.h>

#include "drm_svm/migrate.h"
#include "drm_svm/os.h"

static_assert(DSVM_PAGE_SIZE == PAGE_SIZE);

static_assert(DSVM_EPERM == EPERM);
static_assert(DSVM_ENOENT == ENOENT);
static_assert(DSVM_EINTR == EINTR);
static_assert(DSVM_EIO == EIO);
static_assert(DSVM_EAGAIN == EAGAIN);
static_assert(DSVM_ENOMEM == ENOMEM);
static_assert(DSVM_EFAULT == EFAULT);
static_assert(DSVM_EBUSY == EBUSY);
static_assert(DSVM_EEXIST == EEXIST);
static_assert(DSVM_ENODEV == ENODEV);
static_assert(DSVM_EINVAL == EINVAL);
static_assert(DSVM_ENOSPC == ENOSPC);
static_assert(DSVM_ERANGE == ERANGE);
static_assert(DSVM_ETIME == ETIME);
static_assert(DSVM_EOVERFLOW == EOVERFLOW);
static_assert(DSVM_EOPNOTSUPP == EOPNOTSUPP);

static_assert(DSVM_DMA_BIDIRECTIONAL == (int)DMA_BIDIRECTIONAL);
static_assert(DSVM_DMA_TO_DEVICE == (int)DMA_TO_DEVICE);
static_assert(DSVM_DMA_FROM_DEVICE == (int)DMA_FROM_DEVICE);
static_assert(DSVM_PROTO_SYSTEM == (int)DRM_INTERCONNECT_SYSTEM);
static_assert(DSVM_PROTO_DRIVER == (int)DRM_INTERCONNECT_DRIVER);

#define SAME_PLACE(outer, field, core_field)				\
	static_assert(offsetof(struct outer, field) ==			\
		      offsetof(struct outer, core.core_field))
#define SAME_SIZE(a, b) static_assert(sizeof(a) == sizeof(b))

SAME_SIZE(struct interval_tree_node, struct dsvm_interval);
static_assert(offsetof(struct interval_tree_node, start) ==
	      offsetof(struct dsvm_interval, first));
static_assert(offsetof(struct interval_tree_node, last) ==
	      offsetof(struct dsvm_interval, last));
SAME_SIZE(struct list_head, struct dsvm_link);
static_assert(offsetof(struct list_head, next) == offsetof(struct dsvm_link, next));
SAME_SIZE(struct rb_root_cached, struct dsvm_tree_root);
SAME_SIZE(struct drm_pagemap_addr, struct dsvm_dma_addr);
SAME_SIZE(unsigned long, dsvm_usize);

SAME_PLACE(drm_gpusvm_range, itree, node);
SAME_PLACE(drm_gpusvm_range, entry, entry);
SAME_PLACE(drm_gpusvm_range, flags, flags);
SAME_SIZE(struct drm_gpusvm_range_flags, ((struct dsvm_range *)0)->flags);

SAME_PLACE(drm_gpusvm_notifier, itree, node);
SAME_PLACE(drm_gpusvm_notifier, entry, entry);
SAME_PLACE(drm_gpusvm_notifier, root, root);
SAME_PLACE(drm_gpusvm_notifier, range_list, range_list);
SAME_PLACE(drm_gpusvm_notifier, flags, removed);

SAME_PLACE(drm_gpusvm_pages, dma_addr, dma_addr);
SAME_PLACE(drm_gpusvm_pages, dpagemap, provider);
SAME_PLACE(drm_gpusvm_pages, notifier_seq, notifier_seq);
SAME_PLACE(drm_gpusvm_pages, flags, flags);
SAME_SIZE(struct drm_gpusvm_pages_flags, ((struct dsvm_pages *)0)->flags);

SAME_PLACE(drm_gpusvm, mm, mm);
SAME_PLACE(drm_gpusvm, mm_start, mm_start);
SAME_PLACE(drm_gpusvm, mm_range, mm_range);
SAME_PLACE(drm_gpusvm, notifier_size, notifier_size);
SAME_PLACE(drm_gpusvm, chunk_sizes, chunk_sizes);
SAME_PLACE(drm_gpusvm, num_chunks, num_chunks);
SAME_PLACE(drm_gpusvm, root, root);
SAME_PLACE(drm_gpusvm, notifier_list, notifier_list);
