// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Huge pages. Where the kernel can (7.3) one moves to VRAM and back as one folio; before
 * that it moves in pieces, and is small pages from then on. Either way it keeps its data,
 * whatever becomes of a part of it meanwhile.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "place.h"

#define SEED 41
#define HUGE_CLASS (DRM_SVM_STUB_SIZES - 1)

#ifndef MREMAP_DONTUNMAP
#define MREMAP_DONTUNMAP 4
#endif

static struct gpu gpu;

static bool moves_whole(void)
{
	return gpu.info.capabilities & DRM_SVM_STUB_CAP_HUGE;
}

static void to_vram(void *memory, size_t size)
{
	EXPECT_OK(gpu_migrate(&gpu, memory, size, 0));
	expect_vram(&gpu, memory, size);
}

/* In VRAM, whole or in pieces. */
static __u32 *map_moved(size_t size)
{
	__u32 *memory = map_huge_pattern(size, SEED);

	open_idle_vm(&gpu, 0);
	to_vram(memory, size);
	return memory;
}

/* --- There and back ------------------------------------------------------------- */

static __u64 huge_batches(const struct drm_svm_stub_device_stats *stats, int way)
{
	return stats->phase[way][HUGE_CLASS].batches;
}

static void test_there_and_back(const void *arg)
{
	const __u32 *workers = arg;
	const size_t size = MIB(16), count = size / HUGE_PAGE;
	__u32 *memory = map_huge_pattern(size, SEED);
	struct drm_svm_stub_migrate migrate = { .workers = *workers };
	struct drm_svm_stub_device_stats start, there, back;

	open_idle_vm(&gpu, 0);
	start = device_stats_of(&gpu);
	EXPECT_OK(gpu_migrate_as(&gpu, memory, size, &migrate));
	expect_vram(&gpu, memory, size);
	EXPECT_EQ(migrate.result[DRM_SVM_STUB_MOVED], size / PAGE);
	/* Those of the device count as well; what has moved in pieces is small pages. */
	EXPECT_EQ(huge_bytes(memory), moves_whole() ? size : 0);
	there = device_stats_of(&gpu);
	EXPECT_EQ(huge_batches(&there, DRM_SVM_STUB_WAY_TO_DEVICE) -
		  huge_batches(&start, DRM_SVM_STUB_WAY_TO_DEVICE), count);
	EXPECT_EQ(there.huge_moved - start.huge_moved, moves_whole() ? count : 0);
	expect_gpu_reads(&gpu, memory, size, SEED);

	expect_pattern(memory, size, SEED);
	expect_ram(&gpu, memory, size);
	back = device_stats_of(&gpu);
	/* Otherwise it is up to khugepaged. */
	if (moves_whole())
		EXPECT_EQ(huge_bytes(memory), size);
	EXPECT_EQ(back.huge_moved - there.huge_moved, moves_whole() ? count : 0);
	EXPECT_EQ(huge_batches(&back, DRM_SVM_STUB_WAY_CPU_FAULT) -
		  huge_batches(&there, DRM_SVM_STUB_WAY_CPU_FAULT), moves_whole() ? count : 0);
	expect_vram_used(&gpu, 0);
}

/* What the GPU has written comes back, by request. */
static void test_written(const void *arg)
{
	__u32 *memory = map_moved(MIB(4)), *source = map_pattern(MIB(4), SEED + 1);

	(void)arg;
	EXPECT_OK(gpu_copy(&gpu, memory, source, MIB(4)));
	expect_vram(&gpu, memory, MIB(4));
	EXPECT_OK(gpu_migrate(&gpu, memory, MIB(4), TO_RAM));
	expect_ram(&gpu, memory, MIB(4));
	if (moves_whole())
		EXPECT_EQ(huge_bytes(memory), MIB(4));
	expect_pattern(memory, MIB(4), SEED + 1);
}

