// SPDX-License-Identifier: GPL-2.0-only OR MIT
//
// drm_svm/migrate.h for C: forwards to core/migrate and decides nothing.
#include "core/migrate/cpu_fault.h"
#include "core/migrate/evict.h"
#include "core/migrate/frames.h"
#include "core/migrate/job.h"
#include "core/migrate/split.h"
#include "core/migrate/to_device.h"
#include "drm_svm/migrate.h"

using namespace dsvm;

extern "C" {

int dsvm_devmem_init(dsvm_devmem *devmem)
{
	return init_frames(*devmem).code();
}

void dsvm_devmem_fini(dsvm_devmem *devmem)
{
	fini_frames(*devmem);
}

int dsvm_migrate_to_device(dsvm_to_device *request)
{
	return migrate_to_device(*request).code();
}

int dsvm_migrate_run_job(dsvm_migrate_job *job)
{
	return run_job(*job).code();
}

dsvm_fault_result dsvm_migrate_to_ram(const dsvm_cpu_fault *fault)
{
	return handle_cpu_fault(*fault);
}

int dsvm_migrate_evict(const dsvm_devmem *devmem, dsvm_os_mm *mm, dsvm_usize index,
		       dsvm_usize npages)
{
	return evict(*devmem, mm, index, npages).code();
}

int dsvm_migrate_evict_all(dsvm_os_provider *provider, dsvm_u64 budget_ns)
{
	return evict_all(provider, budget_ns).code();
}

int dsvm_migrate_split(dsvm_os_mm *mm, dsvm_os_notifier *notifier, dsvm_usize addr, void *owner)
{
	return split_cut_folio(mm, notifier, addr, owner).code();
}

} // extern "C"
