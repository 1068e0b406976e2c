// SPDX-License-Identifier: GPL-2.0-only OR MIT
//
// Cases for core/migrate: batches of a job that overlap, the locks that they do without,
// workers, and what is counted and traced.

#include "kunit/case.h"
#include "kunit/cases/scene.h"

using namespace dsvm;
using namespace dsvm::cases;

namespace {

constexpr u32 kRunCount = 6;
constexpr u32 kRunPages = 8;
constexpr u32 kBlockOfPages = 512;

// Six runs, each a VMA of eight pages; the copies are done when they are waited for.
class Runs : public JobScene {
public:
	explicit Runs(bool pins = true) : JobScene(kRunCount * 2 * kRunPages)
	{
		for (u32 i = 0; i < kRunCount; i++) {
			const u32 first = i * 2 * kRunPages;

			world.add_vma(world.mm(), page_at(first), page_end(first + kRunPages - 1));
			world.populate(world.mm(), page_at(first), kRunPages);
		}
		world.set_vma_pins(pins);
		options.waits_for_fence = true;
	}
	// Of the pages that there are, nothing is lost.
	[[nodiscard]] bool is_intact()
	{
		for (u32 i = 0; i < npages; i++) {
			const bool there = i / kRunPages % 2 == 0;

			if (world.read(world.mm(), page_at(i)) != (there ? page_at(i) : 0))
				return false;
		}
		return world.dma_mappings() == 0 && world.fences() == 0 && world.vma_pins() == 0;
	}
};

// What was seen by hooks.
struct Seen {
	u32 most_copies = 0;	// under way at a setup
	u32 copies_at_wait = 0; // under way when the lock was waited for
	u32 waits_with_lock = 0;
};

void see_setup(World &world, void *arg)
{
	Seen &seen = *static_cast<Seen *>(arg);

	if (world.fences() > seen.most_copies)
		seen.most_copies = world.fences();
}

void see_lock(World &world, void *arg)
{
	static_cast<Seen *>(arg)->copies_at_wait += world.fences();
}

void see_wait(World &world, void *arg)
{
	static_cast<Seen *>(arg)->waits_with_lock += dsvm_env_lock_is_held(world.mm().lock);
}

} // namespace

// The second batch is set up while the first one copies, and the lock is not held meanwhile.
DSVM_CASE(pipeline, two_batches_overlap)
{
	Runs s;
	Seen seen;

	s.world.at(Call::kMigrateSetup, World::kEvery, see_setup, &seen);
	s.world.at(Call::kFenceWait, World::kEvery, see_wait, &seen);
	s.world.at(Call::kMmReadLock, World::kEvery, see_lock, &seen);
	DSVM_EXPECT_EQ(s.out(), 0);
	DSVM_EXPECT_EQ(s.on_device(), kRunCount * kRunPages);
	DSVM_EXPECT_EQ(seen.most_copies, 1u);
	DSVM_EXPECT_EQ(seen.waits_with_lock, 0u);
	DSVM_EXPECT_EQ(seen.copies_at_wait, 0u);
	DSVM_EXPECT(s.world.calls(Call::kMmReadTrylock) >= kRunCount / 2);
	DSVM_EXPECT_EQ(s.world.calls(Call::kVmaPin), kRunCount);
	DSVM_EXPECT_EQ(s.world.calls(Call::kVmaUnpin), kRunCount);
	DSVM_EXPECT(s.is_intact());
}

// Who cannot have the lock at once finishes first what others may wait for.
DSVM_CASE(pipeline, drained_before_the_lock_is_waited_for)
{
	Runs s;
	Seen seen;

	s.world.fail(Call::kMmReadTrylock, World::kEvery, -1);
	s.world.at(Call::kMmReadLock, World::kEvery, see_lock, &seen);
	s.world.at(Call::kMigrateSetup, World::kEvery, see_setup, &seen);
	DSVM_EXPECT_EQ(s.out(), 0);
	DSVM_EXPECT_EQ(s.on_device(), kRunCount * kRunPages);
	DSVM_EXPECT_EQ(seen.copies_at_wait, 0u);
	DSVM_EXPECT_EQ(seen.most_copies, 0u);
	DSVM_EXPECT(s.is_intact());
}

