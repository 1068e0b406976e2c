// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Processes that begin and end while the GPU uses their memory: fork() with what a mapping may say
 * about it, exec(), exit, SIGKILL. What a VM mirrors is one address space: whoever has another one
 * is told so, and nothing stays of one that has ended.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "memory.h"
#include "program.h"

#define SEED 9

/* --- fork() ---------------------------------------------------------------------- */

/* Runs @child in a child process, and returns when it has ended well. */
static void in_child(void (*child)(__u32 *memory), __u32 *memory)
{
	pid_t pid = ktap_fork();

	if (!pid) {
		child(memory);
		ktap_done();
	}
	ktap_join(pid);
}

static __u32 *map_for_fork(struct gpu *gpu, const void *variant, int advice)
{
	__u32 *memory = map_small(MIB(2));

	open_vm(gpu, variant);
	EXPECT(!advice || !madvise(memory, MIB(2), advice), "madvise: %s", strerror(errno));
	write_pattern(memory, MIB(2), SEED);
	expect_gpu_reads(gpu, memory, MIB(2), SEED);
	expect_place(gpu, variant, memory, MIB(2));
	return memory;
}

static void child_reads(__u32 *memory)
{
	expect_pattern(memory, MIB(2), SEED);
}

static void child_writes(__u32 *memory)
{
	for (size_t i = 0; i < MIB(2) / 4; i++)
		memory[i] = 1;
	expect_words(memory, MIB(2), 1);
}

/* What the child does is none of the parent's GPU's business, before and after its end. */
static void test_child_reads(const void *arg)
{
	struct gpu gpu;
	__u32 *memory = map_for_fork(&gpu, arg, 0);

	in_child(child_reads, memory);
	expect_gpu_reads(&gpu, memory, MIB(2), SEED);
	EXPECT_OK(gpu_fill(&gpu, memory, 2, MIB(1)));
	expect_words(memory, MIB(1), 2);
	expect_pattern_from(memory, MIB(1) / 4, MIB(1), SEED);
}

static void test_child_writes(const void *arg)
{
	struct gpu gpu;
	__u32 *memory = map_for_fork(&gpu, arg, 0);

	in_child(child_writes, memory);
	expect_gpu_reads(&gpu, memory, MIB(2), SEED);
	expect_pattern(memory, MIB(2), SEED);
}

/* A program that writes when its memory becomes shared gets copies, and the child none of it. */
static void test_fork_under_program(const void *arg)
{
	struct gpu gpu;
	__u32 *memory = map_for_fork(&gpu, arg, 0);

	for (__u32 round = 1; round <= 4; round++) {
		struct program program;
		__u32 first;
		pid_t pid;

		start_fill(&program, &gpu, memory, round, MIB(2));
		pid = ktap_fork();
		if (!pid) {
			/* As it was at one moment: what is new comes before what is old. */
			size_t page = 0;

			first = memory[0];
			while (page < MIB(2) / PAGE && memory[page * WORDS_PER_PAGE] == round)
				page++;
			for (; page < MIB(2) / PAGE; page++) {
				__u32 word = memory[page * WORDS_PER_PAGE];

				EXPECT(round == 1 ? word == pattern(SEED, page * WORDS_PER_PAGE) :
				       word == round - 1, "page %zu: %u, the first word %u", page,
				       word, first);
			}
			ktap_done();
		}
		EXPECT_OK(finish(&program));
		ktap_join(pid);
		expect_gpu_sum(&gpu, memory, MIB(2), (__u64)round * MIB(2) / 4);
		expect_words(memory, MIB(2), round);
	}
}

static void child_has_none(__u32 *memory)
{
	unsigned char core;

	EXPECT(mincore(memory, PAGE, &core) && errno == ENOMEM, "the child has the memory");
}

/* Memory that no child gets is not even touched by fork(). */
static void test_dont_fork(const void *arg)
{
	struct gpu gpu;
	__u32 *memory = map_for_fork(&gpu, arg, MADV_DONTFORK);

	in_child(child_has_none, memory);
	expect_gpu_reads(&gpu, memory, MIB(2), SEED);
	EXPECT_EQ(gpu.faults, 0);
	EXPECT_OK(gpu_fill(&gpu, memory, 3, MIB(2)));
	EXPECT_EQ(gpu.faults, 0);
	expect_words(memory, MIB(2), 3);
}

static void child_has_zeros(__u32 *memory)
{
	expect_words(memory, MIB(2), 0);
}

static void test_wipe_on_fork(const void *arg)
{
	struct gpu gpu;
	__u32 *memory = map_for_fork(&gpu, arg, MADV_WIPEONFORK);

	in_child(child_has_zeros, memory);
	expect_gpu_reads(&gpu, memory, MIB(2), SEED);
	expect_pattern(memory, MIB(2), SEED);
}

