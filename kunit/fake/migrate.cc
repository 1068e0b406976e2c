// SPDX-License-Identifier: GPL-2.0-only OR MIT
//
// os.h on the fake machine: the kernel's migration, in its three phases.
//
// An entry is what migrate_vma's src[] and dst[] hold: a frame number and three bits.

#include "kunit/fake/state.h"

namespace dsvm::fake {

Mm &mm_of(const dsvm_os_vma *vma)
{
	World &world = World::current();
	const Vma *const wanted = reinterpret_cast<const Vma *>(vma);

	for (u32 i = 0; i < kMms; i++) {
		Mm &mm = world.mm(i);
		if (wanted >= mm.vmas && wanted < mm.vmas + kVmas)
			return mm;
	}
	dsvm_env_violation("a VMA of no address space");
	return world.mm(0);
}

namespace {

constexpr usize kValid = DSVM_ENTRY_PAGE;
constexpr usize kMigrate = DSVM_ENTRY_MOVES;
constexpr usize kHuge = DSVM_ENTRY_HUGE;
constexpr u32 kPfnShift = DSVM_ENTRY_PFN_SHIFT;

Page *page_of(usize entry)
{
	return (entry & kValid) != 0 ? World::current().page_of_pfn(entry >> kPfnShift) : nullptr;
}

Page *live_page_of(usize src)
{
	Page *const page = page_of(src);

	if (page != nullptr && page->refs == 0)
		dsvm_env_violation("an entry decoded whose page has gone");
	return page;
}

// How many pages an entry stands for.
u32 pages_in(usize entry)
{
	return (entry & kHuge) != 0 ? 1u << World::current().huge_order() : 1;
}

usize encode(Page *page, usize bits)
{
	return (World::current().pfn_of(page) << kPfnShift) | kValid | bits;
}

bool is_part_of(const Page *page, const Page *folio)
{
	return page != nullptr && page >= folio && page < folio + (1u << folio->order);
}

// Whether somebody has a reference beside the mappings and `expected` others.
bool is_held_by_others(Page *page, u32 expected)
{
	bool held = false;

	for_each_page_of(page, [&held, expected](const Page &part) {
		held = held || part.pinned || part.stays != 0 ||
		       part.refs != part.mapped + part.stuck + expected;
	});
	return held;
}

// Every page table entry that maps `page`, in all address spaces, becomes a migration
// entry (or, the other way, one again that maps `next`).
void remap_all(Page &page, PteKind from, PteKind to, Page *next)
{
	World &world = World::current();

	for (u32 i = 0; i < kMms; i++) {
		Mm &mm = world.mm(i);
		for (u32 j = 0; j < kPtes; j++) {
			Pte &pte = mm.ptes[j];

			if (pte.page != &page || (from != PteKind::kNone && pte.kind != from))
				continue;
			if (to == PteKind::kMigration)
				world.invalidate(mm, kBase + j * kPageSize,
						 kBase + (j + 1) * kPageSize - 1);
			pte.kind = to;
			if (page.order == 0 || (next != nullptr && next->order != page.order))
				pte.order = 0;
			if (next == nullptr || next == &page)
				continue;
			world.get_page(next);
			next->mapped++;
			pte.page = next;
			page.mapped--;
			world.put_page(&page);
		}
	}
}

PteKind kind_of(Page *page)
{
	if (World::current().is_ram(page) || page->coherent)
		return PteKind::kPresent;
	return PteKind::kDevice;
}

// A walk from a page to the page tables that map it goes through structs of the mm that
// the page was made for; somebody has to keep that from exiting, until it is over.
void assert_walkable(const Page &page)
{
	if (page.zdd == nullptr || page.mapped == 0)
		return;
	const Mm &mm = *page.zdd->mm;
	bool maps = false;

	for (u32 i = 0; i < kPtes && !maps; i++)
		maps = mm.ptes[i].page == &page;
	if (!maps)
		return;
	if (mm.held == 0)
		dsvm_env_violation("page tables of an mm walked that nobody keeps from exiting");
	else
		dsvm_os_assert_held(mm.lock); // nor from unmapping
}

bool wants(const dsvm_migrate_span &span, const Pte &pte)
{
	if (pte.kind == PteKind::kPresent)
		return (span.select & DSVM_MIGRATE_SYSTEM) != 0;
	return pte.kind == PteKind::kDevice && (span.select & DSVM_MIGRATE_DEVICE) != 0 &&
	       World::current().owner_of(pte.page) == span.owner;
}

// Collects a page, or a huge folio: reference, lock, unmap; 0 if it has to stay.
usize collect(Page *page, const Page *fault_page)
{
	World &world = World::current();
	const bool is_faulted = is_part_of(fault_page, page);

	world.get_folio(page);
	if (!is_faulted) {
		if (page->locked) {
			world.put_folio(page);
			return 0;
		}
		world.lock_folio(page);
	}
	static_cast<void>(world.enter(Call::kPageLocked));
	for_each_page_of(page, [](Page &part) {
		remap_all(part, kind_of(&part), PteKind::kMigration, nullptr);
	});
	// A CPU that faults on the page has a reference of its own, which is expected.
	if (!is_held_by_others(page, is_faulted ? 2 : 1))
		return encode(page, kMigrate | (page->order != 0 ? kHuge : 0));
	for_each_page_of(page, [](Page &part) {
		remap_all(part, PteKind::kMigration, kind_of(&part), nullptr);
	});
	if (!is_faulted)
		world.unlock_folio(page);
	world.put_folio(page);
	return 0;
}

// Splits a folio; of the reference and the lock that a faulting CPU has, those of its page
// are left.
bool split(Page *page, const Page *fault_page)
{
	World &world = World::current();
	Page *const first = page - page->index;
	const u32 count = 1u << page->order;
	const bool is_faulted = is_part_of(fault_page, first);

	if (is_held_by_others(page, is_faulted ? 1 : 0))
		return false;
	world.split_folio(page);
	for (u32 i = 0; is_faulted && i < count; i++) {
		if (&first[i] == fault_page)
			continue;
		world.unlock_page(&first[i]);
		world.put_page(&first[i]);
	}
	world.free_stuck(first, count);
	return true;
}

void check_destination(Page *page, u8 order)
{
	for_each_page_of(page, [order](const Page &part) {
		if (part.refs == 0)
			dsvm_env_violation("migration to a free page");
		if (!part.locked)
			dsvm_env_violation("migration to a page that is not locked");
		if (part.mapped != 0)
			dsvm_env_violation("migration to a page that is mapped");
		if (part.dma != 0)
			dsvm_env_violation("migration to a page that a device still writes");
		if (part.order != order)
			dsvm_env_violation("migration to a folio of another size");
	});
}

// The middle phase for one entry whose page exists.
void move_one(usize *src, usize dst)
{
	Page *const page = page_of(*src);
	bool is_raced = false;

	check_destination(page_of(dst), page->order);
	for_each_page_of(page, [&is_raced](const Page &part) {
		if (part.retired || part.spent)
			dsvm_env_violation("data that has gone to RAM moved once more");
		if (!World::current().is_ram(&part) && part.zdd == nullptr)
			dsvm_env_violation("another driver's device memory moved");
		is_raced = is_raced || part.raced;
	});
	if (is_raced)
		*src &= ~kMigrate;
}

void finish_page(Page &page, Page *next, bool is_faulted)
{
	World &world = World::current();

	if (next != nullptr && !world.is_ram(&page))
		page.spent = true;
	if (page.retired && !page.spent)
		dsvm_env_violation("a page retired that stays");
	Page *const target = next != nullptr ? next : &page;
	remap_all(page, PteKind::kMigration, kind_of(target), target);
	if (!is_faulted)
		world.unlock_page(&page);
	if (next != nullptr)
		world.free_stuck(&page, 1);
	world.put_page(&page);
}

// The last phase for one entry: wherever the page is now, it is mapped again.
void finish_one(usize src, usize dst, const Page *fault_page)
{
	World &world = World::current();
	Page *const page = page_of(src);
	Page *const next = page_of(dst);

	if (page != nullptr) {
		const bool has_moved = (src & kMigrate) != 0 && next != nullptr;
		const bool is_faulted = is_part_of(fault_page, page);

		for (u32 i = 0; i < pages_in(src); i++)
			finish_page(page[i], has_moved ? &next[i] : nullptr, is_faulted);
	}
	if (next != nullptr) {
		world.unlock_folio(next);
		world.put_folio(next);
	}
}

void assert_span(const dsvm_migrate_span &span)
{
	if (span.npages != (span.last - span.first + 1) >> kPageShift)
		dsvm_env_violation("npages does not fit the span");
	if (from_os(span.vma)->pins == 0)
		dsvm_os_assert_held(mm_of(span.vma).lock);
}

// Whether all of a block is a hole that a huge page could fill.
bool is_huge_hole(Mm &mm, usize addr, u32 count)
{
	return World::current().count(mm, addr, addr + (count * kPageSize - 1), PteKind::kNone) ==
	       count;
}

// The entry for a block that is huge, in the span's eyes; false: it is not.
bool collect_huge(const dsvm_migrate_span &span, usize index)
{
	World &world = World::current();
	const u32 order = world.huge_order();
	const u32 count = 1u << order;
	const usize addr = span.first + index * kPageSize;
	Mm &mm = mm_of(span.vma);

	if (order == 0 || (span.select & DSVM_MIGRATE_HUGE) == 0 ||
	    (addr & ((kPageSize << order) - 1)) != 0 || index + count > span.npages)
		return false;
	Pte &pte = world.pte(mm, addr);
	if (is_huge_hole(mm, addr, count)) {
		span.src[index] = from_os(span.vma)->anonymous ? kMigrate | kHuge : 0;
		return true;
	}
	if (pte.page == nullptr || pte.order != order || pte.page->order != order)
		return false;
	if (wants(span, pte))
		span.src[index] = collect(pte.page, from_os(span.fault_page));
	return true;
}

// A kernel without huge migration splits what is mapped as one, and no more. None splits what a
// CPU faults on by a huge page's entry: that CPU and the walk have a reference each.
bool split_for(const dsvm_migrate_span &span, const Pte &pte)
{
	const Page *const first = pte.page - pte.page->index;

	if (pte.order == 0 && World::current().huge_order() == 0)
		return false;
	const bool is_faulted = is_part_of(from_os(span.fault_page), first);
	if (pte.order != 0 && is_faulted)
		return false;
	if (is_faulted && from_os(span.fault_page) != first && span.npages != 1)
		dsvm_env_violation("a faulting page's folio split with others in the span");
	return split(pte.page, from_os(span.fault_page));
}

void collect_page(const dsvm_migrate_span &span, usize index)
{
	World &world = World::current();
	Pte &pte = world.pte(mm_of(span.vma), span.first + index * kPageSize);
	const Page *const fault_page = from_os(span.fault_page);

	if (pte.kind == PteKind::kNone) {
		span.src[index] = from_os(span.vma)->anonymous ? kMigrate : 0;
		return;
	}
	if (!wants(span, pte))
		return;
	if (pte.page->order != 0 && !split_for(span, pte))
		return;
	span.src[index] = collect(pte.page, fault_page);
}

// Single pages for a huge entry: the kernel would split the folio, and forget that others may have
// mapped it whole. In a CPU fault the reference of that is in the way of splitting more than the
// entry that it came by.
void split_entry(const dsvm_migrate_span &span, Page *page)
{
	if (page == nullptr || !is_part_of(from_os(span.fault_page), page))
		dsvm_env_violation("single pages for what was collected as a huge one");
	else
		World::current().split_mappings(page);
}

// New pages for a hole that still is one.
void fill_hole(const dsvm_migrate_span &span, usize index)
{
	World &world = World::current();
	Mm &mm = mm_of(span.vma);
	Page *const next = page_of(span.dst[index]);
	const u32 count = pages_in(span.src[index]);
	const usize addr = span.first + index * kPageSize;

	check_destination(next, next->order);
	if (!is_huge_hole(mm, addr, count)) {
		span.src[index] &= ~kMigrate;
		return;
	}
	for (u32 i = 0; i < count; i++) {
		Pte &pte = world.pte(mm, addr + i * kPageSize);

		world.set_pte(pte, kind_of(&next[i]), &next[i],
			      from_os(span.vma)->writable ? Writable::Yes : Writable::No);
		pte.order = next->order;
	}
}

void switch_one(const dsvm_migrate_span &span, usize index, bool fails)
{
	World &world = World::current();
	usize &src = span.src[index];
	const usize dst = span.dst[index];

	if (dst == 0 || fails || (src & kMigrate) == 0) {
		src &= ~kMigrate;
		return;
	}
	if ((src & kHuge) != 0 && (dst & kHuge) == 0) {
		split_entry(span, page_of(src));
		src &= ~kMigrate;
		return;
	}
	if (((src ^ dst) & kHuge) != 0)
		dsvm_env_violation("a huge page for the place of a single one");
	if (page_of(dst)->index != 0 || pages_in(dst) != 1u << page_of(dst)->order)
		dsvm_env_violation("a destination that is no folio of its order");
	if (page_of(src) == nullptr) {
		fill_hole(span, index);
		return;
	}
	Page *const next = page_of(dst);
	if (world.is_ram(next) && next->meant_for != span.first + index * kPageSize)
		dsvm_env_violation("a page that was allocated for another address");
	move_one(&src, dst);
}

} // namespace
} // namespace dsvm::fake

