// SPDX-License-Identifier: GPL-2.0-only OR MIT
#include "stub.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

int stub_ioctl(int fd, unsigned long request, void *arg)
{
	return ioctl(fd, request, arg) ? -errno : 0;
}

static bool is_stub(int fd)
{
	char name[sizeof(STUB_DRIVER)] = "";
	struct drm_version version = { .name = name, .name_len = sizeof(name) };

	return !stub_ioctl(fd, DRM_IOCTL_VERSION, &version) && !strcmp(name, STUB_DRIVER);
}

int stub_open(const char *kind)
{
	DIR *dir = opendir("/dev/dri");
	int result = -ENODEV;
	struct dirent *entry;

	if (!dir)
		return -ENODEV;
	while (result < 0 && (entry = readdir(dir))) {
		int fd;

		if (strncmp(entry->d_name, kind, strlen(kind)))
			continue;
		fd = openat(dirfd(dir), entry->d_name, O_RDWR | O_CLOEXEC);
		if (fd < 0)
			result = -errno;
		else if (is_stub(fd))
			result = fd;
		else
			close(fd);
	}
	closedir(dir);
	return result;
}

int gpu_open(struct gpu *gpu, __u32 flags)
{
	int err;

	*gpu = (struct gpu){ .fd = stub_open("renderD") };
	if (gpu->fd < 0)
		return gpu->fd;
	err = gpu_info(gpu, &gpu->info);
	if (!err)
		err = gpu_create(gpu, flags);
	if (err)
		gpu_close(gpu);
	return err;
}

int gpu_close(struct gpu *gpu)
{
	return close(gpu->fd) ? -errno : 0;
}

int gpu_info(struct gpu *gpu, struct drm_svm_stub_info *info)
{
	*info = (struct drm_svm_stub_info){};
	return stub_ioctl(gpu->fd, DRM_IOCTL_SVM_STUB_INFO, info);
}

int gpu_create(struct gpu *gpu, __u32 flags)
{
	struct drm_svm_stub_vm_create arg = { .flags = flags };
	int err = stub_ioctl(gpu->fd, DRM_IOCTL_SVM_STUB_VM_CREATE, &arg);

	if (!err)
		gpu->vm = arg.vm_id;
	return err;
}

int gpu_destroy(struct gpu *gpu, __u32 vm)
{
	struct drm_svm_stub_vm_destroy arg = { .vm_id = vm };

	return stub_ioctl(gpu->fd, DRM_IOCTL_SVM_STUB_VM_DESTROY, &arg);
}

static int gpu_exec(struct gpu *gpu, struct drm_svm_stub_exec *exec)
{
	int err;

	exec->vm_id = gpu->vm;
	err = stub_ioctl(gpu->fd, DRM_IOCTL_SVM_STUB_EXEC, exec);
	gpu->faults = exec->faults;
	return err;
}

int gpu_fill(struct gpu *gpu, void *dst, __u32 value, size_t size)
{
	struct drm_svm_stub_exec exec = {
		.op = DRM_SVM_STUB_OP_FILL,
		.value = value,
		.dst = (uintptr_t)dst,
		.size = size,
	};

	return gpu_exec(gpu, &exec);
}

int gpu_copy(struct gpu *gpu, void *dst, const void *src, size_t size)
{
	struct drm_svm_stub_exec exec = {
		.op = DRM_SVM_STUB_OP_COPY,
		.dst = (uintptr_t)dst,
		.src0 = (uintptr_t)src,
		.size = size,
	};

	return gpu_exec(gpu, &exec);
}

int gpu_add(struct gpu *gpu, void *dst, const void *src0, const void *src1, size_t size)
{
	struct drm_svm_stub_exec exec = {
		.op = DRM_SVM_STUB_OP_ADD,
		.dst = (uintptr_t)dst,
		.src0 = (uintptr_t)src0,
		.src1 = (uintptr_t)src1,
		.size = size,
	};

	return gpu_exec(gpu, &exec);
}

int gpu_checksum(struct gpu *gpu, const void *src, size_t size, __u64 *sum)
{
	struct drm_svm_stub_exec exec = {
		.op = DRM_SVM_STUB_OP_CHECKSUM,
		.src0 = (uintptr_t)src,
		.size = size,
	};
	int err = gpu_exec(gpu, &exec);

	*sum = exec.result;
	return err;
}

int gpu_migrate(struct gpu *gpu, const void *start, size_t size, __u32 flags)
{
	struct drm_svm_stub_migrate arg = {
		.vm_id = gpu->vm,
		.flags = flags,
		.start = (uintptr_t)start,
		.size = size,
	};

	return stub_ioctl(gpu->fd, DRM_IOCTL_SVM_STUB_MIGRATE, &arg);
}

int gpu_stats(struct gpu *gpu, struct drm_svm_stub_vm_stats *stats)
{
	*stats = (struct drm_svm_stub_vm_stats){ .vm_id = gpu->vm };
	return stub_ioctl(gpu->fd, DRM_IOCTL_SVM_STUB_VM_STATS, stats);
}

int gpu_residency(struct gpu *gpu, const void *start, size_t size, size_t block,
		  struct drm_svm_stub_block *blocks)
{
	struct drm_svm_stub_residency arg = {
		.vm_id = gpu->vm,
		.start = (uintptr_t)start,
		.size = size,
		.block_size = block,
		.blocks = (uintptr_t)blocks,
		.num_blocks = (size + block - 1) / block,
	};

	return stub_ioctl(gpu->fd, DRM_IOCTL_SVM_STUB_RESIDENCY, &arg);
}

int gpu_where(struct gpu *gpu, const void *start, size_t size, struct drm_svm_stub_block *sum)
{
	*sum = (struct drm_svm_stub_block){};
	return gpu_residency(gpu, start, size, size, sum);
}

int gpu_wait_free(struct gpu *gpu, unsigned int seconds)
{
	double end = now_ms() + seconds * 1e3;
	struct drm_svm_stub_info info;

	do {
		int err = gpu_info(gpu, &info);

		if (err || info.vram_free == info.vram_size)
			return err;
		usleep(2000);
	} while (now_ms() < end);
	return -ETIMEDOUT;
}

double now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1e3 + t.tv_nsec / 1e6;
}
