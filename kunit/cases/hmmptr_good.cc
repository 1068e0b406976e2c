// SPDX-License-Identifier: GPL-2.0-only OR MIT
//
// Cases for core/svm/hmmptr: what invalidations do at whatever moment they come, and how what they
// have taken is made good.

#include "kunit/case.h"
#include "kunit/cases/hmmptr_scene.h"

using namespace dsvm;
using namespace dsvm::cases;
using fake::PteKind;
using fake::Writable;

DSVM_CASE(hmmptr, invalidated)
{
	for (const bool two_passes : kEither) {
		TwoHmmptrs s(two_passes);

		DSVM_EXPECT(s.all_valid());
		s.invalidate(5, 5);
		DSVM_EXPECT_EQ(s.starts, 1u);
		DSVM_EXPECT_EQ(s.finishes, 1u);
		DSVM_EXPECT_EQ(s.one.gpu->count(at_page(0), end_of_page(15)), 0u);
		DSVM_EXPECT_EQ(s.bound(s.other, 8, 8), 8u);
		DSVM_EXPECT(!s.all_valid());
		DSVM_EXPECT(!s.is_valid(s.one, 0, 8));
		DSVM_EXPECT_EQ(s.world.dma_mappings(), 8u);
		// There is nothing more to take.
		s.invalidate(5, 5);
		DSVM_EXPECT_EQ(s.starts, 1u);
		DSVM_EXPECT_EQ(s.set.svm.counters.invalidations, 2u);

		DSVM_EXPECT_EQ(s.revalidate(), 0);
		DSVM_EXPECT_EQ(s.rebinds, 1u);
		DSVM_EXPECT(s.all_valid());
		DSVM_EXPECT_EQ(s.bound(s.one, 0, 8), 8u);
		DSVM_EXPECT_EQ(s.revalidate(), 0);
		DSVM_EXPECT_EQ(s.rebinds, 1u);
		DSVM_EXPECT(s.is_sound(s.one) && s.is_sound(s.other));
	}
}

// An event between its passes: what it met is mapped still, and not valid.
DSVM_CASE(hmmptr, between_the_passes)
{
	TwoHmmptrs s(true);
	bool looked = false;

	s.world.at(
		Call::kInvalidateStarted, 1,
		[](World &, void *arg) { *static_cast<bool *>(arg) = true; }, &looked);
	fake::Event &event = s.world.begin_event(s.world.mm(), at_page(2), end_of_page(2));
	s.world.end_event(event);
	DSVM_EXPECT(looked);
	DSVM_EXPECT_EQ(s.finishes, 1u);
	DSVM_EXPECT(!s.flushing);
	DSVM_EXPECT_EQ(s.world.dma_mappings(), 8u);
}

// Another CPU at each call of the environment in turn: what is bound in the end is what is there.
DSVM_CASE(hmmptr, events_at_each_step)
{
	const Call calls[] = {Call::kMmGet,	 Call::kNotifierReadBegin, Call::kHmmFault,
			      Call::kHmmWalked,	 Call::kNotifierReadRetry, Call::kDmaMap,
			      Call::kRangeCreate};

	for (const Call call : calls) {
		for (u32 n = 1; n <= 4; n++) {
			HmmptrScene s(n % 2 != 0);

			s.world.add_vma(s.world.mm(), at_page(0), end_of_page(15));
			s.world.populate(s.world.mm(), at_page(0), 16);
			Held &held = s.make(0, 16);
			// Under the notifier lock nobody changes anything.
			if (call == Call::kDmaMap || call == Call::kNotifierReadRetry)
				continue;
			s.world.at(call, n, replace_page_5);
			DSVM_REQUIRE_EQ(s.get_pages(held, 2, 10), 0);
			s.world.at(call, n, replace_page_5);
			if (!s.bind_pages(held, 2, 10))
				DSVM_REQUIRE_EQ(s.revalidate(), 0);
			DSVM_EXPECT_EQ(s.bound(held, 2, 10), 10u);
			DSVM_EXPECT(s.is_sound(held));
		}
	}
}

