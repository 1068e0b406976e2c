// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * What an error on the way of a GPU page fault means for the program that raised it.
 */
#include <linux/mm.h>
#include <linux/sched/mm.h>

#include "stub_drv.h"
#include "stub_vm.h"

/**
 * stub_verdict_is_readable() - Whether the CPU may read what it has mapped in a span
 * @vm: the VM
 * @start: first byte, an address of the process
 * @end: first byte after it
 *
 * The library calls PROT_NONE read-only, too.
 *
 * Context: may sleep; no mmap_lock.
 * Return: true if it may, and there is something.
 */
bool stub_verdict_is_readable(struct stub_vm *vm, unsigned long start, unsigned long end)
{
	struct mm_struct *mm = vm->gpusvm.mm;
	struct vm_area_struct *vma;
	bool readable = false;

	if (!mmget_not_zero(mm))
		return false;
	mmap_read_lock(mm);
	while ((vma = find_vma_intersection(mm, start, end))) {
		readable = vma->vm_flags & VM_READ;
		if (!readable || vma->vm_end >= end)
			break;
		start = vma->vm_end;
	}
	mmap_read_unlock(mm);
	mmput_async(mm);	/* the VM's lock may be held */

	return readable;
}

/**
 * stub_verdict() - What becomes of a program whose fault was served
 * @vm: the VM
 * @addr: address of the page in the process
 * @err: how it went: 0 or a negative errno of whatever had to do with it
 *
 * Context: may sleep; no locks.
 * Return: as stub_fault_serve().
 */
int stub_verdict(struct stub_vm *vm, unsigned long addr, int err)
{
	/* Whatever it looks like, when the hardware has gone in the middle of it. */
	if (err && READ_ONCE(vm->stub->vram.dead))
		return -ENODEV;

	switch (err) {
	case 0:
	case -EAGAIN:
	case -EINTR:
	case -ENODEV:
	case -ENOMEM:
		return err;
	case -EPERM:
		return stub_verdict_is_readable(vm, addr, addr + PAGE_SIZE) ? -EPERM : -EFAULT;
	case -EBUSY:
		return -EAGAIN;
	default:
		/* -ENOENT: no VMA; -EIO: nothing behind it. */
		return -EFAULT;
	}
}
