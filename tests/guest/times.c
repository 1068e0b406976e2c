// SPDX-License-Identifier: GPL-2.0-only OR MIT
#include "times.h"

#include <stdlib.h>
#include <string.h>

#include "stub.h"

/* The first class ends at a microsecond. */
#define FIRST_CLASS 1e-3

unsigned int seconds_to_run(int *argc, char **argv, unsigned int seconds)
{
	const char *wish = getenv("DRM_SVM_SECONDS");

	if (*argc > 2 && !strcmp(argv[1], "--seconds")) {
		wish = argv[2];
		*argc -= 2;
		memmove(argv + 1, argv + 3, *argc * sizeof(*argv));
	}
	return wish ? strtoul(wish, NULL, 0) : seconds;
}

void times_add(struct times *times, double ms)
{
	size_t class = 0;

	for (double end = FIRST_CLASS; end < ms && class + 1 < ARRAY_SIZE(times->classes); end *= 2)
		class++;
	times->classes[class]++;
	times->count++;
	times->longest = ms > times->longest ? ms : times->longest;
}

void times_join(struct times *times, const struct times *other)
{
	for (size_t i = 0; i < ARRAY_SIZE(times->classes); i++)
		times->classes[i] += other->classes[i];
	times->count += other->count;
	times->longest = other->longest > times->longest ? other->longest : times->longest;
}

double times_below(const struct times *times, double percent)
{
	unsigned long seen = 0;
	double end = FIRST_CLASS;

	for (size_t i = 0; i < ARRAY_SIZE(times->classes); i++, end *= 2) {
		seen += times->classes[i];
		if (seen >= times->count * percent / 100)
			break;
	}
	return end < times->longest ? end : times->longest;
}
