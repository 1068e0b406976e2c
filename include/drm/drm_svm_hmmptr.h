/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * hmmptr: a CPU pointer that the GPU may use, at an address that the driver chose. One object for
 * two kinds of users: the memory of a userptr stays in RAM; that of a hmmptr with an owner may
 * also live in device memory, all of it or page by page.
 *
 * In the place of pinned pages there is a notifier, so the memory can still be reclaimed, moved
 * and unmapped by its process:
 *
 *	drm_svm_hmmptr_init()				once; the notifier is there from now on
 *
 *	again:
 *	drm_svm_hmmptr_populate(start, end)		pages are there, and known
 *	drm_svm_hmmptr_map_dma_pages(start, end)	-EAGAIN: again
 *	make page tables
 *	drm_svm_hmmptr_lock(set)
 *	if (!drm_svm_hmmptr_pages_valid(start, end))
 *		unlock, again
 *	drm_svm_hmmptr_for_each_run()			write page-table entries; &drm_svm_hmmptr_run
 *							says what may be written
 *	drm_svm_hmmptr_unlock(set)
 *
 *	drm_svm_hmmptr_put()				the last one: drm_svm_hmmptr_release()
 *
 * drm_svm_hmmptr_get_pages() is the first two steps with a bounded loop around them.
 *
 * What is known of a hmmptr it knows in pieces, of up to 2 MiB: each is what one call of populate
 * has found not populated in one block. Each is valid or not by itself, has one window of device
 * addresses where the device is behind an IOMMU that allows it, and costs memory only if it is
 * populated. One of which a part cannot be had any more, as after munmap(), is made smaller.
 *
 * An invalidation takes the pieces that it meets from the GPU, in two passes where the kernel has
 * them, and puts the hmmptr on a list of its set. A driver whose GPU cannot fault calls
 * drm_svm_hmmptr_revalidate() before each exec: it populates what is on the list, maps it, and lets
 * &drm_svm_hmmptr_ops.rebind write page-table entries. What has no memory any more it gives up,
 * until somebody maps it again. Then, with the fence of the job at hand:
 *
 *	drm_svm_hmmptr_lock(set)
 *	if (!drm_svm_hmmptr_all_valid(set))
 *		unlock, revalidate again
 *	publish the fence, where invalidate_start() waits for it
 *	drm_svm_hmmptr_unlock(set)
 *
 * In a GPU VA space a hmmptr is behind mappings without an object: &drm_gpuva.gem.offset of each
 * is the CPU's address of its first byte. There may be many to one hmmptr: when a mapping is split
 * or cut, its parts share the hmmptr (drm_svm_hmmptr_link()), and nothing has to be made that
 * might fail.
 *
 * Locks, outermost first: &drm_svm_hmmptr_set.revalidate, &drm_svm_hmmptr.lock (of one at a time),
 * mmap_lock, &drm_svm_hmmptr_set.notifier_lock. The last one is taken in mmu notifiers: nothing is
 * allocated under it. The library takes them all; a driver's own lock may be outside of all of
 * them, if it is one that is taken outside of the mmap_lock: a dma_resv is not.
 */
#ifndef __DRM_SVM_HMMPTR_H__
#define __DRM_SVM_HMMPTR_H__

#include <linux/kref.h>
#include <linux/list.h>
#include <linux/mmu_notifier.h>
#include <linux/mutex.h>
#include <linux/rwsem.h>
#include <linux/types.h>

#include "drm_svm/hmmptr.h"
#include "drm_svm/link_names.h"

struct drm_device;
struct drm_gpuva;
struct drm_svm_hmmptr;
struct drm_svm_finish;
struct mm_struct;

/**
 * struct drm_svm_hmmptr_ops - What a driver does for hmmptrs
 */
struct drm_svm_hmmptr_ops {
	/**
	 * @invalidate_start: Takes the page-table entries of all mappings that show [@start,
	 * @end) away (drm_svm_hmmptr_for_each_va()), and begins to flush the TLB. Runs inside an
	 * mmu notifier under the notifier lock for writing: may wait for the GPU, may not
	 * allocate. The span is of whole pieces, and may go beyond what the CPU changes.
	 *
	 * Return: true if a flush is under way, so that it is worth while to do something else
	 * before @invalidate_finish.
	 */
	bool (*invalidate_start)(struct drm_svm_hmmptr *hmmptr, unsigned long start,
				 unsigned long end);

