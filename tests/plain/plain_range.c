// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Ranges, invalidations and GPU page faults, as mainline's contract has them: one lock of the
 * driver's is around all that is done to ranges, one notifier lock keeps invalidations out, and
 * a range of which anything was unmapped is removed as a whole.
 */
#include <linux/align.h>
#include <linux/dma-mapping.h>
#include <linux/hmm.h>
#include <linux/mm.h>
#include <linux/mmu_notifier.h>
#include <linux/sched/mm.h>
#include <linux/slab.h>

#include <drm/drm_drv.h>

#include "stub_drv.h"
#include "stub_pagemap.h"
#include "stub_vm.h"

/* Where VRAM is in use, a range of up to this size is made only over pages that are present. */
#define PLAIN_CHECK_PAGES SZ_64K

/* Sizes of ranges: one page-table update and one invalidation each. */
static const unsigned long plain_range_sizes[] = { SZ_2M, SZ_64K, SZ_4K };

/**
 * struct plain_range - A span that the GPU maps as one
 * @base: the library's side
 * @pages: what is behind it
 * @read_only: they were last collected for reading; under &stub_vm.lock
 * @garbage_link: entry in &stub_vm.garbage, which holds a reference then
 */
struct plain_range {
	struct drm_gpusvm_range base;
	struct drm_gpusvm_pages pages;
	bool read_only;
	struct list_head garbage_link;
};

static struct stub_vm *to_stub_vm(struct drm_gpusvm *gpusvm)
{
	return container_of(gpusvm, struct stub_vm, gpusvm);
}

static struct plain_range *to_plain_range(struct drm_gpusvm_range *base)
{
	return container_of(base, struct plain_range, base);
}

/* As of now: an invalidation may change them at any time. */
static struct drm_gpusvm_range_flags plain_range_flags(const struct plain_range *range)
{
	return (struct drm_gpusvm_range_flags){
		.__flags = READ_ONCE(range->base.flags.__flags),
	};
}

static unsigned long plain_range_npages(struct plain_range *range)
{
	return drm_gpusvm_range_size(&range->base) >> PAGE_SHIFT;
}

static struct drm_gpusvm_range *plain_range_alloc(struct drm_gpusvm *gpusvm)
{
	struct plain_range *range = kzalloc(sizeof(*range), GFP_KERNEL_ACCOUNT);
	struct stub_vm *vm = to_stub_vm(gpusvm);

	if (!range)
		return NULL;

	drm_gpusvm_init_pages(&range->pages, &vm->stub->drm);
	INIT_LIST_HEAD(&range->garbage_link);
	atomic64_inc(&vm->ranges);
	atomic64_inc(&vm->ranges_made);

	return &range->base;
}

static void plain_range_free(struct drm_gpusvm_range *base)
{
	atomic64_dec(&to_stub_vm(base->gpusvm)->ranges);
	kfree(to_plain_range(base));
}

/* --- invalidations --------------------------------------------------------- */

static void plain_range_add_garbage(struct stub_vm *vm, struct plain_range *range)
{
	spin_lock(&vm->garbage.lock);
	if (list_empty(&range->garbage_link)) {
		drm_gpusvm_range_get(&range->base);
		list_add_tail(&range->garbage_link, &vm->garbage.ranges);
		vm->garbage.count++;
		queue_work(stub_queues.garbage, &vm->garbage.work);
	}
	spin_unlock(&vm->garbage.lock);
}

static unsigned long plain_range_zap_all(struct stub_vm *vm, struct drm_gpusvm_notifier *notifier,
					 const struct mmu_notifier_range *mmu_range)
{
	struct drm_gpusvm_range *base = NULL;
	unsigned long zapped = 0;
	bool met = false;

	drm_gpusvm_for_each_range(base, notifier, mmu_range->start, mmu_range->end) {
		met |= !base->flags.unmapped || base->flags.partial_unmap;
		zapped += stub_pt_zap(&vm->pt, drm_gpusvm_range_start(base),
				      drm_gpusvm_range_end(base));
	}
	if (met)
		stub_vm_count_event(vm, mmu_range->event);

	return zapped;
}

