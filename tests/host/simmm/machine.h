// SPDX-License-Identifier: GPL-2.0-only OR MIT
//
// A machine whose memory management keeps Linux's contracts: RAM, a device's memory, swap,
// address spaces with VMAs and page tables, interval notifiers, page migration.
//
// It is a model of contracts and not of code. A function says which contract it keeps and
// where the kernel documents it ("kernel: FILE", a path in the kernel's tree). Everything
// that another CPU could do in between is possible here at the same places: each function
// that sleeps, drops a page-table lock or goes on to another page is a point of the
// scheduler (sched.h).
//
//	mm -- VMAs                     what may be there
//	   -- ptes -- page -- content  what is there, one word for 4096 bytes
//	   -- shadow                   what has to be there, whatever happens in between
//
// Page table entries, and the references and mappings that they stand for:
//
//	none        nothing
//	present     maps a page of RAM (or the zero page); one reference, one mapping
//	device      maps a device page, CPUs fault on it; one reference, one mapping
//	swap        the content is in a swap slot; one reference to the slot
//	migration   the page is on its way, CPUs wait; no reference, no mapping
//
// A huge mapping (a PMD) is a block of entries of one folio, all of them present, a device's or
// on their way, with the block's bit set; its order is a parameter, so that small machines have
// huge pages too. On a machine that stands for a real one it is 9.
//
// What it checks by itself, at once: use of a free page, a page freed while it is mapped or
// mapped for DMA, foreign locks, a look at entries that are no longer valid, the order of the
// migration's phases, page tables walked that may have gone.
//
// What it does not model: caches, page-table pages, NUMA, cgroups, dirty and young bits,
// files (shared memory stands for what is not anonymous), per-VMA locks but for those that are
// held on purpose (a fault takes the mm's lock, as faults on device pages do on all kernels).
#ifndef DSVM_SIMMM_MACHINE_H
#define DSVM_SIMMM_MACHINE_H

#include <cstdint>
#include <vector>

#include "tests/host/simmm/device.h"
#include "tests/host/simmm/rng.h"
#include "tests/host/simmm/sched.h"

