/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * A driver over mainline's API and nothing else, to compare what is below it. It is
 * compiled against our headers and against the kernel's, and both modules are loaded at
 * once. A third one is over ours with PLAIN_EXTENDED, and does what only ours can do in
 * the places that say so: plain_locks.h, the way to VRAM, the replacing of mappings.
 *
 * Its GPU is a page table over the part of an address space that a VM shows; its VRAM is
 * device-private pages with vmalloc'd memory behind them.
 *
 * Locks, outermost first: &plain_vm.lock or a range's, mmap_lock, the notifier lock, a
 * window's, spinlocks.
 */
#ifndef BENCH_GUEST_PLAIN_H
#define BENCH_GUEST_PLAIN_H

#include <linux/kref.h>
#include <linux/ktime.h>
#include <linux/list.h>
#include <linux/memremap.h>
#include <linux/mutex.h>
#include <linux/spinlock.h>

#include <drm/drm_gpusvm.h>
#include <drm/drm_pagemap.h>

#include "plain_uapi.h"

/**
 * struct plain_vram - The device's memory
 * @dpagemap: it, as a provider of pages
 * @pagemap: its struct pages
 * @region: physical addresses that nothing answers at
 * @memory: what is in it
 * @destroyed: the library has let go of @dpagemap
 * @npages: how many pages there are
 * @lock: guards what follows
 * @limit: pages from the first one on that may be used
 * @used: a bit for each page that is in use
 * @allocs: of &struct plain_alloc
 * @copy_ns: time in the copy routine
 * @copy_pages: how many pages it has copied or cleared
 * @copy_calls: how often it was called
 */
struct plain_vram {
	struct drm_pagemap dpagemap;
	struct dev_pagemap pagemap;
	struct resource *region;
	void *memory;
	struct completion destroyed;
	unsigned long npages;

	spinlock_t lock;
	unsigned long limit;
	unsigned long *used;
	struct list_head allocs;

	atomic64_t copy_ns;
	atomic64_t copy_pages;
	atomic64_t copy_calls;
};

/**
 * struct plain_device - The device; there is one
 * @drm: the libraries want one. It is never registered
 * @vram: its memory
 */
struct plain_device {
	struct drm_device *drm;
	struct plain_vram vram;
};

extern struct plain_device plain;

/* An entry of the page table: an address of RAM or in @region, and flags below it. */
#define PLAIN_PTE_PRESENT	BIT(0)
#define PLAIN_PTE_WRITABLE	BIT(1)
#define PLAIN_PTE_VRAM		BIT(2)

/**
 * struct plain_vm - An address space as the GPU sees it
 * @svm: the library's part
 * @lock: all work on ranges happens under it, without PLAIN_EXTENDED
 * @blocks: the page table, an entry for each block of 2 MiB from @start on, and ...
 * @pages: ... for each page; both are written under the notifier lock
 * @start: first byte that the GPU may see
 * @npages: pages from there on
 * @chunks: sizes of ranges, for the library
 * @garbage_lock: guards @garbage
 * @garbage: ranges whose memory has been unmapped
 * @pinned: a page that stays where it is, ...
 * @num_pinned: ... and how many there are
 */
struct plain_vm {
	struct drm_gpusvm svm;
	struct mutex lock;
	u64 *blocks;
	u64 *pages;
	unsigned long start;
	unsigned long npages;
	unsigned long chunks[3];
	spinlock_t garbage_lock;
	struct list_head garbage;
	struct page *pinned[64];
	unsigned int num_pinned;
};

static inline unsigned long plain_vm_end(const struct plain_vm *vm)
{
	return vm->start + (vm->npages << PAGE_SHIFT);
}

struct plain_va_space;

/**
 * struct plain_file - An open file
 * @lock: one ioctl that makes or destroys at a time
 * @vm: its VM, or NULL
 * @space: its space of the GPU VA manager, or NULL
 */
struct plain_file {
	struct mutex lock;
	struct plain_vm *vm;
	struct plain_va_space *space;
};

/* Around every loop that is measured. */
static inline u64 plain_begin(void)
{
	u64 began = ktime_get_ns();

	plain_mark_begin();
	return began;
}

static inline u64 plain_end(u64 began)
{
	plain_mark_end();
	return ktime_get_ns() - began;
}

/* plain_vram.c */
int plain_vram_init(struct plain_vram *vram, struct drm_device *drm, unsigned long size);
void plain_vram_fini(struct plain_vram *vram);
/* Moves memory there. What has been there for the longest makes room. */
int plain_vram_move(struct plain_vram *vram, struct mm_struct *mm, unsigned long start,
		    unsigned long end);
/* All of it back to RAM; returns the first error, and goes on. */
int plain_vram_evict(struct plain_vram *vram, u64 *done);
/* From now on it has so many pages; 0: all of them. */
int plain_vram_limit(struct plain_vram *vram, u64 npages);
/* What is at a device address. */
void *plain_vram_at(struct plain_vram *vram, u64 addr);

/* plain_table.c: all of it under plain_lock_table() or plain_lock_entries(). */
u64 plain_entry(struct plain_vm *vm, unsigned long addr);
void plain_zap(struct plain_vm *vm, struct drm_gpusvm_range *range);
/* @run: what is behind the range, from its start on. */
void plain_map(struct plain_vm *vm, struct drm_gpusvm_range *range,
	       const struct drm_pagemap_addr *run);

/* plain_svm.c */
struct plain_vm *plain_vm_create(const struct plain_vm_create *create);
void plain_vm_destroy(struct plain_vm *vm);
int plain_fault(struct plain_vm *vm, struct plain_work *work);
int plain_prefetch(struct plain_vm *vm, struct plain_work *work);
int plain_look(struct plain_vm *vm, struct plain_look *look);
int plain_pin(struct plain_vm *vm, unsigned long addr);
/* Serves a fault of the GPU's; @end gets the end of the range. */
int plain_serve(struct plain_vm *vm, unsigned long addr, u32 flags, unsigned long *end);
/* The page that the GPU has at an address, or NULL: that is a fault. Under plain_lock_table(). */
void *plain_see(struct plain_vm *vm, unsigned long addr, bool write);
bool plain_is_inside(struct plain_vm *vm, u64 start, u64 bytes);

/* plain_gpu.c */
int plain_run(struct plain_vm *vm, struct plain_run *run);

/* plain_va.c */
struct plain_va_space *plain_va_create(const struct plain_va *create);
void plain_va_destroy(struct plain_va_space *space);
int plain_va_work(struct plain_va_space *space, unsigned int cmd, struct plain_work *work);

#endif /* BENCH_GUEST_PLAIN_H */
