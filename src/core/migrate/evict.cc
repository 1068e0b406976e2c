// SPDX-License-Identifier: GPL-2.0-only OR MIT
#include "core/migrate/evict.h"

#include "core/base/array.h"
#include "core/migrate/to_ram.h"
#include "core/svm/deadline.h"
#include "core/svm/hmm.h"

namespace dsvm {

namespace {

// How long an eviction waits for its owner: to change its mappings, to exit. Within that it
// costs no try.
constexpr u64 kLockGraceNs = 100000000;
constexpr u64 kExitGraceNs = 10000000000;

// One batch of an allocation's page frames. Errors leave its pages on the device.
Status evict_batch(const dsvm_devmem &devmem, Scratch &scratch, const usize *pfns, usize npages)
{
	scratch.clear();
	for (usize i = 0; i < npages; ++i)
		scratch.src()[i] = pfns[i];

	dsvm_migrate_span span{};
	span.npages = npages;
	span.src = scratch.src();
	span.dst = scratch.dst();

	DSVM_TRY(Status{dsvm_os_migrate_device_setup(&span)});
	ToRam engine{devmem, scratch, span};
	const Status status = engine.fill();
	dsvm_os_migrate_device_pages(&span);
	engine.retire();
	dsvm_os_migrate_device_finalize(&span);
	return status;
}

// One allocation on its way to being empty.
class Eviction {
public:
	Eviction(const dsvm_devmem &devmem, dsvm_os_mm *mm, dsvm_bool (*detached)(void *));

	Status run();

private:
	Status sweep();
	Status evict_next(usize done);

	const dsvm_devmem &devmem_;
	dsvm_os_mm *const mm_;
	dsvm_bool (*const detached_)(void *);
	const usize npages_;
	const usize batch_;
	const Deadline lock_grace_;
	const Deadline exit_grace_;
	bool waiting_for_owner_ = false; // in this sweep
	Array<usize> frames_;		 // page frame numbers, all of the allocation's
	Scratch scratch_;
};

Eviction::Eviction(const dsvm_devmem &devmem, dsvm_os_mm *mm, dsvm_bool (*detached)(void *))
	: devmem_(devmem), mm_(mm), detached_(detached), npages_(devmem.size >> DSVM_PAGE_SHIFT),
	  batch_(npages_ < kToRamPages ? npages_ : kToRamPages), lock_grace_(kLockGraceNs),
	  exit_grace_(kExitGraceNs)
{}

// The kernel finds page tables through structs that go with the last mapping of a page, and it
// does not keep them itself while the page is on its way. So the owner is kept from exiting and
// from unmapping for each batch. The caller may hold locks that are taken under the mm's, so that
// one is not waited for, only tried. If the owner is exiting already, that takes its pages along;
// what is left when it is over belongs to children of a fork. Two gaps stay, as in mainline: such
// a child that unmaps or exits in this very moment, and an munmap() by the owner that has come to
// its last phase before we have the lock, which needs it for reading only.
Status Eviction::evict_next(usize done)
{
	const usize count = npages_ - done < batch_ ? npages_ - done : batch_;
	MmUser owner{mm_};
	MmReadTryGuard lock{owner.is_alive() ? mm_ : nullptr};

	if (!lock.is_held() && (owner.is_alive() || !dsvm_os_mm_is_gone(mm_))) {
		const Deadline &grace = owner.is_alive() ? lock_grace_ : exit_grace_;
		waiting_for_owner_ = grace.remaining_ns() != 0;
		return kBusy;
	}
	return evict_batch(devmem_, scratch_, frames_.data() + done, count);
}

// Goes over the whole allocation; the last error, if there was any.
Status Eviction::sweep()
{
	Status status;

	waiting_for_owner_ = false;
	for (usize done = 0; done < npages_ && !dsvm_os_killed(); done += batch_) {
		const Status result = evict_next(done);
		if (result.is_error())
			status = result;
	}
	return status;
}

Status Eviction::run()
{
	if (detached_(devmem_.allocation))
		return Status::ok();
	DSVM_TRY(frames_.allocate(npages_));
	DSVM_TRY(scratch_.allocate(batch_));
	DSVM_TRY(Status{devmem_.populate(devmem_.allocation, npages_, frames_.data())});

	Status status;
	for (int attempt = 0; attempt < DSVM_EVICT_TRIES;) {
		status = sweep();
		if (detached_(devmem_.allocation))
			return Status::ok();
		if (dsvm_os_killed())
			return kInterrupted;
		// Somebody held a page for a moment, or a fault on it was under way.
		dsvm_os_relax();
		attempt += waiting_for_owner_ ? 0 : 1;
	}
	return status.is_error() ? status : kBusy;
}

} // namespace

Status evict(const dsvm_devmem &devmem, dsvm_os_mm *mm, dsvm_bool (*detached)(void *))
{
	return Eviction{devmem, mm, detached}.run();
}

} // namespace dsvm
