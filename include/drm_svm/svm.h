/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * GPU SVM, the core's side: notifier windows, ranges, pages.
 *
 * The structs are laid over the public ones of drm/drm_gpusvm.h (a union
 * there), so no fact is kept twice. Functions document their locks; "the
 * notifier lock" is struct dsvm_svm.lock.
 */
#ifndef DRM_SVM_SVM_H
#define DRM_SVM_SVM_H

#include "drm_svm/types.h"

DSVM_EXTERN_C_BEGIN

struct dsvm_notifier;
struct dsvm_range;
struct dsvm_svm;

/* flags of struct dsvm_range: bits of struct drm_gpusvm_range_flags. */
#define DSVM_RANGE_MIGRATE_DEVMEM (1u << 0)
#define DSVM_RANGE_UNMAPPED (1u << 1)
#define DSVM_RANGE_PARTIAL_UNMAP (1u << 2)
#define DSVM_RANGE_REMOVED (1u << 3)

/* flags of struct dsvm_pages: bits of struct drm_gpusvm_pages_flags. */
#define DSVM_PAGES_UNMAPPED (1u << 0)
#define DSVM_PAGES_DEVMEM (1u << 1)
#define DSVM_PAGES_DMA_MAPPED (1u << 2)
#define DSVM_PAGES_STALE (1u << 3)    /* mapped, but an invalidation is between its passes */
#define DSVM_PAGES_WRITABLE (1u << 4) /* all of them may be written */
#define DSVM_PAGES_UNMAPS (1u << 5)   /* a single entry, of RAM that has to be unmapped */

/*
 * A span that the GPU maps as one; in struct drm_gpusvm_range. The stand-in for a notifier that the
 * kernel needs of each range lies over the first fields, up to @seq: the stand-in is in no tree and
 * in no list, so that its nodes are the range's.
 */
struct dsvm_range {
	struct dsvm_interval node; /* in its window's index; ends change in a trim only */
	dsvm_u16 flags;		   /* DSVM_RANGE_*; window's lock, but for creation */
	struct dsvm_os_mm *mm;	   /* the stand-in's; not the core's */
	struct dsvm_link entry;	   /* in its window's list, in order */
	dsvm_usize seq;		   /* the stand-in's; not the core's */
	dsvm_usize gone_first;	   /* hull of what is not to be used any more, because the CPU */
	dsvm_usize gone_last;	   /* unmapped it; empty if first > last; window's lock */
};

/*
 * The range that was made last in a window, for who is about to collect its pages and knows their
 * addresses alone. Changed under the window's lock for writing, read without a lock.
 */
struct dsvm_newest {
	struct dsvm_range *range; /* NULL: none, or it has gone */
	dsvm_usize first;	  /* its span; all ones: none, or the rest is changed */
	dsvm_usize last;
};

/*
 * A window of the address space with one mmu notifier; in struct drm_gpusvm_notifier.
 *
 * @lock, "the window's lock", guards its ranges and the state of their pages; it is taken
 * inside the mmu notifier. It may be that of the svm.
 */
struct dsvm_notifier {
	struct dsvm_interval node;  /* in the svm's index; immutable ends */
	struct dsvm_link entry;	    /* in the svm's list, in order */
	struct dsvm_tree_root root; /* the tree beside @index; changed as that is */
	struct dsvm_link range_list;
	dsvm_u32 removed;	    /* the mmu notifier has gone; set once */
	dsvm_u32 users;		    /* ranges, and who is about to make one; atomic. From zero on */
				    /* it is not found: changed to that under the svm's lock */
	dsvm_u32 unfinished;	    /* invalidations between their two passes; window's lock */
	struct dsvm_os_rwsem *lock; /* immutable once it is found */
	struct dsvm_os_notifier *os; /* its mmu notifier; immutable once it is found */
	struct dsvm_index index;    /* of ranges; changed under the window's lock for writing */
	struct dsvm_newest newest;  /* where there is no range_pages */
};

struct dsvm_pages;