/* &drm_gpusvm_ops.invalidate: the notifier lock is held for writing. */
static void plain_range_invalidate(struct drm_gpusvm *gpusvm, struct drm_gpusvm_notifier *notifier,
				   const struct mmu_notifier_range *mmu_range)
{
	const struct drm_gpusvm_ctx ctx = { .in_notifier = true };
	struct stub_vm *vm = to_stub_vm(gpusvm);
	struct drm_gpusvm_range *base = NULL;
	struct plain_range *range;

	if (plain_range_zap_all(vm, notifier, mmu_range)) {
		atomic64_inc(&vm->invalidations);
		stub_pt_flush(&vm->pt);
	}

	drm_gpusvm_for_each_range(base, notifier, mmu_range->start, mmu_range->end) {
		range = to_plain_range(base);
		drm_gpusvm_unmap_pages(gpusvm, &range->pages, plain_range_npages(range), &ctx);
		if (mmu_range->event != MMU_NOTIFY_UNMAP)
			continue;
		drm_gpusvm_range_set_unmapped(base, &range->pages, 1, mmu_range);
		plain_range_add_garbage(vm, range);
	}
}

static const struct drm_gpusvm_ops plain_range_ops = {
	.range_alloc = plain_range_alloc,
	.range_free = plain_range_free,
	.invalidate = plain_range_invalidate,
};

/* --- the end of a range ---------------------------------------------------- */

/* Takes it from the GPU. Its pages stay mapped for the device. */
static void plain_range_zap(struct stub_vm *vm, struct plain_range *range)
{
	drm_gpusvm_notifier_lock(&vm->gpusvm);
	stub_pt_zap(&vm->pt, drm_gpusvm_range_start(&range->base),
		    drm_gpusvm_range_end(&range->base));
	stub_pt_flush(&vm->pt);
	drm_gpusvm_notifier_unlock(&vm->gpusvm);
}

/* One range less that is garbage; with it goes the reference of that. */
static void plain_range_put_garbage(struct stub_vm *vm, struct plain_range *range)
{
	bool last;

	/* Who waits for the last one counts those that there are still. */
	drm_gpusvm_range_put(&range->base);

	spin_lock(&vm->garbage.lock);
	last = !--vm->garbage.count;
	spin_unlock(&vm->garbage.lock);

	if (last)
		wake_up_all(&vm->wait);
}

/* Under the VM's lock, and with a reference if it is used after this. */
static void plain_range_remove(struct stub_vm *vm, struct plain_range *range)
{
	bool garbage;

	plain_range_zap(vm, range);
	drm_gpusvm_free_pages(&vm->gpusvm, &range->pages, plain_range_npages(range));

	/* The reference that the list may have is what keeps it. */
	drm_gpusvm_range_get(&range->base);
	drm_gpusvm_range_remove(&vm->gpusvm, &range->base);
	atomic64_inc(&vm->ranges_removed);

	/* No invalidation finds it from here on. */
	spin_lock(&vm->garbage.lock);
	garbage = !list_empty(&range->garbage_link);
	list_del_init(&range->garbage_link);
	spin_unlock(&vm->garbage.lock);

	if (garbage)
		plain_range_put_garbage(vm, range);
	drm_gpusvm_range_put(&range->base);
}

/* The first range that is garbage, or NULL. Under the VM's lock it stays that. */
static struct plain_range *plain_range_first_garbage(struct stub_vm *vm)
{
	struct plain_range *range;

	spin_lock(&vm->garbage.lock);
	range = list_first_entry_or_null(&vm->garbage.ranges, struct plain_range, garbage_link);
	spin_unlock(&vm->garbage.lock);

	return range;
}

static void plain_range_garbage_work(struct work_struct *work)
{
	struct stub_vm *vm = container_of(work, struct stub_vm, garbage.work);
	struct plain_range *range;

	mutex_lock(&vm->lock);
	while ((range = plain_range_first_garbage(vm))) {
		plain_range_remove(vm, range);
		cond_resched();
	}
	mutex_unlock(&vm->lock);
}

/**
 * stub_range_wait_garbage() - Waits until ranges that have lost memory are removed
 * @vm: the VM
 *
 * Not while a fault is held (stub_hold.c), which is what the worker waits for.
 *
 * Context: may sleep; no locks.
 * Return: 0, or -EINTR if the caller is killed.
 */
int stub_range_wait_garbage(struct stub_vm *vm)
{
	if (wait_event_killable(vm->wait, !READ_ONCE(vm->garbage.count) ||
				READ_ONCE(vm->hold.waiting)))
		return -EINTR;

	return 0;
}

/* --- faults ---------------------------------------------------------------- */

static void plain_range_write_ptes(struct stub_vm *vm, struct plain_range *range)
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

/* The last step: the pages are there, if nothing has happened to them since. */
static int plain_range_commit(struct stub_vm *vm, struct plain_range *range)
{
	int err = 0, idx;

	if (!drm_dev_enter(&vm->stub->drm, &idx))
		return -ENODEV;
	drm_gpusvm_notifier_lock(&vm->gpusvm);
	if (drm_gpusvm_pages_valid(&vm->gpusvm, &range->pages))
		plain_range_write_ptes(vm, range);
	else
		err = -EAGAIN;
	drm_gpusvm_notifier_unlock(&vm->gpusvm);
	drm_dev_exit(idx);

	return err;
}

