// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * The ranges of a VM: what invalidations do to them, and what becomes of those
 * that have lost memory.
 *
 * No lock is around all of a VM's faults. Whoever maps, zaps or removes a range
 * holds that range's lock, and works on no other range meanwhile. An
 * invalidation holds the lock of its window for writing instead, which keeps
 * page-table entries from being written in that window, and nothing else.
 *
 * An invalidation has two passes. The first zaps entries; the second waits until
 * the GPU has forgotten them, and lets go of the pages:
 *
 *	first pass	entries zapped, pages not valid		the GPU may still use them
 *	second pass	TLB flushed, pages unmapped		it does not
 *
 * In between there is no lock. Somebody who wants to let go of pages may come by,
 * finds no entries, and has to flush all the same.
 *
 * Where the CPU unmaps a part of a range, only that part goes; programs on the
 * rest run on. The range is garbage then, until it has been cut to what is left:
 * by the garbage worker, or by a fault in it that cannot wait for that.
 */
#include <linux/mmu_notifier.h>
#include <linux/slab.h>

#include <drm/drm_svm.h>
#include <uapi/drm/drm_svm_stub.h>

#include "stub_drv.h"
#include "stub_vm.h"

static struct drm_gpusvm_range *stub_range_alloc(struct drm_gpusvm *gpusvm)
{
	struct stub_vm *vm = to_stub_vm(gpusvm);
	struct stub_range *range = kzalloc(sizeof(*range), GFP_KERNEL_ACCOUNT);

	if (!range)
		return NULL;

	drm_gpusvm_init_pages(&range->pages, &vm->stub->drm);
	INIT_LIST_HEAD(&range->garbage_link);
	atomic64_inc(&vm->ranges);

	return &range->base;
}

static void stub_range_free(struct drm_gpusvm_range *base)
{
	atomic64_dec(&to_stub_vm(base->gpusvm)->ranges);
	kfree(to_stub_range(base));
}

static struct drm_gpusvm_pages *stub_range_pages(struct drm_gpusvm_range *base,
						 unsigned int *count)
{
	*count = 1;

	return &to_stub_range(base)->pages;
}

/* --- invalidations --------------------------------------------------------- */

static void stub_range_add_garbage(struct stub_vm *vm, struct stub_range *range)
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

/*
 * The first pass over a range: returns how many entries it had. All of it goes, also
 * where the event is smaller, because its pages are unmapped from the device all
 * at once; but for what the CPU unmaps, which can go alone.
 */
static unsigned long stub_range_begin_event(struct stub_vm *vm, struct drm_gpusvm_range *base,
					    const struct mmu_notifier_range *mmu_range)
{
	unsigned long start = drm_gpusvm_range_start(base);
	unsigned long end = drm_gpusvm_range_end(base);

	if (mmu_range->event == MMU_NOTIFY_UNMAP)
		drm_svm_range_set_gone(base, mmu_range, &start, &end);

	return stub_pt_zap(&vm->pt, start, end);
}

/* The second pass over a range, after the flush. */
static void stub_range_end_event(struct stub_vm *vm, struct drm_gpusvm_range *base,
				 const struct mmu_notifier_range *mmu_range)
{
	const struct drm_gpusvm_ctx ctx = { .in_notifier = true };
	struct stub_range *range = to_stub_range(base);

	if (mmu_range->event != MMU_NOTIFY_UNMAP) {
		drm_gpusvm_unmap_pages(&vm->gpusvm, &range->pages,
				       drm_gpusvm_range_size(base) >> PAGE_SHIFT, &ctx);
		return;
	}

	drm_svm_range_unmap_gone(base);
	/* A new one may have come between the passes. */
	if (base->flags.unmapped)
		stub_range_add_garbage(vm, range);
}

static bool stub_range_invalidate_start(struct drm_gpusvm *gpusvm,
					struct drm_gpusvm_notifier *notifier,
					const struct mmu_notifier_range *mmu_range)
{
	struct stub_vm *vm = to_stub_vm(gpusvm);
	struct drm_gpusvm_range *base = NULL;
	unsigned long zapped = 0;
	bool met = false;

	drm_gpusvm_for_each_range(base, notifier, mmu_range->start, mmu_range->end) {
		met |= !base->flags.unmapped || base->flags.partial_unmap;
		zapped += stub_range_begin_event(vm, base, mmu_range);
	}
	if (zapped)
		atomic64_inc(&vm->invalidations);
	if (met)
		stub_vm_count_event(vm, mmu_range->event);

	/* Hardware would be told to flush here. */
	return zapped;
}

