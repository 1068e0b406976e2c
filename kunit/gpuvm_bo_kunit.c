// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Objects in a space: &struct drm_gpuvm_bo, its references, the lists of external and of
 * evicted objects, and the deferred end of one.
 */
#include <linux/dma-fence.h>
#include <linux/spinlock.h>

#include "gpuvm_fixture.h"

static void create_and_put(struct kunit *test, enum drm_gpuvm_flags flags)
{
	struct fx_vm *vm = fx_vm_create(test, flags);
	struct drm_gem_object *obj = fx_bo_create(test, NULL);
	struct drm_gpuvm_bo *vm_bo;

	fx_lock(vm);
	vm_bo = drm_gpuvm_bo_create(&vm->base, obj);
	KUNIT_ASSERT_NOT_NULL(test, vm_bo);
	KUNIT_EXPECT_PTR_EQ(test, vm_bo->vm, &vm->base);
	KUNIT_EXPECT_PTR_EQ(test, vm_bo->obj, obj);
	KUNIT_EXPECT_FALSE(test, vm_bo->evicted);
	KUNIT_EXPECT_EQ(test, kref_read(&vm_bo->kref), 1);
	KUNIT_EXPECT_EQ(test, fx_vm_refs(vm), 2);
	KUNIT_EXPECT_EQ(test, fx_obj_refs(obj), 2);
	KUNIT_EXPECT_TRUE(test, list_empty(&vm_bo->list.gpuva));
	/* Nobody finds it. */
	KUNIT_EXPECT_EQ(test, fx_gem_vm_bos(vm, obj), 0);
	fx_gem_lock(vm, obj);
	KUNIT_EXPECT_NULL(test, drm_gpuvm_bo_find(&vm->base, obj));
	fx_gem_unlock(vm, obj);

	KUNIT_EXPECT_PTR_EQ(test, drm_gpuvm_bo_get(vm_bo), vm_bo);
	KUNIT_EXPECT_FALSE(test, drm_gpuvm_bo_put(vm_bo));
	fx_gem_lock(vm, obj);
	KUNIT_EXPECT_TRUE(test, drm_gpuvm_bo_put(vm_bo));
	fx_gem_unlock(vm, obj);
	KUNIT_EXPECT_FALSE(test, drm_gpuvm_bo_put(NULL));

	KUNIT_EXPECT_EQ(test, atomic_read(&fx_live.vm_bos), 0);
	KUNIT_EXPECT_EQ(test, fx_vm_refs(vm), 1);
	KUNIT_EXPECT_EQ(test, fx_obj_refs(obj), 1);
	fx_unlock(vm);
	fx_vm_destroy(vm);
}
FX_MODES(create_and_put)

static void obtain_is_unique(struct kunit *test, enum drm_gpuvm_flags flags)
{
	struct fx_vm *vm = fx_vm_create(test, flags);
	struct drm_gem_object *obj = fx_bo_create(test, NULL);
	struct drm_gpuvm_bo *vm_bo, *again, *found;

	fx_lock(vm);
	vm_bo = fx_obtain(vm, obj);
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, vm_bo);
	again = fx_obtain(vm, obj);
	fx_gem_lock(vm, obj);
	found = drm_gpuvm_bo_find(&vm->base, obj);
	fx_gem_unlock(vm, obj);
	KUNIT_EXPECT_PTR_EQ(test, again, vm_bo);
	KUNIT_EXPECT_PTR_EQ(test, found, vm_bo);
	KUNIT_EXPECT_EQ(test, kref_read(&vm_bo->kref), 3);
	KUNIT_EXPECT_EQ(test, fx_gem_vm_bos(vm, obj), 1);
	/* What was allocated in vain has gone. */
	KUNIT_EXPECT_EQ(test, atomic_read(&fx_live.vm_bos), 1);
	KUNIT_EXPECT_EQ(test, fx_vm_refs(vm), 2);
	KUNIT_EXPECT_EQ(test, fx_obj_refs(obj), 2);

	fx_vm_bo_put(again);
	fx_vm_bo_put(found);
	KUNIT_EXPECT_EQ(test, fx_gem_vm_bos(vm, obj), 1);
	fx_vm_bo_put(vm_bo);
	KUNIT_EXPECT_EQ(test, fx_gem_vm_bos(vm, obj), 0);
	fx_unlock(vm);
	drm_gpuvm_bo_deferred_cleanup(&vm->base);
	KUNIT_EXPECT_EQ(test, fx_vm_refs(vm), 1);
	KUNIT_EXPECT_EQ(test, fx_obj_refs(obj), 1);
	fx_vm_destroy(vm);
}
FX_MODES(obtain_is_unique)

