// SPDX-License-Identifier: GPL-2.0-only OR MIT
//
// One batch of an allocation's pages on its way to RAM: for a CPU fault, and to empty an
// allocation.
//
// Both ways share what lies between the kernel's phases (see to_device.h):
// RAM for each page that moves, mapped for DMA, filled by the driver. They
// differ in how pages are found. A fault has a VMA and goes over page tables,
// and so does an eviction where it can; otherwise that has page frames and goes
// over reverse mappings, which needs neither an address space nor its lock.
//
// Unlike the way out, the way back takes what it can get: a page for which
// there is no RAM stays, and is an error only if it is the one faulted on.
//
// A page that has moved is "retired" until it is free: whoever collects it in
// that time (its mapping is gone, but not its last reference) leaves it alone.
#ifndef DSVM_CORE_MIGRATE_TO_RAM_H
#define DSVM_CORE_MIGRATE_TO_RAM_H

#include "core/base/result.h"
#include "core/migrate/copies.h"
#include "core/migrate/phase_clock.h"
#include "core/migrate/scratch.h"
#include "drm_svm/migrate.h"
#include "drm_svm/os.h"

namespace dsvm {

class ToRam {
public:
	struct Request {
		const dsvm_devmem *devmem;
		dsvm_migrate_way way;
		// Page frames are those of the allocation from @index on, less some.
		usize index;
		dsvm_os_vma *hint_vma; // of the addresses that they were made for, or nullptr
		usize huge_ram;	       // an entry for a huge page, which is the first; or 0
		bool lacks_huge;       // there is none, and none is to be asked for
	};

	// @span is the batches'; it stays where it is as long as one is under way.
	ToRam(Scratch &scratch, dsvm_migrate_span &span)
		: scratch_(scratch), copies_(scratch), span_(span)
	{}

	// What the next batch is going to be, but for what does not matter or is to be filled in,
	// here and in the span. None is under way.
	//
	// In the span, by page tables and under the mm's lock: vma, first, npages, select, and
	// fault_page, if there is one. By page frames, which src has: npages alone.
	Request &prepare_request(const dsvm_devmem &devmem, dsvm_migrate_way way, usize index)
	{
		request_.devmem = &devmem;
		request_.way = way;
		request_.index = index;
		request_.hint_vma = nullptr;
		request_.huge_ram = 0;
		request_.lacks_huge = false;
		span_.vma = nullptr;
		span_.first = 0;
		span_.npages = 0;
		span_.owner = devmem.owner;
		span_.select = 0;
		span_.fault_page = nullptr;
		span_.src = scratch_.src();
		span_.dst = scratch_.dst();
		return request_;
	}
	// That batch. An error says that nothing has happened; @huge_ram is the batch's in any
	// case. May sleep.
	Status begin();
	// What came of it: kNoMemory: there was none, for @fault_page or (without one) for some
	// page; kFault: DMA does not reach it; what a callback returned. May sleep.
	Status end();
	bool is_under_way() const { return under_way_; }
	// In place of begin(): goes on with a batch that the caller has collected by page tables. May
	// sleep.
	void take_over(const Request &request, const PhaseClock &clock);
	// How many pages there were that could move. Valid after begin().
	usize movable() const { return movable_; }

private:
	bool is_by_tables() const { return span_.vma != nullptr; }
	// Of the addresses that pages are for, or nullptr.
	dsvm_os_vma *vma() const { return is_by_tables() ? span_.vma : request_.hint_vma; }
	Status setup();
	void switch_over();
	void finalize();
	bool is_fault_page(usize src) const;
	void go_on();
	bool finds_folio() const;
	Status fill();
	void prepare();
	void prepare_singles(usize index, usize end);
	void prepare_huge(usize index, usize src);
	void prepare_part_of_huge(usize index, usize src);
	usize addr_of(usize index, usize src);
	usize ram_for(usize index, usize src, u32 order);
	void fail(usize src, Status status);
	void retire();
	void retire_each();

	Scratch &scratch_;
	Copies copies_;
	PhaseClock clock_;
	Request request_;	  // set by prepare_request()
	dsvm_migrate_span &span_; // the same; its end by begin()
	bool under_way_ = false;
	// All that follows is set by begin().
	Status status_;	 // of the whole batch: no page goes anywhere
	Status missing_; // of single pages, which stay
	bool is_folio_;	 // it was collected as one huge page, which may move
	usize at_;	 // index in the allocation of the last page that had its address asked for
	usize movable_;
	usize moved_;
};

} // namespace dsvm

#endif // DSVM_CORE_MIGRATE_TO_RAM_H
