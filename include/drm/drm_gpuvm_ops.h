/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * The part of drm/drm_gpuvm.h about requests: the steps that they come to, and
 * the driver's callbacks.
 */
#ifndef __DRM_GPUVM_OPS_H__
#define __DRM_GPUVM_OPS_H__

#include <drm/drm_gpuvm.h>

struct drm_exec;

/**
 * enum drm_gpuva_op_type - What a step does
 * @DRM_GPUVA_OP_MAP: a mapping comes
 * @DRM_GPUVA_OP_REMAP: a mapping goes, and one or both of its ends come back
 * @DRM_GPUVA_OP_UNMAP: a mapping goes
 * @DRM_GPUVA_OP_PREFETCH: a mapping is going to be used
 * @DRM_GPUVA_OP_DRIVER: the driver's own; never made here
 */
enum drm_gpuva_op_type {
	DRM_GPUVA_OP_MAP,
	DRM_GPUVA_OP_REMAP,
	DRM_GPUVA_OP_UNMAP,
	DRM_GPUVA_OP_PREFETCH,
	DRM_GPUVA_OP_DRIVER,
};

/**
 * struct drm_gpuva_op_map - A mapping that is wanted, or that comes
 * @flags: its flags. A driver that hands in 0 and sets flags of its own in the
 *	mapping loses nothing; DRM_GPUVA_REPEAT has to be here
 * @__state: the library's
 * @va: where
 * @va.addr: first unit
 * @va.range: how many
 * @gem: what it shows
 * @gem.offset: first unit in the object
 * @gem.obj: the object, or NULL
 * @gem.repeat_offset: start of the window; DRM_GPUVA_REPEAT only
 * @gem.repeat_range: length of the window; DRM_GPUVA_REPEAT only
 */
struct drm_gpuva_op_map {
	enum drm_gpuva_flags flags;
	u32 __state;
	struct {
		u64 addr;
		u64 range;
	} va;
	struct {
		u64 offset;
		struct drm_gem_object *obj;
		u64 repeat_offset;
		u64 repeat_range;
	} gem;
};

/**
 * struct drm_gpuva_op_unmap - A mapping that goes
 * @va: the mapping
 * @keep: the request shows the same memory in the same way where the two
 *	overlap, so the page-table entries there may stay
 */
struct drm_gpuva_op_unmap {
	struct drm_gpuva *va;
	bool keep;
};

/**
 * struct drm_gpuva_op_remap - A mapping that is cut
 * @prev: what remains of it in front, or NULL
 * @next: what remains of it behind, or NULL; not both are NULL
 * @unmap: the mapping itself
 *
 * Not an unmap and two maps, so that a driver can take what it keeps in its
 * own mapping over to the new ones.
 */
struct drm_gpuva_op_remap {
	struct drm_gpuva_op_map *prev;
	struct drm_gpuva_op_map *next;
	struct drm_gpuva_op_unmap *unmap;
};

/**
 * struct drm_gpuva_op_prefetch - A mapping that is going to be used
 * @va: the mapping
 */
struct drm_gpuva_op_prefetch {
	struct drm_gpuva *va;
};

/**
 * struct drm_gpuva_op - A step
 * @entry: in &struct drm_gpuva_ops
 * @op: which of the following is meant
 * @map: for DRM_GPUVA_OP_MAP
 * @remap: for DRM_GPUVA_OP_REMAP
 * @unmap: for DRM_GPUVA_OP_UNMAP
 * @prefetch: for DRM_GPUVA_OP_PREFETCH
 * @__parts: what @remap points to, so that a step is one allocation
 */
struct drm_gpuva_op {
	struct list_head entry;
	enum drm_gpuva_op_type op;
	union {
		struct drm_gpuva_op_map map;
		struct drm_gpuva_op_remap remap;
		struct drm_gpuva_op_unmap unmap;
		struct drm_gpuva_op_prefetch prefetch;
	};
	struct {
		struct drm_gpuva_op_map prev;
		struct drm_gpuva_op_map next;
		struct drm_gpuva_op_unmap unmap;
	} __parts;
};

