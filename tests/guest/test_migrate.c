// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Memory moves to VRAM and back, and each page is where the device says it is.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "place.h"

/* How much VRAM a case leaves free that wants to run out of it. */
#define SMALL_VRAM MIB(4)

/* Leaves SMALL_VRAM bytes of VRAM free: the rest is an object's, which nobody can evict. */
static void take_vram(struct gpu *gpu, struct bo *hog)
{
	EXPECT_OK(bo_create(gpu, hog, gpu->info.vram_free - SMALL_VRAM, DRM_SVM_STUB_BO_VRAM));
	expect_vram_used(gpu, hog->size);
}

/* --- There and back ------------------------------------------------------- */

static void test_there_and_back(const void *arg)
{
	struct drm_svm_stub_vm_stats start, there, back;
	struct drm_svm_stub_block blocks[MIB(8) / KIB(64)];
	__u32 *memory = map_pattern(MIB(8), 1);
	struct gpu gpu;

	(void)arg;
	open_idle_vm(&gpu, 0);
	expect_ram(&gpu, memory, MIB(8));
	EXPECT_OK(gpu_stats(&gpu, &start));
	EXPECT_OK(gpu_migrate(&gpu, memory, MIB(8), 0));
	EXPECT_OK(gpu_residency(&gpu, memory, MIB(8), KIB(64), blocks));
	for (size_t i = 0; i < MIB(8) / KIB(64); i++)
		EXPECT(blocks[i].device == 16 && !blocks[i].system && !blocks[i].none,
		       "block %zu has %u pages in VRAM, %u in RAM, %u nowhere", i,
		       blocks[i].device, blocks[i].system, blocks[i].none);
	EXPECT_OK(gpu_stats(&gpu, &there));
	EXPECT_EQ(there.pages_to_vram - start.pages_to_vram, MIB(8) / PAGE);
	EXPECT_EQ(there.pages_to_ram, start.pages_to_ram);
	expect_vram_used(&gpu, MIB(8));

	/* What is there already stays there. */
	EXPECT_OK(gpu_migrate(&gpu, memory, MIB(8), 0));
	EXPECT_OK(gpu_stats(&gpu, &back));
	EXPECT_EQ(back.pages_to_vram, there.pages_to_vram);

	EXPECT_OK(gpu_migrate(&gpu, memory, MIB(8), TO_RAM));
	expect_ram(&gpu, memory, MIB(8));
	EXPECT_OK(gpu_stats(&gpu, &back));
	EXPECT_EQ(back.pages_to_ram - there.pages_to_ram, MIB(8) / PAGE);
	EXPECT_EQ(back.gpu_faults, 0);
	expect_vram_used(&gpu, 0);
	EXPECT_OK(gpu_migrate(&gpu, memory, MIB(8), TO_RAM));
	EXPECT_OK(gpu_stats(&gpu, &there));
	EXPECT_EQ(there.pages_to_ram, back.pages_to_ram);
	expect_pattern_from(memory, 0, MIB(8), 1);
}

static void test_back_by_touch(const void *arg)
{
	struct drm_svm_stub_vm_stats before, after;
	__u32 *memory = map_pattern(MIB(8), 2);
	struct gpu gpu;

	(void)arg;
	open_idle_vm(&gpu, 0);
	EXPECT_OK(gpu_migrate(&gpu, memory, MIB(8), 0));
	expect_vram(&gpu, memory, MIB(8));
	EXPECT_OK(gpu_stats(&gpu, &before));

	EXPECT_EQ(memory[MIB(3) / 4], pattern(2, MIB(3) / 4));
	EXPECT_OK(gpu_stats(&gpu, &after));
	expect_ram(&gpu, memory + MIB(3) / 4, PAGE);
	EXPECT(after.pages_to_ram - before.pages_to_ram <= HUGE_PAGE / PAGE,
	       "one touch brought back %llu pages", after.pages_to_ram - before.pages_to_ram);

	expect_pattern_from(memory, 0, MIB(8), 2);
	expect_ram(&gpu, memory, MIB(8));
	EXPECT_OK(gpu_stats(&gpu, &after));
	EXPECT_EQ(after.pages_to_ram - before.pages_to_ram, MIB(8) / PAGE);
	expect_vram_used(&gpu, 0);
}

