// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * The GPU VA manager without memory: each allocation of each call that makes some fails in
 * turn (fail_nth.h), the library's, the kernel's and the driver's.
 */
#include "fail_nth.h"
#include "gpuvm_bind.h"
#include "gpuvm_fixture.h"

#if IS_ENABLED(CONFIG_DRM_EXEC)
#include <drm/drm_exec.h>
#include <drm/drm_gpuvm_exec.h>
#endif

static int fail_init(struct kunit *test)
{
	int ret = fail_nth_init(test);

	return ret ?: fixture_init(test);
}

/* A space that shows an external and a local object, and an object that it does not. */
struct scene {
	struct fx_vm *vm;
	struct drm_gem_object *external;
	struct drm_gem_object *local;
	struct drm_gem_object *unbound;
	struct fx_snapshot *before;

	/* What the call made. */
	struct drm_gem_object *resv_object;
	struct drm_gpuvm_bo *vm_bo;
	struct drm_gpuva_ops *ops;
	struct fx_bind *fb;
#if IS_ENABLED(CONFIG_DRM_EXEC)
	struct drm_gpuvm_exec vm_exec;
#endif

	/* What the call is to be, where there are several of a kind. */
	struct drm_gpuva_ops *(*ops_create)(struct scene *s);
	int (*lock)(struct scene *s);
};

static void scene_init(struct kunit *test, struct scene *s, enum drm_gpuvm_flags flags,
		       const struct drm_gpuvm_ops *ops)
{
	*s = (struct scene){};
	s->vm = fx_vm_create_at(test, flags, FX_START, FX_RANGE, FX_KERNEL_START,
				FX_KERNEL_RANGE, ops);
	s->external = fx_bo_create(test, NULL);
	s->local = fx_bo_create(test, s->vm);
	s->unbound = fx_bo_create(test, NULL);
	s->fb = fx_bind_create(test, s->vm);

	fx_lock(s->vm);
	fx_map(test, s->vm, s->external, FX_BASE, 0x100, 0);
	fx_map(test, s->vm, s->local, FX_BASE + 0x100, 0x100, 0);
	fx_map(test, s->vm, s->external, FX_BASE + 0x200, 0x100, 0x1000);
	fx_map(test, s->vm, NULL, FX_BASE + 0x300, 0x100, 0);
	s->before = fx_snapshot(test, s->vm);
}

static void scene_fini(struct scene *s)
{
	fx_unlock(s->vm);
	fx_vm_destroy(s->vm);
}

static void nothing_changed(struct kunit *test, void *arg)
{
	struct scene *s = arg;

	fx_expect_unchanged(test, s->vm, s->before);
	KUNIT_EXPECT_EQ(test, atomic_read(&fx_live.ops), 0);
}

/* An object's part in a space ---------------------------------------------------------- */

static int obtain(void *arg)
{
	struct scene *s = arg;

	s->vm_bo = fx_obtain(s->vm, s->unbound);
	return PTR_ERR_OR_ZERO(s->vm_bo);
}

static void put(struct kunit *test, void *arg)
{
	struct scene *s = arg;

	KUNIT_EXPECT_EQ(test, fx_gem_vm_bos(s->vm, s->unbound), 1);
	fx_vm_bo_put(s->vm_bo);
	fx_unlock(s->vm);
	drm_gpuvm_bo_deferred_cleanup(&s->vm->base);
	fx_lock(s->vm);
	nothing_changed(test, s);
}

static void vm_bo(struct kunit *test, enum drm_gpuvm_flags flags)
{
	static const struct fail_nth_op op = {
		.what = "an object's part in a space",
		.call = obtain,
		.failed = nothing_changed,
		.undo = put,
	};
	struct scene s;

	scene_init(test, &s, flags, &fx_ops);
	fail_nth(test, &op, &s, 1);
	scene_fini(&s);
	scene_init(test, &s, flags, &fx_ops_bare);
	fail_nth(test, &op, &s, 1);
	scene_fini(&s);
}
FX_MODES(vm_bo)

