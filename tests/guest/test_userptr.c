// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Userptrs in the bind window: what VM_BIND does with them, alone and among buffer objects,
 * and what becomes of them when their process, their VM or their device goes.
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

#define PAGES 64
#define SIZE (PAGES * PAGE)
#define SEED 41

static __u32 *page_of(__u32 *memory, size_t page)
{
	return memory + page * WORDS_PER_PAGE;
}

static __u32 *map_words(size_t size, __u32 seed)
{
	__u32 *memory = map_small(size);

	write_pattern(memory, size, seed);
	return memory;
}

/* --- What VM_BIND says ------------------------------------------------------------ */

static void test_arguments(const void *arg)
{
	__u32 *memory = map_words(SIZE, SEED);
	__u64 address = (uintptr_t)memory;
	struct window w;
	struct bo bo;

	open_userptr_window(&w, arg, 0);
	make_bo(&w, &bo, 4, 0, 1);
	const struct {
		__u32 flags, handle;
		__u64 offset, range, repeat;
		int err;
	} bad[] = {
		{ DRM_SVM_STUB_BIND_SPARSE, 0, address, SIZE, 0, -EINVAL },
		{ DRM_SVM_STUB_BIND_COALESCE, 0, address, SIZE, 0, -EINVAL },
		{ DRM_SVM_STUB_BIND_REPEAT, 0, address, SIZE, PAGE, -EINVAL },
		{ DRM_SVM_STUB_BIND_MAY_MIGRATE << 1, 0, address, SIZE, 0, -EINVAL },
		{ 0, bo.handle, address, SIZE, 0, -EINVAL },
		{ 0, 0, address, SIZE, PAGE, -EINVAL },
		{ 0, 0, address + 8, SIZE, 0, -EINVAL },
		{ 0, 0, 0, SIZE, 0, -EINVAL },
		{ 0, 0, w.gpu.info.va_end - PAGE, SIZE, 0, -EINVAL },
		{ 0, 0, -(__u64)PAGE, SIZE, 0, -EINVAL },
		{ 0, 0, 0xffff888000000000, SIZE, 0, -EINVAL },
		{ 0, 0, address, 0, 0, -EINVAL },
		{ 0, 0, address, SIZE + 8, 0, -EINVAL },
	};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct drm_svm_stub_bind_op op = USERPTR_OP(&w, 0, 0, bad[i].offset, bad[i].flags);

		op.handle = bad[i].handle;
		op.range = bad[i].range;
		op.repeat_range = bad[i].repeat;
		EXPECT(gpu_bind(&w.gpu, op) == bad[i].err, "argument set %zu", i);
	}
	/* Of a mapping that is none there is no memory to migrate. */
	EXPECT_ERR(BIND(&w, MAP_OP(&w, 0, 4, &bo, 0, .flags = DRM_SVM_STUB_BIND_MAY_MIGRATE)),
		   -EINVAL);
	expect_nothing(&w, 0, 1);
	expect_mappings(&w, 0);
	EXPECT_EQ(stats_of(&w.gpu).userptrs, 0);
}

/* If one of the ops fails, nothing has come of the others. */
static void test_all_or_nothing(const void *arg)
{
	__u32 *memory = map_words(SIZE, SEED);
	struct window w;
	struct bo bo;

	open_userptr_window(&w, arg, 0);
	make_bo(&w, &bo, 4, 0, 1);
	EXPECT_OK(BIND(&w, MAP_OP(&w, 0, 4, &bo, 0)));
	EXPECT_ERR(BIND(&w, USERPTR_OP(&w, 0, 8, memory, 0),
			USERPTR_OP(&w, 8, 8, page_of(memory, 8), 0),
			USERPTR_OP(&w, 16, 1, PAGE, 0)), -EFAULT);
	EXPECT_ERR(BIND(&w, USERPTR_OP(&w, 8, 8, memory, 0),
			USERPTR_OP(&w, 0, 8, memory, DRM_SVM_STUB_BIND_NOREPLACE)), -EEXIST);
	expect_shows(&w, 0, 4, 1, 0);
	expect_nothing(&w, 8, 1);
	expect_mappings(&w, 1);
	EXPECT_EQ(stats_of(&w.gpu).userptrs, 0);
	/* What comes and goes in one VM_BIND leaves nothing either. */
	EXPECT_OK(BIND(&w, USERPTR_OP(&w, 0, 8, memory, 0), UNMAP_OP(&w, 2, 4),
		       MAP_OP(&w, 0, 4, &bo, 0), UNMAP_OP(&w, 4, 60)));
	expect_shows(&w, 0, 4, 1, 0);
	expect_nothing(&w, 4, 4);
	EXPECT_EQ(stats_of(&w.gpu).userptrs, 0);
}

