// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * The GPU VA manager.
 */
#include "compare.h"

/* Sizes are mappings. */
static void create_space(struct side *side, size_t mappings)
{
	struct plain_va create = { .mappings = mappings };

	ioctl_on(side, PLAIN_VA_CREATE, &create);
}

static void make_requests(struct side *side, const struct workload *w, size_t mappings)
{
	struct plain_work work = { .start = 0x9e3779b97f4a7c15, .bytes = 2000 };

	work_on(side, w->request, &work);
	report_work(side, w->name, mappings, &work, work.done);
}

static void requests(struct side *side, const struct workload *w)
{
	create_space(side, w->size);
	make_requests(side, w, w->size);
	ioctl_on(side, PLAIN_VA_DESTROY, NULL);
}

/*
 * What the workloads with as many mappings as this has bytes ask, of one space: to make one with so
 * many more takes far longer than what is asked of it.
 */
static void all_requests(struct side *side, const struct workload *w)
{
	create_space(side, w->size);
	for (const struct workload *one = va_workloads; one->run; one++)
		if (one->size == w->bytes && (one->extended || !side->extended))
			make_requests(side, one, w->size);
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
	{ all_requests, "", 1000000, 10000, .only_timed = true, .large = true, EXTENDED },
	{}
};
