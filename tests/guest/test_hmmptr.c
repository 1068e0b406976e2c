// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * A userptr whose memory may live in VRAM, all of it or page by page: it stays where it is
 * while programs use it, goes where it is moved, and is the process's own at any time.
 */
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "devices.h"
#include "modules.h"
#include "place.h"
#include "userptr.h"

#define SIZE MIB(2)
#define PAGES (SIZE / PAGE)
#define SEED 61
#define MAY_MIGRATE DRM_SVM_STUB_BIND_MAY_MIGRATE

static __u32 *page_of(__u32 *memory, size_t page)
{
	return memory + page * WORDS_PER_PAGE;
}

/* A window of a device with VRAM, in a VM of the variant's kind. */
static void open_vram_window(struct window *w, const void *variant, __u32 flags)
{
	open_window(w);
	if (!gpu_can_migrate(&w->gpu))
		ktap_skip("the device cannot migrate");
	EXPECT_OK(gpu_close(&w->gpu));
	open_userptr_window(w, variant, flags);
}

/* Memory with a pattern, bound from page 0 on. */
static __u32 *bind_pattern(struct window *w, const void *variant)
{
	__u32 *memory = map_small_pattern(SIZE, SEED);

	open_vram_window(w, variant, 0);
	bind_userptr(w, 0, memory, SIZE, MAY_MIGRATE);
	return memory;
}

static void move(struct window *w, __u32 *memory, size_t page, size_t pages, bool to_vram)
{
	int err = -EBUSY;

	/* Pages that were used are on a list of some CPU for a while. */
	for (int i = 0; i < 10 && err == -EBUSY; i++) {
		drop_page_cache();
		err = gpu_migrate(&w->gpu, page_of(memory, page), pages * PAGE,
				  to_vram ? 0 : TO_RAM);
	}
	EXPECT_OK(err);
	expect_blocks(&w->gpu, page_of(memory, page), pages * PAGE, 0, to_vram ? 0 : pages,
		      to_vram ? pages : 0);
}

/* --- Where it is --------------------------------------------------------------------- */

/* In VRAM before it is bound, and after. */
static void test_stays(const void *arg)
{
	__u32 *memory = map_small_pattern(SIZE, SEED);
	struct window w;

	open_vram_window(&w, arg, 0);
	move(&w, memory, 0, PAGES, true);
	bind_userptr(&w, 0, memory, SIZE, MAY_MIGRATE);
	expect_gpu_reads(&w.gpu, at(&w, 0), SIZE, SEED);
	expect_vram(&w.gpu, memory, SIZE);
	EXPECT_OK(gpu_fill(&w.gpu, at(&w, 0), 3, SIZE));
	expect_gpu_sum(&w.gpu, at(&w, 0), SIZE, 3ull * SIZE / 4);
	expect_vram(&w.gpu, memory, SIZE);
	expect_words(memory, SIZE, 3);
	expect_both_ways(&w, 0, memory, SIZE);
}

/* A userptr that may not brings all of it to RAM. */
static void test_may_not(const void *arg)
{
	__u32 *memory = map_small_pattern(SIZE, SEED);
	struct window w;

	open_vram_window(&w, arg, 0);
	move(&w, memory, 0, PAGES, true);
	bind_userptr(&w, 0, memory, SIZE, 0);
	expect_ram(&w.gpu, memory, SIZE);
	expect_gpu_reads(&w.gpu, at(&w, 0), SIZE, SEED);
	/* And has it come back when it was moved away from under it. */
	move(&w, memory, 0, PAGES / 2, true);
	expect_gpu_reads(&w.gpu, at(&w, 0), SIZE, SEED);
	expect_ram(&w.gpu, memory, SIZE);
	/* Nothing to be prefetched. */
	EXPECT_OK(BIND(&w, PREFETCH_OP(&w, 0, PAGES)));
	expect_ram(&w.gpu, memory, SIZE);
}

/* Some of it here, some of it there, behind one mapping and in one program. */
static void test_half(const void *arg)
{
	struct window w;
	__u32 *memory = bind_pattern(&w, arg);

	for (size_t page = 0; page < PAGES; page += 64)
		move(&w, memory, page, 32, true);
	expect_gpu_reads(&w.gpu, at(&w, 0), SIZE, SEED);
	expect_blocks(&w.gpu, memory, SIZE, 0, PAGES / 2, PAGES / 2);
	EXPECT_OK(gpu_fill(&w.gpu, at(&w, 0), 8, SIZE));
	expect_gpu_sum(&w.gpu, at(&w, 0), SIZE, 8ull * SIZE / 4);
	expect_blocks(&w.gpu, memory, SIZE, 0, PAGES / 2, PAGES / 2);
	/* What the CPU touches comes back, and the GPU finds what it writes there. */
	for (size_t page = 0; page < PAGES; page += 128)
		page_of(memory, page)[0] = 9;
	expect_gpu_sum(&w.gpu, at(&w, 0), SIZE, 8ull * SIZE / 4 + PAGES / 128);
	expect_both_ways(&w, 0, memory, SIZE);
	expect_ram(&w.gpu, memory, SIZE);
}

