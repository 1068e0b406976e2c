// SPDX-License-Identifier: GPL-2.0-only OR MIT
//
// os.h on the fake machine: address spaces, and collecting pages.

#include "kunit/fake/world.h"

namespace dsvm::fake {
namespace {

// An entry of a request: what struct hmm_range's hmm_pfns[] hold, in a form that only
// the decoder below knows.
constexpr usize kEntryValid = 1ul << 63;
constexpr usize kEntryWrite = 1ul << 62;
constexpr usize kEntryOther = 1ul << 61;
constexpr u32 kEntryOrderShift = 56;
// Which request it belongs to.
constexpr u32 kEntryIdShift = 32;
constexpr usize kEntryPfnMask = (1ul << kEntryIdShift) - 1;
// What one attempt to walk a page table takes.
constexpr u64 kWalkNs = 1000 * 1000;

Vma *find_vma(Mm &mm, usize first, usize last)
{
	Vma *lowest = nullptr;

	for (Vma &vma : mm.vmas) {
		if (!vma.in_use || vma.first > last || vma.last < first)
			continue;
		if (lowest == nullptr || vma.first < lowest->first)
			lowest = &vma;
	}
	return lowest;
}

bool report(Vma *vma, dsvm_vma_info *out)
{
	if (vma == nullptr)
		return false;
	out->vma = to_os(vma);
	out->first = vma->first;
	out->last = vma->last;
	out->readable = !vma->unreadable;
	out->writable = vma->writable;
	out->anonymous = vma->anonymous;
	out->special = vma->special;
	return true;
}

// A new page with the same content takes the place of the one at `at`, and everybody is
// told.
void replace(World &world, Mm &mm, usize at, Writable writable)
{
	Page *const page = world.alloc_ram();
	Pte &pte = world.pte(mm, at);

	page->content = pte.page->content;
	Event &event = world.begin_event(mm, at, at + kPageSize - 1);
	world.clear_pte(pte);
	world.set_pte(pte, PteKind::kPresent, page, writable);
	world.end_event(event);
	world.put_page(page);
}

// do_swap_page() on a device's entry brings the page home; here at once and without
// the driver, as a provider that is not ours would.
void bring_home(World &world, Mm &mm, usize at)
{
	replace(world, mm, at, world.pte(mm, at).writable ? Writable::Yes : Writable::No);
}

// handle_mm_fault() for one page. 0, -EFAULT, -EBUSY (somebody migrates it).
int fault_in(World &world, Mm &mm, usize at, const Vma &vma, bool write)
{
	Pte &pte = world.pte(mm, at);

	if (pte.inaccessible)
		return -DSVM_EFAULT;
	if (pte.kind == PteKind::kMigration)
		return -DSVM_EBUSY;
	if (pte.kind == PteKind::kSwapped) {
		Page *const page = world.alloc_ram();

		if (page == nullptr)
			return -DSVM_ENOMEM;
		page->content = pte.swapped;
		world.set_pte(pte, PteKind::kPresent, page,
			      vma.writable ? Writable::Yes : Writable::No);
		world.put_page(page);
	}
	if (pte.kind == PteKind::kNone) {
		Page *const zero = write ? nullptr : world.zero_page();
		Page *const page = zero != nullptr ? zero : world.alloc_ram();

		if (page == nullptr)
			return -DSVM_ENOMEM;
		world.set_pte(pte, PteKind::kPresent, page,
			      vma.writable && zero == nullptr ? Writable::Yes : Writable::No);
		world.put_page(page);
	}
	if (pte.kind == PteKind::kPresent && write && !pte.writable) {
		// Copy on write, unless nobody else has it.
		if (pte.page->mapped > 1 || world.is_zero_page(pte.page))
			replace(world, mm, at, Writable::Yes);
		pte.writable = true;
	}
	return 0;
}

usize encode(World &world, const Pte &pte)
{
	return kEntryValid | (pte.writable ? kEntryWrite : 0) |
	       (usize{pte.order} << kEntryOrderShift) | world.pfn_of(pte.page);
}

dsvm_page_kind kind_of(World &world, usize entry)
{
	if ((entry & kEntryOther) != 0)
		return DSVM_PAGE_OTHER;
	if ((entry & kEntryValid) == 0)
		return DSVM_PAGE_NONE;
	const Page *const page = world.page_of_pfn(entry & kEntryPfnMask);
	if (world.is_ram(page))
		return DSVM_PAGE_SYSTEM;
	return world.is_device(page) ? DSVM_PAGE_DEVICE : DSVM_PAGE_OTHER;
}

// Whether what an entry points to can be relied on now. Nothing is known of one that is empty.
void assert_collected(World &world, usize entry)
{
	if (entry == 0) {
		if (!holds_notifier_lock())
			dsvm_env_violation("an empty entry decoded without the notifier lock");
		return;
	}
	// Of a request too long ago nothing is known but that it needs a lock.
	const Collection *const collection =
		world.collection((entry >> kEntryIdShift) & kCollectionMask);
	if (collection == nullptr) {
		if (!holds_notifier_lock())
			dsvm_env_violation("an old entry decoded without the notifier lock");
		return;
	}
	if (collection->notifier != nullptr ? !holds_lock_of(*collection->notifier)
					    : !holds_notifier_lock())
		dsvm_env_violation("an entry decoded without the notifier lock");
	if (collection->notifier == nullptr || collection->notifier->seq != collection->seq)
		dsvm_env_violation("an entry decoded after an invalidation");
	else if (collection->stale)
		dsvm_env_violation("an entry decoded after an event that nobody has published");
}

// From here on events that meet the span make what is found stale; those that run already did.
Collection &begin_collection(World &world, const dsvm_hmm_request &request)
{
	Collection &collection = world.next_collection();

	collection.timeout_ns = request.timeout_ns;
	collection.mm = from_os(request.mm);
	collection.first = request.first;
	collection.last = request.last;
	collection.stale = world.is_invalidating(*collection.mm, request.first, request.last);
	return collection;
}

// Whether the caller has a user to give up.
bool drop_held(Mm &mm)
{
	if (mm.held == 0) {
		dsvm_env_violation("a user of an address space dropped that nobody has taken");
		return false;
	}
	mm.held--;
	return true;
}

int walk_one(World &world, const dsvm_hmm_request &request, usize at, usize *entry)
{
	Mm &mm = *from_os(request.mm);
	Vma *const vma = find_vma(mm, at, at);

	*entry = 0;
	if (vma == nullptr)
		return request.fault ? -DSVM_EFAULT : 0;
	if (vma->special) {
		*entry = request.fault ? 0 : kEntryOther;
		return request.fault ? -DSVM_EFAULT : 0;
	}
	if (request.fault && request.write && !vma->writable)
		return -DSVM_EPERM;

	Pte &pte = world.pte(mm, at);
	if (pte.kind == PteKind::kOther) {
		*entry = kEntryOther;
		return 0;
	}
	if (pte.kind == PteKind::kDevice && world.owner_of(pte.page) != request.owner) {
		if (!request.fault)
			return 0;
		bring_home(world, mm, at);
	}
	if (request.fault) {
		const int error = fault_in(world, mm, at, *vma, request.write);

		if (error != 0)
			return error;
	}
	if (pte.kind == PteKind::kPresent || pte.kind == PteKind::kDevice)
		*entry = encode(world, pte);
	return 0;
}

} // namespace
} // namespace dsvm::fake

