// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * The copy engine of the plain stub: it copies when it is asked to, and is done then.
 */
#include <linux/dma-fence.h>
#include <linux/highmem.h>
#include <linux/minmax.h>
#include <linux/string.h>

#include "stub_drv.h"
#include "stub_pagemap.h"

/* The VRAM that the other side of a copy is in, or NULL: it is RAM. */
static struct stub_vram *plain_copy_vram(const struct stub_pagemap *pagemap,
					 const struct drm_pagemap_addr *addr)
{
	switch (addr->proto) {
	case STUB_PROTO_LOCAL:
		return pagemap->vram;
	case STUB_PROTO_PEER:
		return stub_vram_peer(addr->addr);
	default:
		return NULL;
	}
}

static void plain_copy_page(void *vram_mem, void *other, bool to_ram)
{
	if (to_ram)
		memcpy(other, vram_mem, PAGE_SIZE);
	else
		memcpy(vram_mem, other, PAGE_SIZE);
}

/* Notes for which process, by the allocation that the device's side belongs to. */
static void plain_copy_count(struct stub_pagemap *pagemap, u64 offset, unsigned long npages,
			     bool to_ram)
{
	const struct stub_devmem *devmem = READ_ONCE(pagemap->vram->owner[PHYS_PFN(offset)]);

	if (WARN_ON_ONCE(!devmem))
		return;
	atomic64_add(npages, to_ram ? &devmem->stats->pages_to_ram :
				      &devmem->stats->pages_to_vram);
}

static int plain_copy_piece(struct page *page, const struct drm_pagemap_addr *addr,
			    unsigned long npages, bool to_ram)
{
	struct stub_pagemap *pagemap = to_stub_pagemap(drm_pagemap_page_to_dpagemap(page));
	struct stub_vram *other = plain_copy_vram(pagemap, addr);
	u64 offset = stub_pagemap_offset(pagemap, page);
	void *vram_mem = stub_vram_mem(pagemap->vram, offset);
	unsigned long k;

	if (READ_ONCE(pagemap->vram->dead) || (other && READ_ONCE(other->dead)))
		return -ENODEV;

	plain_copy_count(pagemap, offset, npages, to_ram);
	if (!to_ram && !addr->addr && !other) {
		memset(vram_mem, 0, PFN_PHYS(npages));
		return 0;
	}
	for (k = 0; k < npages; k++, vram_mem += PAGE_SIZE) {
		u64 at = addr->addr + PFN_PHYS(k);
		void *mem = other ? stub_vram_mem(other, at & STUB_PEER_OFFSET) :
			    kmap_local_page(stub_dma_to_page(pagemap->dpagemap.drm->dev, at));

		plain_copy_page(vram_mem, mem, to_ram);
		if (!other)
			kunmap_local(mem);
	}

	return 0;
}

static int plain_copy(struct page **pages, const struct drm_pagemap_addr *addr,
		      unsigned long npages, struct dma_fence *after, bool to_ram)
{
	unsigned long i, n;
	int err = 0;

	if (after)
		dma_fence_wait(after, false);
	for (i = 0; i < npages && !err; i += n) {
		n = NR_PAGES(addr[i].order);
		if (!pages[i])
			continue;
		/* Of memory that was never touched one library does not say how much it is. */
		if (!addr[i].addr && addr[i].proto == DRM_INTERCONNECT_SYSTEM)
			n = max(n, folio_nr_pages(page_folio(pages[i])));
		err = plain_copy_piece(pages[i], &addr[i], n, to_ram);
	}

	return err;
}

/**
 * stub_copy_to_vram() - &drm_pagemap_devmem_ops.copy_to_devmem
 * @pages: device pages
 * @addr: RAM to copy from; all zero: clear the pages
 * @npages: entries in both
 * @pre_migrate_fence: to wait for before the first byte, or NULL
 *
 * Return: 0; -ENODEV: the memory has gone.
 */
int stub_copy_to_vram(struct page **pages, struct drm_pagemap_addr *addr,
		      unsigned long npages, struct dma_fence *pre_migrate_fence)
{
	return plain_copy(pages, addr, npages, pre_migrate_fence, false);
}

/**
 * stub_copy_to_ram() - &drm_pagemap_devmem_ops.copy_to_ram
 * @pages: device pages
 * @addr: RAM to copy to, or another device's memory
 * @npages: entries in both
 * @pre_migrate_fence: to wait for before the first byte, or NULL
 *
 * Return: 0; -ENODEV: the memory has gone.
 */
int stub_copy_to_ram(struct page **pages, struct drm_pagemap_addr *addr,
		     unsigned long npages, struct dma_fence *pre_migrate_fence)
{
	return plain_copy(pages, addr, npages, pre_migrate_fence, true);
}

/**
 * stub_copy_init() - Makes the engine
 * @stub: the device
 *
 * Return: 0: there is nothing to make.
 */
int stub_copy_init(struct stub_device *stub)
{
	return 0;
}
