// SPDX-License-Identifier: GPL-2.0-only OR MIT
#include "core/migrate/to_ram.h"

#include "core/svm/counters.h"

namespace dsvm {

// The kernel's phases, both ways ----------------------------------------------------

Status ToRam::setup()
{
	return Status{is_by_tables() ? dsvm_os_migrate_setup(&span_)
				     : dsvm_os_migrate_device_setup(&span_)};
}

void ToRam::switch_over()
{
	if (is_by_tables())
		dsvm_os_migrate_pages(&span_);
	else
		dsvm_os_migrate_device_pages(&span_);
}

void ToRam::finalize()
{
	if (is_by_tables())
		dsvm_os_migrate_finalize(&span_);
	else
		dsvm_os_migrate_device_finalize(&span_);
}

// Destinations -------------------------------------------------------------------------

// The callbacks of one allocation cannot copy another one's pages.
bool ToRam::moves(const dsvm_migrate_entry &entry) const
{
	return entry.moves && entry.zdd && entry.zdd == request_.devmem->zdd && !entry.retired;
}

bool ToRam::is_fault_page(const dsvm_migrate_entry &entry) const
{
	return request_.fault_page && entry.page == request_.fault_page;
}

// RAM where the owner would have it.
dsvm_os_page *ToRam::ram_for(usize index, u32 order)
{
	if (is_by_tables())
		return dsvm_os_page_alloc(request_.vma, span_.first + (index << DSVM_PAGE_SHIFT),
					  order);
	const usize page = indices(scratch_)[index];
	return dsvm_os_page_alloc(request_.hint_vma, request_.hint + (page << DSVM_PAGE_SHIFT),
				  order);
}

void ToRam::fail(const dsvm_migrate_entry &entry, Status status)
{
	if (is_fault_page(entry))
		status_ = status;
	else
		missing_ = status;
}

void ToRam::use(usize index, const dsvm_migrate_entry &entry, dsvm_os_page *ram, u32 order)
{
	// The device may have written what the kernel was free to drop before it moved there.
	dsvm_os_page_mark_dirty(ram);
	span_.dst[index] = dsvm_os_migrate_encode(ram, order);
	for (usize i = 0; i < usize{1} << order; ++i)
		copies_.set(index + i, dsvm_os_page_nth(entry.page, i), dsvm_os_page_nth(ram, i));
}

void ToRam::prepare_entry(usize index, const dsvm_migrate_entry &entry, usize count)
{
	if (!moves(entry))
		return;
	movable_ += count;

	dsvm_os_page *ram = nullptr;
	u32 order = entry.order;
	if (order != 0 && !is_by_tables())
		ram = exchange(request_.huge_ram, nullptr);
	else
		ram = ram_for(index, order);
	if (!ram && order != 0 && is_fault_page(entry)) {
		// The kernel cannot split a huge page that somebody faults on; it only maps it page
		// by page. The next fault comes for one of these, and moves it.
		order = 0;
		ram = ram_for(index, order);
	}
	if (entry.order != order || (!ram && order != 0))
		dsvm::count(request_.devmem->counters->huge_split);
	if (ram)
		use(index, entry, ram, order);
	else
		fail(entry, kNoMemory);
}

Status ToRam::fill()
{
	for_each_entry(span_, [&](usize i, const dsvm_migrate_entry &entry, usize count) {
		prepare_entry(i, entry, count);
	});
	if (request_.huge_ram)
		dsvm_os_page_discard(exchange(request_.huge_ram, nullptr));

	const usize pieces = copies_.map([&](usize index, usize count) {
		dsvm_migrate_entry entry;
		dsvm_os_migrate_decode(span_.src[index], &entry);
		discard_destinations(span_, index, count);
		// Mappings are short as memory is: for a while.
		fail(entry, kNoMemory);
	});
	clock_.lap(DSVM_PHASE_MAP, pieces, status_);
	DSVM_TRY(status_);
	return copies_.begin();
}

// The batch --------------------------------------------------------------------------------

Status ToRam::begin(const Request &request)
{
	request_ = request;
	status_ = missing_ = Status::ok();
	movable_ = moved_ = 0;
	span_ = dsvm_migrate_span{};
	span_.vma = request.vma;
	span_.first = request.first;
	span_.last = request.first + ((request.npages << DSVM_PAGE_SHIFT) - 1);
	span_.npages = request.npages;
	span_.owner = request.devmem->owner;
	span_.select = request.select;
	span_.fault_page = request.fault_page;
	span_.src = scratch_.src();
	span_.dst = scratch_.dst();
	clock_.start(*request.devmem, request.way, is_by_tables() ? request.first : span_.src[0],
		     request.npages);

	const Status collected = setup();
	clock_.lap(DSVM_PHASE_SETUP, request.npages, collected);
	if (collected.is_error()) {
		if (request.huge_ram)
			dsvm_os_page_discard(request.huge_ram);
		return collected;
	}
	copies_.start(*request.devmem, span_, true);
	under_way_ = true;
	status_ = fill();
	return Status::ok();
}

// Marks what has moved for good, while it is still locked.
void ToRam::retire()
{
	for_each_entry(span_, [&](usize i, const dsvm_migrate_entry &entry, usize count) {
		if (!span_.dst[i] || !entry.moves)
			return;
		dsvm_os_page_retire(entry.page);
		moved_ += count;
		dsvm::count(request_.devmem->counters->huge_moved, entry.order != 0);
	});
}

Status ToRam::end()
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
	if (status_.is_error() || request_.fault_page)
		return status_;
	// A huge page without RAM for it, which its owner has not mapped any more.
	if (request_.way == DSVM_WAY_EVICT && is_by_tables() && movable_ == 0)
		return kNoMemory;
	return missing_;
}

} // namespace dsvm
