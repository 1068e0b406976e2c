// SPDX-License-Identifier: GPL-2.0-only OR MIT
//
// Cases for core/base/block_index.h: every search against one that looks at every member, and
// every slot against what its block should say of itself (kunit/cases/block_index.h).

#include "kunit/cases/block_index.h"

namespace dsvm {
namespace {

using cases::BlockIndexChecker;
using cases::BlockIndexCounts;
using cases::Random;

constexpr u32 kMostBlocks = 96;

struct Block {
	u64 before; // so that the node is not at offset 0
	dsvm_interval node;
	bool in;
};

using BlockView = BlockIndex<Block, &Block::node>;

// An index beside its tree, and its members.
struct Blocks {
	dsvm_tree_root root;
	dsvm_index index;
	dsvm_index_shape shape;
	usize base;
	Block members[kMostBlocks];
};

class OwnedBlocks {
public:
	OwnedBlocks() : ground_(static_cast<Blocks *>(dsvm_os_alloc(sizeof(Blocks)))) {}
	OwnedBlocks(const OwnedBlocks &) = delete;
	OwnedBlocks &operator=(const OwnedBlocks &) = delete;
	// No table outlives what was in it: an allocation that is left over fails the case.
	~OwnedBlocks()
	{
		for (Block &member : ground_->members) {
			if (member.in)
				remove(member);
		}
		dsvm_os_free(ground_);
	}
	Blocks *operator->() const { return ground_; }

	// The shape of 2^shifts[0] bytes, divided down to the others.
	void set_shape(const u8 *shifts, u32 count, usize base = 0)
	{
		ground_->shape = undivided_shape(shifts[0]);
		for (u32 i = 1; i < count; i++)
			divide_shape(ground_->shape, shifts[i]);
		ground_->index.shape = &ground_->shape;
		ground_->base = base;
	}

	[[nodiscard]] BlockView index() const
	{
		return BlockView{ground_->index, ground_->base, ground_->root};
	}

	[[nodiscard]] bool is_free(VaRange span) const
	{
		for (const Block &member : ground_->members) {
			if (member.in &&
			    VaRange{member.node.first, member.node.last}.overlaps(span))
				return false;
		}
		return true;
	}

	// The member that is not in yet, or null.
	[[nodiscard]] Block *unused() const
	{
		for (Block &member : ground_->members) {
			if (!member.in)
				return &member;
		}
		return nullptr;
	}

	void insert(Block &member, VaRange span, BlockSpares &spares)
	{
		Block *const before = brute_last(span.first);

		member.in = true;
		member.node.first = span.first;
		member.node.last = span.last;
		Block *const beside = insert_beside(member);
		DSVM_EXPECT_EQ(beside ? beside : index().insert(member, spares), before);
	}
	// Every third one as somebody who tries the short way first, and one as who knows the spot.
	Block *insert_beside(Block &member)
	{
		BlockView::Spot spot;
		u32 wanted;

		way_ = (way_ + 1) % 3;
		if (way_ == 0)
			return nullptr;
		if (way_ == 1)
			return index().insert_beside(member);
		static_cast<void>(index().at(member.node.first, wanted, spot));
		return spot.at ? index().insert_beside(member, spot) : nullptr;
	}
	// With all that it wants and can get. Null if nothing is left.
	Block *insert(VaRange span)
	{
		Block *const member = unused();
		BlockSpares spares{ground_->shape, index().wanted(span)};

		if (member != nullptr)
			insert(*member, span, spares);
		return member;
	}
	void remove(Block &member)
	{
		BlockSpares spares;

		remove(member, spares);
	}
	void remove(Block &member, BlockSpares &spares)
	{
		member.in = false;
		index().remove(member, spares);
	}

