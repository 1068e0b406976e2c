// SPDX-License-Identifier: GPL-2.0-only OR MIT
//
// Maps the pages of a collection for a device, one after the other, and knows what it has done
// so far: all of them, or none.
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

class Mapper {
public:
	Mapper(const dsvm_get_pages &request, dsvm_mapping &mapping)
		: request_(request), mapping_(mapping)
	{}
	// Takes back what was mapped, unless release() has been called.
	~Mapper()
	{
		if (!released_)
			take_back();
	}
	Mapper(const Mapper &) = delete;
	Mapper &operator=(const Mapper &) = delete;

	// Locking: the window's lock, under which the entries are known to be valid. Reclaim-safe.
	//
	// kAgain: a page that is to be written is shared, and of a device; kNoSpace: each page
	// needs an entry after all; kFault, kUnsupported, kNoMemory.
	Status map(const usize *entries, usize npages);
	// It is somebody else's to unmap.
	void release() { released_ = true; }

	// Of the device pages, referenced; nullptr if there are none.
	dsvm_os_provider *provider() const { return provider_; }
	// Whether the device may write all of them.
	bool is_writable() const { return writable_; }

private:
	void take_back();
	Status admit(const dsvm_page_desc &desc) const;
	Status admit_ram(u32 ram);
	Status map_device(usize hmm, usize npages);
	Status map_ram(const usize *entries, usize npages, u32 ram);
	Status map_page(usize hmm);
	Status map_pages(const usize *entries, usize npages);
	void choose(usize hmm, usize npages);
	Status link_run(usize hmm, u32 order);
	Status map_run(usize hmm, u32 order, usize npages);
	Status map_alone(usize hmm, u32 order);
	Status map_scattered(const usize *entries, usize left);
	bool needs_no_unmap();
	bool have_copies(const dsvm_dma_addr *entries, usize count);
	bool map_row(const usize *entries, usize left);
	void mark(const usize *entries, usize count) const;
	Status finish_window(usize npages) const;
	usize next_addr() const { return request_.first + (pages_ << kPageShift); }

	const dsvm_get_pages &request_;
	dsvm_mapping &mapping_;
	usize count_ = 0;		       // entries made
	usize pages_ = 0;		       // pages they cover
	u32 ram_ = 0;			       // what is known of the RAM before; 0: nothing
	dsvm_dma_dir dir_ = DSVM_DMA_NONE;     // of such RAM
	dsvm_os_zdd *zdd_ = nullptr;	       // allocation of the last device page
	dsvm_os_provider *provider_ = nullptr; // of all device pages so far, referenced
	bool writable_ = true;		       // all so far
	bool chosen_ = false;		       // how RAM is mapped
	bool in_rows_ = true;		       // nothing has to be unmapped so far
	bool released_ = false;
};

} // namespace dsvm

#endif // DSVM_CORE_SVM_MAPPER_H
