// SPDX-License-Identifier: GPL-2.0-only OR MIT
//
// The checker of a mirror at rest (kunit/cases/mirror.h): no operation and no invalidation is
// under way. It believes no count, flag or order, but derives each from what it should stand for.
#ifndef DSVM_KUNIT_CASES_MIRROR_CHECK_H
#define DSVM_KUNIT_CASES_MIRROR_CHECK_H

#include "core/svm/space.h"
#include "kunit/cases/block_index.h"
#include "kunit/cases/mirror.h"

namespace dsvm::cases {

class MirrorChecker {
public:
	explicit MirrorChecker(Mirror &mirror) : m_(mirror) {}

	// Whether trees, lists and indexes are sound, and agree with each other and with what exists.
	[[nodiscard]] bool is_sound()
	{
		const Windows windows(m_.svm.notifier_list);
		const u32 listed = count_list(windows, VaRange::full());
		bool sound = expect_sound(complaint(m_.svm.index, m_.svm.root, 0, windows),
					  "index of windows");

		for (dsvm_notifier &window : windows)
			sound = window_is_sound(window) && sound;
		return sound && DSVM_CASE_CHECK_EQ_(listed, m_.notifiers);
	}

	// Whether the GPU gets at nothing but what the CPU has mapped and some device may reach.
	[[nodiscard]] bool gpu_is_sound()
	{
		for (u32 i = 0; i < fake::kPtes; i++) {
			const fake::Page *const page = m_.gpu.at(at_page(i));

			if (page == nullptr)
				continue;
			if (!DSVM_CASE_CHECK_(page->refs != 0) ||
			    !DSVM_CASE_CHECK_(page->dma != 0 || m_.world.is_direct()) ||
			    !DSVM_CASE_CHECK_EQ_(page,
						 m_.world.pte(m_.world.mm(), at_page(i)).page))
				return false;
		}
		return true;
	}

	// Whether the pages of a range say of themselves what they are.
	[[nodiscard]] bool pages_are_sound(const dsvm_range &range, u32 device = 0)
	{
		const dsvm_pages &pages = Mirror::home(range).pages[device];
		const bool mapped = (pages.flags & DSVM_PAGES_DMA_MAPPED) != 0;
		const bool devmem = (pages.flags & DSVM_PAGES_DEVMEM) != 0;

		if (!DSVM_CASE_CHECK_((pages.flags & DSVM_PAGES_STALE) == 0) ||
		    !DSVM_CASE_CHECK_EQ_(pages.provider != nullptr, mapped && devmem))
			return false;
		// Between an unmapping and its trim, what is mapped has a hole.
		if (!mapped || (range.flags & DSVM_RANGE_UNMAPPED) != 0)
			return true;
		return entries_are_sound(range, pages);
	}

private:
	using Windows = NotifierList;
	using Ranges = RangeList;

	// What an index, or the tree beside it, says amiss of the members of a list, or null.
	template <class Items>
	static const char *complaint(const dsvm_index &index, dsvm_tree_root &root, usize base,
				     const Items &items)
	{
		BlockIndexChecker checker(index, base, [&](auto visit) {
			for (auto &item : items)
				visit(item.node);
		});
		const char *const wrong = checker.complaint();

		return wrong ? wrong
			     : TreeChecker<IntervalTraits>(root).complaint(checker.counts.spilled);
	}

	// How many there are; they have to be in the order of their addresses, inside of `bounds`.
	template <class Items> static u32 count_list(const Items &items, VaRange bounds)
	{
		const dsvm_interval *before = nullptr;
		u32 count = 0;

		for (auto &item : items) {
			DSVM_EXPECT(before == nullptr || before->last < item.node.first);
			DSVM_EXPECT(bounds.contains(VaRange{item.node.first, item.node.last}));
			before = &item.node;
			count++;
		}
		return count;
	}

	bool window_is_sound(dsvm_notifier &window)
	{
		const Ranges ranges(window.range_list);
		const u32 count = count_list(ranges, VaRange{window.node.first, window.node.last});
		bool sound = expect_sound(
			complaint(window.index, window.root, window.node.first, ranges),
			"index of ranges");

		sound = DSVM_CASE_CHECK_(count > 0) && sound;
		sound = DSVM_CASE_CHECK_EQ_(window.users, count) && sound;
		sound = DSVM_CASE_CHECK_EQ_(window.unfinished, 0u) && sound;
		sound = DSVM_CASE_CHECK_EQ_(window.removed, 0u) && sound;
		for (dsvm_range &range : ranges) {
			const bool gone = range.gone_first <= range.gone_last;

			sound = DSVM_CASE_CHECK_EQ_(Mirror::home(range).notifier, &window) && sound;
			sound = DSVM_CASE_CHECK_((range.flags & DSVM_RANGE_REMOVED) == 0) && sound;
			if (m_.options.devices != 0)
				sound = DSVM_CASE_CHECK_EQ_(
						gone, (range.flags & DSVM_RANGE_UNMAPPED) != 0) &&
					sound;
			for (u32 i = 0; i < m_.devices(); i++)
				sound = pages_are_sound(range, i) && sound;
		}
		return sound;
	}

	// They cover the range exactly, naturally aligned, each with the right to write that the
	// flags say.
	bool entries_are_sound(const dsvm_range &range, const dsvm_pages &pages)
	{
		bool writable = true;
		usize addr = range.node.first;

		for (u32 i = 0; addr < range.node.last; i++) {
			const dsvm_dma_addr &entry = pages.dma_addr[i];
			const usize bytes = kPageSize << entry.order;

			if (!DSVM_CASE_CHECK_EQ_(addr & (bytes - 1), 0u))
				return false;
			for (usize at = 0; at < bytes; at += kPageSize) {
				if (!entry_is_sound(addr + at, entry, at))
					return false;
			}
			writable = writable && entry.dir == DSVM_DMA_BIDIRECTIONAL;
			addr += bytes;
		}
		// Of a piece of what was collected as one it may not be known.
		return DSVM_CASE_CHECK_EQ_(addr - 1, range.node.last) &&
		       DSVM_CASE_CHECK_(writable || (pages.flags & DSVM_PAGES_WRITABLE) == 0);
	}

	bool entry_is_sound(usize addr, const dsvm_dma_addr &entry, usize at)
	{
		const fake::Pte &pte = m_.world.pte(m_.world.mm(), addr);
		const fake::Page *const page = m_.world.page_of_dma(entry.addr + at);

		if (!DSVM_CASE_CHECK_EQ_(page, pte.page))
			return false;
		if (entry.dir != DSVM_DMA_BIDIRECTIONAL)
			return true;
		// Memory that is written behind the CPU's back must not look clean. Of a run it is
		// said once: the pages are of one folio.
		return DSVM_CASE_CHECK_(pte.writable) &&
		       DSVM_CASE_CHECK_(at != 0 || page->dirty || !m_.world.is_ram(page));
	}

	Mirror &m_;
};

[[nodiscard]] inline bool is_sound(Mirror &mirror)
{
	return MirrorChecker{mirror}.is_sound();
}

} // namespace dsvm::cases

#endif // DSVM_KUNIT_CASES_MIRROR_CHECK_H
