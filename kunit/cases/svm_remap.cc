// SPDX-License-Identifier: GPL-2.0-only OR MIT
//
// Cases for core/svm: pages that are mapped once more, differently; and what a device
// cannot have at all.

#include "kunit/case.h"
#include "kunit/cases/sixteen.h"

using namespace dsvm;
using namespace dsvm::cases;

namespace {

// Sixteen pages mapped for reading.
class ReadMapped : public SixteenPages {
public:
	ReadMapped()
	{
		DSVM_EXPECT_EQ(get_pages(*range), 0);
		addrs_ = pages->dma_addr;
		outstanding_ = dsvm_env_outstanding();
	}

	// Whether the mapping is the one it was, and nothing else is there.
	[[nodiscard]] bool is_as_it_was()
	{
		return pages->dma_addr == addrs_ && maps_what_the_cpu_maps() &&
		       addrs_[0].dir == DSVM_DMA_TO_DEVICE && world.dma_mappings() == 16 &&
		       dsvm_env_outstanding() == outstanding_;
	}
	// Whether one for writing has taken its place.
	[[nodiscard]] bool is_upgraded()
	{
		return maps_what_the_cpu_maps() &&
		       pages->dma_addr[0].dir == DSVM_DMA_BIDIRECTIONAL &&
		       world.dma_mappings() == 16 && dsvm_env_outstanding() == outstanding_;
	}

private:
	const dsvm_dma_addr *addrs_;
	u64 outstanding_;
};

// 512 pages that the CPU maps in one go.
class HugePage : public Mirror {
public:
	HugePage()
	{
		world.add_vma(world.mm(), at_page(0), end_of_page(511));
		world.populate(world.mm(), at_page(0), 512, 9);
		DSVM_EXPECT_EQ(fault(at_page(0), &range), 0);
		DSVM_EXPECT_EQ(pages_of(*range), 512u);
		pages = home(*range).pages;
	}

	// How many entries the mapping has.
	[[nodiscard]] u32 entries() const
	{
		u32 count = 0;

		for (u32 done = 0; done < 512; count++)
			done += 1u << pages->dma_addr[count].order;
		return count;
	}

	dsvm_range *range = nullptr;
	dsvm_pages *pages = nullptr;
};

// The CPU maps the pages one by one from here on.
void split_entries(World &world)
{
	for (u32 i = 0; i < 512; i++)
		world.pte(world.mm(), at_page(i)).order = 0;
}

} // namespace

DSVM_CASE(remap, failed_upgrade_keeps_the_old)
{
	ReadMapped m;
	const int errors[] = {-DSVM_EFAULT, -DSVM_EPERM, -DSVM_ENOMEM, -DSVM_EINTR};
	u32 failures = 0;

	for (const int error : errors) {
		m.world.fail(Call::kHmmFault, 1, error);
		DSVM_EXPECT_EQ(m.get_pages(*m.range, DSVM_ACCESS_WRITE), error);
		DSVM_REQUIRE(m.is_as_it_was());
	}
	for (u32 n = 1; n <= 16; n++) {
		m.world.fail(Call::kDmaMap, n, -DSVM_EFAULT);
		DSVM_EXPECT_EQ(m.get_pages(*m.range, DSVM_ACCESS_WRITE), -DSVM_EFAULT);
		DSVM_REQUIRE(m.is_as_it_was());
	}
	m.world.fail(Call::kMmGet, 1, -1);
	DSVM_EXPECT_EQ(m.get_pages(*m.range, DSVM_ACCESS_WRITE), -DSVM_EFAULT);
	DSVM_REQUIRE(m.is_as_it_was());
	m.world.set_needs_sync(true);
	DSVM_EXPECT_EQ(m.get_pages(*m.range, DSVM_ACCESS_WRITE), -DSVM_EOPNOTSUPP);
	DSVM_REQUIRE(m.is_as_it_was());
	m.world.set_needs_sync(false);
	for (u64 n = 1;; n++) {
		dsvm_env_fail_alloc(n);
		const int result = m.get_pages(*m.range, DSVM_ACCESS_WRITE);
		dsvm_env_fail_alloc(0);
		if (result == 0)
			break;
		failures++;
		DSVM_EXPECT_EQ(result, -DSVM_ENOMEM);
		DSVM_REQUIRE(m.is_as_it_was());
	}
	DSVM_EXPECT_EQ(failures, 1u);
	DSVM_EXPECT(m.is_upgraded());
}

