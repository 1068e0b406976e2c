/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * What the suites of the page map stand on, beside gpusvm_fixture.h: device memory in small, one
 * for each device of a case, with a copy engine that can be made to fail and to be late, and
 * that keeps an account of what it is asked for.
 *
 * Data is told from other data by its place: the words of a page are made from its address and a
 * seed, so a page that is lost, copied in part, twice there or in the wrong place shows.
 */
#ifndef DSVM_KUNIT_PAGEMAP_FIXTURE_H
#define DSVM_KUNIT_PAGEMAP_FIXTURE_H

#include <linux/kref.h>
#include <linux/memremap.h>

#include <drm/drm_pagemap_util.h>
#include <drm/drm_svm_pagemap.h>

#include "gpusvm_fixture.h"

/* Frames of a device. */
#define PX_FRAMES (SX_AREA / PAGE_SIZE)
/* How a device reaches another one's memory; the address says which frame. */
#define PX_PEER (DRM_INTERCONNECT_DRIVER + 1)

/* .init and .exit; the suite's are sx_suite_init() and sx_suite_exit(). */
int px_init(struct kunit *test);
void px_exit(struct kunit *test);
int px_init_iommu(struct kunit *test);
void px_exit_iommu(struct kunit *test);

/* Data ------------------------------------------------------------------------------------- */

/* The CPU writes a span, or reads it and counts pages that are not as they were written. */
int px_write(struct sx_fixture *f, unsigned long addr, unsigned long bytes, u32 seed);
unsigned int px_count_wrong(struct sx_fixture *f, unsigned long addr, unsigned long bytes,
			    u32 seed);
/* Maps anonymous memory there and writes it. */
void px_map(struct kunit *test, unsigned long addr, unsigned long bytes, u32 seed);
/* It is as it was written; brings it to RAM. */
void px_expect_data(struct kunit *test, unsigned long addr, unsigned long bytes, u32 seed);
/* It is all zero; brings it to RAM. */
void px_expect_zeroes(struct kunit *test, unsigned long addr, unsigned long bytes);

/* A device --------------------------------------------------------------------------------- */

/* What a case asks of one. */
struct px_config {
	unsigned int device;
	bool copies_runs;	/* has copy_runs */
	bool late;		/* and that is done some time after it has returned */
	bool keeps_frames;	/* has no devmem_free_pages */
	bool scattered;		/* no two frames of an allocation follow each other */
	bool clique;		/* is of one owner with the other one that says so */
	bool takes_spans;	/* has populate_span */
};

/* What the copy engine was asked for, in one direction. */
struct px_copies {
	unsigned int calls;
	unsigned int pieces;	  /* entries of arrays, or runs */
	unsigned int pages;
	unsigned int cleared;	  /* of these, without a source */
	unsigned long largest;	  /* piece, in pages */
};

struct px_vram {
	struct drm_pagemap base;
	struct drm_pagemap_ops ops;
	struct drm_pagemap_devmem_ops devmem_ops;
	struct dev_pagemap pagemap;
	struct drm_pagemap_peer peer;
	struct px_config config;
	struct sx_fixture *fixture;
	struct list_head entry;
	struct resource *region;
	void *memory;
	bool has_pages;		/* memremap_pages() was called */
	bool is_ready;		/* drm_pagemap_init() */
	struct completion destroyed;

	/* Frames: whose they are. Under the lock, as what follows. */
	spinlock_t lock;
	struct px_alloc *owner[PX_FRAMES];
	unsigned int used;
	unsigned int limit;	/* so many may be in use */
	unsigned int returned;	/* frames that came back through devmem_free_pages */
	unsigned int released;	/* allocations */
	struct px_copies in;
	struct px_copies out;
	u64 last_addr;		/* where the last copy found RAM */
	unsigned int wrong;	/* calls that make no sense; said in the log */
	int maps;		/* device_map without device_unmap */
	unsigned int in_flight;	/* late copies */
	unsigned int most_in_flight;
	wait_queue_head_t change;

	/* Set by the case. */
	unsigned long timeslice_ms;
	unsigned long granule;
	bool is_deaf;		/* no other device reaches it, whatever its owner */
	int alloc_error;	/* of each allocation */
	unsigned int alloc_calls;
	int copy_error;		/* of the next copies, ... */
	atomic_t copy_errors;	/* ... as long as this is above zero */
	void (*on_copy)(struct px_vram *v, bool to_ram); /* before each */
	void *hook_arg;
	/* Of populate_mm and populate_span. */
	unsigned int populated;
	bool had_lock;
	int populate_ret;
};

/* An allocation; the library has a reference, and so may a case. */
struct px_alloc {
	struct drm_pagemap_devmem base;
	struct kref ref;
	struct px_vram *vram;
	unsigned long npages;
	bool is_released;
	unsigned int frame[];
};

static inline struct px_vram *to_px_vram(struct drm_pagemap *dpagemap)
{
	return container_of(dpagemap, struct px_vram, base);
}

