// SPDX-License-Identifier: GPL-2.0-only OR MIT
#include "uffd.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "memory.h"

static unsigned int asked(unsigned int *counter)
{
	return __atomic_load_n(counter, __ATOMIC_ACQUIRE);
}

/* Whether a GPU fault can wait: that is when the kernel has this function. */
bool hmm_waits(void)
{
	FILE *file = fopen("/proc/kallsyms", "r");
	bool found = false;
	char line[256];

	EXPECT(file, "/proc/kallsyms: %s", strerror(errno));
	while (!found && fgets(line, sizeof(line), file))
		found = strstr(line, " hmm_range_fault_unlocked_timeout\n");
	fclose(file);
	return found;
}

void need_waiting(void)
{
	if (!hmm_waits())
		ktap_skip("HMM of this kernel does not wait for userfaultfd");
}

void bring_page(struct handler *handler, size_t page)
{
	__u32 words[WORDS_PER_PAGE];
	struct uffdio_copy copy = {
		.dst = (uintptr_t)UFFD_MEMORY + page * PAGE, .src = (uintptr_t)words, .len = PAGE,
	};

	for (size_t i = 0; i < WORDS_PER_PAGE; i++)
		words[i] = pattern(UFFD_SEED, page * WORDS_PER_PAGE + i);
	/* Somebody else's fault may have brought it. */
	EXPECT(!ioctl(handler->fd, UFFDIO_COPY, &copy) || errno == EEXIST, "UFFDIO_COPY: %s",
	       strerror(errno));
}

int write_protect(struct handler *handler, size_t page, size_t pages, bool on)
{
	struct uffdio_writeprotect arg = {
		.range = { (uintptr_t)UFFD_MEMORY + page * PAGE, pages * PAGE },
		.mode = on ? UFFDIO_WRITEPROTECT_MODE_WP : 0,
	};

	return ioctl(handler->fd, UFFDIO_WRITEPROTECT, &arg) ? -errno : 0;
}

static void answer(struct handler *handler, const struct uffd_msg *message)
{
	size_t page = (message->arg.pagefault.address - (uintptr_t)UFFD_MEMORY) / PAGE;
	bool protected = message->arg.pagefault.flags & UFFD_PAGEFAULT_FLAG_WP;
	unsigned int *counter = protected ? &handler->write_protected : &handler->missing;

	__atomic_fetch_add(counter, 1, __ATOMIC_ACQ_REL);
	if (!__atomic_load_n(&handler->answers, __ATOMIC_ACQUIRE))
		return;
	usleep(handler->delay_us);
	if (protected)
		EXPECT_OK(write_protect(handler, page, 1, false));
	else
		bring_page(handler, page);
}

static void *handle(void *arg)
{
	struct handler *handler = arg;
	struct pollfd fds[] = {
		{ .fd = handler->fd, .events = POLLIN },
		{ .fd = handler->stop[0], .events = POLLIN },
	};
	struct uffd_msg message;

	while (poll(fds, 2, -1) > 0 && !fds[1].revents)
		if (read(handler->fd, &message, sizeof(message)) == sizeof(message))
			answer(handler, &message);
	return NULL;
}

void start_handler(struct handler *handler, size_t size, __u64 mode)
{
	struct uffdio_api api = { .api = UFFD_API, .features = UFFD_FEATURE_PAGEFAULT_FLAG_WP };
	struct uffdio_register range = {
		.range = { (uintptr_t)UFFD_MEMORY, size }, .mode = mode,
	};

	*handler = (struct handler){ .answers = true };
	map_at(UFFD_MEMORY, size, PROT_READ | PROT_WRITE,
	       MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1);
	madvise(UFFD_MEMORY, size, MADV_NOHUGEPAGE);
	handler->fd = syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);
	if (handler->fd < 0 && errno == ENOSYS)
		ktap_skip("the kernel has no userfaultfd");
	EXPECT(handler->fd >= 0, "userfaultfd: %s", strerror(errno));
	EXPECT(!ioctl(handler->fd, UFFDIO_API, &api), "UFFDIO_API: %s", strerror(errno));
	EXPECT(!ioctl(handler->fd, UFFDIO_REGISTER, &range), "UFFDIO_REGISTER: %s",
	       strerror(errno));
	EXPECT(!pipe(handler->stop), "pipe: %s", strerror(errno));
	EXPECT(!pthread_create(&handler->thread, NULL, handle, handler), "pthread_create");
}

void stop_handler(struct handler *handler)
{
	EXPECT(write(handler->stop[1], "", 1) == 1, "write: %s", strerror(errno));
	pthread_join(handler->thread, NULL);
	close(handler->fd);
}

void wait_until_asked(struct handler *handler, unsigned int before)
{
	double end = now_ms() + 60e3;

	while (asked(&handler->missing) == before) {
		EXPECT(now_ms() < end, "no fault reaches the handler");
		usleep(1000);
	}
}

void answer_all(struct handler *handler, size_t pages)
{
	__atomic_store_n(&handler->answers, true, __ATOMIC_RELEASE);
	for (size_t page = 0; page < pages; page++)
		bring_page(handler, page);
}
