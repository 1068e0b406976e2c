// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * drm/drm_gpuvm_ops.h: requests and their steps. The core (drm_svm/va.h) takes
 * requests apart; here its steps become the driver's callbacks and lists.
 */
#include <linux/err.h>
#include <linux/export.h>
#include <linux/slab.h>

#include <drm/drm_gpuvm.h>
#include <drm/drm_svm.h>

#include "gpuvm_internal.h"
#include "internal.h"
#include "trace.h"

/**
 * DOC: Split and merge
 *
 * A request to map or to unmap a span may find mappings in its way. What has
 * to be done then is said in steps, in the order in which they are to be done:
 *
 * ``UNMAP``
 *	A mapping lies inside the span, and goes.
 * ``REMAP``
 *	A mapping lies across one or both ends of the span. It goes, and what of
 *	it is outside comes back: @prev in front of the span, @next behind it.
 * ``MAP``
 *	The mapping that was asked for comes.
 *
 * A mapping never changes in place, not even one that only loses its end: so a
 * driver can take what it keeps in its own mapping over to the new ones. Of one
 * request there are at most two REMAPs, since only two mappings can lie across
 * its ends, any number of UNMAPs, and one MAP. Steps that take away come before
 * the MAP, in the order of addresses.
 *
 * An UNMAP or REMAP that a request to map causes has &drm_gpuva_op_unmap.keep
 * set where page-table entries may stay as they are, and only the ones around
 * them have to be written. Both of these have to hold:
 *
 *  - The mapping that goes has an object; the request has the same one, and
 *    shows the same part of it where the two overlap: the offsets agree and,
 *    with DRM_GPUVA_REPEAT, the windows do.
 *  - The mapping that goes is not DRM_GPUVA_INVALIDATED. Its entries are not
 *    valid, so there is nothing to keep.
 *
 * In a bind transaction (drm/drm_svm.h) the flags have to be equal, too. Here
 * only DRM_GPUVA_REPEAT is compared, because the other flags of a request are
 * often in the driver's own mapping alone: a driver with flags that change its
 * entries looks at them before it keeps any.
 *
 * In the drawings a mapping is a bar of the units that it shows: ``|a0 a1|`` is
 * two units of object a, from offset 0 on. Each drawing has a number, and the
 * test of the same number proves it.
 *
 * A request to map
 * ~~~~~~~~~~~~~~~~
 * ::
 *
 *	 1) The same mapping once more.
 *
 *		old: |a0 a1|
 *		req: |a0 a1|
 *		new: |a0 a1|		UNMAP a (keep), MAP
 *
 *	 2) The same place and object, another offset.
 *
 *		old: |a0 a1|
 *		req: |a5 a6|
 *		new: |a5 a6|		UNMAP a, MAP
 *
 *	 3) The same place, another object.
 *
 *		old: |a0 a1|
 *		req: |b0 b1|
 *		new: |b0 b1|		UNMAP a, MAP
 *
 *	 4) A mapping is the beginning of what is asked for.
 *
 *		old: |a0|
 *		req: |a0 a1|
 *		new: |a0 a1|		UNMAP a (keep), MAP
 *
 *	 5) The beginning of a mapping is replaced.
 *
 *		old: |a0 a1|
 *		req: |b0|
 *		new: |b0|a1|		REMAP a (next a1), MAP
 *
 *	 6) The beginning of a mapping, as it is.
 *
 *		old: |a0 a1|
 *		req: |a0|
 *		new: |a0|a1|		REMAP a (next a1, keep), MAP
 *
 *	 7) The end of a mapping is replaced.
 *
 *		old: |a0 a1|
 *		req:    |b0|
 *		new: |a0|b0|		REMAP a (prev a0), MAP
 *
 *	 8) The end of a mapping, as it is.
 *
 *		old: |a0 a1|
 *		req:    |a1|
 *		new: |a0|a1|		REMAP a (prev a0, keep), MAP
 *
 *	 9) The end of a mapping is replaced, and more behind it asked for.
 *
 *		old: |a0 a1|
 *		req:    |b0 b1|
 *		new: |a0|b0 b1|		REMAP a (prev a0), MAP
 *
 *	10) The end of a mapping as it is, and what continues it.
 *
 *		old: |a0 a1|
 *		req:    |a1 a2|
 *		new: |a0|a1 a2|		REMAP a (prev a0, keep), MAP
 *
 *	11) The middle of a mapping is replaced.
 *
 *		old: |a0 a1 a2|
 *		req:    |b0|
 *		new: |a0|b0|a2|		REMAP a (prev a0, next a2), MAP
 *
 *	12) The middle of a mapping, as it is.
 *
 *		old: |a0 a1 a2|
 *		req:    |a1|
 *		new: |a0|a1|a2|		REMAP a (prev a0, next a2, keep), MAP
 *
 *	13) A mapping is the end of what is asked for.
 *
 *		old:    |a1|
 *		req: |a0 a1|
 *		new: |a0 a1|		UNMAP a (keep), MAP
 *
 *	14) A mapping is in the middle of what is asked for.
 *
 *		old:    |a1|
 *		req: |a0 a1 a2|
 *		new: |a0 a1 a2|		UNMAP a (keep), MAP
 *
 *	15) The beginning of a mapping is replaced, and more before it asked for.
 *
 *		old:    |a0 a1|
 *		req: |b0 b1|
 *		new: |b0 b1|a1|		REMAP a (next a1), MAP
 *
 * With another object or offset 4, 13 and 14 are the same without keep. Any
 * other request is put together from these: each mapping in its way is one of
 * the cases, and the MAP comes once.
 *
 * A request to unmap
 * ~~~~~~~~~~~~~~~~~~
 * Nothing is ever kept.
 *
 * ::
 *
 *	U1) What a mapping covers.
 *
 *		old: |a0 a1|
 *		req: |-----|
 *		new:			UNMAP a
 *
 *	U2) What several mappings cover, and the gaps between them.
 *
 *		old: |a0|b0|  |c0|
 *		req: |-----------|
 *		new:			UNMAP a, UNMAP b, UNMAP c
 *
 *	U3) The beginning of a mapping.
 *
 *		old: |a0 a1|
 *		req: |--|
 *		new:    |a1|		REMAP a (next a1)
 *
 *	U4) The end of a mapping.
 *
 *		old: |a0 a1|
 *		req:    |--|
 *		new: |a0|		REMAP a (prev a0)
 *
 *	U5) The middle of a mapping.
 *
 *		old: |a0 a1 a2|
 *		req:    |--|
 *		new: |a0|  |a2|		REMAP a (prev a0, next a2)
 *
 *	U6) The end of one mapping and the beginning of the next.
 *
 *		old: |a0 a1|b0 b1|
 *		req:    |-----|
 *		new: |a0|     |b1|	REMAP a (prev a0), REMAP b (next b1)
 *
 *	U7) Nothing is there.
 *
 *		old:
 *		req: |-----|
 *		new:			no step
 *
 * A request to advise
 * ~~~~~~~~~~~~~~~~~~~
 * drm_gpuvm_madvise_ops_create() is for attributes of a span: it cuts mappings
 * at the ends of the span, so that no mapping lies across one, and takes none
 * away. That is for mappings without an object, drawn ``|- -|``; the driver keeps
 * in its own mapping what they stand for. A mapping that is cut comes back in
 * two kinds of pieces: what is outside, by a REMAP, and what is inside, drawn
 * ``|= =|``, by a MAP right behind it, which shows what the request says.
 *
 * ::
 *
 *	M1) Inside of one mapping: both of its ends come back.
 *
 *		old: |- - -|
 *		req:   |-|
 *		new: |-|=|-|		REMAP (prev, next), MAP
 *
 *	M2) Several mappings, the first and the last of them cut.
 *
 *		old: |- -|-|- -|
 *		req:   |-----|
 *		new: |-|=|-|=|-|	REMAP (prev), MAP, REMAP (next), MAP
 *
 *	M3) Only the first one is cut.
 *
 *		old: |- -|-|
 *		req:   |---|
 *		new: |-|=|-|		REMAP (prev), MAP
 *
 *	M4) Only the last one is cut.
 *
 *		old: |-|- -|
 *		req: |---|
 *		new: |-|=|-|		REMAP (next), MAP
 *
 *	M5) From where a mapping begins to where one ends.
 *
 *		old: |-|- -|
 *		req: |-----|
 *		new: |-|- -|		no step
 *
 *	M6) Nothing is there.
 *
 *		old:
 *		req: |-----|
 *		new:			no step
 *
 *	M7) Mappings with an object stay, cut or not.
 *
 *		old: |a0 a1|b0|
 *		req:    |--|
 *		new: |a0 a1|b0|		no step
 */

