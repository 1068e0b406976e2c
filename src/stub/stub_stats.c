// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Counters of a process that live as long as anything counts in them.
 */
#include <linux/sched/mm.h>
#include <linux/slab.h>

#include "stub_stats.h"

/**
 * stub_stats_init() - Makes an empty table
 * @table: the table
 */
void stub_stats_init(struct stub_stats_table *table)
{
	spin_lock_init(&table->lock);
	INIT_LIST_HEAD(&table->list);
}

/* The entry of a process that has one, with a reference. */
static struct stub_stats *stub_stats_find_locked(struct stub_stats_table *table,
						 struct mm_struct *mm)
{
	struct stub_stats *stats;

	lockdep_assert_held(&table->lock);
	list_for_each_entry(stats, &table->list, link) {
		if (stats->mm == mm) {
			kref_get(&stats->ref);
			return stats;
		}
	}

	return NULL;
}

/**
 * stub_stats_find() - The statistics of a process that has some
 * @table: the table
 * @mm: the process
 *
 * Return: a reference, or NULL.
 */
struct stub_stats *stub_stats_find(struct stub_stats_table *table, struct mm_struct *mm)
{
	struct stub_stats *stats;

	spin_lock(&table->lock);
	stats = stub_stats_find_locked(table, mm);
	spin_unlock(&table->lock);

	return stats;
}

/**
 * stub_stats_get() - The statistics of a process, made if it has none
 * @table: the table
 * @mm: the process; alive, as far as its struct goes
 *
 * Context: may sleep.
 * Return: a reference, or NULL if there is no memory.
 */
struct stub_stats *stub_stats_get(struct stub_stats_table *table, struct mm_struct *mm)
{
	struct stub_stats *fresh, *stats;

	fresh = kzalloc(sizeof(*fresh), GFP_KERNEL_ACCOUNT);
	if (!fresh)
		return NULL;

	spin_lock(&table->lock);
	stats = stub_stats_find_locked(table, mm);
	if (!stats) {
		kref_init(&fresh->ref);
		fresh->table = table;
		fresh->mm = mm;
		mmgrab(mm);
		list_add(&fresh->link, &table->list);
	}
	spin_unlock(&table->lock);

	if (!stats)
		return fresh;
	kfree(fresh);

	return stats;
}

static void stub_stats_free(struct kref *ref)
{
	struct stub_stats *stats = container_of(ref, struct stub_stats, ref);

	list_del(&stats->link);
	spin_unlock(&stats->table->lock);

	mmdrop(stats->mm);
	kfree(stats);
}

/**
 * stub_stats_put() - Drops a reference
 * @stats: the statistics, or NULL
 */
void stub_stats_put(struct stub_stats *stats)
{
	if (stats)
		kref_put_lock(&stats->ref, stub_stats_free, &stats->table->lock);
}
