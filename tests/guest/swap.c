// SPDX-License-Identifier: GPL-2.0-only OR MIT
#include "swap.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/swap.h>
#include <unistd.h>

#include "memory.h"

#ifndef MADV_PAGEOUT
#define MADV_PAGEOUT 21
#endif

#define DEVICE "/dev/ram0"

/* The first page of a swap area, as swapon(2) wants it. */
union header {
	struct {
		char boot[1024];
		__u32 version, last_page, bad_pages;
	};
	char page[4096];
};

void begin_swap(void)
{
	union header header = {};
	__u64 size;
	int fd;

	/* A case that failed may have left it on. */
	swapoff(DEVICE);
	fd = open(DEVICE, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		ktap_skip("there is no RAM disk to swap to");
	EXPECT(!ioctl(fd, BLKGETSIZE64, &size), "%s: %s", DEVICE, strerror(errno));
	header.version = 1;
	header.last_page = size / PAGE - 1;
	memcpy(header.page + sizeof(header) - 10, "SWAPSPACE2", 10);
	EXPECT(write(fd, &header, sizeof(header)) == sizeof(header), "%s: %s", DEVICE,
	       strerror(errno));
	fsync(fd);
	close(fd);
	EXPECT(!swapon(DEVICE, 0), "swapon: %s", strerror(errno));
}

void end_swap(void)
{
	EXPECT(!swapoff(DEVICE), "swapoff: %s", strerror(errno));
}

/*
 * Bit 62 of an entry of /proc/self/pagemap says that a page is swapped out, to the device whose
 * number is in the lowest five bits; of ours it is zero, and of a GPU's memory another one.
 */
static size_t count_swapped(const void *start, size_t size)
{
	int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	size_t swapped = 0;

	EXPECT(fd >= 0, "pagemap: %s", strerror(errno));
	for (size_t i = 0; i < size / PAGE; i++) {
		__u64 entry;

		EXPECT(pread(fd, &entry, sizeof(entry), ((uintptr_t)start / PAGE + i) * 8) == 8,
		       "pagemap: %s", strerror(errno));
		swapped += (entry >> 62 & 1) && !(entry & 0x1f);
	}
	close(fd);
	return swapped;
}

size_t swap_out(void *start, size_t size)
{
	size_t swapped = 0;

	for (int i = 0; i < 20 && swapped < size / PAGE; i++) {
		drop_page_cache();
		EXPECT(!madvise(start, size, MADV_PAGEOUT), "MADV_PAGEOUT: %s", strerror(errno));
		swapped = count_swapped(start, size);
	}
	return swapped;
}
