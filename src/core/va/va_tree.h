// SPDX-License-Identifier: GPL-2.0-only OR MIT
//
// Mappings in order of their addresses.
//
// A balanced tree (core/base/aug_tree.h) to find one, and a list of the same members in
// the same order to walk them. Mappings never overlap, so the tree needs no augmentation:
// the order of the beginnings is the order of the ends, and who overlaps a span is found
// by one descent.
//
// Invariants: members are disjoint; tree and list hold the same ones in the same order.
//
// Insertion and removal: O(log n), no allocation, any context. The check for an overlap is
// the descent that finds the place. first_overlap(): O(log n); next(), prev(): O(1).
//
// What it does not do: no locking; it does not know which addresses are valid.
#ifndef DSVM_CORE_VA_VA_TREE_H
#define DSVM_CORE_VA_VA_TREE_H

#include "core/base/aug_tree.h"
#include "core/base/list.h"
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
	// A view: both are the owner's and outlive it. The list went through link_init().
	VaTree(dsvm_tree_root &root, dsvm_link &order) : tree_(root), order_(order) {}

	// kExists if a member overlaps; `va` is in no tree.
	Status insert(dsvm_va &va)
	{
		const VaRange span = span_of(va.map);
		dsvm_va *above = nullptr;
		dsvm_va *before = nullptr;
		dsvm_va *at = tree_.root();
		tree::Side side = tree::kLeft;

		while (at != nullptr) {
			above = at;
			if (span.last < at->map.addr) {
				side = tree::kLeft;
				at = Tree::left(*at);
			} else if (span.first > span_of(at->map).last) {
				side = tree::kRight;
				before = at;
				at = Tree::right(*at);
			} else {
				return kExists;
			}
		}
		tree_.insert_at(va, above, side, before == nullptr);
		va.skip = nullptr;
		if (before != nullptr)
			order_.insert_after(*before, va);
		else
			order_.push_front(va);
		return Status::ok();
	}

	// Precondition: it is in this tree.
	void remove(dsvm_va &va)
	{
		tree_.remove(va);
		order_.remove(va);
		va.skip = nullptr;
	}

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

	// The neighbours of a member, null at either end.
	[[nodiscard]] dsvm_va *next(dsvm_va &va) const { return order_.next(va); }
	[[nodiscard]] dsvm_va *prev(dsvm_va &va) const { return order_.prev(va); }
	[[nodiscard]] bool empty() const { return tree_.empty(); }

private:
	using Tree = AugTree<VaTraits>;

	Tree tree_;
	List<dsvm_va, &dsvm_va::order> order_;
};

} // namespace dsvm

#endif // DSVM_CORE_VA_VA_TREE_H