DSVM_CASE(hmmptr, event_between_populate_and_map)
{
	TwoHmmptrs s;

	s.unmap(s.one, 0, 8);
	DSVM_REQUIRE_EQ(s.populate(s.one, 0, 8), 0);
	replace_page_5(s.world, nullptr);
	DSVM_EXPECT_EQ(s.map(s.one, 0, 8), -DSVM_EAGAIN);
	DSVM_EXPECT_EQ(s.world.dma_mappings(), 8u);
	DSVM_REQUIRE_EQ(s.populate(s.one, 0, 8), 0);
	DSVM_EXPECT_EQ(s.map(s.one, 0, 8), 0);
	DSVM_EXPECT(s.bind_pages(s.one, 0, 8));
	DSVM_EXPECT_EQ(s.bound(s.one, 0, 8), 8u);
}

// Revalidation ------------------------------------------------------------------

// Somebody else has mapped it again, for a mapping of his own: the others are still to be bound.
DSVM_CASE(hmmptr, valid_is_not_bound)
{
	TwoHmmptrs s;

	s.invalidate(5, 5);
	DSVM_REQUIRE_EQ(s.get_pages(s.one, 0, 8), 0);
	DSVM_EXPECT(s.is_valid(s.one, 0, 8));
	DSVM_EXPECT(!s.all_valid());
	DSVM_EXPECT_EQ(s.revalidate(), 0);
	DSVM_EXPECT_EQ(s.rebinds, 1u);
	DSVM_EXPECT_EQ(s.bound(s.one, 0, 8), 8u);
}

// What was mapped for writing is mapped for writing again, whoever has read it meanwhile.
DSVM_CASE(hmmptr, good_as_it_was)
{
	TwoHmmptrs s;

	DSVM_REQUIRE_EQ(s.get_pages(s.one, 0, 8, DSVM_ACCESS_WRITE), 0);
	s.world.share(s.world.mm(), s.world.mm(1));
	s.invalidate(0, 15);
	DSVM_REQUIRE_EQ(s.get_pages(s.one, 0, 8, DSVM_ACCESS_READ), 0);
	DSVM_EXPECT_EQ(s.revalidate(), 0);
	for (u32 i = 0; i < 8; i++)
		DSVM_EXPECT(s.world.pte(s.world.mm(), at_page(i)).writable);
	DSVM_EXPECT(!s.world.pte(s.world.mm(), at_page(8)).writable);
	DSVM_EXPECT_EQ(s.bound(s.one, 0, 8), 8u);
}

// What is left of a piece is made good, and what has gone is given up.
DSVM_CASE(hmmptr, memory_that_has_gone)
{
	TwoHmmptrs s;

	s.world.unmap(s.world.mm(), at_page(4), end_of_page(5));
	DSVM_EXPECT_EQ(s.revalidate(), 0);
	DSVM_EXPECT_EQ(s.set.lost, 1u);
	DSVM_EXPECT_EQ(s.rebinds, 2u);
	DSVM_EXPECT(s.all_valid());
	DSVM_EXPECT(s.is_valid(s.one, 0, 4));
	DSVM_EXPECT(s.is_valid(s.one, 6, 2));
	DSVM_EXPECT(!s.is_valid(s.one, 5, 1));
	DSVM_EXPECT_EQ(s.bound(s.one, 0, 8), 6u);
	DSVM_EXPECT_EQ(s.get_pages(s.one, 0, 8), -DSVM_EFAULT);
	DSVM_EXPECT_EQ(s.bound(s.one, 0, 8), 6u);
	// It is there again, and other memory.
	s.world.add_vma(s.world.mm(), at_page(4), end_of_page(5));
	DSVM_EXPECT_EQ(s.get_pages(s.one, 0, 8), 0);
	// For whoever has asked; and for all others by the next revalidation.
	DSVM_EXPECT_EQ(s.revalidate(), 0);
	DSVM_EXPECT_EQ(s.bound(s.one, 0, 8), 8u);
	DSVM_EXPECT(s.is_sound(s.one));
}

