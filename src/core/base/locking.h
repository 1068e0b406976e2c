// SPDX-License-Identifier: GPL-2.0-only OR MIT
//
// The order in which locks are taken, the annotations that let clang check who
// holds what, and the two guards through which the core takes a lock at all.
//
// The order, outermost first; nobody takes a lock to the left of, or above, one that
// he holds:
//
//	driver's VM lock              the driver's own; the library asserts it, never takes it
//	  range                       serialises what is done with one range, for drivers that
//	                              have no lock around all of them; theirs to take as well
//	    mmap_lock                 for reading; held through a migration, because the
//	                              kernel's phases and mainline's populate_mm ask for it
//	      device-memory locks     the driver's, inside its copy and allocation callbacks
//	        folio locks           from migrate setup to finalize
//	          notifier_lock       taken inside mmu notifiers, hence tainted by reclaim:
//	                              nothing below it allocates or waits for who allocates
//	            window            the same for one notifier window, where each has its own;
//	                              then the one above guards nothing but the tree of windows
//	              GPU page tables the driver's, in its invalidation callback; DMA unmap
//
// A lock added here gets its rank below. The host's and the KUnit module's lock
// checker fail a case that takes locks out of rank, unlocks twice or leaves one
// locked; in the kernel the locks are real and lockdep learns the same order.
//
// Thread-safety annotations: DSVM_REQUIRES(lock) on a function says that the caller
// holds it for writing, DSVM_REQUIRES_SHARED(lock) that reading is enough, and
// DSVM_GUARDED_BY(lock) on a field who protects it. clang checks them in every host
// test run (-Wthread-safety -Werror); g++ sees nothing.
//
// What it does not do: the core has no spinlock, no recursion, and no trylock but of an mm's
// (core/svm/hmm.h).
#ifndef DSVM_CORE_BASE_LOCKING_H
#define DSVM_CORE_BASE_LOCKING_H

#include "core/base/utility.h"
#include "drm_svm/os.h"

#ifdef __clang__
#define DSVM_THREAD_ANNOTATION(x) __attribute__((x))
#else
#define DSVM_THREAD_ANNOTATION(x)
#endif

// On a class: it is a lock; it takes a lock in its constructor and drops it at the end.
#define DSVM_CAPABILITY(name) DSVM_THREAD_ANNOTATION(capability(name))
#define DSVM_SCOPED_CAPABILITY DSVM_THREAD_ANNOTATION(scoped_lockable)
// On a field: it is protected; what it points to is protected.
#define DSVM_GUARDED_BY(x) DSVM_THREAD_ANNOTATION(guarded_by(x))
#define DSVM_PT_GUARDED_BY(x) DSVM_THREAD_ANNOTATION(pt_guarded_by(x))
// On a lock: its place in the order.
#define DSVM_ACQUIRED_BEFORE(...) DSVM_THREAD_ANNOTATION(acquired_before(__VA_ARGS__))
#define DSVM_ACQUIRED_AFTER(...) DSVM_THREAD_ANNOTATION(acquired_after(__VA_ARGS__))
// On a function: the caller holds, must not hold; the function takes, drops, asserts.
#define DSVM_REQUIRES(...) DSVM_THREAD_ANNOTATION(requires_capability(__VA_ARGS__))
#define DSVM_REQUIRES_SHARED(...) DSVM_THREAD_ANNOTATION(requires_shared_capability(__VA_ARGS__))
#define DSVM_EXCLUDES(...) DSVM_THREAD_ANNOTATION(locks_excluded(__VA_ARGS__))
#define DSVM_ACQUIRE(...) DSVM_THREAD_ANNOTATION(acquire_capability(__VA_ARGS__))
#define DSVM_ACQUIRE_SHARED(...) DSVM_THREAD_ANNOTATION(acquire_shared_capability(__VA_ARGS__))
#define DSVM_RELEASE(...) DSVM_THREAD_ANNOTATION(release_capability(__VA_ARGS__))
#define DSVM_RELEASE_SHARED(...) DSVM_THREAD_ANNOTATION(release_shared_capability(__VA_ARGS__))
// For the end of a guard, which drops whatever it took.
#define DSVM_RELEASE_GENERIC(...) DSVM_THREAD_ANNOTATION(release_generic_capability(__VA_ARGS__))
#define DSVM_ASSERT_HELD(x) DSVM_THREAD_ANNOTATION(assert_capability(x))
#define DSVM_ASSERT_HELD_SHARED(x) DSVM_THREAD_ANNOTATION(assert_shared_capability(x))
#define DSVM_RETURN_CAPABILITY(x) DSVM_THREAD_ANNOTATION(lock_returned(x))
// Where the analysis cannot follow; say why beside it.
#define DSVM_NO_THREAD_SAFETY_ANALYSIS DSVM_THREAD_ANNOTATION(no_thread_safety_analysis)