/*
 * What the owner of the objects does for the core. Both objects are the
 * driver's, so the shim makes and frees them. All may sleep, and none is
 * called under a lock of the invalidation path, if nothing else is said.
 */
struct dsvm_svm_ops {
	/* Makes a notifier for the window, sets its @lock and @os, and starts its invalidations. */
	int (*notifier_create)(struct dsvm_svm *svm, dsvm_usize first, dsvm_usize last,
			       struct dsvm_notifier **out);
	/* Stops invalidations (unless removed already) and frees it. */
	void (*notifier_destroy)(struct dsvm_svm *svm, struct dsvm_notifier *notifier);
	/*
	 * Makes a range with one reference, that of its being in the window; NULL: there is no
	 * memory.
	 */
	struct dsvm_range *(*range_create)(struct dsvm_svm *svm, struct dsvm_notifier *notifier,
					   dsvm_usize first, dsvm_usize last, dsvm_u16 flags);
	/*
	 * How many bytes behind a range its stand-in for a notifier is: in no tree, with nothing
	 * but its mm and a sequence, which is that of the last invalidation that met the range.
	 */
	dsvm_usize range_stand_in;
	/* One more reference to a range that has one. Any context. */
	void (*range_get)(struct dsvm_svm *svm, struct dsvm_range *range);
	/* Drops one. */
	void (*range_put)(struct dsvm_svm *svm, struct dsvm_range *range);
	/*
	 * The lock of a range, for dsvm_svm_acquire(): 0 or -EINTR. As long as it is held the range
	 * is not removed and keeps its ends. May sleep.
	 */
	int (*range_lock)(struct dsvm_svm *svm, struct dsvm_range *range);
	void (*range_unlock)(struct dsvm_svm *svm, struct dsvm_range *range);
	/*
	 * The @index-th of the pages objects behind a range, one for each device, and the device;
	 * NULL after the last. NULL: the driver does not let ranges be trimmed. Any context.
	 */
	struct dsvm_pages *(*range_pages)(struct dsvm_range *range, dsvm_u32 index,
					  struct dsvm_os_dev **dev);
	/*
	 * @range has been trimmed, and if @tail is not NULL it is what was behind the part that
	 * has gone. For what the driver keeps of a range beside its pages; NULL: nothing. Under
	 * the window's lock for writing; reclaim-safe.
	 */
	void (*range_split)(struct dsvm_range *range, struct dsvm_range *tail);
};

/* What has happened in a mirror since it was made. Read and written atomically, without order. */
struct dsvm_svm_counters {
	dsvm_u64 faults;	      /* searches for the range at an address */
	dsvm_u64 windows_made;
	dsvm_u64 ranges_made;	      /* also as the tail of a split */
	dsvm_u64 ranges_removed;
	dsvm_u64 ranges_split;	      /* the CPU unmapped a piece out of their middle */
	dsvm_u64 ranges_trimmed;      /* or at an end */
	dsvm_u64 lost_races;	      /* ranges that somebody else had made meanwhile */
	dsvm_u64 invalidations;	      /* that met a range */
	dsvm_u64 ranges_invalidated;
	dsvm_u64 collections;	      /* of pages that were not mapped already */
	dsvm_u64 collection_retries;
	dsvm_u64 collection_failures;
	dsvm_u64 collection_ns;	      /* spent in all of them, by dsvm_os_tick_ns() */
	dsvm_u64 pages_mapped;
};

/* One address space mirrored for a GPU; in struct drm_gpusvm. */
struct dsvm_svm {
	struct dsvm_os_mm *mm;	       /* immutable; NULL: pages API only */
	dsvm_usize mm_start;	       /* immutable */
	dsvm_usize mm_range;	       /* bytes; immutable */
	dsvm_usize notifier_size;      /* a power of two; immutable */
	const dsvm_usize *chunk_sizes; /* powers of two, descending; immutable */
	int num_chunks;		       /* immutable */
	struct dsvm_tree_root root;    /* the tree beside @index; changed as that is */
	struct dsvm_link notifier_list;
	struct dsvm_os_rwsem *lock;    /* "the svm's lock"; the notifier lock of mainline's API */
	const struct dsvm_svm_ops *ops;
	struct dsvm_index index;       /* of windows; changed under @lock for writing */
	struct dsvm_index_shape shape; /* of @index; immutable */
	struct dsvm_index_shape window_shape; /* of each window's index; immutable */
	struct dsvm_svm_counters counters;
};

