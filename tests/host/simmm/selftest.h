// SPDX-License-Identifier: GPL-2.0-only OR MIT
//
// Tests of what looks for races: strategies, search, minimisation. A search that finds
// nothing proves nothing unless it is known to find what is there.
#ifndef DSVM_SIMMM_SELFTEST_H
#define DSVM_SIMMM_SELFTEST_H

#include "tests/host/simmm/explore.h"

namespace dsvm::sim {

// KTAP; the exit status.
int run_selftest();

// A hash of everything that so many seeds came to: the same in every process.
u64 fingerprint(u64 seed, u32 count);

} // namespace dsvm::sim

#endif // DSVM_SIMMM_SELFTEST_H
