// SPDX-License-Identifier: GPL-2.0-only OR MIT
#include "stub.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/sync_file.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

int stub_ioctl(int fd, unsigned long request, void *arg)
{
	return ioctl(fd, request, arg) ? -errno : 0;
}

const char *stub_driver(void)
{
	return getenv("STUB_DRIVER") ?: "drm_svm_stub";
}

static bool is_stub(int fd)
{
	char name[64] = "";
	struct drm_version version = { .name = name, .name_len = sizeof(name) - 1 };

	return !stub_ioctl(fd, DRM_IOCTL_VERSION, &version) && !strcmp(name, stub_driver());
}

/* The number of the device behind @fd, or a negative errno: it may be going away. */
static int index_of(int fd)
{
	struct drm_svm_stub_info info = {};
	int err = stub_ioctl(fd, DRM_IOCTL_SVM_STUB_INFO, &info);

	return err ? err : (int)info.index;
}

/* Opens the node with the lowest number of all from @first to @last. */
static int open_between(const char *kind, int first, int last)
{
	DIR *dir = opendir("/dev/dri");
	int result = -ENODEV;
	struct dirent *entry;

	while (dir && (entry = readdir(dir))) {
		int fd, index;

		if (strncmp(entry->d_name, kind, strlen(kind)))
			continue;
		fd = openat(dirfd(dir), entry->d_name, O_RDWR | O_CLOEXEC);
		if (fd < 0) {
			result = result < 0 ? -errno : result;
			continue;
		}
		index = is_stub(fd) ? index_of(fd) : -ENODEV;
		if (index < first || index > last) {
			close(fd);
			continue;
		}
		if (result >= 0)
			close(result);
		result = fd;
		last = index - 1;
	}
	if (dir)
		closedir(dir);
	return result;
}

int stub_open(const char *kind)
{
	return open_between(kind, 0, INT_MAX);
}

int stub_open_device(const char *kind, unsigned int index)
{
	return open_between(kind, index, index);
}

/* Makes the open file @fd a GPU with a VM. */
static int gpu_init(struct gpu *gpu, int fd, __u32 flags)
{
	int err;

	*gpu = (struct gpu){ .fd = fd };
	if (gpu->fd < 0)
		return gpu->fd;
	err = gpu_info(gpu, &gpu->info);
	if (!err)
		err = gpu_create(gpu, flags);
	if (err)
		gpu_close(gpu);
	return err;
}

int gpu_open(struct gpu *gpu, __u32 flags)
{
	return gpu_init(gpu, stub_open("renderD"), flags);
}

int gpu_open_device(struct gpu *gpu, unsigned int index, __u32 flags)
{
	return gpu_init(gpu, stub_open_device("renderD", index), flags);
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
	return gpu_create_as(gpu, (struct drm_svm_stub_vm_create){ .flags = flags });
}

int gpu_create_as(struct gpu *gpu, struct drm_svm_stub_vm_create create)
{
	int err = stub_ioctl(gpu->fd, DRM_IOCTL_SVM_STUB_VM_CREATE, &create);

	if (!err)
		gpu->vm = create.vm_id;
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
	struct drm_svm_stub_migrate arg = { .flags = flags };

	return gpu_migrate_as(gpu, start, size, &arg);
}

int gpu_migrate_as(struct gpu *gpu, const void *start, size_t size,
		   struct drm_svm_stub_migrate *migrate)
{
	migrate->vm_id = gpu->vm;
	migrate->start = (uintptr_t)start;
	migrate->size = size;
	return stub_ioctl(gpu->fd, DRM_IOCTL_SVM_STUB_MIGRATE, migrate);
}

int gpu_device_stats(struct gpu *gpu, struct drm_svm_stub_device_stats *stats)
{
	*stats = (struct drm_svm_stub_device_stats){};
	return stub_ioctl(gpu->fd, DRM_IOCTL_SVM_STUB_DEVICE_STATS, stats);
}

int gpu_stats(struct gpu *gpu, struct drm_svm_stub_vm_stats *stats)
{
	*stats = (struct drm_svm_stub_vm_stats){ .vm_id = gpu->vm };
	return stub_ioctl(gpu->fd, DRM_IOCTL_SVM_STUB_VM_STATS, stats);
}

static int hold(struct gpu *gpu, __u32 what, const void *address, unsigned int *faults)
{
	struct drm_svm_stub_hold arg = {
		.vm_id = gpu->vm,
		.hold = what,
		.addr = (uintptr_t)address & ~(__u64)(gpu->info.page_size - 1),
	};
	int err = stub_ioctl(gpu->fd, DRM_IOCTL_SVM_STUB_HOLD, &arg);

	*faults = arg.waiting;
	return err;
}

int gpu_hold(struct gpu *gpu, const void *address)
{
	return hold(gpu, 1, address, &(unsigned int){ 0 });
}

int gpu_let_go(struct gpu *gpu, const void *address)
{
	return hold(gpu, 0, address, &(unsigned int){ 0 });
}

int gpu_held(struct gpu *gpu, const void *address, unsigned int *faults)
{
	return hold(gpu, 2, address, faults);
}

