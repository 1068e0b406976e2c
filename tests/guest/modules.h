/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * Loading and unloading the modules under test, for programs that run in the test guest:
 * /modules.list has them there in the order in which they load, with their parameters.
 */
#ifndef TESTS_GUEST_MODULES_H
#define TESTS_GUEST_MODULES_H

#include <stdbool.h>

struct module {
	char name[64];
	char parameters[128];
	bool was_loaded; /* when the program began */
};

#define MAX_MODULES 8

extern struct module modules[MAX_MODULES];
extern int num_modules;

/* Reads the list; returns how many there are, 0 outside of the test guest. */
int read_modules(void);

bool is_loaded(const struct module *module);
/* With its parameters; 0 or a negative errno. */
int load(const struct module *module);
/* Waits for what still uses it, some seconds: what a process leaves goes a little later. */
int unload(const struct module *module);

/*
 * Loads the stub driver again, with @parameters behind its own (NULL: as it was). 0 or a
 * negative errno; -ENOENT outside of the test guest.
 */
int reload_stub(const char *parameters);

/* Loads those again that were loaded at the beginning. */
void restore_modules(void);

#endif /* TESTS_GUEST_MODULES_H */
