// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Memory of which a part goes. What the GPU maps as one range loses that part and no more: the
 * rest stays mapped, without another fault, and keeps its data; what has gone is gone; and what
 * comes in its place is new.
 *
 * Huge pages are the exception. The kernel splits one first, which takes all of it from the GPU.
 * And so does the first cut of 2 MiB that lie in one mapping and could be a huge page: notifiers
 * hear of the split before the kernel looks whether there is anything to be split. Mappings that
 * have been divided before are not concerned.
 */
#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "memory.h"
#include "program.h"

#define SEED 5

/* --- One part ---------------------------------------------------------------- */

enum how {
	DIVIDED, /* small pages, in two mappings */
	WHOLE,	 /* small pages that could be a huge one */
	HUGE,
};

struct cut {
	const bool *variant;
	enum how how;
	size_t size; /* of the range */
	size_t start, end; /* of what goes */
};

/* What is left before and behind; empty pieces have no size. */
struct piece {
	size_t start, size;
};

static int pieces_of(const struct cut *cut, struct piece *pieces)
{
	int count = 0;

	if (cut->start)
		pieces[count++] = (struct piece){ 0, cut->start };
	if (cut->end < cut->size)
		pieces[count++] = (struct piece){ cut->end, cut->size - cut->end };
	return count;
}

/*
 * Ranges of which something has gone are put right a little later, by whoever comes first;
 * until then a further part would widen what has gone.
 */
static struct drm_svm_stub_vm_stats wait_for_ranges(struct gpu *gpu, __u64 ranges)
{
	double end = now_ms() + 60e3;
	struct drm_svm_stub_vm_stats stats;

	do {
		stats = stats_of(gpu);
		if (stats.ranges == ranges)
			return stats;
		usleep(1000);
	} while (now_ms() < end);
	EXPECT(false, "there are %llu ranges, not %llu", stats.ranges, ranges);
	return stats;
}

/* Sums up what @seed has made of words of a piece. */
static __u64 sum_of(const struct piece *piece)
{
	__u64 sum = 0;

	for (size_t i = piece->start / 4; i < (piece->start + piece->size) / 4; i++)
		sum += pattern(SEED, i);
	return sum;
}

/* The GPU maps it as before, though it is two mappings now. */
static void divide(struct gpu *gpu, void *memory, size_t size)
{
	EXPECT(!madvise(memory, PAGE, MADV_DONTDUMP), "madvise: %s", strerror(errno));
	expect_gpu_reads(gpu, memory, size, SEED);
}

static char *map_range(const struct cut *cut, struct gpu *gpu)
{
	__u32 *memory = cut->how == HUGE ? map(cut->size) : map_small(cut->size);

	open_vm(gpu, cut->variant);
	if (cut->how == HUGE && madvise(memory, cut->size, MADV_HUGEPAGE))
		ktap_skip("the kernel has no transparent huge pages");
	write_pattern(memory, cut->size, SEED);
	expect_gpu_reads(gpu, memory, cut->size, SEED);
	if (cut->how == DIVIDED)
		divide(gpu, memory, cut->size);
	expect_place(gpu, cut->variant, memory, cut->size);
	EXPECT_EQ(stats_of(gpu).ranges, 1);
	return (char *)memory;
}

static void expect_hole(struct gpu *gpu, const struct cut *cut, char *memory)
{
	size_t size = cut->end - cut->start;
	__u64 sum;

	EXPECT_EQ(pages_mapped(gpu, memory + cut->start, size), 0);
	EXPECT_ERR(gpu_checksum(gpu, memory + cut->start, PAGE, &sum), -EFAULT);
	EXPECT_ERR(gpu_fill(gpu, memory + cut->end - 4, 1, 4), -EFAULT);
	/* New memory there is new, and does not disturb its neighbours. */
	map_at(memory + cut->start, size, PROT_READ | PROT_WRITE,
	       MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1);
	expect_gpu_sum(gpu, memory + cut->start, size, 0);
	EXPECT_OK(gpu_fill(gpu, memory + cut->start, 9, size));
}

