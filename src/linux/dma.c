// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * drm_svm/os.h: how a device reaches a page.
 */
#include <linux/dma-mapping.h>

#include <drm/drm_pagemap.h>

#include "drm_svm/os.h"
#include "internal.h"

static struct drm_pagemap_addr *to_addr(struct dsvm_dma_addr *addr)
{
	return (struct drm_pagemap_addr *)addr;
}

int dsvm_os_dma_map(struct dsvm_os_dev *dev, struct dsvm_os_page *page, dsvm_u32 order,
		    enum dsvm_dma_dir dir, struct dsvm_dma_addr *out)
{
	dma_addr_t addr = dma_map_page(to_dev(dev), to_page(page), 0, PAGE_SIZE << order,
				       (enum dma_data_direction)dir);

	if (dma_mapping_error(to_dev(dev), addr))
		return -EFAULT;

	*to_addr(out) = drm_pagemap_addr_encode(addr, DRM_INTERCONNECT_SYSTEM, order,
						(enum dma_data_direction)dir);
	return 0;
}

void dsvm_os_dma_unmap(struct dsvm_os_dev *dev, const struct dsvm_dma_addr *addr)
{
	dma_unmap_page(to_dev(dev), addr->addr, PAGE_SIZE << addr->order,
		       (enum dma_data_direction)addr->dir);
}

dsvm_bool dsvm_os_dma_needs_sync(struct dsvm_os_dev *dev, const struct dsvm_dma_addr *addr)
{
	return dma_need_sync(to_dev(dev), addr->addr);
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

void dsvm_os_provider_get(struct dsvm_os_provider *provider)
{
	drm_pagemap_get(to_provider(provider));
}

void dsvm_os_provider_put(struct dsvm_os_provider *provider)
{
	drm_pagemap_put(to_provider(provider));
}