// Who wants less than a piece is not kept from it by the rest.
DSVM_CASE(hmmptr, memory_beside_what_has_gone)
{
	for (u32 gone = 0; gone < 8; gone++) {
		TwoHmmptrs s;
		const u32 there = (gone + 3) % 8;

		s.world.unmap(s.world.mm(), at_page(gone), end_of_page(gone));
		DSVM_EXPECT_EQ(s.get_pages(s.one, gone, 1), -DSVM_EFAULT);
		DSVM_EXPECT_EQ(s.pieces_of(s.one), 1u);
		DSVM_EXPECT_EQ(s.get_pages(s.one, there, 1), 0);
		DSVM_EXPECT(s.bind_pages(s.one, there, 1));
		DSVM_EXPECT_EQ(s.bound(s.one, 0, 8), 1u);
		DSVM_EXPECT(s.is_sound(s.one));
		// The others are still wanted.
		DSVM_EXPECT_EQ(s.revalidate(), 0);
		DSVM_EXPECT_EQ(s.bound(s.one, 0, 8), 7u);
		DSVM_EXPECT(s.set.lost >= 1u);
		DSVM_EXPECT(s.is_sound(s.one));
	}
}

// The device has all of it, for reading, when a part is wanted for writing and the rest cannot be.
DSVM_CASE(hmmptr, memory_beside_what_may_be_read)
{
	HmmptrScene s;

	s.world.add_vma(s.world.mm(), at_page(0), end_of_page(3));
	s.world.add_vma(s.world.mm(), at_page(4), end_of_page(7), Writable::No);
	s.world.populate(s.world.mm(), at_page(0), 8);
	for (u32 i = 4; i < 8; i++)
		s.world.pte(s.world.mm(), at_page(i)).writable = false;
	Held &held = s.make(0, 8);
	DSVM_REQUIRE_EQ(s.get_pages(held, 0, 8), 0);
	DSVM_REQUIRE(s.bind_pages(held, 0, 8));
	DSVM_EXPECT_EQ(s.populate(held, 0, 4, DSVM_ACCESS_WRITE), 0);
	DSVM_EXPECT_EQ(s.pieces_of(held), 2u);
	DSVM_EXPECT_EQ(s.starts, 1u);
	DSVM_EXPECT_EQ(s.bound(held, 0, 8), 0u);
	DSVM_EXPECT_EQ(s.world.dma_mappings(), 0u);
	DSVM_EXPECT_EQ(s.revalidate(), 0);
	DSVM_EXPECT_EQ(s.bound(held, 0, 8), 8u);
	DSVM_EXPECT(s.is_sound(held));
}

// A lack of memory is none of the piece's: it stays whole.
DSVM_CASE(hmmptr, lack_of_memory_cuts_nothing)
{
	TwoHmmptrs s;

	s.invalidate(0, 7);
	dsvm_env_fail_alloc(1);
	DSVM_EXPECT_EQ(s.populate(s.one, 0, 4), -DSVM_ENOMEM);
	DSVM_EXPECT_EQ(s.pieces_of(s.one), 1u);
	DSVM_EXPECT_EQ(s.populate(s.one, 0, 4), 0);
	DSVM_EXPECT_EQ(s.pieces_of(s.one), 1u);
}

// No memory to make two of a piece: it is still one, and asked for again.
DSVM_CASE(hmmptr, no_memory_to_halve)
{
	for (u32 n = 1; n <= 4; n++) {
		TwoHmmptrs s;

		s.world.unmap(s.world.mm(), at_page(2), end_of_page(2));
		dsvm_env_fail_alloc(n);
		const int ret = s.get_pages(s.one, 6, 1);
		dsvm_env_fail_alloc(0);
		DSVM_EXPECT(ret == 0 || ret == -DSVM_ENOMEM);
		DSVM_EXPECT(s.is_sound(s.one));
		dsvm_env_fail_alloc(n);
		const int good = s.revalidate();
		dsvm_env_fail_alloc(0);
		DSVM_EXPECT(good == 0 || good == -DSVM_ENOMEM);
		DSVM_EXPECT(s.is_sound(s.one));
		DSVM_EXPECT_EQ(s.revalidate(), 0);
		DSVM_EXPECT_EQ(s.bound(s.one, 0, 8), 7u);
	}
}

