// SPDX-License-Identifier: GPL-2.0-only OR MIT
//
// How long the phases of a batch take: for the provider's counters and for the trace.
#ifndef DSVM_CORE_MIGRATE_PHASE_CLOCK_H
#define DSVM_CORE_MIGRATE_PHASE_CLOCK_H

#include "core/base/result.h"
#include "core/migrate/plan.h"
#include "core/svm/counters.h"
#include "drm_svm/migrate.h"
#include "drm_svm/os.h"

namespace dsvm {

class PhaseClock {
public:
	// A batch begins. @first is what the trace is to say.
	void start(const dsvm_devmem &devmem, dsvm_migrate_way way, usize first, usize npages)
	{
		event_.devmem = &devmem;
		event_.way = way;
		event_.first = first;
		event_.npages = npages;
		row_ = &devmem.counters->phase[way][size_class(npages)];
		began_ns_ = dsvm_os_now_ns();
	}

	// A phase has ended; the next one begins. The last one's @pages have moved.
	void lap(dsvm_migrate_phase phase, usize pages, Status status)
	{
		const u64 now = dsvm_os_now_ns();

		event_.phase = phase;
		event_.count = pages;
		event_.status = status.code();
		event_.ns = now - began_ns_;
		began_ns_ = now;
		count_event();
		dsvm_os_trace_migrate(&event_);
	}

private:
	void count_event()
	{
		dsvm_phase_counters &row = *row_;

		switch (event_.phase) {
		case DSVM_PHASE_SETUP:
			count(row.setup_ns, event_.ns);
			return;
		case DSVM_PHASE_MAP:
			count(row.map_ns, event_.ns);
			return;
		case DSVM_PHASE_COPY:
			count(row.copy_ns, event_.ns);
			return;
		case DSVM_PHASE_FINALIZE:
			count(row.finalize_ns, event_.ns);
			count(row.batches);
			count(row.bytes, u64{event_.count} << DSVM_PAGE_SHIFT);
			return;
		}
	}

	dsvm_migrate_event event_; // set by start() and lap()
	dsvm_phase_counters *row_; // set by start()
	u64 began_ns_;		   // set by start()
};

} // namespace dsvm

#endif // DSVM_CORE_MIGRATE_PHASE_CLOCK_H
