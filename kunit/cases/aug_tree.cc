// SPDX-License-Identifier: GPL-2.0-only OR MIT
//
// Cases for core/base/aug_tree.h: all insertions and removals of small trees, in all
// orders; random ones against a sorted array; and the checker against broken trees.

#include "core/base/aug_tree.h"
#include "kunit/case.h"
#include "kunit/cases/tree.h"

namespace dsvm {
namespace {

struct Word {
	TreeNode words[3];
	u32 key;
	u32 id;
	// How many members the subtree has, and the sum of their keys: together they
	// notice a member that was forgotten or counted twice.
	u32 subtree_count;
	u64 subtree_sum;
};

struct WordTraits {
	using Node = Word;
	static TreeNode *words(Node &node) { return node.words; }
	static Node *from_words(TreeNode *words) { return reinterpret_cast<Node *>(words); }
	static bool less(const Node &a, const Node &b) { return a.key < b.key; }
	static bool update(Node &node, const Node *left, const Node *right)
	{
		u32 count = 1;
		u64 sum = node.key;
		const Node *const children[] = {left, right};
		for (const Node *const child : children) {
			if (child != nullptr) {
				count += child->subtree_count;
				sum += child->subtree_sum;
			}
		}
		const bool changed = node.subtree_count != count || node.subtree_sum != sum;
		node.subtree_count = count;
		node.subtree_sum = sum;
		return changed;
	}
};

using WordTree = AugTree<WordTraits>;
using WordChecker = cases::TreeChecker<WordTraits>;

constexpr u32 kWords = 256;

struct Forest {
	dsvm_tree_root root;
	Word nodes[kWords];
	// Members in order, as the model has them.
	u32 model[kWords];
	u32 count;
	bool in[kWords];
};

// One for a case, from the environment's memory.
class OwnedForest {
public:
	OwnedForest() : forest_(static_cast<Forest *>(dsvm_os_alloc(sizeof(Forest))))
	{
		for (u32 i = 0; i < kWords; i++)
			forest_->nodes[i].id = i;
	}
	OwnedForest(const OwnedForest &) = delete;
	OwnedForest &operator=(const OwnedForest &) = delete;
	~OwnedForest() { dsvm_os_free(forest_); }
	Forest *operator->() const { return forest_; }
	Forest &operator*() const { return *forest_; }

private:
	Forest *forest_;
};

void insert(Forest &f, u32 id)
{
	u32 at = f.count++;

	// Equal keys stay in the order of insertion: behind all that are not greater.
	for (; at > 0 && f.nodes[f.model[at - 1]].key > f.nodes[id].key; at--)
		f.model[at] = f.model[at - 1];
	f.model[at] = id;
	f.in[id] = true;
	WordTree(f.root).insert(f.nodes[id]);
}

void remove(Forest &f, u32 id)
{
	u32 kept = 0;

	for (u32 i = 0; i < f.count; i++) {
		if (f.model[i] != id)
			f.model[kept++] = f.model[i];
	}
	f.count = kept;
	f.in[id] = false;
	WordTree(f.root).remove(f.nodes[id]);
}

bool sound(Forest &f)
{
	if (!cases::expect_sound(WordChecker(f.root).complaint(f.count), "aug_tree"))
		return false;
	const Word *node = WordTree(f.root).first();
	for (u32 i = 0; i < f.count; i++) {
		if (!DSVM_CASE_CHECK_(node != nullptr && node->id == f.model[i]))
			return false;
		node = WordTree::next(const_cast<Word &>(*node));
	}
	return true;
}

// The next permutation in lexicographic order; false after the last.
bool next_permutation(u8 *items, u32 count)
{
	u32 i = count - 1;
	while (i > 0 && items[i - 1] >= items[i])
		i--;
	if (i == 0)
		return false;
	u32 j = count - 1;
	while (items[j] <= items[i - 1])
		j--;
	swap(items[i - 1], items[j]);
	for (j = count - 1; i < j; i++, j--)
		swap(items[i], items[j]);
	return true;
}

void fill(Forest &f, u32 count)
{
	for (u32 i = 0; i < count; i++) {
		f.nodes[i].key = i * 10;
		insert(f, i);
	}
}

} // namespace
} // namespace dsvm

using namespace dsvm;

DSVM_CASE(aug_tree, empty_and_single)
{
	OwnedForest f;

	DSVM_EXPECT(WordTree(f->root).empty());
	DSVM_EXPECT(WordTree(f->root).first() == nullptr);
	DSVM_EXPECT(WordTree(f->root).last() == nullptr);
	insert(*f, 0);
	DSVM_EXPECT(sound(*f));
	remove(*f, 0);
	DSVM_EXPECT(sound(*f));
	DSVM_EXPECT(f->root.root == nullptr);
	DSVM_EXPECT(f->root.leftmost == nullptr);
}

DSVM_CASE(aug_tree, ascending_descending_zigzag)
{
	OwnedForest f;

	for (u32 pattern = 0; pattern < 3; pattern++) {
		for (u32 i = 0; i < kWords; i++) {
			f->nodes[i].key = pattern == 0	 ? i
					  : pattern == 1 ? kWords - i
					  : i % 2 == 0	 ? i
							 : 2 * kWords - i;
			insert(*f, i);
			DSVM_REQUIRE(sound(*f));
		}
		// Once from the front, once from the back, once from the middle out.
		while (f->count > 0) {
			remove(*f, f->model[pattern == 0   ? 0
					    : pattern == 1 ? f->count - 1
							   : f->count / 2]);
			DSVM_REQUIRE(sound(*f));
		}
	}
}