/* Who gets the steps of a request in callback mode. */
struct callee {
	struct drm_gpuvm *gpuvm;
	void *priv;
};

static int call_driver(void *context, const struct dsvm_va_op *step)
{
	const struct callee *callee = context;
	const struct drm_gpuvm_ops *ops = callee->gpuvm->ops;
	struct drm_gpuva_op *op = to_gpuva_op(step);

	trace_gpuva_op(callee->gpuvm, op);
	if (op->op == DRM_GPUVA_OP_MAP)
		return ops->sm_step_map(op, callee->priv);
	if (op->op == DRM_GPUVA_OP_REMAP)
		return ops->sm_step_remap(op, callee->priv);
	return ops->sm_step_unmap(op, callee->priv);
}

/**
 * drm_gpuvm_sm_map() - Hands the driver the steps of a request to map
 * @gpuvm: the space
 * @priv: for the callbacks
 * @req: the request
 *
 * Through &drm_gpuvm_ops.sm_step_map, sm_step_remap and sm_step_unmap, which
 * have to be there; see "DOC: Split and merge" for what comes. They may change
 * the space as the step says, with drm_gpuva_map(), drm_gpuva_remap() and
 * drm_gpuva_unmap(). A driver that keeps the steps for later has to do them
 * before the next request.
 *
 * Context: The VM lock, for writing if a callback changes the space. Allocates
 * nothing; sleeps if a callback does.
 *
 * Return: 0; -EINVAL: a callback is missing, drm_gpuvm_range_valid() is false,
 * the part of the object or its window reaches beyond 2^64, or @gem.offset is
 * not in the window; what a callback returned: the steps after that are missing.
 */
