// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Bind transactions (drm/drm_svm.h) with real objects: all or nothing, and what a driver
 * is asked on the way. What requests come to is proved on the core (kunit/cases).
 */
#include "gpuvm_bind.h"
#include "gpuvm_fixture.h"

/* Where it leads to ------------------------------------------------------------------ */

struct request {
	unsigned int obj; /* in the scene's, or one of the following */
	u64 addr;
	u64 range;
	u64 offset;
};

#define NO_OBJECT 100
#define UNMAP 101

/* Later requests meet what earlier ones made: cut, covered, taken away, mapped anew. */
static const struct request requests[] = {
	{ 0, FX_BASE, 0x1000, 0 },
	{ 1, FX_BASE + 0x400, 0x400, 0x100 },
	{ UNMAP, FX_BASE + 0x500, 0x80 },
	{ 0, FX_BASE + 0xf00, 0x200, 0xf00 },
	{ NO_OBJECT, FX_BASE + 0x600, 0x40 },
	{ 1, FX_BASE + 0x480, 0x100, 0x9000 },
	{ UNMAP, FX_BASE + 0x2000, 0x1000 },
	{ 0, FX_BASE + 0x2800, 0x800, 0x40 },
	{ UNMAP, FX_BASE + 0x2900, 0x100 },
	{ 1, FX_BASE + 0x2700, 0x1000, 0 },
	{ UNMAP, FX_BASE, 0x100 },
	{ 0, FX_BASE + 0x2fff, 1, 7 },
};

static void queue(struct kunit *test, struct fx_bind *fb, struct drm_gem_object **objs,
		  const struct request *r)
{
	if (r->obj == UNMAP)
		fx_bind_unmap(test, fb, r->addr, r->range);
	else
		fx_bind_map(test, fb, r->obj == NO_OBJECT ? NULL : objs[r->obj],
			    r->addr, r->range, r->offset);
}

static void do_by_hand(struct kunit *test, struct fx_vm *vm, struct drm_gem_object **objs,
		       const struct request *r)
{
	struct drm_gpuvm_map_req req;

	if (r->obj == UNMAP) {
		KUNIT_EXPECT_EQ(test, fx_sm_unmap(test, vm, r->addr, r->range), 0);
		return;
	}
	req = fx_req(r->obj == NO_OBJECT ? NULL : objs[r->obj], r->addr, r->range, r->offset);
	KUNIT_EXPECT_EQ(test, fx_sm_map(test, vm, &req), 0);
}

static void map_before(struct kunit *test, struct fx_vm *vm, struct drm_gem_object **objs)
{
	fx_map(test, vm, objs[1], FX_BASE + 0x800, 0x100, 0);
	fx_map(test, vm, objs[1], FX_BASE + 0x1f00, 0x200, 0x20);
	fx_map(test, vm, NULL, FX_BASE + 0x2f00, 0x200, 0);
}

/* What each object is linked to, and that nothing else refers to it. */
static void expect_same_links(struct kunit *test, struct fx_vm *a, struct fx_vm *b,
			      struct drm_gem_object *obj)
{
	struct drm_gpuvm_bo *in_a, *in_b;

	fx_lock(a);
	in_a = fx_obtain(a, obj);
	fx_unlock(a);
	fx_lock(b);
	in_b = fx_obtain(b, obj);
	KUNIT_EXPECT_EQ(test, fx_linked(a, in_a), fx_linked(b, in_b));
	KUNIT_EXPECT_EQ(test, kref_read(&in_a->kref), fx_linked(a, in_a) + 1);
	KUNIT_EXPECT_EQ(test, kref_read(&in_b->kref), fx_linked(b, in_b) + 1);
	KUNIT_EXPECT_EQ(test, fx_gem_vm_bos(a, obj), 2);
	fx_vm_bo_put(in_b);
	fx_unlock(b);
	fx_lock(a);
	fx_vm_bo_put(in_a);
	fx_unlock(a);
}

