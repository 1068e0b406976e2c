// SPDX-License-Identifier: GPL-2.0-only OR MIT
//
// A model GPU: one page table, a TLB, accesses in flight.
//
//	access = look up in the TLB, else walk the page table and fill the TLB
//	       . in flight: other CPUs run		<- Point::kGpu
//	       . load or store through what was looked up
//
//	flush  = at some time after it has begun, forget the TLB's entries from before; and
//		 wait until every access has ended that uses such a translation (its epoch is
//		 older)
//
// So a translation is in use from the look-up to the end of the access, and a driver that
// zaps an entry, or narrows it, without a flush, or gives the page away before the flush is
// over, is found out.
//
// The rule that is checked at every change of a CPU's page table entry, at every write of a
// GPU entry and at every access: a translation that the GPU may still use (an entry of the
// page table or the TLB, an access in flight) is of the page that the CPU's entry maps, is writable
// only if that is, and is reachable (RAM: mapped for DMA).
//
// GPU addresses are counted in pages. The first region is a mirror: a page has the number there
// that the CPU has for it. Further ones show address spaces at other addresses:
//
//	GPU	|---- region 0 ----|---- region 1 ----|---- region 2 ----|
//	CPU	 mirrored mm	    any mm	       any mm, or the same
#ifndef DSVM_SIMMM_GPU_H
#define DSVM_SIMMM_GPU_H

#include <vector>

#include "tests/host/simmm/machine.h"

namespace dsvm::sim {

struct GpuPte {
	bool valid = false;
	bool write = false;
	u32 page = kNoPage;
	u64 dma = 0; // the address that it was written with
};

class Gpu {
public:
	static Gpu &current();
	Gpu();
	~Gpu();
	Gpu(const Gpu &) = delete;
	Gpu &operator=(const Gpu &) = delete;

	// For the address space of `mm`, whose pages it has entries for; seen as `device` does.
	void reset(Mm &mm, const Device &device, u32 tlb_entries);
	// One more region, without entries; where its page 0 is, which shows that of `mm`.
	u32 open_region(Mm &mm);
	void close_region(u32 base); // nothing is mapped there

	// Writes an entry. The caller holds the notifier lock and the page table's.
	void map(u32 index, u64 dma_addr, bool write);
	// Clears entries of [first, last]; how many were valid. The TLB still has them.
	u32 zap(u32 first, u32 last);
	// See above. What begin_flush() returned is what is waited for, and all flushes that began
	// before with it. The wait sleeps.
	u64 begin_flush() { return ++epoch_; }
	void end_flush(u64 epoch);
	void flush() { end_flush(begin_flush()); }
	// The flush that has begun last.
	u64 last_flush() const { return epoch_; }
	const GpuPte &entry(u32 index) const { return table_[index]; }
	bool allows(u32 index, bool write) const;

	// One access. kFault: no translation, or not for this access.
	enum class Result : u8 { kDone, kFault };
	Result load(u32 index, u64 *value);
	Result store(u32 index, u64 value);

	// The CPU's entry of a page has changed.
	void check(Mm &mm, u32 index);
	void check_idle(); // at the end: nothing is mapped, nothing in flight

private:
	struct TlbEntry {
		u32 index = kNoPage;
		u64 epoch = 0; // that it was filled in
		GpuPte pte;
	};
	struct Flight {
		bool on = false;
		u32 index = 0;
		u64 epoch = 0;
		GpuPte pte;
	};

	bool translate(u32 index, bool write, Flight &flight);
	Result access(u32 index, bool write, u64 *value);
	void check_translation(u32 index, const GpuPte &pte, const char *what);
	void check_page(u32 index);
	// What a page of the GPU's shows.
	Mm &mm_of(u32 index) const { return *regions_[index / region_pages_]; }
	u32 shown(u32 index) const { return index % region_pages_; }

	std::vector<Mm *> regions_; // whose pages each shows; nullptr: it is not in use
	u32 region_pages_ = 0;
	const Device *device_ = nullptr;
	u64 epoch_ = 0;
	std::vector<GpuPte> table_;
	std::vector<TlbEntry> tlb_;
	Flight flights_[kMaxFibers];
};

} // namespace dsvm::sim

#endif // DSVM_SIMMM_GPU_H
