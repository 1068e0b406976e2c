// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * MIGRATE moves what can be moved, and says of each page that stays why it did. What it says
 * is where the page is: migrate_report() looks each time.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

#include "pin.h"
#include "place.h"
#include "swap.h"

#define SIZE MIB(2)
#define PAGES (SIZE / PAGE)
#define SEED 11

/* What most cases put into the way, and where. */
#define FIRST 100
#define COUNT 16

static struct report report;

static __u32 *page_at(__u32 *memory, size_t index)
{
	return memory + index * WORDS_PER_PAGE;
}

/* All but @count pages from @first on have moved, and these have met with @stay. */
static void expect_all_but(size_t first, size_t count, __u8 stay)
{
	expect_report(&report, 0, first, DRM_SVM_STUB_MOVED);
	expect_report(&report, first, count, stay);
	expect_report(&report, first + count, report.pages - first - count, DRM_SVM_STUB_MOVED);
}

/* Nothing is in the way any more: what has stayed moves, and all data is there. */
static void expect_the_rest_moves(struct gpu *gpu, __u32 *memory, size_t first, size_t count)
{
	migrate_report(gpu, memory, SIZE, 0, &report);
	EXPECT_OK(report.err);
	expect_report(&report, 0, first, DRM_SVM_STUB_WAS_THERE);
	expect_report(&report, first, count, DRM_SVM_STUB_MOVED);
	expect_report(&report, first + count, PAGES - first - count, DRM_SVM_STUB_WAS_THERE);
	expect_gpu_reads(gpu, memory, SIZE, SEED);
	expect_pattern(memory, SIZE, SEED);
}

static void test_moved(const void *arg)
{
	const __u32 *workers = arg;
	__u32 *memory = map_small_pattern(MIB(16), SEED);
	struct gpu gpu;

	open_idle_vm(&gpu, 0);
	for (int round = 0; round < 2; round++) {
		report.migrate = (struct drm_svm_stub_migrate){
			.workers = *workers, .report = (uintptr_t)report.page,
		};
		report.pages = MIB(16) / PAGE;
		EXPECT_OK(gpu_migrate_as(&gpu, memory, MIB(16), &report.migrate));
		expect_report(&report, 0, report.pages,
			      round ? DRM_SVM_STUB_WAS_THERE : DRM_SVM_STUB_MOVED);
		EXPECT_EQ(report.migrate.result[round], report.pages);
		expect_vram(&gpu, memory, MIB(16));
	}
	expect_gpu_reads(&gpu, memory, MIB(16), SEED);
	expect_pattern(memory, MIB(16), SEED);
	expect_vram_used(&gpu, 0);
}

/* A report that nobody can write to: what has moved has moved. */
static void test_bad_report(const void *arg)
{
	__u32 *memory = map_small_pattern(SIZE, SEED);
	struct drm_svm_stub_migrate migrate = { .report = (uintptr_t)gpu_at(PAGE) };
	struct gpu gpu;

	(void)arg;
	open_idle_vm(&gpu, 0);
	EXPECT_ERR(gpu_migrate_as(&gpu, memory, SIZE, &migrate), -EFAULT);
	expect_pattern(memory, SIZE, SEED);
	expect_vram_used(&gpu, 0);
}

/* The report goes to memory that is itself to move. */
static void test_report_in_vram(const void *arg)
{
	__u32 *memory = map_small_pattern(SIZE, SEED);
	__u8 *page = (__u8 *)map_small_pattern(SIZE, 1);
	struct drm_svm_stub_migrate migrate = { .report = (uintptr_t)page };
	struct gpu gpu;

	(void)arg;
	open_idle_vm(&gpu, 0);
	EXPECT_OK(gpu_migrate(&gpu, page, SIZE, 0));
	expect_vram(&gpu, page, SIZE);
	EXPECT_OK(gpu_migrate_as(&gpu, memory, SIZE, &migrate));
	for (size_t i = 0; i < PAGES; i++)
		EXPECT_EQ(page[i], DRM_SVM_STUB_MOVED);
	expect_pattern_from((__u32 *)page, PAGES / 4, SIZE - PAGES, 1);
	expect_pattern(memory, SIZE, SEED);
}

