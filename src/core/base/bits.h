// SPDX-License-Identifier: GPL-2.0-only OR MIT
//
// Small arithmetic that cannot overflow: smaller and greater, logarithms, bits.
//
// Preconditions are stated per function; the compiler's own builtins have no
// defined result for zero, so the functions here say what theirs is. Division is by
// powers of two only (a 128-bit division would need a library the kernel has not).
#ifndef DSVM_CORE_BASE_BITS_H
#define DSVM_CORE_BASE_BITS_H

#include "core/base/utility.h"

namespace dsvm {

template <class T> [[nodiscard]] constexpr T min(T a, T b)
{
	return b < a ? b : a;
}

template <class T> [[nodiscard]] constexpr T max(T a, T b)
{
	return a < b ? b : a;
}

// `value` brought into [low, high]. Precondition: low <= high.
template <class T> [[nodiscard]] constexpr T clamp(T value, T low, T high)
{
	return value < low ? low : high < value ? high : value;
}

// The number of zero bits below the lowest one; 64 for 0.
[[nodiscard]] constexpr u32 count_trailing_zeros(u64 value)
{
	return value == 0 ? 64 : static_cast<u32>(__builtin_ctzll(value));
}

// The number of zero bits above the highest one; 64 for 0.
[[nodiscard]] constexpr u32 count_leading_zeros(u64 value)
{
	return value == 0 ? 64 : static_cast<u32>(__builtin_clzll(value));
}

// The greatest n with 2^n <= value; 0 for 0.
[[nodiscard]] constexpr u32 ilog2(u64 value)
{
	return value == 0 ? 0 : 63 - count_leading_zeros(value);
}

// Zero is not a power of two.
[[nodiscard]] constexpr bool is_power_of_two(u64 value)
{
	return value != 0 && (value & (value - 1)) == 0;
}

// Whether `value` is a multiple of `alignment`, a power of two.
[[nodiscard]] constexpr bool is_aligned(u64 value, u64 alignment)
{
	return (value & (alignment - 1)) == 0;
}

// The greatest multiple of `alignment`, a power of two, that is not above `value`.
[[nodiscard]] constexpr u64 align_down(u64 value, u64 alignment)
{
	return value & ~(alignment - 1);
}

} // namespace dsvm

#endif // DSVM_CORE_BASE_BITS_H
