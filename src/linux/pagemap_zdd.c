// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * What device pages point to, and what happens to them beyond migration: they
 * become free, and large ones are split.
 *
 * A device page may be freed under a page-table lock, and what it keeps may
 * have to sleep to go away: an allocation whose last page goes is released on a
 * workqueue, and that it is empty is known, and said (detached), at once. Where a CPU
 * fault has brought that page back, both come from who faulted, on his way back to user space.
 *
 * Two flags share the word with a folio's pointer to its zdd:
 *
 *	retired	its data has gone back to RAM. It may still have references, and
 *		must not be moved once more.
 *	entered	a CPU fault is at work on it
 */
#include <linux/bitops.h>
#include <linux/compiler.h>
#include <linux/err.h>
#include <linux/export.h>
#include <linux/migrate.h>
#include <linux/mm.h>
#include <linux/sched/mm.h>
#include <linux/slab.h>
#include <linux/task_work.h>
#include <linux/thread_info.h>
#include <linux/wait.h>

#include <drm/drm_pagemap.h>

#include "compat/memremap_compat.h"
#include "drm_svm/os.h"
#include "pagemap_internal.h"

/* A folio's word; nobody else's as long as it is in use. */
static unsigned long *page_data(struct page *page)
{
	return (unsigned long *)&compound_head(page)->zone_device_data;
}

bool dsvm_page_is_retired(struct page *page)
{
	return test_bit(DSVM_PAGE_RETIRED, page_data(page));
}

struct drm_pagemap_zdd *dsvm_page_zdd(struct page *page)
{
	return dsvm_page_is_ours(page) ? dsvm_folio_zdd(compound_head(page)) : NULL;
}

/**
 * drm_pagemap_page_zone_device_data() - What a device page points to
 * @page: a device page of a drm_pagemap, in use
 *
 * Context: Any.
 *
 * Return: the library's own, without a reference.
 */
struct drm_pagemap_zdd *drm_pagemap_page_zone_device_data(struct page *page)
{
	return dsvm_page_zdd(page);
}
EXPORT_SYMBOL_GPL(drm_pagemap_page_zone_device_data);

/**
 * drm_pagemap_page_to_dpagemap() - The provider of a page
 * @page: any page
 *
 * Context: Any. The page has to stay in use for the answer to mean anything.
 *
 * Return: the provider, without a reference; NULL if the page is not device
 * memory of a drm_pagemap.
 */
struct drm_pagemap *drm_pagemap_page_to_dpagemap(struct page *page)
{
	struct drm_pagemap_zdd *zdd = dsvm_page_zdd(page);

	return zdd ? zdd->dpagemap : NULL;
}
EXPORT_SYMBOL_GPL(drm_pagemap_page_to_dpagemap);

void dsvm_devmem_release(struct drm_pagemap_devmem *devmem)
{
	if (devmem->ops->devmem_release)
		devmem->ops->devmem_release(devmem);
}

/* Into its provider's list, if that still gives memory out. */
static int zdd_attach(struct drm_pagemap_zdd *zdd)
{
	struct drm_pagemap_dev_hold *hold = zdd->dpagemap->dev_hold;
	unsigned long flags;
	int ret = 0;

	spin_lock_irqsave(&hold->lock, flags);
	if (hold->unplugged)
		ret = -ENODEV;
	else
		list_add_tail(&zdd->link, &hold->zdds);
	spin_unlock_irqrestore(&hold->lock, flags);
	return ret;
}

/* The last reference has gone: the allocation is empty. Any context. */
static __always_inline void zdd_detach(struct drm_pagemap_zdd *zdd)
{
	struct drm_pagemap_dev_hold *hold = zdd->dpagemap->dev_hold;
	struct drm_pagemap_devmem *devmem = zdd->devmem;
	unsigned long flags;

	spin_lock_irqsave(&hold->lock, flags);
	list_del(&zdd->link);
	spin_lock(&devmem->zdd_lock);
	WRITE_ONCE(devmem->zdd, NULL);
	spin_unlock(&devmem->zdd_lock);
	spin_unlock_irqrestore(&hold->lock, flags);

	complete_all(&devmem->detached);
}

