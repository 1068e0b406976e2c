/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * The stub device: a GPU in software that shares the address space of the
 * processes that use it. It is meant to be read, and copied for hardware:
 *
 *	stub_drv.c	the driver: making devices, opening them, taking them away
 *	stub_debugfs.c	what a person may look at, and pulling the plug
 *	stub_ioctl.c	the ioctls; each checks its arguments in full and then
 *			calls one function of the files below
 *	stub_ioctl_bind.c	those for buffer objects and the bind window
 *	stub_vm.c	a VM: a process's address space as the GPU sees it
 *	stub_range.c	its ranges: invalidations and what they leave behind
 *	stub_bo.c	buffer objects
 *	stub_bind.c	VM_BIND: puts memory where programs reach it
 *	stub_bind_job.c	the part of it that may come later
 *	stub_userptr.c	puts memory of the process there
 *	stub_userptr_fault.c	serves a fault in that, or does without
 *	stub_fault.c	serves a GPU page fault
 *	stub_verdict.c	what is said of one that could not be served
 *	stub_hold.c	stops one on its way, for tests
 *	stub_engine.c	runs programs and raises GPU page faults
 *	stub_pt.c	the GPU's page table
 *	stub_vram.c	the device's memory and who has what of it
 *	stub_devmem.c	an allocation of it that memory of a process lives in
 *	stub_pagemap.c	the device's memory as a provider of pages
 *	stub_copy.c	moves data between RAM and VRAM, in order, with fences
 *	stub_stats.c	what it has moved, by process
 *	stub_counters.c	what has happened, in numbers
 *	stub_migrate.c	moves a span on request, and looks where pages are
 *
 * Replace stub_pt.c, stub_engine.c and stub_copy.c by hardware, and the
 * allocator in stub_vram.c by your own; the rest stays.
 *
 * What needs more than mainline's API is in files that tests/plain has others
 * for; the rest is shared with the driver there, which knows nothing else.
 *
 * Locks, outermost first:
 *
 *	drm_pagemap_cache_lock_lookup()	making the provider of VRAM
 *	stub_vm.lock		mappings of a VM's bind window
 *	  drm_svm_gem_gpuva_lock(), taken by the library
 *	  stub_vm.bind.lock
 *	  drm_svm_hmmptr_set.revalidate, drm_svm_hmmptr.lock	taken by the library
 *	drm_gpusvm_range.lock	a range; nobody has two of them
 *	  mmap_lock		taken by the library
 *	    drm_svm_window_lock()
 *	      stub_vm.garbage.lock
 *	    stub_vm.bind.pt_lock	entries of the bind window
 *	      drm_svm_hmmptr_lock()
 *		stub_pt.tlb_lock	accesses of the GPU in flight; also under the window's
 *	    stub_stats_table.lock, stub_copy.lock
 *	    page-table locks	of the CPU
 *	      stub_vram.lock	interrupts off
 *	  stub_vm.hold.lock
 *	stub_device.vms.lock
 *
 * Nothing is allocated under a window's lock, stub_vm.bind.pt_lock or what is below
 * them, nor on the way from a fence that somebody may wait for to its signal: by the copy
 * engine and by VM_BIND, whose jobs take stub_vm.bind.lock, stub_vm.bind.pt_lock and what
 * is below that, only.
 *
 * A device may be taken away at any time. What would touch it then is between
 * drm_dev_enter() and drm_dev_exit(), where nobody waits for a user or for a
 * program: drm_dev_unplug() waits for that. The struct stays for as long as
 * there is an open file, a VM, or a page in use.
 */
#ifndef STUB_DRV_H
#define STUB_DRV_H

#include <linux/dma-direct.h>
#include <linux/mm.h>
#include <linux/semaphore.h>
#include <linux/sizes.h>
#include <linux/workqueue.h>
#include <linux/xarray.h>

#include <drm/drm_device.h>
#include <drm/drm_file.h>

#include "stub_copy.h"
#include "stub_vram.h"

struct drm_minor;

/*
 * The GPU translates 48 bits. The lower half is the mirror, as far as a process
 * can have memory. The upper half is the bind window, of which the driver keeps
 * the end to itself.
 */
