// SPDX-License-Identifier: GPL-2.0-only OR MIT
//
// A walk over an address space that says where its pages are: VMA by VMA, in runs of pages that are
// alike. It looks once at each page, at no moment at all of them, and brings nothing in.
#ifndef DSVM_CORE_SVM_RESIDENCY_WALK_H
#define DSVM_CORE_SVM_RESIDENCY_WALK_H

#include "core/base/result.h"
#include "core/base/va_range.h"
#include "drm_svm/os.h"
#include "drm_svm/svm.h"

namespace dsvm {

// See dsvm_svm_walk_residency(). Keeps the mm's users. May sleep.
Status walk_residency(dsvm_os_mm *mm, dsvm_os_notifier *notifier, VaRange span,
		      const dsvm_residency_visitor &visitor);

} // namespace dsvm

#endif // DSVM_CORE_SVM_RESIDENCY_WALK_H
