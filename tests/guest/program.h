/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/* Programs of the GPU that run while the case goes on, each in a thread of its own. */
#ifndef TESTS_GUEST_PROGRAM_H
#define TESTS_GUEST_PROGRAM_H

#include <pthread.h>

#include "stub.h"

struct program {
	struct gpu gpu; /* a copy, with the faults of this program */
	pthread_t thread;
	bool reads; /* a checksum, not a fill */
	void *memory;
	size_t size;
	__u32 value;
	__u64 sum; /* what was read */
	int err;
	bool ended;
};

void start_fill(struct program *program, const struct gpu *gpu, void *memory, __u32 value,
		size_t size);
void start_checksum(struct program *program, const struct gpu *gpu, void *memory, size_t size);
bool has_ended(const struct program *program);
/* Waits for the end, and returns how it went. */
int finish(struct program *program);

#endif /* TESTS_GUEST_PROGRAM_H */
