// SPDX-License-Identifier: GPL-2.0-only OR MIT
//
// drm_svm/os.h on the machine: memory, time, log, locks, address spaces, interval notifiers.
// Pages are collected in hmm.cc, mapped for devices in dma.cc and moved in migrate.cc.
//
// Each function is what src/linux makes of it: a kernel call, whose contract is checked here.
// Where the kernel only goes wrong if the worst happens (a wait that finds nobody to wait
// for), this complains always, as lockdep does.

#include <cstdarg>
#include <cstdio>
#include <cstring>

#include "tests/host/simmm/os.h"

namespace dsvm::sim {

void no_notifier_lock(const char *what)
{
	if (scheduler().holds_rank(LockRank::kNotifier))
		scheduler().fail("waits under a lock that invalidations take", "%s", what);
}

Mm &mm_of(const Vma &vma)
{
	for (u32 i = 0; i < kMaxMms; i++) {
		Mm &mm = machine().mm(i);
		if (&vma >= mm.vmas && &vma < mm.vmas + kMaxVmas)
			return mm;
	}
	scheduler().fail("a VMA of no address space", "%p is none",
			 static_cast<const void *>(&vma));
	return machine().mm(0);
}

namespace {

// Kernel: vma_lookup() and find_vma_intersection() assert the mmap lock, in any mode.
bool describe(Mm &mm, Vma *vma, dsvm_vma_info *out)
{
	if (!scheduler().holds(mm.lock))
		scheduler().fail("VMAs are looked at without the mm's lock", "mm %u", mm.index);
	if (vma == nullptr)
		return false;
	*out = {to_os(*vma),
		vma->first,
		vma->last,
		vma->read,
		vma->write,
		vma->kind == VmaKind::kAnonymous,
		vma->kind == VmaKind::kSpecial};
	return true;
}

} // namespace

} // namespace dsvm::sim

using namespace dsvm;
using namespace dsvm::sim;

// Memory ----------------------------------------------------------------------

// Kernel: kvzalloc(GFP_KERNEL) may wait for reclaim, which may wait for notifiers.
void *dsvm_os_alloc(dsvm_usize bytes)
{
	scheduler().may_allocate();
	scheduler().point(Point::kAlloc);
	return machine().fails(Fail::kAlloc) ? nullptr : machine().alloc(bytes);
}

// Kernel: kvmalloc(), with what the one before may have left there.
void *dsvm_os_alloc_unset(dsvm_usize bytes)
{
	void *const memory = dsvm_os_alloc(bytes);

	if (memory != nullptr)
		std::memset(memory, 0xa5, bytes);
	return memory;
}

// Kernel: kvfree() may sleep, for what comes from vmalloc().
void dsvm_os_free(void *memory)
{
	if (memory == nullptr)
		return;
	scheduler().may_sleep("kvfree");
	machine().free(memory);
}

// Time, log, warnings ---------------------------------------------------------

dsvm_u64 dsvm_os_now_ns(void)
{
	return scheduler().now_ns();
}

dsvm_u64 dsvm_os_tick_ns(void)
{
	return scheduler().now_ns();
}

void dsvm_os_relax(void)
{
	scheduler().relax();
}

void dsvm_os_resched(void)
{
	scheduler().may_sleep("cond_resched");
	scheduler().point(Point::kOs);
}

// Kernel: fatal_signal_pending(current).
dsvm_bool dsvm_os_killed(void)
{
	scheduler().point(Point::kOs);
	return scheduler().is_killed();
}

void dsvm_os_log(dsvm_log_level, const char *format, ...)
{
	char line[256];
	va_list args;

	if (!scheduler().traces())
		return;
	va_start(args, format);
	std::vsnprintf(line, sizeof(line), format, args);
	va_end(args);
	scheduler().note("log: %s", line);
}

void dsvm_os_warn(const char *file, int line, const char *what)
{
	scheduler().fail("the core finds an invariant broken", "%s:%d: %s", file, line, what);
}

// Locks -----------------------------------------------------------------------

// An invalidation of a window waits for the GPU. Whoever waits for that with the lock around all
// windows keeps everybody from all of them.
static void not_under_all_windows(const Rwsem &lock)
{
	if (lock.rank == LockRank::kWindow && scheduler().holds_rank(LockRank::kNotifier))
		scheduler().fail("waits for a window under the lock of all of them", "%s",
				 lock.name);
}

void dsvm_os_read_lock(dsvm_os_rwsem *lock)
{
	not_under_all_windows(from_os(lock));
	scheduler().read_lock(from_os(lock));
}

void dsvm_os_read_unlock(dsvm_os_rwsem *lock)
{
	scheduler().read_unlock(from_os(lock));
}

void dsvm_os_write_lock(dsvm_os_rwsem *lock)
{
	not_under_all_windows(from_os(lock));
	scheduler().write_lock(from_os(lock));
}

void dsvm_os_write_unlock(dsvm_os_rwsem *lock)
{
	scheduler().write_unlock(from_os(lock));
}

