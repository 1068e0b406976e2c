// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Serves GPU page faults: makes the range, moves it to VRAM if that is wanted,
 * collects its pages and writes the page table. One attempt; whoever raised
 * the fault does it again for -EAGAIN, and knows when to give up.
 */
#include <linux/align.h>
#include <linux/dma-mapping.h>
#include <linux/sched/mm.h>

#include <drm/drm_gpusvm.h>
#include <drm/drm_pagemap.h>

#include "stub_drv.h"
#include "stub_vm.h"

/*
 * Where VRAM is in use, a range of up to this size is made only over pages
 * that are present: memory that nobody has touched yet is worth moving in
 * large pieces, and not worth making in small ones.
 */
#define STUB_CHECK_PAGES SZ_64K

static void stub_fault_write_ptes(struct stub_vm *vm, struct stub_range *range)
{
	u64 end = drm_gpusvm_range_end(&range->base);
	u64 va = drm_gpusvm_range_start(&range->base);
	const struct drm_pagemap_addr *addr = range->pages.dma_addr;

	for (; va < end; va += NR_PAGES(addr->order) * PAGE_SIZE, addr++) {
		u64 flags = 0;

		if (addr->proto == DRM_INTERCONNECT_DRIVER)
			flags |= STUB_PTE_VRAM;
		if (addr->dir == DMA_BIDIRECTIONAL)
			flags |= STUB_PTE_WRITE;
		stub_pt_map(&vm->pt, va, addr->addr, NR_PAGES(addr->order), flags);
	}
}

/* As of now: an invalidation, whose lock is not held here, may change them at any time. */
static struct drm_gpusvm_range_flags stub_fault_flags(const struct stub_range *range)
{
	return (struct drm_gpusvm_range_flags){
		.__flags = READ_ONCE(range->base.flags.__flags),
	};
}

/* Everything about a fault that comes after there is a range. */
static int stub_fault_map(struct stub_vm *vm, struct stub_range *range, bool migrate,
			  const struct drm_gpusvm_ctx *ctx)
{
	struct drm_gpusvm *gpusvm = &vm->gpusvm;
	unsigned long start = drm_gpusvm_range_start(&range->base);
	unsigned long end = drm_gpusvm_range_end(&range->base);
	int err;

	/* Where it cannot move, or only some of it: the GPU can use RAM as well. */
	if (migrate && stub_fault_flags(range).migrate_devmem)
		stub_migrate_piece(vm, start, end);

	/*
	 * To become writable, pages that are mapped for reading are unmapped
	 * from the device and mapped again; the GPU must not use them meanwhile.
	 */
	if (!ctx->read_only)
		stub_vm_zap_range(vm, range);

	err = drm_gpusvm_get_pages(gpusvm, &range->pages, gpusvm->mm,
				   &range->base.notifier->notifier, start, end, ctx);
	if (err)
		return err;

	err = stub_pt_prepare(&vm->pt, start, end);
	if (err)
		return err;

	drm_gpusvm_notifier_lock(gpusvm);
	if (drm_gpusvm_pages_valid(gpusvm, &range->pages))
		stub_fault_write_ptes(vm, range);
	else
		err = -EAGAIN;
	drm_gpusvm_notifier_unlock(gpusvm);

	return err;
}

/* What to make of a failure of stub_fault_map(), with the range at hand. */
static int stub_fault_failed(struct stub_vm *vm, struct stub_range *range, int err)
{
	switch (err) {
	case -EOPNOTSUPP:
		/* Memory that DMA does not reach, or only through a copy of it. */
		return -EFAULT;
	case -EBUSY:
		return -EAGAIN;
	case -EFAULT:
	case -EPERM:
		/* Unmapped under our feet: the next attempt makes a new range. */
		if (stub_fault_flags(range).unmapped)
			return -EAGAIN;
		return err;
	default:
		return err;
	}
}