namespace dsvm::sim {

// What the kernels do differently, as far as a module sees it (KERNEL: all three run the same
// core). The reasons are where a field is used.
struct Kernel {
	const char *name;
	bool locks_fault_page;	  // a CPU fault locks the device page before migrate_to_ram()
	bool splits_large_folios; // migration splits a folio that page tables map in parts
	bool hmm_retries_itself;  // hmm_range_fault_unlocked_timeout()
	bool reaps_as_clear;	  // the OOM reaper's event; else it is an unmapping
	bool copies_into_zero;	  // splitting a huge page drops subpages that are all zero
	bool collapses_read_only; // khugepaged wants no writable page in a block that it collapses
	bool has_two_passes;	  // of interval notifiers
	bool moves_huge_pages;	  // to a device and back, as one
	bool pins_vmas;		  // for who has given the mm's lock up
};
extern const Kernel kKernel6_1, kKernel6_12, kKernel7_3;

struct Geometry {
	u32 mms = 3;
	u32 va_pages = 32; // of each mm, from kVaBase
	u32 ram_pages = 160;
	u32 device_pages = 64;
	u32 peer_pages = 0; // of a second device, behind those
	u32 fragmented = 0; // 1: no huge page of RAM can be had to migrate to
	u32 swap_slots = 64;
	u32 huge_order = 3; // pages of a huge mapping, as a power of two
};

constexpr usize kVaBase = 0x7f0000000000;
constexpr usize kRamPfn = 0x1000;
constexpr usize kDevicePfn = 0x100000;
// Where a device sees a page: not where the CPU does, so that mixing them up shows.
constexpr u64 kDmaOffset = 1ull << 44;
constexpr u32 kMaxMms = 4;
constexpr u32 kMaxVmas = 24;
constexpr u32 kMaxNotifiers = 32;
// The zero page: RAM's first; nobody counts its references.
constexpr u32 kZeroPage = 0;

struct Mm;
struct Notifier;

// A page of RAM or of a device. Folios are runs of pages; what is the folio's is kept in its
// head.
struct Page {
	// The folio's.
	u32 refs = 0;	      // 0: free
	u32 mapped = 0;	      // page table entries that map a page of it
	u32 pins = 0;	      // references of somebody who uses the page by its address (GUP)
	u32 locker = kNobody; // the scheduler's slot of who has it locked
	u8 order = 0;
	bool locked = false;
	bool isolated = false; // off the LRU: reclaim, migration or compaction is at it
	bool anon = false;
	u8 anon_vma = 0; // what rmap begins with; see Vma::anon_vmas
	// While its entries are migration entries: whoever moves it holds a reference to the
	// anon_vma; its owner's VMA mapped it, so that whoever moves it could have kept that.
	bool keeps_anon_vma = false;
	bool owner_mapped = false;
	u32 slot = 0; // in the swap cache for this slot; 0: is not
	// The page's.
	u32 head = 0;
	u32 dma = 0;	      // DMA mappings
	u32 generation = 0;   // goes up when it is freed
	bool retired = false; // device: dsvm_os_entries_retire()
	bool entered = false; // device: dsvm_os_page_enter()
	bool spent = false;   // device: the data has gone to RAM
	bool dirty = false;   // DSVM_MARK_DIRTIED
	bool lazy = false;    // the kernel may drop it: MADV_FREE, and no write that it knows of
	bool written = false; // ... but somebody has written since
	Zdd *zdd = nullptr;   // device, while in use
	u64 content = 0;
};

enum class PteKind : u8 { kNone, kPresent, kDevice, kSwap, kMigration };

struct Pte {
	PteKind kind = PteKind::kNone;
	bool write = false; // of a migration entry: what it will be again
	bool read = true;   // false: PROT_NONE, nobody uses what it maps
	u32 page = kNoPage; // also of migration entries: the page on its way
	u32 slot = 0;
	bool operator==(const Pte &) const = default;
};

enum class VmaKind : u8 { kAnonymous, kShared, kFile, kSpecial };

struct Vma {
	usize first = 0;
	usize last = 0;
	VmaKind kind = VmaKind::kAnonymous;
	bool in_use = false;
	bool detached = false; // nobody finds it any more, but its anon_vmas are still linked
	bool read = true;
	bool write = true;
	bool may_be_huge = false;
	// Bit i: linked to anon_vma i, which lives as long as any VMA is (kernel: mm/rmap.c). A
	// VMA inherits its parent's at fork and adds one of its own.
	u64 anon_vmas = 0;
	u8 own_anon_vma = 0;
	// Who keeps it as it is, and who waits to change it: see dsvm_os_vma_pin().
	u32 pins = 0;
	u8 pinned_by[kMaxFibers + 1] = {}; // by fiber; the last one is nobody's: set-up
	bool is_awaited = false;
	u32 object = 0;	     // shared, or a private mapping of a file: which object
	u32 object_page = 0; // ... and which page of it is at `first`
	bool is_private() const { return kind == VmaKind::kAnonymous || kind == VmaKind::kFile; }
};

// enum mmu_notifier_event, in the kernel's order.
enum class Event : u8 {
	kUnmap,
	kClear,
	kProtectionVma,
	kProtectionPage,
	kSoftDirty,
	kRelease,
	kMigrate,
	kExclusive,
	kCount
};
const char *name_of(Event event);

// struct mmu_notifier_range.
struct EventRange {
	Mm *mm;
	usize first;
	usize last;
	Event event;
	void *owner; // of kMigrate: nullptr otherwise
	bool blockable;
};

struct Notifier;

// struct mmu_interval_notifier_finish: one of the driver's, for the time between the passes.
struct Finish {
	Notifier *notifier = nullptr; // nullptr: the kernel does not have it
	Finish *next = nullptr;
};

// struct mmu_interval_notifier; the driver's callback takes the driver's lock and calls
// dsvm_os_notifier_set_seq() under it. False: it would have to wait and must not.
struct Notifier {
	using Invalidate = bool (*)(Notifier &notifier, const EventRange &range, usize seq);
	// The same in two passes, if the kernel has them and this is there. What goes to `finish`
	// is what the second pass is called with; nullptr: none is needed.
	using InvalidateStart = bool (*)(Notifier &notifier, const EventRange &range, usize seq,
					 Finish *&finish);
	using InvalidateFinish = void (*)(Finish &finish);