void dsvm_os_assert_held(dsvm_os_rwsem *lock)
{
	if (!scheduler().holds(from_os(lock)))
		scheduler().fail("a lock is not held that has to be", "%s", from_os(lock).name);
}

void dsvm_os_assert_held_write(dsvm_os_rwsem *lock)
{
	if (!scheduler().holds_write(from_os(lock)))
		scheduler().fail("a lock is not held that has to be", "%s, for writing",
				 from_os(lock).name);
}

// Address spaces --------------------------------------------------------------

// Kernel: include/linux/sched/mm.h, mmget_not_zero().
dsvm_bool dsvm_os_mm_get(dsvm_os_mm *mm)
{
	scheduler().point(Point::kOs);
	if (!machine().mm_get(from_os(mm)))
		return false;
	from_os(mm).kept++;
	return true;
}

static void drop_kept(Mm &mm)
{
	scheduler().point(Point::kOs);
	if (mm.kept == 0)
		scheduler().fail("an mm loses a user that it does not have", "mm %u", mm.index);
	mm.kept--;
}

// Kernel: mmput_async() leaves exit_mmap() to a worker.
void dsvm_os_mm_put_async(dsvm_os_mm *mm)
{
	drop_kept(from_os(mm));
	machine().mm_put_async(from_os(mm));
}

void dsvm_os_mm_read_lock(dsvm_os_mm *mm)
{
	machine().no_pinned_vma("dsvm_os_mm_read_lock()");
	scheduler().read_lock(from_os(mm).lock);
}

// Kernel: exit_mmap() takes the VMAs out last of all.
dsvm_bool dsvm_os_mm_is_gone(dsvm_os_mm *mm)
{
	scheduler().point(Point::kOs);
	return from_os(mm).torn_down;
}

// Kernel: include/linux/mmap_lock.h.
dsvm_bool dsvm_os_mm_read_trylock(dsvm_os_mm *mm)
{
	scheduler().point(Point::kLock);
	return scheduler().try_read_lock(from_os(mm).lock);
}

void dsvm_os_mm_read_unlock(dsvm_os_mm *mm)
{
	scheduler().read_unlock(from_os(mm).lock);
}

// Kernel: exit_mmap() takes VMAs out under the lock for writing, whoever is a user.
int dsvm_os_vma_lock(dsvm_os_mm *mm, dsvm_usize addr, dsvm_vma_info *out)
{
	dsvm_os_mm_read_lock(mm);
	const bool is_there = dsvm_os_vma_at(mm, addr, out);
	scheduler().point(Point::kOs);
	const bool is_gone = from_os(mm).users == 0;
	if (is_there && !is_gone)
		return 0;
	dsvm_os_mm_read_unlock(mm);
	return is_gone ? -DSVM_EFAULT : -DSVM_ENOENT;
}

dsvm_bool dsvm_os_vma_at(dsvm_os_mm *handle, dsvm_usize addr, dsvm_vma_info *out)
{
	return dsvm_os_vma_first(handle, addr, addr, out);
}

dsvm_bool dsvm_os_vma_first(dsvm_os_mm *handle, dsvm_usize first, dsvm_usize last,
			    dsvm_vma_info *out)
{
	Mm &mm = from_os(handle);

	scheduler().point(Point::kOs);
	return describe(mm, machine().first_vma(mm, first, last), out);
}

// Interval notifiers ----------------------------------------------------------

// Kernel: mm/mmu_notifier.c; lockdep takes a wait for an invalidation for a lock.
dsvm_usize dsvm_os_notifier_read_begin(dsvm_os_notifier *notifier)
{
	no_notifier_lock("mmu_interval_read_begin");
	return machine().notifier_read_begin(from_os(notifier));
}

dsvm_bool dsvm_os_notifier_read_retry(dsvm_os_notifier *notifier, dsvm_usize seq)
{
	return machine().notifier_read_retry(from_os(notifier), seq);
}

dsvm_usize dsvm_os_notifier_seq(dsvm_os_notifier *notifier)
{
	if (!scheduler().holds_rank(LockRank::kNotifier))
		scheduler().fail("a sequence is read without the notifier lock", "%lu",
				 from_os(notifier).seq);
	scheduler().point(Point::kNotifier);
	return from_os(notifier).seq;
}

// Kernel: include/linux/mmu_notifier.h: under the lock that read_retry() is called under.
void dsvm_os_notifier_set_seq(dsvm_os_notifier *notifier, dsvm_usize seq)
{
	if (!scheduler().holds_rank(LockRank::kNotifier))
		scheduler().fail("a sequence is published without the notifier lock", "%lu", seq);
	machine().notifier_set_seq(from_os(notifier), seq);
}

void dsvm_os_notifier_copy_seq(dsvm_os_notifier *to, dsvm_os_notifier *from)
{
	dsvm_os_notifier_set_seq(to, dsvm_os_notifier_seq(from));
}

void dsvm_os_notifier_remove(dsvm_os_notifier *notifier)
{
	no_notifier_lock("mmu_interval_notifier_remove");
	machine().notifier_remove(from_os(notifier));
}
