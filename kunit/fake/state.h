// SPDX-License-Identifier: GPL-2.0-only OR MIT
//
// What the fake machine consists of, for the files that implement it.
#ifndef DSVM_KUNIT_FAKE_STATE_H
#define DSVM_KUNIT_FAKE_STATE_H

#include "kunit/fake/world.h"

struct dsvm_os_provider {
	dsvm::u32 refs;
	bool reserve_is_taken;
	dsvm_migrate_counters counters;
	alignas(16) dsvm::u8 reserve[DSVM_RESERVE_BYTES];
	bool lends;
	bool spare_is_taken;
	alignas(16) dsvm::u8 spare[DSVM_SPARE_BYTES];
};

// A copy that is done when somebody waits for it.
struct dsvm_os_fence {
	bool in_use;
	dsvm::u32 count;
	dsvm::fake::CopyStep steps[dsvm::fake::kFenceSteps];
};

// One of several; what it can do, all of them can.
struct dsvm_os_dev {
	dsvm::u32 index;
};

namespace dsvm::fake {

// A page of a window of device addresses.
struct IovaSlot {
	Page *page; // nullptr: nothing is linked
	u8 dir;
	bool synced;
};

// A window of device addresses.
struct Iova {
	const dsvm_os_dev *dev; // nullptr: there is none
	u64 addr;
	u64 size;
	IovaSlot slots[kPtes];
};

// Whether it is an address of RAM that nobody has to unmap.
inline bool is_direct_addr(u64 addr)
{
	return addr < kIovaBase && (addr & kDmaDirect) != 0;
}

struct World::State {
	Page pages[kPages];
	Mm mms[kMms];
	Notifier notifiers[kNotifiers];
	Event events[kEvents];
	Zdd zdds[kZdds];
	dsvm_os_provider providers[kProviders];
	dsvm_os_dev devs[kDevices];
	dsvm_os_fence fences[kFences];
	Traces traces;
	u32 huge_order;
	bool vma_pins;
	bool needs_sync;
	bool sloppy_providers;
	bool iommu;
	u32 max_dma_order;
	bool direct;
	u32 bounce_in; // 0: never
	Iova iovas[kIovas];
	u64 next_iova; // where the next window goes: none is used twice
	void *foreign_owner;
	Page *zero; // nullptr: nobody has it mapped
	bool zero_page_on;
	bool two_passes;
	usize awaited_seq; // by dsvm_os_notifier_read_begin()
	Collection collections[kCollections]; // the last ones, by their numbers
	u32 last_collection;
	Injection injections[kCalls];
	u32 next_ram;
};

// The address space that a VMA belongs to.
Mm &mm_of(const dsvm_os_vma *vma);

} // namespace dsvm::fake

#endif // DSVM_KUNIT_FAKE_STATE_H
