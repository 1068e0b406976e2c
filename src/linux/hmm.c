// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * drm_svm/os.h: collecting pages.
 */
#include <linux/fs.h>
#include <linux/jiffies.h>
#include <linux/magic.h>
#include <linux/math64.h>
#include <linux/mm.h>
#include <linux/pagemap.h>
#include <linux/pfn.h>
#include <linux/sched/mm.h>
#include <linux/swap.h>

#include <drm/drm_pagemap.h>

#include "compat/dma_mapping_compat.h"
#include "compat/hmm_compat.h"
#include "compat/memremap_compat.h"
#include "compat/migrate_compat.h"
#include "drm_svm/migrate.h"
#include "drm_svm/os.h"
#include "pagemap_internal.h"

static unsigned long hmm_flags(const struct dsvm_hmm_request *request)
{
	if (!request->fault)
		return 0;

	return HMM_PFN_REQ_FAULT | (request->write ? HMM_PFN_REQ_WRITE : 0);
}

/* In jiffies, at least what is asked for, and never 0, which would be for ever. */
static unsigned long to_timeout(u64 timeout_ns)
{
	return div_u64(timeout_ns, TICK_NSEC) + 1;
}

int dsvm_os_hmm_fault(struct dsvm_hmm_request *request)
{
	struct hmm_range range = {
		.notifier = to_notifier(request->notifier),
		.notifier_seq = request->seq,
		.start = request->first,
		.end = request->last + 1,
		.hmm_pfns = request->entries,
		.default_flags = hmm_flags(request),
		.dev_private_owner = request->owner,
	};
	int ret;

	if (request->mm_locked)
		ret = hmm_range_fault(&range);
	else
		ret = compat_hmm_range_fault(&range, to_mm(request->mm),
					     to_timeout(request->timeout_ns));
	request->seq = range.notifier_seq;
	if (!ret)
		compat_hmm_count_frames(&range);
	return ret;
}

int dsvm_os_hmm_fault_page(struct dsvm_os_mm *mm, struct dsvm_os_notifier *notifier,
			   dsvm_usize addr, void *owner, dsvm_bool write,
			   struct dsvm_hmm_page *out)
{
	struct hmm_range range DSVM_UNSET;
	int ret;

	if (!mmget_not_zero(to_mm(mm)))
		return -EFAULT;

	/* Field by field: as a whole it would be zeroed first, which takes longer than this. */
	range.notifier = to_notifier(notifier);
	range.notifier_seq = 0;
	range.start = addr;
	range.end = addr + PAGE_SIZE;
	range.hmm_pfns = &out->entry;
	range.default_flags = HMM_PFN_REQ_FAULT | (write ? HMM_PFN_REQ_WRITE : 0);
	range.pfn_flags_mask = 0;
	range.dev_private_owner = owner;
	out->entry = 0;
	ret = compat_hmm_range_fault_anew(&range, to_mm(mm), to_timeout(out->timeout_ns));
	mmput_async(to_mm(mm));
	out->seq = range.notifier_seq;
	if (!ret)
		compat_hmm_count_frames(&range);
	return ret;
}

enum dsvm_page_kind dsvm_os_hmm_kind(dsvm_usize entry)
{
	struct page *page;

	if (!(entry & HMM_PFN_VALID) || (entry & HMM_PFN_ERROR))
		return DSVM_PAGE_NONE;

	page = hmm_pfn_to_page(entry);
	if (!is_zone_device_page(page))
		return DSVM_PAGE_SYSTEM;
	return dsvm_page_is_ours(page) ? DSVM_PAGE_DEVICE : DSVM_PAGE_OTHER;
}

const void *dsvm_os_hmm_pagemap(dsvm_usize entry)
{
	struct page *page = hmm_pfn_to_page(entry);
	/* Asked once: the page may be given back in between. */
	struct dev_pagemap *pgmap = is_zone_device_page(page) ? compat_page_pgmap(page) : NULL;

	if (!pgmap)
		return NULL;
	return pgmap->type == MEMORY_DEVICE_PRIVATE || pgmap->type == MEMORY_DEVICE_COHERENT ?
	       pgmap : NULL;
}

dsvm_u32 dsvm_os_hmm_order(dsvm_usize entry)
{
	return hmm_pfn_to_map_order(entry);
}

/*
 * Memory of memfd_secret(2), which not even the kernel has mapped. GUP gives it to
 * nobody; HMM does not look.
 */
