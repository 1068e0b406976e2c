// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * drm/drm_svm.h: a dump of a mirror.
 */
#include <linux/export.h>
#include <linux/kref.h>
#include <linux/seq_file.h>

#include <drm/drm_device.h>
#include <drm/drm_pagemap.h>
#include <drm/drm_svm.h>

#include "gpusvm_internal.h"

static void show_counters(struct seq_file *m, const struct drm_gpusvm *gpusvm)
{
	struct drm_svm_counters c;

	drm_svm_read_counters(gpusvm, &c);
	seq_printf(m, "faults:        %llu, %llu lost races\n", c.faults, c.lost_races);
	seq_printf(m, "windows:       %llu made\n", c.windows_made);
	seq_printf(m, "ranges:        %llu made, %llu removed, %llu split, %llu trimmed\n",
		   c.ranges_made, c.ranges_removed, c.ranges_split, c.ranges_trimmed);
	seq_printf(m, "invalidations: %llu, of %llu ranges\n",
		   c.invalidations, c.ranges_invalidated);
	seq_printf(m, "collections:   %llu in %llu ns, %llu retries, %llu failures\n",
		   c.collections, c.collection_ns, c.collection_retries, c.collection_failures);
	seq_printf(m, "pages mapped:  %llu\n", c.pages_mapped);
}

/* Entries are all there as long as the pages are valid. */
static unsigned long count_entries(const struct drm_gpusvm_pages *pages, unsigned long npages)
{
	unsigned long done = 0;
	unsigned long count;

	for (count = 0; done < npages; count++)
		done += 1ul << pages->dma_addr[count].order;
	return count;
}

static void show_pages(struct seq_file *m, unsigned int index,
		       const struct drm_gpusvm_pages *pages, unsigned long npages)
{
	const struct drm_gpusvm_pages_flags flags = { .__flags = READ_ONCE(pages->flags.__flags) };

	seq_printf(m, "    pages %u:", index);
	if (!flags.has_dma_mapping)
		seq_puts(m, " not mapped");
	else if (dsvm_svm_pages_valid(&pages->core))
		seq_printf(m, " mapped in %lu entries", count_entries(pages, npages));
	else
		seq_puts(m, " mapped, not valid");
	if (flags.writable)
		seq_puts(m, " writable");
	if (flags.has_devmem_pages)
		seq_puts(m, " device");
	if (flags.stale)
		seq_puts(m, " stale");
	if (flags.unmapped)
		seq_puts(m, " unmapped");
	seq_putc(m, '\n');
}

static void show_all_pages(struct seq_file *m, struct drm_gpusvm_range *range)
{
	struct drm_gpusvm_pages *pages;
	unsigned int count = 0;
	unsigned int i;

	if (!range->gpusvm->ops->range_pages)
		return;

	pages = range->gpusvm->ops->range_pages(range, &count);
	for (i = 0; i < count; i++)
		show_pages(m, i, &pages[i], drm_gpusvm_range_size(range) >> PAGE_SHIFT);
}

static void show_range(struct seq_file *m, struct drm_gpusvm_range *range)
{
	const struct drm_gpusvm_range_flags flags = { .__flags = READ_ONCE(range->flags.__flags) };

	seq_printf(m, "  range 0x%016lx - 0x%016lx refs %u seq %lu",
		   range->itree.start, range->itree.last, kref_read(&range->refcount),
		   READ_ONCE(range->validity.invalidate_seq));
	if (flags.migrate_devmem)
		seq_puts(m, " migrates");
	if (flags.unmapped)
		seq_puts(m, " unmapped");
	if (range->core.gone_first <= range->core.gone_last)
		seq_printf(m, " gone 0x%lx - 0x%lx", range->core.gone_first, range->core.gone_last);
	else if (flags.partial_unmap)
		seq_puts(m, " partly");
	seq_putc(m, '\n');
	show_all_pages(m, range);
}

static void show_window(struct seq_file *m, struct drm_gpusvm_notifier *notifier)
{
	struct drm_gpusvm_range *range;

	seq_printf(m, "window 0x%016lx - 0x%016lx users %u unfinished %u\n",
		   notifier->itree.start, notifier->itree.last,
		   READ_ONCE(notifier->core.users), notifier->core.unfinished);
	list_for_each_entry(range, &notifier->range_list, entry) {
		/* The caller comes back with more room. */
		if (seq_has_overflowed(m))
			return;
		show_range(m, range);
	}
}

/**
 * drm_svm_debugfs_gpusvm_info() - Prints what is mirrored, and how it went
 * @m: where to
 * @gpusvm: the GPU SVM
 *
 * For a file in debugfs. An end is the last byte. With
 * &drm_gpusvm_ops.range_pages also the state of the pages behind each range.
 *
 * Context: Takes the notifier lock and each window's, all for writing; sleeps.
 */
void drm_svm_debugfs_gpusvm_info(struct seq_file *m, struct drm_gpusvm *gpusvm)
{
	struct drm_gpusvm_notifier *notifier;

	seq_printf(m, "GPU SVM %s\n", gpusvm->name);
	show_counters(m, gpusvm);

	/*
	 * For writing, because collections put their pages in under the same locks for
	 * reading. Printing does not sleep: seq_file has its memory already.
	 */
	down_write(&gpusvm->notifier_lock);
	list_for_each_entry(notifier, &gpusvm->notifier_list, entry) {
		if (has_window_locks(gpusvm))
			down_write(&notifier->lock);
		show_window(m, notifier);
		if (has_window_locks(gpusvm))
			up_write(&notifier->lock);
	}
	up_write(&gpusvm->notifier_lock);
}
EXPORT_SYMBOL_GPL(drm_svm_debugfs_gpusvm_info);
