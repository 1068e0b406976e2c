/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * The plain stub has no memory of the process in its bind window.
 */
#ifndef STUB_USERPTR_H
#define STUB_USERPTR_H

#include <linux/errno.h>
#include <linux/types.h>

struct stub_fault;
struct stub_vm;

static inline void stub_userptr_release_all(struct stub_vm *vm)
{
}

static inline void stub_userptr_inject(struct stub_vm *vm, u32 every)
{
}

static inline int stub_userptr_make_good(struct stub_vm *vm)
{
	return 0;
}

/* There is none at the address. */
static inline int stub_userptr_fault(struct stub_vm *vm, const struct stub_fault *fault)
{
	return -ENOENT;
}

#endif /* STUB_USERPTR_H */
