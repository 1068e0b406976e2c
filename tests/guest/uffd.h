/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/* Memory that user space brings, page by page: userfaultfd. */
#ifndef TESTS_GUEST_UFFD_H
#define TESTS_GUEST_UFFD_H

#include <pthread.h>
#include <stdbool.h>

#include "stub.h"

/* Where it is; in a notifier window of its own. */
#define UFFD_MEMORY ((char *)0x200000000000)
/* What the handler brings. */
#define UFFD_SEED 8

struct handler {
	int fd;
	pthread_t thread;
	int stop[2];
	unsigned int delay_us; /* before each answer */
	bool answers; /* or else a fault waits until this is set and it is woken */
	unsigned int missing, write_protected; /* how often it was asked */
};

/* Whether a GPU fault can wait for a handler, or finds no memory; skips if it cannot. */
bool hmm_waits(void);
void need_waiting(void);

/* Memory of @size bytes of which the handler hears in @mode. */
void start_handler(struct handler *handler, size_t size, __u64 mode);
void stop_handler(struct handler *handler);

void bring_page(struct handler *handler, size_t page);
int write_protect(struct handler *handler, size_t page, size_t pages, bool on);

/* From now on faults wait; returns when one does. */
void wait_until_asked(struct handler *handler, unsigned int before);
/* Answers what waits, and what comes. */
void answer_all(struct handler *handler, size_t pages);

#endif /* TESTS_GUEST_UFFD_H */
