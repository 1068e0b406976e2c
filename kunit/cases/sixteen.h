// SPDX-License-Identifier: GPL-2.0-only OR MIT
//
// Sixteen pages that a device sees: what the cases about collecting pages have in
// common.
#ifndef DSVM_KUNIT_CASES_SIXTEEN_H
#define DSVM_KUNIT_CASES_SIXTEEN_H

#include "kunit/case.h"
#include "kunit/cases/mirror_check.h"

namespace dsvm::cases {

// Whether `npages` pages from the first on are mapped, each to the page that the CPU has
// there now.
[[nodiscard]] inline bool maps_what_the_cpu_maps(World &world, const dsvm_pages &pages, u32 npages)
{
	u32 done = 0;

	if ((pages.flags & (DSVM_PAGES_DMA_MAPPED | DSVM_PAGES_STALE)) != DSVM_PAGES_DMA_MAPPED)
		return false;
	for (u32 i = 0; done < npages; i++) {
		const dsvm_dma_addr &addr = pages.dma_addr[i];

		for (u32 j = 0; j < 1u << addr.order; j++, done++) {
			if (world.page_of_dma(addr.addr + j * kPageSize) !=
			    world.pte(world.mm(), at_page(done)).page)
				return false;
		}
	}
	return done == npages;
}

// Sixteen pages mirrored by one range.
class SixteenPages : public Mirror {
public:
	explicit SixteenPages(MirrorOptions mirror_options = {}) : Mirror(mirror_options)
	{
		world.add_vma(world.mm(), at_page(0), end_of_page(15));
		DSVM_EXPECT_EQ(fault(at_page(0), &range), 0);
		pages = home(*range).pages;
	}

	// Whether all sixteen are mapped, each to the page that the CPU has there now.
	[[nodiscard]] bool maps_what_the_cpu_maps()
	{
		return cases::maps_what_the_cpu_maps(world, *pages, 16);
	}

	dsvm_range *range = nullptr;
	dsvm_pages *pages = nullptr;
};

// Another CPU unmaps a page and touches it again: a new page is there.
inline void replace_page(World &world, void *)
{
	fake::Mm &mm = world.mm();
	fake::Page *const page = world.alloc_ram();

	fake::Event &event = world.begin_event(mm, at_page(7), end_of_page(7));
	world.clear_pte(world.pte(mm, at_page(7)));
	world.set_pte(world.pte(mm, at_page(7)), fake::PteKind::kPresent, page,
		      fake::Writable::Yes);
	world.end_event(event);
	world.put_page(page);
}

inline void invalidate_only(World &world, void *)
{
	world.invalidate(world.mm(), at_page(3), end_of_page(3));
}

// Watches the time between two walks, in which others have to be let run.
class RestWatch {
public:
	explicit RestWatch(World &world)
	{
		const u64 before = dsvm_os_now_ns();

		dsvm_os_relax();
		rest_ = dsvm_os_now_ns() - before;
		world.at(Call::kHmmFault, World::kEvery, begin_walk, this);
	}
	// For the hook that runs inside of a walk.
	void end_walk() { walked_ = dsvm_os_now_ns(); }
	// Walks that came too soon after the one before.
	[[nodiscard]] u32 restless() const { return restless_; }

private:
	static void begin_walk(World &, void *arg)
	{
		RestWatch &self = *static_cast<RestWatch *>(arg);

		if (self.walked_ != 0 && dsvm_os_now_ns() - self.walked_ < self.rest_)
			self.restless_++;
	}

	u64 rest_ = 0; // how long it takes to let others run
	u64 walked_ = 0;
	u32 restless_ = 0;
};

// Puts `count` pages of the device, of the mirror's own or of another owner, at `first`.
inline void put_on_device(Mirror &m, u32 first, u32 count, u32 provider = 0, void *owner = nullptr)
{
	fake::Zdd *const zdd = m.world.make_zdd(m.world.provider(provider),
						owner != nullptr ? owner : &m, nullptr, nullptr);
	constexpr u32 kFrames = fake::kDevicePages / fake::kProviders;
	const usize first_frame = fake::kDevicePfn + provider * kFrames;

	for (u32 i = first; i < first + count; i++) {
		dsvm_os_page *const page =
			dsvm_os_page_init_device(first_frame + i % kFrames, fake::to_os(zdd), 0);
		fake::from_os(page)->content = 1000 + i;
		m.world.set_pte(m.world.pte(m.world.mm(), at_page(i)), fake::PteKind::kDevice,
				fake::from_os(page), fake::Writable::Yes);
		dsvm_os_page_discard(page);
	}
	m.world.zdd_put(zdd);
}

} // namespace dsvm::cases

#endif // DSVM_KUNIT_CASES_SIXTEEN_H
