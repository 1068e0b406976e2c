// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Kinds of memory behind a userptr, and spans of it of any size at any address: what the GPU
 * writes the CPU reads, and the other way round.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "place.h"
#include "userptr.h"

#define SIZE MIB(2)
#define SEED 21

/* Where spans of more than WINDOW_PAGES are bound. */
#define FAR_PAGE (8 * WINDOW_PAGES)

/* --- Anonymous memory ---------------------------------------------------------- */

static void test_small_pages(const void *arg)
{
	__u32 *memory = map_small(SIZE);
	struct window w;

	open_userptr_window(&w, arg, 0);
	bind_userptr(&w, 0, memory, SIZE, 0);
	expect_both_ways(&w, 0, memory, SIZE);
	EXPECT_EQ(stats_of(&w.gpu).userptrs, 1);
	EXPECT_OK(BIND(&w, UNMAP_OP(&w, 0, SIZE / PAGE)));
	expect_nothing(&w, 0, 4);
	EXPECT_EQ(stats_of(&w.gpu).userptrs, 0);
}

static void test_huge_pages(const void *arg)
{
	__u32 *memory = map_huge_pattern(2 * SIZE, SEED);
	struct window w;

	open_userptr_window(&w, arg, 0);
	bind_userptr(&w, FAR_PAGE, memory, 2 * SIZE, 0);
	expect_gpu_reads(&w.gpu, at(&w, FAR_PAGE), 2 * SIZE, SEED);
	EXPECT_EQ(huge_bytes(memory), 2 * SIZE);
	expect_both_ways(&w, FAR_PAGE, memory, 2 * SIZE);
	/* One that is split under it. */
	EXPECT(!mprotect(memory + SIZE / 8, PAGE, PROT_READ), "mprotect: %s", strerror(errno));
	expect_no_write(&w, FAR_PAGE + SIZE / 2 / PAGE, -EPERM);
	EXPECT(!mprotect(memory + SIZE / 8, PAGE, PROT_READ | PROT_WRITE), "mprotect: %s",
	       strerror(errno));
	expect_both_ways(&w, FAR_PAGE, memory, 2 * SIZE);
}

/* Nobody has touched it: it is made for the GPU, and is zero. */
static void test_untouched(const void *arg)
{
	__u32 *memory = map(SIZE);
	struct window w;

	open_userptr_window(&w, arg, 0);
	bind_userptr(&w, 0, memory, SIZE, 0);
	expect_zeros(&w, 0, SIZE / PAGE);
	EXPECT_OK(gpu_fill(&w.gpu, at(&w, 8), 5, PAGE));
	expect_words(memory + 8 * WORDS_PER_PAGE, PAGE, 5);
	expect_words(memory, 8 * PAGE, 0);
}

/* Spans that begin and end anywhere in blocks, and mappings anywhere in those of the GPU. */
static void test_odd_spans(const void *arg)
{
	static const struct {
		size_t skip, size, page; /* the first two in bytes */
	} spans[] = {
		{ 0, PAGE, 0 },
		{ HUGE_PAGE - PAGE, 2 * PAGE, 511 },
		{ PAGE, HUGE_PAGE, 3 },
		{ HUGE_PAGE - 7 * PAGE, 2 * HUGE_PAGE + 12 * PAGE, 1 },
		{ 17 * PAGE, 3 * HUGE_PAGE - 18 * PAGE, 510 },
		{ HUGE_PAGE, HUGE_PAGE, 256 },
	};
	__u32 *memory = map(4 * HUGE_PAGE);
	struct window w;

	open_userptr_window(&w, arg, 0);
	for (size_t i = 0; i < ARRAY_SIZE(spans); i++) {
		__u32 *start = memory + spans[i].skip / 4;
		size_t size = spans[i].size, page = FAR_PAGE + spans[i].page;

		/* Beside what is bound nothing changes. */
		write_pattern(memory, 4 * HUGE_PAGE, SEED);
		bind_userptr(&w, page, start, size, 0);
		expect_both_ways(&w, page, start, size);
		expect_pattern(memory, spans[i].skip, SEED);
		expect_pattern_from(memory, (spans[i].skip + size) / 4,
				    4 * HUGE_PAGE - spans[i].skip - size, SEED);
		expect_nothing(&w, page - 1, 1);
		expect_nothing(&w, page + size / PAGE, 1);
		EXPECT_OK(BIND(&w, UNMAP_OP(&w, page, size / PAGE)));
	}
}

