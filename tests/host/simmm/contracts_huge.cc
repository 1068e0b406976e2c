// SPDX-License-Identifier: GPL-2.0-only OR MIT
//
// Huge pages on their way to a device and back (kernel: mm/migrate_device.c and
// mm/huge_memory.c of 7.3; the kernels before split them).

#include "tests/host/simmm/contract_tests.h"
#include "tests/host/simmm/scene.h"

namespace dsvm::sim {

namespace {

constexpr u32 kSystem = DSVM_MIGRATE_SYSTEM | DSVM_MIGRATE_HUGE;
constexpr u32 kDevice = DSVM_MIGRATE_DEVICE | DSVM_MIGRATE_HUGE;
constexpr u32 kOrder = 3; // of the scene's machine
constexpr u32 kPages = 1u << kOrder;

bool happened;

// Under the mm's lock: the block at page 0, with a destination that `give` makes.
template <class Give>
bool move_block(u32 select, Give give, Page *fault_page = nullptr, Mm &mm = process())
{
	Moving moving{0, kPages - 1, select, mm};

	moving.span.fault_page = fault_page != nullptr ? to_os(*fault_page) : nullptr;
	check(dsvm_os_migrate_setup(&moving.span) == 0, "setup");
	give(moving);
	dsvm_os_migrate_pages(&moving.span);
	const bool moved = moving.moves(0);
	if (moved && (select & DSVM_MIGRATE_DEVICE) != 0)
		dsvm_os_entries_retire(moving.src, 1);
	dsvm_os_migrate_finalize(&moving.span);
	return moved;
}

void block_to_device()
{
	scheduler().read_lock(process().lock);
	check(move_block(kSystem, [](Moving &moving) { moving.give_device(0, 0, kOrder); }),
	      "the block stays");
	scheduler().read_unlock(process().lock);
}

FaultResult bring_block_back(CpuFault &fault)
{
	check(fault.order == kOrder, "it came by another entry");
	// Another fault may have a reference, or have been here before.
	static_cast<void>(move_block(
		kDevice,
		[](Moving &moving) {
			dsvm_migrate_entry entry;

			dsvm_os_migrate_decode(moving.src[0], &entry);
			if (entry.moves && entry.page != nullptr && !entry.retired)
				moving.give_ram(0, kOrder);
		},
		&fault.page, fault.mm));
	return FaultResult::kDone;
}

void huge_in_device()
{
	map_huge(0);
	block_to_device();
	machine().migrate_to_ram = bring_block_back;
}

bool block_is_readable()
{
	for (u32 i = 0; i < kPages; i++)
		read(i);
	return true;
}

bool order_by_kernel()
{
	return on_each_kernel([](const Kernel &kernel) {
		return Scene(kernel)
			.prepare([] { map_huge(0); })
			.thread([] {
				const bool moves = machine().kernel().moves_huge_pages;

				check(dsvm_os_huge_order() == (moves ? kOrder : 0), "order");
				dsvm_os_mm_read_lock(to_os(process()));
				Moving moving{0, kPages - 1, kSystem};
				check(dsvm_os_migrate_setup(&moving.span) == 0, "setup");
				check(moving.order(0) == dsvm_os_huge_order(), "another one");
				check((moving.page(1) == nullptr) == moves, "the entry behind it");
				dsvm_os_migrate_pages(&moving.span);
				dsvm_os_migrate_finalize(&moving.span);
				dsvm_os_mm_read_unlock(to_os(process()));
				check(machine().is_huge(process(), 0) == moves, "it is mapped so");
			})
			.holds(block_is_readable);
	});
}

bool moves_as_one()
{
	return Scene()
		.prepare(huge_in_device)
		.thread([] {
			check(machine().is_huge(process(), 0) && pte(5).kind == PteKind::kDevice &&
				      page_at(0).order == kOrder && allocation().refs == 2,
			      "it is not one folio");
			read(3);
			check(machine().is_huge(process(), 0) && pte(5).kind == PteKind::kPresent &&
				      allocation().refs == 1,
			      "it does not come back as one");
		})
		.holds(block_is_readable);
}

bool faults_on_one_huge_page()
{
	return Scene()
		.prepare(huge_in_device)
		.thread([] { write(1, 5); })
		.thread([] { write(6, 7); })
		.holds(block_is_readable);
}

// Kernel: migrate_vma_collect_hole(): pmd_none(), so not where a page table has been left.
bool hole_is_one_entry()
{
	static bool table;

	for (const bool left : {false, true}) {
		table = left;
		const bool fine =
			Scene().prepare([] {
				       map(0, kPages - 1);
				       machine().migrate_to_ram = bring_block_back;
				       if (!table)
					       return;
				       write(0, 1);
				       machine().madvise_dontneed(process(), at(0), end_of(0));
			       })
				.thread([] {
					dsvm_os_mm_read_lock(to_os(process()));
					const bool moved = move_block(kSystem, [](Moving &moving) {
						check(moving.order(0) == (table ? 0 : kOrder),
						      "order %u", moving.order(0));
						if (!table)
							moving.give_device(0, 0, kOrder);
					});
					dsvm_os_mm_read_unlock(to_os(process()));
					check(moved != table, "%s",
					      moved ? "it moves" : "it stays");
				})
				.holds([] {
					return machine().is_huge(process(), 0) != table &&
					       block_is_readable();
				});
		if (!fine)
			return false;
	}
	return true;
}

bool huge_hole_is_filled_only_while_it_is_one()
{
	return Scene()
		.prepare([] {
			map(0, kPages - 1);
			machine().migrate_to_ram = bring_block_back;
			happened = false;
		})
		.thread([] {
			dsvm_os_mm_read_lock(to_os(process()));
			happened = !move_block(kSystem, [](Moving &moving) {
				if (moving.order(0) != 0)
					moving.give_device(0, 0, kOrder);
			});
			dsvm_os_mm_read_unlock(to_os(process()));
		})
		.thread([] { write(4, 9); })
		.may(happened);
}

// Kernel: migrate_vma_insert_page() for all of them, once the first one has a destination.
bool part_of_a_huge_hole_is_found()
{
	return Scene()
		.prepare([] { map(0, kPages - 1); })
		.thread([] {
			dsvm_os_mm_read_lock(to_os(process()));
			move_block(kSystem, [](Moving &moving) { moving.give_device(0, 0); });
		})
		.breaks("a part of a huge hole has no destination");
}

// Kernel: migrate_vma_split_unmapped_folio() and a child that has the page mapped as well.
bool small_destinations_are_found()
{
	return Scene()
		.prepare([] { map_huge(0); })
		.thread([] {
			dsvm_os_mm_read_lock(to_os(process()));
			move_block(kSystem, [](Moving &moving) {
				for (u32 i = 0; i < kPages; i++)
					moving.give_device(i, i);
			});
		})
		.breaks("a huge page that is on its way is split");
}

bool huge_destination_for_small_pages_is_found()
{
	return Scene()
		.prepare([] { map_written(0, kPages - 1); })
		.thread([] {
			dsvm_os_mm_read_lock(to_os(process()));
			move_block(kSystem,
				   [](Moving &moving) { moving.give_device(0, 0, kOrder); });
		})
		.breaks("a huge page goes where single pages are");
}

// In a CPU fault, a small destination leaves the page where it is, mapped page by page; the next
// fault comes for one of these and splits the folio.
bool small_destination_in_a_fault()
{
	return Scene()
		.prepare([] {
			huge_in_device();
			machine().migrate_to_ram = [](CpuFault &fault) {
				const u32 index = machine().index_of(fault.addr);

				if (fault.order == 0) {
					to_ram(fault.mm, index, index, &fault.page);
					return FaultResult::kDone;
				}
				const bool moved = move_block(
					kDevice, [](Moving &moving) { moving.give_ram(0); },
					&fault.page);
				check(!moved && !machine().is_huge(fault.mm, 0) &&
					      page_at(0).order == kOrder,
				      "it is split, or moves");
				return FaultResult::kDone;
			};
		})
		.thread([] {
			read(5);
			check(pte(5).kind == PteKind::kPresent && pte(4).kind == PteKind::kDevice &&
				      page_at(4).order == 0 && allocation().refs == kPages,
			      "the folio is not split");
		})
		.holds(block_is_readable);
}

// Kernel: __split_huge_pmd() of a device's entry leaves the folio; the frames of what has gone
// come back when that is split.
bool unmapping_a_part_splits_the_mapping()
{
	static u32 freed;

	return Scene()
		.prepare([] {
			huge_in_device();
			freed = 0;
			allocation().freed = [](Zdd &, u32, u32 npages) {
				freed += npages;
			};
			machine().migrate_to_ram = nullptr;
		})
		.thread([] {
			machine().munmap(process(), at(2), end_of(3));
			check(!machine().is_huge(process(), 0) && page_at(0).order == kOrder &&
				      freed == 0,
			      "the folio is split");
			// Collecting one page of it, without HUGE, does that.
			dsvm_os_mm_read_lock(to_os(process()));
			Moving moving{4, 4, DSVM_MIGRATE_DEVICE};
			check(dsvm_os_migrate_setup(&moving.span) == 0 && moving.order(0) == 0,
			      "setup");
			check(freed == 2 && allocation().refs == 1 + kPages - 2, "%u frames",
			      freed);
			dsvm_os_migrate_pages(&moving.span);
			dsvm_os_migrate_finalize(&moving.span);
			dsvm_os_mm_read_unlock(to_os(process()));
		})
		.holds([] { return page_at(0).order == 0; });
}

bool fork_shares_it()
{
	static Mm *child;

	return Scene()
		.prepare([] {
			huge_in_device();
			child = machine().fork(process());
			check(machine().is_huge(*child, 0) && !pte(0).write, "not shared");
		})
		.thread([] { write(2, 12); })
		.thread([] {
			u64 value = 0;
			check(machine().load(*child, at(2), &value) == Access::kDone &&
				      value == value_of(2),
			      "the child sees something else");
		})
		.holds();
}

bool forked_and_zapped_on_its_way()
{
	return Scene()
		.prepare([] { map_huge(0); })
		.thread([] {
			scheduler().read_lock(process().lock);
			move_block(kSystem, [](Moving &moving) {
				if (moving.moves(0) && moving.order(0) != 0)
					moving.give_device(0, 0, kOrder);
			});
			scheduler().read_unlock(process().lock);
		})
		.thread([] { machine().fork(process()); })
		.thread([] { machine().madvise_dontneed(process(), at(6), end_of(7)); })
		.holds();
}

bool moved_as_one_by_mremap()
{
	return Scene()
		.prepare(huge_in_device)
		.thread([] {
			check(machine().mremap(process(), at(0), end_of(kPages - 1),
					       at(2 * kPages)) == 0,
			      "mremap");
			check(machine().is_huge(process(), 2 * kPages) &&
				      pte(2 * kPages).kind == PteKind::kDevice,
			      "it is not huge any more");
		})
		.holds();
}

// Kernel: migrate_device_pfns().
bool evicted_by_all_of_its_frames()
{
	return Scene()
		.prepare(huge_in_device)
		.thread([] {
			// Not from the middle on, and not a part.
			for (const Frames part : {Frames{1, kPages - 1}, Frames{0, kPages - 1}}) {
				Moving moving{part};
				check(dsvm_os_migrate_device_setup(&moving.span) == 0, "setup");
				check(!moving.moves(0) && moving.page(0) == nullptr, "a part");
				dsvm_os_migrate_device_pages(&moving.span);
				dsvm_os_migrate_device_finalize(&moving.span);
			}
			Moving moving{Frames{0, kPages}};
			check(dsvm_os_migrate_device_setup(&moving.span) == 0, "setup");
			check(moving.moves(0) && moving.order(0) == kOrder, "it stays");
			moving.give_ram(0, kOrder);
			dsvm_os_migrate_device_pages(&moving.span);
			check(moving.moves(0), "it does not move");
			dsvm_os_entries_retire(moving.src, 1);
			dsvm_os_migrate_device_finalize(&moving.span);
		})
		.holds([] {
			return machine().is_huge(process(), 0) &&
			       pte(0).kind == PteKind::kPresent && block_is_readable();
		});
}

bool evicted_page_by_page_stays()
{
	return Scene()
		.prepare(huge_in_device)
		.thread([] {
			Moving moving{Frames{0, kPages}};
			check(dsvm_os_migrate_device_setup(&moving.span) == 0, "setup");
			moving.give_ram(0);
			dsvm_os_migrate_device_pages(&moving.span);
			check(!moving.moves(0), "it moves");
			dsvm_os_migrate_device_finalize(&moving.span);
		})
		.holds([] {
			return machine().is_huge(process(), 0) && pte(0).kind == PteKind::kDevice;
		});
}

} // namespace

void add_huge_contracts(std::vector<Contract> &list)
{
	list.insert(list.end(), {
					DSVM_CONTRACT(order_by_kernel),
					DSVM_CONTRACT(moves_as_one),
					DSVM_CONTRACT(faults_on_one_huge_page),
					DSVM_CONTRACT(hole_is_one_entry),
					DSVM_CONTRACT(huge_hole_is_filled_only_while_it_is_one),
					DSVM_CONTRACT(part_of_a_huge_hole_is_found),
					DSVM_CONTRACT(small_destinations_are_found),
					DSVM_CONTRACT(huge_destination_for_small_pages_is_found),
					DSVM_CONTRACT(small_destination_in_a_fault),
					DSVM_CONTRACT(unmapping_a_part_splits_the_mapping),
					DSVM_CONTRACT(fork_shares_it),
					DSVM_CONTRACT(forked_and_zapped_on_its_way),
					DSVM_CONTRACT(moved_as_one_by_mremap),
					DSVM_CONTRACT(evicted_by_all_of_its_frames),
					DSVM_CONTRACT(evicted_page_by_page_stays),
				});
}

} // namespace dsvm::sim
