// SPDX-License-Identifier: GPL-2.0-only OR MIT

#include "tests/host/simmm/strategy.h"

#include <algorithm>
#include <bit>

namespace dsvm::sim {

namespace {

uint32_t bit(uint32_t fiber)
{
	return 1u << fiber;
}

uint32_t lowest_of(uint32_t fibers)
{
	return static_cast<uint32_t>(std::countr_zero(fibers));
}

uint32_t any_of(uint32_t fibers, Rng &rng)
{
	for (uint32_t skip = rng.below(std::popcount(fibers)); skip > 0; skip--)
		fibers &= fibers - 1;
	return lowest_of(fibers);
}

// Nobody runs at the start.
bool may_stay(const Choice &choice)
{
	return choice.can_run(choice.running) && !choice.fair && choice.point != Point::kStart;
}

} // namespace

// From a switch at every other point to one in 128: each has bugs that only it finds soon.
RandomWalk::RandomWalk(uint64_t seed) : rng_(seed), switches_(512u >> rng_.below(7)) {}

uint32_t RandomWalk::pick(const Choice &choice)
{
	uint32_t others = choice.runnable;

	if (may_stay(choice)) {
		others &= ~bit(choice.running);
		if (others == 0 || rng_.below(1024) >= switches_)
			return choice.running;
	}
	return others != 0 ? any_of(others, rng_) : choice.running;
}

Pct::Pct(uint64_t seed, uint32_t changes, uint32_t steps)
	: num_changes_(std::min(changes, kMaxChanges))
{
	Rng rng(seed);

	for (int64_t &priority : priorities_)
		priority = kMaxChanges + 1 + int64_t{rng.below(1u << 30)};
	for (uint32_t i = 0; i < num_changes_; i++)
		changes_[i] = {1 + rng.below(std::max(steps, 1u)), i};
	std::sort(changes_, changes_ + num_changes_,
		  [](const Change &a, const Change &b) { return a.step < b.step; });
}

void Pct::lower(uint32_t fiber, int64_t priority)
{
	priorities_[fiber] = std::min(priorities_[fiber], priority);
}

uint32_t Pct::pick(const Choice &choice)
{
	uint32_t best = choice.running;

	for (; next_change_ < num_changes_ && changes_[next_change_].step <= choice.step;
	     next_change_++)
		lower(choice.running, changes_[next_change_].priority);
	if (choice.fair)
		lower(choice.running, --lowest_);
	for (uint32_t i = 0; i < kMaxFibers; i++) {
		if (choice.can_run(i) &&
		    (!choice.can_run(best) || priorities_[i] > priorities_[best]))
			best = i;
	}
	return best;
}

uint32_t Replay::pick(const Choice &choice)
{
	while (next_ < schedule_.size() && schedule_[next_].step < choice.step)
		next_++;
	if (next_ < schedule_.size() && schedule_[next_].step == choice.step)
		return schedule_[next_].fiber;
	return choice.by_default();
}

// Fairness: the names of the paper are in brackets --------------------------------

void Fairness::begin()
{
	for (uint32_t i = 0; i < kMaxFibers; i++) {
		behind_[i] = 0;		     // [P]
		windows_[i] = {0, ~0u, ~0u}; // [E, D, S]
	}
	last_ = kNobody;
}

void Fairness::arrive(const Choice &choice)
{
	if (last_ == kNobody)
		return;
	for (Window &window : windows_) {
		window.enabled &= choice.runnable;
		window.scheduled |= bit(last_);
	}

	Window &own = windows_[last_];
	own.disabled |= could_ & ~choice.runnable;
	if (choice.fair) {
		behind_[last_] |= (own.enabled | own.disabled) & ~own.scheduled;
		own = {choice.runnable, 0, 0};
	}
}

uint32_t Fairness::eligible(uint32_t runnable) const
{
	uint32_t fibers = 0;

	for (uint32_t left = runnable; left != 0; left &= left - 1) {
		const uint32_t fiber = lowest_of(left);
		if ((behind_[fiber] & runnable) == 0)
			fibers |= bit(fiber);
	}
	return fibers;
}

void Fairness::picked(const Choice &choice, uint32_t fiber)
{
	for (uint32_t &behind : behind_)
		behind &= ~bit(fiber);
	last_ = fiber;
	could_ = choice.runnable;
}

// Exhaustive ----------------------------------------------------------------------

bool Exhaustive::is_preemption(const Choice &choice, uint32_t fiber) const
{
	return fiber != choice.running && may_stay(choice) &&
	       (fairness_.eligible(choice.runnable) & bit(choice.running)) != 0;
}

uint32_t Exhaustive::candidates(const Choice &choice) const
{
	const uint32_t fibers = fairness_.eligible(choice.runnable);

	// Others would be preemptions, and there are none left.
	if (may_stay(choice) && preemptions_ == max_preemptions_ &&
	    (fibers & bit(choice.running)) != 0)
		return bit(choice.running);
	return fibers;
}

// Who of several: as the path says, or, beyond its end, the first one to be tried.
uint32_t Exhaustive::decide(const Choice &choice, uint32_t candidates)
{
	if (depth_ < path_.size()) {
		const Branch &branch = path_[depth_++];

		diverged_ |= branch.step != choice.step || branch.candidates != candidates;
		return branch.taken;
	}

	const uint32_t by_default = choice.by_default();
	const uint32_t taken =
		(candidates & bit(by_default)) != 0 ? by_default : lowest_of(candidates);
	path_.push_back({choice.step, candidates, candidates & ~bit(taken), taken});
	depth_++;
	return taken;
}

uint32_t Exhaustive::pick(const Choice &choice)
{
	fairness_.arrive(choice);

	const uint32_t fibers = candidates(choice);
	const uint32_t fiber =
		std::has_single_bit(fibers) ? lowest_of(fibers) : decide(choice, fibers);

	preemptions_ += is_preemption(choice, fiber);
	fairness_.picked(choice, fiber);
	return fiber;
}

bool Exhaustive::next()
{
	// A run that ended early: what lies beyond was not seen.
	diverged_ |= depth_ < path_.size();
	while (!path_.empty() && path_.back().left == 0)
		path_.pop_back();
	depth_ = 0;
	preemptions_ = 0;
	fairness_.begin();
	if (path_.empty())
		return false;

	Branch &branch = path_.back();
	branch.taken = lowest_of(branch.left);
	branch.left &= branch.left - 1;
	return true;
}

} // namespace dsvm::sim
