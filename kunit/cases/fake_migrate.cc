// SPDX-License-Identifier: GPL-2.0-only OR MIT
//
// Cases for the fake machine's migration: what the kernel does with huge folios, and that its
// checks can fail.

#include "core/migrate/entry.h"
#include "kunit/case.h"
#include "kunit/fake/world.h"

using namespace dsvm;
using fake::Call;
using fake::PteKind;
using fake::World;

namespace {

constexpr u32 kBlockOrder = 2;
constexpr u32 kBlock = 1u << kBlockOrder;
constexpr u32 kTwoBlocks = 2 * kBlock;

constexpr usize block_page(u32 index)
{
	return fake::kBase + usize{index} * kPageSize;
}

// Two blocks of a huge page in a VMA, and a span over both.
struct BlockPair {
	explicit BlockPair(u32 select = DSVM_MIGRATE_SYSTEM | DSVM_MIGRATE_DEVICE)
	{
		world.set_huge_order(kBlockOrder);
		vma = &world.add_vma(world.mm(), block_page(0), block_page(kTwoBlocks) - 1);
		zdd = world.make_zdd(world.provider(), this, nullptr, nullptr);
		span.vma = fake::to_os(vma);
		span.first = block_page(0);
		span.last = block_page(kTwoBlocks) - 1;
		span.npages = kTwoBlocks;
		span.owner = this;
		span.select = select;
		span.src = src;
		span.dst = dst;
	}
	~BlockPair() { world.zdd_put(zdd); }

	int setup()
	{
		dsvm_os_mm_read_lock(world.os_mm());
		return dsvm_os_migrate_setup(&span);
	}
	void finish()
	{
		dsvm_os_migrate_pages(&span);
		dsvm_os_migrate_finalize(&span);
		dsvm_os_mm_read_unlock(world.os_mm());
	}
	dsvm_migrate_entry entry(u32 index)
	{
		dsvm_migrate_entry out;

		dsvm_os_migrate_decode(src[index], &out);
		return out;
	}
	// A huge destination, or single ones, for the block at `index`.
	void to_device(u32 index, u32 order)
	{
		for (u32 i = 0; i < kBlock >> order; i++) {
			dsvm_os_page *const page = dsvm_os_page_init_device(
				fake::kDevicePfn + index + i, fake::to_os(zdd), order);
			const dsvm_os_page *const old = entry(index).page;

			dst[index + i] = make_entry(fake::kDevicePfn + index + i, order);
			for (u32 j = 0; j < 1u << order; j++)
				fake::from_os(page)[j].content =
					old != nullptr ? block_page(index + i + j) : 0;
		}
	}
	bool is_intact(u32 populated)
	{
		for (u32 i = 0; i < kTwoBlocks; i++) {
			if (world.read(world.mm(), block_page(i)) !=
			    (i < populated ? block_page(i) : 0))
				return false;
		}
		return true;
	}

	World world;
	fake::Vma *vma;
	fake::Zdd *zdd;
	dsvm_migrate_span span = {};
	usize src[kTwoBlocks];
	usize dst[kTwoBlocks];
};

} // namespace

