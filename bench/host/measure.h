// SPDX-License-Identifier: GPL-2.0-only OR MIT
//
// How a workload of either comparison is measured.
#ifndef BENCH_HOST_MEASURE_H
#define BENCH_HOST_MEASURE_H

#include <cstdint>

#include <benchmark/benchmark.h>

// Allocations so far, by whom ever.
extern "C" unsigned long bench_allocs;

// Does `batch` of `work` again and again, which says how many it did; `before`, or null, is what
// undoes it, outside of the measurement, and then all is put in again at the end.
template <class Side, class World>
void measure(benchmark::State &state, const Side &side, World *world,
	     uint64_t (*work)(World *, size_t), uint64_t (*before)(World *, size_t), size_t batch)
{
	size_t done = 0;

	if (before != nullptr)
		before(world, batch);
	const unsigned long allocs = bench_allocs;
	for (auto _ : state) {
		const uint64_t result = work(world, batch);

		benchmark::DoNotOptimize(result);
		done += batch;
		if (before != nullptr) {
			state.PauseTiming();
			done += result - batch;
			before(world, batch);
			state.ResumeTiming();
		}
	}
	if (before != nullptr)
		side.insert(world, batch);
	state.SetItemsProcessed(static_cast<int64_t>(done));
	state.counters["allocs"] = static_cast<double>(bench_allocs - allocs) /
				   static_cast<double>(done != 0 ? done : 1);
}

#endif // BENCH_HOST_MEASURE_H
