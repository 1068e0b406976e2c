// SPDX-License-Identifier: GPL-2.0-only OR MIT
//
// What has to be undone when a scope is left early.
//
//	auto unmap = on_exit([&] { unmap_first(count); });
//	DSVM_TRY(map_the_rest());
//	unmap.release();                 // it is kept: nothing to undo
//
// A guard runs its function once, at the end of its scope, unless released. Guards
// unwind in the reverse order of their making, which is the order of a kernel
// function's goto labels. No allocation: the function object lives in the guard.
// It cannot be copied, moved or assigned, so there is never a question whose it is.
#ifndef DSVM_CORE_BASE_GUARD_H
#define DSVM_CORE_BASE_GUARD_H

#include "core/base/utility.h"

namespace dsvm {

template <class F> class [[nodiscard]] Guard {
public:
	explicit Guard(F &&function) : function_(move(function)) {}
	Guard(const Guard &) = delete;
	Guard &operator=(const Guard &) = delete;
	~Guard()
	{
		if (armed_)
			function_();
	}

	// The function will not run.
	void release() { armed_ = false; }

private:
	// What to do; called at most once, without arguments.
	F function_;
	// Whether it is still to be done.
	bool armed_ = true;
};

template <class F> Guard<RemoveReference<F>> on_exit(F &&function)
{
	return Guard<RemoveReference<F>>(forward<F>(function));
}

} // namespace dsvm

#endif // DSVM_CORE_BASE_GUARD_H