/* The largest size of a range that is smaller than @size. */
static unsigned long stub_fault_smaller(const struct drm_gpusvm *gpusvm, unsigned long size)
{
	int i;

	for (i = 0; i < gpusvm->num_chunks; i++)
		if (gpusvm->chunk_sizes[i] < size)
			return gpusvm->chunk_sizes[i];

	return 0;
}

static int stub_fault_locked(struct stub_vm *vm, u64 addr, bool write, bool migrate)
{
	const struct drm_gpusvm_ctx ctx = {
		.device_private_page_owner = vm->stub,
		.check_pages_threshold = vm->migrate_on_fault ? STUB_CHECK_PAGES : 0,
		.read_only = !write,
		.devmem_possible = vm->migrate_on_fault,
		.allow_mixed = true,
	};
	unsigned long start = STUB_VA_START, end = STUB_VA_END, size;
	struct drm_gpusvm_range *base;
	struct stub_range *range;
	int err;

	stub_vm_collect_garbage(vm);

	/* Somebody else's fault has brought the page already. */
	if (stub_pt_allows(stub_pt_entry(&vm->pt, addr), write))
		return 0;

	for (;;) {
		base = drm_gpusvm_range_find_or_insert(&vm->gpusvm, addr, start, end, &ctx);
		if (IS_ERR(base))
			return PTR_ERR(base);
		range = to_stub_range(base);

		err = stub_fault_map(vm, range, migrate && vm->migrate_on_fault, &ctx);
		if (err)
			err = stub_fault_failed(vm, range, err);
		if (err != -EFAULT && err != -EPERM)
			return err;

		/*
		 * Something in the range does not allow what the page at @addr
		 * may allow: its protection was changed in part, or it lies
		 * beyond the end of its file. Closer around the page it is.
		 */
		size = stub_fault_smaller(&vm->gpusvm, drm_gpusvm_range_size(base));
		stub_vm_remove_range(vm, range);
		if (!size)
			return err;
		start = ALIGN_DOWN(addr, size);
		end = start + size;
	}
}

/* Whether the CPU may read at @addr: the library calls PROT_NONE read-only, too. */
static bool stub_fault_readable(struct stub_vm *vm, unsigned long addr)
{
	struct mm_struct *mm = vm->gpusvm.mm;
	struct vm_area_struct *vma;
	bool readable;

	if (!mmget_not_zero(mm))
		return false;
	mmap_read_lock(mm);
	vma = find_vma_intersection(mm, addr, addr + 1);
	readable = vma && (vma->vm_flags & VM_READ);
	mmap_read_unlock(mm);
	mmput(mm);

	return readable;
}

/**
 * stub_fault_serve() - Serves a GPU page fault
 * @vm: the VM
 * @addr: address, within the GPU's address space
 * @write: whether the access is a write
 * @migrate: whether the memory may be moved to VRAM first; to be false when
 *	the same fault is tried again, so that it comes to an end
 *
 * Context: may sleep; no locks. Takes @vm->lock.
 * Return: 0: the access can be tried again; -EAGAIN: the fault can; -EFAULT: no
 * memory there that the GPU can use; -EPERM: write to read-only memory;
 * -ENOMEM.
 */
int stub_fault_serve(struct stub_vm *vm, u64 addr, bool write, bool migrate)
{
	int err;

	mutex_lock(&vm->lock);
	err = stub_fault_locked(vm, addr, write, migrate);
	mutex_unlock(&vm->lock);

	switch (err) {
	case 0:
		atomic64_inc(&vm->gpu_faults);
		return 0;
	case -EAGAIN:
	case -ENOMEM:
		return err;
	case -EPERM:
		return stub_fault_readable(vm, addr) ? -EPERM : -EFAULT;
	case -EBUSY:
		return -EAGAIN;
	default:
		/* -ENOENT: no VMA; -EIO: nothing behind it. */
		return -EFAULT;
	}
}
