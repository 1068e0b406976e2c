// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * What the core's plain structs and the kernel's have to agree on. A struct
 * of one side is looked at as the other's; each line here is one such look.
 */
#include <linux/build_bug.h>
#include <linux/dma-direction.h>
#include <linux/errno.h>
#include <linux/migrate.h>
#include <linux/mm.h>
#include <linux/mmu_notifier.h>
#include <linux/stddef.h>

#include <drm/drm_gpusvm.h>
#include <drm/drm_gpuvm.h>
#include <drm/drm_pagemap.h>
#include <drm/drm_svm.h>

#include "compat/dma_mapping_compat.h"
#include "compat/migrate_compat.h"
#include "drm_svm/bind.h"
#include "drm_svm/migrate.h"
#include "drm_svm/os.h"
#include "drm_svm/va.h"

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
static_assert(DSVM_ERESTARTSYS == ERESTARTSYS);
static_assert(DSVM_ETIME == ETIME);
static_assert(DSVM_EOVERFLOW == EOVERFLOW);
static_assert(DSVM_EOPNOTSUPP == EOPNOTSUPP);

static_assert(DSVM_DMA_BIDIRECTIONAL == (int)DMA_BIDIRECTIONAL);
static_assert(DSVM_DMA_TO_DEVICE == (int)DMA_TO_DEVICE);
static_assert(DSVM_DMA_FROM_DEVICE == (int)DMA_FROM_DEVICE);
static_assert(DSVM_DMA_NONE == (int)DMA_NONE);
static_assert(DSVM_ENTRY_PAGE == MIGRATE_PFN_VALID);
static_assert(DSVM_ENTRY_MOVES == MIGRATE_PFN_MIGRATE);
static_assert(DSVM_ENTRY_PFN_SHIFT == MIGRATE_PFN_SHIFT);
/* Where the kernel has no huge entries, it has the bit for nothing else. */
static_assert(!COMPAT_PFN_COMPOUND || DSVM_ENTRY_HUGE == COMPAT_PFN_COMPOUND);
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
/* Its size has a flag of the kernel's in it, so that nobody but it looks there. */
SAME_SIZE(struct dma_iova_state, struct dsvm_iova);
static_assert(offsetof(struct dma_iova_state, addr) == offsetof(struct dsvm_iova, addr));
static_assert(offsetof(struct dma_iova_state, __size) == offsetof(struct dsvm_iova, size));
SAME_SIZE(dma_addr_t, ((struct dsvm_iova *)0)->addr);

/* The stand-in for a notifier: what the kernel does not look at there is the range's own. */
#define STAND_IN(field, core_field)					\
	static_assert(offsetof(struct mmu_interval_notifier, field) ==	\
		      offsetof(struct dsvm_range, core_field))

STAND_IN(interval_tree, node);
STAND_IN(ops, flags);
STAND_IN(mm, mm);
STAND_IN(deferred_item, entry);
SAME_SIZE(struct hlist_node, struct dsvm_link);
STAND_IN(invalidate_seq, seq);
SAME_PLACE(drm_gpusvm_range, validity, node);
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

static_assert(DSVM_SCAN_UNPOPULATED == (int)DRM_GPUSVM_SCAN_UNPOPULATED);
static_assert(DSVM_SCAN_EQUAL == (int)DRM_GPUSVM_SCAN_EQUAL);
static_assert(DSVM_SCAN_OTHER == (int)DRM_GPUSVM_SCAN_OTHER);
static_assert(DSVM_SCAN_SYSTEM == (int)DRM_GPUSVM_SCAN_SYSTEM);
static_assert(DSVM_SCAN_MIXED_DEVICE == (int)DRM_GPUSVM_SCAN_MIXED_DEVICE);
static_assert(DSVM_SCAN_MIXED == (int)DRM_GPUSVM_SCAN_MIXED);
/* Copied field by field: one that only one side has would be forgotten. */
SAME_SIZE(struct drm_svm_counters, struct dsvm_svm_counters);

SAME_PLACE(drm_gpusvm, mm, mm);
SAME_PLACE(drm_gpusvm, mm_start, mm_start);
SAME_PLACE(drm_gpusvm, mm_range, mm_range);
SAME_PLACE(drm_gpusvm, notifier_size, notifier_size);
SAME_PLACE(drm_gpusvm, chunk_sizes, chunk_sizes);
SAME_PLACE(drm_gpusvm, num_chunks, num_chunks);
SAME_PLACE(drm_gpusvm, root, root);
SAME_PLACE(drm_gpusvm, notifier_list, notifier_list);

/* Where the two sides have a struct each, without one in the other. */
#define SAME_FIELD(kernel_struct, field, core_struct, core_field)	\
	static_assert(offsetof(struct kernel_struct, field) ==		\
		      offsetof(struct core_struct, core_field))

