// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * The scenarios of tests/scenarios/ on this kernel and the stub device, each a case. The
 * files are part of the program: tests/guest/build.sh makes scenarios.inc, the list.
 *
 * The process of the case watches. Main is a child of it, so that it can end while
 * there are still things to see. test_scenario_actor.c is what the actors do.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "ktap.h"
#include "test_scenario.h"

/* For a step, or a `together`; a debug kernel in an emulator is slow. */
#define STEP_SECONDS 200

struct script {
	const char *name; /* of the file */
	const char *text, *end;
};

static struct play play;
static const struct script *script;

static unsigned int running_kernel(void)
{
	struct utsname name;
	unsigned int major, minor;

	EXPECT(!uname(&name) && sscanf(name.release, "%u.%u", &major, &minor) == 2,
	       "uname: %s", strerror(errno));
	return SCN_KERNEL(major, minor);
}

/* Fails the case: what the file says in @line, and what happened. */
static void fail_at(unsigned int line, const char *what) __attribute__((noreturn));
static void fail_at(unsigned int line, const char *what)
{
	const char *start = script->text, *end;

	for (unsigned int i = 1; i < line; i++)
		start = (const char *)memchr(start, '\n', script->end - start) + 1;
	start += strspn(start, " \t");
	end = memchr(start, '\n', script->end - start) ?: script->end;
	ktap_fail(script->name, line, "%.*s: %s", (int)(end - start), start, what);
}

/* Waits for @fd to be readable. 0: @end was first; -ETIMEDOUT: neither was. */
static int wait_for(int fd, int end)
{
	struct pollfd fds[] = {
		{ .fd = fd, .events = POLLIN },
		{ .fd = end, .events = POLLIN },
	};

	if (poll(fds, 2, STEP_SECONDS * 1000) <= 0)
		return -ETIMEDOUT;
	return fds[0].revents & POLLIN ? 1 : 0;
}

/* A pidfd of the process that an actor is in; -1 if that has ended and gone. */
static int open_process(unsigned int actor)
{
	const struct scn *scn = &play.scn;
	bool child = scn->actors[actor].role == SCN_CHILD;

	return syscall(SYS_pidfd_open, play.stage->pids[child ? actor : 0], 0);
}

/* Waits until an actor has done what it was told, which began in @line. */
static void await(unsigned int actor, unsigned int line)
{
	const struct result *result = &play.stage->results[actor];
	int process = open_process(actor), ret = wait_for(play.done[actor][0], process);
	char text[200], c;

	if (ret == -ETIMEDOUT)
		snprintf(text, sizeof(text), "%s hangs", play.scn.actors[actor].name);
	else if (!ret || read(play.done[actor][0], &c, 1) != 1)
		snprintf(text, sizeof(text), "%s has died", play.scn.actors[actor].name);
	else
		ret = 2;
	if (ret != 2)
		fail_at(line, text);
	if (!result->ok)
		fail_at(result->line, result->text);
	close(process);
}

/* Waits until the process of an actor has ended. */
static void await_end(unsigned int actor, unsigned int line)
{
	int process = open_process(actor);

	if (process >= 0 && wait_for(process, -1) != 1)
		fail_at(line, "the process does not end");
	close(process);
	play.stage->pids[actor] = 0;
}

static void tell(unsigned int actor, struct command command)
{
	EXPECT(write(play.go[actor][1], &command, sizeof(command)) == sizeof(command),
	       "write: %s", strerror(errno));
}

static void run_single(const struct scn_step *step)
{
	tell(step->actor, (struct command){ STEP, step - play.scn.steps });
	await(step->actor, step->line);
	if (step->verb == SCN_EXIT)
		await_end(step->actor, step->line);
}

/* Runs the block that begins at @first, and returns the step behind it. */
static const struct scn_step *run_block(const struct scn_step *first)
{
	const struct scn_step *last = play.scn.steps + play.scn.num_steps, *end = first;
	bool forked[SCN_MAX_ACTORS] = {}, told[SCN_MAX_ACTORS] = {};

	/* A child that is forked here begins by itself, and its parent sees to it. */
	for (; end < last && end->block == first->block; end++)
		if (end->verb == SCN_FORK)
			forked[end->child] = true;
	for (const struct scn_step *step = first; step < end; step++) {
		if (forked[step->actor] || told[step->actor])
			continue;
		told[step->actor] = true;
		tell(step->actor, (struct command){ BLOCK, first->block });
	}
	for (unsigned int i = 0; i < play.scn.num_actors; i++)
		if (told[i])
			await(i, first->line);
	for (const struct scn_step *step = first; step < end; step++)
		if (step->verb == SCN_EXIT && !forked[step->actor])
			await_end(step->actor, step->line);
	return end;
}

