// SPDX-License-Identifier: GPL-2.0-only OR MIT

#include "tests/host/simmm/corpus.h"

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "tests/host/simmm/guard.h"
#include "tests/host/simmm/ktap.h"

namespace dsvm::sim {

namespace {

// Beyond this an exhaustive search is not one, and says so.
constexpr u64 kExhaustiveLimit = 50000;

// What follows a word at the beginning of a comment.
bool directive(const std::string &line, const std::string &name, std::string &rest)
{
	const std::string begin = "# " + name + ":";

	if (line.compare(0, begin.size(), begin) != 0)
		return false;
	rest = line.substr(begin.size());
	return true;
}

bool parse_explore(std::string text, ProgramFile &file)
{
	std::replace(text.begin(), text.end(), ',', ' ');
	std::istringstream words(text);
	std::string word;

	file.random = file.preemptions = 0;
	while (words >> word) {
		if (word == "random" ? !(words >> file.random)
				     : word != "exhaustive" || !(words >> file.preemptions))
			return false;
	}
	return true;
}

std::string describe(const Outcome &outcome)
{
	return outcome.violation.what + "\n  " + outcome.violation.where +
	       "\nschedule: " + to_string(outcome.schedule);
}

bool run_as_written(const ProgramFile &file, Ktap &ktap)
{
	Replay strategy(file.schedule);
	const Outcome outcome = run_limited(file.program, strategy);

	if (outcome.failed)
		ktap.say(describe(outcome));
	return !outcome.failed;
}

bool run_random(const ProgramFile &file, Ktap &ktap)
{
	if (file.random == 0)
		return true;
	const Outcome outcome = search(run_limited, file.program, 1, file.random, nullptr);

	if (outcome.failed)
		ktap.say(describe(outcome));
	return !outcome.failed;
}

bool run_all(const ProgramFile &file, Ktap &ktap)
{
	if (file.preemptions == 0)
		return true;
	const Exhausted all =
		exhaust(run_limited, file.program, file.preemptions, kExhaustiveLimit, nullptr);

	if (all.outcome.failed)
		ktap.say(describe(all.outcome));
	else if (all.diverged)
		ktap.say("the same choices had other consequences the second time");
	else if (!all.complete)
		ktap.say("more schedules than " + std::to_string(kExhaustiveLimit));
	return !all.outcome.failed && !all.diverged;
}

} // namespace

bool parse_schedule(const std::string &text, Schedule &schedule)
{
	std::istringstream words(text);
	std::string word;

	schedule.clear();
	while (words >> word) {
		Deviation deviation;
		int end = 0;

		if (std::sscanf(word.c_str(), "%u>%u%n", &deviation.step, &deviation.fiber, &end) !=
			    2 ||
		    word[end] != 0 || deviation.fiber >= kMaxFibers ||
		    (!schedule.empty() && schedule.back().step >= deviation.step))
			return false;
		schedule.push_back(deviation);
	}
	return true;
}

bool read_file(const std::string &path, ProgramFile &file, std::string &error)
{
	std::ifstream stream(path);
	std::string text, line, rest;

	while (std::getline(stream, line)) {
		if ((directive(line, "schedule", rest) && !parse_schedule(rest, file.schedule)) ||
		    (directive(line, "explore", rest) && !parse_explore(rest, file))) {
			error = path + ": cannot be understood: " + line;
			return false;
		}
		// An empty line instead, so that the others keep their numbers.
		text += line.compare(0, 1, "#") == 0 ? "\n" : line + "\n";
	}
	if (!stream.eof() || text.empty()) {
		error = path + ": cannot be read";
		return false;
	}
	if (!parse(text, file.program, error)) {
		error = path + ": " + error;
		return false;
	}
	return true;
}

int run_corpus(const std::string &directory)
{
	std::vector<std::filesystem::path> paths;
	std::error_code ignored;

	for (const auto &entry : std::filesystem::directory_iterator(directory, ignored)) {
		if (entry.path().extension() == ".sim")
			paths.push_back(entry.path());
	}
	std::sort(paths.begin(), paths.end());

	Ktap ktap(paths.size());
	for (const auto &path : paths) {
		ProgramFile file;
		std::string error;
		const bool ok = read_file(path, file, error) && run_as_written(file, ktap) &&
				run_random(file, ktap) && run_all(file, ktap);

		ktap.say(error);
		ktap.result(ok, path.stem());
	}
	return ktap.status();
}

} // namespace dsvm::sim
