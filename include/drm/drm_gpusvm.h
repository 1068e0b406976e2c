/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * GPU shared virtual memory: mirrors a process's memory into a GPU's address
 * space. The API is that of Linux 7.3's header of this name; what is here
 * works, what is not here yet is absent. Put this project's include/ first on
 * the include path and nothing in the driver changes.
 *
 *	drm_gpusvm		one mirrored address space
 *	  drm_gpusvm_notifier	a window of it (notifier_size) with one mmu
 *				notifier, made at the first fault in it
 *	    drm_gpusvm_range	a chunk that the GPU maps as one
 *	  drm_gpusvm_pages	what is behind a range, as one device sees it;
 *				the driver embeds one or more in its range
 *
 * A GPU fault, in the driver's hands (its VM lock held throughout):
 *
 *	range = drm_gpusvm_range_find_or_insert(...);
 *	(perhaps: drm_pagemap_populate_mm(), to move the data first)
 *	drm_gpusvm_get_pages(...);
 *	drm_gpusvm_notifier_lock(gpusvm);
 *	if (drm_gpusvm_pages_valid(gpusvm, pages))
 *		write page-table entries;	// else begin again
 *	drm_gpusvm_notifier_unlock(gpusvm);
 *
 * To get write access to pages that are mapped for reading, zap the entries
 * first: drm_gpusvm_get_pages() replaces the mapping then.
 *
 * An invalidation, in &drm_gpusvm_ops.invalidate, under the notifier lock for
 * writing: zap the page-table entries of all ranges hit, flush the GPU's
 * TLB, then drm_gpusvm_unmap_pages() with in_notifier set. If the event is
 * MMU_NOTIFY_UNMAP the memory itself has gone: drm_gpusvm_range_set_unmapped()
 * and, later and under the VM lock, drm_gpusvm_range_remove().
 *
 * Locks, outermost first: the driver's VM lock (given to
 * drm_gpusvm_driver_set_lock(), asserted and never taken here), mmap_lock, the
 * notifier lock. Memory may be reclaimed while the notifier lock is waited
 * for, so nothing may be allocated under it.
 */
#ifndef __DRM_GPUSVM_H__
#define __DRM_GPUSVM_H__

#include <linux/bug.h>
#include <linux/dma-mapping.h>
#include <linux/interval_tree.h>
#include <linux/kref.h>
#include <linux/limits.h>
#include <linux/list.h>
#include <linux/lockdep.h>
#include <linux/mmu_notifier.h>
#include <linux/mutex.h>
#include <linux/rwsem.h>
#include <linux/string.h>

#include "drm_svm/link_names.h"
#include "drm_svm/svm.h"

struct dev_pagemap;
struct drm_device;
struct drm_gpusvm;
struct drm_gpusvm_notifier;
struct drm_gpusvm_range;
struct drm_pagemap;
struct drm_pagemap_addr;
struct drm_svm_finish;

/**
 * struct drm_gpusvm_ops - What a driver does for GPU SVM
 */
struct drm_gpusvm_ops {
	/**
	 * @notifier_alloc: Makes a zeroed notifier, for a driver that embeds
	 * it. Optional. May sleep.
	 *
	 * Return: the notifier, or NULL if there is no memory.
	 */
	struct drm_gpusvm_notifier *(*notifier_alloc)(void);

	/**
	 * @notifier_free: Frees what @notifier_alloc made. Optional. May sleep.
	 */
	void (*notifier_free)(struct drm_gpusvm_notifier *notifier);

	/**
	 * @range_alloc: Makes a zeroed range, for a driver that embeds it. Optional. May
	 * sleep; mmap_lock is held for reading, but not in drm_svm_range_trim().
	 *
	 * Return: the range, or NULL if there is no memory.
	 */
	struct drm_gpusvm_range *(*range_alloc)(struct drm_gpusvm *gpusvm);

