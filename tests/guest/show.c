// SPDX-License-Identifier: GPL-2.0-only OR MIT
#include "show.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>

#include "ktap.h"

#define TRACING "/sys/kernel/tracing/"
#define MAX_MINORS 192

static void write_to(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_TRUNC);

	EXPECT(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text), "%s: %s", path,
	       strerror(errno));
	close(fd);
}

/* Adds what is in a file to @text, and makes that larger. False if there is no such file. */
static bool append(char **text, const char *path)
{
	size_t length = strlen(*text);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t got;

	if (fd < 0)
		return false;
	do {
		*text = realloc(*text, length + 65537);
		EXPECT(*text, "out of memory");
		got = read(fd, *text + length, 65536);
		EXPECT(got >= 0, "%s: %s", path, strerror(errno));
		length += got;
		(*text)[length] = '\0';
	} while (got);
	close(fd);
	return true;
}

void begin_trace(void)
{
	/* Perhaps it is mounted already. */
	mount("tracefs", TRACING, "tracefs", 0, NULL);
	if (access(TRACING "events/drm_svm/enable", W_OK))
		ktap_skip("there are no trace events");
	write_to(TRACING "trace", " ");
	write_to(TRACING "events/drm_svm/enable", "1");
}

char *end_trace(void)
{
	char *text = strdup("");

	write_to(TRACING "events/drm_svm/enable", "0");
	EXPECT(append(&text, TRACING "trace"), "trace: %s", strerror(errno));
	return text;
}

const char *find_line(const char *text, const char *one, const char *other)
{
	for (const char *line = text; line; line = strchr(line, '\n')) {
		const char *at, *end;

		line += *line == '\n';
		end = strchrnul(line, '\n');
		at = strstr(line, one);
		if (!at || at >= end)
			continue;
		at = strstr(line, other);
		if (at && at < end)
			return line;
	}
	return NULL;
}

const char *span_text(char *buffer, size_t size, const void *start, const void *end)
{
	snprintf(buffer, size, "[%#lx, %#lx]", (unsigned long)start, (unsigned long)end - 1);
	return buffer;
}

char *read_debugfs(const char *name)
{
	char *text = strdup("");
	bool any = false;

	for (int minor = 0; minor < MAX_MINORS; minor++) {
		char path[64];

		snprintf(path, sizeof(path), "/sys/kernel/debug/dri/%d/%s", minor, name);
		any |= append(&text, path);
	}
	if (!any)
		ktap_skip("there is no debugfs");
	return text;
}

char *read_vms(void)
{
	return read_debugfs("gpuvas");
}
