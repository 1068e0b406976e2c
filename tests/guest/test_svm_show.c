// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * What a person sees of the mirror: trace events that tell what happened and when, two faults that
 * overlap in time among them, and what debugfs shows of ranges and of the pages behind them.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "memory.h"
#include "program.h"
#include "show.h"

#define RANGE MIB(2)
/* In one notifier window. */
#define MEMORY ((char *)0x200000000000)

static char *map_ranges(size_t count)
{
	char *memory = map_at(MEMORY, count * RANGE, PROT_READ | PROT_WRITE,
			      MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1);

	madvise(memory, count * RANGE, MADV_NOHUGEPAGE);
	memset(memory, 1, count * RANGE);
	return memory;
}

/* The place in the trace, which is in the order of time, of an event of a range. */
static size_t place_of(const char *trace, const char *event, const char *range)
{
	char span[64];
	const char *line = find_line(trace, event,
				     span_text(span, sizeof(span), range, range + RANGE));

	EXPECT(line, "there is no event %s%s", event, span);
	return line - trace;
}

/* The time of the event at a place of the trace, in seconds. */
static double time_of(const char *trace, size_t place)
{
	const char *colon = strstr(trace + place, ": ");
	double seconds = 0;

	while (colon > trace + place && colon[-1] != ' ')
		colon--;
	EXPECT(sscanf(colon, "%lf", &seconds) == 1, "an event without a time");
	return seconds;
}

/* While a fault is held, one on another range is served: it begins later and ends earlier. */
static void test_faults_overlap(const void *arg)
{
	char *memory = map_ranges(2), *trace;
	size_t outer[2], inner[2];
	struct program program;
	struct gpu gpu;

	(void)arg;
	open_vm(&gpu, &ram);
	begin_trace();
	EXPECT_OK(gpu_hold(&gpu, memory));
	start_fill(&program, &gpu, memory, 1, PAGE);
	EXPECT_OK(gpu_wait_held(&gpu, memory, 1));
	EXPECT_OK(gpu_fill(&gpu, memory + RANGE, 2, RANGE));
	EXPECT_OK(gpu_let_go(&gpu, memory));
	EXPECT_OK(finish(&program));
	trace = end_trace();

	outer[0] = place_of(trace, "gpusvm_range_acquire: ", memory);
	outer[1] = place_of(trace, "gpusvm_range_release: ", memory);
	inner[0] = place_of(trace, "gpusvm_range_acquire: ", memory + RANGE);
	inner[1] = place_of(trace, "gpusvm_range_release: ", memory + RANGE);
	EXPECT(outer[0] < inner[0] && inner[0] < inner[1] && inner[1] < outer[1],
	       "the faults did not overlap");
	EXPECT(time_of(trace, outer[0]) < time_of(trace, inner[0]) &&
	       time_of(trace, inner[1]) < time_of(trace, outer[1]),
	       "the events' times are not in the order of the events");
	ktap_note("fault at %.6f to %.6f, another one at %.6f to %.6f",
		  time_of(trace, outer[0]), time_of(trace, outer[1]), time_of(trace, inner[0]),
		  time_of(trace, inner[1]));
	free(trace);
}

/* From the fault to the last page: each step leaves its line. */
static void test_life_of_a_range(const void *arg)
{
	char *memory = map_ranges(1), *trace, span[64];
	struct gpu gpu;

	(void)arg;
	open_vm(&gpu, &ram);
	begin_trace();
	EXPECT_OK(gpu_fill(&gpu, memory, 1, RANGE));
	munmap(memory + RANGE / 4, RANGE / 4);
	EXPECT_EQ(stats_of(&gpu).ranges, 2);
	munmap(memory, RANGE);
	EXPECT_EQ(stats_of(&gpu).ranges, 0);
	trace = end_trace();

	place_of(trace, "gpusvm_fault: ", memory);
	place_of(trace, "gpusvm_range_make: ", memory);
	place_of(trace, "gpusvm_get_pages: ", memory);
	EXPECT(find_line(trace, "gpusvm_get_pages: ", " write attempts=1 "),
	       "no collection for a write, at the first attempt");
	span_text(span, sizeof(span), memory + RANGE / 4, memory + RANGE / 2);
	EXPECT(find_line(trace, "gpusvm_invalidate: ", span), "no event about %s", span);
	EXPECT(find_line(trace, "gpusvm_invalidate: ", " unmap "), "no event of that kind");
	span_text(span, sizeof(span), memory, memory + RANGE / 4);
	EXPECT(find_line(trace, "gpusvm_range_trim: ", span), "the head is not %s", span);
	span_text(span, sizeof(span), memory + RANGE / 2, memory + RANGE);
	EXPECT(find_line(trace, "gpusvm_range_trim: ", span), "the tail is not %s", span);
	EXPECT(find_line(trace, "gpusvm_range_remove: ", span), "the tail has not been removed");
	free(trace);
}

/* Finds a range in what debugfs shows, and in how many entries it is mapped; -1: it is not. */
static int entries_of(const char *start, const char *end)
{
	char *text = read_vms(), range[64];
	const char *line;
	int entries = -1;

	snprintf(range, sizeof(range), "0x%016lx - 0x%016lx", (unsigned long)start,
		 (unsigned long)end - 1);
	line = find_line(text, "  range ", range);
	EXPECT(line, "debugfs does not show the range %s", range);
	line = strchr(line, '\n');
	if (line && sscanf(line, " pages 0: mapped in %d entries", &entries) != 1)
		entries = -1;
	free(text);
	return entries;
}

/* Small pages are an entry each, a huge page is one. */
static void test_debugfs(const void *arg)
{
	char *memory = map_ranges(1), *huge = (char *)map(RANGE);
	unsigned long kib = 0;
	char line[256];
	struct gpu gpu;
	FILE *maps;

	(void)arg;
	open_vm(&gpu, &ram);
	EXPECT_OK(gpu_fill(&gpu, memory, 1, RANGE));
	EXPECT_EQ(entries_of(memory, memory + RANGE), RANGE / PAGE);
	madvise(memory, PAGE, MADV_DONTNEED);
	EXPECT_EQ(entries_of(memory, memory + RANGE), -1);

	if (madvise(huge, RANGE, MADV_HUGEPAGE))
		ktap_skip("the kernel has no transparent huge pages");
	memset(huge, 1, RANGE);
	maps = fopen("/proc/self/smaps_rollup", "r");
	while (maps && fgets(line, sizeof(line), maps))
		sscanf(line, "AnonHugePages: %lu", &kib);
	if (maps)
		fclose(maps);
	if (kib != RANGE >> 10)
		ktap_skip("the kernel has no huge page to give");
	EXPECT_OK(gpu_fill(&gpu, huge, 1, RANGE));
	EXPECT_EQ(entries_of(huge, huge + RANGE), 1);
}

static const struct ktap_case cases[] = {
	{ "two faults overlap in time", test_faults_overlap, NULL },
	{ "the life of a range", test_life_of_a_range, NULL },
	{ "debugfs shows ranges and their entries", test_debugfs, NULL },
};

int main(int argc, char **argv)
{
	return ktap_main(argc, argv, cases, ARRAY_SIZE(cases));
}
