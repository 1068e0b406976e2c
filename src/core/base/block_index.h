// SPDX-License-Identifier: GPL-2.0-only OR MIT
//
// Who is at this address? A table beside an interval tree, which answers that in a few loads.
//
// It is for spans that are aligned blocks of a few sizes, which are known beforehand, or pieces
// of such blocks: ranges in their window (chunk sizes), windows in their address space (one
// size). The whole span is divided into blocks of the first size, each of these into blocks of
// the next one, and so on; between sizes far apart are further levels. A slot speaks of one block:
//
//	whole	| table                                                                       |
//	2M	| empty | one range | table                         | crowded | empty | ...
//	64K	                    | empty | one range | empty | ...
//
//	kEmpty		nothing overlaps the block
//	a member	it alone does, and lies within the block
//	a table		a slot for each part of the block; each member in it lies within one part
//	kCrowded	several members do: ask the tree
//	kUneven		the same, and one of them reaches over several parts
//
// So a member is found as soon as it is alone in its block, and a block is divided only when a
// second one comes: an index with one member needs no memory. Which of the slots a search ends at
// depends on its first address only.
//
// Tables take memory, and the tree does not. Whoever inserts asks wanted() which tables that takes,
// gets them (BlockSpares) where memory may be waited for, and inserts; what could not be had, or
// what is found to be needed only then, makes a block crowded. kCrowded is right everywhere at any
// time. The next insertion into the block tries again to divide it.
//
// A block of which something was cut out may be uneven: two pieces of a large member in their
// common block, which is not divided as long as one of them reaches over several parts.
//
// Costs. first_overlap(): a load a level, at most DSVM_INDEX_LEVELS, then O(1) if the answer lies
// in the block where the search begins or there is none in the span and the span ends in it; else
// a search in the tree, O(log n). insert(): a load a level, and O(k) where it divides a crowded
// block of k members; where memory can be had, a block is divided when it gets its second one.
// Whoever finds a block of its own in a table is told who is in the one beside it, if anybody is
// alone there. remove(): a load a level; from a crowded block O(log n); where it was alone in its
// table, a look at all of that, at most 512 words, of which the neighbours come first. Memory: a
// word for each part of a divided block, so 8 bytes a member where members lie side by side.
//
// Invariants: members do not overlap; they lie within the whole span; `first` and `last` do not
// change while they are in the index; in each table there is something.
//
// What it does not do: it has no order, so walks go on in the tree; it owns no member; it does not
// lock: it changes where the tree does, and is read where that is.
#ifndef DSVM_CORE_BASE_BLOCK_INDEX_H
#define DSVM_CORE_BASE_BLOCK_INDEX_H

#include "core/base/interval_tree.h"
#include "core/base/verify.h"
#include "drm_svm/os.h"

