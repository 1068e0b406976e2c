// SPDX-License-Identifier: GPL-2.0-only OR MIT
/* The demo's figure: a row for each step, a column for each block. */
#include "demo.h"

#include <errno.h>
#include <stdio.h>
#include <sys/utsname.h>

/* All in pixels. */
#define MARGIN 28
#define STRIP_X 340
#define STRIP_WIDTH 476
#define COLUMN 84 /* of a number, to the right of the strips */
#define NUM_COLUMNS 4
#define WIDTH (STRIP_X + STRIP_WIDTH + NUM_COLUMNS * COLUMN + MARGIN + 4)
#define ROWS_Y 168
#define ROW 46
#define BAR 28

#define NONE_COLOR "#eef0f2"
#define RAM_COLOR "#5b9bd5"
#define VRAM_COLOR "#e8792b"
#define TEXT_COLOR "#1f2933"
#define FAINT_COLOR "#6b7785"

static const char array_name[] = "abc";

static void rect(FILE *file, double x, double y, double width, double height, const char *color)
{
	if (height > 0)
		fprintf(file, "<rect x='%.2f' y='%.2f' width='%.2f' height='%.2f' fill='%s'/>\n", x,
			y, width, height, color);
}

/* A block: VRAM from the bottom, RAM above it, and what is left is not there. */
static void draw_block(FILE *file, const struct drm_svm_stub_block *block, double x, double y,
		       double width)
{
	double pages = block->none + block->system + block->device;
	double vram = BAR * block->device / pages;
	double ram = BAR * block->system / pages;

	rect(file, x, y, width, BAR - ram - vram, NONE_COLOR);
	rect(file, x, y + BAR - ram - vram, width, ram, RAM_COLOR);
	rect(file, x, y + BAR - vram, width, vram, VRAM_COLOR);
}

static double draw_key(FILE *file, double x, const char *color, const char *text)
{
	const double y = 98;

	rect(file, x, y - 12, 15, 15, color);
	fprintf(file, "<text x='%.0f' y='%.0f'>%s</text>\n", x + 22, y, text);
	return x + 148;
}

static void draw_legend(FILE *file)
{
	const struct drm_svm_stub_block mixed = { .device = 45, .system = 55 };
	double x = MARGIN;

	x = draw_key(file, x, NONE_COLOR, "not present");
	x = draw_key(file, x, RAM_COLOR, "in RAM");
	x = draw_key(file, x, VRAM_COLOR, "in VRAM");
	fprintf(file, "<g transform='translate(%.0f 86) scale(1 .536)'>\n", x);
	draw_block(file, &mixed, 0, 0, 15);
	fprintf(file, "</g>\n<text x='%.0f' y='98'>mixed, in proportion</text>\n", x + 22);
}

/* Where a position, measured in blocks, is on the strip; it starts with a and ends with c. */
static double strip_x(const struct story *story, double position)
{
	const double *array = story->array;

	if (position < array[0])
		position = array[0];
	if (position > array[MAX_ARRAYS])
		position = array[MAX_ARRAYS];
	return STRIP_X + (position - array[0]) * STRIP_WIDTH / (array[MAX_ARRAYS] - array[0]);
}

static void draw_arrays(FILE *file, const struct story *story)
{
	double bottom = ROWS_Y + (story->num_steps - 1) * ROW + BAR + 6;

	for (int i = 0; i <= MAX_ARRAYS; i++) {
		double x = strip_x(story, story->array[i]);

		fprintf(file, "<line x1='%.2f' y1='%d' x2='%.2f' y2='%.0f' class='border'/>\n", x,
			ROWS_Y - 26, x, bottom);
		if (i < MAX_ARRAYS)
			fprintf(file,
				"<text x='%.2f' y='%d' class='array' text-anchor='middle'>%c</text>\n",
				(x + strip_x(story, story->array[i + 1])) / 2, ROWS_Y - 14,
				array_name[i]);
	}
}

static void number(FILE *file, int column, double y, const char *class, const char *format,
		   double value)
{
	fprintf(file, "<text x='%d' y='%.0f' class='%s' text-anchor='end'>",
		STRIP_X + STRIP_WIDTH + (column + 1) * COLUMN, y, class);
	fprintf(file, format, value);
	fprintf(file, "</text>\n");
}