// Without pins the lock is held from the first batch of a group to its last; and each of them
// may refuse one.
DSVM_CASE(pipeline, without_pins)
{
	{
		Runs s(false);
		Seen seen;

		s.world.at(Call::kFenceWait, World::kEvery, see_wait, &seen);
		s.world.at(Call::kMigrateSetup, World::kEvery, see_setup, &seen);
		DSVM_EXPECT_EQ(s.out(), 0);
		DSVM_EXPECT_EQ(s.on_device(), kRunCount * kRunPages);
		DSVM_EXPECT_EQ(seen.waits_with_lock, kRunCount);
		DSVM_EXPECT_EQ(seen.most_copies, 1u);
		DSVM_EXPECT(s.is_intact());
	}
	for (u32 n = 1; n <= kRunCount; n++) {
		Runs t;

		t.world.fail(Call::kVmaPin, n, -1);
		DSVM_EXPECT_EQ(t.out(), 0);
		DSVM_EXPECT_EQ(t.on_device(), kRunCount * kRunPages);
		DSVM_EXPECT_EQ(t.world.calls(Call::kVmaUnpin), kRunCount - 1);
		DSVM_REQUIRE(t.is_intact());
	}
}

// Each batch failing in turn, with another one under way: that one is finished.
DSVM_CASE(pipeline, each_batch_fails)
{
	struct Step {
		Call call;
		int error;
	};
	const Step steps[] = {
		{Call::kFenceWait, -DSVM_EIO},
		{Call::kCopyToDevice, -DSVM_EIO},
		{Call::kMigrateSetup, -DSVM_ENOMEM},
		{Call::kJobAlloc, -DSVM_EIO},
	};

	for (const Step &step : steps) {
		for (u32 n = 1; n <= kRunCount; n++) {
			for (const bool pins : kBoth) {
				Runs s(pins);

				s.world.fail(step.call, n, step.error);
				DSVM_EXPECT_EQ(s.out(), step.error);
				DSVM_EXPECT(s.on_device() < kRunCount * kRunPages);
				DSVM_EXPECT_EQ(s.on_device(), s.pool.pages_in_use());
				DSVM_EXPECT_EQ(s.last.result[DSVM_MOVED], s.on_device());
				DSVM_EXPECT(s.last.result[DSVM_STAY_NOT_TRIED] >= kRunPages);
				DSVM_EXPECT_EQ(s.pool.frames_lost(), 0u);
				DSVM_REQUIRE(s.is_intact());
				DSVM_EXPECT_EQ(s.out(), 0);
				DSVM_EXPECT_EQ(s.on_device(), kRunCount * kRunPages);
				DSVM_REQUIRE(s.is_intact());
			}
		}
	}
}

// A setup that the kernel refuses for reasons of its own ends with its run.
DSVM_CASE(pipeline, refused_setup)
{
	for (u32 n = 1; n <= kRunCount; n++) {
		Runs s;

		s.world.fail(Call::kMigrateSetup, n, -DSVM_EINVAL);
		DSVM_EXPECT_EQ(s.out(), 0);
		DSVM_EXPECT_EQ(s.last.result[DSVM_STAY_NOT_ANONYMOUS], kRunPages);
		DSVM_EXPECT_EQ(s.on_device(), (kRunCount - 1) * kRunPages);
		DSVM_EXPECT_EQ(s.pool.frames_lost(), 0u);
		DSVM_REQUIRE(s.is_intact());
	}
}

DSVM_CASE(pipeline, killed_on_the_way)
{
	for (u32 n = 1; n <= kRunCount; n++) {
		Runs s;

		s.world.at(Call::kCopyToDevice, n,
			   [](World &, void *) { dsvm_env_set_killed(true); });
		const int result = s.out();
		dsvm_env_set_killed(false);
		DSVM_EXPECT_EQ(result, n == kRunCount ? 0 : -DSVM_EINTR);
		DSVM_EXPECT_EQ(s.on_device(), n * kRunPages);
		DSVM_EXPECT_EQ(s.last.result[DSVM_STAY_NOT_TRIED] != 0, n != kRunCount);
		DSVM_REQUIRE(s.is_intact());
	}
}

// Each group has a second try of its own, and one.
DSVM_CASE(pipeline, second_tries)
{
	Runs s;

	for (u32 i = 0; i < kRunCount; i++)
		s.world.swap_out(s.world.mm(), page_at(i * 2 * kRunPages + 3));
	s.last = s.job();
	s.last.fault_in = true;
	DSVM_EXPECT_EQ(s.run(s.last), 0);
	DSVM_EXPECT_EQ(s.last.result[DSVM_MOVED], kRunCount * kRunPages);
	DSVM_EXPECT_EQ(s.last.result[DSVM_STAY_NOT_TRIED], 0u);
	DSVM_EXPECT_EQ(s.on_device(), kRunCount * kRunPages);
	DSVM_EXPECT_EQ(s.pool.count(), 2 * kRunCount);
	DSVM_EXPECT(s.is_intact());
}

