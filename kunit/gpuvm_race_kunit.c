// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Two threads at the same time: bind transactions in two spaces that share their objects,
 * or in one space that somebody else cleans up or locks meanwhile.
 */
#include "gpuvm_bind.h"
#include "gpuvm_fixture.h"

#if IS_ENABLED(CONFIG_DRM_EXEC)
#include "compat/drm_exec_compat.h"
#endif

/* Lockdep makes each some ten times as long. */
#define ROUNDS (IS_ENABLED(CONFIG_PROVE_LOCKING) ? 300 : 3000)
#define OBJECTS 4
#define SLOTS 16

struct racer {
	struct fx_vm *vm;
	struct fx_bind *fb;
	struct drm_gem_object **objs;
	/* What is drawn next; another sequence for each thread, the same in each run. */
	u32 random;
	unsigned int wrong;
	unsigned int committed;
	unsigned int aborted;
	bool done;
};

static u32 draw(struct racer *r, u32 below)
{
	/* Numerical Recipes' generator; its high bits are good enough here. */
	r->random = r->random * 1664525 + 1013904223;
	return (r->random >> 16) % below;
}

static void queue_requests(struct racer *r)
{
	struct drm_gpuvm_map_req req;
	unsigned int i;
	u64 addr, range;
	int ret;

	for (i = 0; i < 3; i++) {
		addr = FX_BASE + draw(r, SLOTS) * 0x100;
		range = (1 + draw(r, 4)) * 0x80;
		req = fx_req(r->objs[draw(r, OBJECTS)], addr, range, addr);
		ret = draw(r, 3) ? drm_svm_bind_map(&r->fb->bind, &req, 0, NULL) :
				   drm_svm_bind_unmap(&r->fb->bind, addr, range, NULL);
		r->wrong += ret != 0;
	}
}

static void prepare_and_end(struct racer *r)
{
	int ret = drm_svm_bind_prepare(&r->fb->bind);

	r->wrong += ret != 0;
	if (ret || draw(r, 8) == 0) {
		drm_svm_bind_abort(&r->fb->bind);
		r->aborted++;
	} else {
		drm_svm_bind_commit(&r->fb->bind);
		drm_svm_bind_finish(&r->fb->bind);
		r->committed++;
	}
}

static bool begin(struct racer *r)
{
	struct fx_bind *fb = r->fb;
	int ret;

	fb->prepared = 0;
	fb->committed = 0;
	fb->finished = 0;
	ret = drm_svm_bind_begin(&fb->bind, &r->vm->base, &fx_bind_ops, fb);
	r->wrong += ret != 0;
	return !ret;
}

/* In immediate mode, with the VM lock and nothing else. */
static void bind_immediately(void *arg)
{
	struct racer *r = arg;
	unsigned int i;

	for (i = 0; i < ROUNDS; i++) {
		mutex_lock(&r->vm->lock);
		if (begin(r)) {
			queue_requests(r);
			prepare_and_end(r);
		}
		mutex_unlock(&r->vm->lock);
		if (draw(r, 4) == 0)
			drm_gpuvm_bo_deferred_cleanup(&r->vm->base);
	}
	WRITE_ONCE(r->done, true);
}

static void racer_init(struct kunit *test, struct racer *r, struct fx_vm *vm,
		       struct drm_gem_object **objs, u32 seed)
{
	*r = (struct racer){
		.vm = vm,
		.fb = fx_bind_create(test, vm),
		.objs = objs,
		.random = seed,
	};
}

