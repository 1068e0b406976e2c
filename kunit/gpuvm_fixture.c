// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * See gpuvm_fixture.h.
 */
#include <linux/fs.h>
#include <linux/module.h>
#include <linux/platform_device.h>
#include <linux/slab.h>

#include <drm/drm_drv.h>
#include <drm/drm_gem.h>

#include "gpuvm_fixture.h"

struct fx_live fx_live;

/* The device ------------------------------------------------------------------- */

/* Nobody opens it; it says whose the device is. */
static const struct file_operations fx_fops = {
	.owner = THIS_MODULE,
};

static const struct drm_driver fx_driver = {
	.driver_features = DRIVER_GEM,
	.fops = &fx_fops,
	.name = "drm_svm_kunit",
	.desc = "a driver that exists in tests only",
	.major = 1,
};

int fixture_init(struct kunit *test)
{
	struct fixture *f = kunit_kzalloc(test, sizeof(*f), GFP_KERNEL);

	if (!f)
		return -ENOMEM;

	memset(&fx_live, 0, sizeof(fx_live));

	f->parent = platform_device_register_simple("drm_svm_kunit", -1, NULL, 0);
	if (IS_ERR(f->parent))
		return PTR_ERR(f->parent);

	f->drm = drm_dev_alloc(&fx_driver, &f->parent->dev);
	if (IS_ERR(f->drm)) {
		platform_device_unregister(f->parent);
		return PTR_ERR(f->drm);
	}

	test->priv = f;
	return 0;
}

void fixture_exit(struct kunit *test)
{
	struct fixture *f = test->priv;
	unsigned int i;

	/* The suite's init() has failed, and said so. */
	if (!f)
		return;

	for (i = 0; i < f->bo_count; i++) {
		KUNIT_EXPECT_EQ_MSG(test, fx_obj_refs(&f->bos[i]->base), 1,
				    "object %u has references that nobody owns", i);
		drm_gem_object_put(&f->bos[i]->base);
	}

	KUNIT_EXPECT_EQ(test, atomic_read(&fx_live.vms), 0);
	KUNIT_EXPECT_EQ(test, atomic_read(&fx_live.bos), 0);
	KUNIT_EXPECT_EQ(test, atomic_read(&fx_live.vm_bos), 0);
	KUNIT_EXPECT_EQ(test, atomic_read(&fx_live.vas), 0);
	KUNIT_EXPECT_EQ(test, atomic_read(&fx_live.ops), 0);
	KUNIT_EXPECT_EQ_MSG(test, kref_read(&f->drm->ref), 1,
			    "the device has references that nobody owns");

	drm_dev_put(f->drm);
	platform_device_unregister(f->parent);
}

/* The driver's hooks ------------------------------------------------------------ */

/* Memory for one object of @live, unless this is the allocation to refuse. */
static void *fx_alloc_gfp(atomic_t *live, size_t size, gfp_t gfp)
{
	void *memory;

	if (atomic_read(&fx_live.refuse) > 0 && atomic_dec_and_test(&fx_live.refuse))
		return NULL;

	memory = kzalloc(size, gfp);
	if (memory)
		atomic_inc(live);
	return memory;
}

static void *fx_alloc(atomic_t *live, size_t size)
{
	return fx_alloc_gfp(live, size, GFP_KERNEL);
}

static void fx_free(atomic_t *live, void *memory)
{
	atomic_dec(live);
	kfree(memory);
}

static void fx_vm_free(struct drm_gpuvm *gpuvm)
{
	struct fx_vm *vm = to_fx_vm(gpuvm);

	mutex_destroy(&vm->lock);
	fx_free(&fx_live.vms, vm);
}

static struct drm_gpuva_op *fx_op_alloc(void)
{
	/* drm_gpuvm_bo_unmap_ops_create() may come with a lock that reclaim waits for. */
	struct fx_op *op = fx_alloc_gfp(&fx_live.ops, sizeof(*op), GFP_NOWAIT);

	if (!op)
		return NULL;
	op->canary = FX_CANARY;
	return &op->base;
}

static void fx_op_free(struct drm_gpuva_op *base)
{
	struct fx_op *op = container_of(base, struct fx_op, base);

	WARN_ON(op->canary != FX_CANARY);
	fx_free(&fx_live.ops, op);
}

static struct drm_gpuvm_bo *fx_vm_bo_alloc(void)
{
	struct fx_vm_bo *vm_bo = fx_alloc(&fx_live.vm_bos, sizeof(*vm_bo));

	if (!vm_bo)
		return NULL;
	vm_bo->canary = FX_CANARY;
	return &vm_bo->base;
}

