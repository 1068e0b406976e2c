// SPDX-License-Identifier: GPL-2.0-only OR MIT
//
// Cases for core/svm: collecting pages, with an invalidation at every point of the
// protocol and every step failed in turn.

#include "kunit/case.h"
#include "kunit/cases/sixteen.h"

using namespace dsvm;
using namespace dsvm::cases;

namespace {

// As the driver's callback notes a munmap().
void set_unmapped(SixteenPages &m)
{
	dsvm_os_write_lock(m.svm.lock);
	dsvm_svm_pages_set_unmapped(&m.svm, m.pages);
	dsvm_os_write_unlock(m.svm.lock);
}

// Invalidates each walk, and looks at how much time it was given.
struct Invalidator {
	u64 ends; // the budget
	RestWatch watch;
	u32 too_long = 0;
};

} // namespace

DSVM_CASE(pages, collect_faults_in_and_maps)
{
	SixteenPages m;

	DSVM_REQUIRE_EQ(m.get_pages(*m.range), 0);
	DSVM_EXPECT(m.maps_what_the_cpu_maps());
	DSVM_EXPECT_EQ(m.world.dma_mappings(), 16u);
	DSVM_EXPECT_EQ(m.pages->dma_addr[0].dir, u64{DSVM_DMA_TO_DEVICE});
	// Nothing to do the second time.
	const u32 walks = m.world.calls(Call::kHmmFault);
	DSVM_EXPECT_EQ(m.get_pages(*m.range), 0);
	DSVM_EXPECT_EQ(m.world.calls(Call::kHmmFault), walks);
	for (u32 i = 0; i < 16; i++)
		DSVM_EXPECT(!m.world.pte(m.world.mm(), at_page(i)).page->dirty);
	// A mapping for reading is not one for writing.
	DSVM_EXPECT_EQ(m.get_pages(*m.range, DSVM_ACCESS_WRITE), 0);
	DSVM_EXPECT_EQ(m.world.calls(Call::kHmmFault), walks + 1);
	DSVM_EXPECT_EQ(m.pages->dma_addr[0].dir, u64{DSVM_DMA_BIDIRECTIONAL});
	DSVM_EXPECT_EQ(m.world.dma_mappings(), 16u);
	for (u32 i = 0; i < 16; i++)
		DSVM_EXPECT(m.world.pte(m.world.mm(), at_page(i)).page->dirty);
}

DSVM_CASE(pages, runs_of_huge_mappings)
{
	SixteenPages m;

	// 8 + 4 + 4 x 1 pages.
	m.world.populate(m.world.mm(), at_page(0), 8, 3);
	m.world.populate(m.world.mm(), at_page(8), 4, 2);
	DSVM_REQUIRE_EQ(m.get_pages(*m.range), 0);
	DSVM_EXPECT_EQ(m.pages->dma_addr[0].order, 3u);
	DSVM_EXPECT_EQ(m.pages->dma_addr[1].order, 2u);
	DSVM_EXPECT_EQ(m.pages->dma_addr[2].order, 0u);
	DSVM_EXPECT_EQ(m.world.calls(Call::kDmaMap), 6u);
	DSVM_EXPECT(m.maps_what_the_cpu_maps());
}

// The CPU maps 32 pages in one go; the range has the first half of them.
DSVM_CASE(pages, runs_end_with_the_span)
{
	SixteenPages m;

	m.world.add_vma(m.world.mm(), at_page(16), end_of_page(31));
	m.world.populate(m.world.mm(), at_page(0), 32, 5);
	DSVM_REQUIRE_EQ(m.get_pages(*m.range), 0);
	DSVM_EXPECT_EQ(m.pages->dma_addr[0].order, 4u);
	DSVM_EXPECT_EQ(m.world.dma_mappings(), 16u);
	DSVM_EXPECT(m.maps_what_the_cpu_maps());
}

