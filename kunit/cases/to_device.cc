// SPDX-License-Identifier: GPL-2.0-only OR MIT
//
// Cases for core/migrate: one VMA's pages to a fresh allocation, by mainline's rules.

#include "kunit/case.h"
#include "kunit/cases/scene.h"

using namespace dsvm;
using namespace dsvm::cases;

namespace {

// What a page may be before it is asked to move.
enum class Source : u8 {
	kRam,
	kHole,
	kSwapped,
	kPinned,
	kLocked,
	kWriteback,
	kRaced,	      // somebody takes a reference between collecting and moving
	kOtherDriver, // in a device's memory that no drm_pagemap knows
	kCoherent,    // the same, and mapped as RAM is
	kOtherOwner,
	kPeer, // in the memory of another device of the clique
	kHere, // in the provider's memory already
};

constexpr u32 kVictim = 5;

// Puts a page of the allocation in the place of what is at the victim.
void put_on(Scene &s, Allocation &allocation)
{
	dsvm_os_page *const page = dsvm_os_page_init_device(s.world.pfn_of(allocation.page(0)),
							    allocation.devmem().zdd, 0);

	fake::from_os(page)->content = page_at(kVictim);
	s.world.clear_pte(s.pte(kVictim));
	s.world.set_pte(s.pte(kVictim), PteKind::kDevice, fake::from_os(page), fake::Writable::Yes);
	dsvm_os_page_discard(page);
}

void make(Scene &s, Source source)
{
	fake::Page &page = s.page(kVictim);
	AllocationOptions options = {};

	options.first = 64;
	options.npages = 1;
	options.owner = static_cast<Stage *>(&s);
	switch (source) {
	case Source::kRam:
		return;
	case Source::kHole:
		s.world.clear_pte(s.pte(kVictim));
		return;
	case Source::kSwapped:
		s.world.swap_out(s.world.mm(), page_at(kVictim));
		return;
	case Source::kPinned:
		page.pinned = true;
		return;
	case Source::kLocked:
		s.world.lock_page(&page);
		return;
	case Source::kWriteback:
		page.stays = DSVM_STAY_WRITEBACK;
		return;
	case Source::kRaced:
		page.raced = true;
		return;
	case Source::kOtherDriver:
	case Source::kCoherent:
		s.world.clear_pte(s.pte(kVictim));
		s.world.populate_foreign(s.world.mm(), page_at(kVictim), 1, options.owner,
					 source == Source::kCoherent);
		return;
	case Source::kOtherOwner:
		options.owner = nullptr;
		break;
	case Source::kPeer:
		options.provider = 1;
		break;
	case Source::kHere:
		break;
	}
	put_on(s, s.pool.add(s.world, options));
}

} // namespace

DSVM_CASE(to_device, all_pages_move)
{
	Scene s;

	DSVM_EXPECT_EQ(s.out(), 0);
	DSVM_EXPECT_EQ(s.migrated, kSpan);
	DSVM_EXPECT_EQ(s.on_device(), kSpan);
	DSVM_EXPECT_EQ(s.world.pages_in_use(), kSpan);
	DSVM_EXPECT(s.is_intact());
	// Once there, there is nothing to do.
	DSVM_EXPECT_EQ(s.out(), 0);
	DSVM_EXPECT_EQ(s.migrated, 0u);
	DSVM_EXPECT(s.is_intact());
}