	/**
	 * @invalidate_finish: Follows each @invalidate_start, with the same span: waits for all
	 * flushes that were begun before, by whomever. The GPU does not use the pages any more
	 * on return; the library unmaps them. Context as that of @invalidate_start; the notifier
	 * lock may have been dropped in between.
	 */
	void (*invalidate_finish)(struct drm_svm_hmmptr *hmmptr, unsigned long start,
				  unsigned long end);

	/**
	 * @rebind: In drm_svm_hmmptr_revalidate(): [@start, @end) is mapped for the device again.
	 * Writes page-table entries for the mappings that show it. Optional, for drivers that
	 * never call that. May sleep; the hmmptr's lock is held.
	 *
	 * Return: 0; -EAGAIN: drm_svm_hmmptr_pages_valid() says no, the library tries again;
	 * another errno ends the revalidation.
	 */
	int (*rebind)(struct drm_svm_hmmptr *hmmptr, unsigned long start, unsigned long end);

	/**
	 * @free: Frees a hmmptr, which was released, in the context of the last
	 * drm_svm_hmmptr_put(). May sleep.
	 */
	void (*free)(struct drm_svm_hmmptr *hmmptr);
};

/**
 * struct drm_svm_hmmptr_set - The hmmptrs of a GPU's address space
 * @ops: the driver's callbacks
 * @notifier_lock: guards what invalidations change; drm_svm_hmmptr_lock()
 * @revalidate: one revalidation at a time
 * @core: the library's
 *
 * Not reference-counted: embed it in the driver's VM, which outlives its hmmptrs.
 */
struct drm_svm_hmmptr_set {
	const struct drm_svm_hmmptr_ops *ops;
	struct rw_semaphore notifier_lock;
	struct mutex revalidate;
	struct dsvm_hmmptr_set core;
};

/**
 * struct drm_svm_hmmptr - A CPU pointer that the GPU may use
 * @set: what it belongs to; immutable
 * @drm: the device that its pages are mapped for; immutable
 * @mm: the address space; immutable, held as a struct
 * @start: first byte; immutable
 * @end: first byte after it; immutable
 * @refcount: references
 * @lock: of who populates, maps and unmaps
 * @notifier: over all of it
 * @mappings: mappings that show it, by &drm_gpuva.gem.entry; under the notifier lock, changed
 *	with it held for writing
 * @finish: room for invalidations between their passes; NULL if the kernel has no two
 * @core: the library's
 */
struct drm_svm_hmmptr {
	struct drm_svm_hmmptr_set *set;
	struct drm_device *drm;
	struct mm_struct *mm;
	unsigned long start;
	unsigned long end;
	struct kref refcount;
	struct mutex lock;
	struct mmu_interval_notifier notifier;
	struct list_head mappings;
	struct drm_svm_finish *finish;
	struct dsvm_hmmptr core;
};

/**
 * struct drm_svm_hmmptr_args - How a hmmptr is meant
 * @drm: the device that its pages are mapped for
 * @mm: the address space; NULL: the current process's
 * @start: first byte, page aligned
 * @end: first byte after it, page aligned
 * @owner: device pages of this owner may stay where they are (&dev_pagemap.owner); NULL, for a
 *	userptr: whatever is used comes to RAM
 * @read_only: nobody writes through it
 */
struct drm_svm_hmmptr_args {
	struct drm_device *drm;
	struct mm_struct *mm;
	unsigned long start;
	unsigned long end;
	void *owner;
	bool read_only;
};

/**
 * struct drm_svm_hmmptr_counters - What has happened to the hmmptrs of a set
 * @invalidations: invalidations that met a piece
 * @pieces_invalidated: pieces that they met
 * @collections: times that pages of a piece were collected
 * @collection_retries: attempts beyond their first
 * @collection_failures: those that failed
 * @pages_mapped: pages mapped for devices
 * @lost: pieces that a revalidation gave up: there is no memory any more
 * @injected: invalidations that were injected
 */
struct drm_svm_hmmptr_counters {
	u64 invalidations;
	u64 pieces_invalidated;
	u64 collections;
	u64 collection_retries;
	u64 collection_failures;
	u64 pages_mapped;
	u64 lost;
	u64 injected;
};

