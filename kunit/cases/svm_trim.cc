// SPDX-License-Identifier: GPL-2.0-only OR MIT
//
// Cases for core/svm: of a range that the CPU unmaps a part of, only that part goes. What is left
// stays mapped, for the device and by the GPU, and becomes one or two ranges when it is trimmed.

#include "kunit/case.h"
#include "kunit/cases/sixteen.h"

using namespace dsvm;
using namespace dsvm::cases;

namespace {

// Sixteen pages that all devices have and the GPU has mapped.
class Trimmed : public SixteenPages {
public:
	explicit Trimmed(u32 order = 0, MirrorOptions mirror_options = {true, 1, false},
			 bool iommu = false)
		: SixteenPages(mirror_options)
	{
		world.set_iommu(iommu);
		world.populate(world.mm(), at_page(0), 16, order);
		map();
	}

	void map()
	{
		DSVM_EXPECT_EQ(get_pages(*range, DSVM_ACCESS_READ), 0);
		DSVM_EXPECT(map_gpu(*range));
	}
	void munmap(PageSpan span)
	{
		world.unmap(world.mm(), at_page(span.first), end_of_page(span.last));
	}
	[[nodiscard]] dsvm_range *at(u32 page)
	{
		return dsvm_svm_range_find(home(*range).notifier, at_page(page), end_of_page(page));
	}
	// Whether a range has exactly these pages, all mapped still, and nothing to collect.
	[[nodiscard]] bool has_piece(PageSpan span)
	{
		dsvm_range *const piece = at(span.first);

		if (!DSVM_CASE_CHECK_(piece != nullptr) ||
		    !DSVM_CASE_CHECK_EQ_(piece->node.first, at_page(span.first)) ||
		    !DSVM_CASE_CHECK_EQ_(piece->node.last, end_of_page(span.last)) ||
		    !DSVM_CASE_CHECK_(is_valid(*piece)))
			return false;
		DSVM_EXPECT_EQ(get_pages(*piece, DSVM_ACCESS_READ), 0);
		DSVM_EXPECT_EQ(attempts, 0u);
		return DSVM_CASE_CHECK_EQ_(gpu.count(piece->node.first, piece->node.last),
					   span.count());
	}
	[[nodiscard]] bool gpu_is_sound() { return MirrorChecker{*this}.gpu_is_sound(); }
};

struct TrimRow {
	u32 order; // of the CPU's mappings
	PageSpan unmapped;
	PageSpan zapped; // what has gone, widened to whole runs
	PageSpan left[2];
};

constexpr TrimRow kTrimTable[] = {
	// Page by page.
	{0, {0, 3}, {0, 3}, {{4, 15}, kNoPages}},
	{0, {0, 0}, {0, 0}, {{1, 15}, kNoPages}},
	{0, {12, 15}, {12, 15}, {{0, 11}, kNoPages}},
	{0, {15, 20}, {15, 15}, {{0, 14}, kNoPages}},
	{0, {4, 7}, {4, 7}, {{0, 3}, {8, 15}}},
	{0, {1, 14}, {1, 14}, {{0, 0}, {15, 15}}},
	{0, {8, 8}, {8, 8}, {{0, 7}, {9, 15}}},
	{0, {0, 15}, {0, 15}, {kNoPages, kNoPages}},
	{0, {0, 30}, {0, 15}, {kNoPages, kNoPages}},
	// Runs of four pages: whoever is cut goes whole.
	{2, {0, 0}, {0, 3}, {{4, 15}, kNoPages}},
	{2, {3, 4}, {0, 7}, {{8, 15}, kNoPages}},
	{2, {5, 6}, {4, 7}, {{0, 3}, {8, 15}}},
	{2, {4, 7}, {4, 7}, {{0, 3}, {8, 15}}},
	{2, {7, 8}, {4, 11}, {{0, 3}, {12, 15}}},
	{2, {14, 20}, {12, 15}, {{0, 11}, kNoPages}},
	{2, {3, 12}, {0, 15}, {kNoPages, kNoPages}},
	// One run.
	{4, {8, 8}, {0, 15}, {kNoPages, kNoPages}},
};

void check_row(const TrimRow &row, MirrorOptions options, bool iommu)
{
	Trimmed m(row.order, options, iommu);
	const u32 left = row.left[0].count() + row.left[1].count();
	const u32 pieces = !row.left[0].is_empty() + !row.left[1].is_empty();

	m.munmap(row.unmapped);
	DSVM_EXPECT_EQ(m.zap_first, at_page(row.zapped.first));
	DSVM_EXPECT_EQ(m.zap_last, end_of_page(row.zapped.last));
	DSVM_EXPECT_EQ(m.world.dma_mappings(), left * m.devices());
	DSVM_EXPECT_EQ(m.gpu.count(at_page(0), end_of_page(15)), left);
	DSVM_EXPECT((m.range->flags & DSVM_RANGE_UNMAPPED) != 0);
	DSVM_EXPECT(!m.is_valid(*m.range));
	DSVM_EXPECT_EQ(m.get_pages(*m.range), -DSVM_EFAULT);
	DSVM_EXPECT(m.gpu_is_sound());
	DSVM_EXPECT(is_sound(m));

	DSVM_EXPECT_EQ(m.trim(*m.range), pieces == 0 ? 0 : 1);
	DSVM_EXPECT_EQ(m.world.dma_mappings(), left * m.devices());
	if (pieces == 0) {
		DSVM_EXPECT_EQ(m.world.iova_windows(), 0u);
		DSVM_EXPECT_EQ(m.pages->flags, DSVM_PAGES_UNMAPPED);
		m.remove(*m.range);
		DSVM_EXPECT_EQ(m.ranges, 0u);
		return;
	}
	DSVM_EXPECT_EQ(m.range->flags & (DSVM_RANGE_UNMAPPED | DSVM_RANGE_PARTIAL_UNMAP), 0u);
	DSVM_EXPECT_EQ(m.ranges, pieces);
	DSVM_EXPECT_EQ(m.splits, 1u);
	for (const PageSpan &span : row.left)
		DSVM_EXPECT(span.is_empty() || m.has_piece(span));
	DSVM_EXPECT(m.gpu_is_sound());
	DSVM_EXPECT(is_sound(m));
	// It can be unmapped as any other.
	m.world.invalidate(m.world.mm(), at_page(0), end_of_page(15));
	DSVM_EXPECT_EQ(m.world.dma_mappings(), 0u);
	DSVM_EXPECT_EQ(m.world.iova_windows(), 0u);
}

// What another CPU unmaps.
struct Munmap {
	World &world;
	PageSpan span;
};

void munmap(void *arg)
{
	const Munmap &self = *static_cast<Munmap *>(arg);

	self.world.unmap(self.world.mm(), at_page(self.span.first), end_of_page(self.span.last));
}

// Device pages behind [first, first + count) of sixteen, RAM elsewhere.
class MixedMemory : public SixteenPages {
public:
	MixedMemory(u32 first, u32 count) : SixteenPages({true, 1, false})
	{
		for (u32 i = 0; i < 16; i++) {
			if (i < first || i >= first + count)
				world.populate(world.mm(), at_page(i), 1);
		}
		put_on_device(*this, first, count);
		dsvm_get_pages get = request(*range, DSVM_ACCESS_READ);
		get.allow_mixed = true;
		DSVM_EXPECT_EQ(dsvm_svm_get_pages(pages, &get), 0);
		DSVM_EXPECT_EQ(world.provider_refs(), 2u);
	}
};

} // namespace

