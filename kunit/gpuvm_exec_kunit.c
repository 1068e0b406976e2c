// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Locking many objects at once: drm/drm_gpuvm_exec.h. For kernels with drm_exec.
 */
#include <linux/dma-fence.h>
#include <linux/dma-resv.h>
#include <linux/slab.h>

#include "compat/drm_exec_compat.h"
#include "gpuvm_fixture.h"

#define EXPECT_LOCKED(test, obj, locked) \
	KUNIT_EXPECT_EQ(test, dma_resv_is_locked((obj)->resv), locked)

/* A space that shows two external objects and a local one, and a third that is nowhere. */
struct scene {
	struct fx_vm *vm;
	struct drm_gem_object *local;
	struct drm_gem_object *external[2];
	struct drm_gem_object *unbound;
	struct fx_va *in_local;
	struct fx_va *in_external[2];
};

static void scene_init(struct kunit *test, struct scene *s, enum drm_gpuvm_flags flags)
{
	unsigned int i;

	s->vm = fx_vm_create(test, flags);
	s->local = fx_bo_create(test, s->vm);
	s->unbound = fx_bo_create(test, NULL);
	for (i = 0; i < ARRAY_SIZE(s->external); i++)
		s->external[i] = fx_bo_create(test, NULL);

	fx_lock(s->vm);
	s->in_local = fx_map(test, s->vm, s->local, FX_BASE, 0x100, 0);
	for (i = 0; i < ARRAY_SIZE(s->external); i++)
		s->in_external[i] = fx_map(test, s->vm, s->external[i],
					   FX_BASE + (i + 1) * 0x100, 0x100, 0);
	fx_unlock(s->vm);
}

static void scene_fini(struct scene *s)
{
	fx_vm_destroy(s->vm);
}

static void expect_locked(struct kunit *test, struct scene *s, bool local, bool external0,
			  bool external1, bool unbound)
{
	EXPECT_LOCKED(test, s->local, local);
	EXPECT_LOCKED(test, s->external[0], external0);
	EXPECT_LOCKED(test, s->external[1], external1);
	EXPECT_LOCKED(test, s->unbound, unbound);
}

static void prepare(struct kunit *test, enum drm_gpuvm_flags flags)
{
	struct drm_exec exec;
	struct scene s;
	int ret = 0;

	scene_init(test, &s, flags);
	compat_drm_exec_init(&exec, 0);
	drm_exec_until_all_locked(&exec) {
		ret = drm_gpuvm_prepare_vm(&s.vm->base, &exec, 1);
		drm_exec_retry_on_contention(&exec);
		if (ret)
			break;
		ret = drm_gpuvm_prepare_objects(&s.vm->base, &exec, 1);
		drm_exec_retry_on_contention(&exec);
	}
	KUNIT_EXPECT_EQ(test, ret, 0);
	expect_locked(test, &s, true, true, true, false);
	KUNIT_EXPECT_EQ(test, exec.num_objects, 3);
	drm_exec_fini(&exec);
	expect_locked(test, &s, false, false, false, false);
	KUNIT_EXPECT_EQ(test, fx_obj_refs(s.external[0]), 2);
	KUNIT_EXPECT_EQ(test, fx_extobjs(s.vm), 2);
	scene_fini(&s);
}
FX_MODES(prepare)

static void prepare_vm(struct kunit *test)
{
	struct drm_exec exec;
	struct scene s;
	int ret = 0;

	scene_init(test, &s, 0);
	compat_drm_exec_init(&exec, 0);
	drm_exec_until_all_locked(&exec) {
		ret = drm_gpuvm_prepare_vm(&s.vm->base, &exec, 0);
		drm_exec_retry_on_contention(&exec);
	}
	KUNIT_EXPECT_EQ(test, ret, 0);
	expect_locked(test, &s, true, false, false, false);
	drm_exec_fini(&exec);
	expect_locked(test, &s, false, false, false, false);
	scene_fini(&s);
}

static int lock_range(struct fx_vm *vm, struct drm_exec *exec, u64 addr, u64 range,
		      unsigned int num_fences)
{
	int ret = 0;

	compat_drm_exec_init(exec, DRM_EXEC_IGNORE_DUPLICATES);
	drm_exec_until_all_locked(exec) {
		ret = drm_gpuvm_prepare_range(&vm->base, exec, addr, range, num_fences);
		drm_exec_retry_on_contention(exec);
	}
	return ret;
}

