// SPDX-License-Identifier: GPL-2.0-only OR MIT
//
// Cases for core/migrate: any span of an address space to a device, as far as it can. Each run
// of a job checks its own report: see JobScene::check().

#include "kunit/case.h"
#include "kunit/cases/scene.h"

using namespace dsvm;
using namespace dsvm::cases;

namespace {

constexpr u32 kBlockPages = 512;

// What a page may be before the job, and what is said of it then.
struct State {
	const char *name;
	void (*make)(JobScene &s, u32 index);
	dsvm_stay said;
	dsvm_stay after_fault_in; // with fault_in
};

void make_ram(JobScene &, u32) {}

void make_hole(JobScene &s, u32 index)
{
	s.world.clear_pte(s.pte(index));
}

void make_swapped(JobScene &s, u32 index)
{
	s.world.swap_out(s.world.mm(), page_at(index));
}

void make_pinned(JobScene &s, u32 index)
{
	s.page(index).pinned = true;
}

void make_locked(JobScene &s, u32 index)
{
	s.world.lock_page(&s.page(index));
}

template <dsvm_stay kStay> void make_held(JobScene &s, u32 index)
{
	s.page(index).stays = kStay;
}

void make_merged(JobScene &s, u32 index)
{
	s.page(index).merged = true;
}

void make_raced(JobScene &s, u32 index)
{
	s.page(index).raced = true;
}

void make_foreign(JobScene &s, u32 index)
{
	s.world.clear_pte(s.pte(index));
	s.world.populate_foreign(s.world.mm(), page_at(index), 1, static_cast<Stage *>(&s), false);
}

void make_coherent(JobScene &s, u32 index)
{
	s.world.clear_pte(s.pte(index));
	s.world.populate_foreign(s.world.mm(), page_at(index), 1, static_cast<Stage *>(&s), true);
}

void make_device(JobScene &s, u32 index, u32 provider, void *owner)
{
	AllocationOptions options = {};

	options.first = 400 + index;
	options.npages = 1;
	options.owner = owner;
	options.provider = provider;
	Allocation &made = s.pool.add(s.world, options);
	dsvm_os_page *const page =
		dsvm_os_page_init_device(s.world.pfn_of(made.page(0)), made.devmem().zdd, 0);
	fake::from_os(page)->content = page_at(index);
	s.world.clear_pte(s.pte(index));
	s.world.set_pte(s.pte(index), PteKind::kDevice, fake::from_os(page), fake::Writable::Yes);
	dsvm_os_page_discard(page);
}

void make_here(JobScene &s, u32 index)
{
	make_device(s, index, 0, static_cast<Stage *>(&s));
}

void make_peer(JobScene &s, u32 index)
{
	make_device(s, index, 1, static_cast<Stage *>(&s));
}

void make_other_owner(JobScene &s, u32 index)
{
	make_device(s, index, 1, nullptr);
}

const State kStates[] = {
	{"ram", make_ram, DSVM_MOVED, DSVM_MOVED},
	{"hole", make_hole, DSVM_MOVED, DSVM_MOVED},
	{"swapped", make_swapped, DSVM_STAY_SWAPPED, DSVM_MOVED},
	{"pinned", make_pinned, DSVM_STAY_PINNED, DSVM_STAY_PINNED},
	{"locked", make_locked, DSVM_STAY_LOCKED, DSVM_STAY_LOCKED},
	{"writeback", make_held<DSVM_STAY_WRITEBACK>, DSVM_STAY_WRITEBACK, DSVM_STAY_WRITEBACK},
	{"swap cache", make_held<DSVM_STAY_SWAP_CACHE>, DSVM_STAY_SWAP_CACHE, DSVM_STAY_SWAP_CACHE},
	{"raced", make_raced, DSVM_STAY_BUSY, DSVM_STAY_BUSY},
	{"foreign", make_foreign, DSVM_STAY_FOREIGN, DSVM_MOVED},
	{"coherent", make_coherent, DSVM_STAY_FOREIGN, DSVM_STAY_FOREIGN},
	{"here", make_here, DSVM_WAS_THERE, DSVM_WAS_THERE},
	{"peer", make_peer, DSVM_MOVED, DSVM_MOVED},
	{"other owner", make_other_owner, DSVM_STAY_SWAPPED, DSVM_MOVED},
	{"merged", make_merged, DSVM_STAY_BUSY, DSVM_STAY_BUSY},
};

} // namespace