/* What the GPU wrote in VRAM comes back, by each way. */
static void test_written_in_vram(const void *arg)
{
	__u32 *memory = map_pattern(MIB(4), 3), *source = map_pattern(MIB(4), 4);
	struct drm_svm_stub_block block;
	struct gpu gpu;

	(void)arg;
	open_idle_vm(&gpu, 0);
	EXPECT_OK(gpu_migrate(&gpu, memory, MIB(4), 0));
	EXPECT_OK(gpu_copy(&gpu, memory, source, MIB(4)));
	/* The program found it in VRAM and left it there. */
	expect_vram(&gpu, memory, MIB(4));
	expect_ram(&gpu, source, MIB(4));
	EXPECT_OK(gpu_where(&gpu, memory, MIB(4), &block));
	EXPECT_EQ(block.gpu_mapped, MIB(4) / PAGE);
	EXPECT_OK(gpu_migrate(&gpu, memory, MIB(2), TO_RAM));
	EXPECT_OK(gpu_where(&gpu, memory, MIB(2), &block));
	EXPECT_EQ(block.gpu_mapped, 0);
	expect_ram(&gpu, memory, MIB(2));
	expect_vram(&gpu, memory + MIB(2) / 4, MIB(2));
	expect_pattern_from(memory, 0, MIB(4), 4);
}

/* Spans that begin and end anywhere, on huge and on small pages. */
static void test_any_span(const void *arg)
{
	const int *advice = arg;
	const size_t pages = MIB(6) / PAGE;
	__u32 *memory = map(MIB(6));
	bool in_vram[MIB(6) / PAGE] = {};
	struct gpu gpu;

	open_idle_vm(&gpu, 0);
	if (madvise(memory, MIB(6), *advice))
		ktap_skip("the kernel has no transparent huge pages");
	write_pattern(memory, MIB(6), 5);
	for (int round = 0; round < 40; round++) {
		struct drm_svm_stub_block blocks[MIB(6) / PAGE];
		size_t first = ktap_random() % pages;
		size_t count = 1 + ktap_random() % (pages - first);
		bool to_ram = ktap_random() % 3 == 0;

		EXPECT_OK(gpu_migrate(&gpu, memory + first * WORDS_PER_PAGE, count * PAGE,
				      to_ram ? TO_RAM : 0));
		memset(in_vram + first, !to_ram, count);
		EXPECT_OK(gpu_residency(&gpu, memory, MIB(6), PAGE, blocks));
		for (size_t i = 0; i < pages; i++) {
			/* To RAM, what went to VRAM together may come along. */
			if (to_ram && in_vram[i] && blocks[i].system == 1 &&
			    (i / HUGE_PAGES == first / HUGE_PAGES ||
			     i / HUGE_PAGES == (first + count - 1) / HUGE_PAGES))
				in_vram[i] = false;
			EXPECT(blocks[i].device == in_vram[i] && blocks[i].system == !in_vram[i],
			       "round %d, %s %zu pages from %zu: page %zu is not there", round,
			       to_ram ? "to RAM" : "to VRAM", count, first, i);
		}
	}
	expect_pattern_from(memory, 0, MIB(6), 5);
}

/* --- Spans that are not one piece of memory -------------------------------- */

