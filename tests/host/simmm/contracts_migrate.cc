// SPDX-License-Identifier: GPL-2.0-only OR MIT
//
// Migration (kernel: mm/migrate_device.c).

#include "tests/host/simmm/contract_tests.h"
#include "tests/host/simmm/scene.h"

namespace dsvm::sim {

namespace {

constexpr u32 kBoth = DSVM_MIGRATE_SYSTEM | DSVM_MIGRATE_DEVICE;

bool happened;

// A span that is set up, and finished as it is, under the mm's lock. `look` sees it between.
template <class Look> void collect(u32 first, u32 last, u32 select, Look look)
{
	dsvm_os_mm_read_lock(to_os(process()));
	Moving moving{first, last, select};
	check(dsvm_os_migrate_setup(&moving.span) == 0, "setup");
	look(moving);
	dsvm_os_migrate_pages(&moving.span);
	dsvm_os_migrate_finalize(&moving.span);
	dsvm_os_mm_read_unlock(to_os(process()));
}

void stays(const Moving &moving)
{
	check(!moving.moves(0), "it is collected");
}

bool data_go_there_and_come_back()
{
	return on_each_kernel([](const Kernel &kernel) {
		return Scene(kernel)
			.prepare([] { map_written(0, 3); })
			.thread([] {
				check(to_device(0, 3, 0) == 4, "not all move");
				check(pte(2).kind == PteKind::kDevice, "no device entry");
				for (u32 i = 0; i < 4; i++)
					read(i);
			})
			.holds([] {
				return pte(2).kind == PteKind::kPresent && allocation().refs == 1;
			});
	});
}

// Kernel: migrate_vma_setup(): "stable content": nobody writes a page that is on its way.
bool collected_page_is_not_written()
{
	return Scene()
		.prepare([] { map_written(0, 1); })
		.thread([] { to_device(0, 1, 0); })
		.thread([] {
			write(0, 70);
			write(1, 71);
			write(0, 72);
		})
		.thread([] {
			read(1);
			read(0);
		})
		.holds();
}

bool cpu_writes_wait_until_the_end()
{
	static bool away;

	return Scene()
		.prepare([] {
			map_written(0, 0);
			away = happened = false;
		})
		.thread([] {
			collect(0, 0, kBoth, [](const Moving &moving) {
				check(moving.moves(0), "it stays");
				away = true;
				scheduler().relax();
				away = false;
			});
		})
		.thread([] {
			happened = away;
			write(0, 5);
			check(!away, "it is written on its way");
		})
		.may(happened);
}

// Not even for a moment is its entry another one.
bool pinned_page_stays()
{
	static u32 changes;

	return Scene()
		.prepare([] {
			map_written(0, 0);
			changes = 0;
		})
		.thread([] {
			const u32 page = machine().pin(process(), at(0));

			machine().pte_changed = [](Mm &, u32) {
				changes++;
			};
			check(to_device(0, 0, 0) == 0, "it moves");
			check(changes == 0 && pte(0).page == page, "its entry has changed");
			machine().unpin(page);
		})
		.holds();
}

// Kernel: folio_trylock(): not waited for, because two migrations may each have what the
// other one wants.
bool locked_page_stays()
{
	static bool locked;

	return Scene()
		.prepare([] {
			map_written(0, 0);
			locked = false;
		})
		.thread([] {
			scheduler().wait_until("the lock", [] { return locked; });
			check(to_device(0, 0, 0) == 0, "it moves");
			locked = false;
		})
		.thread([] {
			Page &page = page_at(0);
			machine().lock_page(page);
			locked = true;
			scheduler().wait_until("the other one", [] { return !locked; });
			machine().unlock_page(page);
		})
		.holds([] { return pte(0).kind == PteKind::kPresent; });
}

bool isolated_page_stays()
{
	return Scene()
		.prepare([] { map_written(0, 0); })
		.thread([] {
			Page &page = page_at(0);
			page.isolated = true;
			collect(0, 0, kBoth, stays);
			check(page.isolated, "it is back on the LRU");
			page.isolated = false;
		})
		.holds([] { return pte(0).kind == PteKind::kPresent && pte(0).write; });
}

// Kernel: "For empty entries inside CPU page table [...] we do set MIGRATE_PFN_MIGRATE".
bool holes_are_collected_whatever_is_selected()
{
	return Scene()
		.prepare([] { map(0, 1); })
		.thread([] {
			collect(0, 1, DSVM_MIGRATE_DEVICE, [](const Moving &moving) {
				check(moving.moves(0) && moving.page(0) == nullptr,
				      "a hole is missed");
			});
			check(to_device(0, 1, 0) == 2, "holes are not filled");
		})
		.holds([] { return pte(1).kind == PteKind::kDevice && pte(1).write; });
}

bool hole_is_filled_only_while_it_is_one()
{
	return Scene()
		.prepare([] {
			map(0, 0);
			happened = false;
		})
		.thread([] { happened = to_device(0, 0, 0) == 0; })
		.thread([] {
			write(0, 8);
			read(0);
		})
		.may(happened);
}

bool zero_page_is_a_hole()
{
	return Scene()
		.prepare([] { map(0, 0); })
		.thread([] {
			read(0);
			collect(0, 0, DSVM_MIGRATE_DEVICE, stays);
			check(to_device(0, 0, 0) == 1, "it stays");
			check(pte(0).kind == PteKind::kDevice, "no device entry");
			read(0);
		})
		.holds();
}

bool holes_of_shared_memory_stay()
{
	return Scene()
		.prepare([] { map(0, 0, VmaKind::kShared); })
		.thread([] { collect(0, 0, kBoth, stays); })
		.holds();
}

// Kernel: collected and unmapped, and refused in migrate_vma_pages() only.
bool shared_memory_does_not_move()
{
	return Scene()
		.prepare([] {
			map(0, 0, VmaKind::kShared);
			write(0, 4);
		})
		.thread([] {
			collect(0, 0, kBoth, [](const Moving &moving) {
				check(moving.moves(0), "it is not even collected");
			});
			check(to_device(0, 0, 0) == 0, "it moves");
			read(0);
		})
		.holds([] { return pte(0).kind == PteKind::kPresent; });
}

bool select_is_obeyed()
{
	return Scene()
		.prepare([] { map_written(0, 1); })
		.thread([] {
			to_device(0, 0, 0);
			collect(0, 1, DSVM_MIGRATE_SYSTEM, [](const Moving &moving) {
				check(!moving.moves(0) && moving.moves(1), "system");
			});
			collect(0, 1, DSVM_MIGRATE_DEVICE, [](const Moving &moving) {
				check(moving.moves(0) && !moving.moves(1), "device");
			});
			machine().device_owners[0] = &happened;
			collect(0, 0, kBoth, stays);
			machine().device_owners[0] = owner();
		})
		.holds();
}

// KERNEL: 6.1 and 6.12 skip a folio that is mapped by pages, 7.3 splits it.
bool folio_mapped_by_pages_by_kernel()
{
	return on_each_kernel([](const Kernel &kernel) {
		return Scene(kernel)
			.prepare([] {
				map_huge(0);
				machine().split_huge(process(), at(0), false);
			})
			.thread([] {
				const bool splits = machine().kernel().splits_large_folios;
				const u32 moved = to_device(0, 3, 0);
				check(moved == (splits ? 4 : 0), "%u move", moved);
				for (u32 i = 0; i < 8; i++)
					read(i);
			})
			.holds();
	});
}

// 6.1 and 6.12 split a huge mapping even if RAM is not selected.
bool huge_mapping_by_kernel()
{
	return on_each_kernel([](const Kernel &kernel) {
		return Scene(kernel)
			.prepare([] { map_huge(0); })
			.thread([] {
				const bool splits = !machine().kernel().splits_large_folios;
				collect(0, 7, DSVM_MIGRATE_DEVICE, stays);
				check(machine().is_huge(process(), 0) != splits, "split");
				check(to_device(0, 7, 0) == 8, "not all move");
				for (u32 i = 0; i < 8; i++)
					read(i);
			})
			.holds();
	});
}

// From 6.12 on a split maps the zero page where a page is all zero: a hole, then.
bool zero_filled_pages_by_kernel()
{
	return on_each_kernel([](const Kernel &kernel) {
		return Scene(kernel)
			.prepare([] {
				map_huge(0);
				write(3, 0);
			})
			.thread([] {
				collect(0, 7, DSVM_MIGRATE_SYSTEM, [](const Moving &moving) {
					const bool hole = moving.page(3) == nullptr;
					check(moving.moves(3), "it stays");
					check(hole == machine().kernel().copies_into_zero,
					      "hole: %d", hole);
				});
				read(3);
				write(3, 9);
			})
			.holds();
	});
}

bool pinned_folio_is_not_split()
{
	return on_each_kernel([](const Kernel &kernel) {
		return Scene(kernel)
			.prepare([] { map_huge(0); })
			.thread([] {
				const u32 page = machine().pin(process(), at(2));
				collect(0, 7, DSVM_MIGRATE_SYSTEM, [](const Moving &moving) {
					for (u32 i = 0; i < 8; i++)
						check(!moving.moves(i), "it moves");
				});
				machine().unpin(page);
			})
			.holds([] { return machine().is_huge(process(), 0); });
	});
}

// Whoever takes a reference while the folio is unmapped stops the split.
bool folio_pinned_while_it_is_split()
{
	static Page *head;
	static bool over, moved;

	return Scene()
		.prepare([] {
			map_huge(0);
			head = &page_at(0);
			over = moved = happened = false;
		})
		.thread([] {
			moved = to_device(0, 7, 0) != 0;
			over = true;
		})
		.thread([] {
			scheduler().wait_until("the split", [] { return head->locked || over; });
			const u32 page = machine().pin(process(), at(5));
			if (page == kNoPage)
				return;
			machine().device_store(process(), at(5), machine().page(page), 99);
			scheduler().wait_until("the end", [] { return over; });
			happened = !moved && !machine().is_huge(process(), 5);
			read(5);
			machine().unpin(page);
		})
		.may(happened);
}

// Kernel: folio_migrate_mapping() after migrate_vma_check_page(), which allows a device page
// one reference more than it ought to.
bool reference_between_the_phases_stops_it()
{
	return Scene()
		.prepare([] { map_written(0, 1); })
		.thread([] {
			dsvm_os_mm_read_lock(to_os(process()));
			Moving moving{0, 1};
			check(dsvm_os_migrate_setup(&moving.span) == 0, "setup");
			Page &held = from_os(moving.page(0));
			for (u32 i = 0; i < 2; i++)
				moving.give_device(i, i);
			machine().get_page(held);
			dsvm_os_migrate_pages(&moving.span);
			check(!moving.moves(0) && moving.moves(1), "it moves");
			dsvm_os_migrate_finalize(&moving.span);
			dsvm_os_mm_read_unlock(to_os(process()));
			machine().put_page(held);
			read(0);
			read(1);
		})
		.holds();
}

bool device_page_may_have_one_reference_too_many_at_first()
{
	return Scene()
		.prepare([] { map_written(0, 0); })
		.thread([] {
			to_device(0, 0, 0);
			Page &page = page_at(0);
			machine().get_page(page);
			Moving moving{Frames{0, 1}};
			check(dsvm_os_migrate_device_setup(&moving.span) == 0, "setup");
			check(moving.moves(0), "it is found out in the first phase");
			moving.give_ram(0);
			dsvm_os_migrate_device_pages(&moving.span);
			check(!moving.moves(0), "it moves");
			dsvm_os_migrate_device_finalize(&moving.span);
			machine().put_page(page);
		})
		.holds([] { return pte(0).kind == PteKind::kDevice; });
}

// Kernel: folio_free_swap(): not while an entry elsewhere needs the slot.
bool page_in_swap_cache_moves_when_swap_lets_go()
{
	for (const bool shared : {false, true}) {
		static bool is_shared;

		is_shared = shared;
		const bool fine = Scene().prepare([] {
						 map_written(0, 0);
						 Page &page = page_at(0);
						 page.slot = machine().alloc_slot();
						 machine().slot_cache(page.slot) = pte(0).page;
						 machine().get_page(page);
						 if (is_shared)
							 machine().get_slot(page.slot);
					 })
					  .thread([] {
						  const u32 moved = to_device(0, 0, 0);
						  check(moved == (is_shared ? 0 : 1), "%u", moved);
						  read(0);
					  })
					  .holds();
		if (!fine)
			return false;
	}
	return true;
}

bool events_have_the_owner()
{
	return Scene()
		.prepare([] {
			map(0, 3);
			write(0, value_of(0));
			write(1, value_of(1));
			listener().insert();
		})
		.thread([] {
			to_device(0, 1, 0);
			check(listener().count(Event::kMigrate) == 1, "%u events",
			      listener().count(Event::kMigrate));
			check(listener().last.first == at(0) && listener().last.last == end_of(1) &&
				      listener().last.owner == owner(),
			      "another span, or no owner");
			// Once more for holes, from the first one on.
			check(to_device(1, 3, 4) == 2, "holes are not filled");
			check(listener().count(Event::kMigrate) == 3 &&
				      listener().last.first == at(2) &&
				      listener().last.last == end_of(3) &&
				      listener().last.owner == owner(),
			      "holes");
		})
		.holds([] { return listener().count(Event::kClear) == 0; });
}

bool eviction_is_seen_as_clear()
{
	return Scene()
		.prepare([] {
			map_written(0, 1);
			listener().insert();
		})
		.thread([] {
			to_device(0, 1, 0);
			check(evict({0, 4}) == 2, "not all move"); // two frames are free
			check(listener().count(Event::kClear) == 2, "nobody was told");
			check(listener().count(Event::kMigrate) == 1, "as a migration");
		})
		.holds([] { return pte(0).kind == PteKind::kPresent && pte(0).write; });
}

// All of it against each other.
bool eviction_and_faults_lose_nothing()
{
	return on_each_kernel([](const Kernel &kernel) {
		return Scene(kernel)
			.prepare([] {
				map_written(0, 2);
				to_device(0, 2, 0);
			})
			.thread([] {
				evict({0, 3});
			})
			.thread([] {
				write(0, 30);
				read(2);
			})
			.thread([] {
				read(0);
				machine().munmap(process(), at(1), end_of(1));
			})
			.holds();
	});
}

bool device_page_is_shared_by_fork()
{
	static Mm *child;

	return Scene()
		.prepare([] {
			map_written(0, 0);
			to_device(0, 0, 0);
			child = machine().fork(process());
			check(!pte(0).write && child->ptes[0].kind == PteKind::kDevice,
			      "not shared");
		})
		.thread([] { write(0, 12); })
		.thread([] {
			u64 value = 0;
			check(machine().load(*child, at(0), &value) == Access::kDone &&
				      value == value_of(0),
			      "the child sees something else");
		})
		.holds();
}

// Kernel: nobody who takes memory away waits for a page that is on its way.
bool zapped_on_its_way()
{
	return Scene()
		.prepare([] {
			map_written(0, 0);
			to_device(0, 0, 0);
		})
		.thread([] {
			Moving moving{Frames{0, 1}};
			check(dsvm_os_migrate_device_setup(&moving.span) == 0, "setup");
			check(pte(0).kind == PteKind::kMigration, "not on its way");
			machine().madvise_dontneed(process(), at(0), end_of(0));
			moving.give_ram(0);
			dsvm_os_migrate_device_pages(&moving.span);
			dsvm_os_migrate_device_finalize(&moving.span);
		})
		.holds([] { return pte(0).kind == PteKind::kNone && allocation().refs == 1; });
}

// Kernel: ->folio_free is called under a page-table lock, or by whoever has the last reference.
bool device_page_is_freed_in_atomic_context()
{
	const auto lone_page = [] {
		map_written(0, 0);
		to_device(0, 0, 0);
		allocation().refs--;
		allocation().released = [](Zdd &) {
			dsvm_os_relax();
		};
	};

	return Scene().prepare(lone_page)
		       .thread([] { machine().munmap(process(), at(0), end_of(0)); })
		       .breaks("sleeps where it must not") &&
	       Scene().prepare(lone_page)
		       .thread([] {
			       evict({0, 1});
		       })
		       .breaks("sleeps where it must not");
}

bool fault_page_by_kernel()
{
	return on_each_kernel([](const Kernel &kernel) {
		static bool locked;

		return Scene(kernel)
			.prepare([] {
				map_written(0, 0);
				to_device(0, 0, 0);
				machine().migrate_to_ram = [](CpuFault &fault) {
					locked = fault.page.locked;
					to_ram(fault.mm, 0, 0, &fault.page);
					return FaultResult::kDone;
				};
			})
			.thread([] { read(0); })
			.holds([] { return locked == machine().kernel().locks_fault_page; });
	});
}

// Kernel: folio_migrate_flags(): a page that may be dropped (MADV_FREE) still may be, unless
// what it has come to is dirty: RAM that a device writes always is.
bool what_is_known_of_the_data_moves_along()
{
	return Scene()
		.prepare([] { map_written(0, 0); })
		.thread([] {
			machine().madvise_free(process(), at(0), end_of(0));
			to_device(0, 0, 0);
			check(machine().page(pte(0).page).lazy, "it is forgotten on the device");
			evict({0, 1});
			check(machine().page_out(process(), at(0)), "page_out");
			check(pte(0).kind == PteKind::kSwap, "what a device wrote is dropped");
		})
		.holds();
}

} // namespace

void add_migrate_contracts(std::vector<Contract> &list)
{
	list.insert(list.end(),
		    {
			    DSVM_CONTRACT(data_go_there_and_come_back),
			    DSVM_CONTRACT(collected_page_is_not_written),
			    DSVM_CONTRACT(cpu_writes_wait_until_the_end),
			    DSVM_CONTRACT(pinned_page_stays),
			    DSVM_CONTRACT(locked_page_stays),
			    DSVM_CONTRACT(isolated_page_stays),
			    DSVM_CONTRACT(holes_are_collected_whatever_is_selected),
			    DSVM_CONTRACT(hole_is_filled_only_while_it_is_one),
			    DSVM_CONTRACT(zero_page_is_a_hole),
			    DSVM_CONTRACT(holes_of_shared_memory_stay),
			    DSVM_CONTRACT(shared_memory_does_not_move),
			    DSVM_CONTRACT(select_is_obeyed),
			    DSVM_CONTRACT(folio_mapped_by_pages_by_kernel),
			    DSVM_CONTRACT(huge_mapping_by_kernel),
			    DSVM_CONTRACT(zero_filled_pages_by_kernel),
			    DSVM_CONTRACT(pinned_folio_is_not_split),
			    DSVM_CONTRACT(folio_pinned_while_it_is_split),
			    DSVM_CONTRACT(reference_between_the_phases_stops_it),
			    DSVM_CONTRACT(device_page_may_have_one_reference_too_many_at_first),
			    DSVM_CONTRACT(page_in_swap_cache_moves_when_swap_lets_go),
			    DSVM_CONTRACT(events_have_the_owner),
			    DSVM_CONTRACT(eviction_is_seen_as_clear),
			    DSVM_CONTRACT(eviction_and_faults_lose_nothing),
			    DSVM_CONTRACT(device_page_is_shared_by_fork),
			    DSVM_CONTRACT(zapped_on_its_way),
			    DSVM_CONTRACT(device_page_is_freed_in_atomic_context),
			    DSVM_CONTRACT(fault_page_by_kernel),
			    DSVM_CONTRACT(what_is_known_of_the_data_moves_along),
		    });
}

} // namespace dsvm::sim