DSVM_CASE(job, all_pages_move)
{
	JobScene s(40);

	s.fill();
	DSVM_EXPECT_EQ(s.out(), 0);
	DSVM_EXPECT_EQ(s.last.result[DSVM_MOVED], 40u);
	DSVM_EXPECT_EQ(s.on_device(), 40u);
	DSVM_EXPECT_EQ(s.pool.count(), 1u);
	DSVM_REQUIRE(s.is_intact());
	// Again: nothing is asked for.
	DSVM_EXPECT_EQ(s.out(), 0);
	DSVM_EXPECT_EQ(s.last.result[DSVM_WAS_THERE], 40u);
	DSVM_EXPECT_EQ(s.pool.count(), 1u);
	DSVM_EXPECT(s.is_intact());
	DSVM_EXPECT_EQ(s.pool.frames_lost(), 0u);
}

// Every state that a page may be in, in the middle and at the edges of a span.
DSVM_CASE(job, source_states)
{
	const u32 places[] = {0, 7, 15};

	for (const State &row : kStates) {
		for (const u32 place : places) {
			for (const bool fault_in : kBoth) {
				JobScene s(16);

				s.fill();
				row.make(s, place);
				const u64 content = s.world.read(s.world.mm(), page_at(place));
				s.last = s.job();
				s.last.fault_in = fault_in;
				DSVM_EXPECT_EQ(s.run(s.last), 0);
				const dsvm_stay said = fault_in ? row.after_fault_in : row.said;
				if (!DSVM_CASE_CHECK_EQ_(s.report[place], said))
					DSVM_CASE_LOG("%s at %u, fault_in %d", row.name, place,
						      fault_in);
				for (u32 i = 0; i < 16; i++) {
					if (i != place)
						DSVM_EXPECT_EQ(s.report[i], DSVM_MOVED);
				}
				DSVM_EXPECT_EQ(s.world.read(s.world.mm(), page_at(place)), content);
				if (row.make == make_locked)
					s.world.unlock_page(&s.page(place));
				DSVM_EXPECT_EQ(s.world.dma_mappings(), 0u);
				// Once for each try.
				DSVM_EXPECT_EQ(s.world.counters().stayed != 0,
					       row.said > DSVM_WAS_THERE);
				DSVM_EXPECT_EQ(s.pool.frames_lost(), 0u);
			}
		}
	}
}

