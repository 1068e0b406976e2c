/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * What the VA managers are made to do. va_work.c is compiled against the kernel's drm/drm_gpuvm.h,
 * against ours, and against one over the kernel's maple tree; this is how C++ sees them.
 */
#ifndef BENCH_HOST_VA_WORK_H
#define BENCH_HOST_VA_WORK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/*
 * Mappings of 4 KiB to 2 MiB, uniform in the exponent, each second one with a hole behind it. They
 * are made in random order, so that neighbours in the space are none in memory; or, in order,
 * of 64 KiB each and without holes, as a driver for sparse resources has them.
 */
enum va_shape {
	VA_RANDOM,
	VA_SPARSE,
};

struct va_world; /* a space with mappings in it */

struct va_side {
	const char *name;
	/* What of a mapping's own struct is the index's. */
	size_t index_bytes;
	/* @count mappings that are out, and room for @spare more. */
	struct va_world *(*create)(size_t count, size_t spare, enum va_shape shape, uint64_t seed);
	void (*destroy)(struct va_world *world);
	/* Depends on each mapping's place. */
	uint64_t (*fingerprint)(const struct va_world *world);

	/*
	 * Each does @count of these, and returns something that depends on all of them. What
	 * is looked for depends on what was found, so that no two overlap in time.
	 */
	uint64_t (*touch)(struct va_world *world, size_t count); /* looks at one that is known */
	uint64_t (*find)(struct va_world *world, size_t count);
	uint64_t (*find_read)(struct va_world *world,
			      size_t count); /* and looks at what it found */
	uint64_t (*find_hole)(struct va_world *world, size_t count);
	uint64_t (*find_ascending)(struct va_world *world, size_t count);
	uint64_t (*walk)(struct va_world *world, size_t count); /* steps from one to the next */

	/*
	 * Puts up to so many in, of those that take_out() has prepared to come; chooses so many,
	 * at random places, to go next, when all are in that are to be; takes up to so many of these
	 * out; chooses, takes out, and prepares as many to come. Each returns how many it were.
	 *
	 * Who comes is who was out longest, and whose place nobody has looked at for long, therefore.
	 * Its object is the one that was given back last, as from the kernel's allocator, and as
	 * one that a driver has just set up is near.
	 */
	uint64_t (*insert)(struct va_world *world, size_t count);
	uint64_t (*choose)(struct va_world *world, size_t count);
	uint64_t (*remove)(struct va_world *world, size_t count);
	uint64_t (*take_out)(struct va_world *world, size_t count);
	/* So many, about, are out from now on when a batch is over. */
	void (*stay_out)(struct va_world *world, size_t count);

	/* Maps over what is there: in random places and sizes, or 64 KiB in ascending order. */
	uint64_t (*replace)(struct va_world *world, size_t count);
	uint64_t (*replace_ascending)(struct va_world *world, size_t count);
	/* The same for a driver that wants all of a request at once, if the library can do that. */
	uint64_t (*replace_whole)(struct va_world *world, size_t count);
	uint64_t (*replace_whole_ascending)(struct va_world *world, size_t count);
	/* The same as lists of ops, of requests that split a mapping; nothing is changed. */
	uint64_t (*split_list)(struct va_world *world, size_t count);
};

/* The last one only looks, walks, puts in and takes out. */
extern const struct va_side va_kernels, va_ours, va_maple;

#ifdef __cplusplus
}
#endif

#endif /* BENCH_HOST_VA_WORK_H */