SAME_SIZE(struct rb_node, ((struct dsvm_va *)0)->tree);
static_assert(DSVM_VA_INVALIDATED == (u32)DRM_GPUVA_INVALIDATED);
static_assert(DSVM_VA_SPARSE == (u32)DRM_GPUVA_SPARSE);
static_assert(DSVM_VA_REPEAT == (u32)DRM_GPUVA_REPEAT);
SAME_SIZE(enum drm_gpuva_flags, ((struct dsvm_va_map *)0)->flags);

SAME_PLACE(drm_gpuva, flags, map.flags);
SAME_PLACE(drm_gpuva, __state, map.state);
SAME_PLACE(drm_gpuva, va.addr, map.addr);
SAME_PLACE(drm_gpuva, va.range, map.range);
SAME_PLACE(drm_gpuva, gem.offset, map.offset);
SAME_PLACE(drm_gpuva, gem.obj, map.obj);
SAME_PLACE(drm_gpuva, gem.repeat_offset, map.repeat_offset);
SAME_PLACE(drm_gpuva, gem.repeat_range, map.repeat_range);
SAME_PLACE(drm_gpuva, gem.entry, bo_entry);
SAME_PLACE(drm_gpuva, rb.node, tree);
static_assert(offsetof(struct drm_gpuva, core) == 0);
static_assert(offsetof(struct drm_gpuva, vm) == sizeof(struct dsvm_va));

SAME_PLACE(drm_gpuvm, mm_start, mm_start);
SAME_PLACE(drm_gpuvm, mm_range, mm_range);
SAME_PLACE(drm_gpuvm, __index, index);
SAME_PLACE(drm_gpuvm, __kernel_va, kernel);
SAME_PLACE(drm_gpuvm, __bind, bind);
static_assert(offsetof(struct drm_gpuvm, core) == 0);
static_assert(offsetof(struct drm_gpuvm, name) == sizeof(struct dsvm_va_space));

SAME_SIZE(struct drm_gpuva_op_map, struct dsvm_va_map);
SAME_FIELD(drm_gpuva_op_map, flags, dsvm_va_map, flags);
SAME_FIELD(drm_gpuva_op_map, __state, dsvm_va_map, state);
SAME_FIELD(drm_gpuva_op_map, va.addr, dsvm_va_map, addr);
SAME_FIELD(drm_gpuva_op_map, va.range, dsvm_va_map, range);
SAME_FIELD(drm_gpuva_op_map, gem.offset, dsvm_va_map, offset);
SAME_FIELD(drm_gpuva_op_map, gem.obj, dsvm_va_map, obj);
SAME_FIELD(drm_gpuva_op_map, gem.repeat_offset, dsvm_va_map, repeat_offset);
SAME_FIELD(drm_gpuva_op_map, gem.repeat_range, dsvm_va_map, repeat_range);
static_assert(offsetof(struct drm_gpuvm_map_req, map) == 0);

SAME_SIZE(struct drm_gpuva_op_unmap, struct dsvm_va_op_unmap);
SAME_FIELD(drm_gpuva_op_unmap, va, dsvm_va_op_unmap, va);
SAME_FIELD(drm_gpuva_op_unmap, keep, dsvm_va_op_unmap, keep);
SAME_SIZE(bool, dsvm_bool);

SAME_SIZE(struct drm_gpuva_op_remap, struct dsvm_va_op_remap);
SAME_FIELD(drm_gpuva_op_remap, prev, dsvm_va_op_remap, prev);
SAME_FIELD(drm_gpuva_op_remap, next, dsvm_va_op_remap, next);
SAME_FIELD(drm_gpuva_op_remap, unmap, dsvm_va_op_remap, unmap);

static_assert(DSVM_VA_OP_MAP == (int)DRM_GPUVA_OP_MAP);
static_assert(DSVM_VA_OP_REMAP == (int)DRM_GPUVA_OP_REMAP);
static_assert(DSVM_VA_OP_UNMAP == (int)DRM_GPUVA_OP_UNMAP);
static_assert(DSVM_VA_OP_PREFETCH == (int)DRM_GPUVA_OP_PREFETCH);
static_assert(DSVM_VA_OP_DRIVER == (int)DRM_GPUVA_OP_DRIVER);
SAME_SIZE(enum drm_gpuva_op_type, enum dsvm_va_op_type);

