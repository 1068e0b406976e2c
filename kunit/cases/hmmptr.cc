// SPDX-License-Identifier: GPL-2.0-only OR MIT
//
// Cases for core/svm/hmmptr: which pieces there are, what is known of each, and what the kernel is
// told. For what invalidations do see hmmptr_good.cc.

#include "kunit/case.h"
#include "kunit/cases/hmmptr_scene.h"
#include "kunit/cases/sixteen.h"

using namespace dsvm;
using namespace dsvm::cases;
using fake::PteKind;
using fake::Writable;

namespace {

constexpr VaRange kNoSpans[] = {
	{at_page(1), at_page(1) - 1}, {at_page(1) + 1, end_of_page(1)}, {at_page(1), at_page(2)}};

// Sixteen pages of RAM, and a hmmptr over them.
struct OneHmmptr : HmmptrScene {
	explicit OneHmmptr(const HmmptrOptions &options = {}) : held(prepare(options)) {}

	Held &held;

private:
	Held &prepare(const HmmptrOptions &options)
	{
		world.add_vma(world.mm(), at_page(0), end_of_page(15));
		world.populate(world.mm(), at_page(0), 16);
		return make(0, 16, options);
	}
};

// Puts `count` pages of a device there, of `owner`'s.
void put_on_device(HmmptrScene &s, u32 first, u32 count, u32 provider, void *owner)
{
	constexpr u32 kFrames = fake::kDevicePages / fake::kProviders;
	fake::Zdd *const zdd =
		s.world.make_zdd(s.world.provider(provider), owner, nullptr, nullptr);

	s.world.unmap(s.world.mm(), at_page(first), end_of_page(first + count - 1));
	s.world.add_vma(s.world.mm(), at_page(first), end_of_page(first + count - 1));
	for (u32 i = first; i < first + count; i++) {
		dsvm_os_page *const page = dsvm_os_page_init_device(
			fake::kDevicePfn + provider * kFrames + i, fake::to_os(zdd), 0);
		fake::from_os(page)->content = 1000 + i;
		s.world.set_pte(s.world.pte(s.world.mm(), at_page(i)), PteKind::kDevice,
				fake::from_os(page), Writable::Yes);
		dsvm_os_page_discard(page);
	}
	s.world.zdd_put(zdd);
}

u32 marks_of(HmmptrScene &s, u32 page)
{
	const fake::Page &what = *s.world.pte(s.world.mm(), at_page(page)).page;

	return what.dirtied * 100 + what.accessed;
}

} // namespace

DSVM_CASE(hmmptr, made_over_no_span)
{
	HmmptrScene s;

	for (const VaRange &span : kNoSpans) {
		dsvm_hmmptr hmmptr = {};
		hmmptr.set = &s.set;
		hmmptr.window.node.first = span.first;
		hmmptr.window.node.last = span.last;
		DSVM_EXPECT_EQ(dsvm_hmmptr_init(&hmmptr), -DSVM_EINVAL);
	}
}

DSVM_CASE(hmmptr, life)
{
	OneHmmptr s;

	// Calls with spans that are none of its own.
	for (const VaRange &span : kNoSpans) {
		DSVM_EXPECT_EQ(
			dsvm_hmmptr_populate(&s.held.base, span.first, span.last, DSVM_ACCESS_READ),
			-DSVM_EINVAL);
		DSVM_EXPECT_EQ(dsvm_hmmptr_map(&s.held.base, span.first, span.last), -DSVM_EINVAL);
		DSVM_EXPECT_EQ(dsvm_hmmptr_get_pages(&s.held.base, span.first, span.last,
						     DSVM_ACCESS_READ),
			       -DSVM_EINVAL);
	}
	DSVM_EXPECT_EQ(s.populate(s.held, 15, 2), -DSVM_EINVAL);
	s.inject(s.held, 15, 2);
	DSVM_EXPECT_EQ(s.set.injected, 0u);
	DSVM_EXPECT_EQ(s.get_pages(s.held, 0, 16), 0);
	DSVM_EXPECT(s.bind_pages(s.held, 0, 16));
	DSVM_EXPECT_EQ(s.world.dma_mappings(), 16u);

	// Released, and still referenced: nothing is to be had from it.
	s.held.refs++;
	s.release(s.held);
	DSVM_EXPECT_EQ(s.world.dma_mappings(), 0u);
	DSVM_EXPECT_EQ(s.pieces, 0u);
	DSVM_EXPECT_EQ(s.populate(s.held, 0, 1), -DSVM_ENODEV);
	DSVM_EXPECT_EQ(s.map(s.held, 0, 1), -DSVM_ENODEV);
	DSVM_EXPECT_EQ(s.get_pages(s.held, 0, 1), -DSVM_ENODEV);
	DSVM_EXPECT(!s.is_valid(s.held, 0, 1));
	destroy_at<GpuTable>(s.held.gpu);
	dsvm_backend_free(s.held.gpu);
	dsvm_backend_free(&s.held);
}

