// SPDX-License-Identifier: GPL-2.0-only OR MIT
//
// How long a retry loop may go on.
//
// Every loop of the page collection protocol is bounded by one of these: an
// invalidation that comes again and again, a kernel that cannot get at a page,
// a caller that is being killed must all end in an errno and not in a spin. They are long,
// and mostly not needed, so the time is that of the last tick.
#ifndef DSVM_CORE_SVM_DEADLINE_H
#define DSVM_CORE_SVM_DEADLINE_H

#include "core/base/result.h"
#include "core/base/types.h"
#include "drm_svm/os.h"

namespace dsvm {

class Deadline {
public:
	explicit Deadline(u64 budget_ns) : Deadline(budget_ns, dsvm_os_tick_ns()) {}
	// For who knows what tick it is.
	Deadline(u64 budget_ns, u64 now_ns) : end_ns_(now_ns + budget_ns), left_ns_(budget_ns) {}
	// From the first attempt that fails on: where most work is done with the first, the time is
	// not asked for.
	static Deadline from_failure(u64 budget_ns) { return Deadline{budget_ns, -budget_ns}; }

	u64 remaining_ns() const
	{
		const u64 now = dsvm_os_tick_ns();
		return now < end_ns_ ? end_ns_ - now : 0;
	}
	// What there was when the attempt began.
	u64 attempt_ns() const { return left_ns_; }

	// Before another attempt: kInterrupted if the caller is being killed, kBusy if the
	// time is up; else lets others run and says ok. May sleep.
	DSVM_COLD Status next_attempt() const
	{
		DSVM_TRY(check());
		dsvm_os_relax();
		return Status::ok();
	}

	// The same before the next step of work that goes well: without a pause.
	Status next_step() const
	{
		DSVM_TRY(check());
		dsvm_os_resched();
		return Status::ok();
	}

private:
	Status check() const
	{
		if (dsvm_os_killed())
			return kInterrupted;

		if (end_ns_ == 0)
			end_ns_ = dsvm_os_tick_ns() + left_ns_;
		left_ns_ = remaining_ns();
		return left_ns_ != 0 ? Status::ok() : kBusy;
	}

	mutable u64 end_ns_;  // 0: not begun
	mutable u64 left_ns_; // as of the last check
};

} // namespace dsvm

#endif // DSVM_CORE_SVM_DEADLINE_H
