// SPDX-License-Identifier: GPL-2.0-only OR MIT
//
// Cases for core/svm: chunk choice, notifiers and ranges.

#include "core/svm/chunk.h"
#include "kunit/case.h"
#include "kunit/cases/mirror_check.h"

using namespace dsvm;
using namespace dsvm::cases;

namespace {

constexpr u64 kMiB = 1024 * 1024;

struct ChunkRow {
	u64 addr;
	VaRange vma;
	VaRange gpuva;
	VaRange expected; // {0, 0}: none fits
};

} // namespace

DSVM_CASE(svm, chunk_choice_table)
{
	constexpr usize sizes[] = {2 * kMiB, 64 * 1024, 4096};
	constexpr VaRange all{0, 1024 * kMiB - 1};
	constexpr ChunkRow table[] = {
		// The largest, aligned around the address.
		{0x200000, all, all, {0x200000, 0x3fffff}},
		{0x2fffff, all, all, {0x200000, 0x3fffff}},
		// It ends a page too late, begins a page too early: the next one.
		{0x201000, {0x200000, 0x3fefff}, all, {0x200000, 0x20ffff}},
		{0x3ff000, {0x201000, 0x3fffff}, all, {0x3f0000, 0x3fffff}},
		{0x201000, {0x201000, 0x3fffff}, all, {0x201000, 0x201fff}},
		// The GPU's bounds count as well.
		{0x210000, all, {0x210000, 0x21ffff}, {0x210000, 0x21ffff}},
		{0x210000, all, {0x210000, 0x210fff}, {0x210000, 0x210fff}},
		{0x210000, all, {0x210000, 0x210ffe}, {0, 0}},
		// One page is all there is.
		{0x5000, {0x5000, 0x5fff}, all, {0x5000, 0x5fff}},
		{0, {0, 0xfff}, all, {0, 0xfff}},
	};

	for (const ChunkRow &row : table) {
		VaRange chunk{0, 0};
		const Status status = choose_chunk(
			sizes, 3, row.addr, ChunkBounds{row.vma, row.gpuva},
			[](VaRange) { return true; }, chunk);

		DSVM_EXPECT(status == (row.expected == VaRange{0, 0} ? kInvalid : Status::ok()));
		DSVM_EXPECT_EQ(chunk.first, row.expected.first);
		DSVM_EXPECT_EQ(chunk.last, row.expected.last);
	}
	// What the caller refuses is passed over; what it is asked about fits the bounds.
	VaRange chosen{0, 0};
	DSVM_REQUIRE(choose_chunk(
			     sizes, 3, 0x200000, ChunkBounds{all, all},
			     [](VaRange chunk) { return chunk.size() <= 4096; }, chosen)
			     .is_ok());
	DSVM_EXPECT_EQ(chosen.size(), 4096u);
	// Nor is the window left.
	const VaRange window{0x210000, 0x21ffff};
	DSVM_REQUIRE(choose_chunk(
			     sizes, 3, 0x210000, ChunkBounds{window, all},
			     [](VaRange) { return true; }, chosen)
			     .is_ok());
	DSVM_EXPECT(chosen == window);
	// Up against the top of the space.
	const VaRange top{kU64Max - (2 * kMiB - 1), kU64Max};
	DSVM_REQUIRE(choose_chunk(
			     sizes, 3, kU64Max, ChunkBounds{top, top}, [](VaRange) { return true; },
			     chosen)
			     .is_ok());
	DSVM_EXPECT(chosen == top);
}