// A folio and a hole of its size, each one entry, there and back.
DSVM_CASE(fake_migrate, huge_folios_move_whole)
{
	BlockPair b(DSVM_MIGRATE_SYSTEM | DSVM_MIGRATE_DEVICE | DSVM_MIGRATE_HUGE);

	b.world.populate_huge(b.world.mm(), block_page(0));
	DSVM_REQUIRE_EQ(b.setup(), 0);
	for (u32 i = 0; i < kTwoBlocks; i++) {
		DSVM_EXPECT_EQ(b.entry(i).moves, i % kBlock == 0);
		DSVM_EXPECT_EQ(b.entry(i).order, i % kBlock == 0 ? kBlockOrder : 0u);
	}
	b.to_device(0, kBlockOrder);
	b.to_device(kBlock, kBlockOrder);
	b.finish();
	DSVM_EXPECT_EQ(b.world.count(b.world.mm(), block_page(0), block_page(kTwoBlocks) - 1,
				     PteKind::kDevice),
		       kTwoBlocks);
	for (u32 i = 0; i < kTwoBlocks; i++)
		DSVM_EXPECT_EQ(b.world.pte(b.world.mm(), block_page(i)).order, kBlockOrder);
	DSVM_EXPECT(b.is_intact(kBlock));
	DSVM_EXPECT_EQ(b.world.pages_in_use(), kTwoBlocks);
	// One that stays.
	DSVM_REQUIRE_EQ(b.setup(), 0);
	DSVM_EXPECT_EQ(b.entry(0).order, kBlockOrder);
	DSVM_EXPECT(b.entry(0).zdd == fake::to_os(b.zdd));
	b.dst[0] = dsvm_os_entry_alloc(fake::to_os(b.vma), block_page(0), kBlockOrder);
	for (u32 i = 0; i < kBlock; i++)
		fake::from_os(dsvm_os_migrate_page(b.dst[0]))[i].content = block_page(i);
	b.finish();
	DSVM_EXPECT_EQ(b.world.count(b.world.mm(), block_page(0), block_page(kTwoBlocks) - 1,
				     PteKind::kDevice),
		       kBlock);
	DSVM_EXPECT(b.is_intact(kBlock));
}

// Not asked for, or only in part: single pages.
DSVM_CASE(fake_migrate, huge_folios_are_split)
{
	for (u32 variant = 0; variant < 3; variant++) {
		BlockPair b(DSVM_MIGRATE_SYSTEM | (variant == 0 ? 0 : DSVM_MIGRATE_HUGE));

		b.world.populate_huge(b.world.mm(), block_page(0));
		if (variant == 1) {
			b.span.first = block_page(1);
			b.span.npages = kTwoBlocks - 1;
		} else if (variant == 2) {
			b.world.split_mappings(b.world.pte(b.world.mm(), block_page(0)).page);
		}
		DSVM_REQUIRE_EQ(b.setup(), 0);
		for (u32 i = 0; i < kBlock - (variant == 1); i++) {
			DSVM_EXPECT(b.entry(i).moves && b.entry(i).page != nullptr);
			DSVM_EXPECT_EQ(b.entry(i).order, 0u);
		}
		b.finish();
		DSVM_EXPECT(b.is_intact(kBlock));
		DSVM_EXPECT_EQ(b.world.pages_in_use(), kBlock);
	}
}

// Who has a reference keeps a folio whole, and where it is.
DSVM_CASE(fake_migrate, huge_folios_that_are_held)
{
	const u32 selects[] = {0, DSVM_MIGRATE_HUGE};

	for (const u32 select : selects) {
		BlockPair b(DSVM_MIGRATE_SYSTEM | select);

		b.world.populate_huge(b.world.mm(), block_page(0));
		b.world.pte(b.world.mm(), block_page(2)).page->pinned = true;
		DSVM_REQUIRE_EQ(b.setup(), 0);
		for (u32 i = 0; i < kBlock; i++)
			DSVM_EXPECT(!b.entry(i).moves);
		b.finish();
		DSVM_EXPECT(b.is_intact(kBlock));
		DSVM_EXPECT_EQ(b.world.pte(b.world.mm(), block_page(0)).order, kBlockOrder);
	}
}

// Before 7.3 what is mapped page by page is not split, and nothing is moved whole.
DSVM_CASE(fake_migrate, old_kernels)
{
	const bool variants[] = {false, true};

	for (const bool is_mapped_whole : variants) {
		BlockPair b(DSVM_MIGRATE_SYSTEM | DSVM_MIGRATE_HUGE);

		b.world.populate_huge(b.world.mm(), block_page(0));
		b.world.set_huge_order(0);
		if (!is_mapped_whole)
			b.world.split_mappings(b.world.pte(b.world.mm(), block_page(0)).page);
		DSVM_REQUIRE_EQ(b.setup(), 0);
		for (u32 i = 0; i < kBlock; i++)
			DSVM_EXPECT_EQ(b.entry(i).moves, is_mapped_whole);
		b.finish();
		DSVM_EXPECT(b.is_intact(kBlock));
	}
}