	enum class State : u8 { kOff, kPending, kOn, kLeaving, kStandIn };

	Mm *mm = nullptr;
	usize first = 0;
	usize last = 0;
	usize seq = 0;
	State state = State::kOff;
	Invalidate invalidate = nullptr;
	InvalidateStart invalidate_start = nullptr;
	InvalidateFinish invalidate_finish = nullptr;
	void *arg = nullptr;
	u32 callbacks = 0; // that run now
};

// struct mm_struct.
struct Mm {
	u32 index = 0;
	u32 users = 0;		// 0: gone or going; the process itself is one
	u32 kept = 0;		// those of dsvm_os_mm_get()
	bool in_use = false;	// has been made
	bool torn_down = false; // exit_mmap() is through
	Rwsem lock{"mmap_lock", LockRank::kMmap};
	Vma vmas[kMaxVmas];
	std::vector<Pte> ptes;
	std::vector<u8> huge;	 // by block
	std::vector<u8> table;	 // by block: a page table is there, so that nothing huge fits in
	std::vector<u64> shadow; // what a read has to give
	// struct mmu_notifier_subscriptions.
	usize invalidate_seq = 2;
	u32 active_invalidations = 0;
};

// How an access by the CPU ended.
enum class Access : u8 { kDone, kSegv, kBus, kOom, kGone };
const char *name_of(Access access);

// A CPU's fault on a device page: struct vm_fault.
struct CpuFault {
	Mm &mm;
	Vma &vma;
	const usize addr;
	Page &page;
	const u32 order;	   // of the entry that it came by
	const bool may_unlock;	   // FAULT_FLAG_ALLOW_RETRY
	bool has_unlocked = false; // the mm
};

// How a device's migrate_to_ram() ended: VM_FAULT_*.
enum class FaultResult : u8 { kDone, kRetry, kOom, kBus };

// Faults that are injected: the n-th call from now fails.
enum class Fail : u8 {
	kNone,
	kAlloc,	    // dsvm_os_alloc()
	kPageAlloc, // any page of RAM
	kDmaMap,
	kCopy,	    // a copy callback of the driver: -EIO
	kCopyLater, // the copy itself, after the callback has returned: -EIO
	kCopyAgain, // a copy callback: -EAGAIN
	kPopulate,  // the driver's page frames
	kCount
};
const char *name_of(Fail fail);

// A span between the setup and the finalize of its migration.
struct ActiveSpan {
	enum class Phase : u8 { kNone, kCollected, kMoved };

	Phase phase = Phase::kNone;
	bool by_frames = false; // migrate_device_*()
	u32 fiber = kNobody;	// whose it is
	const dsvm_migrate_span *span = nullptr;
};

// Pages that have gone from one kind of memory to another, which is what counters have to say;
// and what has happened on the way.
struct Moves {
	u64 to_device = 0; // also from another one
	u64 to_ram = 0;
	u64 between_devices = 0;
	u64 vmas_kept = 0;
	u64 folios_split = 0; // of a device
	u64 free_waits = 0;   // for copies, with a VMA kept and not the mm's lock
};

// What the kernel has been told of pages of RAM that a device uses: calls.
struct Marks {
	u32 dirty = 0;
	u32 accessed = 0;
	bool operator==(const Marks &) const = default;
};

// What a fiber has asked of the kernel.
struct Asked {
	// How many pages it has kept from being dropped (MADV_FREE), by marking them dirty.
	u32 kept_pages = 0;
	Marks marks;
	u64 walk_ns = 0; // when its last walk of pages to collect began
};

class Machine {
public:
	Machine();
	Machine(const Machine &) = delete;
	Machine &operator=(const Machine &) = delete;
	~Machine();

	static Machine &current();