/* What the entries of one collection have in common; the core's. */
struct dsvm_mapping;

/* The pages behind a range as one device sees them; in struct drm_gpusvm_pages. */
struct dsvm_pages {
	struct dsvm_dma_addr *dma_addr;	   /* one entry a run of pages; window's lock */
	struct dsvm_os_provider *provider; /* of the device pages, referenced; window's lock */
	dsvm_usize notifier_seq;	   /* of a driver's own notifier: what dma_addr was valid at */
	dsvm_u16 flags;			   /* DSVM_PAGES_*; window's lock */
	struct dsvm_mapping *mapping;	   /* what dma_addr is part of, shared; NULL: dma_addr is */
					   /* @single, if it is anything. Window's lock */
	struct dsvm_os_rwsem *lock;	   /* the window's; set when they are first mapped */
	struct dsvm_range *range; /* whose they are, or were mapped for last; NULL: it is looked for. */
				  /* With range_pages set before it is found, but for what a trim cut off */
	struct dsvm_dma_addr single; /* where all is mapped in one go; window's lock */
};

/*
 * Checks what drm_gpusvm_init() was given and sets up the containers.
 * -EINVAL: sizes that are no powers of two, chunks out of order or larger
 * than a window, a span that wraps around.
 */
int dsvm_svm_init(struct dsvm_svm *svm);
/* Takes all windows and ranges out. Nobody else uses the svm; may sleep. */
void dsvm_svm_fini(struct dsvm_svm *svm);

/* How a range is to be found or made. */
struct dsvm_find_or_insert {
	dsvm_usize fault_addr;
	dsvm_usize gpuva_first; /* a new range stays within these */
	dsvm_usize gpuva_last;
	dsvm_usize check_pages_threshold; /* bytes; see drm_gpusvm_ctx */
	void *owner;
	dsvm_bool write;	   /* only where the memory may be written */
	dsvm_bool devmem_possible;
	dsvm_bool get;		   /* with a reference for the caller, who holds no driver's lock */
};

/*
 * The range at an address, made if there is none yet. Safe against itself and
 * against dsvm_svm_range_remove(); without @get the driver's lock keeps what is
 * returned. May sleep; takes the svm's lock and the window's, and to make one the mm's. What has
 * become of the memory since a range was made is not asked here: collecting its pages says so.
 *
 * -EINVAL; if there is none yet, -EFAULT (the address space has gone), -ENOENT (no VMA), -EPERM
 * (write to a read-only VMA), -EIO (no pages behind the VMA), -ENOMEM, -EBUSY (others made and
 * removed ranges here for DSVM_GET_PAGES_BUDGET_NS), -EINTR (the caller is being killed). A failed
 * call leaves no window and no range behind.
 */
int dsvm_svm_find_or_insert(struct dsvm_svm *svm, const struct dsvm_find_or_insert *request,
			    struct dsvm_range **out);
/*
 * The same with @get, and what is returned is locked: it has not been removed and has the address.
 * As dsvm_svm_find_or_insert(), and -EBUSY if for DSVM_GET_PAGES_BUDGET_NS others took away or cut
 * whatever was found. No lock of a range.
 */
int dsvm_svm_acquire(struct dsvm_svm *svm, const struct dsvm_find_or_insert *request,
		     struct dsvm_range **out);
/*
 * The first range that overlaps [first, last], with a reference for the caller, or NULL. Takes
 * the svm's lock and the window's.
 */
struct dsvm_range *dsvm_svm_range_first(struct dsvm_svm *svm, dsvm_usize first, dsvm_usize last);
/*
 * Takes a range out and drops the window's reference; the last one takes its window along. Frees its
 * pages, where there is range_pages: no device uses them any more. Once for each range: the
 * driver's lock, or that of the range. May sleep.
 */
