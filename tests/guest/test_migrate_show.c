// SPDX-License-Identifier: GPL-2.0-only OR MIT
/* What a person sees of migration: where memory is, what it took, and trace events. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "place.h"
#include "show.h"

#define SIZE MIB(4)
#define SEED 33

static struct gpu gpu;

/* Small pages, of which the first @in_vram bytes go to VRAM. */
static __u32 *open_with(size_t in_vram)
{
	__u32 *memory;

	open_idle_vm(&gpu, 0);
	memory = map_small_pattern(SIZE, SEED);
	EXPECT_OK(gpu_migrate(&gpu, memory, in_vram, 0));
	return memory;
}

/* Looks for the line of a run of pages from @start on, and for a word in it. */
static void expect_run(const char *dump, const void *start, size_t size, const char *place)
{
	char run[64];
	const char *line, *end;

	snprintf(run, sizeof(run), "  %lx-%lx %zu ", (unsigned long)start,
		 (unsigned long)start + size, size / PAGE);
	line = strstr(dump, run);
	EXPECT(line, "there is no line \"%s\"", run);
	end = strchr(line, '\n');
	EXPECT(end && memmem(line, end - line, place, strlen(place)), "\"%.*s\" is not in %s",
	       (int)(end - line), line, place);
}

static void test_residency(const void *arg)
{
	char *memory = (char *)open_with(MIB(2));
	char *dump;

	(void)arg;
	/* A part back, in the middle. */
	EXPECT_OK(gpu_migrate(&gpu, memory + MIB(1), KIB(256), DRM_SVM_STUB_MIGRATE_TO_RAM));
	dump = read_debugfs("residency");
	expect_run(dump, memory, MIB(1), "drm_svm_stub.0");
	expect_run(dump, memory + MIB(1), KIB(256), "RAM");
	expect_run(dump, memory + MIB(1) + KIB(256), MIB(1) - KIB(256), "drm_svm_stub.0");
	expect_run(dump, memory + MIB(2), MIB(2), "RAM");
	expect_pattern((__u32 *)memory, SIZE, SEED);
	gpu_close(&gpu);
}

static void test_pagemap(const void *arg)
{
	static const char *const words[] = {
		"pagemap drm_svm_stub.0", "allocations: 1 in use", "to device", "2 MiB",
		"huge pages:", "CPU faults:",
	};
	char *info;

	(void)arg;
	open_with(MIB(2));
	info = read_debugfs("pagemap");
	for (size_t i = 0; i < ARRAY_SIZE(words); i++)
		EXPECT(strstr(info, words[i]), "\"%s\" is not in\n%s", words[i], info);
	gpu_close(&gpu);
}

/* There and back leaves a line for each phase of both. */
static void test_trace(const void *arg)
{
	char *memory = (char *)open_with(PAGE), *trace, *line;
	unsigned int out = 0, back = 0;

	(void)arg;
	begin_trace();
	EXPECT_OK(gpu_migrate(&gpu, memory + MIB(2), MIB(2), 0));
	EXPECT_EQ(*(volatile __u32 *)(memory + MIB(2)), pattern(SEED, MIB(2) / 4));
	trace = end_trace();
	for (line = strtok(trace, "\n"); line; line = strtok(NULL, "\n")) {
		if (!strstr(line, "migrate_phase: "))
			continue;
		out += !!strstr(line, " to_device ");
		back += !!strstr(line, " cpu_fault ");
	}
	EXPECT(out >= 4, "%u events of the way to the device", out);
	EXPECT(back >= 4, "%u events of the way back", back);
	gpu_close(&gpu);
}

static const struct ktap_case cases[] = {
	{ "debugfs shows where memory is", test_residency, NULL },
	{ "debugfs shows what migration took", test_pagemap, NULL },
	{ "trace events of each phase", test_trace, NULL },
};

int main(int argc, char **argv)
{
	return ktap_main(argc, argv, cases, ARRAY_SIZE(cases));
}
