/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * linux/memremap.h, as it differs between kernels.
 */
#ifndef DSVM_MEMREMAP_COMPAT_H
#define DSVM_MEMREMAP_COMPAT_H

#include <linux/memremap.h>
#include <linux/mm.h>

/*
 * 2026-11: 6.15 moved the pgmap of a page into its folio. What was the first page of one
 * may become another one's tail while we look, which has an odd number there.
 */
static inline struct dev_pagemap *compat_page_pgmap(const struct page *page)
{
#ifdef HAVE_PAGE_PGMAP
	struct dev_pagemap *pgmap;

	do {
		pgmap = READ_ONCE(page_folio(page)->pgmap);
	} while ((unsigned long)pgmap & 1);
	return pgmap;
#else
	return page->pgmap;
#endif
}

/*
 * 2026-11: a device folio in use, locked and with one reference. 7.3 keeps the
 * pgmap in a page that is free no longer, so it wants it again, and an order.
 * Before, all of them are of order 0.
 */
static inline void compat_zone_device_page_init(struct page *page, struct dev_pagemap *pgmap,
						unsigned int order)
{
#ifdef HAVE_ZDPI_PGMAP
	zone_device_folio_init((struct folio *)page, pgmap, order);
#else
	zone_device_page_init(page);
#endif
}

/*
 * 2026-11: 6.19 replaced page_free by folio_free. Defines the dev_pagemap_ops
 * field and the function for it; @fn takes the first page and how many there are.
 */
#ifdef HAVE_PGMAP_FOLIO_FREE
#define COMPAT_DEFINE_PAGE_FREE(name, fn)			\
	static void name(struct folio *folio)			\
	{							\
		fn(folio_page(folio, 0), folio_nr_pages(folio)); \
	}
#define COMPAT_PAGE_FREE folio_free
#else
#define COMPAT_DEFINE_PAGE_FREE(name, fn)			\
	static void name(struct page *page)			\
	{							\
		fn(page, 1);					\
	}
#define COMPAT_PAGE_FREE page_free
#endif

/*
 * 2026-11: 6.19 splits device folios, and leaves to their owner what a new one has
 * to be told; once it is all done it says so with no new one. Defines the function
 * and an element of the initialiser of dev_pagemap_ops; @fn takes the first pages.
 */
#ifdef HAVE_PGMAP_FOLIO_SPLIT
#define COMPAT_DEFINE_FOLIO_SPLIT(name, fn)				\
	static void name(struct folio *folio, struct folio *fresh)	\
	{								\
		if (fresh) {						\
			fresh->pgmap = folio->pgmap;			\
			fn(folio_page(folio, 0), folio_page(fresh, 0));	\
		}							\
	}
#define COMPAT_FOLIO_SPLIT(name) .folio_split = (name),
#else
#define COMPAT_DEFINE_FOLIO_SPLIT(name, fn)				\
	static void __maybe_unused name(struct page *page, struct page *fresh)	\
	{								\
		fn(page, fresh);					\
	}
#define COMPAT_FOLIO_SPLIT(name)
#endif

#endif /* DSVM_MEMREMAP_COMPAT_H */
