// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * A device that goes away while its memory is in use. Unbound from its driver it gives all
 * memory back first; torn out it takes with it what was in its VRAM, and nothing else. In
 * either case nobody hangs, files that are open stay harmless, new work is refused, and
 * after bind all works again.
 *
 * test_unbind [--seconds N] [CASE...]: with N the random case goes on for that long, and
 * at least UNBINDS times.
 */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "devices.h"
#include "inject.h"
#include "modules.h"
#include "place.h"
#include "program.h"
#include "times.h"

#define SIZE MIB(4)
#define SEED 61

/* Times that the random case unbinds: by default, and if it is given time. */
#define FEW 12
#define UNBINDS 100
static unsigned int seconds;

/* A VM on a device that is there, whatever the case before has left. */
static void open_bound(struct gpu *gpu, __u32 flags)
{
	if (gpu_open_device(gpu, 0, 0) == -ENODEV)
		bind_device(0);
	else
		EXPECT_OK(gpu_close(gpu));
	need_unbind(0);
	open_idle_vm(gpu, flags);
}

/* No call does anything any more, and none does harm. */
static void expect_dead(struct gpu *gpu, void *memory)
{
	struct drm_svm_stub_device_stats device_stats;
	struct drm_svm_stub_vm_stats stats;
	struct drm_svm_stub_block block;
	struct drm_svm_stub_info info;
	struct bo object;
	__u64 sum;

	EXPECT_ERR(gpu_info(gpu, &info), -ENODEV);
	EXPECT_ERR(gpu_create(gpu, 0), -ENODEV);
	EXPECT_ERR(gpu_fill(gpu, memory, 1, PAGE), -ENODEV);
	EXPECT_ERR(gpu_checksum(gpu, memory, PAGE, &sum), -ENODEV);
	EXPECT_ERR(gpu_migrate(gpu, memory, PAGE, 0), -ENODEV);
	EXPECT_ERR(gpu_migrate(gpu, memory, PAGE, TO_RAM), -ENODEV);
	EXPECT_ERR(gpu_where(gpu, memory, PAGE, &block), -ENODEV);
	EXPECT_ERR(gpu_stats(gpu, &stats), -ENODEV);
	EXPECT_ERR(gpu_device_stats(gpu, &device_stats), -ENODEV);
	EXPECT_ERR(bo_create(gpu, &object, PAGE, 0), -ENODEV);
	EXPECT_ERR(gpu_bind_ops(gpu, NULL, 0), -ENODEV);
	EXPECT_ERR(gpu_destroy(gpu, gpu->vm), -ENODEV);
}

static void expect_works(void)
{
	__u32 *memory = map_small_pattern(SIZE, SEED + 1);
	struct gpu gpu;

	open_idle_vm(&gpu, 0);
	EXPECT_OK(gpu_migrate(&gpu, memory, SIZE, 0));
	expect_vram(&gpu, memory, SIZE);
	EXPECT_OK(gpu_fill(&gpu, memory, 5, SIZE));
	expect_words(memory, SIZE, 5);
	EXPECT_OK(gpu_close(&gpu));
	munmap(memory, SIZE);
}

/* --- Unbound ------------------------------------------------------------------------ */

static void test_idle(const void *arg)
{
	__u32 *memory = map_small_pattern(SIZE, SEED);
	struct gpu gpu;

	(void)arg;
	open_bound(&gpu, 0);
	expect_gpu_reads(&gpu, memory, SIZE, SEED);
	for (int round = 0; round < 3; round++) {
		EXPECT_OK(unbind_device(0));
		expect_dead(&gpu, memory);
		EXPECT_ERR(stub_open_device("renderD", 0), -ENODEV);
		EXPECT_OK(bind_device(0));
		/* The old file is that of the old device. */
		expect_dead(&gpu, memory);
		expect_works();
	}
	expect_pattern(memory, SIZE, SEED);
	EXPECT_OK(gpu_close(&gpu));
}