DSVM_CASE(hmmptr, step_by_step)
{
	OneHmmptr s;

	DSVM_EXPECT_EQ(s.map(s.held, 4, 4), -DSVM_EAGAIN);
	DSVM_EXPECT_EQ(s.populate(s.held, 4, 4), 0);
	DSVM_EXPECT_EQ(s.held.base.populated, 4 * kPageSize);
	DSVM_EXPECT_EQ(s.world.dma_mappings(), 0u);
	DSVM_EXPECT(!s.is_valid(s.held, 4, 4));
	DSVM_EXPECT(!s.bind_pages(s.held, 4, 4));
	DSVM_EXPECT_EQ(s.map(s.held, 4, 5), -DSVM_EAGAIN);
	DSVM_EXPECT_EQ(s.world.dma_mappings(), 0u);
	DSVM_EXPECT_EQ(s.map(s.held, 4, 4), 0);
	DSVM_EXPECT(s.is_valid(s.held, 4, 4));
	DSVM_EXPECT(s.is_valid(s.held, 5, 2));
	DSVM_EXPECT(!s.is_valid(s.held, 3, 2));
	DSVM_EXPECT(!s.is_valid(s.held, 7, 2));
	DSVM_EXPECT(s.bind_pages(s.held, 4, 4));
	DSVM_EXPECT_EQ(s.bound(s.held, 0, 16), 4u);
	// What is there is not looked at again.
	const u32 looks = s.world.calls(Call::kHmmFault);
	DSVM_EXPECT_EQ(s.populate(s.held, 5, 2), 0);
	DSVM_EXPECT_EQ(s.get_pages(s.held, 4, 4), 0);
	DSVM_EXPECT_EQ(s.world.calls(Call::kHmmFault), looks);
	DSVM_EXPECT_EQ(s.pieces_of(s.held), 1u);
	DSVM_EXPECT(s.is_sound(s.held));
}

// The gaps of what is asked for become pieces, each with a validity of its own.
DSVM_CASE(hmmptr, pieces_and_gaps)
{
	OneHmmptr s;

	DSVM_REQUIRE_EQ(s.get_pages(s.held, 4, 2), 0);
	DSVM_REQUIRE_EQ(s.get_pages(s.held, 8, 2), 0);
	DSVM_REQUIRE_EQ(s.get_pages(s.held, 2, 10), 0);
	DSVM_EXPECT_EQ(s.pieces_of(s.held), 5u);
	DSVM_EXPECT_EQ(s.held.base.populated, 10 * kPageSize);
	DSVM_EXPECT(s.bind_pages(s.held, 2, 10));
	DSVM_REQUIRE_EQ(s.bound(s.held, 2, 10), 10u);

	s.world.invalidate(s.world.mm(), at_page(5), end_of_page(6));
	DSVM_EXPECT_EQ(s.zap_first, at_page(4));
	DSVM_EXPECT_EQ(s.zap_last, end_of_page(7));
	DSVM_EXPECT(s.is_valid(s.held, 2, 2));
	DSVM_EXPECT(!s.is_valid(s.held, 4, 1));
	DSVM_EXPECT(s.is_valid(s.held, 8, 4));
	// One that is populated again does not vouch for the other.
	DSVM_EXPECT_EQ(s.populate(s.held, 4, 1), 0);
	DSVM_EXPECT_EQ(s.map(s.held, 2, 10), -DSVM_EAGAIN);
	DSVM_EXPECT_EQ(s.map(s.held, 4, 2), 0);
	DSVM_EXPECT_EQ(s.map(s.held, 6, 1), -DSVM_EAGAIN);
	DSVM_EXPECT(s.is_valid(s.held, 2, 4));
	DSVM_EXPECT(!s.is_valid(s.held, 6, 2));
	DSVM_EXPECT(s.is_sound(s.held));
}

