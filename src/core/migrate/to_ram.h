// SPDX-License-Identifier: GPL-2.0-only OR MIT
//
// Device memory to RAM: for a CPU fault, and to empty an allocation.
//
// Both ways share what lies between the kernel's phases (see to_device.h):
// RAM for each page that moves, mapped for DMA, filled by the driver. They
// differ in how pages are found. A fault has a VMA and goes over page tables;
// eviction has page frames and goes over reverse mappings, so that it needs
// neither an address space nor its lock.
//
// Unlike the way out, the way back takes what it can get: a page for which
// there is no RAM stays, and is an error only if it is the one faulted on.
//
// A page that has moved is "retired" until it is free: whoever collects it in
// that time (its mapping is gone, but not its last reference) leaves it alone.
#ifndef DSVM_CORE_MIGRATE_TO_RAM_H
#define DSVM_CORE_MIGRATE_TO_RAM_H

#include "core/base/result.h"
#include "core/migrate/scratch.h"
#include "drm_svm/migrate.h"
#include "drm_svm/os.h"

namespace dsvm {

// The most that a CPU fault brings back, and the most that an eviction has in flight: bounds
// the scratch memory of both.
constexpr usize kToRamPages = 512;

// What happens between setup and pages, for one collected span.
class ToRam {
public:
	ToRam(const dsvm_devmem &devmem, Scratch &scratch, const dsvm_migrate_span &span)
		: devmem_(devmem), scratch_(scratch), span_(span)
	{}

	// Gives each page of the allocation that moves a filled page of RAM, as far as there is
	// RAM. kNoMemory: there is none for @span.fault_page; kFault: DMA does not reach it; what a
	// callback returned. After an error no page goes anywhere.
	Status fill();
	// After the kernel has switched over: marks what has moved for good.
	void retire();

private:
	Status prepare();
	Status prepare_page(usize index);
	void unmap_ram();
	void discard_ram();

	const dsvm_devmem &devmem_;
	Scratch &scratch_;
	const dsvm_migrate_span &span_;
	usize prepared_ = 0;
};

// See dsvm_migrate_to_ram(). Locking: the mm's lock. May sleep.
dsvm_fault_result handle_cpu_fault(const dsvm_cpu_fault &fault);

} // namespace dsvm

#endif // DSVM_CORE_MIGRATE_TO_RAM_H
