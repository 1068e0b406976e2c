// SPDX-License-Identifier: GPL-2.0-only OR MIT
//
// Cases for core/svm: a device behind an IOMMU sees all RAM of a span in one window of device
// addresses, at the offsets that it has in the span.

#include "kunit/case.h"
#include "kunit/cases/sixteen.h"

using namespace dsvm;
using namespace dsvm::cases;

namespace {

class BehindIommu : public SixteenPages {
public:
	explicit BehindIommu(MirrorOptions mirror_options = {}) : SixteenPages(mirror_options)
	{
		world.set_iommu(true);
	}

	// Mixed, as drivers ask that have memory of their own.
	[[nodiscard]] int get_mixed(dsvm_access access = DSVM_ACCESS_READ_ONLY)
	{
		dsvm_get_pages get = request(*range, access);

		get.allow_mixed = true;
		return dsvm_svm_get_pages(pages, &get);
	}
	// Whether the device has nothing of it any more.
	[[nodiscard]] bool has_nothing()
	{
		return world.iova_windows() == 0 && world.dma_mappings() == 0 &&
		       world.provider_refs() == 1 && !is_valid(*range);
	}
};

} // namespace

DSVM_CASE(iova, one_window_for_all_ram)
{
	BehindIommu m;

	DSVM_REQUIRE_EQ(m.get_pages(*m.range, DSVM_ACCESS_WRITE), 0);
	DSVM_EXPECT(m.maps_what_the_cpu_maps());
	DSVM_EXPECT_EQ(m.world.calls(Call::kIovaAlloc), 1u);
	DSVM_EXPECT_EQ(m.world.calls(Call::kIovaLink), 16u);
	DSVM_EXPECT_EQ(m.world.calls(Call::kIovaSync), 1u);
	DSVM_EXPECT_EQ(m.world.calls(Call::kDmaMap), 0u);
	for (u32 i = 0; i < 16; i++)
		DSVM_EXPECT_EQ(m.pages->dma_addr[i].addr,
			       m.pages->dma_addr[0].addr + i * kPageSize);
	DSVM_EXPECT(is_sound(m));
	// It goes in one piece.
	m.world.at(Call::kIovaUnlink, World::kEvery,
		   [](World &, void *) { DSVM_EXPECT(fake::holds_notifier_lock()); });
	invalidate_only(m.world, nullptr);
	DSVM_EXPECT_EQ(m.world.calls(Call::kIovaUnlink), 1u);
	DSVM_EXPECT(m.has_nothing());
	// And can be had again, elsewhere.
	DSVM_REQUIRE_EQ(m.get_pages(*m.range), 0);
	DSVM_EXPECT(m.maps_what_the_cpu_maps());
}

DSVM_CASE(iova, large_runs)
{
	BehindIommu m;

	m.world.populate(m.world.mm(), at_page(0), 8, 3);
	m.world.populate(m.world.mm(), at_page(8), 4, 2);
	DSVM_REQUIRE_EQ(m.get_pages(*m.range), 0);
	DSVM_EXPECT_EQ(m.world.calls(Call::kIovaLink), 6u);
	DSVM_EXPECT_EQ(m.pages->dma_addr[0].order, 3u);
	DSVM_EXPECT_EQ(m.pages->dma_addr[1].addr, m.pages->dma_addr[0].addr + 8 * kPageSize);
	DSVM_EXPECT(m.maps_what_the_cpu_maps());
	invalidate_only(m.world, nullptr);
	DSVM_EXPECT_EQ(m.world.calls(Call::kIovaUnlink), 1u);
	DSVM_EXPECT(m.has_nothing());
}