static void stub_range_invalidate_finish(struct drm_gpusvm *gpusvm,
					 struct drm_gpusvm_notifier *notifier,
					 const struct mmu_notifier_range *mmu_range)
{
	struct stub_vm *vm = to_stub_vm(gpusvm);
	struct drm_gpusvm_range *base = NULL;
	bool mapped = false;

	drm_gpusvm_for_each_range(base, notifier, mmu_range->start, mmu_range->end)
		mapped |= to_stub_range(base)->pages.flags.has_dma_mapping;
	/* What is not mapped for the device it does not use. */
	if (mapped)
		stub_pt_flush(&vm->pt);

	base = NULL;
	drm_gpusvm_for_each_range(base, notifier, mmu_range->start, mmu_range->end)
		stub_range_end_event(vm, base, mmu_range);
}

static const struct drm_gpusvm_ops stub_range_gpusvm_ops = {
	.range_alloc = stub_range_alloc,
	.range_free = stub_range_free,
	.features = DRM_SVM_WINDOW_LOCKS,
	.range_pages = stub_range_pages,
	.invalidate_start = stub_range_invalidate_start,
	.invalidate_finish = stub_range_invalidate_finish,
};

/* --- a range --------------------------------------------------------------- */

/**
 * stub_range_zap() - Takes a range from the GPU
 * @range: the range
 *
 * Its pages stay mapped for the device, but it uses them no longer.
 *
 * Context: the range's lock; may sleep.
 */
void stub_range_zap(struct stub_range *range)
{
	struct drm_gpusvm_range *base = &range->base;
	struct stub_vm *vm = to_stub_vm(base->gpusvm);

	lockdep_assert_held(&base->lock);

	drm_svm_window_lock(base->notifier);
	stub_pt_zap(&vm->pt, drm_gpusvm_range_start(base), drm_gpusvm_range_end(base));
	/*
	 * Whatever was there: an invalidation may be between its passes. And
	 * under the lock: one that comes now waits for flushes that have begun.
	 */
	stub_pt_flush(&vm->pt);
	drm_svm_window_unlock(base->notifier);
}

/* One range less to be put right; with it goes the reference of that. */
static void stub_range_put_garbage(struct stub_vm *vm, struct stub_range *range)
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

/**
 * stub_range_remove() - Ends a range
 * @range: the range; not to be used any more, but to be unlocked and put
 *
 * Context: the range's lock, and a reference; may sleep.
 */
void stub_range_remove(struct stub_range *range)
{
	struct drm_gpusvm *gpusvm = range->base.gpusvm;
	struct stub_vm *vm = to_stub_vm(gpusvm);
	bool garbage;

	stub_range_zap(range);
	drm_gpusvm_free_pages(gpusvm, &range->pages,
			      drm_gpusvm_range_size(&range->base) >> PAGE_SHIFT);
	drm_gpusvm_range_remove(gpusvm, &range->base);

	/* No invalidation finds it from here on, so this is the end of it. */
	spin_lock(&vm->garbage.lock);
	garbage = !list_empty(&range->garbage_link);
	list_del_init(&range->garbage_link);
	spin_unlock(&vm->garbage.lock);

	if (garbage)
		stub_range_put_garbage(vm, range);
}

/*
 * A huge page in VRAM that was cut keeps all of its memory until it is split. The
 * range was [start, end), and one page of what is left of it is enough for that.
 */
static void stub_range_split_cut(struct stub_vm *vm, struct drm_gpusvm_range *base,
				 unsigned long start, unsigned long end)
{
	if (!vm->dpagemap)
		return;

	/* Best effort: if it cannot be split now, it is when somebody touches it. */
	if (drm_gpusvm_range_start(base) != start)
		drm_svm_split_cut(vm->dpagemap, vm->gpusvm.mm, drm_gpusvm_range_start(base));
	else if (drm_gpusvm_range_end(base) != end)
		drm_svm_split_cut(vm->dpagemap, vm->gpusvm.mm,
				  drm_gpusvm_range_end(base) - PAGE_SIZE);
}