DSVM_CASE(svm, init_checks_parameters)
{
	World world;
	TestLock lock("notifier_lock", to_underlying(LockRank::kNotifier));
	const usize rising[] = {4096, 65536};
	const usize odd[] = {65536, 4097};
	const usize tiny[] = {65536, 2048};
	dsvm_svm good = {};

	good.mm = world.os_mm();
	good.mm_start = kBase;
	good.mm_range = kMiB;
	good.notifier_size = kNotifierBytes;
	good.chunk_sizes = kChunkSizes;
	good.num_chunks = 3;
	good.lock = lock.get();
	dsvm_svm svm = good;
	DSVM_EXPECT_EQ(dsvm_svm_init(&svm), 0);

	svm = good, svm.notifier_size = 3 * kMiB;
	DSVM_EXPECT_EQ(dsvm_svm_init(&svm), -DSVM_EINVAL);
	svm = good, svm.notifier_size = kMiB;
	DSVM_EXPECT_EQ(dsvm_svm_init(&svm), -DSVM_EINVAL);
	svm = good, svm.num_chunks = 0;
	DSVM_EXPECT_EQ(dsvm_svm_init(&svm), -DSVM_EINVAL);
	svm = good, svm.chunk_sizes = rising, svm.num_chunks = 2;
	DSVM_EXPECT_EQ(dsvm_svm_init(&svm), -DSVM_EINVAL);
	svm = good, svm.chunk_sizes = odd, svm.num_chunks = 2;
	DSVM_EXPECT_EQ(dsvm_svm_init(&svm), -DSVM_EINVAL);
	svm = good, svm.chunk_sizes = tiny, svm.num_chunks = 2;
	DSVM_EXPECT_EQ(dsvm_svm_init(&svm), -DSVM_EINVAL);
	svm = good, svm.mm_start = ~usize{0}, svm.mm_range = 2;
	DSVM_EXPECT_EQ(dsvm_svm_init(&svm), -DSVM_EINVAL);
}

DSVM_CASE(svm, find_or_insert_makes_and_finds)
{
	Mirror m;
	dsvm_range *first = nullptr;
	dsvm_range *again = nullptr;
	dsvm_range *far = nullptr;

	m.world.add_vma(m.world.mm(), at_page(0), end_of_page(1023));
	DSVM_REQUIRE_EQ(m.fault(at_page(5), &first), 0);
	DSVM_EXPECT_EQ(m.pages_of(*first), 512u);
	DSVM_EXPECT_EQ(first->node.first, at_page(0));
	DSVM_EXPECT(is_sound(m));
	DSVM_REQUIRE_EQ(m.fault(at_page(511), &again), 0);
	DSVM_EXPECT(again == first);
	DSVM_REQUIRE_EQ(m.fault(at_page(512), &far), 0);
	DSVM_EXPECT(far != first);
	DSVM_EXPECT_EQ(m.notifiers, 2u);
	DSVM_EXPECT_EQ(m.ranges, 2u);
	DSVM_EXPECT(is_sound(m));
	// The last range of a window takes the window along.
	dsvm_svm_range_remove(&m.svm, m.home(*first).notifier, first);
	DSVM_EXPECT_EQ(m.notifiers, 1u);
	DSVM_EXPECT(is_sound(m));
	DSVM_EXPECT(dsvm_svm_notifier_find(&m.svm, at_page(0), end_of_page(511)) == nullptr);
	DSVM_EXPECT(dsvm_svm_notifier_find(&m.svm, at_page(0), end_of_page(512)) ==
		    m.home(*far).notifier);
	DSVM_EXPECT(!dsvm_svm_has_range(&m.svm, at_page(0), end_of_page(511)));
	DSVM_EXPECT(dsvm_svm_has_range(&m.svm, at_page(0), end_of_page(512)));
}

DSVM_CASE(svm, find_or_insert_refuses)
{
	Mirror m;
	dsvm_range *range = nullptr;

	m.world.add_vma(m.world.mm(), at_page(0), end_of_page(15), fake::Writable::No);
	m.world.add_vma(m.world.mm(), at_page(32), end_of_page(47)).special = true;
	DSVM_EXPECT_EQ(m.fault(kBase - 1, &range), -DSVM_EINVAL);
	DSVM_EXPECT_EQ(m.fault(at_page(1024), &range), -DSVM_EINVAL);
	DSVM_EXPECT_EQ(m.fault(at_page(16), &range), -DSVM_ENOENT);
	DSVM_EXPECT_EQ(m.fault(at_page(0), &range, true), -DSVM_EPERM);
	DSVM_EXPECT_EQ(m.fault(at_page(32), &range), -DSVM_EIO);
	m.world.fail(Call::kMmGet, 1, -1);
	DSVM_EXPECT_EQ(m.fault(at_page(0), &range), -DSVM_EFAULT);
	DSVM_EXPECT_EQ(m.notifiers, 0u);
	DSVM_EXPECT_EQ(m.ranges, 0u);
	DSVM_EXPECT(is_sound(m));
	DSVM_EXPECT_EQ(m.fault(at_page(0), &range), 0);
	DSVM_EXPECT_EQ(m.pages_of(*range), 16u);
}

