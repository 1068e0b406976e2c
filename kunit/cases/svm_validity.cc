// SPDX-License-Identifier: GPL-2.0-only OR MIT
//
// Cases for core/svm: what an invalidation means to a collection of pages depends on whether it
// met the range. Those elsewhere in the window do not disturb; those on the range are noticed
// whenever they come; those that run are waited for.

#include "kunit/case.h"
#include "kunit/cases/sixteen.h"

using namespace dsvm;
using namespace dsvm::cases;

namespace {

constexpr MirrorOptions kVariants[] = {{}, {true, 1, false}, {true, 1, true}};

// A new page at `index`, between the two ends of an invalidation.
void put_new_page(World &world, u32 index)
{
	fake::Pte &pte = world.pte(world.mm(), at_page(index));
	fake::Page *const page = world.alloc_ram();

	world.clear_pte(pte);
	world.set_pte(pte, fake::PteKind::kPresent, page, fake::Writable::Yes);
	world.put_page(page);
}

// An invalidation that has begun; the pages change when it ends.
struct Running {
	World &world;
	u32 page;
	fake::Event *event = nullptr;

	void begin() { event = &world.begin_event(world.mm(), at_page(page), end_of_page(page)); }
	void end()
	{
		put_new_page(world, page);
		world.end_event(*exchange(event, nullptr));
	}
};

// For who waits: it ends if it is the one that is waited for.
void end_running(World &world, void *arg)
{
	Running &running = *static_cast<Running *>(arg);

	if (running.event != nullptr && world.mm().seq == world.awaited_seq())
		running.end();
}

// Another CPU takes a page away and touches it again.
struct Replacer {
	World &world;
	u32 page;
};

void replace_one(void *arg)
{
	const Replacer &self = *static_cast<Replacer *>(arg);
	fake::Event &event =
		self.world.begin_event(self.world.mm(), at_page(self.page), end_of_page(self.page));

	put_new_page(self.world, self.page);
	self.world.end_event(event);
}

// A collection with another CPU's doing at its n-th point; false if there is no such point.
bool collect_while(MirrorOptions options, u32 page, u32 n, u32 max_attempts)
{
	SixteenPages m(options);
	Replacer replacer{m.world, page};

	m.world.add_vma(m.world.mm(), at_page(100), end_of_page(100));
	m.world.populate(m.world.mm(), at_page(0), 16);
	m.world.populate(m.world.mm(), at_page(100), 1);
	dsvm_env_at_point(n, 0, replace_one, &replacer);
	const int result = m.get_pages(*m.range, DSVM_ACCESS_WRITE);
	const bool was_due = dsvm_env_point_is_due();
	dsvm_env_at_point(0, 0, nullptr, nullptr);
	DSVM_EXPECT_EQ(result, 0);
	DSVM_EXPECT(m.attempts >= 1 && m.attempts <= max_attempts);
	// After the last look it is an invalidation as any other.
	DSVM_EXPECT(m.is_valid(*m.range) ? m.maps_what_the_cpu_maps()
					 : m.world.dma_mappings() == 0);
	DSVM_EXPECT(is_sound(m));
	return !was_due;
}

} // namespace

DSVM_CASE(validity, event_elsewhere_at_each_point)
{
	for (const MirrorOptions &options : kVariants) {
		u32 points = 0;

		while (collect_while(options, 100, points + 1, 1))
			points++;
		DSVM_EXPECT(points > 6);
	}
}

DSVM_CASE(validity, event_on_the_range_at_each_point)
{
	for (const MirrorOptions &options : kVariants) {
		u32 points = 0;

		while (collect_while(options, 7, points + 1, 2))
			points++;
		DSVM_EXPECT(points > 6);
	}
}

