// SPDX-License-Identifier: GPL-2.0-only OR MIT
#include "core/migrate/to_ram.h"

#include "core/base/bits.h"
#include "core/base/va_range.h"
#include "core/svm/chunk.h"

namespace dsvm {

Status ToRam::prepare_page(usize index)
{
	dsvm_migrate_entry entry;
	dsvm_os_migrate_decode(span_.src[index], &entry);
	if (!entry.moves || !entry.zdd || entry.retired)
		return Status::ok();
	// The callbacks of one allocation cannot copy another one's pages.
	if (devmem_.zdd && entry.zdd != devmem_.zdd)
		return Status::ok();

	const bool is_fault_page = span_.fault_page && entry.page == span_.fault_page;
	dsvm_os_page *ram = dsvm_os_page_alloc(span_.vma, span_.first + (index << DSVM_PAGE_SHIFT));
	if (!ram)
		return is_fault_page ? kNoMemory : Status::ok();
	// The device may have written what the kernel was free to drop before it moved there.
	dsvm_os_page_mark_dirty(ram);
	const Status mapped{dsvm_os_dma_map(devmem_.dev, ram, 0, DSVM_DMA_FROM_DEVICE,
					    &scratch_.addrs()[index])};
	if (mapped.is_error()) {
		dsvm_os_page_discard(ram);
		return is_fault_page ? mapped : Status::ok();
	}
	scratch_.pages()[index] = entry.page;
	span_.dst[index] = dsvm_os_migrate_encode(ram);
	++prepared_;
	return Status::ok();
}

Status ToRam::prepare()
{
	for (usize i = 0; i < span_.npages; ++i)
		DSVM_TRY(prepare_page(i));
	return Status::ok();
}

void ToRam::unmap_ram()
{
	for (usize i = 0; i < span_.npages; ++i) {
		if (scratch_.pages()[i])
			dsvm_os_dma_unmap(devmem_.dev, &scratch_.addrs()[i]);
	}
}

void ToRam::discard_ram()
{
	for (usize i = 0; i < span_.npages; ++i) {
		if (span_.dst[i])
			dsvm_os_page_discard(dsvm_os_migrate_dst_page(span_.dst[i]));
		span_.dst[i] = 0;
	}
}

Status ToRam::fill()
{
	Status status = prepare();
	if (status.is_ok() && prepared_ > 0)
		status = Status{devmem_.copy_to_ram(devmem_.allocation, scratch_.pages(),
						    scratch_.addrs(), span_.npages)};
	unmap_ram();
	if (status.is_error())
		discard_ram();
	return status;
}

void ToRam::retire()
{
	dsvm_migrate_entry entry;

	for (usize i = 0; i < span_.npages; ++i) {
		dsvm_os_migrate_decode(span_.src[i], &entry);
		if (span_.dst[i] && entry.moves)
			dsvm_os_page_retire(entry.page);
	}
}

namespace {

// The aligned block of the allocation's size around the address, as far as the VMA reaches.
VaRange fault_span(const dsvm_cpu_fault &fault)
{
	const usize pages = fault.devmem->size >> DSVM_PAGE_SHIFT;
	const usize granule = pages < kToRamPages ? pages : kToRamPages;
	const u64 size = granule ? u64{DSVM_PAGE_SIZE} << ilog2(granule) : DSVM_PAGE_SIZE;
	const u64 first = align_down(fault.addr, size);
	const u64 last = first + (size - 1);

	return VaRange{first < fault.vma_first ? fault.vma_first : first,
		       last > fault.vma_last ? fault.vma_last : last};
}

Status migrate_back(const dsvm_cpu_fault &fault)
{
	VaRange range = fault_span(fault);
	Scratch scratch;
	if (scratch.allocate(range.page_count()).is_error()) {
		// The one page that somebody waits for.
		range = aligned_block(fault.addr, DSVM_PAGE_SIZE);
		scratch.use_reserve();
	}

	dsvm_migrate_span span{};
	span.vma = fault.vma;
	span.first = range.first;
	span.last = range.last;
	span.npages = range.page_count();
	span.owner = fault.owner;
	span.select = DSVM_MIGRATE_DEVICE;
	span.fault_page = fault.page;
	span.src = scratch.src();
	span.dst = scratch.dst();

	DSVM_TRY(Status{dsvm_os_migrate_setup(&span)});
	ToRam engine{*fault.devmem, scratch, span};
	const Status status = engine.fill();
	dsvm_os_migrate_pages(&span);
	engine.retire();
	dsvm_os_migrate_finalize(&span);
	return status;
}

} // namespace

dsvm_fault_result handle_cpu_fault(const dsvm_cpu_fault &fault)
{
	// The CPU comes back until the device has had its time.
	if (fault.in_timeslice)
		return DSVM_FAULT_DONE;

	// Two faults on a page hold a reference each, and so keep each other from moving it
	// for ever. The one that comes second gives its own up at once and tries again; once
	// the first one has collected the pages it waits there.
	if (!dsvm_os_zdd_enter(fault.devmem->zdd))
		return DSVM_FAULT_DONE;
	const Status status = migrate_back(fault);
	dsvm_os_zdd_leave(fault.devmem->zdd);

	switch (status.code()) {
	case 0:
		return DSVM_FAULT_DONE; // perhaps without it: then the CPU comes back
	case -DSVM_ENOMEM:
		return DSVM_FAULT_OOM;
	default:
		dsvm_os_log(DSVM_LOG_ERROR,
			    "device memory at %#lx cannot be read back, its owner gets SIGBUS",
			    fault.addr);
		return DSVM_FAULT_LOST;
	}
}

} // namespace dsvm
