// SPDX-License-Identifier: GPL-2.0-only OR MIT
//
// The VA manager, ours and the kernel's own, and the kernel's maple tree, in one process and in
// turn (Google Benchmark with --benchmark_enable_random_interleaving=true). bench/ratios.py makes
// a table of what comes out.
//
// Names are WORKLOAD/SIDE/MAPPINGS. Counters: ops (a second), allocs (an op).

#include <cstdio>
#include <map>
#include <memory>
#include <string>
#include <tuple>

#include <benchmark/benchmark.h>

#include "bench/host/measure.h"
#include "bench/host/va_work.h"
#include "bench/host/va_world.h"

namespace {

using Work = uint64_t (*)(va_world *world, size_t count);

struct Workload {
	const char *name;
	va_shape shape;
	Work va_side::*work;
	// What comes before it, outside of the measurement; or null.
	Work va_side::*before;
	// The maple tree can do it as well.
	bool maple = false;
};

constexpr Workload kWorkloads[] = {
	// What the caches make of so many mappings, whoever finds them.
	{"touch", VA_RANDOM, &va_side::touch, nullptr, true},
	{"find", VA_RANDOM, &va_side::find, nullptr, true},
	{"find_read", VA_RANDOM, &va_side::find_read, nullptr, true},
	{"find_hole", VA_RANDOM, &va_side::find_hole, nullptr, true},
	{"find_ascending", VA_RANDOM, &va_side::find_ascending, nullptr, true},
	{"walk", VA_RANDOM, &va_side::walk, nullptr, true},
	{"insert", VA_RANDOM, &va_side::insert, &va_side::take_out, true},
	{"remove", VA_RANDOM, &va_side::remove, &va_side::choose, true},
	{"replace", VA_RANDOM, &va_side::replace, nullptr},
	{"replace_sparse", VA_SPARSE, &va_side::replace_ascending, nullptr},
	{"replace_whole", VA_RANDOM, &va_side::replace_whole, nullptr},
	{"replace_whole_sparse", VA_SPARSE, &va_side::replace_whole_ascending, nullptr},
	{"split_list", VA_RANDOM, &va_side::split_list, nullptr},
};
constexpr size_t kMappings[] = {100, 1000, 10'000, 100'000, 1'000'000};

// Requests at random.
bool replaces(const Workload &workload)
{
	return workload.work == &va_side::replace || workload.work == &va_side::replace_whole;
}

// Of each kind and size one for each side and workload: what replaces leaves another one behind.
World &world_for(const va_side &side, const Workload &workload, size_t mappings)
{
	using Key = std::tuple<std::string, std::string, size_t>;
	static std::map<Key, std::unique_ptr<World>> worlds;
	// One that only looks, or puts back what it has taken, may share.
	const bool alone = replaces(workload) || workload.shape == VA_SPARSE;
	std::unique_ptr<World> &world =
		worlds[Key{side.name, alone ? workload.name : "", mappings}];

	if (!world)
		world = std::make_unique<World>(side, mappings, workload.shape,
						replaces(workload) ? Replaced::Yes : Replaced::No);
	return *world;
}

void run(benchmark::State &state, const va_side &side, const Workload &workload, size_t mappings)
{
	const World &world = world_for(side, workload, mappings);
	const bool changes = workload.before != nullptr;
	// All, lest a few stay near; or of few mappings an eighth, so that the rest is what it is
	// done to.
	const size_t batch = workload.work == &va_side::walk ? std::max<size_t>(mappings, 1000)
			     : changes ? std::min<size_t>(mappings / 8 + 1, 1000)
				       : 1000;

	// Before anything else is done to them.
	if (world.bytes_each != 0)
		state.counters["bytes"] = world.bytes_each;
	if (changes)
		side.stay_out(world.world, mappings / 8);
	measure(state, side, world.world, side.*workload.work,
		changes ? side.*workload.before : nullptr, batch);
	if (changes)
		side.stay_out(world.world, 0);
}

enum class Requests : bool { No, Yes };

// What a sequence of insertions, removals, and requests to replace leads to.
uint64_t print_of(const va_side &side, Requests requests)
{
	uint64_t print = 0;

	for (const va_shape shape : {VA_RANDOM, VA_SPARSE}) {
		va_world *const world = side.create(1000, 3000, shape, kSeed);

		side.insert(world, 1000);
		side.stay_out(world, 70);
		side.take_out(world, 100);
		side.insert(world, 50);
		print = print * 31 + side.fingerprint(world);
		side.insert(world, 50);
		if (requests == Requests::Yes) {
			side.replace(world, 5000);
			side.replace_ascending(world, 500);
			side.replace_whole(world, 5000);
			side.replace_whole_ascending(world, 500);
		}
		print = print * 31 + side.fingerprint(world);
		side.destroy(world);
	}
	return print;
}

// The same requests lead to the same mappings.
bool sides_agree()
{
	return print_of(va_kernels, Requests::Yes) == print_of(va_ours, Requests::Yes) &&
	       print_of(va_kernels, Requests::No) == print_of(va_maple, Requests::No);
}

} // namespace

int main(int argc, char **argv)
{
	for (const Workload &workload : kWorkloads) {
		const Watch watch = workload.before != nullptr ? Watch::Measure : Watch::Library;

		for (const size_t mappings : kMappings) {
			for (const va_side *side : {&va_kernels, &va_ours, &va_maple}) {
				if (side == &va_maple && !workload.maple)
					continue;
				const std::string name = std::string(workload.name) + "/" +
							 side->name + "/" +
							 std::to_string(mappings);

				add_benchmark(name, watch,
					      [&workload, side, mappings](auto &state) {
						      run(state, *side, workload, mappings);
					      });
			}
		}
	}
	benchmark::Initialize(&argc, argv);
	if (!sides_agree()) {
		std::fprintf(stderr, "va: the same requests have led to other mappings\n");
		return 1;
	}
	benchmark::RunSpecifiedBenchmarks();
	return 0;
}
