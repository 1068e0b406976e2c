// SPDX-License-Identifier: GPL-2.0-only OR MIT
//
// Migration: what a driver must do with phases, pages and references, and what happens if not.

#include "core/migrate/entry.h"
#include "tests/host/simmm/contract_tests.h"
#include "tests/host/simmm/scene.h"

namespace dsvm::sim {

namespace {

bool happened;

bool arguments_are_checked()
{
	return Scene()
		.prepare([] {
			map_written(0, 1);
			map(4, 4, VmaKind::kSpecial);
			to_device(1, 1, 0);
		})
		.thread([] {
			dsvm_os_mm_read_lock(to_os(process()));
			Moving special{4, 4};
			check(dsvm_os_migrate_setup(&special.span) == -DSVM_EINVAL, "special");
			Moving beyond{1, 2};
			check(dsvm_os_migrate_setup(&beyond.span) == -DSVM_EINVAL,
			      "beyond the VMA");
			Moving unlocked{1, 1, DSVM_MIGRATE_DEVICE};
			unlocked.span.fault_page = to_os(page_at(1));
			check(dsvm_os_migrate_setup(&unlocked.span) == -DSVM_EINVAL, "fault page");
			Moving ram{0, 0};
			ram.span.fault_page = to_os(page_at(0));
			check(dsvm_os_migrate_setup(&ram.span) == -DSVM_EINVAL,
			      "RAM as fault page");
			dsvm_os_mm_read_unlock(to_os(process()));
		})
		.holds();
}

bool migration_without_end_is_found()
{
	return Scene()
		.prepare([] { map_written(0, 0); })
		.thread([] {
			dsvm_os_mm_read_lock(to_os(process()));
			Moving moving{0, 0};
			dsvm_os_migrate_setup(&moving.span);
			dsvm_os_migrate_setup(&moving.span);
		})
		.breaks("the phases of a migration are out of order");
}

bool migration_without_lock_is_found()
{
	return Scene()
		.prepare([] { map_written(0, 0); })
		.thread([] {
			Moving moving{0, 0};
			dsvm_os_migrate_setup(&moving.span);
		})
		.breaks("a lock is not held that has to be");
}

bool entry_after_the_end_is_found()
{
	return Scene()
		.prepare([] { map_written(0, 0); })
		.thread([] {
			dsvm_os_mm_read_lock(to_os(process()));
			Moving moving{0, 0};
			dsvm_os_migrate_setup(&moving.span);
			const usize entry = moving.src[0];
			dsvm_os_migrate_pages(&moving.span);
			dsvm_os_migrate_finalize(&moving.span);
			dsvm_os_mm_read_unlock(to_os(process()));
			dsvm_migrate_entry decoded;
			dsvm_os_migrate_decode(entry, &decoded);
		})
		.breaks("an entry of a migration is read after its end");
}

// What a thread does to the destinations before the second phase.
bool bad_destination(void (*spoil)(Moving &))
{
	return Scene()
		.prepare([] { map_written(0, 1); })
		.thread([=] {
			dsvm_os_mm_read_lock(to_os(process()));
			Moving moving{0, 1};
			dsvm_os_migrate_setup(&moving.span);
			moving.give_device(0, 0);
			moving.give_device(1, 1);
			spoil(moving);
			dsvm_os_migrate_pages(&moving.span);
		})
		.breaks("a page is no destination for a migration");
}

bool bad_destinations_are_found()
{
	return bad_destination([](Moving &moving) { moving.dst[1] = moving.dst[0]; }) &&
	       bad_destination([](Moving &moving) {
		       machine().unlock_page(from_os(dsvm_os_migrate_page(moving.dst[0])));
	       }) &&
	       bad_destination([](Moving &moving) {
		       dsvm_os_page_discard(dsvm_os_migrate_page(moving.dst[0]));
	       }) &&
	       bad_destination(
		       [](Moving &moving) { from_os(dsvm_os_migrate_page(moving.dst[0])).dma++; });
}

// A page that somebody held on to after its data had gone is found by an eviction.
bool data_moved_twice_are_found()
{
	return Scene()
		.prepare([] { map_written(0, 0); })
		.thread([] {
			to_device(0, 0, 0);
			Page &page = page_at(0);
			machine().get_page(page);
			page.spent = true; // as if somebody had kept it, and lets go too late
			Moving moving{Frames{0, 1}};
			dsvm_os_migrate_device_setup(&moving.span);
			moving.give_ram(0);
			machine().put_page(page);
			dsvm_os_migrate_device_pages(&moving.span);
		})
		.breaks("data are moved again that have gone");
}

bool retiring_what_stays_is_found()
{
	return Scene()
		.prepare([] { map_written(0, 0); })
		.thread([] {
			to_device(0, 0, 0);
			machine().lock_page(page_at(0));
			const usize entry = make_entry(kDevicePfn, 0);
			dsvm_os_entries_retire(&entry, 1);
		})
		.breaks("a page is retired that must not be");
}

bool frame_in_use_is_found()
{
	return Scene()
		.prepare([] { map_written(0, 0); })
		.thread([] {
			to_device(0, 0, 0);
			static_cast<void>(
				dsvm_os_page_init_device(kDevicePfn, to_os(allocation()), 0));
		})
		.breaks("a device page is taken that is in use");
}

// Kernel: the comment in rmap_walk_anon_lock(): whoever holds no mmap lock has to have a
// reference to the anon_vma; migrate_device_range() takes none, and munmap() ends it.
bool eviction_against_munmap_is_found()
{
	return Scene()
		.prepare([] {
			map_written(0, 0);
			to_device(0, 0, 0);
			check(dsvm_os_mm_get(to_os(process())), "the mm has gone");
		})
		.thread([] {
			evict({0, 1});
		})
		.thread([] { machine().munmap(process(), at(0), end_of(0)); })
		.may_break("page tables are walked that may have gone");
}

// The page's owner exits; nobody has kept it.
bool eviction_without_owner_is_found()
{
	return Scene()
		.prepare([] {
			map_written(0, 0);
			to_device(0, 0, 0);
		})
		.thread([] {
			evict({0, 1});
		})
		.thread([] { machine().exit(process()); })
		.may_break("page tables are walked that may have gone");
}

bool eviction_with_owner_is_safe()
{
	return Scene()
		.prepare([] {
			map_written(0, 0);
			to_device(0, 0, 0);
			check(dsvm_os_mm_get(to_os(process())), "the mm has gone");
		})
		.thread([] {
			evict({0, 1});
			dsvm_os_mm_put_async(to_os(process()));
		})
		.thread([] { machine().exit(process()); })
		.holds([] { return process().torn_down && allocation().refs == 1; });
}

bool one_fault_at_a_time_enters()
{
	static u32 inside;

	return Scene()
		.prepare([] {
			map_written(0, 0);
			to_device(0, 0, 0);
			inside = 0;
			happened = false;
		})
		.thread([] {
			if (!dsvm_os_page_enter(to_os(page_at(0))))
				return;
			check(inside++ == 0, "two are in");
			scheduler().relax();
			inside--;
			dsvm_os_page_leave(to_os(page_at(0)));
		})
		.thread([] {
			happened = !dsvm_os_page_enter(to_os(page_at(0)));
			if (happened)
				return;
			check(inside++ == 0, "two are in");
			scheduler().relax();
			inside--;
			dsvm_os_page_leave(to_os(page_at(0)));
		})
		.may(happened);
}

} // namespace

void add_protocol_contracts(std::vector<Contract> &list)
{
	list.insert(list.end(), {
					DSVM_CONTRACT(arguments_are_checked),
					DSVM_CONTRACT(migration_without_end_is_found),
					DSVM_CONTRACT(migration_without_lock_is_found),
					DSVM_CONTRACT(entry_after_the_end_is_found),
					DSVM_CONTRACT(bad_destinations_are_found),
					DSVM_CONTRACT(data_moved_twice_are_found),
					DSVM_CONTRACT(retiring_what_stays_is_found),
					DSVM_CONTRACT(frame_in_use_is_found),
					DSVM_CONTRACT(eviction_against_munmap_is_found),
					DSVM_CONTRACT(eviction_without_owner_is_found),
					DSVM_CONTRACT(eviction_with_owner_is_safe),
					DSVM_CONTRACT(one_fault_at_a_time_enters),
				});
}

} // namespace dsvm::sim