static void zdd_free(struct drm_pagemap_zdd *zdd)
{
	dsvm_devmem_fini(&zdd->core);
	mmdrop(zdd->mm);
	drm_pagemap_put(zdd->dpagemap);
	kfree(zdd);
}

static void zdd_destroy(struct drm_pagemap_zdd *zdd)
{
	dsvm_devmem_release(zdd->devmem);
	zdd_free(zdd);
}

static void zdd_destroy_work(struct work_struct *work)
{
	zdd_destroy(container_of(work, struct drm_pagemap_zdd, work));
}

static void zdd_release(struct kref *ref)
{
	struct drm_pagemap_zdd *zdd = container_of(ref, struct drm_pagemap_zdd, refcount);

	zdd_detach(zdd);
	zdd_destroy(zdd);
}

static void zdd_release_atomic(struct kref *ref)
{
	struct drm_pagemap_zdd *zdd = container_of(ref, struct drm_pagemap_zdd, refcount);

	zdd_detach(zdd);
	queue_work(dsvm_release_wq, &zdd->work);
}

struct drm_pagemap_zdd *dsvm_zdd_create(struct drm_pagemap_devmem *devmem, unsigned long start)
{
	/* All that is not set here is set before it is looked at. */
	struct drm_pagemap_zdd *zdd = kmalloc(sizeof(*zdd), GFP_KERNEL_ACCOUNT);
	int err;

	if (!zdd)
		return ERR_PTR(-ENOMEM);

	kref_init(&zdd->refcount);
	INIT_WORK(&zdd->work, zdd_destroy_work);
	init_waitqueue_head(&zdd->timeslice_over);
	zdd->is_kept = 0;
	zdd->devmem = devmem;
	zdd->dpagemap = drm_pagemap_get(devmem->dpagemap);
	zdd->mm = devmem->mm;
	mmgrab(zdd->mm);
	dsvm_devmem_bind(zdd, start);

	err = dsvm_devmem_init(&zdd->core);
	if (!err)
		err = zdd_attach(zdd);
	if (err) {
		zdd_free(zdd);
		return ERR_PTR(err);
	}
	smp_store_release(&devmem->zdd, zdd);	/* with all that is in it */
	return zdd;
}

struct drm_pagemap_zdd *dsvm_zdd_of(struct drm_pagemap_devmem *devmem)
{
	struct drm_pagemap_zdd *zdd;

	/* What is found is there until it is forgotten, which takes the lock. */
	spin_lock_irq(&devmem->zdd_lock);
	zdd = READ_ONCE(devmem->zdd);
	if (zdd && !kref_get_unless_zero(&zdd->refcount))
		zdd = NULL;
	spin_unlock_irq(&devmem->zdd_lock);
	return zdd;
}

struct drm_pagemap_zdd *dsvm_zdd_get(struct drm_pagemap_zdd *zdd)
{
	kref_get(&zdd->refcount);
	return zdd;
}

void dsvm_zdd_put(struct drm_pagemap_zdd *zdd)
{
	kref_put(&zdd->refcount, zdd_release);
}

void dsvm_zdd_put_atomic(struct drm_pagemap_zdd *zdd)
{
	kref_put(&zdd->refcount, zdd_release_atomic);
}

/* Who is on his way back to user space and has a reference. */
static atomic_t returning = ATOMIC_INIT(0);
static DECLARE_WAIT_QUEUE_HEAD(returned);

static void put_returning(struct drm_pagemap_zdd *zdd)
{
	/* May be used again from here on, if pages live in it. */
	clear_bit_unlock(0, &zdd->is_kept);
	dsvm_zdd_put(zdd);
	if (atomic_dec_and_test(&returning) && wq_has_sleeper(&returned))
		wake_up_all(&returned);
}

static void back_in_user_space(struct callback_head *head)
{
	put_returning(container_of(head, struct drm_pagemap_zdd, on_return));
}

/*
 * The kernel has a reference to the page of a fault, and drops it when the fault has been
 * served. If that is the last page of an allocation the release would have to go by way of the
 * workqueue, for two context switches. So the allocation is kept until the task is back in user
 * space, where it has no lock and may sleep.
 */
