// SPDX-License-Identifier: GPL-2.0-only OR MIT
#include "core/migrate/to_ram.h"

#include "core/migrate/frames.h"
#include "core/svm/counters.h"

namespace dsvm {

// The kernel's phases, both ways ----------------------------------------------------

inline Status ToRam::setup()
{
	return Status{is_by_tables() ? dsvm_os_migrate_setup(&span_)
				     : dsvm_os_migrate_device_setup(&span_)};
}

inline void ToRam::switch_over()
{
	if (is_by_tables())
		dsvm_os_migrate_pages(&span_);
	else
		dsvm_os_migrate_device_pages(&span_);
}

inline void ToRam::finalize()
{
	if (is_by_tables())
		dsvm_os_migrate_finalize(&span_);
	else
		dsvm_os_migrate_device_finalize(&span_);
}

// Destinations -------------------------------------------------------------------------

bool ToRam::is_fault_page(usize src) const
{
	return span_.fault_page && entry_has_page(src) &&
	       dsvm_os_migrate_page(src) == span_.fault_page;
}

// Where the owner has the page, or had it once. Asked for in ascending order.
inline usize ToRam::addr_of(usize index, usize src)
{
	const dsvm_devmem &devmem = *request_.devmem;
	if (is_by_tables())
		return span_.first + (index << DSVM_PAGE_SHIFT);

	at_ = index_of(devmem, entry_pfn(src), at_);
	return devmem.first + (at_ << DSVM_PAGE_SHIFT);
}

// RAM where the owner would have it.
inline usize ToRam::ram_for(usize index, usize src, u32 order)
{
	return dsvm_os_entry_alloc(vma(), addr_of(index, src), order);
}

void ToRam::fail(usize src, Status status)
{
	if (is_fault_page(src))
		status_ = status;
	else
		missing_ = status;
}

inline void ToRam::prepare_huge(usize index, usize src)
{
	const u32 order = dsvm_os_huge_order();
	movable_ += usize{1} << order;

	usize ram = exchange(request_.huge_ram, 0);
	if (!ram && is_by_tables() && !request_.lacks_huge)
		ram = ram_for(index, src, order);
	span_.dst[index] = ram;
	if (!ram)
		prepare_part_of_huge(index, src);
}

// There is no huge page of RAM.
DSVM_COLD void ToRam::prepare_part_of_huge(usize index, usize src)
{
	usize ram = 0;

	dsvm::count(request_.devmem->counters->huge_split);
	if (is_fault_page(src)) {
		// The kernel cannot split a huge page that somebody faults on; it only maps it page
		// by page. The next fault comes for one of these, and moves it.
		ram = ram_for(index, src, 0);
	}
	span_.dst[index] = ram;
	if (!ram)
		fail(src, kNoMemory);
}

// RAM for the single pages from @index to @end.
inline void ToRam::prepare_singles(usize index, usize end)
{
	usize *const dst = span_.dst;

	movable_ += end - index;
	for (usize i = index; i < end;) {
		// What is found by frames may have its addresses anywhere, if they matter.
		const usize count = request_.hint_vma ? 1 : end - i;
		const usize had =
			dsvm_os_entries_alloc(vma(), addr_of(i, span_.src[i]), count, dst + i);
		i += had;
		if (had != count) {
			fail(span_.src[i], kNoMemory);
			++i;
		}
	}
}

// Whether all that was found is one huge page, which may move.
inline bool ToRam::finds_folio() const
{
	const usize src = span_.src[0];

	return entry_is_huge(src) && entry_pages(src) == span_.npages &&
	       dsvm_os_migrate_count_of(span_.src, 1, request_.devmem->zdd) != 0;
}

// RAM for each page that moves: the callbacks of one allocation cannot copy another one's pages.
DSVM_NOINLINE void ToRam::prepare()
{
	const usize *const entries = span_.src;
	const usize npages = span_.npages;

	for (usize i = 0; i < npages;) {
		const usize count =
			dsvm_os_migrate_count_of(entries + i, npages - i, request_.devmem->zdd);
		const usize behind = behind_entries(span_, i, count);
		if (count == 0) {
			i += entry_pages(entries[i]);
			continue;
		}
		const usize last = i + count - 1;
		const bool is_huge = entry_is_huge(entries[last]);
		prepare_singles(i, is_huge ? last : behind);
		if (is_huge)
			prepare_huge(last, entries[last]);
		i = behind;
	}
	if (request_.huge_ram)
		dsvm_os_page_discard(dsvm_os_migrate_page(exchange(request_.huge_ram, 0)));
}

DSVM_ALWAYS_INLINE Status ToRam::fill()
{
	is_folio_ = finds_folio();
	if (is_folio_)
		prepare_huge(0, span_.src[0]);
	else
		prepare();

	const usize pieces = copies_.map([&](usize index, usize) {
		// Mappings are short as memory is: for a while.
		fail(span_.src[index], kNoMemory);
	});
	clock_.lap(DSVM_PHASE_MAP, pieces, status_);
	DSVM_TRY(status_);
	return copies_.begin();
}

// The batch --------------------------------------------------------------------------------

inline void ToRam::go_on()
{
	status_ = Status::ok();
	missing_ = Status::ok();
	movable_ = moved_ = 0;
	at_ = request_.index;
	copies_.start(*request_.devmem, span_, Copies::Way::kToRam);
	under_way_ = true;
	status_ = fill();
}

DSVM_UNIT_INLINE Status ToRam::begin()
{
	const Request &request = request_;

	span_.last = span_.first + ((span_.npages << DSVM_PAGE_SHIFT) - 1);
	clock_.start(*request.devmem, request.way, is_by_tables() ? span_.first : span_.src[0],
		     span_.npages);

	const Status collected = setup();
	clock_.lap(DSVM_PHASE_SETUP, span_.npages, collected);
	if (collected.is_error()) {
		if (request.huge_ram)
			dsvm_os_page_discard(dsvm_os_migrate_page(request.huge_ram));
		return collected;
	}
	go_on();
	return Status::ok();
}

void ToRam::take_over(const Request &request, const PhaseClock &clock)
{
	request_ = request;
	clock_ = clock;
	go_on();
}

// Marks what has moved for good, while it is still locked.
inline void ToRam::retire()
{
	const usize src = span_.src[0];

	if (!is_folio_ || !entry_is_huge(src & span_.dst[0])) {
		retire_each();
		return;
	}
	if (!entry_moves(src))
		return;
	dsvm_os_entries_retire(span_.src, 1);
	moved_ = span_.npages;
	dsvm::count(request_.devmem->counters->huge_moved);
}

DSVM_NOINLINE void ToRam::retire_each()
{
	usize moved = 0;
	usize nhuge = 0;

	for_each_moved(span_, [&](usize i, usize count, usize npages) {
		dsvm_os_entries_retire(span_.src + i, count);
		moved += npages;
		nhuge += npages != count;
	});
	moved_ = moved;
	if (nhuge != 0)
		dsvm::count(request_.devmem->counters->huge_moved, nhuge);
}

DSVM_UNIT_INLINE Status ToRam::end()
{
	under_way_ = false;
	const Status copied = copies_.wait();
	if (status_.is_ok())
		status_ = copied;
	clock_.lap(DSVM_PHASE_COPY, movable_, status_);
	copies_.unmap();
	if (status_.is_error())
		discard_destinations(span_, 0, span_.npages);

	switch_over();
	retire();
	finalize();
	clock_.lap(DSVM_PHASE_FINALIZE, moved_, status_);
	return status_.is_error() || span_.fault_page ? status_ : missing_;
}

} // namespace dsvm