static void test_holes(const void *arg)
{
	__u32 *memory = map_small_pattern(MIB(8), 6);
	struct gpu gpu;

	(void)arg;
	open_idle_vm(&gpu, 0);
	munmap(memory, PAGE);
	munmap(memory + MIB(3) / 4, MIB(1));
	munmap(memory + (MIB(8) - 2 * PAGE) / 4, 2 * PAGE);
	EXPECT_OK(gpu_migrate(&gpu, memory, MIB(8), 0));
	expect_none(&gpu, memory, PAGE);
	expect_vram(&gpu, memory + PAGE / 4, MIB(3) - PAGE);
	expect_none(&gpu, memory + MIB(3) / 4, MIB(1));
	expect_vram(&gpu, memory + MIB(4) / 4, MIB(4) - 2 * PAGE);
	expect_none(&gpu, memory + (MIB(8) - 2 * PAGE) / 4, 2 * PAGE);
	expect_vram_used(&gpu, MIB(7) - 3 * PAGE);
	/* Nothing at all between them. */
	EXPECT_ERR(gpu_migrate(&gpu, memory + MIB(3) / 4, MIB(1), 0), -ENOENT);
	EXPECT_OK(gpu_migrate(&gpu, memory, MIB(8), TO_RAM));
	expect_ram(&gpu, memory + PAGE / 4, MIB(3) - PAGE);
	expect_pattern_from(memory, WORDS_PER_PAGE, MIB(3) - PAGE, 6);
	expect_pattern_from(memory, MIB(4) / 4, MIB(4) - 2 * PAGE, 6);
}

/* The rest of a huge page moves or is reported, and is intact. */
static void test_part_of_huge_page(const void *arg)
{
	__u32 *memory = map(MIB(4));
	struct drm_svm_stub_block block;
	struct gpu gpu;
	int err;

	(void)arg;
	open_idle_vm(&gpu, 0);
	if (madvise(memory, MIB(4), MADV_HUGEPAGE))
		ktap_skip("the kernel has no transparent huge pages");
	write_pattern(memory, MIB(4), 17);
	munmap(memory + MIB(1) / 4, PAGE);
	EXPECT_OK(gpu_migrate(&gpu, memory + MIB(2) / 4, MIB(2), 0));
	err = gpu_migrate(&gpu, memory, MIB(1), 0);
	EXPECT(!err || err == -EBUSY, "MIGRATE: %s", strerror(-err));
	EXPECT_OK(gpu_where(&gpu, memory, MIB(1), &block));
	EXPECT_EQ(block.system + block.device, MIB(1) / PAGE);
	EXPECT_EQ(!!block.system, !!err);
	expect_vram(&gpu, memory + MIB(2) / 4, MIB(2));
	expect_pattern_from(memory, 0, MIB(1), 17);
	expect_pattern_from(memory, MIB(1) / 4 + WORDS_PER_PAGE, MIB(3) - PAGE, 17);
}

static void test_several_mappings(const void *arg)
{
	__u32 *memory = map_small_pattern(MIB(6), 7);
	struct gpu gpu;

	(void)arg;
	open_idle_vm(&gpu, 0);
	EXPECT(!mprotect(memory + MIB(1) / 4, MIB(1), PROT_READ), "mprotect: %s", strerror(errno));
	EXPECT(!madvise(memory + MIB(3) / 4, MIB(1) + PAGE, MADV_DONTFORK), "madvise: %s",
	       strerror(errno));
	EXPECT_OK(gpu_migrate(&gpu, memory, MIB(6), 0));
	expect_vram(&gpu, memory, MIB(6));
	expect_pattern_from(memory, 0, MIB(6), 7);
	expect_ram(&gpu, memory, MIB(6));
	/* The rights are what they were. */
	EXPECT_OK(gpu_migrate(&gpu, memory, MIB(6), 0));
	EXPECT_ERR(gpu_fill(&gpu, memory + MIB(1) / 4, 1, 4), -EPERM);
	expect_pattern_from(memory, 0, MIB(6), 7);
}

/* Memory of a file cannot move; that beside it does. */
static void test_file(const void *arg)
{
	__u32 *memory = map_small_pattern(MIB(2), 16);
	__u32 *file = memory + MIB(1) / 4;
	int fd = memfd_create("test_migrate", MFD_CLOEXEC);
	struct gpu gpu;

	(void)arg;
	open_idle_vm(&gpu, 0);
	EXPECT(fd >= 0 && !ftruncate(fd, KIB(64)), "memfd: %s", strerror(errno));
	EXPECT(mmap(file, KIB(64), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0) == file,
	       "mmap: %s", strerror(errno));
	memset(file, 1, KIB(64));
	EXPECT_ERR(gpu_migrate(&gpu, memory, MIB(2), 0), -EBUSY);
	expect_vram(&gpu, memory, MIB(1));
	expect_ram(&gpu, file, KIB(64));
	expect_vram(&gpu, file + KIB(16), MIB(1) - KIB(64));
	EXPECT_OK(gpu_migrate(&gpu, memory, MIB(2), TO_RAM));
	expect_pattern_from(memory, 0, MIB(1), 16);
	expect_pattern_from(memory, MIB(1) / 4 + KIB(16), MIB(1) - KIB(64), 16);
}

