// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * What everybody else does with memory that is in VRAM: system calls that read and write it,
 * debuggers, asynchronous I/O, swap, groups with a limit, the kernel's own use of it for
 * signals and futexes. All of them find what the GPU has left there.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/futex.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "pin.h"
#include "place.h"
#include "swap.h"

#define SIZE MIB(2)
#define SEED 71

static struct gpu gpu;

/* Memory in VRAM, which the GPU has written. */
static __u32 *map_written(void)
{
	__u32 *source = map_pattern(SIZE, SEED), *memory = map_small(SIZE);

	open_idle_vm(&gpu, 0);
	memset(memory, 0, SIZE);
	EXPECT_OK(gpu_migrate(&gpu, memory, SIZE, 0));
	EXPECT_OK(gpu_copy(&gpu, memory, source, SIZE));
	munmap(source, SIZE);
	expect_vram(&gpu, memory, SIZE);
	return memory;
}

static int open_temporary(int flags)
{
	int fd = open("/tmp", O_TMPFILE | O_RDWR | flags, 0600);

	if (fd < 0 && flags)
		ktap_skip("no file can be opened so");
	EXPECT(fd >= 0, "open: %s", strerror(errno));
	return fd;
}

/* --- Again and again ------------------------------------------------------------- */

static void test_many_times(const void *arg)
{
	__u32 *memory = map_small_pattern(SIZE, SEED);

	(void)arg;
	open_idle_vm(&gpu, 0);
	for (__u32 round = 0; round < 16; round++) {
		EXPECT_OK(gpu_migrate(&gpu, memory, SIZE, 0));
		expect_vram(&gpu, memory, SIZE);
		EXPECT_OK(gpu_fill(&gpu, memory + round, round, 4));
		for (__u32 i = 0; i <= round; i++)
			EXPECT_EQ(memory[i], i);
		expect_pattern_from(memory, 16, SIZE - 64, SEED);
		expect_vram_used(&gpu, 0);
	}
}

/* Memory that nobody looks at again. */
static void test_release(const void *arg)
{
	struct drm_svm_stub_vm_stats before, after;
	__u32 *memory = map_written();

	(void)arg;
	before = stats_of(&gpu);
	munmap(memory, SIZE);
	expect_vram_used(&gpu, 0);
	after = stats_of(&gpu);
	EXPECT_EQ(after.pages_to_ram, before.pages_to_ram);
}

/* --- System calls ------------------------------------------------------------------ */

static void test_write(const void *arg)
{
	const int *flags = arg;
	int fd = open_temporary(*flags);
	__u32 *memory = map_written(), *copy = map(SIZE);

	EXPECT(write(fd, memory, SIZE) == (ssize_t)SIZE, "write: %s", strerror(errno));
	EXPECT(pread(fd, copy, SIZE, 0) == (ssize_t)SIZE, "read: %s", strerror(errno));
	expect_pattern(copy, SIZE, SEED);
	expect_pattern(memory, SIZE, SEED);
	expect_vram_used(&gpu, 0);
}

static void test_read(const void *arg)
{
	const int *flags = arg;
	int fd = open_temporary(*flags);
	__u32 *memory = map_written(), *other = map_pattern(SIZE, SEED + 1);

	EXPECT(write(fd, other, SIZE) == (ssize_t)SIZE, "write: %s", strerror(errno));
	EXPECT(pread(fd, memory, SIZE, 0) == (ssize_t)SIZE, "read: %s", strerror(errno));
	expect_gpu_reads(&gpu, memory, SIZE, SEED + 1);
	expect_pattern(memory, SIZE, SEED + 1);
	expect_vram_used(&gpu, 0);
}

/* All of it lies in VRAM: the number, the argument, what it points to. */
static void test_ioctl_arguments(const void *arg)
{
	char *memory = (char *)map_written();
	struct drm_svm_stub_exec *exec = (void *)(memory + MIB(1));

	(void)arg;
	*exec = (struct drm_svm_stub_exec){
		.vm_id = gpu.vm, .op = DRM_SVM_STUB_OP_CHECKSUM,
		.src0 = (uintptr_t)memory, .size = KIB(512),
	};
	EXPECT_OK(gpu_migrate(&gpu, memory, SIZE, 0));
	EXPECT_OK(stub_ioctl(gpu.fd, DRM_IOCTL_SVM_STUB_EXEC, exec));
	for (size_t i = 0; i < KIB(128); i++)
		exec->result -= pattern(SEED, i);
	EXPECT(!exec->result, "the sum is wrong by %llu", exec->result);
}

