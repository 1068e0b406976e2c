// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * A VM and its ranges. It mirrors the memory of the process that made it, for
 * as long as that lasts; it holds the mm_struct, never a user of it, so it
 * keeps no memory of a process that has gone. What else is in a VM is in
 * stub_bind.c.
 */
#include <linux/memcontrol.h>
#include <linux/mm.h>
#include <linux/sched/mm.h>
#include <linux/seq_file.h>
#include <linux/slab.h>

#include <drm/drm_drv.h>
#include <uapi/drm/drm_svm_stub.h>

#include "stub_bind.h"
#include "stub_drv.h"
#include "stub_vm.h"

/* Sizes of ranges: one page-table update and one invalidation each. */
static const unsigned long stub_vm_chunk_sizes[] = { SZ_2M, SZ_64K, SZ_4K };

static struct drm_gpusvm_range *stub_vm_range_alloc(struct drm_gpusvm *gpusvm)
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

static void stub_vm_range_free(struct drm_gpusvm_range *base)
{
	atomic64_dec(&to_stub_vm(base->gpusvm)->ranges);
	kfree(to_stub_range(base));
}

static void stub_vm_add_garbage(struct stub_vm *vm, struct stub_range *range)
{
	spin_lock(&vm->garbage.lock);
	if (list_empty(&range->garbage_link)) {
		drm_gpusvm_range_get(&range->base);
		list_add_tail(&range->garbage_link, &vm->garbage.ranges);
		queue_work(vm->stub->garbage_wq, &vm->garbage.work);
	}
	spin_unlock(&vm->garbage.lock);
}

static void stub_vm_count_event(struct stub_vm *vm, enum mmu_notifier_event event)
{
	static const u8 kinds[] = {
		[MMU_NOTIFY_UNMAP] = DRM_SVM_STUB_EVENT_UNMAP,
		[MMU_NOTIFY_CLEAR] = DRM_SVM_STUB_EVENT_CLEAR,
		[MMU_NOTIFY_PROTECTION_VMA] = DRM_SVM_STUB_EVENT_PROTECTION_VMA,
		[MMU_NOTIFY_PROTECTION_PAGE] = DRM_SVM_STUB_EVENT_PROTECTION_PAGE,
		[MMU_NOTIFY_SOFT_DIRTY] = DRM_SVM_STUB_EVENT_SOFT_DIRTY,
		[MMU_NOTIFY_RELEASE] = DRM_SVM_STUB_EVENT_RELEASE,
		[MMU_NOTIFY_MIGRATE] = DRM_SVM_STUB_EVENT_MIGRATE,
		[MMU_NOTIFY_EXCLUSIVE] = DRM_SVM_STUB_EVENT_EXCLUSIVE,
	};
	u8 kind = event < ARRAY_SIZE(kinds) ? kinds[event] : DRM_SVM_STUB_EVENT_OTHER;

	atomic64_inc(&vm->events[kind]);
}

static void stub_vm_invalidate(struct drm_gpusvm *gpusvm,
			       struct drm_gpusvm_notifier *notifier,
			       const struct mmu_notifier_range *mmu_range)
{
	const struct drm_gpusvm_ctx ctx = { .in_notifier = true };
	struct stub_vm *vm = to_stub_vm(gpusvm);
	unsigned long start = max(mmu_range->start, drm_gpusvm_notifier_start(notifier));
	unsigned long end = min(mmu_range->end, drm_gpusvm_notifier_end(notifier));
	struct drm_gpusvm_range *first, *base;
	unsigned long zapped = 0;
	bool met = false;

	first = drm_gpusvm_range_find(notifier, start, end);

	/*
	 * Whole ranges, also where the event is smaller: a range's pages are
	 * unmapped from the device all at once.
	 */
	base = first;
	drm_gpusvm_for_each_range(base, notifier, start, end)
		zapped += stub_pt_zap(&vm->pt, drm_gpusvm_range_start(base),
				      drm_gpusvm_range_end(base));
	if (zapped) {
		stub_pt_flush(&vm->pt);
		atomic64_inc(&vm->invalidations);
	}

	base = first;
	drm_gpusvm_for_each_range(base, notifier, start, end) {
		struct stub_range *range = to_stub_range(base);

		met |= !base->flags.unmapped;
		drm_gpusvm_unmap_pages(gpusvm, &range->pages,
				       drm_gpusvm_range_size(base) >> PAGE_SHIFT, &ctx);
		if (mmu_range->event != MMU_NOTIFY_UNMAP)
			continue;
		drm_gpusvm_range_set_unmapped(base, &range->pages, 1, mmu_range);
		stub_vm_add_garbage(vm, range);
	}
	if (met)
		stub_vm_count_event(vm, mmu_range->event);
}

