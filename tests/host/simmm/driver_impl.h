// SPDX-License-Identifier: GPL-2.0-only OR MIT
//
// What the parts of the driver share. Who keeps whom, as in the stub and the shims:
//
//	VM	one of who has it open, one of each operation under way
//	range	one of the mirror, one of the garbage list while it is on that, one of each who
//		uses it under its own lock
//	zdd	one of each device folio in use, one of the migration that makes them, one of each
//		eviction under way
//	devmem	one of its zdd, one of each eviction under way
//	provider	one of the VM, one of each zdd, one of each mapping of its pages
//
// Everything that has a life of its own is memory of the machine, so that ASan sees whoever
// uses it afterwards, and a run that is abandoned leaves nothing behind.
#ifndef DSVM_SIMMM_DRIVER_IMPL_H
#define DSVM_SIMMM_DRIVER_IMPL_H

#include "drm_svm/migrate.h"
#include "tests/host/simmm/driver.h"
#include "tests/host/simmm/driver_hmmptr.h"

namespace dsvm::sim {

constexpr u32 kMaxChunks = 3;

struct TrimmedRange;
struct Vm;
struct Window;

// Room for an event between its passes: what is behind struct drm_svm_finish.
struct FinishSlot {
	Finish finish;
	Window *window = nullptr; // nullptr: free
	EventRange event = {};
};

// struct drm_gpusvm_notifier.
struct Window {
	dsvm_notifier core;
	Vm *vm;
	Notifier notifier;
	Rwsem lock{"window's lock", LockRank::kWindow};
	FinishSlot slots[kMaxFinishSlots];

	// What guards its ranges and their pages.
	Rwsem &guard() const { return from_os(core.lock); }
};

// struct stub_range.
struct Range {
	dsvm_range core;
	Vm *vm;
	Window *window;
	dsvm_pages pages;
	Notifier stand_in; // publishes what has met the range
	Rwsem lock{"range's lock", LockRank::kRange};
	u32 refs;
	u32 events; // invalidations that have met it
	u32 passes; // of these
	bool is_garbage;
	Range *next_garbage;
	const TrimmedRange *before; // while it is trimmed: what it was

	usize first() const { return core.node.first; }
	usize last() const { return core.node.last; }
	usize npages() const { return (last() - first() + 1) >> kPageShift; }
};

// struct stub_vm.
struct Vm {
	dsvm_svm svm = {};
	Mm *mm = nullptr;
	u32 refs = 1;
	u32 programs = 1; // those that run, and one for as long as it is open
	u32 ranges = 0;
	u32 collecting = 0; // GPU faults that are collecting pages
	Range *garbage = nullptr;
	// Makes, maps and removes ranges, for writing; if they have no locks of their own.
	Rwsem lock{"VM lock", LockRank::kDriverVm};
	Rwsem notifier_lock{"notifier lock", LockRank::kNotifier};
	HmmptrSet hmmptrs;
};

// struct drm_pagemap_zdd: `released` is called where one may not sleep, so a worker does the
// rest.
struct Devmem;
struct Job;
struct DevmemZdd : Zdd {
	dsvm_devmem devmem_core = {};
	Devmem *devmem = nullptr;
	DevmemZdd *next_gone = nullptr; // to be destroyed
	Job *job = nullptr;		// that fills it
};

struct Vram;

// struct stub_devmem: an allocation of VRAM, with `frames` behind it.
struct Devmem {
	u32 refs = 1;
	u32 npages = 0;
	Vram *vram = nullptr;
	Mm *mm = nullptr;
	usize first = 0;	  // the address that it is for
	DevmemZdd *zdd = nullptr; // nullptr: nothing lives there
	bool is_filled = false;	  // whoever makes its pages is through
	Devmem *next = nullptr;	  // of its VRAM's, the oldest first
	u32 *frames = nullptr;	  // of the VRAM, one for each page
};

// One copy: a page of the device and what is on the other side; none: it is cleared.
struct CopyStep {
	u32 page;
	dsvm_dma_addr other;
};

// Copies that the engine has been given in one go, with their steps behind it.
struct CopyJob {
	Vram *vram;
	bool to_ram;
	Fence *fence;
	u32 count = 0;
	CopyJob *next = nullptr;

	CopyStep *steps() { return reinterpret_cast<CopyStep *>(this + 1); }
};

// A device's memory, and the engine that copies there and back.
struct Vram {
	Provider provider;
	Device device;
	u32 first_page = 0;	      // of the machine
	std::vector<Devmem *> frames; // whose each is; nullptr: free
	Devmem *devmems = nullptr;
	bool unplugged = false;
	CopyJob *copies = nullptr; // the oldest first

	u32 page_of(u32 frame) const { return first_page + frame; }
	u32 frame_of(u32 page) const { return page - first_page; }
};

// Part of one VMA and of one block that is moved in one go, and where its pages are.
struct Piece {
	static Piece *create(u32 max_pages); // nullptr: no memory

	usize first;
	usize last;
	bool anonymous;
	dsvm_residency *page; // behind it

	u32 npages() const { return static_cast<u32>((last - first + 1) >> kPageShift); }
	bool is_in_vram(u32 i) const { return page[i].device != 0 || page[i].peer != 0; }
	u32 in_any_vram() const
	{
		u32 count = 0;

		for (u32 i = 0; i < npages(); i++)
			count += is_in_vram(i);
		return count;
	}
	// Of the device itself.
	u32 in_vram() const
	{
		u32 count = 0;

		for (u32 i = 0; i < npages(); i++)
			count += page[i].device;
		return count;
	}
};

// A worker of the kernel's: at most one fiber, made when there is something to do.
struct Worker {
	const char *name;
	void (*work)();
	bool pending = false; // there is something to do
	bool running = false; // and somebody does it
	bool spawned = false;

