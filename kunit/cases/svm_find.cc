// SPDX-License-Identifier: GPL-2.0-only OR MIT
//
// Cases for core/svm: how large a range becomes, and finding, making and removing ranges at the
// same time, without a lock around all of it. Another CPU does its part at each point of ours
// at which we hold nothing that it would have to wait for.

#include "kunit/case.h"
#include "kunit/cases/mirror_check.h"

using namespace dsvm;
using namespace dsvm::cases;

namespace {

constexpr PageSpan kAll{0, fake::kPtes - 1};

struct FindRow {
	u32 fault;
	PageSpan vma;
	PageSpan gpuva;
	PageSpan neighbour; // a range that is there already
	PageSpan present;   // pages that are
	u32 threshold;	    // pages; smaller chunks are taken only where all pages are present
	PageSpan expected;
};

constexpr FindRow kFindTable[] = {
	// The largest that fits the VMA, the window and the GPU's span.
	{5, kAll, kAll, kNoPages, kNoPages, 0, {0, 511}},
	{511, kAll, kAll, kNoPages, kNoPages, 0, {0, 511}},
	{512, kAll, kAll, kNoPages, kNoPages, 0, {512, 1023}},
	{5, {0, 510}, kAll, kNoPages, kNoPages, 0, {0, 15}},
	{20, {17, 1023}, kAll, kNoPages, kNoPages, 0, {20, 20}},
	{20, kAll, {16, 31}, kNoPages, kNoPages, 0, {16, 31}},
	{20, kAll, {16, 30}, kNoPages, kNoPages, 0, {20, 20}},
	// Nobody's neighbour is overlapped.
	{5, kAll, kAll, {300, 300}, kNoPages, 0, {0, 15}},
	{5, kAll, kAll, {16, 31}, kNoPages, 0, {0, 15}},
	{5, kAll, kAll, {6, 6}, kNoPages, 0, {5, 5}},
	{5, kAll, kAll, {512, 512}, kNoPages, 0, {0, 511}},
	// Up to the threshold all of it has to be there.
	{3, kAll, kAll, kNoPages, {0, 15}, 512, {0, 15}},
	{3, kAll, kAll, kNoPages, {0, 511}, 512, {0, 511}},
	{3, kAll, kAll, kNoPages, {0, 510}, 512, {0, 15}},
	{3, kAll, kAll, kNoPages, {1, 511}, 512, {3, 3}},
	{3, kAll, kAll, kNoPages, kNoPages, 511, {0, 511}},
	{3, kAll, kAll, {300, 300}, kNoPages, 16, {3, 3}},
	{3, kAll, kAll, {300, 300}, {0, 15}, 16, {0, 15}},
	{3, kAll, kAll, {300, 300}, {0, 14}, 15, {0, 15}},
};

// Makes the range [first, last], which is one of the chunk sizes.
dsvm_range *make(Mirror &m, PageSpan span)
{
	dsvm_find_or_insert request = m.find_request(at_page(span.first));
	dsvm_range *range = nullptr;

	request.gpuva_first = at_page(span.first);
	request.gpuva_last = end_of_page(span.last);
	DSVM_EXPECT_EQ(dsvm_svm_find_or_insert(&m.svm, &request, &range), 0);
	return range;
}

void check_row(const FindRow &row)
{
	Mirror m;
	dsvm_find_or_insert request = m.find_request(at_page(row.fault));
	dsvm_range *range = nullptr;

	m.world.add_vma(m.world.mm(), at_page(row.vma.first), end_of_page(row.vma.last));
	if (!row.present.is_empty())
		m.world.populate(m.world.mm(), row.present.start(), row.present.count());
	if (!row.neighbour.is_empty())
		static_cast<void>(make(m, row.neighbour));
	request.gpuva_first = at_page(row.gpuva.first);
	request.gpuva_last = end_of_page(row.gpuva.last);
	request.check_pages_threshold = row.threshold * kPageSize;
	DSVM_REQUIRE_EQ(dsvm_svm_find_or_insert(&m.svm, &request, &range), 0);
	DSVM_EXPECT_EQ(range->node.first, at_page(row.expected.first));
	DSVM_EXPECT_EQ(range->node.last, end_of_page(row.expected.last));
	DSVM_EXPECT(is_sound(m));
}

// What another CPU does; `mine` is what it keeps a reference to.
struct Other {
	Mirror &m;
	void (*act)(Other &other);
	dsvm_range *mine = nullptr;
};

void act(void *arg)
{
	Other &other = *static_cast<Other *>(arg);

	other.act(other);
}

void find_the_same(Other &other)
{
	DSVM_EXPECT_EQ(other.m.acquire(at_page(5), &other.mine), 0);
}

void make_an_overlapping_one(Other &other)
{
	dsvm_find_or_insert request = other.m.find_request(at_page(7));

	request.gpuva_first = at_page(7);
	request.gpuva_last = end_of_page(7);
	request.get = true;
	DSVM_EXPECT_EQ(dsvm_svm_find_or_insert(&other.m.svm, &request, &other.mine), 0);
}

void make_in_the_other_window(Other &other)
{
	DSVM_EXPECT_EQ(other.m.acquire(at_page(512), &other.mine), 0);
}

void remove_all(Other &other)
{
	while (other.m.remove_first(at_page(0), end_of_page(fake::kPtes - 1)))
		;
}

void make_and_remove(Other &other)
{
	dsvm_range *range = nullptr;

	DSVM_EXPECT_EQ(other.m.acquire(at_page(5), &range), 0);
	if ((range->flags & DSVM_RANGE_REMOVED) == 0)
		other.m.remove(*range);
	other.m.put(*range);
}

void replace_by_another(Other &other)
{
	remove_all(other);
	make_an_overlapping_one(other);
}

void invalidate_all(Other &other)
{
	other.m.world.invalidate(other.m.world.mm(), at_page(0), end_of_page(fake::kPtes - 1));
}

void remove_all_but_the_neighbour(Other &other)
{
	static_cast<void>(other.m.remove_first(at_page(0), end_of_page(15)));
}

void find_the_same_and_let_go(Other &other)
{
	find_the_same(other);
	other.m.put(*exchange(other.mine, nullptr));
}

// For hooks that run at each call: the calls of the other CPU itself are none.
void act_unless_busy(World &, void *arg)
{
	Other &other = *static_cast<Other *>(arg);

	if (other.m.is_busy)
		return;
	other.m.is_busy = true;
	dsvm_env_other_cpu_begin();
	other.act(other);
	dsvm_env_other_cpu_end();
	other.m.is_busy = false;
}

constexpr void (*kActs[])(Other &other) = {
	find_the_same,	 make_an_overlapping_one, make_in_the_other_window, remove_all,
	make_and_remove, replace_by_another,	  invalidate_all,
};

// What is there before.
enum class Before : u8 { kNothing, kTheRange, kANeighbour, kTheOtherWindow };

constexpr Before kBefores[] = {Before::kNothing, Before::kTheRange, Before::kANeighbour,
			       Before::kTheOtherWindow};

void set_up(Mirror &m, Before before)
{
	m.world.add_vma(m.world.mm(), at_page(0), end_of_page(fake::kPtes - 1));
	if (before == Before::kTheRange)
		static_cast<void>(make(m, {0, 15}));
	else if (before == Before::kANeighbour)
		static_cast<void>(make(m, {300, 300}));
	else if (before == Before::kTheOtherWindow)
		static_cast<void>(make(m, {600, 600}));
}

// Of who makes a range then: with a window, if there is none, and with tables for the indexes.
u64 allocations(const Mirror &m, Before before)
{
	switch (before) {
	case Before::kNothing:
		return 2;
	case Before::kTheRange:
		return 0;
	case Before::kANeighbour:
		return 2;
	case Before::kTheOtherWindow:
		break;
	}
	// Two windows side by side differ in the last level only.
	return 2 + m.svm.shape.levels;
}

// One search with another CPU's doing at its n-th point; false if there is no such point.
bool find_while(Before before, void (*what)(Other &other), u32 n, MirrorOptions options)
{
	Mirror m(options);
	Other other{m, what};
	dsvm_range *range = nullptr;

	set_up(m, before);
	dsvm_env_at_point(n, to_underlying(LockRank::kMmap), act, &other);
	const int result = m.acquire(at_page(5), &range);
	const bool was_due = dsvm_env_point_is_due();
	dsvm_env_at_point(0, 0, nullptr, nullptr);
	if (!DSVM_CASE_CHECK_EQ_(result, 0))
		return false;
	DSVM_EXPECT(range->node.first <= at_page(5) && range->node.last >= end_of_page(5));
	// Two that have found the same address have the same range, unless one is gone already.
	if (what == find_the_same && other.mine != nullptr)
		DSVM_EXPECT(other.mine == range);
	if (what != remove_all && what != make_and_remove && what != replace_by_another)
		DSVM_EXPECT_EQ(range->flags & DSVM_RANGE_REMOVED, 0u);
	if (is_sound(m) && (range->flags & DSVM_RANGE_REMOVED) == 0)
		m.remove(*range);
	m.put(*range);
	if (other.mine != nullptr)
		m.put(*other.mine);
	static_cast<void>(DSVM_CASE_CHECK_(is_sound(m)));
	return !was_due;
}

// The same for who removes the range.
bool remove_while(void (*what)(Other &other), u32 n, MirrorOptions options)
{
	Mirror m(options);
	Other other{m, what};

	set_up(m, Before::kTheRange);
	dsvm_range *const range = dsvm_svm_range_first(&m.svm, at_page(5), end_of_page(5));
	DSVM_EXPECT(range != nullptr);
	// Past mmap_lock: the other one may be stopped where it holds the lock of the mm.
	dsvm_env_at_point(n, to_underlying(LockRank::kMmap), act, &other);
	m.remove(*range);
	const bool was_due = dsvm_env_point_is_due();
	dsvm_env_at_point(0, 0, nullptr, nullptr);
	DSVM_EXPECT((range->flags & DSVM_RANGE_REMOVED) != 0);
	m.put(*range);
	if (other.mine != nullptr)
		m.put(*other.mine);
	static_cast<void>(DSVM_CASE_CHECK_(is_sound(m)));
	return !was_due;
}

constexpr MirrorOptions kOneLock{};
constexpr MirrorOptions kWindowLocks{true, 1, false};

} // namespace