/* --- Mappings that are cut --------------------------------------------------------- */

/* What is left of one is as good as it was, and follows the CPU. */
static void test_unmap_middle(const void *arg)
{
	__u32 *memory = map_words(SIZE, SEED);
	struct window w;

	open_userptr_window(&w, arg, 0);
	bind_userptr(&w, 0, memory, SIZE, 0);
	EXPECT_OK(BIND(&w, UNMAP_OP(&w, 20, 10)));
	expect_mappings(&w, 2);
	EXPECT_EQ(stats_of(&w.gpu).userptrs, 1);
	expect_nothing(&w, 20, 10);
	expect_shows(&w, 0, 20, SEED, 0);
	expect_shows(&w, 30, 34, SEED, 30);
	expect_both_ways(&w, 0, memory, 20 * PAGE);
	expect_both_ways(&w, 30, page_of(memory, 30), 34 * PAGE);
	/* Both follow the CPU, and the part that nothing shows is nobody's concern. */
	EXPECT(!madvise(memory, SIZE, MADV_DONTNEED), "madvise: %s", strerror(errno));
	EXPECT(!munmap(page_of(memory, 20), 10 * PAGE), "munmap: %s", strerror(errno));
	expect_zeros(&w, 0, 20);
	expect_zeros(&w, 30, 34);
	expect_both_ways(&w, 0, memory, 20 * PAGE);
	expect_both_ways(&w, 30, page_of(memory, 30), 34 * PAGE);
	EXPECT_OK(BIND(&w, UNMAP_OP(&w, 0, 20)));
	EXPECT_EQ(stats_of(&w.gpu).userptrs, 1);
	expect_both_ways(&w, 30, page_of(memory, 30), 34 * PAGE);
	EXPECT_OK(BIND(&w, UNMAP_OP(&w, 30, 34)));
	EXPECT_EQ(stats_of(&w.gpu).userptrs, 0);
}

/* Blocks that nothing shows any more are not known any more: an event there meets nothing. */
static void test_forgotten(const void *arg)
{
	const size_t block = HUGE_PAGE / PAGE, page = 8 * WINDOW_PAGES;
	__u32 *memory = map_words(3 * HUGE_PAGE, SEED);
	__u32 *middle = page_of(memory, block);
	struct drm_svm_stub_vm_stats s[4];
	struct window w;

	open_userptr_window(&w, arg, 0);
	bind_userptr(&w, page, memory, 3 * HUGE_PAGE, 0);
	s[0] = stats_of(&w.gpu);
	EXPECT(!madvise(middle, HUGE_PAGE, MADV_DONTNEED), "madvise: %s", strerror(errno));
	s[1] = stats_of(&w.gpu);
	EXPECT_EQ(s[1].userptr_pieces_invalidated - s[0].userptr_pieces_invalidated, 1);
	expect_gpu_sum(&w.gpu, at(&w, page + block), HUGE_PAGE, 0);
	EXPECT_OK(BIND(&w, UNMAP_OP(&w, page + block, block)));
	s[2] = stats_of(&w.gpu);
	EXPECT(!munmap(middle, HUGE_PAGE), "munmap: %s", strerror(errno));
	s[3] = stats_of(&w.gpu);
	EXPECT_EQ(s[3].userptr_pieces_invalidated, s[2].userptr_pieces_invalidated);
	expect_gpu_reads(&w.gpu, at(&w, page), HUGE_PAGE, SEED);
	EXPECT_EQ(stats_of(&w.gpu).userptr_collections, s[2].userptr_collections);
	expect_both_ways(&w, page, memory, HUGE_PAGE);
	expect_both_ways(&w, page + 2 * block, page_of(memory, 2 * block), HUGE_PAGE);
}