DSVM_CASE(pages, invalidation_unmaps)
{
	SixteenPages m;

	DSVM_REQUIRE_EQ(m.get_pages(*m.range), 0);
	const usize seq = m.pages->notifier_seq;
	DSVM_EXPECT(!dsvm_os_notifier_read_retry(m.os_notifier(*m.range), seq));
	m.world.invalidate(m.world.mm(), at_page(15), end_of_page(15));
	DSVM_EXPECT(!dsvm_svm_pages_valid(m.pages));
	DSVM_EXPECT(dsvm_os_notifier_read_retry(m.os_notifier(*m.range), seq));
	DSVM_EXPECT_EQ(m.world.dma_mappings(), 0u);
	replace_page(m.world, nullptr);
	DSVM_REQUIRE_EQ(m.get_pages(*m.range), 0);
	DSVM_EXPECT(m.maps_what_the_cpu_maps());
	DSVM_EXPECT(m.pages->notifier_seq != seq);
}

DSVM_CASE(pages, invalidation_at_each_point)
{
	// kMmPutAsync lies between the walk and the lock, where only the last look can tell.
	const Call points[] = {Call::kNotifierReadBegin, Call::kHmmFault, Call::kHmmWalked,
			       Call::kMmGet, Call::kMmPutAsync};

	for (const Call point : points) {
		for (u32 n = 1; n <= 3; n++) {
			SixteenPages m;

			m.world.at(point, n, replace_page);
			DSVM_REQUIRE_EQ(m.get_pages(*m.range, DSVM_ACCESS_WRITE), 0);
			DSVM_EXPECT(m.maps_what_the_cpu_maps());
			DSVM_EXPECT(!dsvm_os_notifier_read_retry(m.os_notifier(*m.range),
								 m.pages->notifier_seq));
		}
	}
}

// An old mapping vouches for itself as of a sequence that was taken before the look at it, or in
// one go with it.
DSVM_CASE(pages, invalidation_while_an_old_mapping_is_looked_at)
{
	SixteenPages m;
	dsvm_get_pages get = m.request(*m.range);
	dsvm_pages own = {};

	// With a notifier of the driver's own, which finds what the mirror does not know.
	get.window = nullptr;
	DSVM_REQUIRE_EQ(dsvm_svm_get_pages(&own, &get), 0);
	m.world.at(Call::kNotifierReadBegin, 1, [](World &world, void *) {
		world.invalidate(world.mm(), at_page(100), end_of_page(100));
	});
	DSVM_REQUIRE_EQ(dsvm_svm_get_pages(&own, &get), 0);
	DSVM_EXPECT_EQ(get.attempts, 0u);
	DSVM_EXPECT(!dsvm_os_notifier_read_retry(get.notifier, own.notifier_seq));
	// One that takes them comes before the look, or is noticed by it.
	m.world.at(
		Call::kNotifierReadBegin, 1,
		[](World &world, void *arg) {
			auto &pages = *static_cast<dsvm_pages *>(arg);

			dsvm_os_write_lock(pages.lock);
			dsvm_svm_unmap_pages(&pages, world.device(), 16);
			dsvm_os_write_unlock(pages.lock);
			replace_page(world, nullptr);
		},
		&own);
	DSVM_REQUIRE_EQ(dsvm_svm_get_pages(&own, &get), 0);
	DSVM_EXPECT(maps_what_the_cpu_maps(m.world, own, 16));
	dsvm_svm_free_pages(&own, m.world.device(), 16);

	DSVM_REQUIRE_EQ(m.get_pages(*m.range), 0);
	replace_page(m.world, nullptr);
	DSVM_REQUIRE_EQ(m.get_pages(*m.range), 0);
	DSVM_EXPECT(m.maps_what_the_cpu_maps());
	// What has changed elsewhere in the window does not matter to it, and it says so.
	m.world.invalidate(m.world.mm(), at_page(100), end_of_page(100));
	DSVM_REQUIRE_EQ(m.get_pages(*m.range), 0);
	DSVM_EXPECT(!dsvm_os_notifier_read_retry(m.os_notifier(*m.range), m.pages->notifier_seq));
}

