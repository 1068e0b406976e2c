// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * drm_svm/os.h: the kernel's migration phases.
 */
#include <linux/dma-fence.h>
#include <linux/gfp.h>
#include <linux/jiffies.h>
#include <linux/mm.h>
#include <linux/mmap_lock.h>
#include <linux/pagemap.h>
#include <linux/wait.h>

#include <drm/drm_pagemap.h>

#include "compat/migrate_compat.h"
#include "compat/mm_compat.h"
#include "drm_svm/os.h"
#include "pagemap_internal.h"
#include "trace.h"

dsvm_u32 dsvm_os_huge_order(void)
{
	return compat_migrate_huge_order();
}

/* The kernel's struct for a span, which is the same for all phases. */
static struct migrate_vma *to_migrate_vma(struct dsvm_migrate_span *span)
{
	static_assert(sizeof(struct migrate_vma) <= sizeof(span->kernels));

	return (struct migrate_vma *)span->kernels;
}

/*
 * The two are of one span, but have nothing in common that is used here. All fields are named, so
 * that the struct is not zeroed first.
 */
static void init_migrate_vma(struct migrate_vma *restrict args,
			     const struct dsvm_migrate_span *restrict span)
{
	*args = (struct migrate_vma) {
		.vma = to_vma(span->vma),
		.src = span->src,
		.dst = span->dst,
		.cpages = 0,
		.npages = span->npages,
		.start = span->first,
		.end = span->last + 1,
		.pgmap_owner = span->owner,
		.flags = (span->select & DSVM_MIGRATE_SYSTEM ? MIGRATE_VMA_SELECT_SYSTEM : 0) |
			 (span->select & DSVM_MIGRATE_DEVICE ?
			  MIGRATE_VMA_SELECT_DEVICE_PRIVATE : 0) |
			 (span->select & DSVM_MIGRATE_HUGE ? COMPAT_SELECT_COMPOUND : 0),
		.fault_page = to_page(span->fault_page),
	};
}

int dsvm_os_migrate_setup(struct dsvm_migrate_span *span)
{
	init_migrate_vma(to_migrate_vma(span), span);
	return migrate_vma_setup(to_migrate_vma(span));
}

void dsvm_os_migrate_pages(struct dsvm_migrate_span *span)
{
	migrate_vma_pages(to_migrate_vma(span));
}

