// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * See gpusvm_fixture.h: devices, memory and threads.
 */
#include <linux/anon_inodes.h>
#include <linux/dma-mapping.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/iommu.h>
#include <linux/kthread.h>
#include <linux/mman.h>
#include <linux/module.h>
#include <linux/pci.h>
#include <linux/platform_device.h>
#include <linux/sched/mm.h>
#include <linux/sched/task.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include <drm/drm_drv.h>
#include <drm/drm_gem.h>

#include "compat/mm_compat.h"
#include "compat/rmap_compat.h"
#include "gpusvm_fixture.h"

/* The address space of whoever runs the suite. Suites run one at a time. */
static struct mm_struct *suite_mm;

int sx_suite_init(struct kunit_suite *suite)
{
	/* With KUnit built in, and the module too, it would be nobody's. */
	if (current->mm && mmget_not_zero(current->mm))
		suite_mm = current->mm;
	return 0;
}

void sx_suite_exit(struct kunit_suite *suite)
{
	if (suite_mm)
		mmput(suite_mm);
	suite_mm = NULL;
}

/* Threads in the address space ------------------------------------------------------------- */

/* The owner of the address space cleans up after some cases. */
bool sx_enter(struct sx_fixture *f)
{
	if (current->mm == f->mm)
		return false;

	kthread_use_mm(f->mm);
	return true;
}

void sx_leave(struct sx_fixture *f, bool entered)
{
	if (entered)
		kthread_unuse_mm(f->mm);
}

/* Devices ------------------------------------------------------------------------------------ */

static const struct file_operations sx_fops = {
	.owner = THIS_MODULE,
};

static const struct drm_driver sx_driver = {
	.driver_features = DRIVER_GEM,
	.fops = &sx_fops,
	.name = "drm_svm_kunit",
	.desc = "a driver that exists in tests only",
	.major = 1,
};

static void remove_devices(struct sx_fixture *f)
{
	unsigned int i;

	for (i = 0; i < SX_DEVICES; i++) {
		if (f->drm[i])
			drm_dev_put(f->drm[i]);
		if (f->parents[i] && f->parents[i]->bus == &platform_bus_type)
			platform_device_unregister(to_platform_device(f->parents[i]));
	}
}

static int add_device(struct sx_fixture *f, unsigned int i, struct device *parent)
{
	struct platform_device *platform;
	struct drm_device *drm;
	int ret;

	if (!parent) {
		platform = platform_device_register_simple("drm_svm_kunit", i, NULL, 0);
		if (IS_ERR(platform))
			return PTR_ERR(platform);
		f->parents[i] = &platform->dev;
		ret = dma_coerce_mask_and_coherent(f->parents[i], DMA_BIT_MASK(64));
		if (ret)
			return ret;
	} else {
		f->parents[i] = parent;
	}

	drm = drm_dev_alloc(&sx_driver, f->parents[i]);
	if (IS_ERR(drm))
		return PTR_ERR(drm);
	f->drm[i] = drm;
	return 0;
}

/* Memory ------------------------------------------------------------------------------------- */

int sx_mmap(struct sx_fixture *f, unsigned long addr, unsigned long bytes, unsigned long prot,
	    unsigned long flags, struct sx_file *sf)
{
	bool entered = sx_enter(f);
	unsigned long at;

	at = vm_mmap(sf ? sf->file : NULL, addr, bytes, prot, flags | MAP_FIXED,
		     sf ? sf->offset : 0);
	sx_leave(f, entered);
	return IS_ERR_VALUE(at) ? (int)at : 0;
}

int sx_munmap(struct sx_fixture *f, unsigned long addr, unsigned long bytes)
{
	bool entered = sx_enter(f);
	int ret = vm_munmap(addr, bytes);

	sx_leave(f, entered);
	return ret;
}

void sx_map(struct kunit *test, unsigned long addr, unsigned long bytes)
{
	KUNIT_ASSERT_EQ(test, sx_mmap(test->priv, addr, bytes, PROT_READ | PROT_WRITE,
				      MAP_PRIVATE | MAP_ANONYMOUS, NULL), 0);
}

void sx_map_file(struct kunit *test, unsigned long addr, unsigned long bytes,
		 unsigned long prot, unsigned long flags, struct sx_file *sf)
{
	KUNIT_ASSERT_EQ(test, sx_mmap(test->priv, addr, bytes, prot, flags, sf), 0);
}

/*
 * Address space that nothing is mapped in, so that no VMA of the process becomes one with what
 * a case maps: that decides where the kernel uses huge pages.
 */
