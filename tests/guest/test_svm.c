// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * The GPU sees the memory of the process as the CPU does: all of it, of any
 * kind, with the same rights.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "memory.h"

/* --- Programs -------------------------------------------------------------- */

/* All ops on malloc'd memory at offsets and sizes that do not fit pages. */
static void test_ops(const void *arg)
{
	const size_t words = 3 * WORDS_PER_PAGE;
	struct gpu gpu;

	open_vm(&gpu, arg);
	for (int round = 0; round < 24; round++) {
		size_t size = (1 + ktap_random() % words) * 4;
		__u32 *memory = malloc(4 * words * 4 + 3 * PAGE);
		__u32 *model = malloc(4 * words * 4 + 3 * PAGE);
		size_t all = words + WORDS_PER_PAGE / 2;
		__u32 value = ktap_random();
		__u32 *a, *b, *c;
		__u64 sum = 0;

		/* Three places that do not overlap, each anywhere in its part. */
		a = memory + ktap_random() % (WORDS_PER_PAGE / 2);
		b = memory + all + ktap_random() % (WORDS_PER_PAGE / 2);
		c = memory + 2 * all + ktap_random() % (WORDS_PER_PAGE / 2);
		write_pattern(memory, 3 * all * 4, round);
		memcpy(model, memory, 3 * all * 4);

		for (size_t i = 0; i < size / 4; i++) {
			model[c - memory + i] = a[i] + b[i];
			model[b - memory + i] = model[c - memory + i];
			model[a - memory + i] = value;
			sum += model[c - memory + i];
		}
		EXPECT_OK(gpu_add(&gpu, c, a, b, size));
		EXPECT_OK(gpu_copy(&gpu, b, c, size));
		EXPECT_OK(gpu_fill(&gpu, a, value, size));
		expect_gpu_sum(&gpu, b, size, sum);
		/* A destination may be a source. */
		for (size_t i = 0; i < size / 4; i++)
			model[c - memory + i] += model[c - memory + i];
		EXPECT_OK(gpu_add(&gpu, c, c, c, size));
		EXPECT_OK(gpu_copy(&gpu, b, b, size));
		EXPECT(!memcmp(memory, model, 3 * all * 4), "round %d, %zu bytes", round, size);
		free(memory);
		free(model);
	}
}

/* A 64-bit sum of 32-bit words. */
static void test_sum_is_64_bits(const void *arg)
{
	struct gpu gpu;
	__u32 *memory = map(KIB(64));

	open_vm(&gpu, arg);
	EXPECT_OK(gpu_fill(&gpu, memory, 0xffffffff, KIB(64)));
	expect_gpu_sum(&gpu, memory, KIB(64), 0xffffffffull * KIB(16));
}

static __u32 global[2 * WORDS_PER_PAGE] = { 1, 2, 3 };

/* Any pointer works: of a global variable, of the stack, of constants. */
static void test_any_pointer(const void *arg)
{
	static const __u32 constants[] = { 10, 20, 30, 40 };
	__u32 on_stack[64];
	struct gpu gpu;

	open_vm(&gpu, arg);
	expect_gpu_sum(&gpu, global, sizeof(global), 6);
	EXPECT_OK(gpu_fill(&gpu, global, 9, sizeof(global)));
	expect_words(global, sizeof(global), 9);
	EXPECT_OK(gpu_fill(&gpu, on_stack, 4, sizeof(on_stack)));
	expect_words(on_stack, sizeof(on_stack), 4);
	expect_gpu_sum(&gpu, constants, sizeof(constants), 100);
	EXPECT_OK(gpu_copy(&gpu, on_stack, constants, sizeof(constants)));
	EXPECT_EQ(on_stack[3], 40);
}

static void test_faults_are_counted(const void *arg)
{
	struct drm_svm_stub_vm_stats before, after;
	__u32 *memory = map(MIB(1));
	struct gpu gpu;

	open_vm(&gpu, arg);
	write_pattern(memory, MIB(1), 1);
	EXPECT_OK(gpu_stats(&gpu, &before));
	EXPECT_OK(gpu_fill(&gpu, memory, 1, MIB(1)));
	EXPECT_OK(gpu_stats(&gpu, &after));
	EXPECT(gpu.faults > 0, "memory was mapped without a fault");
	EXPECT_EQ(after.gpu_faults - before.gpu_faults, gpu.faults);
	EXPECT(after.ranges > before.ranges, "there is no range");
	EXPECT_EQ(after.pages_to_vram - before.pages_to_vram, *(const bool *)arg ? 256 : 0);
	/* What is mapped does not fault again. */
	EXPECT_OK(gpu_fill(&gpu, memory, 2, MIB(1)));
	EXPECT_EQ(gpu.faults, 0);
	/* Until it is taken away. */
	before = after;
	munmap(memory, MIB(1));
	EXPECT_OK(gpu_stats(&gpu, &after));
	EXPECT(after.invalidations > before.invalidations, "munmap was not noticed");
}

