// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * What has happened in a VM of the plain stub, as far as its driver sees it: mainline counts
 * nothing.
 */
#include <uapi/drm/drm_svm_stub.h>

#include "stub_drv.h"
#include "stub_pagemap.h"
#include "stub_vm.h"

/**
 * stub_counters_read_vm() - What has happened in a VM
 * @vm: the VM
 * @out: receives it
 *
 * Without the VM's lock, which a fault that is held has.
 *
 * Context: may sleep.
 * Return: 0, or -EINTR if the caller is killed.
 */
int stub_counters_read_vm(struct stub_vm *vm, struct drm_svm_stub_vm_stats *out)
{
	unsigned int i;

	/* Ranges that wait to be removed are gone as far as anyone can see. */
	if (stub_range_wait_garbage(vm))
		return -EINTR;
	out->ranges = atomic64_read(&vm->ranges);
	out->ranges_made = atomic64_read(&vm->ranges_made);
	out->ranges_removed = atomic64_read(&vm->ranges_removed);
	out->collections = atomic64_read(&vm->collections);
	out->mappings = READ_ONCE(vm->bind.mappings);
	out->binds = READ_ONCE(vm->bind.binds);
	out->prefetched = READ_ONCE(vm->bind.prefetched);
	out->gpu_faults = atomic64_read(&vm->gpu_faults);
	out->invalidations = atomic64_read(&vm->invalidations);
	for (i = 0; i < ARRAY_SIZE(out->events); i++)
		out->events[i] = atomic64_read(&vm->events[i]);
	out->pages_to_vram = atomic64_read(&vm->stats->pages_to_vram) - vm->pages_to_vram;
	out->pages_to_ram = atomic64_read(&vm->stats->pages_to_ram) - vm->pages_to_ram;

	return 0;
}

/**
 * stub_counters_read_device() - What has happened to the device's memory
 * @stub: the device
 * @out: is left alone
 *
 * Return: -EOPNOTSUPP.
 */
int stub_counters_read_device(struct stub_device *stub, struct drm_svm_stub_device_stats *out)
{
	return -EOPNOTSUPP;
}

#ifdef CONFIG_DEBUG_FS
/**
 * stub_debugfs_init() - &drm_driver.debugfs_init
 * @minor: the node
 *
 * There is nothing to show.
 */
void stub_debugfs_init(struct drm_minor *minor)
{
}
#endif