/* The lists agree with each other, and with the mappings that there are. */
static void expect_consistent(struct kunit *test, struct racer *r)
{
	unsigned int i, linked, shown, external = 0;
	struct fx_vm *vm = r->vm;
	struct drm_gpuvm_bo *vm_bo;
	struct drm_gpuva *va;

	KUNIT_EXPECT_EQ(test, r->wrong, 0);
	KUNIT_EXPECT_EQ(test, r->fb->misused, 0);
	KUNIT_EXPECT_GT(test, r->committed, 0);
	KUNIT_EXPECT_GT(test, r->aborted, 0);

	drm_gpuvm_bo_deferred_cleanup(&vm->base);
	fx_lock(vm);
	for (i = 0; i < OBJECTS; i++) {
		shown = 0;
		drm_gpuvm_for_each_va(va, &vm->base)
			shown += va->gem.obj == r->objs[i];
		linked = 0;
		fx_gem_lock(vm, r->objs[i]);
		vm_bo = drm_gpuvm_bo_find(&vm->base, r->objs[i]);
		fx_gem_unlock(vm, r->objs[i]);
		if (vm_bo) {
			linked = fx_linked(vm, vm_bo);
			KUNIT_EXPECT_EQ(test, kref_read(&vm_bo->kref), linked + 1);
			KUNIT_EXPECT_FALSE(test, list_empty(&vm_bo->list.entry.extobj));
			fx_vm_bo_put(vm_bo);
		}
		KUNIT_EXPECT_EQ(test, linked, shown);
		KUNIT_EXPECT_EQ(test, !vm_bo, !shown);
		external += !!shown;
	}
	KUNIT_EXPECT_EQ(test, fx_extobjs(vm), external);
	fx_unlock(vm);
}

static void bind_in_two_spaces(struct kunit *test, enum drm_gpuvm_flags flags,
			       void (*fn)(void *arg))
{
	struct drm_gem_object *objs[OBJECTS];
	struct racer racers[FX_THREADS];
	void *args[FX_THREADS];
	unsigned int i;

	for (i = 0; i < OBJECTS; i++)
		objs[i] = fx_bo_create(test, NULL);
	for (i = 0; i < FX_THREADS; i++) {
		racer_init(test, &racers[i], fx_vm_create(test, flags), objs, i);
		args[i] = &racers[i];
	}
	fx_run_threads(test, fn, args);
	for (i = 0; i < FX_THREADS; i++)
		expect_consistent(test, &racers[i]);
	for (i = 0; i < FX_THREADS; i++)
		fx_vm_destroy(racers[i].vm);
}

static void two_spaces_immediate(struct kunit *test)
{
	bind_in_two_spaces(test, DRM_GPUVM_IMMEDIATE_MODE, bind_immediately);
}

/* One binds, and another does something else to the same space. */
struct disturber {
	struct racer *racer;
	/* The first that there was. */
	int error;
};

struct pair {
	void (*fn)(void *arg);
	void *arg;
};

static void run_one(void *arg)
{
	struct pair *pair = arg;

	pair->fn(pair->arg);
}

static void bind_disturbed(struct kunit *test, enum drm_gpuvm_flags flags,
			   void (*bind)(void *arg), void (*disturb)(void *arg))
{
	struct drm_gem_object *objs[OBJECTS];
	struct racer racer;
	struct disturber disturber = { .racer = &racer };
	struct pair pairs[FX_THREADS] = { { bind, &racer }, { disturb, &disturber } };
	void *args[FX_THREADS] = { &pairs[0], &pairs[1] };
	unsigned int i;

	for (i = 0; i < OBJECTS; i++)
		objs[i] = fx_bo_create(test, NULL);
	racer_init(test, &racer, fx_vm_create(test, flags), objs, 1);
	fx_run_threads(test, run_one, args);
	KUNIT_EXPECT_EQ(test, disturber.error, 0);
	expect_consistent(test, &racer);
	fx_vm_destroy(racer.vm);
}

static void clean_up(void *arg)
{
	struct disturber *d = arg;

	while (!READ_ONCE(d->racer->done)) {
		drm_gpuvm_bo_deferred_cleanup(&d->racer->vm->base);
		cond_resched();
	}
}

static void cleanup_while_binding(struct kunit *test)
{
	bind_disturbed(test, DRM_GPUVM_IMMEDIATE_MODE, bind_immediately, clean_up);
}

