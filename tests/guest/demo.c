// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * CPU and GPU work on the same malloc'd memory, by the same pointers.
 *
 * The memory holds three arrays of 32-bit words. The CPU fills a and b, the GPU
 * writes a + b to c, the CPU checks every word, and once more with the roles of
 * a and c exchanged. Each step is shown with a map of where the memory was
 * before and after it. A wrong word or a failed ioctl ends the demo with status
 * 1.
 */
#include "demo.h"

#include <errno.h>
#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* A map has at most about this many blocks, so that it fits on a line. */
#define MAP_BLOCKS 32

static const char array_name[MAX_ARRAYS] = { 'a', 'b', 'c' };

struct demo {
	struct gpu gpu;
	struct story story;
	__u32 *array[MAX_ARRAYS];
	size_t words; /* of each array */
	void *memory; /* what malloc() returned */
	uintptr_t first; /* its first page */
	uintptr_t end; /* the page after its last one */
	__u32 programs; /* that the GPU has run */
	__u64 words_checked;
	/* Options. */
	size_t mib;
	unsigned int rounds;
	__u32 seed;
	bool system_only;
	bool color;
	bool quiet;
	bool ktap;
	char svg[256];
};

static void die(struct demo *demo, const char *format, ...)
	__attribute__((format(printf, 2, 3), noreturn));

static void die(struct demo *demo, const char *format, ...)
{
	va_list args;

	fflush(stdout);
	va_start(args, format);
	fprintf(stderr, "demo: ");
	vfprintf(stderr, format, args);
	fprintf(stderr, "\n");
	va_end(args);
	if (demo->ktap)
		printf("not ok 1 demo\n");
	exit(1);
}

static void must(struct demo *demo, const char *what, int err)
{
	if (err)
		die(demo, "%s failed: %s.", what, strerror(-err));
}

/* --- The map ------------------------------------------------------------- */

static const char *paint(const struct demo *demo, const char *code)
{
	return demo->color ? code : "";
}

#define OFF "\x1b[0m"
#define GREY "\x1b[90m"
#define BLUE "\x1b[38;5;75m"
#define ORANGE "\x1b[38;5;208m"
#define BLACK_ON_YELLOW "\x1b[30;48;5;186m"
#define BOLD "\x1b[1m"

#define CELL_NONE "··"
#define CELL_RAM "▒▒"
#define CELL_VRAM "██"

static void look(struct demo *demo, struct snapshot *snapshot)
{
	struct story *story = &demo->story;
	struct drm_svm_stub_block *blocks = snapshot->blocks;
	/* The blocks are those of the address space, so the first may be cut. */
	uintptr_t cut = (demo->first / story->block_size + 1) * story->block_size;

	if (cut > demo->end)
		cut = demo->end;
	must(demo, "RESIDENCY", gpu_where(&demo->gpu, (void *)demo->first, cut - demo->first,
					  &blocks[0]));
	if (cut < demo->end)
		must(demo, "RESIDENCY",
		     gpu_residency(&demo->gpu, (void *)cut, demo->end - cut, story->block_size,
				   &blocks[1]));

	snapshot->sum = (struct drm_svm_stub_block){};
	for (size_t i = 0; i < story->num_blocks; i++) {
		snapshot->sum.none += blocks[i].none;
		snapshot->sum.system += blocks[i].system;
		snapshot->sum.device += blocks[i].device;
	}
}

static void print_cell(const struct demo *demo, const struct drm_svm_stub_block *block)
{
	__u32 pages = block->none + block->system + block->device;
	__u32 percent = block->device * 100ull / pages;

	if (block->none == pages)
		printf("%s" CELL_NONE, paint(demo, GREY));
	else if (block->system == pages)
		printf("%s" CELL_RAM, paint(demo, BLUE));
	else if (block->device == pages)
		printf("%s" CELL_VRAM, paint(demo, ORANGE));
	else if (!block->device)
		printf("%s▒%s·", paint(demo, BLUE), paint(demo, GREY));
	else
		printf("%s%2u", paint(demo, BLACK_ON_YELLOW), percent ?: 1);
	printf("%s", paint(demo, OFF));
}

