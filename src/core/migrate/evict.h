// SPDX-License-Identifier: GPL-2.0-only OR MIT
//
// Empties an allocation of device memory, or a part of one, or all of a provider's.
//
// Pages are collected in batches; to_ram.h does the rest:
//
//	by page tables	the first time, where the owner has its memory where it had it when it
//			was moved: one walk and one invalidation a batch
//	by frames	what is left then, wherever it is mapped, over reverse mappings: a walk and
//			an invalidation a page; and huge pages
//
// A sweep over the allocation is repeated a bounded number of times, because a page may be held
// for a moment by a fault, a look-up or a copy.
#ifndef DSVM_CORE_MIGRATE_EVICT_H
#define DSVM_CORE_MIGRATE_EVICT_H

#include "core/base/result.h"
#include "drm_svm/migrate.h"
#include "drm_svm/os.h"

namespace dsvm {

// See dsvm_migrate_evict(). May sleep.
Status evict(const dsvm_devmem &devmem, dsvm_os_mm *mm, usize index, usize npages);

// See dsvm_migrate_evict_all(). May sleep.
Status evict_all(dsvm_os_provider *provider, u64 budget_ns);

} // namespace dsvm

#endif // DSVM_CORE_MIGRATE_EVICT_H
