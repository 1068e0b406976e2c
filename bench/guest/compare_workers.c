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

#define MOST 4
/* Of so many tries the best one counts: in the others somebody else had one of the CPUs. */
#define TRIES 3

struct worker {
	struct side *side;
	atomic_uint *missing;
	void (*run)(struct worker *worker);
	unsigned long request;
	struct plain_work work;
	uint64_t began, ended;
	pthread_t thread;
};

static void use_device(struct worker *worker)
{
	ioctl_on(worker->side, worker->request, &worker->work);
}

/* What the CPUs of this machine are, without the kernel and without a device. */
static void loop(struct worker *worker)
{
	for (volatile uint64_t left = worker->work.bytes; left; left--)
		;
}

/* And with the kernel, but without a device. */
static void touch_first(struct worker *worker)
{
	touch((char *)(uintptr_t)worker->work.start, worker->work.bytes);
}

static void *work_main(void *arg)
{
	struct worker *worker = arg;

	/* Nobody is to be woken up when they begin. */
	for (--*worker->missing; *worker->missing;)
		;
	worker->began = now();
	worker->run(worker);
	worker->ended = now();
	return NULL;
}

/* They share a VM and the span. Returns the time from the first begin to the last end. */
static uint64_t work_side_by_side(struct worker *worker, const struct worker *like, size_t count)
{
	atomic_uint missing = count;
	uint64_t began = UINT64_MAX, ended = 0;

	for (size_t i = 0; i < count; i++) {
		worker[i] = *like;
		worker[i].missing = &missing;
		worker[i].work.bytes = like->work.bytes / count;
		worker[i].work.start += i * worker[i].work.bytes;
		pthread_create(&worker[i].thread, NULL, work_main, &worker[i]);
	}
	for (size_t i = 0; i < count; i++) {
		pthread_join(worker[i].thread, NULL);
		began = worker[i].began < began ? worker[i].began : began;
		ended = worker[i].ended > ended ? worker[i].ended : ended;
	}
	return ended - began;
}

static void have_memory(struct side *, const struct workload *w)
{
	touch(SPAN, w->bytes);
}

static void have_none(struct side *, const struct workload *)
{
}

/* Ranges are there, and nothing in them. */
static void have_had_all(struct side *side, const struct workload *w)
{
	struct plain_work work = {
		.start = (uintptr_t)SPAN,
		.bytes = w->bytes,
		.flags = w->flags,
	};

	touch(SPAN, w->bytes);
	ioctl_on(side, PLAIN_FAULT, &work);
	take_away(w->bytes);
}

/* An item is a page that was mapped or moved. */
static void workers(struct side *side, const struct workload *w, size_t chunk,
		    void (*prepare)(struct side *side, const struct workload *w),
		    void (*run)(struct worker *worker))
{
	const struct worker like = {
		.side = side,
		.run = run,
		.request = w->request,
		.work = {
			.start = (uintptr_t)SPAN,
			.bytes = w->bytes,
			.step = MIB(2),
			.flags = w->flags,
		},
	};
	struct worker worker[MOST];
	uint64_t ns, best = UINT64_MAX;
	uint32_t error = 0;

	for (int tries = 0; tries < TRIES; tries++) {
		set_up(side, w->pages, chunk);
		prepare(side, w);
		ns = work_side_by_side(worker, &like, w->size);
		best = ns < best ? ns : best;
		for (size_t i = 0; i < w->size; i++)
			error = error ? error : worker[i].work.error;
		tear_down(side);
	}
	if (error)
		report_failure(side, w->name, w->size, error);
	else
		report(side, w->name, w->size, best, w->bytes / PAGE);
}

static void workers_4k(struct side *side, const struct workload *w)
{
	workers(side, w, KIB(4), have_memory, use_device);
}

static void workers_4k_again(struct side *side, const struct workload *w)
{
	workers(side, w, KIB(4), have_had_all, use_device);
}

