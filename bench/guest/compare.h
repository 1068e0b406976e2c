/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * The sides of the comparison, as workloads see them.
 */
#ifndef BENCH_GUEST_COMPARE_H
#define BENCH_GUEST_COMPARE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "plain_uapi.h"

#define ARRAY_SIZE(array) (sizeof(array) / sizeof((array)[0]))
#define KIB(n) ((size_t)(n) << 10)
#define MIB(n) ((size_t)(n) << 20)
#define PAGE KIB(4)

/*
 * The memory that everything is done to: always at the same place, so that all sides find the
 * same. Its first 2 MiB make a window of the VM's, before anything is measured.
 */
#define AREA ((char *)(1ul << 40))
#define SPAN_BYTES MIB(256)
#define AREA_BYTES (MIB(2) + SPAN_BYTES)
#define SPAN (AREA + MIB(2))

/* The pages of @bytes that can move when one of every 2 MiB is pinned: 511 of 512. */
#define MOVE_IF_PINNED(bytes) ((bytes) / PAGE - (bytes) / MIB(2))

struct side {
	const char *name; /* as bench/ratios.py knows it */
	const char *path;
	bool extended; /* does what only our library can do */
	int fd;
};

/* How the CPU has the memory. */
enum pages {
	SMALL,	   /* 4 KiB, whatever the alignment; what is touched in order mostly lies in rows */
	SCATTERED, /* 4 KiB, and frames of neighbours are far apart */
	HUGE,	   /* 2 MiB, where it is possible */
};

/* Of what is counted: the allocations of a pass in which nothing is timed. */
extern bool counting;

/* Work of a device; ends the program if the call fails. What it did not do is in work->error. */
void work_on(struct side *side, unsigned long request, struct plain_work *work);
void ioctl_on(struct side *side, unsigned long request, void *arg);

/* The area, of one kind of pages, not touched but for the warming-up, and a VM that shows it. */
void set_up(struct side *side, enum pages pages, size_t chunk);
/* Both go; waits until the VRAM is free again. */
void tear_down(struct side *side);
/* Writes to every page; the same values to the same addresses. */
void touch(char *start, size_t bytes);
/* The same, of pages that nobody has touched: each gets the frame that @pages says. */
void populate(char *start, size_t bytes, enum pages pages);
/* What touch() leaves in the word there; it writes two of each page, and the others are 0. */
uint32_t touched(const char *at);
/* Whether every word of it is as touch() leaves it. */
bool is_as_touched(const char *start, size_t bytes);
/* Pins a page in the middle of every @step bytes of the span, for as long as the VM is there. */
void pin_pages(struct side *side, size_t bytes, size_t step);
/* The GPU loses all of the span, and nothing else changes: the CPU may write again what it has. */
void take_away(size_t bytes);
struct plain_look look_at(struct side *side, char *start, size_t bytes);
struct plain_copies copies_of(struct side *side);

/* Nanoseconds; with -icount, instructions. */
uint64_t now(void);
/* Around what is measured here and not by the driver. One at a time. */
uint64_t begin_time(void);
uint64_t end_time(uint64_t began);

/*
 * A result of @side: @workload, done at a @size that the name of the workload says the meaning of,
 * took @ns for @items. While allocations are counted, these are the result.
 */
void report(struct side *side, const char *workload, size_t size, double ns, double items);
/* The same of what a device has done; it has failed if the device says so. */
void report_work(struct side *side, const char *workload, size_t size,
		 const struct plain_work *work, double items);
/* It could not be done. */
void report_failure(struct side *side, const char *workload, size_t size, int error);
/* How much of it was done. */
void report_moved(struct side *side, const char *workload, size_t size, size_t moved, size_t of);
/* How many pages were copied there and back, for so many that it is about. */
void report_copied(struct side *side, const char *workload, size_t size, size_t copied, size_t of);

/*
 * One thing that is measured, on a side, once. It begins and ends with nothing.
 */
struct workload {
	void (*run)(struct side *side, const struct workload *workload);
	const char *name; /* or what is behind it */
	size_t size;	  /* as it is reported: in bytes, or of what there are so many */
	size_t bytes;	  /* all that it is done to */
	enum pages pages;
	unsigned long request; /* PLAIN_* with a struct plain_work */
	uint32_t flags;	       /* PLAIN_* */
	bool extended;	       /* on the side, too, that does what only our library can do */
	bool only_timed;       /* allocations cannot be counted, or there are none */
	bool large;	       /* takes long, so not in every round */
	unsigned int cpus;     /* that it needs; 0: one */
};

/* The last one has no function. */
extern const struct workload svm_workloads[], migrate_workloads[], va_workloads[];
extern const struct workload worker_workloads[], whole_workloads[], scattered_workloads[];
extern const struct workload scattered_moves[];

/* compare_check.c: all sides do the same. Prints KTAP, returns how many results were bad. */
unsigned int check_sides(struct side *sides, size_t count);

#endif /* BENCH_GUEST_COMPARE_H */
