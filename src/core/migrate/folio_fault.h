// SPDX-License-Identifier: GPL-2.0-only OR MIT
//
// A CPU fault on a huge page of device memory, which comes back as one.
//
// That is a batch of one entry, and hardly more than what the kernel does for it: RAM, one mapping,
// one copy. So it does without lists of pieces, parts and what became of each. Whatever is found
// not to be so, ToRam goes on with from there: the page is another one by now, there is no huge
// page of RAM, or it cannot be mapped in one piece.
#ifndef DSVM_CORE_MIGRATE_FOLIO_FAULT_H
#define DSVM_CORE_MIGRATE_FOLIO_FAULT_H

#include "core/base/result.h"
#include "core/base/va_range.h"
#include "drm_svm/migrate.h"

namespace dsvm {

// Brings @span back, where the fault has found a huge page. kNoMemory; as ToRam::end(). Locking:
// the mm's lock. May sleep.
Status bring_folio_back(const dsvm_cpu_fault &fault, VaRange span);

} // namespace dsvm

#endif // DSVM_CORE_MIGRATE_FOLIO_FAULT_H