	// Everything anew: mm 0 lives and is empty.
	void reset(const Geometry &geometry, const Kernel &kernel);
	const Kernel &kernel() const { return *kernel_; }
	const Geometry &geometry() const { return geometry_; }
	Mm &mm(u32 index) { return mms_[index]; }

	// The driver's side ------------------------------------------------------------

	// Called for a CPU fault on a device page, as pgmap->ops->migrate_to_ram(): the mm's lock
	// is held, the page is referenced, and locked if the kernel does that. kRetry: the mm's
	// lock is not held any more.
	FaultResult (*migrate_to_ram)(CpuFault &fault) = nullptr;
	// Called after each change of a page table entry: who maps memory by it must not be left
	// behind. Any context.
	void (*pte_changed)(Mm &mm, u32 index) = nullptr;
	void *device_owners[kMaxDevices] = {}; // struct dev_pagemap's, of each device's memory

	// Programs: mm.cc, mm_ops.cc ------------------------------------------------------

	// One load or store of the page at an address, faults included. Reads are compared with
	// the shadow; writes go there, too.
	Access load(Mm &mm, usize addr, u64 *value);
	Access store(Mm &mm, usize addr, u64 value);
	// The same for somebody who already has a translation: the GPU.
	u64 device_load(Mm &mm, usize addr, Page &page);
	void device_store(Mm &mm, usize addr, Page &page, u64 value);
	// What a read at a page of an mm has to give now; 0 where there is no memory.
	u64 &shadow(Mm &mm, u32 index);

	// As the system calls, page aligned, both ends included. 0 or a negated errno.
	int mmap(Mm &mm, usize first, usize last, VmaKind kind, bool may_be_huge, u32 object = 0);
	int munmap(Mm &mm, usize first, usize last);
	int mprotect(Mm &mm, usize first, usize last, bool read, bool write);
	int madvise_dontneed(Mm &mm, usize first, usize last);
	int madvise_free(Mm &mm, usize first, usize last);
	// mremap() with MREMAP_FIXED | MREMAP_MAYMOVE, to a place where nothing is.
	int mremap(Mm &mm, usize first, usize last, usize to);
	// The child, or nullptr: no mm is left, or no memory. An mm that is torn down is used
	// again, but for the first.
	Mm *fork(Mm &mm);
	// The end of a process: drops its user.
	void exit(Mm &mm);
	// A page that somebody else holds: GUP for writing of what is mapped now. kNoPage: no
	// such page is. The page is nobody else's from here on, also after a fork.
	u32 pin(Mm &mm, usize addr);
	void unpin(u32 page);
	// The same with a reference alone, as vmsplice(); the zero page counts as any.
	u32 hold(Mm &mm, usize addr);
	void let_go(u32 page);
	// The content of a page of an object that nobody has touched yet.
	void set_file(u32 object, u32 page, u64 content)
	{
		object_shadows_[object * geometry_.va_pages + page] = content;
	}

	// The kernel's own doings: mm_kernel.cc --------------------------------------------

	// Reclaim of one page: to swap, out of all page tables. False: it could not.
	bool page_out(Mm &mm, usize addr);
	// Compaction: the page's content goes to another page of RAM.
	bool compact(Mm &mm, usize addr);
	// khugepaged, MADV_COLLAPSE: small pages of a block become one folio. 0; -EINVAL: such a
	// block is not collapsed; -EAGAIN: a page is held; -ENOMEM.
	int collapse(Mm &mm, usize addr);
	// A huge mapping becomes small ones (the folio stays one); with `folio` that, too.
	bool split_huge(Mm &mm, usize addr, bool folio);
	// The OOM reaper, which must not sleep in notifiers. False: it was refused.
	bool oom_reap(Mm &mm);

	// Faults -----------------------------------------------------------------------------

	// handle_mm_fault(): the mm's lock is held for reading. kDone: look again. It may be given
	// up for who says so, and is told.
	Access fault(Mm &mm, usize addr, bool write, bool *unlocked = nullptr);
	// The entry of a page has gone to a device: see migrate_to_ram.
	Access device_fault(Mm &mm, Vma &vma, u32 index, bool *unlocked);