DSVM_CASE(trim, table)
{
	for (const TrimRow &row : kTrimTable) {
		for (u32 devices = 1; devices <= fake::kDevices; devices++) {
			for (const bool iommu : kEither) {
				check_row(row, {true, devices, false}, iommu);
				check_row(row, {false, devices, true}, iommu);
			}
		}
	}
}

// What lies between two parts that have gone goes too: a range has one hole at most.
DSVM_CASE(trim, two_events_before_the_trim)
{
	const struct {
		u32 order;
		PageSpan first;
		PageSpan second;
		PageSpan gone;
	} table[] = {
		{0, {2, 3}, {8, 9}, {2, 9}},	{0, {8, 9}, {2, 3}, {2, 9}},
		{0, {4, 5}, {6, 7}, {4, 7}},	{0, {4, 7}, {5, 6}, {4, 7}},
		{2, {5, 5}, {9, 9}, {4, 11}},	{2, {9, 9}, {5, 5}, {4, 11}},
		{1, {3, 3}, {12, 12}, {2, 13}},
	};

	for (const auto &row : table) {
		for (const bool iommu : kEither) {
			Trimmed m(row.order, {true, 2, false}, iommu);

			m.munmap(row.first);
			m.munmap(row.second);
			DSVM_EXPECT_EQ(m.world.dma_mappings(), 2 * (16 - row.gone.count()));
			DSVM_EXPECT_EQ(m.gpu.count(at_page(0), end_of_page(15)),
				       16 - row.gone.count());
			DSVM_EXPECT_EQ(m.range->gone_first, at_page(row.gone.first));
			DSVM_EXPECT_EQ(m.range->gone_last, end_of_page(row.gone.last));
			DSVM_EXPECT_EQ(m.trim(*m.range), 1);
			DSVM_EXPECT(m.has_piece({0, row.gone.first - 1}));
			DSVM_EXPECT(m.has_piece({row.gone.last + 1, 15}));
			DSVM_EXPECT(m.gpu_is_sound());
			DSVM_EXPECT(is_sound(m));
		}
	}
}

