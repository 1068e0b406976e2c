// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Stops a GPU page fault where races begin: its pages are there, and it has yet
 * to write the page table. Hardware has no such thing. It is for tests, which
 * do something else meanwhile and so need no luck to meet the fault there.
 */
#include <linux/jiffies.h>
#include <linux/wait.h>

#include <uapi/drm/drm_svm_stub.h>

#include "stub_vm.h"

/* A test that has died must not stop a program for longer. */
#define STUB_HOLD_PATIENCE (10 * HZ)

/* Lets the faults go on that wait. Those that come find the next round. */
static void stub_hold_end(struct stub_vm *vm)
{
	lockdep_assert_held(&vm->hold.lock);

	WRITE_ONCE(vm->hold.addr, 0);
	WRITE_ONCE(vm->hold.waiting, 0);
	WRITE_ONCE(vm->hold.round, vm->hold.round + 1);
}

/**
 * stub_hold_init() - Nothing is held
 * @vm: the VM
 */
void stub_hold_init(struct stub_vm *vm)
{
	spin_lock_init(&vm->hold.lock);
}

/**
 * stub_hold_close() - Nothing is held, nor will be
 * @vm: the VM
 */
void stub_hold_close(struct stub_vm *vm)
{
	spin_lock(&vm->hold.lock);
	vm->hold.closed = true;
	stub_hold_end(vm);
	spin_unlock(&vm->hold.lock);
	wake_up_all(&vm->wait);
}

/**
 * stub_hold_control() - DRM_IOCTL_SVM_STUB_HOLD
 * @vm: the VM
 * @args: the arguments, checked; receives the number of faults that wait
 *
 * Return: 0; -EBUSY: it holds something already; -ENOENT: it has been closed;
 * -ENODEV.
 */
int stub_hold_control(struct stub_vm *vm, struct drm_svm_stub_hold *args)
{
	int err = 0;

	spin_lock(&vm->hold.lock);
	if (vm->hold.closed)
		err = stub_vm_closed_error(vm);
	else if (args->hold == DRM_SVM_STUB_HOLD_RELEASE)
		stub_hold_end(vm);
	else if (args->hold == DRM_SVM_STUB_HOLD_SET && vm->hold.addr)
		err = -EBUSY;
	else if (args->hold == DRM_SVM_STUB_HOLD_SET)
		WRITE_ONCE(vm->hold.addr, args->addr);
	args->waiting = vm->hold.waiting;
	spin_unlock(&vm->hold.lock);
	wake_up_all(&vm->wait);

	return err;
}

/**
 * stub_hold_wait() - Waits if a fault is to be held
 * @vm: the VM
 * @fault: the fault
 *
 * Context: may sleep; the lock of the range, and none of those that an
 * invalidation takes.
 */
void stub_hold_wait(struct stub_vm *vm, const struct stub_fault *fault)
{
	u64 addr = fault->addr & PAGE_MASK;
	unsigned int round;
	long left;

	if (READ_ONCE(vm->hold.addr) != addr)
		return;

	spin_lock(&vm->hold.lock);
	if (vm->hold.addr != addr) {
		spin_unlock(&vm->hold.lock);
		return;
	}
	round = vm->hold.round;
	WRITE_ONCE(vm->hold.waiting, vm->hold.waiting + 1);
	spin_unlock(&vm->hold.lock);
	wake_up_all(&vm->wait);

	left = wait_event_timeout(vm->wait, READ_ONCE(vm->hold.round) != round ||
				  READ_ONCE(*fault->cancel), STUB_HOLD_PATIENCE);

	spin_lock(&vm->hold.lock);
	if (vm->hold.round == round) {
		WRITE_ONCE(vm->hold.waiting, vm->hold.waiting - 1);
		/* All of it ends, or the next attempt would be held as long again. */
		if (!left)
			stub_hold_end(vm);
	}
	spin_unlock(&vm->hold.lock);
	wake_up_all(&vm->wait);
}