static void prepare_range(struct kunit *test)
{
	struct drm_exec exec;
	struct scene s;

	scene_init(test, &s, 0);
	fx_lock(s.vm);
	fx_map(test, s.vm, NULL, FX_BASE + 0x300, 0x100, 0);
	fx_unlock(s.vm);

	mutex_lock(&s.vm->lock);
	KUNIT_EXPECT_EQ(test, lock_range(s.vm, &exec, FX_BASE + 0xff, 2, 1), 0);
	expect_locked(test, &s, true, true, false, false);
	drm_exec_fini(&exec);

	KUNIT_EXPECT_EQ(test, lock_range(s.vm, &exec, FX_BASE + 0x200, 0x1000, 0), 0);
	expect_locked(test, &s, false, false, true, false);
	drm_exec_fini(&exec);
	mutex_unlock(&s.vm->lock);
	scene_fini(&s);
}

/* Locks all there is and unlocks it: for what is expected to fail. */
static int try_exec_lock(struct drm_gpuvm_exec *vm_exec)
{
	int ret = drm_gpuvm_exec_lock(vm_exec);

	if (!ret)
		drm_gpuvm_exec_unlock(vm_exec);
	return ret;
}

static int lock_unbound(struct drm_gpuvm_exec *vm_exec)
{
	struct scene *s = vm_exec->extra.priv;

	return drm_exec_prepare_obj(&vm_exec->exec, s->unbound, 1);
}

static int refuse_to_lock(struct drm_gpuvm_exec *vm_exec)
{
	return -EIO;
}

static void exec_lock(struct kunit *test, enum drm_gpuvm_flags flags)
{
	struct drm_gpuvm_exec vm_exec;
	struct scene s;

	scene_init(test, &s, flags);
	vm_exec = (struct drm_gpuvm_exec){ .vm = &s.vm->base };
	KUNIT_ASSERT_EQ(test, drm_gpuvm_exec_lock(&vm_exec), 0);
	expect_locked(test, &s, true, true, true, false);
	drm_gpuvm_exec_unlock(&vm_exec);
	expect_locked(test, &s, false, false, false, false);

	vm_exec = (struct drm_gpuvm_exec){
		.vm = &s.vm->base,
		.flags = DRM_EXEC_INTERRUPTIBLE_WAIT,
		.num_fences = 2,
		.extra.fn = lock_unbound,
		.extra.priv = &s,
	};
	KUNIT_ASSERT_EQ(test, drm_gpuvm_exec_lock(&vm_exec), 0);
	expect_locked(test, &s, true, true, true, true);
	drm_gpuvm_exec_unlock(&vm_exec);

	/* After an error nothing is locked. */
	vm_exec.extra.fn = refuse_to_lock;
	KUNIT_EXPECT_EQ(test, try_exec_lock(&vm_exec), -EIO);
	expect_locked(test, &s, false, false, false, false);
	scene_fini(&s);
}
FX_MODES(exec_lock)

static void exec_lock_array(struct kunit *test)
{
	struct drm_gpuvm_exec vm_exec;
	struct scene s;
	int ret;

	scene_init(test, &s, 0);
	vm_exec = (struct drm_gpuvm_exec){ .vm = &s.vm->base, .num_fences = 1 };
	KUNIT_ASSERT_EQ(test, drm_gpuvm_exec_lock_array(&vm_exec, &s.unbound, 1), 0);
	expect_locked(test, &s, true, true, true, true);
	drm_gpuvm_exec_unlock(&vm_exec);
	expect_locked(test, &s, false, false, false, false);

	/* What is locked already is an error, unless duplicates are allowed. */
	ret = drm_gpuvm_exec_lock_array(&vm_exec, &s.external[0], 1);
	KUNIT_EXPECT_EQ(test, ret, -EALREADY);
	if (!ret)
		drm_gpuvm_exec_unlock(&vm_exec);
	expect_locked(test, &s, false, false, false, false);
	vm_exec.flags = DRM_EXEC_IGNORE_DUPLICATES;
	KUNIT_ASSERT_EQ(test, drm_gpuvm_exec_lock_array(&vm_exec, s.external, 2), 0);
	expect_locked(test, &s, true, true, true, false);
	drm_gpuvm_exec_unlock(&vm_exec);
	scene_fini(&s);
}

