// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Many faults at once, from several programs of several processes, while CPUs change the memory
 * and its mappings. test_fault says what has to happen when two meet; here they meet by chance,
 * and often. Seeds are printed; SEED repeats the choice of one.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "memory.h"
#include "program.h"

/* As many programs as a file has room for at once. */
#define PROGRAMS 16
#define RANGE MIB(2)
/* All in one notifier window. */
#define MEMORY ((char *)0x200000000000)
#define SECONDS 1.5

static bool time_is_left(double start)
{
	return now_ms() < start + SECONDS * 1e3;
}

/* Memory in one notifier window, in small pages. */
static char *map_in_window(size_t size)
{
	char *memory = map_at(MEMORY, size, PROT_READ | PROT_WRITE,
			      MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1);

	madvise(memory, size, MADV_NOHUGEPAGE);
	return memory;
}

/* Events that met a range. There are some of the kernel's own, when it compacts memory. */
static __u64 events_of(const struct drm_svm_stub_vm_stats *stats)
{
	__u64 sum = 0;

	for (size_t i = 0; i < ARRAY_SIZE(stats->events); i++)
		sum += stats->events[i];
	return sum;
}

/* Each of @ranges was collected once, and again at the most for an event that met it. */
static void expect_collected_once(const struct drm_svm_stub_vm_stats *before,
				  const struct drm_svm_stub_vm_stats *after, __u64 ranges)
{
	const __u64 collected = after->collections - before->collections;
	const __u64 events = events_of(after) - events_of(before);

	EXPECT(collected >= ranges && collected <= ranges + events,
	       "ranges were collected %llu times, with %llu events", collected, events);
	EXPECT(after->collection_retries - before->collection_retries <= events,
	       "%llu retries, with %llu events",
	       after->collection_retries - before->collection_retries, events);
}

/* All programs at once, each in a range of its own: each range is made and collected once. */
static void test_many_ranges(const void *arg)
{
	struct drm_svm_stub_vm_stats before, after;
	char *memory = map_in_window(PROGRAMS * RANGE);
	struct program programs[PROGRAMS];
	struct gpu gpu;

	open_vm(&gpu, arg);
	memset(memory, 0, PROGRAMS * RANGE);
	before = stats_of(&gpu);
	for (int i = 0; i < PROGRAMS; i++)
		start_fill(&programs[i], &gpu, memory + i * RANGE, i + 1, RANGE);
	for (int i = 0; i < PROGRAMS; i++)
		EXPECT_OK(finish(&programs[i]));
	after = stats_of(&gpu);
	EXPECT_EQ(after.ranges, PROGRAMS);
	EXPECT_EQ(after.ranges_made - before.ranges_made, PROGRAMS);
	expect_collected_once(&before, &after, PROGRAMS);
	for (int i = 0; i < PROGRAMS; i++)
		expect_words((__u32 *)(memory + i * RANGE), RANGE, i + 1);
}

/* All programs at once, and each page of memory that nobody has touched, in any order. */
static void test_same_pages(const void *arg)
{
	struct program programs[PROGRAMS];
	struct drm_svm_stub_vm_stats stats;
	char *memory = map_in_window(RANGE);
	struct gpu gpu;

	open_vm(&gpu, arg);
	for (int round = 0; round < 8; round++) {
		const struct drm_svm_stub_vm_stats before = stats_of(&gpu);

		memset(memory, round + 1, RANGE);
		for (int i = 0; i < PROGRAMS; i++)
			start_checksum(&programs[i], &gpu, memory, RANGE);
		for (int i = 0; i < PROGRAMS; i++) {
			EXPECT_OK(finish(&programs[i]));
			EXPECT_EQ(programs[i].sum, (round + 1) * 0x01010101ull * RANGE / 4);
		}
		stats = stats_of(&gpu);
		/* Nothing has taken it away meanwhile, so once is enough. */
		EXPECT_EQ(stats.ranges, 1);
		expect_collected_once(&before, &stats, 1);
		EXPECT(!madvise(memory, RANGE, MADV_DONTNEED), "madvise: %s", strerror(errno));
	}
}

/* A word of each page, of each 64 KiB, and so on, all at once: large steps through large memory. */
static void test_strides(const void *arg)
{
	static const size_t strides[] = { PAGE, KIB(64), KIB(520), MIB(2), MIB(2) + PAGE };
	const size_t size = 8 * RANGE;
	char *memory = map_in_window(size);
	struct program programs[ARRAY_SIZE(strides)];
	struct gpu gpu;

	open_vm(&gpu, arg);
	for (size_t round = 0; round < 8; round++) {
		for (size_t i = 0; i < ARRAY_SIZE(strides); i++)
			start_fill(&programs[i], &gpu, memory + round * strides[i] % size + 4 * i,
				   i + 1, 4);
		for (size_t i = 0; i < ARRAY_SIZE(strides); i++)
			EXPECT_OK(finish(&programs[i]));
	}
	for (size_t round = 0; round < 8; round++)
		for (size_t i = 0; i < ARRAY_SIZE(strides); i++)
			EXPECT_EQ(*(__u32 *)(memory + round * strides[i] % size + 4 * i), i + 1);
}

