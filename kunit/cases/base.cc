// SPDX-License-Identifier: GPL-2.0-only OR MIT
//
// Cases for the small parts of core/base: results, guards, arithmetic, addresses,
// ranges, reference counts.

#include "core/base/array.h"
#include "core/base/checked.h"
#include "core/base/guard.h"
#include "core/base/refcount.h"
#include "core/base/result.h"
#include "core/base/types.h"
#include "core/base/va_range.h"
#include "kunit/case.h"

namespace dsvm {
namespace {

// Counts its lives, so that a case sees copies, moves and leaks.
struct Tracked {
	explicit Tracked(int *alive) : alive_(alive) { (*alive_)++; }
	Tracked(Tracked &&other) noexcept : alive_(other.alive_), moved_from_(false)
	{
		other.moved_from_ = true;
		(*alive_)++;
	}
	Tracked(const Tracked &) = delete;
	Tracked &operator=(const Tracked &) = delete;
	~Tracked() { (*alive_)--; }

	int *alive_;
	bool moved_from_ = false;
};

Expected<Tracked> make_tracked(int *alive, Status status)
{
	if (status.is_error())
		return status;
	return Tracked(alive);
}

Status try_status(Status inner, int *reached)
{
	DSVM_TRY(inner);
	(*reached)++;
	return Status::ok();
}

Expected<int> try_value(Expected<int> inner, int *reached)
{
	const int value = DSVM_TRY(inner);

	(*reached)++;
	return value + 1;
}

Expected<int> try_tracked(int *alive, Status status)
{
	const Tracked tracked = DSVM_TRY(make_tracked(alive, status));

	return *tracked.alive_;
}

Expected<u64> guarded(u64 value, u64 *unwound)
{
	auto guard = on_exit([&] { (*unwound)++; });
	const u64 sum = DSVM_TRY(checked_add(value, 1));

	guard.release();
	return sum;
}

struct Counted {
	void get() { count.get(); }
	void put()
	{
		if (count.put())
			dead++;
	}

	RefCount count;
	int dead = 0;
};

} // namespace
} // namespace dsvm

using namespace dsvm;

DSVM_CASE(result, status)
{
	DSVM_EXPECT(Status::ok().is_ok());
	DSVM_EXPECT(!Status::ok().is_error());
	DSVM_EXPECT(Status() == Status::ok());
	DSVM_EXPECT_EQ(kNoMemory.code(), -12);
	DSVM_EXPECT(kBusy.is_error());
	DSVM_EXPECT(!(kBusy == kAgain));
	DSVM_EXPECT(Status(-DSVM_EPERM) == kPermission);
}

DSVM_CASE(result, expected_value_or_error)
{
	Expected<u64> value = u64{7};
	Expected<u64> error = kNoSpace;

	DSVM_EXPECT(value.is_ok());
	DSVM_EXPECT_EQ(value.value(), 7u);
	DSVM_EXPECT(value.status() == Status::ok());
	DSVM_EXPECT(error.is_error());
	DSVM_EXPECT(error.status() == kNoSpace);
	DSVM_EXPECT_EQ(error.value_or(3), 3u);
	static_assert(__is_trivially_copyable(Expected<u64>));
	static_assert(__is_trivially_copyable(Expected<int *>));
	static_assert(__has_trivial_destructor(Expected<VaRange>));
	static_assert(!__has_trivial_destructor(Expected<Tracked>));
}

DSVM_CASE(result, expected_from_success_is_reported)
{
	dsvm_env_expect_begin();
	const Expected<int> wrong = Status::ok();
	DSVM_EXPECT_EQ(dsvm_env_expect_end(), 1u);
	DSVM_EXPECT(wrong.status() == kInvalid);
}

DSVM_CASE(result, move_only_values)
{
	int alive = 0;
	{
		Expected<Tracked> first = make_tracked(&alive, Status::ok());
		DSVM_EXPECT_EQ(alive, 1);
		Expected<Tracked> second = move(first);
		DSVM_EXPECT_EQ(alive, 2);
		DSVM_EXPECT(first.value().moved_from_);
		const Tracked out = second.release_value();
		DSVM_EXPECT(!out.moved_from_);
	}
	DSVM_EXPECT_EQ(alive, 0);
	{
		const Expected<Tracked> error = make_tracked(&alive, kIo);
		DSVM_EXPECT_EQ(alive, 0);
		DSVM_EXPECT(error.status() == kIo);
	}
	DSVM_EXPECT_EQ(alive, 0);
}