/* vfork() shares the address space, so it takes nothing from the GPU. */
static void test_vfork(const void *arg)
{
	struct gpu gpu;
	__u32 *memory = map_for_fork(&gpu, arg, 0);
	int status;
	pid_t pid = vfork();

	if (!pid)
		_exit(0);
	EXPECT(waitpid(pid, &status, 0) == pid && !status, "vfork: %s", strerror(errno));
	EXPECT_OK(gpu_fill(&gpu, memory, 4, MIB(2)));
	EXPECT_EQ(gpu.faults, 0);
	expect_words(memory, MIB(2), 4);
}

/* --- exec() ------------------------------------------------------------------------ */

/* What the new program is told, as arguments. */
#define EXECUTED "--executed"

/* The last program of a process that is no more may have been in the middle of a fault. */
static void expect_no_ranges(struct gpu *gpu)
{
	double end = now_ms() + 60e3;

	while (stats_of(gpu).ranges) {
		EXPECT(now_ms() < end, "the VM keeps ranges of memory that is no more");
		usleep(1000);
	}
}

/*
 * The file has come along, and its VM mirrors memory that is no more: nothing can be done with
 * it but to end it, and all VRAM is free although it is still there.
 */
static int main_executed(char **argv)
{
	struct gpu gpu = { .fd = atoi(argv[2]), .vm = atoi(argv[3]) };
	void *memory = map_small(MIB(2));
	struct drm_svm_stub_block block;
	__u64 sum;

	EXPECT_OK(gpu_info(&gpu, &gpu.info));
	EXPECT_OK(gpu_wait_free(&gpu, 10));
	EXPECT_ERR(gpu_fill(&gpu, memory, 1, PAGE), -EACCES);
	EXPECT_ERR(gpu_checksum(&gpu, memory, PAGE, &sum), -EACCES);
	EXPECT_ERR(gpu_residency(&gpu, memory, PAGE, PAGE, &block), -EACCES);
	EXPECT_ERR(gpu_migrate(&gpu, memory, PAGE, 0), -EACCES);
	EXPECT_ERR(gpu_bind_ops(&gpu, NULL, 0), -EACCES);
	expect_no_ranges(&gpu);
	EXPECT_OK(gpu_destroy(&gpu, gpu.vm));
	/* A VM of its own works on the same file. */
	EXPECT_OK(gpu_create(&gpu, 0));
	EXPECT_OK(gpu_fill(&gpu, memory, 2, MIB(2)));
	expect_words(memory, MIB(2), 2);
	return 0;
}

static void exec_with(struct gpu *gpu)
{
	char fd[16], vm[16];

	snprintf(fd, sizeof(fd), "%d", gpu->fd);
	snprintf(vm, sizeof(vm), "%u", gpu->vm);
	fcntl(gpu->fd, F_SETFD, 0);
	execl("/proc/self/exe", "test_process", EXECUTED, fd, vm, NULL);
	EXPECT(false, "exec: %s", strerror(errno));
}

static void test_exec(const void *arg)
{
	struct gpu gpu;
	pid_t pid;

	open_vm(&gpu, arg);
	EXPECT_OK(gpu_close(&gpu));
	pid = ktap_fork();
	if (!pid) {
		map_for_fork(&gpu, arg, 0);
		exec_with(&gpu);
	}
	ktap_join(pid);
}

/* exec() ends the other threads, and the programs that they wait for. */
static void test_exec_under_program(const void *arg)
{
	struct gpu gpu;
	pid_t pid;

	open_vm(&gpu, arg);
	EXPECT_OK(gpu_close(&gpu));
	pid = ktap_fork();
	if (!pid) {
		volatile __u32 *memory = map(MIB(32));
		struct program program;

		open_vm(&gpu, arg);
		start_fill(&program, &gpu, (void *)memory, 1, MIB(32));
		/* The first word says that it runs. */
		while (!*memory && !has_ended(&program))
			usleep(100);
		exec_with(&gpu);
	}
	ktap_join(pid);
}

/* A file that is closed by exec() takes its VM along. */
static void test_exec_closes(const void *arg)
{
	struct gpu gpu;
	pid_t pid;

	open_vm(&gpu, arg);
	pid = ktap_fork();
	if (!pid) {
		struct gpu own;

		map_for_fork(&own, arg, 0);
		execl("/proc/self/exe", "test_process", EXECUTED, NULL);
		EXPECT(false, "exec: %s", strerror(errno));
	}
	ktap_join(pid);
	EXPECT_OK(gpu_wait_free(&gpu, 10));
}

/* --- The end ----------------------------------------------------------------------- */

