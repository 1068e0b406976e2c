// SPDX-License-Identifier: GPL-2.0-only OR MIT
/* VM_BIND that does not wait, and what else happens meanwhile. */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bind.h"

/* For what has to happen, on the slowest machine. */
#define LONG_MS 60000
/* For what must not happen. */
#define SHORT_MS 50

static __u32 new_sync(struct window *w)
{
	__u32 sync;

	EXPECT_OK(sync_create(&w->gpu, &sync, false));
	return sync;
}

static void expect_signalled(struct window *w, __u32 sync, int status)
{
	EXPECT_OK(sync_wait(&w->gpu, sync, LONG_MS));
	EXPECT_EQ(sync_status(&w->gpu, sync), status);
}

static void expect_pending(struct window *w, __u32 sync)
{
	EXPECT_ERR(sync_wait(&w->gpu, sync, SHORT_MS), -ETIME);
	EXPECT_EQ(sync_status(&w->gpu, sync), 0);
}

/* --- Fences -------------------------------------------------------------------- */

static void test_out_sync(const void *arg)
{
	struct window w;
	struct bo bo;
	__u32 sync, in;

	open_window(&w);
	make_bo(&w, &bo, 8, bo_flags(&w, arg), 1);
	sync = new_sync(&w);
	EXPECT_OK(BIND_ASYNC(&w, 0, sync, MAP_OP(&w, 0, 8, &bo, 0)));
	expect_signalled(&w, sync, 1);
	expect_shows(&w, 0, 8, 1, 0);
	/* One that waits has a fence for who asks for it. */
	in = sync;
	sync = new_sync(&w);
	EXPECT_OK(gpu_vm_bind(&w.gpu, &(struct drm_svm_stub_vm_bind){
		.in_syncs = (uintptr_t)&in, .num_in_syncs = 1,
		.out_syncs = (uintptr_t)&sync, .num_out_syncs = 1,
		.ops = (uintptr_t)&UNMAP_OP(&w, 0, 4), .num_ops = 1 }));
	EXPECT_EQ(sync_status(&w.gpu, sync), 1);
	expect_nothing(&w, 0, 4);
	expect_shows(&w, 4, 4, 1, 4);
	/* Nothing to do is done after all that was to do before. */
	sync = new_sync(&w);
	EXPECT_OK(bind_async(&w.gpu, in, sync, NULL, 0));
	expect_signalled(&w, sync, 1);
}

static void test_in_sync(const void *arg)
{
	__u32 first, second, third;
	struct gate gate;
	struct window w;
	struct bo a, b;

	open_window(&w);
	make_bo(&w, &a, 8, bo_flags(&w, arg), 1);
	make_bo(&w, &b, 8, bo_flags(&w, arg), 2);
	close_gate(&gate, &w);
	first = new_sync(&w);
	second = new_sync(&w);
	third = new_sync(&w);
	EXPECT_OK(BIND_ASYNC(&w, gate.sync, first, MAP_OP(&w, 0, 8, &a, 0)));
	/* These wait for nothing but those before them. */
	EXPECT_OK(BIND_ASYNC(&w, 0, second, MAP_OP(&w, 2, 4, &b, 2)));
	EXPECT_OK(BIND_ASYNC(&w, 0, third, UNMAP_OP(&w, 3, 2)));
	/* What they are going to do counts from now on. */
	expect_mappings(&w, 4);
	EXPECT_ERR(BIND_ASYNC(&w, 0, 0, MAP_OP(&w, 0, 1, &a, 0,
					       .flags = DRM_SVM_STUB_BIND_NOREPLACE)), -EEXIST);
	expect_pending(&w, first);
	expect_pending(&w, third);
	expect_nothing(&w, 0, 8);

	open_gate(&gate);
	expect_signalled(&w, third, 1);
	EXPECT_EQ(sync_status(&w.gpu, first), 1);
	EXPECT_EQ(sync_status(&w.gpu, second), 1);
	expect_shows(&w, 0, 2, 1, 0);
	expect_shows(&w, 2, 1, 2, 2);
	expect_nothing(&w, 3, 2);
	expect_shows(&w, 5, 1, 2, 5);
	expect_shows(&w, 6, 2, 1, 6);
}

