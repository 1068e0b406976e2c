// SPDX-License-Identifier: GPL-2.0-only OR MIT
#include "core/migrate/cpu_fault.h"

#include "core/base/bits.h"
#include "core/migrate/folio_fault.h"
#include "core/migrate/plan.h"
#include "core/migrate/split.h"
#include "core/migrate/to_ram.h"
#include "core/svm/counters.h"

namespace dsvm {

namespace {

constexpr u32 kMaxOrder = ilog2(kBatchPages);

VaRange vma_of(const dsvm_cpu_fault &fault)
{
	return VaRange{fault.vma_first, fault.vma_last};
}

// How much comes back: what the driver asks for, and at least the huge page that was hit.
VaRange granule_of(const dsvm_cpu_fault &fault)
{
	const usize npages = fault.devmem->fault_npages ? fault.devmem->fault_npages
			     : fault.order		? 1
							: DSVM_FAULT_NPAGES;
	const u32 order = max(min(ilog2(npages), kMaxOrder), fault.order);

	return fault_span(fault.addr, order, vma_of(fault));
}

// The part of the VMA that the allocation was made for, if the page is in it.
Expected<VaRange> limits_of(const dsvm_cpu_fault &fault, VaRange granule)
{
	const dsvm_devmem &devmem = *fault.devmem;
	const VaRange made_for{devmem.first, devmem.first + (devmem.size - 1)};

	if (devmem.first == 0 || !made_for.contains(granule))
		return kNotFound;
	return vma_of(fault).intersection(made_for);
}

// The same if the driver does not ask for anything: a program that goes over memory in ascending
// order gets more each time. Faults side by side may spoil each other's, and get less for once.
VaRange streak_of(const dsvm_cpu_fault &fault)
{
	const VaRange granule = granule_of(fault);
	if (fault.order != 0 || fault.devmem->fault_npages != 0 || !fault.by_user)
		return granule;
	const Expected<VaRange> limits = limits_of(fault, granule);
	if (limits.is_error())
		return granule;

	u64 &word = fault.devmem->streak;
	Streak streak = Streak::from(__atomic_load_n(&word, __ATOMIC_RELAXED));
	const VaRange span = streak.next(granule, limits.value());
	__atomic_store_n(&word, streak.word(), __ATOMIC_RELAXED);
	return span;
}

DSVM_NOINLINE Status bring_pages_back(const dsvm_cpu_fault &fault, VaRange span)
{
	DSVM_UNSET Scratch scratch;
	if (scratch.obtain_or_reserve(span.page_count(), fault.devmem->provider).is_error()) {
		// The one page that somebody waits for.
		span = aligned_block(fault.addr, DSVM_PAGE_SIZE);
		scratch.use_own();
	}

	scratch.begin(span.page_count());
	DSVM_UNSET dsvm_migrate_span what;
	DSVM_UNSET ToRam batch{scratch, what};
	batch.prepare_request(*fault.devmem, DSVM_WAY_CPU_FAULT, 0);
	what.vma = fault.vma;
	what.first = span.first;
	what.npages = span.page_count();
	what.select = DSVM_MIGRATE_DEVICE;
	what.fault_page = fault.page;
	DSVM_TRY(batch.begin());
	return batch.end();
}

Status bring_back(const dsvm_cpu_fault &fault)
{
	// With nothing else in the span, and before anything else: see struct dsvm_migrate_span.
	if (fault.is_part)
		DSVM_TRY(split_at(fault.vma, fault.addr, fault.devmem->owner, fault.page));

	VaRange span = streak_of(fault);
	for (;;) {
		const Status status = fault.order != 0 ? bring_folio_back(fault, span)
						       : bring_pages_back(fault, span);
		if (DSVM_LIKELY(status.is_ok()) || fault_result(status) != DSVM_FAULT_LOST ||
		    span.page_count() >> fault.order <= 1)
			return status;
		// Somebody else's page in the granule may be what cannot be had.
		span = fault_span(fault.addr, fault.order, vma_of(fault));
	}
}

DSVM_COLD dsvm_fault_result conclude_error(const dsvm_cpu_fault &fault, Status status)
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
	return DSVM_LIKELY(status.is_ok()) ? DSVM_FAULT_DONE : conclude_error(fault, status);
}

} // namespace dsvm
