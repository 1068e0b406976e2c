// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * GPU faults that are served at the same time: on different ranges side by side, on one range
 * once. HOLD stops a fault where it matters, with the pages collected and the page table not yet
 * written; so what happens meanwhile is no matter of luck. test_race and test_storm leave it to
 * that.
 */
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "memory.h"
#include "program.h"

#define SEED 6

/* As many programs as a file has room for at once. */
#define PROGRAMS 16

/* Long enough for a program to get somewhere if nothing holds it up, in microseconds. */
#define A_WHILE 100000

/* Who waits for a held fault waits for ten seconds; who took less did not. In milliseconds. */
#define PATIENCE 9e3

/* A VM and memory in two ranges and more, of which the first one's faults are held. */
struct scene {
	struct gpu gpu;
	char *memory;
	struct drm_svm_stub_vm_stats before;
};

/* All in one notifier window. */
#define MEMORY ((void *)0x200000000000)
#define RANGE MIB(2)
#define RANGES 4

static __u32 *range_at(struct scene *s, int index)
{
	return (__u32 *)(s->memory + index * RANGE);
}

static void open_scene(struct scene *s, const void *variant)
{
	s->memory = map_at(MEMORY, RANGES * RANGE, PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1);
	madvise(s->memory, RANGES * RANGE, MADV_NOHUGEPAGE);
	open_vm(&s->gpu, variant);
	for (int i = 0; i < RANGES; i++)
		write_pattern(range_at(s, i), RANGE, SEED + i);
	EXPECT_OK(gpu_hold(&s->gpu, s->memory));
	s->before = stats_of(&s->gpu);
}

/* Starts a program whose fault is held, and waits until it is. */
static void start_held_fill(struct scene *s, struct program *program, __u32 value, size_t size)
{
	start_fill(program, &s->gpu, s->memory, value, size);
	EXPECT_OK(gpu_wait_held(&s->gpu, s->memory, 1));
}

static void start_held_read(struct scene *s, struct program *program, size_t size)
{
	start_checksum(program, &s->gpu, s->memory, size);
	EXPECT_OK(gpu_wait_held(&s->gpu, s->memory, 1));
}

/* Lets go of the fault that has been held all the time, and sees how the program went. */
static int release(struct scene *s, struct program *program)
{
	EXPECT(!has_ended(program), "a program ended whose fault was held");
	EXPECT_OK(gpu_let_go(&s->gpu, s->memory));
	return finish(program);
}

/* --- Held faults and others --------------------------------------------------------- */

/* While a fault is held, others are served from the first step to the last. */
static void test_other_ranges(const void *arg)
{
	struct drm_svm_stub_vm_stats after;
	struct program held;
	struct scene s;

	open_scene(&s, arg);
	start_held_fill(&s, &held, 1, PAGE);
	for (int i = 1; i < RANGES; i++) {
		EXPECT_OK(gpu_fill(&s.gpu, range_at(&s, i), i + 1, RANGE));
		EXPECT(s.gpu.faults > 0, "memory was mapped without a fault");
		expect_gpu_sum(&s.gpu, range_at(&s, i), RANGE, (i + 1ull) * RANGE / 4);
	}
	/* Asking does not wait either. */
	after = stats_of(&s.gpu);
	EXPECT_EQ(after.ranges - s.before.ranges, RANGES);
	EXPECT_EQ(pages_mapped(&s.gpu, s.memory, RANGES * RANGE), (RANGES - 1) * RANGE / PAGE);
	EXPECT_OK(release(&s, &held));
	expect_words((__u32 *)s.memory, PAGE, 1);
	for (int i = 1; i < RANGES; i++)
		expect_words(range_at(&s, i), RANGE, i + 1);
}

/* Nor do the faults of other VMs of the process, on the very same memory. */
static void test_other_vm(const void *arg)
{
	struct program held;
	struct gpu other;
	struct scene s;

	open_scene(&s, &ram);
	open_vm(&other, arg);
	start_held_read(&s, &held, RANGE);
	expect_gpu_reads(&other, range_at(&s, 0), RANGE, SEED);
	EXPECT_OK(gpu_fill(&other, s.memory, 1, PAGE));
	EXPECT_OK(release(&s, &held));
	expect_gpu_sum(&s.gpu, s.memory, PAGE, PAGE / 4);
}