static void test_arguments(const void *arg)
{
	__u32 *memory = map_small_pattern(PAGE, SEED);
	struct drm_svm_stub_migrate migrate;
	struct gpu gpu;

	(void)arg;
	open_idle_vm(&gpu, 0);
	migrate = (struct drm_svm_stub_migrate){ .timeslice_ms = 1001 };
	EXPECT_ERR(gpu_migrate_as(&gpu, memory, PAGE, &migrate), -EINVAL);
	migrate = (struct drm_svm_stub_migrate){ .workers = 9 };
	EXPECT_ERR(gpu_migrate_as(&gpu, memory, PAGE, &migrate), -EINVAL);
	migrate = (struct drm_svm_stub_migrate){ .flags = 4 };
	EXPECT_ERR(gpu_migrate_as(&gpu, memory, PAGE, &migrate), -EINVAL);
	migrate = (struct drm_svm_stub_migrate){ .report = (uintptr_t)report.page };
	EXPECT_ERR(gpu_migrate_as(&gpu, memory, (1ull << 32) + PAGE, &migrate), -EINVAL);
	/* What is about VRAM alone. */
	migrate = (struct drm_svm_stub_migrate){ .flags = TO_RAM, .timeslice_ms = 1 };
	EXPECT_ERR(gpu_migrate_as(&gpu, memory, PAGE, &migrate), -EINVAL);
	migrate = (struct drm_svm_stub_migrate){ .flags = TO_RAM, .workers = 1 };
	EXPECT_ERR(gpu_migrate_as(&gpu, memory, PAGE, &migrate), -EINVAL);
	migrate = (struct drm_svm_stub_migrate){
		.flags = TO_RAM, .report = (uintptr_t)report.page,
	};
	EXPECT_ERR(gpu_migrate_as(&gpu, memory, PAGE, &migrate), -EINVAL);
	EXPECT_ERR(gpu_migrate(&gpu, memory, PAGE, TO_RAM | DRM_SVM_STUB_MIGRATE_FAULT_IN),
		   -EINVAL);
	expect_ram(&gpu, memory, PAGE);
}

/* --- No memory, or not such -------------------------------------------------------- */

static void test_hole(const void *arg)
{
	__u32 *memory = map_small_pattern(SIZE, SEED);
	struct gpu gpu;

	(void)arg;
	open_idle_vm(&gpu, 0);
	munmap(page_at(memory, FIRST), COUNT * PAGE);
	migrate_report(&gpu, memory, SIZE, 0, &report);
	EXPECT_OK(report.err);
	expect_all_but(FIRST, COUNT, DRM_SVM_STUB_STAY_NO_MEMORY_MAP);
	expect_pattern(memory, FIRST * PAGE, SEED);
}

/* What the process itself may not read looks like something that is not there. */
static void test_no_access(const void *arg)
{
	__u32 *memory = map_small_pattern(SIZE, SEED);
	struct gpu gpu;

	(void)arg;
	open_idle_vm(&gpu, 0);
	mprotect(page_at(memory, FIRST), COUNT * PAGE, PROT_NONE);
	migrate_report(&gpu, memory, SIZE, 0, &report);
	EXPECT_OK(report.err);
	expect_all_but(FIRST, COUNT, DRM_SVM_STUB_STAY_SWAPPED);
	mprotect(page_at(memory, FIRST), COUNT * PAGE, PROT_READ | PROT_WRITE);
	expect_the_rest_moves(&gpu, memory, FIRST, COUNT);
}

enum backing { SHARED_FILE, PRIVATE_FILE, SHARED_ANONYMOUS };

static const enum backing shared_file = SHARED_FILE, private_file = PRIVATE_FILE,
			  shared_anonymous = SHARED_ANONYMOUS;