// Between the walk and the lock: only the sequence of the range tells.
DSVM_CASE(validity, event_on_the_range_makes_it_begin_again)
{
	const Call points[] = {Call::kHmmFault, Call::kHmmWalked, Call::kMmPutAsync};

	for (const Call point : points) {
		SixteenPages m;

		m.world.populate(m.world.mm(), at_page(0), 16);
		m.world.at(point, 1, replace_page);
		DSVM_REQUIRE_EQ(m.get_pages(*m.range), 0);
		DSVM_EXPECT_EQ(m.attempts, 2u);
		DSVM_EXPECT_EQ(m.world.calls(Call::kHmmFault), 2u);
		DSVM_EXPECT(m.maps_what_the_cpu_maps());
	}
}

DSVM_CASE(validity, running_event_is_waited_for)
{
	for (const MirrorOptions &options : kVariants) {
		SixteenPages m(options);
		Running running{m.world, 7};

		m.world.populate(m.world.mm(), at_page(0), 16);
		running.begin();
		m.world.at(Call::kNotifierReadBegin, 1, end_running, &running);
		DSVM_REQUIRE_EQ(m.get_pages(*m.range), 0);
		DSVM_EXPECT(running.event == nullptr);
		DSVM_EXPECT_EQ(m.attempts, 1u);
		DSVM_EXPECT(m.maps_what_the_cpu_maps());
	}
}

// One that begins during the walk, and is still running when the collection begins again.
DSVM_CASE(validity, event_that_outlasts_an_attempt)
{
	SixteenPages m;
	Running running{m.world, 7};

	m.world.populate(m.world.mm(), at_page(0), 16);
	m.world.at(
		Call::kHmmWalked, 1,
		[](World &, void *arg) { static_cast<Running *>(arg)->begin(); }, &running);
	m.world.at(Call::kNotifierReadBegin, World::kEvery, end_running, &running);
	DSVM_REQUIRE_EQ(m.get_pages(*m.range), 0);
	DSVM_EXPECT(running.event == nullptr);
	DSVM_EXPECT_EQ(m.attempts, 2u);
	DSVM_EXPECT(m.maps_what_the_cpu_maps());
}

// One elsewhere in the window is not waited for: the fake machine says so if it is.
DSVM_CASE(validity, running_event_elsewhere_is_not_waited_for)
{
	SixteenPages m;
	Running running{m.world, 100};

	m.world.add_vma(m.world.mm(), at_page(100), end_of_page(100));
	m.world.populate(m.world.mm(), at_page(100), 1);
	running.begin();
	DSVM_REQUIRE_EQ(m.get_pages(*m.range), 0);
	DSVM_EXPECT_EQ(m.attempts, 1u);
	DSVM_EXPECT(m.maps_what_the_cpu_maps());
	running.end();
	DSVM_EXPECT(m.is_valid(*m.range));
}

// A range, or the window as well, that is made while an invalidation runs has not heard of it.
DSVM_CASE(validity, range_made_in_a_running_event)
{
	for (const bool window_is_new : kEither) {
		for (const MirrorOptions &options : kVariants) {
			Mirror m(options);
			Running running{m.world, 99};
			dsvm_range *range = nullptr;

			m.svm.chunk_sizes = kChunkSizes + 1;
			m.svm.num_chunks = 2;
			m.world.add_vma(m.world.mm(), at_page(0), end_of_page(511));
			m.world.populate(m.world.mm(), at_page(96), 16);
			// Somebody hears of it.
			if (!window_is_new)
				DSVM_REQUIRE_EQ(m.fault(at_page(0), &range), 0);
			running.begin();
			DSVM_REQUIRE_EQ(m.fault(at_page(99), &range), 0);
			DSVM_EXPECT_EQ(m.pages_of(*range), 16u);
			m.world.at(Call::kNotifierReadBegin, 1, end_running, &running);
			DSVM_REQUIRE_EQ(m.get_pages(*range), 0);
			DSVM_EXPECT(running.event == nullptr);
			DSVM_EXPECT(m.map_gpu(*range));
			DSVM_EXPECT(MirrorChecker{m}.gpu_is_sound());
			DSVM_EXPECT(is_sound(m));
		}
	}
}

