// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Two devices that share a process's memory, and reach each other's VRAM: memory goes from
 * one to the other without a stop in RAM, both work on what only one of them has, and
 * neither takes it from the other for ever. The driver is loaded again for this, with two
 * devices; and once more for the last cases, in which these do not reach each other.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "modules.h"
#include "place.h"

#define SIZE MIB(4)
#define SEED 51

/* How the driver is loaded for this. */
#define TWO "devices=2 vram_mib=64"

static struct gpu gpus[2];

static bool have_peers(const struct gpu *gpu)
{
	return gpu->info.capabilities & DRM_SVM_STUB_CAP_PEER;
}

/* Opens two devices with or without a connection; -ENODEV if there are no such. */
static int open_as_they_are(bool peers)
{
	for (int i = 0; i < 2; i++) {
		int err = gpu_open_device(&gpus[i], i, 0);

		if (!err && !gpu_can_migrate(&gpus[i]))
			ktap_skip("the devices cannot migrate");
		if (!err && have_peers(&gpus[i]) == peers)
			continue;
		/* Files that are open would keep the driver. */
		for (i -= err != 0; i >= 0; i--)
			EXPECT_OK(gpu_close(&gpus[i]));
		return err ?: -ENODEV;
	}
	return 0;
}

/* The driver is loaded again if the devices are not such. */
static void open_each(bool peers)
{
	int err = open_as_they_are(peers);

	if (err == -ENODEV) {
		err = reload_stub(peers ? TWO : TWO " peers=0");
		if (err == -ENOENT)
			ktap_skip("there are no two devices");
		EXPECT_OK(err);
		err = open_as_they_are(peers);
	}
	EXPECT_OK(err);
	for (unsigned int i = 0; i < 2; i++) {
		EXPECT_EQ(gpus[i].info.index, i);
		EXPECT_OK(gpu_wait_free(&gpus[i], 10));
	}
}

static void open_two(void)
{
	open_each(true);
}

/* All of a span is in VRAM of device @index, which both say. */
static void expect_at(unsigned int index, const void *memory, size_t size)
{
	struct drm_svm_stub_block own, peer;

	EXPECT_OK(gpu_where(&gpus[index], memory, size, &own));
	EXPECT_EQ(own.device, size / PAGE);
	EXPECT_OK(gpu_where_peer(&gpus[!index], memory, size, &peer));
	EXPECT_EQ(peer.device, size / PAGE);
	EXPECT_OK(gpu_where_peer(&gpus[index], memory, size, &peer));
	EXPECT_EQ(peer.device, 0);
}

static void move_to(unsigned int index, void *memory, size_t size)
{
	EXPECT_OK(gpu_migrate(&gpus[index], memory, size, 0));
	expect_at(index, memory, size);
}

static void expect_both_free(void)
{
	for (int i = 0; i < 2; i++)
		expect_vram_used(&gpus[i], 0);
}

/* --- There, between, back ------------------------------------------------------------ */

static __u32 *map_kind(bool huge)
{
	return huge ? map_huge_pattern(SIZE, SEED) : map_small_pattern(SIZE, SEED);
}

static void test_between(const void *arg)
{
	const bool *huge = arg;
	__u32 *memory = map_kind(*huge);

	open_two();
	move_to(0, memory, SIZE);
	for (int round = 1; round <= 6; round++) {
		unsigned int to = round % 2, from = !to;
		struct drm_svm_stub_vm_stats before = stats_of(&gpus[from]);
		__u64 came = device_stats_of(&gpus[to]).from_device;

		move_to(to, memory, SIZE);
		EXPECT_EQ(device_stats_of(&gpus[to]).from_device - came, SIZE / PAGE);
		EXPECT_EQ(stats_of(&gpus[from]).pages_to_ram, before.pages_to_ram);
		expect_vram_used(&gpus[from], 0);
		expect_vram_used(&gpus[to], SIZE);
		expect_gpu_reads(&gpus[to], memory, SIZE, SEED);
		expect_at(to, memory, SIZE);
	}
	expect_pattern(memory, SIZE, SEED);
	if (*huge && gpus[0].info.capabilities & DRM_SVM_STUB_CAP_HUGE)
		EXPECT_EQ(huge_bytes(memory), SIZE);
	expect_both_free();
}

