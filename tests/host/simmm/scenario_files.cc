// SPDX-License-Identifier: GPL-2.0-only OR MIT
//
// Scenarios from files, each on every kernel.

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <memory>
#include <sstream>

#include "tests/host/simmm/ktap.h"
#include "tests/host/simmm/scenario_run.h"
#include "tests/host/simmm/strategy.h"

namespace dsvm::sim {

namespace {

bool load_file(const std::string &path, scn &scenario)
{
	std::ifstream stream(path, std::ios::binary);
	std::ostringstream text;

	text << stream.rdbuf();
	return scn_parse(&scenario, std::filesystem::path(path).stem().c_str(), text.str().data(),
			 text.str().size());
}

bool is_concurrent(const scn &scenario)
{
	for (u32 i = 0; i < scenario.num_steps; i++) {
		if (scenario.steps[i].block != 0)
			return true;
	}
	return false;
}

// One name on one kernel.
bool passes(const scn &scenario, const Kernel &kernel, u64 seed, u32 schedules, Ktap &ktap)
{
	for (u32 i = 0; i < (is_concurrent(scenario) ? schedules : 1); i++) {
		RandomWalk walk(mix(seed + i));
		Pct pct(mix(seed + i), 3, 20000);
		Strategy &strategy = i % 2 == 0 ? static_cast<Strategy &>(walk) : pct;
		const Outcome outcome = run_scenario(scenario, kernel, strategy);

		if (!outcome.failed)
			continue;
		ktap.say(outcome.violation.what + "\n  " + outcome.violation.where + "\nseed " +
			 std::to_string(seed + i));
		return false;
	}
	return true;
}

} // namespace

int run_scenarios(const std::string &directory, u64 seed, u32 schedules)
{
	std::vector<std::filesystem::path> paths;
	std::error_code ignored;

	for (const auto &entry : std::filesystem::directory_iterator(directory, ignored)) {
		if (entry.path().extension() == ".scn")
			paths.push_back(entry.path());
	}
	std::sort(paths.begin(), paths.end());

	Ktap ktap(paths.size() * 3);
	const auto scenario = std::make_unique<scn>();
	for (const auto &path : paths) {
		const bool parsed = load_file(path, *scenario);

		if (!parsed)
			ktap.say(scenario->error);
		for (const Kernel *kernel : {&kKernel6_1, &kKernel6_12, &kKernel7_3})
			ktap.result(parsed && passes(*scenario, *kernel, seed, schedules, ktap),
				    path.stem().string() + "_" + kernel->name);
	}
	return ktap.status();
}

int run_scenario_file(const std::string &path, const Kernel &kernel, u64 seed, bool trace)
{
	const auto scenario = std::make_unique<scn>();

	if (!load_file(path, *scenario)) {
		std::fprintf(stderr, "%s\n", scenario->error);
		return 1;
	}
	RandomWalk walk(mix(seed));
	RunOptions options;
	options.trace = trace;
	const Outcome outcome = run_scenario(*scenario, kernel, walk, options);
	if (outcome.failed)
		std::printf("%s\n  %s\n", outcome.violation.what.c_str(),
			    outcome.violation.where.c_str());
	else
		std::printf("%u steps, as it says\n", outcome.steps);
	return outcome.failed ? 1 : 0;
}

} // namespace dsvm::sim