static const struct drm_gpusvm_ops stub_vm_gpusvm_ops = {
	.range_alloc = stub_vm_range_alloc,
	.range_free = stub_vm_range_free,
	.invalidate = stub_vm_invalidate,
};

/**
 * stub_vm_zap_range() - Takes a range from the GPU
 * @vm: the VM
 * @range: the range
 *
 * Its pages stay mapped for the device.
 *
 * Context: @vm->lock; may sleep.
 */
void stub_vm_zap_range(struct stub_vm *vm, struct stub_range *range)
{
	lockdep_assert_held(&vm->lock);

	drm_gpusvm_notifier_lock(&vm->gpusvm);
	if (stub_pt_zap(&vm->pt, drm_gpusvm_range_start(&range->base),
			drm_gpusvm_range_end(&range->base)))
		stub_pt_flush(&vm->pt);
	drm_gpusvm_notifier_unlock(&vm->gpusvm);
}

/**
 * stub_vm_remove_range() - Ends a range
 * @vm: the VM
 * @range: the range; not to be used any more
 *
 * Context: @vm->lock; may sleep.
 */
void stub_vm_remove_range(struct stub_vm *vm, struct stub_range *range)
{
	bool garbage;

	drm_gpusvm_range_get(&range->base);

	stub_vm_zap_range(vm, range);
	drm_gpusvm_free_pages(&vm->gpusvm, &range->pages,
			      drm_gpusvm_range_size(&range->base) >> PAGE_SHIFT);
	drm_gpusvm_range_remove(&vm->gpusvm, &range->base);

	/* No invalidation finds it from here on, so this is the end of it. */
	spin_lock(&vm->garbage.lock);
	garbage = !list_empty(&range->garbage_link);
	list_del_init(&range->garbage_link);
	spin_unlock(&vm->garbage.lock);

	if (garbage)
		drm_gpusvm_range_put(&range->base);
	drm_gpusvm_range_put(&range->base);
}

/**
 * stub_vm_collect_garbage() - Removes the ranges that lost their memory
 * @vm: the VM
 *
 * Before anything else is done with ranges: a new one may not overlap them.
 *
 * Context: @vm->lock; may sleep.
 */
void stub_vm_collect_garbage(struct stub_vm *vm)
{
	struct stub_range *range;

	lockdep_assert_held(&vm->lock);

	for (;;) {
		spin_lock(&vm->garbage.lock);
		range = list_first_entry_or_null(&vm->garbage.ranges,
						 struct stub_range, garbage_link);
		spin_unlock(&vm->garbage.lock);
		if (!range)
			return;
		/* Only this, under the VM's lock, takes ranges off the list. */
		stub_vm_remove_range(vm, range);
	}
}

static void stub_vm_garbage_work(struct work_struct *work)
{
	struct stub_vm *vm = container_of(work, struct stub_vm, garbage.work);

	mutex_lock(&vm->lock);
	stub_vm_collect_garbage(vm);
	mutex_unlock(&vm->lock);
}

/**
 * stub_vm_create() - Makes a VM of the caller's address space
 * @stub: the device
 * @migrate_on_fault: GPU faults move memory to VRAM
 *
 * Context: may sleep.
 * Return: the VM with one reference, or an ERR_PTR().
 */
struct stub_vm *stub_vm_create(struct stub_device *stub, bool migrate_on_fault)
{
	struct stub_vm *vm;
	int err;

	vm = kzalloc(sizeof(*vm), GFP_KERNEL_ACCOUNT);
	if (!vm)
		return ERR_PTR(-ENOMEM);

