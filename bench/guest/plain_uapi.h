/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * What the plain driver does for compare.c. There are three devices, /dev/drm_svm_plain and
 * /dev/drm_svm_plain_kernel, which are one driver over two libraries, and
 * /dev/drm_svm_plain_extended, which is one with what only ours can do.
 */
#ifndef BENCH_GUEST_PLAIN_UAPI_H
#define BENCH_GUEST_PLAIN_UAPI_H

#include <linux/ioctl.h>
#include <linux/types.h>

/**
 * struct plain_vm_create - A VM of the caller's memory; the file's last one goes before
 * @start: first byte that the GPU may see
 * @bytes: how many; all in one naturally aligned 512 MiB
 * @chunk: the largest range: 4 KiB, 64 KiB or 2 MiB
 */
struct plain_vm_create {
	__u64 start;
	__u64 bytes;
	__u64 chunk;
};

/* For @flags. */
#define PLAIN_WRITE	(1u << 0) /* the GPU writes */
#define PLAIN_DEVMEM	(1u << 1) /* data moves to VRAM at a fault */
#define PLAIN_COUNT	(1u << 2) /* counts allocations; what the clock says is of no use then */

/**
 * struct plain_work - Something to be done to a span, and what it took
 * @start: first byte; for a PLAIN_VA_* that looks at random, the seed
 * @bytes: how many; for PLAIN_VA_*, how many requests
 * @step: bytes to a call of the library, for PLAIN_PREFETCH; 0: all of them
 * @flags: PLAIN_*
 * @error: out, a positive errno: some of it could not be done
 * @ns: out, time in the loop that did it
 * @copy_ns: out, of this in the copy routine
 * @done: out, faults or requests served
 * @copied: out, pages that the copy routine has copied or cleared
 * @allocs: out, if they were counted: calls of the slab allocators, ...
 * @alloc_bytes: out, ... and what these have taken
 */
struct plain_work {
	__u64 start;
	__u64 bytes;
	__u64 step;
	__u32 flags;
	__u32 error;
	__u64 ns;
	__u64 copy_ns;
	__u64 done;
	__u64 copied;
	__u64 allocs;
	__u64 alloc_bytes;
};

/* What the GPU does in a &struct plain_run. */
enum plain_program {
	PLAIN_SAXPY, /* adds @factor times the words at @x to those at @y */
	PLAIN_CHASE, /* @factor times: adds 1 to a page's second word, goes where the first says */
};

/**
 * struct plain_run - A program of the GPU's, and how it went
 * @program: what it does
 * @flags: PLAIN_DEVMEM
 * @factor: of PLAIN_SAXPY; of PLAIN_CHASE, steps
 * @error: out, a positive errno: it has not been done to the end
 * @x: first byte of memory
 * @y: first byte of other memory
 * @bytes: of each
 * @at: of PLAIN_CHASE, in and out, the page that is next, counted from @x
 * @ns: out, time it took
 * @worst_ns: out, of this in the longest fault
 * @faults: out, how many
 */
struct plain_run {
	__u32 program;
	__u32 flags;
	__u32 factor;
	__u32 error;
	__u64 x;
	__u64 y;
	__u64 bytes;
	__u64 at;
	__u64 ns;
	__u64 worst_ns;
	__u64 faults;
};

/**
 * struct plain_look - What the GPU has in its page table
 * @start: first byte
 * @bytes: how many
 * @ram: out, pages in RAM
 * @vram: out, pages in VRAM
 * @writable: out, pages that it may write
 * @used: out, pages of VRAM in use by whom ever
 * @sum: out, depends on every byte of every page that it sees, and on where it is
 */
struct plain_look {
	__u64 start;
	__u64 bytes;
	__u64 ram;
	__u64 vram;
	__u64 writable;
	__u64 used;
	__u64 sum;
};

/**
 * struct plain_copies - What the copy routine has done so far
 * @ns: time in it
 * @pages: how many pages
 * @calls: how often it was called
 */
struct plain_copies {
	__u64 ns;
	__u64 pages;
	__u64 calls;
};

/**
 * struct plain_va - A space of the GPU VA manager; the file's last one goes before
 * @mappings: how many it gets, of 64 KiB each, one behind the other
 */
struct plain_va {
	__u64 mappings;
};

#define PLAIN_VM_CREATE	_IOW('P', 0, struct plain_vm_create)
#define PLAIN_VM_DESTROY _IO('P', 1)
#define PLAIN_FAULT	_IOWR('P', 2, struct plain_work)
#define PLAIN_PREFETCH	_IOWR('P', 3, struct plain_work)
#define PLAIN_EVICT	_IOWR('P', 4, struct plain_work) /* all VRAM; no span */
#define PLAIN_LOOK	_IOWR('P', 5, struct plain_look)
#define PLAIN_COPIES	_IOR('P', 6, struct plain_copies)
#define PLAIN_PIN	_IOW('P', 7, __u64) /* the page there, until the VM goes */
#define PLAIN_VA_CREATE	_IOW('P', 8, struct plain_va)
#define PLAIN_VA_DESTROY _IO('P', 9)
#define PLAIN_VA_FIND	_IOWR('P', 10, struct plain_work)    /* the mapping at an address */
#define PLAIN_VA_SPLIT	_IOWR('P', 11, struct plain_work)    /* op list, cut in the middle */
#define PLAIN_VA_COVER	_IOWR('P', 12, struct plain_work)    /* op list, over four mappings */
#define PLAIN_VA_REPLACE _IOWR('P', 13, struct plain_work)   /* callbacks, one for one */
#define PLAIN_VA_UNMAP_MAP _IOWR('P', 14, struct plain_work) /* callbacks, out and in again */
#define PLAIN_VA_CUT_HEAL _IOWR('P', 15, struct plain_work)  /* callbacks, cut in the middle */
#define PLAIN_RUN	_IOWR('P', 16, struct plain_run)
#define PLAIN_LIMIT	_IOW('P', 17, __u64) /* the device's VRAM has so many pages; 0: all */

/*
 * Around what is measured, for profile_plugin.c: instructions that do nothing, and that no
 * compiler makes.
 */
#define PLAIN_MARK_SIZE 3
#define PLAIN_MARK_BEGIN_BYTES "\x66\x87\xdb" /* xchg %bx, %bx */
#define PLAIN_MARK_END_BYTES "\x66\x87\xd2"	/* xchg %dx, %dx */

static inline void plain_mark_begin(void)
{
	__asm__ volatile(".byte 0x66, 0x87, 0xdb" : : : "memory");
}

static inline void plain_mark_end(void)
{
	__asm__ volatile(".byte 0x66, 0x87, 0xd2" : : : "memory");
}

#endif /* BENCH_GUEST_PLAIN_UAPI_H */
