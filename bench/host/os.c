// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * drm_svm/os.h as far as the VA manager wants it, on kernel.h.
 */
#include <stdarg.h>

#include "bench/host/kernel.h"
#include "drm_svm/os.h"

void *dsvm_os_alloc(dsvm_usize bytes)
{
	return kzalloc(bytes, GFP_KERNEL);
}

void *dsvm_os_alloc_unset(dsvm_usize bytes)
{
	return kmalloc(bytes, GFP_KERNEL);
}

void dsvm_os_free(void *memory)
{
	kfree(memory);
}

void *dsvm_os_alloc_nowait(dsvm_usize bytes)
{
	return kmalloc(bytes, GFP_KERNEL);
}

void dsvm_os_free_nowait(void *memory)
{
	kfree(memory);
}

void dsvm_os_log(enum dsvm_log_level level, const char *format, ...)
{
}

void dsvm_os_warn(const char *file, int line, const char *what)
{
	fprintf(stderr, "warning: %s\n", what);
	abort();
}
