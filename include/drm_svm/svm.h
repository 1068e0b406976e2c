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

/* flags of struct dsvm_pages: bits of struct drm_gpusvm_pages_flags. */
#define DSVM_PAGES_UNMAPPED (1u << 0)
#define DSVM_PAGES_DEVMEM (1u << 1)
#define DSVM_PAGES_DMA_MAPPED (1u << 2)

/* A span that the GPU maps as one; in struct drm_gpusvm_range. */
struct dsvm_range {
	struct dsvm_interval node; /* in its notifier's tree; immutable ends */
	struct dsvm_link entry;	   /* the same order as a list */
	dsvm_u16 flags;		   /* DSVM_RANGE_*; notifier lock, but for creation */
};

/* A window of the address space with one mmu notifier; in struct drm_gpusvm_notifier. */
struct dsvm_notifier {
	struct dsvm_interval node;  /* in the svm's tree; immutable ends */
	struct dsvm_link entry;	    /* the same order as a list */
	struct dsvm_tree_root root; /* ranges; changed under the notifier lock for writing */
	struct dsvm_link range_list;
	dsvm_u32 removed;	    /* the mmu notifier has gone; set once */
};

/*
 * What the owner of the objects does for the core. Both objects are the
 * driver's, so the shim makes and frees them. All may sleep; but for
 * notifier_os none is called under the notifier lock.
 */
struct dsvm_svm_ops {
	/* Makes a notifier for the window and starts its invalidations. */
	int (*notifier_create)(struct dsvm_svm *svm, dsvm_usize first, dsvm_usize last,
			       struct dsvm_notifier **out);
	/* The mmu notifier inside. */
	struct dsvm_os_notifier *(*notifier_os)(struct dsvm_notifier *notifier);
	/* Stops invalidations (unless removed already) and frees it. */
	void (*notifier_destroy)(struct dsvm_svm *svm, struct dsvm_notifier *notifier);
	/* Makes a range with one reference. */
	int (*range_create)(struct dsvm_svm *svm, struct dsvm_notifier *notifier,
			    dsvm_usize first, dsvm_usize last, dsvm_u16 flags,
			    struct dsvm_range **out);
	/* Drops that reference. */
	void (*range_put)(struct dsvm_svm *svm, struct dsvm_range *range);
};

/* One address space mirrored for a GPU; in struct drm_gpusvm. */
struct dsvm_svm {
	struct dsvm_os_mm *mm;	       /* immutable; NULL: pages API only */
	dsvm_usize mm_start;	       /* immutable */
	dsvm_usize mm_range;	       /* bytes; immutable */
	dsvm_usize notifier_size;      /* a power of two; immutable */
	const dsvm_usize *chunk_sizes; /* powers of two, descending; immutable */
	int num_chunks;		       /* immutable */
	struct dsvm_tree_root root;    /* notifiers; driver's lock and notifier lock */
	struct dsvm_link notifier_list;
	struct dsvm_os_rwsem *lock;    /* the notifier lock */
	const struct dsvm_svm_ops *ops;
};

/* The pages behind a range as one device sees them; in struct drm_gpusvm_pages. */
struct dsvm_pages {
	struct dsvm_dma_addr *dma_addr;	   /* one entry a run of pages; notifier lock */
	struct dsvm_os_provider *provider; /* of the device pages, referenced; notifier lock */
	dsvm_usize notifier_seq;	   /* what dma_addr was valid at */
	dsvm_u16 flags;			   /* DSVM_PAGES_*; notifier lock */
};

/*
 * Checks what drm_gpusvm_init() was given and sets up the containers.
 * -EINVAL: sizes that are no powers of two, chunks out of order or larger
 * than a notifier, a span that wraps around.
 */
int dsvm_svm_init(struct dsvm_svm *svm);
/* Takes all notifiers and ranges out. The driver's lock; may sleep. */
void dsvm_svm_fini(struct dsvm_svm *svm);

/* How a range is to be found or made. */
struct dsvm_find_or_insert {
	dsvm_usize fault_addr;
	dsvm_usize gpuva_first; /* a new range stays within these */
	dsvm_usize gpuva_last;
	dsvm_usize check_pages_threshold; /* bytes; see drm_gpusvm_ctx */
	void *owner;
	dsvm_bool write;
	dsvm_bool devmem_possible;
};

/*
 * The range at an address, made if there is none yet. The driver's lock; may
 * sleep. -EINVAL, -EFAULT (the address space has gone), -ENOENT (no VMA),
 * -EPERM (write to a read-only VMA), -EIO (no pages behind the VMA), -ENOMEM.
 * A failed call leaves no notifier and no range behind.
 */
int dsvm_svm_find_or_insert(struct dsvm_svm *svm, const struct dsvm_find_or_insert *request,
			    struct dsvm_range **out);
