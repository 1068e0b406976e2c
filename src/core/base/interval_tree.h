// SPDX-License-Identifier: GPL-2.0-only OR MIT
//
// Spans of addresses in order: who overlaps this one, and where is room?
//
// Two trees over core/base/aug_tree.h, whose members are disjoint.
//
// IntervalTree: of disjoint spans, those that end later begin later. So nodes need to know nothing
// of their subtrees, and an insertion or a removal changes nothing on the way to the root.
// first_overlap() finds the overlapping member with the lowest `first`, last_before() the one with
// the highest up to an address, both in O(log n); next_overlap() is next(), as long as that overlaps.
//
// GapTree: a node knows the span of its subtree and the widest hole inside it:
//
//	subtree_gap(x) = max(subtree_gap(left(x)), first(x) - subtree_last(left(x)) - 1,
//	                     subtree_first(right(x)) - last(x) - 1, subtree_gap(right(x)))
//
// All of it follows from the two children: no neighbour has to be touched when a
// member comes or goes. lowest_gap() finds the lowest hole of a size inside a range in
// O(log n). With an alignment, a hole wide enough can still be placed badly; each such
// hole costs another O(log n), and none with size + alignment - 1 bytes is ever refused.
//
// Invariants: first <= last in every member, and none overlaps another; `first` and `last` do not
// change while it is in a tree. Members are embedded in their objects: no allocation, no failure.
// Neither class locks.
#ifndef DSVM_CORE_BASE_INTERVAL_TREE_H
#define DSVM_CORE_BASE_INTERVAL_TREE_H

#include "core/base/aug_tree.h"
#include "core/base/result.h"
#include "core/base/va_range.h"

namespace dsvm {

struct IntervalTraits {
	using Node = dsvm_interval;

	static TreeNode *words(Node &node) { return node.tree; }
	static Node *from_words(TreeNode *words) { return reinterpret_cast<Node *>(words); }
	static bool less(const Node &a, const Node &b) { return a.first < b.first; }
	static bool update(Node &, const Node *, const Node *) { return false; }
};

static_assert(__builtin_offsetof(dsvm_interval, tree) == 0);

namespace detail {

// The first member in order that overlaps; null if none does.
[[maybe_unused]] DSVM_NOINLINE static dsvm_interval *interval_search(dsvm_interval *node,
								     const VaRange &range)
{
	using Tree = AugTree<IntervalTraits>;
	dsvm_interval *found = nullptr;

	// The first one that ends late enough; if that begins too late, so do all that follow.
	while (node != nullptr) {
		const bool is_late = node->last >= range.first;

		found = is_late ? node : found;
		node = is_late ? Tree::left(*node) : Tree::right(*node);
	}
	return found != nullptr && found->first <= range.last ? found : nullptr;
}

// The last member in order that begins at @addr or before; null if none does.
[[maybe_unused]] DSVM_NOINLINE static dsvm_interval *interval_last(dsvm_interval *node, usize addr)
{
	using Tree = AugTree<IntervalTraits>;
	dsvm_interval *found = nullptr;

	while (node != nullptr) {
		const bool is_early = node->first <= addr;

		found = is_early ? node : found;
		node = is_early ? Tree::right(*node) : Tree::left(*node);
	}
	return found;
}

} // namespace detail

template <class T, dsvm_interval T::*Member> class IntervalTree {
public:
	// A view: the root is the owner's and outlives it. All zero is an empty tree.
	explicit IntervalTree(dsvm_tree_root &root) : root_(root) {}

	// Precondition: in no tree; Member's `first` and `last` are set.
	void insert(T &object) { tree().insert(object.*Member); }
	// Precondition: in this tree.
	void remove(T &object) { tree().remove(object.*Member); }

	// The overlapping member with the lowest `first`, or null.
	[[nodiscard]] T *first_overlap(VaRange range) const
	{
		return home(detail::interval_search(tree().root(), range));
	}
	// The last member that begins at `addr` or before, or null.
	[[nodiscard]] T *last_before(usize addr) const
	{
		return home(detail::interval_last(tree().root(), addr));
	}
	// The next one in order after `object`, which is in this tree and overlaps, or null.
	[[nodiscard]] T *next_overlap(T &object, VaRange range) const
	{
		dsvm_interval *const after = Tree::next(object.*Member);
		return after != nullptr && after->first <= range.last ? home(after) : nullptr;
	}

	[[nodiscard]] T *first() const { return home(tree().first()); }
	[[nodiscard]] T *last() const { return home(tree().last()); }
	[[nodiscard]] T *next(T &object) const { return home(Tree::next(object.*Member)); }
	[[nodiscard]] T *prev(T &object) const { return home(Tree::prev(object.*Member)); }
	[[nodiscard]] bool empty() const { return root_.root == nullptr; }

private:
	using Tree = AugTree<IntervalTraits>;

	[[nodiscard]] Tree tree() const { return Tree(root_); }
	[[nodiscard]] static T *home(dsvm_interval *node)
	{
		return node == nullptr ? nullptr : container_of(node, Member);
	}

	// The owner's.
	dsvm_tree_root &root_;
};

// A member of a GapTree.
struct GapNode {
	// The balanced tree's.
	usize tree[3];
	// The span, both ends included; set by the owner before insertion.
	usize first;
	usize last;
	// The lowest `first`, the highest `last` and the widest hole in the subtree.
	usize subtree_first;
	usize subtree_last;
	usize subtree_gap;
};

struct GapTraits {
	using Node = GapNode;

