/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * VM_BIND of the plain stub: buffer objects, at once and by callbacks.
 */
#ifndef STUB_BIND_H
#define STUB_BIND_H

#include <linux/types.h>

struct drm_file;
struct drm_svm_stub_bind_op;
struct drm_svm_stub_vm_bind;
struct stub_vm;

/* Syncobjs of a kind that one VM_BIND may have. */
#define STUB_BIND_MAX_SYNCS 64

int stub_bind_init(struct stub_vm *vm);
void stub_bind_fini(struct stub_vm *vm);
int stub_bind(struct stub_vm *vm, struct drm_file *file,
	      const struct drm_svm_stub_vm_bind *args,
	      const struct drm_svm_stub_bind_op *ops, const u32 *in, const u32 *out);

/* It has no jobs: what is bound is bound when the ioctl returns. */
static inline void stub_bind_jobs_close(struct stub_vm *vm)
{
}

static inline void stub_bind_jobs_wait(struct stub_vm *vm)
{
}

#endif /* STUB_BIND_H */