DSVM_CASE(svm, find_or_insert_unwinds_each_failure)
{
	Mirror m;
	dsvm_range *range = nullptr;
	u32 failures = 0;

	m.world.add_vma(m.world.mm(), at_page(0), end_of_page(600));
	for (u64 n = 1;; n++) {
		dsvm_env_fail_alloc(n);
		const int result = m.fault(at_page(0), &range);
		dsvm_env_fail_alloc(0);
		if (result == 0)
			break;
		failures++;
		DSVM_EXPECT_EQ(result, -DSVM_ENOMEM);
		DSVM_EXPECT_EQ(m.notifiers, 0u);
		DSVM_EXPECT_EQ(m.ranges, 0u);
		DSVM_EXPECT_EQ(dsvm_env_outstanding(), 0u);
		DSVM_REQUIRE(is_sound(m));
	}
	DSVM_EXPECT_EQ(failures, 2u);
	// The second range of a window: its failure leaves the window alone.
	dsvm_range *const before = range;
	m.world.fail(Call::kVmaAt, 1, -1);
	DSVM_EXPECT_EQ(m.fault(at_page(560), &range), -DSVM_ENOENT);
	DSVM_EXPECT_EQ(m.notifiers, 1u);
	DSVM_EXPECT_EQ(m.ranges, 1u);
	// The first one is found, whatever has become of the memory.
	m.world.fail(Call::kVmaAt, 1, -1);
	DSVM_EXPECT_EQ(m.fault(at_page(1), &range), 0);
	DSVM_EXPECT(range == before);
	DSVM_EXPECT_EQ(m.fault(at_page(560), &range), -DSVM_ENOENT);
	DSVM_EXPECT(is_sound(m));
}

DSVM_CASE(svm, ranges_do_not_overlap)
{
	Mirror m;
	dsvm_range *small = nullptr;
	dsvm_range *beside = nullptr;

	// The VMA is short when the first range is made, and grows.
	fake::Vma &vma = m.world.add_vma(m.world.mm(), at_page(20), end_of_page(20));
	DSVM_REQUIRE_EQ(m.fault(at_page(20), &small), 0);
	DSVM_EXPECT_EQ(m.pages_of(*small), 1u);
	vma.first = at_page(0);
	vma.last = end_of_page(511);
	DSVM_REQUIRE_EQ(m.fault(at_page(21), &beside), 0);
	DSVM_EXPECT_EQ(m.pages_of(*beside), 1u);
	DSVM_REQUIRE_EQ(m.fault(at_page(40), &beside), 0);
	DSVM_EXPECT_EQ(m.pages_of(*beside), 16u);
	DSVM_EXPECT_EQ(m.ranges, 3u);
	DSVM_EXPECT(is_sound(m));
	DSVM_EXPECT(dsvm_svm_range_find(m.home(*small).notifier, at_page(0), end_of_page(511)) ==
		    small);
}

DSVM_CASE(svm, check_pages_threshold)
{
	Mirror m;
	dsvm_range *range = nullptr;
	dsvm_find_or_insert request = {};

	m.world.add_vma(m.world.mm(), at_page(0), end_of_page(511));
	m.world.populate(m.world.mm(), at_page(0), 16);
	request.fault_addr = at_page(3);
	request.gpuva_first = at_page(0);
	request.gpuva_last = end_of_page(511);
	request.check_pages_threshold = 512 * kPageSize;
	// Only sixteen pages are there: the larger chunk is not taken.
	DSVM_REQUIRE_EQ(dsvm_svm_find_or_insert(&m.svm, &request, &range), 0);
	DSVM_EXPECT_EQ(m.pages_of(*range), 16u);
	dsvm_svm_range_remove(&m.svm, m.home(*range).notifier, range);
	// Above the threshold nobody looks.
	request.check_pages_threshold = 16 * kPageSize;
	DSVM_REQUIRE_EQ(dsvm_svm_find_or_insert(&m.svm, &request, &range), 0);
	DSVM_EXPECT_EQ(m.pages_of(*range), 512u);
}

