// SPDX-License-Identifier: GPL-2.0-only OR MIT
//
// Cases for the fake machine: its balance checks must be able to fail, and its hooks
// and failures must come where they were asked for.

#include "core/migrate/entry.h"
#include "kunit/case.h"
#include "kunit/fake/world.h"

using namespace dsvm;
using fake::Call;
using fake::PteKind;
using fake::World;

namespace {

constexpr usize fake_page(u32 index)
{
	return fake::kBase + usize{index} * kPageSize;
}

// What is left over in a world in which `mess` happened.
template <class Mess> u32 leftovers(Mess mess)
{
	dsvm_env_expect_begin();
	{
		World world;
		mess(world);
	}
	return dsvm_env_expect_end();
}

void count_hook(World &, void *arg)
{
	(*static_cast<u32 *>(arg))++;
}

} // namespace

DSVM_CASE(fake, balance_finds_leftovers)
{
	DSVM_EXPECT_EQ(leftovers([](World &world) { world.populate(world.mm(), fake_page(0), 9); }),
		       0u);
	DSVM_EXPECT(leftovers([](World &world) { static_cast<void>(world.alloc_ram()); }) > 0);
	DSVM_EXPECT(leftovers([](World &world) {
			    world.populate(world.mm(), fake_page(0), 1);
			    world.get_page(world.pte(world.mm(), fake_page(0)).page);
		    }) > 0);
	DSVM_EXPECT(leftovers([](World &world) {
			    world.lock_page(world.page_of_pfn(fake::kRamPfn));
		    }) > 0);
	DSVM_EXPECT(leftovers([](World &world) {
			    static_cast<void>(dsvm_os_mm_get(world.os_mm()));
		    }) > 0);
	DSVM_EXPECT(leftovers([](World &world) { dsvm_os_provider_get(world.provider()); }) > 0);
	DSVM_EXPECT(leftovers([](World &world) {
			    static_cast<void>(
				    world.make_zdd(world.provider(), nullptr, nullptr, nullptr));
		    }) > 0);
	DSVM_EXPECT(leftovers([](World &world) {
			    dsvm_dma_addr addr;
			    world.populate(world.mm(), fake_page(0), 1);
			    static_cast<void>(dsvm_os_dma_map(
				    world.device(),
				    fake::to_os(world.pte(world.mm(), fake_page(0)).page), 0,
				    DSVM_DMA_TO_DEVICE, &addr));
		    }) > 0);
	DSVM_EXPECT(leftovers([](World &world) { dsvm_os_mm_read_lock(world.os_mm()); }) > 0);
}

DSVM_CASE(fake, misuse_is_found)
{
	DSVM_EXPECT(leftovers([](World &world) {
			    world.put_page(world.page_of_pfn(fake::kRamPfn));
		    }) > 0);
	DSVM_EXPECT(leftovers([](World &world) {
			    dsvm_vma_info info;
			    static_cast<void>(dsvm_os_vma_at(world.os_mm(), fake_page(0), &info));
		    }) > 0);
	DSVM_EXPECT(leftovers([](World &world) {
			    fake::Page *const page = world.alloc_ram();
			    dsvm_dma_addr addr;
			    static_cast<void>(dsvm_os_dma_map(world.device(), fake::to_os(page), 0,
							      DSVM_DMA_TO_DEVICE, &addr));
			    dsvm_os_dma_unmap(world.device(), &addr);
			    dsvm_os_dma_unmap(world.device(), &addr);
			    world.put_page(page);
		    }) > 0);
	DSVM_EXPECT(leftovers([](World &world) {
			    dsvm_os_notifier *const n = world.add_notifier(
				    world.mm(), fake_page(0), fake_page(1) - 1,
				    [](World &, dsvm_os_notifier *, const fake::Event &, void *) {
					    return false;
				    },
				    nullptr);
			    // The callback forgets to publish the sequence.
			    world.invalidate(world.mm(), fake_page(0), fake_page(1) - 1);
			    dsvm_os_notifier_remove(n);
		    }) > 0);
}

DSVM_CASE(fake, hooks_and_failures_are_exact)
{
	World world;
	u32 ran = 0;

	world.at(Call::kMmGet, 2, count_hook, &ran);
	world.fail(Call::kMmGet, 3, -1);
	DSVM_EXPECT(dsvm_os_mm_get(world.os_mm()));
	DSVM_EXPECT_EQ(ran, 0u);
	DSVM_EXPECT(dsvm_os_mm_get(world.os_mm()));
	DSVM_EXPECT_EQ(ran, 1u);
	DSVM_EXPECT(!dsvm_os_mm_get(world.os_mm()));
	DSVM_EXPECT_EQ(world.calls(Call::kMmGet), 3u);
	dsvm_os_mm_put_async(world.os_mm());
	dsvm_os_mm_put_async(world.os_mm());
	DSVM_EXPECT_EQ(ran, 1u);
}