DSVM_CASE(find, chunk_table)
{
	for (const FindRow &row : kFindTable)
		check_row(row);
}

DSVM_CASE(find, meets_another_cpu_at_each_point)
{
	for (const auto what : kActs) {
		for (const Before before : kBefores) {
			u32 points = 0;

			while (find_while(before, what, points + 1, kOneLock))
				points++;
			// What is there is found without a look at the memory.
			DSVM_EXPECT(points > (before == Before::kTheRange ? 3u : 8u));
			for (u32 n = 1; find_while(before, what, n, kWindowLocks);)
				n++;
		}
	}
}

DSVM_CASE(find, removal_meets_another_cpu_at_each_point)
{
	for (const auto what : kActs) {
		// A range is removed once, and this one by us.
		if (what == remove_all || what == replace_by_another || what == make_and_remove)
			continue;
		u32 points = 0;

		while (remove_while(what, points + 1, kOneLock))
			points++;
		DSVM_EXPECT(points > 2);
		for (u32 n = 1; remove_while(what, n, kWindowLocks);)
			n++;
	}
}

// Each allocation, and each call that can, fails: what was there is there still, and counts.
DSVM_CASE(find, each_step_fails)
{
	for (const Before before : kBefores) {
		const Call calls[] = {Call::kMmGet, Call::kVmaAt};

		for (const Call call : calls) {
			Mirror m(kWindowLocks);
			dsvm_range *range = nullptr;

			set_up(m, before);
			const u32 windows = m.notifiers;
			const u32 ranges = m.ranges;
			m.world.fail(call, 1, -1);
			const int result = m.acquire(at_page(5), &range);
			m.world.fail(call, 0, 0);
			DSVM_EXPECT_EQ(m.notifiers, windows);
			DSVM_EXPECT_EQ(m.ranges, ranges);
			// Nobody asks for what the memory is when the range is there.
			if (before == Before::kTheRange) {
				DSVM_REQUIRE_EQ(result, 0);
				m.put(*range);
			} else {
				DSVM_EXPECT_EQ(result,
					       call == Call::kMmGet ? -DSVM_EFAULT : -DSVM_ENOENT);
			}
			DSVM_EXPECT(is_sound(m));
		}
		for (u64 n = 1;; n++) {
			Mirror m(kWindowLocks);
			dsvm_range *range = nullptr;

			set_up(m, before);
			const u32 windows = m.notifiers;
			const u64 outstanding = dsvm_env_outstanding();
			dsvm_env_fail_alloc(n);
			const int result = m.acquire(at_page(5), &range);
			const bool failed = dsvm_env_alloc_failed();
			dsvm_env_fail_alloc(0);
			if (result == 0) {
				DSVM_EXPECT(is_sound(m));
				m.put(*range);
				// What is made may be in want of tables, and can do without.
				if (failed && before != Before::kTheRange)
					continue;
				DSVM_EXPECT(!failed);
				DSVM_EXPECT_EQ(n - 1, allocations(m, before));
				break;
			}
			DSVM_EXPECT_EQ(result, -DSVM_ENOMEM);
			DSVM_EXPECT_EQ(m.notifiers, windows);
			// The block of the other window stays divided.
			const u64 tables =
				before == Before::kTheOtherWindow ? m.svm.shape.levels : 0;
			DSVM_EXPECT(dsvm_env_outstanding() <= outstanding + tables);
			DSVM_REQUIRE(is_sound(m));
		}
	}
}

