// SPDX-License-Identifier: GPL-2.0-only OR MIT
//
// Locks, contexts, notifiers, DMA; the list of all contracts.

#include "tests/host/simmm/contract_tests.h"

#include "tests/host/simmm/scene.h"

namespace dsvm::sim {

namespace {

Rwsem outer{"outer", LockRank::kRange};
Rwsem inner{"inner", LockRank::kFolio};
bool happened;

void reset_locks()
{
	outer = Rwsem{"outer", LockRank::kUnranked};
	inner = Rwsem{"inner", LockRank::kUnranked};
	happened = false;
}

// Kernel: Documentation/locking/locktypes.rst, rw_semaphore.
bool waiting_writer_keeps_readers_out()
{
	static bool reads;

	return Scene()
		.prepare([] {
			reset_locks();
			reads = false;
		})
		.thread([] {
			scheduler().read_lock(outer);
			reads = true;
			scheduler().wait_until("the writer",
					       [] { return outer.waiting_writers != 0; });
			check(!scheduler().try_read_lock(outer), "a reader overtakes a writer");
			scheduler().read_unlock(outer);
		})
		.thread([] {
			scheduler().wait_until("the reader", [] { return reads; });
			scheduler().write_lock(outer);
			check(outer.readers == 0, "a writer is not alone");
			scheduler().write_unlock(outer);
		})
		.thread([] {
			const u32 waiting = outer.waiting_writers;

			scheduler().read_lock(outer);
			check(waiting == 0 || outer.waiting_writers == 0,
			      "a reader overtakes a writer");
			scheduler().read_unlock(outer);
		})
		.holds();
}

bool lock_taken_twice_is_found()
{
	return Scene()
		.prepare(reset_locks)
		.thread([] {
			dsvm_os_read_lock(to_os(outer));
			dsvm_os_read_lock(to_os(outer));
		})
		.breaks("a lock is taken twice");
}

bool deadlock_is_found()
{
	return Scene()
		.prepare(reset_locks)
		.thread([] {
			scheduler().write_lock(outer);
			scheduler().write_lock(inner);
			scheduler().write_unlock(inner);
			scheduler().write_unlock(outer);
		})
		.thread([] {
			scheduler().write_lock(inner);
			scheduler().write_lock(outer);
			scheduler().write_unlock(outer);
			scheduler().write_unlock(inner);
		})
		.may_break("deadlock: nobody can go on");
}

bool wrong_order_is_found()
{
	return Scene()
		.thread([] {
			dsvm_os_write_lock(to_os(listener().lock));
			dsvm_os_mm_read_lock(to_os(process()));
		})
		.breaks("locks are taken against their order");
}

bool kept_lock_is_found()
{
	return Scene()
		.thread([] { dsvm_os_read_lock(to_os(listener().lock)); })
		.breaks("a lock is kept");
}

bool missing_lock_is_found()
{
	return Scene().thread([] { dsvm_os_assert_held(to_os(listener().lock)); })
		       .breaks("a lock is not held that has to be") &&
	       Scene().thread([] {
			      dsvm_os_read_lock(to_os(listener().lock));
			      dsvm_os_assert_held_write(to_os(listener().lock));
		      })
		       .breaks("a lock is not held that has to be");
}

bool sleep_in_atomic_is_found()
{
	return Scene()
		.thread([] {
			Scheduler::Atomic atomic{"a page-table lock"};
			dsvm_os_relax();
		})
		.breaks("sleeps where it must not");
}

// Kernel: Documentation/core-api/memory-allocation.rst, GFP_KERNEL and reclaim.
bool memory_under_notifier_lock_is_found()
{
	return Scene()
		.thread([] {
			dsvm_os_write_lock(to_os(listener().lock));
			dsvm_os_free(dsvm_os_alloc(8));
		})
		.breaks("memory is asked for where reclaim may wait for it");
}

bool vmas_without_lock_are_found()
{
	return Scene()
		.prepare([] { map(0, 3); })
		.thread([] {
			dsvm_vma_info info;
			static_cast<void>(dsvm_os_vma_at(to_os(process()), at(0), &info));
		})
		.breaks("VMAs are looked at without the mm's lock");
}

bool kept_mm_outlives_its_process()
{
	return Scene()
		.prepare([] { map_written(0, 0); })
		.thread([] {
			if (!dsvm_os_mm_get(to_os(process())))
				return;
			scheduler().relax();
			check(pte(0).kind == PteKind::kPresent, "it has been torn down");
			dsvm_os_mm_put_async(to_os(process()));
		})
		.thread([] { machine().exit(process()); })
		.holds([] { return process().torn_down && process().kept == 0; });
}

// Notifiers -------------------------------------------------------------------

// Kernel: mm/mmu_notifier.c, mmu_interval_read_begin().
bool read_begin_waits_for_an_invalidation()
{
	static bool runs;

	return Scene()
		.prepare([] {
			runs = happened = false;
			listener().insert();
		})
		.thread([] {
			const Invalidation event{process(), at(0), end_of(0), Event::kClear};
			runs = true;
			scheduler().relax();
			runs = false;
		})
		.thread([] {
			happened = runs;
			const usize seq = dsvm_os_notifier_read_begin(to_os(listener().notifier));
			check(!runs || seq != process().invalidate_seq, "it does not wait");
		})
		.may(happened);
}

bool read_retry_sees_an_invalidation()
{
	return Scene()
		.prepare([] { listener().insert(); })
		.thread([] {
			Notifier &notifier = listener().notifier;
			const usize seq = dsvm_os_notifier_read_begin(to_os(notifier));

			check(!dsvm_os_notifier_read_retry(to_os(notifier), seq), "too early");
			{
				const Invalidation event{process(), at(0), end_of(0),
							 Event::kClear};
			}
			check(dsvm_os_notifier_read_retry(to_os(notifier), seq), "not noticed");
		})
		.holds();
}

bool event_elsewhere_changes_nothing()
{
	return Scene()
		.prepare([] {
			check(machine().notifier_insert(listener().notifier, process(), at(8),
							end_of(15)) == 0,
			      "insert");
		})
		.thread([] {
			Notifier &notifier = listener().notifier;
			const usize seq = dsvm_os_notifier_read_begin(to_os(notifier));
			{
				const Invalidation event{process(), at(0), end_of(7),
							 Event::kClear};
			}
			check(!dsvm_os_notifier_read_retry(to_os(notifier), seq),
			      "a retry for nothing");
		})
		.holds([] { return listener().count(Event::kClear) == 0; });
}

// Kernel: mm/mmu_notifier.c, mn_itree_inv_end(): it is not told of what runs already, and who
// reads it waits for the end of that.
bool insert_during_an_invalidation_is_deferred()
{
	static bool runs;
	static Notifier other;

	return Scene()
		.prepare([] {
			runs = happened = false;
			other = Notifier{};
			other.invalidate = [](Notifier &notifier, const EventRange &, usize seq) {
				machine().notifier_set_seq(notifier, seq);
				runs = true;
				scheduler().relax();
				return true;
			};
			check(machine().notifier_insert(other, process(), at(0), end_of(0)) == 0,
			      "insert");
		})
		.thread([] {
			{
				const Invalidation event{process(), at(0), end_of(0),
							 Event::kClear};
				scheduler().relax();
			}
			runs = false;
		})
		.thread([] {
			const usize before = process().invalidate_seq;
			const bool during = runs;

			listener().insert();
			happened = during && runs && process().invalidate_seq == before;
			static_cast<void>(dsvm_os_notifier_read_begin(to_os(listener().notifier)));
			check(!happened || process().invalidate_seq != before,
			      "read_begin does not wait");
			check(!happened || listener().count(Event::kClear) == 0, "it is told");
		})
		.may(happened);
}

// Kernel: mmu_interval_notifier_remove(): no callback runs after it has returned.
bool nothing_is_called_after_remove()
{
	static bool removed;
	static u32 calls;

	return Scene()
		.prepare([] {
			removed = false;
			listener().insert();
		})
		.thread([] {
			const Invalidation event{process(), at(0), end_of(0), Event::kClear};
			scheduler().relax();
		})
		.thread([] {
			listener().remove();
			removed = true;
			calls = listener().count(Event::kClear);
			check(listener().notifier.callbacks == 0, "a callback runs");
		})
		.holds([] { return removed && listener().count(Event::kClear) == calls; });
}

// Kernel: mn_itree_invalidate(): a notifier that cannot wait refuses, and there is no end to
// be told; later readers must not wait for it.
bool refusal_ends_the_event()
{
	return Scene()
		.prepare([] {
			listener().insert();
			listener().refuses = true;
		})
		.thread([] {
			const Invalidation event{process(),	at(0),	 end_of(0),
						 Event::kUnmap, nullptr, false};
			check(!event.started(), "it was not refused");
			static_cast<void>(dsvm_os_notifier_read_begin(to_os(listener().notifier)));
		})
		.holds([] { return process().active_invalidations == 0; });
}

bool waiting_in_a_notifier_that_must_not_is_found()
{
	return Scene()
		.prepare([] {
			listener().notifier.invalidate = [](Notifier &, const EventRange &, usize) {
				dsvm_os_relax();
				return true;
			};
			listener().insert();
		})
		.thread([] {
			const Invalidation event{process(),	at(0),	 end_of(0),
						 Event::kUnmap, nullptr, false};
		})
		.breaks("sleeps where it must not");
}

bool memory_in_a_notifier_is_found()
{
	return Scene()
		.prepare([] {
			listener().notifier.invalidate = [](Notifier &, const EventRange &, usize) {
				dsvm_os_free(dsvm_os_alloc(8));
				return true;
			};
			listener().insert();
		})
		.thread([] {
			const Invalidation event{process(), at(0), end_of(0), Event::kUnmap};
		})
		.breaks("memory is asked for where reclaim may wait for it");
}

// DMA -------------------------------------------------------------------------

bool dma_counts_mappings()
{
	return Scene()
		.prepare([] { map_huge(0); })
		.thread([] {
			dsvm_dma_addr addr;
			const int ret = dsvm_os_dma_map(to_os(device()), to_os(page_at(0)),
							machine().geometry().huge_order,
							DSVM_DMA_BIDIRECTIONAL, &addr);
			check(ret == 0 && page_at(7).dma == 1, "a folio is not mapped whole");
			dsvm_os_dma_unmap(to_os(device()), &addr);
		})
		.holds([] { return page_at(7).dma == 0 && device().mappings == 0; });
}

bool dma_has_a_largest_size()
{
	return Scene()
		.prepare([] {
			map_huge(0);
			device().max_order = 1;
		})
		.thread([] {
			dsvm_dma_addr addr;
			const int ret = dsvm_os_dma_map(to_os(device()), to_os(page_at(0)), 2,
							DSVM_DMA_TO_DEVICE, &addr);
			check(ret == -DSVM_EFAULT, "%d", ret);
		})
		.holds([] { return device().mappings == 0; });
}

bool dma_across_folios_is_found()
{
	return Scene()
		.prepare([] { map_written(0, 1); })
		.thread([] {
			dsvm_dma_addr addr;
			static_cast<void>(dsvm_os_dma_map(to_os(device()), to_os(page_at(0)), 1,
							  DSVM_DMA_TO_DEVICE, &addr));
		})
		.breaks("pages are mapped in one go that do not belong together");
}

bool page_freed_under_dma_is_found()
{
	return Scene()
		.prepare([] { map_written(0, 0); })
		.thread([] {
			dsvm_dma_addr addr;
			static_cast<void>(dsvm_os_dma_map(to_os(device()), to_os(page_at(0)), 0,
							  DSVM_DMA_TO_DEVICE, &addr));
			machine().munmap(process(), at(0), end_of(0));
		})
		.breaks("a page is freed that is mapped for DMA");
}

bool unmapping_twice_is_found()
{
	return Scene()
		.prepare([] { map_written(0, 0); })
		.thread([] {
			dsvm_dma_addr addr;
			static_cast<void>(dsvm_os_dma_map(to_os(device()), to_os(page_at(0)), 0,
							  DSVM_DMA_TO_DEVICE, &addr));
			dsvm_os_dma_unmap(to_os(device()), &addr);
			dsvm_os_dma_unmap(to_os(device()), &addr);
		})
		.breaks("what is not mapped for DMA is taken for mapped");
}

// Kernel: 7.3's dma_map_page() refuses ZONE_DEVICE pages with a warning.
bool device_page_as_ram_is_found()
{
	return Scene()
		.prepare([] { map_written(0, 0); })
		.thread([] {
			dsvm_dma_addr addr;
			to_device(0, 0, 0);
			static_cast<void>(dsvm_os_dma_map(to_os(device()), to_os(page_at(0)), 0,
							  DSVM_DMA_TO_DEVICE, &addr));
		})
		.breaks("a device page is mapped as if it were RAM");
}

bool provider_maps_its_own_pages()
{
	return Scene()
		.prepare([] { map_written(0, 0); })
		.thread([] {
			dsvm_dma_addr addr;
			to_device(0, 0, 5);
			const int ret = dsvm_os_provider_map(to_os(provider()), to_os(device()),
							     to_os(page_at(0)), 0,
							     DSVM_DMA_BIDIRECTIONAL, &addr);
			check(ret == 0 && addr.proto == DSVM_PROTO_DRIVER, "%d", ret);
			check(page_of_dma(addr.addr) == pte(0).page, "another page");
			dsvm_os_provider_unmap(to_os(provider()), to_os(device()), &addr);
		})
		.holds([] { return device().mappings == 0; });
}

} // namespace

void add_lock_contracts(std::vector<Contract> &list)
{
	list.insert(list.end(), {
					DSVM_CONTRACT(waiting_writer_keeps_readers_out),
					DSVM_CONTRACT(lock_taken_twice_is_found),
					DSVM_CONTRACT(deadlock_is_found),
					DSVM_CONTRACT(wrong_order_is_found),
					DSVM_CONTRACT(kept_lock_is_found),
					DSVM_CONTRACT(missing_lock_is_found),
					DSVM_CONTRACT(sleep_in_atomic_is_found),
					DSVM_CONTRACT(memory_under_notifier_lock_is_found),
					DSVM_CONTRACT(vmas_without_lock_are_found),
					DSVM_CONTRACT(kept_mm_outlives_its_process),
					DSVM_CONTRACT(read_begin_waits_for_an_invalidation),
					DSVM_CONTRACT(read_retry_sees_an_invalidation),
					DSVM_CONTRACT(event_elsewhere_changes_nothing),
					DSVM_CONTRACT(insert_during_an_invalidation_is_deferred),
					DSVM_CONTRACT(nothing_is_called_after_remove),
					DSVM_CONTRACT(refusal_ends_the_event),
					DSVM_CONTRACT(waiting_in_a_notifier_that_must_not_is_found),
					DSVM_CONTRACT(memory_in_a_notifier_is_found),
					DSVM_CONTRACT(dma_counts_mappings),
					DSVM_CONTRACT(dma_has_a_largest_size),
					DSVM_CONTRACT(dma_across_folios_is_found),
					DSVM_CONTRACT(page_freed_under_dma_is_found),
					DSVM_CONTRACT(unmapping_twice_is_found),
					DSVM_CONTRACT(device_page_as_ram_is_found),
					DSVM_CONTRACT(provider_maps_its_own_pages),
				});
}

const std::vector<Contract> &contracts()
{
	static const std::vector<Contract> list = [] {
		std::vector<Contract> all;

		add_lock_contracts(all);
		add_mm_contracts(all);
		add_hmm_contracts(all);
		add_migrate_contracts(all);
		add_huge_contracts(all);
		add_wait_contracts(all);
		add_protocol_contracts(all);
		add_notifier_contracts(all);
		add_dma_contracts(all);
		add_gpu_contracts(all);
		return all;
	}();

	return list;
}

} // namespace dsvm::sim
