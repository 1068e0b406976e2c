// SPDX-License-Identifier: GPL-2.0-only OR MIT
//
// drm_svm/os.h on the machine: pages on their way to a device and back (kernel:
// mm/migrate_device.c and the kernel-doc there).
//
//	setup	  collect, between the start and the end of a MIGRATE event: reference, lock,
//		  migration entry. Then, page by page: off the LRU, out of all other page
//		  tables, and back again if somebody else holds it
//	pages	  holes are filled, where they still are holes; a page becomes its successor
//		  if nobody has taken a reference meanwhile
//	finalize  migration entries become entries of the old page or of the new one
//
// The data are the driver's business. What it is to do with locks and references is checked.

#include "tests/host/simmm/migrate.h"

namespace dsvm::sim {

ActiveSpan &Machine::active_span()
{
	return active_spans_[scheduler().in_fiber() ? scheduler().running() : kMaxFibers];
}

// Entries and pages -----------------------------------------------------------

namespace migration {

Page *page_of(usize entry)
{
	if ((entry & kValid) == 0)
		return nullptr;
	const u32 index = machine().page_of_pfn(entry >> kPfnShift);
	if (index == kNoPage) {
		scheduler().fail("an entry of a migration has no page", "%#lx", entry);
		return nullptr;
	}
	return &machine().page(index);
}

usize encode(const Page &page, usize flags)
{
	return machine().pfn_of(machine().index_of(page)) << kPfnShift | kValid | flags;
}

bool is_device(const Page &page)
{
	return machine().is_device(machine().index_of(page));
}

void unlock_and_put(Page &page)
{
	machine().unlock_page(page);
	machine().put_page(page);
}

bool is_locked_by_us(Page &page)
{
	const Page &folio = machine().folio_of(page);

	return folio.locked && folio.locker == scheduler().running();
}

bool is_locked_by_fault(const dsvm_migrate_span &span, const Page &page)
{
	return machine().kernel().locks_fault_page && span.fault_page != nullptr &&
	       &from_os(span.fault_page) == &page;
}

} // namespace migration

using namespace migration;

namespace {

using Phase = ActiveSpan::Phase;

// The references that a page may have which nothing but a migration holds: the migration's,
// that of a CPU fault, the page cache's or the swap cache's.
u32 expected_refs(const dsvm_migrate_span &span, const Page &page)
{
	const bool in_fault = span.fault_page != nullptr && &from_os(span.fault_page) == &page;
	const bool in_cache = page.slot != 0 || (!page.anon && !is_device(page));

	return 1u + in_fault + in_cache;
}

// Protocol --------------------------------------------------------------------

void enter(const dsvm_migrate_span &span, bool by_frames, Phase before, Phase after)
{
	ActiveSpan &active = machine().active_span();

	scheduler().may_sleep("a migration");
	no_notifier_lock("a migration");
	if (active.phase != before)
		scheduler().fail("the phases of a migration are out of order", "%u, not %u",
				 static_cast<u32>(active.phase), static_cast<u32>(before));
	if (before != Phase::kNone && (active.span != &span || active.by_frames != by_frames))
		scheduler().fail("the phases of two migrations are mixed", "phase %u",
				 static_cast<u32>(before));
	active = {after, by_frames, &span};
}

// Kernel: include/linux/migrate.h, struct migrate_vma: under the mmap lock from the first
// phase to the last.
Mm &locked_mm_of(const dsvm_migrate_span &span)
{
	Mm &mm = mm_of(from_os(span.vma));

	if (!scheduler().holds(mm.lock))
		scheduler().fail("a lock is not held that has to be", "%s, in a migration",
				 mm.lock.name);
	return mm;
}

// Unmapping -------------------------------------------------------------------

// migrate_vma_check_page(): a device page is allowed one reference too many here, which is
// found out in the next phase.
bool is_held_by_others(const dsvm_migrate_span &span, const Page &page)
{
	return page.refs > page.mapped + expected_refs(span, page) + is_device(page);
}

// Off the LRU and out of all page tables; false if it has to stay.
bool unmap(const dsvm_migrate_span &span, Page &page)
{
	const bool on_lru = !is_device(page);

	if (on_lru && page.isolated)
		return false;
	page.isolated = on_lru;
	if (page.mapped != 0)
		machine().unmap_for_migration(page);
	if (page.mapped == 0 && !is_held_by_others(span, page))
		return true;
	page.isolated = false;
	return false;
}

void give_back(const dsvm_migrate_span &span, Page &page)
{
	if (!is_locked_by_fault(span, page))
		machine().unlock_page(page);
	machine().put_page(page);
}

// migrate_device_unmap(): first all of them, then those that have to stay are put back.
void unmap_all(dsvm_migrate_span &span)
{
	for (usize i = 0; i < span.npages; i++) {
		Page *const page = page_of(span.src[i]);

		scheduler().point(Point::kPhase);
		if (page != nullptr && !unmap(span, *page))
			span.src[i] &= ~kMigrate;
	}
	for (usize i = 0; i < span.npages; i++) {
		Page *const page = page_of(span.src[i]);

		if (page == nullptr || (span.src[i] & kMigrate) != 0)
			continue;
		machine().restore_mappings(*page, *page);
		span.src[i] = 0;
		give_back(span, *page);
	}
}

// Switching -------------------------------------------------------------------

// Kernel: the destination is the caller's: a page that nobody else has seen, locked.
void check_destination(const dsvm_migrate_span &span, usize index, Page &page)
{
	const char *broken = nullptr;

	if (page.refs == 0)
		broken = "it is free";
	else if (!is_locked_by_us(page))
		broken = "it is not locked";
	else if (page.mapped != 0 || page.slot != 0 || page.anon)
		broken = "it is in use";
	else if (page.dma != 0)
		broken = "a device still writes it";
	for (usize i = 0; i < index; i++) {
		if (span.dst[i] == span.dst[index])
			broken = "it is given twice";
	}
	if (broken != nullptr)
		scheduler().fail("a page is no destination for a migration", "page %u: %s",
				 machine().index_of(page), broken);
}

// migrate_vma_insert_page(): fills a hole, or takes the zero page's place, if it still is one.
bool fill_hole(const dsvm_migrate_span &span, u32 index, Page &page)
{
	Machine &m = machine();
	Vma &vma = from_os(span.vma);
	Mm &mm = mm_of(vma);

	// It prepares page tables and an anon_vma, and sleeps.
	scheduler().point(Point::kPte);
	Scheduler::Atomic atomic{"a page-table lock"};
	const Pte pte = mm.ptes[index];
	const bool is_zero = pte.kind == PteKind::kPresent && pte.page == kZeroPage;
	if (vma.kind != VmaKind::kAnonymous || m.is_huge(mm, index) ||
	    (pte.kind != PteKind::kNone && !is_zero))
		return false;
	m.make_anonymous(vma, m.index_of(page));
	if (is_zero)
		m.clear_pte(mm, index);
	m.set_present(mm, index, m.index_of(page), vma.write);
	return true;
}

// folio_migrate_mapping(): the point of no return. False if somebody has the old page, too.
bool replace(const dsvm_migrate_span &span, Page &from, Page &to)
{
	// Kernel: only anonymous memory goes to a device, and not while swap has it.
	if (is_device(to) && !is_device(from) && !from.anon)
		return false;
	if (is_device(to) && from.slot != 0 && !machine().free_swap_cache(from))
		return false;
	if (from.refs != expected_refs(span, from))
		return false;
	if (from.spent)
		scheduler().fail("data are moved again that have gone to RAM", "page %u",
				 machine().index_of(from));
	// folio_migrate_flags(); what it does not know of the data the new page does not, either.
	to.anon = from.anon;
	to.anon_vma = from.anon_vma;
	to.lazy = from.lazy && !to.dirty;
	to.written = from.written;
	from.spent = is_device(from);
	return true;
}

void switch_pages(dsvm_migrate_span &span, bool by_frames)
{
	Machine &m = machine();
	EventRange event{nullptr, 0, span.last, Event::kMigrate, span.owner, true};

	for (usize i = 0; i < span.npages; i++) {
		Page *const from = page_of(span.src[i]);
		Page *const to = page_of(span.dst[i]);

		scheduler().point(Point::kPhase);
		if (to != nullptr)
			check_destination(span, i, *to);
		if (to == nullptr || (span.src[i] & kMigrate) == 0) {
			span.src[i] &= ~kMigrate;
			continue;
		}
		bool moves;
		if (from != nullptr) {
			moves = replace(span, *from, *to);
		} else if (by_frames) {
			scheduler().fail("a page goes where there is no address space", "entry %zu",
					 static_cast<size_t>(i));
			return;
		} else {
			const u32 index = m.index_of(span.first) + static_cast<u32>(i);

			if (event.mm == nullptr) {
				event.mm = &mm_of(from_os(span.vma));
				event.first = m.addr_of(index);
				static_cast<void>(m.invalidate_start(event));
			}
			moves = fill_hole(span, index, *to);
		}
		if (!moves)
			span.src[i] &= ~kMigrate;
	}
	if (event.mm != nullptr)
		m.invalidate_end(event);
}

// Finishing -------------------------------------------------------------------

void finish(dsvm_migrate_span &span)
{
	Machine &m = machine();

	for (usize i = 0; i < span.npages; i++) {
		Page *const from = page_of(span.src[i]);
		Page *const to = page_of(span.dst[i]);
		const bool moved =
			from != nullptr && to != nullptr && (span.src[i] & kMigrate) != 0;

		scheduler().point(Point::kPhase);
		if (to != nullptr && !moved)
			unlock_and_put(*to);
		if (from == nullptr)
			continue;
		// One that was retired before may be found again by somebody else, and left.
		if (from->retired && to != nullptr && !moved)
			scheduler().fail("a page is retired that stays", "page %u",
					 m.index_of(*from));
		from->isolated = false;
		m.restore_mappings(*from, moved ? *to : *from);
		give_back(span, *from);
		if (moved)
			unlock_and_put(*to);
	}
}

bool is_valid(const dsvm_migrate_span &span)
{
	const Vma &vma = from_os(span.vma);

	if (!vma.in_use || vma.kind == VmaKind::kSpecial || span.first > span.last ||
	    span.first < vma.first || span.last > vma.last)
		return false;
	if (span.fault_page == nullptr)
		return true;
	// Kernel: 7.3 wants it locked; before, it is the migration that locks it.
	return is_device(from_os(span.fault_page)) &&
	       (!machine().kernel().locks_fault_page || is_locked_by_us(from_os(span.fault_page)));
}

// migrate_device_pfn_lock().
usize take_frame(usize pfn)
{
	Machine &m = machine();
	const u32 index = m.page_of_pfn(pfn);

	if (index == kNoPage || !m.is_device(index)) {
		scheduler().fail("a page frame is none of the device's", "%#lx", pfn);
		return 0;
	}
	Page &page = m.page(index);
	if (!m.try_get_page(page))
		return 0;
	if (!m.try_lock_page(page)) {
		m.put_page(page);
		return 0;
	}
	return encode(page, kMigrate);
}

} // namespace

} // namespace dsvm::sim