	kref_init(&vm->ref);
	refcount_set(&vm->programs, 1);
	init_waitqueue_head(&vm->idle);
	vm->stub = stub;
	vm->migrate_on_fault = migrate_on_fault;
	mutex_init(&vm->lock);
	spin_lock_init(&vm->garbage.lock);
	INIT_LIST_HEAD(&vm->garbage.ranges);
	INIT_WORK(&vm->garbage.work, stub_vm_garbage_work);

	err = stub_pt_init(&vm->pt);
	if (err)
		goto err_free;

	vm->stats = stub_stats_get(&stub->vram.stats, current->mm);
	if (!vm->stats) {
		err = -ENOMEM;
		goto err_pt;
	}
	vm->pages_to_vram = atomic64_read(&vm->stats->pages_to_vram);
	vm->pages_to_ram = atomic64_read(&vm->stats->pages_to_ram);

	if (stub->vram.num_pages) {
		vm->dpagemap = stub_vram_get(&stub->vram);
		if (IS_ERR(vm->dpagemap)) {
			err = PTR_ERR(vm->dpagemap);
			goto err_stats;
		}
	}

	err = drm_gpusvm_init(&vm->gpusvm, "drm_svm_stub", current->mm,
			      STUB_VA_START, STUB_VA_END - STUB_VA_START, SZ_512M,
			      &stub_vm_gpusvm_ops, stub_vm_chunk_sizes,
			      ARRAY_SIZE(stub_vm_chunk_sizes));
	if (err)
		goto err_dpagemap;
	drm_gpusvm_driver_set_lock(&vm->gpusvm, &vm->lock);

	err = stub_bind_init(vm);
	if (err)
		goto err_gpusvm;
	drm_dev_get(&stub->drm);
	vm->memcg = get_mem_cgroup_from_mm(current->mm);

	spin_lock(&stub->vms.lock);
	list_add_tail(&vm->link, &stub->vms.list);
	spin_unlock(&stub->vms.lock);

	return vm;

err_gpusvm:
	mutex_lock(&vm->lock);
	drm_gpusvm_fini(&vm->gpusvm);
	mutex_unlock(&vm->lock);
err_dpagemap:
	if (vm->dpagemap)
		drm_pagemap_put(vm->dpagemap);
err_stats:
	stub_stats_put(vm->stats);
err_pt:
	stub_pt_fini(&vm->pt);
err_free:
	kfree(vm);
	return ERR_PTR(err);
}

static void stub_vm_release(struct kref *ref)
{
	struct stub_vm *vm = container_of(ref, struct stub_vm, ref);
	struct drm_gpusvm_notifier *notifier, *next_notifier;
	struct drm_gpusvm_range *base, *next_base;

	spin_lock(&vm->stub->vms.lock);
	list_del(&vm->link);
	spin_unlock(&vm->stub->vms.lock);

	mutex_lock(&vm->lock);
	drm_gpusvm_for_each_notifier_safe(notifier, next_notifier, &vm->gpusvm,
					  STUB_VA_START, STUB_VA_END)
		drm_gpusvm_for_each_range_safe(base, next_base, notifier,
					       STUB_VA_START, STUB_VA_END)
			stub_vm_remove_range(vm, to_stub_range(base));
	mutex_unlock(&vm->lock);

	/* Without ranges nothing queues it any more. */
	cancel_work_sync(&vm->garbage.work);

	mutex_lock(&vm->lock);
	drm_gpusvm_fini(&vm->gpusvm);
	mutex_unlock(&vm->lock);

	WARN_ON(atomic64_read(&vm->ranges));
	stub_bind_fini(vm);
}

/**
 * stub_vm_free() - Frees a VM that has come to its end
 * @vm: the VM
 *
 * The last step of stub_bind_fini(), when nothing refers to the space.
 */
void stub_vm_free(struct stub_vm *vm)
{
	struct drm_device *drm = &vm->stub->drm;

	if (vm->dpagemap)
		drm_pagemap_put(vm->dpagemap);
	stub_stats_put(vm->stats);
	stub_pt_fini(&vm->pt);
	mem_cgroup_put(vm->memcg);
	mutex_destroy(&vm->lock);
	kfree(vm);
	drm_dev_put(drm);
}

/**
 * stub_vm_put() - Drops a reference
 * @vm: the VM
 *
 * Context: may sleep.
 */