static void expect_same_mappings(struct kunit *test, struct fx_vm *a, struct fx_vm *b)
{
	struct dsvm_va_walk walk = drm_svm_gpuva_walk_all(&b->base);
	struct drm_gpuva *in_a, *in_b;

	drm_gpuvm_for_each_va(in_a, &a->base) {
		in_b = __drm_svm_walk_take(&walk);
		KUNIT_ASSERT_NOT_NULL(test, in_b);
		KUNIT_EXPECT_EQ(test, in_a->va.addr, in_b->va.addr);
		KUNIT_EXPECT_EQ(test, in_a->va.range, in_b->va.range);
		KUNIT_EXPECT_PTR_EQ(test, in_a->gem.obj, in_b->gem.obj);
		KUNIT_EXPECT_EQ(test, in_a->gem.offset, in_b->gem.offset);
		KUNIT_EXPECT_EQ(test, !in_a->vm_bo, !in_b->vm_bo);
	}
	KUNIT_EXPECT_NULL(test, walk.now);
}

static void same_as_by_hand(struct kunit *test, enum drm_gpuvm_flags flags)
{
	struct fx_vm *a = fx_vm_create(test, flags);
	struct fx_vm *b = fx_vm_create(test, flags);
	struct drm_gem_object *objs[] = { fx_bo_create(test, NULL), fx_bo_create(test, NULL) };
	struct fx_bind *fb = fx_bind_create(test, a);
	unsigned int i;

	fx_lock(a);
	map_before(test, a, objs);
	fx_bind_begin(test, fb);
	for (i = 0; i < ARRAY_SIZE(requests); i++)
		queue(test, fb, objs, &requests[i]);
	fx_bind_prepare(test, fb);
	fx_bind_commit(test, fb);
	fx_unlock(a);

	fx_lock(b);
	map_before(test, b, objs);
	for (i = 0; i < ARRAY_SIZE(requests); i++)
		do_by_hand(test, b, objs, &requests[i]);
	fx_unlock(b);
	/* On the way there may be a time when nothing shows an object. */
	drm_gpuvm_bo_deferred_cleanup(&a->base);
	drm_gpuvm_bo_deferred_cleanup(&b->base);

	expect_same_mappings(test, a, b);
	KUNIT_EXPECT_EQ(test, fx_vm_refs(a), fx_vm_refs(b));
	for (i = 0; i < ARRAY_SIZE(objs); i++)
		expect_same_links(test, a, b, objs[i]);
	KUNIT_EXPECT_EQ(test, fx_extobjs(a), fx_extobjs(b));
	fx_vm_destroy(a);
	fx_vm_destroy(b);
}
FX_MODES(same_as_by_hand)

/* Nothing --------------------------------------------------------------------------------- */

/* A space in which one object of three is not mapped yet, and one is evicted. */
struct scene {
	struct fx_vm *vm;
	struct drm_gem_object *objs[3];
	struct fx_bind *fb;
	struct fx_snapshot *before;
};

static void scene_init(struct kunit *test, struct scene *s, enum drm_gpuvm_flags flags)
{
	s->vm = fx_vm_create(test, flags);
	s->objs[0] = fx_bo_create(test, NULL);
	s->objs[1] = fx_bo_create(test, s->vm);
	s->objs[2] = fx_bo_create(test, NULL);
	s->fb = fx_bind_create(test, s->vm);

	fx_lock(s->vm);
	map_before(test, s->vm, s->objs);
	fx_map(test, s->vm, s->objs[2], FX_BASE + 0x100, 0x100, 0);
	fx_gem_lock(s->vm, s->objs[1]);
	drm_gpuvm_bo_gem_evict(s->objs[1], true);
	fx_gem_unlock(s->vm, s->objs[1]);
	s->before = fx_snapshot(test, s->vm);
}

static void scene_fini(struct scene *s)
{
	fx_unlock(s->vm);
	fx_vm_destroy(s->vm);
}

static void scene_queue(struct kunit *test, struct scene *s)
{
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(requests); i++)
		queue(test, s->fb, s->objs, &requests[i]);
	KUNIT_EXPECT_EQ(test, drm_svm_bind_prefetch(&s->fb->bind, FX_BASE, 0x2000, NULL), 0);
	KUNIT_EXPECT_NOT_NULL(test, drm_svm_bind_driver_op(&s->fb->bind, 0, 0, NULL));
}