using namespace dsvm;
using fake::Call;
using fake::from_os;
using fake::to_os;
using fake::World;

// Models migrate_vma_setup(): -EINVAL outside of the VMA or for a special one; sends a
// MIGRATE invalidation of the whole span; holes of anonymous memory are collected as
// "moves, no page", whatever was selected; huge mappings are split unless they were asked for
// and lie in the span; src[] is written.
int dsvm_os_migrate_setup(dsvm_migrate_span *span)
{
	World &world = World::current();
	const int injected = world.enter(Call::kMigrateSetup);
	fake::Vma &vma = *from_os(span->vma);

	fake::assert_span(*span);
	dsvm_os_assert_held(fake::mm_of(span->vma).lock);
	if (span->fault_page != nullptr && !from_os(span->fault_page)->locked)
		dsvm_env_violation("the page of a CPU fault is not locked");
	if (injected != 0)
		return injected;
	if (!vma.in_use || vma.special || span->first < vma.first || span->last > vma.last ||
	    span->npages == 0)
		return -DSVM_EINVAL;

	world.invalidate(fake::mm_of(span->vma), span->first, span->last);
	for (usize i = 0; i < span->npages; i++) {
		span->src[i] = 0;
		span->dst[i] = 0;
	}
	for (usize i = 0; i < span->npages;) {
		const bool is_huge = fake::collect_huge(*span, i);

		if (!is_huge)
			fake::collect_page(*span, i);
		i += is_huge ? usize{1} << world.huge_order() : 1;
	}
	static_cast<void>(world.enter(Call::kMigrateCollected));
	return 0;
}

