// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * drm/drm_svm_pagemap.h: what goes on in a provider, and where the pages of an
 * address space are.
 */
#include <linux/export.h>
#include <linux/mm.h>
#include <linux/mmu_notifier.h>
#include <linux/seq_file.h>

#include <drm/drm_device.h>
#include <drm/drm_svm.h>

#include "drm_svm/os.h"
#include "pagemap_internal.h"

static const char *const way_names[] = {
	[DSVM_WAY_TO_DEVICE] = "to device",
	[DSVM_WAY_CPU_FAULT] = "CPU fault",
	[DSVM_WAY_EVICT] = "evict",
};
static_assert(ARRAY_SIZE(way_names) == DSVM_WAYS);

static const char *const size_names[] = { "< 64 KiB", "< 2 MiB", "2 MiB" };
static_assert(ARRAY_SIZE(size_names) == DSVM_SIZES);

static void show_phases(struct seq_file *m, const char *way, const char *size,
			const struct dsvm_phase_counters *c)
{
	if (!c->batches)
		return;

	seq_printf(m, "%-10s %-9s %10llu %14llu %10llu %10llu %10llu %10llu\n", way, size,
		   c->batches, c->bytes, c->setup_ns / NSEC_PER_USEC, c->map_ns / NSEC_PER_USEC,
		   c->copy_ns / NSEC_PER_USEC, c->finalize_ns / NSEC_PER_USEC);
}

static void show_counters(struct seq_file *m, const struct dsvm_migrate_counters *c)
{
	unsigned int way, size;

	seq_printf(m, "%-10s %-9s %10s %14s %10s %10s %10s %10s\n", "way", "size", "batches",
		   "bytes", "setup us", "map us", "copy us", "final us");
	for (way = 0; way < DSVM_WAYS; way++)
		for (size = 0; size < DSVM_SIZES; size++)
			show_phases(m, way_names[way], size_names[size], &c->phase[way][size]);

	seq_printf(m, "huge pages:  %llu moved whole, %llu split\n", c->huge_moved, c->huge_split);
	seq_printf(m, "pages:       %llu from other devices, %llu stayed\n", c->from_device,
		   c->stayed);
	seq_printf(m, "CPU faults:  %llu waited, %llu races, %llu without memory, %llu lost\n",
		   c->timeslice_waits, c->fault_races, c->fault_oom, c->fault_lost);
}

static void show_allocations(struct seq_file *m, struct drm_pagemap_dev_hold *hold)
{
	unsigned long count = 0, bytes = 0;
	struct drm_pagemap_zdd *zdd;

	spin_lock_irq(&hold->lock);
	list_for_each_entry(zdd, &hold->zdds, link) {
		count++;
		bytes += zdd->core.size;
	}
	spin_unlock_irq(&hold->lock);
	seq_printf(m, "allocations: %lu in use, made for %lu bytes\n", count, bytes);
}

/**
 * drm_svm_debugfs_pagemap_info() - Prints what goes on in a provider
 * @m: where to
 * @dpagemap: the provider; the caller has a reference
 *
 * For a file in debugfs.
 *
 * Context: May sleep.
 */
void drm_svm_debugfs_pagemap_info(struct seq_file *m, struct drm_pagemap *dpagemap)
{
	struct drm_pagemap_dev_hold *hold = dpagemap->dev_hold;
	struct dsvm_migrate_counters counters;

	drm_svm_pagemap_counters(dpagemap, &counters);
	seq_printf(m, "pagemap %s: references %u%s\n", hold->drm->unique,
		   kref_read(&dpagemap->ref), READ_ONCE(hold->unplugged) ? ", unplugged" : "");
	show_allocations(m, hold);
	show_counters(m, &counters);
}
EXPORT_SYMBOL_GPL(drm_svm_debugfs_pagemap_info);

static dsvm_bool show_vma(void *ctx, const struct dsvm_vma_info *vma)
{
	struct seq_file *m = ctx;

	seq_printf(m, "%lx-%lx %c%c%s\n", vma->first, vma->last + 1, vma->readable ? 'r' : '-',
		   vma->writable ? 'w' : '-', vma->anonymous ? " anonymous" : "");
	/* After an overflow the caller comes back with more room. */
	return !seq_has_overflowed(m);
}

static dsvm_bool show_run(void *ctx, const struct dsvm_residency_run *run)
{
	const unsigned long end = run->first + (run->npages << PAGE_SHIFT);
	struct seq_file *m = ctx;
	char name[32] = "RAM";

	if (run->kind == DSVM_PAGE_NONE)
		strscpy(name, "none", sizeof(name));
	else if (run->kind == DSVM_PAGE_DEVICE)
		dsvm_pagemap_name(run->pagemap, name, sizeof(name));
	seq_printf(m, "  %lx-%lx %lu %s", run->first, end, run->npages, name);
	if (run->order)
		seq_printf(m, " order %u", run->order);
	seq_putc(m, '\n');
	return !seq_has_overflowed(m);
}

/**
 * drm_svm_debugfs_residency() - Prints where the pages of an address space are
 * @m: where to
 * @mm: the address space
 *
 * For a file in debugfs: a line for each VMA, and one for each run of pages in
 * it with the first address and the one behind it, their number, and where they
 * are: "none", "RAM", or the device's name; with the order of the page-table
 * entries that map them, if that is above 0. A look, no promise: pages may move
 * while it is taken.
 *
 * Context: Takes the mmap_lock for reading, for a first notifier in a process
 * for writing; sleeps.
 *
 * Return: 0; -EFAULT: the address space has gone; -ENOMEM; -EINTR: the caller is
 * being killed, or a signal came at the first look at a process; -EBUSY: HMM could
 * not look.
 */
int drm_svm_debugfs_residency(struct seq_file *m, struct mm_struct *mm)
{
	const struct dsvm_residency_visitor visitor = {
		.ctx = m,
		.vma = show_vma,
		.run = show_run,
	};
	struct mmu_interval_notifier stand_in;
	int ret = dsvm_look_begin(&stand_in, mm);

	if (ret)
		return ret;

	ret = dsvm_svm_walk_residency(os_mm(mm), os_notifier(&stand_in), 0,
				      PAGE_ALIGN_DOWN(ULONG_MAX) - 1, &visitor);
	dsvm_look_end(mm);
	return ret;
}
EXPORT_SYMBOL_GPL(drm_svm_debugfs_residency);