	static TreeNode *words(Node &node) { return node.tree; }
	static Node *from_words(TreeNode *words) { return reinterpret_cast<Node *>(words); }
	static bool less(const Node &a, const Node &b) { return a.first < b.first; }
	static bool update(Node &node, const Node *left, const Node *right)
	{
		usize first = node.first;
		usize last = node.last;
		usize gap = 0;

		if (left != nullptr) {
			first = left->subtree_first;
			gap = max(left->subtree_gap, node.first - left->subtree_last - 1);
		}
		if (right != nullptr) {
			last = right->subtree_last;
			gap = max(gap,
				  max(right->subtree_gap, right->subtree_first - node.last - 1));
		}
		const bool changed = node.subtree_first != first || node.subtree_last != last ||
				     node.subtree_gap != gap;
		node.subtree_first = first;
		node.subtree_last = last;
		node.subtree_gap = gap;
		return changed;
	}
};

static_assert(__builtin_offsetof(GapNode, tree) == 0);

namespace detail {

// What lowest_gap() looks for.
struct GapQuery {
	VaRange within;
	u64 size;      // at least 1
	u64 alignment; // a power of two

	// Where the wanted span would begin in the hole [first, last]; kNoSpace if it
	// does not fit. The hole must not be empty.
	[[nodiscard]] Expected<u64> place(u64 first, u64 last) const
	{
		first = max(first, within.first);
		last = min(last, within.last);
		u64 start = 0;
		if (__builtin_add_overflow(first, alignment - 1, &start))
			return kNoSpace;
		start = align_down(start, alignment);
		if (start > last || last - start < size - 1)
			return kNoSpace;
		return start;
	}

	// As place(), for the hole between two members.
	[[nodiscard]] Expected<u64> place_between(usize before, usize after) const
	{
		if (after - before <= 1)
			return kNoSpace;
		return place(before + 1, after - 1);
	}

	[[nodiscard]] bool is_hopeless(const GapNode &node) const
	{
		return node.subtree_gap < size || node.subtree_last < within.first ||
		       node.subtree_first > within.last;
	}
};

// The lowest hole between two members of the tree. In order, through the parent
// links, never into a subtree that cannot hold one.
[[maybe_unused]] DSVM_NOINLINE static Expected<u64> gap_search(GapNode *root, const GapQuery &query)
{
	using Tree = AugTree<GapTraits>;
	enum class From { kAbove, kLeft, kRight };
	GapNode *node = root;
	From from = From::kAbove;

	while (node != nullptr) {
		GapNode *const left = Tree::left(*node);
		GapNode *const right = Tree::right(*node);

		if (from == From::kAbove && !query.is_hopeless(*node)) {
			if (left != nullptr) {
				node = left;
				continue;
			}
			from = From::kLeft;
		}
		if (from == From::kLeft) {
			if (left != nullptr) {
				const auto found =
					query.place_between(left->subtree_last, node->first);
				if (found.is_ok())
					return found;
			}
			if (right != nullptr) {
				const auto found =
					query.place_between(node->last, right->subtree_first);
				if (found.is_ok())
					return found;
				node = right;
				from = From::kAbove;
				continue;
			}
		}
		// Done with this subtree.
		GapNode *const above = Tree::parent(*node);
		if (above != nullptr)
			from = Tree::left(*above) == node ? From::kLeft : From::kRight;
		node = above;
	}
	return kNoSpace;
}

} // namespace detail

template <class T, GapNode T::*Member> class GapTree {
public:
	// A view: the root is the owner's and outlives it. All zero is an empty tree.
	explicit GapTree(dsvm_tree_root &root) : root_(root) {}

	// Precondition: in no tree, overlaps no member; Member's `first`, `last` are set.
	void insert(T &object) { tree().insert(object.*Member); }
	// Precondition: in this tree.
	void remove(T &object) { tree().remove(object.*Member); }

	// The lowest multiple of `alignment` at which `size` bytes are free inside
	// `within`. kNoSpace if there are none; kInvalid if `size` is 0 or `alignment`
	// is no power of two.
	[[nodiscard]] Expected<u64> lowest_gap(VaRange within, u64 size, u64 alignment = 1) const
	{
		if (size == 0 || !is_power_of_two(alignment))
			return kInvalid;

		const detail::GapQuery query{within, size, alignment};
		GapNode *const root = tree().root();

		if (root == nullptr)
			return query.place(0, kU64Max);
		if (root->subtree_first > 0) {
			const auto found = query.place(0, root->subtree_first - 1);
			if (found.is_ok())
				return found;
		}
		const auto found = detail::gap_search(root, query);
		if (found.is_ok() || root->subtree_last == kU64Max)
			return found;
		return query.place(root->subtree_last + 1, kU64Max);
	}

	[[nodiscard]] T *first() const { return home(tree().first()); }
	[[nodiscard]] T *last() const { return home(tree().last()); }
	[[nodiscard]] T *next(T &object) const { return home(Tree::next(object.*Member)); }
	[[nodiscard]] T *prev(T &object) const { return home(Tree::prev(object.*Member)); }
	[[nodiscard]] bool empty() const { return root_.root == nullptr; }

private:
	using Tree = AugTree<GapTraits>;

	[[nodiscard]] Tree tree() const { return Tree(root_); }
	[[nodiscard]] static T *home(GapNode *node)
	{
		return node == nullptr ? nullptr : container_of(node, Member);
	}

	// The owner's.
	dsvm_tree_root &root_;
};

} // namespace dsvm

#endif // DSVM_CORE_BASE_INTERVAL_TREE_H