// Devices differ in what they can have as one; the widest run decides for all.
DSVM_CASE(trim, devices_with_different_runs)
{
	const u32 orders[][2] = {{0, 3}, {3, 0}, {1, 2}, {2, 1}};

	for (const auto &order : orders) {
		const u32 run = 1u << max(order[0], order[1]);
		SixteenPages m({true, 2, false});

		m.world.populate(m.world.mm(), at_page(0), 16, 3);
		for (u32 i = 0; i < 2; i++) {
			dsvm_get_pages get = m.request(*m.range, DSVM_ACCESS_READ, i);

			// Smaller mappings of the CPU, as after a split of its huge page.
			for (u32 j = 0; j < 16; j++)
				m.world.pte(m.world.mm(), at_page(j)).order =
					static_cast<u8>(order[i]);
			DSVM_REQUIRE_EQ(dsvm_svm_get_pages(&m.pages[i], &get), 0);
		}
		DSVM_EXPECT(m.map_gpu(*m.range));
		m.world.unmap(m.world.mm(), at_page(run), end_of_page(run));
		DSVM_EXPECT_EQ(m.zap_first, at_page(run));
		DSVM_EXPECT_EQ(m.zap_last, end_of_page(2 * run - 1));
		DSVM_EXPECT_EQ(m.world.dma_mappings(), 2 * (16 - run));
		DSVM_EXPECT_EQ(m.trim(*m.range), 1);
		DSVM_EXPECT_EQ(m.ranges, run < 8 ? 2u : 1u);
		DSVM_EXPECT(is_sound(m));
	}
}

// Pages that nobody has mapped have no runs.
DSVM_CASE(trim, nothing_is_mapped)
{
	SixteenPages m({true, 2, false});

	m.world.populate(m.world.mm(), at_page(0), 16, 2);
	m.world.unmap(m.world.mm(), at_page(5), end_of_page(6));
	DSVM_EXPECT_EQ(m.get_pages(*m.range), -DSVM_EFAULT);
	DSVM_EXPECT_EQ(m.trim(*m.range), 1);
	DSVM_EXPECT_EQ(m.range->node.last, end_of_page(4));
	DSVM_EXPECT_EQ(m.ranges, 2u);
	DSVM_EXPECT(is_sound(m));
	DSVM_EXPECT_EQ(m.get_pages(*m.range), 0);
	DSVM_EXPECT_EQ(m.world.dma_mappings(), 10u);
	DSVM_EXPECT(is_sound(m));
	// A range that has lost nothing is whole.
	DSVM_EXPECT_EQ(m.trim(*m.range), 1);
	DSVM_EXPECT_EQ(m.ranges, 2u);
}

