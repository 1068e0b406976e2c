// SPDX-License-Identifier: GPL-2.0-only OR MIT
/* CPU and GPU, programs and changes of the address space, at the same time. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "memory.h"

struct program {
	struct gpu *gpu;
	__u32 *memory;
	size_t size;
	__u32 value;
	int err;
};

static void *run_program(void *arg)
{
	struct program *program = arg;

	program->err = gpu_fill(program->gpu, program->memory, program->value, program->size);
	return NULL;
}

/* VM_DESTROY waits: the program is over when it returns. */
static void test_destroy_waits(const void *arg)
{
	struct gpu gpu;
	struct program program = {
		.gpu = &gpu, .memory = map(MIB(8)), .size = MIB(8), .value = 1,
	};
	volatile __u32 *first = program.memory;
	pthread_t thread;
	__u32 vm;

	open_vm(&gpu, arg);
	vm = gpu.vm;
	EXPECT(!pthread_create(&thread, NULL, run_program, &program), "pthread_create");
	/* The first word says that the program runs. */
	while (!*first)
		usleep(100);
	EXPECT_OK(gpu_destroy(&gpu, vm));
	pthread_join(thread, NULL);
	EXPECT_OK(program.err);
	expect_words(program.memory, program.size, 1);
	EXPECT_ERR(gpu_fill(&gpu, program.memory, 2, 4), -ENOENT);
}

/* A process that exits does not wait for its program, and leaves nothing. */
static void test_exit_while_running(const void *arg)
{
	struct gpu gpu;

	open_vm(&gpu, arg);
	for (int i = 0; i < 4; i++) {
		pid_t pid = ktap_fork();

		if (!pid) {
			struct gpu own;
			struct program program = {
				.gpu = &own, .memory = map(MIB(16)), .size = MIB(16), .value = 1,
			};
			volatile __u32 *first = program.memory;
			pthread_t thread;

			open_vm(&own, arg);
			pthread_create(&thread, NULL, run_program, &program);
			while (!*first)
				usleep(100);
			_exit(0);
		}
		ktap_join(pid);
	}
	EXPECT_OK(gpu_wait_free(&gpu, 10));
}

/* The CPU writes pages that the GPU does not use meanwhile. */
static void test_cpu_on_other_pages(const void *arg)
{
	struct gpu gpu;
	struct program program = { .gpu = &gpu, .memory = map(MIB(8)), .size = MIB(4) };
	__u32 *other = program.memory + MIB(4) / 4;

	open_vm(&gpu, arg);
	EXPECT_OK(gpu_fill(&gpu, program.memory, 0, MIB(8)));
	for (__u32 round = 1; round <= 3; round++) {
		pthread_t thread;

		program.value = round;
		EXPECT(!pthread_create(&thread, NULL, run_program, &program), "pthread_create");
		write_pattern(other, MIB(4), round);
		pthread_join(thread, NULL);
		EXPECT_OK(program.err);
		expect_gpu_reads(&gpu, other, MIB(4), round);
		expect_gpu_sum(&gpu, program.memory, MIB(4), (__u64)round * MIB(4) / 4);
	}
	expect_pattern(other, MIB(4), 3);
	expect_words(program.memory, MIB(4), 3);
}

/*
 * CPU and GPU write the same pages, other words of them. The GPU's part is the
 * second half of one page and the first half of the next.
 */
#define SHARED_PAGES 16

struct contention {
	__u32 *memory;
	int done;
	size_t rounds;
	char wrong[128];
};

static bool is_gpu_word(size_t i)
{
	bool second_half = i % WORDS_PER_PAGE >= WORDS_PER_PAGE / 2;

	return i / WORDS_PER_PAGE % 2 ? !second_half : second_half;
}

static void *touch(void *arg)
{
	struct contention *c = arg;
	volatile __u32 *memory = c->memory;

	do {
		__u32 round = ++c->rounds;

		for (size_t i = 0; i < SHARED_PAGES * WORDS_PER_PAGE; i += 32) {
			if (is_gpu_word(i))
				continue;
			if (memory[i] != round - 1 && !c->wrong[0])
				snprintf(c->wrong, sizeof(c->wrong),
					 "the CPU's word %zu is %u, not %u", i, memory[i],
					 round - 1);
			memory[i] = round;
		}
	} while (!__atomic_load_n(&c->done, __ATOMIC_ACQUIRE));
	return NULL;
}

