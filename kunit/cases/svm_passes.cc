// SPDX-License-Identifier: GPL-2.0-only OR MIT
//
// Cases for core/svm: invalidations in two passes. After the first one the entries are gone and
// flushes have begun; until the second one the pages are mapped for the device, and not valid.

#include "kunit/case.h"
#include "kunit/cases/sixteen.h"

using namespace dsvm;
using namespace dsvm::cases;

namespace {

constexpr MirrorOptions kTwoPasses{true, 2, true};

// Sixteen pages that two devices have and the GPU has mapped; a second range in the window.
class Mapped : public SixteenPages {
public:
	explicit Mapped(MirrorOptions mirror_options = kTwoPasses) : SixteenPages(mirror_options)
	{
		world.add_vma(world.mm(), at_page(100), end_of_page(100));
		world.populate(world.mm(), at_page(0), 16);
		world.populate(world.mm(), at_page(100), 1);
		DSVM_EXPECT_EQ(fault(at_page(100), &other), 0);
		DSVM_EXPECT_EQ(get_pages(*range), 0);
		DSVM_EXPECT_EQ(get_pages(*other), 0);
		DSVM_EXPECT(map_gpu(*range) && map_gpu(*other));
	}
	[[nodiscard]] dsvm_notifier &window() { return *home(*range).notifier; }
	// Hangs a hook between the passes of the next event. As those of another event in it do
	// not count, it runs once.
	void between_passes(fake::Hook hook) { world.at(Call::kInvalidateStarted, 1, hook, this); }

	dsvm_range *other = nullptr;
};

Mapped &of(void *arg)
{
	return *static_cast<Mapped *>(arg);
}

// What an event finds that is called by hand.
struct Calls {
	u32 starts = 0;
	u32 finishes = 0;
	bool flushes = false;
};

dsvm_bool count_start(void *arg)
{
	auto &calls = *static_cast<Calls *>(arg);

	calls.starts++;
	return calls.flushes;
}

void count_finish(void *arg)
{
	static_cast<Calls *>(arg)->finishes++;
}

dsvm_invalidation event_by_hand(Calls &calls, usize seq)
{
	dsvm_invalidation event = {};

	event.first = at_page(0);
	event.last = end_of_page(15);
	event.seq = seq;
	event.blockable = true;
	event.deferrable = true;
	event.start = count_start;
	event.finish = count_finish;
	event.arg = &calls;
	return event;
}

} // namespace

DSVM_CASE(passes, pages_are_stale_between_them)
{
	Mapped m;

	m.between_passes([](World &world, void *arg) {
		Mapped &self = of(arg);

		DSVM_EXPECT_EQ(self.window().unfinished, 1u);
		DSVM_EXPECT_EQ(self.finishes, 0u);
		for (u32 i = 0; i < 2; i++) {
			DSVM_EXPECT_EQ(self.pages[i].flags &
					       (DSVM_PAGES_STALE | DSVM_PAGES_DMA_MAPPED),
				       DSVM_PAGES_STALE | DSVM_PAGES_DMA_MAPPED);
			DSVM_EXPECT(!dsvm_svm_pages_valid(&self.pages[i]));
		}
		DSVM_EXPECT(!self.map_gpu(*self.range));
		DSVM_EXPECT_EQ(world.dma_mappings(), 2u * 17);
		DSVM_EXPECT_EQ(self.gpu.count(at_page(0), end_of_page(15)), 0u);
		// The neighbour is as it was.
		DSVM_EXPECT(self.is_valid(*self.other));
	});
	invalidate_only(m.world, nullptr);
	DSVM_EXPECT_EQ(m.finishes, 1u);
	DSVM_EXPECT_EQ(m.world.dma_mappings(), 2u);
	DSVM_EXPECT_EQ(m.pages->flags, 0u);
	DSVM_EXPECT(is_sound(m));
	DSVM_EXPECT(MirrorChecker{m}.gpu_is_sound());
}

// A kernel with one pass, and an event that cannot be left for later.
DSVM_CASE(passes, finished_at_once)
{
	Mapped m;

	m.world.set_two_passes(false);
	m.between_passes([](World &world, void *arg) {
		DSVM_EXPECT_EQ(of(arg).finishes, 1u);
		DSVM_EXPECT_EQ(of(arg).window().unfinished, 0u);
		DSVM_EXPECT_EQ(world.dma_mappings(), 2u);
	});
	invalidate_only(m.world, nullptr);
	DSVM_EXPECT_EQ(m.finishes, 1u);
	DSVM_EXPECT(is_sound(m));
}

