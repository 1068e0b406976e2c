// SPDX-License-Identifier: GPL-2.0-only OR MIT
#include "core/va/space.h"

namespace dsvm {

Status VaSpace::init(u64 start, u64 range, dsvm_va *kernel)
{
	space_ = dsvm_va_space{};
	link_init(space_.order);
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
	return tree().insert(*kernel);
}

bool VaSpace::fini()
{
	if (space_.kernel != nullptr)
		tree().remove(*exchange(space_.kernel, nullptr));
	return tree().empty() && space_.bind == nullptr;
}

Expected<VaRange> VaSpace::check(u64 addr, u64 range) const
{
	const auto span = VaRange::from_start_size(addr, range);

	if (span.is_error() || space_.mm_range == 0 || !managed().contains(span.value()))
		return kInvalid;
	if (space_.kernel != nullptr && span_of(space_.kernel->map).overlaps(span.value()))
		return kInvalid;
	return span;
}

Status VaSpace::insert(dsvm_va &va)
{
	DSVM_TRY(check(va.map.addr, va.map.range));
	DSVM_TRY(check_source(va.map));
	if (space_.bind != nullptr)
		return kBusy;
	va.map.state = 0;
	return tree().insert(va);
}

bool VaSpace::remove(dsvm_va &va)
{
	if (!DSVM_VERIFY(&va != space_.kernel) || !DSVM_VERIFY(space_.bind == nullptr))
		return false;
	tree().remove(va);
	return true;
}

dsvm_va *VaSpace::find_first(u64 addr, u64 range) const
{
	if (range == 0)
		return nullptr;

	// Beyond the top there is nothing to find, so a span that wraps ends there.
	const auto span = VaRange::from_start_size(addr, range);
	return first(span.value_or(VaRange{addr, kU64Max}));
}

dsvm_va *VaSpace::find(u64 addr, u64 range) const
{
	dsvm_va *const va = find_first(addr, range);

	return va != nullptr && va->map.addr == addr && va->map.range == range ? va : nullptr;
}

} // namespace dsvm
