// SPDX-License-Identifier: GPL-2.0-only OR MIT
//
// Cases for core/svm: where pages are, with the pages on the move; and bringing them
// back to RAM.

#include "kunit/case.h"
#include "kunit/cases/sixteen.h"

using namespace dsvm;
using namespace dsvm::cases;

namespace {

// Another CPU unmaps all of it: pages are free, and so is what a device's pointed to.
void unmap_all(World &world, void *)
{
	world.unmap(world.mm(), at_page(0), end_of_page(15));
}

} // namespace

DSVM_CASE(residency, evict_and_count)
{
	SixteenPages m;
	dsvm_residency where[2] = {};

	m.world.populate(m.world.mm(), at_page(0), 4);
	put_on_device(m, 8, 3);
	DSVM_EXPECT_EQ(dsvm_svm_residency(m.svm.mm, m.os_notifier(*m.range), &m, at_page(0),
					  end_of_page(15), 8 * kPageSize, where),
		       0);
	DSVM_EXPECT_EQ(where[0].system, 4u);
	DSVM_EXPECT_EQ(where[0].none, 4u);
	DSVM_EXPECT_EQ(where[1].device, 3u);
	DSVM_EXPECT_EQ(where[1].none, 5u);
	DSVM_EXPECT_EQ(dsvm_svm_residency(m.svm.mm, m.os_notifier(*m.range), &m, at_page(0),
					  end_of_page(15), 0, where),
		       -DSVM_EINVAL);

	DSVM_EXPECT_EQ(dsvm_svm_range_evict(&m.svm, m.os_notifier(*m.range), m.range), 0);
	DSVM_EXPECT_EQ(
		m.world.count(m.world.mm(), at_page(0), end_of_page(15), fake::PteKind::kDevice),
		0u);
	for (u32 i = 8; i < 11; i++)
		DSVM_EXPECT_EQ(m.world.read(m.world.mm(), at_page(i)), 1000 + i);
}

// Another driver's device memory: it stays where it is if it is our owner's, and could be
// anywhere if not.
DSVM_CASE(residency, foreign_pages)
{
	SixteenPages m;
	dsvm_residency where = {};
	const bool variants[] = {false, true};

	for (const bool coherent : variants) {
		m.world.unmap(m.world.mm(), at_page(0), end_of_page(15));
		m.world.add_vma(m.world.mm(), at_page(0), end_of_page(15));
		m.world.populate_foreign(m.world.mm(), at_page(2), 4, &m, coherent);
		where = {};
		DSVM_EXPECT_EQ(dsvm_svm_residency(m.svm.mm, m.os_notifier(*m.range), &m, at_page(0),
						  end_of_page(15), 16 * kPageSize, &where),
			       0);
		DSVM_EXPECT_EQ(where.system, 4u);
		DSVM_EXPECT_EQ(where.device, 0u);
		where = {};
		DSVM_EXPECT_EQ(dsvm_svm_residency(m.svm.mm, m.os_notifier(*m.range), nullptr,
						  at_page(0), end_of_page(15), 16 * kPageSize,
						  &where),
			       0);
		DSVM_EXPECT_EQ(where.none, coherent ? 12u : 16u);
	}
}

// A look holds nothing: pages go between its end and what is made of it.
DSVM_CASE(residency, pages_go_while_they_are_counted)
{
	for (u32 n = 1; n <= 16; n++) {
		SixteenPages m;
		dsvm_residency where = {};

		m.world.populate(m.world.mm(), at_page(0), 4);
		put_on_device(m, 8, 3);
		m.world.at(Call::kHmmKind, n, unmap_all);
		DSVM_EXPECT_EQ(dsvm_svm_residency(m.svm.mm, m.os_notifier(*m.range), &m, at_page(0),
						  end_of_page(15), 16 * kPageSize, &where),
			       0);
		DSVM_EXPECT_EQ(where.system, 4u);
		DSVM_EXPECT_EQ(where.device, 3u);
		DSVM_EXPECT_EQ(where.none, 9u);
		DSVM_EXPECT_EQ(m.world.pages_in_use(), 0u);
	}
}

