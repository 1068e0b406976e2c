// SPDX-License-Identifier: GPL-2.0-only OR MIT
//
// drm_svm/os.h, the doors that do for many what another one does for one, or what several do one
// after the other: for the kernel's sake, which is asked once then. They are the same on every host:
// here and in tests/host/simmm.

#include "core/migrate/entry.h"

using namespace dsvm;

// How many of @count entries, from the first one on, move and have what @is wants.
template <class Is> static usize count_moving(const usize *src, usize count, Is is)
{
	usize i = 0;

	for (; i < count; i++) {
		const dsvm_migrate_entry entry = decode(src[i]);
		if (!entry.moves || entry.page == nullptr || !is(entry))
			break;
	}
	return i;
}

dsvm_usize dsvm_os_migrate_count_ram(const dsvm_usize *src, dsvm_usize count)
{
	return count_moving(src, count, [](const auto &entry) { return entry.is_ram; });
}

dsvm_usize dsvm_os_migrate_count_of(const dsvm_usize *src, dsvm_usize count, dsvm_os_zdd *zdd)
{
	return count_moving(src, count, [zdd](const auto &entry) {
		return entry.zdd == zdd && !entry.retired;
	});
}

void dsvm_os_migrate_list_pages(const dsvm_usize *entries, dsvm_usize count, dsvm_os_page **pages)
{
	for (usize i = 0; i < count; i++)
		pages[i] = dsvm_os_migrate_page(entries[i]);
}

dsvm_usize dsvm_os_entries_alloc(dsvm_os_vma *vma, dsvm_usize addr, dsvm_usize count,
				 dsvm_usize *dst)
{
	usize i = 0;

	for (; i < count; i++) {
		dst[i] = dsvm_os_entry_alloc(vma, addr + i * DSVM_PAGE_SIZE, 0);
		if (dst[i] == 0)
			break;
	}
	return i;
}

void dsvm_os_entries_init_device(dsvm_usize pfn, dsvm_usize count, dsvm_os_zdd *zdd,
				 dsvm_usize *dst)
{
	for (usize i = 0; i < count; i++) {
		dsvm_os_page_init_device(pfn + i, zdd, 0);
		dst[i] = make_entry(pfn + i, 0);
	}
}

static usize map_entries(dsvm_os_dev *dev, const usize *entries, usize count,
			 dsvm_os_page *(*page_of)(usize), dsvm_dma_dir dir, dsvm_dma_addr *out)
{
	usize mapped = 0;

	while (mapped < count &&
	       dsvm_os_dma_map(dev, page_of(entries[mapped]), 0, dir, &out[mapped]) == 0)
		++mapped;
	return mapped;
}

dsvm_usize dsvm_os_dma_map_hmm(dsvm_os_dev *dev, const dsvm_usize *entries, dsvm_usize count,
			       dsvm_dma_dir dir, dsvm_dma_addr *out)
{
	return map_entries(dev, entries, count, dsvm_os_hmm_page, dir, out);
}

dsvm_usize dsvm_os_dma_map_migrate(dsvm_os_dev *dev, const dsvm_usize *entries, dsvm_usize count,
				   dsvm_dma_dir dir, dsvm_dma_addr *out)
{
	return map_entries(dev, entries, count, dsvm_os_migrate_page, dir, out);
}

int dsvm_os_hmm_fault_page(dsvm_os_mm *mm, dsvm_os_notifier *notifier, dsvm_usize addr,
			   void *owner, dsvm_bool write, dsvm_hmm_page *out)
{
	if (!dsvm_os_mm_get(mm))
		return -DSVM_EFAULT;

	dsvm_hmm_request request{};
	out->entry = 0;
	request.notifier = notifier;
	request.mm = mm;
	request.first = addr;
	request.last = addr + (DSVM_PAGE_SIZE - 1);
	request.timeout_ns = out->timeout_ns;
	request.owner = owner;
	request.fault = true;
	request.write = write;
	request.entries = &out->entry;
	request.seq = dsvm_os_notifier_read_begin(notifier);
	const int ret = dsvm_os_hmm_fault(&request);
	dsvm_os_mm_put_async(mm);
	out->seq = request.seq;
	return ret;
}

int dsvm_os_dma_map_ram(dsvm_os_dev *dev, dsvm_usize entry, dsvm_u32 order, dsvm_dma_dir dir,
			dsvm_u32 marks, dsvm_dma_addr *out)
{
	const int ret = dsvm_os_dma_map(dev, dsvm_os_hmm_page(entry), order, dir, out);

	if (ret != 0)
		return ret;
	if (dsvm_os_dma_needs_unmap(dev))
		return 1;
	if (marks != 0)
		dsvm_os_hmm_mark_alike(&entry, 1, marks);
	return 0;
}