static void print_map(const struct demo *demo, const char *when, const struct snapshot *snapshot)
{
	printf("  %-7s", when);
	for (size_t i = 0; i < demo->story.num_blocks; i++)
		print_cell(demo, &snapshot->blocks[i]);
	printf("\n");
}

/* At most so many lines of the library's own list. */
#define MAX_RUNS 4

/* A line of the list: "  FIRST-END PAGES PLACE". */
static bool is_run_of(const struct demo *demo, const char *line)
{
	unsigned long first, end;

	return line[0] == ' ' && sscanf(line, "%lx-%lx ", &first, &end) == 2 &&
	       first < demo->end && end > demo->first;
}

/* The same picture as the library draws it for debugfs: runs of pages in one place. */
static void print_runs(const struct demo *demo)
{
	unsigned int runs = 0;

	for (int minor = 0; minor < 192 && !runs; minor++) {
		char path[64], line[128];
		FILE *dump;

		snprintf(path, sizeof(path), "/sys/kernel/debug/dri/%d/residency", minor);
		dump = fopen(path, "re");
		while (dump && fgets(line, sizeof(line), dump)) {
			if (is_run_of(demo, line) && ++runs <= MAX_RUNS)
				printf("  %-7s %s", runs == 1 ? "debugfs" : "", line + 2);
		}
		if (dump)
			fclose(dump);
	}
	if (runs > MAX_RUNS)
		printf("  %-7s and %u more\n", "", runs - MAX_RUNS);
}

/* Where the arrays begin and end, above the maps. */
static void print_ruler(const struct demo *demo)
{
	size_t columns = 2 * demo->story.num_blocks;
	int array = 0;

	printf("         ");
	for (size_t column = 0; column <= columns; column++) {
		if (array <= MAX_ARRAYS &&
		    column >= (size_t)(2 * demo->story.array[array] + 0.5)) {
			if (array < MAX_ARRAYS) {
				printf("|%c", array_name[array]);
				column++;
			} else {
				printf("|");
			}
			array++;
		} else {
			printf(" ");
		}
	}
	printf("\n");
}

static void print_legend(const struct demo *demo)
{
	char size[32];

	if (demo->story.block_size < MIB(1024))
		snprintf(size, sizeof(size), "%zu MiB", demo->story.block_size >> 20);
	else
		snprintf(size, sizeof(size), "%zu GiB", demo->story.block_size >> 30);
	printf("In the maps each cell is %s: %s" CELL_NONE "%s not present, %s" CELL_RAM
	       "%s in RAM, %s" CELL_VRAM "%s in VRAM,\n",
	       size, paint(demo, GREY), paint(demo, OFF), paint(demo, BLUE), paint(demo, OFF),
	       paint(demo, ORANGE), paint(demo, OFF));
	printf("%s▒%s·%s partly in RAM, partly not present,", paint(demo, BLUE), paint(demo, GREY),
	       paint(demo, OFF));
	printf(" %s42%s mixed: 42 %% of it in VRAM.\n", paint(demo, BLACK_ON_YELLOW),
	       paint(demo, OFF));
}

/* --- Steps ---------------------------------------------------------------- */

static struct step *add_step(struct demo *demo, const char *title)
{
	struct story *story = &demo->story;
	struct step *step;

	story->steps = realloc(story->steps, (story->num_steps + 1) * sizeof(*step));
	step = &story->steps[story->num_steps++];
	*step = (struct step){};
	step->before.blocks = calloc(story->num_blocks, sizeof(*step->before.blocks));
	step->after.blocks = calloc(story->num_blocks, sizeof(*step->after.blocks));
	snprintf(step->title, sizeof(step->title), "%s", title);
	return step;
}

