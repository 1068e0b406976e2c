// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * drm_svm/os.h as far as windows and ranges want it, on svm_kernel.h; os.c has the rest. What
 * collects and maps pages is called by no benchmark.
 */
#include "bench/host/svm_kernel.h"
#include "drm_svm/os.h"

static struct mmu_interval_notifier *to_notifier(struct dsvm_os_notifier *notifier)
{
	return (struct mmu_interval_notifier *)notifier;
}

dsvm_u64 dsvm_os_now_ns(void)
{
	return 0;
}

dsvm_u64 dsvm_os_tick_ns(void)
{
	return 0;
}

dsvm_bool dsvm_os_killed(void)
{
	return false;
}

void dsvm_os_read_lock(struct dsvm_os_rwsem *lock)
{
}

void dsvm_os_read_unlock(struct dsvm_os_rwsem *lock)
{
}

void dsvm_os_write_lock(struct dsvm_os_rwsem *lock)
{
}

void dsvm_os_write_unlock(struct dsvm_os_rwsem *lock)
{
}

void dsvm_os_assert_held(struct dsvm_os_rwsem *lock)
{
}

void dsvm_os_assert_held_write(struct dsvm_os_rwsem *lock)
{
}

dsvm_bool dsvm_os_mm_get(struct dsvm_os_mm *mm)
{
	return mmget_not_zero(mm);
}

void dsvm_os_mm_put_async(struct dsvm_os_mm *mm)
{
}

void dsvm_os_mm_read_lock(struct dsvm_os_mm *mm)
{
}

void dsvm_os_mm_read_unlock(struct dsvm_os_mm *mm)
{
}

dsvm_bool dsvm_os_vma_at(struct dsvm_os_mm *mm, dsvm_usize addr, struct dsvm_vma_info *out)
{
	const struct vm_area_struct *const vma = vma_lookup((struct mm_struct *)mm, addr);

	if (!vma)
		return false;
	*out = (struct dsvm_vma_info){
		.vma = (struct dsvm_os_vma *)vma,
		.first = vma->vm_start,
		.last = vma->vm_end - 1,
		.readable = vma->vm_flags & VM_READ,
		.writable = vma->vm_flags & VM_WRITE,
		.anonymous = true,
	};
	return true;
}

int dsvm_os_vma_lock(struct dsvm_os_mm *mm, dsvm_usize addr, struct dsvm_vma_info *out)
{
	return dsvm_os_vma_at(mm, addr, out) ? 0 : -DSVM_ENOENT;
}

dsvm_usize dsvm_os_notifier_seq(struct dsvm_os_notifier *notifier)
{
	return to_notifier(notifier)->invalidate_seq;
}

void dsvm_os_notifier_set_seq(struct dsvm_os_notifier *notifier, dsvm_usize seq)
{
	to_notifier(notifier)->invalidate_seq = seq;
}

void dsvm_os_notifier_copy_seq(struct dsvm_os_notifier *to, struct dsvm_os_notifier *from)
{
	to_notifier(to)->invalidate_seq = to_notifier(from)->invalidate_seq;
}

void dsvm_os_notifier_remove(struct dsvm_os_notifier *notifier)
{
	mmu_interval_notifier_remove(to_notifier(notifier));
}

/* --- Nobody comes here --- */

void dsvm_os_relax(void)
{
	BENCH_NOT_MODELLED();
}

dsvm_usize dsvm_os_notifier_read_begin(struct dsvm_os_notifier *notifier)
{
	BENCH_NOT_MODELLED();
}

int dsvm_os_hmm_fault(struct dsvm_hmm_request *request)
{
	BENCH_NOT_MODELLED();
}

enum dsvm_page_kind dsvm_os_hmm_kind(dsvm_usize entry)
{
	BENCH_NOT_MODELLED();
}

void dsvm_os_dma_unmap(struct dsvm_os_dev *dev, const struct dsvm_dma_addr *addr)
{
	BENCH_NOT_MODELLED();
}

void dsvm_os_iova_unlink(struct dsvm_os_dev *dev, struct dsvm_iova *iova, dsvm_usize offset,
			 dsvm_usize bytes, enum dsvm_dma_dir dir)
{
	BENCH_NOT_MODELLED();
}

void dsvm_os_iova_free(struct dsvm_os_dev *dev, struct dsvm_iova *iova)
{
	BENCH_NOT_MODELLED();
}

void dsvm_os_provider_unmap(struct dsvm_os_provider *provider, struct dsvm_os_dev *dev,
			    const struct dsvm_dma_addr *addr)
{
	BENCH_NOT_MODELLED();
}

void dsvm_os_provider_put(struct dsvm_os_provider *provider)
{
	BENCH_NOT_MODELLED();
}