static void test_contention(const void *arg)
{
	const size_t size = SHARED_PAGES * PAGE;
	struct contention c = { .memory = map(size) };
	__u32 rounds = 0, busy = 0;
	double end = now_ms() + 1500;
	pthread_t thread;
	struct gpu gpu;

	open_vm(&gpu, arg);
	EXPECT(!pthread_create(&thread, NULL, touch, &c), "pthread_create");
	while (now_ms() < end || rounds < 4) {
		rounds++;
		for (size_t page = 0; page < SHARED_PAGES; page += 2) {
			__u32 *own = c.memory + page * WORDS_PER_PAGE + WORDS_PER_PAGE / 2;
			__u64 sum;
			int err;

			/* A page that the CPU takes away again and again is -EBUSY. */
			while ((err = gpu_fill(&gpu, own, rounds, PAGE)) == -EBUSY && busy < 100)
				busy++;
			EXPECT_OK(err);
			while ((err = gpu_checksum(&gpu, own, PAGE, &sum)) == -EBUSY && busy < 100)
				busy++;
			EXPECT_OK(err);
			EXPECT(sum == rounds * (__u64)WORDS_PER_PAGE,
			       "the GPU read %llu of what it wrote, %llu", sum,
			       rounds * (__u64)WORDS_PER_PAGE);
		}
	}
	__atomic_store_n(&c.done, 1, __ATOMIC_RELEASE);
	pthread_join(thread, NULL);
	ktap_note("%u rounds of the GPU, %zu of the CPU, %u times busy", rounds, c.rounds, busy);
	EXPECT(!c.wrong[0], "%s", c.wrong);
	for (size_t i = 0; i < size / 4; i++)
		if (is_gpu_word(i))
			EXPECT(c.memory[i] == rounds, "the GPU's word %zu is %u, not %u", i,
			       c.memory[i], rounds);
		else if (i % 32 == 0)
			EXPECT(c.memory[i] == c.rounds, "the CPU's word %zu is %u, not %zu", i,
			       c.memory[i], c.rounds);
}

/* Programs of one VM, and of two, on the same memory. */
static void test_parallel_programs(const void *arg)
{
	struct gpu gpus[2], copy[4];
	struct program programs[4];
	pthread_t threads[4];
	__u32 *memory = map(MIB(4));

	open_vm(&gpus[0], arg);
	open_vm(&gpus[1], arg);
	for (__u32 round = 0; round < 4; round++) {
		for (int i = 0; i < 4; i++) {
			copy[i] = gpus[i % 2];
			programs[i] = (struct program){
				.gpu = &copy[i],
				/* Their ends share pages. */
				.memory = memory + i * (MIB(1) / 4 - 100),
				.size = MIB(1) - 400,
				.value = 10 * round + i,
			};
			EXPECT(!pthread_create(&threads[i], NULL, run_program, &programs[i]),
			       "pthread_create");
		}
		for (int i = 0; i < 4; i++) {
			pthread_join(threads[i], NULL);
			EXPECT_OK(programs[i].err);
		}
		for (int i = 0; i < 4; i++)
			expect_words(programs[i].memory, programs[i].size, programs[i].value);
	}
}

/* Mappings come and go while programs run; no program sees another's data. */
static void *change_mappings(void *arg)
{
	struct contention *c = arg;
	char *memory = (char *)c->memory;
	__u32 random = 1;

	while (!__atomic_load_n(&c->done, __ATOMIC_ACQUIRE)) {
		size_t page = (random = random * 1664525 + 1013904223) >> 16;
		char *place = memory + page % 256 * PAGE;

		switch (random >> 30) {
		case 0:
			madvise(place, 4 * PAGE, MADV_DONTNEED);
			break;
		case 1:
			map_at(place, 8 * PAGE, PROT_READ | PROT_WRITE,
			       MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1);
			break;
		case 2:
			mprotect(place, 4 * PAGE, PROT_READ);
			mprotect(place, 4 * PAGE, PROT_READ | PROT_WRITE);
			break;
		default:
			*(volatile char *)place;
		}
		c->rounds++;
		/* Programs shall be disturbed, and get somewhere. */
		usleep(50);
	}
	return NULL;
}

