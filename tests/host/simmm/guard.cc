// SPDX-License-Identifier: GPL-2.0-only OR MIT

#include "tests/host/simmm/guard.h"

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

namespace dsvm::sim {

const char *const kDies = "the process dies";
const char *const kHangs = "the process hangs";

namespace {

// The longest runs, of RunOptions::max_steps, take less than a second under a sanitizer.
constexpr long kSeconds = 10;
constexpr long kGuardedSeconds = 2;

// From now on; of the processor's time, so that it does not matter who else uses it. The
// signal is the end of the process.
void limit_time(long seconds)
{
	const itimerval limit = {{0, 0}, {seconds, 0}};

	setitimer(ITIMER_VIRTUAL, &limit, nullptr);
}

bool timed_out(int wait_status)
{
	return WIFSIGNALED(wait_status) && WTERMSIG(wait_status) == SIGVTALRM;
}

// What the child leaves behind, in memory that it shares with its parent.
struct Remains {
	static constexpr u32 kMaxDeviations = 65536;

	bool failed;
	char what[256];
	char where[1024];
	u32 steps;
	u64 schedule_hash;
	u32 deviations;
	Deviation schedule[kMaxDeviations];
};

Remains &remains()
{
	static void *const memory = mmap(nullptr, sizeof(Remains), PROT_READ | PROT_WRITE,
					 MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (memory == MAP_FAILED) {
		std::perror("sim: mmap");
		std::exit(2);
	}
	return *static_cast<Remains *>(memory);
}

// Writes down what another strategy picks, at once.
class Recorder final : public Strategy {
public:
	explicit Recorder(Strategy &inner) : inner_(inner) {}

	u32 pick(const Choice &choice) override
	{
		Remains &left = remains();
		const u32 fiber = inner_.pick(choice);

		left.steps = choice.step;
		if (fiber != choice.by_default() && left.deviations < Remains::kMaxDeviations)
			left.schedule[left.deviations++] = {choice.step, fiber};
		return fiber;
	}

private:
	Strategy &inner_;
};

void copy(const std::string &from, char *to, usize size)
{
	std::snprintf(to, size, "%s", from.c_str());
}

[[noreturn]] void be_the_child(Runner inner, const Program &program, Strategy &strategy,
			       const RunOptions &options)
{
	Remains &left = remains();
	Recorder recorder(strategy);
	const int nowhere = open("/dev/null", O_WRONLY);

	// The sanitizer's report is for whoever replays the run by itself.
	dup2(nowhere, STDERR_FILENO);
	limit_time(kGuardedSeconds);
	const Outcome outcome = inner(program, recorder, options);

	left.failed = outcome.failed;
	copy(outcome.violation.what, left.what, sizeof(left.what));
	copy(outcome.violation.where, left.where, sizeof(left.where));
	left.steps = outcome.steps;
	left.schedule_hash = outcome.schedule_hash;
	_exit(0);
}

} // namespace

bool needs_guard(const std::string &rule)
{
	return rule == kDies || rule == kHangs;
}

Outcome run_limited(const Program &program, Strategy &strategy, const RunOptions &options)
{
	limit_time(kSeconds);
	return run(program, strategy, options);
}

std::string how_it_died(int wait_status)
{
	if (timed_out(wait_status))
		return "in a loop without a point";
	if (WIFSIGNALED(wait_status))
		return std::string("by a signal: ") + strsignal(WTERMSIG(wait_status));
	if (WEXITSTATUS(wait_status) != 0)
		return "with status " + std::to_string(WEXITSTATUS(wait_status));
	return "";
}

Outcome run_guarded(Runner inner, const Program &program, Strategy &strategy,
		    const RunOptions &options)
{
	Remains &left = remains();
	RunOptions blind = options;
	Outcome outcome;
	int status = 0;

	blind.visit = nullptr;
	left.failed = false;
	left.what[0] = left.where[0] = 0;
	left.steps = left.deviations = 0;
	std::fflush(nullptr);

	const pid_t child = fork();
	if (child == 0)
		be_the_child(inner, program, strategy, blind);
	if (child < 0 || waitpid(child, &status, 0) != child) {
		std::perror("sim: fork");
		std::exit(2);
	}

	const std::string death = how_it_died(status);
	outcome.failed = left.failed || !death.empty();
	outcome.violation.what = death.empty() ? left.what : timed_out(status) ? kHangs : kDies;
	outcome.violation.where = death.empty() ? left.where : death;
	outcome.schedule.assign(left.schedule, left.schedule + left.deviations);
	outcome.steps = left.steps;
	outcome.schedule_hash = left.schedule_hash;
	return outcome;
}

} // namespace dsvm::sim