DSVM_CASE(fake, invalidation_moves_the_sequence)
{
	World world;
	dsvm_os_notifier *const notifier =
		world.add_notifier(world.mm(), fake_page(4), fake_page(8) - 1, nullptr, nullptr);
	const usize seq = dsvm_os_notifier_read_begin(notifier);

	world.invalidate(world.mm(), fake_page(0), fake_page(4) - 1);
	DSVM_EXPECT(!dsvm_os_notifier_read_retry(notifier, seq));
	world.invalidate(world.mm(), fake_page(0), fake_page(4));
	DSVM_EXPECT(dsvm_os_notifier_read_retry(notifier, seq));
	dsvm_os_notifier_remove(notifier);
}

DSVM_CASE(fake, hmm_contract)
{
	World world;
	usize entries[4] = {};
	dsvm_hmm_request request = {};
	fake::Vma &vma = world.add_vma(world.mm(), fake_page(0), fake_page(4) - 1);

	request.mm = world.os_mm();
	request.notifier =
		world.add_notifier(world.mm(), fake_page(0), fake_page(8) - 1, nullptr, nullptr);
	request.first = fake_page(0);
	request.last = fake_page(4) - 1;
	request.entries = entries;
	request.seq = dsvm_os_notifier_read_begin(request.notifier);
	world.populate(world.mm(), fake_page(1), 1);
	// A look leaves holes alone.
	DSVM_REQUIRE_EQ(dsvm_os_hmm_fault(&request), 0);
	DSVM_EXPECT(dsvm_os_hmm_kind(entries[0]) == DSVM_PAGE_NONE);
	DSVM_EXPECT(dsvm_os_hmm_kind(entries[1]) == DSVM_PAGE_SYSTEM);
	// A fault fills them; for writing, not where the VMA forbids it.
	request.fault = true;
	for (usize &entry : entries)
		entry = 0;
	DSVM_REQUIRE_EQ(dsvm_os_hmm_fault(&request), 0);
	DSVM_EXPECT(dsvm_os_hmm_kind(entries[3]) == DSVM_PAGE_SYSTEM);
	vma.writable = false;
	request.write = true;
	for (usize &entry : entries)
		entry = 0;
	DSVM_EXPECT_EQ(dsvm_os_hmm_fault(&request), -DSVM_EPERM);
	vma.writable = true;
	// Invalidated since: again.
	world.invalidate(world.mm(), fake_page(2), fake_page(3) - 1);
	for (usize &entry : entries)
		entry = 0;
	DSVM_EXPECT_EQ(dsvm_os_hmm_fault(&request), -DSVM_EBUSY);
	dsvm_os_notifier_remove(request.notifier);
}

DSVM_CASE(fake, fork_copies_on_write)
{
	World world;
	usize entry = 0;
	dsvm_hmm_request request = {};

	world.add_vma(world.mm(0), fake_page(0), fake_page(1) - 1);
	world.populate(world.mm(0), fake_page(0), 1);
	world.share(world.mm(0), world.mm(1));
	DSVM_EXPECT(world.pte(world.mm(0), fake_page(0)).page ==
		    world.pte(world.mm(1), fake_page(0)).page);
	request.mm = world.os_mm(1);
	request.notifier =
		world.add_notifier(world.mm(1), fake_page(0), fake_page(1) - 1, nullptr, nullptr);
	request.first = fake_page(0);
	request.last = fake_page(1) - 1;
	request.fault = true;
	request.write = true;
	request.entries = &entry;
	request.seq = dsvm_os_notifier_read_begin(request.notifier);
	// The copy takes the place of what others may have looked at: begin again.
	DSVM_EXPECT_EQ(dsvm_os_hmm_fault(&request), -DSVM_EBUSY);
	request.seq = dsvm_os_notifier_read_begin(request.notifier);
	entry = 0;
	DSVM_EXPECT_EQ(dsvm_os_hmm_fault(&request), 0);
	DSVM_EXPECT(world.pte(world.mm(0), fake_page(0)).page !=
		    world.pte(world.mm(1), fake_page(0)).page);
	DSVM_EXPECT_EQ(world.read(world.mm(1), fake_page(0)), fake_page(0));
	dsvm_os_notifier_remove(request.notifier);
}

