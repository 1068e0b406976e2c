/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * The plain stub: the stub device over mainline's API and nothing else, so that it can be
 * built over the kernel's own modules as well as over ours. It has the hardware and the
 * ioctls of src/stub, whose files see this header in the place of their own; what
 * they know of a VM is called the same here.
 *
 *	plain_range.c	ranges, invalidations and GPU page faults
 *	plain_devmem.c	allocations of VRAM that memory of a process lives in
 *	plain_copy.c	moves data between RAM and VRAM
 *	plain_migrate.c	moves a span on request, and looks where pages are
 *	plain_bind.c	VM_BIND of buffer objects
 *	plain_counters.c	what has happened, in numbers
 *
 * What mainline has no call for is -EOPNOTSUPP.
 *
 * Locks, outermost first: &stub_vm.lock, mmap_lock, the notifier lock, &stub_pt.tlb_lock,
 * spinlocks.
 */
#ifndef STUB_VM_H
#define STUB_VM_H

#include <linux/kref.h>
#include <linux/mmu_notifier.h>
#include <linux/mutex.h>
#include <linux/refcount.h>
#include <linux/wait.h>
#include <linux/workqueue.h>

#include <drm/drm_gpusvm.h>
#include <drm/drm_gpuvm.h>
#include <drm/drm_pagemap.h>
#include <uapi/drm/drm_svm_stub.h>

#include "stub_pt.h"

struct stub_device;
struct stub_stats;

/**
 * struct stub_vm - A VM
 * @ref: references: one of the file's table of VMs, one of each program
 * @programs: those that run, and one for as long as the VM is open
 * @wait: woken when @programs or @garbage.count falls to zero, when @hold changes, and
 *	when a program is cancelled
 * @stub: the device, referenced; immutable
 * @link: entry in &stub_device.vms
 * @closed: set once it has been closed
 * @migrate_on_fault: GPU faults move memory to VRAM; immutable
 * @timeslice_ms: for so long CPU faults leave it there; immutable
 * @fault_granule: mainline brings back all of an allocation, whatever is asked for
 * @memcg: is charged for what faults allocate, referenced; immutable
 * @gpusvm: the library's side of the mirror
 * @gpuvm: the library's side of the bind window
 * @lock: around all that is done to ranges and to mappings: mainline's driver lock
 * @pt: the GPU's page table; entries of the mirror are written and zapped under the
 *	notifier lock, those of the bind window under @lock
 * @dpagemap: reference to the device's memory, NULL if it has none; immutable
 * @garbage: ranges that have lost memory, and are to be removed
 * @garbage.lock: guards @garbage.ranges and @garbage.count
 * @garbage.ranges: those that nobody is at yet
 * @garbage.count: all of them
 * @garbage.work: removes them
 * @hold: where faults are stopped, for tests; see stub_hold.c
 * @hold.lock: guards all of it
 * @hold.addr: faults of this page are held, or 0: none
 * @hold.round: goes up with each end of a hold
 * @hold.waiting: faults that wait in this round
 * @hold.closed: nothing is to be held any more; set once
 * @bind: VM_BIND; under @lock
 * @bind.no_faults: is for userptrs, which there are none of
 * @bind.mappings: mappings that @gpuvm has
 * @bind.binds: VM_BINDs so far
 * @bind.prefetched: mappings they have prefetched
 * @stats: of the process; immutable
 * @pages_to_vram: value in @stats when the VM was made; immutable
 * @pages_to_ram: likewise
 * @gpu_faults: faults served
 * @invalidations: events that took entries from @pt
 * @events: events that met a range, by kind
 * @ranges: ranges that exist
 * @ranges_made: so far
 * @ranges_removed: so far
 * @collections: times that pages of a range were collected
 */
