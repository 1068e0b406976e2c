// SPDX-License-Identifier: GPL-2.0-only OR MIT
#include "core/migrate/scratch.h"

#include "core/base/checked.h"

namespace dsvm {

Status Scratch::allocate(usize npages)
{
	constexpr usize kBytesPerPage =
		2 * sizeof(usize) + sizeof(dsvm_os_page *) + sizeof(dsvm_dma_addr);
	const u64 bytes = DSVM_TRY(checked_mul(npages, kBytesPerPage));

	memory_ = dsvm_os_alloc(bytes);
	if (!memory_)
		return kNoMemory;
	lay_out(memory_, npages);
	return Status::ok();
}

void Scratch::use_reserve()
{
	static_assert(sizeof(Reserve) ==
		      2 * sizeof(usize) + sizeof(dsvm_os_page *) + sizeof(dsvm_dma_addr));
	lay_out(&reserve_, 1);
}

// Widest alignment first.
void Scratch::lay_out(void *memory, usize npages)
{
	npages_ = npages;
	addrs_ = static_cast<dsvm_dma_addr *>(memory);
	src_ = reinterpret_cast<usize *>(addrs_ + npages);
	pages_ = reinterpret_cast<dsvm_os_page **>(src_ + 2 * npages);
}

void Scratch::clear()
{
	for (usize i = 0; i < npages_; ++i) {
		src()[i] = 0;
		dst()[i] = 0;
		pages_[i] = nullptr;
		addrs_[i] = dsvm_dma_addr{};
	}
}

} // namespace dsvm
