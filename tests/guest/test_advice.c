// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * What a process may tell the kernel about its memory: madvise() and mlock(). Whatever the kernel
 * makes of it, the GPU sees the same data as the CPU, and no access that it should not have.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "memory.h"
#include "program.h"

#ifndef MADV_GUARD_INSTALL
#define MADV_GUARD_INSTALL 102
#define MADV_GUARD_REMOVE 103
#endif

#define SIZE MIB(2)
#define SEED 10

static __u32 *map_used(struct gpu *gpu, const void *variant)
{
	__u32 *memory = map_small(SIZE);

	open_vm(gpu, variant);
	write_pattern(memory, SIZE, SEED);
	expect_gpu_reads(gpu, memory, SIZE, SEED);
	expect_place(gpu, variant, memory, SIZE);
	return memory;
}

/* Gives advice, and skips the case if the kernel does not know it. */
static void advise(void *memory, size_t size, int advice, const char *name)
{
	char why[64];

	if (!madvise(memory, size, advice))
		return;
	EXPECT(errno == EINVAL, "%s: %s", name, strerror(errno));
	snprintf(why, sizeof(why), "the kernel does not know %s", name);
	ktap_skip(why);
}

#define ADVISE(memory, size, advice) advise(memory, size, advice, #advice)

/* --- Memory that may go ------------------------------------------------------------- */

/* What may be dropped is there or is zero, page by page, and for the GPU as for the CPU. */
static void test_free(const void *arg)
{
	struct gpu gpu;
	__u32 *memory = map_used(&gpu, arg), *copy = map_small(SIZE);

	ADVISE(memory, SIZE / 2, MADV_FREE);
	/* Who writes to a page keeps it, the GPU too. */
	EXPECT_OK(gpu_fill(&gpu, memory, 3, 16 * PAGE));
	madvise(memory, SIZE / 2, MADV_PAGEOUT);
	EXPECT_OK(gpu_copy(&gpu, copy, memory, SIZE));
	expect_words(copy, 16 * PAGE, 3);
	for (size_t i = 16 * WORDS_PER_PAGE; i < SIZE / 8; i += WORDS_PER_PAGE)
		EXPECT(!copy[i] || copy[i] == pattern(SEED, i), "word %zu is %#x", i, copy[i]);
	expect_pattern_from(copy, SIZE / 8, SIZE / 2, SEED);
	/* The CPU sees what the GPU has seen. */
	EXPECT(!memcmp(memory, copy, SIZE), "CPU and GPU see different data");
}

/*
 * A GPU that reads such a page must not be able to write to it unnoticed: the kernel would drop
 * what it has written.
 */
static void test_free_read_then_write(const void *arg)
{
	struct gpu gpu;
	__u32 *memory = map_used(&gpu, arg);
	__u64 sum;

	ADVISE(memory, SIZE, MADV_FREE);
	EXPECT_OK(gpu_checksum(&gpu, memory, SIZE, &sum));
	EXPECT_OK(gpu_fill(&gpu, memory, 4, SIZE));
	madvise(memory, SIZE, MADV_PAGEOUT);
	expect_words(memory, SIZE, 4);
	expect_gpu_sum(&gpu, memory, SIZE, 4ull * SIZE / 4);
}

/* The GPU is writing when the memory is emptied: each page has its data or zeros. */
static void test_dontneed_under_program(const void *arg)
{
	struct gpu gpu;
	__u32 *memory = map_used(&gpu, arg);

	for (__u32 round = 1; round <= 8; round++) {
		struct program program;
		int err;

		start_fill(&program, &gpu, memory, round, SIZE);
		while (!has_ended(&program)) {
			const __u64 faults = stats_of(&gpu).gpu_faults;

			madvise(memory + ktap_random() % 512 * WORDS_PER_PAGE, PAGE,
				MADV_DONTNEED);
			/* It shall be disturbed, and not starve where a fault takes a second. */
			for (int i = 0; i < 20000 && !has_ended(&program) &&
					stats_of(&gpu).gpu_faults == faults; i++)
				usleep(100);
		}
		err = finish(&program);
		EXPECT(!err || err == -EBUSY, "the program ended with %d", err);
		/* On a slow machine it may lose the race for a page again and again. */
		for (size_t i = 0; !err && i < SIZE / 4; i++)
			EXPECT(!memory[i] || memory[i] == round, "word %zu is %u, not %u or 0", i,
			       memory[i], round);
		EXPECT_OK(gpu_fill(&gpu, memory, round, SIZE));
		expect_gpu_sum(&gpu, memory, SIZE, (__u64)round * SIZE / 4);
	}
}

