/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * What the libraries for shared virtual memory are made to do. svm_work.c is compiled twice,
 * against the kernel's drm/drm_gpusvm.h and against ours; this is how svm_main.cc sees both.
 */
#ifndef BENCH_HOST_SVM_WORK_H
#define BENCH_HOST_SVM_WORK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* A mirror of ranges side by side, in windows of 512 MiB, made in random order. */
struct svm_world;

struct svm_side {
	const char *name;
	/* Ranges of 2 MiB or 64 KiB; drivers' chunks are 2 MiB, 64 KiB and 4 KiB. */
	struct svm_world *(*create)(size_t count, size_t range_size, uint64_t seed);
	void (*destroy)(struct svm_world *world);
	/* Depends on each window and each range. */
	uint64_t (*fingerprint)(struct svm_world *world);

	/*
	 * Each does @count of these, and returns something that depends on all of them. What
	 * is looked for depends on what was found, so that no two overlap in time.
	 */
	uint64_t (*touch)(struct svm_world *world, size_t count); /* looks at one that is known */
	uint64_t (*find)(struct svm_world *world, size_t count);  /* the window, then the range */
	uint64_t (*find_ascending)(struct svm_world *world, size_t count); /* in 8 streams */
	uint64_t (*fault)(struct svm_world *world, size_t count); /* where there is a range */

	/* Takes so many out, at random places, and makes them again in another order. */
	uint64_t (*remove)(struct svm_world *world, size_t count);
	uint64_t (*insert)(struct svm_world *world, size_t count);
};

extern const struct svm_side svm_kernels, svm_ours;

#ifdef __cplusplus
}
#endif

#endif /* BENCH_HOST_SVM_WORK_H */
