// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Lists of drm_gpuvm_bo beside the objects, for kernels that have no place for
 * them in an object.
 */
#include <linux/hash.h>
#include <linux/log2.h>
#include <linux/slab.h>
#include <linux/xarray.h>

#include <drm/drm_drv.h>

#include "compat/drm_gem_compat.h"

#ifdef COMPAT_GEM_GPUVA

/* The list of one object; there as long as the object has a drm_gpuvm_bo. */
struct gpuva_list {
	struct list_head list;	/* under the object's lock */
	unsigned int count;	/* of drm_gpuvm_bo, on the list or not; under the xarray's lock */
};

static DEFINE_XARRAY(lists);

/*
 * The place of an object's list. Two objects are further apart than what is
 * shifted out, and neighbours in memory share a node of the xarray.
 */
static unsigned long key(const struct drm_gem_object *obj)
{
	return (unsigned long)obj >> ilog2(sizeof(*obj));
}

/*
 * 2026-11: 6.7 gave objects a list, for devices that ask for it, and with it
 * drm_gem_gpuva_set_lock(). Where it is in use it is the one, because drivers
 * look at it without asking here.
 */
static struct list_head *own_list(struct drm_gem_object *obj)
{
#ifdef drm_gem_gpuva_set_lock
	if (drm_core_check_feature(obj->dev, DRIVER_GEM_GPUVA))
		return &obj->gpuva.list;
#endif
	return NULL;
}

int compat_gem_gpuva_get(struct drm_gem_object *obj)
{
	struct gpuva_list *fresh, *present;
	int ret;

	if (own_list(obj))
		return 0;
	fresh = kzalloc(sizeof(*fresh), GFP_KERNEL);
	if (!fresh)
		return -ENOMEM;
	INIT_LIST_HEAD(&fresh->list);

	xa_lock(&lists);
	present = __xa_cmpxchg(&lists, key(obj), NULL, fresh, GFP_KERNEL);
	ret = xa_err(present);
	if (!ret && !present)
		fresh->count = 1;
	else if (!ret)
		present->count++;
	xa_unlock(&lists);

	if (ret || present)
		kfree(fresh);
	return ret;
}

void compat_gem_gpuva_put(struct drm_gem_object *obj)
{
	struct gpuva_list *entry;

	if (own_list(obj))
		return;
	xa_lock(&lists);
	entry = xa_load(&lists, key(obj));
	if (--entry->count)
		entry = NULL;
	else
		__xa_erase(&lists, key(obj));
	xa_unlock(&lists);

	kfree(entry);
}

struct list_head *compat_gem_gpuva_head(struct drm_gem_object *obj)
{
	struct list_head *own = own_list(obj);
	struct gpuva_list *entry;

	if (own)
		return own;
	entry = xa_load(&lists, key(obj));
	return &entry->list;
}

/*
 * A list with a member cannot go away before the member has left it, which
 * takes the object's lock. An empty one can, so another one is shown for it.
 */
struct list_head *compat_gem_gpuva_list(struct drm_gem_object *obj)
{
	static LIST_HEAD(none);
	struct list_head *list = own_list(obj);
	struct gpuva_list *entry;

	if (list)
		return list;
	list = &none;
	xa_lock(&lists);
	entry = xa_load(&lists, key(obj));
	if (entry && !list_empty(&entry->list))
		list = &entry->list;
	xa_unlock(&lists);
	return list;
}

#define LOCK(i) __MUTEX_INITIALIZER(gpuva_locks[i])

static struct mutex gpuva_locks[] = {
	LOCK(0), LOCK(1), LOCK(2), LOCK(3), LOCK(4), LOCK(5), LOCK(6), LOCK(7),
	LOCK(8), LOCK(9), LOCK(10), LOCK(11), LOCK(12), LOCK(13), LOCK(14), LOCK(15),
};

struct mutex *compat_gem_gpuva_lock(struct drm_gem_object *obj)
{
	return &gpuva_locks[hash_ptr(obj, ilog2(ARRAY_SIZE(gpuva_locks)))];
}

#endif /* COMPAT_GEM_GPUVA */
