// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * What a touch of the CPU brings back from VRAM: a granule around it, 64 KiB or a huge page
 * unless the VM says otherwise, and no more of it than its mapping has.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "place.h"

#define SIZE MIB(8)
#define SEED 21
#define DEFAULT KIB(64)

static struct gpu gpu;

static void open_with(size_t granule)
{
	open_idle_as(&gpu, (struct drm_svm_stub_vm_create){ .fault_granule = granule });
}

/* Pages of the span are in RAM, and all others of @memory in VRAM. */
static void expect_back(const char *memory, size_t size, size_t start, size_t end)
{
	if (start)
		expect_vram(&gpu, memory, start);
	expect_ram(&gpu, memory + start, end - start);
	if (end < size)
		expect_vram(&gpu, memory + end, size - end);
}

static void touch(const void *memory, size_t at)
{
	EXPECT_EQ(((const volatile __u32 *)memory)[at / 4], pattern(SEED, at / 4));
}

/* --- Its size ------------------------------------------------------------------- */

static void test_size(const void *arg)
{
	const size_t *asked = arg;
	const size_t granule = *asked ?: DEFAULT;
	static const size_t places[] = { 0, MIB(1) + 36, MIB(4) - 4, MIB(5) + KIB(60), SIZE - 4 };
	__u32 *memory = map_small_pattern(SIZE, SEED);
	struct drm_svm_stub_vm_stats before, after;

	open_with(*asked);
	for (size_t i = 0; i < ARRAY_SIZE(places); i++) {
		size_t start = places[i] / granule * granule;

		EXPECT_OK(gpu_migrate(&gpu, memory, SIZE, 0));
		before = stats_of(&gpu);
		touch(memory, places[i]);
		after = stats_of(&gpu);
		EXPECT_EQ(after.pages_to_ram - before.pages_to_ram, granule / PAGE);
		expect_back((char *)memory, SIZE, start, start + granule);
		/* VRAM of what has come back is free, and of nothing else. */
		expect_vram_used(&gpu, SIZE - granule);
		EXPECT_OK(gpu_migrate(&gpu, memory, SIZE, TO_RAM));
	}
	expect_pattern(memory, SIZE, SEED);
}

static void test_arguments(const void *arg)
{
	static const __u32 bad[] = { 1, 2048, 3 * 4096, MIB(2) + 4096, MIB(4), 1u << 31 };

	(void)arg;
	open_with(0);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		EXPECT_ERR(gpu_create_as(&gpu, (struct drm_svm_stub_vm_create){
						       .fault_granule = bad[i] }), -EINVAL);
	EXPECT_ERR(gpu_create_as(&gpu, (struct drm_svm_stub_vm_create){ .timeslice_ms = 1001 }),
		   -EINVAL);
	EXPECT_OK(gpu_create_as(&gpu, (struct drm_svm_stub_vm_create){ .timeslice_ms = 1000 }));
}

/*
 * Reading memory from end to end takes one fault a granule that was asked for; by default 64 KiB,
 * 64, 128, 256, 512, and the rest of each 2 MiB.
 */
static void test_faults(const void *arg)
{
	const size_t *asked = arg;
	const size_t faults = *asked ? SIZE / *asked : SIZE / MIB(2) * 6;
	__u32 *memory = map_small_pattern(SIZE, SEED);
	struct drm_svm_stub_device_stats before, after;
	__u64 batches = 0, bytes = 0;

	open_with(*asked);
	EXPECT_OK(gpu_migrate(&gpu, memory, SIZE, 0));
	before = device_stats_of(&gpu);
	expect_pattern(memory, SIZE, SEED);
	after = device_stats_of(&gpu);
	for (int size = 0; size < DRM_SVM_STUB_SIZES; size++) {
		const struct drm_svm_stub_phases *was = before.phase[DRM_SVM_STUB_WAY_CPU_FAULT];
		const struct drm_svm_stub_phases *is = after.phase[DRM_SVM_STUB_WAY_CPU_FAULT];

		batches += is[size].batches - was[size].batches;
		bytes += is[size].bytes - was[size].bytes;
	}
	EXPECT_EQ(batches, faults);
	EXPECT_EQ(bytes, SIZE);
	EXPECT_EQ(after.fault_lost, before.fault_lost);
}

/* --- Its edges --------------------------------------------------------------------- */

/* A mapping that begins and ends in the middle of a granule. */
static void test_clipped(const void *arg)
{
	const size_t *granule = arg;
	const size_t start = MIB(1) + KIB(20), end = MIB(1) + KIB(52);
	__u32 *memory = map_small_pattern(SIZE, SEED);

	open_with(*granule);
	EXPECT(!madvise((char *)memory + start, end - start, MADV_DONTFORK), "madvise: %s",
	       strerror(errno));
	EXPECT_OK(gpu_migrate(&gpu, memory, SIZE, 0));
	expect_vram(&gpu, memory, SIZE);
	touch(memory, start + KIB(8));
	expect_back((char *)memory, SIZE, start, end);
	/* Its neighbour, up to the edge. */
	touch(memory, start - 4);
	expect_ram(&gpu, (char *)memory + MIB(1), end - MIB(1));
	expect_vram(&gpu, (char *)memory + end, PAGE);
	expect_pattern(memory, SIZE, SEED);
}

