// SPDX-License-Identifier: GPL-2.0-only OR MIT
//
// A small machine for the core to run on: RAM, a device's memory, address spaces
// with VMAs and page tables, interval notifiers, DMA, and the kernel's migration.
//
// It implements the part of os.h that is about memory management, by the kernel's
// contracts rather than by its code; each function names the contract it models. It
// is deterministic and has one thread. Races are injected: a case hangs a hook on
// the n-th call of a function, and the hook does there what another CPU would do
// (invalidate, unmap, write, free), at exactly that point.
//
//	World world;                          the machine, one at a time
//	world.map(mm, first, pages, ...)      VMAs and pages
//	world.fail(Call::kDmaMap, 3, -EFAULT) the third call from now fails
//	world.at(Call::kHmmWalked, 1, hook)   the hook runs inside the first call from now
//
// Every page has `content`, one word that stands for its 4096 bytes. A case writes
// it through the CPU's page table and reads it back the same way after whatever the
// core did: data that was lost, mixed up or not copied shows.
//
// What it checks by itself, at once: use of a free page, DMA mappings of pages that
// are freed, or for writing of what the CPU may not write, device addresses used before they
// are synced or linked twice, unlocked or foreign pages in migration, data moved a second time,
// entries looked at after an invalidation, page tables that may go away while they are walked,
// locks missing or in the way, waiting for what nobody ends.
// And at its end: page references that are not mappings, locked pages, DMA mappings, windows of
// device addresses, device mappings, mm users, provider and zdd references, folios that a
// fault has not left, invalidations that have not ended, copies that nobody has waited for, pins.
//
// A huge folio is 2^set_huge_order() pages that are referenced, locked, collected and moved
// together, until it is split; each of its pages has a reference of its own for each of the
// folio's, so that nothing has to be dealt out then.
//
// What it does not model: caches, folios of other sizes, files, page table pages.
#ifndef DSVM_KUNIT_FAKE_WORLD_H
#define DSVM_KUNIT_FAKE_WORLD_H

#include "core/base/locking.h"
#include "core/base/utility.h"
#include "core/base/va_range.h"
#include "drm_svm/migrate.h"
#include "drm_svm/os.h"
#include "kunit/env.h"

namespace dsvm::fake {

struct Mm;
struct Page;

} // namespace dsvm::fake

// A CPU fault that is being handled.
struct dsvm_os_fault {
	dsvm::fake::Mm *mm;
	dsvm::fake::Page *page; // locked, but while it sleeps
	bool may_drop;		// the mm's lock, for the same time
	bool no_wait;		// it must not sleep
	bool has_dropped;	// the mm's lock
	dsvm::u64 waited_ns;
};