/* Pages that are not present are zero afterwards, wherever they are. */
static void test_untouched(const void *arg)
{
	__u32 *memory = map(MIB(4));
	struct drm_svm_stub_block block;
	struct gpu gpu;
	__u64 sum;

	(void)arg;
	open_idle_vm(&gpu, 0);
	madvise(memory, MIB(4), MADV_NOHUGEPAGE);
	for (size_t i = 0; i < MIB(1) / 4; i++)
		memory[i] = 1;
	EXPECT_OK(gpu_migrate(&gpu, memory, MIB(4), 0));
	expect_vram(&gpu, memory, MIB(1));
	EXPECT_OK(gpu_where(&gpu, memory, MIB(4), &block));
	EXPECT_EQ(block.system, 0);
	EXPECT_OK(gpu_checksum(&gpu, memory, MIB(4), &sum));
	EXPECT_EQ(sum, MIB(1) / 4);
	for (size_t i = 0; i < MIB(4) / 4; i++)
		EXPECT(memory[i] == (i < MIB(1) / 4), "word %zu is %u", i, memory[i]);
}

/* A page that somebody holds cannot move; all others do. */
static void test_held_page(const void *arg)
{
	__u32 *memory = map_small_pattern(MIB(2), 8);
	__u32 *held = memory + 100 * WORDS_PER_PAGE;
	struct iovec iovec = { .iov_base = held, .iov_len = PAGE };
	static char sink[4096];
	struct gpu gpu;
	int pipe_fds[2];

	(void)arg;
	open_idle_vm(&gpu, 0);
	EXPECT(!pipe(pipe_fds), "pipe: %s", strerror(errno));
	EXPECT(vmsplice(pipe_fds[1], &iovec, 1, 0) == (ssize_t)PAGE, "vmsplice: %s",
	       strerror(errno));
	EXPECT_ERR(gpu_migrate(&gpu, memory, MIB(2), 0), -EBUSY);
	expect_ram(&gpu, held, PAGE);
	expect_vram(&gpu, memory, 100 * PAGE);
	expect_vram(&gpu, held + WORDS_PER_PAGE, MIB(2) - 101 * PAGE);
	EXPECT(read(pipe_fds[0], sink, sizeof(sink)) == (ssize_t)PAGE, "read: %s", strerror(errno));
	EXPECT_OK(gpu_migrate(&gpu, memory, MIB(2), 0));
	expect_vram(&gpu, memory, MIB(2));
	expect_pattern_from(memory, 0, MIB(2), 8);
}

/* --- VRAM comes to an end ---------------------------------------------------- */

static void test_vram_exhausted(const void *arg)
{
	__u32 *memory = map_pattern(SMALL_VRAM, 9), *other = map_pattern(SMALL_VRAM, 8);
	struct gpu gpu;
	struct bo hog;

	(void)arg;
	open_idle_vm(&gpu, 0);
	take_vram(&gpu, &hog);
	/* To the last page. */
	EXPECT_OK(gpu_migrate(&gpu, memory, SMALL_VRAM, 0));
	expect_vram(&gpu, memory, SMALL_VRAM);
	expect_vram_used(&gpu, gpu.info.vram_size);
	/* What is there already needs no more. */
	EXPECT_OK(gpu_migrate(&gpu, memory, SMALL_VRAM, 0));
	expect_vram(&gpu, memory, SMALL_VRAM);
	/* What comes last gets its place, and what was first gives it up. */
	EXPECT_OK(gpu_migrate(&gpu, other, SMALL_VRAM / 2, 0));
	expect_vram(&gpu, other, SMALL_VRAM / 2);
	expect_gpu_reads(&gpu, memory, SMALL_VRAM, 9);
	EXPECT_OK(bo_close(&gpu, &hog));
	EXPECT_OK(gpu_migrate(&gpu, memory, SMALL_VRAM, 0));
	expect_vram(&gpu, memory, SMALL_VRAM);
	expect_vram(&gpu, other, SMALL_VRAM / 2);
	expect_pattern_from(memory, 0, SMALL_VRAM, 9);
	expect_pattern_from(other, 0, SMALL_VRAM, 8);
}