static bool is_secret(struct folio *folio)
{
	struct address_space *mapping = folio_mapping(folio);

	return mapping && mapping->host && mapping->host->i_sb->s_magic == SECRETMEM_MAGIC;
}

static noinline dsvm_u32 ram_of_file(struct folio *folio, dsvm_u32 ram)
{
	return is_secret(folio) ? 0 : ram;
}

/* A folio's flags, in one load: this is asked of every page. */
static unsigned long flags_of(struct folio *folio)
{
	return READ_ONCE(*folio_flags(folio, 0));
}

dsvm_u32 dsvm_os_hmm_ram(dsvm_usize entry)
{
	struct page *page = hmm_pfn_to_page(entry);
	struct folio *folio;
	unsigned long flags;
	dsvm_u32 ram;

	if ((entry & (HMM_PFN_VALID | HMM_PFN_ERROR)) != HMM_PFN_VALID ||
	    is_zone_device_page(page))
		return 0;

	folio = page_folio(page);
	flags = flags_of(folio);
	ram = DSVM_RAM_PRESENT | hmm_pfn_to_map_order(entry) << DSVM_RAM_ORDER;
	ram |= entry & HMM_PFN_WRITE ? DSVM_RAM_WRITABLE : 0;
	ram |= flags & BIT(PG_dirty) ? 0 : DSVM_RAM_CLEAN;
	if (!folio_test_anon(folio))
		return ram_of_file(folio, ram);
	/* Under MADV_FREE: reclaim drops it, unless somebody has written to it since. */
	return ram | (flags & BIT(PG_swapbacked) ? 0 : DSVM_RAM_DISCARDABLE);
}

struct dsvm_os_page *dsvm_os_hmm_page(dsvm_usize entry)
{
	return os_page(hmm_pfn_to_page(entry));
}

void dsvm_os_hmm_decode(dsvm_usize entry, struct dsvm_page_desc *out)
{
	const dsvm_u32 ram = dsvm_os_hmm_ram(entry);
	struct drm_pagemap_zdd *zdd;

	*out = (struct dsvm_page_desc) { .kind = dsvm_os_hmm_kind(entry) };
	if (out->kind == DSVM_PAGE_NONE)
		return;

	if (out->kind == DSVM_PAGE_SYSTEM && !ram)
		out->kind = DSVM_PAGE_OTHER;
	zdd = dsvm_page_zdd(hmm_pfn_to_page(entry));
	out->page = dsvm_os_hmm_page(entry);
	out->order = hmm_pfn_to_map_order(entry);
	out->writable = !!(entry & HMM_PFN_WRITE);
	out->discardable = !!(ram & DSVM_RAM_DISCARDABLE);
	out->zdd = os_zdd(zdd);
	out->provider = zdd ? os_provider(zdd->dpagemap) : NULL;
}

/* A file's own page became dirty when an entry of it became writable. */
static noinline void mark_dirty_elsewhere(struct folio *folio)
{
	if (folio_test_swapbacked(folio) || !folio_mapping(folio))
		folio_mark_dirty(folio);
}

/* Anonymous memory that is not in the swap cache has nobody else to be told. */
static void mark_dirty(struct folio *folio, unsigned long flags, bool anon)
{
	if (anon && !(flags & BIT(PG_swapcache)))
		folio_set_dirty(folio);
	else
		mark_dirty_elsewhere(folio);
}

static __always_inline void mark(struct folio *folio, unsigned long flags, bool anon,
				 dsvm_u32 marks)
{
	if (marks & DSVM_MARK_DIRTIED)
		mark_dirty(folio, flags, anon);
	if (marks & DSVM_MARK_ACCESSED)
		folio_mark_accessed(folio);
}

/* Made into a loop for each kind of memory and what is usual to mark: it is asked of every page. */
static __always_inline dsvm_usize mark_alike(const dsvm_usize *entries, dsvm_usize count,
					     dsvm_u32 marks, bool anon)
{
	/* The first one is no device's, nor is what is of its zone; few neighbours are of another. */
	const unsigned long asked = BIT(PG_dirty) | BIT(PG_swapbacked) |
				    (unsigned long)ZONES_MASK << ZONES_PGSHIFT;
	const unsigned long first = *entries;
	struct folio *folio = page_folio(hmm_pfn_to_page(first));
	unsigned long flags = flags_of(folio);
	const unsigned long as_first = flags;
	dsvm_usize i = 0;

	for (;;) {
		mark(folio, flags, anon, marks);
		if (++i == count || (entries[i] ^ first) & HMM_PFN_FLAGS)
			return i;
		folio = page_folio(hmm_pfn_to_page(entries[i]));
		flags = flags_of(folio);
		if ((flags ^ as_first) & asked || folio_test_anon(folio) != anon ||
		    (!anon && is_secret(folio)))
			return i;
	}
}