/**
 * struct drm_gpuva_ops - The steps of a request, in order
 * @list: of &struct drm_gpuva_op
 * @__room: steps that lie in the list's own memory; 0 in a list of the driver's
 */
struct drm_gpuva_ops {
	struct list_head list;
	unsigned int __room;
};

/**
 * drm_gpuva_for_each_op() - Walks steps
 * @op: the cursor
 * @ops: the steps
 */
#define drm_gpuva_for_each_op(op, ops) list_for_each_entry(op, &(ops)->list, entry)

/**
 * drm_gpuva_for_each_op_safe() - The same, and the current one may be taken off
 * @op: the cursor
 * @next: room for the one after it
 * @ops: the steps
 */
#define drm_gpuva_for_each_op_safe(op, next, ops) \
	list_for_each_entry_safe(op, next, &(ops)->list, entry)

/**
 * drm_gpuva_for_each_op_from_reverse() - Walks back from a step, with that one first
 * @op: the cursor, and where the walk begins
 * @ops: the steps
 */
#define drm_gpuva_for_each_op_from_reverse(op, ops) \
	list_for_each_entry_from_reverse(op, &(ops)->list, entry)

/**
 * drm_gpuva_for_each_op_reverse() - Walks steps from the last to the first
 * @op: the cursor
 * @ops: the steps
 */
#define drm_gpuva_for_each_op_reverse(op, ops) \
	list_for_each_entry_reverse(op, &(ops)->list, entry)

/**
 * drm_gpuva_first_op() - The first step
 * @ops: the steps, at least one
 */
#define drm_gpuva_first_op(ops) \
	list_first_entry(&(ops)->list, struct drm_gpuva_op, entry)

/**
 * drm_gpuva_last_op() - The last step
 * @ops: the steps, at least one
 */
#define drm_gpuva_last_op(ops) \
	list_last_entry(&(ops)->list, struct drm_gpuva_op, entry)

/**
 * drm_gpuva_prev_op() - The step before a step, which is not the first
 * @op: the step
 */
#define drm_gpuva_prev_op(op) list_prev_entry(op, entry)

/**
 * drm_gpuva_next_op() - The step after a step, which is not the last
 * @op: the step
 */
#define drm_gpuva_next_op(op) list_next_entry(op, entry)

/**
 * struct drm_gpuvm_map_req - A request to map
 * @map: what and where
 */
struct drm_gpuvm_map_req {
	struct drm_gpuva_op_map map;
};

struct drm_gpuva_ops *
drm_gpuvm_sm_map_ops_create(struct drm_gpuvm *gpuvm,
			    const struct drm_gpuvm_map_req *req);
struct drm_gpuva_ops *
drm_gpuvm_madvise_ops_create(struct drm_gpuvm *gpuvm,
			     const struct drm_gpuvm_map_req *req);
struct drm_gpuva_ops *
drm_gpuvm_sm_unmap_ops_create(struct drm_gpuvm *gpuvm,
			      u64 addr, u64 range);
struct drm_gpuva_ops *
drm_gpuvm_prefetch_ops_create(struct drm_gpuvm *gpuvm,
			      u64 addr, u64 range);
struct drm_gpuva_ops *
drm_gpuvm_bo_unmap_ops_create(struct drm_gpuvm_bo *vm_bo);
void drm_gpuva_ops_free(struct drm_gpuvm *gpuvm,
			struct drm_gpuva_ops *ops);

/**
 * drm_gpuva_init_from_op() - Fills a mapping in as a step says
 * @va: the mapping, in no space
 * @op: the step
 *
 * Of the flags only DRM_GPUVA_REPEAT, which says how to read the rest; the
 * others are the driver's to set.
 */
static inline void drm_gpuva_init_from_op(struct drm_gpuva *va,
					  const struct drm_gpuva_op_map *op)
{
	drm_gpuva_init(va, op->va.addr, op->va.range, op->gem.obj, op->gem.offset);
	va->gem.repeat_offset = op->gem.repeat_offset;
	va->gem.repeat_range = op->gem.repeat_range;
	va->flags = (va->flags & ~DRM_GPUVA_REPEAT) | (op->flags & DRM_GPUVA_REPEAT);
}

