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

	head.order = 0;
	for (u32 i = first + 1; i < first + count; i++) {
		Page &page = machine().page(i);

		page.head = i;
		page.refs = 1;
		page.locked = true;
		page.locker = head.locker;
		page.anon = head.anon;
		page.anon_vma = head.anon_vma;
		page.dirty = head.dirty;
	}
}

// Kernel: split_folio() (mm/huge_memory.c) unmaps the folio, and maps its pages one by one;
// it needs its lock and a reference, and that nobody else has one. From 6.12 on a page that is
// all zero is replaced by the zero page (RMP_USE_SHARED_ZEROPAGE). What was mapped as huge
// is mapped by pages afterwards, whatever comes of it.
bool split(Page &head)
{
	Machine &m = machine();
	const u32 first = m.index_of(head);
	const u32 count = 1u << head.order;

	if (head.refs != head.mapped + 1)
		return false;
	m.unmap_for_migration(head);
	const bool alone = head.mapped == 0 && head.refs == 1;
	if (!alone) {
		m.restore_mappings(head, head);
		return false;
	}
	make_small(head);
	for (u32 i = first; i < first + count; i++) {
		Page &page = m.page(i);
		const bool drop = m.kernel().copies_into_zero && page.anon && page.content == 0;

		m.restore_mappings(page, drop ? m.page(kZeroPage) : page);
		if (i != first)
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
	const bool small = head.order == 0 || split(head);
	unlock_and_put(head);
	return small;
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
	bool split_at(u32 index);
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
		return selects(DSVM_MIGRATE_DEVICE) && machine().device_owner == span_.owner
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

// Splits what is large at a page. False: the rest of the block stays where it is.
bool Collector::split_at(u32 index)
{
	Machine &m = machine();
	const Kernel &kernel = m.kernel();
	const Pte pte = mm_.ptes[index];

	if (pte.kind != PteKind::kPresent || pte.page == kZeroPage ||
	    m.folio_of(m.page(pte.page)).order == 0)
		return true;
	if (m.is_huge(mm_, index)) {
		// Before 7.3 also if RAM is not selected.
		if (kernel.splits_large_folios && !selects(DSVM_MIGRATE_SYSTEM))
			return false;
		return try_split(m.page(pte.page));
	}
	if (!kernel.splits_large_folios || !selects(DSVM_MIGRATE_SYSTEM))
		return true;
	return try_split(m.page(pte.page));
}

void Collector::run()
{
	Machine &m = machine();

	for (u32 i = first_; i <= last_; i++) {
		scheduler().point(Point::kPte);
		if (!split_at(i)) {
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