/* What was in VRAM is in RAM when unbind returns. */
static void test_memory_comes_back(const void *arg)
{
	const bool *huge = arg;
	__u32 *memory = *huge ? map_huge_pattern(SIZE, SEED) : map_small_pattern(SIZE, SEED);
	__u32 *written = map_small(SIZE);
	struct gpu gpu;

	open_bound(&gpu, 0);
	EXPECT_OK(gpu_migrate(&gpu, memory, SIZE, 0));
	EXPECT_OK(gpu_migrate(&gpu, written, SIZE, 0));
	EXPECT_OK(gpu_copy(&gpu, written, memory, SIZE));
	expect_vram(&gpu, memory, SIZE);
	EXPECT_OK(unbind_device(0));
	expect_pattern(memory, SIZE, SEED);
	expect_pattern(written, SIZE, SEED);
	expect_dead(&gpu, memory);
	EXPECT_OK(bind_device(0));
	expect_works();
	EXPECT_OK(gpu_close(&gpu));
	expect_works();
}

/* A timeslice is no reason to wait with it. */
static void test_in_timeslice(const void *arg)
{
	struct drm_svm_stub_migrate migrate = { .timeslice_ms = 1000 };
	__u32 *memory = map_small_pattern(SIZE, SEED);
	struct gpu gpu;

	(void)arg;
	open_bound(&gpu, 0);
	EXPECT_OK(gpu_migrate_as(&gpu, memory, SIZE, &migrate));
	EXPECT_OK(unbind_device(0));
	expect_pattern(memory, SIZE, SEED);
	EXPECT_OK(bind_device(0));
	expect_works();
}

static void test_program_ends(const void *arg)
{
	const bool *migrates = arg;
	const size_t size = MIB(32);
	struct program program;
	volatile __u32 *memory;
	struct gpu gpu;
	size_t done = 0;
	int err;

	open_bound(&gpu, *migrates ? DRM_SVM_STUB_VM_MIGRATE_ON_FAULT : 0);
	memory = map(size);
	start_fill(&program, &gpu, (void *)memory, 1, size);
	/* The first word says that it runs. */
	while (!*memory && !has_ended(&program))
		usleep(100);
	EXPECT_OK(unbind_device(0));
	err = finish(&program);
	EXPECT(!err || err == -ENODEV, "FILL: %s", strerror(-err));
	while (done < size / 4 && memory[done] == 1)
		done++;
	ktap_note("%s, %zu of %zu words were written", err ? "it ended" : "it came to its end",
		  done, size / 4);
	EXPECT(err || done == size / 4, "a program has left out something");
	/* It wrote from the beginning on, and nothing has been lost. */
	for (size_t i = done; i < size / 4; i++)
		EXPECT(!memory[i] || i % WORDS_PER_PAGE, "word %zu is %u", i, memory[i]);
	EXPECT_OK(bind_device(0));
	expect_works();
}

/* Memory that a child shares, of an owner that has ended. */
static void test_orphan(const void *arg)
{
	__u32 *memory = map_small_pattern(SIZE, SEED);
	struct gpu gpu;
	pid_t pid;
	int go[2];
	char c;

	(void)arg;
	open_bound(&gpu, 0);
	EXPECT_OK(gpu_migrate(&gpu, memory, SIZE, 0));
	EXPECT(!pipe(go), "pipe: %s", strerror(errno));
	pid = ktap_fork();
	if (!pid) {
		close(go[1]);
		EXPECT(read(go[0], &c, 1) == 0, "read: %s", strerror(errno));
		expect_pattern(memory, SIZE, SEED);
		ktap_done();
	}
	munmap(memory, SIZE);
	EXPECT_OK(gpu_close(&gpu));
	EXPECT_OK(unbind_device(0));
	close(go[1]);
	ktap_join(pid);
	EXPECT_OK(bind_device(0));
	expect_works();
}

