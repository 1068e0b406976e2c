// SPDX-License-Identifier: GPL-2.0-only OR MIT
//
// Cases for core/svm: pages whose frames are in a row are mapped with one call where nobody has to
// undo it, and memory for entries is made as large as it has to be, and once.

#include "core/svm/mapping.h"
#include "kunit/case.h"
#include "kunit/cases/sixteen.h"

using namespace dsvm;
using namespace dsvm::cases;

namespace {

// Sixteen pages, of a device that sees RAM itself.
class Direct : public SixteenPages {
public:
	Direct() { world.set_direct(true); }

	// Puts a page there; frames are given out in rising order.
	void put(u32 page) { world.populate(world.mm(), at_page(page), 1); }
	[[nodiscard]] bool is_mapped_well()
	{
		return maps_what_the_cpu_maps() && world.dma_mappings() == 0;
	}
};

// How many rows there are: the frames rise, or fall, by one, and what is known of them is alike.
u32 rows_of(World &world)
{
	u32 rows = 0;

	for (u32 i = 0; i < 16; rows++) {
		const fake::Page *page = world.pte(world.mm(), at_page(i)).page;
		long step = 0;

		for (i++; i < 16; i++) {
			const fake::Page *const next = world.pte(world.mm(), at_page(i)).page;

			if (next->dirty != page->dirty || (step != 0 && next - page != step) ||
			    (next - page != 1 && next - page != -1))
				break;
			step = next - page;
			page = next;
		}
	}
	return rows;
}

} // namespace

DSVM_CASE(rows, one_call_for_a_row)
{
	for (const bool down : kEither) {
		Direct m;

		for (u32 i = 0; i < 16; i++)
			m.put(down ? 15 - i : i);
		DSVM_REQUIRE_EQ(m.get_pages(*m.range, DSVM_ACCESS_WRITE), 0);
		DSVM_EXPECT(m.is_mapped_well());
		DSVM_EXPECT_EQ(m.world.calls(Call::kDmaMapRun), 1u);
		DSVM_EXPECT_EQ(m.world.calls(Call::kDmaMap), 0u);
		for (u32 i = 0; i < 16; i++)
			DSVM_EXPECT(m.world.pte(m.world.mm(), at_page(i)).page->dirty);
		// And none to undo it.
		invalidate_only(m.world, nullptr);
		DSVM_EXPECT(!m.is_valid(*m.range));
		DSVM_EXPECT_EQ(m.world.calls(Call::kDmaUnmap), 0u);
		DSVM_EXPECT_EQ(m.world.calls(Call::kDmaUnmapRun), 0u);
		DSVM_REQUIRE_EQ(m.get_pages(*m.range), 0);
		DSVM_EXPECT(m.is_mapped_well());
	}
}

// Frames in any order, some of them dirty: each row is as long as it can be.
DSVM_CASE(rows, rows_end_where_frames_do)
{
	Random random;

	for (u32 round = 0; round < rounds(200); round++) {
		Direct m;
		u32 order[16];

		for (u32 i = 0; i < 16; i++)
			order[i] = i;
		// Few of them, so that rows are left.
		for (u32 i = random.below(6); i > 0; i--)
			swap(order[random.below(16)], order[random.below(16)]);
		for (const u32 page : order)
			m.put(page);
		for (u32 i = random.below(3); i > 0; i--)
			m.world.pte(m.world.mm(), at_page(random.below(16))).page->dirty = true;
		const u32 rows = rows_of(m.world);
		DSVM_REQUIRE_EQ(m.get_pages(*m.range, DSVM_ACCESS_WRITE), 0);
		DSVM_REQUIRE(m.is_mapped_well());
		DSVM_REQUIRE_EQ(m.world.calls(Call::kDmaMapRun) + m.world.calls(Call::kDmaMap),
				rows);
	}
}

// A copy is made for the device after all: that row is undone as it was made, each page is mapped
// by itself from there on, and all that is a copy is unmapped in the end.
DSVM_CASE(rows, copies_are_noticed)
{
	for (u32 bounce = 1; bounce <= 5; bounce++) {
		Direct m;

		// Rows of 4 pages.
		for (u32 i = 0; i < 16; i++)
			m.put(i ^ 4);
		m.world.set_direct(true, bounce);
		DSVM_REQUIRE_EQ(m.get_pages(*m.range), 0);
		DSVM_EXPECT(m.maps_what_the_cpu_maps());
		DSVM_EXPECT_EQ(m.world.calls(Call::kDmaUnmapRun), bounce <= 4 ? 1u : 0u);
		DSVM_EXPECT_EQ(m.world.dma_mappings(), 16 - 4 * (min(bounce, 5u) - 1));
		invalidate_only(m.world, nullptr);
		DSVM_EXPECT_EQ(m.world.dma_mappings(), 0u);
	}
	// One that would have to be kept in step is refused, in a row or alone.
	for (const bool alone : kEither) {
		Direct m;

		for (u32 i = 0; i < 16; i++)
			m.put(alone ? i * 5 % 16 : i);
		m.world.set_direct(true, alone ? 7 : 1);
		m.world.set_needs_sync(true);
		DSVM_EXPECT_EQ(m.get_pages(*m.range), -DSVM_EOPNOTSUPP);
		DSVM_EXPECT_EQ(m.world.dma_mappings(), 0u);
		DSVM_EXPECT(!m.is_valid(*m.range));
	}
}

