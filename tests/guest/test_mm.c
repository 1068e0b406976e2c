// SPDX-License-Identifier: GPL-2.0-only OR MIT
/* The GPU sees what happens to the memory of the process while it is mapped. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "memory.h"

/* --- Mappings that change ------------------------------------------------- */

static void test_munmap_in_the_middle(const void *arg)
{
	const size_t size = MIB(4), hole = MIB(1) + 3 * PAGE, hole_size = 5 * PAGE;
	char *memory = (char *)map(size);
	struct gpu gpu;
	__u64 sum;

	open_vm(&gpu, arg);
	EXPECT_OK(gpu_fill(&gpu, memory, 5, size));
	expect_place(&gpu, arg, memory, size);
	munmap(memory + hole, hole_size);
	EXPECT_ERR(gpu_checksum(&gpu, memory + hole, PAGE, &sum), -EFAULT);
	EXPECT_ERR(gpu_fill(&gpu, memory + hole + hole_size - 4, 1, 4), -EFAULT);
	EXPECT_ERR(gpu_checksum(&gpu, memory, size, &sum), -EFAULT);
	/* The neighbours live on. */
	expect_gpu_sum(&gpu, memory, hole, 5 * hole / 4);
	expect_gpu_sum(&gpu, memory + hole + hole_size, size - hole - hole_size,
		       5 * (size - hole - hole_size) / 4);
	expect_words((__u32 *)memory, hole, 5);
	expect_words((__u32 *)(memory + hole + hole_size), size - hole - hole_size, 5);
	/* New memory in the hole is new. */
	map_at(memory + hole, hole_size, PROT_READ | PROT_WRITE,
	       MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1);
	expect_gpu_sum(&gpu, memory, size, 5 * (size - hole_size) / 4);
}

static void test_dontneed(const void *arg)
{
	__u32 *memory = map(MIB(2));
	struct gpu gpu;

	open_vm(&gpu, arg);
	EXPECT_OK(gpu_fill(&gpu, memory, 5, MIB(2)));
	expect_place(&gpu, arg, memory, MIB(2));
	EXPECT(!madvise(memory + 4 * WORDS_PER_PAGE, 8 * PAGE, MADV_DONTNEED), "madvise: %s",
	       strerror(errno));
	expect_gpu_sum(&gpu, memory, MIB(2), 5ull * (MIB(2) - 8 * PAGE) / 4);
	EXPECT(!madvise(memory, MIB(2), MADV_DONTNEED), "madvise: %s", strerror(errno));
	expect_gpu_sum(&gpu, memory, MIB(2), 0);
	expect_words(memory, MIB(2), 0);
}

static void test_mremap(const void *arg)
{
	__u32 *old = map(MIB(2)), *new = map(MIB(2)), *moved;
	struct gpu gpu;
	__u64 sum;

	open_vm(&gpu, arg);
	write_pattern(old, MIB(2), 6);
	expect_gpu_reads(&gpu, old, MIB(2), 6);
	expect_place(&gpu, arg, old, MIB(2));
	moved = mremap(old, MIB(2), MIB(2), MREMAP_MAYMOVE | MREMAP_FIXED, new);
	EXPECT(moved == new, "mremap: %s", strerror(errno));
	EXPECT_ERR(gpu_checksum(&gpu, old, 4, &sum), -EFAULT);
	expect_gpu_reads(&gpu, new, MIB(2), 6);
	EXPECT_OK(gpu_fill(&gpu, new, 1, PAGE));
	/* Other memory where it was. */
	map_at(old, MIB(2), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1);
	expect_gpu_sum(&gpu, old, MIB(2), 0);
	for (size_t i = WORDS_PER_PAGE; i < MIB(2) / 4; i++)
		EXPECT_EQ(new[i], pattern(6, i));
	expect_words(new, PAGE, 1);
}

static __u32 *map_used(struct gpu *gpu, const void *variant, size_t size, __u32 seed)
{
	__u32 *memory = map_small(size);

	open_vm(gpu, variant);
	write_pattern(memory, size, seed);
	expect_gpu_reads(gpu, memory, size, seed);
	expect_place(gpu, variant, memory, size);
	return memory;
}

/* Where it is, with @size in place of MIB(2). */
static void resize(__u32 *memory, size_t size)
{
	EXPECT(mremap(memory, MIB(2), size, 0) == memory, "mremap: %s", strerror(errno));
}