/* --- Memory that stays ---------------------------------------------------------------- */

static void test_keeps_data(const void *arg, int advice, const char *name)
{
	struct gpu gpu;
	__u32 *memory = map_used(&gpu, arg);

	advise(memory, SIZE, advice, name);
	expect_gpu_reads(&gpu, memory, SIZE, SEED);
	expect_pattern(memory, SIZE, SEED);
	EXPECT_OK(gpu_fill(&gpu, memory, 5, SIZE));
	advise(memory, SIZE, advice, name);
	expect_words(memory, SIZE, 5);
	expect_gpu_sum(&gpu, memory, SIZE, 5ull * SIZE / 4);
}

static void test_pageout(const void *arg)
{
	test_keeps_data(arg, MADV_PAGEOUT, "MADV_PAGEOUT");
}

static void test_cold(const void *arg)
{
	test_keeps_data(arg, MADV_COLD, "MADV_COLD");
}

static void test_willneed(const void *arg)
{
	test_keeps_data(arg, MADV_WILLNEED, "MADV_WILLNEED");
}

/* Small pages become a huge one under the GPU. */
static void test_collapse(const void *arg)
{
	struct gpu gpu;
	__u32 *memory = map_used(&gpu, arg);

	EXPECT_OK(gpu_fill(&gpu, memory, 6, PAGE));
	if (madvise(memory, SIZE, MADV_HUGEPAGE))
		ktap_skip("the kernel has no transparent huge pages");
	if (madvise(memory, SIZE, MADV_COLLAPSE)) {
		/* What is in VRAM cannot be collapsed. */
		EXPECT(errno == EINVAL || *(const bool *)arg, "MADV_COLLAPSE: %s",
		       strerror(errno));
	}
	expect_pattern_from(memory, WORDS_PER_PAGE, SIZE - PAGE, SEED);
	expect_words(memory, PAGE, 6);
	EXPECT_OK(gpu_fill(&gpu, memory, 7, SIZE));
	expect_words(memory, SIZE, 7);
}

/* And while it writes. */
static void test_collapse_under_program(const void *arg)
{
	struct gpu gpu;
	__u32 *memory = map_used(&gpu, arg);

	for (__u32 round = 1; round <= 4; round++) {
		struct program program;

		madvise(memory, SIZE, MADV_NOHUGEPAGE);
		/* One page by itself, so that there is something to collapse. */
		madvise(memory, PAGE, MADV_DONTNEED);
		start_fill(&program, &gpu, memory, round, SIZE);
		if (madvise(memory, SIZE, MADV_HUGEPAGE))
			ktap_skip("the kernel has no transparent huge pages");
		while (!has_ended(&program))
			madvise(memory, SIZE, MADV_COLLAPSE);
		EXPECT_OK(finish(&program));
		expect_words(memory, SIZE, round);
	}
}

/* Memory that is to be there before it is used. */
static void test_populate(const void *arg)
{
	struct drm_svm_stub_block block;
	__u32 *memory = map_small(SIZE);
	struct gpu gpu;

	open_vm(&gpu, arg);
	ADVISE(memory, SIZE, MADV_POPULATE_WRITE);
	EXPECT_OK(gpu_where(&gpu, memory, SIZE, &block));
	EXPECT_EQ(block.system, SIZE / PAGE);
	expect_gpu_sum(&gpu, memory, SIZE, 0);
	EXPECT_OK(gpu_fill(&gpu, memory, 8, SIZE));
	EXPECT_EQ(gpu.faults, 0);
	expect_words(memory, SIZE, 8);
}

