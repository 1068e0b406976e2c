/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/* Taking the stub's devices away and giving them back, as a person could with sysfs. */
#ifndef TESTS_GUEST_DEVICES_H
#define TESTS_GUEST_DEVICES_H

#include <stdbool.h>

/* Ends the case, skipped, if the device cannot be unbound from its driver. */
void need_unbind(unsigned int index);

/* Returns when the driver has let go of it, or has it again; 0 or a negative errno. */
int unbind_device(unsigned int index);
int bind_device(unsigned int index);

/*
 * The device is gone from one moment to the next, with what was in its VRAM, and the driver
 * finds out; returns when it is unbound. Ends the case, skipped, where there is no debugfs.
 */
void tear_out_device(unsigned int index);

#endif /* TESTS_GUEST_DEVICES_H */
