// SPDX-License-Identifier: GPL-2.0-only OR MIT
//
// Program files: the text of program.h with directions in comments.
//
//	# rule: what it once broke		for the reader
//	# explore: random 2000, exhaustive 2	schedules to run it with: so many random ones;
//						all with so many preemptions
//	# schedule: 12>1 57>0			that broke the rule; it is run first
//	kernel 6.1
//	...
//
// tests/host/simmm/seeds/ holds programs that have failed once: with a bug of the core, with
// one of the model, or with a fault that scripts/mutate plants. Their schedules are worth the
// less the more the code has changed since, so each is explored again, too.
#ifndef DSVM_SIMMM_CORPUS_H
#define DSVM_SIMMM_CORPUS_H

#include "tests/host/simmm/explore.h"

namespace dsvm::sim {

struct ProgramFile {
	Program program;
	Schedule schedule;
	u32 random = 1000;
	u32 preemptions = 0;
};

// False and a sentence in `error` if there is none.
bool read_file(const std::string &path, ProgramFile &file, std::string &error);
bool parse_schedule(const std::string &text, Schedule &schedule);

// Every program below a directory, as KTAP. The exit status.
int run_corpus(const std::string &directory);

} // namespace dsvm::sim

#endif // DSVM_SIMMM_CORPUS_H
