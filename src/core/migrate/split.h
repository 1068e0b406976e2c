// SPDX-License-Identifier: GPL-2.0-only OR MIT
//
// Huge device folios become single pages, and stay where they are.
//
// No module may split a folio. But to collect a single page of one for migration is to have it
// split; the page is put back.
//
// That is for what an unmapping has left: the kernel splits a huge folio of RAM in the background
// when a part of it was unmapped, but not one of device memory, and all its frames stay taken until
// the last page of it goes. After a split those that nobody maps any more are free. It costs
// whoever mirrors the page an invalidation, so it is done only where there is something to split.
#ifndef DSVM_CORE_MIGRATE_SPLIT_H
#define DSVM_CORE_MIGRATE_SPLIT_H

#include "core/base/result.h"
#include "drm_svm/os.h"

namespace dsvm {

// Has the kernel split the device folio of @owner's that the page at @addr is of. @fault_page: that
// page, of who comes from a CPU fault on it; or nullptr. kBusy: somebody uses it, or the page is
// not there any more. Locking: the mm's lock. May sleep.
Status split_at(dsvm_os_vma *vma, usize addr, void *owner, dsvm_os_page *fault_page);

// See dsvm_migrate_split(). May sleep.
Status split_cut_folio(dsvm_os_mm *mm, dsvm_os_notifier *notifier, usize addr, void *owner);

} // namespace dsvm

#endif // DSVM_CORE_MIGRATE_SPLIT_H
