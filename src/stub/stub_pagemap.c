// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * The device's memory as a provider of pages.
 *
 *	first user		made: struct pages, a place in a clique
 *	last reference		idle: in the cache, for the next user
 *	memory is short, or
 *	the device goes		taken apart, on a queue: that may sleep, and who
 *				lets go of the last page may not
 *
 * A reference keeps the device and the module, so an idle one keeps neither.
 */
#include <linux/device.h>
#include <linux/err.h>
#include <linux/ioport.h>
#include <linux/slab.h>
#include <linux/topology.h>

#include <drm/drm_drv.h>

#include "stub_drv.h"
#include "stub_pagemap.h"

static DRM_PAGEMAP_OWNER_LIST_DEFINE(stub_owners);

static struct stub_device *stub_vram_device(struct stub_vram *vram)
{
	return container_of(vram, struct stub_device, vram);
}

static bool stub_pagemap_has_interconnect(struct drm_pagemap_peer *peer1,
					  struct drm_pagemap_peer *peer2)
{
	return stub_has_peers();
}

/* --- what the library asks ------------------------------------------------- */

/**
 * stub_pagemap_device_map() - &drm_pagemap_ops.device_map
 * @dpagemap: the provider
 * @dev: who is to reach the page
 * @page: the page
 * @order: of the piece that it begins
 * @dir: the direction
 *
 * Context: any.
 * Return: where it finds it; with DMA_MAPPING_ERROR: nowhere.
 */
struct drm_pagemap_addr
stub_pagemap_device_map(struct drm_pagemap *dpagemap, struct device *dev,
			struct page *page, unsigned int order,
			enum dma_data_direction dir)
{
	struct stub_pagemap *pagemap = to_stub_pagemap(dpagemap);
	struct stub_vram *vram = pagemap->vram;
	u64 offset = stub_pagemap_offset(pagemap, page);

	if (!READ_ONCE(vram->dead)) {
		if (dev == dpagemap->drm->dev)
			return drm_pagemap_addr_encode(offset, STUB_PROTO_LOCAL, order, dir);
		if (stub_is_peer(dev))
			return drm_pagemap_addr_encode(stub_vram_peer_addr(vram, offset),
						       STUB_PROTO_PEER, order, dir);
	}

	return drm_pagemap_addr_encode(DMA_MAPPING_ERROR, STUB_PROTO_LOCAL, order, dir);
}

/* Nothing of the device is used here: it may have gone. */
static void stub_pagemap_destroy_work(struct work_struct *work)
{
	struct stub_pagemap *pagemap = container_of(work, struct stub_pagemap, destroy);
	const struct range range = pagemap->pagemap.range;

	memunmap_pages(&pagemap->pagemap);
	release_mem_region(range.start, range_len(&range));
	drm_pagemap_release_owner(&pagemap->peer);
	kfree(pagemap);
}

/**
 * stub_pagemap_destroy() - &drm_pagemap_ops.destroy
 * @dpagemap: the provider
 * @is_atomic_or_reclaim: that it may not sleep, which it does not
 *
 * Context: any.
 */
void stub_pagemap_destroy(struct drm_pagemap *dpagemap, bool is_atomic_or_reclaim)
{
	queue_work(stub_queues.destroy, &to_stub_pagemap(dpagemap)->destroy);
}

/* --- making it ------------------------------------------------------------- */

static int stub_pagemap_map(struct stub_pagemap *pagemap)
{
	struct dev_pagemap *pgmap = &pagemap->pagemap;
	struct resource *res;
	void *ret;

	/* Addresses that nothing answers at: all that is wanted is struct pages. */
	res = request_free_mem_region(&iomem_resource, PFN_PHYS(pagemap->vram->num_pages),
				      "drm_svm_stub");
	if (IS_ERR(res))
		return PTR_ERR(res);

	pgmap->type = MEMORY_DEVICE_PRIVATE;
	pgmap->range.start = res->start;
	pgmap->range.end = res->end;
	pgmap->nr_range = 1;
	pgmap->ops = drm_pagemap_pagemap_ops_get();
	pgmap->owner = pagemap->peer.owner;
	ret = memremap_pages(pgmap, numa_node_id());
	if (IS_ERR(ret)) {
		release_mem_region(res->start, resource_size(res));
		return PTR_ERR(ret);
	}

	return 0;
}

