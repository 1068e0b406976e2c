// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Spaces and mappings: drm/drm_gpuvm.h without its objects.
 */
#include <linux/seq_file.h>

#include "gpuvm_fixture.h"

static void init_and_put(struct kunit *test)
{
	struct fixture *f = test->priv;
	struct fx_vm *vm = fx_vm_create(test, DRM_GPUVM_USERBITS);
	struct drm_gem_object *root = drm_gpuvm_resv_obj(&vm->base);

	KUNIT_EXPECT_STREQ(test, vm->base.name, "drm_svm_kunit");
	KUNIT_EXPECT_PTR_EQ(test, vm->base.drm, f->drm);
	KUNIT_EXPECT_EQ(test, vm->base.flags, DRM_GPUVM_USERBITS);
	KUNIT_EXPECT_EQ(test, vm->base.mm_start, FX_START);
	KUNIT_EXPECT_EQ(test, vm->base.mm_range, FX_RANGE);
	KUNIT_EXPECT_EQ(test, kref_read(&f->drm->ref), 2);
	KUNIT_EXPECT_EQ(test, fx_obj_refs(root), 1);
	KUNIT_EXPECT_EQ(test, fx_vm_refs(vm), 1);
	KUNIT_EXPECT_TRUE(test, list_empty(&vm->base.extobj.list));
	KUNIT_EXPECT_TRUE(test, list_empty(&vm->base.evict.list));
	KUNIT_EXPECT_TRUE(test, llist_empty(&vm->base.bo_defer));

	KUNIT_EXPECT_PTR_EQ(test, drm_gpuvm_get(&vm->base), &vm->base);
	KUNIT_EXPECT_EQ(test, fx_vm_refs(vm), 2);
	drm_gpuvm_put(&vm->base);
	KUNIT_EXPECT_EQ(test, atomic_read(&fx_live.vms), 1);

	/* The root object outlives the space for whoever holds it. */
	drm_gem_object_get(root);
	drm_gpuvm_put(&vm->base);
	KUNIT_EXPECT_EQ(test, atomic_read(&fx_live.vms), 0);
	KUNIT_EXPECT_EQ(test, kref_read(&f->drm->ref), 1);
	KUNIT_EXPECT_EQ(test, fx_obj_refs(root), 1);
	drm_gem_object_put(root);

	drm_gpuvm_put(NULL);
}

static void resv_object(struct kunit *test)
{
	struct fixture *f = test->priv;
	struct drm_gem_object *obj = drm_gpuvm_resv_object_alloc(f->drm);
	struct fx_vm *vm = fx_vm_create(test, 0);

	KUNIT_ASSERT_NOT_NULL(test, obj);
	KUNIT_EXPECT_EQ(test, fx_obj_refs(obj), 1);
	KUNIT_EXPECT_EQ(test, obj->size, 0);
	KUNIT_EXPECT_PTR_EQ(test, obj->dev, f->drm);
	KUNIT_EXPECT_PTR_EQ(test, obj->resv, &obj->_resv);
	KUNIT_EXPECT_TRUE(test, drm_gpuvm_is_extobj(&vm->base, obj));
	drm_gem_object_put(obj);

	KUNIT_EXPECT_PTR_EQ(test, drm_gpuvm_resv(&vm->base), vm->base.r_obj->resv);
	KUNIT_EXPECT_FALSE(test, drm_gpuvm_is_extobj(&vm->base, vm->base.r_obj));
	KUNIT_EXPECT_FALSE(test, drm_gpuvm_is_extobj(&vm->base, NULL));
	fx_lock(vm);
	KUNIT_EXPECT_TRUE(test, dma_resv_is_locked(drm_gpuvm_resv(&vm->base)));
	drm_gpuvm_resv_assert_held(&vm->base);
	fx_unlock(vm);
	fx_vm_destroy(vm);
}