/* A span that begins and ends within huge pages. */
static void test_parts(const void *arg)
{
	__u32 *memory = map_huge_pattern(MIB(6), SEED);
	struct drm_svm_stub_block block;
	int err;

	(void)arg;
	open_idle_vm(&gpu, 0);
	err = gpu_migrate(&gpu, (char *)memory + MIB(1), MIB(4), 0);
	EXPECT(!err || (err == -EBUSY && !moves_whole()), "MIGRATE: %s", strerror(-err));
	expect_vram(&gpu, (char *)memory + MIB(2), MIB(2));
	expect_ram(&gpu, memory, MIB(1));
	expect_ram(&gpu, (char *)memory + MIB(5), MIB(1));
	EXPECT_OK(gpu_where(&gpu, memory, MIB(6), &block));
	EXPECT_EQ(block.device, (err ? MIB(2) : MIB(4)) / PAGE);
	expect_gpu_reads(&gpu, memory, MIB(6), SEED);
	expect_pattern(memory, MIB(6), SEED);
	expect_vram_used(&gpu, 0);
}

/*
 * The GPU has a range of its own for the head, so that there cannot be one for all of the huge
 * page: it is looked at from its middle on.
 */
static void test_small_ranges(const void *arg)
{
	const size_t head = 64 << 10;
	char *memory = (char *)map(HUGE_PAGE);

	(void)arg;
	open_idle_vm(&gpu, 0);
	EXPECT_OK(munmap(memory + head, HUGE_PAGE - head));
	EXPECT_OK(gpu_fill(&gpu, memory, 1, head));
	map_at(memory + head, HUGE_PAGE - head, PROT_READ | PROT_WRITE,
	       MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1);
	write_pattern((__u32 *)memory, HUGE_PAGE, SEED);
	if (madvise(memory, HUGE_PAGE, MADV_HUGEPAGE) || madvise(memory, HUGE_PAGE, MADV_COLLAPSE))
		ktap_skip("the kernel makes no huge page of it");
	to_vram(memory, HUGE_PAGE);
	EXPECT_EQ(huge_bytes(memory), moves_whole() ? HUGE_PAGE : 0);
	expect_gpu_reads(&gpu, (__u32 *)memory, HUGE_PAGE, SEED);
	EXPECT_OK(gpu_fill(&gpu, memory + MIB(1), 7, PAGE));
	expect_pattern((__u32 *)memory, MIB(1), SEED);
	expect_words((__u32 *)(memory + MIB(1)), PAGE, 7);
	expect_pattern_from((__u32 *)memory, (MIB(1) + PAGE) / 4, MIB(1) - PAGE, SEED);
	expect_vram_used(&gpu, 0);
}

/* --- Nothing in it --------------------------------------------------------------- */

static __u32 *map_untouched(size_t size)
{
	__u32 *memory = map(size);

	open_idle_vm(&gpu, 0);
	if (madvise(memory, size, MADV_HUGEPAGE))
		ktap_skip("the kernel has no transparent huge pages");
	return memory;
}

/* Zero wherever it is, until somebody writes. */
static void expect_zeros(__u32 *memory)
{
	EXPECT_OK(gpu_migrate(&gpu, memory, MIB(2), 0));
	expect_gpu_sum(&gpu, memory, MIB(2), 0);
	EXPECT_OK(gpu_fill(&gpu, memory + MIB(1) / 4, 1, PAGE));
	expect_words(memory, MIB(1), 0);
	expect_words(memory + MIB(1) / 4, PAGE, 1);
	expect_words(memory + MIB(1) / 4 + WORDS_PER_PAGE, MIB(1) - PAGE, 0);
	munmap(memory, MIB(2));
	expect_vram_used(&gpu, 0);
}

static void test_untouched(const void *arg)
{
	(void)arg;
	expect_zeros(map_untouched(MIB(2)));
}

static void test_huge_zero_page(const void *arg)
{
	__u32 *memory = map_untouched(MIB(2));

	(void)arg;
	EXPECT_EQ(*(volatile __u32 *)memory, 0);
	expect_zeros(memory);
}

/* --- A part of it goes ------------------------------------------------------------- */

struct part {
	size_t start, size;
};

static void expect_rest(const __u32 *memory, const struct part *part)
{
	expect_pattern(memory, part->start, SEED);
	expect_pattern_from(memory, (part->start + part->size) / 4,
			    MIB(2) - part->start - part->size, SEED);
}

