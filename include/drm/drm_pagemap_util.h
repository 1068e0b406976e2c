/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * Around providers of device memory: keeping idle ones, and who reaches whom.
 * The API is that of Linux 7.3's header of this name.
 *
 *	drm_pagemap_cache	remembers the provider of a device's memory while
 *				nobody uses it: making one means making a struct
 *				page for each of its pages
 *	drm_pagemap_shrinker	lets idle ones go when memory is short
 *	drm_pagemap_owner	a clique: providers whose devices all reach each
 *				other's memory. It is the owner of their pages, as
 *				HMM and migration know it.
 *
 * A look-up is between the two lock functions:
 *
 *	err = drm_pagemap_cache_lock_lookup(cache);
 *	dpagemap = drm_pagemap_get_from_cache(cache);
 *	if (!dpagemap) {
 *		dpagemap = (make one)
 *		drm_pagemap_cache_set_pagemap(cache, dpagemap);
 *	}
 *	drm_pagemap_cache_unlock_lookup(cache);
 */
#ifndef _DRM_PAGEMAP_UTIL_H_
#define _DRM_PAGEMAP_UTIL_H_

#include <linux/list.h>
#include <linux/mutex.h>

#include "drm_svm/link_names.h"

struct drm_device;
struct drm_pagemap;
struct drm_pagemap_cache;
struct drm_pagemap_owner;
struct drm_pagemap_shrinker;

/**
 * struct drm_pagemap_peer - A provider as a member of a clique
 * @list: where it looks for its peers; NULL while it has not joined
 * @link: entry in &drm_pagemap_owner_list.peers
 * @owner: its clique, referenced
 * @private: the driver's own
 */
struct drm_pagemap_peer {
	struct drm_pagemap_owner_list *list;
	struct list_head link;
	struct drm_pagemap_owner *owner;
	void *private;
};

/**
 * struct drm_pagemap_owner_list - Providers that may reach each other
 * @lock: guards @peers
 * @peers: &struct drm_pagemap_peer, those of a clique in a row
 *
 * A driver has one for all its devices.
 */
struct drm_pagemap_owner_list {
	struct mutex lock;
	struct list_head peers;
};

/* Defines an empty one. */
#define DRM_PAGEMAP_OWNER_LIST_DEFINE(_name)				\
	struct drm_pagemap_owner_list _name = {				\
		.lock = __MUTEX_INITIALIZER((_name).lock),		\
		.peers = LIST_HEAD_INIT((_name).peers),			\
	}

void drm_pagemap_shrinker_add(struct drm_pagemap *dpagemap);
struct drm_pagemap_shrinker *drm_pagemap_shrinker_create_devm(struct drm_device *drm);

int drm_pagemap_cache_lock_lookup(struct drm_pagemap_cache *cache);
void drm_pagemap_cache_unlock_lookup(struct drm_pagemap_cache *cache);
struct drm_pagemap_cache *drm_pagemap_cache_create_devm(struct drm_pagemap_shrinker *shrinker);
struct drm_pagemap *drm_pagemap_get_from_cache(struct drm_pagemap_cache *cache);
void drm_pagemap_cache_set_pagemap(struct drm_pagemap_cache *cache, struct drm_pagemap *dpagemap);
struct drm_pagemap *drm_pagemap_get_from_cache_if_active(struct drm_pagemap_cache *cache);

#ifdef CONFIG_PROVE_LOCKING
void drm_pagemap_shrinker_might_lock(struct drm_pagemap *dpagemap);
#else
static inline void drm_pagemap_shrinker_might_lock(struct drm_pagemap *dpagemap)
{
}
#endif

void drm_pagemap_release_owner(struct drm_pagemap_peer *peer);
int drm_pagemap_acquire_owner(struct drm_pagemap_peer *peer,
			      struct drm_pagemap_owner_list *owner_list,
			      bool (*has_interconnect)(struct drm_pagemap_peer *peer1,
						       struct drm_pagemap_peer *peer2));

#endif /* _DRM_PAGEMAP_UTIL_H_ */
