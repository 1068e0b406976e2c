// SPDX-License-Identifier: GPL-2.0-only OR MIT
#include "core/migrate/to_ram.h"

#include "core/base/bits.h"
#include "core/base/checked.h"
#include "core/base/va_range.h"
#include "core/svm/chunk.h"
#include "core/svm/deadline.h"
#include "core/svm/hmm.h"

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
	if (!entry.moves || !entry.zdd || entry.retired)
		return Status::ok();
	// The callbacks of one allocation cannot copy another one's pages.
	if (devmem_.zdd && entry.zdd != devmem_.zdd)
		return Status::ok();

	const bool is_fault_page = span_.fault_page && entry.page == span_.fault_page;
	dsvm_os_page *ram = dsvm_os_page_alloc(span_.vma,
					       span_.first + (index << DSVM_PAGE_SHIFT));
	if (!ram)
		return is_fault_page ? kNoMemory : Status::ok();
	const Status mapped{dsvm_os_dma_map(devmem_.dev, ram, 0, DSVM_DMA_FROM_DEVICE,
					    &scratch_.addrs()[index])};
	if (mapped.is_error()) {
		dsvm_os_page_discard(ram);
		return is_fault_page ? mapped : Status::ok();
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

void ToRam::retire()
{
	dsvm_migrate_entry entry;

	for (usize i = 0; i < span_.npages; ++i) {
		dsvm_os_migrate_decode(span_.src[i], &entry);
		if (span_.dst[i] && entry.moves)
			dsvm_os_page_retire(entry.page);
	}
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
	VaRange range = fault_span(fault);
	Scratch scratch;
	if (scratch.allocate(range.page_count()).is_error()) {
		// The one page that somebody waits for.
		range = aligned_block(fault.addr, DSVM_PAGE_SIZE);
		scratch.use_reserve();
	}

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
	ToRam engine{*fault.devmem, scratch, span};
	const Status status = engine.fill();
	dsvm_os_migrate_pages(&span);
	engine.retire();
	dsvm_os_migrate_finalize(&span);
	return status;
}

} // namespace

dsvm_fault_result handle_cpu_fault(const dsvm_cpu_fault &fault)
{
	// The CPU comes back until the device has had its time.
	if (fault.in_timeslice)
		return DSVM_FAULT_DONE;

	// Two faults on a page hold a reference each, and so keep each other from moving it
	// for ever. The one that comes second gives its own up at once and tries again; once
	// the first one has collected the pages it waits there.
	if (!dsvm_os_zdd_enter(fault.devmem->zdd))
		return DSVM_FAULT_DONE;
	const Status status = migrate_back(fault);
	dsvm_os_zdd_leave(fault.devmem->zdd);

	switch (status.code()) {
	case 0:
		return DSVM_FAULT_DONE; // perhaps without it: then the CPU comes back
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

// How long an eviction waits for an exit of the owner that is under way.
constexpr u64 kExitGraceNs = 100000000;

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
	ToRam engine{devmem, scratch, span};
	const Status status = engine.fill();
	dsvm_os_migrate_device_pages(&span);
	engine.retire();
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

// One allocation on its way to being empty.
class Eviction {
public:
	Eviction(const dsvm_devmem &devmem, dsvm_os_mm *mm, dsvm_bool (*detached)(void *));

	Status run();

private:
	Status sweep();
	Status evict_next(usize done);

	const dsvm_devmem &devmem_;
	dsvm_os_mm *const mm_;
	dsvm_bool (*const detached_)(void *);
	const usize npages_;
	const usize batch_;
	const Deadline exit_grace_;
	bool waiting_for_exit_ = false; // in this sweep
	Frames frames_;
	Scratch scratch_;
};

Eviction::Eviction(const dsvm_devmem &devmem, dsvm_os_mm *mm, dsvm_bool (*detached)(void *))
	: devmem_(devmem), mm_(mm), detached_(detached), npages_(devmem.size >> DSVM_PAGE_SHIFT),
	  batch_(npages_ < kBatchPages ? npages_ : kBatchPages), exit_grace_(kExitGraceNs)
{
}

// The kernel finds page tables through structs that go with the last address space that maps a
// page, and it does not keep them itself. So the owner's is kept from exiting for each batch. If
// it is exiting already, that takes its pages along and is waited for; what is left after that
// belongs to children of a fork.
Status Eviction::evict_next(usize done)
{
	const usize count = npages_ - done < batch_ ? npages_ - done : batch_;
	MmUser owner{mm_, MmPut::Later};

	if (!owner.is_alive() && exit_grace_.remaining_ns()) {
		waiting_for_exit_ = true;
		return kBusy;
	}
	return evict_batch(devmem_, scratch_, frames_.from(done), count);
}

// Goes over the whole allocation; the last error, if there was any.
Status Eviction::sweep()
{
	Status status;

	waiting_for_exit_ = false;
	for (usize done = 0; done < npages_ && !dsvm_os_killed(); done += batch_) {
		const Status result = evict_next(done);
		if (result.is_error())
			status = result;
	}
	return status;
}

Status Eviction::run()
{
	if (detached_(devmem_.allocation))
		return Status::ok();
	DSVM_TRY(frames_.load(devmem_, npages_));
	DSVM_TRY(scratch_.allocate(batch_));

	Status status;
	for (int attempt = 0; attempt < DSVM_EVICT_TRIES;) {
		status = sweep();
		if (detached_(devmem_.allocation))
			return Status::ok();
		if (dsvm_os_killed())
			return kInterrupted;
		// Somebody held a page for a moment, or a fault on it was under way.
		dsvm_os_relax();
		attempt += waiting_for_exit_ ? 0 : 1;
	}
	return status.is_error() ? status : kBusy;
}

} // namespace

Status evict(const dsvm_devmem &devmem, dsvm_os_mm *mm, dsvm_bool (*detached)(void *))
{
	return Eviction{devmem, mm, detached}.run();
}

} // namespace dsvm
