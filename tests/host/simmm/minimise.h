// SPDX-License-Identifier: GPL-2.0-only OR MIT
//
// From a program that fails to the smallest one that a person has to read: delta debugging
// (Zeller and Hildebrandt, "Simplifying and isolating failure-inducing input", TSE 2002), on
// the structure of the program and then on the schedule.
//
//	threads, operations, areas	left out, in big pieces first
//	threads				put one after the other: fewer threads
//	spans				of one page instead of many
//	options				as they are by default
//
// until nothing of this is possible any more. A smaller program has other steps, so the
// schedule that failed means nothing to it, and each candidate is searched for one that fails
// with the same rule: the price of a candidate that does not fail is a few hundred runs.
//
// The result may miss a smaller program that fails too rarely to be found, so it is small
// and not minimal; but it does fail, with the schedule that comes with it.
#ifndef DSVM_SIMMM_MINIMISE_H
#define DSVM_SIMMM_MINIMISE_H

#include "tests/host/simmm/explore.h"

namespace dsvm::sim {

struct Effort {
	u32 candidate_runs = 400;  // random schedules of a candidate
	u32 small_ops = 6;	   // candidates with so few operations are searched exhaustively
	u32 small_preemptions = 2; // ... with so many preemptions
	u32 small_limit = 3000;	   // ... and no more schedules than these
	u64 total_runs = 100000;   // of all candidates
};

struct Minimal {
	Program program;
	Outcome outcome; // its schedule is the smallest, too
	u64 runs = 0;	 // that it took
};

// `program` breaks `failure.violation.what` with `failure.schedule`.
Minimal minimise(Runner runner, const Program &program, const Outcome &failure,
		 const Effort &effort = {});

} // namespace dsvm::sim

#endif // DSVM_SIMMM_MINIMISE_H
