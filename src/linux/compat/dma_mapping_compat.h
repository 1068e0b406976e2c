/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * linux/dma-mapping.h, as it differs between kernels.
 */
#ifndef DSVM_DMA_MAPPING_COMPAT_H
#define DSVM_DMA_MAPPING_COMPAT_H

#include <linux/dma-mapping.h>
#include <linux/mm.h>

/*
 * 2026-11: 6.16 added dma_iova_*(). Before, nobody gets a window of device
 * addresses, and so nobody has one to fill.
 */
#ifndef HAVE_DMA_IOVA
struct dma_iova_state {
	dma_addr_t addr;
	u64 __size;
};

static inline bool dma_iova_try_alloc(struct device *dev, struct dma_iova_state *state,
				      phys_addr_t phys, size_t size)
{
	return false;
}

static inline int dma_iova_link(struct device *dev, struct dma_iova_state *state,
				phys_addr_t phys, size_t offset, size_t size,
				enum dma_data_direction dir, unsigned long attrs)
{
	return -EOPNOTSUPP;
}

static inline int dma_iova_sync(struct device *dev, struct dma_iova_state *state,
				size_t offset, size_t size)
{
	return -EOPNOTSUPP;
}

static inline void dma_iova_unlink(struct device *dev, struct dma_iova_state *state,
				   size_t offset, size_t size, enum dma_data_direction dir,
				   unsigned long attrs)
{
}

static inline void dma_iova_free(struct device *dev, struct dma_iova_state *state)
{
}
#endif

/*
 * 2026-11: not in 6.12, in 7.3: dma_map_phys(). Before, there was a page to every mapping of RAM.
 */
static inline dma_addr_t compat_dma_map_phys(struct device *dev, phys_addr_t phys, size_t size,
					     enum dma_data_direction dir)
{
#ifdef HAVE_DMA_MAP_PHYS
	return dma_map_phys(dev, phys, size, dir, 0);
#else
	return dma_map_page(dev, pfn_to_page(PHYS_PFN(phys)), 0, size, dir);
#endif
}

/*
 * 2026-11: not in 6.12, in 7.3: dma_need_unmap(). Before, nobody says, so everything is
 * unmapped.
 */
#ifndef HAVE_DMA_NEED_UNMAP
static inline bool dma_need_unmap(struct device *dev)
{
	return true;
}
#endif

#endif /* DSVM_DMA_MAPPING_COMPAT_H */
