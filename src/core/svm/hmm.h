// SPDX-License-Identifier: GPL-2.0-only OR MIT
//
// The collision-retry protocol around a page collection, in one place.
//
//	seq = read_begin			an invalidation that runs is waited for
//	collect pages				the kernel may say "invalidated": again
//	lock; read_retry(seq)			the last word, the caller's
//
// Everything that looks at a process's pages goes through here, whether it
// faults them in or only looks, but for a fault on a single page, or on what is mapped in
// one go: there is a door of its own for that, and core/svm/pages.cc tries again. Every loop here has a deadline; one attempt of the
// kernel's own may outlast it while a device keeps a page for its timeslice.
#ifndef DSVM_CORE_SVM_HMM_H
#define DSVM_CORE_SVM_HMM_H

#include "core/base/array.h"
#include "core/base/result.h"
#include "core/base/va_range.h"
#include "core/svm/deadline.h"
#include "drm_svm/os.h"

namespace dsvm {

// Keeps an address space's users above zero while it is in scope. If it turns out to be the last
// one, the tearing down is left to somebody else: the caller may hold locks of a driver's that it
// takes as well.
class MmUser {
public:
	explicit MmUser(dsvm_os_mm *mm) : mm_(mm), is_alive_(dsvm_os_mm_get(mm)) {}
	~MmUser()
	{
		if (is_alive_)
			dsvm_os_mm_put_async(mm_);
	}
	MmUser(const MmUser &) = delete;
	MmUser &operator=(const MmUser &) = delete;

	// False: the address space has lost its last user.
	bool is_alive() const { return is_alive_; }

private:
	dsvm_os_mm *const mm_;
	const bool is_alive_;
};

// The address space's lock for reading while it is in scope.
class MmReadGuard {
public:
	explicit MmReadGuard(dsvm_os_mm *mm) : mm_(mm) { dsvm_os_mm_read_lock(mm_); }
	~MmReadGuard() { dsvm_os_mm_read_unlock(mm_); }
	MmReadGuard(const MmReadGuard &) = delete;
	MmReadGuard &operator=(const MmReadGuard &) = delete;

private:
	dsvm_os_mm *const mm_;
};

// The same with the VMA at an address, if there is one: for who keeps the address space's struct,
// and none of its users. Those may go meanwhile; the VMA stays.
class MmVmaGuard {
public:
	MmVmaGuard(dsvm_os_mm *mm, usize addr, dsvm_vma_info &out)
		: mm_(mm), status_(dsvm_os_vma_lock(mm, addr, &out))
	{}
	~MmVmaGuard()
	{
		if (status_.is_ok())
			dsvm_os_mm_read_unlock(mm_);
	}
	MmVmaGuard(const MmVmaGuard &) = delete;
	MmVmaGuard &operator=(const MmVmaGuard &) = delete;

	// Errors are those of dsvm_os_vma_lock().
	Status status() const { return status_; }

private:
	dsvm_os_mm *const mm_;
	const Status status_;
};

// The same as MmReadGuard if it can be had at once, of an mm or of none: for who holds locks that
// others take under this one, and so must not wait for it.
class MmReadTryGuard {
public:
	explicit MmReadTryGuard(dsvm_os_mm *mm)
		: mm_(mm && dsvm_os_mm_read_trylock(mm) ? mm : nullptr)
	{}
	~MmReadTryGuard()
	{
		if (mm_)
			dsvm_os_mm_read_unlock(mm_);
	}
	MmReadTryGuard(const MmReadTryGuard &) = delete;
	MmReadTryGuard &operator=(const MmReadTryGuard &) = delete;

	bool is_held() const { return mm_ != nullptr; }

private:
	dsvm_os_mm *const mm_;
};

// What an entry of a request means; only as long as the request is known to be valid.
inline dsvm_page_desc describe(usize entry)
{
	dsvm_page_desc desc;
	dsvm_os_hmm_decode(entry, &desc);
	return desc;
}

// One entry a page for a request; freed with the scope.
class HmmEntries {
public:
	Status allocate(usize npages) { return entries_.allocate(npages); }
	usize *data() const { return entries_.data(); }
	void swap_with(usize *&other) { entries_.swap_with(other); }
	// The kind alone, at any time.
	dsvm_page_kind kind_at(usize index) const
	{
		return dsvm_os_hmm_kind(entries_.data()[index]);
	}

private:
	Array<usize> entries_;
};

// The same for the length of a call; of few pages without an allocation.
class ScratchEntries {
public:
	Status allocate(usize npages)
	{
		if (npages > kFew)
			return entries_.allocate(npages);
		// All of them, which takes no loop.
		__builtin_memset(few_, 0, sizeof(few_));
		return Status::ok();
	}
	usize *data() { return entries_.data() ? entries_.data() : few_; }

private:
	static constexpr usize kFew = 16;

	HmmEntries entries_;
	usize few_[kFew]; // set if they are asked for
};

// Before entries are used again. The kernel carries bits of an old entry over into the new one
// (7.3), so what an earlier attempt has left must not be there.
inline void clear_entries(usize *entries, usize npages)
{
	for (usize i = 0; i < npages; ++i)
		entries[i] = 0;
}

// Runs the request, beginning anew with a fresh sequence, which @begin(request) takes, as long
// as it is invalidated meanwhile and the deadline allows. request.entries must hold @npages
// entries, all zero.
//
// Ok: request.seq and the entries belong together. kBusy: time is up. kInterrupted,
// kFault, kPermission, kNoMemory. May sleep; the caller keeps the mm's users.
template <class Begin>
DSVM_ALWAYS_INLINE Status hmm_collect(dsvm_hmm_request &request, usize npages,
				      const Deadline &deadline, Begin begin)
{
	for (;;) {
		begin(request);
		request.timeout_ns = deadline.attempt_ns();
		const Status status{dsvm_os_hmm_fault(&request)};
		if (status.code() != -DSVM_EBUSY)
			return status;
		DSVM_TRY(deadline.next_attempt());
		clear_entries(request.entries, npages);
	}
}

// The same for all that the notifier covers.
inline Status hmm_collect(dsvm_hmm_request &request, usize npages, const Deadline &deadline)
{
	return hmm_collect(request, npages, deadline, [](dsvm_hmm_request &next) {
		next.seq = dsvm_os_notifier_read_begin(next.notifier);
	});
}

// One look at the page tables of @span, for who holds the mm's lock: an entry a page. False: they
// change too fast to see. What an entry belongs to may be gone: dsvm_os_hmm_decode() is not for
// these. May sleep.
inline bool hmm_look(dsvm_os_mm *mm, dsvm_os_notifier *notifier, void *owner, VaRange span,
		     usize *entries)
{
	dsvm_hmm_request request{};

	clear_entries(entries, span.page_count());
	request.notifier = notifier;
	request.mm = mm;
	request.mm_locked = true;
	request.first = span.first;
	request.last = span.last;
	request.owner = owner;
	request.entries = entries;
	request.seq = dsvm_os_notifier_read_begin(notifier);
	return dsvm_os_hmm_fault(&request) == 0;
}

// Whether a look has found the page in the device memory @pagemap.
inline bool is_in(const void *pagemap, usize entry)
{
	return dsvm_os_hmm_kind(entry) == DSVM_PAGE_DEVICE && dsvm_os_hmm_pagemap(entry) == pagemap;
}

} // namespace dsvm

#endif // DSVM_CORE_SVM_HMM_H
