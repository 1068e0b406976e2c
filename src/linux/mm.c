// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * drm_svm/os.h: address spaces and interval notifiers.
 */
#include <linux/mm.h>
#include <linux/mmap_lock.h>
#include <linux/mmu_notifier.h>
#include <linux/sched/mm.h>

#include "compat/mm_compat.h"
#include "drm_svm/os.h"
#include "internal.h"

dsvm_bool dsvm_os_mm_get(struct dsvm_os_mm *mm)
{
	return mmget_not_zero(to_mm(mm));
}

void dsvm_os_mm_put_async(struct dsvm_os_mm *mm)
{
	mmput_async(to_mm(mm));
}

dsvm_bool dsvm_os_mm_is_gone(struct dsvm_os_mm *mm)
{
	/* The last thing that exit_mmap() does. */
	return mtree_empty(&to_mm(mm)->mm_mt);
}

void dsvm_os_mm_read_lock(struct dsvm_os_mm *mm)
{
	mmap_read_lock(to_mm(mm));
}

dsvm_bool dsvm_os_mm_read_trylock(struct dsvm_os_mm *mm)
{
	return mmap_read_trylock(to_mm(mm));
}

void dsvm_os_mm_read_unlock(struct dsvm_os_mm *mm)
{
	mmap_read_unlock(to_mm(mm));
}

static void describe_vma(struct vm_area_struct *vma, struct dsvm_vma_info *out)
{
	const unsigned long special = VM_IO | VM_PFNMAP | COMPAT_VM_SHADOW_STACK;

	*out = (struct dsvm_vma_info) {
		.vma = os_vma(vma),
		.first = vma->vm_start,
		.last = vma->vm_end - 1,
		.readable = !!(vma->vm_flags & VM_READ),
		.writable = !!(vma->vm_flags & VM_WRITE),
		.anonymous = vma_is_anonymous(vma),
		.special = !!(vma->vm_flags & special),
	};
}

static dsvm_bool describe_if_any(struct vm_area_struct *vma, struct dsvm_vma_info *out)
{
	if (vma)
		describe_vma(vma, out);
	return vma;
}

int dsvm_os_vma_lock(struct dsvm_os_mm *mm, dsvm_usize addr, struct dsvm_vma_info *out)
{
	struct vm_area_struct *vma;
	int ret;

	mmap_read_lock(to_mm(mm));
	/* No user is needed: exit_mmap() takes VMAs out under this lock for writing. */
	vma = vma_lookup(to_mm(mm), addr);
	if (likely(vma && atomic_read(&to_mm(mm)->mm_users))) {
		describe_vma(vma, out);
		return 0;
	}

	ret = atomic_read(&to_mm(mm)->mm_users) ? -ENOENT : -EFAULT;
	mmap_read_unlock(to_mm(mm));
	return ret;
}

dsvm_bool dsvm_os_vma_at(struct dsvm_os_mm *mm, dsvm_usize addr, struct dsvm_vma_info *out)
{
	return describe_if_any(vma_lookup(to_mm(mm), addr), out);
}

dsvm_bool dsvm_os_vma_first(struct dsvm_os_mm *mm, dsvm_usize first, dsvm_usize last,
			    struct dsvm_vma_info *out)
{
	return describe_if_any(find_vma_intersection(to_mm(mm), first, last + 1), out);
}

dsvm_usize dsvm_os_notifier_read_begin(struct dsvm_os_notifier *notifier)
{
	return mmu_interval_read_begin(to_notifier(notifier));
}

dsvm_bool dsvm_os_notifier_read_retry(struct dsvm_os_notifier *notifier, dsvm_usize seq)
{
	return mmu_interval_read_retry(to_notifier(notifier), seq);
}

dsvm_usize dsvm_os_notifier_seq(struct dsvm_os_notifier *notifier)
{
	/* Pairs with the write in mmu_interval_set_seq(). */
	return READ_ONCE(to_notifier(notifier)->invalidate_seq);
}

void dsvm_os_notifier_set_seq(struct dsvm_os_notifier *notifier, dsvm_usize seq)
{
	mmu_interval_set_seq(to_notifier(notifier), seq);
}

void dsvm_os_notifier_copy_seq(struct dsvm_os_notifier *to, struct dsvm_os_notifier *from)
{
	mmu_interval_set_seq(to_notifier(to), dsvm_os_notifier_seq(from));
}

void dsvm_os_notifier_remove(struct dsvm_os_notifier *notifier)
{
	mmu_interval_notifier_remove(to_notifier(notifier));
}
