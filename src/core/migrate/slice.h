// SPDX-License-Identifier: GPL-2.0-only OR MIT
//
// One worker's part of a job: see job.h.
#ifndef DSVM_CORE_MIGRATE_SLICE_H
#define DSVM_CORE_MIGRATE_SLICE_H

#include "core/base/array.h"
#include "core/base/result.h"
#include "core/base/va_range.h"
#include "core/migrate/scratch.h"
#include "core/migrate/to_device.h"
#include "drm_svm/migrate.h"

namespace dsvm {

// What the workers of a job share.
struct JobState {
	dsvm_migrate_job &job;
	VaRange span;
	int error = 0; // the first one; tells the others to stop
};

class Slice {
public:
	Slice(JobState &state, VaRange span) : state_(state), job_(state.job), span_(span) {}
	Slice(const Slice &) = delete;
	Slice &operator=(const Slice &) = delete;

	// May sleep.
	Status run();

private:
	static constexpr u32 kGroup = 4; // runs that get memory in one go
	static constexpr u32 kSlots = 2; // batches under way
	// What a group remembers for a second try: every other page at most.
	static constexpr u32 kRetries = kGroup * kBatchPages / 2;

	struct Run {
		VaRange span;
		const dsvm_devmem *devmem;
	};
	struct Slot {
		Scratch scratch;
		ToDevice batch{scratch};
		VaRange span{};
		dsvm_os_vma *pinned = nullptr;
		u8 stays[kBatchPages];
	};
	struct Retry {
		VaRange span;
		bool is_foreign;
	};

	Status migrate(VaRange span);
	Status migrate_again();

	Status find_runs(u64 &at, u64 last);
	Status find_in_block(VaRange part, u64 &at);
	bool is_there(usize index) const;
	usize mapped_as_one(VaRange part, usize index) const;
	// Of a run; a second try is of a part of the span.
	usize most_pages() const { return min<usize>(span_.page_count(), kBatchPages); }
	Status allocate_slots();
	Status alloc_group();
	Status move_group();
	void release_group();

	Status begin(const Run &run);
	Status end(Slot &slot);
	Status drain();
	Status lock();
	void unlock_if_pinned();
	bool is_any_under_way() const;

	void tally(const Slot &slot);
	void note(VaRange span, dsvm_stay stay);
	bool remember(VaRange span, dsvm_stay stay);
	Status check_on() const;

	JobState &state_;
	dsvm_migrate_job &job_;
	const VaRange span_;
	Slot slots_[kSlots];
	u32 next_slot_ = 0;
	bool locked_ = false; // the mm's lock, for reading
	Run runs_[kGroup];
	u32 nruns_ = 0;
	Array<Retry> retries_; // kRetries, if there is to be a second try
	u32 nretries_ = 0;
	bool is_second_try_ = false;
	Array<usize> entries_; // of one look at a time; most_pages()
};

} // namespace dsvm

#endif // DSVM_CORE_MIGRATE_SLICE_H
