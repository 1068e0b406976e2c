/* SPDX-License-Identifier: (GPL-2.0-only WITH Linux-syscall-note) OR MIT */
/*
 * The stub device's ioctls, on its render node.
 *
 * Rules for all of them: unknown flag bits and padding that is not zero are
 * -EINVAL; addresses and lengths are in bytes; a pointer that cannot be read
 * or written is -EFAULT; an unknown or closed VM is -ENOENT. An ioctl that
 * fails has changed nothing, unless it says otherwise, and unless what failed
 * was to hand out what it has done: results go where the arguments came from.
 *
 * A VM is the memory of the process that made it, at the addresses that it has
 * there: the mirror. Above that lies the bind window, where VM_BIND puts buffer
 * objects, and memory of the process under other addresses. Programs can use both
 * at once.
 *
 * A VM's file may come into other hands (fork(), SCM_RIGHTS), the VM does not:
 * EXEC, MIGRATE, RESIDENCY and VM_BIND of another process are -EACCES. Buffer
 * objects are the file's.
 *
 * A device that is taken away (unbound from its driver, or unplugged) brings all
 * memory back that was in its VRAM; every ioctl is -ENODEV from then on.
 *
 * -EINTR: the caller is being killed; or, at the first use of a VM's memory, a
 * signal came.
 */
#ifndef _DRM_SVM_STUB_H_
#define _DRM_SVM_STUB_H_

#include <drm/drm.h>

