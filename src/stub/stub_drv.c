// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * The driver. The module makes platform devices that stand for the hardware, and
 * a driver for them; from there on all is as with hardware that can be unplugged.
 *
 * A device that is taken away: new work is refused, the GPU is stopped, memory
 * is brought back while the copy engine still works, and then that is all. What
 * open files, and pages that could not be brought back, still need stays as long
 * as they do.
 */
#include <linux/dma-mapping.h>
#include <linux/module.h>
#include <linux/platform_device.h>
#include <linux/slab.h>

#include <drm/drm_gem.h>
#include <drm/drm_ioctl.h>
#include <uapi/drm/drm_svm_stub.h>

#include "compat/drm_drv_compat.h"
#include "stub_drv.h"
#include "stub_pagemap.h"
#include "stub_vm.h"

#define STUB_MAX_DEVICES 4

static unsigned int vram_mib = 256;
module_param(vram_mib, uint, 0444);
MODULE_PARM_DESC(vram_mib,
		 "Size of VRAM in MiB, rounded up to 2; taken from RAM, for each device. 0: none. Where it is not to be had the device works without. (default: 256)");

static unsigned int devices = 1;
module_param(devices, uint, 0444);
MODULE_PARM_DESC(devices, "Number of devices, 1 to 4 (default: 1)");

static bool peers = true;
module_param(peers, bool, 0444);
MODULE_PARM_DESC(peers, "The devices reach each other's VRAM (default: yes)");

struct stub_queues stub_queues;

static struct platform_device *stub_pdevs[STUB_MAX_DEVICES];

/* --- files ----------------------------------------------------------------- */

static int stub_open(struct drm_device *drm, struct drm_file *file)
{
	struct stub_file *sf = kzalloc(sizeof(*sf), GFP_KERNEL_ACCOUNT);

	if (!sf)
		return -ENOMEM;

	xa_init_flags(&sf->vms, XA_FLAGS_ALLOC1);
	sema_init(&sf->programs, STUB_MAX_PROGRAMS);
	file->driver_priv = sf;

	return 0;
}

static void stub_postclose(struct drm_device *drm, struct drm_file *file)
{
	struct stub_file *sf = file->driver_priv;
	struct stub_vm *vm;
	unsigned long id;

	/*
	 * No ioctl is under way, so the programs that are left belong to
	 * callers that were killed, and end by themselves. They are not waited
	 * for: they may need memory that is only to be had once the process,
	 * which is closing this file perhaps, has come to its end.
	 */
	xa_for_each(&sf->vms, id, vm) {
		stub_vm_close(vm);
		stub_vm_put(vm);
	}
	xa_destroy(&sf->vms);
	kfree(sf);

	/* So that the module can be unloaded as soon as its last user has gone. */
	stub_devmem_flush();
}

static const struct drm_ioctl_desc stub_ioctls[] = {
	DRM_IOCTL_DEF_DRV(SVM_STUB_INFO, stub_ioctl_info, DRM_RENDER_ALLOW),
	DRM_IOCTL_DEF_DRV(SVM_STUB_VM_CREATE, stub_ioctl_vm_create, DRM_RENDER_ALLOW),
	DRM_IOCTL_DEF_DRV(SVM_STUB_VM_DESTROY, stub_ioctl_vm_destroy, DRM_RENDER_ALLOW),
	DRM_IOCTL_DEF_DRV(SVM_STUB_EXEC, stub_ioctl_exec, DRM_RENDER_ALLOW),
	DRM_IOCTL_DEF_DRV(SVM_STUB_MIGRATE, stub_ioctl_migrate, DRM_RENDER_ALLOW),
	DRM_IOCTL_DEF_DRV(SVM_STUB_RESIDENCY, stub_ioctl_residency, DRM_RENDER_ALLOW),
	DRM_IOCTL_DEF_DRV(SVM_STUB_VM_STATS, stub_ioctl_vm_stats, DRM_RENDER_ALLOW),
	DRM_IOCTL_DEF_DRV(SVM_STUB_BO_CREATE, stub_ioctl_bo_create, DRM_RENDER_ALLOW),
	DRM_IOCTL_DEF_DRV(SVM_STUB_BO_MMAP_OFFSET, stub_ioctl_bo_mmap_offset, DRM_RENDER_ALLOW),
	DRM_IOCTL_DEF_DRV(SVM_STUB_VM_BIND, stub_ioctl_vm_bind, DRM_RENDER_ALLOW),
	DRM_IOCTL_DEF_DRV(SVM_STUB_HOLD, stub_ioctl_hold, DRM_RENDER_ALLOW),
	DRM_IOCTL_DEF_DRV(SVM_STUB_DEVICE_STATS, stub_ioctl_device_stats, DRM_RENDER_ALLOW),
};

DEFINE_DRM_GEM_FOPS(stub_fops);

static const struct drm_driver stub_driver = {
	.driver_features = DRIVER_GEM | DRIVER_RENDER | DRIVER_SYNCOBJ,
	.open = stub_open,
	.postclose = stub_postclose,
#ifdef CONFIG_DEBUG_FS
	.debugfs_init = stub_debugfs_init,
#endif
	.ioctls = stub_ioctls,
	.num_ioctls = ARRAY_SIZE(stub_ioctls),
	.fops = &stub_fops,
	.name = KBUILD_MODNAME,
	.desc = "software GPU with shared virtual memory",
	DRM_DRIVER_DATE_COMPAT("20260101")
	.major = 1,
	.minor = 0,
};

/* --- a device -------------------------------------------------------------- */

