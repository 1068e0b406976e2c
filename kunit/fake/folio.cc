// SPDX-License-Identifier: GPL-2.0-only OR MIT
//
// os.h on the fake machine: pages and folios that migration makes, and what becomes of
// their mappings otherwise.

#include "core/migrate/entry.h"
#include "kunit/fake/state.h"

namespace dsvm::fake {

void World::get_folio(Page *page)
{
	for_each_page_of(page, [this](Page &part) { get_page(&part); });
}

void World::put_folio(Page *page)
{
	for_each_page_of(page, [this](Page &part) { put_page(&part); });
}

void World::lock_folio(Page *page)
{
	for_each_page_of(page, [this](Page &part) { lock_page(&part); });
}

void World::unlock_folio(Page *page)
{
	for_each_page_of(page, [this](Page &part) { unlock_page(&part); });
}

void World::join_folio(Page *first, u32 order)
{
	if ((pfn_of(first) & ((1u << order) - 1)) != 0)
		dsvm_env_violation("a folio that is not aligned");
	for (u32 i = 0; i < 1u << order; i++) {
		first[i].order = static_cast<u8>(order);
		first[i].index = static_cast<u16>(i);
	}
}

// A fault that is at work on the folio does not find its note again, and need not: where folios
// are split, the kernel itself lets one fault at a time have a folio.
void World::split_folio(Page *page)
{
	split_mappings(page);
	for_each_page_of(page, [](Page &part) {
		part.was_entered = exchange(part.entered, false);
		part.order = 0;
		part.index = 0;
	});
}

void World::free_stuck(Page *first, u32 count)
{
	for (u32 i = 0; i < count; i++) {
		if (exchange(first[i].stuck, false))
			put_page(&first[i]);
	}
}

// RAM is split in the background when a part of a folio is unmapped, here at once. A device's
// stays one folio, with all of its pages, until it is split for another reason.
void World::unmap_pte(Pte &pte)
{
	Page *const page = pte.page;

	if (page == nullptr || page->order == 0) {
		clear_pte(pte);
		return;
	}
	if (!is_device(page)) {
		split_folio(page);
		clear_pte(pte);
		return;
	}
	Page *const first = page - page->index;
	const u32 count = 1u << page->order;
	bool is_mapped = false;
	split_mappings(page);
	get_page(page);
	page->stuck = true;
	clear_pte(pte);
	for (u32 i = 0; i < count; i++)
		is_mapped = is_mapped || first[i].mapped != 0;
	if (!is_mapped)
		free_stuck(first, count);
}

void World::split_mappings(const Page *page)
{
	const Page *const first = page - page->index;

	for (Mm &mm : state_->mms) {
		for (Pte &pte : mm.ptes) {
			if (pte.page >= first && pte.page < first + (1u << page->order))
				pte.order = 0;
		}
	}
}

void World::populate_huge(Mm &mm, usize addr)
{
	const u32 order = huge_order();
	Page *const pages = alloc_ram(1u << order, 1u << order);

	join_folio(pages, order);
	for (u32 i = 0; i < 1u << order; i++) {
		const usize at = addr + usize{i} * kPageSize;

		pages[i].content = at;
		set_pte(pte(mm, at), PteKind::kPresent, &pages[i], Writable::Yes);
		pte(mm, at).order = static_cast<u8>(order);
	}
	put_folio(pages);
}

void World::swap_out(Mm &mm, usize addr)
{
	Pte &at = pte(mm, addr);
	const u64 content = at.page->content;

	Event &event = begin_event(mm, addr, addr + (kPageSize - 1));
	clear_pte(at);
	at.kind = PteKind::kSwapped;
	at.swapped = content;
	end_event(event);
}

void World::move_pages(Mm &mm, usize from, usize to, u32 count)
{
	Event &event = begin_event(mm, from, from + (usize{count} * kPageSize - 1), true);

	for (usize done = 0; done < count; done++) {
		Pte &target = pte(mm, to + done * kPageSize);

		if (target.kind != PteKind::kNone)
			dsvm_env_violation("a page moved to where one is");
		target = exchange(pte(mm, from + done * kPageSize), Pte{});
	}
	end_event(event);
}

} // namespace dsvm::fake

using namespace dsvm;
using fake::Call;
using fake::from_os;
using fake::Page;
using fake::to_os;
using fake::World;

// Models a look at HPAGE_PMD_ORDER, where the kernel migrates huge pages.
dsvm_u32 dsvm_os_huge_order(void)
{
	return World::current().huge_order();
}

// Models page + index, within a folio or frames in a row.
dsvm_os_page *dsvm_os_page_nth(dsvm_os_page *page, dsvm_usize index)
{
	World &world = World::current();
	Page *const nth = world.page_of_pfn(world.pfn_of(from_os(page)) + index);

	if (world.is_ram(nth) != world.is_ram(from_os(page)))
		dsvm_env_violation("pages in a row that are not of one kind");
	return to_os(nth);
}