// VMAs that change while their memory is allocated are told from those that have not.
DSVM_CASE(pipeline, vmas_that_change)
{
	Runs s;

	s.world.at(Call::kJobAlloc, 2, [](World &world, void *) {
		world.unmap(world.mm(), page_at(0), page_end(kRunPages - 1));
		for (fake::Vma &vma : world.mm().vmas) {
			if (vma.in_use && vma.first == page_at(2 * kRunPages))
				vma.anonymous = false;
			if (vma.in_use && vma.first == page_at(4 * kRunPages))
				vma.special = true;
			if (vma.in_use && vma.first == page_at(6 * kRunPages))
				vma.unreadable = true;
		}
	});
	DSVM_EXPECT_EQ(s.out(), 0);
	DSVM_EXPECT_EQ(s.last.result[DSVM_MOVED], (kRunCount - 4) * kRunPages);
	DSVM_EXPECT_EQ(s.on_device(), (kRunCount - 4) * kRunPages);
	DSVM_EXPECT_EQ(s.pool.frames_lost(), 0u);
	DSVM_EXPECT_EQ(s.world.vma_pins(), 0u);
}

// Several workers have the blocks of a span among them, and nothing is left out or done twice.
DSVM_CASE(pipeline, workers)
{
	for (u32 workers = 0; workers <= 4; workers++) {
		JobScene s(2 * kBlockOfPages);

		s.frames = 2 * kBlockOfPages;
		s.world.add_vma(s.world.mm(), page_at(500), page_end(523));
		s.world.add_vma(s.world.mm(), page_at(1020), page_end(1023));
		s.world.populate(s.world.mm(), page_at(500), 24);
		s.world.populate(s.world.mm(), page_at(1020), 4);
		s.last = s.job();
		s.last.workers = workers;
		DSVM_EXPECT_EQ(s.run(s.last), 0);
		DSVM_EXPECT_EQ(s.on_device(), 28u);
		DSVM_EXPECT_EQ(s.last.result[DSVM_MOVED], 28u);
		DSVM_EXPECT_EQ(s.last.result[DSVM_STAY_NO_MEMORY_MAP], 2 * kBlockOfPages - 28);
		// No run crosses a block.
		DSVM_EXPECT_EQ(s.pool.count(), 3u);
	}
}

// The error of one ends the others, and is what the job says.
DSVM_CASE(pipeline, a_worker_fails)
{
	JobScene s(2 * kBlockOfPages);

	s.world.add_vma(s.world.mm(), page_at(508), page_end(515));
	s.world.populate(s.world.mm(), page_at(508), 8);
	s.world.fail(Call::kJobAlloc, 1, -DSVM_EIO);
	s.last = s.job();
	s.last.workers = 2;
	DSVM_EXPECT_EQ(s.run(s.last), -DSVM_EIO);
	DSVM_EXPECT_EQ(s.last.result[DSVM_STAY_NOT_TRIED] >= 8, true);
	DSVM_EXPECT_EQ(s.on_device(), 0u);
	DSVM_EXPECT_EQ(s.world.calls(Call::kJobAlloc), 1u);
}

