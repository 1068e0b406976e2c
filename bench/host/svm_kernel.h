/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * kernel.h, and as much of the kernel's memory management as two libraries for shared virtual
 * memory need to run side by side: ours, and the kernel's own, whose drm_gpusvm.c,
 * lib/interval_tree.c and lib/rbtree.c are compiled as they are.
 *
 * A process is one VMA over all of its address space, in which everything is allowed. Locks and
 * references are as in kernel.h. There are no pages: what collects or maps them is compiled, and
 * nobody calls it.
 */
#ifndef BENCH_HOST_SVM_KERNEL_H
#define BENCH_HOST_SVM_KERNEL_H

#include <limits.h>

#include "bench/host/kernel.h"

#include <linux/align.h>
#include <linux/interval_tree.h>
#include <linux/log2.h>
#include <linux/sizes.h>

#define EXPORT_SYMBOL(symbol) struct bench_nothing
#undef WARN_ON_ONCE
#define WARN_ON_ONCE(condition) bench_warn(condition, #condition)
#undef BUILD_BUG_ON
#define BUILD_BUG_ON(condition) ((void)sizeof(char[1 - 2 * !!(condition)]))
#define PAGE_SHIFT 12
#undef PAGE_SIZE
#define PAGE_SIZE (1ul << PAGE_SHIFT)
#undef PAGE_MASK
#define PAGE_MASK (~(PAGE_SIZE - 1))
#define __must_check
#define fs_reclaim_acquire(gfp) ((void)0)
#define fs_reclaim_release(gfp) ((void)0)
#define might_lock(lock) ((void)(lock))
#define lockdep_is_held(lock) ((void)(lock), 1)
#define mutex_destroy(lock) ((void)(lock))
#define mutex_lock_killable(lock) ((void)(lock), 0)
#define kvfree(memory) kfree(memory)
#define kvcalloc(count, size, gfp) kzalloc((count) * (size), gfp)
#define kvmalloc_array(count, size, gfp) kmalloc((count) * (size), gfp)
#define kvzalloc_objs(object, count) ((typeof(object) *)kzalloc((count) * sizeof(object), 0))
#define lower_32_bits(value) ((u32)(value))

struct completion {
	int nothing;
};

struct device;

/* As large as it is in a kernel, because of what lies behind it. */
struct rw_semaphore {
	long nothing[5];
};

#define init_rwsem(lock) ((void)(lock))
#define down_read(lock) ((void)(lock))
#define up_read(lock) ((void)(lock))
#define down_write(lock) ((void)(lock))
#define up_write(lock) ((void)(lock))

/* --- Tracepoints: off, as in kernel.h ----------------------------------------------------- */

#define trace_gpusvm_range_make(range) ((void)0)
#define trace_gpusvm_range_trim(range, tail) ((void)0)
#define trace_gpusvm_range_remove(range) ((void)0)
#define trace_gpusvm_range_free(range) ((void)0)
#define trace_gpusvm_fault(gpusvm, request, range) ((void)0)
#define trace_gpusvm_fault_enabled() 0
#define trace_gpusvm_invalidate(event, result) ((void)0)
#define trace_gpusvm_invalidate_finish(event, result) ((void)0)

/* --- Processes ---------------------------------------------------------------------------- */

struct mm_struct {
	int nothing;
};

struct vm_area_struct {
	unsigned long vm_start;
	unsigned long vm_end;
	unsigned long vm_flags;
};

#define VM_READ 1ul
#define VM_WRITE 2ul
#define VM_IO 4ul
#define VM_PFNMAP 8ul

#define mmgrab(mm) ((void)(mm))
#define mmdrop(mm) ((void)(mm))
#define mmget_not_zero(mm) ((void)(mm), true)
#define mmput(mm) ((void)(mm))
#define mmap_read_lock(mm) ((void)(mm))
#define mmap_read_unlock(mm) ((void)(mm))
#define mmap_assert_locked(mm) ((void)(mm))
#define vma_is_anonymous(vma) ((void)(vma), true)
#define is_vm_hugetlb_page(vma) ((void)(vma), false)

static inline struct vm_area_struct *vma_lookup(struct mm_struct *mm, unsigned long addr)
{
	static struct vm_area_struct all = {0, 1ul << 47, VM_READ | VM_WRITE};

	return addr < all.vm_end ? &all : NULL;
}

#define find_vma_intersection(mm, start, end) vma_lookup(mm, start)

/* --- Interval notifiers ------------------------------------------------------------------- */

struct mmu_interval_notifier;

