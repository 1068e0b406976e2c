// SPDX-License-Identifier: GPL-2.0-only OR MIT
#include "core/svm/mapper.h"

#include "core/base/bits.h"
#include "core/base/checked.h"

namespace dsvm {

namespace {

// The largest run of pages from @addr on that the CPU maps in one go, is naturally aligned and
// has no more than @left pages. A device that uses big page-table entries relies on the alignment.
inline u32 run_order(u32 order, usize addr, usize left)
{
	while (order > 0 && (!is_aligned(addr, kPageSize << order) || (usize{1} << order) > left))
		--order;
	return order;
}

inline dsvm_dma_dir direction(const dsvm_get_pages &request, bool writable, bool discardable)
{
	switch (request.access) {
	case DSVM_ACCESS_READ_ONLY:
		return DSVM_DMA_TO_DEVICE;
	case DSVM_ACCESS_READ:
		// To let the device write makes a page dirty, and one that may be dropped stays.
		return writable && !discardable ? DSVM_DMA_BIDIRECTIONAL : DSVM_DMA_TO_DEVICE;
	case DSVM_ACCESS_WRITE:
		return DSVM_DMA_BIDIRECTIONAL;
	}
	return DSVM_DMA_TO_DEVICE;
}

// What RAM is mapped for, and what the kernel is told of it.
struct RamUse {
	dsvm_dma_dir dir;
	u32 marks;
};

// HMM leaves an entry that is writable but clean as it is, and nobody sees the device write.
// Whatever makes a page clean again is an invalidation first.
inline u32 marks_of(const dsvm_get_pages &request, dsvm_dma_dir dir, u32 ram)
{
	if (request.marks == DSVM_MARK_NONE)
		return 0;
	const bool dirtied = dir == DSVM_DMA_BIDIRECTIONAL && ram & DSVM_RAM_CLEAN;

	return (dirtied ? DSVM_MARK_DIRTIED : 0) |
	       (request.marks == DSVM_MARK_USED ? DSVM_MARK_ACCESSED : 0);
}

// What the request allows with pages of RAM of which this is known, if anything.
DSVM_ALWAYS_INLINE Status use_of(const dsvm_get_pages &request, u32 ram, bool after_device,
				 RamUse &use)
{
	if (request.access == DSVM_ACCESS_WRITE && !(ram & DSVM_RAM_WRITABLE))
		return kAgain;
	if (!request.allow_mixed && after_device)
		return kUnsupported;
	if (request.devmem_only)
		return kFault;

	const dsvm_dma_dir dir =
		direction(request, ram & DSVM_RAM_WRITABLE, ram & DSVM_RAM_DISCARDABLE);
	use = {dir, marks_of(request, dir, ram)};
	return Status::ok();
}

constexpr u32 flag_if(u32 flag, bool is_set)
{
	return is_set ? flag : 0;
}

// A page, or all that is mapped in one go.
inline void mark(usize hmm, RamUse use)
{
	if (use.marks != 0)
		dsvm_os_hmm_mark_alike(&hmm, 1, use.marks);
}

// Pages that lie in a row, the first entry at one end of it.
struct Row {
	usize npages;
	bool down; // the frames descend
};

// How many of the first of `count` entries lie in no row: a row begins where two are side by side.
inline usize pages_before_row(const usize *entries, usize count)
{
	for (usize i = 1; i < count; ++i) {
		// By one, either way. All of a span may be the zero page.
		if (((entries[i] - entries[i - 1] + 1) & ~usize{2}) == 0)
			return i - 1;
	}
	return count;
}

// The row that begins with the first two of `count` entries.
inline Row row_of(const usize *entries, usize count)
{
	const usize step = entries[1] - entries[0];
	usize npages = 2;

	while (npages < count && entries[npages] - entries[npages - 1] == step)
		++npages;
	return {npages, step != 1};
}

// Maps one after the other, and knows what it has done so far.
class Mapper {
public:
	Mapper(const dsvm_get_pages &request, dsvm_mapping &mapping)
		: request_(request), mapping_(mapping)
	{}

