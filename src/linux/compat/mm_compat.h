/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * linux/mm.h, as it differs between kernels.
 */
#ifndef DSVM_MM_COMPAT_H
#define DSVM_MM_COMPAT_H

#include <linux/gfp.h>
#include <linux/mm.h>
#include <linux/mmap_lock.h>

/*
 * 2026-11: 6.3 made vm_flags read-only and added functions that change them,
 * for who holds the mmap lock for writing.
 */
static inline void compat_vm_flags_set(struct vm_area_struct *vma, unsigned long flags)
{
#ifdef HAVE_VM_FLAGS_SET
	vm_flags_set(vma, flags);
#else
	vma->vm_flags |= flags;
#endif
}

/*
 * 2026-11: 6.6 added shadow stacks, whose page-table entries count as writable,
 * though nobody but CALL and RET may write there.
 */
#ifdef VM_SHADOW_STACK
#define COMPAT_VM_SHADOW_STACK VM_SHADOW_STACK
#else
#define COMPAT_VM_SHADOW_STACK VM_NONE
#endif

/* 2026-11: 6.13 dropped the last parameter, which asked for the order of a huge page. */
static inline struct folio *compat_vma_alloc_folio(gfp_t gfp, unsigned int order,
						   struct vm_area_struct *vma, unsigned long addr)
{
#ifdef HAVE_VMA_ALLOC_FOLIO_HUGEPAGE
	return vma_alloc_folio(gfp, order, vma, addr, order != 0);
#else
	return vma_alloc_folio(gfp, order, vma, addr);
#endif
}

/*
 * 2026-11: 6.15 keeps a VMA by a count, which its lock for readers takes, and a thread can
 * have that without the mmap lock, and several times. Before, there is only one that a
 * thread may not take twice, or none. The caller holds the mmap lock.
 */
static inline bool compat_vma_pin(struct vm_area_struct *vma)
{
#if defined(HAVE_VMA_START_READ_LOCKED) && defined(CONFIG_PER_VMA_LOCK)
	return vma_start_read_locked(vma);
#else
	return false;
#endif
}

static inline void compat_vma_unpin(struct vm_area_struct *vma)
{
#if defined(HAVE_VMA_START_READ_LOCKED) && defined(CONFIG_PER_VMA_LOCK)
	vma_end_read(vma);
#endif
}

#endif /* DSVM_MM_COMPAT_H */
