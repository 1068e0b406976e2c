// SPDX-License-Identifier: GPL-2.0-only OR MIT
#include "core/va/va_map.h"

namespace dsvm {

void VaMap::put_in_spill(dsvm_va &va)
{
	va.map.state |= DSVM_VA_SPILLED;
	static_cast<void>(DSVM_VERIFY(spill().insert(va).is_ok()));
	data_.spilled++;
	data_.generation++;
}

// Moves one from the spill to the index, if there is memory now.
void VaMap::drain()
{
	dsvm_va &va = *spill().first();

	spill().remove(va);
	data_.spilled--;
	va.map.state &= ~DSVM_VA_SPILLED;
	if (index_.insert(va).is_error())
		put_in_spill(va);
}

DSVM_UNIT_INLINE Status VaMap::insert(dsvm_va &va)
{
	if (DSVM_UNLIKELY(data_.spilled != 0) && spill().first_overlap(span_of(va.map)) != nullptr)
		return kExists;

	const Status status = index_.insert(va);
	if (status == kNoMemory)
		put_in_spill(va);
	else if (status.is_error())
		return status;
	else if (DSVM_UNLIKELY(data_.spilled != 0))
		drain();
	return Status::ok();
}

DSVM_UNIT_INLINE void VaMap::remove(dsvm_va &va)
{
	if (DSVM_LIKELY((va.map.state & DSVM_VA_SPILLED) == 0)) {
		index_.remove(va);
		return;
	}
	spill().remove(va);
	va.map.state &= ~DSVM_VA_SPILLED;
	data_.spilled--;
	data_.generation++;
}

DSVM_UNIT_INLINE VaMap::Overlap VaMap::overlap(VaRange span) const
{
	Overlap found{index_.lower(span.first), nullptr, nullptr, false};

	if (DSVM_UNLIKELY(data_.spilled != 0)) {
		found.low = first(VaRange{span.first, span.first});
		found.high = first(VaRange{span.last, span.last});
	} else if (!found.from.is_end() && found.from.first() <= span.last) {
		VaPos end = found.from;

		found.low = end.va();
		// Mostly in the same leaf.
		for (VaPos next = end; !next.is_end() && next.first() <= span.last;
		     next = VaPos{next.leaf->next, 0}) {
			end = next;
			end.at = node::slot_for(*next.leaf, span.last) - 1;
			if (end.at + 1 < next.leaf->count)
				break;
		}
		found.crosses = end.leaf != found.from.leaf;
		found.high = end.va();
	}
	if (found.low != nullptr && found.low->map.addr >= span.first)
		found.low = nullptr;
	if (found.high != nullptr && span_of(found.high->map).last <= span.last)
		found.high = nullptr;
	return found;
}

DSVM_UNIT_INLINE void VaMap::replace(const Overlap &at, VaRange span, dsvm_va *const *in,
				     usize count, dsvm_va *&gone)
{
	dsvm_va **link = &gone;
	usize put = 0;

	VaPos from = at.from;
	if (DSVM_UNLIKELY(data_.spilled != 0 || at.crosses))
		from = VaMap{data_}.take_most(span, link);
	if (DSVM_LIKELY(!from.is_end()))
		put = index_.splice(from, span.last, in, count, link);
	*link = nullptr;
	insert_all(in + put, count - put);
}

DSVM_UNIT_INLINE void VaMap::exchange(dsvm_va &va, dsvm_va *const *in, usize count)
{
	dsvm_va *gone = nullptr;
	dsvm_va **link = &gone;
	usize put = 0;

	if (DSVM_UNLIKELY((va.map.state & DSVM_VA_SPILLED) != 0))
		remove(va);
	else if (const VaPos at = index_.find(va); !at.is_end())
		put = index_.splice(at, va.map.addr, in, count, link);
	insert_all(in + put, count - put);
}

// There is room for them.
void VaMap::insert_all(dsvm_va *const *in, usize count)
{
	for (usize i = 0; i < count; i++)
		static_cast<void>(DSVM_VERIFY(insert(*in[i]).is_ok()));
}

// Takes out, and chains, what overlaps the span and is not in the first leaf that has such. Returns
// where in that leaf it begins, or what is behind the span.
DSVM_COLD VaPos VaMap::take_most(VaRange span, dsvm_va **&link)
{
	while (dsvm_va *const va = data_.spilled != 0 ? first(span) : nullptr) {
		remove(*va);
		*link = va;
		link = &va->skip;
	}
	for (;;) {
		const VaPos from = index_.lower(span.first);
		dsvm_va_leaf *const next = from.is_end() ? nullptr : from.leaf->next;

		if (next == nullptr || next->first[0] > span.last)
			return from;
		static_cast<void>(index_.splice(VaPos{next, 0}, span.last, nullptr, 0, link));
	}
}

void VaMap::clear()
{
	index_.clear();
	data_.spill = dsvm_tree_root{};
	data_.spilled = 0;
}

DSVM_UNIT_INLINE dsvm_va *VaMap::first(VaRange span) const
{
	const VaPos pos = index_.lower(span.first);
	dsvm_va *const found = !pos.is_end() && pos.first() <= span.last ? pos.va() : nullptr;

	if (DSVM_LIKELY(data_.spilled == 0))
		return found;
	dsvm_va *const other = spill().first_overlap(span);
	if (found == nullptr || (other != nullptr && other->map.addr < found->map.addr))
		return other;
	return found;
}

dsvm_va *VaMap::after(const dsvm_va &va) const
{
	const u64 last = span_of(va.map).last;

	return last != kU64Max ? first(VaRange{last + 1, kU64Max}) : nullptr;
}

// At a mapping whose place in its leaf is not known; null: at the end.
DSVM_ALWAYS_INLINE void VaMap::stand_alone(dsvm_va_walk &walk, dsvm_va *va)
{
	walk.now = va;
	walk.at = nullptr;
	walk.end = nullptr;
	walk.leaf = nullptr;
}

// Where a walk is when nothing is spilled, and the rest of the leaf with it.
DSVM_ALWAYS_INLINE void VaMap::stand_at(dsvm_va_walk &walk, VaPos pos)
{
	if (pos.is_end() || pos.first() > walk.last) {
		stand_alone(walk, nullptr);
		return;
	}
	walk.now = pos.va();
	walk.at = pos.leaf->va + pos.at + 1;
	// Mostly this is all.
	walk.end = pos.last() >= walk.last ? walk.at
					   : pos.leaf->va + node::slot_for(*pos.leaf, walk.last);
	walk.leaf = pos.leaf;
}

dsvm_va_walk VaMap::walk(VaRange span) const
{
	dsvm_va_walk walk;

	walk.index = &data_;
	walk.generation = data_.generation;
	walk.last = span.last;
	if (!span.is_well_formed())
		stand_alone(walk, nullptr);
	else if (DSVM_LIKELY(data_.spilled == 0))
		stand_at(walk, index_.lower(span.first));
	else
		stand_alone(walk, first(span));
	return walk;
}

void VaMap::walk_on(dsvm_va_walk &walk) const
{
	const dsvm_va &behind = *walk.now;
	dsvm_va_leaf *const leaf = walk.generation == data_.generation ? walk.leaf : nullptr;

	walk.generation = data_.generation;
	if (DSVM_UNLIKELY(data_.spilled != 0)) {
		dsvm_va *const next = after(behind);

		stand_alone(walk, next != nullptr && next->map.addr <= walk.last ? next : nullptr);
		return;
	}
	stand_at(walk, leaf != nullptr ? VaPos{leaf->next, 0} : index_.after(behind.map.addr));
}

} // namespace dsvm
