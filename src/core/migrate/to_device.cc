// SPDX-License-Identifier: GPL-2.0-only OR MIT
#include "core/migrate/to_device.h"

#include "core/base/va_range.h"

namespace dsvm {

ToDevice::ToDevice(dsvm_to_device &request)
	: request_(request), devmem_(*request.devmem),
	  npages_(VaRange{request.first, request.last}.page_count())
{}

Status ToDevice::find_vma()
{
	const VaRange span{request_.first, request_.last};
	if (!span.is_well_formed() || !span.is_page_aligned() || span.size() > devmem_.size)
		return kInvalid;

	dsvm_vma_info vma;
	if (!dsvm_os_vma_at(request_.mm, span.first, &vma))
		return kNotFound;
	if (span.last > vma.last)
		return kInvalid;
	// The kernel collects file pages and then refuses to move them.
	if (!vma.anonymous)
		return kBusy;

	span_.vma = vma.vma;
	span_.first = span.first;
	span_.last = span.last;
	span_.npages = npages_;
	span_.owner = request_.owner;
	span_.select = DSVM_MIGRATE_SYSTEM | DSVM_MIGRATE_DEVICE;
	return Status::ok();
}

// Whether the page at @index leaves RAM (or nothing at all) for the device.
bool ToDevice::moves(usize index, dsvm_migrate_entry *entry) const
{
	dsvm_os_migrate_decode(scratch_.src()[index], entry);
	return entry->moves && (!entry->page || entry->is_ram);
}

ToDevice::Survey ToDevice::survey() const
{
	Survey survey;
	dsvm_migrate_entry entry;

	for (usize i = 0; i < npages_; ++i) {
		if (moves(i, &entry))
			++survey.movable;
		else if (entry.moves && entry.provider == devmem_.provider)
			++survey.here_already;
	}
	return survey;
}

Status ToDevice::check(const Survey &survey) const
{
	if (survey.movable == 0)
		return survey.here_already == npages_ ? Status::ok() : kBusy;
	// Pages of two allocations in one span would have to be evicted one by one.
	if (request_.all_or_nothing && survey.movable != npages_)
		return kBusy;
	return Status::ok();
}

Status ToDevice::prepare_page(usize index, usize pfn)
{
	dsvm_migrate_entry entry;
	if (!moves(index, &entry))
		return Status::ok();

	dsvm_os_page *page = dsvm_os_page_init_device(pfn, devmem_.zdd);
	scratch_.pages()[index] = page;
	scratch_.dst()[index] = dsvm_os_migrate_encode(page);
	if (!entry.page)
		return Status::ok(); // nothing there yet: the driver clears
	return Status{dsvm_os_dma_map(devmem_.dev, entry.page, 0, DSVM_DMA_TO_DEVICE,
				      &scratch_.addrs()[index])};
}

Status ToDevice::prepare()
{
	usize *const dst = scratch_.dst();

	const Status populated{devmem_.populate(devmem_.allocation, npages_, dst)};
	Status status = populated;
	for (usize i = 0; i < npages_; ++i) {
		const usize pfn = dst[i];
		dst[i] = 0;
		if (status.is_ok())
			status = prepare_page(i, pfn);
	}
	return status;
}

void ToDevice::unmap_ram()
{
	for (usize i = 0; i < npages_; ++i) {
		// A mapping has a direction, and this one's is not zero; an address may be.
		if (scratch_.addrs()[i].dir)
			dsvm_os_dma_unmap(devmem_.dev, &scratch_.addrs()[i]);
	}
}

void ToDevice::discard_device_pages()
{
	for (usize i = 0; i < npages_; ++i) {
		if (scratch_.dst()[i])
			dsvm_os_page_discard(scratch_.pages()[i]);
		scratch_.dst()[i] = 0;
	}
}

Status ToDevice::fill(const Survey &survey)
{
	DSVM_TRY(check(survey));
	if (survey.movable == 0)
		return Status::ok();

	Status status = prepare();
	if (status.is_ok())
		status = Status{devmem_.copy_to_device(devmem_.allocation, scratch_.pages(),
						       scratch_.addrs(), npages_)};
	unmap_ram();
	if (status.is_error())
		discard_device_pages();
	return status;
}

void ToDevice::count_migrated()
{
	dsvm_migrate_entry entry;

	for (usize i = 0; i < npages_; ++i) {
		if (scratch_.dst()[i] && moves(i, &entry))
			++request_.migrated;
	}
}

Status ToDevice::run()
{
	request_.migrated = 0;
	DSVM_TRY(find_vma());
	DSVM_TRY(scratch_.allocate(npages_));
	span_.src = scratch_.src();
	span_.dst = scratch_.dst();

	DSVM_TRY(Status{dsvm_os_migrate_setup(&span_)});
	const Survey collected = survey();
	const Status status = fill(collected);
	dsvm_os_migrate_pages(&span_);
	count_migrated();
	dsvm_os_migrate_finalize(&span_);
	DSVM_TRY(status);

	// Somebody took a reference between setup and the switch.
	if (request_.migrated < collected.movable &&
	    (request_.all_or_nothing || request_.migrated == 0))
		return kBusy;
	return Status::ok();
}

} // namespace dsvm
