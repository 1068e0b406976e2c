// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Moves memory between RAM and VRAM on request, and looks where it is. On the
 * way to VRAM the library does the work. On the way back it is done in pieces:
 * parts of one VMA and of one naturally aligned 2 MiB.
 */
#include <linux/align.h>
#include <linux/delay.h>
#include <linux/mm.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>

#include <drm/drm_pagemap.h>
#include <drm/drm_svm.h>
#include <uapi/drm/drm_svm_stub.h>

#include "stub_drv.h"
#include "stub_pagemap.h"
#include "stub_vm.h"

/* So often a page that is busy is tried. */
#define STUB_MIGRATE_TRIES 3

#define STUB_PIECE_PAGES (SZ_2M / PAGE_SIZE)

/*
 * A piece and where its pages are. Memory that its own process may not read,
 * which nobody can look at, is in none.
 */
struct stub_piece {
	unsigned long start;
	unsigned long end;
	struct drm_svm_residency page[STUB_PIECE_PAGES];
};

static int stub_piece_look(struct stub_vm *vm, struct stub_piece *piece)
{
	memset(piece->page, 0, sizeof(piece->page));

	return drm_svm_residency(vm->gpusvm.mm, vm->dpagemap, piece->start, piece->end,
				 PAGE_SIZE, piece->page);
}

static unsigned long stub_piece_pages(const struct stub_piece *piece)
{
	return PHYS_PFN(piece->end - piece->start);
}

/* Of this device, or of another one that it reaches. */
static bool stub_piece_in_vram(const struct stub_piece *piece, unsigned long i)
{
	return piece->page[i].device || piece->page[i].peer;
}

static bool stub_piece_any_in_vram(const struct stub_piece *piece)
{
	unsigned long i;

	for (i = 0; i < stub_piece_pages(piece); i++)
		if (stub_piece_in_vram(piece, i))
			return true;

	return false;
}

/* Finds the first piece in [start, end) and has a look at it. 0: none left. */
static int stub_piece_next(struct stub_vm *vm, struct stub_piece *piece,
			   unsigned long start, unsigned long end)
{
	struct mm_struct *mm = vm->gpusvm.mm;
	struct vm_area_struct *vma;
	int err;

	if (fatal_signal_pending(current))
		return -EINTR;
	cond_resched();

	mmap_read_lock(mm);
	vma = start < end ? find_vma_intersection(mm, start, end) : NULL;
	while (vma && !(vma->vm_flags & VM_READ))
		vma = vma->vm_end < end ? find_vma_intersection(mm, vma->vm_end, end) : NULL;
	if (vma) {
		piece->start = max(start, vma->vm_start);
		piece->end = min3(ALIGN_DOWN(piece->start, SZ_2M) + SZ_2M, end, vma->vm_end);
	}
	mmap_read_unlock(mm);
	if (!vma)
		return 0;

	err = stub_piece_look(vm, piece);

	return err ? err : 1;
}

/* --- to VRAM --------------------------------------------------------------- */

/* Moves memory to VRAM as far as it goes. What does not move the GPU uses where it is. */
static void stub_migrate_what_moves(struct stub_vm *vm, unsigned long start,
				    unsigned long end, u32 timeslice_ms)
{
	struct stub_move move = {
		.base = {
			.dpagemap = vm->dpagemap,
			.mm = vm->gpusvm.mm,
			.start = start,
			.end = end,
			.timeslice_ms = timeslice_ms,
		},
		.fault_granule = vm->fault_granule,
	};

	if (!mmget_not_zero(vm->gpusvm.mm))
		return;
	stub_devmem_move(&move);
	mmput_async(vm->gpusvm.mm);	/* locks are held that its end may take */
}

/**
 * stub_migrate_for_fault() - Moves memory to VRAM for a GPU fault, as far as it goes
 * @vm: the VM, of a device with VRAM
 * @start: first byte
 * @end: first byte after it
 *
 * Context: may sleep; a range's lock or none, no mmap_lock.
 */
void stub_migrate_for_fault(struct stub_vm *vm, unsigned long start, unsigned long end)
{
	stub_migrate_what_moves(vm, start, end, vm->timeslice_ms);
}

/**
 * stub_migrate_for_prefetch() - Moves memory to VRAM for a PREFETCH, as far as it goes
 * @vm: the VM, of a device with VRAM
 * @start: first byte
 * @end: first byte after it
 *
 * Context: may sleep; the VM's lock, no mmap_lock.
 */
void stub_migrate_for_prefetch(struct stub_vm *vm, unsigned long start, unsigned long end)
{
	stub_migrate_what_moves(vm, start, end, 0);
}

/* Pages of the span that the process may not read, so nobody can look at them. */
static unsigned long stub_count_unreadable(struct stub_vm *vm, unsigned long start,
					   unsigned long end)
{
	struct mm_struct *mm = vm->gpusvm.mm;
	struct vm_area_struct *vma;
	unsigned long at, count = 0;

	mmap_read_lock(mm);
	for (at = start; at < end; at = vma->vm_end) {
		vma = find_vma_intersection(mm, at, end);
		if (!vma)
			break;
		if (!(vma->vm_flags & VM_READ))
			count += PHYS_PFN(min(vma->vm_end, end) - max(vma->vm_start, start));
	}
	mmap_read_unlock(mm);

	return count;
}