void stub_vm_put(struct stub_vm *vm)
{
	kref_put(&vm->ref, stub_vm_release);
}

/**
 * stub_vm_begin_program() - Notes that a program is going to run
 * @vm: the VM
 *
 * Return: false if the VM has been closed.
 */
bool stub_vm_begin_program(struct stub_vm *vm)
{
	return refcount_inc_not_zero(&vm->programs);
}

/**
 * stub_vm_end_program() - Notes that a program has ended
 * @vm: the VM
 */
void stub_vm_end_program(struct stub_vm *vm)
{
	if (refcount_dec_and_test(&vm->programs))
		wake_up_all(&vm->idle);
}

/**
 * stub_vm_close() - No more programs, and no more to be mapped for them
 * @vm: the VM; once
 */
void stub_vm_close(struct stub_vm *vm)
{
	stub_bind_jobs_close(vm);
	stub_vm_end_program(vm);
}

/**
 * stub_vm_wait_idle() - Waits for what a VM that has been closed still does
 * @vm: the VM
 *
 * For its programs only until the caller is killed. Jobs of VM_BIND come to
 * their end soon.
 */
void stub_vm_wait_idle(struct stub_vm *vm)
{
	flush_work(&vm->bind.work);
	wait_event_killable(vm->idle, !refcount_read(&vm->programs));
}

/**
 * stub_vm_read_stats() - What has happened in a VM
 * @vm: the VM
 * @out: receives it
 *
 * Context: may sleep.
 * Return: 0, or -EINTR if the caller is killed.
 */
int stub_vm_read_stats(struct stub_vm *vm, struct drm_svm_stub_vm_stats *out)
{
	unsigned int i;

	/*
	 * A fault that holds the lock may wait for the caller's own process, as
	 * the server of a file system, so it must be possible to kill it here.
	 */
	if (mutex_lock_killable(&vm->lock))
		return -EINTR;
	/* Ranges that wait to be removed are gone as far as anyone can see. */
	stub_vm_collect_garbage(vm);
	out->ranges = atomic64_read(&vm->ranges);
	out->mappings = vm->bind.mappings;
	out->binds = vm->bind.binds;
	out->prefetched = vm->bind.prefetched;
	mutex_unlock(&vm->lock);

	out->gpu_faults = atomic64_read(&vm->gpu_faults);
	out->invalidations = atomic64_read(&vm->invalidations);
	for (i = 0; i < ARRAY_SIZE(out->events); i++)
		out->events[i] = atomic64_read(&vm->events[i]);
	out->pages_to_vram = atomic64_read(&vm->stats->pages_to_vram) - vm->pages_to_vram;
	out->pages_to_ram = atomic64_read(&vm->stats->pages_to_ram) - vm->pages_to_ram;

	return 0;
}

#ifdef CONFIG_DEBUG_FS
/* The VM after @vm in the device's list, or the first, with a reference; puts @vm. */
static struct stub_vm *stub_vm_next(struct stub_device *stub, struct stub_vm *vm)
{
	struct stub_vm *next;

	spin_lock(&stub->vms.lock);
	next = list_prepare_entry(vm, &stub->vms.list, link);
	list_for_each_entry_continue(next, &stub->vms.list, link)
		if (kref_get_unless_zero(&next->ref))
			break;
	if (list_entry_is_head(next, &stub->vms.list, link))
		next = NULL;
	spin_unlock(&stub->vms.lock);

	if (vm)
		stub_vm_put(vm);

	return next;
}

/**
 * stub_vm_show_all() - Prints what is in all VMs' bind windows, for a person to read
 * @stub: the device
 * @m: where to
 *
 * Context: may sleep; no locks.
 */
void stub_vm_show_all(struct stub_device *stub, struct seq_file *m)
{
	struct stub_vm *vm = NULL;

	while ((vm = stub_vm_next(stub, vm))) {
		/* Killable: see stub_vm_read_stats(). */
		if (mutex_lock_killable(&vm->lock)) {
			stub_vm_put(vm);
			return;
		}
		drm_debugfs_gpuva_info(m, &vm->gpuvm);
		mutex_unlock(&vm->lock);
	}
}
#endif
