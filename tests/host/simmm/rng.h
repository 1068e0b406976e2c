// SPDX-License-Identifier: GPL-2.0-only OR MIT
//
// Random numbers that are the same on every machine: splitmix64 (Steele, Lea, Flood:
// "Fast splittable pseudorandom number generators", 2014). Also a hash of one word.
#ifndef DSVM_SIMMM_RNG_H
#define DSVM_SIMMM_RNG_H

#include <cstdint>

namespace dsvm::sim {

constexpr uint64_t mix(uint64_t z)
{
	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
	z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
	return z ^ (z >> 31);
}

class Rng {
public:
	explicit Rng(uint64_t seed) : state_(seed) {}

	uint64_t next() { return mix(state_ += 0x9e3779b97f4a7c15); }
	// One of 0 .. bound - 1.
	uint32_t below(uint32_t bound)
	{
		return static_cast<uint32_t>(((next() >> 32) * bound) >> 32);
	}
	bool chance(uint32_t percent) { return below(100) < percent; }

private:
	uint64_t state_;
};

} // namespace dsvm::sim

#endif // DSVM_SIMMM_RNG_H