static void test_pinned(const void *arg)
{
	__u32 *memory = map_written();
	int pin = pin_pages(memory, SIZE);

	(void)arg;
	/* Who is to do DMA needs RAM. */
	expect_ram(&gpu, memory, SIZE);
	EXPECT_ERR(gpu_migrate(&gpu, memory, SIZE, 0), -EBUSY);
	expect_ram(&gpu, memory, SIZE);
	expect_gpu_reads(&gpu, memory, SIZE, SEED);
	unpin_pages(pin);
	EXPECT_OK(gpu_migrate(&gpu, memory, SIZE, 0));
	expect_vram(&gpu, memory, SIZE);
	expect_pattern(memory, SIZE, SEED);
}

static void test_futex(const void *arg)
{
	__u32 *memory = map_written();
	const struct timespec soon = { .tv_nsec = 1000000 };

	(void)arg;
	EXPECT(syscall(SYS_futex, memory, FUTEX_WAIT_PRIVATE, pattern(SEED, 0), &soon) == -1 &&
	       errno == ETIMEDOUT, "futex: %s", strerror(errno));
	EXPECT(syscall(SYS_futex, memory + KIB(256), FUTEX_WAIT_PRIVATE, 1, &soon) == -1 &&
	       errno == EAGAIN, "futex: %s", strerror(errno));
	expect_pattern(memory, SIZE, SEED);
}

static volatile sig_atomic_t signalled;

static void on_signal(int signal_number)
{
	char local[KIB(8)];

	memset(local, signal_number, sizeof(local));
	signalled += local[KIB(4)];
}

/* A stack for signals, which the kernel itself writes to. */
static void test_signal_stack(const void *arg)
{
	__u32 *memory = map_written();
	const stack_t stack = { .ss_sp = memory, .ss_size = SIZE };
	const struct sigaction action = { .sa_handler = on_signal, .sa_flags = SA_ONSTACK };

	(void)arg;
	EXPECT(!sigaltstack(&stack, NULL) && !sigaction(SIGUSR1, &action, NULL), "sigaltstack: %s",
	       strerror(errno));
	for (int round = 1; round <= 3; round++) {
		EXPECT_OK(gpu_migrate(&gpu, memory, SIZE, 0));
		raise(SIGUSR1);
		EXPECT_EQ(signalled, round * SIGUSR1);
	}
	expect_pattern(memory, SIZE / 2, SEED);
}

/* Who only asks about memory does not move it. */
static void test_looks(const void *arg)
{
	__u32 *memory = map_written();
	unsigned char core[SIZE / PAGE];
	char text[4096];
	int fd = open("/proc/self/smaps", O_RDONLY | O_CLOEXEC);

	(void)arg;
	EXPECT(!mincore(memory, SIZE, core), "mincore: %s", strerror(errno));
	EXPECT(fd >= 0, "smaps: %s", strerror(errno));
	while (read(fd, text, sizeof(text)) > 0)
		;
	close(fd);
	fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	EXPECT(fd >= 0 && pread(fd, text, sizeof(text), (uintptr_t)memory / PAGE * 8) ==
	       sizeof(text), "pagemap: %s", strerror(errno));
	close(fd);
	expect_vram(&gpu, memory, SIZE);
	expect_pattern(memory, SIZE, SEED);
}

/* --- Other processes -------------------------------------------------------------------- */

/* Runs @look in a child that may look at this process, while this one does nothing. */
static void let_look(void (*look)(pid_t pid, __u32 *memory), __u32 *memory)
{
	const pid_t self = getpid();
	pid_t pid = ktap_fork();

	if (!pid) {
		look(self, memory);
		ktap_done();
	}
	ktap_join(pid);
}

static void look_by_mem(pid_t pid, __u32 *memory)
{
	__u32 *copy = map(SIZE);
	char path[64];
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/mem", pid);
	fd = open(path, O_RDWR | O_CLOEXEC);
	EXPECT(fd >= 0, "%s: %s", path, strerror(errno));
	EXPECT(pread(fd, copy, SIZE, (uintptr_t)memory) == (ssize_t)SIZE, "read: %s",
	       strerror(errno));
	expect_pattern(copy, SIZE, SEED);
	write_pattern(copy, PAGE, SEED + 1);
	EXPECT(pwrite(fd, copy, PAGE, (uintptr_t)memory) == (ssize_t)PAGE, "write: %s",
	       strerror(errno));
}

