// SPDX-License-Identifier: GPL-2.0-only OR MIT
//
// os.h on the fake machine: copies that are waited for, VMAs that are pinned, faults that
// sleep, workers, and what a provider keeps.
//
// A copy is done when somebody waits for it, and not before: who maps the pages without
// having waited shows what was there before.

#include "kunit/fake/state.h"

namespace dsvm::fake {

dsvm_os_fence *World::begin_fence()
{
	for (dsvm_os_fence &fence : state_->fences) {
		if (!fence.in_use) {
			fence.in_use = true;
			fence.count = 0;
			return &fence;
		}
	}
	dsvm_env_violation("too many copies at once");
	return &state_->fences[0];
}

void World::add_to_fence(dsvm_os_fence *fence, const CopyStep &step)
{
	if (fence->count == kFenceSteps)
		dsvm_env_violation("a copy of too many pages");
	else
		fence->steps[fence->count++] = step;
}

u32 World::fences() const
{
	u32 count = 0;

	for (const dsvm_os_fence &fence : state_->fences)
		count += fence.in_use;
	return count;
}

// A copy engine reaches the other side only through addresses that are mapped for it.
void World::copy_page(const CopyStep &step)
{
	if (step.page->refs == 0)
		dsvm_env_violation("a free device page copied, from or to");
	if (step.addr.dir == 0) {
		step.page->content = 0;
		return;
	}
	Page *const other = page_of_dma(step.addr.addr);

	if ((other->dma == 0 && !is_direct_addr(step.addr.addr)) || other->refs == 0)
		dsvm_env_violation("the copy engine reads or writes unmapped memory");
	if (step.addr.dir != (step.to_ram ? DSVM_DMA_FROM_DEVICE : DSVM_DMA_TO_DEVICE))
		dsvm_env_violation("a copy against the direction of a mapping");
	if (is_ram(other) != (step.addr.proto == DSVM_PROTO_SYSTEM))
		dsvm_env_violation("an address of the wrong kind of memory");
	if (is_ram(other) != (step.target == nullptr) ||
	    (step.target != nullptr && other->zdd != from_os(step.target->zdd)))
		dsvm_env_violation("a copy to another target than is said");
	if (step.to_ram)
		other->content = step.page->content;
	else
		step.page->content = other->content;
}

void World::set_vma_pins(bool on)
{
	state_->vma_pins = on;
}

bool World::has_vma_pins() const
{
	return state_->vma_pins;
}

u32 World::vma_pins() const
{
	u32 count = 0;

	for (const Mm &mm : state_->mms) {
		for (const Vma &vma : mm.vmas)
			count += vma.pins;
	}
	return count;
}

// The kernel would wait here, and there is nobody else who could end that.
void World::check_pins(const Mm &mm, usize first, usize last, const char *what)
{
	for (const Vma &vma : mm.vmas) {
		if (vma.in_use && vma.pins != 0 && vma.first <= last && vma.last >= first)
			dsvm_env_violation("a VMA %s that is pinned", what);
	}
}

dsvm_migrate_counters &World::counters(u32 provider)
{
	return state_->providers[provider].counters;
}

Traces &World::traces()
{
	return state_->traces;
}

void World::set_lends(bool lends)
{
	for (dsvm_os_provider &provider : state_->providers)
		provider.lends = lends;
}

} // namespace dsvm::fake

using namespace dsvm;
using fake::Call;
using fake::from_os;
using fake::to_os;
using fake::World;

// Models dma_fence_wait(), a look at the fence's error, and dma_fence_put().
int dsvm_os_fence_wait(dsvm_os_fence *fence)
{
	World &world = World::current();
	const int injected = world.enter(Call::kFenceWait);

	if (fake::holds_notifier_lock())
		dsvm_env_violation("a copy is waited for under the notifier lock");
	if (!fence->in_use)
		dsvm_env_violation("a copy waited for twice");
	for (u32 i = 0; injected == 0 && i < fence->count; i++)
		world.copy_page(fence->steps[i]);
	fence->in_use = false;
	return injected;
}

// Models vma_start_read_locked().
dsvm_bool dsvm_os_vma_pin(dsvm_os_vma *vma)
{
	World &world = World::current();
	const int injected = world.enter(Call::kVmaPin);

	if (!from_os(vma)->in_use)
		dsvm_env_violation("a VMA pinned that has gone");
	dsvm_os_assert_held(fake::mm_of(vma).lock);
	if (injected != 0 || !world.has_vma_pins())
		return false;
	from_os(vma)->pins++;
	return true;
}

// Models vma_end_read().
void dsvm_os_vma_unpin(dsvm_os_vma *vma)
{
	static_cast<void>(World::current().enter(Call::kVmaUnpin));
	if (from_os(vma)->pins == 0)
		dsvm_env_violation("a VMA unpinned that is not pinned");
	else
		from_os(vma)->pins--;
}

