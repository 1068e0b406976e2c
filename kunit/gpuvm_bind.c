// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * See gpuvm_bind.h.
 */
#include <linux/string.h>

#include "gpuvm_bind.h"

static struct fx_bind *to_fx_bind(struct drm_svm_bind *bind)
{
	struct fx_bind *fb = container_of(bind, struct fx_bind, bind);

	if (bind->priv != fb)
		fb->misused++;
	return fb;
}

static struct drm_gpuva *bind_va_alloc(struct drm_svm_bind *bind, struct drm_svm_bind_op *op)
{
	to_fx_bind(bind);
	return fx_va_alloc();
}

static void bind_va_free(struct drm_svm_bind *bind, struct drm_gpuva *va)
{
	to_fx_bind(bind);
	fx_va_free(va);
}

static bool bind_can_merge(struct drm_svm_bind *bind, const struct drm_gpuva *va,
			   const struct drm_svm_bind_op *maker,
			   const struct drm_gpuva_op_map *req, void *tag)
{
	struct fx_bind *fb = to_fx_bind(bind);

	/* One of the two, and it shows the same object. */
	if (va ? maker || va->gem.obj != req->gem.obj :
		 !maker || maker->base.map.gem.obj != req->gem.obj)
		fb->misused++;
	fb->merge_asked++;
	return fb->merge;
}

/* Whether a mapping to come is all there: filled in, and in no space yet. */
static bool is_made(const struct drm_gpuva *va, const struct drm_gpuva_op_map *map)
{
	return va && va->vm && !va->vm_bo && va->va.addr == map->va.addr &&
	       va->va.range == map->va.range && va->gem.obj == map->gem.obj &&
	       va->gem.offset == map->gem.offset;
}

/* Whether a mapping that goes is one of the driver's, or will be. */
static bool is_own(const struct drm_gpuva *va)
{
	return va && container_of(va, struct fx_va, base)->canary == FX_CANARY;
}

static bool step_is_prepared(const struct drm_svm_bind_op *op)
{
	const struct drm_gpuva_op_remap *remap = &op->base.remap;

	switch (op->base.op) {
	case DRM_GPUVA_OP_MAP:
		return is_made(op->va, &op->base.map) && !op->prev && !op->next &&
		       !op->base.map.gem.obj == !op->vm_bo;
	case DRM_GPUVA_OP_REMAP:
		return is_own(remap->unmap->va) && !op->va && !op->vm_bo &&
		       (remap->prev ? is_made(op->prev, remap->prev) : !op->prev) &&
		       (remap->next ? is_made(op->next, remap->next) : !op->next);
	case DRM_GPUVA_OP_UNMAP:
		return is_own(op->base.unmap.va) && !op->va;
	case DRM_GPUVA_OP_PREFETCH:
		return is_own(op->base.prefetch.va) && !op->va;
	case DRM_GPUVA_OP_DRIVER:
		return !op->va && !op->prev && !op->next;
	}
	return false;
}

static bool is_in_space(struct fx_bind *fb, struct drm_gpuva *va)
{
	return !va || (va->vm == &fb->vm->base &&
		       drm_gpuva_find(&fb->vm->base, va->va.addr, va->va.range) == va);
}

static bool step_is_committed(struct fx_bind *fb, struct drm_svm_bind_op *op)
{
	struct drm_gpuva *gone = NULL;

	if (op->base.op == DRM_GPUVA_OP_REMAP)
		gone = op->base.remap.unmap->va;
	else if (op->base.op == DRM_GPUVA_OP_UNMAP)
		gone = op->base.unmap.va;

	if (gone && drm_gpuva_find(&fb->vm->base, gone->va.addr, gone->va.range) == gone)
		return false;
	return is_in_space(fb, op->va) && is_in_space(fb, op->prev) && is_in_space(fb, op->next);
}

static int bind_prepare(struct drm_svm_bind *bind, struct drm_svm_bind_op *op)
{
	struct fx_bind *fb = to_fx_bind(bind);
	void *priv = drm_svm_bind_op_priv(op);

	if (fb->fail_at && --fb->fail_at == 0)
		return -EIO;

	if (memchr_inv(priv, 0, FX_PRIV_SIZE) || !step_is_prepared(op) ||
	    fb->prepared == FX_MAX_STEPS) {
		fb->misused++;
		return 0;
	}
	memset(priv, 0xa5, FX_PRIV_SIZE);
	fb->steps[fb->prepared++] = op;
	return 0;
}

static void bind_unprepare(struct drm_svm_bind *bind, struct drm_svm_bind_op *op)
{
	struct fx_bind *fb = to_fx_bind(bind);
	void *priv = drm_svm_bind_op_priv(op);

	if (!fb->prepared || fb->steps[--fb->prepared] != op ||
	    memchr_inv(priv, 0xa5, FX_PRIV_SIZE))
		fb->misused++;
	memset(priv, 0, FX_PRIV_SIZE);
	fb->unprepared++;
}

