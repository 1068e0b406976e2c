/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * A scenario on the stage: what the process that watches it and the processes that
 * play it share. tests/scenarios/scenario.h says what scenarios are.
 *
 * The watcher tells an actor what to do through a pipe, and the actor answers through
 * another when it is done. What became of it is in memory that all share.
 */
#ifndef TESTS_GUEST_TEST_SCENARIO_H
#define TESTS_GUEST_TEST_SCENARIO_H

#include <sys/types.h>

#include "scenario.h"
#include "stub.h"

/* What an actor is told. */
struct command {
	enum { STEP, BLOCK, QUIT } what;
	unsigned int number; /* index of a step, or number of a block */
};

struct result {
	bool ok;
	unsigned int line; /* of the step, if it failed */
	char text[160]; /* how it failed */
};

/* Shared memory. */
struct stage {
	struct result results[SCN_MAX_ACTORS];
	pid_t pids[SCN_MAX_ACTORS]; /* of the process that the actor is in; 0: none */
};

struct play {
	struct scn scn;
	unsigned int kernel; /* SCN_KERNEL() of the running one */
	struct stage *stage;
	/* Read and write end of each actor's pipes. */
	int go[SCN_MAX_ACTORS][2];
	int done[SCN_MAX_ACTORS][2];
};

/* Runs main and its threads in this process. */
void play_main(struct play *play) __attribute__((noreturn));

/* What main() of a program does that an actor's exec has started. */
bool is_exec(int argc, char **argv);
void play_exec(char **argv) __attribute__((noreturn));

#endif /* TESTS_GUEST_TEST_SCENARIO_H */