// Somebody else is always there first, and gone again.
DSVM_CASE(find, endless_races_end)
{
	for (const bool kill : kEither) {
		Mirror m(kWindowLocks);
		Other other{m, remove_all_but_the_neighbour};
		Other maker{m, find_the_same_and_let_go};
		dsvm_range *range = nullptr;
		const u64 before = dsvm_os_now_ns();

		set_up(m, Before::kANeighbour);
		// Before the next look.
		m.world.at(Call::kRangePut, World::kEvery, act_unless_busy, &other);
		m.world.at(Call::kRangeCreate, World::kEvery, act_unless_busy, &maker);
		if (kill)
			m.world.at(Call::kVmaAt, 1,
				   [](World &, void *) { dsvm_env_set_killed(true); });
		DSVM_EXPECT_EQ(m.acquire(at_page(5), &range), kill ? -DSVM_EINTR : -DSVM_EBUSY);
		DSVM_EXPECT(dsvm_os_now_ns() - before < 2 * DSVM_GET_PAGES_BUDGET_NS);
		DSVM_EXPECT(kill || m.svm.counters.lost_races > 10);
		dsvm_env_set_killed(false);
		DSVM_EXPECT(is_sound(m));
	}
}

// A reference keeps a range, and a look at it, beyond its removal.
DSVM_CASE(find, reference_outlives_the_removal)
{
	Mirror m(kWindowLocks);
	dsvm_range *range = nullptr;

	set_up(m, Before::kNothing);
	DSVM_REQUIRE_EQ(m.acquire(at_page(5), &range), 0);
	DSVM_EXPECT_EQ(m.home(*range).refs, 2u);
	DSVM_EXPECT(dsvm_svm_range_first(&m.svm, at_page(0), end_of_page(0)) == range);
	DSVM_EXPECT_EQ(m.home(*range).refs, 3u);
	m.put(*range);
	DSVM_EXPECT(dsvm_svm_range_first(&m.svm, at_page(512), end_of_page(1023)) == nullptr);
	m.remove(*range);
	DSVM_EXPECT_EQ(m.home(*range).refs, 1u);
	DSVM_EXPECT((range->flags & DSVM_RANGE_REMOVED) != 0);
	DSVM_EXPECT_EQ(m.notifiers, 0u);
	DSVM_EXPECT(dsvm_svm_range_first(&m.svm, at_page(0), end_of_page(1023)) == nullptr);
	m.put(*range);
	DSVM_EXPECT_EQ(m.ranges, 0u);
}

