// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * GPU SVM: faults on memory that stays in RAM, and invalidations.
 */
#include "compare.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

/* GPU faults on the whole span; an item is a fault. */
static void fault(struct side *side, const char *workload, size_t size, size_t bytes)
{
	struct plain_work work = {
		.start = (uintptr_t)SPAN,
		.bytes = bytes,
		.flags = PLAIN_WRITE,
	};

	work_on(side, PLAIN_FAULT, &work);
	report_work(side, workload, size, &work, work.done);
}

void take_away(size_t bytes)
{
	mprotect(SPAN, bytes, PROT_READ);
	mprotect(SPAN, bytes, PROT_READ | PROT_WRITE);
	touch(SPAN, bytes);
}

/* Ranges of one size in memory that the CPU has, and once more. */
static void faults(struct side *side, const struct workload *w)
{
	char name[64];

	set_up(side, w->pages, w->size);
	populate(SPAN, w->bytes, w->pages);
	snprintf(name, sizeof(name), "fault_present%s", w->name);
	fault(side, name, w->size >> 10, w->bytes);
	take_away(w->bytes);
	snprintf(name, sizeof(name), "refault%s", w->name);
	fault(side, name, w->size >> 10, w->bytes);
	tear_down(side);
}

/* The CPU has nothing there. */
static void faults_absent(struct side *side, const struct workload *w)
{
	char name[64];

	set_up(side, w->pages, w->size);
	snprintf(name, sizeof(name), "fault_absent%s", w->name);
	fault(side, name, w->size >> 10, w->bytes);
	tear_down(side);
}

/* Single faults -------------------------------------------------------------------------- */

/* So many of them are enough to tell what one of a hundred takes. */
#define SAMPLES 128

struct samples {
	uint64_t ns[SAMPLES];
	size_t count;
	uint32_t error;
};

static bool are_enough(const struct samples *samples)
{
	return samples->count == SAMPLES || samples->error;
}

static void sample_faults(struct side *side, size_t size, size_t bytes, struct samples *samples)
{
	for (size_t i = 0; i < bytes && !are_enough(samples); i += size) {
		struct plain_work work = {
			.start = (uintptr_t)SPAN + i,
			.bytes = size,
			.flags = PLAIN_WRITE,
		};

		ioctl_on(side, PLAIN_FAULT, &work);
		samples->ns[samples->count++] = work.ns;
		samples->error = work.error;
	}
}

static int by_size(const void *a, const void *b)
{
	const uint64_t *first = a, *second = b;

	return (*first > *second) - (*first < *second);
}

static void report_samples(struct side *side, const struct workload *w, const char *what,
			   struct samples *samples)
{
	static const unsigned int percents[] = { 50, 99 };
	char name[64];

	qsort(samples->ns, samples->count, sizeof(*samples->ns), by_size);
	for (size_t i = 0; i < ARRAY_SIZE(percents); i++) {
		snprintf(name, sizeof(name), "one_%s%s_p%u", what, w->name, percents[i]);
		if (samples->error)
			report_failure(side, name, w->size >> 10, samples->error);
		else
			report(side, name, w->size >> 10,
			       samples->ns[samples->count * percents[i] / 100], 1);
	}
}

/* The CPU has nothing there. */
static void first_touches(struct side *side, const struct workload *w)
{
	struct samples samples = {};

	while (!are_enough(&samples)) {
		set_up(side, w->pages, w->size);
		sample_faults(side, w->size, w->bytes, &samples);
		tear_down(side);
	}
	report_samples(side, w, "fault_absent", &samples);
}

/* The CPU has it, and so had the GPU. */
static void refaults(struct side *side, const struct workload *w)
{
	struct samples samples = {};

	set_up(side, w->pages, w->size);
	touch(SPAN, w->bytes);
	sample_faults(side, w->size, w->bytes, &samples);
	samples.count = 0;
	while (!are_enough(&samples)) {
		take_away(w->bytes);
		sample_faults(side, w->size, w->bytes, &samples);
	}
	report_samples(side, w, "refault", &samples);
	tear_down(side);
}

/* Invalidations -------------------------------------------------------------------------- */