static void abort_after_each_request(struct kunit *test, enum drm_gpuvm_flags flags)
{
	struct scene s;
	unsigned int n, i;

	scene_init(test, &s, flags);
	for (n = 0; n <= ARRAY_SIZE(requests); n++) {
		fx_bind_begin(test, s.fb);
		for (i = 0; i < n; i++)
			queue(test, s.fb, s.objs, &requests[i]);
		fx_bind_abort(test, s.fb);
		fx_expect_unchanged(test, s.vm, s.before);

		fx_bind_begin(test, s.fb);
		for (i = 0; i < n; i++)
			queue(test, s.fb, s.objs, &requests[i]);
		fx_bind_prepare(test, s.fb);
		fx_bind_abort(test, s.fb);
		fx_expect_unchanged(test, s.vm, s.before);
	}
	/* What is over may be aborted. */
	drm_svm_bind_abort(&s.fb->bind);
	fx_expect_unchanged(test, s.vm, s.before);
	scene_fini(&s);
}
FX_MODES(abort_after_each_request)

static void each_prepare_fails(struct kunit *test, enum drm_gpuvm_flags flags)
{
	unsigned int n, steps;
	struct scene s;

	scene_init(test, &s, flags);
	fx_bind_begin(test, s.fb);
	scene_queue(test, &s);
	steps = fx_bind_steps(s.fb);
	for (n = 1; n <= steps; n++) {
		s.fb->unprepared = 0;
		s.fb->fail_at = n;
		KUNIT_EXPECT_EQ(test, drm_svm_bind_prepare(&s.fb->bind), -EIO);
		KUNIT_EXPECT_EQ(test, s.fb->unprepared, n - 1);
		KUNIT_EXPECT_EQ(test, s.fb->prepared, 0);
		KUNIT_EXPECT_EQ(test, s.fb->misused, 0);
		/* As it was, but that it can be prepared again. */
		KUNIT_EXPECT_EQ(test, fx_bind_steps(s.fb), steps);
	}
	fx_bind_abort(test, s.fb);
	fx_expect_unchanged(test, s.vm, s.before);

	fx_bind_begin(test, s.fb);
	scene_queue(test, &s);
	s.fb->fail_at = steps;
	KUNIT_EXPECT_EQ(test, drm_svm_bind_prepare(&s.fb->bind), -EIO);
	s.fb->unprepared = 0;
	fx_bind_prepare(test, s.fb);
	fx_bind_commit(test, s.fb);
	scene_fini(&s);
}
FX_MODES(each_prepare_fails)

/* The driver's mappings and vm_bos. */
static void each_allocation_fails(struct kunit *test, enum drm_gpuvm_flags flags)
{
	unsigned int n = 0;
	struct scene s;
	int ret;

	scene_init(test, &s, flags);
	do {
		fx_bind_begin(test, s.fb);
		scene_queue(test, &s);
		fx_refuse(++n);
		ret = drm_svm_bind_prepare(&s.fb->bind);
		KUNIT_EXPECT_EQ(test, ret, fx_refused() ? -ENOMEM : 0);
		fx_refuse(0);
		fx_bind_abort(test, s.fb);
		fx_expect_unchanged(test, s.vm, s.before);
	} while (ret);
	/* Each of the maps makes one, and some of them cut others. */
	KUNIT_EXPECT_GT(test, n, 7);
	scene_fini(&s);
}
FX_MODES(each_allocation_fails)

