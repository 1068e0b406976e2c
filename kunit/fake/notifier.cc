// SPDX-License-Identifier: GPL-2.0-only OR MIT
//
// os.h on the fake machine: interval notifiers, and the invalidations that they hear of.
//
// Sequence numbers are the kernel's: one counter an address space, odd while an invalidation
// runs that somebody hears of, so that invalidations that overlap in time share one.

#include "kunit/fake/state.h"

namespace dsvm::fake {
namespace {

bool is_running(const Mm &mm)
{
	return (mm.seq & 1) != 0;
}

bool hears_of(const Notifier &notifier, const Event &event)
{
	return notifier.in_use && !notifier.deferred && notifier.mm == event.mm &&
	       notifier.first <= event.last && notifier.last >= event.first;
}

// Another CPU ends the invalidation that has published `seq`, in the hook of the call, or nobody
// ever does.
void wait_for(const Notifier &notifier, usize seq)
{
	if (is_running(*notifier.mm) && notifier.mm->seq == seq)
		dsvm_env_violation("an invalidation is waited for that nobody ends");
}

} // namespace

dsvm_os_notifier *World::add_notifier(Mm &mm, usize first, usize last, Invalidate callback,
				      void *arg, Finish finish, const dsvm_os_rwsem *lock)
{
	for (Notifier &notifier : state_->notifiers) {
		if (notifier.in_use)
			continue;
		notifier = {};
		notifier.mm = &mm;
		notifier.first = first;
		notifier.last = last;
		notifier.in_use = true;
		notifier.invalidate = callback;
		notifier.finish = finish;
		notifier.arg = arg;
		notifier.lock = lock;
		// Whoever collects is to wait for an invalidation that runs now, since this
		// notifier may not have heard of it.
		notifier.deferred = is_running(mm);
		if (mm.active > 0)
			mm.seq |= 1;
		notifier.seq = mm.active > 0 ? mm.seq : mm.seq - 1;
		return to_os(&notifier);
	}
	dsvm_env_violation("no notifier left");
	return nullptr;
}

Event *World::free_event()
{
	for (Event &event : state_->events) {
		if (!event.in_use)
			return &event;
	}
	dsvm_env_violation("too many invalidations at once");
	return &state_->events[0];
}

// One pass over all of them, and a second one over those that want it.
void World::call_notifiers(Event &event)
{
	u32 unfinished = 0;

	for (u32 i = 0; i < kNotifiers; i++) {
		Notifier &notifier = state_->notifiers[i];

		if (!hears_of(notifier, event))
			continue;
		if (notifier.invalidate == nullptr) {
			notifier.seq = event.seq;
			continue;
		}
		if (notifier.invalidate(*this, to_os(&notifier), event, notifier.arg))
			unfinished |= 1u << i;
		if (notifier.seq != event.seq)
			dsvm_env_violation("an invalidation did not publish its sequence");
	}
	if (unfinished != 0 && !event.deferrable)
		dsvm_env_violation("an invalidation left for later that cannot be");
	static_cast<void>(enter(Call::kInvalidateStarted));
	for (u32 i = 0; i < kNotifiers; i++) {
		Notifier &notifier = state_->notifiers[i];

		if ((unfinished >> i & 1) != 0)
			notifier.finish(*this, to_os(&notifier), event, notifier.arg);
	}
}

Event &World::begin_event(Mm &mm, usize first, usize last, bool unmap)
{
	Event &event = *free_event();
	bool heard = false;

	event = {&mm, first, last, 0, true, unmap, true, state_->two_passes};
	mm.active++;
	for (const Notifier &notifier : state_->notifiers)
		heard = heard || hears_of(notifier, event);
	if (heard)
		mm.seq |= 1;
	event.seq = mm.seq;
	for (Collection &collection : state_->collections) {
		if (collection.mm == &mm && collection.first <= last && collection.last >= first)
			collection.stale = true;
	}
	call_notifiers(event);
	return event;
}

void World::end_event(Event &event)
{
	Mm &mm = *event.mm;

	if (!event.in_use)
		dsvm_env_violation("an invalidation ends twice");
	event.in_use = false;
	if (--mm.active != 0 || !is_running(mm))
		return;
	mm.seq++;
	for (Notifier &notifier : state_->notifiers) {
		if (notifier.mm == &mm)
			notifier.deferred = false;
	}
}

void World::invalidate(Mm &mm, usize first, usize last)
{
	end_event(begin_event(mm, first, last));
}

bool World::is_invalidating(const Mm &mm, usize first, usize last) const
{
	for (const Event &event : state_->events) {
		if (event.in_use && event.mm == &mm && event.first <= last && event.last >= first)
			return true;
	}
	return false;
}

usize World::awaited_seq() const
{
	return state_->awaited_seq;
}

void World::set_awaited_seq(usize seq)
{
	state_->awaited_seq = seq;
}

void World::set_two_passes(bool two_passes)
{
	state_->two_passes = two_passes;
}

} // namespace dsvm::fake

