// SPDX-License-Identifier: GPL-2.0-only OR MIT
//
// What a migration collects, and how it gets at pages of a large folio (kernel:
// mm/migrate_device.c, migrate_vma_collect_pmd()).
//
// Each entry is looked at and changed under its page-table lock; between two of them others
// run. The kernel has the lock for the rest of the page table, but what it finds there could
// as well have been there before it began.

#include "tests/host/simmm/migrate.h"

namespace dsvm::sim::migration {

namespace {

// Large folios ----------------------------------------------------------------

// Each page becomes a folio of its own, all of them ours: locked, with a reference.
void make_small(Page &head)
{
	const u32 first = machine().index_of(head);
	const u32 count = 1u << head.order;

	machine().moves.folios_split += is_device(head);
	head.order = 0;
	head.entered = false;
	for (u32 i = first + 1; i < first + count; i++) {
		Page &page = machine().page(i);

		page.head = i;
		page.refs = 1;
		page.locked = true;
		page.locker = head.locker;
		machine().inherit(page, head);
	}
}

// Kernel: split_folio() (mm/huge_memory.c) unmaps the folio, and maps its pages one by one;
// it needs its lock and a reference, and that nobody else has one. From 6.12 on a page that is
// all zero is replaced by the zero page (RMP_USE_SHARED_ZEROPAGE), but not a device's. What was
// mapped as huge is mapped by pages afterwards, whatever comes of it. All of them are given back
// but `ours`.
bool split(Page &head, Page &ours)
{
	Machine &m = machine();
	const u32 first = m.index_of(head);
	const u32 count = 1u << head.order;

	if (head.refs != head.mapped + 1)
		return false;
	m.unmap_for_migration(head, true);
	const bool alone = head.mapped == 0 && head.refs == 1;
	if (!alone) {
		m.restore_mappings(head, head);
		return false;
	}
	make_small(head);
	for (u32 i = first; i < first + count; i++) {
		Page &page = m.page(i);
		const bool drop = m.kernel().copies_into_zero && page.anon && !is_device(page) &&
				  page.content == 0;

		m.restore_mappings(page, drop ? m.page(kZeroPage) : page);
		if (&page != &ours)
			unlock_and_put(page);
	}
	return true;
}

// The same for whoever has neither lock nor reference. Kernel: 7.3 waits for the lock if the
// folio is mapped by pages. Two migrations, each of which has a page that the other one is about
// to split, wait for each other then; here both give up.
bool try_split(Page &page)
{
	Machine &m = machine();
	Page &head = m.folio_of(page);

	m.get_page(head);
	if (!m.try_lock_page(head)) {
		m.put_page(head);
		return false;
	}
	const bool small = head.order == 0 || split(head, head);
	unlock_and_put(head);
	return small;
}

// The folio that a CPU fault has locked and refers to. Kernel: where page tables map it in parts
// the fault's reference will do, and what was the folio's lock becomes that of the page; a huge
// entry brings one more reference along, so that it stays as it is.
bool try_split_in_fault(Page &fault_page, bool huge)
{
	Page &head = machine().folio_of(fault_page);

	if (head.order == 0)
		return true;
	return !huge && split(head, fault_page);
}

// Collecting ------------------------------------------------------------------

class Collector {
public:
	Collector(dsvm_migrate_span &span, Mm &mm)
		: span_(span), mm_(mm), vma_(from_os(span.vma)),
		  first_(machine().index_of(span.first)), last_(machine().index_of(span.last))
	{}

	void run();

private:
	bool selects(u32 flag) const { return (span_.select & flag) != 0; }
	bool is_in_fault(u32 page) const;
	bool split_at(u32 index);
	bool take_block(u32 index);
	usize take_huge(u32 index, const Pte &pte);
	usize look_at(const Pte &pte) const;
	usize take(u32 index);

