// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * What a process may do with memory that is behind a userptr, which is all that it may do
 * with any: the GPU finds what is there then.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "pin.h"
#include "place.h"
#include "swap.h"
#include "uffd.h"
#include "userptr.h"

#define SIZE MIB(2)
#define PAGES (SIZE / PAGE)
#define SEED 31

static __u32 *page_of(__u32 *memory, size_t page)
{
	return memory + page * WORDS_PER_PAGE;
}

/* A window of which page 0 on shows fresh memory with a pattern. */
static __u32 *bind_pattern(struct window *w, const void *variant, __u32 more)
{
	__u32 *memory = map_small(SIZE);

	write_pattern(memory, SIZE, SEED);
	open_userptr_window(w, variant, 0);
	bind_userptr(w, 0, memory, SIZE, more);
	expect_gpu_reads(&w->gpu, at(w, 0), SIZE, SEED);
	return memory;
}

/* The page's number in memory, or 0: what tells pages apart that have the same data. */
static __u64 frame_of(const void *address)
{
	int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	__u64 entry;

	EXPECT(fd >= 0 && pread(fd, &entry, 8, (uintptr_t)address / PAGE * 8) == 8,
	       "pagemap: %s", strerror(errno));
	close(fd);
	return entry >> 63 ? entry & ((1ull << 55) - 1) : 0;
}

/* --- fork() and copies ------------------------------------------------------------ */

/* After fork() the GPU works on the parent's memory, whoever writes first. */
static void test_fork(const void *arg)
{
	struct window w;
	__u32 *memory = bind_pattern(&w, arg, 0);
	int go[2], done[2];
	char c = 0;
	pid_t pid;

	EXPECT(!pipe(go) && !pipe(done), "pipe: %s", strerror(errno));
	pid = ktap_fork();
	if (!pid) {
		EXPECT(read(go[0], &c, 1) == 1, "read: %s", strerror(errno));
		/* Of what the parent's GPU has written the child sees nothing. */
		expect_pattern(memory, SIZE, SEED);
		write_pattern(memory, SIZE / 2, SEED + 1);
		EXPECT(write(done[1], &c, 1) == 1, "write: %s", strerror(errno));
		EXPECT(read(go[0], &c, 1) == 1, "read: %s", strerror(errno));
		expect_pattern(memory, SIZE / 2, SEED + 1);
		ktap_done();
	}
	EXPECT_OK(gpu_fill(&w.gpu, at(&w, 3), 5, PAGE));
	expect_words(page_of(memory, 3), PAGE, 5);
	EXPECT(write(go[1], &c, 1) == 1, "write: %s", strerror(errno));
	EXPECT(read(done[0], &c, 1) == 1, "the child has failed");
	expect_gpu_sum(&w.gpu, at(&w, 3), PAGE, 5 * WORDS_PER_PAGE);
	expect_pattern(memory, 3 * PAGE, SEED);
	expect_both_ways(&w, 0, memory, SIZE);
	EXPECT(write(go[1], &c, 1) == 1, "write: %s", strerror(errno));
	ktap_join(pid);
	expect_both_ways(&w, 0, memory, SIZE);
}

/* Of the same, what the CPU of the parent writes the GPU finds, in a new page. */
static void test_copy_on_write(const void *arg)
{
	struct window w;
	__u32 *memory = bind_pattern(&w, arg, 0);
	pid_t pid = ktap_fork();
	__u64 before;

	if (!pid) {
		pause();
		ktap_done();
	}
	before = frame_of(page_of(memory, 7));
	page_of(memory, 7)[1] = 77;
	EXPECT(frame_of(page_of(memory, 7)) != before, "nothing was copied");
	expect_gpu_sum(&w.gpu, page_of(at(&w, 0), 7) + 1, 4, 77);
	EXPECT_OK(gpu_fill(&w.gpu, page_of(at(&w, 0), 7), 78, PAGE));
	expect_words(page_of(memory, 7), PAGE, 78);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	expect_both_ways(&w, 0, memory, SIZE);
}

