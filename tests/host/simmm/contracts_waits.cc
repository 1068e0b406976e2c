// SPDX-License-Identifier: GPL-2.0-only OR MIT
//
// Who waits for whom while pages move: VMAs that are kept without the mm's lock, CPU faults in a
// timeslice, copies that go on, work that is shared. And toys of a migration engine that do not
// wait where they have to.

#include "core/migrate/entry.h"
#include "tests/host/simmm/contract_tests.h"
#include "tests/host/simmm/scene.h"

#include <new>

namespace dsvm::sim {

namespace {

bool happened, over;

// Kept VMAs ---------------------------------------------------------------------------

dsvm_os_vma *vma_at(u32 page)
{
	return to_os(*machine().find_vma(process(), at(page)));
}

// Keeps the VMA while `body` runs without the mm's lock. False: it cannot be kept.
template <class Body> bool keep_vma(u32 page, Body body)
{
	dsvm_os_mm_read_lock(to_os(process()));
	const bool there = machine().find_vma(process(), at(page)) != nullptr;
	dsvm_os_vma *const vma = there ? vma_at(page) : nullptr;
	const bool kept = there && dsvm_os_vma_pin(vma);
	dsvm_os_mm_read_unlock(to_os(process()));
	if (!kept)
		return false;
	body();
	dsvm_os_vma_unpin(vma);
	return true;
}

bool pins_by_kernel()
{
	return on_each_kernel([](const Kernel &kernel) {
		return Scene(kernel)
			.prepare([] { map_written(0, 3); })
			.thread([] {
				const bool kept = keep_vma(0, [] {});
				check(kept == machine().kernel().pins_vmas, "kept: %d", kept);
			})
			.holds();
	});
}

void change_nothing() {}

// Whoever changes a VMA comes after whoever keeps it.
bool waits_for_pin(void (*change)(), void (*prepare)() = change_nothing)
{
	static void (*the_change)(), (*the_preparation)();
	static bool inside;

	the_change = change;
	the_preparation = prepare;
	return Scene()
		.prepare([] {
			map_written(0, 3);
			the_preparation();
			inside = happened = false;
		})
		.thread([] {
			keep_vma(1, [] {
				inside = true;
				const Vma before = *machine().find_vma(process(), at(1));
				scheduler().relax();
				scheduler().relax();
				const Vma *const now = machine().find_vma(process(), at(1));
				check(now != nullptr && now->first == before.first &&
					      now->last == before.last &&
					      now->write == before.write,
				      "the VMA has changed");
				inside = false;
			});
		})
		.thread([] {
			happened = inside;
			the_change();
			check(!happened || !inside, "it does not wait");
		})
		.may(happened);
}

bool changes_wait_for_pins()
{
	return waits_for_pin([] { machine().munmap(process(), at(1), end_of(2)); }) &&
	       waits_for_pin(
		       [] { machine().mprotect(process(), at(0), end_of(1), true, false); }) &&
	       waits_for_pin([] { machine().mremap(process(), at(0), end_of(3), at(8)); }) &&
	       waits_for_pin([] { machine().fork(process()); });
}

// Not so what changes page tables only.
bool dontneed_does_not_wait_for_a_pin()
{
	static bool inside;

	return Scene()
		.prepare([] {
			map_written(0, 3);
			inside = happened = false;
		})
		.thread([] {
			keep_vma(1, [] {
				inside = true;
				scheduler().relax();
				inside = false;
			});
		})
		.thread([] {
			machine().madvise_dontneed(process(), at(1), end_of(2));
			happened = inside;
		})
		.may(happened);
}

bool waiting_for_the_lock_with_a_pin_is_found()
{
	return Scene()
		.prepare([] { map_written(0, 0); })
		.thread([] {
			keep_vma(0, [] {
				if (dsvm_os_mm_read_trylock(to_os(process())))
					dsvm_os_mm_read_unlock(to_os(process()));
				dsvm_os_mm_read_lock(to_os(process()));
			});
		})
		.breaks("waits for an mm's lock while it keeps a VMA");
}

bool pin_without_lock_is_found()
{
	return Scene()
		.prepare([] { map_written(0, 0); })
		.thread([] { static_cast<void>(dsvm_os_vma_pin(vma_at(0))); })
		.breaks("a lock is not held that has to be");
}

bool pin_is_as_good_as_the_lock()
{
	return Scene()
		.prepare([] { map_written(0, 1); })
		.thread([] {
			dsvm_os_mm_read_lock(to_os(process()));
			Moving moving{0, 0};
			check(dsvm_os_migrate_setup(&moving.span) == 0, "setup");
			const bool kept = dsvm_os_vma_pin(moving.span.vma);
			if (kept)
				dsvm_os_mm_read_unlock(to_os(process()));
			moving.give_device(0, 0);
			dsvm_os_migrate_pages(&moving.span);
			dsvm_os_migrate_finalize(&moving.span);
			if (kept)
				dsvm_os_vma_unpin(moving.span.vma);
			else
				dsvm_os_mm_read_unlock(to_os(process()));
		})
		.thread([] { machine().munmap(process(), at(1), end_of(1)); })
		.holds();
}

// Timeslices ------------------------------------------------------------------------------

constexpr u64 kLong = 3000000000;

// A CPU fault that waits for the end of the page's timeslice.
void page_with_timeslice()
{
	map_written(0, 0);
	to_device(0, 0, 0);
	happened = over = false;
	allocation().timeslice_end_ns = scheduler().now_ns() + kLong;
	machine().migrate_to_ram = [](CpuFault &fault) {
		const u64 now = scheduler().now_ns(), end = allocation().timeslice_end_ns;

		if (end > now && dsvm_os_fault_wait(to_os(fault), end - now)) {
			check(!scheduler().holds(fault.mm.lock), "the mm is locked");
			return FaultResult::kRetry;
		}
		to_ram(fault.mm, 0, 0, &fault.page);
		return FaultResult::kDone;
	};
}

bool fault_waits_without_the_lock()
{
	return on_each_kernel([](const Kernel &kernel) {
		return Scene(kernel)
			.prepare(page_with_timeslice)
			.thread([] {
				const u64 end = allocation().timeslice_end_ns;
				read(0);
				check(scheduler().now_ns() >= end, "it does not wait");
				over = true;
			})
			.thread([] {
				// A writer gets in meanwhile, and nothing else keeps it out.
				map(4, 4);
				happened = !over;
			})
			.holds();
	});
}

bool eviction_ends_a_timeslice()
{
	return Scene()
		.prepare(page_with_timeslice)
		.thread([] { read(0); })
		.thread([] {
			const u64 start = scheduler().now_ns();

			dsvm_os_zdd_end_timeslice(to_os(allocation()));
			for (u32 tries = 0; tries < 20 && pte(0).kind != PteKind::kPresent;
			     tries++) {
				evict({0, 1});
				scheduler().relax();
			}
			check(scheduler().now_ns() - start < kLong, "it has taken all of it");
		})
		.holds([] { return pte(0).kind == PteKind::kPresent; });
}

// hmm_range_fault() and others do not say FAULT_FLAG_ALLOW_RETRY.
bool fault_waits_under_the_lock_of_others()
{
	return Scene()
		.prepare(page_with_timeslice)
		.thread([] {
			scheduler().read_lock(process().lock);
			check(machine().fault(process(), at(0), false) == Access::kDone, "fault");
			check(scheduler().holds(process().lock), "the lock has gone");
			scheduler().read_unlock(process().lock);
		})
		.holds([] { return pte(0).kind == PteKind::kPresent; });
}

// Devices -----------------------------------------------------------------------------------

bool frames_are_free_before_the_zdd_is()
{
	static u32 freed;

	return Scene()
		.prepare([] {
			map_written(0, 1);
			to_device(0, 1, 0);
			freed = 0;
			allocation().freed = [](Zdd &zdd, u32 first, u32 npages) {
				check(machine().page(first).refs == 0 && npages == 1, "in use");
				check(zdd.refs > 1, "its zdd is gone");
				freed++;
			};
		})
		.thread([] { machine().munmap(process(), at(0), end_of(1)); })
		.holds([] { return freed == 2 && allocation().refs == 1; });
}

bool frame_looks_do_not_last()
{
	return Scene()
		.prepare([] {
			map_written(0, 0);
			to_device(0, 0, 0);
		})
		.thread([] {
			dsvm_os_zdd *const zdd = to_os(allocation());
			check(dsvm_os_frame_in_use(kDevicePfn, zdd) &&
				      !dsvm_os_frame_in_use(kDevicePfn + 1, zdd) &&
				      dsvm_os_frame_order(kDevicePfn) == 0,
			      "frames");
			machine().munmap(process(), at(0), end_of(0));
			check(!dsvm_os_frame_in_use(kDevicePfn, zdd), "still in use");
		})
		.holds();
}

bool zdds_are_found_one_by_one()
{
	return Scene()
		.prepare([] { provider().zdds = &allocation(); })
		.thread([] {
			dsvm_os_zdd *zdd = dsvm_os_provider_next_zdd(to_os(provider()), nullptr);
			check(zdd == to_os(allocation()) && allocation().refs == 2,
			      "the first one");
			zdd = dsvm_os_provider_next_zdd(to_os(provider()), zdd);
			check(zdd == nullptr && allocation().refs == 1, "there is another one");
		})
		.holds();
}

bool reserve_is_there_once()
{
	static char memory[1];

	return Scene().prepare([] { provider().reserve = memory; })
		       .thread([] {
			       void *const mine = dsvm_os_provider_take_reserve(to_os(provider()));
			       check(mine == memory, "it is not there");
			       check(dsvm_os_provider_take_reserve(to_os(provider())) == nullptr,
				     "it is there twice");
			       dsvm_os_provider_give_reserve(to_os(provider()), mine);
		       })
		       .holds() &&
	       Scene().thread([] { dsvm_os_provider_give_reserve(to_os(provider()), memory); })
		       .breaks("what is not the reserve is given back");
}

bool spare_memory_is_there_once()
{
	static char memory[1];

	return Scene().prepare([] { provider().spare = memory; })
		       .thread([] {
			       void *const mine = dsvm_os_provider_take_spare(to_os(provider()));
			       check(mine == memory, "it is not there");
			       check(dsvm_os_provider_take_spare(to_os(provider())) == nullptr,
				     "it is there twice");
			       dsvm_os_provider_give_spare(to_os(provider()), mine);
		       })
		       .holds() &&
	       Scene().thread([] { dsvm_os_provider_give_spare(to_os(provider()), memory); })
		       .breaks("what is not the spare memory is given back");
}

bool one_who_only_reads_a_peer()
{
	return Scene()
		.prepare([] {
			map_written(0, 0);
			to_device(0, 0, 0);
			provider().barred = &device();
		})
		.thread([] {
			dsvm_dma_addr addr;
			dsvm_os_page *const page = to_os(page_at(0));
			check(dsvm_os_provider_map(to_os(provider()), to_os(device()), page, 0,
						   DSVM_DMA_FROM_DEVICE, &addr) == -DSVM_EFAULT,
			      "it may write");
			check(dsvm_os_provider_map(to_os(provider()), to_os(device()), page, 0,
						   DSVM_DMA_TO_DEVICE, &addr) == 0,
			      "it may not read");
			dsvm_os_provider_unmap(to_os(provider()), to_os(device()), &addr);
		})
		.holds();
}

// A split leaves nobody in the folio, or in what becomes of it.
bool nobody_is_in_a_folio_that_is_split()
{
	return Scene()
		.prepare([] {
			map_huge(0);
			dsvm_os_mm_read_lock(to_os(process()));
			Moving moving{0, 7, DSVM_MIGRATE_SYSTEM | DSVM_MIGRATE_HUGE};
			dsvm_os_migrate_setup(&moving.span);
			moving.give_device(0, 0, 3);
			dsvm_os_migrate_pages(&moving.span);
			dsvm_os_migrate_finalize(&moving.span);
			dsvm_os_mm_read_unlock(to_os(process()));
			machine().split_huge(process(), at(0), false);
			machine().migrate_to_ram = [](CpuFault &fault) {
				const u32 index = machine().index_of(fault.addr);

				check(dsvm_os_page_enter(to_os(fault.page)), "somebody is in");
				to_ram(fault.mm, index, index, &fault.page);
				dsvm_os_page_leave(to_os(fault.page));
				return FaultResult::kDone;
			};
		})
		.thread([] {
			read(5);
			read(0);
			read(6);
		})
		.holds();
}

// Shared work ---------------------------------------------------------------------------------

bool work_is_shared_and_all_done()
{
	static u32 done[20], killed;

	return Scene()
		.prepare([] {
			for (u32 &count : done)
				count = 0;
			killed = 0;
		})
		.thread([] {
			scheduler().kill(scheduler().running());
			dsvm_os_parallel(
				[](void *, dsvm_u32 k) {
					scheduler().relax();
					killed += dsvm_os_killed();
					done[k]++;
				},
				nullptr, 20);
			for (const u32 count : done)
				check(count == 1, "%u times", count);
			check(killed == 20, "%u know that we are killed", killed);
		})
		.holds();
}

// Toys ------------------------------------------------------------------------------------------

enum class Flaw { kNone, kNoWait, kNoUnmap };
Flaw flaw;

struct Transfer {
	Page *from;
	Page *to;
	Fence *fence;
};
Transfer transfer;

// An engine that takes its time, like the driver's.
void start_copy(Page &from, Page &to)
{
	void *const memory = machine().alloc(sizeof(Fence));

	transfer = {&from, &to, new (memory) Fence};
	scheduler().spawn(
		"engine",
		[](void *) {
			scheduler().relax();
			transfer.to->content = transfer.from->content;
			transfer.fence->signalled = true;
		},
		nullptr);
}

// Page 0 goes to the device by that engine.
void toy_to_device()
{
	dsvm_dma_addr addr;

	dsvm_os_mm_read_lock(to_os(process()));
	Moving moving{0, 0};
	check(dsvm_os_migrate_setup(&moving.span) == 0, "setup");
	Page &from = from_os(moving.page(0));
	dsvm_os_page *const to = dsvm_os_page_init_device(kDevicePfn, to_os(allocation()), 0);
	moving.dst[0] = make_entry(kDevicePfn, 0);
	check(dsvm_os_dma_map(to_os(device()), to_os(from), 0, DSVM_DMA_TO_DEVICE, &addr) == 0,
	      "dma_map");
	start_copy(from, from_os(to));
	if (flaw != Flaw::kNoWait)
		check(dsvm_os_fence_wait(to_os(*transfer.fence)) == 0, "copy");
	if (flaw != Flaw::kNoUnmap)
		dsvm_os_dma_unmap(to_os(device()), &addr);
	dsvm_os_migrate_pages(&moving.span);
	dsvm_os_migrate_finalize(&moving.span);
	dsvm_os_mm_read_unlock(to_os(process()));
}

Scene toy(Flaw which)
{
	flaw = which;
	return Scene()
		.prepare([] { map_written(0, 0); })
		.thread([] { toy_to_device(); })
		.thread([] {
			scheduler().wait_until("the toy",
					       [] { return pte(0).kind == PteKind::kDevice; });
			read(0);
		});
}

bool engine_that_waits_is_fine()
{
	return toy(Flaw::kNone).holds();
}

bool engine_that_does_not_wait_is_found()
{
	return toy(Flaw::kNoWait).may_break("a read does not give what was written");
}

bool engine_that_leaves_mappings_is_found()
{
	return toy(Flaw::kNoUnmap).breaks("a page is freed that is mapped for DMA");
}

} // namespace

void add_wait_contracts(std::vector<Contract> &list)
{
	list.insert(list.end(), {
					DSVM_CONTRACT(pins_by_kernel),
					DSVM_CONTRACT(changes_wait_for_pins),
					DSVM_CONTRACT(dontneed_does_not_wait_for_a_pin),
					DSVM_CONTRACT(waiting_for_the_lock_with_a_pin_is_found),
					DSVM_CONTRACT(pin_without_lock_is_found),
					DSVM_CONTRACT(pin_is_as_good_as_the_lock),
					DSVM_CONTRACT(fault_waits_without_the_lock),
					DSVM_CONTRACT(eviction_ends_a_timeslice),
					DSVM_CONTRACT(fault_waits_under_the_lock_of_others),
					DSVM_CONTRACT(frames_are_free_before_the_zdd_is),
					DSVM_CONTRACT(frame_looks_do_not_last),
					DSVM_CONTRACT(zdds_are_found_one_by_one),
					DSVM_CONTRACT(reserve_is_there_once),
					DSVM_CONTRACT(spare_memory_is_there_once),
					DSVM_CONTRACT(one_who_only_reads_a_peer),
					DSVM_CONTRACT(nobody_is_in_a_folio_that_is_split),
					DSVM_CONTRACT(work_is_shared_and_all_done),
					DSVM_CONTRACT(engine_that_waits_is_fine),
					DSVM_CONTRACT(engine_that_does_not_wait_is_found),
					DSVM_CONTRACT(engine_that_leaves_mappings_is_found),
				});
}

} // namespace dsvm::sim
