// SPDX-License-Identifier: GPL-2.0-only OR MIT
#include "inject.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ktap.h"

#define DEBUGFS "/sys/kernel/debug/"

static void write_text(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);

	if (fd < 0)
		ktap_skip("this kernel does not inject failures");
	EXPECT(write(fd, text, strlen(text)) > 0, "%s: %s", path, strerror(errno));
	close(fd);
}

static void write_number(const char *path, unsigned long number)
{
	char text[24];

	snprintf(text, sizeof(text), "%lu", number);
	write_text(path, text);
}

/* What is written to it stays open: to open it may be what fails. */
static int fail_fd;

void inject_failures(void)
{
	write_text(DEBUGFS "failslab/ignore-gfp-wait", "N");
	write_text(DEBUGFS "failslab/verbose", "0");
	write_text(DEBUGFS "fail_page_alloc/ignore-gfp-wait", "N");
	write_text(DEBUGFS "fail_page_alloc/ignore-gfp-highmem", "N");
	write_text(DEBUGFS "fail_page_alloc/min-order", "0");
	write_text(DEBUGFS "fail_page_alloc/verbose", "0");
	fail_fd = open("/proc/thread-self/fail-nth", O_RDWR | O_CLOEXEC);
	EXPECT(fail_fd >= 0, "fail-nth: %s", strerror(errno));
}

void fail_nth(unsigned int nth)
{
	char text[16];
	int size = snprintf(text, sizeof(text), "%u", nth);

	EXPECT(pwrite(fail_fd, text, size, 0) == size, "fail-nth: %s", strerror(errno));
}

bool has_failed(void)
{
	char text[16] = "";

	EXPECT(pread(fail_fd, text, sizeof(text) - 1, 0) > 0, "fail-nth: %s", strerror(errno));
	fail_nth(0);
	return !atoi(text);
}

/* Where the functions of a module are. */
static void find_text(const char *module, unsigned long *start, unsigned long *end)
{
	FILE *symbols = fopen("/proc/kallsyms", "r");
	char line[1024], name[64], type;
	unsigned long address;

	EXPECT(symbols, "kallsyms: %s", strerror(errno));
	*start = -1ul;
	*end = 0;
	while (fgets(line, sizeof(line), symbols)) {
		if (sscanf(line, "%lx %c %*s [%63[^]]]", &address, &type, name) != 3 ||
		    (type | 0x20) != 't' || strcmp(name, module))
			continue;
		*start = address < *start ? address : *start;
		/* The last function is not the one that allocates. */
		*end = address > *end ? address : *end;
	}
	fclose(symbols);
	EXPECT(*start < *end, "%s has no functions", module);
}

void choose_module(const char *module)
{
	unsigned long start, end;

	if (access(DEBUGFS "failslab/require-start", W_OK))
		ktap_skip("this kernel cannot say whose allocations are to fail");
	find_text(module, &start, &end);
	write_number(DEBUGFS "failslab/require-start", start);
	write_number(DEBUGFS "failslab/require-end", end);
	write_text(DEBUGFS "failslab/task-filter", "N");
	write_text(DEBUGFS "failslab/times", "-1");
}

void fail_often(unsigned int percent)
{
	write_number(DEBUGFS "failslab/probability", percent);
}

void choose_all(void)
{
	fail_often(0);
	write_number(DEBUGFS "failslab/require-start", 0);
	write_number(DEBUGFS "failslab/require-end", -1ul);
}
