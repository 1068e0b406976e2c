// SPDX-License-Identifier: GPL-2.0-only OR MIT
//
// Runs the cases of kunit/ in user space and prints KTAP, nested per suite.
//
//	cases [--list] [--seed N] [--effort PERCENT] [FILTER...]
//
// A filter is a suite or suite_case; a shell-like '*' at its end matches the rest.
// Exit status: 0 if at least one case ran and none failed, 1 otherwise, 2 for usage.
//
// It is also the host's backend of kunit/env.h: memory from calloc(), so that ASan
// watches each allocation, and diagnostics as KTAP comments.

#include <chrono>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "kunit/bodies.h"
#include "kunit/env.h"

namespace {

struct Case {
	const char *suite;
	const char *name;
	void (*run)();
};

constexpr Case kCases[] = {
#define DSVM_SUITE_BEGIN(suite)
#define DSVM_X(suite, name) {#suite, #name, dsvm_case_##suite##_##name},
#define DSVM_SUITE_END(suite)
#include "kunit/cases.def"
#undef DSVM_SUITE_BEGIN
#undef DSVM_X
#undef DSVM_SUITE_END
};

struct Suite {
	std::string name;
	std::vector<const Case *> cases;
};

struct Options {
	unsigned long long seed = 0;
	unsigned effort = 100;
	bool list = false;
	std::vector<std::string> filters;
};

Options options;

bool matches(const std::string &pattern, const std::string &text)
{
	if (!pattern.empty() && pattern.back() == '*')
		return text.compare(0, pattern.size() - 1, pattern, 0, pattern.size() - 1) == 0;
	return pattern == text;
}

bool wanted(const Case &c)
{
	if (options.filters.empty())
		return true;
	for (const std::string &filter : options.filters) {
		if (matches(filter, c.suite) ||
		    matches(filter, std::string(c.suite) + "_" + c.name))
			return true;
	}
	return false;
}

std::vector<Suite> choose()
{
	std::vector<Suite> suites;

	for (const Case &c : kCases) {
		if (!wanted(c))
			continue;
		if (suites.empty() || suites.back().name != c.suite)
			suites.push_back({c.suite, {}});
		suites.back().cases.push_back(&c);
	}
	return suites;
}

bool run(const Case &c)
{
	const auto start = std::chrono::steady_clock::now();

	dsvm_env_begin(c.suite, c.name, options.seed);
	c.run();
	const bool passed = dsvm_env_end();

	const auto ms = std::chrono::duration_cast<std::chrono::milliseconds>(
				std::chrono::steady_clock::now() - start)
				.count();
	if (ms >= 1000)
		std::printf("    # %s_%s took %lld ms\n", c.suite, c.name,
			    static_cast<long long>(ms));
	return passed;
}

bool run(const Suite &suite)
{
	bool passed = true;
	unsigned number = 0;

	std::printf("    KTAP version 1\n    # Subtest: dsvm_%s\n    1..%zu\n", suite.name.c_str(),
		    suite.cases.size());
	for (const Case *c : suite.cases) {
		const bool ok = run(*c);

		passed = passed && ok;
		std::printf("    %s %u dsvm_%s_%s\n", ok ? "ok" : "not ok", ++number, c->suite,
			    c->name);
		std::fflush(stdout);
	}
	return passed;
}

bool parse(int argc, char **argv)
{
	if (const char *seed = std::getenv("DSVM_SEED"))
		options.seed = std::strtoull(seed, nullptr, 0);
	for (int i = 1; i < argc; i++) {
		const std::string arg = argv[i];

		if (arg == "--list")
			options.list = true;
		else if (arg == "--seed" && i + 1 < argc)
			options.seed = std::strtoull(argv[++i], nullptr, 0);
		else if (arg == "--effort" && i + 1 < argc)
			options.effort = static_cast<unsigned>(std::strtoul(argv[++i], nullptr, 0));
		else if (arg.compare(0, 1, "-") == 0)
			return false;
		else
			options.filters.push_back(arg);
	}
	std::random_device device;
	while (options.seed == 0)
		options.seed = (static_cast<unsigned long long>(device()) << 32) | device();
	return true;
}

} // namespace

extern "C" {

void dsvm_backend_print(const char *line)
{
	std::printf("    # %s\n", line);
}

dsvm_u32 dsvm_backend_effort(void)
{
	return options.effort;
}

} // extern "C"

int main(int argc, char **argv)
{
	if (!parse(argc, argv)) {
		std::fprintf(stderr,
			     "usage: %s [--list] [--seed N] [--effort PERCENT] [FILTER...]\n",
			     argv[0]);
		return 2;
	}

	const std::vector<Suite> suites = choose();
	if (options.list) {
		for (const Suite &suite : suites) {
			for (const Case *c : suite.cases)
				std::printf("%s_%s\n", c->suite, c->name);
		}
		return suites.empty() ? 1 : 0;
	}

	bool passed = !suites.empty();
	unsigned number = 0;
	std::printf("KTAP version 1\n1..%zu\n# seed %#llx\n", suites.size(), options.seed);
	for (const Suite &suite : suites) {
		const bool ok = run(suite);

		passed = passed && ok;
		std::printf("%s %u dsvm_%s\n", ok ? "ok" : "not ok", ++number, suite.name.c_str());
	}
	if (suites.empty())
		std::printf("# no case matches\n");
	std::fflush(stdout);
	return passed ? 0 : 1;
}
