// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * What loading the modules, running the demo, binding objects and unloading takes
 * from the system comes back: memory, slab objects, vmalloc space, address space.
 *
 * It runs in the test guest, where /modules.list has the modules in the order in
 * which they load, with their parameters. Those that were loaded before are
 * loaded again at the end.
 *
 * How sure is it? The modules are loaded and unloaded ROUNDS times with a short
 * demo and some binds each, and the long demo runs twice. So one object forgotten
 * per load, VM or step makes ROUNDS of them, and one per page makes far more. The
 * tolerance is half of that, for what the rest of the system does meanwhile. The
 * other cases show that a little more than the tolerance is noticed.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bind.h"
#include "modules.h"

#define ROUNDS 32
#define OBJECTS_TOLERANCE (ROUNDS / 2) /* more of one slab cache than before */
#define KIB_TOLERANCE 1024 /* less memory than before */

/*
 * What is freed arrives late: RCU, work queues, caches per CPU. So a comparison
 * is repeated until it is good, at most so often, a second apart.
 */
#define PATIENCE 20

#define MAX_VALUES 512

static char demo[256];

/* --- Modules -------------------------------------------------------------- */

static void load_all(void)
{
	for (int i = 0; i < num_modules; i++)
		/* The unit tests would run each time. */
		if (!strstr(modules[i].name, "kunit"))
			EXPECT_OK(load(&modules[i]));
}

static void unload_all(void)
{
	for (int i = num_modules - 1; i >= 0; i--)
		if (is_loaded(&modules[i]))
			EXPECT_OK(unload(&modules[i]));
}

/* --- Measuring ------------------------------------------------------------- */

struct value {
	char name[64];
	long value;
	bool is_memory; /* in KiB, else objects */
};

struct measure {
	struct value values[MAX_VALUES];
	int count;
};

/* Files that stay open, so that a measurement does not change what it measures. */
static FILE *meminfo, *slabinfo, *zoneinfo;
static int *shrinks, num_shrinks;

/* A write to sysfs uses this one. So it is shrunk last, or it would never look shrunk. */
#define SMALLEST_CACHE "kmalloc-8"

static void add_shrink(const char *cache)
{
	char path[512];
	int fd;

	snprintf(path, sizeof(path), "/sys/kernel/slab/%s/shrink", cache);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return;
	shrinks = realloc(shrinks, (num_shrinks + 1) * sizeof(*shrinks));
	shrinks[num_shrinks++] = fd;
}

static void open_sources(void)
{
	DIR *dir = opendir("/sys/kernel/slab");
	struct dirent *entry;

	meminfo = fopen("/proc/meminfo", "r");
	slabinfo = fopen("/proc/slabinfo", "r");
	zoneinfo = fopen("/proc/zoneinfo", "r");
	EXPECT(meminfo && slabinfo && zoneinfo && dir, "/proc/slabinfo or /sys/kernel/slab: %s",
	       strerror(errno));
	while ((entry = readdir(dir)))
		if (strcmp(entry->d_name, SMALLEST_CACHE))
			add_shrink(entry->d_name);
	closedir(dir);
	EXPECT(num_shrinks > 10, "only %d slab caches can be shrunk", num_shrinks);
	add_shrink(SMALLEST_CACHE);
}

static void write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);

	EXPECT(fd >= 0 && write(fd, text, strlen(text)) > 0, "%s: %s", path, strerror(errno));
	close(fd);
}

/* Gives back what is only cached. */
static void drop_caches(void)
{
	sync();
	write_file("/proc/sys/vm/drop_caches", "3");
	write_file("/proc/sys/vm/compact_memory", "1");
	for (int i = 0; i < num_shrinks; i++)
		EXPECT(write(shrinks[i], "1", 1) == 1, "shrink: %s", strerror(errno));
}

static void add(struct measure *measure, const char *name, long value, bool is_memory)
{
	struct value *next = &measure->values[measure->count];

	EXPECT(measure->count < MAX_VALUES, "there are too many slab caches");
	*next = (struct value){ .value = value, .is_memory = is_memory };
	snprintf(next->name, sizeof(next->name), "%s", name);
	measure->count++;
}

/* Free pages on the lists of each CPU, which /proc/meminfo does not count as free. */
static long free_on_cpus(void)
{
	char line[256];
	long pages = 0, count;

	rewind(zoneinfo);
	while (fgets(line, sizeof(line), zoneinfo))
		if (sscanf(line, " count: %ld", &count) == 1)
			pages += count;
	return pages * (sysconf(_SC_PAGESIZE) >> 10);
}

