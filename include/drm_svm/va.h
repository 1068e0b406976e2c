/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * The GPU VA manager, as the C shims see the core.
 *
 * A space holds mappings: spans of GPU addresses that show a part of an
 * object. The structs are embedded in the public ones of drm/drm_gpuvm.h, at
 * their beginning, so a pointer to one is a pointer to the other.
 *
 * Nothing here locks. "The VM lock" is the driver's: for writing around all
 * that changes a space, in any mode around all that looks at one. Units are
 * the caller's (bytes or pages), the same for a space and all in it.
 */
#ifndef DRM_SVM_VA_H
#define DRM_SVM_VA_H

#include "drm_svm/types.h"

DSVM_EXTERN_C_BEGIN

struct dsvm_bind;
struct dsvm_va_leaf;

/* What a mapping or a request for one shows. Same layout as struct drm_gpuva_op_map. */
struct dsvm_va_map {
	dsvm_u32 flags; /* DSVM_VA_*, and bits of the driver's */
	dsvm_u32 state; /* the core's: DSVM_VA_PLANNED and others */
	dsvm_u64 addr;
	dsvm_u64 range;
	dsvm_u64 offset; /* in @obj, of the first unit */
	struct dsvm_os_obj *obj; /* or NULL: nothing behind it that the core knows */
	dsvm_u64 repeat_offset; /* DSVM_VA_REPEAT: start of the window in @obj */
	dsvm_u64 repeat_range; /* DSVM_VA_REPEAT: length of the window */
};

/* @flags; the values are drm_gpuva_flags'. */
#define DSVM_VA_INVALIDATED (1u << 0)
#define DSVM_VA_SPARSE (1u << 1)
#define DSVM_VA_REPEAT (1u << 30)

/* @state: made by an open transaction, no object of the driver's behind it. */
#define DSVM_VA_PLANNED (1u << 0)
/* There was no memory for a place in the index; it is in the tree beside it. */
#define DSVM_VA_SPILLED (1u << 1)
/* It is to go when the open transaction commits. */
#define DSVM_VA_CLAIMED (1u << 2)

/* A mapping. */
struct dsvm_va {
	struct dsvm_va_map map;
	struct dsvm_link bo_entry; /* the shim's: with others of the same object */
	union {
		dsvm_usize tree[3]; /* the balanced tree's, if it is in one */
		/* Otherwise: */
		struct {
			/*
			 * Of a mapping that is to go when the open transaction commits, a later one
			 * before which all go, or NULL if that has not been looked for. Of one that
			 * has gone by dsvm_va_replace(): the next that has.
			 */
			struct dsvm_va *skip;
			struct dsvm_va_leaf *leaf; /* that it is in, or NULL */
		};
	};
};

/*
 * Some mappings, in order, beside their neighbours (core/va/va_index.h). Shown so that a walk
 * does not cost a call for each mapping.
 */
#define DSVM_VA_LEAF_SIZE 24
struct dsvm_va_leaf {
	dsvm_u64 first[DSVM_VA_LEAF_SIZE]; /* addr; 2^64 - 1 behind the last */
	struct dsvm_va *va[DSVM_VA_LEAF_SIZE];
	dsvm_u32 length[DSVM_VA_LEAF_SIZE]; /* range; 0: more than 32 bits */
	struct dsvm_va_leaf *next;
	struct dsvm_va_leaf *prev;
	dsvm_u32 count;
	dsvm_u32 unused[3];
};

/* Mappings of a space. */
struct dsvm_va_index {
	void *root; /* a leaf if @height is 1 */
	struct dsvm_va_leaf *finger; /* where somebody was last, or NULL; readers write it, too */
	dsvm_u32 height; /* 0: there is nothing */
	dsvm_u32 spilled; /* how many are in @spill */
	dsvm_u64 generation; /* of changes */
	struct dsvm_tree_root spill; /* those that are DSVM_VA_SPILLED */
};

/* An address space. */
struct dsvm_va_space {
	dsvm_u64 mm_start;
	dsvm_u64 mm_range; /* 0: nothing is valid */
	struct dsvm_va_index index;
	struct dsvm_va *kernel; /* reserved, or NULL; immutable */
	struct dsvm_bind *bind; /* the open transaction, or NULL */
};

/* A walk over the mappings that overlap a span; plain data, nothing to be ended. */
struct dsvm_va_walk {
	struct dsvm_va *now; /* where it is; NULL: at its end */
	struct dsvm_va **at; /* what comes next in @leaf */
	struct dsvm_va **end; /* and what does not come */
	dsvm_u64 generation; /* for which that is true */
	struct dsvm_va_index *index;
	struct dsvm_va_leaf *leaf; /* of @now; NULL: to be looked for */
	dsvm_u64 last;
};

