// SPDX-License-Identifier: GPL-2.0-only OR MIT

#include "tests/host/simmm/explore.h"

#include <bit>
#include <cmath>

namespace dsvm::sim {

namespace {

// Runs of unknown length have up to this many steps, as a power of two.
constexpr u32 kMinStepsOrder = 5;
constexpr u32 kMaxStepsOrder = 12;

bool breaks(const Outcome &outcome, const std::string *rule)
{
	return outcome.failed && (rule == nullptr || outcome.violation.what == *rule);
}

RunOptions options_for(Statistics *statistics)
{
	RunOptions options;

	if (statistics != nullptr) {
		options.visit = [](u64 state, void *arg) {
			static_cast<Statistics *>(arg)->states.add(mix(state));
		};
		options.visit_arg = statistics;
	}
	return options;
}

Outcome run_one(Runner runner, const Program &program, Strategy &strategy, Statistics *statistics)
{
	Outcome outcome = runner(program, strategy, options_for(statistics));

	if (statistics != nullptr)
		statistics->add(outcome, 0);
	return outcome;
}

u32 draw_steps(Rng &rng)
{
	const u32 order = kMinStepsOrder + rng.below(kMaxStepsOrder - kMinStepsOrder);

	return (1u << order) + rng.below(1u << order);
}

Pct draw_pct(u64 seed, u32 steps)
{
	Rng rng(mix(seed));
	const u32 drawn = draw_steps(rng);

	return Pct(rng.next(), rng.below(6), steps != 0 ? steps : drawn);
}

} // namespace

Program program_of(u64 seed, const Space &space)
{
	Program program = generate(seed / kSchedulesPerProgram, space.shape);

	if (space.kernel != nullptr)
		program.kernel = space.kernel;
	return program;
}

Drawn::Drawn(u64 seed, u32 steps)
	: walks_(Rng(seed).chance(50)), walk_(mix(seed)), pct_(draw_pct(seed, steps))
{}

u32 Drawn::pick(const Choice &choice)
{
	return walks_ ? walk_.pick(choice) : pct_.pick(choice);
}

void Sketch::add(u64 hash)
{
	u8 &register_ = registers_[hash >> (64 - kBits)];
	// How many zeroes there are before the first one, and that one.
	const u8 rank = static_cast<u8>(std::countl_zero((hash << kBits) | 1) + 1);

	if (rank > register_)
		register_ = rank;
}

void Sketch::add(const Sketch &other)
{
	for (u32 i = 0; i < 1u << kBits; i++) {
		if (other.registers_[i] > registers_[i])
			registers_[i] = other.registers_[i];
	}
}

double Sketch::count() const
{
	const double size = 1u << kBits;
	double sum = 0;
	u32 empty = 0;

	for (const u8 rank : registers_) {
		sum += std::ldexp(1.0, -rank);
		empty += rank == 0;
	}
	const double estimate = 0.7213 / (1 + 1.079 / size) * size * size / sum;
	return estimate <= 2.5 * size && empty != 0 ? size * std::log(size / empty) : estimate;
}

void Statistics::add(const Outcome &outcome, u64 program)
{
	runs++;
	steps += outcome.steps;
	failures += outcome.failed;
	tally.add(outcome.tally);
	schedules.add(mix(outcome.schedule_hash ^ mix(program)));
}

void Statistics::add(const Statistics &other)
{
	runs += other.runs;
	steps += other.steps;
	failures += other.failures;
	tally.add(other.tally);
	schedules.add(other.schedules);
	states.add(other.states);
}

Outcome search(Runner runner, const Program &program, u64 seed, u32 runs, const std::string *rule,
	       Statistics *statistics)
{
	static const Schedule nothing;
	Replay default_schedule(nothing);
	Outcome outcome = run_one(runner, program, default_schedule, statistics);
	const u32 steps = outcome.steps;

	for (u32 i = 1; i < runs && !breaks(outcome, rule); i++) {
		Drawn strategy(mix(seed + i), steps);
		outcome = run_one(runner, program, strategy, statistics);
	}
	return outcome;
}

Exhausted exhaust(Runner runner, const Program &program, u32 preemptions, u64 limit,
		  const std::string *rule, Statistics *statistics)
{
	Exhausted result;
	u64 runs = 0;

	for (u32 bound = 0; bound <= preemptions; bound++) {
		Exhaustive strategy(bound);
		u64 &schedules = result.schedules.emplace_back(0);

		do {
			if (runs++ == limit)
				return result;
			result.outcome = run_one(runner, program, strategy, statistics);
			schedules++;
			if (breaks(result.outcome, rule))
				return result;
		} while (strategy.next() && !strategy.diverged());
		result.diverged = strategy.diverged();
		if (result.diverged)
			return result;
	}
	result.complete = true;
	return result;
}

} // namespace dsvm::sim