void dsvm_svm_range_remove(struct dsvm_svm *svm, struct dsvm_notifier *notifier,
			   struct dsvm_range *range);
/* The first window that overlaps [first, last] or NULL. Driver's lock or svm's lock. */
struct dsvm_notifier *dsvm_svm_notifier_find(struct dsvm_svm *svm, dsvm_usize first,
					     dsvm_usize last);
/* The first range of it that does, or NULL. Driver's lock or window's lock. */
struct dsvm_range *dsvm_svm_range_find(struct dsvm_notifier *notifier, dsvm_usize first,
				       dsvm_usize last);
/*
 * Whether any range overlaps [first, last]. Driver's lock or svm's lock; takes the locks of
 * windows that have one of their own.
 */
dsvm_bool dsvm_svm_has_range(struct dsvm_svm *svm, dsvm_usize first, dsvm_usize last);
/* Where the first VMA in [first, last] starts, or all ones. May sleep. */
dsvm_usize dsvm_svm_find_vma_start(struct dsvm_svm *svm, dsvm_usize first, dsvm_usize last);

/*
 * An invalidation, as the kernel hands it to a window. Both callbacks run under the window's
 * lock for writing, and are reclaim-safe.
 */
struct dsvm_invalidation {
	dsvm_usize first; /* what the CPU changes; may go beyond the window */
	dsvm_usize last;
	dsvm_usize seq;
	dsvm_bool blockable;
	dsvm_bool deferrable; /* the caller is able to finish it later */
	/*
	 * Takes page-table entries away and begins to flush. True: a flush is under way, so
	 * that it is worth while to do something else before @finish.
	 */
	dsvm_bool (*start)(void *arg);
	/*
	 * Waits for every flush that was begun before, by whomever, and unmaps the pages.
	 * Follows each @start. NULL: @start has done all of that.
	 */
	void (*finish)(void *arg);
	void *arg;
};

enum dsvm_invalidated {
	DSVM_REFUSED,	 /* it would have to wait and may not; nothing has happened */
	DSVM_DONE,
	DSVM_UNFINISHED, /* dsvm_svm_invalidate_finish() has to follow, soon */
};

/*
 * Publishes the sequence to the window and to each of its ranges that overlap the event, and
 * calls @start; then @finish, unless that is deferred, as it is if there is a flush to wait for,
 * this one's or that of an event before. Meanwhile, pages that wait for @finish are not valid.
 * Inside an mmu notifier; takes the window's lock.
 */
enum dsvm_invalidated dsvm_svm_invalidate(struct dsvm_svm *svm, struct dsvm_notifier *notifier,
					  const struct dsvm_invalidation *event);
void dsvm_svm_invalidate_finish(struct dsvm_svm *svm, struct dsvm_notifier *notifier,
				const struct dsvm_invalidation *event);

/*
 * Notes that [first, last] of the CPU's mapping has gone, and with it the range as a whole:
 * mainline's way. Window's lock for writing.
 */
void dsvm_svm_range_set_unmapped(struct dsvm_svm *svm, struct dsvm_range *range,
				 dsvm_usize first, dsvm_usize last);
void dsvm_svm_pages_set_unmapped(struct dsvm_svm *svm, struct dsvm_pages *pages);

/*
 * The way of drivers with range_pages: only what has gone goes.
 *
 *	range	|------------------------------|
 *	munmap		 |....|			set_gone: [*zap_first, *zap_last], which is
 *	runs	|-------|---|-----|---|--------|	what has gone, widened to whole runs
 *	zap		|---------|		the driver: entries, TLB
 *	pages	|-------|         |---|--------|	unmap_gone
 *	trim	|-------|         |------------|	later: two ranges, still mapped
 *
 * Until dsvm_svm_range_trim() the range counts as unmapped and its pages are not valid, though
 * those that are left stay mapped, for the device and by the driver. Further unmappings widen
 * what has gone to one span.
 *
 * set_gone and unmap_gone: window's lock for writing; reclaim-safe.
 */