static void test_stack(const void *arg)
{
	__u32 buffer[4 * WORDS_PER_PAGE];
	__u32 *page = (__u32 *)(((uintptr_t)buffer + PAGE - 1) & -PAGE);
	struct window w;

	open_userptr_window(&w, arg, 0);
	bind_userptr(&w, 0, page, 2 * PAGE, 0);
	expect_both_ways(&w, 0, page, 2 * PAGE);
}

/* Memory of several mappings of the CPU behind one of the GPU. */
static void test_several_vmas(const void *arg)
{
	char *memory = (char *)map_small(SIZE);
	int fd = open_pattern_file("/tmp", SIZE / 4, SEED);
	struct window w;

	map_at(memory + SIZE / 4, SIZE / 4, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd);
	map_at(memory + SIZE / 2, SIZE / 4, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_FIXED, fd);
	open_userptr_window(&w, arg, 0);
	bind_userptr(&w, 0, memory, SIZE, 0);
	expect_both_ways(&w, 0, (__u32 *)memory, SIZE);
	close(fd);
}

/* --- Files and memory that processes share --------------------------------------- */

static const char *const directories[] = { "/", "/tmp" };

static void test_shared_file(const void *arg)
{
	for (size_t i = 0; i < ARRAY_SIZE(directories); i++) {
		int fd = open_pattern_file(directories[i], SIZE, SEED);
		__u32 *memory = map_at(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd);
		__u32 *other = map_at(NULL, SIZE, PROT_READ, MAP_SHARED, fd);
		struct window w;

		open_userptr_window(&w, arg, 0);
		bind_userptr(&w, 0, memory, SIZE, 0);
		expect_gpu_reads(&w.gpu, at(&w, 0), SIZE, SEED);
		EXPECT_OK(gpu_fill(&w.gpu, at(&w, 8), 4, PAGE));
		expect_words(other + 8 * WORDS_PER_PAGE, PAGE, 4);
		EXPECT(pwrite(fd, &(__u32){ 6 }, 4, 8 * PAGE + 4) == 4, "pwrite: %s",
		       strerror(errno));
		expect_gpu_sum(&w.gpu, at(&w, 8), 8, 10);
		expect_both_ways(&w, 0, memory, SIZE);
		close(fd);
	}
}

/* What the GPU writes is the process's own, and the file stays as it is. */
static void test_private_file(const void *arg)
{
	for (size_t i = 0; i < ARRAY_SIZE(directories); i++) {
		int fd = open_pattern_file(directories[i], SIZE, SEED);
		__u32 *memory = map_at(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd);
		__u32 *shared = map_at(NULL, SIZE, PROT_READ, MAP_SHARED, fd);
		struct window w;

		open_userptr_window(&w, arg, 0);
		bind_userptr(&w, 0, memory, SIZE, 0);
		expect_gpu_reads(&w.gpu, at(&w, 0), SIZE, SEED);
		expect_both_ways(&w, 0, memory, SIZE);
		expect_pattern(shared, SIZE, SEED);
		close(fd);
	}
}

/* A file that becomes shorter has no memory there, and has some again when it grows. */
static void test_truncate(const void *arg)
{
	int fd = open_pattern_file("/tmp", SIZE, SEED);
	__u32 *memory = map_at(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd);
	struct window w;

	open_userptr_window(&w, arg, 0);
	bind_userptr(&w, 0, memory, SIZE, 0);
	EXPECT(!ftruncate(fd, SIZE / 2), "ftruncate: %s", strerror(errno));
	expect_no_memory(&w, SIZE / 2 / PAGE);
	expect_gpu_reads(&w.gpu, at(&w, 0), SIZE / 2, SEED);
	EXPECT(!ftruncate(fd, SIZE), "ftruncate: %s", strerror(errno));
	expect_zeros(&w, SIZE / 2 / PAGE, SIZE / 2 / PAGE);
	expect_gpu_reads(&w.gpu, at(&w, 0), SIZE / 2, SEED);
	expect_both_ways(&w, 0, memory, SIZE);
	close(fd);
}

static void test_memfd(const void *arg)
{
	int fd = memfd_create("test_userptr_kinds", MFD_CLOEXEC);
	struct window w;
	__u32 *memory;

	EXPECT(fd >= 0 && !ftruncate(fd, SIZE), "memfd_create: %s", strerror(errno));
	memory = map_at(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd);
	open_userptr_window(&w, arg, 0);
	bind_userptr(&w, 0, memory, SIZE, 0);
	expect_both_ways(&w, 0, memory, SIZE);
	EXPECT(!fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 8 * PAGE, 8 * PAGE),
	       "fallocate: %s", strerror(errno));
	expect_zeros(&w, 8, 8);
	expect_both_ways(&w, 0, memory, SIZE);
	close(fd);
}

