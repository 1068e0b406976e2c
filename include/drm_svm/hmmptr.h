/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * hmmptr, the core's side: a span of an address space that a device uses under
 * addresses that its driver chose. A userptr is one whose memory stays in RAM.
 *
 *	hmmptr	|----------------------------------------------|	one mmu notifier
 *	pieces	     |-----|-----|        |-|     |----|		what was populated
 *
 * A hmmptr is a window of notifications, and its pieces are the ranges in it: what is said in
 * svm.h of a range and its pages holds for a piece, whose validity is its own. A piece is made
 * by the first call that populates some of it, covers no more than was asked for then, and lies in
 * one naturally aligned block of DSVM_PIECE_SIZE; so what is known of a hmmptr grows with
 * what was populated, and an invalidation costs no more than a block to make good.
 *
 *	      populate		     map
 *	none -----------> populated ------> mapped
 *		  ^	  |     ^	      |
 *		  +-------+     +-------------+ unmap
 *	        invalidation: populate it again; what was mapped is unmapped at once
 *
 * Locks: that of the set ("the notifier lock") guards what invalidations see, and is taken inside
 * mmu notifiers. That of a hmmptr is outside the mm's lock; it makes one who populates, maps,
 * unmaps or releases wait for another.
 */
#ifndef DRM_SVM_HMMPTR_H
#define DRM_SVM_HMMPTR_H

#include "drm_svm/svm.h"

DSVM_EXTERN_C_BEGIN

/* Pieces do not go over the bounds of blocks of so many bytes: a huge page. */
#define DSVM_PIECE_SIZE (2ull << 20)

/* state of struct dsvm_piece */
#define DSVM_PIECE_POPULATED (1u << 0) /* @entries are true as long as the sequence is @seq */
#define DSVM_PIECE_MARKED (1u << 1)    /* dirty and accessed are handed back for these */
#define DSVM_PIECE_FRESH (1u << 2)     /* made by the call that is still running */

/* A part of a hmmptr; the shim allocates it, as a range. */
struct dsvm_piece {
	struct dsvm_range range;  /* in the hmmptr's tree */
	struct dsvm_pages pages;
	dsvm_usize *entries;	  /* HMM's, one a page; hmmptr's lock */
	dsvm_usize seq;		  /* the same */
	enum dsvm_access access;  /* that @entries are for; the same */
	dsvm_u32 state;		  /* DSVM_PIECE_*; the same */
	dsvm_bool wanted;	  /* mapped, or to be mapped again after an invalidation; hmmptr's */
				  /* lock and the notifier lock for writing */
	dsvm_bool wanted_write;	  /* and for writing; hmmptr's lock */
	dsvm_bool unbound;	  /* taken while it was wanted, and not bound since, also if it was */
				  /* given up; notifier lock for writing */
};

struct dsvm_hmmptr;
struct dsvm_hmmptr_set;

/* What the owner of the objects does for the core. May sleep, if nothing else is said. */
struct dsvm_hmmptr_ops {
	/*
	 * Takes page-table entries of [@first, @last] away and begins to flush; true if a flush is
	 * under way. Notifier lock for writing; reclaim-safe.
	 */
	dsvm_bool (*invalidate_start)(struct dsvm_hmmptr *hmmptr, dsvm_usize first,
				      dsvm_usize last);
	/* Waits for every flush that was begun before. Follows each @invalidate_start. As above. */
	void (*invalidate_finish)(struct dsvm_hmmptr *hmmptr, dsvm_usize first, dsvm_usize last);
	/*
	 * Writes page-table entries for [@first, @last], which are mapped again, if they are
	 * still valid: else -EAGAIN. Hmmptr's lock.
	 */
	int (*rebind)(struct dsvm_hmmptr *hmmptr, dsvm_usize first, dsvm_usize last);
	/* Takes the hmmptr's lock: 0 or -EINTR. */
	int (*lock)(struct dsvm_hmmptr *hmmptr);
	void (*unlock)(struct dsvm_hmmptr *hmmptr);
	/* One more reference, if there is still one: else false. Any context. */
	dsvm_bool (*get)(struct dsvm_hmmptr *hmmptr);
	void (*put)(struct dsvm_hmmptr *hmmptr);
};

