// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Split and merge as a driver sees it: by callbacks and as lists of steps. Which steps
 * a request comes to is proved case by case on the core (kunit/cases/va_split.cc); here
 * it is what the driver gets, and what becomes of its objects.
 */
#include <linux/sizes.h>

#include "gpuvm_fixture.h"

/* Callbacks ------------------------------------------------------------------- */

static void sm_map(struct kunit *test, enum drm_gpuvm_flags flags)
{
	struct fx_vm *vm = fx_vm_create(test, flags);
	struct drm_gem_object *old = fx_bo_create(test, NULL);
	struct drm_gem_object *new = fx_bo_create(test, vm);
	struct drm_gpuvm_map_req req = fx_req(new, FX_BASE + 0x180, 0x200, 0x40);
	struct drm_gpuvm_bo *vm_bo;
	struct fx_steps steps;

	fx_lock(vm);
	fx_map(test, vm, old, FX_BASE + 0x100, 0x100, 0x1000);
	fx_map(test, vm, old, FX_BASE + 0x200, 0x100, 0x5000);
	fx_map(test, vm, old, FX_BASE + 0x300, 0x100, 0x3000);

	/* The end of the first, all of the second, the beginning of the third. */
	fx_steps_init(test, &steps, vm, new);
	KUNIT_EXPECT_EQ(test, drm_gpuvm_sm_map(&vm->base, &steps, &req), 0);
	KUNIT_EXPECT_EQ(test, steps.remaps, 2);
	KUNIT_EXPECT_EQ(test, steps.unmaps, 1);
	KUNIT_EXPECT_EQ(test, steps.maps, 1);
	fx_steps_fini(&steps);

	FX_EXPECT_VAS(test, vm,
		      { FX_BASE + 0x100, 0x80, old, 0x1000 },
		      { FX_BASE + 0x180, 0x200, new, 0x40 },
		      { FX_BASE + 0x380, 0x80, old, 0x3080 });
	vm_bo = fx_obtain(vm, old);
	KUNIT_EXPECT_EQ(test, fx_linked(vm, vm_bo), 2);
	KUNIT_EXPECT_EQ(test, kref_read(&vm_bo->kref), 3);
	fx_vm_bo_put(vm_bo);
	KUNIT_EXPECT_EQ(test, fx_vm_refs(vm), 1 + 3 + 2);
	fx_unlock(vm);
	fx_vm_destroy(vm);
}
FX_MODES(sm_map)

static void sm_unmap(struct kunit *test, enum drm_gpuvm_flags flags)
{
	struct fx_vm *vm = fx_vm_create(test, flags);
	struct drm_gem_object *obj = fx_bo_create(test, NULL);
	struct fx_steps steps;

	fx_lock(vm);
	fx_map(test, vm, obj, FX_BASE, 0x1000, 0x7000);

	fx_steps_init(test, &steps, vm, NULL);
	KUNIT_EXPECT_EQ(test, drm_gpuvm_sm_unmap(&vm->base, &steps, FX_BASE + 0x400, 0x100), 0);
	KUNIT_EXPECT_EQ(test, steps.remaps, 1);
	KUNIT_EXPECT_EQ(test, steps.unmaps + steps.maps, 0);
	fx_steps_fini(&steps);
	FX_EXPECT_VAS(test, vm,
		      { FX_BASE, 0x400, obj, 0x7000 },
		      { FX_BASE + 0x500, 0xb00, obj, 0x7500 });

	fx_steps_init(test, &steps, vm, NULL);
	KUNIT_EXPECT_EQ(test, drm_gpuvm_sm_unmap(&vm->base, &steps, FX_BASE, 0x1000), 0);
	KUNIT_EXPECT_EQ(test, steps.unmaps, 2);
	KUNIT_EXPECT_EQ(test, steps.remaps + steps.maps, 0);
	fx_steps_fini(&steps);
	KUNIT_EXPECT_EQ(test, fx_gem_vm_bos(vm, obj), 0);
	fx_unlock(vm);
	fx_vm_destroy(vm);
}
FX_MODES(sm_unmap)