int drm_gpuvm_sm_map(struct drm_gpuvm *gpuvm, void *priv,
		     const struct drm_gpuvm_map_req *req)
{
	struct callee callee = { .gpuvm = gpuvm, .priv = priv };
	const struct drm_gpuvm_ops *ops = gpuvm->ops;

	if (!ops || !ops->sm_step_map || !ops->sm_step_remap || !ops->sm_step_unmap)
		return -EINVAL;

	return dsvm_va_sm_map(&gpuvm->core, core_map(&req->map), DSVM_VA_REPLACE,
			      call_driver, &callee);
}
EXPORT_SYMBOL_GPL(drm_gpuvm_sm_map);

/**
 * drm_gpuvm_sm_unmap() - Hands the driver the steps of a request to unmap
 * @gpuvm: the space
 * @priv: for the callbacks
 * @addr: first unit
 * @range: how many
 *
 * As drm_gpuvm_sm_map() does; &drm_gpuvm_ops.sm_step_map may be missing.
 *
 * Context: See drm_gpuvm_sm_map().
 *
 * Return: 0; -EINVAL: a callback is missing, or drm_gpuvm_range_valid() is
 * false; what a callback returned: the steps after that are missing.
 */
int drm_gpuvm_sm_unmap(struct drm_gpuvm *gpuvm, void *priv,
		       u64 addr, u64 range)
{
	struct callee callee = { .gpuvm = gpuvm, .priv = priv };
	const struct drm_gpuvm_ops *ops = gpuvm->ops;

	if (!ops || !ops->sm_step_remap || !ops->sm_step_unmap)
		return -EINVAL;

	return dsvm_va_sm_unmap(&gpuvm->core, addr, range, call_driver, &callee);
}
EXPORT_SYMBOL_GPL(drm_gpuvm_sm_unmap);