// One device has the pages, the other has none.
DSVM_CASE(trim, one_device_has_them)
{
	for (u32 device = 0; device < 2; device++) {
		SixteenPages m({true, 2, false});
		dsvm_get_pages get = m.request(*m.range, DSVM_ACCESS_READ, device);

		m.world.populate(m.world.mm(), at_page(0), 16, 1);
		DSVM_REQUIRE_EQ(dsvm_svm_get_pages(&m.pages[device], &get), 0);
		m.world.unmap(m.world.mm(), at_page(5), end_of_page(5));
		DSVM_EXPECT_EQ(m.zap_first, at_page(4));
		DSVM_EXPECT_EQ(m.world.dma_mappings(), 14u);
		DSVM_EXPECT_EQ(m.trim(*m.range), 1);
		DSVM_EXPECT_EQ(m.ranges, 2u);
		DSVM_EXPECT(is_sound(m));
		DSVM_EXPECT_EQ(m.get_pages(*m.range), 0);
		DSVM_EXPECT_EQ(m.world.dma_mappings(), 18u);
	}
}

// An event of another kind between the two takes all of it.
DSVM_CASE(trim, invalidated_before_the_trim)
{
	for (const bool iommu : kEither) {
		Trimmed m(0, {true, 2, false}, iommu);

		m.munmap({4, 7});
		m.world.invalidate(m.world.mm(), at_page(15), end_of_page(15));
		DSVM_EXPECT_EQ(m.world.dma_mappings(), 0u);
		DSVM_EXPECT_EQ(m.world.iova_windows(), 0u);
		DSVM_EXPECT_EQ(m.gpu.count(at_page(0), end_of_page(15)), 0u);
		DSVM_EXPECT_EQ(m.trim(*m.range), 1);
		DSVM_EXPECT_EQ(m.ranges, 2u);
		DSVM_EXPECT(is_sound(m));
		DSVM_EXPECT_EQ(m.get_pages(*m.range), 0);
		DSVM_EXPECT(is_sound(m));
	}
}

// The pieces share their entries; whoever goes last frees them, in whatever order.
DSVM_CASE(trim, pieces_go_in_any_order)
{
	const u32 orders[][3] = {{0, 1, 2}, {0, 2, 1}, {1, 0, 2}, {1, 2, 0}, {2, 0, 1}, {2, 1, 0}};
	const PageSpan pieces[] = {{0, 3}, {5, 10}, {12, 15}};

	for (const auto &order : orders) {
		for (const bool iommu : kEither) {
			Trimmed m(0, {true, 2, false}, iommu);
			u32 left = 2 * 14;

			m.munmap({4, 4});
			DSVM_REQUIRE_EQ(m.trim(*m.range), 1);
			m.munmap({11, 11});
			DSVM_REQUIRE(m.at(5) != nullptr);
			DSVM_REQUIRE_EQ(m.trim(*m.at(5)), 1);
			DSVM_EXPECT_EQ(m.ranges, 3u);
			DSVM_EXPECT_EQ(m.world.dma_mappings(), left);
			dsvm_notifier *const window = m.home(*m.range).notifier;
			for (const u32 i : order) {
				dsvm_range *const piece = dsvm_svm_range_find(
					window, at_page(pieces[i].first), at_page(pieces[i].first));

				DSVM_REQUIRE(piece != nullptr);
				m.gpu.zap(piece->node.first, piece->node.last);
				m.remove(*piece);
				left -= 2 * pieces[i].count();
				DSVM_EXPECT_EQ(m.world.dma_mappings(), left);
				DSVM_EXPECT_EQ(m.world.iova_windows(),
					       iommu && left != 0 ? 2u : 0u);
				DSVM_EXPECT(is_sound(m));
			}
			DSVM_EXPECT_EQ(dsvm_env_outstanding(), 0u);
		}
	}
}