/* Memory that is allocated for one program and freed after it: addresses come again and again. */
static void test_new_memory_each_time(const void *arg)
{
	double start = now_ms();
	struct gpu gpu;

	open_vm(&gpu, arg);
	for (__u32 round = 1; round <= 16 || time_is_left(start); round++) {
		size_t size = (1 + ktap_random() % 256) * KIB(8);
		__u32 *from = malloc(size), *to = calloc(1, size);

		EXPECT(from && to, "out of memory");
		EXPECT_OK(gpu_fill(&gpu, from, round, size));
		EXPECT_OK(gpu_add(&gpu, to, from, to, size));
		expect_gpu_sum(&gpu, to, size, (__u64)round * size / 4);
		expect_words(to, size, round);
		free(from);
		free(to);
	}
}

/* --- Changes elsewhere ------------------------------------------------------------------ */

struct changer {
	char *memory;
	size_t size;
	bool stop;
	unsigned int changes;
	unsigned int random;
};

static size_t random_page(struct changer *changer, size_t pages)
{
	changer->random = changer->random * 1664525 + 1013904223;
	return (changer->random >> 8) % pages;
}

static void change(struct changer *changer)
{
	char *place = changer->memory + random_page(changer, changer->size / PAGE - 16) * PAGE;
	size_t size = (1 + random_page(changer, 15)) * PAGE;

	switch (random_page(changer, 5)) {
	case 0:
		munmap(place, size);
		map_at(place, size, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1);
		break;
	case 1:
		map_at(place, size, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1);
		break;
	case 2:
		mprotect(place, size, PROT_READ);
		mprotect(place, size, PROT_READ | PROT_WRITE);
		break;
	case 3:
		madvise(place, size, MADV_DONTNEED);
		break;
	default:
		*(volatile __u32 *)place;
	}
	changer->changes++;
}

static void *change_all_the_time(void *arg)
{
	struct changer *changer = arg;

	while (!__atomic_load_n(&changer->stop, __ATOMIC_ACQUIRE))
		change(changer);
	return NULL;
}

/*
 * A CPU changes mappings in the window without a pause. Collections of pages of other ranges
 * take no notice: not one begins again.
 */
static void test_changes_elsewhere(const void *arg)
{
	struct changer changer = { .size = 4 * RANGE, .random = ktap_random() };
	char *memory = map_in_window(12 * RANGE);
	struct drm_svm_stub_vm_stats before, after;
	double start = now_ms();
	unsigned int rounds;
	pthread_t thread;
	struct gpu gpu;

	open_vm(&gpu, arg);
	changer.memory = memory + 8 * RANGE;
	/* What changes is in use by the GPU, too. */
	EXPECT_OK(gpu_fill(&gpu, changer.memory, 1, changer.size));
	before = stats_of(&gpu);
	EXPECT(!pthread_create(&thread, NULL, change_all_the_time, &changer), "pthread_create");
	for (rounds = 0; rounds < 4 || time_is_left(start); rounds++) {
		EXPECT_OK(gpu_fill(&gpu, memory, rounds, 8 * RANGE));
		EXPECT(!madvise(memory, 8 * RANGE, MADV_DONTNEED), "madvise: %s",
		       strerror(errno));
	}
	__atomic_store_n(&changer.stop, true, __ATOMIC_RELEASE);
	pthread_join(thread, NULL);
	after = stats_of(&gpu);
	ktap_note("%u rounds, %llu collections, %u changes elsewhere", rounds,
		  after.collections - before.collections, changer.changes);
	EXPECT(changer.changes >= rounds, "hardly anything has changed");
	EXPECT_EQ(after.collections - before.collections, 8ull * rounds);
	EXPECT_EQ(after.collection_retries, before.collection_retries);
}

/* --- Changes of the same memory ---------------------------------------------------------- */

#define WRITERS 4

/*
 * Several programs write to memory whose mappings change under them. Each has its own part of each
 * page, and a word is either its last value or, where the page was replaced, zero.
 */
static void test_changes_under_programs(const void *arg)
{
	struct changer changer = { .memory = map_in_window(RANGE), .size = RANGE };
	const size_t part = RANGE / WRITERS;
	struct program programs[WRITERS];
	unsigned int rounds = 0, failed = 0;
	double start = now_ms();
	struct gpu gpu;

	changer.random = ktap_random();
	open_vm(&gpu, arg);
	while (rounds < 4 || time_is_left(start)) {
		rounds++;
		for (int i = 0; i < WRITERS; i++)
			start_fill(&programs[i], &gpu, changer.memory + i * part, rounds, part);
		for (int i = 0; i < WRITERS; i++) {
			int err;

			while (!has_ended(&programs[i])) {
				change(&changer);
				/* Programs shall be disturbed, and get somewhere. */
				usleep(100);
			}
			err = finish(&programs[i]);
			EXPECT(!err || err == -EPERM || err == -EFAULT || err == -EBUSY,
			       "FILL: %s", strerror(-err));
			failed += !!err;
		}
		for (size_t i = 0; i < RANGE / 4; i++) {
			__u32 word = ((volatile __u32 *)changer.memory)[i];

			EXPECT(word <= rounds, "word %zu is %#x in round %u", i, word, rounds);
		}
	}
	ktap_note("%u rounds, %u changes, %u programs failed", rounds, changer.changes, failed);
	/* When all is quiet everything works again. */
	EXPECT_OK(gpu_fill(&gpu, changer.memory, 5, RANGE));
	expect_words((__u32 *)changer.memory, RANGE, 5);
	munmap(changer.memory, RANGE);
	EXPECT_EQ(stats_of(&gpu).ranges, 0);
}