DSVM_CASE(result, try_unwraps_or_returns)
{
	int reached = 0;
	int alive = 0;

	DSVM_EXPECT(try_status(Status::ok(), &reached).is_ok());
	DSVM_EXPECT_EQ(reached, 1);
	DSVM_EXPECT(try_status(kInterrupted, &reached) == kInterrupted);
	DSVM_EXPECT_EQ(reached, 1);
	DSVM_EXPECT_EQ(try_value(41, &reached).value(), 42);
	DSVM_EXPECT(try_value(kFault, &reached).status() == kFault);
	DSVM_EXPECT_EQ(reached, 2);
	DSVM_EXPECT_EQ(try_tracked(&alive, Status::ok()).value(), 1);
	DSVM_EXPECT(try_tracked(&alive, kNoMemory).status() == kNoMemory);
	DSVM_EXPECT_EQ(alive, 0);
}

DSVM_CASE(result, verify_warns_and_goes_on)
{
	DSVM_EXPECT(DSVM_VERIFY(1 + 1 == 2));
	dsvm_env_expect_begin();
	const bool held = DSVM_VERIFY(1 + 1 == 3);
	DSVM_EXPECT_EQ(dsvm_env_expect_end(), 1u);
	DSVM_EXPECT(!held);
}

DSVM_CASE(result, guard_runs_unless_released)
{
	u64 unwound = 0;

	DSVM_EXPECT_EQ(guarded(1, &unwound).value(), 2u);
	DSVM_EXPECT_EQ(unwound, 0u);
	DSVM_EXPECT(guarded(kU64Max, &unwound).status() == kOverflow);
	DSVM_EXPECT_EQ(unwound, 1u);
}

DSVM_CASE(result, guards_unwind_in_reverse)
{
	u32 order = 0;
	{
		auto first = on_exit([&] { order = order * 10 + 1; });
		auto second = on_exit([&] { order = order * 10 + 2; });
		DSVM_EXPECT_EQ(order, 0u);
	}
	DSVM_EXPECT_EQ(order, 21u);
}

DSVM_CASE(checked, add_sub_mul)
{
	DSVM_EXPECT_EQ(checked_add(kU64Max, 0).value(), kU64Max);
	DSVM_EXPECT(checked_add(kU64Max, 1).status() == kOverflow);
	DSVM_EXPECT_EQ(checked_sub(5, 5).value(), 0u);
	DSVM_EXPECT(checked_sub(5, 6).status() == kOverflow);
	DSVM_EXPECT_EQ(checked_mul(1ull << 32, (1ull << 32) - 1).value(), ~0ull << 32);
	DSVM_EXPECT(checked_mul(1ull << 32, 1ull << 32).status() == kOverflow);
	DSVM_EXPECT_EQ(checked_mul(0, kU64Max).value(), 0u);
}

DSVM_CASE(checked, alignment)
{
	DSVM_EXPECT_EQ(align_up(0, 4096).value(), 0u);
	DSVM_EXPECT_EQ(align_up(1, 4096).value(), 4096u);
	DSVM_EXPECT_EQ(align_up(4096, 4096).value(), 4096u);
	DSVM_EXPECT_EQ(align_up(kU64Max - 4095, 4096).value(), kU64Max - 4095);
	DSVM_EXPECT(align_up(kU64Max - 4094, 4096).status() == kOverflow);
	DSVM_EXPECT_EQ(align_up(kU64Max, 1).value(), kU64Max);
	DSVM_EXPECT(align_up(1, 0).status() == kInvalid);
	DSVM_EXPECT(align_up(1, 3).status() == kInvalid);
	DSVM_EXPECT_EQ(align_down(kU64Max, 1ull << 63), 1ull << 63);
	DSVM_EXPECT(is_aligned(0, 1ull << 63));
	DSVM_EXPECT(!is_aligned(4095, 4096));
}

DSVM_CASE(checked, array_size)
{
	Array<u64> fits;
	Array<u64> wraps;

	DSVM_EXPECT(fits.allocate(3) == Status::ok());
	DSVM_EXPECT(fits.data() != nullptr);
	DSVM_EXPECT(wraps.allocate((usize{1} << 61) + 3) == kOverflow);
	DSVM_EXPECT(wraps.data() == nullptr);
}

