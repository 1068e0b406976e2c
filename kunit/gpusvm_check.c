// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * See gpusvm_fixture.h: what a mirror has to look like, at any time and at rest.
 */
#include <linux/sched.h>

#include "gpusvm_fixture.h"

/* Whether each window is to be locked by itself. */
static bool has_window_locks(struct sx_mirror *m)
{
	return m->config.features & DRM_SVM_WINDOW_LOCKS;
}

/* The span of the area that [start, end) covers, in bytes from its start. */
static void clip(struct sx_mirror *m, unsigned long start, unsigned long end,
		 unsigned long *first, unsigned long *after)
{
	unsigned long area = m->fixture->start;

	*first = clamp(start, area, area + SX_AREA) - area;
	*after = clamp(end, area, area + SX_AREA) - area;
}

/* Entries where there may be none. */
static unsigned int count_entries(struct sx_mirror *m, unsigned long start, unsigned long end)
{
	unsigned long offset, first, after;
	unsigned int i, count = 0;

	clip(m, start, end, &first, &after);
	for (i = 0; i < m->config.devices; i++)
		for (offset = first; offset < after; offset += PAGE_SIZE)
			count += !!sx_entry(m, i, m->fixture->start + offset);
	return count;
}

/* Entries that differ from what the range's pages say, if there are any. */
static unsigned int count_wrong_entries(struct sx_mirror *m, struct drm_gpusvm_range *range,
					unsigned int device)
{
	const struct drm_pagemap_addr *run = to_sx_range(range)->pages[device].dma_addr;
	unsigned long offset, first, after, i = 0;
	unsigned int count = 0;
	u64 entry;

	clip(m, drm_gpusvm_range_start(range), drm_gpusvm_range_end(range), &first, &after);
	for (offset = first; offset < after; offset += PAGE_SIZE) {
		entry = sx_entry(m, device, m->fixture->start + offset);
		if (entry)
			count += (entry & PAGE_MASK) != run->addr + i * PAGE_SIZE ||
				 !!(entry & SX_ENTRY_WRITABLE) != (run->dir == DMA_BIDIRECTIONAL);
		if (++i == 1ul << run->order) {
			i = 0;
			run++;
		}
	}
	/* The last run ends where the range does. */
	return count + (i != 0);
}

static unsigned int count_range_errors(struct sx_mirror *m, struct drm_gpusvm_range *range)
{
	unsigned int i, count = 0;

	/* What is left of it is bound, and its pages say nothing until it is trimmed. */
	if (range->flags.unmapped)
		return 0;

	if (!sx_is_valid(m, range))
		return count_entries(m, drm_gpusvm_range_start(range), drm_gpusvm_range_end(range));
	for (i = 0; i < m->config.devices; i++)
		count += count_wrong_entries(m, range, i);
	return count;
}

/* Whoever looks for an address of a range finds it, and nobody finds it elsewhere. */
static unsigned int count_wrong_finds(struct drm_gpusvm_range *range, unsigned long before)
{
	struct drm_gpusvm_notifier *notifier = range->notifier;
	unsigned long start = drm_gpusvm_range_start(range);
	unsigned long end = drm_gpusvm_range_end(range);
	unsigned int count = 0;

	count += drm_gpusvm_range_find(notifier, start, start + 1) != range;
	count += drm_gpusvm_range_find(notifier, end - 1, end) != range;
	count += drm_gpusvm_range_find(notifier, before, end) != range;
	count += before < start && drm_gpusvm_range_find(notifier, before, start);
	return count;
}

/* With the window's lock, for writing: nobody binds meanwhile. */
static unsigned int count_window_errors(struct sx_mirror *m, struct drm_gpusvm_notifier *notifier)
{
	unsigned long at = drm_gpusvm_notifier_start(notifier);
	struct drm_gpusvm_range *range = NULL;
	unsigned int count = 0;

	drm_gpusvm_for_each_range(range, notifier, at, drm_gpusvm_notifier_end(notifier)) {
		count += drm_gpusvm_range_start(range) < at;
		count += drm_gpusvm_range_end(range) <= drm_gpusvm_range_start(range);
		count += drm_gpusvm_range_end(range) > drm_gpusvm_notifier_end(notifier);
		count += range->notifier != notifier;
		count += range->flags.removed;
		count += count_wrong_finds(range, at);
		count += count_entries(m, at, drm_gpusvm_range_start(range));
		count += count_range_errors(m, range);
		at = drm_gpusvm_range_end(range);
	}
	return count + count_entries(m, at, drm_gpusvm_notifier_end(notifier));
}

unsigned int sx_count_errors(struct sx_mirror *m)
{
	struct drm_gpusvm_notifier *notifier;
	unsigned long at = m->fixture->start;
	unsigned int count = 0;

	if (has_window_locks(m))
		down_read(&m->base.notifier_lock);
	else
		down_write(&m->base.notifier_lock);

	drm_gpusvm_for_each_notifier(notifier, &m->base, 0, TASK_SIZE) {
		if (has_window_locks(m))
			down_write(&notifier->lock);
		count += drm_gpusvm_notifier_start(notifier) < at && at != m->fixture->start;
		count += drm_gpusvm_notifier_find(&m->base, drm_gpusvm_notifier_end(notifier) - 1,
						  drm_gpusvm_notifier_end(notifier)) != notifier;
		count += count_entries(m, at, drm_gpusvm_notifier_start(notifier));
		count += count_window_errors(m, notifier);
		at = max(at, drm_gpusvm_notifier_end(notifier));
		if (has_window_locks(m))
			up_write(&notifier->lock);
	}
	count += count_entries(m, at, m->fixture->start + SX_AREA);

	if (has_window_locks(m))
		up_read(&m->base.notifier_lock);
	else
		up_write(&m->base.notifier_lock);
	return count;
}

void sx_check(struct kunit *test, struct sx_mirror *m)
{
	unsigned long addr = m->fixture->start;
	unsigned int i;

	KUNIT_ASSERT_EQ(test, sx_count_errors(m), 0);
	for (; addr < m->fixture->start + SX_AREA; addr += PAGE_SIZE)
		for (i = 0; i < m->config.devices; i++)
			if (sx_entry(m, i, addr))
				KUNIT_ASSERT_EQ_MSG(test, sx_entry_phys(m, i, addr), sx_phys(test, addr),
						    "device %u, byte %#lx of the area", i,
						    addr - m->fixture->start);
}

static void expect_entries(struct kunit *test, struct sx_mirror *m, unsigned long addr,
			   unsigned long bytes, bool present)
{
	unsigned long offset;
	unsigned int i;

	for (i = 0; i < m->config.devices; i++)
		for (offset = 0; offset < bytes; offset += PAGE_SIZE)
			KUNIT_EXPECT_EQ_MSG(test, !!sx_entry(m, i, addr + offset), present,
					    "device %u, byte %#lx of the area", i,
					    addr + offset - m->fixture->start);
}

void sx_expect_bound(struct kunit *test, struct sx_mirror *m, unsigned long addr,
		     unsigned long bytes)
{
	expect_entries(test, m, addr, bytes, true);
}

void sx_expect_unbound(struct kunit *test, struct sx_mirror *m, unsigned long addr,
		       unsigned long bytes)
{
	expect_entries(test, m, addr, bytes, false);
}
