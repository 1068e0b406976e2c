// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * What the actors of a scenario do: main and its children on the CPU, the GPU's threads
 * through the ioctls. An area has the same address in all processes, as after fork().
 *
 * The GPU's data goes through a buffer object in the bind window, one for each thread,
 * which the CPU reads and writes without touching the areas: so looking at what the
 * GPU sees has no effect on where the memory is.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "memory.h"
#include "test_scenario.h"

/* Areas lie in one notifier window, far from each other and from everything else. */
#define AREAS 0x200000000000ull
#define AREA_DISTANCE MIB(64)

#define MAX_PINS 8

#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25
#endif

/* How a step came out: 0, a negative errno, a signal, or this and a text. */
#define WRONG 1000

static struct play *play;

/* Main's VM; the file stays open when it goes. */
static struct gpu gpu = { .fd = -1 };
static struct bo buffers[SCN_MAX_ACTORS];
static __u64 events[DRM_SVM_STUB_EVENTS]; /* as they were the last time */

/* Of this process. */
static pid_t children[SCN_MAX_ACTORS];
static struct pin {
	void *page; /* NULL: a free place */
	int pipe[2];
} pins[MAX_PINS];

/* Of this thread. */
static __thread sigjmp_buf *escape; /* from an access that fails */
static __thread bool leaving; /* the process is to end */

static void *page_at(unsigned int area, unsigned int page)
{
	return (void *)(AREAS + area * AREA_DISTANCE + page * PAGE);
}

static const struct scn_area *area_of(const struct scn_step *step)
{
	return &play->scn.areas[step->area];
}

/* Notes how a step failed. */
__attribute__((format(printf, 2, 3))) static int wrong(unsigned int actor, const char *format, ...)
{
	struct result *result = &play->stage->results[actor];
	va_list args;

	va_start(args, format);
	vsnprintf(result->text, sizeof(result->text), format, args);
	va_end(args);
	return WRONG;
}

/* --- Data ------------------------------------------------------------------- */

static void on_bad_access(int signal_number)
{
	if (escape)
		siglongjmp(*escape, signal_number);
	signal(signal_number, SIG_DFL);
}

static int compare(unsigned int actor, const struct scn_step *step, const volatile __u32 *words)
{
	for (unsigned int page = 0; page < step->count; page++) {
		for (size_t i = 0; i < WORDS_PER_PAGE; i++) {
			__u32 word = words[page * WORDS_PER_PAGE + i];

			if (!scn_expects(step, page, word))
				return wrong(actor, "word %zu of page %u is %u", i,
					     step->first + page, word);
		}
	}
	return 0;
}

static void fill(const struct scn_step *step, volatile __u32 *words)
{
	for (unsigned int page = 0; page < step->count; page++)
		for (size_t i = 0; i < WORDS_PER_PAGE; i++)
			words[page * WORDS_PER_PAGE + i] = scn_value_at(&step->values[0], page);
}

static int cpu_access(unsigned int actor, const struct scn_step *step)
{
	volatile __u32 *words = page_at(step->area, step->first);
	sigjmp_buf buffer;
	int ret = sigsetjmp(buffer, 1);

	if (ret) {
		escape = NULL;
		return ret;
	}
	escape = &buffer;
	if (step->verb == SCN_WRITE)
		fill(step, words);
	else
		ret = compare(actor, step, words);
	escape = NULL;
	return ret;
}

/* Where the GPU finds the buffer of one of its threads. */
static void *window(unsigned int actor)
{
	return gpu_at(gpu.info.bind_start + actor * SCN_MAX_PAGES * PAGE);
}

static int gpu_access(unsigned int actor, const struct scn_step *step)
{
	void *memory = page_at(step->area, step->first);
	struct gpu own = gpu; /* each thread writes to its own */
	int err;

	if (step->verb == SCN_WRITE) {
		fill(step, buffers[actor].memory);
		return gpu_copy(&own, memory, window(actor), step->count * PAGE);
	}
	err = gpu_copy(&own, window(actor), memory, step->count * PAGE);
	return err ? err : compare(actor, step, buffers[actor].memory);
}

/* --- The VM and what it shows ------------------------------------------------- */

static int read_events(__u64 *out)
{
	struct drm_svm_stub_vm_stats stats;
	int err = gpu_stats(&gpu, &stats);

	memcpy(out, stats.events, sizeof(stats.events));
	return err;
}