static void fx_vm_bo_free(struct drm_gpuvm_bo *base)
{
	struct fx_vm_bo *vm_bo = container_of(base, struct fx_vm_bo, base);

	WARN_ON(vm_bo->canary != FX_CANARY);
	/* Who calls this under the lock then does not return. */
	if (fx_live.free_locks && drm_gpuvm_immediate_mode(base->vm)) {
		mutex_lock(drm_svm_gem_gpuva_lock(base->obj));
		mutex_unlock(drm_svm_gem_gpuva_lock(base->obj));
	}
	fx_free(&fx_live.vm_bos, vm_bo);
}

static int fx_vm_bo_validate(struct drm_gpuvm_bo *vm_bo, struct drm_exec *exec)
{
	struct fx_bo *bo = to_fx_bo(vm_bo->obj);

	bo->validated++;
	if (bo->on_validate)
		bo->on_validate(vm_bo);
	if (bo->validate_error)
		return bo->validate_error;

	drm_gpuvm_bo_evict(vm_bo, false);
	return 0;
}

static bool fx_step_fails(struct fx_steps *steps)
{
	return steps->fail_at && --steps->fail_at == 0;
}

static struct drm_gpuva *fx_spare(struct fx_steps *steps)
{
	struct fx_va *va;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(steps->spare); i++) {
		va = steps->spare[i];
		if (va) {
			steps->spare[i] = NULL;
			return &va->base;
		}
	}

	WARN(1, "a request made more mappings than it may");
	return NULL;
}

static int fx_step_map(struct drm_gpuva_op *op, void *priv)
{
	struct fx_steps *steps = priv;
	struct drm_gpuva *va;

	if (fx_step_fails(steps))
		return -EIO;

	steps->maps++;
	va = fx_spare(steps);
	drm_gpuva_map(&steps->vm->base, va, &op->map);
	if (va->gem.obj)
		fx_link(steps->vm, va, steps->vm_bo);
	return 0;
}

static int fx_step_remap(struct drm_gpuva_op *op, void *priv)
{
	struct drm_gpuva *old = op->remap.unmap->va, *prev = NULL, *next = NULL;
	struct fx_steps *steps = priv;

	if (fx_step_fails(steps))
		return -EIO;

	steps->remaps++;
	if (op->remap.prev)
		prev = fx_spare(steps);
	if (op->remap.next)
		next = fx_spare(steps);
	drm_gpuva_remap(prev, next, &op->remap);
	if (old->gem.obj && prev)
		fx_link(steps->vm, prev, old->vm_bo);
	if (old->gem.obj && next)
		fx_link(steps->vm, next, old->vm_bo);
	fx_unlink(steps->vm, old);
	fx_va_free(old);
	return 0;
}

static int fx_step_unmap(struct drm_gpuva_op *op, void *priv)
{
	struct drm_gpuva *va = op->unmap.va;
	struct fx_steps *steps = priv;

	if (fx_step_fails(steps))
		return -EIO;

	steps->unmaps++;
	drm_gpuva_unmap(&op->unmap);
	fx_unlink(steps->vm, va);
	fx_va_free(va);
	return 0;
}

const struct drm_gpuvm_ops fx_ops = {
	.vm_free = fx_vm_free,
	.vm_bo_alloc = fx_vm_bo_alloc,
	.vm_bo_free = fx_vm_bo_free,
	.vm_bo_validate = fx_vm_bo_validate,
	.sm_step_map = fx_step_map,
	.sm_step_remap = fx_step_remap,
	.sm_step_unmap = fx_step_unmap,
};

const struct drm_gpuvm_ops fx_ops_bare = {
	.vm_free = fx_vm_free,
};

const struct drm_gpuvm_ops fx_ops_with_op_hooks = {
	.vm_free = fx_vm_free,
	.op_alloc = fx_op_alloc,
	.op_free = fx_op_free,
	.vm_bo_alloc = fx_vm_bo_alloc,
	.vm_bo_free = fx_vm_bo_free,
	.vm_bo_validate = fx_vm_bo_validate,
	.sm_step_map = fx_step_map,
	.sm_step_remap = fx_step_remap,
	.sm_step_unmap = fx_step_unmap,
};

/* Spaces, objects, mappings ------------------------------------------------------- */

