// SPDX-License-Identifier: GPL-2.0-only OR MIT
#include "core/migrate/job.h"

#include "core/migrate/plan.h"
#include "core/migrate/slice.h"

namespace dsvm {

namespace {

// More do not help anybody.
constexpr u64 kMaxWorkers = 64;

// A slice is too large for a kernel's stack.
Status run_slice(JobState &state, VaRange span)
{
	void *memory = dsvm_os_alloc(sizeof(Slice));
	if (!memory)
		return kNoMemory;

	Slice *slice = construct_at<Slice>(memory, state, span);
	const Status status = slice->run();
	destroy_at(slice);
	dsvm_os_free(memory);
	return status;
}

// A worker for each block at most.
u32 worker_count(const JobState &state)
{
	const VaRange &span = state.span;
	const u64 blocks = span.last / kBlockSize - span.first / kBlockSize + 1;

	return static_cast<u32>(clamp<u64>(state.job.workers, 1, min<u64>(blocks, kMaxWorkers)));
}

void work(void *context, u32 index)
{
	JobState &state = *static_cast<JobState *>(context);
	const Expected<VaRange> span = slice_of(state.span, index, worker_count(state));
	if (span.is_error())
		return;

	const Status status = run_slice(state, span.value());
	int none = 0;
	if (status.is_error())
		__atomic_compare_exchange_n(&state.error, &none, status.code(), false,
					    __ATOMIC_RELAXED, __ATOMIC_RELAXED);
}

} // namespace

Status run_job(dsvm_migrate_job &job)
{
	const VaRange span{job.first, job.last};
	if (!span.is_well_formed() || !span.is_page_aligned())
		return kInvalid;

	const usize npages = span.page_count();
	for (usize i = 0; i < DSVM_STAYS; ++i)
		job.result[i] = 0;
	for (usize i = 0; job.report && i < npages; ++i)
		job.report[i] = DSVM_STAY_NOT_TRIED;

	JobState state{job, span};
	dsvm_os_parallel(work, &state, worker_count(state));

	usize noted = 0;
	for (usize i = 0; i < DSVM_STAYS; ++i)
		noted += job.result[i];
	job.result[DSVM_STAY_NOT_TRIED] += npages - noted;
	return Status{state.error};
}

} // namespace dsvm