using namespace dsvm;
using namespace dsvm::sim;
using namespace dsvm::sim::migration;

// Phases ----------------------------------------------------------------------

int dsvm_os_migrate_setup(dsvm_migrate_span *span)
{
	Mm &mm = locked_mm_of(*span);

	scheduler().point(Point::kPhase);
	if (!is_valid(*span))
		return -DSVM_EINVAL;
	if (span->npages != (span->last - span->first + 1) >> kPageShift)
		scheduler().fail("a span's pages are counted wrongly", "%zu",
				 static_cast<size_t>(span->npages));
	enter(*span, false, Phase::kNone, Phase::kCollected);
	for (usize i = 0; i < span->npages; i++)
		span->src[i] = span->dst[i] = 0;
	{
		const Invalidation event{mm, span->first, span->last, Event::kMigrate, span->owner};
		collect(*span, mm);
	}
	unmap_all(*span);
	return 0;
}

void dsvm_os_migrate_pages(dsvm_migrate_span *span)
{
	static_cast<void>(locked_mm_of(*span));
	enter(*span, false, Phase::kCollected, Phase::kMoved);
	switch_pages(*span, false);
}

void dsvm_os_migrate_finalize(dsvm_migrate_span *span)
{
	static_cast<void>(locked_mm_of(*span));
	enter(*span, false, Phase::kMoved, Phase::kMoved);
	finish(*span);
	machine().active_span() = ActiveSpan{};
}