static noinline dsvm_usize mark_many(const dsvm_usize *entries, dsvm_usize count, dsvm_u32 marks)
{
	if (!folio_test_anon(page_folio(hmm_pfn_to_page(*entries))))
		return mark_alike(entries, count, marks, false);

	switch (marks) {
	case 0:
		return mark_alike(entries, count, 0, true);
	case DSVM_MARK_DIRTIED:
		return mark_alike(entries, count, DSVM_MARK_DIRTIED, true);
	default:
		return mark_alike(entries, count, marks, true);
	}
}

dsvm_usize dsvm_os_hmm_mark_alike(const dsvm_usize *entries, dsvm_usize count, dsvm_u32 marks)
{
	struct folio *folio = page_folio(hmm_pfn_to_page(*entries));

	if (count > 1)
		return mark_many(entries, count, marks);
	mark(folio, flags_of(folio), folio_test_anon(folio), marks);
	return 1;
}

int dsvm_os_dma_map_ram(struct dsvm_os_dev *dev, dsvm_usize entry, dsvm_u32 order,
			enum dsvm_dma_dir dir, dsvm_u32 marks, struct dsvm_dma_addr *out)
{
	const unsigned long pfn = entry & ~HMM_PFN_FLAGS;
	struct drm_pagemap_addr *addr = to_addr(out);
	struct folio *folio;

	*addr = drm_pagemap_addr_encode(0, DRM_INTERCONNECT_SYSTEM, order,
					(enum dma_data_direction)dir);
	addr->addr = compat_dma_map_phys(to_dev(dev), PFN_PHYS(pfn), PAGE_SIZE << order,
					 (enum dma_data_direction)dir);
	if (dma_mapping_error(to_dev(dev), addr->addr))
		return -EFAULT;
	if (dsvm_os_dma_needs_unmap(dev))
		return 1;
	if (marks) {
		folio = page_folio(pfn_to_page(pfn));
		mark(folio, flags_of(folio), folio_test_anon(folio), marks);
	}
	return 0;
}

/* Of RAM that the caller has a reference to. */
static enum dsvm_stay why_folio(struct folio *folio)
{
	if (folio_maybe_dma_pinned(folio))
		return DSVM_STAY_PINNED;
	/* The zero page is nobody's, and nothing keeps it. */
	if (!folio_test_anon(folio))
		return folio_mapping(folio) ? DSVM_STAY_NOT_ANONYMOUS : DSVM_STAY_BUSY;
	if (folio_test_writeback(folio))
		return DSVM_STAY_WRITEBACK;
	if (folio_test_locked(folio))
		return DSVM_STAY_LOCKED;
	if (folio_test_swapcache(folio))
		return DSVM_STAY_SWAP_CACHE;
	if (folio_test_large(folio) && !COMPAT_SPLITS_LARGE)
		return DSVM_STAY_LARGE_FOLIO;
	return DSVM_STAY_BUSY;
}

dsvm_u32 dsvm_os_hmm_why(dsvm_usize entry)
{
	struct folio *folio;
	enum dsvm_stay stay;
	struct page *page;

	if (dsvm_os_hmm_kind(entry) == DSVM_PAGE_NONE)
		return DSVM_STAY_SWAPPED;

	page = hmm_pfn_to_page(entry);
	if (is_zone_device_page(page))
		return DSVM_STAY_FOREIGN;

	/* A folio without a reference may turn into a part of another one any time. */
	folio = page_folio(page);
	if (!folio_try_get(folio))
		return DSVM_STAY_BUSY;
	stay = page_folio(page) == folio ? why_folio(folio) : DSVM_STAY_BUSY;
	folio_put(folio);
	return stay;
}

dsvm_bool dsvm_os_hmm_is_part(dsvm_usize entry)
{
	return folio_order(page_folio(hmm_pfn_to_page(entry))) > hmm_pfn_to_map_order(entry);
}
