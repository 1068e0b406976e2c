/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * Where memory is: which of its pages are in VRAM, in RAM or nowhere, how much VRAM is in
 * use, and what MIGRATE says about each page.
 */
#ifndef TESTS_GUEST_PLACE_H
#define TESTS_GUEST_PLACE_H

#include "memory.h"

#define HUGE_PAGES (HUGE_PAGE / PAGE)
#define TO_RAM DRM_SVM_STUB_MIGRATE_TO_RAM

/* A VM that moves memory only when it is told to, on a device that is idle. */
void open_idle_vm(struct gpu *gpu, __u32 flags);
void open_idle_as(struct gpu *gpu, struct drm_svm_stub_vm_create create);

/* Memory with a pattern: of pages of any size, of small pages, and of huge pages. */
__u32 *map_pattern(size_t size, __u32 seed);
__u32 *map_small_pattern(size_t size, __u32 seed);
/* Ends the case, skipped, if there are no huge pages. */
__u32 *map_huge_pattern(size_t size, __u32 seed);
/* Bytes of the mapping at @memory that are in huge pages, of RAM or, from 7.3 on, of a device. */
size_t huge_bytes(const void *memory);

void check_blocks(const char *file, int line, struct gpu *gpu, const void *start, size_t size,
		  __u32 none, __u32 in_ram, __u32 in_vram);
/* Waits for VRAM in use to become @used; it is given back a little late. */
void check_vram_used(const char *file, int line, struct gpu *gpu, __u64 used);

struct drm_svm_stub_device_stats device_stats_of(struct gpu *gpu);
/* What the device has evicted since it is there. */
__u64 bytes_evicted(struct gpu *gpu);

/* What MIGRATE has said. */
#define MAX_REPORT (MIB(32) / PAGE)
struct report {
	int err;
	size_t pages;
	struct drm_svm_stub_migrate migrate;
	__u8 page[MAX_REPORT];
};

/* MIGRATE to VRAM, with @flags; what it counts has to be what it reports. */
void migrate_report(struct gpu *gpu, const void *start, size_t size, __u32 flags,
		    struct report *report);
const char *stay_name(__u8 stay);
void check_report(const char *file, int line, const struct report *report, size_t first,
		  size_t count, __u8 stay);

#define expect_none(gpu, start, size) \
	check_blocks(__FILE__, __LINE__, gpu, start, size, (size) / PAGE, 0, 0)
#define expect_ram(gpu, start, size) \
	check_blocks(__FILE__, __LINE__, gpu, start, size, 0, (size) / PAGE, 0)
#define expect_vram(gpu, start, size) \
	check_blocks(__FILE__, __LINE__, gpu, start, size, 0, 0, (size) / PAGE)
#define expect_blocks(...) check_blocks(__FILE__, __LINE__, __VA_ARGS__)
#define expect_vram_used(...) check_vram_used(__FILE__, __LINE__, __VA_ARGS__)
#define expect_report(...) check_report(__FILE__, __LINE__, __VA_ARGS__)

#endif /* TESTS_GUEST_PLACE_H */
