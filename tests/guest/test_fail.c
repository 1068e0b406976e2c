// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * What becomes of a process that shares its memory with the GPU when the kernel has no
 * memory: each allocation of each call fails in turn (inject.h). Then the call has either
 * done without, or said -ENOMEM and left all as it was; the data is there in any case, and
 * in the end all VRAM is free again. VM_BIND and objects: see test_bind.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "inject.h"
#include "memory.h"

#define PAGES 16
#define SIZE (PAGES * PAGE)
#define SEED 7
#define TO_RAM DRM_SVM_STUB_MIGRATE_TO_RAM

/* A VM and memory that it can use, and what was free before it did. */
struct scene {
	struct gpu gpu;
	__u32 *words;
	__u64 vram_free;
	__u32 other_vm;
	pid_t child;
	__u32 *more; /* other memory, of what moves there or evicts */
	__u8 report[PAGES];
	struct bo hog; /* VRAM that nobody can evict */
};

static struct drm_svm_stub_block where(struct scene *s)
{
	struct drm_svm_stub_block block;

	EXPECT_OK(gpu_where(&s->gpu, s->words, SIZE, &block));
	return block;
}

static void expect_free(struct scene *s)
{
	struct drm_svm_stub_info info;

	EXPECT_OK(gpu_info(&s->gpu, &info));
	EXPECT_EQ(info.vram_free, s->vram_free);
}

static void open_scene(struct scene *s)
{
	*s = (struct scene){};
	inject_failures();
	open_vm(&s->gpu, &ram);
	EXPECT_OK(gpu_wait_free(&s->gpu, 10));
	EXPECT_OK(gpu_info(&s->gpu, &s->gpu.info));
	s->vram_free = s->gpu.info.vram_free;
	s->words = map(SIZE);
	/* So that there are many pages to fail for. */
	madvise(s->words, SIZE, MADV_NOHUGEPAGE);
	write_pattern(s->words, SIZE, SEED);
}

static void to_vram(struct scene *s)
{
	if (!gpu_can_migrate(&s->gpu))
		ktap_skip("the device cannot migrate");
	EXPECT_OK(gpu_migrate(&s->gpu, s->words, SIZE, 0));
	EXPECT_EQ(where(s).device, PAGES);
}

static void close_scene(struct scene *s)
{
	expect_pattern(s->words, SIZE, SEED);
	expect_free(s);
	EXPECT_OK(gpu_close(&s->gpu));
}

struct call {
	/* What it needs, made while nothing fails; may be NULL. */
	void (*before)(struct scene *s);
	/* Returns 0 or a negative errno. */
	int (*call)(struct scene *s);
	/* Checks what it has done or not done, and undoes it. */
	void (*after)(struct scene *s, int err);
	/* What it may return besides -ENOMEM. */
	int errors[2];
	/* So many of its allocations let it fail at least; with 0 none may. */
	unsigned int failures;
};

static bool is_among(const struct call *call, int err)
{
	return err == -ENOMEM || err == call->errors[0] || err == call->errors[1];
}

static void run(const void *arg)
{
	const struct call *call = arg;
	unsigned int nth, failures = 0;
	bool come = true;
	struct scene s;

	open_scene(&s);
	for (nth = 1; come; nth++) {
		int err;

		if (call->before)
			call->before(&s);
		fail_nth(nth);
		err = call->call(&s);
		come = has_failed();
		EXPECT(!err || (come && call->failures && is_among(call, err)),
		       "allocation %u: %s", nth, strerror(-err));
		failures += err != 0;
		call->after(&s, err);
	}
	ktap_note("%u of %u allocations let it fail", failures, nth - 2);
	EXPECT(failures >= call->failures, "only %u of its allocations let it fail", failures);
	close_scene(&s);
}

/* --- Asking --------------------------------------------------------------------- */

static void nothing_more(struct scene *s, int err)
{
	(void)s;
	(void)err;
}

static int call_info(struct scene *s)
{
	struct drm_svm_stub_info info;

	return gpu_info(&s->gpu, &info);
}

