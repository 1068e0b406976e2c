// SPDX-License-Identifier: GPL-2.0-only OR MIT
//
// From a page to the entries that map it (kernel: mm/rmap.c).
//
// A page remembers the anon_vma that it was made in, and that lives as long as a VMA is
// linked to it. Whoever puts entries back without holding the mm's lock has to hold a
// reference to the anon_vma (kernel: the comment in rmap_walk_anon_lock()); the kernel's
// migrate_device_*() takes none. So there it is up to the caller that a VMA stays.

#include "tests/host/simmm/machine.h"

namespace dsvm::sim {

bool Machine::anon_vma_lives(u8 id) const
{
	for (const Mm &mm : mms_) {
		for (const Vma &vma : mm.vmas) {
			if (vma.in_use && (vma.anon_vmas >> id & 1) != 0)
				return true;
		}
	}
	return false;
}

// Any entry that maps a page of the folio, or (migration) waits for it.
bool Machine::find_mapping(Page &folio, bool migration, Mm *&found_mm, u32 &found_index)
{
	const u32 first = index_of(folio);
	const u32 last = first + (1u << folio.order) - 1;

	for (u32 m = 0; m < geometry_.mms; m++) {
		Mm &mm = mms_[m];
		if (!mm.in_use)
			continue;
		for (u32 i = 0; i < mm.ptes.size(); i++) {
			const Pte &pte = mm.ptes[i];

			if (pte.page < first || pte.page > last || pte.kind == PteKind::kNone ||
			    (pte.kind == PteKind::kMigration) != migration)
				continue;
			found_mm = &mm;
			found_index = i;
			return true;
		}
	}
	return false;
}

// Every mapping becomes a migration entry, or with a slot a swap entry; each after a CLEAR. A huge
// mapping stays one, on its way, if it is not to be split.
void Machine::unmap_each(Page &folio, u32 slot, bool split)
{
	const bool keeps_huge = !split && slot == 0;
	Mm *mm = nullptr;
	u32 index = 0;

	if (!folio.locked || folio.locker != scheduler().running())
		scheduler().fail("a lock is missing", "that of page %u, which is unmapped",
				 index_of(folio));
	while (folio.mapped != 0 && find_mapping(folio, false, mm, index)) {
		const u32 block = index >> geometry_.huge_order;
		const bool huge = mm->huge[block];
		const u32 first = huge ? block << geometry_.huge_order : index;
		const u32 count = huge ? block_pages() : 1;
		Invalidation event{*mm, addr_of(first), addr_of(first + count) - 1, Event::kClear};

		scheduler().point(Point::kPte);
		if ((mm->huge[block] != 0) != huge)
			continue;
		Scheduler::Atomic atomic{"a page-table lock"};
		if (!keeps_huge)
			split_block(*mm, block);
		for (u32 i = first; i < first + count; i++) {
			const Pte &pte = mm->ptes[i];
			if ((pte.kind != PteKind::kPresent && pte.kind != PteKind::kDevice) ||
			    pages_[pte.page].head != index_of(folio))
				continue;
			if (folio.zdd != nullptr && folio.zdd->mm == mm &&
			    find_vma(*mm, addr_of(i)) != nullptr)
				folio.owner_mapped = true;
			if (slot != 0)
				set_swap(*mm, i, slot);
			else
				set_migration(*mm, i);
		}
	}
}

void Machine::unmap_for_migration(Page &folio, bool split)
{
	unmap_each(folio, 0, split);
}

void Machine::unmap_to_swap(Page &folio, u32 slot)
{
	unmap_each(folio, slot, true);
}

// Kernel: remove_migration_pmd(): with a folio of single pages it maps what is behind the first
// of them, or stops at a VM_BUG_ON.
void Machine::restore_huge(Mm &mm, u32 block, Page &to)
{
	const u32 first = block << geometry_.huge_order;
	Scheduler::Atomic atomic{"a page-table lock"};

	if (to.order != geometry_.huge_order || mm.ptes[first].kind != PteKind::kMigration) {
		scheduler().fail("a huge page that is on its way comes back as something else",
				 "page %u of mm %u, page frame %u is of order %u", first, mm.index,
				 index_of(to), to.order);
		return;
	}
	for (u32 i = 0; i < block_pages(); i++)
		restore_migration(mm, first + i, index_of(to) + i);
}

void Machine::restore_mappings(Page &from, Page &to)
{
	Mm *mm = nullptr;
	u32 index = 0;

	if (from.anon && !from.keeps_anon_vma && !anon_vma_lives(from.anon_vma)) {
		// Where the page's owner had unmapped it before, or was about to finish that (which
		// needs the lock for reading only), nobody outside of the kernel can keep the
		// others that map it: a gap that mainline has, too.
		if (from.owner_mapped)
			scheduler().fail("page tables are walked that may have gone",
					 "the anon_vma of page %u is freed", index_of(from));
		else
			scheduler().note("the anon_vma of page %u may be gone: a known gap",
					 index_of(from));
	}
	while (find_mapping(from, true, mm, index)) {
		scheduler().point(Point::kPte);
		// Zapped, moved, or split, meanwhile.
		const Pte &pte = mm->ptes[index];
		if (pte.kind != PteKind::kMigration || pages_[pte.page].head != index_of(from))
			continue;
		if (is_huge(*mm, index)) {
			restore_huge(*mm, index >> geometry_.huge_order, to);
			continue;
		}
		// The zero page takes the place of any page; a folio, page by page that of a folio.
		const u32 offset = index_of(to) == kZeroPage ? 0 : pte.page - index_of(from);
		restore_migration(*mm, index, index_of(to) + offset);
	}
	from.owner_mapped = false;
}

} // namespace dsvm::sim