/* Pages of a granule that are in RAM already, or nowhere, stay what they are. */
static void test_part_is_there(const void *arg)
{
	__u32 *memory = map_small_pattern(MIB(2), SEED);
	char *granule = (char *)memory + MIB(1);

	(void)arg;
	open_with(0);
	EXPECT_OK(gpu_migrate(&gpu, granule + KIB(8), KIB(48), 0));
	EXPECT(!madvise(granule + KIB(16), KIB(8), MADV_DONTNEED), "madvise: %s", strerror(errno));
	expect_none(&gpu, granule + KIB(16), KIB(8));
	expect_vram_used(&gpu, KIB(40));
	touch(memory, MIB(1) + KIB(40));
	expect_ram(&gpu, granule, KIB(16));
	expect_none(&gpu, granule + KIB(16), KIB(8));
	expect_ram(&gpu, granule + KIB(24), KIB(40));
	expect_vram_used(&gpu, 0);
	expect_words((__u32 *)(granule + KIB(16)), KIB(8), 0);
	expect_pattern_from(memory, 0, MIB(1) + KIB(16), SEED);
	expect_pattern_from(memory, (MIB(1) + KIB(24)) / 4, MIB(1) - KIB(24), SEED);
}

/* Memory that has moved in the address space since has its granules there. */
static void test_moved(const void *arg)
{
	__u32 *memory = map_small_pattern(MIB(2), SEED), *place = map_small(MIB(4));
	char *to = (char *)place + KIB(12);

	(void)arg;
	open_with(0);
	EXPECT_OK(gpu_migrate(&gpu, memory, MIB(2), 0));
	EXPECT(mremap(memory, MIB(2), MIB(2), MREMAP_MAYMOVE | MREMAP_FIXED, to) == to,
	       "mremap: %s", strerror(errno));
	expect_vram(&gpu, to, MIB(2));
	touch(to, KIB(100));
	expect_back(to, MIB(2), KIB(52), KIB(116));
	expect_pattern((__u32 *)to, MIB(2), SEED);
	expect_vram_used(&gpu, 0);
}

/* --- Huge pages ------------------------------------------------------------------------ */

/* One that has moved as one comes back as one, and its neighbours stay. */
static void test_huge_page(const void *arg)
{
	__u32 *memory = map_huge_pattern(MIB(6), SEED);

	(void)arg;
	open_with(0);
	if (!(gpu.info.capabilities & DRM_SVM_STUB_CAP_HUGE))
		ktap_skip("this kernel moves no huge pages as one");
	EXPECT_OK(gpu_migrate(&gpu, memory, MIB(6), 0));
	touch(memory, MIB(3));
	expect_back((char *)memory, MIB(6), MIB(2), MIB(4));
	expect_pattern(memory, MIB(6), SEED);
	expect_ram(&gpu, memory, MIB(6));
	EXPECT_EQ(huge_bytes(memory), MIB(6));
}

/* A smaller granule is kept to at least as far as the page that is asked for comes. */
static void test_part_of_huge_page(const void *arg)
{
	const size_t *granule = arg;
	__u32 *memory = map_huge_pattern(MIB(2), SEED);
	struct drm_svm_stub_block block;

	open_with(*granule);
	EXPECT_OK(gpu_migrate(&gpu, memory, MIB(2), 0));
	expect_vram(&gpu, memory, MIB(2));
	touch(memory, MIB(1) + 8);
	expect_ram(&gpu, (char *)memory + MIB(1), *granule);
	EXPECT_OK(gpu_where(&gpu, memory, MIB(2), &block));
	ktap_note("%zu KiB of a huge page were asked for, %u came", *granule >> 10,
		  block.system * 4);
	EXPECT_EQ(block.system + block.device, HUGE_PAGES);
	expect_gpu_reads(&gpu, memory, MIB(2), SEED);
	expect_pattern(memory, MIB(2), SEED);
	expect_vram_used(&gpu, 0);
}

static const size_t by_default, page = PAGE, small = KIB(16), medium = KIB(256), huge = MIB(2);

static const struct ktap_case cases[] = {
	{ "arguments", test_arguments, NULL },
	{ "default", test_size, &by_default },
	{ "4 KiB", test_size, &page },
	{ "16 KiB", test_size, &small },
	{ "256 KiB", test_size, &medium },
	{ "2 MiB", test_size, &huge },
	{ "one fault for each", test_faults, &medium },
	{ "more by each fault", test_faults, &by_default },
	{ "clipped by the mapping, default", test_clipped, &by_default },
	{ "clipped by the mapping, 2 MiB", test_clipped, &huge },
	{ "a part is there already", test_part_is_there, NULL },
	{ "memory that has moved", test_moved, NULL },
	{ "a huge page", test_huge_page, NULL },
	{ "4 KiB of a huge page", test_part_of_huge_page, &page },
	{ "256 KiB of a huge page", test_part_of_huge_page, &medium },
};

int main(int argc, char **argv)
{
	return ktap_main(argc, argv, cases, ARRAY_SIZE(cases));
}