	[[nodiscard]] Block *brute_first(VaRange span) const
	{
		Block *found = nullptr;

		for (Block &member : ground_->members) {
			if (member.in && member.node.first <= span.last &&
			    member.node.last >= span.first &&
			    (found == nullptr || member.node.first < found->node.first))
				found = &member;
		}
		return found;
	}
	[[nodiscard]] Block *brute_last(usize before) const
	{
		Block *found = nullptr;

		for (Block &member : ground_->members) {
			if (member.in && member.node.first < before &&
			    (found == nullptr || member.node.first > found->node.first))
				found = &member;
		}
		return found;
	}
	bool finds(VaRange span) const
	{
		const VaRange first{span.first, span.first};
		Block *const there = brute_first(first);
		const bool inside = span.first - ground_->base <= ground_->shape.mask;
		u32 wanted = ~0u;
		BlockView::Spot spot;

		return DSVM_CASE_CHECK_EQ_(index().first_overlap(span), brute_first(span)) &&
		       DSVM_CASE_CHECK_EQ_(index().at(span.first, wanted, spot), there) &&
		       DSVM_CASE_CHECK_EQ_(wanted, there || !inside ? 0u : index().wanted(first));
	}

	bool is_sound()
	{
		BlockIndexChecker checker(ground_->index, ground_->base, [&](auto visit) {
			for (Block &member : ground_->members) {
				if (member.in)
					visit(member.node);
			}
		});
		const char *const wrong = checker.complaint();

		counts = checker.counts;
		if (wrong != nullptr)
			DSVM_CASE_LOG("index: %s", wrong);
		return DSVM_CASE_CHECK_(wrong == nullptr) &&
		       cases::expect_sound(cases::TreeChecker<IntervalTraits>(ground_->root)
						   .complaint(counts.spilled),
					   "tree beside the index");
	}

	// Of the last look.
	BlockIndexCounts counts = {};

private:
	Blocks *ground_;
	u32 way_ = 0;
};

struct BlockShapeRow {
	u8 shifts[12]; // of the whole, and of the blocks; 0: no more
	u8 levels[DSVM_INDEX_LEVELS];
};

constexpr BlockShapeRow kBlockShapes[] = {
	// A window with the usual chunks; an address space with the usual windows.
	{{29, 21, 16, 12}, {21, 16, 12}},
	{{47, 29}, {38, 29}},
	{{57, 29}, {50, 43, 36, 29}},
	// Nothing to divide: a window of one chunk, the same size twice, and one that grows.
	{{21, 21}, {}},
	{{29, 21, 21, 30, 12}, {21, 12}},
	// As evenly as it goes.
	{{40, 21}, {33, 27, 21}},
	{{64, 12}, {55, 46, 37, 28, 20, 12}},
	{{22, 12}, {17, 12}},
	// Each by one bit; and more levels than there may be.
	{{21, 20, 19, 18, 17, 16, 15, 14, 13, 12}, {20, 19, 18, 17, 16, 15, 14, 13, 12}},
	{{64, 34, 33, 32, 31, 30, 29, 28, 27, 26, 25, 12},
	 {56, 48, 41, 34, 33, 32, 31, 30, 29, 28, 27, 26, 25, 18}},
};

constexpr u8 kUsualShifts[] = {29, 21, 16, 12};
constexpr usize k4K = 4096;
constexpr usize k64K = 16 * k4K;
constexpr usize k2M = 512 * k4K;

// A space so small that everything meets everything, anywhere in the great one.
class BlockModel {
public:
	explicit BlockModel(Random &random) : random_(random)
	{
		u8 shifts[5] = {static_cast<u8>(random.between(6, 15))};
		u32 count = 1;

		while (count < 5 && shifts[count - 1] > 1) {
			shifts[count] =
				static_cast<u8>(shifts[count - 1] -
						random.between(1, min(5, shifts[count - 1] - 1)));
			count++;
		}
		size_ = usize{1} << shifts[0];
		const usize bases[] = {0, size_, 7 * size_, usize{0} - size_};
		g_.set_shape(shifts, count, bases[random.below(4)]);
		for (u32 i = 0; i < count; i++)
			shifts_[count_++] = shifts[i];
	}

