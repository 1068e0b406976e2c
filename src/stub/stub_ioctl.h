/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * What the ioctls have in common.
 */
#ifndef STUB_IOCTL_H
#define STUB_IOCTL_H

#include "stub_drv.h"

struct stub_vm;

static inline struct stub_file *to_stub_file(struct drm_file *file)
{
	return file->driver_priv;
}

/* Whether [start, start + size) lies in the mirror. */
static inline bool stub_va_ok(u64 start, u64 size)
{
	return start >= STUB_VA_START && start < STUB_VA_END &&
	       size <= STUB_VA_END - start;
}

/* The same for the bind window. */
static inline bool stub_bind_va_ok(u64 start, u64 size)
{
	return start >= STUB_BIND_START && start < STUB_BIND_END &&
	       size <= STUB_BIND_END - start;
}

struct stub_vm *stub_vm_lookup_own(struct drm_file *file, u32 vm_id);

#endif /* STUB_IOCTL_H */
