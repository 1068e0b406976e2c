// SPDX-License-Identifier: GPL-2.0-only OR MIT
//
// The working memory of one migration: four arrays of one entry a page.
//
//	src	what the kernel collected
//	dst	where it is to go; before that, page frame numbers
//	pages	the device pages, for the driver's copy callback
//	addrs	the RAM beside them, as the device reaches it
//
// One allocation, taken before anything else happens, so that no page is
// locked or unmapped yet when memory turns out to be short.
#ifndef DSVM_CORE_MIGRATE_SCRATCH_H
#define DSVM_CORE_MIGRATE_SCRATCH_H

#include "core/base/result.h"
#include "core/base/types.h"
#include "drm_svm/os.h"

namespace dsvm {

class Scratch {
public:
	Scratch() = default;
	~Scratch() { dsvm_os_free(memory_); }
	Scratch(const Scratch &) = delete;
	Scratch &operator=(const Scratch &) = delete;

	Status allocate(usize npages);
	// Room for one page, which there always is.
	void use_reserve();
	// Forgets what a batch before has left.
	void clear();

	// Valid from a successful allocate() on.
	usize *src() const { return src_; }
	usize *dst() const { return src_ + npages_; }
	dsvm_os_page **pages() const { return pages_; }
	dsvm_dma_addr *addrs() const { return addrs_; }

private:
	void lay_out(void *memory, usize npages);

	// What one page needs: where progress must not depend on an allocation.
	struct Reserve {
		dsvm_dma_addr addr;
		usize entries[2];
		dsvm_os_page *page;
	};

	Reserve reserve_{};
	void *memory_ = nullptr; // allocated, or nullptr
	usize npages_ = 0;
	usize *src_ = nullptr;
	dsvm_os_page **pages_ = nullptr;
	dsvm_dma_addr *addrs_ = nullptr;
};

} // namespace dsvm

#endif // DSVM_CORE_MIGRATE_SCRATCH_H
