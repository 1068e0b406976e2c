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

ActiveSpan *Machine::active_span(const dsvm_migrate_span *span)
{
	for (ActiveSpan &active : active_spans_) {
		if (active.span == span)
			return &active;
	}
	return nullptr;
}

ActiveSpan &Machine::new_active_span()
{
	for (ActiveSpan &active : active_spans_) {
		if (active.span == nullptr)
			return active;
	}
	return active_spans_.emplace_back();
}

bool Machine::has_active_spans() const
{
	for (const ActiveSpan &active : active_spans_) {
		if (active.span != nullptr && active.fiber == scheduler().running())
			return true;
	}
	return false;
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

u32 pages_of(usize entry)
{
	return (entry & kCompound) != 0 ? machine().block_pages() : 1;
}

bool is_locked_by_us(Page &page)
{
	const Page &folio = machine().folio_of(page);

	return folio.locked && folio.locker == scheduler().running();
}

bool is_locked_by_fault(const dsvm_migrate_span &span, const Page &page)
{
	return machine().kernel().locks_fault_page && span.fault_page != nullptr &&
	       from_os(span.fault_page).head == page.head;
}

// The references that a page may have which nothing but a migration holds: the migration's,
// that of a CPU fault, the page cache's or the swap cache's.
u32 expected_refs(const dsvm_migrate_span &span, const Page &page)
{
	const bool in_fault = span.fault_page != nullptr && &from_os(span.fault_page) == &page;
	const bool in_cache = page.slot != 0 || (!page.anon && !is_device(page));

	return 1u + in_fault + in_cache;
}

} // namespace migration

using namespace migration;

