// SPDX-License-Identifier: GPL-2.0-only OR MIT
#include "core/va/va_index.h"

#include "drm_svm/os.h"

namespace dsvm {

// How a leaf was reached: at level 0 is the root.
struct VaIndex::Path {
	VaInner *inner[kMaxHeight];
	usize child[kMaxHeight];
	usize levels;

	// Whether the node below `level` is the first, the last of its own level.
	[[nodiscard]] bool is_first(usize level) const
	{
		for (usize i = 0; i < level; i++) {
			if (child[i] != 0)
				return false;
		}
		return true;
	}
	[[nodiscard]] bool is_last(usize level) const
	{
		for (usize i = 0; i < level; i++) {
			if (child[i] + 1 != inner[i]->count)
				return false;
		}
		return true;
	}
};

// The nodes that an insertion takes, all of them or none.
class VaIndex::Fresh {
public:
	Fresh() = default;
	Fresh(const Fresh &) = delete;
	Fresh &operator=(const Fresh &) = delete;
	~Fresh()
	{
		while (count_ > 0)
			dsvm_os_free_nowait(node_[--count_]);
	}

	Status have(usize count)
	{
		while (count_ < count) {
			void *const node = dsvm_os_alloc_nowait(sizeof(VaInner));

			if (node == nullptr)
				return kNoMemory;
			node_[count_++] = node;
		}
		return Status::ok();
	}
	// Nothing is set in it.
	template <class Node> [[nodiscard]] Node &take()
	{
		return *static_cast<Node *>(node_[--count_]);
	}

private:
	void *node_[kMaxHeight + 1];
	usize count_ = 0;
};

// --- Looking -----------------------------------------------------------------------

// Where the very last address belongs, of which a count of keys says too many: behind all.
DSVM_COLD VaPos VaIndex::place_of_top(const dsvm_va_index &index)
{
	void *node = index.root;

	for (u32 height = index.height; height > 1; height--) {
		const VaInner &inner = *static_cast<VaInner *>(node);

		node = inner.child[inner.count - 1];
	}

	dsvm_va_leaf *const leaf = static_cast<dsvm_va_leaf *>(node);
	return VaPos{leaf, leaf != nullptr ? leaf->count : 0};
}

// The leaf where `addr` belongs and its place there, which may be behind the last. None if
// there is no leaf.
DSVM_ALWAYS_INLINE VaPos VaIndex::place(u64 addr) const
{
	void *node = index_.root;

	if (DSVM_UNLIKELY(node == nullptr || addr == kU64Max))
		return place_of_top(index_);
	for (u32 height = index_.height; height > 1; height--) {
		const VaInner &inner = *static_cast<VaInner *>(node);

		node = inner.child[node::count_up_to<kVaInnerMax + 1>(inner.key, addr) - 1];
		node::prefetch(node);
	}

	dsvm_va_leaf &leaf = *static_cast<dsvm_va_leaf *>(node);
	return VaPos{&leaf, node::count_up_to<kVaLeafMax>(leaf.first, addr)};
}

// The way to the leaf where `addr` belongs; there is one.
void VaIndex::trace(u64 addr, Path &path) const
{
	void *node = index_.root;

	path.levels = index_.height - 1;
	for (usize level = 0; level < path.levels; level++) {
		VaInner &inner = *static_cast<VaInner *>(node);
		const usize child = node::child_for(inner, addr);

		path.inner[level] = &inner;
		path.child[level] = child;
		node = inner.child[child];
	}
}

// The same for who is likely to ask near the last change, without walking down then.
DSVM_UNIT_INLINE VaPos VaIndex::place_near(u64 addr) const
{
	dsvm_va_leaf *const finger = read_once(index_.finger);

	if (finger != nullptr && node::belongs(*finger, addr))
		return VaPos{finger, node::slot_for(*finger, addr)};
	return place(addr);
}

// The same for who only looks, maybe near where he has looked before. Of a few leaves each is
// near, which nobody can predict, and to walk down takes as little.
DSVM_ALWAYS_INLINE VaPos VaIndex::place_to_look(u64 addr) const
{
	dsvm_va_leaf *const finger = index_.height > kLow ? read_once(index_.finger) : nullptr;

	if (finger == nullptr)
		return place(addr);
	if (node::belongs(*finger, addr))
		return VaPos{finger, node::slot_for(*finger, addr)};

	const VaPos pos = place(addr);
	if (pos.leaf == finger->next || takes_finger(addr))
		expect(pos);
	return pos;
}

DSVM_UNIT_INLINE VaPos VaIndex::lower(u64 addr) const
{
	const VaPos pos = place_to_look(addr);

	if (pos.leaf == nullptr)
		return pos;
	// What begins before may reach here.
	if (DSVM_LIKELY(pos.at > 0)) {
		const VaPos before{pos.leaf, pos.at - 1};

		if (before.last() >= addr)
			return before;
	} else if (pos.leaf->prev != nullptr) {
		const VaPos before{pos.leaf->prev, pos.leaf->prev->count - 1};

		if (before.last() >= addr)
			return before;
	}
	return pos.at < pos.leaf->count ? pos : VaPos{pos.leaf->next, 0};
}

VaPos VaIndex::after(u64 addr) const
{
	const VaPos pos = place_near(addr);

	if (pos.leaf == nullptr || pos.at < pos.leaf->count)
		return pos;
	return VaPos{pos.leaf->next, 0};
}

// Without walking down: what has to come from memory for that, one node after the other, is most
// of what a removal takes in a large index.
DSVM_UNIT_INLINE VaPos VaIndex::find(const dsvm_va &va)
{
	dsvm_va_leaf *const leaf = va.leaf;

	if (!DSVM_VERIFY(leaf != nullptr))
		return VaPos{nullptr, 0};
	node::prefetch(leaf);
	const usize behind = node::slot_for(*leaf, va.map.addr);
	if (!DSVM_VERIFY(behind > 0 && leaf->va[behind - 1] == &va))
		return VaPos{nullptr, 0};
	return VaPos{leaf, behind - 1};
}

// --- Changing -----------------------------------------------------------------------

// A change is over, and it was here.
void VaIndex::touch(dsvm_va_leaf *leaf)
{
	index_.finger = leaf;
	index_.generation++;
}

DSVM_UNIT_INLINE Status VaIndex::insert(dsvm_va &va)
{
	const VaRange span = span_of(va.map);
	const VaPos at = place_near(span.first);

	if (at.leaf == nullptr)
		return VaIndex{index_}.grow(va, at);
	if (at.at > 0) {
		if (VaPos{at.leaf, at.at - 1}.last() >= span.first)
			return kExists;
	} else if (at.leaf->prev != nullptr &&
		   VaPos{at.leaf->prev, at.leaf->prev->count - 1}.last() >= span.first) {
		return kExists;
	}
	const VaPos next = at.at < at.leaf->count ? at : VaPos{at.leaf->next, 0};
	if (!next.is_end() && next.first() <= span.last)
		return kExists;
	if (at.leaf->count == kVaLeafMax)
		return VaIndex{index_}.grow(va, at);
	node::shift(*at.leaf, at.at, 0, 1);
	node::set(*at.leaf, at.at, va);
	touch(at.leaf);
	return Status::ok();
}

// An insertion that needs nodes: `at` is in no leaf or in a full one.
DSVM_COLD Status VaIndex::grow(dsvm_va &va, VaPos at)
{
	Fresh fresh;

	if (at.leaf == nullptr) {
		DSVM_TRY(fresh.have(1));
		dsvm_va_leaf &leaf = fresh.take<dsvm_va_leaf>();
		node::clear(leaf);
		leaf.next = nullptr;
		leaf.prev = nullptr;
		leaf.count = 1;
		node::set(leaf, 0, va);
		index_.root = &leaf;
		index_.height = 1;
		touch(&leaf);
		return Status::ok();
	}

	Path path;
	node::prefetch_beside(*at.leaf);
	trace(va.map.addr, path);
	if (share(*at.leaf, path))
		return insert(va);
	usize full = 0;
	while (full < path.levels && path.inner[path.levels - 1 - full]->count == kVaInnerMax)
		full++;
	const bool grows = full == path.levels;
	if (!DSVM_VERIFY(!grows || index_.height < kMaxHeight))
		return kNoMemory;
	DSVM_TRY(fresh.have(1 + full + grows));
	split(va, at, path, fresh);
	return Status::ok();
}

// Evens out two leaves, of which the right one is child `right_child` of the node above.
void VaIndex::even_out(dsvm_va_leaf &left, dsvm_va_leaf &right, VaInner &above, usize right_child)
{
	const usize total = left.count + right.count;

	if (left.count > right.count)
		node::move_some(right, 0, left, total - total / 2,
				left.count - (total - total / 2));
	else
		node::move_some(left, left.count, right, 0, total / 2 - left.count);
	above.key[right_child] = right.first[0];
}

// Whether a full leaf has given some of its members to the one beside it, which has room. At the
// ends of the level full leaves are what is wanted.
bool VaIndex::share(dsvm_va_leaf &leaf, Path &path)
{
	if (path.levels == 0 || node::is_edge(leaf))
		return false;

	VaInner &above = *path.inner[path.levels - 1];
	const usize child = path.child[path.levels - 1];
	if (child > 0 && leaf.prev->count <= kVaLeafRoomy) {
		even_out(*leaf.prev, leaf, above, child);
		touch(&leaf);
		return true;
	}
	if (child + 1 < above.count && leaf.next->count <= kVaLeafRoomy) {
		even_out(leaf, *leaf.next, above, child + 1);
		touch(&leaf);
		return true;
	}
	return false;
}

void VaIndex::split(dsvm_va &va, VaPos at, Path &path, Fresh &fresh)
{
	dsvm_va_leaf &leaf = *at.leaf;
	dsvm_va_leaf &right = fresh.take<dsvm_va_leaf>();
	const usize stays = node::left_share(
		kVaLeafMax + 1, at.at, leaf.prev == nullptr && at.at == 0, leaf.next == nullptr);
	const bool is_left = at.at < stays;

	node::split_off(right, leaf, stays - is_left);
	dsvm_va_leaf &home = is_left ? leaf : right;
	const usize slot = is_left ? at.at : at.at - stays;
	node::shift(home, slot, 0, 1);
	node::set(home, slot, va);
	right.prev = &leaf;
	right.next = leaf.next;
	if (right.next != nullptr)
		right.next->prev = &right;
	leaf.next = &right;
	touch(&home);

	// The new node goes into the one above, and so on up.
	void *node = &right;
	u64 key = right.first[0];
	for (usize level = path.levels; level-- > 0;) {
		VaInner &inner = *path.inner[level];
		const usize slot_above = path.child[level] + 1;

		if (inner.count < kVaInnerMax) {
			node::add_child(inner, slot_above, key, node);
			return;
		}
		VaInner &other = fresh.take<VaInner>();
		const usize left = node::left_share(kVaInnerMax + 1, slot_above,
						    path.is_first(level), path.is_last(level));
		const bool goes_left = slot_above < left;
		node::split_off(other, inner, left - goes_left);
		if (goes_left)
			node::add_child(inner, slot_above, key, node);
		else
			node::add_child(other, slot_above - left, key, node);
		key = node::hand_up_key(other);
		node = &other;
	}

	VaInner &root = fresh.take<VaInner>();
	node::clear(root);
	node::add_child(root, 0, 0, index_.root);
	node::add_child(root, 1, key, node);
	index_.root = &root;
	index_.height++;
}

DSVM_UNIT_INLINE void VaIndex::remove(dsvm_va &va)
{
	const VaPos at = find(va);

	if (at.is_end())
		return;
	va.leaf = nullptr;
	node::shift(*at.leaf, at.at, 1, 0);
	shrunk(*at.leaf, va.map.addr);
}

DSVM_UNIT_INLINE usize VaIndex::splice(VaPos from, u64 last, dsvm_va *const *in, usize count,
				       dsvm_va **&link)
{
	dsvm_va_leaf &leaf = *from.leaf;
	const u64 key = leaf.first[0];
	const usize end = max(from.at, node::slot_for(leaf, last));
	const usize room = kVaLeafMax - (leaf.count - (end - from.at));
	usize put = min(count, room);

	// Only what begins between two members, or where one did, is sure to belong here.
	if (put > 0 && in[0]->map.addr < key)
		put = 0;
	if (end == leaf.count && leaf.next != nullptr) {
		while (put > 0 && in[put - 1]->map.addr > leaf.first[end - 1])
			put--;
	}
	for (usize i = from.at; i < end; i++) {
		*link = leaf.va[i];
		link = &leaf.va[i]->skip;
		leaf.va[i]->leaf = nullptr;
	}
	node::shift(leaf, from.at, end - from.at, put);
	for (usize i = 0; i < put; i++)
		node::set(leaf, from.at + i, *in[i]);

	shrunk(leaf, key);
	return put;
}

// --- Nodes that have become too small ------------------------------------------------

// Takes a leaf without members out of the list and frees it.
void VaIndex::take_leaf(dsvm_va_leaf &leaf)
{
	if (leaf.prev != nullptr)
		leaf.prev->next = leaf.next;
	if (leaf.next != nullptr)
		leaf.next->prev = leaf.prev;
	dsvm_os_free_nowait(&leaf);
}

// Takes a child, which is no more, from the node at `level`.
void VaIndex::take_child(Path &path, usize level, usize child)
{
	VaInner &inner = *path.inner[level];

	node::shift(inner, child, 1, 0);
	if (inner.count > 0)
		inner.key[0] = 0;
	settle_inner(path, level);
}

// After `leaf` has lost members, of whose addresses `key` is one.
DSVM_ALWAYS_INLINE void VaIndex::shrunk(dsvm_va_leaf &leaf, u64 key)
{
	if (DSVM_LIKELY(leaf.count >= kVaLeafMin))
		touch(&leaf);
	else
		VaIndex{index_}.settle(leaf, key);
}

// The same if less than half is left.
DSVM_COLD void VaIndex::settle(dsvm_va_leaf &leaf, u64 key)
{
	if (leaf.count >= node::least(leaf)) {
		touch(&leaf);
		return;
	}

	Path path;
	trace(key, path);
	if (path.levels == 0) {
		take_leaf(leaf);
		index_.root = nullptr;
		index_.height = 0;
		touch(nullptr);
		return;
	}

	const usize level = path.levels - 1;
	VaInner &above = *path.inner[level];
	if (node::is_edge(leaf)) {
		dsvm_va_leaf *const beside = leaf.prev != nullptr ? leaf.prev : leaf.next;

		take_leaf(leaf);
		touch(beside);
		take_child(path, level, path.child[level]);
		return;
	}

	// Between others, so the node above has a second child.
	const usize right_child = path.child[level] != 0 ? path.child[level] : 1;
	dsvm_va_leaf &left = *static_cast<dsvm_va_leaf *>(above.child[right_child - 1]);
	dsvm_va_leaf &right = *static_cast<dsvm_va_leaf *>(above.child[right_child]);
	const usize total = left.count + right.count;
	if (total <= kVaLeafMax) {
		node::move_some(left, left.count, right, 0, right.count);
		take_leaf(right);
		touch(&left);
		take_child(path, level, right_child);
		return;
	}
	even_out(left, right, above, right_child);
	touch(&leaf);
}

// A root with one child is none.
void VaIndex::lower_root()
{
	while (index_.height > 1) {
		VaInner *const root = static_cast<VaInner *>(index_.root);

		if (root->count > 1)
			return;
		index_.root = root->child[0];
		index_.height--;
		dsvm_os_free_nowait(root);
	}
}

// After the node at `level` of `path` has lost a child.
void VaIndex::settle_inner(Path &path, usize level)
{
	VaInner &inner = *path.inner[level];

	if (level == 0) {
		lower_root();
		return;
	}

	VaInner &above = *path.inner[level - 1];
	const usize child = path.child[level - 1];
	if (path.is_first(level) || path.is_last(level)) {
		if (inner.count > 0)
			return;
		dsvm_os_free_nowait(&inner);
		take_child(path, level - 1, child);
		return;
	}
	if (inner.count >= kVaInnerMin)
		return;

	const usize right_child = child != 0 ? child : 1;
	VaInner &left = *static_cast<VaInner *>(above.child[right_child - 1]);
	VaInner &right = *static_cast<VaInner *>(above.child[right_child]);
	const usize total = left.count + right.count;
	right.key[0] = above.key[right_child];
	if (total <= kVaInnerMax) {
		node::move_some(left, left.count, right, 0, right.count);
		dsvm_os_free_nowait(&right);
		take_child(path, level - 1, right_child);
		return;
	}
	if (left.count > right.count)
		node::move_some(right, 0, left, total - total / 2,
				left.count - (total - total / 2));
	else
		node::move_some(left, left.count, right, 0, total / 2 - left.count);
	above.key[right_child] = node::hand_up_key(right);
}

// Leaf by leaf, and then level by level from the left, so that nothing is kept anywhere.
void VaIndex::clear()
{
	// A node's children go before it does: always down on the left, and back up.
	VaInner *inner[kMaxHeight];
	usize next[kMaxHeight];
	usize level = 0;
	void *node = index_.root;

	while (node != nullptr) {
		if (level + 1 < index_.height) {
			inner[level] = static_cast<VaInner *>(node);
			next[level] = 1;
			node = inner[level++]->child[0];
			continue;
		}
		dsvm_os_free_nowait(node);
		node = nullptr;
		while (level > 0 && node == nullptr) {
			if (next[level - 1] < inner[level - 1]->count) {
				node = inner[level - 1]->child[next[level - 1]++];
			} else {
				dsvm_os_free_nowait(inner[--level]);
			}
		}
	}
	index_.root = nullptr;
	index_.height = 0;
	touch(nullptr);
}

} // namespace dsvm
