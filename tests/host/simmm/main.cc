// SPDX-License-Identifier: GPL-2.0-only OR MIT
//
// sim: runs programs on the simulated machine, and looks for schedules that break a rule.
//
//	sim --seed SEED [--trace]		one run, decided by its seed
//	sim --runs N [--seed FIRST]		N runs; stops at the first one that fails, and
//	sim --seconds S [--seed FIRST]		prints the smallest program that fails as well
//		--jobs N			on N processors
//		--keep-going N			stops at the N-th failure
//		--shape small|medium|large	what programs are made
//		--kernel 6.1|6.12|7.3		of one kernel only
//		--save DIRECTORY		puts minimal programs there
//		--raw				does not minimise
//	sim --program FILE [--trace]		one run, with the file's schedule or the default
//		--schedule '12>1 57>0'		with this one
//		--runs N [--seed FIRST]		N random schedules
//		--exhaustive N			all schedules with at most N preemptions
//		--limit N			... but no more than N
//	sim --corpus DIRECTORY			the programs there, as their comments say; KTAP
//	sim --scenarios DIRECTORY		those of tests/scenarios, on all kernels; KTAP
//		--runs N [--seed FIRST]		... each so often, where actors meet
//	sim --scenario FILE [--trace]		one of them
//	sim --contracts				tests of the simulated machine; KTAP
//	sim --selftest				tests of strategies and minimisation; KTAP
//	sim --print SEED			the program of a seed
//	sim --fingerprint N			a hash of what N seeds come to
//
// Exit status: 0 if there was something to run and nothing failed, 1 if a rule was broken, 2
// for a command line that cannot be understood.

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <random>

#include "tests/host/simmm/campaign.h"
#include "tests/host/simmm/contract_tests.h"
#include "tests/host/simmm/corpus.h"
#include "tests/host/simmm/guard.h"
#include "tests/host/simmm/ktap.h"
#include "tests/host/simmm/scenario_run.h"
#include "tests/host/simmm/selftest.h"

// A run that fails abandons its fibers with what they own, and what the core has is counted
// by the machine, so a list of leaks would say nothing new.
extern "C" const char *__asan_default_options()
{
	return "detect_leaks=0";
}