static void one_per_space(struct kunit *test, enum drm_gpuvm_flags flags)
{
	struct fx_vm *a = fx_vm_create(test, flags);
	struct fx_vm *b = fx_vm_create(test, flags);
	struct drm_gem_object *obj = fx_bo_create(test, NULL);
	struct drm_gpuvm_bo *in_a, *in_b, *found;

	fx_lock(a);
	in_a = fx_obtain(a, obj);
	fx_unlock(a);
	fx_lock(b);
	fx_gem_lock(b, obj);
	KUNIT_EXPECT_NULL(test, drm_gpuvm_bo_find(&b->base, obj));
	fx_gem_unlock(b, obj);
	in_b = fx_obtain(b, obj);
	KUNIT_EXPECT_PTR_NE(test, in_a, in_b);
	KUNIT_EXPECT_PTR_EQ(test, in_b->vm, &b->base);
	KUNIT_EXPECT_EQ(test, fx_gem_vm_bos(b, obj), 2);
	KUNIT_EXPECT_EQ(test, fx_obj_refs(obj), 3);
	fx_gem_lock(b, obj);
	found = drm_gpuvm_bo_find(&b->base, obj);
	fx_gem_unlock(b, obj);
	KUNIT_EXPECT_PTR_EQ(test, found, in_b);
	fx_vm_bo_put(found);
	fx_vm_bo_put(in_b);
	KUNIT_EXPECT_EQ(test, fx_gem_vm_bos(b, obj), 1);
	fx_unlock(b);
	fx_vm_destroy(b);

	fx_lock(a);
	fx_vm_bo_put(in_a);
	KUNIT_EXPECT_EQ(test, fx_gem_vm_bos(a, obj), 0);
	fx_unlock(a);
	fx_vm_destroy(a);
}
FX_MODES(one_per_space)

static void default_allocation(struct kunit *test)
{
	struct fx_vm *vm = fx_vm_create_at(test, 0, FX_START, FX_RANGE, 0, 0, &fx_ops_bare);
	struct drm_gem_object *obj = fx_bo_create(test, vm);

	fx_lock(vm);
	fx_map(test, vm, obj, FX_BASE, 0x100, 0);
	KUNIT_EXPECT_EQ(test, fx_gem_vm_bos(vm, obj), 1);
	KUNIT_EXPECT_EQ(test, atomic_read(&fx_live.vm_bos), 0);
	fx_unlock(vm);
	fx_vm_destroy(vm);
}

static void allocation_fails(struct kunit *test, enum drm_gpuvm_flags flags)
{
	struct fx_vm *vm = fx_vm_create(test, flags);
	struct drm_gem_object *obj = fx_bo_create(test, NULL);
	struct fx_snapshot *before;

	fx_lock(vm);
	before = fx_snapshot(test, vm);
	fx_refuse(1);
	KUNIT_EXPECT_PTR_EQ(test, fx_obtain(vm, obj), (struct drm_gpuvm_bo *)ERR_PTR(-ENOMEM));
	KUNIT_EXPECT_TRUE(test, fx_refused());
	fx_expect_unchanged(test, vm, before);
	fx_unlock(vm);
	fx_vm_destroy(vm);
}
FX_MODES(allocation_fails)

