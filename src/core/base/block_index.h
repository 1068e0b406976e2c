// SPDX-License-Identifier: GPL-2.0-only OR MIT
//
// Who is at this address, and who comes before? A table that answers that in a few loads.
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
//	kCrowded	several members do: they are in the tree
//	kUneven		the same, and one of them reaches over several parts
//
// So a member is found as soon as it is alone in its block, and a block is divided only when a
// second one comes: an index with one member needs no memory. Which of the slots a search ends at
// depends on its first address only.
//
// Tables take memory, and an insertion never fails. Whoever inserts asks wanted() which tables that
// takes, gets them (BlockSpares) where memory may be waited for, and inserts; what could not be
// had, or what is found to be needed only then, makes a block crowded: its members go into a tree
// beside the index, whose nodes are theirs. kCrowded is right everywhere at any time. The next
// insertion into the block tries again to divide it. An index without a shape is all tree.
//
// A block of which something was cut out may be uneven: two pieces of a large member in their
// common block, which is not divided as long as one of them reaches over several parts.
//
// Costs. first_overlap(): a load a level, at most DSVM_INDEX_LEVELS, then O(1) if the answer lies
// in the block where the search begins or there is none in the span and the span ends in it; else
// a look at the slots from there on that lie in the span, at most 512 a level. insert(): a load a
// level, and O(k) where it divides a crowded block of k members, or crowds one of k; where memory
// can be had, a block is divided when it gets its second one. Then a look at the slots before it,
// up to the first that is not empty: the next one, where members come side by side. remove(): a
// load a level; where it was alone in its table, a look at all of that, at most 512 words, of
// which the neighbours come first. In a crowded block there is O(log n) of the tree in each of
// them. Memory: a word for each part of a divided block, so 8 bytes a member where members lie
// side by side.
//
// Invariants: members do not overlap; they lie within the whole span; `first` and `last` do not
// change while they are in the index; in each table there is something; in the tree are the members
// of crowded blocks and no others.
//
// What it does not do: walk from a member to the next, for which there is a list beside it; own a
// member; lock.
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

		const u32 bits = (from - shift + steps - 1) / steps;
		from -= bits;
		shape.last[shape.levels] = static_cast<u16>((1u << bits) - 1);
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
	return usize{shape.last[level]} + 1;
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

