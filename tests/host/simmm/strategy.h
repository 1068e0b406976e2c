// SPDX-License-Identifier: GPL-2.0-only OR MIT
//
// Who goes on at each point (sched.h): four ways to decide.
//
//	RandomWalk	switches with a probability that is drawn once for the run. Finds
//			what needs many switches, wherever they are.
//	Pct		priorities, and few points at which they change (Burckhardt et al., "A
//			randomized scheduler with probabilistic guarantees of finding bugs",
//			ASPLOS 2010). Finds what needs few switches at the right places: with n
//			fibers, k steps and d change points any bug of depth d + 1 with a
//			probability of at least 1 / (n * k^d) a run.
//	Replay		a schedule that was written down.
//	Exhaustive	every schedule with at most so many preemptions (Musuvathi and Qadeer,
//			"Iterative context bounding", PLDI 2007), one after the other, fair to
//			who spins (the same, "Fair stateless model checking", PLDI 2008).
//
// Each sees nothing but the choices it is asked for and its own seed, so the same seed is
// the same schedule in every process and on every machine.
#ifndef DSVM_SIMMM_STRATEGY_H
#define DSVM_SIMMM_STRATEGY_H

#include <cstdint>
#include <vector>

#include "tests/host/simmm/rng.h"
#include "tests/host/simmm/sched.h"

namespace dsvm::sim {

class RandomWalk final : public Strategy {
public:
	explicit RandomWalk(uint64_t seed);
	uint32_t pick(const Choice &choice) override;

private:
	Rng rng_;
	// Of 1024 points at which nobody has to switch, at so many one does.
	uint32_t switches_;
};

class Pct final : public Strategy {
public:
	static constexpr uint32_t kMaxChanges = 8;

	// `steps` is how long a run is thought to be: change points are drawn from it.
	Pct(uint64_t seed, uint32_t changes, uint32_t steps);
	uint32_t pick(const Choice &choice) override;

private:
	struct Change {
		uint32_t step;
		int64_t priority; // of who runs there, from there on
	};

	void lower(uint32_t fiber, int64_t priority);

	// At the start above kMaxChanges, after a change point 0 .. kMaxChanges, and who has let
	// others run comes below all of these, the last one lowest.
	int64_t priorities_[kMaxFibers];
	int64_t lowest_ = 0;
	Change changes_[kMaxChanges]; // by step
	uint32_t num_changes_;
	uint32_t next_change_ = 0;
};

class Replay final : public Strategy {
public:
	// `schedule` is by step, and outlives this.
	explicit Replay(const Schedule &schedule) : schedule_(schedule) {}
	uint32_t pick(const Choice &choice) override;

private:
	const Schedule &schedule_;
	size_t next_ = 0;
};

// Who must wait for whom (masks of fibers), so that fibers which spin do not make a schedule endless: a fiber
// that has let others run for a second time comes behind those that could have run all the
// time since the first, and did not, until they have. No schedule is lost by it that ends.
class Fairness {
public:
	Fairness() { begin(); }
	void begin();
	// At each point, before the choice: what has become of the last one.
	void arrive(const Choice &choice);
	// Of the runnable, those whose turn it may be.
	uint32_t eligible(uint32_t runnable) const;
	void picked(const Choice &choice, uint32_t fiber);

private:
	struct Window {		    // since the fiber last let others run
		uint32_t enabled;   // could run at every point
		uint32_t disabled;  // could not any more after a step of the fiber
		uint32_t scheduled; // have run
	};

	uint32_t behind_[kMaxFibers]; // whom a fiber has to let go first
	Window windows_[kMaxFibers];
	uint32_t last_ = kNobody; // who ran since the last choice
	uint32_t could_ = 0;	  // who could have
};

// A depth-first search without states: each run follows the prefix of the one before up to
// the last point where something is left to try. Where the running fiber can go on, another
// one costs a preemption; where it cannot, or has let others run, the choice is free.
//
//	Exhaustive all(2);
//	do
//		run(all);
//	while (all.next());
class Exhaustive final : public Strategy {
public:
	explicit Exhaustive(uint32_t max_preemptions) : max_preemptions_(max_preemptions) {}
	uint32_t pick(const Choice &choice) override;
	// To the next schedule; false if there is none.
	bool next();
	// The last run did not see the same choices as the one before: the program is not
	// deterministic, and the search is worth nothing.
	bool diverged() const { return diverged_; }

private:
	struct Branch {
		uint32_t step;
		uint32_t candidates; // all of them
		uint32_t left;	     // to be tried
		uint32_t taken;
	};

	uint32_t candidates(const Choice &choice) const;
	bool is_preemption(const Choice &choice, uint32_t fiber) const;
	uint32_t decide(const Choice &choice, uint32_t candidates);

	const uint32_t max_preemptions_;
	Fairness fairness_;
	std::vector<Branch> path_; // points where there was more than one candidate
	size_t depth_ = 0;	   // how many of them this run has passed
	uint32_t preemptions_ = 0;
	bool diverged_ = false;
};

} // namespace dsvm::sim

#endif // DSVM_SIMMM_STRATEGY_H