/* An object over a part of it stays when the CPU takes the memory behind it. */
static void test_object_over_part(const void *arg)
{
	__u32 *memory = map_words(SIZE, SEED);
	struct window w;
	struct bo bo;

	open_userptr_window(&w, arg, 0);
	make_bo(&w, &bo, 8, 0, 1);
	bind_userptr(&w, 0, memory, SIZE, 0);
	EXPECT_OK(BIND(&w, MAP_OP(&w, 16, 8, &bo, 0)));
	expect_shows(&w, 16, 8, 1, 0);
	expect_shows(&w, 0, 16, SEED, 0);
	expect_shows(&w, 24, 40, SEED, 24);
	/* An invalidation of all of it is none of the object's. */
	EXPECT(!madvise(memory, SIZE, MADV_DONTNEED), "madvise: %s", strerror(errno));
	expect_shows(&w, 16, 8, 1, 0);
	expect_zeros(&w, 0, 16);
	expect_zeros(&w, 24, 40);
	expect_both_ways(&w, 0, memory, 16 * PAGE);
	expect_both_ways(&w, 24, page_of(memory, 24), 40 * PAGE);
	expect_shows(&w, 16, 8, 1, 0);
	/* And a userptr over a part of the object. */
	write_pattern(memory, SIZE, SEED);
	bind_userptr(&w, 18, memory, 2 * PAGE, 0);
	expect_shows(&w, 18, 2, SEED, 0);
	expect_shows(&w, 16, 2, 1, 0);
	expect_shows(&w, 20, 4, 1, 4);
	expect_both_ways(&w, 18, memory, 2 * PAGE);
}

/* Random cuts and mappings over each other, against an array that says what is shown. */
static void test_random_cuts(const void *arg)
{
	enum { NOTHING, MEMORY, OBJECT };
	struct {
		int kind;
		size_t source;
	} page[PAGES] = {};
	__u32 *memory = map_words(SIZE, SEED);
	struct window w;
	struct bo bo;

	open_userptr_window(&w, arg, 0);
	make_bo(&w, &bo, PAGES, 0, 1);
	for (int step = 0; step < 120; step++) {
		size_t first = ktap_random() % PAGES;
		size_t pages = 1 + ktap_random() % (PAGES - first);
		size_t source = ktap_random() % (PAGES - pages + 1);
		int kind = ktap_random() % 4;

		if (kind == NOTHING)
			EXPECT_OK(BIND(&w, UNMAP_OP(&w, first, pages)));
		else if (kind == OBJECT)
			EXPECT_OK(BIND(&w, MAP_OP(&w, first, pages, &bo, source)));
		else
			bind_userptr(&w, first, page_of(memory, source), pages * PAGE, 0);
		for (size_t i = 0; i < pages; i++) {
			page[first + i].kind = kind == NOTHING || kind == OBJECT ? kind : MEMORY;
			page[first + i].source = source + i;
		}
		/* Takes it from the GPU, and changes nothing. */
		source = ktap_random() % PAGES;
		EXPECT(!mprotect(page_of(memory, source), PAGE, PROT_READ) &&
		       !mprotect(page_of(memory, source), PAGE, PROT_READ | PROT_WRITE),
		       "mprotect: %s", strerror(errno));
		for (size_t i = 0; i < PAGES; i++) {
			if (page[i].kind == NOTHING)
				expect_nothing(&w, i, 1);
			else
				expect_shows(&w, i, 1, page[i].kind == OBJECT ? 1 : SEED,
					     page[i].source);
		}
	}
	EXPECT_OK(BIND(&w, UNMAP_OP(&w, 0, PAGES)));
	EXPECT_EQ(stats_of(&w.gpu).userptrs, 0);
}

/* --- Many of them --------------------------------------------------------------------- */

static void test_same_memory(const void *arg)
{
	/* A kernel that debugs DMA mappings complains of more than seven of a page. */
	const size_t count = access("/sys/kernel/debug/dma-api", F_OK) ? 64 : 6;
	__u32 *memory = map_words(SIZE / 8, SEED);
	struct drm_svm_stub_vm_stats before, after;
	struct window w;

	open_userptr_window(&w, arg, 0);
	for (size_t i = 0; i < count; i++)
		bind_userptr(&w, i * 8, memory, SIZE / 8, 0);
	EXPECT_EQ(stats_of(&w.gpu).userptrs, count);
	for (size_t i = 0; i < count; i++) {
		EXPECT_OK(gpu_fill(&w.gpu, at(&w, i * 8), i + 1, SIZE / 8));
		expect_gpu_sum(&w.gpu, at(&w, (i + 7) % count * 8), SIZE / 8,
			       (i + 1) * SIZE / 32);
	}
	/* An event of the CPU's meets all of them. */
	before = stats_of(&w.gpu);
	EXPECT(!madvise(memory, SIZE / 8, MADV_DONTNEED), "madvise: %s", strerror(errno));
	after = stats_of(&w.gpu);
	EXPECT_EQ(after.userptr_pieces_invalidated - before.userptr_pieces_invalidated, count);
	for (size_t i = 0; i < count; i++)
		expect_zeros(&w, i * 8, 8);
	EXPECT_OK(BIND(&w, UNMAP_OP(&w, 0, count * 8)));
	EXPECT_EQ(stats_of(&w.gpu).userptrs, 0);
}

