// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * drm/drm_svm_hmmptr.h: the mappings of a GPU's address space that show a hmmptr.
 *
 *	GPU	    |--- va ---|	  |- va -|	gem.offset: the CPU's first byte
 *		     \	        \	 /      /
 *	CPU	  |----------- hmmptr ---------------|
 *
 * Each has a reference to the hmmptr, as one to an object has to its drm_gpuvm_bo, and is on a list
 * through the link that it would be on that one's with.
 */
#include <linux/export.h>
#include <linux/list.h>
#include <linux/minmax.h>

#include <drm/drm_gpuvm.h>
#include <drm/drm_svm_hmmptr.h>

/* It may come zeroed. */
static bool is_linked(const struct drm_gpuva *va)
{
	return va->gem.entry.next && !list_empty(&va->gem.entry);
}

/* Whether all that the mapping shows is of the hmmptr, byte for byte. */
static bool shows(const struct drm_gpuva *va, const struct drm_svm_hmmptr *hmmptr)
{
	return !va->gem.obj && !(va->flags & DRM_GPUVA_REPEAT) &&
	       va->gem.offset >= hmmptr->start && va->gem.offset < hmmptr->end &&
	       va->va.range <= hmmptr->end - va->gem.offset;
}

/**
 * drm_svm_hmmptr_link() - Puts a mapping on the list of its hmmptr
 * @hmmptr: the hmmptr
 * @va: the mapping, in units of bytes: without an object, not repeating, and
 *	&drm_gpuva.gem.offset is the CPU's address of its first byte
 *
 * From now on invalidations of the hmmptr meet it (drm_svm_hmmptr_for_each_va()), so it is to be
 * linked before its page-table entries are written; and when a mapping is split or cut, its parts
 * are before it is unlinked itself. It has a reference to the hmmptr.
 *
 * Context: No notifier lock, which it takes for writing; so not where a fence is going to be
 * signalled that an invalidation may wait for. Allocates nothing; sleeps.
 */
void drm_svm_hmmptr_link(struct drm_svm_hmmptr *hmmptr, struct drm_gpuva *va)
{
	WARN_ONCE(!shows(va, hmmptr), "drm_svm: a mapping is linked to a hmmptr that it does not show\n");

	down_write(&hmmptr->set->notifier_lock);
	if (!WARN_ONCE(is_linked(va), "drm_svm: a mapping is linked to a hmmptr twice\n")) {
		drm_svm_hmmptr_get(hmmptr);
		list_add_tail(&va->gem.entry, &hmmptr->mappings);
	}
	up_write(&hmmptr->set->notifier_lock);
}
EXPORT_SYMBOL_GPL(drm_svm_hmmptr_link);

/**
 * drm_svm_hmmptr_unlink() - Takes a mapping off the list of its hmmptr
 * @hmmptr: the hmmptr
 * @va: the mapping; nothing happens if it is not linked
 *
 * Its page-table entries have gone, or are those of another one now. Its reference is the caller's:
 * the last one frees, and this may be a job, or the commit of a bind transaction, in which nobody
 * may wait for that. So drm_svm_hmmptr_put() follows later.
 *
 * Context: As drm_svm_hmmptr_link().
 */
void drm_svm_hmmptr_unlink(struct drm_svm_hmmptr *hmmptr, struct drm_gpuva *va)
{
	if (WARN_ONCE(va->gem.obj, "drm_svm: a mapping of an object is unlinked from a hmmptr\n"))
		return;

	down_write(&hmmptr->set->notifier_lock);
	if (is_linked(va))
		list_del_init(&va->gem.entry);
	up_write(&hmmptr->set->notifier_lock);
}
EXPORT_SYMBOL_GPL(drm_svm_hmmptr_unlink);

/**
 * drm_svm_hmmptr_va_span() - What of a span a mapping shows, and where
 * @va: the mapping
 * @start: the CPU's address of the first byte
 * @end: and of the first byte after the span
 * @va_start: the GPU's address of the first byte that both have
 * @va_end: and of the first byte after those
 *
 * Context: Any in which @va stays.
 *
 * Return: true if they have any.
 */
bool drm_svm_hmmptr_va_span(const struct drm_gpuva *va, unsigned long start, unsigned long end,
			    u64 *va_start, u64 *va_end)
{
	const u64 offset = va->gem.offset;
	const u64 first = max_t(u64, start, offset);
	const u64 past = min_t(u64, end, offset + va->va.range);

	if (first >= past)
		return false;

	*va_start = va->va.addr + (first - offset);
	*va_end = va->va.addr + (past - offset);
	return true;
}
EXPORT_SYMBOL_GPL(drm_svm_hmmptr_va_span);
