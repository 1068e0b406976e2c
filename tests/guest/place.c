// SPDX-License-Identifier: GPL-2.0-only OR MIT
#include "place.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

void open_idle_as(struct gpu *gpu, struct drm_svm_stub_vm_create create)
{
	EXPECT_OK(gpu_open(gpu, 0));
	if (!gpu_can_migrate(gpu))
		ktap_skip("the device cannot migrate");
	EXPECT_OK(gpu_destroy(gpu, gpu->vm));
	EXPECT_OK(gpu_create_as(gpu, create));
	EXPECT_OK(gpu_wait_free(gpu, 10));
	EXPECT_OK(gpu_info(gpu, &gpu->info));
}

void open_idle_vm(struct gpu *gpu, __u32 flags)
{
	open_idle_as(gpu, (struct drm_svm_stub_vm_create){ .flags = flags });
}

__u32 *map_pattern(size_t size, __u32 seed)
{
	__u32 *words = map(size);

	write_pattern(words, size, seed);
	return words;
}

__u32 *map_small_pattern(size_t size, __u32 seed)
{
	__u32 *words = map_small(size);

	write_pattern(words, size, seed);
	return words;
}

__u32 *map_huge_pattern(size_t size, __u32 seed)
{
	__u32 *words = map(size);

	if (madvise(words, size, MADV_HUGEPAGE))
		ktap_skip("the kernel has no transparent huge pages");
	write_pattern(words, size, seed);
	if (huge_bytes(words) != size)
		ktap_skip("no huge pages were to be had");
	return words;
}

size_t huge_bytes(const void *memory)
{
	FILE *smaps = fopen("/proc/self/smaps", "r");
	unsigned long start, end, kib = 0;
	bool here = false;
	char line[256];

	EXPECT(smaps, "there is no /proc/self/smaps");
	while (fgets(line, sizeof(line), smaps)) {
		if (sscanf(line, "%lx-%lx ", &start, &end) == 2)
			here = start <= (uintptr_t)memory && (uintptr_t)memory < end;
		else if (here && sscanf(line, "AnonHugePages: %lu", &kib) == 1)
			break;
	}
	fclose(smaps);
	return KIB(kib);
}

void check_blocks(const char *file, int line, struct gpu *gpu, const void *start, size_t size,
		  __u32 none, __u32 in_ram, __u32 in_vram)
{
	struct drm_svm_stub_block block;

	ktap_check_err(file, line, "RESIDENCY", gpu_where(gpu, start, size, &block), 0);
	if (block.none != none || block.system != in_ram || block.device != in_vram)
		ktap_fail(file, line,
			  "%u pages are not there, %u in RAM, %u in VRAM; not %u, %u, %u",
			  block.none, block.system, block.device, none, in_ram, in_vram);
}

void check_vram_used(const char *file, int line, struct gpu *gpu, __u64 used)
{
	double end = now_ms() + 10000;
	struct drm_svm_stub_info info;

	do {
		ktap_check_err(file, line, "INFO", gpu_info(gpu, &info), 0);
		if (info.vram_size - info.vram_free == used)
			return;
		usleep(2000);
	} while (now_ms() < end);
	ktap_fail(file, line, "%llu KiB of VRAM are in use, not %llu",
		  (info.vram_size - info.vram_free) >> 10, used >> 10);
}

struct drm_svm_stub_device_stats device_stats_of(struct gpu *gpu)
{
	struct drm_svm_stub_device_stats stats;

	EXPECT_OK(gpu_device_stats(gpu, &stats));
	return stats;
}

__u64 bytes_evicted(struct gpu *gpu)
{
	struct drm_svm_stub_device_stats stats = device_stats_of(gpu);
	__u64 bytes = 0;

	for (int i = 0; i < DRM_SVM_STUB_SIZES; i++)
		bytes += stats.phase[DRM_SVM_STUB_WAY_EVICT][i].bytes;
	return bytes;
}

/* --- Reports ---------------------------------------------------------------- */

const char *stay_name(__u8 stay)
{
	static const char *const names[] = {
		[DRM_SVM_STUB_MOVED] = "moved",
		[DRM_SVM_STUB_WAS_THERE] = "was there",
		[DRM_SVM_STUB_STAY_NOT_TRIED] = "not tried",
		[DRM_SVM_STUB_STAY_NO_MEMORY_MAP] = "no memory",
		[DRM_SVM_STUB_STAY_NOT_ANONYMOUS] = "not anonymous",
		[DRM_SVM_STUB_STAY_SWAPPED] = "swapped",
		[DRM_SVM_STUB_STAY_SWAP_CACHE] = "in the swap cache",
		[DRM_SVM_STUB_STAY_PINNED] = "pinned",
		[DRM_SVM_STUB_STAY_LOCKED] = "locked",
		[DRM_SVM_STUB_STAY_WRITEBACK] = "being written",
		[DRM_SVM_STUB_STAY_LARGE_FOLIO] = "in a large folio",
		[DRM_SVM_STUB_STAY_FOREIGN] = "foreign",
		[DRM_SVM_STUB_STAY_NO_DEVICE_MEMORY] = "no device memory",
		[DRM_SVM_STUB_STAY_NO_DMA] = "no DMA",
		[DRM_SVM_STUB_STAY_BUSY] = "busy",
	};

	return stay < ARRAY_SIZE(names) ? names[stay] : "an unknown number";
}

/* Each page that has moved is there, and each that has not is not. */
static void check_places(struct gpu *gpu, const void *start, const struct report *report)
{
	struct drm_svm_stub_block *blocks = calloc(report->pages, sizeof(*blocks));

	EXPECT(blocks, "out of memory");
	EXPECT_OK(gpu_residency(gpu, start, report->pages * PAGE, PAGE, blocks));
	for (size_t i = 0; i < report->pages; i++)
		EXPECT(blocks[i].device == (report->page[i] <= DRM_SVM_STUB_WAS_THERE),
		       "page %zu: %s, and %u in VRAM", i, stay_name(report->page[i]),
		       blocks[i].device);
	free(blocks);
}

void migrate_report(struct gpu *gpu, const void *start, size_t size, __u32 flags,
		    struct report *report)
{
	__u64 counts[DRM_SVM_STUB_STAYS] = {};

	EXPECT(size / PAGE <= MAX_REPORT, "the report has no room for %zu pages", size / PAGE);
	report->pages = size / PAGE;
	report->migrate = (struct drm_svm_stub_migrate){
		.flags = flags,
		.report = (uintptr_t)report->page,
	};
	memset(report->page, 0xff, report->pages);
	report->err = gpu_migrate_as(gpu, start, size, &report->migrate);
	for (size_t i = 0; i < report->pages; i++) {
		EXPECT(report->page[i] < DRM_SVM_STUB_STAYS, "page %zu was not reported: %u", i,
		       report->page[i]);
		counts[report->page[i]]++;
	}
	for (int i = 0; i < DRM_SVM_STUB_STAYS; i++)
		EXPECT(counts[i] == report->migrate.result[i],
		       "%llu pages are counted as %s, and %llu reported",
		       report->migrate.result[i], stay_name(i), counts[i]);
	check_places(gpu, start, report);
}

void check_report(const char *file, int line, const struct report *report, size_t first,
		  size_t count, __u8 stay)
{
	for (size_t i = first; i < first + count; i++)
		if (report->page[i] != stay)
			ktap_fail(file, line, "page %zu: %s, not %s", i,
				  stay_name(report->page[i]), stay_name(stay));
}
