/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/* Memory for the tests, what has to be in it, and where it has to be. */
#ifndef TESTS_GUEST_MEMORY_H
#define TESTS_GUEST_MEMORY_H

#include "ktap.h"
#include "stub.h"

#define PAGE ((size_t)4096)
#define WORDS_PER_PAGE (PAGE / 4)
#define HUGE_PAGE MIB(2)

#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25
#endif

/*
 * Many cases run twice: on pages that stay in RAM and on pages that go to VRAM.
 * The argument of such a case points to one of these.
 */
extern const bool ram, vram;

#define IN_RAM(title, function) { "ram: " title, function, &ram }
#define IN_VRAM(title, function) { "vram: " title, function, &vram }

/* A VM that moves memory on a fault, if the variant of the case is "vram". */
void open_vm(struct gpu *gpu, const void *variant);

void *map_at(void *address, size_t size, int prot, int flags, int fd);
/* Anonymous memory, aligned so that a huge page fits. */
__u32 *map(size_t size);
/* The same in small pages. */
__u32 *map_small(size_t size);

/*
 * Lets go of pages of files that nobody uses. Also has pages leave the lists of each CPU where they
 * wait for a while after they were made or have moved: neither reclaim nor migration takes them
 * from there.
 */
void drop_page_cache(void);

/* What VM_STATS says. */
struct drm_svm_stub_vm_stats stats_of(struct gpu *gpu);
/* How many pages the GPU's page table maps, or maps for writing. */
unsigned int pages_mapped(struct gpu *gpu, const void *start, size_t size);
unsigned int pages_writable(struct gpu *gpu, const void *start, size_t size);

/* Words of @memory from the one at @first on, of which @seed makes the data. */
void write_pattern(__u32 *memory, size_t size, __u32 seed);
void check_pattern(const char *file, int line, const __u32 *memory, size_t first, size_t size,
		   __u32 seed);
void check_words(const char *file, int line, const __u32 *memory, size_t size, __u32 value);

/* A file without a name in the directory, with @seed's words. */
int open_pattern_file(const char *directory, size_t size, __u32 seed);

/* What the GPU reads: the CPU does not touch the memory, which stays where it is. */
void check_gpu_reads(const char *file, int line, struct gpu *gpu, const __u32 *memory,
		     size_t size, __u32 seed);
void check_gpu_sum(const char *file, int line, struct gpu *gpu, const void *memory, size_t size,
		   __u64 expected);

/* A variant means memory that is in RAM or in VRAM, so cases make sure of it. */
void check_place(const char *file, int line, struct gpu *gpu, const void *variant,
		 const void *start, size_t size);

#define expect_pattern(memory, size, seed) \
	check_pattern(__FILE__, __LINE__, memory, 0, size, seed)
#define expect_pattern_from(...) check_pattern(__FILE__, __LINE__, __VA_ARGS__)
#define expect_words(...) check_words(__FILE__, __LINE__, __VA_ARGS__)
#define expect_gpu_reads(...) check_gpu_reads(__FILE__, __LINE__, __VA_ARGS__)
#define expect_gpu_sum(...) check_gpu_sum(__FILE__, __LINE__, __VA_ARGS__)
#define expect_place(...) check_place(__FILE__, __LINE__, __VA_ARGS__)

#endif /* TESTS_GUEST_MEMORY_H */
