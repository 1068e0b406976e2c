// SPDX-License-Identifier: GPL-2.0-only OR MIT
//
// What the kernel does with a program's memory by itself: reclaim, compaction, huge pages,
// the OOM reaper.

#include "tests/host/simmm/machine.h"

namespace dsvm::sim {

namespace {

// A page that is locked, off the LRU and referenced while it is in scope, or none.
class Isolated {
public:
	Isolated(Machine &machine, Mm &mm, u32 index) : machine_(machine)
	{
		const Pte &pte = mm.ptes[index];

		scheduler().point(Point::kPte);
		if (pte.kind != PteKind::kPresent || pte.page == kZeroPage)
			return;
		Page &page = machine.page(pte.page);
		if (page.head != pte.page || page.order != 0 || !page.anon || page.isolated ||
		    page.locked || page.slot != 0 || page.pins != 0)
			return;
		page.locked = true;
		page.locker = scheduler().running();
		page.isolated = true;
		machine.get_page(page);
		page_ = &page;
	}
	~Isolated()
	{
		if (page_ == nullptr)
			return;
		page_->isolated = false;
		machine_.unlock_page(*page_);
		machine_.put_page(*page_);
	}
	Isolated(const Isolated &) = delete;
	Isolated &operator=(const Isolated &) = delete;

