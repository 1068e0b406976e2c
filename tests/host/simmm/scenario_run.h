// SPDX-License-Identifier: GPL-2.0-only OR MIT
//
// Scenarios (tests/scenarios/scenario.h) on the simulation: the files that run on a real
// kernel with the stub device run here, too, and have to come to the same end.
//
// The machine is as large as a real one where it matters: huge pages of 512 pages, ranges
// of 2 MiB, 64 KiB and 4 KiB, windows of 512 MiB. Lines that stand alone run one after the
// other; what is between `together` and `end` runs in schedules that a seed decides.
#ifndef DSVM_SIMMM_SCENARIO_RUN_H
#define DSVM_SIMMM_SCENARIO_RUN_H

#include <string>

#include "tests/host/simmm/machine.h"
#include "tests/host/simmm/program.h"
#include "tests/scenarios/scenario.h"

namespace dsvm::sim {

Outcome run_scenario(const scn &scenario, const Kernel &kernel, Strategy &strategy,
		     const RunOptions &options = {});

// Every scenario below a directory on every kernel, as KTAP: `schedules` times if it has a
// `together`, else once. The exit status.
int run_scenarios(const std::string &directory, u64 seed, u32 schedules);
// One file, with a trace if that is wanted. The exit status.
int run_scenario_file(const std::string &path, const Kernel &kernel, u64 seed, bool trace);

} // namespace dsvm::sim

#endif // DSVM_SIMMM_SCENARIO_RUN_H
