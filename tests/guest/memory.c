// SPDX-License-Identifier: GPL-2.0-only OR MIT
#include "memory.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

const bool ram;
const bool vram = true;

void open_vm(struct gpu *gpu, const void *variant)
{
	const bool *to_vram = variant;

	EXPECT_OK(gpu_open(gpu, 0));
	if (!*to_vram)
		return;
	if (!gpu_can_migrate(gpu))
		ktap_skip("the device cannot migrate");
	EXPECT_OK(gpu_destroy(gpu, gpu->vm));
	EXPECT_OK(gpu_create(gpu, DRM_SVM_STUB_VM_MIGRATE_ON_FAULT));
}

void *map_at(void *address, size_t size, int prot, int flags, int fd)
{
	void *memory = mmap(address, size, prot, flags, fd, 0);

	EXPECT(memory != MAP_FAILED, "mmap of %zu bytes: %s", size, strerror(errno));
	return memory;
}

__u32 *map(size_t size)
{
	char *memory = map_at(NULL, size + HUGE_PAGE, PROT_READ | PROT_WRITE,
			      MAP_PRIVATE | MAP_ANONYMOUS, -1);
	char *aligned = (char *)(((uintptr_t)memory + HUGE_PAGE - 1) & -HUGE_PAGE);

	if (aligned != memory)
		munmap(memory, aligned - memory);
	munmap(aligned + size, HUGE_PAGE - (aligned - memory));
	return (__u32 *)aligned;
}

__u32 *map_small(size_t size)
{
	__u32 *memory = map(size);

	/* Without huge pages there is nothing to advise against. */
	madvise(memory, size, MADV_NOHUGEPAGE);
	return memory;
}

struct drm_svm_stub_vm_stats stats_of(struct gpu *gpu)
{
	struct drm_svm_stub_vm_stats stats;

	EXPECT_OK(gpu_stats(gpu, &stats));
	return stats;
}

unsigned int pages_mapped(struct gpu *gpu, const void *start, size_t size)
{
	struct drm_svm_stub_block block;

	EXPECT_OK(gpu_where(gpu, start, size, &block));
	return block.gpu_mapped;
}

unsigned int pages_writable(struct gpu *gpu, const void *start, size_t size)
{
	struct drm_svm_stub_block block = {};

	EXPECT_OK(gpu_residency_write(gpu, start, size, size, &block));
	return block.gpu_mapped;
}

void write_pattern(__u32 *memory, size_t size, __u32 seed)
{
	for (size_t i = 0; i < size / 4; i++)
		memory[i] = pattern(seed, i);
}

int open_pattern_file(const char *directory, size_t size, __u32 seed)
{
	char path[64];
	__u32 *words;
	int fd;

	snprintf(path, sizeof(path), "%s/test.XXXXXX", directory);
	fd = mkstemp(path);
	EXPECT(fd >= 0, "%s: %s", path, strerror(errno));
	unlink(path);
	EXPECT(!ftruncate(fd, size), "ftruncate: %s", strerror(errno));
	words = map_at(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd);
	write_pattern(words, size, seed);
	munmap(words, size);
	return fd;
}

void check_pattern(const char *file, int line, const __u32 *memory, size_t first, size_t size,
		   __u32 seed)
{
	for (size_t i = first; i < first + size / 4; i++)
		if (memory[i] != pattern(seed, i))
			ktap_fail(file, line, "word %zu is %#x, not %#x", i, memory[i],
				  pattern(seed, i));
}

void check_words(const char *file, int line, const __u32 *memory, size_t size, __u32 value)
{
	for (size_t i = 0; i < size / 4; i++)
		if (memory[i] != value)
			ktap_fail(file, line, "word %zu is %#x, not %#x", i, memory[i], value);
}

void check_gpu_reads(const char *file, int line, struct gpu *gpu, const __u32 *memory, size_t size,
		     __u32 seed)
{
	__u64 sum, expected = 0;

	ktap_check_err(file, line, "CHECKSUM", gpu_checksum(gpu, memory, size, &sum), 0);
	for (size_t i = 0; i < size / 4; i++)
		expected += pattern(seed, i);
	if (sum != expected)
		ktap_fail(file, line, "the GPU reads other data: the sum is %#llx, not %#llx",
			  sum, expected);
}

void check_gpu_sum(const char *file, int line, struct gpu *gpu, const void *memory, size_t size,
		   __u64 expected)
{
	__u64 sum;

	ktap_check_err(file, line, "CHECKSUM", gpu_checksum(gpu, memory, size, &sum), 0);
	if (sum != expected)
		ktap_fail(file, line, "the GPU's sum is %#llx, not %#llx", sum, expected);
}

void check_place(const char *file, int line, struct gpu *gpu, const void *variant,
		 const void *start, size_t size)
{
	const bool *to_vram = variant;
	struct drm_svm_stub_block block;

	ktap_check_err(file, line, "RESIDENCY", gpu_where(gpu, start, size, &block), 0);
	if ((*to_vram ? block.device : block.system) != size / PAGE)
		ktap_fail(file, line, "of %zu pages %u are in VRAM and %u in RAM",
			  size / PAGE, block.device, block.system);
}

static void write_vm(const char *path)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);

	EXPECT(fd >= 0 && write(fd, "1", 1) == 1, "%s: %s", path, strerror(errno));
	close(fd);
}

void drop_page_cache(void)
{
	write_vm("/proc/sys/vm/drop_caches");
	/* Which empties no lists before some kernel; a compaction always has. */
	if (!access("/proc/sys/vm/compact_memory", W_OK))
		write_vm("/proc/sys/vm/compact_memory");
}