/* The mirror and userptrs show the same memory, and an event is one for both. */
static void test_mirror_too(const void *arg)
{
	__u32 *memory = map_words(SIZE, SEED);
	struct window w;

	open_userptr_window(&w, arg, 0);
	bind_userptr(&w, 0, memory, SIZE, 0);
	for (__u32 round = 1; round <= 4; round++) {
		EXPECT_OK(gpu_fill(&w.gpu, memory, round, SIZE));
		expect_gpu_sum(&w.gpu, at(&w, 0), SIZE, (__u64)round * SIZE / 4);
		EXPECT_OK(gpu_fill(&w.gpu, at(&w, 0), round + 9, SIZE));
		expect_gpu_sum(&w.gpu, memory, SIZE, (round + 9ull) * SIZE / 4);
		EXPECT(!madvise(memory, SIZE, MADV_DONTNEED), "madvise: %s", strerror(errno));
		EXPECT_OK(gpu_copy(&w.gpu, page_of(memory, 1), at(&w, 0), PAGE));
		expect_words(memory, SIZE, 0);
	}
}

/* --- Counters ------------------------------------------------------------------------- */

static void test_counters(const void *arg)
{
	const bool *stopping = arg;
	__u32 *memory = map_words(SIZE, SEED);
	struct drm_svm_stub_vm_stats s[3];
	struct window w;

	open_userptr_window(&w, arg, 0);
	bind_userptr(&w, 0, memory, SIZE, 0);
	s[0] = stats_of(&w.gpu);
	EXPECT_EQ(s[0].userptrs, 1);
	EXPECT_EQ(s[0].userptr_pages_mapped, PAGES);
	/* All is there, for the first program, too. */
	expect_gpu_reads(&w.gpu, at(&w, 0), SIZE, SEED);
	EXPECT_EQ(w.gpu.faults, 0);
	EXPECT(!madvise(memory, SIZE, MADV_DONTNEED), "madvise: %s", strerror(errno));
	s[1] = stats_of(&w.gpu);
	EXPECT_EQ(s[1].userptr_invalidations - s[0].userptr_invalidations, 1);
	EXPECT_EQ(s[1].userptr_pieces_invalidated - s[0].userptr_pieces_invalidated, 1);
	EXPECT_EQ(s[1].userptr_collections, s[0].userptr_collections);
	expect_gpu_sum(&w.gpu, at(&w, 0), SIZE, 0);
	EXPECT_EQ(w.gpu.faults, *stopping ? 0 : 1);
	s[2] = stats_of(&w.gpu);
	EXPECT_EQ(s[2].userptr_collections - s[1].userptr_collections, 1);
	EXPECT_EQ(s[2].userptr_pages_mapped - s[1].userptr_pages_mapped, PAGES);
	EXPECT_EQ(s[2].userptr_revalidations - s[1].userptr_revalidations, *stopping);
	EXPECT_EQ(s[2].gpu_faults - s[1].gpu_faults, !*stopping);
	EXPECT_EQ(s[2].userptr_lost, 0);
	/* Memory that is lost shows as that, once. */
	EXPECT(!munmap(memory, SIZE), "munmap: %s", strerror(errno));
	expect_no_memory(&w, 0);
	EXPECT_EQ(stats_of(&w.gpu).userptr_lost, *stopping);
	EXPECT(stats_of(&w.gpu).userptr_failures > 0, "no collection has failed");
}

/* --- Asynchronous VM_BIND ---------------------------------------------------------------- */