static void map_backing(enum backing backing, void *place, size_t size)
{
	const bool file = backing == SHARED_FILE || backing == PRIVATE_FILE;
	int flags = MAP_FIXED | (backing == PRIVATE_FILE ? MAP_PRIVATE : MAP_SHARED), fd = -1;

	if (file) {
		fd = memfd_create("test_report", MFD_CLOEXEC);
		EXPECT(fd >= 0 && !ftruncate(fd, size), "memfd: %s", strerror(errno));
	} else {
		flags |= MAP_ANONYMOUS;
	}
	map_at(place, size, PROT_READ | PROT_WRITE, flags, fd);
	/* Reading makes its pages those of the file. */
	for (size_t i = 0; i < size; i += PAGE)
		((volatile char *)place)[i];
}

static void test_not_anonymous(const void *arg)
{
	const enum backing *backing = arg;
	__u32 *memory = map_small_pattern(SIZE, SEED);
	struct gpu gpu;

	open_idle_vm(&gpu, 0);
	map_backing(*backing, page_at(memory, FIRST), COUNT * PAGE);
	migrate_report(&gpu, memory, SIZE, 0, &report);
	EXPECT_ERR(report.err, -EBUSY);
	expect_all_but(FIRST, COUNT, DRM_SVM_STUB_STAY_NOT_ANONYMOUS);
	expect_pattern(memory, FIRST * PAGE, SEED);
	expect_words(page_at(memory, FIRST), COUNT * PAGE, 0);
}

static void test_hugetlb(const void *arg)
{
	__u32 *memory = map_small_pattern(2 * SIZE, SEED);
	FILE *count = fopen("/proc/sys/vm/nr_hugepages", "w");
	void *huge = (char *)memory + SIZE;
	struct gpu gpu;

	(void)arg;
	open_idle_vm(&gpu, 0);
	if (!count || fprintf(count, "1") < 0 || fclose(count))
		ktap_skip("the kernel has no hugetlb pages");
	if (mmap(huge, SIZE, PROT_READ | PROT_WRITE,
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_HUGETLB, -1, 0) != huge)
		ktap_skip("there is no free hugetlb page");
	memset(huge, 7, SIZE);
	migrate_report(&gpu, memory, 2 * SIZE, 0, &report);
	EXPECT_ERR(report.err, -EBUSY);
	expect_report(&report, 0, PAGES, DRM_SVM_STUB_MOVED);
	expect_report(&report, PAGES, PAGES, DRM_SVM_STUB_STAY_NOT_ANONYMOUS);
	expect_words(huge, SIZE, 0x07070707);
	expect_pattern(memory, SIZE, SEED);
}

/* --- Pages in use -------------------------------------------------------------------- */

static void test_pinned(const void *arg)
{
	__u32 *memory = map_small_pattern(SIZE, SEED);
	struct gpu gpu;
	int pin;

	(void)arg;
	open_idle_vm(&gpu, 0);
	pin = pin_pages(page_at(memory, FIRST), COUNT * PAGE);
	migrate_report(&gpu, memory, SIZE, 0, &report);
	EXPECT_ERR(report.err, -EBUSY);
	expect_all_but(FIRST, COUNT, DRM_SVM_STUB_STAY_PINNED);
	unpin_pages(pin);
	expect_the_rest_moves(&gpu, memory, FIRST, COUNT);
}

/* One page of 2 MiB is in a pipe: the other 511 move. */
static void test_one_busy(const void *arg)
{
	static const size_t places[] = { 0, 1, 255, 256, PAGES - 1 };
	__u32 *memory = map_small_pattern(SIZE, SEED);
	struct gpu gpu;

	(void)arg;
	open_idle_vm(&gpu, 0);
	for (size_t i = 0; i < ARRAY_SIZE(places); i++) {
		struct iovec iovec = { page_at(memory, places[i]), PAGE };
		int pipe_fds[2];

		EXPECT(!pipe(pipe_fds), "pipe: %s", strerror(errno));
		EXPECT(vmsplice(pipe_fds[1], &iovec, 1, 0) == (ssize_t)PAGE, "vmsplice: %s",
		       strerror(errno));
		migrate_report(&gpu, memory, SIZE, 0, &report);
		EXPECT_ERR(report.err, -EBUSY);
		expect_all_but(places[i], 1, DRM_SVM_STUB_STAY_BUSY);
		close(pipe_fds[0]);
		close(pipe_fds[1]);
		expect_the_rest_moves(&gpu, memory, places[i], 1);
		EXPECT_OK(gpu_migrate(&gpu, memory, SIZE, TO_RAM));
	}
}