static inline struct px_alloc *to_px_alloc(struct drm_pagemap_devmem *devmem)
{
	return container_of(devmem, struct px_alloc, base);
}

/* With the provider set up; ends the case if there is no memory. The fixture destroys it. */
struct px_vram *px_vram_create(struct kunit *test, const struct px_config *config);
/* Without drm_pagemap_init(), for who wants to call it. */
struct px_vram *px_vram_create_bare(struct kunit *test, const struct px_config *config);
int px_vram_init(struct px_vram *v);
/* Drops the provider; nothing may be left in it. */
void px_vram_destroy(struct kunit *test, struct px_vram *v);

/* ERR_PTR(-ENOSPC), or what &px_vram.alloc_error says. */
struct px_alloc *px_alloc_create(struct px_vram *v, unsigned long bytes);
struct px_alloc *px_alloc_get(struct px_alloc *alloc);
void px_alloc_put(struct px_alloc *alloc);
/* Frames that an allocation still has. */
unsigned int px_alloc_used(struct px_alloc *alloc);

/* Between the device's two files. The library has done what it must not do; any context. */
void px_wrong(struct px_vram *v, const char *what);
/* Which of the device's frames a page is; PX_FRAMES if none. */
unsigned int px_frame(struct px_vram *v, struct page *page);
int px_copy_to_devmem(struct page **pages, struct drm_pagemap_addr *addrs, unsigned long npages,
		      struct dma_fence *pre_migrate_fence);
int px_copy_to_ram(struct page **pages, struct drm_pagemap_addr *addrs, unsigned long npages,
		   struct dma_fence *pre_migrate_fence);
struct dma_fence *px_copy_runs(struct drm_pagemap_devmem *devmem,
			       const struct drm_svm_copy_run *runs, unsigned long num_runs,
			       bool to_ram, struct dma_fence *pre_migrate_fence);

void px_reset_copies(struct px_vram *v);
struct dsvm_migrate_counters px_counters(struct px_vram *v);
/* Makes the next @count copies fail. */
void px_fail_copies(struct px_vram *v, int error, int count);
/* Nothing is in use, and all that was has come back. */
void px_expect_empty(struct kunit *test, struct px_vram *v);

/* Moving ----------------------------------------------------------------------------------- */

/* Mainline's way: one allocation for the span. *@out, if wanted, with a reference on success. */
int px_to_device(struct px_vram *v, unsigned long addr, unsigned long bytes,
		 struct px_alloc **out);
/* It has to work. */
struct px_alloc *px_move(struct kunit *test, struct px_vram *v, unsigned long addr,
			 unsigned long bytes);
/* The whole span, as far as it goes; the fields of @job that are not about that are the case's. */
int px_job(struct px_vram *v, unsigned long addr, unsigned long bytes,
	   struct drm_svm_migrate *job);

/* Where pages are, as HMM sees it without disturbing them. */
struct px_places {
	unsigned int none;   /* nothing there, or memory of nobody that was asked about */
	unsigned int ram;
	unsigned int device; /* of @v */
	unsigned int huge;   /* of these two, in entries of a huge page */
};

struct px_places px_look(struct kunit *test, struct px_vram *v, unsigned long addr,
			 unsigned long bytes);
void px_expect_places(struct kunit *test, struct px_vram *v, unsigned long addr,
		      unsigned long bytes, unsigned int ram, unsigned int device);
/* The page of the device at an address; ends the case if there is none. No reference. */
struct page *px_device_page(struct kunit *test, struct px_vram *v, unsigned long addr);
/* What the device itself would read there is as it was written. */
void px_expect_device_data(struct kunit *test, struct px_vram *v, unsigned long addr,
			   unsigned long bytes, u32 seed);
/* A fault that may not drop the mm's lock, as of HMM on somebody's behalf. 0 or an errno. */
int px_hmm_fault(struct sx_fixture *f, unsigned long addr);
/* The page in RAM at an address, with a reference, or pinned. */
struct page *px_take_page(struct kunit *test, unsigned long addr, bool pin);
/* Lets the device reach no more than 4 GiB; skips the case if the memory there is below that. */
void px_bounce(struct kunit *test, struct px_vram *v, unsigned long addr);
/* Whether the CPU has one huge page there. */
bool px_is_huge(struct kunit *test, unsigned long addr);

/* Threads ---------------------------------------------------------------------------------- */

/* Calls @fn once, some time after it was started. */
struct px_thread {
	int (*fn)(void *arg);
	void *arg;
	int ret;
	bool is_started;
	struct completion done;
	struct task_struct *task;
};

/* Ends the case if there is no memory. */
struct px_thread *px_thread_create(struct kunit *test, int (*fn)(void *arg), void *arg);
/* Any context that may not sleep, too. */
void px_thread_start(struct px_thread *t);
/* What @fn has returned; waits for that. -ENOENT if it was not started. */
int px_thread_end(struct px_thread *t);

#endif /* DSVM_KUNIT_PAGEMAP_FIXTURE_H */