static void sm_refuses(struct kunit *test)
{
	struct fx_vm *vm = fx_vm_create(test, 0);
	struct drm_gem_object *obj = fx_bo_create(test, vm);
	struct drm_gpuvm_map_req req = fx_req(obj, FX_BASE - 1, 2, 0);
	struct fx_snapshot *before;

	fx_lock(vm);
	fx_map(test, vm, obj, FX_BASE, 0x100, 0);
	before = fx_snapshot(test, vm);

	KUNIT_EXPECT_EQ(test, fx_sm_map(test, vm, &req), -EINVAL);
	req = fx_req(obj, FX_BASE, 0, 0);
	KUNIT_EXPECT_EQ(test, fx_sm_map(test, vm, &req), -EINVAL);
	/* Beyond the last unit that an object can have. */
	req = fx_req(obj, FX_BASE, 0x100, U64_MAX - 0xfe);
	KUNIT_EXPECT_EQ(test, fx_sm_map(test, vm, &req), -EINVAL);
	KUNIT_EXPECT_EQ(test, fx_sm_unmap(test, vm, FX_BASE, 0), -EINVAL);
	KUNIT_EXPECT_EQ(test, fx_sm_unmap(test, vm, FX_BASE, U64_MAX), -EINVAL);

	fx_expect_unchanged(test, vm, before);
	fx_unlock(vm);
	fx_vm_destroy(vm);
}

/* An error of the driver's ends the request, and what was done stays done. */
static void sm_step_fails(struct kunit *test)
{
	struct fx_vm *vm = fx_vm_create(test, 0);
	struct drm_gem_object *obj = fx_bo_create(test, vm);
	struct drm_gpuvm_map_req req = fx_req(obj, FX_BASE + 0x80, 0x180, 0);
	struct fx_steps steps;

	fx_lock(vm);
	fx_map(test, vm, NULL, FX_BASE, 0x100, 0);
	fx_map(test, vm, NULL, FX_BASE + 0x100, 0x100, 0);

	fx_steps_init(test, &steps, vm, obj);
	steps.fail_at = 1;
	KUNIT_EXPECT_EQ(test, drm_gpuvm_sm_map(&vm->base, &steps, &req), -EIO);
	FX_EXPECT_VAS(test, vm, { FX_BASE, 0x100 }, { FX_BASE + 0x100, 0x100 });

	steps.fail_at = 2;
	KUNIT_EXPECT_EQ(test, drm_gpuvm_sm_map(&vm->base, &steps, &req), -EIO);
	FX_EXPECT_VAS(test, vm, { FX_BASE, 0x80 }, { FX_BASE + 0x100, 0x100 });

	steps.fail_at = 2;
	KUNIT_EXPECT_EQ(test, drm_gpuvm_sm_map(&vm->base, &steps, &req), -EIO);
	FX_EXPECT_VAS(test, vm, { FX_BASE, 0x80 });
	KUNIT_EXPECT_EQ(test, steps.maps, 0);
	fx_steps_fini(&steps);
	fx_unlock(vm);
	fx_vm_destroy(vm);
}

/* Lists ------------------------------------------------------------------------ */

struct expected_op {
	enum drm_gpuva_op_type type;
	/* MAP: what is mapped. Else the mapping that it is about. */
	u64 addr;
	u64 range;
	bool keep;
	/* REMAP: what is cut out of it. */
	u64 gone_addr;
	u64 gone_range;
};