// Models vma_alloc_folio() or alloc_pages(), folio_lock() and folio_set_dirty().
dsvm_usize dsvm_os_entry_alloc(dsvm_os_vma *vma, dsvm_usize addr, dsvm_u32 order)
{
	World &world = World::current();

	if (fake::holds_notifier_lock())
		dsvm_env_violation("page allocated under the notifier lock");
	if (order != 0 && order != world.huge_order())
		dsvm_env_violation("a folio of order %u, which is no huge page's", order);
	if (vma != nullptr && (addr & ((kPageSize << order) - 1)) != 0)
		dsvm_env_violation("a folio for the address %#lx, where it cannot be", addr);
	if (vma != nullptr && (addr < from_os(vma)->first || addr > from_os(vma)->last))
		dsvm_env_violation("a page allocated by a VMA for an address outside of it");
	if (world.enter(order != 0 ? Call::kHugeAlloc : Call::kPageAlloc) != 0)
		return 0;
	Page *const page = world.alloc_ram(1u << order, 1u << order);
	if (page == nullptr)
		return 0;
	world.join_folio(page, order);
	world.lock_folio(page);
	page->dirty = true;
	page->meant_for = vma != nullptr ? addr : 0;
	return make_entry(world.pfn_of(page), order);
}

// Models zone_device_page_init() and drm_pagemap_get_devmem_page(): free frames become a
// folio with one reference, locked, that refers to the zdd and is not retired.
dsvm_os_page *dsvm_os_page_init_device(dsvm_usize pfn, dsvm_os_zdd *zdd, dsvm_u32 order)
{
	World &world = World::current();
	Page *const page = world.page_of_pfn(pfn);

	static_cast<void>(world.enter(Call::kPageInitDevice));
	if (order != 0 && order != world.huge_order())
		dsvm_env_violation("a device folio of order %u, which is no huge page's", order);
	for (u32 i = 0; i < 1u << order; i++) {
		if (!world.is_device(&page[i]) || page[i].refs != 0)
			dsvm_env_violation("a frame in use, or RAM, initialised as device memory");
		if (page[i].given_back)
			dsvm_env_violation("a frame used that the driver has back");
		page[i] = {};
		page[i].refs = 1;
		page[i].content = 0xbad;
		page[i].zdd = from_os(zdd);
		page[i].zdd->refs++;
	}
	world.join_folio(page, order);
	world.lock_folio(page);
	return to_os(page);
}

// Models folio_unlock() and folio_put().
void dsvm_os_page_discard(dsvm_os_page *page)
{
	World &world = World::current();

	if (from_os(page)->index != 0)
		dsvm_env_violation("a part of a folio discarded");
	world.unlock_folio(from_os(page));
	world.put_folio(from_os(page));
}

// Models the lowest bit of zone_device_data: under the folio's lock, by whoever has a
// reference. It stays until the frame is initialised again.
void dsvm_os_entries_retire(const dsvm_usize *src, dsvm_usize count)
{
	World &world = World::current();

	for (usize i = 0; i < count; i++) {
		Page &p = *from_os(dsvm_os_migrate_page(src[i]));

		static_cast<void>(world.enter(Call::kPageRetire));
		if (!world.is_device(&p) || p.refs == 0 || !p.locked)
			dsvm_env_violation(
				"a page retired that is not a device's, in use and locked");
		if (p.retired)
			dsvm_env_violation("a page retired twice");
		fake::for_each_page_of(&p, [](Page &part) { part.retired = true; });
	}
}

// Models test_and_set_bit_lock() of another bit there: the caller has a reference.
dsvm_bool dsvm_os_page_enter(dsvm_os_page *page)
{
	World &world = World::current();
	const int injected = world.enter(Call::kPageEnter);
	Page &p = *from_os(page);

	if (!world.is_device(&p) || p.refs == 0 || p.zdd == nullptr)
		dsvm_env_violation("a page entered that is not a device's and in use");
	if (injected != 0 || p.entered)
		return false;
	fake::for_each_page_of(&p, [](Page &part) { part.entered = true; });
	return true;
}

// Models clear_bit_unlock(): by who has entered, with the reference still there.
void dsvm_os_page_leave(dsvm_os_page *page)
{
	Page &p = *from_os(page);

	static_cast<void>(World::current().enter(Call::kPageLeave));
	if (p.refs == 0)
		dsvm_env_violation("a free page left");
	if (!p.entered && !p.was_entered)
		dsvm_env_violation("a page left that nobody has entered");
	fake::for_each_page_of(&p, [](Page &part) {
		part.entered = false;
		part.was_entered = false;
	});
}

// Models a look at the page's reference count and its zdd.
dsvm_bool dsvm_os_frame_in_use(dsvm_usize pfn, dsvm_os_zdd *zdd)
{
	World &world = World::current();

	static_cast<void>(world.enter(Call::kFrameInUse));
	if (from_os(zdd)->refs == 0)
		dsvm_env_violation("frames of a dead zdd looked at");
	const Page &page = *world.page_of_pfn(pfn);
	return page.refs != 0 && page.zdd == from_os(zdd);
}

// Models a look at folio_order().
dsvm_u32 dsvm_os_frame_order(dsvm_usize pfn)
{
	World &world = World::current();

	static_cast<void>(world.enter(Call::kFrameOrder));
	return world.page_of_pfn(pfn)->order;
}
