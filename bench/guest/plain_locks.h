/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * The locks of a VM, which are all that differs in its faults.
 *
 * Mainline's contract is one lock of the driver's around all that is done to ranges, and one
 * notifier lock. With PLAIN_EXTENDED, over our library only, each range and each window has one
 * of its own (drm/drm_svm.h), so that faults on different ranges run side by side.
 *
 * Who has plain_lock_vm() gets a range by plain_acquire(), or has a reference and takes
 * plain_lock_range(). plain_lock_entries() keeps invalidations of a range's memory out, and
 * plain_lock_table() those of all of the VM's memory, which is in one window.
 */
#ifndef BENCH_GUEST_PLAIN_LOCKS_H
#define BENCH_GUEST_PLAIN_LOCKS_H

#include <linux/mutex.h>

#include "plain.h"

#ifdef PLAIN_EXTENDED

#include <drm/drm_svm.h>

/* It has none to name. */
static inline void plain_name_lock(struct plain_vm *vm)
{
}

static inline void plain_lock_vm(struct plain_vm *vm)
{
}

static inline void plain_unlock_vm(struct plain_vm *vm)
{
}

static inline struct drm_gpusvm_range *plain_acquire(struct plain_vm *vm, unsigned long addr,
						     const struct drm_gpusvm_ctx *ctx)
{
	return drm_svm_range_acquire(&vm->svm, addr, vm->start, plain_vm_end(vm), ctx);
}

static inline void plain_release(struct drm_gpusvm_range *range)
{
	drm_svm_range_release(range);
}

/* Whether it has not been removed; if it has, it is not locked. */
static inline bool plain_lock_range(struct drm_gpusvm_range *range)
{
	return drm_svm_range_lock(range);
}

static inline void plain_unlock_range(struct drm_gpusvm_range *range)
{
	drm_svm_range_unlock(range);
}

static inline void plain_lock_entries(struct drm_gpusvm_range *range)
{
	drm_svm_window_lock(range->notifier);
}

static inline void plain_unlock_entries(struct drm_gpusvm_range *range)
{
	drm_svm_window_unlock(range->notifier);
}

static inline struct drm_gpusvm_notifier *plain_lock_table(struct plain_vm *vm)
{
	struct drm_gpusvm_notifier *window;

	drm_gpusvm_notifier_lock(&vm->svm);
	window = drm_gpusvm_notifier_find(&vm->svm, vm->start, plain_vm_end(vm));
	if (window)
		drm_svm_window_lock(window);
	return window;
}

static inline void plain_unlock_table(struct plain_vm *vm, struct drm_gpusvm_notifier *window)
{
	if (window)
		drm_svm_window_unlock(window);
	drm_gpusvm_notifier_unlock(&vm->svm);
}

#else

static inline void plain_name_lock(struct plain_vm *vm)
{
	drm_gpusvm_driver_set_lock(&vm->svm, &vm->lock);
}

static inline void plain_lock_vm(struct plain_vm *vm)
{
	mutex_lock(&vm->lock);
}

static inline void plain_unlock_vm(struct plain_vm *vm)
{
	mutex_unlock(&vm->lock);
}

static inline struct drm_gpusvm_range *plain_acquire(struct plain_vm *vm, unsigned long addr,
						     const struct drm_gpusvm_ctx *ctx)
{
	return drm_gpusvm_range_find_or_insert(&vm->svm, addr, vm->start, plain_vm_end(vm), ctx);
}

static inline void plain_release(struct drm_gpusvm_range *range)
{
}

static inline bool plain_lock_range(struct drm_gpusvm_range *range)
{
	return true;
}

static inline void plain_unlock_range(struct drm_gpusvm_range *range)
{
}

static inline void plain_lock_entries(struct drm_gpusvm_range *range)
{
	drm_gpusvm_notifier_lock(range->gpusvm);
}

static inline void plain_unlock_entries(struct drm_gpusvm_range *range)
{
	drm_gpusvm_notifier_unlock(range->gpusvm);
}

static inline struct drm_gpusvm_notifier *plain_lock_table(struct plain_vm *vm)
{
	drm_gpusvm_notifier_lock(&vm->svm);
	return NULL;
}

static inline void plain_unlock_table(struct plain_vm *vm, struct drm_gpusvm_notifier *window)
{
	drm_gpusvm_notifier_unlock(&vm->svm);
}

#endif

#endif /* BENCH_GUEST_PLAIN_LOCKS_H */