static void exec_lock_range(struct kunit *test)
{
	struct drm_gpuvm_exec vm_exec;
	struct scene s;

	scene_init(test, &s, 0);
	vm_exec = (struct drm_gpuvm_exec){ .vm = &s.vm->base };
	mutex_lock(&s.vm->lock);
	KUNIT_ASSERT_EQ(test, drm_gpuvm_exec_lock_range(&vm_exec, FX_BASE + 0x100, 0x100), 0);
	expect_locked(test, &s, false, true, false, false);
	drm_gpuvm_exec_unlock(&vm_exec);
	expect_locked(test, &s, false, false, false, false);
	mutex_unlock(&s.vm->lock);
	scene_fini(&s);
}

static int lock_for_map(struct fx_vm *vm, struct drm_exec *exec, unsigned int num_fences,
			struct drm_gpuvm_map_req req)
{
	int ret = 0;

	compat_drm_exec_init(exec, DRM_EXEC_IGNORE_DUPLICATES);
	drm_exec_until_all_locked(exec) {
		ret = drm_gpuvm_sm_map_exec_lock(&vm->base, exec, num_fences, &req);
		drm_exec_retry_on_contention(exec);
	}
	return ret;
}

static int lock_for_unmap(struct fx_vm *vm, struct drm_exec *exec, u64 addr, u64 range)
{
	int ret = 0;

	compat_drm_exec_init(exec, DRM_EXEC_IGNORE_DUPLICATES);
	drm_exec_until_all_locked(exec) {
		ret = drm_gpuvm_sm_unmap_exec_lock(&vm->base, exec, addr, range);
		drm_exec_retry_on_contention(exec);
	}
	return ret;
}

static void sm_exec_lock(struct kunit *test)
{
	struct drm_exec exec;
	struct scene s;
	int ret;

	scene_init(test, &s, 0);
	mutex_lock(&s.vm->lock);

	/* What is cut, and what comes. */
	ret = lock_for_map(s.vm, &exec, 1, fx_req(s.unbound, FX_BASE + 0x180, 0x10, 0));
	KUNIT_EXPECT_EQ(test, ret, 0);
	expect_locked(test, &s, false, true, false, true);
	drm_exec_fini(&exec);

	/* Without an object, and over one mapping whole and a part of another. */
	ret = lock_for_map(s.vm, &exec, 0, fx_req(NULL, FX_BASE + 0x100, 0x180, 0));
	KUNIT_EXPECT_EQ(test, ret, 0);
	expect_locked(test, &s, false, true, true, false);
	drm_exec_fini(&exec);

	ret = lock_for_unmap(s.vm, &exec, FX_BASE, 0x180);
	KUNIT_EXPECT_EQ(test, ret, 0);
	expect_locked(test, &s, true, true, false, false);
	drm_exec_fini(&exec);

	ret = lock_for_unmap(s.vm, &exec, FX_BASE, 0);
	KUNIT_EXPECT_EQ(test, ret, -EINVAL);
	drm_exec_fini(&exec);

	FX_EXPECT_VAS(test, s.vm,
		      { FX_BASE, 0x100, s.local },
		      { FX_BASE + 0x100, 0x100, s.external[0] },
		      { FX_BASE + 0x200, 0x100, s.external[1] });
	mutex_unlock(&s.vm->lock);
	scene_fini(&s);
}

/* Evicted objects -------------------------------------------------------------------- */

static void evict(struct scene *s, struct drm_gem_object *obj)
{
	fx_lock(s->vm);
	fx_gem_lock(s->vm, obj);
	drm_gpuvm_bo_gem_evict(obj, true);
	fx_gem_unlock(s->vm, obj);
	fx_unlock(s->vm);
}

static unsigned int validated(struct drm_gem_object *obj)
{
	return to_fx_bo(obj)->validated;
}