#define VICTIMS 8
#define PROGRAMS 3

/* Each with a VM and several programs on memory that the CPU changes all the time. */
static void be_a_victim(const void *arg, int ready)
{
	char *memory = (char *)map(MIB(8));
	struct program programs[PROGRAMS];
	struct gpu gpu;

	open_vm(&gpu, arg);
	for (int i = 0; i < PROGRAMS; i++)
		start_fill(&programs[i], &gpu, memory + i * MIB(2), i, MIB(4));
	EXPECT(write(ready, "", 1) == 1, "write: %s", strerror(errno));
	for (;;) {
		for (int i = 0; i < PROGRAMS; i++) {
			if (!has_ended(&programs[i]))
				continue;
			finish(&programs[i]);
			start_fill(&programs[i], &gpu, memory + i * MIB(2), i, MIB(4));
		}
		madvise(memory + ktap_random() % 2048 * PAGE, PAGE, MADV_DONTNEED);
		memory[ktap_random() % MIB(8)] = 1;
	}
}

static void test_kill(const void *arg)
{
	struct pollfd ends[VICTIMS];
	pid_t pids[VICTIMS];
	int ready[2];
	struct gpu gpu;
	char c;

	open_vm(&gpu, arg);
	EXPECT(!pipe(ready), "pipe: %s", strerror(errno));
	for (int i = 0; i < VICTIMS; i++) {
		pids[i] = ktap_fork();
		if (!pids[i])
			be_a_victim(arg, ready[1]);
		ends[i] = (struct pollfd){ syscall(SYS_pidfd_open, pids[i], 0), POLLIN, 0 };
	}
	close(ready[1]);
	for (int i = 0; i < VICTIMS; i++)
		EXPECT(read(ready[0], &c, 1) == 1, "a child has failed");
	for (int i = 0; i < VICTIMS; i++) {
		usleep(ktap_random() % 50000);
		kill(pids[i], SIGKILL);
	}
	for (int i = 0; i < VICTIMS; i++) {
		EXPECT(poll(&ends[i], 1, 60000) == 1, "process %d does not end", i);
		close(ends[i].fd);
		waitpid(pids[i], NULL, 0);
	}
	EXPECT_OK(gpu_wait_free(&gpu, 20));
	expect_gpu_sum(&gpu, map(MIB(2)), MIB(2), 0);
}

/* The thread that made a VM ends; the process, whose memory it is, does not. */
static void *make_vm(void *arg)
{
	EXPECT_OK(gpu_open(arg, 0));
	return NULL;
}

static void test_thread_ends(const void *arg)
{
	__u32 *memory = map_small(MIB(2));
	pthread_t thread;
	struct gpu gpu;

	(void)arg;
	EXPECT(!pthread_create(&thread, NULL, make_vm, &gpu), "pthread_create");
	pthread_join(thread, NULL);
	write_pattern(memory, MIB(2), SEED);
	expect_gpu_reads(&gpu, memory, MIB(2), SEED);
	EXPECT_OK(gpu_fill(&gpu, memory, 7, MIB(2)));
	expect_words(memory, MIB(2), 7);
}

static const struct ktap_case cases[] = {
	IN_RAM("fork, the child reads", test_child_reads),
	IN_VRAM("fork, the child reads", test_child_reads),
	IN_RAM("fork, the child writes", test_child_writes),
	IN_VRAM("fork, the child writes", test_child_writes),
	IN_RAM("fork under a program", test_fork_under_program),
	IN_VRAM("fork under a program", test_fork_under_program),
	IN_RAM("MADV_DONTFORK", test_dont_fork),
	IN_VRAM("MADV_DONTFORK", test_dont_fork),
	IN_RAM("MADV_WIPEONFORK", test_wipe_on_fork),
	IN_VRAM("MADV_WIPEONFORK", test_wipe_on_fork),
	IN_RAM("vfork", test_vfork),
	IN_VRAM("vfork", test_vfork),
	IN_RAM("exec", test_exec),
	IN_VRAM("exec", test_exec),
	IN_RAM("exec under a program", test_exec_under_program),
	IN_VRAM("exec under a program", test_exec_under_program),
	IN_RAM("exec closes the file", test_exec_closes),
	IN_VRAM("exec closes the file", test_exec_closes),
	IN_RAM("SIGKILL of eight processes", test_kill),
	IN_VRAM("SIGKILL of eight processes", test_kill),
	IN_RAM("the thread that made a VM ends", test_thread_ends),
};

int main(int argc, char **argv)
{
	if (argc > 1 && !strcmp(argv[1], EXECUTED))
		return argc == 4 ? main_executed(argv) : 0;
	return ktap_main(argc, argv, cases, ARRAY_SIZE(cases));
}
