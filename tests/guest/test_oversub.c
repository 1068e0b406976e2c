// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * More memory than VRAM: processes use twice as much of it as there is, all at once, and
 * each page has what its process has put there, whoever has evicted it meanwhile. And CPU
 * threads use the pages that a GPU uses, without a pause: each access comes to its end.
 *
 * test_oversub [--seconds N] [CASE...]: the cases that are about time take so long each.
 */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "modules.h"
#include "place.h"
#include "times.h"

#define SECONDS 20
static unsigned int seconds;

/* VRAM that is soon full. */
#define VRAM "vram_mib=32"
#define PROCESSES 4

/* No access and no program takes so long unless it is stuck: a slow machine, and a wide margin. */
#define STUCK_MS 60e3

/* A device with little VRAM; the driver is loaded again if it has more. */
static void open_small(struct gpu *gpu, struct drm_svm_stub_vm_create create)
{
	EXPECT_OK(gpu_open(gpu, 0));
	if (!gpu_can_migrate(gpu))
		ktap_skip("the device cannot migrate");
	if (gpu->info.vram_size > MIB(64)) {
		int err;

		EXPECT_OK(gpu_close(gpu));
		err = reload_stub(VRAM);
		if (err == -ENOENT)
			ktap_skip("the device has too much VRAM");
		EXPECT_OK(err);
		EXPECT_OK(gpu_open(gpu, 0));
	}
	EXPECT_OK(gpu_create_as(gpu, create));
	EXPECT_OK(gpu_wait_free(gpu, 20));
	EXPECT_OK(gpu_info(gpu, &gpu->info));
}

static const struct drm_svm_stub_vm_create on_fault = {
	.flags = DRM_SVM_STUB_VM_MIGRATE_ON_FAULT,
};

/* --- One process -------------------------------------------------------------------- */

/* On request, and by faults: what is asked for last is there. */
static void test_alone(const void *arg)
{
	struct gpu gpu;
	size_t size;
	char *memory;

	(void)arg;
	open_small(&gpu, on_fault);
	size = 2 * gpu.info.vram_size;
	memory = (char *)map_pattern(size, 1);
	for (int round = 0; round < 2; round++) {
		for (size_t at = 0; at < size; at += MIB(4)) {
			EXPECT_OK(gpu_migrate(&gpu, memory + at, MIB(4), 0));
			expect_vram(&gpu, memory + at, MIB(4));
		}
	}
	EXPECT(bytes_evicted(&gpu) >= size, "%llu KiB were evicted", bytes_evicted(&gpu) >> 10);
	expect_gpu_reads(&gpu, (__u32 *)memory, size, 1);
	expect_pattern((__u32 *)memory, size, 1);
	expect_vram_used(&gpu, 0);
}

/* One call for more than there is: what could be moved was, and the rest says so. */
static void test_one_call(const void *arg)
{
	struct drm_svm_stub_migrate migrate = {};
	struct drm_svm_stub_block block;
	struct gpu gpu;
	__u32 *memory;
	size_t size;
	__u64 sum = 0;
	int err;

	(void)arg;
	open_small(&gpu, (struct drm_svm_stub_vm_create){});
	size = 2 * gpu.info.vram_size;
	memory = map_pattern(size, 2);
	err = gpu_migrate_as(&gpu, memory, size, &migrate);
	EXPECT(!err || err == -ENOSPC, "MIGRATE: %s", strerror(-err));
	for (int i = 0; i < DRM_SVM_STUB_STAYS; i++)
		sum += migrate.result[i];
	EXPECT_EQ(sum, size / PAGE);
	EXPECT(migrate.result[DRM_SVM_STUB_MOVED] >= gpu.info.vram_size / PAGE,
	       "%llu pages have moved", migrate.result[DRM_SVM_STUB_MOVED]);
	EXPECT_OK(gpu_where(&gpu, memory, size, &block));
	ktap_note("%llu pages moved, %u are in VRAM", migrate.result[DRM_SVM_STUB_MOVED],
		  block.device);
	EXPECT_EQ(block.system + block.device, size / PAGE);
	expect_pattern(memory, size, 2);
	expect_vram_used(&gpu, 0);
}