static struct dsvm_va_op *op_create(const struct drm_gpuvm *gpuvm, gfp_t gfp)
{
	struct drm_gpuva_op *op;

	op = gpuvm->ops && gpuvm->ops->op_alloc ? gpuvm->ops->op_alloc() :
	     kmalloc(sizeof(*op), gfp);
	return (struct dsvm_va_op *)op;
}

static struct dsvm_va_op *op_alloc(void *context)
{
	return op_create(context, GFP_KERNEL_ACCOUNT);
}

static struct dsvm_va_op *op_alloc_nowait(void *context)
{
	return op_create(context, GFP_NOWAIT | __GFP_NOWARN);
}

/* What a driver has given a step that it made by itself, as mainline would. */
static void free_foreign_parts(struct drm_gpuva_op *op)
{
	if (op->op != DRM_GPUVA_OP_REMAP)
		return;
	if (op->remap.prev != &op->__parts.prev)
		kfree(op->remap.prev);
	if (op->remap.next != &op->__parts.next)
		kfree(op->remap.next);
	if (op->remap.unmap != &op->__parts.unmap)
		kfree(op->remap.unmap);
}

static void op_free(void *context, struct dsvm_va_op *step)
{
	const struct drm_gpuvm *gpuvm = context;

	free_foreign_parts(to_gpuva_op(step));
	if (gpuvm->ops && gpuvm->ops->op_free)
		gpuvm->ops->op_free(to_gpuva_op(step));
	else
		kfree(step);
}

/*
 * A list whose steps the driver leaves to us. The first ones come with it, so that a
 * request that cuts one mapping, or none, is one allocation.
 */
#define FIRST_STEPS 2

struct op_list {
	struct drm_gpuva_ops base;
	struct drm_gpuva_op first[FIRST_STEPS];
};

static struct drm_gpuva_ops *ops_alloc(const struct drm_gpuvm *gpuvm, gfp_t gfp)
{
	const struct drm_gpuvm_ops *driver = gpuvm->ops;
	struct drm_gpuva_ops *ops;

	if (driver && (driver->op_alloc || driver->op_free)) {
		ops = kmalloc(sizeof(*ops), gfp);
		if (!ops)
			return NULL;
		ops->__room = 0;
	} else {
		ops = kmalloc(sizeof(struct op_list), gfp);
		if (!ops)
			return NULL;
		ops->__room = FIRST_STEPS;
	}
	return ops;
}

/* Where the steps on a list come from and go to. */
static struct dsvm_va_op_memory op_memory(struct drm_gpuvm *gpuvm, struct drm_gpuva_ops *ops)
{
	struct drm_gpuva_op *first = container_of(ops, struct op_list, base)->first;

	return (struct dsvm_va_op_memory) {
		.first = (struct dsvm_va_op *)first,
		.end = (struct dsvm_va_op *)(first + ops->__room),
		.alloc = op_alloc,
		.free = op_free,
		.context = gpuvm,
	};
}

static noinline void trace_ops(struct drm_gpuvm *gpuvm, const struct drm_gpuva_ops *ops)
{
	const struct drm_gpuva_op *op;

	drm_gpuva_for_each_op(op, ops)
		trace_gpuva_op(gpuvm, op);
}

/* The list if it has been made; after an error it is empty. */
static inline struct drm_gpuva_ops *ops_result(struct drm_gpuvm *gpuvm, struct drm_gpuva_ops *ops,
					       int ret)
{
	if (ret) {
		kfree(ops);
		return ERR_PTR(ret);
	}
	if (trace_gpuva_op_enabled())
		trace_ops(gpuvm, ops);
	return ops;
}

static struct drm_gpuva_ops *ops_map(struct drm_gpuvm *gpuvm, const struct drm_gpuvm_map_req *req,
				     enum dsvm_va_mode mode)
{
	struct drm_gpuva_ops *ops = ops_alloc(gpuvm, GFP_KERNEL_ACCOUNT);
	struct dsvm_va_op_memory memory DSVM_UNSET;

