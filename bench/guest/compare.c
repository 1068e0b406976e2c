// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * The same driver over two libraries, in one boot, in turn: each workload on one side and then on
 * the next, and in the next round another side comes first. The third side is the driver with
 * what only our library can do, and takes part where that matters; if it is not loaded, nowhere.
 *
 * compare [ROUNDS [OUT [LARGE]]]: OUT (default: /out/compare.json) gets every sample, in the form
 * that bench/ratios.py reads; standard output is KTAP. In so many as LARGE rounds (default: none)
 * large workloads take part.
 */
#include "compare.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

bool counting;

static struct side sides[] = {
	{ .name = "kernel", .path = "/dev/drm_svm_plain_kernel" },
	{ .name = "ours", .path = "/dev/drm_svm_plain" },
	{ .name = "extended", .path = "/dev/drm_svm_plain_extended", .extended = true },
};
static size_t num_sides;

static unsigned int large_rounds;
static FILE *out;
static bool first_result = true;
/* How many times something was measured, of which profile.py has to know what it was. */
static atomic_ulong sections;

static void die(const char *what, const char *why)
{
	printf("Bail out! %s: %s\n", what, why);
	exit(1);
}

/* Devices -------------------------------------------------------------------------------- */

void ioctl_on(struct side *side, unsigned long request, void *arg)
{
	sections += _IOC_SIZE(request) == sizeof(struct plain_work);
	if (ioctl(side->fd, request, arg) < 0)
		die(side->path, strerror(errno));
}

void work_on(struct side *side, unsigned long request, struct plain_work *work)
{
	if (counting)
		work->flags |= PLAIN_COUNT;
	ioctl_on(side, request, work);
}

void pin_pages(struct side *side, size_t bytes, size_t step)
{
	for (size_t i = step / 2; i < bytes; i += step) {
		__u64 addr = (uintptr_t)SPAN + i;

		ioctl_on(side, PLAIN_PIN, &addr);
	}
}

struct plain_look look_at(struct side *side, char *start, size_t bytes)
{
	struct plain_look look = { .start = (uintptr_t)start, .bytes = bytes };

	ioctl_on(side, PLAIN_LOOK, &look);
	return look;
}

struct plain_copies copies_of(struct side *side)
{
	struct plain_copies copies;

	ioctl_on(side, PLAIN_COPIES, &copies);
	return copies;
}

/* Memory --------------------------------------------------------------------------------- */

static uint32_t word(const char *at)
{
	return (uint32_t)((uintptr_t)at >> 12) * 2654435761u + ((uintptr_t)at & 0xfff);
}

uint32_t touched(const char *at)
{
	return (uintptr_t)at % (PAGE / 2) ? 0 : word(at);
}

void touch(char *start, size_t bytes)
{
	for (size_t i = 0; i < bytes; i += PAGE) {
		*(volatile uint32_t *)(start + i) = word(start + i);
		*(volatile uint32_t *)(start + i + PAGE / 2) = word(start + i + PAGE / 2);
	}
}

/*
 * So far away is the next page that is touched, round and round. A prime, so that all pages are
 * reached, and so that frames are no rows again when they are given out a second time.
 */
#define SCATTER 1103

void populate(char *start, size_t bytes, enum pages pages)
{
	const size_t npages = bytes / PAGE;

	if (pages != SCATTERED) {
		touch(start, bytes);
		return;
	}
	for (size_t i = 0; i < npages; i++)
		touch(start + i * SCATTER % npages * PAGE, PAGE);
}

bool is_as_touched(const char *start, size_t bytes)
{
	for (size_t i = 0; i < bytes; i += sizeof(uint32_t))
		if (*(const uint32_t *)(start + i) != touched(start + i))
			return false;
	return true;
}

void set_up(struct side *side, enum pages pages, size_t chunk)
{
	const struct plain_vm_create create = {
		.start = (uintptr_t)AREA,
		.bytes = AREA_BYTES,
		.chunk = chunk,
	};
	struct plain_work warm = { .start = (uintptr_t)AREA, .bytes = PAGE, .flags = PLAIN_WRITE };

	if (mmap(AREA, AREA_BYTES, PROT_READ | PROT_WRITE,
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0) != AREA)
		die("mmap", strerror(errno));
	if (madvise(AREA, AREA_BYTES, pages == HUGE ? MADV_HUGEPAGE : MADV_NOHUGEPAGE))
		die("madvise", strerror(errno));
	ioctl_on(side, PLAIN_VM_CREATE, (void *)&create);
	touch(AREA, PAGE);
	ioctl_on(side, PLAIN_FAULT, &warm);
	if (warm.error)
		die("the first fault", strerror(warm.error));
}

void tear_down(struct side *side)
{
	munmap(AREA, AREA_BYTES);
	/* A library may release what was in VRAM some time after its last page was freed. */
	for (int tries = 0; look_at(side, AREA, PAGE).used; tries++) {
		if (tries == 5000)
			die(side->path, "VRAM stays in use");
		usleep(1000);
	}
	ioctl_on(side, PLAIN_VM_DESTROY, NULL);
}

/* Time ----------------------------------------------------------------------------------- */

uint64_t now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return time.tv_sec * 1000000000ull + time.tv_nsec;
}

uint64_t begin_time(void)
{
	uint64_t began = now();

	plain_mark_begin();
	return began;
}