/* Faults of the GPU for more than there is: all of it is served, from wherever it is. */
static void test_oversubscription(const void *arg)
{
	__u32 *memory = map(4 * SMALL_VRAM);
	struct drm_svm_stub_block block;
	struct gpu gpu;
	struct bo hog;
	__u64 sum;

	(void)arg;
	open_idle_vm(&gpu, DRM_SVM_STUB_VM_MIGRATE_ON_FAULT);
	take_vram(&gpu, &hog);
	EXPECT_OK(gpu_fill(&gpu, memory, 3, 4 * SMALL_VRAM));
	EXPECT_OK(gpu_where(&gpu, memory, 4 * SMALL_VRAM, &block));
	EXPECT_EQ(block.none, 0);
	EXPECT_OK(gpu_checksum(&gpu, memory, 4 * SMALL_VRAM, &sum));
	EXPECT_EQ(sum, 3 * 4 * SMALL_VRAM / 4);
	for (size_t i = 0; i < SMALL_VRAM; i++)
		EXPECT(memory[i] == 3, "word %zu is %u", i, memory[i]);
}

/* --- VRAM comes back ------------------------------------------------------- */

static void test_munmap(const void *arg)
{
	__u32 *memory = map_pattern(MIB(8), 10);
	struct gpu gpu;

	(void)arg;
	open_idle_vm(&gpu, 0);
	EXPECT_OK(gpu_migrate(&gpu, memory, MIB(8), 0));
	expect_vram_used(&gpu, MIB(8));
	munmap(memory, MIB(8));
	expect_vram_used(&gpu, 0);
}

/* A part of what was moved goes away: its VRAM is free at once, and the rest is as it was. */
static void test_partial_munmap(const void *arg)
{
	__u32 *memory = map_small_pattern(MIB(6), 11);
	struct gpu gpu;
	__u64 sum;

	(void)arg;
	open_idle_vm(&gpu, 0);
	EXPECT_OK(gpu_migrate(&gpu, memory, MIB(6), 0));
	EXPECT_OK(gpu_checksum(&gpu, memory, MIB(6), &sum));
	munmap(memory + 10 * WORDS_PER_PAGE, 3 * PAGE);
	expect_vram_used(&gpu, MIB(6) - 3 * PAGE);
	munmap(memory + MIB(1) / 4, MIB(4));
	expect_vram_used(&gpu, MIB(2) - 3 * PAGE);
	expect_vram(&gpu, memory, 10 * PAGE);
	expect_none(&gpu, memory + 10 * WORDS_PER_PAGE, 3 * PAGE);
	expect_vram(&gpu, memory + 13 * WORDS_PER_PAGE, MIB(1) - 13 * PAGE);
	expect_none(&gpu, memory + MIB(1) / 4, MIB(4));
	expect_vram(&gpu, memory + MIB(5) / 4, MIB(1));
	EXPECT_ERR(gpu_checksum(&gpu, memory, MIB(6), &sum), -EFAULT);
	EXPECT_OK(gpu_checksum(&gpu, memory + MIB(5) / 4, MIB(1), &sum));
	expect_pattern_from(memory, 0, 10 * PAGE, 11);
	expect_pattern_from(memory, 13 * WORDS_PER_PAGE, MIB(1) - 13 * PAGE, 11);
	expect_vram_used(&gpu, MIB(1));
	munmap(memory + MIB(5) / 4, MIB(1) / 2);
	expect_vram_used(&gpu, MIB(1) / 2);
	expect_pattern_from(memory, (MIB(5) + MIB(1) / 2) / 4, MIB(1) / 2, 11);
	expect_vram_used(&gpu, 0);
}

