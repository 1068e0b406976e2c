// SPDX-License-Identifier: GPL-2.0-only OR MIT

#include "tests/host/simmm/toys.h"

#include <algorithm>
#include <csignal>

namespace dsvm::sim {

const char *const kLostUpdate = "an update is lost";
const char *const kDeadlock = "deadlock: nobody can go on";
const char *const kStaleEntry = "the GPU maps a page that has gone";

namespace {

constexpr u32 kWords = 16;
constexpr u32 kNothing = 0;

// What all toys play with.
struct Toys {
	u32 words[kWords];
	u32 stores[kWords];
	u32 stored;
	u32 mapped[kWords]; // by the CPU; a page is a number that is never used again
	u32 gpu[kWords];
	u32 last_page;
	u64 sequence;
	Rwsem first{"first", LockRank::kUnranked};
	Rwsem second{"second", LockRank::kUnranked};

	void reset()
	{
		*this = Toys();
		for (u32 &page : mapped)
			page = ++last_page;
	}
};

Toys toys;

using Step = void (*)(const Op &op);

// What a fiber needs to know: not on its stack, which may be abandoned.
struct Player {
	const std::vector<Op> *ops;
	Step step;
};

Player players[kMaxFibers];

void play(void *arg)
{
	const Player &player = *static_cast<Player *>(arg);

	for (const Op &op : *player.ops)
		player.step(op);
}

void begin(const Program &program, Strategy &strategy, const RunOptions &options, Step step)
{
	Scheduler &scheduler = Scheduler::current();
	u32 count = 0;

	toys.reset();
	scheduler.begin(strategy, options.max_steps);
	scheduler.set_trace(options.trace);
	for (const auto &thread : program.threads) {
		Player &player = players[count++];

		player = {&thread, step};
		scheduler.spawn("toy", play, &player);
	}
	scheduler.run();
}

Outcome end()
{
	const Scheduler &scheduler = Scheduler::current();

	return {scheduler.failed(), scheduler.violation(), scheduler.schedule(), scheduler.steps(),
		scheduler.schedule_hash()};
}

void point()
{
	Scheduler::current().point(Point::kOp);
}

void update(const Op &op)
{
	if (op.verb != Verb::kStore) {
		point();
		return;
	}
	const u32 index = op.first % kWords;
	const u32 value = toys.words[index];

	point();
	toys.words[index] = value + 1;
	toys.stores[index]++;
}

bool has_lost()
{
	return !std::equal(toys.words, toys.words + kWords, toys.stores);
}

void update_or_die(const Op &op)
{
	update(op);
	if (has_lost())
		raise(SIGKILL);
}

void update_or_hang(const Op &op)
{
	update(op);
	for (volatile bool lost = has_lost(); lost;)
		;
}

void lock_both(Rwsem &outer, Rwsem &inner)
{
	Scheduler &scheduler = Scheduler::current();

	scheduler.write_lock(outer);
	scheduler.write_lock(inner);
	scheduler.write_unlock(inner);
	scheduler.write_unlock(outer);
}

void lock(const Op &op)
{
	if (op.verb == Verb::kMap)
		lock_both(toys.first, toys.second);
	else if (op.verb == Verb::kUnmap)
		lock_both(toys.second, toys.first);
	else
		point();
}

void gpu_fault(u32 index, bool retries)
{
	for (;;) {
		const u64 sequence = toys.sequence;
		const u32 page = toys.mapped[index];

		point();
		if (retries && toys.sequence != sequence)
			continue;
		toys.gpu[index] = page;
		return;
	}
}

void invalidate(u32 index)
{
	toys.sequence++;
	toys.gpu[index] = kNothing;
	toys.mapped[index] = ++toys.last_page;
	point();
}

Outcome end_of_mirror()
{
	for (u32 i = 0; i < kWords; i++) {
		if (toys.gpu[i] != kNothing && toys.gpu[i] != toys.mapped[i])
			Scheduler::current().fail(kStaleEntry, "at %u", i);
	}
	return end();
}

template <bool retries> void mirror(const Op &op)
{
	if (op.verb == Verb::kGpuLoad)
		gpu_fault(op.first % kWords, retries);
	else if (op.verb == Verb::kUnmap)
		invalidate(op.first % kWords);
	else
		point();
}

void spin(const Op &op)
{
	while (op.verb == Verb::kLoad && toys.stored == 0)
		Scheduler::current().relax();
	point();
	toys.stored += op.verb == Verb::kStore;
}

} // namespace

Outcome run_lost_update(const Program &program, Strategy &strategy, const RunOptions &options)
{
	begin(program, strategy, options, update);
	for (u32 i = 0; i < kWords; i++) {
		if (toys.words[i] != toys.stores[i])
			Scheduler::current().fail(kLostUpdate, "of word %u", i);
	}
	return end();
}

Outcome run_crash(const Program &program, Strategy &strategy, const RunOptions &options)
{
	begin(program, strategy, options, update_or_die);
	return end();
}

Outcome run_hang(const Program &program, Strategy &strategy, const RunOptions &options)
{
	begin(program, strategy, options, update_or_hang);
	return end();
}

Outcome run_abba(const Program &program, Strategy &strategy, const RunOptions &options)
{
	begin(program, strategy, options, lock);
	return end();
}

Outcome run_retry(const Program &program, Strategy &strategy, const RunOptions &options)
{
	begin(program, strategy, options, mirror<true>);
	return end_of_mirror();
}

Outcome run_missed_retry(const Program &program, Strategy &strategy, const RunOptions &options)
{
	begin(program, strategy, options, mirror<false>);
	return end_of_mirror();
}

Outcome run_spin(const Program &program, Strategy &strategy, const RunOptions &options)
{
	begin(program, strategy, options, spin);
	return end();
}

} // namespace dsvm::sim
