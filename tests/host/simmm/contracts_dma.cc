// SPDX-License-Identifier: GPL-2.0-only OR MIT
//
// Windows of device addresses (kernel: dma_iova_*(), drivers/iommu/dma-iommu.c), and what a
// collected page says that decides about its mapping.

#include "tests/host/simmm/contract_tests.h"
#include "tests/host/simmm/os.h"
#include "tests/host/simmm/scene.h"

namespace dsvm::sim {

namespace {

dsvm_iova make_window(u32 pages)
{
	dsvm_iova iova = {};

	check(dsvm_os_iova_alloc(to_os(device()), to_os(page_at(0)), pages * kPageSize, &iova),
	      "no window");
	return iova;
}

int link(dsvm_iova &iova, u32 page, u32 order, u32 offset,
	 dsvm_dma_dir dir = DSVM_DMA_BIDIRECTIONAL)
{
	return dsvm_os_iova_link(to_os(device()), &iova, to_os(page_at(page)), order,
				 offset * kPageSize, dir);
}

void unlink(dsvm_iova &iova, u32 offset, u32 pages, dsvm_dma_dir dir = DSVM_DMA_BIDIRECTIONAL)
{
	dsvm_os_iova_unlink(to_os(device()), &iova, offset * kPageSize, pages * kPageSize, dir);
}

// A window of four pages behind an IOMMU, over memory that has been written, and what is done
// with it.
Scene with_window(void (*body)(dsvm_iova &iova))
{
	Scene scene;

	scene.prepare([] {
		     map_written(0, 3);
		     map_huge(8);
		     device().behind_iommu = true;
	     }).thread([=] {
		dsvm_iova iova = make_window(4);
		body(iova);
	});
	return scene;
}

bool no_window_without_iommu()
{
	return Scene()
		.prepare([] { map_written(0, 0); })
		.thread([] {
			dsvm_iova iova;
			check(!dsvm_os_iova_alloc(to_os(device()), to_os(page_at(0)), kPageSize,
						  &iova) &&
				      iova.size == 0,
			      "a window");
		})
		.holds();
}

bool linked_pages_are_seen_after_a_sync()
{
	return with_window([](dsvm_iova &iova) {
		       const auto seen = [&](u32 offset, bool write) {
			       return reached_page(device(), iova.addr + offset * kPageSize, write);
		       };

		       check(link(iova, 1, 0, 0, DSVM_DMA_TO_DEVICE) == 0, "link");
		       check(link(iova, 2, 0, 2) == 0, "link behind a hole");
		       check(seen(0, false) == kNoPage, "seen before a sync");
		       check(dsvm_os_iova_sync(to_os(device()), &iova, 3 * kPageSize) == 0, "sync");
		       check(seen(0, false) == pte(1).page && seen(2, true) == pte(2).page,
			     "another page");
		       check(seen(0, true) == kNoPage, "written against the direction");
		       check(seen(1, false) == kNoPage && seen(3, false) == kNoPage, "a hole");
		       unlink(iova, 0, 1, DSVM_DMA_TO_DEVICE);
		       check(seen(0, false) == kNoPage && page_at(1).dma == 0, "still linked");
		       unlink(iova, 2, 1);
		       dsvm_os_iova_free(to_os(device()), &iova);
		       check(device().mappings == 0, "mappings are left");
		       check_no_windows(device());
	       })
		.holds();
}

// Several runs in one go, if nothing is between them.
bool runs_in_a_row_are_unlinked_at_once()
{
	return with_window([](dsvm_iova &iova) {
		       check(link(iova, 8, 1, 0) == 0 && link(iova, 1, 0, 2) == 0, "link");
		       check(device().mappings == 2, "%u mappings", device().mappings);
		       unlink(iova, 0, 3);
		       dsvm_os_iova_free(to_os(device()), &iova);
		       check(device().mappings == 0, "mappings are left");
	       })
		.holds();
}

bool link_on_a_link_is_found()
{
	return with_window([](dsvm_iova &iova) {
		       static_cast<void>(link(iova, 1, 0, 1));
		       static_cast<void>(link(iova, 8, 1, 0));
	       })
		.breaks("a device address is linked twice");
}

bool link_beyond_the_window_is_found()
{
	return with_window([](dsvm_iova &iova) { static_cast<void>(link(iova, 8, 1, 3)); })
		.breaks("what is not in a window of device addresses is taken for it");
}

bool unlink_of_a_hole_is_found()
{
	return with_window([](dsvm_iova &iova) {
		       static_cast<void>(link(iova, 1, 0, 0));
		       unlink(iova, 0, 2);
	       })
		.breaks("what is not linked is unlinked");
}

// An IOMMU may have the run as one entry.
bool unlink_of_half_a_run_is_found()
{
	return with_window([](dsvm_iova &iova) {
		       static_cast<void>(link(iova, 8, 1, 0));
		       unlink(iova, 0, 1);
	       })
		.breaks("a part of a run is unlinked");
}

bool window_freed_with_a_link_is_found()
{
	return with_window([](dsvm_iova &iova) {
		       static_cast<void>(link(iova, 1, 0, 0));
		       dsvm_os_iova_free(to_os(device()), &iova);
	       })
		.breaks("a window of device addresses goes with what is linked");
}

bool window_freed_twice_is_found()
{
	return with_window([](dsvm_iova &iova) {
		       dsvm_os_iova_free(to_os(device()), &iova);
		       dsvm_os_iova_free(to_os(device()), &iova);
	       })
		.breaks("what is not in a window of device addresses is taken for it");
}

bool window_left_behind_is_found()
{
	return with_window([](dsvm_iova &) { check_no_windows(device()); })
		.breaks("a window of device addresses is left");
}

bool page_freed_under_a_link_is_found()
{
	return with_window([](dsvm_iova &iova) {
		       static_cast<void>(link(iova, 1, 0, 0));
		       machine().munmap(process(), at(1), end_of(1));
	       })
		.breaks("a page is freed that is mapped for DMA");
}

// Each of alloc, link and sync.
bool windows_fail_by_injection()
{
	return with_window([](dsvm_iova &iova) {
		       dsvm_iova none;

		       machine().inject(Fail::kDmaMap, 1);
		       check(!dsvm_os_iova_alloc(to_os(device()), to_os(page_at(0)), kPageSize,
						 &none),
			     "alloc");
		       machine().inject(Fail::kDmaMap, 1);
		       check(link(iova, 1, 0, 0) == -DSVM_ENOMEM && page_at(1).dma == 0, "link");
		       check(link(iova, 1, 0, 0) == 0, "link");
		       machine().inject(Fail::kDmaMap, 1);
		       check(dsvm_os_iova_sync(to_os(device()), &iova, kPageSize) == -DSVM_EFAULT,
			     "sync");
		       check(reached_page(device(), iova.addr, false) == kNoPage, "seen");
		       unlink(iova, 0, 1);
		       dsvm_os_iova_free(to_os(device()), &iova);
	       })
		.holds();
}

// Pages -----------------------------------------------------------------------

// Kernel: folio_test_anon() && !folio_test_swapbacked(), from MADV_FREE to the first write.
bool freed_page_is_discardable_until_written()
{
	return Scene()
		.prepare([] {
			map_written(0, 1);
			listener().insert();
		})
		.thread([] {
			Collection before{0, 1}, freed{0, 1}, written{0, 1};

			check(before.run() == 0 && !before.at(0).discardable, "before");
			machine().madvise_free(process(), at(0), end_of(0));
			check(freed.run() == 0 && freed.at(0).discardable, "after MADV_FREE");
			check(!freed.at(1).discardable, "its neighbour");
			write(0, 7);
			check(written.run() == 0 && !written.at(0).discardable, "after a write");
		})
		.holds();
}

bool device_page_has_a_pagemap()
{
	return Scene()
		.prepare([] {
			map_written(0, 1);
			listener().insert();
		})
		.thread([] {
			Collection collection{0, 2};

			to_device(1, 1, 0);
			check(collection.as_owner().run() == 0, "it fails");
			check(dsvm_os_hmm_pagemap(collection.entries[0]) == nullptr, "RAM");
			check(dsvm_os_hmm_pagemap(collection.entries[1]) ==
				      machine().pagemap_of(pte(1).page),
			      "a device's");
			check(dsvm_os_hmm_pagemap(collection.entries[2]) == nullptr, "nothing");
		})
		.holds();
}

// Kernel: folio_clear_dirty_for_io() comes before what is written to swap.
bool page_out_cleans_a_page()
{
	return Scene()
		.prepare([] { map_written(0, 0); })
		.thread([] {
			Page &page = page_at(0);

			machine().lock_page(page);
			mark_dirty(page);
			machine().unlock_page(page);
			machine().get_page(page); // so that it stays in the swap cache
			machine().page_out(process(), at(0));
			check(!page.dirty, "still dirty");
			machine().put_page(page);
		})
		.holds();
}

// What is said of a page that nobody keeps may be said of another one.
bool mark_of_a_page_that_may_go_is_found()
{
	return Scene()
		.prepare([] { map_written(0, 0); })
		.thread([] { mark_accessed(page_at(0)); })
		.breaks("a page is marked that may go");
}

bool mark_of_a_device_page_is_found()
{
	return Scene()
		.prepare([] {
			map_written(0, 0);
			listener().insert();
		})
		.thread([] {
			to_device(0, 0, 0);
			scheduler().read_lock(listener().lock);
			mark_dirty(page_at(0));
		})
		.breaks("a device page is marked");
}

bool marks_are_counted()
{
	return Scene()
		.prepare([] {
			map_written(0, 1);
			listener().insert();
		})
		.thread([] {
			machine().asked().marks = Marks{};
			scheduler().read_lock(listener().lock);
			mark_dirty(page_at(0));
			mark_accessed(page_at(0));
			mark_accessed(page_at(1));
			scheduler().read_unlock(listener().lock);
			check(machine().asked().marks == Marks{.dirty = 1, .accessed = 2},
			      "%u and %u", machine().asked().marks.dirty,
			      machine().asked().marks.accessed);
			check(page_at(0).dirty && !page_at(1).dirty, "dirty");
		})
		.thread([] { check(machine().asked().marks == Marks{}, "somebody else's"); })
		.holds();
}

} // namespace

void add_dma_contracts(std::vector<Contract> &list)
{
	list.insert(list.end(), {
					DSVM_CONTRACT(no_window_without_iommu),
					DSVM_CONTRACT(linked_pages_are_seen_after_a_sync),
					DSVM_CONTRACT(runs_in_a_row_are_unlinked_at_once),
					DSVM_CONTRACT(link_on_a_link_is_found),
					DSVM_CONTRACT(link_beyond_the_window_is_found),
					DSVM_CONTRACT(unlink_of_a_hole_is_found),
					DSVM_CONTRACT(unlink_of_half_a_run_is_found),
					DSVM_CONTRACT(window_freed_with_a_link_is_found),
					DSVM_CONTRACT(window_freed_twice_is_found),
					DSVM_CONTRACT(window_left_behind_is_found),
					DSVM_CONTRACT(page_freed_under_a_link_is_found),
					DSVM_CONTRACT(windows_fail_by_injection),
					DSVM_CONTRACT(freed_page_is_discardable_until_written),
					DSVM_CONTRACT(device_page_has_a_pagemap),
					DSVM_CONTRACT(page_out_cleans_a_page),
					DSVM_CONTRACT(mark_of_a_page_that_may_go_is_found),
					DSVM_CONTRACT(mark_of_a_device_page_is_found),
					DSVM_CONTRACT(marks_are_counted),
				});
}

} // namespace dsvm::sim
