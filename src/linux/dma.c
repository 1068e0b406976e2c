// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * drm_svm/os.h: how a device reaches a page.
 */
#include <linux/dma-map-ops.h>
#include <linux/hmm.h>
#include <linux/migrate.h>
#include <linux/mm.h>
#include <linux/pfn.h>

#include <drm/drm_pagemap.h>

#include "compat/dma_mapping_compat.h"
#include "drm_svm/os.h"
#include "internal.h"

int dsvm_os_dma_map(struct dsvm_os_dev *dev, struct dsvm_os_page *page, dsvm_u32 order,
		    enum dsvm_dma_dir dir, struct dsvm_dma_addr *out)
{
	dma_addr_t addr = compat_dma_map_phys(to_dev(dev), page_to_phys(to_page(page)),
					      PAGE_SIZE << order, (enum dma_data_direction)dir);

	if (dma_mapping_error(to_dev(dev), addr))
		return -EFAULT;

	*to_addr(out) = drm_pagemap_addr_encode(addr, DRM_INTERCONNECT_SYSTEM, order,
						(enum dma_data_direction)dir);
	return 0;
}

/* What of the two kinds of entries is asked for is known when this is compiled. */
static __always_inline dsvm_usize
map_entries(struct dsvm_os_dev *dev, const dsvm_usize *entries, dsvm_usize count,
	    unsigned long (*pfn_of)(unsigned long), enum dsvm_dma_dir dir,
	    struct dsvm_dma_addr *out)
{
	struct drm_pagemap_addr addr =
		drm_pagemap_addr_encode(0, DRM_INTERCONNECT_SYSTEM, 0,
					(enum dma_data_direction)dir);
	dsvm_usize i;

	for (i = 0; i < count; i++) {
		addr.addr = compat_dma_map_phys(to_dev(dev), PFN_PHYS(pfn_of(entries[i])),
						PAGE_SIZE, (enum dma_data_direction)dir);
		if (dma_mapping_error(to_dev(dev), addr.addr))
			break;
		*to_addr(&out[i]) = addr;
	}
	return i;
}

static unsigned long pfn_of_hmm(unsigned long entry)
{
	return entry & ~HMM_PFN_FLAGS;
}

static unsigned long pfn_of_migrate(unsigned long entry)
{
	return entry >> MIGRATE_PFN_SHIFT;
}

dsvm_usize dsvm_os_dma_map_hmm(struct dsvm_os_dev *dev, const dsvm_usize *entries,
			       dsvm_usize count, enum dsvm_dma_dir dir, struct dsvm_dma_addr *out)
{
	return map_entries(dev, entries, count, pfn_of_hmm, dir, out);
}

dsvm_usize dsvm_os_dma_map_migrate(struct dsvm_os_dev *dev, const dsvm_usize *entries,
				   dsvm_usize count, enum dsvm_dma_dir dir,
				   struct dsvm_dma_addr *out)
{
	return map_entries(dev, entries, count, pfn_of_migrate, dir, out);
}

void dsvm_os_dma_unmap(struct dsvm_os_dev *dev, const struct dsvm_dma_addr *addr)
{
	dma_unmap_page(to_dev(dev), addr->addr, PAGE_SIZE << addr->order,
		       (enum dma_data_direction)addr->dir);
}

int dsvm_os_dma_map_run(struct dsvm_os_dev *dev, struct dsvm_os_page *page, dsvm_usize npages,
			enum dsvm_dma_dir dir, dsvm_u64 *addr)
{
	*addr = compat_dma_map_phys(to_dev(dev), page_to_phys(to_page(page)),
				    npages << PAGE_SHIFT, (enum dma_data_direction)dir);
	return dma_mapping_error(to_dev(dev), *addr) ? -EFAULT : 0;
}

void dsvm_os_dma_unmap_run(struct dsvm_os_dev *dev, dsvm_u64 addr, dsvm_usize npages,
			   enum dsvm_dma_dir dir)
{
	dma_unmap_page(to_dev(dev), addr, npages << PAGE_SHIFT, (enum dma_data_direction)dir);
}

/*
 * Whether an IOMMU translates for the device, page by page. Only such devices have a
 * boundary for merging, the IOMMU's page size less one; if that is larger than the
 * CPU's, a page alone may need a copy beside it.
 */
