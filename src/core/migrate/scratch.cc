// SPDX-License-Identifier: GPL-2.0-only OR MIT
#include "core/migrate/scratch.h"

#include "core/base/checked.h"
#include "core/base/utility.h"

namespace dsvm {

DSVM_NOINLINE void Scratch::clear_bytes(void *memory, usize bytes)
{
	__builtin_memset(memory, 0, bytes);
}

DSVM_NOINLINE void Scratch::clear_pages(usize npages)
{
	clear(pages(), min(npages, handed_out_));
	handed_out_ = max(handed_out_, used_);
}

// What is not lent.
DSVM_NOINLINE void Scratch::give_back()
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

DSVM_NOINLINE Status Scratch::allocate_or_reserve(usize npages, dsvm_os_provider *provider)
{
	const Status status = allocate(npages);
	if (status.is_ok() || npages > kBatchPages)
		return status;

	reserve_ = dsvm_os_provider_take_reserve(provider);
	if (!reserve_)
		return status;
	provider_ = provider;
	lay_out(reserve_, npages);
	used_ = handed_out_ = npages;
	return Status::ok();
}

void Scratch::use_own()
{
	own_ = Entry{};
	lay_out(&own_, 1);
}

} // namespace dsvm