/* A request that is refused leaves those before it. */
static void refused_request(struct kunit *test)
{
	struct drm_gpuvm_map_req req;
	struct drm_svm_bind *bind;
	struct scene s;

	scene_init(test, &s, 0);
	bind = &s.fb->bind;
	fx_bind_begin(test, s.fb);
	fx_bind_map(test, s.fb, s.objs[0], FX_BASE + 0x5000, 0x100, 0);

	req = fx_req(s.objs[0], FX_KERNEL_START, 1, 0);
	KUNIT_EXPECT_EQ(test, drm_svm_bind_map(bind, &req, 0, NULL), -EINVAL);
	req = fx_req(s.objs[0], FX_BASE, 0, 0);
	KUNIT_EXPECT_EQ(test, drm_svm_bind_map(bind, &req, 0, NULL), -EINVAL);
	KUNIT_EXPECT_EQ(test, drm_svm_bind_unmap(bind, FX_START + FX_RANGE, 1, NULL), -EINVAL);
	KUNIT_EXPECT_EQ(test, drm_svm_bind_prefetch(bind, FX_BASE, U64_MAX, NULL), -EINVAL);
	/* Something is there, or will be. */
	req = fx_req(s.objs[0], FX_BASE + 0x1ff, 1, 0);
	KUNIT_EXPECT_EQ(test, drm_svm_bind_map(bind, &req, DRM_SVM_BIND_NOREPLACE, NULL), -EEXIST);
	req = fx_req(s.objs[0], FX_BASE + 0x50ff, 2, 0);
	KUNIT_EXPECT_EQ(test, drm_svm_bind_map(bind, &req, DRM_SVM_BIND_NOREPLACE, NULL), -EEXIST);
	/* Nothing is there, or will be. */
	KUNIT_EXPECT_EQ(test, drm_svm_bind_prefetch(bind, FX_BASE + 0x5100, 0x100, NULL), -ENOENT);
	fx_bind_unmap(test, s.fb, FX_BASE + 0x100, 0x100);
	KUNIT_EXPECT_EQ(test, drm_svm_bind_prefetch(bind, FX_BASE + 0x100, 0x100, NULL), -ENOENT);
	req = fx_req(s.objs[0], FX_BASE + 0x100, 0x100, 0x30);
	KUNIT_EXPECT_EQ(test, drm_svm_bind_map(bind, &req, DRM_SVM_BIND_NOREPLACE, NULL), 0);
	KUNIT_EXPECT_EQ(test, drm_svm_bind_prefetch(bind, FX_BASE + 0x1ff, 1, NULL), 0);

	fx_bind_prepare(test, s.fb);
	fx_bind_commit(test, s.fb);
	FX_EXPECT_VAS(test, s.vm,
		      { FX_BASE + 0x100, 0x100, s.objs[0], 0x30 },
		      { FX_BASE + 0x800, 0x100, s.objs[1], 0 },
		      { FX_BASE + 0x1f00, 0x200, s.objs[1], 0x20 },
		      { FX_BASE + 0x2f00, 0x200, NULL, 0 },
		      { FX_BASE + 0x5000, 0x100, s.objs[0], 0 });
	scene_fini(&s);
}

/* While it is open ----------------------------------------------------------------------- */

