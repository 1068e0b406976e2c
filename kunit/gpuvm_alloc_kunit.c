// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * What may be done in the signalling path of a fence, and so allocates nothing. Every
 * section is watched (gpuvm_watch.h) and annotated, so that a kernel with lockdep checks
 * the locks as well.
 */
#include <linux/dma-fence.h>
#include <linux/gfp.h>
#include <linux/slab.h>
#include <linux/spinlock.h>

#include "gpuvm_bind.h"
#include "gpuvm_fixture.h"
#include "gpuvm_watch.h"

/* Held where nothing may sleep. */
static DEFINE_SPINLOCK(atomic);

static int watched_init(struct kunit *test)
{
	watch_require(test);
	return fixture_init(test);
}

static bool section_begin(void)
{
	watch_begin();
	return dma_fence_begin_signalling();
}

static unsigned int section_end(bool cookie)
{
	dma_fence_end_signalling(cookie);
	return watch_end();
}

static void watch_sees_allocations(struct kunit *test)
{
	struct kmem_cache *cache = kmem_cache_create("drm_svm_kunit", 64, 0, 0, NULL);
	unsigned int of_kmalloc, of_large, of_cache, of_page, of_nothing, of_nowait, kmallocs, after;
	void *memory, *large, *object;
	struct page *page;

	KUNIT_ASSERT_NOT_NULL(test, cache);

	watch_begin();
	memory = kmalloc(64, GFP_KERNEL);
	of_kmalloc = watch_end();
	kmallocs = watch_kmallocs();
	watch_begin();
	large = kmalloc(4 * PAGE_SIZE, GFP_KERNEL);
	of_large = watch_end();
	watch_begin();
	object = kmem_cache_alloc(cache, GFP_KERNEL);
	of_cache = watch_end();
	watch_begin();
	page = alloc_page(GFP_KERNEL);
	of_page = watch_end();
	watch_begin();
	of_nothing = watch_end();
	watch_begin();
	kfree(kmalloc(64, GFP_NOWAIT | __GFP_NOWARN));
	of_nowait = watch_end();
	kfree(kmalloc(64, GFP_KERNEL));
	after = watch_end();

	KUNIT_EXPECT_NOT_NULL(test, memory);
	KUNIT_EXPECT_NOT_NULL(test, large);
	KUNIT_EXPECT_NOT_NULL(test, object);
	KUNIT_EXPECT_NOT_NULL(test, page);
	KUNIT_EXPECT_GE(test, of_kmalloc, 1);
	KUNIT_EXPECT_EQ(test, kmallocs, 1);
	KUNIT_EXPECT_GE(test, of_large, 1);
	KUNIT_EXPECT_GE(test, of_cache, 1);
	KUNIT_EXPECT_GE(test, of_page, 1);
	KUNIT_EXPECT_EQ(test, of_nothing, 0);
	KUNIT_EXPECT_EQ(test, of_nowait, 0);
	KUNIT_EXPECT_EQ(test, after, 0);

	kfree(memory);
	kfree(large);
	kmem_cache_free(cache, object);
	if (page)
		__free_page(page);
	kmem_cache_destroy(cache);
}

#define INSERTED 64

/* In no order, so that the tree turns. */
static u64 scattered(unsigned int i)
{
	return FX_BASE + (i * 37 % INSERTED) * 0x10;
}

static void insert_and_remove(struct kunit *test)
{
	struct fx_vm *vm = fx_vm_create(test, 0);
	struct fx_va **vas = kunit_kcalloc(test, INSERTED, sizeof(*vas), GFP_KERNEL);
	unsigned int i, failed = 0, allocated, left = 0;
	struct drm_gpuva *va;
	bool cookie;

	KUNIT_ASSERT_NOT_NULL(test, vas);
	for (i = 0; i < INSERTED; i++)
		vas[i] = fx_va_create(test, scattered(i), 0x10, NULL, 0);

	mutex_lock(&vm->lock);
	cookie = section_begin();
	spin_lock(&atomic);
	for (i = 0; i < INSERTED; i++)
		failed += drm_gpuva_insert(&vm->base, &vas[i]->base) != 0;
	for (i = 0; i < INSERTED; i += 2)
		drm_gpuva_remove(&vas[i]->base);
	spin_unlock(&atomic);
	allocated = section_end(cookie);
	KUNIT_EXPECT_EQ(test, allocated, 0);
	KUNIT_EXPECT_EQ(test, failed, 0);

	drm_gpuvm_for_each_va(va, &vm->base)
		left++;
	KUNIT_EXPECT_EQ(test, left, 1 + INSERTED / 2);
	mutex_unlock(&vm->lock);

	for (i = 0; i < INSERTED; i += 2)
		fx_va_free(&vas[i]->base);
	fx_vm_destroy(vm);
}