static void kernel_node(struct kunit *test)
{
	struct fx_vm *vm = fx_vm_create_at(test, 0, 0x1000, 0x1000, 0x1400, 0x100, &fx_ops);
	struct drm_gpuva *kernel = &vm->base.kernel_alloc_node;

	/* Everybody sees it, and it holds no reference. */
	KUNIT_EXPECT_EQ(test, fx_vm_refs(vm), 1);
	KUNIT_EXPECT_PTR_EQ(test, drm_gpuva_find(&vm->base, 0x1400, 0x100), kernel);
	KUNIT_EXPECT_FALSE(test, drm_gpuvm_interval_empty(&vm->base, 0x14ff, 1));

	KUNIT_EXPECT_FALSE(test, drm_gpuvm_range_valid(&vm->base, 0x1400, 0x100));
	KUNIT_EXPECT_FALSE(test, drm_gpuvm_range_valid(&vm->base, 0x1300, 0x101));
	KUNIT_EXPECT_FALSE(test, drm_gpuvm_range_valid(&vm->base, 0x14ff, 1));
	KUNIT_EXPECT_FALSE(test, drm_gpuvm_range_valid(&vm->base, 0x1000, 0x1000));
	KUNIT_EXPECT_TRUE(test, drm_gpuvm_range_valid(&vm->base, 0x1300, 0x100));
	KUNIT_EXPECT_TRUE(test, drm_gpuvm_range_valid(&vm->base, 0x1500, 0xb00));

	fx_lock(vm);
	fx_map(test, vm, NULL, 0x1300, 0x100, 0);
	fx_map(test, vm, NULL, 0x1500, 0x100, 0);
	KUNIT_EXPECT_EQ(test, fx_sm_unmap(test, vm, 0x1300, 0x300), -EINVAL);
	FX_EXPECT_VAS(test, vm, { 0x1300, 0x100 }, { 0x1500, 0x100 });
	fx_unlock(vm);
	fx_vm_destroy(vm);
}

static void no_kernel_node(struct kunit *test)
{
	struct fx_vm *vm = fx_vm_create_at(test, 0, 0, 0x1000, 0, 0, &fx_ops);

	KUNIT_EXPECT_TRUE(test, drm_gpuvm_interval_empty(&vm->base, 0, 0x1000));
	KUNIT_EXPECT_TRUE(test, drm_gpuvm_range_valid(&vm->base, 0, 0x1000));
	fx_vm_destroy(vm);
}

static void range_valid(struct kunit *test)
{
	static const struct {
		u64 addr;
		u64 range;
		bool valid;
	} spans[] = {
		{ 0x1000, 0x1000, true },
		{ 0x1000, 1, true },
		{ 0x1fff, 1, true },
		{ 0x1800, 0, false },
		{ 0xfff, 1, false },
		{ 0xfff, 2, false },
		{ 0x2000, 1, false },
		{ 0x1fff, 2, false },
		{ 0xfff, 0x1002, false },
		{ 0x1000, 0x1001, false },
		{ 0, U64_MAX, false },
		{ 0x1800, U64_MAX - 0x1800 + 1, false },
		{ 0x1800, U64_MAX, false },
		{ U64_MAX, 1, false },
		{ U64_MAX, 2, false },
	};
	struct fx_vm *vm = fx_vm_create_at(test, 0, 0x1000, 0x1000, 0, 0, &fx_ops);
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(spans); i++)
		KUNIT_EXPECT_EQ_MSG(test, spans[i].valid,
				    drm_gpuvm_range_valid(&vm->base, spans[i].addr,
							  spans[i].range),
				    "span %u", i);
	fx_vm_destroy(vm);
}