// mprotect() under what is mapped for writing: who only reads keeps it.
DSVM_CASE(hmmptr, made_read_only)
{
	TwoHmmptrs s;

	DSVM_REQUIRE_EQ(s.get_pages(s.one, 0, 8, DSVM_ACCESS_WRITE), 0);
	DSVM_REQUIRE(s.bind_pages(s.one, 0, 8));
	s.world.mm().vmas[0].writable = false;
	for (u32 i = 0; i < 16; i++)
		s.world.pte(s.world.mm(), at_page(i)).writable = false;
	s.invalidate(0, 15);
	DSVM_EXPECT_EQ(s.get_pages(s.one, 0, 8, DSVM_ACCESS_WRITE), -DSVM_EPERM);
	DSVM_EXPECT_EQ(s.revalidate(), 0);
	DSVM_EXPECT_EQ(s.set.lost, 0u);
	DSVM_EXPECT_EQ(s.bound(s.one, 0, 8), 8u);
	DSVM_EXPECT_EQ(s.world.pte(s.world.mm(), at_page(3)).page->dma_by_dir[DSVM_DMA_TO_DEVICE],
		       1u);
	DSVM_EXPECT(s.is_sound(s.one));
}

// Makes all of it read-only behind the process's back, and takes it from the GPU: as mprotect(), or
// as fork() if the VMA stays writable.
static void protect(TwoHmmptrs &s, bool vma_too)
{
	s.world.mm().vmas[0].writable = !vma_too;
	for (u32 i = 0; i < 16; i++)
		s.world.pte(s.world.mm(), at_page(i)).writable = false;
	s.invalidate(0, 15);
}

// All of both is with the GPU, in as many pieces as before, and nothing was lost.
static void expect_all(TwoHmmptrs &s)
{
	DSVM_EXPECT_EQ(s.revalidate(), 0);
	DSVM_EXPECT_EQ(s.set.lost, 0u);
	DSVM_EXPECT_EQ(s.bound(s.one, 0, 8), 8u);
	DSVM_EXPECT_EQ(s.bound(s.other, 8, 8), 8u);
	DSVM_EXPECT_EQ(s.pieces_of(s.one), 1u);
}

// It turned out to be writable when it was mapped for reading, and was read again.
DSVM_CASE(hmmptr, made_read_only_after_reads)
{
	TwoHmmptrs s;

	DSVM_REQUIRE_EQ(s.populate(s.one, 0, 8), 0);
	protect(s, true);
	DSVM_EXPECT_EQ(s.map(s.one, 0, 8), -DSVM_EAGAIN);
	expect_all(s);
}

// What is populated for writing and never mapped so may be read still.
DSVM_CASE(hmmptr, made_read_only_before_it_is_mapped)
{
	TwoHmmptrs s;

	s.invalidate(0, 15);
	DSVM_REQUIRE_EQ(s.populate(s.one, 0, 8, DSVM_ACCESS_WRITE), 0);
	protect(s, true);
	DSVM_EXPECT_EQ(s.map(s.one, 0, 8), -DSVM_EAGAIN);
	expect_all(s);
}

// A revalidation that the driver failed passes over what is valid.
DSVM_CASE(hmmptr, made_read_only_after_a_failed_rebind)
{
	TwoHmmptrs s;

	s.invalidate(0, 15);
	s.rebind_error = -DSVM_ENOMEM;
	DSVM_EXPECT_EQ(s.revalidate(), -DSVM_ENOMEM);
	s.rebind_error = 0;
	expect_all(s);
	protect(s, true);
	expect_all(s);
}