// Locked --------------------------------------------------------------------------------

DSVM_CASE(find, acquired_range_is_locked)
{
	Mirror m(kWindowLocks);
	dsvm_range *range = nullptr;

	set_up(m, Before::kNothing);
	DSVM_REQUIRE_EQ(m.acquire_locked(at_page(5), &range), 0);
	DSVM_EXPECT(m.home(*range).is_locked);
	DSVM_EXPECT_EQ(m.home(*range).refs, 2u);
	m.release(*range);
	DSVM_EXPECT(!m.home(*range).is_locked);
	DSVM_EXPECT_EQ(m.home(*range).refs, 1u);
	DSVM_EXPECT_EQ(m.svm.counters.faults, 1u);
}

// Somebody else has the lock first, and takes the range away.
DSVM_CASE(find, acquired_range_is_there)
{
	Mirror m(kWindowLocks);
	Other other{m, remove_all};
	dsvm_range *range = nullptr;

	set_up(m, Before::kNothing);
	m.world.at(
		Call::kRangeLock, 1, [](World &, void *arg) { act(arg); }, &other);
	DSVM_REQUIRE_EQ(m.acquire_locked(at_page(5), &range), 0);
	DSVM_EXPECT_EQ(m.world.calls(Call::kRangeLock), 2u);
	DSVM_EXPECT((range->flags & DSVM_RANGE_REMOVED) == 0);
	DSVM_EXPECT(m.home(*range).is_locked);
	DSVM_EXPECT_EQ(m.ranges, 1u);
	m.release(*range);
	DSVM_EXPECT(is_sound(m));
}