using namespace dsvm;
using fake::Call;
using fake::from_os;
using fake::to_os;
using fake::World;

// Models mmget_not_zero().
dsvm_bool dsvm_os_mm_get(dsvm_os_mm *mm)
{
	if (World::current().enter(Call::kMmGet) != 0 || from_os(mm)->users == 0)
		return false;
	from_os(mm)->users++;
	from_os(mm)->held++;
	return true;
}

// Models mmput_async(): any context; somebody else tears the address space down, later.
void dsvm_os_mm_put_async(dsvm_os_mm *mm)
{
	static_cast<void>(World::current().enter(Call::kMmPutAsync));
	if (fake::drop_held(*from_os(mm)))
		World::current().begin_exit(*from_os(mm));
}

// Models the end of exit_mmap().
dsvm_bool dsvm_os_mm_is_gone(dsvm_os_mm *mm)
{
	return from_os(mm)->users == 0 && !from_os(mm)->exiting;
}

// Models mmap_read_lock().
void dsvm_os_mm_read_lock(dsvm_os_mm *mm)
{
	static_cast<void>(World::current().enter(Call::kMmReadLock));
	// Who waits for the VMA has that lock, or is about to.
	if (World::current().vma_pins() != 0)
		dsvm_env_violation("mmap_lock waited for with a VMA pinned");
	dsvm_os_read_lock(from_os(mm)->lock);
}