// Every state that a page may be in: what the call says, and where the page is then.
DSVM_CASE(to_device, source_states)
{
	struct Row {
		Source source;
		int all;     // with all_or_nothing
		int partial; // without
		bool moves;  // in the second case
	};
	const Row rows[] = {
		{Source::kRam, 0, 0, true},
		{Source::kHole, 0, 0, true},
		{Source::kSwapped, -DSVM_EBUSY, 0, false},
		{Source::kPinned, -DSVM_EBUSY, 0, false},
		{Source::kLocked, -DSVM_EBUSY, 0, false},
		{Source::kWriteback, -DSVM_EBUSY, 0, false},
		{Source::kOtherDriver, -DSVM_EBUSY, 0, false},
		{Source::kCoherent, -DSVM_EBUSY, 0, false},
		{Source::kOtherOwner, -DSVM_EBUSY, 0, false},
		{Source::kPeer, 0, 0, true},
		{Source::kHere, -DSVM_EBUSY, 0, false},
	};

	for (const Row &row : rows) {
		for (const bool all : kBoth) {
			for (const bool runs : kBoth) {
				AllocationOptions options = {};
				options.copies_runs = runs;
				Scene s(kSpan, options);

				make(s, row.source);
				const u64 content = s.world.read(s.world.mm(), page_at(kVictim));
				DSVM_EXPECT_EQ(s.out(all), all ? row.all : row.partial);
				const bool moved = all ? row.all == 0 : row.moves;
				DSVM_EXPECT_EQ(s.migrated, all && !moved ? 0u
							   : moved	 ? kSpan
									 : kSpan - 1);
				DSVM_EXPECT_EQ(s.allocation.pages_in_use(), s.migrated);
				DSVM_EXPECT_EQ(s.world.read(s.world.mm(), page_at(kVictim)),
					       content);
				DSVM_EXPECT_EQ(s.world.dma_mappings(), 0u);
				if (row.source == Source::kLocked)
					s.world.unlock_page(&s.page(kVictim));
				// What has not moved is the driver's to use again.
				s.pool.settle();
				DSVM_EXPECT_EQ(s.allocation.frames_back(),
					       s.migrated == 0 ? 0u : kSpan - s.migrated);
			}
		}
	}
}

DSVM_CASE(to_device, holes_are_cleared)
{
	Scene s(4);

	DSVM_EXPECT_EQ(s.out(true), 0);
	DSVM_EXPECT_EQ(s.on_device(), kSpan);
	DSVM_EXPECT(s.is_intact(4));
}

DSVM_CASE(to_device, refuses)
{
	Scene s;
	dsvm_to_device request = s.request();

	request.last = page_end(kSpan);
	DSVM_EXPECT_EQ(s.run(request), -DSVM_EINVAL);
	request = s.request();
	request.first = page_at(8);
	request.last = page_end(kSpan + 3);
	DSVM_EXPECT_EQ(s.run(request), -DSVM_EINVAL);
	request = s.request();
	request.first++;
	DSVM_EXPECT_EQ(s.run(request), -DSVM_EINVAL);
	request = s.request();
	request.first = page_at(100);
	request.last = page_end(101);
	DSVM_EXPECT_EQ(s.run(request), -DSVM_ENOENT);
	s.vma->anonymous = false;
	DSVM_EXPECT_EQ(s.out(), -DSVM_EBUSY);
	DSVM_EXPECT_EQ(s.on_device(), 0u);
	DSVM_EXPECT(s.is_intact());
	// The kernel was not asked.
	DSVM_EXPECT_EQ(s.world.calls(Call::kMigrateSetup), 0u);
}

DSVM_CASE(to_device, allocation_too_small)
{
	AllocationOptions options = {};
	options.npages = kSpan - 1;
	Scene s(kSpan, options);

	DSVM_EXPECT_EQ(s.out(), -DSVM_EINVAL);
	DSVM_EXPECT_EQ(s.on_device(), 0u);
	DSVM_EXPECT(s.is_intact());
}

// Frames behind those of the span are nobody's.
DSVM_CASE(to_device, allocation_too_large)
{
	AllocationOptions options = {};
	options.npages = kSpan + 9;
	Scene s(kSpan, options);

	DSVM_EXPECT_EQ(s.out(), 0);
	DSVM_EXPECT_EQ(s.allocation.frames_back(), 9u);
	DSVM_EXPECT_EQ(s.allocation.pages_in_use(), kSpan);
	DSVM_EXPECT(s.is_intact());
}

