// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * drm/drm_pagemap_util.h: what becomes of providers that nobody uses, and who
 * reaches whom.
 *
 * The states of a provider in a cache, all of them under the shrinker's lock:
 *
 *	in use	it has references
 *	going	it has none, and is not on the shrinker's list yet: a look-up waits
 *	idle	it is on the list: a look-up brings it back, the shrinker ends it
 *
 * Whoever takes an idle one off the list takes it out of its cache under the same
 * lock, and then it is his alone. So nobody finds one that is being ended, and
 * nobody can take out another one that has been put there meanwhile.
 *
 * A provider in a cache has a reference to the cache, and the cache to the
 * shrinker. The driver's device ends both (devm); a provider that is in use at that
 * time finds a dead cache when it is put, and is destroyed at once.
 */
#include <linux/device.h>
#include <linux/err.h>
#include <linux/export.h>
#include <linux/kref.h>
#include <linux/lockdep.h>
#include <linux/slab.h>
#include <linux/wait.h>

#include <drm/drm_device.h>
#include <drm/drm_pagemap.h>
#include <drm/drm_pagemap_util.h>
#include <drm/drm_print.h>

#include "compat/shrinker_compat.h"
#include "pagemap_internal.h"

struct drm_pagemap_shrinker {
	struct kref ref;
	struct compat_shrinker shrinker;
	spinlock_t lock;
	struct list_head idle;	/* &drm_pagemap.shrink_link, the longest idle first; under @lock */
	unsigned long count;	/* of them; written under @lock */
	struct drm_device *drm;	/* immutable; not referenced: good until the end of the device */
};

struct drm_pagemap_cache {
	struct kref ref;
	struct mutex lookup;			/* one look-up at a time */
	struct drm_pagemap_shrinker *shrinker;	/* referenced; immutable */
	struct drm_pagemap *dpagemap;		/* or NULL; under the shrinker's lock */
	bool dead;				/* takes none any more; under the shrinker's lock */
	wait_queue_head_t idle;			/* @dpagemap has become it */
};

static void shrinker_release(struct kref *ref)
{
	kfree(container_of(ref, struct drm_pagemap_shrinker, ref));
}

static void cache_release(struct kref *ref)
{
	struct drm_pagemap_cache *cache = container_of(ref, struct drm_pagemap_cache, ref);

	kref_put(&cache->shrinker->ref, shrinker_release);
	mutex_destroy(&cache->lookup);
	kfree(cache);
}

void dsvm_pagemap_forget_cache(struct drm_pagemap *dpagemap)
{
	struct drm_pagemap_cache *cache = dpagemap->cache;

	dpagemap->cache = NULL;
	if (cache)
		kref_put(&cache->ref, cache_release);
}

/* Makes an idle provider the caller's alone. */
static void take_idle_locked(struct drm_pagemap *dpagemap)
{
	struct drm_pagemap_cache *cache = dpagemap->cache;

	lockdep_assert_held(&cache->shrinker->lock);
	list_del_init(&dpagemap->shrink_link);
	cache->shrinker->count--;
	cache->dpagemap = NULL;
}

/* Under the shrinker's lock; the provider has no reference. */
static bool is_idle_locked(const struct drm_pagemap *dpagemap)
{
	return !list_empty(&dpagemap->shrink_link);
}

static void cache_fini(void *data)
{
	struct drm_pagemap_cache *cache = data;
	struct drm_pagemap *dpagemap;
	unsigned long flags;

	spin_lock_irqsave(&cache->shrinker->lock, flags);
	cache->dead = true;
	dpagemap = cache->dpagemap;
	if (dpagemap && is_idle_locked(dpagemap)) {
		take_idle_locked(dpagemap);
	} else {
		cache->dpagemap = NULL;
		dpagemap = NULL;
		/* Who waits for one that is going finds none. */
		wake_up_all(&cache->idle);
	}
	spin_unlock_irqrestore(&cache->shrinker->lock, flags);

	if (dpagemap)
		drm_pagemap_destroy(dpagemap, false);
	kref_put(&cache->ref, cache_release);
}

/**
 * drm_pagemap_cache_create_devm() - Makes a cache for a provider
 * @shrinker: that lets go of the provider when memory is short
 *
 * It ends with the device of @shrinker, and with it the provider if it is idle.
 *
 * Context: May sleep.
 *
 * Return: the cache, or ERR_PTR(-ENOMEM).
 */
struct drm_pagemap_cache *drm_pagemap_cache_create_devm(struct drm_pagemap_shrinker *shrinker)
{
	struct drm_pagemap_cache *cache = kzalloc(sizeof(*cache), GFP_KERNEL);
	int err;