DSVM_CASE(pages, retry_under_the_lock)
{
	SixteenPages m;
	dsvm_get_pages get = m.request(*m.range);
	dsvm_pages own = {};

	// The last look, under the lock, finds that an invalidation has come.
	get.window = nullptr;
	m.world.fail(Call::kNotifierReadRetry, 1, -1);
	m.world.at(Call::kNotifierReadRetry, World::kEvery,
		   [](World &, void *) { DSVM_EXPECT(fake::holds_notifier_lock()); });
	DSVM_REQUIRE_EQ(dsvm_svm_get_pages(&own, &get), 0);
	DSVM_EXPECT_EQ(m.world.calls(Call::kHmmFault), 2u);
	DSVM_EXPECT_EQ(m.world.calls(Call::kNotifierReadRetry), 2u);
	DSVM_EXPECT(maps_what_the_cpu_maps(m.world, own, 16));
	dsvm_svm_free_pages(&own, m.world.device(), 16);
}

DSVM_CASE(pages, endless_invalidation_ends)
{
	SixteenPages m;
	Invalidator other{0, RestWatch(m.world)};
	const u64 before = dsvm_os_now_ns();

	other.ends = before + DSVM_GET_PAGES_BUDGET_NS;
	m.world.at(
		Call::kHmmWalked, World::kEvery,
		[](World &world, void *arg) {
			Invalidator &self = *static_cast<Invalidator *>(arg);
			const u64 now = dsvm_os_now_ns();
			const u64 left = now < self.ends ? self.ends - now : 0;

			// A walk has gone by since then.
			if (world.last_collection().timeout_ns >
			    left + DSVM_GET_PAGES_BUDGET_NS / 100)
				self.too_long++;
			invalidate_only(world, nullptr);
			self.watch.end_walk();
		},
		&other);
	DSVM_EXPECT_EQ(m.get_pages(*m.range), -DSVM_EBUSY);
	DSVM_EXPECT(dsvm_os_now_ns() - before < 2 * DSVM_GET_PAGES_BUDGET_NS);
	DSVM_EXPECT(m.world.calls(Call::kHmmFault) > 10);
	DSVM_EXPECT_EQ(other.watch.restless(), 0u);
	DSVM_EXPECT_EQ(other.too_long, 0u);
	DSVM_EXPECT(!dsvm_svm_pages_valid(m.pages));
}

DSVM_CASE(pages, killed_while_retrying)
{
	SixteenPages m;

	m.world.at(Call::kHmmWalked, World::kEvery, [](World &world, void *arg) {
		invalidate_only(world, arg);
		dsvm_env_set_killed(true);
	});
	DSVM_EXPECT_EQ(m.get_pages(*m.range), -DSVM_EINTR);
	DSVM_EXPECT_EQ(m.world.calls(Call::kHmmFault), 1u);
}

DSVM_CASE(pages, each_dma_mapping_fails)
{
	for (u32 n = 1; n <= 16; n++) {
		SixteenPages m;

		m.world.fail(Call::kDmaMap, n, -DSVM_EFAULT);
		DSVM_EXPECT_EQ(m.get_pages(*m.range), -DSVM_EFAULT);
		DSVM_EXPECT_EQ(m.world.dma_mappings(), 0u);
		DSVM_EXPECT(!dsvm_svm_pages_valid(m.pages));
		DSVM_EXPECT_EQ(m.get_pages(*m.range), 0);
		DSVM_EXPECT(m.maps_what_the_cpu_maps());
	}
}

DSVM_CASE(pages, each_allocation_fails)
{
	SixteenPages m;
	u32 failures = 0;

	for (u64 n = 1;; n++) {
		const u64 outstanding = dsvm_env_outstanding();

		dsvm_env_fail_alloc(n);
		const int result = m.get_pages(*m.range);
		dsvm_env_fail_alloc(0);
		if (result == 0)
			break;
		failures++;
		DSVM_EXPECT_EQ(result, -DSVM_ENOMEM);
		DSVM_EXPECT_EQ(dsvm_env_outstanding(), outstanding);
		DSVM_EXPECT_EQ(m.world.dma_mappings(), 0u);
	}
	DSVM_EXPECT(failures > 0);
}

DSVM_CASE(pages, errors_pass_through)
{
	const int errors[] = {-DSVM_EFAULT, -DSVM_EPERM, -DSVM_ENOMEM, -DSVM_EINTR};

	for (const int error : errors) {
		SixteenPages m;

		m.world.fail(Call::kHmmFault, 1, error);
		DSVM_EXPECT_EQ(m.get_pages(*m.range), error);
	}
	SixteenPages m;
	m.world.fail(Call::kMmGet, 1, -1);
	DSVM_EXPECT_EQ(m.get_pages(*m.range), -DSVM_EFAULT);
	m.world.unmap(m.world.mm(), at_page(8), end_of_page(8));
	DSVM_EXPECT_EQ(m.get_pages(*m.range), -DSVM_EFAULT);
}