static void link_and_unlink(struct kunit *test, enum drm_gpuvm_flags flags)
{
	struct fx_vm *vm = fx_vm_create(test, flags);
	struct drm_gem_object *obj = fx_bo_create(test, NULL);
	struct drm_gpuvm_bo *vm_bo;
	struct drm_gpuva *va, *next;
	struct fx_va *a, *b, *none;
	unsigned int n = 0;

	fx_lock(vm);
	vm_bo = fx_obtain(vm, obj);
	a = fx_va_create(test, FX_BASE, 0x100, obj, 0);
	b = fx_va_create(test, FX_BASE + 0x100, 0x100, obj, 0);
	KUNIT_EXPECT_EQ(test, drm_gpuva_insert(&vm->base, &a->base), 0);
	KUNIT_EXPECT_EQ(test, drm_gpuva_insert(&vm->base, &b->base), 0);
	KUNIT_EXPECT_EQ(test, kref_read(&vm_bo->kref), 1);

	/* A reference for each mapping; the object and the space see one vm_bo. */
	fx_link(vm, &a->base, vm_bo);
	KUNIT_EXPECT_PTR_EQ(test, a->base.vm_bo, vm_bo);
	KUNIT_EXPECT_EQ(test, kref_read(&vm_bo->kref), 2);
	fx_link(vm, &b->base, vm_bo);
	KUNIT_EXPECT_EQ(test, kref_read(&vm_bo->kref), 3);
	KUNIT_EXPECT_EQ(test, fx_linked(vm, vm_bo), 2);
	KUNIT_EXPECT_EQ(test, fx_obj_refs(obj), 2);
	KUNIT_EXPECT_EQ(test, fx_vm_refs(vm), 1 + 2 + 1);

	/* What has no object is linked to nothing. */
	none = fx_map(test, vm, NULL, FX_BASE + 0x200, 0x100, 0);
	drm_gpuva_link(&none->base, NULL);
	KUNIT_EXPECT_NULL(test, none->base.vm_bo);
	drm_gpuva_unlink(&none->base);

	drm_gpuvm_bo_for_each_va_safe(va, next, vm_bo) {
		fx_unlink(vm, va);
		KUNIT_EXPECT_NULL(test, va->vm_bo);
		KUNIT_EXPECT_EQ(test, kref_read(&vm_bo->kref), 3 - ++n);
	}
	KUNIT_EXPECT_EQ(test, n, 2);
	fx_vm_bo_put(vm_bo);
	KUNIT_EXPECT_EQ(test, fx_gem_vm_bos(vm, obj), 0);
	fx_unlock(vm);
	fx_vm_destroy(vm);
}
FX_MODES(link_and_unlink)

/* By the object's own lists, in every space that shows it; the last one ends the walk. */
static void walk_and_unlink(struct kunit *test, enum drm_gpuvm_flags flags)
{
	struct fx_vm *vms[] = { fx_vm_create(test, flags), fx_vm_create(test, flags) };
	struct drm_gem_object *obj = fx_bo_create(test, NULL);
	struct drm_gpuvm_bo *vm_bo, *next;
	struct drm_gpuva *va, *next_va;
	unsigned int i, vm_bos = 0, vas = 0;

	for (i = 0; i < ARRAY_SIZE(vms); i++) {
		fx_lock(vms[i]);
		fx_map(test, vms[i], obj, FX_BASE, 0x100, 0);
		fx_map(test, vms[i], obj, FX_BASE + 0x100, 0x100, 0);
		fx_unlock(vms[i]);
	}

	fx_lock(vms[0]);
	fx_gem_lock(vms[0], obj);
	drm_gem_for_each_gpuvm_bo_safe(vm_bo, next, obj) {
		vm_bos++;
		drm_gpuvm_bo_get(vm_bo);
		drm_gpuvm_bo_for_each_va_safe(va, next_va, vm_bo) {
			vas++;
			drm_gpuva_unlink(va);
		}
		KUNIT_EXPECT_TRUE(test, drm_gpuvm_bo_put(vm_bo));
		if (vm_bos == ARRAY_SIZE(vms) + 1)
			break;
	}
	KUNIT_EXPECT_EQ(test, vm_bos, ARRAY_SIZE(vms));
	KUNIT_EXPECT_EQ(test, vas, 2 * ARRAY_SIZE(vms));
	drm_gem_for_each_gpuvm_bo(vm_bo, obj)
		KUNIT_FAIL(test, "an object is left in a space");
	fx_gem_unlock(vms[0], obj);
	fx_unlock(vms[0]);

	KUNIT_EXPECT_EQ(test, atomic_read(&fx_live.vm_bos), 0);
	for (i = 0; i < ARRAY_SIZE(vms); i++)
		fx_vm_destroy(vms[i]);
}

