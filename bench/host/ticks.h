// SPDX-License-Identifier: GPL-2.0-only OR MIT
//
// The processor's own clock, for what is too short for the system's.
#ifndef BENCH_HOST_TICKS_H
#define BENCH_HOST_TICKS_H

#include <chrono>
#include <cstdint>

#include <x86intrin.h>

// The time; nothing that comes before it in the program is still going on, and nothing that comes
// after it has begun.
inline uint64_t ticks()
{
	_mm_lfence();
	const uint64_t now = __rdtsc();

	_mm_lfence();
	return now;
}

inline double seconds_per_tick()
{
	static const double seconds = [] {
		using Clock = std::chrono::steady_clock;
		const Clock::time_point begin = Clock::now();
		const uint64_t first = ticks();
		Clock::time_point end;

		do {
			end = Clock::now();
		} while (end - begin < std::chrono::milliseconds(50));
		return std::chrono::duration<double>(end - begin).count() /
		       static_cast<double>(ticks() - first);
	}();

	return seconds;
}

#endif // BENCH_HOST_TICKS_H