// What munmap() has taken is not collected any more, whatever is mapped there after it.
DSVM_CASE(pages, unmapped_is_for_good)
{
	SixteenPages m;

	DSVM_REQUIRE_EQ(m.get_pages(*m.range), 0);
	set_unmapped(m);
	DSVM_EXPECT(!dsvm_svm_pages_valid(m.pages));
	DSVM_EXPECT_EQ(m.world.dma_mappings(), 16u);
	DSVM_EXPECT_EQ(m.get_pages(*m.range), -DSVM_EFAULT);
	invalidate_only(m.world, nullptr);
	DSVM_EXPECT_EQ(m.world.dma_mappings(), 0u);
	DSVM_EXPECT_EQ(m.pages->flags, u64{DSVM_PAGES_UNMAPPED});
	const u32 walks = m.world.calls(Call::kHmmFault);
	DSVM_EXPECT_EQ(m.get_pages(*m.range), -DSVM_EFAULT);
	DSVM_EXPECT_EQ(m.world.calls(Call::kHmmFault), walks);
}

DSVM_CASE(pages, unmapped_while_they_are_collected)
{
	SixteenPages m;

	m.world.at(
		Call::kMmPutAsync, 1,
		[](World &world, void *arg) {
			replace_page(world, nullptr);
			set_unmapped(*static_cast<SixteenPages *>(arg));
		},
		&m);
	DSVM_EXPECT_EQ(m.get_pages(*m.range), -DSVM_EFAULT);
	DSVM_EXPECT_EQ(m.world.dma_mappings(), 0u);
}

DSVM_CASE(pages, freed_ones_can_be_had_again)
{
	SixteenPages m;

	m.world.at(Call::kDmaUnmap, World::kEvery,
		   [](World &, void *) { DSVM_EXPECT(fake::holds_notifier_lock()); });
	for (u32 i = 0; i < 3; i++) {
		DSVM_REQUIRE_EQ(m.get_pages(*m.range), 0);
		DSVM_EXPECT(m.maps_what_the_cpu_maps());
		dsvm_svm_free_pages(m.pages, m.world.device(), 16);
		DSVM_EXPECT_EQ(m.world.dma_mappings(), 0u);
		// Once more, as an unwind may.
		dsvm_svm_free_pages(m.pages, m.world.device(), 16);
	}
}

// Once they are mapped nobody looks for their range again, until they may be somebody else's.
DSVM_CASE(pages, mapped_ones_know_their_range)
{
	SixteenPages m;

	DSVM_EXPECT(m.pages->range == nullptr);
	DSVM_REQUIRE_EQ(m.get_pages(*m.range), 0);
	DSVM_EXPECT(m.pages->range == m.range);
	invalidate_only(m.world, nullptr);
	DSVM_EXPECT(m.pages->range == m.range);
	DSVM_REQUIRE_EQ(m.get_pages(*m.range), 0);
	DSVM_EXPECT(m.maps_what_the_cpu_maps());
	dsvm_svm_free_pages(m.pages, m.world.device(), 16);
	DSVM_EXPECT(m.pages->range == nullptr);
}

DSVM_CASE(pages, unreachable_memory_is_refused)
{
	SixteenPages m;

	m.world.pte(m.world.mm(), at_page(9)).kind = fake::PteKind::kOther;
	DSVM_EXPECT_EQ(m.get_pages(*m.range), -DSVM_EOPNOTSUPP);
	DSVM_EXPECT_EQ(m.world.dma_mappings(), 0u);
	m.world.pte(m.world.mm(), at_page(9)).kind = fake::PteKind::kNone;
}