// It has taken away no more than the part with the address.
DSVM_CASE(find, acquired_range_has_the_address)
{
	Mirror m({true, 1, false});
	dsvm_range *range = nullptr;

	set_up(m, Before::kNothing);
	m.world.at(
		Call::kRangeLock, 1,
		[](World &world, void *arg) {
			Mirror &mirror = *static_cast<Mirror *>(arg);
			dsvm_range *const found =
				dsvm_svm_range_first(&mirror.svm, at_page(5), end_of_page(5));

			world.unmap(world.mm(), at_page(0), end_of_page(7));
			DSVM_EXPECT_EQ(mirror.trim(*found), 1);
			mirror.put(*found);
			world.add_vma(world.mm(), at_page(0), end_of_page(7));
		},
		&m);
	DSVM_REQUIRE_EQ(m.acquire_locked(at_page(5), &range), 0);
	DSVM_EXPECT_EQ(m.world.calls(Call::kRangeLock), 2u);
	DSVM_EXPECT(range->node.first <= at_page(5) && range->node.last >= at_page(5));
	DSVM_EXPECT(range->node.last <= end_of_page(7));
	DSVM_EXPECT_EQ(m.ranges, 2u);
	m.release(*range);
}

DSVM_CASE(find, acquiring_is_killed)
{
	for (const Before before : kBefores) {
		Mirror m(kWindowLocks);
		dsvm_range *range = nullptr;

		set_up(m, before);
		m.world.fail(Call::kRangeLock, 1, -DSVM_EINTR);
		DSVM_EXPECT_EQ(m.acquire_locked(at_page(5), &range), -DSVM_EINTR);
		DSVM_EXPECT(range == nullptr);
		DSVM_EXPECT(is_sound(m));
		DSVM_REQUIRE_EQ(m.acquire_locked(at_page(5), &range), 0);
		DSVM_EXPECT_EQ(m.home(*range).refs, 2u);
		m.release(*range);
	}
}