static int create_vm(const struct scn_step *step)
{
	unsigned int pages = 1;
	int err;

	if (gpu.fd < 0) {
		gpu.fd = stub_open("renderD");
		if (gpu.fd < 0)
			return gpu.fd;
	}
	err = gpu_info(&gpu, &gpu.info);
	if (!err)
		err = gpu_create(&gpu, step->set ? DRM_SVM_STUB_VM_MIGRATE_ON_FAULT : 0);
	for (unsigned int i = 0; i < play->scn.num_areas; i++)
		if (play->scn.areas[i].pages > pages)
			pages = play->scn.areas[i].pages;
	for (unsigned int i = 0; i < play->scn.num_actors && !err; i++) {
		struct drm_svm_stub_bind_op op = { .op = DRM_SVM_STUB_BIND_MAP };

		if (play->scn.actors[i].role != SCN_GPU)
			continue;
		err = bo_create(&gpu, &buffers[i], pages * PAGE, 0);
		if (err)
			break;
		op.handle = buffers[i].handle;
		op.addr = (uintptr_t)window(i);
		op.range = buffers[i].size;
		err = gpu_bind(&gpu, op);
	}
	return err ? err : read_events(events);
}

static int destroy_vm(void)
{
	for (unsigned int i = 0; i < play->scn.num_actors; i++) {
		if (!buffers[i].memory)
			continue;
		munmap(buffers[i].memory, buffers[i].size);
		bo_close(&gpu, &buffers[i]);
		buffers[i] = (struct bo){};
	}
	return gpu_destroy(&gpu, gpu.vm);
}

/* What RESIDENCY says of a block that is one page. */
static unsigned int place_of(const struct drm_svm_stub_block *block)
{
	return block->none ? SCN_NONE : block->system ? SCN_RAM : block->device ? SCN_VRAM : 0;
}

static int see_place(const struct scn_step *step)
{
	struct drm_svm_stub_block blocks[SCN_MAX_PAGES];
	char is[32], expected[32];
	int err = gpu_residency(&gpu, page_at(step->area, step->first), step->count * PAGE, PAGE,
				blocks);

	if (err)
		return err;
	for (unsigned int i = 0; i < step->count; i++)
		if (!(place_of(&blocks[i]) & step->set))
			return wrong(0, "page %u is %s and not %s", step->first + i,
				     scn_set_text(is, sizeof(is), SCN_PLACES, place_of(&blocks[i])),
				     scn_set_text(expected, sizeof(expected), SCN_PLACES,
						  step->set));
	return 0;
}

static int see_rights(const struct scn_step *step)
{
	static struct drm_svm_stub_block mapped[SCN_MAX_PAGES], writable[SCN_MAX_PAGES];
	void *start = page_at(step->area, step->first);
	char is[32], expected[32];
	int err = gpu_residency(&gpu, start, step->count * PAGE, PAGE, mapped);

	if (!err)
		err = gpu_residency_write(&gpu, start, step->count * PAGE, PAGE, writable);
	if (err)
		return err;
	for (unsigned int i = 0; i < step->count; i++) {
		unsigned int right = writable[i].gpu_mapped ? SCN_GPU_RW :
				     mapped[i].gpu_mapped ? SCN_GPU_R : SCN_GPU_NONE;

		if (!(right & step->set))
			return wrong(0, "page %u is %s and not %s", step->first + i,
				     scn_set_text(is, sizeof(is), SCN_RIGHTS, right),
				     scn_set_text(expected, sizeof(expected), SCN_RIGHTS,
						  step->set));
	}
	return 0;
}

static int see_events(const struct scn_step *step)
{
	__u64 now[DRM_SVM_STUB_EVENTS];
	int err = read_events(now);
	unsigned int seen = 0;
	char text[120];

	if (err)
		return err;
	for (unsigned int i = 0; i < DRM_SVM_STUB_EVENTS; i++)
		if (now[i] != events[i])
			seen |= SCN_EVENT(i);
	memcpy(events, now, sizeof(events));
	if ((seen & ~step->maybe) == step->set)
		return 0;
	return wrong(0, "%s", seen ? scn_set_text(text, sizeof(text), SCN_EVENT_KINDS, seen) :
				     "there were none");
}

/* --- The address space --------------------------------------------------------- */