// The same where no two pages are in a row.
DSVM_CASE(rows, copies_of_single_pages_are_noticed)
{
	for (u32 bounce = 1; bounce <= 16; bounce++) {
		Direct m;

		for (u32 i = 0; i < 16; i++)
			m.put(i * 5 % 16);
		m.world.set_direct(true, bounce);
		DSVM_REQUIRE_EQ(m.get_pages(*m.range), 0);
		DSVM_EXPECT(m.maps_what_the_cpu_maps());
		DSVM_EXPECT_EQ(m.world.calls(Call::kDmaMap), 16u);
		DSVM_EXPECT_EQ(m.world.dma_mappings(), 17 - bounce);
		invalidate_only(m.world, nullptr);
		DSVM_EXPECT_EQ(m.world.dma_mappings(), 0u);
	}
}

// The same of a page that is all there is.
DSVM_CASE(rows, copy_of_a_page_alone_is_noticed)
{
	for (const bool bounces : kEither) {
		Direct m;
		dsvm_range *alone = nullptr;

		m.world.add_vma(m.world.mm(), at_page(100), end_of_page(100));
		m.put(100);
		DSVM_REQUIRE_EQ(m.fault(at_page(100), &alone), 0);
		m.world.set_direct(true, bounces ? 1 : 2);
		DSVM_REQUIRE_EQ(m.get_pages(*alone), 0);
		DSVM_EXPECT_EQ(m.world.dma_mappings(), bounces ? 1u : 0u);
		m.world.invalidate(m.world.mm(), at_page(100), end_of_page(100));
		DSVM_EXPECT_EQ(m.world.dma_mappings(), 0u);

		m.world.set_direct(true, 1);
		m.world.set_needs_sync(true);
		DSVM_EXPECT_EQ(m.get_pages(*alone), -DSVM_EOPNOTSUPP);
		DSVM_EXPECT_EQ(m.world.dma_mappings(), 0u);
		DSVM_EXPECT(!m.is_valid(*alone));
	}
}

// Where each page has to be unmapped nobody tries, and a run of the CPU's is none.
DSVM_CASE(rows, none_where_they_are_of_no_use)
{
	for (const bool direct : kEither) {
		SixteenPages m;

		m.world.set_direct(direct);
		m.world.populate(m.world.mm(), at_page(0), 16, direct ? 4 : 0);
		DSVM_REQUIRE_EQ(m.get_pages(*m.range), 0);
		DSVM_EXPECT(m.maps_what_the_cpu_maps());
		DSVM_EXPECT_EQ(m.world.calls(Call::kDmaMapRun), 0u);
		DSVM_EXPECT_EQ(m.world.calls(Call::kDmaMap), direct ? 1u : 16u);
	}
}

// Memory of a device has to be unmapped, whatever is beside it.
DSVM_CASE(rows, device_memory_between_them_is_unmapped)
{
	Direct m;
	dsvm_get_pages get = m.request(*m.range);

	put_on_device(m, 4, 4);
	get.allow_mixed = true;
	DSVM_REQUIRE_EQ(dsvm_svm_get_pages(m.pages, &get), 0);
	DSVM_EXPECT(m.maps_what_the_cpu_maps());
	DSVM_EXPECT_EQ(m.world.calls(Call::kDmaMapRun), 2u);
	DSVM_EXPECT_EQ(m.world.dma_mappings(), 4u);
	invalidate_only(m.world, nullptr);
	DSVM_EXPECT_EQ(m.world.calls(Call::kProviderUnmap), 4u);
	DSVM_EXPECT_EQ(m.world.calls(Call::kDmaUnmap), 0u);
	DSVM_EXPECT_EQ(m.world.dma_mappings(), 0u);
}