	Page *get() const { return page_; }

private:
	Machine &machine_;
	Page *page_ = nullptr;
};

} // namespace

// A page that the program does not want any more (MADV_FREE). The kernel knows of writes by
// CPUs; of those by a device it knows what the driver tells it.
bool Machine::drop_lazy(Page &page)
{
	Mm *mm = nullptr;
	u32 index = 0;

	if (!find_mapping(page, false, mm, index) || page.mapped != 1)
		return false;
	Invalidation event{*mm, addr_of(index), addr_of(index + 1) - 1, Event::kClear};
	if (!page.lazy || page.mapped != 1 || page.refs != 2 ||
	    mm->ptes[index].kind != PteKind::kPresent || mm->ptes[index].page != index_of(page))
		return false;
	if (page.written)
		scheduler().fail("data are lost", "page %u of mm %u: written, and dropped as clean",
				 index, mm->index);
	Scheduler::Atomic atomic{"a page-table lock"};
	clear_pte(*mm, index);
	mm->shadow[index] = 0;
	return true;
}

// Kernel: mm/vmscan.c, shrink_folio_list(): swap cache, unmap, write, drop.
bool Machine::page_out(Mm &mm, usize addr)
{
	Isolated isolated{*this, mm, index_of(addr)};
	Page *const page = isolated.get();
	if (page == nullptr)
		return false;
	if (page->lazy)
		return drop_lazy(*page);
	const u32 slot = alloc_slot();
	if (slot == 0)
		return false;

	slots_[slot].cache = index_of(*page);
	page->slot = slot;
	get_page(*page);
	unmap_to_swap(*page, slot);
	scheduler().point(Point::kCopy);
	// Kernel: folio_clear_dirty_for_io(): what is written from here on has to be told again.
	page->dirty = false;
	slots_[slot].content = page->content;
	scheduler().point(Point::kCopy);
	// The cache and we: nobody has brought it back, and nobody else holds it.
	if (page->mapped != 0 || page->refs != 2) {
		free_swap_cache(*page);
		return false;
	}
	slots_[slot].cache = kNoPage;
	page->slot = 0;
	put_page(*page);
	put_slot(slot);
	return true;
}

// Kernel: mm/migrate.c, migrate_pages() of one folio.
bool Machine::compact(Mm &mm, usize addr)
{
	Isolated isolated{*this, mm, index_of(addr)};
	Page *const page = isolated.get();
	if (page == nullptr)
		return false;
	const u32 copy = alloc_ram(0);
	if (copy == kNoPage)
		return false;

	Page &to = pages_[copy];
	to.locked = true;
	to.locker = scheduler().running();
	to.anon = true;
	to.anon_vma = page->anon_vma;
	// Kernel: folio_get_anon_vma().
	page->keeps_anon_vma = true;
	unmap_for_migration(*page);
	const bool moves = page->mapped == 0 && page->refs == 1;
	if (moves) {
		scheduler().point(Point::kCopy);
		to.content = page->content;
		scheduler().point(Point::kCopy);
	}
	restore_mappings(*page, moves ? to : *page);
	page->keeps_anon_vma = false;
	unlock_page(to);
	put_page(to);
	return moves;
}

// Kernel: mm/khugepaged.c, hpage_collapse_scan_pmd() and collapse_huge_page().
int Machine::collapse(Mm &mm, usize addr)
{
	const u32 block = index_of(addr) >> geometry_.huge_order;
	const u32 first = block << geometry_.huge_order;
	const u32 last = first + block_pages() - 1;
	bool writable = kernel_->collapses_read_only;
	const auto collapses = [&] {
		const Vma *const vma = find_vma(mm, addr_of(first));
		return mm.users != 0 && vma != nullptr && vma->kind == VmaKind::kAnonymous &&
		       vma->last >= addr_of(last) && !mm.huge[block] && geometry_.huge_order != 0;
	};

	// What is not there is fetched first, pages of a device as well: to the kernel, they are
	// swapped out (kernel: __collapse_huge_page_swapin()).
	scheduler().read_lock(mm.lock);
	for (u32 i = first; i <= last; i++)
		writable = writable || (mm.ptes[i].kind == PteKind::kPresent && mm.ptes[i].write);
	if (!collapses() || !writable) {
		// What is huge already will do, but for a device's, which is not present.
		const bool is_huge = mm.huge[block] && mm.ptes[first].kind != PteKind::kDevice;

		scheduler().read_unlock(mm.lock);
		return is_huge ? 0 : -DSVM_EINVAL;
	}
	for (u32 i = first; i <= last; i++) {
		if (mm.ptes[i].kind == PteKind::kSwap || mm.ptes[i].kind == PteKind::kDevice)
			fault(mm, addr_of(i), false);
	}
	scheduler().read_unlock(mm.lock);

	const u32 huge = alloc_ram(geometry_.huge_order);
	if (huge == kNoPage)
		return -DSVM_ENOMEM;
	scheduler().write_lock(mm.lock);
	await_vmas(mm, addr_of(first), addr_of(last + 1) - 1);
	const bool done = collapses() && collapse_block(mm, block, huge);
	scheduler().write_unlock(mm.lock);
	put_page(pages_[huge]);
	return done ? 0 : -DSVM_EAGAIN;
}

// The mm's lock is held for writing.
bool Machine::collapse_block(Mm &mm, u32 block, u32 huge)
{
	const u32 first = block << geometry_.huge_order;
	const u32 last = first + block_pages() - 1;
	const Vma &vma = *find_vma(mm, addr_of(first));
	Invalidation event{mm, addr_of(first), addr_of(last + 1) - 1, Event::kClear};
	Scheduler::Atomic atomic{"a page-table lock"};

	for (u32 i = first; i <= last; i++) {
		const Pte &pte = mm.ptes[i];
		if (pte.kind != PteKind::kPresent || pte.page == kZeroPage || !pte.read)
			return false;
		// Nobody but page tables refers to it.
		const Page &old = folio_of(pages_[pte.page]);
		if (!old.anon || old.locked || old.pins != 0 || old.refs != old.mapped)
			return false;
	}
	pages_[huge].anon = true;
	pages_[huge].anon_vma = vma.own_anon_vma;
	for (u32 i = first; i <= last; i++) {
		pages_[huge + (i - first)].content = pages_[mm.ptes[i].page].content;
		clear_pte(mm, i);
		set_present(mm, i, huge + (i - first), vma.write);
	}
	set_huge(mm, block, true);
	return true;
}

// Kernel: mm/huge_memory.c, __split_huge_pmd() and split_folio().
bool Machine::split_huge(Mm &mm, usize addr, bool folio)
{
	const u32 block = index_of(addr) >> geometry_.huge_order;
	const u32 first = block << geometry_.huge_order;
	bool splits;

	scheduler().read_lock(mm.lock);
	splits = mm.huge[block];
	if (splits) {
		Invalidation event{mm, addr_of(first), addr_of(first + block_pages()) - 1,
				   Event::kClear};
		split_block(mm, block);
	}
	const Pte pte = mm.ptes[index_of(addr)];
	if (folio && pte.kind == PteKind::kPresent && pte.page != kZeroPage) {
		Page &head = folio_of(pages_[pte.page]);
		// Others may map it as a huge one.
		bool elsewhere = head.order == 0 || head.locked;
		for (const Mm &other : mms_) {
			for (u32 i = 0; i < other.ptes.size(); i++)
				elsewhere = elsewhere ||
					    (is_huge(other, i) &&
					     other.ptes[i].kind == PteKind::kPresent &&
					     pages_[other.ptes[i].page].head == index_of(head));
		}
		splits = !elsewhere && head.refs == head.mapped;
		if (splits) {
			get_page(head);
			head.locked = true;
			head.locker = scheduler().running();
			split_folio(head);
			unlock_page(head);
			put_page(head);
		}
	}
	scheduler().read_unlock(mm.lock);
	return splits;
}

// Kernel: mm/oom_kill.c, __oom_reap_task_mm(). It takes no lock that it would have to wait
// for, and gives up where a notifier would have to wait.
bool Machine::oom_reap(Mm &mm)
{
	bool complete = true;

	if (!scheduler().try_read_lock(mm.lock))
		return false;
	for (const Vma &vma : mm.vmas) {
		if (mm.users == 0 || !vma.in_use || vma.kind != VmaKind::kAnonymous)
			continue;
		Invalidation event{
			mm,	  vma.first,
			vma.last, kernel_->reaps_as_clear ? Event::kClear : Event::kUnmap,
			nullptr,  false};
		if (event.started())
			zap(mm, vma.first, vma.last);
		complete = complete && event.started();
	}
	scheduler().read_unlock(mm.lock);
	return complete;
}

} // namespace dsvm::sim