static int call_stats(struct scene *s)
{
	struct drm_svm_stub_vm_stats stats;

	return gpu_stats(&s->gpu, &stats);
}

static int call_residency(struct scene *s)
{
	struct drm_svm_stub_block blocks[PAGES];

	return gpu_residency(&s->gpu, s->words, SIZE, PAGE, blocks);
}

/* --- VMs -------------------------------------------------------------------------- */

static int call_create(struct scene *s)
{
	struct gpu second = s->gpu;
	int err = gpu_create(&second, 0);

	s->other_vm = err ? 0 : second.vm;
	return err;
}

static void after_create(struct scene *s, int err)
{
	if (!err)
		EXPECT_OK(gpu_destroy(&s->gpu, s->other_vm));
}

static void before_destroy(struct scene *s)
{
	EXPECT_OK(call_create(s));
}

static int call_destroy(struct scene *s)
{
	return gpu_destroy(&s->gpu, s->other_vm);
}

/* --- Programs ---------------------------------------------------------------------- */

static int call_fill(struct scene *s)
{
	return gpu_fill(&s->gpu, s->words, 5, SIZE);
}

static void after_fill(struct scene *s, int err)
{
	if (err)
		expect_pattern(s->words, SIZE, SEED);
	else
		expect_words(s->words, SIZE, 5);
	write_pattern(s->words, SIZE, SEED);
}

/* --- Moving ------------------------------------------------------------------------- */

static int call_to_vram(struct scene *s)
{
	return gpu_migrate(&s->gpu, s->words, SIZE, 0);
}

static int call_to_ram(struct scene *s)
{
	return gpu_migrate(&s->gpu, s->words, SIZE, TO_RAM);
}

/* Each page is in one place, and has its data; then all of it comes to RAM. */
static void after_move(struct scene *s, int err)
{
	struct drm_svm_stub_block block = where(s);

	(void)err;
	EXPECT_EQ(block.system + block.device, PAGES);
	expect_gpu_reads(&s->gpu, s->words, SIZE, SEED);
	EXPECT_OK(call_to_ram(s));
	EXPECT_EQ(where(s).system, PAGES);
	expect_pattern(s->words, SIZE, SEED);
	expect_free(s);
}

static void after_to_vram(struct scene *s, int err)
{
	if (!err)
		EXPECT_EQ(where(s).device, PAGES);
	after_move(s, err);
}

static void after_to_ram(struct scene *s, int err)
{
	if (!err)
		EXPECT_EQ(where(s).system, PAGES);
	after_move(s, err);
}

/* A fault has nobody to return an error to: it comes again, and memory does, too. */
static int call_touch(struct scene *s)
{
	return *(volatile __u32 *)s->words == pattern(SEED, 0) ? 0 : -EIO;
}

static void after_touch(struct scene *s, int err)
{
	EXPECT(where(s).system, "no page has come to RAM");
	after_move(s, err);
}

/* The same with a report, which has to say where each page is. */
static int call_report(struct scene *s)
{
	struct drm_svm_stub_migrate migrate = { .report = (uintptr_t)s->report };

	return gpu_migrate_as(&s->gpu, s->words, SIZE, &migrate);
}

static void after_report(struct scene *s, int err)
{
	struct drm_svm_stub_block blocks[PAGES];

	EXPECT_OK(gpu_residency(&s->gpu, s->words, SIZE, PAGE, blocks));
	/* Without memory for it there is none. */
	for (size_t i = 0; i < PAGES && err != -ENOMEM; i++)
		EXPECT(blocks[i].device == (s->report[i] <= DRM_SVM_STUB_WAS_THERE),
		       "page %zu: reported %u, %u in VRAM", i, s->report[i], blocks[i].device);
	after_to_vram(s, err);
}

/* --- Making room ---------------------------------------------------------------------- */

/* There is VRAM for this memory or for the other one. */
static void before_evict(struct scene *s)
{
	if (!s->more) {
		s->more = map(SIZE);
		madvise(s->more, SIZE, MADV_NOHUGEPAGE);
		write_pattern(s->more, SIZE, SEED + 1);
		EXPECT_OK(bo_create(&s->gpu, &s->hog, s->vram_free - SIZE, DRM_SVM_STUB_BO_VRAM));
		s->vram_free = SIZE;
	}
	to_vram(s);
}

