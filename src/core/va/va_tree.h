// SPDX-License-Identifier: GPL-2.0-only OR MIT
//
// Mappings in order of their addresses, where no memory may be needed: those that a
// transaction plans, and those that the index has no node for (va_map.h).
//
// A balanced tree (core/base/aug_tree.h) of the mappings themselves. They never overlap, so it
// needs no augmentation: the order of the beginnings is the order of the ends, and who overlaps
// a span is found by one descent.
//
// Invariants: members are disjoint.
//
// Insertion and removal: O(log n), no allocation, any context. The check for an overlap is
// the descent that finds the place. first_overlap(): O(log n).
//
// What it does not do: no locking; it does not know which addresses are valid.
#ifndef DSVM_CORE_VA_VA_TREE_H
#define DSVM_CORE_VA_VA_TREE_H

#include "core/base/aug_tree.h"
#include "core/va/mapping.h"

namespace dsvm {

struct VaTraits {
	using Node = dsvm_va;

	static TreeNode *words(Node &node) { return node.tree; }
	static Node *from_words(TreeNode *words)
	{
		return reinterpret_cast<Node *>(reinterpret_cast<usize>(words) -
						__builtin_offsetof(dsvm_va, tree));
	}
	static bool less(const Node &a, const Node &b) { return a.map.addr < b.map.addr; }
	// Nothing to know of a subtree.
	static bool update(Node &, const Node *, const Node *) { return false; }
};

class VaTree {
public:
	// A view: the root is the owner's and outlives it.
	explicit VaTree(dsvm_tree_root &root) : tree_(root) {}

	// kExists if a member overlaps; `va` is in no tree.
	Status insert(dsvm_va &va)
	{
		const VaRange span = span_of(va.map);
		dsvm_va *above = nullptr;
		dsvm_va *at = tree_.root();
		tree::Side side = tree::kLeft;
		bool leftmost = true;

		while (at != nullptr) {
			above = at;
			if (span.last < at->map.addr) {
				side = tree::kLeft;
				at = Tree::left(*at);
			} else if (span.first > span_of(at->map).last) {
				side = tree::kRight;
				leftmost = false;
				at = Tree::right(*at);
			} else {
				return kExists;
			}
		}
		tree_.insert_at(va, above, side, leftmost);
		return Status::ok();
	}

	// Precondition: it is in this tree.
	void remove(dsvm_va &va) { tree_.remove(va); }

	// The first that overlaps the span, or null.
	[[nodiscard]] dsvm_va *first_overlap(VaRange span) const
	{
		dsvm_va *at = tree_.root();
		dsvm_va *found = nullptr;

		while (at != nullptr) {
			if (span_of(at->map).last < span.first) {
				at = Tree::right(*at);
				continue;
			}
			found = at;
			if (at->map.addr <= span.first)
				break;
			at = Tree::left(*at);
		}
		return found != nullptr && found->map.addr <= span.last ? found : nullptr;
	}

	[[nodiscard]] dsvm_va *first() const { return tree_.first(); }
	[[nodiscard]] bool empty() const { return tree_.empty(); }

private:
	using Tree = AugTree<VaTraits>;

	Tree tree_;
};

} // namespace dsvm

#endif // DSVM_CORE_VA_VA_TREE_H
