// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * drm/drm_gpuvm.h: a dump of a space.
 */
#include <linux/export.h>
#include <linux/seq_file.h>

#include <drm/drm_gpuvm.h>

static void show_span(struct seq_file *m, const char *what, u64 addr, u64 range)
{
	if (range)
		seq_printf(m, "%s 0x%016llx - 0x%016llx\n", what, addr, addr + range - 1);
	else
		seq_printf(m, "%s nothing\n", what);
}

static void show_mapping(struct seq_file *m, const struct drm_gpuva *va)
{
	const u32 flags = READ_ONCE(va->flags);

	seq_printf(m, "0x%016llx  0x%016llx  0x%016llx  %p  0x%016llx  0x%08x",
		   va->va.addr, va->va.range, va->va.addr + va->va.range - 1,
		   va->gem.obj, va->gem.offset, flags);
	if (flags & DRM_GPUVA_INVALIDATED)
		seq_puts(m, " invalidated");
	if (flags & DRM_GPUVA_SPARSE)
		seq_puts(m, " sparse");
	if (flags & DRM_GPUVA_REPEAT)
		seq_printf(m, " repeat 0x%llx+0x%llx", va->gem.repeat_offset, va->gem.repeat_range);
	seq_putc(m, '\n');
}

/**
 * drm_debugfs_gpuva_info() - Prints what is mapped in a space
 * @m: where to
 * @gpuvm: the space
 *
 * For a file in debugfs. Addresses and lengths are in the units of the space,
 * and an end is the last unit.
 *
 * Context: The VM lock, in any mode.
 *
 * Return: 0; -ENODEV: the space is not set up, or ended.
 */
int drm_debugfs_gpuva_info(struct seq_file *m, struct drm_gpuvm *gpuvm)
{
	const struct drm_gpuva *kernel = &gpuvm->kernel_alloc_node;
	struct drm_gpuva *va;

	if (!gpuvm->name)
		return -ENODEV;

	seq_printf(m, "GPU VA space %s\n", gpuvm->name);
	show_span(m, "managed: ", gpuvm->mm_start, gpuvm->mm_range);
	show_span(m, "reserved:", kernel->va.addr, kernel->va.range);
	seq_printf(m, "\n%-18s  %-18s  %-18s  %-16s  %-18s  %s\n",
		   "first", "range", "last", "object", "offset", "flags");
	drm_gpuvm_for_each_va(va, gpuvm) {
		if (va != kernel)
			show_mapping(m, va);
	}
	return 0;
}
EXPORT_SYMBOL_GPL(drm_debugfs_gpuva_info);
