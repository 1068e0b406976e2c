// SPDX-License-Identifier: GPL-2.0-only OR MIT
//
// The driver's hmmptrs: what src/linux/hmmptr*.c and a driver's VM_BIND and EXEC do together.
//
// A hmmptr is in a slot of its VM, and shown by up to two GPU mappings, each with a region of the
// GPU's address space to itself: the way that parts of a mapping share a hmmptr after a split.
// Which pages a mapping shows, and what for, is what `linked` says.
//
//	slot -> hmmptr	CPU	|----------------------|
//			pieces	   |-----|--|     |--|
//			mapping 0     |####|			linked, and has entries
//			mapping 1          |..|			linked, to be bound again
//
// Who keeps whom: a hmmptr has one reference of its slot, one of its mappings, one of each
// operation under way and the core's; a piece that of the tree it is in. The set goes with its VM,
// of which operations have references as well.
//
// Locks: the VM's keeps who binds and unbinds away from who is about to publish a job; only
// exec has it for writing. What populates, maps and revalidates by itself does without.
#ifndef DSVM_SIMMM_DRIVER_HMMPTR_H
#define DSVM_SIMMM_DRIVER_HMMPTR_H

#include "drm_svm/hmmptr.h"
#include "tests/host/simmm/driver.h"

namespace dsvm::sim {

constexpr u32 kMappings = 2; // of a hmmptr
constexpr u32 kMaxHmmptrPages = 256;
constexpr u32 kMaxEvents = 8; // of a hmmptr between start and finish

struct Hmmptr;
struct Vm;

// struct drm_svm_hmmptr_finish.
struct HmmptrFinish {
	Finish finish;
	dsvm_hmmptr_event event = {}; // of a hmmptr: it is in use
};

// What tells one population of a piece from the one before.
struct Population {
	const usize *entries = nullptr;
	usize seq = 0;
	usize last = 0;
	bool operator==(const Population &) const = default;
};

// Whether the kernel has been told of the pages of one.
enum class Told : u8 { kNo, kYes, kUnknown };

// struct dsvm_piece, as the shim has it.
struct HmmptrPiece {
	dsvm_piece core;
	Hmmptr *hmmptr;
	Notifier stand_in; // publishes what has met the piece
	u32 refs;
	Population population; // as it was when the hmmptr's lock was last let go of
	Told told;
};

// struct drm_svm_hmmptr_set.
struct HmmptrSet {
	dsvm_hmmptr_set core = {};
	Rwsem notifier_lock{"hmmptrs' notifier lock", LockRank::kNotifier};
	Rwsem revalidate{"revalidation", LockRank::kUnranked};
	u64 waited_ns = 0; // by a revalidation, for locks of hmmptrs
	Rwsem vm_lock{"VM lock for hmmptrs", LockRank::kDriverVm};
	Hmmptr *slots[kMaxHmmptrs] = {};
	Hmmptr *all = nullptr; // also those that are in no slot any more
	u32 jobs = 0;	       // that run, and cannot fault
	u32 pieces = 0;
};

// struct drm_svm_hmmptr, and what a driver knows of its mappings.
struct Hmmptr {
	dsvm_hmmptr core;
	HmmptrSet *set;
	Mm *mm;
	Hmmptr *next; // of the set's
	Notifier notifier;
	Rwsem lock{"hmmptr's lock", LockRank::kRange};
	HmmptrFinish finish[kMaxFinishSlots];
	u32 refs = 1;
	bool closed = false;	    // no mapping shows it from here on; notifier lock
	u32 links = 0;		    // pages that mappings show; notifier lock
	u32 region[kMappings] = {}; // where the GPU has them
	GpuAccess linked[kMappings][kMaxHmmptrPages] = {}; // what for; notifier lock for writing
	u32 disturbances = 0;	     // by notifiers: goes up as one begins and as it ends
	VaRange started[kMaxEvents]; // events that are to be finished; notifier lock
	u32 num_started = 0;

	u32 first() const { return machine().index_of(core.window.node.first); }
	u32 last() const { return machine().index_of(core.window.node.last); }
};

inline HmmptrPiece &piece_of(dsvm_range *core)
{
	return *reinterpret_cast<HmmptrPiece *>(core);
}

// driver_hmmptr.cc: hmmptrs, and what the core asks of their owner.
void init_set(HmmptrSet &set);
void end_set(HmmptrSet &set);
int create_hmmptr(HmmptrSet &set, Mm &mm, u32 first, u32 last, u32 flags, Hmmptr *&out);
void put_hmmptr(Hmmptr &hmmptr);
void end_hmmptr(Hmmptr &hmmptr); // drm_svm_hmmptr_release(); hmmptr's lock
HmmptrPiece *first_piece(Hmmptr &hmmptr, u32 first, u32 last);
HmmptrPiece *next_piece(HmmptrPiece &piece, u32 last);

// driver_hmmptr_bind.cc: what mappings show.
int link_pages(Hmmptr &hmmptr, u32 mapping, u32 first, u32 last, GpuAccess access);
void unlink_pages(Hmmptr &hmmptr, u32 mapping, u32 first, u32 last);
int write_entries(Hmmptr &hmmptr, u32 first, u32 last, bool writes);
bool zap_entries(Hmmptr &hmmptr, u32 first, u32 last);
// Takes a hmmptr out of its slot, and its mappings away; `early`: drm_svm_hmmptr_release(), whoever
// still uses it.
void release_slot(HmmptrSet &set, u32 slot, bool early);

// driver_hmmptr_check.cc: what has to be true of them.

// After whatever has the hmmptr's lock is through with it, or nobody has it.
void check_hmmptr(Hmmptr &hmmptr);
// All of them that nobody works on.
void check_set(HmmptrSet &set);
// The same when nothing is under way; how many entries their pages are mapped by.
u32 check_quiet(HmmptrSet &set);
// All that mappings show has its entries, but for what the core has given up: one page of that, if
// the first mm has it, or kNoPage.
u32 check_bound(HmmptrSet &set);

// Notes what a call has populated, and, if it `maps`, told the kernel of; before the hmmptr's lock
// is let go of.
void note_populations(Hmmptr &hmmptr, bool maps);

// What the kernel has to be told in a call that maps a span: known only if nothing disturbs it.
class MarkCheck {
public:
	MarkCheck(Hmmptr &hmmptr, u32 first, u32 last, bool populates, dsvm_access access);
	void judge(int ret);

private:
	Told told_before(const HmmptrPiece &piece) const;

	Hmmptr &hmmptr_;
	const u32 first_;
	const u32 last_;
	u32 disturbances_;
	const u64 injected_;
	const bool populates_;
	const dsvm_access access_;
	// By page: that its piece is mapped already, or was mapped once since it was populated.
	bool told_[kMaxHmmptrPages] = {};
};

} // namespace dsvm::sim

#endif // DSVM_SIMMM_DRIVER_HMMPTR_H