	// See map_entries().
	Expected<MappedPages> map(const usize *entries, usize npages);

private:
	void take_back();
	Status admit(const dsvm_page_desc &desc) const;
	Status admit_ram(u32 ram);
	Status map_device(usize hmm, usize npages);
	Status map_ram(const usize *entries, usize npages, u32 ram);
	Status map_pages(const usize *entries, usize npages);
	void choose(usize hmm, usize npages);
	Status link_run(usize hmm, u32 order);
	Status map_run(usize hmm, u32 order);
	Status map_alone(usize hmm, u32 order);
	Status map_alike(const usize *entries, usize count);
	Status map_scattered(const usize *entries, usize count);
	bool needs_no_unmap();
	bool have_copies(const dsvm_dma_addr *entries, usize count);
	usize map_row(const usize *entries, usize count);
	Status finish_window(usize npages) const;
	usize next_addr() const { return request_.first + (pages_ << kPageShift); }

	const dsvm_get_pages &request_;
	dsvm_mapping &mapping_;
	usize count_ = 0;		       // entries made
	usize pages_ = 0;		       // pages they cover
	u32 ram_ = 0;			       // what is known of the RAM before; 0: nothing
	RamUse use_ = {DSVM_DMA_NONE, 0};      // of such RAM
	dsvm_os_zdd *zdd_ = nullptr;	       // allocation of the last device page
	dsvm_os_provider *provider_ = nullptr; // of all device pages so far, referenced
	bool writable_ = true;		       // all so far
	bool chosen_ = false;		       // how RAM is mapped
	bool in_rows_ = true;		       // nothing has to be unmapped so far
};

} // namespace

DSVM_UNIT_INLINE bool is_whole_run(usize entry, VaRange span)
{
	const usize npages = span.page_count();

	return npages == usize{1} << run_order(dsvm_os_hmm_order(entry), span.first, npages);
}

DSVM_COLD void Mapper::take_back()
{
	unmap_entries(mapping_, request_.dev, provider_, mapping_.entries, pages_);
	if (provider_)
		dsvm_os_provider_put(provider_);
	if (mapping_.iova.size != 0)
		dsvm_os_iova_free(request_.dev, &mapping_.iova);
	mapping_.iova = dsvm_iova{};
}

// Whether the request allows this page of a device after the pages before it.
Status Mapper::admit(const dsvm_page_desc &desc) const
{
	if (desc.kind != DSVM_PAGE_DEVICE)
		return kUnsupported;
	// The kernel gives a device page as it is, also one that a write would have to copy first.
	if (request_.access == DSVM_ACCESS_WRITE && !desc.writable)
		return kAgain;
	if (!request_.allow_mixed && pages_ > 0 && desc.zdd != zdd_)
		return kUnsupported;
	if (provider_ && provider_ != desc.provider)
		return kUnsupported;
	return Status::ok();
}

// Whether it allows pages of RAM of which this is known, and if, what for.
DSVM_ALWAYS_INLINE Status Mapper::admit_ram(u32 ram)
{
	if (ram == ram_)
		return Status::ok();
	DSVM_TRY(use_of(request_, ram, zdd_ != nullptr, use_));
	ram_ = ram;
	if (use_.dir != DSVM_DMA_BIDIRECTIONAL)
		writable_ = false;
	return Status::ok();
}

Status Mapper::map_device(usize hmm, usize npages)
{
	const dsvm_page_desc desc = describe(hmm);
	DSVM_TRY(admit(desc));

	const u32 order = run_order(desc.order, next_addr(), npages - pages_);
	const dsvm_dma_dir dir = direction(request_, desc.writable, desc.discardable);
	DSVM_TRY(Status{dsvm_os_provider_map(desc.provider, request_.dev, desc.page, order, dir,
					     &mapping_.entries[count_])});
	if (!provider_) {
		dsvm_os_provider_get(desc.provider);
		provider_ = desc.provider;
	}
	if (dir != DSVM_DMA_BIDIRECTIONAL)
		writable_ = false;
	zdd_ = desc.zdd;
	++count_;
	pages_ += usize{1} << order;
	return Status::ok();
}

// Whether there is a window is found out with the first page of RAM.
inline void Mapper::choose(usize hmm, usize npages)
{
	dsvm_iova window{};

	chosen_ = true;
	if (dsvm_os_iova_alloc(request_.dev, dsvm_os_hmm_page(hmm), npages << kPageShift, &window))
		mapping_.iova = window;
	in_rows_ = mapping_.iova.size == 0 && !dsvm_os_dma_needs_unmap(request_.dev);
}

Status Mapper::link_run(usize hmm, u32 order)
{
	const usize offset = pages_ << kPageShift;

	DSVM_TRY(Status{dsvm_os_iova_link(request_.dev, &mapping_.iova, dsvm_os_hmm_page(hmm),
					  order, offset, use_.dir)});
	mark(hmm, use_);
	mapping_.entries[count_++] = {mapping_.iova.addr + offset, DSVM_PROTO_SYSTEM, order,
				      use_.dir};
	pages_ += usize{1} << order;
	return Status::ok();
}

// Whether what was mapped last, and all before it, need not be unmapped.
inline bool Mapper::needs_no_unmap()
{
	in_rows_ = in_rows_ && !dsvm_os_dma_needs_unmap(request_.dev);
	return in_rows_;
}

// Whether CPU and device would look at different memory, of which nobody knows when to copy: of
// entries that were mapped last.
inline bool Mapper::have_copies(const dsvm_dma_addr *entries, usize count)
{
	if (needs_no_unmap())
		return false;
	for (usize i = 0; i < count; ++i) {
		if (dsvm_os_dma_needs_sync(request_.dev, &entries[i]))
			return true;
	}
	return false;
}

DSVM_ALWAYS_INLINE Status Mapper::map_alone(usize hmm, u32 order)
{
	dsvm_dma_addr &entry = mapping_.entries[count_];

	DSVM_TRY(Status{
		dsvm_os_dma_map(request_.dev, dsvm_os_hmm_page(hmm), order, use_.dir, &entry)});
	if (have_copies(&entry, 1)) {
		dsvm_os_dma_unmap(request_.dev, &entry);
		return kUnsupported;
	}
	mark(hmm, use_);
	++count_;
	pages_ += usize{1} << order;
	return Status::ok();
}

// Maps a run, or only its first page where the device cannot have it whole.
Status Mapper::map_run(usize hmm, u32 order)
{
	const Status status = map_alone(hmm, order);

	// There are limits on the size of a mapping; none is below a page.
	return status.is_ok() || order == 0 ? status : map_alone(hmm, 0);
}

// Maps pages that are alike, each by itself.
DSVM_ALWAYS_INLINE Status Mapper::map_scattered(const usize *entries, usize count)
{
	dsvm_dma_addr *const first = &mapping_.entries[count_];
	const usize npages = dsvm_os_dma_map_hmm(request_.dev, entries, count, use_.dir, first);

	count_ += npages;
	pages_ += npages;
	if (npages < count)
		return kFault;
	return have_copies(first, npages) ? kUnsupported : Status::ok();
}

// Maps the pages of a row with one call, if nobody has to undo that: it is not known later where
// one ends. How many; 0: nothing is mapped, and each page is to be mapped by itself.
DSVM_ALWAYS_INLINE usize Mapper::map_row(const usize *entries, usize count)
{
	const Row row = row_of(entries, count);
	const usize lowest = entries[row.down ? row.npages - 1 : 0];
	u64 addr;
	const Status status{dsvm_os_dma_map_run(request_.dev, dsvm_os_hmm_page(lowest), row.npages,
						use_.dir, &addr)};
	if (status.is_error() || !needs_no_unmap()) {
		if (status.is_ok())
			dsvm_os_dma_unmap_run(request_.dev, addr, row.npages, use_.dir);
		in_rows_ = false;
		return 0;
	}

	const u64 step = row.down ? ~kPageSize + 1 : kPageSize;
	dsvm_dma_addr entry{addr, DSVM_PROTO_SYSTEM, 0, use_.dir};
	if (row.down)
		entry.addr += (row.npages - 1) << kPageShift;
	dsvm_dma_addr *const first = &mapping_.entries[count_];
	for (usize i = 0; i < row.npages; ++i, entry.addr += step)
		first[i] = entry;
	count_ += row.npages;
	pages_ += row.npages;
	return row.npages;
}

// Maps single pages that are alike: those in a row with one call, and what lies between rows.
DSVM_ALWAYS_INLINE Status Mapper::map_alike(const usize *entries, usize count)
{
	for (usize done = 0; done < count;) {
		const usize *const next = entries + done;
		const usize left = count - done;
		const usize alone = in_rows_ ? pages_before_row(next, left) : left;

		if (alone != 0)
			DSVM_TRY(map_scattered(next, alone));
		done += alone != 0 ? alone : map_row(next, left);
	}
	return Status::ok();
}

DSVM_ALWAYS_INLINE Status Mapper::map_ram(const usize *entries, usize npages, u32 ram)
{
	DSVM_TRY(admit_ram(ram));
	if (!chosen_)
		choose(*entries, npages);

	const usize left = npages - pages_;
	const u32 order = run_order(ram >> DSVM_RAM_ORDER, next_addr(), left);
	if (mapping_.iova.size != 0)
		return link_run(*entries, order);
	// Of what the CPU maps in one go, the large pieces are worth more than rows.
	if (ram >> DSVM_RAM_ORDER != 0)
		return map_run(*entries, order);
	// They are marked at once: of what cannot be mapped in the end that says too much.
	return map_alike(entries, dsvm_os_hmm_mark_alike(entries, left, use_.marks));
}

// After all RAM has been linked into the window.
Status Mapper::finish_window(usize npages) const
{
	DSVM_TRY(Status{dsvm_os_iova_sync(request_.dev, &mapping_.iova, npages << kPageShift)});
	// Of a device that nobody keeps the caches in step with, all addresses are such.
	for (usize i = 0; i < count_; ++i) {
		const dsvm_dma_addr &entry = mapping_.entries[i];
		if (entry.proto == DSVM_PROTO_SYSTEM)
			return dsvm_os_dma_needs_sync(request_.dev, &entry) ? kUnsupported
									    : Status::ok();
	}
	return Status::ok();
}

Status Mapper::map_pages(const usize *entries, usize npages)
{
	while (pages_ < npages) {
		const usize *const next = entries + pages_;
		const u32 ram = dsvm_os_hmm_ram(*next);

		DSVM_TRY(ram != 0 ? map_ram(next, npages, ram) : map_device(*next, npages));
	}
	return mapping_.iova.size != 0 ? finish_window(npages) : Status::ok();
}

Expected<MappedPages> Mapper::map(const usize *entries, usize npages)
{
	const Status status = map_pages(entries, npages);
	if (status.is_error()) {
		take_back();
		return status;
	}
	mapping_.unmaps = !in_rows_;
	return MappedPages{provider_, DSVM_PAGES_DMA_MAPPED |
					      flag_if(DSVM_PAGES_DEVMEM, provider_ != nullptr) |
					      flag_if(DSVM_PAGES_WRITABLE, writable_)};
}

// Out of the way of a run that is all there is.
DSVM_NOINLINE Expected<MappedPages> map_entries(const dsvm_get_pages &request,
						dsvm_mapping &mapping, const usize *entries,
						usize npages)
{
	return Mapper{request, mapping}.map(entries, npages);
}

namespace {

// What is not RAM, or is nothing.
DSVM_NOINLINE Status map_run_of_device(const dsvm_get_pages &request, usize hmm, usize npages,
				       dsvm_dma_addr &out, MappedPages &mapped)
{
	dsvm_mapping single{&out, 1};

	mapped = DSVM_TRY(map_entries(request, single, &hmm, npages));
	return Status::ok();
}

} // namespace

// RAM has no use for a window here, and lies in no row.
DSVM_UNIT_INLINE Status map_whole_run(const dsvm_get_pages &request, usize hmm, usize npages,
				      dsvm_dma_addr &out, MappedPages &mapped)
{
	const u32 ram = dsvm_os_hmm_ram(hmm);
	if (ram == 0) {
		DSVM_UNSET MappedPages device;
		DSVM_TRY(map_run_of_device(request, hmm, npages, out, device));
		mapped = device;
		return Status::ok();
	}

	DSVM_UNSET RamUse use;
	DSVM_TRY(use_of(request, ram, false, use));
	const int done =
		dsvm_os_dma_map_ram(request.dev, hmm, ilog2(npages), use.dir, use.marks, &out);
	// There are limits on the size of a mapping; none is below a page.
	if (done < 0)
		return npages > 1 ? kNoSpace : Status{done};
	const bool unmaps = done > 0;
	if (unmaps) {
		if (dsvm_os_dma_needs_sync(request.dev, &out)) {
			dsvm_os_dma_unmap(request.dev, &out);
			return npages > 1 ? kNoSpace : kUnsupported;
		}
		mark(hmm, use);
	}
	mapped = {nullptr, DSVM_PAGES_DMA_MAPPED | flag_if(DSVM_PAGES_UNMAPS, unmaps) |
				   flag_if(DSVM_PAGES_WRITABLE, use.dir == DSVM_DMA_BIDIRECTIONAL)};
	return Status::ok();
}

} // namespace dsvm