// However often somebody reads, he does not want to write: a fork() shares the pages.
DSVM_CASE(hmmptr, reads_do_not_break_sharing)
{
	for (u32 reads = 0; reads < 3; reads++) {
		TwoHmmptrs s;

		for (u32 i = 0; i < reads; i++)
			DSVM_REQUIRE_EQ(s.get_pages(s.one, 0, 8), 0);
		protect(s, false);
		expect_all(s);
		for (u32 i = 0; i < 8; i++)
			DSVM_EXPECT(!s.world.pte(s.world.mm(), at_page(i)).writable);
	}
}

// Of a piece that can be had in part only, nothing is lost if that part cannot be had, either.
DSVM_CASE(hmmptr, populated_in_part_or_not_at_all)
{
	u32 failed = 0;

	for (u32 n = 1; n <= 6; n++) {
		HmmptrScene s;

		s.world.add_vma(s.world.mm(), at_page(0), end_of_page(3));
		s.world.add_vma(s.world.mm(), at_page(4), end_of_page(7), Writable::No);
		s.world.populate(s.world.mm(), at_page(0), 8);
		for (u32 i = 4; i < 8; i++)
			s.world.pte(s.world.mm(), at_page(i)).writable = false;
		Held &held = s.make(0, 8);
		DSVM_REQUIRE_EQ(s.get_pages(held, 0, 8), 0);
		DSVM_REQUIRE(s.bind_pages(held, 0, 8));
		dsvm_env_fail_alloc(n);
		const int error = s.populate(held, 0, 4, DSVM_ACCESS_WRITE);
		dsvm_env_fail_alloc(0);
		DSVM_EXPECT(error == 0 || error == -DSVM_ENOMEM);
		if (error != 0) {
			DSVM_EXPECT_EQ(s.pieces_of(held), 1u);
			DSVM_EXPECT_EQ(s.bound(held, 0, 8), 8u);
			failed++;
		}
	}
	DSVM_EXPECT(failed > 1);
}

// The same of a part: what may be written is written still.
DSVM_CASE(hmmptr, made_read_only_in_part)
{
	HmmptrScene s;

	s.world.add_vma(s.world.mm(), at_page(0), end_of_page(2));
	s.world.add_vma(s.world.mm(), at_page(3), end_of_page(4));
	s.world.add_vma(s.world.mm(), at_page(5), end_of_page(7));
	s.world.populate(s.world.mm(), at_page(0), 8);
	Held &held = s.make(0, 8);
	DSVM_REQUIRE_EQ(s.get_pages(held, 0, 8, DSVM_ACCESS_WRITE), 0);
	for (fake::Vma &vma : s.world.mm().vmas) {
		if (vma.in_use && vma.first == at_page(3))
			vma.writable = false;
	}
	for (u32 i = 3; i < 5; i++)
		s.world.pte(s.world.mm(), at_page(i)).writable = false;
	s.world.invalidate(s.world.mm(), at_page(3), end_of_page(4));
	DSVM_EXPECT_EQ(s.revalidate(), 0);
	DSVM_EXPECT_EQ(s.set.lost, 0u);
	DSVM_EXPECT_EQ(s.pieces_of(held), 3u);
	DSVM_EXPECT_EQ(s.bound(held, 0, 8), 8u);
	for (u32 i = 0; i < 8; i++) {
		const fake::Page &page = *s.world.pte(s.world.mm(), at_page(i)).page;
		const bool may_write = i < 3 || i > 4;

		DSVM_EXPECT_EQ(page.dma_by_dir[DSVM_DMA_BIDIRECTIONAL], may_write ? 1u : 0u);
		DSVM_EXPECT_EQ(page.dma_by_dir[DSVM_DMA_TO_DEVICE], may_write ? 0u : 1u);
	}
	DSVM_EXPECT(s.is_sound(held));
}

// Memory that is there, and cannot be had: beyond the end of a file.
DSVM_CASE(hmmptr, pages_that_cannot_be_had)
{
	TwoHmmptrs s;

	s.world.unmap(s.world.mm(), at_page(5), end_of_page(7));
	s.world.add_vma(s.world.mm(), at_page(0), end_of_page(7));
	for (u32 i = 5; i < 8; i++)
		s.world.pte(s.world.mm(), at_page(i)).inaccessible = true;
	DSVM_EXPECT_EQ(s.revalidate(), 0);
	DSVM_EXPECT_EQ(s.bound(s.one, 0, 8), 5u);
	DSVM_EXPECT(s.set.lost >= 2u && s.set.lost <= 3u);
	DSVM_EXPECT(s.all_valid());
	DSVM_EXPECT(s.is_sound(s.one));
}