	if (!ops)
		return ERR_PTR(-ENOMEM);
	memory = op_memory(gpuvm, ops);
	return ops_result(gpuvm, ops, dsvm_va_ops_map(&gpuvm->core, core_map(&req->map), mode,
						      &memory, os_link(&ops->list)));
}

/**
 * drm_gpuvm_sm_map_ops_create() - Makes a list of the steps of a request to map
 * @gpuvm: the space
 * @req: the request
 *
 * See "DOC: Split and merge" for what is on it. The list can be walked more than
 * once: to allocate first, say, and to do the steps later. They have to be done
 * before the next request is made into a list; a bind transaction
 * (drm/drm_svm.h) is without that restriction.
 *
 * A step is one allocation, from &drm_gpuvm_ops.op_alloc if that is there. Without
 * that and &drm_gpuvm_ops.op_free the first two steps lie in the list's own memory, so
 * no step outlives its list.
 *
 * Context: The VM lock, in any mode. May sleep.
 *
 * Return: the list, for drm_gpuva_ops_free(). Or an ERR_PTR(): -ENOMEM;
 * -EINVAL: see drm_gpuvm_sm_map().
 */
struct drm_gpuva_ops *
drm_gpuvm_sm_map_ops_create(struct drm_gpuvm *gpuvm,
			    const struct drm_gpuvm_map_req *req)
{
	return ops_map(gpuvm, req, DSVM_VA_REPLACE);
}
EXPORT_SYMBOL_GPL(drm_gpuvm_sm_map_ops_create);

/**
 * drm_gpuvm_madvise_ops_create() - Makes a list of steps that only split
 * @gpuvm: the space
 * @req: the span, and what a MAP is to show
 *
 * So that no mapping without an object lies across an end of the span; see
 * "DOC: Split and merge". The list may be empty.
 *
 * Context: The VM lock, in any mode. May sleep.
 *
 * Return: see drm_gpuvm_sm_map_ops_create().
 */
struct drm_gpuva_ops *
drm_gpuvm_madvise_ops_create(struct drm_gpuvm *gpuvm,
			     const struct drm_gpuvm_map_req *req)
{
	return ops_map(gpuvm, req, DSVM_VA_MADVISE);
}
EXPORT_SYMBOL_GPL(drm_gpuvm_madvise_ops_create);

/**
 * drm_gpuvm_sm_unmap_ops_create() - Makes a list of the steps of a request to unmap
 * @gpuvm: the space
 * @addr: first unit
 * @range: how many
 *
 * See drm_gpuvm_sm_map_ops_create(). The list may be empty.
 *
 * Context: The VM lock, in any mode. May sleep.
 *
 * Return: the list, for drm_gpuva_ops_free(). Or an ERR_PTR(): -ENOMEM;
 * -EINVAL: drm_gpuvm_range_valid() is false.
 */
struct drm_gpuva_ops *
drm_gpuvm_sm_unmap_ops_create(struct drm_gpuvm *gpuvm,
			      u64 addr, u64 range)
{
	struct drm_gpuva_ops *ops = ops_alloc(gpuvm, GFP_KERNEL_ACCOUNT);
	struct dsvm_va_op_memory memory DSVM_UNSET;

	if (!ops)
		return ERR_PTR(-ENOMEM);
	memory = op_memory(gpuvm, ops);
	return ops_result(gpuvm, ops, dsvm_va_ops_unmap(&gpuvm->core, addr, range, &memory,
							os_link(&ops->list)));
}
EXPORT_SYMBOL_GPL(drm_gpuvm_sm_unmap_ops_create);

/**
 * drm_gpuvm_prefetch_ops_create() - Makes a list of the mappings in a span
 * @gpuvm: the space
 * @addr: first unit
 * @range: how many
 *
 * One DRM_GPUVA_OP_PREFETCH for each that overlaps it. The list may be empty.
 *
 * Context: The VM lock, in any mode. May sleep.
 *
 * Return: the list, for drm_gpuva_ops_free(). Or an ERR_PTR(): -ENOMEM;
 * -EINVAL: the span is empty or reaches beyond 2^64.
 */