/* A GPU that can fault reads what is shared, and leaves it shared. */
static void test_read_keeps_shared(const void *arg)
{
	struct window w;
	__u32 *memory = bind_pattern(&w, arg, 0);
	int go[2], done[2];
	__u64 mine, others;
	pid_t pid;
	char c = 0;

	EXPECT(!pipe(go) && !pipe(done), "pipe: %s", strerror(errno));
	pid = ktap_fork();
	if (!pid) {
		__u64 frame;

		EXPECT(read(go[0], &c, 1) == 1, "read: %s", strerror(errno));
		frame = frame_of(memory);
		EXPECT(write(done[1], &frame, 8) == 8, "write: %s", strerror(errno));
		EXPECT(read(go[0], &c, 1) == 1, "read: %s", strerror(errno));
		ktap_done();
	}
	expect_gpu_reads(&w.gpu, at(&w, 0), SIZE, SEED);
	EXPECT(write(go[1], &c, 1) == 1, "write: %s", strerror(errno));
	EXPECT(read(done[0], &others, 8) == 8, "the child has failed");
	mine = frame_of(memory);
	EXPECT(mine && mine == others, "the page is %#llx, and the child's is %#llx", mine, others);
	EXPECT_OK(gpu_fill(&w.gpu, at(&w, 0), 1, 4));
	EXPECT(frame_of(memory) != others, "the GPU has written to the child's memory");
	EXPECT(write(go[1], &c, 1) == 1, "write: %s", strerror(errno));
	ktap_join(pid);
}

/* --- Memory that goes --------------------------------------------------------------- */

static void test_munmap(const void *arg)
{
	struct window w;
	__u32 *memory = bind_pattern(&w, arg, 0);

	EXPECT(!munmap(memory, SIZE), "munmap: %s", strerror(errno));
	expect_no_memory(&w, 0);
	expect_no_memory(&w, PAGES - 1);
	/* What comes there then is what the GPU finds. */
	map_at(memory, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1);
	expect_zeros(&w, 0, PAGES);
	expect_both_ways(&w, 0, memory, SIZE);
}

/* Where memory is still there programs find it, page by page if it must be. */
static void test_munmap_part(const void *arg)
{
	static const struct {
		size_t page, pages;
	} holes[] = { { 100, 1 }, { 0, 3 }, { PAGES - 17, 17 }, { 128, 16 }, { 200, 56 } };
	bool there[PAGES];
	struct window w;
	__u32 *memory = bind_pattern(&w, arg, 0);
	__u64 sum;

	memset(there, true, sizeof(there));
	for (size_t i = 0; i < ARRAY_SIZE(holes); i++) {
		EXPECT(!munmap(page_of(memory, holes[i].page), holes[i].pages * PAGE),
		       "munmap: %s", strerror(errno));
		memset(there + holes[i].page, false, holes[i].pages);
		for (size_t page = 0; page < PAGES; page++) {
			__u32 *gpu_page = page_of(at(&w, 0), page);
			__u32 *cpu_page = page_of(memory, page);

			EXPECT_ERR(gpu_checksum(&w.gpu, gpu_page, PAGE, &sum),
				   there[page] ? 0 : -EFAULT);
			if (page % 8 == 0)
				EXPECT_ERR(gpu_fill(&w.gpu, gpu_page, page + i, PAGE),
					   there[page] ? 0 : -EFAULT);
			if (page % 8 == 0 && there[page])
				expect_words(cpu_page, PAGE, page + i);
		}
		/* Two operands in one block, with holes in it. */
		EXPECT_OK(gpu_copy(&w.gpu, page_of(at(&w, 0), 150), page_of(at(&w, 0), 300),
				   40 * PAGE));
		expect_pattern_from(memory, 305 * WORDS_PER_PAGE, 7 * PAGE, SEED);
		EXPECT(!memcmp(page_of(memory, 150), page_of(memory, 300), 40 * PAGE),
		       "the copy is wrong");
	}
	for (size_t i = 0; i < ARRAY_SIZE(holes); i++)
		map_at(page_of(memory, holes[i].page), holes[i].pages * PAGE,
		       PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1);
	expect_both_ways(&w, 0, memory, SIZE);
}

