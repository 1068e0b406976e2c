// SPDX-License-Identifier: GPL-2.0-only OR MIT
#include "ktap.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* A hang is what this is for: a debug kernel in an emulator is slow. */
#define TIMEOUT_SECONDS 600

/* Exit status of a case. */
enum { PASSED = 0, FAILED = 1, SKIPPED = 4 };

static unsigned int random_state;

/* Where a case that is skipped says why. */
static int reason_pipe[2];

void ktap_note(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	printf("# ");
	vprintf(format, args);
	putchar('\n');
	va_end(args);
	fflush(stdout);
}

void ktap_skip(const char *why)
{
	if (write(reason_pipe[1], why, strlen(why)) < 0)
		_exit(FAILED);
	fflush(stdout);
	_exit(SKIPPED);
}

void ktap_fail(const char *file, int line, const char *format, ...)
{
	const char *base = strrchr(file, '/');
	va_list args;

	va_start(args, format);
	printf("# %s:%d: ", base ? base + 1 : file, line);
	vprintf(format, args);
	putchar('\n');
	va_end(args);
	fflush(stdout);
	_exit(FAILED);
}

void ktap_done(void)
{
	fflush(stdout);
	_exit(PASSED);
}

unsigned int ktap_random(void)
{
	/* xorshift32; the state is never zero. */
	random_state ^= random_state << 13;
	random_state ^= random_state >> 17;
	random_state ^= random_state << 5;
	return random_state;
}

static const char *error_name(int err)
{
	return err ? strerrorname_np(-err) ?: "an unknown error" : "success";
}

void ktap_check_err(const char *file, int line, const char *what, int err, int expected)
{
	if (err != expected)
		ktap_fail(file, line, "%s: %s, not %s", what, error_name(err),
			  error_name(expected));
}

pid_t ktap_fork(void)
{
	pid_t pid;

	fflush(stdout);
	pid = fork();
	EXPECT(pid >= 0, "fork: %s", strerror(errno));
	if (!pid)
		prctl(PR_SET_PDEATHSIG, SIGKILL);
	return pid;
}

void ktap_join_at(const char *file, int line, pid_t pid)
{
	int status;

	if (waitpid(pid, &status, 0) != pid)
		ktap_fail(file, line, "waitpid: %s", strerror(errno));
	if (WIFSIGNALED(status))
		ktap_fail(file, line, "a child was killed by %s", strsignal(WTERMSIG(status)));
	if (WEXITSTATUS(status))
		ktap_fail(file, line, "a child failed");
}

/* Where in the kernel a process hangs, for those who may know. */
static void show_stack(pid_t pid)
{
	char path[64], line[256];
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/stack", pid);
	file = fopen(path, "r");
	if (!file)
		return;
	while (fgets(line, sizeof(line), file)) {
		line[strcspn(line, "\n")] = 0;
		ktap_note("%s", line);
	}
	fclose(file);
}

/* Waits until @pid has ended, at most @seconds. */
static bool wait_for_end(pid_t pid, int seconds)
{
	struct pollfd poll_fd = { .fd = syscall(SYS_pidfd_open, pid, 0), .events = POLLIN };
	bool ended = poll(&poll_fd, 1, seconds * 1000) == 1;

	close(poll_fd.fd);
	return ended;
}

static int run_case(const struct ktap_case *test)
{
	int status;
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (!pid) {
		setpgid(0, 0);
		test->run(test->arg);
		ktap_done();
	}
	if (pid < 0) {
		ktap_note("fork: %s", strerror(errno));
		return FAILED;
	}
	setpgid(pid, pid);

	if (!wait_for_end(pid, TIMEOUT_SECONDS)) {
		ktap_note("did not end in %d seconds", TIMEOUT_SECONDS);
		show_stack(pid);
		kill(-pid, SIGKILL);
		if (!wait_for_end(pid, 10)) {
			ktap_note("cannot be killed");
			show_stack(pid);
			return FAILED;
		}
	}
	/* While it is a zombie its number, and the group's, is not used again. */
	kill(-pid, SIGKILL);
	waitpid(pid, &status, 0);
	if (WIFSIGNALED(status)) {
		ktap_note("killed by signal %d, %s", WTERMSIG(status), strsignal(WTERMSIG(status)));
		return FAILED;
	}
	return WEXITSTATUS(status);
}

/* Whether one of @lines is @name. */
static bool is_line(const char *lines, const char *name)
{
	size_t length;

	for (; *lines; lines += length + (lines[length] == '\n')) {
		length = strcspn(lines, "\n");
		if (length == strlen(name) && !strncmp(lines, name, length))
			return true;
	}
	return false;
}

static bool selected(const char *name, int argc, char **argv)
{
	if (is_line(getenv("KTAP_EXCEPT") ?: "", name))
		return false;
	for (int i = 1; i < argc; i++)
		if (strstr(name, argv[i]))
			return true;
	return argc < 2;
}

int ktap_main(int argc, char **argv, const struct ktap_case *cases, size_t count)
{
	const char *seed = getenv("SEED");
	size_t planned = 0, number = 0, failed = 0;

	random_state = seed ? strtoul(seed, NULL, 0) : (unsigned int)time(NULL) * 2654435761u;
	random_state = random_state ?: 1;
	if (pipe2(reason_pipe, O_CLOEXEC | O_NONBLOCK)) {
		perror("pipe2");
		return 1;
	}

	for (size_t i = 0; i < count; i++)
		planned += selected(cases[i].name, argc, argv);
	printf("KTAP version 1\n1..%zu\n", planned);
	ktap_note("SEED=%u", random_state);

	for (size_t i = 0; i < count; i++) {
		char reason[128] = "";
		int result;

		if (!selected(cases[i].name, argc, argv))
			continue;
		result = run_case(&cases[i]);
		failed += result != PASSED && result != SKIPPED;
		number++;
		if (result == SKIPPED && read(reason_pipe[0], reason, sizeof(reason) - 1) > 0)
			printf("ok %zu %s # SKIP %s\n", number, cases[i].name, reason);
		else
			printf("%s %zu %s\n", result == PASSED ? "ok" : "not ok", number,
			       cases[i].name);
	}
	return failed || !planned;
}