static void bind_commit(struct drm_svm_bind *bind, struct drm_svm_bind_op *op)
{
	struct fx_bind *fb = to_fx_bind(bind);

	if (fb->committed >= fb->prepared || fb->steps[fb->committed] != op ||
	    !step_is_committed(fb, op))
		fb->misused++;
	fb->committed++;
}

static void bind_finish(struct drm_svm_bind *bind, struct drm_svm_bind_op *op)
{
	struct fx_bind *fb = to_fx_bind(bind);

	if (fb->finished >= fb->committed || fb->steps[fb->finished] != op ||
	    memchr_inv(drm_svm_bind_op_priv(op), 0xa5, FX_PRIV_SIZE))
		fb->misused++;
	fb->finished++;
}

const struct drm_svm_bind_ops fx_bind_ops = {
	.op_priv_size = FX_PRIV_SIZE,
	.va_alloc = bind_va_alloc,
	.va_free = bind_va_free,
	.can_merge = bind_can_merge,
	.prepare = bind_prepare,
	.unprepare = bind_unprepare,
	.commit = bind_commit,
	.finish = bind_finish,
};

const struct drm_svm_bind_ops fx_bind_ops_bare = {
	.op_priv_size = FX_PRIV_SIZE,
};

struct fx_bind *fx_bind_create(struct kunit *test, struct fx_vm *vm)
{
	struct fx_bind *fb = kunit_kzalloc(test, sizeof(*fb), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, fb);
	fb->vm = vm;
	return fb;
}

void fx_bind_begin(struct kunit *test, struct fx_bind *fb)
{
	fb->prepared = 0;
	fb->unprepared = 0;
	fb->committed = 0;
	fb->finished = 0;
	KUNIT_ASSERT_EQ(test, drm_svm_bind_begin(&fb->bind, &fb->vm->base, &fx_bind_ops, fb), 0);
}

void fx_bind_map(struct kunit *test, struct fx_bind *fb, struct drm_gem_object *obj,
		 u64 addr, u64 range, u64 offset)
{
	struct drm_gpuvm_map_req req = fx_req(obj, addr, range, offset);

	KUNIT_EXPECT_EQ(test, drm_svm_bind_map(&fb->bind, &req, 0, NULL), 0);
}

void fx_bind_unmap(struct kunit *test, struct fx_bind *fb, u64 addr, u64 range)
{
	KUNIT_EXPECT_EQ(test, drm_svm_bind_unmap(&fb->bind, addr, range, NULL), 0);
}

unsigned int fx_bind_steps(struct fx_bind *fb)
{
	struct drm_svm_bind_op *op;
	unsigned int n = 0;

	drm_svm_bind_for_each_op(op, &fb->bind)
		n++;
	return n;
}

void fx_bind_prepare(struct kunit *test, struct fx_bind *fb)
{
	struct drm_svm_bind_op *op;
	unsigned int n = 0;

	KUNIT_ASSERT_EQ(test, drm_svm_bind_prepare(&fb->bind), 0);
	drm_svm_bind_for_each_op(op, &fb->bind) {
		KUNIT_EXPECT_PTR_EQ(test, op, fb->steps[n]);
		n++;
	}
	KUNIT_EXPECT_EQ(test, fb->prepared, n);
	KUNIT_EXPECT_EQ(test, fb->unprepared, 0);
}

void fx_bind_commit(struct kunit *test, struct fx_bind *fb)
{
	drm_svm_bind_commit(&fb->bind);
	KUNIT_EXPECT_EQ(test, fb->committed, fb->prepared);
	KUNIT_EXPECT_EQ(test, fb->finished, 0);
	drm_svm_bind_finish(&fb->bind);
	KUNIT_EXPECT_EQ(test, fb->finished, fb->prepared);
	KUNIT_EXPECT_EQ(test, fb->unprepared, 0);
	KUNIT_EXPECT_EQ(test, fb->misused, 0);
}

/* What an aborted transaction alone has needed may wait for this, in one mode. */
static void cleanup(struct fx_vm *vm)
{
	if (!drm_gpuvm_immediate_mode(&vm->base) || !drm_gpuvm_resv_protected(&vm->base))
		return;

	fx_unlock(vm);
	drm_gpuvm_bo_deferred_cleanup(&vm->base);
	fx_lock(vm);
}

void fx_bind_abort(struct kunit *test, struct fx_bind *fb)
{
	fx_live.free_locks = true;
	drm_svm_bind_abort(&fb->bind);
	cleanup(fb->vm);
	fx_live.free_locks = false;
	KUNIT_EXPECT_EQ(test, fb->prepared, 0);
	KUNIT_EXPECT_EQ(test, fb->committed, 0);
	KUNIT_EXPECT_EQ(test, fb->finished, 0);
	KUNIT_EXPECT_EQ(test, fb->misused, 0);
}
