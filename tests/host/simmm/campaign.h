// SPDX-License-Identifier: GPL-2.0-only OR MIT
//
// A campaign: seed after seed, on several processors, until so many have been run, time is
// up, or enough has failed. Each job is a process, so one that dies takes no other along,
// and the seed that it died at is known.
#ifndef DSVM_SIMMM_CAMPAIGN_H
#define DSVM_SIMMM_CAMPAIGN_H

#include "tests/host/simmm/explore.h"
#include "tests/host/simmm/minimise.h"

namespace dsvm::sim {

struct Campaign {
	u64 first = 0;	    // seed
	u64 runs = 0;	    // so many seeds from there on; 0: no limit
	double seconds = 0; // 0: no limit
	u32 jobs = 1;
	u64 failures = 1; // stop after so many
	bool minimises = true;
	Space space;
	std::string space_options; // that the space was made by, for who wants it again
	std::string directory;	   // where minimal programs are put; empty: nowhere
};

// Prints what failed and statistics. The exit status.
int run_campaign(const Campaign &campaign);

// What a person has to know about a seed that failed; with the minimal program, unless it
// is not wanted.
std::string describe_failure(u64 seed, const Program &program, const Outcome &outcome,
			     const Campaign &campaign);

// A program with its schedule as a file of seeds/ has them.
std::string to_file(const Program &program, const Outcome &outcome);

} // namespace dsvm::sim

#endif // DSVM_SIMMM_CAMPAIGN_H
