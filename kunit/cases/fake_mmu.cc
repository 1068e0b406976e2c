// SPDX-License-Identifier: GPL-2.0-only OR MIT
//
// Cases for the fake machine: invalidations that take their time, device addresses, the zero
// page. What they check by themselves must be able to fail.

#include "kunit/case.h"
#include "kunit/fake/world.h"

using namespace dsvm;
using fake::Call;
using fake::Event;
using fake::World;

namespace {

constexpr usize page_address(u32 index)
{
	return fake::kBase + usize{index} * kPageSize;
}

// How many complaints a world has that `mess` happened in.
template <class Mess> u32 complaints(Mess mess)
{
	dsvm_env_expect_begin();
	{
		World world;

		world.set_iommu(true);
		mess(world);
	}
	return dsvm_env_expect_end();
}

// Four pages of RAM, and a window of device addresses for them.
struct Window {
	explicit Window(World &w) : world(w)
	{
		if (world.pages_in_use() == 0)
			world.populate(world.mm(), page_address(0), 4);
		DSVM_EXPECT(dsvm_os_iova_alloc(world.device(), page(0), 4 * kPageSize, &iova));
	}
	[[nodiscard]] dsvm_os_page *page(u32 index)
	{
		return fake::to_os(world.pte(world.mm(), page_address(index)).page);
	}
	int link(u32 index, dsvm_dma_dir dir = DSVM_DMA_TO_DEVICE)
	{
		return dsvm_os_iova_link(world.device(), &iova, page(index), 0, index * kPageSize,
					 dir);
	}
	void unlink(u32 index, u32 count = 1, dsvm_dma_dir dir = DSVM_DMA_TO_DEVICE)
	{
		dsvm_os_iova_unlink(world.device(), &iova, index * kPageSize, count * kPageSize,
				    dir);
	}
	void sync() { DSVM_EXPECT_EQ(dsvm_os_iova_sync(world.device(), &iova, iova.size), 0); }
	void free() { dsvm_os_iova_free(world.device(), &iova); }

	World &world;
	dsvm_iova iova = {};
};

// Publishes what it is told of, under a notifier lock, and notes it.
struct Listener {
	explicit Listener(World &w, bool flushes = false)
		: world(w), lock("notifier_lock", to_underlying(LockRank::kNotifier)),
		  wants_finish(flushes), os(add(w))
	{}
	~Listener() { dsvm_os_notifier_remove(os); }

	static bool start(World &, dsvm_os_notifier *notifier, const Event &event, void *arg)
	{
		Listener &self = *static_cast<Listener *>(arg);

		dsvm_os_write_lock(self.lock.get());
		dsvm_os_notifier_set_seq(notifier, event.seq);
		dsvm_os_write_unlock(self.lock.get());
		self.starts++;
		return self.wants_finish;
	}
	static void finish(World &, dsvm_os_notifier *, const Event &, void *arg)
	{
		static_cast<Listener *>(arg)->finishes++;
	}
	dsvm_os_notifier *add(World &w)
	{
		return w.add_notifier(w.mm(), page_address(0), page_address(8) - 1, start, this,
				      finish, lock.get());
	}

	World &world;
	cases::TestLock lock;
	bool wants_finish;
	dsvm_os_notifier *os;
	u32 starts = 0;
	u32 finishes = 0;
};

Event &begin(World &world, u32 page)
{
	return world.begin_event(world.mm(), page_address(page), page_address(page + 1) - 1);
}

} // namespace

DSVM_CASE(fake_mmu, device_addresses)
{
	World world;
	world.set_iommu(true);
	Window window(world);
	Window other(world);

	DSVM_EXPECT(window.iova.addr + window.iova.size <= other.iova.addr);
	other.free();
	DSVM_EXPECT_EQ(window.link(0), 0);
	DSVM_EXPECT_EQ(window.link(2), 0);
	window.sync();
	DSVM_EXPECT(fake::to_os(world.page_of_dma(window.iova.addr)) == window.page(0));
	DSVM_EXPECT(fake::to_os(world.page_of_dma(window.iova.addr + 2 * kPageSize)) ==
		    window.page(2));
	DSVM_EXPECT_EQ(world.iova_pages(), 2u);
	DSVM_EXPECT_EQ(world.dma_mappings(), 2u);
	window.unlink(0);
	window.unlink(2);
	DSVM_EXPECT_EQ(world.dma_mappings(), 0u);
	window.free();
	DSVM_EXPECT_EQ(world.iova_windows(), 0u);
	// Without an IOMMU there is none.
	dsvm_iova none = {};
	world.set_iommu(false);
	DSVM_EXPECT(!dsvm_os_iova_alloc(world.device(), window.page(0), kPageSize, &none));
}