DSVM_CASE(hmmptr, blocks)
{
	HmmptrScene s;

	s.world.add_vma(s.world.mm(), at_page(0), end_of_page(1023));
	Held &held = s.make(0, 1024);
	DSVM_REQUIRE_EQ(s.get_pages(held, 510, 4), 0);
	DSVM_EXPECT_EQ(s.pieces_of(held), 2u);
	DSVM_REQUIRE_EQ(s.get_pages(held, 0, 1024), 0);
	DSVM_EXPECT_EQ(s.pieces_of(held), 4u);
	DSVM_EXPECT(s.is_sound(held));
	DSVM_EXPECT(s.bind_pages(held, 0, 1024));
	DSVM_EXPECT_EQ(s.bound(held, 0, 1024), 1024u);
}

// What is known grows with what is populated, and not with the span.
DSVM_CASE(hmmptr, large_and_sparse)
{
	OneHmmptr s;
	dsvm_hmmptr &base = s.held.base;
	const u64 before = dsvm_env_outstanding();

	// A terabyte.
	base.window.node.last = base.window.node.first + ((1ull << 40) - 1);
	DSVM_EXPECT_EQ(s.get_pages(s.held, 3, 1), 0);
	DSVM_EXPECT_EQ(base.populated, kPageSize);
	// A piece, with room for a mapping, and its entries.
	DSVM_EXPECT_EQ(dsvm_env_outstanding(), before + 2);
	s.unmap(s.held, 0, 16, true);
	DSVM_EXPECT_EQ(dsvm_env_outstanding(), before);
}

DSVM_CASE(hmmptr, runs)
{
	HmmptrScene s;
	dsvm_hmmptr_cursor run = {};

	s.world.add_vma(s.world.mm(), at_page(0), end_of_page(15));
	s.world.populate(s.world.mm(), at_page(0), 8, 2);
	s.world.populate(s.world.mm(), at_page(8), 2);
	Held &held = s.make(0, 16);
	DSVM_REQUIRE_EQ(s.get_pages(held, 0, 10), 0);
	DSVM_REQUIRE_EQ(s.get_pages(held, 12, 1), 0);
	dsvm_os_read_lock(s.set.svm.lock);
	// From the middle of a run to the middle of nothing.
	const u32 firsts[] = {4, 8, 9, 12};
	const u32 counts[] = {4, 1, 1, 1};
	u32 seen = 0;
	while (dsvm_hmmptr_next(&held.base, at_page(5), end_of_page(13), &run)) {
		DSVM_REQUIRE(seen < 4);
		DSVM_EXPECT_EQ(run.first, at_page(firsts[seen]));
		DSVM_EXPECT_EQ(run.npages, counts[seen]);
		DSVM_EXPECT(s.world.page_of_dma(run.addr->addr) ==
			    s.world.pte(s.world.mm(), run.first).page);
		seen++;
	}
	DSVM_EXPECT_EQ(seen, 4u);
	run = {};
	DSVM_EXPECT(!dsvm_hmmptr_next(&held.base, at_page(13), end_of_page(15), &run));
	dsvm_os_read_unlock(s.set.svm.lock);
	// What is not valid is passed over.
	s.world.invalidate(s.world.mm(), at_page(0), end_of_page(0));
	run = {};
	dsvm_os_read_lock(s.set.svm.lock);
	DSVM_EXPECT(dsvm_hmmptr_next(&held.base, at_page(0), end_of_page(15), &run));
	DSVM_EXPECT_EQ(run.first, at_page(12));
	DSVM_EXPECT(!dsvm_hmmptr_next(&held.base, at_page(0), end_of_page(15), &run));
	dsvm_os_read_unlock(s.set.svm.lock);
}