static void draw_step(FILE *file, const struct story *story, size_t i)
{
	const struct step *step = &story->steps[i];
	double mib = (double)story->page_size / MIB(1);
	double y = ROWS_Y + i * ROW;
	double baseline = y + BAR / 2 + 5;
	/* What did not happen is there, and does not cry for attention. */
	static const char *const class[] = { "zero", "number" };

	fprintf(file, "<text x='%d' y='%.0f'><tspan class='zero'>%zu</tspan>  %s</text>\n", MARGIN,
		baseline, i, step->title);
	for (size_t block = 0; block < story->num_blocks; block++) {
		double left = strip_x(story, block);
		double width = strip_x(story, block + 1) - left - 1;

		/* The first and the last block may be cut to nearly nothing. */
		if (width > 0)
			draw_block(file, &step->after.blocks[block], left, y, width);
	}
	number(file, 0, baseline, "number", "%.1f", step->ms);
	number(file, 1, baseline, class[step->faults > 0], "%.0f", step->faults);
	number(file, 2, baseline, class[step->to_vram > 0], "%.1f", step->to_vram * mib);
	number(file, 3, baseline, class[step->to_ram > 0], "%.1f", step->to_ram * mib);
}

int write_svg(const struct story *story, const char *path)
{
	static const char *const heading[NUM_COLUMNS][2] = {
		{ "time", "ms" },
		{ "GPU", "faults" },
		{ "to VRAM", "MiB" },
		{ "to RAM", "MiB" },
	};
	double height = ROWS_Y + story->num_steps * ROW + 30;
	FILE *file = fopen(path, "w");
	struct utsname system;
	bool failed;

	if (!file)
		return -errno;
	uname(&system);
	fprintf(file,
		"<svg xmlns='http://www.w3.org/2000/svg' width='%d' height='%.0f' viewBox='0 0 %d %.0f'>\n"
		"<title>Where the memory of the drm_svm demo was after each step</title>\n"
		"<style>\n"
		"text { font: 14px Helvetica, Arial, 'DejaVu Sans', sans-serif }\n"
		"text { fill: " TEXT_COLOR "; white-space: pre }\n"
		".title { font-size: 20px; font-weight: bold }\n"
		".faint, .zero { fill: " FAINT_COLOR " }\n"
		".faint { font-size: 12px }\n"
		".array { font-size: 16px; font-style: italic; font-weight: bold }\n"
		".border { stroke: " TEXT_COLOR "; stroke-dasharray: 2 3 }\n"
		"</style>\n"
		"<rect width='100%%' height='100%%' fill='white'/>\n",
		WIDTH, height, WIDTH, height);
	fprintf(file,
		"<text x='%d' y='42' class='title'>Where the memory is after each step</text>\n"
		"<text x='%d' y='66' class='faint'>%zu MiB from malloc, shared by CPU and GPU%s; each cell is a block of %zu MiB</text>\n",
		MARGIN, MARGIN, story->bytes >> 20,
		story->migrates ? "" : ", without migration to VRAM", story->block_size >> 20);
	draw_legend(file);

	for (int i = 0; i < NUM_COLUMNS; i++) {
		int x = STRIP_X + STRIP_WIDTH + (i + 1) * COLUMN;

		fprintf(file,
			"<text x='%d' y='%d' class='faint' text-anchor='end'>%s</text>\n"
			"<text x='%d' y='%d' class='faint' text-anchor='end'>%s</text>\n",
			x, ROWS_Y - 29, heading[i][0], x, ROWS_Y - 14, heading[i][1]);
	}
	for (size_t i = 0; i < story->num_steps; i++)
		draw_step(file, story, i);
	draw_arrays(file, story);
	fprintf(file,
		"<text x='%d' y='%.0f' class='faint'>drm_svm demo, Linux %s</text>\n</svg>\n",
		MARGIN, height - 18, system.release);

	failed = ferror(file);
	if (fclose(file) || failed)
		return -EIO;
	return 0;
}
