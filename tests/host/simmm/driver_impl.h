// SPDX-License-Identifier: GPL-2.0-only OR MIT
//
// What the parts of the driver share. Who keeps whom, as in the stub and the shims:
//
//	VM	one of who has it open, one of each operation under way
//	range	one of the mirror, one of the garbage list while it is on that, one of each who
//		uses it under its own lock
//	zdd	one of each device page in use, one of the migration that makes them
//	devmem	one of its zdd, one of each eviction under way
//	provider	one of the VM, one of each zdd, one of each mapping of its pages
//
// Everything that has a life of its own is memory of the machine, so that ASan sees whoever
// uses it afterwards, and a run that is abandoned leaves nothing behind.
#ifndef DSVM_SIMMM_DRIVER_IMPL_H
#define DSVM_SIMMM_DRIVER_IMPL_H

#include "drm_svm/migrate.h"
#include "tests/host/simmm/driver.h"

namespace dsvm::sim {

constexpr u32 kMaxChunks = 3;
constexpr u32 kMaxDevmemPages = 512;
constexpr u32 kMaxDevmems = 256;
constexpr u32 kMaxFinishSlots = 4;

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
};

// struct drm_pagemap_zdd: `released` is called where one may not sleep, so a worker does the
// rest.
struct Devmem;
struct DevmemZdd : Zdd {
	Devmem *devmem = nullptr;
	DevmemZdd *next = nullptr; // to be destroyed
};

// struct stub_devmem: an allocation of VRAM, with `frames` behind it.
struct Devmem {
	u32 refs = 1;
	u32 index = 0; // in Impl::devmems
	u32 npages = 0;
	Mm *mm = nullptr;
	DevmemZdd *zdd = nullptr; // nullptr: nothing lives there
	bool detached = false;
	u64 timeslice_end_ns = 0;
	u16 *frames = nullptr; // of the device, one for each page
};

// One call of the core's for an allocation: what its callbacks are given.
struct DevmemCall {
	Devmem *devmem;
	u32 copies = 0;
};

// Part of one VMA and of one block that is moved in one go, and where its pages are.
struct Piece {
	static Piece *create(u32 max_pages); // nullptr: no memory

	usize first;
	usize last;
	bool anonymous;
	dsvm_residency *page; // behind it

	u32 npages() const { return static_cast<u32>((last - first + 1) >> kPageShift); }
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

	// driver_vram.cc: allocations, copies, CPU faults, eviction.
	static FaultResult migrate_to_ram(Mm &mm, Vma &vma, usize addr, Page &page);
	int populate_mm(Mm &mm, usize first, usize last);
	u32 free_pages(); // also those that are on their way back
	int evict(Devmem &devmem);
	void put_devmem(Devmem &devmem);
	void release_zdds();

	DriverConfig config;
	usize chunk_sizes[kMaxChunks] = {};
	Provider provider;
	Device device;
	Mm *mm = nullptr;	     // that VMs mirror
	Vm *vm = nullptr;	     // who opens it finds this one
	Vm *vm_of_garbage = nullptr; // for as long as it lives
	bool gone = false;	     // the device has been taken away
	u32 operations = 0;	     // of the device, which may not go meanwhile
	u32 events = 0;
	Tally tally;
	Devmem *devmems[kMaxDevmems] = {};
	std::vector<u8> frame_taken;
	DevmemZdd *zdds_to_destroy = nullptr;
	Worker garbage_worker;
	Worker release_worker;
};

// The only one.
Driver::Impl &driver();

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
u32 count_runs(const Range &range);

// driver_invalidate.cc
void set_callbacks(Window &window);

// driver_trim.cc
void set_gone(Range &range, const EventRange &event, usize &zap_first, usize &zap_last);
int trim_range(Vm &vm, Range &range);
void check_split(const Range &range, const Range *tail);

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
