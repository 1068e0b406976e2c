// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * The device, its file, and the counting of allocations.
 */
#include <linux/delay.h>
#include <linux/dma-mapping.h>
#include <linux/fs.h>
#include <linux/miscdevice.h>
#include <linux/module.h>
#include <linux/platform_device.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include <drm/drm_drv.h>
#include <drm/drm_gem.h>

#include <trace/events/kmem.h>

#include "plain.h"

struct plain_device plain;

/* Counting ------------------------------------------------------------------------------- */

/* One at a time counts, both devices' files together: only what that thread allocates. */
struct counting {
	struct task_struct *task;
	u64 calls;
	u64 bytes;
};

static void count(struct counting *counting, size_t bytes)
{
	if (current != counting->task)
		return;
	counting->calls++;
	counting->bytes += bytes;
}

static void on_kmalloc(void *data, unsigned long site, const void *ptr, size_t requested,
		       size_t allocated, gfp_t flags, int node)
{
	count(data, allocated);
}

static void on_cache_alloc(void *data, unsigned long site, const void *ptr,
			   struct kmem_cache *cache, gfp_t flags, int node)
{
	count(data, kmem_cache_size(cache));
}

static int begin_counting(struct counting *counting)
{
	int ret;

	counting->task = current;
	ret = register_trace_kmalloc(on_kmalloc, counting);
	if (ret)
		return ret;
	ret = register_trace_kmem_cache_alloc(on_cache_alloc, counting);
	if (ret)
		unregister_trace_kmalloc(on_kmalloc, counting);
	return ret;
}

static void end_counting(struct counting *counting)
{
	unregister_trace_kmalloc(on_kmalloc, counting);
	unregister_trace_kmem_cache_alloc(on_cache_alloc, counting);
	tracepoint_synchronize_unregister();
}

/* The file ------------------------------------------------------------------------------- */

static int plain_open(struct inode *inode, struct file *file)
{
	struct plain_file *pf = kzalloc(sizeof(*pf), GFP_KERNEL);

	if (!pf)
		return -ENOMEM;
	mutex_init(&pf->lock);
	file->private_data = pf;
	return 0;
}

static void drop_vm(struct plain_file *pf)
{
	if (pf->vm)
		plain_vm_destroy(pf->vm);
	pf->vm = NULL;
}

static void drop_space(struct plain_file *pf)
{
	if (pf->space)
		plain_va_destroy(pf->space);
	pf->space = NULL;
}

static int plain_release(struct inode *inode, struct file *file)
{
	struct plain_file *pf = file->private_data;

	drop_vm(pf);
	drop_space(pf);
	mutex_destroy(&pf->lock);
	kfree(pf);
	return 0;
}

static int do_work(struct plain_file *pf, unsigned int cmd, struct plain_work *work)
{
	struct plain_vram *vram = &plain.vram;
	u64 began;
	int ret;

	switch (cmd) {
	case PLAIN_FAULT:
		return pf->vm ? plain_fault(pf->vm, work) : -ENODATA;
	case PLAIN_PREFETCH:
		return pf->vm ? plain_prefetch(pf->vm, work) : -ENODATA;
	case PLAIN_EVICT:
		began = plain_begin();
		ret = plain_vram_evict(vram, &work->done);
		work->ns = plain_end(began);
		work->error = -ret;
		return 0;
	}
	return pf->space ? plain_va_work(pf->space, cmd, work) : -ENODATA;
}

static int ioctl_work(struct plain_file *pf, unsigned int cmd, struct plain_work *work)
{
	struct plain_vram *vram = &plain.vram;
	u64 copy_ns = atomic64_read(&vram->copy_ns);
	u64 copied = atomic64_read(&vram->copy_pages);
	struct counting counting = {};
	int ret = 0;

	work->error = 0;
	work->done = 0;
	if (work->flags & PLAIN_COUNT)
		ret = begin_counting(&counting);
	if (ret)
		return ret;
	ret = do_work(pf, cmd, work);
	if (work->flags & PLAIN_COUNT)
		end_counting(&counting);
	work->allocs = counting.calls;
	work->alloc_bytes = counting.bytes;
	work->copy_ns = atomic64_read(&vram->copy_ns) - copy_ns;
	work->copied = atomic64_read(&vram->copy_pages) - copied;
	return ret;
}

static int ioctl_vm_create(struct plain_file *pf, const struct plain_vm_create *create)
{
	struct plain_vm *vm = plain_vm_create(create);

	if (IS_ERR(vm))
		return PTR_ERR(vm);
	drop_vm(pf);
	pf->vm = vm;
	return 0;
}

static int ioctl_va_create(struct plain_file *pf, const struct plain_va *create)
{
	struct plain_va_space *space = plain_va_create(create);

	if (IS_ERR(space))
		return PTR_ERR(space);
	drop_space(pf);
	pf->space = space;
	return 0;
}

static void ioctl_copies(struct plain_copies *copies)
{
	struct plain_vram *vram = &plain.vram;

	copies->ns = atomic64_read(&vram->copy_ns);
	copies->pages = atomic64_read(&vram->copy_pages);
	copies->calls = atomic64_read(&vram->copy_calls);
}