// A piece that is collected anew leaves those entries to the others.
DSVM_CASE(trim, piece_is_collected_anew)
{
	for (const bool iommu : kEither) {
		Trimmed m(0, {true, 1, false}, iommu);

		m.munmap({4, 7});
		DSVM_REQUIRE_EQ(m.trim(*m.range), 1);
		m.world.invalidate(m.world.mm(), at_page(0), end_of_page(0));
		DSVM_EXPECT_EQ(m.world.dma_mappings(), 8u);
		DSVM_EXPECT_EQ(m.get_pages(*m.range, DSVM_ACCESS_WRITE), 0);
		DSVM_EXPECT_EQ(m.world.dma_mappings(), 12u);
		DSVM_EXPECT_EQ(m.world.iova_windows(), iommu ? 2u : 0u);
		DSVM_EXPECT(m.has_piece({8, 15}));
		DSVM_EXPECT(is_sound(m));
		m.world.invalidate(m.world.mm(), at_page(8), end_of_page(8));
		DSVM_EXPECT_EQ(m.world.dma_mappings(), 4u);
		DSVM_EXPECT_EQ(m.world.iova_windows(), iommu ? 1u : 0u);
	}
}

// Each piece refers to the provider of the device pages that it has, and to none if it has none.
DSVM_CASE(trim, providers_of_the_pieces)
{
	const struct {
		u32 first; // device page
		u32 count;
		PageSpan unmapped;
		bool head_has;
		bool tail_has;
	} table[] = {
		{8, 8, {4, 7}, false, true}, {0, 8, {8, 11}, true, false},
		{0, 16, {4, 7}, true, true}, {6, 4, {4, 11}, false, false},
		{2, 12, {6, 9}, true, true}, {15, 1, {7, 8}, false, true},
		{0, 1, {7, 8}, true, false},
	};

	for (const auto &row : table) {
		MixedMemory m(row.first, row.count);

		m.world.unmap(m.world.mm(), at_page(row.unmapped.first),
			      end_of_page(row.unmapped.last));
		DSVM_REQUIRE_EQ(m.trim(*m.range), 1);
		dsvm_range *const tail = dsvm_svm_range_find(m.home(*m.range).notifier, at_page(15),
							     end_of_page(15));
		DSVM_REQUIRE(tail != nullptr && tail != m.range);
		DSVM_EXPECT_EQ((m.pages->flags & DSVM_PAGES_DEVMEM) != 0, row.head_has);
		DSVM_EXPECT_EQ((m.home(*tail).pages->flags & DSVM_PAGES_DEVMEM) != 0, row.tail_has);
		DSVM_EXPECT_EQ(m.world.provider_refs(), 1u + row.head_has + row.tail_has);
		DSVM_EXPECT(is_sound(m));
		m.world.invalidate(m.world.mm(), at_page(15), end_of_page(15));
		DSVM_EXPECT_EQ(m.world.provider_refs(), 1u + row.head_has);
		m.world.invalidate(m.world.mm(), at_page(0), end_of_page(0));
		DSVM_EXPECT_EQ(m.world.provider_refs(), 1u);
		DSVM_EXPECT_EQ(m.world.dma_mappings(), 0u);
	}
}

// Without memory for a range of its own for the tail nothing changes, and all of it has to go.
DSVM_CASE(trim, no_memory_for_the_tail)
{
	for (const bool iommu : kEither) {
		u32 failures = 0;

		for (u64 n = 1;; n++) {
			Trimmed m(0, {true, 2, false}, iommu);

			m.munmap({4, 7});
			const u64 outstanding = dsvm_env_outstanding();
			dsvm_env_fail_alloc(n);
			const int result = m.trim(*m.range);
			dsvm_env_fail_alloc(0);
			DSVM_EXPECT(is_sound(m));
			if (result == 1)
				break;
			failures++;
			DSVM_EXPECT_EQ(result, -DSVM_ENOMEM);
			DSVM_EXPECT_EQ(m.ranges, 1u);
			DSVM_EXPECT_EQ(m.world.dma_mappings(), 2u * 12);
			DSVM_EXPECT_EQ(m.gpu.count(at_page(0), end_of_page(15)), 12u);
			DSVM_EXPECT_EQ(m.range->node.last, end_of_page(15));
			DSVM_EXPECT((m.range->flags & DSVM_RANGE_UNMAPPED) != 0);
			DSVM_EXPECT_EQ(dsvm_env_outstanding(), outstanding);
			DSVM_EXPECT_EQ(m.trim(*m.range), 1);
			DSVM_EXPECT(m.has_piece({0, 3}) && m.has_piece({8, 15}));
		}
		DSVM_EXPECT_EQ(failures, 1u);
	}
}

