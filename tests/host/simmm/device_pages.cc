// SPDX-License-Identifier: GPL-2.0-only OR MIT
//
// drm_svm/os.h on the machine: the pages that a migration goes to, and what device pages point
// to (kernel: include/linux/memremap.h; src/linux/pagemap.c).

#include "tests/host/simmm/migrate.h"

using namespace dsvm;
using namespace dsvm::sim;
using namespace dsvm::sim::migration;

// Kernel: alloc_page_vma() looks at the VMA, which the mm's lock keeps.
dsvm_os_page *dsvm_os_page_alloc(dsvm_os_vma *handle, dsvm_usize addr)
{
	Machine &m = machine();

	if (handle != nullptr) {
		const Vma &vma = from_os(handle);
		if (!scheduler().holds(mm_of(vma).lock) || !vma.in_use || addr < vma.first ||
		    addr > vma.last)
			scheduler().fail("a page is allocated for a VMA that it is not of", "%#lx",
					 addr);
	}
	const u32 index = m.alloc_ram(0);
	if (index == kNoPage)
		return nullptr;
	m.lock_page(m.page(index));
	return to_os(m.page(index));
}

// Kernel: zone_device_page_init(): a free frame becomes a page that is locked and referenced.
dsvm_os_page *dsvm_os_page_init_device(dsvm_usize pfn, dsvm_os_zdd *zdd)
{
	const u32 index = machine().page_of_pfn(pfn);

	scheduler().point(Point::kOs);
	if (index == kNoPage || !machine().is_device(index)) {
		scheduler().fail("a page frame is none of the device's", "%#lx", pfn);
		return nullptr;
	}
	machine().init_device_page(index, from_os(zdd));
	return to_os(machine().page(index));
}

void dsvm_os_page_discard(dsvm_os_page *page)
{
	if (from_os(page).mapped != 0)
		scheduler().fail("a page is given up that is in use", "page %u",
				 machine().index_of(from_os(page)));
	unlock_and_put(from_os(page));
}

// src/linux: a bit beside the page's zdd, changed under the page's lock.
void dsvm_os_page_retire(dsvm_os_page *handle)
{
	Page &page = from_os(handle);
	const char *broken = nullptr;

	scheduler().point(Point::kOs);
	if (!is_device(page) || page.zdd == nullptr)
		broken = "it is none of ours";
	else if (!is_locked_by_us(page))
		broken = "it is not locked";
	else if (!page.spent)
		broken = "its data have not gone to RAM";
	if (broken != nullptr)
		scheduler().fail("a page is retired that must not be", "page %u: %s",
				 machine().index_of(page), broken);
	page.retired = true;
}

// Kernel: test_and_set_bit_lock(): the caller keeps the zdd by a page of it.
dsvm_bool dsvm_os_zdd_enter(dsvm_os_zdd *handle)
{
	Zdd &zdd = from_os(handle);

	scheduler().point(Point::kOs);
	if (zdd.refs == 0)
		scheduler().fail("a zdd is used that is gone", "it is entered");
	if (zdd.entered)
		return false;
	zdd.entered = true;
	return true;
}

void dsvm_os_zdd_leave(dsvm_os_zdd *handle)
{
	Zdd &zdd = from_os(handle);

	if (zdd.refs == 0 || !zdd.entered)
		scheduler().fail("a zdd is left that nobody is in", "%u references", zdd.refs);
	zdd.entered = false;
	scheduler().point(Point::kOs);
}
