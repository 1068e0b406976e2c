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
 * objects. Programs can use both at once.
 *
 * A VM's file may come into other hands (fork(), SCM_RIGHTS), the VM does not:
 * EXEC, MIGRATE, RESIDENCY and VM_BIND of another process are -EACCES. Buffer
 * objects are the file's.
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
#define DRM_SVM_STUB_UAPI_VERSION 4

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

#define DRM_IOCTL_SVM_STUB_INFO \
	DRM_IOWR(DRM_COMMAND_BASE + DRM_SVM_STUB_INFO, struct drm_svm_stub_info)
#define DRM_IOCTL_SVM_STUB_VM_CREATE \
	DRM_IOWR(DRM_COMMAND_BASE + DRM_SVM_STUB_VM_CREATE, struct drm_svm_stub_vm_create)
#define DRM_IOCTL_SVM_STUB_VM_DESTROY \
	DRM_IOW(DRM_COMMAND_BASE + DRM_SVM_STUB_VM_DESTROY, struct drm_svm_stub_vm_destroy)
#define DRM_IOCTL_SVM_STUB_EXEC \
	DRM_IOWR(DRM_COMMAND_BASE + DRM_SVM_STUB_EXEC, struct drm_svm_stub_exec)
#define DRM_IOCTL_SVM_STUB_MIGRATE \
	DRM_IOW(DRM_COMMAND_BASE + DRM_SVM_STUB_MIGRATE, struct drm_svm_stub_migrate)
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

/* The device can move memory to its VRAM. */
#define DRM_SVM_STUB_CAP_MIGRATE (1 << 0)

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
};

/* GPU faults move the memory to VRAM where that is possible. */
#define DRM_SVM_STUB_VM_MIGRATE_ON_FAULT (1 << 0)

/**
 * struct drm_svm_stub_vm_create - Mirrors the caller's address space
 * @flags: in, DRM_SVM_STUB_VM_*
 * @vm_id: out, not zero
 *
 * -EINVAL: unknown flag; -EOPNOTSUPP: DRM_SVM_STUB_VM_MIGRATE_ON_FAULT on a
 * device without DRM_SVM_STUB_CAP_MIGRATE; -ENOMEM.
 */
struct drm_svm_stub_vm_create {
	__u32 flags;
	__u32 vm_id;
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
 * @faults: out, if all went well: GPU page faults that were served
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
 * memory that it can use there; -EPERM: write to read-only memory; -EBUSY: a
 * page was taken away again and again; -ENOMEM. The program has run up to the word that failed then.
 * -EINTR. A file has room for 16 programs at once; more wait.
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

/**
 * struct drm_svm_stub_migrate - Moves memory now, before it is needed
 * @vm_id: in
 * @flags: in, DRM_SVM_STUB_MIGRATE_*
 * @start: in, address, a multiple of the page size
 * @size: in, bytes, a multiple of the page size
 *
 * Holes in the span are passed over, and so is memory that the process itself
 * may not read: it stays where it is. To RAM, as with an access by the CPU,
 * memory beside the span may come along if it went to VRAM together with it.
 *
 * -EINVAL: unknown flag, not aligned, size zero; -ERANGE: overflows or is
 * beyond the mirror; -ENOENT: no such VM, or no memory at all in
 * the span; -EACCES: another process's; -EOPNOTSUPP: device without DRM_SVM_STUB_CAP_MIGRATE; -ENOSPC: to
 * VRAM, and there is less free VRAM than the span has memory that is not there
 * yet; -EBUSY: some page could not be moved; -ENOMEM; -EINTR. What could be
 * moved was, with the last three.
 */
struct drm_svm_stub_migrate {
	__u32 vm_id;
	__u32 flags;
	__u64 start;
	__u64 size;
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
 * @pages_to_vram: out, pages of its address space copied or cleared into VRAM
 *	since the VM was made
 * @pages_to_ram: out, likewise, pages copied from VRAM back to RAM
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

/* Shows a part of a buffer object at @addr, instead of what was there. */
#define DRM_SVM_STUB_BIND_MAP 0
/* Takes away what is there, if anything. */
#define DRM_SVM_STUB_BIND_UNMAP 1
/*
 * Wants what is there to be where the GPU uses it best. On this device it
 * always is, so this sees that there is something, and counts it.
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

/**
 * struct drm_svm_stub_bind_op - One thing that VM_BIND is to do
 * @op: DRM_SVM_STUB_BIND_MAP, _UNMAP or _PREFETCH
 * @flags: for MAP, else zero: DRM_SVM_STUB_BIND_NOREPLACE and so on
 * @handle: for MAP: the object; zero with _SPARSE, and for the others
 * @pad: must be zero
 * @addr: address in the bind window
 * @range: bytes from there on
 * @bo_offset: for MAP of an object: its first byte to be shown; else zero
 * @repeat_range: with _REPEAT: bytes from @bo_offset on; else zero
 *
 * All but @op, @flags and @handle are multiples of the page size.
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
 * the object, a field that is to be zero; -E2BIG: more than 4096 ops, or 64
 * syncobjs of a kind; several ops that together MAP more than 1 TiB, or come to
 * more than 131072 changes, PREFETCH of each mapping counted; -ENOENT: no such VM, object or syncobj; a syncobj of
 * @in_syncs has no fence; PREFETCH of nothing; -EEXIST: MAP with _NOREPLACE of
 * what is not empty; -EACCES: another process's VM; -EFAULT; -ENOMEM, also if
 * the page table would become larger than it may: a little more than 4 KiB for
 * each 2 MiB of addresses; -EINTR: also if a signal came while the call waited.
 * Nothing has changed then.
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

#if defined(__cplusplus)
}
#endif

#endif /* _DRM_SVM_STUB_H_ */
