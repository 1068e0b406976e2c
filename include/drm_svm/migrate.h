/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * The migration engine, the core's side: pages to device memory, from one
 * device to another, and back.
 */
#ifndef DRM_SVM_MIGRATE_H
#define DRM_SVM_MIGRATE_H

#include "drm_svm/types.h"

DSVM_EXTERN_C_BEGIN

/* Allocations -------------------------------------------------------------- */

/*
 * A piece of a copy: @npages pages that follow each other on both sides.
 * @addr all zero, to a device: there is no source, the pages have to be
 * cleared. Same layout as struct drm_svm_copy_run.
 */
struct dsvm_copy_run {
	struct dsvm_os_page *page; /* the copying device's first page */
	struct dsvm_dma_addr addr; /* the other side's; its order means nothing here */
	dsvm_usize npages;
};

/*
 * One call of the driver's copy engine, in one of two forms, and only that is set: as an
 * array of one entry a page (@pages[i] NULL: nothing to do, or part of an
 * entry before it of @addrs[].order); or as runs, for an allocation with
 * @copies_runs.
 */
struct dsvm_devmem;

struct dsvm_copy {
	dsvm_bool to_ram;  /* out of the device that copies; else into it */
	/* Out of the device, into memory of this allocation and not to RAM; else NULL. */
	const struct dsvm_devmem *target;
	struct dsvm_os_page **pages;
	struct dsvm_dma_addr *addrs;
	dsvm_usize npages;
	const struct dsvm_copy_run *runs;
	dsvm_usize nruns;
	/* Out: signals when it is done; NULL: it is. */
	struct dsvm_os_fence *done;
};

/* Counters of one way and one size; the times are of phases, by dsvm_os_tick_ns(). */
struct dsvm_phase_counters {
	dsvm_u64 batches;
	dsvm_u64 bytes;		/* that have moved */
	dsvm_u64 setup_ns;	/* the kernel collects and unmaps */
	dsvm_u64 map_ns;	/* destinations, DMA */
	dsvm_u64 copy_ns;	/* from its beginning to the end of the wait for it */
	dsvm_u64 finalize_ns;	/* the kernel switches over and maps */
};

enum dsvm_migrate_way {
	DSVM_WAY_TO_DEVICE,
	DSVM_WAY_CPU_FAULT,
	DSVM_WAY_EVICT,
	DSVM_WAYS
};

/* By bytes of a batch: below 64 KiB, below 2 MiB, and 2 MiB. */
#define DSVM_SIZES 3

/* What has happened to a provider's memory. Anybody may read them at any time. */
struct dsvm_migrate_counters {
	struct dsvm_phase_counters phase[DSVM_WAYS][DSVM_SIZES];
	dsvm_u64 huge_moved;	  /* huge folios that moved whole */
	dsvm_u64 huge_split;	  /* or that came back in pieces, for want of a huge page */
	dsvm_u64 from_device;	  /* pages that came from another device in one hop */
	dsvm_u64 stayed;	  /* pages that were asked for and could not move */
	dsvm_u64 timeslice_waits; /* CPU faults that waited for the end of a timeslice */
	dsvm_u64 fault_races;	  /* CPU faults that found another one at their folio */
	dsvm_u64 fault_oom;
	dsvm_u64 fault_lost;	  /* SIGBUS */
};

/*
 * One allocation of device memory and how data gets in and out of it. Lives as
 * long as the zdd. All callbacks but @unused may sleep.
 */
struct dsvm_devmem {
	void *allocation;
	struct dsvm_os_dev *dev;
	struct dsvm_os_provider *provider;
	struct dsvm_os_zdd *zdd;
	void *owner;		/* of its pages, as HMM and migration know it */
	struct dsvm_migrate_counters *counters; /* the provider's */
	dsvm_usize size;	/* bytes */
	dsvm_usize first;	/* the address that its first page was made for; 0: not known */
	/*
	 * A CPU fault brings back so many, a power of two; 0: DSVM_FAULT_NPAGES, and twice as many
	 * as the last one where a program goes on at that one's end.
	 */
	dsvm_u32 fault_npages;
	dsvm_bool copies_runs;
	/* Fills in the page frame numbers of the allocation's first @npages pages. */
	int (*populate)(void *allocation, dsvm_usize npages, dsvm_usize *pfns);
	int (*copy)(void *allocation, struct dsvm_copy *copy);
	/* These frames were never used and are not going to be. NULL: they stay taken. */
	void (*unused)(void *allocation, dsvm_usize pfn, dsvm_usize npages);
	/* The core's, between dsvm_devmem_init() and _fini(): frame numbers. */
	dsvm_usize base;	/* of frames in a row */
	dsvm_usize *frames;	/* or one by one; NULL: in a row */
	/*
	 * And where the next CPU fault would go on, with the order of what the last one was to
	 * bring back in the bits below a page's address; 0: there was none.
	 */
	dsvm_u64 streak;
};