// Each range keeps the sequence of the last event that met it.
DSVM_CASE(validity, sequence_of_each_range)
{
	Mirror m;
	dsvm_range *ranges[3] = {};
	usize before[3];

	m.svm.chunk_sizes = kChunkSizes + 1;
	m.svm.num_chunks = 2;
	m.world.add_vma(m.world.mm(), at_page(0), end_of_page(47));
	for (u32 i = 0; i < 3; i++) {
		DSVM_REQUIRE_EQ(m.fault(at_page(i * 16), &ranges[i]), 0);
		before[i] = m.seq_of(*ranges[i]);
	}
	m.world.invalidate(m.world.mm(), at_page(15), end_of_page(16));
	DSVM_EXPECT(m.seq_of(*ranges[0]) != before[0]);
	DSVM_EXPECT_EQ(m.seq_of(*ranges[0]), m.seq_of(*ranges[1]));
	DSVM_EXPECT_EQ(m.seq_of(*ranges[2]), before[2]);
	before[1] = m.seq_of(*ranges[1]);
	m.world.invalidate(m.world.mm(), end_of_page(31), at_page(32));
	DSVM_EXPECT(m.seq_of(*ranges[1]) != before[1]);
	DSVM_EXPECT(m.seq_of(*ranges[2]) != before[2]);
	DSVM_EXPECT_EQ(m.seq_of(*ranges[0]), before[1]);
}

// A span that is not of one range is judged by all that the window hears of.
DSVM_CASE(validity, span_beyond_its_range)
{
	SixteenPages m;
	dsvm_get_pages get = m.request(*m.range);
	dsvm_pages own = {};

	m.world.add_vma(m.world.mm(), at_page(16), end_of_page(31));
	m.world.populate(m.world.mm(), at_page(0), 32);
	get.last = end_of_page(31);
	m.world.at(Call::kMmPutAsync, 1, [](World &world, void *) {
		fake::Event &event = world.begin_event(world.mm(), at_page(20), end_of_page(20));

		put_new_page(world, 20);
		world.end_event(event);
	});
	DSVM_REQUIRE_EQ(dsvm_svm_get_pages(&own, &get), 0);
	DSVM_EXPECT_EQ(get.attempts, 2u);
	DSVM_EXPECT(maps_what_the_cpu_maps(m.world, own, 32));
	dsvm_svm_free_pages(&own, m.world.device(), 32);
}

// The range that was made last is known without a search: that is no other one's.
DSVM_CASE(validity, range_made_last)
{
	for (const MirrorOptions &options : kVariants) {
		SixteenPages m{options};
		dsvm_range *last = nullptr;

		m.world.add_vma(m.world.mm(), at_page(100), end_of_page(100));
		m.world.populate(m.world.mm(), at_page(0), 16);
		m.world.populate(m.world.mm(), at_page(100), 1);
		DSVM_REQUIRE_EQ(m.fault(at_page(100), &last), 0);
		m.world.at(Call::kMmPutAsync, 1, replace_page);
		DSVM_REQUIRE_EQ(m.get_pages(*m.range), 0);
		DSVM_EXPECT_EQ(m.attempts, 2u);
		DSVM_EXPECT(m.maps_what_the_cpu_maps());
		m.world.at(Call::kMmPutAsync, 1, replace_page);
		DSVM_REQUIRE_EQ(m.get_pages(*last), 0);
		DSVM_EXPECT_EQ(m.attempts, 1u);
		DSVM_EXPECT(is_sound(m));
	}
}