static void validate(struct kunit *test, enum drm_gpuvm_flags flags)
{
	struct drm_gpuvm_exec vm_exec;
	struct scene s;

	scene_init(test, &s, flags);
	evict(&s, s.local);
	evict(&s, s.external[1]);

	vm_exec = (struct drm_gpuvm_exec){ .vm = &s.vm->base, .num_fences = 1 };
	KUNIT_ASSERT_EQ(test, drm_gpuvm_exec_lock(&vm_exec), 0);
	KUNIT_EXPECT_EQ(test, fx_evicted(s.vm), 2);
	KUNIT_EXPECT_EQ(test, drm_gpuvm_exec_validate(&vm_exec), 0);
	KUNIT_EXPECT_EQ(test, validated(s.local), 1);
	KUNIT_EXPECT_EQ(test, validated(s.external[0]), 0);
	KUNIT_EXPECT_EQ(test, validated(s.external[1]), 1);
	KUNIT_EXPECT_EQ(test, fx_evicted(s.vm), 0);

	/* They are back. */
	KUNIT_EXPECT_EQ(test, drm_gpuvm_exec_validate(&vm_exec), 0);
	KUNIT_EXPECT_EQ(test, validated(s.local), 1);
	KUNIT_EXPECT_EQ(test, validated(s.external[1]), 1);
	drm_gpuvm_exec_unlock(&vm_exec);
	scene_fini(&s);
}
FX_MODES(validate)

static void validate_fails(struct kunit *test, enum drm_gpuvm_flags flags)
{
	struct drm_gpuvm_exec vm_exec;
	struct scene s;

	scene_init(test, &s, flags);
	evict(&s, s.local);
	evict(&s, s.external[0]);
	evict(&s, s.external[1]);
	to_fx_bo(s.external[0])->validate_error = -ENOSPC;

	vm_exec = (struct drm_gpuvm_exec){ .vm = &s.vm->base, .num_fences = 1 };
	KUNIT_ASSERT_EQ(test, drm_gpuvm_exec_lock(&vm_exec), 0);

	/* The error ends it; what is still evicted stays so, in the list as well. */
	KUNIT_EXPECT_EQ(test, drm_gpuvm_exec_validate(&vm_exec), -ENOSPC);
	KUNIT_EXPECT_EQ(test, validated(s.external[0]), 1);
	KUNIT_EXPECT_TRUE(test, s.in_external[0]->base.vm_bo->evicted);
	KUNIT_EXPECT_EQ(test, fx_evicted(s.vm),
			3 - validated(s.local) - validated(s.external[1]));
	KUNIT_EXPECT_EQ(test, s.in_local->base.vm_bo->evicted, !validated(s.local));
	KUNIT_EXPECT_EQ(test, s.in_external[1]->base.vm_bo->evicted, !validated(s.external[1]));

	to_fx_bo(s.external[0])->validate_error = 0;
	KUNIT_EXPECT_EQ(test, drm_gpuvm_exec_validate(&vm_exec), 0);
	KUNIT_EXPECT_EQ(test, validated(s.local), 1);
	KUNIT_EXPECT_EQ(test, validated(s.external[0]), 2);
	KUNIT_EXPECT_EQ(test, validated(s.external[1]), 1);
	KUNIT_EXPECT_EQ(test, fx_evicted(s.vm), 0);
	drm_gpuvm_exec_unlock(&vm_exec);
	KUNIT_EXPECT_EQ(test, kref_read(&s.in_external[0]->base.vm_bo->kref), 1);
	scene_fini(&s);
}
FX_MODES(validate_fails)

static void validate_needs_the_driver(struct kunit *test)
{
	struct fx_vm *vm = fx_vm_create_at(test, 0, FX_START, FX_RANGE, 0, 0, &fx_ops_bare);
	struct drm_gpuvm_exec vm_exec = { .vm = &vm->base };

	KUNIT_ASSERT_EQ(test, drm_gpuvm_exec_lock(&vm_exec), 0);
	KUNIT_EXPECT_EQ(test, drm_gpuvm_exec_validate(&vm_exec), -EOPNOTSUPP);
	drm_gpuvm_exec_unlock(&vm_exec);
	fx_vm_destroy(vm);
}

static bool waits_at_once;