void dsvm_os_migrate_finalize(struct dsvm_migrate_span *span)
{
	migrate_vma_finalize(to_migrate_vma(span));
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

/* A hole can be huge as well, and so can a folio that was free when the kernel came to it. */
static unsigned int entry_order(unsigned long entry, struct page *page)
{
	if (!(entry & COMPAT_PFN_COMPOUND))
		return 0;

	return page ? folio_order(page_folio(page)) : dsvm_os_huge_order();
}

/*
 * A page that ksmd has merged. The kernel would put a device page in its place into
 * ksmd's tree, where ksmd reads it by its address, which leads nowhere.
 */
static bool is_merged(struct page *page)
{
	return folio_test_ksm(page_folio(page));
}

void dsvm_os_migrate_decode(dsvm_usize src, struct dsvm_migrate_entry *out)
{
	struct page *page = migrate_pfn_to_page(src);
	struct drm_pagemap_zdd *zdd = page ? dsvm_page_zdd(page) : NULL;

	*out = (struct dsvm_migrate_entry) {
		.page = os_page(page),
		.zdd = os_zdd(zdd),
		.provider = zdd ? os_provider(zdd->dpagemap) : NULL,
		.order = entry_order(src, page),
		.is_ram = page && !is_zone_device_page(page),
		.retired = zdd && dsvm_page_is_retired(page),
		.moves = (src & MIGRATE_PFN_MIGRATE) && !(page && is_merged(page)),
	};
}

static bool is_ram_that_moves(unsigned long src)
{
	struct page *page;

	if (!dsvm_has_page_and_moves(src))
		return false;

	page = pfn_to_page(src >> MIGRATE_PFN_SHIFT);
	return !is_zone_device_page(page) && !is_merged(page);
}

/* Asked of each page, so it is no part of the one above. */
dsvm_usize dsvm_os_migrate_count_ram(const dsvm_usize *src, dsvm_usize count)
{
	dsvm_usize i = 0;

	while (i < count && is_ram_that_moves(src[i]))
		i++;
	return i;
}

struct dsvm_os_page *dsvm_os_migrate_page(dsvm_usize entry)
{
	return os_page(migrate_pfn_to_page(entry));
}

void dsvm_os_migrate_list_pages(const dsvm_usize *entries, dsvm_usize count,
				struct dsvm_os_page **pages)
{
	dsvm_usize i;

	for (i = 0; i < count; i++)
		pages[i] = os_page(pfn_to_page(entries[i] >> MIGRATE_PFN_SHIFT));
}

struct dsvm_os_page *dsvm_os_page_nth(struct dsvm_os_page *page, dsvm_usize index)
{
	return os_page(pfn_to_page(page_to_pfn(to_page(page)) + index));
}

/* Where there are single pages as well, a huge one is not worth any compaction. */
static gfp_t page_gfp(const struct vm_area_struct *vma, unsigned int order)
{
	if (!order)
		return GFP_HIGHUSER_MOVABLE;

	return vma ? GFP_TRANSHUGE_LIGHT | __GFP_KSWAPD_RECLAIM :
		     GFP_TRANSHUGE | __GFP_RETRY_MAYFAIL;
}

static __always_inline unsigned long
entry_alloc(struct vm_area_struct *vma, unsigned long addr, unsigned int order)
{
	const gfp_t gfp = page_gfp(vma, order);
	struct folio *folio = vma ? compat_vma_alloc_folio(gfp, order, vma, addr) :
				    folio_alloc(gfp, order);

	if (!folio)
		return 0;

	folio_lock(folio);
	/* It has no mapping yet that would have to know. */
	folio_set_dirty(folio);
	return migrate_pfn(folio_pfn(folio)) | (order ? COMPAT_PFN_COMPOUND : 0);
}

dsvm_usize dsvm_os_entry_alloc(struct dsvm_os_vma *vma, dsvm_usize addr, dsvm_u32 order)
{
	return entry_alloc(to_vma(vma), addr, order);
}

dsvm_usize dsvm_os_entries_alloc(struct dsvm_os_vma *vma, dsvm_usize addr, dsvm_usize count,
				 dsvm_usize *dst)
{
	dsvm_usize i = 0;

	while (i < count && (dst[i] = entry_alloc(to_vma(vma), addr + i * PAGE_SIZE, 0)))
		i++;
	return i;
}

void dsvm_os_page_discard(struct dsvm_os_page *page)
{
	unlock_page(to_page(page));
	put_page(to_page(page));
}

int dsvm_os_fence_wait(struct dsvm_os_fence *handle)
{
	struct dma_fence *fence = to_fence(handle);
	int status;

	dma_fence_wait(fence, false);
	status = dma_fence_get_status(fence);
	dma_fence_put(fence);
	return min(status, 0);
}

dsvm_bool dsvm_os_vma_pin(struct dsvm_os_vma *vma)
{
	/* Migration to a hole would make one, under the mm's lock. */
	return to_vma(vma)->anon_vma && compat_vma_pin(to_vma(vma));
}

void dsvm_os_vma_unpin(struct dsvm_os_vma *vma)
{
	compat_vma_unpin(to_vma(vma));
}

dsvm_bool dsvm_os_fault_wait(struct dsvm_os_fault *fault, dsvm_u64 ns)
{
	struct vm_fault *vmf = to_fault(fault);
	struct drm_pagemap_zdd *zdd = dsvm_page_zdd(vmf->page);
	struct mm_struct *mm = vmf->vma->vm_mm;
	bool retry = vmf->flags & FAULT_FLAG_ALLOW_RETRY;

	/* Whoever says so wants to hear it with the lock still held. */
	if (retry && vmf->flags & FAULT_FLAG_RETRY_NOWAIT)
		return true;

	/*
	 * The kernel's reference keeps the page and its zdd. It does not come here with the
	 * lock of the VMA alone, and it uses nothing but the page when it has to try again.
	 */
	if (COMPAT_FAULT_PAGE_LOCKED)
		unlock_page(vmf->page);
	if (retry)
		mmap_read_unlock(mm);
	wait_event_killable_timeout(zdd->timeslice_over, !dsvm_devmem_timeslice_ns(zdd->devmem),
				    nsecs_to_jiffies(ns) + 1);
	if (COMPAT_FAULT_PAGE_LOCKED)
		lock_page(vmf->page);
	return retry;
}

/*
 * The part of one thread in dsvm_os_parallel(). What it allocates is charged to nobody, but for
 * the device pages, which the kernel charges to the mm: set_active_memcg() is not for modules.
 */
struct helper {
	struct work_struct work;
	struct task_struct *client;
	void (*fn)(void *ctx, dsvm_u32 k);
	void *ctx;
	dsvm_u32 k;
};

static void help(struct work_struct *work)
{
	struct helper *helper = container_of(work, struct helper, work);

	helper->fn(helper->ctx, helper->k);
}

struct task_struct *dsvm_client(void)
{
	struct work_struct *work = current_work();

	return work && work->func == help ? container_of(work, struct helper, work)->client :
					    current;
}

void dsvm_os_parallel(void (*fn)(void *ctx, dsvm_u32 k), void *ctx, dsvm_u32 n)
{
	struct helper *helpers = n > 1 ? kcalloc(n - 1, sizeof(*helpers), GFP_KERNEL) : NULL;
	dsvm_u32 k;

	for (k = 1; helpers && k < n; k++) {
		struct helper *helper = &helpers[k - 1];

		*helper = (struct helper) { .client = dsvm_client(), .fn = fn, .ctx = ctx, .k = k };
		INIT_WORK(&helper->work, help);
		queue_work(dsvm_helper_wq, &helper->work);
	}

	fn(ctx, 0);
	for (k = 1; k < n; k++) {
		if (helpers)
			flush_work(&helpers[k - 1].work);
		else
			fn(ctx, k);
	}
	kfree(helpers);
}

dsvm_bool dsvm_os_traces_migrate(void)
{
	return trace_migrate_phase_enabled();
}

void dsvm_os_trace_migrate(const struct dsvm_migrate_event *event)
{
	trace_migrate_phase(event);
}