/* Takes a range out and drops its reference; the last one takes its notifier along. */
void dsvm_svm_range_remove(struct dsvm_svm *svm, struct dsvm_notifier *notifier,
			   struct dsvm_range *range);
/* The first object that overlaps [first, last] or NULL. Driver's lock or notifier lock. */
struct dsvm_notifier *dsvm_svm_notifier_find(struct dsvm_svm *svm, dsvm_usize first,
					     dsvm_usize last);
struct dsvm_range *dsvm_svm_range_find(struct dsvm_notifier *notifier, dsvm_usize first,
				       dsvm_usize last);
/* Whether any range overlaps [first, last]. Driver's lock or notifier lock. */
dsvm_bool dsvm_svm_has_range(struct dsvm_svm *svm, dsvm_usize first, dsvm_usize last);
/* Where the first VMA in [first, last] starts, or all ones. May sleep. */
dsvm_usize dsvm_svm_find_vma_start(struct dsvm_svm *svm, dsvm_usize first, dsvm_usize last);

/*
 * An invalidation: publishes the sequence and calls @zap, both under the
 * notifier lock for writing. False, having done nothing, if it would have to
 * wait and may not.
 */
dsvm_bool dsvm_svm_invalidate(struct dsvm_svm *svm, struct dsvm_os_notifier *notifier,
			      dsvm_usize seq, dsvm_bool blockable, void (*zap)(void *), void *arg);
/* Notes that [first, last] of the CPU's mapping has gone. Notifier lock for writing. */
void dsvm_svm_range_set_unmapped(struct dsvm_svm *svm, struct dsvm_range *range,
				 dsvm_usize first, dsvm_usize last);
void dsvm_svm_pages_set_unmapped(struct dsvm_svm *svm, struct dsvm_pages *pages);

/* What to collect and for whom. */
struct dsvm_get_pages {
	struct dsvm_os_rwsem *lock;
	struct dsvm_os_mm *mm;
	struct dsvm_os_notifier *notifier;
	struct dsvm_os_dev *dev;
	dsvm_usize first;
	dsvm_usize last;
	void *owner;
	dsvm_bool write;
	dsvm_bool devmem_only;
	dsvm_bool allow_mixed;
};

/*
 * Collects the pages of a span and maps them for the device, in at most
 * DSVM_GET_PAGES_BUDGET_NS. Nothing to do if they are mapped already for the
 * access asked; as long as they are, the span is the one they were asked for
 * first. May sleep; the notifier lock not held.
 *
 * 0; -EBUSY: invalidated again and again until the time was up; -EFAULT:
 * unmapped, no such memory, or RAM with devmem_only; -EPERM; -ENOMEM; -EINTR: the caller is being
 * killed; -EOPNOTSUPP: pages that the request does not allow (mixed, or of
 * another kind), or that the device sees a copy of. A mapping that there was
 * stays as it is after an error, and goes when a wider one takes its place.
 */
#define DSVM_GET_PAGES_BUDGET_NS 1000000000ull
int dsvm_svm_get_pages(struct dsvm_pages *pages, const struct dsvm_get_pages *request);
/* Whether they are mapped now. Notifier lock. */
dsvm_bool dsvm_svm_pages_valid(const struct dsvm_pages *pages);
/* Unmaps from the device. Notifier lock, in any mode; reclaim-safe. */
void dsvm_svm_unmap_pages(struct dsvm_pages *pages, struct dsvm_os_rwsem *lock,
			  struct dsvm_os_dev *dev, dsvm_usize npages);
/* Unmaps and frees the bookkeeping. Takes the notifier lock. */
void dsvm_svm_free_pages(struct dsvm_pages *pages, struct dsvm_os_rwsem *lock,
			 struct dsvm_os_dev *dev, dsvm_usize npages);
/* Brings the pages of a span back to RAM, if any are a device's. May sleep. */
int dsvm_svm_range_evict(struct dsvm_svm *svm, struct dsvm_os_notifier *notifier,
			 struct dsvm_range *range);

/* Where the pages of a span are. */
struct dsvm_residency {
	dsvm_u32 none;	  /* not present, unreadable, or another owner's device memory */
	dsvm_u32 system;  /* RAM, or other memory that stays where it is */
	dsvm_u32 device;  /* device memory of the owner asked for */
};

/*
 * Counts where the pages of [first, last] are, one result for each @block
 * bytes. A look, no promise: pages may move while it is taken. May sleep.
 */
int dsvm_svm_residency(struct dsvm_os_mm *mm, struct dsvm_os_notifier *notifier, void *owner,
		       dsvm_usize first, dsvm_usize last, dsvm_usize block,
		       struct dsvm_residency *out);

DSVM_EXTERN_C_END

#endif /* DRM_SVM_SVM_H */