/* A huge page can neither move nor be split while somebody uses one page of it. */
static void test_pinned_in_huge_page(const void *arg)
{
	__u32 *memory = map_huge_pattern(2 * SIZE, SEED);
	struct gpu gpu;
	int pin;

	(void)arg;
	open_idle_vm(&gpu, 0);
	pin = pin_pages(page_at(memory, FIRST), PAGE);
	migrate_report(&gpu, memory, 2 * SIZE, 0, &report);
	EXPECT_ERR(report.err, -EBUSY);
	for (size_t i = 0; i < PAGES; i++)
		EXPECT(report.page[i] >= DRM_SVM_STUB_STAY_PINNED, "page %zu: %s", i,
		       stay_name(report.page[i]));
	expect_report(&report, PAGES, PAGES, DRM_SVM_STUB_MOVED);
	unpin_pages(pin);
	expect_pattern(memory, 2 * SIZE, SEED);
	migrate_report(&gpu, memory, 2 * SIZE, 0, &report);
	EXPECT_OK(report.err);
	expect_vram(&gpu, memory, 2 * SIZE);
	expect_pattern(memory, 2 * SIZE, SEED);
}

/* --- Pages that are special, and move ---------------------------------------------------- */

static void test_locked_in_memory(const void *arg)
{
	__u32 *memory = map_small_pattern(SIZE, SEED);
	struct gpu gpu;

	(void)arg;
	open_idle_vm(&gpu, 0);
	EXPECT(!mlock(page_at(memory, FIRST), COUNT * PAGE), "mlock: %s", strerror(errno));
	migrate_report(&gpu, memory, SIZE, 0, &report);
	EXPECT_OK(report.err);
	expect_report(&report, 0, PAGES, DRM_SVM_STUB_MOVED);
	expect_gpu_reads(&gpu, memory, SIZE, SEED);
	expect_pattern(memory, SIZE, SEED);
	EXPECT(!munlock(page_at(memory, FIRST), COUNT * PAGE), "munlock: %s", strerror(errno));
	expect_ram(&gpu, memory, SIZE);
}

/* Read but never written: all these addresses show one page of zeros. */
static void test_zero_page(const void *arg)
{
	__u32 *memory = map_small(SIZE);
	struct gpu gpu;

	(void)arg;
	open_idle_vm(&gpu, 0);
	expect_words(memory, SIZE / 2, 0);
	write_pattern(memory + SIZE / 8 + SIZE / 16, SIZE / 4, SEED);
	migrate_report(&gpu, memory, SIZE, 0, &report);
	EXPECT_OK(report.err);
	expect_report(&report, PAGES / 2, PAGES / 4, DRM_SVM_STUB_MOVED);
	expect_gpu_sum(&gpu, memory, SIZE / 2, 0);
	EXPECT_OK(gpu_fill(&gpu, memory, 5, PAGE));
	expect_words(memory, PAGE, 5);
	expect_words(memory + WORDS_PER_PAGE, SIZE / 2 - PAGE, 0);
}

/* Shared with a child since fork(): both see it, wherever it is. */
static void test_shared_with_child(const void *arg)
{
	__u32 *memory = map_small_pattern(SIZE, SEED);
	struct gpu gpu;
	int go[2];
	pid_t pid;
	char c;

	(void)arg;
	open_idle_vm(&gpu, 0);
	EXPECT(!pipe(go), "pipe: %s", strerror(errno));
	pid = ktap_fork();
	if (!pid) {
		close(go[1]);
		EXPECT(read(go[0], &c, 1) == 0, "read: %s", strerror(errno));
		expect_pattern(memory, SIZE, SEED);
		memset(memory, 1, SIZE);
		ktap_done();
	}
	migrate_report(&gpu, memory, SIZE, 0, &report);
	EXPECT_OK(report.err);
	expect_report(&report, 0, PAGES, DRM_SVM_STUB_MOVED);
	close(go[1]);
	ktap_join(pid);
	expect_gpu_reads(&gpu, memory, SIZE, SEED);
	expect_pattern(memory, SIZE, SEED);
	expect_vram_used(&gpu, 0);
}

