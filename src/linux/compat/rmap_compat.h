/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * linux/rmap.h, as it differs between kernels.
 */
#ifndef DSVM_RMAP_COMPAT_H
#define DSVM_RMAP_COMPAT_H

#include <linux/err.h>
#include <linux/mm.h>
#include <linux/rmap.h>

/*
 * 2026-11: 6.15 gave make_device_exclusive_range() one page at a time, and another name.
 * The page comes locked and with a reference; the caller holds the mmap lock.
 */
static inline struct page *compat_make_device_exclusive(struct mm_struct *mm, unsigned long addr,
							void *owner)
{
#if !IS_ENABLED(CONFIG_DEVICE_PRIVATE)
	return ERR_PTR(-EOPNOTSUPP);
#elif defined(HAVE_MAKE_DEVICE_EXCLUSIVE)
	struct folio *folio;

	return make_device_exclusive(mm, addr, owner, &folio);
#else
	struct page *page = NULL;
	int ret = make_device_exclusive_range(mm, addr, addr + PAGE_SIZE, &page, owner);

	if (ret < 0)
		return ERR_PTR(ret);
	return page ?: ERR_PTR(-EBUSY);
#endif
}

#endif /* DSVM_RMAP_COMPAT_H */
