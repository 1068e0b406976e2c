// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Memory that user space brings: userfaultfd. Where the kernel's HMM can wait without holding the
 * mmap lock, a GPU fault reaches the handler as one of the CPU does; where it cannot, the GPU
 * finds no memory (-EFAULT), and finds it as soon as the CPU has.
 *
 * A fault that waits for its handler is also one that can be made to wait for anything.
 */
#include <errno.h>
#include <linux/userfaultfd.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "memory.h"
#include "program.h"
#include "uffd.h"

#define SEED UFFD_SEED
#define PAGES 16
#define SIZE (PAGES * PAGE)

/* All in one notifier window, each in a range of its own. */
#define MEMORY UFFD_MEMORY
#define RANGE MIB(2)

/* --- Pages that are missing -------------------------------------------------------- */

static void test_missing_read(const void *arg)
{
	struct handler handler;
	struct gpu gpu;
	__u64 sum;

	start_handler(&handler, SIZE, UFFDIO_REGISTER_MODE_MISSING);
	open_vm(&gpu, arg);
	if (hmm_waits()) {
		expect_gpu_reads(&gpu, (__u32 *)MEMORY, SIZE, SEED);
		EXPECT_EQ(handler.missing, PAGES);
	} else {
		EXPECT_ERR(gpu_checksum(&gpu, MEMORY, SIZE, &sum), -EFAULT);
		EXPECT_EQ(handler.missing, 0);
	}
	/* The CPU has, or gets, the same. */
	expect_pattern((__u32 *)MEMORY, SIZE, SEED);
	EXPECT_EQ(handler.missing, PAGES);
	expect_gpu_reads(&gpu, (__u32 *)MEMORY, SIZE, SEED);
	stop_handler(&handler);
}

static void test_missing_write(const void *arg)
{
	struct handler handler;
	struct gpu gpu;

	start_handler(&handler, SIZE, UFFDIO_REGISTER_MODE_MISSING);
	open_vm(&gpu, arg);
	EXPECT_ERR(gpu_fill(&gpu, MEMORY + 8, 3, 8), hmm_waits() ? 0 : -EFAULT);
	if (hmm_waits())
		EXPECT(handler.missing > 0, "nobody has asked the handler");
	expect_pattern_from((__u32 *)MEMORY, 4, SIZE - 16, SEED);
	EXPECT_OK(gpu_fill(&gpu, MEMORY + 8, 4, 8));
	expect_words((__u32 *)MEMORY + 2, 8, 4);
	expect_pattern((__u32 *)MEMORY, 8, SEED);
	expect_pattern_from((__u32 *)MEMORY, 4, SIZE - 16, SEED);
	stop_handler(&handler);
}

/* A page that goes again is asked for again. */
static void test_missing_again(const void *arg)
{
	struct handler handler;
	struct gpu gpu;

	need_waiting();
	start_handler(&handler, SIZE, UFFDIO_REGISTER_MODE_MISSING);
	open_vm(&gpu, arg);
	EXPECT_OK(gpu_fill(&gpu, MEMORY, 1, SIZE));
	EXPECT_EQ(handler.missing, PAGES);
	EXPECT(!madvise(MEMORY + 3 * PAGE, PAGE, MADV_DONTNEED), "madvise: %s", strerror(errno));
	EXPECT_OK(gpu_fill(&gpu, MEMORY, 2, PAGE));
	expect_pattern_from((__u32 *)MEMORY, 3 * WORDS_PER_PAGE, PAGE, SEED);
	EXPECT_EQ(handler.missing, PAGES + 1);
	stop_handler(&handler);
}

/* A handler may take its time, and more than a collection of pages has. */
static void test_slow_handler(const void *arg)
{
	struct handler handler;
	struct gpu gpu;

	need_waiting();
	start_handler(&handler, SIZE, UFFDIO_REGISTER_MODE_MISSING);
	handler.delay_us = 1500000;
	open_vm(&gpu, arg);
	for (size_t page = 1; page < PAGES; page++)
		bring_page(&handler, page);
	expect_gpu_reads(&gpu, (__u32 *)MEMORY, SIZE, SEED);
	EXPECT(handler.missing > 0, "nobody has asked the handler");
	stop_handler(&handler);
}

/* --- Pages that are protected --------------------------------------------------------- */

static void test_write_protected(const void *arg)
{
	struct handler handler;
	struct gpu gpu;

	start_handler(&handler, SIZE, UFFDIO_REGISTER_MODE_WP);
	write_pattern((__u32 *)MEMORY, SIZE, SEED);
	open_vm(&gpu, arg);
	EXPECT_OK(gpu_fill(&gpu, MEMORY, pattern(SEED, 0), 4));
	EXPECT_EQ(pages_writable(&gpu, MEMORY, SIZE), PAGES);
	/* Whoever protects a page hears of every write from then on. */
	if (write_protect(&handler, 0, PAGES, true))
		ktap_skip("the kernel does not write-protect");
	EXPECT_EQ(pages_writable(&gpu, MEMORY, SIZE), 0);
	expect_gpu_reads(&gpu, (__u32 *)MEMORY, SIZE, SEED);
	EXPECT_EQ(pages_writable(&gpu, MEMORY, SIZE), 0);
	EXPECT_EQ(handler.write_protected, 0);

	EXPECT_ERR(gpu_fill(&gpu, MEMORY, 5, PAGE), hmm_waits() ? 0 : -EFAULT);
	EXPECT(!handler.write_protected == !hmm_waits(), "the handler was asked %u times",
	       handler.write_protected);
	EXPECT_OK(write_protect(&handler, 0, PAGES, false));
	EXPECT_OK(gpu_fill(&gpu, MEMORY, 6, PAGE));
	expect_words((__u32 *)MEMORY, PAGE, 6);
	expect_pattern_from((__u32 *)MEMORY, WORDS_PER_PAGE, SIZE - PAGE, SEED);
	stop_handler(&handler);
}

