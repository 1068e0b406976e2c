/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * linux/mm.h, as it differs between kernels.
 */
#ifndef DSVM_MM_COMPAT_H
#define DSVM_MM_COMPAT_H

#include <linux/mm.h>

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

#endif /* DSVM_MM_COMPAT_H */
