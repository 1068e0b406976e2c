// SPDX-License-Identifier: GPL-2.0-only OR MIT
//
// Runners with a model of a few lines in the place of the machine, most of them broken on
// purpose: what search and minimisation have to find is known for them. They give verbs a
// meaning of their own and ignore areas and options.
#ifndef DSVM_SIMMM_TOYS_H
#define DSVM_SIMMM_TOYS_H

#include "tests/host/simmm/explore.h"

namespace dsvm::sim {

// A verb that a toy does not know is a point and no more.

// store: a word is read, and after a point written with one more; no lock.
Outcome run_lost_update(const Program &program, Strategy &strategy, const RunOptions &options);
extern const char *const kLostUpdate;

// map takes two locks, unmap takes them the other way around.
Outcome run_abba(const Program &program, Strategy &strategy, const RunOptions &options);
extern const char *const kDeadlock; // the scheduler's rule

// gpu_load collects the page and enters it into the GPU's page table, unmap invalidates and
// takes the page away: the protocol of mmu_interval_read_begin(), and the same without the
// mmu_interval_read_retry().
Outcome run_retry(const Program &program, Strategy &strategy, const RunOptions &options);
Outcome run_missed_retry(const Program &program, Strategy &strategy, const RunOptions &options);
extern const char *const kStaleEntry;

// load spins with relax() until a store has come to its end.
Outcome run_spin(const Program &program, Strategy &strategy, const RunOptions &options);

// As run_lost_update(), but it is the process that pays.
Outcome run_crash(const Program &program, Strategy &strategy, const RunOptions &options);
// The same, and it does not come to an end.
Outcome run_hang(const Program &program, Strategy &strategy, const RunOptions &options);

} // namespace dsvm::sim

#endif // DSVM_SIMMM_TOYS_H