DSVM_CASE(residency, pages_go_while_they_are_checked)
{
	Mirror m;
	dsvm_range *range = nullptr;
	dsvm_find_or_insert request = {};

	m.world.add_vma(m.world.mm(), at_page(0), end_of_page(15));
	m.world.populate(m.world.mm(), at_page(0), 8);
	put_on_device(m, 8, 8);
	request.fault_addr = at_page(3);
	request.gpuva_first = at_page(0);
	request.gpuva_last = end_of_page(15);
	request.check_pages_threshold = 512 * kPageSize;
	request.owner = &m;
	// Reclaim takes a page away, under the mm's lock: nobody unmaps then.
	m.world.at(Call::kHmmKind, 2, [](World &world, void *) {
		world.invalidate(world.mm(), at_page(0), end_of_page(15));
		for (u32 i = 0; i < 16; i++)
			world.clear_pte(world.pte(world.mm(), at_page(i)));
	});
	DSVM_REQUIRE_EQ(dsvm_svm_find_or_insert(&m.svm, &request, &range), 0);
	DSVM_EXPECT_EQ(m.pages_of(*range), 16u);
	DSVM_EXPECT_EQ(m.world.calls(Call::kHmmKind), 16u);
	DSVM_EXPECT_EQ(m.world.pages_in_use(), 0u);
}

// As many batches as an address space may have; somebody kills the caller soon.
DSVM_CASE(residency, large_span_ends_when_killed)
{
	SixteenPages m;
	dsvm_residency where = {};

	m.world.add_vma(m.world.mm(), at_page(16), end_of_page(1023));
	m.world.at(Call::kHmmFault, 1, [](World &, void *) { dsvm_env_set_killed(true); });
	DSVM_EXPECT_EQ(dsvm_svm_residency(m.svm.mm, m.os_notifier(*m.range), &m, at_page(0),
					  end_of_page(1023), 1024 * kPageSize, &where),
		       -DSVM_EINTR);
	DSVM_EXPECT_EQ(m.world.calls(Call::kHmmFault), 1u);
}

// Holes are counted and not walked: the span may be most of an address space.
DSVM_CASE(residency, holes_are_not_walked)
{
	constexpr usize kBlock = 1ul << 40;
	constexpr usize kFirst = kBase & ~(kBlock - 1);
	SixteenPages m;
	dsvm_residency where[3] = {};

	put_on_device(m, 8, 3);
	DSVM_EXPECT_EQ(dsvm_svm_residency(m.svm.mm, m.os_notifier(*m.range), &m, kFirst - kBlock,
					  kFirst + (kBlock + kBlock / 2 - 1), kBlock, where),
		       0);
	DSVM_EXPECT(m.world.calls(Call::kHmmFault) <= 2u);
	DSVM_EXPECT_EQ(where[0].none, static_cast<u32>(kBlock / kPageSize));
	DSVM_EXPECT_EQ(where[1].device, 3u);
	DSVM_EXPECT_EQ(where[1].none + where[1].system + where[1].device,
		       static_cast<u32>(kBlock / kPageSize));
	DSVM_EXPECT_EQ(where[2].none, static_cast<u32>(kBlock / 2 / kPageSize));
}

// A span may begin and end anywhere in a VMA, and in a block.
DSVM_CASE(residency, span_inside_of_a_vma)
{
	SixteenPages m;
	dsvm_residency where[4] = {};

	m.world.populate(m.world.mm(), at_page(0), 16);
	DSVM_EXPECT_EQ(dsvm_svm_residency(m.svm.mm, m.os_notifier(*m.range), &m, at_page(5),
					  end_of_page(11), 3 * kPageSize, where + 1),
		       0);
	DSVM_EXPECT_EQ(where[0].system, 0u);
	DSVM_EXPECT_EQ(where[1].system, 3u);
	DSVM_EXPECT_EQ(where[2].system, 3u);
	DSVM_EXPECT_EQ(where[3].system, 1u);
}

