// SPDX-License-Identifier: GPL-2.0-only OR MIT
//
// A program's operations on hmmptrs, and what may come of them.
#ifndef DSVM_SIMMM_HMMPTR_OPS_H
#define DSVM_SIMMM_HMMPTR_OPS_H

#include "tests/host/simmm/claims.h"

namespace dsvm::sim {

// False: it is none. `value` is what it writes, if it does.
bool perform_on_hmmptr(const Op &op, u64 value, const Claims &claims);
// Nothing is under way: what is steady can be bound and used by jobs, wherever it has been left.
void use_hmmptrs(const Program &program, const Claims &claims);

} // namespace dsvm::sim

#endif // DSVM_SIMMM_HMMPTR_OPS_H