	bool step()
	{
		switch (random_.below(8)) {
		case 0:
		case 1:
			remove();
			break;
		case 2:
			cut();
			break;
		default:
			insert();
		}
		if (!g_.is_sound())
			return false;
		crowded += g_.counts.crowded;
		tables += g_.counts.tables;
		for (u32 i = 0; i < 8; i++) {
			if (!g_.finds(random_span()))
				return false;
		}
		return true;
	}

	// Slots that were seen, in all steps.
	u32 crowded = 0;
	u32 tables = 0;

private:
	// Also beyond the ends, and upside down.
	VaRange random_span()
	{
		const usize first = g_->base - size_ / 4 + random_.below(size_ + size_ / 2);

		return {first, first + random_.below(random_.chance(50) ? 3 : size_) - 1};
	}

	// A block of one of the sizes, or anything.
	VaRange random_member()
	{
		const usize at = g_->base + random_.below(size_);

		if (random_.chance(95))
			return aligned_block(at, usize{1} << shifts_[random_.below(count_)]);
		const usize left = g_->base + (size_ - 1) - at;
		return {at, at + random_.below(min<u64>(left, size_ / 4) + 1)};
	}

	// The memory for tables may be short, and they may be meant for somebody else, whom another
	// CPU was faster than.
	void insert()
	{
		const VaRange span = random_member();
		const VaRange asked = random_.chance(85) ? span : random_member();
		const u32 wanted = random_.chance(90) ? g_.index().wanted(asked) : 0;
		Block *const member = g_.unused();

		if (member == nullptr)
			return;
		if (!g_.is_free(span)) {
			member->node.first = span.first;
			member->node.last = span.last;
			DSVM_EXPECT(g_.index().insert_beside(*member) == nullptr);
			return;
		}
		if (random_.chance(20))
			dsvm_env_fail_alloc(random_.between(1, 3));
		BlockSpares spares{g_->shape, wanted};
		dsvm_env_fail_alloc(0);
		g_.insert(*member, span, spares);
	}

	Block *random_present()
	{
		const u32 from = static_cast<u32>(random_.below(kMostBlocks));

		for (u32 i = 0; i < kMostBlocks; i++) {
			Block &member = g_->members[(from + i) % kMostBlocks];

			if (member.in)
				return &member;
		}
		return nullptr;
	}

	void remove()
	{
		if (Block *const member = random_present())
			g_.remove(*member);
	}

	// Something goes out of a member, at an end or in the middle.
	void cut()
	{
		Block *const member = random_present();

		if (member == nullptr)
			return;
		const VaRange whole{member->node.first, member->node.last};
		const usize first = whole.first + random_.below(whole.size());
		const usize last = first + random_.below(whole.last - first + 1);
		BlockSpares none;
		g_.remove(*member, none);
		if (first > whole.first)
			g_.insert(*member, VaRange{whole.first, first - 1}, none);
		Block *const tail = g_.unused();
		if (last < whole.last && tail != nullptr)
			g_.insert(*tail, VaRange{last + 1, whole.last}, none);
	}

	Random &random_;
	OwnedBlocks g_;
	usize size_ = 0;
	u8 shifts_[5] = {};
	u32 count_ = 0;
};

} // namespace
} // namespace dsvm

using namespace dsvm;

DSVM_CASE(block_index, shapes)
{
	for (const BlockShapeRow &row : kBlockShapes) {
		dsvm_index_shape shape = undivided_shape(row.shifts[0]);
		u32 levels = 0;

		DSVM_EXPECT_EQ(shape.mask, kU64Max >> (64 - row.shifts[0]));
		for (u32 i = 1; i < 12 && row.shifts[i] != 0; i++)
			divide_shape(shape, row.shifts[i]);
		for (; levels < DSVM_INDEX_LEVELS && row.levels[levels] != 0; levels++)
			DSVM_EXPECT_EQ(shape.shift[levels], row.levels[levels]);
		DSVM_EXPECT_EQ(shape.levels, levels);
		for (u32 i = 0; i < levels; i++)
			DSVM_EXPECT(detail::part_count(shape, i) <= 512);
	}
}