uint64_t end_time(uint64_t began)
{
	plain_mark_end();
	sections++;
	return now() - began;
}

/* Results -------------------------------------------------------------------------------- */

static void begin_result(struct side *side, const char *workload, size_t size, const char *type)
{
	fprintf(out, "%s\n{\"run_name\": \"%s/%s/%zu\", \"run_type\": \"%s\", \"section\": %lu",
		first_result ? "" : ",", workload, side->name, size, type,
		(unsigned long)sections);
	first_result = false;
}

void report(struct side *side, const char *workload, size_t size, double ns, double items)
{
	if (counting)
		return;
	begin_result(side, workload, size, "iteration");
	fprintf(out, ", \"cost\": %.2f}", ns / items);
}

void report_work(struct side *side, const char *workload, size_t size,
		 const struct plain_work *work, double items)
{
	if (work->error || !items) {
		report_failure(side, workload, size, work->error);
		return;
	}
	report(side, workload, size, work->ns, items);
	if (!counting)
		return;
	begin_result(side, workload, size, "count");
	fprintf(out, ", \"allocs\": %.4f, \"bytes\": %.2f}", work->allocs / items,
		work->alloc_bytes / items);
}

void report_failure(struct side *side, const char *workload, size_t size, int error)
{
	begin_result(side, workload, size, "failure");
	fprintf(out, ", \"error\": \"%s\"}", strerrorname_np(error) ?: "error");
}

void report_moved(struct side *side, const char *workload, size_t size, size_t moved, size_t of)
{
	begin_result(side, workload, size, "moved");
	fprintf(out, ", \"moved\": %zu, \"of\": %zu}", moved, of);
}

void report_copied(struct side *side, const char *workload, size_t size, size_t copied, size_t of)
{
	begin_result(side, workload, size, "copied");
	fprintf(out, ", \"copied\": %zu, \"of\": %zu}", copied, of);
}

/* How many instructions a nanosecond of the clock is, if it counts them at all. */
static double instructions_a_tick(void)
{
	const unsigned long count = 5000000;
	unsigned long left = count;
	uint64_t began = now();

	/* Two instructions, of which an emulator sees both. */
	__asm__ volatile("1: dec %0\n\tjnz 1b" : "+r"(left) : : "cc");
	return 2.0 * count / (now() - began);
}

static void print_clock(void)
{
	char source[32] = "";
	FILE *file = fopen("/sys/devices/system/clocksource/clocksource0/current_clocksource", "r");

	if (!file || !fgets(source, sizeof(source), file))
		source[0] = 0;
	source[strcspn(source, "\n")] = 0;
	if (file)
		fclose(file);
	fprintf(out, "\"clock\": \"%s\", \"instructions_a_tick\": %.4f, \"cpus\": %ld", source,
		instructions_a_tick(), sysconf(_SC_NPROCESSORS_ONLN));
}

/* Rounds --------------------------------------------------------------------------------- */

static const struct workload *const workloads[] = {
	svm_workloads,
	migrate_workloads,
	va_workloads,
	worker_workloads,
	whole_workloads,
	scattered_workloads,
	scattered_moves,
};

static bool is_possible(const struct workload *workload, unsigned int round)
{
	return !(counting && workload->only_timed) &&
	       !(workload->large && round >= large_rounds) &&
	       workload->cpus <= sysconf(_SC_NPROCESSORS_ONLN);
}

static void on_sides(const struct workload *workload, unsigned int round)
{
	for (size_t k = 0; k < num_sides; k++) {
		struct side *side = &sides[(round + k) % num_sides];

		if (workload->extended || !side->extended)
			workload->run(side, workload);
	}
}

/* Each workload on all of its sides, before the next one. */
static void one_round(unsigned int round)
{
	for (size_t i = 0; i < ARRAY_SIZE(workloads); i++)
		for (const struct workload *workload = workloads[i]; workload->run; workload++)
			if (is_possible(workload, round))
				on_sides(workload, round);
}

static void open_sides(void)
{
	for (struct side *side = sides; side < sides + ARRAY_SIZE(sides); side++) {
		side->fd = open(side->path, O_RDWR);
		if (side->fd < 0 && side->extended && errno == ENOENT)
			return;
		if (side->fd < 0)
			die(side->path, strerror(errno));
		num_sides++;
	}
}

int main(int argc, char **argv)
{
	const unsigned int rounds = argc > 1 ? atoi(argv[1]) : 5;
	const char *path = argc > 2 ? argv[2] : "/out/compare.json";
	unsigned int bad;

	large_rounds = argc > 3 ? atoi(argv[3]) : 0;
	printf("KTAP version 1\n");
	open_sides();
	bad = check_sides(sides, num_sides);
	if (bad)
		return 1;

	out = fopen(path, "w");
	if (!out)
		die(path, strerror(errno));
	fprintf(out, "{\"context\": {");
	print_clock();
	fprintf(out, "},\n\"benchmarks\": [");
	for (unsigned int round = 0; round < rounds; round++) {
		one_round(round);
		printf("# round %u of %u is done\n", round + 1, rounds);
		fflush(stdout);
	}
	counting = true;
	one_round(0);
	fprintf(out, "\n]}\n");
	if (fclose(out))
		die(path, strerror(errno));
	return 0;
}
