// SPDX-License-Identifier: GPL-2.0-only OR MIT
/* What a person sees of VM_BIND: debugfs and trace events. */
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "memory.h"
#include "show.h"
#include "userptr.h"

static void test_debugfs(const void *arg)
{
	char first[32];
	struct window w;
	struct bo bo;

	(void)arg;
	open_window(&w);
	make_bo(&w, &bo, 1, 0, 1);
	EXPECT_OK(BIND(&w, MAP_OP(&w, 3, 1, &bo, 0)));
	snprintf(first, sizeof(first), "0x%016llx", AT(&w, 3));
	EXPECT(strstr(read_vms(), first), "debugfs does not show the mapping");
}

/* One VM_BIND that does a bit of everything leaves a line of each kind. */
static void test_trace(const void *arg)
{
	static const char *const events[] = {
		"bind_begin: ", "bind_prepare: ", "bind_commit: ", "bind_end: ",
		"gpuva_insert: ", "gpuva_remove: ",
		"gpuva_op: ", " map ", " remap ", " unmap ", " prefetch ",
	};
	struct window w;
	struct bo bo;
	char *trace;

	(void)arg;
	open_window(&w);
	make_bo(&w, &bo, 8, 0, 1);
	EXPECT_OK(BIND(&w, MAP_OP(&w, 0, 8, &bo, 0)));
	begin_trace();
	EXPECT_OK(BIND(&w, UNMAP_OP(&w, 2, 2), UNMAP_OP(&w, 0, 2), MAP_OP(&w, 16, 1, &bo, 0),
		       PREFETCH_OP(&w, 16, 1)));
	trace = end_trace();
	for (size_t i = 0; i < ARRAY_SIZE(events); i++)
		EXPECT(strstr(trace, events[i]), "no event with \"%s\"", events[i]);
}

/* A line of that kind in which the span is, and the rest. */
static const char *expect_event(const char *trace, const char *event, const char *span,
				const char *rest)
{
	const char *line = find_line(trace, event, span);

	EXPECT(line, "there is no event %s%s", event, span);
	EXPECT(find_line(line, event, rest), "no event %shas \"%s\"", event, rest);
	return line;
}

/* Of a userptr: it gets its pages, loses one to the CPU, and is made good before a program. */
static void test_trace_of_userptr(const void *arg)
{
	const size_t size = 4 * PAGE;
	__u32 *memory = map_small(size);
	char *trace, all[64], one[64];
	const char *lost;
	struct window w;

	(void)arg;
	open_userptr_window(&w, &stops, 0);
	span_text(all, sizeof(all), memory, memory + 4 * WORDS_PER_PAGE);
	span_text(one, sizeof(one), memory + WORDS_PER_PAGE, memory + 2 * WORDS_PER_PAGE);
	begin_trace();
	bind_userptr(&w, 0, memory, size, 0);
	EXPECT_OK(gpu_fill(&w.gpu, at(&w, 0), 1, size));
	madvise(memory + WORDS_PER_PAGE, PAGE, MADV_DONTNEED);
	EXPECT_OK(gpu_fill(&w.gpu, at(&w, 0), 2, size));
	trace = end_trace();

	expect_event(trace, "hmmptr_get_pages: ", all, " count=4 write=1 us=");
	lost = expect_event(trace, "hmmptr_invalidate: ", one, " clear ");
	EXPECT(find_line(lost, "hmmptr_revalidate: ", " ret=0"), "it has not been made good");
	/* Where an invalidation has two passes, each that wants the second one gets it. */
	EXPECT(!find_line(lost, "hmmptr_invalidate: ", " unfinished") ||
	       find_line(lost, "hmmptr_invalidate_finish: ", one), "a second pass is missing");
}

static const struct ktap_case cases[] = {
	{ "debugfs shows mappings", test_debugfs, NULL },
	{ "trace events say what happens", test_trace, NULL },
	{ "trace events say what happens to a userptr", test_trace_of_userptr, NULL },
};

int main(int argc, char **argv)
{
	return ktap_main(argc, argv, cases, ARRAY_SIZE(cases));
}
