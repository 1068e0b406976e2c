/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * The stub device: a GPU in software that shares the address space of the
 * processes that use it. It is meant to be read, and copied for hardware:
 *
 *	stub_drv.c	the DRM device: making it, opening it, taking it away
 *	stub_ioctl.c	the ioctls; each checks its arguments in full and then
 *			calls one function of the files below
 *	stub_vm.c	a VM: a process's address space as the GPU sees it
 *	stub_range.c	its ranges: invalidations and what they leave behind
 *	stub_bo.c	buffer objects
 *	stub_bind.c	VM_BIND: puts buffer objects where programs reach them
 *	stub_bind_job.c	the part of it that may come later
 *	stub_fault.c	serves a GPU page fault
 *	stub_hold.c	stops one on its way, for tests
 *	stub_engine.c	runs programs and raises GPU page faults
 *	stub_pt.c	the GPU's page table
 *	stub_vram.c	the device's memory as a provider of pages
 *	stub_copy.c	moves data between RAM and VRAM, in order, with fences
 *	stub_stats.c	what it has moved, by process
 *	stub_migrate.c	moves a span on request, and looks where pages are
 *
 * Replace stub_pt.c, stub_engine.c and stub_copy.c by hardware, and the
 * allocator in stub_vram.c by your own; the rest stays.
 *
 * Locks, outermost first:
 *
 *	stub_vram.get_lock	making the provider of VRAM
 *	stub_vm.lock		mappings of a VM's bind window
 *	  drm_svm_gem_gpuva_lock(), taken by the library
 *	  stub_vm.bind.lock
 *	drm_gpusvm_range.lock	a range; nobody has two of them
 *	  mmap_lock		taken by the library
 *	    drm_svm_window_lock()
 *	      stub_pt.tlb_lock	accesses of the GPU in flight
 *	      stub_vm.garbage.lock
 *	    stub_vram.lock, stub_stats_table.lock, stub_copy.lock
 *	  stub_vm.hold.lock
 *	stub_device.vms.lock
 *
 * Nothing is allocated under a window's lock or what is below it, nor on the
 * way from a fence that somebody may wait for to its signal: by the copy engine
 * and by VM_BIND, whose jobs take stub_pt.tlb_lock and stub_vm.bind.lock only.
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
 * struct stub_device - The device
 * @drm: the DRM device
 * @gpu_wq: runs programs, each in a worker of its own, where its faults are
 *	served; immutable
 * @bind_wq: changes page tables and signals fences, so it needs no memory to
 *	make progress; immutable
 * @release_wq: frees what changes of page tables leave behind; immutable
 * @garbage_wq: collects garbage, also while programs keep the GPU busy; immutable
 * @vms: all VMs
 * @vms.lock: guards @vms.list
 * @vms.list: &struct stub_vm
 * @copy: the copy engine
 * @vram: the device's memory
 */
struct stub_device {
	struct drm_device drm;
	struct workqueue_struct *gpu_wq;
	struct workqueue_struct *bind_wq;
	struct workqueue_struct *release_wq;
	struct workqueue_struct *garbage_wq;
	struct {
		spinlock_t lock;
		struct list_head list;
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

#endif /* STUB_DRV_H */
