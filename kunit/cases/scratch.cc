// SPDX-License-Identifier: GPL-2.0-only OR MIT
//
// Cases for core/migrate: which frames are kept as a list, and working memory that a provider lends.

#include "core/migrate/scratch.h"

#include "kunit/case.h"
#include "kunit/cases/scene.h"

using namespace dsvm;
using namespace dsvm::cases;

namespace {

constexpr usize kMostFrames = 64;
constexpr usize kFirstFrame = 0x1234;

// An allocation whose driver says what a case wants.
struct Frames {
	usize list[kMostFrames];
	int error = 0;

	explicit Frames(usize npages)
	{
		for (usize i = 0; i < npages; i++)
			list[i] = kFirstFrame + i;
	}
	static int populate(void *arg, usize npages, usize *pfns)
	{
		const Frames &self = *static_cast<Frames *>(arg);

		for (usize i = 0; i < npages; i++)
			pfns[i] = self.list[i];
		return self.error;
	}
};

// Whether the core takes them for what they are.
bool are_kept_right(World &world, Frames &frames, usize npages)
{
	dsvm_devmem devmem = {};
	bool in_a_row = true;

	devmem.allocation = &frames;
	devmem.provider = world.provider();
	devmem.size = npages * kPageSize;
	devmem.populate = Frames::populate;
	for (usize i = 1; i < npages; i++)
		in_a_row = in_a_row && frames.list[i] == frames.list[0] + i;
	if (dsvm_devmem_init(&devmem) != 0)
		return false;

	bool right = devmem.base == frames.list[0] && (devmem.frames == nullptr) == in_a_row;
	for (usize i = 0; devmem.frames != nullptr && i < npages; i++)
		right = right && devmem.frames[i] == frames.list[i];
	dsvm_devmem_fini(&devmem);
	return right;
}

// What is different from a row, at an index that is not 0.
enum class Change : u8 {
	kNone,
	kSwapped, // with the one before
	kTwice,	  // the one before once more
	kGap,	  // before it
	kWild,	  // far off, and the others as in a row
};

bool are_kept_right(World &world, usize npages, Change change, usize index)
{
	Frames frames{npages};
	usize *const list = frames.list;

	if (change == Change::kSwapped) {
		list[index]--;
		list[index - 1]++;
	}
	if (change == Change::kTwice)
		list[index]--;
	if (change == Change::kWild)
		list[index / 2] += 1000;
	for (usize i = index; change == Change::kGap && i < npages; i++)
		list[i]++;
	return are_kept_right(world, frames, npages);
}

// Whether a batch of @npages finds nothing in what it has borrowed; what it leaves is not empty.
bool finds_nothing(World &world, usize npages, bool runs, usize end)
{
	Scratch scratch;
	bool empty = scratch.borrow(npages, world.provider());

	if (!empty)
		return false;
	scratch.begin(npages);
	for (usize i = 0; i < npages; i++) {
		const dsvm_dma_addr &addr = scratch.addrs()[i];
		empty = empty && scratch.dst()[i] == 0 && addr.addr == 0 && addr.dir == 0;
	}
	for (usize i = 0; i < end; i++) {
		scratch.src()[i] = scratch.dst()[i] = ~usize{0};
		scratch.addrs()[i].addr = ~u64{0};
		scratch.addrs()[i].dir = DSVM_DMA_TO_DEVICE;
	}
	scratch.ends_at(end);
	if (runs) {
		dsvm_copy_run *const all = scratch.runs(npages);
		for (usize i = 0; i < npages; i++)
			all[i].npages = ~usize{0};
		return empty;
	}
	dsvm_os_page **const pages = scratch.empty_pages(npages);
	for (usize i = 0; i < npages; i++)
		empty = empty && pages[i] == nullptr;
	for (usize i = 0; i < end; i++)
		pages[i] = fake::to_os(world.page_of_pfn(fake::kRamPfn));
	return empty;
}

} // namespace

DSVM_CASE(scratch, frames_in_a_row)
{
	const usize sizes[] = {1, 2, 3, 15, 16, 17, 30, 31, 32, 46, 47, 64};
	const Change changes[] = {Change::kSwapped, Change::kTwice, Change::kGap, Change::kWild};

	for (u32 variant = 0; variant < 2 * sizeof(sizes) / sizeof(sizes[0]); variant++) {
		const usize npages = sizes[variant / 2];
		World world;

		world.set_lends(variant % 2 != 0);
		DSVM_EXPECT(are_kept_right(world, npages, Change::kNone, 0));
		for (usize i = 1; i < npages; i++) {
			for (const Change change : changes)
				DSVM_REQUIRE(are_kept_right(world, npages, change, i));
		}
	}
}

