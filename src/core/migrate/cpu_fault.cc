// SPDX-License-Identifier: GPL-2.0-only OR MIT
#include "core/migrate/cpu_fault.h"

#include "core/base/bits.h"
#include "core/migrate/plan.h"
#include "core/migrate/split.h"
#include "core/migrate/to_ram.h"
#include "core/svm/counters.h"

namespace dsvm {

namespace {

constexpr u32 kMaxOrder = ilog2(kBatchPages);

// How much comes back: what the driver asks for, and at least the huge page that was hit.
u32 granule_order(const dsvm_cpu_fault &fault)
{
	const usize npages =
		fault.devmem->fault_npages ? fault.devmem->fault_npages : DSVM_FAULT_NPAGES;

	return min(max(ilog2(npages), fault.order), max(kMaxOrder, fault.order));
}

Status bring_back(const dsvm_cpu_fault &fault, u32 order)
{
	VaRange span = fault_span(fault.addr, order, VaRange{fault.vma_first, fault.vma_last});
	DSVM_UNSET Scratch scratch;
	if (scratch.allocate_or_reserve(span.page_count(), fault.devmem->provider).is_error()) {
		if (fault.order != 0)
			return kNoMemory;
		// The one page that somebody waits for.
		span = aligned_block(fault.addr, DSVM_PAGE_SIZE);
		scratch.use_own();
	}

	scratch.begin();
	DSVM_UNSET ToRam batch{scratch};
	ToRam::Request request{};
	request.devmem = fault.devmem;
	request.way = DSVM_WAY_CPU_FAULT;
	request.vma = fault.vma;
	request.first = span.first;
	request.npages = span.page_count();
	// A huge page has to be collected as what it was hit as, or not at all.
	request.select = DSVM_MIGRATE_DEVICE | (fault.order ? DSVM_MIGRATE_HUGE : 0);
	request.fault_page = fault.page;
	DSVM_TRY(batch.begin(request));
	return batch.end();
}

Status bring_back(const dsvm_cpu_fault &fault)
{
	// With nothing else in the span, and before anything else: see struct dsvm_migrate_span.
	if (fault.is_part)
		DSVM_TRY(split_at(fault.vma, fault.addr, fault.owner, fault.page));

	const u32 order = granule_order(fault);
	const Status status = bring_back(fault, order);

	// Somebody else's page in the granule may be what cannot be had.
	if (fault_result(status) == DSVM_FAULT_LOST && order > fault.order)
		return bring_back(fault, fault.order);
	return status;
}

dsvm_fault_result conclude(const dsvm_cpu_fault &fault, Status status)
{
	const dsvm_fault_result result = fault_result(status);

	if (result == DSVM_FAULT_OOM)
		count(fault.devmem->counters->fault_oom);
	if (result == DSVM_FAULT_LOST) {
		count(fault.devmem->counters->fault_lost);
		dsvm_os_log(DSVM_LOG_ERROR,
			    "device memory at %#lx cannot be read back (%d), its owner gets SIGBUS",
			    fault.addr, status.code());
	}
	return result;
}

} // namespace

dsvm_fault_result handle_cpu_fault(const dsvm_cpu_fault &fault)
{
	if (fault.timeslice_ns != 0) {
		count(fault.devmem->counters->timeslice_waits);
		if (dsvm_os_fault_wait(fault.fault, fault.timeslice_ns))
			return DSVM_FAULT_RETRY;
	}

	// Two faults on a page hold a reference each, and so keep each other from moving it
	// for ever. The one that comes second gives its own up at once and tries again; once
	// the first one has collected the page it waits there.
	if (!dsvm_os_page_enter(fault.page)) {
		count(fault.devmem->counters->fault_races);
		return DSVM_FAULT_DONE;
	}
	const Status status = bring_back(fault);
	dsvm_os_page_leave(fault.page);
	return conclude(fault, status);
}

} // namespace dsvm