/* Nothing is special about the last of 2^64 units but that its end is 0. */
static void last_unit(struct kunit *test)
{
	const u64 start = 0ull - 0x1000;
	struct fx_vm *vm = fx_vm_create_at(test, 0, start, 0x1000, start, 0x10, &fx_ops);
	struct drm_gpuva *va, *next;
	struct fx_va *last;
	unsigned int n = 0;

	KUNIT_EXPECT_TRUE(test, drm_gpuvm_range_valid(&vm->base, U64_MAX, 1));
	KUNIT_EXPECT_TRUE(test, drm_gpuvm_range_valid(&vm->base, start + 0x10, 0xff0));
	KUNIT_EXPECT_FALSE(test, drm_gpuvm_range_valid(&vm->base, start, 0x1000));
	KUNIT_EXPECT_FALSE(test, drm_gpuvm_range_valid(&vm->base, U64_MAX, 2));
	KUNIT_EXPECT_FALSE(test, drm_gpuvm_range_valid(&vm->base, U64_MAX, 0));
	KUNIT_EXPECT_FALSE(test, drm_gpuvm_range_valid(&vm->base, 0, 1));

	fx_lock(vm);
	fx_map(test, vm, NULL, U64_MAX - 0xff, 0x80, 0);
	last = fx_map(test, vm, NULL, U64_MAX - 0x7f, 0x80, 0);
	KUNIT_EXPECT_PTR_EQ(test, drm_gpuva_find_first(&vm->base, U64_MAX, 1), &last->base);
	KUNIT_EXPECT_PTR_EQ(test, drm_gpuva_find(&vm->base, U64_MAX - 0x7f, 0x80), &last->base);
	KUNIT_EXPECT_PTR_EQ(test, drm_gpuva_find_next(&vm->base, U64_MAX - 0x7f), &last->base);
	KUNIT_EXPECT_TRUE(test, drm_gpuvm_interval_empty(&vm->base, start + 0x10, 0x100));

	drm_gpuvm_for_each_va_range(va, &vm->base, U64_MAX - 0x80, 0)
		n++;
	KUNIT_EXPECT_EQ(test, n, 2);
	drm_gpuvm_for_each_va_range_safe(va, next, &vm->base, U64_MAX - 0x7f, 0)
		fx_unmap(vm, va);
	FX_EXPECT_VAS(test, vm, { U64_MAX - 0xff, 0x80 });

	KUNIT_EXPECT_EQ(test, fx_sm_unmap(test, vm, U64_MAX - 0x8f, 0x90), 0);
	FX_EXPECT_VAS(test, vm, { U64_MAX - 0xff, 0x70 });
	fx_unlock(vm);
	fx_vm_destroy(vm);
}

static void insert_and_remove(struct kunit *test)
{
	struct fx_vm *vm = fx_vm_create(test, 0);
	struct fx_va *va = fx_va_create(test, FX_BASE, 0x100, NULL, 0);

	fx_lock(vm);
	KUNIT_EXPECT_EQ(test, drm_gpuva_insert(&vm->base, &va->base), 0);
	KUNIT_EXPECT_EQ(test, fx_vm_refs(vm), 2);
	KUNIT_EXPECT_PTR_EQ(test, va->base.vm, &vm->base);
	FX_EXPECT_VAS(test, vm, { FX_BASE, 0x100 });

	drm_gpuva_remove(&va->base);
	KUNIT_EXPECT_EQ(test, fx_vm_refs(vm), 1);
	KUNIT_EXPECT_TRUE(test, drm_gpuvm_interval_empty(&vm->base, FX_BASE, 0x100));

	/* A mapping that has been removed may come back, elsewhere. */
	va->base.va.addr = FX_BASE + 0x1000;
	KUNIT_EXPECT_EQ(test, drm_gpuva_insert(&vm->base, &va->base), 0);
	FX_EXPECT_VAS(test, vm, { FX_BASE + 0x1000, 0x100 });
	fx_unlock(vm);

	/* It keeps the space alive. */
	drm_gpuvm_put(&vm->base);
	KUNIT_ASSERT_EQ(test, atomic_read(&fx_live.vms), 1);
	drm_gpuva_remove(&va->base);
	KUNIT_EXPECT_EQ(test, atomic_read(&fx_live.vms), 0);
	fx_va_free(&va->base);
}

static void insert_refuses(struct kunit *test)
{
	static const struct {
		u64 addr;
		u64 range;
		int error;
	} spans[] = {
		{ FX_BASE + 0x100, 0x100, -EEXIST },
		{ FX_BASE + 0x0ff, 2, -EEXIST },
		{ FX_BASE + 0x1ff, 2, -EEXIST },
		{ FX_BASE + 0x180, 1, -EEXIST },
		{ FX_BASE, 0x300, -EEXIST },
		{ FX_BASE + 0x100, 1, -EEXIST },
		{ FX_BASE + 0x1ff, 1, -EEXIST },
		{ FX_BASE, 0, -EINVAL },
		{ FX_BASE + 0x100, 0, -EINVAL },
		{ FX_KERNEL_START, 1, -EINVAL },
		{ FX_BASE - 1, 2, -EINVAL },
		{ FX_START - 1, 1, -EINVAL },
		{ FX_START + FX_RANGE, 1, -EINVAL },
		{ FX_START + FX_RANGE - 1, 2, -EINVAL },
		{ FX_BASE, U64_MAX, -EINVAL },
		{ U64_MAX, 2, -EINVAL },
	};
	struct fx_vm *vm = fx_vm_create(test, 0);
	struct fx_va *va = fx_va_create(test, 0, 0, NULL, 0);
	struct fx_snapshot *before;
	unsigned int i;

	fx_lock(vm);
	fx_map(test, vm, NULL, FX_BASE + 0x100, 0x100, 0);
	before = fx_snapshot(test, vm);
	for (i = 0; i < ARRAY_SIZE(spans); i++) {
		drm_gpuva_init(&va->base, spans[i].addr, spans[i].range, NULL, 0);
		KUNIT_EXPECT_EQ_MSG(test, drm_gpuva_insert(&vm->base, &va->base),
				    spans[i].error, "span %u", i);
		fx_expect_unchanged(test, vm, before);
	}
	fx_unlock(vm);
	fx_va_free(&va->base);
	fx_vm_destroy(vm);
}