static void walk_and_unlink_resv(struct kunit *test)
{
	walk_and_unlink(test, 0);
}

static void walk_and_unlink_immediate(struct kunit *test)
{
	walk_and_unlink(test, DRM_GPUVM_IMMEDIATE_MODE);
}

/* The last mapping takes the vm_bo with it. */
static void last_mapping_goes(struct kunit *test, enum drm_gpuvm_flags flags)
{
	struct fx_vm *vm = fx_vm_create(test, flags);
	struct drm_gem_object *obj = fx_bo_create(test, NULL);
	struct fx_va *a, *b;

	fx_lock(vm);
	a = fx_map(test, vm, obj, FX_BASE, 0x100, 0);
	b = fx_map(test, vm, obj, FX_BASE + 0x100, 0x100, 0);
	KUNIT_EXPECT_PTR_EQ(test, a->base.vm_bo, b->base.vm_bo);
	KUNIT_EXPECT_EQ(test, kref_read(&a->base.vm_bo->kref), 2);
	fx_unmap(vm, &a->base);
	KUNIT_EXPECT_EQ(test, fx_gem_vm_bos(vm, obj), 1);
	KUNIT_EXPECT_EQ(test, fx_extobjs(vm), 1);
	fx_unmap(vm, &b->base);
	KUNIT_EXPECT_EQ(test, fx_gem_vm_bos(vm, obj), 0);
	fx_unlock(vm);
	drm_gpuvm_bo_deferred_cleanup(&vm->base);
	KUNIT_EXPECT_EQ(test, fx_extobjs(vm), 0);
	KUNIT_EXPECT_EQ(test, fx_obj_refs(obj), 1);
	KUNIT_EXPECT_EQ(test, atomic_read(&fx_live.vm_bos), 0);
	fx_vm_destroy(vm);
}
FX_MODES(last_mapping_goes)

static void external_objects(struct kunit *test, enum drm_gpuvm_flags flags)
{
	struct fx_vm *vm = fx_vm_create(test, flags);
	struct drm_gem_object *local = fx_bo_create(test, vm);
	struct drm_gem_object *external = fx_bo_create(test, NULL);
	struct drm_gpuvm_bo *vm_bo;

	KUNIT_EXPECT_FALSE(test, drm_gpuvm_is_extobj(&vm->base, local));
	KUNIT_EXPECT_TRUE(test, drm_gpuvm_is_extobj(&vm->base, external));

	fx_lock(vm);
	fx_map(test, vm, local, FX_BASE, 0x100, 0);
	KUNIT_EXPECT_EQ(test, fx_extobjs(vm), 0);
	fx_map(test, vm, external, FX_BASE + 0x100, 0x100, 0);
	KUNIT_EXPECT_EQ(test, fx_extobjs(vm), 1);
	vm_bo = fx_obtain(vm, external);
	drm_gpuvm_bo_extobj_add(vm_bo);
	KUNIT_EXPECT_EQ(test, fx_extobjs(vm), 1);
	KUNIT_EXPECT_PTR_EQ(test, vm_bo, list_first_entry(&vm->base.extobj.list,
							  struct drm_gpuvm_bo,
							  list.entry.extobj));
	fx_vm_bo_put(vm_bo);
	fx_unlock(vm);
	fx_vm_destroy(vm);
}
FX_MODES(external_objects)

static void set_evicted(struct fx_vm *vm, struct drm_gem_object *obj, bool evicted)
{
	fx_gem_lock(vm, obj);
	drm_gpuvm_bo_gem_evict(obj, evicted);
	fx_gem_unlock(vm, obj);
}

