// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Whole programs, from end to end: the GPU computes on memory that the CPU has written, faults
 * and all, and the CPU reads what has come of it. With VRAM for half of the memory; what is moved
 * there has to go to make room.
 */
#include "compare.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define FACTOR 3

/* How a program went. */
struct outcome {
	uint64_t began, ended;
	uint64_t worst_ns; /* the longest time that the GPU or the CPU stood still */
	uint32_t error;
};

static void add_stall(struct outcome *outcome, uint64_t ns)
{
	outcome->worst_ns = ns > outcome->worst_ns ? ns : outcome->worst_ns;
}

/* 0: all that there is. */
static void limit_vram(struct side *side, size_t bytes)
{
	__u64 npages = bytes / PAGE;

	ioctl_on(side, PLAIN_LIMIT, &npages);
}

/* Time and the worst stall; an item is a page that the program is about, or @items of what ever. */
static void report_outcome(struct side *side, const struct workload *w,
			   const struct outcome *outcome, const struct plain_copies *before,
			   size_t items)
{
	struct plain_copies after = copies_of(side);
	char name[64];

	if (outcome->error) {
		report_failure(side, w->name, w->size, outcome->error);
		return;
	}
	report(side, w->name, w->size, outcome->ended - outcome->began, items);
	report_copied(side, w->name, w->size, after.pages - before->pages, w->bytes / PAGE);
	snprintf(name, sizeof(name), "%s_worst", w->name);
	report(side, name, w->size, outcome->worst_ns, 1);
}

static void run_on(struct side *side, struct plain_run *run, struct outcome *outcome)
{
	ioctl_on(side, PLAIN_RUN, run);
	outcome->error = outcome->error ? outcome->error : run->error;
	add_stall(outcome, run->worst_ns);
}

/* SAXPY ---------------------------------------------------------------------------------- */

/* A word of every page, as a program does that goes through what has been computed. */
static void read_back(const char *start, size_t bytes, struct outcome *outcome)
{
	for (size_t i = 0; i < bytes; i += PAGE) {
		uint64_t began = now();

		(void)*(const volatile char *)(start + i);
		add_stall(outcome, now() - began);
	}
}

static bool is_sum(const char *x, const char *y, size_t bytes)
{
	for (size_t i = 0; i < bytes; i += sizeof(uint32_t))
		if (*(const uint32_t *)(y + i) != touched(y + i) + FACTOR * touched(x + i))
			return false;
	return true;
}

/* Both vectors are in @bytes of the span, which were touched. */
static void compute_saxpy(struct side *side, size_t bytes, struct outcome *outcome)
{
	const size_t half = bytes / 2;
	struct plain_run run = {
		.program = PLAIN_SAXPY,
		.flags = PLAIN_DEVMEM,
		.factor = FACTOR,
		.x = (uintptr_t)SPAN,
		.y = (uintptr_t)SPAN + half,
		.bytes = half,
	};

	outcome->began = now();
	run_on(side, &run, outcome);
	read_back(SPAN + half, half, outcome);
	outcome->ended = now();
	if (!outcome->error && !is_sum(SPAN, SPAN + half, half))
		outcome->error = EILSEQ;
}

static void saxpy(struct side *side, const struct workload *w)
{
	const struct plain_copies before = copies_of(side);
	struct outcome outcome = {};

	set_up(side, w->pages, MIB(2));
	limit_vram(side, w->bytes / 2);
	touch(SPAN, w->bytes);
	compute_saxpy(side, w->bytes, &outcome);
	report_outcome(side, w, &outcome, &before, w->bytes / PAGE);
	limit_vram(side, 0);
	tear_down(side);
}

/* A pointer chase ------------------------------------------------------------------------ */

#define TURNS 16
#define HOPS 8

struct node {
	uint32_t next;
	uint32_t visits;
};

static struct node *node_at(uint64_t at)
{
	return (struct node *)(SPAN + at * PAGE);
}

/* All pages in one cycle, which is the same every time (S. Sattolo). */
static void lay_cycle(size_t count)
{
	uint64_t random = 1;

	for (size_t i = 0; i < count; i++)
		*node_at(i) = (struct node) { .next = i };
	for (size_t i = count - 1; i > 0; i--) {
		uint32_t next = node_at(i)->next;
		size_t other;

		random = random * 6364136223846793005u + 1442695040888963407u;
		other = (random >> 33) % i;
		node_at(i)->next = node_at(other)->next;
		node_at(other)->next = next;
	}
}

static uint64_t hop_by_cpu(uint64_t at, struct outcome *outcome)
{
	for (int hop = 0; hop < HOPS; hop++) {
		uint64_t began = now();
		struct node *node = node_at(at);

		node->visits++;
		at = node->next;
		add_stall(outcome, now() - began);
	}
	return at;
}