/*
 * Whether the CPU may write to a page now. The library collects for reading or for writing, so
 * what a read fault should ask for has to be known before.
 */
static bool plain_range_is_writable(struct stub_vm *vm, struct plain_range *range, u64 addr)
{
	struct mmu_interval_notifier *notifier = &range->base.notifier->notifier;
	struct mm_struct *mm = vm->gpusvm.mm;
	unsigned long pfn = 0;
	struct hmm_range look = {
		.notifier = notifier,
		.notifier_seq = mmu_interval_read_begin(notifier),
		.start = ALIGN_DOWN(addr, PAGE_SIZE),
		.end = ALIGN_DOWN(addr, PAGE_SIZE) + PAGE_SIZE,
		.hmm_pfns = &pfn,
		.dev_private_owner = stub_vm_owner(vm),
	};
	int err;

	if (!mmget_not_zero(mm))
		return false;
	mmap_read_lock(mm);
	err = hmm_range_fault(&look);
	mmap_read_unlock(mm);
	mmput_async(mm);	/* the VM's lock is held */

	return !err && pfn & HMM_PFN_WRITE;
}

/* Its pages, for reading or for writing as @ctx says. */
static int plain_range_collect(struct stub_vm *vm, struct plain_range *range,
			       const struct drm_gpusvm_ctx *ctx)
{
	const struct drm_gpusvm_ctx unmap = {};
	int err;

	/* The library takes pages that are valid for the right ones. */
	if (range->read_only && !ctx->read_only) {
		plain_range_zap(vm, range);
		drm_gpusvm_unmap_pages(&vm->gpusvm, &range->pages, plain_range_npages(range),
				       &unmap);
	}

	atomic64_inc(&vm->collections);
	err = drm_gpusvm_get_pages(&vm->gpusvm, &range->pages, vm->gpusvm.mm,
				   &range->base.notifier->notifier,
				   drm_gpusvm_range_start(&range->base),
				   drm_gpusvm_range_end(&range->base), ctx);
	range->read_only = ctx->read_only;
	if (err != -EOPNOTSUPP)
		return err;

	/* A mixture that the library does not map: all of it has to be in RAM. */
	return drm_gpusvm_range_evict(&vm->gpusvm, &range->base) ? -EFAULT : -EAGAIN;
}

static int plain_range_map(struct stub_vm *vm, struct plain_range *range,
			   const struct stub_fault *fault, struct drm_gpusvm_ctx *ctx)
{
	unsigned long start = drm_gpusvm_range_start(&range->base);
	unsigned long end = drm_gpusvm_range_end(&range->base);
	int err;

	/* Somebody else's fault has brought the page already. */
	if (stub_pt_allows(stub_pt_entry(&vm->pt, fault->addr), fault->write))
		return 0;

	/* Where it cannot move the GPU can use RAM as well. */
	if (vm->migrate_on_fault && fault->migrate && plain_range_flags(range).migrate_devmem)
		plain_devmem_move(vm->dpagemap, vm->gpusvm.mm, start, end, vm->timeslice_ms);

	ctx->read_only = !fault->write && !plain_range_is_writable(vm, range, fault->addr);
	err = plain_range_collect(vm, range, ctx);
	if (err == -EPERM && !fault->write) {
		/* Not all of it may be written. */
		ctx->read_only = true;
		err = plain_range_collect(vm, range, ctx);
	}
	if (err)
		return err;

	err = stub_pt_prepare(&vm->pt, start, end);
	if (err)
		return err;

	stub_hold_wait(vm, fault);

	return plain_range_commit(vm, range);
}

/* The largest size of a range that is smaller than @size. */
static unsigned long plain_range_smaller(unsigned long size)
{
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(plain_range_sizes); i++)
		if (plain_range_sizes[i] < size)
			return plain_range_sizes[i];

	return 0;
}

/*
 * Serves a fault in the range at hand. -ESTALE: that was of no use, and there
 * has to be another one, in *@start to *@end.
 */