static void evicted_objects(struct kunit *test, enum drm_gpuvm_flags flags)
{
	struct fx_vm *vm = fx_vm_create(test, flags);
	struct drm_gem_object *local = fx_bo_create(test, vm);
	struct drm_gem_object *external = fx_bo_create(test, NULL);
	/* The VM's dma_resv cannot be had by who evicts an external object. */
	unsigned int listed = flags & DRM_GPUVM_RESV_PROTECTED ? 1 : 2;
	struct fx_va *in_local, *in_external;

	fx_lock(vm);
	in_local = fx_map(test, vm, local, FX_BASE, 0x100, 0);
	in_external = fx_map(test, vm, external, FX_BASE + 0x100, 0x100, 0);

	set_evicted(vm, local, true);
	KUNIT_EXPECT_TRUE(test, in_local->base.vm_bo->evicted);
	KUNIT_EXPECT_EQ(test, fx_evicted(vm), 1);
	set_evicted(vm, local, true);
	KUNIT_EXPECT_EQ(test, fx_evicted(vm), 1);
	set_evicted(vm, external, true);
	KUNIT_EXPECT_TRUE(test, in_external->base.vm_bo->evicted);
	KUNIT_EXPECT_EQ(test, fx_evicted(vm), listed);

	set_evicted(vm, local, false);
	KUNIT_EXPECT_FALSE(test, in_local->base.vm_bo->evicted);
	KUNIT_EXPECT_EQ(test, fx_evicted(vm), listed - 1);

	/* An evicted object may be unmapped. */
	fx_unmap(vm, &in_external->base);
	fx_unlock(vm);
	drm_gpuvm_bo_deferred_cleanup(&vm->base);
	KUNIT_EXPECT_EQ(test, fx_evicted(vm), 0);
	fx_vm_destroy(vm);
}
FX_MODES(evicted_objects)

static void evicted_in_all_spaces(struct kunit *test)
{
	struct fx_vm *a = fx_vm_create(test, 0);
	struct fx_vm *b = fx_vm_create(test, 0);
	struct drm_gem_object *obj = fx_bo_create(test, NULL);

	fx_lock(a);
	fx_map(test, a, obj, FX_BASE, 0x100, 0);
	fx_unlock(a);
	fx_lock(b);
	fx_map(test, b, obj, FX_BASE, 0x100, 0);
	set_evicted(b, obj, true);
	KUNIT_EXPECT_EQ(test, fx_evicted(a), 1);
	KUNIT_EXPECT_EQ(test, fx_evicted(b), 1);
	set_evicted(b, obj, false);
	KUNIT_EXPECT_EQ(test, fx_evicted(a), 0);
	KUNIT_EXPECT_EQ(test, fx_evicted(b), 0);
	fx_unlock(b);
	fx_vm_destroy(a);
	fx_vm_destroy(b);
}

/* Zombies ------------------------------------------------------------------------- */

/* Between a last reference in a fence's signalling path and the cleanup. */
static void zombie(struct kunit *test, enum drm_gpuvm_flags flags)
{
	struct fx_vm *vm = fx_vm_create(test, DRM_GPUVM_IMMEDIATE_MODE | flags);
	struct drm_gem_object *obj = fx_bo_create(test, NULL);
	struct fx_va *va;
	bool cookie;

	fx_lock(vm);
	va = fx_map(test, vm, obj, FX_BASE, 0x100, 0);
	set_evicted(vm, obj, true);
	fx_unlock(vm);

	mutex_lock(&vm->lock);
	cookie = dma_fence_begin_signalling();
	drm_gpuva_remove(&va->base);
	drm_gpuva_unlink_defer(&va->base);
	dma_fence_end_signalling(cookie);
	mutex_unlock(&vm->lock);
	KUNIT_EXPECT_NULL(test, va->base.vm_bo);
	fx_va_free(&va->base);

	/* It still holds what it held, and nobody finds it. */
	KUNIT_EXPECT_EQ(test, atomic_read(&fx_live.vm_bos), 1);
	KUNIT_EXPECT_EQ(test, fx_vm_refs(vm), 2);
	KUNIT_EXPECT_EQ(test, fx_obj_refs(obj), 2);
	KUNIT_EXPECT_FALSE(test, llist_empty(&vm->base.bo_defer));
	KUNIT_EXPECT_EQ(test, fx_gem_vm_bos(vm, obj), 0);
	fx_gem_lock(vm, obj);
	KUNIT_EXPECT_NULL(test, drm_gpuvm_bo_find(&vm->base, obj));
	fx_gem_unlock(vm, obj);
	if (!(flags & DRM_GPUVM_RESV_PROTECTED)) {
		KUNIT_EXPECT_EQ(test, fx_extobjs(vm), 0);
		KUNIT_EXPECT_EQ(test, fx_evicted(vm), 0);
	}

	drm_gpuvm_bo_deferred_cleanup(&vm->base);
	KUNIT_EXPECT_EQ(test, atomic_read(&fx_live.vm_bos), 0);
	KUNIT_EXPECT_EQ(test, fx_vm_refs(vm), 1);
	KUNIT_EXPECT_EQ(test, fx_obj_refs(obj), 1);
	KUNIT_EXPECT_EQ(test, fx_extobjs(vm), 0);
	KUNIT_EXPECT_EQ(test, fx_evicted(vm), 0);
	KUNIT_EXPECT_TRUE(test, llist_empty(&vm->base.bo_defer));
	/* Nothing is left to do. */
	drm_gpuvm_bo_deferred_cleanup(&vm->base);
	fx_vm_destroy(vm);
}