struct fx_vm *fx_vm_create_at(struct kunit *test, enum drm_gpuvm_flags flags,
			      u64 start, u64 range, u64 kernel_start, u64 kernel_range,
			      const struct drm_gpuvm_ops *ops)
{
	struct fixture *f = test->priv;
	struct drm_gem_object *root = drm_gpuvm_resv_object_alloc(f->drm);
	struct fx_vm *vm = fx_alloc(&fx_live.vms, sizeof(*vm));

	KUNIT_ASSERT_NOT_NULL(test, root);
	KUNIT_ASSERT_NOT_NULL(test, vm);

	vm->fixture = f;
	mutex_init(&vm->lock);
	drm_gpuvm_init(&vm->base, "drm_svm_kunit", flags, f->drm, root, start, range,
		       kernel_start, kernel_range, ops);
	/* The space has its own reference. */
	drm_gem_object_put(root);
	return vm;
}

struct fx_vm *fx_vm_create(struct kunit *test, enum drm_gpuvm_flags flags)
{
	return fx_vm_create_at(test, flags, FX_START, FX_RANGE, FX_KERNEL_START,
			       FX_KERNEL_RANGE, &fx_ops);
}

void fx_vm_destroy(struct fx_vm *vm)
{
	fx_lock(vm);
	fx_unmap_all(vm);
	fx_unlock(vm);
	drm_gpuvm_bo_deferred_cleanup(&vm->base);
	drm_gpuvm_put(&vm->base);
}

static void fx_bo_free(struct drm_gem_object *obj)
{
	struct fx_bo *bo = to_fx_bo(obj);

	drm_gem_object_release(obj);
	if (bo->root)
		drm_gem_object_put(bo->root);
	fx_free(&fx_live.bos, bo);
}

static const struct drm_gem_object_funcs fx_bo_funcs = {
	.free = fx_bo_free,
};

struct drm_gem_object *fx_bo_create(struct kunit *test, struct fx_vm *vm)
{
	struct fixture *f = test->priv;
	struct fx_bo *bo;

	KUNIT_ASSERT_LT(test, f->bo_count, FX_MAX_BOS);
	bo = fx_alloc(&fx_live.bos, sizeof(*bo));
	KUNIT_ASSERT_NOT_NULL(test, bo);

	bo->base.funcs = &fx_bo_funcs;
	if (vm) {
		bo->root = drm_gpuvm_resv_obj(&vm->base);
		drm_gem_object_get(bo->root);
		bo->base.resv = bo->root->resv;
	}
	drm_gem_private_object_init(f->drm, &bo->base, PAGE_SIZE);
	f->bos[f->bo_count++] = bo;
	return &bo->base;
}

void fx_bo_abandon(struct kunit *test, struct drm_gem_object *obj)
{
	struct fixture *f = test->priv;
	unsigned int i;

	for (i = 0; i < f->bo_count && &f->bos[i]->base != obj; i++)
		;
	KUNIT_ASSERT_LT(test, i, f->bo_count);
	f->bos[i] = f->bos[--f->bo_count];
	drm_gem_object_put(obj);
}

struct drm_gpuva *fx_va_alloc(void)
{
	struct fx_va *va = fx_alloc(&fx_live.vas, sizeof(*va));

	if (!va)
		return NULL;
	va->canary = FX_CANARY;
	return &va->base;
}

struct fx_va *fx_va_create(struct kunit *test, u64 addr, u64 range,
			   struct drm_gem_object *obj, u64 offset)
{
	struct drm_gpuva *va = fx_va_alloc();

	KUNIT_ASSERT_NOT_NULL(test, va);
	drm_gpuva_init(va, addr, range, obj, offset);
	return to_fx_va(va);
}

void fx_va_free(struct drm_gpuva *base)
{
	struct fx_va *va = to_fx_va(base);

	WARN_ON(va->canary != FX_CANARY);
	fx_free(&fx_live.vas, va);
}

/* Locks ----------------------------------------------------------------------------- */

void fx_lock(struct fx_vm *vm)
{
	struct fixture *f = vm->fixture;
	unsigned int i;

	mutex_lock(&vm->lock);
	vm->locked_count = 0;
	vm->locked[vm->locked_count++] = drm_gpuvm_resv_obj(&vm->base);
	for (i = 0; i < f->bo_count; i++)
		if (!f->bos[i]->root)
			vm->locked[vm->locked_count++] = &f->bos[i]->base;
	WARN_ON(drm_gem_lock_reservations(vm->locked, vm->locked_count, &vm->ticket));
}

void fx_unlock(struct fx_vm *vm)
{
	drm_gem_unlock_reservations(vm->locked, vm->locked_count, &vm->ticket);
	mutex_unlock(&vm->lock);
}

void fx_gem_lock(struct fx_vm *vm, struct drm_gem_object *obj)
{
	if (drm_gpuvm_immediate_mode(&vm->base))
		mutex_lock(drm_svm_gem_gpuva_lock(obj));
}

