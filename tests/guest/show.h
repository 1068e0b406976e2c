/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/* What a person can see of the driver: trace events, and files in debugfs. */
#ifndef TESTS_GUEST_SHOW_H
#define TESTS_GUEST_SHOW_H

#include <stddef.h>

/* Traces the library from now on. Ends the case, skipped, where the kernel cannot. */
void begin_trace(void);
/* No more; returns what was traced, line by line, for the caller to free. */
char *end_trace(void);

/* The first line of @text that has both in it; NULL if there is none. */
const char *find_line(const char *text, const char *one, const char *other);
/* How a trace event shows a span. */
const char *span_text(char *buffer, size_t size, const void *start, const void *end);

/* A file of debugfs, of all devices. Ends the case, skipped, where there is no debugfs. */
char *read_debugfs(const char *name);
/* What it shows of all VMs. Ends the case, skipped, where there is no debugfs. */
char *read_vms(void);

#endif /* TESTS_GUEST_SHOW_H */