static void zombie_spinlocks(struct kunit *test)
{
	zombie(test, 0);
}

static void zombie_resv_protected(struct kunit *test)
{
	zombie(test, DRM_GPUVM_RESV_PROTECTED);
}

static void zombie_does_not_come_back(struct kunit *test, enum drm_gpuvm_flags flags)
{
	struct fx_vm *vm = fx_vm_create(test, DRM_GPUVM_IMMEDIATE_MODE | flags);
	struct drm_gem_object *obj = fx_bo_create(test, NULL);
	struct drm_gpuvm_bo *first, *second;

	fx_lock(vm);
	first = fx_obtain(vm, obj);
	KUNIT_EXPECT_TRUE(test, drm_gpuvm_bo_put_deferred(first));
	second = fx_obtain(vm, obj);
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, second);
	KUNIT_EXPECT_PTR_NE(test, second, first);
	KUNIT_EXPECT_EQ(test, kref_read(&second->kref), 1);
	KUNIT_EXPECT_EQ(test, atomic_read(&fx_live.vm_bos), 2);
	KUNIT_EXPECT_EQ(test, fx_gem_vm_bos(vm, obj), 1);
	fx_unlock(vm);

	drm_gpuvm_bo_deferred_cleanup(&vm->base);
	KUNIT_EXPECT_EQ(test, atomic_read(&fx_live.vm_bos), 1);
	KUNIT_EXPECT_EQ(test, fx_gem_vm_bos(vm, obj), 1);
	KUNIT_EXPECT_EQ(test, fx_extobjs(vm), 1);

	fx_lock(vm);
	KUNIT_EXPECT_TRUE(test, drm_gpuvm_bo_put_deferred(second));
	fx_unlock(vm);
	fx_vm_destroy(vm);
}

static void zombie_does_not_come_back_spinlocks(struct kunit *test)
{
	zombie_does_not_come_back(test, 0);
}

static void zombie_does_not_come_back_resv_protected(struct kunit *test)
{
	zombie_does_not_come_back(test, DRM_GPUVM_RESV_PROTECTED);
}

static void object_goes_with_its_zombie(struct kunit *test)
{
	struct fx_vm *vm = fx_vm_create(test, DRM_GPUVM_IMMEDIATE_MODE);
	struct drm_gem_object *obj = fx_bo_create(test, vm);

	fx_lock(vm);
	fx_map(test, vm, obj, FX_BASE, 0x100, 0);
	fx_unlock(vm);
	fx_bo_abandon(test, obj);

	fx_lock(vm);
	fx_unmap_all(vm);
	fx_unlock(vm);
	KUNIT_EXPECT_EQ(test, atomic_read(&fx_live.bos), 1);
	drm_gpuvm_bo_deferred_cleanup(&vm->base);
	KUNIT_EXPECT_EQ(test, atomic_read(&fx_live.bos), 0);
	fx_vm_destroy(vm);
}