	Vma *find_vma(Mm &mm, usize addr);
	Vma *first_vma(Mm &mm, usize first, usize last);

	// Page table entries, with what they count. `changed` tells pte_changed.
	// Maps a page: as present, or a device page as a device's.
	void set_present(Mm &mm, u32 index, u32 page, bool write);
	void set_swap(Mm &mm, u32 index, u32 slot);
	// What was mapped is unmapped and its reference goes (last, in an atomic section).
	void clear_pte(Mm &mm, u32 index);
	// The same, but leaves a migration entry that remembers page and permission.
	void set_migration(Mm &mm, u32 index);
	// Puts what a migration entry stands for back: `page` is mapped again.
	void restore_migration(Mm &mm, u32 index, u32 page);
	void set_write(Mm &mm, u32 index, bool write);
	void set_huge(Mm &mm, u32 block, bool huge);
	bool is_huge(const Mm &mm, u32 index) const
	{
		return mm.huge[index >> geometry_.huge_order];
	}

	u32 index_of(usize addr) const { return static_cast<u32>((addr - kVaBase) >> kPageShift); }
	usize addr_of(u32 index) const { return kVaBase + (usize{index} << kPageShift); }
	u32 block_pages() const { return 1u << geometry_.huge_order; }

	// VMAs that are kept: vma_pin.cc --------------------------------------------------------

	bool pin_vma(Vma &vma); // false: somebody waits to change it
	void unpin_vma(Vma &vma);
	bool has_pinned(const Vma &vma) const; // the running fiber
	bool has_pinned_any() const;
	// Complains if the running fiber is about to wait for the mm's lock, and keeps a VMA.
	void no_pinned_vma(const char *what);
	// vma_start_write() for those of a span: nobody keeps them. The mm's lock is held for
	// writing.
	void await_vmas(Mm &mm, usize first, usize last);

	// Reverse mappings: mm_rmap.cc ---------------------------------------------------------

	// try_to_migrate(): every mapping of the folio becomes a migration entry, each after a
	// CLEAR; huge mappings stay huge, but if they are to be split. The folio is locked.
	// Complains if page tables are walked that may have gone.
	void unmap_for_migration(Page &folio, bool split = false);
	// remove_migration_ptes(): entries that wait for `from` map `to` (may be the same).
	void restore_mappings(Page &from, Page &to);
	// try_to_unmap(): to swap entries of `slot`.
	void unmap_to_swap(Page &folio, u32 slot);

	// Notifiers: notifier.cc -----------------------------------------------------------------

	// mmu_notifier_invalidate_range_start(). False: refused, and it has been ended.
	bool invalidate_start(const EventRange &range);
	void invalidate_end(const EventRange &range);
	// mmu_interval_notifier_insert(), _remove(), _read_begin(), _read_retry(), _set_seq().
	int notifier_insert(Notifier &notifier, Mm &mm, usize first, usize last);
	void notifier_remove(Notifier &notifier);
	usize notifier_read_begin(Notifier &notifier);
	bool notifier_read_retry(const Notifier &notifier, usize seq);
	void notifier_set_seq(Notifier &notifier, usize seq);
	// A notifier that is in no tree: it hears of nothing, and whoever has it publishes to it.
	void notifier_stand_in(Notifier &notifier, Mm &mm, usize first, usize last);

	// Pages: pages.cc -----------------------------------------------------------------------