/* Others get what a part that went has left, while the rest is still in use. */
static void test_reuse(const void *arg)
{
	__u32 *memory, *other = map_small_pattern(MIB(2), 18);
	struct gpu gpu;
	struct bo hog;

	(void)arg;
	open_idle_vm(&gpu, 0);
	take_vram(&gpu, &hog);
	memory = map_small_pattern(SMALL_VRAM, 19);
	EXPECT_OK(gpu_migrate(&gpu, memory, SMALL_VRAM, 0));
	expect_vram_used(&gpu, gpu.info.vram_size);
	for (size_t i = 0; i < SMALL_VRAM / PAGE; i += 2)
		munmap(memory + i * WORDS_PER_PAGE, PAGE);
	expect_vram_used(&gpu, gpu.info.vram_size - SMALL_VRAM / 2);
	EXPECT_OK(gpu_migrate(&gpu, other, SMALL_VRAM / 2, 0));
	expect_vram_used(&gpu, gpu.info.vram_size);
	expect_gpu_reads(&gpu, other, SMALL_VRAM / 2, 18);
	for (size_t i = 1; i < SMALL_VRAM / PAGE; i += 2) {
		expect_vram(&gpu, memory + i * WORDS_PER_PAGE, PAGE);
		expect_pattern_from(memory, i * WORDS_PER_PAGE, PAGE, 19);
	}
	expect_pattern_from(other, 0, MIB(2), 18);
}

static void test_dontneed(const void *arg)
{
	__u32 *memory = map_small_pattern(MIB(6), 12);
	struct gpu gpu;

	(void)arg;
	open_idle_vm(&gpu, 0);
	EXPECT_OK(gpu_migrate(&gpu, memory, MIB(6), 0));
	madvise(memory + MIB(1) / 4, MIB(3), MADV_DONTNEED);
	expect_vram(&gpu, memory, MIB(1));
	expect_none(&gpu, memory + MIB(1) / 4, MIB(3));
	expect_vram_used(&gpu, MIB(3));
	EXPECT_EQ(memory[MIB(1) / 4], 0);
	expect_pattern_from(memory, 0, MIB(1), 12);
	expect_pattern_from(memory, MIB(4) / 4, MIB(2), 12);
	expect_vram_used(&gpu, 0);
}

static void test_process_exit(const void *arg)
{
	struct gpu gpu;

	(void)arg;
	open_idle_vm(&gpu, 0);
	for (int kill_it = 0; kill_it < 2; kill_it++) {
		int ready[2];
		char c = 0;
		pid_t pid;

		EXPECT(!pipe(ready), "pipe: %s", strerror(errno));
		pid = ktap_fork();
		if (!pid) {
			__u32 *memory = map_pattern(MIB(4), 13);
			struct gpu own;

			EXPECT_OK(gpu_open(&own, 0));
			EXPECT_OK(gpu_migrate(&own, memory, MIB(4), 0));
			EXPECT(write(ready[1], &c, 1) == 1, "write: %s", strerror(errno));
			if (kill_it)
				pause();
			_exit(0);
		}
		close(ready[1]);
		EXPECT(read(ready[0], &c, 1) == 1, "the child failed");
		if (kill_it) {
			expect_vram_used(&gpu, MIB(4));
			kill(pid, SIGKILL);
			waitpid(pid, NULL, 0);
		} else {
			ktap_join(pid);
		}
		expect_vram_used(&gpu, 0);
	}
}