void dsvm_zdd_keep_until_return(struct drm_pagemap_zdd *zdd)
{
	if (kref_read(&zdd->refcount) != 1 || test_and_set_bit_lock(0, &zdd->is_kept))
		return;

	dsvm_zdd_get(zdd);
	atomic_inc(&returning);
	init_task_work(&zdd->on_return, back_in_user_space);
	if (task_work_add(current, &zdd->on_return, TWA_NONE)) {
		put_returning(zdd);
		return;
	}
	/* All of TWA_RESUME that a task needs for itself, who need not be kicked. */
	set_thread_flag(TIF_NOTIFY_RESUME);
}

void dsvm_zdd_wait_for_returning(void)
{
	wait_event(returned, !atomic_read(&returning));
}

/* The kernel's callbacks for device pages. */

/* From here on the frames may be somebody else's. */
static void put_page_zdd(struct page *page, unsigned long npages)
{
	struct drm_pagemap_zdd *zdd = dsvm_folio_zdd(page);
	const struct drm_pagemap_devmem_ops *ops = zdd->devmem->ops;

	if (ops->devmem_free_pages)
		ops->devmem_free_pages(zdd->devmem, page, npages);
	dsvm_zdd_put_atomic(zdd);
}

/* @tail is a folio now, which was a part of @head's. Under a page-table lock. */
static void share_page_zdd(struct page *head, struct page *tail)
{
	/* Who has entered the folio by one of its pages may leave the other part. */
	clear_bit(DSVM_PAGE_ENTERED, page_data(head));
	*page_data(tail) = *page_data(head);
	dsvm_zdd_get(dsvm_folio_zdd(head));
}

COMPAT_DEFINE_PAGE_FREE(pagemap_page_free, put_page_zdd)
COMPAT_DEFINE_FOLIO_SPLIT(pagemap_folio_split, share_page_zdd)

static const struct dev_pagemap_ops pagemap_ops = {
	.COMPAT_PAGE_FREE = pagemap_page_free,
	.migrate_to_ram = dsvm_pagemap_fault,
	COMPAT_FOLIO_SPLIT(pagemap_folio_split)
};

bool dsvm_page_is_ours(struct page *page)
{
	struct dev_pagemap *pgmap = is_zone_device_page(page) ? compat_page_pgmap(page) : NULL;

	return pgmap && pgmap->ops == &pagemap_ops;
}

/**
 * drm_pagemap_pagemap_ops_get() - The callbacks for a provider's dev_pagemap
 *
 * Context: Any.
 *
 * Return: the ops, to be set before memremap_pages().
 */
const struct dev_pagemap_ops *drm_pagemap_pagemap_ops_get(void)
{
	return &pagemap_ops;
}
EXPORT_SYMBOL_GPL(drm_pagemap_pagemap_ops_get);

/* What the core asks of device pages and zdds; see drm_svm/os.h. */

/* With a reference to the zdd. */
static void page_init(struct page *page, struct drm_pagemap_zdd *zdd,
		      struct dev_pagemap *pagemap, unsigned int order)
{
	compat_zone_device_page_init(page, pagemap, order);
	page->zone_device_data = zdd;	/* and no flag */
}

struct dsvm_os_page *dsvm_os_page_init_device(dsvm_usize pfn, struct dsvm_os_zdd *handle,
					      dsvm_u32 order)
{
	struct drm_pagemap_zdd *zdd = dsvm_zdd_get(to_zdd(handle));
	struct page *page = pfn_to_page(pfn);

	page_init(page, zdd, zdd->dpagemap->pagemap, order);
	return os_page(page);
}

void dsvm_os_entries_init_device(dsvm_usize pfn, dsvm_usize count, struct dsvm_os_zdd *handle,
				 dsvm_usize *dst)
{
	const dsvm_usize *end = dst + count;
	struct drm_pagemap_zdd *zdd = to_zdd(handle);
	struct dev_pagemap *pagemap = zdd->dpagemap->pagemap;
	struct page *page = pfn_to_page(pfn);
	unsigned long entry = migrate_pfn(pfn);

	refcount_add(count, &zdd->refcount.refcount);
	for (; dst != end; dst++, page++, entry += migrate_pfn(1) - migrate_pfn(0)) {
		page_init(page, zdd, pagemap, 0);
		*dst = entry;
	}
}

