// SPDX-License-Identifier: GPL-2.0-only OR MIT
//
// Maps the pages of a collection for a device, one after the other, and knows what it has done
// so far: all of them, or none.
#ifndef DSVM_CORE_SVM_MAPPER_H
#define DSVM_CORE_SVM_MAPPER_H

#include "core/base/result.h"
#include "core/svm/hmm.h"
#include "core/svm/mapping.h"
#include "drm_svm/os.h"
#include "drm_svm/svm.h"

namespace dsvm {

class Mapper {
public:
	Mapper(const dsvm_get_pages &request, dsvm_mapping &mapping)
		: request_(request), mapping_(mapping)
	{}
	// Takes back what was mapped, unless release() has been called.
	~Mapper();
	Mapper(const Mapper &) = delete;
	Mapper &operator=(const Mapper &) = delete;

	// Locking: the window's lock, under which the entries are known to be valid. Reclaim-safe.
	//
	// kAgain: a page that is to be written is shared, and of a device; kFault, kUnsupported,
	// kNoMemory.
	Status map(const usize *entries, usize npages);
	// It is somebody else's to unmap.
	void release() { released_ = true; }

	// Of the device pages, referenced; nullptr if there are none.
	dsvm_os_provider *provider() const { return provider_; }
	// Whether the device may write all of them.
	bool is_writable() const { return writable_; }

private:
	Status map_run(const dsvm_page_desc &desc, u32 order, usize npages);
	void mark(const dsvm_page_desc &desc, dsvm_dma_dir dir) const;
	Status admit(const dsvm_page_desc &desc) const;
	Status map_device(const dsvm_page_desc &desc, u32 order, dsvm_dma_dir dir);
	Status map_ram(const dsvm_page_desc &desc, u32 order, dsvm_dma_dir dir);
	Status map_ram_alone(const dsvm_page_desc &desc, u32 &order, dsvm_dma_dir dir);
	Status link_ram(const dsvm_page_desc &desc, u32 order, dsvm_dma_dir dir);
	bool want_window(const dsvm_page_desc &desc, usize npages);
	dsvm_dma_addr &next() { return mapping_.entries()[count_]; }

	const dsvm_get_pages &request_;
	dsvm_mapping &mapping_;
	usize count_ = 0;		       // entries made
	usize pages_ = 0;		       // pages they cover
	dsvm_os_zdd *zdd_ = nullptr;	       // allocation of the page before, if a device's
	dsvm_os_provider *provider_ = nullptr; // of all device pages so far, referenced
	bool writable_ = true;		       // all so far
	bool window_asked_ = false;	       // there is no second try
	bool released_ = false;
};

} // namespace dsvm

#endif // DSVM_CORE_SVM_MAPPER_H
