// SPDX-License-Identifier: GPL-2.0-only OR MIT
#include "core/migrate/to_device.h"

#include "core/migrate/frames.h"
#include "core/svm/counters.h"
#include "core/svm/hmm.h"

namespace dsvm {

void ToDevice::note_stay(usize index, usize count, dsvm_stay stay)
{
	for (usize i = index; i < index + count; ++i)
		request_.stays[i] = static_cast<u8>(stay);
}

// Each naturally aligned block of the span has frames for a huge page.
inline bool ToDevice::wants_huge() const
{
	const u32 order = dsvm_os_huge_order();
	const u64 size = u64{DSVM_PAGE_SIZE} << order;
	const VaRange &span = request_.span;
	bool any = false;

	if (order == 0 || span.size() < size)
		return false;
	for (u64 at = align_down(span.first + (size - 1), size);
	     at >= span.first && at <= span.last && span.last - at >= size - 1; at += size) {
		if (!is_folio(*request_.devmem, (at - span.first) >> DSVM_PAGE_SHIFT, order))
			return false;
		any = true;
	}
	return any;
}

// Whether the page leaves where it is for the allocation.
bool ToDevice::page_moves(usize src) const
{
	const dsvm_migrate_entry entry = decode(src);
	if (!entry.moves || entry.is_ram)
		return entry.moves;
	return entry.zdd && !entry.retired &&
	       (request_.within_provider || entry.provider != request_.devmem->provider);
}

// Of an entry that moves: whether it leaves another allocation.
bool ToDevice::page_is_peer(usize src) const
{
	return entry_has_page(src) && !decode(src).is_ram;
}

inline void ToDevice::survey()
{
	const usize *const entries = span_.src;
	const usize npages = span_.npages;
	usize movable = 0;
	usize plain = 0;

	is_plain_ = true;
	for (usize i = 0; i < npages;) {
		const usize src = entries[i];
		const bool is_hole = entry_moves(src) && !entry_has_page(src);
		const usize count =
			is_hole ? 1 : dsvm_os_migrate_count_ram(entries + i, npages - i);
		const usize behind = behind_entries(span_, i, count);

		if (count == 0) {
			survey_other(i, src, entry_pages(src));
			i += entry_pages(src);
			continue;
		}
		movable += behind - i;
		plain += count;
		i = behind;
	}
	movable_ += movable;
	entries_ = plain;
}

// What is neither RAM nor a hole, or does not move.
void ToDevice::survey_other(usize index, usize src, usize count)
{
	dsvm_migrate_entry entry{};

	if (entry_has_page(src)) {
		is_plain_ = false;
		if (page_moves(src)) {
			movable_ += count;
			return;
		}
		entry = decode(src);
	}
	const bool is_here =
		entry.moves && !entry.retired && entry.provider == request_.devmem->provider;
	if (is_here)
		here_already_ += count;
	const bool is_foreign = entry.page && !entry.is_ram && !entry.zdd;
	note(index, count,
	     is_here	  ? DSVM_WAS_THERE
	     : is_foreign ? DSVM_STAY_FOREIGN
			  : DSVM_STAY_BUSY);
}

// Looks at what the kernel has not collected: the page tables still say what is there.
void ToDevice::explain()
{
	if (!request_.stays || movable_ + here_already_ == span_.npages)
		return;

	usize *const entries = request_.looks;
	if (!hmm_look(request_.mm, request_.notifier, request_.owner, request_.span, entries))
		return;
	for_each_entry(span_, [&](usize i, usize src, usize) {
		// What was collected and yet does not move is not in the page tables now.
		if (entry_moves(src) || entry_has_page(src))
			return;
		// In place, but somebody has it locked.
		const bool is_here = is_in(request_.pagemap, entries[i]);
		note(i, 1,
		     is_here ? DSVM_STAY_BUSY
			     : static_cast<dsvm_stay>(dsvm_os_hmm_why(entries[i])));
	});
}

inline Status ToDevice::check() const
{
	if (movable_ == 0)
		return here_already_ == span_.npages ? Status::ok() : kBusy;
	// Pages of two allocations in one span would have to be evicted one by one.
	if (request_.all_or_nothing && movable_ != span_.npages)
		return kBusy;
	return Status::ok();
}

inline void ToDevice::prepare_huge(usize index)
{
	const dsvm_devmem &devmem = *request_.devmem;
	const u32 order = dsvm_os_huge_order();

	// Something has become huge since we asked for small pages.
	if (!is_folio(devmem, index, order)) {
		note(index, usize{1} << order, DSVM_STAY_BUSY);
		return;
	}
	dsvm_os_page_init_device(frame_at(devmem, index), devmem.zdd, order);
	span_.dst[index] = make_entry(frame_at(devmem, index), order);
	prepared_ += usize{1} << order;
}

// How many single pages from @index on move.
inline usize ToDevice::singles_at(usize index) const
{
	const usize *const src = span_.src;
	const usize npages = span_.npages;
	usize at = index;

	// Mostly it is known of all of them.
	if (entries_ == npages)
		return npages - index;
	while (at < npages && entry_moves_alone(src[at]) && (is_plain_ || moves(src[at])))
		++at;
	return at - index;
}

// A frame for each page that moves.
inline void ToDevice::prepare()
{
	const dsvm_devmem &devmem = *request_.devmem;
	const usize npages = span_.npages;

	for (usize i = 0; i < npages;) {
		const usize count = frames_in_a_row(devmem, i, singles_at(i));
		if (count != 0) {
			dsvm_os_entries_init_device(frame_at(devmem, i), count, devmem.zdd,
						    span_.dst + i);
			prepared_ += count;
			i += count;
			continue;
		}
		const usize src = span_.src[i];
		if (moves(src))
			prepare_huge(i);
		i += entry_pages(src);
	}
	give_back_unused();
}

// Frames that no page was made of go back to the driver, which may have better use for them.
void ToDevice::give_back_unused()
{
	const dsvm_devmem &devmem = *request_.devmem;
	const usize npages = page_count(devmem);
	if (!devmem.unused || prepared_ == npages)
		return;

	for (usize i = 0; i < npages;) {
		if (i < span_.npages && span_.dst[i]) {
			i += entry_pages(span_.dst[i]);
			continue;
		}
		usize count = 1;
		while (i + count < npages && (i + count >= span_.npages || !span_.dst[i + count]) &&
		       frame_at(devmem, i + count) == frame_at(devmem, i) + count)
			++count;
		devmem.unused(devmem.allocation, frame_at(devmem, i), count);
		i += count;
	}
}

inline void ToDevice::map()
{
	copies_.start(*request_.devmem, span_,
		      is_plain_ ? Copies::Way::kFromRam : Copies::Way::kFromAll);
	const usize pieces = copies_.map([&](usize index, usize count) {
		note(index, count,
		     is_peer(span_.src[index]) ? DSVM_STAY_FOREIGN : DSVM_STAY_NO_DMA);
		dropped_ += count;
	});
	clock_.lap(DSVM_PHASE_MAP, pieces, Status::ok());
}

inline Status ToDevice::fill()
{
	DSVM_TRY(check());
	if (movable_ == 0)
		return Status::ok();

	copying_ = true;
	prepare();
	map();
	if (request_.all_or_nothing && dropped_ != 0)
		return kFault;
	return copies_.begin();
}

// What the kernel keeps in the span is not touched.
inline void ToDevice::set_span()
{
	const Request &request = request_;

	span_.vma = request.vma;
	span_.first = request.span.first;
	span_.last = request.span.last;
	span_.npages = request.span.page_count();
	span_.owner = request.owner;
	span_.select =
		DSVM_MIGRATE_SYSTEM | DSVM_MIGRATE_DEVICE | (wants_huge() ? DSVM_MIGRATE_HUGE : 0);
	span_.fault_page = nullptr;
	span_.src = scratch_.src();
	span_.dst = scratch_.dst();
}

Status ToDevice::begin()
{
	movable_ = prepared_ = here_already_ = dropped_ = migrated_ = 0;
	copying_ = false;
	set_span();
	scratch_.begin(span_.npages);
	clock_.start(*request_.devmem, DSVM_WAY_TO_DEVICE, span_.first, span_.npages);

	const Status collected{dsvm_os_migrate_setup(&span_)};
	if (collected.is_ok())
		survey();
	clock_.lap(DSVM_PHASE_SETUP, movable_, collected);
	DSVM_TRY(collected);

	explain();
	under_way_ = true;
	status_ = fill();
	return Status::ok();
}

// What has moved, and what lost a race for a reference between setup and the switch.
inline void ToDevice::take_stock()
{
	usize moved = 0;
	usize nhuge = 0;

	for_each_moved(span_, [&](usize, usize count, usize npages) {
		moved += npages;
		nhuge += npages != count;
	});
	migrated_ = moved;
	if (nhuge != 0)
		count(request_.devmem->counters->huge_moved, nhuge);
	if (request_.stays || !is_plain_)
		take_stock_of_each();
}

// The same for who wants to know of each page, and for other allocations.
void ToDevice::take_stock_of_each()
{
	for_each_entry(span_, [&](usize i, usize src, usize count) {
		if (!span_.dst[i])
			return;
		note(i, count, entry_moves(src) ? DSVM_MOVED : DSVM_STAY_BUSY);
		if (entry_moves(src) && is_peer(src))
			let_go(src, count);
	});
}

// The allocation that @npages pages have left may still be asked for them.
void ToDevice::let_go(usize src, usize npages)
{
	const dsvm_migrate_entry entry = decode(src);

	if (entry.provider != request_.devmem->provider)
		count(request_.devmem->counters->from_device, npages);
	dsvm_os_entries_retire(&src, 1);
}

// What another device could not copy stays where it is, unless everything has to go.
inline Status ToDevice::finish_copies()
{
	const Status copied = copies_.wait();

	if (copies_.peer_error().is_error()) {
		for_each_entry(span_, [&](usize i, usize, usize count) {
			if (!span_.dst[i] || copies_.is_copied(i))
				return;
			note(i, count, DSVM_STAY_FOREIGN);
			copies_.drop(i, count);
			dropped_ += count;
		});
		if (copied.is_ok() && request_.all_or_nothing)
			return copies_.peer_error();
	}
	return copied;
}

Status ToDevice::end()
{
	under_way_ = false;
	if (copying_) {
		const Status copied = finish_copies();
		if (status_.is_ok())
			status_ = copied;
		clock_.lap(DSVM_PHASE_COPY, movable_ - dropped_, status_);
		copies_.unmap();
	}
	if (status_.is_error()) {
		discard_destinations(span_, 0, span_.npages);
		if (copying_)
			note(0, span_.npages, DSVM_STAY_NOT_TRIED);
	}

	dsvm_os_migrate_pages(&span_);
	take_stock();
	dsvm_os_migrate_finalize(&span_);
	clock_.lap(DSVM_PHASE_FINALIZE, migrated_, status_);
	count(request_.devmem->counters->stayed, span_.npages - migrated_ - here_already_);
	return status_;
}

namespace {

Status find_vma(const dsvm_to_device &request, dsvm_vma_info &vma)
{
	const VaRange span{request.first, request.last};
	if (!span.is_well_formed() || !span.is_page_aligned() || span.size() > request.devmem->size)
		return kInvalid;

	if (!dsvm_os_vma_at(request.mm, span.first, &vma))
		return kNotFound;
	if (span.last > vma.last)
		return kInvalid;
	// The kernel collects file pages and then refuses to move them.
	return vma.anonymous ? Status::ok() : kBusy;
}

} // namespace

Status migrate_to_device(dsvm_to_device &request)
{
	const VaRange span{request.first, request.last};
	DSVM_UNSET dsvm_vma_info vma;
	DSVM_UNSET Scratch scratch;

	request.migrated = 0;
	DSVM_TRY(find_vma(request, vma));
	DSVM_TRY(scratch.obtain(span.page_count(), request.devmem->provider));

	DSVM_UNSET ToDevice batch{scratch};
	ToDevice::Request &what =
		batch.prepare_request(vma.vma, span, request.owner, request.devmem);
	what.all_or_nothing = request.all_or_nothing;
	what.within_provider = request.within_provider;
	DSVM_TRY(batch.begin());
	const Status status = batch.end();
	request.migrated = batch.migrated();
	DSVM_TRY(status);

	if (batch.migrated() < batch.movable() && (request.all_or_nothing || batch.migrated() == 0))
		return kBusy;
	return Status::ok();
}

} // namespace dsvm