/* The second fault on a range waits for the first one, and finds its work done. */
static void test_same_range(const void *arg)
{
	struct drm_svm_stub_vm_stats after;
	struct program first, second;
	unsigned int held;
	struct scene s;

	open_scene(&s, arg);
	start_held_fill(&s, &first, 1, PAGE);
	start_fill(&second, &s.gpu, s.memory + RANGE / 2, 2, PAGE);
	usleep(A_WHILE);
	EXPECT(!has_ended(&second), "a range was mapped twice at the same time");
	EXPECT_OK(gpu_held(&s.gpu, s.memory, &held));
	EXPECT_EQ(held, 1);
	EXPECT_OK(release(&s, &first));
	EXPECT_OK(finish(&second));
	after = stats_of(&s.gpu);
	EXPECT_EQ(after.collections - s.before.collections, 1);
	EXPECT_EQ(after.ranges_made - s.before.ranges_made, 1);
	EXPECT_EQ(pages_mapped(&s.gpu, s.memory, RANGE), RANGE / PAGE);
	expect_words((__u32 *)s.memory, PAGE, 1);
	expect_words((__u32 *)(s.memory + RANGE / 2), PAGE, 2);
}

/* A storm: all programs at one page, before it is there. */
static void test_storm_on_one_page(const void *arg)
{
	struct program programs[PROGRAMS];
	struct drm_svm_stub_vm_stats after;
	struct scene s;

	open_scene(&s, arg);
	start_held_read(&s, &programs[0], PAGE);
	for (int i = 1; i < PROGRAMS; i++)
		start_checksum(&programs[i], &s.gpu, s.memory, PAGE);
	usleep(A_WHILE);
	for (int i = 0; i < PROGRAMS; i++)
		EXPECT(!has_ended(&programs[i]), "program %d went past the held fault", i);
	EXPECT_OK(gpu_let_go(&s.gpu, s.memory));
	for (int i = 0; i < PROGRAMS; i++) {
		EXPECT_OK(finish(&programs[i]));
		EXPECT_EQ(programs[i].sum, programs[0].sum);
	}
	after = stats_of(&s.gpu);
	EXPECT_EQ(after.collections - s.before.collections, 1);
	EXPECT_EQ(after.ranges_made - s.before.ranges_made, 1);
}

/* A read is being served when a write comes: it gets its right, and no page twice. */
static void test_read_and_write(const void *arg)
{
	struct drm_svm_stub_vm_stats after;
	struct program reader, writer;
	struct scene s;

	open_scene(&s, arg);
	start_held_read(&s, &reader, RANGE);
	start_fill(&writer, &s.gpu, s.memory + RANGE - PAGE, 3, PAGE);
	usleep(A_WHILE);
	EXPECT(!has_ended(&writer), "a range was mapped twice at the same time");
	EXPECT_OK(release(&s, &reader));
	EXPECT_OK(finish(&writer));
	/* The CPU may write to these pages, so the read has given the GPU that right, too. */
	after = stats_of(&s.gpu);
	EXPECT_EQ(after.collections - s.before.collections, 1);
	expect_words((__u32 *)(s.memory + RANGE - PAGE), PAGE, 3);
}

/* --- Held faults and the CPU ---------------------------------------------------------- */

/* Nothing that the CPU does waits for a held fault; what it does decides how that ends. */
struct change {
	int (*change)(char *memory);
	bool reads; /* the program; or else it writes */
	int err; /* that it ends with */
	const __u32 *word; /* that the page it has read is full of; NULL: what was there */
};

static int unmap_all(char *memory)
{
	return munmap(memory, RANGE);
}

static int unmap_the_page(char *memory)
{
	return munmap(memory, PAGE);
}

