/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * VM_BIND: what is in the bind window of a VM.
 */
#ifndef STUB_BIND_H
#define STUB_BIND_H

#include <linux/dma-fence.h>
#include <linux/list.h>
#include <linux/workqueue.h>

#include <drm/drm_svm.h>

struct drm_file;
struct drm_svm_stub_bind_op;
struct drm_svm_stub_vm_bind;
struct drm_syncobj;
struct stub_bind_fence;
struct stub_vm;

/* Syncobjs of a kind that one VM_BIND may have. */
#define STUB_BIND_MAX_SYNCS 64

/* Where an array of requests ends that come to more steps, or map more bytes. */
#define STUB_BIND_MAX_STEPS (1u << 17)
#define STUB_BIND_MAX_SIZE (1ull << 40)

/* The driver's own flags of a mapping: programs may not write to it. */
#define STUB_BIND_READONLY DRM_GPUVA_USERBITS
/* It shows memory of the process, from the address on that is its offset. */
#define STUB_BIND_USERPTR (DRM_GPUVA_USERBITS << 1)
/* And that may live in VRAM. */
#define STUB_BIND_MAY_MIGRATE (DRM_GPUVA_USERBITS << 2)

/**
 * struct stub_bind_job - A VM_BIND
 * @bind: the transaction
 * @vm: the VM, referenced
 * @link: entry in &stub_vm.bind.jobs
 * @release: frees what is left behind
 * @fence: of an asynchronous one: not initialised before it is queued, NULL
 *	after it has signalled
 * @wake: on the in-fence that the job is waiting for
 * @in: fences to wait for, referenced
 * @num_in: how many
 * @num_ready: how many of them, from the first on, are not to be waited for
 * @out: syncobjs that get @fence, referenced
 * @num_out: how many
 */
struct stub_bind_job {
	struct drm_svm_bind bind;
	struct stub_vm *vm;
	struct list_head link;
	struct work_struct release;
	struct stub_bind_fence *fence;
	struct dma_fence_cb wake;
	struct dma_fence *in[STUB_BIND_MAX_SYNCS];
	u32 num_in;
	u32 num_ready;
	struct drm_syncobj *out[STUB_BIND_MAX_SYNCS];
	u32 num_out;
};

/* stub_bind.c */
int stub_bind_init(struct stub_vm *vm);
void stub_bind_fini(struct stub_vm *vm);
int stub_bind(struct stub_vm *vm, struct drm_file *file,
	      const struct drm_svm_stub_vm_bind *args,
	      const struct drm_svm_stub_bind_op *ops, const u32 *in, const u32 *out);

/* stub_bind_job.c */
struct stub_bind_job *stub_bind_job_create(struct stub_vm *vm, bool async);
void stub_bind_job_free(struct stub_bind_job *job);
void stub_bind_job_queue(struct stub_bind_job *job);
void stub_bind_job_do(struct stub_bind_job *job);
void stub_bind_job_release(struct stub_bind_job *job);
void stub_bind_jobs_init(struct stub_vm *vm);
void stub_bind_jobs_close(struct stub_vm *vm);
void stub_bind_jobs_wait(struct stub_vm *vm);
void stub_bind_jobs_fini(struct stub_vm *vm);

#endif /* STUB_BIND_H */
