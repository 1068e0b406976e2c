/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/* What the demo has seen, and the figure that it makes of it. */
#ifndef TESTS_GUEST_DEMO_H
#define TESTS_GUEST_DEMO_H

#include "stub.h"

#define MAX_ARRAYS 3

/* Where the blocks of the demo's memory were at one moment. */
struct snapshot {
	struct drm_svm_stub_block *blocks;
	struct drm_svm_stub_block sum;
};

struct step {
	char title[64];
	struct snapshot before;
	struct snapshot after;
	double ms;
	/* What happened meanwhile. */
	__u64 faults;
	__u64 to_vram;
	__u64 to_ram;
};

struct story {
	size_t page_size;
	size_t block_size;
	size_t num_blocks;
	size_t bytes; /* that malloc() was asked for */
	bool migrates;
	/* The arrays begin at these positions, measured in blocks. */
	double array[MAX_ARRAYS + 1];
	struct step *steps;
	size_t num_steps;
};

/* Writes the figure to @path; returns 0 or a negative errno. */
int write_svg(const struct story *story, const char *path);

#endif /* TESTS_GUEST_DEMO_H */