static void expect_op(struct kunit *test, const struct drm_gpuva_op *op,
		      const struct expected_op *expect, unsigned int n)
{
	const struct drm_gpuva *va = NULL;
	u64 addr, range;

	KUNIT_EXPECT_EQ_MSG(test, op->op, expect->type, "step %u", n);
	if (op->op != expect->type)
		return;

	switch (op->op) {
	case DRM_GPUVA_OP_MAP:
		KUNIT_EXPECT_EQ_MSG(test, op->map.va.addr, expect->addr, "step %u", n);
		KUNIT_EXPECT_EQ_MSG(test, op->map.va.range, expect->range, "step %u", n);
		return;
	case DRM_GPUVA_OP_REMAP:
		va = op->remap.unmap->va;
		KUNIT_EXPECT_EQ_MSG(test, op->remap.unmap->keep, expect->keep, "step %u", n);
		drm_gpuva_op_remap_to_unmap_range(&op->remap, &addr, NULL);
		drm_gpuva_op_remap_to_unmap_range(&op->remap, NULL, &range);
		KUNIT_EXPECT_EQ_MSG(test, addr, expect->gone_addr, "step %u", n);
		KUNIT_EXPECT_EQ_MSG(test, range, expect->gone_range, "step %u", n);
		break;
	case DRM_GPUVA_OP_UNMAP:
		va = op->unmap.va;
		KUNIT_EXPECT_EQ_MSG(test, op->unmap.keep, expect->keep, "step %u", n);
		break;
	case DRM_GPUVA_OP_PREFETCH:
		va = op->prefetch.va;
		break;
	case DRM_GPUVA_OP_DRIVER:
		return;
	}
	KUNIT_EXPECT_EQ_MSG(test, va->va.addr, expect->addr, "step %u", n);
	KUNIT_EXPECT_EQ_MSG(test, va->va.range, expect->range, "step %u", n);
}

/* Checks a list in both directions, and frees it. */
static void expect_ops(struct kunit *test, struct fx_vm *vm, struct drm_gpuva_ops *ops,
		       const struct expected_op *expect, unsigned int count)
{
	struct drm_gpuva_op *op, *next;
	unsigned int n = 0, total, taken = 0;

	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, ops);
	drm_gpuva_for_each_op(op, ops) {
		if (n < count)
			expect_op(test, op, &expect[n], n);
		n++;
	}
	KUNIT_EXPECT_EQ(test, n, count);
	total = n;

	drm_gpuva_for_each_op_reverse(op, ops)
		if (n-- <= count)
			expect_op(test, op, &expect[n], n);
	KUNIT_EXPECT_EQ(test, n, 0);

	if (total > 1) {
		KUNIT_EXPECT_PTR_EQ(test, drm_gpuva_next_op(drm_gpuva_first_op(ops)),
				    list_next_entry(drm_gpuva_first_op(ops), entry));
		op = drm_gpuva_prev_op(drm_gpuva_last_op(ops));
		drm_gpuva_for_each_op_from_reverse(op, ops)
			taken++;
		KUNIT_EXPECT_EQ(test, taken, total - 1);
	}

	/* Steps may be taken off and put back. */
	taken = 0;
	drm_gpuva_for_each_op_safe(op, next, ops) {
		list_move_tail(&op->entry, &ops->list);
		if (++taken == total)
			break;
	}
	drm_gpuva_ops_free(&vm->base, ops);
	KUNIT_EXPECT_EQ(test, atomic_read(&fx_live.ops), 0);
}

#define EXPECT_OPS(test, vm, ops, ...)						\
	do {									\
		const struct expected_op expect__[] = { __VA_ARGS__ };		\
										\
		expect_ops(test, vm, ops, expect__, ARRAY_SIZE(expect__));	\
	} while (0)

static struct fx_vm *vm_with_ops(struct kunit *test, const struct drm_gpuvm_ops *ops)
{
	return fx_vm_create_at(test, 0, FX_START, FX_RANGE, FX_KERNEL_START,
			       FX_KERNEL_RANGE, ops);
}