void dsvm_os_entries_retire(const dsvm_usize *src, dsvm_usize count)
{
	dsvm_usize i;

	for (i = 0; i < count; i++) {
		struct page *page = pfn_to_page(src[i] >> MIGRATE_PFN_SHIFT);

		set_bit(DSVM_PAGE_RETIRED, (unsigned long *)&page->zone_device_data);
	}
}

dsvm_bool dsvm_os_page_enter(struct dsvm_os_page *page)
{
	return !test_and_set_bit_lock(DSVM_PAGE_ENTERED, page_data(to_page(page)));
}

void dsvm_os_page_leave(struct dsvm_os_page *page)
{
	clear_bit_unlock(DSVM_PAGE_ENTERED, page_data(to_page(page)));
}

static bool frame_is_of(unsigned long pfn, struct dsvm_os_zdd *zdd)
{
	struct page *page = pfn_to_page(pfn);
	struct folio *folio = page_folio(page);
	struct page *head = folio_page(folio, 0);

	/* What was part of a large folio says so until it is used again. */
	return folio_ref_count(folio) && dsvm_folio_zdd(head) == to_zdd(zdd) &&
	       (head == page || pfn - folio_pfn(folio) < 1ul << folio_order(folio));
}

dsvm_bool dsvm_os_frame_in_use(dsvm_usize pfn, struct dsvm_os_zdd *zdd)
{
	/* If it is another one's by now, that may be making a page of it at this moment. */
	return data_race(frame_is_of(pfn, zdd));
}

static unsigned int frame_order(unsigned long pfn)
{
	struct folio *folio = page_folio(pfn_to_page(pfn));

	return folio_pfn(folio) == pfn ? folio_order(folio) : 0;
}

dsvm_u32 dsvm_os_frame_order(dsvm_usize pfn)
{
	return data_race(frame_order(pfn));	/* the same */
}

/* Nothing but a zdd's own pages ever has its address in this word. */
static bool moves_from(unsigned long src, struct dsvm_os_zdd *zdd)
{
	struct page *page;

	if (!dsvm_has_page_and_moves(src))
		return false;

	page = pfn_to_page(src >> MIGRATE_PFN_SHIFT);
	return ((unsigned long)READ_ONCE(page->zone_device_data) & ~BIT(DSVM_PAGE_ENTERED)) ==
	       (unsigned long)zdd;
}

dsvm_usize dsvm_os_migrate_count_of(const dsvm_usize *src, dsvm_usize count,
				    struct dsvm_os_zdd *zdd)
{
	dsvm_usize i = 0;

	while (i < count && moves_from(src[i], zdd))
		i++;
	return i;
}

dsvm_bool dsvm_os_zdd_is_unused(struct dsvm_os_zdd *zdd)
{
	return kref_read(&to_zdd(zdd)->refcount) == 1;
}

const struct dsvm_devmem *dsvm_os_zdd_devmem(struct dsvm_os_zdd *zdd)
{
	return &to_zdd(zdd)->core;
}

void dsvm_os_zdd_end_timeslice(struct dsvm_os_zdd *handle)
{
	struct drm_pagemap_zdd *zdd = to_zdd(handle);

	dsvm_devmem_start_timeslice(zdd->devmem, 0);
	if (wq_has_sleeper(&zdd->timeslice_over))
		wake_up_all(&zdd->timeslice_over);
}

struct dsvm_os_mm *dsvm_os_zdd_mm(struct dsvm_os_zdd *zdd)
{
	return os_mm(to_zdd(zdd)->mm);
}

struct dsvm_os_zdd *dsvm_os_provider_next_zdd(struct dsvm_os_provider *provider,
					      struct dsvm_os_zdd *handle)
{
	struct drm_pagemap_dev_hold *hold = to_provider(provider)->dev_hold;
	struct drm_pagemap_zdd *last = to_zdd(handle);
	struct drm_pagemap_zdd *zdd;
	unsigned long flags;
	bool found = false;

	spin_lock_irqsave(&hold->lock, flags);
	zdd = list_prepare_entry(last, &hold->zdds, link);
	list_for_each_entry_continue(zdd, &hold->zdds, link) {
		found = kref_get_unless_zero(&zdd->refcount);
		if (found)
			break;
	}
	spin_unlock_irqrestore(&hold->lock, flags);

	if (last)
		dsvm_zdd_put(last);
	return found ? os_zdd(zdd) : NULL;
}