// With what is lent as without it: a driver that fails, and no memory for a list.
DSVM_CASE(scratch, frames_that_are_not_to_be_had)
{
	for (const bool lends : kBoth) {
		World world;
		Frames frames{3};
		dsvm_devmem devmem = {};

		world.set_lends(lends);
		devmem.allocation = &frames;
		devmem.provider = world.provider();
		devmem.size = 3 * kPageSize;
		devmem.populate = Frames::populate;
		frames.error = -DSVM_EIO;
		DSVM_EXPECT_EQ(dsvm_devmem_init(&devmem), -DSVM_EIO);
		DSVM_EXPECT(devmem.frames == nullptr);
		frames.error = 0;
		frames.list[1] = frames.list[2];
		dsvm_env_fail_allocs(true);
		DSVM_EXPECT_EQ(dsvm_devmem_init(&devmem), -DSVM_ENOMEM);
		DSVM_EXPECT(devmem.frames == nullptr);
		// A row needs none.
		frames.list[1]--;
		DSVM_EXPECT_EQ(dsvm_devmem_init(&devmem), lends ? 0 : -DSVM_ENOMEM);
		dsvm_env_fail_allocs(false);
	}
}

// Whoever borrows it finds it as if it were new, however much the last one has made of it.
DSVM_CASE(scratch, lent_memory_is_empty)
{
	World world;

	world.set_lends(true);
	for (const bool runs : kBoth) {
		const usize most = runs ? 16 : kBatchPages;

		DSVM_EXPECT(finds_nothing(world, most, runs, most));
		DSVM_EXPECT(finds_nothing(world, kBatchPages, runs, 1));
		DSVM_EXPECT(finds_nothing(world, 1, runs, 1));
		DSVM_EXPECT(finds_nothing(world, kBatchPages, false, 2));
		DSVM_EXPECT(finds_nothing(world, 7, runs, 0));
		DSVM_EXPECT(finds_nothing(world, kBatchPages, false, kBatchPages));
	}

	// One at a time, and no more than it has room for.
	Scratch first;
	Scratch second;
	DSVM_EXPECT(!first.borrow(kBatchPages + 1, world.provider()));
	DSVM_EXPECT(first.borrow(kBatchPages, world.provider()));
	DSVM_EXPECT(!second.borrow(1, world.provider()));
	DSVM_EXPECT(second.obtain(1, world.provider()).is_ok());
}

// There and back with what is lent alone: batches of several sizes, in both forms, with pages that
// stay, and after batches that have failed half way.
DSVM_CASE(scratch, batches_without_an_allocation)
{
	for (u32 variant = 0; variant < 4; variant++) {
		AllocationOptions options = {};
		options.copies_runs = (variant & 1) != 0;
		options.keeps_frames = true;
		Scene s(kSpan, options);

		s.world.set_lends(true);
		s.world.set_direct((variant & 2) != 0);
		dsvm_env_fail_allocs(true);
		s.world.fail(Call::kCopyToDevice, 1, -DSVM_EIO);
		DSVM_EXPECT_EQ(s.out(true), -DSVM_EIO);
		DSVM_REQUIRE(s.is_intact());
		s.page(5).pinned = true;
		DSVM_EXPECT_EQ(s.out(false), 0);
		DSVM_EXPECT_EQ(s.on_device(), kSpan - 1);
		DSVM_REQUIRE(s.is_intact());
		s.page(5).pinned = false;
		s.world.fail(Call::kCopyToRam, 1, -DSVM_EIO);
		DSVM_EXPECT_EQ(s.evict(s.allocation, 2, 3), 0);
		DSVM_EXPECT_EQ(s.in_ram(), 4u);
		DSVM_REQUIRE(s.is_intact());
		DSVM_EXPECT_EQ(s.touch(12), DSVM_FAULT_DONE);
		DSVM_EXPECT_EQ(s.in_ram(), kSpan);
		DSVM_REQUIRE(s.is_intact());
		dsvm_env_fail_allocs(false);
	}
}