// Where it has gone it is not known any more.
DSVM_CASE(validity, range_made_last_has_gone)
{
	SixteenPages m;
	dsvm_get_pages get = m.request(*m.range);
	dsvm_pages own = {};
	dsvm_range *last = nullptr;

	m.world.add_vma(m.world.mm(), at_page(100), end_of_page(100));
	m.world.populate(m.world.mm(), at_page(100), 1);
	DSVM_REQUIRE_EQ(m.fault(at_page(100), &last), 0);
	m.remove(*last);
	get.first = at_page(100);
	get.last = end_of_page(100);
	m.world.at(Call::kMmPutAsync, 1, replace_page);
	DSVM_REQUIRE_EQ(dsvm_svm_get_pages(&own, &get), 0);
	DSVM_EXPECT_EQ(get.attempts, 2u);
	dsvm_svm_free_pages(&own, m.world.device(), 1);
}

// The range of a span makes way for another one while the pages are collected.
DSVM_CASE(validity, range_is_replaced)
{
	SixteenPages m;
	dsvm_get_pages get = m.request(*m.range);
	dsvm_pages own = {};
	dsvm_range *old = nullptr;

	// The old one is kept, so that the new one lies elsewhere.
	DSVM_REQUIRE_EQ(m.acquire(at_page(0), &old), 0);
	get.notifier = m.os_notifier(*m.range);
	m.world.add_vma(m.world.mm(), at_page(100), end_of_page(100));
	DSVM_REQUIRE_EQ(m.fault(at_page(100), &m.range), 0);
	m.range = old;
	m.world.at(
		Call::kMmPutAsync, 1,
		[](World &, void *arg) {
			SixteenPages &self = *static_cast<SixteenPages *>(arg);
			dsvm_range *made = nullptr;

			self.remove(*self.range);
			DSVM_EXPECT_EQ(self.fault(at_page(0), &made), 0);
			DSVM_EXPECT(made != self.range);
		},
		&m);
	DSVM_REQUIRE_EQ(dsvm_svm_get_pages(&own, &get), 0);
	DSVM_EXPECT_EQ(get.attempts, 2u);
	DSVM_EXPECT(maps_what_the_cpu_maps(m.world, own, 16));
	dsvm_svm_free_pages(&own, m.world.device(), 16);
	m.put(*old);
}

// What is mapped is not collected again because something changed elsewhere.
DSVM_CASE(validity, event_elsewhere_leaves_a_mapping_alone)
{
	SixteenPages m;

	DSVM_REQUIRE_EQ(m.get_pages(*m.range), 0);
	for (u32 i = 16; i < 512; i += 100) {
		m.world.invalidate(m.world.mm(), at_page(i), end_of_page(i));
		DSVM_EXPECT_EQ(m.get_pages(*m.range), 0);
		DSVM_EXPECT_EQ(m.attempts, 0u);
	}
	DSVM_EXPECT_EQ(m.world.calls(Call::kHmmFault), 1u);
	DSVM_EXPECT(m.maps_what_the_cpu_maps());
}

// A notifier of the driver's own (userptr) knows no ranges: whatever it hears of disturbs.
DSVM_CASE(validity, own_notifier_hears_all)
{
	SixteenPages m;
	dsvm_get_pages get = m.request(*m.range);
	dsvm_pages own = {};

	m.world.add_vma(m.world.mm(), at_page(100), end_of_page(100));
	get.window = nullptr;
	m.world.at(Call::kHmmWalked, 1, [](World &world, void *) {
		world.invalidate(world.mm(), at_page(100), end_of_page(100));
	});
	// The last look, under the lock, finds one as well.
	m.world.fail(Call::kNotifierReadRetry, 1, -1);
	DSVM_REQUIRE_EQ(dsvm_svm_get_pages(&own, &get), 0);
	DSVM_EXPECT_EQ(m.world.calls(Call::kHmmFault), 3u);
	DSVM_EXPECT_EQ(get.attempts, 3u);
	DSVM_EXPECT(maps_what_the_cpu_maps(m.world, own, 16));
	DSVM_EXPECT(!dsvm_os_notifier_read_retry(get.notifier, own.notifier_seq));
	dsvm_svm_free_pages(&own, m.world.device(), 16);
	DSVM_EXPECT_EQ(m.world.dma_mappings(), 0u);
}
