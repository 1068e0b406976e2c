// SPDX-License-Identifier: GPL-2.0-only OR MIT
//
// Page tables, what a CPU does with them, and its page faults (kernel: mm/memory.c,
// Documentation/mm/process_addrs.rst).
//
// An entry changes in one step, as under its page-table lock; whoever has slept since he
// looked looks again. An access is one step, too: it is the hardware's, and the shadow, which is
// what the memory has to hold, follows it in the same step.

#include "tests/host/simmm/machine.h"

namespace dsvm::sim {

const char *name_of(Access access)
{
	static const char *const names[] = {"done", "SIGSEGV", "SIGBUS", "OOM", "gone"};

	return names[static_cast<usize>(access)];
}

namespace {

u64 hash_of(const Mm &mm, u32 index, const Pte &pte)
{
	return (u64{mm.index} << 60) ^ (u64{index} << 44) ^ (u64{static_cast<u8>(pte.kind)} << 40) ^
	       (u64{pte.write} << 39) ^ (u64{pte.read} << 38) ^ (u64{pte.slot} << 22) ^ pte.page;
}

} // namespace

// Entries ---------------------------------------------------------------------

// Every change goes through here: who mirrors the entry is told.
void Machine::set_entry(Mm &mm, u32 index, const Pte &pte)
{
	hash_in(hash_of(mm, index, mm.ptes[index]));
	hash_in(hash_of(mm, index, pte));
	mm.ptes[index] = pte;
	if (pte.kind != PteKind::kNone && !is_huge(mm, index))
		mm.table[index >> geometry_.huge_order] = true;
	if (pte_changed != nullptr)
		pte_changed(mm, index);
}

// What the entry stands for goes: its mapping, its references.
void Machine::put_mapping(Pte &pte)
{
	const Pte old = pte;

	pte = Pte{};
	if ((old.kind == PteKind::kPresent && old.page != kZeroPage) ||
	    old.kind == PteKind::kDevice) {
		Page &folio = folio_of(pages_[old.page]);
		if (folio.mapped-- == 0)
			scheduler().fail("a page loses a mapping that it does not have", "page %u",
					 old.page);
		// Kernel: free_folio_and_swap_cache().
		if (folio.slot != 0 && folio.mapped == 0 && !folio.locked)
			free_swap_cache(folio);
		put_page(folio);
	} else if (old.kind == PteKind::kSwap) {
		put_slot(old.slot);
		// Kernel: free_swap_and_cache(): nobody will read it again.
		const u32 cache = slots_[old.slot].cache;
		if (slots_[old.slot].refs == 1 && cache != kNoPage && !pages_[cache].locked)
			free_swap_cache(pages_[cache]);
	}
}

void Machine::clear_pte(Mm &mm, u32 index)
{
	Scheduler::Atomic atomic{"a page-table lock"};
	const Pte old = mm.ptes[index];

	// First the entry: nobody may reach the page through it when it is freed.
	set_entry(mm, index, Pte{});
	Pte gone = old;
	put_mapping(gone);
}

void Machine::set_present(Mm &mm, u32 index, u32 page, bool write)
{
	Scheduler::Atomic atomic{"a page-table lock"};

	if (mm.ptes[index].kind != PteKind::kNone)
		scheduler().fail("the model is wrong: an entry is overwritten", "page %u of mm %u",
				 index, mm.index);
	if (page != kZeroPage) {
		get_page(pages_[page]);
		folio_of(pages_[page]).mapped++;
	}
	set_entry(mm, index,
		  Pte{.kind = is_device(page) ? PteKind::kDevice : PteKind::kPresent,
		      .write = write,
		      .page = page});
}

void Machine::set_swap(Mm &mm, u32 index, u32 slot)
{
	Scheduler::Atomic atomic{"a page-table lock"};
	const bool read = mm.ptes[index].kind == PteKind::kNone || mm.ptes[index].read;

	get_slot(slot);
	clear_pte(mm, index);
	set_entry(mm, index, Pte{.kind = PteKind::kSwap, .read = read, .slot = slot});
}

void Machine::set_migration(Mm &mm, u32 index)
{
	Scheduler::Atomic atomic{"a page-table lock"};
	Pte entry = mm.ptes[index];

	// Whoever migrates has a reference of his own.
	clear_pte(mm, index);
	entry.kind = PteKind::kMigration;
	set_entry(mm, index, entry);
}

void Machine::restore_migration(Mm &mm, u32 index, u32 page)
{
	Scheduler::Atomic atomic{"a page-table lock"};
	const Pte old = mm.ptes[index];

	if (old.kind != PteKind::kMigration) {
		scheduler().fail("the model is wrong: no migration entry is there",
				 "page %u of mm %u", index, mm.index);
		return;
	}
	set_entry(mm, index, Pte{});
	set_present(mm, index, page, old.write && page != kZeroPage);
	if (!old.read) {
		Pte entry = mm.ptes[index];
		entry.read = false;
		set_entry(mm, index, entry);
	}
}

void Machine::set_write(Mm &mm, u32 index, bool write)
{
	Pte entry = mm.ptes[index];

	entry.write = write;
	set_entry(mm, index, entry);
}

void Machine::set_huge(Mm &mm, u32 block, bool huge)
{
	mm.huge[block] = huge;
	mm.table[block] = !huge;
	hash_in((u64{mm.index} << 60) ^ (u64{block} << 40) ^ 0x1f00);
}

// A huge mapping becomes small ones: its page-table lock is held, or nobody else is there.
void Machine::split_block(Mm &mm, u32 block)
{
	if (mm.huge[block])
		set_huge(mm, block, false);
}

// VMAs ------------------------------------------------------------------------

Vma *Machine::find_vma(Mm &mm, usize addr)
{
	return first_vma(mm, addr, addr);
}

Vma *Machine::first_vma(Mm &mm, usize first, usize last)
{
	Vma *found = nullptr;

	for (Vma &vma : mm.vmas) {
		if (vma.in_use && !vma.detached && vma.first <= last && first <= vma.last &&
		    (found == nullptr || vma.first < found->first))
			found = &vma;
	}
	return found;
}

usize Machine::object_index(const Vma &vma, u32 index) const
{
	return usize{vma.object} * geometry_.va_pages + vma.object_page +
	       (index - index_of(vma.first));
}

u64 &Machine::shadow(Mm &mm, u32 index)
{
	const usize addr = addr_of(index);

	// Also while a VMA goes: entries of it are used until they are taken.
	for (const Vma &vma : mm.vmas) {
		if (vma.in_use && vma.kind == VmaKind::kShared && vma.first <= addr &&
		    addr <= vma.last)
			return object_shadows_[object_index(vma, index)];
	}
	return mm.shadow[index];
}

// What an access finds where nobody has written.
u64 Machine::untouched(const Vma *vma, u32 index) const
{
	return vma != nullptr && vma->kind == VmaKind::kFile
		       ? object_shadows_[object_index(*vma, index)]
		       : 0;
}

// Accesses --------------------------------------------------------------------

u64 Machine::device_load(Mm &mm, usize addr, Page &page)
{
	const u64 expected = shadow(mm, index_of(addr));

	if (page.content != expected)
		scheduler().fail("a read does not give what was written",
				 "page %u of mm %u, page frame %u: %#lx, not %#lx", index_of(addr),
				 mm.index, index_of(page), static_cast<usize>(page.content),
				 static_cast<usize>(expected));
	return page.content;
}

void Machine::device_store(Mm &mm, usize addr, Page &page, u64 value)
{
	if (index_of(page) == kZeroPage)
		scheduler().fail("the zero page is written", "page %u of mm %u", index_of(addr),
				 mm.index);
	page.content = value;
	page.written = true;
	shadow(mm, index_of(addr)) = value;
}

Access Machine::access(Mm &mm, usize addr, bool write, u64 *value)
{
	Scheduler &sched = scheduler();
	const u32 index = index_of(addr);

	for (u32 tries = 0;; tries++) {
		// A CPU that faults again and again has others beside it.
		if (tries == 0)
			sched.point(Point::kOs);
		else
			sched.relax();
		if (mm.users == 0)
			return Access::kGone;

		// The hardware looks at nothing but the entry.
		const Pte &pte = mm.ptes[index];
		if (pte.kind == PteKind::kPresent && pte.read && (pte.write || !write)) {
			if (write) {
				// Hardware marks the entry dirty, and so the kernel knows.
				pages_[pte.page].lazy = false;
				device_store(mm, addr, pages_[pte.page], *value);
			} else {
				*value = device_load(mm, addr, pages_[pte.page]);
			}
			return Access::kDone;
		}
		bool unlocked = false;
		sched.read_lock(mm.lock);
		const Access result = fault(mm, addr, write, &unlocked);
		if (!unlocked)
			sched.read_unlock(mm.lock);
		if (result != Access::kDone)
			return result;
	}
}

Access Machine::load(Mm &mm, usize addr, u64 *value)
{
	return access(mm, addr, false, value);
}

Access Machine::store(Mm &mm, usize addr, u64 value)
{
	return access(mm, addr, true, &value);
}

// Faults ----------------------------------------------------------------------

Access Machine::fault(Mm &mm, usize addr, bool write, bool *unlocked)
{
	const u32 index = index_of(addr);

	if (!scheduler().holds(mm.lock))
		scheduler().fail("a lock is missing", "the mm's, in a page fault");
	scheduler().point(Point::kPte);

	Vma *const vma = find_vma(mm, addr);
	if (vma == nullptr || !vma->read || (write && !vma->write))
		return Access::kSegv;
	if (vma->kind == VmaKind::kSpecial)
		return Access::kBus;

	const Pte pte = mm.ptes[index];
	switch (pte.kind) {
	case PteKind::kNone:
		return vma->kind == VmaKind::kAnonymous ? fault_anonymous(mm, *vma, index, write)
							: fault_object(mm, *vma, index);
	case PteKind::kSwap:
		return fault_swap(mm, *vma, index, write);
	case PteKind::kMigration:
		// Kernel: migration_entry_wait(): until the page is unlocked, the mm's lock is kept.
		scheduler().wait_until("a page that is on its way", [&] {
			return mm.ptes[index].kind != PteKind::kMigration ||
			       mm.ptes[index].page != pte.page;
		});
		return Access::kDone;
	case PteKind::kDevice:
		return device_fault(mm, *vma, index, unlocked);
	case PteKind::kPresent:
		return write && !pte.write ? fault_write(mm, *vma, index) : Access::kDone;
	}
	return Access::kDone;
}

// A new page belongs to the VMA's own anon_vma.
void Machine::make_anonymous(Vma &vma, u32 page)
{
	pages_[page].anon = true;
	pages_[page].anon_vma = vma.own_anon_vma;
}

// Transparent huge pages: a write to a block that is empty. False: small pages will do.
bool Machine::fault_huge(Mm &mm, Vma &vma, u32 index)
{
	const u32 first = index & ~(block_pages() - 1);
	const u32 last = first + block_pages() - 1;
	const auto empty = [&] {
		if (mm.table[first >> geometry_.huge_order])
			return false;
		for (u32 i = first; i <= last; i++) {
			if (mm.ptes[i].kind != PteKind::kNone)
				return false;
		}
		return true;
	};

	if (!vma.may_be_huge || geometry_.huge_order == 0 || addr_of(first) < vma.first ||
	    addr_of(last) > vma.last || !empty())
		return false;
	const u32 page = alloc_ram(geometry_.huge_order);
	if (page == kNoPage)
		return false;
	if (empty()) {
		Scheduler::Atomic atomic{"a page-table lock"};
		make_anonymous(vma, page);
		for (u32 i = first; i <= last; i++)
			set_present(mm, i, page + (i - first), vma.write);
		set_huge(mm, first >> geometry_.huge_order, true);
	}
	put_page(pages_[page]);
	return true;
}

Access Machine::fault_anonymous(Mm &mm, Vma &vma, u32 index, bool write)
{
	if (!write) {
		set_present(mm, index, kZeroPage, false);
		return Access::kDone;
	}
	if (fault_huge(mm, vma, index))
		return Access::kDone;

	const u32 page = alloc_ram(0);
	if (page == kNoPage)
		return Access::kOom;
	if (mm.ptes[index].kind == PteKind::kNone) {
		make_anonymous(vma, page);
		set_present(mm, index, page, vma.write);
	}
	put_page(pages_[page]);
	return Access::kDone;
}

// The object has a reference to each page of its own, as the page cache. A private mapping
// shows the page until it is written, which is the business of the fault that comes next.
Access Machine::fault_object(Mm &mm, Vma &vma, u32 index)
{
	const bool is_private = vma.is_private();
	u32 &cached = object_pages_[object_index(vma, index)];

	if (cached == kNoPage) {
		const u32 page = alloc_ram(0);
		if (page == kNoPage)
			return Access::kOom;
		if (cached == kNoPage) {
			pages_[page].content = object_shadows_[object_index(vma, index)];
			cached = page;
		} else {
			put_page(pages_[page]);
		}
	}
	if (mm.ptes[index].kind == PteKind::kNone)
		set_present(mm, index, cached, vma.write && !is_private);
	return Access::kDone;
}

// A page leaves the swap cache, if no entry needs its slot any more.
bool Machine::free_swap_cache(Page &folio)
{
	const u32 slot = folio.slot;

	if (slot == 0)
		return true;
	if (slots_[slot].refs != 1)
		return false;
	slots_[slot].cache = kNoPage;
	folio.slot = 0;
	put_slot(slot);
	put_page(folio);
	return true;
}

Access Machine::fault_swap(Mm &mm, Vma &vma, u32 index, bool write)
{
	const Pte pte = mm.ptes[index];
	const u32 cached = slots_[pte.slot].cache;

	if (cached != kNoPage) {
		// It is being written, or has been brought in: it is mapped as it is.
		get_page(pages_[cached]);
		lock_page(pages_[cached]);
		if (mm.ptes[index] == pte && slots_[pte.slot].cache == cached) {
			Scheduler::Atomic atomic{"a page-table lock"};
			clear_pte(mm, index);
			set_present(mm, index, cached, false);
		}
		unlock_page(pages_[cached]);
		put_page(pages_[cached]);
		return Access::kDone;
	}

	const u32 page = alloc_ram(0);
	if (page == kNoPage)
		return Access::kOom;
	if (mm.ptes[index] == pte && slots_[pte.slot].cache == kNoPage) {
		Scheduler::Atomic atomic{"a page-table lock"};
		pages_[page].content = slots_[pte.slot].content;
		make_anonymous(vma, page);
		clear_pte(mm, index);
		set_present(mm, index, page, write && vma.write);
	}
	put_page(pages_[page]);
	return Access::kDone;
}

// Whether the one who maps it has it to himself (kernel: PageAnonExclusive, wp_can_reuse_anon_folio()).
// A page that is pinned is never shared by fork, so pins are no reason to copy.
bool Machine::is_exclusive(const Page &folio) const
{
	return folio.anon && folio.order == 0 && folio.mapped == 1 && folio.refs == 1 + folio.pins;
}

Access Machine::fault_write(Mm &mm, Vma &vma, u32 index)
{
	Page &page = pages_[mm.ptes[index].page];
	Page &folio = folio_of(page);

	if (vma.kind == VmaKind::kShared) {
		set_write(mm, index, true);
		return Access::kDone;
	}
	if (is_huge(mm, index)) {
		const u32 first = index & ~(block_pages() - 1);

		// Kernel: do_huge_pmd_wp_page(): reuse, or split and copy what is written.
		if (folio.mapped == block_pages() && folio.refs == folio.mapped + folio.pins) {
			Scheduler::Atomic atomic{"a page-table lock"};
			for (u32 i = first; i < first + block_pages(); i++)
				set_write(mm, i, true);
			return Access::kDone;
		}
		Invalidation event{mm, addr_of(first), addr_of(first + block_pages()) - 1,
				   Event::kClear};
		split_block(mm, first >> geometry_.huge_order);
		return Access::kDone;
	}
	if (index_of(page) != kZeroPage) {
		if (folio.slot != 0 && !folio.locked)
			free_swap_cache(folio);
		if (is_exclusive(folio)) {
			set_write(mm, index, true);
			return Access::kDone;
		}
	}
	return copy_on_write(mm, vma, index);
}

Access Machine::copy_on_write(Mm &mm, Vma &vma, u32 index)
{
	const Pte before = mm.ptes[index];
	Page &old = pages_[before.page];

	get_page(old);
	const u32 page = alloc_ram(0);
	if (page == kNoPage) {
		put_page(old);
		return Access::kOom;
	}
	scheduler().point(Point::kCopy);
	pages_[page].content = old.content;
	{
		Invalidation event{mm, addr_of(index), addr_of(index + 1) - 1, Event::kClear};
		if (mm.ptes[index] == before && !is_huge(mm, index)) {
			Scheduler::Atomic atomic{"a page-table lock"};
			make_anonymous(vma, page);
			clear_pte(mm, index);
			set_present(mm, index, page, true);
		}
	}
	put_page(pages_[page]);
	put_page(old);
	return Access::kDone;
}

// Kernel: do_swap_page() for a device-private entry. 7.3 locks the page, or waits for its
// lock and lets the CPU try again; before, nobody keeps two faults from meeting in the driver.
// A huge entry names the folio's first page, and nobody waits (do_huge_pmd_device_private()).
Access Machine::device_fault(Mm &mm, Vma &vma, u32 index, bool *unlocked)
{
	const bool huge = is_huge(mm, index);
	const u32 at = huge ? index & ~(block_pages() - 1) : index;
	const Pte pte = mm.ptes[at];
	Page &page = pages_[pte.page];
	const auto changed = [&] {
		return mm.ptes[at] != pte || is_huge(mm, at) != huge;
	};

	get_page(page);
	if (kernel_->locks_fault_page && !try_lock_page(page)) {
		put_page(page);
		if (huge)
			scheduler().relax();
		else
			scheduler().wait_until("a device page's lock",
					       [&] { return changed() || !folio_of(page).locked; });
		return Access::kDone;
	}
	CpuFault fault{mm,
		       vma,
		       addr_of(index),
		       page,
		       huge ? geometry_.huge_order : 0,
		       unlocked != nullptr};
	FaultResult result = FaultResult::kDone;
	// try_lock_page() was a point, and the page-table lock has been dropped for it.
	const Marks told = asked().marks;
	if (!changed())
		result = migrate_to_ram != nullptr ? migrate_to_ram(fault) : FaultResult::kBus;
	// What the driver of the memory marks is not told by whoever needs the page.
	asked().marks = told;
	if ((result == FaultResult::kRetry) != fault.has_unlocked)
		scheduler().fail("a CPU fault does not say whether it has unlocked the mm",
				 "page %u of mm %u", index, mm.index);
	if (unlocked != nullptr)
		*unlocked = fault.has_unlocked;
	if (kernel_->locks_fault_page)
		unlock_page(page);
	put_page(page);
	// The caller comes again at once; whoever keeps the page has a CPU of his own.
	if (!changed())
		scheduler().relax();

	switch (result) {
	case FaultResult::kDone:
	case FaultResult::kRetry:
		return Access::kDone;
	case FaultResult::kOom:
		return Access::kOom;
	case FaultResult::kBus:
		return Access::kBus;
	}
	return Access::kBus;
}

} // namespace dsvm::sim
