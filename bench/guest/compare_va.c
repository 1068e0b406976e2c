// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * The GPU VA manager.
 */
#include "compare.h"

/* Sizes are mappings. */
static void requests(struct side *side, const struct workload *w)
{
	struct plain_work work = { .start = 0x9e3779b97f4a7c15, .bytes = 2000 };
	struct plain_va create = { .mappings = w->size };

	ioctl_on(side, PLAIN_VA_CREATE, &create);
	work_on(side, w->request, &work);
	report_work(side, w->name, w->size, &work, work.done);
	ioctl_on(side, PLAIN_VA_DESTROY, NULL);
}

#define EXTENDED .extended = true

const struct workload va_workloads[] = {
	{ requests, "va_find", 100, .request = PLAIN_VA_FIND },
	{ requests, "va_find", 10000, .request = PLAIN_VA_FIND },
	{ requests, "va_split_list", 100, .request = PLAIN_VA_SPLIT },
	{ requests, "va_split_list", 10000, .request = PLAIN_VA_SPLIT },
	{ requests, "va_cover4_list", 100, .request = PLAIN_VA_COVER },
	{ requests, "va_cover4_list", 10000, .request = PLAIN_VA_COVER },
	{ requests, "va_replace", 100, .request = PLAIN_VA_REPLACE, EXTENDED },
	{ requests, "va_replace", 10000, .request = PLAIN_VA_REPLACE, EXTENDED },
	{ requests, "va_unmap_map", 100, .request = PLAIN_VA_UNMAP_MAP },
	{ requests, "va_unmap_map", 10000, .request = PLAIN_VA_UNMAP_MAP },
	{ requests, "va_cut_heal", 100, .request = PLAIN_VA_CUT_HEAL, EXTENDED },
	{ requests, "va_cut_heal", 10000, .request = PLAIN_VA_CUT_HEAL, EXTENDED },
	{}
};