// Another event meets the range between the passes of the first one.
DSVM_CASE(passes, second_event_between_them)
{
	for (const bool of_the_other : kEither) {
		Mapped m;

		m.is_busy = of_the_other;
		m.between_passes([](World &world, void *arg) {
			Mapped &self = of(arg);
			const u32 page = self.is_busy ? 100 : 5;

			world.at(Call::kInvalidateStarted, 0, nullptr);
			world.invalidate(world.mm(), at_page(page), end_of_page(page));
			DSVM_EXPECT_EQ(self.finishes, 1u);
			// The first one is still to be finished.
			DSVM_EXPECT_EQ(self.window().unfinished, 1u);
			DSVM_EXPECT(!self.is_valid(*self.range));
		});
		invalidate_only(m.world, nullptr);
		DSVM_EXPECT_EQ(m.finishes, 2u);
		DSVM_EXPECT_EQ(m.world.dma_mappings(), of_the_other ? 0u : 2u);
		DSVM_EXPECT(is_sound(m));
		DSVM_EXPECT_EQ(m.get_pages(*m.range), 0);
		DSVM_EXPECT(m.maps_what_the_cpu_maps());
	}
}

// An event that finds nothing to flush is over at once; unless there is somebody's flush.
DSVM_CASE(passes, nothing_to_flush)
{
	Mapped m;
	const u64 events = m.svm.counters.invalidations;

	m.between_passes([](World &, void *arg) {
		DSVM_EXPECT_EQ(of(arg).finishes, 1u);
		DSVM_EXPECT_EQ(of(arg).window().unfinished, 0u);
	});
	m.world.invalidate(m.world.mm(), at_page(200), end_of_page(300));
	DSVM_EXPECT_EQ(m.finishes, 1u);
	DSVM_EXPECT_EQ(m.svm.counters.invalidations, events);
	DSVM_EXPECT(m.is_valid(*m.range));
	m.between_passes([](World &world, void *arg) {
		Mapped &self = of(arg);

		DSVM_EXPECT_EQ(self.finishes, 1u);
		DSVM_EXPECT_EQ(self.window().unfinished, 1u);
		self.between_passes([](World &, void *inner) {
			DSVM_EXPECT_EQ(of(inner).finishes, 1u);
			DSVM_EXPECT_EQ(of(inner).window().unfinished, 2u);
		});
		invalidate_only(world, nullptr);
		DSVM_EXPECT_EQ(self.finishes, 2u);
		// One that meets no range has nothing to wait for.
		self.between_passes([](World &, void *inner) {
			DSVM_EXPECT_EQ(of(inner).finishes, 3u);
			DSVM_EXPECT_EQ(of(inner).window().unfinished, 1u);
		});
		world.invalidate(world.mm(), at_page(200), end_of_page(300));
	});
	invalidate_only(m.world, nullptr);
	DSVM_EXPECT_EQ(m.finishes, 4u);
	DSVM_EXPECT(is_sound(m));
}

// What the callbacks are called for, and what is said of it.
DSVM_CASE(passes, results)
{
	Mapped m;
	Calls calls;
	fake::Event &running = m.world.begin_event(m.world.mm(), at_page(300), end_of_page(300));
	dsvm_invalidation event = event_by_hand(calls, running.seq);
	const usize before = m.seq_of(*m.range);

	// It would have to wait and may not.
	event.blockable = false;
	event.seq = running.seq + 2;
	DSVM_EXPECT_EQ(dsvm_svm_invalidate(&m.svm, &m.window(), &event), DSVM_REFUSED);
	DSVM_EXPECT_EQ(calls.starts, 0u);
	DSVM_EXPECT_EQ(m.seq_of(*m.range), before);
	DSVM_EXPECT(m.is_valid(*m.range));
	event.blockable = true;
	event.seq = running.seq;
	// No flush; one pass; then a flush that is left for later; and one that cannot be.
	DSVM_EXPECT_EQ(dsvm_svm_invalidate(&m.svm, &m.window(), &event), DSVM_DONE);
	DSVM_EXPECT_EQ(calls.starts, 1u);
	DSVM_EXPECT_EQ(calls.finishes, 1u);
	DSVM_EXPECT_EQ(m.seq_of(*m.range), running.seq);
	event.finish = nullptr;
	DSVM_EXPECT_EQ(dsvm_svm_invalidate(&m.svm, &m.window(), &event), DSVM_DONE);
	calls.flushes = true;
	DSVM_EXPECT_EQ(dsvm_svm_invalidate(&m.svm, &m.window(), &event), DSVM_DONE);
	DSVM_EXPECT_EQ(calls.finishes, 1u);
	event.finish = count_finish;
	DSVM_EXPECT_EQ(dsvm_svm_invalidate(&m.svm, &m.window(), &event), DSVM_UNFINISHED);
	DSVM_EXPECT_EQ(calls.finishes, 1u);
	DSVM_EXPECT_EQ(m.window().unfinished, 1u);
	dsvm_svm_invalidate_finish(&m.svm, &m.window(), &event);
	DSVM_EXPECT_EQ(calls.finishes, 2u);
	DSVM_EXPECT_EQ(m.window().unfinished, 0u);
	event.deferrable = false;
	DSVM_EXPECT_EQ(dsvm_svm_invalidate(&m.svm, &m.window(), &event), DSVM_DONE);
	DSVM_EXPECT_EQ(calls.finishes, 3u);
	DSVM_EXPECT_EQ(m.window().unfinished, 0u);
	m.world.end_event(running);
}

