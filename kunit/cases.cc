// SPDX-License-Identifier: GPL-2.0-only OR MIT
//
// The one C++ translation unit of drm_svm_kunit.ko. The host compiles the same files
// one by one; a kernel module cannot hold two C++ objects that share an inline
// function, because `ld -r` discards one copy and not the references to it.

// The core and its C ABI.
#include "abi/core.cc"

// What it runs on.
#include "fake/dma.cc"
#include "fake/engine.cc"
#include "fake/env.cc"
#include "fake/folio.cc"
#include "fake/migrate.cc"
#include "fake/mm.cc"
#include "fake/notifier.cc"
#include "fake/world.cc"

// The cases.
#include "cases/aug_tree.cc"
#include "cases/base.cc"
#include "cases/cpu_fault.cc"
#include "cases/env.cc"
#include "cases/evict.cc"
#include "cases/evict_part.cc"
#include "cases/fake.cc"
#include "cases/fake_migrate.cc"
#include "cases/fake_mmu.cc"
#include "cases/hmmptr.cc"
#include "cases/hmmptr_good.cc"
#include "cases/hmmptr_time.cc"
#include "cases/huge.cc"
#include "cases/interval_tree.cc"
#include "cases/job.cc"
#include "cases/list.cc"
#include "cases/peer.cc"
#include "cases/pipeline.cc"
#include "cases/plan.cc"
#include "cases/svm_access.cc"
#include "cases/svm_find.cc"
#include "cases/svm_iova.cc"
#include "cases/svm_model.cc"
#include "cases/svm_pages.cc"
#include "cases/svm_passes.cc"
#include "cases/svm_remap.cc"
#include "cases/svm_residency.cc"
#include "cases/svm_scan.cc"
#include "cases/svm_space.cc"
#include "cases/svm_trim.cc"
#include "cases/svm_validity.cc"
#include "cases/to_device.cc"
#include "cases/va_bind.cc"
#include "cases/va_index.cc"
#include "cases/va_merge.cc"
#include "cases/va_ops.cc"
#include "cases/va_random.cc"
#include "cases/va_space.cc"
#include "cases/va_split.cc"
