// SPDX-License-Identifier: GPL-2.0-only OR MIT
//
// os.h on the fake machine: address spaces, notifiers, collecting pages, DMA.

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
constexpr usize kEntryIdMask = 0xffffff;
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
	*out = {to_os(vma), vma->first, vma->last, vma->writable, vma->anonymous, vma->special};
	return true;
}

// A new page with the same content takes the place of the one at `at`, and everybody is
// told.
void replace(World &world, Mm &mm, usize at, Writable writable)
{
	Page *const page = world.alloc_ram();
	Pte &pte = world.pte(mm, at);

	page->content = pte.page->content;
	world.invalidate(mm, at, at + kPageSize - 1);
	world.clear_pte(pte);
	world.set_pte(pte, PteKind::kPresent, page, writable);
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
	if (pte.kind == PteKind::kNone) {
		Page *const page = world.alloc_ram();

		if (page == nullptr)
			return -DSVM_ENOMEM;
		world.set_pte(pte, PteKind::kPresent, page,
			      vma.writable ? Writable::Yes : Writable::No);
		world.put_page(page);
	}
	if (pte.kind == PteKind::kPresent && write && !pte.writable) {
		// Copy on write, unless nobody else has it.
		if (pte.page->mapped > 1)
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

// Whether what an entry points to can be relied on now.
void assert_collected(World &world, usize entry)
{
	const Collection &collection = world.last_collection();

	if (!holds_notifier_lock())
		dsvm_env_violation("an entry decoded without the notifier lock");
	if (entry != 0 && ((entry >> kEntryIdShift) & kEntryIdMask) != collection.id)
		dsvm_env_violation("an entry decoded that a later request has outdated");
	if (collection.notifier == nullptr || collection.notifier->seq != collection.seq)
		dsvm_env_violation("an entry decoded after an invalidation");
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
	dsvm_os_read_lock(from_os(mm)->lock);
	from_os(mm)->readers = 1;
}

dsvm_bool dsvm_os_mm_read_trylock(dsvm_os_mm *mm)
{
	if (World::current().enter(Call::kMmReadTrylock) != 0)
		return false;
	if (from_os(mm)->readers++ == 0)
		dsvm_os_read_lock(from_os(mm)->lock);
	return true;
}

void dsvm_os_mm_read_unlock(dsvm_os_mm *mm)
{
	if (from_os(mm)->readers > 1) {
		from_os(mm)->readers--;
		return;
	}
	from_os(mm)->readers = 0;
	dsvm_os_read_unlock(from_os(mm)->lock);
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

// Models mmu_interval_read_begin(): waits for an invalidation that is under way, so
// it sleeps, and the sequence it returns is not being invalidated.
dsvm_usize dsvm_os_notifier_read_begin(dsvm_os_notifier *notifier)
{
	static_cast<void>(World::current().enter(Call::kNotifierReadBegin));
	if (fake::holds_notifier_lock())
		dsvm_env_violation("mmu_interval_read_begin() under the notifier lock");
	return from_os(notifier)->seq;
}

// Models mmu_interval_read_retry(): equal sequences mean that nothing has come between.
dsvm_bool dsvm_os_notifier_read_retry(dsvm_os_notifier *notifier, dsvm_usize seq)
{
	const int injected = World::current().enter(Call::kNotifierReadRetry);

	return injected != 0 || from_os(notifier)->seq != seq;
}

// Models mmu_interval_set_seq(): inside the callback, under the driver's lock.
void dsvm_os_notifier_set_seq(dsvm_os_notifier *notifier, dsvm_usize seq)
{
	if (!fake::holds_notifier_lock())
		dsvm_env_violation("mmu_interval_set_seq() without the notifier lock");
	from_os(notifier)->seq = seq;
}

// Models mmu_interval_notifier_remove(): waits for callbacks, so no lock that they
// take may be held.
void dsvm_os_notifier_remove(dsvm_os_notifier *notifier)
{
	if (fake::holds_notifier_lock())
		dsvm_env_violation("mmu_interval_notifier_remove() under the notifier lock");
	if (!from_os(notifier)->in_use)
		dsvm_env_violation("a notifier removed twice");
	from_os(notifier)->in_use = false;
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

	const usize id = (world.last_collection().id + 1) & fake::kEntryIdMask;
	world.last_collection() = {static_cast<u32>(id), nullptr, 0, request->timeout_ns};
	usize *entry = request->entries;
	for (usize at = request->first; at < request->last; at += kPageSize, entry++) {
		if (*entry != 0)
			dsvm_env_violation("entries are not zeroed");
		const int error = fake::walk_one(world, *request, at, entry);

		if (error != 0)
			return error;
		if (*entry != 0)
			*entry |= id << fake::kEntryIdShift;
		if (at + kPageSize == 0)
			break;
	}
	const int walked = world.enter(Call::kHmmWalked);
	if (walked != 0)
		return walked;
	if (from_os(request->notifier)->seq != request->seq)
		return -DSVM_EBUSY;
	world.last_collection().notifier = from_os(request->notifier);
	world.last_collection().seq = request->seq;
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
	if (page->zdd != nullptr) {
		out->zdd = to_os(page->zdd);
		out->provider = page->zdd->provider;
	}
}

// DMA -----------------------------------------------------------------------------------

namespace dsvm::fake {
namespace {

int dma_map(Page *page, u32 order, dsvm_dma_dir dir, u32 proto, dsvm_dma_addr *out)
{
	World &world = World::current();

	for (u32 i = 0; i < 1u << order; i++) {
		if (page[i].refs == 0)
			dsvm_env_violation("a free page mapped for DMA");
		page[i].dma++;
		page[i].dma_by_dir[dir]++;
	}
	*out = {};
	out->addr = (u64{world.pfn_of(page)} << kPageShift) + kDmaOffset;
	out->proto = proto;
	out->order = order;
	out->dir = static_cast<u64>(dir);
	return 0;
}

void dma_unmap(const dsvm_dma_addr *addr, u32 proto)
{
	World &world = World::current();
	Page *const page = world.page_of_dma(addr->addr);

	if (addr->proto != proto)
		dsvm_env_violation("DMA unmapped by the wrong function");
	for (u32 i = 0; i < 1u << addr->order; i++) {
		if (page[i].dma == 0)
			dsvm_env_violation("DMA unmapped twice");
		else if (page[i].dma_by_dir[addr->dir] == 0)
			dsvm_env_violation("DMA unmapped in a direction that it has not");
		else
			page[i].dma--, page[i].dma_by_dir[addr->dir]--;
	}
}

} // namespace
} // namespace dsvm::fake

// Models dma_map_page() and dma_mapping_error(): no allocation that could block.
int dsvm_os_dma_map(dsvm_os_dev *, dsvm_os_page *page, dsvm_u32 order, dsvm_dma_dir dir,
		    dsvm_dma_addr *out)
{
	World &world = World::current();

	if (!world.is_ram(from_os(page)))
		dsvm_env_violation("device memory mapped as RAM");
	if (const int injected = world.enter(Call::kDmaMap))
		return injected;
	if (order > world.max_dma_order())
		return -DSVM_EFAULT;
	return fake::dma_map(from_os(page), order, dir, DSVM_PROTO_SYSTEM, out);
}

// Models dma_unmap_page().
void dsvm_os_dma_unmap(dsvm_os_dev *, const dsvm_dma_addr *addr)
{
	static_cast<void>(World::current().enter(Call::kDmaUnmap));
	fake::dma_unmap(addr, DSVM_PROTO_SYSTEM);
}

// Models folio_mark_dirty().
void dsvm_os_page_mark_dirty(dsvm_os_page *page)
{
	if (from_os(page)->refs == 0)
		dsvm_env_violation("a free page is marked dirty");
	from_os(page)->dirty = true;
}

// Models dma_need_sync(): asked of a mapping that there is.
dsvm_bool dsvm_os_dma_needs_sync(dsvm_os_dev *, const dsvm_dma_addr *addr)
{
	World &world = World::current();

	if (addr->proto != DSVM_PROTO_SYSTEM || world.page_of_dma(addr->addr)->dma == 0)
		dsvm_env_violation("dma_need_sync() of what is not mapped");
	return world.enter(Call::kDmaNeedsSync) != 0 || world.needs_sync();
}

// Models drm_pagemap_ops.device_map().
int dsvm_os_provider_map(dsvm_os_provider *provider, dsvm_os_dev *, dsvm_os_page *page,
			 dsvm_u32 order, dsvm_dma_dir dir, dsvm_dma_addr *out)
{
	World &world = World::current();

	if (!world.is_device(from_os(page)) || from_os(page)->zdd == nullptr ||
	    from_os(page)->zdd->provider != provider)
		dsvm_env_violation("a provider asked to map what is not its own");
	if (const int injected = world.enter(Call::kProviderMap))
		return injected;
	return fake::dma_map(from_os(page), order, dir, DSVM_PROTO_DRIVER, out);
}

// Models drm_pagemap_ops.device_unmap().
void dsvm_os_provider_unmap(dsvm_os_provider *, dsvm_os_dev *, const dsvm_dma_addr *addr)
{
	static_cast<void>(World::current().enter(Call::kProviderUnmap));
	fake::dma_unmap(addr, DSVM_PROTO_DRIVER);
}