	void queue();
	// cancel_work_sync(): not pending, and nobody does it.
	void cancel();
	// flush_work(): whatever was pending has been done.
	void flush();
	// For the fiber.
	static void run(void *arg);
};

struct Driver::Impl {
	Impl();

	// driver.cc: VMs and operations on them.
	Vm *begin(); // an operation on the VM: it stays until end(); nullptr: there is none
	void end(Vm &vm);
	bool begin_program(Vm &vm);
	void end_program(Vm &vm);
	void put_vm(Vm &vm);
	int access(usize addr, bool write, u64 *value);
	int migrate_job(Vram &vram, usize first, usize last);
	int migrate(usize first, usize last, int (*move)(Vm &, Piece &, usize, usize));

	// driver_ranges.cc: windows and ranges. "The lock of ranges": the VM's, or that of the range.
	static const dsvm_svm_ops whole_ops;   // ranges go as a whole
	static const dsvm_svm_ops trimmed_ops; // ... or only what has gone
	void lock_ranges(Vm &vm);	       // the VM's lock, if that is the lock of ranges
	void unlock_ranges(Vm &vm);
	bool enter_range(Range &range); // the range's, if it is; false: it has been removed
	void leave_range(Range &range);
	void remove_range(Vm &vm, Range &range); // the lock of ranges
	bool mend_range(Vm &vm, Range &range);	 // likewise
	void zap_range(Range &range);		 // likewise
	void collect_garbage(Vm &vm);
	void end_mirror(Vm &vm);
	int evict_ranges(Vm &vm, usize first, usize last);
	void drop_ranges(Vm &vm, usize first, usize last);

	// driver_fault.cc
	int serve_fault(Vm &vm, usize addr, bool write, bool migrate);

	// driver_vram.cc: allocations, CPU faults, eviction.
	static FaultResult migrate_to_ram(CpuFault &fault);
	int populate_mm(Mm &mm, usize first, usize last);
	u32 free_pages(); // also those that are on their way back
	int evict(Devmem &devmem, u32 index, u32 npages);
	bool evict_oldest(Vram &vram); // false: there is none that would help
	void put_devmem(Devmem &devmem);
	void release_zdds();

	// driver_job.cc
	int run_job(Mm &mm, Vram &vram, usize first, usize last, void (*look)(Job &job) = nullptr);

	// driver_copy.cc
	static int copy(void *allocation, dsvm_copy *copy);

	DriverConfig config;
	usize chunk_sizes[kMaxChunks] = {};
	Vram vrams[kMaxDevices];
	u8 reserves[kMaxDevices][DSVM_RESERVE_BYTES];
	alignas(16) u8 spares[kMaxDevices][DSVM_SPARE_BYTES];
	// The one that has the VMs.
	Provider &provider = vrams[0].provider;
	Device &device = vrams[0].device;
	Mm *mm = nullptr;	     // that VMs mirror
	Vm *vm = nullptr;	     // who opens it finds this one
	Vm *vm_of_garbage = nullptr; // for as long as it lives
	bool gone = false;	     // the device has been taken away
	u32 operations = 0;	     // of the device, which may not go meanwhile
	u32 events = 0;
	Tally tally;
	DevmemZdd *zdds_to_destroy = nullptr;
	Worker garbage_worker;
	Worker release_worker;
	Worker engines[kMaxDevices];
};

// The only one.
Driver::Impl &driver();

// driver_fault.cc
void check_budget(const char *call, u64 start_ns, u32 budgets = 1);

// driver_ranges.cc
inline Window &window_of(dsvm_notifier *core)
{
	return *reinterpret_cast<Window *>(core);
}
inline Range *range_of(dsvm_range *core)
{
	return reinterpret_cast<Range *>(core);
}
// drm_gpusvm_range_find() and __drm_gpusvm_range_next(). Locking: the window's.
Range *first_range(Window &window, usize first, usize last);
Range *next_range(Range &range, usize last);
void put_range(Range &range);
u32 count_runs(const dsvm_pages &pages, usize npages);

// driver_invalidate.cc
void set_callbacks(Window &window);

// driver_trim.cc
void set_gone(Range &range, const EventRange &event, usize &zap_first, usize &zap_last);
int trim_range(Vm &vm, Range &range);
void check_split(const Range &range, const Range *tail);

// driver_vram.cc
int create_devmem(Vram &vram, Mm &mm, usize first, u32 npages, Devmem **out);
DevmemZdd *create_zdd(Devmem &devmem, int &err); // consumes the allocation if it fails
void put_zdd(DevmemZdd &zdd);

// driver_copy.cc
void run_engine(Vram &vram);

// driver_migrate.cc
int look(Mm &mm, usize first, usize last, usize block, dsvm_residency *out);
int migrate_piece(Vm &vm, usize first, usize last);
int span_to_vram(Vm &vm, Piece &piece, usize first, usize last);
int span_to_ram(Vm &vm, Piece &piece, usize first, usize last);

// Complains unless the core returned 0 or one of the errors (positive) that its contract
// names for this call; says what it returned.
template <class... Errors> int expect(const char *call, int ret, Errors... errors)
{
	const bool is_killed = ret == -DSVM_EINTR && scheduler().is_killed();

	if (ret != 0 && !is_killed && !((ret == -errors) || ...))
		scheduler().fail("an error that the contract does not name", "%s returned %d", call,
				 ret);
	return ret;
}

} // namespace dsvm::sim

#endif // DSVM_SIMMM_DRIVER_IMPL_H
