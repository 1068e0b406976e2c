// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Moving: to VRAM by prefetch and by a GPU fault, and back by eviction and by the CPU.
 */
#include "compare.h"

#include <stdio.h>

/* What a move took, in all and without the copy routine; an item is a page. */
static void report_move(struct side *side, const char *what, const char *kind, size_t size,
			const struct plain_work *work)
{
	char name[64];

	snprintf(name, sizeof(name), "%s%s", what, kind);
	report_work(side, name, size, work, work->copied);
	if (work->error || !work->copied)
		return;
	snprintf(name, sizeof(name), "%s%s_but_copy", what, kind);
	report(side, name, size, work->ns - work->copy_ns, work->copied);
}

static struct plain_work prefetch(struct side *side, size_t bytes, size_t step)
{
	struct plain_work work = {
		.start = (uintptr_t)SPAN,
		.bytes = bytes,
		.step = step,
	};

	work_on(side, PLAIN_PREFETCH, &work);
	return work;
}

/* The CPU writes to each page. */
static struct plain_work return_by_cpu(struct side *side, size_t bytes)
{
	struct plain_copies before = copies_of(side), after;
	struct plain_work work = {};

	work.ns = begin_time();
	touch(SPAN, bytes);
	work.ns = end_time(work.ns);
	after = copies_of(side);
	work.copy_ns = after.ns - before.ns;
	work.copied = after.pages - before.pages;
	return work;
}

/* How long a thread stands still that reads one word of what is in VRAM; an item is the word. */
static void first_access(struct side *side, const char *kind, enum pages pages, size_t size)
{
	char name[64];
	uint64_t ns;

	set_up(side, pages, MIB(2));
	touch(SPAN, size);
	prefetch(side, size, size);
	ns = begin_time();
	(void)*(volatile char *)(SPAN + size / 2);
	ns = end_time(ns);
	snprintf(name, sizeof(name), "cpu_first_access%s", kind);
	report(side, name, size >> 10, ns, 1);
	tear_down(side);
}

/* There and back twice: by an eviction, and by the CPU. Sizes are those of an allocation. */
static void round_trips(struct side *side, const char *kind, enum pages pages, size_t size,
			size_t bytes)
{
	struct plain_work work, evict = {};

	set_up(side, pages, MIB(2));
	touch(SPAN, bytes);
	work = prefetch(side, bytes, size);
	report_move(side, "to_device", kind, size >> 10, &work);
	work_on(side, PLAIN_EVICT, &evict);
	report_move(side, "evict", kind, size >> 10, &evict);

	/* So that what comes next finds what this one has found. */
	tear_down(side);
	set_up(side, pages, MIB(2));
	touch(SPAN, bytes);
	prefetch(side, bytes, size);
	if (!counting) {
		work = return_by_cpu(side, bytes);
		report_move(side, "cpu_return", kind, size >> 10, &work);
	}
	tear_down(side);
}

/* A GPU fault on memory of the CPU's that ends with the memory in VRAM and mapped. */
static void faults_that_move(struct side *side, const char *kind, enum pages pages, size_t chunk,
			     size_t bytes)
{
	struct plain_work work = {
		.start = (uintptr_t)SPAN,
		.bytes = bytes,
		.flags = PLAIN_WRITE | PLAIN_DEVMEM,
	};

	set_up(side, pages, chunk);
	touch(SPAN, bytes);
	work_on(side, PLAIN_FAULT, &work);
	report_move(side, "fault_moves", kind, chunk >> 10, &work);
	tear_down(side);
}

/* One page of every 2 MiB cannot move. The others could. */
static void pinned(struct side *side, size_t bytes)
{
	const char *name = "to_device_one_page_pinned";
	struct plain_work work, fault = {
		.start = (uintptr_t)SPAN,
		.bytes = bytes,
		.flags = PLAIN_WRITE,
	};
	struct plain_look look;

	set_up(side, SMALL, MIB(2));
	touch(SPAN, bytes);
	for (size_t i = MIB(1); i < bytes; i += MIB(2)) {
		__u64 addr = (uintptr_t)SPAN + i;

		ioctl_on(side, PLAIN_PIN, &addr);
	}
	work = prefetch(side, bytes, MIB(2));
	/* The page table says where everything is. */
	ioctl_on(side, PLAIN_FAULT, &fault);
	look = look_at(side, SPAN, bytes);
	if (fault.error)
		report_failure(side, name, 2048, fault.error);
	else if (!look.vram)
		report_failure(side, name, 2048, work.error);
	else
		report(side, name, 2048, work.ns - work.copy_ns, look.vram);
	report_moved(side, name, 2048, look.vram, bytes / PAGE);
	tear_down(side);
}

void migrate_workloads(struct side *side)
{
	round_trips(side, "", SMALL, KIB(64), MIB(2));
	round_trips(side, "", SMALL, KIB(512), MIB(4));
	round_trips(side, "", SMALL, MIB(2), MIB(8));
	round_trips(side, "", SMALL, MIB(16), MIB(16));
	round_trips(side, "_huge", HUGE, MIB(2), MIB(16));
	round_trips(side, "_huge", HUGE, MIB(16), MIB(16));
	faults_that_move(side, "", SMALL, KIB(64), MIB(2));
	faults_that_move(side, "", SMALL, MIB(2), MIB(8));
	faults_that_move(side, "_huge", HUGE, MIB(2), MIB(16));
	if (counting)
		return;
	first_access(side, "", SMALL, KIB(64));
	first_access(side, "", SMALL, MIB(2));
	first_access(side, "", SMALL, MIB(16));
	first_access(side, "_huge", HUGE, MIB(2));
	first_access(side, "_huge", HUGE, MIB(16));
	pinned(side, MIB(8));
}