union plain_arg {
	struct plain_vm_create vm_create;
	struct plain_work work;
	struct plain_look look;
	struct plain_copies copies;
	struct plain_va va;
	struct plain_run run;
	__u64 addr;
	__u64 npages;
};

static int dispatch(struct plain_file *pf, unsigned int cmd, union plain_arg *arg)
{
	switch (cmd) {
	case PLAIN_VM_CREATE:
		return ioctl_vm_create(pf, &arg->vm_create);
	case PLAIN_VM_DESTROY:
		drop_vm(pf);
		return 0;
	case PLAIN_LOOK:
		return pf->vm ? plain_look(pf->vm, &arg->look) : -ENODATA;
	case PLAIN_COPIES:
		ioctl_copies(&arg->copies);
		return 0;
	case PLAIN_PIN:
		return pf->vm ? plain_pin(pf->vm, arg->addr) : -ENODATA;
	case PLAIN_RUN:
		return pf->vm ? plain_run(pf->vm, &arg->run) : -ENODATA;
	case PLAIN_LIMIT:
		return plain_vram_limit(&plain.vram, arg->npages);
	case PLAIN_VA_CREATE:
		return ioctl_va_create(pf, &arg->va);
	case PLAIN_VA_DESTROY:
		drop_space(pf);
		return 0;
	}
	if (_IOC_SIZE(cmd) == sizeof(arg->work) && _IOC_TYPE(cmd) == 'P')
		return ioctl_work(pf, cmd, &arg->work);
	return -ENOTTY;
}

static bool is_concurrent(unsigned int cmd)
{
	return cmd == PLAIN_FAULT || cmd == PLAIN_PREFETCH;
}

static long plain_ioctl(struct file *file, unsigned int cmd, unsigned long user)
{
	struct plain_file *pf = file->private_data;
	union plain_arg arg = {};
	int ret;

	if (_IOC_SIZE(cmd) > sizeof(arg))
		return -ENOTTY;
	if ((_IOC_DIR(cmd) & _IOC_WRITE) &&
	    copy_from_user(&arg, (void __user *)user, _IOC_SIZE(cmd)))
		return -EFAULT;

	/* The VM has a lock of its own, and nobody destroys it meanwhile: compare.c does not. */
	if (is_concurrent(cmd)) {
		ret = dispatch(pf, cmd, &arg);
	} else {
		mutex_lock(&pf->lock);
		ret = dispatch(pf, cmd, &arg);
		mutex_unlock(&pf->lock);
	}

	if (!ret && (_IOC_DIR(cmd) & _IOC_READ) &&
	    copy_to_user((void __user *)user, &arg, _IOC_SIZE(cmd)))
		return -EFAULT;
	return ret;
}

static const struct file_operations plain_fops = {
	.owner = THIS_MODULE,
	.open = plain_open,
	.release = plain_release,
	.unlocked_ioctl = plain_ioctl,
};

static struct miscdevice plain_misc = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = KBUILD_MODNAME,
	.fops = &plain_fops,
};

/* The device ----------------------------------------------------------------------------- */

/* No owner: the provider of pages would keep the module from going for as long as it is there. */
static const struct file_operations drm_fops = {};

static const struct drm_driver drm_driver = {
	.driver_features = DRIVER_GEM,
	.fops = &drm_fops,
	.name = KBUILD_MODNAME,
	.desc = "a driver that compares libraries",
	.major = 1,
};

static unsigned int vram_mib = 64;
module_param(vram_mib, uint, 0444);
MODULE_PARM_DESC(vram_mib, "VRAM, in MiB");

static struct platform_device *platform;

static int __init plain_init(void)
{
	int ret;

	platform = platform_device_register_simple(KBUILD_MODNAME, PLATFORM_DEVID_NONE, NULL, 0);
	if (IS_ERR(platform))
		return PTR_ERR(platform);
	ret = dma_coerce_mask_and_coherent(&platform->dev, DMA_BIT_MASK(64));
	if (ret)
		goto err_platform;
	plain.drm = drm_dev_alloc(&drm_driver, &platform->dev);
	if (IS_ERR(plain.drm)) {
		ret = PTR_ERR(plain.drm);
		goto err_platform;
	}
	ret = plain_vram_init(&plain.vram, plain.drm, (unsigned long)vram_mib << 20);
	if (ret)
		goto err_drm;
	ret = misc_register(&plain_misc);
	if (!ret)
		return 0;

	plain_vram_fini(&plain.vram);
err_drm:
	drm_dev_put(plain.drm);
err_platform:
	platform_device_unregister(platform);
	return ret;
}
module_init(plain_init);

static void __exit plain_exit(void)
{
	misc_deregister(&plain_misc);
	plain_vram_fini(&plain.vram);
	/* The library lets go of the device some time after it has let go of its memory. */
	while (kref_read(&plain.drm->ref) > 1)
		usleep_range(1000, 2000);
	drm_dev_put(plain.drm);
	platform_device_unregister(platform);
}
module_exit(plain_exit);

MODULE_DESCRIPTION("A driver over mainline's GPU SVM API, to compare what is below it");
MODULE_LICENSE("Dual MIT/GPL");