dsvm_bool dsvm_os_mm_read_trylock(dsvm_os_mm *mm)
{
	if (World::current().enter(Call::kMmReadTrylock) != 0)
		return false;
	if (dsvm_env_lock_is_held(from_os(mm)->lock))
		from_os(mm)->readers++;
	else
		dsvm_os_read_lock(from_os(mm)->lock);
	return true;
}

void dsvm_os_mm_read_unlock(dsvm_os_mm *mm)
{
	if (from_os(mm)->readers > 0)
		from_os(mm)->readers--;
	else
		dsvm_os_read_unlock(from_os(mm)->lock);
}

// Models a look at a VMA under mmap_lock without a user, which is all that keeps it.
int dsvm_os_vma_lock(dsvm_os_mm *mm, dsvm_usize addr, dsvm_vma_info *out)
{
	const bool is_gone = World::current().enter(Call::kMmGet) != 0 || from_os(mm)->users == 0;

	dsvm_os_mm_read_lock(mm);
	if (!is_gone && dsvm_os_vma_at(mm, addr, out))
		return 0;
	dsvm_os_mm_read_unlock(mm);
	return is_gone ? -DSVM_EFAULT : -DSVM_ENOENT;
}

// Models vma_lookup(): the VMA must hold the address; under mmap_lock.
dsvm_bool dsvm_os_vma_at(dsvm_os_mm *mm, dsvm_usize addr, dsvm_vma_info *out)
{
	dsvm_os_assert_held(from_os(mm)->lock);
	if (World::current().enter(Call::kVmaAt) != 0)
		return false;
	return fake::report(fake::find_vma(*from_os(mm), addr, addr), out);
}

// Models find_vma_intersection(); under mmap_lock.
dsvm_bool dsvm_os_vma_first(dsvm_os_mm *mm, dsvm_usize first, dsvm_usize last, dsvm_vma_info *out)
{
	dsvm_os_assert_held(from_os(mm)->lock);
	if (World::current().enter(Call::kVmaFirst) != 0)
		return false;
	return fake::report(fake::find_vma(*from_os(mm), first, last), out);
}

// Models hmm_range_fault(), with mmap_lock taken inside unless the caller has it: walks,
// faults pages in if asked, and -EBUSY if the notifier's sequence is not the request's any
// more.
int dsvm_os_hmm_fault(dsvm_hmm_request *request)
{
	World &world = World::current();
	const int injected = world.enter(Call::kHmmFault);
	fake::Mm &mm = *from_os(request->mm);

	dsvm_env_advance_ns(fake::kWalkNs);
	if (dsvm_env_lock_is_held(mm.lock) != request->mm_locked)
		dsvm_env_violation("hmm_range_fault(): mmap_lock is not as the request says");
	if (request->mm_locked && request->fault)
		dsvm_env_violation("hmm_range_fault(): a fault may have to drop mmap_lock");
	if (fake::holds_notifier_lock())
		dsvm_env_violation("hmm_range_fault() under the notifier lock");
	if (mm.users == 0)
		dsvm_env_violation("hmm_range_fault() without a user of the mm");
	if ((request->first & ~kPageMask) != 0 || (~request->last & ~kPageMask) != 0)
		dsvm_env_violation("hmm_range_fault() of parts of pages");
	if (injected != 0)
		return injected;

	fake::Collection &collection = fake::begin_collection(world, *request);
	usize *entry = request->entries;
	for (usize at = request->first; at < request->last; at += kPageSize, entry++) {
		if (*entry != 0)
			dsvm_env_violation("entries are not zeroed");
		const int error = fake::walk_one(world, *request, at, entry);

		if (error != 0)
			return error;
		if (*entry != 0)
			*entry |= usize{collection.id} << fake::kEntryIdShift;
		if (at + kPageSize == 0)
			break;
	}
	const int walked = world.enter(Call::kHmmWalked);
	if (walked != 0)
		return walked;
	if (from_os(request->notifier)->seq != request->seq)
		return -DSVM_EBUSY;
	collection.notifier = from_os(request->notifier);
	collection.seq = request->seq;
	return 0;
}

// Models what a frame number alone says: hmm_pfn_to_page() and the page's dev_pagemap,
// which are there whatever has become of the page.
dsvm_page_kind dsvm_os_hmm_kind(dsvm_usize entry)
{
	World &world = World::current();

	static_cast<void>(world.enter(Call::kHmmKind));
	return fake::kind_of(world, entry);
}

// Models page_pgmap(), which a frame number alone leads to as well.
const void *dsvm_os_hmm_pagemap(dsvm_usize entry)
{
	World &world = World::current();

	if ((entry & fake::kEntryValid) == 0)
		return nullptr;
	return world.pagemap_of(world.page_of_pfn(entry & fake::kEntryPfnMask));
}