DSVM_CASE(fake_mmu, misuse_of_device_addresses_is_found)
{
	// Never freed; freed with something in it.
	DSVM_EXPECT_EQ(complaints([](World &world) { Window window(world); }), 1u);
	DSVM_EXPECT(complaints([](World &world) {
			    Window window(world);
			    static_cast<void>(window.link(1));
			    window.free();
		    }) > 0);
	// Linked twice; unlinked twice, or too much; in another direction.
	DSVM_EXPECT(complaints([](World &world) {
			    Window window(world);
			    static_cast<void>(window.link(1));
			    static_cast<void>(window.link(1));
			    window.unlink(1);
			    window.free();
		    }) == 1);
	DSVM_EXPECT(complaints([](World &world) {
			    Window window(world);
			    static_cast<void>(window.link(1));
			    window.unlink(1, 2);
			    window.unlink(1);
			    window.free();
		    }) == 2);
	DSVM_EXPECT(complaints([](World &world) {
			    Window window(world);
			    static_cast<void>(window.link(1));
			    window.unlink(1, 1, DSVM_DMA_BIDIRECTIONAL);
			    window.free();
		    }) == 1);
	// Used before the sync, after the end, by another device.
	DSVM_EXPECT(complaints([](World &world) {
			    Window window(world);
			    static_cast<void>(window.link(1));
			    static_cast<void>(world.page_of_dma(window.iova.addr + kPageSize));
			    window.unlink(1);
			    static_cast<void>(world.page_of_dma(window.iova.addr + kPageSize));
			    window.free();
		    }) == 2);
	DSVM_EXPECT(complaints([](World &world) {
			    Window window(world);
			    dsvm_os_iova_free(world.device(1), &window.iova);
			    window.free();
			    window.free();
		    }) == 2);
}

DSVM_CASE(fake_mmu, mapping_for_writing)
{
	// What no CPU may write, and the zero page.
	DSVM_EXPECT(complaints([](World &world) {
			    Window window(world);
			    world.pte(world.mm(), page_address(1)).writable = false;
			    static_cast<void>(window.link(1, DSVM_DMA_BIDIRECTIONAL));
			    window.unlink(1, 1, DSVM_DMA_BIDIRECTIONAL);
			    window.free();
		    }) == 1);
	DSVM_EXPECT(complaints([](World &world) {
			    world.set_zero_page(true);
			    fake::Page *const zero = world.zero_page();
			    world.set_pte(world.pte(world.mm(), page_address(9)),
					  fake::PteKind::kPresent, zero, fake::Writable::Yes);
			    dsvm_dma_addr addr;
			    static_cast<void>(dsvm_os_dma_map(world.device(), fake::to_os(zero), 0,
							      DSVM_DMA_BIDIRECTIONAL, &addr));
			    dsvm_os_dma_unmap(world.device(), &addr);
			    world.mark_dirty(zero);
			    world.put_page(zero);
		    }) == 2);
	// Unmapped for a device that does not have it.
	DSVM_EXPECT(complaints([](World &world) {
			    Window window(world);
			    dsvm_dma_addr addr;
			    static_cast<void>(dsvm_os_dma_map(world.device(1), window.page(0), 0,
							      DSVM_DMA_TO_DEVICE, &addr));
			    dsvm_os_dma_unmap(world.device(0), &addr);
			    window.free();
		    }) == 1);
}

