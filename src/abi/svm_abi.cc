// SPDX-License-Identifier: GPL-2.0-only OR MIT
//
// drm_svm/svm.h for C: forwards to core/svm and decides nothing.
#include "core/svm/pages.h"
#include "core/svm/residency.h"
#include "core/svm/residency_walk.h"
#include "core/svm/space.h"
#include "drm_svm/svm.h"

using namespace dsvm;

extern "C" {

int dsvm_svm_init(dsvm_svm *svm)
{
	return Space{*svm}.init().code();
}

void dsvm_svm_fini(dsvm_svm *svm)
{
	Space{*svm}.clear();
}

int dsvm_svm_find_or_insert(dsvm_svm *svm, const dsvm_find_or_insert *request, dsvm_range **out)
{
	return Space{*svm}.find_or_insert(*request, *out).code();
}

int dsvm_svm_acquire(dsvm_svm *svm, const dsvm_find_or_insert *request, dsvm_range **out)
{
	return Space{*svm}.acquire(*request, *out).code();
}

void dsvm_svm_range_remove(dsvm_svm *svm, dsvm_notifier *notifier, dsvm_range *range)
{
	Space{*svm}.remove(*notifier, *range);
}

dsvm_notifier *dsvm_svm_notifier_find(dsvm_svm *svm, dsvm_usize first, dsvm_usize last)
{
	return Space{*svm}.find_notifier(VaRange{first, last});
}

dsvm_range *dsvm_svm_range_find(dsvm_notifier *notifier, dsvm_usize first, dsvm_usize last)
{
	return find_range(*notifier, VaRange{first, last});
}

dsvm_bool dsvm_svm_has_range(dsvm_svm *svm, dsvm_usize first, dsvm_usize last)
{
	return Space{*svm}.has_range(VaRange{first, last});
}

dsvm_usize dsvm_svm_find_vma_start(dsvm_svm *svm, dsvm_usize first, dsvm_usize last)
{
	return Space{*svm}.find_vma_start(VaRange{first, last});
}

dsvm_range *dsvm_svm_range_first(dsvm_svm *svm, dsvm_usize first, dsvm_usize last)
{
	return Space{*svm}.first_range(VaRange{first, last});
}

dsvm_invalidated dsvm_svm_invalidate(dsvm_svm *svm, dsvm_notifier *notifier,
				     const dsvm_invalidation *event)
{
	return Space{*svm}.invalidate(*notifier, *event);
}

void dsvm_svm_invalidate_finish(dsvm_svm *svm, dsvm_notifier *notifier,
				const dsvm_invalidation *event)
{
	Space{*svm}.finish_invalidation(*notifier, *event);
}

void dsvm_svm_range_set_unmapped(dsvm_svm *svm, dsvm_range *range, dsvm_usize first,
				 dsvm_usize last)
{
	Space{*svm}.set_unmapped(*range, VaRange{first, last});
}

void dsvm_svm_pages_set_unmapped(dsvm_svm *, dsvm_pages *pages)
{
	Pages{*pages, nullptr}.set_unmapped();
}

void dsvm_svm_range_set_gone(dsvm_svm *svm, dsvm_range *range, dsvm_usize first, dsvm_usize last,
			     dsvm_usize *zap_first, dsvm_usize *zap_last)
{
	const VaRange zap = Space{*svm}.set_gone(*range, VaRange{first, last});

	*zap_first = zap.first;
	*zap_last = zap.last;
}

void dsvm_svm_range_unmap_gone(dsvm_svm *svm, dsvm_range *range)
{
	Space{*svm}.unmap_gone(*range);
}

int dsvm_svm_range_trim(dsvm_svm *svm, dsvm_notifier *notifier, dsvm_range *range)
{
	const Expected<bool> left = Space{*svm}.trim(*notifier, *range);

	return left.is_error() ? left.status().code() : left.value();
}

int dsvm_svm_get_pages(dsvm_pages *pages, dsvm_get_pages *request)
{
	return Pages{*pages, request->dev}.collect(*request).code();
}

void dsvm_svm_unmap_pages(dsvm_pages *pages, dsvm_os_dev *dev, dsvm_usize npages)
{
	Pages{*pages, dev}.unmap(npages);
}

void dsvm_svm_free_pages(dsvm_pages *pages, dsvm_os_dev *dev, dsvm_usize npages)
{
	Pages{*pages, dev}.free(npages);
}

int dsvm_svm_range_evict(dsvm_svm *svm, dsvm_os_notifier *notifier, dsvm_range *range)
{
	return fault_to_ram(svm->mm, notifier, span_of(range->node)).code();
}

int dsvm_svm_residency(dsvm_os_mm *mm, dsvm_os_notifier *notifier, void *owner, const void *pagemap,
		       dsvm_usize first, dsvm_usize last, dsvm_usize block,
		       struct dsvm_residency *out)
{
	return count_residency(mm, notifier, owner, pagemap, VaRange{first, last}, block, out)
		.code();
}

int dsvm_svm_walk_residency(dsvm_os_mm *mm, dsvm_os_notifier *notifier, dsvm_usize first,
			    dsvm_usize last, const dsvm_residency_visitor *visitor)
{
	return walk_residency(mm, notifier, VaRange{first, last}, *visitor).code();
}

dsvm_scan dsvm_svm_scan(dsvm_os_mm *mm, dsvm_os_notifier *notifier, void *owner, dsvm_usize first,
			dsvm_usize last, const void *pagemap)
{
	return scan(mm, notifier, owner, VaRange{first, last}, pagemap);
}

} // extern "C"