	if (!cache)
		return ERR_PTR(-ENOMEM);

	kref_init(&cache->ref);
	mutex_init(&cache->lookup);
	init_waitqueue_head(&cache->idle);
	kref_get(&shrinker->ref);
	cache->shrinker = shrinker;

	err = devm_add_action_or_reset(shrinker->drm->dev, cache_fini, cache);
	return err ? ERR_PTR(err) : cache;
}
EXPORT_SYMBOL_GPL(drm_pagemap_cache_create_devm);

/**
 * drm_pagemap_cache_lock_lookup() - Begins a look-up
 * @cache: the cache
 *
 * Makes one operation of looking for the provider and of making one if there is
 * none.
 *
 * Context: May sleep.
 *
 * Return: 0, or -EINTR: a signal has come.
 */
int drm_pagemap_cache_lock_lookup(struct drm_pagemap_cache *cache)
{
	return mutex_lock_interruptible(&cache->lookup);
}
EXPORT_SYMBOL_GPL(drm_pagemap_cache_lock_lookup);

/**
 * drm_pagemap_cache_unlock_lookup() - Ends a look-up
 * @cache: the cache
 */
void drm_pagemap_cache_unlock_lookup(struct drm_pagemap_cache *cache)
{
	mutex_unlock(&cache->lookup);
}
EXPORT_SYMBOL_GPL(drm_pagemap_cache_unlock_lookup);

/*
 * The provider with a reference, or an idle one that is the caller's now, or neither: there
 * is none. False: it is going, and will be idle soon.
 */
static bool look_up(struct drm_pagemap_cache *cache, struct drm_pagemap **active,
		    struct drm_pagemap **idle)
{
	struct drm_pagemap *dpagemap;
	unsigned long flags;
	bool known = true;

	*idle = NULL;
	spin_lock_irqsave(&cache->shrinker->lock, flags);
	dpagemap = cache->dpagemap;
	*active = drm_pagemap_get_unless_zero(dpagemap);
	if (dpagemap && !*active) {
		known = is_idle_locked(dpagemap);
		if (known) {
			take_idle_locked(dpagemap);
			*idle = dpagemap;
		}
	}
	spin_unlock_irqrestore(&cache->shrinker->lock, flags);
	return known;
}

/**
 * drm_pagemap_get_from_cache() - Looks for the provider
 * @cache: the cache, with a look-up begun
 *
 * An idle one is brought back to life; one whose last reference is just going is
 * waited for.
 *
 * Context: May sleep. Between drm_pagemap_cache_lock_lookup() and
 * drm_pagemap_cache_unlock_lookup().
 *
 * Return: the provider with a reference; NULL: there is none, and the caller may
 * make one and drm_pagemap_cache_set_pagemap(); or an ERR_PTR(): -EINTR: a signal
 * has come, or as of drm_pagemap_reinit().
 */
struct drm_pagemap *drm_pagemap_get_from_cache(struct drm_pagemap_cache *cache)
{
	struct drm_pagemap *dpagemap, *idle;
	int err;

	lockdep_assert_held(&cache->lookup);
	if (wait_event_interruptible(cache->idle, look_up(cache, &dpagemap, &idle)))
		return ERR_PTR(-EINTR);
	if (!idle)
		return dpagemap;

	err = drm_pagemap_reinit(idle);
	if (err) {
		drm_pagemap_destroy(idle, false);
		return ERR_PTR(err);
	}
	drm_pagemap_cache_set_pagemap(cache, idle);
	return idle;
}
EXPORT_SYMBOL_GPL(drm_pagemap_get_from_cache);

/**
 * drm_pagemap_cache_set_pagemap() - Puts the provider into its cache
 * @cache: the cache, with a look-up begun that has found none
 * @dpagemap: the provider; the caller has a reference, and keeps it
 *
 * Context: Between drm_pagemap_cache_lock_lookup() and
 * drm_pagemap_cache_unlock_lookup().
 */
void drm_pagemap_cache_set_pagemap(struct drm_pagemap_cache *cache, struct drm_pagemap *dpagemap)
{
	unsigned long flags;

	lockdep_assert_held(&cache->lookup);
	if (dpagemap->cache != cache) {
		dsvm_pagemap_forget_cache(dpagemap);
		kref_get(&cache->ref);
		dpagemap->cache = cache;
	}

	spin_lock_irqsave(&cache->shrinker->lock, flags);
	WARN_ON_ONCE(cache->dpagemap);
	if (!cache->dead)
		cache->dpagemap = dpagemap;
	spin_unlock_irqrestore(&cache->shrinker->lock, flags);
}
EXPORT_SYMBOL_GPL(drm_pagemap_cache_set_pagemap);