SAME_SIZE(struct drm_gpuva_op, struct dsvm_va_op);
SAME_FIELD(drm_gpuva_op, entry, dsvm_va_op, entry);
SAME_FIELD(drm_gpuva_op, op, dsvm_va_op, type);
SAME_FIELD(drm_gpuva_op, map, dsvm_va_op, map);
SAME_FIELD(drm_gpuva_op, remap, dsvm_va_op, remap);
SAME_FIELD(drm_gpuva_op, unmap, dsvm_va_op, unmap);
SAME_FIELD(drm_gpuva_op, prefetch.va, dsvm_va_op, prefetch.va);
SAME_FIELD(drm_gpuva_op, __parts.prev, dsvm_va_op, prev);
SAME_FIELD(drm_gpuva_op, __parts.next, dsvm_va_op, next);
SAME_FIELD(drm_gpuva_op, __parts.unmap, dsvm_va_op, gone);

SAME_PLACE(drm_svm_bind_op, base, base);
SAME_PLACE(drm_svm_bind_op, va, va);
SAME_PLACE(drm_svm_bind_op, prev, prev);
SAME_PLACE(drm_svm_bind_op, next, next);
SAME_PLACE(drm_svm_bind_op, vm_bo, vm_bo);
SAME_PLACE(drm_svm_bind_op, addr, addr);
SAME_PLACE(drm_svm_bind_op, range, range);
SAME_PLACE(drm_svm_bind_op, tag, tag);
SAME_PLACE(drm_svm_bind_op, request, request);
SAME_PLACE(drm_svm_bind_op, __bo_state, bo_state);
static_assert(offsetof(struct drm_svm_bind_op, core) == 0);
/* The driver's own part is behind it. */
SAME_SIZE(struct drm_svm_bind_op, struct dsvm_bind_op);

SAME_SIZE(struct drm_svm_remap_pieces, struct dsvm_va_pieces);
SAME_FIELD(drm_svm_remap_pieces, prev_addr, dsvm_va_pieces, prev_addr);
SAME_FIELD(drm_svm_remap_pieces, prev_range, dsvm_va_pieces, prev_range);
SAME_FIELD(drm_svm_remap_pieces, zap_addr, dsvm_va_pieces, zap_addr);
SAME_FIELD(drm_svm_remap_pieces, zap_range, dsvm_va_pieces, zap_range);
SAME_FIELD(drm_svm_remap_pieces, next_addr, dsvm_va_pieces, next_addr);
SAME_FIELD(drm_svm_remap_pieces, next_range, dsvm_va_pieces, next_range);

SAME_SIZE(struct drm_svm_residency, struct dsvm_residency);
SAME_FIELD(drm_svm_residency, none, dsvm_residency, none);
SAME_FIELD(drm_svm_residency, system, dsvm_residency, system);
SAME_FIELD(drm_svm_residency, device, dsvm_residency, device);
SAME_FIELD(drm_svm_residency, peer, dsvm_residency, peer);

SAME_SIZE(struct drm_svm_copy_run, struct dsvm_copy_run);
SAME_FIELD(drm_svm_copy_run, page, dsvm_copy_run, page);
SAME_FIELD(drm_svm_copy_run, addr, dsvm_copy_run, addr);
SAME_FIELD(drm_svm_copy_run, npages, dsvm_copy_run, npages);

static_assert(DSVM_MOVED == (int)DRM_SVM_MOVED);
static_assert(DSVM_WAS_THERE == (int)DRM_SVM_WAS_THERE);
static_assert(DSVM_STAY_NOT_TRIED == (int)DRM_SVM_STAY_NOT_TRIED);
static_assert(DSVM_STAY_NO_MEMORY_MAP == (int)DRM_SVM_STAY_NO_MEMORY_MAP);
static_assert(DSVM_STAY_NOT_ANONYMOUS == (int)DRM_SVM_STAY_NOT_ANONYMOUS);
static_assert(DSVM_STAY_SWAPPED == (int)DRM_SVM_STAY_SWAPPED);
static_assert(DSVM_STAY_SWAP_CACHE == (int)DRM_SVM_STAY_SWAP_CACHE);
static_assert(DSVM_STAY_PINNED == (int)DRM_SVM_STAY_PINNED);
static_assert(DSVM_STAY_LOCKED == (int)DRM_SVM_STAY_LOCKED);
static_assert(DSVM_STAY_WRITEBACK == (int)DRM_SVM_STAY_WRITEBACK);
static_assert(DSVM_STAY_LARGE_FOLIO == (int)DRM_SVM_STAY_LARGE_FOLIO);
static_assert(DSVM_STAY_FOREIGN == (int)DRM_SVM_STAY_FOREIGN);
static_assert(DSVM_STAY_NO_DEVICE_MEMORY == (int)DRM_SVM_STAY_NO_DEVICE_MEMORY);
static_assert(DSVM_STAY_NO_DMA == (int)DRM_SVM_STAY_NO_DMA);
static_assert(DSVM_STAY_BUSY == (int)DRM_SVM_STAY_BUSY);
static_assert(DSVM_STAYS == (int)DRM_SVM_STAYS);
