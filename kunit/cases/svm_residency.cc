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
	DSVM_EXPECT_EQ(dsvm_svm_residency(m.svm.mm, m.os_notifier(*m.range), &m, m.world.pagemap(),
					  at_page(0), end_of_page(15), 8 * kPageSize, where),
		       0);
	DSVM_EXPECT_EQ(where[0].system, 4u);
	DSVM_EXPECT_EQ(where[0].none, 4u);
	DSVM_EXPECT_EQ(where[1].device, 3u);
	DSVM_EXPECT_EQ(where[1].none, 5u);
	DSVM_EXPECT_EQ(dsvm_svm_residency(m.svm.mm, m.os_notifier(*m.range), &m, m.world.pagemap(),
					  at_page(0), end_of_page(15), 0, where),
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
		DSVM_EXPECT_EQ(dsvm_svm_residency(m.svm.mm, m.os_notifier(*m.range), &m,
						  m.world.pagemap(), at_page(0), end_of_page(15),
						  16 * kPageSize, &where),
			       0);
		DSVM_EXPECT_EQ(where.system, 4u);
		DSVM_EXPECT_EQ(where.device, 0u);
		where = {};
		DSVM_EXPECT_EQ(dsvm_svm_residency(m.svm.mm, m.os_notifier(*m.range), nullptr,
						  m.world.pagemap(), at_page(0), end_of_page(15),
						  16 * kPageSize, &where),
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
		DSVM_EXPECT_EQ(dsvm_svm_residency(m.svm.mm, m.os_notifier(*m.range), &m,
						  m.world.pagemap(), at_page(0), end_of_page(15),
						  16 * kPageSize, &where),
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
	DSVM_EXPECT_EQ(dsvm_svm_residency(m.svm.mm, m.os_notifier(*m.range), &m, m.world.pagemap(),
					  at_page(0), end_of_page(1023), 1024 * kPageSize, &where),
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
	DSVM_EXPECT_EQ(dsvm_svm_residency(m.svm.mm, m.os_notifier(*m.range), &m, m.world.pagemap(),
					  kFirst - kBlock, kFirst + (kBlock + kBlock / 2 - 1),
					  kBlock, where),
		       0);
	DSVM_EXPECT(m.world.calls(Call::kHmmFault) <= 2u);
	DSVM_EXPECT_EQ(where[0].none, static_cast<u32>(kBlock / kPageSize));
	DSVM_EXPECT_EQ(where[1].device, 3u);
	DSVM_EXPECT_EQ(where[1].none + where[1].system + where[1].device + where[1].peer,
		       static_cast<u32>(kBlock / kPageSize));
	DSVM_EXPECT_EQ(where[2].none, static_cast<u32>(kBlock / 2 / kPageSize));
}

// A span may begin and end anywhere in a VMA, and in a block.
DSVM_CASE(residency, span_inside_of_a_vma)
{
	SixteenPages m;
	dsvm_residency where[4] = {};

	m.world.populate(m.world.mm(), at_page(0), 16);
	DSVM_EXPECT_EQ(dsvm_svm_residency(m.svm.mm, m.os_notifier(*m.range), &m, m.world.pagemap(),
					  at_page(5), end_of_page(11), 3 * kPageSize, where + 1),
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
	const u64 before = dsvm_env_rescheds();

	// Two batches.
	m.world.add_vma(m.world.mm(), at_page(16), end_of_page(1023));
	DSVM_EXPECT_EQ(dsvm_svm_residency(m.svm.mm, m.os_notifier(*m.range), &m, m.world.pagemap(),
					  at_page(16), end_of_page(1023), 1024 * kPageSize, &where),
		       0);
	DSVM_EXPECT_EQ(m.world.calls(Call::kHmmFault), 2u);
	DSVM_EXPECT_EQ(dsvm_env_rescheds() - before, 1u);
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
	DSVM_EXPECT_EQ(dsvm_svm_residency(m.svm.mm, m.os_notifier(*m.range), &m, m.world.pagemap(),
					  at_page(0), end_of_page(1023), 1024 * kPageSize, &where),
		       0);
	DSVM_EXPECT_EQ(m.world.calls(Call::kHmmFault), 3u);
	DSVM_EXPECT_EQ(where.device, 3u);
	DSVM_EXPECT_EQ(where.none, 1021u);
	// What others have taken is nothing to a try that has to be made again.
	const u32 before = m.world.calls(Call::kHmmFault);
	m.world.fail(Call::kHmmFault, 3, -DSVM_EBUSY);
	DSVM_EXPECT_EQ(dsvm_svm_residency(m.svm.mm, m.os_notifier(*m.range), &m, m.world.pagemap(),
					  at_page(0), end_of_page(1023), 1024 * kPageSize, &where),
		       0);
	DSVM_EXPECT_EQ(m.world.calls(Call::kHmmFault), before + 4);
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
		DSVM_EXPECT_EQ(dsvm_svm_residency(m.svm.mm, m.os_notifier(*m.range), &m,
						  m.world.pagemap(), at_page(0), end_of_page(15),
						  16 * kPageSize, &where),
			       error);
		m.world.fail(Call::kHmmFault, 1, error);
		DSVM_EXPECT_EQ(dsvm_svm_range_evict(&m.svm, m.os_notifier(*m.range), m.range),
			       error);
	}
	dsvm_env_fail_alloc(1);
	DSVM_EXPECT_EQ(dsvm_svm_residency(m.svm.mm, m.os_notifier(*m.range), &m, m.world.pagemap(),
					  at_page(0), end_of_page(15), 16 * kPageSize, &where),
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

// Device memory is ours or a peer's, as seen from one of them, or from none.
DSVM_CASE(residency, peers)
{
	SixteenPages m;
	dsvm_residency where = {};
	struct Row {
		const void *pagemap;
		u32 device;
		u32 peer;
	};
	const Row rows[] = {
		{m.world.pagemap(0), 3, 2},
		{m.world.pagemap(1), 2, 3},
		{nullptr, 0, 5},
	};

	put_on_device(m, 2, 3, 0);
	put_on_device(m, 8, 2, 1);
	for (const Row &row : rows) {
		where = {};
		DSVM_EXPECT_EQ(dsvm_svm_residency(m.svm.mm, m.os_notifier(*m.range), &m,
						  row.pagemap, at_page(0), end_of_page(15),
						  16 * kPageSize, &where),
			       0);
		DSVM_EXPECT_EQ(where.device, row.device);
		DSVM_EXPECT_EQ(where.peer, row.peer);
		DSVM_EXPECT_EQ(where.none, 11u);
	}
}

namespace {

// What a walk has told, as far as there is room: a VMA is a run of no pages.
struct Told {
	static constexpr u32 kRoom = 9;

	[[nodiscard]] bool is(u32 index, const dsvm_residency_run &run) const
	{
		const dsvm_residency_run &seen = runs[index];

		return seen.first == run.first && seen.npages == run.npages &&
		       seen.kind == run.kind && seen.pagemap == run.pagemap &&
		       seen.order == run.order;
	}

	dsvm_residency_run runs[kRoom] = {};
	u32 count = 0;
	u32 enough = kRoom; // so many, and no more
	u32 checks = 0;
};

dsvm_bool tell(void *ctx, const dsvm_residency_run *run)
{
	Told &told = *static_cast<Told *>(ctx);

	DSVM_EXPECT(told.count < told.enough);
	if (told.count < told.enough)
		told.runs[told.count++] = *run;
	return told.count < told.enough;
}

dsvm_bool tell_vma(void *ctx, const dsvm_vma_info *vma)
{
	dsvm_residency_run run = {};

	run.first = vma->first;
	return tell(ctx, &run);
}

int walk(SixteenPages &m, Told &told, usize first, usize last)
{
	const dsvm_residency_visitor visitor = {&told, tell_vma, tell};

	told.count = 0;
	return dsvm_svm_walk_residency(m.svm.mm, m.os_notifier(*m.range), first, last, &visitor);
}

constexpr usize kSpaceLast = kPageMask - 1;

dsvm_residency_run run_of(u32 page, usize npages, dsvm_page_kind kind,
			  const void *pagemap = nullptr, u32 order = 0)
{
	return {at_page(page), npages, kind, pagemap, order};
}

} // namespace

// All of an address space, with the memory of two owners, and with runs over the bounds of what is
// looked at in one go.
DSVM_CASE(residency, walk)
{
	SixteenPages m;
	char stranger;
	Told told;

	m.world.add_vma(m.world.mm(), at_page(20), end_of_page(1023));
	m.world.populate(m.world.mm(), at_page(0), 4);
	put_on_device(m, 4, 3, 0);
	put_on_device(m, 7, 2, 1, &stranger);
	m.world.populate(m.world.mm(), at_page(1022), 2);
	DSVM_REQUIRE_EQ(walk(m, told, 0, kSpaceLast), 0);
	DSVM_REQUIRE_EQ(told.count, 8u);
	DSVM_EXPECT(told.is(0, run_of(0, 0, DSVM_PAGE_NONE)));
	DSVM_EXPECT(told.is(1, run_of(0, 4, DSVM_PAGE_SYSTEM)));
	DSVM_EXPECT(told.is(2, run_of(4, 3, DSVM_PAGE_DEVICE, m.world.pagemap(0))));
	DSVM_EXPECT(told.is(3, run_of(7, 2, DSVM_PAGE_DEVICE, m.world.pagemap(1))));
	DSVM_EXPECT(told.is(4, run_of(9, 7, DSVM_PAGE_NONE)));
	DSVM_EXPECT(told.is(5, run_of(20, 0, DSVM_PAGE_NONE)));
	DSVM_EXPECT(told.is(6, run_of(20, 1002, DSVM_PAGE_NONE)));
	DSVM_EXPECT(told.is(7, run_of(1022, 2, DSVM_PAGE_SYSTEM)));
}

DSVM_CASE(residency, walk_of_a_part)
{
	SixteenPages m;
	Told told;

	m.world.populate(m.world.mm(), at_page(0), 16);
	DSVM_REQUIRE_EQ(walk(m, told, at_page(5), end_of_page(11)), 0);
	DSVM_REQUIRE_EQ(told.count, 2u);
	DSVM_EXPECT(told.is(0, run_of(0, 0, DSVM_PAGE_NONE)));
	DSVM_EXPECT(told.is(1, run_of(5, 7, DSVM_PAGE_SYSTEM)));
	DSVM_EXPECT_EQ(walk(m, told, at_page(5) + 1, end_of_page(11)), -DSVM_EINVAL);
	DSVM_EXPECT_EQ(walk(m, told, at_page(5), at_page(5) - 1), -DSVM_EINVAL);
	DSVM_EXPECT_EQ(told.count, 0u);
}

DSVM_CASE(residency, walk_of_order)
{
	SixteenPages m;
	Told told;

	m.world.populate(m.world.mm(), at_page(0), 8, 2);
	m.world.populate(m.world.mm(), at_page(8), 8);
	DSVM_REQUIRE_EQ(walk(m, told, 0, kSpaceLast), 0);
	DSVM_REQUIRE_EQ(told.count, 3u);
	DSVM_EXPECT(told.is(1, run_of(0, 8, DSVM_PAGE_SYSTEM, nullptr, 2)));
	DSVM_EXPECT(told.is(2, run_of(8, 8, DSVM_PAGE_SYSTEM)));
}

// The visitor has had enough, the caller is killed, page tables change too fast, memory is short.
DSVM_CASE(residency, walk_that_ends_early)
{
	SixteenPages m;
	Told told;

	m.world.add_vma(m.world.mm(), at_page(16), end_of_page(1023));
	m.world.populate(m.world.mm(), at_page(0), 4);
	const u64 outstanding = dsvm_env_outstanding();
	for (told.enough = 1; told.enough <= 3; told.enough++) {
		const u32 looks = m.world.calls(Call::kHmmFault);

		DSVM_EXPECT_EQ(walk(m, told, 0, kSpaceLast), 0);
		DSVM_EXPECT_EQ(told.count, told.enough);
		DSVM_EXPECT(m.world.calls(Call::kHmmFault) - looks <= 2u);
	}
	told.enough = Told::kRoom;
	m.world.at(Call::kHmmFault, 1, [](World &, void *) { dsvm_env_set_killed(true); });
	DSVM_EXPECT_EQ(walk(m, told, 0, kSpaceLast), -DSVM_EINTR);
	DSVM_EXPECT_EQ(told.count, 3u);
	dsvm_env_set_killed(false);
	m.world.fail(Call::kHmmFault, 1, -DSVM_EBUSY);
	DSVM_EXPECT_EQ(walk(m, told, 0, kSpaceLast), -DSVM_EBUSY);
	m.world.fail(Call::kMmGet, 1, -1);
	DSVM_EXPECT_EQ(walk(m, told, 0, kSpaceLast), -DSVM_EFAULT);
	for (u32 i = 1; i <= 2; i++) {
		dsvm_env_fail_alloc(i);
		DSVM_EXPECT_EQ(walk(m, told, 0, kSpaceLast), -DSVM_ENOMEM);
	}
	DSVM_EXPECT_EQ(dsvm_env_outstanding(), outstanding);
	DSVM_EXPECT_EQ(m.world.mm().users, 1u);
}