static void test_cut(const void *arg)
{
	const struct cut *cut = arg;
	struct drm_svm_stub_vm_stats before, after;
	struct piece pieces[2];
	int count = pieces_of(cut, pieces);
	bool stays = cut->how == DIVIDED;
	struct gpu gpu;
	char *memory = map_range(cut, &gpu);

	before = stats_of(&gpu);
	EXPECT(!munmap(memory + cut->start, cut->end - cut->start), "munmap: %s",
	       strerror(errno));
	for (int i = 0; i < count && stays; i++)
		EXPECT_EQ(pages_mapped(&gpu, memory + pieces[i].start, pieces[i].size),
			  pieces[i].size / PAGE);
	after = wait_for_ranges(&gpu, count);
	EXPECT_EQ(after.ranges_split - before.ranges_split, count == 2);
	EXPECT_EQ(after.ranges_trimmed - before.ranges_trimmed, count == 1);

	for (int i = 0; i < count; i++) {
		expect_gpu_sum(&gpu, memory + pieces[i].start, pieces[i].size,
			       sum_of(&pieces[i]));
		EXPECT(gpu.faults <= !stays, "%u faults for what is left", gpu.faults);
	}
	after = stats_of(&gpu);
	EXPECT(!stays || after.collections == before.collections,
	       "pages of what is left were collected again");
	EXPECT_EQ(after.ranges_removed, before.ranges_removed);

	expect_hole(&gpu, cut, memory);
	for (int i = 0; i < count; i++) {
		/* Its first page can be written to as well as before. */
		EXPECT_OK(gpu_fill(&gpu, memory + pieces[i].start, pattern(SEED, 0), 4));
		EXPECT(!stays || !gpu.faults, "a fault beside new memory");
		expect_pattern_from((__u32 *)memory, pieces[i].start / 4 + 1,
				    pieces[i].size - 4, SEED);
	}
	expect_words((__u32 *)(memory + cut->start), cut->end - cut->start, 9);
}

#define CUT(title, to_vram, in, bytes, from, to)                                      \
	{                                                                             \
		#to_vram ": " title, test_cut,                                        \
		&(const struct cut){ .variant = &to_vram, .how = in, .size = bytes,   \
				     .start = from, .end = to },                      \
	}
#define CUTS(to_vram)                                                                 \
	CUT("head of 2 MiB", to_vram, DIVIDED, MIB(2), 0, KIB(300)),                  \
	CUT("tail of 2 MiB", to_vram, DIVIDED, MIB(2), KIB(1500), MIB(2)),            \
	CUT("middle of 2 MiB", to_vram, DIVIDED, MIB(2), KIB(300), KIB(700)),         \
	CUT("one page of 2 MiB", to_vram, DIVIDED, MIB(2), KIB(404), KIB(408)),       \
	CUT("all but one page of 2 MiB", to_vram, DIVIDED, MIB(2), 0, MIB(2) - PAGE), \
	CUT("head of 64 KiB", to_vram, DIVIDED, KIB(64), 0, PAGE),                    \
	CUT("tail of 64 KiB", to_vram, DIVIDED, KIB(64), KIB(32), KIB(64)),           \
	CUT("middle of 64 KiB", to_vram, DIVIDED, KIB(64), KIB(12), KIB(40)),         \
	CUT("head of a whole", to_vram, WHOLE, MIB(2), 0, KIB(300)),                  \
	CUT("tail of a whole", to_vram, WHOLE, MIB(2), KIB(1500), MIB(2)),            \
	CUT("middle of a whole", to_vram, WHOLE, MIB(2), KIB(300), KIB(700)),         \
	CUT("head of a huge page", to_vram, HUGE, MIB(2), 0, KIB(512)),               \
	CUT("tail of a huge page", to_vram, HUGE, MIB(2), MIB(1), MIB(2)),            \
	CUT("middle of a huge page", to_vram, HUGE, MIB(2), KIB(300), KIB(1700))

/* --- Many parts ---------------------------------------------------------------- */

/* In use by the GPU, and each range divided. */
static char *map_filled(struct gpu *gpu, const void *variant, size_t size)
{
	__u32 *memory = map_small(size);

	open_vm(gpu, variant);
	write_pattern(memory, size, SEED);
	expect_gpu_reads(gpu, memory, size, SEED);
	for (size_t start = 0; start < size; start += HUGE_PAGE)
		EXPECT(!madvise(memory + start / 4, PAGE, MADV_DONTDUMP), "madvise: %s",
		       strerror(errno));
	expect_gpu_reads(gpu, memory, size, SEED);
	expect_place(gpu, variant, memory, size);
	return (char *)memory;
}

static void expect_odd_pages_gone(struct gpu *gpu, const char *memory, size_t size)
{
	for (size_t i = 0; i < size / PAGE; i++) {
		const struct piece piece = { i * PAGE, PAGE };
		__u64 sum;

		if (i % 2)
			EXPECT_ERR(gpu_checksum(gpu, memory + i * PAGE, PAGE, &sum), -EFAULT);
		else
			expect_gpu_sum(gpu, memory + i * PAGE, PAGE, sum_of(&piece));
	}
}