struct drm_gpuva_ops *
drm_gpuvm_prefetch_ops_create(struct drm_gpuvm *gpuvm,
			      u64 addr, u64 range)
{
	struct drm_gpuva_ops *ops = ops_alloc(gpuvm, GFP_KERNEL_ACCOUNT);
	struct dsvm_va_op_memory memory DSVM_UNSET;

	if (!ops)
		return ERR_PTR(-ENOMEM);
	memory = op_memory(gpuvm, ops);
	return ops_result(gpuvm, ops, dsvm_va_ops_prefetch(&gpuvm->core, addr, range, &memory,
							   os_link(&ops->list)));
}
EXPORT_SYMBOL_GPL(drm_gpuvm_prefetch_ops_create);

/**
 * drm_gpuvm_bo_unmap_ops_create() - Makes a list of the mappings of an object
 * @vm_bo: the object in a space
 *
 * One DRM_GPUVA_OP_UNMAP for each that is linked. The list may be empty.
 *
 * Context: The object's lock. May sleep. In immediate mode fences may wait for
 * that lock, and reclaim for them: so nothing here reclaims then, and neither
 * may &drm_gpuvm_ops.op_alloc.
 *
 * Return: the list, for drm_gpuva_ops_free(); ERR_PTR(-ENOMEM).
 */
struct drm_gpuva_ops *
drm_gpuvm_bo_unmap_ops_create(struct drm_gpuvm_bo *vm_bo)
{
	const bool nowait = drm_gpuvm_immediate_mode(vm_bo->vm);
	struct dsvm_va_op_memory memory DSVM_UNSET;
	struct drm_gpuva_ops *ops;

	drm_gem_gpuva_assert_lock_held(vm_bo->vm, vm_bo->obj);
	ops = ops_alloc(vm_bo->vm, nowait ? GFP_NOWAIT | __GFP_NOWARN : GFP_KERNEL_ACCOUNT);
	if (!ops)
		return ERR_PTR(-ENOMEM);
	memory = op_memory(vm_bo->vm, ops);
	if (nowait)
		memory.alloc = op_alloc_nowait;
	return ops_result(vm_bo->vm, ops, dsvm_va_ops_bo_unmap(os_link(&vm_bo->list.gpuva), &memory,
							       os_link(&ops->list)));
}
EXPORT_SYMBOL_GPL(drm_gpuvm_bo_unmap_ops_create);

/**
 * drm_gpuva_ops_free() - Frees a list of steps
 * @gpuvm: the space that it was made for
 * @ops: the list, and the driver's own steps that may be on it
 *
 * Context: That of &drm_gpuvm_ops.op_free.
 */
void drm_gpuva_ops_free(struct drm_gpuvm *gpuvm,
			struct drm_gpuva_ops *ops)
{
	const struct dsvm_va_op_memory memory = op_memory(gpuvm, ops);

	dsvm_va_ops_free(&memory, os_link(&ops->list));
	kfree(ops);
}
EXPORT_SYMBOL_GPL(drm_gpuva_ops_free);

/**
 * drm_svm_remap_pieces() - What a cut leaves of entries larger than a unit
 * @op: the step that cuts, as long as the mapping that goes is there
 * @block: units of such an entry, a power of two; 1 for none
 * @out: receives the pieces
 *
 * A page-table entry that maps a whole block cannot be cut. It goes, and what
 * of the block stays mapped has to be written again, with smaller entries:
 * that is the part of @out->zap that &drm_gpuva_op_remap.prev or next covers.
 * What @out->prev and @out->next say keeps its entries.
 *
 * Context: Any.
 */
void drm_svm_remap_pieces(const struct drm_gpuva_op_remap *op, u64 block,
			  struct drm_svm_remap_pieces *out)
{
	dsvm_va_remap_pieces((const struct dsvm_va_op_remap *)op, block,
			     (struct dsvm_va_pieces *)out);
}
EXPORT_SYMBOL_GPL(drm_svm_remap_pieces);