/* Each VM waits for the one before it, and syncobjs have old fences as well. */
static void test_chain(const void *arg)
{
	struct window w[6];
	__u32 syncs[6], in[3];
	struct gate gate;
	struct bo bo;

	(void)arg;
	open_window(&w[0]);
	make_bo(&w[0], &bo, 8, 0, 1);
	close_gate(&gate, &w[0]);
	for (int i = 0; i < 6; i++) {
		if (i)
			open_second_window(&w[i], &w[0]);
		EXPECT_OK(sync_create(&w[0].gpu, &syncs[i], true));
		in[0] = syncs[i];
		in[1] = i ? syncs[i - 1] : gate.sync;
		in[2] = syncs[0];
		EXPECT_OK(gpu_vm_bind(&w[i].gpu, &(struct drm_svm_stub_vm_bind){
			.flags = DRM_SVM_STUB_VM_BIND_ASYNC,
			.in_syncs = (uintptr_t)in, .num_in_syncs = 3,
			.out_syncs = (uintptr_t)&syncs[i], .num_out_syncs = 1,
			.ops = (uintptr_t)&MAP_OP(&w[i], i, 8, &bo, 0), .num_ops = 1 }));
	}
	expect_pending(&w[0], syncs[5]);
	open_gate(&gate);
	expect_signalled(&w[0], syncs[5], 1);
	for (int i = 0; i < 6; i++)
		expect_shows(&w[i], i, 8, 1, 0);
}

/* Memory that is still shown is still there, whoever has given it up. */
static void test_pending_unmap_keeps(const void *arg)
{
	struct drm_svm_stub_info info;
	struct gate early, late;
	struct window w;
	struct bo a, b;
	__u32 first, last;

	open_window(&w);
	bo_flags(&w, arg);
	close_gate(&early, &w);
	close_gate(&late, &w);
	make_bo(&w, &a, 32, DRM_SVM_STUB_BO_VRAM, 1);
	make_bo(&w, &b, 32, DRM_SVM_STUB_BO_VRAM, 2);
	EXPECT_OK(BIND(&w, MAP_OP(&w, 0, 32, &a, 0), MAP_OP(&w, 32, 32, &b, 0)));
	EXPECT_OK(bo_close(&w.gpu, &a));
	first = new_sync(&w);
	last = new_sync(&w);
	EXPECT_OK(BIND_ASYNC(&w, early.sync, first, SPARSE_OP(&w, 64, 1, 0)));
	EXPECT_OK(BIND_ASYNC(&w, late.sync, 0, UNMAP_OP(&w, 0, 32),
			     MAP_OP(&w, 32, 32, &b, 0, .flags = DRM_SVM_STUB_BIND_READONLY)));
	EXPECT_OK(BIND_ASYNC(&w, 0, last, UNMAP_OP(&w, 32, 32)));
	EXPECT_OK(bo_close(&w.gpu, &b));
	expect_mappings(&w, 1);
	/* What the first one leaves behind is not what the others are going to. */
	open_gate(&early);
	expect_signalled(&w, first, 1);
	EXPECT_OK(gpu_info(&w.gpu, &info));
	EXPECT_EQ(w.gpu.info.vram_free - info.vram_free, 64 * PAGE);
	expect_shows(&w, 0, 32, 1, 0);
	expect_shows(&w, 32, 32, 2, 0);

	open_gate(&late);
	expect_signalled(&w, last, 1);
	/* Who has seen the fence finds that the memory is free. */
	EXPECT_OK(gpu_info(&w.gpu, &info));
	EXPECT_EQ(info.vram_free, w.gpu.info.vram_free);
	expect_nothing(&w, 0, 64);
}

/* --- Waiting -------------------------------------------------------------------- */

