// SPDX-License-Identifier: GPL-2.0-only OR MIT
//
// The fake machine's state, its pages and page table entries, its injections.

#include "kunit/fake/state.h"

namespace dsvm::fake {

// The one that the functions of os.h work on. A pointer, so that nothing has to be
// constructed when the program (or the module) is loaded.
static World *current_world;

World &World::current()
{
	return *current_world;
}

World::World() : state_(static_cast<State *>(dsvm_backend_alloc(sizeof(State))))
{
	if (current_world != nullptr)
		dsvm_env_violation("two worlds at once");
	current_world = this;
	for (Mm &mm : state_->mms) {
		mm.users = 1;
		mm.seq = 2;
		mm.lock = dsvm_env_lock_create("mmap_lock", to_underlying(LockRank::kMmap));
	}
	for (dsvm_os_provider &provider : state_->providers)
		provider.refs = 1;
	for (u32 i = 0; i < kDevices; i++)
		state_->devs[i].index = i;
	state_->max_dma_order = ~0u;
}

World::~World()
{
	// What user space has mapped goes with it, quietly.
	for (Mm &mm : state_->mms) {
		if (mm.users == 1)
			exit(mm);
		else if (mm.exiting)
			finish_exit(mm);
	}
	check_balance(*this);
	for (Mm &mm : state_->mms)
		dsvm_env_lock_destroy(mm.lock);
	dsvm_backend_free(state_);
	current_world = nullptr;
}

void check_balance(World &world)
{
	World::State &s = *world.state_;

	for (u32 i = 0; i < kPages; i++) {
		const Page &page = s.pages[i];

		if (page.locked)
			dsvm_env_violation("page %u: still locked", i);
		if (page.dma != 0)
			dsvm_env_violation("page %u: %u DMA mappings left", i, page.dma);
		if (page.refs != page.mapped)
			dsvm_env_violation("page %u: %u references, %u mappings", i, page.refs,
					   page.mapped);
		else if (page.refs != 0)
			dsvm_env_violation("page %u: still in use", i);
	}
	for (u32 i = 0; i < kMms; i++) {
		if (s.mms[i].users != 0 || s.mms[i].held != 0)
			dsvm_env_violation("mm %u: %u users left, %u held", i, s.mms[i].users,
					   s.mms[i].held);
	}
	for (const Event &event : s.events) {
		if (event.in_use)
			dsvm_env_violation("an invalidation that has not ended");
	}
	for (const Iova &iova : s.iovas) {
		if (iova.dev != nullptr)
			dsvm_env_violation("a window of device addresses left");
	}
	for (u32 i = 0; i < kProviders; i++) {
		if (s.providers[i].refs != 1)
			dsvm_env_violation("provider %u: %u references, expected 1", i,
					   s.providers[i].refs);
		if (s.providers[i].reserve_is_taken)
			dsvm_env_violation("provider %u: its reserve is missing", i);
		if (s.providers[i].spare_is_taken)
			dsvm_env_violation("provider %u: its spare memory is missing", i);
	}
	for (u32 i = 0; i < kZdds; i++) {
		if (s.zdds[i].refs != 0)
			dsvm_env_violation("zdd %u: %u references left", i, s.zdds[i].refs);
	}
	if (world.fences() != 0)
		dsvm_env_violation("%u copies that nobody has waited for", world.fences());
	if (world.vma_pins() != 0)
		dsvm_env_violation("%u pins of VMAs left", world.vma_pins());
}

Mm &World::mm(u32 index)
{
	return state_->mms[index];
}

dsvm_os_mm *World::os_mm(u32 index)
{
	return reinterpret_cast<dsvm_os_mm *>(&state_->mms[index]);
}

dsvm_os_provider *World::provider(u32 index)
{
	return &state_->providers[index];
}

u32 World::provider_refs(u32 index) const
{
	return state_->providers[index].refs;
}

dsvm_os_dev *World::device(u32 index)
{
	return &state_->devs[index];
}

void World::set_needs_sync(bool needs_sync)
{
	state_->needs_sync = needs_sync;
}

bool World::needs_sync() const
{
	return state_->needs_sync;
}

void World::set_direct(bool direct, u32 bounce)
{
	state_->direct = direct;
	state_->bounce_in = bounce;
}

bool World::is_direct() const
{
	return state_->direct;
}

bool World::maps_directly()
{
	if (state_->bounce_in != 0 && --state_->bounce_in == 0)
		state_->direct = false;
	return state_->direct;
}

void World::set_max_dma_order(u32 order)
{
	state_->max_dma_order = order;
}

u32 World::max_dma_order() const
{
	return state_->max_dma_order;
}

void World::set_iommu(bool iommu)
{
	state_->iommu = iommu;
}

bool World::has_iommu() const
{
	return state_->iommu;
}

void World::set_huge_order(u32 order)
{
	state_->huge_order = order;
}

u32 World::huge_order() const
{
	return state_->huge_order;
}

void World::set_zero_page(bool on)
{
	state_->zero_page_on = on;
}

bool World::is_zero_page(const Page *page) const
{
	return page != nullptr && page == state_->zero;
}

// Models folio_mark_dirty().
void World::mark_dirty(Page *page)
{
	if (page->refs == 0)
		dsvm_env_violation("a free page is marked dirty");
	if (current().is_zero_page(page))
		dsvm_env_violation("the zero page is marked dirty");
	page->dirty = true;
	page->dirtied++;
}

Collection &World::last_collection()
{
	return state_->collections[state_->last_collection % kCollections];
}

Collection &World::next_collection()
{
	state_->last_collection = (state_->last_collection + 1) & kCollectionMask;
	Collection &next = last_collection();

	next = {};
	next.id = state_->last_collection;
	return next;
}

Collection *World::collection(u32 id)
{
	Collection &found = state_->collections[id % kCollections];

	return found.id == id ? &found : nullptr;
}

// Injection -----------------------------------------------------------------------

void World::fail(Call call, u32 n, int error)
{
	Injection &injection = state_->injections[to_underlying(call)];

	injection.fail_at = n == 0 || n == kEvery ? n : injection.calls + n;
	injection.error = error;
}

void World::at(Call call, u32 n, Hook hook, void *arg)
{
	Injection &injection = state_->injections[to_underlying(call)];

	injection.hook_at = n == kEvery ? kEvery : injection.calls + n;
	injection.hook = hook;
	injection.arg = arg;
}

u32 World::calls(Call call) const
{
	return state_->injections[to_underlying(call)].calls;
}

int World::enter(Call call)
{
	Injection &injection = state_->injections[to_underlying(call)];

	dsvm_env_point();
	injection.calls++;
	if (injection.hook != nullptr &&
	    (injection.hook_at == kEvery || injection.hook_at == injection.calls))
		injection.hook(*this, injection.arg);
	const bool fails = injection.fail_at == kEvery || injection.fail_at == injection.calls;
	return fails ? injection.error : 0;
}

// Pages ----------------------------------------------------------------------------

Page *World::page_of_pfn(usize pfn)
{
	if (pfn >= kRamPfn && pfn - kRamPfn < kRamPages)
		return &state_->pages[pfn - kRamPfn];
	if (pfn >= kDevicePfn && pfn - kDevicePfn < kDevicePages)
		return &state_->pages[kRamPages + (pfn - kDevicePfn)];
	if (pfn >= kForeignPfn && pfn - kForeignPfn < kForeignPages)
		return &state_->pages[kRamPages + kDevicePages + (pfn - kForeignPfn)];
	dsvm_env_violation("no page has the frame number %#lx", pfn);
	return &state_->pages[0];
}

usize World::pfn_of(const Page *page) const
{
	const usize index = static_cast<usize>(page - state_->pages);

	if (index < kRamPages)
		return kRamPfn + index;
	if (index < kRamPages + kDevicePages)
		return kDevicePfn + (index - kRamPages);
	return kForeignPfn + (index - kRamPages - kDevicePages);
}

bool World::is_ram(const Page *page) const
{
	return page < state_->pages + kRamPages;
}

bool World::is_device(const Page *page) const
{
	return !is_ram(page) && page < state_->pages + kRamPages + kDevicePages;
}

void *World::owner_of(const Page *page) const
{
	if (!is_device(page))
		return is_ram(page) ? nullptr : state_->foreign_owner;
	return page->zdd != nullptr ? page->zdd->owner : nullptr;
}

// Round robin, so that a page is not reused at once and stale pointers show.
Page *World::alloc_ram(u32 count, u32 alignment)
{
	for (u32 tried = 0; tried < 2 * kRamPages; tried++) {
		u32 at = state_->next_ram++ % kRamPages;
		bool free = at % alignment == 0 && at + count <= kRamPages;

		for (u32 i = 0; free && i < count; i++)
			free = state_->pages[at + i].refs == 0;
		if (!free)
			continue;
		state_->next_ram = at + count;
		for (u32 i = 0; i < count; i++) {
			state_->pages[at + i] = {};
			state_->pages[at + i].refs = 1;
		}
		return &state_->pages[at];
	}
	return nullptr;
}

void World::get_page(Page *page)
{
	if (page->refs == 0)
		dsvm_env_violation("reference taken to the free page %#lx", pfn_of(page));
	page->refs++;
}

void World::put_page(Page *page)
{
	if (page->refs == 0) {
		dsvm_env_violation("reference to the free page %#lx dropped", pfn_of(page));
		return;
	}
	if (--page->refs != 0)
		return;
	if (page->locked)
		dsvm_env_violation("page %#lx freed while locked", pfn_of(page));
	if (page->dma != 0)
		dsvm_env_violation("page %#lx freed while a device has it mapped", pfn_of(page));
	page->content = 0xdead;
	page->pinned = false;
	page->raced = false;
	page->lazyfree = false;
	page->order = 0;
	page->index = 0;
	if (page->entered)
		dsvm_env_violation("page %#lx freed while a fault is at work on it", pfn_of(page));
	if (page == state_->zero)
		state_->zero = nullptr;
	if (Zdd *const zdd = exchange(page->zdd, nullptr)) {
		if (zdd->freed != nullptr)
			zdd->freed(zdd->arg, pfn_of(page));
		zdd_put(zdd);
	}
}

void World::lock_page(Page *page)
{
	if (page->locked)
		dsvm_env_violation("page %#lx: locked twice", pfn_of(page));
	if (dsvm_env_rank_held() > to_underlying(LockRank::kFolio))
		dsvm_env_violation("page locked under the notifier lock");
	page->locked = true;
}

void World::unlock_page(Page *page)
{
	if (!page->locked)
		dsvm_env_violation("page %#lx: unlocked but not locked", pfn_of(page));
	page->locked = false;
}

void World::set_pte(Pte &pte, PteKind kind, Page *page, Writable writable)
{
	get_page(page);
	page->mapped++;
	pte.page = page;
	pte.kind = kind;
	pte.order = 0;
	pte.writable = writable == Writable::Yes;
}

void World::clear_pte(Pte &pte)
{
	Page *const page = pte.page;

	pte = {};
	if (page == nullptr)
		return;
	page->mapped--;
	put_page(page);
}

bool World::is_writable(const Page *page) const
{
	for (const Mm &mm : state_->mms) {
		for (const Pte &pte : mm.ptes) {
			if (pte.page == page && pte.writable)
				return true;
		}
	}
	return false;
}

// A frame is part of one device memory, whether or not it is in use.
const void *World::pagemap_of(const Page *page) const
{
	constexpr u32 kEach = kDevicePages / kProviders;

	if (is_ram(page))
		return nullptr;
	if (!is_device(page))
		return &state_->foreign_owner;
	return pagemap(static_cast<u32>((pfn_of(page) - kDevicePfn) / kEach));
}

const void *World::pagemap(u32 provider) const
{
	return &state_->providers[provider];
}

// The one page that all reads of untouched memory share. It goes with its last mapping.
Page *World::zero_page()
{
	if (!state_->zero_page_on)
		return nullptr;
	if (state_->zero == nullptr)
		state_->zero = alloc_ram();
	else
		get_page(state_->zero);
	return state_->zero;
}

u32 World::dma_mappings() const
{
	u32 sum = 0;

	for (const Page &page : state_->pages)
		sum += page.dma;
	return sum;
}

u32 World::pages_in_use() const
{
	u32 sum = 0;

	for (const Page &page : state_->pages)
		sum += page.refs != 0;
	return sum;
}

// Address spaces ---------------------------------------------------------------------

Pte &World::pte(Mm &mm, usize addr)
{
	const usize index = (addr - kBase) >> kPageShift;

	if (addr < kBase || index >= kPtes) {
		dsvm_env_violation("address %#lx lies outside of the fake page table", addr);
		return mm.ptes[0];
	}
	return mm.ptes[index];
}

Vma &World::add_vma(Mm &mm, usize first, usize last, Writable writable)
{
	for (Vma &vma : mm.vmas) {
		if (!vma.in_use) {
			vma = {first, last, true, writable == Writable::Yes, true, false, false, 0};
			return vma;
		}
	}
	dsvm_env_violation("no VMA left");
	return mm.vmas[0];
}

void World::populate(Mm &mm, usize addr, u32 count, u32 order)
{
	const u32 step = 1u << order;

	for (u32 i = 0; i < count; i += step) {
		Page *const pages = alloc_ram(step, step);

		for (u32 j = 0; j < step; j++) {
			const usize at = addr + (usize{i} + j) * kPageSize;

			pages[j].content = at;
			set_pte(pte(mm, at), PteKind::kPresent, &pages[j], Writable::Yes);
			pte(mm, at).order = static_cast<u8>(order);
			put_page(&pages[j]);
		}
	}
}

void World::populate_foreign(Mm &mm, usize addr, u32 count, void *owner, bool coherent)
{
	state_->foreign_owner = owner;
	for (u32 i = 0; i < count; i++) {
		Page *const page = page_of_pfn(kForeignPfn + i);

		*page = {};
		page->refs = 1;
		page->coherent = coherent;
		page->content = addr + i * kPageSize;
		set_pte(pte(mm, addr + i * kPageSize),
			coherent ? PteKind::kPresent : PteKind::kDevice, page, Writable::Yes);
		put_page(page);
	}
}

void World::unmap(Mm &mm, usize first, usize last)
{
	check_pins(mm, first, last, "unmapped");
	Event &event = begin_event(mm, first, last, true);

	for (usize at = first; at < last; at += kPageSize)
		unmap_pte(pte(mm, at));
	end_event(event);
	for (Vma &vma : mm.vmas) {
		if (!vma.in_use || vma.first > last || vma.last < first)
			continue;
		const Vma old = vma;
		vma.in_use = false;
		if (old.first < first) {
			vma = old;
			vma.last = first - 1;
		}
		if (old.last > last) {
			Vma &tail = vma.in_use ? add_vma(mm, 0, 0) : vma;
			tail = old;
			tail.first = last + 1;
		}
	}
}

void World::exit(Mm &mm)
{
	begin_exit(mm);
	finish_exit(mm);
}

void World::begin_exit(Mm &mm)
{
	if (mm.users == 0)
		dsvm_env_violation("a user of an address space dropped that has none");
	else if (--mm.users == 0)
		mm.exiting = true;
}

void World::finish_exit(Mm &mm)
{
	if (exchange(mm.exiting, false))
		tear_down(mm);
}

void World::tear_down(Mm &mm)
{
	check_pins(mm, 0, ~usize{0}, "torn down");
	Event &event = begin_event(mm, 0, ~usize{0});

	for (Pte &pte : mm.ptes)
		unmap_pte(pte);
	end_event(event);
	for (Vma &vma : mm.vmas)
		vma.in_use = false;
}

void World::share(Mm &from, Mm &to)
{
	for (u32 i = 0; i < kVmas; i++)
		to.vmas[i] = from.vmas[i];
	for (u32 i = 0; i < kPtes; i++) {
		Pte &pte = from.ptes[i];

		if (pte.kind != PteKind::kPresent && pte.kind != PteKind::kDevice)
			continue;
		// Copy on write: neither may write from here on.
		pte.writable = false;
		set_pte(to.ptes[i], pte.kind, pte.page, Writable::No);
		to.ptes[i].order = pte.order;
	}
}

Zdd *World::make_zdd(dsvm_os_provider *provider, void *owner, void (*released)(void *), void *arg,
		     dsvm_devmem *devmem, void (*freed)(void *, usize))
{
	for (Zdd &zdd : state_->zdds) {
		if (zdd.refs == 0) {
			zdd = {1,     provider, owner, &state_->mms[0], devmem, false,
			       freed, released, arg};
			return &zdd;
		}
	}
	dsvm_env_violation("no zdd left");
	return nullptr;
}

Zdd *World::next_zdd(const dsvm_os_provider *provider, const Zdd *zdd)
{
	for (u32 i = zdd != nullptr ? static_cast<u32>(zdd - state_->zdds) + 1 : 0; i < kZdds;
	     i++) {
		if (state_->zdds[i].refs != 0 && state_->zdds[i].provider == provider)
			return &state_->zdds[i];
	}
	return nullptr;
}

void World::zdd_put(Zdd *zdd)
{
	if (zdd->refs == 0) {
		dsvm_env_violation("reference to a dead zdd dropped");
		return;
	}
	if (--zdd->refs == 0 && zdd->released != nullptr)
		zdd->released(zdd->arg);
}

u64 World::read(Mm &mm, usize addr)
{
	const Pte &at = pte(mm, addr);

	if (at.kind == PteKind::kSwapped)
		return at.swapped;
	return at.page != nullptr ? at.page->content : 0;
}

u32 World::count(Mm &mm, usize first, usize last, PteKind kind)
{
	u32 sum = 0;

	for (usize at = first; at < last; at += kPageSize)
		sum += pte(mm, at).kind == kind;
	return sum;
}

} // namespace dsvm::fake