namespace dsvm {

// The shape of an index over 2^shift bytes, none of which is divided. Precondition: shift is in
// 1 .. 64.
[[nodiscard]] constexpr dsvm_index_shape undivided_shape(u32 shift)
{
	dsvm_index_shape shape{};

	shape.mask = kU64Max >> (64 - shift);
	return shape;
}

// Has blocks of 2^shift bytes as well, if that is less than there are. What goes beyond
// DSVM_INDEX_LEVELS is left out: members in the same block are crowded there.
constexpr void divide_shape(dsvm_index_shape &shape, u32 shift)
{
	// A table is no larger than a page.
	constexpr u32 kTableShift = 9;
	u32 from = shape.levels ? shape.shift[shape.levels - 1] : ilog2(shape.mask) + 1;

	while (from > shift && shape.levels < DSVM_INDEX_LEVELS) {
		const u32 steps = (from - shift + kTableShift - 1) / kTableShift;

		from -= (from - shift + steps - 1) / steps;
		shape.shift[shape.levels++] = static_cast<u8>(from);
	}
}

namespace detail {

// What a slot may hold beside a member, whose address is not below kMember.
constexpr usize kEmpty = 0;
constexpr usize kCrowded = 2;
constexpr usize kUneven = 4;
constexpr usize kMember = 8;
// Added to the address of a table.
constexpr usize kTable = 1;

constexpr bool is_table(usize slot)
{
	return slot & kTable;
}

inline usize *parts(usize slot)
{
	return reinterpret_cast<usize *>(slot - kTable);
}

// The offset of an address in a block of a level, whose slot speaks of it.
constexpr usize level_mask(const dsvm_index_shape &shape, u32 level)
{
	return level == 0 ? shape.mask : (usize{1} << shape.shift[level - 1]) - 1;
}

constexpr usize part_count(const dsvm_index_shape &shape, u32 level)
{
	return (level_mask(shape, level) >> shape.shift[level]) + 1;
}

// Frees a table at a level and all below it; it calls itself no deeper than there are levels.
[[maybe_unused]] static void free_tables(usize slot, const dsvm_index_shape &shape, u32 level)
{
	if (!is_table(slot))
		return;
	for (usize i = 0; i < part_count(shape, level); ++i)
		free_tables(parts(slot)[i], shape, level + 1);
	dsvm_os_free(parts(slot));
}

} // namespace detail

// Tables that an insertion may need, one a level, and those that are not needed any more. Lives
// longer than the lock is held under which the index is changed.
class BlockSpares {
public:
	BlockSpares() = default;
	// The tables that wanted() says, as far as they can be had. May sleep.
	BlockSpares(const dsvm_index_shape &shape, u32 wanted)
	{
		for (u32 level = 0; wanted >> level; ++level) {
			if (wanted >> level & 1)
				allocate(shape, level);
		}
	}
	BlockSpares(const BlockSpares &) = delete;
	BlockSpares &operator=(const BlockSpares &) = delete;
	// May sleep.
	~BlockSpares()
	{
		for (u32 level = 0; have_ >> level; ++level) {
			if (have_ >> level & 1)
				dsvm_os_free(tables_[level]);
		}
		for (u32 i = 0; i < void_count_; ++i)
			detail::free_tables(voids_[i].slot, *voids_[i].shape, voids_[i].level);
	}

private:
	template <class T, dsvm_interval T::*Member> friend class BlockIndex;

	// What a slot has said of a block, with all tables below it, in which nothing is left.
	struct Void {
		usize slot;
		u32 level;
		const dsvm_index_shape *shape;
	};
	// A range that is trimmed comes out, and two go in.
	static constexpr u32 kMostVoids = 3;

	void allocate(const dsvm_index_shape &shape, u32 level)
	{
		tables_[level] = static_cast<usize *>(
			dsvm_os_alloc(detail::part_count(shape, level) * sizeof(usize)));
		if (tables_[level])
			have_ |= 1u << level;
	}
	// A table for a level, or null; it stays a spare until it is used.
	[[nodiscard]] usize *table(u32 level) const
	{
		return have_ >> level & 1 ? tables_[level] : nullptr;
	}
	void use(u32 level) { have_ &= ~(1u << level); }
	void discard(usize slot, u32 level, const dsvm_index_shape &shape)
	{
		if (DSVM_VERIFY(void_count_ < kMostVoids))
			voids_[void_count_++] = {slot, level, &shape};
	}

