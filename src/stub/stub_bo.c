// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Buffer objects: GEM objects with pages of RAM, which the CPU can map, or with
 * pages of VRAM, which it cannot.
 */
#include <linux/dma-mapping.h>
#include <linux/mm.h>
#include <linux/pagemap.h>
#include <linux/slab.h>

#include <drm/drm_device.h>
#include <drm/drm_drv.h>
#include <drm/drm_gem.h>
#include <drm/drm_vma_manager.h>

#include "compat/mm_compat.h"
#include "stub_bo.h"
#include "stub_drv.h"

/* What one array of addresses can have: kvmalloc() warns about more than 2 GiB. */
#define STUB_BO_MAX_PAGES (INT_MAX / sizeof(u64))

/* --- in RAM ---------------------------------------------------------------- */

static void stub_bo_ram_free(struct drm_gem_object *obj)
{
	struct stub_bo *bo = to_stub_bo(obj);
	unsigned long i;

	for (i = 0; i < bo->num_mapped; i++)
		dma_unmap_page(obj->dev->dev, bo->addr[i], PAGE_SIZE, DMA_BIDIRECTIONAL);
	kvfree(bo->addr);
	if (bo->pages)
		drm_gem_put_pages(obj, bo->pages, true, true);

	drm_gem_object_release(obj);
	kfree(bo);
}

static int stub_bo_mmap(struct drm_gem_object *obj, struct vm_area_struct *vma)
{
	/* What is written to a private mapping would go to pages of its own. */
	if ((vma->vm_flags & (VM_SHARED | VM_MAYWRITE)) == VM_MAYWRITE)
		return -EINVAL;

	/* The object owns the pages, and its references say how long they stay. */
	compat_vm_flags_set(vma, VM_PFNMAP | VM_DONTEXPAND | VM_DONTDUMP);

	return 0;
}

/* Also after the device has gone, which takes mappings away: the RAM is still there. */
static vm_fault_t stub_bo_fault(struct vm_fault *vmf)
{
	struct drm_gem_object *obj = vmf->vma->vm_private_data;
	struct stub_bo *bo = to_stub_bo(obj);
	/* From the offset in the device's file that stands for the object. */
	unsigned long index = vmf->pgoff - drm_vma_node_start(&obj->vma_node);

	if (index >= bo->num_mapped)
		return VM_FAULT_SIGBUS;

	return vmf_insert_pfn(vmf->vma, vmf->address, page_to_pfn(bo->pages[index]));
}

static const struct vm_operations_struct stub_bo_vm_ops = {
	.fault = stub_bo_fault,
	.open = drm_gem_vm_open,
	.close = drm_gem_vm_close,
};

static const struct drm_gem_object_funcs stub_bo_ram_funcs = {
	.free = stub_bo_ram_free,
	.mmap = stub_bo_mmap,
	.vm_ops = &stub_bo_vm_ops,
};

/*
 * Maps the pages for the device, each by itself. Behind an IOMMU a table of
 * dma_map_sgtable() would be shorter; but the page table wants one address for
 * each page, wherever in the object it is.
 */
static int stub_bo_dma_map(struct stub_bo *bo, unsigned long npages)
{
	struct device *dev = bo->base.dev->dev;
	dma_addr_t addr;

	bo->addr = kvmalloc_array(npages, sizeof(*bo->addr), GFP_KERNEL_ACCOUNT | __GFP_NOWARN);
	if (!bo->addr)
		return -ENOMEM;

	for (; bo->num_mapped < npages; bo->num_mapped++) {
		addr = dma_map_page(dev, bo->pages[bo->num_mapped], 0, PAGE_SIZE,
				    DMA_BIDIRECTIONAL);
		if (dma_mapping_error(dev, addr))
			return -ENOMEM;
		bo->addr[bo->num_mapped] = addr;

		/* A copy is not shared memory: CPU and GPU use it at the same time. */
		if (dma_need_sync(dev, addr)) {
			bo->num_mapped++;
			return -EOPNOTSUPP;
		}
	}

	return 0;
}

