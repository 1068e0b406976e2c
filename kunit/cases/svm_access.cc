// SPDX-License-Identifier: GPL-2.0-only OR MIT
//
// Cases for core/svm: what a device may do with pages that it was given for reading, for reading
// only, and for writing; and what that does to the CPU's page table.

#include "kunit/case.h"
#include "kunit/cases/sixteen.h"

using namespace dsvm;
using namespace dsvm::cases;

namespace {

// What is behind all sixteen pages.
enum class Memory : u8 {
	kWritable,
	kReadOnlyVma,
	kDiscardable, // after MADV_FREE
	kUntouched,   // a read gives the zero page
	kShared,      // after a fork
	kDevice,
	kSharedDevice,
};

struct AccessRow {
	Memory memory;
	dsvm_access access;
	int result;
	bool device_writes; // mapped for writing
	bool page_stays;    // the CPU's page table is as it was
};

constexpr AccessRow kAccessTable[] = {
	{Memory::kWritable, DSVM_ACCESS_READ_ONLY, 0, false, true},
	{Memory::kWritable, DSVM_ACCESS_READ, 0, true, true},
	{Memory::kWritable, DSVM_ACCESS_WRITE, 0, true, true},
	{Memory::kReadOnlyVma, DSVM_ACCESS_READ_ONLY, 0, false, true},
	{Memory::kReadOnlyVma, DSVM_ACCESS_READ, 0, false, true},
	{Memory::kReadOnlyVma, DSVM_ACCESS_WRITE, -DSVM_EPERM, false, true},
	{Memory::kDiscardable, DSVM_ACCESS_READ_ONLY, 0, false, true},
	{Memory::kDiscardable, DSVM_ACCESS_READ, 0, false, true},
	{Memory::kDiscardable, DSVM_ACCESS_WRITE, 0, true, true},
	{Memory::kUntouched, DSVM_ACCESS_READ_ONLY, 0, false, true},
	{Memory::kUntouched, DSVM_ACCESS_READ, 0, false, true},
	{Memory::kUntouched, DSVM_ACCESS_WRITE, 0, true, false},
	{Memory::kShared, DSVM_ACCESS_READ_ONLY, 0, false, true},
	{Memory::kShared, DSVM_ACCESS_READ, 0, false, true},
	{Memory::kShared, DSVM_ACCESS_WRITE, 0, true, false},
	{Memory::kDevice, DSVM_ACCESS_READ_ONLY, 0, false, true},
	{Memory::kDevice, DSVM_ACCESS_READ, 0, true, true},
	{Memory::kDevice, DSVM_ACCESS_WRITE, 0, true, true},
	{Memory::kSharedDevice, DSVM_ACCESS_READ_ONLY, 0, false, true},
	{Memory::kSharedDevice, DSVM_ACCESS_READ, 0, false, true},
	{Memory::kSharedDevice, DSVM_ACCESS_WRITE, 0, true, false},
};

void put(SixteenPages &m, Memory memory)
{
	switch (memory) {
	case Memory::kUntouched:
		m.world.set_zero_page(true);
		break;
	case Memory::kDevice:
	case Memory::kSharedDevice:
		put_on_device(m, 0, 16);
		break;
	default:
		m.world.populate(m.world.mm(), at_page(0), 16);
		break;
	}
	for (u32 i = 0; i < 16; i++) {
		fake::Pte &pte = m.world.pte(m.world.mm(), at_page(i));

		if (memory == Memory::kReadOnlyVma)
			pte.writable = false;
		if (memory == Memory::kDiscardable)
			pte.page->lazyfree = true;
	}
	if (memory == Memory::kReadOnlyVma)
		m.world.mm().vmas[0].writable = false;
	if (memory == Memory::kShared || memory == Memory::kSharedDevice)
		m.world.share(m.world.mm(0), m.world.mm(1));
}

void check_row(const AccessRow &row)
{
	SixteenPages m;
	const u64 dir = row.device_writes ? DSVM_DMA_BIDIRECTIONAL : DSVM_DMA_TO_DEVICE;

	put(m, row.memory);
	const fake::Page *const before = m.world.pte(m.world.mm(), at_page(3)).page;
	DSVM_REQUIRE_EQ(m.get_pages(*m.range, row.access), row.result);
	if (row.result != 0) {
		DSVM_EXPECT_EQ(m.world.dma_mappings(), 0u);
		return;
	}
	const fake::Page *const page = m.world.pte(m.world.mm(), at_page(3)).page;
	DSVM_EXPECT(m.maps_what_the_cpu_maps());
	DSVM_EXPECT_EQ(m.pages->dma_addr[3].dir, dir);
	DSVM_EXPECT_EQ((m.pages->flags & DSVM_PAGES_WRITABLE) != 0, row.device_writes);
	if (row.memory == Memory::kUntouched)
		DSVM_EXPECT_EQ(m.world.is_zero_page(page), row.page_stays);
	else
		DSVM_EXPECT_EQ(page == before, row.page_stays);
	if (m.world.is_ram(page))
		DSVM_EXPECT_EQ(page->dirty, row.device_writes);
	DSVM_EXPECT(is_sound(m));
}

} // namespace