/* One step of what a request comes to. Same layout as struct drm_gpuva_op. */
enum dsvm_va_op_type {
	DSVM_VA_OP_MAP,
	DSVM_VA_OP_REMAP,
	DSVM_VA_OP_UNMAP,
	DSVM_VA_OP_PREFETCH,
	DSVM_VA_OP_DRIVER,
};

struct dsvm_va_op_unmap {
	struct dsvm_va *va;
	dsvm_bool keep;
};

struct dsvm_va_op_remap {
	struct dsvm_va_map *prev;
	struct dsvm_va_map *next;
	struct dsvm_va_op_unmap *unmap;
};

struct dsvm_va_op {
	struct dsvm_link entry;
	enum dsvm_va_op_type type;
	union {
		struct dsvm_va_map map;
		struct dsvm_va_op_remap remap;
		struct dsvm_va_op_unmap unmap;
		struct {
			struct dsvm_va *va;
		} prefetch;
	};
	/* What the pointers of @remap point to, so that a step is one piece of memory. */
	struct dsvm_va_map prev;
	struct dsvm_va_map next;
	struct dsvm_va_op_unmap gone;
};

/* Spaces and mappings ------------------------------------------------------- */

/*
 * Sets up a space of @range units from @start, and takes @kernel, if its range
 * is not 0, out of what may be mapped. -EINVAL: one of them reaches beyond
 * 2^64; the space has no valid address then and no kernel mapping.
 */
int dsvm_va_space_init(struct dsvm_va_space *space, dsvm_u64 start, dsvm_u64 range,
		       struct dsvm_va *kernel);
/* Forgets the kernel mapping and all others. Whether there were no others. */
dsvm_bool dsvm_va_space_fini(struct dsvm_va_space *space);
/* Whether the span is not empty, inside the space and clear of the kernel mapping. */
dsvm_bool dsvm_va_range_valid(struct dsvm_va_space *space, dsvm_u64 addr, dsvm_u64 range);

/*
 * Puts a mapping in. Never waits, and never fails for want of memory. -EINVAL: not
 * valid; -EEXIST: overlaps; -EBUSY: a transaction is open.
 */
int dsvm_va_insert(struct dsvm_va_space *space, struct dsvm_va *va);
/*
 * Puts @va in the place of all that it overlaps, whose remnants @prev and @next
 * become: all at once, without a walk for each. Those that have gone are chained
 * by their @skip from @gone on. What was not needed of @prev and @next has a
 * range of 0. Never waits, and never fails for want of memory. Errors as above,
 * and -EINVAL: @prev or @next is needed and NULL, or the kernel mapping is in
 * the way; then nothing has changed.
 */
int dsvm_va_replace(struct dsvm_va_space *space, struct dsvm_va *va, struct dsvm_va *prev,
		    struct dsvm_va *next, struct dsvm_va **gone);
/*
 * Puts @prev and @next (one of them may be NULL), which lie in @va, in its place,
 * in one change. Never waits, and never fails for want of memory. -EINVAL: they
 * do not lie there in this order, or what they show cannot be; -EBUSY: a
 * transaction is open, or @va is the kernel mapping. Then nothing has changed.
 */
int dsvm_va_remap(struct dsvm_va_space *space, struct dsvm_va *va, struct dsvm_va *prev,
		  struct dsvm_va *next);
/*
 * Takes it out. Never waits. False, and a warning, for what may not go:
 * the kernel mapping; any while a transaction is open.
 */
dsvm_bool dsvm_va_remove(struct dsvm_va_space *space, struct dsvm_va *va);

/* The first that overlaps the span; NULL if none does or @range is 0. */
struct dsvm_va *dsvm_va_find_first(struct dsvm_va_space *space, dsvm_u64 addr,
				   dsvm_u64 range);
/* The one of exactly this span, or NULL. */
struct dsvm_va *dsvm_va_find(struct dsvm_va_space *space, dsvm_u64 addr, dsvm_u64 range);
/* The one that has the unit before @start; the one that has the unit at @end. Or NULL. */
struct dsvm_va *dsvm_va_find_prev(struct dsvm_va_space *space, dsvm_u64 start);
struct dsvm_va *dsvm_va_find_next(struct dsvm_va_space *space, dsvm_u64 end);

/* At the first mapping that overlaps @first to @last, both included. */
struct dsvm_va_walk dsvm_va_walk_begin(struct dsvm_va_space *space, dsvm_u64 first,
				       dsvm_u64 last);