// More is unmapped while the range is being trimmed.
DSVM_CASE(trim, unmapped_at_each_point)
{
	const struct {
		PageSpan before;
		PageSpan meanwhile;
	} table[] = {
		{kNoPages, {4, 7}}, {{4, 7}, {8, 9}}, {{4, 7}, {0, 15}},  {{4, 7}, {12, 15}},
		{{4, 7}, {0, 3}},   {{0, 3}, {8, 9}}, {{12, 15}, {0, 0}}, {{4, 7}, {2, 2}},
	};

	for (const auto &row : table) {
		bool more = true;

		for (u32 n = 1; more; n++) {
			Trimmed m(0, {true, 2, false});
			Munmap other{m.world, row.meanwhile};

			if (!row.before.is_empty())
				m.munmap(row.before);
			dsvm_env_at_point(n, 0, munmap, &other);
			int result = m.trim(*m.range);
			more = !dsvm_env_point_is_due();
			dsvm_env_at_point(0, 0, nullptr, nullptr);
			DSVM_EXPECT(is_sound(m));
			DSVM_EXPECT(m.gpu_is_sound());
			while (result == -DSVM_EAGAIN)
				result = m.trim(*m.range);
			DSVM_EXPECT(result == 0 || result == 1);
			if (result == 0)
				m.remove(*m.range);
			DSVM_EXPECT(is_sound(m));
		}
	}
}

// As long as its pages are mapped, invalidations find a range.
DSVM_CASE(trim, unmapped_at_each_point_of_a_removal)
{
	for (const bool iommu : kEither) {
		bool more = true;

		for (u32 n = 1; more; n++) {
			Trimmed m(0, {true, 2, false}, iommu);
			Munmap other{m.world, {0, 15}};

			dsvm_env_at_point(n, 0, munmap, &other);
			m.remove(*m.range);
			more = !dsvm_env_point_is_due();
			dsvm_env_at_point(0, 0, nullptr, nullptr);
			DSVM_EXPECT_EQ(m.world.dma_mappings(), 0u);
			DSVM_EXPECT_EQ(m.world.iova_windows(), 0u);
			DSVM_EXPECT_EQ(m.ranges, 0u);
			DSVM_EXPECT(is_sound(m));
		}
	}
}

// Of a range that parts of may go, pages are collected as a whole.
DSVM_CASE(trim, part_of_a_range_is_refused)
{
	SixteenPages m({true, 1, false});
	const PageSpan parts[] = {{0, 7}, {8, 15}, {4, 4}, {0, 16}};

	for (const PageSpan &part : parts) {
		dsvm_get_pages get = m.request(*m.range);

		get.first = part.start();
		get.last = part.end();
		DSVM_EXPECT_EQ(dsvm_svm_get_pages(m.pages, &get), -DSVM_EINVAL);
		DSVM_EXPECT_EQ(m.world.dma_mappings(), 0u);
	}
	DSVM_EXPECT_EQ(m.get_pages(*m.range), 0);
}

// An event that runs is waited for by who collects for a piece, whichever it is.
DSVM_CASE(trim, pieces_keep_the_sequence)
{
	const u32 pages[] = {0, 15};

	for (const u32 page : pages) {
		SixteenPages m({true, 1, false});
		fake::Event *event;

		m.world.populate(m.world.mm(), at_page(0), 16);
		event = &m.world.begin_event(m.world.mm(), at_page(4), end_of_page(7), true);
		DSVM_REQUIRE_EQ(m.trim(*m.range), 1);
		dsvm_range *const piece = dsvm_svm_range_find(m.home(*m.range).notifier,
							      at_page(page), end_of_page(page));
		DSVM_REQUIRE(piece != nullptr);
		m.world.at(
			Call::kNotifierReadBegin, 1,
			[](World &world, void *arg) {
				auto *&running = *static_cast<fake::Event **>(arg);

				if (running != nullptr && running->seq == world.awaited_seq())
					world.end_event(*exchange(running, nullptr));
			},
			&event);
		DSVM_EXPECT_EQ(m.get_pages(*piece), 0);
		DSVM_EXPECT(event == nullptr);
	}
}