// Only anonymous memory can be migrated.
DSVM_CASE(svm, migration_is_offered_where_it_can_be)
{
	Mirror m;
	dsvm_range *range = nullptr;
	dsvm_find_or_insert request = {};

	m.world.add_vma(m.world.mm(), at_page(0), end_of_page(15));
	m.world.add_vma(m.world.mm(), at_page(16), end_of_page(31)).anonymous = false;
	request.gpuva_first = at_page(0);
	request.gpuva_last = end_of_page(31);
	request.fault_addr = at_page(0);
	request.devmem_possible = true;
	DSVM_REQUIRE_EQ(dsvm_svm_find_or_insert(&m.svm, &request, &range), 0);
	DSVM_EXPECT_EQ(range->flags, u64{DSVM_RANGE_MIGRATE_DEVMEM});
	request.fault_addr = at_page(16);
	DSVM_REQUIRE_EQ(dsvm_svm_find_or_insert(&m.svm, &request, &range), 0);
	DSVM_EXPECT_EQ(range->flags, 0u);
	dsvm_svm_range_remove(&m.svm, m.home(*range).notifier, range);
	request.fault_addr = at_page(0);
	DSVM_REQUIRE_EQ(dsvm_svm_find_or_insert(&m.svm, &request, &range), 0);
	dsvm_svm_range_remove(&m.svm, m.home(*range).notifier, range);
	request.devmem_possible = false;
	DSVM_REQUIRE_EQ(dsvm_svm_find_or_insert(&m.svm, &request, &range), 0);
	DSVM_EXPECT_EQ(range->flags, 0u);
}

// Whether a span is free says a walk over all windows in it.
DSVM_CASE(svm, has_range_in_a_later_window)
{
	Mirror m;
	dsvm_range *range = nullptr;

	m.world.add_vma(m.world.mm(), at_page(0), end_of_page(1023));
	DSVM_REQUIRE_EQ(m.fault(at_page(512), &range), 0);
	m.svm.chunk_sizes = kChunkSizes + 1;
	m.svm.num_chunks = 2;
	DSVM_REQUIRE_EQ(m.fault(at_page(0), &range), 0);
	DSVM_EXPECT_EQ(m.notifiers, 2u);
	DSVM_EXPECT(!dsvm_svm_has_range(&m.svm, at_page(100), end_of_page(511)));
	DSVM_EXPECT(dsvm_svm_has_range(&m.svm, at_page(100), end_of_page(512)));
}

// The OOM reaper does not wait for a GPU, and comes back.
DSVM_CASE(svm, invalidation_that_must_not_wait)
{
	Mirror m;
	dsvm_range *range = nullptr;
	u32 zaps = 0;
	dsvm_invalidation event = {};

	m.world.add_vma(m.world.mm(), at_page(0), end_of_page(15));
	DSVM_REQUIRE_EQ(m.fault(at_page(0), &range), 0);
	dsvm_os_notifier *const notifier = m.os_notifier(*range);
	const usize seq = dsvm_os_notifier_read_begin(notifier);
	event.first = at_page(0);
	event.last = end_of_page(15);
	event.seq = seq + 2;
	event.start = [](void *arg) {
		++*static_cast<u32 *>(arg);
		return false;
	};
	event.arg = &zaps;
	DSVM_EXPECT_EQ(dsvm_svm_invalidate(&m.svm, m.home(*range).notifier, &event), DSVM_REFUSED);
	DSVM_EXPECT_EQ(zaps, 0u);
	DSVM_EXPECT(!dsvm_os_notifier_read_retry(notifier, seq));
	event.blockable = true;
	DSVM_EXPECT_EQ(dsvm_svm_invalidate(&m.svm, m.home(*range).notifier, &event), DSVM_DONE);
	DSVM_EXPECT_EQ(zaps, 1u);
	DSVM_EXPECT(dsvm_os_notifier_read_retry(notifier, seq));
}

// When the space goes, no invalidation finds a range that is going.
DSVM_CASE(svm, fini_stops_invalidations_first)
{
	Mirror m;
	dsvm_range *range = nullptr;
	const u32 pages[] = {0, 100, 200, 512, 600};

	m.world.add_vma(m.world.mm(), at_page(0), end_of_page(1023));
	m.svm.chunk_sizes = kChunkSizes + 1;
	m.svm.num_chunks = 2;
	for (const u32 page : pages)
		DSVM_REQUIRE_EQ(m.fault(at_page(page), &range), 0);
	m.races_with_range_put = true;
	dsvm_svm_range_remove(&m.svm, m.home(*range).notifier, range);
	const u32 before = m.invalidations;
	DSVM_EXPECT(before > 0);
	dsvm_svm_fini(&m.svm);
	DSVM_EXPECT_EQ(m.ranges, 0u);
	DSVM_EXPECT_EQ(m.invalidations, before);
}

