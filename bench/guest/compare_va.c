// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * The GPU VA manager; and workers side by side.
 */
#include "compare.h"

#include <pthread.h>
#include <stdio.h>
#include <unistd.h>

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
		if (work.error)
			report_failure(side, requests[i].name, mappings, work.error);
		else
			report(side, requests[i].name, mappings, (double)work.ns / work.done,
			       (double)work.allocs / work.done);
	}
	ioctl_on(side, PLAIN_VA_DESTROY, NULL);
}

void va_workloads(struct side *side)
{
	requests_to(side, 100);
	requests_to(side, 10000);
}

/* Workers -------------------------------------------------------------------------------- */

struct worker {
	struct side *side;
	pthread_barrier_t *barrier;
	struct plain_work work;
	pthread_t thread;
};

static void *work_main(void *arg)
{
	struct worker *worker = arg;

	pthread_barrier_wait(worker->barrier);
	ioctl_on(worker->side, PLAIN_FAULT, &worker->work);
	return NULL;
}

/* They share a VM, and its lock, and the span; an item is a page that got mapped. */
static void workers(struct side *side, const char *name, size_t count, size_t chunk, size_t bytes,
		    uint32_t flags)
{
	struct worker worker[2] = {};
	pthread_barrier_t barrier;
	uint64_t began, ns;
	uint32_t error = 0;

	set_up(side, SMALL, chunk);
	touch(SPAN, bytes);
	pthread_barrier_init(&barrier, NULL, count + 1);
	for (size_t i = 0; i < count; i++) {
		worker[i].side = side;
		worker[i].barrier = &barrier;
		worker[i].work.start = (uintptr_t)SPAN + i * (bytes / count);
		worker[i].work.bytes = bytes / count;
		worker[i].work.flags = flags;
		pthread_create(&worker[i].thread, NULL, work_main, &worker[i]);
	}
	pthread_barrier_wait(&barrier);
	began = begin_time();
	for (size_t i = 0; i < count; i++) {
		pthread_join(worker[i].thread, NULL);
		error = error ? error : worker[i].work.error;
	}
	ns = end_time(began);
	if (error)
		report_failure(side, name, count, error);
	else
		report(side, name, count, (double)ns / (bytes / PAGE), 0);
	pthread_barrier_destroy(&barrier);
	tear_down(side);
}

/* On one CPU, and by counting, nothing could be learned. */
void worker_workloads(struct side *side)
{
	if (counting || sysconf(_SC_NPROCESSORS_ONLN) < 2)
		return;
	for (size_t count = 1; count <= 2; count++) {
		workers(side, "workers_fault_4k", count, KIB(4), MIB(8), PLAIN_WRITE);
		workers(side, "workers_move_2m", count, MIB(2), MIB(16),
			PLAIN_WRITE | PLAIN_DEVMEM);
	}
}
