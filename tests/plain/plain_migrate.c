// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Moves memory between RAM and VRAM on request, and looks where it is, in pieces: parts of one
 * mapping of the process and of one naturally aligned 2 MiB.
 */
#include <linux/align.h>
#include <linux/delay.h>
#include <linux/hmm.h>
#include <linux/jiffies.h>
#include <linux/mm.h>
#include <linux/mmu_notifier.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>

#include <uapi/drm/drm_svm_stub.h>

#include "stub_drv.h"
#include "stub_pagemap.h"
#include "stub_vm.h"

/* So often a piece that is busy is tried. */
#define PLAIN_MIGRATE_TRIES 3

#define PLAIN_PIECE_PAGES (SZ_2M / PAGE_SIZE)

/* A piece and where its pages are, as HMM says it. */
struct plain_piece {
	unsigned long start;
	unsigned long end;
	unsigned long pfn[PLAIN_PIECE_PAGES];
};

/* --- looking --------------------------------------------------------------- */

/* A look has nothing to take back; it only has to hear of the event. */
static bool plain_look_invalidate(struct mmu_interval_notifier *notifier,
				  const struct mmu_notifier_range *range, unsigned long seq)
{
	mmu_interval_set_seq(notifier, seq);

	return true;
}

static const struct mmu_interval_notifier_ops plain_look_ops = {
	.invalidate = plain_look_invalidate,
};

static int plain_look_with(struct stub_vm *vm, struct plain_piece *piece,
			   struct mmu_interval_notifier *notifier)
{
	struct mm_struct *mm = vm->gpusvm.mm;
	struct hmm_range range = {
		.notifier = notifier,
		.start = piece->start,
		.end = piece->end,
		.hmm_pfns = piece->pfn,
		.dev_private_owner = stub_vm_owner(vm),
	};
	unsigned long deadline = jiffies + HZ;
	int err;

	/* Nothing is asked for, so nothing comes in that is not there. */
	do {
		range.notifier_seq = mmu_interval_read_begin(notifier);
		mmap_read_lock(mm);
		err = hmm_range_fault(&range);
		mmap_read_unlock(mm);
	} while (err == -EBUSY && time_before(jiffies, deadline));

	return err;
}

static int plain_look(struct stub_vm *vm, struct plain_piece *piece)
{
	struct mmu_interval_notifier notifier = {};
	struct mm_struct *mm = vm->gpusvm.mm;
	int err;

	err = mmu_interval_notifier_insert(&notifier, mm, piece->start,
					   piece->end - piece->start, &plain_look_ops);
	if (err)
		return err;
	err = plain_look_with(vm, piece, &notifier);
	mmu_interval_notifier_remove(&notifier);

	return err;
}

static unsigned long plain_piece_pages(const struct plain_piece *piece)
{
	return PHYS_PFN(piece->end - piece->start);
}

/* The device page that a page is in, or NULL. */
static struct page *plain_piece_device_page(const struct plain_piece *piece, unsigned long i)
{
	struct page *page;

	if (!(piece->pfn[i] & HMM_PFN_VALID))
		return NULL;
	page = hmm_pfn_to_page(piece->pfn[i]);

	return is_device_private_page(page) ? page : NULL;
}

static unsigned long plain_piece_in_vram(const struct plain_piece *piece)
{
	unsigned long i, count = 0;

	for (i = 0; i < plain_piece_pages(piece); i++)
		count += !!plain_piece_device_page(piece, i);

	return count;
}

/* Counts a page in the block that it is in. */
static void plain_residency_count(struct stub_vm *vm, const struct plain_piece *piece,
				  unsigned long i, bool peer, struct drm_svm_stub_block *block)
{
	struct page *page = plain_piece_device_page(piece, i);

	if (!(piece->pfn[i] & HMM_PFN_VALID))
		block->none++;
	else if (!page)
		block->system++;
	else if ((page_pgmap(page) == vm->dpagemap->pagemap) != peer)
		block->device++;
}

static int plain_residency_look(struct stub_vm *vm, struct plain_piece *piece,
				const struct drm_svm_stub_residency *args,
				struct drm_svm_stub_block *out)
{
	bool peer = args->flags & DRM_SVM_STUB_RESIDENCY_PEER;
	unsigned long i, at, end = args->start + args->size;
	int err;

	for (at = args->start; at < end; at = piece->end) {
		if (fatal_signal_pending(current))
			return -EINTR;
		piece->start = at;
		piece->end = min(ALIGN_DOWN(at, SZ_2M) + SZ_2M, end);
		err = plain_look(vm, piece);
		if (err)
			return err;
		for (i = 0; i < plain_piece_pages(piece); i++)
			plain_residency_count(vm, piece, i, peer,
					      &out[(at + PFN_PHYS(i) - args->start) /
						   args->block_size]);
		cond_resched();
	}

	return 0;
}

/**
 * stub_residency() - Looks where pages are
 * @vm: the VM
 * @args: the arguments, checked
 * @out: receives the results, which are zero
 *
 * Context: may sleep; a thread of the process whose VM it is.
 * Return: 0 or a negative errno.
 */
int stub_residency(struct stub_vm *vm, const struct drm_svm_stub_residency *args,
		   struct drm_svm_stub_block *out)
{
	u64 pte = args->flags & DRM_SVM_STUB_RESIDENCY_GPU_WRITE ? STUB_PTE_WRITE : 0;
	unsigned long i, at = args->start, end = args->start + args->size;
	struct plain_piece *piece;
	int err;

	piece = kmalloc(sizeof(*piece), GFP_KERNEL);
	if (!piece)
		return -ENOMEM;