/* It goes to and fro under its mapping. */
static void test_moves(const void *arg)
{
	struct window w;
	__u32 *memory = bind_pattern(&w, arg);

	for (__u32 round = 0; round < 6; round++) {
		size_t first = round * 37, pages = PAGES / 2;

		move(&w, memory, first, pages, true);
		expect_gpu_reads(&w.gpu, at(&w, 0), SIZE, SEED + round);
		expect_vram(&w.gpu, page_of(memory, first), pages * PAGE);
		write_pattern(memory, SIZE, SEED + round + 1);
		expect_gpu_reads(&w.gpu, at(&w, 0), SIZE, SEED + round + 1);
		expect_ram(&w.gpu, memory, SIZE);
	}
}

static void test_huge(const void *arg)
{
	__u32 *memory = map_huge_pattern(2 * SIZE, SEED);
	struct window w;

	open_vram_window(&w, arg, 0);
	bind_userptr(&w, 4 * PAGES, memory + WORDS_PER_PAGE, 2 * SIZE - 2 * PAGE, MAY_MIGRATE);
	move(&w, memory, 0, PAGES, true);
	expect_gpu_reads(&w.gpu, memory, 2 * SIZE, SEED);
	EXPECT_OK(gpu_fill(&w.gpu, at(&w, 4 * PAGES), 2, 2 * SIZE - 2 * PAGE));
	expect_vram(&w.gpu, memory, SIZE);
	expect_ram(&w.gpu, page_of(memory, PAGES), SIZE);
	expect_pattern(memory, PAGE, SEED);
	expect_words(page_of(memory, 1), 2 * SIZE - 2 * PAGE, 2);
	expect_both_ways(&w, 4 * PAGES, page_of(memory, 1), 2 * SIZE - 2 * PAGE);
}

/* --- Who moves it ----------------------------------------------------------------------- */

/* As far as it goes: a page that is on a list of some CPU, after it was used, stays. */
static void expect_prefetched(struct window *w, __u32 *memory, size_t page, size_t pages)
{
	struct drm_svm_stub_block block;

	EXPECT_OK(gpu_where(&w->gpu, page_of(memory, page), pages * PAGE, &block));
	EXPECT(block.device >= pages - pages / 8, "only %u of %zu pages are in VRAM",
	       block.device, pages);
	EXPECT_EQ(block.device + block.system, pages);
}

static void test_prefetch(const void *arg)
{
	struct window w;
	__u32 *memory = bind_pattern(&w, arg);

	expect_ram(&w.gpu, memory, SIZE);
	EXPECT_OK(BIND(&w, PREFETCH_OP(&w, 64, 128)));
	expect_prefetched(&w, memory, 64, 128);
	expect_ram(&w.gpu, memory, 64 * PAGE);
	expect_ram(&w.gpu, page_of(memory, 192), SIZE - 192 * PAGE);
	expect_gpu_reads(&w.gpu, at(&w, 0), SIZE, SEED);
	/* All of it, in the VM_BIND that shows it, and what is not ours is left out of it. */
	EXPECT_OK(BIND(&w, USERPTR_OP(&w, 0, PAGES, memory, MAY_MIGRATE), UNMAP_OP(&w, 8, 8),
		       PREFETCH_OP(&w, 0, PAGES)));
	expect_prefetched(&w, memory, 0, 8);
	expect_ram(&w.gpu, page_of(memory, 8), 8 * PAGE);
	expect_prefetched(&w, memory, 16, PAGES - 16);
	expect_gpu_reads(&w.gpu, at(&w, 0), 8 * PAGE, SEED);
	expect_both_ways(&w, 16, page_of(memory, 16), SIZE - 16 * PAGE);
	/* What cannot move is used where it is. */
	EXPECT(!munmap(page_of(memory, 100), PAGE), "munmap: %s", strerror(errno));
	EXPECT_OK(BIND(&w, PREFETCH_OP(&w, 0, PAGES)));
	expect_prefetched(&w, memory, 101, 1);
	expect_no_memory(&w, 100);
}

