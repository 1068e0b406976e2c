// SPDX-License-Identifier: GPL-2.0-only OR MIT

#include "tests/host/simmm/campaign.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <new>
#include <set>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/host/simmm/guard.h"

namespace dsvm::sim {

namespace {

constexpr u32 kMaxJobs = 64;

// What a job tells its parent.
struct Job {
	Statistics statistics;
	u64 seed; // that it is at
};

struct Shared {
	std::atomic<u64> failures;
	Job jobs[kMaxJobs];
};

[[gnu::format(printf, 1, 2)]] std::string format(const char *format, ...)
{
	char line[512];
	va_list args;

	va_start(args, format);
	std::vsnprintf(line, sizeof(line), format, args);
	va_end(args);
	return line;
}

class Clock {
public:
	double seconds() const
	{
		return std::chrono::duration<double>(std::chrono::steady_clock::now() - start_)
			.count();
	}

private:
	const std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

// In one piece, so that jobs do not talk at once.
void print(const std::string &text)
{
	std::fwrite(text.data(), 1, text.size(), stdout);
	std::fflush(stdout);
}

std::string file_of(u64 seed, const Campaign &campaign)
{
	if (campaign.directory.empty())
		return "FILE";
	return format("%s/%016llx.sim", campaign.directory.c_str(), seed);
}

void save(const std::string &text, u64 seed, const Campaign &campaign)
{
	if (campaign.directory.empty())
		return;
	std::FILE *const file = std::fopen(file_of(seed, campaign).c_str(), "w");
	if (file == nullptr || std::fwrite(text.data(), 1, text.size(), file) != text.size() ||
	    std::fclose(file) != 0)
		std::perror(file_of(seed, campaign).c_str());
}

// One of the processes of a campaign.
class Worker {
public:
	Worker(const Campaign &campaign, Shared &shared, u32 index)
		: campaign_(campaign), shared_(shared), job_(shared.jobs[index]), index_(index)
	{
		options_.visit = [](u64 state, void *arg) {
			static_cast<Sketch *>(arg)->add(mix(state));
		};
		options_.visit_arg = &job_.statistics.states;
	}

	void work();

private:
	bool is_over() const;
	void run_program(u64 first, u64 end);
	void failed(u64 seed, const Program &program, const Outcome &outcome);

