/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/* Pages that somebody uses by their address, so that they must stay where they are. */
#ifndef TESTS_GUEST_PIN_H
#define TESTS_GUEST_PIN_H

#include <stddef.h>

/*
 * Has io_uring keep @size bytes at @start for as long as the file that it returns is open.
 * Ends the case, skipped, where it cannot.
 */
int pin_pages(void *start, size_t size);
/* Lets them go, and waits for that. */
void unpin_pages(int fd);

#endif /* TESTS_GUEST_PIN_H */
