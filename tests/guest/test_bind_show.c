// SPDX-License-Identifier: GPL-2.0-only OR MIT
/* What a person sees of VM_BIND: debugfs and trace events. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>

#include "bind.h"

static void test_debugfs(const void *arg)
{
	char path[64], line[256], first[32];
	struct window w;
	struct bo bo;
	bool seen = false, any = false;

	(void)arg;
	open_window(&w);
	make_bo(&w, &bo, 1, 0, 1);
	EXPECT_OK(BIND(&w, MAP_OP(&w, 3, 1, &bo, 0)));
	snprintf(first, sizeof(first), "0x%016llx", AT(&w, 3));
	for (int minor = 0; minor < 192; minor++) {
		FILE *file;

		snprintf(path, sizeof(path), "/sys/kernel/debug/dri/%d/gpuvas", minor);
		file = fopen(path, "r");
		any |= file != NULL;
		while (file && fgets(line, sizeof(line), file))
			seen |= strstr(line, first) != NULL;
		if (file)
			fclose(file);
	}
	if (!any)
		ktap_skip("there is no debugfs");
	EXPECT(seen, "debugfs does not show the mapping");
}

#define TRACING "/sys/kernel/tracing/"

static bool write_to(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_TRUNC);
	bool done = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);

	if (fd >= 0)
		close(fd);
	return done;
}

/* One VM_BIND that does a bit of everything leaves a line of each kind. */
static void test_trace(const void *arg)
{
	static const char *const events[] = {
		"bind_begin: ", "bind_prepare: ", "bind_commit: ", "bind_end: ",
		"gpuva_insert: ", "gpuva_remove: ",
		"gpuva_op: ", " map ", " remap ", " unmap ", " prefetch ",
	};
	bool seen[ARRAY_SIZE(events)] = { false };
	char line[512];
	struct window w;
	struct bo bo;
	FILE *file;

	(void)arg;
	open_window(&w);
	make_bo(&w, &bo, 8, 0, 1);
	EXPECT_OK(BIND(&w, MAP_OP(&w, 0, 8, &bo, 0)));
	/* Perhaps it is mounted already. */
	mount("tracefs", TRACING, "tracefs", 0, NULL);
	if (access(TRACING "events/drm_svm/enable", W_OK))
		ktap_skip("there are no trace events");
	EXPECT(write_to(TRACING "events/drm_svm/enable", "1"), "enable: %s", strerror(errno));
	write_to(TRACING "trace", "");
	EXPECT_OK(BIND(&w, UNMAP_OP(&w, 2, 2), UNMAP_OP(&w, 0, 2), MAP_OP(&w, 16, 1, &bo, 0),
		       PREFETCH_OP(&w, 16, 1)));
	EXPECT(write_to(TRACING "events/drm_svm/enable", "0"), "disable: %s", strerror(errno));

	file = fopen(TRACING "trace", "r");
	EXPECT(file, "trace: %s", strerror(errno));
	while (fgets(line, sizeof(line), file))
		for (size_t i = 0; i < ARRAY_SIZE(events); i++)
			seen[i] |= strstr(line, events[i]) != NULL;
	fclose(file);
	for (size_t i = 0; i < ARRAY_SIZE(events); i++)
		EXPECT(seen[i], "no event with \"%s\"", events[i]);
}

static const struct ktap_case cases[] = {
	{ "debugfs shows mappings", test_debugfs, NULL },
	{ "trace events say what happens", test_trace, NULL },
};

int main(int argc, char **argv)
{
	return ktap_main(argc, argv, cases, ARRAY_SIZE(cases));
}
