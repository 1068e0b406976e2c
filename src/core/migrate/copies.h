// SPDX-License-Identifier: GPL-2.0-only OR MIT
//
// The copies of one batch: its pages mapped for DMA in as few pieces as there are, and handed to
// the copy engines.
//
//	set	page by page: a device page, and what is beside it
//	map	pieces of 2^order pages that follow each other on both sides (plan.h)
//	begin	the drivers begin to copy
//	wait	... and are through
//	unmap
//
// Into a device its own engine copies, out of it again its own: so memory that goes from one
// device to another is copied by the one that it leaves, to where the other one's provider says
// that its memory is.
#ifndef DSVM_CORE_MIGRATE_COPIES_H
#define DSVM_CORE_MIGRATE_COPIES_H

#include "core/base/bits.h"
#include "core/base/result.h"
#include "core/migrate/scratch.h"
#include "drm_svm/migrate.h"
#include "drm_svm/os.h"

namespace dsvm {

// Calls @visit(index, entry, npages) for each entry of a span.
template <class Visit> void for_each_entry(const dsvm_migrate_span &span, Visit visit)
{
	for (usize i = 0; i < span.npages;) {
		dsvm_migrate_entry entry;
		dsvm_os_migrate_decode(span.src[i], &entry);
		const usize count = min(usize{1} << entry.order, span.npages - i);

		visit(i, entry, count);
		i += count;
	}
}

// Gives up the destinations of @count entries.
inline void discard_destinations(dsvm_migrate_span &span, usize index, usize count)
{
	for (usize i = index; i < index + count; ++i) {
		if (span.dst[i])
			dsvm_os_page_discard(dsvm_os_migrate_dst_page(span.dst[i]));
		span.dst[i] = 0;
	}
}

class Copies {
public:
	explicit Copies(Scratch &scratch) : scratch_(scratch) {}
	Copies(const Copies &) = delete;
	Copies &operator=(const Copies &) = delete;

	// A batch begins, whose entries are those of @span; its scratch is clear. @to_ram: out of
	// @devmem to RAM; else into it from wherever it is.
	void start(const dsvm_devmem &devmem, const dsvm_migrate_span &span, bool to_ram);

	// @page is of the device that copies. @other: the other side's; nullptr: there is nothing,
	// and the page has to be cleared.
	void set(usize index, dsvm_os_page *page, dsvm_os_page *other)
	{
		scratch_.pages()[index] = page;
		scratch_.others()[index] = other;
	}
	bool is_set(usize index) const { return scratch_.pages()[index] != nullptr; }
	// Takes an entry out, and unmaps what of it is mapped.
	void unset(const dsvm_migrate_entry &entry, usize index, usize count);

	// Whatever cannot be mapped is unset, whole entries of it, and told to @drop(index, npages).
	// Returns the number of pieces.
	template <class Drop> usize map(Drop drop);
	// Ok, or what the allocation's own callback returned; what had begun before goes on.
	Status begin();
	// The first error of the allocation's own copies. May sleep.
	Status wait();
	// The same of other devices', whose pages are not copied() then.
	Status peer_error() const { return peer_error_; }
	bool is_copied(usize index) const { return scratch_.others()[index] != nullptr; }
	void unmap();

private:
	static constexpr u32 kMaxFences = 4;

	// A part of the batch that one engine copies.
	struct Part {
		const dsvm_devmem *copier;
		usize first;
		usize end;
		dsvm_os_fence *done; // nullptr: is done
	};

	bool leaves_device(const dsvm_migrate_entry &entry) const;
	const dsvm_devmem &copier_of(const dsvm_migrate_entry &entry) const;

	void open_window();
	bool sync_window();
	bool is_in_window(const dsvm_dma_addr &addr) const;

	usize run_of_small(usize index, const dsvm_migrate_entry &entry) const;
	usize stretch(usize index, usize end) const;
	usize map_pages(const dsvm_migrate_entry &entry, usize index, usize count);
	usize map_stretch(const dsvm_migrate_entry &entry, usize index, usize count);
	Status map_piece(const dsvm_migrate_entry &entry, usize index, u32 order);
	Status map_ram(const dsvm_devmem &copier, usize index, u32 order);
	void unmap_piece(const dsvm_migrate_entry &entry, usize index);
	template <class Drop> void drop_window(Drop drop);

	void issue(Part part, bool out);
	usize build_runs(usize first, usize end);
	void conclude(const Part &part, Status status);

	Scratch &scratch_;
	const dsvm_devmem *devmem_ = nullptr;
	const dsvm_migrate_span *span_ = nullptr;
	bool to_ram_ = false;
	u32 max_order_ = 0; // larger pieces have been refused
	usize pieces_ = 0;
	dsvm_iova window_{};
	usize window_first_ = 0; // index of the page at its beginning
	Part copying_[kMaxFences];
	u32 ncopying_ = 0;
	Status own_error_;
	Status peer_error_;
};

template <class Drop> usize Copies::map(Drop drop)
{
	open_window();
	for (usize i = 0; i < span_->npages;) {
		dsvm_migrate_entry entry;
		dsvm_os_migrate_decode(span_->src[i], &entry);
		const usize count = entry.order ? usize{1} << entry.order : run_of_small(i, entry);
		const usize mapped = map_pages(entry, i, count);

		if (mapped == count) {
			i += count;
			continue;
		}
		// Of a huge page everything or nothing; of small ones, all but this one.
		const usize failed = entry.order ? i : i + mapped;
		const usize lost = entry.order ? count : 1;
		unset(entry, failed, lost);
		drop(failed, lost);
		i = failed + lost;
	}
	if (!sync_window())
		drop_window(drop);
	return pieces_;
}

// Nothing that was linked can be seen by the device; only the first page of a piece tells whether
// it was, so all RAM goes.
template <class Drop> void Copies::drop_window(Drop drop)
{
	for_each_entry(*span_, [&](usize i, const dsvm_migrate_entry &entry, usize count) {
		if (!is_set(i) || !(to_ram_ || entry.is_ram))
			return;
		unset(entry, i, count);
		drop(i, count);
	});
}

} // namespace dsvm

#endif // DSVM_CORE_MIGRATE_COPIES_H