/* --- While a fault waits ------------------------------------------------------------- */

/* What happens elsewhere in the window disturbs the collection of its pages not at all. */
static void test_changes_elsewhere(const void *arg)
{
	struct drm_svm_stub_vm_stats before, after;
	struct program program;
	struct handler handler;
	struct gpu gpu;
	char *other = MEMORY + RANGE;

	need_waiting();
	start_handler(&handler, SIZE, UFFDIO_REGISTER_MODE_MISSING);
	map_at(other, 3 * RANGE, PROT_READ | PROT_WRITE,
	       MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1);
	madvise(other, 3 * RANGE, MADV_NOHUGEPAGE);
	open_vm(&gpu, arg);
	EXPECT_OK(gpu_fill(&gpu, other, 1, 3 * RANGE));
	before = stats_of(&gpu);

	handler.answers = false;
	start_checksum(&program, &gpu, MEMORY, SIZE);
	wait_until_asked(&handler, 0);
	munmap(other, RANGE);
	mprotect(other + RANGE, RANGE, PROT_READ);
	madvise(other + 2 * RANGE, RANGE, MADV_DONTNEED);
	/* And faults elsewhere do not wait for it. */
	expect_gpu_sum(&gpu, other + RANGE, RANGE, RANGE / 4);
	expect_gpu_sum(&gpu, other + 2 * RANGE, RANGE, 0);
	EXPECT(!has_ended(&program), "a program ended without its memory");
	answer_all(&handler, PAGES);
	EXPECT_OK(finish(&program));
	after = stats_of(&gpu);
	EXPECT_EQ(after.invalidations - before.invalidations, 3);
	EXPECT_EQ(after.collections - before.collections, 3);
	EXPECT_EQ(after.collection_retries, before.collection_retries);
	expect_pattern((__u32 *)MEMORY, SIZE, SEED);
	stop_handler(&handler);
}

/* The memory goes while a fault waits for a page of it. */
static void test_unmap(const void *arg)
{
	struct uffdio_range range = { (uintptr_t)MEMORY, SIZE };
	struct program program;
	struct handler handler;
	struct gpu gpu;

	need_waiting();
	start_handler(&handler, SIZE, UFFDIO_REGISTER_MODE_MISSING);
	open_vm(&gpu, arg);
	handler.answers = false;
	start_checksum(&program, &gpu, MEMORY, SIZE);
	wait_until_asked(&handler, 0);
	EXPECT(!munmap(MEMORY, SIZE), "munmap: %s", strerror(errno));
	/* Who waits is not told by itself. */
	ioctl(handler.fd, UFFDIO_WAKE, &range);
	EXPECT_ERR(finish(&program), -EFAULT);
	stop_handler(&handler);
}

/* The process goes, and with it the handler. */
static void test_kill(const void *arg)
{
	int ready[2], status;
	double start;
	struct gpu gpu;
	char c = 0;
	pid_t pid;

	need_waiting();
	open_vm(&gpu, arg);
	EXPECT(!pipe(ready), "pipe: %s", strerror(errno));
	pid = ktap_fork();
	if (!pid) {
		struct program program;
		struct handler handler;
		struct gpu own;

		start_handler(&handler, SIZE, UFFDIO_REGISTER_MODE_MISSING);
		open_vm(&own, arg);
		handler.answers = false;
		start_checksum(&program, &own, MEMORY, SIZE);
		wait_until_asked(&handler, 0);
		EXPECT(write(ready[1], &c, 1) == 1, "write: %s", strerror(errno));
		pause();
	}
	close(ready[1]);
	EXPECT(read(ready[0], &c, 1) == 1, "the child has failed");
	start = now_ms();
	kill(pid, SIGKILL);
	EXPECT(waitpid(pid, &status, 0) == pid && WIFSIGNALED(status), "waitpid: %s",
	       strerror(errno));
	EXPECT(now_ms() - start < 30e3, "its end took %.0f ms", now_ms() - start);
	EXPECT_OK(gpu_wait_free(&gpu, 20));
}

static const struct ktap_case cases[] = {
	IN_RAM("missing, read", test_missing_read),
	IN_VRAM("missing, read", test_missing_read),
	IN_RAM("missing, write", test_missing_write),
	IN_VRAM("missing, write", test_missing_write),
	IN_RAM("missing again", test_missing_again),
	IN_RAM("a slow handler", test_slow_handler),
	IN_RAM("write-protected", test_write_protected),
	IN_RAM("changes elsewhere while a fault waits", test_changes_elsewhere),
	IN_RAM("munmap while a fault waits", test_unmap),
	IN_RAM("SIGKILL while a fault waits", test_kill),
};

int main(int argc, char **argv)
{
	return ktap_main(argc, argv, cases, ARRAY_SIZE(cases));
}
