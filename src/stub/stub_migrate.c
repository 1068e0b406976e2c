// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Moves memory between RAM and VRAM on request, and looks where it is. Works
 * on pieces: parts of one VMA and of one naturally aligned 2 MiB, so that a
 * huge page stays one.
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
#include "stub_vm.h"

#define STUB_PIECE_PAGES (SZ_2M / PAGE_SIZE)
#define STUB_PIECE_TRIES 3

/*
 * A piece and where its pages are. Memory of files stays where it is, and so
 * does memory that its own process may not read, which nobody can look at.
 */
struct stub_piece {
	unsigned long start;
	unsigned long end;
	bool anonymous;
	struct drm_svm_residency page[STUB_PIECE_PAGES];
};

static int stub_piece_look(struct stub_vm *vm, struct stub_piece *piece)
{
	memset(piece->page, 0, sizeof(piece->page));

	return drm_svm_residency(vm->gpusvm.mm, vm->stub, piece->start, piece->end,
				 PAGE_SIZE, piece->page);
}

static unsigned long stub_piece_pages(const struct stub_piece *piece)
{
	return PHYS_PFN(piece->end - piece->start);
}

static unsigned long stub_piece_pages_in_vram(const struct stub_piece *piece)
{
	unsigned long i, count = 0;

	for (i = 0; i < stub_piece_pages(piece); i++)
		count += piece->page[i].device;

	return count;
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
		piece->anonymous = vma_is_anonymous(vma);
	}
	mmap_read_unlock(mm);
	if (!vma)
		return 0;

	err = stub_piece_look(vm, piece);

	return err ? err : 1;
}

/*
 * Moves a run of pages. It moves as a whole or not at all; where it does not,
 * @split looks for the page that is to blame, so that the others move. That
 * nests nine deep for a run of 512.
 */
static int stub_run_to_vram(struct stub_vm *vm, unsigned long start,
			    unsigned long npages, bool split)
{
	unsigned long half = npages / 2;
	int err, ret;

	err = drm_pagemap_populate_mm(vm->dpagemap, start, start + npages * PAGE_SIZE,
				      vm->gpusvm.mm, 0);
	if (err != -EBUSY || !half || !split || fatal_signal_pending(current))
		return err;

	err = stub_run_to_vram(vm, start, half, split);
	ret = stub_run_to_vram(vm, start + half * PAGE_SIZE, npages - half, split);

	return err ?: ret;
}

/* Moves what is not in VRAM yet, in runs: an allocation has a page for each. */
static int stub_piece_to_vram(struct stub_vm *vm, const struct stub_piece *piece,
			      bool split)
{
	unsigned long i, run, npages = stub_piece_pages(piece);
	int ret, err = 0;

	for (i = 0; i < npages; i += run) {
		run = 1;
		if (piece->page[i].device)
			continue;
		while (i + run < npages && !piece->page[i + run].device)
			run++;

		ret = stub_run_to_vram(vm, piece->start + i * PAGE_SIZE, run, split);
		err = err ?: ret;
	}

	return err;
}

/**
 * stub_migrate_piece() - Moves a part of 2 MiB to VRAM, as far as it goes
 * @vm: the VM, of a device with VRAM
 * @start: first byte
 * @end: first byte after it
 *
 * Context: may sleep; no mmap_lock.
 * Return: 0 or a negative errno. Some of it may have moved in any case.
 */
int stub_migrate_piece(struct stub_vm *vm, unsigned long start, unsigned long end)
{
	struct stub_piece *piece;
	int err;

	piece = kmalloc(sizeof(*piece), GFP_KERNEL);
	if (!piece)
		return -ENOMEM;

	if (mmget_not_zero(vm->gpusvm.mm)) {
		piece->start = start;
		piece->end = end;
		err = stub_piece_look(vm, piece);
		if (!err)
			err = stub_piece_to_vram(vm, piece, false);
		mmput_async(vm->gpusvm.mm);	/* a range's lock may be held */
	} else {
		err = -EFAULT;
	}
	kfree(piece);

	return err;
}

/*
 * The same until it is all there, or has been tried a few times: a page that
 * somebody looks at in this very moment moves in the next.
 */
static int stub_piece_all_to_vram(struct stub_vm *vm, struct stub_piece *piece)
{
	int tries, err;

	for (tries = 0; tries < STUB_PIECE_TRIES; tries++) {
		if (tries)
			usleep_range(100, 200);
		if (stub_piece_to_vram(vm, piece, true) == -ENOMEM)
			return -ENOMEM;
		err = stub_piece_look(vm, piece);
		if (err)
			return err;
		if (stub_piece_pages_in_vram(piece) == stub_piece_pages(piece))
			return 0;
	}

	return -EBUSY;
}