/* A GPU that moves memory on a fault does here, too. */
static void test_on_fault(const void *arg)
{
	__u32 *memory = map_small_pattern(SIZE, SEED);
	struct window w;

	open_vram_window(&w, arg, DRM_SVM_STUB_VM_MIGRATE_ON_FAULT);
	bind_userptr(&w, 0, memory, SIZE, MAY_MIGRATE);
	/* The CPU takes it away from the GPU. */
	EXPECT(!mprotect(memory, SIZE, PROT_READ), "mprotect: %s", strerror(errno));
	EXPECT(!mprotect(memory, SIZE, PROT_READ | PROT_WRITE), "mprotect: %s", strerror(errno));
	expect_gpu_reads(&w.gpu, at(&w, 0), SIZE, SEED);
	expect_vram(&w.gpu, memory, SIZE);
	expect_both_ways(&w, 0, memory, SIZE);
}

/* --- What the process does with it ------------------------------------------------------- */

static void test_fork(const void *arg)
{
	struct window w;
	__u32 *memory = bind_pattern(&w, arg);
	pid_t pid;

	move(&w, memory, 0, PAGES / 2, true);
	expect_gpu_reads(&w.gpu, at(&w, 0), SIZE, SEED);
	pid = ktap_fork();
	if (!pid) {
		usleep(100000);
		expect_pattern(memory, SIZE, SEED);
		write_pattern(memory, SIZE, SEED + 1);
		expect_pattern(memory, SIZE, SEED + 1);
		ktap_done();
	}
	EXPECT_OK(gpu_fill(&w.gpu, at(&w, 0), 3, SIZE));
	ktap_join(pid);
	expect_gpu_sum(&w.gpu, at(&w, 0), SIZE, 3ull * SIZE / 4);
	expect_words(memory, SIZE, 3);
	expect_both_ways(&w, 0, memory, SIZE);
}

/* Its VRAM is free at once, though the mapping is still there. */
static void test_munmap(const void *arg)
{
	struct window w;
	__u32 *memory = bind_pattern(&w, arg);

	move(&w, memory, 0, PAGES, true);
	expect_gpu_reads(&w.gpu, at(&w, 0), SIZE, SEED);
	expect_vram_used(&w.gpu, SIZE);
	EXPECT(!munmap(memory, SIZE / 2), "munmap: %s", strerror(errno));
	expect_no_memory(&w, 0);
	expect_shows(&w, PAGES / 2, PAGES / 2, SEED, PAGES / 2);
	EXPECT(!munmap(page_of(memory, PAGES / 2), SIZE / 2), "munmap: %s", strerror(errno));
	expect_no_memory(&w, PAGES - 1);
	expect_vram_used(&w.gpu, 0);
}

static void test_read_only(const void *arg)
{
	__u32 *memory = map_small_pattern(SIZE, SEED);
	struct window w;

	open_vram_window(&w, arg, 0);
	bind_userptr(&w, 0, memory, SIZE, MAY_MIGRATE | DRM_SVM_STUB_BIND_READONLY);
	move(&w, memory, 0, PAGES / 2, true);
	expect_gpu_reads(&w.gpu, at(&w, 0), SIZE, SEED);
	expect_no_write(&w, 0, -EPERM);
	expect_no_write(&w, PAGES - 1, -EPERM);
	expect_blocks(&w.gpu, memory, SIZE, 0, PAGES / 2, PAGES / 2);
	expect_pattern(memory, SIZE, SEED);
}

/* What was in VRAM when its device goes is in RAM. */
static void test_unbind(const void *arg)
{
	struct window w;
	__u32 *memory;

	need_unbind(0);
	memory = bind_pattern(&w, arg);
	move(&w, memory, 0, PAGES, true);
	EXPECT_OK(gpu_fill(&w.gpu, at(&w, 0), 4, SIZE));
	EXPECT_OK(unbind_device(0));
	EXPECT_ERR(gpu_fill(&w.gpu, at(&w, 0), 5, 4), -ENODEV);
	expect_words(memory, SIZE, 4);
	EXPECT_OK(bind_device(0));
	EXPECT_OK(gpu_close(&w.gpu));
	munmap(memory, SIZE);
	memory = bind_pattern(&w, arg);
	expect_both_ways(&w, 0, memory, SIZE);
}

