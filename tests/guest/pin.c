// SPDX-License-Identifier: GPL-2.0-only OR MIT
#include "pin.h"

#include <errno.h>
#include <linux/io_uring.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "ktap.h"

int pin_pages(void *start, size_t size)
{
	struct iovec buffer = { .iov_base = start, .iov_len = size };
	struct rlimit limit = { RLIM_INFINITY, RLIM_INFINITY };
	struct io_uring_params params = {};
	int fd;

	setrlimit(RLIMIT_MEMLOCK, &limit);
	fd = syscall(SYS_io_uring_setup, 1, &params);
	if (fd < 0)
		ktap_skip("there is no io_uring");
	EXPECT(!syscall(SYS_io_uring_register, fd, IORING_REGISTER_BUFFERS, &buffer, 1),
	       "IORING_REGISTER_BUFFERS: %s", strerror(errno));
	return fd;
}

void unpin_pages(int fd)
{
	EXPECT(!syscall(SYS_io_uring_register, fd, IORING_UNREGISTER_BUFFERS, NULL, 0),
	       "IORING_UNREGISTER_BUFFERS: %s", strerror(errno));
	close(fd);
}