static int stub_span_to_vram(struct stub_vm *vm, struct stub_piece *piece,
			     unsigned long start, unsigned long end)
{
	unsigned long need = 0, have = stub_vram_num_free(&vm->stub->vram), at;
	bool any = false, busy = false;
	int ret;

	/* First look, so that too little VRAM is known before anything moves. */
	for (at = start; (ret = stub_piece_next(vm, piece, at, end)) > 0; at = piece->end) {
		any = true;
		need += stub_piece_pages(piece) - stub_piece_pages_in_vram(piece);
		if (need > have)
			return -ENOSPC;
	}
	if (ret)
		return ret;
	if (!any)
		return -ENOENT;

	for (at = start; (ret = stub_piece_next(vm, piece, at, end)) > 0; at = piece->end) {
		ret = piece->anonymous ? stub_piece_all_to_vram(vm, piece) : -EBUSY;
		if (ret && ret != -EBUSY)
			return ret;
		busy |= ret == -EBUSY;
	}
	if (ret)
		return ret;

	return busy ? -EBUSY : 0;
}

/* What a read by the CPU does. -ENOMEM; anything else shows in where it is then. */
static int stub_piece_touch(struct stub_vm *vm, const struct stub_piece *piece)
{
	struct mm_struct *mm = vm->gpusvm.mm;
	unsigned long i;
	int err = 0;

	for (i = 0; i < stub_piece_pages(piece) && err != -ENOMEM; i++) {
		bool unlocked = false;

		if (!piece->page[i].device)
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
		if (!stub_piece_pages_in_vram(piece))
			continue;
		ret = stub_piece_touch(vm, piece) ?: stub_piece_look(vm, piece);
		if (ret)
			return ret;
		busy |= stub_piece_pages_in_vram(piece) != 0;
	}
	if (ret)
		return ret;
	if (!any)
		return -ENOENT;

	return busy ? -EBUSY : 0;
}

static int stub_migrate(struct stub_vm *vm, unsigned long start, unsigned long end,
			int (*move)(struct stub_vm *vm, struct stub_piece *piece,
				    unsigned long start, unsigned long end))
{
	struct stub_piece *piece;
	int err;

	piece = kmalloc(sizeof(*piece), GFP_KERNEL);
	if (!piece)
		return -ENOMEM;

	err = move(vm, piece, start, end);
	kfree(piece);

	return err;
}

/**
 * stub_migrate_to_vram() - Moves a span to VRAM
 * @vm: the VM, of a device with VRAM
 * @start: first byte, page-aligned
 * @end: first byte after the span, page-aligned
 *
 * Context: may sleep; a thread of the process whose VM it is.
 * Return: 0 or an errno as the ioctl says.
 */
int stub_migrate_to_vram(struct stub_vm *vm, unsigned long start, unsigned long end)
{
	return stub_migrate(vm, start, end, stub_span_to_vram);
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
	return stub_migrate(vm, start, end, stub_span_to_ram);
}

/**
 * stub_residency() - Looks where pages are
 * @vm: the VM
 * @start: first byte, page-aligned
 * @end: first byte after the span, page-aligned
 * @block: bytes that make one result
 * @gpu_write: of the GPU's mappings, count those that it may write to
 * @out: receives the results
 *
 * Context: may sleep; a thread of the process whose VM it is.
 * Return: 0 or a negative errno.
 */
int stub_residency(struct stub_vm *vm, unsigned long start, unsigned long end,
		   unsigned long block, bool gpu_write, struct drm_svm_stub_block *out)
{
	unsigned long i, at, num = DIV_ROUND_UP(end - start, block);
	struct drm_svm_residency *look;
	int err;

	look = kvcalloc(num, sizeof(*look), GFP_KERNEL_ACCOUNT);
	if (!look)
		return -ENOMEM;

	err = drm_svm_residency(vm->gpusvm.mm, vm->stub, start, end, block, look);
	for (i = 0, at = start; !err && i < num; i++, at += block) {
		if (fatal_signal_pending(current))
			err = -EINTR;
		out[i].none = look[i].none;
		out[i].system = look[i].system;
		out[i].device = look[i].device;
		out[i].gpu_mapped = stub_pt_count(&vm->pt, at, at + min(block, end - at),
						  gpu_write ? STUB_PTE_WRITE : 0);
	}
	kvfree(look);

	return err;
}
