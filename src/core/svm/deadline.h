// SPDX-License-Identifier: GPL-2.0-only OR MIT
//
// How long a retry loop may go on.
//
// Every loop of the page collection protocol is bounded by one of these: an
// invalidation that comes again and again, a kernel that cannot get at a page,
// a caller that is being killed must all end in an errno and not in a spin.
#ifndef DSVM_CORE_SVM_DEADLINE_H
#define DSVM_CORE_SVM_DEADLINE_H

#include "core/base/result.h"
#include "core/base/types.h"
#include "drm_svm/os.h"

namespace dsvm {

class Deadline {
public:
	explicit Deadline(u64 budget_ns) : end_ns_(dsvm_os_now_ns() + budget_ns) {}

	u64 remaining_ns() const
	{
		const u64 now = dsvm_os_now_ns();
		return now < end_ns_ ? end_ns_ - now : 0;
	}

	// Before another attempt: kInterrupted if the caller is being killed, kBusy if the
	// time is up; else lets others run and says ok. May sleep.
	Status next_attempt() const
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
		return remaining_ns() != 0 ? Status::ok() : kBusy;
	}

	const u64 end_ns_; // immutable
};

} // namespace dsvm

#endif // DSVM_CORE_SVM_DEADLINE_H