static void test_async(const void *arg)
{
	__u32 *memory = map_words(SIZE, SEED);
	struct window w;
	struct gate gate;
	__u32 first, last;

	open_userptr_window(&w, arg, 0);
	close_gate(&gate, &w);
	EXPECT_OK(sync_create(&w.gpu, &first, false));
	EXPECT_OK(sync_create(&w.gpu, &last, false));
	EXPECT_OK(BIND_ASYNC(&w, gate.sync, first, USERPTR_OP(&w, 0, PAGES, memory, 0)));
	EXPECT_OK(BIND_ASYNC(&w, 0, last, UNMAP_OP(&w, 8, 8)));
	/* What is to come is not there yet, and what the CPU does meanwhile it is going to see. */
	expect_nothing(&w, 0, 1);
	EXPECT_EQ(stats_of(&w.gpu).userptrs, 1);
	EXPECT(!madvise(memory, SIZE, MADV_DONTNEED), "madvise: %s", strerror(errno));
	write_pattern(memory, SIZE / 2, SEED + 1);
	expect_nothing(&w, 0, 1);
	open_gate(&gate);
	EXPECT_OK(sync_wait(&w.gpu, last, 60000));
	EXPECT_EQ(sync_status(&w.gpu, first), 1);
	expect_shows(&w, 0, 8, SEED + 1, 0);
	expect_nothing(&w, 8, 8);
	expect_shows(&w, 16, 16, SEED + 1, 16);
	expect_zeros(&w, 32, 32);
	expect_both_ways(&w, 16, page_of(memory, 16), 48 * PAGE);
}

/* What is still to be taken away is shown until then, and never wrong. */
static void test_async_unmap(const void *arg)
{
	__u32 *memory = map_words(SIZE, SEED);
	struct window w;
	struct gate gate;
	struct bo bo;
	__u32 sync;

	open_userptr_window(&w, arg, 0);
	make_bo(&w, &bo, PAGES, 0, 1);
	bind_userptr(&w, 0, memory, SIZE, 0);
	close_gate(&gate, &w);
	EXPECT_OK(sync_create(&w.gpu, &sync, false));
	EXPECT_OK(BIND_ASYNC(&w, gate.sync, sync, MAP_OP(&w, 0, PAGES, &bo, 0)));
	expect_shows(&w, 0, PAGES, SEED, 0);
	EXPECT_EQ(stats_of(&w.gpu).userptrs, 1);
	/* An event of the CPU's takes it from the GPU: its next user finds new data or none. */
	EXPECT(!munmap(memory, SIZE), "munmap: %s", strerror(errno));
	map_at(memory, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1);
	for (size_t page = 0; page < PAGES; page += 9) {
		__u64 sum = -1;
		int err = gpu_checksum(&w.gpu, at(&w, page), PAGE, &sum);

		EXPECT(err == -EFAULT || (!err && !sum), "page %zu: %s, sum %#llx", page,
		       strerror(-err), sum);
	}
	open_gate(&gate);
	EXPECT_OK(sync_wait(&w.gpu, sync, 60000));
	expect_shows(&w, 0, PAGES, 1, 0);
	/* What the job has left behind goes a little later. */
	for (int i = 0; i < 600 && stats_of(&w.gpu).userptrs; i++)
		usleep(100000);
	EXPECT_EQ(stats_of(&w.gpu).userptrs, 0);
	EXPECT(!madvise(memory, SIZE, MADV_DONTNEED), "madvise: %s", strerror(errno));
	expect_shows(&w, 0, PAGES, 1, 0);
}

/* --- The end ------------------------------------------------------------------------------ */

static void test_destroy(const void *arg)
{
	__u32 *memory = map_words(SIZE, SEED);
	struct window w;
	struct gate gate;

	open_userptr_window(&w, arg, 0);
	close_gate(&gate, &w);
	for (int i = 0; i < 10; i++) {
		bind_userptr(&w, 0, memory, SIZE, 0);
		EXPECT_OK(gpu_fill(&w.gpu, at(&w, 0), i, SIZE));
		/* Some that are still to come, or to go. */
		EXPECT_OK(BIND_ASYNC(&w, gate.sync, 0, USERPTR_OP(&w, 32, PAGES, memory, 0)));
		EXPECT_OK(BIND_ASYNC(&w, 0, 0, UNMAP_OP(&w, 8, 40)));
		EXPECT_OK(gpu_destroy(&w.gpu, w.gpu.vm));
		expect_words(memory, SIZE, i);
		EXPECT_OK(gpu_create(&w.gpu, 0));
		expect_nothing(&w, 0, 1);
	}
	open_gate(&gate);
	write_pattern(memory, SIZE, SEED);
	expect_pattern(memory, SIZE, SEED);
}

