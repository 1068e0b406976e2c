// SPDX-License-Identifier: GPL-2.0-only OR MIT
//
// Interval notifiers (kernel: mm/mmu_notifier.c, Documentation/mm/hmm.rst).
//
// The sequence of an address space is odd while an invalidation runs that meets any
// notifier, and even otherwise; it goes up when the last such invalidation has ended.
// A notifier's own sequence is the one that its driver has published last, under the
// driver's lock, inside the callback. Thus:
//
//	read_begin	the notifier's sequence; if that is the one of an invalidation that
//			runs now, waits for its end first
//	read_retry	whether the notifier's sequence has changed since
//
// An event has two passes where the kernel has them and the notifier wants them: each notifier
// is told that it begins, then each of those that asked for it that it has to be finished, in
// the same order, and only then does the first page table entry change.
//
// While an invalidation runs, insertions and removals are put off to its end.

#include "tests/host/simmm/machine.h"

namespace dsvm::sim {

namespace {

bool is_invalidating(const Mm &mm)
{
	return (mm.invalidate_seq & 1) != 0;
}

bool meets(const Notifier &notifier, const EventRange &range)
{
	return notifier.state != Notifier::State::kOff &&
	       notifier.state != Notifier::State::kPending && notifier.mm == range.mm &&
	       notifier.first <= range.last && range.first <= notifier.last;
}

} // namespace

const char *name_of(Event event)
{
	static const char *const names[] = {"unmap",	       "clear",	     "protection_vma",
					    "protection_page", "soft_dirty", "release",
					    "migrate",	       "exclusive"};
	static_assert(sizeof(names) / sizeof(names[0]) == static_cast<usize>(Event::kCount));

	return names[static_cast<usize>(event)];
}

bool Machine::invalidate_start(const EventRange &range)
{
	Scheduler &sched = scheduler();
	Mm &mm = *range.mm;
	bool refused = false;

	if (range.blockable)
		sched.may_sleep("mmu_notifier_invalidate_range_start");
	sched.point(Point::kNotifier);

	mm.active_invalidations++;
	bool any = false;
	for (Notifier *notifier : notifiers_)
		any = any || (notifier != nullptr && meets(*notifier, range));
	if (!any)
		return true;

	mm.invalidate_seq |= 1;
	const usize seq = mm.invalidate_seq;
	Finish *passes = nullptr;
	sched.note("%s [%u, %u] of mm %u", name_of(range.event),
		   range.first < kVaBase ? 0 : index_of(range.first),
		   range.first < kVaBase ? 0 : index_of(range.last), mm.index);
	// A removal waits for the end of the invalidation, so each stays where it is meanwhile.
	for (u32 i = 0; i < kMaxNotifiers && !refused; i++) {
		Notifier *const notifier = notifiers_[i];
		if (notifier == nullptr || !meets(*notifier, range))
			continue;
		// Reclaim may be what invalidates, and must not wait for itself.
		Scheduler::NoReclaim no_reclaim{"an mmu notifier"};
		if (range.blockable) {
			if (!tell(*notifier, range, seq, passes))
				sched.fail("a notifier refuses an event that can wait", "%s",
					   name_of(range.event));
		} else {
			Scheduler::NonBlockable non_blockable{"an mmu notifier that cannot wait"};
			refused = !tell(*notifier, range, seq, passes);
		}
		sched.point(Point::kNotifier);
	}
	finish_passes(passes);
	// Kernel: mn_itree_invalidate(): whoever has been told has to be told the end.
	if (refused)
		invalidate_end(range);
	return !refused;
}

// The first pass, or the only one, of one notifier.
bool Machine::tell(Notifier &notifier, const EventRange &range, usize seq, Finish *&passes)
{
	Finish *finish = nullptr;
	Finish **end = &passes;

	notifier.callbacks++;
	const bool told = kernel_->has_two_passes && notifier.invalidate_start != nullptr
				  ? notifier.invalidate_start(notifier, range, seq, finish)
				  : notifier.invalidate(notifier, range, seq);
	notifier.callbacks--;
	if (!told || finish == nullptr)
		return told;
	if (finish->notifier != nullptr)
		scheduler().fail("one finish is given to two events", "%s", name_of(range.event));
	while (*end != nullptr)
		end = &(*end)->next;
	*end = finish;
	*finish = Finish{.notifier = &notifier};
	return true;
}

// The second pass of those that asked for one, also if a later notifier has refused.
void Machine::finish_passes(Finish *passes)
{
	Scheduler::NoReclaim no_reclaim{"an mmu notifier"};

	while (passes != nullptr) {
		Finish &finish = *passes;
		Notifier &notifier = *finish.notifier;

		scheduler().point(Point::kNotifier);
		passes = finish.next;
		finish = Finish{};
		notifier.callbacks++;
		notifier.invalidate_finish(finish);
		notifier.callbacks--;
	}
}

void Machine::invalidate_end(const EventRange &range)
{
	Mm &mm = *range.mm;

	scheduler().point(Point::kNotifier);
	if (--mm.active_invalidations == 0 && is_invalidating(mm)) {
		mm.invalidate_seq++;
		notifier_drain(mm);
	}
}

// What was put off while an invalidation ran.
void Machine::notifier_drain(Mm &mm)
{
	for (Notifier *&notifier : notifiers_) {
		if (notifier == nullptr || notifier->mm != &mm)
			continue;
		if (notifier->state == Notifier::State::kPending) {
			notifier->state = Notifier::State::kOn;
		} else if (notifier->state == Notifier::State::kLeaving) {
			notifier->state = Notifier::State::kOff;
			notifier = nullptr;
		}
	}
}

int Machine::notifier_insert(Notifier &notifier, Mm &mm, usize first, usize last)
{
	Scheduler &sched = scheduler();
	u32 place = 0;

	sched.may_allocate();
	if (sched.holds(mm.lock))
		sched.fail("mmu_interval_notifier_insert() may take the mm's lock", "it is held");
	sched.point(Point::kNotifier);
	if (mm.users == 0)
		return -DSVM_EINVAL;
	while (place < kMaxNotifiers && notifiers_[place] != nullptr)
		place++;
	if (place == kMaxNotifiers || fails(Fail::kAlloc))
		return -DSVM_ENOMEM;

	notifier.mm = &mm;
	notifier.first = first;
	notifier.last = last;
	notifier.state = Notifier::State::kOn;
	if (mm.active_invalidations != 0) {
		// It may not be told of what runs already; who reads it has to wait for the end.
		if (is_invalidating(mm))
			notifier.state = Notifier::State::kPending;
		mm.invalidate_seq |= 1;
		notifier.seq = mm.invalidate_seq;
	} else {
		// Of an invalidation that is over.
		notifier.seq = mm.invalidate_seq - 1;
	}
	notifiers_[place] = &notifier;
	return 0;
}

// Kernel: mmu_interval_read_begin() and _read_retry(), and HMM, look at its mm and its sequence.
void Machine::notifier_stand_in(Notifier &notifier, Mm &mm, usize first, usize last)
{
	notifier.mm = &mm;
	notifier.first = first;
	notifier.last = last;
	notifier.state = Notifier::State::kStandIn;
}

void Machine::notifier_remove(Notifier &notifier)
{
	Scheduler &sched = scheduler();

	sched.may_sleep("mmu_interval_notifier_remove");
	sched.point(Point::kNotifier);
	if (notifier.state != Notifier::State::kOn && notifier.state != Notifier::State::kPending) {
		sched.fail("a notifier is removed that is in no tree", "[%u, %u]",
			   index_of(notifier.first), index_of(notifier.last));
		return;
	}

	Mm &mm = *notifier.mm;
	if (notifier.state == Notifier::State::kPending || !is_invalidating(mm)) {
		for (Notifier *&other : notifiers_)
			other = other == &notifier ? nullptr : other;
		notifier.state = Notifier::State::kOff;
		return;
	}
	const usize seq = mm.invalidate_seq;
	notifier.state = Notifier::State::kLeaving;
	sched.wait_until("the end of an invalidation (remove)",
			 [&] { return mm.invalidate_seq != seq; });
	if (notifier.state != Notifier::State::kOff || notifier.callbacks != 0)
		sched.fail("the model is wrong: a removed notifier is in use", "%u callbacks",
			   notifier.callbacks);
}

usize Machine::notifier_read_begin(Notifier &notifier)
{
	Scheduler &sched = scheduler();

	sched.may_sleep("mmu_interval_read_begin");
	sched.point(Point::kNotifier);
	if (notifier.state == Notifier::State::kOff) {
		sched.fail("a notifier is used that has been removed", "read_begin");
		return notifier.seq;
	}
	const Mm &mm = *notifier.mm;
	const usize seq = notifier.seq;
	// It compares the two and nothing else, and those of notifiers are odd: an even one would
	// be waited for until something happens to the address space; but for 0, which no address
	// space has.
	if ((seq & 1) == 0 && seq != 0)
		sched.fail("a sequence is waited for that no invalidation has", "%lu", seq);
	if (seq == mm.invalidate_seq) {
		// Its callback takes this lock: to wait for it with the lock held is a deadlock.
		if (sched.holds_rank(LockRank::kNotifier))
			sched.fail("read_begin waits under a lock of the invalidation path",
				   "seq %lu", seq);
		sched.wait_until("the end of an invalidation (read_begin)",
				 [&] { return mm.invalidate_seq != seq; });
	}
	return seq;
}

bool Machine::notifier_read_retry(const Notifier &notifier, usize seq)
{
	scheduler().point(Point::kNotifier);
	return notifier.seq != seq;
}

void Machine::notifier_set_seq(Notifier &notifier, usize seq)
{
	scheduler().point(Point::kNotifier);
	if (notifier.callbacks == 0 && notifier.state != Notifier::State::kStandIn)
		scheduler().fail("a sequence is published outside of an invalidation", "%lu", seq);
	notifier.seq = seq;
}

} // namespace dsvm::sim