static void workers_2m(struct side *side, const struct workload *w)
{
	workers(side, w, MIB(2), have_memory, use_device);
}

static void workers_loop(struct side *side, const struct workload *w)
{
	workers(side, w, MIB(2), have_none, loop);
}

static void workers_touch(struct side *side, const struct workload *w)
{
	workers(side, w, MIB(2), have_none, touch_first);
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

#define MAPS .request = PLAIN_FAULT, .flags = PLAIN_WRITE
#define MOVES .request = PLAIN_FAULT, .flags = PLAIN_WRITE | PLAIN_DEVMEM
#define PREFETCHES .request = PLAIN_PREFETCH
/* One worker is what several are compared with, so it needs as many CPUs as two. */
#define TIMED(needed) .only_timed = true, .cpus = (needed)
#define WORKERS(needed) TIMED(needed), .extended = true

/*
 * Sizes are workers, or that of a range. Pages that move are huge ones: of others the kernel
 * flushes one after the other from the TLBs of all CPUs that run the process, and waits for each
 * of them; with a CPU that is emulated, and may have to wait for a real one, that is all there
 * would be to see.
 */
const struct workload worker_workloads[] = {
	{ workers_loop, "workers_loop", 1, MIB(16), SMALL, WORKERS(2) },
	{ workers_loop, "workers_loop", 2, MIB(16), SMALL, WORKERS(2) },
	{ workers_loop, "workers_loop", 4, MIB(16), SMALL, WORKERS(4) },
	{ workers_touch, "workers_touch", 1, MIB(16), SMALL, WORKERS(2) },
	{ workers_touch, "workers_touch", 2, MIB(16), SMALL, WORKERS(2) },
	{ workers_touch, "workers_touch", 4, MIB(16), SMALL, WORKERS(4) },
	{ workers_4k, "workers_fault_4k", 1, MIB(16), SMALL, MAPS, WORKERS(2) },
	{ workers_4k, "workers_fault_4k", 2, MIB(16), SMALL, MAPS, WORKERS(2) },
	{ workers_4k, "workers_fault_4k", 4, MIB(16), SMALL, MAPS, WORKERS(4) },
	{ workers_4k_again, "workers_refault_4k", 1, MIB(16), SMALL, MAPS, WORKERS(2) },
	{ workers_4k_again, "workers_refault_4k", 2, MIB(16), SMALL, MAPS, WORKERS(2) },
	{ workers_4k_again, "workers_refault_4k", 4, MIB(16), SMALL, MAPS, WORKERS(4) },
	{ workers_2m, "workers_fault_2m", 1, MIB(240), SMALL, MAPS, WORKERS(2) },
	{ workers_2m, "workers_fault_2m", 2, MIB(240), SMALL, MAPS, WORKERS(2) },
	{ workers_2m, "workers_fault_2m", 4, MIB(240), SMALL, MAPS, WORKERS(4) },
	{ workers_2m, "workers_move_huge", 1, MIB(48), HUGE, MOVES, WORKERS(2) },
	{ workers_2m, "workers_move_huge", 2, MIB(48), HUGE, MOVES, WORKERS(2) },
	{ workers_2m, "workers_move_huge", 4, MIB(48), HUGE, MOVES, WORKERS(4) },
	{ workers_2m, "workers_prefetch_huge", 1, MIB(48), HUGE, PREFETCHES, WORKERS(2) },
	{ workers_2m, "workers_prefetch_huge", 2, MIB(48), HUGE, PREFETCHES, WORKERS(2) },
	{ workers_2m, "workers_prefetch_huge", 4, MIB(48), HUGE, PREFETCHES, WORKERS(4) },
	{ disturbed, "disturbed_fault", KIB(4), MIB(4), TIMED(2) },
	{ disturbed, "disturbed_fault", MIB(2), MIB(32), TIMED(2) },
	{}
};