// VMAs of all kinds, and none, in one span.
DSVM_CASE(job, vmas_and_holes)
{
	JobScene s(64);

	s.world.add_vma(s.world.mm(), page_at(4), page_end(11));
	s.world.add_vma(s.world.mm(), page_at(12), page_end(19), fake::Writable::No);
	s.world.add_vma(s.world.mm(), page_at(24), page_end(31)).anonymous = false;
	s.world.add_vma(s.world.mm(), page_at(32), page_end(35)).special = true;
	s.world.add_vma(s.world.mm(), page_at(40), page_end(43)).unreadable = true;
	s.world.add_vma(s.world.mm(), page_at(60), page_end(70));
	s.world.populate(s.world.mm(), page_at(4), 16);
	s.world.populate(s.world.mm(), page_at(24), 8);
	s.world.populate(s.world.mm(), page_at(40), 4);
	s.world.populate(s.world.mm(), page_at(60), 11);
	DSVM_EXPECT_EQ(s.out(), 0);
	for (u32 i = 0; i < 64; i++) {
		const dsvm_stay said = i < 4	? DSVM_STAY_NO_MEMORY_MAP
				       : i < 20 ? DSVM_MOVED
				       : i < 24 ? DSVM_STAY_NO_MEMORY_MAP
				       : i < 36 ? DSVM_STAY_NOT_ANONYMOUS
				       : i < 40 ? DSVM_STAY_NO_MEMORY_MAP
				       : i < 44 ? DSVM_STAY_SWAPPED
				       : i < 60 ? DSVM_STAY_NO_MEMORY_MAP
						: DSVM_MOVED;

		DSVM_EXPECT_EQ(s.report[i], said);
	}
	DSVM_EXPECT_EQ(s.on_device(), 20u);
	// Outside of the span nothing has changed.
	DSVM_EXPECT_EQ(s.world.count(s.world.mm(), page_at(64), page_end(70), PteKind::kPresent),
		       7u);
	for (u32 i = 0; i < 71; i++) {
		const bool mapped =
			(i >= 4 && i < 20) || (i >= 24 && i < 32) || (i >= 40 && i < 44) || i >= 60;

		DSVM_EXPECT_EQ(s.world.read(s.world.mm(), page_at(i)), mapped ? page_at(i) : 0);
	}
}

DSVM_CASE(job, nothing_there)
{
	JobScene s(64);

	DSVM_EXPECT_EQ(s.out(), 0);
	DSVM_EXPECT_EQ(s.last.result[DSVM_STAY_NO_MEMORY_MAP], 64u);
	DSVM_EXPECT_EQ(s.pool.count(), 0u);
}

DSVM_CASE(job, refuses)
{
	JobScene s(16);

	s.fill();
	s.last = s.job();
	s.last.first++;
	DSVM_EXPECT_EQ(dsvm_migrate_run_job(&s.last), -DSVM_EINVAL);
	s.last = s.job();
	s.last.last--;
	DSVM_EXPECT_EQ(dsvm_migrate_run_job(&s.last), -DSVM_EINVAL);
	s.last = s.job();
	s.last.last = s.last.first - 1;
	DSVM_EXPECT_EQ(dsvm_migrate_run_job(&s.last), -DSVM_EINVAL);
	DSVM_EXPECT_EQ(s.on_device(), 0u);
	DSVM_EXPECT(s.is_intact());
}

// Device memory is asked for run by run: only for what is not there yet.
DSVM_CASE(job, allocations_fit_the_runs)
{
	JobScene s(64);

	s.fill();
	make_here(s, 10);
	make_here(s, 30);
	const u32 before = s.pool.count();
	DSVM_EXPECT_EQ(s.out(), 0);
	DSVM_EXPECT_EQ(s.last.result[DSVM_MOVED], 62u);
	DSVM_EXPECT_EQ(s.last.result[DSVM_WAS_THERE], 2u);
	DSVM_REQUIRE_EQ(s.pool.count(), before + 3);
	DSVM_EXPECT_EQ(s.pool.at(before).options().npages, 10u);
	DSVM_EXPECT_EQ(s.pool.at(before + 1).options().npages, 19u);
	DSVM_EXPECT_EQ(s.pool.at(before + 2).options().npages, 33u);
	DSVM_EXPECT_EQ(s.pool.frames_lost(), 0u);
	DSVM_EXPECT(s.is_intact());
}

// There is room for a few runs at a time, and a block may have more.
DSVM_CASE(job, many_runs_in_a_block)
{
	JobScene s(64);

	s.fill();
	for (u32 index = 8; index < 64; index += 8)
		make_here(s, index);
	const u32 before = s.pool.count();
	DSVM_EXPECT_EQ(s.out(), 0);
	DSVM_EXPECT_EQ(s.last.result[DSVM_MOVED], 57u);
	DSVM_EXPECT_EQ(s.last.result[DSVM_WAS_THERE], 7u);
	DSVM_EXPECT_EQ(s.pool.count(), before + 8);
	DSVM_EXPECT(s.is_intact());
}

