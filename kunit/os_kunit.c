// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * The backend of the cases (kunit/env.h) inside a kernel.
 *
 * They take nothing from drm_svm.ko: this module carries a copy of the core and a
 * fake of what the core runs on. What tests drm_svm.ko itself is kunit/gpuvm_*.c.
 */
#include <linux/kernel.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/printk.h>
#include <linux/slab.h>

#include "env.h"

/* Random cases are short here: a virtual machine without KVM runs them too. */
static unsigned int effort = 10;
module_param(effort, uint, 0444);
MODULE_PARM_DESC(effort, "length of random cases in per cent");

void *dsvm_backend_alloc(dsvm_usize bytes)
{
	return kvzalloc(bytes, GFP_KERNEL);
}

void dsvm_backend_free(void *memory)
{
	kvfree(memory);
}

void dsvm_backend_print(const char *line)
{
	pr_info("    # %s\n", line);
}

void dsvm_backend_vformat(char *buffer, dsvm_usize size, const char *format,
			  __builtin_va_list args)
{
	vscnprintf(buffer, size, format, args);
}

dsvm_u32 dsvm_backend_effort(void)
{
	return effort;
}
