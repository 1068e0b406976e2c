// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * debugfs: what a person may look at, and pulling the plug.
 *
 *	vram		the device's memory: how much is taken, how scattered
 *	pagemap		what migration has done with it
 *	gpuvas		what is in the VMs
 *	residency	where memory of the processes behind them is
 *	surprise	1: the hardware has gone, with all that was in its memory
 *	userptr_inject	n: each n-th mapping of a userptr for the device meets an
 *			invalidation; 0: none does
 */
#include <linux/debugfs.h>
#include <linux/seq_file.h>

#include <drm/drm_debugfs.h>
#include <drm/drm_svm.h>

#include "stub_drv.h"
#include "stub_pagemap.h"
#include "stub_userptr.h"
#include "stub_vm.h"

static struct stub_device *stub_debugfs_device(struct seq_file *m)
{
	struct drm_info_node *node = m->private;

	return to_stub_device(node->minor->dev);
}

static int stub_debugfs_vram(struct seq_file *m, void *unused)
{
	struct stub_device *stub = stub_debugfs_device(m);

	stub_vram_show(&stub->vram, m);
	seq_printf(m, "pages in    %12lld\n",
		   (s64)atomic64_read(&stub->copy.pages_to_vram));
	seq_printf(m, "pages out   %12lld\n",
		   (s64)atomic64_read(&stub->copy.pages_to_ram));
	seq_printf(m, "pages away  %12lld\n",
		   (s64)atomic64_read(&stub->copy.pages_to_peer));

	return 0;
}

static int stub_debugfs_pagemap(struct seq_file *m, void *unused)
{
	struct stub_device *stub = stub_debugfs_device(m);
	struct drm_pagemap *dpagemap = stub_pagemap_get_if_active(&stub->vram);

	if (dpagemap) {
		drm_svm_debugfs_pagemap_info(m, dpagemap);
		drm_pagemap_put(dpagemap);
	}

	return 0;
}

static int stub_debugfs_gpuvas(struct seq_file *m, void *unused)
{
	struct stub_device *stub = stub_debugfs_device(m);
	struct stub_vm *vm = NULL;

	while ((vm = stub_vm_next(stub, vm))) {
		if (mutex_lock_killable(&vm->lock)) {
			stub_vm_put(vm);
			return -EINTR;
		}
		drm_debugfs_gpuva_info(m, &vm->gpuvm);
		mutex_unlock(&vm->lock);
		drm_svm_debugfs_gpusvm_info(m, &vm->gpusvm);
	}

	return 0;
}

static int stub_debugfs_residency(struct seq_file *m, void *unused)
{
	struct stub_device *stub = stub_debugfs_device(m);
	struct stub_vm *vm = NULL;

	while ((vm = stub_vm_next(stub, vm))) {
		/* Of a process that has gone there is nothing to see. */
		if (drm_svm_debugfs_residency(m, vm->gpusvm.mm) == -EINTR) {
			stub_vm_put(vm);
			return -EINTR;
		}
	}

	return 0;
}

static const struct drm_info_list stub_debugfs_files[] = {
	{ .name = "vram", .show = stub_debugfs_vram },
	{ .name = "pagemap", .show = stub_debugfs_pagemap },
	{ .name = "gpuvas", .show = stub_debugfs_gpuvas },
	{ .name = "residency", .show = stub_debugfs_residency },
};

static int stub_debugfs_surprise(void *data, u64 value)
{
	if (value != 1)
		return -EINVAL;

	stub_surprise(data);

	return 0;
}

DEFINE_DEBUGFS_ATTRIBUTE(stub_debugfs_surprise_fops, NULL, stub_debugfs_surprise, "%llu\n");

static int stub_debugfs_read_inject(void *data, u64 *value)
{
	struct stub_device *stub = data;

	*value = READ_ONCE(stub->vms.inject);

	return 0;
}

/* In all VMs, made since or not. */
static int stub_debugfs_inject(void *data, u64 value)
{
	struct stub_device *stub = data;
	struct stub_vm *vm = NULL;

	if (value > U32_MAX)
		return -EINVAL;

	spin_lock(&stub->vms.lock);
	stub->vms.inject = value;
	spin_unlock(&stub->vms.lock);

	while ((vm = stub_vm_next(stub, vm)))
		stub_userptr_inject(vm, value);

	return 0;
}

DEFINE_DEBUGFS_ATTRIBUTE(stub_debugfs_inject_fops, stub_debugfs_read_inject,
			 stub_debugfs_inject, "%llu\n");

/**
 * stub_debugfs_init() - &drm_driver.debugfs_init
 * @minor: the node
 */
void stub_debugfs_init(struct drm_minor *minor)
{
	drm_debugfs_create_files(stub_debugfs_files, ARRAY_SIZE(stub_debugfs_files),
				 minor->debugfs_root, minor);
	debugfs_create_file_unsafe("surprise", 0200, minor->debugfs_root,
				   to_stub_device(minor->dev), &stub_debugfs_surprise_fops);
	debugfs_create_file_unsafe("userptr_inject", 0600, minor->debugfs_root,
				   to_stub_device(minor->dev), &stub_debugfs_inject_fops);
}