static void nobody_else_changes_the_space(struct kunit *test)
{
	struct fx_va *va = fx_va_create(test, FX_BASE + 0x6000, 0x100, NULL, 0);
	struct fx_bind *second;
	struct scene s;

	scene_init(test, &s, 0);
	second = fx_bind_create(test, s.vm);
	fx_bind_begin(test, s.fb);
	KUNIT_EXPECT_EQ(test, drm_gpuva_insert(&s.vm->base, &va->base), -EBUSY);
	KUNIT_EXPECT_EQ(test, drm_svm_bind_begin(&second->bind, &s.vm->base, &fx_bind_ops, second),
			-EBUSY);
	KUNIT_EXPECT_EQ(test, drm_svm_bind_begin(&s.fb->bind, &s.vm->base, &fx_bind_ops, s.fb),
			-EBUSY);

	/* Whoever looks sees the space as it was. */
	fx_bind_unmap(test, s.fb, FX_BASE + 0x100, 0x100);
	fx_bind_prepare(test, s.fb);
	KUNIT_EXPECT_NOT_NULL(test, drm_gpuva_find(&s.vm->base, FX_BASE + 0x100, 0x100));
	KUNIT_EXPECT_EQ(test, drm_gpuva_insert(&s.vm->base, &va->base), -EBUSY);

	/* What is prepared takes no more requests. */
	KUNIT_EXPECT_EQ(test, drm_svm_bind_unmap(&s.fb->bind, FX_BASE, 0x100, NULL), -EINVAL);
	KUNIT_EXPECT_NULL(test, drm_svm_bind_driver_op(&s.fb->bind, 0, 0, NULL));
	KUNIT_EXPECT_EQ(test, drm_svm_bind_prepare(&s.fb->bind), -EINVAL);

	/* Others may go on before finish(). */
	drm_svm_bind_commit(&s.fb->bind);
	KUNIT_EXPECT_NULL(test, drm_gpuva_find(&s.vm->base, FX_BASE + 0x100, 0x100));
	KUNIT_EXPECT_EQ(test, drm_gpuva_insert(&s.vm->base, &va->base), 0);
	fx_bind_begin(test, second);
	fx_bind_unmap(test, second, FX_BASE + 0x6000, 0x80);
	fx_bind_prepare(test, second);
	fx_bind_commit(test, second);
	drm_svm_bind_finish(&s.fb->bind);
	KUNIT_EXPECT_EQ(test, s.fb->misused, 0);
	scene_fini(&s);
}

static void references_of_the_open_one(struct kunit *test, enum drm_gpuvm_flags flags)
{
	unsigned int vm_refs, obj_refs;
	struct scene s;

	scene_init(test, &s, flags);
	vm_refs = fx_vm_refs(s.vm);
	obj_refs = fx_obj_refs(s.objs[0]);
	fx_bind_begin(test, s.fb);
	KUNIT_EXPECT_EQ(test, fx_vm_refs(s.vm), vm_refs + 1);
	fx_bind_map(test, s.fb, s.objs[0], FX_BASE + 0x5000, 0x100, 0);
	KUNIT_EXPECT_GT(test, fx_obj_refs(s.objs[0]), obj_refs);
	KUNIT_EXPECT_EQ(test, fx_gem_vm_bos(s.vm, s.objs[0]), 0);
	fx_bind_prepare(test, s.fb);
	KUNIT_EXPECT_EQ(test, fx_gem_vm_bos(s.vm, s.objs[0]), 1);
	fx_bind_commit(test, s.fb);

	/* One of the mapping to the space and one of the new vm_bo to both. */
	KUNIT_EXPECT_EQ(test, fx_vm_refs(s.vm), vm_refs + 2);
	KUNIT_EXPECT_EQ(test, fx_obj_refs(s.objs[0]), obj_refs + 1);
	KUNIT_EXPECT_EQ(test, fx_extobjs(s.vm), 2);
	scene_fini(&s);
}
FX_MODES(references_of_the_open_one)

static void steps_say_where_they_come_from(struct kunit *test)
{
	struct drm_svm_bind_op *op;
	int tags[3];
	unsigned int n = 0;
	struct scene s;

	scene_init(test, &s, 0);
	fx_bind_begin(test, s.fb);
	KUNIT_EXPECT_EQ(test, drm_svm_bind_unmap(&s.fb->bind, FX_BASE + 0x180, 0x700, &tags[0]), 0);
	op = drm_svm_bind_driver_op(&s.fb->bind, 11, 22, &tags[1]);
	KUNIT_ASSERT_NOT_NULL(test, op);
	KUNIT_EXPECT_EQ(test, op->base.op, DRM_GPUVA_OP_DRIVER);
	KUNIT_EXPECT_EQ(test, drm_svm_bind_prefetch(&s.fb->bind, FX_BASE + 0x100, 1, &tags[2]), 0);
	fx_bind_prepare(test, s.fb);

	/* Two REMAPs of the first, then one step for each of the others. */
	drm_svm_bind_for_each_op(op, &s.fb->bind) {
		unsigned int request = n < 2 ? 0 : n - 1;

		KUNIT_EXPECT_EQ(test, op->request, request);
		KUNIT_EXPECT_PTR_EQ(test, op->tag, (void *)&tags[request]);
		if (request == 0) {
			KUNIT_EXPECT_EQ(test, op->base.op, DRM_GPUVA_OP_REMAP);
			KUNIT_EXPECT_EQ(test, op->addr, FX_BASE + 0x180);
			KUNIT_EXPECT_EQ(test, op->range, 0x700);
		} else if (request == 1) {
			KUNIT_EXPECT_EQ(test, op->addr, 11);
			KUNIT_EXPECT_EQ(test, op->range, 22);
		} else {
			/* It sees what the first leaves. */
			KUNIT_EXPECT_EQ(test, op->base.op, DRM_GPUVA_OP_PREFETCH);
			KUNIT_EXPECT_EQ(test, op->base.prefetch.va->va.range, 0x80);
		}
		n++;
	}
	KUNIT_EXPECT_EQ(test, n, 4);
	fx_bind_commit(test, s.fb);
	scene_fini(&s);
}

