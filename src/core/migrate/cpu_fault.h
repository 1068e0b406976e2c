// SPDX-License-Identifier: GPL-2.0-only OR MIT
//
// The CPU touches a device page: a granule around it comes back to RAM.
//
// A failure that may pass is none: the CPU comes back, or the kernel makes room. Only data
// that cannot be had any more is an error to the program.
#ifndef DSVM_CORE_MIGRATE_CPU_FAULT_H
#define DSVM_CORE_MIGRATE_CPU_FAULT_H

#include "drm_svm/migrate.h"

namespace dsvm {

// See dsvm_migrate_to_ram(). Locking: the mm's lock. May sleep.
dsvm_fault_result handle_cpu_fault(const dsvm_cpu_fault &fault);

} // namespace dsvm

#endif // DSVM_CORE_MIGRATE_CPU_FAULT_H