/* Memory of one device behind a userptr of another one, that reaches it. */
static void test_peer(const void *arg)
{
	__u32 *memory = map_small_pattern(SIZE, SEED);
	struct drm_svm_stub_block block;
	struct window w;
	struct gpu peer;
	int err;

	err = reload_stub("devices=2");
	if (err)
		ktap_skip("the driver cannot be loaded with two devices");
	open_vram_window(&w, arg, 0);
	EXPECT_OK(gpu_open_device(&peer, 1, 0));
	EXPECT_OK(gpu_migrate(&peer, memory, SIZE / 2, 0));
	bind_userptr(&w, 0, memory, SIZE, MAY_MIGRATE);
	expect_gpu_reads(&w.gpu, at(&w, 0), SIZE, SEED);
	EXPECT_OK(gpu_where_peer(&w.gpu, memory, SIZE, &block));
	EXPECT_EQ(block.device, w.gpu.info.capabilities & DRM_SVM_STUB_CAP_PEER ? PAGES / 2 : 0);
	/* Of two devices in one block, and of none. */
	EXPECT_OK(gpu_migrate(&w.gpu, page_of(memory, PAGES / 2), SIZE / 4, 0));
	expect_gpu_reads(&w.gpu, at(&w, 0), SIZE, SEED);
	expect_both_ways(&w, 0, memory, SIZE);
	EXPECT_OK(gpu_close(&peer));
	EXPECT_OK(gpu_close(&w.gpu));
}

/* --- Anything, in any order --------------------------------------------------------------- */

/*
 * One byte of state for each page: the number that all of its words are. Whoever writes,
 * wherever it is, all others read that.
 */
static void test_model(const void *arg)
{
	enum { STEPS = 150 };
	struct window w;
	__u32 *memory = bind_pattern(&w, arg), value[PAGES] = {};
	bool bound = true;

	memset(memory, 0, SIZE);
	for (__u32 step = 1; step <= STEPS; step++) {
		size_t first = ktap_random() % PAGES;
		size_t pages = 1 + ktap_random() % (PAGES - first < 96 ? PAGES - first : 96);
		__u32 *start = page_of(memory, first);
		unsigned int what = ktap_random() % 10;
		__u32 written = value[first];
		__u64 sum = 0;

		if (what < 2) {
			for (size_t i = 0; i < pages * WORDS_PER_PAGE; i++)
				start[i] = step;
		} else if (what < 5) {
			EXPECT_OK(gpu_fill(&w.gpu, bound ? at(&w, first) : start, step,
					   pages * PAGE));
		} else if (what < 7) {
			int err = gpu_migrate(&w.gpu, start, pages * PAGE,
					      what == 5 ? DRM_SVM_STUB_MIGRATE_FAULT_IN : TO_RAM);

			/* Some page may be on its way somewhere. */
			EXPECT(!err || err == -EBUSY, "MIGRATE: %s", strerror(-err));
		} else if (what == 7) {
			EXPECT(!madvise(start, pages * PAGE, MADV_DONTNEED), "madvise: %s",
			       strerror(errno));
		} else if (what == 8) {
			bound = !bound;
			if (bound)
				bind_userptr(&w, 0, memory, SIZE, MAY_MIGRATE);
			else
				EXPECT_OK(BIND(&w, UNMAP_OP(&w, 0, PAGES)));
		} else if (bound) {
			EXPECT_OK(BIND(&w, PREFETCH_OP(&w, first, pages)));
		}
		if (what < 5)
			written = step;
		for (size_t i = first; i < first + pages; i++)
			value[i] = what < 5 ? written : what == 7 ? 0 : value[i];

		for (size_t i = 0; i < PAGES; i++)
			sum += (__u64)value[i] * WORDS_PER_PAGE;
		expect_gpu_sum(&w.gpu, bound ? at(&w, 0) : memory, SIZE, sum);
		/* Now and then what the CPU sees: that brings it back. */
		for (size_t i = ktap_random() % 64; i < PAGES; i += 64)
			expect_words(page_of(memory, i), step % 8 ? 4 : PAGE, value[i]);
	}
	for (size_t i = 0; i < PAGES; i++)
		expect_words(page_of(memory, i), PAGE, value[i]);
}

static const struct ktap_case cases[] = {
	IN_BOTH("stays in VRAM", test_stays),
	IN_BOTH("a userptr that may not", test_may_not),
	IN_BOTH("half in VRAM and half in RAM", test_half),
	IN_BOTH("moved under its mapping", test_moves),
	IN_BOTH("huge pages", test_huge),
	IN_BOTH("PREFETCH", test_prefetch),
	{ "faults: moved by a fault", test_on_fault, &faults },
	IN_BOTH("fork()", test_fork),
	IN_BOTH("munmap()", test_munmap),
	IN_BOTH("a read-only mapping", test_read_only),
	IN_BOTH("the device goes", test_unbind),
	IN_BOTH("memory of another device", test_peer),
	IN_BOTH("random operations", test_model),
};

int main(int argc, char **argv)
{
	int status;

	read_modules();
	status = ktap_main(argc, argv, cases, ARRAY_SIZE(cases));
	reload_stub(NULL);
	restore_modules();
	return status;
}