// Models migrate_vma_pages(): checks once more who has the pages, and inserts new pages into holes
// that are still holes.
void dsvm_os_migrate_pages(dsvm_migrate_span *span)
{
	const int injected = World::current().enter(Call::kMigratePages);

	fake::assert_span(*span);
	for (usize i = 0; i < span->npages; i++)
		fake::switch_one(*span, i, injected != 0);
}

// Models migrate_vma_finalize(): restores or switches page table entries, unlocks and
// drops both pages, whatever became of them.
void dsvm_os_migrate_finalize(dsvm_migrate_span *span)
{
	static_cast<void>(World::current().enter(Call::kMigrateFinalize));
	fake::assert_span(*span);
	for (usize i = 0; i < span->npages; i++)
		fake::finish_one(span->src[i], span->dst[i], from_os(span->fault_page));
}

// Models migrate_device_pfns(): no mmap_lock; a free page, or one that is locked by somebody, is
// left out, and so is a part of a folio. It does not look at the destinations, which are the
// caller's.
int dsvm_os_migrate_device_setup(dsvm_migrate_span *span)
{
	World &world = World::current();

	if (const int injected = world.enter(Call::kDeviceSetup))
		return injected;
	for (usize i = 0; i < span->npages;) {
		fake::Page *const page = world.page_of_pfn(span->src[i]);
		const usize count = usize{1} << page->order;
		bool is_whole = page->index == 0 && i + count <= span->npages;

		for (usize j = 0; is_whole && j < count; j++) {
			fake::assert_walkable(page[j]);
			is_whole = span->src[i + j] == span->src[i] + j;
		}
		span->src[i] = is_whole && page->refs != 0 ? fake::collect(page, nullptr) : 0;
		for (usize j = 1; is_whole && j < count; j++)
			span->src[i + j] = 0;
		i += is_whole ? count : 1;
	}
	static_cast<void>(world.enter(Call::kDeviceCollected));
	return 0;
}