/**
 * struct drm_gpuvm_ops - What a driver does for the GPU VA manager
 */
struct drm_gpuvm_ops {
	/**
	 * @vm_free: Frees the driver's VM, whose last reference has gone.
	 * Required. In the context of the last drm_gpuvm_put().
	 */
	void (*vm_free)(struct drm_gpuvm *gpuvm);

	/**
	 * @op_alloc: Makes a zeroed step, for a driver that embeds it.
	 * Optional. May sleep.
	 *
	 * Return: the step, or NULL if there is no memory.
	 */
	struct drm_gpuva_op *(*op_alloc)(void);

	/**
	 * @op_free: Frees what @op_alloc made. Optional.
	 */
	void (*op_free)(struct drm_gpuva_op *op);

	/**
	 * @vm_bo_alloc: Makes a zeroed drm_gpuvm_bo, for a driver that embeds
	 * it. Optional. May sleep.
	 *
	 * Return: it, or NULL if there is no memory.
	 */
	struct drm_gpuvm_bo *(*vm_bo_alloc)(void);

	/**
	 * @vm_bo_free: Frees what @vm_bo_alloc made. Optional.
	 */
	void (*vm_bo_free)(struct drm_gpuvm_bo *vm_bo);

	/**
	 * @vm_bo_validate: Brings an evicted object back, and says so with
	 * drm_gpuvm_bo_evict(). For drm_gpuvm_validate().
	 *
	 * Return: 0 or an error, which ends the validation.
	 */
	int (*vm_bo_validate)(struct drm_gpuvm_bo *vm_bo,
			      struct drm_exec *exec);

	/**
	 * @sm_step_map: A mapping comes. For drm_gpuvm_sm_map(). It may change
	 * the space at once, with drm_gpuva_map().
	 *
	 * Return: 0 or an error, which ends the request.
	 */
	int (*sm_step_map)(struct drm_gpuva_op *op, void *priv);

	/**
	 * @sm_step_remap: A mapping is cut. For drm_gpuvm_sm_map() and
	 * drm_gpuvm_sm_unmap(). It may change the space at once, with
	 * drm_gpuva_remap(). What @op points to is gone after the return.
	 *
	 * Return: 0 or an error, which ends the request.
	 */
	int (*sm_step_remap)(struct drm_gpuva_op *op, void *priv);

	/**
	 * @sm_step_unmap: A mapping goes. For drm_gpuvm_sm_map() and
	 * drm_gpuvm_sm_unmap(). It may change the space at once, with
	 * drm_gpuva_unmap().
	 *
	 * Return: 0 or an error, which ends the request.
	 */
	int (*sm_step_unmap)(struct drm_gpuva_op *op, void *priv);
};

int drm_gpuvm_sm_map(struct drm_gpuvm *gpuvm, void *priv,
		     const struct drm_gpuvm_map_req *req);
int drm_gpuvm_sm_unmap(struct drm_gpuvm *gpuvm, void *priv,
		       u64 addr, u64 range);

void drm_gpuva_map(struct drm_gpuvm *gpuvm, struct drm_gpuva *va,
		   const struct drm_gpuva_op_map *op);
void drm_gpuva_remap(struct drm_gpuva *prev, struct drm_gpuva *next,
		     const struct drm_gpuva_op_remap *op);
void drm_gpuva_unmap(const struct drm_gpuva_op_unmap *op);

/**
 * drm_gpuva_op_remap_to_unmap_range() - What of a cut mapping goes
 * @op: the step
 * @start_addr: receives the first unit, or NULL
 * @range: receives how many, or NULL
 */
static inline void
drm_gpuva_op_remap_to_unmap_range(const struct drm_gpuva_op_remap *op,
				  u64 *start_addr, u64 *range)
{
	const struct drm_gpuva *va = op->unmap->va;
	u64 start = va->va.addr, end = va->va.addr + va->va.range;

	if (op->prev)
		start = op->prev->va.addr + op->prev->va.range;
	if (op->next)
		end = op->next->va.addr;

	if (start_addr)
		*start_addr = start;
	if (range)
		*range = end - start;
}

#endif /* __DRM_GPUVM_OPS_H__ */
