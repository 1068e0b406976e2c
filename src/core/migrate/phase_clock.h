// SPDX-License-Identifier: GPL-2.0-only OR MIT
//
// How long the phases of a batch take: for the provider's counters and for the trace.
//
// A phase of most batches is over within microseconds, and to ask five times what time it is would
// be a good part of what a huge page costs. So counters go by ticks, which are right of many
// batches, unless somebody follows the trace, who wants to know it of each.
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
		row_ = &devmem.counters->phase[way][size_class(npages)];
		is_traced_ = dsvm_os_traces_migrate();
		if (DSVM_UNLIKELY(is_traced_)) {
			event_.devmem = &devmem;
			event_.way = way;
			event_.first = first;
			event_.npages = npages;
		}
		began_ns_ = is_traced_ ? dsvm_os_now_ns() : dsvm_os_tick_ns();
	}

	// A phase has ended; the next one begins. The last one's @pages have moved.
	void lap(dsvm_migrate_phase phase, usize pages, Status status)
	{
		if (DSVM_UNLIKELY(is_traced_))
			trace(phase, pages, status);
		else
			count_phase(phase, pages, dsvm_os_tick_ns());
	}

private:
	// Returns for how long it was.
	u64 count_phase(dsvm_migrate_phase phase, usize pages, u64 now)
	{
		const u64 ns = now - began_ns_;

		began_ns_ = now;
		if (ns != 0)
			count(ns_of(phase), ns);
		if (phase == DSVM_PHASE_FINALIZE) {
			count(row_->batches);
			count(row_->bytes, u64{pages} << DSVM_PAGE_SHIFT);
		}
		return ns;
	}

	dsvm_u64 &ns_of(dsvm_migrate_phase phase)
	{
		switch (phase) {
		case DSVM_PHASE_SETUP:
			return row_->setup_ns;
		case DSVM_PHASE_MAP:
			return row_->map_ns;
		case DSVM_PHASE_COPY:
			return row_->copy_ns;
		case DSVM_PHASE_FINALIZE:
			break;
		}
		return row_->finalize_ns;
	}

	DSVM_COLD void trace(dsvm_migrate_phase phase, usize pages, Status status)
	{
		event_.phase = phase;
		event_.count = pages;
		event_.status = status.code();
		event_.ns = count_phase(phase, pages, dsvm_os_now_ns());
		dsvm_os_trace_migrate(&event_);
	}

	dsvm_migrate_event event_; // set by start() and trace(), if the batch is traced
	dsvm_phase_counters *row_; // set by start()
	u64 began_ns_;		   // set by start()
	bool is_traced_;	   // set by start(): all of the batch is, or nothing
};

} // namespace dsvm

#endif // DSVM_CORE_MIGRATE_PHASE_CLOCK_H