DSVM_CASE(fake, entries_are_decoded_in_time)
{
	World world;
	cases::TestLock lock("notifier_lock", to_underlying(LockRank::kNotifier));
	dsvm_hmm_request request = {};
	dsvm_page_desc desc;
	usize entry = 0;

	world.add_vma(world.mm(), fake_page(0), fake_page(1) - 1);
	world.populate(world.mm(), fake_page(0), 1);
	request.mm = world.os_mm();
	request.notifier =
		world.add_notifier(world.mm(), fake_page(0), fake_page(1) - 1, nullptr, nullptr);
	request.first = fake_page(0);
	request.last = fake_page(1) - 1;
	request.entries = &entry;
	request.seq = dsvm_os_notifier_read_begin(request.notifier);
	DSVM_REQUIRE_EQ(dsvm_os_hmm_fault(&request), 0);
	const usize old = entry;
	dsvm_os_read_lock(lock.get());
	dsvm_os_hmm_decode(entry, &desc);
	dsvm_os_read_unlock(lock.get());
	DSVM_EXPECT(desc.kind == DSVM_PAGE_SYSTEM && desc.writable);
	DSVM_EXPECT(desc.page == fake::to_os(world.pte(world.mm(), fake_page(0)).page));

	// Without the lock; and after an invalidation, also one that was had before another one.
	dsvm_env_expect_begin();
	dsvm_os_hmm_decode(entry, &desc);
	DSVM_EXPECT_EQ(dsvm_env_expect_end(), 1u);
	entry = 0;
	DSVM_REQUIRE_EQ(dsvm_os_hmm_fault(&request), 0);
	dsvm_os_read_lock(lock.get());
	dsvm_os_hmm_decode(old, &desc);
	dsvm_os_read_unlock(lock.get());
	DSVM_EXPECT(desc.kind == DSVM_PAGE_SYSTEM);
	world.unmap(world.mm(), fake_page(0), fake_page(1) - 1);
	dsvm_os_read_lock(lock.get());
	dsvm_env_expect_begin();
	dsvm_os_hmm_decode(entry, &desc);
	dsvm_os_hmm_decode(old, &desc);
	DSVM_EXPECT_EQ(dsvm_env_expect_end(), 2u);
	dsvm_os_read_unlock(lock.get());
	// The kind can be had all the same.
	DSVM_EXPECT(dsvm_os_hmm_kind(old) == DSVM_PAGE_SYSTEM);
	dsvm_os_notifier_remove(request.notifier);
}

DSVM_CASE(fake, retired_pages)
{
	World world;
	dsvm_migrate_entry entry;
	fake::Zdd *const zdd = world.make_zdd(world.provider(), nullptr, nullptr, nullptr);
	dsvm_os_page *page = dsvm_os_page_init_device(fake::kDevicePfn, fake::to_os(zdd), 0);
	const usize src = make_entry(fake::kDevicePfn, 0);

	DSVM_EXPECT(!fake::from_os(page)->retired);
	dsvm_os_entries_retire(&src, 1);
	DSVM_EXPECT(fake::from_os(page)->retired);
	// Twice; not locked; free; RAM.
	dsvm_env_expect_begin();
	dsvm_os_entries_retire(&src, 1);
	DSVM_EXPECT_EQ(dsvm_env_expect_end(), 1u);
	dsvm_os_page_discard(page);
	dsvm_env_expect_begin();
	dsvm_os_entries_retire(&src, 1);
	DSVM_EXPECT_EQ(dsvm_env_expect_end(), 2u);
	page = dsvm_os_page_init_device(fake::kDevicePfn, fake::to_os(zdd), 0);
	DSVM_EXPECT(!fake::from_os(page)->retired);
	world.unlock_page(fake::from_os(page));
	dsvm_env_expect_begin();
	dsvm_os_entries_retire(&src, 1);
	DSVM_EXPECT_EQ(dsvm_env_expect_end(), 1u);
	world.put_page(fake::from_os(page));
	const usize ram = dsvm_os_entry_alloc(nullptr, 0, 0);
	page = dsvm_os_migrate_page(ram);
	dsvm_env_expect_begin();
	dsvm_os_entries_retire(&ram, 1);
	DSVM_EXPECT_EQ(dsvm_env_expect_end(), 1u);
	fake::from_os(page)->retired = false;
	dsvm_os_migrate_decode(ram, &entry);
	DSVM_EXPECT(entry.is_ram && !entry.retired);
	dsvm_os_page_discard(page);
	world.zdd_put(zdd);
}

