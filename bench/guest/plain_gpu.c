// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * What the GPU computes. It sees memory through its page table only, and what is not there is a
 * fault, which is served before it goes on.
 */
#include <linux/ktime.h>
#include <linux/mm.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>

#include "plain.h"
#include "plain_locks.h"

#define WORDS (PAGE_SIZE / sizeof(u32))

static int serve(struct plain_vm *vm, struct plain_run *run, unsigned long addr, bool write)
{
	unsigned long end;
	u64 began = ktime_get_ns();
	int ret;

	ret = plain_serve(vm, addr, run->flags | (write ? PLAIN_WRITE : 0), &end);
	run->worst_ns = max(run->worst_ns, ktime_get_ns() - began);
	run->faults++;
	return ret;
}

/* An access to a page, as often as it faults. */
static int on_page(struct plain_vm *vm, struct plain_run *run, unsigned long addr, bool write,
		   void (*access)(u32 *page, void *arg), void *arg)
{
	struct drm_gpusvm_notifier *window;
	void *page;
	int ret;

	while (!fatal_signal_pending(current)) {
		window = plain_lock_table(vm);
		page = plain_see(vm, addr, write);
		if (page)
			access(page, arg);
		plain_unlock_table(vm, window);
		if (page)
			return 0;
		ret = serve(vm, run, addr, write);
		if (ret)
			return ret;
	}
	return -EINTR;
}

/* SAXPY ---------------------------------------------------------------------------------- */

/* A page of x, on its way to y. */
struct vector {
	u32 word[WORDS];
	u32 factor;
};

static void load(u32 *page, void *arg)
{
	struct vector *vector = arg;

	memcpy(vector->word, page, PAGE_SIZE);
}

static void add(u32 *page, void *arg)
{
	const struct vector *vector = arg;
	unsigned int i;

	for (i = 0; i < WORDS; i++)
		page[i] += vector->factor * vector->word[i];
}

static int saxpy(struct plain_vm *vm, struct plain_run *run)
{
	struct vector *vector = kmalloc(sizeof(*vector), GFP_KERNEL);
	unsigned long i;
	int ret = 0;

	if (!vector)
		return -ENOMEM;
	vector->factor = run->factor;
	for (i = 0; !ret && i < run->bytes; i += PAGE_SIZE)
		ret = on_page(vm, run, run->x + i, false, load, vector) ?:
		      on_page(vm, run, run->y + i, true, add, vector);
	kfree(vector);
	return ret;
}

/* A pointer chase ------------------------------------------------------------------------ */

static void step(u32 *page, void *arg)
{
	u64 *at = arg;

	*at = page[0];
	page[1]++;
}

static int chase(struct plain_vm *vm, struct plain_run *run)
{
	u64 npages = run->bytes >> PAGE_SHIFT;
	u32 left;
	int ret = 0;

	for (left = run->factor; !ret && left; left--) {
		if (run->at >= npages)
			return -ERANGE;
		ret = on_page(vm, run, run->x + (run->at << PAGE_SHIFT), true, step, &run->at);
	}
	return ret;
}

int plain_run(struct plain_vm *vm, struct plain_run *run)
{
	bool has_y = run->program == PLAIN_SAXPY;
	u64 began;
	int ret;

	if (!plain_is_inside(vm, run->x, run->bytes) ||
	    (has_y && !plain_is_inside(vm, run->y, run->bytes)) || run->program > PLAIN_CHASE)
		return -EINVAL;

	run->worst_ns = 0;
	run->faults = 0;
	began = ktime_get_ns();
	ret = has_y ? saxpy(vm, run) : chase(vm, run);
	run->ns = ktime_get_ns() - began;
	run->error = -ret;
	return 0;
}
