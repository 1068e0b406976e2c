// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Before anything is measured: all sides end in the same state. And what only our library can do
 * is done.
 */
#include "compare.h"

#include <stdio.h>
#include <string.h>

/* What is to be the same. */
struct state {
	uint32_t error;
	uint64_t done;
	uint64_t ram;
	uint64_t vram;
	uint64_t writable;
	uint64_t used;
	uint64_t sum;
	bool data; /* is as the CPU has left it */
};

#define BYTES MIB(8)

static struct state state_of(struct side *side, uint32_t flags)
{
	struct plain_work work = { .start = (uintptr_t)SPAN, .bytes = BYTES, .flags = flags };
	struct state state;
	struct plain_look look;

	memset(&state, 0, sizeof(state));
	ioctl_on(side, PLAIN_FAULT, &work);
	look = look_at(side, SPAN, BYTES);
	state.error = work.error;
	state.done = work.done;
	state.ram = look.ram;
	state.vram = look.vram;
	state.writable = look.writable;
	state.used = look.used;
	state.sum = look.sum;
	return state;
}

static void prefetch(struct side *side)
{
	struct plain_work work = {
		.start = (uintptr_t)SPAN,
		.bytes = BYTES,
		.step = MIB(2),
	};

	ioctl_on(side, PLAIN_PREFETCH, &work);
}

static struct state mapped(struct side *side)
{
	return state_of(side, PLAIN_WRITE);
}

static struct state mapped_for_reading(struct side *side)
{
	return state_of(side, 0);
}

static struct state moved(struct side *side)
{
	prefetch(side);
	return state_of(side, PLAIN_WRITE);
}

static struct state moved_by_fault(struct side *side)
{
	return state_of(side, PLAIN_WRITE | PLAIN_DEVMEM);
}

static struct state evicted(struct side *side)
{
	struct plain_work evict = {};
	struct state state;

	prefetch(side);
	ioctl_on(side, PLAIN_EVICT, &evict);
	state = state_of(side, PLAIN_WRITE);
	state.error = state.error ? state.error : evict.error;
	return state;
}

static struct state returned(struct side *side)
{
	prefetch(side);
	touch(SPAN, BYTES);
	return state_of(side, PLAIN_WRITE);
}

static const struct check {
	const char *name;
	struct state (*run)(struct side *side);
	enum pages pages;
	size_t chunk;
	bool vram; /* where it has to be in the end */
} checks[] = {
	{ "mapped in 4 KiB", mapped, SMALL, KIB(4), false },
	{ "mapped in 2 MiB", mapped, SMALL, MIB(2), false },
	{ "huge pages mapped", mapped, HUGE, MIB(2), false },
	{ "mapped for reading", mapped_for_reading, SMALL, MIB(2), false },
	{ "moved by prefetch", moved, SMALL, MIB(2), true },
	{ "huge pages moved by prefetch", moved, HUGE, MIB(2), true },
	{ "moved by a fault", moved_by_fault, SMALL, MIB(2), true },
	{ "evicted", evicted, SMALL, MIB(2), false },
	{ "huge pages evicted", evicted, HUGE, MIB(2), false },
	{ "returned by the CPU", returned, SMALL, MIB(2), false },
	{ "huge pages returned by the CPU", returned, HUGE, MIB(2), false },
};

static struct state run(const struct check *check, struct side *side)
{
	struct state state;

	set_up(side, check->pages, check->chunk);
	touch(SPAN, BYTES);
	state = check->run(side);
	state.data = is_as_touched(SPAN, BYTES);
	tear_down(side);
	return state;
}

static void print_state(const struct side *side, const struct state *state)
{
	printf("# %s: error %u, %llu faults, ", side->name, state->error,
	       (unsigned long long)state->done);
	printf("%llu pages in RAM, %llu in VRAM, %llu writable, %llu of VRAM in use, ",
	       (unsigned long long)state->ram, (unsigned long long)state->vram,
	       (unsigned long long)state->writable, (unsigned long long)state->used);
	printf("data %llx %s\n", (unsigned long long)state->sum, state->data ? "right" : "wrong");
}

/* One of the checks on all sides: they do as the first one, and that does what it has to. */
static bool are_alike(const struct check *check, struct side *sides, size_t count)
{
	struct state first = run(check, &sides[0]);
	bool good = !first.error && first.data &&
		    (check->vram ? first.vram : first.ram) == BYTES / PAGE;

	print_state(&sides[0], &first);
	for (size_t k = 1; k < count; k++) {
		struct state state = run(check, &sides[k]);

		print_state(&sides[k], &state);
		good &= !memcmp(&state, &first, sizeof(state));
	}
	return good;
}

/* Mainline's contract is all or nothing, so this is for the side that does more. */
static bool all_move_but_the_pinned(struct side *side)
{
	struct state state;

	set_up(side, SMALL, MIB(2));
	touch(SPAN, BYTES);
	pin_pages(side, BYTES, MIB(2));
	prefetch(side);
	state = state_of(side, PLAIN_WRITE);
	state.data = is_as_touched(SPAN, BYTES);
	print_state(side, &state);
	tear_down(side);
	return !state.error && state.data && state.vram == MOVE_IF_PINNED(BYTES);
}

unsigned int check_sides(struct side *sides, size_t count)
{
	const struct side *last = &sides[count - 1];
	unsigned int bad = 0;
	bool good;

	printf("1..%zu\n", ARRAY_SIZE(checks) + last->extended);
	for (size_t i = 0; i < ARRAY_SIZE(checks); i++) {
		good = are_alike(&checks[i], sides, count);
		printf("%sok %zu %s, on all sides alike\n", good ? "" : "not ", i + 1,
		       checks[i].name);
		bad += !good;
	}
	if (last->extended) {
		good = all_move_but_the_pinned(&sides[count - 1]);
		printf("%sok %zu around one pinned page in every 2 MiB all others move\n",
		       good ? "" : "not ", ARRAY_SIZE(checks) + 1);
		bad += !good;
	}
	fflush(stdout);
	return bad;
}
