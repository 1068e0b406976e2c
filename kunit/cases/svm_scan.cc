// SPDX-License-Identifier: GPL-2.0-only OR MIT
//
// Cases for core/svm: where the pages of a span are, summed up; and what is counted.

#include "kunit/case.h"
#include "kunit/cases/sixteen.h"

using namespace dsvm;
using namespace dsvm::cases;

namespace {

// What is behind each quarter of sixteen pages.
enum class Where : u8 { kNothing, kRam, kFirst, kSecond, kForeign };

struct ScanRow {
	Where quarters[4];
	dsvm_scan expected;
};

constexpr Where kR = Where::kRam;
constexpr Where kA = Where::kFirst;
constexpr Where kB = Where::kSecond;

constexpr ScanRow kScanTable[] = {
	{{kR, kR, kR, kR}, DSVM_SCAN_SYSTEM},
	{{kA, kA, kA, kA}, DSVM_SCAN_EQUAL},
	{{kB, kB, kB, kB}, DSVM_SCAN_OTHER},
	{{kA, kA, kA, kB}, DSVM_SCAN_MIXED_DEVICE},
	{{kB, kB, kA, kB}, DSVM_SCAN_MIXED_DEVICE},
	{{kR, kR, kR, kA}, DSVM_SCAN_MIXED},
	{{kA, kR, kA, kA}, DSVM_SCAN_MIXED},
	{{kB, kB, kB, kR}, DSVM_SCAN_MIXED},
	{{kA, kB, kR, kR}, DSVM_SCAN_MIXED},
	{{kR, kR, Where::kNothing, kR}, DSVM_SCAN_UNPOPULATED},
	{{kA, kA, kA, Where::kNothing}, DSVM_SCAN_UNPOPULATED},
	{{kR, kA, kB, Where::kNothing}, DSVM_SCAN_UNPOPULATED},
	{{Where::kNothing, kA, kR, kB}, DSVM_SCAN_UNPOPULATED},
	// Another driver's device memory, of somebody who would move it.
	{{kR, kR, kR, Where::kForeign}, DSVM_SCAN_UNPOPULATED},
};

void put(Mirror &m, u32 first, Where where)
{
	switch (where) {
	case Where::kNothing:
		return;
	case Where::kRam:
		m.world.populate(m.world.mm(), at_page(first), 4);
		return;
	case Where::kFirst:
		put_on_device(m, first, 4, 0);
		return;
	case Where::kSecond:
		put_on_device(m, first, 4, 1);
		return;
	case Where::kForeign:
		m.world.populate_foreign(m.world.mm(), at_page(first), 4, nullptr, false);
		return;
	}
}

dsvm_scan scan(SixteenPages &m, u32 first = 0, u32 last = 15, void *owner = nullptr)
{
	return dsvm_svm_scan(m.svm.mm, m.os_notifier(*m.range), owner != nullptr ? owner : &m,
			     at_page(first), end_of_page(last), m.world.pagemap(0));
}

} // namespace

DSVM_CASE(scan, table)
{
	for (const ScanRow &row : kScanTable) {
		SixteenPages m;

		for (u32 i = 0; i < 4; i++)
			put(m, i * 4, row.quarters[i]);
		DSVM_EXPECT_EQ(scan(m), row.expected);
		// A look moves nothing and maps nothing.
		DSVM_EXPECT_EQ(m.world.count(m.world.mm(), at_page(0), end_of_page(15),
					     fake::PteKind::kNone),
			       row.expected == DSVM_SCAN_UNPOPULATED &&
					       row.quarters[3] != Where::kForeign
				       ? 4u
				       : 0u);
	}
}