	dsvm_migrate_span &span_;
	Mm &mm_;
	Vma &vma_;
	const u32 first_;
	const u32 last_;
};

// What an entry of the page table makes of the source entry. VALID: there is a page to take.
// A hole is collected whatever is selected.
usize Collector::look_at(const Pte &pte) const
{
	switch (pte.kind) {
	case PteKind::kNone:
		return vma_.kind == VmaKind::kAnonymous ? kMigrate : 0;
	case PteKind::kPresent:
		if (!selects(DSVM_MIGRATE_SYSTEM))
			return 0;
		return pte.page == kZeroPage ? kMigrate : kValid;
	case PteKind::kDevice:
		return selects(DSVM_MIGRATE_DEVICE) && machine().owner_of(pte.page) == span_.owner
			       ? kValid
			       : 0;
	default:
		return 0;
	}
}

// One entry, under its page-table lock.
usize Collector::take(u32 index)
{
	Scheduler::Atomic atomic{"a page-table lock"};
	Machine &m = machine();
	const Pte pte = mm_.ptes[index];
	const usize found = look_at(pte);
	if ((found & kValid) == 0)
		return found;

	// 6.1 and 6.12 leave out what belongs to a large folio.
	Page &page = m.page(pte.page);
	if (m.folio_of(page).order != 0)
		return 0;
	m.get_page(page);
	// Kernel: only a try, because two migrations may have what the other one wants.
	const bool ours = is_locked_by_fault(span_, page);
	if (!ours && !m.try_lock_page(page)) {
		m.put_page(page);
		return 0;
	}
	// Kernel: folio_try_share_anon_rmap_pte(): not if it is pinned.
	if (page.anon && page.pins != 0) {
		if (!ours)
			m.unlock_page(page);
		m.put_page(page);
		return 0;
	}
	m.set_migration(mm_, index);
	return encode(page, kMigrate | (pte.write ? kWrite : 0));
}

// The whole of a huge mapping, under its page-table lock; 0: it stays.
usize Collector::take_huge(u32 index, const Pte &pte)
{
	Machine &m = machine();
	Page &head = m.folio_of(m.page(pte.page));
	const bool ours = is_in_fault(pte.page);

	if ((look_at(pte) & kValid) == 0)
		return 0;
	m.get_page(head);
	if (!ours && !m.try_lock_page(head)) {
		m.put_page(head);
		return 0;
	}
	// Kernel: set_pmd_migration_entry().
	if (head.anon && head.pins != 0) {
		if (!ours)
			m.unlock_page(head);
		m.put_page(head);
		return 0;
	}
	for (u32 i = 0; i < m.block_pages(); i++)
		m.set_migration(mm_, index + i);
	return encode(head, kMigrate | kCompound | (pte.write ? kWrite : 0));
}

// A block that is one entry, or a hole as large as one, if that is asked for; the entries behind
// the first one stay empty. False: page by page.
bool Collector::take_block(u32 index)
{
	Scheduler::Atomic atomic{"a page-table lock"};
	Machine &m = machine();
	const u32 block = index >> m.geometry().huge_order;

	if (!m.kernel().moves_huge_pages || m.geometry().huge_order == 0 ||
	    !selects(DSVM_MIGRATE_HUGE) || (index & (m.block_pages() - 1)) != 0 ||
	    index + m.block_pages() - 1 > last_)
		return false;
	if (m.is_huge(mm_, index))
		span_.src[index - first_] = take_huge(index, mm_.ptes[index]);
	else if (!mm_.table[block] && vma_.kind == VmaKind::kAnonymous)
		span_.src[index - first_] = kMigrate | kCompound;
	else
		return false;
	return true;
}

bool Collector::is_in_fault(u32 page) const
{
	return is_locked_by_fault(span_, machine().page(page));
}

// Splits what is large at a page. False: the rest of the block stays where it is.
bool Collector::split_at(u32 index)
{
	Machine &m = machine();
	const Kernel &kernel = m.kernel();
	const Pte pte = mm_.ptes[index];
	const bool huge = m.is_huge(mm_, index);

	if (huge && pte.kind == PteKind::kMigration)
		return false;
	if ((pte.kind != PteKind::kPresent && pte.kind != PteKind::kDevice) ||
	    pte.page == kZeroPage || m.folio_of(m.page(pte.page)).order == 0)
		return true;
	// Before 7.3 what is huge is split also if RAM is not selected.
	const bool selected = (look_at(pte) & kValid) != 0;
	if (huge && !kernel.splits_large_folios)
		return try_split(m.page(pte.page));
	if (!kernel.splits_large_folios || !selected)
		return !huge;
	if (!is_in_fault(pte.page))
		return try_split(m.page(pte.page));
	// Kernel: migrate_vma_collect_pmd() looks up the folio of the fault before it splits it, and
	// so takes its first page for locked.
	const Page &fault_page = from_os(span_.fault_page);
	if (!huge && m.index_of(fault_page) != fault_page.head && first_ != last_)
		scheduler().fail("a faulting page's folio is split with others in the span",
				 "mm %u, page %u", mm_.index, index);
	return try_split_in_fault(from_os(span_.fault_page), huge);
}

void Collector::run()
{
	Machine &m = machine();

	for (u32 i = first_; i <= last_; i++) {
		scheduler().point(Point::kPte);
		if (take_block(i) || !split_at(i)) {
			i |= m.block_pages() - 1;
			continue;
		}
		span_.src[i - first_] = take(i);
	}
}

} // namespace

void collect(dsvm_migrate_span &span, Mm &mm)
{
	Collector{span, mm}.run();
}

} // namespace dsvm::sim::migration