static void map_list(struct kunit *test, const struct drm_gpuvm_ops *hooks)
{
	struct fx_vm *vm = vm_with_ops(test, hooks);
	struct drm_gem_object *obj = fx_bo_create(test, vm);
	struct drm_gpuvm_map_req req = fx_req(obj, FX_BASE + 0x180, 0x200, 0x180);
	struct fx_snapshot *before;
	struct drm_gpuva_ops *ops;

	fx_lock(vm);
	/* The first two show the object where the request does, the third elsewhere. */
	fx_map(test, vm, obj, FX_BASE + 0x100, 0x100, 0x100);
	fx_map(test, vm, obj, FX_BASE + 0x200, 0x100, 0x200);
	fx_map(test, vm, obj, FX_BASE + 0x300, 0x100, 0);
	before = fx_snapshot(test, vm);

	ops = drm_gpuvm_sm_map_ops_create(&vm->base, &req);
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, ops);
	KUNIT_EXPECT_EQ(test, atomic_read(&fx_live.ops), hooks->op_alloc ? 4 : 0);
	KUNIT_EXPECT_EQ(test, drm_gpuva_first_op(ops)->remap.prev->gem.offset, 0x100);
	KUNIT_EXPECT_NULL(test, drm_gpuva_first_op(ops)->remap.next);
	KUNIT_EXPECT_PTR_EQ(test, drm_gpuva_last_op(ops)->map.gem.obj, obj);
	KUNIT_EXPECT_EQ(test, drm_gpuva_last_op(ops)->map.gem.offset, 0x180);
	EXPECT_OPS(test, vm, ops,
		   { DRM_GPUVA_OP_REMAP, FX_BASE + 0x100, 0x100, true, FX_BASE + 0x180, 0x80 },
		   { DRM_GPUVA_OP_UNMAP, FX_BASE + 0x200, 0x100, true },
		   { DRM_GPUVA_OP_REMAP, FX_BASE + 0x300, 0x100, false, FX_BASE + 0x300, 0x80 },
		   { DRM_GPUVA_OP_MAP, FX_BASE + 0x180, 0x200 });

	ops = drm_gpuvm_sm_unmap_ops_create(&vm->base, FX_BASE + 0x140, 0x100);
	EXPECT_OPS(test, vm, ops,
		   { DRM_GPUVA_OP_REMAP, FX_BASE + 0x100, 0x100, false, FX_BASE + 0x140, 0xc0 },
		   { DRM_GPUVA_OP_REMAP, FX_BASE + 0x200, 0x100, false, FX_BASE + 0x200, 0x40 });

	/* Both ends stay. */
	ops = drm_gpuvm_sm_unmap_ops_create(&vm->base, FX_BASE + 0x120, 0x10);
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, ops);
	KUNIT_EXPECT_EQ(test, drm_gpuva_first_op(ops)->remap.next->gem.offset, 0x130);
	EXPECT_OPS(test, vm, ops,
		   { DRM_GPUVA_OP_REMAP, FX_BASE + 0x100, 0x100, false, FX_BASE + 0x120, 0x10 });

	ops = drm_gpuvm_sm_unmap_ops_create(&vm->base, FX_BASE + 0x1000, 0x100);
	expect_ops(test, vm, ops, NULL, 0);

	/* Whoever only plans changes nothing. */
	fx_expect_unchanged(test, vm, before);
	fx_unlock(vm);
	fx_vm_destroy(vm);
}

static void map_list_default(struct kunit *test)
{
	map_list(test, &fx_ops);
}

static void map_list_hooks(struct kunit *test)
{
	map_list(test, &fx_ops_with_op_hooks);
}