/* As one does who evicts an object: by its lists, without a lock of the VM's. */
static void visit_mappings(struct disturber *d,
			   void (*visit)(struct disturber *d, struct drm_gpuva *va,
					 struct drm_gpuvm_bo *vm_bo, unsigned int round))
{
	struct fx_vm *vm = d->racer->vm;
	struct drm_gem_object *obj;
	struct drm_gpuvm_bo *vm_bo;
	struct drm_gpuva *va;
	unsigned int i;

	for (i = 0; !READ_ONCE(d->racer->done); i++) {
		obj = d->racer->objs[i % OBJECTS];
		fx_gem_lock(vm, obj);
		drm_gem_for_each_gpuvm_bo(vm_bo, obj)
			drm_gpuvm_bo_for_each_va(va, vm_bo)
				visit(d, va, vm_bo, i / OBJECTS);
		fx_gem_unlock(vm, obj);
		cond_resched();
	}
}

static void check_mapping(struct disturber *d, struct drm_gpuva *va, struct drm_gpuvm_bo *vm_bo,
			  unsigned int round)
{
	if (va->vm != &d->racer->vm->base || READ_ONCE(va->vm_bo) != vm_bo ||
	    va->gem.obj != vm_bo->obj)
		d->error = -ESTALE;
}

static void walk_objects(void *arg)
{
	visit_mappings(arg, check_mapping);
}

static void walk_while_binding(struct kunit *test)
{
	bind_disturbed(test, DRM_GPUVM_IMMEDIATE_MODE, bind_immediately, walk_objects);
}

/* As one does who evicts an object and brings it back: under its lock alone, too. */
static void invalidate_mapping(struct disturber *d, struct drm_gpuva *va,
			       struct drm_gpuvm_bo *vm_bo, unsigned int round)
{
	drm_gpuva_invalidate(va, round % 2);
}

static void invalidate_objects(void *arg)
{
	visit_mappings(arg, invalidate_mapping);
}

static void invalidate_while_binding(struct kunit *test)
{
	bind_disturbed(test, DRM_GPUVM_IMMEDIATE_MODE, bind_immediately, invalidate_objects);
}

#if IS_ENABLED(CONFIG_DRM_EXEC)
static void bind_locked(void *arg)
{
	struct racer *r = arg;
	struct drm_exec exec;
	unsigned int i;
	int ret = 0;

	for (i = 0; i < ROUNDS; i++) {
		mutex_lock(&r->vm->lock);
		if (begin(r)) {
			queue_requests(r);
			compat_drm_exec_init(&exec, DRM_EXEC_IGNORE_DUPLICATES);
			drm_exec_until_all_locked(&exec) {
				/* The lists of the space are protected by its dma_resv. */
				ret = drm_gpuvm_prepare_vm(&r->vm->base, &exec, 1);
				drm_exec_retry_on_contention(&exec);
				if (ret)
					break;
				ret = drm_svm_bind_lock(&r->fb->bind, &exec, 1);
				drm_exec_retry_on_contention(&exec);
				if (ret)
					break;
			}
			r->wrong += ret != 0;
			prepare_and_end(r);
			drm_exec_fini(&exec);
		}
		mutex_unlock(&r->vm->lock);
	}
}

static void two_spaces_resv(struct kunit *test)
{
	bind_in_two_spaces(test, 0, bind_locked);
}

static void two_spaces_resv_protected(struct kunit *test)
{
	bind_in_two_spaces(test, DRM_GPUVM_RESV_PROTECTED, bind_locked);
}

/* The list of external objects changes all the time, and the lock of it is not held. */
static void lock_objects(void *arg)
{
	struct disturber *d = arg;
	struct drm_exec exec;
	int ret = 0;

	while (!READ_ONCE(d->racer->done)) {
		compat_drm_exec_init(&exec, 0);
		drm_exec_until_all_locked(&exec) {
			ret = drm_gpuvm_prepare_objects(&d->racer->vm->base, &exec, 1);
			drm_exec_retry_on_contention(&exec);
			if (ret)
				break;
		}
		d->error = d->error ?: ret;
		drm_exec_fini(&exec);
	}
}

