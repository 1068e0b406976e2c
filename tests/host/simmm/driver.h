// SPDX-License-Identifier: GPL-2.0-only OR MIT
//
// A driver for the model GPU, as src/stub is one for the stub device: it uses the core
// through the same C ABI as the shims do, with the same policy as the stub, so that what
// happens here happens there.
//
//	GPU fault     collect garbage, find or make a range, perhaps move it to VRAM, collect
//		      its pages, write the page table under the notifier lock
//	invalidate    zap, flush, unmap the pages; after an unmapping the range is garbage
//	to VRAM       an allocation of VRAM for a run of pages, all or nothing; or a job for as
//		      much of a span as moves
//	CPU fault     the allocation's pages around the address come back
//	evict         all pages of an allocation, or some, go to RAM, over reverse mappings
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
//	to VRAM		all or nothing, of one VMA	a job, with workers
//	copies		are waited for			are handed over as runs, and go on
//	VRAM		comes back as a whole		page by page
//
// There may be a second device, whose memory the first one reads and copies to and from.
//
// Beside the mirror a VM has hmmptrs: driver_hmmptr.h.
#ifndef DSVM_SIMMM_DRIVER_H
#define DSVM_SIMMM_DRIVER_H

#include "drm_svm/svm.h"
#include "tests/host/simmm/gpu.h"
#include "tests/host/simmm/machine.h"

namespace dsvm::sim {

// Of a window, or of a hmmptr.
constexpr u32 kMaxFinishSlots = 4;

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
	bool direct_dma = false;   // the device, if not: what it sees of RAM need not be unmapped
	// Beyond mainline's contract; see drm/drm_svm.h.
	bool range_locks = false;  // drm_svm_range_acquire(), and no lock of the VM
	bool window_locks = false; // DRM_SVM_WINDOW_LOCKS; needs `trims`
	bool trims = false;	   // drm_gpusvm_ops.range_pages
	bool wide_reads = false;   // DRM_SVM_ACCESS_READ
	u32 finish_slots = 0;	   // events of a window between their passes; needs `trims`
	u32 workers = 0;	   // of a job, drm_svm_migrate_to_devmem(); 0: mainline's call
	bool fault_in = false;	   // drm_svm_migrate.fault_in
	u32 granule_pages = 0;	   // drm_pagemap_devmem.fault_granule; 0: the default
	bool copies_runs = false;  // drm_pagemap_devmem_ops.copy_runs
	bool copies_later = false; // and the fence signals later
	bool frees_pages = false;  // drm_pagemap_devmem_ops.devmem_free_pages
	bool evicts = false;	   // others when VRAM is full
	bool scatters = false;	   // gives out frames that do not follow each other
	u32 inject_every = 0;	   // drm_svm_hmmptr_set_inject()
	u32 block_pages = 0;	   // that pieces of hmmptrs stay in; a power of two; 0: 2 MiB
	// Whether there is a second device's memory, and how it is connected.
	enum class Peer : u32 { kNone, kClique, kReadOnly, kForeign };
	u32 peer = 0;
};

// What a run has met, for statistics: what never happens is not tested. Numbers only.
struct Tally {
	dsvm_svm_counters svm = {}; // of all VMs
	u64 overlaps = 0;	    // collections that began while another range's was under way
	u64 deferred = 0;	    // events that were finished in a second pass
	u64 undeferred = 0;	    // ... and those that found no slot for it
	u64 kept = 0;	// pages that stayed mapped for the GPU when others were unmapped
	u64 linked = 0; // collections of which the RAM has a window of addresses
	// Of migrations: what the machine has seen, and what the counters say.
	u64 jobs = 0;
	u64 pages_to_device = 0;
	u64 pages_to_ram = 0;
	u64 pages_between = 0; // devices
	u64 huge_moved = 0;
	u64 huge_split = 0;
	u64 stayed = 0;
	u64 timeslice_waits = 0;
	u64 fault_races = 0;
	u64 fault_lost = 0;
	u64 evicted_for_room = 0; // allocations
	u64 late_copies = 0;	  // that were not over when the callback returned
	u64 vmas_kept = 0;
	u64 free_waits = 0;
	u64 folios_split = 0; // of a device
	u64 freed_early = 0;  // frames that came back before their allocation did
	u64 stays[DSVM_STAYS] = {};
	// Of hmmptrs.
	u64 hmmptrs = 0;
	u64 hmmptr_collections = 0;
	u64 hmmptr_retries = 0;
	u64 hmmptr_pages = 0;
	u64 hmmptr_marks = 0;	    // that the kernel was told of pages, and that were compared
	u64 hmmptr_invalidated = 0; // pieces
	u64 hmmptr_deferred = 0;
	u64 hmmptr_rebinds = 0;
	u64 hmmptr_lost = 0;
	u64 hmmptr_injected = 0;
	u64 hmmptr_jobs = 0; // accesses of jobs that cannot fault