/* To be undone before it is done again. */
static uint64_t time_of_protect(size_t bytes)
{
	uint64_t began = begin_time();

	mprotect(SPAN, bytes, PROT_READ);
	return end_time(began);
}

/* Pages that lie far from each other, at most so many. */
#define SINGLES 256

static uint64_t time_of_singles(size_t bytes)
{
	const size_t count = bytes / PAGE < SINGLES ? bytes / PAGE : SINGLES;
	const size_t stride = bytes / count / PAGE * PAGE;
	uint64_t began = begin_time();

	for (size_t i = 0; i < count; i++)
		madvise(SPAN + i * stride, PAGE, MADV_DONTNEED);
	return end_time(began);
}

static void restore(size_t bytes)
{
	mprotect(SPAN, bytes, PROT_READ | PROT_WRITE);
	touch(SPAN, bytes);
}

/*
 * What ranges add to a call of the CPU's memory management that takes them away; an item is a
 * range that is hit. Measured with and without, because the call itself is most of it, and once
 * before, because a first time is different. @count is that of ranges in the window.
 */
static void invalidations(struct side *side, const struct workload *w,
			  uint64_t (*take)(size_t bytes), size_t hit)
{
	const size_t count = w->size;
	const size_t bytes = count * PAGE;
	struct plain_work work = {
		.start = (uintptr_t)SPAN,
		.bytes = bytes,
		.flags = PLAIN_WRITE,
	};
	uint64_t without, with;

	set_up(side, SMALL, KIB(4));
	touch(SPAN, bytes);
	take(bytes);
	restore(bytes);
	without = take(bytes);
	restore(bytes);
	ioctl_on(side, PLAIN_FAULT, &work);
	with = take(bytes);
	if (work.error)
		report_failure(side, w->name, count, work.error);
	else
		report(side, w->name, count, (double)with - without, hit);
	tear_down(side);
}

static void invalidate_all(struct side *side, const struct workload *w)
{
	invalidations(side, w, time_of_protect, w->size);
}

static void invalidate_one(struct side *side, const struct workload *w)
{
	invalidations(side, w, time_of_singles, w->size < SINGLES ? w->size : SINGLES);
}

/* Of interest is how the time is spread; that instructions are counted needs none of it. */
#define ONE_BY_ONE .only_timed = true, .cpus = 2

const struct workload svm_workloads[] = {
	{ faults_absent, "", KIB(4), MIB(4), SMALL },
	{ faults_absent, "", MIB(2), MIB(8), SMALL },
	{ faults_absent, "_huge", MIB(2), MIB(16), HUGE },
	{ faults, "", KIB(4), MIB(4), SMALL },
	{ faults, "", KIB(64), MIB(8), SMALL },
	{ faults, "", MIB(2), MIB(16), SMALL },
	{ faults, "_huge", MIB(2), MIB(32), HUGE },
	{ first_touches, "", KIB(4), MIB(1), SMALL, ONE_BY_ONE },
	{ first_touches, "", MIB(2), MIB(16), SMALL, ONE_BY_ONE },
	{ first_touches, "_huge", MIB(2), MIB(48), HUGE, ONE_BY_ONE },
	{ refaults, "", KIB(4), MIB(1), SMALL, ONE_BY_ONE },
	{ refaults, "", MIB(2), MIB(16), SMALL, ONE_BY_ONE },
	{ refaults, "_huge", MIB(2), MIB(48), HUGE, ONE_BY_ONE },
	/* Nothing is allocated in an invalidation. */
	{ invalidate_all, "invalidate_all", 1, .only_timed = true },
	{ invalidate_all, "invalidate_all", 100, .only_timed = true },
	{ invalidate_all, "invalidate_all", 10000, .only_timed = true },
	{ invalidate_one, "invalidate_one", 100, .only_timed = true },
	{ invalidate_one, "invalidate_one", 10000, .only_timed = true },
	{}
};

/* They come last: what scatters frames leaves them so. */
const struct workload scattered_workloads[] = {
	{ faults, "_scattered", KIB(64), MIB(8), SCATTERED },
	{ faults, "_scattered", MIB(2), MIB(16), SCATTERED },
	{}
};