// A member alone takes no memory; two that are neighbours take a table a level, and all those
// that follow beside them none.
DSVM_CASE(block_index, memory)
{
	OwnedBlocks g;
	constexpr usize base = usize{3} << 29;

	g.set_shape(kUsualShifts, 4, base);
	DSVM_EXPECT_EQ(g.index().wanted({base, base + k4K - 1}), 0u);
	g.insert({base, base + k4K - 1});
	DSVM_REQUIRE(g.is_sound());
	DSVM_EXPECT_EQ(g.counts.tables, 0u);
	// In another block of 2 MiB, in another one of 64 KiB, and beside it.
	DSVM_EXPECT_EQ(g.index().wanted({base + k2M, base + 2 * k2M - 1}), 1u);
	DSVM_EXPECT_EQ(g.index().wanted({base + k2M, base + k2M + k4K - 1}), 1u);
	DSVM_EXPECT_EQ(g.index().wanted({base + k64K, base + k64K + k4K - 1}), 3u);
	DSVM_EXPECT_EQ(g.index().wanted({base + k64K, base + 2 * k64K - 1}), 3u);
	DSVM_EXPECT_EQ(g.index().wanted({base + k4K, base + 2 * k4K - 1}), 7u);
	for (usize i = 1; i < 16; i++) {
		const VaRange span = aligned_block(base + i * k4K, k4K);

		DSVM_EXPECT_EQ(g.index().wanted(span), i == 1 ? 7u : 0u);
		g.insert(span);
		DSVM_REQUIRE(g.is_sound());
		DSVM_EXPECT_EQ(g.counts.tables, 3u);
		DSVM_EXPECT_EQ(g.counts.crowded, 0u);
	}
	// 256, 32 and 16 words; whoever owns the members counts as one.
	DSVM_EXPECT_EQ(dsvm_env_outstanding(), 4u);
	DSVM_EXPECT_EQ(detail::part_count(g->shape, 0), 256u);
	DSVM_EXPECT_EQ(detail::part_count(g->shape, 1), 32u);
	DSVM_EXPECT_EQ(detail::part_count(g->shape, 2), 16u);
}

// Where a search begins and where it ends.
DSVM_CASE(block_index, searches)
{
	OwnedBlocks g;

	g.set_shape(kUsualShifts, 4);
	Block *const low = g.insert({k64K, 2 * k64K - 1});
	DSVM_EXPECT(g.index().first_overlap({0, kU64Max}) == low);
	Block *const high = g.insert({2 * k2M, 3 * k2M - 1});
	DSVM_EXPECT(g.index().first_overlap({0, kU64Max}) == low);
	DSVM_EXPECT(g.index().first_overlap({k64K, k64K}) == low);
	DSVM_EXPECT(g.index().first_overlap({2 * k64K - 1, 2 * k64K - 1}) == low);
	// Alone in its block, and still not everywhere in it.
	DSVM_EXPECT(g.index().first_overlap({0, k64K - 1}) == nullptr);
	DSVM_EXPECT(g.index().first_overlap({2 * k64K, k2M - 1}) == nullptr);
	DSVM_EXPECT(g.index().first_overlap({2 * k64K, 2 * k2M - 1}) == nullptr);
	DSVM_EXPECT(g.index().first_overlap({2 * k64K, 2 * k2M}) == high);
	DSVM_EXPECT(g.index().first_overlap({k2M, 2 * k2M - 1}) == nullptr);
	DSVM_EXPECT(g.index().first_overlap({k2M, 2 * k2M}) == high);
	DSVM_EXPECT(g.index().first_overlap({3 * k2M, kU64Max}) == nullptr);
	DSVM_EXPECT(g.index().first_overlap({usize{1} << 29, kU64Max}) == nullptr);
	// Behind it there is no end.
	g.remove(*low);
	g.remove(*high);
	DSVM_EXPECT(g.index().first_overlap(VaRange::full()) == nullptr);
}

