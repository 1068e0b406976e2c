// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Userptrs whose memory changes while they are made, used and taken away: by other threads, by
 * other processes, and at each step of the driver's own, by invalidations that debugfs injects.
 * Programs compute the right thing, or say that they could not.
 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "place.h"
#include "program.h"
#include "userptr.h"

#define SEED 51
#define BLOCK MIB(2)

static __u32 *page_of(__u32 *memory, size_t page)
{
	return memory + page * WORDS_PER_PAGE;
}

/* --- Threads that change memory ------------------------------------------------------ */

struct changer {
	char *memory;
	size_t pages;
	/* One change of some pages; what it must not change depends on the case. */
	void (*change)(char *start, size_t size, unsigned int round);
	unsigned int rounds, seed;
	pthread_t thread;
	bool stop;
};

static void *change_for_ever(void *arg)
{
	struct changer *changer = arg;
	unsigned int seed = changer->seed;

	while (!__atomic_load_n(&changer->stop, __ATOMIC_ACQUIRE)) {
		size_t first = rand_r(&seed) % changer->pages;
		size_t pages = 1 + rand_r(&seed) % (changer->pages - first);

		changer->change(changer->memory + first * PAGE, pages * PAGE, changer->rounds);
		changer->rounds++;
		/* Or nobody would ever find the memory at rest. */
		usleep(200);
	}
	return NULL;
}

static void start_changer(struct changer *changer, void *memory, size_t size,
			  void (*change)(char *start, size_t size, unsigned int round))
{
	*changer = (struct changer){ .memory = memory, .pages = size / PAGE, .change = change,
				     .seed = ktap_random() };
	EXPECT(!pthread_create(&changer->thread, NULL, change_for_ever, changer), "pthread_create");
}

static void stop_changer(struct changer *changer)
{
	__atomic_store_n(&changer->stop, true, __ATOMIC_RELEASE);
	pthread_join(changer->thread, NULL);
	EXPECT(changer->rounds > 0, "nothing was changed");
}

/* Takes memory from the GPU, and leaves it as it is. */
static void change_protection(char *start, size_t size, unsigned int round)
{
	mprotect(start, size, PROT_READ | PROT_WRITE | (round % 2 ? PROT_EXEC : 0));
}