/* Parts here, parts there, parts in RAM: all of it comes together, and each page is right. */
static void test_from_everywhere(const void *arg)
{
	const bool *huge = arg;
	__u32 *memory = map_kind(*huge);
	static struct report report;

	open_two();
	for (int round = 0; round < 10; round++) {
		for (int i = 0; i < 6; i++) {
			size_t first = ktap_random() % (SIZE / PAGE);
			size_t count = 1 + ktap_random() % (SIZE / PAGE - first);
			void *start = memory + first * WORDS_PER_PAGE;
			int err = gpu_migrate(&gpus[i % 2], start, count * PAGE,
					      ktap_random() % 3 ? 0 : TO_RAM);

			/* Before 7.3 parts of huge pages stay. */
			EXPECT(!err || (*huge && err == -EBUSY), "MIGRATE: %s", strerror(-err));
		}
		migrate_report(&gpus[round % 2], memory, SIZE, 0, &report);
		EXPECT(!report.err || (*huge && report.err == -EBUSY), "MIGRATE: %s",
		       strerror(-report.err));
		expect_gpu_reads(&gpus[!(round % 2)], memory, SIZE, SEED);
	}
	expect_pattern(memory, SIZE, SEED);
	expect_both_free();
}

/* What goes from device to device while VRAM there is not enough. */
static void test_destination_full(const void *arg)
{
	__u32 *memory = map_small_pattern(SIZE, SEED);
	static struct report report;
	struct bo object;

	(void)arg;
	open_two();
	EXPECT_OK(gpu_info(&gpus[1], &gpus[1].info));
	EXPECT_OK(bo_create(&gpus[1], &object, gpus[1].info.vram_free - SIZE / 2,
			    DRM_SVM_STUB_BO_VRAM));
	move_to(0, memory, SIZE);
	migrate_report(&gpus[1], memory, SIZE / 2, 0, &report);
	EXPECT_OK(report.err);
	migrate_report(&gpus[1], memory + SIZE / 8, SIZE / 2, 0, &report);
	/* Room may be made, of what is there already; what did not fit has stayed. */
	EXPECT(!report.err || report.err == -ENOSPC, "MIGRATE: %s", strerror(-report.err));
	expect_gpu_reads(&gpus[0], memory, SIZE, SEED);
	expect_gpu_reads(&gpus[1], memory, SIZE, SEED);
	expect_pattern(memory, SIZE, SEED);
	EXPECT_OK(bo_close(&gpus[1], &object));
	expect_both_free();
}

/* --- Both at work on one buffer -------------------------------------------------------- */

/* Where the buffer is while both use it. */
enum home { IN_THE_RAM, IN_THE_FIRST, IN_THE_SECOND };

static void test_mirror(const void *arg)
{
	const enum home *home = arg;
	__u32 *memory = map_small_pattern(SIZE, SEED), *ones = map_small(SIZE);
	const __u32 rounds = 8;

	open_two();
	for (size_t i = 0; i < SIZE / 4; i++)
		ones[i] = 1;
	memset(memory, 0, SIZE);
	if (*home != IN_THE_RAM)
		move_to(*home - 1, memory, SIZE);
	for (__u32 round = 1; round <= rounds; round++) {
		struct gpu *writer = &gpus[round % 2], *reader = &gpus[!(round % 2)];

		EXPECT_OK(gpu_add(writer, memory, memory, ones, SIZE));
		expect_gpu_sum(reader, memory, SIZE, (__u64)round * SIZE / 4);
	}
	/* Nobody has moved it: the other one has reached it where it was. */
	if (*home == IN_THE_RAM)
		expect_ram(&gpus[0], memory, SIZE);
	else
		expect_at(*home - 1, memory, SIZE);
	expect_words(memory, SIZE, rounds);
	expect_both_free();
}

