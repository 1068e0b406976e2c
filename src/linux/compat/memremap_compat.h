/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * linux/memremap.h, as it differs between kernels.
 */
#ifndef DSVM_MEMREMAP_COMPAT_H
#define DSVM_MEMREMAP_COMPAT_H

#include <linux/memremap.h>
#include <linux/mm.h>

/* 2026-11: 6.15 moved the pgmap of a page into its folio. */
static inline struct dev_pagemap *compat_page_pgmap(const struct page *page)
{
#ifdef HAVE_PAGE_PGMAP
	return page_pgmap(page);
#else
	return page->pgmap;
#endif
}

/*
 * 2026-11: a device page in use, locked and with one reference. 7.3 keeps the
 * pgmap in a page that is free no longer, so it wants it again, and an order.
 */
static inline void compat_zone_device_page_init(struct page *page, struct dev_pagemap *pgmap)
{
#ifdef HAVE_ZDPI_PGMAP
	zone_device_page_init(page, pgmap, 0);
#else
	zone_device_page_init(page);
#endif
}

/*
 * 2026-11: 6.19 replaced page_free by folio_free. Defines the dev_pagemap_ops
 * field and the function for it; @fn takes the first page.
 */
#ifdef HAVE_PGMAP_FOLIO_FREE
#define COMPAT_DEFINE_PAGE_FREE(name, fn)			\
	static void name(struct folio *folio)			\
	{							\
		fn(folio_page(folio, 0));			\
	}
#define COMPAT_PAGE_FREE folio_free
#else
#define COMPAT_DEFINE_PAGE_FREE(name, fn)			\
	static void name(struct page *page)			\
	{							\
		fn(page);					\
	}
#define COMPAT_PAGE_FREE page_free
#endif

#endif /* DSVM_MEMREMAP_COMPAT_H */