static void find(struct kunit *test)
{
	struct fx_vm *vm = fx_vm_create(test, 0);
	struct drm_gpuva *a, *b;

	fx_lock(vm);
	a = &fx_map(test, vm, NULL, FX_BASE + 0x100, 0x100, 0)->base;
	b = &fx_map(test, vm, NULL, FX_BASE + 0x300, 0x100, 0)->base;

	KUNIT_EXPECT_PTR_EQ(test, drm_gpuva_find(&vm->base, FX_BASE + 0x100, 0x100), a);
	KUNIT_EXPECT_NULL(test, drm_gpuva_find(&vm->base, FX_BASE + 0x100, 0xff));
	KUNIT_EXPECT_NULL(test, drm_gpuva_find(&vm->base, FX_BASE + 0x100, 0x101));
	KUNIT_EXPECT_NULL(test, drm_gpuva_find(&vm->base, FX_BASE + 0xff, 0x101));
	KUNIT_EXPECT_NULL(test, drm_gpuva_find(&vm->base, FX_BASE + 0x200, 0x100));

	KUNIT_EXPECT_PTR_EQ(test, drm_gpuva_find_first(&vm->base, FX_BASE, 0x101), a);
	KUNIT_EXPECT_PTR_EQ(test, drm_gpuva_find_first(&vm->base, FX_BASE, 0x1000), a);
	KUNIT_EXPECT_PTR_EQ(test, drm_gpuva_find_first(&vm->base, FX_BASE + 0x1ff, 1), a);
	KUNIT_EXPECT_PTR_EQ(test, drm_gpuva_find_first(&vm->base, FX_BASE + 0x200, 0x101), b);
	KUNIT_EXPECT_NULL(test, drm_gpuva_find_first(&vm->base, FX_BASE, 0x100));
	KUNIT_EXPECT_NULL(test, drm_gpuva_find_first(&vm->base, FX_BASE + 0x200, 0x100));
	KUNIT_EXPECT_NULL(test, drm_gpuva_find_first(&vm->base, FX_BASE + 0x400, 0x100));
	KUNIT_EXPECT_NULL(test, drm_gpuva_find_first(&vm->base, FX_BASE + 0x180, 0));

	KUNIT_EXPECT_TRUE(test, drm_gpuvm_interval_empty(&vm->base, FX_BASE, 0x100));
	KUNIT_EXPECT_TRUE(test, drm_gpuvm_interval_empty(&vm->base, FX_BASE + 0x200, 0x100));
	KUNIT_EXPECT_FALSE(test, drm_gpuvm_interval_empty(&vm->base, FX_BASE + 0x200, 0x101));
	KUNIT_EXPECT_FALSE(test, drm_gpuvm_interval_empty(&vm->base, FX_BASE + 0x1ff, 0x101));
	fx_unlock(vm);
	fx_vm_destroy(vm);
}

