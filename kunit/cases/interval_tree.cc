// SPDX-License-Identifier: GPL-2.0-only OR MIT
//
// Cases for core/base/interval_tree.h: both searches against one that looks at every
// member, over a small space where everything touches everything, and at the ends of
// the great one.

#include "core/base/interval_tree.h"
#include "kunit/case.h"
#include "kunit/cases/tree.h"

namespace dsvm {
namespace {

constexpr u32 kSpans = 96;

struct Span {
	u64 before; // so that the members are not at offset 0
	dsvm_interval interval;
	GapNode gap;
	bool in;
};

using Spans = IntervalTree<Span, &Span::interval>;
using Gaps = GapTree<Span, &Span::gap>;

struct Ground {
	dsvm_tree_root root;
	Span spans[kSpans];
	u32 count;
};

class OwnedGround {
public:
	OwnedGround() : ground_(static_cast<Ground *>(dsvm_os_alloc(sizeof(Ground)))) {}
	OwnedGround(const OwnedGround &) = delete;
	OwnedGround &operator=(const OwnedGround &) = delete;
	~OwnedGround() { dsvm_os_free(ground_); }
	Ground *operator->() const { return ground_; }
	Ground &operator*() const { return *ground_; }

private:
	Ground *ground_;
};

bool sound_intervals(Ground &g)
{
	return cases::expect_sound(cases::TreeChecker<IntervalTraits>(g.root).complaint(g.count),
				   "intervals");
}

bool sound_gaps(Ground &g)
{
	return cases::expect_sound(cases::TreeChecker<GapTraits>(g.root).complaint(g.count),
				   "gaps");
}

// The overlapping members in order, by looking at all of them, against the tree's.
bool same_overlaps(Ground &g, VaRange query)
{
	Spans tree(g.root);
	Span *found = tree.first_overlap(query);

	for (Span *span = tree.first(); span != nullptr; span = tree.next(*span)) {
		if (span->interval.first > query.last || span->interval.last < query.first)
			continue;
		if (found != span)
			return false;
		found = tree.next_overlap(*found, query);
	}
	return found == nullptr;
}

// Inserts a span where nothing overlaps it, and looks who comes before it.
bool insert_apart(Ground &g, Span &span)
{
	Spans tree(g.root);
	Span *before = nullptr;

	if (tree.first_overlap({span.interval.first, span.interval.last}))
		return false;
	for (Span *other = tree.first(); other != nullptr; other = tree.next(*other)) {
		if (other->interval.first < span.interval.first)
			before = other;
	}
	DSVM_EXPECT(tree.last_before(span.interval.first) == before);
	tree.insert(span);
	DSVM_EXPECT(tree.last_before(span.interval.first) == &span);
	return true;
}

// The lowest place by trying every multiple of the alignment in [0, space).
u64 brute_gap(const Ground &g, u64 base, u64 space, VaRange within, u64 size, u64 alignment)
{
	for (u64 at = 0; at < space; at++) {
		const u64 first = base + at;
		const u64 last = first + (size - 1);

		if (!is_aligned(first, alignment) || last < first || last - base >= space)
			continue;
		if (first < within.first || last > within.last)
			continue;
		bool free = true;
		for (const Span &span : g.spans)
			free &= !span.in || span.gap.first > last || span.gap.last < first;
		if (free)
			return first;
	}
	return kU64Max;
}

bool is_free(const Ground &g, u64 first, u64 last)
{
	for (const Span &span : g.spans) {
		if (span.in && span.gap.first <= last && span.gap.last >= first)
			return false;
	}
	return true;
}

void gap_insert(Ground &g, Span &span, u64 first, u64 last)
{
	span.gap.first = first;
	span.gap.last = last;
	span.in = true;
	g.count++;
	Gaps(g.root).insert(span);
}

} // namespace
} // namespace dsvm

using namespace dsvm;

