// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * See gpuvm_watch.h.
 */
#include <kunit/test.h>
#include <linux/gfp.h>
#include <linux/minmax.h>
#include <linux/preempt.h>
#include <linux/sched.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/tracepoint.h>
#include <trace/events/kmem.h>

#include "gpuvm_watch.h"

static struct task_struct *watched;
static unsigned int objects;
static unsigned int pages;

/* What one kmalloc() comes to; kmemleak makes it more than one object. */
static unsigned int objects_per_kmalloc;

static void note(unsigned int *counter, gfp_t gfp_flags)
{
	if (READ_ONCE(watched) == current && in_task() && gfpflags_allow_blocking(gfp_flags))
		(*counter)++;
}

static void note_kmalloc(void *data, unsigned long call_site, const void *ptr,
			 size_t bytes_req, size_t bytes_alloc, gfp_t gfp_flags, int node)
{
	note(&objects, gfp_flags);
}

static void note_cache_alloc(void *data, unsigned long call_site, const void *ptr,
			     struct kmem_cache *cache, gfp_t gfp_flags, int node)
{
	note(&objects, gfp_flags);
}

static void note_page_alloc(void *data, struct page *page, unsigned int order,
			    gfp_t gfp_flags, int migratetype)
{
	note(&pages, gfp_flags);
}

/* The tracepoint of page allocations is not exported, so it is looked for by name. */
static struct tracepoint *page_alloc;

static void find_page_alloc(struct tracepoint *tp, void *unused)
{
	if (!strcmp(tp->name, "mm_page_alloc"))
		page_alloc = tp;
}

/* How many of the three are registered, in the order of watch_suite_init(). */
static unsigned int registered;

int watch_suite_init(struct kunit_suite *suite)
{
	registered = 0;
	page_alloc = NULL;
	/* What registers does not exist there. */
	if (!IS_ENABLED(CONFIG_TRACEPOINTS))
		return 0;

	for_each_kernel_tracepoint(find_page_alloc, NULL);

	if (!page_alloc || register_trace_kmalloc(note_kmalloc, NULL))
		return 0;
	registered++;
	if (register_trace_kmem_cache_alloc(note_cache_alloc, NULL))
		return 0;
	registered++;
	if (tracepoint_probe_register(page_alloc, note_page_alloc, NULL))
		return 0;
	registered++;

	watch_begin();
	kfree(kmalloc(sizeof(objects), GFP_KERNEL));
	watch_end();
	objects_per_kmalloc = max(objects, 1U);
	return 0;
}

void watch_suite_exit(struct kunit_suite *suite)
{
	if (!IS_ENABLED(CONFIG_TRACEPOINTS))
		return;

	if (registered > 2)
		tracepoint_probe_unregister(page_alloc, note_page_alloc, NULL);
	if (registered > 1)
		unregister_trace_kmem_cache_alloc(note_cache_alloc, NULL);
	if (registered > 0)
		unregister_trace_kmalloc(note_kmalloc, NULL);
	tracepoint_synchronize_unregister();
}

void watch_require(struct kunit *test)
{
	if (registered < 3)
		kunit_skip(test, "this kernel has no trace events to see allocations with");
}

void watch_begin(void)
{
	objects = 0;
	pages = 0;
	WRITE_ONCE(watched, current);
}

unsigned int watch_end(void)
{
	WRITE_ONCE(watched, NULL);
	return objects + pages;
}

unsigned int watch_kmallocs(void)
{
	return objects / objects_per_kmalloc;
}