/* What the ioctl has to say of pages with such results. */
static int stub_migrate_verdict(struct stub_vm *vm, const struct drm_svm_migrate *migrate)
{
	unsigned long npages = PHYS_PFN(migrate->end - migrate->start);
	const unsigned long *result = migrate->result;
	unsigned long stayed = npages - result[DRM_SVM_MOVED] - result[DRM_SVM_WAS_THERE] -
			       result[DRM_SVM_STAY_NO_MEMORY_MAP];
	unsigned long unreadable = 0;

	if (result[DRM_SVM_STAY_NO_DEVICE_MEMORY])
		return -ENOSPC;
	if (result[DRM_SVM_STAY_NO_MEMORY_MAP] == npages)
		return -ENOENT;
	if (!stayed)
		return 0;

	/* That is to stay where it is; its pages look as if they were swapped out. */
	if (result[DRM_SVM_STAY_SWAPPED] || result[DRM_SVM_STAY_NOT_ANONYMOUS])
		unreadable = stub_count_unreadable(vm, migrate->start, migrate->end);
	if (unreadable + result[DRM_SVM_STAY_NO_MEMORY_MAP] >= npages)
		return -ENOENT;

	return stayed > unreadable ? -EBUSY : 0;
}

/* Whether some pages may move at the next try: somebody looked at them in that moment. */
static bool stub_migrate_again(const struct drm_svm_migrate *migrate)
{
	return migrate->result[DRM_SVM_STAY_BUSY] || migrate->result[DRM_SVM_STAY_LOCKED];
}

/* Puts the results of a try to those before: what has moved by then is there now. */
static void stub_migrate_add_try(struct drm_svm_stub_migrate *args, u8 *report,
				 const struct drm_svm_migrate *try)
{
	u64 moved = args->result[DRM_SVM_STUB_MOVED];
	u64 there = try->result[DRM_SVM_WAS_THERE];
	unsigned long i;

	for (i = 0; i < DRM_SVM_STAYS; i++)
		args->result[i] = try->result[i];
	moved = min(moved, there);
	args->result[DRM_SVM_STUB_MOVED] += moved;
	args->result[DRM_SVM_STUB_WAS_THERE] -= moved;

	for (i = 0; report && i < PHYS_PFN(args->size); i++)
		if (report[i] != DRM_SVM_STUB_MOVED || try->report[i] != DRM_SVM_STUB_WAS_THERE)
			report[i] = try->report[i];
}

/**
 * stub_migrate_to_vram() - Moves a span to VRAM
 * @vm: the VM, of a device with VRAM
 * @args: the arguments, checked; receives the results, which are zero
 * @report: receives one byte for each page, or NULL; all DRM_SVM_STUB_STAY_NOT_TRIED
 *
 * Context: may sleep; a thread of the process whose VM it is.
 * Return: 0 or an errno as the ioctl says.
 */
int stub_migrate_to_vram(struct stub_vm *vm, struct drm_svm_stub_migrate *args, u8 *report)
{
	struct stub_move move = {
		.base = {
			.dpagemap = vm->dpagemap,
			.mm = vm->gpusvm.mm,
			.start = args->start,
			.end = args->start + args->size,
			.timeslice_ms = args->timeslice_ms,
			.workers = args->workers,
			.fault_in = args->flags & DRM_SVM_STUB_MIGRATE_FAULT_IN,
		},
		.fault_granule = vm->fault_granule,
	};
	unsigned long npages = PHYS_PFN(args->size);
	unsigned int tries = 0;
	int err;

	static_assert(DRM_SVM_STAYS <= DRM_SVM_STUB_STAYS);
	static_assert(DRM_SVM_STUB_STAY_BUSY == (int)DRM_SVM_STAY_BUSY);

	if (report) {
		move.base.report = kvmalloc(npages, GFP_KERNEL_ACCOUNT);
		if (!move.base.report)
			return -ENOMEM;
		memcpy(move.base.report, report, npages);
	}

	do {
		if (tries)
			usleep_range(100, 200);
		err = stub_devmem_move(&move);
		/* One that failed before it came to the pages has nothing to say of them. */
		if (!err || !tries)
			stub_migrate_add_try(args, report, &move.base);
	} while (!err && stub_migrate_again(&move.base) && ++tries < STUB_MIGRATE_TRIES);
	kvfree(move.base.report);

	return err ?: stub_migrate_verdict(vm, &move.base);
}

/* --- to RAM ---------------------------------------------------------------- */