static void link_and_unlink(struct kunit *test, enum drm_gpuvm_flags flags)
{
	struct fx_vm *vm = fx_vm_create(test, flags);
	struct drm_gem_object *obj = fx_bo_create(test, NULL);
	struct fx_va *va = fx_va_create(test, FX_BASE, 0x100, obj, 0);
	struct drm_gpuvm_bo *vm_bo;
	unsigned int allocated;
	bool cookie;

	fx_lock(vm);
	vm_bo = fx_obtain(vm, obj);
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, vm_bo);

	/* The mapping has the last reference, and gives it up. */
	cookie = section_begin();
	drm_gpuva_insert(&vm->base, &va->base);
	fx_link(vm, &va->base, vm_bo);
	fx_vm_bo_put(vm_bo);
	drm_gpuva_remove(&va->base);
	fx_unlink(vm, &va->base);
	allocated = section_end(cookie);
	KUNIT_EXPECT_EQ(test, allocated, 0);
	KUNIT_EXPECT_EQ(test, fx_gem_vm_bos(vm, obj), 0);
	fx_unlock(vm);

	fx_va_free(&va->base);
	fx_vm_destroy(vm);
}
FX_MODES(link_and_unlink)

static void sm_callbacks(struct kunit *test, enum drm_gpuvm_flags flags)
{
	struct fx_vm *vm = fx_vm_create(test, flags);
	struct drm_gem_object *obj = fx_bo_create(test, NULL);
	struct drm_gpuvm_map_req req = fx_req(obj, FX_BASE + 0x100, 0x300, 0);
	struct fx_steps map, unmap;
	unsigned int allocated;
	bool cookie;
	int ret;

	fx_lock(vm);
	fx_map(test, vm, obj, FX_BASE, 0x200, 0x1000);
	fx_map(test, vm, obj, FX_BASE + 0x200, 0x100, 0x2000);
	fx_map(test, vm, NULL, FX_BASE + 0x300, 0x200, 0);
	fx_steps_init(test, &map, vm, obj);
	fx_steps_init(test, &unmap, vm, NULL);

	cookie = section_begin();
	ret = drm_gpuvm_sm_map(&vm->base, &map, &req);
	ret = ret ?: drm_gpuvm_sm_unmap(&vm->base, &unmap, FX_BASE + 0x180, 0x10);
	allocated = section_end(cookie);
	KUNIT_EXPECT_EQ(test, ret, 0);
	KUNIT_EXPECT_EQ(test, allocated, 0);
	KUNIT_EXPECT_EQ(test, map.remaps + map.unmaps + map.maps + unmap.remaps, 5);
	fx_steps_fini(&map);
	fx_steps_fini(&unmap);
	FX_EXPECT_VAS(test, vm,
		      { FX_BASE, 0x100, obj, 0x1000 },
		      { FX_BASE + 0x100, 0x80, obj, 0 },
		      { FX_BASE + 0x190, 0x270, obj, 0x90 },
		      { FX_BASE + 0x400, 0x100, NULL, 0x100 });
	fx_unlock(vm);
	fx_vm_destroy(vm);
}
FX_MODES(sm_callbacks)

/* A list is one allocation with its first two steps, and each step after them another. */
static void op_lists(struct kunit *test)
{
	struct fx_vm *vm = fx_vm_create(test, 0);
	struct drm_gem_object *obj = fx_bo_create(test, vm);
	struct drm_gpuvm_map_req req = fx_req(obj, FX_BASE + 0x80, 0x200, 0);
	struct drm_gpuva_ops *ops;

	fx_lock(vm);
	fx_map(test, vm, obj, FX_BASE, 0x100, 0x1000);
	fx_map(test, vm, obj, FX_BASE + 0x100, 0x100, 0x2000);
	fx_map(test, vm, obj, FX_BASE + 0x200, 0x100, 0x3000);

	watch_begin();
	ops = drm_gpuvm_sm_map_ops_create(&vm->base, &req);
	watch_end();
	KUNIT_EXPECT_EQ(test, watch_kmallocs(), 1 + 2);
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, ops);
	drm_gpuva_ops_free(&vm->base, ops);

	/* Out of the middle of one mapping: REMAP and MAP. */
	req = fx_req(obj, FX_BASE + 0x40, 0x10, 0);
	watch_begin();
	ops = drm_gpuvm_sm_map_ops_create(&vm->base, &req);
	watch_end();
	KUNIT_EXPECT_EQ(test, watch_kmallocs(), 1);
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, ops);
	drm_gpuva_ops_free(&vm->base, ops);
	fx_unlock(vm);
	fx_vm_destroy(vm);
}