	err = plain_residency_look(vm, piece, args, out);
	for (i = 0; !err && i < args->num_blocks; i++, at += args->block_size)
		out[i].gpu_mapped = stub_pt_count(&vm->pt, at,
						  at + min_t(u64, args->block_size, end - at),
						  pte);
	kfree(piece);

	return err;
}

/* --- pieces ---------------------------------------------------------------- */

/* Finds the first piece in [start, end) that the process may read. 0: none left. */
static int plain_piece_next(struct stub_vm *vm, struct plain_piece *piece,
			    unsigned long start, unsigned long end)
{
	struct mm_struct *mm = vm->gpusvm.mm;
	struct vm_area_struct *vma;

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

	return !!vma;
}

/* What a read of what is in VRAM by the CPU does. The rest shows in where it is then. */
static int plain_piece_to_ram(struct stub_vm *vm, struct plain_piece *piece)
{
	struct mm_struct *mm = vm->gpusvm.mm;
	unsigned long i;
	int err;

	err = plain_look(vm, piece);
	for (i = 0; !err && i < plain_piece_pages(piece); i++) {
		bool unlocked = false;

		if (!plain_piece_device_page(piece, i))
			continue;
		mmap_read_lock(mm);
		err = fixup_user_fault(mm, piece->start + PFN_PHYS(i), FAULT_FLAG_REMOTE,
				       &unlocked);
		mmap_read_unlock(mm);
		if (err != -ENOMEM)
			err = 0;
	}

	return err;
}

/* --- moving ---------------------------------------------------------------- */

/* One piece, as a whole. Where some of it is there, that comes back first. */
static int plain_piece_try(struct stub_vm *vm, struct plain_piece *piece, u32 timeslice_ms)
{
	unsigned int tries;
	int err;

	for (tries = 0; tries < PLAIN_MIGRATE_TRIES; tries++) {
		if (tries)
			usleep_range(100, 200);
		err = plain_devmem_move(vm->dpagemap, vm->gpusvm.mm, piece->start, piece->end,
					timeslice_ms);
		if (err != -EBUSY)
			break;
		err = plain_piece_to_ram(vm, piece) ?: -EBUSY;
		if (err != -EBUSY)
			break;
	}

	switch (err) {
	case 0:
	case -ENODEV:
	case -ENOMEM:
	case -ENOSPC:
		return err;
	default:
		/* -EINVAL, -ENOENT: the mapping is not what it was. */
		return -EBUSY;
	}
}

/* The same with results: mainline says nothing of single pages, so they are looked for. */
static int plain_piece_to_vram(struct stub_vm *vm, struct plain_piece *piece,
			       struct drm_svm_stub_migrate *args)
{
	u64 was_there, is_there, npages = plain_piece_pages(piece);
	int err, ret;

	err = plain_look(vm, piece);
	if (err)
		return err;
	was_there = plain_piece_in_vram(piece);
	ret = plain_piece_try(vm, piece, args->timeslice_ms);
	err = plain_look(vm, piece);
	if (err)
		return err;
	is_there = plain_piece_in_vram(piece);

	was_there = min(was_there, is_there);
	args->result[DRM_SVM_STUB_WAS_THERE] += was_there;
	args->result[DRM_SVM_STUB_MOVED] += is_there - was_there;
	args->result[DRM_SVM_STUB_STAY_BUSY] += npages - is_there;

	return ret;
}

/**
 * stub_migrate_to_vram() - Moves a span to VRAM
 * @vm: the VM, of a device with VRAM
 * @args: the arguments, checked; receives the results, which are zero
 * @report: NULL, or it is not to be had
 *
 * Context: may sleep; a thread of the process whose VM it is.
 * Return: 0 or an errno as the ioctl says.
 */
int stub_migrate_to_vram(struct stub_vm *vm, struct drm_svm_stub_migrate *args, u8 *report)
{
	unsigned long at = args->start, end = args->start + args->size;
	bool any = false, busy = false;
	struct plain_piece *piece;
	int ret;

	if (report || args->flags & DRM_SVM_STUB_MIGRATE_FAULT_IN)
		return -EOPNOTSUPP;

	piece = kmalloc(sizeof(*piece), GFP_KERNEL);
	if (!piece)
		return -ENOMEM;
	for (; (ret = plain_piece_next(vm, piece, at, end)) > 0; at = piece->end) {
		any = true;
		ret = plain_piece_to_vram(vm, piece, args);
		if (ret && ret != -EBUSY)
			break;
		busy |= ret;
	}
	kfree(piece);
	if (ret)
		return ret;
	if (!any)
		return -ENOENT;

	return busy ? -EBUSY : 0;
}

static int plain_span_to_ram(struct stub_vm *vm, struct plain_piece *piece,
			     unsigned long start, unsigned long end)
{
	bool any = false, busy = false;
	unsigned long at;
	int ret;

	for (at = start; (ret = plain_piece_next(vm, piece, at, end)) > 0; at = piece->end) {
		any = true;
		ret = plain_piece_to_ram(vm, piece) ?: plain_look(vm, piece);
		if (ret)
			return ret;
		busy |= !!plain_piece_in_vram(piece);
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
	struct plain_piece *piece;
	int err;

	piece = kmalloc(sizeof(*piece), GFP_KERNEL);
	if (!piece)
		return -ENOMEM;

	err = plain_span_to_ram(vm, piece, start, end);
	kfree(piece);

	/* What does not come from hardware that has gone never will. */
	return err == -EBUSY && READ_ONCE(vm->stub->vram.dead) ? -ENODEV : err;
}