/**
 * drm_pagemap_get_from_cache_if_active() - Looks for the provider, if it is in use
 * @cache: the cache; no look-up needs to have begun
 *
 * Context: Any.
 *
 * Return: the provider with a reference; NULL: there is none, or it is idle.
 */
struct drm_pagemap *drm_pagemap_get_from_cache_if_active(struct drm_pagemap_cache *cache)
{
	struct drm_pagemap *dpagemap;
	unsigned long flags;

	spin_lock_irqsave(&cache->shrinker->lock, flags);
	dpagemap = drm_pagemap_get_unless_zero(cache->dpagemap);
	spin_unlock_irqrestore(&cache->shrinker->lock, flags);
	return dpagemap;
}
EXPORT_SYMBOL_GPL(drm_pagemap_get_from_cache_if_active);

#ifdef CONFIG_PROVE_LOCKING
/**
 * drm_pagemap_shrinker_might_lock() - Tells lockdep what a last put may lock
 * @dpagemap: a provider with a reference
 *
 * For who may put the last reference, so that every put shows a wrong context.
 */
void drm_pagemap_shrinker_might_lock(struct drm_pagemap *dpagemap)
{
	if (dpagemap->cache)
		might_lock(&dpagemap->cache->shrinker->lock);
}
#endif

/**
 * drm_pagemap_shrinker_add() - Leaves a provider to its cache, or ends it
 * @dpagemap: the provider, without a reference left
 *
 * Not for drivers.
 *
 * Context: Any. @dpagemap may be gone, or in use again, on return.
 */
void drm_pagemap_shrinker_add(struct drm_pagemap *dpagemap)
{
	struct drm_pagemap_cache *cache = dpagemap->cache;
	struct drm_pagemap_shrinker *shrinker;
	unsigned long flags;
	bool kept;

	if (!cache) {
		drm_pagemap_destroy(dpagemap, true);
		return;
	}

	shrinker = cache->shrinker;
	kref_get(&shrinker->ref);	/* the lock is in it */
	spin_lock_irqsave(&shrinker->lock, flags);
	/* It may have been made for a cache that had another one, or none any more. */
	kept = cache->dpagemap == dpagemap;
	if (kept) {
		list_add_tail(&dpagemap->shrink_link, &shrinker->idle);
		shrinker->count++;
		wake_up_all(&cache->idle);
	}
	spin_unlock_irqrestore(&shrinker->lock, flags);
	kref_put(&shrinker->ref, shrinker_release);

	if (!kept)
		drm_pagemap_destroy(dpagemap, true);
}
EXPORT_SYMBOL_GPL(drm_pagemap_shrinker_add);

static unsigned long count_idle(struct shrinker *shrink, struct shrink_control *control)
{
	struct drm_pagemap_shrinker *shrinker =
		compat_shrinker_owner(shrink, struct drm_pagemap_shrinker, shrinker);

	return READ_ONCE(shrinker->count) ?: SHRINK_EMPTY;
}

static struct drm_pagemap *take_first_idle(struct drm_pagemap_shrinker *shrinker)
{
	struct drm_pagemap *dpagemap;
	unsigned long flags;

	spin_lock_irqsave(&shrinker->lock, flags);
	dpagemap = list_first_entry_or_null(&shrinker->idle, struct drm_pagemap, shrink_link);
	if (dpagemap)
		take_idle_locked(dpagemap);
	spin_unlock_irqrestore(&shrinker->lock, flags);
	return dpagemap;
}

static unsigned long scan_idle(struct shrinker *shrink, struct shrink_control *control)
{
	struct drm_pagemap_shrinker *shrinker =
		compat_shrinker_owner(shrink, struct drm_pagemap_shrinker, shrinker);
	unsigned long done;

	for (done = 0; done < control->nr_to_scan; done++) {
		struct drm_pagemap *dpagemap = take_first_idle(shrinker);

		if (!dpagemap)
			break;
		drm_pagemap_destroy(dpagemap, true);
	}
	control->nr_scanned = done;
	return done ?: SHRINK_STOP;
}

static void shrinker_fini(void *data)
{
	struct drm_pagemap_shrinker *shrinker = data;

	compat_shrinker_unregister(&shrinker->shrinker);
	drm_WARN_ON(shrinker->drm, !list_empty(&shrinker->idle));
	kref_put(&shrinker->ref, shrinker_release);
}

/**
 * drm_pagemap_shrinker_create_devm() - Makes a shrinker for a device's idle providers
 * @drm: the device. Its parent's removal ends the shrinker; its caches have to be
 *	made after it, so that they end before.
 *
 * Context: May sleep.
 *
 * Return: the shrinker, or ERR_PTR(-ENOMEM).
 */
