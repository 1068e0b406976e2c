// SPDX-License-Identifier: GPL-2.0-only OR MIT
//
// Any span of an address space on its way to a device: VMAs and holes as they come, whatever can
// move, and a word for each page that cannot.
//
//	find	runs of pages that are not there yet, each in one VMA and one
//		block of 2 MiB; a few of them make a group
//	alloc	device memory for each, with no lock at all
//	move	batch by batch (to_device.h), the next one set up while the one before
//		it copies
//	drain	the locks are given up before the next group
//	again	what was swapped out, or where this device cannot read it, is brought to
//		RAM and tried once more
//
// Locks: with a pin of its VMA a batch does without the mm's lock while it copies. Whoever waits
// to change that VMA has the mm's lock for writing; so with a batch under way the lock is only
// tried, and what is under way is finished first if it cannot be had. Where the kernel has no
// pins the lock is held for reading from the first batch of a group to the last.
//
// Workers share a span by slices of whole blocks, and have nothing else in common.
#ifndef DSVM_CORE_MIGRATE_JOB_H
#define DSVM_CORE_MIGRATE_JOB_H

#include "core/base/result.h"
#include "drm_svm/migrate.h"

namespace dsvm {

// See dsvm_migrate_run_job(). May sleep.
Status run_job(dsvm_migrate_job &job);

} // namespace dsvm

#endif // DSVM_CORE_MIGRATE_JOB_H
