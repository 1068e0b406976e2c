/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * A driver that uses bind transactions, for the suites: it notes what it is asked, and
 * whether it was asked rightly.
 */
#ifndef DSVM_KUNIT_GPUVM_BIND_H
#define DSVM_KUNIT_GPUVM_BIND_H

#include <kunit/test.h>

#include <drm/drm_svm.h>

#include "gpuvm_fixture.h"

#define FX_MAX_STEPS 48

struct fx_bind {
	struct drm_svm_bind bind;
	struct fx_vm *vm;
	/* The steps that are prepared, in order. */
	struct drm_svm_bind_op *steps[FX_MAX_STEPS];
	unsigned int prepared;
	unsigned int unprepared;
	unsigned int committed;
	unsigned int finished;
	/* The n-th prepare() returns -EIO; 0: none does. */
	unsigned int fail_at;
	/* Calls out of order, and steps that are not what they should be. */
	unsigned int misused;
	/* What can_merge() says, and how often it was asked. */
	bool merge;
	unsigned int merge_asked;
};

/* What the driver keeps behind each step. */
#define FX_PRIV_SIZE 64

extern const struct drm_svm_bind_ops fx_bind_ops;
/* Nothing but op_priv_size: the library's own mappings. */
extern const struct drm_svm_bind_ops fx_bind_ops_bare;

struct fx_bind *fx_bind_create(struct kunit *test, struct fx_vm *vm);
/* What is expected to succeed. Under fx_lock(). */
void fx_bind_begin(struct kunit *test, struct fx_bind *fb);
void fx_bind_map(struct kunit *test, struct fx_bind *fb, struct drm_gem_object *obj,
		 u64 addr, u64 range, u64 offset);
void fx_bind_unmap(struct kunit *test, struct fx_bind *fb, u64 addr, u64 range);
void fx_bind_prepare(struct kunit *test, struct fx_bind *fb);
unsigned int fx_bind_steps(struct fx_bind *fb);
/* Commits and finishes, and checks what the driver has noted. */
void fx_bind_commit(struct kunit *test, struct fx_bind *fb);
/* Aborts, and checks that all that was prepared has been undone. */
void fx_bind_abort(struct kunit *test, struct fx_bind *fb);

#endif /* DSVM_KUNIT_GPUVM_BIND_H */
