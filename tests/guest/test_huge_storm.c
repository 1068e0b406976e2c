// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Huge pages of which the CPU changes a part, in every way there is, while programs run on other
 * parts of the same ones. After each change what the CPU writes the GPU reads, and what the GPU
 * writes the CPU reads: an entry that the GPU has for all of a huge page is gone by then, or right.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "place.h"
#include "program.h"

#define BLOCKS 4
#define SIZE (BLOCKS * HUGE_PAGE)
#define HALF (HUGE_PAGE / 2)
#define SECONDS 4

/* Programs, one after the other: they write to the first half of a block, or read all of it. */
struct user {
	struct gpu gpu;
	char *memory;
	bool reads;
	bool stop;
	unsigned int random;
	unsigned int done;
	unsigned int failed;
};

static void use(struct user *user)
{
	__u64 sum;
	char *block;
	int err;

	user->random = user->random * 1664525 + 1013904223;
	block = user->memory + (user->random >> 8) % BLOCKS * HUGE_PAGE;
	err = user->reads ? gpu_checksum(&user->gpu, block, HUGE_PAGE, &sum) :
			    gpu_fill(&user->gpu, block, user->done + 1, HALF);
	/* What is moved to another address is not there for a while; what has no rest is given up. */
	EXPECT(!err || err == -EFAULT || err == -EPERM || err == -EBUSY, "%s",
	       strerror(-err));
	user->done += !err;
	user->failed += !!err;
}

static void *use_all_the_time(void *arg)
{
	struct user *user = arg;

	while (!__atomic_load_n(&user->stop, __ATOMIC_ACQUIRE))
		use(user);
	return NULL;
}

/* What becomes of a span of a block's second half; some of it is about all of the block. */
enum change {
	DROP,
	PROTECT,
	MAP_ANEW,
	MOVE_AWAY_AND_BACK,
	SHARE_WITH_CHILD,
	COLLAPSE,
	PAGE_OUT,
	SET_FREE,
	DROP_BLOCK,
	MAP_BLOCK_ANEW,
	TO_VRAM,
	CHANGES,
};

static void map_anew(char *start, size_t size)
{
	map_at(start, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1);
	madvise(start, size, MADV_HUGEPAGE);
}

static void move_away_and_back(char *start, size_t size)
{
	char *other = map_at(NULL, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1);

	if (mremap(start, size, size, MREMAP_MAYMOVE | MREMAP_FIXED, other) != other)
		return;
	EXPECT(mremap(other, size, size, MREMAP_MAYMOVE | MREMAP_FIXED, start) == start,
	       "mremap: %s", strerror(errno));
}

/* Both write, so that one of them gets a page of its own. */
static void share_with_child(volatile __u32 *word)
{
	pid_t child = ktap_fork();

	*word = 1;
	if (!child)
		ktap_done();
	ktap_join(child);
}

static void change(struct gpu *gpu, enum change what, char *block, char *start, size_t size)
{
	switch (what) {
	case DROP:
		madvise(start, size, MADV_DONTNEED);
		return;
	case PROTECT:
		mprotect(start, size, PROT_READ);
		mprotect(start, size, PROT_READ | PROT_WRITE);
		return;
	case MAP_ANEW:
		map_anew(start, size);
		return;
	case MOVE_AWAY_AND_BACK:
		move_away_and_back(start, size);
		return;
	case SHARE_WITH_CHILD:
		share_with_child((__u32 *)start);
		return;
	case COLLAPSE:
		madvise(block, HUGE_PAGE, MADV_COLLAPSE);
		return;
	case PAGE_OUT:
		madvise(start, size, MADV_PAGEOUT);
		return;
	case SET_FREE:
		madvise(start, size, MADV_FREE);
		return;
	case DROP_BLOCK:
		madvise(block, HUGE_PAGE, MADV_DONTNEED);
		memset(block + HALF, 3, HALF);
		return;
	case MAP_BLOCK_ANEW:
		map_anew(block, HUGE_PAGE);
		return;
	case TO_VRAM:
		gpu_migrate(gpu, block, HUGE_PAGE, 0);
		return;
	case CHANGES:
		return;
	}
}

/* A change, and a look at what it has changed, from both sides. */
static void change_and_look(struct gpu *gpu, char *memory, unsigned int changes)
{
	char *block = memory + ktap_random() % BLOCKS * HUGE_PAGE;
	const size_t first = ktap_random() % (HALF / PAGE);
	const size_t size = (1 + ktap_random() % (HALF / PAGE - first)) * PAGE;
	__u32 *words = (__u32 *)(block + HALF + first * PAGE);
	const __u32 value = ktap_random();

	change(gpu, ktap_random() % changes, block, (char *)words, size);
	for (size_t i = 0; i < size / 4; i++)
		words[i] = value;
	expect_gpu_sum(gpu, words, size, (__u64)value * (size / 4));
	EXPECT_OK(gpu_fill(gpu, words, ~value, size));
	expect_words(words, size, ~value);
}

static void test_parts(const void *arg)
{
	const unsigned int changes = arg == &vram ? CHANGES : TO_VRAM;
	char *memory = (char *)map_huge_pattern(SIZE, 1);
	struct user users[2] = { { .memory = memory }, { .memory = memory, .reads = true } };
	pthread_t threads[2];
	double start = now_ms();
	unsigned int rounds;
	struct gpu gpu;

	open_vm(&gpu, arg);
	for (int i = 0; i < 2; i++) {
		users[i].gpu = gpu;
		users[i].random = ktap_random();
		EXPECT(!pthread_create(&threads[i], NULL, use_all_the_time, &users[i]),
		       "pthread_create");
	}
	for (rounds = 0; rounds < 32 || now_ms() < start + SECONDS * 1e3; rounds++)
		change_and_look(&gpu, memory, changes);
	for (int i = 0; i < 2; i++) {
		__atomic_store_n(&users[i].stop, true, __ATOMIC_RELEASE);
		pthread_join(threads[i], NULL);
	}
	ktap_note("%u rounds, %u and %u programs, %u and %u failed, %zu KiB in huge pages", rounds,
		  users[0].done, users[1].done, users[0].failed, users[1].failed,
		  huge_bytes(memory) >> 10);
	/* When all is quiet everything works again. */
	EXPECT_OK(gpu_fill(&gpu, memory, 5, SIZE));
	expect_words((__u32 *)memory, SIZE, 5);
}

static const struct ktap_case cases[] = {
	IN_RAM("parts of huge pages", test_parts),
	IN_VRAM("parts of huge pages", test_parts),
};

int main(int argc, char **argv)
{
	return ktap_main(argc, argv, cases, ARRAY_SIZE(cases));
}
