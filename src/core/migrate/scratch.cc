// SPDX-License-Identifier: GPL-2.0-only OR MIT
#include "core/migrate/scratch.h"

#include "core/base/checked.h"
#include "core/base/utility.h"

namespace dsvm {

namespace {

// Of these zeroes are what is empty. Mostly nothing has to be cleared, or what a huge page takes.
template <class T> inline void clear(T *array, usize count)
{
	if (count == 1)
		*array = T{};
	else if (count != 0)
		__builtin_memset(array, 0, count * sizeof(T));
}

} // namespace

Scratch::~Scratch()
{
	if (spare_) {
		clear(dst(), used_);
		clear(addrs(), used_);
		clear(pages(), handed_out_);
		dsvm_os_provider_give_spare(provider_, spare_);
		return;
	}
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

bool Scratch::borrow(usize npages, dsvm_os_provider *provider)
{
	if (npages > kBatchPages)
		return false;

	spare_ = dsvm_os_provider_take_spare(provider);
	if (!spare_)
		return false;
	provider_ = provider;
	lay_out(spare_, kBatchPages);
	return true;
}

Status Scratch::obtain(usize npages, dsvm_os_provider *provider)
{
	return borrow(npages, provider) ? Status::ok() : allocate(npages);
}

Status Scratch::obtain_or_reserve(usize npages, dsvm_os_provider *provider)
{
	const Status status = obtain(npages, provider);
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

// Until it says where it ends, a batch may be anywhere in its pages.
void Scratch::begin(usize npages)
{
	clear(dst(), used_);
	clear(addrs(), used_);
	used_ = npages;
}

dsvm_os_page **Scratch::pages() const
{
	static_assert(sizeof(dsvm_copy_run) >= sizeof(dsvm_os_page *));

	return reinterpret_cast<dsvm_os_page **>(runs_);
}

dsvm_os_page **Scratch::empty_pages(usize npages)
{
	clear(pages(), min(npages, handed_out_));
	handed_out_ = max(handed_out_, used_);
	return pages();
}

dsvm_copy_run *Scratch::runs(usize npages)
{
	constexpr usize kPagesOfRun = sizeof(dsvm_copy_run) / sizeof(dsvm_os_page *);

	handed_out_ = max(handed_out_, min(npages_, npages * kPagesOfRun));
	return runs_;
}

} // namespace dsvm