static void find_neighbours(struct kunit *test)
{
	struct fx_vm *vm = fx_vm_create(test, 0);
	struct drm_gpuva *a, *b, *c;

	fx_lock(vm);
	a = &fx_map(test, vm, NULL, FX_BASE + 0x100, 0x100, 0)->base;
	b = &fx_map(test, vm, NULL, FX_BASE + 0x200, 0x100, 0)->base;
	c = &fx_map(test, vm, NULL, FX_BASE + 0x400, 0x100, 0)->base;

	KUNIT_EXPECT_PTR_EQ(test, drm_gpuva_find_prev(&vm->base, b->va.addr), a);
	KUNIT_EXPECT_PTR_EQ(test, drm_gpuva_find_next(&vm->base, a->va.addr + a->va.range), b);
	/* Adjacent ones only. */
	KUNIT_EXPECT_NULL(test, drm_gpuva_find_prev(&vm->base, c->va.addr));
	KUNIT_EXPECT_NULL(test, drm_gpuva_find_next(&vm->base, b->va.addr + b->va.range));
	KUNIT_EXPECT_PTR_EQ(test, drm_gpuva_find_prev(&vm->base, c->va.addr + c->va.range), c);
	KUNIT_EXPECT_NULL(test, drm_gpuva_find_next(&vm->base, c->va.addr + c->va.range));
	/* One unit is enough, to be there and to be between. */
	a = &fx_map(test, vm, NULL, FX_BASE + 0x600, 1, 0)->base;
	KUNIT_EXPECT_PTR_EQ(test, drm_gpuva_find_prev(&vm->base, FX_BASE + 0x601), a);
	KUNIT_EXPECT_NULL(test, drm_gpuva_find_prev(&vm->base, FX_BASE + 0x602));
	KUNIT_EXPECT_NULL(test, drm_gpuva_find_prev(&vm->base, FX_BASE + 0x600));
	KUNIT_EXPECT_PTR_EQ(test, drm_gpuva_find_next(&vm->base, FX_BASE + 0x600), a);
	KUNIT_EXPECT_NULL(test, drm_gpuva_find_next(&vm->base, FX_BASE + 0x5ff));
	KUNIT_EXPECT_NULL(test, drm_gpuva_find_next(&vm->base, FX_BASE + 0x601));
	/* The neighbour in front of the first is the kernel's, and before 0 is nothing. */
	fx_map(test, vm, NULL, FX_BASE, 0x100, 0);
	KUNIT_EXPECT_PTR_EQ(test, drm_gpuva_find_prev(&vm->base, FX_BASE),
			    &vm->base.kernel_alloc_node);
	KUNIT_EXPECT_NULL(test, drm_gpuva_find_prev(&vm->base, 0));
	fx_unlock(vm);
	fx_vm_destroy(vm);
}

#define ITERATED 5

/* ITERATED mappings of 0x100 from FX_BASE on, with gaps of as much. */
static void map_iterated(struct kunit *test, struct fx_vm *vm)
{
	unsigned int i;

	for (i = 0; i < ITERATED; i++)
		fx_map(test, vm, NULL, FX_BASE + i * 0x200, 0x100, 0);
}

static void iterate(struct kunit *test)
{
	struct fx_vm *vm = fx_vm_create(test, 0);
	struct drm_gpuva *va, *before = NULL;
	unsigned int n = 0;

	fx_lock(vm);
	map_iterated(test, vm);

	drm_gpuvm_for_each_va(va, &vm->base) {
		if (before)
			KUNIT_EXPECT_LT(test, before->va.addr, va->va.addr);
		else
			KUNIT_EXPECT_PTR_EQ(test, va, &vm->base.kernel_alloc_node);
		before = va;
		n++;
	}
	KUNIT_EXPECT_EQ(test, n, ITERATED + 1);

	/* From the last unit of the second to the first of the fourth. */
	n = 0;
	drm_gpuvm_for_each_va_range(va, &vm->base, FX_BASE + 0x2ff, FX_BASE + 0x601) {
		n++;
		KUNIT_EXPECT_EQ(test, va->va.addr, FX_BASE + n * 0x200);
	}
	KUNIT_EXPECT_EQ(test, n, 3);

	/* One unit less at either end: only the third. */
	n = 0;
	drm_gpuvm_for_each_va_range(va, &vm->base, FX_BASE + 0x300, FX_BASE + 0x600) {
		n++;
		KUNIT_EXPECT_EQ(test, va->va.addr, FX_BASE + 0x400);
	}
	KUNIT_EXPECT_EQ(test, n, 1);

	n = 0;
	drm_gpuvm_for_each_va_range(va, &vm->base, FX_BASE + 0x300, FX_BASE + 0x400)
		n++;
	KUNIT_EXPECT_EQ(test, n, 0);
	fx_unlock(vm);
	fx_vm_destroy(vm);
}