/* The hmmptrs of a GPU's address space. */
struct dsvm_hmmptr_set {
	/*
	 * Its lock is the notifier lock. Of its ops those of ranges, which are the pieces; there is
	 * no tree of windows.
	 */
	struct dsvm_svm svm;
	const struct dsvm_hmmptr_ops *ops;
	dsvm_usize piece_size;	      /* DSVM_PIECE_SIZE; less in tests */
	struct dsvm_link invalidated; /* by notifiers, since the last revalidation; notifier lock */
	struct dsvm_link repin;	      /* taken from there, and still to be populated; the same */
	dsvm_u64 lost;		      /* pieces given up by revalidations: no memory there */
	dsvm_u64 injected;	      /* invalidations that were injected */
	dsvm_u32 inject_every;	      /* 0: never; for tests: each @inject_every-th map meets one */
	dsvm_u32 inject_count;
};

/* in struct dsvm_hmmptr: which list it is on */
enum dsvm_hmmptr_place {
	DSVM_HMMPTR_CLEAN,
	DSVM_HMMPTR_INVALIDATED,
	DSVM_HMMPTR_REPIN,
};

struct dsvm_hmmptr {
	struct dsvm_notifier window;  /* @node is the span; its lock is the set's */
	struct dsvm_hmmptr_set *set;  /* immutable */
	struct dsvm_os_mm *mm;	      /* immutable, held as a struct */
	struct dsvm_os_dev *dev;      /* immutable */
	void *owner;		      /* its device pages may stay where they are; immutable */
	dsvm_bool read_only;	      /* for the device; immutable */
	dsvm_bool released;	      /* nothing is to be populated any more; hmmptr's lock */
	dsvm_bool again;	      /* invalidated while on @set->repin; notifier lock */
	enum dsvm_hmmptr_place place; /* notifier lock */
	struct dsvm_link entry;	      /* in a list of the set; notifier lock */
	dsvm_usize populated;	      /* bytes of all pieces; hmmptr's lock */
};

void dsvm_hmmptr_set_init(struct dsvm_hmmptr_set *set);

/*
 * Checks the span in @window.node and empties the rest; what is immutable was filled in. The mmu
 * notifier comes after this. 0; -EINVAL: not of whole pages, none, or beyond the end.
 */
int dsvm_hmmptr_init(struct dsvm_hmmptr *hmmptr);
/*
 * The end, in the one safe order: nothing is mapped any more, no notifier runs, no list leads to
 * it, nothing is left. Once. Hmmptr's lock; no notifier lock; may sleep.
 */
void dsvm_hmmptr_release(struct dsvm_hmmptr *hmmptr);

/*
 * Collects the pages of [first, last], those that are populated for the access already left alone.
 * All of it, or what there was before, and nothing more; a piece of which a part had to be cut off
 * may have lost its mapping by that, as by an invalidation. Hmmptr's lock; takes the mm's.
 *
 * 0; -EINVAL: not of whole pages, or not of the hmmptr; -EPERM: a write to memory that may not be
 * written, or with @read_only; -EFAULT: no memory there, or no process any more; -EBUSY: a piece
 * was invalidated again and again for DSVM_GET_PAGES_BUDGET_NS; -ENOMEM; -EINTR; -EOPNOTSUPP:
 * memory that no device may have; -ENODEV: released.
 */
int dsvm_hmmptr_populate(struct dsvm_hmmptr *hmmptr, dsvm_usize first, dsvm_usize last,
			 enum dsvm_access access);
