// SPDX-License-Identifier: GPL-2.0-only OR MIT
#include "modules.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "ktap.h"
#include "stub.h"

#define MODULE_PREFIX "drm_svm"
/* A debug kernel in an emulator takes its time. */
#define PATIENCE_MS 20e3

struct module modules[MAX_MODULES];
int num_modules;

bool is_loaded(const struct module *module)
{
	char path[128];

	snprintf(path, sizeof(path), "/sys/module/%.63s/initstate", module->name);
	return !access(path, F_OK);
}

int read_modules(void)
{
	FILE *list = fopen("/modules.list", "r");
	char line[256];

	while (list && num_modules < MAX_MODULES && fgets(line, sizeof(line), list)) {
		struct module *module = &modules[num_modules];

		line[strcspn(line, "\n")] = 0;
		if (strncmp(line, MODULE_PREFIX, strlen(MODULE_PREFIX)) ||
		    sscanf(line, "%63[^.].ko %127[^\n]", module->name, module->parameters) < 1)
			continue;
		module->was_loaded = is_loaded(module);
		num_modules++;
	}
	if (list)
		fclose(list);
	return num_modules;
}

static int load_with(const struct module *module, const char *more)
{
	char path[128], parameters[256];
	int fd, err;

	snprintf(path, sizeof(path), "/modules/%.63s.ko", module->name);
	snprintf(parameters, sizeof(parameters), "%s %s", module->parameters, more);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	err = syscall(SYS_finit_module, fd, parameters, 0) ? -errno : 0;
	close(fd);
	return err;
}

int load(const struct module *module)
{
	return load_with(module, "");
}

int unload(const struct module *module)
{
	double end = now_ms() + PATIENCE_MS;

	while (syscall(SYS_delete_module, module->name, O_NONBLOCK)) {
		if (errno != EAGAIN || now_ms() > end)
			return -errno;
		usleep(1000);
	}
	return 0;
}

int reload_stub(const char *parameters)
{
	for (int i = 0; i < num_modules; i++) {
		int err = 0;

		if (strcmp(modules[i].name, stub_driver()))
			continue;
		if (is_loaded(&modules[i]))
			err = unload(&modules[i]);
		return err ? err : load_with(&modules[i], parameters ?: "");
	}
	return -ENOENT;
}

void restore_modules(void)
{
	for (int i = 0; i < num_modules; i++)
		if (modules[i].was_loaded && !is_loaded(&modules[i]) && load(&modules[i]))
			ktap_note("%s cannot be loaded again", modules[i].name);
}