static void iterate_and_remove(struct kunit *test)
{
	struct fx_vm *vm = fx_vm_create(test, 0);
	struct drm_gpuva *va, *next;
	unsigned int n = 0;

	fx_lock(vm);
	map_iterated(test, vm);
	drm_gpuvm_for_each_va_range_safe(va, next, &vm->base, FX_BASE + 0x200, FX_BASE + 0x601) {
		fx_unmap(vm, va);
		n++;
	}
	KUNIT_EXPECT_EQ(test, n, 3);
	FX_EXPECT_VAS(test, vm, { FX_BASE, 0x100 }, { FX_BASE + 0x800, 0x100 });
	KUNIT_EXPECT_EQ(test, fx_vm_refs(vm), 3);

	drm_gpuvm_for_each_va_safe(va, next, &vm->base)
		if (va != &vm->base.kernel_alloc_node)
			fx_unmap(vm, va);
	KUNIT_EXPECT_EQ(test, fx_vm_refs(vm), 1);
	KUNIT_EXPECT_TRUE(test, drm_gpuvm_interval_empty(&vm->base, FX_BASE,
							 FX_RANGE - FX_KERNEL_RANGE));
	fx_unlock(vm);
	fx_vm_destroy(vm);
}

static void flags(struct kunit *test)
{
	struct fx_va *va = fx_va_create(test, FX_BASE, 0x100, NULL, 0x42);
	const enum drm_gpuva_flags own = DRM_GPUVA_SPARSE | DRM_GPUVA_USERBITS;

	KUNIT_EXPECT_EQ(test, va->base.va.addr, FX_BASE);
	KUNIT_EXPECT_EQ(test, va->base.va.range, 0x100);
	KUNIT_EXPECT_EQ(test, va->base.gem.offset, 0x42);

	va->base.flags = own;
	KUNIT_EXPECT_FALSE(test, drm_gpuva_invalidated(&va->base));
	drm_gpuva_invalidate(&va->base, true);
	KUNIT_EXPECT_TRUE(test, drm_gpuva_invalidated(&va->base));
	KUNIT_EXPECT_EQ(test, va->base.flags, own | DRM_GPUVA_INVALIDATED);
	drm_gpuva_invalidate(&va->base, false);
	KUNIT_EXPECT_FALSE(test, drm_gpuva_invalidated(&va->base));
	KUNIT_EXPECT_EQ(test, va->base.flags, own);
	fx_va_free(&va->base);
}

static void free_and_count(struct drm_gpuva *va, void *count)
{
	(*(unsigned int *)count)++;
	fx_va_free(va);
}

/* Each mapping that is there has a reference to the space, and no other one has. */
static void replace(struct kunit *test)
{
	struct fx_vm *vm = fx_vm_create(test, 0);
	struct fx_va *va = fx_va_create(test, FX_BASE + 0x80, 0x200, NULL, 0x7000);
	struct fx_va *prev = fx_va_create(test, 0, 0, NULL, 0);
	struct fx_va *next = fx_va_create(test, 0, 0, NULL, 0);
	unsigned int gone = 0, refs;

	fx_lock(vm);
	fx_map(test, vm, NULL, FX_BASE, 0x100, 0x1000);
	fx_map(test, vm, NULL, FX_BASE + 0x100, 0x80, 0x2000);
	fx_map(test, vm, NULL, FX_BASE + 0x200, 0x100, 0x3000);
	refs = kref_read(&vm->base.kref);

	KUNIT_EXPECT_EQ(test, drm_svm_gpuva_replace(&vm->base, &va->base, NULL, &next->base,
						    free_and_count, &gone), -EINVAL);
	KUNIT_EXPECT_EQ(test, drm_svm_gpuva_replace(&vm->base, &va->base, &prev->base, NULL,
						    free_and_count, &gone), -EINVAL);
	KUNIT_EXPECT_EQ(test, gone, 0);
	FX_EXPECT_VAS(test, vm, { FX_BASE, 0x100, NULL, 0x1000 },
		      { FX_BASE + 0x100, 0x80, NULL, 0x2000 },
		      { FX_BASE + 0x200, 0x100, NULL, 0x3000 });

	KUNIT_EXPECT_EQ(test, drm_svm_gpuva_replace(&vm->base, &va->base, &prev->base,
						    &next->base, free_and_count, &gone), 0);
	KUNIT_EXPECT_EQ(test, gone, 3);
	KUNIT_EXPECT_EQ(test, kref_read(&vm->base.kref), refs);
	KUNIT_EXPECT_PTR_EQ(test, next->base.vm, &vm->base);
	FX_EXPECT_VAS(test, vm, { FX_BASE, 0x80, NULL, 0x1000 },
		      { FX_BASE + 0x80, 0x200, NULL, 0x7000 },
		      { FX_BASE + 0x280, 0x80, NULL, 0x3080 });

	/* Over nothing, what might remain is not needed and in no space. */
	va = fx_va_create(test, FX_BASE + 0x400, 0x100, NULL, 0);
	prev = fx_va_create(test, 1, 1, NULL, 0);
	KUNIT_EXPECT_EQ(test, drm_svm_gpuva_replace(&vm->base, &va->base, &prev->base, NULL,
						    free_and_count, &gone), 0);
	KUNIT_EXPECT_EQ(test, gone, 3);
	KUNIT_EXPECT_EQ(test, prev->base.va.range, 0);
	KUNIT_EXPECT_EQ(test, kref_read(&vm->base.kref), refs + 1);
	fx_va_free(&prev->base);
	fx_unlock(vm);
	fx_vm_destroy(vm);
}