/* Each allocation of it fails in turn: it ends all the same, and all memory is back. */
static void test_no_memory(const void *arg)
{
	__u32 *memory = map_small_pattern(SIZE, SEED), *huge = map_pattern(SIZE, SEED + 1);
	unsigned int nth = 1, rounds = 0, failures = 0;
	struct gpu gpu;
	bool come;

	(void)arg;
	inject_failures();
	do {
		int err;

		open_bound(&gpu, 0);
		EXPECT_OK(gpu_migrate(&gpu, memory, SIZE, 0));
		EXPECT_OK(gpu_migrate(&gpu, huge, SIZE, 0));
		fail_nth(nth);
		err = unbind_device(0);
		come = has_failed();
		EXPECT(!err || err == -ENOMEM, "unbind: %s", strerror(-err));
		/* It was sysfs, then, which has not come to the driver. */
		if (err)
			EXPECT_OK(unbind_device(0));
		failures += err != 0;
		expect_pattern(memory, SIZE, SEED);
		expect_pattern(huge, SIZE, SEED + 1);
		EXPECT_OK(gpu_close(&gpu));
		EXPECT_OK(bind_device(0));
		/* One after the other first, and then by samples: there are many of a kind. */
		nth += rounds++ < 24 ? 1 : 1 + ktap_random() % 16;
	} while (come);
	ktap_note("%u times without memory, up to allocation %u", rounds - 1, nth);
	/* Of what sysfs allocates; the driver has no allocation that may fail. */
	EXPECT(failures <= 16, "it failed %u times", failures);
	expect_works();
}

/* --- At any moment --------------------------------------------------------------------- */

#define WORKERS 3
#define CHUNK KIB(512)
#define CHUNKS 8

/*
 * A process that computes on whatever device is there. One of its chunks is in doubt after
 * an error, and no other.
 */
static void compute(unsigned int random, const bool *stop, unsigned int *programs)
{
	__u32 seeds[CHUNKS];
	char *memory = (char *)map(CHUNKS * CHUNK), *source = (char *)map(CHUNK);
	struct gpu gpu = { .fd = -1 };

	for (size_t i = 0; i < CHUNKS; i++) {
		seeds[i] = i;
		write_pattern((__u32 *)(memory + i * CHUNK), CHUNK, seeds[i]);
	}
	while (!__atomic_load_n(stop, __ATOMIC_ACQUIRE)) {
		size_t chunk = (random = random * 1664525 + 1013904223) >> 8 & (CHUNKS - 1);
		__u32 *words = (__u32 *)(memory + chunk * CHUNK);
		int err;

		if (gpu.fd < 0 && gpu_open_device(&gpu, 0, DRM_SVM_STUB_VM_MIGRATE_ON_FAULT)) {
			gpu.fd = -1;
			usleep(1000);
			continue;
		}
		write_pattern((__u32 *)source, CHUNK, random);
		err = gpu_copy(&gpu, words, source, CHUNK);
		if (!err) {
			seeds[chunk] = random;
			__atomic_add_fetch(programs, 1, __ATOMIC_RELAXED);
		} else {
			EXPECT_ERR(err, -ENODEV);
			EXPECT_OK(gpu_close(&gpu));
			gpu.fd = -1;
			/* As much as the program has done is there, and then what was. */
			for (size_t i = 0; i < CHUNK / 4; i++)
				EXPECT(words[i] == pattern(random, i) ||
				       words[i] == pattern(seeds[chunk], i),
				       "word %zu of a chunk that was written is %#x", i, words[i]);
			write_pattern(words, CHUNK, seeds[chunk]);
		}
		chunk = random >> 20 & (CHUNKS - 1);
		expect_pattern((__u32 *)(memory + chunk * CHUNK), CHUNK, seeds[chunk]);
	}
	for (size_t i = 0; i < CHUNKS; i++)
		expect_pattern((__u32 *)(memory + i * CHUNK), CHUNK, seeds[i]);
}

struct shared {
	bool stop;
	unsigned int programs;
};