/* Whether there was one at each page on the way to @end, which is shorter than the cycle. */
static bool was_visited(uint64_t end)
{
	uint64_t at = 0;

	for (int hop = 0; hop < 2 * TURNS * HOPS; hop++, at = node_at(at)->next)
		if (node_at(at)->visits != 1)
			return false;
	return at == end;
}

/* The GPU goes some way, the CPU goes on from there; an item is a hop. */
static void chase(struct side *side, const struct workload *w)
{
	const struct plain_copies before = copies_of(side);
	struct outcome outcome = {};
	struct plain_run run = {
		.program = PLAIN_CHASE,
		.flags = PLAIN_DEVMEM,
		.factor = HOPS,
		.x = (uintptr_t)SPAN,
		.bytes = w->bytes,
	};

	set_up(side, w->pages, MIB(2));
	lay_cycle(w->bytes / PAGE);
	outcome.began = now();
	for (int turn = 0; turn < TURNS && !outcome.error; turn++) {
		run_on(side, &run, &outcome);
		run.at = hop_by_cpu(run.at, &outcome);
	}
	outcome.ended = now();
	if (!outcome.error && !was_visited(run.at))
		outcome.error = EILSEQ;
	report_outcome(side, w, &outcome, &before, 2 * TURNS * HOPS);
	tear_down(side);
}

/* Processes ------------------------------------------------------------------------------ */

#define PROCESSES 4

/* What they share. */
struct meeting {
	atomic_uint missing;
	struct outcome outcome[PROCESSES];
};

/* One of them, with a VM of its own. */
static void be_process(const char *path, const struct workload *w, struct meeting *meeting,
		       struct outcome *outcome)
{
	struct side side = { .path = path, .fd = open(path, O_RDWR) };

	set_up(&side, w->pages, MIB(2));
	touch(SPAN, w->bytes / PROCESSES);
	for (--meeting->missing; meeting->missing;)
		usleep(100);
	compute_saxpy(&side, w->bytes / PROCESSES, outcome);
	close(side.fd);
}

static pid_t start_process(struct side *side, const struct workload *w, struct meeting *meeting,
			   size_t number)
{
	pid_t child;

	/* What is not written yet would be written by both. */
	fflush(NULL);
	child = fork();
	if (child)
		return child;
	be_process(side->path, w, meeting, &meeting->outcome[number]);
	_exit(0);
}

static struct outcome outcome_of_all(const struct meeting *meeting)
{
	struct outcome all = meeting->outcome[0];

	for (size_t i = 1; i < PROCESSES; i++) {
		const struct outcome *one = &meeting->outcome[i];

		all.began = one->began < all.began ? one->began : all.began;
		all.ended = one->ended > all.ended ? one->ended : all.ended;
		all.error = all.error ? all.error : one->error;
		add_stall(&all, one->worst_ns);
	}
	return all;
}

/* They compute at the same time, and share VRAM that is enough for half of them. */
static void processes(struct side *side, const struct workload *w)
{
	const struct plain_copies before = copies_of(side);
	struct meeting *meeting = mmap(NULL, sizeof(*meeting), PROT_READ | PROT_WRITE,
				       MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	struct outcome outcome;
	pid_t child[PROCESSES];
	int status, bad = 0;

	meeting->missing = PROCESSES;
	limit_vram(side, w->bytes / 2);
	for (size_t i = 0; i < PROCESSES; i++)
		child[i] = start_process(side, w, meeting, i);
	for (size_t i = 0; i < PROCESSES; i++)
		bad |= waitpid(child[i], &status, 0) != child[i] || status;
	outcome = outcome_of_all(meeting);
	if (bad)
		outcome.error = EIO;
	report_outcome(side, w, &outcome, &before, w->bytes / PAGE);
	limit_vram(side, 0);
	munmap(meeting, sizeof(*meeting));
	/* Waits until they have left nothing. */
	set_up(side, w->pages, MIB(2));
	tear_down(side);
}

/* Time is the question, and what a CPU does while another one waits. */
#define WHOLE .only_timed = true, .cpus = 2, .extended = true

/* Sizes are KiB of memory in all. */
const struct workload whole_workloads[] = {
	{ saxpy, "saxpy_2x_vram", 32 << 10, MIB(32), SMALL, WHOLE },
	{ saxpy, "saxpy_2x_vram_huge", 32 << 10, MIB(32), HUGE, WHOLE },
	{ chase, "chase_cpu_gpu", 4 << 10, MIB(4), SMALL, WHOLE },
	{ processes, "processes_saxpy", 32 << 10, MIB(32), SMALL, WHOLE },
	{}
};