	Page &page(u32 index) { return pages_[index]; }
	u32 index_of(const Page &page) const { return static_cast<u32>(&page - pages_.data()); }
	Page &folio_of(Page &page) { return pages_[page.head]; }
	bool is_device(u32 index) const { return index >= geometry_.ram_pages; }
	usize pfn_of(u32 index) const
	{
		return is_device(index) ? kDevicePfn + (index - geometry_.ram_pages)
					: kRamPfn + index;
	}
	// kNoPage: no such frame.
	u32 page_of_pfn(usize pfn) const;
	// A folio of RAM with one reference, all zero; kNoPage if there is none. Sleeps.
	u32 alloc_ram(u32 order);
	// Which device's frame; what identifies its memory.
	u32 device_of(u32 index) const
	{
		return index >= geometry_.ram_pages + geometry_.device_pages;
	}
	void *owner_of(u32 index) const { return device_owners[device_of(index)]; }
	const void *pagemap_of(u32 index) const { return &device_owners[device_of(index)]; }
	// Makes free device pages a folio in use: locked, one reference.
	void init_device_folio(u32 first, u32 order, Zdd &zdd);
	void get_page(Page &page);
	// The last reference frees the folio; a device's says so to its zdd. Any context.
	void put_page(Page &page);
	bool try_get_page(Page &page); // false: it is free
	bool try_lock_page(Page &page);
	void lock_page(Page &page); // sleeps
	void unlock_page(Page &page);
	// A folio of one becomes folios of pages; the caller holds it locked and alone.
	// The head stays locked; tails have the references of their mappings, or are freed.
	void split_folio(Page &folio);
	// What a new folio has of the one that it is split from; ->folio_split().
	void inherit(Page &part, const Page &head);
	void zdd_put(Zdd &zdd); // any context
	// A new page of RAM or of a device becomes the VMA's own.
	void make_anonymous(Vma &vma, u32 page);
	// Swap slots: a reference for each entry, one of the swap cache.
	u32 alloc_slot();
	void get_slot(u32 slot);
	void put_slot(u32 slot);
	u32 &slot_cache(u32 slot) { return slots_[slot].cache; } // the page, or kNoPage
	// Takes a page out of the swap cache; false: an entry still needs its slot.
	bool free_swap_cache(Page &folio);
	bool drop_lazy(Page &page);
	bool collapse_block(Mm &mm, u32 block, u32 huge);

	// mm_users.
	bool mm_get(Mm &mm);
	void mm_put(Mm &mm);	   // the last one tears it down; sleeps
	void mm_put_async(Mm &mm); // ... on a worker that the scheduler runs
	// Outside of fibers: tears down what a worker found no virtual CPU for.
	void finish_exits();

	// Injection ---------------------------------------------------------------------------

	// The n-th such call from now fails, once.
	void inject(Fail fail, u32 nth);
	// To be asked by each such call.
	bool fails(Fail fail);

	// Migrations under way: migrate.cc ---------------------------------------------------

	// nullptr: it is not.
	ActiveSpan *active_span(const dsvm_migrate_span *span);
	ActiveSpan &new_active_span();
	bool has_active_spans() const; // the running fiber
	Moves moves;
	// The running fiber.
	Asked &asked();

	// Memory of the core, freed by reset() if a run was abandoned ------------------------

	void *alloc(usize bytes);
	void free(void *memory);
	bool holds_memory() const;

	// Checks at the end: leftovers.cc ----------------------------------------------------

	// Content against shadow, without faults; references against what there is.
	void check_consistency();
	// After all mms have gone: pages, slots, locks, DMA mappings, memory, zdds.
	void check_nothing_left();

	// A hash of what is where, kept up to date: for the count of distinct states.
	u64 state_hash() const { return state_hash_; }
	void hash_in(u64 what) { state_hash_ ^= mix(what); }

private:
	struct Slot {
		u32 refs = 0;
		u32 cache = kNoPage;
		u64 content = 0;
	};