static bool is_translated(struct device *dev)
{
	unsigned long boundary = dma_get_merge_boundary(dev);

	return boundary && boundary < PAGE_SIZE;
}

dsvm_bool dsvm_os_dma_needs_sync(struct dsvm_os_dev *dev, const struct dsvm_dma_addr *addr)
{
	/*
	 * dma_need_sync() says yes for every address behind an IOMMU, always before 6.10,
	 * and later once anything of the device has been copied. But whole pages never are.
	 */
	if (is_translated(to_dev(dev)))
		return !dev_is_dma_coherent(to_dev(dev));
	return dma_need_sync(to_dev(dev), addr->addr);
}

dsvm_bool dsvm_os_dma_needs_unmap(struct dsvm_os_dev *dev)
{
	/* Without it, dma_need_unmap() forgets the IOMMU. */
	if (!IS_ENABLED(CONFIG_DMA_NEED_SYNC) && is_translated(to_dev(dev)))
		return true;
	return dma_need_unmap(to_dev(dev));
}

static struct dma_iova_state *to_iova(struct dsvm_iova *iova)
{
	return (struct dma_iova_state *)iova;
}

dsvm_bool dsvm_os_iova_alloc(struct dsvm_os_dev *dev, struct dsvm_os_page *page, dsvm_usize bytes,
			     struct dsvm_iova *out)
{
	*out = (struct dsvm_iova) {};
	/* What is not coherent is refused when it is mapped run by run. */
	return is_translated(to_dev(dev)) && dev_is_dma_coherent(to_dev(dev)) &&
	       dma_iova_try_alloc(to_dev(dev), to_iova(out), page_to_phys(to_page(page)), bytes);
}

int dsvm_os_iova_link(struct dsvm_os_dev *dev, struct dsvm_iova *iova, struct dsvm_os_page *page,
		      dsvm_u32 order, dsvm_usize offset, enum dsvm_dma_dir dir)
{
	int ret = dma_iova_link(to_dev(dev), to_iova(iova), page_to_phys(to_page(page)), offset,
				PAGE_SIZE << order, (enum dma_data_direction)dir, 0);

	/* An IOMMU driver fails as it likes. */
	return !ret || ret == -ENOMEM ? ret : -EFAULT;
}

int dsvm_os_iova_sync(struct dsvm_os_dev *dev, struct dsvm_iova *iova, dsvm_usize bytes)
{
	return dma_iova_sync(to_dev(dev), to_iova(iova), 0, bytes) ? -EFAULT : 0;
}

void dsvm_os_iova_unlink(struct dsvm_os_dev *dev, struct dsvm_iova *iova, dsvm_usize offset,
			 dsvm_usize bytes, enum dsvm_dma_dir dir)
{
	dma_iova_unlink(to_dev(dev), to_iova(iova), offset, bytes, (enum dma_data_direction)dir,
			0);
}

void dsvm_os_iova_free(struct dsvm_os_dev *dev, struct dsvm_iova *iova)
{
	dma_iova_free(to_dev(dev), to_iova(iova));
}

int dsvm_os_provider_map(struct dsvm_os_provider *provider, struct dsvm_os_dev *dev,
			 struct dsvm_os_page *page, dsvm_u32 order, enum dsvm_dma_dir dir,
			 struct dsvm_dma_addr *out)
{
	struct drm_pagemap *dpagemap = to_provider(provider);
	struct drm_pagemap_addr addr =
		dpagemap->ops->device_map(dpagemap, to_dev(dev), to_page(page), order,
					  (enum dma_data_direction)dir);

	if (addr.addr == DMA_MAPPING_ERROR)
		return -EFAULT;

	*to_addr(out) = addr;
	return 0;
}

void dsvm_os_provider_unmap(struct dsvm_os_provider *provider, struct dsvm_os_dev *dev,
			    const struct dsvm_dma_addr *addr)
{
	struct drm_pagemap *dpagemap = to_provider(provider);

	if (dpagemap->ops->device_unmap)
		dpagemap->ops->device_unmap(dpagemap, to_dev(dev),
					    (const struct drm_pagemap_addr *)addr);
}