DSVM_CASE(to_device, each_step_fails)
{
	struct Step {
		Call call;
		u32 times;
		int error;
		int result;
	};
	const Step steps[] = {
		{Call::kMigrateSetup, 1, -DSVM_EINVAL, -DSVM_EINVAL},
		{Call::kMigrateSetup, 1, -DSVM_ENOMEM, -DSVM_ENOMEM},
		{Call::kCopyToDevice, 1, -DSVM_EIO, -DSVM_EIO},
		{Call::kFenceWait, 1, -DSVM_EIO, -DSVM_EIO},
		{Call::kMigratePages, 1, -1, -DSVM_EBUSY},
		{Call::kVmaAt, 1, -1, -DSVM_ENOENT},
	};

	for (const Step &step : steps) {
		for (u32 n = 1; n <= step.times; n++) {
			AllocationOptions options = {};
			options.waits_for_fence = step.call == Call::kFenceWait;
			options.keeps_frames = true;
			Scene s(kSpan, options);

			s.world.fail(step.call, n, step.error);
			DSVM_EXPECT_EQ(s.out(), step.result);
			DSVM_EXPECT_EQ(s.migrated, 0u);
			DSVM_EXPECT_EQ(s.on_device(), 0u);
			DSVM_EXPECT_EQ(s.allocation.pages_in_use(), 0u);
			DSVM_REQUIRE(s.is_intact());
			// It leaves nothing that is in the way of another try.
			DSVM_EXPECT_EQ(s.out(), 0);
			DSVM_EXPECT_EQ(s.on_device(), kSpan);
			DSVM_REQUIRE(s.is_intact());
		}
	}
}

// RAM that DMA does not reach: all of it, then one piece of the pieces that were tried.
DSVM_CASE(to_device, ram_out_of_reach)
{
	for (const bool all : kBoth) {
		AllocationOptions options = {};
		options.keeps_frames = true;
		Scene s(kSpan, options);

		s.world.fail(Call::kDmaMap, World::kEvery, -DSVM_EFAULT);
		DSVM_EXPECT_EQ(s.out(all), all ? -DSVM_EFAULT : -DSVM_EBUSY);
		DSVM_EXPECT_EQ(s.migrated, 0u);
		DSVM_EXPECT_EQ(s.on_device(), 0u);
		DSVM_REQUIRE(s.is_intact());
		s.world.fail(Call::kDmaMap, 0, 0);
		// One page at a time, as an IOMMU or SWIOTLB that is almost full lets it be.
		s.world.set_max_dma_order(0);
		DSVM_EXPECT_EQ(s.out(all), 0);
		DSVM_EXPECT_EQ(s.on_device(), kSpan);
		DSVM_REQUIRE(s.is_intact());
	}
}

DSVM_CASE(to_device, each_allocation_fails)
{
	AllocationOptions options = {};
	options.keeps_frames = true;
	Scene s(kSpan, options);
	u32 failures = 0;

	for (u64 n = 1;; n++) {
		dsvm_env_fail_alloc(n);
		const int result = s.out();
		dsvm_env_fail_alloc(0);
		if (result == 0)
			break;
		failures++;
		DSVM_EXPECT_EQ(result, -DSVM_ENOMEM);
		DSVM_EXPECT_EQ(s.on_device(), 0u);
		DSVM_REQUIRE(s.is_intact());
	}
	DSVM_EXPECT(failures > 0);
}

// The driver is asked for its frames when the allocation is made.
DSVM_CASE(to_device, allocation_that_cannot_be_made)
{
	struct Row {
		int error; // of the driver
		u32 npages;
		u64 fail_alloc;
		bool scattered;
		int made;
	};
	const Row rows[] = {
		{0, kSpan, 0, false, 0},
		{0, 1, 0, false, 0},
		{-DSVM_EIO, kSpan, 0, false, -DSVM_EIO},
		{-DSVM_EIO, 1, 0, false, -DSVM_EIO},
		{0, 0, 0, false, -DSVM_EINVAL},
		{0, kSpan, 1, false, -DSVM_ENOMEM},
		{0, kSpan, 1, true, -DSVM_ENOMEM},
	};

	for (const Row &row : rows) {
		Stage s;
		AllocationOptions options = {};

		options.npages = row.npages;
		options.scattered = row.scattered;
		s.world.fail(Call::kPopulate, 1, row.error);
		dsvm_env_fail_alloc(row.fail_alloc);
		Allocation &made = s.pool.add(s.world, options);
		dsvm_env_fail_alloc(0);
		DSVM_EXPECT_EQ(made.made(), row.made);
		DSVM_EXPECT(row.made == 0 || made.devmem().frames == nullptr);
	}
}