// One window of device addresses for all RAM of a piece.
DSVM_CASE(hmmptr, iova)
{
	OneHmmptr s;

	s.world.set_iommu(true);
	DSVM_REQUIRE_EQ(s.get_pages(s.held, 0, 12), 0);
	DSVM_EXPECT_EQ(s.world.iova_windows(), 1u);
	DSVM_EXPECT(s.bind_pages(s.held, 0, 12));
	DSVM_EXPECT_EQ(s.bound(s.held, 0, 12), 12u);
	s.world.invalidate(s.world.mm(), at_page(3), end_of_page(3));
	DSVM_EXPECT_EQ(s.world.iova_windows(), 0u);
	DSVM_EXPECT_EQ(s.revalidate(), 0);
	DSVM_EXPECT_EQ(s.world.iova_windows(), 1u);
	DSVM_EXPECT_EQ(s.bound(s.held, 0, 12), 12u);
}

DSVM_CASE(hmmptr, read_only)
{
	HmmptrOptions options = {};
	options.read_only = true;
	OneHmmptr s(options);

	DSVM_EXPECT_EQ(s.populate(s.held, 0, 16, DSVM_ACCESS_WRITE), -DSVM_EPERM);
	DSVM_EXPECT_EQ(s.get_pages(s.held, 0, 16, DSVM_ACCESS_WRITE), -DSVM_EPERM);
	DSVM_EXPECT_EQ(s.pieces_of(s.held), 0u);
	DSVM_EXPECT_EQ(s.get_pages(s.held, 0, 16), 0);
	const fake::Page &page = *s.world.pte(s.world.mm(), at_page(3)).page;
	DSVM_EXPECT_EQ(page.dma_by_dir[DSVM_DMA_TO_DEVICE], 1u);
	DSVM_EXPECT_EQ(marks_of(s, 3), 1u);
}

// Mapped for reading, wanted for writing: the GPU loses it before something else takes its place.
DSVM_CASE(hmmptr, widening)
{
	OneHmmptr s;

	s.world.share(s.world.mm(), s.world.mm(1));
	DSVM_REQUIRE_EQ(s.get_pages(s.held, 0, 4), 0);
	DSVM_REQUIRE(s.bind_pages(s.held, 0, 4));
	DSVM_EXPECT_EQ(s.get_pages(s.held, 0, 4, DSVM_ACCESS_WRITE), 0);
	DSVM_EXPECT_EQ(s.starts, s.finishes);
	DSVM_EXPECT(s.starts >= 1u);
	DSVM_EXPECT(s.bind_pages(s.held, 0, 4));
	DSVM_EXPECT_EQ(s.bound(s.held, 0, 4), 4u);
	for (u32 i = 0; i < 4; i++) {
		// Copied on write: the other address space keeps what it had.
		DSVM_EXPECT(s.world.pte(s.world.mm(), at_page(i)).page !=
			    s.world.pte(s.world.mm(1), at_page(i)).page);
		DSVM_EXPECT_EQ(s.world.pte(s.world.mm(1), at_page(i)).page->dirtied, 0u);
	}
	// And back it is not narrowed.
	const u32 looks = s.world.calls(Call::kHmmFault);
	DSVM_EXPECT_EQ(s.get_pages(s.held, 0, 4), 0);
	DSVM_EXPECT_EQ(s.world.calls(Call::kHmmFault), looks);
	DSVM_EXPECT(s.is_sound(s.held));
}

