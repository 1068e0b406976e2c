/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * linux/migrate.h, as it differs between kernels.
 */
#ifndef DSVM_MIGRATE_COMPAT_H
#define DSVM_MIGRATE_COMPAT_H

#include <linux/migrate.h>

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

#endif /* DSVM_MIGRATE_COMPAT_H */