int gpu_wait_held(struct gpu *gpu, const void *address, unsigned int faults)
{
	double end = now_ms() + 60e3;
	unsigned int held;

	do {
		int err = gpu_held(gpu, address, &held);

		if (err || held == faults)
			return err;
		usleep(1000);
	} while (now_ms() < end);
	return -ETIMEDOUT;
}

static int residency(struct gpu *gpu, __u32 flags, const void *start, size_t size, size_t block,
		     struct drm_svm_stub_block *blocks)
{
	struct drm_svm_stub_residency arg = {
		.vm_id = gpu->vm,
		.flags = flags,
		.start = (uintptr_t)start,
		.size = size,
		.block_size = block,
		.blocks = (uintptr_t)blocks,
		.num_blocks = (size + block - 1) / block,
	};

	return stub_ioctl(gpu->fd, DRM_IOCTL_SVM_STUB_RESIDENCY, &arg);
}

int gpu_residency(struct gpu *gpu, const void *start, size_t size, size_t block,
		  struct drm_svm_stub_block *blocks)
{
	return residency(gpu, 0, start, size, block, blocks);
}

int gpu_residency_write(struct gpu *gpu, const void *start, size_t size, size_t block,
			struct drm_svm_stub_block *blocks)
{
	return residency(gpu, DRM_SVM_STUB_RESIDENCY_GPU_WRITE, start, size, block, blocks);
}

int gpu_where(struct gpu *gpu, const void *start, size_t size, struct drm_svm_stub_block *sum)
{
	*sum = (struct drm_svm_stub_block){};
	return gpu_residency(gpu, start, size, size, sum);
}

int gpu_where_peer(struct gpu *gpu, const void *start, size_t size, struct drm_svm_stub_block *sum)
{
	*sum = (struct drm_svm_stub_block){};
	return residency(gpu, DRM_SVM_STUB_RESIDENCY_PEER, start, size, size, sum);
}

int bo_create(struct gpu *gpu, struct bo *bo, size_t size, __u32 flags)
{
	struct drm_svm_stub_bo_create arg = { .size = size, .flags = flags };
	int err = stub_ioctl(gpu->fd, DRM_IOCTL_SVM_STUB_BO_CREATE, &arg);
	__u64 offset;

	if (err)
		return err;
	*bo = (struct bo){ .handle = arg.handle, .size = size };
	if (flags & DRM_SVM_STUB_BO_VRAM)
		return 0;

	err = bo_offset(gpu, bo, &offset);
	if (!err) {
		bo->memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, gpu->fd, offset);
		err = bo->memory == MAP_FAILED ? -errno : 0;
	}
	if (err)
		bo_close(gpu, bo);
	return err;
}

int bo_close(struct gpu *gpu, const struct bo *bo)
{
	struct drm_gem_close arg = { .handle = bo->handle };

	return stub_ioctl(gpu->fd, DRM_IOCTL_GEM_CLOSE, &arg);
}

int bo_offset(struct gpu *gpu, const struct bo *bo, __u64 *offset)
{
	struct drm_svm_stub_bo_mmap_offset arg = { .handle = bo->handle };
	int err = stub_ioctl(gpu->fd, DRM_IOCTL_SVM_STUB_BO_MMAP_OFFSET, &arg);

	*offset = arg.offset;
	return err;
}

int gpu_vm_bind(struct gpu *gpu, struct drm_svm_stub_vm_bind *bind)
{
	bind->vm_id = gpu->vm;
	return stub_ioctl(gpu->fd, DRM_IOCTL_SVM_STUB_VM_BIND, bind);
}

int gpu_bind_ops(struct gpu *gpu, const struct drm_svm_stub_bind_op *ops, size_t count)
{
	struct drm_svm_stub_vm_bind bind = { .num_ops = count, .ops = (uintptr_t)ops };

	return gpu_vm_bind(gpu, &bind);
}

int gpu_bind(struct gpu *gpu, struct drm_svm_stub_bind_op op)
{
	return gpu_bind_ops(gpu, &op, 1);
}

int sync_create(struct gpu *gpu, __u32 *handle, bool signaled)
{
	struct drm_syncobj_create arg = {
		.flags = signaled ? DRM_SYNCOBJ_CREATE_SIGNALED : 0,
	};
	int err = stub_ioctl(gpu->fd, DRM_IOCTL_SYNCOBJ_CREATE, &arg);

	*handle = arg.handle;
	return err;
}

int sync_wait(struct gpu *gpu, __u32 handle, unsigned int ms)
{
	struct drm_syncobj_wait arg = {
		.handles = (uintptr_t)&handle,
		.count_handles = 1,
		.timeout_nsec = (now_ms() + ms) * 1e6,
	};

	return stub_ioctl(gpu->fd, DRM_IOCTL_SYNCOBJ_WAIT, &arg);
}

int sync_status(struct gpu *gpu, __u32 handle)
{
	struct drm_syncobj_handle arg = {
		.handle = handle,
		.flags = DRM_SYNCOBJ_HANDLE_TO_FD_FLAGS_EXPORT_SYNC_FILE,
	};
	int err = stub_ioctl(gpu->fd, DRM_IOCTL_SYNCOBJ_HANDLE_TO_FD, &arg);
	struct sync_file_info info = {};

	if (err)
		return err;
	err = stub_ioctl(arg.fd, SYNC_IOC_FILE_INFO, &info);
	close(arg.fd);
	return err ? err : info.status;
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