struct waiter {
	struct window *w;
	__u32 in;
	struct drm_svm_stub_bind_op op;
	pthread_t thread;
	int done;
	int err;
};

static void *wait_in_bind(void *arg)
{
	struct waiter *waiter = arg;
	struct drm_svm_stub_vm_bind bind = {
		.in_syncs = (uintptr_t)&waiter->in, .num_in_syncs = waiter->in != 0,
		.ops = (uintptr_t)&waiter->op, .num_ops = 1,
	};

	waiter->err = gpu_vm_bind(&waiter->w->gpu, &bind);
	__atomic_store_n(&waiter->done, 1, __ATOMIC_RELEASE);
	return NULL;
}

static void start_waiter(struct waiter *waiter)
{
	EXPECT(!pthread_create(&waiter->thread, NULL, wait_in_bind, waiter), "pthread_create");
	usleep(SHORT_MS * 1000);
	EXPECT(!__atomic_load_n(&waiter->done, __ATOMIC_ACQUIRE), "VM_BIND does not wait");
}

/* One that waits, for its in_syncs or for those before it. */
static void test_sync_waits(const void *arg)
{
	struct waiter waiters[2];
	struct gate gate;
	struct window w;
	struct bo bo;

	(void)arg;
	open_window(&w);
	make_bo(&w, &bo, 8, 0, 1);
	close_gate(&gate, &w);
	waiters[0] = (struct waiter){ &w, gate.sync, MAP_OP(&w, 8, 8, &bo, 0) };
	start_waiter(&waiters[0]);
	/* Who waits for in_syncs is not in the way of others. */
	EXPECT_OK(BIND(&w, MAP_OP(&w, 16, 8, &bo, 0)));
	EXPECT_OK(BIND_ASYNC(&w, gate.sync, 0, MAP_OP(&w, 0, 8, &bo, 0)));
	waiters[1] = (struct waiter){ &w, 0, UNMAP_OP(&w, 0, 4) };
	start_waiter(&waiters[1]);
	expect_mappings(&w, 2);

	open_gate(&gate);
	for (int i = 0; i < 2; i++) {
		pthread_join(waiters[i].thread, NULL);
		EXPECT_OK(waiters[i].err);
	}
	expect_nothing(&w, 0, 4);
	expect_shows(&w, 4, 4, 1, 4);
	expect_shows(&w, 8, 8, 1, 0);
	expect_shows(&w, 16, 8, 1, 0);
}

static void ignore_signal(int signal)
{
	(void)signal;
}

/* A signal ends the waiting, and nothing has changed. */
static void test_signal_ends_waiting(const void *arg)
{
	const struct sigaction action = { .sa_handler = ignore_signal };
	struct gate gate;
	struct window w;
	struct bo bo;

	(void)arg;
	sigaction(SIGUSR1, &action, NULL);
	open_window(&w);
	make_bo(&w, &bo, 8, 0, 1);
	close_gate(&gate, &w);
	for (int queued = 0; queued < 2; queued++) {
		struct waiter waiter = { &w, queued ? 0 : gate.sync, MAP_OP(&w, 8, 8, &bo, 0) };

		if (queued)
			EXPECT_OK(BIND_ASYNC(&w, gate.sync, 0, MAP_OP(&w, 0, 8, &bo, 0)));
		start_waiter(&waiter);
		pthread_kill(waiter.thread, SIGUSR1);
		pthread_join(waiter.thread, NULL);
		EXPECT_ERR(waiter.err, -EINTR);
		expect_mappings(&w, queued);
	}
	open_gate(&gate);
	EXPECT_OK(BIND(&w, MAP_OP(&w, 8, 8, &bo, 0)));
	expect_shows(&w, 0, 8, 1, 0);
}

/* --- The end of a VM -------------------------------------------------------------- */

