// SPDX-License-Identifier: GPL-2.0-only OR MIT
//
// Tests of the simulated machine: each states a contract of the kernel that the model has to
// keep, or a rule that it has to enforce. A model that is wrong finds bugs that are none, and
// none of those that are.
#ifndef DSVM_SIMMM_CONTRACT_TESTS_H
#define DSVM_SIMMM_CONTRACT_TESTS_H

#include <vector>

namespace dsvm::sim {

struct Contract {
	const char *name;
	// On the current scheduler and machine; prints why it fails, as a comment.
	bool (*run)();
};
#define DSVM_CONTRACT(name) \
	{                   \
#name, name \
	}

// All of them. They need a Scheduler and a Machine to be there.
const std::vector<Contract> &contracts();

// By subject; each adds its own.
void add_lock_contracts(std::vector<Contract> &list);
void add_mm_contracts(std::vector<Contract> &list);
void add_hmm_contracts(std::vector<Contract> &list);
void add_migrate_contracts(std::vector<Contract> &list);
void add_huge_contracts(std::vector<Contract> &list);
void add_wait_contracts(std::vector<Contract> &list);
void add_protocol_contracts(std::vector<Contract> &list);
void add_notifier_contracts(std::vector<Contract> &list);
void add_dma_contracts(std::vector<Contract> &list);
void add_gpu_contracts(std::vector<Contract> &list);

} // namespace dsvm::sim

#endif // DSVM_SIMMM_CONTRACT_TESTS_H
