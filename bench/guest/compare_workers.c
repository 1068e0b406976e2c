// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * What needs more than one CPU: workers side by side, and one that others disturb. Time, and not
 * instructions, is what can be learned of it.
 */
#include "compare.h"

#include <pthread.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <unistd.h>

struct worker {
	struct side *side;
	pthread_barrier_t *barrier;
	struct plain_work work;
	uint64_t began, ended;
	pthread_t thread;
};

static void *work_main(void *arg)
{
	struct worker *worker = arg;

	pthread_barrier_wait(worker->barrier);
	worker->began = now();
	ioctl_on(worker->side, PLAIN_FAULT, &worker->work);
	worker->ended = now();
	return NULL;
}

/* They share a VM, and its lock, and the span; an item is a page that got mapped. */
static void workers(struct side *side, const struct workload *w, size_t chunk)
{
	const size_t count = w->size, bytes = w->bytes;
	struct worker worker[2] = {};
	pthread_barrier_t barrier;
	uint64_t began = UINT64_MAX, ended = 0;
	uint32_t error = 0;

	set_up(side, SMALL, chunk);
	touch(SPAN, bytes);
	pthread_barrier_init(&barrier, NULL, count);
	for (size_t i = 0; i < count; i++) {
		worker[i].side = side;
		worker[i].barrier = &barrier;
		worker[i].work.start = (uintptr_t)SPAN + i * (bytes / count);
		worker[i].work.bytes = bytes / count;
		worker[i].work.flags = w->flags;
		pthread_create(&worker[i].thread, NULL, work_main, &worker[i]);
	}
	for (size_t i = 0; i < count; i++) {
		pthread_join(worker[i].thread, NULL);
		error = error ? error : worker[i].work.error;
		began = worker[i].began < began ? worker[i].began : began;
		ended = worker[i].ended > ended ? worker[i].ended : ended;
	}
	if (error)
		report_failure(side, w->name, count, error);
	else
		report(side, w->name, count, ended - began, bytes / PAGE);
	pthread_barrier_destroy(&barrier);
	tear_down(side);
}

static void workers_4k(struct side *side, const struct workload *w)
{
	workers(side, w, KIB(4));
}

static void workers_2m(struct side *side, const struct workload *w)
{
	workers(side, w, MIB(2));
}

/* Takes a page away from the GPU that it never had, for as long as @arg does not say to stop. */
static void *disturb_main(void *arg)
{
	const atomic_bool *stop = arg;
	/* In the same window of the VM as everything else. */
	char *page = AREA + AREA_BYTES - MIB(2);

	while (!*stop) {
		touch(page, PAGE);
		madvise(page, PAGE, MADV_DONTNEED);
	}
	return NULL;
}

/* Faults, while memory that they are not about changes all the time; an item is a page. */
static void disturbed(struct side *side, const struct workload *w)
{
	struct plain_work work = {
		.start = (uintptr_t)SPAN,
		.bytes = w->bytes,
		.flags = PLAIN_WRITE,
	};
	atomic_bool stop = false;
	pthread_t thread;

	set_up(side, SMALL, w->size);
	touch(SPAN, w->bytes);
	pthread_create(&thread, NULL, disturb_main, &stop);
	/* It is on its way. */
	usleep(10000);
	ioctl_on(side, PLAIN_FAULT, &work);
	stop = true;
	pthread_join(thread, NULL);
	report_work(side, w->name, w->size >> 10, &work, w->bytes / PAGE);
	tear_down(side);
}

#define MOVES (PLAIN_WRITE | PLAIN_DEVMEM)
#define TIMED .only_timed = true, .cpus = 2

/* Sizes are workers, or that of a range. */
const struct workload worker_workloads[] = {
	{ workers_4k, "workers_fault_4k", 1, MIB(8), .flags = PLAIN_WRITE, TIMED },
	{ workers_4k, "workers_fault_4k", 2, MIB(8), .flags = PLAIN_WRITE, TIMED },
	{ workers_2m, "workers_move_2m", 1, MIB(16), .flags = MOVES, TIMED },
	{ workers_2m, "workers_move_2m", 2, MIB(16), .flags = MOVES, TIMED },
	{ disturbed, "disturbed_fault", KIB(4), MIB(4), TIMED },
	{ disturbed, "disturbed_fault", MIB(2), MIB(32), TIMED },
	{}
};