/*
 * Maps what was populated of [first, last] for the device. A piece that reaches beyond is mapped
 * whole. All of it, or what was mapped before, but for a piece that was to become writable: it has lost
 * its mapping, as by an invalidation. Hmmptr's lock; takes the notifier lock.
 *
 * 0; -EAGAIN: some of it is not populated, or not any more; -EINVAL; -ENOMEM; -EOPNOTSUPP: device
 * memory of two providers in a piece, or RAM that the device would see a copy of; -EFAULT: not to
 * be mapped.
 */
int dsvm_hmmptr_map(struct dsvm_hmmptr *hmmptr, dsvm_usize first, dsvm_usize last);
/*
 * Both, until it has worked or the budget is used up, which begins when all of it has been
 * populated once. Errors of both, but not -EAGAIN.
 */
int dsvm_hmmptr_get_pages(struct dsvm_hmmptr *hmmptr, dsvm_usize first, dsvm_usize last,
			  enum dsvm_access access);
/*
 * Unmaps the pieces that lie in [first, last]; one that reaches beyond stays. With @forget they are
 * not populated any more, and what they took is free. What the device still uses of them is taken
 * from it first. Hmmptr's lock; takes the notifier lock.
 */
void dsvm_hmmptr_unmap(struct dsvm_hmmptr *hmmptr, dsvm_usize first, dsvm_usize last,
		       dsvm_bool forget);

/* Whether all of [first, last] is mapped now. Notifier lock. */
dsvm_bool dsvm_hmmptr_valid(struct dsvm_hmmptr *hmmptr, dsvm_usize first, dsvm_usize last);

/* A walk over what is mapped; zeroed before the first step. */
struct dsvm_hmmptr_cursor {
	dsvm_usize first; /* CPU address of the run */
	dsvm_usize npages;
	const struct dsvm_dma_addr *addr; /* NULL before the first one */
	struct dsvm_piece *piece;
};

/*
 * The next run of pages that the device has at one address, of those that overlap [first, last]:
 * the cursor is at it, and not cut to the span. False: there is none. Notifier lock, the same all
 * the way.
 */
dsvm_bool dsvm_hmmptr_next(struct dsvm_hmmptr *hmmptr, dsvm_usize first, dsvm_usize last,
			   struct dsvm_hmmptr_cursor *cursor);

/* An invalidation on its way through. */
struct dsvm_hmmptr_event {
	struct dsvm_invalidation core; /* the caller fills in all up to @deferrable */
	struct dsvm_hmmptr *hmmptr;    /* and this */
	dsvm_usize first;	       /* what it takes from the device: whole pieces; */
	dsvm_usize last;	       /* nothing if first > last */
};

/* As dsvm_svm_invalidate(), and the driver need not unmap anything. */
enum dsvm_invalidated dsvm_hmmptr_invalidate(struct dsvm_hmmptr_event *event);
void dsvm_hmmptr_invalidate_finish(struct dsvm_hmmptr_event *event);
/*
 * Does to what is populated in [first, last] what an invalidation would do. For tests. Hmmptr's
 * lock; takes the notifier lock.
 */
void dsvm_hmmptr_inject(struct dsvm_hmmptr *hmmptr, dsvm_usize first, dsvm_usize last);

/*
 * Populates and maps again whatever invalidations have taken, and has it bound, for
 * DSVM_GET_PAGES_BUDGET_NS at most. One caller at a time; no lock of a hmmptr; may sleep.
 *
 * 0: nothing was left at some moment; pieces without memory are given up and counted. -EBUSY:
 * the budget is used up; -ENOMEM; -EINTR; what rebind returned. The next call goes on with what
 * is left.
 */
int dsvm_hmmptr_revalidate(struct dsvm_hmmptr_set *set);
/* Whether nothing waits for that. Notifier lock. */
dsvm_bool dsvm_hmmptr_all_valid(const struct dsvm_hmmptr_set *set);

DSVM_EXTERN_C_END

#endif /* DRM_SVM_HMMPTR_H */
