// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * drm/drm_svm_hmmptr.h: sets, the life of a hmmptr, and what revalidates them. Hands on to the core
 * (drm_svm/hmmptr.h).
 */
#include <linux/export.h>
#include <linux/ktime.h>
#include <linux/list.h>
#include <linux/lockdep.h>
#include <linux/sched.h>
#include <linux/sched/mm.h>
#include <linux/slab.h>

#include <drm/drm_device.h>
#include <drm/drm_svm_hmmptr.h>

#include "compat/mmu_notifier_compat.h"
#include "hmmptr_internal.h"
#include "trace.h"

/* Pieces ----------------------------------------------------------------------- */

struct drm_svm_piece {
	struct dsvm_piece core;
	struct drm_svm_hmmptr *hmmptr;
};

/* The stand-in for a notifier, with a sequence of its own; see struct dsvm_range. */
static struct mmu_interval_notifier *validity_of(struct dsvm_range *range)
{
	return (struct mmu_interval_notifier *)range;
}

static struct drm_svm_piece *to_piece(struct dsvm_range *range)
{
	return container_of(range, struct drm_svm_piece, core.range);
}

static struct drm_svm_hmmptr *window_hmmptr(struct dsvm_notifier *window)
{
	return container_of(window, struct drm_svm_hmmptr, core.window);
}

static struct dsvm_range *range_create(struct dsvm_svm *svm, struct dsvm_notifier *window,
				       dsvm_usize first, dsvm_usize last, dsvm_u16 flags)
{
	struct drm_svm_piece *piece = kzalloc(sizeof(*piece), GFP_KERNEL_ACCOUNT);

	if (!piece)
		return NULL;

	piece->hmmptr = window_hmmptr(window);
	piece->core.range.node.first = first;
	piece->core.range.node.last = last;
	piece->core.range.flags = flags;
	INIT_LIST_HEAD(to_link(&piece->core.range.entry));
	compat_init_stand_in(validity_of(&piece->core.range), piece->hmmptr->mm);
	return &piece->core.range;
}

/* It has the reference of its being in the tree, and no other. */
static void range_put(struct dsvm_svm *svm, struct dsvm_range *range)
{
	kfree(to_piece(range));
}

static struct dsvm_pages *range_pages(struct dsvm_range *range, dsvm_u32 index,
				      struct dsvm_os_dev **dev)
{
	struct drm_svm_piece *piece = to_piece(range);

	if (index)
		return NULL;

	*dev = os_dev(piece->hmmptr->drm->dev);
	return &piece->core.pages;
}

static const struct dsvm_svm_ops piece_ops = {
	.range_create = range_create,
	.range_put = range_put,
	.range_pages = range_pages,
};

/* The driver's part, for the core ---------------------------------------------- */

static dsvm_bool invalidate_start(struct dsvm_hmmptr *core, dsvm_usize first, dsvm_usize last)
{
	struct drm_svm_hmmptr *hmmptr = to_hmmptr(core);

	return hmmptr->set->ops->invalidate_start(hmmptr, first, last + 1);
}

static void invalidate_finish(struct dsvm_hmmptr *core, dsvm_usize first, dsvm_usize last)
{
	struct drm_svm_hmmptr *hmmptr = to_hmmptr(core);

	hmmptr->set->ops->invalidate_finish(hmmptr, first, last + 1);
}

static int rebind(struct dsvm_hmmptr *core, dsvm_usize first, dsvm_usize last)
{
	struct drm_svm_hmmptr *hmmptr = to_hmmptr(core);

	return hmmptr->set->ops->rebind(hmmptr, first, last + 1);
}

static int lock(struct dsvm_hmmptr *core)
{
	return dsvm_hmmptr_lock(to_hmmptr(core));
}

static void unlock(struct dsvm_hmmptr *core)
{
	mutex_unlock(&to_hmmptr(core)->lock);
}

/* Who drops the last one takes it off the lists of its set only then. */
static dsvm_bool get(struct dsvm_hmmptr *core)
{
	return kref_get_unless_zero(&to_hmmptr(core)->refcount);
}

static void put(struct dsvm_hmmptr *core)
{
	drm_svm_hmmptr_put(to_hmmptr(core));
}

static const struct dsvm_hmmptr_ops core_ops = {
	.invalidate_start = invalidate_start,
	.invalidate_finish = invalidate_finish,
	.rebind = rebind,
	.lock = lock,
	.unlock = unlock,
	.get = get,
	.put = put,
};

/* Sets -------------------------------------------------------------------------- */

/**
 * drm_svm_hmmptr_set_init() - Sets up a set of hmmptrs
 * @set: the set, embedded in the driver's VM
 * @ops: the driver's callbacks; has to stay. All but &drm_svm_hmmptr_ops.rebind are
 *	required, and without that nothing can be revalidated
 *
 * Context: Any in which one may sleep.
 */
