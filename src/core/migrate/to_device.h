// SPDX-License-Identifier: GPL-2.0-only OR MIT
//
// One batch of pages on its way to device memory, from RAM or from another device.
//
// The kernel moves pages in three phases (mm/migrate_device.c); what happens
// between them is ours:
//
//	setup		the kernel unmaps and locks what it can
//	  survey	what did it get? decide whether to go on
//	  prepare	a device page for each, the other side mapped
//	  copy		the drivers fill the device pages
//	pages		the kernel switches over where it still can
//	finalize	page tables point to the new or back to the old pages
//
// begin() comes to where the copy has begun, end() does the rest: in between another batch may
// begin. Everything that may fail lies before "pages"; until then an error throws the
// device pages away and finalize puts all back. The phases after setup always
// run, whatever happened between.
//
// A huge page moves whole or is split by the kernel before we see it: that has to be known at
// setup, because a page that was collected whole may be mapped so by other processes as well.
#ifndef DSVM_CORE_MIGRATE_TO_DEVICE_H
#define DSVM_CORE_MIGRATE_TO_DEVICE_H

#include "core/base/result.h"
#include "core/base/va_range.h"
#include "core/migrate/copies.h"
#include "core/migrate/phase_clock.h"
#include "core/migrate/scratch.h"
#include "drm_svm/migrate.h"
#include "drm_svm/os.h"

namespace dsvm {

class ToDevice {
public:
	struct Request {
		dsvm_os_vma *vma;
		VaRange span;
		void *owner;		   // of device pages that may move
		const dsvm_devmem *devmem; // for a page of the span each, from its first on
		bool all_or_nothing;
		bool within_provider;
		// To look at what stays, an entry a page to look by, and one byte a page to say why;
		// or all nullptr.
		dsvm_os_mm *mm;
		dsvm_os_notifier *notifier;
		const void *pagemap; // the allocation's
		usize *looks;
		u8 *stays;
	};

	// @scratch has to have room for the pages of each request.
	explicit ToDevice(Scratch &scratch) : scratch_(scratch), copies_(scratch) {}

	// What the next batch is going to be, but for what does not matter or is to be filled in.
	// None is under way.
	Request &prepare_request(dsvm_os_vma *vma, const VaRange &span, void *owner,
				 const dsvm_devmem *devmem)
	{
		request_ = Request{
			.vma = vma,
			.span = span,
			.owner = owner,
			.devmem = devmem,
			.all_or_nothing = false,
			.within_provider = false,
			.mm = nullptr,
			.notifier = nullptr,
			.pagemap = nullptr,
			.looks = nullptr,
			.stays = nullptr,
		};
		return request_;
	}
	// That batch. An error says that nothing has happened. Locking: the mm's lock, which may be
	// given up for a pin of the VMA until end(). May sleep.
	Status begin();
	// What came of it. May sleep.
	Status end();
	bool is_under_way() const { return under_way_; }

	// Valid after end().
	usize migrated() const { return migrated_; }
	usize movable() const { return movable_; }
	usize here_already() const { return here_already_; }

private:
	bool wants_huge() const;
	bool moves(usize src) const
	{
		return entry_moves(src) && (is_plain_ || !entry_has_page(src) || page_moves(src));
	}
	bool page_moves(usize src) const;
	bool is_peer(usize src) const { return !is_plain_ && page_is_peer(src); }
	bool page_is_peer(usize src) const;
	void set_span();
	void survey();
	void survey_other(usize index, usize src, usize count);
	void explain();
	Status check() const;
	Status fill();
	usize singles_at(usize index) const;
	void prepare();
	void prepare_huge(usize index);
	void map();
	void give_back_unused();
	Status finish_copies();
	void take_stock();
	void take_stock_of_each();
	void let_go(usize src, usize npages);
	void note(usize index, usize count, dsvm_stay stay)
	{
		if (request_.stays)
			note_stay(index, count, stay);
	}
	void note_stay(usize index, usize count, dsvm_stay stay);

	Scratch &scratch_;
	Copies copies_;
	PhaseClock clock_;
	Request request_;	 // set by prepare_request()
	dsvm_migrate_span span_; // set by begin()
	Status status_;
	bool under_way_ = false;
	bool copying_ = false;
	bool is_plain_ = false; // no entry that moves, as the kernel sees it, is but RAM or a hole
	usize movable_ = 0;
	usize entries_ = 0;	 // that these have, of RAM and holes: a huge page has but one
	usize prepared_ = 0;	 // have a frame
	usize here_already_ = 0; // live in the provider's memory
	usize dropped_ = 0;	 // could not be mapped
	usize migrated_ = 0;
};

// See dsvm_migrate_to_device(). Locking: the mm's lock. May sleep.
Status migrate_to_device(dsvm_to_device &request);

} // namespace dsvm

#endif // DSVM_CORE_MIGRATE_TO_DEVICE_H
