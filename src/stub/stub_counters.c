// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * What has happened, in numbers: in a VM, and to a device's memory.
 */
#include <drm/drm_drv.h>
#include <drm/drm_svm.h>
#include <uapi/drm/drm_svm_stub.h>

#include "stub_drv.h"
#include "stub_pagemap.h"
#include "stub_userptr.h"
#include "stub_vm.h"

/**
 * stub_counters_read_vm() - What has happened in a VM
 * @vm: the VM
 * @out: receives it
 *
 * Context: may sleep.
 * Return: 0, or -EINTR if the caller is killed.
 */
int stub_counters_read_vm(struct stub_vm *vm, struct drm_svm_stub_vm_stats *out)
{
	struct drm_svm_counters counters;
	unsigned int i;

	/* Ranges that wait to be removed are gone as far as anyone can see. */
	if (stub_range_wait_garbage(vm))
		return -EINTR;
	out->ranges = atomic64_read(&vm->ranges);
	drm_svm_read_counters(&vm->gpusvm, &counters);
	out->ranges_made = counters.ranges_made;
	out->ranges_removed = counters.ranges_removed;
	out->ranges_split = counters.ranges_split;
	out->ranges_trimmed = counters.ranges_trimmed;
	out->collections = counters.collections;
	out->collection_retries = counters.collection_retries;

	if (mutex_lock_killable(&vm->lock))
		return -EINTR;
	out->mappings = vm->bind.mappings;
	out->binds = vm->bind.binds;
	out->prefetched = vm->bind.prefetched;
	mutex_unlock(&vm->lock);

	stub_userptr_read_stats(vm, out);
	out->gpu_faults = atomic64_read(&vm->gpu_faults);
	out->invalidations = atomic64_read(&vm->invalidations);
	for (i = 0; i < ARRAY_SIZE(out->events); i++)
		out->events[i] = atomic64_read(&vm->events[i]);
	out->pages_to_vram = atomic64_read(&vm->stats->pages_to_vram) - vm->pages_to_vram;
	out->pages_to_ram = atomic64_read(&vm->stats->pages_to_ram) - vm->pages_to_ram;

	return 0;
}

static void stub_counters_copy_phases(struct drm_svm_stub_phases *out,
				      const struct dsvm_phase_counters *in)
{
	*out = (struct drm_svm_stub_phases){
		.batches = in->batches,
		.bytes = in->bytes,
		.setup_ns = in->setup_ns,
		.map_ns = in->map_ns,
		.copy_ns = in->copy_ns,
		.finalize_ns = in->finalize_ns,
	};
}

/**
 * stub_counters_read_device() - What has happened to the device's memory
 * @stub: the device, with memory
 * @out: receives it: zero if there is no provider in use
 *
 * Context: may sleep.
 * Return: 0; -ENODEV: the device has gone.
 */
int stub_counters_read_device(struct stub_device *stub, struct drm_svm_stub_device_stats *out)
{
	struct dsvm_migrate_counters counters = {};
	struct drm_pagemap *dpagemap;
	unsigned int way, size;
	int idx;

	static_assert(DRM_SVM_STUB_WAYS == DSVM_WAYS);
	static_assert(DRM_SVM_STUB_SIZES == DSVM_SIZES);

	if (!drm_dev_enter(&stub->drm, &idx))
		return -ENODEV;
	dpagemap = stub_pagemap_get_if_active(&stub->vram);
	if (dpagemap) {
		drm_svm_pagemap_counters(dpagemap, &counters);
		drm_pagemap_put(dpagemap);
	}
	drm_dev_exit(idx);

	for (way = 0; way < DRM_SVM_STUB_WAYS; way++)
		for (size = 0; size < DRM_SVM_STUB_SIZES; size++)
			stub_counters_copy_phases(&out->phase[way][size],
						  &counters.phase[way][size]);
	out->huge_moved = counters.huge_moved;
	out->huge_split = counters.huge_split;
	out->from_device = counters.from_device;
	out->stayed = counters.stayed;
	out->timeslice_waits = counters.timeslice_waits;
	out->fault_races = counters.fault_races;
	out->fault_oom = counters.fault_oom;
	out->fault_lost = counters.fault_lost;

	return 0;
}
