// SPDX-License-Identifier: GPL-2.0-only OR MIT
//
// Memory on its way to a device and back: what the cases for core/migrate have in
// common.
#ifndef DSVM_KUNIT_CASES_SCENE_H
#define DSVM_KUNIT_CASES_SCENE_H

#include "drm_svm/migrate.h"
#include "kunit/case.h"
#include "kunit/fake/device.h"
#include "kunit/fake/world.h"

namespace dsvm::cases {

using fake::Call;
using fake::PteKind;
using fake::World;

constexpr u32 kSpan = 16;

constexpr usize page_at(u32 index)
{
	return fake::kBase + usize{index} * kPageSize;
}

constexpr usize page_end(u32 index)
{
	return page_at(index) + (kPageSize - 1);
}

// Sixteen pages of RAM in a VMA, and an allocation that could hold them, or more.
class Scene {
public:
	explicit Scene(u32 populated = kSpan, u32 frames = kSpan)
		: allocation(world, 0, frames, this)
	{
		vma = &world.add_vma(world.mm(), page_at(0), page_end(kSpan - 1));
		world.populate(world.mm(), page_at(0), populated);
	}

	[[nodiscard]] dsvm_to_device request(bool all_or_nothing = false)
	{
		dsvm_to_device request = {};

		request.mm = world.os_mm();
		request.first = page_at(0);
		request.last = page_end(kSpan - 1);
		request.owner = this;
		request.devmem = &allocation.devmem();
		request.all_or_nothing = all_or_nothing;
		request.migrated = ~usize{0}; // of an earlier try, say
		return request;
	}

	[[nodiscard]] int run(dsvm_to_device &request)
	{
		dsvm_os_mm_read_lock(request.mm);
		const int result = dsvm_migrate_to_device(&request);
		dsvm_os_mm_read_unlock(request.mm);
		return result;
	}

	[[nodiscard]] int out(bool all_or_nothing = false)
	{
		dsvm_to_device req = request(all_or_nothing);
		const int result = run(req);

		migrated = static_cast<u32>(req.migrated);
		return result;
	}

	// A CPU touches a page that is on the device.
	[[nodiscard]] dsvm_fault_result touch(u32 index, bool in_timeslice = false)
	{
		dsvm_os_mm_read_lock(world.os_mm());
		const dsvm_fault_result result = touch_locked(index, in_timeslice);
		dsvm_os_mm_read_unlock(world.os_mm());
		return result;
	}

	// The same on a CPU that has the mm's lock.
	[[nodiscard]] dsvm_fault_result touch_locked(u32 index, bool in_timeslice = false)
	{
		fake::Page *const page = begin_fault(index);
		const dsvm_fault_result result = handle_fault(index, page, in_timeslice);

		world.unlock_page(page);
		world.put_page(page);
		return result;
	}

	// As do_swap_page() does before it calls migrate_to_ram(); after that it unlocks and
	// drops the page.
	[[nodiscard]] fake::Page *begin_fault(u32 index)
	{
		fake::Page *const page = world.pte(world.mm(), page_at(index)).page;

		world.get_page(page);
		world.lock_page(page);
		return page;
	}

	[[nodiscard]] dsvm_fault_result handle_fault(u32 index, fake::Page *page,
						     bool in_timeslice = false)
	{
		dsvm_cpu_fault fault = {};

		fault.vma = fake::to_os(vma);
		fault.vma_first = vma->first;
		fault.vma_last = vma->last;
		fault.addr = page_at(index) + 123;
		fault.page = fake::to_os(page);
		fault.owner = this;
		fault.devmem = &allocation.devmem();
		fault.in_timeslice = in_timeslice;
		return dsvm_migrate_to_ram(&fault);
	}

	[[nodiscard]] int evict() { return evict(allocation); }
	// All that lives in an allocation, without its zdd, which may be gone.
	[[nodiscard]] int evict(const fake::Allocation &victim)
	{
		dsvm_devmem devmem = victim.devmem();

		devmem.zdd = nullptr;
		return dsvm_migrate_evict(&devmem, world.os_mm(), fake::Allocation::detached);
	}

	[[nodiscard]] u32 on_device()
	{
		return world.count(world.mm(), page_at(0), page_end(kSpan - 1), PteKind::kDevice);
	}
	[[nodiscard]] u32 in_ram()
	{
		return world.count(world.mm(), page_at(0), page_end(kSpan - 1), PteKind::kPresent);
	}
	// Nobody has lost a byte, and no page is on its way any more.
	[[nodiscard]] bool is_intact(u32 populated = kSpan)
	{
		for (u32 i = 0; i < kSpan; i++) {
			const fake::Pte &pte = world.pte(world.mm(), page_at(i));

			if (pte.kind == PteKind::kMigration)
				return false;
			if (world.read(world.mm(), page_at(i)) != (i < populated ? page_at(i) : 0))
				return false;
		}
		return world.dma_mappings() == 0;
	}
	[[nodiscard]] fake::Page &page(u32 index)
	{
		return *world.pte(world.mm(), page_at(index)).page;
	}

	World world;
	fake::Allocation allocation;
	fake::Vma *vma = nullptr;
	u32 migrated = 0;
};

} // namespace dsvm::cases

#endif // DSVM_KUNIT_CASES_SCENE_H