static void unlink_last(struct drm_gpuvm_bo *vm_bo)
{
	struct drm_gpuvm *gpuvm = vm_bo->vm;

	drm_gpuva_unlink_defer(list_first_entry(&vm_bo->list.gpuva, struct drm_gpuva, gem.entry));
	waits_at_once = !llist_empty(&gpuvm->bo_defer);
}

/*
 * A driver that lets the cleanup follow each unlink need not let it follow a
 * validation: that takes no reference which could be the last one.
 */
static void validate_keeps_nothing(struct kunit *test)
{
	struct drm_gpuvm_exec vm_exec;
	struct scene s;

	scene_init(test, &s, DRM_GPUVM_IMMEDIATE_MODE | DRM_GPUVM_RESV_PROTECTED);
	evict(&s, s.external[0]);
	to_fx_bo(s.external[0])->on_validate = unlink_last;
	to_fx_bo(s.external[0])->validate_error = -EIO;
	waits_at_once = false;

	vm_exec = (struct drm_gpuvm_exec){ .vm = &s.vm->base, .num_fences = 1 };
	KUNIT_ASSERT_EQ(test, drm_gpuvm_exec_lock(&vm_exec), 0);
	KUNIT_EXPECT_EQ(test, drm_gpuvm_exec_validate(&vm_exec), -EIO);
	KUNIT_EXPECT_TRUE(test, waits_at_once);
	drm_gpuvm_exec_unlock(&vm_exec);

	drm_gpuvm_bo_deferred_cleanup(&s.vm->base);
	KUNIT_EXPECT_EQ(test, fx_evicted(s.vm), 0);
	scene_fini(&s);
}

/* What waits for the cleanup is on the lists where the VM's dma_resv protects them. */
static void zombies_are_passed_over(struct kunit *test)
{
	struct drm_gpuvm_exec vm_exec;
	struct scene s;

	scene_init(test, &s, DRM_GPUVM_IMMEDIATE_MODE | DRM_GPUVM_RESV_PROTECTED);
	evict(&s, s.local);
	evict(&s, s.external[0]);
	fx_lock(s.vm);
	fx_unmap(s.vm, &s.in_local->base);
	fx_unmap(s.vm, &s.in_external[0]->base);
	KUNIT_EXPECT_EQ(test, fx_extobjs(s.vm), 2);
	fx_unlock(s.vm);

	vm_exec = (struct drm_gpuvm_exec){ .vm = &s.vm->base, .num_fences = 1 };
	KUNIT_ASSERT_EQ(test, drm_gpuvm_exec_lock(&vm_exec), 0);
	expect_locked(test, &s, true, false, true, false);
	KUNIT_EXPECT_EQ(test, drm_gpuvm_exec_validate(&vm_exec), 0);
	KUNIT_EXPECT_EQ(test, validated(s.local), 0);
	KUNIT_EXPECT_EQ(test, validated(s.external[0]), 0);
	drm_gpuvm_exec_unlock(&vm_exec);
	scene_fini(&s);
}

/* Fences ------------------------------------------------------------------------------- */

static const char *fence_name(struct dma_fence *fence)
{
	return "drm_svm_kunit";
}

static const struct dma_fence_ops fence_ops = {
	.get_driver_name = fence_name,
	.get_timeline_name = fence_name,
};

static DEFINE_SPINLOCK(fence_lock);

