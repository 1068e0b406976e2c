// SPDX-License-Identifier: GPL-2.0-only OR MIT
//
// The entries of a span, as the kernel encodes them: what their flags and frame numbers say, which
// needs no look at a page. It is asked several times for each page, and so it is here.
#ifndef DSVM_CORE_MIGRATE_ENTRY_H
#define DSVM_CORE_MIGRATE_ENTRY_H

#include "core/base/bits.h"
#include "drm_svm/os.h"

namespace dsvm {

[[nodiscard]] inline bool entry_has_page(usize entry)
{
	return (entry & DSVM_ENTRY_PAGE) != 0;
}

// Of a source: nothing has stopped it so far, as far as the kernel knows.
[[nodiscard]] inline bool entry_moves(usize src)
{
	return (src & DSVM_ENTRY_MOVES) != 0;
}

[[nodiscard]] inline bool entry_is_huge(usize entry)
{
	return (entry & DSVM_ENTRY_HUGE) != 0;
}

// The same, and it is no huge page.
[[nodiscard]] inline bool entry_moves_alone(usize src)
{
	return (src & (DSVM_ENTRY_MOVES | DSVM_ENTRY_HUGE)) == DSVM_ENTRY_MOVES;
}

[[nodiscard]] inline usize entry_pfn(usize entry)
{
	return entry >> DSVM_ENTRY_PFN_SHIFT;
}

// A destination: the folio of that order that begins at a frame.
[[nodiscard]] inline usize make_entry(usize pfn, u32 order)
{
	return pfn << DSVM_ENTRY_PFN_SHIFT | DSVM_ENTRY_PAGE | (order ? DSVM_ENTRY_HUGE : 0);
}

// How many pages it stands for.
[[nodiscard]] inline usize entry_pages(usize entry)
{
	return entry_is_huge(entry) ? usize{1} << dsvm_os_huge_order() : 1;
}

[[nodiscard]] inline dsvm_migrate_entry decode(usize src)
{
	dsvm_migrate_entry entry;
	dsvm_os_migrate_decode(src, &entry);
	return entry;
}

// Calls @visit(index, src, npages) for each source of a span.
template <class Visit> void for_each_entry(const dsvm_migrate_span &span, Visit visit)
{
	const usize *const entries = span.src;
	const usize npages = span.npages;

	for (usize i = 0; i < npages;) {
		const usize src = entries[i];
		const usize count = entry_pages(src);

		visit(i, src, count);
		i += count;
	}
}

// Where the entry is that is next to @count entries from @index on, each of which has a page: what
// is behind a huge one is empty, so that it is the last of them.
[[nodiscard]] inline usize behind_entries(const dsvm_migrate_span &span, usize index, usize count)
{
	return index + count + (count != 0 ? entry_pages(span.src[index + count - 1]) - 1 : 0);
}

// After the switch: calls @visit(index, count, npages) for all sources that have moved, @count of
// them at a time, which are single pages or a huge one.
template <class Visit> void for_each_moved(const dsvm_migrate_span &span, Visit visit)
{
	const usize *const entries = span.src;
	const usize *const dst = span.dst;
	const usize npages = span.npages;

	for (usize i = 0; i < npages;) {
		usize end = i;
		while (end < npages && dst[end] && entry_moves_alone(entries[end]))
			++end;
		if (end != i) {
			visit(i, end - i, end - i);
			i = end;
			continue;
		}
		const usize src = entries[i];
		const usize count = entry_pages(src);
		if (dst[i] && entry_moves(src))
			visit(i, 1, count);
		i += count;
	}
}

// Gives up the destinations of @count entries.
inline void discard_destinations(dsvm_migrate_span &span, usize index, usize count)
{
	for (usize i = index; i < index + count; ++i) {
		if (span.dst[i])
			dsvm_os_page_discard(dsvm_os_migrate_page(span.dst[i]));
		span.dst[i] = 0;
	}
}

} // namespace dsvm

#endif // DSVM_CORE_MIGRATE_ENTRY_H