	Access access(Mm &mm, usize addr, bool write, u64 *value);
	Access fault_anonymous(Mm &mm, Vma &vma, u32 index, bool write);
	Access fault_object(Mm &mm, Vma &vma, u32 index);
	Access fault_swap(Mm &mm, Vma &vma, u32 index, bool write);
	Access fault_write(Mm &mm, Vma &vma, u32 index);
	void zap(Mm &mm, usize first, usize last);
	Access copy_on_write(Mm &mm, Vma &vma, u32 index);
	u64 untouched(const Vma *vma, u32 index) const;
	Mm *unused_mm();
	void split_edges(Mm &mm, usize first, usize last);
	bool fault_huge(Mm &mm, Vma &vma, u32 index);
	void unmap_each(Page &folio, u32 slot, bool split);
	void restore_huge(Mm &mm, u32 block, Page &to);
	Vma *span_vma(Mm &mm, usize first, usize last);
	usize object_index(const Vma &vma, u32 index) const;
	void notifier_drain(Mm &mm);
	bool tell(Notifier &notifier, const EventRange &range, usize seq, Finish *&passes);
	void finish_passes(Finish *passes);
	bool split_vma(Mm &mm, usize at);
	bool split_vmas(Mm &mm, usize first, usize last);
	bool is_covered(Mm &mm, usize first, usize last);
	Vma *new_vma(Mm &mm);
	u8 new_anon_vma();
	bool anon_vma_lives(u8 id) const;
	void split_block(Mm &mm, u32 block);
	void tear_down(Mm &mm);
	bool copy_page_table(Mm &from, Mm &to, Vma &vma);
	bool move_huge(Mm &mm, u32 from, u32 to, u32 count);
	bool fork_entry(Mm &from, Mm &to, u32 index);
	bool is_exclusive(const Page &folio) const;
	void put_mapping(Pte &pte);
	void set_entry(Mm &mm, u32 index, const Pte &pte);
	bool find_mapping(Page &folio, bool migration, Mm *&mm, u32 &index);
	void free_folio(Page &folio);

	Geometry geometry_;
	const Kernel *kernel_ = nullptr;
	std::vector<Page> pages_;
	std::vector<Slot> slots_;
	// Shared objects, va_pages each: their pages (kNoPage: not there yet) and shadows.
	std::vector<u32> object_pages_;
	std::vector<u64> object_shadows_;
	u64 no_shadow_ = 0;
	Mm mms_[kMaxMms];
	Notifier *notifiers_[kMaxNotifiers] = {};
	u32 next_anon_vma_ = 1;
	u32 ram_hint_ = 1;
	u32 fail_in_[static_cast<u32>(Fail::kCount)] = {};
	struct Memory;
	Memory *memory_ = nullptr; // a list of what the core has
	u64 state_hash_ = 0;
	std::vector<ActiveSpan> active_spans_;
	Asked asked_[kMaxFibers + 1];
};

inline Machine &machine()
{
	return Machine::current();
}

inline Scheduler &scheduler()
{
	return Scheduler::current();
}

// From start to end on every way out of a scope.
class Invalidation {
public:
	Invalidation(Mm &mm, usize first, usize last, Event event, void *owner = nullptr,
		     bool blockable = true)
		: range_{&mm, first, last, event, owner, blockable},
		  started_(machine().invalidate_start(range_))
	{}
	~Invalidation()
	{
		if (started_)
			machine().invalidate_end(range_);
	}
	Invalidation(const Invalidation &) = delete;
	Invalidation &operator=(const Invalidation &) = delete;

	bool started() const { return started_; }

private:
	const EventRange range_;
	const bool started_;
};

// The opaque types of os.h are these.
#define DSVM_SIM_IS(type, opaque)                           \
	inline type &from_os(opaque *handle)                \
	{                                                   \
		return *reinterpret_cast<type *>(handle);   \
	}                                                   \
	inline opaque *to_os(type &object)                  \
	{                                                   \
		return reinterpret_cast<opaque *>(&object); \
	}
DSVM_SIM_IS(Device, dsvm_os_dev)
DSVM_SIM_IS(CpuFault, dsvm_os_fault)
DSVM_SIM_IS(Fence, dsvm_os_fence)
DSVM_SIM_IS(Mm, dsvm_os_mm)
DSVM_SIM_IS(Notifier, dsvm_os_notifier)
DSVM_SIM_IS(Page, dsvm_os_page)
DSVM_SIM_IS(Provider, dsvm_os_provider)
DSVM_SIM_IS(Rwsem, dsvm_os_rwsem)
DSVM_SIM_IS(Vma, dsvm_os_vma)
DSVM_SIM_IS(Zdd, dsvm_os_zdd)
#undef DSVM_SIM_IS

} // namespace dsvm::sim

#endif // DSVM_SIMMM_MACHINE_H