// Frames anywhere: nothing depends on their being in a row.
DSVM_CASE(to_device, scattered_frames)
{
	for (const bool runs : kBoth) {
		AllocationOptions options = {};
		options.scattered = true;
		options.copies_runs = runs;
		Scene s(kSpan, options);

		DSVM_EXPECT_EQ(s.out(true), 0);
		DSVM_EXPECT_EQ(s.allocation.pages_in_use(), kSpan);
		DSVM_EXPECT(s.allocation.pieces() >= kSpan);
		DSVM_REQUIRE(s.is_intact());
		s.allocation.settle();
		DSVM_EXPECT_EQ(s.touch(3), DSVM_FAULT_DONE);
		DSVM_EXPECT_EQ(s.in_ram(), kSpan);
		DSVM_REQUIRE(s.is_intact());
		DSVM_EXPECT_EQ(s.allocation.frames_back(), kSpan);
	}
}

DSVM_CASE(to_device, pinned_page_stays)
{
	for (u32 victim = 0; victim < kSpan; victim++) {
		AllocationOptions options = {};
		options.keeps_frames = true;
		Scene s(kSpan, options);

		s.page(victim).pinned = true;
		DSVM_EXPECT_EQ(s.out(true), -DSVM_EBUSY);
		DSVM_EXPECT_EQ(s.on_device(), 0u);
		DSVM_EXPECT(s.is_intact());
		DSVM_EXPECT_EQ(s.out(false), 0);
		DSVM_EXPECT_EQ(s.migrated, kSpan - 1);
		DSVM_EXPECT_EQ(s.on_device(), kSpan - 1);
		DSVM_EXPECT(s.pte(victim).kind == PteKind::kPresent);
		DSVM_REQUIRE(s.is_intact());
	}
}

DSVM_CASE(to_device, all_pages_pinned)
{
	Scene s;

	for (u32 i = 0; i < kSpan; i++)
		s.page(i).pinned = true;
	DSVM_EXPECT_EQ(s.out(), -DSVM_EBUSY);
	DSVM_EXPECT_EQ(s.world.calls(Call::kPageInitDevice), 0u);
	DSVM_EXPECT(s.is_intact());
}

DSVM_CASE(to_device, raced_page_stays)
{
	for (u32 victim = 0; victim < kSpan; victim += 5) {
		Scene s;

		s.page(victim).raced = true;
		DSVM_EXPECT_EQ(s.out(), 0);
		DSVM_EXPECT_EQ(s.migrated, kSpan - 1);
		DSVM_EXPECT_EQ(s.on_device(), kSpan - 1);
		DSVM_EXPECT_EQ(s.allocation.pages_in_use(), kSpan - 1);
		DSVM_EXPECT_EQ(s.allocation.frames_back(), 1u);
		DSVM_REQUIRE(s.is_intact());
	}
	// What has moved stays where it is, but it is not all.
	Scene s;
	s.page(kVictim).raced = true;
	DSVM_EXPECT_EQ(s.out(true), -DSVM_EBUSY);
	DSVM_EXPECT_EQ(s.migrated, kSpan - 1);
	DSVM_EXPECT(s.is_intact());
}

// A hole that another CPU fills between collecting and switching.
DSVM_CASE(to_device, raced_hole_keeps_the_new_page)
{
	Scene s(8);

	s.world.at(Call::kMigratePages, 1,
		   [](World &world, void *) { world.populate(world.mm(), page_at(12), 1); });
	DSVM_EXPECT_EQ(s.out(), 0);
	DSVM_EXPECT_EQ(s.migrated, kSpan - 1);
	DSVM_EXPECT(s.pte(12).kind == PteKind::kPresent);
	DSVM_EXPECT_EQ(s.world.read(s.world.mm(), page_at(12)), page_at(12));
	DSVM_EXPECT_EQ(s.allocation.pages_in_use(), kSpan - 1);
}

