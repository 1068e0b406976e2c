// SPDX-License-Identifier: GPL-2.0-only OR MIT

#include "tests/host/simmm/minimise.h"

#include <algorithm>
#include <utility>

namespace dsvm::sim {

namespace {

class Minimiser {
public:
	Minimiser(Runner runner, const Program &program, const Outcome &failure,
		  const Effort &effort)
		: runner_(runner), effort_(effort), rule_(failure.violation.what), best_(program),
		  failure_(failure)
	{}

	Minimal minimise();

private:
	bool fails(const Program &candidate);
	bool accept(const Program &candidate);
	bool out_of_runs() const { return runs_ >= effort_.total_runs; }

	template <class Count, class Remove> bool remove_pieces(Count count, Remove remove);
	template <class Change> bool change(Change change);
	bool drop_threads();
	bool drop_ops();
	bool drop_areas();
	bool drop_hmmptrs();
	bool join_threads();
	bool shrink_ops();
	bool shrink_areas();
	bool reset_options();
	void fewest_preemptions();
	void fewest_deviations();
	bool replay(const Schedule &schedule);

	const Runner runner_;
	const Effort effort_;
	const std::string rule_;
	Program best_;
	Outcome failure_; // of best_
	u64 runs_ = 0;
};

// Whether the same rule can be broken; failure_ is how, then.
bool Minimiser::fails(const Program &candidate)
{
	Statistics statistics;
	// What failed before is likely to fail again if what went was of no importance.
	Replay as_before(failure_.schedule);
	Outcome outcome = runner_(candidate, as_before, {});
	const auto found = [&] {
		return outcome.failed && outcome.violation.what == rule_;
	};

	runs_++;
	if (!found()) {
		outcome = search(runner_, candidate, runs_, effort_.candidate_runs, &rule_,
				 &statistics);
	}
	if (!found() && candidate.ops() <= effort_.small_ops) {
		outcome = exhaust(runner_, candidate, effort_.small_preemptions,
				  effort_.small_limit, &rule_, &statistics)
				  .outcome;
	}
	runs_ += statistics.runs;
	if (!found())
		return false;
	failure_ = std::move(outcome);
	return true;
}

bool Minimiser::accept(const Program &candidate)
{
	if (out_of_runs() || !fails(candidate))
		return false;
	best_ = candidate;
	return true;
}

// Leaves out pieces of a list, halves first, then quarters, and so on.
template <class Count, class Remove> bool Minimiser::remove_pieces(Count count, Remove remove)
{
	bool any = false;

	for (usize size = std::max<usize>(count(best_) / 2, 1);; size /= 2) {
		for (usize at = 0; at < count(best_);) {
			Program candidate = best_;

			remove(candidate, at, std::min(at + size, count(best_)));
			if (accept(candidate))
				any = true;
			else
				at += size;
		}
		if (size <= 1)
			return any;
	}
}

// A change of the program, if it is one and fails as well.
template <class Change> bool Minimiser::change(Change change)
{
	Program candidate = best_;

	return change(candidate) && accept(candidate);
}

bool Minimiser::drop_threads()
{
	return remove_pieces([](const Program &p) { return p.threads.size(); },
			     [](Program &p, usize first, usize end) {
				     p.threads.erase(p.threads.begin() + first,
						     p.threads.begin() + end);
			     });
}

// Operations are numbered through all threads. A thread without any goes, too.
bool Minimiser::drop_ops()
{
	return remove_pieces([](const Program &p) { return p.ops(); },
			     [](Program &p, usize first, usize end) {
				     usize number = 0;
				     for (auto &thread : p.threads) {
					     std::erase_if(thread, [&](const Op &) {
						     const usize i = number++;
						     return i >= first && i < end;
					     });
				     }
				     std::erase_if(p.threads,
						   [](const auto &t) { return t.empty(); });
			     });
}

bool Minimiser::drop_areas()
{
	return remove_pieces([](const Program &p) { return p.areas.size(); },
			     [](Program &p, usize first, usize end) {
				     p.areas.erase(p.areas.begin() + first, p.areas.begin() + end);
			     });
}

// The slots of those behind change, so that operations on them have to do without, too.
bool Minimiser::drop_hmmptrs()
{
	bool any = remove_pieces([](const Program &p) { return p.hmmptrs.size(); },
				 [](Program &p, usize first, usize end) {
					 p.hmmptrs.erase(p.hmmptrs.begin() + first,
							 p.hmmptrs.begin() + end);
				 });

	for (usize i = 0; i < best_.hmmptrs.size(); i++) {
		any |= change(
			[&](Program &p) { return std::exchange(p.hmmptrs[i].flags, 0) != 0; });
	}
	return any;
}

// Puts the operations of a thread before, or behind, those of another one.
bool Minimiser::join_threads()
{
	for (usize from = 0; from < best_.threads.size(); from++) {
		for (usize to = 0; to < best_.threads.size(); to++) {
			Program candidate = best_;
			auto &ops = candidate.threads[to];

			if (from == to)
				continue;
			ops.insert(ops.end(), best_.threads[from].begin(),
				   best_.threads[from].end());
			candidate.threads.erase(candidate.threads.begin() + from);
			if (accept(candidate))
				return true;
		}
	}
	return false;
}

// A span becomes its first page, else its last page, else its first half; flags go.
bool Minimiser::shrink_ops()
{
	bool any = false;

	for (usize thread = 0; thread < best_.threads.size(); thread++) {
		for (usize i = 0; i < best_.threads[thread].size(); i++) {
			const auto shrink = [&](u16 first, u16 last) {
				return change([&](Program &p) {
					Op &op = p.threads[thread][i];

					if (op.first == first && op.last == last)
						return false;
					op.first = first;
					op.last = last;
					return true;
				});
			};
			const Op op = best_.threads[thread][i];

			if (operands_of(op.verb).to == Operands::To::kHmmptr && flags_of(op) != 0)
				any |= change([&](Program &p) {
					p.threads[thread][i].to = static_cast<u16>(slot_of(op));
					return true;
				});
			if (op.verb == Verb::kFail || op.last <= op.first)
				continue;
			any |= shrink(op.first, op.first) || shrink(op.last, op.last) ||
			       shrink(op.first, static_cast<u16>((op.first + op.last) / 2));
		}
	}
	return any;
}

bool Minimiser::shrink_areas()
{
	bool any = false;

	for (usize i = 0; i < best_.areas.size(); i++) {
		const auto set = [&](auto member, auto value) {
			return change([&](Program &p) {
				if (p.areas[i].*member == value)
					return false;
				p.areas[i].*member = value;
				return true;
			});
		};

		any |= set(&Area::kind, VmaKind::kAnonymous);
		any |= set(&Area::huge, false);
		any |= set(&Area::in_vram, false);
		any |= set(&Area::filled, false);
		while (set(&Area::last,
			   static_cast<u16>((best_.areas[i].first + best_.areas[i].last) / 2)))
			any = true;
		while (best_.areas[i].last > best_.areas[i].first &&
		       set(&Area::last, static_cast<u16>(best_.areas[i].last - 1)))
			any = true;
	}
	return any;
}

// Whatever a program may set, as a program has it that sets nothing.
bool Minimiser::reset_options()
{
	static const Program defaults;
	bool any = false;
	const auto reset = [&](auto get) {
		any |= change([&](Program &p) {
			auto &value = get(p);
			const auto &by_default = get(const_cast<Program &>(defaults));

			if (value == by_default)
				return false;
			value = by_default;
			return true;
		});
	};

	any |= change([&](Program &p) {
		const bool differs =
			!std::ranges::equal(p.driver.chunk_pages, defaults.driver.chunk_pages);
		std::ranges::copy(defaults.driver.chunk_pages, p.driver.chunk_pages);
		return differs;
	});
	reset([](Program & p) -> auto & { return p.kernel; });
	reset([](Program & p) -> auto & { return p.driver.migrate_on_fault; });
	reset([](Program & p) -> auto & { return p.driver.notifier_pages; });
	reset([](Program & p) -> auto & { return p.driver.piece_pages; });
	reset([](Program & p) -> auto & { return p.driver.check_pages; });
	reset([](Program & p) -> auto & { return p.driver.tlb_entries; });
	reset([](Program & p) -> auto & { return p.driver.timeslice_ns; });
	reset([](Program & p) -> auto & { return p.driver.fault_tries; });
	reset([](Program & p) -> auto & { return p.driver.max_dma_order; });
	reset([](Program & p) -> auto & { return p.driver.fini_removes; });
	reset([](Program & p) -> auto & { return p.driver.behind_iommu; });
	reset([](Program & p) -> auto & { return p.driver.direct_dma; });
	reset([](Program & p) -> auto & { return p.driver.range_locks; });
	reset([](Program & p) -> auto & { return p.driver.window_locks; });
	reset([](Program & p) -> auto & { return p.driver.trims; });
	reset([](Program & p) -> auto & { return p.driver.wide_reads; });
	reset([](Program & p) -> auto & { return p.driver.finish_slots; });
	reset([](Program & p) -> auto & { return p.driver.fault_in; });
	reset([](Program & p) -> auto & { return p.driver.granule_pages; });
	reset([](Program & p) -> auto & { return p.driver.copies_runs; });
	reset([](Program & p) -> auto & { return p.driver.copies_later; });
	reset([](Program & p) -> auto & { return p.driver.frees_pages; });
	reset([](Program & p) -> auto & { return p.driver.evicts; });
	reset([](Program & p) -> auto & { return p.driver.scatters; });
	reset([](Program & p) -> auto & { return p.driver.inject_every; });
	reset([](Program & p) -> auto & { return p.driver.block_pages; });
	reset([](Program & p) -> auto & { return p.driver.workers; });
	reset([](Program & p) -> auto & { return p.driver.peer; });
	reset([](Program & p) -> auto & { return p.geometry.peer_pages; });
	reset([](Program & p) -> auto & { return p.geometry.fragmented; });
	reset([](Program & p) -> auto & { return p.geometry.va_pages; });
	reset([](Program & p) -> auto & { return p.geometry.huge_order; });
	reset([](Program & p) -> auto & { return p.geometry.ram_pages; });
	reset([](Program & p) -> auto & { return p.geometry.device_pages; });
	reset([](Program & p) -> auto & { return p.geometry.swap_slots; });
	return any;
}

bool Minimiser::replay(const Schedule &schedule)
{
	Replay strategy(schedule);
	Outcome outcome = runner_(best_, strategy, {});

	runs_++;
	if (!outcome.failed || outcome.violation.what != rule_)
		return false;
	failure_ = std::move(outcome);
	return true;
}

// A schedule with as few preemptions as there can be, if that is found soon.
void Minimiser::fewest_preemptions()
{
	Exhausted all =
		exhaust(runner_, best_, effort_.small_preemptions, effort_.small_limit, &rule_);

	for (const u64 schedules : all.schedules)
		runs_ += schedules;
	if (all.outcome.failed && all.outcome.violation.what == rule_)
		failure_ = std::move(all.outcome);
}

void Minimiser::fewest_deviations()
{
	for (usize size = std::max<usize>(failure_.schedule.size() / 2, 1);; size /= 2) {
		for (usize at = 0; at < failure_.schedule.size();) {
			Schedule shorter = failure_.schedule;
			const usize end = std::min(at + size, shorter.size());

			// Other deviations may come of it, so whether it got shorter is checked.
			shorter.erase(shorter.begin() + at, shorter.begin() + end);
			const Outcome before = failure_;

			if (replay(shorter) && failure_.schedule.size() < before.schedule.size())
				continue;
			failure_ = before;
			at += size;
		}
		if (size <= 1)
			return;
	}
}

Minimal Minimiser::minimise()
{
	bool smaller = true;

	while (smaller && !out_of_runs()) {
		smaller = drop_threads();
		smaller |= drop_ops();
		smaller |= drop_areas();
		smaller |= drop_hmmptrs();
		smaller |= join_threads();
		smaller |= shrink_ops();
		smaller |= shrink_areas();
		smaller |= reset_options();
	}
	fewest_preemptions();
	fewest_deviations();
	return {best_, failure_, runs_};
}

} // namespace

Minimal minimise(Runner runner, const Program &program, const Outcome &failure,
		 const Effort &effort)
{
	return Minimiser(runner, program, failure, effort).minimise();
}

} // namespace dsvm::sim