/* The rest is intact wherever it is looked for: by the GPU, then by the CPU. */
static void expect_rest_by_all(__u32 *memory, const struct part *part)
{
	const size_t behind = part->start + part->size;
	struct drm_svm_stub_block block;
	__u64 sum = 0, seen, seen_behind = 0;

	EXPECT_OK(gpu_where(&gpu, memory, MIB(2), &block));
	EXPECT_EQ(block.system + block.device, (MIB(2) - part->size) / PAGE);
	for (size_t i = 0; i < MIB(2) / 4; i++)
		if (i < part->start / 4 || i >= behind / 4)
			sum += pattern(SEED, i);
	EXPECT_OK(part->start ? gpu_checksum(&gpu, memory, part->start, &seen) : (seen = 0, 0));
	if (behind < MIB(2))
		EXPECT_OK(gpu_checksum(&gpu, memory + behind / 4, MIB(2) - behind, &seen_behind));
	EXPECT(seen + seen_behind == sum, "the GPU reads other data");
	expect_rest(memory, part);
}

static void test_munmap(const void *arg)
{
	const struct part *part = arg;
	__u32 *memory = map_moved(MIB(2));

	EXPECT(!munmap((char *)memory + part->start, part->size), "munmap: %s", strerror(errno));
	expect_rest_by_all(memory, part);
	/* What has gone is new, where it comes again. */
	map_at((char *)memory + part->start, part->size, PROT_READ | PROT_WRITE,
	       MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1);
	expect_words(memory + part->start / 4, part->size, 0);
	EXPECT_OK(gpu_migrate(&gpu, memory, MIB(2), TO_RAM));
	expect_rest(memory, part);
	expect_vram_used(&gpu, 0);
}

/*
 * While the GPU maps it, too: VRAM of what has gone is free when its range has been put right,
 * which VM_STATS waits for, and the rest has not moved.
 */
static void test_munmap_in_use(const void *arg)
{
	const struct part *part = arg;
	const size_t behind = part->start + part->size;
	__u32 *memory = map_moved(MIB(2));

	expect_gpu_reads(&gpu, memory, MIB(2), SEED);
	EXPECT(!munmap((char *)memory + part->start, part->size), "munmap: %s", strerror(errno));
	stats_of(&gpu);
	expect_vram_used(&gpu, MIB(2) - part->size);
	if (part->start)
		expect_vram(&gpu, memory, part->start);
	if (behind < MIB(2))
		expect_vram(&gpu, (char *)memory + behind, MIB(2) - behind);
	expect_rest_by_all(memory, part);
	expect_vram_used(&gpu, 0);
}

static void test_dontneed(const void *arg)
{
	const struct part *part = arg;
	__u32 *memory = map_moved(MIB(2));

	EXPECT(!madvise((char *)memory + part->start, part->size, MADV_DONTNEED), "madvise: %s",
	       strerror(errno));
	expect_rest_by_all(memory, part);
	expect_words(memory + part->start / 4, part->size, 0);
	expect_rest(memory, part);
	expect_vram_used(&gpu, 0);
}

static void test_mprotect(const void *arg)
{
	const struct part *part = arg;
	__u32 *memory = map_moved(MIB(2));

	EXPECT(!mprotect((char *)memory + part->start, part->size, PROT_READ), "mprotect: %s",
	       strerror(errno));
	EXPECT_ERR(gpu_fill(&gpu, (char *)memory + part->start, 1, 4), -EPERM);
	expect_gpu_reads(&gpu, memory, MIB(2), SEED);
	expect_pattern(memory, MIB(2), SEED);
	expect_vram_used(&gpu, 0);
}

/* Only the CPU looks, and only at one page of what is left. */
static void test_touch_after_munmap(const void *arg)
{
	const struct part *part = arg;
	__u32 *memory = map_moved(MIB(2));
	size_t at = part->start ? part->start - PAGE : part->start + part->size;

	EXPECT(!munmap((char *)memory + part->start, part->size), "munmap: %s", strerror(errno));
	EXPECT_EQ(((volatile __u32 *)memory)[at / 4], pattern(SEED, at / 4));
	expect_ram(&gpu, (char *)memory + at, PAGE);
	expect_rest_by_all(memory, part);
	munmap(memory, MIB(2));
	expect_vram_used(&gpu, 0);
}

