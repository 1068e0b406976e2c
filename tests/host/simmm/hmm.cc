// SPDX-License-Identifier: GPL-2.0-only OR MIT
//
// drm_svm/os.h on the machine: collecting pages (kernel: mm/hmm.c, Documentation/mm/hmm.rst).
//
//	check the sequence <-----------------------+
//	walk, entry by entry			    |
//	   one that has to be faulted in: up to the |
//	   end of its block, then from there on ----+
//
// A walk takes no page-table lock: each entry is read atomically, and between two of them
// anything may happen. Whether the whole belongs together only the sequence says.

#include "tests/host/simmm/os.h"

namespace dsvm::sim {

namespace {

// An entry: where the kernel has the page frame number, the page's index and its generation.
constexpr usize kValid = 1ul << 63;
constexpr usize kWrite = 1ul << 62;
constexpr usize kError = 1ul << 61;
constexpr u32 kOrderShift = 53;
constexpr usize kOrderMask = 31;
constexpr u32 kGenerationShift = 24;
constexpr usize kGenerationMask = 0xffffff;
constexpr usize kPageIndexMask = (1ul << kGenerationShift) - 1;

// HZ of Debian's kernels is 250; a timeout below one jiffy is one (src/linux/compat).
constexpr u64 kJiffyNs = 4000000;

// Another walk is needed, from where this one has come to.
constexpr int kAgain = 1;

usize encode(u32 page, usize flags)
{
	const usize generation = machine().page(page).generation & kGenerationMask;

	return flags | generation << kGenerationShift | page;
}

u32 page_of(usize entry)
{
	return static_cast<u32>(entry & kPageIndexMask);
}

// Whether it is a device's is a fact about the page frame, which outlives the page.
dsvm_page_kind kind_of(usize entry)
{
	if ((entry & kValid) == 0 || (entry & kError) != 0)
		return DSVM_PAGE_NONE;
	return machine().is_device(page_of(entry)) ? DSVM_PAGE_DEVICE : DSVM_PAGE_SYSTEM;
}

// hmm_range_fault() for one request.
class Walk {
public:
	explicit Walk(dsvm_hmm_request &request)
		: request_(request), mm_(from_os(request.mm)), notifier_(from_os(request.notifier)),
		  first_(machine().index_of(request.first)), last_(machine().index_of(request.last))
	{}

	void check_request() const;
	// The mm's lock is held.
	int run();

private:
	int walk();
	int walk_vma(Vma *vma);
	int look_at(Vma &vma);
	int look_at_block(Vma &vma);
	int fault_in(Vma &vma);
	bool needs_fault(usize flags) const;
	usize flags_of(const Pte &pte) const;
	void fill(u32 until, usize flags);