	/**
	 * @range_free: Frees what @range_alloc made, in the context of the
	 * last drm_gpusvm_range_put(). Optional.
	 */
	void (*range_free)(struct drm_gpusvm_range *range);

	/**
	 * @invalidate: Takes the span of @mmu_range within @notifier away from
	 * the GPU. Required, if there is no @invalidate_start. Runs inside an
	 * mmu notifier under the notifier lock for writing: may wait for the
	 * GPU, may not allocate.
	 */
	void (*invalidate)(struct drm_gpusvm *gpusvm,
			   struct drm_gpusvm_notifier *notifier,
			   const struct mmu_notifier_range *mmu_range);

	/*
	 * What follows is this library's own, for drivers that want more than
	 * mainline's contract; see drm/drm_svm.h.
	 */

	/** @features: DRM_SVM_WINDOW_LOCKS or 0 */
	unsigned int features;

	/**
	 * @range_pages: The array of pages objects behind a range, one for each
	 * device; the number of them goes to @count. Always the same for a
	 * range. With it, a range of which the CPU unmaps a part loses only
	 * that part (drm_svm_range_set_gone()). Any context.
	 */
	struct drm_gpusvm_pages *(*range_pages)(struct drm_gpusvm_range *range,
						unsigned int *count);

	/**
	 * @range_split: @range has got new ends in drm_svm_range_trim(); @tail,
	 * if it is not NULL, is a new range for what was behind the part that
	 * has gone. For what the driver keeps of a range beside its pages.
	 * Optional. Under the window's lock for writing: may not allocate.
	 */
	void (*range_split)(struct drm_gpusvm_range *range,
			    struct drm_gpusvm_range *tail);

	/**
	 * @invalidate_start: In place of @invalidate, in two passes: takes the
	 * page-table entries away and begins to flush the TLB, for one device
	 * after the other; the pages stay mapped. Needs @range_pages and
	 * @invalidate_finish. Context as that of @invalidate.
	 *
	 * Return: true if a flush is under way, so that it is worth while to do
	 * something else before @invalidate_finish.
	 */
	bool (*invalidate_start)(struct drm_gpusvm *gpusvm,
				 struct drm_gpusvm_notifier *notifier,
				 const struct mmu_notifier_range *mmu_range);

	/**
	 * @invalidate_finish: The second pass, which always follows: waits for
	 * all flushes that were begun before, also those of other events, and
	 * unmaps all pages that @mmu_range meets, whatever its kind. At once, if no flush is under way, or
	 * the kernel knows no second pass (7.3 does). Else the notifier lock is
	 * dropped in between; pages of the span are not valid meanwhile, and
	 * whoever unmaps or frees pages outside of an invalidation flushes
	 * before, whether or not there was anything to zap; and whoever zaps
	 * begins to flush under the same lock.
	 */
	void (*invalidate_finish)(struct drm_gpusvm *gpusvm,
				  struct drm_gpusvm_notifier *notifier,
				  const struct mmu_notifier_range *mmu_range);
};

/**
 * DRM_SVM_WINDOW_LOCKS - Each window has a notifier lock of its own
 *
 * In &drm_gpusvm_ops.features, together with @range_pages: what the notifier
 * lock guards for a window's ranges and their pages is guarded by
 * drm_svm_window_lock() instead, so that invalidations exclude page-table
 * updates in the same window only.
 * &drm_gpusvm.notifier_lock guards nothing but the set of windows then.
 */
#define DRM_SVM_WINDOW_LOCKS (1u << 0)

/**
 * struct drm_gpusvm_notifier - A window of the address space
 * @gpusvm: what it belongs to; immutable
 * @notifier: the mmu notifier
 * @core: the library's view of the fields beside it
 * @itree: where it is; ends immutable
 * @entry: in &drm_gpusvm.notifier_list
 * @root: the library's
 * @range_list: the window's ranges in order
 * @flags: @flags.removed is set once @notifier takes no more invalidations
 * @lock: see DRM_SVM_WINDOW_LOCKS
 * @finish: room for invalidations between their passes; NULL if there are
 *	none. Immutable
 */