static struct drm_pagemap *stub_pagemap_create(struct stub_vram *vram)
{
	struct stub_pagemap *pagemap;
	int err;

	pagemap = kzalloc(sizeof(*pagemap), GFP_KERNEL);
	if (!pagemap)
		return ERR_PTR(-ENOMEM);
	pagemap->vram = vram;
	INIT_WORK(&pagemap->destroy, stub_pagemap_destroy_work);

	err = drm_pagemap_acquire_owner(&pagemap->peer, &stub_owners,
					stub_pagemap_has_interconnect);
	if (err)
		goto err_free;
	err = stub_pagemap_map(pagemap);
	if (err)
		goto err_owner;
	err = drm_pagemap_init(&pagemap->dpagemap, &pagemap->pagemap,
			       &stub_vram_device(vram)->drm, &stub_pagemap_ops);
	if (err) {
		stub_pagemap_destroy_work(&pagemap->destroy);
		return ERR_PTR(err);
	}

	return &pagemap->dpagemap;

err_owner:
	drm_pagemap_release_owner(&pagemap->peer);
err_free:
	kfree(pagemap);
	return ERR_PTR(err);
}

/**
 * stub_pagemap_get() - Takes a reference to the provider
 * @vram: the device's memory, of a size that is not zero
 *
 * Makes it if there is none. For as long as there are references the module
 * cannot be unloaded.
 *
 * Context: may sleep. The device is kept from being taken away: between
 * drm_dev_enter() and drm_dev_exit().
 * Return: the provider, for drm_pagemap_put(), or an ERR_PTR(): -ENOMEM,
 * -ERESTARTSYS: a signal came.
 */
struct drm_pagemap *stub_pagemap_get(struct stub_vram *vram)
{
	struct drm_pagemap *dpagemap;

	if (drm_pagemap_cache_lock_lookup(vram->cache))
		return ERR_PTR(-ERESTARTSYS);

	dpagemap = drm_pagemap_get_from_cache(vram->cache);
	if (!dpagemap) {
		dpagemap = stub_pagemap_create(vram);
		if (!IS_ERR(dpagemap))
			drm_pagemap_cache_set_pagemap(vram->cache, dpagemap);
	}
	drm_pagemap_cache_unlock_lookup(vram->cache);

	return dpagemap == ERR_PTR(-EINTR) ? ERR_PTR(-ERESTARTSYS) : dpagemap;
}

/**
 * stub_pagemap_get_if_active() - Takes a reference to a provider in use
 * @vram: the device's memory
 *
 * Context: any; the device has not been taken away, or is being taken away by
 * the caller.
 * Return: the provider, for drm_pagemap_put(); NULL: there is none in use.
 */
struct drm_pagemap *stub_pagemap_get_if_active(struct stub_vram *vram)
{
	return vram->num_pages ? drm_pagemap_get_from_cache_if_active(vram->cache) : NULL;
}

/**
 * stub_pagemap_init() - Lets the device's memory have a provider
 * @stub: the device, with memory
 *
 * Makes one, so that it is known that it can be had, and leaves it idle.
 *
 * Context: may sleep.
 * Return: 0, -EINTR if a signal came, or another negative errno.
 */
int stub_pagemap_init(struct stub_device *stub)
{
	struct drm_pagemap_shrinker *shrinker;
	struct drm_pagemap *dpagemap;

	shrinker = drm_pagemap_shrinker_create_devm(&stub->drm);
	if (IS_ERR(shrinker))
		return PTR_ERR(shrinker);
	stub->vram.cache = drm_pagemap_cache_create_devm(shrinker);
	if (IS_ERR(stub->vram.cache))
		return PTR_ERR(stub->vram.cache);

	dpagemap = stub_pagemap_get(&stub->vram);
	if (IS_ERR(dpagemap))
		return PTR_ERR(dpagemap) == -ERESTARTSYS ? -EINTR : PTR_ERR(dpagemap);
	drm_pagemap_put(dpagemap);

	return 0;
}