	void add(const Tally &other);
};

enum class GpuAccess : u8 { kNone, kRead, kWrite };

// How a hmmptr, or a call of it, is meant.
constexpr u32 kMaxHmmptrs = 4; // of a VM
enum HmmptrFlag : u32 {
	kHmmptrSvm = 1 << 0,   // memory of the device stays where it is
	kHmmptrConst = 1 << 1, // nobody writes
	kHmmptrWrite = 1 << 2,
	kHmmptrSecond = 1 << 3, // the second mapping
	kHmmptrForget = 1 << 4,
	kHmmptrEarly = 1 << 5, // released while others still use it
};

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
	// The same to the second device's memory, if there is one.
	int to_peer(usize first, usize last);
	// Evicts the allocation that the page at `addr` of the VM's mm lives in, if it does.
	int evict(usize addr);
	// The same for so many pages of it, from that one on.
	int evict_part(usize addr, u32 npages);
	int evict_all();
	void collect_garbage();
	// As the shim's drm_gpusvm_range_evict() for the ranges of a span.
	int evict_ranges(usize first, usize last);
	// Takes the ranges of a span away, as a driver does that wants the addresses.
	int drop_ranges(usize first, usize last);

	// hmmptrs of the VM, by slot: driver_hmmptr_bind.cc. An empty slot is nothing to do; of a
	// span only what is of the hmmptr counts. What is returned is what include/drm/drm_svm_hmmptr.h
	// says, and -EBUSY where it was tried often enough.
	int hmmptr_make(u32 slot, Mm &mm, u32 first, u32 last, u32 flags);
	int hmmptr_release(u32 slot, bool early);
	int hmmptr_populate(u32 slot, u32 first, u32 last, bool write);
	int hmmptr_map(u32 slot, u32 first, u32 last);
	int hmmptr_bind(u32 slot, u32 first, u32 last, u32 flags);
	int hmmptr_unmap(u32 slot, u32 first, u32 last, bool forget);
	int hmmptr_inject(u32 slot, u32 first, u32 last);
	// By a GPU that faults.
	int hmmptr_access(u32 slot, u32 page, bool write, u64 *value);
	// By a job that cannot; `lost`: a bound page of the first mm that is not there any more.
	int hmmptr_exec(u32 slot, u32 page, bool write, u64 value, u32 &lost);
	int hmmptr_revalidate();

	// What a scenario can see.
	dsvm_residency residency(usize addr);
	GpuAccess gpu_access(usize addr) const;
	// Kinds of events (bit by Event) that have met a range since the last call.
	u32 take_events();
	u32 free_vram() const;
	// dsvm_svm_scan() of a span of the VM's mm, as seen from the device or from another one.
	dsvm_scan scan(usize first, usize last, bool from_device);
	Tally tally() const;

	// Complains about what must not be when nothing is under way.
	void check_quiet();
	// A job for all of the VM's mm says of each page what can be seen of it.
	void check_report();

	// At the end of a run, after the mms are gone: complains about whatever is left.
	void check_nothing_left();

	struct Impl;

private:
	template <class Use> int with_hmmptr(u32 slot, u32 first, u32 last, Use use);

	Impl *const impl_;
};

} // namespace dsvm::sim

#endif // DSVM_SIMMM_DRIVER_H