static void print_moved(const struct demo *demo, __u64 pages, const char *where)
{
	printf(", %llu pages (%.1f MiB) to %s", (unsigned long long)pages,
	       (double)(pages * demo->story.page_size) / MIB(1), where);
}

/*
 * Does @run and prints @title, what it means, and what it did to the memory.
 * @in_ram is what it means if memory does not migrate, where that is different.
 */
static void step(struct demo *demo, const char *title, void (*run)(struct demo *demo),
		 const char *meaning, const char *in_ram)
{
	struct drm_svm_stub_vm_stats before, after;
	struct step *this = add_step(demo, title);
	double start;

	if (!demo->quiet) {
		printf("\n%sStep %zu: %s%s\n", paint(demo, BOLD), demo->story.num_steps - 1, title,
		       paint(demo, OFF));
		printf("%s\n", in_ram && !demo->story.migrates ? in_ram : meaning);
		fflush(stdout);
	}

	look(demo, &this->before);
	must(demo, "VM_STATS", gpu_stats(&demo->gpu, &before));
	start = now_ms();
	run(demo);
	this->ms = now_ms() - start;
	must(demo, "VM_STATS", gpu_stats(&demo->gpu, &after));
	look(demo, &this->after);
	this->faults = after.gpu_faults - before.gpu_faults;
	this->to_vram = after.pages_to_vram - before.pages_to_vram;
	this->to_ram = after.pages_to_ram - before.pages_to_ram;

	if (demo->quiet)
		return;
	print_ruler(demo);
	print_map(demo, "before", &this->before);
	print_map(demo, "after", &this->after);
	print_runs(demo);
	printf("  %.1f ms, %llu GPU faults", this->ms, (unsigned long long)this->faults);
	print_moved(demo, this->to_vram, "VRAM");
	print_moved(demo, this->to_ram, "RAM");
	printf("\n");
	fflush(stdout);
}

/*
 * The words of a and b are arbitrary numbers. Every round adds b to what is in
 * a and c, so that after n GPU programs the sum is a + n * b.
 */
static __u32 word(const struct demo *demo, int array, size_t i, __u32 programs)
{
	__u32 b = pattern(demo->seed + 1, i);

	return array == 1 ? b : pattern(demo->seed, i) + programs * b;
}

static void check(struct demo *demo, int array, __u32 programs)
{
	const __u32 *words = demo->array[array];

	for (size_t i = 0; i < demo->words; i++) {
		__u32 found = ((const volatile __u32 *)words)[i];
		__u32 expected = word(demo, array, i, programs);

		if (found != expected)
			die(demo, "WRONG WORD: %c[%zu] at %p is %#x and should be %#x (seed %u).",
			    array_name[array], i, (const void *)&words[i], found, expected,
			    demo->seed);
	}
	demo->words_checked += demo->words;
}

static void run_malloc(struct demo *demo)
{
	/* It is done already: without addresses there are no maps. */
	(void)demo;
}

static void run_fill(struct demo *demo)
{
	for (int array = 0; array < 2; array++)
		for (size_t i = 0; i < demo->words; i++)
			demo->array[array][i] = word(demo, array, i, 0);
}

static void run_add_to_c(struct demo *demo)
{
	must(demo, "EXEC c = a + b",
	     gpu_add(&demo->gpu, demo->array[2], demo->array[0], demo->array[1],
		     demo->words * sizeof(__u32)));
	demo->programs++;
}

static void run_check_c(struct demo *demo)
{
	check(demo, 2, demo->programs);
}

static void run_add_to_a(struct demo *demo)
{
	must(demo, "EXEC a = c + b",
	     gpu_add(&demo->gpu, demo->array[0], demo->array[2], demo->array[1],
		     demo->words * sizeof(__u32)));
	demo->programs++;
}

static void run_check_all(struct demo *demo)
{
	check(demo, 0, demo->programs);
	check(demo, 1, 0);
	check(demo, 2, demo->programs - 1);
}

static void run_free(struct demo *demo)
{
	free(demo->memory);
}

/* --- The whole ------------------------------------------------------------ */