// Models what folio_lock_or_retry() does: the lock is given up where the fault may begin again.
dsvm_bool dsvm_os_fault_wait(dsvm_os_fault *fault, dsvm_u64 ns)
{
	World &world = World::current();

	dsvm_os_assert_held(fault->mm->lock);
	if (fault->no_wait) {
		static_cast<void>(world.enter(Call::kFaultWait));
		return true;
	}
	world.unlock_folio(fault->page);
	static_cast<void>(world.enter(Call::kFaultWait));
	fault->waited_ns += ns;
	dsvm_env_advance_ns(ns);
	world.lock_folio(fault->page);
	if (!fault->may_drop)
		return false;
	fault->has_dropped = true;
	dsvm_os_mm_read_unlock(reinterpret_cast<dsvm_os_mm *>(fault->mm));
	return true;
}

// Models a workqueue that has one thread: one after the other.
void dsvm_os_parallel(void (*fn)(void *ctx, dsvm_u32 k), void *ctx, dsvm_u32 n)
{
	static_cast<void>(World::current().enter(Call::kParallel));
	if (dsvm_env_rank_held() >= to_underlying(LockRank::kMmap))
		dsvm_env_violation("workers waited for with a lock that they may want");
	for (u32 k = 0; k < n; k++)
		fn(ctx, k);
}

dsvm_bool dsvm_os_traces_migrate(void)
{
	return !World::current().traces().off;
}

void dsvm_os_trace_migrate(const dsvm_migrate_event *event)
{
	fake::Traces &traces = World::current().traces();

	if (traces.count < fake::kTraces)
		traces.events[traces.count] = *event;
	traces.count++;
}

const dsvm_devmem *dsvm_os_zdd_devmem(dsvm_os_zdd *zdd)
{
	if (from_os(zdd)->refs == 0)
		dsvm_env_violation("the allocation behind a dead zdd");
	return from_os(zdd)->devmem;
}

// Models kref_read().
dsvm_bool dsvm_os_zdd_is_unused(dsvm_os_zdd *zdd)
{
	if (from_os(zdd)->refs == 0)
		dsvm_env_violation("the references of a dead zdd");
	return from_os(zdd)->refs == 1;
}

// Models the end of the allocation's timeslice, and a wake-up.
void dsvm_os_zdd_end_timeslice(dsvm_os_zdd *zdd)
{
	static_cast<void>(World::current().enter(Call::kEndTimeslice));
	if (from_os(zdd)->refs == 0)
		dsvm_env_violation("the timeslice of a dead zdd");
	from_os(zdd)->timeslice_is_over = true;
}

dsvm_os_mm *dsvm_os_zdd_mm(dsvm_os_zdd *zdd)
{
	if (from_os(zdd)->refs == 0)
		dsvm_env_violation("the address space behind a dead zdd");
	return reinterpret_cast<dsvm_os_mm *>(from_os(zdd)->mm);
}

// Models a walk of the provider's list under its lock.
dsvm_os_zdd *dsvm_os_provider_next_zdd(dsvm_os_provider *provider, dsvm_os_zdd *zdd)
{
	World &world = World::current();

	static_cast<void>(world.enter(Call::kNextZdd));
	fake::Zdd *const next = world.next_zdd(provider, from_os(zdd));
	if (next != nullptr)
		next->refs++;
	if (zdd != nullptr)
		world.zdd_put(from_os(zdd));
	return next != nullptr ? to_os(next) : nullptr;
}

// Models cmpxchg() of a pointer. What is in the memory is what its last user has left.
void *dsvm_os_provider_take_reserve(dsvm_os_provider *provider)
{
	if (World::current().enter(Call::kTakeReserve) != 0 || provider->reserve_is_taken)
		return nullptr;
	provider->reserve_is_taken = true;
	for (u8 &byte : provider->reserve)
		byte = 0xa5;
	return provider->reserve;
}

void dsvm_os_provider_give_reserve(dsvm_os_provider *provider, void *memory)
{
	if (!provider->reserve_is_taken || memory != provider->reserve)
		dsvm_env_violation("a reserve given back that is not out");
	provider->reserve_is_taken = false;
}

// The same. There is none in a machine that does not lend.
void *dsvm_os_provider_take_spare(dsvm_os_provider *provider)
{
	if (!provider->lends || provider->spare_is_taken)
		return nullptr;
	provider->spare_is_taken = true;
	return provider->spare;
}

void dsvm_os_provider_give_spare(dsvm_os_provider *provider, void *memory)
{
	if (!provider->spare_is_taken || memory != provider->spare)
		dsvm_env_violation("spare memory given back that is not out");
	provider->spare_is_taken = false;
}
