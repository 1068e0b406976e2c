// SPDX-License-Identifier: GPL-2.0-only OR MIT
//
// RAM to device memory.
//
// The kernel moves pages in three phases (mm/migrate_device.c); what happens
// between them is ours:
//
//	setup		the kernel unmaps and locks what it can
//	  survey	what did it get? decide whether to go on
//	  prepare	a device page for each, RAM mapped for DMA
//	  copy		the driver fills the device pages
//	pages		the kernel switches over where it still can
//	finalize	page tables point to the new or back to the old pages
//
// Everything that may fail lies before "pages"; until then an error throws the
// device pages away and finalize puts all back. The phases after setup always
// run, whatever happened between.
#ifndef DSVM_CORE_MIGRATE_TO_DEVICE_H
#define DSVM_CORE_MIGRATE_TO_DEVICE_H

#include "core/base/result.h"
#include "core/migrate/scratch.h"
#include "drm_svm/migrate.h"
#include "drm_svm/os.h"

namespace dsvm {

class ToDevice {
public:
	explicit ToDevice(dsvm_to_device &request);

	// See dsvm_migrate_to_device(). Locking: the mm's lock. May sleep.
	Status run();

private:
	// What setup collected.
	struct Survey {
		usize movable = 0;
		usize here_already = 0; // live in the provider's memory
	};

	Status find_vma();
	Survey survey() const;
	Status check(const Survey &survey) const;
	Status fill(const Survey &survey);
	Status prepare();
	Status prepare_page(usize index, usize pfn);
	void unmap_ram();
	void discard_device_pages();
	void count_migrated();

	bool moves(usize index, dsvm_migrate_entry *entry) const;

	dsvm_to_device &request_;
	const dsvm_devmem &devmem_;
	const usize npages_;
	Scratch scratch_;
	dsvm_migrate_span span_{};
};

} // namespace dsvm

#endif // DSVM_CORE_MIGRATE_TO_DEVICE_H