/* The library's own mappings, for a driver that has nothing to add. */
static void without_callbacks(struct kunit *test)
{
	struct drm_gpuvm_map_req req;
	struct drm_svm_bind *bind;
	struct scene s;

	scene_init(test, &s, 0);
	bind = &s.fb->bind;
	KUNIT_ASSERT_EQ(test, drm_svm_bind_begin(bind, &s.vm->base, &fx_bind_ops_bare, NULL), 0);
	req = fx_req(s.objs[0], FX_BASE + 0x5000, 0x100, 0);
	KUNIT_EXPECT_EQ(test, drm_svm_bind_map(bind, &req, DRM_SVM_BIND_COALESCE, NULL), 0);
	req = fx_req(s.objs[0], FX_BASE + 0x5100, 0x100, 0x100);
	KUNIT_EXPECT_EQ(test, drm_svm_bind_map(bind, &req, DRM_SVM_BIND_COALESCE, NULL), 0);
	KUNIT_EXPECT_EQ(test, drm_svm_bind_prepare(bind), 0);
	drm_svm_bind_commit(bind);
	drm_svm_bind_finish(bind);
	KUNIT_EXPECT_NOT_NULL(test, drm_gpuva_find(&s.vm->base, FX_BASE + 0x5000, 0x100));
	KUNIT_EXPECT_NOT_NULL(test, drm_gpuva_find(&s.vm->base, FX_BASE + 0x5100, 0x100));

	KUNIT_ASSERT_EQ(test, drm_svm_bind_begin(bind, &s.vm->base, &fx_bind_ops_bare, NULL), 0);
	KUNIT_EXPECT_EQ(test, drm_svm_bind_unmap(bind, FX_BASE + 0x5000, 0x200, NULL), 0);
	KUNIT_EXPECT_EQ(test, drm_svm_bind_prepare(bind), 0);
	drm_svm_bind_commit(bind);
	drm_svm_bind_finish(bind);
	fx_expect_unchanged(test, s.vm, s.before);
	scene_fini(&s);
}

/* Coalescing and repeating ------------------------------------------------------------------ */

static void coalesce(struct kunit *test, struct fx_bind *fb, struct drm_gem_object *obj,
		     u64 addr, u64 range, u64 offset)
{
	struct drm_gpuvm_map_req req = fx_req(obj, addr, range, offset);

	fx_bind_begin(test, fb);
	KUNIT_EXPECT_EQ(test, drm_svm_bind_map(&fb->bind, &req, DRM_SVM_BIND_COALESCE, NULL), 0);
	fx_bind_prepare(test, fb);
	fx_bind_commit(test, fb);
}