// By frames: whole or not at all.
DSVM_CASE(fake_migrate, huge_frames)
{
	BlockPair b(DSVM_MIGRATE_SYSTEM | DSVM_MIGRATE_HUGE);

	b.world.populate_huge(b.world.mm(), block_page(0));
	DSVM_REQUIRE_EQ(b.setup(), 0);
	b.to_device(0, kBlockOrder);
	b.finish();
	DSVM_EXPECT(dsvm_os_mm_get(b.world.os_mm()));
	dsvm_os_mm_read_lock(b.world.os_mm());
	DSVM_EXPECT_EQ(dsvm_os_frame_order(fake::kDevicePfn), kBlockOrder);
	DSVM_EXPECT(dsvm_os_frame_in_use(fake::kDevicePfn, fake::to_os(b.zdd)));
	DSVM_EXPECT(!dsvm_os_frame_in_use(fake::kDevicePfn + kBlock, fake::to_os(b.zdd)));
	// The first one is missing; the last one; out of order; all there.
	const u32 frames[][kBlock] = {{1, 2, 3, 4}, {0, 1, 2, 4}, {0, 2, 1, 3}, {0, 1, 2, 3}};
	for (const auto &list : frames) {
		const bool is_whole = list[1] == 1 && list[3] == 3;

		for (u32 i = 0; i < kBlock; i++) {
			b.src[i] = fake::kDevicePfn + list[i];
			b.dst[i] = 0;
		}
		b.span.npages = kBlock;
		DSVM_EXPECT_EQ(dsvm_os_migrate_device_setup(&b.span), 0);
		DSVM_EXPECT_EQ(b.entry(0).moves, is_whole);
		for (u32 i = 1; i < kBlock; i++)
			DSVM_EXPECT(!b.entry(i).moves);
		// A single page instead leaves it where it is.
		b.dst[0] = dsvm_os_entry_alloc(nullptr, 0, 0);
		dsvm_os_migrate_device_pages(&b.span);
		DSVM_EXPECT(!b.entry(0).moves);
		dsvm_os_migrate_device_finalize(&b.span);
		DSVM_EXPECT(b.is_intact(kBlock));
	}
	dsvm_os_mm_read_unlock(b.world.os_mm());
	dsvm_os_mm_put_async(b.world.os_mm());
}

// What a kernel breaks on is a violation here.
DSVM_CASE(fake_migrate, misuse_of_huge_folios_is_found)
{
	const bool variants[] = {false, true};

	for (const bool is_hole : variants) {
		BlockPair b(DSVM_MIGRATE_SYSTEM | DSVM_MIGRATE_HUGE);

		if (!is_hole)
			b.world.populate_huge(b.world.mm(), block_page(0));
		DSVM_REQUIRE_EQ(b.setup(), 0);
		b.to_device(0, 0);
		dsvm_env_expect_begin();
		b.finish();
		DSVM_EXPECT_EQ(dsvm_env_expect_end(), 1u);
		DSVM_EXPECT(b.is_intact(is_hole ? 0 : kBlock));
	}
}

