// SPDX-License-Identifier: GPL-2.0-only OR MIT
//
// VMAs that stay as they are although nobody has the mm's lock (kernel: include/linux/mmap_lock.h,
// vma_start_read_locked() and vma_start_write()).
//
// Who changes a VMA has the mm's lock for writing and waits, with it, for those that keep the
// VMA. So whoever keeps one and waits for the mm's lock waits for ever, if the worst happens:
// here that is a broken rule, whatever happens.

#include "tests/host/simmm/os.h"

namespace dsvm::sim {

namespace {

u32 self()
{
	return scheduler().in_fiber() ? scheduler().running() : kMaxFibers;
}

} // namespace

bool Machine::pin_vma(Vma &vma)
{
	// Somebody may wait for the mm's lock in order to change it.
	if (!kernel_->pins_vmas || vma.is_awaited || mm_of(vma).lock.waiting_writers != 0)
		return false;
	moves.vmas_kept++;
	vma.pins++;
	vma.pinned_by[self()]++;
	return true;
}

void Machine::unpin_vma(Vma &vma)
{
	if (vma.pinned_by[self()] == 0) {
		scheduler().fail("a VMA is let go that was not kept", "[%u, %u]",
				 index_of(vma.first), index_of(vma.last));
		return;
	}
	vma.pinned_by[self()]--;
	vma.pins--;
}

bool Machine::has_pinned(const Vma &vma) const
{
	return vma.pinned_by[self()] != 0;
}

bool Machine::has_pinned_any() const
{
	for (const Mm &mm : mms_) {
		for (const Vma &vma : mm.vmas) {
			if (vma.pins != 0 && has_pinned(vma))
				return true;
		}
	}
	return false;
}

void Machine::no_pinned_vma(const char *what)
{
	if (has_pinned_any())
		scheduler().fail("waits for an mm's lock while it keeps a VMA", "%s", what);
}

void Machine::await_vmas(Mm &mm, usize first, usize last)
{
	if (!scheduler().holds_write(mm.lock))
		scheduler().fail("a lock is missing", "the mm's, where VMAs change");
	for (Vma &vma : mm.vmas) {
		if (!vma.in_use || vma.first > last || vma.last < first)
			continue;
		vma.is_awaited = true;
		scheduler().wait_until("a VMA that is kept", [&] { return vma.pins == 0; });
		vma.is_awaited = false;
	}
}

} // namespace dsvm::sim

using namespace dsvm;
using namespace dsvm::sim;

dsvm_bool dsvm_os_vma_pin(dsvm_os_vma *handle)
{
	Vma &vma = from_os(handle);

	scheduler().point(Point::kLock);
	if (!scheduler().holds(mm_of(vma).lock))
		scheduler().fail("a lock is not held that has to be", "%s, for a VMA to be kept",
				 mm_of(vma).lock.name);
	return machine().pin_vma(vma);
}

void dsvm_os_vma_unpin(dsvm_os_vma *handle)
{
	machine().unpin_vma(from_os(handle));
	scheduler().point(Point::kUnlock);
}