// Whoever looks at any time finds a whole mapping.
DSVM_CASE(remap, upgrade_replaces_at_once)
{
	const Call points[] = {Call::kMmGet,	  Call::kHmmFault,	    Call::kHmmWalked,
			       Call::kMmPutAsync, Call::kNotifierReadBegin, Call::kDmaMap};
	ReadMapped m;

	for (const Call point : points) {
		m.world.at(
			point, World::kEvery,
			[](World &world, void *arg) {
				ReadMapped &mapped = *static_cast<ReadMapped *>(arg);

				DSVM_EXPECT(mapped.maps_what_the_cpu_maps());
				DSVM_EXPECT(world.dma_mappings() >= 16);
			},
			&m);
	}
	// The first of the old ones goes when all of the new ones are there.
	m.world.at(Call::kDmaUnmap, 1, [](World &world, void *) {
		DSVM_EXPECT_EQ(world.calls(Call::kDmaMap), 32u);
		DSVM_EXPECT(fake::holds_notifier_lock());
	});
	DSVM_EXPECT_EQ(m.get_pages(*m.range, DSVM_ACCESS_WRITE), 0);
	DSVM_EXPECT_EQ(m.world.calls(Call::kDmaUnmap), 16u);
	DSVM_EXPECT(m.is_upgraded());
	// One for writing will do for reading.
	DSVM_EXPECT_EQ(m.get_pages(*m.range), 0);
	DSVM_EXPECT_EQ(m.world.calls(Call::kDmaMap), 32u);
	DSVM_EXPECT(m.is_upgraded());
}

DSVM_CASE(remap, upgrade_meets_invalidations)
{
	const Call points[] = {Call::kNotifierReadBegin, Call::kMmGet, Call::kHmmFault,
			       Call::kHmmWalked, Call::kMmPutAsync};

	for (const Call point : points) {
		for (u32 n = 1; n <= 2; n++) {
			ReadMapped m;

			m.world.at(point, n, replace_page);
			DSVM_REQUIRE_EQ(m.get_pages(*m.range, DSVM_ACCESS_WRITE), 0);
			DSVM_EXPECT(m.maps_what_the_cpu_maps());
			// A hook that has not run yet must not run in the destructor.
			m.world.at(point, 1, nullptr);
			DSVM_EXPECT_EQ(m.world.dma_mappings(), 16u);
			DSVM_EXPECT_EQ(m.pages->dma_addr[0].dir, u64{DSVM_DMA_BIDIRECTIONAL});
		}
	}
	// Invalidated, and then refused: nothing is mapped, and it can be had again.
	ReadMapped m;
	m.world.at(Call::kHmmFault, 1, invalidate_only);
	m.world.fail(Call::kHmmFault, 1, -DSVM_EFAULT);
	DSVM_EXPECT_EQ(m.get_pages(*m.range, DSVM_ACCESS_WRITE), -DSVM_EFAULT);
	DSVM_EXPECT(!dsvm_svm_pages_valid(m.pages));
	DSVM_EXPECT_EQ(m.world.dma_mappings(), 0u);
	DSVM_EXPECT_EQ(m.get_pages(*m.range), 0);
	DSVM_EXPECT(m.is_as_it_was() || m.maps_what_the_cpu_maps());
}

// The pages behind a mapping for reading are another process's too.
DSVM_CASE(remap, upgrade_copies_on_write)
{
	ReadMapped m;

	for (u32 i = 0; i < 16; i++)
		m.world.pte(m.world.mm(), at_page(i)).page->content = at_page(i);
	m.world.share(m.world.mm(0), m.world.mm(1));
	DSVM_EXPECT_EQ(m.get_pages(*m.range, DSVM_ACCESS_WRITE), 0);
	DSVM_EXPECT(m.is_upgraded());
	for (u32 i = 0; i < 16; i++) {
		DSVM_EXPECT(m.world.pte(m.world.mm(0), at_page(i)).page !=
			    m.world.pte(m.world.mm(1), at_page(i)).page);
		DSVM_EXPECT_EQ(m.world.read(m.world.mm(0), at_page(i)), at_page(i));
	}
}

