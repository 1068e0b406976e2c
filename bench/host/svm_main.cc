// SPDX-License-Identifier: GPL-2.0-only OR MIT
//
// Shared virtual memory, ours and the kernel's own, in one process and in turn (Google Benchmark
// with --benchmark_enable_random_interleaving=true). bench/ratios.py makes a table of what comes
// out.
//
// Names are WORKLOAD/SIDE/RANGES. Counters: ops (a second), allocs (an op).

#include <cstdio>
#include <map>
#include <memory>
#include <string>
#include <utility>

#include <benchmark/benchmark.h>

#include "bench/host/measure.h"
#include "bench/host/svm_work.h"

namespace {

using Work = uint64_t (*)(svm_world *world, size_t count);

struct Workload {
	const char *name;
	Work svm_side::*work;
	// What undoes it, outside of the measurement; or null.
	Work svm_side::*before;
};

constexpr Workload kWorkloads[] = {
	// What the caches make of so many ranges, whoever finds them.
	{"svm_touch", &svm_side::touch, nullptr},
	{"svm_find", &svm_side::find, nullptr},
	{"svm_find_ascending", &svm_side::find_ascending, nullptr},
	{"svm_fault", &svm_side::fault, nullptr},
	{"svm_insert", &svm_side::insert, &svm_side::remove},
	{"svm_remove", &svm_side::remove, &svm_side::insert},
};

struct Size {
	size_t ranges;
	size_t range_size;
};

// Two windows of huge pages, 16, and 64; 16 windows of 64 KiB, and 128.
constexpr Size kSizes[] = {{512, 2u << 20},
			   {4096, 2u << 20},
			   {16'384, 2u << 20},
			   {131'072, 64u << 10},
			   {1'048'576, 64u << 10}};
constexpr uint64_t kSeed = 0x9e3779b97f4a7c15;

struct World {
	const svm_side &side;
	svm_world *world;

	World(const svm_side &owner, Size size)
		: side(owner), world(side.create(size.ranges, size.range_size, kSeed))
	{}
	World(const World &) = delete;
	World &operator=(const World &) = delete;
	~World() { side.destroy(world); }
};

// One for each side and size: what is taken out is put in again.
svm_world *world_for(const svm_side &side, Size size)
{
	static std::map<std::pair<std::string, size_t>, std::unique_ptr<World>> worlds;
	std::unique_ptr<World> &world = worlds[{side.name, size.ranges}];

	if (!world)
		world = std::make_unique<World>(side, size);
	return world->world;
}

void run(benchmark::State &state, const svm_side &side, const Workload &workload, Size size)
{
	svm_world *const world = world_for(side, size);
	// An eighth of all, so that the rest is what it is done to.
	const size_t batch = workload.before != nullptr ? size.ranges / 8 : 1000;

	measure(state, side, world, side.*workload.work,
		workload.before != nullptr ? side.*workload.before : nullptr, batch);
}

// The same requests lead to the same ranges.
bool sides_agree()
{
	uint64_t prints[2] = {};

	for (size_t i = 0; i < 2; i++) {
		const svm_side &side = i == 0 ? svm_kernels : svm_ours;

		for (const Size size : {Size{2000, 64u << 10}, Size{900, 2u << 20}}) {
			svm_world *const world = side.create(size.ranges, size.range_size, kSeed);

			side.remove(world, 700);
			prints[i] = prints[i] * 31 + side.fingerprint(world);
			side.insert(world, 0);
			prints[i] = prints[i] * 31 + side.find(world, 1000);
			prints[i] = prints[i] * 31 + side.fault(world, 1000);
			prints[i] = prints[i] * 31 + side.find_ascending(world, 1000);
			side.remove(world, 10 * size.ranges);
			side.insert(world, 0);
			prints[i] = prints[i] * 31 + side.fingerprint(world);
			side.destroy(world);
		}
	}
	return prints[0] == prints[1];
}

} // namespace

int main(int argc, char **argv)
{
	for (const Workload &workload : kWorkloads) {
		const Watch watch = workload.before != nullptr ? Watch::Measure : Watch::Library;

		for (const Size size : kSizes) {
			for (const svm_side *side : {&svm_kernels, &svm_ours}) {
				const std::string name = std::string(workload.name) + "/" +
							 side->name + "/" +
							 std::to_string(size.ranges);

				add_benchmark(name, watch, [&workload, side, size](auto &state) {
					run(state, *side, workload, size);
				});
			}
		}
	}
	benchmark::Initialize(&argc, argv);
	if (!sides_agree()) {
		std::fprintf(stderr, "svm: the same requests have led to other ranges\n");
		return 1;
	}
	benchmark::RunSpecifiedBenchmarks();
	return 0;
}