/* --- What a mapping allows ------------------------------------------------- */

static void test_untouched_is_zero(const void *arg)
{
	__u32 *memory = map(MIB(4));
	struct gpu gpu;

	open_vm(&gpu, arg);
	expect_gpu_sum(&gpu, memory, MIB(4), 0);
	/* The zeros may have been shared with others; from now on they are not. */
	EXPECT_OK(gpu_fill(&gpu, memory + 5, 1, 4));
	memory[WORDS_PER_PAGE * 700] = 2;
	expect_gpu_sum(&gpu, memory, MIB(4), 3);
	expect_words(memory, 5 * 4, 0);
	expect_words(memory + 6, MIB(2), 0);
}

/* Anonymous memory that the process has. */
static long rss_kib(void)
{
	FILE *file = fopen("/proc/self/status", "r");
	char line[128];
	long kib = -1;

	while (file && fgets(line, sizeof(line), file))
		sscanf(line, "RssAnon: %ld kB", &kib);
	EXPECT(kib >= 0, "there is no RssAnon in /proc/self/status");
	fclose(file);
	return kib;
}

/* A read of memory that nobody wrote does not allocate any. */
static void test_read_does_not_allocate(const void *arg)
{
	__u32 *memory = map(MIB(8));
	struct gpu gpu;
	long before;

	(void)arg;
	open_vm(&gpu, &ram);
	before = rss_kib();
	expect_gpu_sum(&gpu, memory, MIB(8), 0);
	EXPECT(rss_kib() - before < 1024, "reading 8 MiB of nothing took %ld KiB",
	       rss_kib() - before);
	/* The counter does count. */
	EXPECT_OK(gpu_fill(&gpu, memory, 1, MIB(8)));
	EXPECT(rss_kib() - before >= 8192 - 1024, "writing 8 MiB took only %ld KiB",
	       rss_kib() - before);
}

static void test_read_only(const void *arg)
{
	__u32 *memory = map(MIB(2));
	struct gpu gpu;

	open_vm(&gpu, arg);
	write_pattern(memory, MIB(2), 3);
	EXPECT(!mprotect(memory, MIB(2), PROT_READ), "mprotect: %s", strerror(errno));
	expect_gpu_reads(&gpu, memory, MIB(2), 3);
	EXPECT_ERR(gpu_fill(&gpu, memory, 0, MIB(2)), -EPERM);
	expect_gpu_reads(&gpu, memory, MIB(2), 3);
	expect_pattern(memory, MIB(2), 3);
	/* Memory that was always read-only and has never been touched. */
	memory = map_at(NULL, MIB(1), PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1);
	expect_gpu_sum(&gpu, memory, MIB(1), 0);
	EXPECT_ERR(gpu_fill(&gpu, memory, 1, 4), -EPERM);
	expect_words(memory, MIB(1), 0);
}

/* Rights that go away while the GPU has the memory mapped, and come back. */
static void test_mprotect(const void *arg)
{
	__u32 *memory = map(MIB(2));
	struct gpu gpu;

	open_vm(&gpu, arg);
	EXPECT_OK(gpu_fill(&gpu, memory, 5, MIB(2)));
	expect_place(&gpu, arg, memory, MIB(2));
	mprotect(memory, MIB(2), PROT_READ);
	EXPECT_ERR(gpu_fill(&gpu, memory, 6, MIB(2)), -EPERM);
	expect_gpu_sum(&gpu, memory, MIB(2), 5ull * MIB(2) / 4);
	mprotect(memory, MIB(2), PROT_NONE);
	EXPECT_ERR(gpu_fill(&gpu, memory, 6, MIB(2)), -EFAULT);
	EXPECT_ERR(gpu_checksum(&gpu, memory, 4, &(__u64){ 0 }), -EFAULT);
	mprotect(memory, MIB(2), PROT_READ | PROT_WRITE);
	expect_words(memory, MIB(2), 5);
	EXPECT_OK(gpu_fill(&gpu, memory, 7, MIB(2)));
	/* Only a part of what is mapped. */
	mprotect(memory + WORDS_PER_PAGE, PAGE, PROT_READ);
	EXPECT_ERR(gpu_fill(&gpu, memory, 8, 3 * PAGE), -EPERM);
	expect_words(memory, PAGE, 8);
	expect_words(memory + WORDS_PER_PAGE, MIB(2) - PAGE, 7);
}