/* More memory at the end is new; what is there stays as the GPU has it. */
static void test_mremap_grow(const void *arg)
{
	struct gpu gpu;
	__u32 *memory = map_used(&gpu, arg, MIB(2), 20);

	resize(memory, MIB(3));
	madvise(memory, MIB(3), MADV_NOHUGEPAGE);
	expect_gpu_reads(&gpu, memory, MIB(2), 20);
	EXPECT_EQ(gpu.faults, 0);
	expect_gpu_sum(&gpu, memory + MIB(2) / 4, MIB(1), 0);
	EXPECT_OK(gpu_fill(&gpu, memory + MIB(2) / 4, 1, MIB(1)));
	expect_pattern(memory, MIB(2), 20);
	expect_words(memory + MIB(2) / 4, MIB(1), 1);
}

/* Less memory: the end has gone, and the rest is there as before. */
static void test_mremap_shrink(const void *arg)
{
	struct gpu gpu;
	__u32 *memory = map_used(&gpu, arg, MIB(2), 21);
	__u64 sum;

	resize(memory, MIB(1));
	EXPECT_EQ(pages_mapped(&gpu, memory + MIB(1) / 4, MIB(1)), 0);
	EXPECT_ERR(gpu_checksum(&gpu, memory + MIB(1) / 4, 4, &sum), -EFAULT);
	expect_gpu_reads(&gpu, memory, MIB(1), 21);
	/* Why one fault and not none says test_unmap. */
	EXPECT(gpu.faults <= 1, "%u faults for what is left", gpu.faults);
	EXPECT_OK(gpu_fill(&gpu, memory, 2, MIB(1)));
	expect_words(memory, MIB(1), 2);
}

/* It moves because it grows, and there is something behind it. */
static void test_mremap_grow_elsewhere(const void *arg)
{
	struct gpu gpu;
	__u32 *old = map_used(&gpu, arg, MIB(2), 22), *new;
	__u64 sum;

	map_at((char *)old + MIB(2), PAGE, PROT_NONE,
	       MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1);
	new = mremap(old, MIB(2), MIB(4), MREMAP_MAYMOVE);
	EXPECT(new != MAP_FAILED && new != old, "mremap: %s", strerror(errno));
	EXPECT_ERR(gpu_checksum(&gpu, old, 4, &sum), -EFAULT);
	expect_gpu_reads(&gpu, new, MIB(2), 22);
	expect_gpu_sum(&gpu, new + MIB(2) / 4, MIB(2), 0);
	expect_pattern(new, MIB(2), 22);
}

/* The addresses stay, and what was there moves: zeros are left. */
static void test_mremap_dontunmap(const void *arg)
{
	struct gpu gpu;
	__u32 *old = map_used(&gpu, arg, MIB(2), 23), *new = map_small(MIB(2));

	EXPECT(mremap(old, MIB(2), MIB(2), MREMAP_MAYMOVE | MREMAP_FIXED | MREMAP_DONTUNMAP,
		      new) == new, "mremap: %s", strerror(errno));
	expect_gpu_sum(&gpu, old, MIB(2), 0);
	expect_gpu_reads(&gpu, new, MIB(2), 23);
	EXPECT_OK(gpu_fill(&gpu, old, 3, MIB(2)));
	expect_words(old, MIB(2), 3);
	expect_pattern(new, MIB(2), 23);
}

/* What was at the new place, and in use, is gone. */
static void test_mremap_over(const void *arg)
{
	struct gpu gpu;
	__u32 *memory = map_used(&gpu, arg, MIB(2), 24), *other = map_small(MIB(2));

	write_pattern(other, MIB(2), 25);
	expect_gpu_reads(&gpu, other, MIB(2), 25);
	EXPECT(mremap(memory, MIB(1), MIB(1), MREMAP_MAYMOVE | MREMAP_FIXED, other) == other,
	       "mremap: %s", strerror(errno));
	expect_gpu_reads(&gpu, other, MIB(1), 24);
	EXPECT_ERR(gpu_fill(&gpu, memory, 1, 4), -EFAULT);
	EXPECT_OK(gpu_fill(&gpu, other, 4, PAGE));
	expect_words(other, PAGE, 4);
	expect_pattern_from(other, WORDS_PER_PAGE, MIB(1) - PAGE, 24);
	expect_pattern_from(other, MIB(1) / 4, MIB(1), 25);
	expect_pattern_from(memory, MIB(1) / 4, MIB(1), 24);
}

