// SPDX-License-Identifier: GPL-2.0-only OR MIT
#include "core/migrate/copies.h"

#include "core/migrate/plan.h"

namespace dsvm {

namespace {

// What the destinations of two pages in a row differ by.
constexpr usize kNextPage = usize{1} << DSVM_ENTRY_PFN_SHIFT;

// The page @offset pages into the folio of entries[first].
dsvm_os_page *page_in(const usize *entries, usize first, usize offset)
{
	dsvm_os_page *const page = dsvm_os_migrate_page(entries[first]);

	return offset ? dsvm_os_page_nth(page, offset) : page;
}

} // namespace

void Copies::start(const dsvm_devmem &devmem, dsvm_migrate_span &span, Way way)
{
	devmem_ = &devmem;
	span_ = &span;
	way_ = way;
	max_order_ = 63;
	pieces_ = 0;
	window_ = dsvm_iova{};
	own_error_ = peer_error_ = Status::ok();
}

// The first entry from @index on that has a destination.
usize Copies::next_set(usize index) const
{
	while (index < span_->npages && !is_set(index))
		++index;
	return index;
}

// Its own device copies it out: to RAM, or to the memory of the allocation.
bool Copies::leaves_device(usize index) const
{
	if (way_ != Way::kFromAll)
		return way_ == Way::kToRam;
	const usize src = span_->src[index];
	return entry_has_page(src) && !decode(src).is_ram;
}

const dsvm_devmem &Copies::copier_of(usize index) const
{
	return way_ == Way::kFromAll && leaves_device(index)
		       ? *dsvm_os_zdd_devmem(decode(span_->src[index]).zdd)
		       : *devmem_;
}

// The entry whose page is RAM: the source, or the destination; 0: neither is.
usize Copies::ram_of(usize index) const
{
	if (way_ == Way::kToRam)
		return span_->dst[index];
	const usize src = span_->src[index];
	return entry_has_page(src) && !leaves_device(index) ? src : 0;
}

Copies::Part Copies::part_at(usize index) const
{
	return Part{&copier_of(index), leaves_device(index), index, index, nullptr};
}

bool Copies::is_of_part(const Part &part, usize index) const
{
	return way_ != Way::kFromAll ||
	       (&copier_of(index) == part.copier && leaves_device(index) == part.out);
}

// Mapping ------------------------------------------------------------------------

// All RAM of a batch is that of one device, its own. A window for a single page is not worth it.
void Copies::open_window()
{
	usize pages = 0;
	usize first = 0;

	for (usize i = next_set(0); i < span_->npages && pages < 2; i = next_set(i + 1)) {
		if (!ram_of(i))
			continue;
		first = pages ? first : i;
		pages += usize{1} << entry_order(span_->dst[i]);
	}
	if (pages < 2)
		return;
	window_first_ = first;
	if (!dsvm_os_iova_alloc(devmem_->dev, dsvm_os_migrate_page(ram_of(first)),
				(span_->npages - first) << DSVM_PAGE_SHIFT, &window_))
		window_ = dsvm_iova{};
}

bool Copies::sync_window()
{
	return window_.size == 0 ||
	       dsvm_os_iova_sync(devmem_->dev, &window_,
				 (span_->npages - window_first_) << DSVM_PAGE_SHIFT) == 0;
}

bool Copies::is_in_window(const dsvm_dma_addr &addr) const
{
	return window_.size != 0 && addr.dir && addr.addr >= window_.addr &&
	       addr.addr - window_.addr < window_.size;
}

// Single pages from @part's first on that follow each other on both sides.
usize Copies::stretch(const Part &part) const
{
	const usize *const src = span_->src;
	const usize *const dst = span_->dst;
	const usize npages = span_->npages;
	const bool has_page = entry_has_page(src[part.first]);
	usize at = part.first + 1;

	while (at < npages && dst[at] == dst[at - 1] + kNextPage &&
	       entry_pfn(src[at]) == entry_pfn(src[at - 1]) + has_page &&
	       entry_has_page(src[at]) == has_page && is_of_part(part, at))
		++at;
	return at - part.first;
}

// Maps @count pages that follow each other; how many it came to.
usize Copies::map_stretch(const Part &part, usize count)
{
	for (usize done = 0; done < count;) {
		const u32 order = piece_order(count - done, max_order_);
		if (map_piece(part, done, order).is_ok()) {
			++pieces_;
			done += usize{1} << order;
			continue;
		}
		// Bounce buffers, and the tables of some IOMMUs, have no room for large ones.
		if (order == 0)
			return done;
		max_order_ = order - 1;
	}
	return count;
}

Status Copies::map_piece(const Part &part, usize offset, u32 order)
{
	const usize index = part.first + offset;
	dsvm_dma_addr *addr = &scratch_.addrs()[index];

	if (!entry_has_page(span_->src[part.first])) {
		addr->order = order;
		return Status::ok();
	}
	if (way_ == Way::kToRam || !part.out)
		return map_ram(part, offset, order);

	dsvm_os_page *const other = page_in(span_->dst, part.first, offset);
	DSVM_TRY(Status{dsvm_os_provider_map(devmem_->provider, part.copier->dev, other, order,
					     DSVM_DMA_FROM_DEVICE, addr)});
	// Whatever the provider says: this is what it is unmapped by.
	addr->order = order;
	addr->dir = DSVM_DMA_FROM_DEVICE;
	return Status::ok();
}

Status Copies::map_ram(const Part &part, usize offset, u32 order)
{
	const dsvm_dma_dir dir = part.out ? DSVM_DMA_FROM_DEVICE : DSVM_DMA_TO_DEVICE;
	dsvm_os_page *const ram = page_in(part.out ? span_->dst : span_->src, part.first, offset);
	const usize index = part.first + offset;
	dsvm_dma_addr *const addr = &scratch_.addrs()[index];
	const usize in_window = (index - window_first_) << DSVM_PAGE_SHIFT;

	if (window_.size != 0 &&
	    dsvm_os_iova_link(part.copier->dev, &window_, ram, order, in_window, dir) == 0) {
		addr->addr = window_.addr + in_window;
		addr->proto = DSVM_PROTO_SYSTEM;
		addr->order = order;
		addr->dir = dir;
		return Status::ok();
	}
	return Status{dsvm_os_dma_map(part.copier->dev, ram, order, dir, addr)};
}

// The piece that begins at @index, of the entry @entry.
void Copies::unmap_piece(usize entry, usize index)
{
	const dsvm_devmem &copier = copier_of(entry);
	const dsvm_dma_addr &addr = scratch_.addrs()[index];

	if (way_ == Way::kFromAll && leaves_device(entry))
		dsvm_os_provider_unmap(devmem_->provider, copier.dev, &addr);
	else if (is_in_window(addr))
		dsvm_os_iova_unlink(copier.dev, &window_, addr.addr - window_.addr,
				    usize{DSVM_PAGE_SIZE} << addr.order,
				    static_cast<dsvm_dma_dir>(addr.dir));
	else
		dsvm_os_dma_unmap(copier.dev, &addr);
}

// Unmaps the pieces that begin there. The first page has a destination, or none has.
void Copies::unmap_span(usize first, usize end)
{
	usize entry = first;

	for (usize i = first; i < end; i += usize{1} << scratch_.addrs()[i].order) {
		const u64 dir = scratch_.addrs()[i].dir;

		entry = is_set(i) ? i : entry;
		// A mapping has a direction, and here it is not zero; an address may be.
		if (dir && dir != DSVM_DMA_NONE)
			unmap_piece(entry, i);
	}
}

void Copies::drop(usize index, usize count)
{
	unmap_span(index, index + count);
	for (usize i = index; i < index + count; ++i)
		scratch_.addrs()[i] = dsvm_dma_addr{};
	discard_destinations(*span_, index, count);
}

void Copies::unmap()
{
	unmap_span(next_set(0), span_->npages);
	if (window_.size != 0)
		dsvm_os_iova_free(devmem_->dev, &window_);
	window_ = dsvm_iova{};
}

// Copying ------------------------------------------------------------------------

Status Copies::begin()
{
	for (usize i = next_set(0); i < span_->npages && own_error_.is_ok();) {
		Part part = part_at(i);

		i = span_->npages;
		if (way_ == Way::kFromAll) {
			i = part.first;
			while (i < span_->npages && is_of_part(part, i))
				i = next_set(i + 1);
		}
		part.end = i;
		issue(part);
	}
	return own_error_;
}

// Hands a part to its copier, in the form that it takes.
void Copies::issue(Part part)
{
	dsvm_copy copy{};
	copy.to_ram = part.out;
	copy.target = part.out && way_ == Way::kFromAll ? devmem_ : nullptr;
	if (part.copier->copies_runs) {
		copy.nruns = build_runs(part);
		copy.runs = scratch_.runs();
	} else {
		copy.pages = build_pages(part);
		copy.addrs = scratch_.addrs() + part.first;
		copy.npages = part.end - part.first;
	}

	const Status status{part.copier->copy(part.copier->allocation, &copy)};
	part.done = copy.done;
	if (status.is_error() || !part.done) {
		conclude(part, status);
		return;
	}
	if (ncopying_ == kMaxFences)
		wait().ignore(); // an error stays known
	copying_[ncopying_++] = part;
}

// A batch is worth nothing without its own device's copies, and does without another one's.
void Copies::conclude(const Part &part, Status status)
{
	if (status.is_ok())
		return;
	if (part.copier == devmem_) {
		own_error_ = own_error_.is_ok() ? status : own_error_;
		return;
	}
	peer_error_ = status;
	unmap_span(part.first, part.end);
	for (usize i = part.first; i < part.end; ++i)
		scratch_.addrs()[i].dir = DSVM_DMA_NONE;
}

// Calls @visit(index, entries, first, offset) for each piece: where it begins, and that it is
// @offset pages into the folio of entries[first], on the copier's side.
template <class Visit> void Copies::for_each_piece(const Part &part, Visit visit) const
{
	const usize *const entries = part.out ? span_->src : span_->dst;

	for (usize i = next_set(part.first); i < part.end;) {
		const usize first = i;
		const usize end = first + (usize{1} << entry_order(span_->dst[first]));

		while (i < end) {
			visit(i, entries, first);
			i += usize{1} << scratch_.addrs()[i].order;
		}
		i = next_set(i);
	}
}

dsvm_os_page **Copies::build_pages(const Part &part)
{
	dsvm_os_page **const pages = scratch_.empty_pages(part.end - part.first);

	for_each_piece(part, [&](usize at, const usize *entries, usize first) {
		pages[at - part.first] = page_in(entries, first, at - first);
	});
	return pages;
}

usize Copies::build_runs(const Part &part)
{
	dsvm_copy_run *const runs = scratch_.runs();
	usize nruns = 0;
	usize pfn = 0; // of the last run

	for_each_piece(part, [&](usize at, const usize *entries, usize first) {
		const dsvm_dma_addr &addr = scratch_.addrs()[at];
		const usize count = usize{1} << addr.order;
		const dsvm_copy_run next{nullptr, addr, count};
		const usize next_pfn = entry_pfn(entries[first]) + (at - first);

		if (nruns != 0 && continues(runs[nruns - 1], pfn, next, next_pfn)) {
			runs[nruns - 1].npages += count;
			return;
		}
		pfn = next_pfn;
		runs[nruns] = next;
		runs[nruns].page = page_in(entries, first, at - first);
		runs[nruns++].addr.order = 0;
	});
	return nruns;
}

Status Copies::wait()
{
	for (u32 i = 0; i < ncopying_; ++i)
		conclude(copying_[i], Status{dsvm_os_fence_wait(copying_[i].done)});
	ncopying_ = 0;
	return own_error_;
}

} // namespace dsvm