// The address space has gone as a whole.
DSVM_CASE(hmmptr, after_exit)
{
	TwoHmmptrs s;

	s.world.exit(s.world.mm());
	DSVM_EXPECT_EQ(s.world.dma_mappings(), 0u);
	DSVM_EXPECT_EQ(s.get_pages(s.one, 0, 8), -DSVM_EFAULT);
	DSVM_EXPECT_EQ(s.revalidate(), 0);
	DSVM_EXPECT_EQ(s.set.lost, 2u);
}

// What fails for now is kept for the next time; and the others do not wait for it for ever.
DSVM_CASE(hmmptr, revalidation_fails)
{
	struct Row {
		int rebind_error;
		int lock_error;
		bool no_memory;
		int result;
	};
	const Row rows[] = {
		{0, 0, true, -DSVM_ENOMEM},
		{-DSVM_ENODEV, 0, false, -DSVM_ENODEV},
		{-DSVM_EFAULT, 0, false, -DSVM_EFAULT},
		{0, -DSVM_EINTR, false, -DSVM_EINTR},
	};

	for (const Row &row : rows) {
		TwoHmmptrs s;

		s.invalidate(0, 15);
		s.rebind_error = row.rebind_error;
		s.lock_error = row.lock_error;
		if (row.no_memory)
			dsvm_env_fail_alloc(1);
		DSVM_EXPECT_EQ(s.revalidate(), row.result);
		DSVM_EXPECT(!s.all_valid());
		DSVM_EXPECT_EQ(s.set.lost, 0u);
		DSVM_EXPECT(s.is_sound(s.one) && s.is_sound(s.other));
		s.rebind_error = 0;
		s.lock_error = 0;
		const u32 rebinds = s.rebinds;
		DSVM_EXPECT_EQ(s.revalidate(), 0);
		DSVM_EXPECT_EQ(s.rebinds, rebinds + 2);
		DSVM_EXPECT(s.all_valid());
		DSVM_EXPECT_EQ(s.bound(s.one, 0, 8) + s.bound(s.other, 8, 8), 16u);
	}
}

// The one that failed is the last one next time.
DSVM_CASE(hmmptr, revalidation_goes_round)
{
	TwoHmmptrs s;

	s.invalidate(0, 15);
	s.rebind_error = -DSVM_ENOMEM;
	DSVM_EXPECT_EQ(s.revalidate(), -DSVM_ENOMEM);
	s.in_rebind = [](HmmptrScene &scene, Held &held) {
		scene.rebind_error = held.base.window.node.first == at_page(0) ? -DSVM_ENOMEM : 0;
	};
	DSVM_EXPECT_EQ(s.revalidate(), -DSVM_ENOMEM);
	DSVM_EXPECT_EQ(s.bound(s.other, 8, 8), 8u);
	DSVM_EXPECT_EQ(s.bound(s.one, 0, 8), 0u);
}

// It is taken again in the very moment that it is made good.
DSVM_CASE(hmmptr, invalidated_while_it_is_made_good)
{
	TwoHmmptrs s;

	s.invalidate(5, 5);
	s.in_rebind = [](HmmptrScene &scene, Held &) {
		if (scene.rebinds <= 3)
			scene.world.invalidate(scene.world.mm(), at_page(1), end_of_page(1));
	};
	DSVM_EXPECT_EQ(s.revalidate(), 0);
	DSVM_EXPECT_EQ(s.rebinds, 4u);
	DSVM_EXPECT_EQ(s.bound(s.one, 0, 8), 8u);
	DSVM_EXPECT(s.all_valid());
	// For ever: the budget ends it.
	s.invalidate(5, 5);
	s.in_rebind = [](HmmptrScene &scene, Held &) {
		scene.world.invalidate(scene.world.mm(), at_page(1), end_of_page(1));
	};
	DSVM_EXPECT_EQ(s.revalidate(), -DSVM_EBUSY);
	DSVM_EXPECT(!s.all_valid());
	s.in_rebind = nullptr;
	DSVM_EXPECT_EQ(s.revalidate(), 0);
	DSVM_EXPECT(s.is_sound(s.one));
}