// Device memory that another driver made, of our owner's or mapped as RAM is: it is no
// RAM to take, and not ours to say that it is there already.
DSVM_CASE(to_device, foreign_pages_stay)
{
	for (const bool coherent : kBoth) {
		AllocationOptions options = {};
		options.keeps_frames = true;
		Scene s(8, options);

		s.world.populate_foreign(s.world.mm(), page_at(8), 4, &s, coherent);
		DSVM_EXPECT_EQ(s.out(true), -DSVM_EBUSY);
		DSVM_EXPECT_EQ(s.world.calls(Call::kPageInitDevice), 0u);
		DSVM_REQUIRE(s.is_intact(12));
		DSVM_EXPECT_EQ(s.out(false), 0);
		DSVM_EXPECT_EQ(s.migrated, kSpan - 4);
		DSVM_EXPECT_EQ(s.allocation.pages_in_use(), kSpan - 4);
		DSVM_REQUIRE(s.is_intact(12));
	}
	Scene s(0);
	s.world.populate_foreign(s.world.mm(), page_at(0), kSpan, static_cast<Stage *>(&s), false);
	DSVM_EXPECT_EQ(s.out(false), -DSVM_EBUSY);
	DSVM_EXPECT_EQ(s.migrated, 0u);
	DSVM_EXPECT_EQ(s.world.calls(Call::kPageInitDevice), 0u);
	DSVM_EXPECT(s.is_intact());
}

// A provider that can copy inside of its memory may have pages that are there moved too.
DSVM_CASE(to_device, within_the_provider)
{
	Scene s;
	AllocationOptions options = {};

	options.first = 64;
	options.npages = kSpan;
	options.owner = static_cast<Stage *>(&s);
	Allocation &other = s.pool.add(s.world, options);
	DSVM_REQUIRE_EQ(s.out(), 0);
	dsvm_to_device request = s.request(true);
	request.devmem = &other.devmem();
	DSVM_EXPECT_EQ(s.run(request), 0);
	DSVM_EXPECT_EQ(request.migrated, 0u);
	request.within_provider = true;
	DSVM_EXPECT_EQ(s.run(request), 0);
	DSVM_EXPECT_EQ(request.migrated, kSpan);
	DSVM_EXPECT_EQ(other.pages_in_use(), kSpan);
	DSVM_EXPECT_EQ(s.allocation.pages_in_use(), 0u);
	DSVM_EXPECT_EQ(s.world.counters().from_device, 0u);
	DSVM_EXPECT(s.is_intact());
}

// The same work as arrays of pieces and as runs; with a fence to be waited for, and without.
DSVM_CASE(to_device, ways_of_copying)
{
	for (u32 variant = 0; variant < 8; variant++) {
		AllocationOptions options = {};
		options.copies_runs = (variant & 1) != 0;
		options.waits_for_fence = (variant & 2) != 0;
		Scene s(kSpan - 3, options);

		s.world.set_iommu((variant & 4) != 0);
		s.page(7).pinned = true;
		DSVM_EXPECT_EQ(s.out(), 0);
		DSVM_EXPECT_EQ(s.migrated, kSpan - 1);
		DSVM_REQUIRE(s.is_intact(kSpan - 3));
		// 0-6, 8-12 and what is cleared, 13-15; a mapping has a power of two of pages, and a
		// page that is cleared has none.
		DSVM_EXPECT_EQ(s.allocation.copies(), 1u);
		DSVM_EXPECT_EQ(s.allocation.pieces(), options.copies_runs ? 3u : 3u + 2 + 3);
		s.page(7).pinned = false;
		DSVM_EXPECT_EQ(s.touch(3), DSVM_FAULT_DONE);
		DSVM_EXPECT_EQ(s.in_ram(), kSpan);
		DSVM_REQUIRE(s.is_intact(kSpan - 3));
	}
}