struct drm_gpusvm_notifier {
	struct drm_gpusvm *gpusvm;
	struct mmu_interval_notifier notifier;
	union {
		struct dsvm_notifier core;
		struct {
			struct interval_tree_node itree;
			struct list_head entry;
			struct rb_root_cached root;
			struct list_head range_list;
			struct {
				u32 removed : 1;
			} flags;
		};
	};
	struct rw_semaphore lock;
	struct drm_svm_finish *finish;
};

/**
 * struct drm_gpusvm_pages_flags - State of a struct drm_gpusvm_pages
 * @unmapped: the CPU's mapping has gone; they cannot be had any more
 * @has_devmem_pages: some are device memory
 * @has_dma_mapping: they are mapped for the device
 * @stale: they are about to be unmapped from it; see &drm_gpusvm_ops.invalidate_finish
 * @writable: all of them are mapped for writing
 * @unmaps: the library's
 * @__flags: all of them, for READ_ONCE()
 *
 * Written under the notifier lock; a look without it is opportunistic.
 */
struct drm_gpusvm_pages_flags {
	union {
		struct {
			u16 unmapped : 1;
			u16 has_devmem_pages : 1;
			u16 has_dma_mapping : 1;
			u16 stale : 1;
			u16 writable : 1;
			u16 unmaps : 1;
		};
		u16 __flags;
	};
};

/**
 * struct drm_gpusvm_pages - Pages as one device sees them
 * @drm: the device that they are mapped for; immutable after drm_gpusvm_init_pages()
 * @core: the library's view of the fields beside it
 * @dma_addr: where the device finds them, one entry for each naturally
 *	aligned run of 2^order pages, in address order, without gaps between
 *	entries. Valid as long as drm_gpusvm_pages_valid() says so.
 * @dpagemap: the provider of the device pages among them, referenced
 * @notifier_seq: sequence of the driver's own notifier at which @dma_addr was
 *	valid; of a window's it is to be printed only
 * @flags: see &struct drm_gpusvm_pages_flags
 */
struct drm_gpusvm_pages {
	struct drm_device *drm;
	union {
		struct dsvm_pages core;
		struct {
			struct drm_pagemap_addr *dma_addr;
			struct drm_pagemap *dpagemap;
			unsigned long notifier_seq;
			struct drm_gpusvm_pages_flags flags;
		};
	};
};

/**
 * struct drm_gpusvm_range_flags - State of a range
 * @migrate_devmem: its memory may move to a device; set at creation
 * @unmapped: the CPU unmapped all or some of it; it has to be removed
 * @partial_unmap: the CPU unmapped only some of it
 * @removed: it has been removed; somebody still has a reference
 * @__flags: all of them, for READ_ONCE()
 *
 * All but @migrate_devmem are written under the notifier lock.
 */
struct drm_gpusvm_range_flags {
	union {
		struct {
			u16 migrate_devmem : 1;
			u16 unmapped : 1;
			u16 partial_unmap : 1;
			u16 removed : 1;
		};
		u16 __flags;
	};
};

/**
 * struct drm_gpusvm_range - A chunk of memory that the GPU maps as one
 * @gpusvm: what it belongs to; immutable
 * @notifier: the window it is in; valid until it is removed
 * @refcount: references
 * @core: the library's view of the fields beside it
 * @validity: the library's: a notifier in no tree, which hears of invalidations of this range only
 * @itree: where it is; the ends change in drm_svm_range_trim() only
 * @flags: see &struct drm_gpusvm_range_flags
 * @__mm: that of @validity
 * @entry: in &drm_gpusvm_notifier.range_list
 * @lock: for drivers without a lock around all ranges; see drm_svm_range_lock()
 */