DSVM_CASE(scan, part_of_a_span)
{
	SixteenPages m;

	put(m, 0, kR);
	put(m, 4, kA);
	put(m, 8, kB);
	DSVM_EXPECT_EQ(scan(m, 0, 3), DSVM_SCAN_SYSTEM);
	DSVM_EXPECT_EQ(scan(m, 4, 7), DSVM_SCAN_EQUAL);
	DSVM_EXPECT_EQ(scan(m, 8, 11), DSVM_SCAN_OTHER);
	DSVM_EXPECT_EQ(scan(m, 7, 8), DSVM_SCAN_MIXED_DEVICE);
	DSVM_EXPECT_EQ(scan(m, 3, 4), DSVM_SCAN_MIXED);
	DSVM_EXPECT_EQ(scan(m, 3, 3), DSVM_SCAN_SYSTEM);
	DSVM_EXPECT_EQ(scan(m, 11, 12), DSVM_SCAN_UNPOPULATED);
	// Where there is no VMA there is nothing to be read.
	DSVM_EXPECT_EQ(scan(m, 100, 103), DSVM_SCAN_UNPOPULATED);
	// Seen from a third device memory both are others, and two of them.
	DSVM_EXPECT_EQ(dsvm_svm_scan(m.svm.mm, m.os_notifier(*m.range), &m, at_page(4),
				     end_of_page(11), &m),
		       DSVM_SCAN_MIXED_DEVICE);
	// The device pages of an owner are nobody else's.
	DSVM_EXPECT_EQ(scan(m, 4, 7, &m.svm), DSVM_SCAN_UNPOPULATED);
	DSVM_EXPECT_EQ(scan(m, 0, 3, &m.svm), DSVM_SCAN_SYSTEM);
}

// More than one batch: the last page of all decides as the first one does.
DSVM_CASE(scan, large_spans)
{
	SixteenPages m;

	m.world.add_vma(m.world.mm(), at_page(16), end_of_page(1023));
	m.world.populate(m.world.mm(), at_page(0), 1023);
	DSVM_EXPECT_EQ(scan(m, 0, 1022), DSVM_SCAN_SYSTEM);
	DSVM_EXPECT_EQ(scan(m, 0, 1023), DSVM_SCAN_UNPOPULATED);
	// Half an answer is none.
	m.world.fail(Call::kHmmFault, 2, -DSVM_EFAULT);
	DSVM_EXPECT_EQ(scan(m, 0, 1022), DSVM_SCAN_UNPOPULATED);
	put_on_device(m, 1023, 1, 1);
	DSVM_EXPECT_EQ(scan(m, 0, 1023), DSVM_SCAN_MIXED);
}

DSVM_CASE(scan, each_step_fails)
{
	SixteenPages m;
	const u64 outstanding = dsvm_env_outstanding();

	put(m, 0, kA);
	DSVM_EXPECT_EQ(scan(m, 0, 3), DSVM_SCAN_EQUAL);
	m.world.fail(Call::kMmGet, 1, -1);
	DSVM_EXPECT_EQ(scan(m, 0, 3), DSVM_SCAN_UNPOPULATED);
	const int errors[] = {-DSVM_EFAULT, -DSVM_EPERM, -DSVM_ENOMEM, -DSVM_EINTR};
	for (const int error : errors) {
		m.world.fail(Call::kHmmFault, 1, error);
		DSVM_EXPECT_EQ(scan(m, 0, 3), DSVM_SCAN_UNPOPULATED);
	}
	dsvm_env_fail_alloc(1);
	DSVM_EXPECT_EQ(scan(m, 0, 3), DSVM_SCAN_UNPOPULATED);
	// Invalidated once, it looks again; for ever, it gives up.
	m.world.at(Call::kHmmWalked, 1, invalidate_only);
	DSVM_EXPECT_EQ(scan(m, 0, 3), DSVM_SCAN_EQUAL);
	const u64 before = dsvm_os_now_ns();
	m.world.at(Call::kHmmWalked, World::kEvery, invalidate_only);
	DSVM_EXPECT_EQ(scan(m, 0, 3), DSVM_SCAN_UNPOPULATED);
	DSVM_EXPECT(dsvm_os_now_ns() - before < 2 * DSVM_GET_PAGES_BUDGET_NS);
	DSVM_EXPECT_EQ(dsvm_env_outstanding(), outstanding);
	DSVM_EXPECT_EQ(m.world.mm().users, 1u);
}

