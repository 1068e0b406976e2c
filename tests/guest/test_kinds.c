// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Kinds of memory beyond what malloc() gives, which test_svm begins with: files, memory that
 * processes share, huge pages that the administrator has set aside, the stack, mappings of devices,
 * and ranges that are partly in RAM and partly in VRAM.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "memory.h"
#include "program.h"

#define SIZE MIB(2)
#define SEED 11

/* --- Files ------------------------------------------------------------------------ */

/* The file systems that are there: the one that the guest has booted with, and a tmpfs. */
static const char *const directories[] = { "/", "/tmp" };

static __u32 *map_file(int fd, size_t size, int prot, int flags)
{
	return map_at(NULL, size, prot, flags, fd);
}

/* What read() says is in the file. */
static void expect_in_file(int fd, size_t offset, size_t size, __u32 value)
{
	__u32 words[WORDS_PER_PAGE];

	for (; size; size -= PAGE, offset += PAGE) {
		EXPECT(pread(fd, words, PAGE, offset) == (ssize_t)PAGE, "pread: %s",
		       strerror(errno));
		expect_words(words, PAGE, value);
	}
}

static void test_shared_file(const void *arg)
{
	for (size_t i = 0; i < ARRAY_SIZE(directories); i++) {
		int fd = open_pattern_file(directories[i], SIZE, SEED);
		__u32 *memory = map_file(fd, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED);
		struct gpu gpu;

		open_vm(&gpu, arg);
		expect_gpu_reads(&gpu, memory, SIZE, SEED);
		EXPECT_OK(gpu_fill(&gpu, memory, 3, SIZE / 2));
		expect_in_file(fd, 0, SIZE / 2, 3);
		/* What is written to the file is there for the GPU. */
		EXPECT(pwrite(fd, &(__u32){ 5 }, 4, 8) == 4, "pwrite: %s", strerror(errno));
		expect_gpu_sum(&gpu, memory, 16, 3 + 3 + 5 + 3);
		expect_pattern_from(memory, SIZE / 8, SIZE / 2, SEED);
		/* The data outlives the mapping and the VM. */
		munmap(memory, SIZE);
		EXPECT_OK(gpu_close(&gpu));
		expect_in_file(fd, PAGE, PAGE, 3);
		close(fd);
	}
}

static void test_private_file(const void *arg)
{
	for (size_t i = 0; i < ARRAY_SIZE(directories); i++) {
		int fd = open_pattern_file(directories[i], SIZE, SEED);
		__u32 *memory = map_file(fd, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE);
		__u32 *shared = map_file(fd, SIZE, PROT_READ, MAP_SHARED);
		struct gpu gpu;

		open_vm(&gpu, arg);
		expect_gpu_reads(&gpu, memory, SIZE, SEED);
		/* A page that nobody wrote is the file's, and what the file gets is seen. */
		EXPECT(pwrite(fd, &(__u32){ 7 }, 4, 0) == 4, "pwrite: %s", strerror(errno));
		expect_gpu_sum(&gpu, memory, 4, 7);
		EXPECT_OK(gpu_fill(&gpu, memory, 4, SIZE / 2));
		expect_words(memory, SIZE / 2, 4);
		expect_pattern_from(shared, 1, SIZE - 4, SEED);
		EXPECT(shared[0] == 7, "the file has %u", shared[0]);
		close(fd);
	}
}

/* The GPU may write to a file only where the process may. */
static void test_read_only_file(const void *arg)
{
	int fd = open_pattern_file("/tmp", SIZE, SEED);
	__u32 *shared = map_file(fd, SIZE, PROT_READ, MAP_SHARED);
	__u32 *private = map_file(fd, SIZE, PROT_READ, MAP_PRIVATE);
	struct gpu gpu;

	open_vm(&gpu, arg);
	expect_gpu_reads(&gpu, shared, SIZE, SEED);
	expect_gpu_reads(&gpu, private, SIZE, SEED);
	EXPECT_EQ(pages_writable(&gpu, shared, SIZE), 0);
	EXPECT_EQ(pages_writable(&gpu, private, SIZE), 0);
	EXPECT_ERR(gpu_fill(&gpu, shared, 1, 4), -EPERM);
	EXPECT_ERR(gpu_fill(&gpu, private, 1, 4), -EPERM);
	expect_pattern(shared, SIZE, SEED);
}