/* The memory of a process that has gone is nobody's, whoever still has the VM's file. */
static void test_exit_before_close(const void *arg)
{
	struct window w;
	int ready[2];
	pid_t pid;

	EXPECT(!pipe(ready), "pipe: %s", strerror(errno));
	open_userptr_window(&w, arg, 0);
	pid = ktap_fork();
	if (!pid) {
		__u32 *memory = map_words(SIZE, SEED);
		struct drm_svm_stub_vm_stats stats;

		EXPECT_OK(gpu_create(&w.gpu, *(const bool *)arg ? DRM_SVM_STUB_VM_NO_BIND_FAULTS :
							       0));
		bind_userptr(&w, 0, memory, SIZE, 0);
		EXPECT_OK(gpu_fill(&w.gpu, at(&w, 0), 3, SIZE));
		EXPECT_OK(gpu_stats(&w.gpu, &stats));
		EXPECT(write(ready[1], &w.gpu.vm, 4) == 4, "write: %s", strerror(errno));
		ktap_done();
	}
	EXPECT(read(ready[0], &w.gpu.vm, 4) == 4, "the child has failed");
	ktap_join(pid);
	/* Its address space has gone with it, and took what was mapped. */
	for (int i = 0; i < 600 && !stats_of(&w.gpu).userptr_pieces_invalidated; i++)
		usleep(100000);
	EXPECT_EQ(stats_of(&w.gpu).userptrs, 1);
	EXPECT(stats_of(&w.gpu).userptr_pieces_invalidated > 0, "it is still mapped");
	EXPECT_ERR(gpu_fill(&w.gpu, at(&w, 0), 3, SIZE), -EACCES);
	EXPECT_OK(gpu_destroy(&w.gpu, w.gpu.vm));
}

static void test_unbind(const void *arg)
{
	__u32 *memory = map_words(SIZE, SEED);
	struct drm_svm_stub_vm_bind bind = {};
	struct window w;
	struct gate gate;

	need_unbind(0);
	open_userptr_window(&w, arg, 0);
	bind_userptr(&w, 0, memory, SIZE, 0);
	EXPECT_OK(gpu_fill(&w.gpu, at(&w, 0), 4, SIZE));
	close_gate(&gate, &w);
	EXPECT_OK(BIND_ASYNC(&w, gate.sync, 0, USERPTR_OP(&w, PAGES, PAGES, memory, 0)));
	EXPECT_OK(unbind_device(0));
	EXPECT_ERR(gpu_fill(&w.gpu, at(&w, 0), 5, 4), -ENODEV);
	EXPECT_ERR(gpu_vm_bind(&w.gpu, &bind), -ENODEV);
	expect_words(memory, SIZE, 4);
	/* What is behind them changes as if they were not there. */
	write_pattern(memory, SIZE, SEED);
	EXPECT(!madvise(memory, SIZE / 2, MADV_DONTNEED), "madvise: %s", strerror(errno));
	EXPECT(!munmap(memory, SIZE), "munmap: %s", strerror(errno));
	EXPECT_OK(bind_device(0));
	EXPECT_OK(gpu_close(&w.gpu));
	memory = map_words(SIZE, SEED);
	open_userptr_window(&w, arg, 0);
	bind_userptr(&w, 0, memory, SIZE, 0);
	expect_both_ways(&w, 0, memory, SIZE);
}

static const struct ktap_case cases[] = {
	IN_BOTH("bad arguments", test_arguments),
	IN_BOTH("all or nothing", test_all_or_nothing),
	IN_BOTH("the middle is unmapped", test_unmap_middle),
	IN_BOTH("what nothing shows is forgotten", test_forgotten),
	IN_BOTH("an object over a part of it", test_object_over_part),
	IN_BOTH("random cuts", test_random_cuts),
	IN_BOTH("many of the same memory", test_same_memory),
	IN_BOTH("the mirror shows it as well", test_mirror_too),
	IN_BOTH("counters", test_counters),
	IN_BOTH("bound later", test_async),
	IN_BOTH("unbound later", test_async_unmap),
	IN_BOTH("VM_DESTROY", test_destroy),
	IN_BOTH("the process goes before the VM", test_exit_before_close),
	IN_BOTH("the device goes", test_unbind),
};

int main(int argc, char **argv)
{
	return ktap_main(argc, argv, cases, ARRAY_SIZE(cases));
}