#define KSM "/sys/kernel/mm/ksm/"
/* ksmd makes several pages of what more than 256 share, and may not have come to the last. */
#define NOT_MERGED 8

static void write_ksm(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);

	if (fd < 0)
		ktap_skip("the kernel has no KSM");
	EXPECT(write(fd, text, strlen(text)) > 0, "%s: %s", path, strerror(errno));
	close(fd);
}

static long read_ksm(const char *path)
{
	FILE *file = fopen(path, "r");
	long value = -1;

	EXPECT(file && fscanf(file, "%ld", &value) == 1, "%s: %s", path, strerror(errno));
	fclose(file);
	return value;
}

/* Has ksmd at work until so many pages are shared; at most a minute. */
static void merge_pages(long wanted)
{
	double end = now_ms() + 60e3;

	write_ksm(KSM "run", "1");
	while (read_ksm(KSM "pages_sharing") < wanted && now_ms() < end)
		usleep(10000);
	write_ksm(KSM "run", "0");
	EXPECT(read_ksm(KSM "pages_sharing") >= wanted, "KSM has merged hardly anything");
}

static __u32 *map_mergeable(void)
{
	__u32 *memory = map_small(SIZE);

	for (size_t i = 0; i < PAGES; i++)
		write_pattern(page_at(memory, i), PAGE, SEED);
	EXPECT(!madvise(memory, SIZE, MADV_MERGEABLE), "MADV_MERGEABLE: %s", strerror(errno));
	return memory;
}

/*
 * Pages of the same content that ksmd has made one. It compares them with others later, so they
 * have to stay where it can read them.
 */
static void test_merged(const void *arg)
{
	struct drm_svm_stub_block block;
	__u32 *memory;
	struct gpu gpu;

	(void)arg;
	open_idle_vm(&gpu, 0);
	write_ksm(KSM "pages_to_scan", "10000");
	write_ksm(KSM "sleep_millisecs", "1");
	memory = map_mergeable();
	merge_pages(PAGES - NOT_MERGED);
	migrate_report(&gpu, memory, SIZE, 0, &report);
	EXPECT_ERR(report.err, -EBUSY);
	EXPECT(report.migrate.result[DRM_SVM_STUB_MOVED] <= NOT_MERGED, "merged pages moved");
	/* With these it compares them. */
	map_mergeable();
	merge_pages(2 * (PAGES - NOT_MERGED));
	EXPECT_OK(gpu_where(&gpu, memory, SIZE, &block));
	EXPECT(block.device <= NOT_MERGED, "%u pages are in VRAM", block.device);
	EXPECT_OK(gpu_fill(&gpu, memory, 3, PAGE));
	expect_words(memory, PAGE, 3);
	for (size_t i = 1; i < PAGES; i++)
		expect_pattern(page_at(memory, i), PAGE, SEED);
}

static void test_swapped(const void *arg)
{
	__u32 *memory;
	struct gpu gpu;

	(void)arg;
	begin_swap();
	memory = map_small_pattern(SIZE, SEED);
	open_idle_vm(&gpu, 0);
	EXPECT_EQ(swap_out(page_at(memory, FIRST), COUNT * PAGE), COUNT);
	migrate_report(&gpu, memory, SIZE, 0, &report);
	expect_all_but(FIRST, COUNT, DRM_SVM_STUB_STAY_SWAPPED);
	migrate_report(&gpu, memory, SIZE, DRM_SVM_STUB_MIGRATE_FAULT_IN, &report);
	EXPECT_OK(report.err);
	expect_report(&report, FIRST, COUNT, DRM_SVM_STUB_MOVED);
	expect_gpu_reads(&gpu, memory, SIZE, SEED);
	expect_pattern(memory, SIZE, SEED);
	/* Pages that have been in VRAM go to swap as others do. */
	expect_ram(&gpu, memory, SIZE);
	EXPECT_EQ(swap_out(memory, SIZE), PAGES);
	expect_pattern(memory, SIZE, SEED);
	end_swap();
}

