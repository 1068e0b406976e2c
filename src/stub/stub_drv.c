// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * The DRM device. There is one, made when the module is loaded, on a platform
 * device that stands for the hardware. It goes when the module does, and so
 * never while a file is open; a device that can be unplugged has to bracket its
 * ioctls with drm_dev_enter(), and to evict its memory when it goes.
 */
#include <linux/dma-mapping.h>
#include <linux/module.h>
#include <linux/platform_device.h>
#include <linux/seq_file.h>
#include <linux/slab.h>

#include <drm/drm_debugfs.h>
#include <drm/drm_gem.h>
#include <drm/drm_ioctl.h>
#include <drm/drm_svm.h>
#include <uapi/drm/drm_svm_stub.h>

#include "compat/drm_drv_compat.h"
#include "stub_drv.h"
#include "stub_vm.h"

static unsigned int vram_mib = 256;
module_param(vram_mib, uint, 0444);
MODULE_PARM_DESC(vram_mib,
		 "Size of VRAM in MiB, rounded up to 2; taken from RAM. 0: none. Where it is not to be had the device works without. (default: 256)");

static struct platform_device *stub_pdev;
static struct stub_device *stub_dev;

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
	drm_svm_flush();
}

#ifdef CONFIG_DEBUG_FS
static int stub_debugfs_vram(struct seq_file *m, void *unused)
{
	struct drm_info_node *node = m->private;
	struct stub_device *stub = to_stub_device(node->minor->dev);

	stub_vram_show(&stub->vram, m);
	seq_printf(m, "pages in    %12lld\n",
		   (s64)atomic64_read(&stub->copy.pages_to_vram));
	seq_printf(m, "pages out   %12lld\n",
		   (s64)atomic64_read(&stub->copy.pages_to_ram));

	return 0;
}

static int stub_debugfs_gpuvas(struct seq_file *m, void *unused)
{
	struct drm_info_node *node = m->private;

	stub_vm_show_all(to_stub_device(node->minor->dev), m);

	return 0;
}

static const struct drm_info_list stub_debugfs_files[] = {
	{ .name = "vram", .show = stub_debugfs_vram },
	{ .name = "gpuvas", .show = stub_debugfs_gpuvas },
};

static void stub_debugfs_init(struct drm_minor *minor)
{
	drm_debugfs_create_files(stub_debugfs_files, ARRAY_SIZE(stub_debugfs_files),
				 minor->debugfs_root, minor);
}
#endif

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
	.name = "drm_svm_stub",
	.desc = "software GPU with shared virtual memory",
	DRM_DRIVER_DATE_COMPAT("20260101")
	.major = 1,
	.minor = 0,
};

static void stub_wq_fini(void *wq)
{
	destroy_workqueue(wq);
}

static int stub_wq_init(struct stub_device *stub, struct workqueue_struct **wq,
			const char *name, unsigned int flags)
{
	*wq = alloc_workqueue("drm_svm_stub-%s", WQ_UNBOUND | flags, 0, name);
	if (!*wq)
		return -ENOMEM;

	return devm_add_action_or_reset(stub->drm.dev, stub_wq_fini, *wq);
}

/*
 * They go in reverse. Programs of killed callers may still be on their way out;
 * until then their VMs collect garbage. The last of each VM is a program, or what
 * a change of its page table has left to be released.
 */
static int stub_gpu_init(struct stub_device *stub)
{
	int err = stub_wq_init(stub, &stub->garbage_wq, "garbage", 0);

	err = err ?: stub_wq_init(stub, &stub->release_wq, "release", 0);
	err = err ?: stub_wq_init(stub, &stub->bind_wq, "bind", WQ_MEM_RECLAIM);

	return err ?: stub_wq_init(stub, &stub->gpu_wq, "gpu", 0);
}

static int stub_probe(struct device *dev)
{
	struct stub_device *stub;
	int err;

	/* All of memory is in reach, or DMA would go through bounce buffers. */
	err = dma_coerce_mask_and_coherent(dev, DMA_BIT_MASK(64));
	if (err)
		return err;

	stub = devm_drm_dev_alloc(dev, &stub_driver, struct stub_device, drm);
	if (IS_ERR(stub))
		return PTR_ERR(stub);

	spin_lock_init(&stub->vms.lock);
	INIT_LIST_HEAD(&stub->vms.list);

	/* Taken away in reverse: programs end first, and then what they use. */
	err = stub_copy_init(stub);
	if (!err)
		err = stub_vram_init(stub, (u64)vram_mib << 20);
	if (!err)
		err = stub_gpu_init(stub);
	if (!err)
		err = drm_dev_register(&stub->drm, 0);
	if (!err)
		stub_dev = stub;

	return err;
}

static int __init stub_init(void)
{
	int err;

	stub_pdev = platform_device_register_simple("drm_svm_stub", -1, NULL, 0);
	if (IS_ERR(stub_pdev))
		return PTR_ERR(stub_pdev);

	/* No driver is bound to it, so nobody else would undo devm_*() in time. */
	if (!devres_open_group(&stub_pdev->dev, NULL, GFP_KERNEL)) {
		err = -ENOMEM;
		goto err_unregister;
	}

	err = stub_probe(&stub_pdev->dev);
	if (err)
		goto err_release;

	return 0;

err_release:
	devres_release_group(&stub_pdev->dev, NULL);
err_unregister:
	platform_device_unregister(stub_pdev);
	return err;
}

static void __exit stub_exit(void)
{
	drm_dev_unplug(&stub_dev->drm);
	devres_release_group(&stub_pdev->dev, NULL);
	platform_device_unregister(stub_pdev);
}

module_init(stub_init);
module_exit(stub_exit);

MODULE_DESCRIPTION("drm_svm: a GPU in software, to try and to copy");
MODULE_LICENSE("Dual MIT/GPL");
MODULE_VERSION(DRM_SVM_VERSION);