static void test_any_moment(const void *arg)
{
	struct shared *shared = map_at(NULL, PAGE, PROT_READ | PROT_WRITE,
				       MAP_SHARED | MAP_ANONYMOUS, -1);
	const unsigned int unbinds = seconds ? UNBINDS : FEW;
	double end = now_ms() + seconds * 1e3, longest = 0;
	unsigned int rounds = 0;
	pid_t pids[WORKERS];
	struct gpu gpu;

	(void)arg;
	open_bound(&gpu, 0);
	EXPECT_OK(gpu_close(&gpu));
	for (int i = 0; i < WORKERS; i++) {
		unsigned int random = ktap_random();

		pids[i] = ktap_fork();
		if (!pids[i]) {
			compute(random, &shared->stop, &shared->programs);
			ktap_done();
		}
	}
	for (; rounds < unbinds || now_ms() < end; rounds++) {
		double start;

		usleep(ktap_random() % 200000);
		start = now_ms();
		EXPECT_OK(unbind_device(0));
		longest = now_ms() - start > longest ? now_ms() - start : longest;
		EXPECT_OK(bind_device(0));
	}
	__atomic_store_n(&shared->stop, true, __ATOMIC_RELEASE);
	for (int i = 0; i < WORKERS; i++)
		ktap_join(pids[i]);
	ktap_note("%u programs while the device was unbound %u times, at most in %.0f ms",
		  shared->programs, rounds, longest);
	EXPECT(shared->programs, "no program came to its end");
	expect_works();
}

/* --- Torn out ------------------------------------------------------------------------------ */

static sigjmp_buf escape;

static void on_bus_error(int signal_number)
{
	siglongjmp(escape, signal_number);
}

/* The signal that reading a word brings, or 0 and the word. */
static int signal_of(const __u32 *memory, size_t index, __u32 *word)
{
	struct sigaction action = { .sa_handler = on_bus_error }, before;
	int signal_number;

	sigaction(SIGBUS, &action, &before);
	signal_number = sigsetjmp(escape, 1);
	if (!signal_number)
		*word = ((const volatile __u32 *)memory)[index];
	sigaction(SIGBUS, &before, NULL);
	return signal_number;
}

/* What was in RAM is there, and what was in VRAM is a bus error; new memory is new. */
static void test_torn_out(const void *arg)
{
	__u32 *memory = map_small_pattern(SIZE, SEED), *lost = memory + SIZE / 8;
	struct gpu gpu;

	(void)arg;
	open_bound(&gpu, 0);
	EXPECT_OK(gpu_migrate(&gpu, lost, SIZE / 4, 0));
	expect_gpu_reads(&gpu, memory, SIZE, SEED);
	expect_vram(&gpu, lost, SIZE / 4);
	tear_out_device(0);
	expect_dead(&gpu, memory);
	for (size_t i = 0; i < SIZE / 4; i += WORDS_PER_PAGE) {
		bool is_lost = i >= SIZE / 8 && i < SIZE / 8 + SIZE / 16;
		__u32 word = 0;

		EXPECT_EQ(signal_of(memory, i, &word), is_lost ? SIGBUS : 0);
		EXPECT(is_lost || word == pattern(SEED, i), "word %zu is %#x", i, word);
	}
	expect_pattern(memory, SIZE / 2, SEED);
	expect_pattern_from(memory, (SIZE / 2 + SIZE / 4) / 4, SIZE / 4, SEED);
	/* What is lost can be unmapped, and comes anew. */
	map_at(lost, SIZE / 4, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1);
	expect_words(lost, SIZE / 4, 0);
	EXPECT_OK(gpu_close(&gpu));
	EXPECT_OK(bind_device(0));
	expect_works();
}