static void prepare(struct demo *demo)
{
	struct story *story = &demo->story;
	__u32 flags;
	uintptr_t origin;
	int err;

	err = gpu_open(&demo->gpu, 0);
	if (err == -ENODEV)
		die(demo, "There is no %s device; load the module first.", stub_driver());
	must(demo, "Opening the device", err);
	story->migrates = gpu_can_migrate(&demo->gpu) && !demo->system_only;
	flags = story->migrates ? DRM_SVM_STUB_VM_MIGRATE_ON_FAULT : 0;
	must(demo, "VM_DESTROY", gpu_destroy(&demo->gpu, demo->gpu.vm));
	must(demo, "VM_CREATE", gpu_create(&demo->gpu, flags));

	story->bytes = MIB(demo->mib);
	demo->memory = malloc(story->bytes);
	if (!demo->memory)
		die(demo, "malloc of %zu MiB failed: %s.", demo->mib, strerror(errno));
	demo->words = story->bytes / MAX_ARRAYS / sizeof(__u32);

	story->page_size = demo->gpu.info.page_size;
	demo->first = (uintptr_t)demo->memory & -story->page_size;
	demo->end = ((uintptr_t)demo->memory + story->bytes - 1 + story->page_size) &
		    -story->page_size;
	story->block_size = MIB(2);
	while (story->bytes / story->block_size > MAP_BLOCKS)
		story->block_size *= 2;
	origin = demo->first / story->block_size * story->block_size;
	story->num_blocks = (demo->end - origin + story->block_size - 1) / story->block_size;

	for (int i = 0; i <= MAX_ARRAYS; i++) {
		__u32 *start = (__u32 *)demo->memory + i * demo->words;

		if (i < MAX_ARRAYS)
			demo->array[i] = start;
		story->array[i] = (double)((uintptr_t)start - origin) / story->block_size;
	}
}

static void print_introduction(const struct demo *demo)
{
	const struct drm_svm_stub_info *info = &demo->gpu.info;

	printf("%sShared virtual memory: CPU and GPU use the same memory by the same pointers.%s\n",
	       paint(demo, BOLD), paint(demo, OFF));
	printf("The GPU is the stub device: software, %llu MiB of VRAM, pages of %u KiB.\n",
	       (unsigned long long)info->vram_size >> 20, info->page_size >> 10);
	printf("The memory is %zu MiB from malloc, for three arrays of %zu words: a, b and c.\n",
	       demo->mib, demo->words);
	if (!gpu_can_migrate(&demo->gpu))
		printf("This device cannot move memory to VRAM, so all of it stays in RAM.\n");
	else if (demo->system_only)
		printf("By your choice nothing moves to VRAM, so all of it stays in RAM.\n");
	print_legend(demo);
}

static void tell(struct demo *demo)
{
	char title[64];

	snprintf(title, sizeof(title), "malloc(%zu MiB)", demo->mib);
	step(demo, title, run_malloc,
	     "The kernel gave addresses; pages come with the first touch. The GPU needs no buffer\n"
	     "object, no registration and no copy: it will be handed these pointers.",
	     NULL);
	step(demo, "the CPU fills a and b", run_fill,
	     "Its first touch of a page makes the page, in RAM. Nobody has touched c yet.",
	     NULL);
	for (unsigned int round = 0; round < demo->rounds; round++) {
		step(demo, "the GPU computes c = a + b", run_add_to_c,
		     "It faults where it has no translation. The driver moves what is there to VRAM\n"
		     "first; pages of c, which nobody has touched, can begin their life there.",
		     "It faults where it has no translation, and the driver maps the pages in RAM.\n"
		     "Pages of c, which nobody has touched, begin their life now.");
		step(demo, "the CPU checks every word of c", run_check_c,
		     "The CPU cannot read VRAM. So it faults too, and the kernel brings c back to RAM.",
		     "Nothing has to move.");
		step(demo, "the GPU computes a = c + b", run_add_to_a,
		     "Only what is not in VRAM has to move.",
		     "It has most translations already. To write to a it needs the right to.");
		step(demo, "the CPU checks all words of a, b and c", run_check_all,
		     "All of it comes back to RAM.",
		     "Nothing has to move.");
	}
	step(demo, "free", run_free, "Memory goes back to where it came from.", NULL);
}

