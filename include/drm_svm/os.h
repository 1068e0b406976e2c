/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * The only door out of the core: what it asks of the environment.
 *
 * In the kernel, src/linux implements these functions, each in a few lines
 * around one kernel call. On the host, tests/host and kunit/fake do, with
 * failure injection and checks. A function here decides nothing: whatever
 * retries, loops over pages or chooses lives in the core.
 *
 * "May sleep" means: not under a spinlock and not inside an mmu notifier of a
 * non-blockable kind. "Reclaim-safe" means: allocates nothing and takes no
 * lock under which anybody allocates, so it may run inside an mmu notifier.
 *
 * Functions that return int return 0 or a negated DSVM_E number.
 */
#ifndef DRM_SVM_OS_H
#define DRM_SVM_OS_H

#include "drm_svm/types.h"

DSVM_EXTERN_C_BEGIN

struct dsvm_devmem;

/* Memory ------------------------------------------------------------------ */

/* Zeroed memory, charged to the caller, or NULL. May sleep and reclaim; any size. */
void *dsvm_os_alloc(dsvm_usize bytes);
/* The same with whatever was there before, for who writes all of it. */
void *dsvm_os_alloc_unset(dsvm_usize bytes);
/* Gives back what one of these two gave; NULL is fine. May sleep. */
void dsvm_os_free(void *memory);

/*
 * The same without waiting, for a page at most, for who writes all that he reads. Any context but
 * NMI.
 */
void *dsvm_os_alloc_nowait(dsvm_usize bytes);
/* Gives back what that gave; NULL is fine. Any context but NMI. */
void dsvm_os_free_nowait(void *memory);

/* Time, log, warnings ------------------------------------------------------ */

/* Monotonic time in nanoseconds. Any context. */
dsvm_u64 dsvm_os_now_ns(void);
/*
 * The same to within a few milliseconds, from a beginning of its own, for a few instructions: as of
 * the timer's last tick. Differences are right in the mean. Any context.
 */
dsvm_u64 dsvm_os_tick_ns(void);
/* Lets others run for a moment between two tries. May sleep. */
void dsvm_os_relax(void);
/* Lets those run who wait for this CPU, between two steps of long work. May sleep. */
void dsvm_os_resched(void);
/* Whether the caller is being killed and has to give up. Any context. */
dsvm_bool dsvm_os_killed(void);

enum dsvm_log_level {
	DSVM_LOG_ERROR,
	DSVM_LOG_WARNING,
	DSVM_LOG_INFO,
	DSVM_LOG_DEBUG,
};