static int plain_range_fault(struct stub_vm *vm, struct plain_range *range,
			     const struct stub_fault *fault, struct drm_gpusvm_ctx *ctx,
			     unsigned long *start, unsigned long *end)
{
	unsigned long size;
	int err;

	if (plain_range_flags(range).unmapped) {
		plain_range_remove(vm, range);
		return -ESTALE;
	}

	err = plain_range_map(vm, range, fault, ctx);
	if (err != -EFAULT && err != -EPERM)
		return err;

	/* Unmapped under our feet. */
	if (plain_range_flags(range).unmapped)
		return -ESTALE;

	/* Something in the range does not allow what the page may allow: closer around it. */
	size = plain_range_smaller(drm_gpusvm_range_size(&range->base));
	plain_range_remove(vm, range);
	if (!size)
		return err;
	*start = ALIGN_DOWN(fault->addr, size);
	*end = *start + size;

	return -ESTALE;
}

static int plain_range_try(struct stub_vm *vm, const struct stub_fault *fault)
{
	struct drm_gpusvm_ctx ctx = {
		.device_private_page_owner = stub_vm_owner(vm),
		.check_pages_threshold = vm->migrate_on_fault ? PLAIN_CHECK_PAGES : 0,
		.devmem_possible = vm->migrate_on_fault,
		.allow_mixed = true,
	};
	unsigned long start = STUB_VA_START, end = STUB_VA_END;
	struct drm_gpusvm_range *base;
	unsigned int i;
	int err;

	/* One of each size may be of no use, and before it one that was unmapped. */
	for (i = 0; i < 2 * ARRAY_SIZE(plain_range_sizes); i++) {
		if (READ_ONCE(*fault->cancel))
			return -EINTR;

		ctx.read_only = !fault->write;
		base = drm_gpusvm_range_find_or_insert(&vm->gpusvm, fault->addr, start, end, &ctx);
		if (IS_ERR(base))
			return PTR_ERR(base);
		err = plain_range_fault(vm, to_plain_range(base), fault, &ctx, &start, &end);
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
 * Context: may sleep; no locks.
 * Return: 0: the access can be tried again; -EAGAIN: the fault can; -EFAULT: no
 * memory there that the GPU can use; -EPERM: write to read-only memory;
 * -ENOMEM; -EINTR: the access is not wanted any more; -ENODEV: the device has
 * gone.
 */
int stub_fault_serve(struct stub_vm *vm, const struct stub_fault *fault)
{
	int err;

	mutex_lock(&vm->lock);
	err = plain_range_try(vm, fault);
	mutex_unlock(&vm->lock);

	err = stub_verdict(vm, fault->addr, err);
	if (!err)
		atomic64_inc(&vm->gpu_faults);

	return err;
}

/* --- of a VM --------------------------------------------------------------- */

/**
 * stub_range_init() - Makes the mirror of a VM
 * @vm: the VM
 * @mm: the process
 *
 * Return: 0 or a negative errno.
 */
int stub_range_init(struct stub_vm *vm, struct mm_struct *mm)
{
	int err;

	spin_lock_init(&vm->garbage.lock);
	INIT_LIST_HEAD(&vm->garbage.ranges);
	INIT_WORK(&vm->garbage.work, plain_range_garbage_work);

	err = drm_gpusvm_init(&vm->gpusvm, KBUILD_MODNAME, mm, STUB_VA_START,
			      STUB_VA_END - STUB_VA_START, SZ_512M, &plain_range_ops,
			      plain_range_sizes, ARRAY_SIZE(plain_range_sizes));
	if (!err)
		drm_gpusvm_driver_set_lock(&vm->gpusvm, &vm->lock);

	return err;
}

/**
 * stub_range_remove_all() - Ends all ranges of a VM
 * @vm: the VM, of which no program runs
 *
 * Context: may sleep; no locks.
 */
void stub_range_remove_all(struct stub_vm *vm)
{
	struct drm_gpusvm_notifier *notifier, *next_notifier;
	struct drm_gpusvm_range *base, *next;

	mutex_lock(&vm->lock);
	drm_gpusvm_for_each_notifier_safe(notifier, next_notifier, &vm->gpusvm, STUB_VA_START,
					  STUB_VA_END)
		drm_gpusvm_for_each_range_safe(base, next, notifier, STUB_VA_START, STUB_VA_END)
			plain_range_remove(vm, to_plain_range(base));
	mutex_unlock(&vm->lock);
}

/**
 * stub_range_fini() - Ends the mirror of a VM
 * @vm: the VM, which nobody uses any more
 *
 * Context: may sleep.
 */
void stub_range_fini(struct stub_vm *vm)
{
	stub_range_remove_all(vm);

	/* Without ranges nothing queues it any more. */
	cancel_work_sync(&vm->garbage.work);
	WARN_ON(vm->garbage.count);

	mutex_lock(&vm->lock);
	drm_gpusvm_fini(&vm->gpusvm);
	mutex_unlock(&vm->lock);
	WARN_ON(atomic64_read(&vm->ranges));
}