namespace dsvm::sim {

namespace {

enum class Mode {
	kCampaign,
	kSeed,
	kProgram,
	kCorpus,
	kScenarios,
	kScenario,
	kContracts,
	kSelftest,
	kPrint,
	kFingerprint,
};

struct Options {
	Mode mode = Mode::kCampaign;
	Campaign campaign;
	bool has_seed = false;
	bool trace = false;
	std::string path;
	std::string schedule;
	bool has_schedule = false;
	bool exhaustive = false;
	u64 preemptions = 0;
	u64 limit = 10000000;
};

[[noreturn]] void usage(const std::string &why)
{
	std::fprintf(stderr,
		     "sim: %s\nusage: sim --seed SEED | --runs N | --seconds S | --program FILE | "
		     "--corpus DIRECTORY |\n\t--contracts | --selftest; the top of "
		     "tests/host/simmm/main.cc describes them\n",
		     why.c_str());
	std::exit(2);
}

u64 number(const std::string &text)
{
	char *end;

	errno = 0;
	const u64 value = std::strtoull(text.c_str(), &end, 0);
	if (text.empty() || *end != 0 || errno != 0 || text[0] == '-')
		usage("not a number: " + text);
	return value;
}

Shape shape_named(const std::string &name)
{
	if (name == "small")
		return {2, 3, 4};
	if (name == "medium")
		return {};
	if (name == "large")
		return {3, 6, 10};
	usage("no such shape: " + name);
}

const Kernel *kernel_named(const std::string &name)
{
	for (const Kernel *kernel : {&kKernel6_1, &kKernel6_12, &kKernel7_3}) {
		if (name == kernel->name)
			return kernel;
	}
	usage("no such kernel: " + name);
}

// Options with a value. False: there is no such option.
bool set(Options &options, const std::string &name, const std::string &value)
{
	Campaign &campaign = options.campaign;

	if (name == "--seed") {
		campaign.first = number(value);
		options.has_seed = true;
	} else if (name == "--runs") {
		campaign.runs = number(value);
	} else if (name == "--seconds") {
		campaign.seconds = static_cast<double>(number(value));
	} else if (name == "--jobs") {
		campaign.jobs = static_cast<u32>(number(value));
		if (campaign.jobs == 0 || campaign.jobs > 64)
			usage("from 1 to 64 jobs");
	} else if (name == "--keep-going") {
		campaign.failures = number(value);
	} else if (name == "--shape") {
		campaign.space.shape = shape_named(value);
		campaign.space_options += " --shape " + value;
	} else if (name == "--kernel") {
		campaign.space.kernel = kernel_named(value);
		campaign.space_options += " --kernel " + value;
	} else if (name == "--save") {
		campaign.directory = value;
	} else if (name == "--program" || name == "--corpus") {
		options.mode = name == "--program" ? Mode::kProgram : Mode::kCorpus;
		options.path = value;
	} else if (name == "--scenarios" || name == "--scenario") {
		options.mode = name == "--scenarios" ? Mode::kScenarios : Mode::kScenario;
		options.path = value;
	} else if (name == "--schedule") {
		options.schedule = value;
		options.has_schedule = true;
	} else if (name == "--exhaustive") {
		options.exhaustive = true;
		options.preemptions = number(value);
	} else if (name == "--limit") {
		options.limit = number(value);
	} else if (name == "--print") {
		options.mode = Mode::kPrint;
		campaign.first = number(value);
	} else if (name == "--fingerprint") {
		options.mode = Mode::kFingerprint;
		campaign.runs = number(value);
	} else {
		return false;
	}
	return true;
}

Options parse_options(int argc, char **argv)
{
	Options options;

	for (int i = 1; i < argc; i++) {
		const std::string name = argv[i];

		if (name == "--trace")
			options.trace = true;
		else if (name == "--raw")
			options.campaign.minimises = false;
		else if (name == "--contracts")
			options.mode = Mode::kContracts;
		else if (name == "--selftest")
			options.mode = Mode::kSelftest;
		else if (i + 1 == argc || !set(options, name, argv[++i]))
			usage("not an option, or one without its value: " + name);
	}

	const Campaign &campaign = options.campaign;
	if (options.mode == Mode::kCampaign && campaign.runs == 0 && campaign.seconds == 0) {
		if (!options.has_seed)
			usage("nothing to do");
		options.mode = Mode::kSeed;
	}
	if (options.mode == Mode::kCampaign && !options.has_seed) {
		std::random_device device;
		options.campaign.first = u64{device()} << 16;
	}
	return options;
}

// One run, and the exit status.
int report(const Outcome &outcome)
{
	if (!outcome.failed) {
		std::printf("passed: %u steps, schedule %#llx\n", outcome.steps,
			    outcome.schedule_hash);
		return 0;
	}
	std::printf("FAILED: %s\n  %s\nschedule: %s\n", outcome.violation.what.c_str(),
		    outcome.violation.where.c_str(), to_string(outcome.schedule).c_str());
	return 1;
}

int run_seed(const Options &options)
{
	const u64 seed = options.campaign.first;
	const Program program = program_of(seed, options.campaign.space);
	Drawn strategy(seed);
	RunOptions run_options;

	run_options.trace = options.trace;
	if (options.trace)
		std::printf("%s", to_text(program).c_str());
	// With a trace somebody wants to see how it dies.
	const Outcome outcome = options.trace ? run(program, strategy, run_options)
					      : guarded<run>(program, strategy, run_options);
	if (!outcome.failed || options.trace)
		return report(outcome);
	std::printf("%s", describe_failure(seed, program, outcome, options.campaign).c_str());
	return 1;
}

int run_exhaustive(const Options &options, const ProgramFile &file)
{
	const Exhausted all = exhaust(run, file.program, static_cast<u32>(options.preemptions),
				      options.limit, nullptr);

	for (usize i = 0; i < all.schedules.size(); i++)
		std::printf("%llu schedules with at most %zu preemptions\n", all.schedules[i], i);
	if (all.outcome.failed)
		return report(all.outcome);
	if (all.diverged)
		std::printf("FAILED: the same choices had other consequences the second time\n");
	else
		std::printf("%s\n",
			    all.complete ? "passed: these are all" : "passed, but there are more");
	return all.diverged ? 1 : 0;
}

int run_program(const Options &options)
{
	ProgramFile file;
	std::string error;

	if (!read_file(options.path, file, error))
		usage(error);
	if (options.has_schedule && !parse_schedule(options.schedule, file.schedule))
		usage("not a schedule: " + options.schedule);
	if (options.exhaustive)
		return run_exhaustive(options, file);
	if (options.campaign.runs != 0) {
		Statistics statistics;
		const Outcome outcome =
			search(run, file.program, options.campaign.first,
			       static_cast<u32>(options.campaign.runs), nullptr, &statistics);

		std::printf("%llu schedules, about %.0f of them different\n", statistics.runs,
			    statistics.schedules.count());
		return report(outcome);
	}

	Replay strategy(file.schedule);
	RunOptions run_options;
	run_options.trace = options.trace;
	return report(run(file.program, strategy, run_options));
}

int run_contracts()
{
	Ktap ktap(contracts().size());

	for (const Contract &contract : contracts())
		ktap.result(contract.run(), contract.name);
	return ktap.status();
}

int run_mode(const Options &options)
{
	const Campaign &campaign = options.campaign;

	switch (options.mode) {
	case Mode::kCampaign:
		return run_campaign(campaign);
	case Mode::kSeed:
		return run_seed(options);
	case Mode::kProgram:
		return run_program(options);
	case Mode::kCorpus:
		return run_corpus(options.path);
	case Mode::kScenarios:
		return run_scenarios(options.path, campaign.first,
				     campaign.runs == 0 ? 1 : static_cast<u32>(campaign.runs));
	case Mode::kScenario:
		return run_scenario_file(
			options.path, campaign.space.kernel ? *campaign.space.kernel : kKernel7_3,
			campaign.first, options.trace);
	case Mode::kContracts:
		return run_contracts();
	case Mode::kSelftest:
		return run_selftest();
	case Mode::kPrint:
		std::printf("%s", to_text(program_of(campaign.first, campaign.space)).c_str());
		return 0;
	case Mode::kFingerprint:
		std::printf("%#llx\n", fingerprint(1, static_cast<u32>(campaign.runs)));
		return 0;
	}
	return 2;
}

} // namespace

} // namespace dsvm::sim

int main(int argc, char **argv)
{
	using namespace dsvm::sim;
	const Options options = parse_options(argc, argv);
	Scheduler scheduler;
	Machine machine;
	Gpu gpu;
	Driver driver;

	return run_mode(options);
}