/* A sealed file takes no writes, although this mapping of it could be made writable. */
static void test_sealed_file(const void *arg)
{
	int fd = memfd_create("test_kinds", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	__u32 *memory;
	struct gpu gpu;

	EXPECT(fd >= 0 && !ftruncate(fd, SIZE), "memfd_create: %s", strerror(errno));
	memory = map_file(fd, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED);
	write_pattern(memory, SIZE, SEED);
	munmap(memory, SIZE);
	EXPECT(!fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE), "F_ADD_SEALS: %s", strerror(errno));
	memory = map_file(fd, SIZE, PROT_READ, MAP_PRIVATE);
	open_vm(&gpu, arg);
	expect_gpu_reads(&gpu, memory, SIZE, SEED);
	EXPECT_ERR(gpu_fill(&gpu, memory, 1, 4), -EPERM);
	/* What is private is the process's own, once it may write. */
	EXPECT(!mprotect(memory, SIZE, PROT_READ | PROT_WRITE), "mprotect: %s", strerror(errno));
	EXPECT_OK(gpu_fill(&gpu, memory, 2, PAGE));
	expect_words(memory, PAGE, 2);
	memory = map_file(fd, SIZE, PROT_READ, MAP_PRIVATE);
	expect_pattern(memory, SIZE, SEED);
}

/* The file becomes shorter and longer while programs run on it. */
static void test_truncate_under_program(const void *arg)
{
	int fd = open_pattern_file("/tmp", SIZE, SEED), failed = 0;
	__u32 *memory = map_file(fd, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED);
	struct gpu gpu;

	open_vm(&gpu, arg);
	for (__u32 round = 1; round <= 16; round++) {
		struct program program;
		int err;

		start_fill(&program, &gpu, memory, round, SIZE);
		while (!has_ended(&program)) {
			EXPECT(!ftruncate(fd, ktap_random() % 512 * PAGE), "ftruncate: %s",
			       strerror(errno));
			EXPECT(!ftruncate(fd, SIZE), "ftruncate: %s", strerror(errno));
		}
		err = finish(&program);
		EXPECT(!err || err == -EFAULT || err == -EBUSY, "FILL: %s", strerror(-err));
		failed += !!err;
		for (size_t i = 0; i < SIZE / 4; i++)
			EXPECT(!memory[i] || memory[i] <= round || memory[i] == pattern(SEED, i),
			       "word %zu is %#x", i, memory[i]);
		EXPECT_OK(gpu_fill(&gpu, memory, round, SIZE));
		expect_in_file(fd, 0, SIZE, round);
	}
	ktap_note("%d of 16 programs found the file too short", failed);
	EXPECT(!ftruncate(fd, PAGE), "ftruncate: %s", strerror(errno));
	EXPECT_ERR(gpu_fill(&gpu, memory, 1, 2 * PAGE), -EFAULT);
	expect_in_file(fd, 0, PAGE, 1);
}

/* Pages of a file that have to stay in memory. */
static void test_locked_file(const void *arg)
{
	int fd = open_pattern_file("/tmp", SIZE, SEED);
	__u32 *memory = map_file(fd, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED);
	struct gpu gpu;

	EXPECT(!mlock(memory, SIZE), "mlock: %s", strerror(errno));
	open_vm(&gpu, arg);
	expect_gpu_reads(&gpu, memory, SIZE, SEED);
	EXPECT_OK(gpu_fill(&gpu, memory, 6, SIZE));
	expect_in_file(fd, 0, SIZE, 6);
	EXPECT(!munlock(memory, SIZE), "munlock: %s", strerror(errno));
	expect_gpu_sum(&gpu, memory, SIZE, 6ull * SIZE / 4);
	EXPECT_EQ(gpu.faults, 0);
}

