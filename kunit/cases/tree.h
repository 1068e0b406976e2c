// SPDX-License-Identifier: GPL-2.0-only OR MIT
//
// The checker of trees, shared by the cases for core/base/aug_tree.h and
// core/base/interval_tree.h.
//
// It believes nothing that the tree says: parent links, order, leftmost, the rank
// rules (from real ranks, computed bottom up) and the augmentation are all derived
// again from the child links. It returns what is wrong as a word, or null, so that
// the cases which break a tree on purpose can see that it noticed, and what.
#ifndef DSVM_KUNIT_CASES_TREE_H
#define DSVM_KUNIT_CASES_TREE_H

#include "core/base/aug_tree.h"
#include "kunit/case.h"

namespace dsvm::cases {

template <class Traits> class TreeChecker {
public:
	using Tree = AugTree<Traits>;
	using Node = typename Traits::Node;

	explicit TreeChecker(dsvm_tree_root &root) : root_(root), tree_(root) {}

	// Null if the tree is sound and has `count` members.
	[[nodiscard]] const char *complaint(u32 count)
	{
		wrong_ = nullptr;
		seen_ = 0;
		before_ = nullptr;
		if (Node *const root = tree_.root()) {
			if (Tree::parent(*root) != nullptr)
				return "the root has a parent";
			check(*root, 0);
		}
		if (wrong_ == nullptr && seen_ != count)
			return "wrong number of members";
		if (wrong_ == nullptr && tree_.last() != before_)
			return "last";
		if (wrong_ == nullptr && tree_.empty() != (count == 0))
			return "empty";
		return wrong_ != nullptr ? wrong_ : walk(count);
	}

private:
	// 2 log2(n) for as many nodes as memory can hold.
	static constexpr u32 kMaxDepth = 128;

	// Returns the rank of the subtree's root.
	int check(Node &node, u32 depth)
	{
		Node *const left = Tree::left(node);
		Node *const right = Tree::right(node);

		if (depth > kMaxDepth)
			return complain("too deep");
		if (left != nullptr && Tree::parent(*left) != &node)
			return complain("left child's parent link");
		if (right != nullptr && Tree::parent(*right) != &node)
			return complain("right child's parent link");

		const int left_rank = left != nullptr ? check(*left, depth + 1) : -1;
		visit(node);
		const int right_rank = right != nullptr ? check(*right, depth + 1) : -1;
		if (wrong_ != nullptr)
			return 0;

		// The rank that fits both children; which of the two candidates is meant,
		// the stored parity says.
		const int high = left_rank > right_rank ? left_rank : right_rank;
		const int low = left_rank > right_rank ? right_rank : left_rank;
		int rank = high + 1;
		if ((rank & 1) != static_cast<int>(tree::parity(Traits::words(node))))
			rank++;
		if (rank - low > 2)
			return complain("rank rule");
		if (left == nullptr && right == nullptr && rank != 0)
			return complain("leaf rank");

		// update() must find nothing to do.
		Node copy = node;
		if (Traits::update(copy, left, right))
			return complain("augmentation");
		return rank;
	}

	void visit(Node &node)
	{
		if (before_ == nullptr && root_.leftmost != Traits::words(node))
			complain("leftmost");
		if (before_ != nullptr && Traits::less(node, *before_))
			complain("order");
		before_ = &node;
		seen_++;
	}

	// The neighbours, both ways.
	const char *walk(u32 count)
	{
		Node *node = tree_.first();

		for (u32 i = 0; i < count; i++) {
			Node *const next = Tree::next(*node);

			if ((next == nullptr) != (i + 1 == count))
				return "next";
			if (next != nullptr && Tree::prev(*next) != node)
				return "prev";
			node = next;
		}
		return nullptr;
	}

	int complain(const char *what)
	{
		if (wrong_ == nullptr)
			wrong_ = what;
		return 0;
	}

	dsvm_tree_root &root_;
	Tree tree_;
	// The first thing found wrong.
	const char *wrong_ = nullptr;
	u32 seen_ = 0;
	// The member before the one at hand, in order.
	Node *before_ = nullptr;
};

// Fails the case with the complaint, if there is one.
inline bool expect_sound(const char *complaint, const char *where)
{
	if (complaint != nullptr)
		dsvm_case_log("%s: tree unsound: %s", where, complaint);
	return dsvm_case_check(complaint == nullptr, __FILE__, __LINE__, "the tree is sound");
}

} // namespace dsvm::cases

#endif // DSVM_KUNIT_CASES_TREE_H