DSVM_CASE(checked, bits)
{
	DSVM_EXPECT_EQ(count_trailing_zeros(0), 64u);
	DSVM_EXPECT_EQ(count_leading_zeros(0), 64u);
	DSVM_EXPECT_EQ(ilog2(0), 0u);
	DSVM_EXPECT_EQ(ilog2(kU64Max), 63u);
	for (u32 bit = 0; bit < 64; bit++) {
		const u64 value = 1ull << bit;

		DSVM_EXPECT(is_power_of_two(value));
		DSVM_EXPECT_EQ(ilog2(value), bit);
		DSVM_EXPECT_EQ(count_trailing_zeros(value), bit);
		DSVM_EXPECT_EQ(count_leading_zeros(value), 63 - bit);
	}
	DSVM_EXPECT(!is_power_of_two(0));
	DSVM_EXPECT(!is_power_of_two(6));
	DSVM_EXPECT_EQ(min(2, 1), 1);
	DSVM_EXPECT_EQ(max(2, 1), 2);
	DSVM_EXPECT_EQ(clamp(9, 1, 5), 5);
	DSVM_EXPECT_EQ(clamp(0, 1, 5), 1);
}

DSVM_CASE(checked, addresses_and_pages)
{
	DSVM_EXPECT_EQ(ByteAddress(0x12345).page().value(), 0x12u);
	DSVM_EXPECT_EQ(ByteAddress(0x12345).page_offset(), 0x345u);
	DSVM_EXPECT(!ByteAddress(0x12345).is_page_aligned());
	DSVM_EXPECT(PageIndex(3).address().value() == ByteAddress(0x3000));
	DSVM_EXPECT(PageIndex(kU64Max >> 12).address().is_ok());
	DSVM_EXPECT(PageIndex(1ull << 52).address().status() == kOverflow);
	DSVM_EXPECT(ByteAddress(kU64Max).plus(1).status() == kOverflow);
	DSVM_EXPECT(ByteAddress(0).minus(1).status() == kOverflow);
	DSVM_EXPECT_EQ(ByteAddress(9).distance_from(ByteAddress(4)).value(), 5u);
	DSVM_EXPECT(ByteAddress(4).distance_from(ByteAddress(9)).is_error());
	DSVM_EXPECT(PageIndex(4).plus(5).value() == PageIndex(9));
	DSVM_EXPECT(PageIndex(4).minus(5).is_error());
	DSVM_EXPECT(PageIndex(4).is_below(PageIndex(5)));
}

DSVM_CASE(va_range, from_start_end)
{
	DSVM_EXPECT(VaRange::from_start_end(0x1000, 0x3000).value() == (VaRange{0x1000, 0x2fff}));
	DSVM_EXPECT(VaRange::from_start_end(0, 0).value() == VaRange::full());
	DSVM_EXPECT(VaRange::from_start_end(kU64Max, 0).value() == (VaRange{kU64Max, kU64Max}));
	DSVM_EXPECT(VaRange::from_start_end(0, 1).value() == (VaRange{0, 0}));
	DSVM_EXPECT(VaRange::from_start_end(5, 5).status() == kInvalid);
	DSVM_EXPECT(VaRange::from_start_end(6, 5).status() == kInvalid);
	DSVM_EXPECT(VaRange::from_start_end(kU64Max, kU64Max).status() == kInvalid);
}

DSVM_CASE(va_range, from_start_size)
{
	DSVM_EXPECT(VaRange::from_start_size(0x1000, 0x2000).value() == (VaRange{0x1000, 0x2fff}));
	DSVM_EXPECT(VaRange::from_start_size(1, kU64Max).value() == (VaRange{1, kU64Max}));
	DSVM_EXPECT(VaRange::from_start_size(kU64Max, 1).value() == (VaRange{kU64Max, kU64Max}));
	DSVM_EXPECT(VaRange::from_start_size(kU64Max, 2).status() == kOverflow);
	DSVM_EXPECT(VaRange::from_start_size(2, kU64Max).status() == kOverflow);
	DSVM_EXPECT(VaRange::from_start_size(2, 0).status() == kInvalid);
}

DSVM_CASE(va_range, sizes)
{
	DSVM_EXPECT_EQ(VaRange::full().size(), 0u);
	DSVM_EXPECT_EQ(VaRange::full().end(), 0u);
	DSVM_EXPECT_EQ(VaRange::full().page_count(), 1ull << 52);
	DSVM_EXPECT((VaRange{0x1000, 0x2fff}).is_page_aligned());
	DSVM_EXPECT(!(VaRange{0x1000, 0x2ffe}).is_page_aligned());
	DSVM_EXPECT(!(VaRange{0x1001, 0x2fff}).is_page_aligned());
	DSVM_EXPECT(VaRange::full().is_page_aligned());
	DSVM_EXPECT_EQ((VaRange{0xfff, 0x1000}).page_count(), 2u);
	DSVM_EXPECT_EQ((VaRange{0x1000, 0x1000}).page_count(), 1u);
	DSVM_EXPECT(!(VaRange{2, 1}).is_well_formed());
}