// Overlapping events share a number, and all of them have to end.
DSVM_CASE(fake_mmu, sequence_of_running_events)
{
	World world;
	Listener listener(world);
	const usize before = dsvm_os_notifier_read_begin(listener.os);

	Event &first = begin(world, 1);
	Event &second = begin(world, 2);
	DSVM_EXPECT_EQ(first.seq, second.seq);
	DSVM_EXPECT(dsvm_os_notifier_read_retry(listener.os, before));
	world.end_event(first);
	dsvm_env_expect_begin();
	static_cast<void>(dsvm_os_notifier_read_begin(listener.os));
	DSVM_EXPECT_EQ(dsvm_env_expect_end(), 1u);
	DSVM_EXPECT_EQ(world.awaited_seq(), second.seq);
	const usize seq = second.seq;
	world.end_event(second);
	DSVM_EXPECT_EQ(dsvm_os_notifier_read_begin(listener.os), seq);
	DSVM_EXPECT_EQ(listener.starts, 2u);
	// Of what nobody hears of the number does not change.
	Event &far = begin(world, 100);
	DSVM_EXPECT_EQ(far.seq & 1, 0u);
	world.end_event(far);
	DSVM_EXPECT_EQ(dsvm_os_notifier_read_begin(listener.os), seq);
}

DSVM_CASE(fake_mmu, event_that_does_not_end)
{
	DSVM_EXPECT_EQ(complaints([](World &world) { world.end_event(begin(world, 1)); }), 0u);
	DSVM_EXPECT(complaints([](World &world) { begin(world, 1); }) > 0);
	DSVM_EXPECT(complaints([](World &world) {
			    Event &event = begin(world, 1);

			    world.end_event(event);
			    world.end_event(event);
		    }) > 0);
}

// A notifier that comes while an event runs does not hear of the next one either, and whoever
// begins to read with it waits for both.
DSVM_CASE(fake_mmu, notifier_made_while_an_event_runs)
{
	World world;
	Listener early(world);
	Event &first = begin(world, 1);
	Listener late(world);
	Event &second = begin(world, 2);

	DSVM_EXPECT_EQ(late.starts, 0u);
	DSVM_EXPECT_EQ(early.starts, 2u);
	dsvm_env_expect_begin();
	static_cast<void>(dsvm_os_notifier_read_begin(late.os));
	DSVM_EXPECT_EQ(dsvm_env_expect_end(), 1u);
	world.end_event(first);
	world.end_event(second);
	static_cast<void>(dsvm_os_notifier_read_begin(late.os));
	world.end_event(begin(world, 1));
	DSVM_EXPECT_EQ(late.starts, 1u);
}

DSVM_CASE(fake_mmu, two_passes)
{
	World world;
	Listener first(world, true);
	Listener second(world, true);

	world.set_two_passes(true);
	world.at(
		Call::kInvalidateStarted, 1,
		[](World &, void *arg) {
			const Listener &self = *static_cast<Listener *>(arg);

			DSVM_EXPECT_EQ(self.starts, 1u);
			DSVM_EXPECT_EQ(self.finishes, 0u);
		},
		&first);
	Event &event = begin(world, 1);
	DSVM_EXPECT_EQ(first.finishes, 1u);
	DSVM_EXPECT_EQ(second.starts, 1u);
	DSVM_EXPECT_EQ(second.finishes, 1u);
	world.end_event(event);
	first.wants_finish = false;
	world.end_event(begin(world, 1));
	DSVM_EXPECT_EQ(first.finishes, 1u);
	DSVM_EXPECT_EQ(second.finishes, 2u);
	// A kernel without a second pass has none to offer.
	world.set_two_passes(false);
	dsvm_env_expect_begin();
	world.end_event(begin(world, 1));
	DSVM_EXPECT_EQ(dsvm_env_expect_end(), 1u);
}