// Others run between two batches.
DSVM_CASE(residency, many_batches_let_others_run)
{
	SixteenPages m;
	dsvm_residency where = {};
	RestWatch watch(m.world);

	// Two batches.
	m.world.add_vma(m.world.mm(), at_page(16), end_of_page(1023));
	m.world.at(
		Call::kHmmWalked, World::kEvery,
		[](World &, void *arg) { static_cast<RestWatch *>(arg)->end_walk(); }, &watch);
	DSVM_EXPECT_EQ(dsvm_svm_residency(m.svm.mm, m.os_notifier(*m.range), &m, at_page(16),
					  end_of_page(1023), 1024 * kPageSize, &where),
		       0);
	DSVM_EXPECT_EQ(m.world.calls(Call::kHmmFault), 2u);
	DSVM_EXPECT_EQ(watch.restless(), 0u);
}

// The budget is for tries that fail. One that works may take longer: a device keeps a page
// for its timeslice.
DSVM_CASE(residency, each_batch_has_its_time)
{
	SixteenPages m;
	dsvm_residency where = {};

	m.world.add_vma(m.world.mm(), at_page(16), end_of_page(1023));
	put_on_device(m, 8, 3);
	m.world.at(Call::kHmmWalked, World::kEvery, [](World &world, void *) {
		DSVM_EXPECT(world.last_collection().timeout_ns > DSVM_GET_PAGES_BUDGET_NS / 2);
		dsvm_env_advance_ns(2 * DSVM_GET_PAGES_BUDGET_NS);
	});
	DSVM_EXPECT_EQ(dsvm_svm_residency(m.svm.mm, m.os_notifier(*m.range), &m, at_page(0),
					  end_of_page(1023), 1024 * kPageSize, &where),
		       0);
	DSVM_EXPECT_EQ(m.world.calls(Call::kHmmFault), 3u);
	DSVM_EXPECT_EQ(where.device, 3u);
	DSVM_EXPECT_EQ(where.none, 1021u);
	m.world.at(Call::kHmmWalked, 2,
		   [](World &, void *) { dsvm_env_advance_ns(2 * DSVM_GET_PAGES_BUDGET_NS); });
	DSVM_EXPECT_EQ(dsvm_svm_range_evict(&m.svm, m.os_notifier(*m.range), m.range), 0);
	DSVM_EXPECT_EQ(
		m.world.count(m.world.mm(), at_page(0), end_of_page(15), fake::PteKind::kDevice),
		0u);
}

DSVM_CASE(residency, each_step_fails)
{
	const int errors[] = {-DSVM_EFAULT, -DSVM_ENOMEM, -DSVM_EINTR};
	SixteenPages m;
	dsvm_residency where = {};

	put_on_device(m, 8, 3);
	const u64 outstanding = dsvm_env_outstanding();
	for (const int error : errors) {
		m.world.fail(Call::kHmmFault, 1, error);
		DSVM_EXPECT_EQ(dsvm_svm_residency(m.svm.mm, m.os_notifier(*m.range), &m, at_page(0),
						  end_of_page(15), 16 * kPageSize, &where),
			       error);
		m.world.fail(Call::kHmmFault, 1, error);
		DSVM_EXPECT_EQ(dsvm_svm_range_evict(&m.svm, m.os_notifier(*m.range), m.range),
			       error);
	}
	dsvm_env_fail_alloc(1);
	DSVM_EXPECT_EQ(dsvm_svm_residency(m.svm.mm, m.os_notifier(*m.range), &m, at_page(0),
					  end_of_page(15), 16 * kPageSize, &where),
		       -DSVM_ENOMEM);
	dsvm_env_fail_alloc(1);
	DSVM_EXPECT_EQ(dsvm_svm_range_evict(&m.svm, m.os_notifier(*m.range), m.range),
		       -DSVM_ENOMEM);
	m.world.fail(Call::kMmGet, 1, -1);
	DSVM_EXPECT_EQ(dsvm_svm_range_evict(&m.svm, m.os_notifier(*m.range), m.range),
		       -DSVM_EFAULT);
	m.world.at(Call::kHmmWalked, World::kEvery, invalidate_only);
	DSVM_EXPECT_EQ(dsvm_svm_range_evict(&m.svm, m.os_notifier(*m.range), m.range), -DSVM_ETIME);
	DSVM_EXPECT_EQ(dsvm_env_outstanding(), outstanding);
	DSVM_EXPECT_EQ(m.world.mm().users, 1u);
}