// The same on a device, whose pages the kernel gives as they are: they come to RAM, and
// the other process keeps its own.
DSVM_CASE(remap, shared_device_pages_are_copied)
{
	SixteenPages m;

	put_on_device(m, 0, 16);
	m.world.share(m.world.mm(0), m.world.mm(1));
	DSVM_EXPECT_EQ(m.get_pages(*m.range), 0);
	DSVM_EXPECT_EQ(m.world.calls(Call::kProviderMap), 16u);
	DSVM_EXPECT_EQ(m.world.provider_refs(), 2u);
	DSVM_EXPECT_EQ(m.get_pages(*m.range, DSVM_ACCESS_WRITE), 0);
	DSVM_EXPECT(m.maps_what_the_cpu_maps());
	DSVM_EXPECT_EQ(m.world.dma_mappings(), 16u);
	DSVM_EXPECT_EQ(m.world.provider_refs(), 1u);
	DSVM_EXPECT_EQ(m.world.calls(Call::kProviderUnmap), m.world.calls(Call::kProviderMap));
	for (u32 i = 0; i < 16; i++) {
		DSVM_EXPECT(m.world.pte(m.world.mm(0), at_page(i)).kind == fake::PteKind::kPresent);
		DSVM_EXPECT(m.world.pte(m.world.mm(1), at_page(i)).kind == fake::PteKind::kDevice);
		DSVM_EXPECT_EQ(m.world.read(m.world.mm(0), at_page(i)), 1000 + i);
		DSVM_EXPECT_EQ(m.world.read(m.world.mm(1), at_page(i)), 1000 + i);
	}
}

// One object for spans of several sizes, one after the other, as a userptr is.
DSVM_CASE(remap, another_span_after_an_invalidation)
{
	SixteenPages m;
	const u32 sizes[] = {2, 16, 1, 8, 16, 4};
	const u64 outstanding = dsvm_env_outstanding();
	dsvm_pages own = {};
	u32 last = 0;

	for (const u32 size : sizes) {
		dsvm_get_pages get = m.request(*m.range);

		get.last = end_of_page(size - 1);
		DSVM_REQUIRE_EQ(dsvm_svm_get_pages(&own, &get), 0);
		DSVM_EXPECT(maps_what_the_cpu_maps(m.world, own, size));
		DSVM_EXPECT_EQ(m.world.dma_mappings(), size);
		// A single entry takes no memory, and gives back what there was.
		DSVM_EXPECT_EQ(dsvm_env_outstanding(), outstanding + (size > 1 ? 1 : 0));
		dsvm_os_write_lock(m.svm.lock);
		dsvm_svm_unmap_pages(&own, m.world.device(), size);
		dsvm_os_write_unlock(m.svm.lock);
		DSVM_EXPECT_EQ(m.world.dma_mappings(), 0u);
		last = size;
	}
	dsvm_svm_free_pages(&own, m.world.device(), last);
	DSVM_EXPECT_EQ(dsvm_env_outstanding(), outstanding);
}

