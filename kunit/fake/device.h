// SPDX-License-Identifier: GPL-2.0-only OR MIT
//
// A driver with memory of its own: what a case hands to the migration engine.
//
// An Allocation is page frames of a fake device, in a row or scattered, and the driver's
// callbacks for it. Its copy engine works at once, or when somebody waits for the fence;
// it takes the work as arrays or as runs, and both come down to a step a page, which
// World::copy_page() does. What it complains about: pages that are not its own, pieces that
// are cut, arrays that are not empty behind a piece, frames given back twice or in use.
//
//	zdd references:  one of the allocation's maker until settle(),
//	                 one of each page in use
//
// The allocation is detached, as drm_pagemap calls it, when the last has gone.
#ifndef DSVM_KUNIT_FAKE_DEVICE_H
#define DSVM_KUNIT_FAKE_DEVICE_H

#include "drm_svm/migrate.h"
#include "kunit/fake/world.h"

namespace dsvm::fake {

struct AllocationOptions {
	u32 first = 0; // frame, of the provider's
	u32 npages = 0;
	void *owner = nullptr;
	u32 provider = 0;
	usize hint = 0; // the address that it is made for
	u32 fault_npages = 0;
	bool copies_runs = false;
	bool waits_for_fence = false; // copies are done later
	bool scattered = false;	      // frames: each second one, from the last to the first
	u32 gap_at = 0;		      // frames: from this one on they lie one further; 0: none do
	bool keeps_frames = false;    // until the end: there is no callback for less
};

class Allocation {
public:
	Allocation(World &world, const AllocationOptions &options)
		: world_(world), options_(options),
		  first_pfn_(kDevicePfn + options.provider * (kDevicePages / kProviders) +
			     options.first)
	{
		for (u32 i = 0; i < options.npages; i++)
			page(i)->given_back = false;
		zdd_ = world.make_zdd(world.provider(options.provider), options.owner, released,
				      this, &devmem_, freed);
		devmem_.allocation = this;
		devmem_.dev = world.device(options.provider);
		devmem_.provider = world.provider(options.provider);
		devmem_.zdd = to_os(zdd_);
		devmem_.counters = &world.counters(options.provider);
		devmem_.size = usize{options.npages} * kPageSize;
		devmem_.first = options.hint;
		devmem_.owner = options.owner;
		devmem_.fault_npages = options.fault_npages;
		devmem_.copies_runs = options.copies_runs;
		devmem_.populate = populate;
		devmem_.copy = copy;
		devmem_.unused = options.keeps_frames ? nullptr : unused;
		made_ = dsvm_devmem_init(&devmem_);
	}
	Allocation(const Allocation &) = delete;
	Allocation &operator=(const Allocation &) = delete;
	~Allocation() { settle(); }

	// What dsvm_devmem_init() has said.
	[[nodiscard]] int made() const { return made_; }
	// The maker's reference goes: from here on the pages alone keep it.
	void settle()
	{
		if (!exchange(settled_, true))
			world_.zdd_put(zdd_);
	}

	[[nodiscard]] const dsvm_devmem &devmem() const { return devmem_; }
	[[nodiscard]] const AllocationOptions &options() const { return options_; }
	[[nodiscard]] bool is_detached() const { return detached_; }
	[[nodiscard]] u32 frame(u32 index) const
	{
		if (options_.scattered)
			return 2 * (options_.npages - 1 - index);
		return index + (options_.gap_at != 0 && index >= options_.gap_at);
	}
	[[nodiscard]] Page *page(u32 index) const
	{
		return world_.page_of_pfn(first_pfn_ + frame(index));
	}
	// Frames that are pages in use now.
	[[nodiscard]] u32 pages_in_use() const
	{
		u32 count = 0;

		for (u32 i = 0; i < options_.npages; i++)
			count += page(i)->refs != 0 && page(i)->zdd == zdd_;
		return count;
	}
	// Frames that the driver has back.
	[[nodiscard]] u32 frames_back() const { return frames_back_; }
	// Calls of the copy callback, and pieces or runs in them.
	[[nodiscard]] u32 copies() const { return copies_; }
	[[nodiscard]] u32 pieces() const { return pieces_; }

private:
	static Allocation &from(void *arg) { return *static_cast<Allocation *>(arg); }