/* MADV_FREE: each page has its data, or none any more. */
static void test_free(const void *arg)
{
	__u32 *memory = map_moved(MIB(2));

	(void)arg;
	EXPECT(!madvise(memory, MIB(2), MADV_FREE), "MADV_FREE: %s", strerror(errno));
	for (size_t i = 0; i < MIB(2) / 4; i++) {
		__u32 word = ((volatile __u32 *)memory)[i];

		EXPECT(word == pattern(SEED, i) || !word, "word %zu is %#x", i, word);
	}
	write_pattern(memory, MIB(2), SEED + 1);
	expect_gpu_reads(&gpu, memory, MIB(2), SEED + 1);
	expect_vram_used(&gpu, 0);
}

/* --- It moves in the address space ---------------------------------------------------- */

static void test_mremap(const void *arg)
{
	const size_t *offset = arg;
	__u32 *memory = map_moved(MIB(2)), *place = map(MIB(6));
	char *to = (char *)place + *offset;

	EXPECT(mremap(memory, MIB(2), MIB(2), MREMAP_MAYMOVE | MREMAP_FIXED, to) == to,
	       "mremap: %s", strerror(errno));
	expect_vram(&gpu, to, MIB(2));
	expect_gpu_reads(&gpu, (__u32 *)to, MIB(2), SEED);
	expect_pattern((__u32 *)to, MIB(2), SEED);
	expect_vram_used(&gpu, 0);
	/* There it goes to VRAM again, whatever it is made of now. */
	EXPECT_OK(gpu_migrate(&gpu, to, MIB(2), 0));
	expect_pattern((__u32 *)to, MIB(2), SEED);
}

static void test_mremap_before(const void *arg)
{
	const size_t *offset = arg;
	__u32 *memory = map_huge_pattern(MIB(2), SEED), *place = map(MIB(6));
	char *to = (char *)place + *offset;
	int err;

	open_idle_vm(&gpu, 0);
	EXPECT(mremap(memory, MIB(2), MIB(2), MREMAP_MAYMOVE | MREMAP_FIXED, to) == to,
	       "mremap: %s", strerror(errno));
	/* It is one page still, behind many entries of page tables: 6.x moves none such. */
	err = gpu_migrate(&gpu, to, MIB(2), 0);
	EXPECT(!err || (err == -EBUSY && !moves_whole()), "MIGRATE: %s", strerror(-err));
	expect_gpu_reads(&gpu, (__u32 *)to, MIB(2), SEED);
	expect_pattern((__u32 *)to, MIB(2), SEED);
	expect_vram_used(&gpu, 0);
}

/* The old place stays, and is empty. */
static void test_dontunmap(const void *arg)
{
	__u32 *memory = map_moved(MIB(2));
	__u32 *to = map(MIB(2));

	(void)arg;
	EXPECT(mremap(memory, MIB(2), MIB(2), MREMAP_MAYMOVE | MREMAP_FIXED | MREMAP_DONTUNMAP,
		      to) == to, "mremap: %s", strerror(errno));
	expect_none(&gpu, memory, MIB(2));
	expect_vram(&gpu, to, MIB(2));
	expect_words(memory, MIB(2), 0);
	expect_pattern(to, MIB(2), SEED);
	expect_vram_used(&gpu, 0);
}

/* --- Two processes ------------------------------------------------------------------------ */

/* How the child of a fork uses the page, in the order of the letters. */
struct fork {
	bool child_writes;
	bool parent_first;
	bool parent_exits;
};

static void use(__u32 *memory, bool writes, __u32 seed)
{
	expect_pattern(memory, MIB(2), SEED);
	if (writes)
		write_pattern(memory, MIB(2), seed);
	expect_pattern(memory, MIB(2), writes ? seed : SEED);
}

/* @users counts the processes that have found what they should. */
static void share_and_use(const struct fork *how, unsigned int *users)
{
	__u32 *memory = map_moved(MIB(2));
	int go[2];
	pid_t pid;
	char c;

	EXPECT(!pipe(go), "pipe: %s", strerror(errno));
	pid = fork();
	EXPECT(pid >= 0, "fork: %s", strerror(errno));
	if (!pid) {
		close(go[1]);
		if (how->parent_first || how->parent_exits)
			EXPECT(read(go[0], &c, 1) == 0, "read: %s", strerror(errno));
		use(memory, how->child_writes, SEED + 2);
		__atomic_add_fetch(users, 1, __ATOMIC_RELEASE);
		ktap_done();
	}
	if (how->parent_exits)
		return;
	if (how->parent_first)
		use(memory, true, SEED);
	close(go[1]);
	ktap_join(pid);
	use(memory, true, SEED);
	expect_gpu_reads(&gpu, memory, MIB(2), SEED);
	EXPECT_OK(gpu_fill(&gpu, memory, 6, MIB(2)));
	expect_words(memory, MIB(2), 6);
}