DSVM_CASE(rows, refused_rows_are_mapped_page_by_page)
{
	Direct m;

	m.world.populate(m.world.mm(), at_page(0), 16);
	m.world.fail(Call::kDmaMapRun, 1, -DSVM_EFAULT);
	DSVM_REQUIRE_EQ(m.get_pages(*m.range), 0);
	DSVM_EXPECT(m.maps_what_the_cpu_maps());
	DSVM_EXPECT_EQ(m.world.calls(Call::kDmaMap), 16u);
	DSVM_EXPECT_EQ(m.world.calls(Call::kDmaUnmapRun), 0u);
	// What is mapped fails as it does elsewhere.
	invalidate_only(m.world, nullptr);
	m.world.fail(Call::kDmaMapRun, 1, -DSVM_EFAULT);
	m.world.fail(Call::kDmaMap, 9, -DSVM_EFAULT);
	DSVM_EXPECT_EQ(m.get_pages(*m.range), -DSVM_EFAULT);
	DSVM_EXPECT(!m.is_valid(*m.range));
	DSVM_EXPECT_EQ(m.get_pages(*m.range), 0);
	DSVM_EXPECT(m.is_mapped_well());
}

// Entries that are not mapped any more are used again, and nothing is allocated.
DSVM_CASE(rows, entries_are_used_again)
{
	SixteenPages m;

	DSVM_REQUIRE_EQ(m.get_pages(*m.range), 0);
	const dsvm_mapping *const mapping = m.pages->mapping;
	invalidate_only(m.world, nullptr);
	dsvm_env_fail_alloc(1);
	DSVM_EXPECT_EQ(m.get_pages(*m.range, DSVM_ACCESS_READ_ONLY), 0);
	dsvm_env_fail_alloc(0);
	DSVM_EXPECT(m.pages->mapping == mapping);
	DSVM_EXPECT(m.maps_what_the_cpu_maps());
	// Not as long as they are mapped.
	DSVM_REQUIRE_EQ(m.get_pages(*m.range, DSVM_ACCESS_WRITE), 0);
	DSVM_EXPECT(m.pages->mapping != mapping);
	// After a failure they are as good as before.
	invalidate_only(m.world, nullptr);
	m.world.fail(Call::kDmaMap, 5, -DSVM_EFAULT);
	DSVM_EXPECT_EQ(m.get_pages(*m.range), -DSVM_EFAULT);
	DSVM_EXPECT_EQ(m.get_pages(*m.range), 0);
	DSVM_EXPECT(m.maps_what_the_cpu_maps());
}

// A huge page has a single entry, and small ones in its place have their own.
DSVM_CASE(rows, entries_are_as_many_as_it_takes)
{
	Mirror m;
	dsvm_range *range = nullptr;

	m.world.add_vma(m.world.mm(), at_page(0), end_of_page(511));
	m.world.populate(m.world.mm(), at_page(0), 512, 9);
	DSVM_REQUIRE_EQ(m.fault(at_page(0), &range), 0);
	const dsvm_pages &pages = *m.home(*range).pages;
	DSVM_REQUIRE_EQ(m.get_pages(*range), 0);
	DSVM_EXPECT(pages.mapping == nullptr);
	DSVM_EXPECT(pages.dma_addr == &pages.single);
	m.world.unmap(m.world.mm(), at_page(0), end_of_page(511));
	m.remove(*range);
	m.world.add_vma(m.world.mm(), at_page(0), end_of_page(511));
	m.world.populate(m.world.mm(), at_page(0), 512);
	DSVM_REQUIRE_EQ(m.fault(at_page(0), &range), 0);
	const dsvm_pages &small = *m.home(*range).pages;
	DSVM_REQUIRE_EQ(m.get_pages(*range), 0);
	DSVM_EXPECT_EQ(small.mapping->room, 512u);
	DSVM_EXPECT(maps_what_the_cpu_maps(m.world, small, 512));
}

DSVM_CASE(rows, refused_entries_leave_nothing)
{
	Mirror m;
	dsvm_range *range = nullptr;
	u32 failures = 0;

	m.world.add_vma(m.world.mm(), at_page(0), end_of_page(511));
	m.world.populate(m.world.mm(), at_page(0), 512);
	DSVM_REQUIRE_EQ(m.fault(at_page(0), &range), 0);
	const u64 outstanding = dsvm_env_outstanding();
	for (u64 n = 1;; n++) {
		dsvm_env_fail_alloc(n);
		const int result = m.get_pages(*range);
		dsvm_env_fail_alloc(0);
		if (result == 0)
			break;
		failures++;
		DSVM_EXPECT_EQ(result, -DSVM_ENOMEM);
		DSVM_REQUIRE_EQ(dsvm_env_outstanding(), outstanding);
		DSVM_EXPECT(!m.is_valid(*range));
	}
	// The walk's entries, the mapping, and the mapping's.
	DSVM_EXPECT_EQ(failures, 3u);
	DSVM_EXPECT(maps_what_the_cpu_maps(m.world, *m.home(*range).pages, 512));
}