static void test_destroy_cancels(const void *arg)
{
	struct waiter waiters[2];
	struct gate gate;
	struct window w;
	struct bo bo;
	__u32 first, second, third;

	open_window(&w);
	make_bo(&w, &bo, 8, bo_flags(&w, arg), 1);
	EXPECT_OK(BIND(&w, MAP_OP(&w, 0, 8, &bo, 0)));
	close_gate(&gate, &w);
	first = new_sync(&w);
	second = new_sync(&w);
	third = new_sync(&w);
	waiters[0] = (struct waiter){ &w, gate.sync, MAP_OP(&w, 64, 8, &bo, 0) };
	start_waiter(&waiters[0]);
	EXPECT_OK(BIND_ASYNC(&w, gate.sync, first, UNMAP_OP(&w, 0, 4)));
	EXPECT_OK(BIND_ASYNC(&w, 0, second, MAP_OP(&w, 32, 8, &bo, 0)));
	/* There is nothing to do for it, but to come behind the others. */
	EXPECT_OK(BIND_ASYNC(&w, 0, third, UNMAP_OP(&w, 128, 8)));
	waiters[1] = (struct waiter){ &w, 0, MAP_OP(&w, 64, 8, &bo, 0) };
	start_waiter(&waiters[1]);
	EXPECT_OK(bo_close(&w.gpu, &bo));

	EXPECT_OK(gpu_destroy(&w.gpu, w.gpu.vm));
	EXPECT_EQ(sync_status(&w.gpu, first), -ECANCELED);
	EXPECT_EQ(sync_status(&w.gpu, second), -ECANCELED);
	EXPECT_EQ(sync_status(&w.gpu, third), -ECANCELED);
	/* It waited for those before it, which have ended now. */
	pthread_join(waiters[1].thread, NULL);
	EXPECT_ERR(waiters[1].err, -ENOENT);
	open_gate(&gate);
	pthread_join(waiters[0].thread, NULL);
	EXPECT_ERR(waiters[0].err, -ENOENT);
	EXPECT_OK(gpu_wait_free(&w.gpu, 10));
}

struct program {
	struct window *w;
	pthread_t thread;
	int err;
};

static void *run_long(void *arg)
{
	struct program *program = arg;

	program->err = gpu_fill(&program->w->gpu, gpu_at(program->w->base), 7, MIB(1024));
	return NULL;
}

/* With the jobs that would have unmapped it the memory goes: no program may stay in it. */
static void test_destroy_under_program(const void *arg)
{
	struct program program;
	struct gate gate;
	struct window w;
	struct bo bo;

	(void)arg;
	open_window(&w);
	make_bo(&w, &bo, 64, 0, 1);
	close_gate(&gate, &w);
	EXPECT_OK(BIND(&w, REPEAT_OP(&w, 0, MIB(1024) / PAGE, &bo, 0, 64)));
	program.w = &w;
	EXPECT(!pthread_create(&program.thread, NULL, run_long, &program), "pthread_create");
	while (*(volatile __u32 *)bo.memory != 7)
		usleep(100);
	EXPECT_OK(BIND_ASYNC(&w, gate.sync, 0, UNMAP_OP(&w, 0, MIB(1024) / PAGE)));
	EXPECT_OK(gpu_destroy(&w.gpu, w.gpu.vm));
	pthread_join(program.thread, NULL);
	EXPECT_ERR(program.err, -EFAULT);
	open_gate(&gate);
}

