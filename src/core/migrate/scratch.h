// SPDX-License-Identifier: GPL-2.0-only OR MIT
//
// The working memory of one batch: arrays of one entry a page.
//
//	src	what the kernel collected
//	dst	where it is to go
//	addrs	what is beside a page of the device that copies, as the device reaches it
//	runs	what is handed to the driver;
//	pages	or, in the same place, its other form
//
// One piece of memory, taken before anything else happens, so that no page is
// locked or unmapped yet when memory turns out to be short. The provider lends one, to
// one batch at a time; the others allocate theirs. Who has to make progress
// without memory takes the provider's reserve, or the room for one page that is in
// the object itself.
//
// Memory comes zeroed, and most batches are the only one of theirs, or have one entry, of a huge
// page: so what is empty is cleared only where something has been. What is lent has to be as empty
// for the next one, whose batch may be larger: so there each array always has the same place.
#ifndef DSVM_CORE_MIGRATE_SCRATCH_H
#define DSVM_CORE_MIGRATE_SCRATCH_H

#include "core/base/bits.h"
#include "core/base/result.h"
#include "core/base/types.h"
#include "core/base/utility.h"
#include "drm_svm/migrate.h"
#include "drm_svm/os.h"

namespace dsvm {

// The most pages that are in one batch: bounds the scratch memory, and how long a page is on its
// way.
constexpr usize kBatchPages = 512;

class Scratch {
public:
	Scratch() = default;
	~Scratch()
	{
		if (!spare_) {
			give_back();
			return;
		}
		clear(dst(), used_);
		clear(addrs_, used_);
		clear(pages(), handed_out_);
		dsvm_os_provider_give_spare(provider_, spare_);
	}
	Scratch(const Scratch &) = delete;
	Scratch &operator=(const Scratch &) = delete;

	// Once, of the five. kNoMemory, kOverflow. May sleep.
	Status allocate(usize npages);
	// What the provider lends, for kBatchPages at most; false: somebody else has it.
	bool borrow(usize npages, dsvm_os_provider *provider)
	{
		if (npages > kBatchPages)
			return false;

		spare_ = dsvm_os_provider_take_spare(provider);
		if (!spare_)
			return false;
		provider_ = provider;
		lay_out(spare_, kBatchPages);
		return true;
	}
	// The first one that there is, of what the provider lends and an allocation ...
	Status obtain(usize npages, dsvm_os_provider *provider)
	{
		return borrow(npages, provider) ? Status::ok() : allocate(npages);
	}
	// ... and the provider's reserve, for kBatchPages at most.
	Status obtain_or_reserve(usize npages, dsvm_os_provider *provider)
	{
		return borrow(npages, provider) ? Status::ok()
						: allocate_or_reserve(npages, provider);
	}
	// Room for one page, which there always is.
	void use_own();
	// A batch of @npages begins: all entries of dst and addrs are empty. Until it says where it
	// ends, it may be anywhere in its pages.
	void begin(usize npages)
	{
		clear(dst(), used_);
		clear(addrs_, used_);
		used_ = npages;
	}
	// In this batch nothing is put into dst and addrs from the entry @end on.
	void ends_at(usize end) { used_ = end; }

	// Valid from then on.
	usize capacity() const { return npages_; }
	usize *src() const { return src_; }
	usize *dst() const { return src_ + npages_; }
	dsvm_dma_addr *addrs() const { return addrs_; }
	// To be filled in for one call of a driver; @npages of them are empty.
	dsvm_os_page **empty_pages(usize npages)
	{
		if (handed_out_ != 0)
			clear_pages(npages);
		else
			handed_out_ = used_;
		return pages();
	}
	// The same; not empty.
	dsvm_copy_run *runs(usize npages)
	{
		constexpr usize kPagesOfRun = sizeof(dsvm_copy_run) / sizeof(dsvm_os_page *);

		handed_out_ = max(handed_out_, min(npages_, npages * kPagesOfRun));
		return runs_;
	}

private:
	// Widest alignment first.
	void lay_out(void *memory, usize npages)
	{
		npages_ = npages;
		runs_ = static_cast<dsvm_copy_run *>(memory);
		addrs_ = reinterpret_cast<dsvm_dma_addr *>(runs_ + npages);
		src_ = reinterpret_cast<usize *>(addrs_ + npages);
	}
	dsvm_os_page **pages() const
	{
		static_assert(sizeof(dsvm_copy_run) >= sizeof(dsvm_os_page *));

		return reinterpret_cast<dsvm_os_page **>(runs_);
	}
	// Of these zeroes are what is empty. Mostly nothing has to be cleared, or what a huge page
	// takes.
	template <class T> static void clear(T *array, usize count)
	{
		if (count == 1)
			*array = T{};
		else if (count != 0)
			clear_bytes(array, count * sizeof(T));
	}
	static void clear_bytes(void *memory, usize bytes);
	void clear_pages(usize npages);
	Status allocate_or_reserve(usize npages, dsvm_os_provider *provider);
	void give_back();

	// What one page needs, in the order of lay_out().
	struct Entry {
		dsvm_copy_run run;
		dsvm_dma_addr addr;
		usize entries[2];
	};
	static_assert(kBatchPages * sizeof(Entry) <= DSVM_RESERVE_BYTES);
	static_assert(kBatchPages * sizeof(Entry) == DSVM_SPARE_BYTES);

	Entry own_;
	void *memory_ = nullptr;	       // allocated, or nullptr
	void *spare_ = nullptr;		       // lent by the provider, or nullptr
	void *reserve_ = nullptr;	       // the provider's, or nullptr
	dsvm_os_provider *provider_ = nullptr; // whose
	usize npages_ = 0;		       // 0: there is nothing yet
	usize *src_;			       // set with that, as are
	dsvm_dma_addr *addrs_;
	dsvm_copy_run *runs_;
	usize used_ = 0;       // so many entries of dst and addrs may have something in them,
	usize handed_out_ = 0; // of pages, since they were cleared the last time
};

} // namespace dsvm

#endif // DSVM_CORE_MIGRATE_SCRATCH_H
