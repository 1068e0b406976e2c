/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * What the suites of GPU SVM stand on: memory of a real process, and a driver in small that
 * mirrors it, with a page table that is an array and an invalidation that says what it does.
 *
 * The process is the one that loads the module or runs the suite: it sleeps meanwhile, so a
 * case may do what it likes in a part of its address space that nobody uses. Cases run in
 * kernel threads, which is also how a driver serves a GPU's faults.
 */
#ifndef DSVM_KUNIT_GPUSVM_FIXTURE_H
#define DSVM_KUNIT_GPUSVM_FIXTURE_H

#include <kunit/test.h>
#include <linux/completion.h>
#include <linux/list.h>
#include <linux/mutex.h>
#include <linux/sizes.h>
#include <linux/spinlock.h>

#include <drm/drm_gpusvm.h>
#include <drm/drm_pagemap.h>
#include <drm/drm_svm.h>

/* How much address space a case has. It begins at a multiple of that. */
#define SX_AREA ((unsigned long)SZ_8M)
#define SX_DEVICES 2

/* The chunks of a driver that says nothing else: ranges of 16 pages, or of one. */
#define SX_RANGE_PAGES 16
#define SX_RANGE (SX_RANGE_PAGES * PAGE_SIZE)

struct sx_fixture {
	struct mm_struct *mm;
	struct device *parents[SX_DEVICES];
	struct drm_device *drm[SX_DEVICES];
	unsigned long reserved;
	/* First byte of the area. Nothing is mapped there that may be used. */
	unsigned long start;
	/* What a case leaves behind, if it ends early, too. */
	struct list_head mirrors;
	struct list_head files;
	struct list_head vrams; /* of pagemap_fixture.h */
	unsigned int file_count;
};

/* .suite_init, .suite_exit, .init and .exit; &kunit.priv is a &struct sx_fixture between them. */
int sx_suite_init(struct kunit_suite *suite);
void sx_suite_exit(struct kunit_suite *suite);
int sx_init(struct kunit *test);
void sx_exit(struct kunit *test);
/*
 * The same with QEMU's PCI test device, behind an IOMMU, as the first of the devices; skips the
 * case on a machine without. Nobody drives it, and it makes no DMA: what it would reach is what
 * the IOMMU's page tables say. scripts/qemu.py puts it there.
 */
int sx_init_iommu(struct kunit *test);
void sx_exit_iommu(struct kunit *test);
/* Makes the calling thread one of the process's; whether sx_leave() has something to do. */
bool sx_enter(struct sx_fixture *f);
void sx_leave(struct sx_fixture *f, bool entered);

/* Memory -------------------------------------------------------------------------------- */

/*
 * A file whose pages come from a fault handler that can be made to wait: a fault on page
 * @closed, if that is one, completes @arrived and waits for @open. At most SX_FILE_PAGES long.
 */
#define SX_FILE_PAGES 64

struct sx_file {
	struct list_head entry;
	struct file *file;
	unsigned long offset; /* of its first page in the mapping that all files share */
	struct page *pages[SX_FILE_PAGES];
	/* Of the VMAs that it will be mapped in, VM_*: VM_PFNMAP and VM_IO have no pages. */
	unsigned long vm_flags;
	long closed;
	struct completion arrived;
	struct completion open;
};

struct sx_file *sx_file_create(struct kunit *test, unsigned long vm_flags);
/* Takes the CPU's entries for some pages away, as truncation does. */
void sx_file_zap(struct sx_file *sf, unsigned long first_page, unsigned long pages);

/*
 * Maps memory at an address of the area, in place of what is there: anonymous, or @sf from its
 * start on. @prot and @flags are those of mmap().
 */
void sx_map(struct kunit *test, unsigned long addr, unsigned long bytes);
void sx_map_file(struct kunit *test, unsigned long addr, unsigned long bytes,
		 unsigned long prot, unsigned long flags, struct sx_file *sf);
/* Any thread of the kernel's; 0 or an errno. */
int sx_mmap(struct sx_fixture *f, unsigned long addr, unsigned long bytes, unsigned long prot,
	    unsigned long flags, struct sx_file *sf);
int sx_munmap(struct sx_fixture *f, unsigned long addr, unsigned long bytes);
/* The CPU reads or writes a word; 0 or -EFAULT. */
int sx_cpu_read(struct sx_fixture *f, unsigned long addr, u32 *value);
int sx_cpu_write(struct sx_fixture *f, unsigned long addr, u32 value);
/* The CPU writes the first word of each page, @value and what follows it. */
void sx_cpu_fill(struct kunit *test, unsigned long addr, unsigned long bytes, u32 value);
/* Another device takes a page for itself, until somebody else touches it. 0 or -errno. */
int sx_take_exclusive(struct sx_fixture *f, unsigned long addr);
/* Whether the CPU has a page there, and may use it without a fault. */
bool sx_cpu_has(struct sx_fixture *f, unsigned long addr);
/* Where the CPU's page at an address is. Reads it, if it is not there. */
phys_addr_t sx_phys(struct kunit *test, unsigned long addr);

/* The driver ------------------------------------------------------------------------------ */