/* The walk one step on, wherever that is. It is not at its end. */
struct dsvm_va_walk dsvm_va_walk_on(struct dsvm_va_walk walk);

/*
 * The same without a call, which is mostly possible; false: it is not, and nothing has
 * happened. The space may change during a walk, as long as @now stays.
 */
static inline dsvm_bool dsvm_va_walk_near(struct dsvm_va_walk *walk)
{
	if (__builtin_expect(walk->generation != walk->index->generation, 0))
		return 0;
	if (__builtin_expect(walk->at == walk->end, 0)) {
		struct dsvm_va_leaf *leaf = walk->leaf, *next;

		if (!leaf)
			return 0;
		/* What does not come is in this leaf, too. */
		if (walk->end != leaf->va + leaf->count) {
			walk->now = (struct dsvm_va *)0;
			return 1;
		}
		/* All of the next leaf, or somebody else has to say what of it. */
		next = leaf->next;
		if (!next || next->first[next->count - 1] > walk->last)
			return 0;
		walk->leaf = next;
		walk->at = next->va;
		walk->end = next->va + next->count;
	}
	walk->now = *walk->at++;
	return 1;
}

/* Split and merge (core/va/split.h) ------------------------------------------ */

/*
 * Gets the steps in order. What @op points to lives until it returns. It may
 * apply the step to the space at once. An error ends the walk and is returned.
 */
typedef int (*dsvm_va_step)(void *context, const struct dsvm_va_op *op);

enum dsvm_va_mode {
	DSVM_VA_REPLACE, /* what was there goes, the request comes */
	DSVM_VA_MADVISE, /* only split at the request's ends what has no object */
};

/* -EINVAL: the request is not valid; else what @step returned. */
int dsvm_va_sm_map(struct dsvm_va_space *space, const struct dsvm_va_map *request,
		   enum dsvm_va_mode mode, dsvm_va_step step, void *context);
int dsvm_va_sm_unmap(struct dsvm_va_space *space, dsvm_u64 addr, dsvm_u64 range,
		     dsvm_va_step step, void *context);

/* Where steps on a list come from and go to: memory for struct dsvm_va_op at least. */
struct dsvm_va_op_memory {
	struct dsvm_va_op *first; /* for the first ones, which are not freed one by one, ... */
	struct dsvm_va_op *end;	  /* ... up to here; NULL if @first is */
	struct dsvm_va_op *(*alloc)(void *context); /* NULL: there is none */
	void (*free)(void *context, struct dsvm_va_op *op);
	void *context;
};

/*
 * The same steps as a list, each in memory of its own. @list need not have been anything
 * before; after an error it is empty. -EINVAL, -ENOMEM.
 */
int dsvm_va_ops_map(struct dsvm_va_space *space, const struct dsvm_va_map *request,
		    enum dsvm_va_mode mode, const struct dsvm_va_op_memory *memory,
		    struct dsvm_link *list);
int dsvm_va_ops_unmap(struct dsvm_va_space *space, dsvm_u64 addr, dsvm_u64 range,
		      const struct dsvm_va_op_memory *memory, struct dsvm_link *list);
/* One PREFETCH for each mapping but the kernel's in the span. -EINVAL: it is empty or wraps. */
int dsvm_va_ops_prefetch(struct dsvm_va_space *space, dsvm_u64 addr, dsvm_u64 range,
			 const struct dsvm_va_op_memory *memory, struct dsvm_link *list);
/* One UNMAP for each mapping on @mappings, a list through dsvm_va.bo_entry. */
int dsvm_va_ops_bo_unmap(struct dsvm_link *mappings, const struct dsvm_va_op_memory *memory,
			 struct dsvm_link *list);
void dsvm_va_ops_free(const struct dsvm_va_op_memory *memory, struct dsvm_link *list);

/* What of a split mapping stays mapped by entries of @block units, and what does not. */
struct dsvm_va_pieces {
	dsvm_u64 prev_addr; /* keeps its entries; range 0: nothing */
	dsvm_u64 prev_range;
	dsvm_u64 zap_addr; /* loses them: what goes, and the rest of the blocks that it cuts */
	dsvm_u64 zap_range;
	dsvm_u64 next_addr; /* keeps its entries; range 0: nothing */
	dsvm_u64 next_range;
};

/* @block: a power of two; else everything is taken as if it was 1. */
void dsvm_va_remap_pieces(const struct dsvm_va_op_remap *remap, dsvm_u64 block,
			  struct dsvm_va_pieces *out);

DSVM_EXTERN_C_END

#endif /* DRM_SVM_VA_H */
