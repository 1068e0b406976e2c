// SPDX-License-Identifier: GPL-2.0-only OR MIT
//
// A span of addresses, both ends included.
//
// Why inclusive: the span of all 2^64 addresses is then a value like any other, and
// so is a span that ends at the top. Half-open pairs exist only at the border, where
// the kernel's calls want them; from_start_end() and end() convert there and nowhere
// else. No field in the core is called "end".
//
//	first                          last
//	  |------------------------------|
//	 0x1000                        0x2fff        two pages, size() == 0x2000
//
// Invariant: first <= last. Hence a VaRange is never empty; an operation whose
// result may be empty returns Expected. The two fields are public because the range
// is a plain value; whoever writes them by hand keeps the invariant.
//
// The one number that does not fit is the size of the full space, 2^64: size() is 0
// for it. page_count() always fits.
#ifndef DSVM_CORE_BASE_VA_RANGE_H
#define DSVM_CORE_BASE_VA_RANGE_H

#include "core/base/bits.h"
#include "core/base/result.h"

namespace dsvm {

struct VaRange {
	u64 first; // the lowest address in it
	u64 last;  // the highest address in it; not below `first`

	// [start, end), where end == 0 stands for 2^64. kInvalid if that is empty or
	// upside down.
	[[nodiscard]] static constexpr Expected<VaRange> from_start_end(u64 start, u64 end)
	{
		// With end == 0 this wraps to the top, which is what is meant, even for start == 0.
		const u64 last = end - 1;
		if (start > last)
			return kInvalid;
		return VaRange{start, last};
	}

	// `size` bytes from `start`; kInvalid if size is 0, kOverflow beyond the top.
	[[nodiscard]] static constexpr Expected<VaRange> from_start_size(u64 start, u64 size)
	{
		u64 last = 0;
		if (size == 0)
			return kInvalid;
		if (__builtin_add_overflow(start, size - 1, &last))
			return kOverflow;
		return VaRange{start, last};
	}

	[[nodiscard]] static constexpr VaRange full() { return VaRange{0, kU64Max}; }

	[[nodiscard]] constexpr bool is_well_formed() const { return first <= last; }
	[[nodiscard]] constexpr bool is_page_aligned() const
	{
		return (first & ~kPageMask) == 0 && (~last & ~kPageMask) == 0;
	}

	[[nodiscard]] constexpr bool contains(u64 address) const
	{
		return first <= address && address <= last;
	}
	[[nodiscard]] constexpr bool contains(VaRange other) const
	{
		return first <= other.first && other.last <= last;
	}
	[[nodiscard]] constexpr bool overlaps(VaRange other) const
	{
		return first <= other.last && other.first <= last;
	}
	// What both have in common; kNotFound if that is nothing.
	[[nodiscard]] constexpr Expected<VaRange> intersection(VaRange other) const
	{
		if (!overlaps(other))
			return kNotFound;
		return VaRange{max(first, other.first), min(last, other.last)};
	}

	// Bytes; 0 for the full space.
	[[nodiscard]] constexpr u64 size() const { return last - first + 1; }
	// Pages that it touches, whole or in part.
	[[nodiscard]] constexpr u64 page_count() const
	{
		return (last >> kPageShift) - (first >> kPageShift) + 1;
	}
	// One past the last address, for calls that want it so; 0 stands for 2^64.
	[[nodiscard]] constexpr u64 end() const { return last + 1; }

	[[nodiscard]] constexpr bool operator==(const VaRange &) const = default;
};

static_assert(sizeof(VaRange) == 16);

// The block of `size` (a power of two) that holds `addr`.
[[nodiscard]] constexpr VaRange aligned_block(u64 addr, u64 size)
{
	const u64 first = align_down(addr, size);
	return VaRange{first, first + (size - 1)};
}

} // namespace dsvm

#endif // DSVM_CORE_BASE_VA_RANGE_H