/* A hole that is punched is zero for the GPU at once. */
static void test_punch_hole(const void *arg)
{
	int fd = open_pattern_file("/tmp", SIZE, SEED);
	__u32 *memory = map_file(fd, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED);
	struct gpu gpu;

	open_vm(&gpu, arg);
	EXPECT_OK(gpu_fill(&gpu, memory, 3, SIZE));
	EXPECT(!fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 8 * PAGE, 8 * PAGE),
	       "fallocate: %s", strerror(errno));
	expect_gpu_sum(&gpu, memory, SIZE, 3ull * (SIZE - 8 * PAGE) / 4);
	EXPECT_OK(gpu_fill(&gpu, memory + 8 * WORDS_PER_PAGE, 4, PAGE));
	expect_in_file(fd, 8 * PAGE, PAGE, 4);
	expect_in_file(fd, 9 * PAGE, PAGE, 0);
}

/* --- Memory that processes share --------------------------------------------------- */

/* Two processes, each with a VM of its own, hand data to each other. */
static void share(const void *variant, __u32 *memory)
{
	int to_child[2], to_parent[2];
	struct gpu gpu;
	pid_t pid;
	char c = 0;

	open_vm(&gpu, variant);
	EXPECT(!pipe(to_child) && !pipe(to_parent), "pipe: %s", strerror(errno));
	pid = ktap_fork();
	if (!pid) {
		struct gpu own;

		close(to_child[1]);
		open_vm(&own, variant);
		for (__u32 round = 0; round < 8; round++) {
			EXPECT(read(to_child[0], &c, 1) == 1, "read: %s", strerror(errno));
			expect_gpu_sum(&own, memory, SIZE, (2ull * round + 1) * SIZE / 4);
			EXPECT_OK(gpu_fill(&own, memory, 2 * round + 2, SIZE));
			EXPECT(write(to_parent[1], &c, 1) == 1, "write: %s", strerror(errno));
		}
		ktap_done();
	}
	close(to_parent[1]);
	for (__u32 round = 0; round < 8; round++) {
		EXPECT_OK(gpu_fill(&gpu, memory, 2 * round + 1, SIZE));
		EXPECT(write(to_child[1], &c, 1) == 1, "write: %s", strerror(errno));
		EXPECT(read(to_parent[0], &c, 1) == 1, "the child has failed");
		expect_gpu_sum(&gpu, memory, SIZE, (2ull * round + 2) * SIZE / 4);
	}
	ktap_join(pid);
	expect_words(memory, SIZE, 16);
}

static void test_share_anonymous(const void *arg)
{
	share(arg, map_at(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1));
}

static void test_share_file(const void *arg)
{
	share(arg, map_file(open_pattern_file("/", SIZE, SEED), SIZE, PROT_READ | PROT_WRITE, MAP_SHARED));
}

static void set_huge_pages(const char *count)
{
	int fd = open("/proc/sys/vm/nr_hugepages", O_WRONLY | O_CLOEXEC);

	if (fd < 0 || write(fd, count, 1) != 1)
		ktap_skip("the kernel has no huge pages to give");
	close(fd);
}

