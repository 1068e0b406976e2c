// SPDX-License-Identifier: GPL-2.0-only OR MIT
//
// drm_svm/hmmptr.h for C: forwards to core/svm and decides nothing.
#include "core/svm/hmmptr.h"
#include "drm_svm/hmmptr.h"

using namespace dsvm;

extern "C" {

void dsvm_hmmptr_set_init(dsvm_hmmptr_set *set)
{
	set->piece_size = DSVM_PIECE_SIZE;
	link_init(set->invalidated);
	link_init(set->repin);
}

int dsvm_hmmptr_init(dsvm_hmmptr *hmmptr)
{
	return Hmmptr{*hmmptr}.init().code();
}

void dsvm_hmmptr_release(dsvm_hmmptr *hmmptr)
{
	Hmmptr{*hmmptr}.release();
}

int dsvm_hmmptr_populate(dsvm_hmmptr *hmmptr, dsvm_usize first, dsvm_usize last, dsvm_access access)
{
	return Hmmptr{*hmmptr}.populate(VaRange{first, last}, access).code();
}

int dsvm_hmmptr_map(dsvm_hmmptr *hmmptr, dsvm_usize first, dsvm_usize last)
{
	return Hmmptr{*hmmptr}.map(VaRange{first, last}).code();
}

int dsvm_hmmptr_get_pages(dsvm_hmmptr *hmmptr, dsvm_usize first, dsvm_usize last,
			  dsvm_access access)
{
	return Hmmptr{*hmmptr}.get_pages(VaRange{first, last}, access).code();
}

void dsvm_hmmptr_unmap(dsvm_hmmptr *hmmptr, dsvm_usize first, dsvm_usize last, dsvm_bool forget)
{
	Hmmptr{*hmmptr}.unmap(VaRange{first, last}, forget);
}

dsvm_bool dsvm_hmmptr_valid(dsvm_hmmptr *hmmptr, dsvm_usize first, dsvm_usize last)
{
	return Hmmptr{*hmmptr}.is_valid(VaRange{first, last});
}

dsvm_bool dsvm_hmmptr_next(dsvm_hmmptr *hmmptr, dsvm_usize first, dsvm_usize last,
			   dsvm_hmmptr_cursor *cursor)
{
	return Hmmptr{*hmmptr}.next(VaRange{first, last}, *cursor);
}

dsvm_invalidated dsvm_hmmptr_invalidate(dsvm_hmmptr_event *event)
{
	return Hmmptr::invalidate(*event);
}

void dsvm_hmmptr_invalidate_finish(dsvm_hmmptr_event *event)
{
	Hmmptr::finish_invalidation(*event);
}

void dsvm_hmmptr_inject(dsvm_hmmptr *hmmptr, dsvm_usize first, dsvm_usize last)
{
	Hmmptr{*hmmptr}.inject(VaRange{first, last});
}

int dsvm_hmmptr_revalidate(dsvm_hmmptr_set *set)
{
	return revalidate(*set).code();
}

dsvm_bool dsvm_hmmptr_all_valid(const dsvm_hmmptr_set *set)
{
	dsvm_os_assert_held(set->svm.lock);
	return link_is_empty(set->invalidated) && link_is_empty(set->repin);
}

} // extern "C"