DSVM_CASE(access, table)
{
	for (const AccessRow &row : kAccessTable)
		check_row(row);
}

// Who reads may write where it costs nothing, page by page.
DSVM_CASE(access, reading_takes_each_page_as_it_is)
{
	SixteenPages m;

	m.world.populate(m.world.mm(), at_page(0), 16);
	for (u32 i = 4; i < 8; i++)
		m.world.pte(m.world.mm(), at_page(i)).page->lazyfree = true;
	for (u32 i = 12; i < 16; i++)
		m.world.pte(m.world.mm(), at_page(i)).writable = false;
	DSVM_REQUIRE_EQ(m.get_pages(*m.range, DSVM_ACCESS_READ), 0);
	for (u32 i = 0; i < 16; i++) {
		const bool writable = i / 4 % 2 == 0;

		DSVM_EXPECT_EQ(m.pages->dma_addr[i].dir,
			       u64{writable ? DSVM_DMA_BIDIRECTIONAL : DSVM_DMA_TO_DEVICE});
		DSVM_EXPECT_EQ(m.world.pte(m.world.mm(), at_page(i)).page->dirty, writable);
	}
	DSVM_EXPECT_EQ(m.pages->flags & DSVM_PAGES_WRITABLE, 0u);
	// That is enough for reading, and not for writing: with the first page it would be.
	DSVM_EXPECT_EQ(m.get_pages(*m.range, DSVM_ACCESS_READ), 0);
	DSVM_EXPECT_EQ(m.attempts, 0u);
	DSVM_EXPECT_EQ(m.get_pages(*m.range, DSVM_ACCESS_WRITE), 0);
	DSVM_EXPECT_EQ(m.attempts, 1u);
	DSVM_EXPECT_EQ(m.pages->flags & DSVM_PAGES_WRITABLE, DSVM_PAGES_WRITABLE);
	DSVM_EXPECT_EQ(m.world.dma_mappings(), 16u);
	DSVM_EXPECT(is_sound(m));
}

// The same of a device's own memory.
DSVM_CASE(access, reading_takes_each_device_page_as_it_is)
{
	SixteenPages m;

	put_on_device(m, 0, 16);
	m.world.pte(m.world.mm(), at_page(9)).writable = false;
	DSVM_REQUIRE_EQ(m.get_pages(*m.range, DSVM_ACCESS_READ), 0);
	for (u32 i = 0; i < 16; i++)
		DSVM_EXPECT_EQ(m.pages->dma_addr[i].dir,
			       u64{i != 9 ? DSVM_DMA_BIDIRECTIONAL : DSVM_DMA_TO_DEVICE});
	DSVM_EXPECT_EQ(m.pages->flags & DSVM_PAGES_WRITABLE, 0u);
}

// A run that the CPU maps in one go is written or not as one.
DSVM_CASE(access, large_runs)
{
	SixteenPages m;

	m.world.populate(m.world.mm(), at_page(0), 16, 3);
	for (u32 i = 8; i < 16; i++)
		m.world.pte(m.world.mm(), at_page(i)).page->lazyfree = true;
	DSVM_REQUIRE_EQ(m.get_pages(*m.range, DSVM_ACCESS_READ), 0);
	DSVM_EXPECT_EQ(m.pages->dma_addr[0].order, 3u);
	DSVM_EXPECT_EQ(m.pages->dma_addr[0].dir, u64{DSVM_DMA_BIDIRECTIONAL});
	DSVM_EXPECT_EQ(m.pages->dma_addr[1].order, 3u);
	DSVM_EXPECT_EQ(m.pages->dma_addr[1].dir, u64{DSVM_DMA_TO_DEVICE});
	DSVM_EXPECT(m.maps_what_the_cpu_maps());
}

// What was given for reading covers a write if all of it may be written.
DSVM_CASE(access, reading_may_cover_a_write)
{
	const struct {
		dsvm_access had;
		dsvm_access wanted;
		u32 attempts;
	} table[] = {
		{DSVM_ACCESS_READ_ONLY, DSVM_ACCESS_READ_ONLY, 0},
		{DSVM_ACCESS_READ_ONLY, DSVM_ACCESS_READ, 0},
		{DSVM_ACCESS_READ_ONLY, DSVM_ACCESS_WRITE, 1},
		{DSVM_ACCESS_READ, DSVM_ACCESS_READ_ONLY, 0},
		{DSVM_ACCESS_READ, DSVM_ACCESS_WRITE, 0},
		{DSVM_ACCESS_WRITE, DSVM_ACCESS_READ, 0},
	};

	for (const auto &row : table) {
		SixteenPages m;

		m.world.populate(m.world.mm(), at_page(0), 16);
		DSVM_REQUIRE_EQ(m.get_pages(*m.range, row.had), 0);
		DSVM_REQUIRE_EQ(m.get_pages(*m.range, row.wanted), 0);
		DSVM_EXPECT_EQ(m.attempts, row.attempts);
		DSVM_EXPECT(is_sound(m));
		// And of an invalidation nothing is left.
		invalidate_only(m.world, nullptr);
		DSVM_EXPECT_EQ(m.pages->flags, 0u);
	}
}