// Every pair of ranges over a small space at each end of the great one, against the
// definition: do they share an address?
DSVM_CASE(va_range, relations_exhaustive)
{
	constexpr u64 kPoints = 5;

	const u64 bases[] = {0, 0x7fff'ffff'fffe, kU64Max - (kPoints - 1)};

	for (const u64 base : bases) {
		for (u32 code = 0; code < kPoints * kPoints * kPoints * kPoints; code++) {
			const VaRange a{base + code % 5, base + code / 5 % 5};
			const VaRange b{base + code / 25 % 5, base + code / 125};
			if (!a.is_well_formed() || !b.is_well_formed())
				continue;

			u32 shared = 0;
			u32 only_b = 0;
			for (u64 i = 0; i < kPoints; i++) {
				shared += a.contains(base + i) && b.contains(base + i);
				only_b += !a.contains(base + i) && b.contains(base + i);
			}
			DSVM_EXPECT_EQ(a.overlaps(b), shared > 0);
			DSVM_EXPECT_EQ(a.contains(b), only_b == 0);
			const auto both = a.intersection(b);
			DSVM_EXPECT_EQ(both.is_ok(), shared > 0);
			if (both.is_ok())
				DSVM_EXPECT_EQ(both.value().size(), shared);
			else
				DSVM_EXPECT(both.status() == kNotFound);
		}
	}
}

DSVM_CASE(refcount, get_and_put)
{
	RefCount count;

	DSVM_EXPECT_EQ(count.read(), 1u);
	count.get();
	DSVM_EXPECT(count.get_unless_zero());
	DSVM_EXPECT(!count.put());
	DSVM_EXPECT(!count.put());
	DSVM_EXPECT(count.put());
	DSVM_EXPECT(!count.get_unless_zero());
	DSVM_EXPECT_EQ(count.read(), 0u);
}

DSVM_CASE(refcount, saturates)
{
	RefCount dead(0);
	RefCount under(0);
	RefCount top(0x7fffffffu);
	RefCount unless(0x7fffffffu);

	dsvm_env_expect_begin();
	dead.get();
	DSVM_EXPECT_EQ(dead.read(), RefCount::kSaturated);
	DSVM_EXPECT(!under.put());
	DSVM_EXPECT_EQ(under.read(), RefCount::kSaturated);
	DSVM_EXPECT(!under.put());
	DSVM_EXPECT_EQ(under.read(), RefCount::kSaturated);
	top.get();
	DSVM_EXPECT_EQ(top.read(), RefCount::kSaturated);
	DSVM_EXPECT(unless.get_unless_zero());
	DSVM_EXPECT_EQ(unless.read(), RefCount::kSaturated);
	DSVM_EXPECT_EQ(dsvm_env_expect_end(), 5u);
}

DSVM_CASE(refcount, ref_owns_one)
{
	Counted object;
	{
		Ref<Counted> first = Ref<Counted>::adopt(&object);
		DSVM_EXPECT_EQ(object.count.read(), 1u);
		Ref<Counted> second = first;
		DSVM_EXPECT_EQ(object.count.read(), 2u);
		const Ref<Counted> third = move(first);
		DSVM_EXPECT(first.is_null());
		DSVM_EXPECT_EQ(object.count.read(), 2u);
		second = third;
		second = move(second);
		DSVM_EXPECT_EQ(object.count.read(), 2u);
		second.reset();
		DSVM_EXPECT_EQ(third->count.read(), 1u);
		DSVM_EXPECT_EQ(object.dead, 0);
	}
	DSVM_EXPECT_EQ(object.dead, 1);
}

DSVM_CASE(refcount, ref_release_and_retain)
{
	Counted object;
	Ref<Counted> ref = Ref<Counted>::retain(object);

	DSVM_EXPECT_EQ(object.count.read(), 2u);
	Counted *const bare = ref.release();
	DSVM_EXPECT(bare == &object);
	DSVM_EXPECT(ref.is_null());
	bare->put();
	bare->put();
	DSVM_EXPECT_EQ(object.dead, 1);
}
