// SPDX-License-Identifier: GPL-2.0-only OR MIT
//
// What has to be true of the machine when nothing is under way, and when all is over.

#include "tests/host/simmm/machine.h"

namespace dsvm::sim {

// Each page counts exactly the entries that map it, and each entry has the data that belong
// there.
void Machine::check_consistency()
{
	u32 mapped[4096] = {};
	Scheduler &sched = scheduler();

	for (Mm &mm : mms_) {
		if (!mm.in_use)
			continue;
		if (mm.active_invalidations != 0)
			sched.fail("an invalidation has no end", "mm %u", mm.index);
		for (u32 i = 0; i < mm.ptes.size(); i++) {
			const Pte &pte = mm.ptes[i];

			if (pte.kind == PteKind::kMigration) {
				sched.fail("a page is on its way for ever", "page %u of mm %u", i,
					   mm.index);
			} else if (pte.kind == PteKind::kSwap) {
				const u32 cache = slots_[pte.slot].cache;
				const u64 content = cache == kNoPage ? slots_[pte.slot].content
								     : pages_[cache].content;
				if (content != shadow(mm, i))
					sched.fail("data are lost", "page %u of mm %u, in swap", i,
						   mm.index);
			} else if (pte.kind != PteKind::kNone) {
				mapped[folio_of(pages_[pte.page]).head % 4096]++;
				if (pages_[pte.page].content != shadow(mm, i))
					sched.fail(
						"data are lost",
						"page %u of mm %u, page frame %u: %#lx, not %#lx",
						i, mm.index, pte.page,
						static_cast<usize>(pages_[pte.page].content),
						static_cast<usize>(shadow(mm, i)));
			} else if (find_vma(mm, addr_of(i)) != nullptr &&
				   find_vma(mm, addr_of(i))->kind == VmaKind::kAnonymous &&
				   shadow(mm, i) != 0) {
				sched.fail("data are lost", "page %u of mm %u: nothing is there", i,
					   mm.index);
			}
		}
	}
	for (u32 i = 1; i < pages_.size() && pages_.size() <= 4096; i++) {
		const Page &page = pages_[i];
		if (page.head == i && page.refs != 0 && page.mapped != mapped[i])
			sched.fail("a page counts its mappings wrongly", "page %u: %u, not %u", i,
				   page.mapped, mapped[i]);
	}
}

void Machine::check_nothing_left()
{
	Scheduler &sched = scheduler();

	// What somebody had locked when its last entry went: reclaim would find it.
	for (const Slot &slot : slots_) {
		if (slot.refs == 1 && slot.cache != kNoPage)
			free_swap_cache(pages_[slot.cache]);
	}
	for (u32 &page : object_pages_) {
		if (page != kNoPage)
			put_page(pages_[page]);
		page = kNoPage;
	}
	for (u32 i = 1; i < pages_.size(); i++) {
		if (pages_[i].refs != 0 || pages_[i].head != i || pages_[i].dma != 0)
			sched.fail("a page is never freed",
				   "page %u: %u references, %u mappings, %u for DMA", i,
				   pages_[i].refs, pages_[i].mapped, pages_[i].dma);
	}
	for (u32 i = 1; i < slots_.size(); i++) {
		if (slots_[i].refs != 0)
			sched.fail("a swap slot is never freed", "slot %u", i);
	}
	for (const Mm &mm : mms_) {
		if (mm.users != 0 || mm.kept != 0)
			sched.fail("an mm keeps users", "mm %u: %u", mm.index, mm.users);
		if (mm.lock.readers != 0 || mm.lock.writer != kNobody)
			sched.fail("a lock is kept", "the mm's, at the end");
	}
	for (const Notifier *notifier : notifiers_) {
		if (notifier != nullptr)
			sched.fail("a notifier is never removed", "[%u, %u]",
				   index_of(notifier->first), index_of(notifier->last));
	}
	for (const ActiveSpan &span : active_spans_) {
		if (span.span != nullptr)
			sched.fail("a migration has no end", "phase %u",
				   static_cast<u32>(span.phase));
	}
	if (holds_memory())
		sched.fail("memory is never freed", "%s", "what dsvm_os_alloc() gave");
}

} // namespace dsvm::sim