static void look_by_readv(pid_t pid, __u32 *memory)
{
	__u32 *copy = map(SIZE);
	const struct iovec local = { copy, SIZE }, remote = { memory, SIZE };
	const struct iovec page = { copy, PAGE }, remote_page = { memory, PAGE };

	EXPECT(process_vm_readv(pid, &local, 1, &remote, 1, 0) == (ssize_t)SIZE,
	       "process_vm_readv: %s", strerror(errno));
	expect_pattern(copy, SIZE, SEED);
	write_pattern(copy, PAGE, SEED + 1);
	EXPECT(process_vm_writev(pid, &page, 1, &remote_page, 1, 0) == (ssize_t)PAGE,
	       "process_vm_writev: %s", strerror(errno));
}

/* What the other process has written is what the GPU reads. */
static void expect_changed(__u32 *memory)
{
	expect_gpu_reads(&gpu, memory, PAGE, SEED + 1);
	expect_pattern(memory, PAGE, SEED + 1);
	expect_pattern_from(memory, WORDS_PER_PAGE, SIZE - PAGE, SEED);
	expect_vram_used(&gpu, 0);
}

static void test_proc_mem(const void *arg)
{
	__u32 *memory = map_written();

	(void)arg;
	let_look(look_by_mem, memory);
	expect_changed(memory);
}

static void test_process_vm(const void *arg)
{
	__u32 *memory;

	(void)arg;
	if (process_vm_readv(getpid(), NULL, 0, NULL, 0, 0))
		ktap_skip("the kernel has no process_vm_readv()");
	memory = map_written();
	let_look(look_by_readv, memory);
	expect_changed(memory);
}

/* A debugger at a process that has its data in VRAM. */
static void test_ptrace(const void *arg)
{
	pid_t pid;
	int status;
	__u32 *memory = map_small(SIZE);

	(void)arg;
	open_idle_vm(&gpu, 0);
	pid = ktap_fork();
	if (!pid) {
		struct gpu own;

		EXPECT_OK(gpu_open(&own, 0));
		write_pattern(memory, SIZE, SEED);
		EXPECT_OK(gpu_migrate(&own, memory, SIZE, 0));
		ptrace(PTRACE_TRACEME, 0, NULL, NULL);
		raise(SIGSTOP);
		EXPECT_EQ(memory[KIB(256)], 123);
		memory[KIB(256)] = pattern(SEED, KIB(256));
		expect_pattern(memory, SIZE, SEED);
		ktap_done();
	}
	EXPECT(waitpid(pid, &status, 0) == pid && WIFSTOPPED(status), "the child has not stopped");
	for (size_t i = 0; i < SIZE / 4; i += KIB(64)) {
		long word = ptrace(PTRACE_PEEKDATA, pid, memory + i, NULL);

		EXPECT((__u32)word == pattern(SEED, i), "word %zu is %#lx", i, word);
	}
	EXPECT(!ptrace(PTRACE_POKEDATA, pid, memory + KIB(256),
		       123ul | (unsigned long)pattern(SEED, KIB(256) + 1) << 32),
	       "PTRACE_POKEDATA: %s", strerror(errno));
	EXPECT(!ptrace(PTRACE_CONT, pid, NULL, NULL), "PTRACE_CONT: %s", strerror(errno));
	ktap_join(pid);
}

/* --- Copy on write ------------------------------------------------------------------------ */

/* Parent, child and the parent's GPU write to what is one page in VRAM; each has its own. */
static void test_cow(const void *arg)
{
	const bool *child_first = arg;
	__u32 *memory = map_written();
	int go[2];
	pid_t pid;
	char c;

	EXPECT(!pipe(go), "pipe: %s", strerror(errno));
	pid = ktap_fork();
	if (!pid) {
		close(go[1]);
		if (!*child_first)
			EXPECT(read(go[0], &c, 1) == 0, "read: %s", strerror(errno));
		expect_pattern(memory, SIZE, SEED);
		write_pattern(memory, SIZE, SEED + 1);
		expect_pattern(memory, SIZE, SEED + 1);
		ktap_done();
	}
	if (*child_first)
		ktap_join(pid);
	EXPECT_OK(gpu_fill(&gpu, memory, 1, SIZE / 2));
	memset((char *)memory + SIZE / 2, 2, SIZE / 4);
	close(go[1]);
	if (!*child_first)
		ktap_join(pid);
	expect_words(memory, SIZE / 2, 1);
	expect_words(memory + SIZE / 8, SIZE / 4, 0x02020202);
	expect_pattern_from(memory, SIZE / 4 / 4 * 3, SIZE / 4, SEED);
	expect_vram_used(&gpu, 0);
}

