// SPDX-License-Identifier: GPL-2.0-only OR MIT
//
// Many schedules of a program, and many programs: what a seed means, and how to look for a
// run that breaks a rule.
//
//	seed / 8 -> program        generate(): threads, operations, machine, driver
//	seed     -> strategy       a random walk or priorities, and their parameters
//
// so a seed alone is a whole run, and eight neighbours are schedules of one program.
//
// A runner is run() of program.h, or something that takes its place: the toys of the
// self-test, or a runner in a process of its own (guard.h). What is here knows no more of
// machines and drivers than that a program fails with a rule.
#ifndef DSVM_SIMMM_EXPLORE_H
#define DSVM_SIMMM_EXPLORE_H

#include "tests/host/simmm/program.h"
#include "tests/host/simmm/strategy.h"

namespace dsvm::sim {

using Runner = Outcome (*)(const Program &program, Strategy &strategy, const RunOptions &options);

constexpr u32 kSchedulesPerProgram = 8;

// What programs a seed stands for, besides the seed itself.
struct Space {
	Shape shape;
	const Kernel *kernel = nullptr; // of all programs, unless it is nullptr
};

Program program_of(u64 seed, const Space &space);

// The strategy that a seed draws: half of them walk, half of them have priorities.
class Drawn final : public Strategy {
public:
	// `steps`: how long a run of the program is, or 0 if nobody knows; drawn then.
	explicit Drawn(u64 seed, u32 steps = 0);
	u32 pick(const Choice &choice) override;

private:
	const bool walks_;
	RandomWalk walk_;
	Pct pct_;
};

// The number of different hashes among many (Flajolet et al., "HyperLogLog", 2007), within
// about one percent, in memory that does not grow. Sketches of several processes add up.
class Sketch {
public:
	void add(u64 hash);
	void add(const Sketch &other);
	double count() const;

private:
	static constexpr u32 kBits = 14;

	u8 registers_[1u << kBits] = {};
};

// What a number of runs came to. Lives in memory that processes share, so it is plain.
struct Statistics {
	u64 runs = 0;
	u64 steps = 0;
	u64 failures = 0;
	Tally tally = {};
	Sketch schedules;
	Sketch states;

	void add(const Outcome &outcome, u64 program);
	void add(const Statistics &other);
};

// Random schedules of a program, the default one first: the first one that fails, with that
// rule if it is not nullptr, else the last one. Same seed, same schedules.
Outcome search(Runner runner, const Program &program, u64 seed, u32 runs, const std::string *rule,
	       Statistics *statistics = nullptr);

// All schedules of a program with at most 0, then 1, ... preemptions.
struct Exhausted {
	std::vector<u64> schedules; // of each bound; a bound's contain those of the one before
	bool complete = false;	    // all bounds were gone through
	bool diverged = false;	    // the program is not deterministic: see Exhaustive
	Outcome outcome;	    // the first one that fails, if one does
};
Exhausted exhaust(Runner runner, const Program &program, u32 preemptions, u64 limit,
		  const std::string *rule, Statistics *statistics = nullptr);

} // namespace dsvm::sim

#endif // DSVM_SIMMM_EXPLORE_H