static void test_fork(const void *arg)
{
	unsigned int *users = map_at(NULL, PAGE, PROT_READ | PROT_WRITE,
				     MAP_SHARED | MAP_ANONYMOUS, -1);
	double end = now_ms() + 60e3;
	pid_t pid;

	open_idle_vm(&gpu, 0);
	pid = ktap_fork();
	if (!pid) {
		share_and_use(arg, users);
		ktap_done();
	}
	ktap_join(pid);
	/* Its child may be at it still, and has nobody else to tell. */
	while (!__atomic_load_n(users, __ATOMIC_ACQUIRE) && now_ms() < end)
		usleep(1000);
	EXPECT(*users, "the child has failed");
	EXPECT_OK(gpu_wait_free(&gpu, 60));
}

/* --- No place for it in one piece --------------------------------------------------------- */

#define CRUMB KIB(64)

/* All VRAM in objects, of which every second one goes again: free, and nowhere 2 MiB. */
static void break_up_vram(void)
{
	size_t count = gpu.info.vram_size / CRUMB;
	struct bo *objects = calloc(count, sizeof(*objects));

	EXPECT(objects, "out of memory");
	for (size_t i = 0; i < count; i++)
		EXPECT_OK(bo_create(&gpu, &objects[i], CRUMB, DRM_SVM_STUB_BO_VRAM));
	for (size_t i = 0; i < count; i += 2)
		EXPECT_OK(bo_close(&gpu, &objects[i]));
	free(objects);
	EXPECT_OK(gpu_info(&gpu, &gpu.info));
	EXPECT_EQ(gpu.info.vram_free, gpu.info.vram_size / 2);
}

static void test_fragmented(const void *arg)
{
	__u32 *memory = map_huge_pattern(MIB(8), SEED);
	struct drm_svm_stub_device_stats before, after;

	(void)arg;
	open_idle_vm(&gpu, 0);
	before = device_stats_of(&gpu);
	break_up_vram();
	to_vram(memory, MIB(8));
	after = device_stats_of(&gpu);
	EXPECT_EQ(after.huge_moved, before.huge_moved);
	expect_gpu_reads(&gpu, memory, MIB(8), SEED);
	EXPECT_OK(gpu_fill(&gpu, memory + MIB(3) / 4, 8, MIB(2)));
	expect_words(memory + MIB(3) / 4, MIB(2), 8);
	expect_pattern(memory, MIB(3), SEED);
	expect_pattern_from(memory, MIB(5) / 4, MIB(3), SEED);
}

/* --- Everything at random ------------------------------------------------------------------ */

static void check_all(const __u32 *memory, const __u32 *model)
{
	for (size_t i = 0; i < MIB(4) / 4; i++)
		EXPECT(memory[i] == model[i], "word %zu is %#x, not %#x", i, memory[i], model[i]);
}

static void change_at_random(__u32 *memory, __u32 *model)
{
	const size_t page = ktap_random() % (MIB(4) / PAGE) * WORDS_PER_PAGE;
	const size_t size = PAGE * (1 + ktap_random() % ((MIB(4) - page * 4) / PAGE));
	__u32 value = ktap_random();
	int err = 0;

	switch (ktap_random() % 8) {
	case 0:
	case 1:
		err = gpu_migrate(&gpu, memory, MIB(4), 0);
		break;
	case 2:
		err = gpu_migrate(&gpu, memory + page, size, 0);
		break;
	case 3:
		EXPECT_OK(gpu_fill(&gpu, memory + page, value, PAGE));
		for (size_t i = 0; i < WORDS_PER_PAGE; i++)
			model[page + i] = value;
		break;
	case 4:
		memory[page] = value;
		model[page] = value;
		break;
	case 5:
		madvise(memory + page, PAGE, MADV_DONTNEED);
		memset(model + page, 0, PAGE);
		break;
	case 6:
		madvise(memory, MIB(4), MADV_NOHUGEPAGE);
		madvise(memory, MIB(4), MADV_HUGEPAGE);
		mprotect(memory + page, PAGE, PROT_READ);
		mprotect(memory + page, PAGE, PROT_READ | PROT_WRITE);
		break;
	default:
		/* New memory in one huge page, so that there is one again. */
		munmap(memory, HUGE_PAGE);
		map_at(memory, HUGE_PAGE, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1);
		madvise(memory, HUGE_PAGE, MADV_HUGEPAGE);
		memset(memory, value, HUGE_PAGE);
		memset(model, value, HUGE_PAGE);
	}
	/* Kernels before 7.3 cannot move a huge page that is no longer mapped as one. */
	EXPECT(!err || (err == -EBUSY && !moves_whole()), "MIGRATE: %s", strerror(-err));
}