/* Locked memory may move, and is never nowhere. */
static void test_mlock(const void *arg)
{
	struct drm_svm_stub_block block;
	struct gpu gpu;
	__u32 *memory = map_used(&gpu, arg), *untouched = map_small(SIZE);

	EXPECT(!mlock(memory, SIZE), "mlock: %s", strerror(errno));
	expect_gpu_reads(&gpu, memory, SIZE, SEED);
	EXPECT_OK(gpu_fill(&gpu, memory, 9, SIZE / 2));
	madvise(memory, SIZE, MADV_PAGEOUT);
	EXPECT_OK(gpu_where(&gpu, memory, SIZE, &block));
	EXPECT_EQ(block.none, 0);
	expect_words(memory, SIZE / 2, 9);
	expect_pattern_from(memory, SIZE / 8, SIZE / 2, SEED);
	EXPECT(!munlock(memory, SIZE), "munlock: %s", strerror(errno));
	expect_gpu_sum(&gpu, memory, SIZE / 2, 9ull * SIZE / 8);

	EXPECT(!mlock2(untouched, SIZE, MLOCK_ONFAULT), "mlock2: %s", strerror(errno));
	EXPECT_OK(gpu_fill(&gpu, untouched, 10, SIZE));
	expect_words(untouched, SIZE, 10);
}

/* --- Memory that is forbidden ------------------------------------------------------------ */

/* Guards are as unmapped memory; the rest of the range works, and so do they when they go. */
static void test_guard(const void *arg)
{
	struct gpu gpu;
	__u32 *memory = map_used(&gpu, arg), *guarded = memory + 100 * WORDS_PER_PAGE;
	__u64 sum;

	ADVISE(guarded, 4 * PAGE, MADV_GUARD_INSTALL);
	EXPECT_EQ(pages_mapped(&gpu, guarded, 4 * PAGE), 0);
	EXPECT_ERR(gpu_checksum(&gpu, guarded, 4, &sum), -EFAULT);
	EXPECT_ERR(gpu_fill(&gpu, guarded + 3 * WORDS_PER_PAGE, 1, 4), -EFAULT);
	expect_gpu_reads(&gpu, memory, 100 * PAGE, SEED);
	EXPECT_OK(gpu_fill(&gpu, memory + 104 * WORDS_PER_PAGE, 1, PAGE));
	EXPECT(!madvise(guarded, 4 * PAGE, MADV_GUARD_REMOVE), "MADV_GUARD_REMOVE: %s",
	       strerror(errno));
	expect_gpu_sum(&gpu, guarded, 4 * PAGE, 0);
	expect_pattern(memory, 100 * PAGE, SEED);
	expect_pattern_from(memory, 105 * WORDS_PER_PAGE, SIZE - 105 * PAGE, SEED);
}

/*
 * A page in the middle of a range that may not be read or written. Programs beside it work; those
 * that come to it fail at once, and do not try again and again.
 */
