// SPDX-License-Identifier: GPL-2.0-only OR MIT
//
// drm_svm/os.h on the machine: the pages that a migration goes to, and what device pages point
// to (kernel: include/linux/memremap.h; src/linux/pagemap_zdd.c).

#include "core/migrate/entry.h"
#include "tests/host/simmm/migrate.h"

using namespace dsvm;
using namespace dsvm::sim;
using namespace dsvm::sim::migration;

dsvm_u32 dsvm_os_huge_order(void)
{
	return machine().kernel().moves_huge_pages ? machine().geometry().huge_order : 0;
}

// Kernel: vma_alloc_folio() looks at the VMA, which the mm's lock keeps, or who pins it.
dsvm_usize dsvm_os_entry_alloc(dsvm_os_vma *handle, dsvm_usize addr, dsvm_u32 order)
{
	Machine &m = machine();

	if (handle != nullptr) {
		const Vma &vma = from_os(handle);
		const bool kept = scheduler().holds(mm_of(vma).lock) || m.has_pinned(vma);
		if (!kept || !vma.in_use || addr < vma.first || addr > vma.last)
			scheduler().fail("a page is allocated for a VMA that it is not of", "%#lx",
					 addr);
	}
	const bool there_is_none = order != 0 && m.geometry().fragmented != 0;
	const u32 index = there_is_none ? kNoPage : m.alloc_ram(order);
	if (index == kNoPage)
		return 0;
	m.lock_page(m.page(index));
	m.page(index).dirty = true;
	return make_entry(m.pfn_of(index), order);
}

// Kernel: zone_device_folio_init(): free frames become a folio that is locked and referenced.
dsvm_os_page *dsvm_os_page_init_device(dsvm_usize pfn, dsvm_os_zdd *zdd, dsvm_u32 order)
{
	const u32 index = machine().page_of_pfn(pfn);

	scheduler().point(Point::kOs);
	if (index == kNoPage || !machine().is_device(index)) {
		scheduler().fail("a page frame is none of the device's", "%#lx", pfn);
		return nullptr;
	}
	if (order != 0 && order != dsvm_os_huge_order())
		scheduler().fail("a folio is made that cannot be moved", "of order %u", order);
	machine().init_device_folio(index, order, from_os(zdd));
	return to_os(machine().page(index));
}

void dsvm_os_page_discard(dsvm_os_page *page)
{
	if (from_os(page).mapped != 0)
		scheduler().fail("a page is given up that is in use", "page %u",
				 machine().index_of(from_os(page)));
	unlock_and_put(from_os(page));
}

dsvm_os_page *dsvm_os_page_nth(dsvm_os_page *page, dsvm_usize index)
{
	const u32 at = machine().index_of(from_os(page)) + static_cast<u32>(index);

	return to_os(machine().page(at));
}

// Bits beside the zdd ---------------------------------------------------------

// src/linux: changed under the folio's lock.
static void retire(usize src)
{
	Page &folio = machine().folio_of(from_os(dsvm_os_migrate_page(src)));
	const char *broken = nullptr;

	scheduler().point(Point::kOs);
	if (!is_device(folio) || folio.zdd == nullptr)
		broken = "it is none of ours";
	else if (!is_locked_by_us(folio))
		broken = "it is not locked";
	else if (!folio.spent)
		broken = "its data have not gone to RAM";
	if (broken != nullptr)
		scheduler().fail("a page is retired that must not be", "page %u: %s",
				 machine().index_of(folio), broken);
	folio.retired = true;
}

void dsvm_os_entries_retire(const dsvm_usize *src, dsvm_usize count)
{
	for (usize i = 0; i < count; i++)
		retire(src[i]);
}

// Kernel: test_and_set_bit_lock(), for who has a reference to the page.
dsvm_bool dsvm_os_page_enter(dsvm_os_page *handle)
{
	scheduler().point(Point::kOs);
	Page &folio = machine().folio_of(from_os(handle));
	if (folio.refs == 0 || folio.zdd == nullptr)
		scheduler().fail("a free page is used", "page %u is entered",
				 machine().index_of(folio));
	if (folio.entered)
		return false;
	folio.entered = true;
	return true;
}

