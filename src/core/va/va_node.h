// SPDX-License-Identifier: GPL-2.0-only OR MIT
//
// The nodes of an index of mappings (va_index.h), one at a time: columns that are searched, and
// parts of columns that move, within a node and to the one beside it.
//
// Invariants: `count` says how many there are; the keys behind them are 2^64 - 1, which is what
// lets a search look at all of a column without asking.
//
// What it does not do: it knows no tree, so keys of other nodes are the caller's to mend.
#ifndef DSVM_CORE_VA_VA_NODE_H
#define DSVM_CORE_VA_VA_NODE_H

#include "core/va/mapping.h"

namespace dsvm {

constexpr u32 kVaLeafMax = DSVM_VA_LEAF_SIZE;
constexpr u32 kVaLeafMin = kVaLeafMax / 2;
// Who has no more takes some of a full leaf's beside it.
constexpr u32 kVaLeafRoomy = kVaLeafMax / 3 * 2;
constexpr u32 kVaInnerMax = 31;
constexpr u32 kVaInnerMin = 15;

// A node above the leaves.
struct VaInner {
	// One more than there are children, so that they are searched in groups of eight.
	u64 key[kVaInnerMax + 1];
	void *child[kVaInnerMax];
	u32 count;
	u32 unused;
};

static_assert(sizeof(VaInner) == 512 && sizeof(dsvm_va_leaf) == 512);

namespace node {

constexpr usize kGroup = 8;

// How many of `size` ascending keys, padded with 2^64 - 1, are not greater than `addr`. Of a
// padded key and the very last address it says too many; the caller knows how many there are.
//
// Several sums, of which none waits for another: a search that waits for the one before it, or for
// memory, has to wait for each step of a long one.
template <usize size> [[nodiscard]] DSVM_ALWAYS_INLINE usize count_up_to(const u64 *key, u64 addr)
{
	static_assert(size % kGroup == 0);
	usize count = 0;
	usize sum[kGroup / 2] = {};

#pragma GCC unroll 4
	for (usize group = kGroup; group < size; group += kGroup)
		count += key[group] <= addr;
	count *= kGroup;
	key += count;
#pragma GCC unroll 4
	for (usize i = 0; i < kGroup / 2; i++) {
		sum[i] += key[2 * i] <= addr;
		sum[i] += key[2 * i + 1] <= addr;
	}
	// Else the compiler makes one long sum of them.
	asm("" : "+r"(sum[0]), "+r"(sum[1]), "+r"(sum[2]), "+r"(sum[3]));
	count += sum[0];
	sum[1] += sum[2];
	asm("" : "+r"(count), "+r"(sum[1]));
	return (count + sum[3]) + sum[1];
}

// All lines of a node, before the first is needed.
DSVM_ALWAYS_INLINE void prefetch(const void *node)
{
	const u8 *const bytes = static_cast<const u8 *>(node);

#pragma GCC unroll 8
	for (u32 line = 0; line < 512; line += 64)
		__builtin_prefetch(bytes + line);
}

// How many are in the leaves beside a leaf, before that is asked.
DSVM_ALWAYS_INLINE void prefetch_beside(const dsvm_va_leaf &leaf)
{
	if (leaf.prev != nullptr)
		__builtin_prefetch(&leaf.prev->count);
	if (leaf.next != nullptr)
		__builtin_prefetch(&leaf.next->count);
}

[[nodiscard]] DSVM_ALWAYS_INLINE usize child_for(const VaInner &inner, u64 addr)
{
	return min(count_up_to<kVaInnerMax + 1>(inner.key, addr), usize{inner.count}) - 1;
}

// Where `addr` belongs in a leaf: behind all that begin there or before.
[[nodiscard]] DSVM_ALWAYS_INLINE usize slot_for(const dsvm_va_leaf &leaf, u64 addr)
{
	return min(count_up_to<kVaLeafMax>(leaf.first, addr), usize{leaf.count});
}

// Whether it is sure that `addr` belongs in this leaf. One branch for both ends: to which side of a
// leaf something is nobody can predict. The last one is where all belongs that is behind the
// beginning of it.
[[nodiscard]] DSVM_ALWAYS_INLINE bool belongs(const dsvm_va_leaf &leaf, u64 addr)
{
	const u64 first = leaf.first[0];
	const u64 last = leaf.next != nullptr ? leaf.first[leaf.count - 1] : kU64Max;

	return addr - first <= last - first;
}

[[nodiscard]] inline u32 short_length(const dsvm_va &va)
{
	return va.map.range <= ~u32{0} ? static_cast<u32>(va.map.range) : 0;
}

// --- What a node holds, a row of its columns each ---

[[nodiscard]] DSVM_ALWAYS_INLINE auto &keys(dsvm_va_leaf &leaf)
{
	return leaf.first;
}

[[nodiscard]] DSVM_ALWAYS_INLINE auto &keys(VaInner &inner)
{
	return inner.key;
}

DSVM_ALWAYS_INLINE void copy_row(dsvm_va_leaf &to, usize i, const dsvm_va_leaf &from, usize j)
{
	to.first[i] = from.first[j];
	to.va[i] = from.va[j];
	to.length[i] = from.length[j];
}

DSVM_ALWAYS_INLINE void copy_row(VaInner &to, usize i, const VaInner &from, usize j)
{
	to.key[i] = from.key[j];
	to.child[i] = from.child[j];
}

// Makes `count` places at `at` into `room`; what is behind moves, keys and all.
template <class Node> inline void shift(Node &node, usize at, usize count, usize room)
{
	const usize behind = node.count - at - count;
	const usize end = node.count;

	if (room > count) {
		for (usize i = behind; i-- > 0;)
			copy_row(node, at + room + i, node, at + count + i);
	} else if (room < count) {
		for (usize i = 0; i < behind; i++)
			copy_row(node, at + room + i, node, at + count + i);
		for (usize i = at + room + behind; i < end; i++)
			keys(node)[i] = kU64Max;
	}
	node.count = static_cast<u32>(at + room + behind);
}

// Rows that have come from another node: a mapping knows the leaf that it is in.
DSVM_ALWAYS_INLINE void adopt(dsvm_va_leaf &leaf, usize at, usize count)
{
	for (usize i = at; i < at + count; i++)
		leaf.va[i]->leaf = &leaf;
}

DSVM_ALWAYS_INLINE void adopt(VaInner &, usize, usize) {}

// From another node.
template <class Node>
inline void copy(Node &to, usize at, const Node &from, usize first, usize count)
{
	for (usize i = 0; i < count; i++)
		copy_row(to, at + i, from, first + i);
	adopt(to, at, count);
}

// Moves `count` of them from `first` on to `at` of another node, which makes room.
template <class Node>
inline void move_some(Node &to, usize at, Node &from, usize first, usize count)
{
	shift(to, at, 0, count);
	copy(to, at, from, first, count);
	shift(from, first, count, 0);
}

template <class Node> inline void clear(Node &node)
{
	for (u64 &key : keys(node))
		key = kU64Max;
	node.count = 0;
}

// Moves what is behind the first `stays` to a node in which nothing is set.
template <class Node> inline void split_off(Node &to, Node &from, usize stays)
{
	const usize count = from.count - stays;

	copy(to, 0, from, stays, count);
	for (usize i = count; i < sizeof(keys(to)) / sizeof(u64); i++)
		keys(to)[i] = kU64Max;
	for (usize i = stays; i < stays + count; i++)
		keys(from)[i] = kU64Max;
	to.count = static_cast<u32>(count);
	from.count = static_cast<u32>(stays);
}

inline void set(dsvm_va_leaf &leaf, usize at, dsvm_va &va)
{
	leaf.first[at] = va.map.addr;
	leaf.va[at] = &va;
	leaf.length[at] = short_length(va);
	va.leaf = &leaf;
}

inline void add_child(VaInner &inner, usize at, u64 key, void *child)
{
	shift(inner, at, 0, 1);
	inner.key[at] = key;
	inner.child[at] = child;
}

// Where what is below begins, which from now on only the node above says.
[[nodiscard]] inline u64 hand_up_key(VaInner &inner)
{
	return exchange(inner.key[0], u64{0});
}

// Whether it is the first or the last.
[[nodiscard]] inline bool is_edge(const dsvm_va_leaf &leaf)
{
	return leaf.prev == nullptr || leaf.next == nullptr;
}

// How few mappings a leaf may have.
[[nodiscard]] inline u32 least(const dsvm_va_leaf &leaf)
{
	return is_edge(leaf) ? 1 : kVaLeafMin;
}

// How many of `total` members stay on the left when a full node is split for one at `at`. At
// the ends of a level it leaves full nodes behind; else it is half.
[[nodiscard]] inline usize left_share(usize total, usize at, bool is_first, bool is_last)
{
	if (is_last && at == total - 1)
		return total - 1;
	if (is_first && at <= 1)
		return 1;
	return total / 2;
}

} // namespace node
} // namespace dsvm

#endif // DSVM_CORE_VA_VA_NODE_H