namespace dsvm::fake {

// The points at which a call can be made to fail, and a hook can run. Those with a
// comment lie inside of a call, after the kernel has done its part.
enum class Call : u8 {
	kMmGet,
	kMmPutAsync,
	kMmReadLock,
	kMmReadTrylock, // failing means: a writer has it
	kVmaAt,
	kVmaFirst,
	kNotifierReadBegin, // nothing has been waited for yet
	kNotifierReadRetry,
	kNotifierSeq,
	kNotifierRemove,
	kInvalidateStarted, // every notifier has been called once, none a second time
	kHmmFault,
	kHmmWalked, // entries are filled in, the sequence not yet compared
	kHmmKind,
	kDmaMap,
	kDmaUnmap,
	kDmaNeedsSync, // failing means: it does
	kDmaMapRun,
	kDmaUnmapRun,
	kDmaNeedsUnmap,
	kIovaAlloc,    // failing means: there is no window to be had
	kIovaLink,
	kIovaSync,
	kIovaUnlink,
	kIovaFree,
	kProviderMap,
	kProviderUnmap,
	kMigrateSetup,
	kPageLocked,	   // one page is locked and referenced, nothing else looked at yet
	kMigrateCollected, // unmapped and locked
	kMigratePages,
	kMigrateFinalize,
	kDeviceSetup,
	kDeviceCollected,
	kDevicePages,
	kDeviceFinalize,
	kPageAlloc,
	kHugeAlloc, // the same for a huge folio
	kPageInitDevice,
	kPageRetire,
	kPageEnter, // failing means: somebody else is in
	kPageLeave,
	kFrameInUse,
	kFrameOrder,
	kEndTimeslice,
	kNextZdd,
	kTakeReserve, // failing means: somebody else has it
	kFenceWait,   // failing means: it is signalled with this error, and nothing was copied
	kVmaPin,      // failing means: somebody waits for the VMA
	kVmaUnpin,
	kFaultWait,
	kParallel,
	kPopulate, // the driver's callbacks, see fake/device.h
	kCopyToDevice,
	kCopyToRam,
	kUnused,
	kJobAlloc, // the callbacks of a job, see cases/scene.h
	kJobRelease,
	kWindowCreate, // the driver's callbacks, see cases/mirror.h
	kWindowDestroy,
	kRangeCreate,
	kRangePut,
	kRangeLock, // about to be locked
	kCount,
};

class World;
using Hook = void (*)(World &world, void *arg);

constexpr u32 kCalls = static_cast<u32>(Call::kCount);
constexpr u32 kRamPages = 2048;
constexpr u32 kDevicePages = 2048;
constexpr u32 kForeignPages = 64;
constexpr u32 kPages = kRamPages + kDevicePages + kForeignPages;
// Page frame numbers of the first page of RAM, of the device, and of a device whose
// driver is none of ours.
constexpr usize kRamPfn = 0x1000;
constexpr usize kDevicePfn = 0x100000;
constexpr usize kForeignPfn = 0x200000;
// Where a device sees a page: not where the CPU does, so that mixing them up shows.
constexpr u64 kDmaOffset = 1ull << 44;
constexpr u32 kDmaDeviceShift = 40;
// Addresses of RAM that nobody has to unmap.
constexpr u64 kDmaDirect = 1ull << 45;
// Above this are windows of device addresses (IOVA).
constexpr u64 kIovaBase = 1ull << 46;
constexpr u32 kIovas = 8;
constexpr u32 kMms = 2;
constexpr u32 kVmas = 32;
constexpr u32 kNotifiers = 16;
constexpr u32 kEvents = 4;
// Requests to hmm that are remembered, of which entries may be decoded.
constexpr u32 kCollections = 32;
// Their numbers, as they are in entries.
constexpr u32 kCollectionMask = 0xffffff;
constexpr u32 kProviders = 2;
constexpr u32 kDevices = 3;
constexpr u32 kZdds = 64;
constexpr u32 kFences = 12;
constexpr u32 kFenceSteps = 1024;
// Ends of phases that are remembered, the first ones; the rest is counted.
constexpr u32 kTraces = 128;
// What of an address space can be mapped: 4 MiB from here.
constexpr usize kBase = 0x7f0000000000;
constexpr u32 kPtes = 1024;

struct Iova;
struct Mm;

// What a device page points to, as struct drm_pagemap_zdd.
struct Zdd {
	u32 refs;
	dsvm_os_provider *provider;
	void *owner;
	Mm *mm;			   // the address space that the allocation was made for
	dsvm_devmem *devmem; // nullptr: nobody asks
	bool timeslice_is_over;	   // dsvm_os_zdd_end_timeslice()
	// Called when a page of it is free again.
	void (*freed)(void *arg, usize pfn);
	// Called when the last reference goes: the allocation is empty.
	void (*released)(void *arg);
	void *arg;
};

// A page of RAM or of a device.
struct Page {
	u32 refs;	   // mappings included; 0: free
	u32 mapped;	   // page table entries that point here
	u32 dma;	   // DMA mappings
	u32 dma_by_dir[4]; // the same, by enum dsvm_dma_dir
	usize meant_for;   // RAM for a migration: the address whose policy it was chosen by
	bool locked;
	bool pinned;	  // somebody has a reference that migration finds at once
	bool merged;	  // by KSM
	bool raced;	  // somebody takes one between collecting and moving
	bool dirty;	  // DSVM_MARK_DIRTIED
	u32 dirtied;	  // how often
	u32 accessed;	  // DSVM_MARK_ACCESSED, how often
	u8 order;	  // it is part of a folio of 2^order pages,
	u16 index;	  // and which of them
	u8 stays;	  // enum dsvm_stay: why migration does not take it, if not 0
	bool stuck;	  // device pages: unmapped, and kept by the rest of the folio
	bool entered;	  // device pages: a CPU fault is at work on the folio
	bool was_entered; // the same, before the folio was split
	bool given_back;  // device pages: the driver has them back
	bool retired;	  // device pages: dsvm_os_entries_retire()
	bool spent;	  // device pages: the data has gone to RAM, whoever noted it
	bool coherent;	  // foreign pages: the CPU maps them as it maps RAM
	bool lazyfree;	  // after MADV_FREE: dropped instead of swapped out, as long as clean
	Zdd *zdd;	  // device pages in use
	u64 content;
};

enum class PteKind : u8 {
	kNone,
	kPresent,
	kDevice,    // a device page's special entry: the CPU faults on it
	kMigration, // being migrated
	kOther,	    // mapped, but nothing that DMA could reach
	kSwapped,
};

struct Pte {
	Page *page;
	PteKind kind;
	u8 order; // a mapping of 2^order pages covers this one
	bool writable;
	bool inaccessible; // hmm reports it absent and cannot bring it in: -EFAULT
	u64 swapped;	   // the content, while it is
};

struct Vma {
	usize first;
	usize last;
	bool in_use;
	bool writable;
	bool anonymous;
	bool special;
	bool unreadable;
	u32 pins; // dsvm_os_vma_pin(): nobody may change it meanwhile
};

// What an address space is to the core: struct mm_struct.
struct Mm {
	u32 users;    // one of them the process itself, until it exits
	u32 held;     // those that dsvm_os_mm_get() gave
	bool exiting; // no users any more, page tables not yet torn down
	dsvm_os_rwsem *lock;
	u32 readers; // beside the first: a hook is another CPU, and may try to be the second
	// As struct mmu_notifier_subscriptions has them: `seq` is odd while an invalidation that
	// some notifier hears of runs.
	u32 active;
	usize seq;
	Vma vmas[kVmas];
	Pte ptes[kPtes];
};

// One invalidation, between mmu_notifier_invalidate_range_start() and _end().
struct Event {
	Mm *mm;
	usize first;
	usize last;
	usize seq;
	bool in_use;
	bool unmap; // MMU_NOTIFY_UNMAP: the VMA goes
	bool blockable;
	bool deferrable; // the kernel has two passes
};

// The driver's callbacks as struct mmu_interval_notifier_ops has them. The first one takes the
// lock of the driver and calls dsvm_os_notifier_set_seq() under it; true: it wants the second.
using Invalidate = bool (*)(World &world, dsvm_os_notifier *notifier, const Event &event,
			    void *arg);
using Finish = void (*)(World &world, dsvm_os_notifier *notifier, const Event &event, void *arg);

//
// One that is not in use is told of nothing; whoever has it may use it as a stand-in for a part
// of what another one covers, and publishes sequences to it.
struct Notifier {
	Mm *mm;
	usize first;
	usize last;
	usize seq;
	bool in_use;
	bool deferred; // made while an invalidation runs: hears of none until that ends
	Invalidate invalidate;
	Finish finish;
	void *arg;
	const dsvm_os_rwsem *lock; // that its callbacks take; nullptr: a notifier lock
};

// A request that hmm has fulfilled: what its entries say holds as long as the sequence is that of
// the notifier, which has to hear of whatever meets the span.
struct Collection {
	u32 id; // in the entries
	const Notifier *notifier;
	usize seq;
	u64 timeout_ns; // what the request gave the kernel for attempts of its own
	bool stale;	// something has met the span
	const Mm *mm;
	usize first;
	usize last;
};

// One injected failure and one hook per kind of call.
struct Injection {
	u32 calls;   // since the world began
	u32 fail_at; // 0: never; kEvery: at each call
	int error;
	u32 hook_at; // 0: never; kEvery: at each call
	Hook hook;
	void *arg;
};

// What a copy engine does for one page.
struct CopyStep {
	Page *page;	    // the copying device's
	dsvm_dma_addr addr; // the other side; dir 0: there is none, clear the page
	bool to_ram;
	const dsvm_devmem *target; // what the other side is part of; nullptr: RAM, or nothing
};

// What dsvm_os_trace_migrate() has said.
struct Traces {
	bool off; // nobody wants to hear it
	u32 count;
	dsvm_migrate_event events[kTraces];
};

enum class Writable : bool { No, Yes };

class World {
public:
	static constexpr u32 kEvery = ~0u;