static void test_unmapped(const void *arg)
{
	__u32 *memory = map(MIB(2));
	struct gpu gpu;
	__u64 sum;

	open_vm(&gpu, arg);
	munmap(memory, MIB(2));
	EXPECT_ERR(gpu_fill(&gpu, memory, 1, 4), -EFAULT);
	EXPECT_ERR(gpu_checksum(&gpu, memory, 4, &sum), -EFAULT);
	EXPECT_ERR(gpu_copy(&gpu, global, memory, 4), -EFAULT);
	EXPECT_EQ(global[0], 1);
	EXPECT_ERR(gpu_add(&gpu, global, global, memory, 4), -EFAULT);
	EXPECT_EQ(global[0], 1);
}

/* A program runs up to the word that fails, and no further. */
static void test_runs_up_to_the_end(const void *arg)
{
	__u32 *memory = map(8 * PAGE);
	struct gpu gpu;

	open_vm(&gpu, arg);
	write_pattern(memory, 8 * PAGE, 4);
	munmap(memory + 4 * WORDS_PER_PAGE, PAGE);
	EXPECT_ERR(gpu_fill(&gpu, memory + 8, 1, 6 * PAGE), -EFAULT);
	expect_words(memory + 8, 4 * PAGE - 32, 1);
	for (size_t i = 5 * WORDS_PER_PAGE; i < 8 * WORDS_PER_PAGE; i++)
		EXPECT_EQ(memory[i], pattern(4, i));
}

/*
 * A mapping of a device, or of addresses without pages. Which of them a process
 * has depends on the kernel: one beside the vDSO, as a rule.
 */
static unsigned long find_special_mapping(void)
{
	FILE *maps = fopen("/proc/self/smaps", "r");
	unsigned long start, mapping = 0;
	char line[512], rights[5];

	while (maps && fgets(line, sizeof(line), maps)) {
		if (sscanf(line, "%lx-%*x %4s", &start, rights) == 2)
			mapping = rights[0] == 'r' ? start : 0;
		else if (mapping && !strncmp(line, "VmFlags:", 8) &&
			 (strstr(line, " io") || strstr(line, " pf")))
			break;
		else if (!strncmp(line, "VmFlags:", 8))
			mapping = 0;
	}
	if (maps)
		fclose(maps);
	return mapping;
}

static void test_special_mapping(const void *arg)
{
	unsigned long start = find_special_mapping();
	struct gpu gpu;
	__u64 sum;

	open_vm(&gpu, arg);
	if (!start)
		ktap_skip("the process has no mapping without pages");
	EXPECT_ERR(gpu_checksum(&gpu, (void *)start, 64, &sum), -EFAULT);
}

/* --- Other kinds of memory ------------------------------------------------ */

static void test_shared_anonymous(const void *arg)
{
	__u32 *memory = map_at(NULL, MIB(2), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
			       -1);
	struct drm_svm_stub_block block;
	struct gpu gpu;
	pid_t pid;

	open_vm(&gpu, arg);
	write_pattern(memory, MIB(2), 12);
	expect_gpu_reads(&gpu, memory, MIB(2), 12);
	EXPECT_OK(gpu_fill(&gpu, memory, 6, PAGE));
	EXPECT_OK(gpu_where(&gpu, memory, MIB(2), &block));
	EXPECT_EQ(block.device, 0);
	pid = ktap_fork();
	if (!pid) {
		expect_words(memory, PAGE, 6);
		memory[WORDS_PER_PAGE] = 1;
		ktap_done();
	}
	ktap_join(pid);
	expect_gpu_sum(&gpu, memory, PAGE + 4, 6 * PAGE / 4 + 1);
}

static int temporary_file(size_t size)
{
	int fd = memfd_create("test_svm", MFD_CLOEXEC);

	EXPECT(fd >= 0, "memfd_create: %s", strerror(errno));
	EXPECT(!ftruncate(fd, size), "ftruncate: %s", strerror(errno));
	return fd;
}

