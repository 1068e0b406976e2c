// SPDX-License-Identifier: GPL-2.0-only OR MIT
//
// The checker of indexes (core/base/block_index.h): what each slot says of its block is compared
// with the members that there are, by looking at all of them.
#ifndef DSVM_KUNIT_CASES_BLOCK_INDEX_H
#define DSVM_KUNIT_CASES_BLOCK_INDEX_H

#include "core/base/block_index.h"
#include "kunit/case.h"
#include "kunit/cases/tree.h"

namespace dsvm::cases {

// What there is to know of an index beside whether it is sound.
struct BlockIndexCounts {
	u32 tables;
	u32 crowded; // blocks for which the tree is asked
	u32 spilled; // members that are in the tree
};

// `for_each(visit)` calls visit(dsvm_interval &) for each member.
template <class ForEach> class BlockIndexChecker {
public:
	BlockIndexChecker(const dsvm_index &index, usize base, ForEach for_each)
		: index_(index), base_(base), for_each_(for_each)
	{}

	// What is wrong, or null.
	[[nodiscard]] const char *complaint()
	{
		counts = {};
		if (index_.shape == nullptr) {
			for_each_([&](dsvm_interval &) { counts.spilled++; });
			return index_.slot == detail::kEmpty ? nullptr : "a slot without a shape";
		}
		return check(index_.slot, 0, base_);
	}

	BlockIndexCounts counts = {};

private:
	struct Found {
		usize member;
		u32 count;
		bool outside; // one reaches beyond the block
		bool uneven;  // one reaches over several parts
	};

	Found look(VaRange block, u32 level)
	{
		Found found = {};

		for_each_([&](dsvm_interval &node) {
			if (node.first > block.last || node.last < block.first)
				return;
			found.member = reinterpret_cast<usize>(&node);
			found.count++;
			found.outside |= node.first < block.first || node.last > block.last;
			if (level < index_.shape->levels) {
				const u32 shift = index_.shape->shift[level];

				found.uneven |= node.first >> shift != node.last >> shift;
			}
		});
		return found;
	}

	const char *check(usize slot, u32 level, usize first)
	{
		const usize mask = detail::level_mask(*index_.shape, level);
		const Found found = look(VaRange{first, first | mask}, level);

		if (found.outside)
			return "a member outside of its block";
		if (detail::is_table(slot))
			return check_table(slot, level, first, found);
		if (slot == detail::kEmpty)
			return found.count == 0 ? nullptr : "not empty";
		if (slot >= detail::kMember)
			return found.count == 1 && found.member == slot ? nullptr
									: "not that member alone";
		counts.crowded++;
		counts.spilled += found.count;
		if (slot != detail::kCrowded && slot != detail::kUneven)
			return "a slot that says nothing";
		return found.count >= 2 ? nullptr : "not crowded";
	}

	const char *check_table(usize slot, u32 level, usize first, const Found &found)
	{
		counts.tables++;
		if (level >= index_.shape->levels)
			return "a table below the last level";
		if (found.count == 0)
			return "a table with nothing in it";
		if (found.uneven)
			return "a member in two parts";
		for (usize i = 0; i < detail::part_count(*index_.shape, level); i++) {
			const usize at = first + (i << index_.shape->shift[level]);

			if (const char *const wrong = check(detail::parts(slot)[i], level + 1, at))
				return wrong;
		}
		return nullptr;
	}

	const dsvm_index &index_;
	const usize base_;
	ForEach for_each_;
};

} // namespace dsvm::cases

#endif // DSVM_KUNIT_CASES_BLOCK_INDEX_H