// A piece that reaches over several parts keeps its block from being divided, and no longer than
// it is there.
DSVM_CASE(block_index, uneven_pieces)
{
	OwnedBlocks g;

	g.set_shape(kUsualShifts, 4);
	g.insert({0, k2M - 1});
	Block *const elsewhere = g.insert({k2M, 2 * k2M - 1});
	g.remove(g->members[0]);
	Block *const head = g.insert({0, 3 * k64K - 1});
	Block *const tail = g.insert({4 * k64K, k2M - 1});
	DSVM_REQUIRE(g.is_sound());
	DSVM_EXPECT_EQ(g.counts.crowded, 1u);
	// Nobody gets memory for it.
	DSVM_EXPECT_EQ(g.index().wanted({3 * k64K, 4 * k64K - 1}), 0u);
	Block *const middle = g.insert({3 * k64K, 4 * k64K - 1});
	DSVM_EXPECT(g.finds({3 * k64K, 3 * k64K}));
	g.remove(*head);
	DSVM_REQUIRE(g.is_sound());
	DSVM_EXPECT_EQ(g.counts.crowded, 1u);
	// One of them is left that reaches over several parts: found out with a table at hand.
	DSVM_EXPECT_EQ(g.index().wanted({0, k64K - 1}), 2u);
	Block *const first = g.insert({0, k64K - 1});
	DSVM_REQUIRE(g.is_sound());
	DSVM_EXPECT_EQ(g.counts.tables, 1u);
	g.remove(*tail);
	g.insert({k64K, k64K + k4K - 1});
	DSVM_REQUIRE(g.is_sound());
	DSVM_EXPECT_EQ(g.counts.crowded, 0u);
	DSVM_EXPECT_EQ(g.counts.tables, 2u);
	DSVM_EXPECT(g.finds({0, 0}) && g.finds({k64K, k64K}) && g.finds({2 * k64K, 4 * k64K}));
	g.remove(*middle);
	g.remove(*first);
	g.remove(*elsewhere);
	DSVM_EXPECT(g.is_sound());
}

// Two pieces that lie in different parts are told apart as soon as somebody brings a table.
DSVM_CASE(block_index, crowded_blocks_are_divided_later)
{
	OwnedBlocks g;
	BlockSpares none;

	g.set_shape(kUsualShifts, 4);
	g.insert(g->members[0], {0, k4K - 1}, none);
	g.insert(g->members[1], {k4K, 2 * k4K - 1}, none);
	g.insert(g->members[2], {k2M, k2M + k4K - 1}, none);
	DSVM_REQUIRE(g.is_sound());
	DSVM_EXPECT_EQ(g.counts.tables, 0u);
	DSVM_EXPECT_EQ(g.counts.crowded, 1u);
	// One level for each that comes there.
	for (u32 level = 0; level < 3; level++) {
		const VaRange span = aligned_block(2 * k4K + level * k4K, k4K);

		DSVM_EXPECT_EQ(g.index().wanted(span), 1u << level);
		g.insert(span);
		DSVM_REQUIRE(g.is_sound());
		DSVM_EXPECT_EQ(g.counts.tables, level + 1);
		DSVM_EXPECT_EQ(g.counts.crowded, level < 2 ? 1u : 0u);
	}
	for (usize i = 0; i < 6; i++)
		DSVM_EXPECT(g.finds({i * k4K, i * k4K}));
	// Crowds thin out as well.
	g.insert(g->members[10], {5 * k2M, 5 * k2M + k4K - 1}, none);
	g.insert(g->members[11], {5 * k2M + k4K, 5 * k2M + 2 * k4K - 1}, none);
	g.insert(g->members[12], {5 * k2M + 2 * k4K, 5 * k2M + 3 * k4K - 1}, none);
	for (u32 i = 10; i < 13; i++) {
		g.remove(g->members[i]);
		DSVM_REQUIRE(g.is_sound());
		DSVM_EXPECT_EQ(g.counts.crowded, i == 10 ? 1u : 0u);
	}
}