// The folio may be another one since: where it was split, nobody is in it any more.
void dsvm_os_page_leave(dsvm_os_page *handle)
{
	Page &folio = machine().folio_of(from_os(handle));

	if (folio.refs == 0)
		scheduler().fail("a free page is used", "page %u is left",
				 machine().index_of(folio));
	folio.entered = false;
	scheduler().point(Point::kOs);
}

// Frames and zdds -------------------------------------------------------------

namespace {

// Kernel: a refcount that is 0 is not used any more.
Zdd &live(dsvm_os_zdd *handle, const char *what)
{
	Zdd &zdd = from_os(handle);

	if (zdd.refs == 0)
		scheduler().fail("a zdd is used that is gone", "%s", what);
	return zdd;
}

const Page *used_folio(dsvm_usize pfn)
{
	const u32 index = machine().page_of_pfn(pfn);

	scheduler().point(Point::kOs);
	if (index == kNoPage || !machine().is_device(index)) {
		scheduler().fail("a page frame is none of the device's", "%#lx", pfn);
		return nullptr;
	}
	const Page &folio = machine().folio_of(machine().page(index));
	return folio.refs != 0 ? &folio : nullptr;
}

} // namespace

dsvm_bool dsvm_os_frame_in_use(dsvm_usize pfn, dsvm_os_zdd *zdd)
{
	const Zdd &owner = live(zdd, "its frames are asked for");
	const Page *const folio = used_folio(pfn);

	return folio != nullptr && folio->zdd == &owner;
}

dsvm_u32 dsvm_os_frame_order(dsvm_usize pfn)
{
	const Page *const folio = used_folio(pfn);

	// A frame behind the first one says nothing.
	return folio != nullptr && folio->head == machine().page_of_pfn(pfn) ? folio->order : 0;
}

dsvm_bool dsvm_os_zdd_is_unused(dsvm_os_zdd *zdd)
{
	scheduler().point(Point::kOs);
	return live(zdd, "its references are counted").refs == 1;
}

const dsvm_devmem *dsvm_os_zdd_devmem(dsvm_os_zdd *zdd)
{
	return live(zdd, "its allocation is asked for").core;
}

dsvm_os_mm *dsvm_os_zdd_mm(dsvm_os_zdd *zdd)
{
	return to_os(*live(zdd, "its mm is asked for").mm);
}

void dsvm_os_zdd_end_timeslice(dsvm_os_zdd *zdd)
{
	scheduler().point(Point::kOs);
	live(zdd, "its timeslice is ended").timeslice_end_ns = 0;
}

dsvm_os_zdd *dsvm_os_provider_next_zdd(dsvm_os_provider *provider, dsvm_os_zdd *before)
{
	scheduler().may_sleep("a zdd's end");
	scheduler().point(Point::kOs);
	Zdd *next = before != nullptr ? from_os(before).next : from_os(provider).zdds;
	while (next != nullptr && next->refs == 0)
		next = next->next;
	if (next != nullptr)
		next->refs++;
	if (before != nullptr)
		machine().zdd_put(from_os(before));
	return next != nullptr ? to_os(*next) : nullptr;
}

void *dsvm_os_provider_take_reserve(dsvm_os_provider *handle)
{
	Provider &provider = from_os(handle);

	scheduler().point(Point::kOs);
	if (provider.reserve_taken)
		return nullptr;
	provider.reserve_taken = true;
	return provider.reserve;
}

void dsvm_os_provider_give_reserve(dsvm_os_provider *handle, void *memory)
{
	Provider &provider = from_os(handle);

	if (!provider.reserve_taken || memory != provider.reserve)
		scheduler().fail("what is not the reserve is given back", "%s",
				 provider.reserve_taken ? "other memory" : "it is there");
	provider.reserve_taken = false;
	scheduler().point(Point::kOs);
}

void *dsvm_os_provider_take_spare(dsvm_os_provider *handle)
{
	Provider &provider = from_os(handle);

	scheduler().point(Point::kOs);
	if (provider.spare_taken || provider.spare == nullptr)
		return nullptr;
	provider.spare_taken = true;
	return provider.spare;
}

void dsvm_os_provider_give_spare(dsvm_os_provider *handle, void *memory)
{
	Provider &provider = from_os(handle);

	if (!provider.spare_taken || memory != provider.spare)
		scheduler().fail("what is not the spare memory is given back", "%s",
				 provider.spare_taken ? "other memory" : "it is there");
	provider.spare_taken = false;
	scheduler().point(Point::kOs);
}
