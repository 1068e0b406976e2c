// SPDX-License-Identifier: GPL-2.0-only OR MIT
#include "core/migrate/copies.h"

#include "core/migrate/plan.h"

namespace dsvm {

namespace {

// What the destinations of two pages in a row differ by.
constexpr usize kNextPage = usize{1} << DSVM_ENTRY_PFN_SHIFT;

// The same as struct dsvm_dma_addr, without bit fields to put together for each one.
struct AddrWords {
	u64 addr;
	u64 rest;
};

// The page @offset pages into the folio of an entry.
inline dsvm_os_page *page_in(usize entry, usize offset)
{
	dsvm_os_page *const page = dsvm_os_migrate_page(entry);

	return offset ? dsvm_os_page_nth(page, offset) : page;
}

} // namespace

DSVM_UNIT_INLINE void Copies::start(const dsvm_devmem &devmem, dsvm_migrate_span &span, Way way)
{
	devmem_ = &devmem;
	span_ = &span;
	way_ = way;
	max_order_ = 63;
	pieces_ = alone_ = 0;
	window_ = dsvm_iova{};
	ncopying_ = 0;
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
Copies::Part Copies::mixed_part_at(usize index) const
{
	const usize src = span_->src[index];
	if (!entry_has_page(src))
		return Part{devmem_, false, index, index, nullptr};

	const dsvm_migrate_entry entry = decode(src);
	const dsvm_devmem *copier = entry.is_ram ? devmem_ : dsvm_os_zdd_devmem(entry.zdd);
	return Part{copier, !entry.is_ram, index, index, nullptr};
}

// Of a batch that has several parts.
bool Copies::is_of_part(const Part &part, usize index) const
{
	const Part other = mixed_part_at(index);
	return other.copier == part.copier && other.out == part.out;
}

// Whether the other side of the part's first page is RAM.
bool Copies::is_ram(const Part &part) const
{
	return way_ == Way::kToRam || (!part.out && entry_has_page(span_->src[part.first]));
}

// Where the entries of that RAM are.
inline const usize *Copies::ram_side(const Part &part) const
{
	return part.out ? span_->dst : span_->src;
}

// Mapping ------------------------------------------------------------------------

// Maps a huge page in one piece, if it is all there is, its other side is RAM, and that can be.
DSVM_UNIT_INLINE bool Copies::map_folio()
{
	const usize src = span_->src[0];
	const usize dst = span_->dst[0];
	if (!entry_is_huge(dst) || !entry_has_page(src) || way_ == Way::kFromAll)
		return false;

	const u32 order = dsvm_os_huge_order();
	const bool to_ram = way_ == Way::kToRam;
	if (span_->npages != usize{1} << order ||
	    dsvm_os_dma_map(devmem_->dev, dsvm_os_migrate_page(to_ram ? dst : src), order,
			    to_ram ? DSVM_DMA_FROM_DEVICE : DSVM_DMA_TO_DEVICE,
			    scratch_.addrs()) != 0)
		return false;
	in_rows_ = true;
	pieces_ = 1;
	scratch_.ends_at(1);
	return true;
}

// A device behind an IOMMU has something to undo, so nobody else needs to ask for a window.
void Copies::choose_way_to_map()
{
	const bool needs_unmap = dsvm_os_dma_needs_unmap(devmem_->dev);

	if (needs_unmap)
		open_window();
	in_rows_ = way_ != Way::kFromAll && !needs_unmap;
}

// All RAM of a batch is that of one device, its own. A window for a single page, small or huge, is
// not worth it.
inline void Copies::open_window()
{
	usize entries = 0;
	usize first = 0;

	for (usize i = next_set(0); i < span_->npages && entries < 2;
	     i = next_set(i + entry_pages(span_->dst[i]))) {
		if (!is_ram(part_at(i)))
			continue;
		first = entries ? first : i;
		++entries;
	}
	if (entries < 2)
		return;
	window_first_ = first;
	dsvm_os_page *const ram = dsvm_os_migrate_page(ram_side(part_at(first))[first]);
	if (!dsvm_os_iova_alloc(devmem_->dev, ram, (span_->npages - first) << DSVM_PAGE_SHIFT,
				&window_))
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
	const bool mixed = way_ == Way::kFromAll;
	usize at = part.first + 1;

	// A hole's frame is 0, which follows none.
	while (at < npages && dst[at] == dst[at - 1] + kNextPage &&
	       entry_pfn(src[at]) == entry_pfn(src[at - 1]) + 1 &&
	       !(mixed && !is_of_part(part, at)))
		++at;
	return at - part.first;
}

// Maps what begins at @index: @count pages; how many it came to.
usize Copies::map_at(usize index, usize &count)
{
	const bool is_huge = entry_is_huge(span_->dst[index]);

	// A folio that is cleared is one piece, which is what drivers of mainline's take it for.
	if (!entry_has_page(span_->src[index])) {
		scratch_.addrs()[index].order = is_huge ? dsvm_os_huge_order() : 0;
		++pieces_;
		count = is_huge ? entry_pages(span_->dst[index]) : 1;
		return count;
	}
	if (in_rows_ && !is_huge) {
		count = scattered_at(index);
		if (count != 0)
			return map_scattered(index, count);
		count = map_row(index);
		if (count != 0)
			return count;
	}
	const Part part = part_at(index);
	count = is_huge ? entry_pages(span_->dst[index]) : stretch(part);
	return map_stretch(part, count);
}

// Single pages from @index on that have a page of RAM on the other side each, as long as none of
// these lies beside the next one's.
inline usize Copies::scattered_at(usize index) const
{
	const usize *const src = span_->src;
	const usize *const dst = span_->dst;
	const usize *const ram = way_ == Way::kToRam ? dst : src;
	const usize npages = span_->npages;
	usize at = index;

	for (usize last = ~usize{1}; at < npages; ++at) {
		if (!entry_has_page(src[at] & dst[at]) || entry_is_huge(dst[at]))
			break;
		// Beside the last one, either way; the first one is beside none.
		const usize pfn = entry_pfn(ram[at]);
		if (((pfn - last + 1) & ~usize{2}) == 0)
			return at - 1 - index;
		last = pfn;
	}
	return at - index;
}

// Maps @count pages, each by itself; how many it came to.
inline usize Copies::map_scattered(usize index, usize count)
{
	const bool to_ram = way_ == Way::kToRam;
	const usize *const ram = to_ram ? span_->dst : span_->src;
	const usize mapped = dsvm_os_dma_map_migrate(
		devmem_->dev, ram + index, count,
		to_ram ? DSVM_DMA_FROM_DEVICE : DSVM_DMA_TO_DEVICE, scratch_.addrs() + index);

	pieces_ += mapped;
	alone_ += mapped;
	return mapped;
}

// The row of single pages that begins at @index.
inline Copies::Row Copies::row_at(usize index) const
{
	const usize *const src = span_->src;
	const usize *const dst = span_->dst;
	const usize *const ram = way_ == Way::kToRam ? dst : src;
	const usize npages = span_->npages;
	usize at = index + 1;

	// On both sides. Entries in a row have their flags in common, so that no hole is among
	// them, and nothing huge; where the flags are others, another row begins.
	usize next_to = dst[index] + kNextPage;
	usize next_from = src[index] + kNextPage;
	while (at < npages && dst[at] == next_to && src[at] == next_from) {
		next_to += kNextPage;
		next_from += kNextPage;
		++at;
	}
	if (at > index + 1)
		return Row{ram[index], at - index, false};

	usize below = ram[index] - kNextPage;
	while (at < npages && ram[at] == below && dst[at]) {
		below -= kNextPage;
		++at;
	}
	return Row{ram[at - 1], at - index, true};
}

// Maps a row of RAM with one call, if nobody has to undo that; otherwise nothing, and each piece is
// mapped by itself from now on. How many pages it was.
inline usize Copies::map_row(usize index)
{
	dsvm_os_dev *const dev = devmem_->dev;
	const dsvm_dma_dir dir = way_ == Way::kToRam ? DSVM_DMA_FROM_DEVICE : DSVM_DMA_TO_DEVICE;
	const Row row = row_at(index);
	u64 addr;

	const Status status{
		dsvm_os_dma_map_run(dev, dsvm_os_migrate_page(row.lowest), row.count, dir, &addr)};
	if (status.is_error() || dsvm_os_dma_needs_unmap(dev)) {
		if (status.is_ok())
			dsvm_os_dma_unmap_run(dev, addr, row.count, dir);
		in_rows_ = false;
		return 0;
	}
	dsvm_dma_addr *const addrs = &scratch_.addrs()[index];
	dsvm_dma_addr next{addr, DSVM_PROTO_SYSTEM, 0, static_cast<u64>(dir)};
	if (row.goes_down) {
		AddrWords words = __builtin_bit_cast(AddrWords, next);
		for (usize i = row.count; i-- > 0; words.addr += DSVM_PAGE_SIZE)
			addrs[i] = __builtin_bit_cast(dsvm_dma_addr, words);
		pieces_ += row.count;
		alone_ += row.count;
		return row.count;
	}
	for (usize done = 0; done < row.count; ++pieces_) {
		next.addr = addr + (done << DSVM_PAGE_SHIFT);
		next.order = piece_order(row.count - done, max_order_);
		addrs[done] = next;
		done += usize{1} << next.order;
	}
	return row.count;
}

// Maps @count pages that follow each other; how many it came to.
inline usize Copies::map_stretch(const Part &part, usize count)
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

inline Status Copies::map_piece(const Part &part, usize offset, u32 order)
{
	const usize index = part.first + offset;
	dsvm_dma_addr *addr = &scratch_.addrs()[index];

	if (is_ram(part))
		return map_ram(part, offset, order);

	dsvm_os_page *const other = page_in(span_->dst[part.first], offset);
	DSVM_TRY(Status{dsvm_os_provider_map(devmem_->provider, part.copier->dev, other, order,
					     DSVM_DMA_FROM_DEVICE, addr)});
	// Whatever the provider says: this is what it is unmapped by.
	addr->order = order;
	addr->dir = DSVM_DMA_FROM_DEVICE;
	return Status::ok();
}

inline Status Copies::map_ram(const Part &part, usize offset, u32 order)
{
	const dsvm_dma_dir dir = part.out ? DSVM_DMA_FROM_DEVICE : DSVM_DMA_TO_DEVICE;
	dsvm_os_page *const ram = page_in(ram_side(part)[part.first], offset);
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
	const Part part = part_at(entry);
	const dsvm_dma_addr &addr = scratch_.addrs()[index];

	if (!is_ram(part))
		dsvm_os_provider_unmap(devmem_->provider, part.copier->dev, &addr);
	else if (is_in_window(addr))
		dsvm_os_iova_unlink(part.copier->dev, &window_, addr.addr - window_.addr,
				    usize{DSVM_PAGE_SIZE} << addr.order,
				    static_cast<dsvm_dma_dir>(addr.dir));
	else
		dsvm_os_dma_unmap(part.copier->dev, &addr);
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

DSVM_UNIT_INLINE void Copies::unmap()
{
	// A huge page may have been too much for what small ones did without.
	if (!in_rows_ || dsvm_os_dma_needs_unmap(devmem_->dev))
		unmap_all();
}

DSVM_NOINLINE void Copies::unmap_all()
{
	unmap_span(next_set(0), span_->npages);
	if (window_.size != 0)
		dsvm_os_iova_free(devmem_->dev, &window_);
	window_ = dsvm_iova{};
}

// Copying ------------------------------------------------------------------------

DSVM_UNIT_INLINE Status Copies::begin()
{
	if (way_ == Way::kFromAll)
		return begin_parts();

	const usize at = next_set(0);
	if (at < span_->npages)
		issue(Part{devmem_, way_ == Way::kToRam, at, span_->npages, nullptr});
	return own_error_;
}

DSVM_NOINLINE Status Copies::begin_parts()
{
	const usize npages = span_->npages;
	usize at = next_set(0);

	while (at < npages && own_error_.is_ok()) {
		Part part = mixed_part_at(at);

		while (at < npages && is_of_part(part, at))
			at = next_set(at + 1);
		part.end = at;
		issue(part);
	}
	return own_error_;
}

// Hands a part to its copier, in the form that it takes.
DSVM_ALWAYS_INLINE void Copies::issue(const Part &part)
{
	const dsvm_devmem &copier = *part.copier;
	const usize npages = part.end - part.first;
	DSVM_UNSET dsvm_copy copy;

	copy.to_ram = part.out;
	copy.target = part.out && way_ == Way::kFromAll ? devmem_ : nullptr;
	if (copier.copies_runs) {
		dsvm_copy_run *const runs = scratch_.runs(npages);
		copy.runs = runs;
		copy.nruns = build_runs(part.out, part.first, part.end, runs);
	} else {
		copy.pages = build_pages(part.out, part.first, part.end);
		copy.addrs = scratch_.addrs() + part.first;
		copy.npages = npages;
	}
	copy.done = nullptr;

	const Status status{copier.copy(copier.allocation, &copy)};
	if (status.is_error()) {
		conclude(part, status);
		return;
	}
	if (!copy.done)
		return;
	if (ncopying_ == kMaxFences)
		wait().ignore(); // an error stays known
	copying_[ncopying_] = part;
	copying_[ncopying_++].done = copy.done;
}

// A batch is worth nothing without its own device's copies, and does without another one's.
DSVM_COLD void Copies::conclude(const Part &part, Status status)
{
	if (status.is_ok())
		return;
	if (part.copier == devmem_) {
		own_error_ = own_error_.is_ok() ? status : own_error_;
		return;
	}
	peer_error_ = status;
	scratch_.ends_at(span_->npages);
	unmap_span(part.first, part.end);
	for (usize i = part.first; i < part.end; ++i)
		scratch_.addrs()[i].dir = DSVM_DMA_NONE;
}

// Where the entries are that say what an engine copies, on its own side, in or @out.
inline const usize *Copies::own_side(bool out) const
{
	return out ? span_->src : span_->dst;
}

// Calls @visit(index, entry, offset) for each piece that begins with the entry at @index: where it
// begins, and that it is @offset pages into the folio of the entry, on the copier's side. Where the
// next entry is.
template <class Visit> usize Copies::visit_pieces(bool out, usize index, Visit visit) const
{
	const usize dst = span_->dst[index];
	const usize entry = own_side(out)[index];
	const dsvm_dma_addr *const addrs = scratch_.addrs();

	if (!dst)
		return index + 1;
	if (!entry_is_huge(dst)) {
		visit(index, entry, 0);
		return index + (usize{1} << addrs[index].order);
	}
	const usize behind = index + entry_pages(dst);
	for (usize i = index; i < behind; i += usize{1} << addrs[i].order)
		visit(i, entry, i - index);
	return behind;
}

inline bool Copies::is_alone(usize index) const
{
	const usize dst = span_->dst[index];

	return dst && !entry_is_huge(dst) && scratch_.addrs()[index].order == 0;
}

// How many pages from @index on are pieces of their own.
inline usize Copies::alone_at(usize index, usize end) const
{
	usize at = index;

	// Mostly it is known of all of them.
	if (alone_ == span_->npages)
		return end - index;
	while (at < end && is_alone(at))
		++at;
	return at - index;
}

inline dsvm_os_page **Copies::build_pages(bool out, usize first, usize end)
{
	dsvm_os_page **const pages = scratch_.empty_pages(end - first);

	// As of a huge page. Behind it there is nothing in the batch.
	if (pieces_ == 1)
		pages[0] = dsvm_os_migrate_page(own_side(out)[first]);
	else
		list_pages(out, first, end, pages);
	return pages;
}

DSVM_NOINLINE void Copies::list_pages(bool out, usize first, usize end, dsvm_os_page **pages) const
{
	const usize *const entries = own_side(out);

	for (usize i = first; i < end;) {
		const usize count = alone_at(i, end);

		if (count != 0)
			dsvm_os_migrate_list_pages(entries + i, count, pages + (i - first));
		i += count;
		if (i == end)
			break;
		i = visit_pieces(out, i, [=](usize at, usize entry, usize offset) {
			pages[at - first] = page_in(entry, offset);
		});
	}
}

DSVM_NOINLINE usize Copies::build_runs(bool out, usize first, usize end, dsvm_copy_run *runs)
{
	usize nruns = 0;
	usize pfn = 0; // of the last run

	const auto visit = [&](usize at, usize entry, usize offset) {
		const dsvm_dma_addr &addr = scratch_.addrs()[at];
		const usize count = usize{1} << addr.order;
		const dsvm_copy_run next{nullptr, addr, count};
		const usize next_pfn = entry_pfn(entry) + offset;

		if (nruns != 0 && continues(runs[nruns - 1], pfn, next, next_pfn)) {
			runs[nruns - 1].npages += count;
			return;
		}
		pfn = next_pfn;
		runs[nruns] = next;
		runs[nruns].page = page_in(entry, offset);
		runs[nruns++].addr.order = 0;
	};
	for (usize i = first; i < end;)
		i = visit_pieces(out, i, visit);
	return nruns;
}

DSVM_UNIT_INLINE Status Copies::wait()
{
	return ncopying_ == 0 ? own_error_ : wait_for_all();
}

DSVM_NOINLINE Status Copies::wait_for_all()
{
	for (u32 i = 0; i < ncopying_; ++i)
		conclude(copying_[i], Status{dsvm_os_fence_wait(copying_[i].done)});
	ncopying_ = 0;
	return own_error_;
}

} // namespace dsvm