DSVM_CASE(remap, too_large_for_dma)
{
	{
		HugePage m;

		DSVM_REQUIRE_EQ(m.get_pages(*m.range), 0);
		DSVM_EXPECT_EQ(m.entries(), 1u);
		DSVM_EXPECT(maps_what_the_cpu_maps(m.world, *m.pages, 512));
	}
	const u32 limits[] = {0, 3, 8};
	for (const u32 limit : limits) {
		HugePage m;

		m.world.set_max_dma_order(limit);
		DSVM_REQUIRE_EQ(m.get_pages(*m.range), 0);
		DSVM_EXPECT(maps_what_the_cpu_maps(m.world, *m.pages, 512));
		DSVM_EXPECT_EQ(m.world.dma_mappings(), 512u);
		DSVM_EXPECT(limit > 0 || m.entries() == 512);
		m.world.invalidate(m.world.mm(), at_page(5), end_of_page(5));
		DSVM_EXPECT_EQ(m.world.dma_mappings(), 0u);
	}
	// Not even a page.
	HugePage m;
	m.world.fail(Call::kDmaMap, World::kEvery, -DSVM_EFAULT);
	DSVM_EXPECT_EQ(m.get_pages(*m.range), -DSVM_EFAULT);
	// Once for one entry, once more with room for one of each page, and a page alone.
	DSVM_EXPECT_EQ(m.world.calls(Call::kDmaMap), 3u);
	m.world.fail(Call::kDmaMap, 0, 0);
	// Half of it, in runs, and then no more.
	m.world.set_max_dma_order(2);
	m.world.fail(Call::kDmaMap, 200, -DSVM_EFAULT);
	static_cast<void>(m.get_pages(*m.range));
	DSVM_EXPECT(m.world.dma_mappings() == 0 || m.world.dma_mappings() == 512);
	DSVM_EXPECT(dsvm_svm_pages_valid(m.pages) == (m.world.dma_mappings() != 0));
}

// The first page says enough of all, and takes no memory.
DSVM_CASE(remap, one_look_at_a_huge_page)
{
	HugePage m;
	dsvm_get_pages get = m.request(*m.range);

	dsvm_env_fail_alloc(1);
	DSVM_EXPECT_EQ(dsvm_svm_get_pages(m.pages, &get), 0);
	dsvm_env_fail_alloc(0);
	DSVM_EXPECT_EQ(m.world.calls(Call::kHmmFault), 1u);
	DSVM_EXPECT_EQ(get.attempts, 1u);
	DSVM_EXPECT(maps_what_the_cpu_maps(m.world, *m.pages, 512));
}

// A look at small pages is no attempt, and each of them is collected.
DSVM_CASE(remap, one_look_at_small_pages)
{
	HugePage m;
	dsvm_get_pages get = m.request(*m.range);

	split_entries(m.world);
	DSVM_EXPECT_EQ(dsvm_svm_get_pages(m.pages, &get), 0);
	DSVM_EXPECT_EQ(m.world.calls(Call::kHmmFault), 2u);
	DSVM_EXPECT_EQ(get.attempts, 1u);
	DSVM_EXPECT_EQ(m.svm.counters.collection_retries, 0u);
	DSVM_EXPECT_EQ(m.entries(), 512u);
	DSVM_EXPECT(maps_what_the_cpu_maps(m.world, *m.pages, 512));
}

// What the look has said is not true any more when it is to be mapped.
DSVM_CASE(remap, huge_page_is_split_after_the_look)
{
	HugePage m;
	dsvm_get_pages get = m.request(*m.range);

	m.world.at(Call::kMmPutAsync, 1, [](World &world, void *) {
		fake::Event &event = world.begin_event(world.mm(), at_page(0), end_of_page(511));

		split_entries(world);
		world.end_event(event);
	});
	DSVM_EXPECT_EQ(dsvm_svm_get_pages(m.pages, &get), 0);
	DSVM_EXPECT_EQ(get.attempts, 2u);
	DSVM_EXPECT_EQ(m.entries(), 512u);
	DSVM_EXPECT(maps_what_the_cpu_maps(m.world, *m.pages, 512));
	m.world.invalidate(m.world.mm(), at_page(5), end_of_page(5));
	DSVM_EXPECT_EQ(m.world.dma_mappings(), 0u);
}

// A device that sees a copy, which somebody would have to keep in step.
DSVM_CASE(remap, copies_are_refused)
{
	SixteenPages m;

	m.world.set_needs_sync(true);
	DSVM_EXPECT_EQ(m.get_pages(*m.range), -DSVM_EOPNOTSUPP);
	DSVM_EXPECT_EQ(m.world.dma_mappings(), 0u);
	DSVM_EXPECT(!dsvm_svm_pages_valid(m.pages));
	m.world.set_needs_sync(false);
	for (u32 n = 1; n <= 16; n++) {
		m.world.fail(Call::kDmaNeedsSync, n, 1);
		DSVM_EXPECT_EQ(m.get_pages(*m.range), -DSVM_EOPNOTSUPP);
		DSVM_EXPECT_EQ(m.world.dma_mappings(), 0u);
		DSVM_EXPECT(!dsvm_svm_pages_valid(m.pages));
	}
	DSVM_EXPECT_EQ(m.get_pages(*m.range), 0);
	DSVM_EXPECT(m.maps_what_the_cpu_maps());
}