static void test_replace(const void *arg)
{
	int fd = open_pattern_file("/tmp", SIZE, SEED + 1);
	struct window w;
	__u32 *memory = bind_pattern(&w, arg, 0);

	/* A part, and all of it. */
	map_at(page_of(memory, 5), 7 * PAGE, PROT_READ | PROT_WRITE,
	       MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1);
	expect_zeros(&w, 5, 7);
	expect_gpu_reads(&w.gpu, at(&w, 0), 5 * PAGE, SEED);
	map_at(memory, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd);
	expect_gpu_reads(&w.gpu, at(&w, 0), SIZE, SEED + 1);
	EXPECT_OK(gpu_fill(&w.gpu, at(&w, 0), 9, SIZE));
	expect_words(map_at(NULL, SIZE, PROT_READ, MAP_SHARED, fd), SIZE, 9);
	close(fd);
}

static void test_mremap(const void *arg)
{
	struct window w;
	__u32 *memory = bind_pattern(&w, arg, 0);
	__u32 *to = map_small(SIZE);

	EXPECT(mremap(memory, SIZE, SIZE, MREMAP_MAYMOVE | MREMAP_FIXED, to) == to,
	       "mremap: %s", strerror(errno));
	expect_no_memory(&w, 0);
	/* Under its new address it is as it was, and a userptr to that finds it. */
	bind_userptr(&w, PAGES, to, SIZE, 0);
	expect_gpu_reads(&w.gpu, at(&w, PAGES), SIZE, SEED);
	EXPECT(mremap(to, SIZE, SIZE, MREMAP_MAYMOVE | MREMAP_FIXED, memory) == memory,
	       "mremap: %s", strerror(errno));
	expect_gpu_reads(&w.gpu, at(&w, 0), SIZE, SEED);
	expect_no_memory(&w, PAGES);
	expect_both_ways(&w, 0, memory, SIZE);
}

static void test_advice(const void *arg)
{
	struct window w;
	__u32 *memory = bind_pattern(&w, arg, 0);

	EXPECT(!madvise(page_of(memory, 4), 4 * PAGE, MADV_DONTNEED), "MADV_DONTNEED: %s",
	       strerror(errno));
	expect_zeros(&w, 4, 4);
	expect_gpu_reads(&w.gpu, at(&w, 0), 4 * PAGE, SEED);
	/* What may be freed is what it was, or zero; and what the GPU writes then stays. */
	EXPECT(!madvise(memory, SIZE, MADV_FREE), "MADV_FREE: %s", strerror(errno));
	EXPECT_OK(gpu_fill(&w.gpu, at(&w, 0), 6, SIZE));
	expect_words(memory, SIZE, 6);
	expect_both_ways(&w, 0, memory, SIZE);
}

/* --- Protection ------------------------------------------------------------------------ */

static void protect(__u32 *memory, size_t page, size_t pages, int prot)
{
	EXPECT(!mprotect(page_of(memory, page), pages * PAGE, prot), "mprotect: %s",
	       strerror(errno));
}

static void test_mprotect(const void *arg)
{
	struct window w;
	__u32 *memory = bind_pattern(&w, arg, 0);

	protect(memory, 0, PAGES, PROT_READ);
	expect_gpu_reads(&w.gpu, at(&w, 0), SIZE, SEED);
	expect_no_write(&w, 0, -EPERM);
	expect_no_write(&w, PAGES - 1, -EPERM);
	protect(memory, 0, PAGES, PROT_NONE);
	expect_no_memory(&w, 0);
	protect(memory, 0, PAGES, PROT_READ | PROT_WRITE);
	expect_gpu_reads(&w.gpu, at(&w, 0), SIZE, SEED);
	expect_both_ways(&w, 0, memory, SIZE);
}