/* Rights move along: the GPU reads at the new place, and writes when the process may. */
static void test_mremap_read_only(const void *arg)
{
	struct gpu gpu;
	__u32 *old = map_used(&gpu, arg, MIB(2), 27), *new = map_small(MIB(2));

	EXPECT(!mprotect(old, MIB(2), PROT_READ), "mprotect: %s", strerror(errno));
	EXPECT(mremap(old, MIB(2), MIB(2), MREMAP_MAYMOVE | MREMAP_FIXED, new) == new,
	       "mremap: %s", strerror(errno));
	expect_gpu_reads(&gpu, new, MIB(2), 27);
	EXPECT_ERR(gpu_fill(&gpu, new, 6, PAGE), -EPERM);
	EXPECT_ERR(gpu_fill(&gpu, old, 6, PAGE), -EFAULT);
	EXPECT(!mprotect(new, MIB(2), PROT_READ | PROT_WRITE), "mprotect: %s", strerror(errno));
	EXPECT_OK(gpu_fill(&gpu, new, 6, PAGE));
	expect_words(new, PAGE, 6);
	expect_pattern_from(new, WORDS_PER_PAGE, MIB(2) - PAGE, 27);
}

/* Shared memory is in both places when it is moved with size 0. */
static void test_mremap_duplicate(const void *arg)
{
	__u32 *memory = map_at(NULL, MIB(2), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1);
	struct gpu gpu;
	__u32 *second;

	open_vm(&gpu, arg);
	write_pattern(memory, MIB(2), 26);
	expect_gpu_reads(&gpu, memory, MIB(2), 26);
	second = mremap(memory, 0, MIB(2), MREMAP_MAYMOVE);
	EXPECT(second != MAP_FAILED, "mremap: %s", strerror(errno));
	EXPECT_OK(gpu_fill(&gpu, second, 5, MIB(1)));
	expect_gpu_sum(&gpu, memory, MIB(1), 5 * MIB(1) / 4);
	expect_pattern_from(second, MIB(1) / 4, MIB(1), 26);
}

/* --- fork ----------------------------------------------------------------- */

/* After fork() each sees what was there, and none sees what the other writes. */
static void test_fork(const void *arg)
{
	__u32 *memory = map(MIB(2));
	struct gpu gpu;
	int go[2];
	char c = 0;
	pid_t pid;

	open_vm(&gpu, arg);
	EXPECT_OK(gpu_fill(&gpu, memory, 0, MIB(2)));
	write_pattern(memory, MIB(2), 8);
	expect_gpu_reads(&gpu, memory, MIB(2), 8);
	expect_place(&gpu, arg, memory, MIB(2));
	EXPECT(!pipe(go), "pipe: %s", strerror(errno));

	pid = ktap_fork();
	if (!pid) {
		/* The parent writes first. */
		EXPECT(read(go[0], &c, 1) == 1, "the parent is gone");
		expect_pattern(memory, MIB(2), 8);
		memory[1] = 77;
		memory[MIB(1) / 4] = 77;
		ktap_done();
	}
	EXPECT_OK(gpu_fill(&gpu, memory, 3, PAGE));
	memory[MIB(1) / 4 + 1] = 4;
	EXPECT(write(go[1], &c, 1) == 1, "write: %s", strerror(errno));
	ktap_join(pid);

	expect_words(memory, PAGE, 3);
	for (size_t i = WORDS_PER_PAGE; i < MIB(2) / 4; i++)
		EXPECT_EQ(memory[i], i == MIB(1) / 4 + 1 ? 4 : pattern(8, i));
	EXPECT_OK(gpu_fill(&gpu, memory, 1, MIB(2)));
	expect_words(memory, MIB(2), 1);
}

/* The child's own GPU VM, on memory that is shared until somebody writes. */
static void test_fork_child_gpu(const void *arg)
{
	__u32 *memory = map(MIB(2));
	struct gpu gpu;
	pid_t pid;

	open_vm(&gpu, arg);
	write_pattern(memory, MIB(2), 9);
	expect_gpu_reads(&gpu, memory, MIB(2), 9);
	expect_place(&gpu, arg, memory, MIB(2));

	pid = ktap_fork();
	if (!pid) {
		struct gpu own;

		open_vm(&own, arg);
		expect_gpu_reads(&own, memory, MIB(2), 9);
		EXPECT_OK(gpu_fill(&own, memory, 12, MIB(1)));
		expect_words(memory, MIB(1), 12);
		expect_gpu_sum(&own, memory, MIB(1), 12 * MIB(1) / 4);
		ktap_done();
	}
	ktap_join(pid);
	expect_gpu_reads(&gpu, memory, MIB(2), 9);
	expect_pattern(memory, MIB(2), 9);
}

