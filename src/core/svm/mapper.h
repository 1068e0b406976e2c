// SPDX-License-Identifier: GPL-2.0-only OR MIT
//
// Maps the pages of a collection for a device: all of them, or none.
//
// RAM is mapped in one of three ways: linked into one window of device addresses; where nobody has
// to undo a mapping, in rows, with one call for pages whose frames follow each other, as those of a
// large folio and of a freshly filled array do; and elsewhere run by run.
#ifndef DSVM_CORE_SVM_MAPPER_H
#define DSVM_CORE_SVM_MAPPER_H

#include "core/base/result.h"
#include "core/svm/hmm.h"
#include "core/svm/mapping.h"
#include "drm_svm/os.h"
#include "drm_svm/svm.h"

namespace dsvm {

// Whether the CPU maps all of a span in one go, with the entry of its first page.
bool is_whole_run(usize entry, VaRange span);

// What has been mapped.
struct MappedPages {
	dsvm_os_provider *provider; // of the device pages, referenced; nullptr if there are none
	u32 flags;		    // DSVM_PAGES_*: what the pages are from now on
};

// Locking: the window's lock, under which the entries are known to be valid. Reclaim-safe.
//
// kAgain: a page that is to be written is shared, and of a device; kFault, kUnsupported, kNoMemory.
Expected<MappedPages> map_entries(const dsvm_get_pages &request, dsvm_mapping &mapping,
				  const usize *entries, usize npages);
// The same of @npages that is_whole_run() says of, with the entry of the first one. kNoSpace, too: each
// page needs an entry after all.
Status map_whole_run(const dsvm_get_pages &request, usize entry, usize npages, dsvm_dma_addr &out,
		     MappedPages &mapped);

} // namespace dsvm

#endif // DSVM_CORE_SVM_MAPPER_H