/* What a read by the CPU does. -ENOMEM; anything else shows in where it is then. */
static int stub_piece_touch(struct stub_vm *vm, const struct stub_piece *piece)
{
	struct mm_struct *mm = vm->gpusvm.mm;
	unsigned long i;
	int err = 0;

	for (i = 0; i < stub_piece_pages(piece) && err != -ENOMEM; i++) {
		bool unlocked = false;

		if (!stub_piece_in_vram(piece, i))
			continue;
		mmap_read_lock(mm);
		err = fixup_user_fault(mm, piece->start + i * PAGE_SIZE, FAULT_FLAG_REMOTE,
				       &unlocked);
		mmap_read_unlock(mm);
	}

	return err == -ENOMEM ? err : 0;
}

/*
 * Brings a range back, if it is in [start, end) as a whole, and moves *@at behind
 * it. -ENOMEM or -EINTR; anything else shows in where its pages are then.
 */
static int stub_evict_range(struct stub_range *range, unsigned long *at,
			    unsigned long start, unsigned long end)
{
	struct drm_gpusvm_range *base = &range->base;
	int err;

	err = drm_svm_range_lock_killable(&range->base);
	if (err)
		return err == -ENOENT ? 0 : err;

	*at = max(*at, drm_gpusvm_range_end(base));
	if (start <= drm_gpusvm_range_start(base) && drm_gpusvm_range_end(base) <= end)
		err = drm_gpusvm_range_evict(base->gpusvm, base);
	drm_svm_range_unlock(base);

	return err == -ENOMEM || err == -EINTR ? err : 0;
}

/* Ranges that are in the span as a whole, which is most of it at small cost. */
static int stub_evict_ranges(struct stub_vm *vm, unsigned long start, unsigned long end)
{
	struct drm_gpusvm_range *base;
	unsigned long at = start;
	int err = 0;

	while (!err && at < end) {
		if (fatal_signal_pending(current))
			return -EINTR;
		base = drm_svm_range_first(&vm->gpusvm, at, end);
		if (!base)
			break;
		err = stub_evict_range(to_stub_range(base), &at, start, end);
		drm_gpusvm_range_put(base);
		cond_resched();
	}

	return err;
}

static int stub_span_to_ram(struct stub_vm *vm, struct stub_piece *piece,
			    unsigned long start, unsigned long end)
{
	bool any = false, busy = false;
	unsigned long at;
	int ret;

	ret = stub_evict_ranges(vm, start, end);
	if (ret)
		return ret;

	/* What the GPU has no range for, page by page. */
	for (at = start; (ret = stub_piece_next(vm, piece, at, end)) > 0; at = piece->end) {
		any = true;
		if (!stub_piece_any_in_vram(piece))
			continue;
		ret = stub_piece_touch(vm, piece) ?: stub_piece_look(vm, piece);
		if (ret)
			return ret;
		busy |= stub_piece_any_in_vram(piece);
	}
	if (ret)
		return ret;
	if (!any)
		return -ENOENT;

	return busy ? -EBUSY : 0;
}

/**
 * stub_migrate_to_ram() - Moves a span to RAM
 * @vm: the VM
 * @start: first byte, page-aligned
 * @end: first byte after the span, page-aligned
 *
 * Context: may sleep; a thread of the process whose VM it is.
 * Return: 0 or an errno as the ioctl says.
 */
int stub_migrate_to_ram(struct stub_vm *vm, unsigned long start, unsigned long end)
{
	struct stub_piece *piece;
	int err;

	piece = kmalloc(sizeof(*piece), GFP_KERNEL);
	if (!piece)
		return -ENOMEM;

	err = stub_span_to_ram(vm, piece, start, end);
	kfree(piece);

	/* What does not come from hardware that has gone never will. */
	return err == -EBUSY && READ_ONCE(vm->stub->vram.dead) ? -ENODEV : err;
}

/* --- where it is ----------------------------------------------------------- */

/**
 * stub_residency() - Looks where pages are
 * @vm: the VM
 * @args: the arguments, checked
 * @out: receives the results
 *
 * Context: may sleep; a thread of the process whose VM it is.
 * Return: 0 or a negative errno.
 */
int stub_residency(struct stub_vm *vm, const struct drm_svm_stub_residency *args,
		   struct drm_svm_stub_block *out)
{
	u64 pte = args->flags & DRM_SVM_STUB_RESIDENCY_GPU_WRITE ? STUB_PTE_WRITE : 0;
	bool peer = args->flags & DRM_SVM_STUB_RESIDENCY_PEER;
	unsigned long i, at = args->start, end = args->start + args->size;
	struct drm_svm_residency *look;
	int err;

	look = kvcalloc(args->num_blocks, sizeof(*look), GFP_KERNEL_ACCOUNT);
	if (!look)
		return -ENOMEM;

	err = drm_svm_residency(vm->gpusvm.mm, vm->dpagemap, at, end, args->block_size, look);
	for (i = 0; !err && i < args->num_blocks; i++, at += args->block_size) {
		if (fatal_signal_pending(current))
			err = -EINTR;
		out[i].none = look[i].none;
		out[i].system = look[i].system;
		out[i].device = peer ? look[i].peer : look[i].device;
		out[i].gpu_mapped = stub_pt_count(&vm->pt, at,
						  at + min_t(u64, args->block_size, end - at),
						  pte);
	}
	kvfree(look);

	return err;
}