/*
 * Asks for the frames of an allocation whose fields above are filled in. 0;
 * -EINVAL: its size is none; -ENOMEM; what @populate returned. May sleep.
 */
int dsvm_devmem_init(struct dsvm_devmem *devmem);
/* May sleep. */
void dsvm_devmem_fini(struct dsvm_devmem *devmem);

/* To the device -------------------------------------------------------------- */

/* What has become of a page, and why it stayed if it did. The public enum has the same values. */
enum dsvm_stay {
	DSVM_MOVED,
	DSVM_WAS_THERE,
	DSVM_STAY_NOT_TRIED,	 /* an error came before */
	DSVM_STAY_NO_MEMORY_MAP, /* no VMA */
	DSVM_STAY_NOT_ANONYMOUS, /* of a file, shared, hugetlb, or a device's mapping */
	DSVM_STAY_SWAPPED,	 /* no page is mapped, and it is no hole: swapped out, in another
				  * owner's device memory, or no access
				  */
	DSVM_STAY_SWAP_CACHE,
	DSVM_STAY_PINNED,
	DSVM_STAY_LOCKED,
	DSVM_STAY_WRITEBACK,
	DSVM_STAY_LARGE_FOLIO,	 /* the kernel cannot split it (before 7.3) */
	DSVM_STAY_FOREIGN,	 /* in memory of a device of its clique that cannot write to this one */
	DSVM_STAY_NO_DEVICE_MEMORY,
	DSVM_STAY_NO_DMA,	 /* RAM that DMA does not reach */
	DSVM_STAY_BUSY,		 /* somebody uses it, or got at it at the last moment */
	DSVM_STAYS
};

/* A span of one VMA that is to move to a fresh allocation: mainline's call. */
struct dsvm_to_device {
	struct dsvm_os_mm *mm; /* its lock held, at least for reading, all the time */
	dsvm_usize first;
	dsvm_usize last;
	void *owner;
	const struct dsvm_devmem *devmem;
	dsvm_bool all_or_nothing; /* one page that cannot move stops the rest */
	dsvm_bool within_provider; /* pages of the same provider move as well */
	/* Out: pages that live in the allocation now. */
	dsvm_usize migrated;
};

/*
 * Moves the span. 0: all of it, or as much as could (all_or_nothing unset),
 * or it was there already; -ENOENT: no VMA; -EINVAL: beyond the VMA, or
 * larger than the allocation; -EBUSY: not anonymous, or a page that cannot
 * move now, or lost a race; -EFAULT: RAM that DMA does not reach; -ENOMEM; what a
 * callback returned. After an error all pages are where they were; but if a race
 * was lost at the last moment (-EBUSY and @migrated not zero), those that had won
 * it have moved.
 */
int dsvm_migrate_to_device(struct dsvm_to_device *request);

/* Any span of an address space, which is to move as far as it can. */
struct dsvm_migrate_job {
	struct dsvm_os_mm *mm; /* no lock held; the caller keeps a user */
	struct dsvm_os_notifier *notifier; /* of @mm, for looking at its pages */
	dsvm_usize first;
	dsvm_usize last;
	void *owner;
	const void *pagemap;	/* where they are to go: see dsvm_os_hmm_pagemap() */
	dsvm_u32 workers;	/* at most so many at a time; 0 is 1 */
	dsvm_bool fault_in;	/* bring swapped and foreign pages to RAM, and try once more */
	void *ctx;
	/*
	 * Device memory for @npages pages from @first on, at most 2 MiB of one
	 * naturally aligned block. No lock is held. What it gives is done with at
	 * @release, which drops what nothing lives in. 0 or an errno.
	 */
	int (*alloc)(void *ctx, dsvm_usize first, dsvm_usize npages,
		     const struct dsvm_devmem **out);
	void (*release)(void *ctx, const struct dsvm_devmem *devmem);
	/* Out, one a page, if it is there: enum dsvm_stay. */
	dsvm_u8 *report;
	/* Out: how many pages have met with each enum dsvm_stay. */
	dsvm_usize result[DSVM_STAYS];
};