/* A process that ends does not wait, however it ends, and leaves nothing. */
static void test_end_of_process(const void *arg)
{
	struct window w;

	open_window(&w);
	bo_flags(&w, arg);
	for (int i = 0; i < 4; i++) {
		int go[2], status;
		char c;
		pid_t pid;

		EXPECT(!pipe(go), "pipe: %s", strerror(errno));
		pid = ktap_fork();
		if (!pid) {
			struct waiter waiter;
			struct gate gate;
			struct window own;
			struct bo bo;

			open_window(&own);
			make_bo(&own, &bo, 64, DRM_SVM_STUB_BO_VRAM, 1);
			EXPECT_OK(BIND(&own, MAP_OP(&own, 0, 64, &bo, 0)));
			close_gate(&gate, &own);
			EXPECT_OK(BIND_ASYNC(&own, gate.sync, 0, UNMAP_OP(&own, 8, 8),
					     MAP_OP(&own, 64, 64, &bo, 0)));
			waiter = (struct waiter){ &own, i & 2 ? gate.sync : 0, UNMAP_OP(&own, 0, 8) };
			start_waiter(&waiter);
			EXPECT(write(go[1], "", 1) == 1, "write: %s", strerror(errno));
			if (i & 1)
				_exit(0);
			pause();
		}
		close(go[1]);
		EXPECT(read(go[0], &c, 1) == 1, "a child failed");
		kill(pid, SIGKILL);
		EXPECT_EQ(waitpid(pid, &status, 0), pid);
		close(go[0]);
	}
	EXPECT_OK(gpu_wait_free(&w.gpu, 30));
}

/* The programs of who has ended run on in the window for a while. */
static void test_exit_while_running(const void *arg)
{
	struct window w;

	open_window(&w);
	bo_flags(&w, arg);
	for (int i = 0; i < 4; i++) {
		pid_t pid = ktap_fork();

		if (!pid) {
			struct window own;
			struct bo bo;

			open_window(&own);
			make_bo(&own, &bo, 64, DRM_SVM_STUB_BO_VRAM, 1);
			EXPECT_OK(BIND(&own, REPEAT_OP(&own, 0, MIB(1024) / PAGE, &bo, 0, 64)));
			EXPECT_OK(bo_close(&own.gpu, &bo));
			if (!fork()) {
				/* Only its maker's programs run in a VM. */
				usleep(SHORT_MS * 1000);
				kill(getppid(), SIGKILL);
				_exit(0);
			}
			gpu_fill(&own.gpu, gpu_at(own.base), 7, MIB(1024));
			pause();
		}
		EXPECT_EQ(waitpid(pid, NULL, 0), pid);
	}
	EXPECT_OK(gpu_wait_free(&w.gpu, 60));
}

/* --- At the same time --------------------------------------------------------------- */

#define READERS 2
#define RACE_PAGES 32

struct race {
	struct window w;
	int done;
	char wrong[128];
};

struct reader {
	struct race *race;
	__u32 *seen;
	pthread_t thread;
};

/* The window shows one of two objects as a whole page, or nothing for a moment. */
static void *read_window(void *arg)
{
	struct reader *reader = arg;
	struct race *race = reader->race;

	while (!__atomic_load_n(&race->done, __ATOMIC_ACQUIRE)) {
		for (size_t page = 0; page < RACE_PAGES; page++) {
			int err = gpu_copy(&race->w.gpu, reader->seen,
					   gpu_at(AT(&race->w, page)), PAGE);
			__u32 value = reader->seen[0];

			if (err == -EFAULT)
				continue;
			if (err || (value != 1 && value != 2))
				snprintf(race->wrong, sizeof(race->wrong),
					 "page %zu: %d, value %#x", page, err, value);
			for (size_t i = 1; i < WORDS_PER_PAGE && !err; i++)
				if (reader->seen[i] != value)
					snprintf(race->wrong, sizeof(race->wrong),
						 "page %zu has %#x and %#x", page, value,
						 reader->seen[i]);
		}
	}
	return NULL;
}

/* Takes memory, writes something else to it and frees it, so that it goes round. */
static void *churn(void *arg)
{
	struct reader *reader = arg;
	struct window *w = &reader->race->w;

	while (!__atomic_load_n(&reader->race->done, __ATOMIC_ACQUIRE)) {
		struct bo bo;

		if (bo_create(&w->gpu, &bo, RACE_PAGES * PAGE,
			      gpu_can_migrate(&w->gpu) ? DRM_SVM_STUB_BO_VRAM : 0))
			continue;
		if (BIND(w, MAP_OP(w, 100, RACE_PAGES, &bo, 0)) ||
		    gpu_fill(&w->gpu, gpu_at(AT(w, 100)), 0xbad, bo.size) ||
		    BIND_ASYNC(w, 0, 0, UNMAP_OP(w, 100, RACE_PAGES)) || bo_close(&w->gpu, &bo))
			snprintf(reader->race->wrong, sizeof(reader->race->wrong), "churn failed");
		if (bo.memory)
			munmap(bo.memory, bo.size);
	}
	return NULL;
}