#define STUB_VA_START		((u64)PAGE_SIZE)
#define STUB_VA_END		BIT_ULL(47)
#define STUB_BIND_START		STUB_VA_END
#define STUB_BIND_END		(BIT_ULL(48) - STUB_BIND_RESERVED)
#define STUB_BIND_RESERVED	SZ_2M

/* Programs that a file may have on the GPU at once; more wait. */
#define STUB_MAX_PROGRAMS 16

/**
 * struct stub_queues - Where work of the driver runs
 * @gpu: programs, each in a worker of its own, where its faults are served
 * @bind: changes page tables and signals fences, so it needs no memory to make
 *	progress
 * @release: frees what changes of page tables leave behind
 * @garbage: collects garbage, also while programs keep the GPU busy
 * @destroy: takes down what cannot go where its last user is
 *
 * Of all devices, and for as long as the module is there: the last user of a
 * device may be work, which cannot wait for the end of its own queue.
 */
struct stub_queues {
	struct workqueue_struct *gpu;
	struct workqueue_struct *bind;
	struct workqueue_struct *release;
	struct workqueue_struct *garbage;
	struct workqueue_struct *destroy;
};

extern struct stub_queues stub_queues;

/**
 * struct stub_device - A device
 * @drm: the DRM device
 * @index: its number; immutable
 * @surprise: takes it away after its hardware has gone
 * @vms: all VMs
 * @vms.lock: guards @vms.list and @vms.inject
 * @vms.list: &struct stub_vm
 * @vms.inject: into each of so many mappings of userptrs an invalidation is injected, for
 *	tests; 0: into none
 * @copy: the copy engine
 * @vram: the device's memory
 */
struct stub_device {
	struct drm_device drm;
	u32 index;
	struct work_struct surprise;
	struct {
		spinlock_t lock;
		struct list_head list;
		u32 inject;
	} vms;
	struct stub_copy copy;
	struct stub_vram vram;
};

/**
 * struct stub_file - An open file of the device
 * @vms: its VMs by id; an entry holds a reference
 * @programs: free places for programs, of STUB_MAX_PROGRAMS
 */
struct stub_file {
	struct xarray vms;
	struct semaphore programs;
};

static inline struct stub_device *to_stub_device(struct drm_device *drm)
{
	return container_of(drm, struct stub_device, drm);
}

/*
 * The page of RAM behind a DMA address. A GPU puts the address on its bus;
 * this one has to find its way back to the page. It can, because a platform
 * device made by hand has no IOMMU and its DMA mask covers all of memory.
 */
static inline struct page *stub_dma_to_page(struct device *dev, dma_addr_t addr)
{
	return pfn_to_page(PHYS_PFN(dma_to_phys(dev, addr)));
}

/* stub_drv.c */
bool stub_has_peers(void);
bool stub_is_peer(struct device *dev);
void stub_surprise(struct stub_device *stub);

/* stub_debugfs.c */
void stub_debugfs_init(struct drm_minor *minor);

/* stub_ioctl.c */
int stub_ioctl_info(struct drm_device *drm, void *data, struct drm_file *file);
int stub_ioctl_vm_create(struct drm_device *drm, void *data, struct drm_file *file);
int stub_ioctl_vm_destroy(struct drm_device *drm, void *data, struct drm_file *file);
int stub_ioctl_exec(struct drm_device *drm, void *data, struct drm_file *file);
int stub_ioctl_migrate(struct drm_device *drm, void *data, struct drm_file *file);
int stub_ioctl_residency(struct drm_device *drm, void *data, struct drm_file *file);
int stub_ioctl_vm_stats(struct drm_device *drm, void *data, struct drm_file *file);
int stub_ioctl_bo_create(struct drm_device *drm, void *data, struct drm_file *file);
int stub_ioctl_bo_mmap_offset(struct drm_device *drm, void *data, struct drm_file *file);
int stub_ioctl_vm_bind(struct drm_device *drm, void *data, struct drm_file *file);
int stub_ioctl_hold(struct drm_device *drm, void *data, struct drm_file *file);
int stub_ioctl_device_stats(struct drm_device *drm, void *data, struct drm_file *file);

#endif /* STUB_DRV_H */