/* --- Processes ---------------------------------------------------------------------------- */

#define PROCESSES 8
#define PER_PROCESS 3

/* A process of its own: VM, memory, programs; what it finds in the end is what it has written. */
static void be_one_of_many(const void *variant, unsigned int seed)
{
	struct changer changer = { .size = RANGE, .random = seed };
	char *memory = map_in_window((PER_PROCESS + 1) * RANGE);
	struct program programs[PER_PROCESS];
	double start = now_ms();
	struct gpu gpu;

	open_vm(&gpu, variant);
	changer.memory = memory + PER_PROCESS * RANGE;
	for (__u32 round = 1; round <= 2 || time_is_left(start); round++) {
		for (int i = 0; i < PER_PROCESS; i++)
			start_fill(&programs[i], &gpu, memory + i * RANGE, seed + round + i, RANGE);
		for (int i = 0; i < 8; i++)
			change(&changer);
		for (int i = 0; i < PER_PROCESS; i++)
			EXPECT_OK(finish(&programs[i]));
		for (int i = 0; i < PER_PROCESS; i++) {
			expect_gpu_sum(&gpu, memory + i * RANGE, RANGE,
				       (__u64)(__u32)(seed + round + i) * RANGE / 4);
			expect_words((__u32 *)(memory + i * RANGE), RANGE, seed + round + i);
		}
		/* A part of a range, so that there is always something to cut and to make. */
		munmap(memory + RANGE / 4, RANGE / 4);
		map_at(memory + RANGE / 4, RANGE / 4, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1);
	}
	EXPECT_OK(gpu_close(&gpu));
}

static void test_many_processes(const void *arg)
{
	pid_t pids[PROCESSES];
	struct gpu gpu;

	open_vm(&gpu, arg);
	for (int i = 0; i < PROCESSES; i++) {
		unsigned int seed = ktap_random() >> 8;

		pids[i] = ktap_fork();
		if (!pids[i]) {
			be_one_of_many(arg, seed);
			ktap_done();
		}
	}
	for (int i = 0; i < PROCESSES; i++)
		ktap_join(pids[i]);
	EXPECT_OK(gpu_wait_free(&gpu, 20));
}

/*
 * All processes count in one shared page, each in its own word, with a program of the GPU: the
 * page is in all page tables at once, of CPUs and of GPUs.
 */
static void test_shared_page(const void *arg)
{
	__u32 *page = map_at(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1);
	const __u32 rounds = 100;
	pid_t pids[PROCESSES];
	struct gpu gpu;

	open_vm(&gpu, arg);
	page[PROCESSES] = 1;
	for (int i = 0; i < PROCESSES; i++) {
		struct gpu own;

		pids[i] = ktap_fork();
		if (pids[i])
			continue;
		open_vm(&own, arg);
		for (__u32 round = 0; round < rounds; round++) {
			EXPECT_OK(gpu_add(&own, page + i, page + i, page + PROCESSES, 4));
			if (round % 16 == 0)
				madvise(page, PAGE, MADV_DONTNEED);
		}
		ktap_done();
	}
	for (int i = 0; i < PROCESSES; i++)
		ktap_join(pids[i]);
	for (int i = 0; i < PROCESSES; i++)
		EXPECT_EQ(page[i], rounds);
	expect_gpu_sum(&gpu, page, PROCESSES * 4, PROCESSES * rounds);
}

static const struct ktap_case cases[] = {
	IN_RAM("many ranges", test_many_ranges),
	IN_VRAM("many ranges", test_many_ranges),
	IN_RAM("the same pages", test_same_pages),
	IN_VRAM("the same pages", test_same_pages),
	IN_RAM("strides", test_strides),
	IN_VRAM("strides", test_strides),
	IN_RAM("new memory each time", test_new_memory_each_time),
	IN_VRAM("new memory each time", test_new_memory_each_time),
	IN_RAM("changes elsewhere", test_changes_elsewhere),
	IN_RAM("changes under programs", test_changes_under_programs),
	IN_VRAM("changes under programs", test_changes_under_programs),
	IN_RAM("eight processes", test_many_processes),
	IN_VRAM("eight processes", test_many_processes),
	IN_RAM("a page of eight processes", test_shared_page),
};

int main(int argc, char **argv)
{
	return ktap_main(argc, argv, cases, ARRAY_SIZE(cases));
}