static int alloc_resv_object(void *arg)
{
	struct scene *s = arg;

	s->resv_object = drm_gpuvm_resv_object_alloc(s->vm->fixture->drm);
	return s->resv_object ? 0 : -ENOMEM;
}

static void put_resv_object(struct kunit *test, void *arg)
{
	struct scene *s = arg;

	KUNIT_EXPECT_EQ(test, fx_obj_refs(s->resv_object), 1);
	drm_gem_object_put(s->resv_object);
	nothing_changed(test, s);
}

static void resv_object(struct kunit *test)
{
	static const struct fail_nth_op op = {
		.what = "drm_gpuvm_resv_object_alloc()",
		.call = alloc_resv_object,
		.failed = nothing_changed,
		.undo = put_resv_object,
	};
	struct scene s;

	scene_init(test, &s, 0, &fx_ops);
	fail_nth(test, &op, &s, 1);
	scene_fini(&s);
}

/* Lists of steps ------------------------------------------------------------------------- */

static struct drm_gpuva_ops *create_map(struct scene *s)
{
	struct drm_gpuvm_map_req req = fx_req(s->unbound, FX_BASE + 0x80, 0x200, 0);

	return drm_gpuvm_sm_map_ops_create(&s->vm->base, &req);
}

static struct drm_gpuva_ops *create_madvise(struct scene *s)
{
	struct drm_gpuvm_map_req req = fx_req(NULL, FX_BASE + 0x320, 0x40, 0);

	return drm_gpuvm_madvise_ops_create(&s->vm->base, &req);
}

static struct drm_gpuva_ops *create_unmap(struct scene *s)
{
	return drm_gpuvm_sm_unmap_ops_create(&s->vm->base, FX_BASE + 0x80, 0x200);
}

static struct drm_gpuva_ops *create_prefetch(struct scene *s)
{
	return drm_gpuvm_prefetch_ops_create(&s->vm->base, FX_BASE, 0x400);
}

static struct drm_gpuva_ops *create_bo_unmap(struct scene *s)
{
	struct drm_gpuva_ops *ops;

	fx_gem_lock(s->vm, s->external);
	ops = drm_gpuvm_bo_unmap_ops_create(s->vm_bo);
	fx_gem_unlock(s->vm, s->external);
	return ops;
}

static int create_ops(void *arg)
{
	struct scene *s = arg;

	s->ops = s->ops_create(s);
	return PTR_ERR_OR_ZERO(s->ops);
}

static void free_ops(struct kunit *test, void *arg)
{
	struct scene *s = arg;

	drm_gpuva_ops_free(&s->vm->base, s->ops);
	nothing_changed(test, s);
}

/* @room: of the steps on a list, so many come with it. */
static void each_list(struct kunit *test, const struct drm_gpuvm_ops *vm_ops, unsigned int room)
{
	/* One list, and so many steps on it. */
	const struct {
		const char *what;
		struct drm_gpuva_ops *(*create)(struct scene *s);
		unsigned int steps;
	} lists[] = {
		{ "drm_gpuvm_sm_map_ops_create()", create_map, 4 },
		{ "drm_gpuvm_madvise_ops_create()", create_madvise, 2 },
		{ "drm_gpuvm_sm_unmap_ops_create()", create_unmap, 3 },
		{ "drm_gpuvm_prefetch_ops_create()", create_prefetch, 4 },
		{ "drm_gpuvm_bo_unmap_ops_create()", create_bo_unmap, 2 },
	};
	struct fail_nth_op op = {
		.call = create_ops,
		.failed = nothing_changed,
		.undo = free_ops,
	};
	struct scene s;
	unsigned int i;

	scene_init(test, &s, 0, vm_ops);
	s.vm_bo = drm_gpuvm_bo_find(&s.vm->base, s.external);
	s.before = fx_snapshot(test, s.vm);
	for (i = 0; i < ARRAY_SIZE(lists); i++) {
		op.what = lists[i].what;
		s.ops_create = lists[i].create;
		fail_nth(test, &op, &s, 1 + lists[i].steps - room);
	}
	fx_vm_bo_put(s.vm_bo);
	scene_fini(&s);
}

static void op_lists(struct kunit *test)
{
	each_list(test, &fx_ops, 2);
}

