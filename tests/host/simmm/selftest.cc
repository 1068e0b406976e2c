// SPDX-License-Identifier: GPL-2.0-only OR MIT

#include "tests/host/simmm/selftest.h"

#include <cmath>
#include <cstdarg>
#include <cstdlib>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/host/simmm/corpus.h"
#include "tests/host/simmm/guard.h"
#include "tests/host/simmm/ktap.h"
#include "tests/host/simmm/minimise.h"
#include "tests/host/simmm/toys.h"

namespace dsvm::sim {

namespace {

// Why the running test has failed; empty: it has not.
std::string complaint;

[[gnu::format(printf, 2, 3)]] bool expect(bool holds, const char *format, ...)
{
	char line[512];
	va_list args;

	if (holds || !complaint.empty())
		return holds;
	va_start(args, format);
	std::vsnprintf(line, sizeof(line), format, args);
	va_end(args);
	complaint = line;
	return false;
}

using Thread = std::vector<Op>;

Op op(Verb verb, u16 page = 0)
{
	return {verb, 0, page, page, 0};
}

Program program_with(std::initializer_list<Thread> threads)
{
	Program program;

	program.threads = threads;
	return program;
}

// Threads of as many points.
Program points(u32 threads, u32 length)
{
	Program program;

	program.threads.assign(threads, Thread(length, op(Verb::kLoad)));
	return program;
}

struct Toy {
	const char *name;
	Runner broken;
	const char *rule;
	Program minimal;
};

std::vector<Toy> toys()
{
	const Thread store = {op(Verb::kStore)};

	return {
		{"lost_update", run_lost_update, kLostUpdate, program_with({store, store})},
		{"abba", run_abba, kDeadlock, program_with({{op(Verb::kMap)}, {op(Verb::kUnmap)}})},
		{"missed_retry", run_missed_retry, kStaleEntry,
		 program_with({{op(Verb::kGpuLoad)}, {op(Verb::kUnmap)}})},
	};
}

// The minimal program in a haystack.
Program hidden(const Toy &toy)
{
	Program program = points(3, 4);

	program.threads[0][1] = toy.minimal.threads[0][0];
	program.threads[2][2] = toy.minimal.threads[1][0];
	program.areas.push_back({0, 15, VmaKind::kShared, true, true, true});
	program.areas.push_back({16, 20});
	program.driver.tlb_entries = 2;
	program.kernel = &kKernel6_1;
	return program;
}

// Strategies ----------------------------------------------------------------------

bool replays(Runner runner, const Program &program, const Outcome &failure)
{
	for (u32 i = 0; i < 2; i++) {
		Replay strategy(failure.schedule);
		const Outcome again = runner(program, strategy, {});

		if (again.violation.what != failure.violation.what ||
		    again.violation.where != failure.violation.where ||
		    again.schedule_hash != failure.schedule_hash ||
		    again.schedule != failure.schedule)
			return false;
	}
	return true;
}

// A strategy that is made anew for each run finds each toy's bug, and the run replays.
template <class Make> void finds_toys(u32 runs, Make make)
{
	for (const Toy &toy : toys()) {
		const Program program = hidden(toy);
		Outcome outcome;
		u32 seed = 0;

		while (!outcome.failed && seed++ < runs) {
			auto strategy = make(seed);
			outcome = toy.broken(program, strategy, {});
		}
		expect(outcome.failed && outcome.violation.what == toy.rule,
		       "%s: not found in %u runs", toy.name, runs);
		expect(replays(toy.broken, program, outcome), "%s: does not replay", toy.name);
		auto strategy = make(seed);
		const Outcome again = toy.broken(program, strategy, {});
		expect(again.schedule_hash == outcome.schedule_hash,
		       "%s: the seed %u is another schedule now", toy.name, seed);
	}
}

void random_finds_toys()
{
	finds_toys(2000, [](u32 seed) { return RandomWalk(seed); });
}

void pct_finds_toys()
{
	finds_toys(2000, [](u32 seed) { return Pct(seed, 2, 16); });
}

void drawn_finds_toys()
{
	finds_toys(5000, [](u32 seed) { return Drawn(seed); });
}

// With one change point, n fibers and k steps, each run finds a bug of depth 2 with a
// probability of at least 1 / (n * k).
void pct_keeps_its_promise()
{
	const Thread store = {op(Verb::kLoad), op(Verb::kStore), op(Verb::kLoad)};
	const Program program = program_with({store, store, points(1, 3).threads[0]});
	constexpr u32 kRuns = 5000;
	constexpr u32 kSteps = 12;
	u32 found = 0;

	for (u32 seed = 1; seed <= kRuns; seed++) {
		Pct strategy(seed, 1, kSteps);
		found += run_lost_update(program, strategy, {}).failed;
	}
	expect(found >= kRuns / (3 * kSteps), "%u of %u runs", found, kRuns);
	expect(found < kRuns / 2, "%u of %u runs is not what priorities do", found, kRuns);
}

void fair_to_spinners()
{
	const Program program =
		program_with({{op(Verb::kLoad)}, {op(Verb::kLoad)}, {op(Verb::kStore)}});

	for (u32 seed = 1; seed <= 1000; seed++) {
		Drawn strategy(seed);
		RunOptions options;

		options.max_steps = 500;
		const Outcome outcome = run_spin(program, strategy, options);
		expect(!outcome.failed, "seed %u: %s", seed, outcome.violation.what.c_str());
	}
}

void schedule_is_text()
{
	const Schedule schedule = {{0, 2}, {12, 1}, {57, 0}};
	Schedule parsed;

	expect(to_string(schedule) == "0>2 12>1 57>0", "%s", to_string(schedule).c_str());
	expect(parse_schedule("0>2 12>1  57>0", parsed) && parsed == schedule, "not parsed");
	for (const char *text : {"12", "12>", ">1", "12>1x", "12>99", "12>1 12>0", "a>b"})
		expect(!parse_schedule(text, parsed), "%s is a schedule", text);
}

// Exhaustive search ---------------------------------------------------------------

void counts_schedules(const Program &program, std::initializer_list<u64> expected)
{
	Statistics statistics;
	const Exhausted all = exhaust(run_lost_update, program, expected.size() - 1, 100000,
				      nullptr, &statistics);
	u64 number = 0;

	expect(all.complete && !all.diverged && !all.outcome.failed, "not complete");
	for (const u64 schedules : expected) {
		expect(all.schedules[number] == schedules,
		       "%llu schedules with %llu preemptions instead of %llu",
		       all.schedules[number], number, schedules);
		number++;
	}
	expect(std::round(statistics.schedules.count()) ==
		       static_cast<double>(*(expected.end() - 1)),
	       "%.0f of them are different", statistics.schedules.count());
}

// Two threads of three points, four segments each, can be cut into i and j pieces in
// C(3, i-1) * C(3, j-1) ways, and pieces alternate. All of them are C(8, 4) interleavings.
void counts_two_threads()
{
	counts_schedules(points(2, 3), {2, 8, 26, 44, 62, 68, 70});
}

// 6! / (2! 2! 2!) interleavings of three threads of two segments; a preemption for each
// thread whose segments are apart.
void counts_three_threads()
{
	counts_schedules(points(3, 1), {6, 24, 60, 90});
}

void exhaustive_finds_toys()
{
	for (const Toy &toy : toys()) {
		const Exhausted none = exhaust(toy.broken, toy.minimal, 0, 10000, nullptr);
		const Exhausted all = exhaust(toy.broken, toy.minimal, 2, 10000, nullptr);

		expect(none.complete && !none.outcome.failed, "%s without a preemption", toy.name);
		expect(all.outcome.failed && all.schedules.size() == 2 &&
			       all.outcome.violation.what == toy.rule,
		       "%s: not found with one preemption", toy.name);
		expect(replays(toy.broken, toy.minimal, all.outcome), "%s: does not replay",
		       toy.name);
	}
}

void exhaustive_clears_the_fixed_one()
{
	const Thread fault = {op(Verb::kGpuLoad), op(Verb::kGpuLoad)};
	const Thread unmap = {op(Verb::kUnmap), op(Verb::kUnmap)};
	const Exhausted all =
		exhaust(run_retry, program_with({fault, unmap, fault}), 4, 100000, nullptr);

	expect(all.complete, "the search did not end");
	expect(!all.outcome.failed, "%s", all.outcome.violation.what.c_str());
}

// Without fairness, two that spin would take turns for ever.
void exhaustive_ends_with_spinners()
{
	const Program program =
		program_with({{op(Verb::kLoad)}, {op(Verb::kStore)}, {op(Verb::kLoad)}});
	const Exhausted all = exhaust(run_spin, program, 2, 100000, nullptr);

	expect(all.complete && !all.diverged, "the search did not end");
	expect(!all.outcome.failed, "%s", all.outcome.violation.what.c_str());
}

// A program that is not the same twice.
void exhaustive_sees_divergence()
{
	static u32 calls;
	const Runner moody = [](const Program &, Strategy &strategy, const RunOptions &options) {
		return run_lost_update(points(2, 2 + calls++ % 2), strategy, options);
	};
	const Exhausted all = exhaust(moody, points(2, 2), 2, 100000, nullptr);

	expect(all.diverged, "not seen");
}

// Minimisation --------------------------------------------------------------------

void expect_minimal(const Toy &toy, const Program &program, const Outcome &failure)
{
	const Minimal minimal = minimise(toy.broken, program, failure);

	expect(minimal.program.threads.size() == 2 && minimal.program.ops() == 2,
	       "%s: %zu threads, %zu operations", toy.name, minimal.program.threads.size(),
	       minimal.program.ops());
	expect(minimal.program.threads == toy.minimal.threads, "%s: not the operations that matter",
	       toy.name);
	expect(minimal.program.areas.empty(), "%s: areas are left", toy.name);
	expect(minimal.program.kernel == &kKernel7_3 && minimal.program.driver.tlb_entries == 4,
	       "%s: options are left", toy.name);
	expect(minimal.outcome.schedule.size() == 1, "%s: the schedule is %s", toy.name,
	       to_string(minimal.outcome.schedule).c_str());
	expect(replays(toy.broken, minimal.program, minimal.outcome), "%s: does not replay",
	       toy.name);
}

void minimises_toys()
{
	for (const Toy &toy : toys()) {
		const Program program = hidden(toy);
		const std::string rule = toy.rule;
		const Outcome failure = search(toy.broken, program, 1, 10000, &rule);

		if (expect(failure.failed, "%s: not found", toy.name))
			expect_minimal(toy, program, failure);
	}
}

void minimises_deaths()
{
	const Toy toy{"crash", run_crash, kDies, toys()[0].minimal};
	const Toy guarded_toy{toy.name, guarded<run_crash>, toy.rule, toy.minimal};
	const Program program = hidden(toy);
	const std::string rule = kDies;
	const Outcome failure = search(guarded_toy.broken, program, 1, 1000, &rule);
	Effort effort;

	if (!expect(failure.failed, "not found"))
		return;
	effort.candidate_runs = 50;
	effort.small_limit = 20;
	const Minimal minimal = minimise(guarded_toy.broken, program, failure, effort);
	expect(minimal.program.threads.size() == 2 && minimal.program.ops() == 2,
	       "%zu threads, %zu operations", minimal.program.threads.size(),
	       minimal.program.ops());
	expect(minimal.outcome.schedule.size() == 1, "the schedule is %s",
	       to_string(minimal.outcome.schedule).c_str());
}

void hangs_are_seen()
{
	const Thread store = {op(Verb::kStore)};
	const Schedule preempted = {{1, 1}};
	Replay strategy(preempted);
	const Outcome outcome = guarded<run_hang>(program_with({store, store}), strategy, {});

	expect(outcome.failed && outcome.violation.what == kHangs, "%s",
	       outcome.violation.what.c_str());
	expect(outcome.schedule == preempted, "the schedule is %s",
	       to_string(outcome.schedule).c_str());
}

// The rest ------------------------------------------------------------------------

void sketch_counts()
{
	for (const u64 size : {10ull, 1000ull, 30000ull, 3000000ull}) {
		Sketch halves[2];

		for (u64 i = 0; i < size; i++) {
			halves[i % 2].add(mix(i));
			halves[0].add(mix(i / 3));
		}
		halves[0].add(halves[1]);
		const double off = std::fabs(halves[0].count() / static_cast<double>(size) - 1);
		expect(off < 0.03, "%llu: %.1f%% off", size, off * 100);
	}
}

// Another process has other addresses, so a hash that has one in it would not be the same.
void same_in_another_process()
{
	constexpr u32 kSeeds = 400;
	int ends[2];
	char text[64] = {};
	int status = 0;

	std::fflush(nullptr);
	if (!expect(pipe(ends) == 0, "no pipe"))
		return;
	const pid_t child = fork();
	if (child == 0) {
		dup2(ends[1], STDOUT_FILENO);
		execl("/proc/self/exe", "sim", "--fingerprint", std::to_string(kSeeds).c_str(),
		      nullptr);
		_exit(127);
	}
	close(ends[1]);
	const ssize_t length = read(ends[0], text, sizeof(text) - 1);
	close(ends[0]);
	waitpid(child, &status, 0);
	expect(status == 0 && length > 0 &&
		       std::strtoull(text, nullptr, 0) == fingerprint(1, kSeeds),
	       "%s instead of %#llx", text, fingerprint(1, kSeeds));
}

// What a person does who was told a seed, or was given a file.
void programs_are_text()
{
	for (u64 seed = 0; seed < 2000; seed += kSchedulesPerProgram) {
		const Program program = program_of(seed, {});
		Program parsed;
		std::string error;

		expect(parse(to_text(program), parsed, error), "seed %llu: %s", seed,
		       error.c_str());
		expect(to_text(parsed) == to_text(program), "seed %llu: another program", seed);

		Drawn one(seed), other(seed);
		expect(run(program, one).schedule_hash == run(parsed, other).schedule_hash,
		       "seed %llu: another run", seed);
	}
}

// An oracle says nothing about what never happens.
void programs_meet_everything()
{
	constexpr u32 kSeeds = 6000;
	Tally all;

	for (u64 seed = 1; seed <= kSeeds; seed++) {
		Drawn strategy(seed);
		all.add(run(program_of(seed, {}), strategy).tally);
	}
	const struct {
		const char *what;
		u64 times;
	} events[] = {
		{"range is split", all.svm.ranges_split},
		{"range is trimmed", all.svm.ranges_trimmed},
		{"page stays mapped beside one that was unmapped", all.kept},
		{"race for a range is lost", all.svm.lost_races},
		{"range is removed", all.svm.ranges_removed},
		{"range is invalidated", all.svm.ranges_invalidated},
		{"invalidation has two passes", all.deferred},
		{"invalidation finds no slot", all.undeferred},
		{"collection begins again", all.svm.collection_retries},
		{"collection fails", all.svm.collection_failures},
		{"collection begins while another one is under way", all.overlaps},
		{"collection has a window of addresses", all.linked},
		{"huge page moves as one", all.huge_moved},
		{"huge page goes to RAM in pieces", all.huge_split},
		{"device folio is split", all.folios_split},
		{"copy is waited for without the mm's lock", all.free_waits},
		{"page moves between devices", all.pages_between},
		{"VMA is kept", all.vmas_kept},
		{"copy is waited for", all.late_copies},
		{"frame comes back before its allocation", all.freed_early},
		{"allocation is evicted for room", all.evicted_for_room},
		{"timeslice is waited for", all.timeslice_waits},
		{"fault meets another one", all.fault_races},
		{"page is foreign", all.stays[DSVM_STAY_FOREIGN]},
		{"page is swapped out", all.stays[DSVM_STAY_SWAPPED]},
		{"page is pinned", all.stays[DSVM_STAY_PINNED]},
		{"page finds no device memory", all.stays[DSVM_STAY_NO_DEVICE_MEMORY]},
		{"hmmptr is made", all.hmmptrs},
		{"collection of a hmmptr begins again", all.hmmptr_retries},
		{"piece is mapped", all.hmmptr_pages},
		{"marks are compared", all.hmmptr_marks},
		{"piece is invalidated", all.hmmptr_invalidated},
		{"invalidation of a hmmptr has two passes", all.hmmptr_deferred},
		{"invalidation is injected", all.hmmptr_injected},
		{"piece is bound again", all.hmmptr_rebinds},
		{"piece is given up", all.hmmptr_lost},
		{"job uses a hmmptr", all.hmmptr_jobs},
	};
	for (const auto &event : events)
		expect(event.times != 0, "no %s in %u runs", event.what, kSeeds);
}

struct Test {
	const char *name;
	void (*run)();
};

constexpr Test kTests[] = {
	{"random_finds_toys", random_finds_toys},
	{"pct_finds_toys", pct_finds_toys},
	{"drawn_finds_toys", drawn_finds_toys},
	{"pct_keeps_its_promise", pct_keeps_its_promise},
	{"fair_to_spinners", fair_to_spinners},
	{"schedule_is_text", schedule_is_text},
	{"counts_two_threads", counts_two_threads},
	{"counts_three_threads", counts_three_threads},
	{"exhaustive_finds_toys", exhaustive_finds_toys},
	{"exhaustive_clears_the_fixed_one", exhaustive_clears_the_fixed_one},
	{"exhaustive_ends_with_spinners", exhaustive_ends_with_spinners},
	{"exhaustive_sees_divergence", exhaustive_sees_divergence},
	{"minimises_toys", minimises_toys},
	{"minimises_deaths", minimises_deaths},
	{"hangs_are_seen", hangs_are_seen},
	{"sketch_counts", sketch_counts},
	{"programs_are_text", programs_are_text},
	{"programs_meet_everything", programs_meet_everything},
	{"same_in_another_process", same_in_another_process},
};

} // namespace

u64 fingerprint(u64 seed, u32 count)
{
	u64 hash = 0;
	RunOptions options;

	options.visit = [](u64 state, void *arg) {
		u64 &all = *static_cast<u64 *>(arg);
		all = mix(all ^ state);
	};
	options.visit_arg = &hash;
	for (u32 i = 0; i < count; i++) {
		Drawn strategy(seed + i);
		const Outcome outcome = run(program_of(seed + i, {}), strategy, options);

		hash = mix(hash ^ outcome.schedule_hash);
		hash = mix(hash ^ outcome.steps);
	}
	return hash;
}

int run_selftest()
{
	Ktap ktap(std::size(kTests));

	for (const Test &test : kTests) {
		complaint.clear();
		test.run();
		ktap.say(complaint);
		ktap.result(complaint.empty(), test.name);
	}
	return ktap.status();
}

} // namespace dsvm::sim