static void usage(FILE *file)
{
	fprintf(file,
		"usage: demo [OPTION...]\n"
		"  --mib N      use N MiB of memory (64)\n"
		"  --rounds N   repeat the GPU's and the CPU's steps N times (1)\n"
		"  --seed N     fill the arrays with other numbers (1)\n"
		"  --system     leave the memory in RAM, even if the device could move it\n"
		"  --svg PATH   write the figure there ($OUT/demo.svg, or demo.svg)\n"
		"  --color      colours even if this is no terminal, or DRM_SVM_COLOR=1\n"
		"  --quiet      no story and no figure\n"
		"  --ktap       a result for a test runner\n");
}

/* A number from 1 to @max. */
static unsigned long number(const char *text, unsigned long max)
{
	char *end;
	unsigned long value = strtoul(text, &end, 0);

	if (*end || !value || value > max) {
		fprintf(stderr, "demo: %s is not a number from 1 to %lu.\n", text, max);
		exit(2);
	}
	return value;
}

static void parse(struct demo *demo, int argc, char **argv)
{
	static const struct option options[] = {
		{ "mib", required_argument, NULL, 'm' },
		{ "rounds", required_argument, NULL, 'r' },
		{ "seed", required_argument, NULL, 's' },
		{ "system", no_argument, NULL, 'y' },
		{ "svg", required_argument, NULL, 'o' },
		{ "color", no_argument, NULL, 'c' },
		{ "quiet", no_argument, NULL, 'q' },
		{ "ktap", no_argument, NULL, 'k' },
		{ "help", no_argument, NULL, 'h' },
		{},
	};
	const char *out = getenv("OUT");
	int option;

	snprintf(demo->svg, sizeof(demo->svg), "%s%sdemo.svg", out ?: "", out ? "/" : "");
	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (option) {
		case 'm':
			demo->mib = number(optarg, 1 << 20);
			break;
		case 'r':
			demo->rounds = number(optarg, 1000);
			break;
		case 's':
			demo->seed = number(optarg, UINT32_MAX);
			break;
		case 'y':
			demo->system_only = true;
			break;
		case 'o':
			snprintf(demo->svg, sizeof(demo->svg), "%s", optarg);
			break;
		case 'c':
			demo->color = true;
			break;
		case 'q':
			demo->quiet = true;
			break;
		case 'k':
			demo->ktap = true;
			break;
		case 'h':
			usage(stdout);
			exit(0);
		default:
			usage(stderr);
			exit(2);
		}
	}
	if (optind < argc) {
		usage(stderr);
		exit(2);
	}
}

int main(int argc, char **argv)
{
	struct demo demo = {
		.mib = 64,
		.rounds = 1,
		.seed = 1,
		.color = isatty(STDOUT_FILENO) || getenv("DRM_SVM_COLOR"),
	};

	parse(&demo, argc, argv);
	if (demo.ktap)
		printf("KTAP version 1\n1..1\n");
	prepare(&demo);
	if (!demo.quiet)
		print_introduction(&demo);
	tell(&demo);
	must(&demo, "VM_DESTROY", gpu_destroy(&demo.gpu, demo.gpu.vm));
	gpu_close(&demo.gpu);
	if (!demo.quiet) {
		printf("\n%sAll of the %llu words that the CPU checked were right.%s\n",
		       paint(&demo, BOLD), (unsigned long long)demo.words_checked,
		       paint(&demo, OFF));
		must(&demo, "Writing the figure", write_svg(&demo.story, demo.svg));
	}
	if (demo.ktap)
		printf("ok 1 demo\n");
	else if (!demo.quiet)
		printf("The figure is %s\n", demo.svg);
	return 0;
}
