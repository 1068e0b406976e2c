// SPDX-License-Identifier: GPL-2.0-only OR MIT
//
// The working memory of one batch: arrays of one entry a page.
//
//	src	what the kernel collected
//	dst	where it is to go
//	pages	the pages of the device that copies
//	others	what is beside them: RAM, another device's page, or nothing
//	addrs	the same, as the device reaches it
//	runs	what is handed to the driver
//
// One allocation, taken before anything else happens, so that no page is
// locked or unmapped yet when memory turns out to be short. Who has to make progress
// without memory takes the provider's reserve, or the room for one page that is in
// the object itself.
#ifndef DSVM_CORE_MIGRATE_SCRATCH_H
#define DSVM_CORE_MIGRATE_SCRATCH_H

#include "core/base/result.h"
#include "core/base/types.h"
#include "drm_svm/migrate.h"
#include "drm_svm/os.h"

namespace dsvm {

// The most pages that are in one batch: bounds the scratch memory, and how long a page is on its
// way.
constexpr usize kBatchPages = 512;

class Scratch {
public:
	Scratch() = default;
	~Scratch();
	Scratch(const Scratch &) = delete;
	Scratch &operator=(const Scratch &) = delete;

	// Once, of the three. kNoMemory, kOverflow. May sleep.
	Status allocate(usize npages);
	// The same, or else the provider's reserve, for kBatchPages at most.
	Status allocate_or_reserve(usize npages, dsvm_os_provider *provider);
	// Room for one page, which there always is.
	void use_own();
	// Forgets what a batch before has left in the first @npages entries.
	void clear(usize npages);

	// Valid from then on.
	usize capacity() const { return npages_; }
	usize *src() const { return src_; }
	usize *dst() const { return src_ + npages_; }
	dsvm_os_page **pages() const { return pages_; }
	dsvm_os_page **others() const { return pages_ + npages_; }
	dsvm_dma_addr *addrs() const { return addrs_; }
	dsvm_copy_run *runs() const { return runs_; }

private:
	void lay_out(void *memory, usize npages);

	// What one page needs, in the order of lay_out().
	struct Entry {
		dsvm_copy_run run;
		dsvm_dma_addr addr;
		usize entries[2];
		dsvm_os_page *pages[2];
	};
	static_assert(kBatchPages * sizeof(Entry) <= DSVM_RESERVE_BYTES);

	Entry own_{};
	void *memory_ = nullptr;	       // allocated, or nullptr
	void *reserve_ = nullptr;	       // the provider's, or nullptr
	dsvm_os_provider *provider_ = nullptr; // whose
	usize npages_ = 0;
	usize *src_ = nullptr;
	dsvm_os_page **pages_ = nullptr;
	dsvm_dma_addr *addrs_ = nullptr;
	dsvm_copy_run *runs_ = nullptr;
};

} // namespace dsvm

#endif // DSVM_CORE_MIGRATE_SCRATCH_H
