// SPDX-License-Identifier: GPL-2.0-only OR MIT
//
// drm_svm/migrate.h for C: forwards to core/migrate and decides nothing.
#include "core/migrate/evict.h"
#include "core/migrate/to_device.h"
#include "core/migrate/to_ram.h"
#include "drm_svm/migrate.h"

using namespace dsvm;

extern "C" {

int dsvm_migrate_to_device(dsvm_to_device *request)
{
	return ToDevice{*request}.run().code();
}

dsvm_fault_result dsvm_migrate_to_ram(const dsvm_cpu_fault *fault)
{
	return handle_cpu_fault(*fault);
}

int dsvm_migrate_evict(const dsvm_devmem *devmem, dsvm_os_mm *mm, dsvm_bool (*detached)(void *))
{
	return evict(*devmem, mm, detached).code();
}

} // extern "C"