	static void released(void *arg)
	{
		Allocation &self = from(arg);

		self.detached_ = true;
		dsvm_devmem_fini(&self.devmem_);
	}

	static void freed(void *arg, usize pfn) { from(arg).take_back(pfn); }

	static void unused(void *arg, usize pfn, usize npages)
	{
		Allocation &self = from(arg);

		static_cast<void>(self.world_.enter(Call::kUnused));
		for (usize i = 0; i < npages; i++) {
			if (self.world_.page_of_pfn(pfn + i)->refs != 0)
				dsvm_env_violation("frames given back that are in use");
			self.take_back(pfn + i);
		}
	}

	void take_back(usize pfn)
	{
		Page &page = *world_.page_of_pfn(pfn);

		// An allocation that keeps its frames may use them again.
		if (options_.keeps_frames)
			return;
		if (page.given_back)
			dsvm_env_violation("the frame %#lx given back twice", pfn);
		page.given_back = true;
		frames_back_++;
	}

	static int populate(void *arg, usize npages, usize *pfns)
	{
		Allocation &self = from(arg);

		if (npages > self.options_.npages)
			dsvm_env_violation("more frames asked for than the allocation has");
		if (const int injected = self.world_.enter(Call::kPopulate))
			return injected;
		for (u32 i = 0; i < npages; i++)
			pfns[i] = self.first_pfn_ + self.frame(i);
		return 0;
	}

	static int copy(void *arg, dsvm_copy *copy)
	{
		Allocation &self = from(arg);
		World &world = self.world_;

		if (holds_notifier_lock())
			dsvm_env_violation("a copy under the notifier lock");
		copy->done = nullptr;
		if (const int injected =
			    world.enter(copy->to_ram ? Call::kCopyToRam : Call::kCopyToDevice))
			return injected;
		self.copies_++;
		if (self.options_.waits_for_fence)
			copy->done = world.begin_fence();
		if (self.options_.copies_runs)
			self.copy_runs(*copy);
		else
			self.copy_arrays(*copy);
		return 0;
	}

	void copy_runs(const dsvm_copy &copy)
	{
		for (usize i = 0; i < copy.nruns; i++)
			copy_piece(copy, copy.runs[i].page, copy.runs[i].addr, copy.runs[i].npages);
	}

	void copy_arrays(const dsvm_copy &copy)
	{
		for (usize i = 0; i < copy.npages;) {
			const usize count = usize{1} << copy.addrs[i].order;

			if (copy.pages[i] == nullptr) {
				i++;
				continue;
			}
			if (i + count > copy.npages)
				dsvm_env_violation("a piece that reaches beyond its batch");
			for (usize j = i + 1; j < i + count; j++) {
				if (copy.pages[j] != nullptr || copy.addrs[j].dir != 0)
					dsvm_env_violation("something behind the head of a piece");
			}
			copy_piece(copy, copy.pages[i], copy.addrs[i], count);
			i += count;
		}
	}

	// Pages that follow each other on both sides.
	void copy_piece(const dsvm_copy &copy, dsvm_os_page *page, const dsvm_dma_addr &addr,
			usize npages)
	{
		pieces_++;
		if (npages == 0)
			dsvm_env_violation("a piece of a copy that is empty");
		for (usize i = 0; i < npages; i++) {
			CopyStep step = {from_os(page) + i, addr, copy.to_ram != 0, copy.target};

			step.addr.addr += addr.dir != 0 ? i * kPageSize : 0;
			if (step.page->zdd != zdd_)
				dsvm_env_violation(
					"an allocation asked to copy another one's page");
			if (copy.to_ram && addr.dir == 0)
				dsvm_env_violation("a copy to nowhere");
			if (copy.done != nullptr)
				world_.add_to_fence(copy.done, step);
			else
				world_.copy_page(step);
		}
	}

	World &world_;
	const AllocationOptions options_;
	const usize first_pfn_;
	Zdd *zdd_;
	int made_ = 0;
	bool settled_ = false;
	bool detached_ = false;
	u32 frames_back_ = 0;
	u32 copies_ = 0;
	u32 pieces_ = 0;
	dsvm_devmem devmem_ = {};
};

} // namespace dsvm::fake

#endif // DSVM_KUNIT_FAKE_DEVICE_H
