// SPDX-License-Identifier: GPL-2.0-only OR MIT
//
// Looks at where the pages of a process live, in numbers or in a word, and brings them back to RAM
// through the kernel's own fault path. Both go over the collection protocol
// of hmm.h, in pieces of bounded size.
#ifndef DSVM_CORE_SVM_RESIDENCY_H
#define DSVM_CORE_SVM_RESIDENCY_H

#include "core/base/result.h"
#include "core/base/va_range.h"
#include "drm_svm/os.h"
#include "drm_svm/svm.h"

namespace dsvm {

// Counts, for each @block bytes of the span (page aligned), where its pages are, as seen from
// the device memory @pagemap. Keeps the mm's users. May sleep.
Status count_residency(dsvm_os_mm *mm, dsvm_os_notifier *notifier, void *owner, const void *pagemap,
		       VaRange span, usize block, dsvm_residency *out);

constexpr Status kTimedOut{-DSVM_ETIME};

// Faults the span in as somebody would who owns the device pages of @owner alone, or none.
// kTimedOut if pages keep coming back to a device. May sleep.
Status fault_to_ram(dsvm_os_mm *mm, dsvm_os_notifier *notifier, VaRange span,
		    void *owner = nullptr);

// Sums up where the pages of the span are; see dsvm_svm_scan(). May sleep.
dsvm_scan scan(dsvm_os_mm *mm, dsvm_os_notifier *notifier, void *owner, VaRange span,
	       const void *pagemap);

} // namespace dsvm

#endif // DSVM_CORE_SVM_RESIDENCY_H