static void madvise_list(struct kunit *test)
{
	struct fx_vm *vm = vm_with_ops(test, &fx_ops_with_op_hooks);
	struct drm_gem_object *obj = fx_bo_create(test, vm);
	struct drm_gpuvm_map_req req = fx_req(NULL, FX_BASE + 0x180, 0x300, 0);

	fx_lock(vm);
	fx_map(test, vm, NULL, FX_BASE + 0x100, 0x100, 0);
	fx_map(test, vm, NULL, FX_BASE + 0x200, 0x100, 0);
	fx_map(test, vm, obj, FX_BASE + 0x300, 0x100, 0);
	fx_map(test, vm, NULL, FX_BASE + 0x400, 0x100, 0);

	/* Cut at both ends; what lies inside, and what has an object, is left alone. */
	EXPECT_OPS(test, vm, drm_gpuvm_madvise_ops_create(&vm->base, &req),
		   { DRM_GPUVA_OP_REMAP, FX_BASE + 0x100, 0x100, false, FX_BASE + 0x180, 0x80 },
		   { DRM_GPUVA_OP_MAP, FX_BASE + 0x180, 0x80 },
		   { DRM_GPUVA_OP_REMAP, FX_BASE + 0x400, 0x100, false, FX_BASE + 0x400, 0x80 },
		   { DRM_GPUVA_OP_MAP, FX_BASE + 0x400, 0x80 });

	req = fx_req(NULL, FX_BASE + 0x140, 0x40, 0);
	EXPECT_OPS(test, vm, drm_gpuvm_madvise_ops_create(&vm->base, &req),
		   { DRM_GPUVA_OP_REMAP, FX_BASE + 0x100, 0x100, false, FX_BASE + 0x140, 0x40 },
		   { DRM_GPUVA_OP_MAP, FX_BASE + 0x140, 0x40 });

	req = fx_req(NULL, FX_BASE + 0x100, 0x200, 0);
	expect_ops(test, vm, drm_gpuvm_madvise_ops_create(&vm->base, &req), NULL, 0);
	fx_unlock(vm);
	fx_vm_destroy(vm);
}

static void prefetch_list(struct kunit *test)
{
	struct fx_vm *vm = vm_with_ops(test, &fx_ops_with_op_hooks);

	fx_lock(vm);
	fx_map(test, vm, NULL, FX_BASE + 0x100, 0x100, 0);
	fx_map(test, vm, NULL, FX_BASE + 0x200, 0x100, 0);
	fx_map(test, vm, NULL, FX_BASE + 0x400, 0x100, 0);

	/* Each mapping that overlaps, as a whole. */
	EXPECT_OPS(test, vm, drm_gpuvm_prefetch_ops_create(&vm->base, FX_BASE + 0x1ff, 0x201),
		   { DRM_GPUVA_OP_PREFETCH, FX_BASE + 0x100, 0x100 },
		   { DRM_GPUVA_OP_PREFETCH, FX_BASE + 0x200, 0x100 });
	expect_ops(test, vm, drm_gpuvm_prefetch_ops_create(&vm->base, FX_BASE + 0x300, 0x100),
		   NULL, 0);
	fx_unlock(vm);
	fx_vm_destroy(vm);
}

static void bo_unmap_list(struct kunit *test, enum drm_gpuvm_flags flags)
{
	struct fx_vm *vm = fx_vm_create_at(test, flags, FX_START, FX_RANGE, FX_KERNEL_START,
					   FX_KERNEL_RANGE, &fx_ops_with_op_hooks);
	struct drm_gem_object *obj = fx_bo_create(test, NULL);
	struct drm_gem_object *other = fx_bo_create(test, NULL);
	struct drm_gpuvm_bo *vm_bo;
	struct drm_gpuva_ops *ops;

	fx_lock(vm);
	fx_map(test, vm, obj, FX_BASE, 0x100, 0);
	fx_map(test, vm, other, FX_BASE + 0x100, 0x100, 0);
	fx_map(test, vm, obj, FX_BASE + 0x200, 0x100, 0);

	vm_bo = fx_obtain(vm, obj);
	fx_gem_lock(vm, obj);
	ops = drm_gpuvm_bo_unmap_ops_create(vm_bo);
	fx_gem_unlock(vm, obj);
	EXPECT_OPS(test, vm, ops,
		   { DRM_GPUVA_OP_UNMAP, FX_BASE, 0x100 },
		   { DRM_GPUVA_OP_UNMAP, FX_BASE + 0x200, 0x100 });
	fx_vm_bo_put(vm_bo);
	fx_unlock(vm);
	fx_vm_destroy(vm);
}
FX_MODES(bo_unmap_list)