static void test_bind_while_reading(const void *arg)
{
	struct reader readers[READERS + 1];
	struct race race = {};
	struct window *w = &race.w;
	struct bo always;
	double end;

	open_window(w);
	EXPECT_OK(bo_create(&w->gpu, &always, RACE_PAGES * PAGE, bo_flags(w, arg)));
	EXPECT_OK(BIND(w, MAP_OP(w, 0, RACE_PAGES, &always, 0)));
	EXPECT_OK(gpu_fill(&w->gpu, gpu_at(w->base), 1, always.size));
	for (int i = 0; i < READERS + 1; i++) {
		readers[i] = (struct reader){ .race = &race, .seen = map(PAGE) };
		EXPECT(!pthread_create(&readers[i].thread, NULL, i < READERS ? read_window : churn,
				       &readers[i]), "pthread_create");
	}

	end = now_ms() + 2000;
	for (int round = 0; now_ms() < end && !race.wrong[0]; round++) {
		struct bo bo;

		EXPECT_OK(bo_create(&w->gpu, &bo, RACE_PAGES * PAGE, bo_flags(w, arg)));
		EXPECT_OK(BIND(w, MAP_OP(w, 200, RACE_PAGES, &bo, 0)));
		EXPECT_OK(gpu_fill(&w->gpu, gpu_at(AT(w, 200)), 2, bo.size));
		EXPECT_OK(BIND_ASYNC(w, 0, 0, UNMAP_OP(w, 200, RACE_PAGES),
				     MAP_OP(w, 0, RACE_PAGES, &bo, 0)));
		EXPECT_OK(bo_close(&w->gpu, &bo));
		if (round % 2)
			EXPECT_OK(BIND_ASYNC(w, 0, 0, UNMAP_OP(w, 8, 8)));
		EXPECT_OK(BIND(w, MAP_OP(w, 0, RACE_PAGES, &always, 0)));
		munmap(bo.memory, bo.memory ? bo.size : 0);
	}
	__atomic_store_n(&race.done, 1, __ATOMIC_RELEASE);
	for (int i = 0; i < READERS + 1; i++)
		pthread_join(readers[i].thread, NULL);
	EXPECT(!race.wrong[0], "%s", race.wrong);
	expect_gpu_sum(&w->gpu, gpu_at(w->base), always.size, always.size / 4);
}

static void *read_first_page(void *arg)
{
	struct reader *reader = arg;
	struct race *race = reader->race;
	__u64 sum = 0;
	int err = 0;

	while (!err && !sum && !__atomic_load_n(&race->done, __ATOMIC_ACQUIRE))
		err = gpu_checksum(&race->w.gpu, gpu_at(race->w.base), PAGE, &sum);
	if (err || sum)
		snprintf(race->wrong, sizeof(race->wrong), "%d, sum %llu", err, sum);
	return NULL;
}

/* What is replaced by itself, or merges, is never missed. */
static void test_kept_while_reading(const void *arg)
{
	const size_t pages = MIB(8) / PAGE;
	struct race race = {};
	struct reader reader = { .race = &race };
	struct window *w = &race.w;
	struct bo bo;
	double end;

	open_window(w);
	EXPECT_OK(bo_create(&w->gpu, &bo, 2 * pages * PAGE, bo_flags(w, arg)));
	EXPECT_OK(BIND(w, MAP_OP(w, 0, pages, &bo, 0)));
	EXPECT(!pthread_create(&reader.thread, NULL, read_first_page, &reader), "pthread_create");
	end = now_ms() + 1500;
	while (now_ms() < end && !race.wrong[0]) {
		EXPECT_OK(BIND(w, MAP_OP(w, 0, pages, &bo, 0)));
		EXPECT_OK(BIND(w, MAP_OP(w, pages, 1, &bo, pages,
					 .flags = DRM_SVM_STUB_BIND_COALESCE)));
		expect_mappings(w, 1);
		EXPECT_OK(BIND(w, UNMAP_OP(w, 1, 2 * pages)));
	}
	__atomic_store_n(&race.done, 1, __ATOMIC_RELEASE);
	pthread_join(reader.thread, NULL);
	EXPECT(!race.wrong[0], "%s", race.wrong);
}