static int reserve(struct sx_fixture *f)
{
	bool entered = sx_enter(f);
	unsigned long at;

	at = vm_mmap(NULL, 0, 2 * SX_AREA, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, 0);
	sx_leave(f, entered);
	if (IS_ERR_VALUE(at))
		return (int)at;

	f->reserved = at;
	f->start = ALIGN(at, SX_AREA);
	return 0;
}

int sx_cpu_read(struct sx_fixture *f, unsigned long addr, u32 *value)
{
	bool entered = sx_enter(f);
	int ret = get_user(*value, (u32 __user *)addr);

	sx_leave(f, entered);
	return ret;
}

int sx_cpu_write(struct sx_fixture *f, unsigned long addr, u32 value)
{
	bool entered = sx_enter(f);
	int ret = put_user(value, (u32 __user *)addr);

	sx_leave(f, entered);
	return ret;
}

void sx_cpu_fill(struct kunit *test, unsigned long addr, unsigned long bytes, u32 value)
{
	unsigned long offset;

	for (offset = 0; offset < bytes; offset += PAGE_SIZE)
		KUNIT_ASSERT_EQ(test, sx_cpu_write(test->priv, addr + offset, value++), 0);
}

int sx_take_exclusive(struct sx_fixture *f, unsigned long addr)
{
	struct page *page;

	mmap_read_lock(f->mm);
	page = compat_make_device_exclusive(f->mm, addr, f);
	mmap_read_unlock(f->mm);
	if (IS_ERR(page))
		return PTR_ERR(page);
	unlock_page(page);
	put_page(page);
	return 0;
}

bool sx_cpu_has(struct sx_fixture *f, unsigned long addr)
{
	bool entered = sx_enter(f);
	struct page *page;
	bool has = get_user_pages_fast_only(addr, 1, 0, &page) == 1;

	if (has)
		put_page(page);
	sx_leave(f, entered);
	return has;
}

phys_addr_t sx_phys(struct kunit *test, unsigned long addr)
{
	struct sx_fixture *f = test->priv;
	bool entered = sx_enter(f);
	struct page *page = NULL;
	phys_addr_t phys = 0;

	if (get_user_pages_fast(addr, 1, 0, &page) == 1) {
		phys = page_to_phys(page);
		put_page(page);
	}
	sx_leave(f, entered);
	KUNIT_ASSERT_NE_MSG(test, phys, 0, "the CPU has no page at %#lx", addr - f->start);
	return phys;
}

/* Files -------------------------------------------------------------------------------------- */

static vm_fault_t sx_file_fault(struct vm_fault *vmf)
{
	struct sx_file *sf = vmf->vma->vm_private_data;
	unsigned long index = vmf->pgoff - (sf->offset >> PAGE_SHIFT);

	if (index >= SX_FILE_PAGES)
		return VM_FAULT_SIGBUS;

	if (READ_ONCE(sf->closed) == index) {
		complete(&sf->arrived);
		wait_for_completion(&sf->open);
	}

	vmf->page = sf->pages[index];
	get_page(vmf->page);
	return 0;
}

static const struct vm_operations_struct sx_file_vm_ops = {
	.fault = sx_file_fault,
};

static int sx_file_mmap(struct file *file, struct vm_area_struct *vma)
{
	struct sx_file *sf = file->private_data;

	compat_vm_flags_set(vma, sf->vm_flags);
	vma->vm_private_data = sf;
	vma->vm_ops = &sx_file_vm_ops;
	return 0;
}

/* No owner: the files of a case are closed before the module can go. */
static const struct file_operations sx_file_fops = {
	.mmap = sx_file_mmap,
};

static void sx_file_destroy(struct sx_file *sf)
{
	unsigned int i;

	list_del(&sf->entry);
	if (!IS_ERR_OR_NULL(sf->file))
		fput(sf->file);
	for (i = 0; i < SX_FILE_PAGES; i++)
		if (sf->pages[i])
			put_page(sf->pages[i]);
	kfree(sf);
}

struct sx_file *sx_file_create(struct kunit *test, unsigned long vm_flags)
{
	struct sx_file *sf = kzalloc(sizeof(*sf), GFP_KERNEL);
	struct sx_fixture *f = test->priv;
	unsigned int i;

	KUNIT_ASSERT_NOT_NULL(test, sf);
	list_add(&sf->entry, &f->files);
	sf->vm_flags = vm_flags;
	sf->closed = -1;
	init_completion(&sf->arrived);
	init_completion(&sf->open);
	for (i = 0; i < SX_FILE_PAGES; i++) {
		sf->pages[i] = alloc_page(GFP_KERNEL | __GFP_ZERO);
		KUNIT_ASSERT_NOT_NULL(test, sf->pages[i]);
	}