// One event for each phase of each batch, in order; the counters are their sums.
DSVM_CASE(pipeline, counters_are_the_sums_of_the_trace)
{
	Runs s;

	s.page(3).pinned = true;
	DSVM_EXPECT_EQ(s.out(), 0);
	s.page(3).pinned = false;
	DSVM_EXPECT_EQ(s.touch(0), DSVM_FAULT_DONE);
	DSVM_EXPECT_EQ(s.evict(s.pool.at(1)), 0);

	dsvm_migrate_counters sums = {};
	const fake::Traces &traces = s.world.traces();
	DSVM_REQUIRE(traces.count <= fake::kTraces);
	for (u32 i = 0; i < traces.count; i++) {
		const dsvm_migrate_event &event = traces.events[i];
		dsvm_phase_counters &row = sums.phase[event.way][event.npages >= 16];

		row.setup_ns += event.phase == DSVM_PHASE_SETUP ? event.ns : 0;
		row.map_ns += event.phase == DSVM_PHASE_MAP ? event.ns : 0;
		row.copy_ns += event.phase == DSVM_PHASE_COPY ? event.ns : 0;
		if (event.phase == DSVM_PHASE_FINALIZE) {
			row.finalize_ns += event.ns;
			row.batches++;
			row.bytes += event.count * kPageSize;
		}
		DSVM_EXPECT(event.ns > 0);
		DSVM_EXPECT_EQ(event.status, 0);
	}
	const dsvm_migrate_counters &counters = s.world.counters();
	for (u32 way = 0; way < DSVM_WAYS; way++) {
		for (u32 size = 0; size < DSVM_SIZES; size++) {
			const dsvm_phase_counters &a = counters.phase[way][size];
			const dsvm_phase_counters &b = sums.phase[way][size];

			DSVM_EXPECT_EQ(a.batches, b.batches);
			DSVM_EXPECT_EQ(a.bytes, b.bytes);
			DSVM_EXPECT_EQ(a.setup_ns, b.setup_ns);
			DSVM_EXPECT_EQ(a.map_ns, b.map_ns);
			DSVM_EXPECT_EQ(a.copy_ns, b.copy_ns);
			DSVM_EXPECT_EQ(a.finalize_ns, b.finalize_ns);
		}
	}
	const dsvm_phase_counters &out = counters.phase[DSVM_WAY_TO_DEVICE][0];
	DSVM_EXPECT_EQ(out.batches, u64{kRunCount});
	DSVM_EXPECT_EQ(out.bytes, (kRunCount * kRunPages - 1) * kPageSize);
	DSVM_EXPECT_EQ(counters.stayed, 1u);
	DSVM_EXPECT_EQ(counters.phase[DSVM_WAY_EVICT][0].bytes, kRunPages * kPageSize);
	u64 fault_bytes = 0;
	for (u32 size = 0; size < DSVM_SIZES; size++)
		fault_bytes += counters.phase[DSVM_WAY_CPU_FAULT][size].bytes;
	DSVM_EXPECT_EQ(fault_bytes, (kRunPages - 1) * kPageSize);
}

// The same is counted if nobody follows the trace.
DSVM_CASE(pipeline, counters_without_a_trace)
{
	Runs s;

	s.world.traces().off = true;
	DSVM_EXPECT_EQ(s.out(), 0);
	DSVM_EXPECT_EQ(s.world.traces().count, 0u);
	const dsvm_phase_counters &out = s.world.counters().phase[DSVM_WAY_TO_DEVICE][0];
	DSVM_EXPECT_EQ(out.batches, u64{kRunCount});
	DSVM_EXPECT_EQ(out.bytes, kRunCount * kRunPages * kPageSize);
	DSVM_EXPECT(out.setup_ns > 0);
	DSVM_EXPECT(out.map_ns > 0);
	DSVM_EXPECT(out.copy_ns > 0);
	DSVM_EXPECT(out.finalize_ns > 0);
}

// The phases of a batch come in this order, with what each of them has come to.
DSVM_CASE(pipeline, phases_in_order)
{
	const dsvm_migrate_phase order[] = {DSVM_PHASE_SETUP, DSVM_PHASE_MAP, DSVM_PHASE_COPY,
					    DSVM_PHASE_FINALIZE};
	Scene s;

	s.page(3).pinned = true;
	const u64 before = dsvm_os_now_ns();
	DSVM_EXPECT_EQ(s.out(), 0);
	const u64 elapsed = dsvm_os_now_ns() - before;
	u64 sum = 0;
	DSVM_REQUIRE_EQ(s.world.traces().count, 4u);
	for (u32 i = 0; i < 4; i++) {
		const dsvm_migrate_event &event = s.world.traces().events[i];

		DSVM_EXPECT_EQ(event.phase, order[i]);
		DSVM_EXPECT_EQ(event.way, DSVM_WAY_TO_DEVICE);
		DSVM_EXPECT_EQ(event.first, page_at(0));
		DSVM_EXPECT_EQ(event.npages, kSpan);
		DSVM_EXPECT(event.devmem == &s.allocation.devmem());
		sum += event.ns;
		if (event.phase != DSVM_PHASE_MAP)
			DSVM_EXPECT_EQ(event.count, kSpan - 1);
	}
	// Each moment is in one of them.
	DSVM_EXPECT(sum < elapsed);
}

// An error is seen where it came up.
DSVM_CASE(pipeline, phase_that_fails)
{
	Scene s;

	s.world.fail(Call::kCopyToDevice, 1, -DSVM_EIO);
	DSVM_EXPECT_EQ(s.out(), -DSVM_EIO);
	DSVM_REQUIRE_EQ(s.world.traces().count, 4u);
	DSVM_EXPECT_EQ(s.world.traces().events[1].status, 0);
	DSVM_EXPECT_EQ(s.world.traces().events[2].status, -DSVM_EIO);
	DSVM_EXPECT_EQ(s.world.traces().events[3].count, 0u);
}