// A range is not trimmed while flushes run that its pages wait for; afterwards it is.
DSVM_CASE(passes, trim_between_them)
{
	Mapped m;

	m.between_passes([](World &world, void *arg) {
		Mapped &self = of(arg);

		DSVM_EXPECT_EQ(self.trim(*self.range), -DSVM_EAGAIN);
		DSVM_EXPECT_EQ(self.ranges, 2u);
		DSVM_EXPECT_EQ(world.dma_mappings(), 2u * 17);
		DSVM_EXPECT_EQ(self.range->node.last, end_of_page(15));
	});
	m.world.unmap(m.world.mm(), at_page(4), end_of_page(7));
	DSVM_EXPECT_EQ(m.world.dma_mappings(), 2u * 13);
	DSVM_EXPECT_EQ(m.trim(*m.range), 1);
	DSVM_EXPECT_EQ(m.ranges, 3u);
	DSVM_EXPECT(m.is_valid(*m.range));
	DSVM_EXPECT(is_sound(m));
	DSVM_EXPECT(MirrorChecker{m}.gpu_is_sound());
}

// Munmap in two passes: what is left is valid only after the trim, and mapped all the time.
DSVM_CASE(passes, unmapping_in_two_passes)
{
	Mapped m;

	m.between_passes([](World &, void *arg) {
		Mapped &self = of(arg);

		DSVM_EXPECT_EQ(self.gpu.count(at_page(0), end_of_page(15)), 12u);
		DSVM_EXPECT(!self.is_valid(*self.range));
	});
	m.world.unmap(m.world.mm(), at_page(12), end_of_page(20));
	DSVM_EXPECT_EQ(m.finishes, 1u);
	DSVM_EXPECT_EQ(m.gpu.count(at_page(0), end_of_page(15)), 12u);
	DSVM_EXPECT(!m.is_valid(*m.range));
	DSVM_EXPECT_EQ(m.trim(*m.range), 1);
	DSVM_EXPECT(m.is_valid(*m.range));
	DSVM_EXPECT(MirrorChecker{m}.gpu_is_sound());
	DSVM_EXPECT(is_sound(m));
}

// A range that is removed between the passes has flushed before, and is not touched again.
DSVM_CASE(passes, removal_between_them)
{
	Mapped m;

	m.between_passes([](World &world, void *arg) {
		Mapped &self = of(arg);

		dsvm_env_other_cpu_begin();
		self.remove(*self.range);
		dsvm_env_other_cpu_end();
		DSVM_EXPECT_EQ(world.dma_mappings(), 2u);
	});
	invalidate_only(m.world, nullptr);
	DSVM_EXPECT_EQ(m.ranges, 1u);
	DSVM_EXPECT_EQ(m.finishes, 1u);
	DSVM_EXPECT(m.is_valid(*m.other));
	DSVM_EXPECT(is_sound(m));
}

// A collection in the same window goes on between the passes of somebody else's event.
DSVM_CASE(passes, collection_of_another_range_between_them)
{
	Mapped m;

	m.world.invalidate(m.world.mm(), at_page(100), end_of_page(100));
	m.between_passes([](World &, void *arg) {
		Mapped &self = of(arg);

		dsvm_env_other_cpu_begin();
		DSVM_EXPECT_EQ(self.get_pages(*self.other), 0);
		DSVM_EXPECT_EQ(self.attempts, 1u);
		dsvm_env_other_cpu_end();
		DSVM_EXPECT(self.is_valid(*self.other));
	});
	invalidate_only(m.world, nullptr);
	DSVM_EXPECT(m.is_valid(*m.other));
	DSVM_EXPECT(is_sound(m));
}
