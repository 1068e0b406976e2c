/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * Types that the C++ core and the C shims share.
 *
 * This header and its neighbours are the whole vocabulary between the two
 * sides. They include nothing of the kernel and nothing of a C library, and
 * they mean the same in C11, in C++20, in a kernel and in user space: that is
 * what lets the same core run in both. Every struct here is plain data whose
 * size and offsets are asserted on the kernel's side of the fence
 * (src/linux/layout.c).
 */
#ifndef DRM_SVM_TYPES_H
#define DRM_SVM_TYPES_H

#ifdef __cplusplus
#define DSVM_EXTERN_C_BEGIN extern "C" {
#define DSVM_EXTERN_C_END }
typedef bool dsvm_bool;
#else
#define DSVM_EXTERN_C_BEGIN
#define DSVM_EXTERN_C_END
typedef _Bool dsvm_bool;
#endif

typedef unsigned char dsvm_u8;
typedef unsigned short dsvm_u16;
typedef unsigned int dsvm_u32;
typedef unsigned long long dsvm_u64;
typedef signed int dsvm_s32;
typedef signed long long dsvm_s64;
/* As wide as a pointer: what the kernel calls unsigned long. */
typedef unsigned long dsvm_usize;

/*
 * The page size is fixed at compile time, as it is in the kernel. The shims
 * assert that it is the kernel's.
 */
#define DSVM_PAGE_SHIFT 12
#define DSVM_PAGE_SIZE (1ul << DSVM_PAGE_SHIFT)

/*
 * Error numbers, as positive values; functions return them negated. They are
 * Linux's own, the same on all architectures that the kernel builds on here
 * (asserted on the kernel's side).
 */
#define DSVM_EPERM 1
#define DSVM_ENOENT 2
#define DSVM_EINTR 4
#define DSVM_EIO 5
#define DSVM_EAGAIN 11
#define DSVM_ENOMEM 12
#define DSVM_EFAULT 14
#define DSVM_EBUSY 16
#define DSVM_EEXIST 17
#define DSVM_ENODEV 19
#define DSVM_EINVAL 22
#define DSVM_ENOSPC 28
#define DSVM_ERANGE 34
#define DSVM_ETIME 62
#define DSVM_EOVERFLOW 75
#define DSVM_EOPNOTSUPP 95
#define DSVM_ERESTARTSYS 512 /* never seen by user space */

/*
 * The links of an intrusive, circular, doubly linked list. A head is a link
 * too. Same layout as the kernel's struct list_head, so that a public struct
 * can show the one as the other and drivers can walk a list with the kernel's
 * own macros.
 */
struct dsvm_link {
	struct dsvm_link *next;
	struct dsvm_link *prev;
};

/*
 * A node of an interval tree: three words that belong to the balanced tree,
 * then the interval with both ends included. Same layout as the kernel's struct
 * interval_tree_node, whose start and last drivers read.
 */
struct dsvm_interval {
	dsvm_usize tree[3];
	dsvm_usize first;
	dsvm_usize last;
	dsvm_usize unused; /* the kernel's greatest @last below; ours do not overlap */
};

/*
 * The root of a tree, and its first node in order or NULL. Same layout as the
 * kernel's struct rb_root_cached.
 */
struct dsvm_tree_root {
	void *root;
	void *leftmost;
};

/*
 * How a span of addresses is divided for an index of what lies in it, level by level
 * (core/base/block_index.h). A level has parts of 2^shift bytes.
 */
#define DSVM_INDEX_LEVELS 14
struct dsvm_index_shape {
	dsvm_usize mask; /* the size of the whole span, a power of two, less one */
	dsvm_u8 levels;
	dsvm_u8 shift[DSVM_INDEX_LEVELS]; /* descending */
	dsvm_u16 last[DSVM_INDEX_LEVELS]; /* how many parts there are in one of the level before, */
					  /* or in the whole, less one */
};

/* Such an index, for the whole span. All zero: there is none, but a tree. */
struct dsvm_index {
	dsvm_usize slot;
	const struct dsvm_index_shape *shape; /* immutable; outlives it */
};

/*
 * Objects of the environment that the core passes on and never looks into.
 * In the kernel each is the struct named beside it, cast; on the host they
 * are whatever the simulation makes of them.
 */
struct dsvm_os_dev;	 /* struct device */
struct dsvm_os_fault;	 /* struct vm_fault */
struct dsvm_os_fence;	 /* struct dma_fence */
struct dsvm_os_mm;	 /* struct mm_struct */
struct dsvm_os_notifier; /* struct mmu_interval_notifier */
struct dsvm_os_obj;	 /* struct drm_gem_object */
struct dsvm_os_page;	 /* struct page */
struct dsvm_os_provider; /* struct drm_pagemap: gives device memory */
struct dsvm_os_rwsem;	 /* struct rw_semaphore */
struct dsvm_os_vm_bo;	 /* struct drm_gpuvm_bo */
struct dsvm_os_vma;	 /* struct vm_area_struct */
struct dsvm_os_zdd;	 /* struct drm_pagemap_zdd: what device pages point to */

/* What a CPU page table says of one page, in the core's words. */
enum dsvm_page_kind {
	DSVM_PAGE_NONE,		/* not present, or no access */
	DSVM_PAGE_SYSTEM,	/* RAM */
	DSVM_PAGE_DEVICE,	/* a device's memory, of a drm_pagemap provider */
	DSVM_PAGE_OTHER,	/* memory that DMA cannot reach this way */
};

/* Which way data moves over DMA; the values are the kernel's. */
enum dsvm_dma_dir {
	DSVM_DMA_BIDIRECTIONAL = 0,
	DSVM_DMA_TO_DEVICE = 1,
	DSVM_DMA_FROM_DEVICE = 2,
	DSVM_DMA_NONE = 3, /* of an entry: it is not mapped any more */
};

/* @proto of struct dsvm_dma_addr: system memory, or the driver's own. */
#define DSVM_PROTO_SYSTEM 0
#define DSVM_PROTO_DRIVER 1

/*
 * An address that a device uses to reach 2^order pages. Same layout as struct
 * drm_pagemap_addr.
 */
struct dsvm_dma_addr {
	dsvm_u64 addr;
	dsvm_u64 proto : 54;
	dsvm_u64 order : 8;
	dsvm_u64 dir : 2;
};

/*
 * A window of device addresses; size 0: there is none. Same layout as struct
 * dma_iova_state.
 */
struct dsvm_iova {
	dsvm_u64 addr;
	dsvm_u64 size;
};

#endif /* DRM_SVM_TYPES_H */