/* A GPU and a CPU at one piece of memory, until the device is not there any more. */
static void work_until_the_end(struct gpu *gpu)
{
	__u32 *memory = map_small(SIZE), word = 1;
	/* It may have gone already. */
	int err = gpu_create(gpu, DRM_SVM_STUB_VM_MIGRATE_ON_FAULT), lost = 0;

	while (!err) {
		err = gpu_fill(gpu, memory, 1, SIZE);
		if (err)
			break;
		if (ktap_random() % 2)
			err = gpu_migrate(gpu, memory, SIZE, TO_RAM);
		else
			lost = signal_of(memory, 0, &word);
		EXPECT(lost || word == 1, "the CPU reads %#x", word);
		/* What is lost cannot be moved, and the next program says why. */
		err = err == -EBUSY ? 0 : err;
	}
	EXPECT_ERR(err, -ENODEV);
}

/* Programs, migrations and CPUs are in the middle of something. */
static void test_torn_out_at_work(const void *arg)
{
	(void)arg;
	for (int round = 0; round < 4; round++) {
		struct gpu gpu;
		pid_t pid;

		open_bound(&gpu, 0);
		pid = ktap_fork();
		if (!pid) {
			work_until_the_end(&gpu);
			ktap_done();
		}
		usleep(ktap_random() % 200000);
		tear_out_device(0);
		ktap_join(pid);
		EXPECT_OK(gpu_close(&gpu));
		EXPECT_OK(bind_device(0));
		expect_works();
	}
}

/* A process ends whose memory is lost; nothing of it stays. */
static void test_exit_after(const void *arg)
{
	pid_t pid;
	struct gpu gpu;

	(void)arg;
	open_bound(&gpu, 0);
	EXPECT_OK(gpu_close(&gpu));
	pid = ktap_fork();
	if (!pid) {
		__u32 *memory = map_huge_pattern(SIZE, SEED);

		open_idle_vm(&gpu, 0);
		EXPECT_OK(gpu_migrate(&gpu, memory, SIZE, 0));
		tear_out_device(0);
		ktap_done();
	}
	ktap_join(pid);
	EXPECT_OK(bind_device(0));
	expect_works();
}

/* --- The module ---------------------------------------------------------------------------- */

/* With no device bound, and with files that were open until just now. */
static void test_unload(const void *arg)
{
	__u32 *memory = map_small_pattern(SIZE, SEED);
	struct gpu gpu;
	int err;

	(void)arg;
	open_bound(&gpu, 0);
	EXPECT_OK(gpu_migrate(&gpu, memory, SIZE, 0));
	EXPECT_OK(unbind_device(0));
	EXPECT_OK(gpu_close(&gpu));
	err = reload_stub(NULL);
	if (err == -ENOENT) {
		EXPECT_OK(bind_device(0));
		ktap_skip("the modules are not here");
	}
	EXPECT_OK(err);
	expect_pattern(memory, SIZE, SEED);
	expect_works();
}

static const bool no, yes = true;

static const struct ktap_case cases[] = {
	{ "idle", test_idle, NULL },
	{ "memory comes back, small pages", test_memory_comes_back, &no },
	{ "memory comes back, huge pages", test_memory_comes_back, &yes },
	{ "in a timeslice", test_in_timeslice, NULL },
	{ "a program in RAM ends", test_program_ends, &no },
	{ "a program in VRAM ends", test_program_ends, &yes },
	{ "memory of an owner that has ended", test_orphan, NULL },
	{ "no memory", test_no_memory, NULL },
	{ "at any moment", test_any_moment, NULL },
	{ "torn out", test_torn_out, NULL },
	{ "torn out while at work", test_torn_out_at_work, NULL },
	{ "torn out, and the process ends", test_exit_after, NULL },
	{ "the module goes", test_unload, NULL },
};

int main(int argc, char **argv)
{
	int status;

	seconds = seconds_to_run(&argc, argv, 0);
	read_modules();
	status = ktap_main(argc, argv, cases, ARRAY_SIZE(cases));
	/* A case that failed may have left it unbound. */
	if (num_modules && reload_stub(NULL))
		ktap_note("the driver cannot be loaded again");
	return status;
}
