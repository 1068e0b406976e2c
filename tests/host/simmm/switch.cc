// SPDX-License-Identifier: GPL-2.0-only OR MIT
//
// The second phase of a migration, which gives pages their successors (kernel:
// mm/migrate_device.c, __migrate_device_pages()).

#include "tests/host/simmm/migrate.h"

namespace dsvm::sim::migration {

namespace {

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
	else if ((page.order != 0) != ((span.dst[index] & kCompound) != 0))
		broken = "its folio is of another size";
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

// migrate_vma_insert_huge_pmd_page(): the same for a block in which nothing is, not even a table.
bool fill_huge_hole(const dsvm_migrate_span &span, u32 index, Page &head)
{
	Machine &m = machine();
	Vma &vma = from_os(span.vma);
	Mm &mm = mm_of(vma);
	const u32 block = index >> m.geometry().huge_order;

	scheduler().point(Point::kPte);
	Scheduler::Atomic atomic{"a page-table lock"};
	if (vma.kind != VmaKind::kAnonymous || mm.huge[block] || mm.table[block])
		return false;
	m.make_anonymous(vma, m.index_of(head));
	for (u32 i = 0; i < m.block_pages(); i++)
		m.set_present(mm, index + i, m.index_of(head) + i, vma.write);
	m.set_huge(mm, block, true);
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
	// folio_migrate_flags(); what it does not know of the data the new page does not, either.
	to.anon = from.anon;
	to.anon_vma = from.anon_vma;
	to.lazy = from.lazy && !to.dirty;
	to.written = from.written;
	from.spent = is_device(from);
	return true;
}

// The second phase of one span.
class Switch {
public:
	Switch(dsvm_migrate_span &span, bool by_frames) : span_(span), by_frames_(by_frames) {}
	~Switch()
	{
		if (event_.mm != nullptr)
			machine().invalidate_end(event_);
	}
	// The entry at `i` and, if it is a huge page's, those behind it; how many.
	usize entry(usize i);

private:
	void begin_event(u32 index);
	usize hole(usize i, Page &to);
	usize huge_to_small(usize i);

	dsvm_migrate_span &span_;
	const bool by_frames_;
	EventRange event_{nullptr, 0, span_.last, Event::kMigrate, span_.owner, true};
};

void Switch::begin_event(u32 index)
{
	if (event_.mm != nullptr)
		return;
	event_.mm = &mm_of(from_os(span_.vma));
	event_.first = machine().addr_of(index);
	static_cast<void>(machine().invalidate_start(event_));
}

// A huge hole whose first page has a destination of its own is filled page by page. Kernel: it
// does not look whether the others have one.
usize Switch::hole(usize i, Page &to)
{
	const u32 index = machine().index_of(span_.first) + static_cast<u32>(i);
	const bool huge = (span_.dst[i] & kCompound) != 0;
	const usize count = huge ? 1 : pages_of(span_.src[i]);

	if (by_frames_)
		scheduler().fail("a page goes where there is no address space", "entry %zu",
				 static_cast<size_t>(i));
	if (huge && (span_.src[i] & kCompound) == 0)
		scheduler().fail("a huge page goes where single pages are", "page %u", index);
	begin_event(index);
	if (huge) {
		if (!fill_huge_hole(span_, index, to))
			span_.src[i] &= ~kMigrate;
		return machine().block_pages();
	}
	span_.src[i] &= ~kCompound;
	for (usize j = i; j < i + count; j++) {
		Page *const page = page_of(span_.dst[j]);

		if (page == nullptr) {
			scheduler().fail("a part of a huge hole has no destination", "page %u",
					 index + static_cast<u32>(j - i));
			continue;
		}
		check_destination(span_, j, *page);
		const bool filled = fill_hole(span_, index + static_cast<u32>(j - i), *page);
		span_.src[j] = filled ? kMigrate : 0;
	}
	return count;
}

// migrate_vma_split_unmapped_folio() splits the entry of one address space, and the folio. If
// somebody else has it mapped whole, he is left with a huge entry of a small page; so nobody may
// ask for that but a CPU fault, whose reference keeps the folio from being split.
usize Switch::huge_to_small(usize i)
{
	Machine &m = machine();
	Page &from = *page_of(span_.src[i]);
	const usize count = pages_of(span_.src[i]);

	span_.src[i] &= ~(kMigrate | kCompound);
	if (by_frames_)
		return 1;
	if (!is_locked_by_fault(span_, from))
		scheduler().fail("a huge page that is on its way is split", "page frame %u",
				 m.index_of(from));
	const u32 index = m.index_of(span_.first) + static_cast<u32>(i);
	Mm &mm = mm_of(from_os(span_.vma));
	Invalidation event{mm, m.addr_of(index), m.addr_of(index + m.block_pages()) - 1,
			   Event::kClear};
	Scheduler::Atomic atomic{"a page-table lock"};
	if (m.is_huge(mm, index) && mm.ptes[index].kind == PteKind::kMigration)
		m.set_huge(mm, index >> m.geometry().huge_order, false);
	return count;
}

usize Switch::entry(usize i)
{
	Page *const from = page_of(span_.src[i]);
	Page *const to = page_of(span_.dst[i]);

	scheduler().point(Point::kPhase);
	if (to != nullptr)
		check_destination(span_, i, *to);
	if (to == nullptr || (span_.src[i] & kMigrate) == 0) {
		span_.src[i] &= ~kMigrate;
		return 1;
	}
	if (from == nullptr)
		return hole(i, *to);
	// Whoever has taken the data has said so under the page's lock.
	if (from->spent)
		scheduler().fail("data are moved again that have gone", "page %u",
				 machine().index_of(*from));
	if ((span_.src[i] & kCompound) != 0 && (span_.dst[i] & kCompound) == 0)
		return huge_to_small(i);
	if ((span_.dst[i] & kCompound) != 0 && (span_.src[i] & kCompound) == 0)
		scheduler().fail("a huge page goes where single pages are", "page frame %u",
				 machine().index_of(*from));
	if (!replace(span_, *from, *to))
		span_.src[i] &= ~kMigrate;
	return 1;
}

} // namespace

void switch_pages(dsvm_migrate_span &span, bool by_frames)
{
	Switch all{span, by_frames};

	for (usize i = 0; i < span.npages;)
		i += all.entry(i);
}

} // namespace dsvm::sim::migration