	sf->file = anon_inode_getfile("drm_svm_kunit", &sx_file_fops, sf, O_RDWR);
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, sf->file);
	/* Files are parts of one mapping, as the buffer objects of a device are. */
	sf->file->f_mapping = f->drm[0]->anon_inode->i_mapping;
	sf->offset = f->file_count++ * SX_FILE_PAGES * PAGE_SIZE;
	return sf;
}

void sx_file_zap(struct sx_file *sf, unsigned long first_page, unsigned long pages)
{
	unmap_mapping_range(sf->file->f_mapping, sf->offset + first_page * PAGE_SIZE,
			    pages * PAGE_SIZE, 1);
}

/* Setting up and taking down -------------------------------------------------------------------- */

static int init_devices(struct kunit *test, struct device *parents[SX_DEVICES])
{
	struct sx_fixture *f = kunit_kzalloc(test, sizeof(*f), GFP_KERNEL);
	unsigned int i;
	int ret;

	if (!f)
		return -ENOMEM;

	if (!suite_mm)
		kunit_skip(test, "no process runs this suite, whose memory could be mirrored");
	f->mm = suite_mm;
	INIT_LIST_HEAD(&f->mirrors);
	INIT_LIST_HEAD(&f->files);
	INIT_LIST_HEAD(&f->vrams);

	ret = reserve(f);
	for (i = 0; !ret && i < SX_DEVICES; i++)
		ret = add_device(f, i, parents ? parents[i] : NULL);
	if (ret) {
		remove_devices(f);
		if (f->reserved)
			sx_munmap(f, f->reserved, 2 * SX_AREA);
		return ret;
	}

	test->priv = f;
	return 0;
}

int sx_init(struct kunit *test)
{
	return init_devices(test, NULL);
}

void sx_exit(struct kunit *test)
{
	struct sx_fixture *f = test->priv;
	struct sx_mirror *m, *next_mirror;
	struct sx_file *sf, *next_file;
	unsigned int i;

	/* .init has failed or skipped, and said so. */
	if (!f)
		return;

	list_for_each_entry_safe(m, next_mirror, &f->mirrors, entry)
		sx_mirror_destroy(test, m);
	KUNIT_EXPECT_EQ(test, sx_munmap(f, f->reserved, 2 * SX_AREA), 0);
	list_for_each_entry_safe(sf, next_file, &f->files, entry)
		sx_file_destroy(sf);

	drm_svm_flush();
	for (i = 0; i < SX_DEVICES; i++)
		KUNIT_EXPECT_EQ_MSG(test, kref_read(&f->drm[i]->ref), 1,
				    "device %u has references that nobody owns", i);
	remove_devices(f);
}

/* A device behind an IOMMU, QEMU's: see its docs/specs/pci-ids. */
#define TESTDEV_VENDOR 0x1b36
#define TESTDEV_DEVICE 0x0005

static struct pci_dev *testdev;

int sx_init_iommu(struct kunit *test)
{
	struct device *parents[SX_DEVICES] = {};
	struct iommu_domain *domain;
	int ret;

	testdev = pci_get_device(TESTDEV_VENDOR, TESTDEV_DEVICE, NULL);
	if (!testdev)
		kunit_skip(test, "this machine has no device for it");

	domain = iommu_get_domain_for_dev(&testdev->dev);
	if (!domain || !(domain->type & __IOMMU_DOMAIN_DMA_API)) {
		pci_dev_put(testdev);
		testdev = NULL;
		kunit_skip(test, "no IOMMU translates for the device");
	}

	ret = dma_set_mask_and_coherent(&testdev->dev, DMA_BIT_MASK(64));
	if (ret)
		return ret;
	parents[0] = &testdev->dev;
	return init_devices(test, parents);
}

void sx_exit_iommu(struct kunit *test)
{
	sx_exit(test);
	pci_dev_put(testdev);
	testdev = NULL;
}

/* Threads ----------------------------------------------------------------------------------------- */

static int sx_fault_main(void *data)
{
	struct sx_fault_thread *t = data;

	t->ret = sx_fault(t->m, t->addr, t->access);
	complete_all(&t->done);
	return 0;
}

void sx_fault_begin(struct kunit *test, struct sx_fault_thread *t, struct sx_mirror *m,
		    unsigned long addr, enum drm_svm_access access)
{
	*t = (struct sx_fault_thread){
		.m = m,
		.addr = addr,
		.access = access,
	};
	init_completion(&t->done);
	t->task = kthread_create(sx_fault_main, t, "drm_svm_kunit");
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, t->task);
	get_task_struct(t->task);
	wake_up_process(t->task);
}

int sx_fault_end(struct sx_fault_thread *t)
{
	wait_for_completion(&t->done);
	/* Waits until it has left this module. */
	kthread_stop(t->task);
	put_task_struct(t->task);
	return t->ret;
}