/* Objects hold all VRAM, and cannot be evicted: then there is none. */
static void test_nothing_to_evict(const void *arg)
{
	__u32 *memory = map_pattern(MIB(4), 3);
	struct drm_svm_stub_migrate migrate = {};
	struct bo object;
	struct gpu gpu;

	(void)arg;
	open_small(&gpu, on_fault);
	EXPECT_OK(bo_create(&gpu, &object, gpu.info.vram_size, DRM_SVM_STUB_BO_VRAM));
	EXPECT_ERR(gpu_migrate_as(&gpu, memory, MIB(4), &migrate), -ENOSPC);
	EXPECT_EQ(migrate.result[DRM_SVM_STUB_STAY_NO_DEVICE_MEMORY], MIB(4) / PAGE);
	expect_ram(&gpu, memory, MIB(4));
	/* A fault is served from RAM. */
	expect_gpu_reads(&gpu, memory, MIB(4), 3);
	expect_ram(&gpu, memory, MIB(4));
	EXPECT_OK(bo_close(&gpu, &object));
	EXPECT_OK(gpu_migrate(&gpu, memory, MIB(4), 0));
	expect_vram(&gpu, memory, MIB(4));
	expect_pattern(memory, MIB(4), 3);
}

/* --- Four processes, twice the VRAM -------------------------------------------------------- */

#define CHUNK KIB(256)

/* What a process has in its memory: each chunk is a pattern of a seed of its own. */
struct worker {
	struct gpu gpu;
	char *memory, *source;
	size_t chunks;
	__u32 *seeds;
	unsigned int random, operations;
	struct times times;
};

static unsigned int random_of(struct worker *worker, unsigned int below)
{
	worker->random = worker->random * 1664525 + 1013904223;
	return (worker->random >> 8) % below;
}

static __u32 *chunk_at(struct worker *worker, size_t chunk)
{
	return (__u32 *)(worker->memory + chunk * CHUNK);
}

/* The GPU writes a chunk anew, from RAM or VRAM. */
static void rewrite(struct worker *worker, size_t chunk)
{
	__u32 seed = worker->random;

	write_pattern((__u32 *)worker->source, CHUNK, seed);
	EXPECT_OK(gpu_copy(&worker->gpu, chunk_at(worker, chunk), worker->source, CHUNK));
	worker->seeds[chunk] = seed;
}

/* One chunk becomes another by way of VRAM. */
static void duplicate(struct worker *worker, size_t from, size_t to)
{
	if (from == to)
		return;
	EXPECT_OK(gpu_copy(&worker->gpu, chunk_at(worker, to), chunk_at(worker, from), CHUNK));
	worker->seeds[to] = worker->seeds[from];
}

static void move_some(struct worker *worker, size_t chunk)
{
	size_t count = 1 + random_of(worker, 16);
	int err;

	if (count > worker->chunks - chunk)
		count = worker->chunks - chunk;
	err = gpu_migrate(&worker->gpu, chunk_at(worker, chunk), count * CHUNK,
			  random_of(worker, 4) ? 0 : TO_RAM);
	/* Whatever the others do at the moment; it stays usable. */
	EXPECT(!err || err == -EBUSY || err == -ENOSPC, "MIGRATE: %s", strerror(-err));
}

static void work(struct worker *worker)
{
	size_t chunk = random_of(worker, worker->chunks);
	double start = now_ms();

	switch (random_of(worker, 6)) {
	case 0:
		rewrite(worker, chunk);
		break;
	case 1:
		duplicate(worker, random_of(worker, worker->chunks), chunk);
		break;
	case 2:
		move_some(worker, chunk);
		break;
	case 3:
		expect_pattern(chunk_at(worker, chunk), CHUNK, worker->seeds[chunk]);
		break;
	default:
		expect_gpu_reads(&worker->gpu, chunk_at(worker, chunk), CHUNK,
				 worker->seeds[chunk]);
	}
	worker->operations++;
	times_add(&worker->times, now_ms() - start);
}