/* Shared huge pages of the administrator's, between two VMs and a child. */
static void test_share_hugetlb(const void *arg)
{
	struct drm_svm_stub_block block;
	struct gpu one, two;
	__u32 *memory;
	pid_t pid;

	open_vm(&one, arg);
	open_vm(&two, arg);
	set_huge_pages("2");
	memory = mmap(NULL, 2 * HUGE_PAGE, PROT_READ | PROT_WRITE,
		      MAP_SHARED | MAP_ANONYMOUS | MAP_HUGETLB, -1, 0);
	if (memory == MAP_FAILED)
		ktap_skip("the kernel has no huge pages to give");
	write_pattern(memory, 2 * HUGE_PAGE, SEED);
	expect_gpu_reads(&one, memory, 2 * HUGE_PAGE, SEED);
	EXPECT_OK(gpu_fill(&two, memory, 3, HUGE_PAGE));
	expect_gpu_sum(&one, memory, HUGE_PAGE, 3 * HUGE_PAGE / 4);
	EXPECT_OK(gpu_where(&one, memory, 2 * HUGE_PAGE, &block));
	EXPECT_EQ(block.device, 0);
	pid = ktap_fork();
	if (!pid) {
		expect_words(memory, HUGE_PAGE, 3);
		memory[0] = 4;
		ktap_done();
	}
	ktap_join(pid);
	expect_gpu_sum(&two, memory, 4, 4);
	/* One of the two goes. */
	munmap(memory, HUGE_PAGE);
	EXPECT_ERR(gpu_fill(&one, memory, 1, 4), -EFAULT);
	expect_pattern_from(memory, HUGE_PAGE / 4, HUGE_PAGE, SEED);
	expect_gpu_sum(&one, memory + HUGE_PAGE / 4, 4, pattern(SEED, HUGE_PAGE / 4));
	munmap(memory + HUGE_PAGE / 4, HUGE_PAGE);
	set_huge_pages("0");
}

/* A private mapping of huge pages after fork(): the parent's GPU gets a copy of its own. */
static void test_private_hugetlb(const void *arg)
{
	struct gpu gpu;
	__u32 *memory;
	int go[2];
	char c = 0;
	pid_t pid;

	open_vm(&gpu, arg);
	set_huge_pages("2");
	memory = mmap(NULL, HUGE_PAGE, PROT_READ | PROT_WRITE,
		      MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB, -1, 0);
	if (memory == MAP_FAILED)
		ktap_skip("the kernel has no huge pages to give");
	write_pattern(memory, HUGE_PAGE, SEED);
	expect_gpu_reads(&gpu, memory, HUGE_PAGE, SEED);
	EXPECT(!pipe(go), "pipe: %s", strerror(errno));
	pid = ktap_fork();
	if (!pid) {
		EXPECT(read(go[0], &c, 1) == 1, "read: %s", strerror(errno));
		expect_pattern(memory, HUGE_PAGE, SEED);
		ktap_done();
	}
	EXPECT_OK(gpu_fill(&gpu, memory, 2, HUGE_PAGE));
	EXPECT(write(go[1], &c, 1) == 1, "write: %s", strerror(errno));
	ktap_join(pid);
	expect_words(memory, HUGE_PAGE, 2);
	munmap(memory, HUGE_PAGE);
	set_huge_pages("0");
}

/* --- Memory that is none ---------------------------------------------------------- */

/* A buffer object that the process has mapped shows it pages that are no memory to mirror. */
static void test_object_mapping(const void *arg)
{
	__u32 *memory = map_small(PAGE);
	struct gpu gpu;
	struct bo bo;
	__u64 sum;

	open_vm(&gpu, arg);
	EXPECT_OK(bo_create(&gpu, &bo, SIZE, 0));
	write_pattern(bo.memory, SIZE, SEED);
	EXPECT_ERR(gpu_checksum(&gpu, bo.memory, 4, &sum), -EFAULT);
	EXPECT_ERR(gpu_fill(&gpu, bo.memory, 1, SIZE), -EFAULT);
	EXPECT_ERR(gpu_copy(&gpu, memory, bo.memory, 4), -EFAULT);
	expect_pattern(bo.memory, SIZE, SEED);
	EXPECT_OK(bo_close(&gpu, &bo));
}

/*
 * Secret memory is for the eyes of the process alone: the kernel itself has no mapping of it, and
 * a device is not to look at it either.
 */