/* Every second page, each when the range has been put right after the one before. */
static void test_page_by_page(const void *arg)
{
	const size_t pages = HUGE_PAGE / PAGE;
	struct drm_svm_stub_vm_stats before, after;
	struct gpu gpu;
	char *memory = map_filled(&gpu, arg, HUGE_PAGE);

	before = stats_of(&gpu);
	for (size_t i = 1; i < pages; i += 2) {
		EXPECT(!munmap(memory + i * PAGE, PAGE), "munmap: %s", strerror(errno));
		wait_for_ranges(&gpu, i + 1 < pages ? i / 2 + 2 : pages / 2);
	}
	/* The last page was at the end of what was left. */
	after = stats_of(&gpu);
	EXPECT_EQ(after.ranges_split - before.ranges_split, pages / 2 - 1);
	EXPECT_EQ(after.ranges_trimmed - before.ranges_trimmed, 1);
	EXPECT_EQ(pages_mapped(&gpu, memory, HUGE_PAGE), pages / 2);
	expect_odd_pages_gone(&gpu, memory, HUGE_PAGE);
	after = stats_of(&gpu);
	EXPECT_EQ(after.gpu_faults, before.gpu_faults);
	EXPECT_EQ(after.collections, before.collections);

	munmap(memory, HUGE_PAGE);
	after = wait_for_ranges(&gpu, 0);
	EXPECT_EQ(after.ranges_made, after.ranges_removed);
}

/* The same at once: the GPU may lose more, and finds all of it again. */
static void test_pages_at_once(const void *arg)
{
	const size_t pages = HUGE_PAGE / PAGE;
	struct gpu gpu;
	char *memory = map_filled(&gpu, arg, HUGE_PAGE);

	for (size_t i = 1; i < pages; i += 2)
		EXPECT(!munmap(memory + i * PAGE, PAGE), "munmap: %s", strerror(errno));
	expect_odd_pages_gone(&gpu, memory, HUGE_PAGE);
	for (size_t i = 0; i < pages; i += 2)
		expect_pattern_from((__u32 *)memory, i * WORDS_PER_PAGE, PAGE, SEED);
	munmap(memory, HUGE_PAGE);
	wait_for_ranges(&gpu, 0);
}

/* What goes ends two ranges and removes one between them. */
static void test_three_ranges(const void *arg)
{
	struct drm_svm_stub_vm_stats before, after;
	const struct piece first = { 0, MIB(1) }, last = { MIB(5), MIB(1) };
	struct gpu gpu;
	char *memory = map_filled(&gpu, arg, MIB(6));

	before = stats_of(&gpu);
	EXPECT_EQ(before.ranges, 3);
	munmap(memory + MIB(1), MIB(4));
	after = wait_for_ranges(&gpu, 2);
	EXPECT_EQ(after.ranges_trimmed - before.ranges_trimmed, 2);
	EXPECT_EQ(after.ranges_removed - before.ranges_removed, 1);
	EXPECT_EQ(pages_mapped(&gpu, memory, MIB(6)), MIB(2) / PAGE);
	expect_gpu_sum(&gpu, memory, first.size, sum_of(&first));
	EXPECT_EQ(gpu.faults, 0);
	expect_gpu_sum(&gpu, memory + last.start, last.size, sum_of(&last));
	EXPECT_EQ(gpu.faults, 0);
}

/* All of it, and again at the same place. */
static void test_again_and_again(const void *arg)
{
	struct gpu gpu;
	char *memory = map_filled(&gpu, arg, MIB(2));

	for (__u32 round = 1; round <= 16; round++) {
		size_t start = ktap_random() % 512 * PAGE;
		size_t size = PAGE + ktap_random() % ((MIB(2) - start) / PAGE) * PAGE;

		munmap(memory + start, size);
		EXPECT_ERR(gpu_fill(&gpu, memory + start, 1, 4), -EFAULT);
		map_at(memory + start, size, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1);
		madvise(memory + start, size, MADV_NOHUGEPAGE);
		expect_gpu_sum(&gpu, memory + start, size, 0);
		EXPECT_OK(gpu_fill(&gpu, memory, round, MIB(2)));
		expect_gpu_sum(&gpu, memory, MIB(2), (__u64)round * MIB(2) / 4);
		expect_words((__u32 *)memory, MIB(2), round);
	}
	munmap(memory, MIB(2));
	wait_for_ranges(&gpu, 0);
}

/* --- Other ways to go ------------------------------------------------------------ */

/* The middle moves away: it is the same memory elsewhere, and the rest stays. */
static void test_move_the_middle(const void *arg)
{
	const struct piece head = { 0, KIB(512) }, middle = { KIB(512), MIB(1) };
	const struct piece tail = { KIB(1536), KIB(512) };
	char *place = (char *)map_small(MIB(1));
	struct gpu gpu;
	char *memory = map_filled(&gpu, arg, MIB(2));

	EXPECT(mremap(memory + middle.start, middle.size, middle.size,
		      MREMAP_MAYMOVE | MREMAP_FIXED, place) == place, "mremap: %s",
	       strerror(errno));
	wait_for_ranges(&gpu, 2);
	EXPECT_EQ(pages_mapped(&gpu, memory, MIB(2)), MIB(1) / PAGE);
	expect_gpu_sum(&gpu, memory, head.size, sum_of(&head));
	EXPECT_EQ(gpu.faults, 0);
	expect_gpu_sum(&gpu, memory + tail.start, tail.size, sum_of(&tail));
	EXPECT_EQ(gpu.faults, 0);
	EXPECT_ERR(gpu_fill(&gpu, memory + middle.start, 1, 4), -EFAULT);
	expect_gpu_sum(&gpu, place, middle.size, sum_of(&middle));
}