/* Applying a list is what the callbacks do, so drm_gpuva_map() and the like are used too. */
static void list_is_applied(struct kunit *test)
{
	struct fx_vm *vm = fx_vm_create(test, 0);
	struct drm_gem_object *obj = fx_bo_create(test, vm);
	struct drm_gpuvm_map_req req = fx_req(obj, FX_BASE + 0x80, 0x100, 0x30);
	const struct drm_gpuvm_ops *fn = &fx_ops;
	struct drm_gpuva_ops *ops;
	struct drm_gpuva_op *op;
	struct fx_steps steps;
	int ret = 0;

	fx_lock(vm);
	fx_map(test, vm, obj, FX_BASE, 0x100, 0x100);
	fx_map(test, vm, obj, FX_BASE + 0x100, 0x40, 0x200);
	fx_map(test, vm, obj, FX_BASE + 0x140, 0x100, 0x300);

	ops = drm_gpuvm_sm_map_ops_create(&vm->base, &req);
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, ops);
	fx_steps_init(test, &steps, vm, obj);
	drm_gpuva_for_each_op(op, ops) {
		if (op->op == DRM_GPUVA_OP_MAP)
			ret = fn->sm_step_map(op, &steps);
		else if (op->op == DRM_GPUVA_OP_REMAP)
			ret = fn->sm_step_remap(op, &steps);
		else
			ret = fn->sm_step_unmap(op, &steps);
		KUNIT_EXPECT_EQ(test, ret, 0);
	}
	fx_steps_fini(&steps);
	drm_gpuva_ops_free(&vm->base, ops);

	FX_EXPECT_VAS(test, vm,
		      { FX_BASE, 0x80, obj, 0x100 },
		      { FX_BASE + 0x80, 0x100, obj, 0x30 },
		      { FX_BASE + 0x180, 0xc0, obj, 0x340 });
	fx_unlock(vm);
	fx_vm_destroy(vm);
}

/* Of a request of `count` steps: which of them could not be allocated. */
#define EXPECT_EACH_REFUSED(test, count, create)				\
	do {									\
		unsigned int n__;						\
										\
		for (n__ = 1; n__ <= (count); n__++) {				\
			fx_refuse(n__);						\
			KUNIT_EXPECT_PTR_EQ(test, create,			\
					    (struct drm_gpuva_ops *)ERR_PTR(-ENOMEM)); \
			KUNIT_EXPECT_TRUE(test, fx_refused());			\
			KUNIT_EXPECT_EQ(test, atomic_read(&fx_live.ops), 0);	\
		}								\
		fx_refuse(0);							\
	} while (0)

static void op_alloc_fails(struct kunit *test)
{
	struct fx_vm *vm = vm_with_ops(test, &fx_ops_with_op_hooks);
	struct drm_gem_object *obj = fx_bo_create(test, vm);
	struct drm_gpuvm_map_req req = fx_req(obj, FX_BASE + 0x80, 0x200, 0);
	struct fx_snapshot *before;
	struct drm_gpuvm_bo *vm_bo;

	fx_lock(vm);
	fx_map(test, vm, NULL, FX_BASE, 0x100, 0);
	fx_map(test, vm, obj, FX_BASE + 0x100, 0x100, 0);
	fx_map(test, vm, NULL, FX_BASE + 0x200, 0x100, 0);
	fx_map(test, vm, obj, FX_BASE + 0x300, 0x100, 0);
	vm_bo = fx_obtain(vm, obj);
	before = fx_snapshot(test, vm);

	EXPECT_EACH_REFUSED(test, 4, drm_gpuvm_sm_map_ops_create(&vm->base, &req));
	EXPECT_EACH_REFUSED(test, 4, drm_gpuvm_madvise_ops_create(&vm->base, &req));
	EXPECT_EACH_REFUSED(test, 3,
			    drm_gpuvm_sm_unmap_ops_create(&vm->base, FX_BASE + 0x80, 0x200));
	EXPECT_EACH_REFUSED(test, 4, drm_gpuvm_prefetch_ops_create(&vm->base, FX_BASE, 0x400));
	EXPECT_EACH_REFUSED(test, 2, drm_gpuvm_bo_unmap_ops_create(vm_bo));

	fx_expect_unchanged(test, vm, before);
	fx_vm_bo_put(vm_bo);
	fx_unlock(vm);
	fx_vm_destroy(vm);
}