static void test_secret(const void *arg)
{
	int fd = syscall(SYS_memfd_secret, O_CLOEXEC);
	__u32 *memory;
	struct gpu gpu;
	__u64 sum;

	if (fd < 0)
		ktap_skip("the kernel keeps no secrets");
	EXPECT(!ftruncate(fd, SIZE), "ftruncate: %s", strerror(errno));
	memory = map_file(fd, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED);
	write_pattern(memory, SIZE, SEED);
	open_vm(&gpu, arg);
	EXPECT_ERR(gpu_checksum(&gpu, memory, 4, &sum), -EFAULT);
	EXPECT_ERR(gpu_fill(&gpu, memory, 1, 4), -EFAULT);
	expect_pattern(memory, SIZE, SEED);
}

/* The stack grows when the CPU uses it, and not when the GPU does. */
static void test_stack(const void *arg)
{
	const size_t depth = KIB(512);
	char here, *below = (char *)((uintptr_t)&here & -PAGE) - depth;
	struct gpu gpu;

	open_vm(&gpu, arg);
	EXPECT_ERR(gpu_fill(&gpu, below, 1, 4), -EFAULT);
	{
		volatile char *array = __builtin_alloca(depth + PAGE);

		array[0] = 1;
	}
	EXPECT_OK(gpu_fill(&gpu, below, 2, PAGE));
	EXPECT(*(volatile __u32 *)below == 2, "the stack has %u", *(volatile __u32 *)below);
}

/* --- Part in RAM, part in VRAM -------------------------------------------------------- */

static void check_mix(const char *file, int line, struct gpu *gpu, const void *memory,
		      unsigned int in_ram, unsigned int in_vram)
{
	struct drm_svm_stub_block block;

	ktap_check_err(file, line, "RESIDENCY", gpu_where(gpu, memory, SIZE, &block), 0);
	if (block.system != in_ram || block.device != in_vram)
		ktap_fail(file, line, "%u pages are in RAM and %u in VRAM, not %u and %u",
			  block.system, block.device, in_ram, in_vram);
}

#define expect_mix(...) check_mix(__FILE__, __LINE__, __VA_ARGS__)

/* One range over both. The GPU reads and writes all of it where it is. */
static void test_mixed(const void *arg)
{
	__u32 *memory = map_small(SIZE);
	struct gpu gpu;

	(void)arg;
	open_vm(&gpu, &ram);
	if (!gpu_can_migrate(&gpu))
		ktap_skip("the device cannot migrate");
	write_pattern(memory, SIZE, SEED);
	EXPECT_OK(gpu_migrate(&gpu, memory + 64 * WORDS_PER_PAGE, 128 * PAGE, 0));
	EXPECT_OK(gpu_migrate(&gpu, memory + 400 * WORDS_PER_PAGE, PAGE, 0));
	expect_mix(&gpu, memory, 512 - 129, 129);
	expect_gpu_reads(&gpu, memory, SIZE, SEED);
	EXPECT_EQ(gpu.faults, 1);
	expect_mix(&gpu, memory, 512 - 129, 129);
	EXPECT_OK(gpu_fill(&gpu, memory, 2, SIZE));
	expect_mix(&gpu, memory, 512 - 129, 129);
	/* What the CPU takes back goes, and nothing else changes. */
	EXPECT(memory[400 * WORDS_PER_PAGE] == 2, "the data has changed");
	expect_mix(&gpu, memory, 512 - 128, 128);
	expect_gpu_sum(&gpu, memory, SIZE, 2ull * SIZE / 4);
	expect_words(memory, SIZE, 2);
}

/*
 * A page that is missing before pages in VRAM: HMM brings those back to RAM on its way, because
 * somebody who wants a page made has no owner's privilege. The data is what counts.
 */