	// Which tables there are; most insertions need none, and set up nothing. The rest is not
	// initialised.
	u32 have_ = 0;
	u32 void_count_ = 0;
	usize *tables_[DSVM_INDEX_LEVELS];
	Void voids_[kMostVoids];
};

// A view: index and root are the owner's. Without a shape all of it is the tree.
template <class T, dsvm_interval T::*Member> class BlockIndex {
public:
	// `base` is where the whole span begins, a multiple of its size.
	BlockIndex(dsvm_index &index, usize base, dsvm_tree_root &root)
		: index_(index), base_(base), tree_(root)
	{}

	// The overlapping member with the lowest `first`, or null: as the tree says it.
	[[nodiscard]] T *first_overlap(VaRange span) const
	{
		const dsvm_index_shape *const shape = index_.shape;
		if (!shape)
			return tree_.first_overlap(span);

		const usize addr = max<usize>(span.first, base_);
		usize mask = shape->mask;
		usize offset = addr - base_;
		if (offset > mask)
			return nullptr;

		usize slot = index_.slot;
		for (const u8 *shift = shape->shift; detail::is_table(slot); ++shift) {
			slot = detail::parts(slot)[offset >> *shift];
			mask = (usize{1} << *shift) - 1;
			offset &= mask;
		}
		if (slot >= detail::kMember) {
			dsvm_interval &node = *reinterpret_cast<dsvm_interval *>(slot);

			// Whoever lies before the block ends before the search begins.
			if (node.first > span.last)
				return nullptr;
			if (node.last >= span.first)
				return container_of(&node, Member);
		}
		// Up to the end of the block there is nobody, unless it is crowded.
		const bool knows = slot == detail::kEmpty || slot >= detail::kMember;
		if (knows && (addr | mask) >= span.last)
			return nullptr;
		return tree_.first_overlap(span);
	}

	// Which levels' tables an insertion would have use for: a bit each.
	[[nodiscard]] u32 wanted(VaRange span) const
	{
		if (!index_.shape)
			return 0;

		u32 levels = 0;
		usize slot = index_.slot;
		for (u32 level = 0; can_divide(span, level); ++level) {
			if (detail::is_table(slot)) {
				slot = part(slot, level, span.first);
				continue;
			}
			if (slot == detail::kEmpty || slot == detail::kUneven)
				break;
			if (slot == detail::kCrowded)
				return levels | 1u << level;
			const VaRange other = span_at(slot);
			if (!is_in_one_part(other, level))
				break;
			levels |= 1u << level;
			if (!are_in_same_part(span, other, level))
				break;
		}
		return levels;
	}

	// Preconditions: overlaps no member; is not yet in the tree. Returns a member that comes right
	// before it or right after it, or null: those are not known.
	T *insert(T &object, BlockSpares &spares)
	{
		if (!index_.shape)
			return nullptr;

		const usize member = reinterpret_cast<usize>(&(object.*Member));
		const VaRange span = span_at(member);
		usize *slot = &index_.slot;
		usize table = detail::kEmpty;
		u32 level = 0;
		for (; *slot != detail::kEmpty; ++level) {
			if (!detail::is_table(*slot))
				*slot = divide(*slot, span, level, spares);
			else if (!can_divide(span, level))
				replace_table(*slot, level, spares);
			table = *slot;
			if (!detail::is_table(table))
				return nullptr;
			slot = &part(table, level, span.first);
		}
		*slot = member;
		return level == 0 ? nullptr : neighbour(table, level - 1, slot);
	}

	// Preconditions: it was inserted; is no longer in the tree.
	void remove(T &object, BlockSpares &spares)
	{
		if (!index_.shape)
			return;

		const usize member = reinterpret_cast<usize>(&(object.*Member));
		const usize addr = (object.*Member).first;
		// On the way down.
		usize *slots[DSVM_INDEX_LEVELS + 1] = {&index_.slot};
		u32 level = 0;
		for (; detail::is_table(*slots[level]); ++level)
			slots[level + 1] = &part(*slots[level], level, addr);

		usize &slot = *slots[level];
		if (slot == member)
			slot = detail::kEmpty;
		else if (DSVM_VERIFY(slot == detail::kCrowded || slot == detail::kUneven))
			slot = look_again(block(addr, level));
		if (slot != detail::kEmpty)
			return;

		u32 top = level;
		while (top > 0 && is_all_that(*slots[top - 1], top - 1, slots[top]))
			--top;
		if (top < level)
			spares.discard(exchange(*slots[top], detail::kEmpty), top, *index_.shape);
	}

private:
	using Tree = IntervalTree<T, Member>;

	[[nodiscard]] static bool is_member(usize slot)
	{
		return slot >= detail::kMember && !detail::is_table(slot);
	}
	[[nodiscard]] static T *object_at(usize member)
	{
		return container_of(reinterpret_cast<dsvm_interval *>(member), Member);
	}
	[[nodiscard]] static VaRange span_at(usize member)
	{
		const dsvm_interval &node = *reinterpret_cast<dsvm_interval *>(member);
		return VaRange{node.first, node.last};
	}
	[[nodiscard]] VaRange block(usize addr, u32 level) const
	{
		const usize mask = detail::level_mask(*index_.shape, level);
		return VaRange{addr & ~mask, addr | mask};
	}
	[[nodiscard]] bool are_in_same_part(VaRange a, VaRange b, u32 level) const
	{
		const u32 shift = index_.shape->shift[level];
		return a.first >> shift == b.first >> shift;
	}
	[[nodiscard]] bool is_in_one_part(VaRange span, u32 level) const
	{
		return are_in_same_part(span, VaRange{span.last, span.last}, level);
	}
	// Whether it would lie within one part, if there are any.
	[[nodiscard]] bool can_divide(VaRange span, u32 level) const
	{
		return level < index_.shape->levels && is_in_one_part(span, level);
	}
	[[nodiscard]] usize &part(usize table, u32 level, usize addr) const
	{
		const usize offset = addr & detail::level_mask(*index_.shape, level);
		return detail::parts(table)[offset >> index_.shape->shift[level]];
	}

	// A block gets a second member, or one more: what its slot says from now on. It is to have
	// a table if there is one, and then the new member is not in it yet.
	usize divide(usize slot, VaRange span, u32 level, BlockSpares &spares)
	{
		if (slot == detail::kUneven || !can_divide(span, level))
			return detail::kUneven;
		if (slot != detail::kCrowded && !is_in_one_part(span_at(slot), level))
			return detail::kUneven;
		usize *const table = spares.table(level);
		if (!table)
			return detail::kCrowded;

		const usize divided = reinterpret_cast<usize>(table) + detail::kTable;
		if (slot != detail::kCrowded)
			part(divided, level, span_at(slot).first) = slot;
		else if (!distribute(divided, block(span.first, level), level))
			return detail::kUneven; // and the table is freed as a spare
		spares.use(level);
		return divided;
	}

	// Gives each member in a block to its part. False: one of them reaches over several.
	bool distribute(usize divided, VaRange block, u32 level)
	{
		for (T *one = tree_.first_overlap(block); one;
		     one = tree_.next_overlap(*one, block)) {
			const usize member = reinterpret_cast<usize>(&(one->*Member));
			const VaRange span = span_at(member);
			if (!is_in_one_part(span, level))
				return false;

			usize &slot = part(divided, level, span.first);
			slot = slot == detail::kEmpty ? member : detail::kCrowded;
		}
		return true;
	}

	// A member of a size that the shape does not know, which lies in no part of a divided block:
	// there is something else in it, so the tree is asked from here on.
	void replace_table(usize &slot, u32 level, BlockSpares &spares)
	{
		spares.discard(exchange(slot, detail::kUneven), level, *index_.shape);
	}

	// The member that is alone in the block before or behind that of a slot, if one is.
	[[nodiscard]] T *neighbour(usize table, u32 level, const usize *slot) const
	{
		const usize *const first = detail::parts(table);
		const usize *const last = first + (detail::part_count(*index_.shape, level) - 1);

		if (slot > first && is_member(slot[-1]))
			return object_at(slot[-1]);
		return slot < last && is_member(slot[1]) ? object_at(slot[1]) : nullptr;
	}

	// Whether a table has nothing beside what is at one of its slots.
	[[nodiscard]] bool is_all_that(usize table, u32 level, const usize *slot) const
	{
		const usize *const first = detail::parts(table);
		const usize *const last = first + (detail::part_count(*index_.shape, level) - 1);

		// Who takes all out in order finds a neighbour as long as there is one.
		if (slot > first && slot[-1] != detail::kEmpty)
			return false;
		for (const usize *other = slot + 1; other <= last; ++other) {
			if (*other != detail::kEmpty)
				return false;
		}
		for (const usize *other = first; other < slot; ++other) {
			if (*other != detail::kEmpty)
				return false;
		}
		return true;
	}

	// A crowded block has lost a member.
	usize look_again(VaRange block) const
	{
		T *const first = tree_.first_overlap(block);
		if (!first)
			return detail::kEmpty;
		if (tree_.next_overlap(*first, block))
			return detail::kCrowded;
		return reinterpret_cast<usize>(&(first->*Member));
	}

	// The owner's.
	dsvm_index &index_;
	const usize base_;
	Tree tree_;
};

} // namespace dsvm

#endif // DSVM_CORE_BASE_BLOCK_INDEX_H
