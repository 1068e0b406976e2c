/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * linux/migrate.h, as it differs between kernels.
 */
#ifndef DSVM_MIGRATE_COMPAT_H
#define DSVM_MIGRATE_COMPAT_H

#include <linux/migrate.h>
#include <linux/mm.h>

/* 2026-11: 6.15 added migrate_device_pfns(); before, one frame at a time. */
static inline int compat_migrate_device_pfns(unsigned long *src_pfns, unsigned long npages)
{
#ifdef HAVE_MIGRATE_DEVICE_PFNS
	return migrate_device_pfns(src_pfns, npages);
#else
	unsigned long i;

	for (i = 0; i < npages; i++) {
		int ret = migrate_device_range(&src_pfns[i], src_pfns[i], 1);

		if (ret)
			return ret;
	}
	return 0;
#endif
}

/*
 * 2026-11: 6.15, in the same series, locks the page of a fault before it calls
 * migrate_to_ram(), and unlocks it afterwards.
 */
#ifdef HAVE_MIGRATE_DEVICE_PFNS
#define COMPAT_FAULT_PAGE_LOCKED true
#else
#define COMPAT_FAULT_PAGE_LOCKED false
#endif

/*
 * 2026-11: 6.19 moves huge pages whole, on architectures that have an entry for one that
 * is on its way. A flag in the encoding tells them; before, no entry has it. It also
 * splits what is mapped page by page; before, it passes that over.
 */
#ifdef MIGRATE_PFN_COMPOUND
#define COMPAT_SELECT_COMPOUND MIGRATE_VMA_SELECT_COMPOUND
#define COMPAT_PFN_COMPOUND MIGRATE_PFN_COMPOUND
#define COMPAT_SPLITS_LARGE true

static inline unsigned int compat_migrate_huge_order(void)
{
	return thp_migration_supported() ? HPAGE_PMD_ORDER : 0;
}
#else
#define COMPAT_SELECT_COMPOUND 0
#define COMPAT_PFN_COMPOUND 0ul
#define COMPAT_SPLITS_LARGE false

static inline unsigned int compat_migrate_huge_order(void)
{
	return 0;
}
#endif

#endif /* DSVM_MIGRATE_COMPAT_H */