static int call_evict(struct scene *s)
{
	return gpu_migrate(&s->gpu, s->more, SIZE, 0);
}

static void after_evict(struct scene *s, int err)
{
	struct drm_svm_stub_block block;

	if (!err) {
		EXPECT_OK(gpu_where(&s->gpu, s->more, SIZE, &block));
		EXPECT_EQ(block.device, PAGES);
	}
	expect_gpu_reads(&s->gpu, s->more, SIZE, SEED + 1);
	expect_pattern(s->more, SIZE, SEED + 1);
	after_move(s, err);
}

/* --- Huge pages --------------------------------------------------------------------------- */

static void before_huge(struct scene *s)
{
	if (!s->more) {
		s->more = map(HUGE_PAGE);
		if (madvise(s->more, HUGE_PAGE, MADV_HUGEPAGE))
			ktap_skip("the kernel has no transparent huge pages");
		write_pattern(s->more, HUGE_PAGE, SEED + 1);
	}
}

static void before_huge_to_ram(struct scene *s)
{
	before_huge(s);
	EXPECT_OK(gpu_migrate(&s->gpu, s->more, HUGE_PAGE, 0));
}

static int call_huge_to_vram(struct scene *s)
{
	return gpu_migrate(&s->gpu, s->more, HUGE_PAGE, 0);
}

static int call_huge_touch(struct scene *s)
{
	return ((volatile __u32 *)s->more)[MIB(1) / 4] == pattern(SEED + 1, MIB(1) / 4) ? 0 : -EIO;
}

/* New memory each time: what has been split stays in pieces. */
static void after_huge(struct scene *s, int err)
{
	(void)err;
	expect_gpu_reads(&s->gpu, s->more, HUGE_PAGE, SEED + 1);
	expect_pattern(s->more, HUGE_PAGE, SEED + 1);
	munmap(s->more, HUGE_PAGE);
	s->more = NULL;
	EXPECT_OK(gpu_wait_free(&s->gpu, 10));
}

/* --- What the process does to its memory ---------------------------------------------- */

static int call_fork(struct scene *s)
{
	s->child = fork();
	if (!s->child) {
		expect_pattern(s->words, SIZE, SEED);
		ktap_done();
	}
	return s->child < 0 ? -errno : 0;
}

static void after_fork(struct scene *s, int err)
{
	if (!err)
		ktap_join(s->child);
	after_move(s, err);
}

#define HOLE (s->words + 4 * WORDS_PER_PAGE)
#define HOLE_SIZE (2 * PAGE)

static int call_munmap(struct scene *s)
{
	return munmap(HOLE, HOLE_SIZE) ? -errno : 0;
}

static void after_munmap(struct scene *s, int err)
{
	if (!err) {
		EXPECT_EQ(where(s).none, HOLE_SIZE / PAGE);
		map_at(HOLE, HOLE_SIZE, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1);
		madvise(HOLE, HOLE_SIZE, MADV_NOHUGEPAGE);
		write_pattern(s->words, SIZE, SEED);
	}
	after_move(s, err);
}

static int call_mprotect(struct scene *s)
{
	return mprotect(HOLE, HOLE_SIZE, PROT_READ) ? -errno : 0;
}

static void after_mprotect(struct scene *s, int err)
{
	/* With what is there: it says who may write and changes nothing. */
	EXPECT_ERR(gpu_copy(&s->gpu, HOLE, HOLE, HOLE_SIZE), err ? 0 : -EPERM);
	EXPECT(!mprotect(HOLE, HOLE_SIZE, PROT_READ | PROT_WRITE), "mprotect: %s", strerror(errno));
	EXPECT_OK(gpu_copy(&s->gpu, HOLE, HOLE, HOLE_SIZE));
	after_move(s, err);
}

/* --- What the GPU does ------------------------------------------------------------------ */

#define TRIES 60