// Frames for pages that stay go back to the driver before the job ends.
DSVM_CASE(job, unused_frames_go_back)
{
	// Or they do not, if the driver has no use for them.
	for (const bool keeps : kBoth) {
		JobScene s(16);

		s.options.keeps_frames = keeps;
		s.fill();
		make_pinned(s, 3);
		make_pinned(s, 4);
		make_raced(s, 9);
		DSVM_EXPECT_EQ(s.out(), 0);
		DSVM_EXPECT_EQ(s.world.calls(Call::kUnused), keeps ? 0u : 1u);
		DSVM_EXPECT_EQ(s.pool.at(0).frames_back(), keeps ? 0u : 3u);
		DSVM_EXPECT_EQ(s.pool.at(0).pages_in_use(), 13u);
		DSVM_EXPECT(s.is_intact());
	}
}

// -ENOSPC ends with the pages that the memory was for; any other error ends the job.
DSVM_CASE(job, device_memory_runs_out)
{
	const u32 kPages = 2 * kBlockPages;
	const int errors[] = {-DSVM_ENOSPC, -DSVM_ENOMEM, -DSVM_EIO};

	for (const int error : errors) {
		for (u32 n = 1; n <= 2; n++) {
			JobScene s(kPages);

			s.world.add_vma(s.world.mm(), page_at(0), page_end(kPages - 1));
			s.world.populate(s.world.mm(), page_at(0), 8);
			s.world.populate(s.world.mm(), page_at(kBlockPages), 8);
			s.frames = kPages / 2;
			for (u32 i = 8; i < kBlockPages; i++) {
				s.pte(i).kind = PteKind::kSwapped;
				s.pte(kBlockPages + i).kind = PteKind::kSwapped;
			}
			s.world.fail(Call::kJobAlloc, n, error);
			const bool goes_on = error == -DSVM_ENOSPC;
			DSVM_EXPECT_EQ(s.out(), goes_on ? 0 : error);
			const u8 first = s.report[0];
			const u8 second = s.report[kBlockPages];
			if (goes_on) {
				DSVM_EXPECT_EQ(first,
					       n == 1 ? DSVM_STAY_NO_DEVICE_MEMORY : DSVM_MOVED);
				DSVM_EXPECT_EQ(second,
					       n == 2 ? DSVM_STAY_NO_DEVICE_MEMORY : DSVM_MOVED);
			} else {
				DSVM_EXPECT_EQ(second, DSVM_STAY_NOT_TRIED);
				DSVM_EXPECT(first == DSVM_STAY_NOT_TRIED ||
					    (n == 2 && first == DSVM_MOVED));
			}
			for (u32 i = 0; i < 8; i++) {
				DSVM_EXPECT_EQ(s.world.read(s.world.mm(), page_at(i)), page_at(i));
				DSVM_EXPECT_EQ(s.world.read(s.world.mm(), page_at(kBlockPages + i)),
					       page_at(kBlockPages + i));
			}
			DSVM_EXPECT_EQ(s.pool.frames_lost(), 0u);
		}
	}
}

// A driver that gives less than it was asked for.
DSVM_CASE(job, too_little_device_memory)
{
	JobScene s(16);

	s.fill();
	s.short_by = 1;
	DSVM_EXPECT_EQ(s.out(), -DSVM_EINVAL);
	DSVM_EXPECT_EQ(s.on_device(), 0u);
	DSVM_EXPECT(s.is_intact());
}

