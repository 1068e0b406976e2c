// SPDX-License-Identifier: GPL-2.0-only OR MIT
//
// The copies of one batch: its pages mapped for DMA in as few pieces as there are, and handed to
// the copy engines.
//
//	map	pieces of 2^order pages that follow each other on both sides (plan.h): in one
//		window of device addresses; or, where nobody has to undo a mapping and there is
//		RAM alone on the other side, row by row of it, upwards or downwards; or one by
//		one, as a batch that is one huge page is
//	begin	the drivers begin to copy
//	wait	... and are through
//	unmap
//
// What is to be copied is what has a destination: from the source, or nothing if there is none, and
// the page has to be cleared.
//
// Into a device its own engine copies, out of it again its own: so memory that goes from one
// device to another is copied by the one that it leaves, to where the other one's provider says
// that its memory is.
#ifndef DSVM_CORE_MIGRATE_COPIES_H
#define DSVM_CORE_MIGRATE_COPIES_H

#include "core/base/bits.h"
#include "core/base/result.h"
#include "core/migrate/entry.h"
#include "core/migrate/scratch.h"
#include "drm_svm/migrate.h"
#include "drm_svm/os.h"

namespace dsvm {

class Copies {
public:
	// Where the pages of a batch come from, and where they go.
	enum class Way : u8 {
		kToRam,	  // out of the allocation
		kFromRam, // or from nothing, into it
		kFromAll, // the same, and from other allocations
	};

	explicit Copies(Scratch &scratch) : scratch_(scratch) {}
	Copies(const Copies &) = delete;
	Copies &operator=(const Copies &) = delete;

	// A batch begins, whose entries are those of @span; its scratch is clear.
	void start(const dsvm_devmem &devmem, dsvm_migrate_span &span, Way way);

	// Whatever cannot be mapped is dropped, whole entries of it, and told to
	// @dropped(index, npages). Returns the number of pieces.
	template <class Dropped> usize map(Dropped dropped);
	// Gives up the destinations of @count entries, and unmaps what of it is mapped.
	void drop(usize index, usize count);
	// Ok, or what the allocation's own callback returned; what had begun before goes on.
	Status begin();
	// The first error of the allocation's own copies. May sleep.
	Status wait();
	// The same of other devices', whose pages are not copied() then.
	Status peer_error() const { return peer_error_; }
	bool is_copied(usize index) const { return scratch_.addrs()[index].dir != DSVM_DMA_NONE; }
	void unmap();

private:
	static constexpr u32 kMaxFences = 4;

	// A part of the batch that one engine copies.
	struct Part {
		const dsvm_devmem *copier;
		bool out; // of the copier's memory
		usize first;
		usize end;
		dsvm_os_fence *done; // nullptr: is done
	};

	// Pages of RAM whose frames are in a row: upwards, as on the device's side, or downwards,
	// wherever the device's are.
	struct Row {
		usize lowest; // its entry
		usize count;
		bool goes_down;
	};

	bool is_set(usize index) const { return span_->dst[index] != 0; }
	usize next_set(usize index) const;
	// The part that begins there.
	Part part_at(usize index) const
	{
		return way_ == Way::kFromAll
			       ? mixed_part_at(index)
			       : Part{devmem_, way_ == Way::kToRam, index, index, nullptr};
	}
	Part mixed_part_at(usize index) const;
	bool is_of_part(const Part &part, usize index) const;
	bool is_ram(const Part &part) const;
	const usize *ram_side(const Part &part) const;

	bool map_folio();
	template <class Dropped> usize map_each(Dropped dropped);
	void choose_way_to_map();
	void open_window();
	bool sync_window();
	bool is_in_window(const dsvm_dma_addr &addr) const;

	usize stretch(const Part &part) const;
	usize scattered_at(usize index) const;
	usize map_scattered(usize index, usize count);
	Row row_at(usize index) const;
	usize map_at(usize index, usize &count);
	usize map_row(usize index);
	usize map_stretch(const Part &part, usize count);
	Status map_piece(const Part &part, usize offset, u32 order);
	Status map_ram(const Part &part, usize offset, u32 order);
	void unmap_piece(usize entry, usize index);
	void unmap_span(usize first, usize end);
	template <class Dropped> void drop_window(Dropped dropped);

	Status begin_parts();
	void issue(const Part &part);
	const usize *own_side(bool out) const;
	template <class Visit> usize visit_pieces(bool out, usize index, Visit visit) const;
	bool is_alone(usize index) const;
	usize alone_at(usize index, usize end) const;
	dsvm_os_page **build_pages(bool out, usize first, usize end);
	void list_pages(bool out, usize first, usize end, dsvm_os_page **pages) const;
	usize build_runs(bool out, usize first, usize end, dsvm_copy_run *runs);
	Status wait_for_all();
	void unmap_all();
	void conclude(const Part &part, Status status);

	Scratch &scratch_;
	// All that follows is set by start().
	const dsvm_devmem *devmem_;
	dsvm_migrate_span *span_;
	Way way_;
	bool in_rows_;	// set by map(): RAM is mapped so, and may not have to be unmapped
	u32 max_order_; // larger pieces have been refused
	usize pieces_;
	usize alone_; // of these, so many are mapped as single pages that nobody drops
	dsvm_iova window_;
	usize window_first_; // if there is one: index of the page at its beginning
	u32 ncopying_;
	Part copying_[kMaxFences];
	Status own_error_;
	Status peer_error_;
};

template <class Dropped> inline usize Copies::map(Dropped dropped)
{
	return map_folio() ? pieces_ : map_each(dropped);
}

template <class Dropped> DSVM_NOINLINE usize Copies::map_each(Dropped dropped)
{
	usize end = 0;

	choose_way_to_map();
	for (usize i = next_set(0); i < span_->npages; i = next_set(i)) {
		const usize before = pieces_;
		usize count;
		const usize mapped = map_at(i, count);

		if (mapped == count) {
			// Of a huge page in one piece the first entry says everything.
			const bool is_one = pieces_ == before + 1 && entry_is_huge(span_->dst[i]);
			end = i + (is_one ? 1 : count);
			i += count;
			continue;
		}
		// Of a huge page everything or nothing; of small ones, all but this one.
		const bool is_huge = entry_is_huge(span_->dst[i]);
		const usize failed = is_huge ? i : i + mapped;
		const usize lost = is_huge ? count : 1;
		end = is_huge ? end : failed;
		drop(failed, lost);
		dropped(failed, lost);
		i = failed + lost;
	}
	scratch_.ends_at(end);
	if (!sync_window())
		drop_window(dropped);
	return pieces_;
}

// Nothing that was linked can be seen by the device; only the first page of a piece tells whether
// it was, so all RAM goes.
template <class Dropped> void Copies::drop_window(Dropped dropped)
{
	for_each_entry(*span_, [&](usize i, usize, usize count) {
		if (!is_set(i) || !is_ram(part_at(i)))
			return;
		drop(i, count);
		dropped(i, count);
	});
}

} // namespace dsvm

#endif // DSVM_CORE_MIGRATE_COPIES_H
