// SPDX-License-Identifier: GPL-2.0-only OR MIT
//
// The whole core as one translation unit, which is how it goes into the
// kernel module: two C++ objects that share an inline function cannot be
// linked into one module (their COMDAT groups lose ftrace and objtool
// sections). On the host each file is compiled by itself.
#define DSVM_ONE_UNIT

#include "core/migrate/copies.cc"
#include "core/migrate/cpu_fault.cc"
#include "core/migrate/evict.cc"
#include "core/migrate/folio_fault.cc"
#include "core/migrate/frames.cc"
#include "core/migrate/job.cc"
#include "core/migrate/plan.cc"
#include "core/migrate/scratch.cc"
#include "core/migrate/slice.cc"
#include "core/migrate/split.cc"
#include "core/migrate/to_device.cc"
#include "core/migrate/to_ram.cc"
#include "core/svm/hmmptr.cc"
#include "core/svm/hmmptr_good.cc"
#include "core/svm/invalidate.cc"
#include "core/svm/mapper.cc"
#include "core/svm/mapping.cc"
#include "core/svm/pages.cc"
#include "core/svm/residency.cc"
#include "core/svm/residency_walk.cc"
#include "core/svm/space.cc"
#include "core/va/bind.cc"
#include "core/va/op_list.cc"
#include "core/va/space.cc"
#include "core/va/split.cc"
#include "core/va/va_index.cc"
#include "core/va/va_map.cc"

#include "abi/hmmptr_abi.cc"
#include "abi/migrate_abi.cc"
#include "abi/svm_abi.cc"
#include "abi/va_abi.cc"