DSVM_CASE(job, each_step_fails)
{
	struct Step {
		Call call;
		u32 n;
		int error;
		int result;
	};
	const Step steps[] = {
		{Call::kJobAlloc, 1, -DSVM_EIO, -DSVM_EIO},
		{Call::kMigrateSetup, 1, -DSVM_ENOMEM, -DSVM_ENOMEM},
		{Call::kCopyToDevice, 1, -DSVM_EIO, -DSVM_EIO},
		{Call::kFenceWait, 1, -DSVM_EIO, -DSVM_EIO},
	};

	for (const Step &step : steps) {
		for (const bool pins : kBoth) {
			JobScene s(16);

			s.options.waits_for_fence = step.call == Call::kFenceWait;
			s.world.set_vma_pins(pins);
			s.fill();
			s.world.fail(step.call, step.n, step.error);
			DSVM_EXPECT_EQ(s.out(), step.result);
			DSVM_EXPECT_EQ(s.last.result[DSVM_MOVED], 0u);
			DSVM_EXPECT_EQ(s.on_device(), 0u);
			DSVM_EXPECT_EQ(s.pool.pages_in_use(), 0u);
			DSVM_EXPECT_EQ(s.pool.frames_lost(), 0u);
			DSVM_REQUIRE(s.is_intact());
			DSVM_EXPECT_EQ(s.out(), 0);
			DSVM_EXPECT_EQ(s.last.result[DSVM_MOVED], 16u);
			DSVM_REQUIRE(s.is_intact());
		}
	}
}

// RAM that DMA does not reach, all of it or piece by piece.
DSVM_CASE(job, ram_out_of_reach)
{
	JobScene s(16);

	s.fill();
	s.world.fail(Call::kDmaMap, World::kEvery, -DSVM_EFAULT);
	DSVM_EXPECT_EQ(s.out(), 0);
	DSVM_EXPECT_EQ(s.last.result[DSVM_STAY_NO_DMA], 16u);
	DSVM_EXPECT_EQ(s.pool.pages_in_use(), 0u);
	DSVM_EXPECT_EQ(s.pool.frames_lost(), 0u);
	DSVM_REQUIRE(s.is_intact());
	s.world.fail(Call::kDmaMap, 0, 0);
	s.world.set_max_dma_order(1);
	DSVM_EXPECT_EQ(s.out(), 0);
	DSVM_EXPECT_EQ(s.last.result[DSVM_MOVED], 16u);
	DSVM_REQUIRE(s.is_intact());
}

DSVM_CASE(job, each_allocation_fails)
{
	u32 failures = 0;

	for (u64 n = 1;; n++) {
		JobScene s(16);

		s.fill();
		dsvm_env_fail_alloc(n);
		const int result = s.out();
		dsvm_env_fail_alloc(0);
		DSVM_REQUIRE(s.is_intact());
		DSVM_EXPECT_EQ(s.pool.frames_lost(), 0u);
		if (result == 0 && !dsvm_env_alloc_failed())
			break;
		failures++;
		DSVM_EXPECT(result == 0 || result == -DSVM_ENOMEM);
		DSVM_EXPECT_EQ(s.on_device(), result == 0 ? 16u : 0u);
	}
	DSVM_EXPECT(failures > 0);
}

DSVM_CASE(job, killed)
{
	const Call points[] = {Call::kJobAlloc, Call::kCopyToDevice, Call::kMigrateFinalize};

	for (const Call point : points) {
		JobScene s(2 * kBlockPages);

		s.fill();
		s.frames = 2 * kBlockPages;
		s.world.at(point, 1, [](World &, void *) { dsvm_env_set_killed(true); });
		const int result = s.out();
		dsvm_env_set_killed(false);
		DSVM_EXPECT(result == 0 || result == -DSVM_EINTR);
		DSVM_EXPECT_EQ(result == 0, s.last.result[DSVM_STAY_NOT_TRIED] == 0);
		DSVM_EXPECT_EQ(s.pool.frames_lost(), 0u);
		DSVM_REQUIRE(s.is_intact());
	}
}