static void test_random(const void *arg)
{
	__u32 *memory = map_huge_pattern(MIB(4), SEED), *model = map_pattern(MIB(4), SEED);

	(void)arg;
	open_idle_vm(&gpu, 0);
	for (int round = 0; round < 120; round++) {
		change_at_random(memory, model);
		if (round % 16 == 15)
			check_all(memory, model);
	}
	check_all(memory, model);
	munmap(memory, MIB(4));
	expect_vram_used(&gpu, 0);
}

static const __u32 one = 1, four = 4;
static const size_t aligned, unaligned = KIB(20);
static const struct part head = { 0, PAGE }, quarter = { KIB(512), KIB(512) };
static const struct part half = { MIB(1), MIB(1) }, inner = { MIB(1), PAGE };
static const struct fork reading = {}, writing = { .child_writes = true };
static const struct fork parent_writes = { .parent_first = true };
static const struct fork orphan = { .parent_exits = true };
static const struct fork writing_orphan = { .child_writes = true, .parent_exits = true };

static const struct ktap_case cases[] = {
	{ "there and back", test_there_and_back, &one },
	{ "there and back, four workers", test_there_and_back, &four },
	{ "what the GPU wrote comes back", test_written, NULL },
	{ "parts of huge pages", test_parts, NULL },
	{ "small ranges", test_small_ranges, NULL },
	{ "untouched", test_untouched, NULL },
	{ "the huge zero page", test_huge_zero_page, NULL },
	{ "munmap of its head", test_munmap, &head },
	{ "munmap of a quarter", test_munmap, &quarter },
	{ "munmap of a half", test_munmap, &half },
	{ "munmap of an inner page", test_munmap, &inner },
	{ "munmap of its head in use", test_munmap_in_use, &head },
	{ "munmap of a quarter in use", test_munmap_in_use, &quarter },
	{ "munmap of a half in use", test_munmap_in_use, &half },
	{ "munmap of an inner page in use", test_munmap_in_use, &inner },
	{ "a touch after munmap of its head", test_touch_after_munmap, &head },
	{ "a touch after munmap of a half", test_touch_after_munmap, &half },
	{ "MADV_DONTNEED of a quarter", test_dontneed, &quarter },
	{ "MADV_DONTNEED of an inner page", test_dontneed, &inner },
	{ "MADV_FREE", test_free, NULL },
	{ "mprotect of its head", test_mprotect, &head },
	{ "mprotect of a quarter", test_mprotect, &quarter },
	{ "mremap", test_mremap, &aligned },
	{ "mremap to where no huge page can be", test_mremap, &unaligned },
	{ "mremap before it moves", test_mremap_before, &aligned },
	{ "mremap before it moves, unaligned", test_mremap_before, &unaligned },
	{ "MREMAP_DONTUNMAP", test_dontunmap, NULL },
	{ "fork, the child reads", test_fork, &reading },
	{ "fork, the child writes", test_fork, &writing },
	{ "fork, the parent writes first", test_fork, &parent_writes },
	{ "fork, the parent exits, the child reads", test_fork, &orphan },
	{ "fork, the parent exits, the child writes", test_fork, &writing_orphan },
	{ "fragmented VRAM", test_fragmented, NULL },
	{ "random operations", test_random, NULL },
};

int main(int argc, char **argv)
{
	return ktap_main(argc, argv, cases, ARRAY_SIZE(cases));
}
