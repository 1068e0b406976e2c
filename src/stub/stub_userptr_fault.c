// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * What becomes of a program that meets a userptr whose memory the CPU has changed. A GPU
 * that can fault there is served as in the mirror: a block around the page is collected
 * and mapped, for the access that was wanted. One that cannot is stopped, until all that
 * its VM has lost is good again; a driver with preempt fences does that between
 * the end of one job and the beginning of the next.
 */
#include <linux/align.h>
#include <linux/minmax.h>
#include <linux/sizes.h>

#include <uapi/drm/drm_svm_stub.h>

#include "stub_bind.h"
#include "stub_drv.h"
#include "stub_userptr.h"
#include "stub_vm.h"

/* So much around the page is collected, and less where that is not to be had. */
static const unsigned long stub_userptr_sizes[] = { DSVM_PIECE_SIZE, SZ_64K, PAGE_SIZE };

/**
 * struct stub_spot - Where a fault has hit a userptr
 * @userptr: the userptr, referenced
 * @addr: the page's address in the process
 * @start: first byte of what the mapping shows
 * @end: first byte after it
 * @write: whether the access is a write
 * @may_migrate: whether the memory may live in VRAM
 */
struct stub_spot {
	struct stub_userptr *userptr;
	unsigned long addr;
	unsigned long start;
	unsigned long end;
	bool write;
	bool may_migrate;
};

/**
 * stub_userptr_make_good() - Puts right what invalidations have taken from a VM
 * @vm: the VM
 *
 * Context: may sleep; no locks.
 * Return: 0, also where memory has gone for good: whoever uses that will find out; -EBUSY:
 * it was taken away again and again; -ENOMEM; -EINTR; -ENODEV or -ENOENT: the VM has been
 * closed.
 */
int stub_userptr_make_good(struct stub_vm *vm)
{
	bool good;

	drm_svm_hmmptr_lock(&vm->userptr.set);
	good = drm_svm_hmmptr_all_valid(&vm->userptr.set);
	drm_svm_hmmptr_unlock(&vm->userptr.set);
	if (good)
		return 0;

	atomic64_inc(&vm->userptr.revalidations);

	return drm_svm_hmmptr_revalidate(&vm->userptr.set);
}

/* The userptr that the page table shows at an address. -ENOENT: none; -EPERM. */
static int stub_userptr_find(struct stub_vm *vm, const struct stub_fault *fault,
			     struct stub_spot *spot)
{
	u64 addr = fault->addr & PAGE_MASK;
	struct drm_gpuva *base;
	struct stub_va *va;
	int err = -ENOENT;

	mutex_lock(&vm->lock);
	base = drm_gpuva_find_first(&vm->gpuvm, addr, PAGE_SIZE);
	va = base ? to_stub_va(base) : NULL;
	/* What a job is still to show is not there yet. */
	if (va && va->userptr && READ_ONCE(va->shown)) {
		spot->start = base->gem.offset;
		spot->end = base->gem.offset + base->va.range;
		spot->addr = base->gem.offset + (addr - base->va.addr);
		spot->write = fault->write;
		spot->may_migrate = base->flags & STUB_BIND_MAY_MIGRATE;
		err = fault->write && base->flags & STUB_BIND_READONLY ? -EPERM : 0;
	}
	if (!err)
		spot->userptr = stub_userptr_get(va->userptr);
	mutex_unlock(&vm->lock);

	return err;
}

/* So much around the page as the mapping shows. */
static void stub_userptr_block(const struct stub_spot *spot, unsigned long size,
			       unsigned long *start, unsigned long *end)
{
	*start = max(ALIGN_DOWN(spot->addr, size), spot->start);
	*end = min(ALIGN(spot->addr + 1, size), spot->end);
}

/*
 * Collects pages around the one that is wanted, as many as can be had at once, in *@start
 * to *@end. Something around it may not allow what the page may allow: a part was unmapped,
 * or its protection was changed. Closer around the page it is then.
 */
static int stub_userptr_collect(const struct stub_spot *spot, unsigned long *start,
				unsigned long *end)
{
	unsigned int i;
	int err = -EFAULT;

	for (i = 0; i < ARRAY_SIZE(stub_userptr_sizes); i++) {
		stub_userptr_block(spot, stub_userptr_sizes[i], start, end);
		err = drm_svm_hmmptr_get_pages(&spot->userptr->base, *start, *end, spot->write);
		/* Memory that DMA does not reach. */
		if (err == -EOPNOTSUPP)
			err = -EFAULT;
		if (err != -EFAULT && err != -EPERM)
			break;
	}

	return err;
}

static int stub_userptr_serve(struct stub_vm *vm, const struct stub_fault *fault)
{
	unsigned long start, end;
	struct stub_spot spot;
	int err;

	err = stub_userptr_find(vm, fault, &spot);
	if (err)
		return err;

	if (vm->migrate_on_fault && fault->migrate && spot.may_migrate) {
		stub_userptr_block(&spot, stub_userptr_sizes[0], &start, &end);
		stub_migrate_for_fault(vm, start, end);
	}
	err = stub_userptr_collect(&spot, &start, &end);
	if (!err)
		err = stub_userptr_bind(spot.userptr, start, end);
	stub_userptr_put(spot.userptr);

	return stub_verdict(vm, spot.addr, err);
}

/**
 * stub_userptr_fault() - A program has met a place in the bind window without an entry
 * @vm: the VM
 * @fault: the access
 *
 * Context: may sleep; no locks.
 * Return: 0: the access can be tried again; -EAGAIN: the same, and it was no fault of the
 * GPU; -ENOENT: no memory of the process is there; or as stub_fault_serve().
 */
int stub_userptr_fault(struct stub_vm *vm, const struct stub_fault *fault)
{
	int err;

	if (!vm->bind.no_faults) {
		err = stub_userptr_serve(vm, fault);
		if (!err)
			atomic64_inc(&vm->gpu_faults);
		return err;
	}

	err = stub_userptr_make_good(vm);
	if (err && err != -EBUSY)
		return stub_verdict(vm, 0, err);
	if (stub_pt_allows(stub_pt_entry(&vm->pt, fault->addr), fault->write))
		return -EAGAIN;
	/* What was given up may be there again; and where all is too much, this one page is not. */
	err = stub_userptr_serve(vm, fault);

	return err ?: -EAGAIN;
}