// The same where the CPU's page table stays as it is, and no event takes anything.
DSVM_CASE(hmmptr, widening_without_an_event)
{
	OneHmmptr s;

	s.world.pte(s.world.mm(), at_page(1)).page->lazyfree = true;
	DSVM_REQUIRE_EQ(s.get_pages(s.held, 0, 4), 0);
	DSVM_REQUIRE(s.bind_pages(s.held, 0, 4));
	DSVM_EXPECT_EQ(s.populate(s.held, 0, 4, DSVM_ACCESS_WRITE), 0);
	DSVM_EXPECT_EQ(s.starts, 0u);
	DSVM_EXPECT_EQ(s.map(s.held, 0, 4), 0);
	DSVM_EXPECT_EQ(s.starts, 1u);
	DSVM_EXPECT_EQ(s.finishes, 1u);
	DSVM_EXPECT_EQ(s.held.gpu->count(at_page(0), end_of_page(3)), 0u);
	DSVM_EXPECT(s.bind_pages(s.held, 0, 4));
	DSVM_EXPECT_EQ(s.bound(s.held, 0, 4), 4u);
	DSVM_EXPECT(s.is_sound(s.held));
}

// The kernel hears once for each population that pages are used, and written.
DSVM_CASE(hmmptr, marks)
{
	OneHmmptr s;

	DSVM_REQUIRE_EQ(s.populate(s.held, 0, 8, DSVM_ACCESS_WRITE), 0);
	DSVM_EXPECT_EQ(marks_of(s, 3), 0u);
	DSVM_REQUIRE_EQ(s.map(s.held, 0, 8), 0);
	DSVM_EXPECT_EQ(marks_of(s, 3), 101u);
	DSVM_EXPECT_EQ(marks_of(s, 9), 0u);
	s.unmap(s.held, 0, 8);
	DSVM_REQUIRE_EQ(s.map(s.held, 0, 8), 0);
	DSVM_EXPECT_EQ(marks_of(s, 3), 101u);
	DSVM_REQUIRE_EQ(s.populate(s.held, 0, 8, DSVM_ACCESS_WRITE), 0);
	DSVM_REQUIRE_EQ(s.map(s.held, 0, 8), 0);
	DSVM_EXPECT_EQ(marks_of(s, 3), 101u);
	s.world.invalidate(s.world.mm(), at_page(0), end_of_page(0));
	// What is dirty already need not be marked; written out meanwhile, it is clean.
	DSVM_REQUIRE_EQ(s.get_pages(s.held, 0, 8, DSVM_ACCESS_WRITE), 0);
	DSVM_EXPECT_EQ(marks_of(s, 3), 102u);
	s.world.invalidate(s.world.mm(), at_page(0), end_of_page(0));
	s.world.pte(s.world.mm(), at_page(3)).page->dirty = false;
	DSVM_REQUIRE_EQ(s.get_pages(s.held, 0, 8, DSVM_ACCESS_WRITE), 0);
	DSVM_EXPECT_EQ(marks_of(s, 3), 203u);
}

// Device memory of its owner's stays; for a userptr all comes to RAM.
DSVM_CASE(hmmptr, device_memory)
{
	for (const bool owned : kEither) {
		HmmptrOptions options = {};
		char owner;
		options.owner = owned ? &owner : nullptr;
		OneHmmptr s(options);

		put_on_device(s, 4, 4, 0, &owner);
		DSVM_REQUIRE_EQ(s.get_pages(s.held, 0, 16, DSVM_ACCESS_WRITE), 0);
		DSVM_EXPECT(s.bind_pages(s.held, 0, 16));
		DSVM_EXPECT_EQ(s.bound(s.held, 0, 16), 16u);
		DSVM_EXPECT_EQ(
			s.world.count(s.world.mm(), at_page(0), end_of_page(15), PteKind::kDevice),
			owned ? 4u : 0u);
		DSVM_EXPECT_EQ(marks_of(s, 3), 101u);
		if (owned)
			DSVM_EXPECT_EQ(marks_of(s, 5), 0u);
		for (u32 i = 4; i < 8; i++)
			DSVM_EXPECT_EQ(s.world.read(s.world.mm(), at_page(i)), 1000 + i);
		DSVM_EXPECT_EQ(s.pieces_of(s.held), 1u);
	}
}

