// SPDX-License-Identifier: GPL-2.0-only OR MIT
//
// A GPU's address space: which of its addresses are valid, and what is mapped there.
//
//	0        mm_start                                   mm_start + mm_range - 1
//	.............|---- mappings ----| kernel |---- mappings ----|............ 2^64 - 1
//
// Invariants:
//  - every mapping but the kernel's is valid: inside the space, clear of the kernel's;
//  - mappings do not overlap (va_map.h);
//  - while a transaction is open (bind.h), nobody else changes anything.
//
// A mapping may end with the last of 2^64 units. A space of all 2^64 does not exist: the
// public struct has its length in 64 bits.
//
// Locking: the driver's VM lock, for writing around insert() and remove(), in any mode
// around all else. Not known here.
#ifndef DSVM_CORE_VA_SPACE_H
#define DSVM_CORE_VA_SPACE_H

#include "core/va/va_map.h"

namespace dsvm {

// A view of a struct dsvm_va_space; holds no state of its own.
class VaSpace {
public:
	explicit VaSpace(dsvm_va_space &space) : space_(space) {}

	Status init(u64 start, u64 range, dsvm_va *kernel);
	// Whether it was empty but for the kernel's mapping. Empty it is afterwards.
	bool fini();

	// The span as such if it is valid, else kInvalid.
	[[nodiscard]] Expected<VaRange> check(u64 addr, u64 range) const;
	// All that is managed. Precondition: init() has succeeded.
	[[nodiscard]] VaRange managed() const
	{
		return VaRange{space_.mm_start, space_.mm_start + (space_.mm_range - 1)};
	}

	// kInvalid, kExists, kBusy.
	Status insert(dsvm_va &va);
	// False for what may not go; see drm_svm/va.h.
	bool remove(dsvm_va &va);
	// kInvalid, kBusy.
	Status remap(dsvm_va &va, dsvm_va *prev, dsvm_va *next);
	Status replace(dsvm_va &va, dsvm_va *prev, dsvm_va *next, dsvm_va *&gone);

	[[nodiscard]] dsvm_va *find_first(u64 addr, u64 range) const;
	[[nodiscard]] dsvm_va *find(u64 addr, u64 range) const;

	// For who may change it: whoever holds the VM lock or the open transaction.
	[[nodiscard]] VaMap mappings() const { return VaMap(space_.index); }

	// A walk over the mappings as they are (split.h).
	class Cursor {
	public:
		Cursor(const VaSpace &space, VaRange span)
			: walk_(space.mappings().walk_to_change(span))
		{}
		[[nodiscard]] dsvm_va *take()
		{
			dsvm_va *const va = walk_.now;

			if (va == nullptr)
				return nullptr;
			if (!dsvm_va_walk_near(&walk_))
				VaMap{*walk_.index}.walk_on(walk_);
			return va;
		}

	private:
		dsvm_va_walk walk_;
	};

private:
	dsvm_va_space &space_;
};

} // namespace dsvm

#endif // DSVM_CORE_VA_SPACE_H