// Just after it was made good: the list has it again, and the budget ends that.
DSVM_CASE(hmmptr, invalidated_after_it_was_made_good)
{
	TwoHmmptrs s;

	s.invalidate(5, 5);
	s.after_it = [](HmmptrScene &scene, Held &) {
		if (scene.rebinds <= 2)
			scene.world.invalidate(scene.world.mm(), at_page(1), end_of_page(1));
	};
	DSVM_EXPECT_EQ(s.revalidate(), 0);
	DSVM_EXPECT_EQ(s.rebinds, 3u);
	DSVM_EXPECT(s.all_valid());
	DSVM_EXPECT_EQ(s.bound(s.one, 0, 8), 8u);
	DSVM_EXPECT(s.is_sound(s.one));

	s.invalidate(5, 5);
	s.after_it = [](HmmptrScene &scene, Held &) {
		scene.world.invalidate(scene.world.mm(), at_page(1), end_of_page(1));
	};
	DSVM_EXPECT_EQ(s.revalidate(), -DSVM_EBUSY);
	DSVM_EXPECT(!s.all_valid());
	s.after_it = nullptr;
	DSVM_EXPECT_EQ(s.revalidate(), 0);
	DSVM_EXPECT(s.all_valid());
}

DSVM_CASE(hmmptr, released_while_listed)
{
	for (const bool dying : kEither) {
		TwoHmmptrs s;

		s.invalidate(0, 15);
		if (dying)
			s.one.is_dying = true;
		else
			s.release(s.one);
		DSVM_EXPECT_EQ(s.revalidate(), 0);
		DSVM_EXPECT_EQ(s.rebinds, 1u);
		DSVM_EXPECT(s.all_valid());
		DSVM_EXPECT_EQ(s.bound(s.other, 8, 8), 8u);
	}
}

// Nothing is mapped without a notifier, and nothing goes that it looks at.
DSVM_CASE(hmmptr, release_order)
{
	TwoHmmptrs s;

	s.world.at(
		Call::kNotifierRemove, 1,
		[](World &world, void *arg) {
			TwoHmmptrs &scene = *static_cast<TwoHmmptrs *>(arg);

			DSVM_EXPECT_EQ(scene.starts, 1u);
			DSVM_EXPECT_EQ(world.dma_mappings(), 8u);
			DSVM_EXPECT_EQ(scene.pieces, 2u);
			world.invalidate(world.mm(), at_page(0), end_of_page(7));
			DSVM_EXPECT_EQ(scene.starts, 1u);
		},
		&s);
	s.release(s.one);
	DSVM_EXPECT_EQ(s.pieces, 1u);
	DSVM_EXPECT_EQ(s.world.dma_mappings(), 8u);
	DSVM_EXPECT(s.all_valid());
}

// Injection -----------------------------------------------------------------------