/* Other memory takes the place of the middle in one call. */
static void test_map_over_the_middle(const void *arg)
{
	const struct piece head = { 0, KIB(512) }, tail = { MIB(1), MIB(1) };
	struct gpu gpu;
	char *memory = map_filled(&gpu, arg, MIB(2));

	map_at(memory + head.size, tail.start - head.size, PROT_READ | PROT_WRITE,
	       MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1);
	wait_for_ranges(&gpu, 2);
	EXPECT_EQ(pages_mapped(&gpu, memory, MIB(2)), KIB(1536) / PAGE);
	expect_gpu_sum(&gpu, memory, MIB(2), sum_of(&head) + sum_of(&tail));
	EXPECT(gpu.faults > 0, "new memory was there without a fault");
	EXPECT_OK(gpu_fill(&gpu, memory + head.size, 3, tail.start - head.size));
	expect_pattern((__u32 *)memory, head.size, SEED);
	expect_pattern_from((__u32 *)memory, tail.start / 4, tail.size, SEED);
}

/* --- While the GPU runs ------------------------------------------------------------ */

struct runner {
	struct gpu gpu;
	char *memory;
	size_t size;
	bool stop;
	__u32 rounds, faults;
	int err;
};

static void *run_programs(void *arg)
{
	struct runner *runner = arg;

	while (!__atomic_load_n(&runner->stop, __ATOMIC_ACQUIRE) && !runner->err) {
		runner->err = gpu_fill(&runner->gpu, runner->memory, runner->rounds + 1,
				       runner->size);
		if (runner->err)
			break;
		runner->faults += runner->gpu.faults;
		__atomic_store_n(&runner->rounds, runner->rounds + 1, __ATOMIC_RELEASE);
	}
	return NULL;
}

/* Programs on the second half notice nothing while the first one goes page by page. */
static void test_programs_on_the_rest(const void *arg)
{
	struct runner runner = { .size = MIB(1) };
	char *memory = map_filled(&runner.gpu, arg, MIB(2));
	pthread_t thread;

	runner.memory = memory + MIB(1);
	EXPECT(!pthread_create(&thread, NULL, run_programs, &runner), "pthread_create");
	for (size_t i = 0; i < MIB(1) / PAGE; i++) {
		__u32 round = __atomic_load_n(&runner.rounds, __ATOMIC_ACQUIRE);

		EXPECT(!munmap(memory + i * PAGE, PAGE), "munmap: %s", strerror(errno));
		/* Now and then let a program begin and end in between. */
		while (i % 32 == 0 && !runner.err &&
		       __atomic_load_n(&runner.rounds, __ATOMIC_ACQUIRE) < round + 2)
			usleep(100);
	}
	__atomic_store_n(&runner.stop, true, __ATOMIC_RELEASE);
	pthread_join(thread, NULL);
	EXPECT_OK(runner.err);
	ktap_note("%u programs", runner.rounds);
	EXPECT_EQ(runner.faults, 0);
	expect_words((__u32 *)runner.memory, MIB(1), runner.rounds);
}

static const struct ktap_case cases[] = {
	CUTS(ram),
	CUTS(vram),
	IN_RAM("every second page, one by one", test_page_by_page),
	IN_VRAM("every second page, one by one", test_page_by_page),
	IN_RAM("every second page at once", test_pages_at_once),
	IN_VRAM("every second page at once", test_pages_at_once),
	IN_RAM("one range and two halves", test_three_ranges),
	IN_VRAM("one range and two halves", test_three_ranges),
	IN_RAM("again and again", test_again_and_again),
	IN_VRAM("again and again", test_again_and_again),
	IN_RAM("the middle moves away", test_move_the_middle),
	IN_VRAM("the middle moves away", test_move_the_middle),
	IN_RAM("a mapping over the middle", test_map_over_the_middle),
	IN_VRAM("a mapping over the middle", test_map_over_the_middle),
	IN_RAM("programs run on the rest", test_programs_on_the_rest),
	IN_VRAM("programs run on the rest", test_programs_on_the_rest),
};

int main(int argc, char **argv)
{
	return ktap_main(argc, argv, cases, ARRAY_SIZE(cases));
}