	dsvm_hmm_request &request_;
	Mm &mm_;
	const Notifier &notifier_;
	const u32 first_;
	const u32 last_;
	u32 at_ = 0; // the page that comes next; those before it are done
};

void Walk::check_request() const
{
	Scheduler &sched = scheduler();

	sched.may_sleep("hmm_range_fault");
	no_notifier_lock("hmm_range_fault");
	if (mm_.users == 0)
		sched.fail("page tables are walked that may have gone", "mm %u has no users",
			   mm_.index);
	if (notifier_.mm != &mm_ || request_.first < notifier_.first ||
	    request_.last > notifier_.last)
		sched.fail("pages are collected that the notifier does not hear of", "[%u, %u]",
			   first_, last_);
	if (request_.mm_locked && !sched.holds(mm_.lock))
		sched.fail("a lock is not held that has to be", "%s", mm_.lock.name);
	if (request_.mm_locked && request_.fault)
		sched.fail("pages are faulted in under the caller's mm lock", "[%u, %u]", first_,
			   last_);
	// 7.3 carries some of their bits over into what comes out.
	for (u32 i = 0; i <= last_ - first_; i++) {
		if (request_.entries[i] != 0)
			sched.fail("entries of a request are not zero", "the one of page %u",
				   first_ + i);
	}
}

// A write needs an entry that may be written; anything else, one that is there.
bool Walk::needs_fault(usize flags) const
{
	if (!request_.fault)
		return false;
	return (flags & kValid) == 0 || (request_.write && (flags & kWrite) == 0);
}

// What an entry of the page table says without a fault; 0: nothing.
usize Walk::flags_of(const Pte &pte) const
{
	const usize valid = kValid | (pte.write ? kWrite : 0);

	if (pte.kind == PteKind::kPresent)
		return valid;
	// Of another owner, or of nobody's: as if it were not there.
	if (pte.kind == PteKind::kDevice && machine().owner_of(pte.page) == request_.owner)
		return valid;
	return 0;
}

// Those up to `until` get flags, but no page.
void Walk::fill(u32 until, usize flags)
{
	for (; at_ <= until; at_++)
		request_.entries[at_ - first_] = flags;
}

// Up to the end of the block, whatever the other pages in it are: the kernel goes on to the
// end of the page table. So a device page of the owner's behind one that is missing comes
// back to RAM, although the owner asked for it to stay.
int Walk::fault_in(Vma &vma)
{
	const u32 block_last = at_ | (machine().block_pages() - 1);
	const u32 vma_last = machine().index_of(vma.last);
	const u32 last = block_last < vma_last ? block_last : vma_last;

	if (request_.write && !vma.write)
		return -DSVM_EPERM;
	for (u32 i = at_; i <= last && i <= last_; i++) {
		switch (machine().fault(mm_, machine().addr_of(i), request_.write)) {
		case Access::kDone:
			break;
		case Access::kOom:
			// 7.3 asks vm_fault_to_errno(); before, any error was this one.
			return machine().kernel().hmm_retries_itself ? -DSVM_ENOMEM : -DSVM_EFAULT;
		default:
			return -DSVM_EFAULT;
		}
	}
	return kAgain;
}

// A huge mapping is one entry: what it says goes for all of the block.
int Walk::look_at_block(Vma &vma)
{
	const u32 block_last = at_ | (machine().block_pages() - 1);
	const Pte pte = mm_.ptes[at_];
	const usize flags = flags_of(pte);

	if (pte.kind != PteKind::kDevice || flags == 0) {
		if (needs_fault(flags))
			return fault_in(vma);
	}
	const usize order = usize{machine().geometry().huge_order} << kOrderShift;
	for (u32 page = pte.page; at_ <= block_last && at_ <= last_; at_++, page++)
		request_.entries[at_ - first_] = flags != 0 ? encode(page, flags | order) : 0;
	return 0;
}

int Walk::look_at(Vma &vma)
{
	if (machine().is_huge(mm_, at_))
		return look_at_block(vma);

	const Pte pte = mm_.ptes[at_];
	const usize flags = flags_of(pte);
	// Of its owner's pages it only says what their entries are: that one which is shared after
	// a fork cannot be written is for the caller to find out.
	const bool is_own = pte.kind == PteKind::kDevice && flags != 0;
	if (!is_own && needs_fault(flags))
		return fault_in(vma);
	request_.entries[at_ - first_] = flags != 0 ? encode(pte.page, flags) : 0;
	at_++;
	return 0;
}

// From `at_` to the end of a VMA, or where there is none to the next one.
int Walk::walk_vma(Vma *vma)
{
	Machine &m = machine();
	const usize addr = m.addr_of(at_);

	if (vma == nullptr || vma->first > addr || vma->kind == VmaKind::kSpecial || !vma->read) {
		u32 until = last_;
		if (vma != nullptr && vma->first > addr)
			until = m.index_of(vma->first) - 1;
		else if (vma != nullptr && m.index_of(vma->last) < last_)
			until = m.index_of(vma->last);
		if (request_.fault)
			return -DSVM_EFAULT;
		fill(until, kError);
		return 0;
	}

	const u32 vma_last = m.index_of(vma->last);
	while (at_ <= last_ && at_ <= vma_last) {
		scheduler().point(Point::kPte);
		if (const int ret = look_at(*vma))
			return ret;
	}
	return 0;
}

int Walk::walk()
{
	Machine &m = machine();

	while (at_ <= last_) {
		Vma *const vma = m.first_vma(mm_, m.addr_of(at_), request_.last);
		if (const int ret = walk_vma(vma))
			return ret;
	}
	return 0;
}

int Walk::run()
{
	int ret = kAgain;

	at_ = first_;
	while (ret == kAgain) {
		if (machine().notifier_read_retry(notifier_, request_.seq))
			return -DSVM_EBUSY;
		ret = walk();
	}
	return ret;
}

// hmm_range_fault_unlocked_timeout(): takes the mm's lock and a new sequence for each try.
int fault_unlocked(dsvm_hmm_request &request, Walk &walk)
{
	Scheduler &sched = scheduler();
	Rwsem &lock = from_os(request.mm).lock;
	const u64 timeout_ns = request.timeout_ns < kJiffyNs ? kJiffyNs : request.timeout_ns;
	const u64 deadline_ns = sched.now_ns() + timeout_ns;

	for (;;) {
		int ret = -DSVM_EBUSY;

		request.seq = machine().notifier_read_begin(from_os(request.notifier));
		sched.read_lock(lock);
		const bool late = sched.now_ns() > deadline_ns;
		if (!late) {
			machine().asked().walk_ns = sched.now_ns();
			ret = walk.run();
		}
		sched.read_unlock(lock);
		if (late || ret != -DSVM_EBUSY)
			return ret;
	}
}

} // namespace

} // namespace dsvm::sim

using namespace dsvm;
using namespace dsvm::sim;