dsvm_u32 dsvm_os_hmm_order(dsvm_usize entry)
{
	return (entry >> fake::kEntryOrderShift) & 0x1f;
}

dsvm_bool dsvm_os_hmm_is_part(dsvm_usize entry)
{
	const fake::Page *const page =
		World::current().page_of_pfn(entry & fake::kEntryPfnMask);

	return page->order > dsvm_os_hmm_order(entry);
}

// Models a search of all the dev_pagemaps that there are.
void *dsvm_os_next_owner(void *owner)
{
	World &world = World::current();
	void *next = nullptr;

	for (usize i = 0; i < fake::kDevicePages; i++) {
		const fake::Page *const page = world.page_of_pfn(fake::kDevicePfn + i);
		void *const candidate = page->refs != 0 ? world.owner_of(page) : nullptr;

		if (candidate > owner && (next == nullptr || candidate < next))
			next = candidate;
	}
	return next;
}

// Models a look at the flags and counts of a page's folio.
dsvm_u32 dsvm_os_hmm_why(dsvm_usize entry)
{
	World &world = World::current();

	if ((entry & fake::kEntryValid) == 0)
		return DSVM_STAY_SWAPPED;
	const fake::Page *const page = world.page_of_pfn(entry & fake::kEntryPfnMask);
	if (!world.is_ram(page))
		return world.is_device(page) ? DSVM_STAY_BUSY : DSVM_STAY_FOREIGN;
	if (page->pinned)
		return DSVM_STAY_PINNED;
	if (page->locked)
		return DSVM_STAY_LOCKED;
	if (page->order != 0 && world.huge_order() == 0)
		return DSVM_STAY_LARGE_FOLIO;
	return page->stays != 0 ? page->stays : static_cast<u32>(DSVM_STAY_BUSY);
}

// Models the HMM_PFN_* bits, hmm_pfn_to_map_order(), and what the page points to, which
// is there only as long as the sequence is the request's, under the lock that keeps it so.
void dsvm_os_hmm_decode(dsvm_usize entry, dsvm_page_desc *out)
{
	World &world = World::current();

	fake::assert_collected(world, entry);
	*out = {};
	out->kind = fake::kind_of(world, entry);
	if (out->kind == DSVM_PAGE_NONE || (entry & fake::kEntryValid) == 0)
		return;
	fake::Page *const page = world.page_of_pfn(entry & fake::kEntryPfnMask);
	out->page = to_os(page);
	out->order = static_cast<u8>((entry >> fake::kEntryOrderShift) & 0x1f);
	out->writable = (entry & fake::kEntryWrite) != 0;
	out->discardable = page->lazyfree;
	if (page->zdd != nullptr) {
		out->zdd = to_os(page->zdd);
		out->provider = page->zdd->provider;
	}
}

// Models the same of a folio of RAM: what it says has to be what the other one says.
dsvm_u32 dsvm_os_hmm_ram(dsvm_usize entry)
{
	dsvm_page_desc desc;

	dsvm_os_hmm_decode(entry, &desc);
	if (desc.kind != DSVM_PAGE_SYSTEM)
		return 0;
	return DSVM_RAM_PRESENT | (desc.writable ? DSVM_RAM_WRITABLE : 0) |
	       (desc.discardable ? DSVM_RAM_DISCARDABLE : 0) |
	       (from_os(desc.page)->dirty ? 0 : DSVM_RAM_CLEAN) |
	       u32{desc.order} << DSVM_RAM_ORDER;
}

dsvm_os_page *dsvm_os_hmm_page(dsvm_usize entry)
{
	return to_os(World::current().page_of_pfn(entry & fake::kEntryPfnMask));
}

dsvm_usize dsvm_os_hmm_mark_alike(const dsvm_usize *entries, dsvm_usize count, dsvm_u32 marks)
{
	const u32 ram = dsvm_os_hmm_ram(*entries);
	usize alike = 0;

	if (ram == 0)
		dsvm_env_violation("what is no RAM is marked");
	do {
		fake::Page *const page = from_os(dsvm_os_hmm_page(entries[alike]));

		if ((marks & DSVM_MARK_DIRTIED) != 0)
			World::current().mark_dirty(page);
		// Models folio_mark_accessed().
		if ((marks & DSVM_MARK_ACCESSED) != 0)
			page->accessed++;
	} while (++alike < count && dsvm_os_hmm_ram(entries[alike]) == ram);
	return alike;
}