/* Many at once, of several objects. */
static void zombies(struct kunit *test)
{
	struct fx_vm *vm = fx_vm_create(test, DRM_GPUVM_IMMEDIATE_MODE);
	struct drm_gem_object *objs[4];
	unsigned int i, n;

	for (i = 0; i < ARRAY_SIZE(objs); i++)
		objs[i] = fx_bo_create(test, i % 2 ? vm : NULL);

	fx_lock(vm);
	for (n = 0; n < 3; n++)
		for (i = 0; i < ARRAY_SIZE(objs); i++)
			drm_gpuvm_bo_put_deferred(fx_obtain(vm, objs[i]));
	KUNIT_EXPECT_EQ(test, atomic_read(&fx_live.vm_bos), 3 * ARRAY_SIZE(objs));
	KUNIT_EXPECT_EQ(test, fx_obj_refs(objs[0]), 1 + 3);
	fx_unlock(vm);
	drm_gpuvm_bo_deferred_cleanup(&vm->base);
	KUNIT_EXPECT_EQ(test, atomic_read(&fx_live.vm_bos), 0);
	for (i = 0; i < ARRAY_SIZE(objs); i++)
		KUNIT_EXPECT_EQ(test, fx_obj_refs(objs[i]), 1);
	fx_vm_destroy(vm);
}

/* Held where nothing may sleep. */
static DEFINE_SPINLOCK(atomic);

static void put_deferred_in_atomic_context(struct kunit *test)
{
	struct fx_vm *vm = fx_vm_create(test, DRM_GPUVM_IMMEDIATE_MODE);
	struct drm_gem_object *obj = fx_bo_create(test, NULL);
	struct drm_gpuvm_bo *vm_bo;
	bool cookie, last;

	fx_lock(vm);
	vm_bo = fx_obtain(vm, obj);
	drm_gpuvm_bo_get(vm_bo);
	fx_unlock(vm);

	/* A reference that is not the last needs no lock. */
	cookie = dma_fence_begin_signalling();
	spin_lock(&atomic);
	last = drm_gpuvm_bo_put_deferred(vm_bo);
	spin_unlock(&atomic);
	KUNIT_EXPECT_FALSE(test, last);
	KUNIT_EXPECT_TRUE(test, llist_empty(&vm->base.bo_defer));

	last = drm_gpuvm_bo_put_deferred(vm_bo);
	dma_fence_end_signalling(cookie);
	KUNIT_EXPECT_TRUE(test, last);
	KUNIT_EXPECT_FALSE(test, llist_empty(&vm->base.bo_defer));
	KUNIT_EXPECT_FALSE(test, drm_gpuvm_bo_put_deferred(NULL));
	fx_vm_destroy(vm);
}

static struct kunit_case gpuvm_bo_cases[] = {
	FX_CASE_MODES(create_and_put),
	FX_CASE_MODES(obtain_is_unique),
	FX_CASE_MODES(one_per_space),
	KUNIT_CASE(default_allocation),
	FX_CASE_MODES(allocation_fails),
	FX_CASE_MODES(link_and_unlink),
	KUNIT_CASE(walk_and_unlink_resv),
	KUNIT_CASE(walk_and_unlink_immediate),
	FX_CASE_MODES(last_mapping_goes),
	FX_CASE_MODES(external_objects),
	FX_CASE_MODES(evicted_objects),
	KUNIT_CASE(evicted_in_all_spaces),
	KUNIT_CASE(zombie_spinlocks),
	KUNIT_CASE(zombie_resv_protected),
	KUNIT_CASE(zombie_does_not_come_back_spinlocks),
	KUNIT_CASE(zombie_does_not_come_back_resv_protected),
	KUNIT_CASE(object_goes_with_its_zombie),
	KUNIT_CASE(zombies),
	KUNIT_CASE(put_deferred_in_atomic_context),
	{}
};

static struct kunit_suite gpuvm_bo_suite = {
	.name = "dsvm_gpuvm_bo",
	.init = fixture_init,
	.exit = fixture_exit,
	.test_cases = gpuvm_bo_cases,
};
kunit_test_suite(gpuvm_bo_suite);