/* Does what VM_BIND can do, until it is killed. */
static void bind_for_ever(void)
{
	struct window w, other;
	struct bo bos[4];
	__u32 sync;

	open_window(&w);
	open_second_window(&other, &w);
	EXPECT_OK(sync_create(&w.gpu, &sync, true));
	for (;;) {
		for (int i = 0; i < 4; i++) {
			__u32 flags = gpu_can_migrate(&w.gpu) && i % 2 ? DRM_SVM_STUB_BO_VRAM : 0;
			struct window *to = i < 2 ? &w : &other;

			if (bo_create(&w.gpu, &bos[i], 256 * PAGE, flags))
				ktap_done();
			BIND_ASYNC(to, sync, sync, MAP_OP(to, i * 100, 256, &bos[i], 0));
			gpu_fill(&to->gpu, gpu_at(AT(to, i * 100)), i, bos[i].size);
			BIND(to, MAP_OP(to, 50, 32, &bos[i], 3), UNMAP_OP(to, 0, 90));
			munmap(bos[i].memory, bos[i].memory ? bos[i].size : 0);
		}
		for (int i = 0; i < 4; i++)
			bo_close(&w.gpu, &bos[i]);
		gpu_destroy(&other.gpu, other.gpu.vm);
		gpu_create(&other.gpu, 0);
	}
}

static void test_kill(const void *arg)
{
	struct window w;

	(void)arg;
	open_window(&w);
	for (int i = 0; i < 20; i++) {
		pid_t pid = ktap_fork();
		int status;

		if (!pid)
			bind_for_ever();
		usleep(ktap_random() % 150000);
		kill(pid, SIGKILL);
		EXPECT_EQ(waitpid(pid, &status, 0), pid);
		EXPECT(WIFSIGNALED(status), "a child failed");
	}
	EXPECT_OK(gpu_wait_free(&w.gpu, 30));
}

static const struct ktap_case cases[] = {
	IN_RAM("out_syncs signal", test_out_sync),
	IN_VRAM("out_syncs signal", test_out_sync),
	IN_RAM("in_syncs are waited for, in order", test_in_sync),
	IN_VRAM("in_syncs are waited for, in order", test_in_sync),
	{ "a chain over VMs", test_chain, NULL },
	IN_VRAM("a pending unmap keeps the memory", test_pending_unmap_keeps),
	{ "without ASYNC the call waits", test_sync_waits, NULL },
	{ "a signal ends the waiting", test_signal_ends_waiting, NULL },
	IN_RAM("VM_DESTROY cancels what waits", test_destroy_cancels),
	IN_VRAM("VM_DESTROY cancels what waits", test_destroy_cancels),
	{ "VM_DESTROY under a program", test_destroy_under_program, NULL },
	IN_VRAM("the end of a process cancels what waits", test_end_of_process),
	IN_VRAM("killed while a program runs in the window", test_exit_while_running),
	IN_RAM("programs read what is being bound", test_bind_while_reading),
	IN_VRAM("programs read what is being bound", test_bind_while_reading),
	IN_RAM("what is kept is there all the time", test_kept_while_reading),
	IN_VRAM("what is kept is there all the time", test_kept_while_reading),
	{ "20 processes killed", test_kill, NULL },
};

int main(int argc, char **argv)
{
	return ktap_main(argc, argv, cases, ARRAY_SIZE(cases));
}