namespace dsvm {

// The order above as numbers: a thread takes locks in rising rank only.
enum class LockRank : u8 {
	kUnranked = 0,	   // exempt from the order; for tests of the checker itself
	kDriverVm = 1,	   // the driver's VM lock
	kRange = 2,	   // what is done with one range
	kMmap = 3,	   // mmap_lock
	kDeviceMemory = 4, // the driver's device-memory locks
	kFolio = 5,	   // folio locks
	kNotifier = 6,	   // notifier_lock
	kWindow = 7,	   // a notifier window's own
	kGpuPageTable = 8, // the driver's page-table lock
};

// One of the environment's reader-writer semaphores, dressed for the analysis. A
// value of one word: it does not own the semaphore, and two that name the same
// semaphore are two capabilities to clang, so keep one per semaphore.
class DSVM_CAPABILITY("rwsem") RwLock {
public:
	explicit RwLock(dsvm_os_rwsem *semaphore) : semaphore_(semaphore) {}

	void read_lock() DSVM_ACQUIRE_SHARED() { dsvm_os_read_lock(semaphore_); }
	void read_unlock() DSVM_RELEASE_SHARED() { dsvm_os_read_unlock(semaphore_); }
	void write_lock() DSVM_ACQUIRE() { dsvm_os_write_lock(semaphore_); }
	void write_unlock() DSVM_RELEASE() { dsvm_os_write_unlock(semaphore_); }

	// Complains at run time, and tells the analysis, that the caller holds it: in
	// any mode; for writing.
	void assert_held() DSVM_ASSERT_HELD_SHARED(this) { dsvm_os_assert_held(semaphore_); }
	void assert_held_write() DSVM_ASSERT_HELD(this) { dsvm_os_assert_held_write(semaphore_); }

private:
	// The environment's; immutable, outlives this.
	dsvm_os_rwsem *semaphore_;
};

class DSVM_SCOPED_CAPABILITY ReadGuard {
public:
	explicit ReadGuard(RwLock &lock) DSVM_ACQUIRE_SHARED(lock) : lock_(lock)
	{
		lock_.read_lock();
	}
	~ReadGuard() DSVM_RELEASE_GENERIC() { lock_.read_unlock(); }
	ReadGuard(const ReadGuard &) = delete;
	ReadGuard &operator=(const ReadGuard &) = delete;

private:
	// Held for reading as long as this lives.
	RwLock &lock_;
};

class DSVM_SCOPED_CAPABILITY WriteGuard {
public:
	explicit WriteGuard(RwLock &lock) DSVM_ACQUIRE(lock) : lock_(lock) { lock_.write_lock(); }
	~WriteGuard() DSVM_RELEASE() { lock_.write_unlock(); }
	WriteGuard(const WriteGuard &) = delete;
	WriteGuard &operator=(const WriteGuard &) = delete;

private:
	// Held for writing as long as this lives.
	RwLock &lock_;
};

} // namespace dsvm

#endif // DSVM_CORE_BASE_LOCKING_H