	// Makes it the current one; there is one at a time.
	World();
	World(const World &) = delete;
	World &operator=(const World &) = delete;
	// Checks the balance, see above.
	~World();

	static World &current();

	// Set-up ------------------------------------------------------------------

	[[nodiscard]] Mm &mm(u32 index = 0);
	[[nodiscard]] dsvm_os_mm *os_mm(u32 index = 0);
	// A VMA over [first, last]; anonymous unless changed in the result.
	Vma &add_vma(Mm &mm, usize first, usize last, Writable writable = Writable::Yes);
	// Maps `count` pages of RAM from `addr`, contiguous, content = addr of each page.
	// `order`: in mappings of 2^order pages each.
	void populate(Mm &mm, usize addr, u32 count, u32 order = 0);
	// The same with one huge folio.
	void populate_huge(Mm &mm, usize addr);
	// As swap-out of what is mapped at `addr`.
	void swap_out(Mm &mm, usize addr);
	// As mremap() of `count` pages, which nothing is mapped in the way of.
	void move_pages(Mm &mm, usize from, usize to, u32 count);
	// As munmap(): tells the notifiers, frees the pages, cuts the VMAs.
	void unmap(Mm &mm, usize first, usize last);
	// Maps `count` pages of a driver that is none of ours from `addr`, which moves them for
	// `owner` only. `coherent`: as if they were RAM.
	void populate_foreign(Mm &mm, usize addr, u32 count, void *owner, bool coherent);
	// As the end of a user: with the last one the address space is torn down.
	void exit(Mm &mm);
	// The same in two steps: between them nobody can get a user, but pages are still mapped.
	void begin_exit(Mm &mm);
	void finish_exit(Mm &mm);
	// As fork() between two mms, for entries that are present or a device's.
	void share(Mm &from, Mm &to);
	[[nodiscard]] Pte &pte(Mm &mm, usize addr);
	[[nodiscard]] dsvm_os_notifier *add_notifier(Mm &mm, usize first, usize last,
						     Invalidate invalidate, void *arg,
						     Finish finish = nullptr,
						     const dsvm_os_rwsem *lock = nullptr);
	// As mmu_notifier_invalidate_range_start() to _end() on all CPUs but ours.
	void invalidate(Mm &mm, usize first, usize last);
	// The same in two steps: page tables change between them.
	Event &begin_event(Mm &mm, usize first, usize last, bool unmap = false);
	void end_event(Event &event);
	// The sequence that was waited for last.
	[[nodiscard]] usize awaited_seq() const;
	void set_awaited_seq(usize seq);
	// Whether one runs that meets the span.
	[[nodiscard]] bool is_invalidating(const Mm &mm, usize first, usize last) const;
	// From now on the kernel calls notifiers in two passes.
	void set_two_passes(bool two_passes);
	[[nodiscard]] dsvm_os_provider *provider(u32 index = 0);
	[[nodiscard]] u32 provider_refs(u32 index = 0) const;
	[[nodiscard]] dsvm_os_dev *device(u32 index = 0);
	// From now on devices reach RAM by copies that have to be kept in step.
	void set_needs_sync(bool needs_sync);
	[[nodiscard]] bool needs_sync() const;
	// From now on devices reach RAM itself, and what is mapped need not be unmapped; until, if
	// @bounce is not 0, the mapping of that number from now, 1 being the next, is a copy.
	void set_direct(bool direct, u32 bounce = 0);
	[[nodiscard]] bool is_direct() const;
	// The same, asked by a mapping that is made.
	[[nodiscard]] bool maps_directly();
	// From now on DMA mappings of more than 2^order pages are refused.
	void set_max_dma_order(u32 order);
	[[nodiscard]] u32 max_dma_order() const;
	// From now on providers give addresses without a size and a direction.
	void set_sloppy_providers(bool sloppy);
	// Whether providers lend memory, which nobody else has at that moment.
	void set_lends(bool lends);
	[[nodiscard]] bool has_sloppy_providers() const;
	// From now on they are behind an IOMMU whose addresses may be filled by hand.
	void set_iommu(bool iommu);
	[[nodiscard]] bool has_iommu() const;
	// Windows of device addresses that there are, and pages linked into them.
	[[nodiscard]] u32 iova_windows() const;
	[[nodiscard]] u32 iova_pages() const;
	// From now on folios of 2^order pages move whole; 0, as at the beginning: none do.
	void set_huge_order(u32 order);
	[[nodiscard]] u32 huge_order() const;
	// From now on a VMA can be pinned.
	void set_vma_pins(bool on);
	[[nodiscard]] bool has_vma_pins() const;
	// VMAs that are pinned now, as often as they are.
	[[nodiscard]] u32 vma_pins() const;
	[[nodiscard]] dsvm_migrate_counters &counters(u32 provider = 0);
	[[nodiscard]] Traces &traces();
	// Work for a copy engine, which is not done before somebody waits for it.
	[[nodiscard]] dsvm_os_fence *begin_fence();
	void add_to_fence(dsvm_os_fence *fence, const CopyStep &step);
	// Copies that nobody has waited for yet.
	[[nodiscard]] u32 fences() const;
	// One page of a copy, now.
	void copy_page(const CopyStep &step);
	// From now on reading what is not there maps the zero page.
	void set_zero_page(bool on);
	// The zero page with a reference for the caller; nullptr: reading allocates.
	[[nodiscard]] Page *zero_page();
	[[nodiscard]] bool is_zero_page(const Page *page) const;
	// What DSVM_MARK_DIRTIED does for a page.
	static void mark_dirty(Page *page);
	// For the first address space.
	[[nodiscard]] Zdd *make_zdd(dsvm_os_provider *provider, void *owner,
				    void (*released)(void *), void *arg,
				    dsvm_devmem *devmem = nullptr,
				    void (*freed)(void *, usize) = nullptr);
	// The next one in use of a provider, nullptr: the first; no reference is touched.
	[[nodiscard]] Zdd *next_zdd(const dsvm_os_provider *provider, const Zdd *zdd);
	void zdd_put(Zdd *zdd);