int dsvm_os_hmm_fault(dsvm_hmm_request *request)
{
	Walk walk{*request};

	walk.check_request();
	if (request->mm_locked)
		return walk.run();
	machine().no_pinned_vma("hmm_range_fault()");
	if (machine().kernel().hmm_retries_itself)
		return fault_unlocked(*request, walk);

	Rwsem &lock = from_os(request->mm).lock;
	machine().asked().walk_ns = scheduler().now_ns();
	scheduler().read_lock(lock);
	const int ret = walk.run();
	scheduler().read_unlock(lock);
	return ret;
}

dsvm_page_kind dsvm_os_hmm_kind(dsvm_usize entry)
{
	scheduler().point(Point::kOs);
	return kind_of(entry);
}

// Kernel: include/linux/mmzone.h, page_pgmap(). There is one of each device's pages.
const void *dsvm_os_hmm_pagemap(dsvm_usize entry)
{
	scheduler().point(Point::kOs);
	return kind_of(entry) == DSVM_PAGE_DEVICE ? machine().pagemap_of(page_of(entry)) : nullptr;
}

dsvm_u32 dsvm_os_hmm_order(dsvm_usize entry)
{
	return static_cast<dsvm_u32>(entry >> kOrderShift & kOrderMask);
}

dsvm_bool dsvm_os_hmm_is_part(dsvm_usize entry)
{
	scheduler().point(Point::kOs);
	return machine().folio_of(machine().page(page_of(entry))).order > dsvm_os_hmm_order(entry);
}

void *dsvm_os_next_owner(void *owner)
{
	void *next = nullptr;

	scheduler().point(Point::kOs);
	for (void *const candidate : machine().device_owners) {
		if (candidate > owner && (next == nullptr || candidate < next))
			next = candidate;
	}
	return next;
}

// Flags of a page that may be free or another one: nothing is used but what they say.
dsvm_u32 dsvm_os_hmm_why(dsvm_usize entry)
{
	Machine &m = machine();

	scheduler().point(Point::kOs);
	if (kind_of(entry) == DSVM_PAGE_NONE)
		return DSVM_STAY_SWAPPED;
	const Page &folio = m.folio_of(m.page(page_of(entry)));
	if (m.is_device(page_of(entry)))
		return folio.zdd == nullptr ? DSVM_STAY_FOREIGN : DSVM_STAY_BUSY;
	if (folio.locked)
		return DSVM_STAY_LOCKED;
	if (folio.slot != 0)
		return DSVM_STAY_SWAP_CACHE;
	if (folio.pins != 0)
		return DSVM_STAY_PINNED;
	if (folio.refs != 0 && !folio.anon)
		return DSVM_STAY_NOT_ANONYMOUS;
	if (folio.order != 0 && !m.kernel().splits_large_folios)
		return DSVM_STAY_LARGE_FOLIO;
	return DSVM_STAY_BUSY;
}

// Kernel: Documentation/mm/hmm.rst: what hmm_range_fault() has found may be used under the
// driver's lock, once mmu_interval_read_retry() has said no.
void dsvm_os_hmm_decode(dsvm_usize entry, dsvm_page_desc *out)
{
	scheduler().point(Point::kOs);
	*out = {};
	out->kind = kind_of(entry);
	if (!scheduler().holds_rank(LockRank::kNotifier))
		scheduler().fail("a collected page is looked at without the notifier lock", "%#lx",
				 entry);
	if (out->kind == DSVM_PAGE_NONE)
		return;

	Page &page = machine().page(page_of(entry));
	const usize generation = entry >> kGenerationShift & kGenerationMask;
	if (machine().folio_of(page).refs == 0 || (page.generation & kGenerationMask) != generation)
		scheduler().fail("a collected page is looked at after an invalidation",
				 "page %u is free or another one", page_of(entry));
	out->page = to_os(page);
	out->order = static_cast<dsvm_u8>(dsvm_os_hmm_order(entry));
	out->writable = (entry & kWrite) != 0;
	// Kernel: include/linux/page-flags.h: anonymous, and not swap-backed since MADV_FREE.
	out->discardable = machine().folio_of(page).lazy;
	if (Zdd *const zdd = machine().folio_of(page).zdd) {
		out->zdd = to_os(*zdd);
		out->provider = zdd->provider;
	}
}

dsvm_u32 dsvm_os_hmm_ram(dsvm_usize entry)
{
	dsvm_page_desc desc;

	dsvm_os_hmm_decode(entry, &desc);
	if (desc.kind != DSVM_PAGE_SYSTEM)
		return 0;
	return DSVM_RAM_PRESENT | (desc.writable ? DSVM_RAM_WRITABLE : 0) |
	       (desc.discardable ? DSVM_RAM_DISCARDABLE : 0) |
	       (machine().folio_of(from_os(desc.page)).dirty ? 0 : DSVM_RAM_CLEAN) |
	       u32{desc.order} << DSVM_RAM_ORDER;
}

dsvm_os_page *dsvm_os_hmm_page(dsvm_usize entry)
{
	return to_os(machine().page(page_of(entry)));
}