static void lock_while_binding(struct kunit *test)
{
	bind_disturbed(test, DRM_GPUVM_IMMEDIATE_MODE, bind_immediately, lock_objects);
}

/* Which objects a transaction locks: of maps, and of what they cut. */
static void bind_lock(struct kunit *test)
{
	struct fx_vm *vm = fx_vm_create(test, 0);
	struct drm_gem_object *cut = fx_bo_create(test, vm);
	struct drm_gem_object *mapped = fx_bo_create(test, NULL);
	struct drm_gem_object *mapped_and_cut = fx_bo_create(test, NULL);
	struct drm_gem_object *prefetched = fx_bo_create(test, NULL);
	struct drm_gem_object *untouched = fx_bo_create(test, NULL);
	struct fx_bind *fb = fx_bind_create(test, vm);
	struct drm_exec exec;
	int ret = 0;

	fx_lock(vm);
	fx_map(test, vm, cut, FX_BASE, 0x100, 0);
	fx_map(test, vm, prefetched, FX_BASE + 0x100, 0x100, 0);
	fx_map(test, vm, untouched, FX_BASE + 0x200, 0x100, 0);
	fx_map(test, vm, NULL, FX_BASE + 0x300, 0x100, 0);
	fx_unlock(vm);

	mutex_lock(&vm->lock);
	fx_bind_begin(test, fb);
	fx_bind_map(test, fb, mapped, FX_BASE + 0x400, 0x20, 0);
	fx_bind_map(test, fb, mapped_and_cut, FX_BASE + 0x80, 0x20, 0);
	fx_bind_unmap(test, fb, FX_BASE + 0x90, 0x10);
	fx_bind_unmap(test, fb, FX_BASE + 0x380, 0x10);
	KUNIT_EXPECT_EQ(test, drm_svm_bind_prefetch(&fb->bind, FX_BASE + 0x100, 1, NULL), 0);
	compat_drm_exec_init(&exec, DRM_EXEC_IGNORE_DUPLICATES);
	drm_exec_until_all_locked(&exec) {
		ret = drm_svm_bind_lock(&fb->bind, &exec, 1);
		drm_exec_retry_on_contention(&exec);
	}
	KUNIT_EXPECT_EQ(test, ret, 0);
	KUNIT_EXPECT_TRUE(test, dma_resv_is_locked(cut->resv));
	KUNIT_EXPECT_TRUE(test, dma_resv_is_locked(mapped->resv));
	KUNIT_EXPECT_TRUE(test, dma_resv_is_locked(mapped_and_cut->resv));
	KUNIT_EXPECT_TRUE(test, dma_resv_is_locked(prefetched->resv));
	KUNIT_EXPECT_FALSE(test, dma_resv_is_locked(untouched->resv));
	fx_bind_prepare(test, fb);
	fx_bind_commit(test, fb);
	drm_exec_fini(&exec);
	KUNIT_EXPECT_FALSE(test, dma_resv_is_locked(cut->resv));
	mutex_unlock(&vm->lock);
	fx_vm_destroy(vm);
}
#endif

static struct kunit_case gpuvm_race_cases[] = {
	KUNIT_CASE(two_spaces_immediate),
	KUNIT_CASE(cleanup_while_binding),
	KUNIT_CASE(walk_while_binding),
	KUNIT_CASE(invalidate_while_binding),
#if IS_ENABLED(CONFIG_DRM_EXEC)
	KUNIT_CASE(bind_lock),
	KUNIT_CASE(two_spaces_resv),
	KUNIT_CASE(two_spaces_resv_protected),
	KUNIT_CASE(lock_while_binding),
#endif
	{}
};

static struct kunit_suite gpuvm_race_suite = {
	.name = "dsvm_gpuvm_race",
	.init = fixture_init,
	.exit = fixture_exit,
	.test_cases = gpuvm_race_cases,
};
kunit_test_suite(gpuvm_race_suite);