static void lists_refuse(struct kunit *test)
{
	struct fx_vm *vm = vm_with_ops(test, &fx_ops_with_op_hooks);
	struct drm_gpuvm_map_req req = fx_req(NULL, FX_BASE, 0, 0);
	struct drm_gpuva_ops *invalid = ERR_PTR(-EINVAL);

	KUNIT_EXPECT_PTR_EQ(test, drm_gpuvm_sm_map_ops_create(&vm->base, &req), invalid);
	KUNIT_EXPECT_PTR_EQ(test, drm_gpuvm_madvise_ops_create(&vm->base, &req), invalid);
	KUNIT_EXPECT_PTR_EQ(test, drm_gpuvm_sm_unmap_ops_create(&vm->base, FX_START, 1), invalid);
	KUNIT_EXPECT_PTR_EQ(test,
			    drm_gpuvm_prefetch_ops_create(&vm->base, FX_BASE, U64_MAX), invalid);
	fx_vm_destroy(vm);
}

/* A list and a step that the driver has made, and one more that is ours and on it now. */
static void list_of_the_driver(struct kunit *test)
{
	struct fx_vm *vm = vm_with_ops(test, &fx_ops);
	struct drm_gpuva_ops *mine, *ops;
	struct drm_gpuva_op *op;

	fx_lock(vm);
	fx_map(test, vm, NULL, FX_BASE, 0x100, 0);
	fx_map(test, vm, NULL, FX_BASE + 0x100, 0x100, 0);
	fx_map(test, vm, NULL, FX_BASE + 0x200, 0x100, 0);

	mine = kzalloc(sizeof(*mine), GFP_KERNEL);
	op = kzalloc(sizeof(*op), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, mine);
	KUNIT_ASSERT_NOT_NULL(test, op);
	INIT_LIST_HEAD(&mine->list);
	op->op = DRM_GPUVA_OP_DRIVER;
	list_add_tail(&op->entry, &mine->list);

	ops = drm_gpuvm_prefetch_ops_create(&vm->base, FX_BASE, 0x300);
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, ops);
	op = drm_gpuva_last_op(ops);
	/* The third, which is no part of the list's memory. */
	list_move_tail(&op->entry, &mine->list);
	drm_gpuva_ops_free(&vm->base, ops);
	KUNIT_EXPECT_PTR_EQ(test, op->prefetch.va,
			    drm_gpuva_find(&vm->base, FX_BASE + 0x200, 0x100));
	drm_gpuva_ops_free(&vm->base, mine);
	fx_unlock(vm);
	fx_vm_destroy(vm);
}