/**
 * stub_range_put_right() - Deals with a range of which the CPU has unmapped something
 * @range: the range
 *
 * It becomes smaller, or two, or is removed; what is left of it stays mapped.
 *
 * Context: the range's lock, and a reference; may sleep.
 * Return: 0; -EAGAIN: an invalidation was in the way, which is over by now.
 */
int stub_range_put_right(struct stub_range *range)
{
	struct drm_gpusvm_range *base = &range->base;
	unsigned long start = drm_gpusvm_range_start(base);
	unsigned long end = drm_gpusvm_range_end(base);
	int ret;

	lockdep_assert_held(&base->lock);

	ret = drm_svm_range_trim(base);
	if (ret == -EAGAIN) {
		mmu_interval_read_begin(&base->notifier->notifier);
		return ret;
	}
	if (ret > 0)
		stub_range_split_cut(to_stub_vm(base->gpusvm), base, start, end);
	/* Nothing is left, or there is no memory to make two of it. */
	if (ret <= 0)
		stub_range_remove(range);

	return 0;
}

/* --- garbage --------------------------------------------------------------- */

/* The next range to be put right, with the list's reference; or NULL. */
static struct stub_range *stub_range_next_garbage(struct stub_vm *vm)
{
	struct stub_range *range;

	spin_lock(&vm->garbage.lock);
	range = list_first_entry_or_null(&vm->garbage.ranges, struct stub_range, garbage_link);
	if (range)
		list_del_init(&range->garbage_link);
	spin_unlock(&vm->garbage.lock);

	return range;
}

static void stub_range_garbage_work(struct work_struct *work)
{
	struct stub_vm *vm = container_of(work, struct stub_vm, garbage.work);
	struct stub_range *range;

	while ((range = stub_range_next_garbage(vm))) {
		if (drm_svm_range_lock(&range->base)) {
			if (stub_range_put_right(range))
				stub_range_add_garbage(vm, range);
			drm_svm_range_unlock(&range->base);
		}
		stub_range_put_garbage(vm, range);
		cond_resched();
	}
}

/**
 * stub_range_wait_garbage() - Waits until ranges that have lost memory are put right
 * @vm: the VM
 *
 * Not while a fault is held (stub_hold.c), which may be what the worker waits for.
 *
 * Context: may sleep; no locks.
 * Return: 0, or -EINTR if the caller is killed.
 */
int stub_range_wait_garbage(struct stub_vm *vm)
{
	/* A fault, too, may wait for the caller: see drm_svm_range_lock_killable(). */
	if (wait_event_killable(vm->wait, !READ_ONCE(vm->garbage.count) ||
				READ_ONCE(vm->hold.waiting)))
		return -EINTR;

	return 0;
}

/* --- of a VM --------------------------------------------------------------- */

/* Sizes of ranges: one page-table update and one invalidation each. */
static const unsigned long stub_range_sizes[] = { SZ_2M, SZ_64K, SZ_4K };

/**
 * stub_range_init() - Makes the mirror of a VM
 * @vm: the VM
 * @mm: the process
 *
 * Return: 0 or a negative errno.
 */
int stub_range_init(struct stub_vm *vm, struct mm_struct *mm)
{
	spin_lock_init(&vm->garbage.lock);
	INIT_LIST_HEAD(&vm->garbage.ranges);
	INIT_WORK(&vm->garbage.work, stub_range_garbage_work);

	return drm_gpusvm_init(&vm->gpusvm, "drm_svm_stub", mm, STUB_VA_START,
			       STUB_VA_END - STUB_VA_START, SZ_512M, &stub_range_gpusvm_ops,
			       stub_range_sizes, ARRAY_SIZE(stub_range_sizes));
}

/**
 * stub_range_remove_all() - Ends all ranges of a VM
 * @vm: the VM, of which no program runs
 *
 * Context: may sleep; no locks.
 */
void stub_range_remove_all(struct stub_vm *vm)
{
	struct drm_gpusvm_range *base;

	while ((base = drm_svm_range_first(&vm->gpusvm, STUB_VA_START, STUB_VA_END))) {
		/* If not, somebody else was faster. */
		if (drm_svm_range_lock(base)) {
			stub_range_remove(to_stub_range(base));
			drm_svm_range_unlock(base);
		}
		drm_gpusvm_range_put(base);
		cond_resched();
	}
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

	drm_gpusvm_fini(&vm->gpusvm);
	WARN_ON(atomic64_read(&vm->ranges));
}