static void coalescing(struct kunit *test, enum drm_gpuvm_flags flags)
{
	struct fx_vm *vm = fx_vm_create(test, flags);
	struct drm_gem_object *obj = fx_bo_create(test, NULL);
	struct drm_gem_object *other = fx_bo_create(test, NULL);
	struct fx_bind *fb = fx_bind_create(test, vm);
	struct drm_gpuvm_bo *vm_bo;

	fb->merge = true;
	fx_lock(vm);
	fx_map(test, vm, obj, FX_BASE, 0x100, 0x1000);
	fx_map(test, vm, obj, FX_BASE + 0x200, 0x100, 0x1200);

	/* With one on either side. */
	coalesce(test, fb, obj, FX_BASE + 0x100, 0x100, 0x1100);
	KUNIT_EXPECT_EQ(test, fb->merge_asked, 2);
	FX_EXPECT_VAS(test, vm, { FX_BASE, 0x300, obj, 0x1000 });
	vm_bo = fx_obtain(vm, obj);
	KUNIT_EXPECT_EQ(test, fx_linked(vm, vm_bo), 1);
	KUNIT_EXPECT_EQ(test, kref_read(&vm_bo->kref), 2);
	fx_vm_bo_put(vm_bo);

	/* Another offset, another object: nobody needs to be asked. */
	coalesce(test, fb, obj, FX_BASE + 0x300, 0x100, 0x1301);
	coalesce(test, fb, other, FX_BASE + 0x400, 0x100, 0x1401);
	KUNIT_EXPECT_EQ(test, fb->merge_asked, 2);
	FX_EXPECT_VAS(test, vm,
		      { FX_BASE, 0x300, obj, 0x1000 },
		      { FX_BASE + 0x300, 0x100, obj, 0x1301 },
		      { FX_BASE + 0x400, 0x100, other, 0x1401 });

	/* The driver says no. */
	fb->merge = false;
	coalesce(test, fb, other, FX_BASE + 0x500, 0x100, 0x1501);
	KUNIT_EXPECT_EQ(test, fb->merge_asked, 3);
	FX_EXPECT_VAS(test, vm,
		      { FX_BASE, 0x300, obj, 0x1000 },
		      { FX_BASE + 0x300, 0x100, obj, 0x1301 },
		      { FX_BASE + 0x400, 0x100, other, 0x1401 },
		      { FX_BASE + 0x500, 0x100, other, 0x1501 });
	fx_unlock(vm);
	fx_vm_destroy(vm);
}
FX_MODES(coalescing)

/* With one that the same transaction is going to make. */
static void coalescing_in_one_transaction(struct kunit *test)
{
	struct drm_gpuvm_map_req req;
	struct scene s;
	unsigned int i;

	scene_init(test, &s, 0);
	s.fb->merge = true;
	fx_bind_begin(test, s.fb);
	for (i = 0; i < 4; i++) {
		req = fx_req(s.objs[0], FX_BASE + 0x5000 + i * 0x100, 0x100, i * 0x100);
		KUNIT_EXPECT_EQ(test, drm_svm_bind_map(&s.fb->bind, &req, DRM_SVM_BIND_COALESCE,
						       NULL), 0);
	}
	KUNIT_EXPECT_EQ(test, s.fb->merge_asked, 3);
	fx_bind_prepare(test, s.fb);
	fx_bind_abort(test, s.fb);
	fx_expect_unchanged(test, s.vm, s.before);

	fx_bind_begin(test, s.fb);
	for (i = 0; i < 4; i++) {
		req = fx_req(s.objs[0], FX_BASE + 0x5000 + i * 0x100, 0x100, i * 0x100);
		KUNIT_EXPECT_EQ(test, drm_svm_bind_map(&s.fb->bind, &req, DRM_SVM_BIND_COALESCE,
						       NULL), 0);
	}
	fx_bind_prepare(test, s.fb);
	fx_bind_commit(test, s.fb);
	KUNIT_EXPECT_NOT_NULL(test, drm_gpuva_find(&s.vm->base, FX_BASE + 0x5000, 0x400));
	scene_fini(&s);
}

