// SPDX-License-Identifier: GPL-2.0-only OR MIT
//
// Mappings in order of their addresses, in two places:
//
//	index   (va_index.h)   where they belong: fast, but takes nodes
//	spill   (va_tree.h)    those for which there was no node: slower, takes nothing
//
// A mapping is inserted where nothing may be waited for and nothing may fail (a job that a
// fence stands for, say), so there has to be a place for it without memory. As soon as an
// insertion succeeds again, those that were spilled follow, one for each.
//
// Invariants: members are disjoint, wherever they are; DSVM_VA_SPILLED is set in those in the
// spill; index.spilled is how many they are; with each change the generation is another.
//
// insert(), remove(), replace(): O(log n) at most for each mapping that comes or goes. first():
// O(log n). A walk: O(1) each, O(log n) each while something is spilled.
//
// What it does not do: no locking; it does not know which addresses are valid.
#ifndef DSVM_CORE_VA_VA_MAP_H
#define DSVM_CORE_VA_VA_MAP_H

#include "core/va/va_index.h"
#include "core/va/va_tree.h"

namespace dsvm {

class VaMap {
public:
	// A view: all of it is the owner's. All zero is an empty one.
	explicit VaMap(dsvm_va_index &index) : data_(index), index_(index) {}

	[[nodiscard]] bool empty() const { return index_.empty() && data_.spilled == 0; }

	// kExists if a member overlaps; nothing else.
	Status insert(dsvm_va &va);
	// Precondition: it is in this map.
	void remove(dsvm_va &va);
	// What overlaps a span, at its ends.
	struct Overlap {
		VaPos from;    // where the index has the first, or what is behind the span
		dsvm_va *low;  // what begins before the span and reaches into it, or null
		dsvm_va *high; // what reaches beyond its end, or null
		bool crosses;  // whether what overlaps is in more than one leaf
	};
	[[nodiscard]] Overlap overlap(VaRange span) const;
	// Puts the `count` mappings at `in`, ascending, in the place of all that overlap `span`, where
	// they have to lie as well. Those that went are chained by `skip` from `gone` on.
	void replace(const Overlap &at, VaRange span, dsvm_va *const *in, usize count,
		     dsvm_va *&gone);
	// Puts the `count` mappings at `in`, ascending, which lie in `va`, in its place.
	// Precondition: it is in this map.
	void exchange(dsvm_va &va, dsvm_va *const *in, usize count);
	// Forgets all members and gives the nodes back.
	void clear();

	// The first that overlaps the span, or null.
	[[nodiscard]] dsvm_va *first(VaRange span) const;
	// The first that begins behind `va`, or null.
	[[nodiscard]] dsvm_va *after(const dsvm_va &va) const;

	// At the first that overlaps the span, which may be upside down: then there is none.
	[[nodiscard]] dsvm_va_walk walk(VaRange span) const;
	// The same for who is likely to change something there.
	[[nodiscard]] dsvm_va_walk walk_to_change(VaRange span)
	{
		const dsvm_va_walk walk = this->walk(span);

		if (walk.leaf != nullptr)
			index_.expect(VaPos{walk.leaf, 0});
		return walk;
	}
	// One step on. It is at a member, and this is its map.
	void walk_on(dsvm_va_walk &walk) const;

private:
	[[nodiscard]] VaTree spill() const { return VaTree{data_.spill}; }
	static void stand_alone(dsvm_va_walk &walk, dsvm_va *va);
	static void stand_at(dsvm_va_walk &walk, VaPos pos);
	void put_in_spill(dsvm_va &va);
	VaPos take_most(VaRange span, dsvm_va **&link);
	void insert_all(dsvm_va *const *in, usize count);
	void drain();

	dsvm_va_index &data_;
	VaIndex index_;
};

} // namespace dsvm

#endif // DSVM_CORE_VA_VA_MAP_H