static void take(struct measure *measure)
{
	static const char *const used[] = {
		"VmallocUsed", "SUnreclaim", "Percpu", "PageTables", "KernelStack",
	};
	char line[256], name[64];
	long value;

	drop_caches();
	measure->count = 0;
	rewind(slabinfo);
	while (fgets(line, sizeof(line), slabinfo))
		if (sscanf(line, "%63s %ld", name, &value) == 2)
			add(measure, name, value, false);
	rewind(meminfo);
	while (fgets(line, sizeof(line), meminfo)) {
		if (sscanf(line, "%63[^:]: %ld", name, &value) != 2)
			continue;
		/* It gets smaller where the others grow. */
		if (!strcmp(name, "MemFree"))
			add(measure, "memory", -(value + free_on_cpus()), true);
		for (size_t i = 0; i < ARRAY_SIZE(used); i++)
			if (!strcmp(name, used[i]))
				add(measure, name, value, true);
	}
}

/* What @measure has under this name; 0 for a slab cache that did not exist. */
static struct value *find(struct measure *measure, const char *name)
{
	for (int i = 0; i < measure->count; i++)
		if (!strcmp(measure->values[i].name, name))
			return &measure->values[i];
	return NULL;
}

/*
 * Takes the smallest of several values: what is only in a cache, or about to be
 * freed, or belongs to a process that comes and goes, is not in all of them.
 */
static void take_smallest(struct measure *smallest)
{
	static struct measure next;

	take(&next);
	for (int i = 0; i < next.count; i++) {
		struct value *old = find(smallest, next.values[i].name);

		if (!old)
			add(smallest, next.values[i].name, next.values[i].value,
			    next.values[i].is_memory);
		else if (next.values[i].value < old->value)
			old->value = next.values[i].value;
	}
}

static void take_before(struct measure *before)
{
	for (int i = 0; i < 3; i++) {
		take_smallest(before);
		usleep(500000);
	}
}

/* How many values have grown by more than the tolerance. */
static int compare(struct measure *before, struct measure *after, bool tell)
{
	int grown = 0;

	for (int i = 0; i < after->count; i++) {
		const struct value *value = &after->values[i], *old = find(before, value->name);
		long growth = value->value - (old ? old->value : 0);

		if (growth <= (value->is_memory ? KIB_TOLERANCE : OBJECTS_TOLERANCE))
			continue;
		grown++;
		if (tell)
			ktap_note("%s: %+ld %s", value->name, growth,
				  value->is_memory ? "KiB in use" : "objects");
	}
	return grown;
}

/* Whether all is back as it was, within @tries seconds; tells what is not. */
static bool is_back(struct measure *before, int tries)
{
	struct measure *after = calloc(1, sizeof(*after));
	int grown;

	for (int i = 1;; i++) {
		take_smallest(after);
		grown = compare(before, after, i == tries);
		if (!grown || i == tries)
			break;
		sleep(1);
	}
	free(after);
	return !grown;
}

/* --- Cases ------------------------------------------------------------------ */

static void run_demo(const char *size)
{
	pid_t pid = ktap_fork();

	if (!pid) {
		execl(demo, demo, "--quiet", "--mib", size, NULL);
		ktap_fail(__FILE__, __LINE__, "%s: %s", demo, strerror(errno));
	}
	ktap_join(pid);
}

/* Every kind of step, done, refused and pending, and then the end of the process. */
static void run_binds(void)
{
	pid_t pid = ktap_fork();

	if (!pid) {
		struct window w;
		struct bo a, b;
		__u32 sync;

		open_window(&w);
		make_bo(&w, &a, 16, 0, 1);
		make_bo(&w, &b, 16, gpu_can_migrate(&w.gpu) ? DRM_SVM_STUB_BO_VRAM : 0, 2);
		EXPECT_OK(BIND(&w, MAP_OP(&w, 0, 16, &a, 0), UNMAP_OP(&w, 4, 4),
			       REPEAT_OP(&w, 16, 16, &b, 1, 3), SPARSE_OP(&w, 24, 32, 0),
			       PREFETCH_OP(&w, 0, 64)));
		EXPECT_OK(BIND(&w, UNMAP_OP(&w, 18, 2), MAP_OP(&w, 2, 10, &b, 0)));
		expect_shows(&w, 2, 10, 2, 0);
		EXPECT_ERR(BIND(&w, MAP_OP(&w, 0, 8, &b, 0), UNMAP_OP(&w, 1, 1),
				MAP_OP(&w, 0, 64, &a, 0)), -EINVAL);
		EXPECT_OK(sync_create(&w.gpu, &sync, true));
		EXPECT_OK(bo_close(&w.gpu, &a));
		for (int i = 0; i < 8; i++)
			EXPECT_OK(BIND_ASYNC(&w, sync, sync, MAP_OP(&w, i, 4, &b, i),
					     UNMAP_OP(&w, i + 1, 2)));
		ktap_done();
	}
	ktap_join(pid);
}