void drm_svm_hmmptr_set_init(struct drm_svm_hmmptr_set *set, const struct drm_svm_hmmptr_ops *ops)
{
	WARN_ONCE(!ops->invalidate_start || !ops->invalidate_finish || !ops->free,
		  "drm_svm: a set of hmmptrs without an operation that it needs\n");
	set->ops = ops;
	init_rwsem(&set->notifier_lock);
	mutex_init(&set->revalidate);
	set->core = (struct dsvm_hmmptr_set) {
		.svm = {
			.lock = os_rwsem(&set->notifier_lock),
			.ops = &piece_ops,
		},
		.ops = &core_ops,
	};
	dsvm_hmmptr_set_init(&set->core);
	dsvm_taint_by_reclaim(&set->notifier_lock);
}
EXPORT_SYMBOL_GPL(drm_svm_hmmptr_set_init);

/**
 * drm_svm_hmmptr_set_fini() - Ends a set
 * @set: the set, whose hmmptrs have all been released
 *
 * Context: Nobody else uses @set.
 */
void drm_svm_hmmptr_set_fini(struct drm_svm_hmmptr_set *set)
{
	WARN_ONCE(!list_empty(to_link(&set->core.invalidated)) ||
		  !list_empty(to_link(&set->core.repin)),
		  "drm_svm: a set ends before its hmmptrs do\n");
	mutex_destroy(&set->revalidate);
}
EXPORT_SYMBOL_GPL(drm_svm_hmmptr_set_fini);

/**
 * drm_svm_hmmptr_read_counters() - What has happened to the hmmptrs of a set
 * @set: the set
 * @out: where that goes
 *
 * Each counter is right by itself; what happens meanwhile may be in one and not
 * yet in another.
 *
 * Context: Any.
 */
void drm_svm_hmmptr_read_counters(const struct drm_svm_hmmptr_set *set,
				  struct drm_svm_hmmptr_counters *out)
{
	const struct dsvm_svm_counters *counters = &set->core.svm.counters;

	*out = (struct drm_svm_hmmptr_counters) {
		.invalidations = READ_ONCE(counters->invalidations),
		.pieces_invalidated = READ_ONCE(counters->ranges_invalidated),
		.collections = READ_ONCE(counters->collections),
		.collection_retries = READ_ONCE(counters->collection_retries),
		.collection_failures = READ_ONCE(counters->collection_failures),
		.pages_mapped = READ_ONCE(counters->pages_mapped),
		.lost = READ_ONCE(set->core.lost),
		.injected = READ_ONCE(set->core.injected),
	};
}
EXPORT_SYMBOL_GPL(drm_svm_hmmptr_read_counters);

/* Life -------------------------------------------------------------------------- */

/**
 * drm_svm_hmmptr_init() - Makes a hmmptr of some addresses
 * @hmmptr: the hmmptr, embedded in an object of the driver's that
 *	&drm_svm_hmmptr_ops.free frees
 * @set: what it belongs to
 * @args: what it is of, and how it is meant
 *
 * Nothing has to be mapped there, and nothing is looked at yet: it costs the same for
 * any size. The caller has the first reference, and holds @args->mm for as long
 * as the call takes; the hmmptr has a hold of its own then.
 *
 * Context: No lock that is taken inside of the mmap_lock. Takes that, for writing, for the first
 * notifier of a process; sleeps.
 *
 * Return: 0; -EINVAL: the span is empty or not of whole pages, there is no @args->drm, or no
 * address space to speak of; -EFAULT: the address space has gone; -ENOMEM; -EINTR: a
 * signal came at the first look at a process. After an error there is nothing
 * to be undone, and &drm_svm_hmmptr_ops.free is not called.
 */
int drm_svm_hmmptr_init(struct drm_svm_hmmptr *hmmptr, struct drm_svm_hmmptr_set *set,
			const struct drm_svm_hmmptr_args *args)
{
	struct mm_struct *mm = args->mm ?: current->mm;
	int ret;

	if (!args->drm || !mm || args->end <= args->start)
		return -EINVAL;

	hmmptr->set = set;
	hmmptr->drm = args->drm;
	hmmptr->mm = mm;
	hmmptr->start = args->start;
	hmmptr->end = args->end;
	hmmptr->core = (struct dsvm_hmmptr) {
		.window.node = { .first = args->start, .last = args->end - 1 },
		.window.os = os_notifier(&hmmptr->notifier),
		.set = &set->core,
		.mm = os_mm(mm),
		.dev = os_dev(args->drm->dev),
		.owner = args->owner,
		.read_only = args->read_only,
	};
	kref_init(&hmmptr->refcount);
	mutex_init(&hmmptr->lock);
	INIT_LIST_HEAD(&hmmptr->mappings);

	ret = dsvm_hmmptr_init(&hmmptr->core);
	if (ret)
		return ret;
	ret = dsvm_hmmptr_listen(hmmptr);
	if (!ret)
		mmgrab(mm);
	return ret;
}
EXPORT_SYMBOL_GPL(drm_svm_hmmptr_init);

/**
 * drm_svm_hmmptr_release() - Ends the use of a hmmptr
 * @hmmptr: the hmmptr; nothing happens if it was released
 *
 * The GPU loses what it still has of it (&drm_svm_hmmptr_ops.invalidate_start). On return no
 * invalidation of it runs, nothing of it is mapped, and nothing can be populated any more
 * (-ENODEV). The last drm_svm_hmmptr_put() does the same.
 *
 * Context: No mmap_lock, no lock that is taken inside of it, such as a dma_resv; no notifier
 * lock. Takes &drm_svm_hmmptr.lock; sleeps.
 */