/*
 * Moves what can be moved, and says of each page what has become of it. 0:
 * @result tells, even if nothing moved; -EINVAL: not a span of pages, or an
 * allocation is too small; -ENOMEM;
 * -EINTR: being killed; what @alloc or a copy returned: the rest was not
 * tried, what had moved before stays there. -ENOSPC of @alloc only ends with
 * the pages that it was for. Sleeps.
 */
int dsvm_migrate_run_job(struct dsvm_migrate_job *job);

/* Back to RAM ------------------------------------------------------------------ */

/* A CPU fault on a device page. */
struct dsvm_cpu_fault {
	struct dsvm_os_fault *fault;
	struct dsvm_os_vma *vma;
	dsvm_usize vma_first;
	dsvm_usize vma_last;
	dsvm_usize addr;
	struct dsvm_os_page *page;
	dsvm_u32 order;		/* of the page-table entry it came by: 0, or a huge page's */
	dsvm_bool is_part;	/* the page is one of a larger folio than that */
	dsvm_bool by_user;	/* a program has come there, and nobody who knows how far he goes */
	struct dsvm_devmem *devmem;
	dsvm_u64 timeslice_ns;	/* for so long the device may keep the page */
};

enum dsvm_fault_result {
	DSVM_FAULT_DONE,  /* moved, by us or by somebody else, or to be tried again */
	DSVM_FAULT_RETRY, /* the same, and the mm's lock is not held any more */
	DSVM_FAULT_OOM,	  /* no memory to move to */
	DSVM_FAULT_LOST,  /* the data cannot be had any more */
};

/* A CPU fault brings back so much by default at first, or the huge page that it hit: 64 KiB. */
#define DSVM_FAULT_NPAGES 16

/* Brings a granule around the address back. Under the mm's lock, may sleep. */
enum dsvm_fault_result dsvm_migrate_to_ram(const struct dsvm_cpu_fault *fault);

/*
 * Moves pages @index to @index + @npages - 1 of an allocation to RAM, wherever
 * they are mapped. @mm is the owner's, held as a struct; it may have lost its
 * users. Its lock is tried, and not waited for. The caller has a reference to the
 * zdd.
 *
 * 0: none of them is in use any more. -EBUSY: some page resisted
 * DSVM_EVICT_TRIES times, or could not be copied, or the owner had its lock for
 * too long, or was too long in exiting; -ENOSPC: no RAM to move to; -EINTR:
 * being killed; -ENODEV: the device has gone, and the data with it; -EINVAL: not
 * a part of the allocation. Whatever could be moved was. May sleep.
 */
#define DSVM_EVICT_TRIES 10
int dsvm_migrate_evict(const struct dsvm_devmem *devmem, struct dsvm_os_mm *mm,
		       dsvm_usize index, dsvm_usize npages);

/*
 * The same for all that a provider has out, until nothing is or @budget_ns are
 * over: -EBUSY, or what stopped the last one. The provider gives no new memory
 * out meanwhile, so that comes to an end.
 */
int dsvm_migrate_evict_all(struct dsvm_os_provider *provider, dsvm_u64 budget_ns);

/*
 * Lets go of what is left of a huge folio of @owner's at @addr after a part of it was unmapped: the
 * kernel keeps all of its frames until somebody splits it. @notifier is of @mm, to look at it. 0,
 * also if there is nothing of the kind; -EBUSY: somebody uses it just now; -EFAULT: the address
 * space has gone; what the kernel's set-up says. No mm lock held; sleeps.
 */
int dsvm_migrate_split(struct dsvm_os_mm *mm, struct dsvm_os_notifier *notifier, dsvm_usize addr,
		       void *owner);

/* Tracing ------------------------------------------------------------------------ */

enum dsvm_migrate_phase {
	DSVM_PHASE_SETUP,
	DSVM_PHASE_MAP,
	DSVM_PHASE_COPY,
	DSVM_PHASE_FINALIZE,
};

/* The end of a phase of one batch. */
struct dsvm_migrate_event {
	const struct dsvm_devmem *devmem;
	enum dsvm_migrate_way way;
	enum dsvm_migrate_phase phase;
	dsvm_usize first;	/* address, or of an eviction by frames the first of them */
	dsvm_usize npages;	/* of the batch */
	dsvm_usize count;	/* collected; with a destination; pieces; moved */
	dsvm_u64 ns;
	int status;
};

DSVM_EXTERN_C_END

#endif /* DRM_SVM_MIGRATE_H */
