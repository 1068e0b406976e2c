// SPDX-License-Identifier: GPL-2.0-only OR MIT
#include "core/svm/pages.h"

#include "core/base/guard.h"
#include "core/svm/counters.h"
#include "core/svm/mapper.h"
#include "core/svm/space.h"

namespace dsvm {

// What says that a collection is still true, and whose device pages it has left where they are.
struct Basis {
	dsvm_os_notifier *notifier;
	usize seq;
	void *owner;
};

namespace {

// Whether the range that the span lies in hears of what happens to it. A range that was removed
// never does again.
inline bool is_heard(const dsvm_get_pages &request)
{
	return request.range && (read_once(request.range->flags) & DSVM_RANGE_REMOVED) == 0;
}

// The notifier that says what disturbs a collection: that of the range that the span lies in, as
// long as that hears of anything, or the one that was given.
inline dsvm_os_notifier *disturber_of(const dsvm_get_pages &request)
{
	return is_heard(request) ? stand_in_of(*request.svm, *request.range) : request.notifier;
}

inline Basis basis_of(const dsvm_hmm_request &hmm)
{
	return {hmm.notifier, hmm.seq, hmm.owner};
}

// Whether what was collected is not true any more. Locking: the window's lock.
inline bool is_disturbed(const dsvm_get_pages &request, const Basis &basis)
{
	return (basis.notifier != request.notifier && !is_heard(request)) ||
	       dsvm_os_notifier_read_retry(basis.notifier, basis.seq);
}

// All but what an attempt begins with. Each field is written once: it is a few words, and a fault on
// a page is not much more.
inline void to_hmm(const dsvm_get_pages &request, usize *entries, dsvm_hmm_request &hmm)
{
	hmm.mm = request.mm;
	hmm.first = request.first;
	hmm.last = request.last;
	hmm.owner = request.owner;
	hmm.mm_locked = false;
	hmm.fault = true;
	hmm.write = request.access == DSVM_ACCESS_WRITE;
	hmm.entries = entries;
}

// Device pages that are shared, after a fork, and to be written: as somebody who owns none the caller
// gets them into RAM, and copies of his own.
inline Status refused(Basis &basis, Status status)
{
	if (status == kAgain)
		basis.owner = nullptr;
	return status;
}

inline dsvm_os_rwsem *lock_of(const dsvm_get_pages &request)
{
	return request.window ? request.window->lock : request.svm->lock;
}

bool has_device_pages(const dsvm_dma_addr *entries, usize npages)
{
	for (usize done = 0; done < npages; done += pages_of(*entries), ++entries) {
		if (is_mapped(*entries) && entries->proto != DSVM_PROTO_SYSTEM)
			return true;
	}
	return false;
}

// Most take less than a tick, and have nothing to add to what others have written.
inline void count_collection(const dsvm_get_pages &request, u64 start_ns)
{
	dsvm_svm_counters &counters = request.svm->counters;
	const u64 ns = dsvm_os_tick_ns() - start_ns;

	count(counters.collections);
	if (ns != 0)
		count(counters.collection_ns, ns);
	if (request.attempts > 1)
		count(counters.collection_retries, request.attempts - 1);
}

// One that has failed, with what it has failed with.
DSVM_COLD Status count_failure(const dsvm_get_pages &request, u64 start_ns, Status status)
{
	count_collection(request, start_ns);
	count(request.svm->counters.collection_failures);
	return status;
}

constexpr u32 kMappedFlags = DSVM_PAGES_DMA_MAPPED | DSVM_PAGES_DEVMEM | DSVM_PAGES_STALE |
			     DSVM_PAGES_WRITABLE | DSVM_PAGES_UNMAPS;

// From so many pages on, the first one is looked at first: what says that all are mapped in one go
// saves an entry for each, and where it does not, a look is little beside the rest.
constexpr usize kWorthALook = 512;

} // namespace

// Collecting ------------------------------------------------------------------

// Whether what is mapped is enough for the access: a mapping made for reading is not one to write.
bool Pages::covers(const dsvm_get_pages &request) const
{
	return request.access != DSVM_ACCESS_WRITE || (pages_.flags & DSVM_PAGES_WRITABLE);
}

// Which range the span is of. Where parts of a range can go, its pages are those of all of it.
inline Status Pages::find_range_of(dsvm_get_pages &request)
{
	const VaRange span{request.first, request.last};
	dsvm_range *const range = find_range(*request.window, span);

	if (!range)
		return Status::ok();
	if (request.svm->ops->range_pages && span_of(range->node) != span)
		return kInvalid;
	if (span_of(range->node).contains(span))
		request.range = range;
	return Status::ok();
}

// The range that has the span, if it is known without a search: the caller keeps it.
DSVM_ALWAYS_INLINE dsvm_range *Pages::known_range(const dsvm_get_pages &request) const
{
	const VaRange span{request.first, request.last};
	dsvm_range *const range = pages_.range;

	if (!range)
		return newest_with(*request.window, span);
	const bool is_there = (read_once(range->flags) & DSVM_RANGE_REMOVED) == 0;
	return is_there && span_of(range->node) == span ? range : nullptr;
}

// True if there is nothing to do. @seq was taken before the look.
DSVM_ALWAYS_INLINE Expected<bool> Pages::settled(dsvm_get_pages &request, usize seq)
{
	RwLock lock{lock_of(request)};
	ReadGuard guard{lock};

	if (request.window && !request.range)
		DSVM_TRY(find_range_of(request));
	if (pages_.flags & DSVM_PAGES_UNMAPPED)
		return kFault;
	if (!are_valid(pages_) || !covers(request))
		return false;
	pages_.notifier_seq = request.window ? dsvm_os_notifier_seq(request.notifier) : seq;
	return true;
}

// What is left of an earlier mapping, if it will do; nobody uses its entries, and nobody will but by
// mapping them anew, which is the caller's.
inline dsvm_mapping *Pages::left_over(usize room) const
{
	dsvm_mapping *const mapping = pages_.mapping;

	if (!mapping || (read_once(pages_.flags) & DSVM_PAGES_DMA_MAPPED))
		return nullptr;
	return mapping->room >= room && mapping->owners.read() == 1 ? mapping : nullptr;
}

// Whether what was collected may be mapped: kAgain if it is not true any more.
inline Status Pages::check_collected(const dsvm_get_pages &request, const Basis &basis) const
{
	if (pages_.flags & DSVM_PAGES_UNMAPPED)
		return kFault;
	return is_disturbed(request, basis) ? kAgain : Status::ok();
}

// The last step, after the entries: says what they are.
inline void Pages::set_mapped(const dsvm_get_pages &request, dsvm_os_rwsem *lock,
			      const Basis &basis, MappedPages mapped)
{
	pages_.lock = lock;
	pages_.range = request.range;
	pages_.provider = mapped.provider;
	pages_.notifier_seq = request.window ? dsvm_os_notifier_seq(request.notifier) : basis.seq;
	set_flags(pages_.flags, pages_.flags | mapped.flags);
}

// Maps what was collected with a single entry, if it is still true. What there was before is unmapped.
//
// kAgain: it is not, or it is to be collected in another way; kNoSpace: the device cannot have it in
// one go.
DSVM_ALWAYS_INLINE Status Pages::map_run(const dsvm_get_pages &request, Basis &basis,
					 const usize &entry, usize npages)
{
	dsvm_mapping *before;
	{
		dsvm_os_rwsem *const semaphore = lock_of(request);
		RwLock lock{semaphore};
		// From here an invalidation either waits for the lock or finds the mapping.
		ReadGuard guard{lock};
		DSVM_TRY(check_collected(request, basis));
		// At once to where it stays, unless that is in use until the very end.
		DSVM_UNSET dsvm_dma_addr wider;
		MappedPages mapped{};
		const bool is_in_use = is_dma_mapped();
		const Status status = map_whole_run(request, entry, npages,
						    is_in_use ? wider : pages_.single, mapped);
		if (status.is_error())
			return refused(basis, status);
		// A mapping that was too narrow for the access goes only now that there is a better
		// one.
		if (is_in_use)
			for_device_of(request).unmap_for(wider, npages);
		before = exchange(pages_.mapping, nullptr);
		pages_.dma_addr = &pages_.single;
		set_mapped(request, semaphore, basis, mapped);
	}
	if (before)
		put_mapping(before);
	return Status::ok();
}

// The same with an entry for each page, as far as it takes them.
inline Status Pages::map_each(const dsvm_get_pages &request, Basis &basis, const usize *entries,
			      usize npages)
{
	dsvm_mapping *const left = left_over(npages);
	// Not into entries that are mapped: they may be in use until the very end.
	dsvm_mapping *mapping = left ? left : DSVM_TRY(make_mapping(npages));
	auto put = on_exit([&] {
		if (!left)
			put_mapping(mapping);
	});
	RwLock lock{lock_of(request)};
	ReadGuard guard{lock};

	DSVM_TRY(check_collected(request, basis));
	mapping->renew();
	const Expected<MappedPages> mapped = map_entries(request, *mapping, entries, npages);
	if (mapped.is_error())
		return refused(basis, mapped.status());
	unmap(npages);
	swap(pages_.mapping, mapping);
	pages_.dma_addr = pages_.mapping->entries;
	set_mapped(request, lock_of(request), basis, mapped.value());
	return Status::ok();
}

// Most memory needs an entry a page, or a single one.
DSVM_ALWAYS_INLINE Status Pages::map_collected(const dsvm_get_pages &request, Basis &basis,
					       const usize *entries, usize npages, bool may_be_run)
{
	if (may_be_run && is_whole_run(*entries, VaRange{request.first, request.last})) {
		const Status status = map_run(request, basis, *entries, npages);
		if (status != kNoSpace)
			return status;
	}
	return map_each(request, basis, entries, npages);
}

// Runs HMM until it has an answer to a sequence that was taken before.
DSVM_ALWAYS_INLINE Status Pages::attempt(dsvm_get_pages &request, dsvm_hmm_request &hmm,
					 usize npages, const Deadline &deadline)
{
	MmUser user{request.mm};
	if (!user.is_alive())
		return kFault;

	return hmm_collect(hmm, npages, deadline, [&](dsvm_hmm_request &next) {
		next.notifier = disturber_of(request);
		next.seq = dsvm_os_notifier_read_begin(next.notifier);
		++request.attempts;
	});
}

// Collects pages with an entry each, and maps them. So many that they were looked at are no run.
DSVM_NOINLINE Status Pages::collect_each(dsvm_get_pages &request, u64 start_ns, usize npages)
{
	const Deadline deadline{DSVM_GET_PAGES_BUDGET_NS, start_ns};
	DSVM_UNSET ScratchEntries entries;
	DSVM_TRY(entries.allocate(npages));
	DSVM_UNSET dsvm_hmm_request hmm;
	to_hmm(request, entries.data(), hmm);

	for (;;) {
		DSVM_TRY(attempt(request, hmm, npages, deadline));
		Basis basis = basis_of(hmm);
		const Status status =
			map_collected(request, basis, entries.data(), npages, npages < kWorthALook);
		if (status != kAgain)
			return status;
		hmm.owner = basis.owner;
		DSVM_TRY(deadline.next_attempt());
		clear_entries(hmm.entries, npages);
	}
}

// One attempt with the first page alone, which says enough of all if the CPU maps them in one go.
// Device pages of @owner stay where they are.
//
// kAgain: it is to be tried again; kNoSpace: the CPU does not map them so, or the device cannot have
// them so.
DSVM_ALWAYS_INLINE Status Pages::attempt_run(dsvm_get_pages &request, void *&owner, u64 timeout_ns,
					     usize npages)
{
	dsvm_os_notifier *const notifier = disturber_of(request);
	DSVM_UNSET dsvm_hmm_page page;
	page.timeout_ns = timeout_ns;

	++request.attempts;
	const Status collected{dsvm_os_hmm_fault_page(request.mm, notifier, request.first, owner,
						      request.access == DSVM_ACCESS_WRITE, &page)};
	if (collected.is_error())
		return collected == kBusy ? kAgain : collected;
	if (npages > 1 && !is_whole_run(page.entry, VaRange{request.first, request.last}))
		return kNoSpace;

	Basis basis{notifier, page.seq, owner};
	const Status status = map_run(request, basis, page.entry, npages);
	owner = basis.owner;
	return status;
}

// All attempts but the first.
DSVM_NOINLINE Status Pages::retry_run(dsvm_get_pages &request, void *owner, u64 start_ns,
				      usize npages)
{
	const Deadline deadline{DSVM_GET_PAGES_BUDGET_NS, start_ns};

	for (;;) {
		DSVM_TRY(deadline.next_attempt());
		const Status status = attempt_run(request, owner, deadline.attempt_ns(), npages);
		if (status != kAgain)
			return status;
	}
}

// Collects pages that are a run, as far as the first one says; kNoSpace: they are not.
DSVM_ALWAYS_INLINE Status Pages::collect_run(dsvm_get_pages &request, u64 start_ns, usize npages)
{
	void *owner = request.owner;
	const Status status = attempt_run(request, owner, DSVM_GET_PAGES_BUDGET_NS, npages);

	return status == kAgain ? for_device_of(request).retry_run(request, owner, start_ns, npages)
				: status;
}

DSVM_NOINLINE Status Pages::collect_large(dsvm_get_pages &request, u64 start_ns, usize npages)
{
	const Status status = collect_run(request, start_ns, npages);
	if (status != kNoSpace)
		return status;
	// That was a look, and no attempt.
	--request.attempts;
	return collect_each(request, start_ns, npages);
}

// For pages that are not mapped as the access needs it. With a single one a fault is hardly more
// than what is done once, so that has a path of its own, without loops over pages.
DSVM_ALWAYS_INLINE Status Pages::collect_anew(dsvm_get_pages &request, u64 start_ns, usize npages)
{
	if (npages == 1)
		return collect_run(request, start_ns, 1);
	Pages apart = for_device_of(request);
	return npages < kWorthALook ? apart.collect_each(request, start_ns, npages)
				    : apart.collect_large(request, start_ns, npages);
}

// Whether a device may have all that was collected. Locking: the window's lock.
//
// kAgain: as somebody who owns none of the device pages. Those that are shared, after a fork, and
// to be written, have to be copied; and pages can only be those of one provider.
Status Pages::check_entries(const dsvm_get_pages &request, const usize *entries, usize npages)
{
	const dsvm_os_provider *provider = nullptr;
	Status status = Status::ok();

	for (usize i = 0; i < npages; ++i) {
		const dsvm_page_desc desc = describe(entries[i]);

		if (desc.kind != DSVM_PAGE_SYSTEM && desc.kind != DSVM_PAGE_DEVICE)
			return kUnsupported;
		if (request.access == DSVM_ACCESS_WRITE && !desc.writable)
			status = kAgain;
		if (desc.provider && provider && desc.provider != provider)
			status = kAgain;
		if (desc.provider)
			provider = desc.provider;
	}
	return status;
}

// Until what HMM says is true, and can be used.
Status Pages::populate_anew(dsvm_get_pages &request, usize *entries, const Deadline &deadline,
			    usize &seq)
{
	const usize npages = VaRange{request.first, request.last}.page_count();
	DSVM_UNSET dsvm_hmm_request hmm;
	to_hmm(request, entries, hmm);
	RwLock lock{lock_of(request)};

	for (;;) {
		DSVM_TRY(attempt(request, hmm, npages, deadline));
		{
			ReadGuard guard{lock};
			if (!is_disturbed(request, basis_of(hmm))) {
				seq = hmm.seq;
				const Status status = check_entries(request, entries, npages);
				if (status != kAgain)
					return status;
				hmm.owner = nullptr;
			}
		}
		DSVM_TRY(deadline.next_attempt());
		clear_entries(hmm.entries, npages);
	}
}

Status Pages::populate(dsvm_get_pages &request, usize *entries, const Deadline &deadline,
		       usize &seq)
{
	const u64 start_ns = dsvm_os_tick_ns();
	request.attempts = 0;

	const Status status = populate_anew(request, entries, deadline, seq);
	if (status.is_error())
		return count_failure(request, start_ns, status);
	count_collection(request, start_ns);
	return status;
}

Status Pages::map(const dsvm_get_pages &request, usize *entries, usize seq)
{
	const VaRange span{request.first, request.last};
	Basis basis{disturber_of(request), seq, request.owner};

	DSVM_TRY(map_collected(request, basis, entries, span.page_count(), true));
	count(request.svm->counters.pages_mapped, span.page_count());
	return Status::ok();
}

DSVM_UNIT_INLINE Status Pages::collect(dsvm_get_pages &request)
{
	const VaRange span{request.first, request.last};
	request.attempts = 0;
	if (!span.is_well_formed() || !span.is_page_aligned())
		return kInvalid;

	if (request.window && !request.range)
		request.range = known_range(request);
	// What is not mapped stays so, but for us, and what becomes unmapped is seen in the end.
	const bool is_fresh = request.range && (read_once(pages_.flags) &
						(DSVM_PAGES_DMA_MAPPED | DSVM_PAGES_UNMAPPED)) == 0;
	if (!is_fresh) {
		// An old mapping vouches for itself only as of a sequence taken before the look at
		// it; in a window of the library's that is known under its lock.
		const usize seq =
			request.window ? 0 : dsvm_os_notifier_read_begin(request.notifier);
		const bool mapped = DSVM_TRY(settled(request, seq));
		if (mapped)
			return Status::ok();
	}

	const u64 start_ns = dsvm_os_tick_ns();
	const usize npages = span.page_count();
	const Status status = collect_anew(request, start_ns, npages);
	if (status.is_error())
		return count_failure(request, start_ns, status);
	count_collection(request, start_ns);
	count(request.svm->counters.pages_mapped, npages);
	return Status::ok();
}

// Unmapping -------------------------------------------------------------------

void Pages::unmap_all(usize npages)
{
	dsvm_os_assert_held(pages_.lock);
	dsvm_mapping *const mapping = pages_.mapping;
	if (!mapping) {
		if (pages_.flags & (DSVM_PAGES_DEVMEM | DSVM_PAGES_UNMAPS))
			unmap_entry(pages_.single, dev_, pages_.provider);
	} else {
		if (pages_.provider || mapping->unmaps)
			unmap_entries(*mapping, dev_, pages_.provider, pages_.dma_addr, npages);
		release_window(*mapping, dev_);
	}
	if (pages_.provider)
		dsvm_os_provider_put(pages_.provider);
	pages_.provider = nullptr;
	set_flags(pages_.flags, pages_.flags & ~kMappedFlags);
}

DSVM_COLD void Pages::unmap_for(const dsvm_dma_addr &wider, usize npages)
{
	unmap_all(npages);
	pages_.single = wider;
}

void Pages::free(usize npages)
{
	// Never collected, or freed already: the lock may have gone with its window.
	if (!pages_.lock)
		return;

	dsvm_mapping *mapping;
	{
		RwLock lock{pages_.lock};
		ReadGuard guard{lock};
		unmap(npages);
		mapping = exchange(pages_.mapping, nullptr);
		pages_.dma_addr = nullptr;
		pages_.lock = nullptr;
		pages_.range = nullptr;
	}
	put_mapping(mapping);
}

void Pages::set_stale(bool stale)
{
	if (is_dma_mapped())
		set_flags(pages_.flags, stale ? pages_.flags | DSVM_PAGES_STALE
					      : pages_.flags & ~DSVM_PAGES_STALE);
}

// Parts of them ---------------------------------------------------------------

// The entry that begins at @addr, which is an end of a run.
dsvm_dma_addr *Pages::entry_at(VaRange range, u64 addr) const
{
	dsvm_dma_addr *entry = pages_.dma_addr;

	for (u64 at = range.first; at < addr; ++entry)
		at += pages_of(*entry) << kPageShift;
	return entry;
}

VaRange Pages::widen(VaRange range, VaRange span) const
{
	VaRange wide = span;

	if (!is_dma_mapped())
		return wide;
	const dsvm_dma_addr *entry = pages_.dma_addr;
	for (u64 at = range.first;; ++entry) {
		const VaRange run{at, at + ((pages_of(*entry) << kPageShift) - 1)};

		if (is_mapped(*entry) && run.overlaps(span)) {
			wide.first = min(wide.first, run.first);
			wide.last = max(wide.last, run.last);
		}
		if (run.last == range.last)
			return wide;
		at = run.last + 1;
	}
}

void Pages::unmap_part(VaRange range, VaRange gone)
{
	if (!is_dma_mapped())
		return;
	if (gone.contains(range)) {
		unmap(range.page_count());
		return;
	}
	unmap_entries(*pages_.mapping, dev_, pages_.provider, entry_at(range, gone.first),
		      gone.page_count());
}

// Becomes the owner of a part of what another one has mapped.
void Pages::adopt(dsvm_mapping &mapping, dsvm_dma_addr *entries, usize npages,
		  const dsvm_pages &from)
{
	mapping.owners.get();
	mapping.mapped.get();
	pages_.mapping = &mapping;
	pages_.dma_addr = entries;
	pages_.lock = from.lock;
	pages_.notifier_seq = from.notifier_seq;

	u32 flags = DSVM_PAGES_DMA_MAPPED | (from.flags & DSVM_PAGES_WRITABLE);
	if (has_device_pages(entries, npages)) {
		dsvm_os_provider_get(from.provider);
		pages_.provider = from.provider;
		flags |= DSVM_PAGES_DEVMEM;
	}
	set_flags(pages_.flags, flags);
}

void Pages::split(VaRange range, VaRange keep, dsvm_pages *tail, VaRange tail_span)
{
	set_flags(pages_.flags, pages_.flags & ~DSVM_PAGES_UNMAPPED);
	if (!is_dma_mapped())
		return;

	// A run is not cut.
	if (tail && DSVM_VERIFY(pages_.mapping != nullptr))
		Pages{*tail, dev_}.adopt(*pages_.mapping, entry_at(range, tail_span.first),
					 tail_span.page_count(), pages_);
	pages_.dma_addr = entry_at(range, keep.first);
	if (pages_.provider && !has_device_pages(pages_.dma_addr, keep.page_count())) {
		dsvm_os_provider_put(pages_.provider);
		pages_.provider = nullptr;
		set_flags(pages_.flags, pages_.flags & ~DSVM_PAGES_DEVMEM);
	}
}

} // namespace dsvm
