// SPDX-License-Identifier: GPL-2.0-only OR MIT
//
// A run in a process of its own, for programs that do not end with a violation but with the
// end of the process: a sanitizer's complaint, a null pointer, an assertion; or not at all: a
// loop that no point is in. What was picked until then is kept, so that such a run is
// replayed and minimised like any other.
#ifndef DSVM_SIMMM_GUARD_H
#define DSVM_SIMMM_GUARD_H

#include "tests/host/simmm/explore.h"

namespace dsvm::sim {

// The rules that such runs break.
extern const char *const kDies;
extern const char *const kHangs;

// Whether a rule is one of these.
bool needs_guard(const std::string &rule);

// As run() of program.h, but the process is killed if the run takes many seconds of the
// processor.
Outcome run_limited(const Program &program, Strategy &strategy, const RunOptions &options = {});

// `wait_status` is waitpid()'s. Empty if the process came to its end.
std::string how_it_died(int wait_status);

// Runs `inner` in a child. What it visits is not seen.
Outcome run_guarded(Runner inner, const Program &program, Strategy &strategy,
		    const RunOptions &options);

// The same as a runner.
template <Runner inner>
Outcome guarded(const Program &program, Strategy &strategy, const RunOptions &options)
{
	return run_guarded(inner, program, strategy, options);
}

} // namespace dsvm::sim

#endif // DSVM_SIMMM_GUARD_H