// The CPU that faults by a huge entry keeps the folio from being split, and not its mapping.
DSVM_CASE(fake_migrate, fault_by_a_huge_entry)
{
	BlockPair b(DSVM_MIGRATE_SYSTEM | DSVM_MIGRATE_DEVICE | DSVM_MIGRATE_HUGE);

	b.world.populate_huge(b.world.mm(), block_page(0));
	DSVM_REQUIRE_EQ(b.setup(), 0);
	b.to_device(0, kBlockOrder);
	b.finish();
	fake::Page *const page = b.world.pte(b.world.mm(), block_page(0)).page;
	b.world.get_folio(page);
	b.world.lock_folio(page);
	b.span.fault_page = fake::to_os(page);
	b.span.last = block_page(kBlock) - 1;
	b.span.npages = kBlock;
	DSVM_REQUIRE_EQ(b.setup(), 0);
	DSVM_EXPECT(b.entry(0).moves);
	b.dst[0] = dsvm_os_entry_alloc(fake::to_os(b.vma), block_page(0), 0);
	b.finish();
	DSVM_EXPECT_EQ(b.world.pte(b.world.mm(), block_page(0)).order, 0u);
	DSVM_EXPECT_EQ(page->order, kBlockOrder);
	// By a single entry the next time.
	DSVM_REQUIRE_EQ(b.setup(), 0);
	DSVM_EXPECT(b.entry(0).moves);
	DSVM_EXPECT_EQ(page->order, 0u);
	b.finish();
	b.world.unlock_page(page);
	b.world.put_page(page);
	DSVM_EXPECT(b.is_intact(kBlock));
}

DSVM_CASE(fake_migrate, pages_are_entered_and_left)
{
	BlockPair b;
	dsvm_os_page *const page =
		dsvm_os_page_init_device(fake::kDevicePfn, fake::to_os(b.zdd), kBlockOrder);
	dsvm_os_page *const tail = dsvm_os_page_nth(page, 3);

	DSVM_EXPECT_EQ(b.world.pfn_of(fake::from_os(tail)), fake::kDevicePfn + 3);
	DSVM_EXPECT(dsvm_os_page_enter(tail));
	DSVM_EXPECT(!dsvm_os_page_enter(page));
	dsvm_os_page_leave(page);
	DSVM_EXPECT(dsvm_os_page_enter(page));
	// What is split nobody finds entered.
	b.world.split_folio(fake::from_os(page));
	DSVM_EXPECT(dsvm_os_page_enter(tail));
	dsvm_os_page_leave(tail);
	dsvm_os_page_leave(page);
	dsvm_env_expect_begin();
	dsvm_os_page_leave(page);
	DSVM_EXPECT_EQ(dsvm_env_expect_end(), 1u);
	for (u32 i = 0; i < kBlock; i++)
		dsvm_os_page_discard(dsvm_os_page_nth(page, i));
}

// A copy is done when it is waited for; and who forgets that is found out.
DSVM_CASE(fake_migrate, fences)
{
	BlockPair b;
	dsvm_os_page *const page =
		dsvm_os_page_init_device(fake::kDevicePfn, fake::to_os(b.zdd), 0);
	const fake::CopyStep step = {fake::from_os(page), {}, false, nullptr};
	const int errors[] = {0, -DSVM_EIO};

	for (const int error : errors) {
		dsvm_os_fence *const fence = b.world.begin_fence();

		fake::from_os(page)->content = 7;
		b.world.add_to_fence(fence, step);
		DSVM_EXPECT_EQ(b.world.fences(), 1u);
		b.world.fail(Call::kFenceWait, 1, error);
		DSVM_EXPECT_EQ(fake::from_os(page)->content, 7u);
		DSVM_EXPECT_EQ(dsvm_os_fence_wait(fence), error);
		DSVM_EXPECT_EQ(fake::from_os(page)->content, error == 0 ? 0u : 7u);
		DSVM_EXPECT_EQ(b.world.fences(), 0u);
		dsvm_env_expect_begin();
		static_cast<void>(dsvm_os_fence_wait(fence));
		DSVM_EXPECT_EQ(dsvm_env_expect_end(), 1u);
	}
	dsvm_os_page_discard(page);
}