static void test_mixed_with_holes(const void *arg)
{
	struct drm_svm_stub_block block;
	__u32 *memory = map_small(SIZE);
	struct gpu gpu;
	__u64 expected = 0;

	(void)arg;
	open_vm(&gpu, &ram);
	if (!gpu_can_migrate(&gpu))
		ktap_skip("the device cannot migrate");
	write_pattern(memory, SIZE, SEED);
	EXPECT_OK(gpu_migrate(&gpu, memory, SIZE, 0));
	for (size_t page = 0; page < 512; page += 64)
		EXPECT(!madvise(memory + page * WORDS_PER_PAGE, PAGE, MADV_DONTNEED),
		       "madvise: %s", strerror(errno));
	for (size_t i = 0; i < SIZE / 4; i++)
		if (i / WORDS_PER_PAGE % 64)
			expected += pattern(SEED, i);
	expect_gpu_sum(&gpu, memory, SIZE, expected);
	EXPECT_OK(gpu_where(&gpu, memory, SIZE, &block));
	EXPECT_EQ(block.none, 0);
	ktap_note("%u pages are in VRAM after that, %u in RAM", block.device, block.system);
	EXPECT_OK(gpu_fill(&gpu, memory, 1, PAGE));
	for (size_t i = WORDS_PER_PAGE; i < SIZE / 4; i++)
		EXPECT(memory[i] == (i / WORDS_PER_PAGE % 64 ? pattern(SEED, i) : 0),
		       "word %zu is %#x", i, memory[i]);
}

/* Operands of a program may be of any kinds. */
static void test_kinds_in_one_program(const void *arg)
{
	int fd = open_pattern_file("/tmp", SIZE, SEED);
	__u32 *file = map_file(fd, SIZE, PROT_READ, MAP_SHARED);
	__u32 *shared = map_at(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1);
	__u32 *own = map_small(SIZE);
	struct gpu gpu;

	open_vm(&gpu, arg);
	write_pattern(own, SIZE, SEED + 1);
	EXPECT_OK(gpu_add(&gpu, shared, file, own, SIZE));
	for (size_t i = 0; i < SIZE / 4; i++)
		EXPECT_EQ(shared[i], pattern(SEED, i) + pattern(SEED + 1, i));
	EXPECT_OK(gpu_copy(&gpu, own, file, SIZE));
	expect_pattern(own, SIZE, SEED);
}

static const struct ktap_case cases[] = {
	IN_RAM("shared file", test_shared_file),
	IN_VRAM("shared file", test_shared_file),
	IN_RAM("private file", test_private_file),
	IN_VRAM("private file", test_private_file),
	IN_RAM("read-only file", test_read_only_file),
	IN_VRAM("read-only file", test_read_only_file),
	IN_RAM("sealed file", test_sealed_file),
	IN_RAM("truncate under a program", test_truncate_under_program),
	IN_VRAM("truncate under a program", test_truncate_under_program),
	IN_RAM("locked file", test_locked_file),
	IN_RAM("a hole in a file", test_punch_hole),
	IN_RAM("anonymous memory of two processes", test_share_anonymous),
	IN_VRAM("anonymous memory of two processes", test_share_anonymous),
	IN_RAM("a file of two processes", test_share_file),
	IN_RAM("hugetlb of two VMs", test_share_hugetlb),
	IN_VRAM("hugetlb of two VMs", test_share_hugetlb),
	IN_RAM("private hugetlb and fork", test_private_hugetlb),
	IN_RAM("mapping of an object", test_object_mapping),
	IN_VRAM("mapping of an object", test_object_mapping),
	IN_RAM("secret memory", test_secret),
	IN_RAM("the stack grows", test_stack),
	IN_VRAM("the stack grows", test_stack),
	IN_VRAM("RAM and VRAM in a range", test_mixed),
	IN_VRAM("RAM, VRAM and holes in a range", test_mixed_with_holes),
	IN_RAM("several kinds in a program", test_kinds_in_one_program),
	IN_VRAM("several kinds in a program", test_kinds_in_one_program),
};

int main(int argc, char **argv)
{
	return ktap_main(argc, argv, cases, ARRAY_SIZE(cases));
}