static void op_lists_of_the_driver(struct kunit *test)
{
	each_list(test, &fx_ops_with_op_hooks, 0);
}

/* Transactions ------------------------------------------------------------------------------ */

static int queue_requests(struct scene *s)
{
	struct drm_svm_bind *bind = &s->fb->bind;
	struct drm_gpuvm_map_req req = fx_req(s->unbound, FX_BASE + 0x80, 0x200, 0);
	unsigned int i;
	int ret;

	ret = drm_svm_bind_map(bind, &req, 0, NULL);
	ret = ret ?: drm_svm_bind_unmap(bind, FX_BASE + 0x90, 0x10, NULL);
	ret = ret ?: drm_svm_bind_prefetch(bind, FX_BASE, 0x400, NULL);
	/* More than the transaction itself has room for. */
	for (i = 0; i < 4; i++) {
		req = fx_req(s->external, FX_BASE + 0x1000 + i * 0x100, 0x80, 0);
		ret = ret ?: drm_svm_bind_map(bind, &req, 0, NULL);
	}
	if (!ret && !drm_svm_bind_driver_op(bind, 0, 0, NULL))
		ret = -ENOMEM;
	return ret;
}

static int bind(void *arg)
{
	struct scene *s = arg;
	struct fx_bind *fb = s->fb;
	int ret;

	fb->prepared = 0;
	fb->unprepared = 0;
	ret = drm_svm_bind_begin(&fb->bind, &s->vm->base, &fx_bind_ops, fb);
	ret = ret ?: queue_requests(s);
	return ret ?: drm_svm_bind_prepare(&fb->bind);
}

/* Whether it has failed or not: to be aborted is all that is left. */
static void abandon(struct kunit *test, void *arg)
{
	struct scene *s = arg;

	fx_bind_abort(test, s->fb);
	nothing_changed(test, s);
}

static void transaction(struct kunit *test, enum drm_gpuvm_flags flags)
{
	static const struct fail_nth_op op = {
		.what = "begin to prepare",
		.call = bind,
		.failed = abandon,
		.undo = abandon,
	};
	struct scene s;

	scene_init(test, &s, flags, &fx_ops);
	/* The four maps and what is cut make eight mappings; and there is a vm_bo. */
	fail_nth(test, &op, &s, 9);

	KUNIT_EXPECT_EQ(test, bind(&s), 0);
	fx_bind_commit(test, s.fb);
	KUNIT_EXPECT_EQ(test, fx_gem_vm_bos(s.vm, s.unbound), 1);
	scene_fini(&s);
}
FX_MODES(transaction)

/* Locks ---------------------------------------------------------------------------------------- */

#if IS_ENABLED(CONFIG_DRM_EXEC)
static int lock_all(struct scene *s)
{
	return drm_gpuvm_exec_lock(&s->vm_exec);
}

static int lock_array(struct scene *s)
{
	return drm_gpuvm_exec_lock_array(&s->vm_exec, &s->unbound, 1);
}

static int lock_range(struct scene *s)
{
	return drm_gpuvm_exec_lock_range(&s->vm_exec, FX_BASE, 0x400);
}

/* What drm_gpuvm_exec_lock() does for its caller. */
static int lock_by_hand(struct scene *s, int (*lock)(struct scene *s, struct drm_exec *exec))
{
	struct drm_exec *exec = &s->vm_exec.exec;
	int ret = 0;

	drm_exec_init(exec, DRM_EXEC_IGNORE_DUPLICATES, 0);
	drm_exec_until_all_locked(exec) {
		ret = lock(s, exec);
		drm_exec_retry_on_contention(exec);
		if (ret)
			break;
	}
	if (ret)
		drm_exec_fini(exec);
	return ret;
}

static int prepare_sm_map(struct scene *s, struct drm_exec *exec)
{
	struct drm_gpuvm_map_req req = fx_req(s->unbound, FX_BASE + 0x80, 0x200, 0);

	return drm_gpuvm_sm_map_exec_lock(&s->vm->base, exec, 1, &req);
}

static int lock_sm_map(struct scene *s)
{
	return lock_by_hand(s, prepare_sm_map);
}