// One that is in no tree hears of what is published to it, and of nothing else; if that is not
// what has met the span, its entries are stale all the same.
DSVM_CASE(fake_mmu, stand_ins)
{
	World world;
	Listener listener(world);
	fake::Notifier stand_in = {};
	dsvm_hmm_request request = {};
	dsvm_page_desc desc;
	usize entry = 0;

	stand_in.mm = &world.mm();
	stand_in.lock = listener.lock.get();
	stand_in.seq = 1;
	world.add_vma(world.mm(), page_address(0), page_address(8) - 1);
	world.populate(world.mm(), page_address(0), 8);
	request.mm = world.os_mm();
	request.notifier = fake::to_os(&stand_in);
	request.first = page_address(1);
	request.last = page_address(2) - 1;
	request.entries = &entry;
	for (u32 page = 0; page < 3; page++) {
		entry = 0;
		request.seq = dsvm_os_notifier_read_begin(request.notifier);
		DSVM_REQUIRE_EQ(dsvm_os_hmm_fault(&request), 0);
		world.end_event(begin(world, page));
		DSVM_EXPECT(!dsvm_os_notifier_read_retry(request.notifier, request.seq));
		dsvm_os_read_lock(listener.lock.get());
		dsvm_env_expect_begin();
		dsvm_os_hmm_decode(entry, &desc);
		DSVM_EXPECT_EQ(dsvm_env_expect_end(), page == 1 ? 1u : 0u);
		dsvm_os_read_unlock(listener.lock.get());
	}
	// What is published to it is noticed by a walk, and waited for.
	Event &running = begin(world, 1);
	dsvm_os_write_lock(listener.lock.get());
	dsvm_os_notifier_set_seq(request.notifier, running.seq);
	dsvm_os_write_unlock(listener.lock.get());
	entry = 0;
	DSVM_EXPECT_EQ(dsvm_os_hmm_fault(&request), -DSVM_EBUSY);
	dsvm_env_expect_begin();
	static_cast<void>(dsvm_os_notifier_read_begin(request.notifier));
	DSVM_EXPECT_EQ(dsvm_env_expect_end(), 1u);
	world.end_event(running);
	static_cast<void>(dsvm_os_notifier_read_begin(request.notifier));
	// Under the lock that is said to guard it, and no other.
	cases::TestLock another("another", to_underlying(LockRank::kWindow));
	dsvm_os_write_lock(another.get());
	dsvm_env_expect_begin();
	static_cast<void>(dsvm_os_notifier_seq(request.notifier));
	dsvm_os_notifier_set_seq(request.notifier, 1);
	DSVM_EXPECT_EQ(dsvm_env_expect_end(), 2u);
	dsvm_os_write_unlock(another.get());
}

DSVM_CASE(fake_mmu, zero_page_and_pagemaps)
{
	World world;
	dsvm_hmm_request request = {};
	usize entries[2] = {};

	world.set_zero_page(true);
	world.add_vma(world.mm(), page_address(0), page_address(2) - 1);
	request.mm = world.os_mm();
	request.notifier = world.add_notifier(world.mm(), page_address(0), page_address(2) - 1,
					      nullptr, nullptr);
	request.first = page_address(0);
	request.last = page_address(2) - 1;
	request.fault = true;
	request.entries = entries;
	request.seq = dsvm_os_notifier_read_begin(request.notifier);
	DSVM_REQUIRE_EQ(dsvm_os_hmm_fault(&request), 0);
	DSVM_EXPECT(world.is_zero_page(world.pte(world.mm(), page_address(0)).page));
	DSVM_EXPECT(world.pte(world.mm(), page_address(0)).page ==
		    world.pte(world.mm(), page_address(1)).page);
	DSVM_EXPECT(dsvm_os_hmm_pagemap(entries[0]) == nullptr);
	// A write breaks it.
	request.write = true;
	entries[0] = entries[1] = 0;
	DSVM_REQUIRE_EQ(dsvm_os_hmm_fault(&request), -DSVM_EBUSY);
	DSVM_EXPECT(!world.is_zero_page(world.pte(world.mm(), page_address(0)).page));
	DSVM_EXPECT(world.pte(world.mm(), page_address(0)).writable);
	// Each provider's frames are one device memory.
	const usize half = fake::kDevicePages / fake::kProviders;
	DSVM_EXPECT(world.pagemap_of(world.page_of_pfn(fake::kDevicePfn)) == world.pagemap(0));
	DSVM_EXPECT(world.pagemap_of(world.page_of_pfn(fake::kDevicePfn + half)) ==
		    world.pagemap(1));
	DSVM_EXPECT(world.pagemap(0) != world.pagemap(1));
	dsvm_os_notifier_remove(request.notifier);
}