namespace {

// RAM and device memory, or that of two allocations: refused, and nothing is left, unless the request
// allows it. Returns that request.
dsvm_get_pages expect_only_mixed(SixteenPages &m)
{
	DSVM_EXPECT_EQ(m.get_pages(*m.range), -DSVM_EOPNOTSUPP);
	DSVM_EXPECT_EQ(m.world.dma_mappings(), 0u);
	DSVM_EXPECT_EQ(m.world.provider_refs(), 1u);
	dsvm_get_pages mixed = m.request(*m.range);
	mixed.allow_mixed = true;
	DSVM_EXPECT_EQ(dsvm_svm_get_pages(m.pages, &mixed), 0);
	DSVM_EXPECT(m.maps_what_the_cpu_maps());
	return mixed;
}

} // namespace

// RAM before them, or memory of another allocation.
DSVM_CASE(pages, device_pages_are_alone_unless_mixed)
{
	const bool rows[] = {true, false};

	for (const bool is_ram : rows) {
		SixteenPages m;

		if (!is_ram)
			put_on_device(m, 0, 8);
		put_on_device(m, 8, 8);
		static_cast<void>(expect_only_mixed(m));
	}
}

DSVM_CASE(pages, device_pages_map_through_their_provider)
{
	SixteenPages m;

	put_on_device(m, 0, 16);
	DSVM_REQUIRE_EQ(m.get_pages(*m.range), 0);
	DSVM_EXPECT_EQ(m.pages->flags & DSVM_PAGES_DEVMEM, DSVM_PAGES_DEVMEM);
	DSVM_EXPECT_EQ(m.world.provider_refs(), 2u);
	DSVM_EXPECT_EQ(m.world.calls(Call::kProviderMap), 16u);
	DSVM_EXPECT_EQ(m.world.calls(Call::kDmaMap), 0u);
	// The provider may go with the last reference.
	m.world.at(Call::kProviderUnmap, World::kEvery,
		   [](World &world, void *) { DSVM_EXPECT_EQ(world.provider_refs(), 2u); });
	invalidate_only(m.world, nullptr);
	DSVM_EXPECT_EQ(m.world.provider_refs(), 1u);
	DSVM_EXPECT_EQ(m.world.dma_mappings(), 0u);
	DSVM_EXPECT_EQ(m.pages->flags & DSVM_PAGES_DEVMEM, 0u);
	DSVM_EXPECT(m.pages->provider == nullptr);

	// Each mapping failed in turn: neither mappings nor the provider stay referenced.
	for (u32 n = 1; n <= 16; n++) {
		m.world.fail(Call::kProviderMap, n, -DSVM_EFAULT);
		DSVM_EXPECT_EQ(m.get_pages(*m.range), -DSVM_EFAULT);
		DSVM_EXPECT_EQ(m.world.provider_refs(), 1u);
		DSVM_EXPECT_EQ(m.world.dma_mappings(), 0u);
	}

	// RAM among device pages, where the request forbids it and where not.
	fake::Pte &pte = m.world.pte(m.world.mm(), at_page(4));
	m.world.clear_pte(pte);
	dsvm_get_pages mixed = expect_only_mixed(m);
	DSVM_EXPECT_EQ(m.world.provider_refs(), 2u);
	invalidate_only(m.world, nullptr);

	// RAM where only device memory will do.
	mixed.devmem_only = true;
	DSVM_EXPECT_EQ(dsvm_svm_get_pages(m.pages, &mixed), -DSVM_EFAULT);
	DSVM_EXPECT_EQ(m.world.provider_refs(), 1u);
}

DSVM_CASE(pages, random_invalidations)
{
	SixteenPages m;
	Random random;

	for (u32 step = 0; step < rounds(2000); step++) {
		const u32 page = static_cast<u32>(random.below(16));

		switch (random.below(4)) {
		case 0:
			m.world.invalidate(m.world.mm(), at_page(page), end_of_page(page));
			break;
		case 1:
			replace_page(m.world, nullptr);
			break;
		case 2:
			m.world.at(Call::kHmmWalked, 1 + static_cast<u32>(random.below(3)),
				   replace_page);
			break;
		default:
			DSVM_REQUIRE_EQ(m.get_pages(*m.range, random.chance(50)
								      ? DSVM_ACCESS_WRITE
								      : DSVM_ACCESS_READ_ONLY),
					0);
			DSVM_REQUIRE(m.maps_what_the_cpu_maps());
		}
	}
}
