// SPDX-License-Identifier: GPL-2.0-only OR MIT
//
// Addresses in bytes and in pages, as two types that do not mix.
//
// Half of the arithmetic in shared virtual memory is bytes and the other half is
// pages, and the classic bug is one shift too many or too few. ByteAddress and
// PageIndex are a u64 each; the only ways between them are page() and address(),
// and the only arithmetic is the kind that says when it overflows.
//
//	ByteAddress(0x7fff'ffff'f123).page()        == PageIndex(0x7'ffff'ffff)
//	PageIndex(3).address().value()              == ByteAddress(0x3000)
//	PageIndex(1ull << 52).address().status()    == kOverflow
//
// They are values: trivially copyable, passed in registers, compared with ==. For
// spans of addresses see core/base/va_range.h.
#ifndef DSVM_CORE_BASE_TYPES_H
#define DSVM_CORE_BASE_TYPES_H

#include "core/base/result.h"
#include "core/base/utility.h"

namespace dsvm {

class PageIndex;

// An address in bytes, in whatever address space the context says.
class ByteAddress {
public:
	constexpr ByteAddress() = default;
	constexpr explicit ByteAddress(u64 value) : value_(value) {}

	[[nodiscard]] constexpr u64 value() const { return value_; }
	// The page that holds this byte.
	[[nodiscard]] constexpr PageIndex page() const;
	// Where in its page the byte lies.
	[[nodiscard]] constexpr u64 page_offset() const { return value_ & ~kPageMask; }
	[[nodiscard]] constexpr bool is_page_aligned() const { return page_offset() == 0; }

	// kOverflow if the result does not fit into 64 bits.
	[[nodiscard]] constexpr Expected<ByteAddress> plus(u64 bytes) const;
	[[nodiscard]] constexpr Expected<ByteAddress> minus(u64 bytes) const;
	// Bytes from `base` to here; kOverflow if `base` is above.
	[[nodiscard]] constexpr Expected<u64> distance_from(ByteAddress base) const;

	[[nodiscard]] constexpr bool is_below(ByteAddress other) const
	{
		return value_ < other.value_;
	}
	[[nodiscard]] constexpr bool operator==(const ByteAddress &) const = default;

private:
	u64 value_ = 0;
};

// An address in pages: a byte address shifted right by the page shift.
class PageIndex {
public:
	constexpr PageIndex() = default;
	constexpr explicit PageIndex(u64 value) : value_(value) {}

	[[nodiscard]] constexpr u64 value() const { return value_; }
	// The first byte of the page; kOverflow if no byte address reaches it.
	[[nodiscard]] constexpr Expected<ByteAddress> address() const;

	[[nodiscard]] constexpr Expected<PageIndex> plus(u64 pages) const;
	[[nodiscard]] constexpr Expected<PageIndex> minus(u64 pages) const;
	// Pages from `base` to here; kOverflow if `base` is above.
	[[nodiscard]] constexpr Expected<u64> distance_from(PageIndex base) const;

	[[nodiscard]] constexpr bool is_below(PageIndex other) const
	{
		return value_ < other.value_;
	}
	[[nodiscard]] constexpr bool operator==(const PageIndex &) const = default;

private:
	u64 value_ = 0;
};

constexpr PageIndex ByteAddress::page() const
{
	return PageIndex(value_ >> kPageShift);
}

constexpr Expected<ByteAddress> ByteAddress::plus(u64 bytes) const
{
	u64 sum = 0;
	if (__builtin_add_overflow(value_, bytes, &sum))
		return kOverflow;
	return ByteAddress(sum);
}

constexpr Expected<ByteAddress> ByteAddress::minus(u64 bytes) const
{
	if (bytes > value_)
		return kOverflow;
	return ByteAddress(value_ - bytes);
}

constexpr Expected<u64> ByteAddress::distance_from(ByteAddress base) const
{
	if (base.value_ > value_)
		return kOverflow;
	return value_ - base.value_;
}

constexpr Expected<ByteAddress> PageIndex::address() const
{
	if (value_ > (kU64Max >> kPageShift))
		return kOverflow;
	return ByteAddress(value_ << kPageShift);
}

constexpr Expected<PageIndex> PageIndex::plus(u64 pages) const
{
	u64 sum = 0;
	if (__builtin_add_overflow(value_, pages, &sum))
		return kOverflow;
	return PageIndex(sum);
}

constexpr Expected<PageIndex> PageIndex::minus(u64 pages) const
{
	if (pages > value_)
		return kOverflow;
	return PageIndex(value_ - pages);
}

constexpr Expected<u64> PageIndex::distance_from(PageIndex base) const
{
	if (base.value_ > value_)
		return kOverflow;
	return value_ - base.value_;
}

} // namespace dsvm

#endif // DSVM_CORE_BASE_TYPES_H
