// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * drm_svm/os.h: the kernel's migration phases.
 */
#include <linux/bitops.h>
#include <linux/gfp.h>
#include <linux/mm.h>
#include <linux/pagemap.h>

#include <drm/drm_pagemap.h>

#include "compat/memremap_compat.h"
#include "compat/migrate_compat.h"
#include "drm_svm/os.h"
#include "internal.h"

/* The kernel's struct for a span; it keeps nothing in it from phase to phase. */
static struct migrate_vma to_migrate_vma(const struct dsvm_migrate_span *span)
{
	return (struct migrate_vma) {
		.vma = to_vma(span->vma),
		.src = span->src,
		.dst = span->dst,
		.npages = span->npages,
		.start = span->first,
		.end = span->last + 1,
		.pgmap_owner = span->owner,
		.flags = (span->select & DSVM_MIGRATE_SYSTEM ? MIGRATE_VMA_SELECT_SYSTEM : 0) |
			 (span->select & DSVM_MIGRATE_DEVICE ?
			  MIGRATE_VMA_SELECT_DEVICE_PRIVATE : 0),
		.fault_page = to_page(span->fault_page),
	};
}

int dsvm_os_migrate_setup(struct dsvm_migrate_span *span)
{
	struct migrate_vma args = to_migrate_vma(span);

	return migrate_vma_setup(&args);
}

void dsvm_os_migrate_pages(struct dsvm_migrate_span *span)
{
	struct migrate_vma args = to_migrate_vma(span);

	migrate_vma_pages(&args);
}

void dsvm_os_migrate_finalize(struct dsvm_migrate_span *span)
{
	struct migrate_vma args = to_migrate_vma(span);

	migrate_vma_finalize(&args);
}

int dsvm_os_migrate_device_setup(struct dsvm_migrate_span *span)
{
	return compat_migrate_device_pfns(span->src, span->npages);
}

void dsvm_os_migrate_device_pages(struct dsvm_migrate_span *span)
{
	migrate_device_pages(span->src, span->dst, span->npages);
}

void dsvm_os_migrate_device_finalize(struct dsvm_migrate_span *span)
{
	migrate_device_finalize(span->src, span->dst, span->npages);
}

void dsvm_os_migrate_decode(dsvm_usize src, struct dsvm_migrate_entry *out)
{
	struct page *page = migrate_pfn_to_page(src);
	struct drm_pagemap_zdd *zdd = page ? dsvm_page_zdd(page) : NULL;

	*out = (struct dsvm_migrate_entry) {
		.page = os_page(page),
		.zdd = os_zdd(zdd),
		.provider = zdd ? os_provider(zdd->dpagemap) : NULL,
		.is_ram = page && !is_zone_device_page(page),
		.retired = zdd && dsvm_page_is_retired(page),
		.moves = !!(src & MIGRATE_PFN_MIGRATE),
	};
}

dsvm_usize dsvm_os_migrate_encode(struct dsvm_os_page *page)
{
	return migrate_pfn(page_to_pfn(to_page(page)));
}

struct dsvm_os_page *dsvm_os_migrate_dst_page(dsvm_usize dst)
{
	return os_page(migrate_pfn_to_page(dst));
}

struct dsvm_os_page *dsvm_os_page_alloc(struct dsvm_os_vma *vma, dsvm_usize addr)
{
	struct page *page = vma ? alloc_page_vma(GFP_HIGHUSER_MOVABLE, to_vma(vma), addr) :
				  alloc_page(GFP_HIGHUSER_MOVABLE);

	if (page)
		lock_page(page);
	return os_page(page);
}

struct dsvm_os_page *dsvm_os_page_init_device(dsvm_usize pfn, struct dsvm_os_zdd *handle)
{
	struct drm_pagemap_zdd *zdd = dsvm_zdd_get(to_zdd(handle));
	struct page *page = pfn_to_page(pfn);

	compat_zone_device_page_init(page, zdd->dpagemap->pagemap);
	page->zone_device_data = zdd;	/* and not retired */
	return os_page(page);
}

void dsvm_os_page_discard(struct dsvm_os_page *page)
{
	unlock_page(to_page(page));
	put_page(to_page(page));
}

void dsvm_os_page_retire(struct dsvm_os_page *page)
{
	dsvm_page_retire(to_page(page));
}

dsvm_bool dsvm_os_zdd_enter(struct dsvm_os_zdd *zdd)
{
	return !test_and_set_bit_lock(DSVM_ZDD_FAULT, &to_zdd(zdd)->flags);
}

void dsvm_os_zdd_leave(struct dsvm_os_zdd *zdd)
{
	clear_bit_unlock(DSVM_ZDD_FAULT, &to_zdd(zdd)->flags);
}