/* Copies whose two ends are on different devices. */
static void test_copy_across(const void *arg)
{
	__u32 *from = map_small_pattern(SIZE, SEED), *to = map_small_pattern(SIZE, SEED + 1);

	(void)arg;
	open_two();
	for (unsigned int i = 0; i < 2; i++) {
		move_to(0, from, SIZE);
		move_to(1, to, SIZE);
		EXPECT_OK(gpu_copy(&gpus[i], to, from, SIZE));
		expect_at(0, from, SIZE);
		expect_at(1, to, SIZE);
		expect_gpu_reads(&gpus[0], to, SIZE, SEED);
		expect_pattern(to, SIZE, SEED);
		write_pattern(to, SIZE, SEED + 1);
	}
}

/* The CPU takes it from both; each sees what it has written. */
static void test_three(const void *arg)
{
	__u32 *memory = map_small_pattern(SIZE, SEED);

	(void)arg;
	open_two();
	for (int i = 0; i < 2; i++)
		EXPECT_OK(gpu_create(&gpus[i], DRM_SVM_STUB_VM_MIGRATE_ON_FAULT));
	for (__u32 round = 0; round < 6; round++) {
		EXPECT_OK(gpu_fill(&gpus[0], memory, 3 * round, SIZE));
		EXPECT_OK(gpu_fill(&gpus[1], memory, 3 * round + 1, SIZE / 2));
		expect_gpu_sum(&gpus[0], memory, SIZE, (__u64)(6 * round + 1) * SIZE / 8);
		memory[round] = 7;
		expect_words(memory + SIZE / 8, SIZE / 2, 3 * round);
		expect_gpu_sum(&gpus[1], memory + round, 4, 7);
	}
}

/* --- Conflict ------------------------------------------------------------------------------ */

#define CONFLICT_PAGES 16
#define CONFLICT_ROUNDS 30
/* For one program; it takes some milliseconds when it is alone. */
#define PATIENCE_MS 60e3

struct rival {
	struct gpu gpu;
	__u32 *words; /* its own, one in each page */
	pthread_t thread;
	double longest; /* milliseconds that a program took */
	__u64 faults;
	int err;
};

/* Takes a page, and writes to its word of it. */
static int take_and_write(struct rival *rival, size_t page, __u32 value)
{
	__u32 *word = rival->words + page * WORDS_PER_PAGE;
	int err = gpu_migrate(&rival->gpu, (void *)((uintptr_t)word & -PAGE), PAGE, 0);

	/* Somebody else may be at it just now. */
	return err && err != -EBUSY ? err : gpu_fill(&rival->gpu, word, value, 4);
}

/* Page by page, again and again. */
static void *compete(void *arg)
{
	struct rival *rival = arg;

	for (__u32 round = 1; round <= CONFLICT_ROUNDS && !rival->err; round++) {
		for (size_t page = 0; page < CONFLICT_PAGES && !rival->err; page++) {
			double start = now_ms(), took;

			rival->err = take_and_write(rival, page, round + page);
			took = now_ms() - start;
			rival->longest = took > rival->longest ? took : rival->longest;
			rival->faults += rival->gpu.faults;
		}
	}
	return NULL;
}

/* Both want the same pages in their own VRAM all the time, with several threads each. */
static void test_conflict(const void *arg)
{
	const __u32 *timeslice = arg;
	const struct drm_svm_stub_vm_create create = {
		.flags = DRM_SVM_STUB_VM_MIGRATE_ON_FAULT, .timeslice_ms = *timeslice,
	};
	__u32 *memory = map_small(CONFLICT_PAGES * PAGE);
	struct rival rivals[4] = {};
	double longest = 0;

	open_two();
	memset(memory, 0, CONFLICT_PAGES * PAGE);
	for (int i = 0; i < 2; i++)
		EXPECT_OK(gpu_create_as(&gpus[i], create));
	for (int i = 0; i < 4; i++) {
		rivals[i] = (struct rival){ .gpu = gpus[i % 2], .words = memory + i };
		EXPECT(!pthread_create(&rivals[i].thread, NULL, compete, &rivals[i]),
		       "pthread_create");
	}
	for (int i = 0; i < 4; i++) {
		pthread_join(rivals[i].thread, NULL);
		EXPECT_OK(rivals[i].err);
		longest = longest > rivals[i].longest ? longest : rivals[i].longest;
	}
	ktap_note("the longest program took %.0f ms; %llu and %llu faults", longest,
		  rivals[0].faults + rivals[2].faults, rivals[1].faults + rivals[3].faults);
	for (int i = 0; i < 2; i++) {
		__u64 came = device_stats_of(&gpus[i]).from_device;

		ktap_note("%llu pages came to device %d from the other", came, i);
		EXPECT(came, "there was no conflict");
	}
	EXPECT(longest < PATIENCE_MS, "a program took %.0f ms", longest);
	for (size_t page = 0; page < CONFLICT_PAGES; page++)
		for (int i = 0; i < 4; i++)
			EXPECT_EQ(memory[page * WORDS_PER_PAGE + i], CONFLICT_ROUNDS + page);
}

