// SPDX-License-Identifier: GPL-2.0-only OR MIT
#include "core/va/space.h"

namespace dsvm {

Status VaSpace::init(u64 start, u64 range, dsvm_va *kernel)
{
	space_ = dsvm_va_space{};
	if (range != 0 && VaRange::from_start_size(start, range).is_error())
		return kInvalid;

	const bool reserves = kernel != nullptr && kernel->map.range != 0;
	if (reserves && VaRange::from_start_size(kernel->map.addr, kernel->map.range).is_error())
		return kInvalid;

	space_.mm_start = start;
	space_.mm_range = range;
	if (!reserves)
		return Status::ok();
	space_.kernel = kernel;
	return mappings().insert(*kernel);
}

bool VaSpace::fini()
{
	if (space_.kernel != nullptr)
		mappings().remove(*exchange(space_.kernel, nullptr));

	const bool was_empty = mappings().empty();
	mappings().clear();
	return was_empty && space_.bind == nullptr;
}

DSVM_UNIT_INLINE Expected<VaRange> VaSpace::check(u64 addr, u64 range) const
{
	const auto span = VaRange::from_start_size(addr, range);

	if (span.is_error() || space_.mm_range == 0 || !managed().contains(span.value()))
		return kInvalid;
	if (space_.kernel != nullptr && span_of(space_.kernel->map).overlaps(span.value()))
		return kInvalid;
	return span;
}

DSVM_UNIT_INLINE Status VaSpace::insert(dsvm_va &va)
{
	DSVM_TRY(check(va.map.addr, va.map.range));
	DSVM_TRY(check_source(va.map));
	if (space_.bind != nullptr)
		return kBusy;
	va.map.state = 0;
	return mappings().insert(va);
}

DSVM_UNIT_INLINE bool VaSpace::remove(dsvm_va &va)
{
	if (!DSVM_VERIFY(&va != space_.kernel) || !DSVM_VERIFY(space_.bind == nullptr))
		return false;
	mappings().remove(va);
	return true;
}

DSVM_UNIT_INLINE Status VaSpace::remap(dsvm_va &va, dsvm_va *prev, dsvm_va *next)
{
	dsvm_va *const in[] = {prev != nullptr ? prev : next, next};
	const usize count = (prev != nullptr) + (next != nullptr);
	VaRange room = span_of(va.map);

	if (&va == space_.kernel || space_.bind != nullptr)
		return kBusy;
	for (usize i = 0; i < count; i++) {
		const auto span = VaRange::from_start_size(in[i]->map.addr, in[i]->map.range);

		DSVM_TRY(check_source(in[i]->map));
		if (span.is_error() || !room.contains(span.value()))
			return kInvalid;
		// What comes next lies behind; behind the last of all addresses nothing does.
		const u64 last = span.value().last;
		if (i + 1 < count && last == room.last)
			return kInvalid;
		room.first = last + 1;
	}
	for (usize i = 0; i < count; i++)
		in[i]->map.state = 0;
	mappings().exchange(va, in, count);
	return Status::ok();
}

DSVM_UNIT_INLINE Status VaSpace::replace(dsvm_va &va, dsvm_va *prev, dsvm_va *next, dsvm_va *&gone)
{
	const VaRange span = DSVM_TRY(check(va.map.addr, va.map.range));
	dsvm_va *in[3];
	usize count = 0;

	DSVM_TRY(check_source(va.map));
	if (space_.bind != nullptr)
		return kBusy;

	// Only the first and the last that go can leave something behind.
	const VaMap::Overlap at = mappings().overlap(span);
	if ((at.low != nullptr && prev == nullptr) || (at.high != nullptr && next == nullptr))
		return kInvalid;

	if (prev != nullptr)
		prev->map.range = 0;
	if (next != nullptr)
		next->map.range = 0;
	if (at.low != nullptr) {
		prev->map = part_of(at.low->map, VaRange{at.low->map.addr, span.first - 1});
		in[count++] = prev;
	}
	in[count++] = &va;
	if (at.high != nullptr) {
		next->map =
			part_of(at.high->map, VaRange{span.last + 1, span_of(at.high->map).last});
		in[count++] = next;
	}
	for (usize i = 0; i < count; i++)
		in[i]->map.state = 0;
	mappings().replace(at, span, in, count, gone);
	return Status::ok();
}

DSVM_UNIT_INLINE dsvm_va *VaSpace::find_first(u64 addr, u64 range) const
{
	if (range == 0)
		return nullptr;

	// Beyond the top there is nothing to find, so a span that wraps ends there.
	const auto span = VaRange::from_start_size(addr, range);
	return mappings().first(span.value_or(VaRange{addr, kU64Max}));
}

dsvm_va *VaSpace::find(u64 addr, u64 range) const
{
	dsvm_va *const va = find_first(addr, range);

	return va != nullptr && va->map.addr == addr && va->map.range == range ? va : nullptr;
}

} // namespace dsvm