DSVM_CASE(remap, large_copies_are_taken_apart)
{
	HugePage m;

	// Whoever asks for all of it asks twice.
	m.world.fail(Call::kDmaNeedsSync, 1, 1);
	m.world.at(Call::kDmaUnmap, 1,
		   [](World &world, void *) { world.fail(Call::kDmaNeedsSync, 1, 1); });
	DSVM_REQUIRE_EQ(m.get_pages(*m.range), 0);
	DSVM_EXPECT_EQ(m.pages->dma_addr[0].order, 0u);
	DSVM_EXPECT(maps_what_the_cpu_maps(m.world, *m.pages, 512));
	DSVM_EXPECT_EQ(m.world.dma_mappings(), 512u);
}

// Another driver's device memory is not RAM, whoever owns it.
DSVM_CASE(remap, foreign_pages_are_refused)
{
	SixteenPages m;

	m.world.populate_foreign(m.world.mm(), at_page(5), 1, &m, false);
	DSVM_EXPECT_EQ(m.get_pages(*m.range), -DSVM_EOPNOTSUPP);
	DSVM_EXPECT_EQ(m.world.dma_mappings(), 0u);
	m.world.clear_pte(m.world.pte(m.world.mm(), at_page(5)));
	m.world.populate_foreign(m.world.mm(), at_page(5), 1, nullptr, true);
	DSVM_EXPECT_EQ(m.get_pages(*m.range), -DSVM_EOPNOTSUPP);
	DSVM_EXPECT_EQ(m.world.dma_mappings(), 0u);
	m.world.clear_pte(m.world.pte(m.world.mm(), at_page(5)));
	// Not our owner's: the kernel brings it home.
	m.world.populate_foreign(m.world.mm(), at_page(5), 1, nullptr, false);
	DSVM_EXPECT_EQ(m.get_pages(*m.range), 0);
	DSVM_EXPECT(m.maps_what_the_cpu_maps());
	DSVM_EXPECT_EQ(m.world.read(m.world.mm(), at_page(5)), at_page(5));
}

// One provider is kept for a range and asked to unmap it.
DSVM_CASE(remap, two_providers_are_refused)
{
	SixteenPages m;
	dsvm_get_pages mixed = m.request(*m.range);

	put_on_device(m, 0, 8);
	put_on_device(m, 8, 8, 1);
	mixed.allow_mixed = true;
	DSVM_EXPECT_EQ(dsvm_svm_get_pages(m.pages, &mixed), -DSVM_EOPNOTSUPP);
	DSVM_EXPECT_EQ(m.world.dma_mappings(), 0u);
	DSVM_EXPECT_EQ(m.world.provider_refs(0), 1u);
	DSVM_EXPECT_EQ(m.world.provider_refs(1), 1u);
}

// The CPU maps sixteen pages in one go, and the span has those in the middle.
DSVM_CASE(remap, runs_are_aligned)
{
	for (const bool direct : kEither) {
		SixteenPages m;
		dsvm_get_pages get = m.request(*m.range);
		dsvm_pages own = {};
		const u32 orders[] = {0, 1, 2, 2, 1, 0};

		m.world.set_direct(direct);
		m.world.populate(m.world.mm(), at_page(0), 16, 4);
		get.first = at_page(1);
		get.last = end_of_page(14);
		DSVM_REQUIRE_EQ(dsvm_svm_get_pages(&own, &get), 0);
		for (u32 i = 0; i < 6; i++)
			DSVM_EXPECT_EQ(own.dma_addr[i].order, orders[i]);
		DSVM_EXPECT_EQ(m.world.dma_mappings(), direct ? 0u : 14u);
		dsvm_svm_free_pages(&own, m.world.device(), 14);
	}
}