static int prepare_bind(struct scene *s, struct drm_exec *exec)
{
	return drm_svm_bind_lock(&s->fb->bind, exec, 1);
}

static int lock_bind(struct scene *s)
{
	return lock_by_hand(s, prepare_bind);
}

static int lock(void *arg)
{
	struct scene *s = arg;

	s->vm_exec = (struct drm_gpuvm_exec){
		.vm = &s->vm->base,
		.num_fences = 1,
		.flags = DRM_EXEC_IGNORE_DUPLICATES,
	};
	return s->lock(s);
}

/* Room for fences stays with an object, and then the next call would allocate nothing. */
static void give_up_room(struct drm_gem_object *obj)
{
	dma_resv_fini(obj->resv);
	dma_resv_init(obj->resv);
}

static void expect_unlocked(struct kunit *test, void *arg)
{
	struct scene *s = arg;

	KUNIT_EXPECT_FALSE(test, dma_resv_is_locked(s->external->resv));
	KUNIT_EXPECT_FALSE(test, dma_resv_is_locked(s->local->resv));
	KUNIT_EXPECT_FALSE(test, dma_resv_is_locked(s->unbound->resv));
	drm_gem_lock_reservations(s->vm->locked, s->vm->locked_count, &s->vm->ticket);
	nothing_changed(test, s);
	drm_gem_unlock_reservations(s->vm->locked, s->vm->locked_count, &s->vm->ticket);

	give_up_room(s->external);
	give_up_room(s->local);
	give_up_room(s->unbound);
}

static void unlock(struct kunit *test, void *arg)
{
	struct scene *s = arg;

	KUNIT_EXPECT_TRUE(test, dma_resv_is_locked(s->external->resv));
	drm_gpuvm_exec_unlock(&s->vm_exec);
	expect_unlocked(test, s);
}

static void exec_locks(struct kunit *test)
{
	const struct {
		const char *what;
		int (*lock)(struct scene *s);
	} locks[] = {
		{ "drm_gpuvm_exec_lock()", lock_all },
		{ "drm_gpuvm_exec_lock_array()", lock_array },
		{ "drm_gpuvm_exec_lock_range()", lock_range },
		{ "drm_gpuvm_sm_map_exec_lock()", lock_sm_map },
		{ "drm_svm_bind_lock()", lock_bind },
	};
	struct fail_nth_op op = {
		.call = lock,
		.failed = expect_unlocked,
		.undo = unlock,
	};
	struct scene s;
	unsigned int i;

	scene_init(test, &s, 0, &fx_ops);
	fx_bind_begin(test, s.fb);
	fx_bind_map(test, s.fb, s.unbound, FX_BASE + 0x80, 0x100, 0);
	s.before = fx_snapshot(test, s.vm);
	/* The VM lock is kept. */
	drm_gem_unlock_reservations(s.vm->locked, s.vm->locked_count, &s.vm->ticket);
	for (i = 0; i < ARRAY_SIZE(locks); i++) {
		op.what = locks[i].what;
		s.lock = locks[i].lock;
		/* Room for a fence in each object; a checker's own memory may fail instead. */
		fail_nth(test, &op, &s, 1);
	}
	drm_gem_lock_reservations(s.vm->locked, s.vm->locked_count, &s.vm->ticket);
	fx_bind_abort(test, s.fb);
	scene_fini(&s);
}
#endif /* CONFIG_DRM_EXEC */

static struct kunit_case gpuvm_fail_cases[] = {
	FX_CASE_MODES(vm_bo),
	KUNIT_CASE(resv_object),
	KUNIT_CASE(op_lists),
	KUNIT_CASE(op_lists_of_the_driver),
	FX_CASE_MODES(transaction),
#if IS_ENABLED(CONFIG_DRM_EXEC)
	KUNIT_CASE(exec_locks),
#endif
	{}
};

static struct kunit_suite gpuvm_fail_suite = {
	.name = "dsvm_gpuvm_fail",
	.init = fail_init,
	.exit = fixture_exit,
	.test_cases = gpuvm_fail_cases,
};
kunit_test_suite(gpuvm_fail_suite);
