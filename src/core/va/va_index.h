// SPDX-License-Identifier: GPL-2.0-only OR MIT
//
// Mappings in order of their addresses, as a B+-tree.
//
//	inner                 [ key 0 | key 1 | key 2 | ... ]          up to 31 children
//	                         |       |       |
//	leaf     [first, length, mapping] x 24 <-> [...] <-> [...]     in order, as a list
//
// A search in a balanced tree with a node in each object takes one branch that nobody can
// predict, and two cache lines, for each bit of the answer. Here it is three comparisons
// and a count without branches for each five bits, and no object is looked at: what an
// overlap takes is in the leaf (R. Bayer, E. McCreight, "Organization and Maintenance of
// Large Ordered Indexes", Acta Informatica 1, 1972; D. Comer, "The Ubiquitous B-Tree", ACM
// Computing Surveys 11(2), 1979, for leaves that are a list).
//
// Nodes are 512 bytes, had without waiting and given back at once. An insertion that needs
// one and does not get it says kNoMemory and has changed nothing; who cannot live with that
// is va_map.h.
//
// Invariants:
//  - members are disjoint and ascend through each leaf and from leaf to leaf;
//  - what `first` and `length` of a leaf say of a mapping, it says too; a length that does
//    not fit 32 bits is 0. A mapping says which leaf it is in;
//  - keys behind a node's last are 2^64 - 1, so that a search need not know how many there are;
//  - all below child i begins at key i or behind it, all below child i - 1 before it. Key 0 is
//    0, wherever the node is: nobody gets there who belongs further left;
//  - a node that is neither the first nor the last of its level is at least half full: 12
//    mappings, 15 children. The first and the last of a level are not empty. So a member costs
//    at most 46 bytes, and a constant for each level. Because those two may be nearly
//    empty, what is mapped upwards or downwards leaves full nodes behind. A full leaf between
//    others gives to the one beside it before it is split, as in a B*-tree (D. E. Knuth, "The Art
//    of Computer Programming" 3, 6.2.4), so that what comes at random costs 28.
//
// insert(), lower(): O(log n). remove(): O(1), but O(log n) where a node is merged. All in any context
// but NMI, and readers may look side by side.
// Near the "finger" nobody walks down, unless a node has to be split or merged: it is where
// the last change was, or where who only looks has gone on in order, or says that a change is going
// to be. So readers move it, too, and it is written and read in one access.
//
// What it does not do: no locking; what is to be removed and is in no index is reported, and stays.
#ifndef DSVM_CORE_VA_VA_INDEX_H
#define DSVM_CORE_VA_VA_INDEX_H

#include "core/va/va_node.h"

namespace dsvm {

// A place in a leaf; no leaf: behind all.
struct VaPos {
	dsvm_va_leaf *leaf;
	usize at;

	[[nodiscard]] bool is_end() const { return leaf == nullptr; }
	[[nodiscard]] dsvm_va *va() const { return leaf != nullptr ? leaf->va[at] : nullptr; }
	[[nodiscard]] u64 first() const { return leaf->first[at]; }
	// The last unit of the mapping here.
	[[nodiscard]] u64 last() const
	{
		const u32 length = leaf->length[at];

		if (DSVM_UNLIKELY(length == 0))
			return span_of(leaf->va[at]->map).last;
		return leaf->first[at] + (length - 1);
	}
};

class VaIndex {
public:
	// Enough for more mappings than there are addresses of them.
	static constexpr u32 kMaxHeight = 18;

	// A view: the index is the owner's. All zero is an empty one. What is not inlined gets a
	// view of its own, so that who calls it keeps this one in registers.
	explicit VaIndex(dsvm_va_index &index) : index_(index) {}

	[[nodiscard]] bool empty() const { return index_.root == nullptr; }

	// kExists if a member overlaps; kNoMemory, and then all is as it was.
	Status insert(dsvm_va &va);
	// Of what is in no index it takes nothing, and reports that.
	void remove(dsvm_va &va);
	// Puts mappings in the place of the members from `from` on that begin at `last` or before
	// it, as far as they are in the same leaf: as many of the `count` at `in` (ascending) as
	// have room there and are sure to belong there. Returns how many. Precondition: they lie
	// where those lie that go, or where nothing is. Those that went are chained by `skip` from
	// `link` on, which is at the end of the chain afterwards.
	usize splice(VaPos from, u64 last, dsvm_va *const *in, usize count, dsvm_va **&link);
	// Forgets all members and gives the nodes back.
	void clear();

	// The first that ends at `addr` or behind it.
	[[nodiscard]] VaPos lower(u64 addr) const;
	// Where a member of any index is; none, and a report, if it is in none.
	[[nodiscard]] static VaPos find(const dsvm_va &va);

	// The next one is likely there. Readers may say so side by side.
	void expect(VaPos pos) const { write_once(index_.finger, pos.leaf); }

	// The first that begins behind `addr`; cheap near the last change.
	[[nodiscard]] VaPos after(u64 addr) const;

private:
	struct Path;
	class Fresh;

	// The height of a tree of a root and leaves.
	static constexpr u32 kLow = 2;
	// Whether who looks takes the finger to where he found it: one time in sixteen, as the
	// address says. Who goes on in order does so soon, and then from leaf to leaf; who looks at
	// random seldom writes what others read.
	[[nodiscard]] static bool takes_finger(u64 addr)
	{
		return (addr * 0x9e3779b97f4a7c15) >> 60 == 0;
	}

	[[nodiscard]] VaPos place(u64 addr) const;
	static VaPos place_of_top(const dsvm_va_index &index);
	void trace(u64 addr, Path &path) const;
	[[nodiscard]] VaPos place_near(u64 addr) const;
	[[nodiscard]] VaPos place_to_look(u64 addr) const;
	Status grow(dsvm_va &va, VaPos at);
	static void even_out(dsvm_va_leaf &left, dsvm_va_leaf &right, VaInner &above,
			     usize right_child);
	bool share(dsvm_va_leaf &leaf, Path &path);
	void split(dsvm_va &va, VaPos at, Path &path, Fresh &fresh);
	void shrunk(dsvm_va_leaf &leaf, u64 key);
	void settle(dsvm_va_leaf &leaf, u64 key);
	void settle_inner(Path &path, usize level);
	void lower_root();
	void take_leaf(dsvm_va_leaf &leaf);
	void take_child(Path &path, usize level, usize child);
	void touch(dsvm_va_leaf *leaf);

	dsvm_va_index &index_;
};

} // namespace dsvm

#endif // DSVM_CORE_VA_VA_INDEX_H