struct drm_gpusvm_range {
	struct drm_gpusvm *gpusvm;
	struct drm_gpusvm_notifier *notifier;
	struct kref refcount;
	union {
		struct dsvm_range core;
		struct mmu_interval_notifier validity;
		struct {
			struct interval_tree_node itree;
			struct drm_gpusvm_range_flags flags;
			struct mm_struct *__mm;
			struct list_head entry;
		};
	};
	struct mutex lock;
};

/**
 * struct drm_gpusvm - One address space mirrored for a GPU
 * @name: for messages
 * @ops: the driver's callbacks
 * @notifier_lock: guards the set of windows and ranges, page validity and sequence numbers
 * @core: the library's view of the fields beside it
 * @mm: the address space
 * @mm_start: first byte that may be mirrored
 * @mm_range: how many bytes may be mirrored
 * @notifier_size: size of a window in bytes, a power of two
 * @chunk_sizes: sizes of ranges in bytes, powers of two in descending order
 * @num_chunks: how many
 * @root: the library's
 * @notifier_list: the windows in order
 *
 * Not reference-counted: embed it in the driver's VM. All but the containers
 * is immutable after drm_gpusvm_init().
 */
struct drm_gpusvm {
	const char *name;
	const struct drm_gpusvm_ops *ops;
	struct rw_semaphore notifier_lock;
	union {
		struct dsvm_svm core;
		struct {
			struct mm_struct *mm;
			unsigned long mm_start;
			unsigned long mm_range;
			unsigned long notifier_size;
			const unsigned long *chunk_sizes;
			int num_chunks;
			struct rb_root_cached root;
			struct list_head notifier_list;
		};
	};
#ifdef CONFIG_LOCKDEP
	/** @lock_dep_map: the driver's VM lock, to be asserted */
	struct lockdep_map *lock_dep_map;
#endif
};

/**
 * enum drm_svm_access - What a GPU wants to do with memory
 * @DRM_SVM_ACCESS_ANY: not known; whatever &drm_gpusvm_ctx.read_only allows:
 *	mainline's behaviour
 * @DRM_SVM_ACCESS_READ: it reads. Nothing is made writable for the CPU, so
 *	sharing after a fork and zero pages stay, and read-only memory will do.
 *	Pages that the CPU may write now are mapped for writing, unless
 *	&drm_gpusvm_ctx.read_only
 * @DRM_SVM_ACCESS_WRITE: it writes: -EPERM on read-only memory, and with
 *	&drm_gpusvm_ctx.read_only
 */
enum drm_svm_access {
	DRM_SVM_ACCESS_ANY,
	DRM_SVM_ACCESS_READ,
	DRM_SVM_ACCESS_WRITE,
};

/**
 * struct drm_gpusvm_ctx - How an operation is meant
 * @device_private_page_owner: device pages of this owner may stay on their
 *	device; others come back to RAM
 * @check_pages_threshold: a new range of up to this many bytes is made only
 *	where all pages are present, else a smaller one
 * @timeslice_ms: for the driver's own use when it migrates, in milliseconds
 * @in_notifier: called from &drm_gpusvm_ops.invalidate, the notifier lock is held
 * @read_only: the GPU's mapping is for reading: nothing is made writable, and
 *	read-only memory will do
 * @devmem_possible: new ranges may move to device memory
 * @devmem_only: refuse RAM
 * @allow_mixed: RAM and the memory of one device may be mixed in a range
 * @access: what the GPU wants; this library's own
 */
struct drm_gpusvm_ctx {
	void *device_private_page_owner;
	unsigned long check_pages_threshold;
	unsigned long timeslice_ms;
	unsigned int in_notifier : 1;
	unsigned int read_only : 1;
	unsigned int devmem_possible : 1;
	unsigned int devmem_only : 1;
	unsigned int allow_mixed : 1;
	enum drm_svm_access access;
};