/* VRAM that a child shares is free when the last of the two is done with it. */
static void test_fork(const void *arg)
{
	__u32 *memory = map_pattern(MIB(2), 14);
	struct gpu gpu;
	int go[2];
	pid_t pid;
	char c;

	(void)arg;
	open_idle_vm(&gpu, 0);
	EXPECT_OK(gpu_migrate(&gpu, memory, MIB(2), 0));
	EXPECT(!pipe(go), "pipe: %s", strerror(errno));
	pid = ktap_fork();
	if (!pid) {
		close(go[1]);
		EXPECT(read(go[0], &c, 1) == 0, "read: %s", strerror(errno));
		expect_pattern_from(memory, 0, MIB(2), 14);
		ktap_done();
	}
	munmap(memory, MIB(1));
	expect_pattern_from(memory, MIB(1) / 4, MIB(1), 14);
	close(go[1]);
	ktap_join(pid);
	expect_vram_used(&gpu, 0);
}

/* Everything at random, against a model of what each word has to be. */
static void test_random(const void *arg)
{
	const size_t words = MIB(3) / 4;
	__u32 *memory = map_small_pattern(MIB(3), 15), *model = map_pattern(MIB(3), 15);
	struct gpu gpu;

	(void)arg;
	open_idle_vm(&gpu, DRM_SVM_STUB_VM_MIGRATE_ON_FAULT);
	for (int i = 0; i < 200; i++) {
		size_t first = ktap_random() % words;
		size_t count = 1 + ktap_random() % (words - first) / (1 << ktap_random() % 10);
		size_t page = first & -WORDS_PER_PAGE;
		__u32 value = ktap_random();
		__u64 sum, expected = 0;

		switch (ktap_random() % 7) {
		case 0:
			EXPECT_OK(gpu_migrate(&gpu, memory + page, PAGE, 0));
			break;
		case 1:
			EXPECT_OK(gpu_migrate(&gpu, memory + page, MIB(3) - page * 4, 0));
			break;
		case 2:
			EXPECT_OK(gpu_migrate(&gpu, memory, (page * 4) + PAGE, TO_RAM));
			break;
		case 3:
			EXPECT_OK(gpu_fill(&gpu, memory + first, value, count * 4));
			for (size_t j = first; j < first + count; j++)
				model[j] = value;
			break;
		case 4:
			memory[first] = value;
			model[first] = value;
			break;
		case 5:
			madvise(memory + page, PAGE, MADV_DONTNEED);
			memset(model + page, 0, PAGE);
			break;
		default:
			EXPECT_OK(gpu_checksum(&gpu, memory + first, count * 4, &sum));
			for (size_t j = first; j < first + count; j++)
				expected += model[j];
			EXPECT(sum == expected,
			       "operation %d: the sum of %zu words from %zu is wrong", i, count,
			       first);
		}
	}
	for (size_t i = 0; i < words; i++)
		EXPECT(memory[i] == model[i], "word %zu is %#x, not %#x", i, memory[i], model[i]);
}

static const int huge_pages = MADV_HUGEPAGE;
static const int small_pages = MADV_NOHUGEPAGE;

static const struct ktap_case cases[] = {
	{ "there and back", test_there_and_back, NULL },
	{ "back by a touch of the CPU", test_back_by_touch, NULL },
	{ "what the GPU wrote comes back", test_written_in_vram, NULL },
	{ "any span, huge pages", test_any_span, &huge_pages },
	{ "any span, small pages", test_any_span, &small_pages },
	{ "holes", test_holes, NULL },
	{ "a part of a huge page", test_part_of_huge_page, NULL },
	{ "several mappings", test_several_mappings, NULL },
	{ "memory of a file", test_file, NULL },
	{ "untouched memory", test_untouched, NULL },
	{ "a page that is held", test_held_page, NULL },
	{ "VRAM exhausted", test_vram_exhausted, NULL },
	{ "oversubscription on a fault", test_oversubscription, NULL },
	{ "munmap frees VRAM", test_munmap, NULL },
	{ "munmap of a part", test_partial_munmap, NULL },
	{ "VRAM of a part is used again", test_reuse, NULL },
	{ "MADV_DONTNEED", test_dontneed, NULL },
	{ "the end of a process frees VRAM", test_process_exit, NULL },
	{ "fork", test_fork, NULL },
	{ "random operations", test_random, NULL },
};

int main(int argc, char **argv)
{
	return ktap_main(argc, argv, cases, ARRAY_SIZE(cases));
}