// Models migrate_device_pages(): a huge folio without a huge destination stays.
void dsvm_os_migrate_device_pages(dsvm_migrate_span *span)
{
	const int injected = World::current().enter(Call::kDevicePages);

	for (usize i = 0; i < span->npages; i++) {
		const usize src = span->src[i];
		const usize dst = span->dst[i];

		if (injected != 0 || dst == 0 || ((src ^ dst) & fake::kHuge) != 0)
			span->src[i] &= ~fake::kMigrate;
		else if ((src & fake::kMigrate) != 0 && (src & fake::kValid) != 0)
			fake::move_one(&span->src[i], dst);
	}
}

// Models migrate_device_finalize().
void dsvm_os_migrate_device_finalize(dsvm_migrate_span *span)
{
	static_cast<void>(World::current().enter(Call::kDeviceFinalize));
	for (usize i = 0; i < span->npages; i++) {
		if (const fake::Page *const page = fake::page_of(span->src[i]))
			fake::assert_walkable(*page);
		fake::finish_one(span->src[i], span->dst[i], nullptr);
	}
}

// Models the bits of migrate_vma.src[], migrate_pfn_to_page() and the page's zdd.
void dsvm_os_migrate_decode(dsvm_usize src, dsvm_migrate_entry *out)
{
	fake::Page *const page = fake::live_page_of(src);

	*out = {};
	if (page != nullptr) {
		out->page = to_os(page);
		out->is_ram = World::current().is_ram(page);
		out->retired = page->retired;
	}
	if (page != nullptr && page->zdd != nullptr) {
		out->zdd = to_os(page->zdd);
		out->provider = page->zdd->provider;
	}
	if ((src & fake::kHuge) != 0)
		out->order = static_cast<u8>(World::current().huge_order());
	// A merged page is read by the kernel on its own account, which a device's cannot be.
	out->moves = (src & fake::kMigrate) != 0 && (page == nullptr || !page->merged);
}

// Models migrate_pfn_to_page().
dsvm_os_page *dsvm_os_migrate_page(dsvm_usize entry)
{
	fake::Page *const page = fake::page_of(entry);

	return page != nullptr ? to_os(page) : nullptr;
}