/* Unbound, or unplugged. */
static void stub_remove(void *data)
{
	struct stub_device *stub = data;

	drm_dev_unplug(&stub->drm);
	stub_vm_stop_all(stub);
	stub_devmem_unplug(stub);
	stub_vram_stop(&stub->vram);
}

static void stub_surprise_work(struct work_struct *work)
{
	struct stub_device *stub = container_of(work, struct stub_device, surprise);

	device_release_driver(stub->drm.dev);
	drm_dev_put(&stub->drm);
}

/**
 * stub_surprise() - The hardware has gone, with all that was in its memory
 * @stub: the device
 *
 * Hardware does not ask first: from here on its memory is dead. The driver hears
 * of it as from a bus, in a thread of its own: the end of the device waits for
 * the end of whatever is under way, which the caller may be.
 *
 * Context: any.
 */
void stub_surprise(struct stub_device *stub)
{
	stub_vram_kill(&stub->vram);
	drm_dev_get(&stub->drm);
	if (!queue_work(stub_queues.destroy, &stub->surprise))
		drm_dev_put(&stub->drm);
}

static int stub_probe(struct platform_device *pdev)
{
	struct device *dev = &pdev->dev;
	struct stub_device *stub;
	int err;

	/* All of memory is in reach, or DMA would go through bounce buffers. */
	err = dma_coerce_mask_and_coherent(dev, DMA_BIT_MASK(64));
	if (err)
		return err;

	stub = devm_drm_dev_alloc(dev, &stub_driver, struct stub_device, drm);
	if (IS_ERR(stub))
		return PTR_ERR(stub);

	stub->index = pdev->id;
	INIT_WORK(&stub->surprise, stub_surprise_work);
	spin_lock_init(&stub->vms.lock);
	INIT_LIST_HEAD(&stub->vms.list);

	err = stub_copy_init(stub);
	err = err ?: stub_vram_init(stub, (u64)vram_mib << 20);
	err = err ?: drm_dev_register(&stub->drm, 0);

	return err ?: devm_add_action_or_reset(dev, stub_remove, stub);
}

static struct platform_driver stub_platform_driver = {
	.probe = stub_probe,
	.driver = {
		.name = KBUILD_MODNAME,
	},
};

/**
 * stub_has_peers() - Whether the devices reach each other's VRAM
 *
 * Return: true if they do.
 */
bool stub_has_peers(void)
{
	return peers;
}

/**
 * stub_is_peer() - Whether a device reaches the VRAM of this driver's others
 * @dev: any device
 *
 * Context: any.
 * Return: true if it is one of them.
 */
bool stub_is_peer(struct device *dev)
{
	return peers && READ_ONCE(dev->driver) == &stub_platform_driver.driver;
}

/* --- the module ------------------------------------------------------------ */

/*
 * In reverse of what they need. Programs of killed callers may still be on their
 * way out; until then their VMs collect garbage. The last of each VM is a
 * program, or what a change of its page table has left to be released.
 */
static void stub_queues_fini(void)
{
	struct workqueue_struct *queues[] = {
		stub_queues.gpu, stub_queues.bind, stub_queues.release,
		stub_queues.garbage, stub_queues.destroy,
	};
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(queues); i++)
		if (queues[i])
			destroy_workqueue(queues[i]);
}

static int stub_queues_init(void)
{
	stub_queues = (struct stub_queues){
		.gpu = alloc_workqueue("drm_svm_stub-gpu", WQ_UNBOUND, 0),
		.bind = alloc_workqueue("drm_svm_stub-bind", WQ_UNBOUND | WQ_MEM_RECLAIM, 0),
		.release = alloc_workqueue("drm_svm_stub-release", WQ_UNBOUND, 0),
		.garbage = alloc_workqueue("drm_svm_stub-garbage", WQ_UNBOUND, 0),
		.destroy = alloc_workqueue("drm_svm_stub-destroy", WQ_UNBOUND, 0),
	};

	if (stub_queues.gpu && stub_queues.bind && stub_queues.release &&
	    stub_queues.garbage && stub_queues.destroy)
		return 0;
	stub_queues_fini();

	return -ENOMEM;
}

static void stub_unregister_devices(void)
{
	unsigned int i;

	for (i = 0; i < devices; i++)
		platform_device_unregister(stub_pdevs[i]);
}

static int stub_register_devices(void)
{
	struct platform_device *pdev;
	unsigned int i;

	for (i = 0; i < devices; i++) {
		pdev = platform_device_register_simple(KBUILD_MODNAME, i, NULL, 0);
		if (IS_ERR(pdev)) {
			stub_unregister_devices();
			return PTR_ERR(pdev);
		}
		stub_pdevs[i] = pdev;
	}

	return 0;
}

static int __init stub_init(void)
{
	int err;

	if (!devices || devices > STUB_MAX_DEVICES)
		return -EINVAL;

	err = stub_queues_init();
	if (err)
		return err;
	err = platform_driver_register(&stub_platform_driver);
	if (err)
		goto err_queues;
	err = stub_register_devices();
	if (err)
		goto err_driver;

	return 0;

err_driver:
	platform_driver_unregister(&stub_platform_driver);
err_queues:
	stub_queues_fini();
	return err;
}

static void __exit stub_exit(void)
{
	stub_unregister_devices();
	platform_driver_unregister(&stub_platform_driver);
	stub_queues_fini();
	/* Fences look at their ops under RCU until they are freed. */
	synchronize_rcu();
}

module_init(stub_init);
module_exit(stub_exit);

MODULE_DESCRIPTION("drm_svm: a GPU in software, to try and to copy");
MODULE_LICENSE("Dual MIT/GPL");
MODULE_VERSION(DRM_SVM_VERSION);
