// SPDX-License-Identifier: GPL-2.0-only OR MIT
#include "devices.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "ktap.h"
#include "stub.h"

#define SECONDS 60

static int write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC), err = 0;

	if (fd < 0)
		return -errno;
	if (write(fd, text, strlen(text)) < 0)
		err = -errno;
	close(fd);
	return err;
}

static void name_device(char *name, size_t size, unsigned int index)
{
	snprintf(name, size, "%s.%u", stub_driver(), index);
}

/* A file of the driver's in sysfs. */
static void name_file(char *path, size_t size, const char *file)
{
	snprintf(path, size, "/sys/bus/platform/drivers/%s/%s", stub_driver(), file);
}

static bool is_bound(unsigned int index)
{
	char name[64], path[128];

	name_device(name, sizeof(name), index);
	name_file(path, sizeof(path), name);
	return !access(path, F_OK);
}

void need_unbind(unsigned int index)
{
	char path[128];

	name_file(path, sizeof(path), "unbind");
	if (access(path, W_OK) || !is_bound(index))
		ktap_skip("the device cannot be unbound");
}

/* Tells the driver about a device. */
static int write_name(unsigned int index, const char *file)
{
	char name[64], path[128];

	name_device(name, sizeof(name), index);
	name_file(path, sizeof(path), file);
	return write_file(path, name);
}

int unbind_device(unsigned int index)
{
	return write_name(index, "unbind");
}

/* Its node is made by the kernel alone, so it is there at once. */
int bind_device(unsigned int index)
{
	return write_name(index, "bind");
}

void tear_out_device(unsigned int index)
{
	struct gpu gpu = { .fd = stub_open_device("card", index) };
	double end = now_ms() + SECONDS * 1e3;
	struct drm_svm_stub_info info;
	struct stat status;
	char path[64];

	EXPECT(gpu.fd >= 0, "open: %s", strerror(-gpu.fd));
	EXPECT(!fstat(gpu.fd, &status), "stat: %s", strerror(errno));
	snprintf(path, sizeof(path), "/sys/kernel/debug/dri/%u/surprise", minor(status.st_rdev));
	if (access(path, W_OK))
		ktap_skip("there is no debugfs");
	EXPECT_OK(write_file(path, "1"));
	/* What sysfs shows goes first, and then the driver hears of it. */
	while (is_bound(index) || gpu_info(&gpu, &info) != -ENODEV) {
		EXPECT(now_ms() < end, "the driver does not let go of its device");
		usleep(1000);
	}
	close(gpu.fd);
}
