// SPDX-License-Identifier: GPL-2.0-only OR MIT
#include "core/migrate/folio_fault.h"

#include "core/migrate/entry.h"
#include "core/migrate/phase_clock.h"
#include "core/migrate/scratch.h"
#include "core/migrate/to_ram.h"
#include "core/svm/counters.h"

namespace dsvm {

namespace {

void set_span(dsvm_migrate_span &span, const dsvm_cpu_fault &fault, VaRange range, Scratch &scratch)
{
	span.vma = fault.vma;
	span.first = range.first;
	span.last = range.last;
	span.npages = range.page_count();
	span.owner = fault.devmem->owner;
	// It has to be collected as what it was hit as, or not at all.
	span.select = DSVM_MIGRATE_DEVICE | DSVM_MIGRATE_HUGE;
	span.fault_page = fault.page;
	span.src = scratch.src();
	span.dst = scratch.dst();
}

// Not as one huge page, or not in one piece; @ram is there for the huge page, or 0; @tried: there is
// none.
DSVM_COLD Status move_as_batch(const dsvm_cpu_fault &fault, Scratch &scratch,
			       dsvm_migrate_span &span, const PhaseClock &clock, usize ram,
			       bool tried)
{
	DSVM_UNSET ToRam batch{scratch, span};

	batch.take_over(
		ToRam::Request{
			.devmem = fault.devmem,
			.way = DSVM_WAY_CPU_FAULT,
			.index = 0,
			.hint_vma = nullptr,
			.huge_ram = ram,
			.lacks_huge = tried,
		},
		clock);
	return batch.end();
}

// The device's engine copies the huge page to what is mapped as the first of the scratch's addresses.
DSVM_ALWAYS_INLINE Status copy_folio(const dsvm_devmem &devmem, Scratch &scratch, usize src,
				     usize npages)
{
	dsvm_os_page *const page = dsvm_os_migrate_page(src);
	DSVM_UNSET dsvm_copy_run run;
	DSVM_UNSET dsvm_copy copy;

	copy.to_ram = true;
	copy.target = nullptr;
	if (devmem.copies_runs) {
		run = dsvm_copy_run{page, *scratch.addrs(), npages};
		run.addr.order = 0;
		copy.runs = &run;
		copy.nruns = 1;
	} else {
		copy.pages = scratch.empty_pages(npages);
		copy.pages[0] = page;
		copy.addrs = scratch.addrs();
		copy.npages = npages;
	}
	copy.done = nullptr;

	const Status status{devmem.copy(devmem.allocation, &copy)};
	return status.is_error() || !copy.done ? status : Status{dsvm_os_fence_wait(copy.done)};
}

// Switches over to @span's destination, if there still is one; how many pages have moved.
DSVM_ALWAYS_INLINE usize switch_over(const dsvm_devmem &devmem, dsvm_migrate_span &span)
{
	dsvm_os_migrate_pages(&span);
	const bool moved = span.dst[0] && entry_moves(span.src[0]);
	if (moved) {
		// For good, while it is still locked.
		dsvm_os_entries_retire(span.src, 1);
		count(devmem.counters->huge_moved);
	}
	dsvm_os_migrate_finalize(&span);
	return moved ? span.npages : 0;
}

} // namespace

DSVM_UNIT_INLINE Status bring_folio_back(const dsvm_cpu_fault &fault, VaRange range)
{
	const dsvm_devmem &devmem = *fault.devmem;
	const usize npages = range.page_count();
	DSVM_UNSET Scratch scratch;
	DSVM_TRY(scratch.obtain_or_reserve(npages, devmem.provider));
	scratch.begin(npages);

	DSVM_UNSET dsvm_migrate_span span;
	DSVM_UNSET PhaseClock clock;
	set_span(span, fault, range, scratch);
	clock.start(devmem, DSVM_WAY_CPU_FAULT, range.first, npages);
	const Status collected{dsvm_os_migrate_setup(&span)};
	clock.lap(DSVM_PHASE_SETUP, npages, collected);
	DSVM_TRY(collected);

	const usize src = span.src[0];
	if (!entry_is_huge(src) || npages != usize{1} << fault.order ||
	    dsvm_os_migrate_count_of(span.src, 1, devmem.zdd) == 0)
		return move_as_batch(fault, scratch, span, clock, 0, false);

	const usize ram = dsvm_os_entry_alloc(fault.vma, range.first, fault.order);
	if (!ram || dsvm_os_dma_map(devmem.dev, dsvm_os_migrate_page(ram), fault.order,
				    DSVM_DMA_FROM_DEVICE, scratch.addrs()) != 0)
		return move_as_batch(fault, scratch, span, clock, ram, !ram);
	span.dst[0] = ram;
	scratch.ends_at(1);
	clock.lap(DSVM_PHASE_MAP, 1, Status::ok());

	const Status copied = copy_folio(devmem, scratch, src, npages);
	clock.lap(DSVM_PHASE_COPY, npages, copied);
	if (dsvm_os_dma_needs_unmap(devmem.dev))
		dsvm_os_dma_unmap(devmem.dev, scratch.addrs());
	if (DSVM_UNLIKELY(copied.is_error()))
		discard_destinations(span, 0, 1);

	const usize moved = switch_over(devmem, span);
	clock.lap(DSVM_PHASE_FINALIZE, moved, copied);
	return copied;
}

} // namespace dsvm
