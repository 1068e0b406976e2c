// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Within its timeslice the device keeps memory, and a CPU that wants it sleeps: it does not
 * spin, it can be killed, and it has its data when the timeslice is over. Times are of a
 * clock that a busy machine makes longer and never shorter, so each bound is of the kind
 * that this can only make easier, or has a wide margin.
 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "place.h"

#define SIZE MIB(2)
#define SEED 31
/* The longest there is. */
#define TIMESLICE 1000
/* Of it, what a thread that sleeps may be at work: its fault, in an emulator, twice. */
#define WORK (TIMESLICE / 4)

static struct gpu gpu;

static double cpu_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return t.tv_sec * 1e3 + t.tv_nsec / 1e6;
}

/* Memory that has just come to VRAM; returns when its timeslice began, at the latest. */
static double move(__u32 *memory, size_t size)
{
	struct drm_svm_stub_migrate migrate = { .timeslice_ms = TIMESLICE };

	EXPECT_OK(gpu_migrate_as(&gpu, memory, size, &migrate));
	EXPECT_EQ(migrate.result[DRM_SVM_STUB_MOVED], size / PAGE);
	return now_ms();
}

/* An access of the CPU, and what it took. */
struct access {
	volatile __u32 *word;
	bool writes;
	pthread_t thread;
	__u32 value;
	double wall, cpu, end;
};

static void *run_access(void *arg)
{
	struct access *access = arg;
	double start = now_ms(), cpu = cpu_ms();

	if (access->writes)
		*access->word = access->value;
	else
		access->value = *access->word;
	access->cpu = cpu_ms() - cpu;
	access->end = now_ms();
	access->wall = access->end - start;
	return NULL;
}

static void start_access(struct access *access)
{
	EXPECT(!pthread_create(&access->thread, NULL, run_access, access), "pthread_create");
}

static void finish_access(struct access *access)
{
	pthread_join(access->thread, NULL);
	ktap_note("waited %.0f ms, %.1f ms of them on the CPU", access->wall, access->cpu);
}

/* --- Waiting -------------------------------------------------------------------- */

static void test_sleeps(const void *arg)
{
	const bool *writes = arg;
	__u32 *memory = map_small_pattern(SIZE, SEED);
	struct drm_svm_stub_device_stats before, after;
	struct access access = { .word = memory + 5000, .writes = *writes, .value = 77 };
	double moved, last;

	open_idle_vm(&gpu, 0);
	before = device_stats_of(&gpu);
	last = now_ms();
	moved = move(memory, SIZE);
	run_access(&access);
	ktap_note("waited %.0f ms, %.1f ms of them on the CPU", access.wall, access.cpu);
	/* It began after the first of these and before the second, and was over at the end. */
	EXPECT(access.end >= last + TIMESLICE, "the timeslice was cut by %.0f ms",
	       last + TIMESLICE - access.end);
	EXPECT(moved - last > TIMESLICE / 2 || access.cpu < WORK, "the CPU has not slept");
	after = device_stats_of(&gpu);
	EXPECT(after.timeslice_waits > before.timeslice_waits, "no wait was counted");
	EXPECT_EQ(access.value, *writes ? 77 : pattern(SEED, 5000));
	memory[5000] = pattern(SEED, 5000);
	expect_pattern(memory, SIZE, SEED);
}

/* The GPU has it to itself meanwhile, and what it writes is what the CPU reads. */
static void test_gpu_works_meanwhile(const void *arg)
{
	__u32 *memory = map_small_pattern(SIZE, SEED);
	struct access access = { .word = memory + 5000 };
	unsigned int programs = 0;
	double moved;

	(void)arg;
	open_idle_vm(&gpu, 0);
	EXPECT_OK(gpu_fill(&gpu, memory, 0, SIZE));
	moved = move(memory, SIZE);
	start_access(&access);
	while (now_ms() < moved + TIMESLICE / 2) {
		struct drm_svm_stub_block block;

		EXPECT_OK(gpu_fill(&gpu, memory, ++programs, SIZE));
		EXPECT_OK(gpu_where(&gpu, memory, SIZE, &block));
		/* Unless the timeslice is over before we look: then it proves nothing. */
		EXPECT(block.device == SIZE / PAGE || now_ms() > moved + TIMESLICE / 2,
		       "only %u pages are left in VRAM", block.device);
	}
	finish_access(&access);
	ktap_note("%u programs", programs);
	EXPECT(access.value == programs || access.wall > TIMESLICE, "the CPU read %u of %u",
	       access.value, programs);
	expect_words(memory, SIZE, programs);
}

#define THREADS 8

/* All at once, of one page and of many. */
static void test_many_wait(const void *arg)
{
	const size_t *distance = arg;
	struct access accesses[THREADS] = {};
	__u32 *memory = map_small_pattern(SIZE, SEED);
	double cpu = 0;

	open_idle_vm(&gpu, 0);
	move(memory, SIZE);
	for (size_t i = 0; i < THREADS; i++) {
		accesses[i].word = memory + 5000 + i * *distance;
		start_access(&accesses[i]);
	}
	for (size_t i = 0; i < THREADS; i++) {
		finish_access(&accesses[i]);
		EXPECT_EQ(accesses[i].value, pattern(SEED, 5000 + i * *distance));
		cpu += accesses[i].cpu;
	}
	/* There are as many accesses as milliseconds to spin in. */
	EXPECT(cpu < THREADS * WORK, "%.0f ms were spent on the CPU", cpu);
	expect_pattern(memory, SIZE, SEED);
}