static void be_a_worker(unsigned int random, size_t size, double end)
{
	struct worker worker = { .random = random, .chunks = size / CHUNK };

	EXPECT_OK(gpu_open(&worker.gpu, DRM_SVM_STUB_VM_MIGRATE_ON_FAULT));
	worker.memory = (char *)map(size);
	worker.source = (char *)map(CHUNK);
	worker.seeds = calloc(worker.chunks, sizeof(*worker.seeds));
	EXPECT(worker.seeds, "out of memory");
	/* Some of it in huge pages. */
	madvise(worker.memory, size / 2, MADV_HUGEPAGE);
	madvise(worker.memory + size / 2, size / 2, MADV_NOHUGEPAGE);
	for (size_t i = 0; i < worker.chunks; i++)
		rewrite(&worker, i);
	while (now_ms() < end || worker.operations < 50)
		work(&worker);
	for (size_t i = 0; i < worker.chunks; i++)
		expect_pattern(chunk_at(&worker, i), CHUNK, worker.seeds[i]);
	ktap_note("%u operations, the longest took %.0f ms", worker.operations,
		  worker.times.longest);
	EXPECT(worker.times.longest < STUCK_MS, "an operation took %.0f ms",
	       worker.times.longest);
}

static void test_four_processes(const void *arg)
{
	double end = now_ms() + seconds * 1e3;
	pid_t pids[PROCESSES];
	struct gpu gpu;
	size_t size;

	(void)arg;
	open_small(&gpu, (struct drm_svm_stub_vm_create){});
	/* All together twice what there is. */
	size = 2 * gpu.info.vram_size / PROCESSES;
	for (int i = 0; i < PROCESSES; i++) {
		unsigned int random = ktap_random();

		pids[i] = ktap_fork();
		if (!pids[i]) {
			be_a_worker(random, size, end);
			ktap_done();
		}
	}
	for (int i = 0; i < PROCESSES; i++)
		ktap_join(pids[i]);
	ktap_note("%llu MiB were evicted", bytes_evicted(&gpu) >> 20);
	EXPECT(bytes_evicted(&gpu), "nothing was evicted");
	EXPECT_EQ(device_stats_of(&gpu).fault_lost, 0);
	EXPECT_OK(gpu_wait_free(&gpu, 60));
}

/* --- CPUs at what the GPU uses ---------------------------------------------------------------- */

#define HAMMERS 3
#define HAMMERED MIB(1)
#define HAMMERED_PAGES (HAMMERED / PAGE)

/* A CPU thread that counts in its own word of each page. */
struct hammer {
	volatile __u32 *words;
	unsigned int random;
	__u32 counts[HAMMERED_PAGES];
	bool *stop;
	pthread_t thread;
	struct times times;
	long wrong; /* index of a page that has lost a count; -1: none */
};

static void *hammer(void *arg)
{
	struct hammer *hammer = arg;

	while (!__atomic_load_n(hammer->stop, __ATOMIC_ACQUIRE) && hammer->wrong < 0) {
		double start = now_ms();
		size_t page;

		hammer->random = hammer->random * 1664525 + 1013904223;
		page = (hammer->random >> 8) % HAMMERED_PAGES;
		if (hammer->words[page * WORDS_PER_PAGE] != hammer->counts[page])
			hammer->wrong = page;
		hammer->words[page * WORDS_PER_PAGE] = ++hammer->counts[page];
		times_add(&hammer->times, now_ms() - start);
	}
	return NULL;
}

/* The second half of each page is the GPU's. */
static __u32 *gpu_half(__u32 *memory, size_t page)
{
	return memory + page * WORDS_PER_PAGE + WORDS_PER_PAGE / 2;
}

