// SPDX-License-Identifier: GPL-2.0-only OR MIT
/* What a person sees of VM_BIND: debugfs and trace events. */
#include <stdio.h>
#include <string.h>

#include "bind.h"
#include "show.h"

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

static const struct ktap_case cases[] = {
	{ "debugfs shows mappings", test_debugfs, NULL },
	{ "trace events say what happens", test_trace, NULL },
};

int main(int argc, char **argv)
{
	return ktap_main(argc, argv, cases, ARRAY_SIZE(cases));
}