DSVM_CASE(counters, each_counts_what_it_says)
{
	Mirror m({true, 2, false});
	dsvm_svm_counters &c = m.svm.counters;
	dsvm_range *range = nullptr;
	dsvm_range *other = nullptr;

	m.svm.chunk_sizes = kChunkSizes + 1;
	m.svm.num_chunks = 2;
	m.world.add_vma(m.world.mm(), at_page(0), end_of_page(31));
	DSVM_EXPECT_EQ(m.fault(at_page(700), &range), -DSVM_ENOENT);
	DSVM_EXPECT_EQ(c.faults, 1u);
	// One was made for nothing, and has gone.
	DSVM_EXPECT_EQ(c.windows_made, 1u);
	DSVM_REQUIRE_EQ(m.fault(at_page(0), &range), 0);
	DSVM_REQUIRE_EQ(m.fault(at_page(16), &other), 0);
	DSVM_REQUIRE_EQ(m.fault(at_page(1), &range), 0);
	DSVM_EXPECT_EQ(c.faults, 4u);
	DSVM_EXPECT_EQ(c.windows_made, 2u);
	DSVM_EXPECT_EQ(c.ranges_made, 2u);
	DSVM_EXPECT_EQ(c.lost_races, 0u);
	// Two devices are two collections; nothing to do is none.
	DSVM_EXPECT_EQ(m.get_pages(*range), 0);
	DSVM_EXPECT_EQ(m.get_pages(*range), 0);
	DSVM_EXPECT_EQ(c.collections, 2u);
	DSVM_EXPECT_EQ(c.pages_mapped, 32u);
	DSVM_EXPECT_EQ(c.collection_retries, 0u);
	DSVM_EXPECT_EQ(c.collection_failures, 0u);
	DSVM_EXPECT(c.collection_ns >= 2'000'000);
	const u64 ns = c.collection_ns;
	m.world.fail(Call::kHmmFault, 1, -DSVM_EFAULT);
	DSVM_EXPECT_EQ(m.get_pages(*other), -DSVM_EFAULT);
	DSVM_EXPECT_EQ(c.collections, 3u);
	DSVM_EXPECT_EQ(c.collection_failures, 1u);
	DSVM_EXPECT(c.collection_ns > ns);
	m.world.at(Call::kHmmWalked, 1, [](World &world, void *) {
		world.invalidate(world.mm(), at_page(16), end_of_page(16));
	});
	DSVM_EXPECT_EQ(m.get_pages(*other), 0);
	DSVM_EXPECT_EQ(c.collections, 5u);
	DSVM_EXPECT_EQ(c.collection_retries, 1u);
	DSVM_EXPECT_EQ(c.pages_mapped, 64u);
	DSVM_EXPECT_EQ(c.invalidations, 1u);
	DSVM_EXPECT_EQ(c.ranges_invalidated, 1u);
	m.world.invalidate(m.world.mm(), at_page(15), end_of_page(16));
	m.world.invalidate(m.world.mm(), at_page(40), end_of_page(40));
	DSVM_EXPECT_EQ(c.invalidations, 2u);
	DSVM_EXPECT_EQ(c.ranges_invalidated, 3u);
	// Once in the middle, once at an end.
	m.world.unmap(m.world.mm(), at_page(4), end_of_page(4));
	DSVM_EXPECT_EQ(m.trim(*range), 1);
	DSVM_EXPECT_EQ(c.ranges_split, 1u);
	DSVM_EXPECT_EQ(c.ranges_trimmed, 0u);
	DSVM_EXPECT_EQ(c.ranges_made, 3u);
	m.world.unmap(m.world.mm(), at_page(31), end_of_page(31));
	DSVM_EXPECT_EQ(m.trim(*other), 1);
	DSVM_EXPECT_EQ(c.ranges_split, 1u);
	DSVM_EXPECT_EQ(c.ranges_trimmed, 1u);
	DSVM_EXPECT_EQ(c.ranges_removed, 0u);
	m.remove(*other);
	DSVM_EXPECT_EQ(c.ranges_removed, 1u);
	DSVM_EXPECT(is_sound(m));
}