/* --- Owners that go --------------------------------------------------------------------------- */

/* Both VRAMs are in use when a process ends or is killed, and free after it. */
static void test_owner_ends(const void *arg)
{
	const bool *killed = arg;
	int ready[2];
	pid_t pid;
	char c;

	open_two();
	EXPECT(!pipe(ready), "pipe: %s", strerror(errno));
	pid = ktap_fork();
	if (!pid) {
		__u32 *memory = map_small_pattern(SIZE, SEED), *other = map_pattern(SIZE, SEED);

		open_two();
		move_to(0, memory, SIZE);
		move_to(1, other, SIZE);
		EXPECT_OK(gpu_copy(&gpus[0], other, memory, SIZE / 2));
		move_to(1, memory, SIZE / 2);
		EXPECT(write(ready[1], "", 1) == 1, "write: %s", strerror(errno));
		if (*killed)
			pause();
		ktap_done();
	}
	close(ready[1]);
	EXPECT(read(ready[0], &c, 1) == 1, "the child has failed");
	if (*killed) {
		kill(pid, SIGKILL);
		waitpid(pid, NULL, 0);
	} else {
		ktap_join(pid);
	}
	expect_both_free();
}

/* Memory of a parent that its child takes to the other device. */
static void test_fork(const void *arg)
{
	__u32 *memory = map_small_pattern(SIZE, SEED);
	pid_t pid;

	(void)arg;
	open_two();
	move_to(0, memory, SIZE);
	pid = ktap_fork();
	if (!pid) {
		struct gpu own;

		EXPECT_OK(gpu_open_device(&own, 1, 0));
		EXPECT_OK(gpu_migrate(&own, memory, SIZE, 0));
		expect_vram(&own, memory, SIZE);
		expect_gpu_reads(&own, memory, SIZE, SEED);
		EXPECT_OK(gpu_fill(&own, memory, 4, SIZE / 2));
		expect_words(memory, SIZE / 2, 4);
		expect_pattern_from(memory, SIZE / 8, SIZE / 2, SEED);
		ktap_done();
	}
	expect_gpu_reads(&gpus[0], memory, SIZE, SEED);
	ktap_join(pid);
	expect_gpu_reads(&gpus[1], memory, SIZE, SEED);
	expect_pattern(memory, SIZE, SEED);
	expect_both_free();
}

/* What one device evicts is in use by the other. */
static void test_eviction(const void *arg)
{
	__u32 *memory = map_small_pattern(SIZE, SEED), *rest;
	__u64 before;
	size_t size;

	(void)arg;
	open_two();
	size = gpus[0].info.vram_size;
	if (size > MIB(256))
		ktap_skip("the device has too much VRAM to fill");
	rest = map_pattern(size, SEED + 1);
	move_to(0, memory, SIZE);
	expect_gpu_reads(&gpus[1], memory, SIZE, SEED);
	before = bytes_evicted(&gpus[0]);
	EXPECT_OK(gpu_migrate(&gpus[0], rest, size, 0));
	EXPECT(bytes_evicted(&gpus[0]) > before, "nothing was evicted");
	expect_gpu_reads(&gpus[1], memory, SIZE, SEED);
	expect_gpu_reads(&gpus[1], rest, size, SEED + 1);
	EXPECT_OK(gpu_fill(&gpus[1], memory, 9, SIZE));
	expect_words(memory, SIZE, 9);
	expect_pattern(rest, size, SEED + 1);
	expect_both_free();
}