/* One line for the log, rate-limited. printf's conversions. Any context. */
void dsvm_os_log(enum dsvm_log_level level, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
/* Reports a broken invariant, rate-limited, with a stack trace. */
void dsvm_os_warn(const char *file, int line, const char *what);

/* Locks --------------------------------------------------------------------- */

/* A reader-writer semaphore. Taking it may sleep. */
void dsvm_os_read_lock(struct dsvm_os_rwsem *lock);
void dsvm_os_read_unlock(struct dsvm_os_rwsem *lock);
void dsvm_os_write_lock(struct dsvm_os_rwsem *lock);
void dsvm_os_write_unlock(struct dsvm_os_rwsem *lock);
/* Complains if the caller's thread does not hold it (in any mode, for writing). */
void dsvm_os_assert_held(struct dsvm_os_rwsem *lock);
void dsvm_os_assert_held_write(struct dsvm_os_rwsem *lock);

/* Address spaces ------------------------------------------------------------ */

/*
 * Keeps the address space (its users, not just the struct) alive; false once
 * its last user has gone. Reclaim-safe.
 */
dsvm_bool dsvm_os_mm_get(struct dsvm_os_mm *mm);
/*
 * Ends dsvm_os_mm_get(). Where it was the last, somebody else tears the address space down,
 * later: the caller's locks must not meet that. Any context.
 */
void dsvm_os_mm_put_async(struct dsvm_os_mm *mm);
/*
 * Whether the tearing down is over, once dsvm_os_mm_get() has said false: nothing is mapped
 * there any more. Any context.
 */
dsvm_bool dsvm_os_mm_is_gone(struct dsvm_os_mm *mm);
/* The address space's lock, for reading. May sleep. */
void dsvm_os_mm_read_lock(struct dsvm_os_mm *mm);
/*
 * The same without waiting, for who may not wait for it: false if a writer has it or is
 * about to. Any context that may sleep.
 */
dsvm_bool dsvm_os_mm_read_trylock(struct dsvm_os_mm *mm);
void dsvm_os_mm_read_unlock(struct dsvm_os_mm *mm);

/* What the core wants to know of a VMA. */
struct dsvm_vma_info {
	struct dsvm_os_vma *vma;
	dsvm_usize first;	/* first byte */
	dsvm_usize last;	/* last byte */
	dsvm_bool readable;	/* VM_READ */
	dsvm_bool writable;	/* VM_WRITE */
	dsvm_bool anonymous;	/* neither file, shared memory nor hugetlb */
	dsvm_bool special;	/* VM_IO, VM_PFNMAP: no pages behind it; shadow stacks */
};

/*
 * Takes the address space's lock for reading and says what VMA is at @addr. 0; -EFAULT: the address
 * space has lost its last user; -ENOENT: there is no VMA. After an error the lock is not held. For
 * who has the struct alone: the VMAs go under that lock, in an exit as well. May sleep.
 */
int dsvm_os_vma_lock(struct dsvm_os_mm *mm, dsvm_usize addr, struct dsvm_vma_info *out);
/* The VMA at @addr; false if there is none. Under the mm's lock. */
dsvm_bool dsvm_os_vma_at(struct dsvm_os_mm *mm, dsvm_usize addr, struct dsvm_vma_info *out);
/* The lowest VMA that overlaps [@first, @last]; false if none does. Under the mm's lock. */
dsvm_bool dsvm_os_vma_first(struct dsvm_os_mm *mm, dsvm_usize first, dsvm_usize last,
			    struct dsvm_vma_info *out);

/*
 * Interval notifiers --------------------------------------------------------
 *
 * A notifier that was never put into an address space, and has only its mm and a sequence, is as
 * good for all but the removal: whoever is told of the invalidations publishes them to it.
 */

/* Starts a read side critical section of the collision-retry protocol. May sleep. */
dsvm_usize dsvm_os_notifier_read_begin(struct dsvm_os_notifier *notifier);
/*
 * Whether an invalidation has come since @seq. Final only under the lock that
 * the invalidation callback takes. Any context.
 */
dsvm_bool dsvm_os_notifier_read_retry(struct dsvm_os_notifier *notifier, dsvm_usize seq);
/* The sequence published last. Under the lock of the invalidation callback. */
dsvm_usize dsvm_os_notifier_seq(struct dsvm_os_notifier *notifier);
/* Publishes @seq, inside the invalidation callback under its lock. */
void dsvm_os_notifier_set_seq(struct dsvm_os_notifier *notifier, dsvm_usize seq);
/* Publishes what @from has published last. Under the lock of the invalidation callback of both. */
void dsvm_os_notifier_copy_seq(struct dsvm_os_notifier *to, struct dsvm_os_notifier *from);
/* Stops invalidations; none runs after the return. May sleep. */
void dsvm_os_notifier_remove(struct dsvm_os_notifier *notifier);

/* Collecting pages (HMM) ---------------------------------------------------- */

struct dsvm_page_desc {
	struct dsvm_os_page *page;
	enum dsvm_page_kind kind;
	dsvm_u8 order;			  /* the CPU maps 2^order pages here in one go */
	dsvm_bool writable;
	dsvm_bool discardable;		  /* dropped instead of swapped out, as long as clean */
	struct dsvm_os_zdd *zdd;	  /* DSVM_PAGE_DEVICE only */
	struct dsvm_os_provider *provider; /* DSVM_PAGE_DEVICE only */
};

/* One attempt to fault in, or to look at, a span of an address space. */
struct dsvm_hmm_request {
	struct dsvm_os_notifier *notifier;
	struct dsvm_os_mm *mm;
	/* From read_begin; the call may refresh it where the kernel does so itself. */
	dsvm_usize seq;
	dsvm_usize first;	/* first byte, page aligned */
	dsvm_usize last;	/* last byte, end of a page */
	dsvm_u64 timeout_ns;	/* an attempt that the kernel itself repeats ends by then */
	void *owner;		/* device pages of this owner stay where they are */
	dsvm_bool mm_locked;	/* the caller holds the mm's lock: look only */
	dsvm_bool fault;	/* bring absent pages in; else only look */
	dsvm_bool write;	/* and make them writable */
	/* One entry a page, zeroed by the caller; decode with dsvm_os_hmm_decode(). */
	dsvm_usize *entries;
};

/*
 * Runs the request once. The caller holds a user of the mm, no lock of the
 * invalidation path, and the mm's own lock only as @mm_locked says. May sleep.
 *
 * 0, -EBUSY: invalidated meanwhile, begin again; -EFAULT: no such memory;
 * -EPERM: write to read-only memory; -ENOMEM; -EINTR: being killed.
 */
int dsvm_os_hmm_fault(struct dsvm_hmm_request *request);

/* What an attempt to fault in a single page is bounded by, and what comes of it. */
struct dsvm_hmm_page {
	dsvm_u64 timeout_ns; /* as that of a request */
	/* Out: */
	dsvm_usize seq;
	dsvm_usize entry;
};

/*
 * All that the first page of a request takes, whose @fault is set: with a user of the mm, a sequence
 * from read_begin, and then the attempt. As dsvm_os_hmm_fault(), and -EFAULT if the address space
 * has lost its last user.
 */
int dsvm_os_hmm_fault_page(struct dsvm_os_mm *mm, struct dsvm_os_notifier *notifier,
			   dsvm_usize addr, void *owner, dsvm_bool write,
			   struct dsvm_hmm_page *out);
/*
 * Says what an entry of a finished request means. Only as long as nothing has
 * invalidated the request, under the lock that keeps it so: what the page
 * belongs to may be gone otherwise. Any context.
 */
void dsvm_os_hmm_decode(dsvm_usize entry, struct dsvm_page_desc *out);
/* The kind alone, which may be asked at any time. Any context. */
enum dsvm_page_kind dsvm_os_hmm_kind(dsvm_usize entry);

/*
 * What dsvm_os_hmm_decode() says, of a page of RAM and in one word, for who asks it of many: bits,
 * and the order from DSVM_RAM_ORDER on. 0: it is no RAM that a device can have. As long as that
 * one; the page is dsvm_os_hmm_page()'s.
 */
#define DSVM_RAM_PRESENT     (1u << 0)
#define DSVM_RAM_WRITABLE    (1u << 1)
#define DSVM_RAM_DISCARDABLE (1u << 2)
#define DSVM_RAM_CLEAN	     (1u << 3) /* DSVM_MARK_DIRTIED has something to say */
#define DSVM_RAM_ORDER	     8
dsvm_u32 dsvm_os_hmm_ram(dsvm_usize entry);
/*
 * The page of an entry that has one. If its frame follows that of another entry, and all else is
 * the same, the entries differ by one. Any context.
 */
struct dsvm_os_page *dsvm_os_hmm_page(dsvm_usize entry);

/*
 * Which device memory a page is part of: an identity (struct dev_pagemap); NULL for RAM. Any
 * context.
 */
const void *dsvm_os_hmm_pagemap(dsvm_usize entry);
/* The order of the page-table entry that maps it. Any context. */
dsvm_u32 dsvm_os_hmm_order(dsvm_usize entry);

/*
 * Marks pages of RAM as @marks says: those of the first one of @count entries, and of all after it
 * of which dsvm_os_hmm_ram() says the same, up to the first that is different, be it in something
 * that only the kernel knows. How many these are. One page of a folio is enough for what its entry
 * maps. As long as dsvm_os_hmm_decode().
 *
 * DIRTIED: they are going to be written behind the CPU's back. To the kernel a page whose entries
 * are clean has what it had when it was last read or written out, and may be dropped (MADV_FREE,
 * swap cache). ACCESSED: somebody uses them, so that reclaim takes others first. 0: they are only
 * counted.
 */
#define DSVM_MARK_DIRTIED  (1u << 0)
#define DSVM_MARK_ACCESSED (1u << 1)
dsvm_usize dsvm_os_hmm_mark_alike(const dsvm_usize *entries, dsvm_usize count, dsvm_u32 marks);

/* DMA ----------------------------------------------------------------------- */

/* Maps 2^order pages of RAM for the device. 0 or -EFAULT. Reclaim-safe. */
int dsvm_os_dma_map(struct dsvm_os_dev *dev, struct dsvm_os_page *page, dsvm_u32 order,
		    enum dsvm_dma_dir dir, struct dsvm_dma_addr *out);
/*
 * The same for the pages of @count entries of HMM, and of a migration, each by itself. How many are
 * mapped: all, or those before the first one that cannot be. Reclaim-safe.
 */
dsvm_usize dsvm_os_dma_map_hmm(struct dsvm_os_dev *dev, const dsvm_usize *entries,
			       dsvm_usize count, enum dsvm_dma_dir dir,
			       struct dsvm_dma_addr *out);
dsvm_usize dsvm_os_dma_map_migrate(struct dsvm_os_dev *dev, const dsvm_usize *entries,
				   dsvm_usize count, enum dsvm_dma_dir dir,
				   struct dsvm_dma_addr *out);
void dsvm_os_dma_unmap(struct dsvm_os_dev *dev, const struct dsvm_dma_addr *addr);
/*
 * Maps what an entry of HMM maps in one go, 2^order pages of RAM, and if that need not be unmapped,
 * marks it as dsvm_os_hmm_mark_alike() does. 0; 1: it has to be unmapped, and is not marked, since
 * the caller may not want it so; -EFAULT. Reclaim-safe; as long as dsvm_os_hmm_decode().
 */
int dsvm_os_dma_map_ram(struct dsvm_os_dev *dev, dsvm_usize entry, dsvm_u32 order,
			enum dsvm_dma_dir dir, dsvm_u32 marks, struct dsvm_dma_addr *out);
/*
 * Maps @npages of RAM from @page on, whose frames are in a row, whatever they belong to: the device
 * has them in a row from @addr on. 0 or -EFAULT. Reclaim-safe.
 */
int dsvm_os_dma_map_run(struct dsvm_os_dev *dev, struct dsvm_os_page *page, dsvm_usize npages,
			enum dsvm_dma_dir dir, dsvm_u64 *addr);
/* Unmaps all of them. Reclaim-safe. */
void dsvm_os_dma_unmap_run(struct dsvm_os_dev *dev, dsvm_u64 addr, dsvm_usize npages,
			   enum dsvm_dma_dir dir);
/*
 * Whether RAM that is mapped has to be unmapped. If not, after a mapping, then that one has not,
 * nor those before it: the device sees the memory itself at its own addresses, and no copy. Any
 * context.
 */
dsvm_bool dsvm_os_dma_needs_unmap(struct dsvm_os_dev *dev);
/* Whether the device sees a copy that somebody would have to keep in step. Any context. */
dsvm_bool dsvm_os_dma_needs_sync(struct dsvm_os_dev *dev, const struct dsvm_dma_addr *addr);

/*
 * One window of device addresses for all RAM of a span (IOVA), where the device is behind an
 * IOMMU and the kernel lets it be filled by hand. The run of pages that begins @offset bytes into
 * the span gets the address window->addr + offset. All of them are reclaim-safe.
 */
/* Makes one of @bytes; false, as almost everywhere: map runs one by one. @page is the first. */
dsvm_bool dsvm_os_iova_alloc(struct dsvm_os_dev *dev, struct dsvm_os_page *page, dsvm_usize bytes,
			     struct dsvm_iova *out);
/* 0, -EFAULT or -ENOMEM. */
int dsvm_os_iova_link(struct dsvm_os_dev *dev, struct dsvm_iova *iova, struct dsvm_os_page *page,
		      dsvm_u32 order, dsvm_usize offset, enum dsvm_dma_dir dir);
/* Lets the device see all that was linked in the first @bytes. */
int dsvm_os_iova_sync(struct dsvm_os_dev *dev, struct dsvm_iova *iova, dsvm_usize bytes);
/* All of [offset, offset + bytes) is linked; after it the device does not see it any more. */
void dsvm_os_iova_unlink(struct dsvm_os_dev *dev, struct dsvm_iova *iova, dsvm_usize offset,
			 dsvm_usize bytes, enum dsvm_dma_dir dir);
/* Nothing is linked any more. */
void dsvm_os_iova_free(struct dsvm_os_dev *dev, struct dsvm_iova *iova);

/* Memory of a device: its provider says how @dev reaches it. */
int dsvm_os_provider_map(struct dsvm_os_provider *provider, struct dsvm_os_dev *dev,
			 struct dsvm_os_page *page, dsvm_u32 order, enum dsvm_dma_dir dir,
			 struct dsvm_dma_addr *out);
void dsvm_os_provider_unmap(struct dsvm_os_provider *provider, struct dsvm_os_dev *dev,
			    const struct dsvm_dma_addr *addr);
/* A reference to the provider. put may be the last; any context. */
void dsvm_os_provider_get(struct dsvm_os_provider *provider);
void dsvm_os_provider_put(struct dsvm_os_provider *provider);

/* Migration ----------------------------------------------------------------- */

/*
 * The order of the folios that migration moves whole, a huge page's; 0: this kernel moves single
 * pages only. Any context.
 */
dsvm_u32 dsvm_os_huge_order(void);

/* Which pages dsvm_os_migrate_setup() collects. */
#define DSVM_MIGRATE_SYSTEM (1u << 0)
#define DSVM_MIGRATE_DEVICE (1u << 1)
#define DSVM_MIGRATE_HUGE   (1u << 2) /* huge pages whole, where the kernel can */

/*
 * One span of one VMA (or, for dsvm_os_migrate_device_*(), a list of device
 * page frames) on its way through the kernel's three phases. @src and @dst
 * hold one kernel-encoded entry a page, of DSVM_ENTRY_*. dsvm_os_migrate_setup()
 * writes @src; @dst is empty before.
 *
 * A huge folio, or a hole of that size, is one entry, and those behind it are
 * empty. Its destination is one entry of the same order, or none. Single pages
 * as destinations of a huge folio are for a CPU fault alone, which keeps the
 * kernel from splitting the folio: it stays, and becomes mapped page by page.
 * Elsewhere other processes may have mapped it whole, and 7.3 breaks on that;
 * who cannot move it whole does not collect it so (without DSVM_MIGRATE_HUGE
 * the kernel splits it first), or leaves it.
 *
 * A folio that is split so because of its @fault_page has to be split by itself,
 * in a span of that page alone: 7.3 goes on with what the folio was before, and
 * would take its first page for the one that the fault has locked.
 */
struct dsvm_migrate_span {
	struct dsvm_os_vma *vma;
	dsvm_usize first;
	dsvm_usize last;
	dsvm_usize npages;
	void *owner;		/* of the device pages to collect */
	dsvm_u32 select;	/* DSVM_MIGRATE_* */
	struct dsvm_os_page *fault_page; /* in a CPU fault: the page; else NULL */
	dsvm_usize *src;
	dsvm_usize *dst;
	dsvm_usize kernels[10];	/* the kernel's own, from dsvm_os_migrate_setup() on */
};

/*
 * An entry: flags, and from the shift on the number of a page's first frame. A destination has no
 * other flags than these.
 */
#define DSVM_ENTRY_PAGE	     ((dsvm_usize)1 << 0) /* there is one */
#define DSVM_ENTRY_MOVES     ((dsvm_usize)1 << 1) /* a source: nothing has stopped it so far */
#define DSVM_ENTRY_HUGE	     ((dsvm_usize)1 << 4) /* it stands for 2^huge order pages, or a hole */
#define DSVM_ENTRY_PFN_SHIFT 6

/* What a source entry says, and what its page is. */
struct dsvm_migrate_entry {
	struct dsvm_os_page *page;	/* NULL: nothing was there, the page is all zero */
	struct dsvm_os_zdd *zdd;	/* if @page is a device's of a drm_pagemap provider */
	struct dsvm_os_provider *provider; /* the same */
	dsvm_u8 order;			/* this entry stands for 2^order pages */
	dsvm_bool is_ram;		/* @page is RAM: no device's, whoever made it */
	dsvm_bool retired;		/* dsvm_os_entry_retire() was called for it */
	dsvm_bool moves;		/* collected, and nothing has stopped it so far */
};

/*
 * Collects, unmaps and locks. Under the mm's lock, which stays held to the
 * end of finalize, or a pin of the VMA. Sleeps. 0, -EINVAL, -ENOMEM.
 */
int dsvm_os_migrate_setup(struct dsvm_migrate_span *span);
/* Switches page tables to @dst where it says so; clears "moves" where it could not. */
void dsvm_os_migrate_pages(struct dsvm_migrate_span *span);
/* Puts page table entries back, unlocks and drops old and new pages. */
void dsvm_os_migrate_finalize(struct dsvm_migrate_span *span);

/*
 * The same from the memory's side: @src holds page frame numbers on entry. A huge
 * folio's frames must all be there, the first one first, or it is left out.
 * Needs no address space and no lock. May sleep.
 */
int dsvm_os_migrate_device_setup(struct dsvm_migrate_span *span);
void dsvm_os_migrate_device_pages(struct dsvm_migrate_span *span);
void dsvm_os_migrate_device_finalize(struct dsvm_migrate_span *span);

/* Any context. */
void dsvm_os_migrate_decode(dsvm_usize src, struct dsvm_migrate_entry *out);
/*
 * Only a part of that, of @count source entries that are next to each other: so many of them, from
 * the first one on, have a page of RAM and move.
 */
dsvm_usize dsvm_os_migrate_count_ram(const dsvm_usize *src, dsvm_usize count);
/* The same: they have a page of @zdd's that is not retired, and move. */
dsvm_usize dsvm_os_migrate_count_of(const dsvm_usize *src, dsvm_usize count,
				    struct dsvm_os_zdd *zdd);
/* The page of an entry that has one. */
struct dsvm_os_page *dsvm_os_migrate_page(dsvm_usize entry);
/* The same of @count entries. */
void dsvm_os_migrate_list_pages(const dsvm_usize *entries, dsvm_usize count,
				struct dsvm_os_page **pages);

/* The @index-th page from @page on, of a folio or of frames in a row. Any context. */
struct dsvm_os_page *dsvm_os_page_nth(struct dsvm_os_page *page, dsvm_usize index);

/*
 * What keeps the page of an HMM entry from moving, as far as it shows: an enum dsvm_stay. A look,
 * at any time: the page may be somebody else's by now. Any context.
 */
dsvm_u32 dsvm_os_hmm_why(dsvm_usize entry);

/* Whether the page of an HMM entry is of a larger folio than is mapped there. A look. Any context. */
dsvm_bool dsvm_os_hmm_is_part(dsvm_usize entry);

/* The lowest owner of device pages above @owner, of all there are; NULL: none. Any context. */
void *dsvm_os_next_owner(void *owner);

/*
 * Pages of RAM for @addr in @vma (NULL: for nobody in particular), locked,
 * one reference, dirty: a device is going to write them, which no CPU sees. The entry of
 * a destination; 0 if there are none. A folio of a huge page's order is not fought for. May sleep and
 * reclaim.
 */
dsvm_usize dsvm_os_entry_alloc(struct dsvm_os_vma *vma, dsvm_usize addr, dsvm_u32 order);
/*
 * The same of @count single pages, for the addresses from @addr on, if @vma is not NULL: the entries
 * of so many destinations, from the first one on, until there was none. May sleep and reclaim.
 */
dsvm_usize dsvm_os_entries_alloc(struct dsvm_os_vma *vma, dsvm_usize addr, dsvm_usize count,
				 dsvm_usize *dst);
/*
 * Makes the device page frames from @pfn on a folio in use: locked, one reference, one of @zdd.
 */
struct dsvm_os_page *dsvm_os_page_init_device(dsvm_usize pfn, struct dsvm_os_zdd *zdd,
					      dsvm_u32 order);
/* The same of @count frames from @pfn on, which become single pages: the entries of destinations. */
void dsvm_os_entries_init_device(dsvm_usize pfn, dsvm_usize count, struct dsvm_os_zdd *zdd,
				 dsvm_usize *dst);
/* Unlocks and drops a folio that one of the two functions above gave. */
void dsvm_os_page_discard(struct dsvm_os_page *page);
/*
 * Marks the device folios of @count sources, locked, whose data has gone to RAM for good: until
 * their last reference goes, others may still find them, and must not move them again.
 */
void dsvm_os_entries_retire(const dsvm_usize *src, dsvm_usize count);
/*
 * Lets one CPU fault at a time work on a device folio: false if another one
 * does. The caller has a reference. Does not wait. Any context.
 */
dsvm_bool dsvm_os_page_enter(struct dsvm_os_page *page);
void dsvm_os_page_leave(struct dsvm_os_page *page);

/*
 * Whether a device page frame is in use as one of @zdd's. A look: may be over at once. Any
 * context; the caller has a reference to the zdd.
 */
dsvm_bool dsvm_os_frame_in_use(dsvm_usize pfn, struct dsvm_os_zdd *zdd);
/*
 * The order of the folio that begins at a device page frame in use. A look, as the one above. Any
 * context.
 */
dsvm_u32 dsvm_os_frame_order(dsvm_usize pfn);
/*
 * Whether the caller's reference to a zdd is the only one, so that none of its frames is in use
 * and none is going to be. False says nothing. Any context.
 */
dsvm_bool dsvm_os_zdd_is_unused(struct dsvm_os_zdd *zdd);
/* The allocation behind a zdd that the caller, or a page it has locked, keeps. Any context. */
const struct dsvm_devmem *dsvm_os_zdd_devmem(struct dsvm_os_zdd *zdd);
/* Nobody is to leave the allocation's pages with the device any longer. May sleep. */
void dsvm_os_zdd_end_timeslice(struct dsvm_os_zdd *zdd);
/* The struct of the mm that the allocation was made for; held as long as the zdd. */
struct dsvm_os_mm *dsvm_os_zdd_mm(struct dsvm_os_zdd *zdd);
/*
 * The next of a provider's zdds in use, with a reference; the first if @zdd is NULL, whose
 * reference goes otherwise. NULL: there is none. May sleep.
 */
struct dsvm_os_zdd *dsvm_os_provider_next_zdd(struct dsvm_os_provider *provider,
					      struct dsvm_os_zdd *zdd);
/*
 * Memory that the provider has kept for when there is none, of DSVM_RESERVE_BYTES; not zeroed.
 * NULL: somebody else has it. Any context.
 */
#define DSVM_RESERVE_BYTES 65536
void *dsvm_os_provider_take_reserve(struct dsvm_os_provider *provider);
void dsvm_os_provider_give_reserve(struct dsvm_os_provider *provider, void *memory);
/*
 * Memory that the provider lends to one at a time who would allocate some for a moment, of
 * DSVM_SPARE_BYTES: zeroes at first, and then what the last one has left. NULL: somebody else has
 * it. Any context.
 */
#define DSVM_SPARE_BYTES 32768
void *dsvm_os_provider_take_spare(struct dsvm_os_provider *provider);
void dsvm_os_provider_give_spare(struct dsvm_os_provider *provider, void *memory);

/*
 * Waits for what a copy callback gave, without heed of signals, and drops it. 0, or the error it
 * was signalled with. May sleep.
 */
int dsvm_os_fence_wait(struct dsvm_os_fence *fence);

/*
 * Keeps a VMA as it is when the mm's lock, which the caller holds, is given up: who wants to change
 * it waits. May be done several times. False where the kernel has nothing of the kind, or if
 * somebody waits already. Whoever has one may only try the mm's lock.
 */
dsvm_bool dsvm_os_vma_pin(struct dsvm_os_vma *vma);
void dsvm_os_vma_unpin(struct dsvm_os_vma *vma);

/*
 * Sleeps inside a CPU fault for @ns, until dsvm_os_zdd_end_timeslice() for its page's, or until the
 * caller is being killed. True: the fault has to begin again, because the mm's lock was given up
 * for that, or because somebody asked not to wait.
 */
dsvm_bool dsvm_os_fault_wait(struct dsvm_os_fault *fault, dsvm_u64 ns);

/*
 * Calls @fn(@ctx, k) for each k < @n, side by side as far as that goes, k = 0 on the caller's own
 * thread. All have returned when it does. May sleep.
 */
void dsvm_os_parallel(void (*fn)(void *ctx, dsvm_u32 k), void *ctx, dsvm_u32 n);

/* Whether anybody is told of what dsvm_os_trace_migrate() says. Any context. */
dsvm_bool dsvm_os_traces_migrate(void);
/* The end of a phase. Any context. */
struct dsvm_migrate_event;
void dsvm_os_trace_migrate(const struct dsvm_migrate_event *event);

DSVM_EXTERN_C_END

#endif /* DRM_SVM_OS_H */