DSVM_CASE(hmmptr, injected)
{
	TwoHmmptrs s;

	s.inject(s.one, 3, 1);
	DSVM_EXPECT_EQ(s.set.injected, 1u);
	DSVM_EXPECT_EQ(s.starts, 1u);
	DSVM_EXPECT(!s.is_valid(s.one, 0, 8));
	DSVM_EXPECT_EQ(s.map(s.one, 0, 8), -DSVM_EAGAIN);
	DSVM_EXPECT_EQ(s.revalidate(), 0);
	DSVM_EXPECT_EQ(s.bound(s.one, 0, 8), 8u);

	// Each second time, between populate and the commit.
	s.set.inject_every = 2;
	s.unmap(s.one, 0, 8, true);
	s.unmap(s.other, 8, 8, true);
	const u64 before = s.set.injected;
	for (u32 i = 0; i < 8; i++)
		DSVM_EXPECT_EQ(s.get_pages(s.one, i, 1), 0);
	DSVM_EXPECT(s.set.injected >= before + 7);
	DSVM_EXPECT(s.bind_pages(s.one, 0, 8));
	// Pieces that are mapped stay so while others are tried again.
	DSVM_EXPECT_EQ(s.pieces_of(s.one), 8u);
	s.unmap(s.one, 0, 8);
	DSVM_EXPECT_EQ(s.get_pages(s.one, 0, 8), 0);
	// Each time: nothing is ever mapped.
	s.set.inject_every = 1;
	DSVM_EXPECT_EQ(s.get_pages(s.other, 8, 8), -DSVM_EBUSY);
	DSVM_EXPECT_EQ(s.pieces_of(s.other), 0u);
	s.set.inject_every = 0;
	DSVM_EXPECT_EQ(s.get_pages(s.other, 8, 8), 0);
	DSVM_EXPECT(s.is_sound(s.one) && s.is_sound(s.other));
}

// All of it by chance -----------------------------------------------------------------

namespace {

// Whether the GPU, through any entry, gets at anything but what the CPU has there.
bool sees_what_the_cpu_sees(HmmptrScene &s, Held &held, u32 pages)
{
	for (u32 i = 0; i < pages; i++) {
		const fake::Page *const page = held.gpu->at(at_page(i));

		if (page != nullptr && page != s.world.pte(s.world.mm(), at_page(i)).page)
			return false;
	}
	return true;
}

void play(HmmptrScene &s, Held &held, Random &random, u32 pages)
{
	const u32 first = static_cast<u32>(random.below(pages));
	const u32 count = 1 + static_cast<u32>(random.below(pages - first));
	const dsvm_access access = random.below(2) != 0 ? DSVM_ACCESS_WRITE : DSVM_ACCESS_READ;

	switch (random.below(10)) {
	case 0:
		static_cast<void>(s.populate(held, first, count, access));
		break;
	case 1:
		if (s.map(held, first, count) == 0)
			s.bind_pages(held, first, count);
		break;
	case 2:
	case 3:
		if (s.get_pages(held, first, count, access) == 0)
			DSVM_EXPECT(s.bind_pages(held, first, count));
		break;
	case 4:
		s.unmap(held, first, count, random.below(2) != 0);
		break;
	case 5:
		s.inject(held, first, count);
		break;
	case 6:
		s.world.unmap(s.world.mm(), at_page(first), end_of_page(first));
		s.world.add_vma(s.world.mm(), at_page(first), end_of_page(first));
		break;
	case 7:
		s.world.invalidate(s.world.mm(), at_page(first), end_of_page(first + count - 1));
		break;
	case 8:
		replace_page_5(s.world, nullptr);
		break;
	default:
		DSVM_EXPECT_EQ(s.revalidate(), 0);
		DSVM_EXPECT(s.all_valid());
		break;
	}
}

} // namespace

DSVM_CASE(hmmptr, random)
{
	constexpr u32 kPages = 24;
	Random random;

	for (u32 round = 0; round < 8; round++) {
		HmmptrScene s(round % 2 != 0);

		s.set.piece_size = (round % 3 != 0 ? 8 : 512) * kPageSize;
		for (u32 i = 0; i < kPages; i++)
			s.world.add_vma(s.world.mm(), at_page(i), end_of_page(i));
		Held &whole = s.make(0, kPages);
		Held &part = s.make(4, 9);
		for (u32 step = 0; step < 120; step++) {
			play(s, whole, random, kPages);
			if (step % 4 == 0)
				static_cast<void>(s.get_pages(part, 4, 9));
			if (step % 4 == 0)
				s.bind_pages(part, 4, 9);
			DSVM_REQUIRE(s.is_sound(whole) && s.is_sound(part));
			DSVM_REQUIRE(sees_what_the_cpu_sees(s, whole, kPages));
			DSVM_REQUIRE(sees_what_the_cpu_sees(s, part, kPages));
		}
	}
}