/* Frees @bo if it fails. */
static int stub_bo_ram_init(struct stub_device *stub, struct stub_bo *bo, u64 size)
{
	unsigned long npages = size >> PAGE_SHIFT;
	struct page **pages;
	int err;

	bo->base.funcs = &stub_bo_ram_funcs;
	err = drm_gem_object_init(&stub->drm, &bo->base, size);
	if (err) {
		drm_gem_object_release(&bo->base);
		kfree(bo);
		/* Of shmem that may be -ENOSPC, which here is about VRAM. */
		return -ENOMEM;
	}

	/* From here on the last put frees whatever there is. */
	err = drm_gem_create_mmap_offset(&bo->base);
	if (err) {
		/* Of the offsets that may be -ENOSPC. */
		err = -ENOMEM;
		goto err_put;
	}

	/* More than there is must be an error, and no reason to kill a process. */
	mapping_set_gfp_mask(bo->base.filp->f_mapping,
			     GFP_HIGHUSER | __GFP_RETRY_MAYFAIL | __GFP_NOWARN);
	pages = drm_gem_get_pages(&bo->base);
	if (IS_ERR(pages)) {
		err = PTR_ERR(pages);
		goto err_put;
	}
	bo->pages = pages;

	err = stub_bo_dma_map(bo, npages);
	if (err)
		goto err_put;

	return 0;

err_put:
	drm_gem_object_put(&bo->base);
	return err;
}

/* --- in VRAM --------------------------------------------------------------- */

static void stub_bo_vram_free(struct drm_gem_object *obj)
{
	struct stub_bo *bo = to_stub_bo(obj);

	stub_vram_release(&to_stub_device(obj->dev)->vram, &bo->block);
	kvfree(bo->addr);
	drm_gem_object_release(obj);
	kfree(bo);
}

static const struct drm_gem_object_funcs stub_bo_vram_funcs = {
	.free = stub_bo_vram_free,
};

static int stub_bo_take_vram(struct stub_vram *vram, struct stub_bo *bo, unsigned long npages)
{
	int err;

	bo->addr = kvmalloc_array(npages, sizeof(*bo->addr), GFP_KERNEL_ACCOUNT | __GFP_NOWARN);
	if (!bo->addr)
		return -ENOMEM;
	bo->block.num_pages = npages;
	bo->block.offset = bo->addr;

	err = stub_vram_take(vram, &bo->block);
	/* What has been freed may still be on its way back. */
	if (err == -ENOSPC && stub_vram_num_free(vram) >= npages)
		err = stub_vram_take(vram, &bo->block);
	if (err)
		kvfree(bo->addr);

	return err;
}

/* Frees @bo if it fails. */
static int stub_bo_vram_init(struct stub_device *stub, struct stub_bo *bo, u64 size)
{
	struct stub_vram *vram = &stub->vram;
	unsigned long i, npages = size >> PAGE_SHIFT;
	int err;

	err = npages <= vram->num_pages ? stub_bo_take_vram(vram, bo, npages) : -ENOSPC;
	if (err) {
		kfree(bo);
		return err;
	}

	/* Somebody else's data may be in there. */
	for (i = 0; i < npages; i++) {
		memset(stub_vram_mem(vram, bo->addr[i]), 0, PAGE_SIZE);
		cond_resched();
	}

	bo->base.funcs = &stub_bo_vram_funcs;
	drm_gem_private_object_init(&stub->drm, &bo->base, size);

	return 0;
}

/**
 * stub_bo_create() - Makes a buffer object
 * @stub: the device
 * @size: bytes, a multiple of the page size that is not zero
 * @vram: in VRAM, which the device has
 *
 * It is all zero.
 *
 * Context: may sleep.
 * Return: the object with one reference, or an ERR_PTR(): -ENOSPC: not so much
 * VRAM is free; -ENOMEM; -EOPNOTSUPP: DMA does not reach the memory itself;
 * -ENODEV: the device has gone.
 */
struct stub_bo *stub_bo_create(struct stub_device *stub, u64 size, bool vram)
{
	struct stub_bo *bo;
	int err, idx;

	/* Before anything is made for it that grows with the size. */
	if (!vram && size >> PAGE_SHIFT > min(totalram_pages(), STUB_BO_MAX_PAGES))
		return ERR_PTR(-ENOMEM);

	bo = kzalloc(sizeof(*bo), GFP_KERNEL_ACCOUNT);
	if (!bo)
		return ERR_PTR(-ENOMEM);

	if (!drm_dev_enter(&stub->drm, &idx)) {
		kfree(bo);
		return ERR_PTR(-ENODEV);
	}
	err = vram ? stub_bo_vram_init(stub, bo, size) : stub_bo_ram_init(stub, bo, size);
	drm_dev_exit(idx);

	return err ? ERR_PTR(err) : bo;
}