// Device pages leave holes in the window; they may be the first ones, the last ones, or all.
DSVM_CASE(iova, device_pages_leave_holes)
{
	const struct {
		u32 first;
		u32 count;
		u32 unlinks;
	} table[] = {{4, 4, 2}, {0, 4, 1}, {12, 4, 1}, {0, 15, 1}, {1, 15, 1}, {0, 16, 0}};

	for (const auto &row : table) {
		BehindIommu m;

		m.world.populate(m.world.mm(), at_page(0), 16);
		for (u32 i = row.first; i < row.first + row.count; i++)
			m.world.clear_pte(m.world.pte(m.world.mm(), at_page(i)));
		put_on_device(m, row.first, row.count);
		DSVM_REQUIRE_EQ(m.get_mixed(DSVM_ACCESS_READ), 0);
		DSVM_EXPECT(m.maps_what_the_cpu_maps());
		DSVM_EXPECT_EQ(m.world.calls(Call::kIovaLink), 16 - row.count);
		DSVM_EXPECT_EQ(m.world.calls(Call::kProviderMap), row.count);
		DSVM_EXPECT_EQ(m.world.iova_windows(), row.count < 16 ? 1u : 0u);
		DSVM_EXPECT(is_sound(m));
		invalidate_only(m.world, nullptr);
		DSVM_EXPECT_EQ(m.world.calls(Call::kIovaUnlink), row.unlinks);
		DSVM_EXPECT(m.has_nothing());
	}
}

// Pages that are mapped in two directions lie in one window, and are unlinked apart.
DSVM_CASE(iova, directions_differ)
{
	BehindIommu m;

	m.world.populate(m.world.mm(), at_page(0), 16);
	for (u32 i = 4; i < 8; i++)
		m.world.pte(m.world.mm(), at_page(i)).page->lazyfree = true;
	DSVM_REQUIRE_EQ(m.get_pages(*m.range, DSVM_ACCESS_READ), 0);
	DSVM_EXPECT_EQ(m.world.iova_windows(), 1u);
	DSVM_EXPECT(m.maps_what_the_cpu_maps());
	invalidate_only(m.world, nullptr);
	DSVM_EXPECT_EQ(m.world.calls(Call::kIovaUnlink), 3u);
	DSVM_EXPECT(m.has_nothing());
}

// No addresses left: run by run, as without an IOMMU.
DSVM_CASE(iova, window_refused)
{
	BehindIommu m;

	// It is asked for once: the next page is not another matter.
	m.world.fail(Call::kIovaAlloc, 1, -1);
	DSVM_REQUIRE_EQ(m.get_pages(*m.range), 0);
	DSVM_EXPECT_EQ(m.world.calls(Call::kIovaAlloc), 1u);
	DSVM_EXPECT_EQ(m.world.calls(Call::kDmaMap), 16u);
	DSVM_EXPECT_EQ(m.world.calls(Call::kIovaLink), 0u);
	DSVM_EXPECT(m.maps_what_the_cpu_maps());
	DSVM_EXPECT(is_sound(m));
	invalidate_only(m.world, nullptr);
	DSVM_EXPECT(m.has_nothing());
}

DSVM_CASE(iova, each_step_fails)
{
	const u64 outstanding_before = dsvm_env_outstanding();

	const int errors[] = {-DSVM_EFAULT, -DSVM_ENOMEM};

	for (const int error : errors) {
		BehindIommu m;
		const u64 outstanding = dsvm_env_outstanding();

		m.world.populate(m.world.mm(), at_page(0), 4);
		put_on_device(m, 4, 4);
		m.world.populate(m.world.mm(), at_page(8), 8, 2);
		for (u32 n = 1; n <= 6; n++) {
			m.world.fail(Call::kIovaLink, n, error);
			DSVM_EXPECT_EQ(m.get_mixed(), error);
			DSVM_REQUIRE(m.has_nothing());
			DSVM_EXPECT_EQ(dsvm_env_outstanding(), outstanding);
		}
		m.world.fail(Call::kIovaSync, 1, error);
		DSVM_EXPECT_EQ(m.get_mixed(), error);
		DSVM_REQUIRE(m.has_nothing());
		for (u32 n = 1; n <= 4; n++) {
			m.world.fail(Call::kProviderMap, n, error);
			DSVM_EXPECT_EQ(m.get_mixed(), error);
			DSVM_REQUIRE(m.has_nothing());
		}
		DSVM_EXPECT_EQ(m.get_mixed(), 0);
		DSVM_EXPECT(m.maps_what_the_cpu_maps());
	}
	DSVM_EXPECT_EQ(dsvm_env_outstanding(), outstanding_before);
}

