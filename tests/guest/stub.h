/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * The stub device from user space: one function per ioctl, and what the demo
 * and the tests need around them.
 *
 * Functions that can fail return 0 or a negative errno, as the kernel does.
 */
#ifndef TESTS_GUEST_STUB_H
#define TESTS_GUEST_STUB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <drm/drm_svm_stub.h>

/* The driver whose devices are meant: the stub's, or what STUB_DRIVER in the environment says. */
const char *stub_driver(void);

#define ARRAY_SIZE(array) (sizeof(array) / sizeof((array)[0]))
#define KIB(n) ((size_t)(n) << 10)
#define MIB(n) ((size_t)(n) << 20)

/* One open file of the device with one VM in it. */
struct gpu {
	int fd;
	__u32 vm;
	__u32 faults; /* that the last program took */
	struct drm_svm_stub_info info; /* as it was at gpu_open() */
};

/* Opens the node of @kind ("renderD" or "card") of the stub's device with the lowest number. */
int stub_open(const char *kind);
/* Or of device number @index. */
int stub_open_device(const char *kind, unsigned int index);
int stub_ioctl(int fd, unsigned long request, void *arg);

/* Opens the device and creates a VM with @flags. */
int gpu_open(struct gpu *gpu, __u32 flags);
int gpu_open_device(struct gpu *gpu, unsigned int index, __u32 flags);
int gpu_close(struct gpu *gpu);
int gpu_info(struct gpu *gpu, struct drm_svm_stub_info *info);
int gpu_create(struct gpu *gpu, __u32 flags);
/* The same with all that VM_CREATE takes. */
int gpu_create_as(struct gpu *gpu, struct drm_svm_stub_vm_create create);
int gpu_destroy(struct gpu *gpu, __u32 vm);

/* Programs. @size is in bytes. */
int gpu_fill(struct gpu *gpu, void *dst, __u32 value, size_t size);
int gpu_copy(struct gpu *gpu, void *dst, const void *src, size_t size);
int gpu_add(struct gpu *gpu, void *dst, const void *src0, const void *src1, size_t size);
int gpu_checksum(struct gpu *gpu, const void *src, size_t size, __u64 *sum);

int gpu_migrate(struct gpu *gpu, const void *start, size_t size, __u32 flags);
/* The same with all that MIGRATE takes and says; @migrate has the rest. */
int gpu_migrate_as(struct gpu *gpu, const void *start, size_t size,
		   struct drm_svm_stub_migrate *migrate);
/* What has happened to the device's VRAM. */
int gpu_device_stats(struct gpu *gpu, struct drm_svm_stub_device_stats *stats);
int gpu_stats(struct gpu *gpu, struct drm_svm_stub_vm_stats *stats);

/* @blocks has room for size / block entries, rounded up. */
int gpu_residency(struct gpu *gpu, const void *start, size_t size, size_t block,
		  struct drm_svm_stub_block *blocks);
/* The same, and gpu_mapped counts what the GPU may write to. */
int gpu_residency_write(struct gpu *gpu, const void *start, size_t size, size_t block,
			struct drm_svm_stub_block *blocks);
/* The first for the whole span as one block. */
int gpu_where(struct gpu *gpu, const void *start, size_t size, struct drm_svm_stub_block *sum);
/* The same, and device counts what is in VRAM of other devices. */
int gpu_where_peer(struct gpu *gpu, const void *start, size_t size,
		   struct drm_svm_stub_block *sum);

/*
 * Faults that are served at the page of @address stop right before they write the GPU's page
 * table, until gpu_let_go(), and at most for ten seconds. One page of a VM at a time.
 */
int gpu_hold(struct gpu *gpu, const void *address);
int gpu_let_go(struct gpu *gpu, const void *address);
/* How many wait there now. */
int gpu_held(struct gpu *gpu, const void *address, unsigned int *faults);
/* Waits until it is @faults; -ETIMEDOUT if it is not within a minute. */
int gpu_wait_held(struct gpu *gpu, const void *address, unsigned int faults);

/* A buffer object. @memory is where the CPU sees it; NULL for one in VRAM. */
struct bo {
	__u32 handle;
	size_t size;
	__u32 *memory;
};

/* Creates a buffer object with @flags, and maps it if it can be. */
int bo_create(struct gpu *gpu, struct bo *bo, size_t size, __u32 flags);
int bo_close(struct gpu *gpu, const struct bo *bo);
/* Where to mmap() it. */
int bo_offset(struct gpu *gpu, const struct bo *bo, __u64 *offset);

/* VM_BIND of @gpu's VM; @bind says the rest. */
int gpu_vm_bind(struct gpu *gpu, struct drm_svm_stub_vm_bind *bind);
/* The same without syncobjs, and with one op. */
int gpu_bind_ops(struct gpu *gpu, const struct drm_svm_stub_bind_op *ops, size_t count);
int gpu_bind(struct gpu *gpu, struct drm_svm_stub_bind_op op);

/* An address of the bind window as what the programs above take. */
static inline void *gpu_at(__u64 address)
{
	return (void *)(uintptr_t)address;
}

/* Syncobjs of @gpu's file. */
int sync_create(struct gpu *gpu, __u32 *handle, bool signaled);
/* -ETIME if it has not signalled within @ms milliseconds. */
int sync_wait(struct gpu *gpu, __u32 handle, unsigned int ms);
/* 1: signalled, 0: not yet, or the error that it signalled with. */
int sync_status(struct gpu *gpu, __u32 handle);

static inline bool gpu_can_migrate(const struct gpu *gpu)
{
	return gpu->info.capabilities & DRM_SVM_STUB_CAP_MIGRATE;
}

/*
 * Waits until all VRAM is free: what a process leaves behind is released a
 * little later. -ETIMEDOUT if it is not within @seconds.
 */
int gpu_wait_free(struct gpu *gpu, unsigned int seconds);

/* Milliseconds of a clock that never jumps. */
double now_ms(void);

/* The word that belongs at @index of an array filled from @seed. */
static inline __u32 pattern(__u32 seed, __u64 index)
{
	__u32 x = seed ^ (__u32)index * 0x9e3779b1u;

	x = (x ^ x >> 16) * 0x85ebca6bu;
	return x ^ x >> 13;
}

#endif /* TESTS_GUEST_STUB_H */
