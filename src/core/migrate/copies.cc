// SPDX-License-Identifier: GPL-2.0-only OR MIT
#include "core/migrate/copies.h"

#include "core/migrate/plan.h"

namespace dsvm {

void Copies::start(const dsvm_devmem &devmem, const dsvm_migrate_span &span, bool to_ram)
{
	devmem_ = &devmem;
	span_ = &span;
	to_ram_ = to_ram;
	max_order_ = 63;
	pieces_ = 0;
	window_ = dsvm_iova{};
	own_error_ = peer_error_ = Status::ok();
}

// Its own device copies it out: to RAM, or to the memory of the allocation.
bool Copies::leaves_device(const dsvm_migrate_entry &entry) const
{
	return to_ram_ || (entry.page && !entry.is_ram);
}

const dsvm_devmem &Copies::copier_of(const dsvm_migrate_entry &entry) const
{
	return leaves_device(entry) ? *dsvm_os_zdd_devmem(entry.zdd) : *devmem_;
}

// Mapping ------------------------------------------------------------------------

// All RAM of a batch is that of one device, its own. A window for a single page is not worth it.
void Copies::open_window()
{
	usize pages = 0;
	usize first = 0;

	for_each_entry(*span_, [&](usize i, const dsvm_migrate_entry &entry, usize count) {
		const bool is_ram = to_ram_ || entry.is_ram;
		if (!is_ram || !is_set(i) || !scratch_.others()[i])
			return;
		first = pages ? first : i;
		pages += count;
	});
	if (pages < 2)
		return;
	window_first_ = first;
	if (!dsvm_os_iova_alloc(devmem_->dev, scratch_.others()[first],
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

// Single pages from @index on, whose first entry is @entry, that have one copier and follow each
// other on both sides.
usize Copies::run_of_small(usize index, const dsvm_migrate_entry &entry) const
{
	if (!is_set(index))
		return 1;

	const dsvm_devmem *copier = &copier_of(entry);
	const usize end = index + stretch(index, span_->npages);
	usize at = index + 1;
	for (; at < end; ++at) {
		dsvm_migrate_entry next;
		dsvm_os_migrate_decode(span_->src[at], &next);
		if (next.order != 0 || &copier_of(next) != copier ||
		    leaves_device(next) != leaves_device(entry))
			break;
	}
	return at - index;
}

// Pages from @index on that follow each other on both sides.
usize Copies::stretch(usize index, usize end) const
{
	dsvm_os_page *const *const pages = scratch_.pages();
	dsvm_os_page *const *const others = scratch_.others();
	usize at = index + 1;

	for (; at < end; ++at) {
		if (!pages[at] ||
		    dsvm_os_page_pfn(pages[at]) != dsvm_os_page_pfn(pages[at - 1]) + 1)
			break;
		if (!others[at] != !others[index])
			break;
		if (others[at] &&
		    dsvm_os_page_pfn(others[at]) != dsvm_os_page_pfn(others[at - 1]) + 1)
			break;
	}
	return at - index;
}

// Maps what is set of @count pages; how many it came to.
usize Copies::map_pages(const dsvm_migrate_entry &entry, usize index, usize count)
{
	for (usize done = 0; done < count;) {
		if (!is_set(index + done)) {
			++done;
			continue;
		}
		const usize wanted = stretch(index + done, index + count);
		const usize mapped = map_stretch(entry, index + done, wanted);
		done += mapped;
		if (mapped != wanted)
			return done;
	}
	return count;
}

usize Copies::map_stretch(const dsvm_migrate_entry &entry, usize index, usize count)
{
	for (usize done = 0; done < count;) {
		const u32 order = piece_order(count - done, max_order_);
		if (map_piece(entry, index + done, order).is_ok()) {
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

Status Copies::map_piece(const dsvm_migrate_entry &entry, usize index, u32 order)
{
	const dsvm_devmem &copier = copier_of(entry);
	dsvm_os_page *other = scratch_.others()[index];
	dsvm_dma_addr *addr = &scratch_.addrs()[index];

	if (!other) {
		addr->order = order;
		return Status::ok();
	}
	if (to_ram_ || !leaves_device(entry))
		return map_ram(copier, index, order);

	DSVM_TRY(Status{dsvm_os_provider_map(devmem_->provider, copier.dev, other, order,
					     DSVM_DMA_FROM_DEVICE, addr)});
	// Whatever the provider says: this is what it is unmapped by.
	addr->order = order;
	addr->dir = DSVM_DMA_FROM_DEVICE;
	return Status::ok();
}

Status Copies::map_ram(const dsvm_devmem &copier, usize index, u32 order)
{
	const dsvm_dma_dir dir = to_ram_ ? DSVM_DMA_FROM_DEVICE : DSVM_DMA_TO_DEVICE;
	dsvm_os_page *ram = scratch_.others()[index];
	dsvm_dma_addr *addr = &scratch_.addrs()[index];
	const usize offset = (index - window_first_) << DSVM_PAGE_SHIFT;

	if (window_.size != 0 &&
	    dsvm_os_iova_link(copier.dev, &window_, ram, order, offset, dir) == 0) {
		addr->addr = window_.addr + offset;
		addr->proto = DSVM_PROTO_SYSTEM;
		addr->order = order;
		addr->dir = dir;
		return Status::ok();
	}
	return Status{dsvm_os_dma_map(copier.dev, ram, order, dir, addr)};
}

void Copies::unmap_piece(const dsvm_migrate_entry &entry, usize index)
{
	const dsvm_devmem &copier = copier_of(entry);
	dsvm_dma_addr &addr = scratch_.addrs()[index];

	if (!to_ram_ && leaves_device(entry))
		dsvm_os_provider_unmap(devmem_->provider, copier.dev, &addr);
	else if (is_in_window(addr))
		dsvm_os_iova_unlink(copier.dev, &window_, addr.addr - window_.addr,
				    usize{DSVM_PAGE_SIZE} << addr.order,
				    static_cast<dsvm_dma_dir>(addr.dir));
	else
		dsvm_os_dma_unmap(copier.dev, &addr);
}

void Copies::unset(const dsvm_migrate_entry &entry, usize index, usize count)
{
	for (usize i = index; i < index + count; ++i) {
		// A mapping has a direction, and here it is not zero; an address may be.
		if (scratch_.addrs()[i].dir)
			unmap_piece(entry, i);
		scratch_.addrs()[i] = dsvm_dma_addr{};
		set(i, nullptr, nullptr);
	}
}

void Copies::unmap()
{
	for_each_entry(*span_, [&](usize i, const dsvm_migrate_entry &entry, usize count) {
		unset(entry, i, count);
	});
	if (window_.size != 0)
		dsvm_os_iova_free(devmem_->dev, &window_);
	window_ = dsvm_iova{};
}

// Copying ------------------------------------------------------------------------

Status Copies::begin()
{
	Part part{};
	bool out = false;

	for_each_entry(*span_, [&](usize i, const dsvm_migrate_entry &entry, usize) {
		if (!is_set(i) || own_error_.is_error())
			return;
		const dsvm_devmem *next = &copier_of(entry);
		const bool leaves = leaves_device(entry);
		if (next == part.copier && leaves == out)
			return;
		part.end = i;
		if (part.copier)
			issue(part, out);
		part = Part{next, i, i, nullptr};
		out = leaves;
	});
	part.end = span_->npages;
	if (part.copier && own_error_.is_ok())
		issue(part, out);
	return own_error_;
}

// Hands a part to its copier, in both forms.
void Copies::issue(Part part, bool out)
{
	dsvm_copy copy{};
	copy.to_ram = out;
	copy.target = out && !to_ram_ ? devmem_ : nullptr;
	copy.nruns = build_runs(part.first, part.end);
	copy.runs = scratch_.runs();
	copy.pages = scratch_.pages() + part.first;
	copy.addrs = scratch_.addrs() + part.first;
	copy.npages = part.end - part.first;

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
	if (to_ram_ || part.copier == devmem_) {
		own_error_ = own_error_.is_ok() ? status : own_error_;
		return;
	}
	peer_error_ = status;
	for (usize i = part.first; i < part.end; ++i)
		scratch_.others()[i] = nullptr;
}

// Makes the arrays what drivers are told of them, and the runs from them.
usize Copies::build_runs(usize first, usize end)
{
	dsvm_copy_run *const runs = scratch_.runs();
	usize nruns = 0;
	usize pfn = 0; // of the last run

	for (usize i = first; i < end;) {
		dsvm_os_page *page = scratch_.pages()[i];
		if (!page) {
			++i;
			continue;
		}
		const usize count = usize{1} << scratch_.addrs()[i].order;
		for (usize k = 1; k < count; ++k)
			scratch_.pages()[i + k] = nullptr;

		const dsvm_copy_run next{page, scratch_.addrs()[i], count};
		const usize next_pfn = dsvm_os_page_pfn(page);
		if (nruns != 0 && continues(runs[nruns - 1], pfn, next, next_pfn)) {
			runs[nruns - 1].npages += count;
		} else {
			runs[nruns++] = next;
			pfn = next_pfn;
		}
		i += count;
	}
	for (usize i = 0; i < nruns; ++i)
		runs[i].addr.order = 0;
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