/* Puts fresh memory in the place of what is there, so that there is always some. */
static void change_memory(char *start, size_t size, unsigned int round)
{
	if (round % 2)
		madvise(start, size, MADV_DONTNEED);
	else
		mmap(start, size, PROT_READ | PROT_WRITE,
		     MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
}

/* And leaves none there for a moment. */
static void change_existence(char *start, size_t size, unsigned int round)
{
	munmap(start, size);
	change_memory(start, size, 2 * round);
}

/* --- Programs while memory changes ------------------------------------------------------ */

/* Copies of copies are right, however often their memory is taken from the GPU. */
static void test_compute(const void *arg)
{
	const size_t size = MIB(1);
	__u32 *memory = map_small(4 * size);
	struct changer changer;
	struct window w;

	open_userptr_window(&w, arg, 0);
	bind_userptr(&w, 0, memory, 4 * size, 0);
	start_changer(&changer, memory, 4 * size, change_protection);
	for (__u32 round = 0; round < 6; round++) {
		__u32 *a = at(&w, 0), *b = a + size / 4, *c = b + size / 4, *d = c + size / 4;

		write_pattern(memory, size, SEED + round);
		EXPECT_DONE(gpu_copy(&w.gpu, b, a, size));
		EXPECT_DONE(gpu_fill(&w.gpu, c, round, size));
		EXPECT_DONE(gpu_add(&w.gpu, d, b, c, size));
		for (size_t i = 0; i < size / 4; i++)
			EXPECT(memory[3 * size / 4 + i] == pattern(SEED + round, i) + round,
			       "round %u: word %zu is %#x", round, i, memory[3 * size / 4 + i]);
		expect_pattern(memory + size / 4, size, SEED + round);
	}
	stop_changer(&changer);
	ktap_note("%u changes", changer.rounds);
	EXPECT(stats_of(&w.gpu).userptr_invalidations > 6, "the GPU has lost nothing");
}

/* Several programs at once, each on pages of its own. */
static void test_side_by_side(const void *arg)
{
	enum { PROGRAMS = 6 };
	const size_t size = KIB(512);
	__u32 *memory = map_small(PROGRAMS * size);
	struct program programs[PROGRAMS];
	struct changer changer;
	struct window w;

	open_userptr_window(&w, arg, 0);
	bind_userptr(&w, 0, memory, PROGRAMS * size, 0);
	start_changer(&changer, memory, PROGRAMS * size, change_protection);
	for (__u32 round = 1; round <= 6; round++) {
		for (size_t i = 0; i < PROGRAMS; i++)
			start_fill(&programs[i], &w.gpu, at(&w, i * size / PAGE), round * 16 + i,
				   size);
		for (size_t i = 0; i < PROGRAMS; i++) {
			__u32 *start = at(&w, i * size / PAGE);
			int err = finish(&programs[i]);

			if (err == -EBUSY)
				EXPECT_DONE(gpu_fill(&w.gpu, start, round * 16 + i, size));
			else
				EXPECT_OK(err);
		}
		for (size_t i = 0; i < PROGRAMS; i++)
			expect_words(memory + i * size / 4, size, round * 16 + i);
	}
	stop_changer(&changer);
}

/* Of memory that comes and goes programs read zeros or what was written, or find none. */
static void test_existence(const void *arg)
{
	__u32 *memory = map_small(BLOCK);
	struct changer changer;
	int failed = 0;
	struct window w;

	open_userptr_window(&w, arg, 0);
	bind_userptr(&w, 0, memory, BLOCK, 0);
	start_changer(&changer, memory, BLOCK, change_existence);
	for (__u32 round = 0; round < 20; round++) {
		size_t page = ktap_random() % (BLOCK / PAGE - 8);
		__u64 sum = 0;
		int err = gpu_fill(&w.gpu, at(&w, page), 1, 8 * PAGE);

		EXPECT(!err || err == -EFAULT || err == -EBUSY, "FILL: %s", strerror(-err));
		failed += !!err;
		err = gpu_checksum(&w.gpu, at(&w, 0), BLOCK, &sum);
		EXPECT(!err || err == -EFAULT || err == -EBUSY, "CHECKSUM: %s", strerror(-err));
		failed += !!err;
		EXPECT(sum <= BLOCK / 4, "the sum is %#llx", sum);
	}
	stop_changer(&changer);
	ktap_note("%d of 40 programs found no memory", failed);
	expect_both_ways(&w, 0, memory, BLOCK);
}

/* A process that forks all the time shares its pages, and has its own at once. */
static void test_forks(const void *arg)
{
	const size_t size = KIB(256);
	__u32 *memory = map_small(size);
	struct window w;

	open_userptr_window(&w, arg, 0);
	bind_userptr(&w, 0, memory, size, 0);
	for (__u32 round = 1; round <= 12; round++) {
		struct program program;
		pid_t pid;

		write_pattern(memory, size, round);
		start_fill(&program, &w.gpu, at(&w, 8), round, size / 2);
		pid = ktap_fork();
		if (!pid) {
			/* It has what there was in that moment, and none of what came then. */
			__u32 word = page_of(memory, 9)[5];

			EXPECT(word == round || word == pattern(round, 9 * WORDS_PER_PAGE + 5),
			       "the child has %#x", word);
			expect_pattern(memory, 8 * PAGE, round);
			memset(memory, 0xdd, size);
			ktap_done();
		}
		EXPECT_OK(finish(&program));
		ktap_join(pid);
		expect_words(page_of(memory, 8), size / 2, round);
		expect_pattern(memory, 8 * PAGE, round);
		expect_both_ways(&w, 0, memory, size);
	}
}

/* --- VM_BIND while memory changes ------------------------------------------------------- */

#define BATCH 100

/* Each page of memory behind a userptr of its own, again and again, in another order. */
static void test_ten_thousand(const void *arg)
{
	enum { COUNT = 10000, THREADS = 2 };
	const size_t pages = 2 * BATCH;
	__u32 *memory = map_small(pages * PAGE);
	struct drm_svm_stub_bind_op ops[BATCH];
	struct changer changers[THREADS];
	struct window w;
	double start = now_ms();

	open_userptr_window(&w, arg, 0);
	for (size_t i = 0; i < THREADS; i++)
		start_changer(&changers[i], memory, pages * PAGE, change_memory);
	for (size_t made = 0; made < COUNT; made += BATCH) {
		size_t skip = ktap_random() % BATCH;

		for (size_t i = 0; i < BATCH; i++)
			ops[i] = USERPTR_OP(&w, i, 1, page_of(memory, skip + i), 0);
		EXPECT_DONE(gpu_bind_ops(&w.gpu, ops, BATCH));
		EXPECT_EQ(stats_of(&w.gpu).userptrs, BATCH);
		EXPECT_OK(gpu_fill(&w.gpu, at(&w, made / BATCH % BATCH), made, PAGE));
	}
	for (size_t i = 0; i < THREADS; i++)
		stop_changer(&changers[i]);
	ktap_note("%d in %.1f s, with %u changes", COUNT, (now_ms() - start) / 1e3,
		  changers[0].rounds + changers[1].rounds);
	EXPECT_OK(BIND(&w, UNMAP_OP(&w, 0, BATCH)));
	EXPECT_EQ(stats_of(&w.gpu).userptrs, 0);
	expect_nothing(&w, 0, 1);
	bind_userptr(&w, 0, memory, pages * PAGE, 0);
	expect_both_ways(&w, 0, memory, pages * PAGE);
}

struct binder {
	struct window *w;
	__u32 *memory;
	size_t pages;
	pthread_t thread;
	bool stop;
	unsigned int rounds;
	int err;
};

static void *bind_for_ever(void *arg)
{
	struct binder *binder = arg;
	struct window *w = binder->w;

	while (!__atomic_load_n(&binder->stop, __ATOMIC_ACQUIRE) && !binder->err) {
		size_t half = binder->pages / 2;

		binder->err = BIND(w, USERPTR_OP(w, 0, binder->pages, binder->memory, 0));
		/* Its memory was taken away all the time, and nothing has changed. */
		if (binder->err == -EBUSY) {
			binder->err = 0;
			continue;
		}
		if (!binder->err)
			binder->err = BIND(w, UNMAP_OP(w, half / 2, half));
		if (!binder->err)
			binder->err = BIND(w, UNMAP_OP(w, 0, half),
					   USERPTR_OP(w, 0, half, binder->memory, 0));
		if (binder->err == -EBUSY)
			binder->err = 0;
		binder->rounds++;
	}
	return NULL;
}

/* Programs use what is bound and unbound under them; its memory changes too. */
static void test_bind_under_programs(const void *arg)
{
	const size_t size = MIB(1);
	__u32 *memory = map_small(size);
	struct binder binder = { .memory = memory, .pages = size / PAGE };
	struct changer changer;
	int missed = 0;
	struct window w;

	open_userptr_window(&w, arg, 0);
	binder.w = &w;
	memset(memory, 0, size);
	start_changer(&changer, memory, size, change_protection);
	EXPECT(!pthread_create(&binder.thread, NULL, bind_for_ever, &binder), "pthread_create");
	for (__u32 round = 1; round <= 60; round++) {
		size_t page = ktap_random() % (size / PAGE - 8);
		int err = gpu_fill(&w.gpu, at(&w, page), round, 8 * PAGE);

		EXPECT(!err || err == -EFAULT || err == -EBUSY, "FILL: %s", strerror(-err));
		if (!err)
			expect_words(page_of(memory, page), 8 * PAGE, round);
		missed += !!err;
	}
	__atomic_store_n(&binder.stop, true, __ATOMIC_RELEASE);
	pthread_join(binder.thread, NULL);
	stop_changer(&changer);
	EXPECT_OK(binder.err);
	ktap_note("%d of 60 programs found nothing, %u rounds of VM_BIND", missed, binder.rounds);
	/* No word is of anything but a program. */
	for (size_t i = 0; i < size / 4; i++)
		EXPECT(memory[i] <= 60, "word %zu is %#x", i, memory[i]);
}

/* --- Invalidations at each step ------------------------------------------------------------ */

static void use_all(struct window *w, __u32 *memory, size_t size)
{
	bind_userptr(w, 0, memory, size, 0);
	expect_both_ways(w, 0, memory, size);
	EXPECT_OK(BIND(w, UNMAP_OP(w, 32, 16)));
	expect_both_ways(w, 0, memory, 32 * PAGE);
	expect_both_ways(w, 48, page_of(memory, 48), size - 48 * PAGE);
	EXPECT(!madvise(memory, size, MADV_DONTNEED), "madvise: %s", strerror(errno));
	expect_zeros(w, 0, 32);
	expect_nothing(w, 32, 1);
	expect_zeros(w, 48, 16);
	EXPECT_OK(BIND(w, UNMAP_OP(w, 0, size / PAGE)));
}

static void test_injected(const void *arg)
{
	__u32 *memory = map(3 * BLOCK) + BLOCK / 8;
	struct drm_svm_stub_vm_stats stats;
	struct window w;

	open_userptr_window(&w, arg, 0);
	for (unsigned int every = 2; every <= 4; every++) {
		__u64 before = stats_of(&w.gpu).userptr_injected;

		inject_invalidations(every);
		/* Several pieces, and one. */
		use_all(&w, memory, 2 * BLOCK);
		use_all(&w, memory, 128 * PAGE);
		stats = stats_of(&w.gpu);
		EXPECT(stats.userptr_injected > before, "nothing was injected");
	}
	inject_invalidations(0);
	EXPECT_EQ(stats_of(&w.gpu).userptrs, 0);
	use_all(&w, memory, 2 * BLOCK);
	EXPECT_EQ(stats_of(&w.gpu).userptr_injected, stats.userptr_injected);
	/* A VM that is made later is injected into as well. */
	inject_invalidations(2);
	open_userptr_window(&w, arg, 0);
	use_all(&w, memory, 2 * BLOCK);
	EXPECT(stats_of(&w.gpu).userptr_injected > 0, "nothing was injected");
	inject_invalidations(0);
}

/* Of memory that is always taken away there is an end of trying, and nothing has changed. */
static void test_always_injected(const void *arg)
{
	__u32 *memory = map_small(BLOCK);
	struct window w;
	struct bo bo;
	double start;

	open_userptr_window(&w, arg, 0);
	make_bo(&w, &bo, 8, 0, 1);
	EXPECT_OK(BIND(&w, MAP_OP(&w, 0, 8, &bo, 0)));
	inject_invalidations(1);
	start = now_ms();
	EXPECT_ERR(BIND(&w, USERPTR_OP(&w, 4, 16, memory, 0)), -EBUSY);
	EXPECT(now_ms() - start < 30e3, "it took %.0f ms", now_ms() - start);
	inject_invalidations(0);
	expect_shows(&w, 0, 8, 1, 0);
	expect_nothing(&w, 8, 1);
	EXPECT_EQ(stats_of(&w.gpu).userptrs, 0);
	bind_userptr(&w, 4, memory, 16 * PAGE, 0);
	expect_both_ways(&w, 4, memory, 16 * PAGE);
}

/* --- Processes that are killed --------------------------------------------------------------- */

static void use_for_ever(const void *variant)
{
	__u32 *memory = map(2 * BLOCK);
	struct changer changer;
	struct window w;

	open_userptr_window(&w, variant, 0);
	start_changer(&changer, memory, 2 * BLOCK, change_memory);
	for (size_t round = 0;; round++) {
		BIND_ASYNC(&w, 0, 0, USERPTR_OP(&w, round % 64, 512, memory, 0));
		gpu_fill(&w.gpu, at(&w, round % 64), round, BLOCK);
		BIND(&w, USERPTR_OP(&w, 100, 700, page_of(memory, 3), 0), UNMAP_OP(&w, 200, 30));
		gpu_copy(&w.gpu, at(&w, 0), at(&w, 300), BLOCK / 4);
	}
}

static void test_kill(const void *arg)
{
	struct gpu gpu;

	EXPECT_OK(gpu_open(&gpu, 0));
	for (int i = 0; i < 12; i++) {
		pid_t pid = ktap_fork();
		int status;

		if (!pid)
			use_for_ever(arg);
		usleep(20000 + ktap_random() % 200000);
		kill(pid, SIGKILL);
		EXPECT(waitpid(pid, &status, 0) == pid, "waitpid: %s", strerror(errno));
		EXPECT(WIFSIGNALED(status), "a child has failed");
	}
	EXPECT_OK(gpu_wait_free(&gpu, 30));
}

static const struct ktap_case cases[] = {
	IN_BOTH("programs while protection changes", test_compute),
	IN_BOTH("programs side by side", test_side_by_side),
	IN_BOTH("memory that comes and goes", test_existence),
	IN_BOTH("fork() under programs", test_forks),
	IN_BOTH("10000 of them while memory changes", test_ten_thousand),
	IN_BOTH("VM_BIND under programs", test_bind_under_programs),
	IN_BOTH("invalidations at each step", test_injected),
	IN_BOTH("invalidations all the time", test_always_injected),
	IN_BOTH("12 processes killed", test_kill),
};

int main(int argc, char **argv)
{
	int status = ktap_main(argc, argv, cases, ARRAY_SIZE(cases));

	/* A case that failed may have left it on. */
	stop_injecting();
	return status;
}