DSVM_CASE(fake, exit_in_two_steps)
{
	World world;

	world.populate(world.mm(), fake_page(0), 4);
	// Somebody else has a user: that one begins it, and leaves it to others.
	DSVM_EXPECT(dsvm_os_mm_get(world.os_mm()));
	world.exit(world.mm());
	DSVM_EXPECT(!world.mm().exiting);
	dsvm_os_mm_put_async(world.os_mm());
	DSVM_EXPECT(world.mm().exiting);
	DSVM_EXPECT(!dsvm_os_mm_get(world.os_mm()));
	DSVM_EXPECT_EQ(world.pages_in_use(), 4u);
	world.finish_exit(world.mm());
	DSVM_EXPECT(!world.mm().exiting);
	DSVM_EXPECT_EQ(world.pages_in_use(), 0u);
	dsvm_env_expect_begin();
	dsvm_os_mm_put_async(world.os_mm());
	DSVM_EXPECT_EQ(dsvm_env_expect_end(), 1u);
}

DSVM_CASE(fake, walks_keep_the_mm)
{
	World world;
	usize src = fake::kDevicePfn;
	usize dst = 0;
	dsvm_migrate_span span = {};
	fake::Zdd *const zdd = world.make_zdd(world.provider(), nullptr, nullptr, nullptr);
	dsvm_os_page *const page = dsvm_os_page_init_device(fake::kDevicePfn, fake::to_os(zdd), 0);

	world.set_pte(world.pte(world.mm(), fake_page(0)), PteKind::kDevice, fake::from_os(page),
		      fake::Writable::Yes);
	dsvm_os_page_discard(page);
	world.zdd_put(zdd);
	span.npages = 1;
	span.src = &src;
	span.dst = &dst;
	DSVM_EXPECT(dsvm_os_mm_get(world.os_mm()));
	// Its mappings may go.
	dsvm_env_expect_begin();
	DSVM_EXPECT_EQ(dsvm_os_migrate_device_setup(&span), 0);
	dsvm_os_migrate_device_finalize(&span);
	DSVM_EXPECT_EQ(dsvm_env_expect_end(), 2u);
	src = fake::kDevicePfn;
	DSVM_EXPECT(dsvm_os_mm_read_trylock(world.os_mm()));
	DSVM_EXPECT_EQ(dsvm_os_migrate_device_setup(&span), 0);
	dsvm_os_mm_read_unlock(world.os_mm());
	dsvm_os_mm_put_async(world.os_mm());
	// Given up too early, with a living owner and with one that is exiting.
	dsvm_env_expect_begin();
	dsvm_os_migrate_device_finalize(&span);
	DSVM_EXPECT_EQ(dsvm_env_expect_end(), 1u);
	src = fake::kDevicePfn;
	world.begin_exit(world.mm());
	dsvm_env_expect_begin();
	DSVM_EXPECT_EQ(dsvm_os_migrate_device_setup(&span), 0);
	DSVM_EXPECT_EQ(dsvm_env_expect_end(), 1u);
	// Nobody's any more.
	world.finish_exit(world.mm());
	dsvm_os_migrate_device_finalize(&span);
	DSVM_EXPECT_EQ(world.pages_in_use(), 0u);
}

DSVM_CASE(fake, devices_with_limits)
{
	World world;
	dsvm_dma_addr addr = {};
	fake::Page *const page = world.alloc_ram(4, 4);

	world.set_max_dma_order(1);
	DSVM_EXPECT_EQ(
		dsvm_os_dma_map(world.device(), fake::to_os(page), 2, DSVM_DMA_TO_DEVICE, &addr),
		-DSVM_EFAULT);
	DSVM_EXPECT_EQ(world.dma_mappings(), 0u);
	DSVM_EXPECT_EQ(
		dsvm_os_dma_map(world.device(), fake::to_os(page), 1, DSVM_DMA_TO_DEVICE, &addr),
		0);
	DSVM_EXPECT(!dsvm_os_dma_needs_sync(world.device(), &addr));
	world.set_needs_sync(true);
	DSVM_EXPECT(dsvm_os_dma_needs_sync(world.device(), &addr));
	dsvm_os_dma_unmap(world.device(), &addr);
	dsvm_env_expect_begin();
	static_cast<void>(dsvm_os_dma_needs_sync(world.device(), &addr));
	DSVM_EXPECT_EQ(dsvm_env_expect_end(), 1u);
	for (u32 i = 0; i < 4; i++)
		world.put_page(&page[i]);
}