static int unmap_the_rest(char *memory)
{
	return munmap(memory + PAGE, RANGE - PAGE);
}

static int make_read_only(char *memory)
{
	return mprotect(memory, RANGE, PROT_READ);
}

static int make_inaccessible(char *memory)
{
	return mprotect(memory, RANGE, PROT_NONE);
}

static int empty(char *memory)
{
	return madvise(memory, RANGE, MADV_DONTNEED);
}

#define NEW_WORD 11

static int replace(char *memory)
{
	map_at(memory, RANGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1);
	for (size_t i = 0; i < RANGE / 4; i++)
		((__u32 *)memory)[i] = NEW_WORD;
	return 0;
}

static void test_change(const void *arg)
{
	const struct change *change = arg;
	struct program program;
	__u64 expected = 0;
	unsigned int held;
	struct scene s;

	open_scene(&s, &ram);
	if (change->reads)
		start_held_read(&s, &program, PAGE);
	else
		start_held_fill(&s, &program, 4, PAGE);
	EXPECT(!change->change(s.memory), "%s", strerror(errno));
	EXPECT_OK(gpu_held(&s.gpu, s.memory, &held));
	EXPECT(held, "the CPU has waited until nothing is held any more");
	EXPECT_ERR(release(&s, &program), change->err);

	for (size_t i = 0; i < WORDS_PER_PAGE; i++)
		expected += change->word ? *change->word : pattern(SEED, i);
	if (!change->err && change->reads)
		EXPECT(program.sum == expected, "the sum is %#llx, not %#llx", program.sum,
		       expected);
	else if (!change->err)
		expect_words(range_at(&s, 0), PAGE, 4);
	/* The VM is as good as before. */
	expect_gpu_reads(&s.gpu, range_at(&s, 1), RANGE, SEED + 1);
}

/* Of the neighbours it takes no notice. */
static void test_change_elsewhere(const void *arg)
{
	struct drm_svm_stub_vm_stats after;
	struct program program;
	struct scene s;

	open_scene(&s, arg);
	for (int i = 1; i < RANGES; i++)
		expect_gpu_reads(&s.gpu, range_at(&s, i), RANGE, SEED + i);
	s.before = stats_of(&s.gpu);
	start_held_read(&s, &program, RANGE);
	EXPECT(!munmap(range_at(&s, 1), RANGE), "munmap: %s", strerror(errno));
	EXPECT(!mprotect(range_at(&s, 2), RANGE, PROT_READ), "mprotect: %s", strerror(errno));
	EXPECT(!madvise(range_at(&s, 3), RANGE, MADV_DONTNEED), "madvise: %s", strerror(errno));
	EXPECT_EQ(pages_mapped(&s.gpu, range_at(&s, 1), 3 * RANGE), 0);
	EXPECT_OK(release(&s, &program));
	after = stats_of(&s.gpu);
	EXPECT_EQ(after.invalidations - s.before.invalidations, 3);
	EXPECT_EQ(after.collections - s.before.collections, 1);
	EXPECT_EQ(after.collection_retries, s.before.collection_retries);
	EXPECT_EQ(program.gpu.faults, 1);
	expect_gpu_reads(&s.gpu, range_at(&s, 0), RANGE, SEED);
	EXPECT_EQ(s.gpu.faults, 0);
}

/* --- Held faults and the end -------------------------------------------------------------- */

/* VM_DESTROY does not leave a fault held; it waits for the program, which does its work. */
static void test_destroy(const void *arg)
{
	double start = now_ms();
	struct program program;
	struct scene s;

	open_scene(&s, arg);
	start_held_fill(&s, &program, 5, PAGE);
	start = now_ms();
	EXPECT_OK(gpu_destroy(&s.gpu, s.gpu.vm));
	EXPECT(now_ms() - start < PATIENCE, "it took %.0f ms", now_ms() - start);
	EXPECT_OK(finish(&program));
	expect_words(range_at(&s, 0), PAGE, 5);
	EXPECT_ERR(gpu_fill(&s.gpu, s.memory, 6, PAGE), -ENOENT);
	EXPECT_ERR(gpu_let_go(&s.gpu, s.memory), -ENOENT);
}