namespace {

using Phase = ActiveSpan::Phase;

// Protocol --------------------------------------------------------------------

// Several spans may be under way at a time, also of one thread.
void enter(const dsvm_migrate_span &span, bool by_frames, Phase before, Phase after)
{
	ActiveSpan *active = machine().active_span(&span);
	const Phase phase = active != nullptr ? active->phase : Phase::kNone;

	scheduler().may_sleep("a migration");
	no_notifier_lock("a migration");
	if (phase != before)
		scheduler().fail("the phases of a migration are out of order", "%u, not %u",
				 static_cast<u32>(phase), static_cast<u32>(before));
	if (active != nullptr &&
	    (active->by_frames != by_frames || active->fiber != scheduler().running()))
		scheduler().fail("the phases of two migrations are mixed", "phase %u",
				 static_cast<u32>(before));
	if (active == nullptr)
		active = &machine().new_active_span();
	*active = {after, by_frames, scheduler().running(), &span};
}

void leave(const dsvm_migrate_span &span)
{
	*machine().active_span(&span) = ActiveSpan{};
}

// Kernel: include/linux/migrate.h, struct migrate_vma: under the mmap lock from the first
// phase to the last. What that is good for is that the VMA stays as it is.
Mm &locked_mm_of(const dsvm_migrate_span &span, bool may_be_pin)
{
	const Vma &vma = from_os(span.vma);
	Mm &mm = mm_of(vma);

	if (!scheduler().holds(mm.lock) && !(may_be_pin && machine().has_pinned(vma)))
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
	for (usize i = 0; i < span.npages;) {
		Page *const page = page_of(span.src[i]);

		scheduler().point(Point::kPhase);
		if (page != nullptr) {
			span.src[i] |= page->order != 0 ? kCompound : 0;
			if (!unmap(span, *page))
				span.src[i] &= ~kMigrate;
		}
		i += pages_of(span.src[i]);
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

// Finishing -------------------------------------------------------------------

// Pages have arrived: who has made their destinations may want to know, and so do statistics.
void tell_of_arrival(const dsvm_migrate_span &span, usize i, const Page *from, Page &to)
{
	Machine &m = machine();
	const u32 count = 1u << to.order;
	const bool from_device = from != nullptr && is_device(*from);

	m.moves.to_device += is_device(to) ? count : 0;
	m.moves.to_ram += is_device(to) ? 0 : count;
	m.moves.between_devices += is_device(to) && from_device ? count : 0;
	if (to.zdd != nullptr && to.zdd->arrived != nullptr && span.vma != nullptr)
		to.zdd->arrived(*to.zdd, m.index_of(span.first) + static_cast<u32>(i), count);
}

void finish(dsvm_migrate_span &span)
{
	Machine &m = machine();

	for (usize i = 0; i < span.npages; i++) {
		Page *const from = page_of(span.src[i]);
		Page *const to = page_of(span.dst[i]);
		const bool moved = to != nullptr && (span.src[i] & kMigrate) != 0;

		scheduler().point(Point::kPhase);
		if (moved)
			tell_of_arrival(span, i, from, *to);
		if (to != nullptr && (!moved || from == nullptr))
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

// migrate_device_pfn_lock(): by its first frame.
usize take_frame(Page &page)
{
	Machine &m = machine();

	if (page.head != m.index_of(page) || !m.try_get_page(page))
		return 0;
	if (!m.try_lock_page(page)) {
		m.put_page(page);
		return 0;
	}
	return encode(page, kMigrate);
}

// migrate_device_pfns(). The frames of a folio that is larger have to follow each other in the
// list, and are one entry. What is behind a frame that has been split since is left out.
usize take_frames(dsvm_migrate_span &span, usize i)
{
	Machine &m = machine();
	const u32 index = m.page_of_pfn(span.src[i]);

	if (index == kNoPage || !m.is_device(index)) {
		scheduler().fail("a page frame is none of the device's", "%#lx", span.src[i]);
		return 1;
	}
	Page &page = m.page(index);
	const usize entry = take_frame(page);
	const usize count = usize{1} << (entry != 0 ? page.order : 0);
	bool whole = count <= span.npages - i;
	for (usize j = 1; j < count && whole; j++)
		whole = span.src[i + j] == span.src[i] + j;
	if (!whole)
		unlock_and_put(page);
	span.src[i] = whole ? entry : 0;
	for (usize j = 1; j < count && whole; j++)
		span.src[i + j] = 0;
	return whole ? count : 1;
}

} // namespace

} // namespace dsvm::sim

using namespace dsvm;
using namespace dsvm::sim;
using namespace dsvm::sim::migration;

// Phases ----------------------------------------------------------------------

int dsvm_os_migrate_setup(dsvm_migrate_span *span)
{
	Mm &mm = locked_mm_of(*span, false);

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
	static_cast<void>(locked_mm_of(*span, true));
	enter(*span, false, Phase::kCollected, Phase::kMoved);
	switch_pages(*span, false);
}

void dsvm_os_migrate_finalize(dsvm_migrate_span *span)
{
	static_cast<void>(locked_mm_of(*span, true));
	enter(*span, false, Phase::kMoved, Phase::kMoved);
	finish(*span);
	leave(*span);
}

// No event of its own, no lock of an address space: the reverse mappings say who is told.
int dsvm_os_migrate_device_setup(dsvm_migrate_span *span)
{
	scheduler().point(Point::kPhase);
	enter(*span, true, Phase::kNone, Phase::kCollected);
	for (usize i = 0; i < span->npages;)
		i += take_frames(*span, i);
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
	leave(*span);
}

// Entries ---------------------------------------------------------------------

namespace {

// Between setup and finalize, which hold what an entry names.
Page *live_page_of(usize entry)
{
	scheduler().point(Point::kOs);
	Page *const page = page_of(entry);

	if (page != nullptr && (!machine().has_active_spans() || page->refs == 0))
		scheduler().fail("an entry of a migration is read after its end", "page %u",
				 machine().index_of(*page));
	return page;
}

} // namespace

void dsvm_os_migrate_decode(dsvm_usize src, dsvm_migrate_entry *out)
{
	Page *const page = live_page_of(src);
	*out = {};
	out->moves = (src & kMigrate) != 0;
	if ((src & kCompound) != 0)
		out->order = static_cast<dsvm_u8>(machine().geometry().huge_order);
	if (page == nullptr)
		return;
	out->page = to_os(*page);
	out->is_ram = !is_device(*page);
	if (page->zdd != nullptr) {
		out->zdd = to_os(*page->zdd);
		out->provider = page->zdd->provider;
		out->retired = page->retired;
	}
}

dsvm_os_page *dsvm_os_migrate_page(dsvm_usize entry)
{
	Page *const page = page_of(entry);

	return page != nullptr ? to_os(*page) : nullptr;
}