DSVM_CASE(find, endless_removals_end)
{
	for (const bool kill : kEither) {
		Mirror m(kWindowLocks);
		Other other{m, remove_all};
		dsvm_range *range = nullptr;
		const u64 before = dsvm_os_now_ns();

		set_up(m, Before::kNothing);
		m.world.at(
			Call::kRangeLock, World::kEvery, [](World &, void *arg) { act(arg); },
			&other);
		if (kill)
			m.world.at(Call::kRangePut, 3,
				   [](World &, void *) { dsvm_env_set_killed(true); });
		DSVM_EXPECT_EQ(m.acquire_locked(at_page(5), &range),
			       kill ? -DSVM_EINTR : -DSVM_EBUSY);
		DSVM_EXPECT(dsvm_os_now_ns() - before < 2 * DSVM_GET_PAGES_BUDGET_NS);
		DSVM_EXPECT(kill || m.world.calls(Call::kRangeLock) > 10);
		dsvm_env_set_killed(false);
		DSVM_EXPECT_EQ(m.ranges, 0u);
		DSVM_EXPECT(is_sound(m));
	}
}

// Spans ---------------------------------------------------------------------------------

// The window that is looked into stays, whoever removes its ranges.
DSVM_CASE(find, first_range_meets_another_cpu_at_each_point)
{
	for (const auto what : kActs) {
		bool more = true;

		for (u32 n = 1; more; n++) {
			Mirror m(kWindowLocks);
			Other other{m, what};

			set_up(m, Before::kTheRange);
			static_cast<void>(make(m, {600, 600}));
			dsvm_env_at_point(n, to_underlying(LockRank::kMmap), act, &other);
			dsvm_range *const range =
				dsvm_svm_range_first(&m.svm, at_page(300), end_of_page(700));
			more = !dsvm_env_point_is_due();
			dsvm_env_at_point(0, 0, nullptr, nullptr);
			DSVM_EXPECT(range == nullptr || range->node.last >= at_page(300));
			if (range != nullptr)
				m.put(*range);
			if (other.mine != nullptr)
				m.put(*other.mine);
			DSVM_EXPECT(is_sound(m));
		}
	}
}

// The first one in the order of addresses, over the windows.
DSVM_CASE(find, first_range_of_a_span)
{
	Mirror m(kWindowLocks);
	dsvm_range *range;

	set_up(m, Before::kNothing);
	dsvm_range *const second = make(m, {600, 600});
	dsvm_range *const first = make(m, {16, 31});
	dsvm_range *const third = make(m, {601, 601});

	range = dsvm_svm_range_first(&m.svm, at_page(0), end_of_page(1023));
	DSVM_REQUIRE(range == first);
	m.put(*range);
	range = dsvm_svm_range_first(&m.svm, at_page(32), end_of_page(1023));
	DSVM_REQUIRE(range == second);
	m.put(*range);
	range = dsvm_svm_range_first(&m.svm, at_page(601), end_of_page(601));
	DSVM_REQUIRE(range == third);
	m.put(*range);
	DSVM_EXPECT(dsvm_svm_range_first(&m.svm, at_page(32), end_of_page(599)) == nullptr);
	DSVM_EXPECT_EQ(m.home(*first).refs, 1u);
}