// Another CPU unmaps a part between the look and the setup, the lock being free then.
DSVM_CASE(job, unmapped_while_memory_is_allocated)
{
	JobScene s(16);

	s.fill();
	s.moves_meanwhile = true;
	s.world.at(Call::kJobAlloc, 1,
		   [](World &world, void *) { world.unmap(world.mm(), page_at(5), page_end(8)); });
	DSVM_EXPECT_EQ(s.out(), 0);
	DSVM_EXPECT_EQ(s.last.result[DSVM_MOVED], s.on_device());
	DSVM_EXPECT_EQ(s.last.result[DSVM_MOVED] + s.last.result[DSVM_STAY_BUSY], 16u);
	DSVM_EXPECT_EQ(s.pool.frames_lost(), 0u);
	for (u32 i = 0; i < 16; i++)
		DSVM_EXPECT_EQ(s.world.read(s.world.mm(), page_at(i)),
			       i >= 5 && i <= 8 ? 0 : page_at(i));
}

// All of it unmapped: there is nothing to be done with what was allocated.
DSVM_CASE(job, all_unmapped_while_memory_is_allocated)
{
	JobScene s(16);

	s.fill();
	s.world.at(Call::kJobAlloc, 1,
		   [](World &world, void *) { world.unmap(world.mm(), page_at(0), page_end(15)); });
	DSVM_EXPECT_EQ(s.out(), 0);
	DSVM_EXPECT_EQ(s.last.result[DSVM_MOVED], 0u);
	DSVM_EXPECT_EQ(s.pool.pages_in_use(), 0u);
	DSVM_EXPECT_EQ(s.pool.frames_lost(), 0u);
}

// Without a report the counts are the same.
DSVM_CASE(job, without_a_report)
{
	JobScene s(16);

	s.fill();
	make_pinned(s, 3);
	s.last = s.job();
	s.last.report = nullptr;
	DSVM_EXPECT_EQ(s.run(s.last), 0);
	DSVM_EXPECT_EQ(s.last.result[DSVM_MOVED], 15u);
	DSVM_EXPECT_EQ(s.last.result[DSVM_STAY_PINNED], 1u);
}

// The same with random states of all pages, any kernel, any way of copying.
DSVM_CASE(job, random_spans)
{
	cases::Random random;

	for (u32 round = 0; round < cases::rounds(60); round++) {
		const u32 npages = 8 + static_cast<u32>(random.below(56));
		JobScene s(npages);
		u8 expected[64];

		s.options.copies_runs = random.chance(50);
		s.options.waits_for_fence = random.chance(50);
		s.options.scattered = random.chance(30);
		s.world.set_vma_pins(random.chance(50));
		s.world.set_iommu(random.chance(30));
		s.fill();
		u32 devices = 0;
		u32 holes = 0;
		for (u32 i = 0; i < npages; i++) {
			const u32 pick = random.chance(60) ? 0 : static_cast<u32>(random.below(13));
			const bool is_device = pick >= 8;

			devices += is_device;
			const State &row = kStates[is_device && devices > 16 ? 0 : pick];
			// A driver that is not ours has one page of each kind.
			const bool is_foreign =
				row.make == make_foreign || row.make == make_coherent;
			const State &used = is_foreign ? kStates[0] : row;
			used.make(s, i);
			holes += used.make == make_hole;
			expected[i] = static_cast<u8>(used.said);
		}
		u32 zeroes = 0;
		DSVM_EXPECT_EQ(s.out(), 0);
		for (u32 i = 0; i < npages; i++) {
			DSVM_REQUIRE_EQ(s.report[i], expected[i]);
			// Of untouched memory there is nothing to read, but zeroes.
			if (s.world.read(s.world.mm(), page_at(i)) != 0)
				DSVM_REQUIRE_EQ(s.world.read(s.world.mm(), page_at(i)), page_at(i));
			else
				zeroes++;
			if (expected[i] == DSVM_STAY_LOCKED)
				s.world.unlock_page(&s.page(i));
		}
		DSVM_EXPECT_EQ(zeroes, holes);
		DSVM_EXPECT_EQ(s.pool.frames_lost(), 0u);
		DSVM_EXPECT_EQ(s.world.dma_mappings(), 0u);
	}
}