struct mmu_notifier_range {
	unsigned long start;
	unsigned long end;
	int event;
};

struct mmu_interval_notifier_ops {
	bool (*invalidate)(struct mmu_interval_notifier *notifier,
			   const struct mmu_notifier_range *range, unsigned long seq);
};

/* As large as it is in a kernel, as above. */
struct mmu_interval_notifier {
	struct interval_tree_node interval_tree;
	const struct mmu_interval_notifier_ops *ops;
	struct mm_struct *mm;
	void *nothing[2];
	unsigned long invalidate_seq;
};

#define MMU_NOTIFY_UNMAP 0
#define mmu_notifier_range_blockable(range) ((void)(range), true)
#define mmu_interval_set_seq(notifier, seq) ((notifier)->invalidate_seq = (seq))
#define mmu_interval_read_begin(notifier) ((notifier)->invalidate_seq)
#define mmu_interval_read_retry(notifier, seq) ((notifier)->invalidate_seq != (seq))
#define mmu_interval_notifier_remove(notifier) ((void)(notifier))

static inline int mmu_interval_notifier_insert(struct mmu_interval_notifier *notifier,
					       struct mm_struct *mm, unsigned long start,
					       unsigned long length,
					       const struct mmu_interval_notifier_ops *ops)
{
	notifier->mm = mm;
	notifier->ops = ops;
	return 0;
}

/* --- Pages: nobody comes here ------------------------------------------------------------- */

struct page;
struct folio;
struct dev_pagemap;
struct drm_pagemap;
typedef u64 dma_addr_t;

enum dma_data_direction { DMA_BIDIRECTIONAL, DMA_TO_DEVICE, DMA_FROM_DEVICE, DMA_NONE };

struct dma_iova_state {
	dma_addr_t addr;
	u64 __size;
};

struct hmm_range {
	struct mmu_interval_notifier *notifier;
	unsigned long notifier_seq;
	unsigned long start;
	unsigned long end;
	unsigned long *hmm_pfns;
	unsigned long default_flags;
	void *dev_private_owner;
};

#define HMM_PFN_FLAGS 7ul
#define HMM_PFN_VALID 1ul
#define HMM_PFN_REQ_FAULT 2ul
#define HMM_PFN_REQ_WRITE 4ul
#define HMM_RANGE_DEFAULT_TIMEOUT 1000
#define jiffies 0ul
#define msecs_to_jiffies(ms) ((unsigned long)(ms))
#define time_after(a, b) ((long)((b) - (a)) < 0)
#define time_after_eq(a, b) ((long)((a) - (b)) >= 0)

#define bench_no_page(type) ((type)(BENCH_NOT_MODELLED(), 0ul))
#define hmm_range_fault(range) ((void)(range), bench_no_page(int))
#define hmm_range_fault_unlocked_timeout(range, timeout) \
	((void)(range), (void)(timeout), bench_no_page(int))
#define hmm_pfn_to_map_order(pfn) bench_no_page(unsigned int)
#define hmm_pfn_to_page(pfn) bench_no_page(struct page *)
#define hmm_pfn_to_phys(pfn) bench_no_page(phys_addr_t)
#define page_pgmap(page) ((void)(page), bench_no_page(struct dev_pagemap *))
#define is_device_private_page(page) ((void)(page), bench_no_page(bool))
#define is_device_coherent_page(page) ((void)(page), bench_no_page(bool))
#define is_zone_device_page(page) ((void)(page), bench_no_page(bool))
#define page_folio(page) bench_no_page(struct folio *)
#define folio_zone_device_data(folio) bench_no_page(void *)
#define dma_map_page(dev, page, offset, size, dir) ((void)(dir), bench_no_page(dma_addr_t))
#define dma_unmap_page(dev, addr, size, dir) ((void)(dev), BENCH_NOT_MODELLED())
#define dma_mapping_error(dev, addr) bench_no_page(bool)
#define dma_use_iova(state) ((void)(state), bench_no_page(bool))
#define dma_iova_try_alloc(dev, state, phys, size) bench_no_page(bool)
#define dma_iova_link(dev, state, phys, offset, size, dir, attrs) bench_no_page(int)
#define dma_iova_sync(dev, state, offset, size) bench_no_page(int)
#define dma_iova_unlink(dev, state, offset, size, dir, attrs) BENCH_NOT_MODELLED()
#define dma_iova_free(dev, state) BENCH_NOT_MODELLED()

#endif /* BENCH_HOST_SVM_KERNEL_H */
