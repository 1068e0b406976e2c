#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only OR MIT
#
# probe.sh INCLUDE_DIR: print one -DHAVE_... for each feature that the kernel
# headers in INCLUDE_DIR offer. The headers are asked and not the version,
# because long-term kernels take interfaces from later ones. Kbuild puts the
# answers on the command line; only src/linux/compat/ may look at them.
set -eu

inc=$1

# probe NAME HEADER REGEX: a header that is missing is an error, not a "no".
probe()
{
	found=0
	grep -qE -e "$3" "$inc/$2" || found=$?
	case $found in
	0) echo "-D$1=1" ;;
	1) ;;
	*) exit "$found" ;;
	esac
}

# 6.14 removed drm_driver.date; 6.1 warns when it is NULL.
probe HAVE_DRM_DRIVER_DATE drm/drm_drv.h 'char [*]date;'

# 6.8 added the number of objects; before 6.6 there is no drm_exec at all.
[ ! -e "$inc/drm/drm_exec.h" ] ||
	probe HAVE_DRM_EXEC_INIT_NR drm/drm_exec.h 'drm_exec_init[(].*, unsigned nr[)]'

# 6.16 added dma_iova_*(): a window of device addresses that is filled by hand.
probe HAVE_DMA_IOVA linux/dma-mapping.h 'dma_iova_try_alloc[(]'

# Not in 6.12, in 7.3: RAM is mapped by its address, without a page.
probe HAVE_DMA_MAP_PHYS linux/dma-mapping.h 'dma_map_phys[(]'

# Not in 6.12, in 7.3: whether a device's mappings have to be undone.
probe HAVE_DMA_NEED_UNMAP linux/dma-mapping.h 'dma_need_unmap[(]'

# Not in 6.12, in 7.3: a mutex in struct drm_gem_object for its list of
# drm_gpuvm_bo, and with it a list that every driver may use.
probe HAVE_GEM_GPUVA_LOCK drm/drm_gem.h 'gpuva[.]lock[)]'

# Not in 6.12, in 7.3: hmm_range_fault() that takes the mmap lock by itself and
# survives fault handlers that drop it (userfaultfd).
probe HAVE_HMM_UNLOCKED linux/hmm.h 'hmm_range_fault_unlocked_timeout[(]'

# 6.15 made make_device_exclusive_range() one for a single page.
probe HAVE_MAKE_DEVICE_EXCLUSIVE linux/rmap.h 'make_device_exclusive[(]'

# 6.15 added migrate_device_pfns(), for device pages that do not lie in a row.
probe HAVE_MIGRATE_DEVICE_PFNS linux/migrate.h 'migrate_device_pfns[(]'

# Not in 6.12, in 7.3: interval notifiers in two passes.
probe HAVE_MMU_INTERVAL_FINISH linux/mmu_notifier.h '[(][*]invalidate_finish[)]'

# 6.15 moved the page's pgmap into its folio; page_pgmap() finds it there.
probe HAVE_PAGE_PGMAP linux/mmzone.h 'page_pgmap[(]'

# 6.19 replaced dev_pagemap_ops.page_free by folio_free: device folios may be
# larger than a page.
probe HAVE_PGMAP_FOLIO_FREE linux/memremap.h '[(][*]folio_free[)]'

# 6.19 splits device folios, and tells their owner.
probe HAVE_PGMAP_FOLIO_SPLIT linux/memremap.h '[(][*]folio_split[)]'

# 6.13 dropped the last parameter of vma_alloc_folio().
probe HAVE_VMA_ALLOC_FOLIO_HUGEPAGE linux/gfp.h 'addr, bool hugepage[)];'

# 6.15 made a VMA's lock for readers a count, which may be full.
probe HAVE_VMA_START_READ_LOCKED linux/mmap_lock.h 'bool vma_start_read_locked[(]'

# 6.3 made vma->vm_flags read-only; 6.1 has no function to change them.
probe HAVE_VM_FLAGS_SET linux/mm.h 'void vm_flags_set[(]'

# Not in 6.12, in 7.3: zone_device_page_init() also takes pgmap and order.
probe HAVE_ZDPI_PGMAP linux/memremap.h \
	'zone_device_page_init[(]struct page [*]page, struct dev_pagemap'