DSVM_CASE(svm, random_ranges_come_and_go)
{
	Mirror m;
	Random random;

	for (u32 i = 0; i < 8; i++)
		m.world.add_vma(m.world.mm(), at_page(i * 128), end_of_page(i * 128 + 100));
	for (u32 step = 0; step < rounds(3000); step++) {
		const u32 page = static_cast<u32>(random.below(1024));
		dsvm_range *range = nullptr;

		if (random.chance(55)) {
			const int result = m.fault(at_page(page), &range);
			DSVM_REQUIRE_EQ(result, page % 128 <= 100 ? 0 : -DSVM_ENOENT);
		} else {
			dsvm_notifier *const notifier =
				dsvm_svm_notifier_find(&m.svm, at_page(page), end_of_page(page));
			if (notifier != nullptr)
				range = dsvm_svm_range_find(notifier, at_page(page),
							    end_of_page(page));
			DSVM_REQUIRE_EQ(
				dsvm_svm_has_range(&m.svm, at_page(page), end_of_page(page)),
				range != nullptr);
			if (range != nullptr)
				dsvm_svm_range_remove(&m.svm, notifier, range);
		}
		DSVM_REQUIRE(is_sound(m));
	}
}

DSVM_CASE(svm, find_vma_start)
{
	Mirror m;

	m.world.add_vma(m.world.mm(), at_page(10), end_of_page(19));
	DSVM_EXPECT_EQ(dsvm_svm_find_vma_start(&m.svm, at_page(0), end_of_page(30)), at_page(10));
	DSVM_EXPECT_EQ(dsvm_svm_find_vma_start(&m.svm, at_page(15), end_of_page(30)), at_page(10));
	DSVM_EXPECT_EQ(dsvm_svm_find_vma_start(&m.svm, at_page(20), end_of_page(30)), ~usize{0});
	m.world.fail(Call::kMmGet, 1, -1);
	DSVM_EXPECT_EQ(dsvm_svm_find_vma_start(&m.svm, at_page(0), end_of_page(30)), ~usize{0});
}

DSVM_CASE(svm, unmapped_flags)
{
	Mirror m;
	dsvm_range *range = nullptr;

	m.world.add_vma(m.world.mm(), at_page(0), end_of_page(15));
	DSVM_REQUIRE_EQ(m.fault(at_page(0), &range), 0);
	dsvm_os_write_lock(m.svm.lock);
	dsvm_svm_range_set_unmapped(&m.svm, range, at_page(0), end_of_page(3));
	DSVM_EXPECT_EQ(range->flags, DSVM_RANGE_UNMAPPED | DSVM_RANGE_PARTIAL_UNMAP);
	// With the rest all has gone, and that stays so, whatever goes again.
	dsvm_svm_range_set_unmapped(&m.svm, range, at_page(0), end_of_page(15));
	DSVM_EXPECT_EQ(range->flags, DSVM_RANGE_UNMAPPED);
	dsvm_svm_range_set_unmapped(&m.svm, range, at_page(0), end_of_page(3));
	DSVM_EXPECT_EQ(range->flags, DSVM_RANGE_UNMAPPED);
	// What it was made with is kept.
	range->flags = DSVM_RANGE_MIGRATE_DEVMEM;
	dsvm_svm_range_set_unmapped(&m.svm, range, at_page(4), end_of_page(15));
	DSVM_EXPECT_EQ(range->flags,
		       DSVM_RANGE_MIGRATE_DEVMEM | DSVM_RANGE_UNMAPPED | DSVM_RANGE_PARTIAL_UNMAP);
	range->flags = 0;
	dsvm_svm_range_set_unmapped(&m.svm, range, at_page(0), end_of_page(100));
	DSVM_EXPECT_EQ(range->flags, DSVM_RANGE_UNMAPPED);
	dsvm_svm_pages_set_unmapped(&m.svm, m.home(*range).pages);
	dsvm_os_write_unlock(m.svm.lock);
	DSVM_EXPECT_EQ(m.get_pages(*range), -DSVM_EFAULT);
}