// Tables go with what was in them, each with those above it of which it was all.
DSVM_CASE(block_index, tables_go)
{
	for (u32 order = 0; order < 3; order++) {
		OwnedBlocks g;

		g.set_shape(kUsualShifts, 4);
		for (usize i = 0; i < 40; i++)
			g.insert(aligned_block(i * k4K, k4K));
		Block *const other = g.insert({k2M, 2 * k2M - 1});
		DSVM_REQUIRE(g.is_sound());
		DSVM_EXPECT_EQ(g.counts.tables, 5u);
		DSVM_EXPECT_EQ(dsvm_env_outstanding(), 6u);
		// Upwards, downwards, and from both ends.
		for (u32 i = 0; i < 40; i++) {
			const u32 both = i % 2 == 0 ? i / 2 : 39 - i / 2;

			g.remove(g->members[order == 0 ? i : order == 1 ? 39 - i : both]);
			DSVM_REQUIRE(g.is_sound());
		}
		DSVM_EXPECT_EQ(g.counts.tables, 1u);
		DSVM_EXPECT_EQ(dsvm_env_outstanding(), 2u);
		g.insert({0, k2M - 1});
		g.remove(*other);
		DSVM_REQUIRE(g.is_sound());
		DSVM_EXPECT_EQ(g.counts.tables, 1u);
	}
}

// What has a size of its own is found as well, whatever it meets.
DSVM_CASE(block_index, odd_sizes)
{
	OwnedBlocks g;

	g.set_shape(kUsualShifts, 4);
	g.insert({0, k4K - 1});
	g.insert({k64K, 2 * k64K - 1});
	Block *const odd = g.insert({2 * k64K + k4K, 4 * k64K + k4K - 1});
	DSVM_REQUIRE(g.is_sound());
	DSVM_EXPECT_EQ(g.counts.tables, 1u);
	DSVM_EXPECT_EQ(g.counts.crowded, 1u);
	for (usize addr = 0; addr < 5 * k64K; addr += k4K)
		DSVM_EXPECT(g.finds({addr, addr}));
	g.remove(*odd);
	DSVM_EXPECT(g.is_sound());
}

// Each table of the longest way down cannot be had.
DSVM_CASE(block_index, each_allocation_fails)
{
	for (u64 n = 1;; n++) {
		OwnedBlocks g;

		g.set_shape(kUsualShifts, 4);
		g.insert({0, k4K - 1});
		dsvm_env_fail_alloc(n);
		g.insert({k4K, 2 * k4K - 1});
		const bool failed = dsvm_env_alloc_failed();
		dsvm_env_fail_alloc(0);
		DSVM_REQUIRE(g.is_sound());
		DSVM_EXPECT_EQ(g.counts.crowded, failed ? 1u : 0u);
		DSVM_EXPECT_EQ(g.counts.tables, n - 1);
		for (usize addr = 0; addr < 3 * k4K; addr += k4K / 2)
			DSVM_EXPECT(g.finds({addr, addr}));
		if (!failed)
			break;
	}
}

// Without a shape there is nothing but the tree.
DSVM_CASE(block_index, none)
{
	OwnedBlocks g;

	Block *const low = g.insert({5, 7});
	Block *const high = g.insert({kU64Max, kU64Max});
	DSVM_EXPECT(g.index().first_overlap({0, 5}) == low);
	DSVM_EXPECT(g.index().first_overlap({8, kU64Max}) == high);
	DSVM_EXPECT_EQ(g.index().wanted({9, 9}), 0u);
	g.remove(*low);
	DSVM_EXPECT(g.index().first_overlap({0, 100}) == nullptr);
	DSVM_EXPECT(g.is_sound());
}

DSVM_CASE(block_index, random_against_brute_force)
{
	Random random;
	const u32 worlds = cases::rounds(400);
	u32 crowded = 0;
	u32 tables = 0;

	for (u32 i = 0; i < worlds; i++) {
		BlockModel model(random);

		for (u32 step = 0; step < 200; step++)
			DSVM_REQUIRE(model.step());
		crowded += model.crowded;
		tables += model.tables;
	}
	// It has met what it is made for.
	DSVM_EXPECT(crowded > worlds);
	DSVM_EXPECT(tables > worlds);
}