static void repeat_is_split(struct kunit *test)
{
	struct fx_vm *vm = fx_vm_create(test, 0);
	struct drm_gem_object *obj = fx_bo_create(test, vm);
	struct drm_gpuvm_map_req req = fx_req(obj, FX_BASE, 0x100, 0x48);
	struct drm_gpuva *va;

	req.map.flags = DRM_GPUVA_REPEAT;
	req.map.gem.repeat_offset = 0x40;
	req.map.gem.repeat_range = 0x10;

	fx_lock(vm);
	KUNIT_EXPECT_EQ(test, fx_sm_map(test, vm, &req), 0);
	KUNIT_EXPECT_EQ(test, fx_sm_unmap(test, vm, FX_BASE + 0x20, 0x13), 0);
	/* 0x33 units after 0x48, in a window of 0x40 to 0x4f. */
	FX_EXPECT_VAS(test, vm,
		      { FX_BASE, 0x20, obj, 0x48 },
		      { FX_BASE + 0x33, 0xcd, obj, 0x4b });
	drm_gpuvm_for_each_va_range(va, &vm->base, FX_BASE, FX_BASE + 0x100) {
		KUNIT_EXPECT_TRUE(test, va->flags & DRM_GPUVA_REPEAT);
		KUNIT_EXPECT_EQ(test, va->gem.repeat_offset, 0x40);
		KUNIT_EXPECT_EQ(test, va->gem.repeat_range, 0x10);
	}

	/* A window that the beginning is not in. */
	req.map.gem.offset = 0x50;
	KUNIT_EXPECT_EQ(test, fx_sm_map(test, vm, &req), -EINVAL);
	fx_unlock(vm);
	fx_vm_destroy(vm);
}

static void remap_pieces(struct kunit *test)
{
	struct fx_vm *vm = fx_vm_create_at(test, 0, 0, SZ_64M, 0, 0, &fx_ops);
	struct drm_svm_remap_pieces pieces;
	struct drm_gpuva_ops *ops;

	fx_lock(vm);
	fx_map(test, vm, NULL, SZ_1M, SZ_16M, 0);

	/* The hole cuts the blocks of 2 MiB from 4 MiB and from 6 MiB on. */
	ops = drm_gpuvm_sm_unmap_ops_create(&vm->base, SZ_4M + SZ_4K, SZ_2M);
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, ops);
	drm_svm_remap_pieces(&drm_gpuva_first_op(ops)->remap, SZ_2M, &pieces);
	KUNIT_EXPECT_EQ(test, pieces.prev_addr, SZ_1M);
	KUNIT_EXPECT_EQ(test, pieces.prev_range, SZ_4M - SZ_1M);
	KUNIT_EXPECT_EQ(test, pieces.zap_addr, SZ_4M);
	KUNIT_EXPECT_EQ(test, pieces.zap_range, SZ_4M);
	KUNIT_EXPECT_EQ(test, pieces.next_addr, SZ_8M);
	KUNIT_EXPECT_EQ(test, pieces.next_range, SZ_16M + SZ_1M - SZ_8M);

	drm_svm_remap_pieces(&drm_gpuva_first_op(ops)->remap, 1, &pieces);
	KUNIT_EXPECT_EQ(test, pieces.zap_addr, SZ_4M + SZ_4K);
	KUNIT_EXPECT_EQ(test, pieces.zap_range, SZ_2M);
	drm_gpuva_ops_free(&vm->base, ops);
	fx_unlock(vm);
	fx_vm_destroy(vm);
}

static struct kunit_case gpuvm_ops_cases[] = {
	FX_CASE_MODES(sm_map),
	FX_CASE_MODES(sm_unmap),
	KUNIT_CASE(sm_refuses),
	KUNIT_CASE(sm_step_fails),
	KUNIT_CASE(map_list_default),
	KUNIT_CASE(map_list_hooks),
	KUNIT_CASE(madvise_list),
	KUNIT_CASE(prefetch_list),
	FX_CASE_MODES(bo_unmap_list),
	KUNIT_CASE(list_is_applied),
	KUNIT_CASE(op_alloc_fails),
	KUNIT_CASE(lists_refuse),
	KUNIT_CASE(list_of_the_driver),
	KUNIT_CASE(repeat_is_split),
	KUNIT_CASE(remap_pieces),
	{}
};

static struct kunit_suite gpuvm_ops_suite = {
	.name = "dsvm_gpuvm_ops",
	.init = fixture_init,
	.exit = fixture_exit,
	.test_cases = gpuvm_ops_cases,
};
kunit_test_suite(gpuvm_ops_suite);