int drm_gpusvm_init(struct drm_gpusvm *gpusvm,
		    const char *name,
		    struct mm_struct *mm,
		    unsigned long mm_start, unsigned long mm_range,
		    unsigned long notifier_size,
		    const struct drm_gpusvm_ops *ops,
		    const unsigned long *chunk_sizes, int num_chunks);

void drm_gpusvm_fini(struct drm_gpusvm *gpusvm);

unsigned long
drm_gpusvm_find_vma_start(struct drm_gpusvm *gpusvm,
			  unsigned long start,
			  unsigned long end);

struct drm_gpusvm_range *
drm_gpusvm_range_find_or_insert(struct drm_gpusvm *gpusvm,
				unsigned long fault_addr,
				unsigned long gpuva_start,
				unsigned long gpuva_end,
				const struct drm_gpusvm_ctx *ctx);

void drm_gpusvm_range_remove(struct drm_gpusvm *gpusvm,
			     struct drm_gpusvm_range *range);

int drm_gpusvm_range_evict(struct drm_gpusvm *gpusvm,
			   struct drm_gpusvm_range *range);

struct drm_gpusvm_range *
drm_gpusvm_range_get(struct drm_gpusvm_range *range);

void drm_gpusvm_range_put(struct drm_gpusvm_range *range);

bool drm_gpusvm_pages_valid(struct drm_gpusvm *gpusvm,
			    struct drm_gpusvm_pages *svm_pages);

bool drm_gpusvm_has_mapping(struct drm_gpusvm *gpusvm, unsigned long start,
			    unsigned long end);

struct drm_gpusvm_notifier *
drm_gpusvm_notifier_find(struct drm_gpusvm *gpusvm, unsigned long start,
			 unsigned long end);

struct drm_gpusvm_range *
drm_gpusvm_range_find(struct drm_gpusvm_notifier *notifier, unsigned long start,
		      unsigned long end);

void drm_gpusvm_range_set_unmapped(struct drm_gpusvm_range *range,
				   struct drm_gpusvm_pages *pages,
				   unsigned int pages_count,
				   const struct mmu_notifier_range *mmu_range);

int drm_gpusvm_get_pages(struct drm_gpusvm *gpusvm,
			 struct drm_gpusvm_pages *svm_pages,
			 struct mm_struct *mm,
			 struct mmu_interval_notifier *notifier,
			 unsigned long pages_start, unsigned long pages_end,
			 const struct drm_gpusvm_ctx *ctx);

void drm_gpusvm_unmap_pages(struct drm_gpusvm *gpusvm,
			    struct drm_gpusvm_pages *svm_pages,
			    unsigned long npages,
			    const struct drm_gpusvm_ctx *ctx);

void drm_gpusvm_free_pages(struct drm_gpusvm *gpusvm,
			   struct drm_gpusvm_pages *svm_pages,
			   unsigned long npages);

/**
 * drm_gpusvm_init_pages() - Sets up the pages of a fresh range
 * @svm_pages: the pages, embedded in the driver's range
 * @drm: the device that they will be mapped for
 *
 * Once for each instance, before anything else is done with it.
 */
static inline void drm_gpusvm_init_pages(struct drm_gpusvm_pages *svm_pages,
					 struct drm_device *drm)
{
	memset(svm_pages, 0, sizeof(*svm_pages));
	svm_pages->drm = drm;
	svm_pages->notifier_seq = LONG_MAX;
}

/**
 * enum drm_gpusvm_scan_result - What drm_gpusvm_scan_mm() has found
 * @DRM_GPUSVM_SCAN_UNPOPULATED: a page is not there, may not be read, or is of
 *	another owner's device; or there was no looking
 * @DRM_GPUSVM_SCAN_EQUAL: all pages are of the pagemap asked for
 * @DRM_GPUSVM_SCAN_OTHER: all are of one other pagemap
 * @DRM_GPUSVM_SCAN_SYSTEM: all are in RAM
 * @DRM_GPUSVM_SCAN_MIXED_DEVICE: all are device pages, of two pagemaps or more
 * @DRM_GPUSVM_SCAN_MIXED: some are in RAM, some are device pages
 */
