// SPDX-License-Identifier: GPL-2.0-only OR MIT
#include "userptr.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

const bool faults;
const bool stops = true;

void open_userptr_window(struct window *w, const void *variant, __u32 flags)
{
	const bool *stopping = variant;

	open_window(w);
	if (*stopping)
		flags |= DRM_SVM_STUB_VM_NO_BIND_FAULTS;
	if (!flags)
		return;
	EXPECT_OK(gpu_destroy(&w->gpu, w->gpu.vm));
	EXPECT_OK(gpu_create(&w->gpu, flags));
}

void bind_userptr(struct window *w, size_t page, const void *memory, size_t size, __u32 more)
{
	EXPECT_DONE(BIND(w, USERPTR_OP(w, page, size / PAGE, memory, more)));
}

void check_both_ways(const char *file, int line, struct window *w, size_t page, __u32 *memory,
		     size_t size)
{
	const __u32 seed = ktap_random();
	size_t half = size / 8;

	write_pattern(memory, size, seed);
	check_gpu_reads(file, line, &w->gpu, at(w, page), size, seed);
	ktap_check_err(file, line, "FILL", gpu_fill(&w->gpu, at(w, page), seed, size), 0);
	check_words(file, line, memory, size, seed);
	/* And single words, of which the others must not notice. */
	memory[half] = seed + 1;
	memory[0] = seed + 2;
	check_gpu_sum(file, line, &w->gpu, at(w, page), size, (size / 4) * (__u64)seed +
		      (__u32)(seed + 1) - (__u64)seed + (__u32)(seed + 2) - (__u64)seed);
	ktap_check_err(file, line, "FILL",
		       gpu_fill(&w->gpu, at(w, page) + half, seed + 3, 4), 0);
	if (memory[half] != seed + 3 || memory[0] != seed + 2 || memory[half + 1] != seed)
		ktap_fail(file, line, "a word that the GPU wrote is %#x, beside it %#x",
			  memory[half], memory[half + 1]);
}

void expect_no_access(const char *file, int line, struct window *w, size_t page, int err)
{
	__u64 sum;

	ktap_check_err(file, line, "CHECKSUM", gpu_checksum(&w->gpu, at(w, page), 4, &sum), err);
	check_no_write(file, line, w, page, err);
}

void check_no_write(const char *file, int line, struct window *w, size_t page, int err)
{
	ktap_check_err(file, line, "FILL", gpu_fill(&w->gpu, at(w, page), 1, 4), err);
}

/* A negative errno where there is no debugfs. */
static int write_inject(unsigned int every)
{
	int fd = stub_open("card"), err = 0;
	char path[80], text[16];
	struct stat status;

	if (fd < 0)
		return fd;
	EXPECT(!fstat(fd, &status), "stat: %s", strerror(errno));
	close(fd);
	snprintf(path, sizeof(path), "/sys/kernel/debug/dri/%u/userptr_inject",
		 minor(status.st_rdev));
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	snprintf(text, sizeof(text), "%u", every);
	if (write(fd, text, strlen(text)) < 0)
		err = -errno;
	close(fd);
	return err;
}

void inject_invalidations(unsigned int every)
{
	int err = write_inject(every);

	if (err == -ENOENT || err == -ENODEV)
		ktap_skip("there is no debugfs");
	EXPECT_OK(err);
}

void stop_injecting(void)
{
	write_inject(0);
}