	// What a CPU sees ----------------------------------------------------------

	// Content of the page at `addr` wherever it is; 0 for an absent one.
	[[nodiscard]] u64 read(Mm &mm, usize addr);
	// How many pages of [first, last] are of that kind.
	[[nodiscard]] u32 count(Mm &mm, usize first, usize last, PteKind kind);

	// Injection --------------------------------------------------------------------

	// The n-th call from now (kEvery: each) returns `error` (or what stands for failure);
	// n = 0: none does.
	void fail(Call call, u32 n, int error);
	// `hook` runs inside the n-th call from now (kEvery: each).
	void at(Call call, u32 n, Hook hook, void *arg = nullptr);
	[[nodiscard]] u32 calls(Call call) const;
	// The injected error of this call, or 0; runs its hook.
	int enter(Call call);

	// Pages -------------------------------------------------------------------------

	[[nodiscard]] Page *page_of_pfn(usize pfn);
	[[nodiscard]] usize pfn_of(const Page *page) const;
	// The page at an address that the device has been given, as the device gets there.
	[[nodiscard]] Page *page_of_dma(u64 addr);
	[[nodiscard]] bool is_ram(const Page *page) const;
	[[nodiscard]] bool is_device(const Page *page) const;
	// Who may have a device page migrated: struct dev_pagemap's owner.
	[[nodiscard]] void *owner_of(const Page *page) const;
	[[nodiscard]] Page *alloc_ram(u32 count = 1, u32 alignment = 1);
	void get_page(Page *page);
	void put_page(Page *page);
	void lock_page(Page *page);
	void unlock_page(Page *page);
	// The same of all pages of a folio.
	void get_folio(Page *page);
	void put_folio(Page *page);
	void lock_folio(Page *page);
	void unlock_folio(Page *page);
	// Makes pages in a row a folio.
	void join_folio(Page *first, u32 order);
	// Makes a folio single pages again.
	void split_folio(Page *page);
	// The parts of what was a folio that only that has kept go.
	void free_stuck(Page *first, u32 count);
	// Maps it by an entry a page.
	void split_mappings(const Page *page);
	// Whether a page table entry lets a CPU write the page.
	[[nodiscard]] bool is_writable(const Page *page) const;
	// The identity of the device memory that a page is part of; nullptr for RAM.
	[[nodiscard]] const void *pagemap_of(const Page *page) const;
	[[nodiscard]] const void *pagemap(u32 provider = 0) const;
	// Page table entries, with the page's references and counts.
	void set_pte(Pte &pte, PteKind kind, Page *page, Writable writable);
	void clear_pte(Pte &pte);
	[[nodiscard]] u32 dma_mappings() const;
	[[nodiscard]] u32 pages_in_use() const;
	// The newest one, and the one after it.
	[[nodiscard]] Collection &last_collection();
	[[nodiscard]] Collection &next_collection();
	// By the number in its entries; nullptr if that was too long ago.
	[[nodiscard]] Collection *collection(u32 id);

private:
	friend void check_balance(World &world);
	friend Iova *find_iova(World &world, u64 addr);
	friend Iova *new_iova(World &world, const dsvm_os_dev &dev, u64 size);
	struct State;