/* In a block of which every page may be used in another way. */
static void test_mprotect_part(const void *arg)
{
	struct window w;
	__u32 *memory = bind_pattern(&w, arg, 0);

	protect(memory, 10, 5, PROT_READ);
	protect(memory, 20, 5, PROT_NONE);
	for (size_t page = 0; page < 40; page++) {
		bool read_only = page >= 10 && page < 15, none = page >= 20 && page < 25;
		__u64 sum;

		EXPECT_ERR(gpu_checksum(&w.gpu, page_of(at(&w, 0), page), PAGE, &sum),
			   none ? -EFAULT : 0);
		EXPECT_ERR(gpu_fill(&w.gpu, page_of(at(&w, 0), page), page, PAGE),
			   none ? -EFAULT : read_only ? -EPERM : 0);
		if (!none && !read_only)
			expect_words(page_of(memory, page), PAGE, page);
	}
	/* From what may be read to what may be written, side by side. */
	EXPECT_OK(gpu_copy(&w.gpu, at(&w, 15), at(&w, 10), 5 * PAGE));
	expect_pattern_from(memory, 10 * WORDS_PER_PAGE, 5 * PAGE, SEED);
	EXPECT(!memcmp(page_of(memory, 15), page_of(memory, 10), 5 * PAGE), "the copy is wrong");
	protect(memory, 0, PAGES, PROT_READ | PROT_WRITE);
	expect_both_ways(&w, 0, memory, SIZE);
}

/* --- Pages that user space brings ----------------------------------------------------- */

/*
 * Where the kernel's HMM can wait, MAP has the handler bring all pages, and a program those that
 * have gone since; where it cannot, there is no memory until the CPU has touched it.
 */
static void test_uffd(const void *arg)
{
	const size_t pages = 16;
	__u32 *memory = (__u32 *)UFFD_MEMORY;
	struct handler handler;
	struct window w;

	start_handler(&handler, pages * PAGE, UFFDIO_REGISTER_MODE_MISSING);
	open_userptr_window(&w, arg, 0);
	EXPECT_ERR(BIND(&w, USERPTR_OP(&w, 0, pages, memory, 0)), hmm_waits() ? 0 : -EFAULT);
	EXPECT_EQ(handler.missing, hmm_waits() ? pages : 0);
	for (size_t page = 0; page < pages; page++)
		bring_page(&handler, page);
	bind_userptr(&w, 0, memory, pages * PAGE, 0);
	expect_gpu_reads(&w.gpu, at(&w, 0), pages * PAGE, UFFD_SEED);

	/* Two of them go, and are asked for again. */
	EXPECT(!madvise(page_of(memory, 3), 2 * PAGE, MADV_DONTNEED), "madvise: %s",
	       strerror(errno));
	handler.missing = 0;
	if (hmm_waits()) {
		expect_gpu_reads(&w.gpu, at(&w, 0), pages * PAGE, UFFD_SEED);
		EXPECT_EQ(handler.missing, 2);
	} else {
		expect_no_memory(&w, 3);
		expect_shows(&w, 5, 3, UFFD_SEED, 5);
		expect_pattern_from(memory, 3 * WORDS_PER_PAGE, 2 * PAGE, UFFD_SEED);
	}
	expect_both_ways(&w, 0, memory, pages * PAGE);
	stop_handler(&handler);
}

/* --- Pins, and memory that goes elsewhere ------------------------------------------------- */

static void test_pin(const void *arg)
{
	struct window w;
	__u32 *memory = bind_pattern(&w, arg, 0);
	int pin = pin_pages(memory, 16 * PAGE);
	__u64 frame = frame_of(memory);

	expect_both_ways(&w, 0, memory, SIZE);
	EXPECT(frame_of(memory) == frame, "a pinned page has moved");
	/* And what was pinned before the userptr was there. */
	bind_userptr(&w, PAGES, memory, SIZE, 0);
	expect_both_ways(&w, PAGES, memory, SIZE);
	EXPECT(frame_of(memory) == frame, "a pinned page has moved");
	EXPECT_OK(BIND(&w, UNMAP_OP(&w, 0, PAGES)));
	unpin_pages(pin);
	expect_both_ways(&w, PAGES, memory, SIZE);
}

