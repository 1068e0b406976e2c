/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * A bind transaction, as the C shims see the core (core/va/bind.h).
 */
#ifndef DRM_SVM_BIND_H
#define DRM_SVM_BIND_H

#include "drm_svm/va.h"

DSVM_EXTERN_C_BEGIN

struct dsvm_bind_op;

/* A mapping as it will be; in the transaction's own tree until it is replaced or committed. */
struct dsvm_bind_va {
	struct dsvm_va va;
	/* What it is, or what it is a remnant of: one of the two; immutable. */
	struct dsvm_va *origin; /* a mapping in the space */
	struct dsvm_bind_op *maker; /* the MAP that makes it */
	struct dsvm_va *object; /* the driver's, from prepare on */
};

/* One step. Memory for it ends with @room bytes of the driver's. */
struct dsvm_bind_op {
	struct dsvm_va_op base;
	struct dsvm_va *va; /* MAP: the mapping that it makes, from prepare on */
	struct dsvm_va *prev; /* REMAP: likewise, or NULL */
	struct dsvm_va *next; /* REMAP: likewise, or NULL */
	struct dsvm_os_vm_bo *vm_bo; /* MAP: a reference, from prepare to commit; or NULL */
	dsvm_u64 addr; /* what was asked for and led to this step */
	dsvm_u64 range;
	void *tag; /* the caller's, of the request */
	dsvm_u32 request; /* number of the request, from 0 */
	dsvm_u32 bo_state; /* the shim's */
	dsvm_u8 state; /* the core's: what has to be undone */
	dsvm_bool is_inline;
	struct dsvm_bind_va made[2]; /* MAP: [0]; REMAP: prev, next */
	struct dsvm_va *subject; /* what goes, or is prefetched: real or planned; or NULL */
};

/* What the core asks of the shim. None may touch the space. */
struct dsvm_bind_env {
	/*
	 * A reference to an object: of a MAP, from the request on; of a mapping
	 * that goes, from the commit on; both to the end. Never NULL. obj_get in
	 * any context.
	 */
	void (*obj_get)(struct dsvm_bind *bind, struct dsvm_os_obj *obj);
	void (*obj_put)(struct dsvm_bind *bind, struct dsvm_os_obj *obj);
	/* Whether an existing mapping (@va), or one that @maker makes, may merge with a request. */
	dsvm_bool (*can_merge)(struct dsvm_bind *bind, struct dsvm_va *va,
			       struct dsvm_bind_op *maker, const struct dsvm_va_map *request,
			       void *tag);
	/* A zeroed mapping of the driver's. NULL: no memory. May sleep. */
	struct dsvm_va *(*va_create)(struct dsvm_bind *bind, struct dsvm_bind_op *op);
	void (*va_destroy)(struct dsvm_bind *bind, struct dsvm_va *va);
	/* MAP with an object: sets op->vm_bo. May sleep. */
	int (*bo_obtain)(struct dsvm_bind *bind, struct dsvm_bind_op *op);
	/* Undoes it; without a trace. */
	void (*bo_release)(struct dsvm_bind *bind, struct dsvm_bind_op *op);
	/* The driver's own. May sleep. */
	int (*prepare)(struct dsvm_bind *bind, struct dsvm_bind_op *op);
	void (*unprepare)(struct dsvm_bind *bind, struct dsvm_bind_op *op);
	/*
	 * @va has been put into the tree. Link it: like @like, of which it is a
	 * remnant, with DSVM_VA_INVALIDATED as that has it; or to op->vm_bo.
	 */
	void (*inserted)(struct dsvm_bind *bind, struct dsvm_bind_op *op, struct dsvm_va *va,
			 struct dsvm_va *like);
	/* @va has been taken out of the tree; unlink it. It is destroyed at the end. */
	void (*removed)(struct dsvm_bind *bind, struct dsvm_bind_op *op, struct dsvm_va *va);
	/* The step is done, but for unlinking what it removed. Cannot fail. */
	void (*commit)(struct dsvm_bind *bind, struct dsvm_bind_op *op);
	/* Of a committed transaction at its end. May sleep. */
	void (*finish)(struct dsvm_bind *bind, struct dsvm_bind_op *op);
};

enum dsvm_bind_stage {
	DSVM_BIND_IDLE, /* not begun, or over */
	DSVM_BIND_OPEN,
	DSVM_BIND_PREPARED,
	DSVM_BIND_COMMITTED,
};

struct dsvm_bind {
	struct dsvm_va_space *space;
	const struct dsvm_bind_env *env;
	struct dsvm_link ops; /* of struct dsvm_bind_op, through base.entry */
	struct dsvm_tree_root planned; /* struct dsvm_bind_va that no later step takes away */
	enum dsvm_bind_stage stage;
	dsvm_u32 requests; /* how many were queued */
	dsvm_usize steps; /* how many they have come to */
	dsvm_usize room; /* bytes of the driver's behind each step */
	void *buffer; /* for the first steps, or NULL */
	dsvm_usize buffer_size;
	dsvm_usize buffer_used;
};

/* How a mapping is asked for. */
#define DSVM_BIND_NOREPLACE (1u << 0) /* -EEXIST if anything is there */
#define DSVM_BIND_COALESCE (1u << 1) /* merge with neighbours that can_merge lets */

/* Begins. -EBUSY: another one is open on @space. */
int dsvm_bind_begin(struct dsvm_bind *bind, struct dsvm_va_space *space,
		    const struct dsvm_bind_env *env, dsvm_usize room, void *buffer,
		    dsvm_usize buffer_size);
/*
 * Queue a request; it sees the space as it will be after those before it.
 * After an error the transaction is as it was. May sleep.
 * -EINVAL: not valid, or the stage is not OPEN; -ENOMEM; -EEXIST: NOREPLACE;
 * -ENOENT: nothing to prefetch.
 */
int dsvm_bind_map(struct dsvm_bind *bind, const struct dsvm_va_map *request, dsvm_u32 how,
		  void *tag);
int dsvm_bind_unmap(struct dsvm_bind *bind, dsvm_u64 addr, dsvm_u64 range, void *tag);
int dsvm_bind_prefetch(struct dsvm_bind *bind, dsvm_u64 addr, dsvm_u64 range, void *tag);
/* A step that means something to the driver only. NULL: no memory, or not OPEN. */
struct dsvm_bind_op *dsvm_bind_driver(struct dsvm_bind *bind, dsvm_u64 addr, dsvm_u64 range,
				      void *tag);
/*
 * All that can fail. After an error the transaction is OPEN as before and may
 * be prepared again, or aborted. May sleep.
 */
int dsvm_bind_prepare(struct dsvm_bind *bind);
/* Changes the space. Never waits for memory and cannot fail. Stage PREPARED. */
void dsvm_bind_commit(struct dsvm_bind *bind);
/*
 * Frees steps and the mappings that a committed transaction took away; undoes
 * all else if it was not committed. Once or more. May sleep.
 */
void dsvm_bind_end(struct dsvm_bind *bind);

DSVM_EXTERN_C_END

#endif /* DRM_SVM_BIND_H */