#ifdef CONFIG_DEBUG_FS
static void expect_shown(struct kunit *test, const char *text, u64 number)
{
	char hex[20];

	snprintf(hex, sizeof(hex), "%llx", number);
	KUNIT_EXPECT_NOT_NULL_MSG(test, strstr(text, hex), "%s is not in:\n%s", hex, text);
}

static void debugfs(struct kunit *test)
{
	const size_t size = 4096;
	struct seq_file *m = kunit_kzalloc(test, sizeof(*m), GFP_KERNEL);
	char *text = kunit_kzalloc(test, size, GFP_KERNEL);
	struct fx_vm *vm = fx_vm_create(test, 0);
	struct drm_gem_object *obj = fx_bo_create(test, vm);
	struct drm_gpuva *va;

	KUNIT_ASSERT_NOT_NULL(test, m);
	KUNIT_ASSERT_NOT_NULL(test, text);
	m->buf = text;
	m->size = size - 1;

	fx_lock(vm);
	fx_map(test, vm, NULL, FX_BASE + 0xa00, 0x111, 0);
	fx_map(test, vm, obj, FX_BASE + 0xc00, 0x123, 0xabcd);
	KUNIT_EXPECT_EQ(test, drm_debugfs_gpuva_info(m, &vm->base), 0);
	KUNIT_EXPECT_FALSE(test, seq_has_overflowed(m));
	KUNIT_EXPECT_NOT_NULL(test, strstr(text, vm->base.name));
	drm_gpuvm_for_each_va(va, &vm->base) {
		expect_shown(test, text, va->va.addr);
		expect_shown(test, text, va->va.range);
		expect_shown(test, text, va->va.addr + va->va.range - 1);
		expect_shown(test, text, va->gem.offset);
	}
	fx_unlock(vm);
	fx_vm_destroy(vm);
}
#endif

static struct kunit_case gpuvm_cases[] = {
	KUNIT_CASE(init_and_put),
	KUNIT_CASE(resv_object),
	KUNIT_CASE(kernel_node),
	KUNIT_CASE(no_kernel_node),
	KUNIT_CASE(range_valid),
	KUNIT_CASE(last_unit),
	KUNIT_CASE(insert_and_remove),
	KUNIT_CASE(insert_refuses),
	KUNIT_CASE(find),
	KUNIT_CASE(find_neighbours),
	KUNIT_CASE(iterate),
	KUNIT_CASE(iterate_and_remove),
	KUNIT_CASE(flags),
	KUNIT_CASE(replace),
#ifdef CONFIG_DEBUG_FS
	KUNIT_CASE(debugfs),
#endif
	{}
};

static struct kunit_suite gpuvm_suite = {
	.name = "dsvm_gpuvm",
	.init = fixture_init,
	.exit = fixture_exit,
	.test_cases = gpuvm_cases,
};
kunit_test_suite(gpuvm_suite);