static void test_file(const void *arg)
{
	int fd = temporary_file(8 * PAGE);
	__u32 *memory = map_at(NULL, 10 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd);
	struct gpu gpu;
	__u32 word;
	__u64 sum;

	open_vm(&gpu, arg);
	word = 5;
	EXPECT(pwrite(fd, &word, 4, 3 * PAGE) == 4, "pwrite: %s", strerror(errno));
	expect_gpu_sum(&gpu, memory, 8 * PAGE, 5);
	EXPECT_OK(gpu_fill(&gpu, memory + 1, 9, 2 * PAGE));
	EXPECT(pread(fd, &word, 4, 2 * PAGE) == 4 && word == 9,
	       "the file does not have the GPU's data");
	/* There is no memory behind the end of a file. */
	EXPECT_ERR(gpu_checksum(&gpu, memory + 8 * WORDS_PER_PAGE, 4, &sum), -EFAULT);
	/* Nor where the file no longer is. */
	EXPECT(!ftruncate(fd, 2 * PAGE), "ftruncate: %s", strerror(errno));
	EXPECT_ERR(gpu_checksum(&gpu, memory + 3 * WORDS_PER_PAGE, 4, &sum), -EFAULT);
	expect_gpu_sum(&gpu, memory + 1, 2 * PAGE - 4, 9 * (2 * PAGE - 4) / 4);
}

static void test_private_file(const void *arg)
{
	int fd = temporary_file(MIB(1));
	__u32 *shared = map_at(NULL, MIB(1), PROT_READ | PROT_WRITE, MAP_SHARED, fd);
	__u32 *private = map_at(NULL, MIB(1), PROT_READ | PROT_WRITE, MAP_PRIVATE, fd);
	struct gpu gpu;

	open_vm(&gpu, arg);
	write_pattern(shared, MIB(1), 13);
	expect_gpu_reads(&gpu, private, MIB(1), 13);
	EXPECT_OK(gpu_fill(&gpu, private, 1, PAGE));
	expect_words(private, PAGE, 1);
	expect_pattern(shared, MIB(1), 13);
	for (size_t i = WORDS_PER_PAGE; i < MIB(1) / 4; i++)
		EXPECT_EQ(private[i], pattern(13, i));
}

static void page_size_test(const void *arg, int advice)
{
	const size_t size = MIB(4);
	__u32 *memory = map(size);
	struct gpu gpu;

	open_vm(&gpu, arg);
	if (madvise(memory, size, advice))
		ktap_skip("the kernel has no transparent huge pages");
	write_pattern(memory, size, 14);
	expect_gpu_reads(&gpu, memory, size, 14);
	expect_place(&gpu, arg, memory, size);
	EXPECT_OK(gpu_fill(&gpu, memory, 2, HUGE_PAGE));
	/* Half of a huge page. */
	munmap(memory + HUGE_PAGE / 8, HUGE_PAGE / 2);
	expect_gpu_sum(&gpu, memory, HUGE_PAGE / 2, HUGE_PAGE / 4);
	expect_words(memory, HUGE_PAGE / 2, 2);
	for (size_t i = HUGE_PAGE / 4; i < size / 4; i++)
		EXPECT_EQ(memory[i], pattern(14, i));
}

static void test_huge_pages(const void *arg)
{
	page_size_test(arg, MADV_HUGEPAGE);
}

static void test_small_pages(const void *arg)
{
	page_size_test(arg, MADV_NOHUGEPAGE);
}

static void test_hugetlb(const void *arg)
{
	int fd = open("/proc/sys/vm/nr_hugepages", O_WRONLY | O_CLOEXEC);
	struct drm_svm_stub_block block;
	struct gpu gpu;
	__u32 *memory;

	open_vm(&gpu, arg);
	if (fd < 0 || write(fd, "2", 1) != 1)
		ktap_skip("the kernel has no huge pages to give");
	memory = mmap(NULL, 2 * HUGE_PAGE, PROT_READ | PROT_WRITE,
		      MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB, -1, 0);
	if (memory == MAP_FAILED)
		ktap_skip("the kernel has no huge pages to give");
	write_pattern(memory, HUGE_PAGE, 15);
	expect_gpu_reads(&gpu, memory, HUGE_PAGE, 15);
	expect_gpu_sum(&gpu, memory + HUGE_PAGE / 4, HUGE_PAGE, 0);
	EXPECT_OK(gpu_fill(&gpu, memory, 3, 2 * HUGE_PAGE));
	EXPECT_OK(gpu_where(&gpu, memory, 2 * HUGE_PAGE, &block));
	EXPECT_EQ(block.device, 0);
	expect_words(memory, 2 * HUGE_PAGE, 3);
	munmap(memory, 2 * HUGE_PAGE);
	EXPECT(write(fd, "0", 1) == 1, "nr_hugepages: %s", strerror(errno));
}

/* --- VMs ------------------------------------------------------------------ */