/* Two processes, each with a userptr to the same memory, hand data to each other. */
static void test_shared_memory(const void *arg)
{
	__u32 *memory = map_at(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1);
	int to_child[2], to_parent[2];
	struct window w;
	char c = 0;
	pid_t pid;

	EXPECT(!pipe(to_child) && !pipe(to_parent), "pipe: %s", strerror(errno));
	pid = ktap_fork();
	if (!pid) {
		close(to_child[1]);
		open_userptr_window(&w, arg, 0);
		bind_userptr(&w, 0, memory, SIZE, 0);
		for (__u32 round = 0; round < 4; round++) {
			EXPECT(read(to_child[0], &c, 1) == 1, "read: %s", strerror(errno));
			expect_gpu_sum(&w.gpu, at(&w, 0), SIZE, (2ull * round + 1) * SIZE / 4);
			EXPECT_OK(gpu_fill(&w.gpu, at(&w, 0), 2 * round + 2, SIZE));
			EXPECT(write(to_parent[1], &c, 1) == 1, "write: %s", strerror(errno));
		}
		ktap_done();
	}
	close(to_parent[1]);
	open_userptr_window(&w, arg, 0);
	bind_userptr(&w, 0, memory, SIZE, 0);
	for (__u32 round = 0; round < 4; round++) {
		EXPECT_OK(gpu_fill(&w.gpu, at(&w, 0), 2 * round + 1, SIZE));
		EXPECT(write(to_child[1], &c, 1) == 1, "write: %s", strerror(errno));
		EXPECT(read(to_parent[0], &c, 1) == 1, "the child has failed");
		expect_gpu_sum(&w.gpu, at(&w, 0), SIZE, (2ull * round + 2) * SIZE / 4);
	}
	ktap_join(pid);
	expect_words(memory, SIZE, 8);
}

/* --- Huge pages that the administrator has set aside -------------------------------- */

static __u32 *map_hugetlb(size_t size, int flags)
{
	int fd = open("/proc/sys/vm/nr_hugepages", O_WRONLY | O_CLOEXEC);
	__u32 *memory;

	if (fd < 0 || write(fd, "4", 1) != 1)
		ktap_skip("the kernel has no huge pages to give");
	close(fd);
	memory = mmap(NULL, size, PROT_READ | PROT_WRITE,
		      flags | MAP_ANONYMOUS | MAP_HUGETLB, -1, 0);
	if (memory == MAP_FAILED)
		ktap_skip("the kernel has no huge pages to give");
	return memory;
}

static void test_hugetlb(const void *arg)
{
	static const int kinds[] = { MAP_SHARED, MAP_PRIVATE };

	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		__u32 *memory = map_hugetlb(HUGE_PAGE, kinds[i]);
		struct window w;

		open_userptr_window(&w, arg, 0);
		bind_userptr(&w, 0, memory, HUGE_PAGE, 0);
		expect_both_ways(&w, 0, memory, HUGE_PAGE);
		/* A part of one, too. */
		bind_userptr(&w, 0, memory + 5 * WORDS_PER_PAGE, 3 * PAGE, 0);
		expect_both_ways(&w, 0, memory + 5 * WORDS_PER_PAGE, 3 * PAGE);
		EXPECT(!munmap(memory, HUGE_PAGE), "munmap: %s", strerror(errno));
		expect_no_memory(&w, 0);
		expect_no_memory(&w, 20);
	}
}

/* --- What may not be written, or not be used ----------------------------------------- */

static void test_read_only_mapping(const void *arg)
{
	__u32 *memory = map_small(SIZE);
	struct window w;

	write_pattern(memory, SIZE, SEED);
	open_userptr_window(&w, arg, 0);
	bind_userptr(&w, 0, memory, SIZE, DRM_SVM_STUB_BIND_READONLY);
	expect_gpu_reads(&w.gpu, at(&w, 0), SIZE, SEED);
	expect_no_write(&w, 0, -EPERM);
	/* The process may write, and the GPU sees that. */
	memory[0] = 1;
	expect_gpu_sum(&w.gpu, at(&w, 0), 4, 1);
	/* Another mapping of the same memory may write. */
	bind_userptr(&w, SIZE / PAGE, memory, SIZE, 0);
	EXPECT_OK(gpu_fill(&w.gpu, at(&w, SIZE / PAGE), 2, SIZE));
	expect_gpu_sum(&w.gpu, at(&w, 0), SIZE, 2ull * SIZE / 4);
	expect_no_write(&w, 0, -EPERM);
}

