// SPDX-License-Identifier: GPL-2.0-only OR MIT
//
// Arithmetic on what user space and drivers hand in.
//
// Each function returns the exact mathematical result or kOverflow; none wraps.
// Where operands are known to be in range, plain arithmetic reads better: keep these
// for the places where a number enters the library.
#ifndef DSVM_CORE_BASE_CHECKED_H
#define DSVM_CORE_BASE_CHECKED_H

#include "core/base/bits.h"
#include "core/base/result.h"

namespace dsvm {

[[nodiscard]] constexpr Expected<u64> checked_add(u64 a, u64 b)
{
	u64 result = 0;
	if (__builtin_add_overflow(a, b, &result))
		return kOverflow;
	return result;
}

[[nodiscard]] constexpr Expected<u64> checked_sub(u64 a, u64 b)
{
	u64 result = 0;
	if (__builtin_sub_overflow(a, b, &result))
		return kOverflow;
	return result;
}

[[nodiscard]] constexpr Expected<u64> checked_mul(u64 a, u64 b)
{
	u64 result = 0;
	if (__builtin_mul_overflow(a, b, &result))
		return kOverflow;
	return result;
}

// The smallest multiple of `alignment` that is not below `value`. kInvalid if
// `alignment` is no power of two, kOverflow if the result needs a 65th bit.
[[nodiscard]] constexpr Expected<u64> align_up(u64 value, u64 alignment)
{
	if (!is_power_of_two(alignment))
		return kInvalid;
	u64 sum = 0;
	if (__builtin_add_overflow(value, alignment - 1, &sum))
		return kOverflow;
	return align_down(sum, alignment);
}

} // namespace dsvm

#endif // DSVM_CORE_BASE_CHECKED_H