// A window of device addresses that cannot be had, filled or shown: page by page instead, or not
// at all; both ways.
DSVM_CASE(to_device, window_of_addresses_fails)
{
	struct Step {
		Call call;
		u32 n;
		bool moves;
	};
	const Step steps[] = {
		{Call::kIovaAlloc, World::kEvery, true},
		{Call::kIovaLink, World::kEvery, true},
		{Call::kIovaLink, 1, true},
		{Call::kIovaLink, 2, true},
		{Call::kIovaSync, World::kEvery, false},
	};

	for (const Step &step : steps) {
		for (const bool runs : kBoth) {
			AllocationOptions options = {};
			options.copies_runs = runs;
			options.keeps_frames = true;
			Scene s(kSpan - 5, options);

			s.world.set_iommu(true);
			s.page(4).pinned = true;
			s.world.fail(step.call, step.n, -DSVM_ENOMEM);
			// What has to be cleared needs no address.
			DSVM_EXPECT_EQ(s.out(), 0);
			DSVM_EXPECT_EQ(s.migrated, step.moves ? kSpan - 1 : 5u);
			DSVM_REQUIRE(s.is_intact(kSpan - 5));
			s.world.fail(step.call, 0, 0);
			s.page(4).pinned = false;
			if (!step.moves)
				continue;
			s.world.fail(step.call, step.n, -DSVM_ENOMEM);
			DSVM_EXPECT_EQ(s.touch(3), DSVM_FAULT_DONE);
			DSVM_EXPECT_EQ(s.in_ram(), kSpan);
			DSVM_REQUIRE(s.is_intact(kSpan - 5));
		}
	}
	Scene s;
	s.world.set_iommu(true);
	DSVM_REQUIRE_EQ(s.out(), 0);
	s.world.fail(Call::kIovaSync, World::kEvery, -DSVM_ENOMEM);
	DSVM_EXPECT_EQ(s.touch(3), DSVM_FAULT_OOM);
	DSVM_EXPECT_EQ(s.evict(), -DSVM_ENOSPC);
	DSVM_EXPECT_EQ(s.on_device(), kSpan);
	DSVM_REQUIRE(s.is_intact());
	s.world.fail(Call::kIovaSync, 0, 0);
	DSVM_EXPECT_EQ(s.evict(), 0);
	DSVM_EXPECT_EQ(s.world.calls(Call::kDmaMap), 0u);
	DSVM_EXPECT(s.is_intact());
}

// Where nobody has to undo a mapping, RAM is mapped with one call for each row of frames, upwards or
// downwards; until the device turns out to see a copy.
DSVM_CASE(to_device, rows_of_ram)
{
	struct Row {
		u32 first;  // has the lowest frame
		u32 step;   // from a page to the one whose frame is the next
		u32 rows;   // that are mapped with one call
		u32 alone;  // pages that lie in none
		u32 pieces; // as they are mapped one by one
	};
	const Row rows[] = {
		{0, 1, 1, 0, 1}, {kSpan - 1, kSpan - 1, 1, 0, kSpan}, {0, 7, 0, kSpan, kSpan}};

	for (u32 variant = 0; variant < 4; variant++) {
		for (const Row &row : rows) {
			AllocationOptions options = {};
			options.copies_runs = (variant & 1) != 0;
			const bool bounces = (variant & 2) != 0;
			Scene s(0, options);

			for (u32 i = 0, at = row.first; i < kSpan; i++, at += row.step)
				s.world.populate(s.world.mm(), page_at(at % kSpan), 1);
			s.world.set_direct(true, bounces ? 1 : 0);
			DSVM_EXPECT_EQ(s.out(), 0);
			DSVM_EXPECT_EQ(s.migrated, kSpan);
			DSVM_EXPECT_EQ(s.world.calls(Call::kDmaMapRun), row.rows);
			DSVM_EXPECT_EQ(s.world.calls(Call::kDmaMap),
				       bounces ? row.pieces : row.alone);
			DSVM_EXPECT_EQ(s.world.calls(Call::kDmaUnmap), bounces ? row.pieces : 0);
			DSVM_REQUIRE(s.is_intact());
			DSVM_EXPECT_EQ(s.touch(3), DSVM_FAULT_DONE);
			DSVM_EXPECT_EQ(s.in_ram(), kSpan);
			DSVM_REQUIRE(s.is_intact());
		}
	}
}