/* --- Everything at once -------------------------------------------------------------------- */

static void test_mixture(const void *arg)
{
	__u32 *memory = map_small_pattern(MIB(6), SEED);
	struct gpu gpu;
	int pin;

	(void)arg;
	open_idle_vm(&gpu, 0);
	munmap(page_at(memory, 10), 5 * PAGE);
	mprotect(page_at(memory, 500), 50 * PAGE, PROT_READ);
	map_backing(SHARED_FILE, page_at(memory, 700), 7 * PAGE);
	mprotect(page_at(memory, 900), 9 * PAGE, PROT_NONE);
	EXPECT_OK(gpu_migrate(&gpu, page_at(memory, 1000), 20 * PAGE, 0));
	pin = pin_pages(page_at(memory, 1030), 3 * PAGE);
	madvise(page_at(memory, 1100), 100 * PAGE, MADV_DONTFORK);

	migrate_report(&gpu, memory, MIB(6), 0, &report);
	EXPECT_ERR(report.err, -EBUSY);
	expect_report(&report, 0, 10, DRM_SVM_STUB_MOVED);
	expect_report(&report, 10, 5, DRM_SVM_STUB_STAY_NO_MEMORY_MAP);
	expect_report(&report, 15, 685, DRM_SVM_STUB_MOVED);
	expect_report(&report, 700, 7, DRM_SVM_STUB_STAY_NOT_ANONYMOUS);
	expect_report(&report, 707, 193, DRM_SVM_STUB_MOVED);
	expect_report(&report, 900, 9, DRM_SVM_STUB_STAY_SWAPPED);
	expect_report(&report, 909, 91, DRM_SVM_STUB_MOVED);
	expect_report(&report, 1000, 20, DRM_SVM_STUB_WAS_THERE);
	expect_report(&report, 1020, 10, DRM_SVM_STUB_MOVED);
	expect_report(&report, 1030, 3, DRM_SVM_STUB_STAY_PINNED);
	expect_report(&report, 1033, MIB(6) / PAGE - 1033, DRM_SVM_STUB_MOVED);
	unpin_pages(pin);

	mprotect(page_at(memory, 900), 9 * PAGE, PROT_READ);
	expect_pattern_from(memory, 0, 10 * PAGE, SEED);
	expect_pattern_from(memory, 15 * WORDS_PER_PAGE, 685 * PAGE, SEED);
	expect_words(page_at(memory, 700), 7 * PAGE, 0);
	expect_pattern_from(memory, 707 * WORDS_PER_PAGE, MIB(6) - 707 * PAGE, SEED);
	expect_vram_used(&gpu, 0);
}

static const __u32 one = 1, four = 4, none;

static const struct ktap_case cases[] = {
	{ "all of it", test_moved, &none },
	{ "all of it, one worker", test_moved, &one },
	{ "all of it, four workers", test_moved, &four },
	{ "arguments", test_arguments, NULL },
	{ "nowhere to report to", test_bad_report, NULL },
	{ "a report to VRAM", test_report_in_vram, NULL },
	{ "a hole", test_hole, NULL },
	{ "no access", test_no_access, NULL },
	{ "a shared file", test_not_anonymous, &shared_file },
	{ "a private file", test_not_anonymous, &private_file },
	{ "shared memory", test_not_anonymous, &shared_anonymous },
	{ "hugetlb", test_hugetlb, NULL },
	{ "pages that io_uring has pinned", test_pinned, NULL },
	{ "one page that a pipe holds", test_one_busy, NULL },
	{ "a pinned page of a huge page", test_pinned_in_huge_page, NULL },
	{ "mlock", test_locked_in_memory, NULL },
	{ "the zero page", test_zero_page, NULL },
	{ "shared with a child", test_shared_with_child, NULL },
	{ "merged pages", test_merged, NULL },
	{ "swapped out", test_swapped, NULL },
	{ "all kinds at once", test_mixture, NULL },
};

int main(int argc, char **argv)
{
	return ktap_main(argc, argv, cases, ARRAY_SIZE(cases));
}