static void run_gpu(struct gpu *gpu, __u32 *memory, double end, struct times *times)
{
	for (__u32 round = 1; now_ms() < end || round < 3; round++) {
		for (size_t page = 0; page < HAMMERED_PAGES; page++) {
			double start = now_ms();

			EXPECT_OK(gpu_fill(gpu, gpu_half(memory, page), round + page, PAGE / 2));
			times_add(times, now_ms() - start);
		}
		for (size_t page = 0; page < HAMMERED_PAGES; page += 16)
			expect_gpu_sum(gpu, gpu_half(memory, page), PAGE / 2,
				       (__u64)(round + page) * PAGE / 8);
	}
}

static void check_hammers(struct hammer *hammers, const __u32 *memory)
{
	struct times times = {};

	for (int i = 0; i < HAMMERS; i++) {
		EXPECT(hammers[i].wrong < 0, "page %ld has lost a count", hammers[i].wrong);
		for (size_t page = 0; page < HAMMERED_PAGES; page++)
			EXPECT_EQ(memory[page * WORDS_PER_PAGE + i], hammers[i].counts[page]);
		times_join(&times, &hammers[i].times);
	}
	ktap_note("%lu accesses of CPUs: 99 %% below %.3f ms, 99.9 %% below %.1f ms, all below "
		  "%.0f ms", times.count, times_below(&times, 99), times_below(&times, 99.9),
		  times.longest);
	EXPECT(times.longest < STUCK_MS, "an access took %.0f ms", times.longest);
}

/* With a timeslice the GPU gets something done; without one CPUs take it away at once. */
static void test_hammer(const void *arg)
{
	const struct drm_svm_stub_vm_create *create = arg;
	static struct hammer hammers[HAMMERS];
	struct times times = {};
	__u32 *memory = map_small(HAMMERED);
	bool stop = false;
	struct gpu gpu;

	open_small(&gpu, *create);
	memset(memory, 0, HAMMERED);
	for (int i = 0; i < HAMMERS; i++) {
		hammers[i] = (struct hammer){ .words = memory + i, .random = ktap_random(),
					      .stop = &stop, .wrong = -1 };
		EXPECT(!pthread_create(&hammers[i].thread, NULL, hammer, &hammers[i]),
		       "pthread_create");
	}
	run_gpu(&gpu, memory, now_ms() + seconds * 250, &times);
	__atomic_store_n(&stop, true, __ATOMIC_RELEASE);
	for (int i = 0; i < HAMMERS; i++)
		pthread_join(hammers[i].thread, NULL);
	ktap_note("%lu programs of the GPU: 99 %% below %.1f ms, all below %.0f ms", times.count,
		  times_below(&times, 99), times.longest);
	EXPECT(times.longest < STUCK_MS, "a program took %.0f ms", times.longest);
	check_hammers(hammers, memory);
	EXPECT_EQ(device_stats_of(&gpu).fault_lost, 0);
}

static const struct drm_svm_stub_vm_create with_timeslice = {
	.flags = DRM_SVM_STUB_VM_MIGRATE_ON_FAULT, .timeslice_ms = 5,
};
static const struct drm_svm_stub_vm_create with_pages = {
	.flags = DRM_SVM_STUB_VM_MIGRATE_ON_FAULT, .fault_granule = PAGE,
};

static const struct ktap_case cases[] = {
	{ "twice the VRAM, one process", test_alone, NULL },
	{ "twice the VRAM, one call", test_one_call, NULL },
	{ "nothing to evict", test_nothing_to_evict, NULL },
	{ "twice the VRAM, four processes", test_four_processes, NULL },
	{ "CPUs at the GPU's pages", test_hammer, &on_fault },
	{ "CPUs at the GPU's pages, with a timeslice", test_hammer, &with_timeslice },
	{ "CPUs at the GPU's pages, page by page", test_hammer, &with_pages },
};

int main(int argc, char **argv)
{
	int status;

	seconds = seconds_to_run(&argc, argv, SECONDS);
	read_modules();
	status = ktap_main(argc, argv, cases, ARRAY_SIZE(cases));
	if (num_modules && reload_stub(NULL))
		ktap_note("the driver cannot be loaded as it was");
	return status;
}