/* The parent is gone before its child looks at the memory that is in VRAM. */
static void test_fork_orphan(const void *arg)
{
	__u32 *memory = map(MIB(2));
	int ready[2];
	char c = 0;
	pid_t pid;

	EXPECT(!pipe(ready), "pipe: %s", strerror(errno));
	pid = ktap_fork();
	if (!pid) {
		pid_t parent = getpid(), child;
		struct gpu gpu;

		/* A skip of the child would be taken for a failure. */
		EXPECT_OK(gpu_open(&gpu, 0));
		if (*(const bool *)arg && !gpu_can_migrate(&gpu))
			ktap_done();
		open_vm(&gpu, arg);
		write_pattern(memory, MIB(2), 10);
		expect_gpu_reads(&gpu, memory, MIB(2), 10);
		child = fork();
		EXPECT(child >= 0, "fork: %s", strerror(errno));
		if (child)
			ktap_done();
		close(gpu.fd);
		while (getppid() == parent)
			usleep(1000);
		expect_pattern(memory, MIB(2), 10);
		c = 1;
		EXPECT(write(ready[1], &c, 1) == 1, "write: %s", strerror(errno));
		ktap_done();
	}
	close(ready[1]);
	ktap_join(pid);
	if (read(ready[0], &c, 1) != 1) {
		struct gpu gpu;

		open_vm(&gpu, arg);
		EXPECT(false, "the orphan failed");
	}
}

static __u64 pagemap_entry(const void *address)
{
	int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	__u64 entry = 0;

	EXPECT(pread(fd, &entry, 8, (uintptr_t)address / PAGE * 8) == 8, "pagemap: %s",
	       strerror(errno));
	close(fd);
	return entry;
}

/* A GPU that reads does not break the sharing of pages. */
static void test_read_keeps_cow(const void *arg)
{
	const __u64 frame = (1ull << 55) - 1;
	__u32 *memory = map(MIB(2));
	struct gpu gpu;
	__u64 before;
	pid_t pid;
	int go[2];
	char c;

	(void)arg;
	open_vm(&gpu, &ram);
	madvise(memory, MIB(2), MADV_NOHUGEPAGE);
	write_pattern(memory, MIB(2), 11);
	EXPECT(!pipe(go), "pipe: %s", strerror(errno));
	pid = ktap_fork();
	if (!pid) {
		close(go[1]);
		EXPECT(read(go[0], &c, 1) == 0, "read: %s", strerror(errno));
		expect_pattern(memory, MIB(2), 11);
		ktap_done();
	}
	before = pagemap_entry(memory + WORDS_PER_PAGE) & frame;
	EXPECT(before, "/proc/self/pagemap shows no page frames");
	expect_gpu_reads(&gpu, memory, MIB(2), 11);
	EXPECT((pagemap_entry(memory + WORDS_PER_PAGE) & frame) == before,
	       "a read of the GPU has copied the page");
	/* A write has to. */
	EXPECT_OK(gpu_fill(&gpu, memory, 1, 2 * PAGE));
	EXPECT((pagemap_entry(memory + WORDS_PER_PAGE) & frame) != before,
	       "the GPU has written to a shared page");
	close(go[1]);
	ktap_join(pid);
}

static const struct ktap_case cases[] = {
	IN_RAM("munmap in the middle", test_munmap_in_the_middle),
	IN_VRAM("munmap in the middle", test_munmap_in_the_middle),
	IN_RAM("MADV_DONTNEED", test_dontneed),
	IN_VRAM("MADV_DONTNEED", test_dontneed),
	IN_RAM("mremap", test_mremap),
	IN_VRAM("mremap", test_mremap),
	IN_RAM("mremap, more", test_mremap_grow),
	IN_VRAM("mremap, more", test_mremap_grow),
	IN_RAM("mremap, less", test_mremap_shrink),
	IN_VRAM("mremap, less", test_mremap_shrink),
	IN_RAM("mremap, more elsewhere", test_mremap_grow_elsewhere),
	IN_VRAM("mremap, more elsewhere", test_mremap_grow_elsewhere),
	IN_RAM("mremap, addresses stay", test_mremap_dontunmap),
	IN_VRAM("mremap, addresses stay", test_mremap_dontunmap),
	IN_RAM("mremap over other memory", test_mremap_over),
	IN_VRAM("mremap over other memory", test_mremap_over),
	IN_RAM("mremap, read-only", test_mremap_read_only),
	IN_VRAM("mremap, read-only", test_mremap_read_only),
	IN_RAM("mremap of size 0", test_mremap_duplicate),
	IN_RAM("fork", test_fork),
	IN_VRAM("fork", test_fork),
	IN_RAM("fork, GPU of the child", test_fork_child_gpu),
	IN_VRAM("fork, GPU of the child", test_fork_child_gpu),
	IN_RAM("fork, parent gone", test_fork_orphan),
	IN_VRAM("fork, parent gone", test_fork_orphan),
	IN_RAM("reading keeps pages shared", test_read_keeps_cow),
};

int main(int argc, char **argv)
{
	return ktap_main(argc, argv, cases, ARRAY_SIZE(cases));
}
