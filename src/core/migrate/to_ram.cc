// SPDX-License-Identifier: GPL-2.0-only OR MIT
#include "core/migrate/to_ram.h"

#include "core/base/bits.h"
#include "core/base/checked.h"
#include "core/base/va_range.h"

namespace dsvm {

namespace {

// The most that a CPU fault brings back, and the most that an eviction has in flight: bounds
// the scratch memory of both.
constexpr usize kBatchPages = 512;

} // namespace

Status ToRam::prepare_page(usize index)
{
	dsvm_migrate_entry entry;
	dsvm_os_migrate_decode(span_.src[index], &entry);
	if (!entry.moves || !entry.zdd)
		return Status::ok();
	// The callbacks of one allocation cannot copy another one's pages.
	if (devmem_.zdd && entry.zdd != devmem_.zdd)
		return Status::ok();

	const bool is_fault_page = span_.fault_page && entry.page == span_.fault_page;
	const Status missing = is_fault_page ? kNoMemory : Status::ok();
	dsvm_os_page *ram = dsvm_os_page_alloc(span_.vma,
					       span_.first + (index << DSVM_PAGE_SHIFT));
	if (!ram)
		return missing;
	if (dsvm_os_dma_map(devmem_.dev, ram, 0, DSVM_DMA_FROM_DEVICE,
			    &scratch_.addrs()[index])) {
		dsvm_os_page_discard(ram);
		return missing;
	}
	scratch_.pages()[index] = entry.page;
	span_.dst[index] = dsvm_os_migrate_encode(ram);
	++prepared_;
	return Status::ok();
}

Status ToRam::prepare()
{
	for (usize i = 0; i < span_.npages; ++i)
		DSVM_TRY(prepare_page(i));
	return Status::ok();
}

void ToRam::unmap_ram()
{
	for (usize i = 0; i < span_.npages; ++i) {
		if (scratch_.pages()[i])
			dsvm_os_dma_unmap(devmem_.dev, &scratch_.addrs()[i]);
	}
}

void ToRam::discard_ram()
{
	for (usize i = 0; i < span_.npages; ++i) {
		if (span_.dst[i])
			dsvm_os_page_discard(dsvm_os_migrate_dst_page(span_.dst[i]));
		span_.dst[i] = 0;
	}
}

Status ToRam::fill()
{
	Status status = prepare();
	if (status.is_ok() && prepared_ > 0)
		status = Status{devmem_.copy_to_ram(devmem_.allocation, scratch_.pages(),
						    scratch_.addrs(), span_.npages)};
	unmap_ram();
	if (status.is_error())
		discard_ram();
	return status;
}

namespace {

// The aligned block of the allocation's size around the address, as far as the VMA reaches.
VaRange fault_span(const dsvm_cpu_fault &fault)
{
	const usize pages = fault.devmem->size >> DSVM_PAGE_SHIFT;
	const usize granule = pages < kBatchPages ? pages : kBatchPages;
	const u64 size = granule ? u64{DSVM_PAGE_SIZE} << ilog2(granule) : DSVM_PAGE_SIZE;
	const u64 first = align_down(fault.addr, size);
	const u64 last = first + (size - 1);

	return VaRange{first < fault.vma_first ? fault.vma_first : first,
		       last > fault.vma_last ? fault.vma_last : last};
}

Status migrate_back(const dsvm_cpu_fault &fault)
{
	const VaRange range = fault_span(fault);
	Scratch scratch;
	DSVM_TRY(scratch.allocate(range.page_count()));

	dsvm_migrate_span span{};
	span.vma = fault.vma;
	span.first = range.first;
	span.last = range.last;
	span.npages = range.page_count();
	span.owner = fault.owner;
	span.select = DSVM_MIGRATE_DEVICE;
	span.fault_page = fault.page;
	span.src = scratch.src();
	span.dst = scratch.dst();

	DSVM_TRY(Status{dsvm_os_migrate_setup(&span)});
	const Status status = ToRam{*fault.devmem, scratch, span}.fill();
	dsvm_os_migrate_pages(&span);
	dsvm_os_migrate_finalize(&span);
	return status;
}

} // namespace

dsvm_fault_result handle_cpu_fault(const dsvm_cpu_fault &fault)
{
	// The CPU comes back until the device has had its time.
	if (fault.in_timeslice)
		return DSVM_FAULT_DONE;

	switch (migrate_back(fault).code()) {
	case 0:
	case -DSVM_EAGAIN:
	case -DSVM_EBUSY:
	case -DSVM_EINTR:
		return DSVM_FAULT_DONE;
	case -DSVM_ENOMEM:
		return DSVM_FAULT_OOM;
	default:
		dsvm_os_log(DSVM_LOG_ERROR,
			    "device memory at %#lx cannot be read back, its owner gets SIGBUS",
			    fault.addr);
		return DSVM_FAULT_LOST;
	}
}

namespace {

// One batch of an allocation's page frames. Errors leave its pages on the device.
Status evict_batch(const dsvm_devmem &devmem, Scratch &scratch, const usize *pfns, usize npages)
{
	scratch.clear();
	for (usize i = 0; i < npages; ++i)
		scratch.src()[i] = pfns[i];

	dsvm_migrate_span span{};
	span.npages = npages;
	span.src = scratch.src();
	span.dst = scratch.dst();

	DSVM_TRY(Status{dsvm_os_migrate_device_setup(&span)});
	const Status status = ToRam{devmem, scratch, span}.fill();
	dsvm_os_migrate_device_pages(&span);
	dsvm_os_migrate_device_finalize(&span);
	return status;
}

// The page frames of an allocation, freed with the scope.
class Frames {
public:
	Frames() = default;
	~Frames() { dsvm_os_free(pfns_); }
	Frames(const Frames &) = delete;
	Frames &operator=(const Frames &) = delete;

	Status load(const dsvm_devmem &devmem, usize npages)
	{
		const u64 bytes = DSVM_TRY(checked_mul(npages, sizeof(usize)));
		pfns_ = static_cast<usize *>(dsvm_os_alloc(bytes));
		if (!pfns_)
			return kNoMemory;
		return Status{devmem.populate(devmem.allocation, npages, pfns_)};
	}
	const usize *from(usize index) const { return pfns_ + index; }

private:
	usize *pfns_ = nullptr;
};

} // namespace

Status evict(const dsvm_devmem &devmem, dsvm_bool (*detached)(void *))
{
	const usize npages = devmem.size >> DSVM_PAGE_SHIFT;
	const usize batch = npages < kBatchPages ? npages : kBatchPages;
	Frames frames;
	Scratch scratch;

	if (detached(devmem.allocation))
		return Status::ok();
	DSVM_TRY(frames.load(devmem, npages));
	DSVM_TRY(scratch.allocate(batch));

	Status status;
	for (int attempt = 0; attempt < DSVM_EVICT_TRIES; ++attempt) {
		for (usize done = 0; done < npages; done += batch) {
			const usize count = npages - done < batch ? npages - done : batch;
			if (dsvm_os_killed())
				return kInterrupted;
			const Status result =
				evict_batch(devmem, scratch, frames.from(done), count);
			if (result.is_error())
				status = result;
		}
		if (detached(devmem.allocation))
			return Status::ok();
		// Somebody held a page for a moment, or a fault on it was under way.
		dsvm_os_relax();
	}
	return status.is_error() ? status : kBusy;
}

} // namespace dsvm
