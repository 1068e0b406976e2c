// SPDX-License-Identifier: GPL-2.0-only OR MIT
#include "core/migrate/split.h"

#include "core/base/bits.h"
#include "core/migrate/entry.h"
#include "core/migrate/scratch.h"
#include "core/svm/hmm.h"

namespace dsvm {

Status split_at(dsvm_os_vma *vma, usize addr, void *owner, dsvm_os_page *fault_page)
{
	const VaRange page = aligned_block(addr, DSVM_PAGE_SIZE);
	Scratch scratch;
	scratch.use_own();

	dsvm_migrate_span span{};
	span.vma = vma;
	span.first = page.first;
	span.last = page.last;
	span.npages = 1;
	span.owner = owner;
	span.select = DSVM_MIGRATE_DEVICE;
	span.fault_page = fault_page;
	span.src = scratch.src();
	span.dst = scratch.dst();
	DSVM_TRY(Status{dsvm_os_migrate_setup(&span)});
	// What could not be split is not collected; nor what is not there any more.
	const usize src = span.src[0];
	const dsvm_os_page *const found = entry_has_page(src) ? dsvm_os_migrate_page(src) : nullptr;
	dsvm_os_migrate_pages(&span);
	dsvm_os_migrate_finalize(&span);
	return found && (!fault_page || found == fault_page) ? Status::ok() : kBusy;
}

Status split_cut_folio(dsvm_os_mm *mm, dsvm_os_notifier *notifier, usize addr, void *owner)
{
	if (dsvm_os_huge_order() == 0)
		return Status::ok();

	MmUser user{mm};
	if (!user.is_alive())
		return kFault;
	MmReadGuard guard{mm};
	dsvm_vma_info vma;
	if (!dsvm_os_vma_at(mm, addr, &vma) || !vma.anonymous || vma.special)
		return Status::ok();

	usize entry;
	if (!hmm_look(mm, notifier, owner, aligned_block(addr, DSVM_PAGE_SIZE), &entry) ||
	    dsvm_os_hmm_kind(entry) != DSVM_PAGE_DEVICE || !dsvm_os_hmm_is_part(entry))
		return Status::ok();

	return split_at(vma.vma, addr, owner, nullptr);
}

} // namespace dsvm