static void test_read_only_memory(const void *arg)
{
	int fd = open_pattern_file("/tmp", SIZE, SEED);
	__u32 *memory = map_at(NULL, SIZE, PROT_READ, MAP_PRIVATE, fd);
	struct window w;

	open_userptr_window(&w, arg, 0);
	EXPECT_ERR(BIND(&w, USERPTR_OP(&w, 0, SIZE / PAGE, memory, 0)), -EPERM);
	EXPECT_EQ(stats_of(&w.gpu).userptrs, 0);
	expect_nothing(&w, 0, 1);
	bind_userptr(&w, 0, memory, SIZE, DRM_SVM_STUB_BIND_READONLY);
	expect_gpu_reads(&w.gpu, at(&w, 0), SIZE, SEED);
	expect_no_write(&w, 0, -EPERM);
	expect_pattern(memory, SIZE, SEED);
	close(fd);
}

/* Memory that nobody may read, that is not there, or that is no memory. */
static void test_no_memory(const void *arg)
{
	static const __u32 ways[] = { 0, DRM_SVM_STUB_BIND_READONLY };
	char *none = map_at(NULL, 4 * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1);
	char *hole = (char *)map_small(8 * PAGE);
	char *half = (char *)map_small(8 * PAGE);
	struct window w;

	munmap(hole, 4 * PAGE);
	EXPECT(!mprotect(half + 4 * PAGE, 4 * PAGE, PROT_NONE), "mprotect: %s", strerror(errno));
	open_userptr_window(&w, arg, 0);
	for (size_t i = 0; i < ARRAY_SIZE(ways); i++) {
		EXPECT_ERR(BIND(&w, USERPTR_OP(&w, 0, 4, none, ways[i])), -EFAULT);
		EXPECT_ERR(BIND(&w, USERPTR_OP(&w, 0, 4, hole, ways[i])), -EFAULT);
		EXPECT_ERR(BIND(&w, USERPTR_OP(&w, 0, 8, hole, ways[i])), -EFAULT);
		EXPECT_ERR(BIND(&w, USERPTR_OP(&w, 0, 8, half, ways[i])), -EFAULT);
		EXPECT_OK(BIND(&w, USERPTR_OP(&w, 0, 4, half, ways[i])));
		EXPECT_OK(BIND(&w, UNMAP_OP(&w, 0, 4)));
		EXPECT_OK(BIND(&w, USERPTR_OP(&w, 0, 4, hole + 4 * PAGE, ways[i])));
		EXPECT_OK(BIND(&w, UNMAP_OP(&w, 0, 4)));
	}
	EXPECT_EQ(stats_of(&w.gpu).userptrs, 0);
}

/* Memory of devices is none of the process's. */
static void test_object_mapping(const void *arg)
{
	struct window w;
	struct bo bo;

	open_userptr_window(&w, arg, 0);
	make_bo(&w, &bo, 8, 0, 1);
	EXPECT_ERR(BIND(&w, USERPTR_OP(&w, 0, 8, bo.memory, 0)), -EFAULT);
	EXPECT_EQ(stats_of(&w.gpu).userptrs, 0);
}

static const struct ktap_case cases[] = {
	IN_BOTH("small pages", test_small_pages),
	IN_BOTH("huge pages", test_huge_pages),
	IN_BOTH("memory that nobody has touched", test_untouched),
	IN_BOTH("spans of any size at any address", test_odd_spans),
	IN_BOTH("the stack", test_stack),
	IN_BOTH("several mappings of the process", test_several_vmas),
	IN_BOTH("a shared file", test_shared_file),
	IN_BOTH("a private file", test_private_file),
	IN_BOTH("a file that is truncated", test_truncate),
	IN_BOTH("a memfd", test_memfd),
	IN_BOTH("shared memory of two processes", test_shared_memory),
	IN_BOTH("hugetlb", test_hugetlb),
	IN_BOTH("a read-only mapping", test_read_only_mapping),
	IN_BOTH("read-only memory", test_read_only_memory),
	IN_BOTH("no memory", test_no_memory),
	IN_BOTH("a mapping of an object", test_object_mapping),
};

int main(int argc, char **argv)
{
	return ktap_main(argc, argv, cases, ARRAY_SIZE(cases));
}
