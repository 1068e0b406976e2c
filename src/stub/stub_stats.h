/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * What the copy engine has done for a process. By process, because it is a
 * process that populate_mm moves memory of: whose VM asked for it is not known
 * there.
 */
#ifndef STUB_STATS_H
#define STUB_STATS_H

#include <linux/atomic.h>
#include <linux/kref.h>
#include <linux/list.h>
#include <linux/spinlock.h>

struct mm_struct;

/**
 * struct stub_stats_table - Of all processes
 * @lock: guards @list and the last reference to an entry
 * @list: &struct stub_stats
 */
struct stub_stats_table {
	spinlock_t lock;
	struct list_head list;
};

/**
 * struct stub_stats - Of one process
 * @ref: references of its VMs and of its memory in VRAM
 * @table: what it is in; immutable
 * @link: entry in &stub_stats_table.list
 * @mm: the process; held, so that no other can have this address
 * @pages_to_vram: pages copied or cleared into VRAM
 * @pages_to_ram: pages copied back
 */
struct stub_stats {
	struct kref ref;
	struct stub_stats_table *table;
	struct list_head link;
	struct mm_struct *mm;
	atomic64_t pages_to_vram;
	atomic64_t pages_to_ram;
};

void stub_stats_init(struct stub_stats_table *table);
struct stub_stats *stub_stats_find(struct stub_stats_table *table, struct mm_struct *mm);
struct stub_stats *stub_stats_get(struct stub_stats_table *table, struct mm_struct *mm);
void stub_stats_put(struct stub_stats *stats);

#endif /* STUB_STATS_H */