	void tear_down(Mm &mm);
	void unmap_pte(Pte &pte);
	void check_pins(const Mm &mm, usize first, usize last, const char *what);
	void call_notifiers(Event &event);
	Event *free_event();

	State *state_;
};

// Complains about whatever is left over; ~World() calls it.
void check_balance(World &world);

// Calls `visit` with each page of a folio, which may be freed or split by that.
template <class Visit> void for_each_page_of(Page *page, Visit visit)
{
	Page *const first = page - page->index;
	const u32 count = 1u << page->order;

	for (u32 i = 0; i < count; i++)
		visit(first[i]);
}

inline bool holds_notifier_lock()
{
	return dsvm_env_rank_held() >= to_underlying(LockRank::kNotifier);
}

// Whether the caller keeps invalidations of a notifier from running.
inline bool holds_lock_of(const Notifier &notifier)
{
	return notifier.lock != nullptr ? dsvm_env_lock_is_held(notifier.lock)
					: holds_notifier_lock();
}

inline Page *from_os(dsvm_os_page *page)
{
	return reinterpret_cast<Page *>(page);
}
inline dsvm_os_page *to_os(Page *page)
{
	return reinterpret_cast<dsvm_os_page *>(page);
}
inline Mm *from_os(dsvm_os_mm *mm)
{
	return reinterpret_cast<Mm *>(mm);
}
inline Notifier *from_os(dsvm_os_notifier *notifier)
{
	return reinterpret_cast<Notifier *>(notifier);
}
inline dsvm_os_notifier *to_os(Notifier *notifier)
{
	return reinterpret_cast<dsvm_os_notifier *>(notifier);
}
inline Vma *from_os(dsvm_os_vma *vma)
{
	return reinterpret_cast<Vma *>(vma);
}
inline dsvm_os_vma *to_os(Vma *vma)
{
	return reinterpret_cast<dsvm_os_vma *>(vma);
}
inline Zdd *from_os(dsvm_os_zdd *zdd)
{
	return reinterpret_cast<Zdd *>(zdd);
}
inline dsvm_os_zdd *to_os(Zdd *zdd)
{
	return reinterpret_cast<dsvm_os_zdd *>(zdd);
}

} // namespace dsvm::fake

#endif // DSVM_KUNIT_FAKE_WORLD_H
