// SPDX-License-Identifier: GPL-2.0-only OR MIT
//
// Spaces of the VA managers, with mappings in them.
#ifndef BENCH_HOST_VA_WORLD_H
#define BENCH_HOST_VA_WORLD_H

#include <cstddef>
#include <cstdint>

#include "bench/host/va_work.h"

constexpr uint64_t kSeed = 0x9e3779b97f4a7c15;

// Requests at random make three mappings out of one, in the long run; `Yes`: they have done so.
enum class Replaced : bool { No, Yes };

// memory.c; what is in use.
extern "C" unsigned long bench_bytes;

struct World {
	const va_side &side;
	va_world *world;
	// What the index takes for each mapping; not known once requests have made more of them.
	double bytes_each = 0;

	World(const va_side &owner, size_t mappings, va_shape shape, Replaced replaced,
	      uint64_t seed = kSeed)
		: side(owner)
	{
		const bool grows = replaced == Replaced::Yes;
		const size_t first = grows ? mappings / 3 : mappings;
		const unsigned long bytes_before = bench_bytes;

		world = side.create(first, grows ? mappings : 0, shape, seed);
		side.insert(world, first);
		if (grows) {
			side.replace(world, 4 * mappings);
			return;
		}
		bytes_each = static_cast<double>(bench_bytes - bytes_before) /
				     static_cast<double>(mappings) +
			     static_cast<double>(side.index_bytes);
	}
	World(const World &) = delete;
	World &operator=(const World &) = delete;
	~World() { side.destroy(world); }
};

#endif // BENCH_HOST_VA_WORLD_H