enum drm_gpusvm_scan_result {
	DRM_GPUSVM_SCAN_UNPOPULATED,
	DRM_GPUSVM_SCAN_EQUAL,
	DRM_GPUSVM_SCAN_OTHER,
	DRM_GPUSVM_SCAN_SYSTEM,
	DRM_GPUSVM_SCAN_MIXED_DEVICE,
	DRM_GPUSVM_SCAN_MIXED,
};

enum drm_gpusvm_scan_result drm_gpusvm_scan_mm(struct drm_gpusvm_range *range,
					       void *dev_private_owner,
					       const struct dev_pagemap *pagemap);

#ifdef CONFIG_LOCKDEP
/**
 * drm_gpusvm_driver_set_lock() - Names the lock that serialises ranges
 * @gpusvm: the GPU SVM
 * @lock: the driver's VM lock, of any kind that has a dep_map
 *
 * From then on drm_gpusvm_range_find_or_insert() and
 * drm_gpusvm_range_remove() complain when it is not held.
 */
#define drm_gpusvm_driver_set_lock(gpusvm, lock)				\
	do {									\
		if (!WARN((gpusvm)->lock_dep_map,				\
			  "the GPU SVM's driver lock is set twice"))		\
			(gpusvm)->lock_dep_map = &(lock)->dep_map;		\
	} while (0)
#else
#define drm_gpusvm_driver_set_lock(gpusvm, lock) do {} while (0)
#endif

/**
 * drm_gpusvm_notifier_lock() - Keeps invalidations out
 * @gpusvm__: the GPU SVM
 *
 * Between a check with drm_gpusvm_pages_valid() and the last page-table entry
 * written. May sleep; nothing may be allocated while it is held.
 */
#define drm_gpusvm_notifier_lock(gpusvm__)	\
	down_read(&(gpusvm__)->notifier_lock)

/**
 * drm_gpusvm_notifier_unlock() - Ends drm_gpusvm_notifier_lock()
 * @gpusvm__: the GPU SVM
 */
#define drm_gpusvm_notifier_unlock(gpusvm__)	\
	up_read(&(gpusvm__)->notifier_lock)

/**
 * drm_gpusvm_range_start() - First byte of a range
 * @range: the range
 *
 * Return: the address.
 */
static inline unsigned long
drm_gpusvm_range_start(struct drm_gpusvm_range *range)
{
	return range->itree.start;
}

/**
 * drm_gpusvm_range_end() - First byte after a range
 * @range: the range
 *
 * Return: the address.
 */
static inline unsigned long
drm_gpusvm_range_end(struct drm_gpusvm_range *range)
{
	return range->itree.last + 1;
}

/**
 * drm_gpusvm_range_size() - Size of a range
 * @range: the range
 *
 * Return: bytes.
 */
static inline unsigned long
drm_gpusvm_range_size(struct drm_gpusvm_range *range)
{
	return drm_gpusvm_range_end(range) - drm_gpusvm_range_start(range);
}

/**
 * drm_gpusvm_notifier_start() - First byte of a window
 * @notifier: the window
 *
 * Return: the address.
 */
static inline unsigned long
drm_gpusvm_notifier_start(struct drm_gpusvm_notifier *notifier)
{
	return notifier->itree.start;
}

/**
 * drm_gpusvm_notifier_end() - First byte after a window
 * @notifier: the window
 *
 * Return: the address.
 */
static inline unsigned long
drm_gpusvm_notifier_end(struct drm_gpusvm_notifier *notifier)
{
	return notifier->itree.last + 1;
}

/**
 * drm_gpusvm_notifier_size() - Size of a window
 * @notifier: the window
 *
 * Return: bytes.
 */
static inline unsigned long
drm_gpusvm_notifier_size(struct drm_gpusvm_notifier *notifier)
{
	return drm_gpusvm_notifier_end(notifier) -
	       drm_gpusvm_notifier_start(notifier);
}

