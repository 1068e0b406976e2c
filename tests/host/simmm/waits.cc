// SPDX-License-Identifier: GPL-2.0-only OR MIT
//
// drm_svm/os.h on the machine: waits for a copy, for the end of a timeslice, for others that
// share the work; and what is only told.

#include "tests/host/simmm/os.h"

using namespace dsvm;
using namespace dsvm::sim;

// Kernel: dma_fence_wait(), not interruptible, then dma_fence_put().
int dsvm_os_fence_wait(dsvm_os_fence *handle)
{
	Fence &fence = from_os(handle);

	no_notifier_lock("a copy's end");
	machine().moves.free_waits +=
		machine().has_pinned_any() && !scheduler().holds_rank(LockRank::kMmap);
	if (!fence.signalled && fence.push != nullptr)
		fence.push();
	scheduler().wait_until("a copy's end", [&] { return fence.signalled; });
	const int error = fence.error;
	machine().free(&fence);
	return error;
}

// Kernel: a fault that may be retried gives the mm's lock up, as in __folio_lock_or_retry(). The
// page's lock is given up by all, so that an eviction is not kept out (src/linux/pagemap_zdd.c).
dsvm_bool dsvm_os_fault_wait(dsvm_os_fault *handle, dsvm_u64 ns)
{
	Machine &m = machine();
	CpuFault &fault = from_os(handle);
	const bool locked = m.kernel().locks_fault_page;
	const Zdd *const zdd = m.folio_of(fault.page).zdd;

	scheduler().may_sleep("the end of a timeslice");
	if (m.has_active_spans())
		scheduler().fail("waits while pages are on their way", "for a timeslice, %lu us",
				 static_cast<usize>(ns / 1000));
	if (locked)
		m.unlock_page(fault.page);
	if (fault.may_unlock) {
		scheduler().read_unlock(fault.mm.lock);
		fault.has_unlocked = true;
	}
	scheduler().sleep(ns, [&] { return zdd->timeslice_end_ns <= scheduler().now_ns(); });
	if (locked)
		m.lock_page(fault.page);
	return fault.may_unlock;
}

// Kernel: an unbound workqueue. Where no virtual CPU is free, the caller does the work.
void dsvm_os_parallel(void (*fn)(void *ctx, dsvm_u32 k), void *ctx, dsvm_u32 n)
{
	struct Part {
		void (*fn)(void *ctx, dsvm_u32 k);
		void *ctx;
		u32 k;
		bool *done;
	};
	constexpr u32 kMaxParts = 16;
	Part parts[kMaxParts];
	bool done[kMaxParts] = {};
	u32 count = 0;

	scheduler().may_sleep("work that is shared");
	machine().no_pinned_vma("work is shared");
	for (u32 k = 1; k < n && k < kMaxParts && scheduler().in_fiber(); k++) {
		parts[k] = {fn, ctx, k, &done[k]};
		const u32 fiber = scheduler().spawn(
			"migrate",
			[](void *arg) {
				const Part part = *static_cast<Part *>(arg);
				part.fn(part.ctx, part.k);
				*part.done = true;
			},
			&parts[k]);
		if (fiber == kNobody)
			break;
		scheduler().works_for_us(fiber);
		count = k;
	}
	fn(ctx, 0);
	for (u32 k = count + 1; k < n; k++)
		fn(ctx, k);
	scheduler().wait_until("work that is shared", [&] {
		for (u32 k = 1; k <= count; k++) {
			if (!done[k])
				return false;
		}
		return true;
	});
}

dsvm_bool dsvm_os_traces_migrate(void)
{
	return true;
}

// What is told has to make sense.
void dsvm_os_trace_migrate(const dsvm_migrate_event *event)
{
	if (event->devmem == nullptr || event->way >= DSVM_WAYS || event->npages == 0 ||
	    event->count > event->npages || event->status > 0)
		scheduler().fail("a phase of a migration is told of wrongly",
				 "way %u, phase %u: %lu of %lu pages, %d",
				 static_cast<u32>(event->way), static_cast<u32>(event->phase),
				 static_cast<usize>(event->count),
				 static_cast<usize>(event->npages), event->status);
	scheduler().note("way %u, phase %u: %lu of %lu pages, %d", static_cast<u32>(event->way),
			 static_cast<u32>(event->phase), static_cast<usize>(event->count),
			 static_cast<usize>(event->npages), event->status);
}
