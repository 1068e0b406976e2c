// SPDX-License-Identifier: GPL-2.0-only OR MIT
//
// latency FILE.json (MAPPINGS REPEATS)...: what single operations of the VA managers take, ours and
// the kernel's own.
//
// A sequence of operations is the same each time, and is repeated; of each operation the shortest
// time counts, because what interrupts it does so elsewhere the next time. What remains long is so
// by itself. FILE.json has how many operations took how long (bench/ratios.py makes percentiles of
// that), with what reading the clock takes in it.
//
// An insertion is one of those that build a space; a request to replace is done to one that has
// seen many.

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <map>
#include <string>
#include <vector>

#include "bench/host/ticks.h"
#include "bench/host/va_work.h"
#include "bench/host/va_world.h"

namespace {

// One in a thousand of so many is still ten.
constexpr size_t kOperations = 10'000;
constexpr size_t kMostReplaced = 100'000;

// For each operation of a sequence the least that it took.
class Least {
public:
	void begin() { at_ = 0; }

	template <class Work> void time(Work work)
	{
		const uint64_t begin = ticks();

		work();
		add(ticks() - begin);
	}

	// How many took how many ticks.
	std::map<uint64_t, size_t> counts() const
	{
		std::map<uint64_t, size_t> counts;

		for (const uint64_t least : least_)
			counts[least]++;
		return counts;
	}

private:
	void add(uint64_t took)
	{
		if (at_ == least_.size())
			least_.push_back(took);
		least_[at_] = std::min(least_[at_], took);
		at_++;
	}

	std::vector<uint64_t> least_;
	size_t at_ = 0;
};

void time_inserts(const va_side &side, size_t mappings, Least &least)
{
	// Each small space is built in a few steps, so there are several.
	const size_t spaces = std::max<size_t>(kOperations / mappings, 1);

	for (size_t i = 0; i < spaces; i++) {
		va_world *const world = side.create(mappings, 0, VA_RANDOM, kSeed + i);

		for (size_t done = 0; done < mappings; done++)
			least.time([&] { side.insert(world, 1); });
		side.destroy(world);
	}
}

template <auto replace> void time_replaces(const va_side &side, size_t mappings, Least &least)
{
	const World owner(side, mappings, VA_RANDOM, Replaced::Yes);
	const size_t requests = std::clamp(mappings, kOperations, kMostReplaced);

	for (size_t done = 0; done < requests; done++)
		least.time([&] { (side.*replace)(owner.world, 1); });
}

struct Workload {
	const char *name;
	void (*time)(const va_side &side, size_t mappings, Least &least);
};

constexpr Workload kWorkloads[] = {
	{"insert", time_inserts},
	{"replace", time_replaces<&va_side::replace>},
	{"replace_whole", time_replaces<&va_side::replace_whole>},
};
constexpr const va_side *kSides[] = {&va_kernels, &va_ours};

void print_list(FILE *out, const char *name, const std::vector<double> &values)
{
	std::fprintf(out, ", \"%s\": [", name);
	for (size_t i = 0; i < values.size(); i++)
		std::fprintf(out, "%s%.6g", i != 0 ? ", " : "", values[i]);
	std::fprintf(out, "]");
}

void print(FILE *out, const std::string &name, const Least &least)
{
	std::vector<double> ns, counts;

	for (const auto &[took, count] : least.counts()) {
		ns.push_back(static_cast<double>(took) * seconds_per_tick() * 1e9);
		counts.push_back(static_cast<double>(count));
	}
	std::fprintf(out, "\t{\"run_name\": \"%s\", \"run_type\": \"latency\"", name.c_str());
	print_list(out, "ns", ns);
	print_list(out, "counts", counts);
	std::fprintf(out, "}");
}

// What is timed when nothing is.
double empty_ns()
{
	Least least;

	for (size_t i = 0; i < kOperations; i++)
		least.time([] {});
	return static_cast<double>(least.counts().begin()->first) * seconds_per_tick() * 1e9;
}

} // namespace

int main(int argc, char **argv)
{
	if (argc < 4 || argc % 2 != 0) {
		std::fprintf(stderr, "usage: latency FILE.json (MAPPINGS REPEATS)...\n");
		return 2;
	}
	FILE *const out = std::fopen(argv[1], "w");
	const std::time_t now = std::time(nullptr);
	char date[32];
	const char *separator = "";

	if (out == nullptr) {
		std::perror(argv[1]);
		return 1;
	}
	std::strftime(date, sizeof(date), "%FT%TZ", std::gmtime(&now));
	std::fprintf(out, "{\"context\": {\"date\": \"%s\", \"empty_ns\": %.3g},\n", date,
		     empty_ns());
	std::fprintf(out, "\"benchmarks\": [\n");
	for (const Workload &workload : kWorkloads) {
		for (int i = 2; i < argc; i += 2) {
			const size_t mappings = std::strtoul(argv[i], nullptr, 10);
			const int repeats = std::atoi(argv[i + 1]);

			for (const va_side *side : kSides) {
				Least least;

				// In turn, the sides would evict each other's memory.
				for (int repeat = 0; repeat < repeats; repeat++) {
					least.begin();
					workload.time(*side, mappings, least);
				}
				std::fputs(separator, out);
				separator = ",\n";
				print(out,
				      std::string(workload.name) + "/" + side->name + "/" +
					      std::to_string(mappings),
				      least);
			}
		}
	}
	std::fprintf(out, "\n]}\n");
	if (std::fclose(out) != 0) {
		std::perror(argv[1]);
		return 1;
	}
	return 0;
}