static void add_fence(struct kunit *test, enum drm_gpuvm_flags flags)
{
	struct dma_fence *fence = kzalloc(sizeof(*fence), GFP_KERNEL);
	struct drm_gpuvm_exec vm_exec;
	struct scene s;

	KUNIT_ASSERT_NOT_NULL(test, fence);
	dma_fence_init(fence, &fence_ops, &fence_lock, dma_fence_context_alloc(1), 1);
	scene_init(test, &s, flags);

	vm_exec = (struct drm_gpuvm_exec){ .vm = &s.vm->base, .num_fences = 1 };
	KUNIT_ASSERT_EQ(test, drm_gpuvm_exec_lock_array(&vm_exec, &s.unbound, 1), 0);
	drm_gpuvm_exec_resv_add_fence(&vm_exec, fence, DMA_RESV_USAGE_BOOKKEEP,
				      DMA_RESV_USAGE_WRITE);
	drm_gpuvm_exec_unlock(&vm_exec);

	/* A look with a usage sees the fences of that and of stronger ones. */
	KUNIT_EXPECT_TRUE(test, dma_resv_test_signaled(s.local->resv, DMA_RESV_USAGE_READ));
	KUNIT_EXPECT_FALSE(test, dma_resv_test_signaled(s.local->resv, DMA_RESV_USAGE_BOOKKEEP));
	KUNIT_EXPECT_TRUE(test, dma_resv_test_signaled(s.external[0]->resv,
						       DMA_RESV_USAGE_KERNEL));
	KUNIT_EXPECT_FALSE(test, dma_resv_test_signaled(s.external[0]->resv,
							DMA_RESV_USAGE_WRITE));
	KUNIT_EXPECT_FALSE(test, dma_resv_test_signaled(s.external[1]->resv,
							DMA_RESV_USAGE_WRITE));
	KUNIT_EXPECT_FALSE(test, dma_resv_test_signaled(s.unbound->resv, DMA_RESV_USAGE_WRITE));

	dma_fence_signal(fence);
	KUNIT_EXPECT_TRUE(test, dma_resv_test_signaled(s.local->resv, DMA_RESV_USAGE_BOOKKEEP));
	dma_fence_put(fence);
	scene_fini(&s);
}
FX_MODES(add_fence)

/* At the same time ------------------------------------------------------------------------ */

/* Lockdep makes each some ten times as long. */
#define LOCK_ROUNDS (IS_ENABLED(CONFIG_PROVE_LOCKING) ? 300 : 3000)

struct locker {
	struct scene *scene;
	unsigned int wrong;
};

/*
 * Each of them has to get all external objects, although the other one walks the same
 * list at the same time, and without a lock of the VM's.
 */
static void lock_again_and_again(void *arg)
{
	struct locker *locker = arg;
	struct drm_gpuvm *gpuvm = &locker->scene->vm->base;
	struct drm_exec exec;
	unsigned int i;
	int ret = 0;

	for (i = 0; i < LOCK_ROUNDS; i++) {
		compat_drm_exec_init(&exec, 0);
		drm_exec_until_all_locked(&exec) {
			ret = drm_gpuvm_prepare_objects(gpuvm, &exec, 1);
			drm_exec_retry_on_contention(&exec);
			if (ret)
				break;
		}
		if (ret || exec.num_objects != ARRAY_SIZE(locker->scene->external))
			locker->wrong++;
		drm_exec_fini(&exec);
	}
}

static void prepare_objects_concurrently(struct kunit *test)
{
	struct locker lockers[FX_THREADS] = {};
	void *args[FX_THREADS];
	struct scene s;
	unsigned int i;

	scene_init(test, &s, 0);
	for (i = 0; i < FX_THREADS; i++) {
		lockers[i].scene = &s;
		args[i] = &lockers[i];
	}
	fx_run_threads(test, lock_again_and_again, args);
	for (i = 0; i < FX_THREADS; i++)
		KUNIT_EXPECT_EQ(test, lockers[i].wrong, 0);
	KUNIT_EXPECT_EQ(test, fx_extobjs(s.vm), 2);
	KUNIT_EXPECT_EQ(test, fx_obj_refs(s.external[0]), 2);
	scene_fini(&s);
}

static struct kunit_case gpuvm_exec_cases[] = {
	FX_CASE_MODES(prepare),
	KUNIT_CASE(prepare_vm),
	KUNIT_CASE(prepare_range),
	FX_CASE_MODES(exec_lock),
	KUNIT_CASE(exec_lock_array),
	KUNIT_CASE(exec_lock_range),
	KUNIT_CASE(sm_exec_lock),
	FX_CASE_MODES(validate),
	FX_CASE_MODES(validate_fails),
	KUNIT_CASE(validate_needs_the_driver),
	KUNIT_CASE(validate_keeps_nothing),
	KUNIT_CASE(zombies_are_passed_over),
	FX_CASE_MODES(add_fence),
	KUNIT_CASE(prepare_objects_concurrently),
	{}
};

static struct kunit_suite gpuvm_exec_suite = {
	.name = "dsvm_gpuvm_exec",
	.init = fixture_init,
	.exit = fixture_exit,
	.test_cases = gpuvm_exec_cases,
};
kunit_test_suite(gpuvm_exec_suite);
