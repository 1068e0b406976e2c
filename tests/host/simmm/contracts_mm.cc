// SPDX-License-Identifier: GPL-2.0-only OR MIT
//
// What programs and the kernel itself do with memory.

#include "tests/host/simmm/contract_tests.h"
#include "tests/host/simmm/os.h"
#include "tests/host/simmm/scene.h"

namespace dsvm::sim {

namespace {

bool happened;

// Kernel: do_anonymous_page().
bool first_read_gives_the_zero_page()
{
	return Scene()
		.prepare([] { map(0, 0); })
		.thread([] {
			read(0);
			check(pte(0).page == kZeroPage && !pte(0).write,
			      "no zero page, or writable");
			write(0, 7);
		})
		.holds([] { return pte(0).page != kZeroPage && pte(0).write; });
}

// Kernel: wp_page_copy(): the copy takes the page's place after a CLEAR.
bool write_to_the_zero_page_is_told()
{
	return Scene()
		.prepare([] {
			map(0, 0);
			listener().insert();
		})
		.thread([] {
			read(0);
			check(listener().count(Event::kClear) == 0, "an event for nothing");
			write(0, 7);
		})
		.holds([] { return listener().count(Event::kClear) == 1; });
}

// Kernel: dup_mmap(), copy_page_range(): PROTECTION_PAGE, and both may only read.
bool fork_makes_both_read_only()
{
	return Scene()
		.prepare([] {
			map_written(0, 1);
			listener().insert();
		})
		.thread([] {
			const Mm *const child = machine().fork(process());
			if (!check(child != nullptr, "no child"))
				return;
			check(!pte(0).write && !child->ptes[0].write, "one of them may write");
			check(pte(0).page == child->ptes[0].page, "not shared");
			check(page_at(0).mapped == 2 && page_at(0).refs == 2, "counts");
		})
		.holds([] { return listener().count(Event::kProtectionPage) != 0; });
}

bool copy_on_write_keeps_them_apart()
{
	static Mm *child;

	return Scene()
		.prepare([] {
			map_written(0, 1);
			child = machine().fork(process());
		})
		.thread([] {
			write(0, 50);
			read(0);
			read(1);
		})
		.thread([] {
			u64 value = 60;
			check(machine().load(*child, at(0), &value) == Access::kDone, "load");
			check(value == value_of(0), "the other one's write is seen");
			value = 60;
			check(machine().store(*child, at(1), value) == Access::kDone, "store");
		})
		.holds([] {
			return pte(0).page != child->ptes[0].page &&
			       pte(1).page != child->ptes[1].page;
		});
}

bool swap_keeps_the_content()
{
	return Scene()
		.prepare([] {
			map_written(0, 0);
			listener().insert();
		})
		.thread([] {
			check(machine().page_out(process(), at(0)), "page_out");
			check(pte(0).kind == PteKind::kSwap, "it is not in swap");
			check(listener().count(Event::kClear) == 1, "nobody was told");
			read(0);
		})
		.holds([] { return pte(0).kind == PteKind::kPresent; });
}

bool swap_and_writes_lose_nothing()
{
	return Scene()
		.prepare([] { map_written(0, 0); })
		.thread([] {
			for (u32 i = 0; i < 3; i++)
				machine().page_out(process(), at(0));
		})
		.thread([] {
			for (u32 i = 0; i < 3; i++) {
				write(0, 100 + i);
				read(0);
			}
		})
		.holds();
}

bool compaction_keeps_the_content()
{
	return Scene()
		.prepare([] { map_written(0, 0); })
		.thread([] {
			const u32 before = pte(0).page;

			happened = machine().compact(process(), at(0));
			check(!happened || pte(0).page != before, "the same page");
		})
		.thread([] {
			write(0, 9);
			read(0);
		})
		.holds();
}

// Kernel: folio_migrate_mapping(): not while somebody uses the page by its address.
bool compaction_leaves_pinned_pages()
{
	return Scene()
		.prepare([] { map_written(0, 0); })
		.thread([] {
			const u32 page = machine().pin(process(), at(0));

			check(!machine().compact(process(), at(0)), "it moves");
			check(pte(0).page == page, "it moves");
			machine().unpin(page);
		})
		.holds();
}

// ... whenever they begin to.
bool compaction_leaves_pages_that_get_pinned()
{
	return Scene()
		.prepare([] {
			map_written(0, 0);
			happened = false;
		})
		.thread([] { happened = !machine().compact(process(), at(0)); })
		.thread([] {
			const u32 page = machine().pin(process(), at(0));

			if (page == kNoPage)
				return;
			scheduler().relax();
			machine().device_store(process(), at(0), machine().page(page), 99);
			read(0);
			machine().unpin(page);
		})
		.may(happened);
}

// Kernel: madvise(2), MADV_DONTNEED on anonymous memory.
bool dontneed_leaves_zeros()
{
	return Scene()
		.prepare([] {
			map_written(0, 1);
			listener().insert();
		})
		.thread([] {
			check(machine().madvise_dontneed(process(), at(0), end_of(0)) == 0,
			      "madvise");
			check(pte(0).kind == PteKind::kNone, "something is left");
			read(0);
			read(1);
		})
		.holds([] {
			return pte(0).page == kZeroPage && listener().count(Event::kClear) == 1;
		});
}

// Kernel: move_page_tables(): UNMAP of the old place.
bool mremap_keeps_the_content()
{
	return Scene()
		.prepare([] {
			map_written(0, 3);
			listener().insert();
		})
		.thread([] {
			check(machine().mremap(process(), at(0), end_of(1), at(16)) == 0, "mremap");
			read(16);
			read(17);
			read(2);
			u64 value;
			check(machine().load(process(), at(0), &value) == Access::kSegv,
			      "still there");
		})
		.holds([] { return listener().count(Event::kUnmap) != 0; });
}

bool munmap_sends_unmap()
{
	return Scene()
		.prepare([] {
			map_written(0, 3);
			listener().insert();
		})
		.thread([] {
			check(machine().munmap(process(), at(1), end_of(2)) == 0, "munmap");
			check(listener().last.event == Event::kUnmap, "another event");
			check(listener().last.first <= at(1) && listener().last.last >= end_of(2),
			      "not all of it");
		})
		.holds([] {
			return pte(1).kind == PteKind::kNone && pte(0).kind == PteKind::kPresent;
		});
}

bool mprotect_takes_the_write_away()
{
	return Scene()
		.prepare([] {
			map_written(0, 0);
			listener().insert();
		})
		.thread([] {
			u64 value = 3;
			check(machine().mprotect(process(), at(0), end_of(0), true, false) == 0,
			      "mprotect");
			check(machine().store(process(), at(0), value) == Access::kSegv, "a write");
			read(0);
		})
		.holds([] { return listener().count(Event::kProtectionVma) == 1; });
}

// Kernel: mm/oom_kill.c; the event was UNMAP before 7.3.
bool oom_reaper_does_not_wait()
{
	return on_each_kernel([](const Kernel &kernel) {
		static Event expected;

		expected = kernel.reaps_as_clear ? Event::kClear : Event::kUnmap;
		return Scene(kernel)
			.prepare([] {
				map_written(0, 0);
				listener().insert();
			})
			.thread([] {
				listener().refuses = true;
				check(!machine().oom_reap(process()), "it was not refused");
				check(pte(0).kind == PteKind::kPresent, "taken all the same");
				listener().refuses = false;
				check(machine().oom_reap(process()), "it was refused");
			})
			.holds([] {
				return listener().count(expected) == 1 &&
				       pte(0).kind == PteKind::kNone;
			});
	});
}

// Kernel: madvise(2), MADV_FREE: reclaim drops what nobody has written since; a device's writes
// it does not see, unless it is told.
bool free_pages(void (*body)(), bool is_kept)
{
	static bool kept;

	kept = is_kept;
	return Scene()
		.prepare([] {
			map_written(0, 0);
			check(machine().madvise_free(process(), at(0), end_of(0)) == 0, "madvise");
		})
		.thread([=] {
			body();
			machine().page_out(process(), at(0));
			check(kept == (pte(0).kind != PteKind::kNone), "dropped, or kept");
			read(0);
		})
		.holds();
}

bool free_pages_are_dropped()
{
	return free_pages([] {}, false);
}

bool free_pages_stay_if_written()
{
	return free_pages([] { write(0, 33); }, true) &&
	       free_pages(
		       [] {
			       machine().lock_page(page_at(0));
			       mark_dirty(page_at(0));
			       machine().unlock_page(page_at(0));
			       machine().device_store(process(), at(0), page_at(0), 34);
		       },
		       true);
}

bool write_that_nobody_is_told_of_is_found()
{
	return Scene()
		.prepare([] { map_written(0, 0); })
		.thread([] {
			machine().madvise_free(process(), at(0), end_of(0));
			machine().device_store(process(), at(0), page_at(0), 34);
			machine().page_out(process(), at(0));
		})
		.breaks("data are lost");
}

// Kernel: do_read_fault(), do_cow_fault(): the file's page until it is written, then one's own.
bool private_file_is_copied_when_written()
{
	return Scene()
		.prepare([] {
			map(0, 0, VmaKind::kFile);
			listener().insert();
		})
		.thread([] {
			read(0);
			check(pte(0).kind == PteKind::kPresent && !pte(0).write, "writable");
			check(pte(0).page != kZeroPage && !page_at(0).anon, "not the file's");
			write(0, 8);
			check(page_at(0).anon && pte(0).write, "not a copy");
		})
		.holds([] { return listener().count(Event::kClear) == 1; });
}

bool collapse_makes_a_huge_mapping()
{
	return Scene()
		.prepare([] {
			map_written(0, 7);
			listener().insert();
		})
		.thread([] {
			check(machine().collapse(process(), at(0)) == 0, "collapse");
			check(machine().is_huge(process(), 3), "not huge");
			check(page_at(3).head == pte(0).page, "not one folio");
			for (u32 i = 0; i < 8; i++)
				read(i);
		})
		.holds([] { return listener().count(Event::kClear) != 0; });
}

bool split_keeps_the_folio()
{
	return Scene()
		.prepare([] { map_huge(0); })
		.thread([] {
			check(machine().split_huge(process(), at(0), false), "split");
			check(!machine().is_huge(process(), 0), "still huge");
			check(machine().folio_of(page_at(3)).order != 0, "the folio has gone");
			check(machine().split_huge(process(), at(0), true), "split of the folio");
			check(machine().folio_of(page_at(3)).order == 0,
			      "the folio is still there");
			for (u32 i = 0; i < 8; i++)
				read(i);
		})
		.holds();
}

bool exit_sends_release_and_frees()
{
	return Scene()
		.prepare([] {
			map_written(0, 1);
			listener().insert();
		})
		.thread([] {
			const u32 page = pte(0).page;
			machine().exit(process());
			check(machine().page(page).refs == 0, "a page is left");
			check(listener().count(Event::kRelease) == 1, "nobody was told");
		})
		.holds();
}

// Kernel: shmem: both see what one has written, a fork as well.
bool shared_memory_is_shared()
{
	static Mm *child;

	return Scene()
		.prepare([] {
			map(0, 0, VmaKind::kShared);
			write(0, 5);
			child = machine().fork(process());
		})
		.thread([] { write(0, 6); })
		.thread([] {
			u64 value = 0;
			check(machine().load(*child, at(0), &value) == Access::kDone, "load");
			check(value == 5 || value == 6, "another value");
		})
		.holds();
}

} // namespace

void add_mm_contracts(std::vector<Contract> &list)
{
	list.insert(list.end(), {
					DSVM_CONTRACT(first_read_gives_the_zero_page),
					DSVM_CONTRACT(write_to_the_zero_page_is_told),
					DSVM_CONTRACT(fork_makes_both_read_only),
					DSVM_CONTRACT(copy_on_write_keeps_them_apart),
					DSVM_CONTRACT(swap_keeps_the_content),
					DSVM_CONTRACT(swap_and_writes_lose_nothing),
					DSVM_CONTRACT(compaction_keeps_the_content),
					DSVM_CONTRACT(compaction_leaves_pinned_pages),
					DSVM_CONTRACT(compaction_leaves_pages_that_get_pinned),
					DSVM_CONTRACT(dontneed_leaves_zeros),
					DSVM_CONTRACT(mremap_keeps_the_content),
					DSVM_CONTRACT(munmap_sends_unmap),
					DSVM_CONTRACT(mprotect_takes_the_write_away),
					DSVM_CONTRACT(oom_reaper_does_not_wait),
					DSVM_CONTRACT(free_pages_are_dropped),
					DSVM_CONTRACT(free_pages_stay_if_written),
					DSVM_CONTRACT(write_that_nobody_is_told_of_is_found),
					DSVM_CONTRACT(private_file_is_copied_when_written),
					DSVM_CONTRACT(collapse_makes_a_huge_mapping),
					DSVM_CONTRACT(split_keeps_the_folio),
					DSVM_CONTRACT(exit_sends_release_and_frees),
					DSVM_CONTRACT(shared_memory_is_shared),
				});
}

} // namespace dsvm::sim