// All trees that insertions alone can make of up to 7 members (5040 orders), and every
// member removed from each of them.
DSVM_CASE(aug_tree, all_small_insertions_then_each_removal)
{
	OwnedForest f;
	const u32 members = dsvm_backend_effort() >= 100 ? 7 : 5;

	for (u32 count = 1; count <= members; count++) {
		u8 order[8];
		for (u32 i = 0; i < count; i++)
			order[i] = static_cast<u8>(i);
		do {
			for (u32 victim = 0; victim < count; victim++) {
				for (u32 i = 0; i < count; i++) {
					f->nodes[order[i]].key = order[i];
					insert(*f, order[i]);
				}
				DSVM_REQUIRE(sound(*f));
				remove(*f, victim);
				DSVM_REQUIRE(sound(*f));
				f->root = {};
				f->count = 0;
			}
		} while (next_permutation(order, count));
	}
}

// A tree of 15, taken apart in random orders until every way of rebalancing was met:
// removals make the shapes that insertions never do (nodes whose children are both two
// ranks below).
DSVM_CASE(aug_tree, all_removal_orders)
{
	OwnedForest f;
	cases::Random random;

	for (u32 round = 0; round < cases::rounds(4000); round++) {
		const u32 count = 1 + static_cast<u32>(random.below(24));

		fill(*f, count);
		while (f->count > 0) {
			remove(*f, f->model[random.below(f->count)]);
			DSVM_REQUIRE(sound(*f));
		}
	}
}

DSVM_CASE(aug_tree, equal_keys_keep_insertion_order)
{
	OwnedForest f;

	for (u32 i = 0; i < 64; i++) {
		f->nodes[i].key = i % 3;
		insert(*f, i);
		DSVM_REQUIRE(sound(*f));
	}
	for (u32 i = 0; i < 64; i += 2) {
		remove(*f, i);
		DSVM_REQUIRE(sound(*f));
	}
}

// Weighted so that the tree breathes: it grows for a while, then shrinks.
DSVM_CASE(aug_tree, random_against_sorted_array)
{
	OwnedForest f;
	cases::Random random;
	u32 add_chance = 80;

	for (u32 step = 0; step < cases::rounds(20000); step++) {
		const u32 id = static_cast<u32>(random.below(kWords));

		if (step % 512 == 0)
			add_chance = static_cast<u32>(random.between(10, 90));
		if (f->in[id] && !random.chance(add_chance)) {
			remove(*f, id);
		} else if (!f->in[id] && random.chance(add_chance)) {
			f->nodes[id].key = static_cast<u32>(random.below(kWords));
			insert(*f, id);
		}
		if (!sound(*f)) {
			DSVM_CASE_LOG("step %u, member %u of %u", step, id, f->count);
			return;
		}
	}
}

DSVM_CASE(aug_tree, update_propagates)
{
	OwnedForest f;

	fill(*f, 100);
	// The key may change as long as the order does not.
	f->nodes[37].key += 5;
	DSVM_EXPECT(WordChecker(f->root).complaint(100) != nullptr);
	WordTree(f->root).update(f->nodes[37]);
	DSVM_EXPECT(sound(*f));
}

// The checker has to find each kind of damage, or its silence above means nothing.
DSVM_CASE(aug_tree, checker_finds_damage)
{
	OwnedForest f;
	fill(*f, 31);

	WordChecker checker(f->root);
	Word &root = *WordTree(f->root).root();
	Word &left = *WordTree::left(root);
	DSVM_REQUIRE(checker.complaint(31) == nullptr);

	DSVM_EXPECT(checker.complaint(30) != nullptr);

	left.key = 1000;
	DSVM_EXPECT(checker.complaint(31) != nullptr);
	left.key = left.id * 10;

	root.subtree_sum++;
	DSVM_EXPECT(checker.complaint(31) != nullptr);
	root.subtree_sum--;

	left.words[0] ^= tree::kParityBit;
	DSVM_EXPECT(checker.complaint(31) != nullptr);
	left.words[0] ^= tree::kParityBit;

	Word &leaf = *WordTree(f->root).first();
	leaf.words[0] ^= tree::kParityBit;
	DSVM_EXPECT(checker.complaint(31) != nullptr);
	leaf.words[0] ^= tree::kParityBit;

	tree::set_parent(left.words, leaf.words);
	DSVM_EXPECT(checker.complaint(31) != nullptr);
	tree::set_parent(left.words, root.words);

	f->root.leftmost = root.words;
	DSVM_EXPECT(checker.complaint(31) != nullptr);
	f->root.leftmost = leaf.words;

	const usize lost = left.words[tree::kLeft];
	left.words[tree::kLeft] = 0;
	DSVM_EXPECT(checker.complaint(31) != nullptr);
	left.words[tree::kLeft] = lost;

	DSVM_EXPECT(checker.complaint(31) == nullptr);
}