struct drm_pagemap_shrinker *drm_pagemap_shrinker_create_devm(struct drm_device *drm)
{
	struct drm_pagemap_shrinker *shrinker = kzalloc(sizeof(*shrinker), GFP_KERNEL);
	int err;

	if (!shrinker)
		return ERR_PTR(-ENOMEM);

	kref_init(&shrinker->ref);
	spin_lock_init(&shrinker->lock);
	INIT_LIST_HEAD(&shrinker->idle);
	shrinker->drm = drm;
	err = compat_shrinker_register(&shrinker->shrinker, shrinker, count_idle, scan_idle,
				       drm->unique);
	if (err) {
		kfree(shrinker);
		return ERR_PTR(err);
	}

	err = devm_add_action_or_reset(drm->dev, shrinker_fini, shrinker);
	return err ? ERR_PTR(err) : shrinker;
}
EXPORT_SYMBOL_GPL(drm_pagemap_shrinker_create_devm);

/* A clique; what there is to it is its address. */
struct drm_pagemap_owner {
	struct kref ref;
};

static void owner_release(struct kref *ref)
{
	kfree(container_of(ref, struct drm_pagemap_owner, ref));
}

/**
 * drm_pagemap_release_owner() - Leaves a clique
 * @peer: who leaves; nothing happens if it has not joined
 *
 * Context: May sleep. No page of the provider's is in use any more.
 */
void drm_pagemap_release_owner(struct drm_pagemap_peer *peer)
{
	struct drm_pagemap_owner_list *owner_list = peer->list;

	if (!owner_list)
		return;

	mutex_lock(&owner_list->lock);
	list_del(&peer->link);
	kref_put(&peer->owner->ref, owner_release);
	peer->owner = NULL;
	peer->list = NULL;
	mutex_unlock(&owner_list->lock);
}
EXPORT_SYMBOL_GPL(drm_pagemap_release_owner);

typedef bool (*reach_fn)(struct drm_pagemap_peer *peer1, struct drm_pagemap_peer *peer2);

/*
 * The last member of the first clique whose members all reach @peer, and it them; NULL if
 * there is none. Those of a clique follow each other.
 */
static struct drm_pagemap_peer *find_clique(struct drm_pagemap_peer *peer,
					    struct drm_pagemap_owner_list *owner_list,
					    reach_fn reach)
{
	struct drm_pagemap_owner *unfit = NULL;
	struct drm_pagemap_peer *last = NULL;
	struct drm_pagemap_peer *other;

	list_for_each_entry(other, &owner_list->peers, link) {
		if (other->owner == unfit)
			continue;
		if (last && other->owner != last->owner)
			break;
		if (reach(peer, other) && reach(other, peer)) {
			last = other;
		} else {
			unfit = other->owner;
			last = NULL;
		}
	}
	return last;
}

/**
 * drm_pagemap_acquire_owner() - Joins a clique
 * @peer: who joins; &drm_pagemap_peer.owner is the clique afterwards
 * @owner_list: where the others are
 * @has_interconnect: whether the second reaches the memory of the first. Asked
 *	both ways round.
 *
 * Joins the first clique of which it reaches every member, and every member it;
 * if there is none, it becomes the first member of a new one.
 *
 * Context: May sleep; calls @has_interconnect under the list's lock.
 *
 * Return: 0 or -ENOMEM.
 */
int drm_pagemap_acquire_owner(struct drm_pagemap_peer *peer,
			      struct drm_pagemap_owner_list *owner_list,
			      bool (*has_interconnect)(struct drm_pagemap_peer *peer1,
						       struct drm_pagemap_peer *peer2))
{
	struct drm_pagemap_owner *fresh = kzalloc(sizeof(*fresh), GFP_KERNEL);
	struct drm_pagemap_peer *neighbour;

	if (!fresh)
		return -ENOMEM;

	kref_init(&fresh->ref);
	mutex_lock(&owner_list->lock);
	neighbour = find_clique(peer, owner_list, has_interconnect);
	if (neighbour) {
		kref_get(&neighbour->owner->ref);
		peer->owner = neighbour->owner;
		list_add(&peer->link, &neighbour->link);
	} else {
		kref_get(&fresh->ref);
		peer->owner = fresh;
		list_add_tail(&peer->link, &owner_list->peers);
	}
	peer->list = owner_list;
	mutex_unlock(&owner_list->lock);

	kref_put(&fresh->ref, owner_release);
	return 0;
}
EXPORT_SYMBOL_GPL(drm_pagemap_acquire_owner);
