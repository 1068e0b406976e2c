// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * SIGKILL at a random moment of the demo, again and again, leaves nothing
 * behind: no VRAM, no reference to the module, no process that does not end.
 */
#include <errno.h>
#include <libgen.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "ktap.h"
#include "stub.h"

#define KILLS 50

static char demo[256];

static long references(const char *module)
{
	char path[128];
	long count = -1;
	FILE *file;

	snprintf(path, sizeof(path), "/sys/module/%s/refcnt", module);
	file = fopen(path, "r");
	EXPECT(file && fscanf(file, "%ld", &count) == 1, "%s: %s", path, strerror(errno));
	fclose(file);
	return count;
}

static pid_t start_demo(void)
{
	pid_t pid = ktap_fork();

	if (!pid) {
		execl(demo, demo, "--quiet", "--mib", "8", NULL);
		ktap_fail(__FILE__, __LINE__, "%s: %s", demo, strerror(errno));
	}
	return pid;
}

/* Milliseconds that the demo takes when nobody kills it; the first one is slow. */
static double measure(void)
{
	double shortest = 1e9;

	for (int i = 0; i < 4; i++) {
		double start = now_ms(), ms;

		ktap_join(start_demo());
		ms = now_ms() - start;
		if (ms < shortest)
			shortest = ms;
	}
	return shortest;
}

/* Kills a demo after @ms; returns whether it had not ended before. */
static bool kill_after(double ms)
{
	pid_t pid = start_demo();
	struct pollfd fd = { .fd = syscall(SYS_pidfd_open, pid, 0), .events = POLLIN };
	int status;

	usleep(ms * 1000);
	kill(pid, SIGKILL);
	EXPECT(poll(&fd, 1, 20000) == 1, "a demo killed after %.1f ms does not end", ms);
	close(fd.fd);
	waitpid(pid, &status, 0);
	EXPECT(WIFSIGNALED(status) || !WEXITSTATUS(status), "the demo failed");
	return WIFSIGNALED(status);
}

static void test_kill(const void *arg)
{
	long stub_references, library_references;
	double duration;
	int killed = 0;
	struct gpu gpu;

	(void)arg;
	duration = measure();
	stub_references = references(stub_driver());
	library_references = references("drm_svm");
	for (int i = 0; i < KILLS; i++)
		killed += kill_after(ktap_random() % 1000 * duration / 1000);
	ktap_note("%d of %d demos of %.1f ms were killed while they ran", killed, KILLS, duration);
	EXPECT(killed >= KILLS / 2, "too many demos had ended before they were killed");

	EXPECT_OK(gpu_open(&gpu, 0));
	EXPECT_OK(gpu_wait_free(&gpu, 20));
	EXPECT_OK(gpu_close(&gpu));
	/* Files of dead processes are closed a little later. */
	for (int i = 0; i < 200 && references(stub_driver()) != stub_references; i++)
		usleep(50000);
	EXPECT_EQ(references(stub_driver()), stub_references);
	EXPECT_EQ(references("drm_svm"), library_references);
	/* And the device works. */
	ktap_join(start_demo());
}

/* The check above is able to fail. */
static void test_check(const void *arg)
{
	long before = references(stub_driver());
	__u32 *memory = aligned_alloc(MIB(2), MIB(2));
	struct gpu gpu;

	(void)arg;
	EXPECT_OK(gpu_open(&gpu, 0));
	EXPECT(references(stub_driver()) > before, "an open file is no reference to the module");
	if (!gpu_can_migrate(&gpu))
		return;
	memset(memory, 1, MIB(2));
	EXPECT_OK(gpu_migrate(&gpu, memory, MIB(2), 0));
	EXPECT_ERR(gpu_wait_free(&gpu, 1), -ETIMEDOUT);
}

static const struct ktap_case cases[] = {
	{ "what is left behind shows", test_check, NULL },
	{ "50 demos killed", test_kill, NULL },
};

int main(int argc, char **argv)
{
	snprintf(demo, sizeof(demo), "%s/demo", dirname(strdupa(argv[0])));
	return ktap_main(argc, argv, cases, ARRAY_SIZE(cases));
}