void dsvm_svm_range_set_gone(struct dsvm_svm *svm, struct dsvm_range *range, dsvm_usize first,
			     dsvm_usize last, dsvm_usize *zap_first, dsvm_usize *zap_last);
void dsvm_svm_range_unmap_gone(struct dsvm_svm *svm, struct dsvm_range *range);
/*
 * Gives a range of which something has gone the ends of what is left; if that is two pieces,
 * the second one becomes a range of its own. The driver's lock, or that of the range; takes the
 * window's lock; may sleep.
 *
 * 1: it is whole again; 0: nothing is left of it, it has to be removed; -ENOMEM: there is no
 * memory for a second range, nothing has changed, and it has to be removed as a whole; -EAGAIN: an
 * invalidation is between its passes, or has just come.
 */
int dsvm_svm_range_trim(struct dsvm_svm *svm, struct dsvm_notifier *notifier,
			struct dsvm_range *range);

/* What the pages are wanted for. */
enum dsvm_access {
	DSVM_ACCESS_READ_ONLY, /* nothing becomes writable, for the CPU or the device */
	DSVM_ACCESS_READ,      /* the same for the CPU; the device may write where the CPU may now */
	DSVM_ACCESS_WRITE,     /* all of them become writable */
};

/* What the kernel is told of pages of RAM that are mapped for a device. */
enum dsvm_marks {
	DSVM_MARK_DIRTY, /* those that it may write */
	DSVM_MARK_USED,	 /* the same, and that all of them are used */
	DSVM_MARK_NONE,	 /* nothing: it was told before, and they were not invalidated since */
};

/* What to collect and for whom. */
struct dsvm_get_pages {
	struct dsvm_svm *svm;
	struct dsvm_notifier *window; /* that @notifier belongs to; NULL: it is the driver's own */
	struct dsvm_range *range; /* of @window, with the span in it, kept; NULL: it is looked for */
	struct dsvm_os_notifier *notifier;
	struct dsvm_os_mm *mm;
	struct dsvm_os_dev *dev;
	dsvm_usize first;
	dsvm_usize last;
	void *owner;
	enum dsvm_access access;
	enum dsvm_marks marks;
	dsvm_bool devmem_only;
	dsvm_bool allow_mixed;
	/* Out: */
	dsvm_u32 attempts; /* 0: they were mapped already */
};

/*
 * Collects the pages of a span and maps them for the device, in at most
 * DSVM_GET_PAGES_BUDGET_NS. Nothing to do if they are mapped already for the
 * access asked; as long as they are, the span is the one they were asked for
 * first. What happens elsewhere in the window does not disturb it if the span
 * is of one range, which the caller keeps; with a notifier of the driver's own, whatever that
 * hears of does. May sleep; takes the mm's lock and the window's.
 *
 * 0; -EINVAL: not of whole pages, or with range_pages not of a whole range; -EBUSY: invalidated
 * again and again until the time was up; -EFAULT: unmapped, no such memory, or RAM with
 * devmem_only; -EPERM; -ENOMEM; -EINTR: the caller is being killed; -EOPNOTSUPP: pages that the
 * request does not allow (mixed, or of another kind), or that the device sees a copy of. A mapping
 * that there was stays as it is after an error, and goes when a wider one takes its place.
 */
#define DSVM_GET_PAGES_BUDGET_NS 1000000000ull
int dsvm_svm_get_pages(struct dsvm_pages *pages, struct dsvm_get_pages *request);
/*
 * Whether they are mapped now, all of them: page-table entries may be written for them. Window's
 * lock; without it a look, which drivers take at each fault, and so in line.
 */