	const Campaign &campaign_;
	Shared &shared_;
	Job &job_;
	const u32 index_;
	const Clock clock_;
	RunOptions options_;
	std::set<std::string> known_; // rules of which one failure was described in full
};

bool Worker::is_over() const
{
	return shared_.failures >= campaign_.failures ||
	       (campaign_.seconds > 0 && clock_.seconds() >= campaign_.seconds);
}

void Worker::failed(u64 seed, const Program &program, const Outcome &outcome)
{
	if (shared_.failures.fetch_add(1) >= campaign_.failures)
		return;
	if (known_.insert(outcome.violation.what).second)
		print(describe_failure(seed, program, outcome, campaign_));
	else
		print(format("FAILED seed %#llx: %s, again\n", seed,
			     outcome.violation.what.c_str()));
}

// The seeds from `first` up to `end` are of one program.
void Worker::run_program(u64 first, u64 end)
{
	job_.seed = first;
	const Program program = program_of(first, campaign_.space);

	for (u64 seed = first; seed != end && !is_over(); seed++) {
		Drawn strategy(seed);

		job_.seed = seed;
		const Outcome outcome = run_limited(program, strategy, options_);
		job_.statistics.add(outcome, seed / kSchedulesPerProgram);
		if (outcome.failed)
			failed(seed, program, outcome);
	}
}

void Worker::work()
{
	const u64 last = campaign_.runs != 0 ? campaign_.first + campaign_.runs : ~0ull;

	for (u64 seed = campaign_.first; seed < last && !is_over();) {
		const u64 program = seed / kSchedulesPerProgram;
		const u64 end = std::min(last, (program + 1) * kSchedulesPerProgram);

		if (program % campaign_.jobs == index_)
			run_program(seed, end);
		seed = end;
	}
}

// A job that died has a seed as well.
void describe_death(const Job &job, int wait_status, const Campaign &campaign)
{
	Outcome outcome;
	const Program program = program_of(job.seed, campaign.space);
	Drawn strategy(job.seed);

	// Once more, for the schedule.
	outcome = guarded<run>(program, strategy, {});
	if (!outcome.failed) {
		print(format("FAILED seed %#llx: %s %s, but not when it runs alone\n", job.seed,
			     kDies, how_it_died(wait_status).c_str()));
		return;
	}
	print(describe_failure(job.seed, program, outcome, campaign));
}

// What the mirrors have been through. A zero here is something that is not tested.
void print_tally(const Tally &tally)
{
	const dsvm_svm_counters &svm = tally.svm;

	print(format("ranges: %llu made, %llu removed, %llu split, %llu trimmed, %llu pages kept; "
		     "%llu lost races; %llu windows\n",
		     svm.ranges_made, svm.ranges_removed, svm.ranges_split, svm.ranges_trimmed,
		     tally.kept, svm.lost_races, svm.windows_made));
	print(format("invalidations: %llu of %llu ranges, %llu in two passes, %llu without a "
		     "slot for that\n",
		     svm.invalidations, svm.ranges_invalidated, tally.deferred, tally.undeferred));
	print(format("collections: %llu of %llu pages, %llu retries, %llu failures, %llu while "
		     "another ran, %llu with an IOVA\n",
		     svm.collections, svm.pages_mapped, svm.collection_retries,
		     svm.collection_failures, tally.overlaps, tally.linked));
	print(format("migrations: %llu jobs, %llu pages to devices, %llu to RAM, %llu between "
		     "devices; %llu huge pages, %llu split; %llu pages stayed\n",
		     tally.jobs, tally.pages_to_device, tally.pages_to_ram, tally.pages_between,
		     tally.huge_moved, tally.huge_split, tally.stayed));
	print(format("            %llu late copies, %llu VMAs kept, %llu device folios split, %llu "
		     "frames back early, %llu allocations evicted for room\n",
		     tally.late_copies, tally.vmas_kept, tally.folios_split, tally.freed_early,
		     tally.evicted_for_room));
	print(format("            %llu timeslices waited for, %llu races of CPU faults, %llu lost "
		     "pages; reports:",
		     tally.timeslice_waits, tally.fault_races, tally.fault_lost));
	for (const u64 stays : tally.stays)
		print(format(" %llu", stays));
	print("\n");
	print(format("hmmptrs: %llu made; %llu pieces collected, %llu retries, %llu pages mapped, "
		     "%llu marks compared; %llu pieces invalidated, %llu in two passes, %llu "
		     "injected\n",
		     tally.hmmptrs, tally.hmmptr_collections, tally.hmmptr_retries,
		     tally.hmmptr_pages, tally.hmmptr_marks, tally.hmmptr_invalidated,
		     tally.hmmptr_deferred, tally.hmmptr_injected));
	print(format("         %llu pieces bound again, %llu given up, %llu accesses of jobs\n",
		     tally.hmmptr_rebinds, tally.hmmptr_lost, tally.hmmptr_jobs));
}

void print_statistics(const Statistics &all, const Campaign &campaign, double seconds)
{
	const double runs = static_cast<double>(all.runs);

	print(format("seeds %#llx and up: %llu schedules in %.1f s, %.0f a second "
		     "on each of %u processors\n",
		     campaign.first, all.runs, seconds, runs / seconds / campaign.jobs,
		     campaign.jobs));
	print(format("about %.0f different schedules, about %.0f different states, %.0f steps "
		     "each, %llu failed\n",
		     std::min(all.schedules.count(), runs), all.states.count(),
		     static_cast<double>(all.steps) / runs, all.failures));
	print_tally(all.tally);
}

Shared &share()
{
	void *const memory = mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE,
				  MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (memory == MAP_FAILED) {
		std::perror("sim: mmap");
		std::exit(2);
	}
	return *new (memory) Shared();
}

// Waits for all of them; how many died.
u32 wait_for(const pid_t *children, Shared &shared, const Campaign &campaign)
{
	u32 dead = 0;

	for (u32 i = 0; i < campaign.jobs; i++) {
		int status = 0;

		if (waitpid(children[i], &status, 0) != children[i] || how_it_died(status).empty())
			continue;
		dead++;
		describe_death(shared.jobs[i], status, campaign);
	}
	return dead;
}

} // namespace

std::string to_file(const Program &program, const Outcome &outcome)
{
	return "# rule: " + outcome.violation.what + "\n# explore: random 2000, exhaustive 1\n" +
	       "# schedule: " + to_string(outcome.schedule) + "\n" + to_text(program);
}

std::string describe_failure(u64 seed, const Program &program, const Outcome &outcome,
			     const Campaign &campaign)
{
	const std::string &rule = outcome.violation.what;
	std::string text = format("FAILED seed %#llx: %s\n", seed, rule.c_str());

	text += "  " + outcome.violation.where + "\n";
	text += format("  %zu threads, %zu operations, %u steps, %zu deviations\n",
		       program.threads.size(), static_cast<size_t>(program.ops()), outcome.steps,
		       outcome.schedule.size());
	Minimal minimal{program, outcome, 0};
	if (campaign.minimises) {
		Effort effort;

		// A process for each run takes its time.
		if (needs_guard(rule))
			effort.total_runs /= 20;
		minimal = minimise(needs_guard(rule) ? guarded<run> : run_limited, program, outcome,
				   effort);
		text += format("minimised in %llu runs to:\n", minimal.runs);
	}
	text += to_file(minimal.program, minimal.outcome);
	save(to_file(minimal.program, minimal.outcome), seed, campaign);
	text += "To see it again (FILE holds the lines above):\n";
	text += format("  sim --seed %#llx%s --trace\n", seed, campaign.space_options.c_str());
	text += "  sim --program " + file_of(seed, campaign) + " --trace\n";
	text += "  sim --program " + file_of(seed, campaign) + " --exhaustive 2\n";
	return text;
}

int run_campaign(const Campaign &campaign)
{
	Shared &shared = share();
	pid_t children[kMaxJobs];
	const Clock clock;
	Statistics all;

	std::fflush(nullptr);
	for (u32 i = 0; i < campaign.jobs; i++) {
		children[i] = fork();
		if (children[i] == 0) {
			Worker(campaign, shared, i).work();
			// As exit() does it, for coverage counters are written there.
			std::exit(0);
		}
		if (children[i] < 0) {
			std::perror("sim: fork");
			return 2;
		}
	}

	const u32 dead = wait_for(children, shared, campaign);
	for (u32 i = 0; i < campaign.jobs; i++)
		all.add(shared.jobs[i].statistics);
	all.failures += dead;
	print_statistics(all, campaign, clock.seconds());
	return all.failures != 0 || all.runs == 0 ? 1 : 0;
}

} // namespace dsvm::sim