#if defined(__cplusplus)
extern "C" {
#endif

/* Raised when something is added; nothing is ever changed or taken away. */
#define DRM_SVM_STUB_UAPI_VERSION 6

#define DRM_SVM_STUB_INFO 0x00
#define DRM_SVM_STUB_VM_CREATE 0x01
#define DRM_SVM_STUB_VM_DESTROY 0x02
#define DRM_SVM_STUB_EXEC 0x03
#define DRM_SVM_STUB_MIGRATE 0x04
#define DRM_SVM_STUB_RESIDENCY 0x05
#define DRM_SVM_STUB_VM_STATS 0x06
/* Since version 2. */
#define DRM_SVM_STUB_BO_CREATE 0x07
#define DRM_SVM_STUB_BO_MMAP_OFFSET 0x08
#define DRM_SVM_STUB_VM_BIND 0x09
/* Since version 4. */
#define DRM_SVM_STUB_HOLD 0x0a
/* Since version 5. */
#define DRM_SVM_STUB_DEVICE_STATS 0x0b

#define DRM_IOCTL_SVM_STUB_INFO \
	DRM_IOWR(DRM_COMMAND_BASE + DRM_SVM_STUB_INFO, struct drm_svm_stub_info)
#define DRM_IOCTL_SVM_STUB_VM_CREATE \
	DRM_IOWR(DRM_COMMAND_BASE + DRM_SVM_STUB_VM_CREATE, struct drm_svm_stub_vm_create)
#define DRM_IOCTL_SVM_STUB_VM_DESTROY \
	DRM_IOW(DRM_COMMAND_BASE + DRM_SVM_STUB_VM_DESTROY, struct drm_svm_stub_vm_destroy)
#define DRM_IOCTL_SVM_STUB_EXEC \
	DRM_IOWR(DRM_COMMAND_BASE + DRM_SVM_STUB_EXEC, struct drm_svm_stub_exec)
#define DRM_IOCTL_SVM_STUB_MIGRATE \
	DRM_IOWR(DRM_COMMAND_BASE + DRM_SVM_STUB_MIGRATE, struct drm_svm_stub_migrate)
#define DRM_IOCTL_SVM_STUB_RESIDENCY \
	DRM_IOW(DRM_COMMAND_BASE + DRM_SVM_STUB_RESIDENCY, struct drm_svm_stub_residency)
#define DRM_IOCTL_SVM_STUB_VM_STATS \
	DRM_IOWR(DRM_COMMAND_BASE + DRM_SVM_STUB_VM_STATS, struct drm_svm_stub_vm_stats)
#define DRM_IOCTL_SVM_STUB_BO_CREATE \
	DRM_IOWR(DRM_COMMAND_BASE + DRM_SVM_STUB_BO_CREATE, struct drm_svm_stub_bo_create)
#define DRM_IOCTL_SVM_STUB_BO_MMAP_OFFSET \
	DRM_IOWR(DRM_COMMAND_BASE + DRM_SVM_STUB_BO_MMAP_OFFSET, struct drm_svm_stub_bo_mmap_offset)
#define DRM_IOCTL_SVM_STUB_VM_BIND \
	DRM_IOW(DRM_COMMAND_BASE + DRM_SVM_STUB_VM_BIND, struct drm_svm_stub_vm_bind)
#define DRM_IOCTL_SVM_STUB_HOLD \
	DRM_IOWR(DRM_COMMAND_BASE + DRM_SVM_STUB_HOLD, struct drm_svm_stub_hold)
#define DRM_IOCTL_SVM_STUB_DEVICE_STATS \
	DRM_IOWR(DRM_COMMAND_BASE + DRM_SVM_STUB_DEVICE_STATS, struct drm_svm_stub_device_stats)

/* The device can move memory to its VRAM. */
#define DRM_SVM_STUB_CAP_MIGRATE (1 << 0)
/*
 * It reaches the VRAM of the other stub devices with this, and memory goes from
 * one to the other without a stop in RAM; since version 5.
 */
#define DRM_SVM_STUB_CAP_PEER (1 << 1)
/* A huge page moves as one; since version 5. */
#define DRM_SVM_STUB_CAP_HUGE (1 << 2)

/**
 * struct drm_svm_stub_info - What the device is
 * @flags: in, must be zero
 * @uapi_version: out, DRM_SVM_STUB_UAPI_VERSION of the driver
 * @capabilities: out, DRM_SVM_STUB_CAP_*
 * @page_size: out, bytes in a page of the GPU
 * @vram_size: out, bytes
 * @vram_free: out, bytes
 * @va_start: out, lowest address of the mirror
 * @va_end: out, first address behind it
 * @bind_start: out, lowest address of the bind window, since version 2
 * @bind_end: out, first address behind it, since version 2
 * @index: out, number of the device among those of the driver, since version 5
 * @pad: out, zero
 */
struct drm_svm_stub_info {
	__u32 flags;
	__u32 uapi_version;
	__u32 capabilities;
	__u32 page_size;
	__u64 vram_size;
	__u64 vram_free;
	__u64 va_start;
	__u64 va_end;
	__u64 bind_start;
	__u64 bind_end;
	__u32 index;
	__u32 pad;
};

/* GPU faults move the memory to VRAM where that is possible. */
#define DRM_SVM_STUB_VM_MIGRATE_ON_FAULT (1 << 0)
/*
 * The GPU cannot fault in the bind window. What the CPU has taken from a mapping of
 * DRM_SVM_STUB_BIND_USERPTR is put right before a program begins, and a program
 * that meets such a place is stopped until it is; since version 6.
 */
#define DRM_SVM_STUB_VM_NO_BIND_FAULTS (1 << 1)

/**
 * struct drm_svm_stub_vm_create - Mirrors the caller's address space
 * @flags: in, DRM_SVM_STUB_VM_*
 * @vm_id: out, not zero
 * @timeslice_ms: in, for so long CPUs leave alone what a GPU fault has moved to
 *	VRAM, up to 1000; since version 5, as what follows
 * @fault_granule: in, bytes that a CPU fault brings back to RAM, a power of two
 *	from a page to 2 MiB; zero: the default, 64 KiB or a huge page, and twice
 *	as much each time, up to 2 MiB, while a program goes on at its end
 *
 * -EINVAL: unknown flag, or a field out of bounds; -EOPNOTSUPP:
 * DRM_SVM_STUB_VM_MIGRATE_ON_FAULT on a device without DRM_SVM_STUB_CAP_MIGRATE;
 * -ENOMEM.
 */
struct drm_svm_stub_vm_create {
	__u32 flags;
	__u32 vm_id;
	__u32 timeslice_ms;
	__u32 fault_granule;
};

/**
 * struct drm_svm_stub_vm_destroy - Ends a VM
 * @vm_id: in
 * @pad: in, must be zero
 *
 * Waits for its programs; a caller that is killed leaves at once. Memory in
 * VRAM comes back to RAM when the CPU touches it, or is freed with the process.
 * An asynchronous VM_BIND that has not come to its end yet does not come to it:
 * its out_syncs signal with the error -ECANCELED, whatever its in_syncs do; and programs that
 * run on find nothing in the bind window.
 * Closing the file does the same, but for programs of callers that were
 * killed: they end by themselves.
 * -EINVAL, -ENOENT.
 */
struct drm_svm_stub_vm_destroy {
	__u32 vm_id;
	__u32 pad;
};

/* Fills @dst with the 32-bit word @value. */
#define DRM_SVM_STUB_OP_FILL 0
/* Copies @src0 to @dst. */
#define DRM_SVM_STUB_OP_COPY 1
/* Adds the 32-bit words of @src0 and @src1 into @dst. */
#define DRM_SVM_STUB_OP_ADD 2
/* Sums up the 32-bit words of @src0 in @result. */
#define DRM_SVM_STUB_OP_CHECKSUM 3

/**
 * struct drm_svm_stub_exec - Runs a program on the GPU
 * @vm_id: in
 * @op: in, DRM_SVM_STUB_OP_*
 * @flags: in, must be zero
 * @value: in, for DRM_SVM_STUB_OP_FILL, else zero
 * @dst: in, address that the program writes to; zero if the op has none
 * @src0: in, address of the first operand; zero if the op has none
 * @src1: in, address of the second operand; zero if the op has none
 * @size: in, bytes of each operand
 * @result: out, if all went well: 64-bit sum, for DRM_SVM_STUB_OP_CHECKSUM
 * @faults: out, if all went well: GPU page faults that were served; a stop of
 *	DRM_SVM_STUB_VM_NO_BIND_FAULTS is none
 * @pad: in, must be zero
 *
 * Addresses are plain pointers of the process, or lie in the bind window. They
 * and @size are multiples of 4. @dst may be the same as a source, but not
 * overlap it otherwise.
 * Returns when the program has ended; a caller that is killed leaves at once
 * and the program is stopped.
 *
 * -EINVAL: unknown op or flag, size zero, not a multiple of 4, operand that
 * the op does not have; overlap; -ERANGE: an operand lies neither in the mirror
 * as a whole nor in the bind window; -ENOENT: no such VM; -EACCES: another
 * process's. What the GPU could not do: -EFAULT: no memory at an address, or no
 * memory that it can use there, which includes VRAM of another device that has gone;
 * -EPERM: write to read-only memory; -EBUSY: a page was taken away again and again;
 * -ENOMEM. The program has run up to the word that failed then. -EINTR. A file has
 * room for 16 programs at once; more wait.
 */
struct drm_svm_stub_exec {
	__u32 vm_id;
	__u32 op;
	__u32 flags;
	__u32 value;
	__u64 dst;
	__u64 src0;
	__u64 src1;
	__u64 size;
	__u64 result;
	__u32 faults;
	__u32 pad;
};

/* To RAM rather than to VRAM. */
#define DRM_SVM_STUB_MIGRATE_TO_RAM (1 << 0)
/*
 * Bring what is swapped out, or in VRAM that this device cannot read, to RAM
 * first; since version 5.
 */
#define DRM_SVM_STUB_MIGRATE_FAULT_IN (1 << 1)

/* What has become of a page; since version 5. Of drm/drm_svm_pagemap.h, in its order. */
#define DRM_SVM_STUB_MOVED 0
#define DRM_SVM_STUB_WAS_THERE 1
#define DRM_SVM_STUB_STAY_NOT_TRIED 2
#define DRM_SVM_STUB_STAY_NO_MEMORY_MAP 3
#define DRM_SVM_STUB_STAY_NOT_ANONYMOUS 4
#define DRM_SVM_STUB_STAY_SWAPPED 5
#define DRM_SVM_STUB_STAY_SWAP_CACHE 6
#define DRM_SVM_STUB_STAY_PINNED 7
#define DRM_SVM_STUB_STAY_LOCKED 8
#define DRM_SVM_STUB_STAY_WRITEBACK 9
#define DRM_SVM_STUB_STAY_LARGE_FOLIO 10
#define DRM_SVM_STUB_STAY_FOREIGN 11
#define DRM_SVM_STUB_STAY_NO_DEVICE_MEMORY 12
#define DRM_SVM_STUB_STAY_NO_DMA 13
#define DRM_SVM_STUB_STAY_BUSY 14
/* Room for more. */
#define DRM_SVM_STUB_STAYS 16

/**
 * struct drm_svm_stub_migrate - Moves memory now, before it is needed
 * @vm_id: in
 * @flags: in, DRM_SVM_STUB_MIGRATE_*
 * @start: in, address, a multiple of the page size
 * @size: in, bytes, a multiple of the page size
 * @timeslice_ms: in, to VRAM: for so long CPUs leave it there, up to 1000; since
 *	version 5, as what follows
 * @workers: in, to VRAM: threads that may share the work, up to 8; zero is one
 * @report: in, to VRAM: pointer to one byte for each page, which receives
 *	DRM_SVM_STUB_MOVED and so on; zero: none. At most 2^20 pages then.
 * @result: out, to VRAM: number of pages for each of these
 *
 * Holes in the span are passed over, and so is memory that the process itself
 * may not read: it stays where it is. To RAM, as with an access by the CPU,
 * memory beside the span may come along if it went to VRAM together with it.
 *
 * To VRAM that is full: memory that has been there for longer than the call, of
 * whichever process, goes back to RAM to make room.
 *
 * -EINVAL: unknown flag, not aligned, size zero, a field out of bounds, or one that
 * is not zero and for VRAM only; -ERANGE: overflows or is beyond the mirror;
 * -ENOENT: no such VM, or no memory at all in the span; -EACCES: another process's;
 * -EOPNOTSUPP: device without DRM_SVM_STUB_CAP_MIGRATE; -ENOSPC: to VRAM, which was
 * full, and no room could be made; -EBUSY: some page could not be moved; -ENOMEM;
 * -EINTR; -EFAULT: @report cannot be written to. With -ENOSPC and what follows, what
 * could be moved was; @result and @report say so.
 */
struct drm_svm_stub_migrate {
	__u32 vm_id;
	__u32 flags;
	__u64 start;
	__u64 size;
	__u32 timeslice_ms;
	__u32 workers;
	__u64 report;
	__u64 result[DRM_SVM_STUB_STAYS];
};

/**
 * struct drm_svm_stub_block - Where the pages of one block are
 * @none: pages not present, or that the process itself may not read
 * @system: pages in RAM
 * @device: pages in this device's VRAM
 * @gpu_mapped: pages that the GPU's page table maps; with
 *	DRM_SVM_STUB_RESIDENCY_GPU_WRITE only those that the GPU may write to
 */
struct drm_svm_stub_block {
	__u32 none;
	__u32 system;
	__u32 device;
	__u32 gpu_mapped;
};

/* Counts what the GPU may write to; since version 3. */
#define DRM_SVM_STUB_RESIDENCY_GPU_WRITE (1 << 0)
/*
 * @device is pages in VRAM of the other devices that this one reaches, and no
 * more of its own; since version 5.
 */
#define DRM_SVM_STUB_RESIDENCY_PEER (1 << 1)

/**
 * struct drm_svm_stub_residency - Where a span's pages are
 * @vm_id: in
 * @flags: in, DRM_SVM_STUB_RESIDENCY_*
 * @start: in, address, a multiple of the page size
 * @size: in, bytes, a multiple of the page size
 * @block_size: in, bytes, a multiple of the page size; the last block may be
 *	smaller
 * @blocks: in, pointer to an array of struct drm_svm_stub_block, which is
 *	written to
 * @num_blocks: in, its length; must be @size / @block_size, rounded up
 * @pad: in, must be zero
 *
 * A look, no promise. -EINVAL: unknown flag, not aligned, size or block size
 * zero, block size of 2^32 pages or more, another number of blocks, more than
 * 65536 of them; -ERANGE: overflows or is beyond the mirror;
 * -ENOENT: no such VM; -EACCES: another process's; -EFAULT; -ENOMEM; -EBUSY:
 * the address space changed too fast to see; -EINTR.
 */
struct drm_svm_stub_residency {
	__u32 vm_id;
	__u32 flags;
	__u64 start;
	__u64 size;
	__u64 block_size;
	__u64 blocks;
	__u32 num_blocks;
	__u32 pad;
};

/* Kinds of mmu notifier events. */
#define DRM_SVM_STUB_EVENT_UNMAP 0
#define DRM_SVM_STUB_EVENT_CLEAR 1
#define DRM_SVM_STUB_EVENT_PROTECTION_VMA 2
#define DRM_SVM_STUB_EVENT_PROTECTION_PAGE 3
#define DRM_SVM_STUB_EVENT_SOFT_DIRTY 4
#define DRM_SVM_STUB_EVENT_RELEASE 5
#define DRM_SVM_STUB_EVENT_MIGRATE 6
#define DRM_SVM_STUB_EVENT_EXCLUSIVE 7
/* All that a later kernel may have. */
#define DRM_SVM_STUB_EVENT_OTHER 8
#define DRM_SVM_STUB_EVENTS 9

/**
 * struct drm_svm_stub_vm_stats - What has happened in a VM
 * @vm_id: in
 * @flags: in, must be zero
 * @gpu_faults: out, GPU page faults served
 * @ranges: out, ranges that exist now
 * @invalidations: out, events that took pages from the GPU's page table
 * @pages_to_vram: out, pages of its address space copied or cleared into VRAM of
 *	its device since the VM was made
 * @pages_to_ram: out, likewise, pages copied from there back to RAM
 * @mappings: out, mappings in the bind window, those included that a VM_BIND is
 *	still to write; since version 2, as what follows
 * @binds: out, VM_BINDs that have taken effect, or will
 * @prefetched: out, mappings that their DRM_SVM_STUB_BIND_PREFETCH have found
 * @events: out, mmu notifier events that met a range whose memory was still
 *	there, whether or not the GPU's page table mapped it; by
 *	DRM_SVM_STUB_EVENT_*; since version 3
 * @ranges_made: out, ranges made so far, also as what is behind a part that was
 *	unmapped; since version 4, as what follows
 * @ranges_removed: out, ranges removed so far
 * @ranges_split: out, times that the process unmapped a part of a range in the
 *	middle of it, and two were left
 * @ranges_trimmed: out, times that it unmapped a part at an end, and one was left
 * @collections: out, times that pages of a range were collected and mapped for
 *	the device
 * @collection_retries: out, times that one of these had to begin again
 * @userptrs: out, MAPs with DRM_SVM_STUB_BIND_USERPTR of which something is left,
 *	those included that a VM_BIND is still to take away; since version 6, as what
 *	follows. Memory under them is known in pieces of up to 2 MiB
 * @userptr_invalidations: out, events that took pieces from them
 * @userptr_pieces_invalidated: out, pieces that these took
 * @userptr_collections: out, times that pages of a piece were collected
 * @userptr_retries: out, times that one of these had to begin again
 * @userptr_failures: out, times that one failed
 * @userptr_pages_mapped: out, pages that were mapped for the device
 * @userptr_revalidations: out, times that pieces were put right for programs of a
 *	VM with DRM_SVM_STUB_VM_NO_BIND_FAULTS
 * @userptr_lost: out, pieces that these gave up, because there was no memory any more
 * @userptr_injected: out, events that debugfs had injected
 *
 * Waits until ranges that have lost memory are removed, or cut to what is left
 * of them; but not while a fault is held (DRM_IOCTL_SVM_STUB_HOLD).
 * -EINVAL, -ENOENT, -EINTR, -ENOMEM.
 */
struct drm_svm_stub_vm_stats {
	__u32 vm_id;
	__u32 flags;
	__u64 gpu_faults;
	__u64 ranges;
	__u64 invalidations;
	__u64 pages_to_vram;
	__u64 pages_to_ram;
	__u64 mappings;
	__u64 binds;
	__u64 prefetched;
	__u64 events[DRM_SVM_STUB_EVENTS];
	__u64 ranges_made;
	__u64 ranges_removed;
	__u64 ranges_split;
	__u64 ranges_trimmed;
	__u64 collections;
	__u64 collection_retries;
	__u64 userptrs;
	__u64 userptr_invalidations;
	__u64 userptr_pieces_invalidated;
	__u64 userptr_collections;
	__u64 userptr_retries;
	__u64 userptr_failures;
	__u64 userptr_pages_mapped;
	__u64 userptr_revalidations;
	__u64 userptr_lost;
	__u64 userptr_injected;
};

/* In VRAM, for the GPU alone; else in RAM, where the CPU can map it. */
#define DRM_SVM_STUB_BO_VRAM (1 << 0)

/**
 * struct drm_svm_stub_bo_create - Makes a buffer object
 * @size: in, bytes, a multiple of the page size
 * @flags: in, DRM_SVM_STUB_BO_*
 * @handle: out, for DRM_IOCTL_GEM_CLOSE; not zero
 *
 * Its memory is zero. It lives until its handle is closed and nothing shows it
 * any more, neither a mapping of a VM nor one of the CPU.
 *
 * -EINVAL: unknown flag, size zero or not aligned; -EOPNOTSUPP: VRAM on a
 * device without CAP_MIGRATE, or RAM that DMA does not reach; -ENOSPC: not so
 * much VRAM is free; -ENOMEM.
 */
struct drm_svm_stub_bo_create {
	__u64 size;
	__u32 flags;
	__u32 handle;
};

/**
 * struct drm_svm_stub_bo_mmap_offset - Where to map a buffer object
 * @handle: in
 * @pad: in, must be zero
 * @offset: out, for mmap() of the device's file, shared, from this offset on and
 *	for up to the size of the object
 *
 * -EINVAL; -ENOENT: no such handle; -EOPNOTSUPP: it is in VRAM.
 */
struct drm_svm_stub_bo_mmap_offset {
	__u32 handle;
	__u32 pad;
	__u64 offset;
};

/* Shows a part of a buffer object, or other memory, at @addr, instead of what was there. */
#define DRM_SVM_STUB_BIND_MAP 0
/* Takes away what is there, if anything. */
#define DRM_SVM_STUB_BIND_UNMAP 1
/*
 * Wants what is there to be where the GPU uses it best. A buffer object always is, so
 * this sees that there is something, and counts it. With
 * DRM_SVM_STUB_BIND_MAY_MIGRATE it is VRAM: what can be moved there at once, is.
 */
#define DRM_SVM_STUB_BIND_PREFETCH 2

/* What MAP may be told. That there must be nothing yet; else -EEXIST. */
#define DRM_SVM_STUB_BIND_NOREPLACE (1 << 0)
/* No object: reads give zero, and writes vanish. */
#define DRM_SVM_STUB_BIND_SPARSE (1 << 1)
/* @repeat_range bytes of the object over and over, and not @range once. */
#define DRM_SVM_STUB_BIND_REPEAT (1 << 2)
/* To become one mapping with those beside it that continue it. */
#define DRM_SVM_STUB_BIND_COALESCE (1 << 3)
/* Programs may not write to it: -EPERM. */
#define DRM_SVM_STUB_BIND_READONLY (1 << 4)
/*
 * No object, but the caller's own memory from @bo_offset on, an address of the mirror:
 * a userptr; since version 6. It is not pinned: the process may do with it what it
 * likes, and programs find what is there then.
 */
#define DRM_SVM_STUB_BIND_USERPTR (1 << 5)
/*
 * With _USERPTR: what is in VRAM stays there, page by page, while programs use it. Without
 * this it comes to RAM. Since version 6.
 */
#define DRM_SVM_STUB_BIND_MAY_MIGRATE (1 << 6)

/**
 * struct drm_svm_stub_bind_op - One thing that VM_BIND is to do
 * @op: DRM_SVM_STUB_BIND_MAP, _UNMAP or _PREFETCH
 * @flags: for MAP, else zero: DRM_SVM_STUB_BIND_NOREPLACE and so on
 * @handle: for MAP: the object; zero with _SPARSE or _USERPTR, and for the others
 * @pad: must be zero
 * @addr: address in the bind window
 * @range: bytes from there on
 * @bo_offset: for MAP of an object: its first byte to be shown; with _USERPTR: the
 *	address of the first byte; else zero
 * @repeat_range: with _REPEAT: bytes from @bo_offset on; else zero
 *
 * All but @op, @flags and @handle are multiples of the page size. _USERPTR goes with
 * _READONLY, _NOREPLACE and _MAY_MIGRATE, and with no other flag.
 *
 * MAP with _USERPTR collects the memory, for writing without _READONLY: so all of it has
 * to be there, and to allow that. When the CPU takes something away from it later
 * (munmap(), fork() and a write, reclaim), the GPU does not find that any more, until it
 * has faulted for it: a read of a page that processes share leaves it shared. In a VM with
 * DRM_SVM_STUB_VM_NO_BIND_FAULTS see there. What is in the span then counts, also if it
 * was mapped after the MAP; where nothing is, programs get -EFAULT, and nowhere else.
 */
struct drm_svm_stub_bind_op {
	__u32 op;
	__u32 flags;
	__u32 handle;
	__u32 pad;
	__u64 addr;
	__u64 range;
	__u64 bo_offset;
	__u64 repeat_range;
};

/* Do not wait for in_syncs, nor until the GPU's page table has changed. */
#define DRM_SVM_STUB_VM_BIND_ASYNC (1 << 0)

/**
 * struct drm_svm_stub_vm_bind - Changes what is in a VM's bind window
 * @vm_id: in
 * @flags: in, DRM_SVM_STUB_VM_BIND_*
 * @num_ops: in, length of @ops; may be zero
 * @num_in_syncs: in, length of @in_syncs; may be zero
 * @num_out_syncs: in, length of @out_syncs; may be zero
 * @pad: in, must be zero
 * @ops: in, pointer to an array of struct drm_svm_stub_bind_op
 * @in_syncs: in, pointer to an array of syncobj handles, __u32: what to wait for
 * @out_syncs: in, likewise: what to signal at the end
 *
 * All of @ops, in order, each upon what those before it have made of the window;
 * or none of them, if anything is wrong with one.
 *
 * The VM_BINDs of a VM take effect one after the other. Without _ASYNC this one
 * has when the call returns; it has waited for @in_syncs and for those before
 * it. With _ASYNC the call returns at once: nothing can go wrong any more but
 * the end of the VM, and @out_syncs signal when it has taken effect. @in_syncs
 * have to have a fence, and @out_syncs get one.
 *
 * A program that uses an address whose mapping is changing may find what was
 * there, what will be, or nothing (-EFAULT). Where the same memory is shown in
 * the same way as before it finds that all the time.
 *
 * -EINVAL: unknown flag, not aligned, range zero, not in the bind window, not in
 * the object or the mirror, a field that is to be zero, flags that exclude each other; -E2BIG: more than 4096 ops, or 64
 * syncobjs of a kind; several ops that together MAP more than 1 TiB, or come to
 * more than 131072 changes, PREFETCH of each mapping counted; -ENOENT: no such VM, object or syncobj; a syncobj of
 * @in_syncs has no fence; PREFETCH of nothing; -EEXIST: MAP with _NOREPLACE of
 * what is not empty; -EACCES: another process's VM; -EFAULT; -ENOMEM, also if
 * the page table would become larger than it may: a little more than 4 KiB for
 * each 2 MiB of addresses; -EINTR: also if a signal came while the call waited;
 * -EFAULT: also _USERPTR where no memory is, or none that DMA reaches; -EPERM: _USERPTR
 * without _READONLY of memory that the process may not write; -EBUSY: _USERPTR of memory
 * that was taken away again and again, for a second; -EOPNOTSUPP: _MAY_MIGRATE on a device
 * without DRM_SVM_STUB_CAP_MIGRATE. Nothing has changed then, but where memory is.
 */
struct drm_svm_stub_vm_bind {
	__u32 vm_id;
	__u32 flags;
	__u32 num_ops;
	__u32 num_in_syncs;
	__u32 num_out_syncs;
	__u32 pad;
	__u64 ops;
	__u64 in_syncs;
	__u64 out_syncs;
};

/* Lets all faults go on, and holds none any more. */
#define DRM_SVM_STUB_HOLD_RELEASE 0
/* From now on, faults of the page at @addr are held. */
#define DRM_SVM_STUB_HOLD_SET 1
/* Changes nothing. */
#define DRM_SVM_STUB_HOLD_QUERY 2

/**
 * struct drm_svm_stub_hold - Stops GPU page faults where races begin
 * @vm_id: in
 * @hold: in, DRM_SVM_STUB_HOLD_RELEASE, _SET or _QUERY
 * @addr: in, for _SET: an address in the mirror; a multiple of the page size
 * @waiting: out, faults that are held now
 * @pad: in, must be zero
 *
 * For tests. A fault that is held has collected the memory of its range, and is
 * about to write the GPU's page table; no other fault of the same range is
 * served meanwhile. It goes on when it is released, when its program is stopped,
 * when the VM comes to its end, or after ten seconds, which ends the hold as a
 * whole. If the memory was taken away meanwhile the fault begins again.
 *
 * -EINVAL: unknown @hold, not aligned; -ERANGE: _SET beyond the mirror; -ENOENT;
 * -EBUSY: _SET, and the VM holds the faults of a page already.
 */
struct drm_svm_stub_hold {
	__u32 vm_id;
	__u32 hold;
	__u64 addr;
	__u32 waiting;
	__u32 pad;
};

/* Why memory moved. */
#define DRM_SVM_STUB_WAY_TO_DEVICE 0
#define DRM_SVM_STUB_WAY_CPU_FAULT 1
#define DRM_SVM_STUB_WAY_EVICT 2
#define DRM_SVM_STUB_WAYS 3

/* In batches of less than 64 KiB, of less than 2 MiB, and of 2 MiB. */
#define DRM_SVM_STUB_SIZES 3

/**
 * struct drm_svm_stub_phases - Batches of one way and one size
 * @batches: how many
 * @bytes: that have moved in them
 * @setup_ns: time in which the kernel collected and unmapped, in nanoseconds
 * @map_ns: time for destinations and DMA mappings
 * @copy_ns: time from the beginning of a copy to the end of the wait for it
 * @finalize_ns: time in which the kernel mapped the new pages
 *
 * Times are counted in ticks of the timer, so that they are right of many batches.
 */
struct drm_svm_stub_phases {
	__u64 batches;
	__u64 bytes;
	__u64 setup_ns;
	__u64 map_ns;
	__u64 copy_ns;
	__u64 finalize_ns;
};

/**
 * struct drm_svm_stub_device_stats - What has happened to a device's VRAM
 * @flags: in, must be zero
 * @pad: in, must be zero
 * @phase: out, by way and size
 * @huge_moved: out, huge pages that moved as one
 * @huge_split: out, or came back page by page, for want of a huge page of RAM
 * @from_device: out, pages that came from another device without a stop in RAM
 * @stayed: out, pages that could not move to it
 * @timeslice_waits: out, CPU faults that waited for the end of a timeslice
 * @fault_races: out, CPU faults that met another one of the same page
 * @fault_oom: out, CPU faults without memory
 * @fault_lost: out, CPU faults whose data was lost
 *
 * Since the device's memory was last brought to life, which it is for as long as
 * it has a VM or a page in use; zero otherwise. -EINVAL; -EOPNOTSUPP: a device
 * without DRM_SVM_STUB_CAP_MIGRATE.
 */
struct drm_svm_stub_device_stats {
	__u32 flags;
	__u32 pad;
	struct drm_svm_stub_phases phase[DRM_SVM_STUB_WAYS][DRM_SVM_STUB_SIZES];
	__u64 huge_moved;
	__u64 huge_split;
	__u64 from_device;
	__u64 stayed;
	__u64 timeslice_waits;
	__u64 fault_races;
	__u64 fault_oom;
	__u64 fault_lost;
};

#if defined(__cplusplus)
}
#endif

#endif /* _DRM_SVM_STUB_H_ */