static void test_forbidden_page(const void *arg)
{
	struct drm_svm_stub_vm_stats before, after;
	struct gpu gpu;
	__u32 *memory = map_used(&gpu, arg), *page = memory + 200 * WORDS_PER_PAGE;
	__u64 sum;

	EXPECT(!mprotect(page, PAGE, PROT_READ), "mprotect: %s", strerror(errno));
	before = stats_of(&gpu);
	EXPECT_ERR(gpu_fill(&gpu, page, 1, 4), -EPERM);
	after = stats_of(&gpu);
	/* Of each size of a range one, at most. */
	EXPECT(after.collections - before.collections <= 3, "%llu collections for an error",
	       after.collections - before.collections);
	EXPECT_EQ(after.gpu_faults, before.gpu_faults);
	expect_gpu_reads(&gpu, memory, SIZE, SEED);
	EXPECT_ERR(gpu_fill(&gpu, memory, 2, SIZE), -EPERM);
	expect_words(memory, 200 * PAGE, 2);

	EXPECT(!mprotect(page, PAGE, PROT_NONE), "mprotect: %s", strerror(errno));
	EXPECT_ERR(gpu_checksum(&gpu, page, 4, &sum), -EFAULT);
	EXPECT_ERR(gpu_fill(&gpu, page, 1, 4), -EFAULT);
	expect_gpu_sum(&gpu, memory, 200 * PAGE, 2ull * 200 * WORDS_PER_PAGE);
	EXPECT_OK(gpu_fill(&gpu, page + WORDS_PER_PAGE, 3, SIZE - 201 * PAGE));
	EXPECT(!mprotect(page, PAGE, PROT_READ | PROT_WRITE), "mprotect: %s", strerror(errno));
	expect_pattern_from(memory, 200 * WORDS_PER_PAGE, PAGE, SEED);
	EXPECT_OK(gpu_fill(&gpu, memory, 4, SIZE));
	expect_words(memory, SIZE, 4);
}

/* Memory that becomes read-only at once: no write of the GPU comes after that. */
static void test_protect_under_program(const void *arg)
{
	struct gpu gpu;
	__u32 *memory = map_used(&gpu, arg), *copy = map_small(SIZE);

	for (__u32 round = 1; round <= 4; round++) {
		struct program program;
		int err;

		start_fill(&program, &gpu, memory, round, SIZE);
		usleep(ktap_random() % 5000);
		mprotect(memory, SIZE, PROT_READ);
		memcpy(copy, memory, SIZE);
		err = finish(&program);
		EXPECT(!err || err == -EPERM, "FILL: %s", strerror(-err));
		EXPECT(!memcmp(memory, copy, SIZE), "read-only memory has changed");
		mprotect(memory, SIZE, PROT_READ | PROT_WRITE);
	}
}

static const struct ktap_case cases[] = {
	IN_RAM("MADV_FREE", test_free),
	IN_VRAM("MADV_FREE", test_free),
	IN_RAM("MADV_FREE, read, write", test_free_read_then_write),
	IN_VRAM("MADV_FREE, read, write", test_free_read_then_write),
	IN_RAM("MADV_DONTNEED under a program", test_dontneed_under_program),
	IN_VRAM("MADV_DONTNEED under a program", test_dontneed_under_program),
	IN_RAM("MADV_PAGEOUT", test_pageout),
	IN_VRAM("MADV_PAGEOUT", test_pageout),
	IN_RAM("MADV_COLD", test_cold),
	IN_VRAM("MADV_COLD", test_cold),
	IN_RAM("MADV_WILLNEED", test_willneed),
	IN_VRAM("MADV_WILLNEED", test_willneed),
	IN_RAM("MADV_COLLAPSE", test_collapse),
	IN_VRAM("MADV_COLLAPSE", test_collapse),
	IN_RAM("MADV_COLLAPSE under a program", test_collapse_under_program),
	IN_VRAM("MADV_COLLAPSE under a program", test_collapse_under_program),
	IN_RAM("MADV_POPULATE_WRITE", test_populate),
	IN_RAM("mlock", test_mlock),
	IN_VRAM("mlock", test_mlock),
	IN_RAM("MADV_GUARD_INSTALL", test_guard),
	IN_VRAM("MADV_GUARD_INSTALL", test_guard),
	IN_RAM("a forbidden page in a range", test_forbidden_page),
	IN_VRAM("a forbidden page in a range", test_forbidden_page),
	IN_RAM("mprotect under a program", test_protect_under_program),
	IN_VRAM("mprotect under a program", test_protect_under_program),
};

int main(int argc, char **argv)
{
	return ktap_main(argc, argv, cases, ARRAY_SIZE(cases));
}
