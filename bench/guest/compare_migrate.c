// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Moving: to VRAM by prefetch and by a GPU fault, and back by eviction and by the CPU.
 */
#include "compare.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

/* For scattered pages, of which a move takes some in RAM while it has not given others back. */
#define SINGLES_TO_SPARE MIB(8)

/*
 * Leaves more single free frames than there are pages in @bytes, whose neighbours are in use until
 * mend_memory(). The kernel gives such frames out first, so no two pages of RAM lie in a row,
 * neither those that the CPU touches nor those that something comes back to.
 */
static char *scatter_memory(size_t bytes)
{
	const size_t all = 2 * (bytes + SINGLES_TO_SPARE);
	char *start = mmap(NULL, all, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (start == MAP_FAILED)
		abort();
	madvise(start, all, MADV_NOHUGEPAGE);
	touch(start, all);
	for (size_t i = 0; i < all; i += 2 * PAGE)
		madvise(start + i, PAGE, MADV_DONTNEED);
	return start;
}

static void mend_memory(char *start, size_t bytes)
{
	munmap(start, 2 * (bytes + SINGLES_TO_SPARE));
}

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
static void first_access(struct side *side, const struct workload *w)
{
	char name[64];
	uint64_t ns;

	set_up(side, w->pages, MIB(2));
	touch(SPAN, w->size);
	prefetch(side, w->size, w->size);
	ns = begin_time();
	(void)*(volatile char *)(SPAN + w->size / 2);
	ns = end_time(ns);
	snprintf(name, sizeof(name), "cpu_first_access%s", w->name);
	report(side, name, w->size >> 10, ns, 1);
	tear_down(side);
}

/* There, in allocations of a size, and back by an eviction. */
static void evict(struct side *side, const struct workload *w)
{
	struct plain_work there, back = {};

	set_up(side, w->pages, MIB(2));
	touch(SPAN, w->bytes);
	there = prefetch(side, w->bytes, w->size);
	report_move(side, "to_device", w->name, w->size >> 10, &there);
	work_on(side, PLAIN_EVICT, &back);
	report_move(side, "evict", w->name, w->size >> 10, &back);
	tear_down(side);
}

/* There, and back because the CPU wants it. */
static void cpu_return(struct side *side, const struct workload *w)
{
	struct plain_work work;

	set_up(side, w->pages, MIB(2));
	touch(SPAN, w->bytes);
	prefetch(side, w->bytes, w->size);
	work = return_by_cpu(side, w->bytes);
	report_move(side, "cpu_return", w->name, w->size >> 10, &work);
	tear_down(side);
}

/* Both of scattered pages. */
static void move_scattered(struct side *side, const struct workload *w)
{
	char *const memory = scatter_memory(w->bytes);

	evict(side, w);
	cpu_return(side, w);
	mend_memory(memory, w->bytes);
}

/* A GPU fault on memory of the CPU's that ends with the memory in VRAM and mapped. */
static void fault_moves(struct side *side, const struct workload *w)
{
	struct plain_work work = {
		.start = (uintptr_t)SPAN,
		.bytes = w->bytes,
		.flags = PLAIN_WRITE | PLAIN_DEVMEM,
	};

	set_up(side, w->pages, w->size);
	touch(SPAN, w->bytes);
	work_on(side, PLAIN_FAULT, &work);
	report_move(side, "fault_moves", w->name, w->size >> 10, &work);
	tear_down(side);
}

/* One page of every 2 MiB cannot move. The others could. */
static void pinned(struct side *side, const struct workload *w)
{
	struct plain_work work, fault = {
		.start = (uintptr_t)SPAN,
		.bytes = w->bytes,
		.flags = PLAIN_WRITE,
	};
	struct plain_look look;

	set_up(side, w->pages, w->size);
	touch(SPAN, w->bytes);
	pin_pages(side, w->bytes, w->size);
	work = prefetch(side, w->bytes, w->size);
	/* The page table says where everything is. */
	ioctl_on(side, PLAIN_FAULT, &fault);
	look = look_at(side, SPAN, w->bytes);
	if (fault.error)
		report_failure(side, w->name, w->size >> 10, fault.error);
	else if (look.vram < (side->extended ? MOVE_IF_PINNED(w->bytes) : 1))
		report_failure(side, w->name, w->size >> 10, work.error);
	else
		report(side, w->name, w->size >> 10, work.ns - work.copy_ns, look.vram);
	report_moved(side, w->name, w->size >> 10, look.vram, w->bytes / PAGE);
	tear_down(side);
}

#define LARGE .only_timed = true, .large = true

const struct workload migrate_workloads[] = {
	{ evict, "", KIB(64), MIB(2), SMALL },
	{ evict, "", KIB(512), MIB(4), SMALL },
	{ evict, "", MIB(2), MIB(8), SMALL },
	{ evict, "", MIB(16), MIB(16), SMALL, .extended = true },
	{ evict, "", MIB(256), MIB(256), SMALL, .extended = true, LARGE },
	{ evict, "_huge", MIB(2), MIB(16), HUGE },
	{ evict, "_huge", MIB(16), MIB(16), HUGE },
	{ evict, "_huge", MIB(256), MIB(256), HUGE, LARGE },
	{ cpu_return, "", KIB(64), MIB(2), SMALL, .only_timed = true },
	{ cpu_return, "", KIB(512), MIB(4), SMALL, .only_timed = true },
	{ cpu_return, "", MIB(2), MIB(8), SMALL, .only_timed = true },
	{ cpu_return, "", MIB(16), MIB(16), SMALL, .only_timed = true },
	{ cpu_return, "", MIB(256), MIB(256), SMALL, LARGE },
	{ cpu_return, "_huge", MIB(2), MIB(16), HUGE, .only_timed = true },
	{ cpu_return, "_huge", MIB(16), MIB(16), HUGE, .only_timed = true },
	{ cpu_return, "_huge", MIB(256), MIB(256), HUGE, LARGE },
	{ fault_moves, "", KIB(64), MIB(2), SMALL },
	{ fault_moves, "", MIB(2), MIB(8), SMALL },
	{ fault_moves, "_huge", MIB(2), MIB(16), HUGE },
	{ first_access, "", KIB(64), 0, SMALL, .only_timed = true },
	{ first_access, "", MIB(2), 0, SMALL, .only_timed = true },
	{ first_access, "", MIB(16), 0, SMALL, .only_timed = true },
	{ first_access, "_huge", MIB(2), 0, HUGE, .only_timed = true },
	{ first_access, "_huge", MIB(16), 0, HUGE, .only_timed = true },
	{ pinned, "to_device_one_page_pinned", MIB(2), MIB(8), SMALL, .only_timed = true,
	  .extended = true },
	{}
};

/* Frames that come one by one for a while are best left to the end. */
const struct workload scattered_moves[] = {
	{ move_scattered, "_scattered", KIB(64), MIB(2), SMALL, .only_timed = true },
	{ move_scattered, "_scattered", MIB(2), MIB(8), SMALL, .only_timed = true },
	{}
};