/* Its faults are served by other threads, so there it is the module that has no memory. */
static void test_gpu_faults(const void *arg)
{
	const bool *migrate = arg;
	unsigned int failures = 0, i;
	struct scene s;

	open_scene(&s);
	if (*migrate) {
		to_vram(&s);
		EXPECT_OK(gpu_create(&s.gpu, DRM_SVM_STUB_VM_MIGRATE_ON_FAULT));
	}
	choose_module("drm_svm_stub");
	for (i = 0; i < TRIES; i++) {
		__u32 *fresh = map(SIZE);
		int err;

		madvise(fresh, SIZE, MADV_NOHUGEPAGE);
		fail_often(5);
		err = gpu_copy(&s.gpu, fresh, s.words, SIZE);
		fail_often(0);
		EXPECT(!err || err == -ENOMEM, "%s", strerror(-err));
		failures += err != 0;
		if (err)
			EXPECT_OK(gpu_copy(&s.gpu, fresh, s.words, SIZE));
		expect_pattern(fresh, SIZE, SEED);
		munmap(fresh, SIZE);
		expect_pattern(s.words, SIZE, SEED);
	}
	choose_all();
	ktap_note("%u of %u programs had not enough memory", failures, TRIES);
	EXPECT(failures, "no program had too little memory");
	close_scene(&s);
}

/* ------------------------------------------------------------------------------------------ */

#define CASE(name, ...) { name, run, &(const struct call){ __VA_ARGS__ } }

static const struct ktap_case cases[] = {
	CASE("INFO", .call = call_info, .after = nothing_more),
	CASE("VM_STATS", .call = call_stats, .after = nothing_more, .failures = 1),
	CASE("RESIDENCY", .call = call_residency, .after = nothing_more, .failures = 1),
	CASE("VM_CREATE", .call = call_create, .after = after_create, .failures = 1),
	CASE("VM_DESTROY", .before = before_destroy, .call = call_destroy, .after = nothing_more),
	CASE("EXEC", .call = call_fill, .after = after_fill, .failures = 1),
	CASE("MIGRATE to VRAM", .call = call_to_vram, .after = after_to_vram, .errors = { -EBUSY },
	     .failures = 3),
	CASE("MIGRATE to RAM", .before = to_vram, .call = call_to_ram, .after = after_to_ram,
	     .errors = { -EBUSY }, .failures = 1),
	CASE("MIGRATE with a report", .call = call_report, .after = after_report,
	     .errors = { -EBUSY }, .failures = 3),
	CASE("MIGRATE that evicts", .before = before_evict, .call = call_evict,
	     .after = after_evict, .errors = { -EBUSY, -ENOSPC }, .failures = 3),
	CASE("MIGRATE of a huge page", .before = before_huge, .call = call_huge_to_vram,
	     .after = after_huge, .errors = { -EBUSY }, .failures = 1),
	CASE("CPU fault of a huge page", .before = before_huge_to_ram, .call = call_huge_touch,
	     .after = after_huge),
	CASE("CPU fault", .before = to_vram, .call = call_touch, .after = after_touch),
	CASE("fork", .before = to_vram, .call = call_fork, .after = after_fork,
	     .errors = { -EAGAIN }, .failures = 10),
	CASE("munmap", .before = to_vram, .call = call_munmap, .after = after_munmap,
	     .failures = 1),
	CASE("mprotect", .before = to_vram, .call = call_mprotect, .after = after_mprotect,
	     .failures = 1),
	{ "GPU faults that stay in RAM", test_gpu_faults, &ram },
	{ "GPU faults that move to VRAM", test_gpu_faults, &vram },
};

/*
 * After a fork the area of rseq(2) is copied on the way back to user space, and if there is
 * no page for it the kernel ends the process, whatever it shares with whom. So without.
 */
#define TUNABLES "GLIBC_TUNABLES"

int main(int argc, char **argv)
{
	if (!getenv(TUNABLES)) {
		setenv(TUNABLES, "glibc.pthread.rseq=0", 1);
		execv("/proc/self/exe", argv);
	}
	return ktap_main(argc, argv, cases, ARRAY_SIZE(cases));
}
