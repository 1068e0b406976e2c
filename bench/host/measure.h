// SPDX-License-Identifier: GPL-2.0-only OR MIT
//
// How a workload of either comparison is measured.
#ifndef BENCH_HOST_MEASURE_H
#define BENCH_HOST_MEASURE_H

#include <algorithm>
#include <cstdint>
#include <ctime>
#include <limits>
#include <string>

#include <benchmark/benchmark.h>

#include "bench/host/ticks.h"

// Allocations so far, by whom ever.
extern "C" unsigned long bench_allocs;

enum class Length : bool { Long, Short };

// What time it is for a thread that is often interrupted, by its own clock; but asking for that
// takes as long as ten operations, so a short batch goes by the processor's.
inline double seconds_now(Length batch)
{
	// Found out by waiting, the first time.
	const double tick = seconds_per_tick();
	timespec now;

	if (batch == Length::Short)
		return static_cast<double>(ticks()) * tick;
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
	return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) * 1e-9;
}

// Does `batch` of `work` again and again, which says how many it did; `before`, or null, is what
// undoes it, outside of the measurement, and then all is put in again at the end.
template <class Side, class World>
void measure(benchmark::State &state, const Side &side, World *world,
	     uint64_t (*work)(World *, size_t), uint64_t (*before)(World *, size_t), size_t batch)
{
	const Length length = batch < 1000 ? Length::Short : Length::Long;
	double shortest = std::numeric_limits<double>::max();
	unsigned long allocs = 0;
	uint64_t done = 0;

	for (auto _ : state) {
		if (before == nullptr) {
			const unsigned long allocs_then = bench_allocs;
			const uint64_t result = work(world, batch);

			benchmark::DoNotOptimize(result);
			allocs += bench_allocs - allocs_then;
			done += batch;
			continue;
		}
		before(world, batch);

		const unsigned long allocs_then = bench_allocs;
		const double begin = seconds_now(length);
		const uint64_t result = work(world, batch);
		const double took = seconds_now(length) - begin;

		shortest = std::min(shortest, took);
		if (length == Length::Short && took > 10 * shortest) {
			// It was interrupted, and does not count.
			state.SetIterationTime(0);
			continue;
		}
		state.SetIterationTime(took);
		allocs += bench_allocs - allocs_then;
		done += result;
	}
	if (before != nullptr)
		side.insert(world, batch);
	state.SetItemsProcessed(static_cast<int64_t>(done));
	state.counters["allocs"] =
		static_cast<double>(allocs) / static_cast<double>(done != 0 ? done : 1);
}

// Who watches the time. What undoes a batch is not to count, and to stop the library's watch takes
// longer than a small batch does.
enum class Watch : bool { Library, Measure };

// One workload of one side at one size.
template <class Run> void add_benchmark(const std::string &name, Watch watch, Run run)
{
	benchmark::internal::Benchmark *const benchmark =
		benchmark::RegisterBenchmark(name.c_str(), run);

	if (watch == Watch::Measure)
		benchmark->UseManualTime();
}

#endif // BENCH_HOST_MEASURE_H
