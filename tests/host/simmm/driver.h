// SPDX-License-Identifier: GPL-2.0-only OR MIT
//
// A driver for the model GPU, as src/stub is one for the stub device: it uses the core
// through the same C ABI as the shims do, with the same policy as the stub, so that what
// happens here happens there.
//
//	GPU fault     collect garbage, find or make a range, perhaps move it to VRAM, collect
//		      its pages, write the page table under the notifier lock
//	invalidate    zap, flush, unmap the pages; after an unmapping the range is garbage
//	to VRAM       an allocation of VRAM for a run of pages, all or nothing
//	CPU fault     the allocation's pages around the address come back
//	evict         all pages of an allocation go to RAM, over reverse mappings
//
// What the stub does is one of the ways in which a driver may use the library; mainline's
// drivers do it another way. A configuration says which:
//
//			mainline's contract		the stub's
//	faults		one lock of the VM		a lock of each range
//	invalidation	one notifier lock		one of each window
//	munmap() of	takes the range away		takes that part away, the rest
//	  a part					stays mapped
//	two passes	no				where the kernel has them
//	reads		map for reading			map what the CPU may write for writing
#ifndef DSVM_SIMMM_DRIVER_H
#define DSVM_SIMMM_DRIVER_H

#include "drm_svm/svm.h"
#include "tests/host/simmm/gpu.h"
#include "tests/host/simmm/machine.h"

namespace dsvm::sim {

struct DriverConfig {
	bool migrate_on_fault = false;
	u32 notifier_pages = 16;	// a window, a power of two
	u32 chunk_pages[3] = {8, 4, 1}; // sizes of ranges, descending
	u32 piece_pages = 8;		// what is moved in one go at most, aligned
	u32 check_pages = 4;		// see drm_gpusvm_ctx.check_pages_threshold; 0: off
	u32 tlb_entries = 4;
	u64 timeslice_ns = 0;
	u32 fault_tries = 20;	   // of a GPU access, then -EBUSY
	u32 max_dma_order = 63;	   // larger mappings of RAM are refused
	bool fini_removes = false; // ranges that a VM has in the end are left to dsvm_svm_fini();
				   // with the VM's lock only
	bool behind_iommu = false; // the device, and its addresses are filled by hand
	// Beyond mainline's contract; see drm/drm_svm.h.
	bool range_locks = false;  // drm_svm_range_acquire(), and no lock of the VM
	bool window_locks = false; // DRM_SVM_WINDOW_LOCKS; needs `trims`
	bool trims = false;	   // drm_gpusvm_ops.range_pages
	bool wide_reads = false;   // DRM_SVM_ACCESS_READ
	u32 finish_slots = 0;	   // events of a window between their passes; needs `trims`
};

// What a run has met, for statistics: what never happens is not tested. Numbers only.
struct Tally {
	dsvm_svm_counters svm = {}; // of all VMs
	u64 overlaps = 0;	    // collections that began while another range's was under way
	u64 deferred = 0;	    // events that were finished in a second pass
	u64 undeferred = 0;	    // ... and those that found no slot for it
	u64 kept = 0;	// pages that stayed mapped for the GPU when others were unmapped
	u64 linked = 0; // collections of which the RAM has a window of addresses

	void add(const Tally &other);
};

enum class GpuAccess : u8 { kNone, kRead, kWrite };

class Driver {
public:
	static Driver &current();
	Driver();
	~Driver();
	Driver(const Driver &) = delete;
	Driver &operator=(const Driver &) = delete;

	// A device with all its VRAM free and no VM.
	void reset(const DriverConfig &config);
	// For the VMs that are made from now on.
	void set_migrate_on_fault(bool migrate);

	// A VM that mirrors `mm`. One at a time.
	int vm_create(Mm &mm);
	// Ends it as a closed file does. What is in VRAM stays there until the CPU wants it.
	void vm_destroy();
	// The same with the device: everything is brought to RAM or -EBUSY.
	int unbind();
	bool has_vm() const;
	// What workers would do by themselves is done, and over.
	void flush();

	// Operations of a device that is gone, or without a VM, are -ENODEV.

	// A word of a GPU program. 0; -EFAULT, -EPERM, -EBUSY, -ENOMEM, -ENOENT as the stub's EXEC.
	int load(usize addr, u64 *value);
	int store(usize addr, u64 value);
	// As the stub's MIGRATE: page aligned, both ends included.
	int to_vram(usize first, usize last);
	int to_ram(usize first, usize last);
	// Evicts the allocation that the page at `addr` of the VM's mm lives in, if it does.
	int evict(usize addr);
	int evict_all();
	void collect_garbage();
	// As the shim's drm_gpusvm_range_evict() for the ranges of a span.
	int evict_ranges(usize first, usize last);
	// Takes the ranges of a span away, as a driver does that wants the addresses.
	int drop_ranges(usize first, usize last);

	// What a scenario can see.
	dsvm_residency residency(usize addr);
	GpuAccess gpu_access(usize addr) const;
	// Kinds of events (bit by Event) that have met a range since the last call.
	u32 take_events();
	u32 free_vram() const;
	// dsvm_svm_scan() of a span of the VM's mm, as seen from the device or from another one.
	dsvm_scan scan(usize first, usize last, bool from_device);
	const Tally &tally() const;

	// Complains about what must not be when nothing is under way.
	void check_quiet();

	// At the end of a run, after the mms are gone: complains about whatever is left.
	void check_nothing_left();

	struct Impl;

private:
	Impl *const impl_;
};

} // namespace dsvm::sim

#endif // DSVM_SIMMM_DRIVER_H