// A view: index and root are the owner's.
template <class T, dsvm_interval T::*Member> class BlockIndex {
public:
	// `base` is where the whole span begins, a multiple of its size.
	BlockIndex(dsvm_index &index, usize base, dsvm_tree_root &root)
		: index_(index), base_(base), tree_(root)
	{}

	// The overlapping member with the lowest `first`, or null.
	[[nodiscard]] T *first_overlap(const VaRange &span) const
	{
		const dsvm_index_shape *const shape = index_.shape;
		if (!shape)
			return tree_.first_overlap(span);

		const usize addr = max<usize>(span.first, base_);
		if (addr - base_ > shape->mask)
			return nullptr;

		const Place place = place_of(addr);
		const usize slot = place.slot;
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
		if (knows && block(addr, place.level).last >= span.last)
			return nullptr;
		return search(addr, span);
	}

	// A slot of a block where nobody is, with one before it; true as long as nothing comes into
	// the index and nothing leaves it.
	struct Spot {
		usize *at; // null: there is none
		u32 shift; // of the block's size
	};

	// The member that has the address; where nobody has, null, which levels' tables an insertion
	// there would have use for, and where it would go.
	[[nodiscard]] DSVM_ALWAYS_INLINE T *at(usize addr, u32 &wanted_levels, Spot &spot) const
	{
		const dsvm_index_shape *const shape = index_.shape;

		wanted_levels = 0;
		spot.at = nullptr;
		if (shape && addr - base_ > shape->mask)
			return nullptr;
		const Place place = shape ? place_of(addr) : Place{detail::kUneven, nullptr, 0, 0};
		const usize slot = place.slot;
		if (slot == detail::kEmpty) {
			if (place.part > 0)
				spot = {place.at, shape->shift[place.level - 1]};
			return nullptr;
		}
		if (slot < detail::kMember) {
			if (T *const found = tree_.first_overlap(VaRange{addr, addr}))
				return found;
		} else {
			dsvm_interval &node = *reinterpret_cast<dsvm_interval *>(slot);
			if (node.first <= addr && addr <= node.last)
				return container_of(&node, Member);
		}
		wanted_levels = wanted(VaRange{addr, addr});
		return nullptr;
	}

	// Which levels' tables an insertion would have use for: a bit each.
	[[nodiscard]] DSVM_NOINLINE u32 wanted(const VaRange &span) const
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

	// Inserts an object that comes right behind another one into a block where nobody is, which
	// takes next to nothing. Null, and nothing done: there is no such block, but perhaps a member
	// that it would overlap. Returns the member before it.
	T *insert_beside(T &object)
	{
		const VaRange span = span_at(member_of(object));
		if (!index_.shape || !detail::is_table(index_.slot))
			return nullptr;

		const Place place = place_of(span.first);
		// There may be none before it in the table.
		if (place.part == 0)
			return nullptr;
		return insert_beside(object, Spot{place.at, index_.shape->shift[place.level - 1]});
	}
	// The same where at() has found a spot for the object's address.
	T *insert_beside(T &object, const Spot &spot)
	{
		const VaRange span = span_at(member_of(object));

		if (*spot.at != detail::kEmpty || (span.first ^ span.last) >> spot.shift != 0 ||
		    !is_member(spot.at[-1]))
			return nullptr;
		*spot.at = member_of(object);
		return object_at(spot.at[-1]);
	}

	// Precondition: overlaps no member. Returns the member right before it; null: it is the first.
	T *insert(T &object, BlockSpares &spares)
	{
		if (!index_.shape) {
			tree_.insert(object);
			return tree_.prev(object);
		}

		const VaRange span = span_at(member_of(object));
		DSVM_UNSET Path path;
		usize *slot = &index_.slot;
		u32 level = 0;
		for (; *slot != detail::kEmpty; path.slots[++level] = slot) {
			if (!detail::is_table(*slot))
				*slot = divide(*slot, span, level, spares);
			else if (!can_divide(span, level))
				replace_table(*slot, level, spares);
			if (!detail::is_table(*slot)) {
				tree_.insert(object);
				return before(object, path, level);
			}
			slot = &part(*slot, level, span.first);
		}
		*slot = member_of(object);
		return before(object, path, level);
	}

	// Precondition: it was inserted.
	void remove(T &object, BlockSpares &spares)
	{
		if (!index_.shape) {
			tree_.remove(object);
			return;
		}

		const usize addr = (object.*Member).first;
		DSVM_UNSET Path path;
		const u32 level = descend(addr, path);
		usize &slot = level == 0 ? index_.slot : *path.slots[level];
		if (slot == member_of(object)) {
			slot = detail::kEmpty;
		} else if (DSVM_VERIFY(is_crowded(slot))) {
			tree_.remove(object);
			slot = look_again(block(addr, level));
		}
		if (slot != detail::kEmpty)
			return;

		u32 top = level;
		while (top > 0 && is_all_that(table_at(path, top - 1), top - 1, path.slots[top]))
			--top;
		if (top < level)
			spares.discard(
				exchange(top == 0 ? index_.slot : *path.slots[top], detail::kEmpty),
				top, *index_.shape);
	}

private:
	using Tree = IntervalTree<T, Member>;

	// Where a search for an address ends.
	struct Place {
		usize slot; // what it says
		usize *at;  // it, and which one it is in its table; not of the index's own
		usize part;
		u32 level;
	};
	// Precondition: within the whole span.
	[[nodiscard]] Place place_of(usize addr) const
	{
		const dsvm_index_shape &shape = *index_.shape;
		Place place{index_.slot, nullptr, 0, 0};

		for (; detail::is_table(place.slot); ++place.level) {
			place.part = addr >> shape.shift[place.level] & shape.last[place.level];
			place.at = &detail::parts(place.slot)[place.part];
			place.slot = *place.at;
		}
		return place;
	}

	// The slots on the way down, but for the first, which is the index's own.
	struct Path {
		usize *slots[DSVM_INDEX_LEVELS + 1];
	};

	[[nodiscard]] static bool is_member(usize slot)
	{
		return slot >= detail::kMember && !detail::is_table(slot);
	}
	[[nodiscard]] static bool is_crowded(usize slot)
	{
		return slot == detail::kCrowded || slot == detail::kUneven;
	}
	[[nodiscard]] static usize member_of(T &object)
	{
		return reinterpret_cast<usize>(&(object.*Member));
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
		const dsvm_index_shape &shape = *index_.shape;
		return detail::parts(table)[addr >> shape.shift[level] & shape.last[level]];
	}

	// The way to the slot that speaks of an address, and how many levels that is.
	u32 descend(usize addr, Path &path) const
	{
		usize slot = index_.slot;
		u32 level = 0;

		while (detail::is_table(slot)) {
			usize &next = part(slot, level, addr);

			path.slots[++level] = &next;
			slot = next;
		}
		return level;
	}
	[[nodiscard]] usize table_at(const Path &path, u32 level) const
	{
		return level == 0 ? index_.slot : *path.slots[level];
	}

	// Where whoever comes first lies beyond the block that has its address, or that is crowded.
	[[nodiscard]] DSVM_NOINLINE T *search(usize addr, VaRange span) const
	{
		DSVM_UNSET Path path;
		u32 level = descend(addr, path);
		VaRange looked = block(addr, level);

		if (is_crowded(table_at(path, level))) {
			if (T *const found = tree_.first_overlap(
				    {span.first, min<u64>(span.last, looked.last)}))
				return found;
		}
		for (; level > 0 && looked.last < span.last; --level) {
			const VaRange whole = block(addr, level - 1);
			const usize *const end =
				&part(table_at(path, level - 1), level - 1,
				      static_cast<usize>(min<u64>(span.last, whole.last)));

			for (const usize *slot = path.slots[level] + 1; slot <= end; ++slot) {
				if (*slot != detail::kEmpty)
					return within(span, first_in(path, level, slot, addr));
			}
			looked = whole;
		}
		return nullptr;
	}
	[[nodiscard]] static T *within(VaRange span, T *object)
	{
		return (object->*Member).first <= span.last ? object : nullptr;
	}

	// The first member of the block of a slot that is not empty, in the table at the level above.
	[[nodiscard]] T *first_in(const Path &path, u32 level, const usize *slot, usize addr) const
	{
		usize at = address_of(path, level, slot, addr);

		for (; detail::is_table(*slot); ++level) {
			const usize *const first = detail::parts(*slot);

			for (slot = first; *slot == detail::kEmpty; ++slot)
				;
			at += static_cast<usize>(slot - first) << index_.shape->shift[level];
		}
		return is_member(*slot) ? object_at(*slot) : tree_.first_overlap(block(at, level));
	}
	// The last one.
	[[nodiscard]] T *last_in(const Path &path, u32 level, const usize *slot, usize addr) const
	{
		usize at = address_of(path, level, slot, addr);

		for (; detail::is_table(*slot); ++level) {
			const usize *const first = detail::parts(*slot);

			for (slot = first + (detail::part_count(*index_.shape, level) - 1);
			     *slot == detail::kEmpty; --slot)
				;
			at += static_cast<usize>(slot - first) << index_.shape->shift[level];
		}
		return is_member(*slot) ? object_at(*slot)
					: tree_.last_before(block(at, level).last);
	}
	// Where the block of a slot begins.
	[[nodiscard]] usize address_of(const Path &path, u32 level, const usize *slot,
				       usize addr) const
	{
		const usize *const first = detail::parts(table_at(path, level - 1));

		return static_cast<usize>(block(addr, level - 1).first) +
		       (static_cast<usize>(slot - first) << index_.shape->shift[level - 1]);
	}

	// The member before one that has been inserted.
	[[nodiscard]] T *before(T &object, const Path &path, u32 level) const
	{
		const usize addr = (object.*Member).first;

		if (is_crowded(table_at(path, level))) {
			T *const other = tree_.prev(object);
			if (other && (other->*Member).first >= block(addr, level).first)
				return other;
		}
		for (; level > 0; --level) {
			const usize *const first = detail::parts(table_at(path, level - 1));

			for (const usize *slot = path.slots[level]; slot-- > first;) {
				if (is_member(*slot))
					return object_at(*slot);
				if (*slot != detail::kEmpty)
					return last_in(path, level, slot, addr);
			}
		}
		return nullptr;
	}

	// A block gets a second member, or one more: what its slot says from now on. It is to have
	// a table if there is one, and then the new member is not in it yet.
	usize divide(usize slot, VaRange span, u32 level, BlockSpares &spares)
	{
		if (slot == detail::kUneven || !can_divide(span, level))
			return crowd(slot, detail::kUneven);
		if (is_member(slot) && !is_in_one_part(span_at(slot), level))
			return crowd(slot, detail::kUneven);
		usize *const table = spares.table(level);
		if (!table)
			return crowd(slot, detail::kCrowded);

		const usize divided = reinterpret_cast<usize>(table) + detail::kTable;
		const VaRange whole = block(span.first, level);
		if (is_member(slot))
			part(divided, level, span_at(slot).first) = slot;
		else if (!is_even(whole, level))
			return detail::kUneven; // and the table is freed as a spare
		else
			distribute(divided, whole, level);
		spares.use(level);
		return divided;
	}

	// Whoever was alone in a block goes into the tree.
	usize crowd(usize slot, usize crowded)
	{
		if (is_member(slot))
			tree_.insert(*object_at(slot));
		return crowded;
	}

	// Whether each member in a crowded block lies in one part.
	[[nodiscard]] bool is_even(VaRange block, u32 level) const
	{
		for (T *one = tree_.first_overlap(block); one;
		     one = tree_.next_overlap(*one, block)) {
			if (!is_in_one_part(span_at(member_of(*one)), level))
				return false;
		}
		return true;
	}

	// Gives each of them to its part.
	void distribute(usize divided, VaRange block, u32 level)
	{
		T *next = nullptr;

		for (T *one = tree_.first_overlap(block); one; one = next) {
			usize &slot = part(divided, level, (one->*Member).first);

			next = tree_.next_overlap(*one, block);
			if (slot == detail::kEmpty) {
				slot = member_of(*one);
				tree_.remove(*one);
			} else {
				slot = crowd(slot, detail::kCrowded);
			}
		}
	}

	// A member of a size that the shape does not know, which lies in no part of a divided block:
	// there is something else in it, so all of them go into the tree.
	void replace_table(usize &slot, u32 level, BlockSpares &spares)
	{
		spill(slot, level);
		spares.discard(exchange(slot, detail::kUneven), level, *index_.shape);
	}
	// It calls itself no deeper than there are levels.
	void spill(usize slot, u32 level)
	{
		if (!detail::is_table(slot)) {
			crowd(slot, detail::kUneven);
			return;
		}
		for (usize i = 0; i < detail::part_count(*index_.shape, level); ++i)
			spill(detail::parts(slot)[i], level + 1);
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

	// A crowded block has lost a member; if there is one left, that needs no tree any more.
	usize look_again(VaRange block)
	{
		T *const first = tree_.first_overlap(block);
		if (!first)
			return detail::kEmpty;
		if (tree_.next_overlap(*first, block))
			return detail::kCrowded;
		tree_.remove(*first);
		return member_of(*first);
	}

	// The owner's.
	dsvm_index &index_;
	const usize base_;
	Tree tree_;
};

} // namespace dsvm

#endif // DSVM_CORE_BASE_BLOCK_INDEX_H
