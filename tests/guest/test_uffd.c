// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Memory that user space brings: userfaultfd. Where the kernel's HMM can wait without holding the
 * mmap lock, a GPU fault reaches the handler as one of the CPU does; where it cannot, the GPU
 * finds no memory (-EFAULT), and finds it as soon as the CPU has.
 *
 * A fault that waits for its handler is also one that can be made to wait for anything.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "memory.h"
#include "program.h"

#define SEED 8
#define PAGES 16
#define SIZE (PAGES * PAGE)

/* All in one notifier window, each in a range of its own. */
#define MEMORY ((char *)0x200000000000)
#define RANGE MIB(2)

struct handler {
	int fd;
	pthread_t thread;
	int stop[2];
	unsigned int delay_us; /* before each answer */
	bool answers; /* or else a fault waits until this is set and it is woken */
	unsigned int missing, write_protected; /* how often it was asked */
};

static unsigned int asked(unsigned int *counter)
{
	return __atomic_load_n(counter, __ATOMIC_ACQUIRE);
}

/* Whether a GPU fault can wait: that is when the kernel has this function. */
static bool hmm_waits(void)
{
	FILE *file = fopen("/proc/kallsyms", "r");
	bool found = false;
	char line[256];

	EXPECT(file, "/proc/kallsyms: %s", strerror(errno));
	while (!found && fgets(line, sizeof(line), file))
		found = strstr(line, " hmm_range_fault_unlocked_timeout\n");
	fclose(file);
	return found;
}

static void need_waiting(void)
{
	if (!hmm_waits())
		ktap_skip("HMM of this kernel does not wait for userfaultfd");
}

static void bring_page(struct handler *handler, size_t page)
{
	__u32 words[WORDS_PER_PAGE];
	struct uffdio_copy copy = {
		.dst = (uintptr_t)MEMORY + page * PAGE, .src = (uintptr_t)words, .len = PAGE,
	};

	for (size_t i = 0; i < WORDS_PER_PAGE; i++)
		words[i] = pattern(SEED, page * WORDS_PER_PAGE + i);
	/* Somebody else's fault may have brought it. */
	EXPECT(!ioctl(handler->fd, UFFDIO_COPY, &copy) || errno == EEXIST, "UFFDIO_COPY: %s",
	       strerror(errno));
}

static int write_protect(struct handler *handler, size_t page, size_t pages, bool on)
{
	struct uffdio_writeprotect arg = {
		.range = { (uintptr_t)MEMORY + page * PAGE, pages * PAGE },
		.mode = on ? UFFDIO_WRITEPROTECT_MODE_WP : 0,
	};

	return ioctl(handler->fd, UFFDIO_WRITEPROTECT, &arg) ? -errno : 0;
}

static void answer(struct handler *handler, const struct uffd_msg *message)
{
	size_t page = (message->arg.pagefault.address - (uintptr_t)MEMORY) / PAGE;
	bool protected = message->arg.pagefault.flags & UFFD_PAGEFAULT_FLAG_WP;
	unsigned int *counter = protected ? &handler->write_protected : &handler->missing;

	__atomic_fetch_add(counter, 1, __ATOMIC_ACQ_REL);
	if (!__atomic_load_n(&handler->answers, __ATOMIC_ACQUIRE))
		return;
	usleep(handler->delay_us);
	if (protected)
		EXPECT_OK(write_protect(handler, page, 1, false));
	else
		bring_page(handler, page);
}

static void *handle(void *arg)
{
	struct handler *handler = arg;
	struct pollfd fds[] = {
		{ .fd = handler->fd, .events = POLLIN },
		{ .fd = handler->stop[0], .events = POLLIN },
	};
	struct uffd_msg message;

	while (poll(fds, 2, -1) > 0 && !fds[1].revents)
		if (read(handler->fd, &message, sizeof(message)) == sizeof(message))
			answer(handler, &message);
	return NULL;
}

/* Memory of @size bytes of which the handler hears in @mode. */
static void start_handler(struct handler *handler, size_t size, __u64 mode)
{
	struct uffdio_api api = { .api = UFFD_API, .features = UFFD_FEATURE_PAGEFAULT_FLAG_WP };
	struct uffdio_register range = {
		.range = { (uintptr_t)MEMORY, size }, .mode = mode,
	};

	*handler = (struct handler){ .answers = true };
	map_at(MEMORY, size, PROT_READ | PROT_WRITE,
	       MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1);
	madvise(MEMORY, size, MADV_NOHUGEPAGE);
	handler->fd = syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);
	if (handler->fd < 0 && errno == ENOSYS)
		ktap_skip("the kernel has no userfaultfd");
	EXPECT(handler->fd >= 0, "userfaultfd: %s", strerror(errno));
	EXPECT(!ioctl(handler->fd, UFFDIO_API, &api), "UFFDIO_API: %s", strerror(errno));
	EXPECT(!ioctl(handler->fd, UFFDIO_REGISTER, &range), "UFFDIO_REGISTER: %s",
	       strerror(errno));
	EXPECT(!pipe(handler->stop), "pipe: %s", strerror(errno));
	EXPECT(!pthread_create(&handler->thread, NULL, handle, handler), "pthread_create");
}

static void stop_handler(struct handler *handler)
{
	EXPECT(write(handler->stop[1], "", 1) == 1, "write: %s", strerror(errno));
	pthread_join(handler->thread, NULL);
	close(handler->fd);
}

/* From now on faults wait; returns when one does. */
static void wait_until_asked(struct handler *handler, unsigned int before)
{
	double end = now_ms() + 60e3;

	while (asked(&handler->missing) == before) {
		EXPECT(now_ms() < end, "no fault reaches the handler");
		usleep(1000);
	}
}

/* Answers what waits, and what comes. */
static void answer_all(struct handler *handler, size_t pages)
{
	__atomic_store_n(&handler->answers, true, __ATOMIC_RELEASE);
	for (size_t page = 0; page < pages; page++)
		bring_page(handler, page);
}

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
