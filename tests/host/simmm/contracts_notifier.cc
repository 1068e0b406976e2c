// SPDX-License-Identifier: GPL-2.0-only OR MIT
//
// Interval notifiers in two passes, and stand-ins for notifiers of a part of what one covers
// (kernel: mm/mmu_notifier.c, include/linux/mmu_notifier.h).

#include <string>

#include "tests/host/simmm/contract_tests.h"
#include "tests/host/simmm/scene.h"

namespace dsvm::sim {

namespace {

bool happened;

// Notifiers with a pass for each letter of the log: a, b begin, A, B finish.
struct TwoPasses {
	Notifier notifier;
	Finish finish;
	bool defers = true;
	bool refuses = false;
};
TwoPasses one, other;
std::string passes;

char letter_of(const Notifier &notifier, char first)
{
	return static_cast<char>(first + (&notifier == &other.notifier));
}

TwoPasses &of(const Notifier &notifier)
{
	return &notifier == &other.notifier ? other : one;
}

void insert_two(u32 first, u32 last)
{
	for (TwoPasses *two : {&one, &other}) {
		*two = TwoPasses{};
		two->notifier.invalidate = [](Notifier &notifier, const EventRange &, usize seq) {
			passes += letter_of(notifier, 'x');
			machine().notifier_set_seq(notifier, seq);
			return true;
		};
		two->notifier.invalidate_start = [](Notifier &notifier, const EventRange &,
						    usize seq, Finish *&finish) {
			passes += letter_of(notifier, 'a');
			machine().notifier_set_seq(notifier, seq);
			if (of(notifier).defers)
				finish = &of(notifier).finish;
			return !of(notifier).refuses;
		};
		two->notifier.invalidate_finish = [](Finish &finish) {
			check(pte(0).kind == PteKind::kPresent, "an entry changes too early");
			passes += &finish == &other.finish ? 'B' : 'A';
		};
		check(machine().notifier_insert(two->notifier, process(), at(first),
						end_of(last)) == 0,
		      "insert");
	}
	passes.clear();
}

// All begin, then those that asked for it finish, in the same order.
bool all_begin_before_any_finishes()
{
	return Scene()
		.prepare([] {
			map_written(0, 0);
			insert_two(0, 0);
		})
		.thread([] { machine().madvise_dontneed(process(), at(0), end_of(0)); })
		.holds([] { return passes == "abAB" && pte(0).kind == PteKind::kNone; });
}

bool who_is_done_at_once_is_not_finished()
{
	return Scene()
		.prepare([] {
			map_written(0, 0);
			insert_two(0, 0);
			one.defers = false;
		})
		.thread([] { machine().madvise_dontneed(process(), at(0), end_of(0)); })
		.holds([] { return passes == "abB"; });
}

// Kernel: before 7.3 there is nothing but ->invalidate().
bool old_kernels_have_one_pass()
{
	static constexpr auto play = [](const Kernel &kernel) {
		return Scene(kernel)
			.prepare([] {
				map_written(0, 0);
				insert_two(0, 0);
			})
			.thread([] { machine().madvise_dontneed(process(), at(0), end_of(0)); })
			.holds([] { return passes == "xy"; });
	};

	return play(kKernel6_1) && play(kKernel6_12);
}

// Kernel: mn_itree_invalidate(): who has begun is finished, also if somebody refuses then.
bool refusal_finishes_who_has_begun()
{
	return Scene()
		.prepare([] {
			map_written(0, 0);
			insert_two(0, 0);
			other.refuses = true;
		})
		.thread([] {
			const Invalidation event{process(),	at(0),	 end_of(0),
						 Event::kUnmap, nullptr, false};
			check(!event.started(), "it was not refused");
		})
		.holds([] { return passes == "abA"; });
}

bool one_finish_for_two_events_is_found()
{
	return Scene()
		.prepare([] {
			map_written(0, 1);
			insert_two(0, 1);
		})
		.thread([] { machine().madvise_dontneed(process(), at(0), end_of(0)); })
		.thread([] { machine().madvise_dontneed(process(), at(1), end_of(1)); })
		.may_break("one finish is given to two events");
}

// Kernel: mmu_interval_notifier_remove() waits for the end, not for the first pass.
bool remove_waits_for_the_second_pass()
{
	return Scene()
		.prepare([] {
			map_written(0, 0);
			insert_two(0, 0);
		})
		.thread([] { machine().madvise_dontneed(process(), at(0), end_of(0)); })
		.thread([] {
			dsvm_os_notifier_remove(to_os(one.notifier));
			check(passes.find('a') == std::string::npos ||
				      passes.find('A') != std::string::npos,
			      "it is removed between its passes");
		})
		.holds();
}

// Stand-ins -------------------------------------------------------------------

// One for a part of what the listener covers.
Notifier stand_in;

void insert_with_stand_in()
{
	happened = false;
	listener().insert();
	stand_in = Notifier{};
	machine().notifier_stand_in(stand_in, process(), at(0), end_of(3));
	stand_in.seq = listener().notifier.seq;
}

// As whoever has it does, in the callback of the notifier.
void publish(usize seq)
{
	dsvm_os_write_lock(to_os(listener().lock));
	dsvm_os_notifier_set_seq(to_os(stand_in), seq);
	dsvm_os_write_unlock(to_os(listener().lock));
}

bool stand_in_waits_for_what_it_was_told()
{
	static bool runs;

	return Scene()
		.prepare([] {
			insert_with_stand_in();
			runs = false;
		})
		.thread([] {
			const Invalidation event{process(), at(0), end_of(0), Event::kClear};
			publish(process().invalidate_seq);
			runs = true;
			scheduler().relax();
			runs = false;
		})
		.thread([] {
			happened = runs;
			const bool waits = runs;

			static_cast<void>(dsvm_os_notifier_read_begin(to_os(stand_in)));
			check(!waits || !runs, "it does not wait");
		})
		.may(happened);
}

bool stand_in_hears_of_nothing_by_itself()
{
	static bool runs;

	return Scene()
		.prepare([] {
			insert_with_stand_in();
			runs = false;
		})
		.thread([] {
			const Invalidation event{process(), at(0), end_of(0), Event::kClear};
			runs = true;
			scheduler().wait_until("who must not wait", [] { return happened; });
		})
		.thread([] {
			const usize before = stand_in.seq;

			scheduler().wait_until("the event", [] { return runs; });
			const usize seq = dsvm_os_notifier_read_begin(to_os(stand_in));
			check(seq == before && !dsvm_os_notifier_read_retry(to_os(stand_in), seq),
			      "it was told");
			happened = true;
		})
		.holds();
}

bool even_sequence_is_found()
{
	return Scene()
		.prepare([] {
			insert_with_stand_in();
			stand_in.seq = 2;
		})
		.thread([] { static_cast<void>(dsvm_os_notifier_read_begin(to_os(stand_in))); })
		.breaks("a sequence is waited for that no invalidation has");
}

bool publishing_without_lock_is_found()
{
	return Scene()
		.prepare(insert_with_stand_in)
		.thread([] { dsvm_os_notifier_set_seq(to_os(stand_in), 1); })
		.breaks("a sequence is published without the notifier lock");
}

bool stand_in_cannot_be_removed()
{
	return Scene()
		.prepare(insert_with_stand_in)
		.thread([] { dsvm_os_notifier_remove(to_os(stand_in)); })
		.breaks("a notifier is removed that is in no tree");
}

bool sequence_is_the_one_published_last()
{
	return Scene()
		.prepare(insert_with_stand_in)
		.thread([] {
			Notifier &notifier = listener().notifier;
			usize seq;
			{
				const Invalidation event{process(), at(0), end_of(0),
							 Event::kClear};
				seq = process().invalidate_seq;
			}
			dsvm_os_read_lock(to_os(listener().lock));
			check(dsvm_os_notifier_seq(to_os(notifier)) == seq && (seq & 1) != 0,
			      "another one");
			check(dsvm_os_notifier_seq(to_os(stand_in)) != seq, "of the stand-in, too");
			dsvm_os_read_unlock(to_os(listener().lock));
		})
		.holds();
}

bool sequence_without_lock_is_found()
{
	return Scene()
		.prepare(insert_with_stand_in)
		.thread([] { static_cast<void>(dsvm_os_notifier_seq(to_os(stand_in))); })
		.breaks("a sequence is read without the notifier lock");
}

// A collection is disturbed by what its notifier is told, and by nothing else.
bool stand_in_is_disturbed_by_its_own_events()
{
	return on_each_kernel([](const Kernel &kernel) {
		return Scene(kernel)
			.prepare([] {
				map_written(0, 7);
				insert_with_stand_in();
			})
			.thread([] {
				Collection collection{0, 3};

				collection.request.notifier = to_os(stand_in);
				collection.request.seq = stand_in.seq;
				check(collection.fault(true).run() == 0, "it fails");
				check(collection.request.seq == stand_in.seq, "another sequence");
			})
			.thread([] {
				for (u32 i = 4; i < 8; i++)
					machine().madvise_dontneed(process(), at(i), end_of(i));
			})
			.holds();
	});
}

bool collection_notices_the_stand_in()
{
	return Scene(kKernel6_12)
		.prepare([] {
			map_written(0, 3);
			insert_with_stand_in();
		})
		.thread([] {
			Collection collection{0, 3};

			collection.request.notifier = to_os(stand_in);
			collection.request.seq = dsvm_os_notifier_read_begin(to_os(stand_in));
			publish(stand_in.seq + 2);
			check(dsvm_os_hmm_fault(&collection.request) == -DSVM_EBUSY, "not noticed");
		})
		.holds();
}

bool window_under_all_of_them_is_found()
{
	static Rwsem window{"a window's lock", LockRank::kWindow};

	return Scene()
		.prepare([] {
			window = Rwsem{"a window's lock", LockRank::kWindow};
		})
		.thread([] {
			dsvm_os_read_lock(to_os(listener().lock));
			dsvm_os_read_lock(to_os(window));
		})
		.breaks("waits for a window under the lock of all of them");
}

} // namespace

void add_notifier_contracts(std::vector<Contract> &list)
{
	list.insert(list.end(), {
					DSVM_CONTRACT(all_begin_before_any_finishes),
					DSVM_CONTRACT(who_is_done_at_once_is_not_finished),
					DSVM_CONTRACT(old_kernels_have_one_pass),
					DSVM_CONTRACT(refusal_finishes_who_has_begun),
					DSVM_CONTRACT(one_finish_for_two_events_is_found),
					DSVM_CONTRACT(remove_waits_for_the_second_pass),
					DSVM_CONTRACT(stand_in_waits_for_what_it_was_told),
					DSVM_CONTRACT(stand_in_hears_of_nothing_by_itself),
					DSVM_CONTRACT(even_sequence_is_found),
					DSVM_CONTRACT(publishing_without_lock_is_found),
					DSVM_CONTRACT(stand_in_cannot_be_removed),
					DSVM_CONTRACT(sequence_is_the_one_published_last),
					DSVM_CONTRACT(sequence_without_lock_is_found),
					DSVM_CONTRACT(stand_in_is_disturbed_by_its_own_events),
					DSVM_CONTRACT(collection_notices_the_stand_in),
					DSVM_CONTRACT(window_under_all_of_them_is_found),
				});
}

} // namespace dsvm::sim