// Shared device pages make it begin again, and then there are no addresses left.
DSVM_CASE(iova, window_of_the_first_attempt_only)
{
	BehindIommu m;

	m.world.populate(m.world.mm(), at_page(0), 8);
	put_on_device(m, 8, 8);
	m.world.share(m.world.mm(0), m.world.mm(1));
	for (u32 i = 0; i < 8; i++)
		m.world.pte(m.world.mm(), at_page(i)).writable = true;
	m.world.fail(Call::kIovaAlloc, 2, -1);
	DSVM_REQUIRE_EQ(m.get_mixed(DSVM_ACCESS_WRITE), 0);
	DSVM_EXPECT_EQ(m.world.calls(Call::kIovaAlloc), 2u);
	DSVM_EXPECT_EQ(m.world.iova_windows(), 0u);
	DSVM_EXPECT(m.maps_what_the_cpu_maps());
	DSVM_EXPECT(is_sound(m));
}

// A failed upgrade keeps the old window, a successful one takes its place.
DSVM_CASE(iova, upgrade)
{
	BehindIommu m;

	DSVM_REQUIRE_EQ(m.get_pages(*m.range), 0);
	const u64 old = m.pages->dma_addr[0].addr;
	for (u32 n = 1; n <= 16; n++) {
		m.world.fail(Call::kIovaLink, n, -DSVM_EFAULT);
		DSVM_EXPECT_EQ(m.get_pages(*m.range, DSVM_ACCESS_WRITE), -DSVM_EFAULT);
		DSVM_REQUIRE(m.maps_what_the_cpu_maps());
		DSVM_EXPECT_EQ(m.world.iova_windows(), 1u);
		DSVM_EXPECT_EQ(m.pages->dma_addr[0].addr, old);
	}
	DSVM_REQUIRE_EQ(m.get_pages(*m.range, DSVM_ACCESS_WRITE), 0);
	DSVM_EXPECT(m.maps_what_the_cpu_maps());
	DSVM_EXPECT_EQ(m.world.iova_windows(), 1u);
	DSVM_EXPECT_EQ(m.world.iova_pages(), 16u);
	DSVM_EXPECT(m.pages->dma_addr[0].addr != old);
	DSVM_EXPECT_EQ(m.pages->dma_addr[0].dir, u64{DSVM_DMA_BIDIRECTIONAL});
}

// A device that sees copies all the same.
DSVM_CASE(iova, copies_are_refused)
{
	{
		BehindIommu m;

		m.world.set_needs_sync(true);
		DSVM_EXPECT_EQ(m.get_pages(*m.range), -DSVM_EOPNOTSUPP);
		DSVM_EXPECT(m.has_nothing());
	}
	// Also if the first page is no RAM.
	BehindIommu mixed;
	mixed.world.set_needs_sync(true);
	put_on_device(mixed, 0, 4);
	DSVM_EXPECT_EQ(mixed.get_mixed(), -DSVM_EOPNOTSUPP);
	DSVM_EXPECT(mixed.has_nothing());
}

// Each device behind a range has a window of its own.
DSVM_CASE(iova, one_window_a_device)
{
	BehindIommu m({true, 3, false});

	DSVM_REQUIRE_EQ(m.get_pages(*m.range), 0);
	DSVM_EXPECT_EQ(m.world.iova_windows(), 3u);
	DSVM_EXPECT_EQ(m.world.iova_pages(), 48u);
	DSVM_EXPECT(is_sound(m));
	invalidate_only(m.world, nullptr);
	DSVM_EXPECT(m.has_nothing());
}