static void test_two_vms(const void *arg)
{
	__u32 *memory = map(MIB(2));
	struct gpu one, two;

	open_vm(&one, arg);
	open_vm(&two, arg);
	write_pattern(memory, MIB(2), 16);
	expect_gpu_reads(&one, memory, MIB(2), 16);
	expect_gpu_reads(&two, memory, MIB(2), 16);
	for (__u32 i = 0; i < 4; i++) {
		EXPECT_OK(gpu_fill(&one, memory, 2 * i + 1, MIB(2)));
		expect_gpu_sum(&two, memory, MIB(2), (2 * i + 1ull) * MIB(2) / 4);
		EXPECT_OK(gpu_fill(&two, memory, 2 * i + 2, MIB(2)));
		expect_gpu_sum(&one, memory, MIB(2), (2 * i + 2ull) * MIB(2) / 4);
	}
	EXPECT_OK(gpu_destroy(&one, one.vm));
	expect_gpu_sum(&two, memory, MIB(2), 8 * MIB(2) / 4);
	EXPECT_OK(gpu_close(&two));
	expect_words(memory, MIB(2), 8);
}

/* Data stays when the VM that moved it is gone. */
static void test_destroyed_vm(const void *arg)
{
	__u32 *memory = map(MIB(2)), *other = map(MIB(2));
	struct gpu gpu;

	open_vm(&gpu, arg);
	write_pattern(memory, MIB(2), 17);
	write_pattern(other, MIB(2), 18);
	expect_gpu_reads(&gpu, memory, MIB(2), 17);
	expect_place(&gpu, arg, memory, MIB(2));
	EXPECT_OK(gpu_destroy(&gpu, gpu.vm));
	expect_pattern(memory, MIB(2), 17);

	EXPECT_OK(gpu_create(&gpu, *(const bool *)arg ? DRM_SVM_STUB_VM_MIGRATE_ON_FAULT : 0));
	expect_gpu_reads(&gpu, other, MIB(2), 18);
	expect_place(&gpu, arg, other, MIB(2));
	EXPECT_OK(gpu_close(&gpu));
	expect_pattern(other, MIB(2), 18);
}

static const struct ktap_case cases[] = {
	IN_RAM("all ops at any offset", test_ops),
	IN_VRAM("all ops at any offset", test_ops),
	IN_RAM("checksum has 64 bits", test_sum_is_64_bits),
	IN_VRAM("checksum has 64 bits", test_sum_is_64_bits),
	IN_RAM("any pointer", test_any_pointer),
	IN_VRAM("any pointer", test_any_pointer),
	IN_RAM("faults are counted", test_faults_are_counted),
	IN_VRAM("faults are counted", test_faults_are_counted),
	IN_RAM("untouched memory is zero", test_untouched_is_zero),
	IN_VRAM("untouched memory is zero", test_untouched_is_zero),
	IN_RAM("reading does not allocate", test_read_does_not_allocate),
	IN_RAM("read-only memory", test_read_only),
	IN_VRAM("read-only memory", test_read_only),
	IN_RAM("mprotect", test_mprotect),
	IN_VRAM("mprotect", test_mprotect),
	IN_RAM("unmapped memory", test_unmapped),
	IN_VRAM("unmapped memory", test_unmapped),
	IN_RAM("a program runs up to the word that fails", test_runs_up_to_the_end),
	IN_VRAM("a program runs up to the word that fails", test_runs_up_to_the_end),
	IN_RAM("special mapping", test_special_mapping),
	IN_VRAM("special mapping", test_special_mapping),
	IN_RAM("shared anonymous memory", test_shared_anonymous),
	IN_VRAM("shared anonymous memory", test_shared_anonymous),
	IN_RAM("shared file", test_file),
	IN_VRAM("shared file", test_file),
	IN_RAM("private file", test_private_file),
	IN_VRAM("private file", test_private_file),
	IN_RAM("huge pages", test_huge_pages),
	IN_VRAM("huge pages", test_huge_pages),
	IN_RAM("small pages", test_small_pages),
	IN_VRAM("small pages", test_small_pages),
	IN_RAM("hugetlb", test_hugetlb),
	IN_VRAM("hugetlb", test_hugetlb),
	IN_RAM("two VMs", test_two_vms),
	IN_VRAM("two VMs", test_two_vms),
	IN_RAM("destroyed VM", test_destroyed_vm),
	IN_VRAM("destroyed VM", test_destroyed_vm),
};

int main(int argc, char **argv)
{
	return ktap_main(argc, argv, cases, ARRAY_SIZE(cases));
}