/*
 * Who waits does not keep others from changing the address space: the first mmap() comes
 * back while the timeslice runs.
 */
static void test_lock_is_free(const void *arg)
{
	__u32 *memory = map_small_pattern(SIZE, SEED);
	struct access access = { .word = memory };
	double moved, took, start;

	(void)arg;
	open_idle_vm(&gpu, 0);
	moved = move(memory, SIZE);
	start_access(&access);
	usleep(100000);
	start = now_ms();
	munmap(map_at(NULL, SIZE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1), SIZE);
	took = now_ms() - start;
	finish_access(&access);
	ktap_note("mmap() and munmap() took %.1f ms", took);
	EXPECT(start > moved + TIMESLICE / 2 || took < TIMESLICE / 2,
	       "the address space was locked for %.0f ms", took);
	EXPECT_EQ(access.value, pattern(SEED, 0));
}

/* --- Ends that come earlier --------------------------------------------------------- */

/* A process that waits can be killed at once. */
static void test_killed(const void *arg)
{
	__u32 *memory = map_small_pattern(SIZE, SEED);
	double moved, ended;
	int status;
	pid_t pid;

	(void)arg;
	open_idle_vm(&gpu, 0);
	pid = ktap_fork();
	if (!pid) {
		volatile __u32 *own = map_small_pattern(SIZE, SEED);

		EXPECT_OK(gpu_open(&gpu, 0));
		memory[0] = 1;
		move((__u32 *)own, SIZE);
		*own;
		ktap_done();
	}
	/* Its VRAM says that it is there. */
	for (struct drm_svm_stub_info info = gpu.info; info.vram_free == gpu.info.vram_free;) {
		EXPECT_OK(gpu_info(&gpu, &info));
		usleep(1000);
	}
	moved = now_ms();
	usleep(100000);
	kill(pid, SIGKILL);
	EXPECT(waitpid(pid, &status, 0) == pid, "waitpid: %s", strerror(errno));
	ended = now_ms();
	ktap_note("it ended %.0f ms after the kill", ended - moved - 100);
	/* Killed while it waited, or the machine was too slow to see. */
	EXPECT(WIFSIGNALED(status) || ended > moved + TIMESLICE, "it was not killed");
	EXPECT(ended < moved + TIMESLICE, "it was killed after its timeslice");
	expect_vram_used(&gpu, 0);
	expect_pattern(memory, SIZE, SEED);
}

/* munmap() does not have to wait for a timeslice, nor does exit. */
static void test_unmapped(const void *arg)
{
	__u32 *memory = map_small_pattern(SIZE, SEED);
	double moved, took;

	(void)arg;
	open_idle_vm(&gpu, 0);
	moved = move(memory, SIZE);
	munmap(memory, SIZE);
	expect_vram_used(&gpu, 0);
	took = now_ms() - moved;
	EXPECT(took < TIMESLICE, "VRAM was kept for %.0f ms", took);
}

/* --- Other ways to begin ---------------------------------------------------------------- */

/* What a GPU fault has moved has the timeslice of the VM. */
static void test_gpu_fault(const void *arg)
{
	__u32 *memory = map_small_pattern(SIZE, SEED);
	struct access access = { .word = memory };
	double start;

	(void)arg;
	open_idle_as(&gpu, (struct drm_svm_stub_vm_create){
				   .flags = DRM_SVM_STUB_VM_MIGRATE_ON_FAULT,
				   .timeslice_ms = TIMESLICE });
	start = now_ms();
	EXPECT_OK(gpu_fill(&gpu, memory, 3, PAGE));
	run_access(&access);
	ktap_note("waited %.0f ms, %.1f ms of them on the CPU", access.wall, access.cpu);
	EXPECT(access.end >= start + TIMESLICE, "the timeslice was cut by %.0f ms",
	       start + TIMESLICE - access.end);
	EXPECT_EQ(access.value, 3);
	expect_pattern_from(memory, WORDS_PER_PAGE, SIZE - PAGE, SEED);
}

/* Without one nobody waits. */
static void test_none(const void *arg)
{
	__u32 *memory = map_small_pattern(SIZE, SEED);
	struct drm_svm_stub_device_stats before, after;

	(void)arg;
	open_idle_vm(&gpu, 0);
	before = device_stats_of(&gpu);
	EXPECT_OK(gpu_migrate(&gpu, memory, SIZE, 0));
	expect_pattern(memory, SIZE, SEED);
	after = device_stats_of(&gpu);
	EXPECT_EQ(after.timeslice_waits, before.timeslice_waits);
}

static const bool reads, writes = true;
static const size_t same_page = 1, other_granules = KIB(64) / 4;

static const struct ktap_case cases[] = {
	{ "a read sleeps", test_sleeps, &reads },
	{ "a write sleeps", test_sleeps, &writes },
	{ "the GPU works meanwhile", test_gpu_works_meanwhile, NULL },
	{ "eight threads, one page", test_many_wait, &same_page },
	{ "eight threads, eight granules", test_many_wait, &other_granules },
	{ "the address space is not locked", test_lock_is_free, NULL },
	{ "who waits can be killed", test_killed, NULL },
	{ "munmap does not wait", test_unmapped, NULL },
	{ "after a GPU fault", test_gpu_fault, NULL },
	{ "none", test_none, NULL },
};

int main(int argc, char **argv)
{
	return ktap_main(argc, argv, cases, ARRAY_SIZE(cases));
}