static void set_up(void)
{
	play.kernel = running_kernel();
	play.stage = mmap(NULL, sizeof(*play.stage), PROT_READ | PROT_WRITE,
			  MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	EXPECT(play.stage != MAP_FAILED, "mmap: %s", strerror(errno));
	for (unsigned int i = 0; i < play.scn.num_actors; i++)
		EXPECT(!pipe(play.go[i]) && !pipe(play.done[i]), "pipe: %s", strerror(errno));
	/* Children of main that outlive it become ours, and not those of init. */
	prctl(PR_SET_CHILD_SUBREAPER, 1);
}

static void run_scenario(const void *arg)
{
	const struct scn_step *step = play.scn.steps;
	struct gpu gpu;
	pid_t pid;

	script = arg;
	EXPECT(scn_parse(&play.scn, script->name, script->text, script->end - script->text),
	       "%s", play.scn.error);
	gpu.fd = stub_open("renderD");
	EXPECT(gpu.fd >= 0, "open: %s", strerror(-gpu.fd));
	EXPECT_OK(gpu_info(&gpu, &gpu.info));
	if (play.scn.needs_vram && !gpu_can_migrate(&gpu))
		ktap_skip("the device cannot migrate");
	EXPECT_OK(gpu_wait_free(&gpu, 10));

	set_up();
	pid = ktap_fork();
	if (!pid)
		play_main(&play);
	play.stage->pids[0] = pid;

	while (step < play.scn.steps + play.scn.num_steps) {
		if (step->block)
			step = run_block(step);
		else
			run_single(step++);
	}
	for (unsigned int i = 0; i < play.scn.num_actors; i++) {
		if (!play.stage->pids[i])
			continue;
		tell(i, (struct command){ QUIT, 0 });
		await_end(i, step[-1].line);
	}
	EXPECT_OK(gpu_wait_free(&gpu, 10));
}

#define KHUGEPAGED "/sys/kernel/mm/transparent_hugepage/khugepaged/"

/* Writes a number to a file of khugepaged's, and returns what it was; 0 if there is none. */
static unsigned int set_khugepaged(const char *path, unsigned int value)
{
	FILE *file = fopen(path, "r+");
	unsigned int was = 0;

	/* Without huge pages there is none, and who may not write here has to live with it. */
	if (!file)
		return 0;
	if (fscanf(file, "%u", &was) == 1) {
		rewind(file);
		fprintf(file, "%u", value);
	}
	fclose(file);
	return was;
}

static unsigned int khugepaged_rounds(void)
{
	FILE *file = fopen(KHUGEPAGED "full_scans", "r");
	unsigned int rounds = 0;

	if (file) {
		if (fscanf(file, "%u", &rounds) != 1)
			rounds = 0;
		fclose(file);
	}
	return rounds;
}

/*
 * khugepaged makes huge pages whenever it comes by, in the middle of a scenario, too. It comes
 * at once to the first process whose memory could be huge, and then sleeps; so that process is
 * this one, and it sleeps for an hour. Returns how long it did before, in milliseconds.
 */
static unsigned int send_khugepaged_to_sleep(void)
{
	const size_t size = 4 << 20;
	void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	unsigned int rounds = khugepaged_rounds(), sleep_was, waits;

	if (memory != MAP_FAILED && !madvise(memory, size, MADV_HUGEPAGE))
		memset(memory, 1, size);
	sleep_was = set_khugepaged(KHUGEPAGED "scan_sleep_millisecs", 3600 * 1000);
	for (waits = 0; sleep_was && khugepaged_rounds() == rounds && waits < 1000; waits++)
		usleep(10000);
	return sleep_was;
}

/* Each file as two symbols, and as a case. */
#define SCENARIO(id, path)                                                        \
	__asm__(".pushsection .rodata\n"                                          \
		"scenario_" #id ": .incbin \"" path "\"\n"                        \
		"scenario_" #id "_end: .byte 0\n"                                 \
		".popsection");                                                   \
	extern const char scenario_##id[], scenario_##id##_end[];                 \
	static const struct script script_##id = { #id ".scn", scenario_##id,     \
						   scenario_##id##_end };
#include "scenarios.inc"
#undef SCENARIO

#define SCENARIO(id, path) { #id, run_scenario, &script_##id },
static const struct ktap_case cases[] = {
#include "scenarios.inc"
};

int main(int argc, char **argv)
{
	unsigned int sleep_was;
	int status;

	if (is_exec(argc, argv))
		play_exec(argv);
	sleep_was = send_khugepaged_to_sleep();
	status = ktap_main(argc, argv, cases, ARRAY_SIZE(cases));
	if (sleep_was)
		set_khugepaged(KHUGEPAGED "scan_sleep_millisecs", sleep_was);
	return status;
}