/* A process can be killed while its fault is held, and leaves nothing. */
static void test_kill(const void *arg)
{
	double start;
	struct gpu gpu;
	int ready[2], status;
	char c = 0;
	pid_t pid;

	open_vm(&gpu, arg);
	EXPECT_OK(gpu_wait_free(&gpu, 10));
	EXPECT(!pipe(ready), "pipe: %s", strerror(errno));
	pid = ktap_fork();
	if (!pid) {
		struct program program, other;
		struct scene s;

		open_scene(&s, arg);
		start_held_fill(&s, &program, 1, RANGE);
		/* One more that waits for that. */
		start_fill(&other, &s.gpu, s.memory + RANGE / 2, 2, PAGE);
		usleep(A_WHILE);
		EXPECT(write(ready[1], &c, 1) == 1, "write: %s", strerror(errno));
		pause();
	}
	close(ready[1]);
	EXPECT(read(ready[0], &c, 1) == 1, "the child has failed");
	start = now_ms();
	kill(pid, SIGKILL);
	EXPECT(waitpid(pid, &status, 0) == pid && WIFSIGNALED(status), "waitpid: %s",
	       strerror(errno));
	EXPECT(now_ms() - start < PATIENCE, "its end took %.0f ms", now_ms() - start);
	EXPECT_OK(gpu_wait_free(&gpu, 20));
}

#define CHANGE(title, function, reading, error, full_of)                                \
	{                                                                               \
		title, test_change,                                                     \
		&(const struct change){ .change = function, .reads = reading,           \
					.err = error, .word = full_of },                \
	}

static const struct ktap_case cases[] = {
	IN_RAM("faults on other ranges", test_other_ranges),
	IN_VRAM("faults on other ranges", test_other_ranges),
	IN_RAM("faults of another VM", test_other_vm),
	IN_RAM("a second fault on the range", test_same_range),
	IN_VRAM("a second fault on the range", test_same_range),
	IN_RAM("many faults on one page", test_storm_on_one_page),
	IN_VRAM("many faults on one page", test_storm_on_one_page),
	IN_RAM("a read and a write", test_read_and_write),
	IN_VRAM("a read and a write", test_read_and_write),
	CHANGE("held write: munmap", unmap_all, false, -EFAULT, NULL),
	CHANGE("held write: munmap of the page", unmap_the_page, false, -EFAULT, NULL),
	CHANGE("held write: munmap of the rest", unmap_the_rest, false, 0, NULL),
	CHANGE("held write: PROT_READ", make_read_only, false, -EPERM, NULL),
	CHANGE("held write: PROT_NONE", make_inaccessible, false, -EFAULT, NULL),
	CHANGE("held write: MADV_DONTNEED", empty, false, 0, NULL),
	CHANGE("held write: a new mapping", replace, false, 0, NULL),
	CHANGE("held read: munmap", unmap_all, true, -EFAULT, NULL),
	CHANGE("held read: munmap of the rest", unmap_the_rest, true, 0, NULL),
	CHANGE("held read: PROT_READ", make_read_only, true, 0, NULL),
	CHANGE("held read: PROT_NONE", make_inaccessible, true, -EFAULT, NULL),
	CHANGE("held read: MADV_DONTNEED", empty, true, 0, &(const __u32){ 0 }),
	CHANGE("held read: a new mapping", replace, true, 0, &(const __u32){ NEW_WORD }),
	IN_RAM("changes elsewhere", test_change_elsewhere),
	IN_VRAM("changes elsewhere", test_change_elsewhere),
	IN_RAM("VM_DESTROY", test_destroy),
	IN_VRAM("VM_DESTROY", test_destroy),
	IN_RAM("SIGKILL", test_kill),
	IN_VRAM("SIGKILL", test_kill),
};

int main(int argc, char **argv)
{
	return ktap_main(argc, argv, cases, ARRAY_SIZE(cases));
}