struct sx_config {
	unsigned int features;	/* as in &struct drm_gpusvm_ops */
	bool concurrent;	/* drm_svm_range_acquire() in place of one lock for all faults */
	bool keeps_rest;	/* has range_pages, and trims */
	bool two_passes;
	unsigned int devices;	/* 0: one */
	unsigned long window;	/* bytes; 0: SZ_2M */
	const unsigned long *chunks; /* NULL: SX_RANGE and PAGE_SIZE */
	int num_chunks;
};

enum sx_pass {
	SX_ONLY,
	SX_START,
	SX_FINISH,
};

struct sx_mirror {
	struct drm_gpusvm base;
	struct drm_gpusvm_ops ops;
	struct sx_config config;
	struct sx_fixture *fixture;
	struct list_head entry;
	struct mutex lock; /* "the driver's VM lock", unless concurrent */
	/* Page tables: the address and SX_ENTRY_* of each page of the area. */
	u64 *entries[SX_DEVICES];
	spinlock_t garbage_lock;
	struct list_head garbage;
	struct drm_gpusvm_ctx ctx; /* of every fault */
	atomic_t ranges; /* that exist */
	atomic_t binds;	 /* how often one was bound */
	atomic_t splits; /* and became two */
	/* Between the collection of a range's pages and its binding; under its lock. */
	void (*on_collected)(struct sx_mirror *m, struct drm_gpusvm_range *range);
	/* In each pass of an invalidation, under the window's lock for writing. */
	void (*on_pass)(struct sx_mirror *m, enum sx_pass pass);
	void *hook_arg;
};

#define SX_ENTRY_PRESENT BIT(0)
#define SX_ENTRY_WRITABLE BIT(1)

struct sx_range {
	struct drm_gpusvm_range base;
	struct drm_gpusvm_pages pages[SX_DEVICES];
	struct list_head garbage_entry;
};

static inline struct sx_mirror *to_sx_mirror(struct drm_gpusvm *gpusvm)
{
	return container_of(gpusvm, struct sx_mirror, base);
}

static inline struct sx_range *to_sx_range(struct drm_gpusvm_range *range)
{
	return container_of(range, struct sx_range, base);
}

/* Ends the case if there is no memory. The fixture destroys what the case does not. */
struct sx_mirror *sx_mirror_create(struct kunit *test, const struct sx_config *config);
void sx_mirror_destroy(struct kunit *test, struct sx_mirror *m);

/* Serves a GPU's fault: 0, or what the library says. */
int sx_fault(struct sx_mirror *m, unsigned long addr, enum drm_svm_access access);
/* What the entry of a device for an address is; 0 if there is none. */
u64 sx_entry(struct sx_mirror *m, unsigned int device, unsigned long addr);
/* Where it points to. */
phys_addr_t sx_entry_phys(struct sx_mirror *m, unsigned int device, unsigned long addr);

/*
 * The range at an address as the driver's thread holds it: locked in the concurrent mode, else
 * under the driver's lock. ERR_PTR() as the library says.
 */
struct drm_gpusvm_range *sx_get_range(struct sx_mirror *m, unsigned long addr,
				      enum drm_svm_access access);
void sx_put_range(struct sx_mirror *m, struct drm_gpusvm_range *range);
/* Collects the pages of a range for all devices, and binds it. With it held. */
int sx_collect(struct sx_mirror *m, struct drm_gpusvm_range *range, enum drm_svm_access access);
int sx_bind(struct sx_mirror *m, struct drm_gpusvm_range *range);
/* Zaps, frees and takes out. With it held. */
void sx_remove(struct sx_mirror *m, struct drm_gpusvm_range *range);
/* Ends what invalidations have left to process context. */
void sx_bury(struct sx_mirror *m);

/* The notifier lock of the range's window, for reading. */
void sx_lock_window(struct sx_mirror *m, struct drm_gpusvm_range *range);
void sx_unlock_window(struct sx_mirror *m, struct drm_gpusvm_range *range);
/* Whether the range's pages are mapped for all devices. With it held. */
bool sx_is_valid(struct sx_mirror *m, struct drm_gpusvm_range *range);

/*
 * Counts what is wrong: entries outside of ranges or of ranges whose pages are not mapped,
 * entries that point elsewhere, and windows and ranges out of order. At any time, from any thread.
 */
unsigned int sx_count_errors(struct sx_mirror *m);
/* It is none, and all entries in a span that there are point to the page that the CPU has. */
void sx_check(struct kunit *test, struct sx_mirror *m);
void sx_expect_bound(struct kunit *test, struct sx_mirror *m, unsigned long addr,
		     unsigned long bytes);
void sx_expect_unbound(struct kunit *test, struct sx_mirror *m, unsigned long addr,
		       unsigned long bytes);

/* Threads --------------------------------------------------------------------------------- */

/* A fault that another thread serves. */
struct sx_fault_thread {
	struct sx_mirror *m;
	unsigned long addr;
	enum drm_svm_access access;
	int ret;
	struct completion done;
	struct task_struct *task;
};

void sx_fault_begin(struct kunit *test, struct sx_fault_thread *t, struct sx_mirror *m,
		    unsigned long addr, enum drm_svm_access access);
/* Its result; waits for its end. */
int sx_fault_end(struct sx_fault_thread *t);

/* How long something may take that has to happen. */
#define SX_PATIENCE (30 * HZ)

#endif /* DSVM_KUNIT_GPUSVM_FIXTURE_H */