/* The owner ends, VRAM is wanted by others, and a child still has its pages. */
static void test_orphans_are_evicted(const void *arg)
{
	int go[2], ready[2];
	size_t size;
	__u32 *rest;
	pid_t pid;
	char c;

	(void)arg;
	open_idle_vm(&gpu, 0);
	size = gpu.info.vram_size;
	if (size > MIB(256))
		ktap_skip("the device has too much VRAM to fill");
	EXPECT(!pipe(go) && !pipe(ready), "pipe: %s", strerror(errno));
	pid = ktap_fork();
	if (!pid) {
		__u32 *memory = map_written();

		close(go[1]);
		if (!fork()) {
			EXPECT(read(go[0], &c, 1) == 0, "read: %s", strerror(errno));
			expect_pattern(memory, SIZE, SEED);
			memset(memory, 1, SIZE);
			EXPECT(write(ready[1], "", 1) == 1, "write: %s", strerror(errno));
		}
		ktap_done();
	}
	ktap_join(pid);
	close(ready[1]);
	expect_vram_used(&gpu, SIZE);
	rest = map_pattern(size, SEED + 1);
	EXPECT_OK(gpu_migrate(&gpu, rest, size, 0));
	expect_vram(&gpu, rest, size);
	close(go[1]);
	EXPECT(read(ready[0], &c, 1) == 1, "the child has failed");
	expect_pattern(rest, size, SEED + 1);
	expect_vram_used(&gpu, 0);
}

/* --- Swap --------------------------------------------------------------------------------- */

static void test_swap(const void *arg)
{
	__u32 *memory;

	(void)arg;
	begin_swap();
	memory = map_written();
	/* Reclaim has nothing to do with VRAM. */
	EXPECT_EQ(swap_out(memory, SIZE), 0);
	expect_vram(&gpu, memory, SIZE);
	expect_pattern(memory, SIZE, SEED);
	EXPECT_EQ(swap_out(memory, SIZE), SIZE / PAGE);
	expect_gpu_reads(&gpu, memory, SIZE, SEED);
	EXPECT_EQ(swap_out(memory, SIZE), SIZE / PAGE);
	EXPECT_OK(gpu_migrate(&gpu, memory, SIZE, DRM_SVM_STUB_MIGRATE_FAULT_IN));
	expect_vram(&gpu, memory, SIZE);
	expect_pattern(memory, SIZE, SEED);
	end_swap();
}

/* --- Groups with a limit ---------------------------------------------------------------------- */

#define CGROUPS "/tmp/cgroups"
#define GROUP CGROUPS "/test_others"
#define LIMIT MIB(24)

static void write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);

	EXPECT(fd >= 0 && write(fd, text, strlen(text)) > 0, "%s: %s", path, strerror(errno));
	close(fd);
}

static long read_file(const char *path)
{
	FILE *file = fopen(path, "r");
	long value = -1;

	EXPECT(file && fscanf(file, "%ld", &value) == 1, "%s: %s", path, strerror(errno));
	fclose(file);
	return value;
}

static void make_group(void)
{
	char limit[24];

	mkdir(CGROUPS, 0700);
	if (mount("none", CGROUPS, "cgroup2", 0, NULL) && errno != EBUSY)
		ktap_skip("the kernel has no memory groups");
	if (access(CGROUPS "/cgroup.controllers", R_OK))
		ktap_skip("the kernel has no memory groups");
	write_file(CGROUPS "/cgroup.subtree_control", "+memory");
	EXPECT(!mkdir(GROUP, 0700) || errno == EEXIST, "mkdir: %s", strerror(errno));
	snprintf(limit, sizeof(limit), "%zu", LIMIT);
	write_file(GROUP "/memory.max", limit);
	write_file(GROUP "/cgroup.procs", "0");
}

static void leave_group(void)
{
	write_file(CGROUPS "/cgroup.procs", "0");
	rmdir(GROUP);
	umount2(CGROUPS, MNT_DETACH);
}

/* VRAM is charged as RAM is, and what comes back to whom it was before. */
static void test_group(const void *arg)
{
	__u32 *memory;
	long before, there, back;

	(void)arg;
	make_group();
	open_idle_vm(&gpu, 0);
	memory = map_small_pattern(MIB(8), SEED);
	for (int round = 0; round < 4; round++) {
		before = read_file(GROUP "/memory.current");
		EXPECT_OK(gpu_migrate(&gpu, memory, MIB(8), 0));
		there = read_file(GROUP "/memory.current");
		expect_pattern(memory, MIB(8), SEED);
		back = read_file(GROUP "/memory.current");
		ktap_note("%ld KiB charged, %ld in VRAM, %ld back again", before >> 10,
			  there >> 10, back >> 10);
		EXPECT(labs(there - before) < (long)MIB(2), "VRAM is charged differently");
		EXPECT(labs(back - before) < (long)MIB(2), "what is back is charged differently");
	}
	leave_group();
}