static void test_changing_mappings(const void *arg)
{
	const size_t size = MIB(1) + 16 * PAGE;
	struct contention c = { .memory = map(size) };
	__u32 *copy = map(size);
	double end = now_ms() + 1500;
	__u32 rounds = 0, failed = 0;
	pthread_t thread;
	struct gpu gpu;

	open_vm(&gpu, arg);
	EXPECT(!pthread_create(&thread, NULL, change_mappings, &c), "pthread_create");
	while (now_ms() < end || rounds < 4) {
		int err = gpu_fill(&gpu, c.memory, 0x600d600d, size);

		/* It may have met read-only pages, or have been disturbed too often. */
		EXPECT(!err || err == -EPERM || err == -EBUSY, "FILL: %s", strerror(-err));
		failed += !!err;
		err = gpu_copy(&gpu, copy, c.memory, size);
		EXPECT(!err || err == -EBUSY, "COPY: %s", strerror(-err));
		failed += !!err;
		for (size_t i = 0; i < size / 4; i++)
			EXPECT(copy[i] == 0x600d600d || !copy[i], "word %zu is %#x", i, copy[i]);
		rounds++;
	}
	__atomic_store_n(&c.done, 1, __ATOMIC_RELEASE);
	pthread_join(thread, NULL);
	ktap_note("%u rounds of the GPU, %zu changes, %u programs failed", rounds, c.rounds,
		  failed);
	/* When all is quiet everything works again. */
	EXPECT_OK(gpu_fill(&gpu, c.memory, 5, size));
	expect_gpu_sum(&gpu, c.memory, size, 5 * size / 4);
	expect_words(c.memory, size, 5);
}

struct mover {
	struct gpu *gpu;
	__u32 *memory;
	__u32 flags;
	int done;
	unsigned int moves;
	int err;
};

static void *move(void *arg)
{
	struct mover *mover = arg;

	while (!__atomic_load_n(&mover->done, __ATOMIC_ACQUIRE) && !mover->err) {
		int err = gpu_migrate(mover->gpu, mover->memory, MIB(1), mover->flags);

		/* A page that the other mover is moving is busy. */
		if (err != -EBUSY)
			mover->err = err;
		mover->moves++;
	}
	return NULL;
}

/* Two threads move the memory in both directions while the CPU counts in it. */
static void test_moving_memory(const void *arg)
{
	volatile __u32 *memory = map(MIB(1));
	double end = now_ms() + 1500;
	struct mover movers[2];
	pthread_t threads[2];
	__u32 rounds = 0;
	struct gpu gpu;

	open_vm(&gpu, arg);
	memset((void *)memory, 0, MIB(1));
	for (int i = 0; i < 2; i++) {
		movers[i] = (struct mover){
			.gpu = &gpu, .memory = (__u32 *)memory, .flags = i ? DRM_SVM_STUB_MIGRATE_TO_RAM : 0,
		};
		EXPECT(!pthread_create(&threads[i], NULL, move, &movers[i]), "pthread_create");
	}
	while (now_ms() < end || rounds < 4) {
		for (size_t i = 0; i < MIB(1) / 4; i += 256) {
			EXPECT(memory[i] == rounds, "word %zu is %u, not %u", i, memory[i], rounds);
			memory[i] = rounds + 1;
		}
		rounds++;
	}
	for (int i = 0; i < 2; i++) {
		__atomic_store_n(&movers[i].done, 1, __ATOMIC_RELEASE);
		pthread_join(threads[i], NULL);
		EXPECT_OK(movers[i].err);
	}
	ktap_note("%u rounds of the CPU, %u moves to VRAM, %u to RAM", rounds, movers[0].moves,
		  movers[1].moves);
	for (size_t i = 0; i < MIB(1) / 4; i++)
		EXPECT_EQ(memory[i], i % 256 ? 0 : rounds);
}

static const struct ktap_case cases[] = {
	IN_RAM("VM_DESTROY waits for a program", test_destroy_waits),
	IN_VRAM("VM_DESTROY waits for a program", test_destroy_waits),
	IN_RAM("exit while a program runs", test_exit_while_running),
	IN_VRAM("exit while a program runs", test_exit_while_running),
	IN_RAM("CPU on other pages", test_cpu_on_other_pages),
	IN_VRAM("CPU on other pages", test_cpu_on_other_pages),
	IN_RAM("CPU on the same pages", test_contention),
	IN_VRAM("CPU on the same pages", test_contention),
	IN_RAM("programs in parallel", test_parallel_programs),
	IN_VRAM("programs in parallel", test_parallel_programs),
	IN_RAM("mappings change under a program", test_changing_mappings),
	IN_VRAM("mappings change under a program", test_changing_mappings),
	IN_VRAM("memory in motion", test_moving_memory),
};

int main(int argc, char **argv)
{
	return ktap_main(argc, argv, cases, ARRAY_SIZE(cases));
}
