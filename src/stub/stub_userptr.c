// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Userptrs. Each MAP of memory of the process makes one, which is a hmmptr of the
 * library: a notifier over the memory, and what is known of its pages.
 *
 * Links between it and the mappings that show it go with the page table, and not with
 * what the space says: a job of VM_BIND may be a long time behind its commit.
 *
 *	commit		the space shows something else
 *	job		links what comes, and writes its entries;
 *			zaps the entries of what goes, flushes, and unlinks it
 *	release		forgets pages that nothing shows any more
 *
 * So an invalidation finds every entry that there is, and never one of something else.
 * Whoever writes entries in the bind window has &stub_vm.bind.pt_lock: jobs, faults
 * and revalidations. Those of a userptr are written under the notifier lock as well,
 * if its pages are valid; an invalidation, which has that for writing, zaps them.
 */
#include <linux/minmax.h>
#include <linux/slab.h>

#include <drm/drm_svm.h>
#include <uapi/drm/drm_svm_stub.h>

#include "stub_bind.h"
#include "stub_drv.h"
#include "stub_userptr.h"
#include "stub_vm.h"

/* --- invalidations --------------------------------------------------------- */

static bool stub_userptr_invalidate_start(struct drm_svm_hmmptr *hmmptr, unsigned long start,
					  unsigned long end)
{
	struct stub_vm *vm = to_stub_userptr(hmmptr)->vm;
	unsigned long zapped = 0;
	struct drm_gpuva *va;
	u64 first, last;

	drm_svm_hmmptr_for_each_va(va, hmmptr)
		if (drm_svm_hmmptr_va_span(va, start, end, &first, &last))
			zapped += stub_pt_zap(&vm->pt, first, last);

	/* Hardware would be told to flush here. */
	return zapped;
}

static void stub_userptr_invalidate_finish(struct drm_svm_hmmptr *hmmptr, unsigned long start,
					   unsigned long end)
{
	/* Also if nothing was zapped: a job may have, and not have flushed yet. */
	stub_pt_flush(&to_stub_userptr(hmmptr)->vm->pt);
}

static int stub_userptr_rebind(struct drm_svm_hmmptr *hmmptr, unsigned long start,
			       unsigned long end)
{
	return stub_userptr_bind(to_stub_userptr(hmmptr), start, end);
}

static void stub_userptr_free(struct drm_svm_hmmptr *hmmptr)
{
	struct stub_userptr *userptr = to_stub_userptr(hmmptr);
	struct stub_vm *vm = userptr->vm;

	spin_lock(&vm->userptr.lock);
	list_del(&userptr->link);
	vm->userptr.count--;
	spin_unlock(&vm->userptr.lock);
	kfree(userptr);
}

static const struct drm_svm_hmmptr_ops stub_userptr_ops = {
	.invalidate_start = stub_userptr_invalidate_start,
	.invalidate_finish = stub_userptr_invalidate_finish,
	.rebind = stub_userptr_rebind,
	.free = stub_userptr_free,
};

/* --- page-table entries ------------------------------------------------------ */

/* Writes the entries of a run of pages, as far as a mapping shows it. */
static void stub_userptr_write_run(struct stub_vm *vm, const struct drm_gpuva *va,
				   const struct drm_svm_hmmptr_run *run)
{
	u64 first, last, addr, flags = 0;

	if (!drm_svm_hmmptr_va_span(va, run->start, run->end, &first, &last))
		return;

	addr = run->addr + (va->gem.offset + (first - va->va.addr) - run->start);
	if (run->proto != DRM_INTERCONNECT_SYSTEM)
		flags |= STUB_PTE_VRAM;
	if (run->proto == STUB_PROTO_PEER)
		flags |= STUB_PTE_PEER;
	if (run->writable && !(va->flags & STUB_BIND_READONLY))
		flags |= STUB_PTE_WRITE;
	stub_pt_map(&vm->pt, first, addr, PHYS_PFN(last - first), flags);
}

/**
 * stub_userptr_write_ptes() - Writes entries for all mappings that show a span
 * @userptr: the userptr
 * @start: first byte, an address of the process
 * @end: first byte after it
 *
 * Of what is valid of it, if not all is.
 *
 * Context: &stub_vm.bind.pt_lock; takes the notifier lock. Allocates nothing.
 * Return: 0, or -EAGAIN if not all is valid.
 */
int stub_userptr_write_ptes(struct stub_userptr *userptr, unsigned long start,
			    unsigned long end)
{
	struct stub_vm *vm = userptr->vm;
	struct drm_svm_hmmptr_run run;
	struct drm_gpuva *va;
	bool valid;

	lockdep_assert_held(&vm->bind.pt_lock);

	drm_svm_hmmptr_lock(&vm->userptr.set);
	drm_svm_hmmptr_for_each_run(&run, &userptr->base, start, end)
		drm_svm_hmmptr_for_each_va(va, &userptr->base)
			stub_userptr_write_run(vm, va, &run);
	valid = drm_svm_hmmptr_pages_valid(&userptr->base, start, end);
	drm_svm_hmmptr_unlock(&vm->userptr.set);

	return valid ? 0 : -EAGAIN;
}

