// SPDX-License-Identifier: GPL-2.0-only OR MIT
//
// os.h on the fake machine: the kernel's migration, in its three phases.
//
// An entry is what migrate_vma's src[] and dst[] hold: a frame number and two bits.

#include "kunit/fake/world.h"

namespace dsvm::fake {
namespace {

constexpr usize kValid = 1;   // there is a page
constexpr usize kMigrate = 2; // and nothing has stopped it so far
constexpr u32 kPfnShift = 6;

Page *page_of(usize entry)
{
	return (entry & kValid) != 0 ? World::current().page_of_pfn(entry >> kPfnShift) : nullptr;
}

usize encode(Page *page, usize bits)
{
	return (World::current().pfn_of(page) << kPfnShift) | kValid | bits;
}

// Who else has a reference: nobody but its mappings and us, who took one.
bool is_held_by_others(const Page &page)
{
	return page.pinned || page.refs != page.mapped + 1;
}

// The address space that a span's VMA belongs to; its lock is what guards the phases.
Mm &mm_of(const dsvm_migrate_span &span)
{
	World &world = World::current();

	for (u32 i = 0; i < kMms; i++) {
		Mm &mm = world.mm(i);
		if (from_os(span.vma) >= mm.vmas && from_os(span.vma) < mm.vmas + kVmas)
			return mm;
	}
	dsvm_env_violation("a VMA of no address space");
	return world.mm(0);
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

// Collects one page: reference, lock, unmap; 0 if it has to stay.
usize collect(Page *page, const Page *fault_page)
{
	World &world = World::current();

	world.get_page(page);
	if (page != fault_page) {
		if (page->locked) {
			world.put_page(page);
			return 0;
		}
		world.lock_page(page);
	}
	static_cast<void>(world.enter(Call::kPageLocked));
	remap_all(*page, kind_of(page), PteKind::kMigration, nullptr);
	// A CPU that faults on the page has a reference of its own, which is expected.
	const bool held = page == fault_page ? page->pinned || page->refs != page->mapped + 2
					     : is_held_by_others(*page);
	if (!held)
		return encode(page, kMigrate);
	remap_all(*page, PteKind::kMigration, kind_of(page), nullptr);
	if (page != fault_page)
		world.unlock_page(page);
	world.put_page(page);
	return 0;
}

void check_destination(Page *page)
{
	if (page->refs == 0)
		dsvm_env_violation("migration to a free page");
	if (!page->locked)
		dsvm_env_violation("migration to a page that is not locked");
	if (page->mapped != 0)
		dsvm_env_violation("migration to a page that is mapped");
	if (page->dma != 0)
		dsvm_env_violation("migration to a page that a device still writes");
}

// The middle phase for one entry whose page exists.
void move_one(usize *src, usize dst)
{
	Page *const page = page_of(*src);
	Page *const next = page_of(dst);

	check_destination(next);
	if (page->retired || page->spent)
		dsvm_env_violation("data that has gone to RAM moved once more");
	if (!World::current().is_ram(page) && page->zdd == nullptr)
		dsvm_env_violation("another driver's device memory moved");
	if (page->raced)
		*src &= ~kMigrate;
}

// The last phase for one entry: wherever the page is now, it is mapped again.
void finish_one(usize src, usize dst, const Page *fault_page)
{
	World &world = World::current();
	Page *const page = page_of(src);
	Page *const next = page_of(dst);

	if (page != nullptr) {
		const bool moved = (src & kMigrate) != 0 && next != nullptr;

		if (moved && !World::current().is_ram(page))
			page->spent = true;
		if (page->retired && !page->spent)
			dsvm_env_violation("a page retired that stays");
		remap_all(*page, PteKind::kMigration, moved ? kind_of(next) : kind_of(page),
			  moved ? next : page);
		if (page != fault_page)
			world.unlock_page(page);
		world.put_page(page);
	}
	if (next != nullptr) {
		world.unlock_page(next);
		world.put_page(next);
	}
}

void assert_span(const dsvm_migrate_span &span)
{
	if (span.npages != (span.last - span.first + 1) >> kPageShift)
		dsvm_env_violation("npages does not fit the span");
	dsvm_os_assert_held(mm_of(span).lock);
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
// "moves, no page", whatever was selected; huge mappings are split; src[] is written.
int dsvm_os_migrate_setup(dsvm_migrate_span *span)
{
	World &world = World::current();
	const int injected = world.enter(Call::kMigrateSetup);
	fake::Vma &vma = *from_os(span->vma);
	fake::Mm &mm = fake::mm_of(*span);

	fake::assert_span(*span);
	if (span->fault_page != nullptr && !from_os(span->fault_page)->locked)
		dsvm_env_violation("the page of a CPU fault is not locked");
	if (injected != 0)
		return injected;
	if (!vma.in_use || vma.special || span->first < vma.first || span->last > vma.last ||
	    span->npages == 0)
		return -DSVM_EINVAL;

	world.invalidate(mm, span->first, span->last);
	for (usize i = 0; i < span->npages; i++) {
		fake::Pte &pte = world.pte(mm, span->first + i * kPageSize);

		span->src[i] = 0;
		span->dst[i] = 0;
		if (pte.kind == fake::PteKind::kNone)
			span->src[i] = vma.anonymous ? fake::kMigrate : 0;
		else if (fake::wants(*span, pte))
			span->src[i] = fake::collect(pte.page, from_os(span->fault_page));
	}
	static_cast<void>(world.enter(Call::kMigrateCollected));
	return 0;
}

// Models migrate_vma_pages(): checks once more who has the pages, and inserts new
// pages into holes that are still holes.
void dsvm_os_migrate_pages(dsvm_migrate_span *span)
{
	World &world = World::current();
	const int injected = world.enter(Call::kMigratePages);
	fake::Mm &mm = fake::mm_of(*span);

	fake::assert_span(*span);
	for (usize i = 0; i < span->npages; i++) {
		fake::Page *const next = fake::page_of(span->dst[i]);

		if (next == nullptr) {
			span->src[i] &= ~fake::kMigrate;
			continue;
		}
		if (injected != 0) {
			span->src[i] &= ~fake::kMigrate;
		} else if ((span->src[i] & fake::kMigrate) == 0) {
			continue;
		} else if (fake::page_of(span->src[i]) != nullptr) {
			if (world.is_ram(next) && next->meant_for != span->first + i * kPageSize)
				dsvm_env_violation("a page that was allocated for another address");
			fake::move_one(&span->src[i], span->dst[i]);
		} else {
			fake::Pte &pte = world.pte(mm, span->first + i * kPageSize);

			fake::check_destination(next);
			if (pte.kind == fake::PteKind::kNone)
				world.set_pte(pte, fake::kind_of(next), next,
					      from_os(span->vma)->writable ? fake::Writable::Yes
									   : fake::Writable::No);
			else
				span->src[i] &= ~fake::kMigrate;
		}
	}
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

// Models migrate_device_range(): no mmap_lock; a free page, or one that is locked by
// somebody, is left out. It does not look at the destinations, which are the caller's.
int dsvm_os_migrate_device_setup(dsvm_migrate_span *span)
{
	World &world = World::current();

	if (const int injected = world.enter(Call::kDeviceSetup))
		return injected;
	for (usize i = 0; i < span->npages; i++) {
		fake::Page *const page = world.page_of_pfn(span->src[i]);

		fake::assert_walkable(*page);
		span->src[i] = page->refs != 0 ? fake::collect(page, nullptr) : 0;
	}
	static_cast<void>(world.enter(Call::kDeviceCollected));
	return 0;
}

// Models migrate_device_pages().
void dsvm_os_migrate_device_pages(dsvm_migrate_span *span)
{
	const int injected = World::current().enter(Call::kDevicePages);

	for (usize i = 0; i < span->npages; i++) {
		if (injected != 0 || span->dst[i] == 0)
			span->src[i] &= ~fake::kMigrate;
		else if ((span->src[i] & fake::kMigrate) != 0 && (span->src[i] & fake::kValid) != 0)
			fake::move_one(&span->src[i], span->dst[i]);
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
	fake::Page *const page = fake::page_of(src);

	*out = {};
	if (page != nullptr) {
		if (page->refs == 0)
			dsvm_env_violation("an entry decoded whose page has gone");
		out->page = to_os(page);
		out->is_ram = World::current().is_ram(page);
		out->retired = page->retired;
	}
	if (page != nullptr && page->zdd != nullptr) {
		out->zdd = to_os(page->zdd);
		out->provider = page->zdd->provider;
	}
	out->moves = (src & fake::kMigrate) != 0;
}

// Models migrate_pfn(page_to_pfn(page)).
dsvm_usize dsvm_os_migrate_encode(dsvm_os_page *page)
{
	return fake::encode(from_os(page), 0);
}

dsvm_os_page *dsvm_os_migrate_dst_page(dsvm_usize dst)
{
	fake::Page *const page = fake::page_of(dst);

	return page != nullptr ? to_os(page) : nullptr;
}

// Models vma_alloc_folio() or alloc_page(), and folio_lock().
dsvm_os_page *dsvm_os_page_alloc(dsvm_os_vma *vma, dsvm_usize addr)
{
	World &world = World::current();

	if (fake::holds_notifier_lock())
		dsvm_env_violation("page allocated under the notifier lock");
	if (world.enter(Call::kPageAlloc) != 0)
		return nullptr;
	fake::Page *const page = world.alloc_ram();
	if (page == nullptr)
		return nullptr;
	world.lock_page(page);
	page->meant_for = vma != nullptr ? addr : 0;
	return to_os(page);
}

// Models zone_device_page_init() and drm_pagemap_get_devmem_page(): a free frame
// becomes a page with one reference, locked, that refers to the zdd and is not retired.
dsvm_os_page *dsvm_os_page_init_device(dsvm_usize pfn, dsvm_os_zdd *zdd)
{
	World &world = World::current();
	fake::Page *const page = world.page_of_pfn(pfn);

	static_cast<void>(world.enter(Call::kPageInitDevice));
	if (!world.is_device(page) || page->refs != 0)
		dsvm_env_violation("a frame in use, or RAM, initialised as device memory");
	*page = {};
	page->refs = 1;
	page->zdd = from_os(zdd);
	page->zdd->refs++;
	world.lock_page(page);
	return to_os(page);
}

// Models folio_unlock() and folio_put().
void dsvm_os_page_discard(dsvm_os_page *page)
{
	World &world = World::current();

	world.unlock_page(from_os(page));
	world.put_page(from_os(page));
}

// Models the lowest bit of zone_device_data: under the page's lock, by whoever has a
// reference. It stays until the frame is initialised again.
void dsvm_os_page_retire(dsvm_os_page *page)
{
	World &world = World::current();
	fake::Page &p = *from_os(page);

	static_cast<void>(world.enter(Call::kPageRetire));
	if (!world.is_device(&p) || p.refs == 0 || !p.locked)
		dsvm_env_violation("a page retired that is not a device's, in use and locked");
	if (p.retired)
		dsvm_env_violation("a page retired twice");
	p.retired = true;
}

// Models test_and_set_bit_lock(): the caller has a reference, by a page of the zdd.
dsvm_bool dsvm_os_zdd_enter(dsvm_os_zdd *zdd)
{
	const int injected = World::current().enter(Call::kZddEnter);
	fake::Zdd &z = *from_os(zdd);

	if (z.refs == 0)
		dsvm_env_violation("a dead zdd entered");
	if (injected != 0 || z.entered)
		return false;
	z.entered = true;
	return true;
}

// Models clear_bit_unlock(): by who has entered, with the reference still there.
void dsvm_os_zdd_leave(dsvm_os_zdd *zdd)
{
	fake::Zdd &z = *from_os(zdd);

	if (!z.entered)
		dsvm_env_violation("a zdd left that nobody has entered");
	if (z.refs == 0)
		dsvm_env_violation("a dead zdd left");
	z.entered = false;
}