/* --- No connection ------------------------------------------------------------------------- */

/* What only one device can read stays there, unless it is told to bring it to RAM first. */
static void test_through_ram(const void *arg)
{
	__u32 *memory = map_small_pattern(SIZE, SEED);
	static struct report report;
	__u64 to_ram;

	(void)arg;
	open_each(false);
	EXPECT_OK(gpu_migrate(&gpus[0], memory, SIZE, 0));
	expect_vram(&gpus[0], memory, SIZE);
	to_ram = stats_of(&gpus[0]).pages_to_ram;
	migrate_report(&gpus[1], memory, SIZE, DRM_SVM_STUB_MIGRATE_FAULT_IN, &report);
	EXPECT_OK(report.err);
	expect_report(&report, 0, SIZE / PAGE, DRM_SVM_STUB_MOVED);
	EXPECT_EQ(stats_of(&gpus[0]).pages_to_ram - to_ram, SIZE / PAGE);
	EXPECT_EQ(device_stats_of(&gpus[1]).from_device, 0);
	expect_vram_used(&gpus[0], 0);
	expect_gpu_reads(&gpus[1], memory, SIZE, SEED);
	expect_pattern(memory, SIZE, SEED);
	expect_both_free();
}

static void test_stays_there(const void *arg)
{
	__u32 *memory = map_small_pattern(SIZE, SEED);
	static struct report report;

	(void)arg;
	open_each(false);
	EXPECT_OK(gpu_migrate(&gpus[0], memory, SIZE / 2, 0));
	migrate_report(&gpus[1], memory, SIZE, 0, &report);
	/* To the other one it looks like something that is not in memory. */
	for (size_t i = 0; i < SIZE / 2 / PAGE; i++)
		EXPECT(report.page[i] == DRM_SVM_STUB_STAY_FOREIGN ||
		       report.page[i] == DRM_SVM_STUB_STAY_SWAPPED, "page %zu: %s", i,
		       stay_name(report.page[i]));
	expect_report(&report, SIZE / 2 / PAGE, SIZE / 2 / PAGE, DRM_SVM_STUB_MOVED);
	expect_vram(&gpus[0], memory, SIZE / 2);
	/* A program of it needs the data, which comes to RAM for that. */
	expect_gpu_reads(&gpus[1], memory, SIZE, SEED);
	expect_pattern(memory, SIZE, SEED);
	expect_both_free();
}

static const bool small, huge = true, ends, killed = true;
static const enum home in_ram = IN_THE_RAM, first = IN_THE_FIRST, second = IN_THE_SECOND;
static const __u32 no_timeslice, timeslice = 5;

static const struct ktap_case cases[] = {
	{ "there, between and back, small pages", test_between, &small },
	{ "there, between and back, huge pages", test_between, &huge },
	{ "from everywhere, small pages", test_from_everywhere, &small },
	{ "from everywhere, huge pages", test_from_everywhere, &huge },
	{ "the other VRAM is full", test_destination_full, NULL },
	{ "one buffer, in RAM", test_mirror, &in_ram },
	{ "one buffer, in the VRAM of the first", test_mirror, &first },
	{ "one buffer, in the VRAM of the second", test_mirror, &second },
	{ "copies from VRAM to VRAM", test_copy_across, NULL },
	{ "two GPUs and a CPU", test_three, NULL },
	{ "both want it", test_conflict, &no_timeslice },
	{ "both want it for a timeslice", test_conflict, &timeslice },
	{ "the owner exits", test_owner_ends, &ends },
	{ "the owner is killed", test_owner_ends, &killed },
	{ "fork, the child uses the other device", test_fork, NULL },
	{ "eviction of what the other one uses", test_eviction, NULL },
	{ "without a connection, through RAM", test_through_ram, NULL },
	{ "without a connection, not at all", test_stays_there, NULL },
};

int main(int argc, char **argv)
{
	int status;

	read_modules();
	status = ktap_main(argc, argv, cases, ARRAY_SIZE(cases));
	if (num_modules && reload_stub(NULL))
		ktap_note("the driver cannot be loaded as it was");
	return status;
}
