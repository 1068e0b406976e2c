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
		// By page tables, under the mm's lock:
		dsvm_os_vma *vma;
		usize first;
		dsvm_u32 select;
		dsvm_os_page *fault_page; // or nullptr
		// By page frames, which the scratch's src has: nullptr above. They are those of the
		// allocation from @index on, less some.
		usize index;
		dsvm_os_vma *hint_vma; // of the addresses that they were made for, or nullptr
		usize huge_ram;	       // an entry for a huge page, which is the first; or 0
		usize npages;
	};

	explicit ToRam(Scratch &scratch) : scratch_(scratch), copies_(scratch) {}

	// What the next batch is going to be, but for what does not matter or is to be filled in.
	// None is under way.
	Request &prepare_request(const dsvm_devmem &devmem, dsvm_migrate_way way, usize index)
	{
		request_ = Request{
			.devmem = &devmem,
			.way = way,
			.vma = nullptr,
			.first = 0,
			.select = 0,
			.fault_page = nullptr,
			.index = index,
			.hint_vma = nullptr,
			.huge_ram = 0,
			.npages = 0,
		};
		return request_;
	}
	// That batch. An error says that nothing has happened; @huge_ram is the batch's in any
	// case. May sleep.
	Status begin();
	// What came of it: kNoMemory: there was none, for @fault_page or (without one) for some
	// page; kFault: DMA does not reach it; what a callback returned. May sleep.
	Status end();
	bool is_under_way() const { return under_way_; }
	// How many pages there were that could move. Valid after begin().
	usize movable() const { return movable_; }

private:
	bool is_by_tables() const { return request_.vma != nullptr; }
	// Of the addresses that pages are for, or nullptr.
	dsvm_os_vma *vma() const { return is_by_tables() ? request_.vma : request_.hint_vma; }
	void set_span();
	Status setup();
	void switch_over();
	void finalize();
	bool is_fault_page(usize src) const;
	Status fill();
	void prepare();
	void prepare_singles(usize index, usize end);
	void prepare_huge(usize index, usize src);
	usize addr_of(usize index, usize src);
	usize ram_for(usize index, usize src, u32 order);
	void fail(usize src, Status status);
	void retire();

	Scratch &scratch_;
	Copies copies_;
	PhaseClock clock_;
	Request request_;	 // set by prepare_request()
	dsvm_migrate_span span_; // set by begin()
	Status status_;		 // of the whole batch: no page goes anywhere
	Status missing_;	 // of single pages, which stay
	bool under_way_ = false;
	usize at_ = 0; // index in the allocation of the last page that had its address asked for
	usize movable_ = 0;
	usize moved_ = 0;
};

} // namespace dsvm

#endif // DSVM_CORE_MIGRATE_TO_RAM_H