using namespace dsvm;
using fake::Call;
using fake::from_os;
using fake::World;

// Models mmu_interval_read_begin(): waits for an invalidation that is under way, so
// it sleeps, and the sequence it returns is not being invalidated.
dsvm_usize dsvm_os_notifier_read_begin(dsvm_os_notifier *notifier)
{
	World::current().set_awaited_seq(from_os(notifier)->seq);
	static_cast<void>(World::current().enter(Call::kNotifierReadBegin));
	if (fake::holds_notifier_lock())
		dsvm_env_violation("mmu_interval_read_begin() under the notifier lock");
	fake::wait_for(*from_os(notifier), from_os(notifier)->seq);
	return from_os(notifier)->seq;
}

// Models mmu_interval_read_retry(): equal sequences mean that nothing has come between.
dsvm_bool dsvm_os_notifier_read_retry(dsvm_os_notifier *notifier, dsvm_usize seq)
{
	const int injected = World::current().enter(Call::kNotifierReadRetry);

	return injected != 0 || from_os(notifier)->seq != seq;
}

// Models a look at interval_sub->invalidate_seq.
dsvm_usize dsvm_os_notifier_seq(dsvm_os_notifier *notifier)
{
	static_cast<void>(World::current().enter(Call::kNotifierSeq));
	if (!fake::holds_lock_of(*from_os(notifier)))
		dsvm_env_violation("a notifier's sequence read without its lock");
	return from_os(notifier)->seq;
}

// Models mmu_interval_set_seq(): inside the callback, under the driver's lock.
void dsvm_os_notifier_set_seq(dsvm_os_notifier *notifier, dsvm_usize seq)
{
	if (!fake::holds_lock_of(*from_os(notifier)))
		dsvm_env_violation("mmu_interval_set_seq() without the notifier lock");
	from_os(notifier)->seq = seq;
}

void dsvm_os_notifier_copy_seq(dsvm_os_notifier *to, dsvm_os_notifier *from)
{
	dsvm_os_notifier_set_seq(to, dsvm_os_notifier_seq(from));
}

// Models mmu_interval_notifier_remove(): waits for callbacks, so no lock that they
// take may be held; and for the end of what runs, unless it has not heard of anything.
void dsvm_os_notifier_remove(dsvm_os_notifier *notifier)
{
	fake::Notifier &n = *from_os(notifier);

	static_cast<void>(World::current().enter(Call::kNotifierRemove));
	if (fake::holds_notifier_lock())
		dsvm_env_violation("mmu_interval_notifier_remove() under the notifier lock");
	if (!n.in_use)
		dsvm_env_violation("a notifier removed twice");
	if (!n.deferred)
		fake::wait_for(n, n.mm->seq);
	n.in_use = false;
}
