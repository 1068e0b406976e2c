// SPDX-License-Identifier: GPL-2.0-only OR MIT
//
// The checker of B+-trees of mappings (core/va/va_index.h), and a way through their members
// that is not the core's own.
//
// It believes nothing that the nodes say of each other: order, keys, lengths, the list of
// leaves, how full nodes are and what they cost are all derived again from the child links. It
// returns what is wrong as a word, or null.
#ifndef DSVM_KUNIT_CASES_VA_INDEX_CHECK_H
#define DSVM_KUNIT_CASES_VA_INDEX_CHECK_H

#include "core/va/va_index.h"
#include "kunit/cases/tree.h"

namespace dsvm::cases {

// The order of a tree of mappings as the checkers believe it, which is not the core's word.
struct VaOrderTraits {
	using Node = dsvm_va;
	static TreeNode *words(Node &node) { return node.tree; }
	static Node *from_words(TreeNode *words)
	{
		return reinterpret_cast<Node *>(reinterpret_cast<usize>(words) -
						__builtin_offsetof(dsvm_va, tree));
	}
	static bool less(const Node &a, const Node &b) { return a.map.addr < b.map.addr; }
	static bool update(Node &, const Node *, const Node *) { return false; }
};

class VaIndexChecker {
public:
	// What a mapping may cost at most, and that many nodes a level more.
	static constexpr u64 kBytesPerMember = 46;
	static constexpr u64 kNodesPerLevel = 2;

	explicit VaIndexChecker(const dsvm_va_index &index) : index_(index) {}

	// Null if it is sound and has `count` members.
	[[nodiscard]] const char *complaint(u32 count)
	{
		if ((index_.root == nullptr) != (index_.height == 0))
			return "height of nothing";
		if (index_.height > VaIndex::kMaxHeight)
			return "height";
		if (index_.root != nullptr)
			check(index_.root, 0, 0, kU64Max, true, true);
		if (wrong_ != nullptr)
			return wrong_;
		if (leaf_ != nullptr && leaf_->next != nullptr)
			return "the last leaf has a next";
		if (index_.finger != nullptr && !finger_seen_)
			return "the finger is on no leaf";
		if (seen_ != count)
			return "number of mappings in the index";
		if (nodes_ * 512 > count * kBytesPerMember + index_.height * kNodesPerLevel * 512)
			return "too many nodes";
		return nullptr;
	}
	[[nodiscard]] u64 nodes() const { return nodes_; }

private:
	// All below begins at `low` or behind it, and not behind `high`.
	void check(const void *node, u32 level, u64 low, u64 high, bool is_first, bool is_last)
	{
		nodes_++;
		if (level + 1 == index_.height)
			check_leaf(*static_cast<const dsvm_va_leaf *>(node), low, high);
		else
			check_inner(*static_cast<const VaInner *>(node), level, low, high, is_first,
				    is_last);
	}

	void check_inner(const VaInner &inner, u32 level, u64 low, u64 high, bool is_first,
			 bool is_last)
	{
		const u32 least = level == 0 ? 2 : is_first || is_last ? 1 : 15;

		if (inner.count < least || inner.count > 31)
			return complain("how many children");
		for (u32 i = inner.count; i < 32; i++) {
			if (inner.key[i] != kU64Max)
				return complain("a key behind the last");
		}
		if (inner.key[0] != 0)
			return complain("the first key");
		for (u32 i = 0; i < inner.count; i++) {
			const u64 from = i == 0 ? low : inner.key[i];
			const u64 to = i + 1 < inner.count ? inner.key[i + 1] - 1 : high;

			if (from < low || to > high || from > to)
				return complain("keys");
			check(inner.child[i], level + 1, from, to, is_first && i == 0,
			      is_last && i + 1 == inner.count);
			if (wrong_ != nullptr)
				return;
		}
	}

	void check_leaf(const dsvm_va_leaf &leaf, u64 low, u64 high)
	{
		const bool is_edge = leaf.prev == nullptr || leaf.next == nullptr;

		if (leaf.count < (is_edge ? 1u : 12u) || leaf.count > 24)
			return complain("how many mappings in a leaf");
		if (leaf.prev != leaf_ || (leaf_ != nullptr && leaf_->next != &leaf))
			return complain("the list of leaves");
		leaf_ = &leaf;
		finger_seen_ |= index_.finger == &leaf;
		for (u32 i = leaf.count; i < 24; i++) {
			if (leaf.first[i] != kU64Max)
				return complain("an address behind the last");
		}
		for (u32 i = 0; i < leaf.count; i++)
			check_member(leaf, i, low, high);
	}

	void check_member(const dsvm_va_leaf &leaf, u32 i, u64 low, u64 high)
	{
		const dsvm_va_map &map = leaf.va[i]->map;

		if (leaf.first[i] != map.addr ||
		    leaf.length[i] != (map.range >> 32 == 0 ? map.range : 0))
			return complain("a leaf and its mapping disagree");
		if (leaf.va[i]->leaf != &leaf)
			return complain("a mapping takes another leaf for its own");
		if (map.addr < low || map.addr > high)
			return complain("a mapping in the wrong leaf");
		if (before_ != nullptr && before_->map.addr + (before_->map.range - 1) >= map.addr)
			return complain("mappings in leaves overlap, or are out of order");
		before_ = leaf.va[i];
		seen_++;
	}

	void complain(const char *what)
	{
		if (wrong_ == nullptr)
			wrong_ = what;
	}

	const dsvm_va_index &index_;
	// The first thing found wrong.
	const char *wrong_ = nullptr;
	u64 nodes_ = 0;
	u32 seen_ = 0;
	bool finger_seen_ = false;
	// Those before the one at hand, in order.
	const dsvm_va_leaf *leaf_ = nullptr;
	const dsvm_va *before_ = nullptr;
};

// All mappings of a space, leaves and spill, in order. Nothing may change meanwhile.
class VaMembers {
	using Tree = AugTree<VaOrderTraits>;

	class Iterator {
	public:
		Iterator(dsvm_va_leaf *leaf, dsvm_va *spilled) : leaf_(leaf), spilled_(spilled) {}
		dsvm_va &operator*() const { return is_leafs() ? *leaf_->va[at_] : *spilled_; }
		Iterator &operator++()
		{
			if (!is_leafs()) {
				spilled_ = Tree::next(*spilled_);
			} else if (++at_ == leaf_->count) {
				leaf_ = leaf_->next;
				at_ = 0;
			}
			return *this;
		}
		bool operator!=(const Iterator &other) const
		{
			return leaf_ != other.leaf_ || spilled_ != other.spilled_;
		}

	private:
		[[nodiscard]] bool is_leafs() const
		{
			return leaf_ != nullptr &&
			       (spilled_ == nullptr || leaf_->first[at_] < spilled_->map.addr);
		}

		dsvm_va_leaf *leaf_;
		dsvm_va *spilled_;
		u32 at_ = 0;
	};

public:
	explicit VaMembers(dsvm_va_index &index) : index_(index) {}

	[[nodiscard]] Iterator begin() const
	{
		void *node = index_.root;

		for (u32 level = 1; level < index_.height; level++)
			node = static_cast<VaInner *>(node)->child[0];
		return Iterator(static_cast<dsvm_va_leaf *>(node), Tree(index_.spill).first());
	}
	[[nodiscard]] Iterator end() const { return Iterator(nullptr, nullptr); }

private:
	dsvm_va_index &index_;
};

} // namespace dsvm::cases

#endif // DSVM_KUNIT_CASES_VA_INDEX_CHECK_H