struct stub_vm {
	struct kref ref;
	refcount_t programs;
	wait_queue_head_t wait;
	struct stub_device *stub;
	struct list_head link;
	unsigned long closed;
	bool migrate_on_fault;
	u32 timeslice_ms;
	u32 fault_granule;
	struct mem_cgroup *memcg;
	struct drm_gpusvm gpusvm;
	struct drm_gpuvm gpuvm;
	struct mutex lock;
	struct stub_pt pt;
	struct drm_pagemap *dpagemap;
	struct {
		spinlock_t lock;
		struct list_head ranges;
		unsigned long count;
		struct work_struct work;
	} garbage;
	struct {
		spinlock_t lock;
		u64 addr;
		unsigned int round;
		unsigned int waiting;
		bool closed;
	} hold;
	struct {
		bool no_faults;
		u64 mappings;
		u64 binds;
		u64 prefetched;
	} bind;
	struct stub_stats *stats;
	u64 pages_to_vram;
	u64 pages_to_ram;
	atomic64_t gpu_faults;
	atomic64_t invalidations;
	atomic64_t events[DRM_SVM_STUB_EVENTS];
	atomic64_t ranges;
	atomic64_t ranges_made;
	atomic64_t ranges_removed;
	atomic64_t collections;
};

/**
 * struct stub_fault - A GPU page fault
 * @addr: address, in the mirror or in the bind window
 * @write: whether the access is a write
 * @migrate: whether the memory may be moved to VRAM first; to be false when
 *	the same fault is tried again, so that it comes to an end
 * @cancel: set when nobody wants the access any more
 */
struct stub_fault {
	u64 addr;
	bool write;
	bool migrate;
	const bool *cancel;
};

/* Whose device pages the GPU can use: those of the clique. */
static inline void *stub_vm_owner(const struct stub_vm *vm)
{
	return vm->dpagemap ? vm->dpagemap->pagemap->owner : NULL;
}

/* stub_vm.c */
struct stub_vm *stub_vm_create(struct stub_device *stub,
			       const struct drm_svm_stub_vm_create *args);
void stub_vm_put(struct stub_vm *vm);
void stub_vm_count_event(struct stub_vm *vm, enum mmu_notifier_event event);
void stub_vm_free(struct stub_vm *vm);
void stub_vm_close(struct stub_vm *vm);
int stub_vm_closed_error(struct stub_vm *vm);
void stub_vm_wait_idle(struct stub_vm *vm);
void stub_vm_stop_all(struct stub_device *stub);
bool stub_vm_begin_program(struct stub_vm *vm);
void stub_vm_end_program(struct stub_vm *vm);
struct stub_vm *stub_vm_next(struct stub_device *stub, struct stub_vm *vm);

/* stub_hold.c */
void stub_hold_init(struct stub_vm *vm);
void stub_hold_close(struct stub_vm *vm);
int stub_hold_control(struct stub_vm *vm, struct drm_svm_stub_hold *args);
void stub_hold_wait(struct stub_vm *vm, const struct stub_fault *fault);

/* stub_verdict.c */
bool stub_verdict_is_readable(struct stub_vm *vm, unsigned long start, unsigned long end);
int stub_verdict(struct stub_vm *vm, unsigned long addr, int err);

/* stub_engine.c */
int stub_engine_exec(struct stub_vm *vm, struct drm_svm_stub_exec *args);

/* plain_range.c */
int stub_range_init(struct stub_vm *vm, struct mm_struct *mm);
void stub_range_fini(struct stub_vm *vm);
void stub_range_remove_all(struct stub_vm *vm);
int stub_range_wait_garbage(struct stub_vm *vm);
int stub_fault_serve(struct stub_vm *vm, const struct stub_fault *fault);

/* plain_migrate.c */
int stub_migrate_to_vram(struct stub_vm *vm, struct drm_svm_stub_migrate *args, u8 *report);
int stub_migrate_to_ram(struct stub_vm *vm, unsigned long start, unsigned long end);
int stub_residency(struct stub_vm *vm, const struct drm_svm_stub_residency *args,
		   struct drm_svm_stub_block *out);

/* plain_counters.c */
int stub_counters_read_vm(struct stub_vm *vm, struct drm_svm_stub_vm_stats *out);

#endif /* STUB_VM_H */
