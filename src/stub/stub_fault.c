// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Serves GPU page faults: makes the range, moves it to VRAM if that is wanted,
 * collects its pages and writes the page table. One attempt; whoever raised
 * the fault does it again for -EAGAIN, and knows when to give up.
 *
 * Faults on different ranges are served side by side. Of several on the same
 * range one does all of this, and the others, who wait for the range's lock,
 * find that it is done.
 */
#include <linux/align.h>
#include <linux/dma-mapping.h>

#include <drm/drm_drv.h>
#include <drm/drm_gpusvm.h>
#include <drm/drm_pagemap.h>
#include <drm/drm_svm.h>

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

		if (addr->proto != DRM_INTERCONNECT_SYSTEM)
			flags |= STUB_PTE_VRAM;
		if (addr->proto == STUB_PROTO_PEER)
			flags |= STUB_PTE_PEER;
		if (addr->dir == DMA_BIDIRECTIONAL)
			flags |= STUB_PTE_WRITE;
		stub_pt_map(&vm->pt, va, addr->addr, NR_PAGES(addr->order), flags);
	}
}

/*
 * Whether drm_gpusvm_get_pages() puts something else in the place of what is
 * mapped, which the GPU must not use meanwhile.
 */
static bool stub_fault_replaces(const struct stub_range *range, bool write)
{
	const struct drm_gpusvm_pages_flags flags = {
		.__flags = READ_ONCE(range->pages.flags.__flags),
	};

	return write && flags.has_dma_mapping && !flags.writable;
}

/* The last step: the pages are there, if nothing has happened to them since. */
static int stub_fault_commit(struct stub_vm *vm, struct stub_range *range)
{
	struct drm_gpusvm_notifier *window = range->base.notifier;
	int err = 0, idx;

	if (!drm_dev_enter(&vm->stub->drm, &idx))
		return -ENODEV;
	drm_svm_window_lock(window);
	if (drm_gpusvm_pages_valid(&vm->gpusvm, &range->pages))
		stub_fault_write_ptes(vm, range);
	else
		err = -EAGAIN;
	drm_svm_window_unlock(window);
	drm_dev_exit(idx);

	return err;
}

/* Everything about a fault that comes after there is a range, whose lock is held. */
static int stub_fault_map(struct stub_vm *vm, struct stub_range *range,
			  const struct stub_fault *fault, const struct drm_gpusvm_ctx *ctx)
{
	struct drm_gpusvm_notifier *window = range->base.notifier;
	unsigned long start = drm_gpusvm_range_start(&range->base);
	unsigned long end = drm_gpusvm_range_end(&range->base);
	int err;

	/* Somebody else's fault has brought the page already. */
	if (stub_pt_allows(stub_pt_entry(&vm->pt, fault->addr), fault->write))
		return 0;

	/* Where it cannot move, or only some of it: the GPU can use RAM as well. */
	if (vm->migrate_on_fault && fault->migrate && stub_range_flags(range).migrate_devmem)
		stub_migrate_for_fault(vm, start, end);

	if (stub_fault_replaces(range, fault->write))
		stub_range_zap(range);

	err = drm_gpusvm_get_pages(&vm->gpusvm, &range->pages, vm->gpusvm.mm,
				   &window->notifier, start, end, ctx);
	if (err)
		return err;

	err = stub_pt_prepare(&vm->pt, start, end);
	if (err)
		return err;

	stub_hold_wait(vm, fault);

	return stub_fault_commit(vm, range);
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

/*
 * Serves a fault in the range at hand. -ESTALE: that was of no use, and there
 * has to be another one, in *@start to *@end.
 */
static int stub_fault_in_range(struct stub_vm *vm, struct stub_range *range,
			       const struct stub_fault *fault, const struct drm_gpusvm_ctx *ctx,
			       unsigned long *start, unsigned long *end)
{
	unsigned long size;
	int err;

	/* What is left of it may still have the page. */
	if (stub_range_flags(range).unmapped) {
		stub_range_put_right(range);
		return -ESTALE;
	}

	err = stub_fault_map(vm, range, fault, ctx);
	/* Memory that DMA does not reach, or only through a copy of it. */
	if (err == -EOPNOTSUPP)
		err = -EFAULT;
	if (err != -EFAULT && err != -EPERM)
		return err;

	/* Unmapped under our feet. */
	if (stub_range_flags(range).unmapped)
		return -ESTALE;

	/*
	 * Something in the range does not allow what the page may allow: its
	 * protection was changed in part, or it lies beyond the end of its file.
	 * Closer around the page it is.
	 */
	size = stub_fault_smaller(&vm->gpusvm, drm_gpusvm_range_size(&range->base));
	stub_range_remove(range);
	if (!size)
		return err;
	*start = ALIGN_DOWN(fault->addr, size);
	*end = *start + size;

	return -ESTALE;
}

static int stub_fault_try(struct stub_vm *vm, const struct stub_fault *fault)
{
	const struct drm_gpusvm_ctx ctx = {
		.device_private_page_owner = stub_vm_owner(vm),
		.check_pages_threshold = vm->migrate_on_fault ? STUB_CHECK_PAGES : 0,
		.devmem_possible = vm->migrate_on_fault,
		.allow_mixed = true,
		.access = fault->write ? DRM_SVM_ACCESS_WRITE : DRM_SVM_ACCESS_READ,
	};
	unsigned long start = STUB_VA_START, end = STUB_VA_END;
	struct drm_gpusvm_range *base;
	int i, err;

	/* One of each size may be of no use, and before it one that was unmapped. */
	for (i = 0; i < 2 * vm->gpusvm.num_chunks; i++) {
		if (READ_ONCE(*fault->cancel))
			return -EINTR;

		base = drm_svm_range_acquire(&vm->gpusvm, fault->addr, start, end, &ctx);
		if (IS_ERR(base))
			return PTR_ERR(base);
		err = stub_fault_in_range(vm, to_stub_range(base), fault, &ctx, &start, &end);
		drm_svm_range_release(base);
		if (err != -ESTALE)
			return err;
	}

	return -EAGAIN;
}

/**
 * stub_fault_serve() - Serves a GPU page fault
 * @vm: the VM
 * @fault: the fault
 *
 * Context: may sleep; no locks. Takes the lock of the range at the address.
 * Return: 0: the access can be tried again; -EAGAIN: the fault can; -EFAULT: no
 * memory there that the GPU can use; -EPERM: write to read-only memory;
 * -ENOMEM; -EINTR: the access is not wanted any more; -ENODEV: the device has
 * gone.
 */
int stub_fault_serve(struct stub_vm *vm, const struct stub_fault *fault)
{
	int err = stub_verdict(vm, fault->addr, stub_fault_try(vm, fault));

	if (!err)
		atomic64_inc(&vm->gpu_faults);

	return err;
}