/* A userptr pins nothing: its memory is swapped out, and the next program has it back. */
static void test_swap(const void *arg)
{
	struct window w;
	__u32 *memory;

	begin_swap();
	memory = bind_pattern(&w, arg, 0);
	for (__u32 round = 1; round <= 3; round++) {
		size_t swapped;

		EXPECT_OK(gpu_fill(&w.gpu, at(&w, 0), round, SIZE / 2));
		swapped = swap_out(memory, SIZE);
		ktap_note("%zu of %zu pages were swapped out", swapped, PAGES);
		EXPECT(swapped > PAGES / 2, "only %zu pages were swapped out", swapped);
		expect_gpu_sum(&w.gpu, at(&w, 0), SIZE / 2, (__u64)round * SIZE / 8);
		expect_pattern_from(memory, SIZE / 8, SIZE / 2, SEED);
	}
	swap_out(memory, SIZE);
	expect_both_ways(&w, 0, memory, SIZE);
	munmap(memory, SIZE);
	end_swap();
}

/* How many pages of a file are in memory. */
static size_t count_cached(int fd)
{
	char *file = map_at(NULL, SIZE, PROT_READ, MAP_SHARED, fd);
	unsigned char there[PAGES];
	size_t count = 0;

	EXPECT(!mincore(file, SIZE, there), "mincore: %s", strerror(errno));
	for (size_t i = 0; i < PAGES; i++)
		count += there[i] & 1;
	munmap(file, SIZE);
	return count;
}

/*
 * A file whose pages are not only in memory: a RAM disk keeps its data elsewhere. It is used page
 * by page: of more than 128 KiB that are written at once 7.3's keeps no more than that.
 */
static __u32 *map_disk(int *fd)
{
	__u32 *memory;

	*fd = open("/dev/ram0", O_RDWR | O_CLOEXEC);
	if (*fd < 0)
		ktap_skip("there is no RAM disk");
	memory = map_at(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, *fd);
	EXPECT(!madvise(memory, SIZE, MADV_RANDOM), "MADV_RANDOM: %s", strerror(errno));
	write_pattern(memory, SIZE, SEED);
	return memory;
}

static void write_back(__u32 *memory)
{
	for (size_t page = 0; page < PAGES; page++)
		EXPECT(!msync(page_of(memory, page), PAGE, MS_SYNC), "msync: %s",
		       strerror(errno));
}

/* What the GPU wrote into a file is on the disk after msync(), and reaches the GPU again. */
static void test_dirty_file(const void *arg)
{
	int fd;
	__u32 *memory = map_disk(&fd);
	struct window w;

	open_userptr_window(&w, arg, 0);
	bind_userptr(&w, 0, memory, SIZE, 0);
	for (__u32 round = 1; round <= 3; round++) {
		size_t cached;

		EXPECT_OK(gpu_fill(&w.gpu, at(&w, 0), round, SIZE / 2));
		write_back(memory);
		EXPECT(!madvise(memory, SIZE, MADV_PAGEOUT), "MADV_PAGEOUT: %s", strerror(errno));
		drop_page_cache();
		cached = count_cached(fd);
		EXPECT(cached < PAGES / 2, "%zu pages of %zu are still in memory", cached, PAGES);
		expect_gpu_sum(&w.gpu, at(&w, 0), SIZE / 2, (__u64)round * SIZE / 8);
		expect_pattern_from(memory, SIZE / 8, SIZE / 2, SEED);
	}
	close(fd);
}

static const struct ktap_case cases[] = {
	IN_BOTH("fork() and writes of both", test_fork),
	IN_BOTH("copy on write", test_copy_on_write),
	{ "faults: a read leaves a page shared", test_read_keeps_shared, &faults },
	IN_BOTH("munmap() and other memory", test_munmap),
	IN_BOTH("munmap() of parts", test_munmap_part),
	IN_BOTH("other memory in its place", test_replace),
	IN_BOTH("mremap()", test_mremap),
	IN_BOTH("MADV_DONTNEED and MADV_FREE", test_advice),
	IN_BOTH("mprotect()", test_mprotect),
	IN_BOTH("mprotect() of parts", test_mprotect_part),
	IN_BOTH("userfaultfd", test_uffd),
	IN_BOTH("pinned pages", test_pin),
	IN_BOTH("swapped out, and back", test_swap),
	IN_BOTH("a file on a disk, written and dropped", test_dirty_file),
};

int main(int argc, char **argv)
{
	return ktap_main(argc, argv, cases, ARRAY_SIZE(cases));
}