/**
 * stub_userptr_bind() - The last step of a fault or a revalidation
 * @userptr: the userptr
 * @start: first byte, an address of the process; its pages were mapped for the device
 * @end: first byte after it
 *
 * Context: may sleep; takes &stub_vm.bind.pt_lock and the notifier lock.
 * Return: 0; -EAGAIN: something has happened to the pages since; -ENODEV or -ENOENT: the
 * VM has been closed, and nothing is to be written any more.
 */
int stub_userptr_bind(struct stub_userptr *userptr, unsigned long start, unsigned long end)
{
	struct stub_vm *vm = userptr->vm;
	int err;

	mutex_lock(&vm->bind.pt_lock);
	if (READ_ONCE(vm->bind.closed))
		err = stub_vm_closed_error(vm);
	else
		err = stub_userptr_write_ptes(userptr, start, end);
	mutex_unlock(&vm->bind.pt_lock);

	return err;
}

/**
 * stub_userptr_show() - A mapping comes into the page table
 * @va: the mapping, of a userptr
 *
 * Its entries are to be written, or are there already as those of a mapping that goes.
 *
 * Context: &stub_vm.bind.pt_lock; takes the notifier lock. Allocates nothing.
 */
void stub_userptr_show(struct stub_va *va)
{
	lockdep_assert_held(&va->userptr->vm->bind.pt_lock);

	drm_svm_hmmptr_link(&va->userptr->base, &va->base);
	WRITE_ONCE(va->shown, true);
}

/**
 * stub_userptr_hide() - A mapping has gone from the page table
 * @va: the mapping; nothing happens if it is not there
 *
 * Context: &stub_vm.bind.pt_lock, or nobody else knows of the mapping. Its entries are
 * zapped and flushed, or those of others. Takes the notifier lock. Allocates nothing, and
 * the reference that it puts is not the last: the mapping has another.
 */
void stub_userptr_hide(struct stub_va *va)
{
	if (!va->shown)
		return;

	drm_svm_hmmptr_unlink(&va->userptr->base, &va->base);
	WRITE_ONCE(va->shown, false);
	drm_svm_hmmptr_put(&va->userptr->base);
}

/* --- a userptr --------------------------------------------------------------- */

/**
 * stub_userptr_create() - Makes a userptr, whose memory is there
 * @vm: the VM
 * @map: the MAP that shows it
 *
 * Context: may sleep; no lock of the library's. A thread of the process whose VM it is.
 * Return: the userptr with one reference, or an ERR_PTR() as the ioctl says.
 */
struct stub_userptr *stub_userptr_create(struct stub_vm *vm,
					 const struct drm_gpuva_op_map *map)
{
	const struct drm_svm_hmmptr_args args = {
		.drm = &vm->stub->drm,
		.mm = vm->gpusvm.mm,
		.start = map->gem.offset,
		.end = map->gem.offset + map->va.range,
		.owner = map->flags & STUB_BIND_MAY_MIGRATE ? stub_vm_owner(vm) : NULL,
		.read_only = map->flags & STUB_BIND_READONLY,
	};
	struct stub_userptr *userptr;
	int err;

	userptr = kzalloc(sizeof(*userptr), GFP_KERNEL_ACCOUNT);
	if (!userptr)
		return ERR_PTR(-ENOMEM);
	err = drm_svm_hmmptr_init(&userptr->base, &vm->userptr.set, &args);
	if (err) {
		kfree(userptr);
		return ERR_PTR(err);
	}
	userptr->vm = vm;
	spin_lock(&vm->userptr.lock);
	list_add_tail(&userptr->link, &vm->userptr.list);
	vm->userptr.count++;
	spin_unlock(&vm->userptr.lock);

	err = drm_svm_hmmptr_get_pages(&userptr->base, args.start, args.end, !args.read_only);
	if (!err)
		return userptr;

	stub_userptr_put(userptr);
	if (err == -EOPNOTSUPP ||
	    (err == -EPERM && !stub_verdict_is_readable(vm, args.start, args.end)))
		err = -EFAULT;

	return ERR_PTR(err);
}

/**
 * stub_userptr_get() - Takes another reference
 * @userptr: the userptr
 *
 * Context: any.
 * Return: @userptr.
 */
struct stub_userptr *stub_userptr_get(struct stub_userptr *userptr)
{
	drm_svm_hmmptr_get(&userptr->base);

	return userptr;
}

/**
 * stub_userptr_put() - Drops a reference
 * @userptr: the userptr
 *
 * Context: may sleep.
 */
void stub_userptr_put(struct stub_userptr *userptr)
{
	drm_svm_hmmptr_put(&userptr->base);
}