// A piece has pages of one provider at most: with two, all of them come to RAM.
DSVM_CASE(hmmptr, device_memory_of_two)
{
	HmmptrOptions options = {};
	char owner;
	options.owner = &owner;
	OneHmmptr s(options);

	put_on_device(s, 2, 2, 0, &owner);
	put_on_device(s, 6, 2, 1, &owner);
	DSVM_REQUIRE_EQ(s.get_pages(s.held, 0, 4), 0);
	DSVM_REQUIRE_EQ(s.get_pages(s.held, 0, 16), 0);
	DSVM_EXPECT_EQ(s.world.count(s.world.mm(), at_page(0), end_of_page(15), PteKind::kDevice),
		       4u);
	s.unmap(s.held, 0, 16, true);
	DSVM_REQUIRE_EQ(s.get_pages(s.held, 0, 16), 0);
	DSVM_EXPECT_EQ(s.world.count(s.world.mm(), at_page(0), end_of_page(15), PteKind::kDevice),
		       0u);
	for (u32 i = 6; i < 8; i++)
		DSVM_EXPECT_EQ(s.world.read(s.world.mm(), at_page(i)), 1000 + i);
}

// Device memory that two processes share, and that is to be written.
DSVM_CASE(hmmptr, shared_device_memory)
{
	HmmptrOptions options = {};
	char owner;
	options.owner = &owner;
	OneHmmptr s(options);

	put_on_device(s, 0, 4, 0, &owner);
	s.world.share(s.world.mm(), s.world.mm(1));
	DSVM_EXPECT_EQ(s.get_pages(s.held, 0, 4), 0);
	DSVM_EXPECT_EQ(s.world.count(s.world.mm(), at_page(0), end_of_page(3), PteKind::kDevice),
		       4u);
	DSVM_EXPECT_EQ(s.get_pages(s.held, 0, 4, DSVM_ACCESS_WRITE), 0);
	DSVM_EXPECT_EQ(s.world.count(s.world.mm(), at_page(0), end_of_page(3), PteKind::kDevice),
		       0u);
	DSVM_EXPECT_EQ(s.world.count(s.world.mm(1), at_page(0), end_of_page(3), PteKind::kDevice),
		       4u);
}

// What is asked to go goes by pieces; one that reaches beyond stays.
DSVM_CASE(hmmptr, unmap_and_forget)
{
	for (const bool forget : kEither) {
		OneHmmptr s;

		DSVM_REQUIRE_EQ(s.get_pages(s.held, 0, 4), 0);
		DSVM_REQUIRE_EQ(s.get_pages(s.held, 4, 4), 0);
		DSVM_REQUIRE_EQ(s.get_pages(s.held, 8, 4), 0);
		DSVM_REQUIRE(s.bind_pages(s.held, 0, 12));
		s.unmap(s.held, 2, 8, forget);
		DSVM_EXPECT(s.is_valid(s.held, 0, 4));
		DSVM_EXPECT(!s.is_valid(s.held, 4, 1));
		DSVM_EXPECT(s.is_valid(s.held, 8, 4));
		DSVM_EXPECT_EQ(s.pieces_of(s.held), forget ? 2u : 3u);
		DSVM_EXPECT_EQ(s.map(s.held, 4, 4), forget ? -DSVM_EAGAIN : 0);
		DSVM_EXPECT(s.all_valid());
		// What is not wanted any more is not made good either.
		s.unmap(s.held, 0, 16, forget);
		DSVM_EXPECT_EQ(s.world.dma_mappings(), 0u);
		s.world.invalidate(s.world.mm(), at_page(0), end_of_page(15));
		DSVM_EXPECT(s.all_valid());
		DSVM_EXPECT(s.is_sound(s.held));
	}
}