DSVM_CASE(interval_tree, directed)
{
	OwnedGround g;
	Spans tree(g->root);
	const VaRange ranges[] = {{10, 19}, {0, 9}, {20, 20}, {kU64Max, kU64Max}, {30, 39}};

	DSVM_EXPECT(tree.empty());
	DSVM_EXPECT(tree.first_overlap(VaRange::full()) == nullptr);
	for (const VaRange &range : ranges) {
		Span &span = g->spans[g->count++];
		span.interval.first = range.first;
		span.interval.last = range.last;
		tree.insert(span);
		DSVM_REQUIRE(sound_intervals(*g));
	}
	DSVM_EXPECT(tree.first() == &g->spans[1]);
	DSVM_EXPECT(tree.last() == &g->spans[3]);
	DSVM_EXPECT(tree.first_overlap({19, 30}) == &g->spans[0]);
	DSVM_EXPECT(tree.next_overlap(g->spans[0], {19, 30}) == &g->spans[2]);
	DSVM_EXPECT(tree.next_overlap(g->spans[2], {19, 30}) == &g->spans[4]);
	DSVM_EXPECT(tree.next_overlap(g->spans[4], {19, 30}) == nullptr);
	DSVM_EXPECT(tree.next_overlap(g->spans[2], {19, 29}) == nullptr);
	DSVM_EXPECT(tree.first_overlap({21, 29}) == nullptr);
	DSVM_EXPECT(tree.first_overlap({40, kU64Max}) == &g->spans[3]);
	tree.remove(g->spans[2]);
	g->count--;
	DSVM_EXPECT(sound_intervals(*g));
	DSVM_EXPECT(tree.first_overlap({20, 20}) == nullptr);
	DSVM_EXPECT(tree.prev(g->spans[1]) == nullptr);
	DSVM_EXPECT(tree.next(g->spans[1]) == &g->spans[0]);
	DSVM_EXPECT(tree.next(g->spans[3]) == nullptr);
}

DSVM_CASE(interval_tree, random_against_brute_force)
{
	OwnedGround g;
	cases::Random random;
	Spans tree(g->root);

	for (u32 step = 0; step < cases::rounds(6000); step++) {
		Span &span = g->spans[random.below(kSpans)];
		// Low in the space or up against its end.
		const u64 base = random.chance(50) ? 0 : kU64Max - 255;

		if (span.in) {
			tree.remove(span);
			g->count--;
		} else {
			const u64 first = random.below(256);
			span.interval.first = base + first;
			span.interval.last = base + min(random.between(first, first + 8), u64{255});
			if (!insert_apart(*g, span))
				continue;
			g->count++;
		}
		span.in = !span.in;
		DSVM_REQUIRE(sound_intervals(*g));
		for (u32 i = 0; i < 8; i++) {
			const u64 first = random.below(256);
			const VaRange query{base + first, base + random.between(first, 255)};

			if (!DSVM_CASE_CHECK_(same_overlaps(*g, query))) {
				DSVM_CASE_LOG("step %u, query [%#llx, %#llx]", step, query.first,
					      query.last);
				return;
			}
		}
		DSVM_REQUIRE(same_overlaps(*g, VaRange::full()));
	}
}

DSVM_CASE(interval_tree, checker_finds_damage)
{
	OwnedGround g;
	Spans tree(g->root);

	for (u32 i = 0; i < 20; i++) {
		g->spans[i].interval.first = i * 10;
		g->spans[i].interval.last = i * 10 + 5;
		tree.insert(g->spans[i]);
	}
	cases::TreeChecker<IntervalTraits> checker(g->root);
	DSVM_REQUIRE(checker.complaint(20) == nullptr);
	DSVM_EXPECT(checker.complaint(19) != nullptr);
	g->spans[7].interval.first = 500;
	DSVM_EXPECT(checker.complaint(20) != nullptr);
	g->spans[7].interval.first = 70;
	DSVM_EXPECT(checker.complaint(20) == nullptr);
}