/**
 * __drm_gpusvm_range_next() - The range after a range in its window
 * @range: the range, or NULL
 *
 * Return: the next one in address order; NULL after the last, and for NULL.
 */
static inline struct drm_gpusvm_range *
__drm_gpusvm_range_next(struct drm_gpusvm_range *range)
{
	if (!range || list_is_last(&range->entry, &range->notifier->range_list))
		return NULL;

	return list_next_entry(range, entry);
}

/**
 * drm_gpusvm_for_each_range() - Walks a window's ranges in a span
 * @range__: the cursor; where it is not NULL the walk begins with it
 * @notifier__: the window
 * @start__: first byte
 * @end__: first byte after the span
 *
 * Under the driver's lock or the notifier lock.
 */
#define drm_gpusvm_for_each_range(range__, notifier__, start__, end__)		\
	for ((range__) = (range__) ?:						\
	     drm_gpusvm_range_find((notifier__), (start__), (end__));		\
	     (range__) && drm_gpusvm_range_start(range__) < (end__);		\
	     (range__) = __drm_gpusvm_range_next(range__))

/**
 * drm_gpusvm_for_each_range_safe() - The same, and the current one may be removed
 * @range__: the cursor
 * @next__: room for the one after it
 * @notifier__: the window
 * @start__: first byte
 * @end__: first byte after the span
 *
 * Removing a window's last range frees the window; do not touch it after the
 * walk then.
 */
#define drm_gpusvm_for_each_range_safe(range__, next__, notifier__, start__, end__)	\
	for ((range__) = drm_gpusvm_range_find((notifier__), (start__), (end__)),	\
	     (next__) = __drm_gpusvm_range_next(range__);				\
	     (range__) && drm_gpusvm_range_start(range__) < (end__);			\
	     (range__) = (next__), (next__) = __drm_gpusvm_range_next(range__))

/**
 * __drm_gpusvm_notifier_next() - The window after a window
 * @notifier: the window, or NULL
 *
 * Return: the next one in address order; NULL after the last, and for NULL.
 */
static inline struct drm_gpusvm_notifier *
__drm_gpusvm_notifier_next(struct drm_gpusvm_notifier *notifier)
{
	if (!notifier || list_is_last(&notifier->entry,
				      &notifier->gpusvm->notifier_list))
		return NULL;

	return list_next_entry(notifier, entry);
}

/**
 * drm_gpusvm_for_each_notifier() - Walks the windows in a span
 * @notifier__: the cursor
 * @gpusvm__: the GPU SVM
 * @start__: first byte
 * @end__: first byte after the span
 *
 * Under the driver's lock or the notifier lock.
 */
#define drm_gpusvm_for_each_notifier(notifier__, gpusvm__, start__, end__)		\
	for ((notifier__) = drm_gpusvm_notifier_find((gpusvm__), (start__), (end__));	\
	     (notifier__) && drm_gpusvm_notifier_start(notifier__) < (end__);		\
	     (notifier__) = __drm_gpusvm_notifier_next(notifier__))

/**
 * drm_gpusvm_for_each_notifier_safe() - The same, and the current one may go away
 * @notifier__: the cursor
 * @next__: room for the one after it
 * @gpusvm__: the GPU SVM
 * @start__: first byte
 * @end__: first byte after the span
 */
#define drm_gpusvm_for_each_notifier_safe(notifier__, next__, gpusvm__, start__, end__)	\
	for ((notifier__) = drm_gpusvm_notifier_find((gpusvm__), (start__), (end__)),	\
	     (next__) = __drm_gpusvm_notifier_next(notifier__);				\
	     (notifier__) && drm_gpusvm_notifier_start(notifier__) < (end__);		\
	     (notifier__) = (next__),							\
	     (next__) = __drm_gpusvm_notifier_next(notifier__))

#endif /* __DRM_GPUSVM_H__ */