static void cycle(int rounds, int demos)
{
	for (int i = 0; i < rounds; i++) {
		load_all();
		run_demo("1");
		run_binds();
		unload_all();
	}
	load_all();
	for (int i = 0; i < demos; i++)
		run_demo("64");
	unload_all();
}

/* What must be the same to the letter. */
static char *exact(void)
{
	static const char *const files[] = { "/proc/iomem", "/proc/sys/kernel/tainted" };
	static const char *const directories[] = {
		"/dev/dri", "/sys/class/drm", "/sys/bus/platform/devices",
		"/sys/kernel/debug/dri", "/sys/kernel/slab", "/sys/module",
	};
	char line[256], *text;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
		FILE *file = fopen(files[i], "r");

		while (file && fgets(line, sizeof(line), file))
			fprintf(out, "%s: %s", files[i], line);
		if (file)
			fclose(file);
	}
	for (size_t i = 0; i < ARRAY_SIZE(directories); i++) {
		struct dirent **entries;
		int count = scandir(directories[i], &entries, NULL, alphasort);

		for (int j = 0; j < count; j++)
			fprintf(out, "%s/%s\n", directories[i], entries[j]->d_name);
	}
	fclose(out);
	return text;
}

/* Tells the lines of @text that @other does not have; returns how many. */
static int tell_difference(const char *what, char *text, const char *other)
{
	int count = 0;
	char *rest = strdup(text);

	for (char *line = strsep(&rest, "\n"); line; line = strsep(&rest, "\n")) {
		if (strstr(other, line))
			continue;
		ktap_note("%s %s", what, line);
		count++;
	}
	return count;
}

static void test_nothing_stays(const void *arg)
{
	static struct measure before;
	char *exact_before, *exact_after;
	int differences;

	(void)arg;
	/* Their own memory grows with what they have seen; kmemleak looks instead. */
	if (!access("/sys/kernel/debug/debug_objects", F_OK))
		ktap_skip("the debug kernel's checkers keep memory for themselves");
	unload_all();
	/* What the kernel makes at the first use of something stays. */
	cycle(2, 1);
	open_sources();
	exact_before = exact();
	take_before(&before);

	cycle(ROUNDS, 2);
	EXPECT(is_back(&before, PATIENCE), "this has not come back");
	exact_after = exact();
	differences = tell_difference("new:", exact_after, exact_before);
	differences += tell_difference("gone:", exact_before, exact_after);
	EXPECT(!differences, "%d lines differ", differences);
}

static void test_objects_are_noticed(const void *arg)
{
	static struct measure before;
	int pipes[OBJECTS_TOLERANCE + 4][2];
	const int count = ARRAY_SIZE(pipes);

	(void)arg;
	open_sources();
	take_before(&before);
	for (int i = 0; i < count; i++)
		EXPECT(!pipe(pipes[i]), "pipe: %s", strerror(errno));
	EXPECT(!is_back(&before, 3), "%d pipes were not noticed", count);
	for (int i = 0; i < count; i++) {
		close(pipes[i][0]);
		close(pipes[i][1]);
	}
	EXPECT(is_back(&before, PATIENCE), "closed pipes have not come back");
}

static void test_memory_is_noticed(const void *arg)
{
	const size_t size = KIB(KIB_TOLERANCE) * 3 / 2;
	static struct measure before;
	char *memory;

	(void)arg;
	open_sources();
	take_before(&before);
	memory = mmap(NULL, size, PROT_READ | PROT_WRITE,
		      MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	EXPECT(memory != MAP_FAILED, "mmap: %s", strerror(errno));
	EXPECT(!is_back(&before, 3), "%zu KiB of memory were not noticed", size >> 10);
	munmap(memory, size);
	EXPECT(is_back(&before, PATIENCE), "unmapped memory has not come back");
}

static const struct ktap_case cases[] = {
	{ "objects that stay are noticed", test_objects_are_noticed, NULL },
	{ "memory that stays is noticed", test_memory_is_noticed, NULL },
	{ "loading, the demo and unloading leave nothing", test_nothing_stays, NULL },
};

int main(int argc, char **argv)
{
	int status;

	snprintf(demo, sizeof(demo), "%s/demo", dirname(strdupa(argv[0])));
	if (!read_modules()) {
		fprintf(stderr, "test_leak: /modules.list names no module of ours.\n");
		return 1;
	}
	status = ktap_main(argc, argv, cases, ARRAY_SIZE(cases));
	restore_modules();
	return status;
}