DSVM_CASE(gap_tree, empty_and_full)
{
	OwnedGround g;
	Gaps tree(g->root);

	DSVM_EXPECT_EQ(tree.lowest_gap({0, 99}, 100).value(), 0u);
	DSVM_EXPECT(tree.lowest_gap({0, 99}, 101).status() == kNoSpace);
	DSVM_EXPECT_EQ(tree.lowest_gap({1, 99}, 1, 64).value(), 64u);
	DSVM_EXPECT(tree.lowest_gap({65, 99}, 1, 64).status() == kNoSpace);
	DSVM_EXPECT(tree.lowest_gap({0, 99}, 0).status() == kInvalid);
	DSVM_EXPECT(tree.lowest_gap({0, 99}, 1, 3).status() == kInvalid);
	DSVM_EXPECT_EQ(tree.lowest_gap(VaRange::full(), kU64Max).value(), 0u);
	DSVM_EXPECT_EQ(tree.lowest_gap({kU64Max, kU64Max}, 1).value(), kU64Max);
	DSVM_EXPECT(tree.lowest_gap({kU64Max, kU64Max}, 1, 2).status() == kNoSpace);

	gap_insert(*g, g->spans[0], 0, kU64Max);
	DSVM_EXPECT(tree.lowest_gap(VaRange::full(), 1).status() == kNoSpace);
	tree.remove(g->spans[0]);
	g->count--;
	gap_insert(*g, g->spans[0], 1, kU64Max - 1);
	DSVM_EXPECT_EQ(tree.lowest_gap(VaRange::full(), 1).value(), 0u);
	DSVM_EXPECT_EQ(tree.lowest_gap({1, kU64Max}, 1).value(), kU64Max);
	DSVM_EXPECT(tree.lowest_gap(VaRange::full(), 2).status() == kNoSpace);
	DSVM_EXPECT(sound_gaps(*g));
}

DSVM_CASE(gap_tree, directed)
{
	OwnedGround g;
	Gaps tree(g->root);

	// Holes: [0,9] [20,29] [40,59] [70,...].
	gap_insert(*g, g->spans[0], 10, 19);
	gap_insert(*g, g->spans[1], 30, 39);
	gap_insert(*g, g->spans[2], 60, 69);
	DSVM_EXPECT_EQ(tree.lowest_gap(VaRange::full(), 10).value(), 0u);
	DSVM_EXPECT_EQ(tree.lowest_gap(VaRange::full(), 11).value(), 40u);
	DSVM_EXPECT_EQ(tree.lowest_gap(VaRange::full(), 21).value(), 70u);
	DSVM_EXPECT_EQ(tree.lowest_gap({1, 100}, 10).value(), 20u);
	DSVM_EXPECT_EQ(tree.lowest_gap({21, 100}, 10).value(), 40u);
	DSVM_EXPECT_EQ(tree.lowest_gap({10, 58}, 15).value(), 40u);
	DSVM_EXPECT(tree.lowest_gap({10, 50}, 15).status() == kNoSpace);
	DSVM_EXPECT_EQ(tree.lowest_gap({1, 100}, 8, 16).value(), 48u);
	DSVM_EXPECT(tree.lowest_gap({12, 17}, 1).status() == kNoSpace);
	tree.remove(g->spans[1]);
	g->spans[1].in = false;
	g->count--;
	DSVM_EXPECT(sound_gaps(*g));
	DSVM_EXPECT_EQ(tree.lowest_gap(VaRange::full(), 11).value(), 20u);
}

DSVM_CASE(gap_tree, random_against_brute_force)
{
	OwnedGround g;
	cases::Random random;
	Gaps tree(g->root);
	constexpr u64 kSpace = 320;
	const u64 bases[] = {0, kU64Max - (kSpace - 1)};

	// Low in the space, then up against its end.
	for (const u64 base : bases) {
		for (u32 step = 0; step < cases::rounds(2000); step++) {
			Span &span = g->spans[random.below(kSpans)];

			if (span.in) {
				tree.remove(span);
				span.in = false;
				g->count--;
			} else {
				const u64 first = random.below(kSpace);
				const u64 last = min(first + random.below(6), kSpace - 1);
				if (is_free(*g, base + first, base + last))
					gap_insert(*g, span, base + first, base + last);
			}
			DSVM_REQUIRE(sound_gaps(*g));

			const u64 size = random.between(1, 12);
			const u64 alignment = 1ull << random.below(5);
			const u64 first = random.below(kSpace);
			const VaRange within{base + first,
					     base + random.between(first, kSpace - 1)};
			const u64 expected = brute_gap(*g, base, kSpace, within, size, alignment);
			const u64 got = tree.lowest_gap(within, size, alignment).value_or(kU64Max);
			// The last byte of all is a place too, and the brute force's "none".
			if (!DSVM_CASE_CHECK_EQ_(got, expected)) {
				DSVM_CASE_LOG(
					"step %u: %llu bytes, aligned to %llu, in [%#llx, %#llx]",
					step, size, alignment, within.first, within.last);
				return;
			}
		}
		g->root = {};
		g->count = 0;
		for (Span &span : g->spans)
			span.in = false;
	}
}
