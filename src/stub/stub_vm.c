// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * A VM. It mirrors the memory of the process that made it, for as long as that
 * lasts; it holds the mm_struct, never a user of it, so it keeps no memory of a
 * process that has gone. The mirror is in stub_range.c; what else is in a VM is
 * in stub_bind.c.
 */
#include <linux/memcontrol.h>
#include <linux/mm.h>
#include <linux/sched/mm.h>
#include <linux/slab.h>

#include <drm/drm_drv.h>
#include <uapi/drm/drm_svm_stub.h>

#include "stub_bind.h"
#include "stub_drv.h"
#include "stub_pagemap.h"
#include "stub_userptr.h"
#include "stub_vm.h"

/* The device's memory, if it has any, and the counters of what moves there. */
static int stub_vm_get_vram(struct stub_vm *vm)
{
	struct stub_vram *vram = &vm->stub->vram;
	struct drm_pagemap *dpagemap = NULL;

	vm->stats = stub_stats_get(&vram->stats, current->mm);
	if (!vm->stats)
		return -ENOMEM;
	vm->pages_to_vram = atomic64_read(&vm->stats->pages_to_vram);
	vm->pages_to_ram = atomic64_read(&vm->stats->pages_to_ram);

	if (vram->num_pages)
		dpagemap = stub_pagemap_get(vram);
	if (IS_ERR(dpagemap)) {
		stub_stats_put(vm->stats);
		return PTR_ERR(dpagemap);
	}
	vm->dpagemap = dpagemap;

	return 0;
}

static void stub_vm_put_vram(struct stub_vm *vm)
{
	drm_pagemap_put(vm->dpagemap);
	stub_stats_put(vm->stats);
}

/**
 * stub_vm_create() - Makes a VM of the caller's address space
 * @stub: the device
 * @args: the arguments, checked
 *
 * Context: may sleep; between drm_dev_enter() and drm_dev_exit(), so that
 * stub_vm_stop_all() finds it.
 * Return: the VM with one reference, or an ERR_PTR().
 */
struct stub_vm *stub_vm_create(struct stub_device *stub,
			       const struct drm_svm_stub_vm_create *args)
{
	struct stub_vm *vm;
	int err;

	vm = kzalloc(sizeof(*vm), GFP_KERNEL_ACCOUNT);
	if (!vm)
		return ERR_PTR(-ENOMEM);

	kref_init(&vm->ref);
	refcount_set(&vm->programs, 1);
	init_waitqueue_head(&vm->wait);
	vm->stub = stub;
	vm->migrate_on_fault = args->flags & DRM_SVM_STUB_VM_MIGRATE_ON_FAULT;
	vm->bind.no_faults = args->flags & DRM_SVM_STUB_VM_NO_BIND_FAULTS;
	vm->timeslice_ms = args->timeslice_ms;
	vm->fault_granule = args->fault_granule;
	mutex_init(&vm->lock);
	stub_hold_init(vm);

	err = stub_pt_init(&vm->pt);
	if (err)
		goto err_free;

	err = stub_vm_get_vram(vm);
	if (err)
		goto err_pt;

	err = stub_range_init(vm, current->mm);
	if (err)
		goto err_vram;

	err = stub_bind_init(vm);
	if (err)
		goto err_range;
	drm_dev_get(&stub->drm);
	vm->memcg = get_mem_cgroup_from_mm(current->mm);

	spin_lock(&stub->vms.lock);
	list_add_tail(&vm->link, &stub->vms.list);
	stub_userptr_inject(vm, stub->vms.inject);
	spin_unlock(&stub->vms.lock);

	return vm;

err_range:
	stub_range_fini(vm);
err_vram:
	stub_vm_put_vram(vm);
err_pt:
	stub_pt_fini(&vm->pt);
err_free:
	kfree(vm);
	return ERR_PTR(err);
}

static void stub_vm_release(struct kref *ref)
{
	struct stub_vm *vm = container_of(ref, struct stub_vm, ref);

	spin_lock(&vm->stub->vms.lock);
	list_del(&vm->link);
	spin_unlock(&vm->stub->vms.lock);

	stub_range_fini(vm);
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

	stub_vm_put_vram(vm);
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
		wake_up_all(&vm->wait);
}

/**
 * stub_vm_close() - No more programs, and no more to be mapped for them
 * @vm: the VM; may have been closed before
 */
void stub_vm_close(struct stub_vm *vm)
{
	if (test_and_set_bit(0, &vm->closed))
		return;

	stub_bind_jobs_close(vm);
	stub_hold_close(vm);
	stub_vm_end_program(vm);
}

/**
 * stub_vm_closed_error() - What is wrong with a VM that has been closed
 * @vm: the VM
 *
 * Return: -ENODEV: its device has gone; -ENOENT: it is being destroyed.
 */
int stub_vm_closed_error(struct stub_vm *vm)
{
	return drm_dev_is_unplugged(&vm->stub->drm) ? -ENODEV : -ENOENT;
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
	stub_bind_jobs_wait(vm);
	wait_event_killable(vm->wait, !refcount_read(&vm->programs));
}

/**
 * stub_vm_next() - Walks the VMs of a device
 * @stub: the device
 * @vm: the last one, whose reference goes, or NULL
 *
 * Context: may sleep; no locks.
 * Return: the VM after it in the device's list, or the first, with a reference; NULL: there is
 * none.
 */
struct stub_vm *stub_vm_next(struct stub_device *stub, struct stub_vm *vm)
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
 * stub_vm_stop_all() - Ends what the GPU does, in all VMs
 * @stub: the device, unplugged: so there are no more VMs to come
 *
 * Their programs have ended then, and no memory of a process is mapped for the device
 * any more. The VMs stay as long as their files.
 *
 * Context: may sleep.
 */
void stub_vm_stop_all(struct stub_device *stub)
{
	struct stub_vm *vm = NULL;

	while ((vm = stub_vm_next(stub, vm))) {
		stub_vm_close(vm);
		wait_event(vm->wait, !refcount_read(&vm->programs));
		/* A VM_BIND that has not seen that the VM is closed has left its job by then. */
		mutex_lock(&vm->lock);
		mutex_unlock(&vm->lock);
		stub_bind_jobs_wait(vm);
		stub_userptr_release_all(vm);
		stub_range_remove_all(vm);
	}
}

/**
 * stub_vm_count_event() - Counts what the kernel has told a VM's mirror
 * @vm: the VM
 * @event: the kind of event
 *
 * Context: any.
 */
void stub_vm_count_event(struct stub_vm *vm, enum mmu_notifier_event event)
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
