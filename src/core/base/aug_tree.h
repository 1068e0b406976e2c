// SPDX-License-Identifier: GPL-2.0-only OR MIT
//
// An intrusive, augmented, balanced search tree.
//
// It is a weak AVL tree: B. Haeupler, S. Sen, R. E. Tarjan, "Rank-Balanced Trees",
// ACM Transactions on Algorithms 11(4), 2015. Each node has a rank; a missing node
// has rank -1. With rd(x) = rank(parent of x) - rank(x):
//
//	(1)  rd(x) is 1 or 2, for every node and every missing child
//	(2)  a leaf has rank 0
//
// Hence height <= 2 log2(n), and 1.44 log2(n) as long as nothing was removed (it is
// an AVL tree then). Only the parity of a rank has to be stored, since by (1) it
// tells rd: equal parities are 2 apart, unequal ones 1.
//
// Why not a red-black tree: a weak AVL tree needs at most two rotations for an
// insertion *and* for a removal, and they come last. So the rebalancing below is not
// a template and takes no callback: it returns the (at most three) nodes whose
// subtrees it has changed, and the template above brings their augmentation up to
// date. Nothing but the descent and the augmentation is instantiated per tree.
//
// A node is three words:
//
//	word 0   address of the parent's words | parity of the rank (bit 0)
//	word 1   address of the right child's words
//	word 2   address of the left child's words
//
// which is where the kernel's struct rb_node keeps the same three, so that rb_next()
// and rb_prev() of a driver walk our trees too (they mask the low bits). The root is
// struct dsvm_tree_root, with the first node in order beside it, as in struct
// rb_root_cached.
//
// Traits of a tree:
//
//	using Node = ...;                              what it is made of
//	static TreeNode *words(Node &);                its three words
//	static Node *from_words(TreeNode *);           and back
//	static bool less(const Node &, const Node &);  strict weak order
//	static bool update(Node &, const Node *left, const Node *right);
//
// update() recomputes what the node knows of its subtree from itself and its
// children's augmentation (null: no child), and returns whether that has changed.
// Precondition on it: the result depends on nothing else, in particular not on the
// shape of the subtree beyond its members.
//
// Operations: insert, remove: O(log n), no allocation, no failure, any context.
// first: O(1); last: O(log n); next, prev: O(log n), amortised O(1). Nodes that are
// equal stay in the order of their insertion. Walking does not modify the tree.
//
// What it does not do: no locking, no search (that is what the augmentation is for:
// root(), left() and right() are there to write one), no check that a node removed
// was in this tree.
#ifndef DSVM_CORE_BASE_AUG_TREE_H
#define DSVM_CORE_BASE_AUG_TREE_H

#include "core/base/utility.h"