/* What a mapping shows at [addr, addr + range), as addresses of the process. */
static bool stub_userptr_cpu_span(const struct stub_va *va, u64 addr, u64 range,
				  unsigned long *start, unsigned long *end)
{
	u64 first = max(addr, va->base.va.addr);
	u64 last = min(addr + range, va->base.va.addr + va->base.va.range);

	*start = va->base.gem.offset + (first - va->base.va.addr);
	*end = va->base.gem.offset + (last - va->base.va.addr);

	return first < last;
}

/**
 * stub_userptr_forget() - Lets go of pages that are not shown any more
 * @va: a mapping that has gone
 * @addr: first address of what was taken from it, and may have had more
 * @range: bytes from there on
 *
 * Context: may sleep; no locks.
 */
void stub_userptr_forget(struct stub_va *va, u64 addr, u64 range)
{
	unsigned long start, end;

	if (stub_userptr_cpu_span(va, addr, range, &start, &end))
		drm_svm_hmmptr_forget(&va->userptr->base, start, end);
}

/**
 * stub_userptr_prefetch() - Moves to VRAM what may live there
 * @va: a mapping of a userptr
 * @addr: first address
 * @range: bytes from there on, maybe beyond the mapping
 *
 * Context: may sleep; a thread of the process whose VM it is.
 */
void stub_userptr_prefetch(struct stub_va *va, u64 addr, u64 range)
{
	unsigned long start, end;

	if (va->base.flags & STUB_BIND_MAY_MIGRATE &&
	    stub_userptr_cpu_span(va, addr, range, &start, &end))
		stub_migrate_for_prefetch(va->userptr->vm, start, end);
}

/* --- of a VM ------------------------------------------------------------------- */

/**
 * stub_userptr_init() - Makes room for the userptrs of a VM
 * @vm: the VM
 */
void stub_userptr_init(struct stub_vm *vm)
{
	spin_lock_init(&vm->userptr.lock);
	INIT_LIST_HEAD(&vm->userptr.list);
	drm_svm_hmmptr_set_init(&vm->userptr.set, &stub_userptr_ops);
}

/**
 * stub_userptr_fini() - Ends what stub_userptr_init() has made
 * @vm: the VM, which has no userptr any more
 */
void stub_userptr_fini(struct stub_vm *vm)
{
	WARN_ON(vm->userptr.count);
	drm_svm_hmmptr_set_fini(&vm->userptr.set);
}

/* The userptr after @userptr in the VM's list, or the first, with a reference; puts @userptr. */
static struct stub_userptr *stub_userptr_next(struct stub_vm *vm, struct stub_userptr *userptr)
{
	struct stub_userptr *next;

	spin_lock(&vm->userptr.lock);
	next = list_prepare_entry(userptr, &vm->userptr.list, link);
	list_for_each_entry_continue(next, &vm->userptr.list, link)
		if (kref_get_unless_zero(&next->base.refcount))
			break;
	if (list_entry_is_head(next, &vm->userptr.list, link))
		next = NULL;
	spin_unlock(&vm->userptr.lock);

	if (userptr)
		stub_userptr_put(userptr);

	return next;
}

/**
 * stub_userptr_inject() - Has invalidations injected, for tests
 * @vm: the VM
 * @every: into each of so many mappings for the device one; 0: none
 *
 * Context: any.
 */
void stub_userptr_inject(struct stub_vm *vm, u32 every)
{
	drm_svm_hmmptr_set_inject(&vm->userptr.set, every);
}

/**
 * stub_userptr_release_all() - Unmaps all userptrs of a VM from a device that goes
 * @vm: the VM, which makes no more of them, and whose bind window is empty
 *
 * The userptrs stay, without memory, as long as their mappings.
 *
 * Context: may sleep; no locks.
 */
void stub_userptr_release_all(struct stub_vm *vm)
{
	struct stub_userptr *userptr = NULL;

	while ((userptr = stub_userptr_next(vm, userptr)))
		drm_svm_hmmptr_release(&userptr->base);
}

/**
 * stub_userptr_read_stats() - What has happened to the userptrs of a VM
 * @vm: the VM
 * @out: receives it
 *
 * Context: may sleep.
 */
void stub_userptr_read_stats(struct stub_vm *vm, struct drm_svm_stub_vm_stats *out)
{
	struct drm_svm_hmmptr_counters counters;

	drm_svm_hmmptr_read_counters(&vm->userptr.set, &counters);
	out->userptrs = READ_ONCE(vm->userptr.count);
	out->userptr_invalidations = counters.invalidations;
	out->userptr_pieces_invalidated = counters.pieces_invalidated;
	out->userptr_collections = counters.collections;
	out->userptr_retries = counters.collection_retries;
	out->userptr_failures = counters.collection_failures;
	out->userptr_pages_mapped = counters.pages_mapped;
	out->userptr_revalidations = atomic64_read(&vm->userptr.revalidations);
	out->userptr_lost = counters.lost;
	out->userptr_injected = counters.injected;
}