void drm_svm_hmmptr_set_init(struct drm_svm_hmmptr_set *set, const struct drm_svm_hmmptr_ops *ops);
void drm_svm_hmmptr_set_fini(struct drm_svm_hmmptr_set *set);
void drm_svm_hmmptr_read_counters(const struct drm_svm_hmmptr_set *set,
				  struct drm_svm_hmmptr_counters *out);

int drm_svm_hmmptr_init(struct drm_svm_hmmptr *hmmptr, struct drm_svm_hmmptr_set *set,
			const struct drm_svm_hmmptr_args *args);
void drm_svm_hmmptr_release(struct drm_svm_hmmptr *hmmptr);
struct drm_svm_hmmptr *drm_svm_hmmptr_get(struct drm_svm_hmmptr *hmmptr);
void drm_svm_hmmptr_put(struct drm_svm_hmmptr *hmmptr);

int drm_svm_hmmptr_populate(struct drm_svm_hmmptr *hmmptr, unsigned long start, unsigned long end,
			    bool write);
int drm_svm_hmmptr_map_dma_pages(struct drm_svm_hmmptr *hmmptr, unsigned long start,
				 unsigned long end);
int drm_svm_hmmptr_get_pages(struct drm_svm_hmmptr *hmmptr, unsigned long start, unsigned long end,
			     bool write);
void drm_svm_hmmptr_unmap_dma_pages(struct drm_svm_hmmptr *hmmptr, unsigned long start,
				    unsigned long end);
void drm_svm_hmmptr_forget(struct drm_svm_hmmptr *hmmptr, unsigned long start, unsigned long end);

void drm_svm_hmmptr_lock(struct drm_svm_hmmptr_set *set);
void drm_svm_hmmptr_unlock(struct drm_svm_hmmptr_set *set);
bool drm_svm_hmmptr_pages_valid(struct drm_svm_hmmptr *hmmptr, unsigned long start,
				unsigned long end);

/**
 * struct drm_svm_hmmptr_run - Pages that the device has at one address
 * @core: the library's; zero before the first step
 * @start: the CPU's address of the first one, in the span that was asked for
 * @end: first byte after them, likewise
 * @addr: the device's address of @start
 * @proto: as &drm_pagemap_addr.proto
 * @writable: the device may write to them
 */
struct drm_svm_hmmptr_run {
	struct dsvm_hmmptr_cursor core;
	unsigned long start;
	unsigned long end;
	u64 addr;
	u64 proto;
	bool writable;
};

bool drm_svm_hmmptr_next_run(struct drm_svm_hmmptr *hmmptr, unsigned long start,
			     unsigned long end, struct drm_svm_hmmptr_run *run);

/**
 * drm_svm_hmmptr_for_each_run() - Walks what is mapped of a span, in order
 * @run__: a &struct drm_svm_hmmptr_run
 * @hmmptr__: the hmmptr
 * @start__: first byte of the span
 * @end__: first byte after it
 *
 * Context: the notifier lock, all the way.
 */
#define drm_svm_hmmptr_for_each_run(run__, hmmptr__, start__, end__) \
	for (*(run__) = (struct drm_svm_hmmptr_run){}; \
	     drm_svm_hmmptr_next_run(hmmptr__, start__, end__, run__);)

void drm_svm_hmmptr_link(struct drm_svm_hmmptr *hmmptr, struct drm_gpuva *va);
void drm_svm_hmmptr_unlink(struct drm_svm_hmmptr *hmmptr, struct drm_gpuva *va);
bool drm_svm_hmmptr_va_span(const struct drm_gpuva *va, unsigned long start, unsigned long end,
			    u64 *va_start, u64 *va_end);

/**
 * drm_svm_hmmptr_for_each_va() - Walks the mappings that show a hmmptr
 * @va__: a &struct drm_gpuva
 * @hmmptr__: the hmmptr
 *
 * Context: the notifier lock.
 */
#define drm_svm_hmmptr_for_each_va(va__, hmmptr__) \
	list_for_each_entry(va__, &(hmmptr__)->mappings, gem.entry)

int drm_svm_hmmptr_revalidate(struct drm_svm_hmmptr_set *set);
bool drm_svm_hmmptr_all_valid(const struct drm_svm_hmmptr_set *set);

/* For tests of drivers. */
void drm_svm_hmmptr_inject(struct drm_svm_hmmptr *hmmptr, unsigned long start, unsigned long end);
void drm_svm_hmmptr_set_inject(struct drm_svm_hmmptr_set *set, u32 every);

#endif /* __DRM_SVM_HMMPTR_H__ */
