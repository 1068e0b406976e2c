/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * A VM: the address space of a process as the GPU sees it, and above that the
 * bind window, where buffer objects are put, and memory of the process under other
 * addresses.
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
#include <drm/drm_svm_hmmptr.h>
#include <uapi/drm/drm_svm_stub.h>

#include "stub_pt.h"

struct dma_fence;
struct stub_device;
struct stub_stats;

/**
 * struct stub_range - A span that the GPU maps as one
 * @base: the library's side
 * @pages: what is behind it
 * @garbage_link: entry in &stub_vm.garbage, which holds a reference then
 */
struct stub_range {
	struct drm_gpusvm_range base;
	struct drm_gpusvm_pages pages;
	struct list_head garbage_link;
};

/**
 * struct stub_vm - A VM
 * @ref: references: one of the file's table of VMs, one of each program and of
 *	each VM_BIND
 * @programs: those that run, and one for as long as the VM is open
 * @wait: woken when @programs or @garbage.count falls to zero, when @hold
 *	changes, and when a program is cancelled
 * @stub: the device, referenced; immutable
 * @link: entry in &stub_device.vms
 * @closed: set once it has been closed
 * @migrate_on_fault: GPU faults move memory to VRAM; immutable
 * @timeslice_ms: for so long CPU faults leave it there; immutable
 * @fault_granule: bytes that these bring back, or 0: the default; immutable
 * @memcg: is charged for what faults allocate, referenced; immutable
 * @gpusvm: the library's side of the mirror
 * @gpuvm: the library's side of the bind window
 * @lock: serialises all that changes @gpuvm. Faults do without: each range has
 *	a lock of its own.
 * @pt: the GPU's page table
 * @dpagemap: reference to the device's memory, NULL if it has none; immutable
 * @garbage: ranges that have lost memory, and are to be cut to what is left
 * @garbage.lock: guards @garbage.ranges and @garbage.count
 * @garbage.ranges: those that nobody is at yet
 * @garbage.count: all of them
 * @garbage.work: puts them right
 * @hold: where faults are stopped, for tests
 * @hold.lock: guards all of it
 * @hold.addr: faults of this page are held, or 0: none
 * @hold.round: goes up with each end of a hold
 * @hold.waiting: faults that wait in this round
 * @hold.closed: nothing is to be held any more; set once
 * @bind: VM_BIND
 * @bind.lock: guards @bind.jobs
 * @bind.jobs: &struct stub_bind_job that are still to change @pt, in order
 * @bind.work: lets them, one at a time
 * @bind.pt_lock: of who writes entries of the bind window in @pt, or zaps some but
 *	those of a userptr in an invalidation
 * @bind.no_faults: the GPU cannot fault there; immutable
 * @bind.closed: nothing is to be mapped any more; set once
 * @bind.cleared: and nothing is; under @bind.pt_lock
 * @bind.last: fence of the last job that has been in @bind.jobs, referenced, or
 *	NULL; under @lock
 * @bind.context: fence context; immutable
 * @bind.seqno: number of the last fence; under @lock
 * @bind.mappings: mappings that @gpuvm has; under @lock
 * @bind.binds: VM_BINDs so far; under @lock
 * @bind.prefetched: mappings they have prefetched; under @lock
 * @userptr: memory of the process in the bind window
 * @userptr.set: the library's side
 * @userptr.lock: guards @userptr.list and @userptr.count
 * @userptr.list: &struct stub_userptr
 * @userptr.count: how many
 * @userptr.revalidations: times that something had to be put right for programs
 * @stats: of the process; immutable
 * @pages_to_vram: value in @stats when the VM was made; immutable
 * @pages_to_ram: likewise
 * @gpu_faults: faults served
 * @invalidations: events that took entries from @pt
 * @events: events that met a range, by kind
 * @ranges: ranges that exist
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
		spinlock_t lock;
		struct list_head jobs;
		struct work_struct work;
		struct mutex pt_lock;
		bool no_faults;
		bool closed;
		bool cleared;
		struct dma_fence *last;
		u64 context;
		u64 seqno;
		u64 mappings;
		u64 binds;
		u64 prefetched;
	} bind;
	struct {
		struct drm_svm_hmmptr_set set;
		spinlock_t lock;
		struct list_head list;
		unsigned long count;
		atomic64_t revalidations;
	} userptr;
	struct stub_stats *stats;
	u64 pages_to_vram;
	u64 pages_to_ram;
	atomic64_t gpu_faults;
	atomic64_t invalidations;
	atomic64_t events[DRM_SVM_STUB_EVENTS];
	atomic64_t ranges;
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

static inline struct stub_vm *to_stub_vm(struct drm_gpusvm *gpusvm)
{
	return container_of(gpusvm, struct stub_vm, gpusvm);
}

static inline struct stub_range *to_stub_range(struct drm_gpusvm_range *range)
{
	return container_of(range, struct stub_range, base);
}

/* As of now: an invalidation, whose lock is not held here, may change them at any time. */
static inline struct drm_gpusvm_range_flags stub_range_flags(const struct stub_range *range)
{
	return (struct drm_gpusvm_range_flags){
		.__flags = READ_ONCE(range->base.flags.__flags),
	};
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

/* stub_counters.c */
int stub_counters_read_vm(struct stub_vm *vm, struct drm_svm_stub_vm_stats *out);

/* stub_range.c */
int stub_range_init(struct stub_vm *vm, struct mm_struct *mm);
void stub_range_fini(struct stub_vm *vm);
void stub_range_remove_all(struct stub_vm *vm);
void stub_range_zap(struct stub_range *range);
void stub_range_remove(struct stub_range *range);
int stub_range_put_right(struct stub_range *range);
int stub_range_wait_garbage(struct stub_vm *vm);

/* stub_hold.c */
void stub_hold_init(struct stub_vm *vm);
void stub_hold_close(struct stub_vm *vm);
int stub_hold_control(struct stub_vm *vm, struct drm_svm_stub_hold *args);
void stub_hold_wait(struct stub_vm *vm, const struct stub_fault *fault);

/* stub_fault.c */
int stub_fault_serve(struct stub_vm *vm, const struct stub_fault *fault);

/* stub_verdict.c */
bool stub_verdict_is_readable(struct stub_vm *vm, unsigned long start, unsigned long end);
int stub_verdict(struct stub_vm *vm, unsigned long addr, int err);

/* stub_engine.c */
int stub_engine_exec(struct stub_vm *vm, struct drm_svm_stub_exec *args);

/* stub_migrate.c */
void stub_migrate_for_fault(struct stub_vm *vm, unsigned long start, unsigned long end);
void stub_migrate_for_prefetch(struct stub_vm *vm, unsigned long start, unsigned long end);
int stub_migrate_to_vram(struct stub_vm *vm, struct drm_svm_stub_migrate *args, u8 *report);
int stub_migrate_to_ram(struct stub_vm *vm, unsigned long start, unsigned long end);
int stub_residency(struct stub_vm *vm, const struct drm_svm_stub_residency *args,
		   struct drm_svm_stub_block *out);

#endif /* STUB_VM_H */