static void bind_commit(struct kunit *test, enum drm_gpuvm_flags flags)
{
	struct fx_vm *vm = fx_vm_create(test, flags);
	struct drm_gem_object *old = fx_bo_create(test, NULL);
	struct drm_gem_object *new = fx_bo_create(test, NULL);
	struct fx_bind *fb = fx_bind_create(test, vm);
	unsigned int allocated;
	bool cookie;

	fx_lock(vm);
	fx_map(test, vm, old, FX_BASE, 0x200, 0x1000);
	fx_map(test, vm, old, FX_BASE + 0x200, 0x200, 0x2000);

	/* The object that was goes altogether, with a mapping made only to go again. */
	fx_bind_begin(test, fb);
	fx_bind_map(test, fb, new, FX_BASE + 0x100, 0x200, 0);
	fx_bind_unmap(test, fb, FX_BASE + 0x180, 0x10);
	fx_bind_map(test, fb, NULL, FX_BASE, 0x100, 0);
	fx_bind_unmap(test, fb, FX_BASE + 0x300, 0x100);
	KUNIT_EXPECT_NOT_NULL(test, drm_svm_bind_driver_op(&fb->bind, 0, 0, NULL));
	fx_bind_prepare(test, fb);

	cookie = section_begin();
	drm_svm_bind_commit(&fb->bind);
	allocated = section_end(cookie);
	KUNIT_EXPECT_EQ(test, allocated, 0);
	KUNIT_EXPECT_EQ(test, fb->committed, fb->prepared);
	KUNIT_EXPECT_EQ(test, fb->misused, 0);
	KUNIT_EXPECT_EQ(test, fx_gem_vm_bos(vm, old), 0);
	FX_EXPECT_VAS(test, vm,
		      { FX_BASE, 0x100 },
		      { FX_BASE + 0x100, 0x80, new, 0 },
		      { FX_BASE + 0x190, 0x170, new, 0x90 });
	drm_svm_bind_finish(&fb->bind);
	fx_unlock(vm);
	fx_vm_destroy(vm);
}
FX_MODES(bind_commit)

/* The first steps lie in the transaction, and each one after them is one allocation. */
static void bind_queue(struct kunit *test)
{
	struct fx_vm *vm = fx_vm_create(test, DRM_GPUVM_IMMEDIATE_MODE);
	struct drm_gem_object *obj = fx_bo_create(test, NULL);
	struct fx_bind *fb = fx_bind_create(test, vm);
	struct drm_gpuvm_map_req req;
	unsigned int i, allocated;

	fx_lock(vm);
	fx_map(test, vm, obj, FX_BASE, 0x1000, 0);

	/* Four steps: REMAP and MAP, then an UNMAP, then a PREFETCH. */
	req = fx_req(obj, FX_BASE + 0x100, 0x100, 0);
	watch_begin();
	drm_svm_bind_begin(&fb->bind, &vm->base, &fx_bind_ops, fb);
	drm_svm_bind_map(&fb->bind, &req, 0, NULL);
	drm_svm_bind_unmap(&fb->bind, FX_BASE, 0x100, NULL);
	drm_svm_bind_prefetch(&fb->bind, FX_BASE + 0x180, 1, NULL);
	allocated = watch_end();
	KUNIT_EXPECT_EQ(test, allocated, 0);
	KUNIT_EXPECT_EQ(test, fx_bind_steps(fb), 4);

	for (i = 0; i < 8; i++) {
		req = fx_req(obj, FX_BASE + 0x2000 + i * 0x100, 0x100, 0);
		watch_begin();
		drm_svm_bind_map(&fb->bind, &req, 0, NULL);
		watch_end();
		KUNIT_EXPECT_EQ(test, watch_kmallocs(), 1);
	}
	KUNIT_EXPECT_EQ(test, fx_bind_steps(fb), 12);
	fx_bind_prepare(test, fb);
	fx_bind_commit(test, fb);

	/* Once it is over the room is there again. */
	watch_begin();
	drm_svm_bind_begin(&fb->bind, &vm->base, &fx_bind_ops, fb);
	for (i = 0; i < 4; i++)
		drm_svm_bind_unmap(&fb->bind, FX_BASE + 0x2000 + i * 0x100, 0x100, NULL);
	allocated = watch_end();
	KUNIT_EXPECT_EQ(test, allocated, 0);
	drm_svm_bind_abort(&fb->bind);
	fx_unlock(vm);
	fx_vm_destroy(vm);
}

static struct kunit_case gpuvm_alloc_cases[] = {
	KUNIT_CASE(watch_sees_allocations),
	KUNIT_CASE(insert_and_remove),
	FX_CASE_MODES(link_and_unlink),
	FX_CASE_MODES(sm_callbacks),
	KUNIT_CASE(op_lists),
	FX_CASE_MODES(bind_commit),
	KUNIT_CASE(bind_queue),
	{}
};

static struct kunit_suite gpuvm_alloc_suite = {
	.name = "dsvm_gpuvm_alloc",
	.suite_init = watch_suite_init,
	.suite_exit = watch_suite_exit,
	.init = watched_init,
	.exit = fixture_exit,
	.test_cases = gpuvm_alloc_cases,
};
kunit_test_suite(gpuvm_alloc_suite);