// Entries that the driver has not taken away itself are taken before the pages go.
DSVM_CASE(hmmptr, unmap_takes_what_is_bound)
{
	OneHmmptr s;

	DSVM_REQUIRE_EQ(s.get_pages(s.held, 0, 4), 0);
	DSVM_REQUIRE(s.bind_pages(s.held, 0, 4));
	dsvm_hmmptr_unmap(&s.held.base, at_page(0), end_of_page(3), true);
	DSVM_EXPECT_EQ(s.held.gpu->count(at_page(0), end_of_page(3)), 0u);
	DSVM_EXPECT(!s.flushing);
}

// A call that fails leaves all as it was: each allocation and each call of the environment in turn.
DSVM_CASE(hmmptr, each_step_fails)
{
	struct Row {
		Call call;
		int error;
		int result;
	};
	const Row rows[] = {
		{Call::kMmGet, -1, -DSVM_EFAULT},
		{Call::kHmmFault, -DSVM_EFAULT, -DSVM_EFAULT},
		{Call::kHmmFault, -DSVM_EPERM, -DSVM_EPERM},
		{Call::kHmmFault, -DSVM_ENOMEM, -DSVM_ENOMEM},
		{Call::kHmmFault, -DSVM_EINTR, -DSVM_EINTR},
		{Call::kDmaMap, -DSVM_EFAULT, -DSVM_EFAULT},
		{Call::kDmaNeedsSync, -1, -DSVM_EOPNOTSUPP},
		{Call::kIovaLink, -DSVM_EFAULT, -DSVM_EFAULT},
		{Call::kIovaSync, -DSVM_EFAULT, -DSVM_EFAULT},
	};

	for (const bool iova : kEither) {
		for (const Row &row : rows) {
			for (u32 n = 1; n <= 3; n++) {
				OneHmmptr s;

				s.world.set_iommu(iova);
				DSVM_REQUIRE_EQ(s.get_pages(s.held, 4, 4), 0);
				DSVM_REQUIRE(s.bind_pages(s.held, 4, 4));
				const u64 before = dsvm_env_outstanding();
				const u32 mappings = s.world.dma_mappings();
				s.world.fail(row.call, n, row.error);
				const int ret = s.get_pages(s.held, 0, 12);
				DSVM_EXPECT(ret == 0 || ret == row.result);
				if (ret != 0) {
					DSVM_EXPECT_EQ(s.pieces_of(s.held), 1u);
					DSVM_EXPECT_EQ(s.world.dma_mappings(), mappings);
					DSVM_EXPECT_EQ(dsvm_env_outstanding(), before);
					DSVM_EXPECT_EQ(s.bound(s.held, 4, 4), 4u);
				}
				DSVM_EXPECT(s.is_sound(s.held));
			}
		}
	}
}

DSVM_CASE(hmmptr, each_allocation_fails)
{
	u32 failed = 0;

	for (u32 n = 1; n <= 10; n++) {
		OneHmmptr s;

		DSVM_REQUIRE_EQ(s.get_pages(s.held, 4, 4), 0);
		DSVM_REQUIRE(s.bind_pages(s.held, 4, 4));
		const u64 before = dsvm_env_outstanding();
		dsvm_env_fail_alloc(n);
		const int ret = s.get_pages(s.held, 0, 12, DSVM_ACCESS_WRITE);
		dsvm_env_fail_alloc(0);
		DSVM_EXPECT(ret == 0 || ret == -DSVM_ENOMEM);
		failed += ret != 0;
		if (ret != 0) {
			DSVM_EXPECT_EQ(s.pieces_of(s.held), 1u);
			DSVM_EXPECT(dsvm_env_outstanding() <= before);
		}
		DSVM_EXPECT(s.is_sound(s.held));
		// What was taken to make room for better is made good.
		DSVM_EXPECT_EQ(s.revalidate(), 0);
		DSVM_EXPECT_EQ(s.bound(s.held, 4, 4), 4u);
	}
	// Piece, entries and mapping of the two gaps. What there was is writable already.
	DSVM_EXPECT_EQ(failed, 6u);
}