void fx_gem_unlock(struct fx_vm *vm, struct drm_gem_object *obj)
{
	if (drm_gpuvm_immediate_mode(&vm->base))
		mutex_unlock(drm_svm_gem_gpuva_lock(obj));
}

/* What a driver does by hand --------------------------------------------------------- */

struct drm_gpuvm_bo *fx_obtain(struct fx_vm *vm, struct drm_gem_object *obj)
{
	struct drm_gpuvm_bo *vm_bo;

	if (drm_gpuvm_immediate_mode(&vm->base)) {
		vm_bo = drm_gpuvm_bo_create(&vm->base, obj);
		if (!vm_bo)
			return ERR_PTR(-ENOMEM);
		vm_bo = drm_gpuvm_bo_obtain_prealloc(vm_bo);
	} else {
		vm_bo = drm_gpuvm_bo_obtain_locked(&vm->base, obj);
	}
	if (!IS_ERR(vm_bo))
		drm_gpuvm_bo_extobj_add(vm_bo);
	return vm_bo;
}

void fx_vm_bo_put(struct drm_gpuvm_bo *vm_bo)
{
	if (drm_gpuvm_immediate_mode(vm_bo->vm))
		drm_gpuvm_bo_put_deferred(vm_bo);
	else
		drm_gpuvm_bo_put(vm_bo);
}

void fx_link(struct fx_vm *vm, struct drm_gpuva *va, struct drm_gpuvm_bo *vm_bo)
{
	fx_gem_lock(vm, va->gem.obj);
	drm_gpuva_link(va, vm_bo);
	fx_gem_unlock(vm, va->gem.obj);
}

void fx_unlink(struct fx_vm *vm, struct drm_gpuva *va)
{
	if (drm_gpuvm_immediate_mode(&vm->base))
		drm_gpuva_unlink_defer(va);
	else
		drm_gpuva_unlink(va);
}

struct fx_va *fx_map(struct kunit *test, struct fx_vm *vm, struct drm_gem_object *obj,
		     u64 addr, u64 range, u64 offset)
{
	struct fx_va *va = fx_va_create(test, addr, range, obj, offset);
	struct drm_gpuvm_bo *vm_bo;

	KUNIT_ASSERT_EQ(test, drm_gpuva_insert(&vm->base, &va->base), 0);
	if (!obj)
		return va;

	vm_bo = fx_obtain(vm, obj);
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, vm_bo);
	fx_link(vm, &va->base, vm_bo);
	fx_vm_bo_put(vm_bo);
	return va;
}

void fx_unmap(struct fx_vm *vm, struct drm_gpuva *va)
{
	drm_gpuva_remove(va);
	if (va->vm_bo)
		fx_unlink(vm, va);
	fx_va_free(va);
}

void fx_unmap_all(struct fx_vm *vm)
{
	struct drm_gpuva *va, *next;

	drm_gpuvm_for_each_va_safe(va, next, &vm->base)
		if (va != &vm->base.kernel_alloc_node)
			fx_unmap(vm, va);
}

void fx_steps_init(struct kunit *test, struct fx_steps *steps, struct fx_vm *vm,
		   struct drm_gem_object *obj)
{
	unsigned int i;

	memset(steps, 0, sizeof(*steps));
	steps->vm = vm;
	for (i = 0; i < ARRAY_SIZE(steps->spare); i++)
		steps->spare[i] = fx_va_create(test, 0, 0, NULL, 0);
	if (obj) {
		steps->vm_bo = fx_obtain(vm, obj);
		KUNIT_ASSERT_NOT_ERR_OR_NULL(test, steps->vm_bo);
	}
}

void fx_steps_fini(struct fx_steps *steps)
{
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(steps->spare); i++)
		if (steps->spare[i])
			fx_va_free(&steps->spare[i]->base);
	if (steps->vm_bo)
		fx_vm_bo_put(steps->vm_bo);
}

int fx_sm_map(struct kunit *test, struct fx_vm *vm, const struct drm_gpuvm_map_req *req)
{
	struct fx_steps steps;
	int ret;

	fx_steps_init(test, &steps, vm, req->map.gem.obj);
	ret = drm_gpuvm_sm_map(&vm->base, &steps, req);
	fx_steps_fini(&steps);
	return ret;
}

int fx_sm_unmap(struct kunit *test, struct fx_vm *vm, u64 addr, u64 range)
{
	struct fx_steps steps;
	int ret;

	fx_steps_init(test, &steps, vm, NULL);
	ret = drm_gpuvm_sm_unmap(&vm->base, &steps, addr, range);
	fx_steps_fini(&steps);
	return ret;
}