// No event of its own, no lock of an address space: the reverse mappings say who is told.
int dsvm_os_migrate_device_setup(dsvm_migrate_span *span)
{
	scheduler().point(Point::kPhase);
	enter(*span, true, Phase::kNone, Phase::kCollected);
	for (usize i = 0; i < span->npages; i++)
		span->src[i] = take_frame(span->src[i]);
	unmap_all(*span);
	return 0;
}

void dsvm_os_migrate_device_pages(dsvm_migrate_span *span)
{
	enter(*span, true, Phase::kCollected, Phase::kMoved);
	switch_pages(*span, true);
}

void dsvm_os_migrate_device_finalize(dsvm_migrate_span *span)
{
	enter(*span, true, Phase::kMoved, Phase::kMoved);
	finish(*span);
	machine().active_span() = ActiveSpan{};
}

// Entries ---------------------------------------------------------------------

// Between setup and finalize, which hold what an entry names.
void dsvm_os_migrate_decode(dsvm_usize src, dsvm_migrate_entry *out)
{
	scheduler().point(Point::kOs);
	Page *const page = page_of(src);
	*out = {};
	out->moves = (src & kMigrate) != 0;
	if (page == nullptr)
		return;
	if (machine().active_span().phase == Phase::kNone || page->refs == 0)
		scheduler().fail("an entry of a migration is read after its end", "page %u",
				 machine().index_of(*page));
	out->page = to_os(*page);
	out->is_ram = !is_device(*page);
	if (page->zdd != nullptr) {
		out->zdd = to_os(*page->zdd);
		out->provider = page->zdd->provider;
		out->retired = page->retired;
	}
}

dsvm_usize dsvm_os_migrate_encode(dsvm_os_page *page)
{
	return encode(from_os(page), 0);
}

dsvm_os_page *dsvm_os_migrate_dst_page(dsvm_usize dst)
{
	Page *const page = page_of(dst);

	return page != nullptr ? to_os(*page) : nullptr;
}