static void repeating(struct kunit *test)
{
	struct drm_gpuvm_map_req req;
	struct drm_gpuva *va;
	unsigned int n = 0;
	struct scene s;

	scene_init(test, &s, 0);
	req = fx_req(s.objs[0], FX_BASE + 0x5000, 0x1000, 0x20);
	req.map.flags = DRM_GPUVA_REPEAT;
	req.map.gem.repeat_offset = 0x20;
	req.map.gem.repeat_range = 0x30;

	fx_bind_begin(test, s.fb);
	KUNIT_EXPECT_EQ(test, drm_svm_bind_map(&s.fb->bind, &req, 0, NULL), 0);
	/* A window that is not there, and a beginning outside of it. */
	req.map.gem.repeat_range = 0;
	KUNIT_EXPECT_EQ(test, drm_svm_bind_map(&s.fb->bind, &req, 0, NULL), -EINVAL);
	req.map.gem.repeat_range = 0x30;
	req.map.gem.offset = 0x50;
	KUNIT_EXPECT_EQ(test, drm_svm_bind_map(&s.fb->bind, &req, 0, NULL), -EINVAL);
	fx_bind_unmap(test, s.fb, FX_BASE + 0x5100, 0x101);
	fx_bind_prepare(test, s.fb);
	fx_bind_commit(test, s.fb);

	/* The rest begins after 0x201 units, 0x21 into the window. */
	va = drm_gpuva_find(&s.vm->base, FX_BASE + 0x5201, 0xdff);
	KUNIT_ASSERT_NOT_NULL(test, va);
	KUNIT_EXPECT_EQ(test, va->gem.offset, 0x20 + 0x201 % 0x30);
	drm_gpuvm_for_each_va_range(va, &s.vm->base, FX_BASE + 0x5000, FX_BASE + 0x6000) {
		KUNIT_EXPECT_TRUE(test, va->flags & DRM_GPUVA_REPEAT);
		KUNIT_EXPECT_EQ(test, va->gem.repeat_offset, 0x20);
		KUNIT_EXPECT_EQ(test, va->gem.repeat_range, 0x30);
		n++;
	}
	KUNIT_EXPECT_EQ(test, n, 2);
	scene_fini(&s);
}

/* Whoever writes the entries of what is gone looks at its object. */
static void objects_outlive_their_mappings(struct kunit *test, enum drm_gpuvm_flags flags)
{
	struct drm_gem_object *obj;
	unsigned int refs;
	struct scene s;

	scene_init(test, &s, flags);
	obj = s.objs[2];
	refs = fx_obj_refs(obj);
	fx_bind_begin(test, s.fb);
	fx_bind_unmap(test, s.fb, FX_BASE + 0x100, 0x100);
	fx_bind_prepare(test, s.fb);
	drm_svm_bind_commit(&s.fb->bind);
	fx_unlock(s.vm);

	/* The space's reference has gone, and the transaction's is there. */
	drm_gpuvm_bo_deferred_cleanup(&s.vm->base);
	KUNIT_EXPECT_EQ(test, fx_gem_vm_bos(s.vm, obj), 0);
	KUNIT_EXPECT_EQ(test, fx_obj_refs(obj), refs);
	drm_svm_bind_finish(&s.fb->bind);
	KUNIT_EXPECT_EQ(test, fx_obj_refs(obj), refs - 1);
	fx_lock(s.vm);
	scene_fini(&s);
}
FX_MODES(objects_outlive_their_mappings)

static struct kunit_case gpuvm_bind_cases[] = {
	FX_CASE_MODES(same_as_by_hand),
	FX_CASE_MODES(abort_after_each_request),
	FX_CASE_MODES(each_prepare_fails),
	FX_CASE_MODES(each_allocation_fails),
	KUNIT_CASE(refused_request),
	KUNIT_CASE(nobody_else_changes_the_space),
	FX_CASE_MODES(references_of_the_open_one),
	KUNIT_CASE(steps_say_where_they_come_from),
	KUNIT_CASE(without_callbacks),
	FX_CASE_MODES(coalescing),
	KUNIT_CASE(coalescing_in_one_transaction),
	KUNIT_CASE(repeating),
	FX_CASE_MODES(objects_outlive_their_mappings),
	{}
};

static struct kunit_suite gpuvm_bind_suite = {
	.name = "dsvm_gpuvm_bind",
	.init = fixture_init,
	.exit = fixture_exit,
	.test_cases = gpuvm_bind_cases,
};
kunit_test_suite(gpuvm_bind_suite);