namespace dsvm {

// The first of the three words of a node stands for all of them.
using TreeNode = usize;

namespace tree {

constexpr usize kParityBit = 1;
// The low bits of word 0 that are not address; the kernel's rb_parent() masks as many.
constexpr usize kFlagBits = 3;

enum Side : u8 { kRight = 1, kLeft = 2 };

constexpr Side opposite(Side side)
{
	return side == kLeft ? kRight : kLeft;
}

inline TreeNode *child(const TreeNode *node, Side side)
{
	return reinterpret_cast<TreeNode *>(node[side]);
}

inline TreeNode *parent(const TreeNode *node)
{
	return reinterpret_cast<TreeNode *>(node[0] & ~kFlagBits);
}

// Of a node that may be missing: rank -1 is odd.
inline usize parity(const TreeNode *node)
{
	return node == nullptr ? 1 : node[0] & kParityBit;
}

// Whether `node`, which may be missing, is one rank below its parent rather than two.
inline bool is_one_child(const TreeNode *node, const TreeNode *parent)
{
	return parity(node) != parity(parent);
}

// Promotion and demotion are the same thing to a parity.
inline void shift_rank(TreeNode *node)
{
	node[0] ^= kParityBit;
}

inline void set_child(TreeNode *node, Side side, TreeNode *child)
{
	node[side] = reinterpret_cast<usize>(child);
}

inline void set_parent(TreeNode *node, TreeNode *parent)
{
	node[0] = reinterpret_cast<usize>(parent) | (node[0] & kParityBit);
}

inline Side side_of(const TreeNode *node, const TreeNode *parent)
{
	return child(parent, kLeft) == node ? kLeft : kRight;
}

// Puts `next` (which may be missing) where `node` hangs below `parent`, or at the root.
inline void replace_child(dsvm_tree_root &root, TreeNode *parent, TreeNode *node, TreeNode *next)
{
	if (parent == nullptr)
		root.root = next;
	else
		set_child(parent, side_of(node, parent), next);
}

inline TreeNode *extreme(TreeNode *node, Side side)
{
	if (node == nullptr)
		return nullptr;
	while (TreeNode *const further = child(node, side))
		node = further;
	return node;
}

// The neighbour of `node` in order, towards `side`; null at the end.
inline TreeNode *neighbour(TreeNode *node, Side side)
{
	if (TreeNode *const below = child(node, side))
		return extreme(below, opposite(side));

	TreeNode *above = parent(node);
	while (above != nullptr && child(above, side) == node) {
		node = above;
		above = parent(node);
	}
	return above;
}

// The nodes whose subtrees a rotation has changed, children before parents; null
// where there were fewer.
struct Rotated {
	TreeNode *low[2];
	TreeNode *top;
};

// Lifts `node` above its parent:
//
//	      parent              node
//	      /    \             /    \            (node on the left; or the mirror image)
//	   node     c    -->    a     parent
//	   /  \                       /    \           .
//	  a    b                     b      c
inline void rotate(dsvm_tree_root &root, TreeNode *node)
{
	TreeNode *const above = parent(node);
	const Side side = side_of(node, above);
	TreeNode *const inner = child(node, opposite(side));
	TreeNode *const top = parent(above);

	replace_child(root, top, above, node);
	set_parent(node, top);
	set_child(above, side, inner);
	if (inner != nullptr)
		set_parent(inner, above);
	set_child(node, opposite(side), above);
	set_parent(above, node);
}

// Restores (1) after `node`, a leaf of rank 0, was hung below a leaf. The numbers in
// the comments are the rank differences of a node's two children.
[[maybe_unused]] DSVM_NOINLINE static Rotated rebalance_insert(dsvm_tree_root &root, TreeNode *node)
{
	TreeNode *above = parent(node);

	for (;;) {
		const Side side = side_of(node, above);

		// Here rd(node) is 0, which no parity shows; its sibling's is 1 or 2.
		if (!is_one_child(child(above, opposite(side)), above))
			break;
		// 0,1: promote the parent; the trouble is over or moves up.
		shift_rank(above);
		node = above;
		above = parent(node);
		if (above == nullptr || is_one_child(node, above))
			return Rotated{{nullptr, nullptr}, nullptr};
	}

	// 0,2: one rotation or two, and done.
	const Side side = side_of(node, above);
	TreeNode *const inner = child(node, opposite(side));

	if (!is_one_child(inner, node)) {
		rotate(root, node);
		shift_rank(above);
		return Rotated{{above, nullptr}, node};
	}
	rotate(root, inner);
	rotate(root, inner);
	shift_rank(inner);
	shift_rank(node);
	shift_rank(above);
	return Rotated{{node, above}, inner};
}

// Restores (1) and (2) after a removal below `above`, on its side `side`: the child
// there (which may be missing) has come one rank further away from it.
[[maybe_unused]] DSVM_NOINLINE static Rotated rebalance_remove(dsvm_tree_root &root,
							       TreeNode *above, Side side)
{
	const Rotated none{{nullptr, nullptr}, nullptr};

	// A leaf of rank 1, both missing children two below: (2) wants it at rank 0.
	if (child(above, kLeft) == nullptr && child(above, kRight) == nullptr) {
		TreeNode *const node = above;

		shift_rank(node);
		above = parent(node);
		if (above == nullptr)
			return none;
		side = side_of(node, above);
	}

	for (;;) {
		// The difference was 1 or 2 and is 2 or 3 now: equal parities mean 2, fine.
		if (!is_one_child(child(above, side), above))
			return none;

		TreeNode *const node = above;
		TreeNode *const sibling = child(above, opposite(side));

		if (!is_one_child(sibling, above)) {
			// 3,2: demote the parent.
			shift_rank(above);
		} else if (!is_one_child(child(sibling, kLeft), sibling) &&
			   !is_one_child(child(sibling, kRight), sibling)) {
			// 3,1 over 2,2: demote parent and sibling.
			shift_rank(above);
			shift_rank(sibling);
		} else {
			break;
		}
		above = parent(node);
		if (above == nullptr)
			return none;
		side = side_of(node, above);
	}

	TreeNode *const sibling = child(above, opposite(side));
	TreeNode *const inner = child(sibling, side);

	if (is_one_child(child(sibling, opposite(side)), sibling)) {
		rotate(root, sibling);
		shift_rank(sibling);
		shift_rank(above);
		// It may have become a leaf of rank 1, as above.
		if (child(above, kLeft) == nullptr && child(above, kRight) == nullptr)
			shift_rank(above);
		return Rotated{{above, nullptr}, sibling};
	}
	rotate(root, inner);
	rotate(root, inner);
	// Up two, down one, down two: only the odd one shows.
	shift_rank(sibling);
	return Rotated{{above, sibling}, inner};
}

// What a removal leaves to be done.
struct Removal {
	TreeNode *above;      // the lowest node whose subtree has lost a member, or null
	Side side;	      // where
	TreeNode *substitute; // stands where the removed node stood and was elsewhere, or null
};

// Takes `node` out of the tree, without any rebalancing.
[[maybe_unused]] DSVM_NOINLINE static Removal unlink(dsvm_tree_root &root, TreeNode *node)
{
	TreeNode *const left = child(node, kLeft);
	TreeNode *const right = child(node, kRight);
	TreeNode *const above = parent(node);

	if (root.leftmost == node)
		root.leftmost = neighbour(node, kRight);

	if (left == nullptr || right == nullptr) {
		TreeNode *const only = left != nullptr ? left : right;
		const Side side = above != nullptr ? side_of(node, above) : kLeft;

		replace_child(root, above, node, only);
		if (only != nullptr)
			set_parent(only, above);
		return Removal{above, side, nullptr};
	}

	// Two children: the successor, which has no left child, takes the node's place
	// and rank, and its own place is the one that closes.
	TreeNode *const next = extreme(right, kLeft);
	Removal result{next, kRight, next};

	if (next != right) {
		TreeNode *const below = child(next, kRight);

		result.above = parent(next);
		result.side = kLeft;
		set_child(result.above, kLeft, below);
		if (below != nullptr)
			set_parent(below, result.above);
		set_child(next, kRight, right);
		set_parent(right, next);
	}
	set_child(next, kLeft, left);
	set_parent(left, next);
	replace_child(root, above, node, next);
	next[0] = node[0];
	return result;
}

} // namespace tree

template <class Traits> class AugTree {
public:
	using Node = typename Traits::Node;

	// A view: the root is the owner's and outlives it. All zero is an empty tree.
	explicit AugTree(dsvm_tree_root &root) : root_(root) {}

	[[nodiscard]] bool empty() const { return root_.root == nullptr; }
	[[nodiscard]] Node *root() const { return node_at(root_.root); }
	[[nodiscard]] Node *first() const { return node_at(root_.leftmost); }
	[[nodiscard]] Node *last() const
	{
		return node_at(tree::extreme(static_cast<TreeNode *>(root_.root), tree::kRight));
	}
	[[nodiscard]] static Node *next(Node &node)
	{
		return node_at(tree::neighbour(Traits::words(node), tree::kRight));
	}
	[[nodiscard]] static Node *prev(Node &node)
	{
		return node_at(tree::neighbour(Traits::words(node), tree::kLeft));
	}
	[[nodiscard]] static Node *left(Node &node)
	{
		return node_at(tree::child(Traits::words(node), tree::kLeft));
	}
	[[nodiscard]] static Node *right(Node &node)
	{
		return node_at(tree::child(Traits::words(node), tree::kRight));
	}
	[[nodiscard]] static Node *parent(Node &node)
	{
		return node_at(tree::parent(Traits::words(node)));
	}

	// Precondition: `node` is in no tree. What its words held does not matter.
	void insert(Node &node)
	{
		Node *above = nullptr;
		Node *at = root();
		tree::Side side = tree::kLeft;
		bool leftmost = true;

		while (at != nullptr) {
			above = at;
			side = Traits::less(node, *at) ? tree::kLeft : tree::kRight;
			if (side == tree::kRight)
				leftmost = false;
			at = side == tree::kLeft ? left(*at) : right(*at);
		}
		insert_at(node, above, side, leftmost);
	}

	// The same for who has walked down already: `node` becomes the child of `above` (null:
	// the root) on a side that has none. `leftmost`: it comes before all others.
	void insert_at(Node &node, Node *above_node, tree::Side side, bool leftmost)
	{
		TreeNode *const words = Traits::words(node);
		TreeNode *const above =
			above_node != nullptr ? Traits::words(*above_node) : nullptr;

		words[0] = reinterpret_cast<usize>(above);
		words[tree::kLeft] = 0;
		words[tree::kRight] = 0;
		if (leftmost)
			root_.leftmost = words;
		static_cast<void>(Traits::update(node, nullptr, nullptr));
		if (above == nullptr) {
			root_.root = words;
			return;
		}

		// A parent with another child has rank 1 and room for this one.
		const bool was_leaf = tree::child(above, tree::opposite(side)) == nullptr;
		tree::set_child(above, side, words);
		propagate(above, nullptr);
		if (was_leaf)
			settle(tree::rebalance_insert(root_, words));
	}

	// Precondition: `node` is in this tree. Its words are zero afterwards.
	void remove(Node &node)
	{
		TreeNode *const words = Traits::words(node);
		const tree::Removal removal = tree::unlink(root_, words);

		words[0] = 0;
		words[tree::kLeft] = 0;
		words[tree::kRight] = 0;
		if (removal.above == nullptr)
			return;
		propagate(removal.above, removal.substitute);
		settle(tree::rebalance_remove(root_, removal.above, removal.side));
	}

	// After a change of a member that `update` reads but `less` does not.
	void update(Node &node) { propagate(Traits::words(node), nullptr); }

private:
	[[nodiscard]] static Node *node_at(void *words)
	{
		return words == nullptr ? nullptr
					: Traits::from_words(static_cast<TreeNode *>(words));
	}

	static bool update_one(TreeNode *words)
	{
		return Traits::update(*node_at(words), node_at(tree::child(words, tree::kLeft)),
				      node_at(tree::child(words, tree::kRight)));
	}

	// Upwards from `words` until nothing changes any more, but at least through `through`.
	static void propagate(TreeNode *words, TreeNode *through)
	{
		while (words != nullptr) {
			const bool changed = update_one(words);

			if (words == through)
				through = nullptr;
			else if (!changed && through == nullptr)
				return;
			words = tree::parent(words);
		}
	}

	// The top of a rotated subtree has the members that the old top had, so nothing
	// changes above it.
	static void settle(const tree::Rotated &rotated)
	{
		for (TreeNode *const low : rotated.low) {
			if (low != nullptr)
				static_cast<void>(update_one(low));
		}
		if (rotated.top != nullptr)
			static_cast<void>(update_one(rotated.top));
	}

	// The owner's.
	dsvm_tree_root &root_;
};

} // namespace dsvm

#endif // DSVM_CORE_BASE_AUG_TREE_H