DSVM_CASE(fake_migrate, pinned_vmas)
{
	BlockPair b;
	dsvm_os_vma *const vma = fake::to_os(b.vma);

	dsvm_os_mm_read_lock(b.world.os_mm());
	DSVM_EXPECT(!dsvm_os_vma_pin(vma));
	b.world.set_vma_pins(true);
	DSVM_EXPECT(dsvm_os_vma_pin(vma));
	DSVM_EXPECT(dsvm_os_vma_pin(vma));
	dsvm_os_mm_read_unlock(b.world.os_mm());
	DSVM_EXPECT_EQ(b.world.vma_pins(), 2u);
	// Waiting for the lock may not end; changing the VMA neither.
	dsvm_env_expect_begin();
	dsvm_os_mm_read_lock(b.world.os_mm());
	DSVM_EXPECT_EQ(dsvm_env_expect_end(), 1u);
	dsvm_os_mm_read_unlock(b.world.os_mm());
	DSVM_EXPECT(dsvm_os_mm_read_trylock(b.world.os_mm()));
	dsvm_os_mm_read_unlock(b.world.os_mm());
	dsvm_env_expect_begin();
	b.world.unmap(b.world.mm(), block_page(0), block_page(1) - 1);
	DSVM_EXPECT_EQ(dsvm_env_expect_end(), 1u);
	for (fake::Vma &each : b.world.mm().vmas)
		each.pins = 0;
	dsvm_env_expect_begin();
	dsvm_os_vma_unpin(vma);
	DSVM_EXPECT_EQ(dsvm_env_expect_end(), 1u);
}

DSVM_CASE(fake_migrate, reserves_and_zdds)
{
	BlockPair b;
	dsvm_os_provider *const provider = b.world.provider();
	void *const memory = dsvm_os_provider_take_reserve(provider);

	DSVM_REQUIRE(memory != nullptr);
	DSVM_EXPECT(dsvm_os_provider_take_reserve(provider) == nullptr);
	DSVM_EXPECT(dsvm_os_provider_take_reserve(b.world.provider(1)) != nullptr);
	dsvm_os_provider_give_reserve(b.world.provider(1),
				      reinterpret_cast<u8 *>(memory) +
					      (reinterpret_cast<usize>(b.world.provider(1)) -
					       reinterpret_cast<usize>(provider)));
	dsvm_os_provider_give_reserve(provider, memory);
	dsvm_env_expect_begin();
	dsvm_os_provider_give_reserve(provider, memory);
	DSVM_EXPECT_EQ(dsvm_env_expect_end(), 1u);

	DSVM_EXPECT(dsvm_os_provider_take_spare(provider) == nullptr);
	b.world.set_lends(true);
	void *const spare = dsvm_os_provider_take_spare(provider);
	DSVM_REQUIRE(spare != nullptr);
	DSVM_EXPECT(dsvm_os_provider_take_spare(provider) == nullptr);
	dsvm_os_provider_give_spare(provider, spare);
	dsvm_env_expect_begin();
	dsvm_os_provider_give_spare(provider, spare);
	DSVM_EXPECT_EQ(dsvm_env_expect_end(), 1u);

	fake::Zdd *const other = b.world.make_zdd(b.world.provider(1), nullptr, nullptr, nullptr);
	fake::Zdd *const second = b.world.make_zdd(provider, nullptr, nullptr, nullptr);
	dsvm_os_zdd *next = dsvm_os_provider_next_zdd(provider, nullptr);
	DSVM_EXPECT(next == fake::to_os(b.zdd));
	next = dsvm_os_provider_next_zdd(provider, next);
	DSVM_EXPECT(next == fake::to_os(second));
	DSVM_EXPECT_EQ(second->refs, 2u);
	DSVM_EXPECT_EQ(b.zdd->refs, 1u);
	next = dsvm_os_provider_next_zdd(provider, next);
	DSVM_EXPECT(next == nullptr);
	DSVM_EXPECT_EQ(second->refs, 1u);
	b.world.zdd_put(other);
	b.world.zdd_put(second);
}