static int change_mapping(const struct scn_step *step)
{
	const int rights = (step->set & SCN_PROT_READ ? PROT_READ : 0) |
			   (step->set & SCN_PROT_WRITE ? PROT_WRITE : 0);
	void *start = page_at(step->area, step->first), *got = start;
	void *to = page_at(step->to_area, step->to_first);
	size_t size = step->count * PAGE;
	int ret = 0;

	switch (step->verb) {
	case SCN_MUNMAP:
		ret = munmap(start, size);
		break;
	case SCN_MMAP:
		got = mmap(start, size, PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
		break;
	case SCN_PROTECT:
		ret = mprotect(start, size, rights);
		break;
	case SCN_DONTNEED:
		ret = madvise(start, size, MADV_DONTNEED);
		break;
	case SCN_MADV_FREE:
		ret = madvise(start, size, MADV_FREE);
		break;
	case SCN_PAGEOUT:
		ret = madvise(start, size, MADV_PAGEOUT);
		break;
	case SCN_COLLAPSE:
		ret = madvise(start, size, MADV_COLLAPSE);
		break;
	default:
		got = mremap(start, size, size, MREMAP_MAYMOVE | MREMAP_FIXED, to);
		break;
	}
	if (ret || got == MAP_FAILED)
		return -errno;
	if (step->verb == SCN_MMAP && area_of(step)->kind != SCN_HUGE)
		madvise(start, size, MADV_NOHUGEPAGE);
	return 0;
}

static int pin(const struct scn_step *step)
{
	struct iovec iovec = { .iov_base = page_at(step->area, step->first), .iov_len = PAGE };
	struct pin *place = pins;

	while (place < pins + MAX_PINS && place->page)
		place++;
	if (place == pins + MAX_PINS || pipe(place->pipe))
		return -errno;
	if (vmsplice(place->pipe[1], &iovec, 1, 0) != (ssize_t)PAGE)
		return -errno;
	place->page = iovec.iov_base;
	return 0;
}

static void release(struct pin *place)
{
	close(place->pipe[0]);
	close(place->pipe[1]);
	place->page = NULL;
}

static int unpin(unsigned int actor, const struct scn_step *step)
{
	for (struct pin *place = pins; place < pins + MAX_PINS; place++) {
		if (place->page == page_at(step->area, step->first)) {
			release(place);
			return 0;
		}
	}
	return wrong(actor, "it is not pinned");
}

static bool map_area(unsigned int number)
{
	const struct scn_area *area = &play->scn.areas[number];
	int flags = area->kind == SCN_SHARED ? MAP_SHARED : MAP_PRIVATE, fd = -1;
	size_t size = area->pages * PAGE;
	void *memory = page_at(number, 0);

	if (area->kind == SCN_EMPTY)
		return true;
	if (area->kind != SCN_FILE) {
		flags |= MAP_ANONYMOUS;
	} else {
		__u32 words[WORDS_PER_PAGE];

		fd = memfd_create("scenario", MFD_CLOEXEC);
		for (unsigned int page = 0; page < area->pages; page++) {
			for (size_t i = 0; i < WORDS_PER_PAGE; i++)
				words[i] = SCN_FILE_VALUE + page;
			if (write(fd, words, PAGE) != (ssize_t)PAGE)
				return false;
		}
	}
	if (mmap(memory, size, PROT_READ | PROT_WRITE, flags | MAP_FIXED_NOREPLACE, fd, 0) !=
	    memory)
		return false;
	close(fd);
	return !madvise(memory, size, area->kind == SCN_HUGE ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
}

/* --- Processes ---------------------------------------------------------------- */

static void play_actor(unsigned int actor) __attribute__((noreturn));
static bool run_block(unsigned int actor, unsigned int block);

static int fork_child(const struct scn_step *step)
{
	pid_t pid = fork();

	if (pid < 0)
		return -errno;
	if (pid) {
		children[step->child] = pid;
		if (!step->block)
			play->stage->pids[step->child] = pid;
		return 0;
	}
	for (struct pin *place = pins; place < pins + MAX_PINS; place++)
		if (place->page)
			release(place);
	if (step->block)
		_exit(!run_block(step->child, step->block));
	play_actor(step->child);
}

static int wait_child(unsigned int actor, const struct scn_step *step)
{
	int status;

	if (waitpid(children[step->child], &status, 0) < 0)
		return -errno;
	if (!status)
		return 0;
	if (WIFSIGNALED(status))
		return wrong(actor, "%s was killed by %s", play->scn.actors[step->child].name,
			     strsignal(WTERMSIG(status)));
	return wrong(actor, "%s failed in line %u: %s", play->scn.actors[step->child].name,
		     play->stage->results[step->child].line,
		     play->stage->results[step->child].text);
}

bool is_exec(int argc, char **argv)
{
	return argc == 4 && !strcmp(argv[1], "--exec");
}

static int exec_again(unsigned int actor)
{
	char go[16], done[16];

	snprintf(go, sizeof(go), "%d", play->go[actor][0]);
	snprintf(done, sizeof(done), "%d", play->done[actor][1]);
	play->stage->results[actor].ok = true;
	execl("/proc/self/exe", "test_scenario", "--exec", go, done, NULL);
	return -errno;
}

void play_exec(char **argv)
{
	int go = atoi(argv[2]), done = atoi(argv[3]);
	struct command command;

	/* The first answer is that of the exec itself; then it is told to exit. */
	if (write(done, "", 1) == 1 && read(go, &command, sizeof(command)) > 0 &&
	    write(done, "", 1) == 1)
		_exit(0);
	_exit(1);
}

/* --- Steps --------------------------------------------------------------------- */

static int do_step(unsigned int actor, const struct scn_step *step)
{
	bool on_gpu = play->scn.actors[actor].role == SCN_GPU;

	switch (step->verb) {
	case SCN_VM_CREATE:
		return create_vm(step);
	case SCN_VM_DESTROY:
		return destroy_vm();
	case SCN_EXPECT_PLACE:
		return see_place(step);
	case SCN_EXPECT_GPU:
		return see_rights(step);
	case SCN_EXPECT_EVENTS:
		return see_events(step);
	case SCN_READ:
	case SCN_WRITE:
		return on_gpu ? gpu_access(actor, step) : cpu_access(actor, step);
	case SCN_PIN:
		return pin(step);
	case SCN_UNPIN:
		return unpin(actor, step);
	case SCN_FORK:
		return fork_child(step);
	case SCN_WAIT:
		return wait_child(actor, step);
	case SCN_EXEC:
		return exec_again(actor);
	case SCN_EXIT:
		leaving = true;
		return 0;
	case SCN_TO_VRAM:
	case SCN_TO_RAM:
		return gpu_migrate(&gpu, page_at(step->area, step->first), step->count * PAGE,
				   step->verb == SCN_TO_RAM ? DRM_SVM_STUB_MIGRATE_TO_RAM : 0);
	default:
		return change_mapping(step);
	}
}

/* SCN_OUTCOMES: none that a scenario can name. */
static enum scn_outcome outcome_of(int ret)
{
	static const int outcomes[SCN_OUTCOMES] = {
		[SCN_OK] = 0,		[SCN_EACCES] = -EACCES, [SCN_EAGAIN] = -EAGAIN,
		[SCN_EBUSY] = -EBUSY,	[SCN_EFAULT] = -EFAULT, [SCN_EINVAL] = -EINVAL,
		[SCN_ENOENT] = -ENOENT, [SCN_ENOMEM] = -ENOMEM, [SCN_ENOSPC] = -ENOSPC,
		[SCN_EPERM] = -EPERM,	[SCN_SIGBUS] = SIGBUS,	[SCN_SIGSEGV] = SIGSEGV,
	};
	unsigned int i = 0;

	while (i < SCN_OUTCOMES && outcomes[i] != ret)
		i++;
	return i;
}

static bool run_step(unsigned int actor, const struct scn_step *step)
{
	struct result *result = &play->stage->results[actor];
	enum scn_outcome outcome;
	int ret;

	if (!scn_step_applies(step, play->kernel))
		return true;
	ret = do_step(actor, step);
	outcome = outcome_of(ret);
	if (outcome < SCN_OUTCOMES && step->outcomes & SCN_OUTCOME(outcome))
		return true;
	result->line = step->line;
	if (ret < 0)
		wrong(actor, "%s", strerrorname_np(-ret));
	else if (!ret)
		wrong(actor, "no error");
	else if (ret != WRONG)
		wrong(actor, "%s", strsignal(ret));
	return false;
}

/* The actor's lines of a `together`: all once, and then those in its loop. */
static bool run_block(unsigned int actor, unsigned int block)
{
	const struct scn *scn = &play->scn;
	unsigned int rounds = 1;

	for (unsigned int round = 0; round < rounds; round++) {
		for (const struct scn_step *step = scn->steps; step < scn->steps + scn->num_steps;
		     step++) {
			if (step->block != block || step->actor != actor ||
			    (round && step->loops == 1))
				continue;
			rounds = step->loops;
			if (!run_step(actor, step))
				return false;
		}
	}
	return true;
}

static void play_actor(unsigned int actor)
{
	struct command command;

	while (read(play->go[actor][0], &command, sizeof(command)) == sizeof(command) &&
	       command.what != QUIT) {
		const struct scn_step *step = &play->scn.steps[command.number];

		play->stage->results[actor].ok = command.what == STEP ?
			run_step(actor, step) : run_block(actor, command.number);
		if (write(play->done[actor][1], "", 1) != 1 || leaving)
			break;
	}
	_exit(0);
}

static void *run_thread(void *arg)
{
	play_actor((uintptr_t)arg);
}

void play_main(struct play *the_play)
{
	struct sigaction action = { .sa_handler = on_bad_access };

	play = the_play;
	sigaction(SIGSEGV, &action, NULL);
	sigaction(SIGBUS, &action, NULL);
	for (unsigned int i = 0; i < play->scn.num_areas; i++)
		EXPECT(map_area(i), "area %s: %s", play->scn.areas[i].name, strerror(errno));
	for (unsigned int i = 1; i < play->scn.num_actors; i++) {
		pthread_t thread;

		if (play->scn.actors[i].role != SCN_CHILD)
			EXPECT(!pthread_create(&thread, NULL, run_thread, (void *)(uintptr_t)i),
			       "pthread_create");
	}
	play_actor(0);
}
