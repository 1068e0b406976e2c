// SPDX-License-Identifier: GPL-2.0-only OR MIT

#include "tests/host/simmm/gpu.h"

#include "tests/host/simmm/os.h"

namespace dsvm::sim {

namespace {

Gpu *the_gpu;

// What the access hits if it gets through now.
bool permits(const GpuPte &pte, bool write)
{
	return pte.valid && (pte.write || !write);
}

// Tells entries of the GPU apart from all else that is hashed.
u64 hash_of(u32 index, const GpuPte &pte)
{
	return (u64{0x9b} << 56) ^ (u64{index} << 40) ^ (u64{pte.write} << 36) ^ pte.page;
}

} // namespace

Gpu::Gpu()
{
	the_gpu = this;
}

Gpu::~Gpu()
{
	the_gpu = nullptr;
}

Gpu &Gpu::current()
{
	return *the_gpu;
}

void Gpu::reset(Mm &mm, const Device &device, u32 tlb_entries)
{
	device_ = &device;
	epoch_ = 0;
	region_pages_ = machine().geometry().va_pages;
	regions_.assign(1, &mm);
	table_.assign(region_pages_, GpuPte{});
	tlb_.assign(tlb_entries, TlbEntry{});
	for (Flight &flight : flights_)
		flight = Flight{};
}

// Regions ---------------------------------------------------------------------

u32 Gpu::open_region(Mm &mm)
{
	u32 region = 0;

	while (region < regions_.size() && regions_[region] != nullptr)
		region++;
	if (region == regions_.size()) {
		regions_.push_back(nullptr);
		table_.resize(table_.size() + region_pages_);
	}
	regions_[region] = &mm;
	return region * region_pages_;
}

void Gpu::close_region(u32 base)
{
	const auto is_inside = [&](u32 index) {
		return index != kNoPage && index / region_pages_ == base / region_pages_;
	};
	bool in_use = false;

	for (u32 i = base; i < base + region_pages_; i++)
		in_use = in_use || table_[i].valid;
	for (const TlbEntry &entry : tlb_)
		in_use = in_use || is_inside(entry.index);
	for (const Flight &flight : flights_)
		in_use = in_use || (flight.on && is_inside(flight.index));
	if (in_use)
		scheduler().fail("the GPU keeps a translation", "of a region that is given up");
	regions_[base / region_pages_] = nullptr;
}

// The page table --------------------------------------------------------------

void Gpu::map(u32 index, u64 dma_addr, bool write)
{
	GpuPte &pte = table_[index];
	const u32 page = reached_page(*device_, dma_addr, write);

	if (page == kNoPage) {
		scheduler().fail("the GPU is sent to where no memory is", "page %u: address %#lx",
				 index, static_cast<usize>(dma_addr));
		return;
	}
	if (pte.valid)
		machine().hash_in(hash_of(index, pte));
	pte = GpuPte{.valid = true, .write = write, .page = page, .dma = dma_addr};
	machine().hash_in(hash_of(index, pte));
	check_page(index);
}

u32 Gpu::zap(u32 first, u32 last)
{
	u32 zapped = 0;

	for (u32 i = first; i <= last; i++) {
		if (!table_[i].valid)
			continue;
		machine().hash_in(hash_of(i, table_[i]));
		table_[i] = GpuPte{};
		zapped++;
	}
	return zapped;
}

void Gpu::end_flush(u64 epoch)
{
	// Until here, the TLB still may have what has been zapped.
	scheduler().point(Point::kGpu);
	for (TlbEntry &entry : tlb_)
		entry = entry.epoch < epoch ? TlbEntry{} : entry;
	scheduler().wait_until("the GPU's accesses", [&] {
		for (const Flight &flight : flights_) {
			if (flight.on && flight.epoch < epoch)
				return false;
		}
		return true;
	});
}

bool Gpu::allows(u32 index, bool write) const
{
	return permits(table_[index], write);
}

// Accesses --------------------------------------------------------------------

// From the TLB, or else from the page table into the TLB. A TLB entry that is too narrow for
// the access is looked up again, as hardware does before it raises a fault.
bool Gpu::translate(u32 index, bool write, Flight &flight)
{
	TlbEntry *const entry = tlb_.empty() ? nullptr : &tlb_[index % tlb_.size()];
	const bool hit = entry != nullptr && entry->index == index && permits(entry->pte, write);

	if (!hit && !permits(table_[index], write))
		return false;
	if (!hit && entry != nullptr)
		*entry = TlbEntry{.index = index, .epoch = epoch_, .pte = table_[index]};
	flight = Flight{.on = true,
			.index = index,
			.epoch = hit ? entry->epoch : epoch_,
			.pte = hit ? entry->pte : table_[index]};
	return true;
}

Gpu::Result Gpu::access(u32 index, bool write, u64 *value)
{
	Flight &flight = flights_[scheduler().in_fiber() ? scheduler().running() : 0];

	if (!translate(index, write, flight))
		return Result::kFault;
	const GpuPte pte = flight.pte;
	check_translation(index, pte, "when an access begins");
	scheduler().point(Point::kGpu);
	check_translation(index, pte, "when an access ends");

	Page &page = machine().page(pte.page);
	Mm &mm = mm_of(index);
	const usize addr = machine().addr_of(shown(index));
	// What is written out, or dropped, is what the kernel takes for dirty.
	if (write && !machine().is_device(pte.page) && !machine().folio_of(page).dirty)
		scheduler().fail("the GPU writes to a page that the kernel takes for clean",
				 "page %u: frame %u", index, pte.page);
	if (write)
		machine().device_store(mm, addr, page, *value);
	else
		*value = machine().device_load(mm, addr, page);
	flight.on = false;
	return Result::kDone;
}

Gpu::Result Gpu::load(u32 index, u64 *value)
{
	return access(index, false, value);
}

Gpu::Result Gpu::store(u32 index, u64 value)
{
	return access(index, true, &value);
}

// The rule --------------------------------------------------------------------

void Gpu::check_translation(u32 index, const GpuPte &pte, const char *what)
{
	const Pte &cpu = mm_of(index).ptes[shown(index)];
	Page &page = machine().page(pte.page);
	const char *wrong = nullptr;

	if ((cpu.kind != PteKind::kPresent && cpu.kind != PteKind::kDevice) || cpu.page != pte.page)
		wrong = "the GPU can use a page that the CPU side has taken back";
	else if (!cpu.read)
		wrong = "the GPU can use a page that may not be read";
	else if (pte.write && !cpu.write)
		wrong = "the GPU can write to a page that is read-only";
	else if (machine().is_device(pte.page)
			 ? machine().folio_of(page).refs == 0
			 : !is_mapped_for(*device_, pte.page) ||
				   reached_page(*device_, pte.dma, pte.write) != pte.page)
		wrong = "the GPU can use a page that is not mapped for it";
	if (wrong != nullptr)
		scheduler().fail(wrong, "page %u, %s: frame %u, the CPU's entry has %u", index,
				 what, pte.page, cpu.page);
}

void Gpu::check(Mm &mm, u32 index)
{
	for (u32 region = 0; region < regions_.size(); region++) {
		if (regions_[region] == &mm)
			check_page(region * region_pages_ + index);
	}
}

void Gpu::check_page(u32 index)
{
	if (table_[index].valid)
		check_translation(index, table_[index], "in the page table");
	if (!tlb_.empty()) {
		const TlbEntry &entry = tlb_[index % tlb_.size()];
		if (entry.index == index)
			check_translation(index, entry.pte, "in the TLB");
	}
	for (const Flight &flight : flights_) {
		if (flight.on && flight.index == index)
			check_translation(index, flight.pte, "in an access");
	}
}

void Gpu::check_idle()
{
	for (u32 i = 0; i < table_.size(); i++) {
		if (table_[i].valid)
			scheduler().fail("the GPU keeps a translation", "page %u", i);
	}
	for (const Flight &flight : flights_) {
		if (flight.on)
			scheduler().fail("the GPU does not end an access", "page %u", flight.index);
	}
}

} // namespace dsvm::sim