void drm_svm_hmmptr_release(struct drm_svm_hmmptr *hmmptr)
{
	mutex_lock(&hmmptr->lock);
	if (!hmmptr->core.released)
		dsvm_hmmptr_release(&hmmptr->core);
	mutex_unlock(&hmmptr->lock);
}
EXPORT_SYMBOL_GPL(drm_svm_hmmptr_release);

/**
 * drm_svm_hmmptr_get() - One more reference to a hmmptr
 * @hmmptr: the hmmptr, to which the caller has one
 *
 * Context: Any.
 *
 * Return: @hmmptr.
 */
struct drm_svm_hmmptr *drm_svm_hmmptr_get(struct drm_svm_hmmptr *hmmptr)
{
	kref_get(&hmmptr->refcount);
	return hmmptr;
}
EXPORT_SYMBOL_GPL(drm_svm_hmmptr_get);

static void hmmptr_free(struct kref *ref)
{
	struct drm_svm_hmmptr *hmmptr = container_of(ref, struct drm_svm_hmmptr, refcount);

	WARN_ONCE(!list_empty(&hmmptr->mappings), "drm_svm: a hmmptr goes that is mapped\n");
	drm_svm_hmmptr_release(hmmptr);
	dsvm_hmmptr_unlisten(hmmptr);
	mmdrop(hmmptr->mm);
	mutex_destroy(&hmmptr->lock);
	hmmptr->set->ops->free(hmmptr);
}

/**
 * drm_svm_hmmptr_put() - Drops a reference
 * @hmmptr: the hmmptr
 *
 * With the last one the hmmptr is released, if it was not (drm_svm_hmmptr_release()), and freed.
 *
 * Context: If it may be the last one, that of drm_svm_hmmptr_release() and of
 * &drm_svm_hmmptr_ops.free; else any.
 */
void drm_svm_hmmptr_put(struct drm_svm_hmmptr *hmmptr)
{
	kref_put(&hmmptr->refcount, hmmptr_free);
}
EXPORT_SYMBOL_GPL(drm_svm_hmmptr_put);

/* After invalidations -------------------------------------------------------------- */

/**
 * drm_svm_hmmptr_revalidate() - Makes good what invalidations have taken
 * @set: the set
 *
 * Populates and maps what was mapped, and lets &drm_svm_hmmptr_ops.rebind write page-table
 * entries, for a second at most; the next call goes on with what is left. What has no memory
 * any more is given up, and counted (&drm_svm_hmmptr_counters.lost): the GPU faults there.
 *
 * Context: No lock of a hmmptr, no mmap_lock, no lock that is taken inside of these. Takes all of
 * them; sleeps. The last reference to a hmmptr may go here: &drm_svm_hmmptr_ops.free.
 *
 * Return: 0: at some moment nothing was left to do, see drm_svm_hmmptr_all_valid(); -EBUSY: a
 * second was not enough; -ENOMEM; -EINTR: the caller is being killed; -EINVAL: the driver has no
 * &drm_svm_hmmptr_ops.rebind; what that returned.
 */
int drm_svm_hmmptr_revalidate(struct drm_svm_hmmptr_set *set)
{
	u64 began = trace_hmmptr_revalidate_enabled() ? ktime_get_ns() : 0;
	int ret;

	if (WARN_ONCE(!set->ops->rebind, "drm_svm: nobody is there to bind what is revalidated\n"))
		return -EINVAL;
	if (mutex_lock_killable(&set->revalidate))
		return -EINTR;

	ret = dsvm_hmmptr_revalidate(&set->core);
	mutex_unlock(&set->revalidate);
	trace_hmmptr_revalidate(set, began ? ktime_get_ns() - began : 0, ret);
	return ret;
}
EXPORT_SYMBOL_GPL(drm_svm_hmmptr_revalidate);

/**
 * drm_svm_hmmptr_all_valid() - Whether no hmmptr of a set waits to be revalidated
 * @set: the set
 *
 * Context: The notifier lock; what it says is true until that is dropped.
 *
 * Return: true if none does.
 */
bool drm_svm_hmmptr_all_valid(const struct drm_svm_hmmptr_set *set)
{
	return dsvm_hmmptr_all_valid(&set->core);
}
EXPORT_SYMBOL_GPL(drm_svm_hmmptr_all_valid);

/**
 * drm_svm_hmmptr_set_inject() - Lets invalidations come in between
 * @set: the set
 * @every: each so many-th piece that is to be mapped meets one just before; 0: none
 *
 * For tests of drivers.
 *
 * Context: Any.
 */
void drm_svm_hmmptr_set_inject(struct drm_svm_hmmptr_set *set, u32 every)
{
	WRITE_ONCE(set->core.inject_every, every);
}
EXPORT_SYMBOL_GPL(drm_svm_hmmptr_set_inject);
