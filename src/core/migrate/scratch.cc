// SPDX-License-Identifier: GPL-2.0-only OR MIT
#include "core/migrate/scratch.h"

#include "core/base/checked.h"
#include "core/base/utility.h"

namespace dsvm {

namespace {

// Of these zeroes are what is empty. Mostly nothing has to be cleared.
template <class T> void clear(T *array, usize count)
{
	if (count != 0)
		__builtin_memset(array, 0, count * sizeof(T));
}

} // namespace

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
	used_ = handed_out_ = npages;
	return Status::ok();
}

void Scratch::use_own()
{
	own_ = Entry{};
	lay_out(&own_, 1);
}

// Widest alignment first.
void Scratch::lay_out(void *memory, usize npages)
{
	npages_ = npages;
	runs_ = static_cast<dsvm_copy_run *>(memory);
	addrs_ = reinterpret_cast<dsvm_dma_addr *>(runs_ + npages);
	src_ = reinterpret_cast<usize *>(addrs_ + npages);
}

// Until it says where it ends, a batch may be anywhere.
void Scratch::begin()
{
	clear(dst(), used_);
	clear(addrs(), used_);
	used_ = npages_;
}

dsvm_os_page **Scratch::empty_pages(usize npages)
{
	static_assert(sizeof(dsvm_copy_run) >= sizeof(dsvm_os_page *));
	dsvm_os_page **const pages = reinterpret_cast<dsvm_os_page **>(runs_);

	clear(pages, min(npages, handed_out_));
	handed_out_ = max(handed_out_, used_);
	return pages;
}

dsvm_copy_run *Scratch::runs()
{
	handed_out_ = npages_;
	return runs_;
}

} // namespace dsvm