static inline dsvm_bool dsvm_svm_pages_valid(const struct dsvm_pages *pages)
{
	const dsvm_u16 flags = *(const volatile dsvm_u16 *)&pages->flags;

	return (flags & (DSVM_PAGES_DMA_MAPPED | DSVM_PAGES_UNMAPPED | DSVM_PAGES_STALE)) ==
	       DSVM_PAGES_DMA_MAPPED;
}
/* Unmaps from the device. Window's lock, in any mode; reclaim-safe. */
void dsvm_svm_unmap_pages(struct dsvm_pages *pages, struct dsvm_os_dev *dev, dsvm_usize npages);
/* Unmaps and frees the bookkeeping. Takes the window's lock. */
void dsvm_svm_free_pages(struct dsvm_pages *pages, struct dsvm_os_dev *dev, dsvm_usize npages);
/* Brings the pages of a span back to RAM, if any are a device's. May sleep. */
int dsvm_svm_range_evict(struct dsvm_svm *svm, struct dsvm_os_notifier *notifier,
			 struct dsvm_range *range);

/* Where the pages of a span are. */
struct dsvm_residency {
	dsvm_u32 none;	  /* not present, unreadable, or another owner's device memory */
	dsvm_u32 system;  /* RAM, or other memory that stays where it is */
	dsvm_u32 device;  /* the device memory asked for */
	dsvm_u32 peer;	  /* other device memory of the owner asked for */
};

/*
 * Counts where the pages of [first, last] are, one result for each @block
 * bytes, as seen from the device memory @pagemap (see dsvm_os_hmm_pagemap()). A
 * look, no promise: pages may move while it is taken. May sleep.
 */
int dsvm_svm_residency(struct dsvm_os_mm *mm, struct dsvm_os_notifier *notifier, void *owner,
		       const void *pagemap, dsvm_usize first, dsvm_usize last, dsvm_usize block,
		       struct dsvm_residency *out);

struct dsvm_vma_info;

/* Pages in a row that are alike. */
struct dsvm_residency_run {
	dsvm_usize first;	/* address of the first one */
	dsvm_usize npages;
	enum dsvm_page_kind kind;
	const void *pagemap;	/* of DSVM_PAGE_DEVICE: see dsvm_os_hmm_pagemap() */
	dsvm_u32 order;		/* of the page-table entries that map them */
};

/*
 * Who wants to know where pages are: is told of each VMA, and after it of all its runs. Both say
 * whether to go on. They may be called with the mm's lock held for reading, and may sleep.
 */
struct dsvm_residency_visitor {
	void *ctx;
	dsvm_bool (*vma)(void *ctx, const struct dsvm_vma_info *vma);
	dsvm_bool (*run)(void *ctx, const struct dsvm_residency_run *run);
};

/*
 * Shows a visitor where the pages of [first, last] are, whoever owns the device memory they are
 * in. A look, no promise: the mm's lock is given up every 2 MiB. 0, also if the visitor had
 * enough; -EINVAL: not a span of pages; -EFAULT: the address space has gone; -EBUSY: page tables
 * that change too fast to see; -EINTR: being killed; -ENOMEM. No mm lock held; sleeps.
 */
int dsvm_svm_walk_residency(struct dsvm_os_mm *mm, struct dsvm_os_notifier *notifier,
			    dsvm_usize first, dsvm_usize last,
			    const struct dsvm_residency_visitor *visitor);

/* What a look at a span says; the values of enum drm_gpusvm_scan_result. */
enum dsvm_scan {
	DSVM_SCAN_UNPOPULATED,
	DSVM_SCAN_EQUAL,
	DSVM_SCAN_OTHER,
	DSVM_SCAN_SYSTEM,
	DSVM_SCAN_MIXED_DEVICE,
	DSVM_SCAN_MIXED,
};

/*
 * Sums up where the pages of a span are, as seen from the device memory @pagemap (an identity, see
 * dsvm_os_hmm_pagemap()). A look, no promise; DSVM_SCAN_UNPOPULATED also if 512 pages of it cannot
 * be looked at in DSVM_GET_PAGES_BUDGET_NS. May sleep.
 */
enum dsvm_scan dsvm_svm_scan(struct dsvm_os_mm *mm, struct dsvm_os_notifier *notifier, void *owner,
			     dsvm_usize first, dsvm_usize last, const void *pagemap);

DSVM_EXTERN_C_END

#endif /* DRM_SVM_SVM_H */
