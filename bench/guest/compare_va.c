// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * The GPU VA manager.
 */
#include "compare.h"

static const struct {
	const char *name;
	unsigned long request;
} requests[] = {
	{ "va_find", PLAIN_VA_FIND },
	{ "va_split_list", PLAIN_VA_SPLIT },
	{ "va_cover4_list", PLAIN_VA_COVER },
	{ "va_replace", PLAIN_VA_REPLACE },
	{ "va_unmap_map", PLAIN_VA_UNMAP_MAP },
	{ "va_cut_heal", PLAIN_VA_CUT_HEAL },
};

static void requests_to(struct side *side, size_t mappings)
{
	struct plain_va create = { .mappings = mappings };

	ioctl_on(side, PLAIN_VA_CREATE, &create);
	for (size_t i = 0; i < ARRAY_SIZE(requests); i++) {
		struct plain_work work = { .start = 0x9e3779b97f4a7c15, .bytes = 2000 };

		work_on(side, requests[i].request, &work);
		report_work(side, requests[i].name, mappings, &work, work.done);
	}
	ioctl_on(side, PLAIN_VA_DESTROY, NULL);
}

void va_workloads(struct side *side)
{
	requests_to(side, 100);
	requests_to(side, 10000);
}
