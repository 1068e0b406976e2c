// SPDX-License-Identifier: GPL-2.0-only OR MIT
#include "core/migrate/scratch.h"

#include "core/base/checked.h"

namespace dsvm {

Scratch::~Scratch()
{
	dsvm_os_free(memory_);
	if (reserve_)
		dsvm_os_provider_give_reserve(provider_, reserve_);
}

Status Scratch::allocate(usize npages)
{
	const u64 bytes = DSVM_TRY(checked_mul(npages, sizeof(Entry)));

	memory_ = dsvm_os_alloc(bytes);
	if (!memory_)
		return kNoMemory;
	lay_out(memory_, npages);
	return Status::ok();
}

Status Scratch::allocate_or_reserve(usize npages, dsvm_os_provider *provider)
{
	const Status status = allocate(npages);
	if (status.is_ok() || npages > kBatchPages)
		return status;

	reserve_ = dsvm_os_provider_take_reserve(provider);
	if (!reserve_)
		return status;
	provider_ = provider;
	lay_out(reserve_, npages);
	clear(npages);
	return Status::ok();
}

void Scratch::use_own()
{
	lay_out(&own_, 1);
}

// Widest alignment first.
void Scratch::lay_out(void *memory, usize npages)
{
	npages_ = npages;
	runs_ = static_cast<dsvm_copy_run *>(memory);
	addrs_ = reinterpret_cast<dsvm_dma_addr *>(runs_ + npages);
	src_ = reinterpret_cast<usize *>(addrs_ + npages);
	pages_ = reinterpret_cast<dsvm_os_page **>(src_ + 2 * npages);
}

void Scratch::clear(usize npages)
{
	for (usize i = 0; i < npages; ++i) {
		src()[i] = 0;
		dst()[i] = 0;
		pages()[i] = nullptr;
		others()[i] = nullptr;
		addrs()[i] = dsvm_dma_addr{};
	}
}

} // namespace dsvm