/* Somebody else has it evicted, who does not pay for it. */
static void test_evicted_from_group(const void *arg)
{
	struct drm_svm_stub_block block;
	long before, after;
	__u32 *memory;
	size_t size;
	pid_t pid;

	(void)arg;
	open_idle_vm(&gpu, 0);
	size = gpu.info.vram_size;
	if (size > MIB(256))
		ktap_skip("the device has too much VRAM to fill");
	make_group();
	memory = map_small_pattern(MIB(8), SEED);
	EXPECT_OK(gpu_migrate(&gpu, memory, MIB(8), 0));
	expect_vram(&gpu, memory, MIB(8));
	before = read_file(GROUP "/memory.current");
	pid = ktap_fork();
	if (!pid) {
		struct gpu own;
		__u32 *rest;

		munmap(memory, MIB(8));
		write_file(CGROUPS "/cgroup.procs", "0");
		EXPECT_OK(gpu_open(&own, 0));
		rest = map_pattern(size, SEED + 1);
		EXPECT_OK(gpu_migrate(&own, rest, size, 0));
		expect_pattern(rest, size, SEED + 1);
		ktap_done();
	}
	ktap_join(pid);
	after = read_file(GROUP "/memory.current");
	EXPECT_OK(gpu_where(&gpu, memory, MIB(8), &block));
	ktap_note("%u pages are back; %ld KiB charged before, %ld after", block.system,
		  before >> 10, after >> 10);
	EXPECT(block.system, "nothing was evicted");
	EXPECT(labs(after - before) < (long)MIB(2), "what was evicted is charged differently");
	expect_pattern(memory, MIB(8), SEED);
	leave_group();
}

/* VRAM is no way around the limit: who goes beyond it is killed, and nobody else. */
static void test_beyond_the_limit(const void *arg)
{
	int status;
	pid_t pid;

	(void)arg;
	open_idle_vm(&gpu, 0);
	make_group();
	write_file(CGROUPS "/cgroup.procs", "0");
	pid = ktap_fork();
	if (!pid) {
		struct gpu own;
		__u32 *memory = map_small(2 * LIMIT);

		write_file(GROUP "/cgroup.procs", "0");
		EXPECT_OK(gpu_open(&own, 0));
		for (size_t at = 0; at < 2 * LIMIT; at += MIB(2)) {
			write_pattern(memory + at / 4, MIB(2), SEED);
			/* At the limit it need not work any more. */
			gpu_migrate(&own, memory + at / 4, MIB(2), 0);
		}
		ktap_done();
	}
	EXPECT(waitpid(pid, &status, 0) == pid, "waitpid: %s", strerror(errno));
	EXPECT(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL,
	       "twice the limit fits: status %#x", status);
	leave_group();
	expect_vram_used(&gpu, 0);
}

static const int plain, direct = O_DIRECT;
static const bool child_first = true, parent_first;

static const struct ktap_case cases[] = {
	{ "many times", test_many_times, NULL },
	{ "release", test_release, NULL },
	{ "write", test_write, &plain },
	{ "write, direct", test_write, &direct },
	{ "read", test_read, &plain },
	{ "read, direct", test_read, &direct },
	{ "arguments of an ioctl", test_ioctl_arguments, NULL },
	{ "pinned by io_uring", test_pinned, NULL },
	{ "futex", test_futex, NULL },
	{ "a stack for signals", test_signal_stack, NULL },
	{ "who only looks", test_looks, NULL },
	{ "/proc/pid/mem", test_proc_mem, NULL },
	{ "process_vm_readv", test_process_vm, NULL },
	{ "ptrace", test_ptrace, NULL },
	{ "copy on write, the child first", test_cow, &child_first },
	{ "copy on write, the parent first", test_cow, &parent_first },
	{ "pages of an owner that has ended are evicted", test_orphans_are_evicted, NULL },
	{ "swap", test_swap, NULL },
	{ "a memory group", test_group, NULL },
	{ "eviction from a memory group", test_evicted_from_group, NULL },
	{ "beyond the limit of a memory group", test_beyond_the_limit, NULL },
};

int main(int argc, char **argv)
{
	return ktap_main(argc, argv, cases, ARRAY_SIZE(cases));
}
